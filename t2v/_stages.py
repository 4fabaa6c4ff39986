"""The stages of an atlas run. Each makes what is missing of one file of a task, and returns nothing."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn

from t2v import baselines, transfer
from t2v._cells import Cells
from t2v._files import file_name, read_arrays, write_arrays
from t2v._library import PROBE, Library
from t2v.embedding import canonical, embed, fit_head, low_shot, photographs
from t2v.probes import Probe
from t2v.tasks import Task
from t2v.transfer import Recipe, TrainingError, load_expert, save_expert

if TYPE_CHECKING:
    from t2v.atlas import AtlasConfig

Array = NDArray[np.float64]

#: Baselines that need the expert's features or outputs, in the order of the files.
SCORES = ("leep", "nce", "logme", "h_score", "transrate", "nearest_class_mean", "cross_validated_head")
#: Those that take no more than features: a probe whose head is gone has them, too.
FEATURE_SCORES = SCORES[2:]
#: The same on the frozen probe: what the source's *head* says of the target's images. They need no expert.
HEAD_SCORES = ("head_leep", "head_nce", "head_logme", "head_nearest_class_mean")
#: Parts of the cross-validation of the head; images in a batch of an expert's training, and of that on the shots.
FOLDS, BATCH, SHOT_BATCH = 5, 32, 16
#: Learning rates of the fine-tuning on the shots, from which one is chosen for each target; the most cautious first.
RATES = (1e-4, 3e-4, 1e-3)
#: What is measured by fine-tuning on the shots.
TUNING = ("fine_tuned",)
#: Kinds of files with a table of measurements inside: from a source's expert, and of a target without any expert.
TABLES = ("measured", "frozen")


def task_file(out: Path, kind: str, name: str) -> Path:
    """Return a task's file of a kind: ``embeddings``, ``heads``, ``experts``, ``measured`` or ``frozen``."""
    return out / kind / f"{file_name(name)}.{'pt' if kind == 'experts' else 'npz'}"


def shots_file(out: Path, name: str, draw: int) -> Path:
    """Return the file of a task's embedding from one draw of its shots."""
    return out / "shots" / f"{file_name(name)}-{draw}.npz"


def forget(out: Path, name: str) -> None:
    """Remove all that was made from a task's images, which have changed."""
    for kind in ("embeddings", "heads", "experts", *TABLES):
        task_file(out, kind, name).unlink(missing_ok=True)
    mine = re.compile(re.escape(file_name(name)) + r"-\d+\.npz")
    for file in (out / "shots").glob("*.npz"):
        if mine.fullmatch(file.name):
            file.unlink()
    for file in (file for kind in TABLES for file in (out / kind).glob("*.npz")):
        cells = Cells(file)
        if cells.drop(name):
            cells.write()


def wanted(config: AtlasConfig, row: str, kind: str) -> list[tuple[str, ...]]:
    """Return the groups of numbers that a row of a table holds, each measured in one go."""
    if kind == "frozen" and row != PROBE:
        return [HEAD_SCORES]
    scores = SCORES if kind == "measured" else FEATURE_SCORES
    return [("error", *scores), *([TUNING] if config.truth == "finetune" else [])]


def embed_canonical(out: Path, probe: Probe, config: AtlasConfig) -> None:
    """Embed the probe's own task, on the library's photographs."""
    file = out / "canonical.npz"
    if probe.classifier is not None and not file.exists():
        images = photographs(config.size, config.seed)
        canonical(probe, images, method=config.method, seed=config.seed).save(file)


