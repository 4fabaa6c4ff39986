"""Embed eight tasks with two estimators and with three probes: what chapter 8 compares.

Usage: python scripts/estimators_run.py [--out book/runs/estimators] [--embeddings DIR] [--seeds 0 1 2] [--tasks …]

Each task and seed is embedded by the Rademacher and by the variational estimator with the first probe, and by the
Rademacher estimator with the others. The seed draws the images, divides them, and draws signs and noise; with one seed,
both estimators see the same division.

- ``embeddings.csv``: one row an embedding: norm, sum and trace, share of zeros, the head's entropy and error, seconds;
- ``agreement.csv``: one row a task, two estimators and two seeds: the correlation of the logarithms of their values, over
  the filters in which neither is zero, and the ratio of the traces (the second over the first);
- ``distances.csv``: the symmetric distance of each pair of tasks, for each probe, estimator and seed;
- ``config.json``: command, date, versions, machine.

The embeddings are kept in a folder (``PROBE/METHOD/seed-K/TASK.npz``): a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Idle threads that spin slow a shared machine to a crawl; both must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))
import library_run
from library_run import ROOT, trace

from t2v import distance, embedding, precision, probes, tasks
from t2v._files import table, write_text

#: Hard and easy, glyphs and pictures.
TASKS = ["latin_upper", "greek_lower", "hebrew", "mnist", "chess", "photographs", "histology", "textures"]
PROBES = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
METHODS: tuple[embedding.Method, ...] = ("rademacher", "variational")
SIZE, TRAIN, TEST = 64, 200, 24
COLUMNS = (
    *("task", "seed", "probe", "method", "norm", "sum", "trace", "zeros"),
    *("entropy", "error", "seconds"),
)
PAIRS = ("task", "method", "seed", "other_method", "other_seed", "log_correlation", "trace_ratio")
Key = tuple[str, embedding.Method, int]  # probe, method, seed
Embedded = Mapping[str, embedding.TaskEmbedding]  # by task


def embed(name: str, probe: probes.Probe, key: Key, folder: Path) -> embedding.TaskEmbedding:
    """Return the embedding that is kept in the folder, or make it and keep it there."""
    _, method, seed = key
    path = folder / probe.name / method / f"seed-{seed}" / f"{name}.npz"
    if path.exists():
        found = embedding.TaskEmbedding.load(path)
        about = found.metadata
        made = (found.task, found.probe, about["method"], about["seed"], about["image_size"])
        if (*made, about["n_fit"] + about["n_fisher"]) != (name, probe.name, method, seed, SIZE, TRAIN):
            raise ValueError(f"{path}: made with other settings than this run's; give another --embeddings")
        return found
    task = tasks.load(name, size=SIZE, train=TRAIN, test=TEST, seed=seed)
    embedded = embedding.embed(task, probe, method=method, seed=seed)
    embedded.save(path)
    return embedded


def row(e: embedding.TaskEmbedding, probe: probes.Probe, key: Key) -> list[Any]:
    """Return one line of ``embeddings.csv``."""
    name, method, seed = key
    about = e.metadata
    return [
        *(e.task, seed, name, method, e.norm, float(e.values.sum()), trace(e, probe)),
        *(float((e.values == 0).mean()), about["entropy"], about["error"], float(about["seconds"])),
    ]


def log_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of the logarithms where neither is zero."""
    both = (a > 0) & (b > 0)
    return float(np.corrcoef(np.log(a[both]), np.log(b[both]))[0, 1])


def agreement(every: Mapping[Key, Embedded], probe: probes.Probe) -> Iterator[list[Any]]:
    """Yield the lines of ``agreement.csv``: every two of a task's embeddings with one probe."""
    mine = {(method, seed): found for (name, method, seed), found in every.items() if name == probe.name}
    for (one, a), (other, b) in itertools.combinations(mine.items(), 2):
        for name in a:
            ratio = trace(b[name], probe) / trace(a[name], probe)
            yield [name, *one, *other, log_correlation(a[name].values, b[name].values), ratio]


def config(args: argparse.Namespace) -> dict[str, Any]:
    """Return what a reader needs to know about the run."""
    return library_run.config(args) | {
        "command": f"python scripts/estimators_run.py --seeds {' '.join(map(str, args.seeds))}",
        **{"probe": args.probes, "method": list(METHODS), "beta": precision.BETA},
        **{"size": SIZE, "train": TRAIN, "test": TEST},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Embed, compare, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "runs" / "estimators")
    parser.add_argument("--embeddings", type=Path, default=ROOT / "runs" / "estimators", help="kept, reused")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--probes", nargs="+", default=PROBES)
    args = parser.parse_args(arguments)
    if unknown := [name for name in args.tasks if name not in tasks.names()]:
        parser.error(f"--tasks: unknown {', '.join(unknown)}; 'python -m t2v tasks' lists all")
    every: dict[Key, Embedded] = {}
    lines, pairs = [], []
    for name in args.probes:
        probe = probes.load(name)
        methods = METHODS if name == args.probes[0] else METHODS[:1]
        for seed, method in itertools.product(args.seeds, methods):
            key = (name, method, seed)
            bar = tqdm(args.tasks, desc=f"{name} {method} {seed}", disable=None)
            found = every[key] = {task: embed(task, probe, key, args.embeddings) for task in bar}
            lines += [row(e, probe, key) for e in found.values()]
            for a, b in itertools.combinations(found.values(), 2):
                pairs.append([*key, a.task, b.task, float(distance.symmetric(a, b))])
        if name == args.probes[0]:
            write_text(args.out / "agreement.csv", table(PAIRS, list(agreement(every, probe))))
    write_text(args.out / "embeddings.csv", table(COLUMNS, lines))
    columns = ("probe", "method", "seed", "a", "b", "symmetric")
    write_text(args.out / "distances.csv", table(columns, pairs))
    write_text(args.out / "config.json", json.dumps(config(args), indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
