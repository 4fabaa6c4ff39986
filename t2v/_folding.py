r"""Batch norms in eval mode, computed inside the convolutions before them, for the length of a pass.

With its running statistics batch norm is an affine map of each channel. Behind a convolution,

.. math:: y = \gamma\,(W * x + b - \mu)/\sigma + \beta = (sW) * x + (\beta + s\,(b - \mu)), \qquad s = \gamma/\sigma,

so that a convolution with other weights gives :math:`y` at once, and autograd need not read and write every map twice
more. Nothing is lost: the gradient :math:`g` at :math:`y` is the one at the norm's output, and by the chain rule

.. math:: \partial_{W_o} = s_o \sum_p g_{op}\, x_p, \qquad \partial_{b_o} = s_o \sum_p g_{op}, \qquad
          \partial_{\beta_o} = \sum_p g_{op}, \qquad
          \partial_{\gamma_o} = \Big(\sum_p g_{op}\, y_{op} - \beta_o \sum_p g_{op}\Big) \Big/ \gamma_o .

A pair is folded only where one forward pass of the network as it is has shown that the norm gets the very tensor that the
convolution returned and that nothing else in the graph does; and :mod:`t2v.fisher` holds the logits of the folded network
against those of that pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from t2v._layers import (
    PLAIN_FORWARDS,
    BatchNormLayer,
    ConvLayer,
    Handler,
    Hooks,
    Store,
    handler_for,
    over_positions,
    small_parts,
)

#: A norm is folded where no γ is smaller than this share of its β: the last formula above loses as many digits.
_LEAST = 1e-3
#: In-place operations whose derivative is zero wherever they change a value: what they leave is as good as y in Σ g y.
_CLIPS = ("ReluBackward0", "HardtanhBackward0")


@dataclass
class Pair:
    """A convolution and the batch norm that alone reads its output."""

    conv: str
    norm: str
    #: Whether the norm's output is overwritten later on, so that a copy must be kept.
    copied: bool = False


class FoldedConv(ConvLayer):
    """A convolution whose output is scaled by the norm behind it."""

    def __init__(self, module: Any, x: Tensor, name: str, scale: Tensor, biased: bool) -> None:
        super().__init__(module, x, name)
        self.scale, self._biased = scale, biased

    @property
    def biased(self) -> bool:
        return self._biased


class FoldedNorm(BatchNormLayer):
    """A batch norm whose output is that of a convolution."""

    def __init__(self, module: Any, y: Tensor, name: str, copied: bool) -> None:
        super().__init__(module, y.detach().clone() if copied else y.detach(), name)
        self.y = None if copied else y

    def intact(self) -> bool:
        return super().intact() or (self.y is not None and _clipped(self.y, self.version))

    def slopes(self, g: Tensor) -> tuple[Tensor, Tensor]:
        bias = over_positions(g)
        inner = torch.cat([over_positions(gs * ys) for gs, ys in small_parts(g, self.x)])
        return (inner - self.module.bias * bias) / self.module.weight, bias


def _clipped(y: Tensor, version: int) -> bool:
    """Tell whether all that has happened to ``y`` since that version is one clipping in place."""
    return y._version == version + 1 and y.grad_fn is not None and y.grad_fn.name() in _CLIPS


class Folding:
    """The convolutions and batch norms of a network that may be folded, and those that are at the moment."""

    def __init__(self, model: nn.Module, wanted: Iterable[str]) -> None:
        self.model, self.wanted = model, set(wanted)
        uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
        own = {name: m for name, m in model.named_modules() if _untouched(m, uses)}
        self.convs = {n: m for n, m in own.items() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d)}
        self.norms = {n: m for n, m in own.items() if _affine(m)}
        self.pairs: list[Pair] = []
        self._undo: list[Callable[[], None]] = []
        self._scales: dict[str, Tensor] = {}
        self._biased: dict[str, bool] = {}

    @property
    def possible(self) -> bool:
        """Whether there is anything to fold."""
        return bool(self.convs and self.norms)

    def use(self, pairs: Sequence[Pair]) -> None:
        """Fold these pairs and no others."""
        while self._undo:
            self._undo.pop()()
        self.pairs = list(pairs)
        for pair in self.pairs:
            self._fold(self.convs[pair.conv], self.norms[pair.norm], pair)

    def _fold(self, conv: Any, norm: Any, pair: Pair) -> None:
        with torch.no_grad():
            scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            shift = (
                -norm.running_mean.double() if conv.bias is None else conv.bias.double() - norm.running_mean
            )
            weight = conv.weight * scale.to(conv.weight).reshape(-1, *[1] * (conv.weight.ndim - 1))
            bias = (norm.bias.double() + scale * shift).to(conv.weight)
        self._scales[pair.conv], self._biased[pair.conv] = scale.to(conv.weight), conv.bias is not None
        # The dictionary itself: the very same parameters come back, whatever the class does with attributes.
        before = dict(conv._parameters)
        self._undo.append(lambda: conv._parameters.update(before))
        conv._parameters.update(
            weight=nn.Parameter(weight, requires_grad=False), bias=nn.Parameter(bias, requires_grad=False)
        )
        norm.forward = _rest_of(norm)
        self._undo.append(lambda: delattr(norm, "forward"))

    def attach(self, pair: Pair, store: Store) -> Hooks:
        """Capture what the wanted ones of a pair need during each forward pass."""
        conv, norm = self.convs[pair.conv], self.norms[pair.norm]
        scale, biased = self._scales[pair.conv], self._biased[pair.conv]

        def after(_: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
            layer = FoldedConv(conv, args[0].detach(), pair.conv, scale, biased)
            result = layer.attach(out)
            if pair.conv in self.wanted:
                store[pair.conv] = layer
            if pair.norm in self.wanted:
                store[pair.norm] = FoldedNorm(norm, out, pair.norm, pair.copied and result is out)
                store[pair.norm].edge = layer.edge
            return result

        return [conv.register_forward_hook(after)]


def _untouched(module: nn.Module, uses: Counter[int]) -> bool:
    """Tell whether a module is what its class says: no hooks, no forward of its own, no weights shared or made of others."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    own = module._parameters
    return (
        not isinstance(module, torch.jit.ScriptModule)
        and "forward" not in module.__dict__
        and not any(getattr(module, hook) for hook in hooks)
        and set(own) == {"weight", "bias"}
        and own["weight"] is not None
        and own["weight"].dtype in (torch.float32, torch.float64)
        and all(uses[id(p)] == 1 for p in own.values() if p is not None)
        and isinstance(handler := handler_for(module), Handler)
        and handler.kind in (ConvLayer, BatchNormLayer)
    )


