"""The coursework: solutions pass, untouched notebooks fail, mistakes are named, and no submission stops the grading."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from sklearn.metrics import silhouette_score

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import coursework  # noqa: E402
from coursework import Problem, Written, building, grading  # noqa: E402
from coursework.__main__ import main  # noqa: E402
from t2v import information  # noqa: E402

SETS = coursework.names()
every_set = pytest.mark.parametrize("name", SETS)
#: This set does not import torch: its worker starts in a second.
LIGHT = "02_learning_theory"


def write(path: Path, *cells: str) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells]), path)
    return path


def solve(name: str, replaced: dict[str, str] | None = None) -> list[str]:
    """Return the code cells of a set's solutions, with some functions replaced."""
    cells = [c.source for c in building.lecturer(name).cells if c.cell_type == "code"]
    return [*cells, *(replaced or {}).values()]


def solution(number: str) -> Callable[..., Any]:
    return coursework.load(f"{int(number.split('.')[0]):02d}").graded[number].answer


def test_there_is_a_set_for_every_chapter() -> None:
    assert sorted(p.stem for p in (ROOT / "book").glob("[0-9][0-9]_*.ipynb")) == SETS


@every_set
def test_a_set_has_100_points_in_4_to_6_problems(name: str) -> None:
    problems = coursework.load(name).problems
    assert sum(p.points for p in problems.values()) == 100
    assert 4 <= len(problems) <= 6
    assert all(10 <= p.points <= 20 for p in problems.values())
    assert [n.split(".") for n in problems] == [
        [str(int(name[:2])), str(i + 1)] for i in range(len(problems))
    ]
    assert sum(isinstance(p, Written) for p in problems.values()) == 1


@every_set
def test_headings_say_the_points(name: str) -> None:
    text = "\n".join(c.source for c in building.student(name).cells)
    for number, problem in coursework.load(name).problems.items():
        line = next(x for x in text.splitlines() if x.startswith(f"## Problem {number} "))
        assert f"({problem.points} points" in line
        assert ("graded by a person" in line) == isinstance(problem, Written)


@every_set
@pytest.mark.parametrize("seed", [0, 2026])
def test_solutions_pass_and_mistakes_are_named(name: str, seed: int) -> None:
    assert grading.verify(coursework.load(name), seed=seed) == []
    assert all(len(p.mistakes) >= 3 for p in coursework.load(name).graded.values())


