"""An oracle for the information bottleneck of small tables, which shares no code and no search with ``t2v``.

An encoder q(t|x) is a set of posteriors r = p(x|t) with weights whose mean is p(x). With β on I(T;Y)

    I(T;X) − β I(T;Y) = −Σ_t p(t) G(r_t),   G(r) = β KL(r_Y‖p_Y) − KL(r‖p_X),   r_Y = Σ_x r(x) p(y|x),

so the minimum is minus the concave envelope of G at p_X (Witsenhausen and Wyner, 1975): a linear programme over
all r in the simplex over X, with the dual "the lowest plane λ·r that lies on or above G". Up to four symbols the
simplex can be searched exhaustively: three lattices, evenly spaced in r, in the likelihood r/p_X and, towards the
boundary, in its fourth root (:func:`lattice`, :func:`cloud`). Columns are priced on all of their points, the local
maxima of the price are polished by Newton's method, and the programme is solved again until no r is above the plane.

The encoder that comes back is a real one, so its objective is an upper bound of the minimum without any trust in
this file. The lower bound comes from the plane: :func:`excess_bound` bounds by branch and bound how far G can rise
above it anywhere in the simplex (rigorous up to rounding: KL is convex, so a chord bounds the one term from above
and a tangent the other from below). Everything inside is in nats; ``best`` and ``bounds`` return bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import kl_div, xlogy

Array = NDArray[np.float64]
POINTS_PER_EDGE = {1: 1, 2: 3000, 3: 90, 4: 36}
WARPS = ((0, 1), (1, 1), (1, 4))  # r ∝ p^a (k/N)^b for (a, b); k runs over the lattice


def divergence(r: Array, p: Array) -> Array:
    """Return KL(r‖p) in nats along the last axis, with full relative precision also where r is next to p > 0.

    KL(r‖p) = Σ p φ(r/p − 1) with φ(t) = (1+t) ln(1+t) − t = t²/2 − t³/6 + …: no term is lost to cancellation.
    """
    t = (r - p) / p
    series = t * t * (1 / 2 - t * (1 / 6 - t * (1 / 12 - t * (1 / 20 - t / 30))))
    return (p * np.where(np.abs(t) < 1e-3, series, xlogy(1 + t, 1 + t) - t)).sum(-1)


@dataclass(frozen=True)
class Channel:
    """A joint distribution without its impossible x: prior p(x), rows p(y|x) and p(y)."""

    prior: Array
    rows: Array
    marginal: Array

    def informations(self, r: Array) -> tuple[Array, Array]:
        """Return KL(r_Y‖p_Y) and KL(r‖p_X) in nats for posteriors r of shape (m, n_x)."""
        return divergence(r @ self.rows, self.marginal), divergence(r, self.prior)

    def gain(self, r: Array, beta: float) -> Array:
        """Return G(r) = β KL(r_Y‖p_Y) − KL(r‖p_X) in nats."""
        return beta * kl_div(r @ self.rows, self.marginal).sum(-1) - kl_div(r, self.prior).sum(-1)


def channel(joint: Array) -> Channel:
    """Return the channel of a table p(x, y), without x and y of probability zero."""
    joint = np.asarray(joint, dtype=float)
    joint = joint[joint.sum(1) > 0][:, joint.sum(0) > 0]
    prior = joint.sum(1)
    return Channel(prior, joint / prior[:, None], joint.sum(0))


# ---------------------------------------------------------------- the exhaustive search over the simplex


@lru_cache(maxsize=16)
def lattice(n: int, points: int) -> tuple[Array, NDArray[np.intp]]:
    """Return all k/N with integers k ≥ 0 of sum N = ``points``, and the indices of each one's lattice neighbours.

    A neighbour moves one unit from one symbol to another; where there is none the point names itself.
    """
    axes = np.meshgrid(*[np.arange(points + 1)] * (n - 1), indexing="ij")
    head = np.stack([a.ravel() for a in axes], -1) if n > 1 else np.zeros((1, 0), dtype=int)
    head = head[head.sum(1) <= points]
    k = np.column_stack([head, points - head.sum(1)])
    power = (points + 1) ** np.arange(n)[::-1]
    codes = k @ power  # rises along the list, as meshgrid counts the last axis fastest
    order = np.argsort(codes)
    k, codes = k[order], codes[order]
    neighbours = []
    for i in range(n):
        for j in range(n):
            if i != j:
                legal = k[:, i] > 0
                moved = np.where(legal, codes - power[i] + power[j], codes)
                neighbours.append(np.searchsorted(codes, moved))
    table = np.stack(neighbours, -1) if neighbours else np.zeros((len(k), 1), dtype=np.intp)
    return k / points, table


@dataclass(frozen=True)
class Cloud:
    """The lattices of one channel: posteriors (n_warps, m, n_x), both informations, and the neighbour table."""

    r: Array
    kept: Array
    paid: Array
    neighbours: NDArray[np.intp]

    def peaks(self, value: Array, most: int = 24) -> Array:
        """Return the posteriors at the highest local maxima of ``value`` (n_warps, m), per lattice."""
        found = []
        for r, v in zip(self.r, value, strict=True):
            top = np.flatnonzero((v >= v[self.neighbours].max(1)) & np.isfinite(v))
            found.append(r[top[np.argsort(-v[top])[:most]]])
        return np.concatenate(found)


def cloud(ch: Channel, refine: float = 1) -> Cloud:
    """Evaluate a channel on its lattices; ``refine`` multiplies the number of points along an edge."""
    n = len(ch.prior)
    k, neighbours = lattice(n, max(1, round(POINTS_PER_EDGE[n] * refine)))
    r = np.stack([ch.prior**a * k**b for a, b in WARPS])
    r /= r.sum(-1, keepdims=True)
    kept, paid = ch.informations(r)
    return Cloud(r, kept, paid, neighbours)


def inward(r: Array, prior: Array) -> Array:
    """Return the posteriors with zeros as they are and, once more, moved a little off the boundary.

    On a face the slope inwards can be infinite, and a rise that starts there narrower than the lattice.
    """
    return np.concatenate([r, (1 - 1e-7) * r + 1e-7 * prior])


def ascent(ch: Channel, r: Array, beta: float, plane: Array) -> Array:
    """Return Newton's direction of G(r) − λ·r in the coordinates log r, with every eigenvalue made negative."""
    seen = r @ ch.rows
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = beta * (np.log(np.where(seen > 0, seen / ch.marginal, 1)) @ ch.rows.T)
        slope = slope - np.log(np.where(r > 0, r / ch.prior, 1)) - plane
    slope = np.where(r > 0, slope - (r * slope).sum(-1, keepdims=True), 0)
    root = np.sqrt(r)
    half = root[:, :, None] * ch.rows / np.sqrt(np.maximum(seen, 1e-300))[:, None, :]
    curvature = np.eye(r.shape[1]) - beta * half @ half.transpose(0, 2, 1)
    size, axes = np.linalg.eigh(curvature)
    along = (axes.transpose(0, 2, 1) @ (root * slope)[:, :, None])[:, :, 0] / np.maximum(np.abs(size), 1e-4)
    step = (axes @ along[:, :, None])[:, :, 0] / np.where(root > 0, root, 1)
    return np.where(r > 0, step, 0)


