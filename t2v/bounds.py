"""Generalisation bounds, and simulations that try to break them.

Three parts. All logarithms here are natural (nats) unless a name ends in ``bits``; ε is a difference of error
rates.

**PAC bounds of a finite class** (the paper's eq. 3; Shalev-Shwartz and Ben-David, 2014, §4.2). Hoeffding's
inequality and a union bound over the class H give, with probability at least 1 − δ and for every hypothesis
at once, an error on new data within ε of the error on the m samples. :func:`pac` returns ε,
:func:`sample_complexity` solves for m, :func:`violation_rate` draws many samples and counts how often some
hypothesis escapes, :func:`violation_probability` is that number exactly for independent hypotheses.

**Infinite classes**. What counts for a loss of 0 or 1 is in how many ways the class labels 2m points:
:func:`vc` is the bound of Vapnik and Chervonenkis (1971), :func:`sauer` the most labellings that a class of
a given VC dimension has, :func:`half_space` tells whether a half-space labels points in a given way. Covers
serve real-valued losses: :func:`covered` is the bound with the cover's radius paid for.
:func:`vc_log_cover` and :func:`fixed_point` are the paper's count of a network's cover and what its eq. 3
says once ε on both sides is the same number: for 0/1 losses neither belongs to a theorem.

**Compression bounds** (the paper's eq. 5). A learner that stores one binary
label for each cell of a partition of a finite X chooses among 2^K hypotheses, K the number of cells. With
equally likely cells I(T;X) = H(T) = log2 K bits, so log|H| = 2^I log 2 and :func:`information` is a
theorem (note the factor log 2, which the paper's eq. 5 lacks). :func:`lookup_table` simulates that learner,
:func:`lookup_limit` is its expected gap for many cells: a function of 2^I/m alone, so k bits of compression
are worth a factor 2^k in samples. With *unequal* cells 2^{H(T)} can be far below K, and eq. 5 with I(T;X)
is then false: :func:`dust_partition` builds the counterexample. Counting cells (``pac(K log 2, …)``) stays
true. A partition that was chosen with the same samples is not covered by either.

**Typical sequences and the index memoriser** (§4.5, §4.6). :func:`typical_set` counts typical n-sequences
exactly, by types: about 2^{nH} of them hold almost all the probability (Cover and Thomas, 2006, theorem
3.1.2; :func:`smallest_set` for the exact exponent). :func:`index_memoriser` builds the representation that
looks its label up in the training set: on the sample no representation does better at any β of the bottleneck
(:func:`sample_plane` computes both of its informations), and off the sample it is at chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, linprog, minimize_scalar
from scipy.sparse import csr_array
from scipy.special import gammaln, logsumexp, xlogy
from scipy.stats import binom, binomtest, poisson

from t2v import information as exact

Array = NDArray[np.float64]
KINDS = ("one_sided", "two_sided")
#: A sequence is typical up to this rounding of its average surprise (bits a symbol).
ROUNDING = 1e-12
_MAX_TYPES = 5_000_000


# ---------------------------------------------------------------- finite classes


@overload
def pac(log_class_size: float, delta: float, m: float, kind: str = ...) -> float: ...
@overload
def pac(log_class_size: ArrayLike, delta: ArrayLike, m: ArrayLike, kind: str = ...) -> Array: ...
def pac(log_class_size: ArrayLike, delta: ArrayLike, m: ArrayLike, kind: str = "one_sided") -> Any:
    """Return the margin ε of a finite class: eq. 3, the union bound over Hoeffding's inequality.

    ``sqrt((log|H| + log(1/δ)) / 2m)`` bounds true error − training error for all hypotheses at once
    (``"one_sided"``); for the absolute difference (``"two_sided"``) the failure probability doubles and the
    second logarithm becomes log(2/δ). Losses lie in [0, 1], samples are independent.

    Parameters
    ----------
    log_class_size : float or array_like
        Natural logarithm of the number of hypotheses, at least 0 (nats).
    delta : float or array_like
        Probability that the bound may fail, in (0, 1).
    m : float or array_like
        Number of training samples, at least 1.
    kind : {"one_sided", "two_sided"}
        Which difference is bounded.

    Returns
    -------
    float or ndarray
        ε; above 1 it says nothing. Arrays are broadcast.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range or no number; the message names it.
    """
    size = _number("pac", "log_class_size", log_class_size, low=0)
    delta, m = _delta("pac", delta), _number("pac", "m", m, low=1)
    return _scalar(np.sqrt((size + np.log(_sides("pac", kind) / delta)) / (2 * m)))


def sample_complexity(log_class_size: float, epsilon: float, delta: float, kind: str = "one_sided") -> int:
    """Return the least m with ``pac(log_class_size, delta, m, kind) <= epsilon``.

    Parameters
    ----------
    log_class_size : float
        Natural logarithm of the number of hypotheses (nats).
    epsilon : float
        The margin that is wanted, above 0.
    delta : float
        Probability that the bound may fail, in (0, 1).
    kind : {"one_sided", "two_sided"}
        As in :func:`pac`.
    """
    size = _number("sample_complexity", "log_class_size", log_class_size, low=0)
    margin = _number("sample_complexity", "epsilon", epsilon, low=0, open_low=True)
    tail = np.log(_sides("sample_complexity", kind) / _delta("sample_complexity", delta))
    wanted = (size + tail) / (2 * margin**2)
    return max(1, math.ceil(float(wanted) * (1 - 1e-12)))


def hoeffding(epsilon: ArrayLike, m: ArrayLike, kind: str = "one_sided") -> Any:
    """Return exp(−2mε²), Hoeffding's bound on P(*one* fixed hypothesis misses by more than ε).

    Doubled, and capped at 1, for ``kind="two_sided"``.
    """
    epsilon = _number("hoeffding", "epsilon", epsilon, low=0)
    m = _number("hoeffding", "m", m, low=1)
    return _scalar(np.minimum(1.0, _sides("hoeffding", kind) * np.exp(-2 * m * epsilon**2)))


@dataclass(frozen=True)
class Violations:
    """What :func:`violation_rate` counted.

    Attributes
    ----------
    epsilon : float
        The margin that was tested.
    rate : float
        Fraction of the trials in which at least one hypothesis missed by more than ε.
    standard_error : float
        Binomial standard error of ``rate``.
    worst : ndarray, shape (trials,)
        The largest difference over the class in each trial (signed, true − training, if one-sided).
    """

    epsilon: float
    rate: float
    standard_error: float
    worst: Array

    def interval(self, epsilon: float | None = None, level: float = 0.95) -> tuple[float, float]:
        """Return the exact binomial (Clopper–Pearson) interval of the rate at which ``worst`` exceeds ε.

        Parameters
        ----------
        epsilon : float, optional
            Another margin than the one that was tested.
        level : float
            Probability with which the interval holds the true rate, in (0, 1).
        """
        margin = self.epsilon if epsilon is None else epsilon
        broken = int((self.worst > margin + ROUNDING).sum())
        found = binomtest(broken, len(self.worst)).proportion_ci(level, method="exact")
        return float(found.low), float(found.high)


def violation_rate(
    losses: ArrayLike,
    p: ArrayLike,
    delta: float,
    m: int,
    *,
    kind: str = "one_sided",
    epsilon: float | None = None,
    trials: int = 1000,
    seed: int = 0,
) -> Violations:
    """Draw ``trials`` training sets and count how often some hypothesis of a finite class breaks its bound.

    Parameters
    ----------
    losses : array_like, shape (hypotheses, points)
        Loss in [0, 1] of each hypothesis at each point of the sample space (an x, or a pair x, y).
    p : array_like, shape (points,)
        The distribution from which the m samples come.
    delta, m, kind
        As in :func:`pac`, which gives the margin with log|H| = log(number of rows).
    epsilon : float, optional
        Test this margin in place of the bound's.
    trials, seed : int
        Number of training sets; seed of their drawing.

    Returns
    -------
    Violations
    """
    loss = np.asarray(losses, float)
    p = exact.check_distribution(p, "p", ndim=1)
    if loss.ndim != 2 or loss.shape[1] != len(p) or loss.shape[0] == 0:
        raise ValueError(f"violation_rate: losses has shape {loss.shape}; accepted: (hypotheses, {len(p)})")
    if not ((loss >= 0) & (loss <= 1)).all():
        raise ValueError(
            "violation_rate: losses has entries outside [0, 1] (or NaN); accepted: losses in [0, 1]"
        )
    m, trials = _count("violation_rate", "m", m), _count("violation_rate", "trials", trials)
    _sides("violation_rate", kind)
    if epsilon is None:
        margin = pac(math.log(len(loss)), delta, m, kind)
    else:
        margin = float(_number("violation_rate", "epsilon", epsilon, low=0))
    rng = np.random.default_rng(seed)
    worst = np.empty(trials)
    for start in range(0, trials, 256):  # in blocks: memory stays at 256 × hypotheses
        difference = loss @ p - _drawn(rng, p / p.sum(), m, min(256, trials - start)) @ loss.T / m
        difference = difference if kind == "one_sided" else np.abs(difference)
        worst[start : start + len(difference)] = difference.max(1)
    rate = float((worst > margin + ROUNDING).mean())
    return Violations(margin, rate, math.sqrt(rate * (1 - rate) / trials), worst)


def _drawn(rng: np.random.Generator, p: Array, m: int, trials: int) -> Any:
    """Return how often each point is in each of ``trials`` samples, (trials, points)."""
    if 4 * m >= len(p):
        return rng.multinomial(m, p, size=trials)
    # A small sample leaves most points out: drawing and multiplying their zeros would be most of the work.
    points = rng.choice(len(p), size=trials * m, p=p)
    starts = np.arange(0, trials * m + 1, m)
    return csr_array((np.ones(trials * m), points, starts), shape=(trials, len(p)))


def violation_probability(risks: ArrayLike, epsilon: float, m: int, kind: str = "one_sided") -> float:
    """Return P(some hypothesis misses by more than ε) exactly, for hypotheses that err independently.

    Each training error is then Binomial(m, risk)/m: the case in which the union bound loses least.

    Parameters
    ----------
    risks : array_like, shape (hypotheses,)
        True errors, in [0, 1].
    epsilon : float
        The margin, at least 0.
    m : int
        Number of samples.
    kind : {"one_sided", "two_sided"}
        True − training error, or its absolute value.
    """
    risk = _number("violation_probability", "risks", risks, low=0)
    if (risk > 1).any():
        raise ValueError("violation_probability: risks has entries above 1; accepted: error rates in [0, 1]")
    margin = float(_number("violation_probability", "epsilon", epsilon, low=0))
    m = _count("violation_probability", "m", m)
    # Errors k with risk − k/m > ε, that is k < m(risk − ε): rounding must not move an exact tie.
    below = binom.cdf(np.ceil(m * (risk - margin) - 1e-9) - 1, m, risk)
    if _sides("violation_probability", kind) == 2:
        below = below + binom.sf(np.floor(m * (risk + margin) + 1e-9), m, risk)
    return abs(float(np.expm1(np.log1p(-np.minimum(below, 1 - 1e-16)).sum())))


# ---------------------------------------------------------------- infinite classes: labellings


def sauer(dimension: int, n: int) -> float:
    """Return log Σ_{i ≤ d} C(n, i) in nats: no class of VC dimension d labels n points in more ways.

    The lemma of Sauer (1972) and Shelah, and of Vapnik and Chervonenkis (1971). From n ≤ d on the sum is 2^n.

    Parameters
    ----------
    dimension : int
        VC dimension d of the class, at least 0.
    n : int
        Number of points, at least 1.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range or no integer; the message names it.
    """
    d, n = _count("sauer", "dimension", dimension, low=0), _count("sauer", "n", n)
    if d >= n:
        return n * math.log(2)
    i = np.arange(d + 1)
    return float(logsumexp(gammaln(n + 1) - gammaln(i + 1) - gammaln(n - i + 1)))


@overload
def vc(log_growth: float, delta: float, m: float, kind: str = ...) -> float: ...
@overload
def vc(log_growth: ArrayLike, delta: ArrayLike, m: ArrayLike, kind: str = ...) -> Array: ...
def vc(log_growth: ArrayLike, delta: ArrayLike, m: ArrayLike, kind: str = "one_sided") -> Any:
    """Return the margin of a class, infinite or not, from the number of ways in which it labels 2m points.

    ``sqrt(8 (log Π(2m) + log(2/δ)) / m)`` for true − training error, log(4/δ) for the absolute difference:
    2Π(2m)e^{−mε²/8} = δ, by symmetrisation with a second sample (Vapnik and Chervonenkis, 1971). For a
    class that labels all 2m points in every way it is above sqrt(16 log 2) = 3.3, whatever m is: a limit of
    this proof, as such a class may be finite (all rules on 2m points, for which :func:`pac` gives 0.84).

    Parameters
    ----------
    log_growth : float or array_like
        log Π(2m), the natural logarithm of the largest number of labellings of **2m** points (of loss
        patterns, if there are more than two classes); ``sauer(d, 2 * m)`` bounds it.
    delta, m, kind
        As in :func:`pac`; the loss is 0 or 1.

    Returns
    -------
    float or ndarray
        ε; above 1 it says nothing. Arrays are broadcast.
    """
    growth = _number("vc", "log_growth", log_growth, low=0)
    delta, m = _delta("vc", delta), _number("vc", "m", m, low=1)
    return _scalar(np.sqrt(8 * (growth + np.log(2 * _sides("vc", kind) / delta)) / m))


def half_space(points: ArrayLike, labels: ArrayLike) -> tuple[Array, float] | None:
    """Return (w, b) with w·x + b > 0 exactly at the points that are labelled true, or None if there is none.

    A linear programme: the largest t with ±(w·x + b) ≥ t at all points, entries of w and b within ±1.

    Parameters
    ----------
    points : array_like, shape (n, dimension)
        The points.
    labels : array_like of bool, shape (n,)
        On which side each has to lie.
    """
    x, y = np.asarray(points, float), np.asarray(labels)
    if x.ndim != 2 or x.size == 0 or not np.isfinite(x).all():
        raise ValueError(f"half_space: points has shape {x.shape}; accepted: finite numbers (n, dimension)")
    if y.shape != (len(x),) or y.dtype != np.bool_:
        raise ValueError(
            f"half_space: labels has shape {y.shape} and type {y.dtype}; accepted: {len(x)} truth values"
        )
    centre, scale = x.mean(0), max(float(np.abs(x - x.mean(0)).max()), 1e-300)
    signed = np.where(y, 1.0, -1.0)[:, None] * np.column_stack([(x - centre) / scale, np.ones(len(x))])
    cost = np.zeros(x.shape[1] + 2)
    cost[-1] = -1  # maximise t
    rows = np.column_stack([-signed, np.ones(len(x))])
    found = linprog(cost, A_ub=rows, b_ub=np.zeros(len(x)), bounds=[(-1, 1)] * len(cost))
    if not found.success or found.x[-1] < 1e-7:
        return None
    w = found.x[:-2] / scale
    return w, float(found.x[-2] - w @ centre)


# ---------------------------------------------------------------- infinite classes: covers


def vc_dimension(n_parameters: ArrayLike) -> Any:
    """Return |θ| log|θ| (natural log), the paper's order of a network's VC dimension with a constant of 1.

    That order is for threshold units (Baum and Haussler, 1989). With ReLU units and L layers it is larger,
    of order L |θ| log|θ| (Bartlett and others, 2019), so this errs on the side of a bound that looks better
    than it is.
    """
    count = _number("vc_dimension", "n_parameters", n_parameters, low=2)
    return _scalar(xlogy(count, count))


@overload
def vc_log_cover(n_parameters: float, epsilon: float) -> float: ...
@overload
def vc_log_cover(n_parameters: ArrayLike, epsilon: ArrayLike) -> Array: ...
def vc_log_cover(n_parameters: ArrayLike, epsilon: ArrayLike) -> Any:
    """Return log|H_ε| = d log(1/ε) in nats, with d = |θ| log|θ| (the paper's count below eq. 3).

    A count and not a theorem: covers of (1/ε)^d elements, d the VC dimension, exist in the mean distance
    under a distribution (Haussler, 1995), which does not control the error on a sample. In the uniform
    distance two different 0/1 losses are 1 apart: below a radius of 1/2 each element of a cover serves one
    loss only, and with elements from the class itself that is so below 1.

    Parameters
    ----------
    n_parameters : float or array_like
        |θ|, at least 2.
    epsilon : float or array_like
        Radius of the cover, in (0, 1].
    """
    radius = _number("vc_log_cover", "epsilon", epsilon, low=0, open_low=True)
    if (radius > 1).any():
        raise ValueError(f"vc_log_cover: epsilon is {radius}; accepted: a radius in (0, 1]")
    return _scalar(vc_dimension(n_parameters) * -np.log(radius))


def log_float_class(n_parameters: float, bits: int = 32) -> float:
    """Return the log-size (nats) of the class of all settings of ``n_parameters`` numbers of ``bits`` bits.

    A network on a computer is a finite class: for it eq. 3 is a theorem, with no cover and no VC dimension.
    """
    count = _number("log_float_class", "n_parameters", n_parameters, low=1)
    return float(count * _count("log_float_class", "bits", bits) * math.log(2))


def fixed_point(dimension: float, delta: float, m: int, kind: str = "one_sided") -> float:
    """Solve eq. 3 with one and the same ε on both sides: 2mε² = d log(1/ε) + log(1/δ).

    The right side falls in ε and the left rises: there is one solution. It is below 1 as soon as 2m >
    log(1/δ), whatever d is, because a cover of radius 1 has one element: for d far above m this reading of
    eq. 3 approaches 1 from below and never exceeds it. It is the equation that the paper prints, and no
    theorem: it forgets the radius (see :func:`covered`), and for 0/1 losses no cover has that size
    (see :func:`vc_log_cover`).

    Parameters
    ----------
    dimension : float
        d of the cover, log|H_ε| = d log(1/ε); above 0.
    delta, m, kind
        As in :func:`pac`.
    """
    d = float(_number("fixed_point", "dimension", dimension, low=0, open_low=True))
    tail = math.log(_sides("fixed_point", kind) / float(_delta("fixed_point", delta)))
    m = _count("fixed_point", "m", m)
    top = max(1.0, math.sqrt(tail / (2 * m))) * (1 + 1e-12)
    return float(
        brentq(lambda e: 2 * m * e * e + d * math.log(e) - tail, 1e-300, top, xtol=1e-15, rtol=1e-14)
    )


def covered(dimension: float, delta: float, m: int, kind: str = "one_sided") -> tuple[float, float]:
    """Return ``(epsilon, radius)``: a bound for *real-valued* losses from a uniform cover, at the best radius.

    If every hypothesis has a neighbour in the cover whose loss differs by at most r at **every point**, then
    its training and its true error each differ by at most r from the neighbour's: ε = 2r + sqrt((d log(1/r)
    + log(1/δ))/2m). So it is a theorem for losses in [0, 1] with covers of (1/r)^d elements in the uniform
    distance, as when d numbers in [0, 1] are fitted and no loss moves faster than they do.

    It is **no bound for 0/1 losses** with d their VC dimension: two different losses are 1 apart, so below
    r = 1/2 a cover has an element for each, and from r = 1/2 on the term 2r is 1 by itself. Use :func:`vc`.

    Parameters
    ----------
    dimension : float
        d of the uniform cover, log|H_r| = d log(1/r); above 0.
    delta, m, kind
        As in :func:`pac`.
    """
    d = float(_number("covered", "dimension", dimension, low=0, open_low=True))
    delta, m = float(_delta("covered", delta)), _count("covered", "m", m)

    def margin(log_radius: float) -> float:
        return 2 * math.exp(log_radius) + float(pac(-d * min(log_radius, 0.0), delta, m, kind))

    # The minimum may sit at the end r = 1, where the root turns steep: a grid first, then a local search.
    grid = np.linspace(math.log(1e-12), 0.0, 2001)
    best = int(np.argmin([margin(g) for g in grid]))
    inside = minimize_scalar(
        margin, bounds=(grid[max(best - 1, 0)], grid[min(best + 1, 2000)]), method="bounded"
    )
    at = min((float(inside.x), float(grid[best])), key=margin)
    return margin(at), math.exp(at)


# ---------------------------------------------------------------- compression bounds


@overload
def information(i_bits: float, delta: float, m: float, kind: str = ...) -> float: ...
@overload
def information(i_bits: ArrayLike, delta: ArrayLike, m: ArrayLike, kind: str = ...) -> Array: ...
def information(i_bits: ArrayLike, delta: ArrayLike, m: ArrayLike, kind: str = "one_sided") -> Any:
    """Return ε of eq. 5 with its factor log 2: sqrt((2^I log 2 + log(1/δ)) / 2m).

    A theorem for a binary label on each of 2^I equally likely cells that were fixed before the data: it
    equals ``pac(2**I * log(2), delta, m)``. Otherwise a heuristic; see :func:`dust_partition` for where it
    fails. The paper prints 2^I without the log 2.

    Parameters
    ----------
    i_bits : float or array_like
        I(T;X) in *bits*, at least 0.
    delta, m, kind
        As in :func:`pac`.
    """
    bits = _number("information", "i_bits", i_bits, low=0)
    delta, m = _delta("information", delta), _number("information", "m", m, low=1)
    tail = np.log(_sides("information", kind) / delta)
    # hypot and half the exponent: 2^I itself would overflow from 1,024 bits on.
    return _scalar(np.hypot(np.exp2(bits / 2) * np.sqrt(math.log(2) / (2 * m)), np.sqrt(tail / (2 * m))))


def expected_gap(i_bits: ArrayLike, m: ArrayLike, sigma: ArrayLike = 0.5) -> Any:
    """Bound the expected gap between test and training loss by what the weights know about the data.

    √(2σ² ln 2 · I(D;W)/m), for m samples that are independent given the task, and a loss whose deviations are no wider than
    a Gaussian's of standard deviation σ for every w (Xu and Raginsky 2017, theorem 1). Given the task, I is I(D;W|θ); the
    larger I(D;W) will do.

    Parameters
    ----------
    i_bits : array_like
        Information in bits, at least 0.
    m : array_like
        Samples, at least 1.
    sigma : array_like
        In the loss's unit, at least 0; half its range will do (Hoeffding), so ½ for errors.

    Returns
    -------
    float or ndarray
        In the loss's unit.
    """
    bits = _number("expected_gap", "i_bits", i_bits, low=0)
    samples = _number("expected_gap", "m", m, low=1)
    width = _number("expected_gap", "sigma", sigma, low=0)
    return _scalar(width * np.sqrt(2 * math.log(2) * bits / samples))


def clopper_pearson(errors: int, m: int, delta: float = 0.05) -> float:
    """Return the exact upper bound of an error rate from a count on samples that training never saw.

    The largest p for which so few errors in m tries have probability δ (Clopper and Pearson 1934): with probability at
    least 1 − δ the true error rate is no larger.

    Parameters
    ----------
    errors, m : int
        Wrong answers, and samples.
    delta : float
        In (0, 1).
    """
    from scipy.stats import beta

    wrong = _count("clopper_pearson", "errors", errors, low=0)
    tries = _count("clopper_pearson", "m", m)
    if wrong > tries:
        raise ValueError(f"clopper_pearson: errors is {wrong}; accepted: at most m = {tries}")
    miss = float(_delta("clopper_pearson", delta))
    return 1.0 if wrong == tries else float(beta.ppf(1 - miss, wrong + 1, tries - wrong))


def coarsen(joint: ArrayLike, cells: ArrayLike) -> Array:
    """Return p(t, y) of a hard partition: the rows of ``joint`` p(x, y) added up by cell.

    Parameters
    ----------
    joint : array_like, shape (n_x, classes)
        p(x, y).
    cells : array_like of int, shape (n_x,)
        The cell of each x, numbered from 0; cells that no x falls into keep an empty row.
    """
    table = exact.check_distribution(joint, "joint", ndim=2)
    index = np.asarray(cells)
    if index.shape != (len(table),) or not np.issubdtype(index.dtype, np.integer) or index.min() < 0:
        raise ValueError(
            f"coarsen: cells has shape {index.shape} and type {index.dtype}; "
            f"accepted: {len(table)} integers of at least 0, the cell of each x"
        )
    result = np.zeros((int(index.max()) + 1, table.shape[1]))
    np.add.at(result, index, table)
    return result


@dataclass(frozen=True)
class Lookup:
    """Errors of the lookup-table learner, one entry a training set; ``gap`` is true − training error."""

    train_error: Array
    true_error: Array

    @property
    def gap(self) -> Array:
        """True minus training error, shape (trials,)."""
        return self.true_error - self.train_error


def lookup_table(joint: ArrayLike, m: int, *, trials: int = 1000, seed: int = 0) -> Lookup:
    """Train a lookup table on m samples, ``trials`` times: each cell gets the label that is commonest there.

    Where labels tie (an empty cell: all of them) the table picks one by a fair coin, and the expectation
    over the coin is returned.

    Parameters
    ----------
    joint : array_like, shape (cells, classes)
        p(t, y), for instance from :func:`coarsen`. For a binary label the class has 2^cells hypotheses.
    m : int
        Number of training samples.
    trials, seed : int
        Number of training sets; seed of their drawing.

    Returns
    -------
    Lookup
        Training and true errors, shape (trials,).
    """
    p = exact.check_distribution(joint, "joint", ndim=2)
    m, trials = _count("lookup_table", "m", m), _count("lookup_table", "trials", trials)
    rng = np.random.default_rng(seed)
    train, true = np.empty(trials), np.empty(trials)
    block = max(1, 4_000_000 // p.size)
    for start in range(0, trials, block):
        size = min(block, trials - start)
        counts = rng.multinomial(m, (p / p.sum()).ravel(), size=size).reshape(size, *p.shape)
        top = counts.max(-1, keepdims=True)
        chosen = counts == top
        hit = (p * chosen).sum(-1) / chosen.sum(-1)
        train[start : start + size] = 1 - top.sum((1, 2)) / m
        true[start : start + size] = 1 - hit.sum(-1)
    return Lookup(train, true)


def lookup_limit(samples_per_cell: ArrayLike, noise: float = 0.5) -> Any:
    """Return the expected gap of a lookup table with many equally likely cells: a function of m/2^I alone.

    With K cells and m samples, K → ∞ at fixed load λ = m/K, the two counts of a cell (right label, wrong
    label) are independent Poisson variables of means λ(1 − noise) and λ·noise. The gap is the mean of their
    minimum over λ, taken from the probability that the majority is wrong. This is claim C19 in one formula:
    the number of cells and the number of samples enter through their ratio.

    Parameters
    ----------
    samples_per_cell : float or array_like
        λ = m / 2^I, above 0.
    noise : float
        Probability of the rarer label in each cell, in [0, 1/2]; 1/2 (the default) makes labels pure noise.
    """
    load = _number("lookup_limit", "samples_per_cell", samples_per_cell, low=0, open_low=True)
    rate = float(_number("lookup_limit", "noise", noise, low=0))
    if rate > 0.5:
        raise ValueError(f"lookup_limit: noise is {noise}; accepted: a number from 0 to 1/2")
    return _scalar(np.vectorize(_poisson_gap, otypes=[float])(load, rate))


def _poisson_gap(load: float, noise: float) -> float:
    top = int(load + 12 * math.sqrt(load) + 30)  # the Poisson mass beyond is below 1e-15
    k = np.arange(top + 1)
    right, rarer = poisson(load * (1 - noise)), poisson(load * noise)
    wrong, tie = rarer.pmf(k) @ right.cdf(k - 1), rarer.pmf(k) @ right.pmf(k)
    true_error = noise + (1 - 2 * noise) * (wrong + tie / 2)
    return float(true_error - rarer.sf(k) @ right.sf(k) / load)  # E min = Σ_k P(both above k)


def dust_partition(m: int, dust: float = 0.5, load: float = 0.2) -> Array:
    """Return p(t, y) of a partition that breaks eq. 5: one big cell, and dust so fine that it is memorised.

    Half of the probability (``dust``) lies on ``dust·m/load`` cells, so few samples share a cell; their
    labels are fair coins, the big cell's label is always 0. The gap is close to dust/2 for every m, but
    2^{I(T;X)} = 2^{H(T)} grows only as a power ``dust`` of m, and eq. 5 promises a gap that goes to 0.

    Parameters
    ----------
    m : int
        The number of samples that the partition is built against.
    dust : float
        Probability of all small cells together, in (0, 1).
    load : float
        Expected samples in a small cell, above 0.

    Returns
    -------
    ndarray, shape (1 + round(dust·m/load), 2)
    """
    share = float(_number("dust_partition", "dust", dust, low=0, open_low=True))
    per_cell = float(_number("dust_partition", "load", load, low=0, open_low=True))
    if share >= 1:
        raise ValueError(f"dust_partition: dust is {dust}; accepted: a probability in (0, 1)")
    grains = max(1, round(share * _count("dust_partition", "m", m) / per_cell))
    joint = np.full((grains + 1, 2), share / grains / 2)
    joint[0] = 1 - share, 0
    return joint


# ---------------------------------------------------------------- typical sequences


@dataclass(frozen=True)
class TypicalSet:
    """The ε-typical sequences of length n of an i.i.d. source (all logarithms in base 2).

    Attributes
    ----------
    log2_count : float
        log2 of their exact number; −inf if there is none.
    probability : float
        Probability that a sequence is typical.
    entropy : float
        H of one symbol, bits.
    n : int
        The length.
    epsilon : float
        Typical: the average surprise of the symbols is within ε bits of H.
    """

    log2_count: float
    probability: float
    entropy: float
    n: int
    epsilon: float

    @property
    def rate(self) -> float:
        """log2(count)/n: tends to H as n grows and ε falls."""
        return self.log2_count / self.n

    @property
    def log2_bounds(self) -> tuple[float, float]:
        """The theorem's bounds on ``log2_count``: log2 P + n(H − ε) and n(H + ε)."""
        low = math.log2(self.probability) if self.probability > 0 else -math.inf
        return low + self.n * (self.entropy - self.epsilon), self.n * (self.entropy + self.epsilon)


