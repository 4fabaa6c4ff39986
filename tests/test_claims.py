"""The ledger of claims: reading, refusing, and holding verdicts against it."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    with pytest.raises(FileNotFoundError, match=r"no claims\.yml in .*checkout"):
        claims.find_ledger()


def test_the_books_own_ledger_is_found() -> None:
    assert len(claims.read(claims.find_ledger(Path(__file__).resolve().parent))) == 36


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
