"""The information plane: record a network's activations while it trains, and estimate I(X;T) and I(T;Y).

A deterministic network with real-valued units has no finite I(X;T) to measure. Every point of an information plane
is therefore the information of a **modified** network, and the estimator says which: ``binned`` rounds the units into bins,
``kde`` adds Gaussian noise to them. Only where all inputs can be listed is there an ``exact`` number: H(T) of the floating-point
numbers that the network computes. All informations are in bits; X is uniform over the recorded inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, xlogy
from torch import Tensor, nn
from torch.nn import functional

from t2v.variational import DivergedError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[Any]
_LN2 = math.log(2.0)
#: Activations by name, with the range of their outputs (None: unbounded).
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[float, float] | None]] = {
    "tanh": (torch.tanh, (-1.0, 1.0)),
    "relu": (torch.relu, None),
    "sigmoid": (torch.sigmoid, (0.0, 1.0)),
    "softplus": (functional.softplus, None),
}


# --------------------------------------------------------------------------- the 12-bit task


@dataclass(frozen=True)
class SphericalTask:
    """The synthetic task of Shwartz-Ziv and Tishby (2017), rebuilt from its definition.

    Attributes
    ----------
    inputs : ndarray
        Shape ``(4096, 12)``, ±1: every pattern on twelve points of the sphere, all equally likely.
    p_label : ndarray
        Shape ``(4096,)``: p(y=1|x) = 1/(1 + exp(−γ(f(x) − θ))).
    labels : ndarray
        Shape ``(4096,)``, 0 or 1: one draw from ``p_label``.
    statistic : ndarray
        f(x), a weighted sum of the pattern's rotation-invariant power spectrum.
    i_xy : float
        I(X;Y) in bits, of ``p_label``.
    """

    inputs: Floats
    p_label: Floats
    labels: NDArray[np.int64]
    statistic: Floats
    i_xy: float


def spherical_task(*, information: float = 0.99, max_degree: int = 4, seed: int = 0) -> SphericalTask:
    """Build the task: 12 bits on the sphere, a rule that no rotation changes, thresholded so that p(y) ≈ ½.

    The twelve points are the vertices of an icosahedron. A pattern is a sum of point masses; its power in degree l of
    the spherical harmonics is, by the addition theorem, (2l+1)/4π Σ_ij x_i x_j P_l(r_i·r_j). The weights of the degrees are drawn
    from ``seed``, θ is f's median, and γ is set by bisection such that I(X;Y) is ``information``.

    Parameters
    ----------
    information : float
        I(X;Y) in bits, between 0.1 and 0.999.
    max_degree : int
        Highest degree of the power spectrum, at least 1.
    seed : int
        Of the weights and of the labels' draw.

    Returns
    -------
    SphericalTask

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """
    if not 0.1 <= information <= 0.999:
        raise ValueError(f"information: {information}; 0.1 … 0.999 bits are accepted")
    if max_degree < 1:
        raise ValueError(f"max_degree: {max_degree}; at least 1 is accepted")
    rng = np.random.default_rng(seed)
    bits = (np.arange(4096)[:, None] >> np.arange(12)) & 1
    cosines = icosahedron() @ icosahedron().T
    kernel = np.zeros((12, 12))
    for degree, weight in enumerate(rng.normal(size=max_degree + 1)):
        legendre = np.polynomial.legendre.Legendre.basis(degree)(np.clip(cosines, -1, 1))
        kernel += weight * (2 * degree + 1) / (4 * math.pi) * legendre
    f = np.einsum("ni,ij,nj->n", bits, kernel, bits)
    f = (f - f.mean()) / f.std()
    theta = _threshold(f)
    gamma = _bisect(lambda g: _label_information(expit(g * (f - theta))) - information, 1e-3, 1e6)
    p = expit(gamma * (f - theta))
    labels = (rng.random(4096) < p).astype(np.int64)
    return SphericalTask(2.0 * bits - 1.0, p, labels, f, _label_information(p))


def icosahedron() -> Floats:
    """Return the twelve vertices of a regular icosahedron on the unit sphere, shape ``(12, 3)``."""
    golden = (1 + math.sqrt(5)) / 2
    points = [(0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
    cyclic = [(p[k % 3], p[(k + 1) % 3], p[(k + 2) % 3]) for p in points for k in range(3)]
    return np.array(cyclic) / math.hypot(1, golden)


def _threshold(f: Floats) -> float:
    """Return the mid-point between two of f's few values that splits the patterns most evenly."""
    values = np.unique(np.round(f, 9))
    middles = (values[1:] + values[:-1]) / 2
    shares = np.array([(f > m).mean() for m in middles])
    return float(middles[np.abs(shares - 0.5).argmin()])