def polish(ch: Channel, r: Array, beta: float, plane: Array, rounds: int = 40) -> tuple[Array, Array]:
    """Climb G(r) − λ·r from each posterior; return where the climbs end and the heights there (nats)."""
    r, height = r.copy(), ch.gain(r, beta) - r @ plane
    length, climbing = np.ones(len(r)), np.arange(len(r))
    for _ in range(rounds):
        at = r[climbing]
        trial = at * np.exp(np.clip(length[climbing, None] * ascent(ch, at, beta, plane), -2, 2))
        trial /= trial.sum(-1, keepdims=True)
        gained = ch.gain(trial, beta) - trial @ plane - height[climbing]
        up = gained > 0
        r[climbing[up]] = trial[up]
        height[climbing[up]] += gained[up]
        length[climbing] = np.where(up, np.minimum(1, 4 * length[climbing]), length[climbing] / 4)
        climbing = climbing[(gained > 1e-13) | (~up & (length[climbing] > 1e-3))]
        if not len(climbing):
            break
    return r, height


# ---------------------------------------------------------------- the linear programme


@dataclass(frozen=True)
class Envelope:
    """The concave envelope of G at p_X: posteriors with weights, the plane λ, and the highest rise found above it."""

    r: Array
    weights: Array
    plane: Array
    excess: float


