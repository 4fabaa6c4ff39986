"""The Information Bottleneck of finite distributions: the best trade between I(T;X) and I(T;Y).

Here β multiplies the relevant information (eq. IB): an encoder q(t|x) is sought that minimises

    I(T;X) − β I(T;Y),    T – X – Y,

so a *large* β asks for prediction and a small one for compression. (``t2v.variational`` uses the paper's
Lagrangian, in which β multiplies I(T;X).) Information is reported in bits by default (``base=2``); β has no
unit.

How it is solved. A cluster is a point s = q(y|t) of the simplex over Y together with a weight q(t), and the
problem is rate–distortion coding with that simplex as the alphabet of reproductions and KL(p(y|x)‖s) as the
distortion (Harremoës and Tishby, 2007). For given points it is convex in the weights. From this follow four
steps, all in the log domain:

1. Blahut–Arimoto moves the points; the weights are solved exactly for given points (Newton, active set), so
   that a cluster that is not wanted gets weight 0 at once and not in the limit of many iterations.
2. Where Blahut–Arimoto crawls (near every bifurcation it does), a Newton step on all points and weights is
   taken.
3. The optimality conditions of rate–distortion theory (Csiszár, 1974) say when the result is the global
   minimum: c(s) = Σ_x p(x) exp(−β KL(p(y|x)‖s)) / Z(x) ≤ 1 for *every* s, also those that are nobody's
   cluster. Where a search of the simplex finds c(s) > 1, a cluster is inserted at s: this is how bifurcations
   are found, and how local minima are left. What remains, log max c(s), bounds the distance to the global
   minimum: it is reported as ``gap``.
4. With fewer clusters than the global minimum wants, the problem is not convex: then the best of an annealed
   path, of the unrestricted solution merged, of hard clusters and of random restarts is returned.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr, rel_entr

from t2v import information

Array = NDArray[np.float64]

#: Floor of probabilities inside logarithms. exp(β p log FLOOR) vanishes where it must, without infinities.
_FLOOR = 1e-200
#: Clusters closer than this (4β times the Bhattacharyya deficit) are one cluster.
_SAME = 1e-6


@dataclass(frozen=True)
class Bottleneck:
    """An encoder with what it costs and what it keeps.

    Attributes
    ----------
    encoder : ndarray, shape (n_x, n_clusters)
        Rows q(t|x). An x of probability 0 has the row q(t): it does not matter.
    prior : ndarray, shape (n_clusters,)
        q(t), largest first; unused clusters have exactly 0.
    decoder : ndarray, shape (n_clusters, n_y)
        Rows q(y|t); the rows of unused clusters are p(y).
    i_tx, i_ty : float
        I(T;X) and I(T;Y), in units of ``base``.
    beta : float
        The multiplier of I(T;Y); ``inf`` for hard clusters.
    n_iter : int
        Iterations (Blahut–Arimoto and Newton), over all starts.
    converged : bool
        Whether one more Blahut–Arimoto round would move no q(y|t) by more than ``tol``, or else the objective
        is the minimum within ``tol`` nats (where clusters hardly differ it is flat).
    gap : float
        How much lower the objective of *any* encoder, with any number of clusters, can be, in units of
        ``base``: from the optimality conditions, as far as the search of the simplex sees; ``nan`` where not
        computed.
    base : float
        Base of the logarithms.
    """

    encoder: Array
    prior: Array
    decoder: Array
    i_tx: float
    i_ty: float
    beta: float
    n_iter: int = 0
    converged: bool = True
    gap: float = math.nan
    base: float = 2

    @property
    def objective(self) -> float:
        """I(T;X) − β I(T;Y), in units of ``base``."""
        return self.i_tx - self.beta * self.i_ty if self.beta * self.i_ty else self.i_tx

    @property
    def n_used(self) -> int:
        """The number of clusters with positive weight."""
        return int(np.count_nonzero(self.prior))

    @property
    def labels(self) -> NDArray[np.intp]:
        """The likeliest cluster of every x, shape (n_x,)."""
        return self.encoder.argmax(axis=1)


@dataclass(frozen=True)
class BottleneckCurve:
    """The lower envelope of I(T;X) − β I(T;Y) over a list of β: a concave, monotone curve in the information plane.

    Attributes
    ----------
    betas : ndarray, shape (n,)
        As given.
    i_tx, i_ty : ndarray, shape (n,)
        The curve's points, one for each β, in units of ``base``.
    solutions : tuple of Bottleneck
        The encoders behind them.
    base : float
        Base of the logarithms.
    """

    betas: Array
    i_tx: Array
    i_ty: Array
    solutions: tuple[Bottleneck, ...] = field(repr=False)
    base: float = 2

    @property
    def objective(self) -> Array:
        """I(T;X) − β I(T;Y) at every β, in units of ``base``."""
        return self.i_tx - self.betas * self.i_ty

    @property
    def n_used(self) -> NDArray[np.intp]:
        """The number of clusters in use at every β."""
        return np.array([s.n_used for s in self.solutions])

    @property
    def gap(self) -> Array:
        """The bound on the distance to the global minimum at every β (see :class:`Bottleneck`)."""
        return np.array([s.gap for s in self.solutions])


# ------------------------------------------------------------------------------------------------------------
# The public functions
# ------------------------------------------------------------------------------------------------------------


def solve(
    joint: ArrayLike,
    beta: float,
    n_clusters: int | None = None,
    *,
    init: ArrayLike | None = None,
    tol: float = 1e-9,
    max_iter: int = 1000,
    seed: int = 0,
    restarts: int = 8,
    base: float = 2,
) -> Bottleneck:
    """Minimise I(T;X) − β I(T;Y) over the encoders q(t|x) (eq. IB; β multiplies I(T;Y)).

    With the default number of clusters the result is the global minimum within ``gap``. With fewer it is the
    best of an annealed path, the unrestricted solution merged, hard clusters, ``restarts`` random encoders
    and ``init``.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y); zero entries, rows and columns are legal.
    beta : float
        Positive and finite. Up to 1 the solution is always trivial, by the data-processing inequality.
    n_clusters : int, optional
        The largest number of clusters, 1 … n_x; n_x by default, which is never a restriction.
    init : array_like, shape (n_x, n_clusters), optional
        One more encoder to start from. (For the fixed point next to it, and no other, see
        :func:`blahut_arimoto`.)
    tol : float
        Largest change of any q(y|t) in one Blahut–Arimoto round, and largest log c(s) (nats), at the
        solution.
    max_iter : int
        Limit of iterations between two insertions of clusters.
    seed : int
        Of the random restarts.
    restarts : int
        Number of random encoders that are tried where the optimality conditions are not met (within 10
        ``tol``).
    base : float
        Base of the logarithms in the result: 2 for bits.

    Returns
    -------
    Bottleneck
        Clusters are sorted by weight, and equal ones are merged.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message names it.

    References
    ----------
    Tishby, Pereira and Bialek (1999); Csiszár (1974) for the conditions; Harremoës and Tishby (2007) for the
    simplex.
    """
    source = _source(joint)
    beta, cap = _check_beta(beta), _check_clusters(n_clusters, source)
    _check_limits(tol, max_iter, restarts)
    starts = [_trivial(source)]
    if init is not None:
        encoder = information.check_channel(init, "init", n_inputs=source.keep_x.size)
        if encoder.shape[1] > cap:
            raise ValueError(f"init has {encoder.shape[1]} columns; accepted: at most n_clusters = {cap}")
        starts.append(_from_encoder(source, encoder[source.keep_x]))
    found = [_descend(source, beta, start, cap, tol, max_iter) for start in starts]
    if min(found).gap > 10 * tol:
        found += _restart(source, beta, cap, tol, max_iter, np.random.default_rng(seed), restarts)
    total = sum(f.n_iter for f in found)
    return _result(source, replace(min(found), n_iter=total), _width(n_clusters, source), base)


def curve(
    joint: ArrayLike,
    betas: ArrayLike,
    n_clusters: int | None = None,
    *,
    tol: float = 1e-9,
    max_iter: int = 1000,
    base: float = 2,
) -> BottleneckCurve:
    """Trace the curve of best (I(T;X), I(T;Y)) over a list of β, by deterministic annealing (β multiplies I(T;Y)).

    β rises, and each solution starts from the one before; with a restriction on the clusters, β also falls
    again from the largest one. Every solution then competes at every β, so that the result is a lower
    envelope: monotone and concave.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).
    betas : array_like, shape (n,)
        Positive and finite, in any order; row i of the result belongs to ``betas[i]``.
    n_clusters : int, optional
        The largest number of clusters, 1 … n_x; no restriction by default.
    tol, max_iter, base
        As in :func:`solve`.

    Returns
    -------
    BottleneckCurve
        The points with their encoders.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message names it.
    """
    source, cap = _source(joint), _check_clusters(n_clusters, _source(joint))
    _check_limits(tol, max_iter, 0)
    values = _check_betas(betas)
    order = np.argsort(values, kind="stable")
    found = _sweep(source, values[order], cap, tol, max_iter)
    _compete(source, found, values[order], cap, tol, max_iter)
    solutions = [_result(source, f, _width(n_clusters, source), base) for f in found]
    chosen = _envelope(values[order], solutions)
    picked = {
        int(i): replace(solutions[c], beta=float(values[i])) for i, c in zip(order, chosen, strict=True)
    }
    ordered = tuple(picked[i] for i in range(len(values)))
    i_tx, i_ty = (np.array([getattr(s, name) for s in ordered]) for name in ("i_tx", "i_ty"))
    return BottleneckCurve(values, i_tx, i_ty, ordered, base)


def blahut_arimoto(
    joint: ArrayLike,
    beta: float,
    encoder: ArrayLike,
    *,
    tol: float = 1e-9,
    max_iter: int = 10_000,
    base: float = 2,
) -> Bottleneck:
    """Iterate the self-consistent equations from one encoder, and nothing else: the first fixed point.

    q(t) = Σ_x p(x) q(t|x);  q(y|t) = Σ_x p(x, y) q(t|x) / q(t);  q(t|x) ∝ q(t) exp(−β KL(p(y|x)‖q(y|t))).

    Each round lowers I(T;X) − β I(T;Y), or leaves it; where it ends depends on the start. A cluster of weight
    0 stays unused, and equal clusters stay equal: the uniform encoder is a fixed point for every β.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).
    beta : float
        Positive and finite; it multiplies I(T;Y).
    encoder : array_like, shape (n_x, n_clusters)
        The start, rows q(t|x).
    tol : float
        Stop when no entry of the encoder moves by more.
    max_iter : int
        Stop after so many rounds, with ``converged`` False; 1 gives a single round.
    base : float
        Base of the logarithms in the result.

    Returns
    -------
    Bottleneck
        Clusters in the order of the start; ``gap`` is ``nan``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message names it.
    """
    source, beta = _source(joint), _check_beta(beta)
    _check_limits(tol, max_iter, 0)
    rows = information.check_channel(encoder, "encoder", n_inputs=source.keep_x.size)
    inner, moved, n = rows[source.keep_x], np.inf, 0
    while moved > tol and n < max_iter:
        weights, points = _from_encoder(source, inner, compact=False)
        with np.errstate(divide="ignore"):  # an unused cluster: weight 0, logarithm −∞, stays unused
            logits = np.log(weights) + beta * source.rows @ _log(points).T
        new = np.exp(logits - logits.max(axis=1, keepdims=True))
        new /= new.sum(axis=1, keepdims=True)
        moved, inner, n = float(np.abs(new - inner).max()), new, n + 1
    full = np.tile(source.prior @ inner, (source.keep_x.size, 1))
    full[source.keep_x] = inner
    return replace(evaluate(joint, full, beta, base=base), n_iter=n, converged=moved <= tol)


def evaluate(joint: ArrayLike, encoder: ArrayLike, beta: float, *, base: float = 2) -> Bottleneck:
    """Return what an encoder costs and keeps: I(T;X), I(T;Y), prior and decoder, without improving it.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).
    encoder : array_like, shape (n_x, n_clusters)
        Rows q(t|x).
    beta : float
        Positive; it multiplies I(T;Y) in the objective. ``inf`` is legal here.
    base : float
        Base of the logarithms in the result.

    Returns
    -------
    Bottleneck
        Clusters in the given order; ``gap`` is ``nan``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message names it.
    """
    source = _source(joint)
    rows = information.check_channel(encoder, "encoder", n_inputs=source.keep_x.size)
    unit = information.log_base(base)
    inner = rows[source.keep_x]
    weights, points = _from_encoder(source, inner, compact=False)
    i_tx, i_ty = _informations(source, inner, weights, points)
    decoder = np.zeros((rows.shape[1], source.keep_y.size))
    decoder[:, source.keep_y] = points
    value = beta if beta == math.inf else _check_beta(beta)
    return Bottleneck(rows, weights, decoder, i_tx / unit, i_ty / unit, value, base=base)


def critical_beta(joint: ArrayLike) -> float:
    """Return β_c = 1/σ₂²: where the trivial encoder stops being a *local* minimum (β multiplies I(T;Y)).

    σ₂ is the second singular value of p(x, y)/√(p(x) p(y)), the maximal correlation of X and Y. Annealing
    from small β leaves the trivial solution here. The global minimum can leave it earlier, with a jump: see
    :func:`onset_beta`.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).

    Returns
    -------
    float
        At least 1; ``inf`` if X and Y are independent.

    Raises
    ------
    TypeError, ValueError
        If ``joint`` is not a distribution with two axes.
    """
    source = _source(joint)
    return float(_critical(source.prior[None], source, source.marginal[None])[0])


def stability(joint: ArrayLike, bottleneck: Bottleneck) -> Array:
    """Return, for every cluster, the β beyond which it splits: :func:`critical_beta` of the cluster's own joint.

    Within cluster t, X has the distribution q(x|t), and Y the channel p(y|x): a little world of its own.
    Every later bifurcation of the bottleneck is the first bifurcation of one cluster's world.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).
    bottleneck : Bottleneck
        A solution for that joint.

    Returns
    -------
    ndarray, shape (n_used,)
        Critical β of the clusters in use, in their order; ``inf`` for a cluster whose symbols are all alike.
        Symbols that make less than 1e-9 of a cluster are left out.

    Raises
    ------
    TypeError, ValueError
        If ``joint`` is not a distribution with two axes, or has another number of rows than the encoder.
    """
    source = _source(joint)
    rows = information.check_channel(bottleneck.encoder, "bottleneck.encoder", n_inputs=source.keep_x.size)
    inner = rows[source.keep_x][:, bottleneck.prior > 0]
    posterior = (source.prior[:, None] * inner / (source.prior @ inner)).T
    posterior[posterior < 1e-9] = 0
    posterior /= posterior.sum(axis=1, keepdims=True)
    return _critical(posterior, source, posterior @ source.rows)


def onset_beta(joint: ArrayLike) -> float:
    """Return the largest β up to which the trivial encoder is the *global* minimum (β multiplies I(T;Y)).

    It is 1/η, where η = sup_r KL(r_Y‖p_Y)/KL(r_X‖p_X) = sup_T I(T;Y)/I(T;X) is the contraction coefficient of
    the strong data-processing inequality. η ≥ σ₂², so the onset is never later than :func:`critical_beta`,
    and strictly earlier unless the joint is special (symmetric, Gaussian): then the curve starts with a
    straight piece.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).

    Returns
    -------
    float
        At least 1; ``inf`` if X and Y are independent. Found by a search from every p(y|x): an upper bound,
        in principle, that is exact where the search sees the best r.

    Raises
    ------
    TypeError, ValueError
        If ``joint`` is not a distribution with two axes.

    References
    ----------
    Anantharam, Gohari, Kamath and Nair (2013); Dinkelbach (1967) for the iteration.
    """
    source = _source(joint)
    beta = float(_critical(source.prior[None], source, source.marginal[None])[0])
    for _ in range(100):
        if beta in (1.0, math.inf):
            break
        log_z = beta * source.rows @ _log(source.marginal)
        points, _, posterior = _modes(source, beta, log_z, 500, 1e-15)
        cost = rel_entr(posterior, source.prior).sum(axis=1)
        gain = rel_entr(points, source.marginal).sum(axis=1)
        away = gain > 1e-10
        better = (cost[away] / gain[away]).min(initial=math.inf)
        if better >= beta * (1 - 1e-12):
            break
        beta = max(1.0, float(better))
    return beta


def bifurcations(
    joint: ArrayLike, beta_max: float, n_clusters: int | None = None, *, steps: int = 100, rtol: float = 1e-5
) -> list[tuple[float, int, int]]:
    """Find where the number of clusters changes as β rises (β multiplies I(T;Y)).

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).
    beta_max : float
        Look from 1 to here; greater than 1.
    n_clusters : int, optional
        The largest number of clusters, as in :func:`solve`.
    steps : int
        Points of the first, geometric grid. Two changes between neighbours count as one.
    rtol : float
        Each change is then bracketed to this relative width, by bisection.

    Returns
    -------
    list of (float, int, int)
        β, the number of clusters before it and after it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message names it.
    """
    if _check_beta(beta_max, "beta_max") <= 1:
        raise ValueError(f"beta_max is {beta_max!r}; accepted: a number > 1 (up to 1 there is one cluster)")
    grid = np.geomspace(1, beta_max, steps)
    used = curve(joint, grid, n_clusters).n_used
    changes = []
    for i in np.flatnonzero(np.diff(used)):
        low, high, before, after = grid[i], grid[i + 1], int(used[i]), int(used[i + 1])
        while high / low > 1 + rtol:
            middle = math.sqrt(low * high)
            count = solve(joint, middle, n_clusters).n_used
            low, high, after = (middle, high, after) if count == before else (low, middle, count)
        changes.append((math.sqrt(low * high), before, after))
    return changes


def deterministic(
    joint: ArrayLike, n_clusters: int, *, restarts: int = 20, seed: int = 0, base: float = 2
) -> Bottleneck:
    """Cluster the symbols of X hard, into at most ``n_clusters`` groups, so as to keep the most I(T;Y).

    The best of greedy merging (the agglomerative bottleneck), of the annealed soft solution hardened as β
    grows, and of random partitions; each is then improved by moving one symbol at a time until no move helps
    (the sequential bottleneck).

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).
    n_clusters : int
        1 … n_x.
    restarts : int
        Number of random partitions.
    seed : int
        Of the random partitions.
    base : float
        Base of the logarithms in the result.

    Returns
    -------
    Bottleneck
        With a one-hot encoder, ``beta = inf`` and I(T;X) = H(T). ``labels`` are the groups.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message names it.

    References
    ----------
    Slonim and Tishby (1999) for merging; Slonim, Friedman and Tishby (2002) for moving.
    """
    source = _source(joint)
    cap = _check_clusters(n_clusters, source)
    _check_limits(1.0, 1, restarts)
    rng = np.random.default_rng(seed)
    starts = [_agglomerate(source, cap), _harden(source, cap)]
    starts += [rng.integers(cap, size=len(source.prior)) for _ in range(restarts)]
    labels = max((_move(source, s, cap) for s in starts), key=lambda found: _kept(source, found, cap))
    weights = np.bincount(labels, weights=source.prior, minlength=n_clusters)
    rank = np.argsort(np.argsort(-weights, kind="stable"), kind="stable")
    encoder = np.zeros((source.keep_x.size, n_clusters))
    encoder[:, 0] = 1  # symbols of probability 0 go to the largest cluster: it does not matter
    encoder[source.keep_x] = np.eye(n_clusters)[rank[labels]]
    return evaluate(joint, encoder, math.inf, base=base)


@dataclass(frozen=True)
class GaussianBottleneck:
    """The optimal linear encoder of jointly Gaussian vectors, T = A X + noise with unit covariance.

    Attributes
    ----------
    projection : ndarray, shape (min(d_x, d_y), d_x)
        A: one row for each canonical direction, strongest first; zero where β is below the direction's
        critical value.
    i_tx, i_ty : float
        I(T;X) and I(T;Y), in units of ``base``.
    beta : float
        The multiplier of I(T;Y).
    correlations : ndarray, shape (min(d_x, d_y),)
        The canonical correlations ρ_i of X and Y.
    critical_betas : ndarray, shape (min(d_x, d_y),)
        1/ρ_i²: where direction i opens.
    base : float
        Base of the logarithms.
    """

    projection: Array
    i_tx: float
    i_ty: float
    beta: float
    correlations: Array
    critical_betas: Array
    base: float = 2

    @property
    def objective(self) -> float:
        """I(T;X) − β I(T;Y), in units of ``base``."""
        return self.i_tx - self.beta * self.i_ty

    @property
    def n_used(self) -> int:
        """The number of directions that are open."""
        return int((self.beta > self.critical_betas).sum())


def gaussian(
    cov_x: ArrayLike, cov_xy: ArrayLike, cov_y: ArrayLike, beta: float, *, base: float = 2
) -> GaussianBottleneck:
    """Solve the bottleneck of jointly Gaussian X and Y in closed form (β multiplies I(T;Y)).

    With canonical correlations ρ_i, direction i opens at β = 1/ρ_i² and then carries
    I_i(T;X) = ½ log[(β−1) ρ_i²/(1−ρ_i²)] and I_i(T;Y) = I_i(T;X) − ½ log(β ρ_i²).

    Parameters
    ----------
    cov_x : array_like, shape (d_x, d_x)
        Covariance of X, positive definite.
    cov_xy : array_like, shape (d_x, d_y)
        Cross-covariance.
    cov_y : array_like, shape (d_y, d_y)
        Covariance of Y, positive definite.
    beta : float
        Positive and finite.
    base : float
        Base of the logarithms in the result.

    Returns
    -------
    GaussianBottleneck
        The encoder and what it costs and keeps.

    Raises
    ------
    TypeError, ValueError
        If a shape does not fit, a covariance is not symmetric and positive definite, or X determines a
        direction of Y (ρ = 1: the information would be infinite).

    References
    ----------
    Chechik, Globerson, Tishby and Weiss (2005), Theorem 3.1 and eq. 15.
    """
    beta, unit = _check_beta(beta), information.log_base(base)
    root_x, root_y = _cholesky(cov_x, "cov_x"), _cholesky(cov_y, "cov_y")
    cross = np.asarray(cov_xy, dtype=np.float64)
    if cross.shape != (len(root_x), len(root_y)) or not np.isfinite(cross).all():
        raise ValueError(
            f"cov_xy has shape {cross.shape}; accepted: finite, of shape ({len(root_x)}, {len(root_y)}) as cov_x and cov_y"
        )
    white = np.linalg.solve(root_y, np.linalg.solve(root_x, cross).T).T
    left, rho, _ = np.linalg.svd(white, full_matrices=False)
    if rho.max() >= 1 - 1e-12:
        raise ValueError(
            f"cov_xy gives a canonical correlation of {rho.max():.6g}; accepted: below 1, a joint covariance that is "
            "positive definite"
        )
    with np.errstate(divide="ignore"):
        critical = 1 / rho**2
    scale = np.maximum(beta * rho**2 - 1, 0) / (1 - rho**2)
    i_tx = 0.5 * np.log1p(scale)
    i_ty = i_tx - 0.5 * np.log1p(scale * (1 - rho**2))
    projection = np.sqrt(scale)[:, None] * np.linalg.solve(root_x.T, left).T
    return GaussianBottleneck(
        projection, float(i_tx.sum()) / unit, float(i_ty.sum()) / unit, beta, rho, critical, base
    )


# ------------------------------------------------------------------------------------------------------------
# Input
# ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """A joint distribution without its symbols of probability 0."""

    prior: Array  # p(x), (n,)
    rows: Array  # p(y|x), (n, m)
    marginal: Array  # p(y), (m,)
    keep_x: NDArray[np.bool_]
    keep_y: NDArray[np.bool_]


def _source(joint: ArrayLike) -> _Source:
    array = information.check_distribution(joint, "joint", ndim=2)
    keep_x, keep_y = array.sum(axis=1) > 0, array.sum(axis=0) > 0
    inner = array[keep_x][:, keep_y]
    prior = inner.sum(axis=1)
    rows = inner / prior[:, None]
    prior = prior / prior.sum()
    return _Source(prior, rows, prior @ rows, keep_x, keep_y)


def _check_beta(beta: float, name: str = "beta") -> float:
    if isinstance(beta, bool) or not isinstance(beta, numbers.Real):
        raise TypeError(f"{name} is {beta!r}; accepted: a number > 0")
    if not 0 < beta < math.inf:
        raise ValueError(
            f"{name} is {beta!r}; accepted: a finite number > 0 (for hard clusters: deterministic)"
        )
    return float(beta)


def _check_betas(betas: ArrayLike) -> Array:
    array = np.asarray(betas)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"betas has entries of type {array.dtype}; accepted: a list of numbers > 0")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"betas has shape {array.shape}; accepted: one axis with at least one number > 0")
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError("betas has entries that are not finite and > 0; accepted: finite numbers > 0")
    return array.astype(np.float64)


def _check_clusters(n_clusters: int | None, source: _Source) -> int:
    n_x = source.keep_x.size
    if n_clusters is None:
        return len(source.prior)
    if isinstance(n_clusters, bool) or not isinstance(n_clusters, numbers.Integral):
        raise TypeError(
            f"n_clusters is {n_clusters!r}; accepted: an integer from 1 to the number of x, {n_x}"
        )
    if not 1 <= n_clusters <= n_x:
        raise ValueError(f"n_clusters is {n_clusters}; accepted: from 1 to the number of x symbols, {n_x}")
    return min(int(n_clusters), len(source.prior))


def _width(n_clusters: int | None, source: _Source) -> int:
    return source.keep_x.size if n_clusters is None else int(n_clusters)


def _check_limits(tol: float, max_iter: int, restarts: int) -> None:
    if isinstance(tol, bool) or not isinstance(tol, numbers.Real):
        raise TypeError(f"tol is {tol!r}; accepted: a number > 0")
    if not 0 < tol < math.inf:
        raise ValueError(f"tol is {tol!r}; accepted: a finite number > 0")
    for name, value, least in (("max_iter", max_iter, 1), ("restarts", restarts, 0)):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError(f"{name} is {value!r}; accepted: an integer >= {least}")
        if value < least:
            raise ValueError(f"{name} is {value}; accepted: an integer >= {least}")


def _cholesky(covariance: ArrayLike, name: str) -> Array:
    array = np.asarray(covariance, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; accepted: a square matrix")
    if not np.isfinite(array).all() or not np.allclose(array, array.T, rtol=1e-9, atol=1e-12):
        raise ValueError(
            f"{name} is not finite and symmetric; accepted: a symmetric, positive definite matrix"
        )
    try:
        return np.asarray(np.linalg.cholesky(array), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"{name} is not positive definite; accepted: a symmetric, positive definite matrix"
        ) from error


# ------------------------------------------------------------------------------------------------------------
# Clusters: weights (k,) and points (k, m) on the simplex over Y. All in nats.
# ------------------------------------------------------------------------------------------------------------

_Clusters = tuple[Array, Array]


@dataclass(frozen=True)
class _State:
    """Clusters at one β, with the weights at their best for the points."""

    weights: Array  # q(t), (k,)
    points: Array  # q(y|t), (k, m)
    ratio: Array  # q(t|x)/q(t), (n, k)
    log_z: Array  # log Σ_t q(t) exp(β Σ_y p(y|x) log q(y|t)), (n,)
    value: float  # −E log Z: the objective up to the constant β H(Y)


@dataclass(frozen=True)
class _Found:
    """A candidate solution; candidates compare by their value."""

    beta: float
    state: _State
    n_iter: int
    converged: bool
    gap: float

    def __lt__(self, other: _Found) -> bool:
        return self.state.value < other.state.value


def _log(p: Array) -> Array:
    return np.log(np.maximum(p, _FLOOR))


def _trivial(source: _Source) -> _Clusters:
    return np.ones(1), source.marginal[None]


def _from_encoder(source: _Source, encoder: Array, compact: bool = True) -> _Clusters:
    """Return q(t) and q(y|t); clusters without weight are dropped, or (not compact) get p(y)."""
    mass = source.prior[:, None] * encoder
    weights = mass.sum(axis=0)
    used = weights > 0
    points = np.tile(source.marginal, (len(weights), 1))
    points[used] = (mass.T @ source.rows)[used] / weights[used, None]
    return (weights[used], points[used]) if compact else (weights, points)


def _informations(source: _Source, encoder: Array, weights: Array, points: Array) -> tuple[float, float]:
    """Return I(T;X) and I(T;Y) in nats."""
    i_tx = source.prior @ rel_entr(encoder, weights).sum(axis=1)
    i_ty = weights @ rel_entr(points, source.marginal).sum(axis=1)
    return max(float(i_tx), 0.0), max(float(i_ty), 0.0)


def _result(source: _Source, found: _Found, width: int, base: float) -> Bottleneck:
    """Sort the clusters by weight, put back the symbols of probability 0, and measure in the caller's units."""
    inner = found.state.weights * found.state.ratio
    inner /= inner.sum(axis=1, keepdims=True)
    inner = inner[:, np.argsort(-(source.prior @ inner), kind="stable")]
    weights, points = _from_encoder(source, inner, compact=False)
    i_tx, i_ty = _informations(source, inner, weights, points) if len(weights) > 1 else (0.0, 0.0)
    k, unit = len(weights), information.log_base(base)
    prior = np.zeros(width)
    prior[:k] = weights
    decoder = np.zeros((width, source.keep_y.size))
    decoder[:, source.keep_y] = source.marginal
    decoder[:k, source.keep_y] = points
    encoder = np.tile(prior / prior.sum(), (source.keep_x.size, 1))
    encoder[source.keep_x] = 0
    encoder[np.ix_(source.keep_x, np.arange(k))] = inner
    return Bottleneck(
        encoder,
        prior,
        decoder,
        i_tx / unit,
        i_ty / unit,
        found.beta,
        found.n_iter,
        found.converged,
        found.gap / unit,
        base,
    )


