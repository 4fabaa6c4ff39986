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
gives the squares of all samples at once; see :mod:`t2v._layers`. A batch norm is computed inside the convolution before it
while the pass lasts, and has its own squares all the same; see :mod:`t2v._folding`.

Why it can be trusted: that product is the gradient only where the layer's weights are used in the layer alone, and where the
first axis of its input counts samples. Neither can be read off the shapes. So each call first sends its first sample
through twice, as a batch of two, and compares every layer's squares with plain autograd's. Windows or tokens that were folded
into the first axis are folded back; a layer that still disagrees is computed by autograd, sample by sample; and a network
whose logits for one sample depend on the others of its batch is refused.
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from t2v._folding import FoldedNorm, Folding, Pair, Trace
from t2v._layers import (
    REGISTERED,
    Captured,
    Handler,
    MixesSamplesError,
    Rule,
    Store,
    handler_for,
    square,
)

Expectation = Literal["exact", "sample", "rademacher", "empirical"]
Pool = Literal["filter"]
Layers = Sequence[str] | Literal["supported"]
Batches = Tensor | Iterable[Tensor] | Iterable[tuple[Tensor, Tensor]]

#: Refuse a full matrix larger than this many bytes unless the caller allows more.
MAX_BYTES = 4 * 2**30
#: Numbers of the input that go through a network together on a CPU: 8 colour pictures of 224 pixels a side, 98 of 64.
_NUMBERS = 8 * 3 * 224**2


