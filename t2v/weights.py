"""Information in the weights: Gaussian posteriors over a network's weights, and what they say of its data.

The unit is the nat. The objective is the paper's new Lagrangian *a sample*: mean cross-entropy + β
KL(q(W|D)‖p(W))/m, so that β = 1 is the evidence lower bound. KL bounds I(D;W) from above in expectation over
D (chapter 6).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

PRIORS = ("fixed", "shared", "per_layer")
CENTRES = ("zero", "init")


# ---------------------------------------------------------------- divergences in closed form


def _tensor(name: str, value: Any) -> Tensor:
    try:
        tensor = value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: {type(value).__name__}; a tensor, array or number is accepted") from error
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.float64)
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name}: has entries that are not finite; finite numbers are accepted")
    return tensor


def _positive(name: str, value: Any) -> Tensor:
    tensor = _tensor(name, value)
    if not bool((tensor > 0).all()):
        raise ValueError(f"{name}: smallest entry is {tensor.min().item():.6g}; a variance must be above 0")
    return tensor


def gaussian_kl(mean: Any, log_var: Any, prior_var: Any) -> Tensor:
    """KL(N(mean, diag(exp(log_var))) ‖ N(0, prior_var·I)) in nats, summed over the weights.

    Parameters
    ----------
    mean, log_var : tensor or array_like
        Posterior means and log-variances, of one shape. A prior that is not centred at zero: pass ``mean -
        centre``.
    prior_var : float or tensor
        λ², above 0; broadcast against ``mean``.

    Returns
    -------
    Tensor, shape ()
        ½ Σ [σ²/λ² + μ²/λ² − 1 + log λ² − log σ²]; differentiable.

    Raises
    ------
    ValueError
        If the shapes differ, an entry is not finite, or a prior variance is not above 0.
    """
    mu, rho, lam = _tensor("mean", mean), _tensor("log_var", log_var), _positive("prior_var", prior_var)
    if mu.shape != rho.shape:
        raise ValueError(
            f"log_var: shape {tuple(rho.shape)}, but mean has {tuple(mu.shape)}; one variance a weight"
        )
    return 0.5 * ((rho.exp() + mu**2) / lam - 1 + lam.log() - rho).sum()


def gaussian_kl_full(mean: Any, covariance: Any, prior_var: float) -> Tensor:
    """KL(N(mean, Σ) ‖ N(0, λ²I)) in nats: ½[tr Σ/λ² + ‖mean‖²/λ² − k + k log λ² − log|Σ|].

    Parameters
    ----------
    mean : tensor, shape (k,)
    covariance : tensor, shape (k, k)
        Positive definite.
    prior_var : float
        λ², above 0.

    Raises
    ------
    ValueError
        If the shapes disagree, λ² is not above 0, or the covariance is not positive definite.
    """
    mu, sigma, lam = (
        _tensor("mean", mean),
        _tensor("covariance", covariance),
        _positive("prior_var", prior_var),
    )
    k = mu.numel()
    if sigma.shape != (k, k):
        raise ValueError(f"covariance: shape {tuple(sigma.shape)}; ({k}, {k}) is needed for {k} weights")
    factor, failed = torch.linalg.cholesky_ex(sigma)
    if int(failed):
        raise ValueError(
            "covariance: not positive definite; a Gaussian posterior needs a positive definite matrix"
        )
    logdet = 2 * factor.diagonal().log().sum()
    return 0.5 * ((sigma.trace() + (mu**2).sum()) / lam - k + k * lam.log() - logdet)


def laplace_kl(
    mean: Any, fisher_logdet: float, m: int, prior_var: float, fisher_inverse_trace: float
) -> Tensor:
    """KL(N(w*, (mF)⁻¹) ‖ N(0, λ²I)) in nats, from log|F| and tr F⁻¹: the right form of §5.4's formula.

    Parameters
    ----------
    mean : tensor, shape (k,) or any
        The weights w* at the end of training; k is their number.
    fisher_logdet : float
        log|F| of the Fisher matrix of *one* sample (a mean over samples, not a sum).
    m : int
        Samples in the data set.
    prior_var : float
        λ², above 0.
    fisher_inverse_trace : float
        tr F⁻¹: the term that the printed formula leaves out, although it depends on the data.

    Returns
    -------
    Tensor, shape ()
        ½[k log m + log|F| + k log λ² + ‖w*‖²/λ² − k + tr F⁻¹/(mλ²)].

    Raises
    ------
    ValueError
        If m < 1, λ² ≤ 0, or ``fisher_logdet`` is not finite (a singular F: add damping, see
        :func:`laplace_covariance`).
    """
    _check_m(m)
    mu, lam = _tensor("mean", mean), _positive("prior_var", prior_var)
    logdet, trace = (
        torch.as_tensor(fisher_logdet, dtype=torch.float64),
        _positive("fisher_inverse_trace", fisher_inverse_trace),
    )
    if not bool(torch.isfinite(logdet)):
        raise ValueError(
            f"fisher_logdet: {float(logdet)}; F is singular, so (mF)⁻¹ does not exist: use damping"
        )
    k = mu.numel()
    return 0.5 * (k * math.log(m) + logdet + k * lam.log() + (mu**2).sum() / lam - k + trace / (m * lam))


def laplace_covariance(fisher: Any, m: int, damping: float = 0.0) -> Tensor:
    """Return the Laplace posterior's covariance (mF + damping·I)⁻¹.

    Parameters
    ----------
    fisher : tensor, shape (k, k)
        Mean over samples, computed in float64: to the rounding of float32 a singular matrix looks regular.
    m : int
        Samples in the data set.
    damping : float
        Added to the diagonal of mF; 1/λ² gives the posterior under the prior N(0, λ²I).

    Raises
    ------
    ValueError
        If m < 1, damping < 0, or the damped matrix is singular (the message gives its rank).
    """
    _check_m(m)
    f = _tensor("fisher", fisher)
    if f.ndim != 2 or f.shape[0] != f.shape[1]:
        raise ValueError(f"fisher: shape {tuple(f.shape)}; a square matrix is accepted")
    if not damping >= 0:
        raise ValueError(f"damping: {damping}; it must be 0 or above")
    precision = m * f + damping * torch.eye(len(f), dtype=f.dtype)
    rank = int(torch.linalg.matrix_rank(precision, hermitian=True))
    if rank < len(f):
        raise ValueError(f"fisher: singular, rank {rank} of {len(f)}; give damping > 0 (Bayes: 1/prior_var)")
    return torch.linalg.inv(precision)


def laplace_information(
    mean: Any, fisher: Any, m: int, prior_var: float, damping: float | None = None
) -> Tensor:
    """KL of the Laplace posterior N(w*, (mF + damping·I)⁻¹) to N(0, λ²I) in nats.

    Parameters
    ----------
    mean : tensor, shape (k,)
    fisher : tensor, shape (k, k)
        Mean over samples.
    m : int
    prior_var : float
        λ², above 0.
    damping : float, optional
        1/λ² by default (the posterior under this prior); 0 for the paper's (mF)⁻¹.
    """
    lam = float(_positive("prior_var", prior_var))
    return gaussian_kl_full(mean, laplace_covariance(fisher, m, 1 / lam if damping is None else damping), lam)


def _check_m(m: int) -> None:
    if not (isinstance(m, (int, np.integer)) and m >= 1):
        raise ValueError(f"m: {m!r}; the number of samples is an integer of at least 1")


# ---------------------------------------------------------------- networks with noisy weights


class NoisyLayer(nn.Module):
    """A Linear or Conv2d layer whose every weight and bias is Gaussian; made by :func:`make_noisy`.

    In training mode the *outputs* are sampled (local reparametrisation; Kingma, Salimans and Welling, 2015):
    for a linear layer that is exactly what sampling the weights afresh for each input gives; for a
    convolution the noise is drawn for each position, which keeps the mean and the variance of every output
    but not the correlation between positions. In eval mode: the means.
    """

    weight_mean: nn.Parameter
    weight_log_var: nn.Parameter
    bias_mean: nn.Parameter | None
    bias_log_var: nn.Parameter | None

    def __init__(
        self, plain: nn.Linear | nn.Conv2d, prior: str, prior_var: float, centre: str, init_log_var: float
    ) -> None:
        super().__init__()
        self.plain = copy.deepcopy(plain)
        self.prior = prior
        self.prior_var = prior_var
        for name in ("weight", "bias"):
            value = getattr(plain, name)
            mean = None if value is None else value.detach().clone()
            self.register_parameter(f"{name}_mean", None if mean is None else nn.Parameter(mean))
            spread = None if mean is None else nn.Parameter(torch.full_like(mean, init_log_var))
            self.register_parameter(f"{name}_log_var", spread)
            keep = mean.clone() if centre == "init" and mean is not None else None
            self.register_buffer(f"{name}_centre", keep)
        self.plain.register_parameter("weight", None)
        self.plain.register_parameter("bias", None)

    def apply(self, fn: Any) -> Any:  # the stripped inner layer has no weights to apply anything to
        """Apply ``fn`` to this layer alone."""
        fn(self)
        return self

    def _affine(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(self.plain, nn.Conv2d):
            return self.plain._conv_forward(x, weight, bias)
        return functional.linear(x, weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs to outputs, noisy in training mode."""
        mean = self._affine(x, self.weight_mean, self.bias_mean)
        if not self.training:
            return mean
        bias_var = None if self.bias_log_var is None else self.bias_log_var.exp()
        variance = self._affine(x**2, self.weight_log_var.exp(), bias_var)
        # An input of zeros has variance 0, where the square root has no gradient.
        return mean + variance.clamp_min(1e-16).sqrt() * torch.randn_like(mean)

    def offsets(self) -> tuple[Tensor, Tensor]:
        """Return (mean − centre, log-variance) of all the layer's weights, flattened."""
        names = ["weight"] if self.bias_mean is None else ["weight", "bias"]
        shift = []
        for name in names:
            centre = getattr(self, f"{name}_centre")
            mean = getattr(self, f"{name}_mean")
            shift.append((mean if centre is None else mean - centre).flatten())
        return torch.cat(shift), torch.cat([getattr(self, f"{n}_log_var").flatten() for n in names])

    def draw(self, generator: torch.Generator) -> nn.Module:
        """Return a plain layer with weights drawn from the posterior."""
        layer = copy.deepcopy(self.plain)
        for name in ("weight", "bias"):
            mean, spread = getattr(self, f"{name}_mean"), getattr(self, f"{name}_log_var")
            if mean is not None:
                noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
                setattr(layer, name, nn.Parameter((mean + (spread / 2).exp() * noise).detach()))
        return layer


