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
    return (*_three(rng), float(rng.uniform(0.1, 1)))


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
        },
    ),
    "10.2": Exercise(
        distance.symmetric,
        _two,
        {
            "That is the cosine; the distance is one minus it.": lambda a, b: 1 - distance.symmetric(a, b),
            "That is the cosine distance of the raw embeddings: take the shares F/(F_a + F_b) first.": distance.cosine,
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
        },
    ),
    "10.4": Exercise(
        _gain,
        _errors,
        {
            "The sign is wrong: a gain is negative, as it is a change of error.": lambda t, s: -_gain(t, s),
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
        },
        tolerance=1e-3,
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
        },
    ),
}
