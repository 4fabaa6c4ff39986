"""Sweep the price of information in the weights, and see what longer training moves: what chapter 6 draws.

Usage: python scripts/weights_run.py [--out book/runs/weights] [--steps 2000 4000]

A network of one hidden layer learns scikit-learn's digits with Gaussian weights, at each price of
:data:`PRICES`, from m images whose labels are true, half replaced at random, or all random; three seeds each
(initial weights, images, labels). What is run is listed in :data:`PLAN`; to tell what longer training would
move, 400 images with random labels are trained once more with twice the steps, and so are 800 with half random
ones, at two prices.

- ``sweep.csv``: one row a network: KL in nats, losses in nats a sample, errors of weights drawn from the
  posterior, on its own m images and on the images that no network of its split was shown;
- ``config.json``: command, date, versions, machine.

The table is written after each sweep: a run that was stopped goes on where it was. A split is a division of
the images into those that may be trained on and those that test.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Idle threads that spin slow a shared machine to a crawl; both must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).resolve().parent))
from library_run import ROOT, about, kept

from t2v import training, weights
from t2v._files import table, write_text

PRICES = (0.001, 0.04, 0.08, 0.16, 0.25, 0.4)
#: The share of the labels that are permuted among themselves.
KINDS = {"half random": 0.5, "random": 1.0, "true": 0.0}
SEEDS, POOL, HIDDEN = 3, 1000, 64
OPTIONS: dict[str, Any] = {"batch_size": 100, "lr": 5e-2, "prior": "per_layer", "init_log_var": -6.0}
NUMBERS = ("kl", "train_loss", "train_error", "test_loss", "test_error")
COLUMNS = ("split", "m", "steps", "labels", "seed", "beta", *NUMBERS)


class Setting(NamedTuple):
    """One sweep: a division of the images, how many are trained on, for how long, and with which labels."""

    split: int
    m: int
    steps: int
    labels: str


#: In the order in which they are run.
PLAN = [
    *(Setting(0, 400, steps, "half random") for steps in (2000, 4000)),
    *(Setting(0, 800, steps, "half random") for steps in (2000, 4000)),
    *(Setting(0, 400, steps, "random") for steps in (2000, 4000)),
    Setting(0, 400, 2000, "true"),
]
#: Where not all prices are run: the lowest, and the one that was best after half the steps.
FEWER = {Setting(0, 800, 4000, "half random"): (0.001, 0.25)}


def images(split: int) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Return the images that may be trained on, and those that test: pixels from 0 to 1, and digits."""
    pixels, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(split).permutation(len(pixels))
    x = torch.tensor(pixels[order] / 16, dtype=torch.float32)
    y = torch.tensor(digits[order])
    return (x[:POOL], y[:POOL]), (x[POOL:], y[POOL:])


def labels(y: torch.Tensor, kind: str, split: int) -> torch.Tensor:
    """Return one row of labels for each seed; the test set's stay true."""
    share = KINDS[kind]
    return torch.stack([training.shuffled(y, fraction=share, seed=100 * split + s) for s in range(SEEDS)])


def measure(setting: Setting, prices: Sequence[float] = PRICES) -> weights.Sweep:
    """Train and score one sweep."""
    (x, y), fresh = images(setting.split)
    return weights.sweep(
        lambda seed: training.mlp([x.shape[1], HIDDEN, 10], seed=100 * setting.split + seed),
        (x, labels(y, setting.labels, setting.split)),
        fresh,
        prices,
        m=setting.m,
        seeds=SEEDS,
        steps=setting.steps,
        seed=setting.split,
        **OPTIONS,
    )


def lines(setting: Setting, found: weights.Sweep) -> Iterator[list[Any]]:
    """Yield the rows of one sweep, by seed and price."""
    for seed in range(len(found.kl)):
        for j, beta in enumerate(found.betas):
            numbers = [float(getattr(found, name)[seed, j]) for name in NUMBERS]
            yield [*setting, seed, float(beta), *numbers]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing of the plan, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "runs" / "weights")
    parser.add_argument("--steps", type=int, nargs="*", help="only these numbers of steps of the plan")
    args = parser.parse_args(arguments)
    rows = kept(args.out / "sweep.csv", COLUMNS)
    place = {tuple(map(str, setting)): k for k, setting in enumerate(PLAN)}
    done = {tuple(row[: len(Setting._fields)]) for row in rows}
    for setting in PLAN:
        if tuple(map(str, setting)) in done or (args.steps and setting.steps not in args.steps):
            continue
        rows += [
            [str(v) for v in line[:6]] + [f"{v:.5g}" for v in line[6:]]
            for line in lines(setting, measure(setting, FEWER.get(setting, PRICES)))
        ]
        rows.sort(key=lambda row: place.get(tuple(row[: len(Setting._fields)]), len(PLAN)))
        write_text(args.out / "sweep.csv", table(COLUMNS, rows))
        print(*setting, flush=True)
    settings = {"prices": PRICES, "seeds": SEEDS, "pool": POOL, "hidden": HIDDEN, **OPTIONS}
    config = about("python scripts/weights_run.py") | settings
    write_text(args.out / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
