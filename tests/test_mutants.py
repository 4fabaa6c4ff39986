"""Planted faults: each claim has some, its own tests kill them, and the script that says so can be trusted."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from helpers import ROOT, load_script

from t2v import claims

LEDGER = claims.read(ROOT / "book" / "claims.yml")
ENTRIES = yaml.safe_load((ROOT / "tests" / "mutants.yml").read_text(encoding="utf-8"))
#: Claims whose verdict a first edition got wrong, or whose tests did not see a fault: three faults at least.
AT_LEAST_THREE = ("C09", "C14", "C16", "C23", "C28", "C32", "C33", "C35", "C36")
entries = pytest.mark.parametrize("claim", LEDGER.values(), ids=lambda claim: claim.id)
planted = pytest.mark.parametrize(
    "entry", ENTRIES, ids=lambda entry: f"{entry.get('claim')}: {str(entry.get('fault'))[:40]}"
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("mutants")


# ---------------------------------------------------------------- the faults of this project


@planted
def test_a_fault_is_well_formed(script: ModuleType, entry: dict[str, str]) -> None:
    mutant = script.Mutant(**entry)
    assert all(isinstance(value, str) and value.strip() for value in entry.values())
    assert mutant.claim in LEDGER
    assert (ROOT / mutant.file).is_file()
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    faulty = mutant.plant(text)  # refused unless the old text occurs exactly once
    assert faulty != text
    if mutant.file.endswith(".py"):
        compile(faulty, mutant.file, "exec")


def test_no_two_faults_of_a_claim_have_one_name() -> None:
    counts = Counter((entry["claim"], entry["fault"]) for entry in ENTRIES)
    assert max(counts.values()) == 1
    texts = Counter((entry["claim"], entry["file"], entry["new"]) for entry in ENTRIES)
    assert max(texts.values()) == 1


@entries
def test_a_claim_has_planted_faults(claim: claims.Claim) -> None:
    found = [entry for entry in ENTRIES if entry["claim"] == claim.id]
    assert len(found) >= (3 if claim.id in AT_LEAST_THREE else 1)


@planted
def test_a_fault_was_killed_by_a_test_that_its_claim_names(script: ModuleType, entry: dict[str, str]) -> None:
    mutant, known = script.Mutant(**entry), script.read_results(ROOT)
    key = (mutant.claim, mutant.fault)
    assert key in known, "it was never run: make mutants"
    tests = LEDGER[mutant.claim].tests
    asked = script.digest(ROOT, mutant, tests).partition("-")[0]
    assert known[key].digest.partition("-")[0] == asked, (
        "the fault or the claim's tests changed: make mutants"
    )
    assert known[key].outcome == "killed"
    assert any(known[key].killed_by.startswith(test) for test in tests)


def test_the_table_has_no_row_without_a_fault(script: ModuleType) -> None:
    assert set(script.read_results(ROOT)) <= {(entry["claim"], entry["fault"]) for entry in ENTRIES}


@entries
def test_a_claim_could_have_failed(script: ModuleType, claim: claims.Claim) -> None:
    """It has a control, or its tests have killed a fault."""
    killed = [r for r in script.read_results(ROOT).values() if (r.claim, r.outcome) == (claim.id, "killed")]
    assert claim.controls or killed


def test_a_sample_is_killed_here_and_now(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    before = (ROOT / script.OUT).read_bytes()
    assert script.main(["--sample", "2"]) == 0
    assert "2 faults: 2 killed, 0 not" in capsys.readouterr().out
    assert (ROOT / script.OUT).read_bytes() == before


# ---------------------------------------------------------------- planting


def mutant(script: ModuleType, old: str, new: str) -> Any:
    return script.Mutant("C01", "a fault", "pkg.py", old, new)


SOURCE = """def f(x):
    if x:
        y = 2 * x

        return y
    return 2 + x
