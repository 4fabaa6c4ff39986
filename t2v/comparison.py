"""How well a prediction of transfer orders the sources: rank correlations, regret, and intervals for them.

Conventions, everywhere in this module. *Measured* is an error: smaller is better. *Predicted* is a distance (smaller is
better, the default) or, with ``kind="score"``, a score such as LEEP (larger is better). A correlation of +1 then always
means that the prediction orders the sources as the measurement does, and regret is never negative.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb
from scipy.stats import kendalltau, spearmanr, weightedtau

Array = NDArray[np.float64]
Kind = Literal["distance", "score"]


@dataclass(frozen=True)
class Comparison:
    """Agreement of a prediction with a measurement over the sources of one target.

    Attributes
    ----------
    kendall, spearman : float
        τ-b and ρ, +1 for the same order. 0 where either side has no order at all (all values alike).
    regret : float
        Measured error of the source that is predicted to be best, minus the error of the best source; in the
        measurement's unit, ≥ 0. Sources that tie for the best prediction count with their mean error.
    n : int
        Number of sources.
    """

    kendall: float
    spearman: float
    regret: float
    n: int


@dataclass(frozen=True, eq=False)
class Interval:
    """A value with a bootstrap interval.

    Attributes
    ----------
    value : float
        On the data as they are.
    low, high : float
        Percentile interval.
    draws : array
        ``(n,)``: the value on each resample. Equal seeds and shapes give equal resamples, so the draws of two predictors
        can be subtracted: the interval of a *paired* difference.
    """

    value: float
    low: float
    high: float
    draws: Array

    def __repr__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, eq=False)
class Intervals:
    """Means over targets of the three measures of :class:`Comparison`, each an :class:`Interval`."""

    kendall: Interval
    spearman: Interval
    regret: Interval


def compare(predicted: ArrayLike, measured: ArrayLike, *, kind: Kind = "distance") -> Comparison:
    """Compare a prediction with the measured errors of one target's sources.

    Parameters
    ----------
    predicted : array
        ``(n,)``, one value a source, n ≥ 2.
    measured : array
        ``(n,)``: measured errors, smaller is better.
    kind : {"distance", "score"}
        Whether a small (distance) or a large (score) prediction means a good source.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If shapes differ, there are fewer than two sources, a value is not finite, or the kind is unknown.
    """
    p, m = _oriented(predicted, kind), np.asarray(measured, dtype=float)
    if p.ndim != 1 or p.shape != m.shape or len(p) < 2:
        raise ValueError(
            f"predicted, measured: shapes {p.shape} and {m.shape}; both (n,), n ≥ 2, are accepted"
        )
    for name, values in (("predicted", p), ("measured", m)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: NaN or infinite; finite numbers are accepted")
    regret = float((m[p == p.min()] - m.min()).mean())
    if np.ptp(p) == 0 or np.ptp(m) == 0:  # SciPy returns NaN: no pair is in any order
        return Comparison(0.0, 0.0, regret, len(p))
    return Comparison(float(kendalltau(p, m).statistic), float(spearmanr(p, m).statistic), regret, len(p))


def bootstrap(
    predicted: ArrayLike,
    measured: ArrayLike,
    *,
    kind: Kind = "distance",
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Return the mean over targets of τ, ρ and regret, with intervals over the choice of targets *and* sources.

    Each resample draws targets and, independently, sources with replacement; all targets see the same sources, which is
    what makes their values depend on each other. A source drawn k times weighs k times.

    Parameters
    ----------
    predicted, measured : array
        ``(targets, sources)``, see :func:`compare`. NaN, in the same places of both, marks pairs that do not take part
        (a target is no source of its own).
    kind : {"distance", "score"}
        As for :func:`compare`.
    draws : int
        Number of resamples.
    level : float
        Coverage of the percentile intervals.
    seed : int
        Seed of the resamples.

    Returns
    -------
    Intervals

    Raises
    ------
    ValueError
        If shapes differ or are not 2-D, NaN are not in the same places, a value is infinite, a target has fewer than two
        sources, or a number is out of range.

    Notes
    -----
    The bootstrap over two crossed factors is conservative: Owen (2007), *Annals of Applied Statistics* 1, 386–411. In a
    resample that leaves a target fewer than two different sources, its τ and ρ are 0; with a handful of sources the
    intervals are therefore drawn towards 0.
    """
    p, m = _matrices(predicted, measured, kind)
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"draws, level: {draws} and {level}; draws ≥ 1 and 0 < level < 1 are accepted")
    rng, (n_targets, n_sources) = np.random.default_rng(seed), p.shape
    targets = rng.multinomial(n_targets, np.full(n_targets, 1 / n_targets), size=draws)
    sources = rng.multinomial(n_sources, np.full(n_sources, 1 / n_sources), size=draws)
    resampled = np.full((3, draws), np.nan)
    plain = _measures(p, m, np.ones((1, n_sources)))[:, 0].mean(1)  # (3,)
    values = _measures(p, m, sources.astype(float))  # (3, draws, targets)
    for k in range(draws):
        there = np.isfinite(values[2, k])  # a target all of whose drawn sources are missing has no regret
        weight = targets[k] * there
        if weight.sum() > 0:
            resampled[:, k] = (values[:, k][:, there] * weight[there]).sum(1) / weight.sum()
    tail = 100 * (1 - level) / 2
    made = []
    for value, row in zip(plain, resampled, strict=True):
        low, high = np.percentile(row[np.isfinite(row)], [tail, 100 - tail])
        made.append(Interval(float(value), float(low), float(high), row))
    return Intervals(*made)


