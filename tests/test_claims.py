"""The ledger of claims: reading, refusing, holding verdicts against it, and the page that shows them."""

from __future__ import annotations

import html
import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import ROOT

from t2v import claims

ENTRIES = """
- {id: C01, claim: "$a = b$", where: eq. 1, chapter: 01_x, verdict: holds, tests: [tests/a.py::test_a]}
- {id: C02, claim: second, where: §2, chapter: 01_x, verdict: holds with a condition, note: "if $x<1$"}
- {id: C03, claim: third, where: §3, chapter: 02_y, verdict: open}
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "claims.yml"
    path.write_text(ENTRIES, encoding="utf-8")
    return path


def test_read_keeps_order_and_fields(ledger: Path) -> None:
    found = claims.read(ledger)
    assert list(found) == ["C01", "C02", "C03"]
    assert found["C01"].tests == ["tests/a.py::test_a"]
    assert found["C02"].note == "if $x<1$"
    assert found["C03"].verdict == claims.OPEN


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "- {id: C09, claim: c, where: w, chapter: x, verdict: perhaps}",
            "C09: unknown verdict 'perhaps'; accepted",
        ),
        ("- {id: C01, claim: c, where: w, chapter: x, verdict: open}", "C01 occurs twice"),
        ("- {id: C09, claim: c, where: w, verdict: open}", "'C09'.*chapter"),
        ("- {id: C09, claim: c, where: w, chapter: x, verdict: open, tset: []}", "'C09'.*tset"),
    ],
)
def test_read_names_the_bad_entry(ledger: Path, line: str, message: str) -> None:
    ledger.write_text(ENTRIES + line, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        claims.read(ledger)


def test_find_ledger_looks_here_in_book_and_above(tmp_path: Path) -> None:
    book = tmp_path / "book"
    (book / "deep" / "er").mkdir(parents=True)
    (book / "claims.yml").write_text(ENTRIES, encoding="utf-8")
    for start in (tmp_path, book, book / "deep" / "er"):
        assert claims.find_ledger(start) == book / "claims.yml"


def test_find_ledger_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claims, "PACKAGED", (tmp_path / "nowhere",))
    with pytest.raises(FileNotFoundError, match=r"no claims\.yml in .*installed package.*checkout"):
        claims.find_ledger()


def test_find_ledger_falls_back_on_what_the_package_brings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger of one's own comes first; far from any, the package's is found, with the tables beside it."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    found = claims.find_ledger()
    assert found.parent in claims.PACKAGED
    assert (found.parent / "runs" / "atlas" / "config.json").is_file()
    (tmp_path / "claims.yml").write_text(ENTRIES, encoding="utf-8")
    assert claims.find_ledger() == tmp_path / "claims.yml"


def test_the_books_own_ledger_is_found() -> None:
    assert len(claims.read(claims.find_ledger(Path(__file__).resolve().parent))) == 43


def test_verdict_that_agrees_shows_its_evidence(ledger: Path) -> None:
    found = claims.verdict("C01", "holds", "both are 0.5 bits", path=ledger)
    assert repr(found) == "C01: holds. both are 0.5 bits"


def test_verdict_that_differs_stops_the_chapter(ledger: Path) -> None:
    with pytest.raises(
        claims.LedgerError, match=r"computed 'contested' \(numbers\), but the ledger says 'holds'"
    ):
        claims.verdict("C01", "contested", "numbers", path=ledger)
    with pytest.raises(AssertionError):  # also where only assertions are caught
        claims.verdict("C03", "holds", "numbers", path=ledger)


@pytest.mark.parametrize(
    ("claim", "computed", "message"),
    [
        ("C77", "holds", "unknown claim 'C77'; accepted: C01, C02, C03"),
        ("C01", "true", "unknown verdict 'true'; accepted"),
    ],
)
def test_verdict_refuses_unknown_words(ledger: Path, claim: str, computed: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        claims.verdict(claim, computed, "", path=ledger)


def test_the_box_escapes_and_typesets(ledger: Path) -> None:
    box = claims.verdict(
        "C02", "holds with a condition", "1 < 2 & `f(x)` gives $x<1$", path=ledger
    )._repr_html_()
    assert 'class="t2v-verdict t2v-condition"' in box
    assert 'id="verdict-C02"' in box
    assert "1 &lt; 2 &amp; <code>f(x)</code>" in box
    assert r'<span class="math notranslate nohighlight">\(x&lt;1\)</span>' in box
    assert "<small>if " in box


def test_every_verdict_has_its_own_colour() -> None:
    assert set(claims.CSS) == {*claims.VERDICTS, claims.OPEN}
    assert len(set(claims.CSS.values())) == len(claims.CSS)
    style = (Path(__file__).resolve().parent.parent / "book" / "_static" / "book.css").read_text(
        encoding="utf-8"
    )
    assert all(f".{name} {{" in style for name in claims.CSS.values())


# ---------------------------------------------------------------- findings choose the word

WORDS = """
- {id: C01, claim: a, where: w, chapter: x, verdict: holds}
- {id: C02, claim: b, where: w, chapter: x, verdict: holds with a condition, note: n}
- {id: C03, claim: c, where: w, chapter: x, verdict: contested, note: n}
- {id: C04, claim: d, where: w, chapter: x, verdict: fails as stated, note: n}
"""
CLAIM_OF = {word: f"C0{i}" for i, word in enumerate(claims.VERDICTS, 1)}


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A ledger with a claim of every verdict."""
    path = tmp_path / "words.yml"
    path.write_text(WORDS, encoding="utf-8")
    return path


