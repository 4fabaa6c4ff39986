"""Print the built site as one PDF: title page, contents with page numbers, chapters, reference pages.

Usage: python scripts/pdf.py [--site _build/html] [--to FILE.pdf] [--only 01_information …]

The pages of ``make html`` are joined into one, in the order of the table of contents; links between them become links
inside the document. What a page shows on demand is laid open, but for the code that it folds: of that the cell's number
is told. Hints and solutions are collected at the end of their chapter; of a slider's pictures two are shown. Chromium
typesets and prints.
"""

from __future__ import annotations

import argparse
import html
import importlib.util
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "_build" / "the_information_in_a_task.pdf"
TITLE = "The Information in a Task"
SUBTITLE = "From Shannon’s information to Task2Vec: a review paper, made executable claim by claim"
AUTHOR = "The authors of “The Information in a Task”"
PREFACE = "About this book"
#: Where the landing page links to the printed book, once there is one.
PLACE = "<!-- the printed book -->"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WITHOUT_BROWSER = (
    "make pdf needs Chromium to print the pages, and there is none: install Debian's package (apt-get install "
    "chromium), or Playwright's (python -m playwright install chromium)."
)
#: What makes sense on a screen only.
ON_SCREEN = (
    "script, style, button, noscript, .headerlink, .viewcode-link, .sd-summary-state-marker, .t2v-definitions"
)
WIDTH = 643  # CSS pixels: the 170 mm between the margins of pdf.css
PATIENCE = 180_000  # milliseconds

#: An equation that is wider than its column is set smaller; each gets its source as a text alternative.
TYPESET = """async () => {
  await MathJax.startup.promise;
  await document.fonts.ready;
  for (const box of document.querySelectorAll('mjx-container')) {
    const room = box.closest('div.math, td, th, li, dd, p, figcaption, article');
    const number = room.querySelector(':scope > .eqno');
    const width = room.clientWidth - (number ? number.offsetWidth + 8 : 0);
    const wanted = (box.querySelector('mjx-math') || box).getBoundingClientRect().width;
    if (wanted > width) box.style.fontSize = `${Math.floor(100 * width / wanted * 0.99)}%`;
  }
  for (const item of MathJax.startup.document.math) {
    item.typesetRoot.setAttribute('role', 'img');
    item.typesetRoot.setAttribute('aria-label', item.math.trim());
  }
  return document.querySelectorAll('mjx-merror, [data-mml-node=merror]').length;
}"""

#: Fill in the numbers of the pages in the contents.
NUMBER = """numbers => { for (const place of document.querySelectorAll('[data-heading]'))
  place.textContent = numbers[place.dataset.heading] ?? ''; }"""


@dataclass(frozen=True)
class Page:
    """A page of the site: its address, and the part of the book that it opens or else an empty string."""

    name: str
    part: str = ""

    @property
    def slug(self) -> str:
        """Return the address as an id."""
        return re.sub(r"\W+", "-", self.name.removesuffix(".html"))

    @property
    def is_chapter(self) -> bool:
        """Tell whether this is a numbered chapter."""
        return bool(re.search(r"/\d\d_", self.name))


def parse(path: Path) -> BeautifulSoup:
    """Read a page."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def contents(site: Path) -> list[Page]:
    """Return all pages in the order of the landing page's menu."""
    start = "book/index.html"
    pages, part = [Page(start)], ""
    for entry in parse(site / start).select("nav.bd-links p.caption, nav.bd-links a.reference.internal"):
        if entry.name == "p":
            part = entry.get_text(strip=True)
        elif str(entry["href"]) != "#":
            pages.append(Page(urljoin(start, str(entry["href"])), part))
            part = ""
    return pages


# --- one page ---


def redirect(article: Tag, page: Page, known: dict[str, Page], to_site: str) -> None:
    """Make every id unique, let links point inside the document, and find the pictures from its folder."""
    for element in article.find_all(True):
        if element.has_attr("id"):
            element["id"] = f"{page.slug}--{element['id']}"
        if element.has_attr("src") and not str(element["src"]).startswith("data:"):
            element["src"] = to_site + urljoin(f"/{page.name}", str(element["src"]))
    for link in article.find_all("a", href=True):
        address = str(link["href"])
        if re.match(r"[a-z][a-z0-9+.-]*:", address):
            continue
        name, fragment = urldefrag(urljoin(f"/{page.name}", address))
        target = known.get(unquote(name).lstrip("/"))
        if target is None:
            link.unwrap()
        else:
            link["href"] = f"#{target.slug}--{unquote(fragment)}" if fragment else f"#{target.slug}"


