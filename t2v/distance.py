r"""Distances between tasks, from their embeddings.

Arguments are :class:`t2v.embedding.TaskEmbedding` objects or plain 1-D arrays of non-negative numbers. NumPy and SciPy only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from scipy.special import rel_entr
from scipy.stats import rankdata

Array = NDArray[np.float64]
#: One label a task.
Labels = Sequence[Any] | NDArray[Any]


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
    if max(x.max(), y.max()) > np.finfo(float).max / 2:  # the sum would overflow; only ratios count
        x, y = x / 2, y / 2
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


def unit_sum(a: Any) -> Any:
    """Return an embedding divided by the sum of its values: what is left when the task's difficulty is taken out.

    Parameters
    ----------
    a : TaskEmbedding or 1-D array
        An embedding.

    Returns
    -------
    TaskEmbedding or array
        Of the kind that was given, with values that sum to 1: a distribution over filters.

    Raises
    ------
    ValueError
        As for :func:`cosine`.
    """
    x = _values(a)
    x = x / x.max()  # first, so that the sum of huge values does not overflow
    x = x / x.sum()
    return dataclasses.replace(a, values=x) if dataclasses.is_dataclass(a) and not isinstance(a, type) else x


def jensen_shannon(a: Any, b: Any) -> float:
    r"""Return the Jensen–Shannon distance of two embeddings, read as distributions over filters.

    .. math:: \sqrt{\tfrac12 \mathrm{KL}(P_a \| M) + \tfrac12 \mathrm{KL}(P_b \| M)}, \qquad
       P = F / \textstyle\sum_k F_k, \quad M = (P_a + P_b)/2 .

    Parameters
    ----------
    a, b : TaskEmbedding or 1-D array
        Two embeddings of one probe; their scale does not matter.

    Returns
    -------
    float
        In [0, √log 2]: the square root of a divergence in nats, and a metric.

    Raises
    ------
    ValueError
        As for :func:`cosine`.

    Notes
    -----
    Source: Lin (1991); that the square root is a metric: Endres and Schindelin (2003).
    """
    x, y = _pair(a, b)
    p, q = unit_sum(x), unit_sum(y)
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle).sum() + rel_entr(q, middle).sum()) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def gaussian_kl(a: Any, b: Any) -> float:
    r"""Return the Kullback–Leibler divergence of the two Gaussians with the embeddings as precisions, made symmetric.

    Filter by filter, the larger of the two directions between :math:`\mathcal N(0, 1/F_{ak})` and
    :math:`\mathcal N(0, 1/F_{bk})`, which is :math:`\tfrac12(e^{|u_k|} - 1 - |u_k|)` with
    :math:`u_k = \log(F_{ak}/F_{bk})`; the mean over the filters that both tasks use.

    Parameters
    ----------
    a, b : TaskEmbedding or 1-D array
        Two embeddings of one probe.

    Returns
    -------
    float
        Nats a filter, ≥ 0; no metric, and without an upper bound.

    Raises
    ------
    ValueError
        As for :func:`cosine`, and where no filter is used by both.

    Notes
    -----
    Source: the option ``kl`` of the published Task2Vec code, which takes the sum in the place of the mean.
    """
    u = np.abs(_log_ratios(a, b))
    return float(np.mean(np.expm1(u) - u) / 2)


def gaussian_js(a: Any, b: Any) -> float:
    r"""Return the Jensen–Shannon divergence of the same two Gaussians, with a Gaussian of mean variance between them.

    Filter by filter :math:`\tfrac12 \log\cosh(u_k/2)` with :math:`u_k = \log(F_{ak}/F_{bk})`; the mean over the filters
    that both tasks use. (:func:`jensen_shannon` is another thing: it reads an embedding as one distribution over filters.)

    Parameters
    ----------
    a, b : TaskEmbedding or 1-D array
        Two embeddings of one probe.

    Returns
    -------
    float
        Nats a filter, ≥ 0.

    Raises
    ------
    ValueError
        As for :func:`gaussian_kl`.

    Notes
    -----
    Source: the option ``jsd`` of the published Task2Vec code.
    """
    half = np.abs(_log_ratios(a, b)) / 2
    log_cosh = half + np.log1p(np.exp(-2 * half)) - np.log(2)  # does not overflow
    return float(np.mean(log_cosh) / 2)


def _log_ratios(a: Any, b: Any) -> Array:
    x, y = _pair(a, b)
    used = (x > 0) & (y > 0)
    if not used.any():
        raise ValueError("a, b: no filter is positive in both; the Gaussians' divergence is not defined")
    return np.asarray(np.log(x[used]) - np.log(y[used]))


#: Distances that :func:`matrix` accepts by name.
METRICS: dict[str, Callable[[Any, Any], float]] = {
    "symmetric": symmetric,
    "cosine": cosine,
    "log_cosine": log_cosine,
    "jensen_shannon": jensen_shannon,
    "gaussian_kl": gaussian_kl,
    "gaussian_js": gaussian_js,
}


def matrix(embeddings: Sequence[Any], metric: str = "symmetric") -> Array:
    """Return all pairwise distances.

    Parameters
    ----------
    embeddings : sequence
        n embeddings of one probe.
    metric : {"symmetric", "cosine", "log_cosine", "jensen_shannon", "gaussian_kl", "gaussian_js"}
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
    d = _square("distances", distances)
    condensed = squareform(d, checks=False)
    return np.asarray(hierarchy.linkage(condensed, method, optimal_ordering=True))