"""


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("2 * x", "3 * x", SOURCE.replace("2 * x", "3 * x")),
        ("y = 2 * x\n", "y = x\n", SOURCE.replace("y = 2 * x", "y = x")),  # a YAML block ends in a line break
        ("y = 2 * x\n\nreturn y\n", "return 2\n", SOURCE.replace("y = 2 * x\n\n        return y", "return 2")),
        ("if x:\n    y = 2 * x\n", "if x:\n    y = x\n", SOURCE.replace("y = 2 * x", "y = x")),
        ("    if x:\n        y = 2 * x", "    if 2:\n        y = 2 * x", SOURCE.replace("if x", "if 2")),
    ],
)  # fmt: skip
def test_a_fault_keeps_the_indentation_of_the_file(
    script: ModuleType, old: str, new: str, wanted: str
) -> None:
    assert mutant(script, old, new).plant(SOURCE) == wanted


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3 * x", "x", "old occurs 0 times in pkg.py; exactly once is accepted"),
        ("return", "raise", "old occurs 2 times"),
        ("x:\n    y = 2 * x", "x", "old occurs 0 times"),  # half a line and a whole one
        ("y = 2 * x\nreturn y", "x", "old occurs 0 times"),  # the empty line between them is missing
        ("2 * x", "2 * x", "old and new are the same"),
    ],
)
def test_a_fault_that_has_no_one_place_is_refused(
    script: ModuleType, old: str, new: str, message: str
) -> None:
    with pytest.raises(ValueError, match=rf"C01, 'a fault': {message}"):
        mutant(script, old, new).plant(SOURCE)


def test_an_entry_with_other_fields_is_refused(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "mutants.yml").write_text("- {claim: C01, fault: f, file: a.py, old: b, next: c}")
    with pytest.raises(ValueError, match=r"entry 1 .*unexpected keyword argument 'next'"):
        script.read_faults(tmp_path)


# ---------------------------------------------------------------- the script, on a small project

CODE = """
def double(x):
    return 2 * x


def shifted(x):
    return x + 1
"""
TESTS = """
import pytest

import pkg


class TestDouble:
    @pytest.mark.parametrize("x", [0, 3])
    def test_it_is_the_sum(self, x):
        assert pkg.double(x) == x + x


def test_that_sees_nothing():
    assert pkg.shifted(1) > 0


@pytest.fixture
def two():
    return {1: 2}[pkg.shifted(0)]


def test_with_a_fixture():
    pkg.shifted(1)


def test_that_fails_anyway():
    assert pkg.double(1) == 3


def test_by_fixture(request):
    assert request.getfixturevalue("two")


def test_fixture(two):
    assert two
"""
CLAIMS = {
    "C01": "test_pkg.py::TestDouble::test_it_is_the_sum",
    "C02": "test_pkg.py::test_that_sees_nothing",
    "C03": "test_pkg.py::test_that_fails_anyway",
    "C04": "test_pkg.py::test_fixture",
}
FAULTS = [
    ("C01", "three times", "2 * x", "3 * x"),
    ("C01", "a name that does not exist", "2 * x", "two * x"),
    ("C01", "no Python", "2 * x", "2 *"),
    ("C01", "no end", "return 2 * x", "while True: x"),
    ("C02", "the other way", "x + 1", "x + 2"),
    ("C04", "the fixture stumbles", "x + 1", "x + 3"),
]
OUTCOMES = ["killed", "broken", "broken", "broken", "survived", "broken"]


def plant(root: Path, faults: list[tuple[str, str, str, str]]) -> None:
    keys = ("claim", "fault", "file", "old", "new")
    rows = [dict(zip(keys, (c, f, "pkg.py", old, new), strict=True)) for c, f, old, new in faults]
    (root / "tests" / "mutants.yml").write_text(yaml.safe_dump(rows), encoding="utf-8")


@pytest.fixture(scope="module")
def small(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A project of one file, all faults tried; and the exit status."""
    root = tmp_path_factory.mktemp("mutants") / "small"
    for folder in ("tests", "book", ".git"):
        (root / folder).mkdir(parents=True)
    (root / "pkg.py").write_text(CODE)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (root / "tests" / "test_pkg.py").write_text(textwrap.dedent(TESTS))
    entry = "- {{id: {}, claim: c, where: w, chapter: x, verdict: open, tests: ['tests/{}']}}"
    (root / "book" / "claims.yml").write_text("\n".join(entry.format(*item) for item in CLAIMS.items()))
    plant(root, FAULTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "MARGIN", 3.0)  # the fault without an end need not wait for long
        return root, script.main([], root)


