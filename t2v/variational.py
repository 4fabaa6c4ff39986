"""The bottleneck Lagrangian as a training loss: noisy layers, their KL terms, and what these bound.

This module uses the paper's Lagrangian H_{p,q}(Y|T) + β I(T;X), where β multiplies **I(T;X)** (in
:mod:`t2v.bottleneck` β multiplies I(T;Y)). KL terms and losses are in nats, measured informations in bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import xlogy
from torch import Tensor, nn
from torch.nn import functional

from t2v import training
from t2v.fisher import evaluating

_LN2 = math.log(2.0)


class DivergedError(FloatingPointError, ValueError):
    """Training or recorded activations left the finite numbers; the message says where."""


# --------------------------------------------------------------------------- KL terms


def kl_normal(mean: Tensor, log_var: Tensor, prior_mean: Tensor, prior_log_var: Tensor) -> Tensor:
    """KL(N(mean, e^log_var) ‖ N(prior_mean, e^prior_log_var)) of every component, in nats.

    The KL does not change under a bijection, so this is also the KL between the **log-normal** laws whose
    logarithms have these means and variances: the term of Information Dropout with softplus units.

    Parameters
    ----------
    mean, log_var, prior_mean, prior_log_var : Tensor
        Of shapes that broadcast together.

    Returns
    -------
    Tensor
        The broadcast shape, component by component, ≥ 0.
    """
    excess = (mean - prior_mean).square() / prior_log_var.exp()
    ratio = log_var - prior_log_var
    return 0.5 * (ratio.exp() + excess - 1.0 - ratio)


def kl_standard_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, diag e^log_var) ‖ N(0, I)) of every sample, in nats (Kingma and Welling 2014, appendix B).

    Parameters
    ----------
    mean, log_var : Tensor
        Shape ``(n, d)``.

    Returns
    -------
    Tensor
        Shape ``(n,)``: summed over the ``d`` components, not averaged.

    Raises
    ------
    ValueError
        If the shapes differ, or are not ``(n, d)``.
    """
    if mean.shape != log_var.shape or mean.ndim != 2:
        raise ValueError(
            f"mean, log_var: shapes {tuple(mean.shape)} and {tuple(log_var.shape)}; both must be one (n, d)"
        )
    zero = torch.zeros((), dtype=mean.dtype, device=mean.device)
    return kl_normal(mean, log_var, zero, zero).sum(1)