# ------------------------------------------------------------------------------------------------------------
# One β: weights, points, insertions
# ------------------------------------------------------------------------------------------------------------


def _state(source: _Source, beta: float, points: Array, weights: Array) -> _State:
    """Solve for the weights with the points given; clusters that get none are gone."""
    log_kernel = beta * source.rows @ _log(points).T
    shift = log_kernel.max(axis=1, keepdims=True)
    # −600 keeps products of two kernels out of the denormal numbers, which are slow; e^−600 is 0 for all
    # purposes.
    kernel = np.exp(np.maximum(log_kernel - shift, -600))
    weights = _weights(source.prior, kernel, weights)
    ratio = kernel / (kernel @ weights)[:, None]
    # A cluster is gone when it is nobody's: a rare symbol may be alone in a cluster of tiny weight.
    used = (ratio * weights).max(axis=0) > 1e-13
    weights, points, kernel = weights[used] / weights[used].sum(), points[used], kernel[:, used]
    z = kernel @ weights
    log_z = shift[:, 0] + np.log(z)
    return _State(weights, points, kernel / z[:, None], log_z, float(-source.prior @ log_z))


def _weights(prior: Array, kernel: Array, weights: Array, tol: float = 1e-12) -> Array:
    """Minimise −Σ p(x) log Σ_t q_t K_xt + Σ_t q_t over q ≥ 0: Newton's method with an active set.

    The second sum only fixes the scale: at the minimum it is 1.
    """
    q = weights / weights.sum()
    z = kernel @ q
    for _ in range(50):
        ratio = kernel / z[:, None]
        gain = prior @ ratio - 1
        active = np.flatnonzero(q)
        if np.abs(gain[active]).max() < tol:
            break
        within = ratio[:, active]
        hessian = (within * prior[:, None]).T @ within
        hessian.flat[:: len(active) + 1] += 1e-10  # equal clusters: any split of their weight will do
        step = np.linalg.solve(hessian, gain[active])
        reach = np.where(step < 0, -q[active] / np.minimum(step, -1e-300), math.inf)
        # Along a direction that the kernel does not see the step is huge: it goes to the boundary, where a
        # cluster leaves. So the line search is relative to the first boundary.
        furthest = min(1.0, float(reach.min()))
        bound, length = prior @ np.log(z) - q.sum(), 1.0
        while length > 1e-8:
            go = length * furthest
            new = np.zeros_like(q)
            new[active] = np.where(reach <= go, 0, q[active] + go * step)
            z_new = kernel @ new
            rise = 1e-4 * go * (gain[active] @ step) - 1e-15
            if (z_new > 1e-200).all() and prior @ np.log(z_new) - new.sum() >= bound + rise:
                break
            length /= 2
        else:
            break
        q, z = new, z_new
    return q


