"""Mutual information from samples: :mod:`t2v.information` when only data is at hand.

Every estimator returns one float, in units of its ``base`` (2: bits, the default). Estimates are not
repaired: those of independent variables scatter round 0 and may fall below it, and only the plug-in estimates
are never negative. Samples are paired by their first axis; vectors are ``(n, d)``, and ``(n,)`` is read as
``(n, 1)``.

================  ======================  =================================================================
estimator         for                     its error
================  ======================  =================================================================
:func:`plug_in`   labels                  biased up by about (cells)/2n nats; Miller–Madow removes the most
                                          where cells are seen several times, Chao–Shen where few are
:func:`binned`    numbers, few columns    the plug-in's, and depends on the bins
:func:`ksg`       vectors                 biased down at strong dependence or in many dimensions
:func:`mixed`     vectors against labels  as KSG
:func:`infonce`   vectors                 a lower bound that cannot pass log(batch size)
:func:`mine`      vectors                 a lower bound whose variance grows like exp(I)
================  ======================  =================================================================

:func:`permutation_test` says of any of them what it makes of pairs that are shuffled, :func:`with_error` how far it
scatters. Nothing here imports torch before :func:`infonce` or :func:`mine` is called.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from scipy.special import digamma, logsumexp

from t2v import information
from t2v._checks import labels as labels_of
from t2v._checks import plain, real, take
from t2v.information import log_base

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


# ---------------------------------------------------------------------------------------------- input


def _vectors(values: ArrayLike, name: str) -> Array:
    """Return samples as a float64 array (n, d): finite, no column constant."""
    array = real(values, name)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} has shape {np.shape(values)}; accepted: (n,) or (n, d) with d >= 1")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has NaN or infinite entries; accepted: finite numbers")
    if len(array) == 0:
        raise ValueError(f"{name} is empty; accepted: at least one sample")
    with np.errstate(over="ignore"):
        spread = np.ptp(array, axis=0)
    if not np.isfinite(spread).all():
        raise ValueError(f"{name} spreads over more than a float holds; accepted: a range below 1.8e308")
    constant = np.flatnonzero(spread == 0)
    if len(array) > 1 and len(constant):
        raise ValueError(
            f"{name} is constant in column {constant[0]}; accepted: columns that vary (drop the others)"
        )
    return array


def _labels(values: ArrayLike, name: str) -> Counts:
    """Return labels (or rows of labels) as codes 0, 1, …; codes differ exactly where the labels differ."""
    return labels_of(values, name).codes


def _check_pairs(n_x: int, n_y: int, more_than: int, names: tuple[str, str] = ("x", "y")) -> None:
    if n_x != n_y:
        raise ValueError(
            f"{names[0]} has {n_x} samples and {names[1]} has {n_y}; accepted: pairs, one length for both"
        )
    if n_x <= more_than:
        raise ValueError(f"{names[0]} has {n_x} samples; accepted: more than {more_than}")


def _integer(value: Any, name: str, at_least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r}; accepted: an integer >= {at_least}")
    if value < at_least:
        raise ValueError(f"{name} is {value}; accepted: an integer >= {at_least}")
    return int(value)


def _choice(value: Any, name: str, accepted: Sequence[Any]) -> None:
    if value not in accepted:
        raise ValueError(f"{name} is {value!r}; accepted: {', '.join(map(repr, accepted))}")


# --------------------------------------------------------------------------------------------- labels


#: How the plug-in of labels may be corrected.
CORRECTIONS = (None, "miller_madow", "chao_shen")


def plug_in(x: ArrayLike, y: ArrayLike, correction: str | None = None, base: float = 2) -> float:
    """Estimate I(X;Y) of labels by the mutual information of their observed frequencies.

    Parameters
    ----------
    x, y : array_like, shape (n,) or (n, d)
        Labels of any kind that compare, also columns of a pandas table (strings, categories, whole numbers); the
        rows of a matrix are one label each.
    correction : {None, "miller_madow", "chao_shen"}
        None: the plain plug-in, never negative, too large on average. The others correct each of the three
        entropies of H(X) + H(Y) − H(X,Y). ``"miller_madow"`` adds (m − 1)/2n nats, m the number of symbols that
        occur (Miller 1955): for samples that see most cells several times. ``"chao_shen"`` estimates from the
        symbols that occur once how much probability was not seen at all, and how likely a symbol was to be missed
        (Chao & Shen 2003): for samples with many cells seen once or never. Its bias is smaller there and its
        variance larger.
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    float
        The estimate in units of the base; 0 where x or y is constant. Corrected, it may be negative.

    Raises
    ------
    TypeError, ValueError
        If samples differ in length, there are none, a label is missing or NaN, or an option is unknown.
    """
    _choice(correction, "correction", CORRECTIONS)
    x, y = _labels(x, "x"), _labels(y, "y")
    _check_pairs(len(x), len(y), 0)
    nats, n = log_base(base), len(x)
    n_x, n_y = np.bincount(x), np.bincount(y)
    # Only the cells that occur: labels of binned vectors can be n, their table n × n.
    cells, n_xy = np.unique(x * len(n_y) + y, return_counts=True)
    if correction == "chao_shen":
        return (_chao_shen(n_x) + _chao_shen(n_y) - _chao_shen(n_xy)) / nats
    ratio = np.log(n_xy) + np.log(n) - np.log(n_x[cells // len(n_y)]) - np.log(n_y[cells % len(n_y)])
    value = max(float(n_xy @ ratio) / n, 0.0)
    if correction == "miller_madow":
        value += (len(n_x) + len(n_y) - len(cells) - 1) / (2 * n)
    return value / nats


def _chao_shen(counts: Counts) -> float:
    """Return the coverage-adjusted entropy in nats of counts that are all positive.

    The share of symbols seen once estimates the probability of those never seen (Good and Turing): frequencies
    shrink by the coverage. Then each surprise is divided by the probability that its symbol is seen at all.
    """
    n = counts.sum()
    once = min(
        np.count_nonzero(counts == 1), n - 1
    )  # where all occur once, one fewer: a coverage of 0 says nothing
    p = (1 - once / n) * counts / n
    with np.errstate(divide="ignore"):  # the only symbol there is: certain to be seen
        seen = -np.expm1(n * np.log1p(-p))
    return float(-(np.log(p) * p / seen).sum())


def normalised_plug_in(x: ArrayLike, y: ArrayLike, average: str = "arithmetic") -> float:
    """Estimate I(X;Y) of labels as a share of their entropies, all from the observed frequencies.

    It is never negative, and of independent labels with few samples far from 0: :func:`permutation_test` says how far.

    Parameters
    ----------
    x, y : array_like, shape (n,) or (n, d)
        Labels, as :func:`plug_in` takes them.
    average : {"arithmetic", "geometric", "min", "max", "joint"}
        What the information is divided by: :func:`t2v.information.normalised_mutual_information`.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        As :func:`plug_in`, and if the average is unknown, or 0 because x or y has one value only.
    """
    x, y = _labels(x, "x"), _labels(y, "y")
    _check_pairs(len(x), len(y), 0)
    entropies = (information.entropy(np.unique(v, return_counts=True)[1] / len(v)) for v in (x, y))
    h_x, h_y = entropies
    value = plug_in(x, y)
    return information.share(value, h_x, h_y, h_x + h_y - value, average)


def information_correlation(value: float, base: float = 2) -> float:
    """Return an information on the scale of a correlation, √(1 − exp(−2I)): Linfoot (1957).

    Of two Gaussian numbers it is |ρ|; 0 says independent and 1 that the information is infinite. It makes values
    comparable whose variables are continuous, where no entropy is there to divide by.

    Parameters
    ----------
    value : float
        An information in units of the base. Estimates below 0 keep their sign: −√(1 − exp(−2|I|)).
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    float
        Between −1 and 1.

    Raises
    ------
    TypeError, ValueError
        If the value is NaN or no number, or the base not a number > 1.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"value is {value!r}; accepted: a number")
    if np.isnan(value):
        raise ValueError("value is nan; accepted: an information, finite or inf")
    nats = float(value) * log_base(base)
    return float(np.copysign(np.sqrt(-np.expm1(-2 * abs(nats))), nats))