def chosen(ledger: Path, **findings: Any) -> str:
    """Return the one verdict that the ledger can have for these findings to pass."""
    passed = []
    for word, claim in CLAIM_OF.items():
        try:
            passed.append((word, claims.verdict(claim, evidence="e", path=ledger, **findings).verdict))
        except claims.LedgerError:
            continue
    assert len(passed) == 1
    assert passed[0][0] == passed[0][1]
    return passed[0][0]


@pytest.mark.parametrize(
    ("holds", "unless", "contested"),
    list(itertools.product((True, False), (None, False, True), (None, False, True))),
)
def test_the_findings_choose_the_word(
    words: Path, holds: bool, unless: bool | None, contested: bool | None
) -> None:
    """The table of the docstring, row by row: the first that applies."""
    if not holds:
        wanted = "fails as stated"
    elif contested:
        wanted = "contested"
    else:
        wanted = "holds with a condition" if unless else "holds"
    assert chosen(words, holds=holds, unless=unless, contested=contested) == wanted


@pytest.mark.parametrize(
    ("findings", "wanted"),
    [
        ({"holds": {"a": True, "b": True}}, "holds"),
        ({"holds": {"a": True, "b": False}}, "fails as stated"),  # all must hold
        ({"holds": True, "unless": {"a": False, "b": True}}, "holds with a condition"),  # one is enough
        ({"holds": True, "contested": {"a": False, "b": True}}, "contested"),
        ({"holds": True, "unless": {"a": False, "b": False}, "contested": {"c": False}}, "holds"),
        ({"holds": np.bool_(True), "unless": {"a": np.float64(2) > 1}}, "holds with a condition"),
        ({"holds": np.array([1, 2]).all() > 0}, "holds"),
    ],
)
def test_several_findings_by_name(words: Path, findings: dict[str, Any], wanted: str) -> None:
    assert chosen(words, **findings) == wanted


def test_findings_are_kept_by_name_and_as_pythons_own_truth_values(words: Path) -> None:
    found = claims.verdict(
        "C02", holds={"fits": np.bool_(True)}, unless=np.True_, contested={"unit": False}, path=words
    )
    assert found.findings == {
        "holds": {"fits": True},
        "unless": {"unless": True},
        "contested": {"unit": False},
    }
    assert all(type(truth) is bool for named in found.findings.values() for truth in named.values())