def _target(source: _Source, state: _State) -> Array:
    """Return where one Blahut–Arimoto round moves the points: q(y|t) of the current encoder."""
    mass = (source.prior[:, None] * state.weights * state.ratio).T @ source.rows
    return mass / mass.sum(axis=1, keepdims=True)


def _round(source: _Source, beta: float, state: _State, target: Array) -> _State:
    """Take a Blahut–Arimoto round, and make one cluster of those that are equal."""
    weights, points = _merge(beta, state.weights, target)
    return _state(source, beta, points, weights)


def _polish(
    source: _Source, beta: float, clusters: _Clusters, tol: float, max_iter: int
) -> tuple[_State, int, bool]:
    """Go down to the next local minimum, by Blahut–Arimoto rounds where they are quick and Newton steps elsewhere.

    Blahut–Arimoto goes on while it gains a lot at each round, Newton while it gains at all. Where clusters
    hardly differ the objective is flat, and both move the points without lowering it: then this is the end.
    """
    weights, points = _merge(beta, *clusters)
    state = _state(source, beta, points, weights)
    plain, before, idle, n = True, math.inf, 0, 0
    for _ in range(max_iter):
        n += 1
        target = _target(source, state)
        residual = float(np.abs(target - state.points).max())
        if residual < tol or idle == 5:
            break
        plain = residual < 0.3 * before if plain else residual > 0.9 * before
        before, value = residual, state.value
        move = _round if plain else _step
        state = move(source, beta, state, target)
        idle = idle + 1 if state.value > value - 1e-13 else 0
    return state, n, residual < tol