def _square(name: str, distances: ArrayLike) -> Array:
    """Return a checked copy of a distance matrix; ``name`` is the argument that a message speaks of."""
    d = np.array(distances, dtype=float)
    if d.ndim != 2 or d.shape[0] != d.shape[1] or len(d) < 2:
        raise ValueError(f"{name}: shape {d.shape}; (n, n) with n ≥ 2 is accepted")
    if (
        not np.isfinite(d).all()
        or (d < 0).any()
        or np.abs(np.diag(d)).max() > 1e-9
        or np.abs(d - d.T).max() > 1e-9
    ):
        raise ValueError(f"{name}: finite, non-negative, symmetric numbers with a zero diagonal are accepted")
    return d


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
    distances: ArrayLike,
    groups: Labels,
    *,
    excluded: ArrayLike | None = None,
    strata: Labels | None = None,
    blocks: Labels | None = None,
    permutations: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return how often a task's nearest neighbour is of its own group, what chance gives, and a permutation p-value.

    Parameters
    ----------
    distances : array
        ``(n, n)``, a result of :func:`matrix`.
    groups : sequence
        n labels.
    excluded : array of bool, optional
        ``(n, n)``: True where task j must not count as a neighbour of task i, for instance because the two share
        pictures. A task that is left without any neighbour is left out.
    strata : sequence, optional
        n labels: groups are shuffled only among tasks of one stratum. What the strata know is then no merit.
    blocks : sequence, optional
        n labels: tasks of a block (of one data set, say) share their group and keep sharing one; whole blocks exchange
        theirs. Tasks that come from one data set are not independent, and shuffled one by one give too small a p-value.
    permutations : int
        How often the labels are shuffled.
    seed : int
        Seed of the shuffles.

    Returns
    -------
    share, chance, p : float
        The share of tasks whose nearest admitted task has the same label; its mean over shuffled labels; and the
        share of shuffles (with the identity) that do as well or better.

    Raises
    ------
    ValueError
        If the sizes do not fit, nobody has a neighbour left, a block has two groups, or strata and blocks are both given.
    """
    d = np.array(distances, dtype=float)
    if d.ndim != 2 or d.shape[0] != d.shape[1] or len(groups) != len(d) or len(d) < 2:
        raise ValueError(
            f"distances, groups: shape {d.shape} and {len(groups)} labels; (n, n) and n ≥ 2 are accepted"
        )
    barred = np.zeros(d.shape, bool) if excluded is None else np.array(excluded, dtype=bool)
    if barred.shape != d.shape:
        raise ValueError(f"excluded: shape {barred.shape}; {d.shape}, as distances, is accepted")
    np.fill_diagonal(barred, True)
    who = np.flatnonzero(~barred.all(1))
    if who.size == 0:
        raise ValueError("excluded: no task has a neighbour left")
    nearest = np.where(barred, np.inf, d)[who].argmin(1)
    labels = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    share = float((labels[nearest] == labels[who]).mean())
    shuffled = _shuffled(labels, strata, blocks, permutations, np.random.default_rng(seed))
    by_chance = np.array([(s[nearest] == s[who]).mean() for s in shuffled])
    p = (1 + (by_chance >= share - 1e-12).sum()) / (1 + permutations)
    return share, float(by_chance.mean()), float(p)


def _shuffled(
    labels: NDArray[np.intp],
    strata: Labels | None,
    blocks: Labels | None,
    permutations: int,
    rng: np.random.Generator,
) -> list[NDArray[np.intp]]:
    """Return labels shuffled freely, within strata, or block by block."""
    if blocks is None:
        return [labels[order] for order in _orders(len(labels), strata, permutations, rng)]
    if strata is not None:
        raise ValueError("strata, blocks: both are given; accepted is one of them")
    which = _codes("blocks", blocks, len(labels))
    of_block = np.array([labels[which == k][0] for k in range(which.max() + 1)])
    if (of_block[which] != labels).any():
        culprit = str(blocks[int((of_block[which] != labels).argmax())])
        raise ValueError(f"blocks: block {culprit!r} has tasks of two groups")
    return [rng.permutation(of_block)[which] for _ in range(permutations)]


def _orders(
    n: int, strata: Labels | None, permutations: int, rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Return random orders of n tasks; with strata, each task changes places within its own."""
    if strata is None:
        return [rng.permutation(n) for _ in range(permutations)]
    which = _codes("strata", strata, n)
    members = [np.flatnonzero(which == k) for k in range(which.max() + 1)]
    orders = []
    for _ in range(permutations):
        order = np.arange(n)
        for rows in members:
            order[rows] = rng.permutation(rows)
        orders.append(order)
    return orders


