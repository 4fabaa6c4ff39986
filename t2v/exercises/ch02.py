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
            "The 2 belongs inside the logarithm: log(2/δ), as there are two events to each hypothesis.": lambda s, d, m: (
                math.sqrt((s + 2 * math.log(1 / d)) / (2 * m))
            ),
            "log_size is the logarithm of the class's size already.": lambda s, d, m: math.sqrt(
                (math.log(s) + math.log(2 / d)) / (2 * m)
            ),
        },
    ),
    "2.2": Exercise(
        bit_budget(),
        mistakes={
            "That is a number of nats: divide by log 2.": [
                300 - math.log(40),
                math.floor(300 - math.log(40)),
            ],
            "You left out δ: log(2/δ) comes off the budget.": [
                300 / math.log(2),
                math.floor(300 / math.log(2)),
            ],
            "Round down, and use log(2/δ), as both sides are asked for.": bit_budget() + 1,
            "Whole bits are asked for: round down.": (300 - math.log(40)) / math.log(2),
            "Hoeffding's exponent is −2mε²: the 2 is missing.": [
                math.floor((150 - math.log(40)) / math.log(2)),
                (150 - math.log(40)) / math.log(2),
            ],
            "ε enters as its square.": math.floor((6000 - math.log(40)) / math.log(2)),
        },
        hint="Set 2·2^b·exp(−2mε²) = δ, take logarithms and solve for b: 2mε² is 300. At the end round down.",
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
            "That is Hoeffding's margin, which does not use that the training error is 0.": [
                lambda s, d, m: math.sqrt((s + math.log(1 / d)) / (2 * m)),
                margin,
            ],
            "δ is missing: |H| exp(−εm) = δ.": lambda s, d, m: s / m,
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
            "That is the two-sided margin: one side fails with log(1/δ), not log(2/δ).": lambda b, d, m: (
                math.sqrt((b * math.log(2) + math.log(2 / d)) / (2 * m))
            ),
            "The logarithm of 1/δ must be natural, as that of 1/P(h) is.": [
                lambda b, d, m: math.sqrt((b * math.log(2) + math.log2(1 / d)) / (2 * m)),
                lambda b, d, m: math.sqrt((b + math.log2(1 / d)) / (2 * m)),
            ],
            "log(1/P(h)) is added, not taken off: a longer description has the larger margin.": lambda b, d, m: (
                math.sqrt(abs(math.log(1 / d) - b * math.log(2)) / (2 * m))
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
            "Divide by the number of points, so that a perfect fit gives 1.": [
                lambda p, s: float((s @ p.T).max(1).mean()),
                lambda p, s: float((s @ p.T / len(p)).max(1).mean()),
                lambda p, s: float((s @ p.T / len(s)).max(1).mean()),
            ],
            "The axes are swapped: that is the best draw for each hypothesis, and asked is the best hypothesis for "
            "each draw.": lambda p, s: float((s @ p.T / p.shape[1]).max(0).mean()),
            "That is the best of all draws; take the mean over the draws.": lambda p, s: float(
                (s @ p.T / p.shape[1]).max()
            ),
            "That is the share of labels that the best hypothesis gets right; asked is the mean of prediction times "
            "label.": lambda p, s: (1 + rademacher(p, s)) / 2,
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
            "That leaves out the labelling in which no point is inside.": lambda p: (
                labellings(p) - bool((p == 0).all(1).any())
            ),
        },
    ),
}
