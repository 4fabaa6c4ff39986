"""What random weights lack: controls for the fine-tuning run, on every fourth of its drawn tasks.

Usage: python scripts/scratch_run.py RUNS [--out book/runs/finetune]

Random weights may lose to the probe because they were trained too briefly, or because the shots are few. ``scratch.csv``
has one row a target, start (``probe``, ``scratch``) and setting, with the test error:

- ``shots``: as in drawn.csv;
- ``longer``: the same with three times the steps (random weights have three times those of the probe already);
- ``all``: all training images of the task instead of its shots: ``EPOCHS`` passes from random weights at the best of two
  rates, by the fifth of the training images that is held out; the probe with 4 passes, at the rate of the run.

RUNS is the folder of scripts/finetune_run.py, whose tasks, seed and recipes are used, and keeps what is done.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from finetune_run import DRAWN, EXPERT_EPOCHS, LONGER, PROBE, SCRATCH, Run, keep, random_start, read, recipe
from library_run import ROOT

from t2v import probes, tasks, transfer
from t2v._files import table, write_text
from t2v.transfer import Recipe

EPOCHS = 16
RATES = (1e-3, 3e-3)
TARGETS = DRAWN.names[::4]


def error(network: probes.Probe, task: tasks.Task) -> float:
    """Return the test error."""
    return float((network.classify(task.test.images).argmax(1) != task.test.labels).mean())


def settings(run: Run, target: str) -> Iterator[tuple[str, str, float]]:
    """Yield start, setting and test error."""
    few, whole = run.part.few(run.task(target), run.seed), run.task(target)
    starts = {
        PROBE: (run.probe, recipe(run, target)),
        SCRATCH: (random_start(run), recipe(run, target, "scratch")),
    }
    for name, (start, by) in starts.items():
        for setting, times in (("shots", 1), ("longer", LONGER)):
            longer = dataclasses.replace(by, epochs=times * by.epochs)
            yield name, setting, error(longer.train(start, few, seed=run.seed, device="cpu"), few)
        grid = [dataclasses.replace(by, epochs=EXPERT_EPOCHS)]
        if name == SCRATCH:
            grid = [Recipe(rate, EPOCHS, by.batch_size, by.statistics) for rate in RATES]
            grid = [min(grid, key=partial(held_out, start, whole, run.seed))]
        yield name, "all", error(grid[0].train(start, whole, seed=run.seed, device="cpu"), whole)


def held_out(start: probes.Probe, task: tasks.Task, seed: int, by: Recipe) -> float:
    """Return the error on a fifth of the training images of a network that was trained on the others."""
    parts = transfer.folds(task.train.labels, 5, seed)
    rest = transfer._only(task, np.concatenate(parts[1:]))
    return transfer._error(by.train(start, rest, seed=seed, device="cpu"), task, parts[0])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, help="of scripts/finetune_run.py")
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "runs" / "finetune")
    args = parser.parse_args(arguments)
    run = Run(DRAWN, 0, args.runs, probes.load("efficientnet_lite0"), 0)
    rows = []
    for target in TARGETS:
        file = run.file("scratch", target)
        if not file.exists():
            keep(file, {"rows": list(settings(run, target))})
        rows += [[target, *row] for row in read(file)["rows"]]
        print(rows[-6:], flush=True)
    write_text(args.out / "scratch.csv", table(("target", "start", "setting", "error"), rows))


if __name__ == "__main__":
    main()
