"""Measure what fine-tuning all weights gains from each source, on drawn tasks and on photographs.

Usage: python scripts/finetune_run.py RUNS [--photographs FOLDER] [--parts drawn:0 photographs:0 …] [--out DIR] [--tables]

For each part and seed it trains an expert for every task, the *sources*, and measures for every task, the *targets*, the
test error of each candidate (the plain probe, the experts of the other tasks, and a network with random weights) after all
its weights were fine-tuned on a few shots of the target; and beside it the error of a head on the frozen candidate.

- Recipes are chosen without a test image: an expert's learning rate by the fifth of its training images that was held out;
  a target's, one for all candidates, by twofold cross-validation on its shots, in which the probe takes part in both folds
  and two experts drawn by lot in one each; that of the random weights by the same cross-validation.
- What is drawn anew with the seed: images, divisions, shots, heads and the order of the images. The recipe of a target
  and of an expert is chosen with the first seed of the part that is run.
- FOLDER holds DATASET/CLASS/images, see scripts/photographs_build.py. Without it the photographs are left out.

RUNS keeps everything, one file a pair: a run that was stopped goes on where it was. ``--tables`` makes the tables of what
is there and stops. DIR (book/runs/finetune) gets

- ``drawn.csv``, ``photographs.csv``: one row a target, candidate and seed, see :data:`COLUMNS`;
- ``tasks.csv``: one row a task and seed: numbers of classes and images, shots a class, entropy and norm of the embedding,
  errors of the experts on the images held out, by learning rate; whether the chosen one is accepted;
- ``recipes.csv``: one row a target and recipe: the errors of the cross-validation, and what was chosen;
- ``rates.csv``: one row a target, source and learning rate of the expert: the error of a head on that frozen expert;
- ``controls.csv``: one row a target, candidate and recipe: the error after fine-tuning at the other rates, and for three
  times as many steps, of the probe and the two experts of the cross-validation;
- ``config.json``: settings, rule of the choice of tasks, data sets with their licences, machine, seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

# Idle threads that spin slow a shared machine to a crawl; both must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

sys.path.insert(0, str(Path(__file__).resolve().parent))
from library_run import ROOT, about
from photographs_run import load_task as load_photographs
from photographs_run import specification

from t2v import baselines, distance, embedding, probes, tasks, transfer
from t2v._files import file_name, read_arrays, table, write_arrays, write_text
from t2v._stages import left_out_errors
from t2v.catalogue import ENTRIES
from t2v.transfer import Recipe, TrainingError

Array = NDArray[np.float64]
Features = dict[str, NDArray[np.float32]]

#: Stages of an EfficientNet after which the features are taken as well.
CUTS = ("blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6")
LAST = "conv_head"
#: Where the head is fitted, besides at the end.
HEAD_CUTS = ("blocks.4", "blocks.5", "blocks.6")
PROBE, SCRATCH = "probe", "scratch"
RATES = (1e-4, 3e-4, 1e-3)
SCRATCH_RATES = (3e-4, 1e-3, 3e-3)
EXPERT_EPOCHS, BATCH = 4, 16
#: From random weights, so many times the steps of the other candidates.
SCRATCH_LONGER = 3
#: A control: so many times the steps.
LONGER = 3

#: Kinds of drawn tasks, by family of the library; of each kind two tasks are drawn by lot.
KINDS: Mapping[str, tuple[str, ...]] = {
    "alphabets": ("greek alphabets", "aramaic scripts", "african and invented scripts"),
    "numbers": ("numerals", "handwriting"),
    "signs and drawing": ("signs", "drawing"),
    "pictures": ("pictures",),
    "games": ("games",),
    "typography": ("typography",),
    "photographs and science": ("photographs", "science"),
    "textures and image quality": ("textures", "image quality"),
}
MOST_CLASSES = 28
RULE = {
    "drawn": f"two tasks by lot (seed 0) of each of eight kinds of the library, with at most {MOST_CLASSES} classes",
    "photographs": "two tasks by lot (seed 0) of each of the nine data sets, one where it makes only one",
}

SCORES = (
    *("cross_validated_head", "logme", "h_score", "transrate", "nearest_class_mean", "leep", "nce"),
    "logme_published",
)
HEAD_SCORES = ("head_leep", "head_nce", "head_logme", "head_nearest_class_mean")
DISTANCES = (
    *("d_sym", "d_sym_shots", "task2vec", "task2vec_shots", "log_cosine", "log_cosine_shots"),
    *("mean_feature", "mean_feature_shots"),
)
SECONDS = ("seconds_head", "seconds_scores", "seconds_finetune")
COLUMNS = (
    *("seed", "target", "candidate", "finetuned_error", "head_error"),
    *(f"head_error:{cut}" for cut in HEAD_CUTS),
    *SCORES,
    *HEAD_SCORES,
    *DISTANCES,
    *SECONDS,
)
ALPHA = 0.15


# ------------------------------------------------------------------------------------------------- the tasks
def drawn_tasks() -> tuple[str, ...]:
    """Return the names of the drawn tasks, see :data:`RULE`."""
    rng, names = np.random.default_rng(0), []
    for families in KINDS.values():
        have = [n for n, e in ENTRIES.items() if e.family in families and len(e.classes) <= MOST_CLASSES]
        names += [have[k] for k in np.sort(rng.permutation(len(have))[:2])]
    return tuple(names)


def photograph_tasks() -> tuple[str, ...]:
    """Return the names of the tasks of photographs, see :data:`RULE`."""
    rng, of_set = np.random.default_rng(0), dict[str, list[str]]()
    for row in specification():
        of_set.setdefault(row.dataset, []).append(row.task)
    return tuple(names[k] for names in of_set.values() for k in np.sort(rng.permutation(len(names))[:2]))


@dataclass(frozen=True)
class Part:
    """The settings of one part of the run.

    Attributes
    ----------
    name : str
        ``"drawn"`` or ``"photographs"``.
    names : tuple of str
        The tasks.
    size, train, test : int
        Side of the images, and number of training and of test images a task, where there are so many.
    most, shots : int
        Shots in all and a class, at most.
    steps : int
        Of fine-tuning on the shots, about: whole epochs.
    folder : Path, optional
        Of the photographs.
    """

    name: str
    names: tuple[str, ...]
    size: int
    train: int
    test: int
    most: int
    shots: int
    steps: int
    folder: Path | None = None

    def load(self, name: str, seed: int) -> tasks.Task:
        """Read or draw a task."""
        if self.folder is None:
            return tasks.load(name, size=self.size, train=self.train, test=self.test, seed=seed)
        spec = {row.task: row for row in specification()}[name]
        return load_photographs(self.folder, spec, seed, size=self.size, train=self.train, test=self.test)

    def few(self, task: tasks.Task, seed: int) -> tasks.Task:
        """Leave a task its shots, as many of each class."""
        fewest = int(np.bincount(task.train.labels, minlength=task.n_classes).min())
        shots = max(2, min(self.shots, self.most // task.n_classes, fewest))
        rows = embedding.low_shot(task.train.labels, shots, seed)
        part = dataclasses.replace(task.train, images=task.train.images[rows], labels=task.train.labels[rows])
        return dataclasses.replace(task, train=part)

    def epochs(self, n: int) -> int:
        """Return the passes over ``n`` images that make about so many steps."""
        return max(1, round(self.steps * BATCH / n))


DRAWN = Part("drawn", drawn_tasks(), size=64, train=500, test=200, most=100, shots=10, steps=48)
PHOTOGRAPHS = Part(
    "photographs", photograph_tasks(), size=96, train=320, test=120, most=80, shots=10, steps=36
)

PARTS = {part.name: part for part in (DRAWN, PHOTOGRAPHS)}


# ---------------------------------------------------------------------------------------------- what is measured
@torch.inference_mode()
def staged(network: probes.Probe, images: NDArray[np.uint8]) -> Features:
    """Return the mean over the positions of what leaves each of :data:`CUTS`, and the features: ``(n, d)`` each."""
    found: dict[str, list[NDArray[np.float32]]] = {}

    def keep(name: str) -> Any:
        return lambda _m, _i, out: found.setdefault(name, []).append(out.mean((2, 3)).numpy())

    hooks = [network.model.get_submodule(cut).register_forward_hook(keep(cut)) for cut in cuts_of(network)]
    last = network.features(images)
    for hook in hooks:
        hook.remove()
    return {**{name: np.concatenate(parts) for name, parts in found.items()}, LAST: last}


def cuts_of(network: probes.Probe) -> list[str]:
    """Return those of :data:`CUTS` that the network has."""
    have = {name for name, _ in network.model.named_modules()}
    return [cut for cut in CUTS if cut in have]


def head_error(few: NDArray[Any], labels: NDArray[Any], tests: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the test error of a head fitted on the shots' features, in the coordinates of their span."""
    few, tests = np.asarray(few, float), np.asarray(tests, float)
    centre = few.mean(0)
    basis = np.linalg.qr((few - centre).T)[0]
    head = embedding.fit_head((few - centre) @ basis, labels, int(labels.max()) + 1)
    guessed = head(torch.from_numpy((tests - centre) @ basis).float()).argmax(1).numpy()
    return float((guessed != truth).mean())


