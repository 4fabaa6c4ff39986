"""The ledger of the paper's claims: a chapter computes a verdict, and the ledger must agree.

The ledger is one file, ``claims.yml``, beside the chapters. A chapter calls :func:`verdict` where its
experiment ends; a verdict that differs from the ledger's stops the chapter, and so the build: the two cannot
drift apart.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

#: The four verdicts that an experiment can reach.
VERDICTS = ("holds", "holds with a condition", "contested", "fails as stated")
#: What the ledger says of a claim whose chapter is not written yet.
OPEN = "open"
#: The CSS class that colours each verdict.
CSS = {
    "holds": "t2v-holds",
    "holds with a condition": "t2v-condition",
    "contested": "t2v-contested",
    "fails as stated": "t2v-fails",
    OPEN: "t2v-open",
}


class LedgerError(AssertionError):
    """A computed verdict differs from the ledger's."""


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes
    ----------
    id : str
        ``"C01"`` … ``"C36"``.
    claim : str
        What the paper says, in Markdown.
    where : str
        Section or equation of the paper.
    chapter : str
        File name of the chapter without its ending.
    verdict : str
        One of :data:`VERDICTS`, or :data:`OPEN`.
    note : str
        The condition, the choice it depends on, or the counterexample.
    tests : list of str
        Tests that would fail if the claim's computation were wrong.
    """

    id: str
    claim: str
    where: str
    chapter: str
    verdict: str
    note: str = ""
    tests: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """A computed verdict with its evidence; shows itself as a box in a notebook."""

    claim: Claim
    verdict: str
    evidence: str

    def __repr__(self) -> str:
        return f"{self.claim.id}: {self.verdict}. {self.evidence}"

    def _repr_html_(self) -> str:
        note = f"<br><small>{to_html(self.claim.note)}</small>" if self.claim.note else ""
        return (
            f'<div class="t2v-verdict {CSS[self.verdict]}" role="note" id="verdict-{self.claim.id}">'
            f"<strong>{self.claim.id} · {self.verdict}.</strong> {to_html(self.evidence)}{note}</div>"
        )


def to_html(text: str) -> str:
    """Turn a line of Markdown into HTML: formulas between dollars and code between backticks."""
    parts = re.split(r"(\$[^$\n]+\$|`[^`\n]+`)", text)
    return "".join(_span(part) for part in parts)


def _span(part: str) -> str:
    inner = html.escape(part[1:-1])
    if len(part) > 2 and part[0] == part[-1] == "$":
        return f'<span class="math notranslate nohighlight">\\({inner}\\)</span>'
    if len(part) > 2 and part[0] == part[-1] == "`":
        return f"<code>{inner}</code>"
    return html.escape(part)


def find_ledger(start: Path | None = None) -> Path:
    """Return the path of ``claims.yml``: in ``start`` (by default here), its ``book/``, or a parent.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        for path in (folder / "claims.yml", folder / "book" / "claims.yml"):
            if path.is_file():
                return path
    raise FileNotFoundError(
        f"no claims.yml in {here}, its book/ or a parent: run the chapter inside the book's checkout"
    )


def read(path: Path | None = None) -> dict[str, Claim]:
    """Read the ledger.

    Parameters
    ----------
    path : Path, optional
        The file; found by :func:`find_ledger` by default.

    Returns
    -------
    dict
        Claim id → :class:`Claim`, in the file's order.

    Raises
    ------
    ValueError
        If an entry lacks a field, has an unknown one or an unknown verdict, or an id occurs twice; the
        message names the entry.
    """
    rows: list[dict[str, Any]] = yaml.safe_load((path or find_ledger()).read_text(encoding="utf-8"))
    ledger: dict[str, Claim] = {}
    for row in rows:
        try:
            claim = Claim(**row)
        except TypeError as error:
            raise ValueError(f"the ledger's entry {row.get('id', row)!r}: {error}") from error
        if claim.verdict not in (*VERDICTS, OPEN):
            raise ValueError(
                f"{claim.id}: unknown verdict {claim.verdict!r}; accepted: {', '.join((*VERDICTS, OPEN))}"
            )
        if claim.id in ledger:
            raise ValueError(f"{claim.id} occurs twice in the ledger")
        ledger[claim.id] = claim
    return ledger


def verdict(claim_id: str, computed: str, evidence: str, *, path: Path | None = None) -> Verdict:
    """Hold a computed verdict against the ledger.

    Parameters
    ----------
    claim_id : str
        ``"C01"`` … ``"C36"``.
    computed : str
        The verdict that the experiment's numbers give: an expression of those numbers, never a constant.
    evidence : str
        One sentence with the numbers behind it.
    path : Path, optional
        The ledger; found by :func:`find_ledger` by default.

    Returns
    -------
    Verdict
        Shows itself as a box.

    Raises
    ------
    ValueError
        If the claim or the verdict is unknown.
    LedgerError
        If the ledger says otherwise.
    """
    ledger = read(path)
    if claim_id not in ledger:
        raise ValueError(f"verdict: unknown claim {claim_id!r}; accepted: {', '.join(ledger)}")
    if computed not in VERDICTS:
        raise ValueError(f"verdict: unknown verdict {computed!r}; accepted: {', '.join(VERDICTS)}")
    claim = ledger[claim_id]
    if claim.verdict != computed:
        raise LedgerError(
            f"{claim_id}: computed {computed!r} ({evidence}), but the ledger says {claim.verdict!r}"
        )
    return Verdict(claim, computed, evidence)
