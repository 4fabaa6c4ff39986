"""Embed tasks cut from public sets of photographs and drawings, and measure what chapters 8 to 10 hold them against.

Usage: python scripts/photographs_run.py FOLDER OUT [--probe NAME] [--untrained] [--seeds 0 1 2] [--tasks …] [--drawn TASK …]

FOLDER holds DATASET/CLASS/images, as scripts/photographs_build.py makes it; which classes make a task stands in
book/runs/photographs/library.csv. A data set may bring a ``manifest.tsv`` (file, original_path): frames of one track
(GTSRB) then stay together. OUT gets, for the default probe,

- ``tasks.csv``: one row a task and seed: numbers of classes, training and test images; norm, sum and trace of the
  embedding; entropy (nats) and error of the head of the embedding on the half of the training images that it was not
  fitted on; the entropy over the logarithm of the number of classes; the error on the test images of a head that was
  fitted on all training images;
- ``distances.csv``: one row a pair of tasks and seed: distances of the embeddings (symmetric, log_cosine, cosine), cosine
  distances of the mean features of the frozen probe (mean_features; and less their mean over all tasks:
  mean_features_centred), and of the mean and deviation of the three colours (pixels);
- ``between_seeds.csv``: one row a task and pair of seeds: the symmetric distance of its two embeddings;
- ``config.json``: settings, data sets with their sources and licences, versions.

With another probe, or with random weights (``--untrained``), the names end in ``-PROBE``; with ``--drawn`` tasks of the
offline library take the place of the folder's (give ``-`` for FOLDER), and the names begin with ``drawn-``. The seed
divides and draws the images, and draws the signs of the Fisher estimate. Embeddings and measurements are kept
(``--embeddings``): a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

# Idle threads that spin slow a shared machine to a crawl; both must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from t2v import distance, embedding, external, probes, tasks
from t2v._files import read_arrays, table, write_arrays, write_text

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "book" / "runs" / "photographs"
DEFAULT = "efficientnet_lite0"
SIZE, TRAIN, TEST = 96, 200, 150
#: Share of a class's images (whole tracks) from which the training images are drawn.
POOL = 0.75
#: The drawn tasks keep the size of the book's other runs.
DRAWN_SIZE = 64
NUMBERS = ("norm", "sum", "trace", "entropy", "entropy_per_log_classes", "error_heldout", "error")
COLUMNS = ("task", "dataset", "domain", "superdomain", "seed", "classes", "train", "test", *NUMBERS)
METRICS = ("symmetric", "log_cosine", "cosine", "mean_features", "mean_features_centred", "pixels")
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Spec:
    """A row of library.csv: which classes of which data set make a task, and where it belongs."""

    task: str
    dataset: str
    domain: str
    superdomain: str
    classes: tuple[str, ...]


def specification(path: Path = RUN / "library.csv") -> list[Spec]:
    """Return the rows of library.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Spec(r["task"], r["dataset"], r["domain"], r["superdomain"], tuple(r["classes"].split(";")))
        for r in rows
    ]


# ------------------------------------------------------------------------------------------------ from a folder
def track(original: str) -> str:
    """Return the group that a picture may not leave: the track of a frame named ``CLASS/TRACK_FRAME.ppm``, else itself."""
    folder, _, name = original.rpartition("/")
    return f"{folder}/{name.split('_')[0]}" if name.endswith(".ppm") else original


def groups(folder: Path, files: Sequence[Path]) -> list[str]:
    """Return the group of each file of a data set, by its manifest; without one, each file is alone."""
    manifest = folder / "manifest.tsv"
    names = [file.relative_to(folder).as_posix() for file in files]
    if not manifest.exists():
        return names
    with manifest.open(encoding="utf-8", newline="") as file:
        origin = {row["file"]: row["original_path"] for row in csv.DictReader(file, delimiter="\t")}
    if missing := [name for name in names if name not in origin]:
        raise ValueError(f"{manifest}: no row for {missing[0]}")
    return [track(origin[name]) for name in names]


