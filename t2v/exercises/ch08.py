"""Self-checking exercises of chapter 8."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import rankdata

from t2v.exercises import Exercise

Array = NDArray[np.float64]


def _convolution(rng: np.random.Generator) -> tuple[Array]:
    """Return the Fisher values of a convolution's weights: ``(out, in, 3, 3)``."""
    return (rng.gamma(0.5, size=(6, 4, 3, 3)),)


def _logits(rng: np.random.Generator) -> tuple[Array]:
    return (3 * rng.normal(size=(8, 5)),)


def _p_and_signs(rng: np.random.Generator) -> tuple[Array, Array]:
    return rng.dirichlet(np.ones(5)), rng.choice([-1.0, 1.0], 5)


def _three_columns(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return two skewed variables and a third that drives both: given it, as often below zero as above."""
    z = rng.normal(size=30)
    return np.exp(z + rng.normal(size=30)), z + rng.normal(size=30), z**3


def _per_filter(fisher: Array) -> Array:
    return fisher.mean((1, 2, 3))


def _impurity(logits: Array) -> float:
    return float((1 - (softmax(logits, axis=1) ** 2).sum(1)).mean())


def _root(p: Array, signs: Array) -> Array:
    root = np.sqrt(p) * signs
    return root - p * root.sum()


def _partial(x: Array, y: Array, z: Array) -> float:
    xy, xz, yz = np.corrcoef([x, y, z])[[0, 0, 1], [1, 2, 2]]
    return float((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)))


def partial_spearman(x: Array, y: Array, z: Array) -> float:
    """Return the rank correlation of x and y given z."""
    return _partial(rankdata(x), rankdata(y), rankdata(z))


def relative_error(values: Array) -> Array:
    """Return the standard error of each filter's mean over images, as a fraction of the mean."""
    return np.asarray(values.std(0, ddof=1) / np.sqrt(len(values)) / values.mean(0))


def _p_and_pull(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return probabilities, and what one weight does to the logits."""
    return rng.dirichlet(np.ones(5)), rng.normal(size=5) + 1


def draw_noise(p: Array, a: Array) -> Array:
    """Return the relative variances of the square of one score: sampled label, Rademacher root."""
    return _noise(p, a - p @ a)


def _noise(p: Array, centred: Array) -> Array:
    second = p @ centred**2
    return np.array([p @ centred**4 / second**2 - 1, 2 - 2 * (p**2 @ centred**4) / second**2])


def _contributions(rng: np.random.Generator) -> tuple[Array]:
    """Return what single images contribute: ``(images, filters)``."""
    return (rng.gamma(0.5, size=(int(rng.integers(8, 14)), 5)),)


def _entropy(logits: Array) -> float:
    p = softmax(logits, axis=1)
    return float(-(p * np.log(p)).sum(1).mean())


EXERCISES: dict[str, Exercise] = {
    "8.1": Exercise(
        _per_filter,
        _convolution,
        {
            "That is the mean over the output channels: a filter is one *output* channel, the first axis.": lambda f: (
                f.mean((0, 2, 3))
            ),
            "That is the sum; the embedding takes the mean over a filter's weights.": lambda f: f.sum(
                (1, 2, 3)
            ),
            "That is one number for each kernel; average over the input channels too.": lambda f: f.mean(
                (2, 3)
            ),
            "That is the mean over all weights; keep one value for each filter.": lambda f: f.mean(),
            "That is the greatest of a filter's weights; the embedding takes their mean.": lambda f: f.max(
                (1, 2, 3)
            ),
            "F is a mean of squares already: take no root, and no square.": [
                lambda f: np.sqrt(f).mean((1, 2, 3)),
                lambda f: np.sqrt(f.mean((1, 2, 3))),
                lambda f: (f**2).mean((1, 2, 3)),
            ],
        },
    ),
    "8.2": Exercise(
        _impurity,
        _logits,
        {
            "That is the entropy in nats: the impurity is one minus the sum of the squared probabilities.": _entropy,
            "That is the mean sum of squares; the impurity is one minus it.": lambda z: 1 - _impurity(z),
            "The softmax runs over the classes, the second axis.": [
                lambda z: _impurity(z.T),
                lambda z: float((1 - (softmax(z, axis=0) ** 2).sum(1)).mean()),
                lambda z: float((1 - (softmax(z) ** 2).sum(1)).mean()),
            ],
            "That is one minus the greatest probability: all of the squares count.": lambda z: float(
                (1 - softmax(z, axis=1).max(1)).mean()
            ),
            "That is the sum over the rows; take the mean.": lambda z: float(
                (1 - (softmax(z, axis=1) ** 2).sum(1)).sum()
            ),
            "That is the impurity of the mean probabilities: take the impurity of each row, then the mean.": lambda z: (
                float(1 - (softmax(z, axis=1).mean(0) ** 2).sum())
            ),
            "That is the entropy in bits: the impurity is one minus the sum of the squared probabilities.": lambda z: (
                _entropy(z) / float(np.log(2))
            ),
        },
    ),
    "8.3": Exercise(
        1 / np.sqrt(2),
        mistakes={
            "That is $p(1-p)$ at the crossing; solve it for $p$.": (np.sqrt(2) - 1) / 2,
            "That is the smaller of the two probabilities.": 1 - 1 / np.sqrt(2),
            "There both draws have a variance, but not the same.": [0.5, 1.0],
        },
        tolerance=1e-3,
        hint="1/q − 4 = 4q is a quadratic equation for q = p(1 − p). Take its positive root, then solve p(1 − p) = q.",
    ),
    "8.4": Exercise(
        _root,
        _p_and_signs,
        {
            "The mean direction must be taken out: $v = u - p\\,(\\mathbf{1}^\\top u)$ with $u = \\sqrt{p} \\odot r$.": (
                lambda p, r: np.sqrt(p) * r
            ),
            "Subtract $p$ times the *sum* of $\\sqrt{p} \\odot r$, not times its mean.": lambda p, r: (
                np.sqrt(p) * r - p * (np.sqrt(p) * r).mean()
            ),
            "The root of $p$ is missing: $u = \\sqrt{p} \\odot r$.": lambda p, r: p * r - p * (p * r).sum(),
            "Subtract $p$ times the sum, not the root of $p$ times the sum, and not the sum itself.": [
                lambda p, r: np.sqrt(p) * r - np.sqrt(p) * (np.sqrt(p) * r).sum(),
                lambda p, r: np.sqrt(p) * r - (np.sqrt(p) * r).sum(),
                lambda p, r: np.sqrt(p) * r - (np.sqrt(p) * r).mean(),
            ],
            "The sign is wrong: $p$ times the sum is subtracted.": lambda p, r: (
                np.sqrt(p) * r + p * (np.sqrt(p) * r).sum()
            ),
            "The signs are missing.": lambda p, r: np.sqrt(p) - p * np.sqrt(p).sum(),
        },
    ),
    "8.5": Exercise(
        partial_spearman,
        _three_columns,
        {
            "That is the partial correlation of the values: replace each variable by its ranks first.": _partial,
            "That is the plain rank correlation: z was not held fixed.": lambda x, y, z: float(
                np.corrcoef(rankdata(x), rankdata(y))[0, 1]
            ),
            "The denominator is missing: divide by the root of $(1-r_{xz}^2)(1-r_{yz}^2)$.": lambda x, y, z: (
                _numerator(rankdata(x), rankdata(y), rankdata(z))
            ),
            "The root in the denominator is missing.": lambda x, y, z: (
                partial_spearman(x, y, z) ** 2 / _numerator(rankdata(x), rankdata(y), rankdata(z))
            ),
            "The sign is wrong: the product of the other two correlations is subtracted from r_xy.": (
                lambda x, y, z: -partial_spearman(x, y, z)
            ),
            "A partial correlation can be negative: do not take its absolute value.": lambda x, y, z: abs(
                partial_spearman(x, y, z)
            ),
            "A partial correlation can be negative: do not cut it off at 0.": lambda x, y, z: max(
                0.0, partial_spearman(x, y, z)
            ),
            "The variables are in another order: z, the last, is held fixed.": [
                lambda x, y, z: partial_spearman(x, z, y),
                lambda x, y, z: partial_spearman(z, y, x),
            ],
        },
    ),
    "8.6": Exercise(
        relative_error,
        _contributions,
        {
            "That is the spread of single images; the mean of n is surer by √n.": lambda v: (
                v.std(0, ddof=1) / v.mean(0)
            ),
            "A variance falls with n, a standard error with √n.": lambda v: (
                v.std(0, ddof=1) / len(v) / v.mean(0)
            ),
            "That is the variance of the mean: the standard error is its root.": [
                lambda v: v.var(0, ddof=1) / len(v) / v.mean(0),
                lambda v: v.var(0, ddof=1) / len(v) / v.mean(0) ** 2,
                lambda v: v.var(0) / len(v) / v.mean(0),
                lambda v: v.var(0, ddof=1) / np.sqrt(len(v)) / v.mean(0),
            ],
            "That is the error of the mean of all filters together: each has its own.": lambda v: (
                v.std(ddof=1) / np.sqrt(len(v)) / v.mean()
            ),
            "Estimate the variance with n − 1: the mean comes from the same images (ddof=1).": lambda v: (
                v.std(0) / np.sqrt(len(v)) / v.mean(0)
            ),
            "That is the standard error itself: divide by the mean.": lambda v: (
                v.std(0, ddof=1) / np.sqrt(len(v))
            ),
            "One value for each filter: images are the first axis.": lambda v: relative_error(v.T),
        },
    ),
    "8.7": Exercise(
        draw_noise,
        _p_and_pull,
        {
            "Take out the mean of a under p first: a constant that is added to all logits changes no prediction.": (
                lambda p, a: _noise(p, a)
            ),
            "The mean that is taken out is the one under p, not the plain one.": lambda p, a: _noise(
                p, a - a.mean()
            ),
            "The variance is the second moment of the square less the square of its mean: a 1 is missing in the first.": (
                lambda p, a: draw_noise(p, a) + np.array([1.0, 0.0])
            ),
            "Those are variances; divide them by the squared mean of the square, s⁴.": lambda p, a: (
                draw_noise(p, a) * (p @ (a - p @ a) ** 2) ** 2
            ),
            "Those are divided by s², the mean; the squared mean is s⁴.": lambda p, a: (
                draw_noise(p, a) * (p @ (a - p @ a) ** 2)
            ),
            "In the root's variance the fourth powers are of √p ã, so that p is squared.": lambda p, a: (
                np.array([draw_noise(p, a)[0], 2 - 2 * (draw_noise(p, a)[0] + 1)])
            ),
            "The other way round: first the sampled label, then the Rademacher root.": lambda p, a: (
                draw_noise(p, a)[::-1]
            ),
            "Those are standard deviations; the variances are asked for.": lambda p, a: np.sqrt(
                draw_noise(p, a)
            ),
        },
    ),
}


def _numerator(x: Any, y: Any, z: Any) -> float:
    xy, xz, yz = np.corrcoef([x, y, z])[[0, 0, 1], [1, 2, 2]]
    return float(xy - xz * yz)
