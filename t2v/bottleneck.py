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
   cluster. Where c(s) > 1, a cluster is inserted at s: this is how bifurcations are found, and how local
   minima are left. What remains, log max c(s), bounds the distance to the global minimum: it is reported as
   ``gap``. Where X has two symbols all maxima of c(s) are known, and the gap is a proof; with more symbols
   they are searched for, from mixtures of the p(y|x) and from both sides of every cluster, and the gap is as
   good as that search (``proven`` tells which).
4. With fewer clusters than the global minimum wants, the problem is not convex: then the best of an annealed
   path, of the unrestricted solution merged, of hard clusters and of random restarts is returned.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from t2v import _simplex, information
from t2v._checks import plain, precision, real

Array = NDArray[np.float64]


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
        is the minimum within ``tol`` nats (where clusters hardly differ it is flat). Where the number of
        clusters is not restricted, the ``gap`` must be closed, too.
    gap : float
        How much lower the objective of *any* encoder, with any number of clusters, can be, in units of
        ``base``: from the optimality conditions; ``nan`` where not computed. See ``proven``.
    base : float
        Base of the logarithms.
    proven : bool
        Whether ``gap`` is a proof (up to rounding): X has two symbols, Y is a function of X, or β is so small
        that nothing can be worth its price. Elsewhere it comes from a search of the simplex, and is as good as
        that search.
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
    proven: bool = False

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

    @property
    def proven(self) -> NDArray[np.bool_]:
        """Whether the bound is a proof at every β, or as good as a search (see :class:`Bottleneck`)."""
        return np.array([s.proven for s in self.solutions])


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

    With the default number of clusters the result is the global minimum within ``gap``, which is a proof where
    ``proven`` says so and elsewhere as good as a search of the simplex. With fewer clusters it is the best of
    an annealed path, the unrestricted solution merged, hard clusters, ``restarts`` random encoders and
    ``init``.

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
    source = _simplex.source_of(joint)
    beta, cap = _check_beta(beta), _check_clusters(n_clusters, source)
    _check_limits(tol, max_iter, restarts)
    starts = [_simplex.trivial(source)]
    if init is not None:
        encoder = information.check_channel(init, "init", n_inputs=source.keep_x.size)
        if encoder.shape[1] > cap:
            raise ValueError(f"init has {encoder.shape[1]} columns; accepted: at most n_clusters = {cap}")
        starts.append(_simplex.from_encoder(source, encoder[source.keep_x]))
    found = [_simplex.descend(source, beta, start, cap, tol, max_iter) for start in starts]
    if min(found).gap > 10 * tol:
        found += _simplex.restart(source, beta, cap, tol, max_iter, np.random.default_rng(seed), restarts)
    best = replace(min(found), n_iter=sum(f.n_iter for f in found))
    return _result(source, best, cap, _width(n_clusters, source), base)


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
    source, cap = _simplex.source_of(joint), _check_clusters(n_clusters, _simplex.source_of(joint))
    _check_limits(tol, max_iter, 0)
    values = _check_betas(betas)
    order = np.argsort(values, kind="stable")
    found = _simplex.sweep(source, values[order], cap, tol, max_iter)
    _simplex.compete(source, found, values[order], cap, tol, max_iter)
    solutions = [_result(source, f, cap, _width(n_clusters, source), base) for f in found]
    chosen = _envelope(values[order], solutions)
    picked = {
        int(i): _taken_over(solutions[c], own) for i, c, own in zip(order, chosen, solutions, strict=True)
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
    source, beta = _simplex.source_of(joint), _check_beta(beta)
    _check_limits(tol, max_iter, 0)
    rows = information.check_channel(encoder, "encoder", n_inputs=source.keep_x.size)
    inner, moved, n = rows[source.keep_x], np.inf, 0
    while moved > tol and n < max_iter:
        weights, points = _simplex.from_encoder(source, inner, compact=False)
        with np.errstate(divide="ignore"):  # an unused cluster: weight 0, logarithm −∞, stays unused
            logits = np.log(weights) + beta * source.rows @ _simplex.log(points).T
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
    source = _simplex.source_of(joint)
    rows = information.check_channel(encoder, "encoder", n_inputs=source.keep_x.size)
    unit = information.log_base(base)
    inner = rows[source.keep_x]
    weights, points = _simplex.from_encoder(source, inner, compact=False)
    i_tx, i_ty = _simplex.informations(source, inner, weights, points)
    decoder = np.zeros((rows.shape[1], source.keep_y.size))
    decoder[:, source.keep_y] = points
    value = beta if beta == math.inf else _check_beta(beta)
    return Bottleneck(rows, weights, decoder, i_tx / unit, i_ty / unit, value, base=base)


def critical_beta(joint: ArrayLike) -> float:
    """Return β_c = 1/σ₂²: where the trivial encoder stops being a *local* minimum (β multiplies I(T;Y)).

    σ₂ is the second singular value of p(x, y)/√(p(x) p(y)), the maximal correlation of X and Y. Annealing
    from small β leaves the trivial solution here at the latest; the global minimum usually leaves it earlier:
    see :func:`onset_beta`.

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
    source = _simplex.source_of(joint)
    return float(_simplex.critical(source.prior[None], source, source.marginal[None])[0])


def stability(joint: ArrayLike, bottleneck: Bottleneck) -> Array:
    """Return, for every cluster, the β beyond which it splits: :func:`critical_beta` of the cluster's own joint.

    Within cluster t, X has the distribution q(x|t), and Y the channel p(y|x): a little world of its own. No
    cluster of an optimal solution outlives its critical β; a new cluster may be born before
    (:func:`bifurcations`).

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
    source = _simplex.source_of(joint)
    rows = information.check_channel(bottleneck.encoder, "bottleneck.encoder", n_inputs=source.keep_x.size)
    inner = rows[source.keep_x][:, bottleneck.prior > 0]
    posterior = (source.prior[:, None] * inner / (source.prior @ inner)).T
    posterior[posterior < 1e-9] = 0
    posterior /= posterior.sum(axis=1, keepdims=True)
    return _simplex.critical(posterior, source, posterior @ source.rows)


def onset_beta(joint: ArrayLike) -> float:
    """Return the largest β up to which the trivial encoder is the *global* minimum (β multiplies I(T;Y)).

    It is 1/η, where η = sup_r KL(r_Y‖p_Y)/KL(r_X‖p_X) = sup_T I(T;Y)/I(T;X) is the contraction coefficient of
    the strong data-processing inequality. η ≥ σ₂², so the onset is never later than :func:`critical_beta`. The
    two are equal where the best r lies next to p_X, as for Gaussians and for the binary symmetric channel.

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).

    Returns
    -------
    float
        At least 1; ``inf`` if X and Y are independent. Exact where X has two symbols; with more it is the best
        that a search finds, from mixtures of the p(y|x) and from both sides of p(y): in principle an upper
        bound.

    Raises
    ------
    TypeError, ValueError
        If ``joint`` is not a distribution with two axes.

    References
    ----------
    Ahlswede and Gács (1976) for η; Anantharam, Gohari, Kamath and Nair (2013); Dinkelbach (1967) for the
    iteration.
    """
    source = _simplex.source_of(joint)
    beta = float(_simplex.critical(source.prior[None], source, source.marginal[None])[0])
    sides = _simplex.everywhere(source, source.prior[None], source.marginal[None])
    starts = np.concatenate([_simplex.rows(source), sides])
    for _ in range(100):
        if beta in (1.0, math.inf):
            break
        log_z = beta * source.rows @ _simplex.log(source.marginal)
        found = _simplex.modes(source, beta, log_z, starts, 500, 1e-15)
        cost = rel_entr(found.posteriors, source.prior).sum(axis=1)
        gain = rel_entr(found.points, source.marginal).sum(axis=1)
        away = gain > 1e-10
        better = (cost[away] / gain[away]).min(initial=math.inf)
        if better >= beta * (1 - 1e-12):
            break
        beta = max(1.0, float(better))
    return beta


class _Change(NamedTuple):
    beta: float
    before: int
    after: int


class Bifurcation(_Change):
    """A change of the number of clusters as β rises: a triple (β, before, after) with a ``kind``.

    Attributes
    ----------
    beta : float
        Where it happens.
    before, after : int
        Number of clusters below and above.
    kind : str
        ``"birth"``: a new cluster appears at a distance from all others, its weight growing from 0.
        ``"split"``: a cluster parts into two that leave from where it was. ``"jump"``: I(T;X) itself is
        discontinuous. ``"death"``: a cluster's weight falls to 0.
    """

    kind: str

    def __new__(cls, beta: float, before: int, after: int, kind: str) -> Bifurcation:
        """Make the triple, and hang the kind on it."""
        made = super().__new__(cls, beta, before, after)
        made.kind = kind
        return made

    def __repr__(self) -> str:
        return (
            f"Bifurcation(beta={self.beta:.6g}, before={self.before}, after={self.after}, kind={self.kind!r})"
        )


def bifurcations(
    joint: ArrayLike, beta_max: float, n_clusters: int | None = None, *, steps: int = 100, rtol: float = 1e-5
) -> list[Bifurcation]:
    """Find where the number of clusters changes as β rises, and how (β multiplies I(T;Y)).

    Parameters
    ----------
    joint : array_like, shape (n_x, n_y)
        p(x, y).
    beta_max : float
        Look from 1 to here; greater than 1.
    n_clusters : int, optional
        The largest number of clusters, as in :func:`solve`.
    steps : int
        Points of the first, geometric grid. Changes that cancel between neighbours go unseen.
    rtol : float
        Each change is bracketed to this relative width, by bisection. Changes closer to each other than ten
        times that are reported as one: next to a split the objective is too flat to tell them apart.

    Returns
    -------
    list of Bifurcation
        Triples (β, number of clusters before, after), each with a ``kind``; every "after" is the next one's
        "before". As reliable as the solutions are (``Bottleneck.gap``, ``proven``).

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message names it.
    """
    if _check_beta(beta_max, "beta_max") <= 1:
        raise ValueError(f"beta_max is {beta_max!r}; accepted: a number > 1 (up to 1 there is one cluster)")

    def solved(beta: float) -> Bottleneck:
        return solve(joint, beta, n_clusters, tol=1e-10)

    def between(low: Bottleneck, high: Bottleneck) -> Iterator[tuple[Bottleneck, Bottleneck]]:
        """Bracket the changes between two solutions, one after the other, so that their counts chain."""
        while low.n_used != high.n_used:
            below, above = low, high
            while above.beta / below.beta > 1 + rtol:
                middle = solved(math.sqrt(below.beta * above.beta))
                below, above = (middle, above) if middle.n_used == low.n_used else (below, middle)
            yield below, above
            low = above

    grid = np.geomspace(1, beta_max, steps)
    rough = curve(joint, grid, n_clusters)
    brackets: list[tuple[Bottleneck, Bottleneck]] = []
    for low, high in pairwise(rough.solutions):
        # Where clusters are next to equal their number is a matter of tolerance, and changes have no end.
        for before, after in islice(between(low, high), len(low.prior)):
            if brackets and after.beta / brackets[-1][1].beta <= 1 + 10 * rtol:
                brackets[-1] = brackets[-1][0], after
            else:
                brackets.append((before, after))
    return [_change(low, high, solved) for low, high in brackets if low.n_used != high.n_used]


def _change(low: Bottleneck, high: Bottleneck, solved: Callable[[float], Bottleneck]) -> Bifurcation:
    """Name a change between two neighbours, by looking ten times as far."""
    beyond = solved(high.beta * (high.beta / low.beta) ** 9)
    return Bifurcation(math.sqrt(low.beta * high.beta), low.n_used, high.n_used, _kind(low, high, beyond))


def _kind(low: Bottleneck, high: Bottleneck, beyond: Bottleneck) -> str:
    """Tell how the clusters of ``high`` came from those of ``low``, its neighbour; ``beyond`` is ten times as far.

    What grows continuously is ten times as large there; what does not, is already here.
    """

    def distance(solution: Bottleneck) -> float:
        """Return how far the cluster furthest from all of ``low``'s is."""
        new, old = (s.decoder[: s.n_used] for s in (solution, low))
        return float(_simplex.closeness(low.beta, new, old).min(axis=1).max())

    leap = abs(high.i_tx - low.i_tx)
    if leap > 1e-6 and leap > 0.5 * abs(beyond.i_tx - low.i_tx):
        return "jump"
    if high.n_used < low.n_used:
        return "death"
    return "birth" if distance(high) > 0.5 * distance(beyond) else "split"


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
    source = _simplex.source_of(joint)
    cap = _check_clusters(n_clusters, source)
    _check_limits(1.0, 1, restarts)
    rng = np.random.default_rng(seed)
    starts = [_simplex.agglomerate(source, cap), _simplex.harden(source, cap)]
    starts += [rng.integers(cap, size=len(source.prior)) for _ in range(restarts)]
    labels = max(
        (_simplex.move(source, s, cap) for s in starts),
        key=lambda found: _simplex.preserved(source, found, cap),
    )
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
    cross = real(cov_xy, "cov_xy")
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


def _check_beta(beta: float, name: str = "beta") -> float:
    if isinstance(beta, bool) or not isinstance(beta, numbers.Real):
        raise TypeError(f"{name} is {beta!r}; accepted: a number > 0")
    if not 0 < beta < math.inf:
        raise ValueError(
            f"{name} is {beta!r}; accepted: a finite number > 0 (for hard clusters: deterministic)"
        )
    return float(beta)


def _check_betas(betas: ArrayLike) -> Array:
    if plain(betas, "betas").dtype.kind not in "iufO":
        raise TypeError(
            f"betas has entries of type {plain(betas, 'betas').dtype}; accepted: a list of numbers > 0"
        )
    array = real(betas, "betas")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"betas has shape {array.shape}; accepted: one axis with at least one number > 0")
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError("betas has entries that are not finite and > 0; accepted: finite numbers > 0")
    return array