def kl_correlated_normal(mean: Tensor, log_var: Tensor, prior_mean: Tensor, prior_factor: Tensor) -> Tensor:
    """KL(N(mean, diag e^log_var) ‖ N(prior_mean, L Lᵀ)) of every sample, in nats: the prior's components may be correlated.

    Parameters
    ----------
    mean, log_var : Tensor
        Shape ``(n, d)``.
    prior_mean : Tensor
        Shape ``(d,)``.
    prior_factor : Tensor
        L, shape ``(d, d)``, lower triangular with a positive diagonal.

    Returns
    -------
    Tensor
        Shape ``(n,)``.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    d = mean.shape[-1]
    if mean.shape != log_var.shape or prior_mean.shape != (d,) or prior_factor.shape != (d, d):
        raise ValueError(
            f"mean, log_var, prior_mean, prior_factor: shapes {tuple(mean.shape)}, {tuple(log_var.shape)}, "
            f"{tuple(prior_mean.shape)}, {tuple(prior_factor.shape)}; (n, d), (n, d), (d,) and (d, d) needed"
        )
    whiten = torch.linalg.solve_triangular(
        prior_factor, torch.eye(d, dtype=mean.dtype, device=mean.device), upper=False
    )
    spread = log_var.exp() @ whiten.square().sum(0) + ((mean - prior_mean) @ whiten.T).square().sum(1)
    return 0.5 * (spread - d - log_var.sum(1)) + prior_factor.diagonal().log().sum()


def kl_log_uniform(log_alpha: Tensor, max_alpha: float) -> Tensor:
    """KL of log-normal noise of width α against the log-uniform prior, above its least value, in nats.

    With density ``c/z`` the KL is ``−log α`` plus a constant that the improper prior leaves open; it
    is chosen such that the widest noise, ``max_alpha``, costs nothing (Achille and Soatto 2018).
    It is a price for precision, **not** an upper bound of I(T;X).

    Parameters
    ----------
    log_alpha : Tensor
        Logarithm of the noise width of every unit.
    max_alpha : float
        The widest noise that the layer allows.

    Returns
    -------
    Tensor
        The same shape: ``log max_alpha − log α``.
    """
    return math.log(_positive("max_alpha", max_alpha)) - log_alpha


def _positive(name: str, value: float) -> float:
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: {value!r}; a finite number above 0 is accepted")
    return float(value)


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name}: {value!r}; a whole number of at least 1 is accepted")
    return int(value)


# --------------------------------------------------------------------------- noisy layers


class NoisyLayer(nn.Module):
    """A layer that adds noise and keeps what its noise costs.

    Attributes
    ----------
    kl : Tensor or None
        Of the latest pass: shape ``(n,)``, nats a sample.
    bounds_information : bool
        Whether the mean of ``kl`` is an upper bound of the information between the layer's input and output.
    """

    kl: Tensor | None = None
    bounds_information: bool = True
    noisy: bool | None = None

    def adds_noise(self) -> bool:
        """Whether the next pass samples: by default in training mode only; ``noisy`` overrides it."""
        return self.training if self.noisy is None else self.noisy


class GaussianEncoder(NoisyLayer):
    """A stochastic encoder T | x ~ N(μ(x), diag σ²(x)) with prior N(0, I): the deep variational bottleneck.

    In training mode the output is one sample (reparametrised), in eval mode the mean. After every pass ``kl``
    holds KL(T|x ‖ prior); its mean is an upper bound of I(T;X) (Alemi et al. 2017).

    Parameters
    ----------
    body : nn.Module
        Maps the inputs to ``(n, features)``.
    features : int
        Width of the body's output.
    latent : int
        Dimension of T.
    prior : {"standard", "correlated"}
        ``"standard"`` is N(0, I), whose components are independent; ``"correlated"`` is one Gaussian with a mean and a full
        covariance that are learnt.
    """

    def __init__(self, body: nn.Module, features: int, latent: int, *, prior: str = "standard") -> None:
        super().__init__()
        if prior not in ("standard", "correlated"):
            raise ValueError(f"prior: {prior!r}; 'standard' or 'correlated' is accepted")
        self.features, self.latent = _count("features", features), _count("latent", latent)
        self.body = body
        self.head = nn.Linear(self.features, 2 * self.latent)
        self.prior = prior
        if prior == "correlated":
            self.prior_mean = nn.Parameter(torch.zeros(self.latent))
            self.prior_root = nn.Parameter(torch.zeros(self.latent, self.latent))

    def prior_factor(self) -> Tensor:
        """Return L, lower triangular, such that the correlated prior's covariance is L Lᵀ: the identity to begin with."""
        return self.prior_root.tril(-1) + self.prior_root.diagonal().exp().diag()

    def distribution(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log-variance of T given each input, both ``(n, latent)``."""
        hidden = self.body(inputs)
        if hidden.ndim != 2 or hidden.shape[1] != self.features:
            raise ValueError(
                f"body: gives {tuple(hidden.shape)} for inputs {tuple(inputs.shape)}; "
                f"(n, {self.features}) is needed because features={self.features}"
            )
        mean, log_var = self.head(hidden).chunk(2, dim=1)
        return mean, log_var.clamp(-12.0, 4.0)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``(n, latent)``: a sample in training mode, the mean in eval mode."""
        mean, log_var = self.distribution(inputs)
        if self.prior == "standard":
            self.kl = kl_standard_normal(mean, log_var)
        else:
            self.kl = kl_correlated_normal(mean, log_var, self.prior_mean, self.prior_factor())
        if not self.adds_noise():
            return mean
        return mean + (0.5 * log_var).exp() * torch.randn_like(mean)


class InformationDropout(NoisyLayer):
    """A layer T = ε ⊙ f(x) with log-normal noise, log ε ~ N(0, α²(x)), whose width is learnt for every input.

    ``activation="softplus"`` has a log-normal prior, learnt a unit: its KL bounds I(T; input).
    ``activation="relu"`` has a point mass at 0 and a log-uniform prior: its KL is ``log(max_alpha/α)`` for
    units that are on, and only known up to a constant (Achille and Soatto 2018). In eval mode ε = 1.

    Parameters
    ----------
    in_features, out_features : int
        Widths, or channels when ``kernel_size`` is given.
    activation : {"softplus", "relu"}
        The nonlinearity, and with it the prior.
    max_alpha : float
        The widest noise.
    kernel_size : int, optional
        Convolution of that (odd) size instead of a dense layer.
    stride : int
        Of the convolution.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: str = "softplus",
        max_alpha: float = 0.7,
        kernel_size: int | None = None,
        stride: int = 1,
    ) -> None:
        super().__init__()
        if activation not in ("softplus", "relu"):
            raise ValueError(f"activation: {activation!r}; 'softplus' or 'relu' is accepted")
        n_in, n_out = _count("in_features", in_features), _count("out_features", out_features)
        self.activation, self.max_alpha = activation, _positive("max_alpha", max_alpha)
        self.bounds_information = activation == "softplus"
        self.signal = _layer(n_in, n_out, kernel_size, stride)
        self.width = _layer(n_in, n_out, kernel_size, stride)
        shape = (n_out,) if kernel_size is None else (n_out, 1, 1)
        self.prior_mean = nn.Parameter(torch.zeros(shape))
        self.prior_log_var = nn.Parameter(torch.zeros(shape))
        if activation == "relu":  # the log-uniform prior has nothing to learn
            self.prior_mean.requires_grad_(False)
            self.prior_log_var.requires_grad_(False)

    def distribution(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(x) and log α(x), of the output's shape: T is log-normal around f with width α."""
        try:
            before, width = self.signal(inputs), self.width(inputs)
        except RuntimeError as error:
            raise ValueError(
                f"inputs: shape {tuple(inputs.shape)} does not fit {self.signal}: {error}"
            ) from error
        signal = functional.softplus(before) + 1e-6 if self.activation == "softplus" else before.relu()
        log_alpha = math.log(self.max_alpha) + functional.logsigmoid(width).clamp(min=-7.0)
        return signal, log_alpha

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the noisy activations (training mode) or the clean ones (eval mode), and keep ``kl``."""
        signal, log_alpha = self.distribution(inputs)
        if self.activation == "softplus":
            unit = kl_normal(signal.log(), 2 * log_alpha, self.prior_mean, self.prior_log_var)
        else:  # a unit at 0 has no noise: its cost is a constant, −log of the prior's mass at 0, set to 0
            unit = kl_log_uniform(log_alpha, self.max_alpha) * (signal > 0)
        self.kl = unit.flatten(1).sum(1)
        if not self.adds_noise():
            return signal
        return signal * (log_alpha.exp() * torch.randn_like(signal)).exp()


def _layer(n_in: int, n_out: int, kernel_size: int | None, stride: int) -> nn.Module:
    if kernel_size is None:
        return nn.Linear(n_in, n_out)
    if _count("kernel_size", kernel_size) % 2 == 0:
        raise ValueError(f"kernel_size: {kernel_size}; an odd number is accepted")
    return nn.Conv2d(n_in, n_out, kernel_size, stride=stride, padding=kernel_size // 2)


def noisy_layers(model: nn.Module) -> list[NoisyLayer]:
    """Return the model's noisy layers, in the order in which they are registered."""
    return [m for m in model.modules() if isinstance(m, NoisyLayer)]


def rate(model: nn.Module) -> Tensor:
    """Sum the KL terms of all noisy layers over the latest pass: ``(n,)``, nats a sample.

    Raises
    ------
    ValueError
        If the model has no noisy layer, or none that has seen data.
    """
    terms = [layer.kl for layer in noisy_layers(model) if layer.kl is not None]
    if not terms:
        raise ValueError(
            "model: no noisy layer with a KL term; use GaussianEncoder or InformationDropout, then a pass"
        )
    return torch.stack(terms).sum(0)


def lagrangian(logits: Tensor, labels: Tensor, kl: Tensor, beta: float) -> Tensor:
    """Return the loss H_{p,q}(Y|T) + β·KL, mean nats a sample: an upper bound of the paper's IB Lagrangian.

    Parameters
    ----------
    logits : Tensor
        Shape ``(n, classes)``.
    labels : Tensor
        Shape ``(n,)``, integers.
    kl : Tensor
        Shape ``(n,)``: :func:`rate` of the same pass.
    beta : float
        The price of a nat about X, ≥ 0.

    Raises
    ------
    ValueError
        If β is negative.
    """
    return functional.cross_entropy(logits, labels) + check_beta(beta) * kl.mean()


def check_beta(beta: float) -> float:
    """Return β as a float, or raise ``ValueError`` if it is negative or not finite."""
    if not isinstance(beta, int | float | np.floating) or not math.isfinite(beta) or beta < 0:
        raise ValueError(f"beta: {beta!r}; a finite number ≥ 0 is accepted (it multiplies I(T;X))")
    return float(beta)


# --------------------------------------------------------------------------- training


@dataclass(frozen=True)
class History:
    """What :func:`train` saw.

    Attributes
    ----------
    rate : tuple of float
        Mean over each epoch's steps of the noisy layers' KL, nats a sample.
    beta : tuple of float
        The β of each epoch.
    train_accuracy : float
        After the last epoch, without noise.
    """

    rate: tuple[float, ...]
    beta: tuple[float, ...]
    train_accuracy: float


def warm_up(beta: float, epochs: int) -> Callable[[int], float]:
    """Return a schedule for :func:`train`: β rises linearly from 0 for ``epochs`` epochs, then stays."""
    top, length = check_beta(beta), _count("epochs", epochs)
    return lambda epoch: top * min(1.0, epoch / length)


def train(
    model: nn.Module,
    inputs: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    *,
    beta: float | Callable[[int], float] = 0.0,
    epochs: int = 20,
    batch_size: int = 128,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> History:
    """Minimise H_{p,q}(Y|T) + β I(T;X) (its variational bound) with Adam, in place.

    Parameters
    ----------
    model : nn.Module
        Maps inputs to logits ``(n, classes)``; its noisy layers' KL terms are summed. Without noisy layers
        only β = 0 is accepted.
    inputs : Tensor or array
        Shape ``(n, …)``.
    labels : Tensor or array
        Shape ``(n,)``, integers 0 … classes − 1.
    beta : float or callable
        The price of a nat, or a schedule epoch → β (:func:`warm_up`).
    epochs, batch_size, lr, weight_decay
        As usual.
    seed : int
        Of the batches and of the noise; the caller's random state is left as it was.
    device : str
        Where to train; the model is left there.
    progress : bool
        Show a bar.

    Returns
    -------
    History
        Rate and β, epoch by epoch.

    Raises
    ------
    ValueError
        For a negative β, shapes that do not fit, labels out of range.
    DivergedError
        (A ValueError and FloatingPointError.) The loss is no longer finite; it names epoch and layer.
    """
    schedule = beta if callable(beta) else lambda _: beta
    x, y = _data(inputs, labels, device)
    model.to(device)
    _fits(model, x, y)
    if not noisy_layers(model) and any(check_beta(schedule(e)) > 0 for e in range(_count("epochs", epochs))):
        raise ValueError(
            "model: has no noisy layer, so beta > 0 has nothing to act on; accepted: beta=0, or noise"
        )
    meter = _Meter(schedule, _bar(epochs, progress))
    try:
        seen = training.fit(
            model,
            x,
            y,
            epochs=epochs,
            lr=_positive("lr", lr),
            batch_size=_count("batch_size", batch_size),
            seed=seed,
            weight_decay=weight_decay,
            penalty=meter.penalty,
            every=epochs,
            on_epoch=meter.next_epoch,
        )
    except FloatingPointError as error:
        raise DivergedError(
            f"training diverged in epoch {len(meter.rates) + 1}: {_where(model, x)} ({error})"
        ) from error
    finally:
        meter.bar.close()
    return History(tuple(meter.rates), tuple(meter.betas), seen.train_accuracy[-1])


class _Meter:
    """The penalty β·KL as :func:`t2v.training.fit` wants it, which writes down what it saw."""

    def __init__(self, schedule: Callable[[int], float], bar: Any) -> None:
        self.schedule, self.bar, self.epoch = schedule, bar, 0
        self.rates: list[float] = []
        self.betas: list[float] = []
        self.steps: list[float] = []

    def penalty(self, model: nn.Module) -> Tensor:
        kl = rate(model).mean() if noisy_layers(model) else torch.zeros(())
        self.steps.append(float(kl.detach()))
        return check_beta(self.schedule(self.epoch)) * kl

    def next_epoch(self, epoch: int) -> None:
        self.rates.append(float(np.mean(self.steps)))
        self.betas.append(float(self.schedule(self.epoch)))
        self.steps, self.epoch = [], epoch
        self.bar.update()


def _where(model: nn.Module, x: Tensor) -> str:
    """Name the first leaf module whose output is not finite."""
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_m: nn.Module, _i: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(name)

        return hook

    hooks = [m.register_forward_hook(look(n)) for n, m in model.named_modules() if not list(m.children())]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for h in hooks:
            h.remove()
    return f"layer {found[0]!r} gives values that are not finite" if found else "the loss is not finite"


def _data(inputs: Tensor | np.ndarray, labels: Tensor | np.ndarray, device: str) -> tuple[Tensor, Tensor]:
    x, y = torch.as_tensor(inputs), torch.as_tensor(labels)
    if y.ndim != 1 or len(x) != len(y) or len(y) == 0:
        raise ValueError(
            f"labels: shape {tuple(y.shape)} for inputs {tuple(x.shape)}; (n,) with the same n ≥ 1 needed"
        )
    if y.is_floating_point() or y.is_complex():
        raise ValueError(f"labels: type {y.dtype}; integers 0 … classes − 1 are accepted")
    x = x.to(torch.get_default_dtype()) if not x.is_floating_point() or x.dtype == torch.float64 else x
    if not torch.isfinite(x).all():
        raise ValueError("inputs: some values are not finite; finite numbers are accepted")
    return x.to(device), y.long().to(device)


def _fits(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Try the model on two samples, so that a misfit is told before training and in words."""
    try:
        with torch.no_grad(), evaluating(model):
            logits = model(x[:2])
    except RuntimeError as error:
        raise ValueError(f"model: its layers do not fit inputs of shape {tuple(x.shape)}: {error}") from error
    if logits.ndim != 2 or len(logits) != len(x[:2]):
        raise ValueError(f"model: gives {tuple(logits.shape)} for 2 inputs; logits (n, classes) are needed")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"labels: {low} … {high}, but the model has {logits.shape[1]} outputs; "
            f"0 … {logits.shape[1] - 1} is accepted"
        )


def _cuda_devices(device: str) -> list[int]:
    return list(range(torch.cuda.device_count())) if str(device).startswith("cuda") else []


def _bar(epochs: int, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=epochs, disable=not progress, desc="epochs", leave=False)


# --------------------------------------------------------------------------- what a trained model knows


@dataclass(frozen=True)
class Measurement:
    """What a model keeps, on the data that it was measured on; informations in bits.

    Attributes
    ----------
    accuracy : float
        Of the noise-free pass.
    cross_entropy : float
        E over noise and data of −log₂ q(y|t).
    i_tx_upper : float
        I(T;X) is at most this, T being all that the prediction is made from: the least KL of the layers that alone carry
        the input to the logits; where none does, the sum over all of them (inf if the input reaches the logits around
        them, or a layer's KL is no bound).
    i_ty_lower : float
        H(Y) − cross_entropy: I(T;Y) is at least this (negative if the decoder is worse than the prior). It is below
        ``i_tx_upper``, but for the sampling of the noise.
    rates : tuple of float
        The KL of each noisy layer in the order of the pass, bits; NaN where it bounds nothing. A rate is a bound for
        that layer alone.
    """

    accuracy: float
    cross_entropy: float
    i_tx_upper: float
    i_ty_lower: float
    rates: tuple[float, ...] = ()


def measure(
    model: nn.Module,
    inputs: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    *,
    draws: int = 8,
    seed: int = 0,
    device: str = "cpu",
) -> Measurement:
    """Bound I(T;X) from above and I(T;Y) from below, on any data: held-out data for honest numbers.

    In a chain of noisy layers I(T_k;X) ≤ I(T_j;T_{j−1}) ≤ E KL_j for every j ≤ k (DPI): the least KL bounds. Layers side by
    side are no chain, and only the sum of their KLs bounds what they carry together. Which layers are a chain is tried: a
    layer is frozen at its output for one input, and if the logits still follow the input, there is a way around it.

    Parameters
    ----------
    model, inputs, labels
        As in :func:`train`. The model treats its inputs one by one (batch normalisation is in eval mode).
    draws : int
        Noise samples an input.
    seed : int
        Of the noise.
    device : str
        Where to compute.

    Returns
    -------
    Measurement
        Informations in bits.

    Raises
    ------
    ValueError
        If a noisy layer is used more than once in a pass: its KL is that of the last time only. Or as in :func:`train`.
    """
    x, y = _data(inputs, labels, device)
    model.to(device)
    _fits(model, x, y)
    cross: list[float] = []
    with torch.no_grad(), evaluating(model):
        used = _used(model, x)
        kls: list[list[float]] = []
        accuracy = float((model(x).argmax(1) == y).double().mean())
        with torch.random.fork_rng(devices=_cuda_devices(device)), noise_on(model):
            torch.manual_seed(seed)
            for _ in range(_count("draws", draws)):
                cross.append(functional.cross_entropy(model(x).double(), y).item() / _LN2)
                kls.append([_rate(m) for m in used])
        rates = np.mean(kls, axis=0)
        upper = _bound(model, x, used, rates)
    h_y = label_entropy(y.cpu().numpy())
    mean_cross = float(np.mean(cross))
    return Measurement(accuracy, mean_cross, upper, h_y - mean_cross, tuple(rates.tolist()))


def _rate(layer: NoisyLayer) -> float:
    return float(layer.kl.mean()) / _LN2 if layer.bounds_information and layer.kl is not None else math.nan


def _used(model: nn.Module, x: Tensor) -> list[NoisyLayer]:
    """Return the noisy layers in the order in which a pass uses them, each once."""
    seen: list[NoisyLayer] = []
    hooks = [m.register_forward_hook(lambda layer, _i, _o: seen.append(layer)) for m in noisy_layers(model)]
    try:
        model(x[:2])
    finally:
        for hook in hooks:
            hook.remove()
    names = {id(m): name for name, m in model.named_modules()}
    twice = {names[id(m)] for m in seen if sum(m is other for other in seen) > 1}
    if twice:
        raise ValueError(
            f"model: layer {sorted(twice)[0]!r} is used more than once in a pass, and its kl is that of the last time; "
            "one layer for each use is accepted"
        )
    return seen


def _bound(model: nn.Module, x: Tensor, layers: list[NoisyLayer], rates: np.ndarray) -> float:
    """Return the least of the rates that bound what reaches the logits, in bits."""
    alone = [r for m, r in zip(layers, rates, strict=True) if not math.isnan(r) and _carry(model, x, [m])]
    if alone:
        return float(min(alone))
    if layers and not np.isnan(rates).any() and _carry(model, x, layers):
        return float(rates.sum())
    return math.inf


def _carry(model: nn.Module, x: Tensor, layers: list[NoisyLayer]) -> bool:
    """Whether all that the logits know of the input comes through these layers: frozen, they leave the logits constant."""
    hooks = [m.register_forward_hook(lambda _m, _i, output: output[:1].expand_as(output)) for m in layers]
    try:
        logits = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return bool(torch.allclose(logits, logits[:1].expand_as(logits), rtol=1e-4, atol=1e-5))


class noise_on:  # noqa: N801 - used like a function: with noise_on(model): …
    """Switch the noise of all noisy layers on (or off) while the model stays in eval mode.

    Parameters
    ----------
    model : nn.Module
        Any model.
    value : bool
        Whether the layers sample.
    """

    def __init__(self, model: nn.Module, value: bool = True) -> None:
        self.layers, self.value = noisy_layers(model), value

    def __enter__(self) -> None:
        self.before = [m.noisy for m in self.layers]
        for m in self.layers:
            m.noisy = self.value

    def __exit__(self, *_: object) -> None:
        for m, old in zip(self.layers, self.before, strict=True):
            m.noisy = old


def codes(
    model: nn.Module,
    inputs: Tensor | np.ndarray,
    *,
    layer: nn.Module | None = None,
    draws: int = 1,
    seed: int = 0,
    noise: bool = True,
) -> np.ndarray:
    """Sample the representation T of every input.

    Parameters
    ----------
    model : nn.Module
        The trained model.
    inputs : Tensor or array
        Shape ``(n, …)``.
    layer : nn.Module, optional
        Whose output is T; the last noisy layer by default.
    draws : int
        Samples an input.
    seed : int
        Of the noise.
    noise : bool
        Whether the noisy layers sample; without noise T is their signal (mean).

    Returns
    -------
    ndarray
        Shape ``(draws·n, d)``: first one sample of every input, then the next.
    """
    if layer is None:
        found = noisy_layers(model)
        if not found:
            raise ValueError("model: has no noisy layer; name the layer whose output is the representation")
        layer = found[-1]
    device = next(model.parameters()).device
    x = torch.as_tensor(inputs, dtype=torch.get_default_dtype(), device=device)
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _m, _i, output: kept.append(output.detach().flatten(1)))
    try:
        with (
            torch.no_grad(),
            evaluating(model),
            torch.random.fork_rng(devices=_cuda_devices(str(device))),
            noise_on(model, noise),
        ):
            torch.manual_seed(seed)
            for _ in range(_count("draws", draws)):
                model(x)
    finally:
        hook.remove()
    return torch.cat(kept).cpu().numpy()


def label_entropy(labels: np.ndarray) -> float:
    """Plug-in entropy of a sample of labels, in bits."""
    p = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-xlogy(p, p).sum() / _LN2)


def gaussian_information(
    mean: Tensor, log_var: Tensor, *, seed: int = 0, draws: int = 1
) -> tuple[float, float]:
    """Sandwich I(T;X) of a Gaussian encoder between two bounds that know p(t|x), in bits (Poole et al. 2019).

    Both compare p(t_i|x_i) with an average over the sample that stands for p(t): with x_i in the average the
    estimate is low (and never above log₂ n), without it it is high.

    Parameters
    ----------
    mean, log_var : Tensor
        Shape ``(n, d)``: the encoder's output for n independent inputs, n ≥ 2.
    seed, draws : int
        Of the noise.

    Returns
    -------
    low, high : float
        Bits; each is a bound in expectation.
    """
    if mean.shape != log_var.shape or mean.ndim != 2 or len(mean) < 2:
        raise ValueError(
            f"mean, log_var: shapes {tuple(mean.shape)}, {tuple(log_var.shape)}; one (n ≥ 2, d) needed"
        )
    m, lv = mean.detach().double(), log_var.detach().double()
    n, low, high = len(m), 0.0, 0.0
    generator = _stream(seed)
    for _ in range(_count("draws", draws)):
        log_p = _log_density(_sample(m, lv, generator), m, lv)
        own = log_p.diagonal()
        others = log_p.masked_fill(torch.eye(n, dtype=torch.bool, device=m.device), -math.inf)
        low += float((own - torch.logsumexp(log_p, 1) + math.log(n)).mean())
        high += float((own - torch.logsumexp(others, 1) + math.log(n - 1)).mean())
    return low / draws / _LN2, high / draws / _LN2


def _stream(seed: int) -> torch.Generator:
    """Return a stream of its own: inputs that the caller drew with the same seed must not repeat themselves as noise."""
    return torch.Generator().manual_seed(0x7E57ED + seed)


def _sample(mean: Tensor, log_var: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype).to(mean.device)
    return mean + (0.5 * log_var).exp() * noise


def _log_density(t: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Log-density of each t (rows) under each Gaussian (columns), less the constant of 2π."""
    precision = (-log_var).exp()
    quadratic = t.square() @ precision.T - 2 * t @ (precision * mean).T + (precision * mean.square()).sum(1)
    return -0.5 * (quadratic + log_var.sum(1))


def panel_information(
    mean: Tensor,
    log_var: Tensor,
    labels: Tensor | np.ndarray,
    *,
    draws: int = 1,
    seed: int = 0,
    block: int = 512,
) -> tuple[float, float]:
    """Return I(T;L) of a Gaussian encoder and a label L of its inputs, in bits, from the densities: no probe.

    X is uniform over n listed inputs, so p(t) and p(t|l) are mixtures of known Gaussians and I(T;L) = E log p(t|l)/p(t)
    with no decoder to fit. Only t is sampled: the value is unbiased, and its standard error is returned. (A log-normal
    layer: pass the means and log-variances of log T.)

    Parameters
    ----------
    mean, log_var : Tensor
        Shape ``(n, d)``: the encoder's output for every input of the panel.
    labels : Tensor or array
        Shape ``(n,)``, integers: nuisance, class, or the input's own number for I(T;X).
    draws : int
        Samples of T an input.
    seed : int
        Of the noise.
    block : int
        Samples at a time: memory is O(block · n).

    Returns
    -------
    bits, standard_error : float

    Raises
    ------
    ValueError
        If shapes do not fit.
    """
    l_ = torch.as_tensor(labels)
    if mean.shape != log_var.shape or mean.ndim != 2 or l_.shape != mean.shape[:1] or len(mean) == 0:
        raise ValueError(
            f"mean, log_var, labels: shapes {tuple(mean.shape)}, {tuple(log_var.shape)}, {tuple(l_.shape)}; "
            "(n, d), (n, d) and (n,) needed"
        )
    m, lv = mean.detach().double(), log_var.detach().double()
    _, code, counts = l_.to(m.device).unique(return_inverse=True, return_counts=True)
    order, ends = code.argsort(stable=True), counts.cumsum(0)
    m_, lv_, code_ = m[order], lv[order], code[order]  # label by label: only a stripe is asked for p(t|l)
    generator, gains = _stream(seed), []
    for _ in range(_count("draws", draws)):
        t = _sample(m, lv, generator)[order]
        for i in range(0, len(t), block):
            log_p, own = _log_density(t[i : i + block], m_, lv_), code_[i : i + block]
            stripe = slice(int(ends[own[0]] - counts[own[0]]), int(ends[own[-1]]))
            within = log_p[:, stripe].masked_fill(own[:, None] != code_[stripe], -math.inf)
            given = torch.logsumexp(within, 1) - counts[own].double().log()
            gains.append((given - torch.logsumexp(log_p, 1) + math.log(len(m))) / _LN2)
    every = torch.cat(gains)
    return float(every.mean()), float(every.std() / math.sqrt(len(every)))


def carried_over(
    mean: Tensor,
    log_var: Tensor,
    labels: Tensor | np.ndarray,
    known: np.ndarray,
    *,
    draws: int = 1,
    seed: int = 0,
) -> float:
    """Lower-bound I(T;L) by Bayes' decoder that knows the densities of some inputs, and reads codes of the others, in bits.

    q(l|t) ∝ p(l) p(t|l) with the mixtures of the known inputs: no training, no early stopping. As with any decoder,
    H(L) − E[−log q(l|t)] is at most I(T;L), and here of inputs like those that are read.

    Parameters
    ----------
    mean, log_var : Tensor
        Shape ``(n, d)``, as for :func:`panel_information`.
    labels : Tensor or array
        Shape ``(n,)``, integers.
    known : array of bool
        Shape ``(n,)``: whose densities the decoder knows; every label must occur among them.
    draws, seed : int
        Samples of T an input, and the seed of the noise.

    Returns
    -------
    float
        Bits; slightly negative means 0.

    Raises
    ------
    ValueError
        If shapes do not fit, nobody is left to be read, or a label to be read is not known.
    """
    l_, k = torch.as_tensor(labels).numpy(), np.asarray(known, dtype=bool)
    if mean.shape != log_var.shape or mean.ndim != 2 or not l_.shape == k.shape == (len(mean),):
        raise ValueError(
            f"mean, log_var, labels, known: shapes {tuple(mean.shape)}, {tuple(log_var.shape)}, {l_.shape}, {k.shape}; "
            "(n, d), (n, d), (n,) and (n,) needed"
        )
    if k.all() or not set(l_[~k]) <= set(l_[k]):
        raise ValueError(
            "known: leaves no input to be read, or none of some label to know; some of each label are needed"
        )
    m, lv = mean.detach().double(), log_var.detach().double()
    generator, own, surprise = _stream(seed), torch.as_tensor(l_[k]), 0.0
    for _ in range(_count("draws", draws)):
        log_p = _log_density(_sample(m[~k], lv[~k], generator), m[k], lv[k])
        same = log_p.masked_fill(torch.as_tensor(l_[~k])[:, None] != own, -math.inf)
        surprise -= float((torch.logsumexp(same, 1) - torch.logsumexp(log_p, 1)).mean()) / _LN2
    return label_entropy(l_[~k]) - surprise / draws


def code_correlation(mean: Tensor, log_var: Tensor, *, draws: int = 1, seed: int = 0) -> tuple[float, float]:
    """Total correlation of a Gaussian encoder's code, in bits, from the densities: KL(p(t) ‖ Π p(t_k)).

    X is uniform over the n inputs, so p(t) and every p(t_k) are known mixtures. As the noise of the components is
    independent, it equals Σ I(T_k;X) − I(T;X): what the components say more than once.

    Parameters
    ----------
    mean, log_var : Tensor
        Shape ``(n, d)``.
    draws, seed : int
        Samples of T an input, and the seed of the noise.

    Returns
    -------
    bits, standard_error : float

    Raises
    ------
    ValueError
        If the shapes differ, or are not ``(n, d)``.
    """
    if mean.shape != log_var.shape or mean.ndim != 2 or len(mean) == 0:
        raise ValueError(
            f"mean, log_var: shapes {tuple(mean.shape)}, {tuple(log_var.shape)}; one (n, d) needed"
        )
    m, lv = mean.detach().double(), log_var.detach().double()
    generator, gains = _stream(seed), []
    for _ in range(_count("draws", draws)):
        t = _sample(m, lv, generator)
        joint = torch.logsumexp(_log_density(t, m, lv), 1) - math.log(len(m))
        for k in range(m.shape[1]):
            one = slice(k, k + 1)
            joint = (
                joint - torch.logsumexp(_log_density(t[:, one], m[:, one], lv[:, one]), 1) + math.log(len(m))
            )
        gains.append(joint / _LN2)
    every = torch.cat(gains)
    return float(every.mean()), float(every.std() / math.sqrt(len(every)))


def batch_noise(
    activations: np.ndarray, batch_size: int, *, draws: int = 100, seed: int = 0, eps: float = 1e-5
) -> np.ndarray:
    """Sample what batch normalisation makes of every row, when the rest of its batch is drawn at random.

    In training mode a row is shifted and scaled by the mean and the variance of its batch (Ioffe and Szegedy 2015), and
    these depend on the other rows: for the row itself they are noise.

    Parameters
    ----------
    activations : array
        Shape ``(n, d)``: what enters the normalisation, one row an input.
    batch_size : int
        B ≥ 2: a row and B − 1 others, drawn with replacement. Within a draw all rows meet the same others.
    draws, seed : int
        How often, and the seed of the others.
    eps : float
        Added to the variance, as in torch.

    Returns
    -------
    ndarray
        Shape ``(draws, n, d)``.

    Raises
    ------
    ValueError
        If the shape is not ``(n, d)``, a value is not finite, or B < 2.
    """
    a = np.asarray(activations, dtype=float)
    if a.ndim != 2 or not len(a) or not np.isfinite(a).all():
        raise ValueError(f"activations: shape {a.shape}; finite numbers of shape (n, d) are needed")
    if _count("batch_size", batch_size) < 2:
        raise ValueError("batch_size: 1; at least 2 are needed, a row and one other")
    rng, share = np.random.default_rng(seed), 1 / batch_size
    result = np.empty((_count("draws", draws), *a.shape))
    for drawn in result:
        others = a[rng.integers(len(a), size=batch_size - 1)]
        centre = (1 - share) * others.mean(0) + share * a
        variance = (1 - share) * (others.var(0) + np.square(others.mean(0) - centre)) + share * np.square(
            a - centre
        )
        drawn[:] = (a - centre) / np.sqrt(variance + eps)
    return result


def nuisance_information(
    train_codes: np.ndarray,
    train_nuisance: np.ndarray,
    test_codes: np.ndarray,
    test_nuisance: np.ndarray,
    *,
    hidden: int = 64,
    steps: int = 300,
    lr: float = 1e-2,
    seed: int = 0,
) -> float:
    """Lower-bound I(T;N) for a discrete nuisance N by what a probe can read: H(N) − H_{p,q}(N|T), in bits.

    The probe (one hidden layer) is fitted on four fifths of the first pair, stopped early on the rest, and
    scored on the second pair. Any probe gives a lower bound (Barber and Agakov 2003), a better one a tighter
    bound: a small value means "this probe reads little", not "nothing is there". Slightly negative means 0.

    Parameters
    ----------
    train_codes, test_codes : ndarray
        Shape ``(n, d)``.
    train_nuisance, test_nuisance : ndarray
        Shape ``(n,)``, integers ≥ 0; every value of the test part must occur in the training part.
    hidden, steps, lr, seed
        Of the probe.

    Returns
    -------
    float
        Bits.
    """
    x, y = _data(train_codes, train_nuisance, "cpu")
    z, w = _data(test_codes, test_nuisance, "cpu")
    if x.ndim != 2 or z.ndim != 2 or x.shape[1] != z.shape[1]:
        raise ValueError(f"codes: shapes {tuple(x.shape)} and {tuple(z.shape)}; (n, d) with one d needed")
    if len(x) < 5:
        raise ValueError(
            f"train_codes: {len(x)} samples; at least 5 are needed, one of which stops the probe"
        )
    classes = int(y.max()) + 1
    if int(w.max()) >= classes or int(min(y.min(), w.min())) < 0:
        raise ValueError(f"test_nuisance: values outside 0 … {classes - 1}, the values of train_nuisance")
    centre, scale = x.mean(0), x.std(0).clamp(min=1e-6)
    probe = _fit_probe((x - centre) / scale, y, classes, hidden, steps, lr, seed)
    with torch.no_grad():
        cross = functional.cross_entropy(probe((z - centre) / scale).double(), w).item()
    return label_entropy(w.numpy()) - cross / _LN2


def _fit_probe(
    x: Tensor, y: Tensor, classes: int, hidden: int, steps: int, lr: float, seed: int
) -> nn.Module:
    """Fit a probe by Adam from the marginal, and keep the step that was best on a fifth of the data."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        order = torch.randperm(len(x))
        probe = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, classes))
        held, used = order[: len(x) // 5], order[len(x) // 5 :]
        prior = (torch.bincount(y[used], minlength=classes) + 0.5).log().log_softmax(0)
        last: Any = probe[2]
        nn.init.zeros_(last.weight)
        last.bias.data.copy_(prior)
        optimiser = torch.optim.Adam(probe.parameters(), lr=lr, weight_decay=1e-4)
        best, state = math.inf, {k: v.clone() for k, v in probe.state_dict().items()}
        for step in range(steps):
            if step % 10 == 0:
                with torch.no_grad():
                    score = functional.cross_entropy(probe(x[held]), y[held]).item()
                if score < best:
                    best, state = score, {k: v.clone() for k, v in probe.state_dict().items()}
            batch = used[torch.randint(len(used), (min(256, len(used)),))]
            optimiser.zero_grad()
            functional.cross_entropy(probe(x[batch]), y[batch]).backward()
            optimiser.step()
        probe.load_state_dict(state)
    return probe


# --------------------------------------------------------------------------- channels


def capacity(
    channel: np.ndarray | Sequence[Sequence[float]], *, tol: float = 1e-9, max_iter: int = 100_000
) -> float:
    """Capacity max over p(x) of I(X;T) of a finite channel, in bits (Blahut 1972; Arimoto 1972).

    Parameters
    ----------
    channel : array
        Rows p(t|x), shape ``(inputs, outputs)``.
    tol : float
        Stops when Blahut's upper and lower bounds are this close (bits).
    max_iter : int
        Gives up after this many steps.

    Returns
    -------
    float
        Bits, within ``tol``.

    Raises
    ------
    ValueError
        If the rows are not distributions, or ``max_iter`` steps do not suffice.
    """
    rows = np.asarray(channel, dtype=float)
    if (
        rows.ndim != 2
        or not np.isfinite(rows).all()
        or (rows < 0).any()
        or not np.allclose(rows.sum(1), 1, atol=1e-9)
    ):
        raise ValueError(
            f"channel: shape {rows.shape}; rows must be distributions p(t|x) (≥ 0, sum 1 within 1e-9)"
        )
    p = np.full(len(rows), 1 / len(rows))
    own = xlogy(rows, rows).sum(1)
    for _ in range(max_iter):
        t = p @ rows
        with np.errstate(divide="ignore"):
            divergence = own - xlogy(rows, np.where(t > 0, t, 1.0)).sum(1)  # KL(p(t|x) ‖ p(t)), nats
        low, high = float(p @ divergence), float(divergence.max())
        if (high - low) / _LN2 < tol:
            return low / _LN2
        p = p * np.exp(divergence - high)
        p /= p.sum()
    raise ValueError(
        f"max_iter: {max_iter} steps leave a gap of {(high - low) / _LN2:.2e} bits; raise it, or tol"
    )
