r"""Per-sample squared gradients of a layer's weights, from its input and the gradient at its output.

For sample :math:`n` a layer that multiplies (Linear, convolution) has the weight gradient
:math:`G_n = g_n X_n^\top`, with :math:`g_n` ``(out, positions)`` the gradient at the output and :math:`X_n`
``(fan_in, positions)`` the input patches. What is wanted is :math:`\sum_n G_n \odot G_n`, or its sum over each row
(filter). Three routes give the row sums; the cheapest is taken, by counting multiplications:

* one position: :math:`\|g x^\top\|^2` factorises into :math:`g^2 \|x\|^2`;
* few positions: :math:`\|g_{n,o} X_n^\top\|^2 = g_{n,o} K_n g_{n,o}^\top` through the Gram matrix :math:`K_n = X_n^\top X_n`;
* otherwise: the product itself, squared.

The one assumption is that the first axis of a layer's input holds the samples, or a whole number of rows (windows, frames,
tokens) of each sample, one sample after the other. :mod:`t2v.fisher` checks it, and is the public side of this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import grad

Hooks = list[torch.utils.hooks.RemovableHandle]
#: (layer, its input, the gradient at its output) → parameter name → gradient of each sample ``(n, *parameter.shape)``.
Rule = Callable[[Any, Tensor, Tensor], Mapping[str, Tensor]]

#: Per-sample gradients are made in chunks of at most this many numbers.
CHUNK = 2**23


class MixesSamplesError(ValueError):
    """The samples of a batch are not independent of each other, so there is no gradient of one sample."""


class Store(dict[str, "Captured"]):
    """What the hooks of one forward pass captured; and, where faults are tolerated, why a layer cannot be captured."""

    tolerant = False

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, str] = {}

    def fault(self, name: str, reason: str) -> None:
        """Raise ValueError, or note the reason and forget the layer."""
        if not self.tolerant:
            raise ValueError(reason)
        self.faults.setdefault(name, reason)
        self.pop(name, None)


class Captured:
    """A layer's input during one forward pass, and the edge of the graph at its output."""

    edge: Any  # torch.autograd.graph.GradientEdge, which older torch versions do not export for typing
    #: The parameters that the handler knows, and the axis of the weights that counts filters.
    keys: tuple[str, ...] = ("weight", "bias")
    filter_axis = 0

    def __init__(self, module: Any, x: Tensor, name: str) -> None:
        self.module, self.x, self.name = module, x, name
        self.version = x._version
        self.shape: torch.Size = x.shape
        self.n = len(x) if x.ndim else 0  # samples; each has the same number of rows of the first axis

    @property
    def rows(self) -> int:
        """Rows of the first axis that belong to one sample."""
        return len(self.x) // self.n

    def holds(self, n: int, rows: int) -> bool:
        """Tell whether input and output hold ``rows`` rows of each of ``n`` samples along the first axis."""
        return self.x.ndim > 0 and len(self.x) == n * rows and self.shape[:1] == self.x.shape[:1]

    def fold(self, per_row: Tensor) -> Tensor:
        """Sum the gradients ``(n · rows, …)`` of the rows of each sample."""
        return per_row if self.rows == 1 else per_row.reshape(self.n, self.rows, *per_row.shape[1:]).sum(1)

    def attach(self, out: Tensor) -> Tensor:
        """Keep the edge of the graph at ``out`` (starting one if need be), and return what goes on through the network."""
        self.shape = out.shape
        if not out.requires_grad:
            # clone, so that an in-place activation behind it may overwrite it
            leaf = out.detach().requires_grad_()
            self.edge = torch.autograd.graph.get_gradient_edge(leaf)
            return leaf.clone()
        # The edge stays that of the value before an in-place operation on ``out``.
        self.edge = torch.autograd.graph.get_gradient_edge(out)
        return out

    def size(self, g: Tensor) -> float:
        """Bound the largest squared gradient of a weight from above, by Cauchy and Schwarz: the yardstick of rounding."""
        norm = float(torch.linalg.vector_norm(self.x)) if self.x.is_floating_point() else 0.0
        return float(torch.linalg.vector_norm(g)) ** 2 * max(norm**2, float(self.x.numel()))

    def squares(self, g: Tensor, pool: str | None) -> dict[str, Tensor]:
        """Return parameter name → squares; see :func:`t2v.fisher._stream` for ``pool``."""
        if self.x._version != self.version:
            raise ValueError(
                f"layer {self.name!r}: its input is overwritten in place later on; make that operation out-of-place"
            )
        # Under autocast both are bfloat16, in which sums over positions and samples would lose the small terms.
        self.x, g = _at_least_single(self.x), _at_least_single(g)
        self.version = self.x._version
        return {
            key: value
            for key, value in self.contract(g, pool).items()
            if getattr(self.module, key, None) is not None
        }

    def contract(self, g: Tensor, pool: str | None) -> dict[str, Tensor]:
        raise NotImplementedError

    def expected(self) -> Tensor:
        """Recompute the output from ``x``, to make sure that a subclass computes what this handler thinks."""
        raise NotImplementedError