def _label_information(p: Floats) -> float:
    def h(q: Any) -> Any:
        return -(xlogy(q, q) + xlogy(1 - q, 1 - q)) / _LN2

    return float(h(p.mean()) - h(p).mean())


def _bisect(f: Callable[[float], float], low: float, high: float) -> float:
    """Find the root of an increasing function of a positive number, on a logarithmic scale."""
    if f(high) < 0:
        raise ValueError("information: the split is too uneven to reach it; accepted: a lower value")
    for _ in range(80):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if f(middle) < 0 else (low, middle)
    return high


# --------------------------------------------------------------------------- several small nets at once


class Ensemble(nn.Module):
    """Several fully connected nets of one shape, trained side by side: one batched product a layer for all seeds.

    The members never exchange anything: each has its own weights and the sum of their losses is minimised.

    Parameters
    ----------
    sizes : sequence of int
        Widths from input to output; an output of 1 is a logit for two classes.
    activation : str
        A key of :data:`ACTIVATIONS`.
    members : int
        Number of nets; member i is initialised from ``seed + i`` (normal, variance 1/fan-in, biases 0).
    seed : int
        Of the first member.
    gain : float
        Factor on the initial weights.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str = "tanh",
        members: int = 1,
        seed: int = 0,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes: {tuple(sizes)}; at least two widths of at least 1 are accepted")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation: {activation!r}; accepted: {', '.join(ACTIVATIONS)}")
        if members < 1:
            raise ValueError(f"members: {members}; at least 1 is accepted")
        self.sizes, self.members, self.activation = tuple(sizes), members, activation
        generators = [torch.Generator().manual_seed(seed + i) for i in range(members)]
        self.weights = nn.ParameterList(
            torch.stack([gain * torch.randn(a, b, generator=g) / math.sqrt(a) for g in generators])
            for a, b in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for b in sizes[1:])

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """Return every layer's output ``(members, n, width)``; the last is the predicted probability."""
        outputs, logits = self._run(inputs)
        last = torch.sigmoid(logits) if logits.shape[-1] == 1 else logits.softmax(-1)
        return [*outputs, last]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits ``(members, n, outputs)``; inputs ``(n, d)`` or one batch a member ``(members, n, d)``."""
        return self._run(inputs)[1]

    def _run(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        act = ACTIVATIONS[self.activation][0]
        x = inputs.expand(self.members, -1, -1) if inputs.ndim == 2 else inputs
        if x.ndim != 3 or x.shape[-1] != self.sizes[0]:
            raise ValueError(f"inputs: shape {tuple(inputs.shape)}; (n, {self.sizes[0]}) is accepted")
        outputs: list[Tensor] = []
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(b, x, w)
            if i < len(self.weights) - 1:
                x = act(x)
                outputs.append(x)
        return outputs, x

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of each member, nats, shape ``(members,)``; labels ``(n,)`` or ``(members, n)``."""
        logits = self(inputs)
        y = labels.expand(self.members, -1) if labels.ndim == 1 else labels
        if logits.shape[-1] == 1:
            full = functional.binary_cross_entropy_with_logits(
                logits[..., 0], y.to(logits.dtype), reduction="none"
            )
            return full.mean(1)
        return functional.cross_entropy(logits.transpose(1, 2), y, reduction="none").mean(1)

    def accuracy(self, inputs: Tensor, labels: Tensor) -> Floats:
        """Fraction right, for each member."""
        with torch.no_grad():
            logits = self(inputs)
        guess = (logits[..., 0] > 0).long() if logits.shape[-1] == 1 else logits.argmax(-1)
        return (guess == labels).double().mean(1).numpy()