def discretize(
    x: ArrayLike, bins: int | ArrayLike = 10, strategy: str = "uniform", name: str = "x"
) -> Counts:
    """Replace numbers by the bins that they fall into, column by column.

    Parameters
    ----------
    x : array_like, shape (n,) or (n, d)
        Numbers.
    bins : int or array_like
        Number of bins of each column, or increasing edges that serve every column.
    strategy : {"uniform", "quantile"}
        For a number of bins: equal widths between the column's extremes, or about equal counts.
    name : str
        What error messages call the argument.

    Returns
    -------
    ndarray, shape (n, d)
        Bin numbers from 0.

    Raises
    ------
    TypeError, ValueError
        If x is not finite numbers, is constant in a column (where the bins are not given as edges), falls
        outside the edges, or an option is not as above.
    """
    _choice(strategy, "strategy", ("uniform", "quantile"))
    if np.ndim(bins) == 0:
        count = _integer(bins, "bins")
        x = _vectors(x, name)
        if strategy == "uniform":
            edges = [np.linspace(c.min(), c.max(), count + 1) for c in x.T]
        else:
            edges = [np.quantile(c, np.linspace(0, 1, count + 1)) for c in x.T]
    else:
        x, shared = _between_edges(x, bins, name)
        edges = [shared] * x.shape[1]
    # Inner edges only: the last bin holds its right edge, as in numpy.histogram.
    return np.stack(
        [np.searchsorted(e[1:-1], c, side="right") for e, c in zip(edges, x.T, strict=True)], axis=1
    )


def _between_edges(x: ArrayLike, bins: ArrayLike, name: str) -> tuple[Array, Array]:
    edges = real(bins, "bins")
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(
            "bins is not a list of increasing edges; accepted: an integer, or at least 2 increasing edges"
        )
    x = real(x, name)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2:
        raise ValueError(f"{name} has shape {x.shape}; accepted: (n,) or (n, d)")
    if not ((x >= edges[0]) & (x <= edges[-1])).all():
        raise ValueError(
            f"{name} has entries outside bins (or NaN); accepted: numbers in [{edges[0]:g}, {edges[-1]:g}]"
        )
    return x, edges


def binned(
    x: ArrayLike,
    y: ArrayLike,
    bins: int | ArrayLike = 10,
    *,
    strategy: str = "uniform",
    correction: str | None = None,
    base: float = 2,
) -> float:
    """Estimate I(X;Y) of numbers by cutting every column into bins and plugging in.

    The bins are part of the answer: of a continuous deterministic function of X the true information is
    infinite, and what is printed is the entropy of the bins (chapter 1, claim C04).

    Parameters
    ----------
    x, y : array_like, shape (n,) or (n, d)
        Paired samples.
    bins : int or array_like
        Number of bins of each column, or edges: see :func:`discretize`.
    strategy : {"uniform", "quantile"}
        Equal widths or equal counts.
    correction : {None, "miller_madow", "chao_shen"}
        As in :func:`plug_in`.
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    float
        The estimate in units of the base.

    Raises
    ------
    TypeError, ValueError
        If samples differ in length, are not finite or constant in a column, or an option is unknown.
    """
    x, y = discretize(x, bins, strategy), discretize(y, bins, strategy, name="y")
    return plug_in(x, y, correction, base)


