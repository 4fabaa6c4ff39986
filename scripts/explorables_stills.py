"""Draw the still of each live figure, ``book/_static/explorables/NAME.svg``, with the figure's own drawing function.

Usage: python scripts/explorables_stills.py [NAME …]

The still is what print, the PDF and a reader without scripts get. It is drawn in headless Chromium; each shape keeps its
classes, so that kit.css colours it in light and dark, and carries the light colours as attributes, so that it can also
stand alone. The heights of the living figure are written along: a page reserves that room before its scripts have run.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "book" / "_ext"))
from explorables import FOLDER, needs

sys.path.pop(0)
BROWSER = next(
    (p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None
)
#: Widths in CSS pixels: the still, and the column of a desk and of a phone.
STILL, DESK, PHONE = 760, 760, 358

#: The element with computed styles as attributes; custom properties are resolved, the transform becomes an attribute.
EXPORT = """([name, width]) => {
  const place = document.querySelector('#still');
  place.style.width = `${width}px`;
  const picture = t2vExplorables && t2vKit.still(name, width, place);
  const plain = {fill: 'rgb(0, 0, 0)', stroke: 'none', opacity: '1', 'stroke-width': '1px', 'stroke-dasharray': 'none',
    'stroke-linecap': 'butt', 'stroke-linejoin': 'miter', 'fill-opacity': '1', 'text-anchor': 'start'};
  const text = {'font-size': '', 'font-weight': '400'};
  const hex = v => v.replace(/rgb\\((\\d+), (\\d+), (\\d+)\\)/g, (_, ...c) =>
    '#' + c.slice(0, 3).map(x => (+x).toString(16).padStart(2, '0')).join(''));
  for (const e of picture.querySelectorAll('.x-reach, .x-ring, .x-pad')) e.remove();
  for (const e of picture.querySelectorAll('*')) {
    const look = getComputedStyle(e), kinds = {text: {...plain, ...text}, g: {opacity: '1'}};
    const wanted = kinds[e.tagName] || plain;
    const move = e.style.transform;
    e.removeAttribute('style');
    if (move) e.setAttribute('transform', move.replaceAll('px', '').replaceAll(', ', ' '));
    for (const [key, usual] of Object.entries(wanted)) {
      if (look[key] === usual || key.startsWith('stroke') && look.stroke === 'none') continue;
      e.setAttribute(key, hex(look[key]).replace('px', ''));
    }
    for (const key of e.getAttributeNames().filter(n => /^(role|tabindex|aria-.*)$/.test(n))) e.removeAttribute(key);
  }
  const group = picture.querySelector('g');
  if (group) group.setAttribute('font-family', 'DejaVu Sans, sans-serif');
  for (const key of ['role', 'aria-label', 'width', 'height']) picture.removeAttribute(key);
  return new XMLSerializer().serializeToString(picture);
}"""
HEIGHT = """([name, width]) => { document.body.style.cssText = `margin: 0; width: ${width}px; font: 16px sans-serif`;
  const stage = document.querySelector('[data-explorable]');
  return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
    done(Math.ceil(stage.getBoundingClientRect().height))))); }"""


def names() -> list[str]:
    """Return the names of all live figures."""
    found = (p.stem for p in FOLDER.glob("*.js") if not p.name.endswith(".data.js"))
    return sorted(name for name in found if name != "kit")


def page(*wanted: str, head: str = "", body: str = "", folder: str = "") -> str:
    """Return a bare page that holds these figures: for the stills, and for the tests."""
    files = dict.fromkeys(["kit.js", *(f for n in wanted for f in needs(n)), *(f"{n}.js" for n in wanted)])
    scripts = "".join(f'<script defer src="{folder}{file}"></script>' for file in files)
    stages = "".join(
        f'<figure class="t2v-explorable"><div class="t2v-x" data-explorable="{n}"></div>'
        f"<figcaption>Caption of {n}</figcaption></figure>"
        for n in wanted
    )
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>Figures</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="{folder}kit.css">{head}{scripts}</head>'
        f'<body><main><h1>Figures</h1>{body or stages}<div id="still" class="t2v-x"></div></main></body></html>'
    )


def draw(browser: Any, name: str) -> str:
    """Return the text of one still."""
    file = FOLDER / f"_still_{os.getpid()}.html"  # several may draw at once
    try:
        file.write_text(page(name), encoding="utf-8")
        tab = browser.new_page(viewport={"width": 1000, "height": 1000})
        tab.goto(file.as_uri())
        wide, tall = (tab.evaluate(HEIGHT, [name, width]) for width in (DESK, PHONE))
        picture = tab.evaluate(EXPORT, [name, STILL])
        tab.close()
    finally:
        file.unlink(missing_ok=True)
    return picture.replace("<svg ", f'<svg data-wide="{wide}" data-tall="{tall}" ', 1) + "\n"


def main(wanted: Sequence[str]) -> None:
    """Draw the stills of the given figures, or of all."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        for name in wanted or names():
            path = FOLDER / f"{name}.svg"
            path.write_text(draw(browser, name), encoding="utf-8")
            print(f"{path.name}: {path.stat().st_size / 1000:.1f} kB")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