def _codes(name: str, labels: Labels, n: int) -> NDArray[np.intp]:
    """Return labels as numbers 0 … k − 1."""
    if len(labels) != n:
        raise ValueError(f"{name}: {len(labels)} labels for {n} tasks")
    return np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1]


def neighbourhood_curve(distances: ArrayLike, tree_distances: ArrayLike) -> Array:
    """Return the mean tree distance of a task's k nearest neighbours, for every k.

    A distance that knows the tree starts low and rises to the mean over all pairs; one that does not is flat.

    Parameters
    ----------
    distances : array
        ``(n, n)``: says who is near. Neighbours at equal distance are counted in the order of their index.
    tree_distances : array
        ``(n, n)``: how far apart the tasks are in a reference tree, see :func:`t2v.tasks.tree_distance`.

    Returns
    -------
    array
        ``(n − 1,)``: entry k − 1 is the mean over the tasks of the mean over their k nearest other tasks.

    Raises
    ------
    ValueError
        If one of them is not a distance matrix, or the sizes differ.

    Notes
    -----
    Source: figure 3 of Achille et al. (2019) draws this curve for tasks of iNaturalist.
    """
    d, tree = _square("distances", distances), _square("tree_distances", tree_distances)
    if d.shape != tree.shape:
        raise ValueError(f"distances, tree_distances: shapes {d.shape} and {tree.shape} differ")
    np.fill_diagonal(d, -1.0)  # each task comes first in its own list, and is dropped
    order = d.argsort(axis=1, kind="stable")[:, 1:]
    ordered = np.take_along_axis(tree, order, axis=1)
    means: Array = (ordered.cumsum(1) / np.arange(1, len(d))).mean(0)
    return means


