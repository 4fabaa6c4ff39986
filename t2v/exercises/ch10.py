"""Self-checking exercises of chapter 10."""

from __future__ import annotations

from typing import Any

import numpy as np

from t2v import distance
from t2v.exercises import Exercise


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
            "Divide by the error from scratch, not by the error after transfer.": lambda t, s: (t - s) / t,
            "That is the absolute change; divide by the error from scratch.": lambda t, s: t - s,
        },
    ),
}