def unroll(article: Tag, soup: BeautifulSoup) -> None:
    """Of each slider's pictures, show the middle and the last one with their labels."""
    for slider in article.select(".t2v-slider"):
        labels, pictures = json.loads(str(slider["data-labels"])), slider.find_all("img")
        for control in slider.select("label, output"):
            control.decompose()
        for i, picture in enumerate(pictures):
            if i not in (len(pictures) // 2, len(pictures) - 1):
                picture.decompose()
                continue
            del picture["hidden"]
            label = soup.new_tag("p", attrs={"class": "frame"})
            label.string = str(labels[i])
            picture.insert_after(label)


def leave_out_code(article: Tag, soup: BeautifulSoup) -> None:
    """Leave out what the site folds: of a cell that shows something its number is told, other cells go altogether."""
    for number, cell in enumerate(article.select("div.cell"), start=1):
        for details in cell.select("details.above-input"):
            if cell.select_one(".cell_output") is None:
                cell.decompose()
                break
            line = soup.new_tag("p", attrs={"class": "code-elsewhere"})
            line.string = f"Code: cell {number} of the notebook"
            details.decompose()
            cell.append(line)


def unfold(article: Tag, soup: BeautifulSoup) -> None:
    """Lay open what is folded."""
    for details in article.select("details"):
        summary = details.find("summary")
        if summary is not None:
            heading = soup.new_tag("p", attrs={"class": "admonition-title"})
            heading.extend(list(summary.children))
            details.insert(0, heading)
        if summary is not None:
            summary.decompose()
        details.name = "div"


def hints_after(exercise: Tag) -> list[Tag]:
    """Return the boxes named Hint that stand between an exercise and what comes next."""
    found = []
    for box in exercise.find_next_siblings(True):
        title = box.select_one("summary, .admonition-title")
        if title is None or not title.get_text(strip=True).startswith("Hint"):
            break
        found.append(box)
    return found


def collect(article: Tag, soup: BeautifulSoup, slug: str) -> None:
    """Move the hints and solutions of a chapter's exercises to its end, with links there and back."""
    answers = soup.new_tag("section", attrs={"class": "answers"})
    for exercise in article.select("div.exercise"):
        number = exercise.select_one(".caption-number")
        hints = [*exercise.select("details"), *hints_after(exercise)]
        solution = exercise.find_next_sibling("div", class_="solution")
        if number is None or solution is None:
            continue
        box = soup.new_tag("div", attrs={"class": "answer", "id": f"{exercise['id']}-answer"})
        back = soup.new_tag("a", attrs={"href": f"#{exercise['id']}", "class": "back"})
        back.string = number.get_text(strip=True)
        title = soup.new_tag("p", attrs={"class": "answer-title"})
        title.append(back)
        box.append(title)
        for item in [*hints, solution]:
            box.append(item.extract())
        if heading := solution.select_one(".admonition-title"):
            heading.string = "Solution"
        answers.append(box)
        there = soup.new_tag("a", attrs={"href": f"#{box['id']}"})
        there.string = "Hints and solution" if hints else "Solution"
        line = soup.new_tag("p", attrs={"class": "there"})
        line.append(there)
        exercise.append(line)
    if answers.contents:
        heading = soup.new_tag("h2", attrs={"id": f"{slug}--answers"})
        heading.string = "Hints and solutions"
        answers.insert(0, heading)
        (article.find("section") or article).append(answers)


def prepare(site: Path, page: Page, known: dict[str, Page], to_site: str) -> Tag:
    """Return a page's article, ready to be joined to the others."""
    soup = parse(site / page.name)
    article = soup.select_one("article")
    if article is None:
        raise ValueError(f"site: {page.name} has no article; accepted: a site built with make html")
    for element in article.select(ON_SCREEN):
        element.decompose()
    redirect(article, page, known, to_site)
    unroll(article, soup)
    collect(article, soup, page.slug)
    leave_out_code(article, soup)
    for mark in article.select("h1 i"):
        mark.unwrap()
    article.smooth()
    unfold(article, soup)
    if not page.is_chapter and page.name.endswith("/index.html") and (title := article.find("h1")):
        title.string = PREFACE if page.name == "book/index.html" else title.get_text(strip=True)
    article["class"] = "chapter" if page.is_chapter else "reference"
    article["id"] = page.slug
    # A heading that begins a sheet would be named twice in the outline: a line stands before it, if an empty one.
    part = soup.new_tag("p", attrs={"class": "part"})
    part.string = page.part or "\u00a0"
    article.insert(0, part)
    return article


# --- the document ---


def headings(article: Tag) -> list[Tag]:
    """Return what the contents list of a page: its title and, of a chapter, its sections."""
    return article.select("h1, h2" if article["class"] == "chapter" else "h1")


def table_of_contents(articles: list[Tag]) -> str:
    """Return the contents, with a place for the number of each heading's page."""
    lines = []
    for article in articles:
        part = article.select_one("p.part")
        if part is not None and part.get_text(strip=True):
            lines.append(f'<p class="part">{html.escape(part.get_text())}</p>')
        for i, heading in enumerate(headings(article)):
            target = article["id"] if heading.name == "h1" else heading.get("id") or heading.parent["id"]
            text = html.escape(" ".join(heading.get_text(" ", strip=True).split()))
            place = f'<b data-heading="{article["id"]}/{i}">000</b>'
            lines.append(
                f'<p class="to-{heading.name}"><a href="#{target}"><span>{text}</span>{place}</a></p>'
            )
    return "\n".join(lines)


def running_heads(articles: list[Tag]) -> str:
    """Return a style for each page: a box at the top of the sheet with the title."""
    rules = []
    for article in articles:
        title = article.find("h1")
        text = json.dumps(
            " ".join(title.get_text(" ", strip=True).split()) if title else TITLE, ensure_ascii=False
        )
        rules.append(f"#{article['id']} {{ page: {article['id']}; }}")
        rules.append(f"@page {article['id']} {{ @top-right {{ content: {text}; }} }}")
    return "\n".join(rules)


def fonts() -> str:
    """Return the declaration of a serif type face that comes with matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return ""
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    faces = {
        "": ("normal", 400),
        "Italic": ("italic", 400),
        "Bol": ("normal", 700),
        "BolIta": ("italic", 700),
    }
    return "\n".join(
        f'@font-face {{ font-family: "Book"; font-style: {style}; font-weight: {weight}; '
        f'src: url("{(folder / f"STIXGeneral{name}.ttf").as_uri()}"); }}'
        for name, (style, weight) in faces.items()
    )


def assemble(articles: list[Tag], to_site: str) -> str:
    """Return the whole document."""
    mathjax = {
        "loader": {"load": ["input/tex", "output/chtml"]},
        "chtml": {"scale": 1.0, "matchFontHeight": False},
        "options": {
            "processHtmlClass": "math",
            "ignoreHtmlClass": "tex2jax_ignore",
            "enableAssistiveMml": False,
            "enableMenu": False,
        },
    }
    style = (ROOT / "scripts" / "pdf.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{TITLE}</title>
<link rel="stylesheet" href="{to_site}/_static/pygments.css">
<link rel="stylesheet" href="{to_site}/_static/book.css">
<style>{fonts()}\n{style}\n{running_heads(articles)}</style>
<script>window.MathJax = {json.dumps(mathjax)}</script>
<script src="{to_site}/_static/mathjax/startup.js"></script></head>
<body>
<section class="title-page"><h1>{TITLE}</h1><p class="subtitle">{SUBTITLE}</p>
<p class="imprint">Made from the pages of the book’s site, with the outputs that are committed with its chapters. Two of
each slider’s pictures are shown; the site has them all. Hints and solutions stand at the end of each chapter.<br>
Text and figures: CC BY 4.0. Code: MIT.</p></section>
<nav class="contents"><p class="part">&nbsp;</p><h1>Contents</h1>{table_of_contents(articles)}</nav>
{"".join(str(article) for article in articles)}
</body></html>"""


# --- printing ---


def find_browser() -> str | None:
    """Return the path of a browser that can print, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def page_numbers(pdf: Path, articles: list[Tag]) -> dict[str, int]:
    """Return on which page each heading of the contents is, read from the outline of a first print."""
    from pypdf import PdfReader

    reader = PdfReader(pdf)
    found: list[tuple[str, int]] = []

    def walk(items: list[Any]) -> None:
        for item in items:
            if isinstance(item, list):
                walk(item)
            else:
                found.append((squeeze(str(item.title)), (reader.get_destination_page_number(item) or 0) + 1))

    walk(reader.outline)
    numbers, position = {}, 0
    for article in articles:
        for i, heading in enumerate(headings(article)):
            # Chromium names each piece of a heading twice where it begins a sheet.
            pieces = [squeeze(piece) for piece in heading.stripped_strings]
            titles = ("".join(pieces), "".join(piece + piece for piece in pieces))
            ahead = (j for j in range(position, len(found)) if found[j][0] in titles)
            position = next(ahead, position)
            if position < len(found) and found[position][0] in titles:
                numbers[f"{article['id']}/{i}"] = found[position][1]
                position += 1
    return numbers


def squeeze(text: str) -> str:
    """Return a heading's letters and digits: what remains the same on every way through the printer."""
    return re.sub(r"\W+", "", text)


def repair_outline(pdf: Path, articles: list[Tag]) -> None:
    """Give each bookmark its heading's text: Chromium repeats the pieces of a heading that begins a sheet."""
    from pypdf import PdfWriter
    from pypdf.generic import NameObject, TextStringObject

    names: dict[str, str] = {}
    for article in articles:
        for heading in article.find_all(["h1", "h2", "h3", "h4"]):
            pieces = list(heading.stripped_strings)
            text = " ".join(heading.get_text(" ", strip=True).split()).replace(" . ", ". ")
            names[squeeze("".join(pieces))] = names[squeeze("".join(piece + piece for piece in pieces))] = (
                text
            )
    writer = PdfWriter(clone_from=pdf)
    waiting = [writer.root_object["/Outlines"]["/First"].get_object()]
    while waiting:
        item = waiting.pop()
        item[NameObject("/Title")] = TextStringObject(
            names.get(squeeze(str(item["/Title"])), str(item["/Title"]))
        )
        waiting += [item[key].get_object() for key in ("/First", "/Next") if key in item]
    writer.add_metadata({"/Title": TITLE, "/Author": AUTHOR})
    writer.write(pdf)


def write_pdf(browser: Any, document: Path, result: Path, articles: list[Tag]) -> None:
    """Typeset a document and print it twice: the second print's contents know the pages of the first."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
    page.set_default_timeout(PATIENCE)
    page.emulate_media(media="print")
    page.goto(document.as_uri(), wait_until="load")
    if errors := page.evaluate(TYPESET):
        raise RuntimeError(f"{errors} equations cannot be typeset: look for mjx-merror in {document}")
    paper = {"prefer_css_page_size": True, "print_background": True, "outline": True, "tagged": True}
    page.pdf(path=result, **paper)
    page.evaluate(NUMBER, page_numbers(result, articles))
    page.pdf(path=result, **paper)
    page.close()
    repair_outline(result, articles)


def make(site: Path, result: Path, only: list[str] | None = None) -> Path:
    """Print the built site (or the pages ``only``, by their file names without ``.html``) and return the result's path."""
    from playwright.sync_api import sync_playwright

    pages = [page for page in contents(site) if not only or page.name[len("book/") : -len(".html")] in only]
    if not pages:
        raise ValueError(f"only: {only} names no page of {site}; accepted: file names such as 01_information")
    document = result.with_suffix(".html")
    document.parent.mkdir(parents=True, exist_ok=True)
    to_site = os.path.relpath(site, document.parent).replace(os.sep, "/")
    known = {page.name: page for page in pages}
    articles = [prepare(site, page, known, to_site) for page in pages]
    document.write_text(assemble(articles, to_site), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"], timeout=PATIENCE
        )
        write_pdf(browser, document, result, articles)
        browser.close()
    return result


def publish(site: Path, result: Path) -> None:
    """Put the printed book into the site, with a link on the landing page."""
    shutil.copy2(result, site / RESULT.name)
    start = site / "book" / "index.html"
    size = f"{result.stat().st_size / 1e6:.0f} MB"
    link = f'<p class="t2v-printed"><a href="../{RESULT.name}">The whole book as a PDF</a>, {size}.</p>'
    start.write_text(start.read_text(encoding="utf-8").replace(PLACE, link), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run from the command line; 2 means that something is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--site", type=Path, default=ROOT / "_build" / "html", help="the built site")
    parser.add_argument("--to", type=Path, default=RESULT, help="the file to write")
    parser.add_argument("--only", nargs="+", help="pages by their file names, such as 01_information")
    options = parser.parse_args(arguments)
    if not (options.site / "book" / "index.html").is_file():
        print(f"there is no site at {options.site}: run make html first", file=sys.stderr)
        return 2
    from playwright.sync_api import Error

    try:
        result = make(options.site.resolve(), options.to.resolve(), options.only)
        print(result)
        if not options.only:
            publish(options.site.resolve(), result)
    except Error as error:
        if find_browser() is None and "Executable doesn't exist" in str(error):
            print(WITHOUT_BROWSER, file=sys.stderr)
            return 2
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