def mantel(
    a: ArrayLike,
    b: ArrayLike,
    *,
    control: ArrayLike | None = None,
    strata: Labels | None = None,
    permutations: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the rank correlation of two distance matrices, with the p-value of Mantel's permutation test.

    The entries of a distance matrix are not independent (each task is in n − 1 of them), so the p-value of an ordinary
    correlation is far too small. Mantel's test shuffles the *tasks* of one matrix, rows and columns together.

    Parameters
    ----------
    a, b : array
        ``(n, n)`` distance matrices of the same tasks in the same order.
    control : array, optional
        ``(n, n)``: a third matrix. Then the partial rank correlation given it: what a and b share beyond it.
    strata : sequence, optional
        n labels: tasks are shuffled only among those of one stratum.
    permutations : int
        How often the tasks of ``a`` are shuffled.
    seed : int
        Seed of the shuffles.

    Returns
    -------
    rho, p : float
        Spearman's ρ over the pairs of tasks (partial, if there is a control); and the share of shuffles (with the
        identity) that give as much or more: one-sided, for a positive relation.

    Raises
    ------
    ValueError
        If a matrix is not a distance matrix, is constant, or the sizes differ; n ≥ 3 is needed.

    Notes
    -----
    Source: Mantel (1967); the partial test: Smouse, Long and Sokal (1986).
    """
    x, y = _ranks("a", a), _ranks("b", b)
    z = None if control is None else _ranks("control", control)
    for name, other in (("b", y), ("control", z)):
        if other is not None and other.shape != x.shape:
            raise ValueError(f"a, {name}: shapes {x.shape} and {other.shape} differ")
    rho = _partial(x, y, z)
    rng = np.random.default_rng(seed)
    orders = _orders(len(x), strata, permutations, rng)
    by_chance = np.array([_partial(x[np.ix_(order, order)], y, z) for order in orders])
    return rho, float((1 + (by_chance >= rho - 1e-12).sum()) / (1 + permutations))


def resample(groups: Labels, *, draws: int = 1000, seed: int = 0) -> list[NDArray[np.intp]]:
    """Return the tasks of bootstrap samples: as many groups as there are, drawn with replacement, whole.

    Parameters
    ----------
    groups : sequence
        n labels: the tasks themselves, or the data sets that they come from. What is drawn together may be dependent.
    draws : int
        Number of samples.
    seed : int
        Their seed.

    Returns
    -------
    list of array of int
        Indices of tasks, some of them several times, others missing.

    Raises
    ------
    ValueError
        If there are fewer than two groups.
    """
    which = _codes("groups", groups, len(groups))
    members = [np.flatnonzero(which == k) for k in range(which.max(initial=-1) + 1)]
    if len(members) < 2:
        raise ValueError(f"groups: {len(members)} given; at least two are needed")
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(members), size=(draws, len(members)))
    return [np.concatenate([members[k] for k in pick]) for pick in picks]


def correlation_interval(
    a: ArrayLike,
    b: ArrayLike,
    *,
    rival: ArrayLike | None = None,
    groups: Labels | None = None,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return a bootstrap interval, over tasks, of the rank correlation of two distance matrices.

    Seeds share their tasks, so their agreement says nothing about other tasks; here the *tasks* are drawn anew. Pairs of a
    task with its own copy are left out.

    Parameters
    ----------
    a, b : array
        ``(n, n)`` distance matrices of the same tasks.
    rival : array, optional
        ``(n, n)``: then the interval is of the lead, the correlation of a with b less that of ``rival`` with b in the same
        resample.
    groups : sequence, optional
        As for :func:`resample`; each task is its own group by default.
    draws, seed : int
        Resamples, and their seed.
    level : float
        Coverage of the percentile interval.

    Returns
    -------
    low, high : float

    Raises
    ------
    ValueError
        If a matrix is no distance matrix, sizes differ, or ``level`` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level} does not lie between 0 and 1")
    given = {"a": a, "b": b} | ({} if rival is None else {"rival": rival})
    found = [_square(name, matrix) for name, matrix in given.items()]
    if len({matrix.shape for matrix in found}) > 1:
        raise ValueError(f"{', '.join(given)}: shapes {[m.shape for m in found]} differ")
    samples = resample(range(len(found[0])) if groups is None else groups, draws=draws, seed=seed)
    values = [_among(found, rows) for rows in samples]
    leads = [v[0] - v[1] if len(v) > 1 else v[0] for v in values]
    low, high = np.nanpercentile(leads, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def _among(matrices: Sequence[Array], rows: NDArray[np.intp]) -> list[float]:
    """Return Spearman's correlations of the second matrix with the others, over pairs of different tasks among rows."""
    i, j = (rows[k] for k in np.triu_indices(len(rows), 1))
    i, j = i[i != j], j[i != j]
    ranks = [rankdata(matrix[i, j]) for matrix in matrices]
    if any(np.ptp(r) == 0 for r in ranks):
        return [np.nan] * (len(ranks) - 1)
    return [float(np.corrcoef(ranks[1], r)[0, 1]) for k, r in enumerate(ranks) if k != 1]


