"""Chapter 10's exercises accept the solutions and explain the mistakes."""

from __future__ import annotations

import pytest

from t2v import exercises
from t2v.exercises.ch10 import EXERCISES


@pytest.mark.parametrize("number", EXERCISES)
def test_the_reference_passes(number: str) -> None:
    assert exercises.check(number, EXERCISES[number].reference)


@pytest.mark.parametrize(("number", "message"), [(n, m) for n, e in EXERCISES.items() for m in e.mistakes])
def test_each_mistake_is_explained(number: str, message: str) -> None:
    result = exercises.check(number, EXERCISES[number].mistakes[message])
    assert not result
    assert message in result.message
