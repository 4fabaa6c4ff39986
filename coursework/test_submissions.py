"""Grade with pytest: ``SET=03 SUBMISSIONS=folder python -m pytest coursework``; a test is one problem of one student."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from coursework import grading, load

SET, SUBMISSIONS = os.environ.get("SET", ""), os.environ.get("SUBMISSIONS", "")
FILES = grading.find(Path(SUBMISSIONS), load(SET).name) if SET and SUBMISSIONS else {}
NUMBERS = list(load(SET).graded) if FILES else []


@cache
def report(student: str) -> grading.Report:
    """Return a student's report; the notebook runs once."""
    return grading.grade(load(SET), FILES[student], student=student, seed=int(os.environ.get("SEED", "0")))


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("student", FILES)
def test_problem(student: str, number: str) -> None:
    """The student's answer to the problem is right."""
    score = report(student).scores[number]
    assert score.points == score.out_of, score.message