@dataclass(frozen=True)
class Recording:
    """What :func:`record` kept.

    Attributes
    ----------
    epochs : tuple of int
        When (0 is before training).
    activations : tuple of tuple of ndarray
        ``activations[i][k]``: output of layer k at ``epochs[i]``, shape ``(members, n, width)``.
    loss : ndarray
        Training loss of each member, nats, shape ``(len(epochs), members)``.
    train, test : ndarray
        Accuracies, the same shape (``test`` is NaN where no test set was given).
    limits : tuple or None
        Range of the hidden units, None if unbounded.
    """

    epochs: tuple[int, ...]
    activations: tuple[tuple[Floats, ...], ...]
    loss: Floats
    train: Floats
    test: Floats
    limits: tuple[float, float] | None


def log_epochs(last: int, count: int) -> list[int]:
    """Return about ``count`` epochs from 0 to ``last``, evenly spaced on a logarithmic scale, without repeats."""
    if last < 1 or count < 2:
        raise ValueError(f"last, count: {last}, {count}; at least 1 and 2 are accepted")
    return sorted({0, *np.unique(np.geomspace(1, last, count - 1).round().astype(int)).tolist()})


def record(
    ensemble: Ensemble,
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    epochs: Iterable[int],
    train: ArrayLike | None = None,
    batch_size: int | None = 256,
    lr: float = 1e-3,
    optimizer: str = "adam",
    seed: int = 0,
    progress: bool = False,
) -> Recording:
    """Train the members, and keep all layers' outputs **on all inputs** at the given epochs.

    Parameters
    ----------
    ensemble : Ensemble
        Trained in place.
    inputs, labels : array
        Shapes ``(n, d)`` and ``(n,)``; labels are integers 0 … classes − 1.
    epochs : iterable of int
        When to record; the last is where training ends.
    train : array of int or bool, optional
        Which inputs are trained on (default: all); the others are the test set.
    batch_size : int or None
        None is full-batch gradient descent. The members see the same batches.
    lr : float
        Step size.
    optimizer : {"adam", "sgd"}
        ``sgd`` is plain, without momentum.
    seed : int
        Of the batches.
    progress : bool
        Show a bar.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        If arguments do not fit together.
    DivergedError
        (A ValueError, too.) The loss is not finite; names the epoch, and the layer if one is not finite.
    """
    x, y, chosen = _prepare(ensemble, inputs, labels, train)
    moments = sorted({int(e) for e in epochs})
    if not moments or moments[0] < 0:
        raise ValueError(f"epochs: {moments[:3]} …; at least one number ≥ 0 is accepted")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size: {batch_size}; at least 1, or None for the full batch, is accepted")
    steps = _optimizer(ensemble, optimizer, lr)
    order = torch.Generator().manual_seed(seed)
    kept: list[tuple[Any, ...]] = []
    from tqdm import tqdm

    for epoch in tqdm(range(moments[-1] + 1), disable=not progress, leave=False, desc="epochs"):
        if epoch > 0:
            shuffled = chosen[torch.randperm(len(chosen), generator=order)]
            for batch in shuffled.split(batch_size or len(chosen)):
                loss = ensemble.loss(x[batch], y[batch]).sum()
                steps.zero_grad(set_to_none=True)
                loss.backward()
                steps.step()
            if not math.isfinite(float(loss.detach())):
                raise DivergedError(
                    f"training diverged in epoch {epoch}{_first_bad(ensemble, x)}; try a smaller lr"
                )
        if epoch in moments:
            kept.append(_snapshot(ensemble, x, y, chosen))
    activations, *numbers = zip(*kept, strict=True)
    losses, right, held_out = (np.array(column) for column in numbers)
    return Recording(
        tuple(moments), activations, losses, right, held_out, ACTIVATIONS[ensemble.activation][1]
    )


def _prepare(
    ensemble: Ensemble, inputs: ArrayLike, labels: ArrayLike, train: ArrayLike | None
) -> tuple[Tensor, Tensor, Tensor]:
    x, y = torch.as_tensor(np.asarray(inputs), dtype=torch.float32), torch.as_tensor(np.asarray(labels))
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"inputs, labels: shapes {tuple(x.shape)}, {tuple(y.shape)}; (n, d) and (n,) are accepted"
        )
    classes = max(2, ensemble.sizes[-1])
    if y.is_floating_point() or int(y.min()) < 0 or int(y.max()) >= classes:
        raise ValueError(f"labels: {y.dtype}, {y.min()} … {y.max()}; integers 0 … {classes - 1} are accepted")
    if not torch.isfinite(x).all():
        raise ValueError("inputs: some values are not finite; finite numbers are accepted")
    index = np.arange(len(x)) if train is None else np.asarray(train)
    index = np.flatnonzero(index) if index.dtype == bool else index
    if len(index) == 0 or index.min() < 0 or index.max() >= len(x):
        raise ValueError(f"train: {len(index)} indices; at least one, each 0 … {len(x) - 1}, is accepted")
    return x, y.long(), torch.as_tensor(index)


