"""Link each glossary term where a chapter first uses it in prose, and send its definition along with the page.

The links lead to the glossary; ``book.js`` shows the definition beside a link that is pointed at or focused. The
definitions are added to the finished page, not to the text, so that the search does not find them in every chapter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

GLOSSARY = "book/glossary"
CHAPTER = re.compile(r"book/\d\d_")
#: Links on one page: more would make the text restless.
MOST = 25
#: Words that the chapters also use in an everyday or in another technical sense: a link would often mislead.
TOO_GENERAL = frozenset(
    {"base", "bit", "capacity", "channel", "claim", "domain", "expert", "filter", "head", "invariant"}
    | {"minimal", "score", "sufficient", "task"}
)
#: Text in these is left alone: headings, links, code, formulas, tables, and what a reader opens later, if at all.
CLOSED_NODES = (
    nodes.title,
    nodes.rubric,
    nodes.caption,
    nodes.reference,
    nodes.literal,
    nodes.math,
    nodes.math_block,
    nodes.FixedTextElement,
    nodes.table,
    nodes.footnote,
    nodes.raw,
)
#: Those that extensions define, by the beginnings of their names, and containers by their class.
CLOSED_NAMES = ("exercise", "solution", "pending_xref", "download_reference")
CLOSED_CLASSES = frozenset(
    {"exercise", "solution", "dropdown", "sd-dropdown", "cell", "cell_output", "toggle"}
)


@dataclass(frozen=True)
class Entry:
    """A term as the glossary spells it, its anchor there, and its definition in HTML."""

    term: str
    anchor: str
    definition: str


def as_html(node: nodes.Node) -> str:
    """Return a definition's text and formulas as HTML, without its links."""
    if isinstance(node, nodes.math):
        return rf'<span class="math notranslate nohighlight">\({escape(node.astext())}\)</span>'
    if isinstance(node, nodes.Text):
        return escape(node.astext(), quote=False)
    inside = "".join(as_html(child) for child in node.children)
    tag = {"emphasis": "em", "strong": "strong", "literal": "code", "paragraph": "p"}.get(type(node).__name__)
    return f"<{tag}>{inside}</{tag}>" if tag else inside


def read_glossary(doctree: nodes.document) -> list[Entry]:
    """Return the entries of a glossary's page."""
    entries = []
    for item in doctree.findall(nodes.definition_list_item):
        definition = next(item.findall(nodes.definition), None)
        for term in item.findall(nodes.term):
            if term["ids"] and definition is not None:
                entries.append(Entry(term.astext().strip(), term["ids"][0], as_html(definition)))
    return entries


def spelling(term: str) -> str:
    """Return a pattern for a term or its plural; spaces may be line breaks."""
    words = r"\s+".join(re.escape(word) for word in term.split())
    if re.search(r"[b-df-hj-np-tv-z]y$", term):
        return words[:-1] + "(?:y|ies)"
    return words + (r"(?:es)?" if re.search(r"(?:s|x|z|ch|sh)$", term) else "s?")


def matcher(entries: list[Entry]) -> re.Pattern[str]:
    """Return a pattern with one group an entry, the longest first; parts of hyphenated words do not match."""
    longest = sorted(range(len(entries)), key=lambda i: -len(entries[i].term))
    choices = "|".join(f"(?P<t{i}>{spelling(entries[i].term)})" for i in longest)
    return re.compile(rf"(?<![\w‑–-])(?:{choices})(?![\w‑–-])", re.IGNORECASE)


def split(
    text: str, entries: list[Entry], pattern: re.Pattern[str], seen: set[str]
) -> list[str | tuple[str, Entry]]:
    """Cut a text at the terms that are not in ``seen`` yet, and add them to it.

    A general word is not linked, nor is a term inside a longer one ("entropy" in "conditional entropy").
    """
    parts: list[str | tuple[str, Entry]] = []
    start = 0
    for match in pattern.finditer(text):
        entry = entries[int((match.lastgroup or "t0")[1:])]
        if entry.term in TOO_GENERAL or entry.term in seen or len(seen) >= MOST:
            continue
        seen.add(entry.term)
        parts += [text[start : match.start()], (match[0], entry)]
        start = match.end()
    return [part for part in [*parts, text[start:]] if part]


def is_closed(node: nodes.Node) -> bool:
    """Tell whether the text in this node is left alone."""
    if isinstance(node, CLOSED_NODES) or node.__class__.__name__.startswith(CLOSED_NAMES):
        return True
    return isinstance(node, nodes.Element) and not CLOSED_CLASSES.isdisjoint(node.get("classes", []))


def prose(node: nodes.Node, within: bool = False) -> Iterator[nodes.Text]:
    """Yield the texts of paragraphs (those of lists too), in the order of reading."""
    for child in node.children:
        if isinstance(child, nodes.Text):
            if within:
                yield child
        elif not is_closed(child):
            yield from prose(child, within or isinstance(child, nodes.paragraph))


def link_terms(document: nodes.Node, entries: list[Entry], page: str) -> list[Entry]:
    """Replace the first mention of each term by a link to ``page`` and return the entries that were linked."""
    seen: set[str] = set()
    pattern = matcher(entries)
    for text in list(prose(document)):
        parts = split(text.astext(), entries, pattern, seen)
        if any(isinstance(part, tuple) for part in parts):
            text.parent.replace(text, [as_node(part, page) for part in parts])
    return [entry for entry in entries if entry.term in seen]


def as_node(part: str | tuple[str, Entry], page: str) -> nodes.Node:
    """Return a piece of text, or a link to the glossary."""
    if isinstance(part, str):
        return nodes.Text(part)
    text, entry = part
    return nodes.reference("", text, internal=True, refuri=f"{page}#{entry.anchor}", classes=["t2v-term"])


def link_chapter(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Link the terms of a chapter when its other references are resolved."""
    if app.builder.format == "html" and CHAPTER.match(docname) and GLOSSARY in app.env.found_docs:
        entries = read_glossary(app.env.get_doctree(GLOSSARY))
        if entries:
            doctree["t2v_terms"] = link_terms(
                doctree, entries, app.builder.get_relative_uri(docname, GLOSSARY)
            )


def add_definitions(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the definitions of the page's terms in a template, which neither browser nor screen reader shows."""
    linked: list[Entry] = doctree.get("t2v_terms", []) if doctree is not None else []
    if linked:
        items = "".join(f'<div data-term="{escape(e.anchor)}">{e.definition}</div>' for e in linked)
        context["body"] += f'<template class="t2v-definitions">{items}</template>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", link_chapter, priority=900)
    app.connect("html-page-context", add_definitions)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