def typical_set(p: ArrayLike, n: int, epsilon: float) -> TypicalSet:
    """Count the typical sequences of length n exactly, by their types (how often each symbol occurs).

    All sequences of one type have one probability, and their number is a multinomial coefficient, so that
    2^{nH} sequences are counted in the time of C(n + k − 1, k − 1) types.

    Parameters
    ----------
    p : array_like, shape (k,)
        Distribution of one symbol; symbols of probability zero never occur and are left out.
    n : int
        Length of the sequences.
    epsilon : float
        Tolerance on the average surprise, bits a symbol, at least 0.

    Returns
    -------
    TypicalSet

    Raises
    ------
    ValueError
        If there are more than five million types.
    """
    tolerance = float(_number("typical_set", "epsilon", epsilon, low=0))
    surprise, log_count, h = _by_type("typical_set", p, n)
    log_count = log_count[keep := np.abs(surprise - h) <= tolerance + ROUNDING]
    if not keep.any():
        return TypicalSet(-math.inf, 0.0, h, n, tolerance)
    log_mass = log_count - n * surprise[keep] * math.log(2)
    mass = min(1.0, float(np.exp(logsumexp(log_mass))))
    return TypicalSet(float(logsumexp(log_count)) / math.log(2), mass, h, n, tolerance)