def _step(source: _Source, beta: float, state: _State, target: Array) -> _State:
    """Take a Newton step, shortened until it goes down; failing that, a Blahut–Arimoto round."""
    d_log, d_weights = _newton(source, beta, state, target)
    length = min(1.0, 1 / max(np.abs(d_log * np.sqrt(target)).max(), 1e-300))
    while length > 0.02:
        points = np.exp(_log(state.points) + np.clip(length * d_log, -5, 2))
        points /= points.sum(axis=1, keepdims=True)
        guess = np.maximum(state.weights + length * d_weights, 0.1 * state.weights)
        new = _state(source, beta, points, guess)
        if new.value <= state.value + 1e-13:
            return new
        length *= 0.3
    return _state(source, beta, target, state.weights)


def _newton(source: _Source, beta: float, state: _State, target: Array) -> _Clusters:
    """Return the Newton step in log q(y|t), (k, m), and in q(t), (k,).

    With the normalisers Z held fixed the clusters do not interact: the Hessian of cluster t is the block
    β q(t) (1 − β C_t), where C_t has the squared singular values of the cluster's own joint (see
    :func:`stability`). Through the Z, which are n numbers, all clusters and weights interact: a correction of
    rank n (Woodbury), less the part that the weights can follow.
    """
    (n, k), m = state.ratio.shape, target.shape[1]
    # Coordinates √q(y|t) · d log q(y|t); the direction √q(y|t) itself is excluded by Σ_y q(y|t) = 1.
    root = np.sqrt(np.maximum(target, 1e-30))
    along = root[:, :, None] * root[:, None, :]
    posterior = (source.prior[:, None] * state.ratio).T  # q(x|t)
    # Next to a face of the simplex, c(s) is convex in log s(y) and yet has its maximum on the face: leave it
    # alone.
    inside = (target > 1e-9)[:, :, None] & (target > 1e-9)[:, None, :]
    local = np.matmul(source.rows.T * posterior[:, None, :], source.rows) / along * inside
    half, sign = _signed_root(np.eye(m) + beta * (along - local))
    half -= half @ along
    half /= np.sqrt(beta * state.weights)[:, None, None]
    slope = (-beta * state.weights[:, None] * (target - state.points) / root)[:, :, None]
    slope = (half @ slope).ravel()
    of_weights = np.sqrt(source.prior)[:, None] * state.ratio
    spread = (half / root[:, None, :]).reshape(k * m, m)
    of_points = (beta * state.weights * of_weights)[:, :, None] * (source.rows @ spread.T).reshape(n, k, m)
    of_points = of_points.reshape(n, k * m)
    # What the weights cannot follow: the complement of their column space.
    basis = np.linalg.qr(of_weights)[0]
    rest = np.eye(n) - basis @ basis.T
    coupling, sign = _coupling(of_points, rest, sign)
    pull = rest @ np.linalg.solve(coupling, rest @ (of_points @ (sign * slope)))
    step = -sign * (slope - pull @ of_points)
    gram = of_weights.T @ of_weights
    gram.flat[:: k + 1] += 1e-12 * np.trace(gram)  # equal clusters
    d_weights = -np.linalg.solve(gram, of_weights.T @ (of_points @ step))
    return np.asarray((step.reshape(k, 1, m) @ half)[:, 0] / root), np.asarray(d_weights)