def make_noisy(
    model: nn.Module,
    *,
    prior: Literal["fixed", "shared", "per_layer"] = "fixed",
    prior_var: float = 1.0,
    centre: Literal["zero", "init"] = "zero",
    init_log_var: float = -7.0,
) -> nn.Module:
    """Return a copy of a network whose Linear and Conv2d layers have Gaussian weights and biases.

    Parameters
    ----------
    model : nn.Module
        Left as it is. A layer with parameters of another kind is refused by name.
    prior : str
        ``"fixed"``: N(centre, prior_var·I), chosen before the data. ``"shared"`` or ``"per_layer"``: λ² is
        set to the value that minimises the KL, once for the whole network or layer by layer (empirical
        Bayes: no PAC bound without a union bound over λ²).
    prior_var : float
        λ² of the fixed prior.
    centre : str
        ``"zero"``, or ``"init"``: the weights that the model has now.
    init_log_var : float
        Starting log-variance of the posterior.

    Returns
    -------
    nn.Module
        Noisy in training mode, the means in eval mode.

    Raises
    ------
    ValueError
        If an option is unknown, λ² is not above 0, or a layer cannot be made noisy.
    """
    if prior not in PRIORS:
        raise ValueError(f"prior: {prior!r}; accepted: {', '.join(PRIORS)}")
    if centre not in CENTRES:
        raise ValueError(f"centre: {centre!r}; accepted: {', '.join(CENTRES)}")
    _positive("prior_var", prior_var)
    _check_unshared(model)
    return _convert(
        copy.deepcopy(model),
        "",
        lambda layer: NoisyLayer(layer, prior, float(prior_var), centre, init_log_var),
    )