def smallest_set(p: ArrayLike, n: int, delta: float) -> float:
    """Return log2 of the size of the smallest set of n-sequences that has probability at least 1 − δ.

    Divided by n it tends to H for *every* δ in (0, 1) (Cover and Thomas, 2006, theorem 3.3.1): this is the
    exact sense of "about 2^{nH} sequences". (The ε-typical set of a fixed ε is larger, about 2^{n(H + ε)}.)

    Parameters
    ----------
    p : array_like, shape (k,)
        Distribution of one symbol.
    n : int
        Length of the sequences.
    delta : float
        Probability that may be left out, in (0, 1).
    """
    target = 1 - float(_delta("smallest_set", delta))
    surprise, log_count, _ = _by_type("smallest_set", p, n)
    order = np.argsort(surprise, kind="stable")  # the likeliest sequences first
    log_sequence = -n * surprise[order] * math.log(2)
    log_count = log_count[order]
    mass = np.cumsum(np.exp(log_count + log_sequence))
    last = min(int(np.searchsorted(mass, target * (1 - ROUNDING))), len(mass) - 1)
    before = mass[last - 1] if last else 0.0
    # Of the last type, only as many sequences as it takes.
    needed = math.log(max(target - before, 1e-300)) - log_sequence[last]
    whole = np.append(log_count[:last], np.clip(needed, 0.0, log_count[last]))
    return float(logsumexp(whole)) / math.log(2)


