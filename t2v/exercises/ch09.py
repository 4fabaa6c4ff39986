"""Self-checking exercises of chapter 9."""

from __future__ import annotations

from typing import Any

import numpy as np

from t2v import distance
from t2v.exercises import Exercise

Array = np.ndarray[Any, Any]


def _two(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return two embeddings of 12 filters; two filters are silent in both."""
    values = rng.gamma(0.5, size=(2, 12))
    values[:, rng.choice(12, 2, replace=False)] = 0
    return values[0], values[1]


def _points(rng: np.random.Generator, n: int = 9) -> Array:
    """Return the distances of n random points."""
    x = rng.normal(size=(n, 3))
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))


def _matrix_and_labels(rng: np.random.Generator) -> tuple[Array, Array]:
    return _points(rng), rng.integers(0, 3, 9)


def _matrix_and_tree(rng: np.random.Generator) -> tuple[Array, Array, int]:
    return _points(rng), np.round(2 * _points(rng)), int(rng.integers(2, 5))


def _one_matrix(rng: np.random.Generator) -> tuple[Array]:
    return (_points(rng),)


def jensen_shannon(f_a: Array, f_b: Array) -> float:
    """Solution of exercise 9.2: the Jensen–Shannon divergence, in nats."""
    p, q = f_a / f_a.sum(), f_b / f_b.sum()
    middle = (p + q) / 2

    def kl(u: Array) -> float:
        seen = u > 0
        return float((u[seen] * np.log(u[seen] / middle[seen])).sum())

    return (kl(p) + kl(q)) / 2


def nearest_share(d: Array, labels: Array) -> float:
    """Solution of exercise 9.3: the share of tasks whose nearest other task has their label."""
    d = d + np.diag(np.full(len(d), np.inf))
    return float((labels[d.argmin(1)] == labels).mean())


def curve_at(d: Array, tree: Array, k: int) -> float:
    """Solution of exercise 9.4: the mean tree distance of the k nearest other tasks."""
    d = d + np.diag(np.full(len(d), np.inf))
    near = d.argsort(1)[:, :k]
    return float(np.take_along_axis(tree, near, 1).mean())


def centre(d: Array) -> Array:
    """Solution of exercise 9.5: the matrix of inner products that belongs to the distances d."""
    j = np.eye(len(d)) - 1 / len(d)
    return -j @ d**2 @ j / 2


def _with_self(d: Array, tree: Array, k: int) -> float:
    return float(np.take_along_axis(tree, d.argsort(1)[:, :k], 1).mean())


def _farthest(d: Array, tree: Array, k: int) -> float:
    return float(np.take_along_axis(tree, (-d).argsort(1)[:, :k], 1).mean())


def _kth(d: Array, tree: Array, k: int) -> float:
    d = d + np.diag(np.full(len(d), np.inf))
    return float(np.take_along_axis(tree, d.argsort(1)[:, k - 1 : k], 1).mean())


def _uncentred(d: Array) -> Array:
    return np.asarray(-(d**2) / 2)


EXERCISES = {
    "9.1": Exercise(
        3 / 5,
        mistakes={
            "That lets A and B be neighbours although they share pictures.": 4 / 5,
            "A and B are still asked; they only look past each other to the next nearest task.": 2 / 3,
            "A task does not count as its own neighbour.": 1.0,
        },
        tolerance=2e-3,
    ),
    "9.2": Exercise(
        jensen_shannon,
        _two,
        {
            "That is the square root: the divergence itself is asked for.": distance.jensen_shannon,
            "That is the divergence in bits: take natural logarithms.": lambda a, b: (
                jensen_shannon(a, b) / np.log(2)
            ),
            "The mean of the two divergences is asked for, not their sum.": lambda a, b: (
                2 * jensen_shannon(a, b)
            ),
        },
    ),
    "9.3": Exercise(
        nearest_share,
        _matrix_and_labels,
        {
            "Each task is its own nearest neighbour here: bar the diagonal.": lambda d, labels: 1.0,
            "That is the farthest task: argmin, not argmax.": lambda d, labels: float(
                (labels[d.argmax(1)] == labels).mean()
            ),
            "That is the share of *other* labels.": lambda d, labels: 1 - nearest_share(d, labels),
        },
    ),
    "9.4": Exercise(
        curve_at,
        _matrix_and_tree,
        {
            "The task itself is among its k nearest: leave it out.": _with_self,
            "Those are the farthest tasks.": _farthest,
            "That is the k-th neighbour alone; average over the first k.": _kth,
        },
    ),
    "9.5": Exercise(
        centre,
        _one_matrix,
        {
            "Square the distances first.": lambda d: centre(np.sqrt(d)),
            "The factor −1/2 is missing.": lambda d: -2 * centre(d),
            "The sign is wrong: large distances belong to negative inner products.": lambda d: -centre(d),
            "Centre the rows and the columns.": _uncentred,
        },
    ),
    "9.6": Exercise(
        0.2,
        mistakes={
            "Both embeddings are noisy: the variance of the log-ratio is 2s², and half of it is s².": float(
                np.sqrt(0.08)
            ),
            "That is the variance s²; the standard deviation is its root.": 0.04,
            "The distance is *half* the variance of the log-ratio, 2s².": float(np.sqrt(0.02)),
        },
        tolerance=1e-3,
    ),
}
