"""Exercises that check themselves: ``exercises.check("3.2", answer)``.

An exercise holds a reference solution, a generator of hidden inputs and the mistakes that people make; each
chapter has a module here (``ch03`` for chapter 3) whose ``EXERCISES`` maps the exercise's number to an
:class:`Exercise`.

A wrong function is told the input, and the entry, at which it fails; a number that is worked out by hand is never told:
there is a hint after a few tries.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import itertools
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from t2v.exercises import _explain

#: How often hidden inputs are drawn anew, at the most, until every known mistake shows on them.
DRAWS = 50

#: After how many different wrong answers a pencil-and-paper exercise gives its hint.
PATIENCE = 3

#: The different wrong answers to each pencil-and-paper exercise in this process; see :func:`check`.
_tries: dict[str, set[bytes]] = {}

#: An answer as numbers: for each input the arrays that it consists of.
Numbers = list[list[np.ndarray]]


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
        What to say → the wrong function (or value) that it explains, or a list of several that it explains equally:
        "bits for nats", "axes swapped", …
    tolerance : float
        Relative and absolute tolerance of the comparison.
    hint : str
        For a pencil-and-paper number: what to say after :data:`PATIENCE` wrong answers. It does not hold the number.
    unit : str
        ``"bits"`` or ``"nats"`` if a pencil-and-paper number is an information.
    spoiled : callable, optional
        ``spoiled(rng)`` returns arguments with a NaN: an answer that makes a finite number of them hides it.
    """

    reference: Any
    inputs: Callable[[np.random.Generator], tuple[Any, ...]] | None = None
    mistakes: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-6
    hint: str = ""
    unit: str = ""
    spoiled: Callable[[np.random.Generator], tuple[Any, ...]] | None = None

    def wrong(self) -> Iterator[tuple[str, Any]]:
        """Yield every known mistake with what to say: message and wrong function (or value)."""
        for message, wrong in self.mistakes.items():
            for one in wrong if isinstance(wrong, list) else [wrong]:
                yield message, one


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
    TypeError
        If the number is no string: 3.10 and 3.1 are one number, and two exercises.
    ValueError
        If there is none; the message lists the numbers of that chapter.
    """
    if not isinstance(number, str):
        raise TypeError(f"number: {number!r} is a {type(number).__name__}; accepted: a string, e.g. '3.2'")
    if re.fullmatch(r"[Pp]\d{1,2}\.\d{1,2}", number):
        raise ValueError(
            f"number: {number!r} is a problem of a problem set, and those have no check here, only the first checks "
            "in their notebook; accepted: an exercise of a chapter, e.g. '3.2'"
        )
    match = re.fullmatch(r"(\d{1,2})\.\d{1,2}", number)
    module = f"{__name__}.ch{int(match[1]):02d}" if match else ""
    if not match or importlib.util.find_spec(module) is None:
        raise ValueError(
            f"number: no chapter with self-checking exercises for {number!r}; accepted: e.g. '3.2'"
        )
    found: Mapping[str, Exercise] = importlib.import_module(module).EXERCISES
    if number not in found:
        raise ValueError(
            f"number: no exercise {number!r} that checks itself; chapter {match[1]} has {', '.join(found)}"
        )
    return found[number]


def check(number: str, answer: Any, *, trials: int = 5, seed: int = 0) -> Result:
    """Check an answer to an exercise and say what is off.

    Wrong answers to a pencil-and-paper exercise are counted, each once, as long as Python runs; from the third on the
    message ends with a hint.

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
    TypeError
        If ``number`` is no string.
    ValueError
        If there is no such exercise, or ``trials`` is less than 1.
    """
    exercise = get(number)
    if trials < 1:
        raise ValueError(f"trials: {trials}; accepted: 1 or more")
    if exercise.inputs is None and callable(answer):
        return Result(False, f"Exercise {number} wants a value; this is a function: call it first.")
    if exercise.inputs is not None and not callable(answer):
        return Result(False, f"Exercise {number} wants a function; this is a {type(answer).__name__}.")
    arguments = hidden(exercise, trials=trials, seed=seed)
    if unfit := _unfit(number, exercise, answer, arguments[0]):
        return Result(False, unfit)
    given = answers(answer, arguments)
    result = compare(exercise, arguments, given)
    if exercise.inputs is None and not result and not isinstance(given, str):
        return _with_hint(number, exercise, result, given)
    if exercise.spoiled is not None and result:
        return _with_nan(exercise, answer, arguments, seed)
    return result


def _unfit(number: str, exercise: Exercise, answer: Any, arguments: tuple[Any, ...]) -> str:
    """Say that a function does not accept the arguments of an exercise, if it does not."""
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):  # a value, or a function that has no signature to show
        return ""
    try:
        signature.bind(*arguments)
    except TypeError:
        names = ", ".join(_names(exercise, arguments))
        return (
            f"Exercise {number} calls your function with {len(arguments)} argument(s), ({names}), and yours is defined "
            f"with {signature}. (Is it the answer to problem {number} of a problem set? Those have no check here.)"
        )
    return ""


def _with_hint(number: str, exercise: Exercise, result: Result, given: Numbers) -> Result:
    """Count a wrong value, a repeated one once, and add the hint from the third on."""
    tried = _tries.setdefault(number, set())
    tried.add(_explain.flat(given).tobytes())
    if len(tried) < PATIENCE or not exercise.hint:
        return result
    return Result(False, f"{result.message} Hint: {exercise.hint}")


def _with_nan(exercise: Exercise, answer: Any, arguments: list[tuple[Any, ...]], seed: int) -> Result:
    """Judge an answer that is right on every legal input by what it makes of a NaN.

    ``nansum`` computes 0·log 0 = NaN and drops it, and any other NaN with it: it does not pass. A mask ``p > 0`` never
    computes one; that it drops a NaN of the input too is worth a remark.
    """
    assert exercise.spoiled is not None
    try:
        with np.errstate(all="ignore"):
            value = _explain.flat([_parts(answer(*exercise.spoiled(np.random.default_rng(seed))))])
    except Exception:  # the answer refuses a NaN: good
        return Result(True, "Correct.")
    if not np.isfinite(value).all():
        return Result(True, "Correct.")
    try:
        with np.errstate(divide="raise", invalid="raise"):
            _run(answer, arguments)
    except FloatingPointError:
        return Result(
            False,
            "Right for every proper input, but 0·log 0 = NaN is computed and then hidden, and a NaN that a bug has left in "
            "the input is hidden with it. Leave the zeros out before the logarithm, or use scipy.special.xlogy.",
        )
    return Result(
        True,
        "Correct. One thing that no right input shows: where the input holds a NaN, your function returns a finite "
        "number, as if nothing were wrong (NaN > 0 is False). A mask with != 0 lets the NaN through.",
    )


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
    """Say whether the reference and all mistakes that have different messages give different answers."""
    every = [("", exercise.reference), *exercise.wrong()]
    numbers = [(message, _numbers(f, arguments)) for message, f in every]
    rows = [(message, _explain.shapes(n), _explain.flat(n)) for message, n in numbers]
    return not any(
        a != b and shape == other and np.allclose(x, y, rtol=exercise.tolerance, atol=exercise.tolerance)
        for (a, shape, x), (b, other, y) in itertools.combinations(rows, 2)
    )


def answers(answer: Any, arguments: list[tuple[Any, ...]]) -> Numbers | str:
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


def _numbers(answer: Any, arguments: list[tuple[Any, ...]]) -> Numbers:
    """Return the arrays that an answer of our own consists of, for each trial; it may be wrong on purpose."""
    with np.errstate(all="ignore"):
        return [_parts(value) for value in _run(answer, arguments)]


def _parts(value: Any) -> list[np.ndarray]:
    """Return an answer as arrays of floats: one if it is one array, else one for each part of a tuple."""
    if isinstance(value, (tuple, list)):
        arrays = [part for v in value for part in _parts(v)]
        one_shape = len({a.shape for a in arrays}) == 1 and len(arrays) == len(value)
        return [np.stack(arrays)] if one_shape else arrays
    return [np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, dtype=float)]


def compare(exercise: Exercise, arguments: list[tuple[Any, ...]], given: Numbers | str) -> Result:
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
    known = [(message, _numbers(wrong, arguments)) for message, wrong in exercise.wrong()]
    if exercise.inputs is None:
        return Result(False, f"Not yet. {_value(exercise, known, wants, given)}".strip())
    for message, wrong in known:
        if _close(wrong, given, exercise.tolerance):
            return Result(False, message)
    return Result(False, _function(exercise, arguments, known, wants, given))


def _close(wants: Numbers, gots: Numbers, tolerance: float) -> bool:
    return all(
        len(want) == len(got)
        and all(
            w.shape == g.shape and np.allclose(w, g, rtol=tolerance, atol=tolerance)
            for w, g in zip(want, got, strict=True)
        )
        for want, got in zip(wants, gots, strict=True)
    )


def _value(exercise: Exercise, known: list[tuple[str, Numbers]], wants: Numbers, gots: Numbers) -> str:
    """Say what is wrong with a value, without the right one."""
    if wrong := _explain.shape(wants, gots):
        return wrong
    want, got = _explain.flat(wants), _explain.flat(gots)
    if not np.isfinite(got).all():
        return "It is not finite."
    for message, number in known:
        rounded = want.size == 1 and _explain.rounds_to(float(_explain.flat(number)[0]), float(got[0]))
        if rounded or _close(number, gots, exercise.tolerance):
            return message
    return _explain.value(float(want[0]), float(got[0]), exercise.unit) if want.size == 1 else ""


def _function(
    exercise: Exercise,
    arguments: list[tuple[Any, ...]],
    known: list[tuple[str, Numbers]],
    wants: Numbers,
    gots: Numbers,
) -> str:
    """Say what is wrong with a function's answers: their shape, a factor, two slips at once, or where they differ."""
    if wrong := _explain.shape(wants, gots):
        return wrong
    inputs = [_explain.described(_names(exercise, a), a) for a in arguments]
    return (
        _explain.not_finite(wants, gots, inputs)
        or _explain.scale(wants, gots)
        or _more_than_one(known, gots)
        or _explain.function_of(_explain.flat(wants), _explain.flat(gots))
        or _explain.difference(wants, gots, inputs, exercise.tolerance)
    )


def _more_than_one(known: list[tuple[str, Numbers]], gots: Numbers) -> str:
    """Say that an answer is a known mistake, and in another unit, of the other sign or off by two as well."""
    found = []
    for message, wrong in known:
        row = _explain.flat(wrong)
        if _explain.shapes(wrong) != _explain.shapes(gots) or np.allclose(row, row[0]):
            continue  # a constant has too many multiples
        off = _explain.factor(row, _explain.flat(gots))
        if off is not None and (slips := _explain.slips(off)):
            found.append((len(slips), f"More than one thing is off. {message} And: {'; '.join(slips)}."))
    return min(found)[1] if found else ""


def _names(exercise: Exercise, arguments: tuple[Any, ...]) -> list[str]:
    """Return what the solution calls its arguments."""
    try:
        names = list(inspect.signature(exercise.reference).parameters)
    except (TypeError, ValueError):
        names = []
    names += [f"argument {i + 1}" for i in range(len(names), len(arguments))]
    return names[: len(arguments)]
