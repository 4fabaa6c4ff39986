"""Exercises that check themselves: ``exercises.check("3.2", answer)``.

An exercise holds a reference solution, a generator of hidden inputs and the mistakes that people make; each
chapter has a module here (``ch03`` for chapter 3) whose ``EXERCISES`` maps the exercise's number to an
:class:`Exercise`.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import itertools
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: How often hidden inputs are drawn anew, at the most, until every known mistake shows on them.
DRAWS = 50


@dataclass(frozen=True)
class Exercise:
    """One exercise that can be checked.

    Attributes
    ----------
    reference : callable or value
        The solution: a function for code exercises, a number or array for pencil-and-paper ones.
    inputs : callable, optional
        ``inputs(rng)`` returns the arguments of one hidden trial; needed if ``reference`` is a function.
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


def chapters() -> dict[int, Mapping[str, Exercise]]:
    """Return chapter number → its exercises that check themselves, for every chapter that has some."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    numbers = sorted(int(name[2:]) for name in names if re.fullmatch(r"ch\d\d", name))
    return {n: importlib.import_module(f"{__name__}.ch{n:02d}").EXERCISES for n in numbers}


def get(number: str) -> Exercise:
    """Return the exercise with this number (``"3.2"``: chapter 3, exercise 2).

    Raises
    ------
    ValueError
        If there is none; the message lists the numbers of that chapter.
    """
    match = re.fullmatch(r"(\d{1,2})\.\d{1,2}", str(number))
    module = f"{__name__}.ch{int(match[1]):02d}" if match else ""
    if not match or importlib.util.find_spec(module) is None:
        raise ValueError(f"check: no chapter with self-checking exercises for {number!r}; write e.g. '3.2'")
    found: Mapping[str, Exercise] = importlib.import_module(module).EXERCISES
    if number not in found:
        raise ValueError(
            f"check: no exercise {number!r} that checks itself; chapter {match[1]} has {', '.join(found)}"
        )
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

    Raises
    ------
    ValueError
        If there is no such exercise, or ``trials`` is less than 1.
    """
    exercise = get(number)
    if trials < 1:
        raise ValueError(f"check: trials is {trials}; at least 1 is needed")
    if exercise.inputs is None and callable(answer):
        return Result(False, f"Exercise {number} wants a value; this is a function: call it first.")
    if exercise.inputs is not None and not callable(answer):
        return Result(False, f"Exercise {number} wants a function; this is a {type(answer).__name__}.")
    arguments = hidden(exercise, trials=trials, seed=seed)
    return compare(exercise, arguments, answers(answer, arguments))


def hidden(exercise: Exercise, *, trials: int = 5, seed: int = 0) -> list[tuple[Any, ...]]:
    """Draw the hidden inputs of an exercise: a tuple of arguments for each trial, one empty tuple for a value.

    They are drawn anew while a known mistake gives the right answers on them, or those of another mistake: which
    seed somebody chooses must not decide whether a wrong answer passes.
    """
    if exercise.inputs is None:
        return [()]
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        arguments = [exercise.inputs(rng) for _ in range(trials)]
        if _told_apart(exercise, arguments):
            break
    return arguments


def _told_apart(exercise: Exercise, arguments: list[tuple[Any, ...]]) -> bool:
    """Say whether the reference and all mistakes give different answers."""
    every = [_numbers(f, arguments) for f in (exercise.reference, *exercise.mistakes.values())]
    return not any(_close(a, b, exercise.tolerance) for a, b in itertools.combinations(every, 2))


def answers(answer: Any, arguments: list[tuple[Any, ...]]) -> list[list[np.ndarray]] | str:
    """Collect a student's answers as numbers; if there are none, the message that says why.

    Parameters
    ----------
    answer : callable or value
        The student's function or value.
    arguments : list of tuples
        What :func:`hidden` drew.

    Returns
    -------
    list of lists of arrays, or str
        For each trial the arrays that the answer consists of.
    """
    try:
        values = _run(answer, arguments)
    except NotImplementedError as error:
        return f"Not answered yet: {error}" if str(error) else "Not answered yet."
    except Exception as error:  # a student's function may fail in any way: the check reports it
        return f"Your function raised {type(error).__name__}: {error}"
    if any(value is None for value in values):
        return "Your answer is None: did the function forget to return its value?"
    try:
        return [_parts(value) for value in values]
    except (TypeError, ValueError):
        kind = type(values[0]).__name__
        return f"Your answer is a {kind} that cannot be read as numbers; return a number or an array."