def test_a_difference_from_the_ledger_names_every_finding(words: Path) -> None:
    with pytest.raises(claims.LedgerError) as error:
        claims.verdict(
            "C01",
            holds={"it fits": True, "it refuses": False},
            unless={"clean": True},
            evidence="0.3 bits",
            path=words,
        )
    assert str(error.value) == (
        "C01: computed 'fails as stated' (0.3 bits), but the ledger says 'holds'; "
        "found: holds: it fits is True, it refuses is False; unless: clean is True"
    )
    with pytest.raises(
        claims.LedgerError, match=r"contested' .*; found: holds: holds is True; contested: unit is True"
    ):
        claims.verdict("C01", holds=True, contested={"unit": True}, path=words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"holds": 1}, "holds: 'holds' is 1; accepted: True or False"),
        ({"holds": 0.3}, "holds: 'holds' is 0.3"),
        ({"holds": np.array([True, True])}, "holds: 'holds' is array"),
        ({"holds": {"a": "yes"}}, "holds: 'a' is 'yes'"),
        ({"holds": {"a": True, "b": None}}, "holds: 'b' is None"),
        ({"holds": True, "unless": {"a": np.int64(1)}}, "unless: 'a' is"),
        ({"holds": True, "contested": []}, r"contested: 'contested' is \[\]"),
        ({}, "needs either holds=… .* or a word, not both"),
        ({"holds": True, "computed": "holds"}, "or a word, not both"),
        ({"computed": "holds", "unless": True}, "unless and contested go with holds"),
        ({"computed": "holds", "contested": False}, "unless and contested go with holds"),
    ],
)
def test_what_is_no_finding_is_refused(words: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        claims.verdict("C01", path=words, **arguments)


@pytest.mark.parametrize("name", ["holds", "unless", "contested"])
def test_no_finding_at_all_is_refused(words: Path, name: str) -> None:
    """all({}) would be True: a loop that found nothing must not hold."""
    with pytest.raises(ValueError, match=f"{name} names no finding; accepted"):
        claims.verdict("C01", path=words, **{"holds": True, name: {}})


def test_the_box_travels_with_its_data(words: Path) -> None:
    text = 'One line,\nand "holds. " another: 1 < 2'
    found = claims.verdict("C02", holds={"a": np.True_}, unless=True, evidence=text, path=words)
    bundle = found._repr_mimebundle_(include=["text/plain"], exclude=None)
    assert set(bundle) == {"text/plain", "text/html", claims.MIME}
    assert bundle["text/plain"] == repr(found)
    assert bundle["text/html"] == found._repr_html_()
    assert json.loads(json.dumps(bundle[claims.MIME])) == {
        "id": "C02",
        "verdict": "holds with a condition",
        "evidence": text,
        "findings": {"holds": {"a": True}, "unless": {"unless": True}},
    }


# ---------------------------------------------------------------- controls


def test_controls_are_read(ledger: Path) -> None:
    controls = "controls: [{fooled_by: early stopping, where: Break it}, {fooled_by: units, where: tests/a.py::test_b}]"
    ledger.write_text(
        ENTRIES + f"- {{id: C04, claim: d, where: w, chapter: x, verdict: open, {controls}}}", "utf-8"
    )
    found = claims.read(ledger)
    assert found["C01"].controls == []
    assert found["C04"].controls == [
        claims.Control("early stopping", "Break it"),
        claims.Control("units", "tests/a.py::test_b"),
    ]


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ("[{fooled_by: units}]", "'C09'.*where"),
        ("[{where: here}]", "'C09'.*fooled_by"),
        ("[{fooled_by: units, where: here, by: whom}]", "'C09'.*by"),
        ("[{fooled_by: units, where: ''}]", "'C09'.*where of a control is ''"),
        ("[{fooled_by: 3, where: here}]", "'C09'.*fooled_by of a control is 3; accepted"),
        ("units", "'C09'"),
        ("[units]", "'C09'"),
        ("null", "'C09'"),
    ],
)
def test_bad_controls_are_refused_by_name(ledger: Path, controls: str, message: str) -> None:
    entry = f"- {{id: C09, claim: c, where: w, chapter: x, verdict: open, controls: {controls}}}"
    ledger.write_text(ENTRIES + entry, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        claims.read(ledger)


# ---------------------------------------------------------------- one splitter, and the ledger's page


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("plain", [("text", "plain")]),
        (
            "a $x<1$ and `f(x)`.",
            [("text", "a "), ("math", "x<1"), ("text", " and "), ("code", "f(x)"), ("text", ".")],
        ),
        ("$a$`b`", [("math", "a"), ("code", "b")]),
        ("`` and 5 $", [("text", "`` and 5 $")]),
        ("`$x$` is code", [("code", "$x$"), ("text", " is code")]),
        ("a $ line\nbreak $", [("text", "a $ line\nbreak $")]),
    ],
)
def test_a_line_is_split_at_formulas_and_code(text: str, wanted: list[tuple[str, str]]) -> None:
    assert claims.spans(text) == wanted


EVIDENCE = 'Of 30 joints\nnone is above $x<1$; the sentence "it holds. So be it" stays, `f(x)` & all'