def _by_type(where: str, p: ArrayLike, n: int) -> tuple[Array, Array, float]:
    """Return each type's average surprise (bits) and log-number of sequences (nats), and the entropy."""
    source = exact.check_distribution(p, "p", ndim=1)
    source = source[source > 0]
    n = _count(where, "n", n)
    number = math.comb(n + len(source) - 1, len(source) - 1)
    if number > _MAX_TYPES:
        raise ValueError(
            f"{where}: {len(source)} symbols and n = {n} have {number} types; accepted: at most {_MAX_TYPES}"
        )
    types = _types(n, len(source))
    log_count = gammaln(n + 1) - gammaln(types + 1).sum(1)
    return types @ -np.log2(source) / n, log_count, exact.entropy(source)


def _types(n: int, k: int) -> NDArray[np.int64]:
    """Return all ways to write n as an ordered sum of k counts, shape (types, k)."""
    rows = np.zeros((1, 0), np.int64)
    left = np.array([n])
    for _ in range(k - 1):
        choices = left + 1
        first = np.concatenate([np.arange(c) for c in choices])
        rows = np.column_stack([np.repeat(rows, choices, axis=0), first])
        left = np.repeat(left, choices) - first
    return np.column_stack([rows, left])


# ---------------------------------------------------------------- the index memoriser