# ------------------------------------------------------------------------------------------ neighbours


def ksg(
    x: ArrayLike,
    y: ArrayLike,
    k: int = 3,
    base: float = 2,
    *,
    variant: int = 1,
    standardise: bool = True,
    workers: int = -1,
) -> float:
    """Estimate I(X;Y) of continuous vectors from distances to the k-th neighbour (Kraskov et al. 2004).

    Distances are in the maximum norm, and neighbours exact. At finite n the estimate depends on the columns' relative
    scales, which units set at will: each column is divided by its own scale, the median distance from its median of the
    values that differ from that, so that neither a unit nor a few huge values (fill values, say) matter.

    Data that repeat, such as rounded numbers, get two things. Equal values and equal distances are told apart by a
    fixed, seeded noise, smaller than 1e-10 of the scale and than a thousandth of the smallest gap between different
    values: else the ties on the boundaries would be counted as information. And where a sample coincides with at least
    k others altogether, the numbers of coincident samples take the neighbours' place (Gao et al. 2017): for labels, the
    estimate approaches the plug-in's.

    Parameters
    ----------
    x, y : array_like, shape (n,) or (n, d)
        Paired samples: lists, arrays, tensors, or columns of a table.
    k : int
        Which neighbour: more means less variance and more bias.
    base : float
        Base of the logarithm (2: bits).
    variant : {1, 2}
        The paper's first (squares, strictly inside) or second (rectangles) estimator.
    standardise : bool
        False: distances in the columns' own units, as in the paper.
    workers : int
        Threads of the neighbour search; -1: one for each core.

    Returns
    -------
    float
        The estimate in units of the base; may be negative.

    Raises
    ------
    TypeError, ValueError
        If samples differ in length, are not finite, constant in a column, or not more than k; or an option is
        unknown.
    """
    k = _integer(k, "k")
    _choice(variant, "variant", (1, 2))
    nats = log_base(base)
    x, y = _vectors(x, "x"), _vectors(y, "y")
    _check_pairs(len(x), len(y), k)
    loose_x, loose_y = _loosened(x, 1, standardise), _loosened(y, 2, standardise)
    both = np.hstack([loose_x, loose_y])
    distance, neighbours = cKDTree(both, leafsize=32).query(both, k + 1, p=np.inf, workers=workers)
    if variant == 1:  # one radius for both margins, counts strictly inside it
        n_x, n_y = (count_within(v, distance[:, -1]) for v in (loose_x, loose_y))
        local = digamma(k) - digamma(n_x + 1) - digamma(n_y + 1)
    else:  # a radius for each margin, its boundary counts
        n_x, n_y = (count_within(v, _spread(v, neighbours), closed=True) for v in (loose_x, loose_y))
        local = digamma(k) - 1 / k - digamma(n_x) - digamma(n_y)
    same = _coincident(np.hstack([x, y]))
    if same.max() > k:
        counted = digamma(same) - digamma(_coincident(x)) - digamma(_coincident(y))
        local = np.where(same > k, counted, local)
    return float((digamma(len(x)) + local.mean()) / nats)


def _loosened(x: Array, stream: int, standardise: bool) -> Array:
    """Return x in columns of scale one (or of their own), with noise that is too small to pass any value by."""
    columns, steps = [], []
    for column in map(_about_zero, x.T):
        scale = _column_scale(column)
        if standardise:
            with np.errstate(over="ignore"):  # the largest float there is, in units of less than one
                column, scale = np.clip(column / scale, -_FAR, _FAR), 1.0
        columns.append(column)
        steps.append(min(1e-10 * scale, _smallest_gap(column) / 1024))
    # An unlikely seed, and a stream for each variable: noise that is also in the data would be information.
    noise = np.random.default_rng([20040623, stream]).standard_normal(x.shape)
    return np.stack(columns, axis=1) + np.array(steps) * noise


#: What standardised numbers are cut at.
_FAR = 1e300


def _middle(ordered: Array) -> float:
    """Return the median of ordered numbers; half of a sum could overflow."""
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(low + (high - low) / 2)


def _about_zero(column: Array) -> Array:
    """Return a column less its median, unless that makes different numbers equal: dates lie far from 0, for instance."""
    moved: Array = column - _middle(np.sort(column))
    return moved if len(np.unique(moved)) == len(np.unique(column)) else column


def _column_scale(column: Array) -> float:
    """Return the median distance from the median of the values that differ from it: a few huge values leave it alone."""
    away = np.sort(np.abs(column - _middle(np.sort(column))))
    return _middle(away[away > 0])


def _smallest_gap(column: Array) -> float:
    """Return the least difference of two values that is more than the dirt of their rounding."""
    values = np.unique(column)
    gaps = np.diff(values)
    dirt = 8 * np.spacing(np.maximum(np.abs(values[1:]), np.abs(values[:-1])))
    return float(gaps[gaps > dirt].min(initial=np.inf))


def _deviation(x: Array) -> Array:
    """Return each column's standard deviation; the squares of its numbers neither over- nor underflow."""
    power = np.frexp(np.abs(x).max(axis=0))[1]
    deviation: Array = np.ldexp(np.ldexp(x, -power).std(axis=0), power)
    return deviation


def _coincident(x: Array) -> Counts:
    """Count for each sample the samples equal to it, itself included."""
    _, code, counts = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    return counts[code.reshape(-1)]


def _spread(x: Array, neighbours: Counts) -> Array:
    """Return each sample's distance (maximum norm) to the farthest of its neighbours in this margin."""
    return np.abs(x[neighbours] - x[:, None]).max(axis=(1, 2))


