r"""Distances between tasks, from their embeddings.

Arguments are :class:`t2v.embedding.TaskEmbedding` objects or plain 1-D arrays of non-negative numbers. NumPy and SciPy only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

Array = NDArray[np.float64]


def cosine(a: Any, b: Any) -> float:
    r"""Return :math:`1 - \cos(F_a, F_b)`, the distance of the raw embeddings.

    Parameters
    ----------
    a, b : TaskEmbedding or 1-D array
        Two embeddings of one probe.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        For embeddings of different probes or lengths, negative or non-finite values, or all zeros.
    """
    x, y = _pair(a, b)
    return _one_minus_cosine(x, y)


def symmetric(a: Any, b: Any) -> float:
    r"""Return Task2Vec's symmetric distance.

    .. math:: d_\mathrm{sym}(F_a, F_b) = 1 - \cos\left(\frac{F_a}{F_a + F_b}, \frac{F_b}{F_a + F_b}\right),

    element-wise. A filter that neither task uses says nothing and is left out (0/0).

    Parameters
    ----------
    a, b : TaskEmbedding or 1-D array
        Two embeddings of one probe.

    Returns
    -------
    float
        In [0, 1]: 0 for equal embeddings, 1 for embeddings with no filter in common.

    Raises
    ------
    ValueError
        As for :func:`cosine`.

    Notes
    -----
    Source: Achille et al. (2019), section 4. The review paper's definition 6.1 prints F/‖F‖ instead, which leaves the plain
    :func:`cosine`.
    """
    x, y = _pair(a, b)
    used = x + y > 0
    x, y = x[used], y[used]
    return _one_minus_cosine(x / (x + y), y / (x + y))


def log_cosine(a: Any, b: Any) -> float:
    r"""Return the correlation distance of the log-embeddings, over the filters that both tasks use.

    Fisher values spread over many orders of magnitude, and a plain cosine sees only the largest; the logarithm weighs all
    filters alike, and centring takes away the overall scale: :math:`1 - \mathrm{corr}(\log F_a, \log F_b)`.

    Parameters
    ----------
    a, b : TaskEmbedding or 1-D array
        Two embeddings of one probe.

    Returns
    -------
    float
        In [0, 2].

    Raises
    ------
    ValueError
        As for :func:`cosine`, and where fewer than three filters are used by both.
    """
    x, y = _pair(a, b)
    used = (x > 0) & (y > 0)
    if used.sum() < 3:
        raise ValueError("a, b: fewer than three filters are positive in both; the log-cosine is not defined")
    u, v = np.log(x[used]), np.log(y[used])
    return _one_minus_cosine(u - u.mean(), v - v.mean())


def asymmetric(source: Any, target: Any, reference: Any, alpha: float = 0.15) -> float:
    r"""Return :math:`d_\mathrm{asym}(a \to b) = d_\mathrm{sym}(a, b) - \alpha\, d_\mathrm{sym}(a, t_0)`.

    Parameters
    ----------
    source, target : TaskEmbedding or 1-D array
        The task to transfer from (a) and the task to transfer to (b).
    reference : TaskEmbedding or 1-D array
        The embedding t₀: :func:`t2v.embedding.trivial`, :func:`t2v.embedding.canonical`, or any other of the probe.
    alpha : float
        α ≥ 0, how much a source far from t₀ (a complex one) is preferred.

    Returns
    -------
    float
        Smaller is better; may be negative.

    Raises
    ------
    ValueError
        As for :func:`cosine`, and for a negative or non-finite α.

    Notes
    -----
    Source: definition 6.2 of the review paper; Achille et al. (2019), section 4.
    """
    if not np.isfinite(alpha) or alpha < 0:
        raise ValueError(f"alpha: {alpha} is not a finite number ≥ 0")
    return symmetric(source, target) - alpha * symmetric(source, reference)


#: Distances that :func:`matrix` accepts by name.
METRICS: dict[str, Callable[[Any, Any], float]] = {
    "symmetric": symmetric,
    "cosine": cosine,
    "log_cosine": log_cosine,
}


def matrix(embeddings: Sequence[Any], metric: str = "symmetric") -> Array:
    """Return all pairwise distances.

    Parameters
    ----------
    embeddings : sequence
        n embeddings of one probe.
    metric : {"symmetric", "cosine", "log_cosine"}
        Which distance.

    Returns
    -------
    array
        ``(n, n)``, symmetric with a zero diagonal.

    Raises
    ------
    ValueError
        For an unknown metric, fewer than two embeddings, and as for :func:`cosine`.
    """
    if metric not in METRICS:
        raise ValueError(f"metric: {metric!r} is unknown; accepted: {', '.join(METRICS)}")
    if len(embeddings) < 2:
        raise ValueError(f"embeddings: {len(embeddings)} given; at least two are needed")
    distance = METRICS[metric]
    n = len(embeddings)
    result = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            result[i, j] = result[j, i] = distance(embeddings[i], embeddings[j])
    return result


def cluster(distances: ArrayLike, method: str = "average") -> Array:
    """Return the hierarchical clustering of tasks.

    Parameters
    ----------
    distances : array
        ``(n, n)``, symmetric, non-negative, zero diagonal: a result of :func:`matrix`.
    method : str
        Linkage as in :func:`scipy.cluster.hierarchy.linkage`.

    Returns
    -------
    array
        ``(n − 1, 4)``, SciPy's linkage matrix with optimally ordered leaves: give it to
        :func:`scipy.cluster.hierarchy.dendrogram`.

    Raises
    ------
    ValueError
        If the matrix is not a distance matrix.
    """
    d = np.asarray(distances, dtype=float)
    if d.ndim != 2 or d.shape[0] != d.shape[1] or len(d) < 2:
        raise ValueError(f"distances: shape {d.shape}; (n, n) with n ≥ 2 is accepted")
    if (
        not np.isfinite(d).all()
        or (d < 0).any()
        or np.abs(np.diag(d)).max() > 1e-9
        or np.abs(d - d.T).max() > 1e-9
    ):
        raise ValueError(
            "distances: finite, non-negative, symmetric numbers with a zero diagonal are accepted"
        )
    condensed = squareform(d, checks=False)
    return np.asarray(hierarchy.linkage(condensed, method, optimal_ordering=True))


def _pair(a: Any, b: Any) -> tuple[Array, Array]:
    probes = (getattr(a, "probe", None), getattr(b, "probe", None))
    if None not in probes and probes[0] != probes[1]:
        raise ValueError(
            f"embeddings of different probes ({probes[0]!r} and {probes[1]!r}) cannot be compared"
        )
    x, y = _values(a), _values(b)
    if x.shape != y.shape:
        raise ValueError(f"embeddings of different lengths ({x.size} and {y.size}) cannot be compared")
    return x, y


def _values(a: Any) -> Array:
    x = np.asarray(getattr(a, "values", a), dtype=float)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"embedding: shape {x.shape}; a TaskEmbedding or a 1-D array is accepted")
    if not np.isfinite(x).all() or (x < 0).any():
        raise ValueError("embedding: finite, non-negative numbers are accepted")
    if not x.any():
        raise ValueError("embedding: all values are zero, so it has no direction")
    return x


def _one_minus_cosine(x: Array, y: Array) -> float:
    x, y = x / np.abs(x).max(initial=1e-300), y / np.abs(y).max(initial=1e-300)
    norms = np.sqrt((x @ x) * (y @ y))
    if norms == 0:
        return 1.0
    return float(np.clip(1.0 - (x @ y) / norms, 0.0, 2.0))


def neighbour_agreement(
    distances: ArrayLike, groups: Sequence[Any], *, permutations: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Return how often a task's nearest neighbour is of its own group, what chance gives, and a permutation p-value.

    Parameters
    ----------
    distances : array
        ``(n, n)``, a result of :func:`matrix`.
    groups : sequence
        n labels.
    permutations : int
        How often the labels are shuffled.
    seed : int
        Seed of the shuffles.

    Returns
    -------
    share, chance, p : float
        The share of tasks whose nearest other task has the same label; its mean over shuffled labels; and the share of
        shuffles (with the identity) that do as well or better.

    Raises
    ------
    ValueError
        If the sizes do not fit.
    """
    d = np.array(distances, dtype=float)
    if d.ndim != 2 or d.shape[0] != d.shape[1] or len(groups) != len(d) or len(d) < 2:
        raise ValueError(
            f"distances, groups: shape {d.shape} and {len(groups)} labels; (n, n) and n ≥ 2 are accepted"
        )
    np.fill_diagonal(d, np.inf)
    nearest = d.argmin(1)
    labels = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    share = float((labels[nearest] == labels).mean())
    shuffled = [rng.permutation(labels) for _ in range(permutations)]
    by_chance = np.array([(s[nearest] == s).mean() for s in shuffled])
    p = (1 + (by_chance >= share - 1e-12).sum()) / (1 + permutations)
    return share, float(by_chance.mean()), float(p)