def _check_unshared(model: nn.Module) -> None:
    owners: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = owners.setdefault(id(parameter), name)
        if first != name:
            raise ValueError(
                f"model: {first!r} and {name!r} are one shared tensor; weights of their own are accepted"
            )


def _convert(module: nn.Module, path: str, make: Callable[[nn.Linear | nn.Conv2d], nn.Module]) -> nn.Module:
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        return make(module)
    if next(module.parameters(recurse=False), None) is not None:
        kind = type(module).__name__
        raise ValueError(
            f"model: layer {path or '(root)'!r} is a {kind} with parameters; Linear and Conv2d are accepted"
        )
    for name, child in module.named_children():
        setattr(module, name, _convert(child, f"{path}.{name}".lstrip("."), make))
    return module


def noisy_layers(model: nn.Module) -> Iterator[NoisyLayer]:
    """Iterate over the layers that :func:`make_noisy` made."""
    return (layer for layer in model.modules() if isinstance(layer, NoisyLayer))


def _best_scale_kl(shift: Tensor, log_var: Tensor) -> Tensor:
    """KL to N(0, λ²I) at the λ² that minimises it, the mean of μ² + σ²: ½ Σ [log λ² − log σ²]."""
    scale = (shift**2 + log_var.exp()).mean()
    return 0.5 * (scale.log() - log_var).sum()


