"""The bottleneck's solver: clusters as weights and points on the simplex over Y (all in nats, β multiplies I(T;Y)).

A cluster is a point s = q(y|t) of the simplex over Y with a weight q(t). What the public functions of
``t2v.bottleneck`` promise is found here: the best weights for given points, the next local minimum, and the
search for points whose insertion would lower the objective, c(s) > 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import entr, expit, rel_entr

from t2v import information

Array = NDArray[np.float64]

#: Floor of probabilities inside logarithms. exp(β p log FLOOR) vanishes where it must, without infinities.
_FLOOR = 1e-200
#: Clusters closer than this (4β times the Bhattacharyya deficit) are one cluster.
SAME = 1e-6
#: Climbs closer than this go the same way.
_NEAR = 1e-3
#: Up to so many symbols x the search is dense.
_FEW = 8
#: Log odds so far out that the other symbol no longer counts, and yet above the floor.
_FAR = 400.0


@dataclass(frozen=True)
class Source:
    """A joint distribution without its symbols of probability 0."""

    prior: Array  # p(x), (n,)
    rows: Array  # p(y|x), (n, m)
    marginal: Array  # p(y), (m,)
    keep_x: NDArray[np.bool_]
    keep_y: NDArray[np.bool_]

    @cached_property
    def apart(self) -> float:
        """The largest total variation between two rows: η is at most this (Dobrushin's coefficient)."""
        return min(1.0, 0.5 * max(float(np.abs(self.rows - row).sum(axis=1).max()) for row in self.rows))


def source_of(joint: ArrayLike) -> Source:
    array = information.check_distribution(joint, "joint", ndim=2)
    keep_x, keep_y = array.sum(axis=1) > 0, array.sum(axis=0) > 0
    inner = array[keep_x][:, keep_y]
    prior = inner.sum(axis=1)
    rows = inner / prior[:, None]
    prior = prior / prior.sum()
    return Source(prior, rows, prior @ rows, keep_x, keep_y)


# ------------------------------------------------------------------------------------------------------------
# Clusters: weights (k,) and points (k, m) on the simplex over Y. All in nats.
# ------------------------------------------------------------------------------------------------------------

Clusters = tuple[Array, Array]


@dataclass(frozen=True)
class State:
    """Clusters at one β, with the weights at their best for the points."""

    weights: Array  # q(t), (k,)
    points: Array  # q(y|t), (k, m)
    ratio: Array  # q(t|x)/q(t), (n, k)
    log_z: Array  # log Σ_t q(t) exp(β Σ_y p(y|x) log q(y|t)), (n,)
    value: float  # −E log Z: the objective up to the constant β H(Y)


@dataclass(frozen=True)
class Found:
    """A candidate solution; candidates compare by their value."""

    beta: float
    state: State
    n_iter: int
    converged: bool
    gap: float

    def __lt__(self, other: Found) -> bool:
        return self.state.value < other.state.value


class Maxima(NamedTuple):
    """Where climbs of c(s) ended: the points (n, m), log c there, and q(x|s), (n, n_x)."""

    points: Array
    log_c: Array
    posteriors: Array


def log(p: Array) -> Array:
    return np.log(np.maximum(p, _FLOOR))


def trivial(source: Source) -> Clusters:
    return np.ones(1), source.marginal[None]


def from_encoder(source: Source, encoder: Array, compact: bool = True) -> Clusters:
    """Return q(t) and q(y|t); clusters without weight are dropped, or (not compact) get p(y)."""
    mass = source.prior[:, None] * encoder
    weights = mass.sum(axis=0)
    used = weights > 0
    points = np.tile(source.marginal, (len(weights), 1))
    points[used] = (mass.T @ source.rows)[used] / weights[used, None]
    return (weights[used], points[used]) if compact else (weights, points)


def informations(source: Source, encoder: Array, weights: Array, points: Array) -> tuple[float, float]:
    """Return I(T;X) and I(T;Y) in nats."""
    i_tx = source.prior @ rel_entr(encoder, weights).sum(axis=1)
    i_ty = weights @ rel_entr(points, source.marginal).sum(axis=1)
    return max(float(i_tx), 0.0), max(float(i_ty), 0.0)


# ------------------------------------------------------------------------------------------------------------
# One β: weights, points, insertions
# ------------------------------------------------------------------------------------------------------------


def _state(source: Source, beta: float, points: Array, weights: Array) -> State:
    """Solve for the weights with the points given; clusters that get none are gone."""
    log_kernel = beta * source.rows @ log(points).T
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
    return State(weights, points, kernel / z[:, None], log_z, float(-source.prior @ log_z))


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


def _target(source: Source, state: State) -> Array:
    """Return where one Blahut–Arimoto round moves the points: q(y|t) of the current encoder."""
    mass = (source.prior[:, None] * state.weights * state.ratio).T @ source.rows
    return mass / mass.sum(axis=1, keepdims=True)


def _round(source: Source, beta: float, state: State, target: Array) -> State:
    """Take a Blahut–Arimoto round, and make one cluster of those that are equal."""
    weights, points = _merge(beta, state.weights, target)
    return _state(source, beta, points, weights)


def _polish(
    source: Source, beta: float, clusters: Clusters, tol: float, max_iter: int
) -> tuple[State, int, bool]:
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


def _step(source: Source, beta: float, state: State, target: Array) -> State:
    """Take a Newton step, shortened until it goes down; failing that, a Blahut–Arimoto round."""
    d_log, d_weights = _newton(source, beta, state, target)
    length = min(1.0, 1 / max(np.abs(d_log * np.sqrt(target)).max(), 1e-300))
    while length > 0.02:
        points = np.exp(log(state.points) + np.clip(length * d_log, -5, 2))
        points /= points.sum(axis=1, keepdims=True)
        guess = np.maximum(state.weights + length * d_weights, 0.1 * state.weights)
        new = _state(source, beta, points, guess)
        if new.value <= state.value + 1e-13:
            return new
        length *= 0.3
    return _state(source, beta, target, state.weights)


def _newton(source: Source, beta: float, state: State, target: Array) -> Clusters:
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


def closeness(beta: float, a: Array, b: Array) -> Array:
    """Return 4β(1 − Σ √(a b)) for every pair: about β/2 times the χ² distance of near points."""
    deficit = 1 - np.sqrt(a) @ np.sqrt(b).T
    return 4 * beta * np.where(deficit < 1e-14, 0, deficit)  # less is rounding, which a large β makes large


def _merge(beta: float, weights: Array, points: Array) -> Clusters:
    """Make one cluster of those that are equal."""
    first = (closeness(beta, points, points) < SAME).argmax(axis=1)
    groups, member = np.unique(first[first], return_inverse=True)
    if len(groups) == len(weights):
        return weights, points
    collect = np.zeros((len(groups), len(weights)))
    collect[member, np.arange(len(weights))] = 1
    merged = collect @ weights
    return merged, (collect @ (weights[:, None] * points)) / merged[:, None]


def modes(
    source: Source,
    beta: float,
    log_z: Array,
    starts: Array,
    cycles: int,
    tol: float,
    known: Array | None = None,
) -> Maxima:
    """Climb to local maxima of c(s) from the points ``starts``; with two symbols x find them all.

    Climbs that arrive at a ``known`` point are given up.

    c(s) = Σ_x p(x) exp(β Σ_y p(y|x) log s(y)) / Z(x). The Blahut–Arimoto step of one cluster alone never goes
    down; two of them are extrapolated for each start on its own (SQUAREM: Varadhan and Roland, 2008), which
    may, and so the best point of each climb is kept.
    """
    offset = (np.log(source.prior) - log_z)[:, None]
    if len(source.prior) == 2:
        starts = _between(source, beta, offset[:, 0]) @ source.rows
        _, log_c, posterior = _climb(source, beta, offset, starts)
        return Maxima(starts, log_c, posterior)
    best_c, best = np.full(len(starts), -math.inf), np.zeros((len(starts), len(source.prior)))
    going = np.arange(len(starts))
    for cycle in range(cycles):
        if cycle == 4:  # by now most climbs follow another one
            distinct = _distinct(beta, starts, known)
            going, starts = going[distinct], starts[distinct]
        once, c_once, _ = _climb(source, beta, offset, starts)
        twice, c_twice, posterior = _climb(source, beta, offset, once)
        better = c_twice > best_c[going]
        best_c[going[better]], best[going[better]] = c_twice[better], posterior[better]
        far = _extrapolate(starts, once, twice)
        climbing = c_twice - c_once > np.maximum(tol, -1e-4 * c_twice)  # or: so slowly that 1 is out of reach
        going, starts = going[climbing], far[climbing]
        if not len(going):
            break
    return Maxima(best @ source.rows, best_c, best)


def _distinct(beta: float, points: Array, known: Array | None) -> NDArray[np.intp]:
    """Return the indices of points that are at no known one, and each at some distance from those before it."""
    index = np.unique((closeness(beta, points, points) < _NEAR).argmax(axis=1))
    if known is None:
        return index
    return np.asarray(index[closeness(beta, points[index], known).min(axis=1) > 0.01 * _NEAR])


def rows(source: Source) -> Array:
    """Return the obvious starts: every p(y|x)."""
    # A little of p(y) everywhere: from a face of the simplex the climb would start too slowly.
    return 0.999 * source.rows + 0.001 * source.marginal


def everywhere(source: Source, posteriors: Array, points: Array) -> Array:
    """Return starts for a thorough search: mixtures of rows, and both sides of every cluster.

    A new cluster is often born close to an old one, where a climb from afar ends on the old one. There it lies
    along the leading singular direction f(x) of the old cluster's own joint, at q(x|t) (1 ± ε f(x)).
    """
    side = np.where(posteriors > 1e-9, _leading(source, posteriors, points) @ source.rows.T, 0)
    side -= (posteriors * side).sum(axis=1, keepdims=True)
    sides, old = np.concatenate([side, -side]), np.concatenate([posteriors, posteriors])
    sides /= np.maximum(-sides.min(axis=1, keepdims=True), 1e-300)  # ε = 1 leaves no probability to one x
    near = [
        old * np.maximum(1 + share * sides, 0)
        for share in ((0.1, 0.5, 1.0) if len(source.prior) <= _FEW else (0.4,))
    ]
    mixed = np.concatenate([_mixtures(len(source.prior)), *near])
    mixed /= mixed.sum(axis=1, keepdims=True)
    return np.asarray(0.999 * mixed @ source.rows + 0.001 * source.marginal)


@cache
def _mixtures(n: int) -> Array:
    """Return distributions over n symbols: of two symbols and at random, 150 for few symbols and 40 for many."""
    rng = np.random.default_rng(0)
    few = n <= _FEW
    pairs = np.array([(i, j) for i in range(n) for j in range(n) if i != j])
    first, second = np.eye(n)[rng.permutation(pairs)[: 60 if few else 20]].transpose(1, 0, 2)
    two = [share * first + (1 - share) * second for share in ((0.5, 0.9) if few else (0.6,))]
    return np.concatenate([*two, rng.dirichlet(np.full(n, 0.5), size=30 if few else 20)])


def _leading(source: Source, posteriors: Array, points: Array) -> Array:
    """Return each cluster's leading direction on Y that is not the constant, divided by √q(y|t), (k, m)."""
    root = np.sqrt(np.maximum(points, 1e-30))
    own = np.matmul(source.rows.T * posteriors[:, None, :], source.rows) / (
        root[:, :, None] * root[:, None, :]
    )
    own -= root[:, :, None] * root[:, None, :]  # the constant has the singular value 1
    return np.asarray(np.linalg.eigh(own)[1][:, :, -1] / root)


def _between(source: Source, beta: float, offset: Array) -> Array:
    """Return q(x|s) at all local maxima of c(s) where X has two symbols: a proof, not a search.

    On the line s = r p(y|0) + (1−r) p(y|1), r = 1/(1+e^−θ), maxima are the downward zeros of
    g(θ) = offset₀ − offset₁ + β Σ_y Δ(y) log s(y) − θ, Δ = p(y|0) − p(y|1). Its slope is β h(r) − 1 with
    h = r(1−r) Σ Δ²/s. Every term of h is linear in r plus C/s with C ≤ 0, so h is concave: g falls, rises and
    falls, and each of its two falling pieces has one downward zero at the most.
    """
    first, second = source.rows
    delta = first - second

    def g(theta: float) -> float:
        point = expit(theta) * first + expit(-theta) * second
        return float(offset[0] - offset[1] + beta * delta @ log(point) - theta)

    found = []
    # Left of the first edge, and right of the second, g falls; it may have its zero beyond the end, on a face.
    for end, edge in zip((-_FAR, _FAR), _turns(first, second, beta), strict=True):
        if g(end) * end >= 0:
            found.append(end)
        elif g(edge) * end >= 0:
            found.append(brentq(g, min(end, edge), max(end, edge), xtol=1e-12, maxiter=1000))
    theta = np.array(found)
    return np.stack([expit(theta), expit(-theta)], axis=1)


def _turns(first: Array, second: Array, beta: float) -> tuple[float, float]:
    """Return the two θ between which β h − 1 > 0 (see :func:`_between`); the summit of h twice if nowhere."""
    delta = first - second

    def height(theta: float) -> float:
        r, rest = expit(theta), expit(-theta)
        return float(beta * r * rest * (delta**2 / np.maximum(r * first + rest * second, _FLOOR)).sum() - 1)

    def slope(theta: float) -> float:
        r, rest = expit(theta), expit(-theta)
        s = np.maximum(r * first + rest * second, _FLOOR)
        return float((delta**2 * (rest - r - r * rest * delta / s) / s).sum())

    def zero(f: Callable[[float], float], low: float, high: float, otherwise: float) -> float:
        return float(brentq(f, low, high, maxiter=1000)) if f(low) * f(high) < 0 else otherwise

    top = zero(slope, -_FAR, _FAR, -_FAR if slope(-_FAR) < 0 else _FAR)
    if height(top) <= 0:
        return top, top
    return zero(height, -_FAR, top, -_FAR), zero(height, top, _FAR, _FAR)


def _extrapolate(start: Array, once: Array, twice: Array) -> Array:
    """Return a point further along each climb, inside the simplex (SQUAREM's third step length)."""
    first, change = once - start, twice - 2 * once + start
    length = np.sqrt((first**2).sum(axis=1) / np.maximum((change**2).sum(axis=1), 1e-300))
    length = np.clip(length, 1, 100)[:, None]
    far = np.maximum(start + 2 * length * first + length**2 * change, 0.1 * twice)
    return np.asarray(far / far.sum(axis=1, keepdims=True))


def _climb(source: Source, beta: float, offset: Array, points: Array) -> tuple[Array, Array, Array]:
    """Take one step up log c(s): return the new points, log c at the old ones, and q(x|s)."""
    exponent = offset + beta * source.rows @ log(points).T
    shift = exponent.max(axis=0)
    mass = np.exp(np.maximum(exponent - shift, -600))
    total = mass.sum(axis=0)
    posterior = (mass / total).T
    return posterior @ source.rows, shift + np.log(total), posterior


def descend(
    source: Source, beta: float, clusters: Clusters, cap: int, tol: float, max_iter: int, rounds: int = 30
) -> Found:
    """Alternate between the next local minimum and the insertion of clusters, until nothing is left to insert."""
    if nothing_pays(source, beta):
        return Found(beta, _state(source, beta, source.marginal[None], np.ones(1)), 0, True, 0.0)
    n_iter = 0
    for _ in range(rounds):
        state, n, converged = _polish(source, beta, clusters, tol, max_iter)
        n_iter, room = n_iter + n, cap - len(state.weights)
        found = modes(source, beta, state.log_z, rows(source), 50, 0.1 * tol, state.points)
        added = _insert(source, beta, state, found, room, tol)
        if added is None and len(source.prior) > 2:  # with two symbols nothing has been missed
            posteriors = (source.prior[:, None] * state.ratio).T
            starts = everywhere(source, posteriors, state.points)
            cycles = 50 if len(source.prior) <= _FEW else 25
            more = modes(source, beta, state.log_z, starts, cycles, 0.1 * tol, state.points)
            added = _insert(source, beta, state, more, room, tol)
            found = Maxima(*(np.concatenate(pair) for pair in zip(found, more, strict=True)))
        if added is None:
            break
        clusters = added
    gap = max(float(found.log_c.max()), 0.0)
    return Found(beta, state, n_iter, converged or gap <= tol, gap)


def _insert(
    source: Source, beta: float, state: State, found: Maxima, room: int, tol: float
) -> Clusters | None:
    """Add clusters at the maxima of c(s) that exceed 1; ``None`` if there is nothing new, or no room."""
    points, log_c = found.points, found.log_c
    new: list[int] = []
    far = closeness(beta, points, state.points).min(axis=1) > SAME
    for i in np.argsort(-log_c):
        if len(new) >= room or log_c[i] <= tol:
            break
        if far[i] and (not new or closeness(beta, points[i : i + 1], points[new]).min() > 0.02):
            new.append(int(i))
    if not new:
        return None
    # The weight that would be best for each alone: a Newton step from 0, (c − 1) / Σ p (K/Z)², and a few
    # rounds.
    kernel = np.exp(np.clip(beta * source.rows @ log(points[new]).T - state.log_z[:, None], -600, 300))
    weights = np.maximum((source.prior @ kernel - 1) / (source.prior @ kernel**2), 1e-12)
    for _ in range(5):
        weights = source.prior @ (weights * kernel / (1 - weights + weights * kernel))
    weights *= min(1.0, 0.2 / weights.sum())
    return (
        np.concatenate([state.weights * (1 - weights.sum()), weights]),
        np.concatenate([state.points, points[new]]),
    )


def nothing_pays(source: Source, beta: float) -> bool:
    """Tell whether the trivial encoder is proven to be best: I(T;Y) ≤ η I(T;X), and β η ≤ 1."""
    return beta * source.apart <= 1


def certificate(source: Source, found: Found, objective: float) -> tuple[float, bool]:
    """Return how much lower the objective (nats) of any encoder can be, and whether that is a proof.

    Where Y is a function of X, I(T;X) ≥ I(T;Y), so for β ≥ 1 nothing lies below (1 − β) H(Y).
    """
    if nothing_pays(source, found.beta):
        return max(objective, 0.0), True
    if np.count_nonzero(source.rows) == len(source.rows):
        return max(objective - (1 - found.beta) * float(entr(source.marginal).sum()), 0.0), True
    return found.gap, len(source.prior) <= 2  # the maxima of c(s) are exact for two symbols


# ------------------------------------------------------------------------------------------------------------
# Many starts, many β
# ------------------------------------------------------------------------------------------------------------


def restart(
    source: Source, beta: float, cap: int, tol: float, max_iter: int, rng: np.random.Generator, restarts: int
) -> list[Found]:
    """Return solutions from an annealed path, the unrestricted solution merged, hard clusters and random encoders."""
    path = np.geomspace(min(1.0, beta), beta, 10)
    found = [sweep(source, path, cap, tol, max_iter)[-1]]
    starts = [_reduced(source, beta, cap, tol, max_iter), _hard(source, agglomerate(source, cap), cap)]
    if cap == len(source.prior):
        starts.append((source.prior, source.rows))  # all that is sufficient: best where β is huge
    for _ in range(restarts):
        labels = rng.integers(cap, size=len(source.prior))
        starts.append(_hard(source, labels, cap))
    return found + [descend(source, beta, start, cap, tol, max_iter) for start in starts]


def _hard(source: Source, labels: NDArray[np.intp], cap: int) -> Clusters:
    """Return the clusters of a partition, softened by 1% so that no symbol is out of any cluster's reach."""
    return from_encoder(source, 0.99 * np.eye(cap)[labels] + 0.01 / cap)


def _reduced(source: Source, beta: float, cap: int, tol: float, max_iter: int) -> Clusters:
    """Solve without restriction, and merge the cheapest pairs of clusters down to ``cap``."""
    n = len(source.prior)
    state = descend(source, beta, trivial(source), n, tol, max_iter).state
    mass = state.weights[:, None] * state.points
    merged = _merge_greedily(mass, cap)
    weights = merged.sum(axis=1)
    return weights, merged / weights[:, None]


def sweep(source: Source, betas: Array, cap: int, tol: float, max_iter: int) -> list[Found]:
    """Follow the solution as β rises; where clusters are restricted, also as it falls, and keep the better."""
    found: list[Found] = []
    for beta in betas:
        found.append(
            descend(source, float(beta), _ahead(source, found[-2:], float(beta)), cap, tol, max_iter)
        )
    if cap < len(source.prior) and max(f.gap for f in found) > tol:
        clusters = _reduced(source, float(betas[-1]), cap, tol, max_iter)
        for i in range(len(betas) - 1, -1, -1):
            down = descend(source, float(betas[i]), clusters, cap, tol, max_iter)
            clusters = down.state.weights, down.state.points
            found[i] = min(found[i], down)
    return found


def _ahead(source: Source, last: list[Found], beta: float) -> Clusters:
    """Extrapolate the last two solutions to the next β, where they have the same clusters; else take the last."""
    if not last:
        return trivial(source)
    new, old = last[-1].state, last[0].state
    if len(new.weights) != len(old.weights) or last[-1].beta == last[0].beta or len(new.weights) == 1:
        return new.weights, new.points
    ratio = (beta - last[-1].beta) / (last[-1].beta - last[0].beta)
    weights = np.clip(new.weights + ratio * (new.weights - old.weights), 0.5 * new.weights, 2 * new.weights)
    points = np.clip(new.points + ratio * (new.points - old.points), 0.5 * new.points, 2 * new.points)
    return weights / weights.sum(), points / points.sum(axis=1, keepdims=True)


def compete(source: Source, found: list[Found], betas: Array, cap: int, tol: float, max_iter: int) -> None:
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
            other = descend(source, float(betas[i]), (state.weights, state.points), cap, tol, max_iter)
            if other < found[i]:
                found[i], changed = other, True
        if not changed:
            break


def critical(posteriors: Array, source: Source, points: Array) -> Array:
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


def agglomerate(source: Source, n_clusters: int) -> NDArray[np.intp]:
    """Return the labels of x after greedy merging from one cluster for each x."""
    mass = source.prior[:, None] * source.rows
    merged = _merge_greedily(mass, n_clusters)
    return _nearest(source, merged)


def _nearest(source: Source, mass: Array) -> NDArray[np.intp]:
    """Return the cluster whose q(y|t) is nearest to each p(y|x), in KL(p(y|x)‖q(y|t))."""
    return (source.rows @ log(mass / mass.sum(axis=1, keepdims=True)).T).argmax(axis=1)


def harden(source: Source, cap: int) -> NDArray[np.intp]:
    """Anneal with at most ``cap`` clusters until the encoder is all but hard, and return its labels."""
    state = sweep(source, np.geomspace(1, 1000, 24), cap, 1e-6, 50)[-1].state
    return np.asarray((state.weights * state.ratio).argmax(axis=1))


def preserved(source: Source, labels: NDArray[np.intp], cap: int) -> float:
    """Return I(T;Y) − H(Y) of a partition, in nats."""
    return float(_content(np.eye(cap)[labels].T @ (source.prior[:, None] * source.rows)).sum())


def move(source: Source, labels: NDArray[np.intp], cap: int) -> NDArray[np.intp]:
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
