"""What is done to each page when it is written: lighter, steadier, and valid. All of it works on the built files.

The theme brings an icon library of half a megabyte, the search index on every page, and pictures without a size; a page
keeps only what it uses. Each step is a function from a page's text to its text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import lean_styles
from PIL import Image
from sphinx.application import Sphinx

#: Runs before anything is painted. "auto" is resolved here: colours are defined for light and dark only.
THEME = """<script>
(() => { const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const kept = key => { try { return localStorage.getItem(key); } catch { return null; } };
  root.dataset.mode = kept("mode") || "auto";
  root.dataset.theme = root.dataset.mode === "auto" ? (dark ? "dark" : "light") : root.dataset.mode;
  root.classList.add("t2v-scripted"); })();
</script>"""
MATHEMATICS = r'<(?:span|div) class="math '
#: Scripts and styles that the theme puts everywhere, and the pattern in a page that needs them (code is escaped there).
NEEDED_FOR: dict[str, str | None] = {
    "scripts/fontawesome.js": None,
    "searchtools.js": None,
    "language_data.js": None,
    "searchindex.js": None,
    "design-tabs.js": "sd-tab-set",
    "clipboard.min.js": 'class="highlight"',
    "copybutton.js": 'class="highlight"',
    "togglebutton.js": "dropdown admonition",
    "mathjax/startup.js": MATHEMATICS,
    "copybutton.css": 'class="highlight"',
    "togglebutton.css": "dropdown admonition",
    "exercise.css": "exercise",
    "proof.css": "proof",
    "sphinx-design.min.css": "sd-",
}
#: What no page asks for when the steps are done.
UNUSED = (
    "_static/**/*.map",
    "_static/vendor/fontawesome",
    "_static/webfonts",
    "_static/scripts/fontawesome.js*",
)
UNUSED += ("searchindex.js", "_static/searchtools.js", "_static/language_data.js")
#: A data address longer than this becomes a file, which is fetched when it is looked at.
LONGEST_DATA = 2_000
#: Pictures of fewer bytes are left alone, as are those of more colours.
LARGE, MOST_COLOURS = 20_000, 20_000


# --- the head ---


def head(page: str) -> str:
    """Resolve the theme first, keep one viewport, and drop the scripts and styles that the page does not need."""
    page = page.replace('data-theme="auto"', 'data-theme="light"', 1)  # what holds where no script runs
    page = re.sub(
        r"<script data-cfasync=\"false\">.*?</script>", lambda _: THEME, page, count=1, flags=re.DOTALL
    )
    viewports = re.findall(r"<meta name=\"viewport\"[^>]*>", page)
    for spare in viewports[1:]:
        page = page[::-1].replace(spare[::-1], "", 1)[::-1]
    body = page[page.find("<body") :]
    for name, sign in NEEDED_FOR.items():
        if sign is None or not re.search(sign, body):
            page = re.sub(
                rf"<(script)[^>]*[/\"]{re.escape(name)}[^>]*></script>|<link[^>]*[/\"]{re.escape(name)}[^>]*>",
                "",
                page,
            )
    if not re.search(MATHEMATICS, body):
        page = re.sub(r"<script>window\.MathJax = .*?</script>", "", page)
    return page


# --- pictures ---


def size(picture: Path) -> tuple[int, int] | None:
    """Return a picture's width and height in CSS pixels, from its first bytes."""
    if picture.suffix == ".svg":
        text = picture.read_text(encoding="utf-8")[:4000]
        box = re.search(r'<svg[^>]*\bviewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', text, re.DOTALL)
        return (round(float(box[1]) * 4 / 3), round(float(box[2]) * 4 / 3)) if box else None
    start = picture.read_bytes()[:24]
    return struct.unpack(">II", start[16:24]) if start[:4] == b"\x89PNG" else None


def shrink(folder: Path) -> None:
    """Reduce drawings to 256 colours, a third of their bytes; photographs, with their thousands, stay as they are."""
    for path in folder.glob("*.png"):
        if path.stat().st_size < LARGE or path.name.startswith("t2v-"):
            continue
        with Image.open(path) as picture:
            if picture.mode == "P" or picture.convert("RGB").getcolors(MOST_COLOURS) is None:
                continue
            few = picture.convert("RGB").quantize(
                256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
            )
        few.save(path, optimize=True)


def to_file(data: str, folder: Path) -> str:
    """Write a data address as a file of its own and return its name."""
    kind, _, content = data.removeprefix("data:image/").partition(";base64,")
    raw = base64.b64decode(content)
    name = f"t2v-{hashlib.sha256(raw).hexdigest()[:24]}.{kind.partition('+')[0]}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(raw)
    return name


def pictures(page: str, name: str, site: Path) -> str:
    """Give every picture its size, so that nothing moves when it arrives, and load it when it is near."""
    up = "../" * name.count("/")

    def finish(match: re.Match[str]) -> str:
        tag = match[0]
        source = re.search(r'\bsrc="([^"]*)"', tag)
        if source is None:
            return tag
        address = source[1]
        if address.startswith("data:image/") and len(address) > LONGEST_DATA:
            address = f"{up}_images/{to_file(html.unescape(address), site / '_images')}"
            tag = tag.replace(source[1], address)
        file = (site / name).parent / address
        found = size(file) if not address.startswith("data:") and file.is_file() else None
        extra = ' decoding="async"' + ("" if "loading=" in tag else ' loading="lazy"')
        if found and "width=" not in tag:
            extra += f' width="{found[0]}" height="{found[1]}" style="--t2v-natural: {found[0]}px"'
            if found[0] / found[1] < NARROW:
                extra += ' data-shape="narrow"'
        return re.sub(r"\s*/?>$", f"{extra}>", tag)

    return re.sub(r"<img\b[^>]*>", finish, page)


