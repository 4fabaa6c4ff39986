"""Grade submissions: each runs in a process of its own, with a time limit, and only numbers come back."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import numpy as np

from coursework import ProblemSet, load, worker
from t2v import exercises

#: How many steps of one submission may hang or crash before the rest of it is given up.
RESTARTS = 4

#: Seconds that a worker may take to start, on a busy machine, on top of its steps.
START_UP = 60


@dataclass(frozen=True)
class Score:
    """Points for one problem, and what to tell the student; ``points`` is None where a person grades."""

    points: float | None
    out_of: int
    message: str


@dataclass(frozen=True)
class Report:
    """The scores of one submission by problem, and the errors of its cells."""

    student: str
    scores: dict[str, Score]
    remarks: list[str]

    @property
    def points(self) -> float:
        """Points that the computer gave."""
        return sum(score.points or 0 for score in self.scores.values())

    @property
    def out_of(self) -> int:
        """Points that the computer could give."""
        return sum(score.out_of for score in self.scores.values() if score.points is not None)

    def feedback(self) -> str:
        """Return the report for the student, in Markdown."""
        lines = [f"# {self.student}: {self.points:g} of {self.out_of} points", ""]
        for number, score in self.scores.items():
            points = "–" if score.points is None else f"{score.points:g}"
            lines.append(f"- **Problem {number}** ({points} of {score.out_of}). {score.message}")
        if self.remarks:
            lines += ["", "When the notebook ran from top to bottom:", "", *(f"- {r}" for r in self.remarks)]
        return "\n".join(lines) + "\n"


def grade(
    problem_set: ProblemSet,
    submission: Path,
    *,
    student: str = "",
    seed: int = 0,
    trials: int = 5,
    limit: float = 60,
    partial: float = 0.0,
) -> Report:
    """Grade one submission, a notebook or a Python file in the percent format.

    Parameters
    ----------
    problem_set : ProblemSet
    submission : Path
    student : str
        How the report calls the student; by default the file's name.
    seed, trials : int
        The hidden inputs: change the seed from year to year.
    limit : float
        Seconds for a cell, and for a problem.
    partial : float
        Share of a problem's points for an answer with a recognised mistake.
    """
    inputs = {
        number: exercises.hidden(problem.exercise, trials=trials, seed=seed)
        for number, problem in problem_set.graded.items()
    }
    given: dict[str, list[list[np.ndarray]] | str] = {}
    try:  # a file may hold anything, and a submission can spoil what it was given: neither stops the others
        what = "The file cannot be read as a notebook"
        cells = read_cells(submission)
        what = "The submission cannot be graded"
        given, remarks = collect(problem_set, cells, inputs, limit)
    except Exception as error:
        remarks = [f"{what} ({type(error).__name__})."]
    scores = {}
    for number, problem in problem_set.problems.items():
        if number not in inputs:
            scores[number] = Score(None, problem.points, "Graded by a person.")
            continue
        answer = given.get(number, "There is no answer to grade.")
        exercise = problem_set.graded[number].exercise
        result = exercises.compare(exercise, inputs[number], answer)
        share = 1.0 if result else partial * (result.message in exercise.mistakes)
        scores[number] = Score(share * problem.points, problem.points, result.message)
    return Report(student or submission.stem, scores, remarks)


def read_cells(submission: Path) -> list[tuple[int, str]]:
    """Return the code cells of a notebook, with their places in it (from 1)."""
    cells = jupytext.read(submission).cells
    return [(i, cell.source) for i, cell in enumerate(cells, start=1) if cell.cell_type == "code"]


def collect(
    problem_set: ProblemSet,
    cells: Sequence[tuple[int, str]],
    inputs: dict[str, list[tuple[Any, ...]]],
    limit: float,
) -> tuple[dict[str, list[list[np.ndarray]] | str], list[str]]:
    """Run the cells and collect the answers: (arrays or a message for each problem, remarks on the cells)."""
    with tempfile.TemporaryDirectory(prefix="coursework-") as name:
        folder = Path(name)
        (folder / "sandbox").mkdir()
        for number, rows in inputs.items():
            worker.save(folder / f"inputs-{number}.npz", rows)
        job: dict[str, Any] = {
            "cells": list(cells),
            "problems": {n: p.answer.__name__ for n, p in problem_set.graded.items()},
            "limit": limit,
            "skip": [],
        }
        messages: dict[str, str] = {}
        for _ in range(RESTARTS + 1):
            (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
            _run_worker(folder, timeout=START_UP + limit * (RESTARTS + 1))
            ended, open_step = _read_journal(folder / "journal.jsonl")
            messages |= ended
            if open_step is None:
                break
            messages[open_step] = f"It took longer than {limit:g} s, or stopped the interpreter."
            job["skip"].append(open_step)
        given = {number: _answer(folder, number, len(rows), messages) for number, rows in inputs.items()}
        remarks = [
            f"{step.capitalize()}: {text}" for step, text in messages.items() if text and step[:4] == "cell"
        ]
        return given, remarks


def _answer(folder: Path, number: str, trials: int, messages: dict[str, str]) -> list[list[np.ndarray]] | str:
    message = messages.get(f"problem {number}", "The notebook did not get as far as this problem.")
    if message:
        return message
    try:
        rows = worker.read(folder / f"answers-{number}.npz")
        given = [[np.asarray(part, dtype=float) for part in row] for row in rows]
    except Exception:  # the submission can write there too
        given = []
    return given if len(given) == trials else "The answer cannot be read."


def _run_worker(folder: Path, timeout: float) -> None:
    """Run the worker with nothing to read from or print to; whatever it started ends with it."""
    (folder / "journal.jsonl").write_text("")
    process = subprocess.Popen(
        [sys.executable, worker.__file__, str(folder)],
        cwd=folder / "sandbox",
        env=os.environ | {"MPLBACKEND": "Agg", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
    if hasattr(os, "killpg"):  # its children too, where the system has process groups
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_journal(path: Path) -> tuple[dict[str, str], str | None]:
    """Return the messages of the steps that ended, and the step that did not, if one did not."""
    ended: dict[str, str] = {}
    started = None
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "start" in entry:
            started = str(entry["start"])
        else:
            ended[str(entry["end"])], started = str(entry["message"]), None
    return ended, started


def find(submissions: Path, name: str) -> dict[str, Path]:
    """Return student → file: the notebooks of a folder, or ``STUDENT/…/NAME.ipynb`` as nbgrader arranges them.

    Raises
    ------
    ValueError
        If there is nothing to grade.
    """
    if submissions.is_file():
        return {submissions.stem: submissions}
    files = {path.stem: path for path in sorted(submissions.glob("*.ipynb"))}
    files |= {
        path.relative_to(submissions).parts[0]: path
        for path in sorted(submissions.glob(f"*/**/{name}.ipynb"))
    }
    if not files:
        raise ValueError(
            f"submissions: no notebook in {submissions}; STUDENT.ipynb or STUDENT/{name}.ipynb are read"
        )
    return files


def grade_all(name: str, submissions: Path, out: Path, *, jobs: int = 1, **options: Any) -> list[Report]:
    """Grade a folder of submissions; write ``scores.csv`` and ``feedback/STUDENT.md`` into ``out``."""
    if not 0 < options.get("limit", 60) < 1e6:  # a limit of nothing would give everybody nothing
        raise ValueError(f"limit: {options['limit']} s; a number above 0 and below a million is accepted")
    if not 0 <= options.get("partial", 0) <= 1:
        raise ValueError(f"partial: {options['partial']}; a share from 0 to 1 is accepted")
    problem_set = load(name)
    files = find(submissions, problem_set.name)
    with ThreadPoolExecutor(jobs) as pool:
        reports = list(pool.map(lambda s: grade(problem_set, files[s], student=s, **options), files))
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    with (out / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["student", *problem_set.problems, "points", "out_of", "remarks"])
        for report in reports:
            points = ["" if s.points is None else f"{s.points:g}" for s in report.scores.values()]
            table.writerow(
                [report.student, *points, f"{report.points:g}", report.out_of, len(report.remarks)]
            )
            path = out / "feedback" / f"{report.student}.md"
            path.write_text(report.feedback(), encoding="utf-8", errors="replace")
    return reports


def verify(problem_set: ProblemSet, *, seed: int = 0) -> list[str]:
    """Return what is wrong with a set's own problems: a solution that fails, a mistake without its own message."""
    wrong = []
    for number, problem in problem_set.graded.items():
        arguments = exercises.hidden(problem.exercise, seed=seed)
        for expected, function in [("Correct.", problem.answer), *problem.mistakes.items()]:
            given = exercises.answers(function, arguments)
            got = exercises.compare(problem.exercise, arguments, given).message
            if got != expected:
                wrong.append(f"{number}: expected {expected!r}, got {got!r}")
    return wrong
