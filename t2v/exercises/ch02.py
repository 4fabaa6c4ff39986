"""Chapter 2, learning theory: reference solutions, hidden inputs and the usual mistakes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2v.exercises import Exercise

Array = NDArray[np.float64]


def margin(log_size: float, delta: float, m: int) -> float:
    """2.1: the two-sided margin of a finite class."""
    return math.sqrt((log_size + math.log(2 / delta)) / (2 * m))


def bit_budget(m: int = 60_000, epsilon: float = 0.05, delta: float = 0.05) -> int:
    """2.2: the largest number of bits b such that a class of 2^b hypotheses has a two-sided margin of ε."""
    return math.floor((2 * m * epsilon**2 - math.log(2 / delta)) / math.log(2))


def consistent_margin(log_size: float, delta: float, m: int) -> float:
    """2.3: what a hypothesis without a training error may err, |H| exp(−εm) = δ."""
    return (log_size + math.log(1 / delta)) / m


def occam(bits: float, delta: float, m: int) -> float:
    """2.4: the one-sided margin of a hypothesis with a description of so many bits."""
    return math.sqrt((bits * math.log(2) + math.log(1 / delta)) / (2 * m))


def rademacher(predictions: Array, signs: Array) -> float:
    """2.5: how well the class fits random signs, the mean over draws of the best correlation."""
    return float((signs @ predictions.T / predictions.shape[1]).max(1).mean())


def labellings(predictions: Array) -> int:
    """2.6: the number of ways in which the class labels the points, that is of different rows."""
    return len(np.unique(predictions, axis=0))


def _bound_inputs(rng: np.random.Generator) -> tuple[Any, ...]:
    return float(rng.uniform(1, 50)), float(rng.uniform(0.01, 0.2)), int(rng.integers(50, 5000))


def _code_inputs(rng: np.random.Generator) -> tuple[Any, ...]:
    return int(rng.integers(1, 400)), float(rng.uniform(0.01, 0.2)), int(rng.integers(50, 5000))


def _sign_inputs(rng: np.random.Generator) -> tuple[Any, ...]:
    return rng.choice([-1.0, 1.0], (7, 12)), rng.choice([-1.0, 1.0], (20, 12))


def _interval_inputs(rng: np.random.Generator) -> tuple[Any, ...]:
    x = np.sort(rng.uniform(size=int(rng.integers(3, 7))))
    ends = rng.uniform(-0.1, 1.1, (400, 2))
    return (((ends.min(1)[:, None] <= x) & (x <= ends.max(1)[:, None])).astype(float),)


EXERCISES = {
    "2.1": Exercise(
        margin,
        _bound_inputs,
        {
            "That is the one-sided margin; two sides fail twice as often: log(2/δ).": lambda s, d, m: (
                math.sqrt((s + math.log(1 / d)) / (2 * m))
            ),
            "The logarithm of 2/δ must be natural, as log_size is.": lambda s, d, m: math.sqrt(
                (s + math.log2(2 / d)) / (2 * m)
            ),
            "The denominator is 2m: Hoeffding's exponent is −2mε².": lambda s, d, m: math.sqrt(
                (s + math.log(2 / d)) / m
            ),
            "That is ε²: take the square root.": lambda s, d, m: (s + math.log(2 / d)) / (2 * m),
        },
    ),
    "2.2": Exercise(
        bit_budget(),
        mistakes={
            "That is a number of nats: divide by log 2.": math.floor(300 - math.log(40)),
            "You left out δ: log(2/δ) comes off the budget.": math.floor(300 / math.log(2)),
            "One bit too many: round down, and use log(2/δ), as both sides are asked for.": bit_budget() + 1,
        },
    ),
    "2.3": Exercise(
        consistent_margin,
        _bound_inputs,
        {
            "No square root here: (1 − ε)^m ≤ exp(−εm) is linear in ε.": lambda s, d, m: math.sqrt(
                (s + math.log(1 / d)) / m
            ),
            "The exponent is −εm, without a 2.": lambda s, d, m: (s + math.log(1 / d)) / (2 * m),
            "One event only, all m samples right: log(1/δ), not log(2/δ).": lambda s, d, m: (
                (s + math.log(2 / d)) / m
            ),
        },
    ),
    "2.4": Exercise(
        occam,
        _code_inputs,
        {
            "Bits and nats are mixed: P(h) = 2^−bits, so log(1/P(h)) is bits·log 2.": lambda b, d, m: (
                math.sqrt((b + math.log(1 / d)) / (2 * m))
            ),
            "That is ε²: take the square root.": lambda b, d, m: (
                (b * math.log(2) + math.log(1 / d)) / (2 * m)
            ),
        },
    ),
    "2.5": Exercise(
        rademacher,
        _sign_inputs,
        {
            "Take the best hypothesis of each draw, then the mean, not the other way.": lambda p, s: float(
                (s @ p.T / p.shape[1]).mean(0).max()
            ),
            "Divide by the number of points, so that a perfect fit gives 1.": lambda p, s: float(
                (s @ p.T).max(1).mean()
            ),
            "No absolute value: the class need not hold the opposite of each hypothesis.": lambda p, s: float(
                np.abs(s @ p.T / p.shape[1]).max(1).mean()
            ),
        },
    ),
    "2.6": Exercise(
        labellings,
        _interval_inputs,
        {
            "That counts different columns (points); the labellings are the rows.": lambda p: len(
                np.unique(p, axis=1)[0]
            ),
            "That is the number of hypotheses; many of them label these points alike.": len,
            "2^n is the most that any class can have; intervals reach fewer.": lambda p: 2 ** p.shape[1],
        },
    ),
}