#: Pictures of a smaller ratio of width to height stand in the text's column, with their captions in the margin.
NARROW = 1.55


# --- the body ---


def ids(page: str) -> str:
    """Take away the second and later uses of an id: extensions give the same one to every theorem's and exercise's body."""
    seen: set[str] = set()

    def once(match: re.Match[str]) -> str:
        if match[2] in seen:
            return match[1]
        seen.add(match[2])
        return match[0]

    start = page.find("<body")
    return page[:start] + re.sub(r"(<[a-z][^<>]*?) id=\"([^\"]*)\"", once, page[start:])


#: The first words of a folded cell say what is in it.
OPENINGS = (
    (re.compile(r"^# (Checked here[^\n]*)"), "t2v-checked"),
    (re.compile(r"claims\.verdict\("), "t2v-code-verdict"),
    (re.compile(r"^(?:import|from) "), "t2v-code-setup"),
)
WORDS = {"t2v-code-verdict": "The test behind this verdict", "t2v-code-setup": "Set-up"}


def folded(page: str) -> str:
    """Say on each folded cell what it holds: a check, the test behind a verdict, the set-up, or other code."""

    def name(match: re.Match[str]) -> str:
        code = html.unescape(re.sub(r"<[^>]+>", "", match[2])).strip()
        for pattern, kind in OPENINGS:
            if found := pattern.search(code):
                words = found[1].rstrip(".") if found.lastindex else WORDS[kind]
                break
        else:
            kind, words = "t2v-code-other", "Code"
        summary = f'<summary><span class="t2v-fold">{html.escape(words)}</span></summary>'
        return f'<details class="hide above-input {kind}">\n{summary}{match[2]}</details>'

    return re.sub(
        r'<details class="admonition hide above-input">\s*(<summary.*?</summary>)(.*?)</details>',
        name,
        page,
        flags=re.DOTALL,
    )


def body(page: str) -> str:
    """Unwrap paragraphs in summaries, and leave out the page's second title and contents, which are made for paper."""
    page = re.sub(
        r'<div id="jb-print-docs-body".*?</nav>\s*</div>\s*</div>\s*</div>', "", page, flags=re.DOTALL
    )
    page = page.replace('<a class="headerlink"', '<a class="headerlink" tabindex="-1"')
    page = re.sub(r'(<h1><span class="section-number">\d+)(\. )</span>', r"\1<i>\2</i></span>", page)
    return re.sub(r"Solution to_\s*", "Solution to ", page)


def finish(page: str, name: str, site: Path) -> str:
    """Return a page as it is published."""
    return ids(folded(body(pictures(head(page), name, site))))


# --- cards ---


#: What a link's card can show, by the target's id: an equation, a figure, a work that is cited.
SHAPES = (
    r'<div class="math notranslate nohighlight" id="{id}">.*?</div>',
    r'<figure[^>]* id="{id}".*?</figure>',
    r'<div class="citation" id="{id}".*?</div>',
)


def target(page: str, fragment: str) -> str:
    """Return what an address of a page points at, if a card can show it, without ids and marks."""
    for shape in SHAPES:
        if found := re.search(shape.format(id=re.escape(fragment)), page, re.DOTALL):
            text = re.sub(
                r'<a class="headerlink".*?</a>|<span class="backrefs">.*?</span>',
                "",
                found[0],
                flags=re.DOTALL,
            )
            return re.sub(r'\s(?:id|role)="[^"]*"', "", text)
    return ""


def cards(page: str, name: str, texts: dict[str, str]) -> str:
    """Bring along what the links of an article lead to on other pages, for the cards of book.js."""
    start, end = page.find("<article"), page.find("</article>")
    items = []
    for address in dict.fromkeys(
        re.findall(r'<a class="reference internal" href="([^"#]+#[^"]+)"', page[start:end])
    ):
        file, _, fragment = address.partition("#")
        there = Path(os.path.normpath(Path(name).parent / file)).as_posix()
        if text := target(texts.get(there, ""), html.unescape(fragment)):
            items.append(f'<div data-address="{address}">{text}</div>')
    if not items:
        return page
    return f'{page[:end]}<template class="t2v-definitions">{"".join(items)}</template>{page[end:]}'


# --- the site ---


def pages(site: Path) -> Iterator[Path]:
    """Yield the files of all pages."""
    yield from (
        p for p in sorted(site.rglob("*.html")) if p.relative_to(site).parts[0] not in ("_static", "_sources")
    )


def purge(site: Path) -> None:
    """Remove what no page asks for."""
    for pattern in UNUSED:
        for path in sorted(site.glob(pattern), reverse=True):
            if path.is_dir():
                for file in sorted(path.rglob("*"), reverse=True):
                    file.rmdir() if file.is_dir() else file.unlink()
                path.rmdir()
            else:
                path.unlink()


def finish_site(site: Path) -> None:
    """Finish every page of a built site."""
    shrink(site / "_images")
    texts = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in pages(site)}
    for name, text in texts.items():
        (site / name).write_text(finish(cards(text, name, texts), name, site), encoding="utf-8")
    purge(site)
    lean_styles.lean_site(site)


def on_build_finished(app: Sphinx, error: Exception | None) -> None:
    """Finish the site when Sphinx is done with it."""
    if error is None and app.builder.format == "html":
        finish_site(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("build-finished", on_build_finished, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