def _signed_root(blocks: Array) -> tuple[Array, Array]:
    """Return H, and signs s for its rows, with Hᵀ diag(s) H the inverse of each symmetric block."""
    try:
        return np.linalg.inv(np.linalg.cholesky(blocks)), np.ones(blocks[:, 0].size)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(blocks)
        size = np.maximum(np.abs(values), 1e-6)
        return (vectors / np.sqrt(size)[:, None, :]).transpose(0, 2, 1), np.sign(values).ravel()


def _coupling(of_points: Array, rest: Array, sign: Array) -> tuple[Array, Array]:
    """Return the n × n matrix of Woodbury's formula, and the signs to use with it.

    Blocks may have negative curvature where the whole has not: by Haynsworth's inertia formula the whole is
    positive if this matrix has as many negative eigenvalues as the blocks have. Otherwise the signs are
    turned, so that the step goes down and not to a saddle: that is where a cluster splits.
    """
    eye = np.eye(len(rest))
    negative = int((sign < 0).sum())
    if negative:
        signed = eye + rest @ ((of_points * sign) @ of_points.T) @ rest
        if (np.linalg.eigvalsh(signed) < 0).sum() == negative:
            return signed, sign
    return eye + rest @ (of_points @ of_points.T) @ rest, np.ones_like(sign)