def kl(model: nn.Module) -> Tensor:
    """KL(q(W|D) ‖ p(W)) of a noisy network, in nats, summed over all its weights; differentiable.

    Raises
    ------
    ValueError
        If the model has no noisy layer.
    """
    layers = list(noisy_layers(model))
    if not layers:
        raise ValueError("model: has no noisy layer; pass it through make_noisy first")
    parts = [layer.offsets() for layer in layers]
    if layers[0].prior == "shared":
        return _best_scale_kl(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]))
    total = torch.zeros((), dtype=parts[0][0].dtype)
    for layer, (shift, log_var) in zip(layers, parts, strict=True):
        if layer.prior == "per_layer":
            total = total + _best_scale_kl(shift, log_var)
        else:
            var = layer.prior_var
            total = total + 0.5 * ((log_var.exp() + shift**2) / var - 1 + math.log(var) - log_var).sum()
    return total


def draw(model: nn.Module, seed: int = 0) -> nn.Module:
    """Return a plain network, its weights drawn from the posterior of a noisy one."""
    if isinstance(model, NoisyLayer):
        return model.draw(torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)

    def visit(module: nn.Module) -> nn.Module:
        for name, child in module.named_children():
            setattr(module, name, child.draw(generator) if isinstance(child, NoisyLayer) else visit(child))
        return module

    return visit(copy.deepcopy(model)).eval()


def mean_network(model: nn.Module) -> nn.Module:
    """Return a plain network with the posterior's mean weights, in eval mode."""
    still = copy.deepcopy(model)
    with torch.no_grad():
        for layer in noisy_layers(still):
            layer.weight_log_var.fill_(-math.inf)
            if layer.bias_log_var is not None:
                layer.bias_log_var.fill_(-math.inf)
    return draw(still)


# ---------------------------------------------------------------- training


@dataclass(frozen=True)
class History:
    """What training recorded, one column a network.

    Attributes
    ----------
    steps : ndarray, shape (k,)
    cross_entropy : ndarray, shape (k, n)
        Nats a sample, on the batch, with noise.
    kl : ndarray, shape (k, n)
        Nats.
    """

    steps: NDArray[np.int64]
    cross_entropy: NDArray[np.float64]
    kl: NDArray[np.float64]