def embed_task(out: Path, library: Library, name: str, probe: Probe, config: AtlasConfig) -> None:
    """Embed a task, from all its training images and from its shots, and fit a head on the frozen probe."""
    file = task_file(out, "embeddings", name)
    how: dict[str, Any] = {
        "method": config.method,
        "arithmetic": config.arithmetic,
        "device": str(probe.device),
    }
    if not file.exists():
        made = embed(library[name], probe, seed=config.seed, **how)
        dataclasses.replace(made, task=name).save(file)
    for r in range(config.seeds):
        if not (file := shots_file(out, name, r)).exists():
            task = _only_shots(library[name], config, r)
            made = embed(task, probe, seed=config.seed + r, **how)
            dataclasses.replace(made, task=name).save(file)
    file = task_file(out, "heads", name)
    if not file.exists():
        start, task = time.perf_counter(), library[name]
        features = probe.features(task.train.images)
        head = fit_head(features, task.train.labels, task.n_classes)
        found = {"mean": features.mean(0), "weight": head.weight.numpy(), "bias": head.bias.numpy()}
        write_arrays(file, **found, seconds=np.array(time.perf_counter() - start))


def _only_shots(task: Task, config: AtlasConfig, draw: int) -> Task:
    """Leave the task the training images of one draw of the shots: what the baselines see."""
    rows = low_shot(task.train.labels, config.shots, config.seed + draw)
    return dataclasses.replace(task, train=_rows(task, rows))


def _rows(task: Task, rows: NDArray[np.intp]) -> Any:
    """Return some of a task's training images."""
    return dataclasses.replace(task.train, images=task.train.images[rows], labels=task.train.labels[rows])


def train_expert(out: Path, library: Library, name: str, probe: Probe, config: AtlasConfig) -> None:
    """Fine-tune the probe on a task."""
    file = task_file(out, "experts", name)
    if not file.exists():
        start = time.perf_counter()
        expert, about = fit_expert(library[name], probe, config)
        save_expert(expert, file, {"task": name, **about, "seconds": time.perf_counter() - start})


def fit_expert(task: Task, probe: Probe, config: AtlasConfig) -> tuple[Probe, dict[str, float]]:
    """Fine-tune on four fifths of the training images; the rest says whether it was worth while.

    If the expert is no better there than a head on the frozen probe, it is trained again at a third of the learning rate,
    and at a ninth; of several such experts the best is kept, of equal ones the slowest. No test image is looked at.
    """
    rates, best, about = (config.lr, config.lr / 3, config.lr / 9), None, dict[str, float]()
    for lr in rates:
        recipe = Recipe(lr, config.epochs, BATCH)
        try:
            made = transfer.train_expert(probe, task, [recipe], seed=config.seed, device=str(probe.device))
        except TrainingError:
            if lr == rates[-1] and best is None:
                raise
            continue
        error, before = made.errors[0], made.frozen_error
        if best is None or error <= about["error"]:
            best, about = made.experts[0], {"lr": lr, "error": error, "probe_error": before}
        if error < before or error == 0:
            break
    assert best is not None
    return best, about


def measure_transfer(out: Path, library: Library, source: str, probe: Probe, config: AtlasConfig) -> None:
    """Measure the transfer from a source's expert to every task."""
    cells = Cells(task_file(out, "measured", source))
    todo = _todo(cells, library.names, config, "measured")
    if not todo:
        return
    expert, about = load_expert(task_file(out, "experts", source), probe)
    for key in ("seconds", "lr", "error", "probe_error"):
        cells.about[f"expert_{key}"] = float(about.get(key, np.nan))
    for target, draw, group in todo:
        lr = choose_rate(out, library, target, probe, config) if group == TUNING else 0.0
        cells.put(target, draw, _measured(expert, library[target], config, draw, lr))
        cells.write()


