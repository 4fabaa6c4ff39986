"""Flat and sharp minima: train to a given loss, walk away from the weights, rescale them without changing the function.

Losses are in nats a sample.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Vector = list[Tensor]


@dataclass(frozen=True)
class Descent:
    """Where stochastic gradient descent passed on its way down.

    Attributes
    ----------
    snapshots : dict
        Training-loss level → copy of the network when it first fell below that level (in eval mode).
    steps : dict
        The same levels → gradient steps taken until then.
    """

    snapshots: dict[float, nn.Module]
    steps: dict[float, int]


def descend(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    lr: float,
    levels: Sequence[float],
    max_steps: int = 5000,
    seed: int = 0,
) -> Descent:
    """Train a copy by plain SGD (no momentum, no decay) and keep it at given levels of the *training* loss.

    Nets trained with different batch sizes can then be compared at equal training loss; at equal epochs they
    cannot.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    inputs, labels : Tensor
    batch_size, lr : int, float
    levels : sequence of float
        Nats; a level that is not reached within ``max_steps`` is missing from the result.
    max_steps, seed : int

    Returns
    -------
    Descent
    """
    if batch_size < 1 or lr <= 0 or not levels:
        raise ValueError(
            f"batch_size={batch_size}, lr={lr}, levels={levels}; all must be positive, and levels not empty"
        )
    net, generator = copy.deepcopy(model).train(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(net.parameters(), lr=lr)
    snapshots: dict[float, nn.Module] = {}
    steps: dict[float, int] = {}
    waiting, done = sorted(levels, reverse=True), 0
    per_check = max(len(inputs) // batch_size, 1)
    while waiting and done < max_steps:
        for index in torch.randperm(len(inputs), generator=generator).split(batch_size):
            optimiser.zero_grad()
            cross_entropy(net(inputs[index]), labels[index]).backward()
            optimiser.step()
            done += 1
            if done % per_check == 0:
                loss = loss_of(net, inputs, labels)
                while waiting and loss <= waiting[0]:
                    level = waiting.pop(0)
                    snapshots[level], steps[level] = copy.deepcopy(net).eval(), done
    return Descent(snapshots, steps)


def loss_of(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy in nats, without gradients."""
    with torch.no_grad():
        return cross_entropy(model(inputs), labels).item()