@dataclass(frozen=True, eq=False)
class Measured:
    """A table of measured pairs as arrays.

    Attributes
    ----------
    targets, candidates, seeds : tuple
        Their names, in the order of the table.
    columns : dict of str to array
        Column → ``(targets, candidates, seeds)``; NaN where the table has no such row, or nothing in it.
    """

    targets: tuple[str, ...]
    candidates: tuple[str, ...]
    seeds: tuple[int, ...]
    columns: dict[str, Array]

    def only(self, candidates: Sequence[str]) -> dict[str, Array]:
        """Return the columns of some candidates, in that order."""
        where = [self.candidates.index(name) for name in candidates]
        return {name: values[:, where] for name, values in self.columns.items()}


def read_measured(path: str | os.PathLike[str]) -> Measured:
    """Read a table with the columns target, candidate (or source), seed, and numbers.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column or every row is missing, a pair occurs twice, or a cell is no number; the message names it.
    """
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    who = "candidate" if rows and "candidate" in rows[0] else "source"
    if not rows or not {"target", who, "seed"} <= set(rows[0]):
        raise ValueError(f"{path}: rows with the columns target, candidate or source, and seed are needed")
    axes = [list(dict.fromkeys(row[key] for row in rows)) for key in ("target", who, "seed")]
    names = [name for name in rows[0] if name not in ("target", who, "seed", "part")]
    columns = {name: np.full([len(axis) for axis in axes], np.nan) for name in names}
    seen = set()
    for row in rows:
        place = tuple(axis.index(row[key]) for axis, key in zip(axes, ("target", who, "seed"), strict=True))
        if place in seen:
            raise ValueError(f"{path}: {row[who]} → {row['target']} occurs twice with seed {row['seed']}")
        seen.add(place)
        for name in names:
            columns[name][place] = _number(row[name], f"{path}: {name} of {row[who]} → {row['target']}")
    return Measured(tuple(axes[0]), tuple(axes[1]), tuple(map(int, axes[2])), columns)


def _number(cell: str, where: str) -> float:
    try:
        return float(cell) if cell else float("nan")
    except ValueError:
        raise ValueError(f"{where}: {cell!r} is no number") from None


