"""Chapter 1, information: reference solutions, hidden inputs and the usual mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2v.exercises import Exercise

Array = NDArray[np.float64]


def entropy_bits(p: Array) -> float:
    """1.1: the entropy of a distribution in bits; outcomes of probability 0 are silent, and a NaN is not."""
    p = p[p != 0]
    return float(-(p * np.log2(p)).sum())


def kl_bits(p: Array, q: Array) -> float:
    """1.2: KL(p‖q) in bits, for q > 0 wherever p > 0."""
    use = p != 0
    return float((p[use] * np.log2(p[use] / q[use])).sum())


def conditional_entropy_bits(joint: Array) -> float:
    """1.3: H(X|Y) in bits, axis 0 is X and axis 1 is Y."""
    return entropy_bits(joint.ravel()) - entropy_bits(joint.sum(axis=0))


def noisy_copy(flip: float = 0.2) -> float:
    """1.4: what the copy of a fair bit, flipped with this probability, tells of the bit."""
    return 1 - entropy_bits(np.array([flip, 1 - flip]))


def relevant_bits(joint: Array, channel: Array) -> float:
    """1.5: I(Y;T) in bits for p(x, y), axis 0 is X, and the channel p(t|x), a row for each x."""
    y_and_t = joint.T @ channel
    margins = entropy_bits(y_and_t.sum(axis=0)) + entropy_bits(y_and_t.sum(axis=1))
    return margins - entropy_bits(y_and_t.ravel())


def miller_madow_bits(table: Array) -> float:
    """1.6: the plug-in information of a table of counts in bits, corrected after Miller and Madow."""
    n = table.sum()
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    plain = entropy_bits(rows / n) + entropy_bits(columns / n) - entropy_bits(table.ravel() / n)
    surplus = np.count_nonzero(rows) + np.count_nonzero(columns) - np.count_nonzero(table) - 1
    return float(plain + surplus / (2 * n) / math.log(2))


def batch_for(bits: int = 12) -> int:
    """1.7: the smallest batch with which InfoNCE can report so many bits."""
    return int(2**bits)


def _distribution(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return a random distribution; about a quarter of its entries are 0, and one at the least."""
    masses = rng.exponential(size=shape) * (rng.random(shape) < 0.75)
    some, other = rng.choice(masses.size, 2, replace=False)
    masses.flat[some], masses.flat[other] = masses.flat[some] + 1.0, 0.0
    return masses / masses.sum()


def _one(rng: np.random.Generator) -> tuple[Any, ...]:
    return (_distribution(rng, (int(rng.integers(3, 9)),)),)


def _two(rng: np.random.Generator) -> tuple[Any, ...]:
    size = int(rng.integers(3, 9))
    return _distribution(rng, (size,)), rng.dirichlet(np.ones(size))