def _run(answer: Any, arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Call a function on copies of the inputs: one that changes them must not spoil them for the next."""
    return [answer(*copy.deepcopy(a)) for a in arguments] if callable(answer) else [answer]


def _numbers(answer: Any, arguments: list[tuple[Any, ...]]) -> list[list[np.ndarray]]:
    """Return the arrays that an answer of our own consists of, for each trial."""
    return [_parts(value) for value in _run(answer, arguments)]


def _parts(value: Any) -> list[np.ndarray]:
    """Return an answer as arrays of floats: one if it is one array, else one for each part of a tuple."""
    if isinstance(value, (tuple, list)):
        arrays = [part for v in value for part in _parts(v)]
        one_shape = len({a.shape for a in arrays}) == 1 and len(arrays) == len(value)
        return [np.stack(arrays)] if one_shape else arrays
    return [np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, dtype=float)]


def compare(
    exercise: Exercise, arguments: list[tuple[Any, ...]], given: list[list[np.ndarray]] | str
) -> Result:
    """Compare collected answers with the reference, and name the mistake where they differ.

    Parameters
    ----------
    exercise : Exercise
        Reference, mistakes and tolerance.
    arguments : list of tuples
        The hidden inputs.
    given : list of lists of arrays, or str
        What :func:`answers` collected on them; a message is handed on.
    """
    if isinstance(given, str):
        return Result(False, given)
    wants = _numbers(exercise.reference, arguments)
    if _close(wants, given, exercise.tolerance):
        return Result(True, "Correct.")
    for message, wrong in exercise.mistakes.items():
        if _close(_numbers(wrong, arguments), given, exercise.tolerance):
            return Result(False, message)
    return Result(False, _shape(wants, given) or _scale(wants, given))


def _close(wants: list[list[np.ndarray]], gots: list[list[np.ndarray]], tolerance: float) -> bool:
    return all(
        len(want) == len(got)
        and all(
            w.shape == g.shape and np.allclose(w, g, rtol=tolerance, atol=tolerance)
            for w, g in zip(want, got, strict=True)
        )
        for want, got in zip(wants, gots, strict=True)
    )


def _shape(wants: list[list[np.ndarray]], gots: list[list[np.ndarray]]) -> str:
    """Say what is wrong with the answer's shape; nothing if it is right."""
    for want, got in zip(wants, gots, strict=True):
        if len(want) != len(got):
            return f"Your answer has {len(got)} part(s), and should have {len(want)}."
        for w, g in zip(want, got, strict=True):
            if w.shape != g.shape:
                hint = " Are the axes swapped?" if w.shape == g.shape[::-1] else ""
                return f"The shape is {g.shape}, and should be {w.shape}.{hint}"
    return ""


def _scale(wants: list[list[np.ndarray]], gots: list[list[np.ndarray]]) -> str:
    """Say by which constant factor the answers are off, where it is one: scale is the commonest mistake."""
    want = np.concatenate([w.ravel() for parts in wants for w in parts])
    got = np.concatenate([g.ravel() for parts in gots for g in parts])
    if not np.isfinite(got[np.isfinite(want)]).all():
        return "Your answer has values that are not finite (0·log 0, or a division by zero?)."
    if all(w.ndim == 2 and np.allclose(w.T, g) for w, g in _square(wants, gots)) and _square(wants, gots):
        return "Your answer is the transpose of the right one: the axes are swapped."
    use = np.isfinite(want) & (np.abs(want) > 1e-9)
    factors = got[use] / want[use]
    if factors.size > 1 and np.allclose(factors, factors[0], rtol=1e-6) and not np.isclose(factors[0], 0):
        return _factor(float(factors[0]))
    differs = np.flatnonzero(~np.isclose(got, want, rtol=1e-6, atol=1e-9))
    at = int(differs[0]) if differs.size else 0
    return f"Not yet: for one hidden input you gave {got[at]:.4g}, and {want[at]:.4g} is right."


def _square(
    wants: list[list[np.ndarray]], gots: list[list[np.ndarray]]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the pairs of matrices of one shape that differ."""
    pairs = [pair for want, got in zip(wants, gots, strict=True) for pair in zip(want, got, strict=True)]
    return [(w, g) for w, g in pairs if w.ndim == 2 and w.shape == w.T.shape and not np.allclose(w, g)]


def _factor(factor: float) -> str:
    """Say what a constant factor between the answer and the right one means."""
    if np.isclose(factor, -1):
        return "The sign is wrong."
    if np.isclose(factor, np.log(2)):
        return (
            "Your answer is in nats, and bits are asked for: divide by log 2, or take logarithms to base 2."
        )
    if np.isclose(factor, 1 / np.log(2)):
        return "Your answer is in bits, and nats are asked for: take natural logarithms."
    return f"Your answer is {factor:.4g} times the right one, every time: a missing factor, or another unit."
