"""The ledger of the paper's claims: a chapter computes a verdict, and the ledger must agree.

The ledger is one file, ``claims.yml``, beside the chapters. A chapter calls :func:`verdict` where its
experiment ends; a verdict that differs from the ledger's stops the chapter, and so the build: the two cannot
drift apart.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

#: How a verdict travels from a notebook to the ledger page: id, verdict, evidence and findings, as data.
MIME = "application/vnd.t2v.verdict+json"

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
class Control:
    """What would fool a verdict, and where it is run.

    Attributes
    ----------
    fooled_by : str
        The trivial explanation, in Markdown.
    where : str
        A test (``tests/test_x.py::test_y``), or a heading of the claim's chapter.
    """

    fooled_by: str
    where: str

    def __post_init__(self) -> None:
        for name, value in (("fooled_by", self.fooled_by), ("where", self.where)):
            if not (isinstance(value, str) and value.strip()):
                raise TypeError(
                    f"{name} of a control is {value!r}; accepted: a sentence, and where it is run"
                )


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes
    ----------
    id : str
        ``"C01"`` … ``"C43"``.
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
    controls : list of Control
        What would fool the verdict, and where it is run.
    """

    id: str
    claim: str
    where: str
    chapter: str
    verdict: str
    note: str = ""
    tests: list[str] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """A computed verdict with its evidence; shows itself as a box in a notebook."""

    claim: Claim
    verdict: str
    evidence: str
    findings: dict[str, dict[str, bool]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.claim.id}: {self.verdict}. {self.evidence}"

    def _repr_html_(self) -> str:
        note = f"<br><small>{to_html(self.claim.note)}</small>" if self.claim.note else ""
        return (
            f'<div class="t2v-verdict {CSS[self.verdict]}" role="note" id="verdict-{self.claim.id}">'
            f"<strong>{self.claim.id} · {self.verdict}.</strong> {to_html(self.evidence)}{note}</div>"
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        record = {"id": self.claim.id, "verdict": self.verdict, "evidence": self.evidence}
        return {
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
            MIME: {**record, "findings": self.findings},
        }


def spans(text: str) -> list[tuple[str, str]]:
    """Split a line of Markdown at its formulas and its code.

    Parameters
    ----------
    text : str
        Formulas stand between dollars, code between backticks.

    Returns
    -------
    list of (kind, str)
        The kind is ``"text"``, ``"math"`` or ``"code"``; what is between the marks comes without them.
    """
    kinds = {"$": "math", "`": "code"}
    parts = re.split(r"(\$[^$\n]+\$|`[^`\n]+`)", text)
    # what the pattern caught has the odd places
    return [(kinds[p[0]], p[1:-1]) if i % 2 else ("text", p) for i, p in enumerate(parts) if p]


def to_html(text: str) -> str:
    """Turn a line of Markdown into HTML: formulas between dollars and code between backticks."""
    frames = {
        "text": "{}",
        "math": r'<span class="math notranslate nohighlight">\({}\)</span>',
        "code": "<code>{}</code>",
    }
    return "".join(frames[kind].format(html.escape(part)) for kind, part in spans(text))


#: Where a wheel keeps the ledger and the tables of ``runs/``; else they are looked up beside the package, in its checkout.
PACKAGED = (Path(__file__).parent / "_book", Path(__file__).parents[1] / "book")


def find_ledger(start: Path | None = None) -> Path:
    """Return the path of ``claims.yml``: in ``start`` (by default here), its ``book/``, a parent, or the installed package.

    The tables of stored runs lie in ``runs/`` beside it.

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
    for folder in PACKAGED:
        if (folder / "claims.yml").is_file():
            return folder / "claims.yml"
    raise FileNotFoundError(
        f"no claims.yml in {here}, its book/ or a parent, nor in the installed package: install t2v anew, or run the"
        " chapter inside the book's checkout"
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
            controls = [Control(**control) for control in row.pop("controls", [])]
            claim = Claim(**row, controls=controls)
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


Finding = bool | Mapping[str, bool]


def verdict(
    claim_id: str,
    computed: str | None = None,
    evidence: str = "",
    *,
    holds: Finding | None = None,
    unless: Finding | None = None,
    contested: Finding | None = None,
    path: Path | None = None,
) -> Verdict:
    """Choose the verdict that the findings give, and hold it against the ledger.

    ======================  =============================================
    findings                verdict
    ======================  =============================================
    not all of ``holds``    fails as stated
    any of ``contested``    contested
    any of ``unless``       holds with a condition
    else                    holds
    ======================  =============================================

    Parameters
    ----------
    claim_id : str
        ``"C01"`` … ``"C43"``.
    computed : str, optional
        The verdict as a word, an expression of the experiment's numbers: the form before ``holds`` existed.
    evidence : str
        One sentence with the numbers behind it.
    holds : bool or mapping of str to bool, optional
        What must be true if the claim is; a mapping names several findings.
    unless : bool or mapping, optional
        True where the claim needs a condition: a counterexample that was found.
    contested : bool or mapping, optional
        True where another choice (unit, instrument, yardstick) gives another answer.
    path : Path, optional
        The ledger; found by :func:`find_ledger` by default.

    Returns
    -------
    Verdict
        Shows itself as a box.

    Raises
    ------
    TypeError
        If a finding is no truth value, or both or neither of ``computed`` and ``holds`` are given.
    ValueError
        If the claim or the verdict is unknown, or a mapping is empty.
    LedgerError
        If the ledger says otherwise; the message names the findings.
    """
    ledger = read(path)
    if claim_id not in ledger:
        raise ValueError(f"verdict: unknown claim {claim_id!r}; accepted: {', '.join(ledger)}")
    if (computed is None) == (holds is None):
        raise TypeError("verdict: needs either holds=… (with unless=…, contested=…) or a word, not both")
    given = {"holds": holds, "unless": unless, "contested": contested}
    findings = {name: _named(name, value) for name, value in given.items() if value is not None}
    if computed is None:
        computed = _word(**findings)
    elif unless is not None or contested is not None:
        raise TypeError("verdict: unless and contested go with holds, not with a word")
    if computed not in VERDICTS:
        raise ValueError(f"verdict: unknown verdict {computed!r}; accepted: {', '.join(VERDICTS)}")
    claim = ledger[claim_id]
    if claim.verdict != computed:
        found = f"; found: {_listed(findings)}" if findings else ""
        raise LedgerError(
            f"{claim_id}: computed {computed!r} ({evidence}), but the ledger says {claim.verdict!r}{found}"
        )
    return Verdict(claim, computed, evidence, findings)


def _named(name: str, value: Finding) -> dict[str, bool]:
    """Return findings by name; a single one has the argument's name."""
    found = dict(value) if isinstance(value, Mapping) else {name: value}
    if not found:
        raise ValueError(f"{name} names no finding; accepted: True, False, or names with a truth value each")
    for key, truth in found.items():
        # NumPy's truth values are no bool, and a number or an array is no finding.
        if type(truth).__name__ not in ("bool", "bool_"):
            raise TypeError(f"{name}: {key!r} is {truth!r}; accepted: True or False")
    return {str(key): bool(truth) for key, truth in found.items()}


def _word(
    holds: dict[str, bool], unless: dict[str, bool] | None = None, contested: dict[str, bool] | None = None
) -> str:
    if not all(holds.values()):
        return "fails as stated"
    if contested and any(contested.values()):
        return "contested"
    return "holds with a condition" if unless and any(unless.values()) else "holds"


def _listed(findings: dict[str, dict[str, bool]]) -> str:
    return "; ".join(
        f"{argument}: " + ", ".join(f"{name} is {truth}" for name, truth in named.items())
        for argument, named in findings.items()
    )