def programme(ch: Channel, columns: Array, beta: float) -> tuple[Array, Array]:
    """Maximise Σ w G(r) over weights with mean posterior p_X: weights, and the plane (the dual), in nats."""
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    scaled = (columns / ch.prior).T
    result = linprog(-ch.gain(columns, beta), A_eq=scaled, b_eq=np.ones(len(ch.prior)), options=tight)
    if result.x is None:
        result = linprog(-ch.gain(columns, beta), A_eq=scaled, b_eq=np.ones(len(ch.prior)))
    return np.maximum(result.x, 0), -result.eqlin.marginals / ch.prior


def around(r: Array, reach: float) -> Array:
    """Return the posteriors with each symbol made more and less likely by a factor exp(±``reach``)."""
    n = r.shape[1]
    factors = np.exp(reach * np.concatenate([np.eye(n), -np.eye(n)]))
    near = (r[:, None, :] * factors).reshape(-1, n)
    return near / near.sum(-1, keepdims=True)


def rises(
    ch: Channel, beta: float, grid: Cloud, plane: Array, support: Array, most: int
) -> tuple[Array, Array]:
    """Return local maxima of G(r) − λ·r and their heights, from ``most`` peaks per lattice, the support and p_X."""
    starts = grid.peaks(beta * grid.kept - grid.paid - grid.r @ plane, most)
    starts = np.concatenate([inward(starts, ch.prior), inward(support, ch.prior), ch.prior[None]])
    return polish(ch, starts, beta, plane)


def envelope(ch: Channel, beta: float, grid: Cloud, tol: float = 1e-9, rounds: int = 80) -> Envelope:
    """Generate columns until no posterior found is more than ``tol`` nats above the plane."""
    columns = np.concatenate(
        [np.eye(len(ch.prior)), ch.prior[None], grid.peaks(beta * grid.kept - grid.paid, 8)]
    )
    for _ in range(rounds):
        weights, plane = programme(ch, columns, beta)
        support = columns[weights > 0]
        tops, height = rises(ch, beta, grid, plane, support, 4)
        if height.max() <= tol:  # a few peaks say so: ask many
            tops, height = rises(ch, beta, grid, plane, support, 40)
        excess = max(0.0, float(height.max()))
        if excess <= tol:
            break
        new = tops[height > max(tol / 10, excess / 100)]
        new = new[np.unique(np.round(new, 9), axis=0, return_index=True)[1]]
        columns = np.concatenate([columns, new, around(new, 2 * math.sqrt(excess))])
    return Envelope(support, weights[weights > 0], plane, excess)


def encoder_of(joint: Array, ch: Channel, found: Envelope) -> Array:
    """Return q(t|x) = w_t r_t(x)/p(x) with rows that sum to 1; an impossible x goes to the first cluster."""
    q = np.zeros((len(joint), len(found.weights)))
    q[:, 0] = 1
    possible = np.asarray(joint).sum(1) > 0
    q[possible] = (found.weights[:, None] * found.r / ch.prior).T
    return q / q.sum(1, keepdims=True)


def objective(joint: Array, encoder: Array, beta: float) -> float:
    """Return I(T;X) − β I(T;Y) in bits, from the sums that define them."""

    def information(table: Array) -> float:
        return float(xlogy(table, table).sum() - sum(xlogy(m, m).sum() for m in (table.sum(0), table.sum(1))))

    joint = np.asarray(joint, dtype=float)
    kept, paid = information(encoder.T @ joint), information(encoder * joint.sum(1)[:, None])
    return (paid - beta * kept) / math.log(2)


def best(joint: Array, beta: float, refine: float = 1) -> tuple[float, Array]:
    """Return the least I(T;X) − β I(T;Y) in bits and an encoder q(t|x), shape (n_x, n_t), that has it.

    Parameters
    ----------
    joint
        p(x, y) with at most four possible x; zero entries, rows and columns are legal.
    beta
        Positive; it multiplies I(T;Y).
    refine
        Factor on the number of lattice points along an edge.
    """
    ch = channel(joint)
    encoder = encoder_of(joint, ch, envelope(ch, beta, cloud(ch, refine)))
    value = objective(joint, encoder, beta)
    return (value, encoder) if value < 0 else (0.0, np.ones((len(joint), 1)))