def test_killed_survived_and_broken_are_told_apart(script: ModuleType, small: tuple[Path, int]) -> None:
    root, status = small
    found = script.read_results(root)
    assert [found[claim, fault].outcome for claim, fault, *_ in FAULTS] == OUTCOMES
    assert list(found) == [(claim, fault) for claim, fault, *_ in FAULTS]
    killed = found["C01", "three times"]
    assert killed.killed_by == "tests/test_pkg.py::TestDouble::test_it_is_the_sum[3]"
    assert "NameError" in found["C01", "a name that does not exist"].killed_by
    assert (
        "SyntaxError" in found["C01", "no Python"].killed_by or "rror" in found["C01", "no Python"].killed_by
    )
    assert "no end after" in found["C01", "no end"].killed_by
    assert 0 < killed.seconds < found["C01", "no end"].seconds
    assert status == 1
    assert (root / "pkg.py").read_text() == CODE, "faults are planted in copies"
    assert {p.name for p in root.iterdir()} == {"tests", "book", ".git", "pkg.py", "pyproject.toml"}


def counted(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Count the runs, each of which would take a second; everything passes."""
    runs: list[Any] = []
    monkeypatch.setattr(
        script.Copy, "run", lambda copy, tests, limit: runs.append(tests) or script.Run("passed", "", 0.1)
    )
    return runs


def test_what_was_run_is_kept_until_it_changes(
    script: ModuleType, small: tuple[Path, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root, runs = small[0], counted(script, monkeypatch)
    tests, table = root / "tests" / "test_pkg.py", root / script.OUT
    before = table.read_bytes()
    killed_and_alive = [FAULTS[0], FAULTS[4]]
    plant(root, killed_and_alive)
    assert script.main([], root) == 1  # the survivor is still not killed
    assert runs == []
    assert table.read_bytes() == before
    try:
        plant(root, [*killed_and_alive, ("C01", "four times", "2 * x", "4 * x")])
        script.main([], root)
        assert len(runs) == 2  # the sound copy, and the new fault
        assert len(script.read_results(root)) == 3  # what is gone is dropped
        tests.write_text(tests.read_text() + "\n")
        script.main(["--claims", "C02"], root)
        assert len(runs) == 4
        (root / "pkg.py").write_text(CODE + "\n")
        script.main([], root)
        assert len(runs) == 4 + 3 + 2  # a sound run a claim, and every fault of the file
        script.main([], root)
        assert len(runs) == 9
        table.write_text(table.read_text().replace("survived", "broken", 1))
        script.main([], root)
        assert len(runs) == 11  # what was broken said nothing, and is tried again
    finally:
        (root / "pkg.py").write_text(CODE)
        tests.write_text(textwrap.dedent(TESTS))
        plant(root, FAULTS)
        table.write_bytes(before)


def test_a_claim_whose_tests_fail_anyway_is_refused(
    script: ModuleType, small: tuple[Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    root = small[0]
    before = (root / script.OUT).read_bytes()
    try:
        plant(root, [*FAULTS, ("C03", "five times", "2 * x", "5 * x")])
        assert script.main(["--claims", "C03"], root) == 2
        assert "C03: its tests do not pass without a fault: tests/test_pkg.py::test_that_fails_anyway" in (
            capsys.readouterr().out
        )
        assert (root / script.OUT).read_bytes() == before
    finally:
        plant(root, FAULTS)


def test_a_sample_takes_the_quickest_and_writes_nothing(
    script: ModuleType, small: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, runs = small[0], counted(script, monkeypatch)
    before = (root / script.OUT).read_bytes()
    known = script.read_results(root)
    chosen = script.sample(root, script.read_faults(root), 3)
    assert {m.claim for m in chosen} == {"C01", "C02", "C04"}
    quickest = min((r for r in known.values() if r.claim == "C01"), key=lambda r: r.seconds)
    assert quickest.fault in {m.fault for m in chosen}
    assert script.main(["--sample", "2"], root) == 1  # everything passes here, so all survive
    assert len(runs) == 4
    assert (root / script.OUT).read_bytes() == before


def test_an_unknown_claim_is_refused(script: ModuleType, small: tuple[Path, int]) -> None:
    with pytest.raises(SystemExit):
        script.main(["--claims", "C77"], small[0])
