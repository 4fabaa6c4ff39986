"""What a wrong answer's numbers say about the mistake: units, signs, factors, axes, and the entry that differs.

Nothing here knows an exercise: functions take the right numbers and the given ones, for each hidden input the arrays
that an answer consists of, and return a sentence, or an empty string where they have nothing to say.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Trials = Sequence[Sequence[Array]]

#: Arrays of more entries than this are described by their shape.
SHOWN = 16

_SIGNS = {1.0: "", -1.0: "the sign is wrong"}
_UNITS = {
    1.0: "",
    math.log(2): "it is in nats, and bits are asked for (divide by log 2, or take logarithms to base 2)",
    1 / math.log(2): "it is in bits, and nats are asked for (take natural logarithms)",
    math.log10(2): "its logarithms have base 10, and bits are asked for (take base 2)",
}
_SCALES = {
    1.0: "",
    2.0: "it is twice what it should be (is a factor ½ missing?)",
    0.5: "it is half of what it should be (is a factor 2 missing?)",
}
#: The units that somebody may have used in place of the one that is asked for.
_OTHER = {"": [1.0], "bits": [1.0, math.log(2), math.log10(2)], "nats": [1.0, 1 / math.log(2)]}


def flat(trials: Trials) -> Array:
    """Return all numbers of an answer in one row."""
    return np.concatenate([np.ravel(part) for parts in trials for part in parts])


def shapes(trials: Trials) -> list[list[tuple[int, ...]]]:
    """Return the shapes of an answer's parts, for each input."""
    return [[part.shape for part in parts] for parts in trials]


def sentence(slips: Sequence[str]) -> str:
    """Join what is wrong to a sentence."""
    if len(slips) < 2:
        return "".join(f"{slip[0].upper()}{slip[1:]}." for slip in slips)
    number = {2: "Two", 3: "Three"}[len(slips)]
    return f"{number} things at once: {', '.join(slips[:-1])}, and {slips[-1]}."


def slips(factor: float) -> list[str]:
    """Name the signs, units and factors of two whose product a factor is; nothing if it is none, or 1."""
    for (s, sign), (u, unit), (c, scale) in itertools.product(
        _SIGNS.items(), _UNITS.items(), _SCALES.items()
    ):
        if math.isclose(s * u * c, factor, rel_tol=1e-6):
            return [slip for slip in (sign, unit, scale) if slip]
    return []


def factor(want: Array, got: Array) -> float | None:
    """Return by which constant factor an answer is off; None if by none, or if there is too little to tell."""
    if want.shape != got.shape or not (np.isfinite(want) & np.isfinite(got)).all():
        return None
    use = np.abs(want) > 1e-9
    factors = got[use] / want[use]
    if factors.size < 2 or not np.allclose(got[~use], 0, atol=1e-9) or np.isclose(factors[0], 0):
        return None
    return float(factors[0]) if np.allclose(factors, factors[0], rtol=1e-6, atol=0) else None


def shape(wants: Trials, gots: Trials) -> str:
    """Say what is wrong with the answer's shape."""
    for want, got in zip(wants, gots, strict=True):
        if len(want) != len(got):
            return f"Your answer has {len(got)} part(s), and should have {len(want)}."
        for w, g in zip(want, got, strict=True):
            if w.shape != g.shape:
                hint = " Are the axes swapped?" if w.shape == g.shape[::-1] else ""
                return f"The shape is {g.shape}, and should be {w.shape}.{hint}"
    return ""


def scale(wants: Trials, gots: Trials) -> str:
    """Name the sign, unit or factor of two by which the answers are off, as they stand or transposed."""
    want, got = flat(wants), flat(gots)
    off = factor(want, got)
    if off is not None:
        return sentence(slips(off))
    if all(w.ndim == 2 and w.shape == w.T.shape for parts in wants for w in parts):
        off = factor(flat([[w.T for w in parts] for parts in wants]), got)
        if off is not None and (np.isclose(off, 1) or slips(off)):
            return " ".join(["That is the transpose: the axes are swapped.", sentence(slips(off))]).strip()
    return ""


def function_of(want: Array, got: Array) -> str:
    """Say which function of the right numbers the answer is: a multiple, their inverse, rounded, or shifted."""
    if (off := factor(want, got)) is not None:
        return f"Your answer is {off:.4g} times the right one, every time: a missing factor, or another unit."
    if len(np.unique(_telling(want))) < 2:
        return ""
    for message, value in _functions(want).items():
        if np.allclose(value, got, rtol=1e-7, atol=1e-9):
            return message
    shift = got - want
    if np.allclose(shift, shift[0], rtol=1e-6, atol=1e-9):
        side = "large" if shift[0] > 0 else "small"
        return f"Your answer is too {side} by {abs(shift[0]):.4g}, every time: a constant term is off."
    return ""


def _telling(want: Array) -> Array:
    """Return the numbers without those that have too many simple functions equal to them: 0, 1 and −1."""
    return want[np.isfinite(want) & ~np.isclose(want, 0) & ~np.isclose(np.abs(want), 1)]


