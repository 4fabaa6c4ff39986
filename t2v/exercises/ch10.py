"""Self-checking exercises of chapter 10."""

from __future__ import annotations

from typing import Any

import numpy as np

from t2v import distance
from t2v.exercises import Exercise

Array = np.ndarray[Any, Any]


def _three(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return three embeddings of 12 filters; two filters are silent in all."""
    values = rng.gamma(0.5, size=(3, 12))
    values[:, rng.choice(12, 2, replace=False)] = 0
    return tuple(values)


def _two(rng: np.random.Generator) -> tuple[Any, ...]:
    return _three(rng)[:2]


def _with_alpha(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return source, target, reference and α; every other source is so near the target that d_asym is negative."""
    source, target, reference = _three(rng)
    if rng.random() < 0.5:
        source = target * np.exp(0.1 * rng.normal(size=12))
    return source, target, reference, float(rng.uniform(0.1, 1))


def _inner(a: Array, b: Array) -> float:
    """Return the inner product of the shares."""
    seen = a + b > 0
    return float((a * b)[seen] @ (1 / (a + b)[seen] ** 2))


def _errors(rng: np.random.Generator) -> tuple[float, float]:
    a, b = rng.uniform(0.1, 0.9, 2)
    return float(a), float(b)


def relative_regret(distances: Array, errors: Array) -> float:
    """Return how much larger the error of the nearest source is than the best source's, as a share of the latter."""
    return float(errors[distances.argmin()] / errors.min() - 1)


def _choices(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return six sources' distances and errors; the nearest is never the best, the most distant neither."""
    distances, errors = rng.permutation(6) + rng.uniform(size=6), rng.uniform(0.1, 0.9, 6)
    errors[[distances.argmin(), distances.argmax()]] = rng.uniform(0.9, 1, 2)
    return distances, errors


def _gain(transfer: float, scratch: float) -> float:
    return (transfer - scratch) / scratch


EXERCISES = {
    "10.1": Exercise(
        0.4,
        mistakes={
            "That is the cosine; the distance is one minus it.": 0.6,
            "Divide by the norms of the shares: they are not unit vectors.": 1 - 6 / 16,
            "Divide by the norms of the shares; that is their inner product.": 6 / 16,
            "That is the angle; the distance is one minus its cosine.": float(np.arccos(0.6)),
            "That is the sine of the angle; the distance is one minus its cosine.": 0.8,
        },
        hint="The shares are (1/4, 3/4) and (3/4, 1/4). Their cosine is the inner product over the product of the "
        "norms; the distance is one minus it.",
    ),
    "10.2": Exercise(
        distance.symmetric,
        _two,
        {
            "That is the cosine; the distance is one minus it.": lambda a, b: 1 - distance.symmetric(a, b),
            "That is the cosine distance of the raw embeddings: take the shares F/(F_a + F_b) first.": distance.cosine,
            "Divide by the norms of the shares: they are not unit vectors.": lambda a, b: 1 - _inner(a, b),
            "That is the inner product of the shares: divide by their norms, and take the distance.": lambda a, b: (
                _inner(a, b)
            ),
            "That is the angle; the distance is one minus its cosine.": lambda a, b: float(
                np.arccos(1 - distance.symmetric(a, b))
            ),
        },
    ),
    "10.3": Exercise(
        distance.asymmetric,
        _with_alpha,
        {
            "Hold the source against the reference, not the target.": lambda s, t, r, a: (
                distance.symmetric(s, t) - a * distance.symmetric(t, r)
            ),
            "The distance to the reference is subtracted: far from it is better.": lambda s, t, r, a: (
                distance.symmetric(s, t) + a * distance.symmetric(s, r)
            ),
            "α is missing.": lambda s, t, r, a: distance.symmetric(s, t) - distance.symmetric(s, r),
            "The asymmetric distance can be negative, for a source far from the reference: do not cut it off at 0.": (
                lambda s, t, r, a: max(0.0, distance.asymmetric(s, t, r, a))
            ),
            "The asymmetric distance can be negative: take no absolute value.": lambda s, t, r, a: abs(
                distance.asymmetric(s, t, r, a)
            ),
            "The sign is wrong: a small distance belongs to a good source.": lambda s, t, r, a: (
                -distance.asymmetric(s, t, r, a)
            ),
            "That is d_sym: the second term is missing.": lambda s, t, r, a: distance.symmetric(s, t),
            "α multiplies the distance to the reference, not the one to the target.": [
                lambda s, t, r, a: a * distance.symmetric(s, t) - distance.symmetric(s, r),
                lambda s, t, r, a: a * (distance.symmetric(s, t) - distance.symmetric(s, r)),
            ],
            "Both distances are d_sym, not the plain cosine.": [
                lambda s, t, r, a: distance.cosine(s, t) - a * distance.cosine(s, r),
                lambda s, t, r, a: distance.symmetric(s, t) - a * distance.cosine(s, r),
                lambda s, t, r, a: distance.cosine(s, t) - a * distance.symmetric(s, r),
            ],
        },
    ),
    "10.4": Exercise(
        _gain,
        _errors,
        {
            "The sign is wrong: a gain is negative, as it is a change of error.": lambda t, s: -_gain(t, s),
            "The sign says whether transfer helped: take no absolute value.": lambda t, s: abs(_gain(t, s)),
            "Transfer can hurt, and then the gain is positive: do not cut it off at 0.": lambda t, s: min(
                0.0, _gain(t, s)
            ),
            "Transfer can help, and then the gain is negative: do not cut it off at 0.": lambda t, s: max(
                0.0, _gain(t, s)
            ),
            "That is the ratio; the gain is what it exceeds one by.": lambda t, s: t / s,
            "The arguments are exchanged: the error with transfer comes first.": lambda t, s: _gain(s, t),
            "Divide by the error without transfer, not by the error after it.": lambda t, s: (t - s) / t,
            "That is the absolute change; divide by the error without transfer.": lambda t, s: t - s,
        },
    ),
    "10.5": Exercise(
        0.12,
        mistakes={
            "Upside down: α is the difference in d_sym over the difference in distance to the reference.": 0.25
            / 0.03,
            "Divide by the *difference* of the two distances to the reference, not by the larger one.": 0.03
            / 0.55,
            "Each source's distance to the reference is multiplied by α: the difference 0.25 counts, not the sum.": 0.03
            / 0.85,
            "At that α the second source leads already; look for the point where both are equal.": 0.15,
            "That is the difference of the distances to the target; divide by that of the others.": 0.03,
            "Hold each distance to the target against its own to the reference, and both sources against each other.": [
                0.20 / 0.30,
                0.23 / 0.55,
            ],
        },
        tolerance=1e-3,
        hint="d_asym of the two sources are two straight lines in α, 0.20 − 0.30 α and 0.23 − 0.55 α. Where do they "
        "cross?",
    ),
    "10.6": Exercise(
        relative_regret,
        _choices,
        {
            "The nearest source is chosen: argmin of the distances.": lambda d, e: float(
                e[d.argmax()] / e.min() - 1
            ),
            "That is the regret in units of error; divide by the best error.": lambda d, e: float(
                e[d.argmin()] - e.min()
            ),
            "That is the ratio; the relative regret is what it exceeds one by.": lambda d, e: float(
                e[d.argmin()] / e.min()
            ),
            "Compare with the best source, not with the mean over the sources.": lambda d, e: float(
                e[d.argmin()] / e.mean() - 1
            ),
            "Divide by the best error, not by the chosen one.": lambda d, e: float(
                1 - e.min() / e[d.argmin()]
            ),
            "Best is the smallest error, not the largest.": lambda d, e: float(e[d.argmin()] / e.max() - 1),
            "That is the error of the chosen source itself; hold it against the best.": lambda d, e: float(
                e[d.argmin()]
            ),
            "That is in per cent; write it as a share of one.": lambda d, e: 100 * relative_regret(d, e),
        },
    ),
}
