"""A world small enough to enumerate: tasks θ, data sets D of m samples, and a learner that draws weights W.

Every probability is in one array p(θ, D, W), so that each term of the cross-entropy's decomposition
(appendix A.2 of the review paper; Achille and Soatto, JMLR 2018) is a sum that can be done, not an estimate.
NumPy and SciPy only.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr, softmax, xlogy

from t2v import information

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
#: Enumeration grows as n_z**m: refuse what would not fit in memory (entries of the array p(θ, D, W)).
MAX_ENTRIES = 20_000_000


def datasets(n_z: int, m: int) -> NDArray[np.int64]:
    """Return all data sets of ``m`` samples from an alphabet of ``n_z`` symbols.

    Parameters
    ----------
    n_z, m : int
        Size of the alphabet, and samples in a data set; both at least 1.

    Returns
    -------
    ndarray, shape (n_z**m, m)
        One ordered data set a row, in lexicographic order.

    Raises
    ------
    ValueError
        If ``n_z`` or ``m`` is below 1.
    """
    if n_z < 1 or m < 1:
        raise ValueError(f"datasets: n_z={n_z} and m={m}; both must be at least 1")
    return np.array(list(itertools.product(range(n_z), repeat=m)), dtype=np.int64)


def _rows(name: str, table: ArrayLike) -> Floats:
    """Check a table whose rows are distributions."""
    array = np.asarray(table, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name}: shape {array.shape}; a table with one distribution a row is accepted")
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"{name}: has negative or non-finite entries; probabilities are accepted")
    if np.abs(array.sum(axis=1) - 1).max() > 1e-9:
        raise ValueError(
            f"{name}: row sums up to {array.sum(axis=1).max():.6g}; every row must sum to 1 within 1e-9"
        )
    return array


def log_likelihood(table: ArrayLike, m: int) -> Floats:
    """Return log p(D) of every data set, for every row p(z) of a table, in nats.

    Parameters
    ----------
    table : array_like, shape (n, n_z)
        One distribution of a single sample a row.
    m : int
        Samples in a data set.

    Returns
    -------
    ndarray, shape (n, n_z**m)
        Sums over the samples; ``-inf`` where a sample is impossible.
    """
    rows = _rows("table", table)
    with np.errstate(divide="ignore"):
        logs = np.log(rows)
    return np.asarray(logs[:, datasets(rows.shape[1], m)].sum(axis=2))


@dataclass(frozen=True)
class World:
    """A task, its data sets and a learner, all finite.

    Attributes
    ----------
    prior : ndarray, shape (n_theta,)
        p(θ): how likely each task is.
    likelihood : ndarray, shape (n_theta, n_z)
        p(z|θ): the distribution of one sample in each task.
    m : int
        Samples in a data set, drawn independently given θ.
    learner : ndarray, shape (n_z**m, n_w)
        q(W|D): what the learning algorithm draws; rows in the order of :func:`datasets`.
    model : ndarray, shape (n_w, n_z)
        q(z|W): what the weights predict of one sample.
    """

    prior: Floats
    likelihood: Floats
    m: int
    learner: Floats
    model: Floats

    def __post_init__(self) -> None:
        prior = _rows("prior", np.atleast_2d(np.asarray(self.prior, dtype=np.float64)))[0]
        tables = {name: _rows(name, getattr(self, name)) for name in ("likelihood", "learner", "model")}
        n_theta, n_z = tables["likelihood"].shape
        n_d = n_z**self.m if self.m >= 1 else 0
        n_w = tables["learner"].shape[1]
        if self.m < 1:
            raise ValueError(f"m: {self.m}; a data set has at least one sample")
        if prior.shape != (n_theta,):
            raise ValueError(f"prior: {prior.size} tasks, but likelihood has {n_theta} rows")
        if tables["learner"].shape[0] != n_d:
            raise ValueError(
                f"learner: {tables['learner'].shape[0]} rows; n_z**m = {n_z}**{self.m} = {n_d} are needed"
            )
        if tables["model"].shape != (n_w, n_z):
            raise ValueError(
                f"model: shape {tables['model'].shape}; ({n_w}, {n_z}) = (weights, symbols) is needed"
            )
        if n_theta * n_d * n_w > MAX_ENTRIES:
            raise ValueError(
                f"m: p(θ, D, W) would have {n_theta * n_d * n_w:,} entries; at most {MAX_ENTRIES:,}"
            )
        for name, value in {"prior": prior, **tables}.items():
            object.__setattr__(self, name, value)

    def joint(self) -> Floats:
        """Return p(θ, D, W), shape ``(n_theta, n_z**m, n_w)``: the Markov chain θ → D → W."""
        data = np.exp(log_likelihood(self.likelihood, self.m))
        return np.asarray(self.prior[:, None, None] * data[:, :, None] * self.learner[None])

    def train_loss(self, base: float = 2) -> float:
        """Return the expected loss a sample on the data that the weights were drawn from, E −log q(z_i|W)."""
        return decompose(self, base).cross_entropy / self.m

    def test_loss(self, base: float = 2) -> float:
        """Return the expected loss of a fresh sample of the same task."""
        task_weights = self.joint().sum(axis=1)
        fresh = task_weights.T @ self.likelihood
        return float(-xlogy(fresh, self.model).sum() / np.log(base))


@dataclass(frozen=True)
class Decomposition:
    """The terms of H_{p,q}(D|W) = H(D|θ) + I(θ;D|W) + E KL(p‖q) − I(D;W|θ), and what they are built from.

    Attributes
    ----------
    cross_entropy : float
        H_{p,q}(D|W): the expected training loss, summed over the m samples.
    intrinsic : float
        H(D|θ): what no model can predict.
    sufficiency : float
        I(θ;D|W): what the data know about the task and the weights have missed.
    efficiency : float
        E_W KL(p(D|W)‖q(D|W)): what the model loses by its form.
    overfitting : float
        I(D;W|θ): what the weights know about the data beyond the task.
    information : float
        I(D;W): information in the weights.
    learned : float
        I(θ;W): what the weights know about the task.
    joint_entropy : float
        H(D,θ): the term that §5.2 of the review paper prints in the place of ``intrinsic``.
    """

    cross_entropy: float
    intrinsic: float
    sufficiency: float
    efficiency: float
    overfitting: float
    information: float
    learned: float
    joint_entropy: float

    @property
    def right_side(self) -> float:
        """The sum of the four terms."""
        return self.intrinsic + self.sufficiency + self.efficiency - self.overfitting


def decompose(world: World, base: float = 2) -> Decomposition:
    """Compute every term of the cross-entropy's decomposition exactly.

    Parameters
    ----------
    world : World
    base : float
        Base of the logarithm: 2 for bits, ``math.e`` for nats.

    Returns
    -------
    Decomposition
        Each term by its own sum; none is inferred from the others.
    """
    joint = world.joint()
    data_weights = joint.sum(axis=0)
    predicted = np.exp(log_likelihood(world.model, world.m)).T
    divergence = rel_entr(data_weights, data_weights.sum(axis=0) * predicted).sum() / np.log(base)
    return Decomposition(
        cross_entropy=float(-xlogy(data_weights, predicted).sum() / np.log(base)),
        intrinsic=information.conditional_entropy(joint.sum(axis=2).T, base),
        sufficiency=information.conditional_mutual_information(joint, base),
        efficiency=float(divergence),
        overfitting=information.conditional_mutual_information(joint.transpose(1, 2, 0), base),
        information=information.mutual_information(data_weights, base),
        learned=information.mutual_information(joint.sum(axis=1), base),
        joint_entropy=information.entropy(joint.sum(axis=2).ravel(), base),
    )


def divergence_to(world: World, weight_prior: ArrayLike, base: float = 2) -> float:
    """Return E_D KL(q(W|D)‖p(W)) for a prior over the weights: the bound on I(D;W) that training uses.

    Parameters
    ----------
    world : World
    weight_prior : array_like, shape (n_w,)
        p(W), a distribution; the bound is ``inf`` where it is zero and the learner is not.
    base : float
        Base of the logarithm.
    """
    prior = _rows("weight_prior", np.atleast_2d(np.asarray(weight_prior, dtype=np.float64)))[0]
    if prior.shape != (world.learner.shape[1],):
        raise ValueError(
            f"weight_prior: {prior.size} entries; the world has {world.learner.shape[1]} weights"
        )
    data = world.joint().sum(axis=(0, 2))
    return float(data @ rel_entr(world.learner, prior).sum(axis=1) / np.log(base))


def gap(world: World, loss: ArrayLike) -> float:
    """Return the expected loss of a fresh sample less that of the samples that the weights were drawn from.

    Parameters
    ----------
    world : World
    loss : array_like, shape (n_w, n_z)
        ℓ(w, z): what weights w lose on a sample z, in any unit. ``-np.log(world.model)`` is the log-loss in nats.

    Returns
    -------
    float
        E ℓ(W, z') − E (1/m) Σ_i ℓ(W, z_i), z' of the same task θ; in the loss's unit.

    Raises
    ------
    ValueError
        If the table does not fit the world, or has entries that are not finite.
    """
    table = np.asarray(loss, dtype=np.float64)
    if table.shape != world.model.shape or not np.isfinite(table).all():
        raise ValueError(
            f"loss: shape {table.shape}; {world.model.shape} = (weights, symbols), finite, is accepted"
        )
    joint = world.joint()
    seen = table[:, datasets(world.likelihood.shape[1], world.m)].mean(axis=2)
    fresh = world.likelihood @ table.T
    return float((joint.sum(axis=1) * fresh).sum() - (joint.sum(axis=0) * seen.T).sum())


def _check_beta(beta: float) -> None:
    if not beta > 0:
        raise ValueError(f"beta: {beta}; it must be above 0")


def gibbs(model: ArrayLike, m: int, beta: float, weight_prior: ArrayLike | None = None) -> Floats:
    """Return the learner that minimises E[−log q(D|W)] + β KL(q(W|D)‖p(W)) for a fixed prior p(W).

    The minimiser is q(w|D) ∝ p(w) q(D|w)^{1/β}: β = 1 is Bayes, β → 0 maximum likelihood, β → ∞ the prior.

    Parameters
    ----------
    model : array_like, shape (n_w, n_z)
        q(z|W).
    m : int
        Samples in a data set.
    beta : float
        Price of a nat of information, above 0 (``inf`` is accepted: the data are not looked at).
    weight_prior : array_like, shape (n_w,), optional
        p(W); uniform by default.

    Returns
    -------
    ndarray, shape (n_z**m, n_w)

    Raises
    ------
    ValueError
        If ``beta`` is not above 0, or a data set is impossible under every weight.
    """
    _check_beta(beta)
    logs = log_likelihood(model, m).T
    n_w = logs.shape[1]
    prior = np.full(n_w, 1 / n_w) if weight_prior is None else np.asarray(weight_prior, dtype=np.float64)
    return _gibbs(logs, beta, prior)


def _gibbs(logs: Floats, beta: float, weight_prior: Floats) -> Floats:
    if np.isinf(beta):
        return np.tile(weight_prior, (logs.shape[0], 1))
    with np.errstate(divide="ignore"):
        scores = logs / beta + np.log(weight_prior)
    if np.isneginf(scores).all(axis=1).any():
        raise ValueError("model: some data set is impossible under every weight; widen the model")
    return np.asarray(softmax(scores, axis=1))


def solve(
    prior: ArrayLike,
    likelihood: ArrayLike,
    m: int,
    model: ArrayLike,
    beta: float,
    *,
    tol: float = 1e-10,
    max_iter: int = 20_000,
) -> World:
    """Return the world whose learner minimises H_{p,q}(D|W) + β I(D;W), the new Lagrangian, exactly.

    Blahut and Arimoto's alternation: the Gibbs learner for the present prior, then the prior that is that
    learner's marginal. Each half-step lowers the objective, which is convex in the learner.

    Parameters
    ----------
    prior, likelihood, m, model
        As in :class:`World`.
    beta : float
        Price of information, above 0.
    tol : float
        Stop when no entry of the marginal moves by more.
    max_iter : int
        Most alternations.

    Returns
    -------
    World
    """
    _check_beta(beta)
    table = np.asarray(model, dtype=np.float64)
    data = np.asarray(prior, dtype=np.float64) @ np.exp(log_likelihood(likelihood, m))
    marginal = np.full(len(table), 1 / len(table))
    logs = log_likelihood(table, m).T
    for _ in range(max_iter):
        learner = _gibbs(logs, beta, marginal)
        update = data @ learner
        moved = np.abs(update - marginal).max()
        marginal = update / update.sum()
        if moved < tol:
            break
    return World(np.asarray(prior, float), np.asarray(likelihood, float), m, learner, table)


def regions(world: World, base: float = 2) -> dict[str, float]:
    """Return the seven regions of the Venn diagram of θ, D and W, keyed by the circles that they lie in.

    Returns
    -------
    dict
        ``"t"``, ``"d"``, ``"w"``, ``"td"``, ``"tw"``, ``"dw"``, ``"tdw"`` → entropy or (conditional) mutual
        information. ``"tw"`` is I(θ;W|D) = 0, as θ → D → W is a Markov chain; so all seven are non-negative.
    """
    joint = world.joint()
    names = "tdw"

    def h(kept: str) -> float:
        away = tuple(i for i, n in enumerate(names) if n not in kept)
        return information.entropy(joint.sum(axis=away).ravel(), base) if kept else 0.0

    total = h("tdw")
    out = {a: total - h(names.replace(a, "")) for a in names}
    for pair in ("td", "tw", "dw"):
        third = next(n for n in names if n not in pair)
        out[pair] = total - h(third) - out[pair[0]] - out[pair[1]]
    out["tdw"] = total - sum(out.values())
    return out


def _lens(r1: float, r2: float, d: float) -> float:
    """Area shared by two discs of radii r1 and r2 at distance d."""
    if d >= r1 + r2:
        return 0.0
    if d <= abs(r1 - r2):
        return float(np.pi * min(r1, r2) ** 2)
    a = np.arccos(np.clip((d * d + r1 * r1 - r2 * r2) / (2 * d * r1), -1, 1))
    b = np.arccos(np.clip((d * d + r2 * r2 - r1 * r1) / (2 * d * r2), -1, 1))
    return float(r1 * r1 * (a - np.sin(2 * a) / 2) + r2 * r2 * (b - np.sin(2 * b) / 2))


def _distance(r1: float, r2: float, area: float) -> float:
    """Distance at which two discs share an area (bisection: the area falls as the distance grows)."""
    low, high = abs(r1 - r2), r1 + r2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _lens(r1, r2, middle) > area else (low, middle)
    return (low + high) / 2


def draw_venn(axes: Axes, world: World, base: float = 2) -> dict[str, float]:
    """Draw θ, D and W as discs whose areas are entropies and whose pairwise overlaps are mutual informations.

    The overlaps of D with θ and with W are to scale, and that of θ with W where three discs can do it.
    Labels are exact.

    Parameters
    ----------
    axes : matplotlib Axes
    world : World
    base : float
        2 for bits.

    Returns
    -------
    dict
        The seven :func:`regions`.
    """
    parts = regions(world, base)
    size = {n: sum(v for key, v in parts.items() if n in key) for n in "tdw"}
    radius = {n: float(np.sqrt(max(size[n], 0) / np.pi)) for n in "tdw"}
    overlap = {pair: parts[pair] + parts["tdw"] for pair in ("td", "tw", "dw")}
    far = {pair: _distance(radius[pair[0]], radius[pair[1]], overlap[pair]) for pair in overlap}
    ratio = (far["td"] ** 2 + far["dw"] ** 2 - far["tw"] ** 2) / max(2 * far["td"] * far["dw"], 1e-12)
    angle = np.arccos(np.clip(ratio, -1, 1))
    centres = {"t": np.array([-far["td"], 0.0]), "d": np.zeros(2)}
    centres["w"] = far["dw"] * np.array([-np.cos(angle), np.sin(angle)])
    _paint(axes, centres, radius, parts)
    return parts


def _paint(axes: Axes, centres: dict[str, Floats], radius: dict[str, float], parts: dict[str, float]) -> None:
    from matplotlib.patches import Circle

    from t2v import plots

    look = {"t": ("θ", "vermilion"), "d": ("D", "blue"), "w": ("W", "green")}
    for n, (letter, colour) in look.items():
        shade = plots.color(colour)
        centre = (float(centres[n][0]), float(centres[n][1]))
        axes.add_patch(Circle(centre, radius[n], facecolor=shade, alpha=0.25, edgecolor=shade, lw=1.5))
        outward = centres[n] - np.mean(list(centres.values()), axis=0)
        outward = outward / max(float(np.linalg.norm(outward)), 1e-9) if n != "d" else np.array([0.0, -1.0])
        x, y = centres[n] + (radius[n] + 0.17) * outward
        axes.text(x, y, letter, color=shade, ha="center", va="center", fontsize=14, fontweight="bold")
    grid = np.stack(np.meshgrid(np.linspace(-4, 4, 400), np.linspace(-4, 4, 400)), axis=-1)
    inside = {n: np.linalg.norm(grid - centres[n], axis=-1) < radius[n] for n in "tdw"}
    for key, value in parts.items():
        mask = np.logical_and.reduce([inside[n] if n in key else ~inside[n] for n in "tdw"])
        if value > 0.03 and mask.sum() > 30:
            x, y = grid[mask].mean(axis=0)
            axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=9)
    axes.set_aspect("equal")
    axes.set_axis_off()


def coin(
    biases: Sequence[float] = (0.2, 0.5, 0.8),
    guesses: Sequence[float] = (0.02, 0.2, 0.35, 0.5, 0.65, 0.8, 0.98),
) -> dict[str, Any]:
    """Return the chapter's running example: a few biased coins, told apart by a few tosses.

    Parameters
    ----------
    biases : sequence of float
        p(heads) in each task θ; the tasks are equally likely.
    guesses : sequence of float
        The p(heads) that each weight w predicts.

    Returns
    -------
    dict
        ``prior``, ``likelihood`` and ``model`` for :class:`World` and :func:`solve`.
    """
    p, q = np.asarray(biases, float), np.asarray(guesses, float)
    return {
        "prior": np.full(p.size, 1 / p.size),
        "likelihood": np.stack([1 - p, p], axis=1),
        "model": np.stack([1 - q, q], axis=1),
    }