def _optimizer(ensemble: Ensemble, name: str, lr: float) -> torch.optim.Optimizer:
    if not lr > 0:
        raise ValueError(f"lr: {lr}; a number above 0 is accepted")
    if name == "adam":
        return torch.optim.Adam(ensemble.parameters(), lr=lr)
    if name == "sgd":
        return torch.optim.SGD(ensemble.parameters(), lr=lr)
    raise ValueError(f"optimizer: {name!r}; 'adam' or 'sgd' is accepted")


def _first_bad(ensemble: Ensemble, x: Tensor) -> str:
    with torch.no_grad():
        for k, a in enumerate(ensemble.layers(x)):
            if not torch.isfinite(a).all():
                return f", layer {k + 1}"
    return ""


@torch.no_grad()
def _snapshot(ensemble: Ensemble, x: Tensor, y: Tensor, chosen: Tensor) -> tuple[Any, ...]:
    held = torch.ones(len(x), dtype=torch.bool)
    held[chosen] = False
    test = ensemble.accuracy(x[held], y[held]) if held.any() else np.full(ensemble.members, np.nan)
    return (
        tuple(a.numpy().copy() for a in ensemble.layers(x)),
        ensemble.loss(x[chosen], y[chosen]).numpy(),
        ensemble.accuracy(x[chosen], y[chosen]),
        test,
    )


# --------------------------------------------------------------------------- estimators


def row_codes(digits: ArrayLike, base: int) -> NDArray[np.int64]:
    """Give equal rows equal numbers, and different rows different ones.

    Exact (mixed radix) while ``base**d`` fits in 63 bits; a random linear hash modulo 2⁶⁴ beyond, where two given
    different rows collide with a probability of at most base/2⁶⁴.

    Parameters
    ----------
    digits : array
        Shape ``(n, d)``, integers 0 … base − 1.
    base : int
        Number of bins.
    """
    rows = np.asarray(digits)
    d = rows.shape[1]
    if d * math.log2(max(base, 2)) < 63:
        return rows.astype(np.int64) @ (np.int64(max(base, 2)) ** np.arange(d, dtype=np.int64))
    keys = np.random.default_rng(0x7A51).integers(0, 2**64, size=d, dtype=np.uint64) | np.uint64(1)
    with np.errstate(over="ignore"):
        return (rows.astype(np.uint64) * keys).sum(1, dtype=np.uint64).view(np.int64)