def across_seeds(
    predicted: ArrayLike,
    measured: ArrayLike,
    *,
    kind: Kind = "distance",
    same: bool = False,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Judge the prediction of one seed by the errors of *another*, in the mean over all ordered pairs of seeds.

    A score taken on the very shots on which the error was measured shares their luck. Another seed's shots take it away.
    With the measured errors as the prediction this is the *noise ceiling*: how well a measurement orders its own repetition.

    Parameters
    ----------
    predicted, measured : array
        ``(targets, sources, seeds)``, see :func:`bootstrap`; NaN in the same places with every seed.
    kind : {"distance", "score"}
        As for :func:`compare`.
    same : bool
        Judge each seed by its own errors instead.
    draws, level, seed
        As for :func:`bootstrap`: all pairs of seeds see the same resamples, so that two results can be subtracted.

    Returns
    -------
    Intervals

    Raises
    ------
    ValueError
        If shapes differ or are not 3-D, there is only one seed (unless ``same``), or as for :func:`bootstrap`.
    """
    p, m = np.asarray(predicted, dtype=float), np.asarray(measured, dtype=float)
    if p.ndim != 3 or p.shape != m.shape or p.shape[2] < (1 if same else 2):
        raise ValueError(
            f"predicted, measured: shapes {p.shape} and {m.shape}; both (targets, sources, seeds) with at least two seeds"
            " (one, to judge each by itself) is accepted"
        )
    every = range(p.shape[2])
    pairs = [(a, b) for a in every for b in every if (a == b) == same]
    made = [
        bootstrap(p[:, :, a], m[:, :, b], kind=kind, draws=draws, level=level, seed=seed) for a, b in pairs
    ]
    return Intervals(*(_mean_interval([getattr(one, name) for one in made], level) for name in _MEASURES))


_MEASURES = ("kendall", "spearman", "regret")


def _mean_interval(parts: Sequence[Interval], level: float) -> Interval:
    """Return the mean of intervals that were made with the same resamples."""
    draws = np.mean([part.draws for part in parts], axis=0)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(draws[np.isfinite(draws)], [tail, 100 - tail])
    return Interval(float(np.mean([part.value for part in parts])), float(low), float(high), draws)


def partial(xy: Interval, zy: Interval, xz: Interval, *, level: float = 0.95) -> Interval:
    r"""Return the partial rank correlation of x and y given z, from the three plain ones.

    .. math:: τ_{xy \cdot z} = \frac{τ_{xy} - τ_{xz}\, τ_{zy}}{\sqrt{(1 - τ_{xz}^2)(1 - τ_{zy}^2)}}

    Parameters
    ----------
    xy, zy, xz : Interval
        The correlations, each a mean over targets, from equal resamples (one seed and number of draws).
    level : float
        Coverage of the percentile interval.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If the numbers of draws differ.

    Notes
    -----
    Source: Kendall (1942), *Biometrika* 32, 277–283, applied to the means over targets.
    """
    if not len(xy.draws) == len(zy.draws) == len(xz.draws):
        raise ValueError("xy, zy, xz: the numbers of draws differ; equal resamples are accepted")

    def given(a: Array, b: Array, c: Array) -> Array:
        return _ratio(a - b * c, (1 - b**2) * (1 - c**2))

    draws = given(xy.draws, zy.draws, xz.draws)
    value = given(*(np.array(one.value) for one in (xy, zy, xz)))
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(draws[np.isfinite(draws)], [tail, 100 - tail])
    return Interval(float(value), float(low), float(high), draws)


@dataclass(frozen=True, eq=False)
class Top:
    """What trying the first k sources of a prediction gives, one value a target.

    Attributes
    ----------
    hit : array
        ``(targets,)``: the probability that the best source is among them. Sources that tie for the k-th place take it by
        lot; of several best sources, one is enough.
    regret : array
        ``(targets,)``: expected error of the best of them, minus the error of the best of all; ≥ 0.
    """

    hit: Array
    regret: Array


def top(predicted: ArrayLike, measured: ArrayLike, k: int, *, kind: Kind = "distance") -> Top:
    """Return what trying the first k sources of a prediction gives, for each target.

    Parameters
    ----------
    predicted, measured : array
        ``(targets, sources)``, see :func:`bootstrap`.
    k : int
        How many sources are tried, at least 1; all, where a target has fewer.
    kind : {"distance", "score"}
        As for :func:`compare`.

    Returns
    -------
    Top

    Raises
    ------
    ValueError
        If k < 1, or as for :func:`bootstrap`.
    """
    p, m = _matrices(predicted, measured, kind)
    if k < 1:
        raise ValueError(f"k: {k}; at least one source must be tried")
    rows = [_top(x[np.isfinite(x)], y[np.isfinite(x)], k) for x, y in zip(p, m, strict=True)]
    return Top(*map(np.array, zip(*rows, strict=True)))


def _top(x: Array, y: Array, k: int) -> tuple[float, float]:
    """Return the probability of a hit and the expected regret, for one target."""
    k = min(k, len(x))
    last = np.sort(x)[k - 1]
    sure, tied = y[x < last], np.sort(y[x == last])
    places = k - len(sure)
    # the i-th smallest of the tied is the smallest drawn if the other places go to those behind it
    behind = len(tied) - 1 - np.arange(len(tied))
    chance = comb(behind, places - 1) / comb(len(tied), places)
    least = np.minimum(tied, sure.min()) if len(sure) else tied
    return float(chance[least == y.min()].sum()), float((chance * (least - y.min())).sum())


def weighted_kendall(predicted: ArrayLike, measured: ArrayLike, *, kind: Kind = "distance") -> Array:
    """Return each target's weighted τ: pairs count more, the better their sources are.

    Parameters
    ----------
    predicted, measured : array
        ``(targets, sources)``, see :func:`bootstrap`.
    kind : {"distance", "score"}
        As for :func:`compare`.

    Returns
    -------
    array
        ``(targets,)``; 0 where either side has no order at all.

    Raises
    ------
    ValueError
        As for :func:`bootstrap`.

    Notes
    -----
    Source: Vigna (2015), with additive hyperbolic weights, in the mean of the ranking by prediction and that by measurement:
    the measure of the LogME paper (You et al., 2021).
    """
    p, m = _matrices(predicted, measured, kind)
    found = np.zeros(len(p))
    for t, (x, y) in enumerate(zip(p, m, strict=True)):
        there = np.isfinite(x)
        if np.ptp(x[there]) > 0 and np.ptp(y[there]) > 0:
            found[t] = weightedtau(-x[there], -y[there]).statistic
    return found


@dataclass(frozen=True, eq=False)
class Choice:
    """What choosing a method on some tasks gives on the others.

    Attributes
    ----------
    chosen : tuple of str
        The method chosen on each split.
    kendall : array
        ``(splits,)``: its mean Kendall τ on the tasks that had no part in the choice.
    each : dict of str to array
        Method → ``(splits,)``: the mean τ of every method on those tasks.
    """

    chosen: tuple[str, ...]
    kendall: Array
    each: dict[str, Array]


def choose(
    candidates: Mapping[str, ArrayLike], measured: ArrayLike, *, splits: int = 200, seed: int = 0
) -> Choice:
    """Choose the best of several methods on one half of the tasks, and judge it on the other half.

    A method that was picked because it did best looks better than it is. Here no task that takes part in the judgement,
    as a target or as a source, took part in the choice.

    Parameters
    ----------
    candidates : mapping of str to array
        Method → ``(n, n)`` predictions, targets by sources, small for a good source (pass a score with its sign
        changed); NaN on the diagonal.
    measured : array
        ``(n, n)`` measured errors; NaN on the diagonal.
    splits : int
        Number of random divisions of the n tasks.
    seed : int
        Their seed.

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        If there is no candidate, there are fewer than six tasks, shapes differ, or ``splits`` < 1.
    """
    if not candidates or splits < 1:
        raise ValueError(f"candidates, splits: {len(candidates)} and {splits}; at least one each is needed")
    names = tuple(candidates)
    pairs = [_matrices(candidates[name], measured, "distance") for name in names]
    n = len(pairs[0][1])
    if n < 6 or pairs[0][1].shape != (n, n):
        raise ValueError(f"measured: shape {pairs[0][1].shape}; (n, n) with n ≥ 6 is accepted")
    rng, chosen = np.random.default_rng(seed), []
    judged = np.empty((splits, len(names)))
    for k in range(splits):
        order = rng.permutation(n)
        here, there = order[: n // 2], order[n // 2 :]
        on_here = [_mean_kendall(p, m, here) for p, m in pairs]
        judged[k] = [_mean_kendall(p, m, there) for p, m in pairs]
        chosen.append(int(np.argmax(on_here)))
    return Choice(
        tuple(names[c] for c in chosen),
        judged[np.arange(splits), chosen],
        dict(zip(names, judged.T, strict=True)),
    )


def _mean_kendall(p: Array, m: Array, tasks: NDArray[np.intp]) -> float:
    """Return the mean τ over these targets, with these tasks as sources."""
    block = np.ix_(tasks, tasks)
    return float(_measures(p[block], m[block], np.ones((1, len(tasks))))[0, 0].mean())


def _measures(p: Array, m: Array, weights: Array) -> Array:
    """Return τ, ρ and regret ``(3, draws, targets)`` with a source's weight its multiplicity ``(draws, sources)``."""
    out = np.empty((3, len(weights), len(p)))
    for t, (x, y) in enumerate(zip(p, m, strict=True)):
        there = np.isfinite(x)
        x, y, w = x[there], y[there], weights[:, there]
        sx, sy = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
        concordant, only_x, only_y = (
            np.einsum("ki,ij,kj->k", w, s, w, optimize=True) for s in (sx * sy, abs(sx), abs(sy))
        )
        out[0, :, t] = _ratio(concordant, only_x * only_y)
        # a source's centred mid-rank in the multiset: how many lie below minus how many above; in the sum the signs cancel
        rx, ry = (w @ sx.T, w @ sy.T)
        out[1, :, t] = _ratio((w * rx * ry).sum(1), (w * rx**2).sum(1) * (w * ry**2).sum(1))
        out[2, :, t] = _regret(x, y, w)
    return out


def _ratio(top: Array, squared: Array) -> Array:
    bottom = np.sqrt(np.maximum(squared, 0))
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), 0.0)


