"""Draw the card that a link to the book shows, 1200 by 630: python scripts/card.py (needs Chromium)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pdf import find_browser

STATIC = Path(__file__).resolve().parent.parent / "book" / "_static"
PAGE = """<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">
<link rel="stylesheet" href="{static}/book.css"><style>
body {{ margin: 0; width: 1200px; height: 630px; box-sizing: border-box; padding: 72px 64px; overflow: hidden; }}
h1 {{ font: 600 84px/1.05 "Book Title"; letter-spacing: -.01em; margin: 0 0 18px; }}
p.line {{ font: 400 33px/1.35 "Book Serif"; color: #55524c; margin: 0 0 38px; }}
.t2v-steps {{ grid-template-columns: repeat(4, 1fr); max-width: none !important; margin: 0; gap: 36px; }}
.t2v-steps p {{ display: none; }}
</style></head><body><h1>The Information in a Task</h1>
<p class="line">From Shannon’s information to Task2Vec:<br>a review paper, made executable claim by claim</p>
{steps}</body></html>"""


def main() -> int:
    """Write the picture."""
    from playwright.sync_api import sync_playwright

    steps = (STATIC / "in_five_seconds.html").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "card.html"
        page_file.write_text(PAGE.format(static=STATIC.as_uri(), steps=steps), encoding="utf-8")
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 630})
        page.goto(page_file.as_uri())
        page.evaluate("document.fonts.ready")
        page.screenshot(path=STATIC / "card.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