def binned_information(
    activations: ArrayLike, labels: ArrayLike, *, bins: int = 30, limits: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Return I(X;T̂) and I(T̂;Y) in bits, where T̂ is T with each unit rounded into one of ``bins`` equal bins.

    The network is deterministic, so I(X;T̂) = H(T̂): all of it is the rounding's. Exact if T already takes finitely many
    values that the bins separate.

    Parameters
    ----------
    activations : array
        Shape ``(n, d)``: one row for each of n equally likely inputs.
    labels : array
        Shape ``(n,)``.
    bins : int
        At least 1.
    limits : (low, high), optional
        Range of the bins; by default the least and the greatest activation of this array, which makes the bins of an
        unbounded unit grow with it.

    Raises
    ------
    ValueError
        If ``bins`` is below 1, an activation is not finite or outside ``limits``, or shapes do not fit.
    """
    t, y = _check(activations, labels)
    _, code = np.unique(row_codes(_digitise(t, bins, limits), bins), return_inverse=True)
    return _code_information(code, y)


def _digitise(t: Floats, bins: int, limits: tuple[float, float] | None) -> NDArray[np.int64]:
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 1:
        raise ValueError(f"bins: {bins!r}; a whole number of at least 1 is accepted")
    low, high = (float(t.min()), float(t.max())) if limits is None else limits
    if not low <= high or (limits is not None and low == high):
        raise ValueError(f"limits: {limits}; (low, high) with low < high is accepted")
    if t.min() < low or t.max() > high:
        raise ValueError(
            f"activations: {t.min():.3g} … {t.max():.3g} leave limits {limits}; wider limits are needed"
        )
    if low == high:
        return np.zeros(t.shape, np.int64)
    return np.minimum((t - low) * (bins / (high - low)), bins - 1).astype(np.int64)


def exact_information(activations: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Return I(X;T) and I(T;Y) in bits of the network **as it is**: two rows are one value where they are equal.

    X is uniform over the rows and T a function of X, so that I(X;T) = H(T), which falls below log₂ n only where the layer maps
    several inputs to one output. No bins, no noise: what is left is the arithmetic, as two outputs that differ in the last
    digit of their precision do differ (Lorenzen, Igel and Nielsen, 2022).

    Parameters
    ----------
    activations : array
        Shape ``(n, d)``: one row for each of n equally likely inputs, with all inputs there; in the precision in which
        the network computes.
    labels : array
        Shape ``(n,)``.

    Raises
    ------
    ValueError
        If shapes do not fit or activations are not finite.
    """
    t, y = _check(activations, labels)
    t = np.ascontiguousarray(t + t.dtype.type(0))  # −0 is 0
    rows = t.view(np.dtype((np.void, t.dtype.itemsize * t.shape[1])))[:, 0]
    _, code = np.unique(rows, return_inverse=True)
    return _code_information(code, y)


def _code_information(code: NDArray[np.int64], y: NDArray[Any]) -> tuple[float, float]:
    """H(T) and I(T;Y) of a T that is given by its numbers 0, 1, …."""
    classes, y_code = np.unique(y, return_inverse=True)
    h_t = _count_entropy(np.bincount(code))
    joint = _count_entropy(np.bincount(code * len(classes) + y_code))
    return h_t, max(0.0, h_t + _count_entropy(np.bincount(y_code)) - joint)


def _check(activations: ArrayLike, labels: ArrayLike, where: str = "") -> tuple[Floats, NDArray[Any]]:
    t, y = np.asarray(activations), np.asarray(labels)
    t = t[:, None] if t.ndim == 1 else t
    if t.ndim != 2 or y.ndim != 1 or len(t) != len(y) or len(t) == 0:
        raise ValueError(f"activations, labels: shapes {t.shape}, {y.shape}; (n, d) and (n,) are accepted")
    if y.dtype.kind == "f" and np.isnan(y).any():  # NaN is no class, and would count as one
        raise ValueError(f"labels: {np.isnan(y).sum()} of {len(y)} are NaN; a class for each row is accepted")
    if not np.isfinite(t).all():
        raise DivergedError(f"activations: {where}some are not finite; training diverged there")
    return t, y


def _count_entropy(counts: NDArray[np.int64]) -> float:
    """Entropy of counts in bits: H = log n − Σ c log c / n."""
    n = counts.sum()
    return float((math.log(n) - xlogy(counts, counts).sum() / n) / _LN2) + 0.0


def _class_sums(t: Tensor, counts: NDArray[np.int64], block: int) -> Tensor:
    """Σ over each class of e^−d² and of e^−4d², for every point: shape (2, n, classes); t is sorted by class.

    Blocks on and right of the diagonal are enough: their columns' sums are the mirrored blocks' row sums.
    """
    n, edges = len(t), [0, *np.cumsum(counts).tolist()]
    result = torch.zeros(2, n, len(counts), dtype=t.dtype)
    # Beyond this exponent e^−4d² is no longer a normal number, and arithmetic gets slow; points that far change a sum
    # that holds its own 1 by less than n·e^−170.
    far = 170.0
    for start in range(0, n, block):
        stop = min(start + block, n)
        # Subtract first: |a|² + |b|² − 2ab gives two equal rows a distance, by rounding, and the bound breaks.
        near = torch.cdist(t[start:stop], t[start:], compute_mode="donot_use_mm_for_euclid_dist").square_()
        near = near.clamp_(max=far).neg_().exp_()
        for i in range(2):
            for c, (a, b) in enumerate(pairwise(edges)):
                if b > start:
                    result[i, start:stop, c] += near[:, max(a, start) - start : b - start].sum(1)
                if max(a, start) < min(b, stop) < n:
                    rows = near[max(a, start) - start : min(b, stop) - start, stop - start :]
                    result[i, stop:, c] += rows.sum(0)
            near = near.square_().square_()  # e^−4d², with no second exponential
    return result


@dataclass(frozen=True)
class KdeBounds:
    """Bounds for T + N(0, σ²I), in bits.

    Attributes
    ----------
    i_xt_lower, i_xt_upper : float
        I(X;T+noise) lies between.
    i_ty_lower, i_ty_upper : float
        I(T+noise;Y) lies between (cut to 0 … H(Y), which bounds it too).
    i_ty_matched_lower, i_ty_matched_upper : float
        Differences of two lower, or of two upper, bounds: what the literature plots; close, but no bounds.
    """

    i_xt_lower: float
    i_xt_upper: float
    i_ty_lower: float
    i_ty_upper: float
    i_ty_matched_lower: float
    i_ty_matched_upper: float


def kde_bounds(
    activations: ArrayLike, labels: ArrayLike, *, noise_var: float = 1e-3, block: int = 256
) -> KdeBounds:
    """Bound the information of T + N(0, σ²I) by pairwise distances (Kolchinsky and Tracey 2017).

    With n equally likely inputs the noisy T is a mixture of n Gaussians, and
    −⟨log ⟨exp(−‖t_i−t_j‖²/8σ²)⟩_j⟩_i ≤ I(X;T+noise) ≤ −⟨log ⟨exp(−‖t_i−t_j‖²/2σ²)⟩_j⟩_i.
    The same within each class gives I(X;T|Y), and I(T;Y) = I(X;T) − I(X;T|Y).

    Parameters
    ----------
    activations : array
        Shape ``(n, d)``, of any precision; computed in float64.
    labels : array
        Shape ``(n,)``.
    noise_var : float
        σ², above 0. The result depends on it as a binned one depends on the bins.
    block : int
        Rows of the distance matrix at a time: memory is O(block · n).

    Raises
    ------
    ValueError
        If σ² is not above 0, activations are not finite, or shapes do not fit.
    """
    if not (math.isfinite(noise_var) and noise_var > 0):
        raise ValueError(f"noise_var: {noise_var}; a finite number above 0 is accepted")
    array, y = _check(activations, labels)
    _, code, counts = np.unique(y, return_inverse=True, return_counts=True)
    order = np.argsort(code, kind="stable")  # by class, so that sums within a class are sums of neighbours
    t = torch.from_numpy(array[order].astype(np.float64)) / math.sqrt(8 * noise_var)
    own, share = torch.from_numpy(code[order])[None, :, None], torch.from_numpy(counts[code[order]])
    sums = _class_sums(t, counts, block)
    whole = -(sums.sum(2) / len(t)).log().mean(1)
    within = -(sums.gather(2, own.expand(2, -1, 1))[..., 0] / share).log().mean(1)
    (low, high), (low_given_y, high_given_y) = (whole / _LN2).tolist(), (within / _LN2).tolist()
    h_y = _count_entropy(counts)
    return KdeBounds(
        low, high, min(max(low - high_given_y, 0.0), h_y), min(max(high - low_given_y, 0.0), h_y),
        low - low_given_y, high - high_given_y,
    )  # fmt: skip


# --------------------------------------------------------------------------- trajectories


@dataclass(frozen=True)
class Record:
    """One point of an information plane.

    Attributes
    ----------
    epoch, layer, member : int
        Layers count from 1.
    i_xt, i_ty : float
        Bits.
    estimator : str
        ``"exact"``, or ``"binned"``, ``"kde_upper"`` or ``"kde_lower"`` with its parameter: ``"binned(30)"``.
    """

    epoch: int
    layer: int
    member: int
    i_xt: float
    i_ty: float
    estimator: str


def trajectory(
    recording: Recording | Mapping[int, Sequence[ArrayLike]],
    labels: ArrayLike,
    *,
    estimator: str = "binned",
    bins: int = 30,
    limits: tuple[float, float] | str | None = "recorded",
    noise_var: float = 1e-3,
    members: Sequence[int] | None = None,
    layers: Sequence[int] | None = None,
    subset: ArrayLike | None = None,
) -> list[Record]:
    """Estimate the information plane of a recording.

    Parameters
    ----------
    recording : Recording or mapping
        Of :func:`record`; or epoch → activations of each layer, ``(n, d)`` arrays.
    labels : array
        Shape ``(n,)``.
    estimator : {"binned", "kde", "exact"}
        ``kde`` gives two records a point, ``kde_lower`` and ``kde_upper``; ``exact`` modifies nothing, and needs all
        inputs.
    bins : int
        For ``binned``.
    limits : (low, high), "recorded", "each" or None
        Range of the bins. ``"recorded"``: the unit's own range where it is bounded, else the layer's range over all
        epochs; ``"each"`` or None: the layer's range at that epoch.
    noise_var : float
        For ``kde``.
    members, layers : sequence of int, optional
        Which to take (members from 0, layers from 1); all by default.
    subset : array of int, optional
        Take X uniform over these inputs only: ``kde`` costs their number squared.

    Returns
    -------
    list of Record

    Raises
    ------
    ValueError
        For unknown estimators, no bins, shapes that do not fit; :class:`DivergedError` when activations are not finite,
        with the epoch and the layer.
    """
    if estimator not in ("binned", "kde", "exact"):
        raise ValueError(f"estimator: {estimator!r}; 'binned', 'kde' or 'exact' is accepted")
    epochs, stacks, unit = _unpack(recording)
    labels = np.asarray(labels) if subset is None else np.asarray(labels)[np.asarray(subset)]
    result: list[Record] = []
    _check_chosen("layers", layers, 1, len(stacks[0]))
    for k in range(len(stacks[0])):
        if layers is not None and k + 1 not in layers:
            continue
        _check_chosen("members", members, 0, len(stacks[0][k]))
        for i in range(len(stacks[0][k])) if members is None else members:
            arrays = [s[k][i] if subset is None else s[k][i][np.asarray(subset)] for s in stacks]
            for epoch, a in zip(epochs, arrays, strict=True):
                _check(a, labels, f"epoch {epoch}, layer {k + 1}: ")
            span = _span(arrays, limits, unit if k + 1 < len(stacks[0]) else (0.0, 1.0))
            for epoch, a in zip(epochs, arrays, strict=True):
                result += _point(a, labels, epoch, k + 1, i, estimator, bins, span, noise_var)
    return result


def _check_chosen(name: str, chosen: Sequence[int] | None, first: int, count: int) -> None:
    for i in () if chosen is None else chosen:
        if not first <= i < first + count:
            raise ValueError(f"{name}: there is no {i}; accepted: {first} … {first + count - 1}")


def _unpack(
    recording: Recording | Mapping[int, Sequence[ArrayLike]],
) -> tuple[Sequence[int], list[list[Floats]], tuple[float, float] | None]:
    if isinstance(recording, Recording):
        return recording.epochs, [list(a) for a in recording.activations], recording.limits
    if not isinstance(recording, Mapping) or not recording:
        raise TypeError(
            "recording: a Recording, or a non-empty mapping epoch → activations of each layer, is accepted"
        )
    stacks = [[np.asarray(a)[None] for a in layers] for layers in recording.values()]
    if len({len(s) for s in stacks}) != 1:
        raise ValueError("recording: the epochs have different numbers of layers; one number is accepted")
    return list(recording), stacks, None


def _span(
    arrays: Sequence[Floats], limits: tuple[float, float] | str | None, unit: tuple[float, float] | None
) -> tuple[float, float] | None:
    if limits is None or limits == "each":
        return None
    if isinstance(limits, str):
        if limits != "recorded":
            raise ValueError(f"limits: {limits!r}; (low, high), 'recorded' or 'each' is accepted")
        low, high = min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)
        inside = unit is not None and unit[0] <= low and high <= unit[1]
        return unit if inside else ((low, high) if low < high else None)
    return limits