@dataclass(frozen=True)
class PlanePoint:
    """Where a representation lies for x uniform on some points: two informations in bits, and an accuracy."""

    i_tx: float
    i_ty: float
    accuracy: float


def index_memoriser(labels: ArrayLike, sample: ArrayLike, n_classes: int | None = None) -> Array:
    """Return the encoder that stores the label of each training index, and throws a die for the rest.

    On the sample T is the label itself: I(T;X) = I(T;Y) = H(Y), the corner of the bottleneck that no
    representation passes, since I(T;X) ≥ I(T;Y) and I(T;Y) ≤ H(Y). Off the sample T has nothing to do with X.

    Parameters
    ----------
    labels : array_like of int, shape (n_x,)
        The label of each x of a finite input space.
    sample : array_like of int
        The indices of the training set.
    n_classes : int, optional
        Number of labels; the largest label plus one by default.

    Returns
    -------
    ndarray, shape (n_x, n_classes)
        Rows p(t|x): one-hot on the sample, uniform elsewhere.
    """
    y = _labels("index_memoriser", "labels", labels)
    seen = _labels("index_memoriser", "sample", sample)
    if seen.max() >= len(y):
        raise ValueError(f"index_memoriser: sample has index {seen.max()}; accepted: 0 … {len(y) - 1}")
    classes = int(y.max()) + 1 if n_classes is None else _count("index_memoriser", "n_classes", n_classes)
    if y.max() >= classes:
        raise ValueError(f"index_memoriser: labels has {y.max()}; accepted: below n_classes = {classes}")
    encoder = np.full((len(y), classes), 1 / classes)
    encoder[seen] = np.eye(classes)[y[seen]]
    return encoder


