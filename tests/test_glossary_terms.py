"""Which words of a chapter become links to the glossary."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sphinx")
from docutils import nodes

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def terms() -> Any:
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        import glossary_terms
    finally:
        sys.path.pop(0)
    return glossary_terms


@pytest.fixture
def linked(terms: Any) -> Any:
    """Return a function that says which pieces of a document were linked, and to which anchors."""

    def link(*content: nodes.Node, names: str = "entropy,conditional entropy,bit,PAC bound") -> list[str]:
        entries = [terms.Entry(name, f"term-{name.replace(' ', '-')}", "") for name in names.split(",")]
        document = nodes.section("", *content)
        before = document.astext()
        found = terms.link_terms(document, entries, "glossary.html")
        assert document.astext() == before, "no word is lost or moved"
        links = list(document.findall(nodes.reference))
        links = [link for link in links if "t2v-term" in link["classes"]]
        assert len(found) == len(links)
        return [f"{' '.join(link.astext().split())} → {link['refuri'].partition('#')[2]}" for link in links]

    return link


def paragraph(text: str) -> nodes.paragraph:
    return nodes.paragraph("", "", nodes.Text(text))


def test_first_mention_only(linked: Any) -> None:
    found = linked(paragraph("Entropy first, entropy again."), paragraph("And entropy."))
    assert found == ["Entropy → term-entropy"]


def test_the_longer_term_wins(linked: Any) -> None:
    found = linked(paragraph("The conditional\nentropy; conditional entropy again; then the entropy."))
    assert found == ["conditional entropy → term-conditional-entropy", "entropy → term-entropy"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Both entropies add up.", ["entropies → term-entropy"]),
        ("All PAC bounds hold.", ["PAC bounds → term-PAC-bound"]),
        ("cross-entropy, entropy-like, entropy‑based, entropyless, negentropy", []),
        ("One bit, two bits.", []),
        ("(entropy)", ["entropy → term-entropy"]),
    ],
)
def test_spelling(linked: Any, text: str, expected: list[str]) -> None:
    assert linked(paragraph(text)) == expected


def test_only_prose_is_linked(linked: Any) -> None:
    closed: list[nodes.Node] = [
        nodes.title("", "entropy"),
        nodes.literal_block("entropy", "entropy"),
        nodes.math_block("entropy", "entropy"),
        nodes.raw("", "entropy", format="html"),
        nodes.figure("", nodes.caption("", "entropy")),
        nodes.admonition("", nodes.title("", "entropy"), paragraph("…")),
        nodes.paragraph("", "", nodes.reference("", "entropy", refuri="#")),
        nodes.paragraph("", "", nodes.literal("", "entropy"), nodes.math("", "entropy")),
        nodes.admonition("", paragraph("entropy"), classes=["exercise"]),
        nodes.container("", paragraph("entropy"), classes=["sd-dropdown"]),
    ]
    assert linked(*closed) == []
    item = nodes.list_item("", nodes.paragraph("", "", nodes.strong("", "entropy")))
    assert linked(*closed, nodes.bullet_list("", item)) == ["entropy → term-entropy"]


def test_a_page_has_a_limit(terms: Any, linked: Any) -> None:
    names = [f"word{chr(97 + i)}" for i in range(26)]
    found = linked(paragraph(" ".join(names)), names=",".join(names))
    assert [link.split()[0] for link in found] == names[: terms.MOST]


def test_a_definition_becomes_html(terms: Any) -> None:
    text = nodes.paragraph("", "", nodes.Text("Zero if "), nodes.math("", "a<b"), nodes.Text(" & more"))
    item = nodes.definition_list_item(
        "", nodes.term("", "entropy", ids=["term-entropy"]), nodes.definition("", text)
    )
    [entry] = terms.read_glossary(nodes.section("", nodes.definition_list("", item)))
    assert (entry.term, entry.anchor) == ("entropy", "term-entropy")
    math = r'<span class="math notranslate nohighlight">\(a&lt;b\)</span>'
    assert entry.definition == f"<p>Zero if {math} &amp; more</p>"


def test_general_words_are_words_of_the_glossary(terms: Any) -> None:
    """A word that is skipped but no longer explained would be dead."""
    glossary = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8").splitlines()
    assert set(glossary) >= terms.TOO_GENERAL