def _closeness(beta: float, a: Array, b: Array) -> Array:
    """Return 4β(1 − Σ √(a b)) for every pair: about β/2 times the χ² distance of near points."""
    return 4 * beta * (1 - np.sqrt(a) @ np.sqrt(b).T)


def _merge(beta: float, weights: Array, points: Array) -> _Clusters:
    """Make one cluster of those that are equal."""
    first = (_closeness(beta, points, points) < _SAME).argmax(axis=1)
    groups, member = np.unique(first[first], return_inverse=True)
    if len(groups) == len(weights):
        return weights, points
    collect = np.zeros((len(groups), len(weights)))
    collect[member, np.arange(len(weights))] = 1
    merged = collect @ weights
    return merged, (collect @ (weights[:, None] * points)) / merged[:, None]


def _modes(source: _Source, beta: float, log_z: Array, cycles: int, tol: float) -> tuple[Array, Array, Array]:
    """Climb to the local maxima of log c(s) from every p(y|x), and return the points, log c and q(x|s) there.

    c(s) = Σ_x p(x) exp(β Σ_y p(y|x) log s(y)) / Z(x). The Blahut–Arimoto step of one cluster alone never goes
    down; two of them are extrapolated for each start on its own (SQUAREM: Varadhan and Roland, 2008), which
    may, and so the best point of each climb is kept.
    """
    offset = (np.log(source.prior) - log_z)[:, None]
    # A little of p(y) everywhere: from a face of the simplex the climb would start too slowly.
    start = 0.999 * source.rows + 0.001 * source.marginal
    best_c, best = np.full(len(start), -math.inf), np.zeros((len(start), len(source.prior)))
    going = np.arange(len(start))
    for _ in range(cycles):
        once, c_once, _ = _climb(source, beta, offset, start)
        twice, c_twice, posterior = _climb(source, beta, offset, once)
        better = c_twice > best_c[going]
        best_c[going[better]], best[going[better]] = c_twice[better], posterior[better]
        far = _extrapolate(start, once, twice)
        climbing = c_twice - c_once > tol
        going, start = going[climbing], far[climbing]
        if not len(going):
            break
    return best @ source.rows, best_c, best