def logme_published(features: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return LogME by the fixed point as it was published, which counts α once a feature also where n < d."""
    f = np.asarray(features, float)
    n, d = f.shape
    u, s, _ = np.linalg.svd(f, full_matrices=False)
    sigma, values = s**2, []
    for c in np.unique(labels):
        y = (labels == c).astype(float)
        x2 = (u.T @ y) ** 2
        rest, alpha, beta = max(float((y**2).sum() - x2.sum()), 0.0), 1.0, 1.0
        for _ in range(11):
            t = alpha / beta
            gamma = (sigma / (sigma + t)).sum()
            m2 = (sigma * x2 / (t + sigma) ** 2).sum()
            residual = (x2 / (1 + sigma / t) ** 2).sum() + rest
            alpha, beta = gamma / (m2 + 1e-5), (n - gamma) / (residual + 1e-5)
            if abs(alpha / beta - t) / t <= 1e-3:
                break
        evidence = (
            d / 2 * np.log(alpha)
            + n / 2 * np.log(beta)
            - np.log(alpha + beta * sigma).sum() / 2
            - (beta * residual + alpha * m2) / 2
            - n / 2 * np.log(2 * np.pi)
        )
        values.append(evidence / n)
    return float(np.mean(values))


def scores(network: probes.Probe, few: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Return what is said of a candidate by its features of the shots alone, and by its head."""
    found = {
        "cross_validated_head": 1 - float(left_out_errors(few, labels).mean()),
        "logme": baselines.logme(few, labels),
        "logme_published": logme_published(few, labels),
        "h_score": baselines.h_score(few, labels, shrinkage="ledoit_wolf"),
        "transrate": baselines.transrate(few, labels),
        "nearest_class_mean": baselines.nearest_class_mean(few, labels),
    }
    if network.classifier is not None:
        with torch.inference_mode():
            logits = network.classifier(torch.from_numpy(few)).double().numpy()
        found["leep"] = baselines.leep(softmax(logits, axis=1), labels)
        found["nce"] = baselines.nce(logits.argmax(1), labels)
    return found


def head_scores(few: NDArray[Any], weight: Array, bias: Array, labels: NDArray[Any]) -> dict[str, float]:
    """Return what a source's head on the frozen probe says of a target's shots."""
    logits = few @ weight.T + bias
    return {
        "head_leep": baselines.leep(softmax(logits, axis=1), labels),
        "head_nce": baselines.nce(logits.argmax(1), labels),
        "head_logme": baselines.logme(logits, labels),
        "head_nearest_class_mean": baselines.nearest_class_mean(logits, labels),
    }


# ---------------------------------------------------------------------------------------------------- the stages
@dataclass(frozen=True)
class Run:
    """One part with one seed: where it is kept, and how far it has come."""

    part: Part
    seed: int
    home: Path
    probe: probes.Probe
    first: int

    @property
    def folder(self) -> Path:
        """Of this part and seed."""
        return self.home / self.part.name / f"seed{self.seed}"

    def file(self, kind: str, *names: str) -> Path:
        """Return a file of a kind: tensors, arrays, or text."""
        ending = {"experts": "pt", "arrays": "npz", "embeddings": "npz", "shots": "npz"}.get(kind, "json")
        return self.folder / kind / f"{'--'.join(map(file_name, names))}.{ending}"

    def of_first(self) -> Run:
        """Return the run whose recipes are used."""
        return dataclasses.replace(self, seed=self.first)

    def task(self, name: str) -> tasks.Task:
        """Return a task; decoded images are kept."""
        path = self.file("arrays", "images", name)
        if not path.exists():
            made = self.part.load(name, self.seed)
            kept: dict[str, NDArray[Any]] = {"train": made.train.images, "test": made.test.images}
            kept |= {"train_labels": made.train.labels, "test_labels": made.test.labels}
            write_arrays(path, **kept, classes=np.array(made.classes))
        a = read_arrays(path)
        return tasks.Task(
            name,
            tasks.ArrayDataset(a["train"], a["train_labels"]),
            tasks.ArrayDataset(a["test"], a["test_labels"]),
            tuple(map(str, a["classes"])),
        )

    def say(self, text: str) -> None:
        """Print a line of the log."""
        print(f"{time.strftime('%H:%M:%S')} {self.part.name} seed {self.seed}: {text}", flush=True)


def read(path: Path) -> dict[str, Any]:
    """Return what :func:`keep` kept."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def keep(path: Path, found: Mapping[str, Any]) -> None:
    """Write a small file, whole or not at all."""
    write_text(path, json.dumps(found) + "\n")


def describe(run: Run, name: str) -> None:
    """Embed a task and its shots, and keep the frozen features, stage by stage."""
    file = run.file("tasks", name)
    if file.exists():
        return
    clock, task = time.process_time(), run.task(name)
    few = run.part.few(task, run.seed)
    whole = embedding.embed(task, run.probe, seed=run.seed, device="cpu")
    whole.save(run.file("embeddings", name))
    seconds = time.process_time() - clock
    embedding.embed(few, run.probe, seed=run.seed, device="cpu").save(run.file("shots", name))
    features = staged(run.probe, task.train.images)
    head = embedding.fit_head(features[LAST], task.train.labels, task.n_classes)
    shots = staged(run.probe, few.train.images)
    kept: dict[str, NDArray[Any]] = {f"train:{cut}": values for cut, values in features.items()}
    kept |= {f"shots:{cut}": values for cut, values in shots.items()}
    kept |= {"train_labels": task.train.labels, "shots_labels": few.train.labels}
    kept |= {"weight": head.weight.numpy(), "bias": head.bias.numpy()}
    write_arrays(run.file("arrays", "frozen", name), **kept)
    keep(
        file,
        {
            **{"classes": task.n_classes, "train": len(task.train), "test": len(task.test)},
            **{"shots": len(few.train) // task.n_classes, "norm": whole.norm},
            **{"entropy": whole.metadata["entropy"], "seconds_embedding": seconds},
        },
    )
    run.say(f"embedded {name}: {task.n_classes} classes, {len(task.train)} + {len(task.test)} images")


def grow(run: Run, name: str) -> None:
    """Train the expert of a task: with the first seed by every rate, with the others by the one chosen there."""
    file = run.file("experts-chosen", name)
    if file.exists():
        return
    rates: Sequence[float] = RATES
    if run.seed != run.first:
        rates = (read(run.of_first().file("experts-chosen", name))["rate"],)
    clock, task = time.process_time(), run.task(name)
    grid = [Recipe(rate, EXPERT_EPOCHS, BATCH) for rate in rates]
    made = transfer.train_expert(run.probe, task, grid, seed=run.seed, device="cpu")
    for rate, expert in zip(rates, made.experts, strict=True):
        if expert is not None:
            transfer.save_expert(expert, run.file("experts", name, f"{rate:g}"))
    found = {
        **{"rate": rates[made.chosen], "accepted": made.accepted, "frozen": made.frozen_error},
        "errors": dict(zip(map(str, rates), made.errors, strict=True)),
        "seconds": (time.process_time() - clock) / len(rates),
    }
    keep(file, found)
    run.say(f"expert of {name}: {found}")


def expert(run: Run, name: str, rate: float | None = None) -> probes.Probe:
    """Read a task's expert, the chosen one or that of a rate; one that only the tables know is trained again."""
    rate = read(run.file("experts-chosen", name))["rate"] if rate is None else rate
    file = run.file("experts", name, f"{rate:g}")
    if not file.exists():
        grid = [Recipe(rate, EXPERT_EPOCHS, BATCH)]
        (made,) = transfer.train_expert(run.probe, run.task(name), grid, seed=run.seed, device="cpu").experts
        transfer.save_expert(cast("probes.Probe", made), file)
    return transfer.load_expert(file, run.probe)[0]


def random_start(run: Run) -> probes.Probe:
    """Return the probe's architecture with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(run.seed)
        return probes.load(run.probe.name, pretrained=False)


def recipe(run: Run, name: str, kind: str = "targets") -> Recipe:
    """Choose the recipe of a target, for all candidates; or, with kind ``scratch``, for random weights."""
    file = run.of_first().file(f"recipes-{kind}", name)
    if file.exists():
        return Recipe(**read(file)["chosen"])
    if run.seed != run.first:
        return recipe(run.of_first(), name, kind)
    clock, few = time.process_time(), run.part.few(run.task(name), run.seed)
    epochs, n = run.part.epochs(len(few.train)), list(run.part.names).index(name)
    if kind == "targets":
        others = [other for other in run.part.names if other != name]
        lot = np.random.default_rng(n).permutation(len(others))[:2]
        starts = [[run.probe, expert(run, others[k])] for k in lot]
        grid = [Recipe(rate, epochs, BATCH) for rate in RATES]
        with_whom = [others[k] for k in lot]
    else:
        starts, with_whom = [[random_start(run)]] * 2, []
        grid = [Recipe(rate, SCRATCH_LONGER * epochs, BATCH, "own") for rate in SCRATCH_RATES]
    chosen, errors = transfer.choose_recipe(starts, few, grid, seed=run.seed, device="cpu")
    found = {
        **{"chosen": dataclasses.asdict(chosen), "with": with_whom, "seconds": time.process_time() - clock},
        "errors": {str(r.lr): e.tolist() for r, e in zip(grid, errors, strict=True)},
    }
    keep(file, found)
    run.say(f"recipe of {name} ({kind}): {found}")
    return chosen


def measure(run: Run, target: str, candidate: str, few: tasks.Task) -> None:
    """Measure one pair: the head on the frozen candidate, its scores, and the fine-tuned candidate."""
    file = run.file("pairs", target, candidate)
    if file.exists():
        return
    by = recipe(run, target, "scratch" if candidate == SCRATCH else "targets")
    found: dict[str, float] = {}
    labels, truth, clock = few.train.labels, few.test.labels, time.process_time()
    if candidate == SCRATCH:
        start = random_start(run)
    else:
        start = run.probe if candidate == PROBE else expert(run, candidate)
        shots, tests = staged(start, few.train.images), staged(start, few.test.images)
        found["head_error"] = head_error(shots[LAST], labels, tests[LAST], truth)
        found["seconds_head"] = time.process_time() - clock
        for cut in HEAD_CUTS:
            if cut in shots:
                found[f"head_error:{cut}"] = head_error(shots[cut], labels, tests[cut], truth)
        clock = time.process_time()
        found |= scores(start, shots[LAST], labels)
        found["seconds_scores"] = time.process_time() - clock
    clock = time.process_time()
    try:
        made = by.train(start, few, seed=run.seed, device="cpu")
        found["finetuned_error"] = float((made.classify(few.test.images).argmax(1) != truth).mean())
    except TrainingError as error:
        run.say(f"{candidate} → {target}: {error}")
    found["seconds_finetune"] = time.process_time() - clock
    keep(file, found)
    run.say(
        f"{candidate} → {target}: fine-tuned {found.get('finetuned_error', np.nan):.3f}, head "
        f"{found.get('head_error', np.nan):.3f}, {found['seconds_finetune']:.1f} s"
    )


def rates_of(run: Run, source: str) -> None:
    """Measure the head on the frozen experts of one source, by their learning rate, on every other task."""
    file = run.file("rates", source)
    if file.exists():
        return
    found: dict[str, dict[str, float]] = {}
    for rate in RATES:
        if read(run.file("experts-chosen", source))["errors"].get(str(rate), 1.0) == 1.0:
            continue  # that training failed: all held-out images count as errors then
        network = expert(run, source, rate)
        for target in run.part.names:
            if target != source:
                few = run.part.few(run.task(target), run.seed)
                shots, tests = network.features(few.train.images), network.features(few.test.images)
                error = head_error(shots, few.train.labels, tests, few.test.labels)
                found.setdefault(str(rate), {})[target] = error
    keep(file, found)
    run.say(
        f"rates of {source}: { ({k: round(float(np.mean(list(v.values()))), 3) for k, v in found.items()}) }"
    )


def control(run: Run, target: str) -> None:
    """Fine-tune the candidates of the cross-validation at the other rates, and for more steps.

    It shows whether the recipe that was chosen is a good one for each of them, and whether it stops too early.
    """
    file = run.file("controls", target)
    if file.exists():
        return
    by, few = recipe(run, target), run.part.few(run.task(target), run.seed)
    grid = [dataclasses.replace(by, lr=rate) for rate in RATES if rate != by.lr]
    grid.append(dataclasses.replace(by, epochs=LONGER * by.epochs))
    found = []
    for name in (PROBE, *read(run.file("recipes-targets", target))["with"]):
        start = run.probe if name == PROBE else expert(run, name)
        for other in grid:
            times = other.epochs // by.epochs
            try:
                made = other.train(start, few, seed=run.seed, device="cpu")
                error = float((made.classify(few.test.images).argmax(1) != few.test.labels).mean())
            except TrainingError:
                error = float("nan")  # an empty cell in the table
            found.append({"candidate": name, "rate": other.lr, "times": times, "error": error})
    keep(file, {"rows": found})
    run.say(f"controls of {target}: {found}")


def work(run: Run) -> Iterator[None]:
    """Do all that is missing of a part and seed; yields after every target."""
    for name in run.part.names:
        describe(run, name)
    for name in run.part.names:
        grow(run, name)
    yield
    for target in run.part.names:
        few = run.part.few(run.task(target), run.seed)
        for candidate in (PROBE, *(name for name in run.part.names if name != target)):
            measure(run, target, candidate, few)
        yield
    for target in run.part.names:
        measure(run, target, SCRATCH, run.part.few(run.task(target), run.seed))
    yield


# ---------------------------------------------------------------------------------------------------- the tables
def distances(run: Run) -> dict[tuple[str, str], dict[str, float]]:
    """Return, for every target and source, the distances and what the source's head says, as far as both are there."""
    file = run.file("apart", "all")
    if file.exists():
        return {tuple(row.pop("pair")): row for row in read(file)["rows"]}
    names = [name for name in run.part.names if run.file("tasks", name).exists()]
    whole, shots = (
        {name: embedding.TaskEmbedding.load(run.file(kind, name)) for name in names}
        for kind in ("embeddings", "shots")
    )
    frozen = {name: read_arrays(run.file("arrays", "frozen", name)) for name in names}
    found = {}
    for t in names:
        few, labels = frozen[t][f"shots:{LAST}"], frozen[t]["shots_labels"]
        for s in (name for name in names if name != t):
            mean = frozen[s][f"train:{LAST}"].mean(0)
            found[t, s] = {
                "d_sym": distance.symmetric(whole[s], whole[t]),
                "d_sym_shots": distance.symmetric(whole[s], shots[t]),
                "task2vec": distance.asymmetric(whole[s], whole[t], embedding.trivial(whole[t]), ALPHA),
                "task2vec_shots": distance.asymmetric(whole[s], shots[t], embedding.trivial(shots[t]), ALPHA),
                "log_cosine": distance.log_cosine(whole[s], whole[t]),
                "log_cosine_shots": distance.log_cosine(whole[s], shots[t]),
                "mean_feature": distance.cosine(mean, frozen[t][f"train:{LAST}"].mean(0)),
                "mean_feature_shots": distance.cosine(mean, few.mean(0)),
                **head_scores(few, frozen[s]["weight"], frozen[s]["bias"], labels),
            }
    if len(names) == len(run.part.names):
        keep(file, {"rows": [{"pair": pair, **row} for pair, row in found.items()]})
    return found


def pair_rows(run: Run) -> list[list[Any]]:
    """Return the rows of the pairs that are measured."""
    rows, apart = [], distances(run)
    for target in run.part.names:
        for candidate in (PROBE, *run.part.names, SCRATCH):
            file = run.file("pairs", target, candidate)
            if file.exists():
                row = {"seed": run.seed, "target": target, "candidate": candidate}
                row |= {**read(file), **apart.get((target, candidate), {})}
                rows.append([row.get(column, float("nan")) for column in COLUMNS])
    return rows


def task_rows(run: Run) -> list[list[Any]]:
    """Return one row a task that is described."""
    rows = []
    for name in run.part.names:
        if run.file("tasks", name).exists():
            row = {"part": run.part.name, "seed": run.seed, "task": name, **read(run.file("tasks", name))}
            if (file := run.file("experts-chosen", name)).exists():
                chosen = read(file)
                row |= {"rate": chosen["rate"], "accepted": int(chosen["accepted"])}
                row |= {"frozen_heldout": chosen["frozen"], "seconds_expert": chosen["seconds"]}
                row |= {f"heldout:{rate}": error for rate, error in chosen["errors"].items()}
            rows.append([row.get(column, float("nan")) for column in TASK_COLUMNS])
    return rows


TASK_COLUMNS = (
    *("part", "seed", "task", "classes", "train", "test", "shots", "norm", "entropy", "rate", "accepted"),
    *("frozen_heldout", *(f"heldout:{rate}" for rate in RATES), "seconds_embedding", "seconds_expert"),
)


def recipe_rows(run: Run) -> list[list[Any]]:
    """Return one row a target, kind of recipe and rate: the cross-validated errors."""
    rows = []
    for kind in ("targets", "scratch"):
        for target in run.part.names:
            if (file := run.file(f"recipes-{kind}", target)).exists():
                found = read(file)
                for rate, (first, second) in found["errors"].items():
                    picked = int(float(rate) == found["chosen"]["lr"])
                    row = [
                        run.part.name,
                        run.seed,
                        target,
                        kind,
                        rate,
                        found["chosen"]["epochs"],
                        first,
                        second,
                    ]
                    rows.append([*row, picked, ";".join(found["with"]), found["seconds"]])
    return rows


def rate_rows(run: Run) -> list[list[Any]]:
    """Return one row a target, source and rate: the error of a head on the frozen expert."""
    return [
        [run.part.name, run.seed, target, source, rate, error]
        for source in run.part.names
        if (file := run.file("rates", source)).exists()
        for rate, of_target in read(file).items()
        for target, error in of_target.items()
    ]


def control_rows(run: Run) -> list[list[Any]]:
    """Return one row a target, candidate and other recipe."""
    return [
        [run.part.name, run.seed, target, *row.values()]
        for target in run.part.names
        if (file := run.file("controls", target)).exists()
        for row in read(file)["rows"]
    ]


def tables(runs: Sequence[Run], out: Path, command: str) -> None:
    """Write the tables of what is there."""
    for name in dict.fromkeys(run.part.name for run in runs):
        rows = [row for run in runs if run.part.name == name for row in pair_rows(run)]
        if rows:
            write_text(out / f"{name}.csv", table(COLUMNS, rows))
    for file, columns, rows_of in (
        ("tasks", TASK_COLUMNS, task_rows),
        (
            "recipes",
            (
                "part",
                "seed",
                "target",
                "kind",
                "rate",
                "epochs",
                "fold1",
                "fold2",
                "chosen",
                "with",
                "seconds",
            ),
            recipe_rows,
        ),
        ("rates", ("part", "seed", "target", "source", "rate", "head_error"), rate_rows),
        (
            "controls",
            ("part", "seed", "target", "candidate", "rate", "times", "finetuned_error"),
            control_rows,
        ),
    ):
        if rows := [row for run in runs for row in rows_of(run)]:
            write_text(out / f"{file}.csv", table(columns, rows))
    write_text(out / "config.json", json.dumps(config(runs, command), indent=2) + "\n")


def config(runs: Sequence[Run], command: str) -> dict[str, Any]:
    """Return what a reader needs to know about the run."""
    found = {**about(command), "probe": runs[0].probe.name, "alpha": ALPHA, "batch_size": BATCH}
    found |= {"expert_epochs": EXPERT_EPOCHS, "rates": RATES, "scratch_rates": SCRATCH_RATES}
    found |= {"scratch_longer": SCRATCH_LONGER, "longer": LONGER}
    for part in {run.part.name: run.part for run in runs}.values():
        settings = {k: v for k, v in dataclasses.asdict(part).items() if k != "folder"}
        seeds = [run.seed for run in runs if run.part.name == part.name]
        found[part.name] = {**settings, "rule": RULE[part.name], "seeds": seeds}
    if any(run.part.name == "photographs" for run in runs):
        sets = json.loads(
            (ROOT / "book" / "runs" / "photographs" / "datasets.json").read_text(encoding="utf-8")
        )
        keys = ("title", "source", "licence")
        found["photographs"]["data_sets"] = {k: {key: v[key] for key in keys} for k, v in sets.items()}
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, help="kept and reused")
    parser.add_argument("--photographs", type=Path, help="folder of DATASET/CLASS/images")
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "runs" / "finetune")
    parser.add_argument("--parts", nargs="+", help="PART:SEED, in order")
    parser.add_argument("--tables", action="store_true", help="write the tables of what is there, and stop")
    args = parser.parse_args(arguments)
    order = args.parts or ["drawn:0", "photographs:0", "drawn:1", "photographs:1"]
    if args.photographs is None and not args.tables:
        order = [text for text in order if not text.startswith("photographs")]
    args.parts = [(text.split(":")[0], int(text.split(":")[1])) for text in order]
    if odd := [part for part, _ in args.parts if part not in ("drawn", "photographs")]:
        parser.error(f"--parts: {odd[0]!r} is neither drawn nor photographs")
    return args


def main(
    arguments: Sequence[str] | None = None,
    parts: Mapping[str, Part] | None = None,
    probe: probes.Probe | None = None,
) -> None:
    """Measure what is missing, and write the tables."""
    args = parse(arguments)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if parts is None:
        parts = PARTS | {"photographs": dataclasses.replace(PHOTOGRAPHS, folder=args.photographs)}
    probe = probe or probes.load("efficientnet_lite0")
    first = {name: min(seed for part, seed in args.parts if part == name) for name, _ in args.parts}
    runs = [Run(parts[name], seed, args.runs, probe, first[name]) for name, seed in args.parts]
    command = "python scripts/finetune_run.py RUNS" + " --photographs FOLDER" * (args.photographs is not None)
    if not args.tables:
        for run in runs:
            for _ in work(run):
                tables(runs, args.out, command)
        for run in runs:
            for name in run.part.names if run.seed == run.first else ():
                rates_of(run, name)
                control(run, name)
    tables(runs, args.out, command)


if __name__ == "__main__":
    main()
