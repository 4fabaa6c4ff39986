r"""Per-sample squared gradients of a layer's weights, from its input and the gradient at its output.

For sample :math:`n` a layer that multiplies (Linear, convolution) has the weight gradient
:math:`G_n = g_n X_n^\top`, with :math:`g_n` ``(out, positions)`` the gradient at the output and :math:`X_n`
``(fan_in, positions)`` the input patches. What is wanted is :math:`\sum_n G_n \odot G_n`, or its sum over each row
(filter). Three routes give the row sums; the cheapest is taken, by counting multiplications at the speeds measured:

* one position: :math:`\|g x^\top\|^2` factorises into :math:`g^2 \|x\|^2`;
* few positions: :math:`\|g_{n,o} X_n^\top\|^2 = g_{n,o} K_n g_{n,o}^\top` through the Gram matrix :math:`K_n = X_n^\top X_n`;
  that of the patches of a convolution is a sum of shifted Gram matrices of its input's pixels, which need no patches;
* otherwise: the product itself, squared, a few samples at a time in a buffer that stays in the processor's cache.

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
#: On a CPU, where they pass through a buffer, of this many: it stays in the processor's cache.
BUFFER = 2**18
#: From this many positions on, a grouped convolution makes them faster than matrix products of patches.
_MANY = 256
#: Speed of the small products behind a Gram matrix of patches, relative to the large ones of the direct route; and what
#: adding one number of a shifted Gram matrix of pixels costs, in multiplications. Both measured, see benchmarks/fisher.py.
_GRAM_SPEED, _SHIFT = 0.7, 12


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

    def intact(self) -> bool:
        """Tell whether what was captured is still what it was."""
        return self.x._version == self.version

    def squares(self, g: Tensor, pool: str | None) -> dict[str, Tensor]:
        """Return parameter name → squares; see :func:`t2v.fisher._stream` for ``pool``."""
        if not self.intact():
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


def room(t: Tensor) -> int:
    """How many numbers may pass together on the device of ``t``."""
    return BUFFER if t.device.type == "cpu" else CHUNK


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
    if pool == "sample":
        return torch.linalg.vector_norm(gradient).square()[None]
    if pool == "filter" and gradient.ndim > 1:
        others = [axis for axis in range(gradient.ndim) if axis != filter_axis]
        fan = gradient.numel() // gradient.shape[filter_axis]
        return torch.linalg.vector_norm(gradient, dim=others).square() / fan
    return gradient.square()


class Product(Captured):
    """A layer that multiplies patches of its input by a matrix: Linear and the convolutions."""

    #: Factors ``(out,)`` of the outputs, behind the product: a batch norm that the layer computes along with it.
    scale: Tensor | None = None

    def patches(self) -> Tensor:
        """Return the input as ``(n, groups, fan_in, positions)``."""
        raise NotImplementedError

    def gradient(self, g: Tensor) -> Tensor:
        """Return the output gradient as ``(n, groups, out per group, positions)``."""
        raise NotImplementedError

    @property
    def biased(self) -> bool:
        """Whether the layer has a bias of its own."""
        return self.module.bias is not None

    def products(self, g: Tensor) -> Iterator[Tensor]:
        """Yield the weight gradients g Xᵀ ``(chunk, groups, out, fan_in)`` of chunks of samples, each in place of the last.

        One buffer serves all: memory that is new each time costs more than the product.
        """
        x = self.cached("patches", self.patches)
        size = min(len(g), max(1, room(g) // int(self.module.weight.numel())))
        buffer = g.new_empty(size, *g.shape[1:3], x.shape[2])
        for gs, xs in zip(g.split(size), x.split(size), strict=True):
            part = buffer[: len(gs)]
            torch.bmm(gs.flatten(0, 1), xs.flatten(0, 1).mT, out=part.flatten(0, 1))
            yield part

    def one_sample(self, t: Tensor) -> Tensor:
        """Turn ``(n · rows, groups, channels, positions)`` into ``(n, groups, channels, rows · positions)``."""
        if self.rows == 1:
            return t
        t = t.reshape(self.n, self.rows, *t.shape[1:])
        return t.permute(0, 2, 3, 1, 4).reshape(self.n, *t.shape[2:4], -1)

    def contract(self, g: Tensor, pool: str | None) -> dict[str, Tensor]:
        g, scale = self.gradient(g), self.scale
        squares = {}
        if self.biased:
            sums = g.sum(3).flatten(1)
            squares["bias"] = _reduce(sums if scale is None else sums * scale, pool)
        if pool is None:
            total = self.elementwise(g).reshape(self.module.weight.shape)
            by_filter = (-1, *[1] * (total.ndim - 1))
            squares["weight"] = total if scale is None else total * scale.square().reshape(by_filter)
        else:
            rows = self.row_norms(g).flatten(1)
            fan = self.module.weight[0].numel()
            squares["weight"] = _reduce_rows(rows if scale is None else rows * scale.square(), pool, fan)
        return squares

    def elementwise(self, g: Tensor) -> Tensor:
        """Sum over the samples of the squared weight gradients ``(groups, out, fan_in)``."""
        if g.shape[3] == 1:  # (g xᵀ)² = g² (x²)ᵀ: no per-sample product is needed
            squares = self.cached("squares", lambda: self.patches()[..., 0].square())
            return torch.einsum("ngo,ngi->goi", g[..., 0].square(), squares)
        return self.sum_of_squares(g)

    def sum_of_squares(self, g: Tensor) -> Tensor:
        """Do the same through the products."""
        total: Tensor | None = None
        for part in self.products(g):
            if total is None:
                total = torch.zeros_like(part[0])
            if len(part) == 1:
                total.addcmul_(part[0], part[0])
            else:
                total += part.square().sum(0)
        assert total is not None  # there is a sample
        return total

    def row_norms(self, g: Tensor) -> Tensor:
        """Squared norms ``(n, groups, out)`` of the rows of each sample's weight gradient."""
        out, positions = g.shape[2:]
        fan = self.module.weight[0].numel()
        if positions == 1:
            norms = self.cached("norms", lambda: self.patches().square().sum((2, 3)))
            return g[..., 0].square() * norms[..., None]
        cost, make = self.gram(positions, out, fan)
        if cost < positions * fan * out:
            return ((g @ self.cached("gram", make)) * g).sum(3)
        return self.norms_of_products(g)

    def norms_of_products(self, g: Tensor) -> Tensor:
        """Do the same through the products."""
        return torch.cat([torch.linalg.vector_norm(part, dim=3) for part in self.products(g)]).square_()

    def gram(self, positions: int, out: int, fan: int) -> tuple[float, Callable[[], Tensor]]:
        """Return what the route through the Gram matrix costs, in multiplications a sample and group, and the matrix."""
        return positions**2 * (fan + out) / _GRAM_SPEED, lambda: _gram(self.patches())

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
        return all(k == 1 for k in self.module.kernel_size)

    @property
    def single(self) -> bool:
        """Whether the output is one position: then the whole kernel meets one patch."""
        return math.prod(self.shape[2:]) == 1

    def patches(self) -> Tensor:
        m, x = self.module, self._padded(self.x)
        if self.single:
            for axis, (k, d) in enumerate(zip(m.kernel_size, m.dilation, strict=True), start=2):
                x = x.narrow(axis, 0, (k - 1) * d + 1)
                x = x[(slice(None),) * axis + (slice(None, None, d),)]
        elif self.pointwise:
            for axis, stride in enumerate(m.stride, start=2):
                x = x[(slice(None),) * axis + (slice(None, None, stride),)]
        else:
            x = F.unfold(x, m.kernel_size, dilation=m.dilation, stride=m.stride)
        fan = m.weight[0].numel()
        return self.one_sample(x.reshape(len(x), m.groups, fan, 1 if self.single else -1))

    def gradient(self, g: Tensor) -> Tensor:
        groups = self.module.groups
        return self.one_sample(g.reshape(len(g), groups, g.shape[1] // groups, -1))

    def elementwise(self, g: Tensor) -> Tensor:
        return super().elementwise(g) if self._as_matrix else self.sum_of_squares(g)

    def row_norms(self, g: Tensor) -> Tensor:
        return super().row_norms(g) if self._as_matrix else self.norms_of_products(g)

    @property
    def _as_matrix(self) -> bool:
        """Whether the layer is a product with patches that can be had."""
        return self.pointwise or self.single or (self.x.ndim == 4 and not self._depthwise)

    def products(self, g: Tensor) -> Iterator[Tensor]:
        """As in :class:`Product`; or, on large maps, a chunk of samples is one grouped convolution, a sample a group.

        Unfolding every patch there would cost several times the convolution's own time.
        """
        m, rows, positions = self.module, self.rows, g.shape[3]
        few = positions < _MANY * rows and m.groups == 1 and self.x.ndim == 4
        if self.pointwise or self.single or few:
            yield from super().products(g)
            return
        size = CHUNK // int(m.weight.numel())
        if self._depthwise:  # maps, and not products, are what fills the cache here
            size = min(size, 4 * room(g) // self.x[0].numel())
        size = max(1, size // rows)
        large = min(m.kernel_size) >= 5 or positions <= 10 * rows * m.weight[0, 0].numel()
        make = self._correlate if self._depthwise and large else self._weight_gradient
        for xs, gs in zip(self.x.split(size * rows), g.split(size), strict=True):
            parts = make(xs, self._each_row(gs)).reshape(len(gs), rows, m.groups, g.shape[2], -1)
            yield parts[:, 0] if rows == 1 else parts.sum(1)

    def gram(self, positions: int, out: int, fan: int) -> tuple[float, Callable[[], Tensor]]:
        m, patches = self.module, super().gram(positions, out, fan)
        if self.x.ndim != 4 or self.pointwise or self.rows > 1 or m.groups > 1 or set(m.stride) != {1}:
            return patches
        kernel = math.prod(m.kernel_size)
        sides = zip(self.shape[2:], m.kernel_size, m.dilation, strict=True)
        pixels = math.prod(side + (k - 1) * d for side, k, d in sides)
        cost = pixels**2 * m.in_channels + positions**2 * (out + _SHIFT * kernel)
        return min(patches, (cost, self._pixel_gram), key=lambda route: route[0])

    def _pixel_gram(self) -> Tensor:
        """Return the Gram matrices ``(n, 1, positions, positions)`` of the patches as sums of shifted ones of the pixels.

        Patches p and q share Σ_δ x(p + δ)·x(q + δ), with δ over the kernel: each is a product of two pixels.
        """
        m, x, (height, width) = self.module, self._padded(self.x), self.shape[2:]
        pixels = _gram(x.flatten(2)).reshape(len(x), *x.shape[2:], *x.shape[2:])
        total = torch.zeros(len(x), height, width, height, width, dtype=x.dtype, device=x.device)
        for i in range(0, m.kernel_size[0] * m.dilation[0], m.dilation[0]):
            for j in range(0, m.kernel_size[1] * m.dilation[1], m.dilation[1]):
                rows, columns = slice(i, i + height), slice(j, j + width)
                total += pixels[:, rows, columns, rows, columns]
        return total.reshape(len(x), 1, height * width, height * width)

    def _each_row(self, g: Tensor) -> Tensor:
        """Undo :meth:`one_sample`."""
        if self.rows == 1:
            return g
        n, groups, out, _ = g.shape
        return g.reshape(n, groups, out, self.rows, -1).permute(0, 3, 1, 2, 4).flatten(0, 1)

    @property
    def _depthwise(self) -> bool:
        return self.module.groups == self.module.in_channels > 1

    def _weight_gradient(self, x: Tensor, g: Tensor) -> Tensor:
        """Call the library's own weight gradient of a convolution whose groups are samples × groups."""
        m, n = self.module, len(x)
        mode, pads = self._padding()
        even = mode == "constant" and pads[::2] == pads[1::2]  # what the library pads need not be copied
        x = x if even else self._padded(x)
        weight_gradient = {3: grad.conv1d_weight, 4: grad.conv2d_weight, 5: grad.conv3d_weight}[x.ndim]
        return weight_gradient(
            x.reshape(1, -1, *x.shape[2:]),
            (n * m.out_channels, *m.weight.shape[1:]),
            g.reshape(1, -1, *self.shape[2:]),
            stride=m.stride,
            padding=pads[::-2] if even else 0,
            dilation=m.dilation,
            groups=n * m.groups,
        )

    def _correlate(self, x: Tensor, g: Tensor) -> Tensor:
        """Do the same for a depthwise convolution on a small map, where this is faster.

        Each channel is correlated with its own output gradient; stride and dilation change places
        (Rochette et al., 2019). Places of the kernel that meet nothing but padding are left out: most of a kernel of
        5 × 5 on a map of 2 × 2.
        """
        m = self.module
        convolve = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.ndim]
        met, zeros = self._met()
        x = self._padded(x)
        for axis, (first, last) in enumerate(met, start=2):
            reach = (self.shape[axis] - 1) * m.stride[axis - 2]
            start, stop = first * m.dilation[axis - 2], last * m.dilation[axis - 2] + reach + 1
            x = x.narrow(axis, start, stop - start)
        channels = x.reshape(1, -1, *x.shape[2:])
        kernels = g.reshape(-1, 1, *self.shape[2:])
        out = convolve(
            channels, kernels, None, stride=m.dilation, dilation=m.stride, groups=channels.shape[1]
        )
        return F.pad(out, zeros) if any(zeros) else out

    def _met(self) -> tuple[list[tuple[int, int]], list[int]]:
        """Return the first and the last place of the kernel, along each axis, that meets the input, and how many do not."""
        m, (mode, pads) = self.module, self._padding()
        met: list[tuple[int, int]] = []
        zeros: list[int] = []
        for axis, (k, s, d, pad) in enumerate(
            zip(m.kernel_size, m.stride, m.dilation, pads[-2::-2], strict=True)
        ):
            size, reach = self.x.shape[axis + 2], (self.shape[axis + 2] - 1) * s
            first, last = max(0, -(-(pad - reach) // d)), min(k - 1, (pad + size - 1) // d)
            if mode != "constant":
                first, last = 0, k - 1
            met.append((first, last))
            zeros = [first, k - 1 - last, *zeros]
        return met, zeros

    def _padding(self) -> tuple[str, list[int]]:
        """Return how the input is padded: the mode, and (before, after) of each axis from the last to the first."""
        m = self.module
        if type(m).forward in PLAIN_FORWARDS:
            mode = "constant" if m.padding_mode == "zeros" else m.padding_mode
            same = (
                m._reversed_padding_repeated_twice if isinstance(m.padding, str) else _both_sides(m.padding)
            )
            return mode, list(same)
        # TensorFlow's "same": the padding follows from the sizes, and the odd pixel goes to the end
        return "constant", self._same_padding()

    def _padded(self, x: Tensor) -> Tensor:
        mode, pads = self._padding()
        return F.pad(x, pads, mode=mode) if any(pads) else x

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
        return convolve(self._padded(self.x), m.weight, m.bias, m.stride, 0, m.dilation, m.groups)


def _both_sides(padding: Sequence[int]) -> list[int]:
    return [p for p in reversed(padding) for _ in range(2)]


class BatchNormLayer(Captured):
    """Batch norm with running statistics: an affine map of each channel."""

    def normalised(self, x: Tensor) -> Tensor:
        m = self.module
        if m.running_mean is None:
            raise MixesSamplesError(
                f"layer {self.name!r} ({type(m).__name__}) has no running statistics: it mixes the samples of a batch, so there"
                " is no gradient of one sample"
            )
        return F.batch_norm(x, m.running_mean, m.running_var, None, None, False, 0.0, m.eps)

    def slopes(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients ``(n · rows, channels)`` of the weights and of the biases."""
        parts = [over_positions(gs * self.normalised(xs)) for gs, xs in small_parts(g, self.x)]
        return torch.cat(parts), over_positions(g)

    def contract(self, g: Tensor, pool: str | None) -> dict[str, Tensor]:
        weight, bias = self.slopes(g)
        return {"weight": _reduce(self.fold(weight), pool), "bias": _reduce(self.fold(bias), pool)}

    def expected(self) -> Tensor:
        m = self.module
        return F.batch_norm(self.x, m.running_mean, m.running_var, m.weight, m.bias, False, 0.0, m.eps)


def small_parts(g: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Split two maps along the first axis, so that what is made of a part stays in the processor's cache."""
    size = max(1, room(g) // max(1, g[0].numel()))
    return zip(g.split(size), x.split(size), strict=True)


def over_positions(t: Tensor) -> Tensor:
    """Sum ``(n, channels, …)`` over all axes behind the channels."""
    return t.sum(tuple(range(2, t.ndim))) if t.ndim > 2 else t


class GroupNormLayer(BatchNormLayer):
    """Group norm: statistics of each sample, an affine map of each channel."""

    def normalised(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.module.num_groups, None, None, self.module.eps)

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
PLAIN_FORWARDS = {
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

    def attach(self, module: nn.Module, name: str, store: Store, trusted: bool = False) -> Hooks:
        """Capture ``module``'s input and output during each forward pass into ``store[name]``.

        A subclass may run an activation after the layer (timm's norm layers do): then its first child sees the
        layer's own output. ``trusted``: what a subclass computes is held against autograd elsewhere, and not here.
        """
        plain = self.verified or type(module).forward in PLAIN_FORWARDS
        verified = plain or trusted
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