def diagonal(
    model: nn.Module,
    inputs: Batches,
    *,
    expectation: Expectation = "exact",
    pool: Pool | None = None,
    targets: Tensor | None = None,
    draws: int = 1,
    seed: int = 0,
    layers: Layers | None = None,
    batch_size: int = 64,
    check: bool = True,
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
        from the model; ``draws`` random square roots of the covariance (unbiased; with C classes the square of one
        draw has a relative variance of at most 2 − 2/C, where that of one sampled label has no bound; which of the two
        is smaller depends on the weight, see chapter 8); or the data's labels.
    pool : {"filter"}, optional
        Average the diagonal over the weights of each output channel (weights ``(out, …)`` become ``(out,)``).
    targets : Tensor, optional
        Labels ``(n,)`` for ``"empirical"`` when ``inputs`` is a tensor.
    draws : int
        Number of Monte Carlo draws a sample (``"sample"`` and ``"rademacher"``).
    seed : int
        Seed of the draws; they are made on the CPU, so they do not depend on the device.
    layers : sequence of str or "supported", optional
        Names of modules or parameters to include; a module's name stands for all inside it. Default: all parameters.
        ``"supported"``: all that can be computed; a warning names the others and says why, see :func:`supported`.
    batch_size : int
        How many samples of a tensor ``inputs`` go through the network at once. Large ones go in smaller parts on a CPU,
        at most as many numbers as eight colour pictures of 224 pixels a side have; the result is the same.
    check : bool
        Compare every layer's squares with plain autograd's, on two copies of the first sample: it takes about as long
        as a batch of two. A layer that disagrees (its weights are used outside it too, it is called twice, its first
        axis is not the sample, …) is then computed by autograd, sample by sample: right, and slow. Where later batches
        have samples of another shape, their first sample is compared too; other samples are not, so that a network
        whose way through its layers depends on the values of its input is not safe. Without the check a layer whose
        first axis has another length than the batch is refused, and no other fault is seen.

    Returns
    -------
    OrderedDict
        Parameter name → tensor of the parameter's shape (or ``(out,)``): the mean over the samples, in nats².

    Raises
    ------
    ValueError
        For a parametrised layer that is not supported (named), NaN or infinity in inputs, logits or gradients (the
        sample or layer is named), empty input, labels out of range, ``draws < 1`` or an unknown expectation or layer;
        for a network that mixes the samples of a batch, draws random numbers in eval mode or has a single logit;
        and inside ``torch.inference_mode()``.

    Notes
    -----
    Supported: Linear, Conv1d/2d/3d (grouped and depthwise too), batch, layer and group norm, Embedding; layer classes
    of your own with :func:`register`. A last batch of one sample is run as two copies of it.
    Source: eq. 6 of the review paper; Amari (1998) for the definition; Achille et al. (2019) for the pooling.
    """
    if pool not in (None, "filter"):
        raise ValueError(f"pool: {pool!r} is unknown; accepted: None, 'filter'")
    total: OrderedDict[str, Tensor] = OrderedDict()
    count = 0
    with _Recorder(model, layers, check) as recorder:
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
    layers: Layers | None = None,
    batch_size: int = 64,
    check: bool = True,
) -> Tensor:
    r"""Return each sample's score norm :math:`\sqrt{\mathbb{E}_y \|\nabla_w \log p_w(y|x_i)\|^2}`.

    The mean of the squares is :func:`trace`. With ``expectation="empirical"`` it is the norm of the training gradient
    of each sample.

    Parameters
    ----------
    model, inputs, expectation, targets, draws, seed, layers, batch_size, check
        As for :func:`diagonal`.

    Returns
    -------
    Tensor
        ``(n,)``, in nats.
    """
    norms = []
    with _Recorder(model, layers, check) as recorder:
        for squares, _ in _stream(recorder, inputs, targets, expectation, draws, seed, batch_size, "sample"):
            norms.append(torch.stack(list(squares.values())).sum(0).sqrt())
    return torch.cat(norms)


@dataclass
class Support:
    """How the parameters of a network are computed.

    Attributes
    ----------
    taken : tuple of str
        Names of the parameters that :func:`diagonal` can compute.
    folded : dict of str to int
        Layer → rows of its first axis (windows, frames, tokens) that belong to one sample, where these are several.
    slow : dict of str to str
        Layer → why it is computed by autograd, sample by sample.
    left_out : dict of str to str
        Parameter → why it is not computed.
    """

    taken: tuple[str, ...] = ()
    folded: dict[str, int] = field(default_factory=dict)
    slow: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def supported(model: nn.Module, inputs: Tensor, *, layers: Sequence[str] | None = None) -> Support:
    """Say which parameters of a network :func:`diagonal` can compute, how, and why not the others.

    Parameters
    ----------
    model : nn.Module
        As for :func:`diagonal`.
    inputs : Tensor
        ``(n, …)``: a few samples; the first is sent through twice.
    layers : sequence of str, optional
        Names of modules or parameters that are asked about. Default: all.

    Returns
    -------
    Support

    Raises
    ------
    ValueError
        If the network mixes the samples of a batch, and for bad input.

    Examples
    --------
    >>> fisher.supported(nn.Sequential(nn.Linear(4, 3), nn.PReLU(), nn.Linear(3, 2)), torch.randn(5, 4)).left_out
    {'1.weight': "parameter '1.weight' belongs to a PReLU, which is not supported …"}
    """
    with _Recorder(model, layers, check=True, tolerant=True, warn=False) as recorder:
        for x, _ in _batches(model, inputs, None, "exact", max(1, len(inputs))):
            recorder.examine(x, None)
            with torch.no_grad():
                recorder.compare(recorder.run(x))
        return recorder.support


def register(layer: type[nn.Module], rule: Rule | Literal["autograd"]) -> None:
    """Teach this module a layer class of your own.

    Parameters
    ----------
    layer : type
        A subclass of ``nn.Module`` with parameters of its own; subclasses of it are meant too.
    rule : callable or "autograd"
        ``rule(module, x, g)`` gets the layer's input ``x`` ``(n, …)`` and the gradient ``g`` at its output, and returns
        a dict: parameter name → gradient of each sample ``(n, *parameter.shape)``. Each call of :func:`diagonal`
        compares it with autograd. ``"autograd"``: no rule, the parameters are computed by autograd sample by sample,
        which is right for any layer, and slow. A second call for the same class takes the place of the first.

    Raises
    ------
    TypeError
        If ``layer`` is no module class, or ``rule`` neither callable nor ``"autograd"``.

    Examples
    --------
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.gamma = nn.Parameter(torch.ones(5))
    ...
    ...     def forward(self, x):
    ...         return self.gamma * x
    >>> fisher.register(Scale, lambda module, x, g: {"gamma": (g * x).flatten(1, -2).sum(1) if x.ndim > 2 else g * x})
    """
    if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
        raise TypeError(f"layer: {layer!r} is not a class of modules; a subclass of nn.Module is accepted")
    if rule != "autograd" and not callable(rule):
        raise TypeError(f"rule: {rule!r}; a function (module, x, g) → dict, or 'autograd', is accepted")
    REGISTERED[layer] = rule


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

    Raises
    ------
    ValueError
        For bad input, and a network that mixes the samples of a batch, as for :func:`diagonal`.
    """
    _refuse_inference_weights(model)
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
            logits = _checked_logits(_forward(model, x), len(x), count)
            if count == 0 and not x.is_meta:
                pair = model(torch.cat([x[:1], x[:1]]))
                _refuse_mixing(torch.cat([pair, *_beside_another(model, x[:1])]), logits)
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
        _refuse_inference(x, "inputs: they were")
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


def _parts(x: Tensor, y: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Split a batch of large samples on the CPU, so that its maps stay of the size that memory serves quickly."""
    most = max(1, _NUMBERS // max(1, x[0].numel())) if x.device.type == "cpu" else len(x)
    count = -(-len(x) // most)
    labels = [None] * count if y is None else y.tensor_split(count)
    yield from zip(x.tensor_split(count), labels, strict=True)


def _forward(model: nn.Module, x: Tensor) -> Tensor:
    """Return the logits of a batch, never of a batch of one.

    Some of torch's kernels are wrong there: the backward pass of batch norm on the CPU, for one.
    """
    logits: Tensor = model(torch.cat([x, x]) if len(x) == 1 else x)
    return logits[:1] if len(x) == 1 and isinstance(logits, Tensor) and logits.ndim == 2 else logits


def _checked_logits(logits: Tensor, n: int, seen: int) -> Tensor:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != n:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"model: it must return logits of shape ({n}, classes), not {shape}")
    if logits.shape[1] == 1:
        raise ValueError(
            "model: it returns one logit, and a softmax over one class is certain, without information; for a sigmoid"
            " return two logits, torch.cat([torch.zeros_like(z), z], 1)"
        )
    _refuse_nonfinite(logits, "logits", seen)
    return logits


def _refuse_inference(tensor: Tensor, what: str) -> None:
    if torch.is_inference_mode_enabled():
        raise ValueError(
            "torch.inference_mode() forbids gradients; call outside it (torch.no_grad() is fine)"
        )
    if tensor.is_inference():
        raise ValueError(
            f"{what} made in torch.inference_mode(), which forbids gradients; a clone is accepted"
        )


def _refuse_inference_weights(model: nn.Module) -> None:
    for parameter in model.parameters():
        _refuse_inference(parameter, "model: its weights were")


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
    batches = _batches(recorder.model, inputs, targets, expectation, batch_size)
    for x, y in (part for batch in batches for part in _parts(*batch)):
        recorder.examine(x, pool)
        logits = _checked_logits(recorder.run(x), len(x), seen)
        recorder.compare(logits)
        targets_ok = _checked_targets(y, logits.shape[1])
        squares: dict[str, Tensor] = {}
        vectors = list(_logit_vectors(logits.detach(), targets_ok, noise, expectation, draws))
        for k, v in enumerate(vectors, start=1):
            for name, value in recorder.pull_back(logits, v, pool, last=k == len(vectors)).items():
                squares[name] = squares[name] + value if name in squares else value
        recorder.clear()
        squares |= recorder.one_by_one(x, vectors, pool)
        seen += len(x)
        yield {name: squares[name] for name in recorder.wanted}, len(x)


#: The largest difference between two computations of a layer's squares that rounding explains, relative to the layer's
#: largest square, by the precision of the layer's output.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 5e-3}
_LOGITS = {torch.float64: 1e-6, torch.float32: 1e-2}
_COARSE = 0.3
#: Rounding of a sum that cancels, in units of the format's step.
_ROUNDING = 8.0
#: Samples that the self-check tries where a layer has no gradient on the first.
_TRIES = 3
#: Parameters that a warning names.
_SHOWN = 8


class _Recorder:
    """Run a frozen model so that every layer's input is kept, and the gradient at its output can be asked for."""

    def __init__(
        self,
        model: nn.Module,
        layers: Layers | None,
        check: bool,
        tolerant: bool | None = None,
        warn: bool = True,
    ) -> None:
        _refuse_inference_weights(model)
        self.model = model
        self.tolerant = layers == "supported" if tolerant is None else tolerant
        self.check, self.warn = check, warn
        self.support = Support()
        self.wanted = _wanted(model, layers, self.support.left_out if self.tolerant else None)
        self.parameters: dict[str, list[str]] = {}
        for name in self.wanted:
            self.parameters.setdefault(name.rpartition(".")[0], []).append(name)
        self.modules = {name: model.get_submodule(name) for name in self.parameters}
        self.rows: dict[str, int] = {}
        self.examined: dict[torch.Size, dict[str, int]] = {}
        self.captured = Store()
        self.hooks: dict[str, list[torch.utils.hooks.RemovableHandle]] = {}
        self.state = evaluating(model)
        self.folding = Folding(model, self.modules)
        self.pairs: dict[torch.Size, list[Pair]] = {}
        self.unfolded: Tensor | None = None
        self.pair: Tensor | None = None
        self.pool: str | None = None

    def __enter__(self) -> _Recorder:
        self.state.__enter__()
        self.attach()
        return self

    def __exit__(self, *details: object) -> None:
        self.detach()
        self.clear()
        self.folding.use([])
        self.state.__exit__(None, None, None)

    def attach(self) -> None:
        """Put hooks on every layer that is computed from its input and the gradient at its output."""
        pairs = self.folding.pairs
        folded = {name for pair in pairs for name in (pair.conv, pair.norm)}
        for name, module in self.modules.items():
            handler = handler_for(module)
            if name not in self.support.slow and name not in folded and isinstance(handler, Handler):
                self.hooks[name] = handler.attach(module, name, self.captured, trusted=self.check)
        for pair in pairs:
            self.hooks[pair.conv] = self.folding.attach(pair, self.captured)

    def fold(self, pairs: Sequence[Pair]) -> None:
        """Compute these batch norms, and no others, inside the convolutions before them."""
        if pairs != self.folding.pairs:
            self.detach()
            self.folding.use(pairs)
            self.attach()

    def detach(self, names: Iterable[str] | None = None) -> None:
        """Take the hooks off, those of all layers or of those named."""
        for name in list(self.hooks if names is None else names):
            for hook in self.hooks.pop(name, []):
                hook.remove()

    def run(self, x: Tensor) -> Tensor:
        """Forward pass; returns the logits with a graph that reaches every captured output."""
        logits = self._run(x)
        if self.folding.pairs and (faulty := self._misfolded(logits)):
            kept = [pair for pair in self.folding.pairs if pair.norm not in faulty]
            self.pairs[x.shape[1:]] = kept
            self.fold(kept)
            return self.run(x)
        return logits

    def _misfolded(self, logits: Tensor) -> set[str]:
        """Return the batch norms that may not be folded: all, where that changes the function; or those overwritten."""
        first, self.unfolded = self.unfolded, None
        if first is not None and isinstance(logits, Tensor) and logits.shape[1:] == first.shape[1:]:
            difference, scale = _difference(first, logits)
            if not difference <= scale and _all_finite(logits):
                return {pair.norm for pair in self.folding.pairs}
        layers = self.captured.items()
        return {name for name, layer in layers if isinstance(layer, FoldedNorm) and not layer.intact()}

    def _run(self, x: Tensor) -> Tensor:
        self.clear()
        n = max(2, len(x))
        with torch.enable_grad():
            logits = _forward(self.model, x)
        for name in self.modules:
            if name in self.support.slow:
                continue
            if name not in self.captured:
                raise ValueError(self._not_called(name))
            layer = self.captured[name]
            layer.n = n
            if not layer.holds(n, self.rows.get(name, 1)):
                raise ValueError(
                    f"layer {name!r} ({type(layer.module).__name__}): the first axis of its input has length"
                    f" {len(layer.x)} for {n} samples, so that samples cannot be told apart; give check=True and equal"
                    " batches, or leave it out with layers=…"
                )
        return logits

    def _not_called(self, name: str) -> str:
        return (
            f"layer {name!r} ({type(self.modules[name]).__name__}) took no part in the forward pass, or its"
            " weights were used without calling it; leave it out with layers=…"
        )

    def pull_back(self, logits: Tensor, v: Tensor, pool: str | None, *, last: bool) -> dict[str, Tensor]:
        """Go back once from ``v`` and return the squared scores of each wanted parameter; the ``last`` frees the graph."""
        names = list(self.captured)
        if not names:
            return {}
        edges = [self.captured[name].edge for name in names]
        gradients = torch.autograd.grad(logits, edges, v, retain_graph=not last, allow_unused=True)
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, g in zip(names, gradients, strict=True):
                layer = self.captured[name]
                g = torch.zeros(layer.shape, dtype=v.dtype, device=v.device) if g is None else g
                for key, value in layer.squares(g, pool).items():
                    found[f"{name}.{key}" if name else key] = value[: len(v)] if pool == "sample" else value
        return {name: found[name] for name in self.wanted if name in found}

    def clear(self) -> None:
        self.captured.clear()

    # -- Layers that are computed by autograd

    def one_by_one(self, x: Tensor, vectors: Sequence[Tensor], pool: str | None) -> dict[str, Tensor]:
        """Return the squared scores of the slow layers, from one sample's graph after the other."""
        slow = self.support.slow
        names = [name for layer, own in self.parameters.items() if layer in slow for name in own]
        if not names:
            return {}
        rows: list[list[Tensor]] = []
        self.detach()
        with self._tracked(names) as parameters, torch.enable_grad():
            for i in range(len(x)):
                logits = _forward(self.model, x[i : i + 1])
                total = [torch.zeros((), device=x.device)] * len(names)
                for k, v in enumerate(vectors, start=1):
                    keep = k < len(vectors)
                    found = _gradients(logits, parameters, v[i : i + 1], keep)
                    axes = map(self._filter_axis, names)
                    parts = [square(g, pool, axis) for g, axis in zip(found, axes, strict=True)]
                    total = [a + b for a, b in zip(total, parts, strict=True)]
                if pool == "sample" or not rows:
                    rows.append(total)
                else:
                    rows = [[a + b for a, b in zip(rows[0], total, strict=True)]]
        self.attach()
        return {
            name: torch.cat(parts) if pool == "sample" else parts[0]
            for name, parts in zip(names, zip(*rows, strict=True), strict=True)
        }

    def _filter_axis(self, name: str) -> int:
        return 1 if isinstance(_owner(self.model, name), nn.Embedding) else 0

    @contextmanager
    def _tracked(self, names: Sequence[str]) -> Iterator[list[nn.Parameter]]:
        """Let the named parameters have gradients; those of an Embedding as they are, not divided by frequency."""
        parameters = [self.model.get_parameter(name) for name in names]
        scaled = [m for m in self.model.modules() if getattr(m, "scale_grad_by_freq", False)]
        try:
            for module in scaled:
                module.scale_grad_by_freq = False  # type: ignore[assignment]
            for parameter in parameters:
                parameter.requires_grad_(True)
            yield parameters
        finally:
            for module in scaled:
                module.scale_grad_by_freq = True  # type: ignore[assignment]
            for parameter in parameters:
                parameter.requires_grad_(False)

    # -- The self-check

    def examine(self, x: Tensor, pool: str | None) -> None:
        """Decide layer by layer how it is computed, from the first sample sent through twice.

        Once for each shape that a sample has: with it the number of windows may change, or the way through the network.
        """
        self.pool = pool
        first, self.pair = not self.examined, None
        new = x.shape[1:] not in self.examined
        self.rows = self.examined.setdefault(x.shape[1:], {})
        if first:
            registered = [name for name, part in self.modules.items() if handler_for(part) == "autograd"]
            self.support.slow.update(dict.fromkeys(registered, "registered so"))
        if x.is_meta:
            return
        if new:
            self.fold([])
            if self.check or self.tolerant:
                self._examine(x, pool, first)
            elif self.folding.possible:
                self._look(x)
        self.fold(self.pairs.get(x.shape[1:], []))

    def _look(self, x: Tensor) -> None:
        """Without the check: send the first sample through twice, and see what may be folded; nothing where that fails."""
        with _undisturbed(x.device), suppress(Exception), torch.enable_grad():
            with Trace(self.folding) as trace:
                logits = self.model(torch.cat([x[:1], x[:1]]))
            self._note(x, trace, logits)
        self.clear()

    def _note(self, x: Tensor, trace: Trace, logits: Tensor) -> None:
        """Remember what may be folded for samples of this shape, and what the logits are without it."""
        self.pairs[x.shape[1:]] = trace.pairs(logits, self.support.slow)
        self.unfolded = logits.detach()

    def _examine(self, x: Tensor, pool: str | None, first: bool) -> None:
        self.captured.tolerant = True
        proven: set[str] = set()
        with _undisturbed(x.device):
            for i in range(min(len(x), _TRIES)):
                proven |= self._examine_one(x[i : i + 1], pool, i, proven)
                if all(name in proven or name in self.support.slow for name in self.modules):
                    break
            if len(x) == 1 and self.pair is not None:
                self.clear()
                self.pair = torch.cat([self.pair, *_beside_another(self.model, x)])
        for name, rows in self.rows.items():
            if rows > 1 and name not in proven:
                self.support.slow.setdefault(name, "the order of its first axis cannot be told: no gradient")
        slow = self.support.slow
        self.pairs = {
            shape: [pair for pair in pairs if pair.conv not in slow and pair.norm not in slow]
            for shape, pairs in self.pairs.items()
        }
        self.captured.tolerant = False
        self.captured.faults.clear()
        self.clear()
        self.detach([name for name in self.hooks if name in slow or name not in self.modules])
        if first:
            self._conclude()

    def _examine_one(self, sample: Tensor, pool: str | None, index: int, proven: set[str]) -> set[str]:
        """Compare hooks and autograd on two copies of a sample; returns the layers that the comparison could judge.

        Those that are ``proven`` already are not computed again.
        """
        self.clear()
        own = {name: own for name, own in self.parameters.items() if name not in proven}
        wanted = [name for names in own.values() for name in names]
        with self._tracked(self.wanted), torch.enable_grad():
            with Trace(self.folding) as trace:
                logits = _checked_logits(self.model(torch.cat([sample, sample])), 2, index)
            if index == 0:
                self.pair = logits.detach()
                self._note(sample, trace, logits)
            v = torch.randn(
                logits.shape[1], generator=torch.Generator().manual_seed(index), dtype=torch.float64
            )
            v = torch.stack([v - v.mean(), torch.zeros_like(v)]).to(logits)
            names = [name for name in self.captured if name in own]
            edges = [self.captured[name].edge for name in names]
            parameters = [self.model.get_parameter(name) for name in wanted]
            gradients: Sequence[Tensor | None] = [None] * len(edges + parameters)
            if logits.requires_grad:
                gradients = torch.autograd.grad(logits, [*edges, *parameters], v, allow_unused=True)
        truth = dict(zip(wanted, gradients[len(names) :], strict=True))
        at_output = dict(zip(names, gradients, strict=False))
        with torch.no_grad():
            found = {
                name
                for name, keys in own.items()
                if name not in self.support.slow
                and self._judge(name, {key: truth[key] for key in keys}, at_output.get(name), pool)
            }
        if not logits.requires_grad and self.wanted:
            raise ValueError("model: its logits do not depend on its weights in a differentiable way")
        return found

    def _judge(self, name: str, truth: dict[str, Tensor | None], g: Tensor | None, pool: str | None) -> bool:
        """Compare one layer's squares with autograd's; returns whether there was a gradient to compare."""
        if name not in self.captured:
            if any(value is not None for value in truth.values()):
                why = "its weights are used without calling it"
                self.support.slow[name] = self.captured.faults.get(name, why)
            elif name in self.captured.faults:
                self.support.slow[name] = self.captured.faults[name]
            else:
                self._leave_out(name, self._not_called(name))
            return True
        layer = self.captured[name]
        if layer.x.ndim == 0 or len(layer.x) % 2 or not layer.holds(2, len(layer.x) // 2):
            self.support.slow[name] = (
                f"the first axis of its input, {len(layer.x)} for 2 samples, is not the sample"
            )
            return True
        layer.n = 2
        self.rows[name] = layer.rows
        g = torch.zeros(layer.shape, dtype=layer.x.dtype, device=layer.x.device) if g is None else g
        try:
            found = layer.squares(g, pool)
        except MixesSamplesError:
            raise
        except (ValueError, RuntimeError, IndexError) as error:
            self.support.slow[name] = str(error)
            return True
        return self._agree(name, layer, truth, found, g)

    def _agree(
        self, name: str, layer: Captured, truth: dict[str, Tensor | None], found: dict[str, Tensor], g: Tensor
    ) -> bool:
        """Hold a layer's squares against autograd's gradients; it becomes slow where they differ."""
        errors, largest = [], []
        for full, gradient in truth.items():
            got = found.get(full.rpartition(".")[2])
            if got is None:
                self.support.slow[name] = f"its rule says nothing of {full!r}"
                return True
            want = torch.zeros_like(got)
            if gradient is not None:
                exact = square(_dense(gradient).to(got), self.pool, layer.filter_axis)
                want = torch.cat([exact, torch.zeros_like(exact)]) if self.pool == "sample" else exact
            errors.append(torch.dist(got, want, math.inf))
            largest.append(torch.linalg.vector_norm(want, math.inf))
        error, size = (float(torch.stack(values).max()) for values in (errors, largest))
        if not (math.isfinite(error) and math.isfinite(size)):
            return False  # NaN and infinity are refused later on, by the name of the sample or layer
        rounding = (_ROUNDING * torch.finfo(g.dtype).eps) ** 2 * layer.size(g)
        if error > _TOLERANCE.get(g.dtype, _COARSE) * size + rounding:
            self.support.slow[name] = (
                "its squares are not those of autograd: its weights are used outside it too, or its first axis is not"
                " the sample"
            )
        return size > 2 * rounding

    def _leave_out(self, layer: str, reason: str) -> None:
        """Leave a layer out where that was asked for, before anything is summed; else refuse."""
        if not self.tolerant or len(self.examined) > 1:
            raise ValueError(reason)
        gone = self.parameters.pop(layer)
        self.support.left_out.update(dict.fromkeys(gone, reason))
        self.wanted = [name for name in self.wanted if name not in gone]
        del self.modules[layer]

    def _conclude(self) -> None:
        if not self.wanted:
            raise ValueError("layers: no parameter of the model is supported")
        self.support.taken = tuple(self.wanted)
        slow = self.support.slow
        self.support.folded = {name: n for name, n in self.rows.items() if n > 1 and name not in slow}
        if self.support.left_out and self.warn:
            left = self.support.left_out
            lines = [f"{name}: {reason}" for name, reason in left.items()][:_SHOWN]
            if len(left) > _SHOWN:
                lines.append(
                    f"and {len(left) - _SHOWN} more, which fisher.supported(model, inputs).left_out names"
                )
            warnings.warn("\n  ".join(["left out of the Fisher information:", *lines]), stacklevel=5)

    def compare(self, logits: Tensor) -> None:
        """Refuse a network whose logits for the first sample depend on the rest of its batch."""
        if self.pair is not None:
            _refuse_mixing(self.pair, logits)


def _beside_another(model: nn.Module, sample: Tensor) -> list[Tensor]:
    """Return a lone sample's logits beside another, itself turned round; nothing where the network refuses that."""
    with torch.no_grad(), suppress(Exception):
        turned = sample.flip(list(range(1, sample.ndim)))
        return [model(torch.cat([sample, turned]))[:1]]
    return []


def _refuse_mixing(pair: Tensor, logits: Tensor) -> None:
    """Refuse a network whose logits for a sample differ from those ``pair`` that it has elsewhere."""
    difference, scale = _difference(pair, logits)
    if difference > scale:
        raise MixesSamplesError(
            f"model: the logits of one sample change by {difference:.3g} with the other samples of its batch or with its"
            " place there (batch statistics, attention across the batch, or dropout and other random numbers in eval"
            " mode), so there is no gradient of one sample"
        )


def _difference(pair: Tensor, logits: Tensor) -> tuple[float, float]:
    """Return by how much the first sample's logits differ from those given, and how much rounding explains."""
    rows = torch.cat([pair, logits[:1].detach()])
    centred = rows - rows.mean(1, keepdim=True)
    rounding = 64 * torch.finfo(rows.dtype).eps * float(logits.detach().abs().max())
    scale = _LOGITS.get(rows.dtype, _COARSE) * float(centred.abs().max()) + rounding
    return float((centred - centred[-1:]).abs().max()), scale


def _gradients(
    logits: Tensor, parameters: Sequence[nn.Parameter], v: Tensor, retain_graph: bool
) -> list[Tensor]:
    found = torch.autograd.grad(logits, parameters, v, retain_graph=retain_graph, allow_unused=True)
    return [torch.zeros_like(p) if g is None else _dense(g) for p, g in zip(parameters, found, strict=True)]


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient


@contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Compute in full precision, and give the random state back at the end."""
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            if device.type == "cuda":
                for switch in switches:
                    switch.allow_tf32 = False
            yield
        finally:
            if device.type == "cuda":
                for switch, was in zip(switches, before, strict=True):
                    switch.allow_tf32 = was


def _wanted(model: nn.Module, layers: Layers | None, left_out: dict[str, str] | None = None) -> list[str]:
    """Return the names of the parameters to include.

    What no handler supports is refused by name; or goes into ``left_out``, where that is given, with the reason.
    """
    names = _named(model, layers)
    refused: dict[str, str] = {} if left_out is None else left_out
    sharers = _sharers(model)
    for name in names:
        reason = _unsupported(model, name)
        for other in sharers[id(model.get_parameter(name))]:
            if other != name and (other in names or _owner(model, other) is not _owner(model, name)):
                reason = reason or (
                    f"parameters {name!r} and {other!r} are one shared tensor; shared weights are not supported"
                )
        if reason and left_out is None:
            raise ValueError(reason)
        if reason:
            refused[name] = reason
    return [name for name in names if name not in refused]


def _named(model: nn.Module, layers: Layers | None) -> list[str]:
    """Return the names of the parameters that ``layers`` stand for."""
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    if layers is None or layers == "supported":
        return names
    if isinstance(layers, str) or len(layers) == 0:
        raise ValueError("layers: a non-empty list of module or parameter names, or 'supported', is accepted")
    known = [name for name, _ in model.named_modules() if name]
    for layer in layers:
        if layer not in known and layer not in names:
            near = difflib.get_close_matches(layer, known + names, n=3)
            raise ValueError(f"layers: {layer!r} is not in the model; nearest: {', '.join(near) or 'none'}")
    names = [n for n in names if any(n == layer or n.startswith(layer + ".") for layer in layers)]
    if not names:
        raise ValueError(f"layers: {', '.join(layers)} have no parameters")
    return names


def _sharers(model: nn.Module) -> dict[int, list[str]]:
    """Return each tensor's names, among all: another layer's use of it is a part of its gradient too."""
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    return owners


def _unsupported(model: nn.Module, name: str) -> str | None:
    """Return why a parameter cannot be computed from what its layer's hooks see, or None."""
    module = _owner(model, name)
    handler = handler_for(module)
    if handler is None:
        return (
            f"parameter {name!r} belongs to a {type(module).__name__}, which is not supported (Linear, Conv, batch/layer/"
            "group norm and Embedding are); leave it out with layers=…, or teach it with fisher.register"
        )
    key = name.rpartition(".")[2]
    if isinstance(handler, Handler) and handler.keys is not None and key not in handler.keys:
        return (
            f"parameter {name!r} is none that a {type(module).__name__} has of itself (weight or spectral norm, pruning, a"
            " low-rank update, a gain?), which is not supported; leave it out with layers=…"
        )
    return None


def _owner(model: nn.Module, parameter: str) -> nn.Module:
    """Return the module that a parameter belongs to."""
    return model.get_submodule(parameter.rpartition(".")[0])