def _nan_in_p(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return a distribution with a zero that a bug has spoiled: one entry is NaN."""
    (p,) = _one(rng)
    p[p.argmax()] = np.nan
    return (p,)


def _nan_in_q(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return two distributions of which the second is NaN at an outcome that happens."""
    p, q = _two(rng)
    q[p.argmax()] = np.nan
    return p, q


def _joint(rng: np.random.Generator) -> tuple[Any, ...]:
    return (_distribution(rng, (4, 4)),)


def _joint_and_channel(rng: np.random.Generator) -> tuple[Any, ...]:
    return _distribution(rng, (4, 4)), rng.dirichlet(np.ones(3), size=4)


def _table(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return a table of 60 counts, every other one of independent variables: their correction is often too large."""
    p = _distribution(rng, (4, 5))
    if rng.random() < 0.5:
        p = np.outer(p.sum(axis=1), p.sum(axis=0))
    return (rng.multinomial(60, p.ravel()).reshape(4, 5),)


def _plain(table: Array) -> float:
    p = table / table.sum()
    return entropy_bits(p.sum(axis=1)) + entropy_bits(p.sum(axis=0)) - entropy_bits(p.ravel())


def _correction(table: Array) -> float:
    """Return the correction in nats."""
    return (miller_madow_bits(table) - _plain(table)) * math.log(2)


#: What people add to a probability so that its logarithm is finite.
_FLOORS = [10.0**-k for k in range(2, 9)]


def _floored(eps: float) -> list[Callable[..., float]]:
    """Return the ways in which a floor gets into an entropy."""
    return [
        lambda p: float(-(p * np.log2(p + eps)).sum()),
        lambda p: float(-((p + eps) * np.log2(p + eps)).sum()),
        lambda p: float(-(np.maximum(p, eps) * np.log2(np.maximum(p, eps))).sum()),
        lambda p: entropy_bits((p + eps) / (p + eps).sum()),
    ]


def _floored_kl(eps: float) -> list[Callable[..., float]]:
    """Return the ways in which a floor gets into a divergence."""
    return [
        lambda p, q: float((p * np.log2((p + eps) / (q + eps))).sum()),
        lambda p, q: float((p * np.log2((p + eps) / q)).sum()),
        lambda p, q: float(((p + eps) * np.log2((p + eps) / (q + eps))).sum()),
        lambda p, q: float((np.maximum(p, eps) * np.log2(np.maximum(p, eps) / np.maximum(q, eps))).sum()),
        lambda p, q: float((p[p > 0] * np.log2(p[p > 0] / (q[p > 0] + eps))).sum()),
    ]


def _backwards(p: Array, q: Array) -> float:
    """Return KL(q‖p), infinite where p = 0 < q."""
    return float((q * np.log2(q / p)).sum())


def _backwards_where_p(p: Array, q: Array) -> float:
    """Return KL(q‖p) without the outcomes that make it infinite."""
    return _backwards(p[p > 0], q[p > 0])


EXERCISES = {
    "1.1": Exercise(
        entropy_bits,
        _one,
        {
            "That is the entropy in nats: take the logarithm to base 2.": lambda p: (
                entropy_bits(p) * math.log(2)
            ),
            "The sign is wrong: log p is negative, surprise is −log p.": lambda p: -entropy_bits(p),
            "That is the sum of the surprises: weigh each by its probability.": lambda p: float(
                -np.log2(p[p > 0]).sum()
            ),
            "That is the mean surprise over the outcomes, each counted once: weigh by p instead.": lambda p: (
                float(-np.log2(p[p > 0]).mean())
            ),
            "A floor was added to p, and it shows in the result: leave the zeros out instead.": [
                f for eps in _FLOORS for f in _floored(eps)
            ],
        },
        tolerance=1e-9,
        spoiled=_nan_in_p,
    ),
    "1.2": Exercise(
        kl_bits,
        _two,
        {
            "That is KL in nats: take the logarithm to base 2.": lambda p, q: kl_bits(p, q) * math.log(2),
            "That is the other way round, KL(q‖p), which is infinite where p = 0 < q: asked is KL(p‖q).": [
                _backwards,
                _backwards_where_p,
            ],
            "That is the cross-entropy: subtract the entropy of p.": lambda p, q: (
                kl_bits(p, q) + entropy_bits(p)
            ),
            "The sign is wrong: the ratio is p/q.": lambda p, q: -kl_bits(p, q),
            "That is H(q) − H(p): the expectation is under p in both terms.": lambda p, q: (
                entropy_bits(q) - entropy_bits(p)
            ),
            "The expectation is under q; KL(p‖q) weighs by p.": lambda p, q: -_backwards_where_p(p, q),
            "A floor was added to p or q, and it shows in the result: leave the zeros of p out instead.": [
                f for eps in _FLOORS for f in _floored_kl(eps)
            ],
        },
        tolerance=1e-9,
        spoiled=_nan_in_q,
    ),
    "1.3": Exercise(
        conditional_entropy_bits,
        _joint,
        {
            "That is H(Y|X): axis 1 is Y, so H(Y) needs the sum over axis 0.": lambda j: (
                conditional_entropy_bits(j.T)
            ),
            "That is H(X, Y): subtract H(Y).": lambda j: entropy_bits(j.ravel()),
            "That is H(X): nothing is known of Y yet.": lambda j: entropy_bits(j.sum(axis=1)),
            "That is H(Y): subtract it from H(X, Y).": lambda j: entropy_bits(j.sum(axis=0)),
            "That is I(X;Y), what Y tells; asked is what is left, H(X) − I(X;Y).": lambda j: (
                entropy_bits(j.sum(axis=1)) - conditional_entropy_bits(j)
            ),
        },
        tolerance=1e-9,
    ),
    "1.4": Exercise(
        noisy_copy(),
        mistakes={
            "That is what stays unknown, H(X|Y): the information is the rest of the bit.": 1 - noisy_copy(),
            "That is right in nats: divide by log 2.": noisy_copy() * math.log(2),
            "That is the probability of a faithful copy, not the information.": 0.8,
            "That is the probability of an error, not the information.": 0.2,
            "A copy flipped half of the time would then keep half a bit; it keeps nothing.": 0.6,
            "That is one of the two terms of H(Y|X): a right copy has a surprise too.": [
                -0.2 * math.log2(0.2),
                -0.8 * math.log2(0.8),
            ],
        },
        tolerance=5e-3,
        hint="I(X;Y) = H(Y) − H(Y|X). Y is a fair coin again, and H(Y|X) is the entropy of a coin with 0.2 and 0.8.",
        unit="bits",
    ),
    "1.5": Exercise(
        relevant_bits,
        _joint_and_channel,
        {
            "That is I(X;T): send the joint through the channel, not the margin.": lambda j, c: relevant_bits(
                np.diag(j.sum(axis=1)), c
            ),
            "The axes of joint are swapped: the channel's rows belong to axis 0.": lambda j, c: relevant_bits(
                j.T, c
            ),
            "That is I(X;Y): where did the channel go?": lambda j, c: relevant_bits(j, np.eye(4)),
            "That is I(Y;T) in nats: take the logarithm to base 2.": lambda j, c: (
                relevant_bits(j, c) * math.log(2)
            ),
            "That is the joint entropy H(Y,T): it comes off those of the two margins.": lambda j, c: (
                entropy_bits((j.T @ c).ravel())
            ),
        },
    ),
    "1.6": Exercise(
        miller_madow_bits,
        _table,
        {
            "That is the plug-in without its correction.": _plain,
            "The correction is in nats: divide it by log 2.": lambda t: _plain(t) + _correction(t),
            "All is in nats: divide it by log 2.": lambda t: miller_madow_bits(t) * math.log(2),
            "The signs are turned: the two margins' corrections are added, the joint's is taken off.": lambda t: (
                _plain(t) - _correction(t) / math.log(2)
            ),
            "The correction is (m − 1)/2n: the 2 is missing.": lambda t: (
                _plain(t) + 2 * _correction(t) / math.log(2)
            ),
            "The −1 of each correction is missing: two are added and one is taken off, so one remains.": lambda t: (
                miller_madow_bits(t) + 1 / (2 * t.sum()) / math.log(2)
            ),
            "Count the cells that occur, not all the cells of the table.": lambda t: (
                _plain(t) - (t.shape[0] - 1) * (t.shape[1] - 1) / (2 * t.sum()) / math.log(2)
            ),
            "The corrected value can be negative: cut off at 0, it is biased again.": lambda t: max(
                0.0, miller_madow_bits(t)
            ),
        },
    ),
    "1.7": Exercise(
        batch_for(),
        mistakes={
            "That is the number for 12 nats: the cap log K is in bits where the logarithm is to base 2.": [
                math.exp(12),
                math.floor(math.exp(12)),
                math.ceil(math.exp(12)),
            ],
            "The cap is log₂ K, not K.": 12,
            "The ceiling of that batch is 11 bits.": 2048,
            "That excludes 12 bits by a hair: where log₂ K is 12, they are reached.": batch_for() - 1,
            "A smaller batch will do: where log₂ K is 12, 12 bits are not excluded.": [
                batch_for() + 1,
                2 * batch_for(),
            ],
        },
        hint="InfoNCE never exceeds log K. In bits that is log₂ K: which K has 12?",
    ),
}
