"""Leave out of the theme's style sheets the rules for classes that no page and no script of the site has.

The theme ships the whole of Bootstrap: nine tenths of it never match. A rule stays if it might match after a script has
run: the words of all scripts count as classes, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

#: Sheets that are worth it, by the beginnings of their names.
LARGE = ("pydata-sphinx-theme", "sphinx-design", "mystnb", "proof", "sphinx-book-theme")
#: Blocks that hold rules.
NESTED = ("@media", "@supports", "@layer", "@container")
#: Icon fonts: the site draws its icons itself.
ICONS = re.compile(r"font-?awesome", re.IGNORECASE)


def blocks(css: str) -> Iterator[tuple[str, str]]:
    """Yield each rule of a sheet without comments as its head and its body; a statement has an empty body."""
    start = depth = opened = 0
    for match in re.finditer(r"[{};]", css):
        at, sign = match.start(), match[0]
        if sign == "{":
            if depth == 0:
                opened = at
            depth += 1
        elif sign == "}":
            depth -= 1
            if depth == 0:
                yield css[start:opened].strip(), css[opened + 1 : at]
                start = at + 1
        elif depth == 0:
            yield css[start : at + 1].strip(), ""
            start = at + 1


def may_match(selector: str, words: frozenset[str]) -> bool:
    """Tell whether all classes and ids that a selector asks for are among the words."""
    plain = re.sub(r":(?:not|is|where|has)\((?:[^()]|\([^()]*\))*\)", "", selector)
    return all(name in words for name in re.findall(r"[.#](-?[_a-zA-Z][\w-]*)", plain))


def lean(css: str, words: frozenset[str]) -> str:
    """Return a sheet without the rules that cannot match."""
    kept = []
    for head, body in blocks(re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)):
        if head.startswith(NESTED):
            inner = lean(body, words)
            kept += [f"{head}{{{inner}}}"] if inner else []
        elif head.startswith("@"):
            kept += [] if ICONS.search(body) else [f"{head}{{{body}}}" if body else head]
        else:
            selectors = [part for part in split(head) if may_match(part, words)]
            kept += [f"{','.join(selectors)}{{{body}}}"] if selectors else []
    return "\n".join(kept)


def split(head: str) -> list[str]:
    """Cut a list of selectors at the commas that stand outside parentheses and brackets."""
    parts, depth, start = [], 0, 0
    for i, sign in enumerate(head):
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            parts.append(head[start:i].strip())
            start = i + 1
    return [*parts, head[start:].strip()]


def words_of(site: Path) -> frozenset[str]:
    """Return every class and id of the pages, and every word of the scripts."""
    found: set[str] = set()
    for path in site.rglob("*.html"):
        for value in re.findall(r'\b(?:class|id)="([^"]*)"', path.read_text(encoding="utf-8")):
            found.update(value.split())
    for path in (site / "_static").rglob("*.js"):
        if "mathjax" not in path.parts:
            found.update(re.findall(r"[\w-]+", path.read_text(encoding="utf-8")))
    return frozenset(found)


def lean_site(site: Path) -> None:
    """Rewrite the large style sheets of a built site."""
    words = words_of(site)
    for path in (site / "_static").rglob("*.css"):
        if path.name.startswith(LARGE):
            path.write_text(lean(path.read_text(encoding="utf-8"), words), encoding="utf-8")