def _ranks(name: str, distances: ArrayLike) -> Array:
    """Return the ranks of the pairs as a symmetric matrix with zero diagonal, mean 0 and norm 1 over all pairs."""
    condensed = squareform(_square(name, distances), checks=False)
    if condensed.size < 3 or np.ptp(condensed) == 0:
        raise ValueError(f"{name}: at least three tasks, and distances that are not all equal, are needed")
    ranks = rankdata(condensed)
    ranks -= ranks.mean()
    return np.asarray(squareform(ranks / np.sqrt(2 * (ranks @ ranks))))


def _partial(x: Array, y: Array, z: Array | None) -> float:
    """Return the correlation of standardised matrices, given z if there is one."""
    xy = float((x * y).sum())
    if z is None:
        return xy
    xz, yz = float((x * z).sum()), float((y * z).sum())
    left = (1 - xz**2) * (1 - yz**2)
    # what the control explains wholly has no part left that could correlate
    return (xy - xz * yz) / np.sqrt(left) if left > 1e-12 else 0.0


def classical_mds(distances: ArrayLike, dimensions: int = 2) -> tuple[Array, Array]:
    r"""Return a map: points whose Euclidean distances imitate a distance matrix.

    The doubly centred matrix :math:`B = -\tfrac12 J D^{(2)} J` holds the inner products of the points, if there are such
    points; its leading eigenvectors, times the roots of their eigenvalues, are the map.

    Parameters
    ----------
    distances : array
        ``(n, n)``, a result of :func:`matrix`.
    dimensions : int
        Of the map.

    Returns
    -------
    points, eigenvalues : array
        ``(n, dimensions)``, each axis with its entry of largest size positive; and all n eigenvalues, largest first.
        Negative eigenvalues say that no Euclidean points have these distances.

    Raises
    ------
    ValueError
        If the matrix is not a distance matrix, or has fewer than ``dimensions`` positive eigenvalues.

    Notes
    -----
    Source: Torgerson (1952).
    """
    d = _square("distances", distances)
    centred = d**2 - (d**2).mean(0)
    b = -(centred - centred.mean(1, keepdims=True)) / 2
    values, vectors = np.linalg.eigh((b + b.T) / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    positive = int((values > 1e-12 * max(values[0], 1e-300)).sum())
    if not 1 <= dimensions <= positive:
        raise ValueError(f"dimensions: {dimensions}; 1 … {positive} are possible for these distances")
    points = vectors[:, :dimensions] * np.sqrt(values[:dimensions])
    largest = np.abs(points).argmax(0)
    return points * np.sign(points[largest, range(dimensions)]), values
