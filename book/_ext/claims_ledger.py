"""The directives ``{claims-ledger}`` and ``{claims-board}``: all claims, as entries and as a picture of tiles.

Both are made from ``claims.yml`` and the committed chapters; the picture works without a script.
"""

from __future__ import annotations

import csv
import html
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from t2v import claims

#: A verdict's box in a notebook has this id, and the ledger links to it.
ANCHOR = "verdict-{id}"
#: What became of the planted faults (scripts/mutants.py), beside the ledger's file.
MUTANTS = Path("runs") / "mutants.csv"
#: Short names for the headings, beside the ledger's file.
NAMES = "claim_names.yml"
#: How a formula, a piece of code and plain text become nodes.
NODES = {"math": nodes.math, "code": nodes.literal}


def cells(notebook: Path) -> list[dict[str, Any]]:
    """Return a notebook's cells; a file that has not changed is read once, however many claims ask."""
    return _cells(notebook, notebook.stat().st_mtime_ns)


@cache
def _cells(notebook: Path, changed: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return found


def evidence(notebook: Path) -> dict[str, str]:
    """Return claim id → the sentence of evidence in a notebook's committed outputs, if it can be linked to."""
    found: dict[str, str] = {}
    for cell in cells(notebook):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            record = data.get(claims.MIME) or _from_text("".join(data.get("text/plain", "")))
            if record and f'id="{ANCHOR.format(id=record["id"])}"' in "".join(data.get("text/html", "")):
                found[record["id"]] = record["evidence"]
    return found


def _from_text(text: str) -> dict[str, str]:
    """Return the record in a verdict's text: what chapters kept before verdicts travelled as data."""
    match = re.match(rf"(?P<id>C\d\d): (?:{'|'.join(claims.VERDICTS)})\. (?P<evidence>.*)", text)
    return match.groupdict() if match else {}


def lines(formula: str) -> str:
    """Break a chain of equations before each equals sign."""
    first, *rest = formula.split(" = ")
    chain = first + " &= " + r" \\ &= ".join(rest)
    return rf"\begin{{aligned}} {chain} \end{{aligned}}" if len(rest) > 1 else formula


def inline(text: str) -> list[nodes.Node]:
    """Return one line of plain text as nodes: formulas between dollars, code between backticks."""
    return [
        NODES[kind](part, part) if kind in NODES else nodes.Text(part) for kind, part in claims.spans(text)
    ]


def title(notebook: Path) -> str:
    """Return a chapter's first heading."""
    for cell in cells(notebook):
        match = re.search(r"^# (.+)$", "".join(cell["source"]), re.MULTILINE)
        if cell["cell_type"] == "markdown" and match:
            return match[1]
    return notebook.stem


def name_of(claim: claims.Claim, folder: Path) -> str:
    """Return a claim's short name, or its first words where it has none."""
    names = yaml.safe_load((folder / NAMES).read_text(encoding="utf-8"))
    words = re.sub(r"\s*\$[^$]*\$\s*", " … ", claim.claim)
    return names.get(claim.id) or re.split(r"[,:;]", words)[0].strip()


# --- the picture ---


def raw(text: str) -> str:
    """Return a sentence as HTML; its formulas are typeset when the card opens."""
    return "".join(
        {
            "math": rf'<span class="t2v-tex">\({html.escape(part)}\)</span>',
            "code": f"<code>{html.escape(part)}</code>",
        }.get(kind, html.escape(part))
        for kind, part in claims.spans(text)
    )


def tile(claim: claims.Claim, found: str, name: str) -> str:
    """Return one claim as a tile that leads to its entry, with a card for pointer and keyboard."""
    tip = f"t2v-tip-{claim.id.lower()}"
    facts = f"<p>{raw(found)}</p>" if found else ""
    return (
        f'<li><a class="t2v-tile {claims.CSS[claim.verdict]}" href="claims.html#claim-{claim.id.lower()}" '
        f'aria-describedby="{tip}">'
        f'{claim.id}<span class="visually-hidden">, {html.escape(name)}: {claim.verdict}</span></a>'
        f'<div class="t2v-tip {claims.CSS[claim.verdict]}" role="tooltip" id="{tip}"><p><strong>{html.escape(name)}.</strong> '
        f'<span class="t2v-badge">{claim.verdict}</span></p><p>The paper: {raw(claim.claim)}</p>{facts}</div></li>'
    )


def board(ledger: list[claims.Claim], folder: Path) -> str:
    """Return the ledger as a picture: a row of tiles a chapter, and a choice of the verdict that is shown."""
    counts = Counter(claim.verdict for claim in ledger)
    choices = [("all", f"all {len(ledger)}", "")]
    choices += [(claims.CSS[v][4:], f"{v} {counts[v]}", claims.CSS[v]) for v in claims.VERDICTS if counts[v]]
    filters = "".join(
        f'<input type="radio" name="t2v-filter" id="t2v-show-{value}" value="{value}"{" checked" if value == "all" else ""}>'
        f'<label for="t2v-show-{value}" class="{css}">{words}</label>'
        for value, words, css in choices
    )
    rows = []
    for chapter in dict.fromkeys(claim.chapter for claim in ledger):
        notebook = folder / f"{chapter}.ipynb"
        found = evidence(notebook) if notebook.exists() else {}
        mine = [c for c in ledger if c.chapter == chapter]
        tiles = "".join(tile(c, found.get(c.id, ""), name_of(c, folder)) for c in mine)
        heading = html.escape(f"{int(chapter[:2])}. {title(notebook)}")
        rows.append(f'<li><p class="t2v-row-name">{heading}</p><ul class="t2v-tiles">{tiles}</ul></li>')
    return (
        '<div class="t2v-board"><fieldset class="t2v-board-filter"><legend class="visually-hidden">Claims to show</legend>'
        f'{filters}</fieldset><ol class="t2v-rows" aria-label="The claims by chapter">{"".join(rows)}</ol></div>'
    )


class Board(SphinxDirective):
    """The picture, for the ledger's page and the pages beside it."""

    def run(self) -> list[nodes.Node]:
        """Build the page's nodes; nothing is shown but in HTML."""
        folder = Path(self.env.doc2path(self.env.docname)).parent
        for path in (folder / "claims.yml", folder / NAMES, *folder.glob("[0-9][0-9]_*.ipynb")):
            self.env.note_dependency(str(path))
        ledger = list(claims.read(folder / "claims.yml").values())
        return [nodes.raw("", board(ledger, folder), format="html")]


def badge(verdict: str) -> nodes.inline:
    """Return a verdict as a coloured word; the colour only repeats what the word says."""
    return nodes.inline(text=verdict, classes=["t2v-badge", claims.CSS[verdict]])


def faults(path: Path) -> dict[str, list[dict[str, str]]]:
    """Return claim id → its planted faults, and what became of each."""
    found: dict[str, list[dict[str, str]]] = {}
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["claim"], []).append(row)
    return found