def _point(
    a: Floats, labels: ArrayLike, epoch: int, layer: int, member: int, estimator: str, bins: int,
    span: tuple[float, float] | None, noise_var: float,
) -> list[Record]:  # fmt: skip
    if estimator == "binned":
        i_xt, i_ty = binned_information(a, labels, bins=bins, limits=span)
        return [Record(epoch, layer, member, i_xt, i_ty, f"binned({bins})")]
    if estimator == "exact":
        return [Record(epoch, layer, member, *exact_information(a, labels), "exact")]
    b = kde_bounds(a, labels, noise_var=noise_var)
    return [
        Record(epoch, layer, member, b.i_xt_lower, b.i_ty_matched_lower, f"kde_lower({noise_var:g})"),
        Record(epoch, layer, member, b.i_xt_upper, b.i_ty_matched_upper, f"kde_upper({noise_var:g})"),
    ]


def table(records: Sequence[Record], field: str = "i_xt", estimator: str = "") -> tuple[list[int], Floats]:
    """Arrange records as an array ``(members, layers, epochs)`` of one field, with the epochs.

    Parameters
    ----------
    records : sequence of Record
        Of one or more estimators.
    field : {"i_xt", "i_ty"}
        Which number.
    estimator : str
        Start of the estimator's name; needed if the records mix several.
    """
    chosen = [r for r in records if r.estimator.startswith(estimator)]
    if field not in ("i_xt", "i_ty"):
        raise ValueError(f"field: {field!r}; 'i_xt' or 'i_ty' is accepted")
    if len({r.estimator for r in chosen}) != 1:
        names = sorted({r.estimator for r in records})
        raise ValueError(f"estimator: {estimator!r} matches not exactly one of {names}; name one")
    axes = [sorted({getattr(r, a) for r in chosen}) for a in ("member", "layer", "epoch")]
    place = [{v: i for i, v in enumerate(axis)} for axis in axes]
    result = np.full([len(a) for a in axes], np.nan)
    for r in chosen:
        result[place[0][r.member], place[1][r.layer], place[2][r.epoch]] = getattr(r, field)
    return axes[2], result


