"""What others see of a page: its description and card in a link, the map of the site, and the page for a wrong address.

``BOOK_URL`` (``https://HOST/PATH/``) is where the site will stand: with it pages name their own address, and there is a
sitemap. Without it nothing is claimed.
"""

from __future__ import annotations

import os
import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

CARD = "_static/card.png"  # 1200 by 630: scripts/card.py draws it
#: Names of pages that Sphinx makes without a title.
GENERATED = {"genindex": "Index", "search": "Search", "_modules/index": "Source code"}
SHORTEST, LONGEST = 70, 160
BOOK = "The Information in a Task"
LOST = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Page not found — {book}</title><meta name="robots" content="noindex"><meta name="description"
 content="There is no page at this address of the book The Information in a Task: search it, or start at its first page.">
<link rel="icon" href="{root}_static/favicon.svg">
<style>@font-face {{ font-family: "Book Title"; src: url("{root}_static/fonts/title.woff2") format("woff2"); }}
:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.6 Georgia, serif; max-width: 36rem; margin: 15vh auto; padding: 0 1.5rem; }}
h1 {{ font: 600 2.6rem/1.15 "Book Title", Georgia, serif; }}
input, button {{ font: inherit; padding: .4rem .7rem; }}</style></head>
<body><main><h1>There is no page here</h1><p>The address may have changed: chapters and sections move, and so do their names.</p>
<form action="{root}search.html" role="search"><label for="q">Search the book</label>
<p><input type="search" id="q" name="q"> <button>Search</button></p></form>
<p><a href="{root}book/index.html">The book’s first page</a> · <a href="{root}book/claims.html">the ledger of claims</a></p>
</main></body></html>
"""


def base_url() -> str:
    """Return where the site will stand, with a slash at the end, or an empty string."""
    found = os.environ.get("BOOK_URL", "").strip()
    if found and not re.fullmatch(r"https?://[\w.:-]+(?:/[\w./~-]*)?", found):
        raise ConfigError(f"BOOK_URL is {found!r}; accepted: https://HOST/PATH/")
    return found.rstrip("/") + "/" if found else ""


def plain(node: nodes.Node) -> str:
    """Return a paragraph's text; formulas keep their letters only."""
    text = node.astext().replace("\n", " ")
    return re.sub(r"\s+", " ", re.sub(r"\\[a-zA-Z]+|[{}$\\]", "", text)).strip()


def describe(title: str, doctree: nodes.document | None) -> str:
    """Return 70 to 160 characters on a page: its title and its first words, cut at the end of a word."""
    words = [f"{title}:"]
    if doctree is not None:
        for paragraph in doctree.findall(nodes.paragraph):
            if len(" ".join(words)) > LONGEST:
                break
            if not any(isinstance(p, nodes.table | nodes.container) for p in parents(paragraph)):
                words.append(plain(paragraph))
    text = " ".join(words)
    if len(text) < SHORTEST:
        text = f"{text.rstrip(':')}: a page of the book {BOOK}, from Shannon’s information to Task2Vec."
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"


def parents(node: nodes.Node) -> list[nodes.Node]:
    """Return what a node stands in, the innermost first."""
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def add_tags(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the description, the card and, if it is known, the address to a page's head."""
    name = GENERATED.get(page) or f"Source code of {page.removeprefix('_modules/').replace('/', '.')}"
    title = re.sub(r"<[^>]+>", "", context.get("title") or name)
    title = BOOK if page == app.config.root_doc else title
    text, home = describe(title, doctree), app.config.html_baseurl
    card = f"{home}{CARD}" if home else "../" * page.count("/") + CARD
    tags = {
        "og:type": "article",
        "og:site_name": BOOK,
        "og:title": title,
        "og:description": text,
        "og:image": card,
    }
    tags |= {"og:image:width": "1200", "og:image:height": "630", "og:image:alt": ALT}
    if home:
        tags["og:url"] = f"{home}{page}.html"
    lines = [f'<meta name="description" content="{escape(text)}">']
    lines += [f'<meta property="{key}" content="{escape(value)}">' for key, value in tags.items()]
    lines.append('<meta name="twitter:card" content="summary_large_image">')
    context["metatags"] = context.get("metatags", "") + "\n".join(lines)


ALT = "The Information in a Task: letters become a network's fingerprint, and the fingerprint a place on a map of tasks."


def write_files(app: Sphinx, error: Exception | None) -> None:
    """Write robots.txt, 404.html and, if the address is known, the sitemap."""
    if error is not None or app.builder.format != "html":
        return
    site, home = Path(app.outdir), app.config.html_baseurl
    root = urlsplit(home).path if home else "/"
    (site / "404.html").write_text(LOST.format(book=BOOK, root=root), encoding="utf-8")
    robots = "User-agent: *\nAllow: /\n"
    if home:
        names = sorted(f"{name}.html" for name in app.env.found_docs)
        urls = "".join(f"<url><loc>{escape(home + name)}</loc></url>\n" for name in names)
        head = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        (site / "sitemap.xml").write_text(f"{head}{urls}</urlset>\n", encoding="utf-8")
        robots += f"Sitemap: {home}sitemap.xml\n"
    (site / "robots.txt").write_text(robots, encoding="utf-8")


def use_address(app: Sphinx, config: Config) -> None:
    """Let Sphinx write each page's canonical address."""
    config.html_baseurl = base_url()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", use_address, priority=2)
    app.connect("html-page-context", add_tags)
    app.connect("build-finished", write_files, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