class Ledger(SphinxDirective):
    """All claims: one entry a claim under its chapter."""

    def run(self) -> list[nodes.Node]:
        """Build the page's nodes."""
        self.folder = folder = Path(self.env.doc2path(self.env.docname)).parent
        for path in (folder / "claims.yml", folder / NAMES, folder / MUTANTS):
            self.env.note_dependency(str(path))
        ledger, self.faults = list(claims.read(folder / "claims.yml").values()), faults(folder / MUTANTS)
        result: list[nodes.Node] = []
        for chapter in dict.fromkeys(claim.chapter for claim in ledger):
            rows = [claim for claim in ledger if claim.chapter == chapter]
            result.append(self.chapter(chapter, rows, folder / f"{chapter}.ipynb"))
        return result

    def chapter(self, chapter: str, rows: list[claims.Claim], notebook: Path) -> nodes.section:
        """Return the section of one chapter's claims."""
        found = evidence(notebook) if notebook.exists() else {}
        if notebook.exists():
            self.env.note_dependency(str(notebook))
        number, _, name = chapter.partition("_")
        section = nodes.section(ids=[f"chapter-{number}"])
        heading = title(notebook) if notebook.exists() else name.replace("_", " ")
        section += nodes.title(text=f"Chapter {int(number)}: {heading}")
        for claim in rows:
            section += self.entry(claim, notebook.exists(), found.get(claim.id, ""))
        return section

    def entry(self, claim: claims.Claim, written: bool, found: str) -> nodes.section:
        """Return one claim's section: what the paper says, where, and what the chapter computed."""
        label = f"claim-{claim.id.lower()}"
        section = nodes.section(ids=[label], names=[label], classes=["t2v-claim"])
        section += nodes.title(
            "", "", nodes.Text(f"{claim.id} · {name_of(claim, self.folder)} "), badge(claim.verdict)
        )
        self.state.document.note_explicit_target(section, section)
        formula = re.fullmatch(r"\$([^$]+)\$", claim.claim)
        section += self.markdown(f"$${lines(formula[1])}$$" if formula else claim.claim)
        if claim.note:
            section += self.markdown(claim.note, "t2v-note")
        if found:
            section += self.computed(claim, found)
        section += self.controls(claim)
        facts = [f"In the paper: {claim.where}."]
        if written:
            facts.append(
                f"Chapter: [{title(self.folder / f'{claim.chapter}.ipynb')}]({claim.chapter}.ipynb)."
            )
        section += self.markdown(" ".join(facts), "t2v-facts")
        section += self.tested(claim)
        return section

    def computed(self, claim: claims.Claim, found: str) -> nodes.paragraph:
        """Return the evidence, with a link to the cell that computed it."""
        line = nodes.paragraph("", "Evidence: ", *inline(found), classes=["t2v-evidence"])
        if self.env.app.builder.format == "html":
            address = f"{claim.chapter}.html#{ANCHOR.format(id=claim.id)}"
            link = nodes.reference("", "see it computed", refuri=address)
            line += [nodes.Text(" ("), link, nodes.Text(")")]
        return line

    def controls(self, claim: claims.Claim) -> list[nodes.Node]:
        """Return what would fool the verdict, and where that is run."""
        if not claim.controls:
            return []
        lines = ["What would fool it, and where it is run:", ""]
        for control in claim.controls:
            where = f"`{control.where}`" if "::" in control.where else f"*{control.where}*"
            lines.append(f"- {control.fooled_by.strip().rstrip('.')} ({where})")
        return self.markdown("\n".join(lines), "t2v-facts")

    def tested(self, claim: claims.Claim) -> list[nodes.Node]:
        """Return the claim's tests, and which of the faults that were planted behind it they killed."""
        planted = self.faults.get(claim.id, [])
        killed = sum(row["outcome"] == "killed" for row in planted)
        items = [f"`{test}`" for test in claim.tests]
        items += [f"Planted: {row['fault']} ({row['outcome']})" for row in planted]
        count = f": killed {killed} of {len(planted)} planted faults" if planted else ""
        return self.folded(f"Tests{count}", nodes.bullet_list("", *map(self.item, items))) if items else []

    def item(self, text: str) -> nodes.list_item:
        """Return one line of a list."""
        return nodes.list_item("", nodes.paragraph("", "", *inline(text)))

    def folded(self, summary: str, body: nodes.Element) -> list[nodes.Node]:
        """Return a line that opens on demand in HTML, and stands above its body elsewhere."""
        box = nodes.container("", classes=["t2v-facts"])
        if self.env.app.builder.format != "html":
            box += [nodes.paragraph(text=f"{summary}."), body]
            return [box]
        opening = f'<details class="t2v-faults"><summary>{summary}</summary>'
        box += [nodes.raw("", opening, format="html"), body, nodes.raw("", "</details>", format="html")]
        return [box]

    def markdown(self, text: str, *classes: str) -> list[nodes.Node]:
        """Parse a paragraph of the ledger as the pages are parsed."""
        container = nodes.container()
        self.state.nested_parse(StringList(text.splitlines(), "claims.yml"), self.content_offset, container)
        for child in container.children:
            child["classes"] += classes
        return container.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("claims-ledger", Ledger)
    app.add_directive("claims-board", Board)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