def sample_plane(encoder: ArrayLike, labels: ArrayLike, points: ArrayLike | None = None) -> PlanePoint:
    """Return I(T;X), I(T;Y) in bits and the accuracy of reading T as the label, for x uniform on ``points``.

    Parameters
    ----------
    encoder : array_like, shape (n_x, n_t)
        Rows p(t|x).
    labels : array_like of int, shape (n_x,)
        The label of each x, below n_t if accuracy is to mean anything.
    points : array_like of int, optional
        Indices of the inputs that count (the sample, or what lies off it); all by default.
    """
    rows = exact.check_channel(encoder, "encoder")
    y = _labels("sample_plane", "labels", labels)
    if len(y) != len(rows):
        raise ValueError(
            f"sample_plane: labels has {len(y)} entries and encoder {len(rows)} rows; accepted: as many"
        )
    where = np.arange(len(y)) if points is None else _labels("sample_plane", "points", points)
    if where.max() >= len(y):
        raise ValueError(f"sample_plane: points has index {where.max()}; accepted: 0 … {len(y) - 1}")
    rows, y = rows[where], y[where]
    joint_ty = np.zeros((int(y.max()) + 1, rows.shape[1]))
    np.add.at(joint_ty, y, rows / len(y))
    read = np.eye(max(rows.shape[1], len(joint_ty)))[y][:, : rows.shape[1]]
    return PlanePoint(
        exact.mutual_information(rows / len(y)),
        exact.mutual_information(joint_ty),
        float((rows * read).sum(1).mean()),
    )