def _extrapolate(start: Array, once: Array, twice: Array) -> Array:
    """Return a point further along each climb, inside the simplex (SQUAREM's third step length)."""
    first, change = once - start, twice - 2 * once + start
    length = np.sqrt((first**2).sum(axis=1) / np.maximum((change**2).sum(axis=1), 1e-300))
    length = np.clip(length, 1, 100)[:, None]
    far = np.maximum(start + 2 * length * first + length**2 * change, 0.1 * twice)
    return np.asarray(far / far.sum(axis=1, keepdims=True))


def _climb(source: _Source, beta: float, offset: Array, points: Array) -> tuple[Array, Array, Array]:
    """Take one step up log c(s): return the new points, log c at the old ones, and q(x|s)."""
    exponent = offset + beta * source.rows @ _log(points).T
    shift = exponent.max(axis=0)
    mass = np.exp(np.maximum(exponent - shift, -600))
    total = mass.sum(axis=0)
    posterior = (mass / total).T
    return posterior @ source.rows, shift + np.log(total), posterior


def _descend(
    source: _Source, beta: float, clusters: _Clusters, cap: int, tol: float, max_iter: int, rounds: int = 30
) -> _Found:
    """Alternate between the next local minimum and the insertion of clusters, until nothing is left to insert."""
    n_iter, gap = 0, math.inf
    for _ in range(rounds):
        state, n, converged = _polish(source, beta, clusters, tol, max_iter)
        n_iter += n
        points, log_c, _ = _modes(source, beta, state.log_z, 50, 0.1 * tol)
        gap = max(float(log_c.max()), 0.0)
        added = _insert(source, beta, state, points, log_c, cap - len(state.weights), tol)
        if added is None:
            break
        clusters = added
    return _Found(beta, state, n_iter, converged or gap <= tol, gap)


def _insert(
    source: _Source, beta: float, state: _State, points: Array, log_c: Array, room: int, tol: float
) -> _Clusters | None:
    """Add clusters at the maxima of c(s) that exceed 1; ``None`` if there is nothing new, or no room."""
    new: list[int] = []
    far = _closeness(beta, points, state.points).min(axis=1) > _SAME
    for i in np.argsort(-log_c):
        if len(new) >= room or log_c[i] <= tol:
            break
        if far[i] and (not new or _closeness(beta, points[i : i + 1], points[new]).min() > 0.02):
            new.append(int(i))
    if not new:
        return None
    # The weight that would be best for each alone: a Newton step from 0, (c − 1) / Σ p (K/Z)², and a few
    # rounds.
    kernel = np.exp(np.clip(beta * source.rows @ _log(points[new]).T - state.log_z[:, None], -600, 300))
    weights = np.maximum((source.prior @ kernel - 1) / (source.prior @ kernel**2), 1e-12)
    for _ in range(5):
        weights = source.prior @ (weights * kernel / (1 - weights + weights * kernel))
    weights *= min(1.0, 0.2 / weights.sum())
    return (
        np.concatenate([state.weights * (1 - weights.sum()), weights]),
        np.concatenate([state.points, points[new]]),
    )


# ------------------------------------------------------------------------------------------------------------
# Many starts, many β
# ------------------------------------------------------------------------------------------------------------


def _restart(
    source: _Source, beta: float, cap: int, tol: float, max_iter: int, rng: np.random.Generator, restarts: int
) -> list[_Found]:
    """Return solutions from an annealed path, the unrestricted solution merged, hard clusters and random encoders."""
    path = np.geomspace(min(1.0, beta), beta, 10)
    found = [_sweep(source, path, cap, tol, max_iter)[-1]]
    starts = [_reduced(source, beta, cap, tol, max_iter), _hard(source, _agglomerate(source, cap), cap)]
    for _ in range(restarts):
        labels = rng.integers(cap, size=len(source.prior))
        starts.append(_hard(source, labels, cap))
    return found + [_descend(source, beta, start, cap, tol, max_iter) for start in starts]


def _hard(source: _Source, labels: NDArray[np.intp], cap: int) -> _Clusters:
    """Return the clusters of a partition, softened by 1% so that no symbol is out of any cluster's reach."""
    return _from_encoder(source, 0.99 * np.eye(cap)[labels] + 0.01 / cap)


def _reduced(source: _Source, beta: float, cap: int, tol: float, max_iter: int) -> _Clusters:
    """Solve without restriction, and merge the cheapest pairs of clusters down to ``cap``."""
    n = len(source.prior)
    state = _descend(source, beta, _trivial(source), n, tol, max_iter).state
    mass = state.weights[:, None] * state.points
    merged = _merge_greedily(mass, cap)
    weights = merged.sum(axis=1)
    return weights, merged / weights[:, None]


