r"""The variational estimator of Task2Vec: the noise that each filter can bear before the loss notices.

The weights :math:`w` stay where they are. Around them stands a Gaussian :math:`q = N(w, \Sigma)` with one variance
:math:`\sigma_k^2` a filter, and the variances minimise

.. math:: L(\sigma) = \mathbb{E}_{\hat w \sim q}\Big[\tfrac1N \sum_n -\log p_{\hat w}(y_n|x_n)\Big]
          + \beta\, \mathrm{KL}\big(q \,\|\, N(0, \lambda^2 I)\big).

With :math:`\bar H_k(\sigma)` the second derivatives of the loss, averaged over the filter's weights and over the noise,
:math:`\partial L/\partial \sigma_k^2 = 0` says (Price's theorem gives the first term)

.. math:: \frac{1}{\sigma_k^2} = \frac{\bar H_k(\sigma)}{\beta} + \frac{1}{\lambda^2}
          \qquad\Longleftrightarrow\qquad \beta\Big(\frac{1}{\sigma_k^2} - \frac{1}{\lambda^2}\Big) = \bar H_k(\sigma).

The right-hand side is what the estimator reports: where the loss is quadratic it is the Hessian's diagonal, whatever β and
λ are; in general it is the curvature *as far as the noise reaches*. This β is the price of one nat of KL next to a mean
loss (the paper's β/N). The published code leaves the ½ out of the KL, so that its β = 10⁻⁷ is 2·10⁻⁷ here.

The variances are trained by natural-gradient steps on L, which for a Gaussian of fixed mean read
:math:`\sigma_k^{-2} \leftarrow (1-\rho)\,\sigma_k^{-2} + \rho\,(\hat H_k/\beta + \lambda^{-2})`, with an estimate
:math:`\hat H_k` from one batch and one draw of the weights. Two estimates are offered:

``"gauss-newton"``
    The Fisher information of the *perturbed* network, squared sample by sample (:mod:`t2v.fisher`). It leaves out
    :math:`\mathbb{E}\sum_a (p_a - e_{y,a})\,\partial^2 z_a/\partial w_k^2`: zero where the logits are linear in the
    filter's weights, as in a linear model, and elsewhere zero on average if the labels follow the model.
``"reparametrised"``
    The loss's own gradient, :math:`\tfrac{1}{2\sigma_k m_k}\,\varepsilon_k^\top(\nabla L(w+\sigma\varepsilon) -
    \nabla L(w-\sigma\varepsilon))`: unbiased with nothing left out. But all filters are shaken at once and the loss is one
    number, so that its relative error is, by a count of cross terms, of the order of
    :math:`\sqrt{\text{filters}/\text{samples}}`.

The labels enter the second alone.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from t2v import fisher, weights
from t2v.fisher import Batches

Curvature = Literal["gauss-newton", "reparametrised"]
Named = OrderedDict[str, Tensor]

#: Price of a nat, as in the published code: 10⁻⁷ times twice the KL divergence.
BETA = 2e-7
#: The training starts with noise of at most a tenth of a layer's weights, and lets it grow.
_START = 100.0
#: A batch of at least so many samples makes a full step.
_FULL_STEP = 16


@dataclass(frozen=True, eq=False)
class Posterior:
    """The trained Gaussian around a network's weights.

    Attributes
    ----------
    information : OrderedDict
        Parameter name → ``(out,)``: β(1/σ² − 1/λ²) of each filter, in nats², ≥ 0. Comparable, unit for unit, with
        ``fisher.diagonal(…, pool="filter")``.
    precision : OrderedDict
        Parameter name → ``(out,)``: 1/σ² of each filter.
    prior : dict
        Parameter name → 1/λ².
    beta : float
        The price of a nat.
    history : tuple of float
        The curvature's trace (nats²) in each pass over the data: it should have settled.
    """

    information: Named
    precision: Named
    prior: dict[str, float]
    beta: float
    history: tuple[float, ...]


def posterior(
    model: nn.Module,
    inputs: Batches,
    *,
    targets: Tensor | None = None,
    layers: Sequence[str] | None = None,
    beta: float = BETA,
    prior_var: float | Literal["layer"] = "layer",
    curvature: Curvature = "gauss-newton",
    burn: int = 2,
    passes: int = 2,
    rate: float = 0.25,
    draws: int = 1,
    seed: int = 0,
    batch_size: int = 64,
) -> Posterior:
    """Train one variance a filter around fixed weights; return the precisions and the information they stand for.

    Parameters
    ----------
    model : nn.Module
        ``model(inputs)`` returns logits ``(n, classes)``. It runs in eval mode (batch norm fixed). Weights, mode and
        ``requires_grad`` flags come back as they were, also after an exception; so does the global random state.
    inputs : Tensor or iterable
        ``(n, …)``, or batches that can be gone through again and again (a list, a loader; not a generator).
    targets : Tensor, optional
        The data's labels, for ``"reparametrised"``; an iterable holds ``(inputs, targets)`` pairs instead.
    layers : sequence of str, optional
        Modules or parameters that carry noise. Default: all.
    beta : float
        Price of a nat of KL next to the mean loss, > 0. The noise costs at most about β/2 nats of loss a weight.
    prior_var : float or "layer"
        λ². ``"layer"``: the mean square of the layer's weights, where the published code starts.
    curvature : {"gauss-newton", "reparametrised"}
        The estimate of the second derivatives, see above.
    burn, passes : int
        Passes over the data in which the noise settles, and in which the curvature is averaged; both ≥ 1.
    rate : float
        ρ, the step of a batch, 0 < ρ ≤ 1. Batches of fewer than 16 samples take a smaller one, so that the noise does
        not run after single samples: the curvature that is averaged would then be that under another noise.
    draws : int
        Draws of the labels a sample (``"gauss-newton"``).
    seed : int
        Of all noise, which is drawn on the CPU so that it does not depend on the device.
    batch_size : int
        How many samples of a tensor go through the network with one draw of the weights.

    Returns
    -------
    Posterior

    Raises
    ------
    ValueError
        For arguments out of range, a generator, a layer that is not supported, and NaN or infinity, which may be the
        noise's fault (the message says in which pass).

    Notes
    -----
    Source: Achille et al. (2019), Task2Vec, section 3.2; natural gradient after Khan and Rue (2023).
    """
    _check(inputs, beta, prior_var, curvature, burn, passes, rate)
    labels: fisher.Expectation = "empirical" if curvature == "reparametrised" else "exact"
    generator = torch.Generator().manual_seed(seed)
    with _noisy(model, layers, prior_var) as net:
        precision: Named | None = None
        total, count, history = _zeros(net), 0, []
        for step in range(burn + passes):
            seen, trace = 0, torch.zeros(())
            for x, y in fisher._batches(model, inputs, targets, labels, batch_size):
                try:
                    h = net.curvature(x, y, precision, generator, draws)
                except ValueError as error:
                    raise ValueError(
                        f"pass {step}, samples from {seen}: {error}{_hint(precision)}"
                    ) from error
                precision = _step(net, precision, h, beta, _share(rate, len(x)))
                trace = trace.to(x.device) + len(x) * net.trace(h)
                seen += len(x)
                if step >= burn:
                    total = OrderedDict((n, total[n] + len(x) * h[n]) for n in h)
            count += seen if step >= burn else 0
            history.append((trace / seen).cpu())
        information = OrderedDict((name, (value / count).clamp(min=0)) for name, value in total.items())
        final = OrderedDict((name, value / beta + net.prior[name]) for name, value in information.items())
        prior = {name: float(value.cpu()) for name, value in net.prior.items()}
    return Posterior(information, final, prior, beta, tuple(float(t) for t in history))


def free_energy(
    model: nn.Module,
    inputs: Batches,
    precision: Mapping[str, Tensor],
    *,
    prior: Mapping[str, float],
    targets: Tensor | None = None,
    draws: int = 10,
    seed: int = 0,
    batch_size: int = 64,
) -> tuple[float, float]:
    """Return the two terms of the loss at given precisions: mean cross-entropy under the noise, and KL.

    Parameters
    ----------
    model, inputs, targets, batch_size
        As for :func:`posterior`; the labels are needed.
    precision, prior : mapping
        Parameter name → 1/σ² ``(out,)``, and → 1/λ²: those of a :class:`Posterior`, or others to compare.
    draws : int
        Antithetic pairs of weights a batch.
    seed : int
        Of the draws; with one seed two precisions meet the same noise, which makes differences sharp.

    Returns
    -------
    cross_entropy : float
        Nats a sample.
    kl : float
        KL(N(w, σ²) ‖ N(0, λ²I)) in nats, summed over the weights.

    Raises
    ------
    ValueError
        For a generator, missing labels, ``draws`` < 1, a name without a prior, a precision of another shape or not > 0.
    """
    _check(inputs, BETA, "layer", "reparametrised", 1, 1, 1.0)
    if draws < 1:
        raise ValueError(f"draws: {draws} is not a whole number ≥ 1")
    if missing := [name for name in precision if name not in prior]:
        raise ValueError(f"prior: nothing for {missing[0]!r}, which precision has")
    generator = torch.Generator().manual_seed(seed)
    loss, count = torch.zeros(()), 0
    with _noisy(model, list(precision), 1.0) as net, torch.no_grad():
        for name, mean in net.means.items():
            if precision[name].shape != mean.shape[:1] or not bool((precision[name] > 0).all()):
                raise ValueError(f"precision: {name!r} needs {len(mean)} numbers > 0, one a filter")
        for x, y in fisher._batches(model, inputs, targets, "empirical", batch_size):
            assert y is not None  # "empirical" asks for labels
            for _ in range(draws):
                noise = net.draw(precision, generator)
                for sign in (1.0, -1.0):
                    net.move(noise, sign)
                    value = functional.cross_entropy(model(x), y, reduction="sum") / (2 * draws)
                    loss = loss.to(value) + value
            count += len(x)
        kl = sum(
            weights.gaussian_kl(mean, -_broad(precision[name], mean).log().expand_as(mean), 1 / prior[name])
            for name, mean in net.means.items()
        )
    return float(loss) / count, float(kl)


class _Noisy:
    """A network whose weights can be moved off their means and back."""

    def __init__(self, model: nn.Module, names: Sequence[str], prior_var: float | str) -> None:
        self.model = model
        self.plain: bool | None = None  # not known yet
        self.parameters = {name: model.get_parameter(name) for name in names}
        self.means = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.prior: dict[str, Tensor] = {}
        for name, mean in self.means.items():
            var = mean.square().mean() if prior_var == "layer" else mean.new_tensor(float(prior_var))
            if not mean.is_meta and not bool(var > 0):
                raise ValueError(
                    f"prior_var: the weights {name!r} are all zero, so 'layer' says nothing; give a number"
                )
            self.prior[name] = 1 / var

    def draw(self, precision: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return noise σε for every weight; ε comes from the CPU, so that it is the same on every device."""
        return {
            name: _broad(precision[name], mean).rsqrt()
            * torch.randn(mean.shape, generator=generator, dtype=mean.dtype).to(mean.device)
            for name, mean in self.means.items()
        }

    def move(self, noise: Mapping[str, Tensor], sign: float = 1.0) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.means[name] + sign * noise[name])

    def restore(self) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.means[name])

    def curvature(
        self, x: Tensor, y: Tensor | None, precision: Named | None, generator: torch.Generator, draws: int
    ) -> Named:
        """Estimate the second derivatives from one batch; without noise at the start, where there is no σ yet."""
        noise = None if precision is None else self.draw(precision, generator)
        if y is not None and noise is not None and precision is not None:
            return self._slope(x, y, precision, noise)
        if noise is not None:
            self.move(noise)
        seed = int(torch.randint(2**31, (1,), generator=generator))
        names = list(self.means)
        if self.plain is None:
            found = fisher.supported(self.model, x, layers=names)
            self.plain = not (found.folded or found.slow)
        return fisher.diagonal(
            *(self.model, x),
            expectation="rademacher",
            pool="filter",
            layers=names,
            draws=draws,
            seed=seed,
            batch_size=len(x),
            check=not self.plain,  # where no layer needs it, once is enough: noise on the weights moves no layer
        )

    def _slope(self, x: Tensor, y: Tensor, precision: Named, noise: Mapping[str, Tensor]) -> Named:
        """Return (1/m) εᵀ(g(w+σε) − g(w−σε))/2σ filter by filter: ε/σ is the noise times the precision."""
        found = OrderedDict((name, torch.zeros_like(value)) for name, value in precision.items())
        for sign in (1.0, -1.0):
            self.move(noise, sign)
            gradients = self._gradients(x, y)
            for (name, moved), g in zip(noise.items(), gradients, strict=True):
                inner = (g * moved).reshape(len(g), -1).mean(1) * precision[name]
                if not fisher._all_finite(inner):
                    raise ValueError(f"gradients of {name!r} are NaN or infinite")
                found[name] += sign * inner / 2
        return found

    def _gradients(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        try:
            with torch.enable_grad():
                logits = fisher._checked_logits(self.model(x), len(x), 0)
                loss = functional.cross_entropy(logits, y)
                return torch.autograd.grad(loss, list(self.parameters.values()))
        finally:
            for parameter in self.parameters.values():
                parameter.requires_grad_(False)

    def trace(self, h: Named) -> Tensor:
        sizes = {name: mean[0].numel() for name, mean in self.means.items()}
        return torch.stack([sizes[name] * value.sum() for name, value in h.items()]).sum()


@contextmanager
def _noisy(model: nn.Module, layers: Sequence[str] | None, prior_var: float | str) -> Iterator[_Noisy]:
    """Freeze a network in eval mode and let its weights be moved; everything is put back at the end."""
    with fisher.evaluating(model):
        net = _Noisy(model, fisher._wanted(model, layers), prior_var)
        try:
            yield net
        finally:
            net.restore()


def _step(net: _Noisy, precision: Named | None, h: Named, beta: float, rate: float) -> Named:
    """Make one natural-gradient step; the precision stays above the prior's, which a noisy estimate could undercut."""
    if precision is None:
        return OrderedDict((n, value / beta + _START * net.prior[n]) for n, value in h.items())
    return OrderedDict(
        (n, torch.maximum((1 - rate) * precision[n] + rate * (h[n] / beta + net.prior[n]), net.prior[n]))
        for n in h
    )


def _share(rate: float, samples: int) -> float:
    """Return a batch's step: as many samples leave as much of the past whether they come in large or small batches."""
    return float(1 - (1 - rate) ** min(1.0, samples / _FULL_STEP))


def _zeros(net: _Noisy) -> Named:
    return OrderedDict((name, mean.new_zeros(len(mean))) for name, mean in net.means.items())


def _broad(values: Tensor, like: Tensor) -> Tensor:
    """Give one value a filter the axes of the filter's weights."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _hint(precision: Named | None) -> str:
    return "" if precision is None else " under the noise; a smaller beta or prior_var makes less of it"


def _check(
    inputs: Batches,
    beta: float,
    prior_var: float | str,
    curvature: str,
    burn: int,
    passes: int,
    rate: float,
) -> None:
    if isinstance(inputs, Iterator):
        raise ValueError(
            "inputs: a generator can be read only once; a tensor, a list or a loader is accepted"
        )
    if not (isinstance(beta, int | float) and 0 < beta < math.inf):
        raise ValueError(f"beta: {beta!r} is not a finite number > 0")
    if prior_var != "layer" and not (isinstance(prior_var, int | float) and 0 < prior_var < math.inf):
        raise ValueError(f"prior_var: {prior_var!r}; 'layer' or a finite number > 0 is accepted")
    if curvature not in get_args(Curvature):
        raise ValueError(f"curvature: {curvature!r} is unknown; accepted: {', '.join(get_args(Curvature))}")
    for name, value in (("burn", burn), ("passes", passes)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: {value!r} is not a whole number ≥ 1")
    if not 0 < rate <= 1:
        raise ValueError(f"rate: {rate!r} is not a number above 0 and at most 1")
