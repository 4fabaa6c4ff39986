"""The index of the search: one entry a section, in words that a reader sees; it is loaded when somebody searches.

Sphinx's own index knows pages, and takes its snippets from the whole page, menus and code included. This one holds the
sections of a page with their prose, so that a hit leads to the place and shows a sentence from there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

#: Not prose: code, what it prints, drawings, and definitions of the API's signatures.
LEFT_OUT = (nodes.literal_block, nodes.raw, nodes.image, nodes.comment, nodes.math_block, nodes.title)
#: Characters of a section that are kept: what stands further down has headings of its own in nearly all cases.
LONGEST = 6_000
GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "theta": "θ",
    "lambda": "λ",
    "mu": "μ",
    "rho": "ρ",
}
GREEK |= {
    "sigma": "σ",
    "tau": "τ",
    "mid": "|",
    "le": "≤",
    "ge": "≥",
    "log": "log ",
    "epsilon": "ε",
    "to": "→",
}


def formula(source: str) -> str:
    """Return a formula roughly as it is read, for a snippet."""
    text = re.sub(r"\\([a-zA-Z]+)\s*", lambda m: GREEK.get(m[1], ""), source)
    return re.sub(r"[{}\\$^_]|\s+", lambda m: " " if m[0].isspace() else "", text)


def words(node: nodes.Node) -> str:
    """Return the prose below a node, without what belongs to sections inside it."""
    if isinstance(node, nodes.Text):
        return node.astext()
    if isinstance(node, nodes.math):
        return formula(node.astext())
    if isinstance(node, LEFT_OUT) or "cell" in getattr(node, "attributes", {}).get("classes", []):
        return captions(node) if isinstance(node, nodes.container) else ""
    text = "".join(
        words(child) for child in node.children if not isinstance(child, nodes.section | addnodes.desc)
    )
    return text if isinstance(node, nodes.Inline) else f"{text} "


def is_titled(node: nodes.Node) -> bool:
    """Tell whether a node is a section with a heading: the bodies of theorems and exercises are sections without."""
    return isinstance(node, nodes.section) and any(isinstance(child, nodes.title) for child in node.children)


def captions(cell: nodes.Node) -> str:
    """Return what stands under the figures of a cell."""
    return " ".join(words(caption) for caption in cell.findall(nodes.caption))


def entries(doctree: nodes.document, page: str) -> list[list[str]]:
    """Return address, title, page's title and prose of each section of a page, and of each object of the API."""
    found: list[list[str]] = []
    sections = [section for section in doctree.findall(nodes.section) if is_titled(section)]
    top = heading(sections[0]) if sections else page
    for section in sections:
        text = re.sub(r"\s+", " ", words(section)).strip()[:LONGEST]
        fragment = f"#{section['ids'][0]}" if found and section["ids"] else ""
        found.append([f"{page}.html{fragment}", heading(section), top, text])
    for item in doctree.findall(addnodes.desc):
        signature = item.next_node(addnodes.desc_signature)
        if signature is not None and signature["ids"]:
            text = re.sub(r"\s+", " ", words(item[-1])).strip()[:LONGEST]
            found.append([f"{page}.html#{signature['ids'][0]}", signature["ids"][0], top, text])
    return found


def heading(section: nodes.section) -> str:
    """Return a section's title as text."""
    node = section.next_node(nodes.title)
    return re.sub(r"\s+", " ", words_of_title(node)) if node is not None else ""


def words_of_title(node: nodes.Node) -> str:
    """Return a title's text with its formulas as they are read."""
    if isinstance(node, nodes.Text):
        return node.astext()
    if isinstance(node, nodes.math):
        return formula(node.astext())
    return "".join(words_of_title(child) for child in node.children)


def write_index(app: Sphinx, error: Exception | None) -> None:
    """Write the index as a script, which loads from a folder, too."""
    if error is not None or app.builder.format != "html":
        return
    rows: list[list[str]] = []
    for page in sorted(app.env.found_docs):
        rows += entries(app.env.get_doctree(page), page)
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    (Path(app.outdir) / "search_index.js").write_text(f"window.T2V_INDEX={text};\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", write_index, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
