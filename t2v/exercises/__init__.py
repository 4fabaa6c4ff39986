"""Exercises that check themselves: ``exercises.check("3.2", answer)``.

An exercise holds a reference solution, a generator of hidden inputs and the mistakes that people make; each chapter has a
module here (``ch03`` for chapter 3) whose ``EXERCISES`` maps the exercise's number to an :class:`Exercise`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Exercise:
    """One exercise that can be checked.

    Attributes
    ----------
    reference : callable or value
        The solution: a function for code exercises, a number or array for pencil-and-paper ones.
    inputs : callable, optional
        ``inputs(rng)`` returns the tuple of arguments of one hidden trial; needed when ``reference`` is a function.
    mistakes : mapping
        What to say → the wrong function (or value) that it explains: "bits for nats", "axes swapped", …
    tolerance : float
        Relative and absolute tolerance of the comparison.
    """

    reference: Any
    inputs: Callable[[np.random.Generator], tuple[Any, ...]] | None = None
    mistakes: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-6


@dataclass(frozen=True)
class Result:
    """The outcome of a check: ``ok`` and a message for the student."""

    ok: bool
    message: str

    def __repr__(self) -> str:
        return ("✓ " if self.ok else "✗ ") + self.message

    def __bool__(self) -> bool:
        return self.ok


def get(number: str) -> Exercise:
    """Return the exercise with this number (``"3.2"``: chapter 3, exercise 2).

    Raises
    ------
    ValueError
        If there is none; the message lists the numbers of that chapter.
    """
    chapter = str(number).partition(".")[0]
    try:
        found: Mapping[str, Exercise] = importlib.import_module(f"{__name__}.ch{int(chapter):02d}").EXERCISES
    except (ValueError, ModuleNotFoundError) as error:
        raise ValueError(f"check: no chapter with self-checking exercises for {number!r}; write e.g. '3.2'") from error
    if number not in found:
        raise ValueError(f"check: no exercise {number!r} that checks itself; chapter {chapter} has {', '.join(found)}")
    return found[number]


def check(number: str, answer: Any, *, trials: int = 5, seed: int = 0) -> Result:
    """Check an answer to an exercise and say what is off.

    Parameters
    ----------
    number : str
        The exercise, ``"chapter.exercise"``.
    answer : callable or value
        The student's function (called on hidden random inputs) or value.
    trials : int
        Number of hidden inputs.
    seed : int
        Seed of the hidden inputs.

    Returns
    -------
    Result
        True when every trial agrees; otherwise the message names the likely mistake.
    """
    exercise = get(number)
    if exercise.inputs is None:
        return _compare(exercise, [exercise.reference], [answer], lambda wrong: [wrong])
    if not callable(answer):
        return Result(False, f"Exercise {number} wants a function; this is a {type(answer).__name__}.")
    rng = np.random.default_rng(seed)
    arguments = [exercise.inputs(rng) for _ in range(trials)]
    try:
        given = [answer(*a) for a in arguments]
    except Exception as error:  # a student's function may fail in any way: the check reports it
        return Result(False, f"Your function raised {type(error).__name__}: {error}")
    expected = [exercise.reference(*a) for a in arguments]
    return _compare(exercise, expected, given, lambda wrong: [wrong(*a) for a in arguments])


def _compare(exercise: Exercise, expected: list[Any], given: list[Any], run: Callable[[Any], list[Any]]) -> Result:
    if any(g is None for g in given):
        return Result(False, "Your answer is None: did the function forget to return its value?")
    for want, got in zip(expected, given, strict=True):
        if np.shape(want) != np.shape(got):
            return Result(False, f"The shape is {np.shape(got)}, and should be {np.shape(want)}.")
    if _close(expected, given, exercise.tolerance):
        return Result(True, "Correct.")
    for message, wrong in exercise.mistakes.items():
        if _close(run(wrong), given, exercise.tolerance):
            return Result(False, message)
    return Result(False, _ratio(expected, given))


def _close(expected: list[Any], given: list[Any], tolerance: float) -> bool:
    return all(
        np.shape(e) == np.shape(g)
        and np.allclose(np.asarray(e, float), np.asarray(g, float), rtol=tolerance, atol=tolerance)
        for e, g in zip(expected, given, strict=True)
    )


def _ratio(expected: list[Any], given: list[Any]) -> str:
    """Say by which constant factor the answers are off, where it is one: scale is the commonest mistake."""
    want = np.concatenate([np.ravel(np.asarray(e, float)) for e in expected])
    got = np.concatenate([np.ravel(np.asarray(g, float)) for g in given])
    if not np.isfinite(got).all():
        return "Your answer has values that are not finite (0·log 0, or a division by zero?)."
    use = np.abs(want) > 1e-9
    factors = got[use] / want[use]
    if factors.size > 1 and np.allclose(factors, factors[0], rtol=1e-6) and not np.isclose(factors[0], 0):
        if np.isclose(factors[0], -1):
            return "The sign is wrong."
        return f"Your answer is {factors[0]:.4g} times the right one, every time: a missing factor, or another unit."
    return f"Not yet: for one hidden input you gave {got[0]:.4g}, and {want[0]:.4g} is right."