def mixed(
    x: ArrayLike,
    labels: ArrayLike,
    k: int = 3,
    base: float = 2,
    *,
    standardise: bool = True,
    workers: int = -1,
) -> float:
    """Estimate I(X;L) of continuous vectors against labels (Ross 2014).

    The k-th neighbour among the samples with the same label sets a radius; how many samples of any label lie
    within it says how much the label matters there. Maximum norm; scales, huge values and data that repeat are handled
    as in :func:`ksg`.

    Parameters
    ----------
    x : array_like, shape (n,) or (n, d)
        Vectors.
    labels : array_like, shape (n,) or (n, d)
        Their labels, of any kind that :func:`plug_in` takes.
    k : int
        Which neighbour.
    base : float
        Base of the logarithm (2: bits).
    standardise : bool
        False: distances in the columns' own units.
    workers : int
        Threads of the neighbour search; -1: one for each core.

    Returns
    -------
    float
        The estimate in units of the base; may be negative.

    Raises
    ------
    TypeError, ValueError
        If samples differ in length, x is not finite or constant in a column, there is one label only, or a label has
        k samples or fewer.
    """
    k = _integer(k, "k")
    nats = log_base(base)
    x, (codes, names) = _vectors(x, "x"), labels_of(labels, "labels")
    _check_pairs(len(x), len(codes), k, ("x", "labels"))
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        raise ValueError(f"labels has one value only, {names[0]!r}; accepted: at least two labels")
    if sizes.min() <= k:
        raise ValueError(
            f"labels has {sizes.min()} samples of {names[sizes.argmin()]!r}; accepted: more than k = {k} of each label"
        )
    loose = _loosened(x, 1, standardise)
    radius = np.empty(len(x))
    for code in range(len(sizes)):
        own = loose[codes == code]
        radius[codes == code] = cKDTree(own).query(own, k + 1, p=np.inf, workers=workers)[0][:, -1]
    local = digamma(k) - digamma(count_within(loose, radius) + 1)
    same_label = _coincident(np.column_stack([x, codes]))
    if same_label.max() > k:
        local = np.where(same_label > k, digamma(same_label) - digamma(_coincident(x)), local)
    return float((digamma(len(x)) + np.mean(local - digamma(sizes[codes]))) / nats)


def conditional_ksg(
    x: ArrayLike,
    y: ArrayLike,
    z: ArrayLike,
    k: int = 3,
    base: float = 2,
    *,
    standardise: bool = True,
    workers: int = -1,
) -> float:
    """Estimate I(X;Y|Z) of continuous vectors from distances to the k-th neighbour (Frenzel & Pompe 2007).

    The k-th neighbour in all of (x, y, z) sets a radius; the counts strictly inside it in (x, z), in (y, z) and in z
    take the place of :func:`ksg`'s. Scales, huge values and data that repeat are handled as there, so that z may also
    hold the codes of a label. It is biased towards 0, and the more so the more columns z has.

    Parameters
    ----------
    x, y, z : array_like, shape (n,) or (n, d)
        Samples in threes: what is compared, and what is known already.
    k : int
        Which neighbour: more means less variance and more bias.
    base : float
        Base of the logarithm (2: bits).
    standardise : bool
        False: distances in the columns' own units.
    workers : int
        Threads of the neighbour search; -1: one for each core.

    Returns
    -------
    float
        The estimate in units of the base; may be negative. The exact value of a table is
        :func:`t2v.information.conditional_mutual_information`.

    Raises
    ------
    TypeError, ValueError
        If samples differ in length, are not finite, constant in a column, or not more than k; or an option is
        unknown.
    """
    k = _integer(k, "k")
    nats = log_base(base)
    x, y, z = _vectors(x, "x"), _vectors(y, "y"), _vectors(z, "z")
    _check_pairs(len(x), len(y), k)
    _check_pairs(len(x), len(z), k, ("x", "z"))
    a, b, c = (_loosened(v, stream, standardise) for stream, v in enumerate((x, y, z), start=1))
    every = np.hstack([a, b, c])
    radius = cKDTree(every, leafsize=32).query(every, k + 1, p=np.inf, workers=workers)[0][:, -1]
    n_xz, n_yz, n_z = (count_within(v, radius) + 1 for v in (np.hstack([a, c]), np.hstack([b, c]), c))
    local = digamma(k) - digamma(n_xz) - digamma(n_yz) + digamma(n_z)
    same = _coincident(np.hstack([x, y, z]))
    if same.max() > k:
        m_xz, m_yz, m_z = (_coincident(v) for v in (np.hstack([x, z]), np.hstack([y, z]), z))
        local = np.where(same > k, digamma(same) - digamma(m_xz) - digamma(m_yz) + digamma(m_z), local)
    return float(local.mean() / nats)


def differential_entropy(
    x: ArrayLike, k: int = 3, base: float = 2, *, standardise: bool = True, workers: int = -1
) -> float:
    """Estimate the entropy −E log p(x) of a density from distances to the k-th neighbour (Kozachenko & Leonenko 1987).

    Unlike the entropy of labels it may be negative, and it changes with the unit: of a·x it is log |a| more in each
    column. It is −∞ where single values have a probability of their own, and no estimate says so: data in which a sample
    coincides with k others are refused.

    Parameters
    ----------
    x : array_like, shape (n,) or (n, d)
        Samples.
    k : int
        Which neighbour: more means less variance and more bias.
    base : float
        Base of the logarithm (2: bits).
    standardise : bool
        Whether neighbours are sought in columns of one scale; the value is that of x in its own units either way.
    workers : int
        Threads of the neighbour search; -1: one for each core.

    Returns
    -------
    float
        The estimate in units of the base.

    Raises
    ------
    TypeError, ValueError
        If x is not finite, constant in a column, has not more than k samples, or more than k that coincide.
    """
    k = _integer(k, "k")
    nats = log_base(base)
    x = _vectors(x, "x")
    if len(x) <= k:
        raise ValueError(f"x has {len(x)} samples; accepted: more than {k}")
    if (same := _coincident(x).max()) > k:
        raise ValueError(
            f"x has {same} samples that coincide, more than k = {k}: the entropy of a density with repeats is minus "
            "infinity; accepted: continuous samples (spread rounded ones over their step), or labels "
            "(plug_in of x with itself)"
        )
    columns = [_about_zero(column) for column in x.T]
    scales = np.array([_column_scale(column) if standardise else 1.0 for column in columns])
    points = np.stack(columns, axis=1) / scales
    radius = cKDTree(points, leafsize=32).query(points, k + 1, p=np.inf, workers=workers)[0][:, -1]
    local = x.shape[1] * np.log(2 * radius)  # the volume of the cube round each sample
    return float((digamma(len(x)) - digamma(k) + local.mean() + np.log(scales).sum()) / nats)


