"""Problem sets whose source holds the solutions: built into student notebooks, and graded.

A set is one Python file in ``sets/`` in the percent format: text, solutions between the markers of nbgrader, and cells
with the tag ``hidden`` that hold a :class:`Problem` each. ``python -m coursework`` says what can be done with them.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from t2v import exercises
from t2v.exercises import Exercise, Result

SETS = Path(__file__).resolve().parent / "sets"


@dataclass(frozen=True)
class Problem:
    """A problem that the computer grades.

    Attributes
    ----------
    number : str
        ``"3.2"``: set 3, problem 2; the text has a heading ``## Problem 3.2``.
    points : int
    answer : callable
        The solution, a function of the notebook; students keep its name. Arguments are numbers, strings or arrays.
    inputs : callable
        ``inputs(rng)`` returns the arguments of one hidden trial.
    mistakes : mapping
        What to say → the wrong function that it explains.
    tolerance : float
        Relative and absolute tolerance.
    """

    number: str
    points: int
    answer: Callable[..., Any]
    inputs: Callable[[np.random.Generator], tuple[Any, ...]]
    mistakes: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    tolerance: float = 1e-6

    @property
    def exercise(self) -> Exercise:
        """The problem as the book's exercises know it."""
        return Exercise(self.answer, self.inputs, self.mistakes, self.tolerance)


@dataclass(frozen=True)
class Written:
    """A problem that a person grades."""

    number: str
    points: int


@dataclass(frozen=True)
class ProblemSet:
    """A set: the name of its file, and its problems by number."""

    name: str
    problems: Mapping[str, Problem | Written]

    @property
    def graded(self) -> dict[str, Problem]:
        """The problems that the computer grades."""
        return {n: p for n, p in self.problems.items() if isinstance(p, Problem)}


def names() -> list[str]:
    """Return the names of all problem sets; the project, which has a rubric instead of points, is not among them."""
    return sorted(path.stem for path in SETS.glob("[0-9]*.py"))


def source(name: str) -> Path:
    """Return the file of a set or of the project.

    Raises
    ------
    ValueError
        If there is none of this name; a set's two digits are enough.
    """
    found = [path for path in SETS.glob("*.py") if path.stem == name or path.stem[:2] == name]
    if len(found) != 1:
        raise ValueError(f"name: no problem set {name!r}; there are {', '.join(names())}, project")
    return found[0]


@cache
def load(name: str) -> ProblemSet:
    """Run a set's source, its visible checks included, and return its problems."""
    path = source(name)
    values = runpy.run_path(str(path)).values()
    found = {v.number: v for v in values if isinstance(v, (Problem, Written))}
    return ProblemSet(path.stem, dict(sorted(found.items())))


def check(number: str, answer: Any, *, trials: int = 5, seed: int = 0) -> Result:
    """Check a function against a problem in this process, as nbgrader does it; see :mod:`coursework.grading` for files.

    Raises
    ------
    ValueError
        If no set has a problem of this number that the computer grades.
    """
    match = re.fullmatch(r"(\d{1,2})\.\d", number)
    problem = load(f"{int(match[1]):02d}").graded.get(number) if match else None
    if problem is None:
        raise ValueError(f"number: no problem {number!r} that the computer grades; write e.g. '3.2'")
    arguments = exercises.hidden(problem.exercise, trials=trials, seed=seed)
    return exercises.compare(problem.exercise, arguments, exercises.answers(answer, arguments))