def _at_least_single(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _reduce(per_sample: Tensor, pool: str | None) -> Tensor:
    """Reduce per-sample gradients ``(n, …)`` of a parameter without fan-in (bias, norm): square, then sum."""
    squares = per_sample.square()
    if pool == "sample":
        return squares.flatten(1).sum(1)
    total = squares.sum(0)
    return total.flatten(1).mean(1) if pool == "filter" and total.ndim > 1 else total


def _reduce_rows(rows: Tensor, pool: str | None, fan: int) -> Tensor:
    """Reduce per-sample squared row norms ``(n, out)``."""
    return rows.sum(1) if pool == "sample" else rows.sum(0) / fan


def square(gradient: Tensor, pool: str | None, filter_axis: int = 0) -> Tensor:
    """Square one sample's gradient of a parameter, and pool it as the handlers do."""
    squares = gradient.square()
    if pool == "sample":
        return squares.sum()[None]
    if pool == "filter" and squares.ndim > 1:
        return squares.movedim(filter_axis, 0).flatten(1).mean(1)
    return squares


class Product(Captured):
    """A layer that multiplies patches of its input by a matrix: Linear and the convolutions."""

    def patches(self) -> Tensor:
        """Return the input as ``(n, groups, fan_in, positions)``."""
        raise NotImplementedError

    def gradient(self, g: Tensor) -> Tensor:
        """Return the output gradient as ``(n, groups, out per group, positions)``."""
        raise NotImplementedError

    def products(self, g: Tensor) -> Iterator[Tensor]:
        """Yield the weight gradients g Xᵀ ``(chunk, groups, out, fan_in)`` of chunks of samples."""
        x = self.cached("patches", self.patches)
        size = self.chunk()
        for gs, xs in zip(g.split(size), x.split(size), strict=True):
            yield gs @ xs.mT

    def one_sample(self, t: Tensor) -> Tensor:
        """Turn ``(n · rows, groups, channels, positions)`` into ``(n, groups, channels, rows · positions)``."""
        if self.rows == 1:
            return t
        t = t.reshape(self.n, self.rows, *t.shape[1:])
        return t.permute(0, 2, 3, 1, 4).reshape(self.n, *t.shape[2:4], -1)

    def chunk(self) -> int:
        """How many samples' gradients may stand in memory together."""
        return max(1, CHUNK // int(self.module.weight.numel()))

    def contract(self, g: Tensor, pool: str | None) -> dict[str, Tensor]:
        g = self.gradient(g)
        squares = {}
        if self.module.bias is not None:
            squares["bias"] = _reduce(g.sum(3).flatten(1), pool)
        if pool is None:
            squares["weight"] = self.elementwise(g).reshape(self.module.weight.shape)
        else:
            fan = self.module.weight[0].numel()
            squares["weight"] = _reduce_rows(self.row_norms(g).flatten(1), pool, fan)
        return squares

    def elementwise(self, g: Tensor) -> Tensor:
        """Sum over the samples of the squared weight gradients ``(groups, out, fan_in)``."""
        if g.shape[3] == 1:  # (g xᵀ)² = g² (x²)ᵀ: no per-sample product is needed
            squares = self.cached("squares", lambda: self.patches()[..., 0].square())
            return torch.einsum("ngo,ngi->goi", g[..., 0].square(), squares)
        return torch.stack([part.square().sum(0) for part in self.products(g)]).sum(0)

    def row_norms(self, g: Tensor) -> Tensor:
        """Squared norms ``(n, groups, out)`` of the rows of each sample's weight gradient."""
        out, positions = g.shape[2:]
        fan = self.module.weight[0].numel()
        if positions == 1:
            norms = self.cached("norms", lambda: self.patches().square().sum((2, 3)))
            return g[..., 0].square() * norms[..., None]
        if positions * (fan + out) < fan * out:
            gram = self.cached("gram", lambda: _gram(self.patches()))
            return ((g @ gram) * g).sum(3)
        return torch.cat([torch.linalg.vector_norm(part, dim=3).square() for part in self.products(g)])

    def cached(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """Make what depends on the input alone once for all backward passes."""
        store: dict[str, Tensor] = self.__dict__.setdefault("store", {})
        if key not in store:
            store[key] = make()
        return store[key]


def _gram(x: Tensor) -> Tensor:
    return x.mT @ x


class LinearLayer(Product):
    """``nn.Linear`` on ``(n, …, in)``: the axes between are positions."""

    def patches(self) -> Tensor:
        return self.x.reshape(self.n, 1, -1, self.x.shape[-1]).mT

    def gradient(self, g: Tensor) -> Tensor:
        return g.reshape(self.n, 1, -1, g.shape[-1]).mT

    def expected(self) -> Tensor:
        return F.linear(self.x, self.module.weight, self.module.bias)


class ConvLayer(Product):
    """``nn.Conv1d``, ``2d``, ``3d``, with any stride, dilation, groups and padding (also TensorFlow's "same")."""

    @property
    def pointwise(self) -> bool:
        return all(k == s == 1 for k, s in zip(self.module.kernel_size, self.module.stride, strict=True))

    def patches(self) -> Tensor:
        m, x = self.module, self._padded()
        if not self.pointwise:
            x = F.unfold(x, m.kernel_size, dilation=m.dilation, stride=m.stride)
        return self.one_sample(x.reshape(len(x), m.groups, self.module.weight[0].numel(), -1))

    def gradient(self, g: Tensor) -> Tensor:
        groups = self.module.groups
        return self.one_sample(g.reshape(len(g), groups, g.shape[1] // groups, -1))

    def elementwise(self, g: Tensor) -> Tensor:
        if self._depthwise or not self._unfoldable:
            return torch.stack([part.square().sum(0) for part in self.products(g)]).sum(0)
        return super().elementwise(g)

    def row_norms(self, g: Tensor) -> Tensor:
        if self._depthwise or not self._unfoldable:
            return torch.cat([torch.linalg.vector_norm(part, dim=3).square() for part in self.products(g)])
        return super().row_norms(g)

    def products(self, g: Tensor) -> Iterator[Tensor]:
        """As in :class:`Product`; a chunk of samples is one grouped convolution, each sample a group of channels.

        Unfolding every patch would cost several times the convolution's own time.
        """
        if self.pointwise:
            yield from super().products(g)
            return
        x, m, rows = self.cached("padded", self._padded), self.module, self.rows
        size = max(1, self.chunk() // rows)
        few = g.shape[3] <= 10 * rows * m.weight[0, 0].numel()
        make = self._correlate if self._depthwise and few else self._weight_gradient
        for xs, gs in zip(x.split(size * rows), g.split(size), strict=True):
            parts = make(xs, self._each_row(gs)).reshape(len(gs), rows, m.groups, g.shape[2], -1)
            yield parts[:, 0] if rows == 1 else parts.sum(1)

    def _each_row(self, g: Tensor) -> Tensor:
        """Undo :meth:`one_sample`."""
        if self.rows == 1:
            return g
        n, groups, out, _ = g.shape
        return g.reshape(n, groups, out, self.rows, -1).permute(0, 3, 1, 2, 4).flatten(0, 1)

    @property
    def _depthwise(self) -> bool:
        return self.module.groups == self.module.in_channels > 1

    @property
    def _unfoldable(self) -> bool:
        return self.pointwise or self.x.ndim == 4

    def _weight_gradient(self, x: Tensor, g: Tensor) -> Tensor:
        """Call the library's own weight gradient of a convolution whose groups are samples × groups."""
        m, n = self.module, len(x)
        weight_gradient = {3: grad.conv1d_weight, 4: grad.conv2d_weight, 5: grad.conv3d_weight}[x.ndim]
        return weight_gradient(
            x.reshape(1, -1, *x.shape[2:]),
            (n * m.out_channels, *m.weight.shape[1:]),
            g.reshape(1, -1, *self.shape[2:]),
            stride=m.stride,
            dilation=m.dilation,
            groups=n * m.groups,
        )

    def _correlate(self, x: Tensor, g: Tensor) -> Tensor:
        """Do the same for a depthwise convolution on a small map, where this is faster.

        Each channel is correlated with its own output gradient; stride and dilation change places
        (Rochette et al., 2019).
        """
        m = self.module
        convolve = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.ndim]
        channels = x.reshape(1, -1, *x.shape[2:])
        kernels = g.reshape(-1, 1, *self.shape[2:])
        out = convolve(
            channels, kernels, None, stride=m.dilation, dilation=m.stride, groups=channels.shape[1]
        )
        for axis, k in enumerate(m.kernel_size):  # a stride may leave rows over at the end
            out = out.narrow(axis + 2, 0, k)
        return out

    def _padded(self) -> Tensor:
        m = self.module
        if type(m).forward in _PLAIN_FORWARDS:
            mode = "constant" if m.padding_mode == "zeros" else m.padding_mode
            pads = (
                m._reversed_padding_repeated_twice if isinstance(m.padding, str) else _both_sides(m.padding)
            )
        else:  # TensorFlow's "same": the padding follows from the sizes, and the odd pixel goes to the end
            mode, pads = "constant", self._same_padding()
        return F.pad(self.x, pads, mode=mode) if any(pads) else self.x

    def _same_padding(self) -> list[int]:
        m, pads = self.module, []
        sizes = zip(self.x.shape[2:], self.shape[2:], m.kernel_size, m.stride, m.dilation, strict=True)
        for size, out, k, s, d in reversed(list(sizes)):
            total = max(0, (out - 1) * s + d * (k - 1) + 1 - size)
            pads += [total // 2, total - total // 2]
        return pads

    def expected(self) -> Tensor:
        m = self.module
        convolve = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[self.x.ndim]
        return convolve(self._padded(), m.weight, m.bias, m.stride, 0, m.dilation, m.groups)


def _both_sides(padding: Sequence[int]) -> list[int]:
    return [p for p in reversed(padding) for _ in range(2)]


class BatchNormLayer(Captured):
    """Batch norm with running statistics: an affine map of each channel."""

    def normalised(self) -> Tensor:
        m = self.module
        if m.running_mean is None:
            raise MixesSamplesError(
                f"layer {self.name!r} ({type(m).__name__}) has no running statistics: it mixes the samples of a batch, so there"
                " is no gradient of one sample"
            )
        return F.batch_norm(self.x, m.running_mean, m.running_var, None, None, False, 0.0, m.eps)

    def contract(self, g: Tensor, pool: str | None) -> dict[str, Tensor]:
        g, x = g.flatten(2) if g.ndim > 2 else g[..., None], self.normalised()
        x = x.flatten(2) if x.ndim > 2 else x[..., None]
        return {
            "weight": _reduce(self.fold((g * x).sum(2)), pool),
            "bias": _reduce(self.fold(g.sum(2)), pool),
        }

    def expected(self) -> Tensor:
        m = self.module
        return F.batch_norm(self.x, m.running_mean, m.running_var, m.weight, m.bias, False, 0.0, m.eps)


class GroupNormLayer(BatchNormLayer):
    """Group norm: statistics of each sample, an affine map of each channel."""

    def normalised(self) -> Tensor:
        return F.group_norm(self.x, self.module.num_groups, None, None, self.module.eps)

    def expected(self) -> Tensor:
        return F.group_norm(
            self.x, self.module.num_groups, self.module.weight, self.module.bias, self.module.eps
        )


class LayerNormLayer(Captured):
    """Layer norm over the last axes; or over the channel axis of ``(n, c, h, w)``, as some subclasses do."""

    def _last(self, t: Tensor) -> Tensor:
        """Move the channel axis to the end for a channels-first subclass."""
        first = type(self.module).forward is not nn.LayerNorm.forward and t.ndim == 4
        return t.permute(0, 2, 3, 1) if first and t.shape[1] == self.module.normalized_shape[0] else t

    def contract(self, g: Tensor, pool: str | None) -> dict[str, Tensor]:
        m = self.module
        g, x = self._last(g), F.layer_norm(self._last(self.x), m.normalized_shape, None, None, m.eps)
        shape = (self.n, -1, *m.normalized_shape)
        return {
            "weight": _reduce((g * x).reshape(shape).sum(1), pool),
            "bias": _reduce(g.reshape(shape).sum(1), pool),
        }

    def expected(self) -> Tensor:
        m, x = self.module, self._last(self.x)
        y = F.layer_norm(x, m.normalized_shape, m.weight, m.bias, m.eps)
        return y.permute(0, 3, 1, 2) if x is not self.x else y


class EmbeddingLayer(Captured):
    """``nn.Embedding`` on integer ``(n, …)``; a filter is a column of the table (an output channel)."""

    filter_axis = 1

    def contract(self, g: Tensor, pool: str | None) -> dict[str, Tensor]:
        m, n = self.module, self.n
        rows, sample, sums = self._per_sample_rows(g.reshape(n, -1, m.embedding_dim))
        squares = sums.square()
        if pool == "sample":
            return {
                "weight": torch.zeros(n, dtype=g.dtype, device=g.device).index_add(0, sample, squares.sum(1))
            }
        if pool == "filter":
            return {"weight": squares.sum(0) / m.num_embeddings}
        return {"weight": torch.zeros_like(m.weight, dtype=g.dtype).index_add(0, rows, squares)}

    def _per_sample_rows(self, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the gradients of one sample that meet the same row: returns rows, samples and sums."""
        m, n = self.module, self.n
        index = self.x.reshape(n, -1)
        keys = index + torch.arange(n, device=index.device)[:, None] * m.num_embeddings
        used = index != (-1 if m.padding_idx is None else m.padding_idx)
        unique, where = keys[used].unique(return_inverse=True)
        sums = torch.zeros(len(unique), m.embedding_dim, dtype=g.dtype, device=g.device)
        return unique % m.num_embeddings, unique // m.num_embeddings, sums.index_add(0, where, g[used])

    def expected(self) -> Tensor:
        return F.embedding(self.x, self.module.weight)


class RuleLayer(Captured):
    """A layer of the user's own, with the rule that gives its per-sample gradients."""

    def __init__(self, rule: Rule, module: Any, x: Tensor, name: str) -> None:
        super().__init__(module, x, name)
        self.rule = rule

    def contract(self, g: Tensor, pool: str | None) -> dict[str, Tensor]:
        found = {}
        for key, gradient in self.rule(self.module, self.x, g).items():
            whole = getattr(self.module, key)
            if gradient.shape != (len(self.x), *whole.shape):
                raise ValueError(
                    f"layer {self.name!r}: the registered rule gives {tuple(gradient.shape)} for {key!r};"
                    f" {(len(self.x), *whole.shape)} is needed: one gradient for each row of the input"
                )
            found[key] = _reduce(self.fold(gradient).reshape(self.n, *whole.shape), pool)
        return found


_HANDLERS: tuple[tuple[type[nn.Module] | tuple[type[nn.Module], ...], type[Captured]], ...] = (
    (nn.Linear, LinearLayer),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), ConvLayer),
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), BatchNormLayer),
    (nn.GroupNorm, GroupNormLayer),
    (nn.LayerNorm, LayerNormLayer),
    (nn.Embedding, EmbeddingLayer),
)
_PLAIN_FORWARDS = {
    kind.forward for kinds, _ in _HANDLERS for kind in (kinds if isinstance(kinds, tuple) else (kinds,))
}


#: Layer classes of the user's own, see :func:`t2v.fisher.register`.
REGISTERED: dict[type[nn.Module], Rule | Literal["autograd"]] = {}


class Handler:
    """Attaches the hooks that capture one kind of layer."""

    def __init__(
        self, kind: Callable[[nn.Module, Tensor, str], Captured], keys: Sequence[str] | None
    ) -> None:
        self.kind, self.keys = kind, keys

    @property
    def verified(self) -> bool:
        """Whether the layer's output is nothing that this module could recompute."""
        return isinstance(self.kind, partial)

    def attach(self, module: nn.Module, name: str, store: Store) -> Hooks:
        """Capture ``module``'s input and output during each forward pass into ``store[name]``.

        A subclass may run an activation after the layer (timm's norm layers do): then its first child sees the
        layer's own output.
        """
        plain = self.verified or type(module).forward in _PLAIN_FORWARDS
        verified = plain
        inner = None if plain else next(module.children(), None)

        def before(_: nn.Module, args: tuple[Any, ...]) -> None:
            if name in store or name in store.faults:
                store.fault(
                    name, f"layer {name!r} is called more than once in a forward pass, which is not supported"
                )
            elif len(args) == 0 or not isinstance(args[0], Tensor):
                store.fault(
                    name, f"layer {name!r} was called without a positional tensor; its input cannot be kept"
                )
            else:
                store[name] = self.kind(module, args[0].detach(), name)

        def keep(out: Tensor) -> Tensor:
            nonlocal verified
            if name not in store:  # a fault that is tolerated
                return out
            captured = store[name]
            result = captured.attach(out)
            if not verified:
                if (reason := _verify(captured, out)) is not None:
                    store.fault(name, reason)
                verified = True
            return result

        hooks = [module.register_forward_pre_hook(before)]
        if inner is None:
            hooks.append(module.register_forward_hook(lambda _m, _a, out: keep(out)))
        else:
            hooks.append(inner.register_forward_pre_hook(lambda _m, args: (keep(args[0]), *args[1:])))
        return hooks


def _verify(captured: Captured, out: Tensor) -> str | None:
    """Return the reason to refuse a subclass whose output is not what its base class computes."""
    if out.is_meta:
        return None
    whole, out = captured.x, out[:1]
    with torch.no_grad():
        captured.x = whole[:1]
        expected = captured.expected()
        captured.x = whole
        scale = float(expected.abs().max()) + 1e-12
        if not math.isfinite(scale):
            return None  # NaN and infinity are refused later on, by the name of the sample
        # Two kernels for the same sum may round apart by one step of the format: 2⁻⁸ of the value in bfloat16.
        rtol, atol = (1e-3, 1e-4) if out.dtype in (torch.float32, torch.float64) else (2e-2, 1e-2)
        same = expected.shape == out.shape and torch.allclose(expected, out, rtol=rtol, atol=atol * scale)
    if same:
        return None
    kind = type(captured.module)
    return f"layer {captured.name!r}: {kind.__name__} computes something else than {kind.__bases__[0].__name__}; not supported"


def handler_for(module: nn.Module) -> Handler | Literal["autograd"] | None:
    """Return the handler of a layer; ``"autograd"`` where its class was registered so; None where there is none."""
    for cls in type(module).__mro__:
        if cls in REGISTERED:
            rule = REGISTERED[cls]
            return rule if isinstance(rule, str) else Handler(partial(RuleLayer, rule), None)
    for kinds, kind in _HANDLERS:
        if isinstance(module, kinds):
            return Handler(kind, kind.keys)
    return None
