r"""The Fisher information of a classifier's weights: exact, sampled, and fast.

For a network with logits :math:`z = f_w(x)` and :math:`p_w(y|x) = \mathrm{softmax}(z)`,

.. math:: F = \mathbb{E}_x\, \mathbb{E}_{y \sim p_w(y|x)} \left[\nabla_w \log p_w(y|x)\, \nabla_w \log p_w(y|x)^\top\right],

with :math:`y` from the *model*. (With :math:`y` from the data it is the *empirical* Fisher: offered, and named so.) All
functions return the **mean** over the samples, in nats², and take squares **per sample**: the square of a batch's mean
gradient is another, noisier quantity.

The score lives in the logits: :math:`\nabla_z \log p_w(y|x) = e_y - p`, whose covariance is
:math:`\mathrm{diag}(p) - p p^\top`. Every expectation here is therefore a set of vectors :math:`v` in logit space with
:math:`\sum_k v_k v_k^\top` equal to that covariance, exactly or on average; each is pulled back once through the network.

How the diagonal becomes fast: the gradient of a layer's weights for *one* sample is a product of the layer's input and of
the gradient at its output. Hooks keep both, the weights themselves need no gradient, and one batched contraction a layer
gives the squares of all samples at once; see :mod:`t2v._layers`.
"""

from __future__ import annotations

import difflib
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from t2v._layers import Captured, handler_for

Expectation = Literal["exact", "sample", "rademacher", "empirical"]
Pool = Literal["filter"]
Batches = Tensor | Iterable[Tensor] | Iterable[tuple[Tensor, Tensor]]

#: Refuse a full matrix larger than this many bytes unless the caller allows more.
MAX_BYTES = 4 * 2**30


def diagonal(
    model: nn.Module,
    inputs: Batches,
    *,
    expectation: Expectation = "exact",
    pool: Pool | None = None,
    targets: Tensor | None = None,
    draws: int = 1,
    seed: int = 0,
    layers: Sequence[str] | None = None,
    batch_size: int = 64,
) -> OrderedDict[str, Tensor]:
    """Return the diagonal of the Fisher information matrix, parameter by parameter.

    Parameters
    ----------
    model : nn.Module
        ``model(inputs)`` returns logits ``(n, classes)``. It runs in eval mode; its mode and ``requires_grad`` flags are
        restored afterwards, also after an exception.
    inputs : Tensor or iterable
        ``(n, …)``, or an iterable of such batches (``(inputs, targets)`` pairs for ``"empirical"``), which is streamed:
        memory does not grow with the number of batches.
    expectation : {"exact", "sample", "rademacher", "empirical"}
        How the labels are averaged: the sum over all classes (one backward pass a class); ``draws`` labels a sample
        from the model; ``draws`` random square roots of the covariance (unbiased; less noisy than sampled labels where
        the model is confident, more where it is unsure); or the data's labels.
    pool : {"filter"}, optional
        Average the diagonal over the weights of each output channel (weights ``(out, …)`` become ``(out,)``).
    targets : Tensor, optional
        Labels ``(n,)`` for ``"empirical"`` when ``inputs`` is a tensor.
    draws : int
        Number of Monte Carlo draws a sample (``"sample"`` and ``"rademacher"``).
    seed : int
        Seed of the draws; they are made on the CPU, so they do not depend on the device.
    layers : sequence of str, optional
        Names of modules or parameters to include; a module's name stands for all inside it. Default: all parameters.
    batch_size : int
        How many samples of a tensor ``inputs`` go through the network at once.

    Returns
    -------
    OrderedDict
        Parameter name → tensor of the parameter's shape (or ``(out,)``): the mean over the samples, in nats².

    Raises
    ------
    ValueError
        For a parametrised layer that is not supported (named), NaN or infinity in inputs, logits or gradients (the
        sample or layer is named), empty input, labels out of range, ``draws < 1`` or an unknown expectation or layer.

    Notes
    -----
    Supported: Linear, Conv1d/2d/3d (grouped and depthwise too), batch, layer and group norm, Embedding.
    Source: eq. 6 of the review paper; Amari (1998) for the definition; Achille et al. (2019) for the pooling.
    """
    if pool not in (None, "filter"):
        raise ValueError(f"pool: {pool!r} is unknown; accepted: None, 'filter'")
    total: OrderedDict[str, Tensor] = OrderedDict()
    count = 0
    with _Recorder(model, layers) as recorder:
        for squares, n in _stream(recorder, inputs, targets, expectation, draws, seed, batch_size, pool):
            count += n
            for name, value in squares.items():
                total[name] = total[name] + value if name in total else value
    mean = OrderedDict((name, value / count) for name, value in total.items())
    for name, value in mean.items():
        if not _all_finite(value):
            raise ValueError(
                f"gradients of {name!r} are NaN or infinite; lower the scale of the inputs or of the weights"
            )
    return mean