def measure_frozen(out: Path, library: Library, target: str, probe: Probe, config: AtlasConfig) -> None:
    """Measure what the probe as it is makes of a target, and what the head of every source says of it."""
    todo = _todo(Cells(task_file(out, "frozen", target)), (PROBE, *library.names), config, "frozen")
    if not todo:
        return
    tuning = any(group == TUNING for _, _, group in todo)
    lr, task = choose_rate(out, library, target, probe, config) if tuning else 0.0, library[target]
    cells = Cells(task_file(out, "frozen", target))
    cells.about["n_test"] = len(task.test)
    heads = {name: _head(out, name) for name, _, group in todo if group == HEAD_SCORES}
    features: dict[int, Any] = {}
    for row, draw, group in todo:
        if row == PROBE:
            cells.put(row, draw, _measured(probe, task, config, draw, lr if group == TUNING else 0.0))
            continue
        few = _only_shots(task, config, draw).train
        if draw not in features:
            features[draw] = probe.features(few.images)
        start = time.perf_counter()
        found = _head_scores(features[draw], heads[row], few.labels)
        cells.put(row, draw, {**found, "seconds_heads": time.perf_counter() - start})
    cells.write()


def _todo(
    cells: Cells, rows: Sequence[str], config: AtlasConfig, kind: str
) -> list[tuple[str, int, tuple[str, ...]]]:
    """Return the row, draw and group of numbers of all that is missing."""
    return [
        (row, draw, group)
        for row in rows
        for group in wanted(config, row, kind)
        for draw in cells.missing([row], config.seeds, group).get(row, [])
    ]


def _measured(network: Probe, task: Task, config: AtlasConfig, draw: int, lr: float) -> dict[str, float]:
    """Measure the error on a task with one draw of its shots: by fine-tuning, or (``lr`` = 0) by a head, with scores."""
    start = time.perf_counter()
    shots = _only_shots(task, config, draw)
    if lr:
        error = _fine_tuned_error(network, shots, lr, config, draw)
        return {"fine_tuned": error, "seconds_fine_tuned": time.perf_counter() - start}
    few, labels = network.features(shots.train.images), shots.train.labels
    error = _low_shot_error(few, labels, network.features(task.test.images), task.test.labels, task.n_classes)
    middle = time.perf_counter()
    scores = _scores(network, few, labels)
    times = {"seconds_transfer": middle - start, "seconds_scores": time.perf_counter() - middle}
    return {"error": error, **scores, **times}


def choose_rate(out: Path, library: Library, target: str, probe: Probe, config: AtlasConfig) -> float:
    """Return the learning rate of a target's fine-tuning, for all candidates: given, or chosen once and kept.

    By twofold cross-validation on the first draw of the shots, in which the probe takes part in both parts and two experts
    drawn by lot in one each.
    """
    cells = Cells(task_file(out, "frozen", target))
    if "finetune_lr" in cells.about:
        return cells.about["finetune_lr"]
    lr = config.finetune_lr
    if lr is None:
        others = [name for name in library.names if name != target]
        drawn = np.random.default_rng(config.seed).permutation(len(others))[:2]
        starts = [[probe, load_expert(task_file(out, "experts", others[k]), probe)[0]] for k in drawn]
        grid = [Recipe(rate, config.finetune_epochs, SHOT_BATCH) for rate in RATES]
        few, where = _only_shots(library[target], config, 0), str(probe.device)
        lr = transfer.choose_recipe(starts, few, grid, seed=config.seed, device=where)[0].lr
    cells.about["finetune_lr"] = lr
    cells.write()
    return lr


def _fine_tuned_error(start: Probe, few: Task, lr: float, config: AtlasConfig, draw: int) -> float:
    """Return the test error after fine-tuning all weights on the shots; a run that diverges is made again slower."""
    recipe = Recipe(lr, config.finetune_epochs, SHOT_BATCH)
    how: dict[str, Any] = {"seed": config.seed + draw, "device": str(start.device)}
    try:
        tuned = recipe.train(start, few, **how)
    except TrainingError:
        tuned = dataclasses.replace(recipe, lr=lr / 3).train(start, few, **how)
    return float((tuned.classify(few.test.images).argmax(1) != few.test.labels).mean())