def _sweep(source: _Source, betas: Array, cap: int, tol: float, max_iter: int) -> list[_Found]:
    """Follow the solution as β rises; where clusters are restricted, also as it falls, and keep the better."""
    found: list[_Found] = []
    for beta in betas:
        found.append(
            _descend(source, float(beta), _ahead(source, found[-2:], float(beta)), cap, tol, max_iter)
        )
    if cap < len(source.prior) and max(f.gap for f in found) > tol:
        clusters = _reduced(source, float(betas[-1]), cap, tol, max_iter)
        for i in range(len(betas) - 1, -1, -1):
            down = _descend(source, float(betas[i]), clusters, cap, tol, max_iter)
            clusters = down.state.weights, down.state.points
            found[i] = min(found[i], down)
    return found


def _ahead(source: _Source, last: list[_Found], beta: float) -> _Clusters:
    """Extrapolate the last two solutions to the next β, where they have the same clusters; else take the last."""
    if not last:
        return _trivial(source)
    new, old = last[-1].state, last[0].state
    if len(new.weights) != len(old.weights) or last[-1].beta == last[0].beta or len(new.weights) == 1:
        return new.weights, new.points
    ratio = (beta - last[-1].beta) / (last[-1].beta - last[0].beta)
    weights = np.clip(new.weights + ratio * (new.weights - old.weights), 0.5 * new.weights, 2 * new.weights)
    points = np.clip(new.points + ratio * (new.points - old.points), 0.5 * new.points, 2 * new.points)
    return weights / weights.sum(), points / points.sum(axis=1, keepdims=True)


def _compete(source: _Source, found: list[_Found], betas: Array, cap: int, tol: float, max_iter: int) -> None:
    """Where another β's solution beats this one's, start from it (in place), until none does."""
    for _ in range(5):
        kept = [f.state.weights @ rel_entr(f.state.points, source.marginal).sum(axis=1) for f in found]
        i_ty = np.array(kept)
        i_tx = np.array([f.state.value for f in found]) - betas * (entr(source.marginal).sum() - i_ty)
        values = i_tx - betas[:, None] * i_ty
        best = values.argmin(axis=1)
        beaten = np.flatnonzero(values[np.arange(len(betas)), best] < values.diagonal() - tol)
        changed = False
        for i in beaten:
            state = found[best[i]].state
            other = _descend(source, float(betas[i]), (state.weights, state.points), cap, tol, max_iter)
            if other < found[i]:
                found[i], changed = other, True
        if not changed:
            break


def _envelope(betas: Array, solutions: Sequence[Bottleneck]) -> list[int]:
    """Choose the best of all solutions at every β (ascending); equals keep the choice of the β before."""
    i_tx, i_ty = (np.array([getattr(s, name) for s in solutions]) for name in ("i_tx", "i_ty"))
    values = i_tx - betas[:, None] * i_ty
    chosen: list[int] = []
    for row in values:
        best = int(row.argmin())
        if chosen and row[chosen[-1]] <= row[best] + 1e-14 * max(1.0, abs(row[best])):
            best = chosen[-1]
        chosen.append(best)
    return chosen


def _critical(posteriors: Array, source: _Source, points: Array) -> Array:
    """Return 1/σ₂² of each joint q(x|t) p(y|x), given as rows of posteriors, with its marginal on Y."""
    scaled = np.sqrt(posteriors)[:, :, None] * source.rows / np.sqrt(np.maximum(points, _FLOOR))[:, None, :]
    sigma = np.linalg.svd(scaled, compute_uv=False)
    second = sigma[:, 1] if sigma.shape[1] > 1 else np.zeros(len(posteriors))
    # Rounding leaves about 1e-16 where X and Y are independent.
    return np.where(second > 1e-12, 1 / np.clip(second, 1e-12, 1.0) ** 2, math.inf)


# ------------------------------------------------------------------------------------------------------------
# Hard clusters
# ------------------------------------------------------------------------------------------------------------


def _content(mass: Array) -> Array:
    """Return f(m) = Σ_y m(y) log m(y) − |m| log |m|: I(T;Y) = Σ_t f(m_t) + H(Y), for the masses m_t = p(t, y)."""
    total = mass.sum(axis=-1)
    return entr(total) - entr(mass).sum(axis=-1)


def _merge_greedily(mass: Array, n_clusters: int) -> Array:
    """Merge the pair of masses p(t, y) that costs the least I(T;Y), until ``n_clusters`` are left."""
    while len(mass) > n_clusters:
        own = _content(mass)
        loss = own[:, None] + own - _content(mass[:, None] + mass)
        loss[np.tril_indices(len(mass))] = np.inf
        i, j = np.unravel_index(loss.argmin(), loss.shape)
        mass = np.vstack([np.delete(mass, (i, j), axis=0), mass[i] + mass[j]])
    return mass


def _agglomerate(source: _Source, n_clusters: int) -> NDArray[np.intp]:
    """Return the labels of x after greedy merging from one cluster for each x."""
    mass = source.prior[:, None] * source.rows
    merged = _merge_greedily(mass, n_clusters)
    return _nearest(source, merged)


def _nearest(source: _Source, mass: Array) -> NDArray[np.intp]:
    """Return the cluster whose q(y|t) is nearest to each p(y|x), in KL(p(y|x)‖q(y|t))."""
    return (source.rows @ _log(mass / mass.sum(axis=1, keepdims=True)).T).argmax(axis=1)


def _harden(source: _Source, cap: int) -> NDArray[np.intp]:
    """Anneal with at most ``cap`` clusters until the encoder is all but hard, and return its labels."""
    state = _sweep(source, np.geomspace(1, 1000, 24), cap, 1e-6, 50)[-1].state
    return np.asarray((state.weights * state.ratio).argmax(axis=1))


def _kept(source: _Source, labels: NDArray[np.intp], cap: int) -> float:
    """Return I(T;Y) − H(Y) of a partition, in nats."""
    return float(_content(np.eye(cap)[labels].T @ (source.prior[:, None] * source.rows)).sum())


def _move(source: _Source, labels: NDArray[np.intp], cap: int) -> NDArray[np.intp]:
    """Move one symbol at a time to the cluster where it keeps the most I(T;Y), until no move helps."""
    joint, labels = source.prior[:, None] * source.rows, labels.copy()
    mass = np.eye(cap)[labels].T @ joint
    moved = True
    while moved:
        moved = False
        for x in range(len(labels)):
            rest = mass.copy()
            rest[labels[x]] = np.maximum(rest[labels[x]] - joint[x], 0)
            gain = _content(rest + joint[x]) - _content(rest)
            best = int(gain.argmax())
            if gain[best] > gain[labels[x]] + 1e-12:
                rest[best] += joint[x]
                mass, labels[x], moved = rest, best, True
    return labels
