"""The stages of an atlas run. Each makes one file of a task, unless it is there, and returns nothing."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn

from t2v import baselines
from t2v._files import file_name, read_arrays, write_arrays
from t2v._library import Library
from t2v.embedding import canonical, embed, fit_head, low_shot
from t2v.probes import Probe
from t2v.tasks import Task
from t2v.tasks import load as load_task
from t2v.transfer import TrainingError, finetune, load_expert, save_expert

if TYPE_CHECKING:
    from t2v.atlas import AtlasConfig

Array = NDArray[np.float64]

#: Baselines that need the expert's features or outputs, in the order of the files.
SCORES = ("leep", "nce", "logme", "h_score", "transrate", "nearest_class_mean")
#: The same on the frozen probe: what the source's *head* says of the target's images. They need no expert.
HEAD_SCORES = ("head_leep", "head_nce", "head_logme", "head_nearest_class_mean")


def task_file(out: Path, kind: str, name: str) -> Path:
    """Return a task's file of a kind: ``embeddings``, ``heads``, ``experts`` or ``measured``."""
    return out / kind / f"{file_name(name)}.{'pt' if kind == 'experts' else 'npz'}"


def shots_file(out: Path, name: str, draw: int) -> Path:
    """Return the file of a task's embedding from one draw of its shots."""
    return out / "shots" / f"{file_name(name)}-{draw}.npz"


def frozen_file(out: Path) -> Path:
    """Return the file of what was measured from the probe as it is."""
    return out / "frozen.npz"


def embed_canonical(out: Path, probe: Probe, config: AtlasConfig) -> None:
    """Embed the probe's own task, on the library's photographs."""
    file = out / "canonical.npz"
    if probe.classifier is not None and not file.exists():
        photographs = load_task("photographs", size=config.size, train=200, test=10, seed=config.seed)
        canonical(probe, photographs.train.images, method=config.method, seed=config.seed).save(file)


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
    few = dataclasses.replace(task.train, images=task.train.images[rows], labels=task.train.labels[rows])
    return dataclasses.replace(task, train=few)


def train_expert(out: Path, library: Library, name: str, probe: Probe, config: AtlasConfig) -> None:
    """Fine-tune the probe on a task."""
    file = task_file(out, "experts", name)
    if not file.exists():
        start = time.perf_counter()
        expert, lr = fit_expert(library[name], probe, config)
        save_expert(expert, file, {"task": name, "lr": lr, "seconds": time.perf_counter() - start})


def fit_expert(task: Task, probe: Probe, config: AtlasConfig) -> tuple[Probe, float]:
    """Fine-tune, at a third of the learning rate if the expert unlearns, and again at a ninth.

    It has unlearned if it separates its own training images worse than the probe does; no test image is looked at.
    """

    def separated(by: Probe) -> float:
        return baselines.nearest_class_mean(by.features(task.train.images), task.train.labels)

    before, rates = separated(probe), (config.lr, config.lr / 3, config.lr / 9)
    for lr in rates:
        try:
            expert = finetune(
                probe, task, epochs=config.epochs, lr=lr, seed=config.seed, device=str(probe.device)
            )
        except TrainingError:
            if lr == rates[-1]:
                raise
            continue
        if lr == rates[-1] or separated(expert) >= before:
            break
    return expert, lr


def measure_transfer(
    out: Path, library: Library, source: str | None, probe: Probe, config: AtlasConfig
) -> None:
    """Measure the transfer from one expert (None: from the probe as it is) to every task."""
    file = frozen_file(out) if source is None else task_file(out, "measured", source)
    if file.exists():
        return
    expert, about = probe, {"seconds": 0.0}
    if source is not None:
        expert, about = load_expert(task_file(out, "experts", source), probe)
    heads = [_head(out, name) for name in library.names] if source is None else []
    kept: dict[str, list[Any]] = {}
    clock = {"transfer": 0.0, "scores": 0.0}
    for target in library.names:
        found = [_one_draw(expert, library[target], config, r, heads, clock) for r in range(config.seeds)]
        for key in found[0]:
            # (targets, seeds), and (targets, sources, seeds) where every source has its say
            kept.setdefault(key, []).append(np.stack([f[key] for f in found], axis=-1))
    times = {"seconds_expert": about["seconds"], **{f"seconds_{key}": value for key, value in clock.items()}}
    arrays = {key: np.array(value) for key, value in {**kept, **times}.items()}
    write_arrays(file, targets=np.array(library.names), **arrays)


def _one_draw(
    expert: Probe,
    task: Task,
    config: AtlasConfig,
    draw: int,
    heads: Sequence[nn.Linear],
    clock: dict[str, float],
) -> dict[str, Any]:
    """Measure the error on a task with one draw of its shots, and take the scores on the same shots."""
    start = time.perf_counter()
    few = _only_shots(task, config, draw).train
    features, tests = expert.features(few.images), expert.features(task.test.images)
    found: dict[str, Any] = {
        "error": _low_shot_error(features, few.labels, tests, task.test.labels, task.n_classes)
    }
    middle = time.perf_counter()
    if heads:
        said = [_head_scores(features, head, few.labels) for head in heads]
        found |= {key: np.array([s[key] for s in said]) for key in HEAD_SCORES}
    else:
        found |= _scores(expert, features, few.labels)
    clock["transfer"] += middle - start
    clock["scores"] += time.perf_counter() - middle
    return found


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
    centre = few.mean(0)
    basis, _ = np.linalg.qr((few - centre).T)
    head = fit_head((few - centre) @ basis, labels, n_classes)
    logits = head(torch.from_numpy((tests - centre) @ basis).float())
    return float((logits.argmax(1).numpy() != truth).mean())


def _scores(expert: Probe, few: NDArray[np.float32], labels: NDArray[np.integer[Any]]) -> dict[str, float]:
    """Return the baselines on the shots: the very images on which the head is fitted."""
    assert expert.classifier is not None
    logits = _logits(expert.classifier, few)
    return {
        "leep": baselines.leep(softmax(logits, axis=1), labels),
        "nce": baselines.nce(logits.argmax(1), labels),
        "logme": baselines.logme(few, labels),
        # without shrinkage it is the number of classes − 1 here: fewer images than features
        "h_score": baselines.h_score(few, labels, shrinkage="ledoit_wolf"),
        "transrate": baselines.transrate(few, labels),
        "nearest_class_mean": baselines.nearest_class_mean(few, labels),
    }


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