def count_within(points: Array, radius: Array, closed: NDArray[np.bool_] | bool = False) -> Counts:
    """Count for every point the other points nearer than its radius, in the maximum norm.

    Exact: the differences that are compared are those that the neighbour search computes, so that a neighbour
    that *sets* a radius is never counted inside it by a rounding. One column is a binary search. More columns
    meet in bit sets: for each column, the set of the points in an interval of ranks is the difference of two
    prefixes, and the columns' sets are intersected 64 points at a time; with 10,000 points this is several
    times faster than a tree, in any dimension.

    Parameters
    ----------
    points : ndarray, shape (n, d)
        Finite numbers.
    radius : ndarray, shape (n,)
        At least 0.
    closed : bool or ndarray of bool, shape (n,)
        Whether a distance equal to the radius counts.

    Returns
    -------
    ndarray, shape (n,)
        Counts that leave the point itself out.
    """
    # One comparison serves both: d <= r is d < (the next number after r).
    limit = np.where(closed, np.nextafter(radius, np.inf), radius)
    orders = [np.argsort(column, kind="stable") for column in points.T]
    ranges = [_interval(column[order], column, limit) for order, column in zip(orders, points.T, strict=True)]
    itself = limit > 0
    if len(ranges) == 1:
        return ranges[0][1] - ranges[0][0] - itself
    counts = np.zeros(len(points), dtype=np.int64)
    for start in range(0, len(points), _CHUNK):
        counts += _count_in_chunk(start, orders, ranges)
    return counts - itself


#: Points whose bit sets are held at once (a table of prefixes takes _CHUNK² / 8 bytes a column); queries at
# once.
_CHUNK, _BLOCK = 1024, 512


def _count_in_chunk(start: int, orders: list[Counts], ranges: list[tuple[Counts, Counts]]) -> Counts:
    """Count for each query the points from ``start`` on, one chunk, that lie in its ranks of every column."""
    tables, local = [], []
    for order, (low, high) in zip(orders, ranges, strict=True):
        here = (order >= start) & (order < start + _CHUNK)
        tables.append(_prefixes(order[here] - start))
        rank = np.concatenate([[0], np.cumsum(here)])
        local.append((rank[low], rank[high]))
    counts = np.empty(len(orders[0]), dtype=np.int64)
    for first in range(0, len(counts), _BLOCK):
        block = slice(first, first + _BLOCK)
        inside = np.full((1, 1), ~np.uint64(0))
        for table, (low, high) in zip(tables, local, strict=True):
            inside = inside & (table[high[block]] ^ table[low[block]])
        counts[block] = _popcount(inside)
    return counts


def _interval(ordered: Array, centre: Array, limit: Array) -> tuple[Counts, Counts]:
    """Return for each centre the ranks [low, high) of the ``ordered`` numbers nearer than its limit."""
    low = _first_nearer(ordered, centre, limit)
    high = len(ordered) - _first_nearer(-ordered[::-1], -centre, limit)
    return low, np.maximum(low, high)


def _first_nearer(ordered: Array, centre: Array, limit: Array) -> Counts:
    """Return for each centre the first rank whose number is less than its limit below it.

    The rounded ``centre - limit`` now and then misplaces the very neighbour that lies on the boundary: from
    where it points, move until the rounded *differences*, which set the radii, agree. Equal numbers are
    passed in one move.
    """
    rank = np.searchsorted(ordered, centre - limit)
    padded = np.concatenate([[-np.inf], ordered, [np.inf]])
    late = np.flatnonzero(centre - padded[rank] < limit)
    while late.size:
        rank[late] = np.searchsorted(ordered, padded[rank[late]])
        late = late[centre[late] - padded[rank[late]] < limit[late]]
    early = np.flatnonzero(centre - padded[rank + 1] >= limit)
    while early.size:
        rank[early] = np.searchsorted(ordered, padded[rank[early] + 1], side="right")
        early = early[centre[early] - padded[rank[early] + 1] >= limit[early]]
    return rank