def _regret(x: Array, y: Array, w: Array) -> Array:
    drawn = w > 0
    best = np.where(drawn, x, np.inf).min(1, keepdims=True)
    chosen = np.where(drawn & (x == best), w, 0.0)
    count, least = chosen.sum(1), np.where(drawn, y, np.inf).min(1, keepdims=True)
    above = chosen * (y - np.where(np.isfinite(least), least, 0))  # differences first: none is below 0
    return np.where(count > 0, above.sum(1) / np.where(count > 0, count, 1), np.nan)


def _oriented(predicted: ArrayLike, kind: Any) -> Array:
    if kind not in get_args(Kind):
        raise ValueError(f"kind: {kind!r} is unknown; accepted: {', '.join(get_args(Kind))}")
    p = np.asarray(predicted, dtype=float)
    return p if kind == "distance" else -p


def _matrices(predicted: ArrayLike, measured: ArrayLike, kind: Any) -> tuple[Array, Array]:
    p, m = _oriented(predicted, kind), np.asarray(measured, dtype=float)
    if p.ndim != 2 or p.shape != m.shape or 0 in p.shape:
        raise ValueError(
            f"predicted, measured: shapes {p.shape} and {m.shape}; both (targets, sources) is accepted"
        )
    if np.isinf(p).any() or np.isinf(m).any():
        raise ValueError("predicted, measured: infinite; finite numbers are accepted, and NaN for no pair")
    if (np.isnan(p) != np.isnan(m)).any():
        raise ValueError("predicted, measured: NaN must be in the same places of both")
    few = np.nonzero(np.isfinite(p).sum(1) < 2)[0]
    if len(few):
        raise ValueError(f"predicted: target {few[0]} has fewer than two sources")
    return p, m