class _Objective(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return functional.cross_entropy(self.net(x), y), kl(self.net)


def train(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    beta: float,
    *,
    steps: int = 1000,
    batch_size: int = 128,
    lr: float = 3e-3,
    seed: int = 0,
) -> History:
    """Train a noisy network, in place, on mean cross-entropy + β KL/m.

    Parameters
    ----------
    model : nn.Module
        From :func:`make_noisy`.
    inputs, labels : Tensor, shapes (m, …) and (m,)
    beta : float
        Price of a nat in the weights, 0 or above; 1 is the evidence lower bound.
    steps, batch_size, lr, seed
        Adam with a cosine schedule; the seed sets batches and noise.

    Returns
    -------
    History
    """
    return train_many([model], inputs, labels, [beta], steps=steps, batch_size=batch_size, lr=lr, seed=seed)


def train_many(
    models: Sequence[nn.Module],
    inputs: Tensor,
    labels: Tensor,
    betas: Sequence[float],
    *,
    rows: Tensor | None = None,
    steps: int = 1000,
    batch_size: int = 128,
    lr: float = 3e-3,
    seed: int = 0,
) -> History:
    """Train many noisy networks of one architecture at once, in place: a sweep for the price of a few runs.

    Parameters
    ----------
    models : sequence of nn.Module
        n networks from :func:`make_noisy`, of one architecture and prior.
    inputs : Tensor, shape (N, …)
        Shared by all.
    labels : Tensor, shape (N,) or (n, N)
        One set for all, or one a network.
    betas : sequence of float
        One a network.
    rows : Tensor, shape (n, m), optional
        The rows of ``inputs`` that each network trains on; all by default (m = N).
    steps, batch_size, lr, seed
        As in :func:`train`.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        If shapes or numbers do not fit; the message names the argument.
    """
    for name, count in (("steps", steps), ("batch_size", batch_size)):
        if count < 1:
            raise ValueError(f"{name}: {count}; a whole number of at least 1 is accepted")
    n = len(models)
    rows, labels = _check_sweep(n, inputs, labels, betas, rows)
    m = rows.shape[1]
    prices = torch.tensor(list(betas), dtype=torch.get_default_dtype())
    goal = copy.deepcopy(_Objective(models[0])).train()
    params, buffers = torch.func.stack_module_state([_Objective(net) for net in models])
    losses = torch.func.vmap(
        lambda p, b, x, y: torch.func.functional_call(goal, (p, b), (x, y)), randomness="different"
    )
    optimiser = torch.optim.Adam(list(params.values()), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    record: list[tuple[int, Tensor, Tensor]] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step in range(steps):
            index = rows[:, torch.randint(m, (min(batch_size, m),))]
            ce, information = losses(params, buffers, inputs[index], labels.gather(1, index))
            optimiser.zero_grad()
            (ce + prices * information / m).sum().backward()
            optimiser.step()
            schedule.step()
            if step % max(steps // 50, 1) == 0 or step == steps - 1:
                record.append((step, ce.detach(), information.detach()))
    _write_back(models, params)
    at, entropies, informations = zip(*record, strict=True)
    return History(
        np.array(at), torch.stack(entropies).double().numpy(), torch.stack(informations).double().numpy()
    )


def _check_sweep(
    n: int, inputs: Tensor, labels: Tensor, betas: Sequence[float], rows: Tensor | None
) -> tuple[Tensor, Tensor]:
    if n == 0:
        raise ValueError("models: empty; at least one network is needed")
    if len(betas) != n:
        raise ValueError(f"betas: {len(betas)} values for {n} networks; one a network is needed")
    if any(not (math.isfinite(b) and b >= 0) for b in betas):
        raise ValueError(f"beta: {min(betas)}; finite numbers of 0 or above are accepted")
    if len(inputs) == 0:
        raise ValueError("inputs: empty; m must be at least 1")
    if not bool(torch.isfinite(inputs).all()):
        raise ValueError("inputs: some values are not finite; finite numbers are accepted")
    if labels.is_floating_point() or int(labels.min()) < 0:
        raise ValueError(
            f"labels: type {labels.dtype}, from {labels.min()}; whole numbers from 0 are accepted"
        )
    labels = labels.expand(n, -1) if labels.ndim == 1 else labels
    if labels.shape != (n, len(inputs)):
        raise ValueError(
            f"labels: shape {tuple(labels.shape)}; ({len(inputs)},) or ({n}, {len(inputs)}) is accepted"
        )
    rows = torch.arange(len(inputs)).expand(n, -1) if rows is None else rows
    if rows.ndim != 2 or len(rows) != n:
        raise ValueError(f"rows: shape {tuple(rows.shape)}; ({n}, m) is accepted")
    return rows, labels.long()


def _write_back(models: Sequence[nn.Module], params: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for i, net in enumerate(models):
            for name, value in _Objective(net).named_parameters():
                value.copy_(params[name][i])
            net.eval()


@dataclass(frozen=True)
class Score:
    """Loss and error of one network: nats a sample, and the share of wrong answers."""

    cross_entropy: float
    error: float


def evaluate(model: nn.Module, inputs: Tensor, labels: Tensor, *, draws: int = 8, seed: int = 0) -> Score:
    """Score a noisy network: means over weights drawn from its posterior (the loss that the bounds speak of).

    Parameters
    ----------
    model : nn.Module
        From :func:`make_noisy`.
    inputs, labels : Tensor
    draws : int
        Weight samples; 0 scores the mean weights once.
    seed : int

    Returns
    -------
    Score
    """
    if draws < 0:
        raise ValueError(f"draws: {draws}; 0 or above is accepted")
    nets = [draw(model, seed + i) for i in range(draws)] if draws else [copy.deepcopy(model).eval()]
    with torch.no_grad():
        outputs = [net(inputs) for net in nets]
    loss = float(np.mean([functional.cross_entropy(o, labels).item() for o in outputs]))
    return Score(loss, float(np.mean([(o.argmax(1) != labels).double().mean().item() for o in outputs])))


@dataclass(frozen=True)
class Sweep:
    """What :func:`sweep` measured; every array has shape ``(seeds, betas)``, losses and KL in nats.

    Attributes
    ----------
    betas : ndarray, shape (betas,)
    kl, train_loss, train_error, test_loss, test_error : ndarray
        Losses and errors are means over drawn weights.
    parameters : int
        Weights and biases of one network.
    """

    betas: NDArray[np.float64]
    kl: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    train_error: NDArray[np.float64]
    test_loss: NDArray[np.float64]
    test_error: NDArray[np.float64]
    parameters: int


def sweep(
    build: Callable[[int], nn.Module],
    train_set: tuple[Tensor, Tensor],
    test_set: tuple[Tensor, Tensor],
    betas: Sequence[float],
    *,
    m: int,
    seeds: int = 3,
    draws: int = 8,
    steps: int = 600,
    batch_size: int = 50,
    lr: float = 2e-2,
    seed: int = 0,
    **noise: Any,
) -> Sweep:
    """Train and score a noisy network at every price β and seed, all in one go.

    Parameters
    ----------
    build : callable
        ``build(seed)`` returns a freshly initialised plain network.
    train_set : pair of Tensor
        Inputs ``(N, …)`` and labels ``(N,)``, or ``(seeds, N)`` for labels that differ by seed.
    test_set : pair of Tensor
    betas : sequence of float
    m : int
        Samples that each seed trains on: its own random rows of the training set.
    seeds, draws, steps, batch_size, lr, seed
        Repetitions; weight draws to score with; and as in :func:`train`.
    **noise
        Options of :func:`make_noisy`.

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError
        If ``m`` is not between 1 and N, or as :func:`train_many`.
    """
    inputs, labels = train_set
    _check_m(m)
    if m > len(inputs):
        raise ValueError(f"m: {m}; the training set has {len(inputs)} samples")
    labels = labels.expand(seeds, -1) if labels.ndim == 1 else labels
    orders = [
        torch.randperm(len(inputs), generator=torch.Generator().manual_seed(s))[:m] for s in range(seeds)
    ]
    runs = [(s, beta) for s in range(seeds) for beta in betas]
    nets = [make_noisy(build(s), **noise) for s, _ in runs]
    rows = torch.stack([orders[s] for s, _ in runs])
    prices = [beta for _, beta in runs]
    chosen = torch.stack([labels[s] for s, _ in runs])
    train_many(nets, inputs, chosen, prices, rows=rows, steps=steps, batch_size=batch_size, lr=lr, seed=seed)
    table = []
    for net, (s, _) in zip(nets, runs, strict=True):
        seen = evaluate(net, inputs[orders[s]], labels[s][orders[s]], draws=draws)
        fresh = evaluate(net, *test_set, draws=draws)
        table.append((kl(net).item(), seen.cross_entropy, seen.error, fresh.cross_entropy, fresh.error))
    size = sum(p.numel() for p in build(0).parameters())
    a, b, c, d, e = np.array(table).reshape(seeds, len(betas), 5).transpose(2, 0, 1)
    return Sweep(np.asarray(betas, float), a, b, c, d, e, size)


# ---------------------------------------------------------------- a bridge to chapter 2


def binary_kl(q: float, p: float) -> float:
    """KL between two coins with p(heads) q and p, in nats; ``inf`` where p excludes what q does."""
    from scipy.special import rel_entr

    return float(rel_entr(q, p) + rel_entr(1 - q, 1 - p))


def inverse_kl(q: float, budget: float) -> float:
    """Return the largest p with binary_kl(q, p) ≤ budget."""
    if not 0 <= q <= 1 or not budget >= 0:
        raise ValueError(
            f"q, budget: {q}, {budget}; an error rate in [0, 1] and a budget of 0 or above are accepted"
        )
    low, high = q, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if binary_kl(q, middle) <= budget else (low, middle)
    return high


def pac_bayes(error: float, kl_nats: float, m: int, delta: float = 0.05) -> float:
    """Return an upper bound on the true error of weights drawn from a posterior.

    With probability at least 1 − δ over the m samples, for *every* posterior at once,
    kl(error‖true error) ≤ (KL(q‖p) + log(2√m/δ))/m (Langford and Seeger; Maurer's constant).

    Parameters
    ----------
    error : float
        Mean training error (0–1 loss) of weights drawn from the posterior.
    kl_nats : float
        KL(q(W|D)‖p(W)) to a prior chosen before the data were seen.
    m : int
        Training samples.
    delta : float
        In (0, 1).

    Raises
    ------
    ValueError
        If an argument is outside its range.
    """
    _check_m(m)
    if not 0 < delta < 1:
        raise ValueError(f"delta: {delta}; a probability strictly between 0 and 1 is accepted")
    if not 0 <= error <= 1:
        raise ValueError(f"error: {error}; a share between 0 and 1 is accepted")
    if not kl_nats >= 0:
        raise ValueError(f"kl_nats: {kl_nats}; a divergence is 0 or above")
    return inverse_kl(error, (kl_nats + math.log(2 * math.sqrt(m) / delta)) / m)


# ---------------------------------------------------------------- one layer with multiplicative noise


def one_layer_information(weight: Tensor, inputs: Tensor, alpha: float) -> Tensor:
    """Return I(z_i; x) in nats of every unit of z = (ε ∘ Ŵ)x with log-normal noise, for z close to Gaussian.

    ε has mean 1 and log ε has standard deviation α (as in :class:`t2v.variational.InformationDropout`), so var ε =
    e^(α²) − 1 = a. Given x, z_i has variance a Σ_j Ŵ_ij² x_j²; over all x it has Ŵ_i Cov(x) Ŵ_iᵀ more, as the mean
    moves. The information is half the expected log of their ratio (Achille and Soatto, JMLR 2018, the one-layer case).
    Summed over the units it is I(z; x) + TC(z).

    Parameters
    ----------
    weight : Tensor, shape (units, features)
    inputs : Tensor, shape (n, features)
        Equally likely values of x.
    alpha : float
        Width of the noise, above 0.

    Returns
    -------
    Tensor, shape (units,)

    Raises
    ------
    ValueError
        If shapes do not fit, numbers are not finite, or an input gives a unit no noise (all products of its weights
        with the input are 0): there z_i is certain, and the information infinite.
    """
    _check_layer(weight, inputs, alpha)
    a = math.expm1(alpha**2)
    given = a * (inputs**2) @ (weight**2).T
    silent = (given <= 0).nonzero()
    if len(silent):
        row, unit = silent[0].tolist()
        raise ValueError(
            f"inputs: row {row} meets only zeros in unit {unit}, which then has no noise and unbounded information "
            f"({len(silent)} of {given.numel()} such pairs); leave these rows or units out"
        )
    moved = (inputs @ weight.T).var(dim=0, correction=0)
    return 0.5 * ((moved + given.mean(dim=0)).log() - given.log()).mean(dim=0)


def _check_layer(weight: Tensor, inputs: Tensor, alpha: float) -> None:
    if not 0 < alpha < 20:  # e^(α²) is still a number
        raise ValueError(f"alpha: {alpha}; the standard deviation of log ε must be above 0 and below 20")
    if weight.ndim != 2 or inputs.ndim != 2 or weight.shape[1] != inputs.shape[1] or len(inputs) == 0:
        raise ValueError(
            f"weight, inputs: shapes {tuple(weight.shape)}, {tuple(inputs.shape)}; (units, features) and (n, features) "
            "are accepted"
        )
    for name, value in (("weight", weight), ("inputs", inputs)):
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name}: has entries that are not finite; finite numbers are accepted")


def multiplicative_outputs(weight: Tensor, inputs: Tensor, alpha: float, draws: int, seed: int = 0) -> Tensor:
    """Simulate z = (ε ∘ Ŵ)x, shape (draws, n, units): fresh log-normal noise for every draw and input.

    Parameters
    ----------
    weight, inputs, alpha
        As in :func:`one_layer_information`.
    draws, seed : int
    """
    _check_layer(weight, inputs, alpha)
    generator = torch.Generator().manual_seed(seed)
    shape = (len(inputs), *weight.shape)
    out = []
    for _ in range(draws):
        noise = torch.randn(shape, generator=generator, dtype=weight.dtype)
        out.append(torch.einsum("nuf,uf,nf->nu", (alpha * noise - alpha**2 / 2).exp(), weight, inputs))
    return torch.stack(out)
