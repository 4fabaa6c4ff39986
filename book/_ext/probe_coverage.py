"""The role ``{coverage}`` and the directive ``{coverage-table}``: numbers of ``runs/timm_coverage.csv``, never typed.

``{coverage}`exact``` is how many networks came out exact; see :data:`NUMBERS` for the other words.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

TABLE = Path("runs") / "timm_coverage.csv"
Row = dict[str, str]


def read(path: Path) -> list[Row]:
    """Return the table's rows (scripts/timm_coverage.py writes it)."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _count(verdict: str) -> Callable[[list[Row]], str]:
    return lambda rows: str(sum(row["verdict"] == verdict for row in rows))


def _share(rows: list[Row]) -> str:
    return f"{100 * sum(row['verdict'] == 'exact' for row in rows) / len(rows):.0f}"


def _with(key: str) -> Callable[[list[Row]], str]:
    return lambda rows: str(sum(row["verdict"] == "exact" and int(row[key] or 0) > 0 for row in rows))


def _all_weights(rows: list[Row]) -> str:
    pairs = [row["probe_layers"].split("/") for row in rows if row["verdict"] == "exact"]
    return str(sum(taken == there for taken, there in pairs))


def _largest(rows: list[Row]) -> str:
    digit, power = f"{max(float(row['error']) for row in rows if row['verdict'] == 'exact'):.0e}".split("e")
    return f"{digit} · 10" + str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


#: Word → the number that stands for it, from the table's rows.
NUMBERS: dict[str, Callable[[list[Row]], str]] = {
    "networks": lambda rows: str(len(rows)),
    "families": lambda rows: str(len({row["family"] for row in rows})),
    "exact": _count("exact"),
    "refused": _count("refused"),
    "wrong": _count("wrong"),
    "not run": _count("not run"),
    "percent": _share,
    "slow": _with("slow"),
    "partly": _with("left_out"),
    "whole": _all_weights,
    "error": _largest,
}


def families(rows: Iterable[Row]) -> list[list[str]]:
    """Return a line for each network, family by family: what the page's table shows."""
    lines = []
    for row in sorted(rows, key=lambda row: (row["family"], row["model"])):
        reason = row["reason"] if row["verdict"] != "exact" else ""
        verdict = f"{row['verdict']}: {reason}" if reason else row["verdict"]
        keys = ("probe_layers", "slow", "left_out")
        lines.append([row["family"], row["model"], verdict, *(row[key] for key in keys)])
    return lines


class Coverage(SphinxRole):
    """A number of the table in running text."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Find the number; an unknown word stops the build."""
        path = Path(self.env.doc2path(self.env.docname)).parent / TABLE
        self.env.note_dependency(str(path))
        return [nodes.Text(NUMBERS[self.text](read(path)))], []


class CoverageTable(SphinxDirective):
    """A line for each network."""

    HEAD = ("family", "network", "result", "weights taken", "layers by autograd", "parameters left out")

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        path = Path(self.env.doc2path(self.env.docname)).parent / TABLE
        self.env.note_dependency(str(path))
        group = nodes.tgroup(cols=len(self.HEAD))
        group += [nodes.colspec(colwidth=1) for _ in self.HEAD]
        group += nodes.thead("", self.row(self.HEAD))
        group += nodes.tbody("", *(self.row(line) for line in families(read(path))))
        return [nodes.table("", group, classes=["t2v-coverage"])]

    @staticmethod
    def row(cells: Iterable[str]) -> nodes.row:
        """Return one row of text cells."""
        return nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in cells))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_role("coverage", Coverage())
    app.add_directive("coverage-table", CoverageTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
