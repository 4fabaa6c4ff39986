"""Speed of the Fisher diagonal, all layers, as ratios to a plain training step in the same process.

A plain step is the forward and backward pass of the cross-entropy in eval mode, all weights with gradients, on the same
batch, in the usual memory order (NCHW). All variants take turns in one process, so that a busy machine slows them alike;
what is compared are medians of processor seconds (on a GPU: of the clock's). Weights are random, and so are the slopes and
statistics of the batch norms. Columns:

* ``channels last``: the plain step on pictures in that order, in which convolutions are faster;
* ``pooled``, ``pooled, channels last``: ``fisher.diagonal(pool="filter")``, one backward pass (rademacher), without the
  self-check, for either order of the pictures;
* ``with check``: the same on the plain order, with the self-check, as a call makes it by default;
* ``a further batch``: what a call without the check on two such batches takes more than one on the first alone: each call
  looks once at the network;
* ``unpooled``, and with ``--peers`` on ResNet-18 what other libraries take for the same squares, one draw a sample: BackPACK's
  ``DiagGGNMC`` and ``torch.func``'s ``vmap(grad)``.

Usage: python benchmarks/fisher.py [--only resnet18] [--repeats 5] [--unpooled] [--peers] [--device cpu]
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import timm
import torch
from torch import Tensor, nn

from t2v import fisher

#: Network, pixels a side, pictures.
CASES = (
    ("tf_efficientnet_lite0", 32, 64),
    ("tf_efficientnet_lite0", 64, 32),
    ("tf_efficientnet_lite0", 128, 16),
    ("tf_efficientnet_lite0", 224, 8),
    ("resnet18", 64, 32),
    ("resnet18", 224, 8),
    ("resnet34", 64, 32),
    ("vit_tiny_patch16_224", 224, 8),
)
CLASSES = 24


def network(name: str, device: str) -> nn.Module:
    """Return a network in eval mode with random weights, none of them zero or one throughout."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            module.get_buffer("running_mean").normal_(std=0.1)
            module.get_buffer("running_var").uniform_(0.5, 1.5)
    return model.to(device)


def plain_step(model: nn.Module, x: Tensor, y: Tensor) -> None:
    for p in model.parameters():
        p.requires_grad_(True)
    model.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(model(x), y).backward()
    model.zero_grad(set_to_none=True)


def diagonal(
    model: nn.Module, x: Tensor | list[Tensor], pool: fisher.Pool | None = "filter", check: bool = False
) -> None:
    layers: fisher.Layers | None = "supported" if hasattr(model, "cls_token") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the class token and the positions of a transformer are left out
        fisher.diagonal(
            model,
            x,
            expectation="rademacher",
            pool=pool,
            layers=layers,
            batch_size=max(map(len, x)) if isinstance(x, list) else len(x),
            check=check or layers is not None,
        )


def vmap_squares(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Square the gradients of all samples, which ``torch.func`` makes together."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def loss(p: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, (p, buffers), (one[None],))
        return nn.functional.cross_entropy(logits, label[None])

    grads = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, x, y)
    return {name: g.square().sum(0) for name, g in grads.items()}


def backpack_step(model: nn.Module) -> Callable[[Tensor, Tensor], object]:
    """Return BackPACK's Monte Carlo diagonal of the same matrix; it wants activations that are not in place."""
    from backpack import backpack, extend
    from backpack.extensions import DiagGGNMC

    own = copy.deepcopy(model)
    for module in own.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 (a module declares no such attribute)
    own, loss = extend(own.requires_grad_(True), use_converter=True), extend(nn.CrossEntropyLoss())

    def run(x: Tensor, y: Tensor) -> None:
        own.zero_grad()
        with backpack(DiagGGNMC(mc_samples=1)):
            loss(own(x), y).backward()

    return run


def seconds(run: Callable[[], object], device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    if device != "cpu":
        torch.cuda.synchronize()
    start = clock()
    run()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def variants(args: argparse.Namespace, name: str, size: int, batch: int) -> dict[str, Callable[[], object]]:
    """Return what is timed for one network, the plain step first."""
    model = network(name, args.device)
    x = torch.randn(batch, 3, size, size, device=args.device)
    y = torch.randint(CLASSES, (batch,), device=args.device)
    last = x.contiguous(memory_format=torch.channels_last)
    runs: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_step(model, x, y),
        "channels last": lambda: plain_step(model, last, y),
        "pooled": lambda: diagonal(model, x),
        "pooled, channels last": lambda: diagonal(model, last),
        "with check": lambda: diagonal(model, x, check=True),
        "a further batch": lambda: diagonal(model, [x, x]),
    }
    if args.unpooled or args.peers:
        runs["unpooled"] = lambda: diagonal(model, x, None)
    if args.peers and name == "resnet18" and size == 64:
        peer = backpack_step(model)
        runs["BackPACK, unpooled"] = lambda: peer(x, y)
        runs["vmap(grad), unpooled"] = lambda: vmap_squares(model, x, y)
    return runs


def measure(runs: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, float]:
    """Return the median seconds of each; they take turns, and the first turn is a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            times[name].append(seconds(run, device))
    times["a further batch"] = [b - a for a, b in zip(times["pooled"], times["a further batch"], strict=True)]
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="the networks whose name holds this")
    parser.add_argument("--size", type=int, help="the cases of this many pixels a side")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--unpooled", action="store_true")
    parser.add_argument("--peers", action="store_true")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error(f"--repeats {args.repeats}: at least 1 is needed")
    for name, size, batch in CASES:
        if args.only not in name or args.size not in (None, size):
            continue
        found = measure(variants(args, name, size, batch), args.repeats, args.device)
        base = found["plain"]
        print(f"{name}, {size} px, {batch} pictures, {args.device}: plain step {1e3 * base:.0f} ms")
        for variant, value in found.items():
            print(
                f"  {variant:24s} {1e3 * value / batch:8.2f} ms a picture   ratio {value / base:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