# ---------------------------------------------------------------- the lower bound


def excess_bound(ch: Channel, beta: float, plane: Array, tol: float = 1e-7, most: int = 3_000_000) -> float:
    """Return a proven bound (nats) of sup_r G(r) − λ·r: branch and bound over simplices, down to ``tol``.

    On a simplex with corners v and centre c, convexity gives KL(r_Y‖p_Y) ≤ its chord and KL(r‖p_X) ≥ its tangent
    at c; both are linear, so the largest value at a corner bounds the whole cell. Rounding is not bounded.
    Returns the larger of ``tol`` and what is left when ``most`` cells have been looked at.
    """
    n = len(ch.prior)
    cells, looked = np.eye(n)[None], 0
    if n == 1:
        return max(tol, float(ch.gain(np.ones((1, 1)), beta)[0] - plane[0]))
    pairs = np.array(list(combinations(range(n), 2)))
    while len(cells):
        centre = cells.mean(1)
        tangent = np.log(centre / ch.prior)  # KL(c‖p) + ∇·(v − c) = Σ v log(c/p), as Σ v = Σ c = 1
        corners = beta * kl_div(cells @ ch.rows, ch.marginal).sum(-1) - cells @ plane
        bound = (corners - (cells * tangent[:, None, :]).sum(-1)).max(1)
        looked += len(cells)
        if looked > most:
            return float(max(tol, bound.max()))
        cells = cells[bound > tol]
        # Split the edge that is longest in √r: the curvature of r log r grows towards the boundary.
        root = np.sqrt(cells)
        lengths = ((root[:, pairs[:, 0]] - root[:, pairs[:, 1]]) ** 2).sum(-1)
        i, j = pairs[lengths.argmax(1)].T
        at = np.arange(len(cells))
        middle = (cells[at, i] + cells[at, j]) / 2
        left, right = cells.copy(), cells.copy()
        left[at, i], right[at, j] = middle, middle
        cells = np.concatenate([left, right])
    return tol


def bounds(joint: Array, beta: float, tol: float = 1e-7) -> tuple[float, float]:
    """Return a lower bound (proven up to rounding) and an upper bound (an encoder's) of the minimum, in bits."""
    ch = channel(joint)
    found = envelope(ch, beta, cloud(ch))
    upper = objective(joint, encoder_of(joint, ch, found), beta)
    lower = -(found.plane @ ch.prior + excess_bound(ch, beta, found.plane, tol)) / math.log(2)
    return float(lower), upper


# ---------------------------------------------------------------- the onset


def ratio(ch: Channel, r: Array) -> Array:
    """Return KL(r_Y‖p_Y)/KL(r‖p_X), −∞ where r is too near p_X for floating point (see :func:`onset`)."""
    kept, paid = ch.informations(r)
    return np.where(paid > 1e-9, kept / np.maximum(paid, 1e-9), -np.inf)


def zoom(ch: Channel, r: Array, rounds: int = 80) -> Array:
    """Climb the ratio on ever finer stars around each posterior: one or two log r(x) up or down."""
    n = r.shape[1]
    one = np.eye(n)
    offsets = np.concatenate(
        [one, -one, *(one[[i]] - one[[j]] for i in range(n) for j in range(n) if i != j)]
    )
    reach, height = np.full(len(r), 0.3), ratio(ch, r)
    for _ in range(rounds):
        near = r[:, None, :] * np.exp(reach[:, None, None] * offsets)
        near /= near.sum(-1, keepdims=True)
        values = ratio(ch, near.reshape(-1, n)).reshape(len(r), -1)
        top = values.argmax(1)
        at = np.arange(len(r))
        better = values[at, top] > height
        r = np.where(better[:, None], near[at, top], r)
        height = np.where(better, values[at, top], height)
        reach = np.where(better, 1.5 * reach, reach / 2)
        if reach.max() < 1e-6:
            break
    return r


def local_limit(ch: Channel) -> float:
    """Return σ₂², the limit of the ratio as r → p_X in the best direction (maximal correlation squared)."""
    scaled = np.sqrt(ch.prior)[:, None] * ch.rows / np.sqrt(ch.marginal)
    return float((np.append(np.linalg.svd(scaled, compute_uv=False), 0.0)[1]) ** 2)