def _prefixes(order: Counts) -> NDArray[np.uint64]:
    """Return the table whose row r is the bit set of the first r points in this order."""
    words = -(-len(order) // 64)
    table = np.zeros((len(order) + 1, words), dtype=np.uint64)
    table[np.arange(1, len(order) + 1), order // 64] = np.left_shift(
        np.uint64(1), (order % 64).astype(np.uint64)
    )
    return np.bitwise_or.accumulate(table, axis=0)


def _popcount(words: Any) -> Counts:
    """Count the bits of each row."""
    if hasattr(np, "bitwise_count"):
        return np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    return np.unpackbits(words.view(np.uint8), axis=1).sum(axis=1, dtype=np.int64)


# ---------------------------------------------------------------------------------- variational bounds


def infonce(
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: int = 500,
    batch_size: int = 128,
    hidden: int = 64,
    learning_rate: float = 2e-3,
    test_fraction: float = 0.4,
    base: float = 2,
    seed: int = 0,
) -> float:
    """Bound I(X;Y) from below by contrast (InfoNCE, van den Oord et al. 2018), on held-out samples.

    A critic f(x, y) = g(x)·h(y), two small networks, learns to tell the partner of each x among the batch's
    y. The value is the mean of f(x_i, y_i) − log (1/K) Σ_j exp f(x_i, y_j) on held-out batches of K =
    ``batch_size`` pairs: a lower bound in expectation, and never above log K, however large the information.

    Parameters
    ----------
    x, y : array_like, shape (n,) or (n, d)
        Paired samples; each column is standardised, which leaves the information as it is.
    steps, batch_size, learning_rate : int, int, float
        Of the training with Adam.
    hidden : int
        Width of the networks.
    test_fraction : float
        Share of the samples that is held out, in (0, 1): half of it says when to stop, half gives the value.
    base : float
        Base of the logarithm (2: bits).
    seed : int
        Of the split, the initial weights and the batches; the caller's random state is left alone.

    Returns
    -------
    float
        The bound in units of the base.

    Raises
    ------
    TypeError, ValueError
        If samples differ in length, are not finite or constant in a column, a part has fewer than
        ``batch_size`` pairs, or an option is out of range.
    """
    import torch

    nats, log_k = log_base(base), float(np.log(_integer(batch_size, "batch_size", 2)))
    train, stop, test = _split(x, y, test_fraction, batch_size, seed)
    g, h = _networks([train.x.shape[1], train.y.shape[1]], hidden, hidden, seed)

    def bound(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        scores = g(x) @ h(y).T / hidden**0.5
        return (scores.diagonal() - scores.logsumexp(dim=1)).mean() + log_k

    def value(part: _Pairs) -> float:
        batches = zip(part.x.split(batch_size), part.y.split(batch_size), strict=True)
        return float(np.mean([bound(a, b).item() for a, b in batches if len(a) == batch_size]))

    _ascend(bound, [g, h], train, lambda: value(stop), steps, batch_size, learning_rate, seed)
    with torch.no_grad():
        return value(test) / nats


def mine(
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: int = 500,
    batch_size: int = 128,
    hidden: int = 64,
    learning_rate: float = 2e-3,
    test_fraction: float = 0.4,
    base: float = 2,
    seed: int = 0,
) -> float:
    """Bound I(X;Y) from below as MINE does (Belghazi et al. 2018), on samples held out from the training.

    A network f(x, y) ascends the Donsker–Varadhan form of eq. 1, E_p f − log E_{p(x)p(y)} exp f, with the
    moving average of the denominator that MINE uses against the bias of its gradient. The value is the form
    on held-out samples, the second mean over shifted pairs. The logarithm of a sample mean makes it a bound
    only in the limit: at large information it is erratic and may exceed the truth.

    Parameters
    ----------
    x, y : array_like, shape (n,) or (n, d)
        Paired samples; each column is standardised, which leaves the information as it is.
    steps, batch_size, learning_rate : int, int, float
        Of the training with Adam.
    hidden : int
        Width of the network.
    test_fraction : float
        Share of the samples that is held out, in (0, 1): half of it says when to stop, half gives the value.
    base : float
        Base of the logarithm (2: bits).
    seed : int
        Of the split, the initial weights and the batches; the caller's random state is left alone.

    Returns
    -------
    float
        The bound in units of the base.

    Raises
    ------
    TypeError, ValueError
        If samples differ in length, are not finite or constant in a column, a part has fewer than
        ``batch_size`` pairs, or an option is out of range.
    """
    import torch

    nats = log_base(base)
    train, stop, test = _split(x, y, test_fraction, _integer(batch_size, "batch_size", 2), seed)
    (f,) = _networks([train.x.shape[1] + train.y.shape[1]], hidden, 1, seed)
    average = 0.0  # of exp f under the product of the margins

    def surrogate(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return a scalar whose gradient is MINE's corrected one."""
        nonlocal average
        ratio = f(torch.cat([x, y.roll(1, 0)], dim=1)).exp().mean()
        average = ratio.item() if average == 0 else 0.9 * average + 0.1 * ratio.item()
        return f(torch.cat([x, y], dim=1)).mean() - ratio / average

    def value(part: _Pairs) -> float:
        together = f(torch.cat([part.x, part.y], dim=1)).mean().item()
        shifts = range(1, min(len(part.x), 33))
        apart = [f(torch.cat([part.x, part.y.roll(s, 0)], dim=1)).numpy() for s in shifts]
        return float(together - logsumexp(apart) + np.log(np.size(apart)))

    _ascend(surrogate, [f], train, lambda: value(stop), steps, batch_size, learning_rate, seed)
    with torch.no_grad():
        return value(test) / nats


class _Pairs(NamedTuple):
    """Paired samples as float32 tensors."""

    x: torch.Tensor
    y: torch.Tensor


def _split(x: ArrayLike, y: ArrayLike, test_fraction: float, batch_size: int, seed: int) -> list[_Pairs]:
    """Standardise and shuffle; return the parts for training, for stopping, and for the value."""
    import torch

    x, y = _vectors(x, "x"), _vectors(y, "y")
    _check_pairs(len(x), len(y), 1)
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction is {test_fraction!r}; accepted: a number strictly between 0 and 1")
    n_test = int(len(x) * test_fraction / 2)
    smaller = min(n_test, len(x) - 2 * n_test)
    if smaller < batch_size:
        raise ValueError(
            f"batch_size is {batch_size}; accepted: at most {smaller}, the pairs in the smallest part"
        )
    order = np.random.default_rng(seed).permutation(len(x))
    scaled = [((v - v.mean(axis=0)) / _deviation(v))[order].astype(np.float32) for v in (x, y)]
    sizes = [len(x) - 2 * n_test, n_test, n_test]
    parts = [torch.from_numpy(v).split(sizes) for v in scaled]
    return [_Pairs(a, b) for a, b in zip(*parts, strict=True)]


def _networks(n_inputs: list[int], hidden: int, n_outputs: int, seed: int) -> list[torch.nn.Module]:
    """Return one small network for each number of inputs; the caller's random state is left alone."""
    import torch
    from torch import nn, random

    hidden = _integer(hidden, "hidden")
    with random.fork_rng(devices=[]):
        random.default_generator.manual_seed(seed)  # of the CPU alone
        widths = [(n, hidden, hidden, n_outputs) for n in n_inputs]
        # the pairs are float32, whatever the caller's default is
        layers = [[nn.Linear(*pair, dtype=torch.float32) for pair in pairwise(ws)] for ws in widths]
        return [nn.Sequential(a, nn.ReLU(), b, nn.ReLU(), c) for a, b, c in layers]


def _ascend(
    objective: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    networks: list[torch.nn.Module],
    train: _Pairs,
    score: Callable[[], float],
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> None:
    """Climb the objective with Adam on random batches; leave the weights that scored best on the way."""
    import torch

    rng = np.random.default_rng([seed, 1])
    model = torch.nn.ModuleList(networks)
    adam = torch.optim.Adam(model.parameters(), lr=learning_rate)
    best, best_weights = -np.inf, model.state_dict()
    for step in range(_integer(steps, "steps") + 1):
        if step % 25 == 0 or step == steps:
            with torch.no_grad():
                now = score()
            if now > best:
                best, best_weights = now, {name: w.clone() for name, w in model.state_dict().items()}
        batch = torch.from_numpy(rng.choice(len(train.x), batch_size, replace=False))
        adam.zero_grad()
        with torch.enable_grad():
            (-objective(train.x[batch], train.y[batch])).backward()
        adam.step()
    model.load_state_dict(best_weights)


# ------------------------------------------------------------------- shuffled pairs, errors, a yardstick


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """An estimate beside what the same estimator makes of shuffled pairs.

    Attributes
    ----------
    value : float
        The estimate from the pairs as they are.
    p_value : float
        How often pairs without any dependence give as much or more: (1 + shuffles that do)/(1 + shuffles).
    null : ndarray, shape (permutations,)
        The estimates from the shuffled pairs, in increasing order.
    """

    value: float
    p_value: float
    null: Array = field(repr=False)

    @property
    def null_mean(self) -> float:
        """The estimator's bias where the truth is 0, at this number of samples and with these margins."""
        return float(self.null.mean())

    def null_quantile(self, level: float) -> float:
        """Return a quantile of the shuffled estimates: 0.95 gives what one shuffle in twenty exceeds.

        Parameters
        ----------
        level : float
            Between 0 and 1.

        Returns
        -------
        float
            In the estimator's unit.

        Raises
        ------
        ValueError
            If the level is not between 0 and 1.
        """
        if not 0 <= level <= 1:
            raise ValueError(f"level is {level!r}; accepted: a number from 0 to 1")
        return float(np.quantile(self.null, level))


def permutation_test(
    estimator: Callable[..., float],
    x: ArrayLike,
    y: ArrayLike,
    *,
    permutations: int = 199,
    seed: int = 0,
    **options: Any,
) -> PermutationTest:
    """Estimate, and say what the same estimator reports when x and y have nothing to do with each other.

    Shuffling y against x leaves both margins, n and the dimension as they are, and destroys the dependence. If
    the pairs are independent of one another (no time series, no repeated measurements) and X of Y, the value is
    as likely to take any rank among the shuffled ones as any other: the p-value is at most α with probability
    at most α, whatever the estimator and its bias.

    Parameters
    ----------
    estimator : callable
        ``estimator(x, y, **options)``, one of this module's or your own; larger means more dependent.
    x, y : array_like
        Paired samples; the rows of y are shuffled.
    permutations : int
        Number of shuffles. The smallest p-value is 1/(permutations + 1).
    seed : int
        Of the shuffling.
    **options
        Passed to the estimator.

    Returns
    -------
    PermutationTest
        ``value``, ``p_value``, ``null`` and its ``null_mean`` and ``null_quantile(level)``.

    Raises
    ------
    TypeError
        If the estimator cannot be called, or a number has the wrong type.
    ValueError
        If samples differ in length or there is one only, an option is unknown, or the estimator refuses its
        input or returns no finite number.
    """
    if not callable(estimator):
        raise TypeError(f"estimator is {estimator!r}; accepted: a function of x and y that returns a number")
    _integer(permutations, "permutations")
    one, other = _paired(x, y, 1)
    rng = np.random.default_rng(_integer(seed, "seed", 0))
    value = _estimate(estimator, one, other, options)
    null = np.empty(permutations)
    for i in range(permutations):
        shuffled = take(other, rng.permutation(len(other)))
        null[i] = _estimate(estimator, one, shuffled, options, f"in shuffle {i + 1} of {permutations}")
    null.sort()
    # The same pairs in another order are the same value up to rounding: a tie counts against the claim.
    as_much = np.count_nonzero(null >= value - 1e-9 * max(1.0, abs(value)))
    return PermutationTest(value, (1 + as_much) / (1 + permutations), null)


def _estimate(
    estimator: Callable[..., float], x: Any, y: Any, options: dict[str, Any], where: str = ""
) -> float:
    """Return the estimator's value; what it refuses of resampled data is said to be of resampled data."""
    try:
        value = float(estimator(x, y, **options))
    except ValueError as error:
        if not where:
            raise
        raise ValueError(f"{where}: {error}") from error
    if not np.isfinite(value):
        raise ValueError(
            f"{where}{': ' if where else ''}estimator returned {value}; accepted: an estimator whose values are finite"
        )
    return value


def _paired(x: ArrayLike, y: ArrayLike, more_than: int) -> tuple[Any, Any]:
    """Return samples whose rows can be taken: tables and their columns as they are, all else as arrays."""
    one: Any = x if hasattr(x, "iloc") else plain(x, "x")
    other: Any = y if hasattr(y, "iloc") else plain(y, "y")
    if np.ndim(one) == 0 or np.ndim(other) == 0:
        raise ValueError("x or y is a single number; accepted: arrays whose first axis is the sample")
    _check_pairs(len(one), len(other), more_than)
    return one, other


class Estimate(NamedTuple):
    """A value with its standard error, in the same units."""

    value: float
    standard_error: float


def with_error(
    estimator: Callable[..., float],
    x: ArrayLike,
    y: ArrayLike,
    *,
    resamples: int = 40,
    method: str = "half",
    seed: int = 0,
    **options: Any,
) -> Estimate:
    """Estimate, and say by resampling how far the value scatters from data set to data set.

    Parameters
    ----------
    estimator : callable
        ``estimator(x, y, **options)``, one of this module's or your own.
    x, y : array_like
        Paired samples.
    resamples : int
        Number of resampled data sets, at least 2.
    method : {"half", "bootstrap"}
        ``"half"``, the default: random halves without repetition; the scatter of a mean over them is that of
        the mean over the whole. ``"bootstrap"`` (n draws with repetition) makes coincident samples, which a
        neighbour estimator takes for information. For labels both serve.
    seed : int
        Of the resampling.
    **options
        Passed to the estimator.

    Returns
    -------
    Estimate
        ``value`` on all samples, and its ``standard_error``. The error says nothing of the bias, which is
        often the larger.

    Raises
    ------
    TypeError, ValueError
        If samples differ in length, an option is unknown, or the estimator refuses its input: all of it, or a
        resample (a rare label may have too few rows in a half), which the message then says.
    """
    _integer(resamples, "resamples", 2)
    _choice(method, "method", ("half", "bootstrap"))
    one, other = _paired(x, y, 1)
    rng, n = np.random.default_rng(seed), len(one)
    size = n if method == "bootstrap" else n // 2
    whole = _estimate(estimator, one, other, options)
    what = f"{size} of {n} rows" if method == "half" else f"{n} rows drawn with repetition"
    values = []
    for i in range(1, resamples + 1):
        rows = rng.choice(n, size, replace=method == "bootstrap")
        where = f"in resample {i} of {resamples} ({what}), though not in all of the data"
        values.append(_estimate(estimator, take(one, rows), take(other, rows), options, where))
    # Of m from n without repetition, a mean scatters by (1/m − 1/n) S² where the whole's variance is S²/n.
    scale = 1.0 if method == "bootstrap" else (size / (n - size)) ** 0.5
    return Estimate(whole, float(np.std(values, ddof=1) * scale))


def gaussian_information(covariance: ArrayLike, n_x: int, base: float = 2) -> float:
    """Return I(X;Y) of jointly Gaussian vectors in closed form: ½ log |Σ_x| |Σ_y| / |Σ|.

    Parameters
    ----------
    covariance : array_like, shape (n_x + n_y, n_x + n_y)
        Of (X, Y), positive definite.
    n_x : int
        How many of the components are X's: the first ones.
    base : float
        Base of the logarithm (2: bits).

    Returns
    -------
    float
        In units of the base.

    Raises
    ------
    TypeError, ValueError
        If the covariance is not a symmetric positive definite matrix, or ``n_x`` does not leave both vectors
        a component.
    """
    sigma = real(covariance, "covariance")
    if sigma.ndim != 2 or sigma.shape[0] != sigma.shape[1] or not np.allclose(sigma, sigma.T):
        raise ValueError(
            f"covariance has shape {sigma.shape}, or is not symmetric; accepted: a symmetric matrix"
        )
    if not 1 <= _integer(n_x, "n_x") < len(sigma):
        raise ValueError(f"n_x is {n_x}; accepted: 1 to {len(sigma) - 1}")
    if np.linalg.eigvalsh(sigma)[0] <= 0:
        raise ValueError("covariance has an eigenvalue <= 0; accepted: positive definite matrices")
    logs = [np.linalg.slogdet(block)[1] for block in (sigma[:n_x, :n_x], sigma[n_x:, n_x:], sigma)]
    return float((logs[0] + logs[1] - logs[2]) / 2 / log_base(base))


def correlated_gaussians(n: int, rho: float, d: int = 1, seed: int = 0) -> tuple[Array, Array]:
    """Draw the estimators' yardstick: d independent pairs of standard Gaussians with correlation ``rho``.

    Parameters
    ----------
    n : int
        Number of samples.
    rho : float
        Correlation of x_i with y_i, in (−1, 1).
    d : int
        Components of each vector.
    seed : int
        Of the draw.

    Returns
    -------
    x, y : ndarray, shape (n, d)
        Their information is −(d/2) log(1 − rho²).

    Raises
    ------
    TypeError, ValueError
        If a number is out of range.
    """
    if not -1 < rho < 1:
        raise ValueError(f"rho is {rho!r}; accepted: a number strictly between -1 and 1")
    x, noise = np.random.default_rng(seed).standard_normal((2, _integer(n, "n"), _integer(d, "d")))
    return x, rho * x + np.sqrt(1 - rho**2) * noise