def test_solutions_another_way() -> None:
    """A set's first checks run on its solutions whenever it is loaded; this is what they leave open."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(24)).reshape(2, 3, 4)
    given_z = sum(
        p[..., z].sum() * information.mutual_information(p[..., z] / p[..., z].sum()) for z in range(4)
    )
    assert solution("1.2")(p) == pytest.approx(given_z - information.mutual_information(p.sum(axis=2)))

    rows = rng.dirichlet(np.ones(4), size=8) * rng.uniform(0.05, 2, size=(8, 1))
    rows /= rows.sum()
    pairs = list(itertools.combinations(range(8), 2))
    kept = [np.vstack([np.delete(rows, pair, axis=0), rows[list(pair)].sum(axis=0)]) for pair in pairs]
    best = np.argmax([information.mutual_information(table) for table in kept])
    assert tuple(solution("3.4")(rows)) == pairs[best]

    one_toss = 0.3 * np.array([0.2, 0.8]), 0.7 * np.array([0.6, 0.4])
    assert solution("6.1")([0.8, 0.4], [0.3, 0.7], 1) == pytest.approx(
        information.mutual_information(one_toss)
    )

    mean, log_var, layer = rng.normal(size=20), rng.normal(size=20), np.repeat([0, 1], [7, 13])
    parts = [solution("6.4")(mean[layer == k], log_var[layer == k], layer[layer == k]) for k in (0, 1)]
    assert solution("6.4")(mean, log_var, layer) == pytest.approx(sum(parts))

    points, labels = rng.normal(size=(9, 2)), np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    assert solution("9.3")(apart, labels) == pytest.approx(silhouette_score(points, labels))

    assert solution("10.4")(3, 1.0, 2.0, 1) == pytest.approx(3 * 2 * 2 / (3 * 1 + 3 * 2))


@every_set
def test_the_student_version_keeps_the_text_and_no_solution(name: str) -> None:
    student = "\n".join(c.source for c in building.student(name).cells)
    assert "SOLUTION" not in student
    assert "Problem(" not in student
    assert not re.search(
        r"(?<!\\)\blambda\b", student
    )  # mistakes are lambdas; \lambda in a formula is a letter
    for number, problem in coursework.load(name).graded.items():
        assert f'raise NotImplementedError("your answer to problem {number}")' in student
        assert f"def {problem.answer.__name__}(" in student
    written = [n for n, p in coursework.load(name).problems.items() if isinstance(p, Written)]
    assert all(f"*Your answer to problem {n}*" in student for n in written)


@every_set
def test_an_untouched_function_says_that_it_is_not_answered(name: str) -> None:
    cells = [c.source for c in building.student(name).cells if c.cell_type == "code"]
    for number, problem in coursework.load(name).graded.items():
        source = next(c for c in cells if f"def {problem.answer.__name__}(" in c)
        namespace: dict[str, object] = {}
        exec(source, namespace)
        result = coursework.check(number, namespace[problem.answer.__name__])
        assert not result
        assert result.message == f"Not answered yet: your answer to problem {number}"


def test_notebooks_are_the_same_on_every_build() -> None:
    assert building.student(LIGHT) == building.student(LIGHT)


def test_solutions_as_submitted_get_all_points_and_untouched_notebooks_none(tmp_path: Path) -> None:
    problem_set = coursework.load(LIGHT)
    solved = grading.grade(problem_set, write(tmp_path / "a.ipynb", *solve(LIGHT)))
    assert solved.points == solved.out_of == 80
    assert solved.remarks == []
    nbformat.write(building.student(LIGHT), tmp_path / "b.ipynb")
    untouched = grading.grade(problem_set, tmp_path / "b.ipynb")
    assert untouched.points == 0
    assert "Not answered yet: your answer to problem 2.1" in untouched.feedback()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["01_information", "07_fisher"])
def test_other_solutions_as_submitted_get_all_points(name: str, tmp_path: Path) -> None:
    report = grading.grade(coursework.load(name), write(tmp_path / "a.ipynb", *solve(name)))
    assert report.points == report.out_of
    assert report.remarks == []


def test_a_hostile_submission_spoils_only_its_own_points(tmp_path: Path) -> None:
    # No imports but math's: a step's time limit is short here, and the machine may be busy.
    hostile = [
        "import math",
        "def validation_size(k, e, d):\n    return math.ceil(math.log(2 * k / d) / (2 * e**2))",
        "while True:\n    pass",
        "%matplotlib inline\n!exit 1\nprint('noise' * 10000)\nraise SystemExit(3)",
        "def upper_risk(errors, m, delta):\n    import os\n    print('bye')\n    os._exit(0)",
        "def labelling_bits(n, d):\n    while True:\n        pass",
        "def true_error(observed, s, k):\n    return object()",
    ]
    report = grading.grade(coursework.load(LIGHT), write(tmp_path / "a.ipynb", *hostile), limit=4)
    got = {number: (score.points, score.message) for number, score in report.scores.items()}
    assert got["2.1"] == (20, "Correct.")
    assert got["2.2"][0] == got["2.3"][0] == got["2.4"][0] == 0
    assert "longer than 4 s, or stopped the interpreter" in got["2.2"][1]
    assert "longer than 4 s, or stopped the interpreter" in got["2.3"][1]
    assert "cannot be read as numbers" in got["2.4"][1]
    assert len(report.remarks) == 2, report.remarks
    assert "longer than 4 s" in report.remarks[0] or "longer than 4 s" in report.remarks[1]
    assert any("SystemExit" in r for r in report.remarks)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("def true_error(o, s, k):\n    return ()", "Your answer is empty"),
        ("def true_error(o, s, k):\n    raise ValueError('\\ud800' * 10**6)", "raised ValueError"),
        ("import os\nos.remove('../journal.jsonl')", "no answer to grade"),
        (
            "import atexit, pathlib\n"
            "def true_error(o, s, k):\n    return 1.0\n"
            "forge = pathlib.Path('../answers-2.4.npz').write_bytes\n"
            "atexit.register(lambda: forge(b'PK\\x03\\x04'))",
            "cannot be read",
        ),
    ],
)
def test_what_a_submission_spoils_stops_nobody_else(cell: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "eve.ipynb", cell)
    (report,) = grading.grade_all(LIGHT, tmp_path, tmp_path / "out")
    assert report.points == 0
    assert message in report.scores["2.4"].message
    assert len((tmp_path / "out/feedback/eve.md").read_text(encoding="utf-8")) < 3000


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", '{"cells": 3}', '{"cells": [{}], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}'],
)
def test_a_file_that_is_no_notebook_gets_no_points(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(text, encoding="utf-8")
    report = grading.grade(coursework.load(LIGHT), tmp_path / "a.ipynb")
    assert report.points == 0
    assert "cannot be read as a notebook" in report.feedback()
    (tmp_path / "b.ipynb").mkdir()
    assert "cannot be read" in grading.grade(coursework.load(LIGHT), tmp_path / "b.ipynb").feedback()


def test_magics_are_left_out_and_the_operator_is_not(tmp_path: Path) -> None:
    cells = ["%%time\n!exit 1\nx = 7", "y = (x + 3\n     % 10)", "def true_error(o, s, k):\n    return y"]
    report = grading.grade(coursework.load(LIGHT), write(tmp_path / "a.ipynb", *cells))
    assert report.remarks == []
    assert "you gave 10" in report.scores["2.4"].message


def test_the_grader_never_shows_a_submission_the_solutions(tmp_path: Path) -> None:
    spy = "import sys\ndef true_error(o, s, k):\n    return float('coursework' in sys.modules or 'grading' in sys.modules)"
    report = grading.grade(coursework.load(LIGHT), write(tmp_path / "a.ipynb", spy))
    assert "you gave 0" in report.scores["2.4"].message
    assert "no function `upper_risk`" in report.scores["2.2"].message


def test_a_folder_becomes_a_table_and_feedback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nats = "def true_error(observed, s, k):\n    return (observed - s) / (1 - s)"
    (tmp_path / "in" / "ben").mkdir(parents=True)
    write(tmp_path / "in" / "ada.ipynb", *solve(LIGHT))
    write(tmp_path / "in" / "ben" / f"{LIGHT}.ipynb", *solve(LIGHT, {"2.4": nats}))
    (tmp_path / "in" / "eve.ipynb").write_text("no notebook", encoding="utf-8")
    arguments = ["grade", "02", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--partial", "0.5"]
    assert main([*arguments, "--seed", "7", "--jobs", "2"]) == 0
    with (tmp_path / "out" / "scores.csv").open(encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert {s: float(r["points"]) for s, r in rows.items()} == {"ada": 80, "ben": 70, "eve": 0}
    assert rows["ben"]["2.4"] == "10"
    assert rows["ada"]["2.5"] == ""
    assert "A replaced label is right in 1/k" in (tmp_path / "out/feedback/ben.md").read_text(
        encoding="utf-8"
    )
    assert "cannot be read as a notebook" in (tmp_path / "out/feedback/eve.md").read_text(encoding="utf-8")
    assert "ada: 80 of 80" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["grade", "77", "."], "no problem set '77'"), (["grade", "02", "nowhere"], "no notebook in nowhere")],
)
def test_bad_arguments_end_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_unknown_problems_are_refused() -> None:
    for number in ("2.9", "2.5", "two"):
        with pytest.raises(ValueError, match="no problem"):
            coursework.check(number, abs)


def test_markers_must_come_in_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "99_broken.py").write_text("# %%\n### BEGIN SOLUTION\nx = 1\n", encoding="utf-8")
    monkeypatch.setattr(coursework, "SETS", tmp_path)
    with pytest.raises(ValueError, match="not in pairs"):
        building.student("99_broken")


def test_numbers_and_arrays_survive_the_way_to_the_worker(tmp_path: Path) -> None:
    row = (3, 0.5, "text", np.arange(6).reshape(2, 3))
    grading.worker.save(tmp_path / "x.npz", [row, row])
    for back in grading.worker.read(tmp_path / "x.npz"):
        assert back[:3] == row[:3]
        assert type(back[0]) is int
        assert np.array_equal(back[3], row[3])


@pytest.mark.slow
def test_everything_is_built(tmp_path: Path) -> None:
    assert main(["build", "--out", str(tmp_path)]) == 0
    with zipfile.ZipFile(tmp_path / "student.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"coursework/{n}.ipynb" for n in [*SETS, "project"])
    for name in SETS:
        path = tmp_path / f"nbgrader/source/{name}/{name}.ipynb"
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        roles = [c["metadata"]["nbgrader"] for c in cells if "nbgrader" in c["metadata"]]
        assert sum(r.get("points", 0) for r in roles) == 100
        assert len({r["grade_id"] for r in roles}) == len(roles)
    project = (tmp_path / "student/project.ipynb").read_text(encoding="utf-8")
    assert "NotImplementedError" not in project  # the skeleton runs as it stands
    assert "*Your answer*" in project


@pytest.mark.slow
def test_pytest_grades_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "ada.ipynb", *solve(LIGHT, {"x": "def true_error(o, s, k):\n    return o"}))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "coursework"],
        cwd=ROOT,
        env=os.environ | {"SET": "02", "SUBMISSIONS": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "1 failed, 3 passed" in done.stdout, done.stdout
    assert "Not yet: for one hidden input" in done.stdout


def test_a_problem_is_an_exercise() -> None:
    problem = Problem("9.9", 10, abs, lambda rng: (rng.normal(),), {"sign": lambda x: -abs(x)})
    assert problem.exercise.reference is abs
    assert problem.exercise.tolerance == 1e-6


def chapter(number: int) -> str:
    (path,) = (ROOT / "book").glob(f"{number:02d}_*.ipynb")
    cells = nbformat.read(path, 4).cells
    return "\n".join(c.source for c in cells if c.cell_type == "markdown")


def test_the_syllabi_name_sections_and_reading_times_of_the_chapters() -> None:
    rows = [
        line.split("|")
        for line in (ROOT / "book/teaching.md").read_text(encoding="utf-8").splitlines()
        if re.match(r"\| \d+ \| \{doc\}", line)
    ]
    minutes: dict[int, int] = {}
    for twelve_weeks, group in ((False, rows[:6]), (True, rows[6:])):
        for row in group:
            numbers = [int(n) for n in re.findall(r"<(\d\d)_", row[2])]
            text = "\n".join(chapter(n) for n in numbers)
            for section in re.findall(r"\*([^*]+)\*", row[3]):
                assert re.search(rf"^#+ {re.escape(section)}$", text, re.MULTILINE), section
            stated = sum(int(m) for m in re.findall(r"(\d+) minutes to read", text))
            read = int(re.search(r"(\d+) min", row[5 if twelve_weeks else 4])[1])
            if twelve_weeks:  # chapter 1 takes two weeks
                minutes[numbers[0]] = minutes.get(numbers[0], 0) + read
            else:
                assert read == stated, numbers
    assert minutes == {n: int(re.search(r"(\d+) minutes to read", chapter(n))[1]) for n in range(1, 11)}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--limit", "0", "limit: 0"), ("--limit", "nan", "limit: nan"), ("--partial", "7", "partial: 7")],
)
def test_a_limit_of_nothing_is_refused_before_everybody_gets_nothing(
    option: str, value: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.ipynb", "1")
    assert main(["grade", LIGHT[:2], str(tmp_path), "--out", str(tmp_path / "out"), option, value]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["build", "--out", str(tmp_path / "file")]) == 1
    errors = capsys.readouterr().err
    assert "file" in errors
    assert len(errors.strip().splitlines()) == 1
