"""The directive ``{claims-ledger}``: all claims, made from ``claims.yml`` and the committed chapters."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from t2v import claims

#: A verdict's box in a notebook has this id, and the ledger links to it.
ANCHOR = "verdict-{id}"


def evidence(notebook: Path) -> dict[str, str]:
    """Return claim id → the sentence of evidence in a notebook's committed outputs, if it can be linked to."""
    found: dict[str, str] = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            data = {kind: "".join(value) for kind, value in output.get("data", {}).items() if "text/" in kind}
            match = re.match(rf"(C\d\d): (?:{'|'.join(claims.VERDICTS)})\. (.*)", data.get("text/plain", ""))
            if match and f'id="{ANCHOR.format(id=match[1])}"' in data.get("text/html", ""):
                found[match[1]] = match[2]
    return found


def lines(formula: str) -> str:
    """Break a chain of equations before each equals sign."""
    first, *rest = formula.split(" = ")
    chain = first + " &= " + r" \\ &= ".join(rest)
    return rf"\begin{{aligned}} {chain} \end{{aligned}}" if len(rest) > 1 else formula


def inline(text: str) -> list[nodes.Node]:
    """Return one line of plain text as nodes: formulas between dollars, code between backticks."""
    result: list[nodes.Node] = []
    for part in re.split(r"(\$[^$\n]+\$|`[^`\n]+`)", text):
        if len(part) > 2 and part[0] == part[-1] == "$":
            result.append(nodes.math(part, part[1:-1]))
        elif len(part) > 2 and part[0] == part[-1] == "`":
            result.append(nodes.literal(part, part[1:-1]))
        else:
            result.append(nodes.Text(part))
    return result


def title(notebook: Path) -> str:
    """Return a chapter's first heading."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        match = re.search(r"^# (.+)$", "".join(cell["source"]), re.MULTILINE)
        if cell["cell_type"] == "markdown" and match:
            return match[1]
    return notebook.stem


def badge(verdict: str) -> nodes.inline:
    """Return a verdict as a coloured word; the colour only repeats what the word says."""
    return nodes.inline(text=verdict, classes=["t2v-badge", claims.CSS[verdict]])


class Ledger(SphinxDirective):
    """All claims: an overview, then one entry a claim under its chapter."""

    def run(self) -> list[nodes.Node]:
        """Build the page's nodes."""
        self.folder = folder = Path(self.env.doc2path(self.env.docname)).parent
        path = folder / "claims.yml"
        self.env.note_dependency(str(path))
        ledger = list(claims.read(path).values())
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
            line = nodes.paragraph("", "Evidence: ", *inline(found), classes=["t2v-evidence"])
            if self.env.app.builder.format == "html":
                address = f"{claim.chapter}.html#{ANCHOR.format(id=claim.id)}"
                line += [
                    nodes.Text(" ("),
                    nodes.reference("", "see it computed", refuri=address),
                    nodes.Text(")"),
                ]
            section += line
        facts = [f"In the paper: {claim.where}."]
        if written:
            facts.append(
                f"Chapter: [{title(self.folder / f'{claim.chapter}.ipynb')}]({claim.chapter}.ipynb)."
            )
        if claim.tests:
            facts.append("Tests: " + ", ".join(f"`{test}`" for test in claim.tests) + ".")
        section += self.markdown(" ".join(facts), "t2v-facts")
        return section

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