def error_of(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Share of wrong answers."""
    with torch.no_grad():
        return float((model(inputs).argmax(1) != labels).double().mean())


def random_direction(model: nn.Module, seed: int = 0, *, per_filter: bool = False) -> Vector:
    """Return a standard normal direction in weight space, one tensor a parameter.

    Parameters
    ----------
    model : nn.Module
    seed : int
    per_filter : bool
        Scale each output's part to the norm of the weights there (Li et al., 2018): the picture then no
        longer depends on how a ReLU network's scale is spread over its layers.

    Returns
    -------
    list of Tensor
        In the order of ``model.parameters()``.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = []
    for p in model.parameters():
        d = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        if per_filter:
            w = p.detach()
            axes = tuple(range(1, p.ndim)) if p.ndim > 1 else (0,)
            d = d * w.pow(2).sum(axes, keepdim=True).sqrt() / d.pow(2).sum(axes, keepdim=True).sqrt()
        direction.append(d)
    return direction


def moved(model: nn.Module, direction: Vector, scale: float) -> nn.Module:
    """Return a copy of the network at w + scale·direction."""
    net = copy.deepcopy(model)
    with torch.no_grad():
        for p, d in zip(net.parameters(), direction, strict=True):
            p.add_(d, alpha=scale)
    return net


def loss_along(
    model: nn.Module, direction: Vector, scales: Sequence[float], inputs: Tensor, labels: Tensor
) -> NDArray[np.float64]:
    """Return the loss at w + s·direction for every s: shape ``(len(scales),)``, nats."""
    return np.array([loss_of(moved(model, direction, float(s)), inputs, labels) for s in scales])


def between(start: nn.Module, end: nn.Module) -> Vector:
    """Return the direction that leads from one network's weights to another's of the same architecture (at scale 1)."""
    pairs = zip(start.parameters(), end.parameters(), strict=True)
    return [(b - a).detach() for a, b in pairs]


def rescale(model: nn.Module, factor: float) -> nn.Module:
    """Return the same function with other weights: Linear layer 1 times ``factor``, the next one divided by it.

    It works because ReLU(c·z) = c·ReLU(z) for c > 0 (Dinh et al., 2017).

    Parameters
    ----------
    model : nn.Module
        Its first two Linear layers have a ReLU between them and nothing else that has parameters.
    factor : float
        Above 0.
    """
    if not factor > 0:
        raise ValueError(f"factor: {factor}; it must be above 0")
    net = copy.deepcopy(model)
    linear = [m for m in net.modules() if isinstance(m, nn.Linear)]
    if len(linear) < 2 or not any(isinstance(m, nn.ReLU) for m in net.modules()):
        raise ValueError("model: needs two Linear layers with a ReLU between them")
    with torch.no_grad():
        for p in linear[0].parameters():
            p.mul_(factor)
        linear[1].weight.div_(factor)
    return net


def fisher_rao(model: nn.Module, inputs: Tensor) -> float:
    """Return wᵀFw, the Fisher information in the direction of the weights themselves.

    A rescaling of ReLU layers is a linear map of the weights that keeps the function at every multiple of them, and so
    it keeps this number, but not the trace (Liang et al., 2019: the Fisher–Rao norm, squared).

    Parameters
    ----------
    model : nn.Module
        Returns logits ``(n, classes)``; it runs in eval mode, and is left as it is.
    inputs : Tensor, shape (n, …)

    Returns
    -------
    float
        Mean over the samples of the variance, under the model's prediction, of the logits' derivative along w.
    """
    net = copy.deepcopy(model).eval().requires_grad_(True)
    w = list(net.parameters())
    logits = net(inputs)
    v = torch.zeros_like(logits, requires_grad=True)
    backward = torch.autograd.grad(logits, w, v, create_graph=True)  # linear in v: its slope there is J w
    along = torch.stack([(g * value.detach()).sum() for g, value in zip(backward, w, strict=True)]).sum()
    (slope,) = torch.autograd.grad(along, v)
    p = logits.detach().softmax(1)
    mean = (p * slope).sum(1, keepdim=True)
    return float((p * (slope - mean) ** 2).sum(1).mean())


def batch_fisher(model: nn.Module, inputs: Tensor, *, batch_size: int, seed: int = 0) -> Tensor:
    """Return the exact Fisher diagonal of the network that normalises by its batch.

    Given the images of a batch, its labels are independent, each from a prediction that depends on all the images.
    The Fisher information of all labels together is the sum of theirs, with gradients that also run through the
    batch's statistics. :func:`batch_squares` in train mode has this as its mean.

    Parameters
    ----------
    model : nn.Module
        A few thousand weights at most: all derivatives of a batch's logits are held at once. Left as it is.
    inputs : Tensor
    batch_size, seed : int
        The batches are those of :func:`batch_squares`.

    Returns
    -------
    Tensor, shape (P,)
        Mean over the samples, and over the labels in closed form.
    """
    net = copy.deepcopy(model).train()
    for layer in net.modules():  # no running averages: they would be changed while the derivatives are taken
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
    w = {name: p.detach() for name, p in net.named_parameters()}
    total = torch.zeros(sum(p.numel() for p in w.values()))
    batches = _batches(len(inputs), batch_size, torch.Generator().manual_seed(seed))
    for x in (inputs[index] for index in batches):
        jacobian = torch.func.jacrev(lambda v, x=x: torch.func.functional_call(net, v, (x,)))(w)
        rows = torch.cat([j.flatten(2) for j in jacobian.values()], dim=2)
        p = net(x).detach().softmax(1)[:, :, None]
        total = total + (p * (rows - (p * rows).sum(1, keepdim=True)) ** 2).sum((0, 1))
    return total / (batch_size * len(batches))


def _batches(n: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Return the indices of the full batches of a random order."""
    batches = torch.randperm(n, generator=generator).split(batch_size)
    full = [b for b in batches if len(b) == batch_size]
    if not full:
        raise ValueError(f"batch_size: {batch_size}, but there are {n} inputs")
    return full


def batch_squares(
    model: nn.Module,
    inputs: Tensor,
    *,
    batch_size: int,
    seed: int = 0,
    labels: Tensor | None = None,
    train_mode: bool = False,
) -> Tensor:
    """Estimate the Fisher diagonal by squares of *batch-mean* gradients, as the published Task2Vec code does.

    With labels from the model the result is unbiased, with more noise than per-sample squares: for the Fisher
    diagonal in eval mode, and in train mode for that of *another* network, which normalises by the batch
    (:func:`batch_fisher`). With the data's labels the products of different samples stay, and it estimates neither the
    true nor the empirical Fisher diagonal.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    inputs : Tensor
    batch_size, seed : int
    labels : Tensor, optional
        The data's labels, in the place of ones drawn from the model.
    train_mode : bool
        Leave the network in train mode, so that batch norm takes its statistics from the batch.

    Returns
    -------
    Tensor, shape (P,)
        Mean over batches of the squared mean gradient, times the batch size (the published code leaves out the
        factor: its numbers are 1/batch_size of these).

    Raises
    ------
    ValueError
        If there are fewer inputs than a batch holds.
    """
    net = copy.deepcopy(model).train(train_mode)
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(sum(p.numel() for p in net.parameters()))
    batches = _batches(len(inputs), batch_size, generator)
    for index in batches:
        logits = net(inputs[index])
        drawn = torch.multinomial(logits.detach().softmax(1), 1, generator=generator)[:, 0]
        y = drawn if labels is None else labels[index]
        gradients = torch.autograd.grad(cross_entropy(logits, y), list(net.parameters()))
        total += torch.cat([g.flatten() for g in gradients]) ** 2
    return batch_size * total / len(batches)