def _affine(module: Any) -> bool:
    """Tell whether a module is a batch norm whose slopes can be had from its output."""
    return (
        isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        and module.running_mean is not None
        and module.bias is not None
        and not module.weight.is_meta
        and bool((module.weight.abs() > _LEAST * module.bias.abs()).all())
    )


def _rest_of(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return what a norm does behind its affine map: nothing, or its children in a row (timm's have an activation)."""
    children = [] if type(norm).forward in PLAIN_FORWARDS else list(norm.children())

    def forward(x: Tensor) -> Tensor:
        for child in children:
            x = child(x)
        return x

    return forward


class Trace:
    """Watches one forward pass of the network as it is, for pairs that may be folded."""

    def __init__(self, folding: Folding) -> None:
        self.folding = folding
        self.calls: Counter[str] = Counter()
        self.made: dict[int, tuple[str, Tensor, int]] = {}
        self.met: list[tuple[str, str, Any]] = []
        self.outputs: dict[str, tuple[Tensor, int]] = {}
        self.hooks: Hooks = []

    def __enter__(self) -> Trace:
        for name, module in self.folding.convs.items():
            self.hooks.append(module.register_forward_hook(self._made(name)))
        for name, module in self.folding.norms.items():
            self.hooks.append(module.register_forward_pre_hook(self._met(name)))
            inner = None if type(module).forward in PLAIN_FORWARDS else next(module.children(), None)
            keep = self._output(name)
            if inner is None:
                self.hooks.append(module.register_forward_hook(lambda _m, _a, out, keep=keep: keep(out)))
            else:
                self.hooks.append(inner.register_forward_pre_hook(lambda _m, args, keep=keep: keep(args[0])))
        return self

    def __exit__(self, *details: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _made(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            self.calls[name] += 1
            if isinstance(out, Tensor) and len(args) == 1:
                self.made[id(out)] = (name, out, out._version)

        return hook

    def _met(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            self.calls[name] += 1
            if len(args) == 1 and id(args[0]) in self.made:
                conv, out, version = self.made[id(args[0])]
                if out._version == version:
                    self.met.append((conv, name, out.grad_fn))

        return hook

    def _output(self, name: str) -> Callable[[Any], None]:
        def keep(out: Any) -> None:
            if isinstance(out, Tensor):
                self.outputs[name] = (out, out._version)

        return keep

    def pairs(self, logits: Tensor, slow: Iterable[str]) -> list[Pair]:
        """Return the pairs that may be folded, given the logits with their graph and the layers to leave as they are."""
        left, wanted, found = set(slow), self.folding.wanted, []
        readers = _readers(logits)
        for conv, norm, node in self.met:
            alone = self.calls[conv] == self.calls[norm] == 1 and readers[node] == 1
            if alone and norm in self.outputs and wanted & {conv, norm} and not left & {conv, norm}:
                y, version = self.outputs[norm]
                found.append(Pair(conv, norm, y._version != version and not _clipped(y, version)))
        return found


def _readers(logits: Tensor) -> Counter[Any]:
    """Count, for each node of the graph behind the logits, the places that its result goes to."""
    count: Counter[Any] = Counter()
    stack, seen = [logits.grad_fn], {logits.grad_fn}
    while stack:
        node = stack.pop()
        for following, _ in [] if node is None else node.next_functions:
            count[following] += 1
            if following not in seen:
                seen.add(following)
                stack.append(following)
    count[None] = 0  # no graph: nothing is known of who reads it
    return count
