"""Self-checking exercises of chapter 5: the information plane and the information bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from t2v.exercises import Exercise

Floats = NDArray[np.float64]
_LN2 = float(np.log(2))


def layer_bits(cells: ArrayLike) -> float:
    """I(X;T̂) = H(T̂) in bits, from one cell for each of the equally likely inputs."""
    counts = np.unique(cells, return_counts=True)[1]
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum())


def noisy_upper(t: Floats, noise_var: float) -> float:
    """Upper bound of I(X;T + N(0, noise_var·I)) in bits, from pairwise distances."""
    return _by_distance(t, 2 * noise_var)


def _by_distance(t: Floats, scale: float) -> float:
    square = ((t[:, None] - t[None]) ** 2).sum(-1)
    return float(-np.log2(np.exp(-square / scale).mean(1)).mean())


def _without_self(t: Floats, noise_var: float) -> float:
    square = ((t[:, None] - t[None]) ** 2).sum(-1)
    near = np.exp(-square / (2 * noise_var)) * (1 - np.eye(len(t)))
    return float(-np.log2(near.sum(1) / (len(t) - 1)).mean())


def fall(path: ArrayLike) -> float:
    """How far a path of I(X;T) ends below its greatest value."""
    values = np.asarray(path, dtype=float)
    return float(values.max() - values[-1])


def samples_needed(i_bits: float, epsilon: float, delta: float) -> float:
    """Solve for the m at which sqrt((2^I log 2 + log 1/δ)/2m) = ε."""
    return float((2.0**i_bits * _LN2 + np.log(1 / delta)) / (2 * epsilon**2))


def type_bits(counts: ArrayLike) -> float:
    """log₂ of the number of sequences in which symbol a occurs counts[a] times."""
    c = np.asarray(counts, dtype=float)
    return float((gammaln(c.sum() + 1) - gammaln(c + 1).sum()) / _LN2)


def _n_entropy(counts: ArrayLike) -> float:
    c = np.asarray(counts, dtype=float)
    p = c / c.sum()
    return float(-(c * np.log2(p)).sum())


def memoriser_loss(labels: NDArray[np.int64], beta: float) -> float:
    """H(Y|T) + β I(T;X) in bits of the index memoriser on its sample: β H(Y)."""
    return beta * layer_bits(labels)


def _labels(rng: np.random.Generator) -> tuple[Any, ...]:
    return rng.integers(3, size=40), float(rng.uniform(0.1, 0.9))


EXERCISES = {
    "5.1": Exercise(
        layer_bits,
        lambda rng: (rng.integers(12, size=60),),
        {
            "Nats: divide by log 2, or use log2.": lambda c: layer_bits(c) * _LN2,
            "log₂ of the number of cells is H only if the cells are equally likely.": lambda c: float(
                np.log2(len(np.unique(c)))
            ),
            "That is H(X) − H(T̂): what the rounding lost.": lambda c: float(np.log2(len(c)) - layer_bits(c)),
            "That is H(X): inputs that share a cell are not told apart.": lambda c: float(np.log2(len(c))),
            "The cells are labels, not probabilities: count how often each occurs.": lambda c: float(
                -(c[c > 0] / c.sum() * np.log2(c[c > 0] / c.sum())).sum()
            ),
        },
    ),
    "5.2": Exercise(
        noisy_upper,
        lambda rng: (rng.normal(size=(15, 2)), float(rng.uniform(0.1, 1))),
        {
            "That is the lower bound: 2σ² in the exponent, not 8σ².": lambda t, v: _by_distance(t, 8 * v),
            "Nats: use log2.": lambda t, v: noisy_upper(t, v) * _LN2,
            "The mean over j includes j = i.": _without_self,
            "The exponent is −‖tᵢ − tⱼ‖²/2σ²: the 2 is missing.": lambda t, v: _by_distance(t, v),
            "noise_var is σ² already: do not square it.": lambda t, v: _by_distance(t, 2 * v**2),
            "The distance enters as its square.": lambda t, v: float(
                -np.log2(np.exp(-np.linalg.norm(t[:, None] - t[None], axis=-1) / (2 * v)).mean(1)).mean()
            ),
            "The outer mean is over logarithms: take the logarithm for each i, then the mean.": lambda t, v: (
                float(-np.log2(np.exp(-((t[:, None] - t[None]) ** 2).sum(-1) / (2 * v)).mean()))
            ),
        },
    ),
    "5.3": Exercise(
        fall,
        lambda rng: (np.concatenate([rng.uniform(0, 5, 6), [rng.uniform(0, 1)]]),),
        {
            "First minus last: the peak may come later than the start.": lambda p: float(p[0] - p[-1]),
            "The sign: a fall counts as positive.": lambda p: -fall(p),
            "That is how far the start lies above the lowest value.": lambda p: float(p[0] - p.min()),
            "That is the greatest value itself: take off the last one.": lambda p: float(p.max()),
            "A fall in bits is asked for, not in shares of the greatest value.": lambda p: float(
                1 - p[-1] / p.max()
            ),
            "That is the whole range: the lowest value may come before the end.": lambda p: float(np.ptp(p)),
        },
    ),
    "5.4": Exercise(
        samples_needed,
        lambda rng: (float(rng.uniform(1, 10)), float(rng.uniform(0.02, 0.3)), float(rng.uniform(0.01, 0.2))),
        {
            "The factor log 2 is missing: log|H| = 2^I log 2.": lambda i, e, d: float(
                (2.0**i + np.log(1 / d)) / (2 * e**2)
            ),
            "ε must be squared.": lambda i, e, d: samples_needed(i, e, d) * e,
            "The 2 of 2m is missing.": lambda i, e, d: 2 * samples_needed(i, e, d),
            "A real m is asked for: do not round.": [
                lambda i, e, d: float(np.ceil(samples_needed(i, e, d))),
                lambda i, e, d: float(np.floor(samples_needed(i, e, d))),
                lambda i, e, d: float(np.round(samples_needed(i, e, d))),
            ],
            "One side only: log(1/δ), not log(2/δ).": lambda i, e, d: float(
                (2.0**i * _LN2 + np.log(2 / d)) / (2 * e**2)
            ),
            "I is in bits, so that there are 2^I cells: not exp(I).": lambda i, e, d: float(
                (np.exp(i) * _LN2 + np.log(1 / d)) / (2 * e**2)
            ),
            "log|H| is 2^I log 2, as there are 2^(2^I) labellings of 2^I cells: you have I log 2.": lambda i, e, d: (
                float((i * _LN2 + np.log(1 / d)) / (2 * e**2))
            ),
        },
    ),
    "5.5": Exercise(
        type_bits,
        lambda rng: (rng.integers(1, 9, size=3),),
        {
            "That is nH of the frequencies: the exponent, not the exact count.": _n_entropy,
            "Nats: divide by log 2.": lambda c: type_bits(c) * _LN2,
            "That is the number itself: its logarithm to base 2 is asked for.": lambda c: float(
                2 ** type_bits(c)
            ),
            "gammaln(n) is log (n − 1)!: add one.": lambda c: float(
                (gammaln(c.sum()) - gammaln(c).sum()) / _LN2
            ),
            "That counts all orders, as if equal symbols could be told apart: take off log(counts!).": lambda c: (
                float(gammaln(c.sum() + 1) / _LN2)
            ),
        },
    ),
    "5.6": Exercise(
        memoriser_loss,
        _labels,
        {
            "That is the loss of forgetting everything.": lambda y, b: layer_bits(y),
            "The memoriser knows Y: H(Y|T) = 0.": lambda y, b: (1 + b) * layer_bits(y),
            "I(T;X) is H(Y), not the log of the sample's size.": lambda y, b: b * float(np.log2(len(y))),
            "H(Y) is that of the label frequencies, not the logarithm of the number of classes.": lambda y, b: (
                b * float(np.log2(len(np.unique(y))))
            ),
            "Nats: divide by log 2.": lambda y, b: memoriser_loss(y, b) * _LN2,
        },
    ),
}
