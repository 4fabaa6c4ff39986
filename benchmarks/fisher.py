"""Speed of the per-filter Fisher diagonal, as ratios within one run.

Compares, on the same batch: one plain training step (forward and backward of the cross-entropy, all weights with
gradients), ``fisher.diagonal`` with one backward pass (rademacher), and a loop over samples with plain autograd.

Usage: python benchmarks/fisher.py [--probe tf_efficientnet_lite0] [--size 64] [--batch 64] [--repeats 7] [--device cpu]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import timm
import torch
from torch import Tensor, nn

from t2v import fisher


def plain_step(model: nn.Module, x: Tensor, y: Tensor) -> None:
    for p in model.parameters():
        p.requires_grad_(True)
    model.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(model(x), y).backward()


def per_sample_loop(model: nn.Module, x: Tensor, weights: list[Tensor]) -> list[Tensor]:
    total = [torch.zeros(len(w), device=w.device) for w in weights]
    for p in model.parameters():
        p.requires_grad_(True)
    for i in range(len(x)):
        log_p = model(x[i : i + 1]).log_softmax(1)[0]
        y = int(torch.multinomial(log_p.detach().exp(), 1))
        for t, g in zip(total, torch.autograd.grad(log_p[y], weights), strict=True):
            t += g.square().flatten(1).mean(1)
    return total


def seconds(run: Callable[[], object], device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--probe", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--classes", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-loop", action="store_true", help="leave out the naive loop over samples")
    args = parser.parse_args()

    torch.manual_seed(0)
    model = timm.create_model(args.probe, num_classes=args.classes).to(args.device).eval()
    x = torch.randn(args.batch, 3, args.size, args.size, device=args.device)
    y = torch.randint(args.classes, (args.batch,), device=args.device)
    convolutions = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    layers = [f"{n}.weight" for n in convolutions]
    weights = [model.get_parameter(name) for name in layers]
    runs: dict[str, Callable[[], object]] = {
        "plain forward+backward": lambda: plain_step(model, x, y),
        "fisher.diagonal, rademacher": lambda: fisher.diagonal(
            model, x, expectation="rademacher", pool="filter", layers=layers, batch_size=args.batch
        ),
    }
    if not args.no_loop:
        runs["loop over samples"] = lambda: per_sample_loop(model, x, weights)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(
        args.repeats + 1
    ):  # interleaved, so that a busy machine slows all alike; the first is a warm-up
        for name, run in runs.items():
            times[name].append(seconds(run, args.device))
    base = statistics.median(times["plain forward+backward"][1:])
    print(f"{args.probe}, {args.size} px, batch {args.batch}, {len(layers)} layers, {args.device}")
    for name, values in times.items():
        median = statistics.median(values[1:])
        print(f"{name:30s} {1e3 * median / args.batch:8.2f} ms an image   ratio {median / base:6.2f}")


if __name__ == "__main__":
    main()