def onset(joint: Array, refine: float = 1) -> float:
    """Return 1/sup_r KL(r_Y‖p_Y)/KL(r‖p_X): the largest β with the trivial minimum; ``inf`` if independent."""
    ch = channel(joint)
    if len(ch.prior) == 1:
        return math.inf
    grid = cloud(ch, refine)
    usable = grid.paid > 1e-9
    starts = grid.peaks(np.where(usable, grid.kept / np.where(usable, grid.paid, 1), -np.inf), most=8)
    chance = np.random.default_rng(0).dirichlet(np.full(len(ch.prior), 0.5), size=8)
    starts = inward(np.concatenate([starts, chance]), ch.prior)
    tops = zoom(ch, starts)
    highest = max(float(ratio(ch, tops).max()), local_limit(ch))
    for _ in range(
        5 if highest > 1e-13 else 0
    ):  # stars stall in narrow valleys; where G(r) > 0 the ratio is larger
        tops, _ = polish(ch, tops, 1 / highest, np.zeros(len(ch.prior)))
        highest = max(highest, float(ratio(ch, tops).max()))
    return 1 / highest if highest > 1e-13 else math.inf


# ---------------------------------------------------------------- tables to try


def _sizes(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(2, 5)), int(rng.integers(2, 7))


def _dirichlet(rng: np.random.Generator) -> Array:
    shape = _sizes(rng)
    return rng.dirichlet(np.full(math.prod(shape), rng.choice([0.2, 0.5, 1, 5]))).reshape(shape)


def _sparse(rng: np.random.Generator) -> Array:
    table = _dirichlet(rng)
    return table * (rng.random(table.shape) > rng.choice([0.2, 0.4, 0.6]))


def _rows(rng: np.random.Generator) -> Array:
    n, m = _sizes(rng)
    prior = rng.dirichlet(np.full(n, rng.choice([0.5, 1, 10])))
    return prior[:, None] * rng.dirichlet(np.full(m, rng.choice([0.2, 0.5, 1, 3])), size=n)


def _near_deterministic(rng: np.random.Generator) -> Array:
    n, m = _sizes(rng)
    noise = 10 ** rng.uniform(-4, -1)
    rows = (1 - noise) * np.eye(m)[rng.integers(m, size=n)] + noise * rng.dirichlet(np.ones(m), size=n)
    return rng.dirichlet(np.full(n, 2.0))[:, None] * rows


def _symmetric(rng: np.random.Generator) -> Array:
    q = int(rng.integers(2, 5))
    stay = rng.uniform(0.3, 0.95)
    prior = np.full(q, 1 / q) if rng.random() < 0.5 else rng.dirichlet(np.full(q, 2.0))
    return prior[:, None] * (stay * np.eye(q) + (1 - stay) / q)


def _duplicates(rng: np.random.Generator) -> Array:
    table = _rows(rng)
    while len(table) < 3:  # two equal rows of two would be independence
        table = _rows(rng)
    table[-1] = table[0] * rng.uniform(0.2, 3)
    return table


def _unicorn(rng: np.random.Generator) -> Array:
    n, m = _sizes(rng)
    m = max(m, 3)
    rows = rng.dirichlet(np.full(m, 20.0), size=n) if rng.random() < 0.5 else np.full((n, m), 1 / m)
    rows[:, 0] *= 0.02 * rng.random(n)
    rows[0] = np.eye(m)[0] + rng.choice([0, 0.02]) * rng.dirichlet(np.ones(m))
    prior = rng.dirichlet(np.full(n, 3.0))
    prior[0] = 10 ** rng.uniform(-4, -1)
    return prior[:, None] * (rows / rows.sum(1, keepdims=True))


KINDS = (_dirichlet, _sparse, _rows, _near_deterministic, _symmetric, _duplicates, _unicorn)


def random_joint(rng: np.random.Generator) -> Array:
    """Return a table of 2–4 × 2–6 symbols of a random kind, in which at least two x are possible."""
    while True:
        table = KINDS[rng.integers(len(KINDS))](rng)
        if (table.sum(1) > 0).sum() >= 2:
            return table / table.sum()