def _low_shot_error(
    few: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    tests: NDArray[np.floating[Any]],
    truth: NDArray[np.integer[Any]],
    n_classes: int,
) -> float:
    """Return the test error of a head fitted on few samples.

    The head of :func:`t2v.embedding.fit_head` lies in the span of the centred samples, since its penalty is the same in
    all directions; it is fitted in coordinates of that span, which are far fewer than the features.
    """
    few, tests = np.asarray(few, dtype=float), np.asarray(tests, dtype=float)
    centre, basis = _span(few)
    head = fit_head((few - centre) @ basis, labels, n_classes)
    logits = head(torch.from_numpy((tests - centre) @ basis).float())
    return float((logits.argmax(1).numpy() != truth).mean())


def _span(samples: NDArray[np.floating[Any]]) -> tuple[Array, Array]:
    """Return the samples' mean and an orthonormal basis ``(d, ≤ n)`` of the differences from it."""
    centre = samples.mean(0)
    return centre, np.linalg.qr((samples - centre).T)[0]


def left_out_errors(
    few: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], *, folds: int = FOLDS, seed: int = 0
) -> NDArray[np.bool_]:
    """Return, for every sample, whether a head is wrong that was fitted on the other parts of a cross-validation.

    The parts are those of :func:`t2v.transfer.folds`: which sample is in which depends on the labels and the seed alone,
    so that the errors of two networks on the same samples are paired.

    Raises
    ------
    ValueError
        If a class has one sample, or there are fewer than two parts.
    """
    classes, y = np.unique(labels, return_inverse=True)
    x, wrong = np.asarray(few, dtype=float), np.zeros(len(y), bool)
    centre, basis = _span(x)
    x = (x - centre) @ basis
    for here in transfer.folds(y, folds, seed):
        rest = np.setdiff1d(np.arange(len(y)), here)
        head = fit_head(x[rest], y[rest], len(classes))
        wrong[here] = head(torch.from_numpy(x[here]).float()).argmax(1).numpy() != y[here]
    return wrong


def _scores(network: Probe, few: NDArray[np.float32], labels: NDArray[np.integer[Any]]) -> dict[str, float]:
    """Return the baselines on the shots: the very images on which the head is fitted."""
    found = {
        "logme": baselines.logme(few, labels),
        # without shrinkage it is the number of classes − 1 here: fewer images than features
        "h_score": baselines.h_score(few, labels, shrinkage="ledoit_wolf"),
        "transrate": baselines.transrate(few, labels),
        "nearest_class_mean": baselines.nearest_class_mean(few, labels),
        "cross_validated_head": 1 - float(left_out_errors(few, labels).mean()),
    }
    if network.classifier is not None:
        logits = _logits(network.classifier, few)
        found["leep"] = baselines.leep(softmax(logits, axis=1), labels)
        found["nce"] = baselines.nce(logits.argmax(1), labels)
    return found


def _head(out: Path, name: str) -> nn.Linear:
    found = read_arrays(task_file(out, "heads", name))
    rows, columns = found["weight"].shape
    head = nn.utils.skip_init(nn.Linear, columns, rows, dtype=torch.float32)
    head.load_state_dict({key: torch.from_numpy(found[key]) for key in ("weight", "bias")})
    return head.requires_grad_(False)


def _head_scores(
    few: NDArray[np.float32], head: nn.Linear, labels: NDArray[np.integer[Any]]
) -> dict[str, float]:
    """Return what a source's head on the frozen probe says of a target's shots."""
    logits = _logits(head, few)
    return {
        "head_leep": baselines.leep(softmax(logits, axis=1), labels),
        "head_nce": baselines.nce(logits.argmax(1), labels),
        "head_logme": baselines.logme(logits, labels),
        "head_nearest_class_mean": baselines.nearest_class_mean(logits, labels),
    }


def _logits(head: nn.Linear, features: NDArray[np.float32]) -> Array:
    with torch.inference_mode():
        found = head(torch.from_numpy(features).to(head.weight.device)).double().cpu().numpy()
    return np.asarray(found)
