"""Embed the offline library with several seeds, and measure what its chapters hold the embeddings against.

Usage: python scripts/library_run.py [--out book/runs/library] [--embeddings DIR] [--seeds 0 1 2] [--tasks …]

Chapters 8 and 9 read what this writes:

- ``tasks.csv``: task, family, taxonomy, n_classes, source;
- ``measurements.csv``: one row a task and seed: norm, sum and trace of the embedding; predictive entropy and error
  of the head on the held-out half of the training images, and its error on the disjoint test images;
- ``distances-METRIC-seedK.csv``: symmetric (also of embeddings divided by their sum: symmetric_unit_sum), cosine,
  log_cosine and jensen_shannon distances of the embeddings; cosine distances of the mean features of the frozen
  probe (mean_features) and of the channels' means and deviations (pixels);
- ``seeds.csv``: for each task and pair of seeds, the distances of its two embeddings, and of the first one to the
  nearest *other* task of the second seed;
- ``config.json``: command, date, versions, machine.

The seed draws the images, divides them, and draws the Rademacher signs. Everything is kept, task by task, in the folder
of embeddings (``seed-K/TASK.npz``, as ``python -m t2v embed`` writes them, and ``seed-K/TASK.json``): a run that was
stopped goes on where it was, and embeddings that are there are used.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

# Idle threads that spin slow a shared machine to a crawl; both must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from tqdm import tqdm

from t2v import distance, embedding, probes, tasks
from t2v._files import table, write_text

ROOT = Path(__file__).resolve().parent.parent
#: One or two tasks of every kind: writing systems, digits, handwriting, symbols, pictures.
NAMES = (
    "latin_upper latin_lower fraktur_lower greek_upper greek_lower cyrillic_upper cyrillic_lower armenian_upper "
    "armenian_lower georgian old_italic hebrew arabic lao tifinagh nko lisu canadian_syllabics ogham braille "
    "digits_printed digits_circled digits_arabic roman_numerals mnist digits math_operators arrows currency "
    "box_drawing geometric_shapes zodiac emoji chess dominoes typefaces photographs faces histology retina "
    "textures photo_blur"
)
TASKS = NAMES.split()
SIZE, TRAIN, TEST = 64, 600, 400
METRICS = (
    *("symmetric", "symmetric_unit_sum", "cosine", "log_cosine", "jensen_shannon"),
    *("mean_features", "pixels"),
)
NUMBERS = ("norm", "sum", "trace", "entropy", "error_heldout", "error_test")
COLUMNS = ("task", "family", "seed", "n_classes", *NUMBERS)


def embed(task: tasks.Task, probe: probes.Probe, seed: int, path: Path) -> embedding.TaskEmbedding:
    """Return the embedding in the file, or make it and keep it there."""
    if path.exists():
        found = embedding.TaskEmbedding.load(path)
        about = found.metadata
        made = (found.task, found.probe, about["method"], about["seed"], about["image_size"])
        if (*made, about["n_fit"] + about["n_fisher"]) != (
            *(task.name, probe.name, "rademacher", seed, SIZE),
            len(task.train),
        ):
            raise ValueError(f"{path}: made with other settings than this run's; give another --embeddings")
        return found
    made_now = embedding.embed(task, probe, seed=seed)
    made_now.save(path)
    return made_now


def measure(task: tasks.Task, probe: probes.Probe, seed: int) -> dict[str, Any]:
    """Return the head's error on the test images, and the statistics of the images that it was fitted on."""
    fit, _ = embedding.split(task.train.labels, embedding.FIT_SHARE, seed)  # the division that embed made
    images, labels = task.train.images[fit], task.train.labels[fit]
    features = probe.features(images)
    head = embedding.fit_head(features, labels, task.n_classes)
    guessed = head(torch.from_numpy(probe.features(task.test.images))).argmax(1).numpy()
    return {
        "error_test": float((guessed != task.test.labels).mean()),
        "mean_features": features.mean(0).tolist(),
        "pixels": [*images.mean((0, 1, 2)).tolist(), *images.std((0, 1, 2)).tolist()],
    }


def trace(embedded: embedding.TaskEmbedding, probe: probes.Probe) -> float:
    """Return the trace of the Fisher matrix: each filter's mean times its number of weights."""
    weights = {name: probe.model.get_parameter(name)[0].numel() for name in probe.layers}
    return sum(weights[n] * float(embedded.values[where].sum()) for n, where in embedded.layers.items())