def compression(records: Sequence[Record], estimator: str = "", *, since: ArrayLike | None = None) -> Floats:
    """Return how far I(X;T) ends below its greatest earlier value, bits, shape ``(members, layers)``, ≥ 0.

    Parameters
    ----------
    records, estimator
        As in :func:`table`.
    since : array, shape (members,), optional
        Epochs: what each member lost before its own is not counted. :func:`fit_epoch` gives those at which the networks had
        fitted, so that a phase of compression is told from a drift before the fit. By default the whole run counts.

    Raises
    ------
    ValueError
        If ``since`` has another number of members, or an epoch after the last one.
    """
    epochs, values = table(records, "i_xt", estimator)
    if since is not None:
        start = np.asarray(since)
        if start.shape != values.shape[:1] or start.max() > epochs[-1]:
            raise ValueError(
                f"since: {start.tolist()}; one epoch for each of {len(values)} members, up to {epochs[-1]}, is accepted"
            )
        values = np.where(np.array(epochs) >= start[:, None, None], values, -np.inf)
    return values.max(-1) - values[..., -1]


def fit_epoch(records: Sequence[Record], estimator: str = "", *, share: float = 0.9) -> NDArray[np.int64]:
    """Return the first recorded epoch, for each member, at which the last layer's I(T;Y) has ``share`` of its end.

    Parameters
    ----------
    records, estimator
        As in :func:`table`.
    share : float
        In (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share: {share}; a number above 0, up to 1, is accepted")
    epochs, values = table(records, "i_ty", estimator)
    output = values[:, -1]
    return np.array(epochs)[(output >= share * output[:, -1:]).argmax(1)]


def draw_planes(planes: Mapping[str, tuple[Floats, Floats]], step: int, title: str = "") -> Figure:
    """Draw information planes side by side: where each layer of each member is, and the way it came.

    Up to two stand in one row, more of them in two.

    Parameters
    ----------
    planes : mapping
        Name → (I(X;T), I(T;Y)), both ``(members, layers, epochs)`` as :func:`table` gives them.
    step : int
        Index of the epoch at which the points stand.
    title : str
        Of the whole figure.
    """
    import matplotlib.pyplot as plt

    from t2v import plots

    rows = 1 if len(planes) < 3 else 2
    columns = -(-len(planes) // rows)
    size = (max(6.6, 2.7 * columns), 2.5 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    most = max(float(x.max()) for x, _ in planes.values())
    for axis, (name, (x, y)) in zip(axes.flat, planes.items(), strict=False):
        for k in range(x.shape[1]):
            colour = plots.PALETTE[k % len(plots.PALETTE)]
            axis.plot(x[:, k, : step + 1].T, y[:, k, : step + 1].T, color=colour, lw=0.5, alpha=0.4)
            axis.plot(x[:, k, step], y[:, k, step], "o", ms=5, color=colour, label=k + 1)
        axis.set(xlim=(-0.3, 1.03 * most), ylim=(-0.04, 1.04 * max(1.0, float(y.max()))), title=name)
    for axis in axes[-1]:
        axis.set_xlabel("I(X;T), bits")
    for axis in axes[:, 0]:
        axis.set_ylabel("I(T;Y), bits")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, title="layer", loc="outside right center", fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure
