"""Self-checking exercises of chapter 9."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

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
    """Return distances of random points, the lengths of paths in a tree that has nothing to do with them, and k."""
    return _points(rng), np.round(2 * _points(rng)), int(rng.integers(2, 5))


def _one_matrix(rng: np.random.Generator) -> tuple[Array]:
    return (_points(rng),)


def jensen_shannon(f_a: Array, f_b: Array) -> float:
    """Solution of exercise 9.2: the Jensen–Shannon divergence, in nats."""
    return _js(f_a / f_a.sum(), f_b / f_b.sum())


def _js(p: Array, q: Array, middle: Array | None = None) -> float:
    """Return the mean of KL(p‖middle) and KL(q‖middle), by default with (p + q)/2 in the middle."""
    if middle is None:
        middle = (p + q) / 2
    return (_kl(p, middle) + _kl(q, middle)) / 2


def _kl(p: Array, q: Array) -> float:
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / q[seen])).sum())


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
    return _centred(d**2)


def _centred(square: Array) -> Array:
    j = np.eye(len(square)) - 1 / len(square)
    return -j @ square @ j / 2


def _pairs(d: Array) -> Array:
    """Return the distances of all pairs, each once."""
    return np.asarray(d[np.triu_indices(len(d), 1)])


def _rest(x: Array, z: Array) -> Array:
    """Return what is left of x when the best straight line in z is taken off."""
    return np.asarray(x - np.polyval(np.polyfit(z, x, 1), z))


def given(a: Array, b: Array, c: Array) -> float:
    """Solution of exercise 9.9: the rank correlation of a and b over the pairs of tasks, given c."""
    x, y, z = (rankdata(_pairs(m)) for m in (a, b, c))
    return _correlation(_rest(x, z), _rest(y, z))


def _correlation(x: Array, y: Array) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _ranked(a: Array, b: Array) -> float:
    return _correlation(rankdata(_pairs(a)), rankdata(_pairs(b)))


def _of_values(a: Array, b: Array, c: Array) -> float:
    x, y, z = (_pairs(m) for m in (a, b, c))
    return _correlation(_rest(x, z), _rest(y, z))


def _of_all_entries(a: Array, b: Array, c: Array) -> float:
    x, y, z = (rankdata(m.ravel()) for m in (a, b, c))
    return _correlation(_rest(x, z), _rest(y, z))


def _one_side(a: Array, b: Array, c: Array) -> float:
    x, y, z = (rankdata(_pairs(m)) for m in (a, b, c))
    return _correlation(_rest(x, z), y)


def _not_divided(a: Array, b: Array, c: Array) -> float:
    return _ranked(a, b) - _ranked(a, c) * _ranked(b, c)


def _three_matrices(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return distances of points, of points near them, and of one bit a task."""
    x, bit = rng.normal(size=(9, 3)), rng.permutation(np.arange(9) % 2)
    c = np.not_equal.outer(bit, bit).astype(float)
    x[:, 0] += 1.5 * bit
    y = x + rng.normal(size=x.shape)
    a, b = (np.sqrt(((z[:, None] - z[None]) ** 2).sum(-1)) for z in (x, y))
    return a, b, c


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
            "That lets A and B be neighbours although they share pictures.": [4 / 5, 4.0, 80.0],
            "A and B are still asked; they only look past each other to the next nearest task.": 2 / 3,
            "A task does not count as its own neighbour.": 1.0,
            "That is how many tasks; a share of the five is asked for.": 3.0,
            "That is in per cent; write it as a share of one.": 60.0,
            "That is the share of the others: asked is the share with a neighbour of its own group.": 2 / 5,
        },
        tolerance=2e-3,
        hint="Write down the nearest task of each of the five, without A for B and without B for A; then count those "
        "of the same group.",
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
            "Make both sum to one first: a divergence is between distributions.": lambda a, b: _js(a, b),
            "Divide each by its own sum, not by its norm or its maximum.": [
                lambda a, b: _js(a / np.linalg.norm(a), b / np.linalg.norm(b)),
                lambda a, b: _js(a / a.max(), b / b.max()),
            ],
            "The mean of both embeddings is taken after each sums to one, not before.": lambda a, b: _js(
                a / a.sum(), b / b.sum(), (a + b) / (a + b).sum()
            ),
            "That is KL(p‖m) or KL(q‖m) alone: take the mean of both.": [
                lambda a, b: _kl(a / a.sum(), (a / a.sum() + b / b.sum()) / 2),
                lambda a, b: _kl(b / b.sum(), (a / a.sum() + b / b.sum()) / 2),
            ],
            "That compares p and q with each other; both are compared with their mean.": [
                lambda a, b: _kl(a / a.sum(), b / b.sum()),
                lambda a, b: _js(a / a.sum(), b / b.sum(), b / b.sum()),
                lambda a, b: (_kl(a / a.sum(), b / b.sum()) + _kl(b / b.sum(), a / a.sum())) / 2,
            ],
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
            "That is their number; divide by the number of tasks.": lambda d, labels: (
                len(d) * nearest_share(d, labels)
            ),
        },
    ),
    "9.4": Exercise(
        curve_at,
        _matrix_and_tree,
        {
            "The task itself is among its k nearest: leave it out.": _with_self,
            "Those are the farthest tasks.": _farthest,
            "That is the k-th neighbour alone; average over the first k.": _kth,
            "That is the mean of d over the neighbours; d chooses them, and the mean is of tree.": [
                lambda d, tree, k: curve_at(d, d, k),
                lambda d, tree, k: _with_self(d, d, k),
            ],
            "d and tree are exchanged: d chooses the neighbours, and the mean is of tree.": lambda d, tree, k: (
                curve_at(tree, d, k)
            ),
            "That is the sum over the k neighbours; take their mean.": lambda d, tree, k: (
                k * curve_at(d, tree, k)
            ),
            "That is one neighbour too many, or too few.": [
                lambda d, tree, k: curve_at(d, tree, k + 1),
                lambda d, tree, k: curve_at(d, tree, k - 1),
            ],
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
            "Centre the rows *and* the columns: J stands on both sides.": [
                lambda d: _uncentred(d) @ (np.eye(len(d)) - 1 / len(d)),
                lambda d: (np.eye(len(d)) - 1 / len(d)) @ _uncentred(d),
            ],
            "Square the distances entry by entry, d**2, and not by a matrix product.": lambda d: _centred(
                d @ d
            ),
            "J is I − 1/n in every entry: the n is missing.": lambda d: (
                (np.eye(len(d)) - 1) @ _uncentred(d) @ (np.eye(len(d)) - 1)
            ),
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
            "That is half of the distance, a variance; the standard deviation is the root of one.": 0.02,
        },
        tolerance=1e-3,
        hint="d_sym is half the variance of the log-ratio. The log-ratio is a difference of two noisy numbers: what is "
        "its variance, in terms of s²?",
    ),
    "9.9": Exercise(
        given,
        _three_matrices,
        {
            "That is the plain rank correlation: take out what c explains, of both.": lambda a, b, c: _ranked(
                a, b
            ),
            "Take the ranks first: the table's correlations are of ranks.": _of_values,
            "Each pair of tasks once: neither the diagonal nor both triangles.": _of_all_entries,
            "Take c out of both a and b.": [_one_side, lambda a, b, c: _one_side(b, a, c)],
            "Divide by what c leaves of the variances, √(1 − r_ac²) √(1 − r_bc²).": _not_divided,
            "That holds b fixed, or a; asked is the correlation of a and b, given c.": [
                lambda a, b, c: given(a, c, b),
                lambda a, b, c: given(b, c, a),
            ],
        },
    ),
}