def trace(model: nn.Module, inputs: Batches, **options: object) -> float:
    """Return the trace of the Fisher matrix: the mean squared norm of the score, in nats².

    Parameters
    ----------
    model, inputs, **options
        As for :func:`diagonal` (all but ``pool``).

    Returns
    -------
    float
        Sum of the diagonal over all parameters (or those of ``layers``).
    """
    if "pool" in options:
        raise ValueError("pool: the trace is a sum over all weights; this option does not apply")
    pooled = diagonal(model, inputs, pool="filter", **options)  # type: ignore[arg-type]
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return float(sum(value.sum() * (sizes[name] / value.numel()) for name, value in pooled.items()))


def gradient_norms(
    model: nn.Module,
    inputs: Batches,
    *,
    expectation: Expectation = "exact",
    targets: Tensor | None = None,
    draws: int = 1,
    seed: int = 0,
    layers: Sequence[str] | None = None,
    batch_size: int = 64,
) -> Tensor:
    r"""Return each sample's score norm :math:`\sqrt{\mathbb{E}_y \|\nabla_w \log p_w(y|x_i)\|^2}`.

    The mean of the squares is :func:`trace`. With ``expectation="empirical"`` it is the norm of the training gradient
    of each sample.

    Parameters
    ----------
    model, inputs, expectation, targets, draws, seed, layers, batch_size
        As for :func:`diagonal`.

    Returns
    -------
    Tensor
        ``(n,)``, in nats.
    """
    norms = []
    with _Recorder(model, layers) as recorder:
        for squares, _ in _stream(recorder, inputs, targets, expectation, draws, seed, batch_size, "sample"):
            norms.append(torch.stack(list(squares.values())).sum(0).sqrt())
    return torch.cat(norms)