def _functions(want: Array) -> dict[str, Array]:
    """Return what to say → that function of the numbers, where it is not the numbers themselves."""
    with np.errstate(all="ignore"):
        known = {
            "The right value can be negative: do not cut it off at 0.": np.maximum(want, 0),
            "The right value can be negative, and you return its absolute value.": np.abs(want),
            "Your answer is one minus the right one.": 1 - want,
            "Your answer is the inverse of the right one: it is upside down.": 1 / want,
            "Your answer is the square of the right one.": want**2,
            "Your answer is the square root of the right one.": np.sqrt(want),
        }
    if len(np.unique(np.round(want))) > 3:  # few small numbers are rounded alike by many a function
        known["Your answer is rounded: the number itself is asked for."] = np.round(want)
        known["Your answer is rounded up: the number itself is asked for."] = np.ceil(want)
        known["Your answer is rounded down: the number itself is asked for."] = np.floor(want)
    return {m: v for m, v in known.items() if not np.allclose(v, want, rtol=1e-7, atol=1e-9)}


def value(want: float, got: float, unit: str) -> str:
    """Say what may be wrong with a number that was worked out by hand; the right number is not in what it says.

    Parameters
    ----------
    want, got : float
        The right number and the given one; the latter may be rounded.
    unit : str
        ``"bits"`` or ``"nats"`` where the number is an information.
    """
    if want == 0:
        return ""
    for (s, sign), u, (c, scaled) in itertools.product(_SIGNS.items(), _OTHER[unit], _SCALES.items()):
        if s * u * c != 1 and rounds_to(s * u * c * want, got):
            return sentence([slip for slip in (sign, _UNITS[u], scaled) if slip])
    known = {"It is upside down: that is the inverse.": 1 / want, "That is its square.": want**2}
    if want > 0:
        known["That is its square root."] = math.sqrt(want)
    if 0 < want < 1:
        known["That is in per cent; write it as a share of one."] = 100 * want
        known["That is one minus what is asked for."] = 1 - want
    return next((message for message, number in known.items() if rounds_to(number, got)), "")


def rounds_to(number: float, got: float) -> bool:
    """Say whether a number, rounded to as many digits as somebody wrote down, is what was written.

    One digit says too little: then only the number itself will do.
    """
    written = f"{got:.12g}"
    mantissa, _, exponent = written.partition("e")
    digits = len(mantissa.strip("-0.").replace(".", ""))
    decimals = len(mantissa.partition(".")[2]) - int(exponent or 0)
    slack = 0.501 * 10.0**-decimals if digits > 1 else 0.0
    return abs(number - got) <= max(slack, 1e-6 * abs(number))


def not_finite(wants: Trials, gots: Trials, inputs: Sequence[str]) -> str:
    """Say that there are numbers that are not finite, and for which input."""
    for want, got, described in zip(wants, gots, inputs, strict=True):
        if not np.isfinite(flat([got])[np.isfinite(flat([want]))]).all():
            return (
                f"Your answer has values that are not finite (0·log 0, or a division by zero?). {described}"
            )
    return ""


def difference(wants: Trials, gots: Trials, inputs: Sequence[str], tolerance: float) -> str:
    """Show the first entry that differs, and the input for which it does."""
    for want, got, described in zip(wants, gots, inputs, strict=True):
        for part, (w, g) in enumerate(zip(want, got, strict=True)):
            off = ~np.isclose(w, g, rtol=tolerance, atol=tolerance)
            if not off.any():
                continue
            at = tuple(int(i) for i in np.argwhere(off)[0])
            where = f" at {list(at)}" if at else ""
            where += f" of part {part + 1}" if len(want) > 1 else ""
            gave, right = told_apart(float(g[at]), float(w[at]))
            count = f" ({off.sum()} of {off.size} entries differ)" if off.size > 1 else ""
            return (
                f"Not yet: for one hidden input you gave {gave}{where}, and {right} is right{count}. "
                f"{described}{_near(flat(wants), flat(gots))}"
            )
    raise AssertionError("difference: nothing differs")


def _near(want: Array, got: Array) -> str:
    """Say what makes small differences, if all are small."""
    small = np.isclose(got, want, rtol=1e-3, atol=1e-3 * float(np.abs(want).max()))
    if not small.all():
        return ""
    return " That is close: a floor in a logarithm, a rounded constant or single precision would do it."


def told_apart(a: float, b: float) -> tuple[str, str]:
    """Print two different numbers with as many digits as it takes to tell them apart, four at the least."""
    for digits in range(4, 17):
        first, second = f"{a:.{digits}g}", f"{b:.{digits}g}"
        if first != second:
            return first, second
    return repr(a), repr(b)


def described(names: Sequence[str], arguments: Sequence[Any]) -> str:
    """Describe an input: numbers and small arrays in a few digits, large arrays by their shape."""
    return f"The input: {', '.join(f'{n} = {_short(a)}' for n, a in zip(names, arguments, strict=True))}."


def _short(argument: Any) -> str:
    if isinstance(argument, np.ndarray):
        if argument.size > SHOWN:
            return f"an array of shape {argument.shape}"
        text = np.array2string(argument, separator=", ", formatter={"float_kind": "{:.4g}".format})
        return " ".join(text.split())
    return f"{argument:.6g}" if isinstance(argument, (float, np.floating)) else repr(argument)