def _check_clusters(n_clusters: int | None, source: _simplex.Source) -> int:
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


def _width(n_clusters: int | None, source: _simplex.Source) -> int:
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
    array, epsilon = real(covariance, name), precision(covariance)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; accepted: a square matrix")
    # a product in a shorter float is symmetric to its rounding only
    rtol, atol = max(1e-9, 4 * epsilon), max(1e-12, 4 * epsilon * float(np.abs(array).max()))
    if not np.isfinite(array).all() or not np.allclose(array, array.T, rtol=rtol, atol=atol):
        raise ValueError(
            f"{name} is not finite and symmetric; accepted: a symmetric, positive definite matrix"
        )
    try:
        return np.asarray(np.linalg.cholesky((array + array.T) / 2), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"{name} is not positive definite; accepted: a symmetric, positive definite matrix"
        ) from error


# ------------------------------------------------------------------------------------------------------------
# Output
# ------------------------------------------------------------------------------------------------------------


def _result(source: _simplex.Source, found: _simplex.Found, cap: int, width: int, base: float) -> Bottleneck:
    """Sort the clusters by weight, put back the symbols of probability 0, and measure in the caller's units."""
    inner = found.state.weights * found.state.ratio
    inner /= inner.sum(axis=1, keepdims=True)
    inner = inner[:, np.argsort(-(source.prior @ inner), kind="stable")]
    weights, points = _simplex.from_encoder(source, inner, compact=False)
    i_tx, i_ty = _simplex.informations(source, inner, weights, points) if len(weights) > 1 else (0.0, 0.0)
    gap, proven = _simplex.certificate(source, found, i_tx - found.beta * i_ty)
    # Of a solution of size β only 1e-14 β can be told; fewer clusters than wanted leave a gap that stays.
    closed = cap < len(source.prior) or gap <= max(1e-7, 1e-14 * found.beta)
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
        encoder=encoder,
        prior=prior,
        decoder=decoder,
        i_tx=i_tx / unit,
        i_ty=i_ty / unit,
        beta=found.beta,
        n_iter=found.n_iter,
        converged=found.converged and closed,
        gap=gap / unit,
        base=base,
        proven=proven,
    )


def _taken_over(other: Bottleneck, own: Bottleneck) -> Bottleneck:
    """Return another β's solution at this β, with what this β's own certificate says of it."""
    moved = replace(other, beta=own.beta)
    gap = max(own.gap - (own.objective - moved.objective), 0.0)
    return replace(moved, gap=gap, proven=own.proven)


def _envelope(betas: Array, solutions: Sequence[Bottleneck]) -> list[int]:
    """Choose the best of all solutions at every β (ascending); of equals the choice of the β before, or the first."""
    i_tx, i_ty = (np.array([getattr(s, name) for s in solutions]) for name in ("i_tx", "i_ty"))
    values = i_tx - betas[:, None] * i_ty
    chosen: list[int] = []
    for row in values:
        equal = np.flatnonzero(row <= row.min() + 1e-14 * max(1.0, abs(row.min())))
        chosen.append(chosen[-1] if chosen and chosen[-1] in equal else int(equal[0]))
    return chosen