def one(name: str, seed: int, probe: probes.Probe, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Embed and measure one task with one seed, or read what is kept of it; return the embedding and its row."""
    path = folder / f"seed-{seed}" / f"{name}.npz"
    kept = path.with_suffix(".json")
    task = tasks.load(name, size=SIZE, train=TRAIN, test=TEST, seed=seed)
    embedded = embed(task, probe, seed, path)
    if not kept.exists():
        write_text(kept, json.dumps(measure(task, probe, seed)))
    about = embedded.metadata
    row = {
        **{"task": name, "family": tasks.family(name), "seed": seed, "n_classes": task.n_classes},
        **{"norm": embedded.norm, "sum": float(embedded.values.sum()), "trace": trace(embedded, probe)},
        **{"entropy": about["entropy"], "error_heldout": about["error"]},
        **json.loads(kept.read_text(encoding="utf-8")),
    }
    return embedded, row


def between_seeds(every: dict[int, Sequence[embedding.TaskEmbedding]]) -> list[list[Any]]:
    """Return, for each task and pair of seeds, the distances to itself and to the nearest other task."""
    rows = []
    for a, b in itertools.combinations(every, 2):
        for e in every[a]:
            row = [e.task, a, b]
            for metric in ("symmetric", "log_cosine"):
                d = {other.task: distance.METRICS[metric](e, other) for other in every[b]}
                itself = d.pop(e.task)
                nearest = min(d, key=d.__getitem__)
                row += [itself, d[nearest], nearest]
            rows.append(row)
    return rows


def distances(embedded: Sequence[Any], rows: Sequence[dict[str, Any]], metric: str) -> np.ndarray:
    """Return the distances by one of :data:`METRICS`."""
    if metric == "symmetric_unit_sum":
        return distance.matrix([distance.unit_sum(e) for e in embedded], "symmetric")
    if metric in distance.METRICS:
        return distance.matrix(embedded, metric)
    vectors = np.array([row[metric] for row in rows])
    result = np.array([[distance.cosine(a, b) for b in vectors] for a in vectors])
    np.fill_diagonal(result, 0)  # rounding leaves ±1e-16
    return result


def about(command: str) -> dict[str, Any]:
    """Return what made a run: command, date, machine, versions."""
    packages = ("t2v", "torch", "timm", "numpy", "scipy", "matplotlib", "scikit-image")
    return {
        "command": command,
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {'GPU' if torch.cuda.is_available() else 'CPU'}",
        "versions": {"python": platform.python_version(), **{p: metadata.version(p) for p in packages}},
    }


def kept(path: Path, columns: Sequence[str]) -> list[list[str]]:
    """Return the rows of the table of a run that was stopped, or none; other columns than these are refused."""
    if not path.exists():
        return []
    first, *rows = (line.split(",") for line in path.read_text(encoding="utf-8").splitlines())
    if tuple(first) != tuple(columns):
        raise ValueError(f"{path}: columns {', '.join(first)}; accepted: {', '.join(columns)}, or no file")
    return rows


def config(args: argparse.Namespace) -> dict[str, Any]:
    """Return what a reader needs to know about the run."""
    command = f"python scripts/library_run.py --seeds {' '.join(map(str, args.seeds))}"
    return {
        **about(command),
        **{
            "probe": "efficientnet_lite0",
            "method": "rademacher",
            "l2": 1e-4,
            "fit_share": embedding.FIT_SHARE,
        },
        **{"size": SIZE, "train": TRAIN, "test": TEST, "seeds": args.seeds, "tasks": args.tasks},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Embed, measure, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "runs" / "library")
    parser.add_argument("--embeddings", type=Path, default=ROOT / "runs" / "library", help="kept and reused")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    args = parser.parse_args(arguments)
    if unknown := [name for name in args.tasks if name not in tasks.names()]:
        parser.error(f"--tasks: unknown {', '.join(unknown)}; 'python -m t2v tasks' lists all")
    probe = probes.load("efficientnet_lite0")
    every: list[dict[str, Any]] = []
    embeddings: dict[int, Sequence[embedding.TaskEmbedding]] = {}
    for seed in args.seeds:
        bar = tqdm(args.tasks, desc=f"seed {seed}", disable=None)
        embeddings[seed], rows = zip(*(one(name, seed, probe, args.embeddings) for name in bar), strict=True)
        every += rows
        for metric in METRICS:
            matrix = distances(embeddings[seed], rows, metric)
            lines = [[name, *map(float, row)] for name, row in zip(args.tasks, matrix, strict=True)]
            write_text(args.out / f"distances-{metric}-seed{seed}.csv", table(("task", *args.tasks), lines))
    names = [
        f"{which}_{metric}"
        for metric in ("symmetric", "log_cosine")
        for which in ("itself", "nearest", "nearest_task")
    ]
    write_text(
        args.out / "seeds.csv", table(("task", "seed", "other_seed", *names), between_seeds(embeddings))
    )
    write_text(args.out / "measurements.csv", table(COLUMNS, [[row[c] for c in COLUMNS] for row in every]))
    about = [tasks.load(name, size=SIZE, train=TRAIN, test=TEST, seed=args.seeds[0]) for name in args.tasks]
    described = [
        [t.name, tasks.family(t.name), "/".join(t.taxonomy), t.n_classes, t.source.replace(",", ";")]
        for t in about
    ]
    write_text(
        args.out / "tasks.csv", table(("task", "family", "taxonomy", "n_classes", "source"), described)
    )
    write_text(args.out / "config.json", json.dumps(config(args), indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