# ---------------------------------------------------------------- arguments


def _number(where: str, name: str, value: ArrayLike, *, low: float, open_low: bool = False) -> Array:
    raw = np.asarray(value)
    if raw.dtype.kind not in "iuf":
        raise TypeError(f"{where}: {name} is {value!r}; accepted: a number")
    array = raw.astype(np.float64)
    if not (np.isfinite(array).all() and (array > low if open_low else array >= low).all()):
        bound = f"above {low}" if open_low else f"of at least {low}"
        raise ValueError(f"{where}: {name} is {value!r}; accepted: a finite number {bound}")
    return array


def _delta(where: str, value: ArrayLike) -> Array:
    array = _number(where, "delta", value, low=0, open_low=True)
    if (array >= 1).any():
        raise ValueError(f"{where}: delta is {value!r}; accepted: a probability in (0, 1)")
    return array


def _count(where: str, name: str, value: Any, *, low: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{where}: {name} is {value!r}; accepted: an integer")
    if value < low:
        raise ValueError(f"{where}: {name} is {value}; accepted: an integer of at least {low}")
    return int(value)


def _labels(where: str, name: str, value: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(value)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer) or array.min() < 0:
        raise ValueError(
            f"{where}: {name} has shape {array.shape} and type {array.dtype}; "
            "accepted: a list of integers of at least 0"
        )
    return array.astype(np.int64)


def _sides(where: str, kind: str) -> int:
    if kind not in KINDS:
        raise ValueError(f"{where}: kind is {kind!r}; accepted: {', '.join(KINDS)}")
    return 1 + KINDS.index(kind)


def _scalar(value: Any) -> Any:
    """Return a float for scalar input, the array otherwise."""
    return float(value) if np.ndim(value) == 0 else value