def scores(
    model: nn.Module,
    inputs: Batches,
    *,
    expectation: Expectation = "exact",
    targets: Tensor | None = None,
    draws: int = 1,
    seed: int = 0,
    batch_size: int = 64,
) -> Tensor:
    """Return the rows ``U`` with ``F = Uᵀ U``: weighted per-sample scores, divided by the root of the sample count.

    Parameters
    ----------
    model, inputs, expectation, targets, draws, seed, batch_size
        As for :func:`diagonal`; any layer that ``torch.func`` can differentiate is supported.

    Returns
    -------
    Tensor
        ``(rows, P)``: a row for each sample and class (or draw); columns in the order of ``model.named_parameters()``.
    """
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def logits_of(params: dict[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(model, params, (x[None],))
        return logits[0]

    def pull_back(x: Tensor, vectors: Tensor) -> dict[str, Tensor]:
        pulled: tuple[Any, ...] = torch.func.vjp(lambda p: logits_of(p, x), parameters)
        return torch.func.vmap(lambda v: pulled[1](v)[0])(vectors)

    rows, count = [], 0
    with evaluating(model), torch.no_grad():
        noise = _noise(expectation, draws, seed)
        for x, y in _batches(model, inputs, targets, expectation, batch_size):
            logits = _checked_logits(model(x), len(x), count)
            vectors = torch.stack(list(_logit_vectors(logits, y, noise, expectation, draws)), dim=1)
            gradients = torch.func.vmap(pull_back)(x, vectors)
            rows.append(torch.cat([g.flatten(2) for g in gradients.values()], dim=2).flatten(0, 1))
            count += len(x)
    return torch.cat(rows) / math.sqrt(count)


def full(
    model: nn.Module,
    inputs: Batches,
    expectation: Expectation = "exact",
    *,
    targets: Tensor | None = None,
    draws: int = 1,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """Return the full Fisher information matrix: for small networks, and as an oracle.

    Parameters
    ----------
    model, inputs, expectation, targets, draws, seed
        As for :func:`diagonal`.
    max_bytes : int
        Refuse a larger matrix.

    Returns
    -------
    Tensor
        ``(P, P)``, the mean over the samples, in nats²; rows in the order of ``model.named_parameters()``.

    Raises
    ------
    ValueError
        If the matrix would take more than ``max_bytes`` (the message says how much), and as for :func:`diagonal`.
    """
    size = sum(p.numel() for p in model.parameters())
    itemsize = max((p.element_size() for p in model.parameters()), default=0)  # none is refused below
    if size * size * itemsize > max_bytes:
        raise ValueError(
            f"model: {size:,} parameters need a Fisher matrix of {size * size * itemsize / 2**30:,.1f} GiB, and"
            f" {max_bytes / 2**30:,.1f} GiB are allowed; take fisher.diagonal, or raise max_bytes"
        )
    u = scores(model, inputs, expectation=expectation, targets=targets, draws=draws, seed=seed)
    return u.T @ u


def logdet(
    model: nn.Module,
    inputs: Batches,
    *,
    damping: float = 0.0,
    scale: float = 1.0,
    expectation: Expectation = "exact",
    targets: Tensor | None = None,
    draws: int = 1,
    seed: int = 0,
) -> float:
    r"""Return :math:`\log|\,s F + \lambda I\,|` in nats, in double precision.

    Parameters
    ----------
    model, inputs, expectation, targets, draws, seed
        As for :func:`diagonal`.
    damping : float
        λ ≥ 0. Over-parametrised networks have a singular F and need λ > 0, e.g. the precision of a prior.
    scale : float
        s > 0, e.g. the number of samples m.

    Returns
    -------
    float
        The log-determinant. Where there are fewer scores than parameters it comes from their Gram matrix
        (:math:`|\lambda I + U^\top U| = \lambda^{P-r}\,|\lambda I + U U^\top|`), so P may be large.

    Raises
    ------
    ValueError
        If F is singular and ``damping`` is zero (the message gives the rank), or ``damping < 0`` or ``scale <= 0``.
    """
    if damping < 0 or not math.isfinite(damping):
        raise ValueError(f"damping: {damping} is not a finite number ≥ 0")
    if scale <= 0 or not math.isfinite(scale):
        raise ValueError(f"scale: {scale} is not a finite number > 0")
    u = scores(model, inputs, expectation=expectation, targets=targets, draws=draws, seed=seed).double()
    rows, size = u.shape
    eigenvalues = torch.linalg.eigvalsh(u @ u.T if rows < size else u.T @ u) * scale
    if damping == 0:
        rank = int((eigenvalues > eigenvalues.max() * 1e-12 * max(rows, size)).sum())
        if rank < size:
            raise ValueError(
                f"damping: the Fisher matrix is singular (rank {rank} of {size}); give damping > 0"
            )
    spectrum = eigenvalues.clamp(min=0) + damping
    return float(spectrum.log().sum()) + (size - len(spectrum)) * (math.log(damping) if damping else 0.0)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Put a model in eval mode with frozen weights, and give every mode and ``requires_grad`` flag back at the end."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield model
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


# ---------------------------------------------------------------------------------------------------------------------
# Labels: vectors v in logit space whose outer products average to diag(p) − ppᵀ


def _logit_vectors(
    logits: Tensor, targets: Tensor | None, noise: torch.Generator, expectation: Expectation, draws: int
) -> Iterator[Tensor]:
    """Yield ``(n, classes)`` vectors v; the sum of v vᵀ over them is the (estimated) covariance of the score."""
    p = logits.softmax(1)
    n, classes = p.shape
    if expectation == "exact":
        for k in range(classes):
            e = nn.functional.one_hot(torch.tensor(k), classes).to(p)
            yield p[:, k : k + 1].sqrt() * (e - p)
    elif expectation == "empirical":
        assert targets is not None
        yield nn.functional.one_hot(targets, classes).to(p) - p
    else:
        # All draws of a sample come together, so that the result does not depend on how samples are batched.
        uniform = torch.rand(n, draws, classes, generator=noise, dtype=torch.float64).to(p.device)
        for k in range(draws):
            if (
                expectation == "sample"
            ):  # Gumbel's trick: the arg max of log p + Gumbel noise is a draw from p
                gumbel = -(-uniform[:, k].clamp(min=1e-300).log()).log()
                label = (logits.log_softmax(1) + gumbel).argmax(1)
                v = nn.functional.one_hot(label, classes).to(p) - p
            else:
                signs = torch.where(uniform[:, k] < 0.5, -1.0, 1.0).to(p)
                root = p.sqrt() * signs
                v = root - p * root.sum(1, keepdim=True)
            yield v / math.sqrt(draws)


def _noise(expectation: Expectation, draws: int, seed: int) -> torch.Generator:
    if expectation not in get_args(Expectation):
        raise ValueError(
            f"expectation: {expectation!r} is unknown; accepted: {', '.join(get_args(Expectation))}"
        )
    if not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws: {draws!r} is not a whole number ≥ 1")
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------------------------------------------------------
# Inputs


def _batches(
    model: nn.Module, inputs: Batches, targets: Tensor | None, expectation: Expectation, batch_size: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield checked ``(inputs, targets)`` batches on the model's device."""
    if batch_size < 1:
        raise ValueError(f"batch_size: {batch_size} is not a whole number ≥ 1")
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ValueError("model: it has no parameters, so no Fisher information")
    seen = 0
    for batch in _split(inputs, targets, batch_size):
        x, y = batch if isinstance(batch, tuple | list) and len(batch) == 2 else (batch, None)
        if not isinstance(x, Tensor):
            raise TypeError(
                f"inputs: a tensor, or batches of tensors or (inputs, targets) pairs are accepted, not {type(x).__name__}"
            )
        x = x.to(parameter.device)
        if len(x) == 0:
            raise ValueError("inputs: a batch is empty; at least one sample is needed")
        _refuse_nonfinite(x, "inputs", seen)
        if expectation == "empirical":
            if y is None:
                raise ValueError(
                    "targets: expectation='empirical' needs labels; pass targets, or (inputs, targets) batches"
                )
            y = torch.as_tensor(y, device=parameter.device)
            if y.shape != (len(x),) or y.is_floating_point() or y.dtype == torch.bool:
                raise ValueError(
                    f"targets: integer labels of shape ({len(x)},) are accepted, not {y.dtype} {tuple(y.shape)}"
                )
            y = y.long()
        seen += len(x)
        yield x, y if expectation == "empirical" else None
    if seen == 0:
        raise ValueError("inputs: there is no sample; at least one is needed")


def _split(
    inputs: Batches, targets: Tensor | None, batch_size: int
) -> Iterable[Tensor | tuple[Tensor, Tensor]]:
    if not isinstance(inputs, Tensor):
        if isinstance(inputs, str) or not isinstance(inputs, Iterable):
            raise TypeError(
                f"inputs: a tensor or an iterable of batches is accepted, not {type(inputs).__name__}"
            )
        if targets is not None:
            raise ValueError(
                "targets: with an iterable of batches, give the labels inside the batches: (inputs, targets)"
            )
        return inputs
    if inputs.ndim < 2:
        raise ValueError(f"inputs: shape {tuple(inputs.shape)}; (n, …) with at least two axes is accepted")
    if targets is None:
        return inputs.split(batch_size)
    if len(targets) != len(inputs):
        raise ValueError(f"targets: {len(targets)} labels for {len(inputs)} inputs")
    return list(zip(inputs.split(batch_size), torch.as_tensor(targets).split(batch_size), strict=True))


def _checked_logits(logits: Tensor, n: int, seen: int) -> Tensor:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != n:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"model: it must return logits of shape ({n}, classes), not {shape}")
    _refuse_nonfinite(logits, "logits", seen)
    return logits


def _checked_targets(targets: Tensor | None, classes: int) -> Tensor | None:
    if targets is not None and not targets.is_meta and bool(((targets < 0) | (targets >= classes)).any()):
        bad = int(targets[(targets < 0) | (targets >= classes)][0])
        raise ValueError(
            f"targets: label {bad} is out of range; the model has {classes} classes (0 … {classes - 1})"
        )
    return targets


def _all_finite(tensor: Tensor) -> bool:
    return tensor.is_meta or not tensor.is_floating_point() or bool(tensor.isfinite().all())


def _refuse_nonfinite(tensor: Tensor, what: str, seen: int) -> None:
    if not _all_finite(tensor):
        bad = int((~tensor.flatten(1).isfinite().all(1)).nonzero()[0])
        raise ValueError(f"{what}: sample {seen + bad} has NaN or infinite values")


# ---------------------------------------------------------------------------------------------------------------------
# The pass through the network


def _stream(
    recorder: _Recorder,
    inputs: Batches,
    targets: Tensor | None,
    expectation: Expectation,
    draws: int,
    seed: int,
    batch_size: int,
    pool: str | None,
) -> Iterator[tuple[dict[str, Tensor], int]]:
    """Yield, batch by batch, the squared scores of every parameter and the number of samples.

    ``pool`` None: summed over the samples, the parameter's shape; "filter": summed over the samples, averaged over a
    filter's weights; "sample": ``(n,)``, summed over the parameter.
    """
    noise = _noise(expectation, draws, seed)
    seen = 0
    for x, y in _batches(recorder.model, inputs, targets, expectation, batch_size):
        logits = _checked_logits(recorder.run(x), len(x), seen)
        targets_ok = _checked_targets(y, logits.shape[1])
        squares: dict[str, Tensor] = {}
        vectors = list(_logit_vectors(logits.detach(), targets_ok, noise, expectation, draws))
        for k, v in enumerate(vectors, start=1):
            for name, value in recorder.pull_back(logits, v, pool, last=k == len(vectors)).items():
                squares[name] = squares[name] + value if name in squares else value
        recorder.clear()
        seen += len(x)
        yield squares, len(x)


class _Recorder:
    """Run a frozen model so that every layer's input is kept, and the gradient at its output can be asked for."""

    def __init__(self, model: nn.Module, layers: Sequence[str] | None) -> None:
        self.model = model
        self.wanted = _wanted(model, layers)
        self.modules = dict.fromkeys(name.rpartition(".")[0] for name in self.wanted)
        self.captured: dict[str, Captured] = {}
        self.hooks: list[torch.utils.hooks.RemovableHandle] = []
        self.state = evaluating(model)

    def __enter__(self) -> _Recorder:
        self.state.__enter__()
        for name in self.modules:
            module = self.model.get_submodule(name)
            self.hooks += handler_for(module).attach(module, name, self.captured)
        return self

    def __exit__(self, *details: object) -> None:
        for hook in self.hooks:
            hook.remove()
        self.clear()
        self.state.__exit__(None, None, None)

    def run(self, x: Tensor) -> Tensor:
        """Forward pass; returns the logits with a graph that reaches every captured output."""
        self.clear()
        with torch.enable_grad():
            logits: Tensor = self.model(x)
        for name in self.modules:
            if name not in self.captured:
                raise ValueError(
                    f"layer {name!r} ({type(self.model.get_submodule(name)).__name__}) took no part in the forward pass, or its"
                    " weights were used without calling it; leave it out with layers=…"
                )
        return logits

    def pull_back(self, logits: Tensor, v: Tensor, pool: str | None, *, last: bool) -> dict[str, Tensor]:
        """Go back once from ``v`` and return the squared scores of each wanted parameter; the ``last`` frees the graph."""
        names = list(self.captured)
        edges = [self.captured[name].edge for name in names]
        gradients = torch.autograd.grad(logits, edges, v, retain_graph=not last, allow_unused=True)
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, g in zip(names, gradients, strict=True):
                layer = self.captured[name]
                g = torch.zeros(layer.shape, dtype=v.dtype, device=v.device) if g is None else g
                for key, value in layer.squares(g, pool).items():
                    found[f"{name}.{key}" if name else key] = value
        return {name: found[name] for name in self.wanted}

    def clear(self) -> None:
        self.captured.clear()


def _wanted(model: nn.Module, layers: Sequence[str] | None) -> list[str]:
    """Return the names of the parameters to include; refuse what no handler supports, by name."""
    names = everything = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    if layers is not None:
        if isinstance(layers, str) or len(layers) == 0:
            raise ValueError("layers: a non-empty list of module or parameter names is accepted")
        known = [name for name, _ in model.named_modules() if name]
        for layer in layers:
            if layer not in known and layer not in names:
                near = difflib.get_close_matches(layer, known + names, n=3)
                raise ValueError(
                    f"layers: {layer!r} is not in the model; nearest: {', '.join(near) or 'none'}"
                )
        names = [n for n in names if any(n == layer or n.startswith(layer + ".") for layer in layers)]
        if not names:
            raise ValueError(f"layers: {', '.join(layers)} have no parameters")
    for name in names:
        module = _owner(model, name)
        if handler_for(module, required=False) is None:
            raise ValueError(
                f"parameter {name!r} belongs to a {type(module).__name__}, which is not supported (Linear, Conv, batch/layer/"
                "group norm and Embedding are); leave it out with layers=…"
            )
    # Among all names: a tensor that another layer uses too has more of a gradient than the wanted layers show.
    owners: dict[int, list[str]] = {}
    for name in everything:
        owners.setdefault(id(model.get_parameter(name)), []).append(name)
    for name in names:
        for other in owners[id(model.get_parameter(name))]:
            if other != name and (other in names or _owner(model, other) is not _owner(model, name)):
                raise ValueError(
                    f"parameters {name!r} and {other!r} are one shared tensor; shared weights are not supported"
                )
    return names


def _owner(model: nn.Module, parameter: str) -> nn.Module:
    """Return the module that a parameter belongs to."""
    return model.get_submodule(parameter.rpartition(".")[0])
