"""The directive ``{claims-ledger}``: all claims, made from ``claims.yml`` and the committed chapters."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from t2v import claims

#: A verdict's box in a notebook has this id, and the ledger links to it.
ANCHOR = "verdict-{id}"
#: What became of the planted faults (scripts/mutants.py), beside the ledger's file.
MUTANTS = Path("runs") / "mutants.csv"
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
    """All claims: an overview, then one entry a claim under its chapter."""

    def run(self) -> list[nodes.Node]:
        """Build the page's nodes."""
        self.folder = folder = Path(self.env.doc2path(self.env.docname)).parent
        for path in (folder / "claims.yml", folder / MUTANTS):
            self.env.note_dependency(str(path))
        ledger, self.faults = list(claims.read(folder / "claims.yml").values()), faults(folder / MUTANTS)
        result: list[nodes.Node] = [self.overview(ledger)]
        for chapter in dict.fromkeys(claim.chapter for claim in ledger):
            rows = [claim for claim in ledger if claim.chapter == chapter]
            result.append(self.chapter(chapter, rows, folder / f"{chapter}.ipynb"))
        return result

    def overview(self, ledger: list[claims.Claim]) -> nodes.Node:
        """Count the verdicts, each with links to its claims."""
        items = nodes.bullet_list(classes=["t2v-overview"])
        counts = Counter(claim.verdict for claim in ledger)
        for verdict in (*claims.VERDICTS, claims.OPEN):
            if counts[verdict]:
                line = nodes.paragraph("", "", badge(verdict), nodes.Text(f" {counts[verdict]}: "))
                for i, claim in enumerate(c for c in ledger if c.verdict == verdict):
                    line += [nodes.Text(", ")] if i else []
                    line += nodes.reference("", claim.id, refid=f"claim-{claim.id.lower()}", internal=True)
                items += nodes.list_item("", line)
        return items

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
        section += nodes.title("", "", nodes.Text(f"{claim.id} "), badge(claim.verdict))
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
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