def verdict_cell(*, as_data: bool) -> dict[str, Any]:
    """Return the executed cell of a notebook, as it is stored, with the verdict of C01."""
    made = claims.Verdict(claims.Claim("C01", "c", "w", "01_x", "holds"), "holds", EVIDENCE)
    bundle = made._repr_mimebundle_()
    data = {
        kind: value if kind == claims.MIME else str(value).splitlines(True) for kind, value in bundle.items()
    }
    if not as_data:
        del data[claims.MIME]
    output = {"output_type": "execute_result", "metadata": {}, "execution_count": 1, "data": data}
    return {"cell_type": "code", "metadata": {}, "execution_count": 1, "source": ["…"], "outputs": [output]}


def notebook(path: Path, *cells: dict[str, Any]) -> Path:
    heading = {"cell_type": "markdown", "metadata": {}, "source": ["# A chapter\n", "\n", "Text."]}
    path.write_text(json.dumps({"cells": [heading, *cells], "metadata": {}, "nbformat": 4}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def extension() -> Any:
    pytest.importorskip("sphinx")
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        import claims_ledger
    finally:
        sys.path.pop(0)
    return claims_ledger


def test_evidence_comes_whole_from_the_data(extension: Any, tmp_path: Path) -> None:
    assert extension.evidence(notebook(tmp_path / "a.ipynb", verdict_cell(as_data=True))) == {"C01": EVIDENCE}
    old = extension.evidence(notebook(tmp_path / "b.ipynb", verdict_cell(as_data=False)))
    assert old == {"C01": EVIDENCE.partition("\n")[0]}  # the text alone ends where its line ends


def test_a_verdict_that_is_not_shown_cannot_be_linked_to(extension: Any, tmp_path: Path) -> None:
    cell = verdict_cell(as_data=True)
    del cell["outputs"][0]["data"]["text/html"]
    assert extension.evidence(notebook(tmp_path / "a.ipynb", cell)) == {}


def test_a_notebook_is_read_once_until_it_changes(
    extension: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read, times = notebook(tmp_path / "a.ipynb", verdict_cell(as_data=True)), Path.read_text, []
    monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: times.append(self) or read(self, *a, **k))
    for _ in range(5):
        assert extension.title(path) == "A chapter"
        assert extension.evidence(path)
    assert times == [path]
    notebook(path)
    assert extension.evidence(path) == {}


PAGE = """
- id: C01
  claim: first
  where: eq. 1
  chapter: 01_x
  verdict: holds
  tests: [tests/a.py::test_a]
  controls: [{fooled_by: "early stopping at $m=9$.", where: Break it}, {fooled_by: units, where: "tests/a.py::test_b"}]
- {id: C02, claim: "$a = b = c$", where: §2, chapter: 02_y, verdict: open}
"""
ROWS = """claim,fault,outcome,killed_by,seconds,digest
C01,"one half, of $x<2$, is lost",killed,tests/a.py::test_a,1,0
C01,the sign is turned,survived,,1,0
"""


def test_the_page_shows_evidence_controls_and_planted_faults(extension: Any, tmp_path: Path) -> None:
    pytest.importorskip("myst_parser")
    from sphinx.application import Sphinx

    source = tmp_path / "source"
    (source / "runs").mkdir(parents=True)
    (source / "conf.py").write_text(
        'extensions = ["myst_parser", "claims_ledger"]\nmyst_enable_extensions = ["dollarmath"]\nsmartquotes = False'
    )
    (source / "index.md").write_text("# Ledger\n\n```{claims-ledger}\n```\n")
    (source / "claims.yml").write_text(PAGE, encoding="utf-8")
    (source / "claim_names.yml").write_text("{}", encoding="utf-8")
    (source / "runs" / "mutants.csv").write_text(ROWS, encoding="utf-8")
    notebook(source / "01_x.ipynb", verdict_cell(as_data=True))
    app = Sphinx(source, source, tmp_path / "html", tmp_path / "trees", "html", status=None, warning=None)
    app.build()
    page = html.unescape(
        re.sub(r"<[^>]+>", "", (tmp_path / "html" / "index.html").read_text(encoding="utf-8"))
    )
    assert (
        "Evidence: " + EVIDENCE.replace("$x<1$", r"\(x<1\)").replace("`", "") + " (see it computed)" in page
    )
    assert "What would fool it, and where it is run:" in page
    assert r"early stopping at \(m=9\) (Break it)" in page
    assert "units (tests/a.py::test_b)" in page
    assert "Tests: killed 1 of 2 planted faults" in page
    assert "tests/a.py::test_a" in page
    assert r"Planted: one half, of \(x<2\), is lost (killed)" in page
    assert "Planted: the sign is turned (survived)" in page
    assert page.count("planted faults") == 1  # none is recorded for C02