def divide(group: Sequence[str], share: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Divide indices at random so that groups stay whole; the first part has about ``share`` of them, neither is empty."""
    names, which = np.unique(np.asarray(group), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"all {len(group)} images are of one group ({names[0]}): at least two are needed")
    order = rng.permutation(len(names))
    size = np.bincount(which)[order].cumsum()
    cut = min(max(1, int(np.abs(size - share * len(group)).argmin()) + 1), len(names) - 1)
    first = np.isin(which, order[:cut])
    return np.flatnonzero(first), np.flatnonzero(~first)


def level(supply: Sequence[int], total: int) -> list[int]:
    """Share out ``total`` as equally as the supply of each class allows; all there is, where there is less."""
    given = [0] * len(supply)
    for _ in range(min(total, sum(supply))):
        open_classes = [c for c, n in enumerate(supply) if given[c] < n]
        given[min(open_classes, key=given.__getitem__)] += 1
    return given


def choose(group: Sequence[Sequence[str]], seed: int, train: int, test: int) -> list[tuple[Rows, Rows]]:
    """Return, for each class, the indices of the training and of the test images."""
    rng = np.random.default_rng(seed)
    pools = [divide(names, POOL, rng) for names in group]
    parts = []
    for k, total in enumerate((train, test)):
        counts = level([len(pool[k]) for pool in pools], total)
        parts.append([rng.permutation(pool[k])[:n] for pool, n in zip(pools, counts, strict=True)])
    return list(zip(*parts, strict=True))


def load_task(
    folder: Path, spec: Spec, seed: int, *, size: int = SIZE, train: int = TRAIN, test: int = TEST
) -> tasks.Task:
    """Read a task: ``train`` training images, as many of each class as can be, and at most ``test`` test images."""
    home = folder / spec.dataset
    if not home.is_dir():
        raise ValueError(
            f"no folder {home}: scripts/photographs_build.py makes it, or leave out {spec.task!r}"
        )
    if missing := [c for c in spec.classes if not (home / c).is_dir()]:
        raise ValueError(f"task {spec.task!r}: no folder {home / missing[0]} for one of its classes")
    files = [
        sorted(p for p in (home / c).iterdir() if p.suffix.lower() in external.SUFFIXES) for c in spec.classes
    ]
    if empty := [c for c, paths in zip(spec.classes, files, strict=True) if len(paths) < 2]:
        raise ValueError(f"task {spec.task!r}: fewer than two images in {home / empty[0]}")
    chosen = choose([groups(home, paths) for paths in files], seed, train, test)
    parts = []
    for k in range(2):
        paths = [files[c][i] for c, rows in enumerate(chosen) for i in rows[k]]
        labels = np.repeat(np.arange(len(files)), [len(rows[k]) for rows in chosen])
        parts.append(tasks.ArrayDataset(external.read_all(paths, size), labels.astype(np.int64)))
    return tasks.Task(
        spec.task, parts[0], parts[1], spec.classes, (spec.superdomain, spec.domain), spec.dataset
    )


# ------------------------------------------------------------------------------------------------- measurements
def embed(task: tasks.Task, probe: probes.Probe, seed: int, path: Path) -> embedding.TaskEmbedding:
    """Return the embedding in the file, or make it and keep it there."""
    if path.exists():
        found = embedding.TaskEmbedding.load(path)
        about = found.metadata
        made = (
            found.task,
            found.probe,
            about["seed"],
            about["image_size"],
            about["n_fit"] + about["n_fisher"],
        )
        if made != (task.name, probe.name, seed, task.train.images.shape[1], len(task.train)):
            raise ValueError(f"{path}: made with other settings than this run's; give another --embeddings")
        return found
    made_now = embedding.embed(task, probe, seed=seed)
    made_now.save(path)
    return made_now


def measure(task: tasks.Task, probe: probes.Probe) -> dict[str, Any]:
    """Return the test error of a head on all training images, and these images' mean features and colours."""
    features = probe.features(task.train.images)
    head = embedding.fit_head(features, task.train.labels, task.n_classes)
    guessed = head(torch.from_numpy(probe.features(task.test.images))).argmax(1).numpy()
    pixels = task.train.images.astype(float)
    return {
        "error": np.array((guessed != task.test.labels).mean()),
        "mean_features": features.mean(0).astype(float),
        "pixels": np.concatenate([pixels.mean((0, 1, 2)), pixels.std((0, 1, 2))]),
    }


def trace(embedded: embedding.TaskEmbedding, probe: probes.Probe) -> float:
    """Return the trace of the Fisher matrix: each filter's mean times its number of weights."""
    weights = {name: probe.model.get_parameter(name)[0].numel() for name in probe.layers}
    return sum(weights[n] * float(embedded.values[where].sum()) for n, where in embedded.layers.items())


def one(
    spec: Spec, load: Callable[[Spec, int], tasks.Task], seed: int, probe: probes.Probe, kept: Path
) -> tuple[embedding.TaskEmbedding, dict[str, Any]]:
    """Embed and measure one task with one seed, or read what is kept of it; return the embedding and its row."""
    path = kept / probe.name / f"seed-{seed}" / f"{spec.task}.npz"
    measured = path.with_name(f"{spec.task}-measured.npz")
    task = load(spec, seed)
    embedded = embed(task, probe, seed, path)
    if not measured.exists():
        write_arrays(measured, **measure(task, probe))
    found = read_arrays(measured)
    about = embedded.metadata
    numbers = {
        **{"norm": embedded.norm, "sum": float(embedded.values.sum()), "trace": trace(embedded, probe)},
        **{"entropy": about["entropy"], "error_heldout": about["error"], "error": float(found["error"])},
        "entropy_per_log_classes": about["entropy"] / float(np.log(task.n_classes)),
    }
    place = {
        "task": spec.task,
        "dataset": spec.dataset,
        "domain": spec.domain,
        "superdomain": spec.superdomain,
    }
    sizes = {"classes": task.n_classes, "train": len(task.train), "test": len(task.test)}
    return embedded, {**place, "seed": seed, **sizes, **numbers, **found, "error": numbers["error"]}


def matrices(embedded: Sequence[embedding.TaskEmbedding], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return metric → ``(n, n)`` distances, for all of :data:`METRICS`."""
    features = np.array([row["mean_features"] for row in rows])
    vectors = {
        "mean_features": features,
        "mean_features_centred": features - features.mean(0),
        "pixels": np.array([row["pixels"] for row in rows]),
    }
    result = {m: distance.matrix(embedded, m) for m in METRICS if m not in vectors}
    for name, x in vectors.items():
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        result[name] = np.clip(1 - unit @ unit.T, 0, 2)
    return result


def pairs(seed: int, names: Sequence[str], found: dict[str, Any]) -> list[list[Any]]:
    """Return the rows of distances.csv for one seed."""
    every = itertools.combinations(range(len(names)), 2)
    return [[seed, names[i], names[j], *(float(found[m][i, j]) for m in METRICS)] for i, j in every]


def between_seeds(every: dict[int, Sequence[embedding.TaskEmbedding]]) -> list[list[Any]]:
    """Return, for each task and pair of seeds, the symmetric distance of its two embeddings."""
    return [
        [x.task, a, b, distance.symmetric(x, y)]
        for a, b in itertools.combinations(every, 2)
        for x, y in zip(every[a], every[b], strict=True)
    ]


# ------------------------------------------------------------------------------------------------------- the run
def config(args: argparse.Namespace, specs: Sequence[Spec], probe: str) -> dict[str, Any]:
    """Return what a reader needs to know about the run."""
    known = json.loads((RUN / "datasets.json").read_text(encoding="utf-8"))
    packages = ("t2v", "torch", "timm", "numpy", "scipy", "pillow")
    size, supply = (DRAWN_SIZE, "offline library") if args.drawn else (SIZE, "image folders")
    return {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {'GPU' if torch.cuda.is_available() else 'CPU'}",
        "versions": {"python": platform.python_version(), **{p: metadata.version(p) for p in packages}},
        **{
            "probe": probe,
            "method": "rademacher",
            "l2": 1e-4,
            "fit_share": embedding.FIT_SHARE,
        },
        **{"size": size, "train": TRAIN, "test": TEST, "pool": POOL, "seeds": args.seeds, "supply": supply},
        "tasks": [spec.task for spec in specs],
        "data_sets": {d: known[d] for d in dict.fromkeys(s.dataset for s in specs) if d in known},
    }


def drawn(names: Sequence[str]) -> list[Spec]:
    """Return specifications of tasks of the offline library."""
    return [Spec(name, "drawn", tasks.family(name), "drawn", ()) for name in names]


def load_drawn(spec: Spec, seed: int) -> tasks.Task:
    """Return a task of the offline library."""
    return tasks.load(spec.task, size=DRAWN_SIZE, train=TRAIN, test=TEST, seed=seed)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="DATASET/CLASS/images; - with --drawn")
    parser.add_argument("out", type=Path)
    parser.add_argument("--probe", default=DEFAULT)
    parser.add_argument(
        "--untrained", action="store_true", help="random weights in the place of the trained ones"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", help="some of library.csv; all by default")
    parser.add_argument("--drawn", nargs="+", metavar="TASK", help="tasks of the offline library instead")
    parser.add_argument(
        "--embeddings", type=Path, default=ROOT / "runs" / "photographs", help="kept and reused"
    )
    args = parser.parse_args(given)
    known = [spec.task for spec in specification()]
    if unknown := [name for name in args.tasks or () if name not in known]:
        parser.error(f"--tasks: unknown {', '.join(unknown)}; library.csv lists all")
    if unknown := [name for name in args.drawn or () if name not in tasks.names()]:
        parser.error(f"--drawn: unknown {', '.join(unknown)}; 'python -m t2v tasks' lists all")
    if not args.drawn and not args.folder.is_dir():
        parser.error(f"FOLDER: no folder {args.folder}; scripts/photographs_build.py makes it")
    return args


def main(given: Sequence[str] | None = None) -> None:
    """Embed, measure, and write the tables."""
    args = arguments(given)
    specs = (
        drawn(args.drawn)
        if args.drawn
        else [s for s in specification() if s.task in (args.tasks or [s.task])]
    )
    load = load_drawn if args.drawn else lambda spec, seed: load_task(args.folder, spec, seed)
    torch.manual_seed(0)  # of random weights
    probe = probes.load(args.probe, pretrained=not args.untrained)
    embeddings: dict[int, Sequence[embedding.TaskEmbedding]] = {}
    every: list[dict[str, Any]] = []
    distances: list[list[Any]] = []
    for seed in args.seeds:
        bar = tqdm(specs, desc=f"seed {seed}", disable=None)
        embeddings[seed], rows = zip(*(one(s, load, seed, probe, args.embeddings) for s in bar), strict=True)
        every += rows
        distances += pairs(seed, [s.task for s in specs], matrices(embeddings[seed], rows))
    begin, end = "drawn-" if args.drawn else "", "" if probe.name == DEFAULT else f"-{probe.name}"

    def write(name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        write_text(args.out / f"{begin}{name}{end}.csv", table(columns, rows, digits=5))

    write("tasks", COLUMNS, [[row[c] for c in COLUMNS] for row in every])
    write("distances", ("seed", "a", "b", *METRICS), distances)
    write("between_seeds", ("task", "seed", "other_seed", "symmetric"), between_seeds(embeddings))
    text = json.dumps(config(args, specs, probe.name), indent=2, ensure_ascii=False)
    write_text(args.out / f"{begin}config{end}.json", text + "\n")


if __name__ == "__main__":
    main()
