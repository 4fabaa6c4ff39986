"""Which source task to transfer from: rankings from embeddings alone, and the gain that they try to predict.

:func:`rank` needs embeddings only. :func:`finetune` makes the experts against which it is judged, and :mod:`t2v.baselines`
scores them; those scores, and :mod:`t2v.comparison`, can be called from here too.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from t2v import distance
from t2v._files import atomically
from t2v.baselines import h_score, leep, logme, nce, nearest_class_mean, transrate
from t2v.comparison import (
    Comparison,
    Measured,
    across_seeds,
    bootstrap,
    compare,
    read_measured,
    top,
    weighted_kendall,
)
from t2v.embedding import TaskEmbedding, fit_head, split, trivial
from t2v.probes import Probe
from t2v.tasks import Task

__all__ = [
    "Comparison",
    "Measured",
    "Ranked",
    "Recipe",
    "Trained",
    "TrainingError",
    "across_seeds",
    "bootstrap",
    "choose_recipe",
    "compare",
    "finetune",
    "folds",
    "gain",
    "h_score",
    "leep",
    "load_expert",
    "logme",
    "nce",
    "nearest_class_mean",
    "rank",
    "read_about",
    "read_measured",
    "save_expert",
    "top",
    "train_expert",
    "transrate",
    "weighted_kendall",
]

Array = NDArray[np.float64]
#: Where batch norm takes its means and variances from while a network is trained.
Statistics = Literal["frozen", "own"]


class TrainingError(ValueError):
    """Fine-tuning ran into NaN, or ended with features that are the same for every image."""


@dataclass(frozen=True)
class Ranked:
    """One source in a ranking.

    Attributes
    ----------
    source : str
        Name of the source task.
    d_asym, d_sym : float
        Asymmetric and symmetric distance to the target; smaller is nearer.
    norm : float
        Euclidean norm of the source's embedding, in nats²: its complexity.
    """

    source: str
    d_asym: float
    d_sym: float
    norm: float


def rank(
    target: TaskEmbedding,
    sources: Sequence[TaskEmbedding],
    reference: TaskEmbedding | str = "trivial",
    alpha: float = 0.15,
) -> list[Ranked]:
    r"""Rank source tasks by their asymmetric distance to a target, the best first. No expert is trained.

    Parameters
    ----------
    target : TaskEmbedding
        The task to transfer to.
    sources : sequence of TaskEmbedding
        The tasks to transfer from, with different names.
    reference : TaskEmbedding or "trivial"
        t₀. ``"trivial"`` is :func:`t2v.embedding.trivial` at the target's scale.
    alpha : float
        α ≥ 0.

    Returns
    -------
    list of Ranked
        Ascending in ``d_asym``; ties by name.

    Raises
    ------
    ValueError
        If there is no source, a name occurs twice, the reference is unknown, probes differ, or α is negative.

    Notes
    -----
    Source: definition 6.2 of the review paper; Achille et al. (2019), section 4.
    """
    if len(sources) == 0:
        raise ValueError("sources: there are none; at least one is needed")
    names = [source.task for source in sources]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"sources: {', '.join(sorted(twice))} given more than once")
    if isinstance(reference, str):
        if reference != "trivial":
            raise ValueError(f"reference: {reference!r} is unknown; accepted: 'trivial' or a TaskEmbedding")
        reference = trivial(target)
    rows = [
        Ranked(
            source.task,
            distance.asymmetric(source, target, reference, alpha),
            distance.symmetric(source, target),
            source.norm,
        )
        for source in sources
    ]
    return sorted(rows, key=lambda row: (row.d_asym, row.source))


def gain(error_transfer: float, error_scratch: float) -> float:
    r"""Return the relative change of error :math:`D_{ft}(a \to b) = (\ell_{a \to b} - \ell_b)/\ell_b`.

    Parameters
    ----------
    error_transfer : float
        Expected test error on b when starting from the expert of a.
    error_scratch : float
        Expected test error on b when starting from t₀; positive.

    Returns
    -------
    float
        Negative where the transfer helps.

    Raises
    ------
    ValueError
        For a negative or non-finite error, or ``error_scratch`` = 0.
    """
    for name, value in (("error_transfer", error_transfer), ("error_scratch", error_scratch)):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name}: {value} is not a finite number ≥ 0")
    if error_scratch == 0:
        raise ValueError("error_scratch: it is 0, so there is no error left to gain on")
    return (error_transfer - error_scratch) / error_scratch


def finetune(
    probe: Probe,
    task: Task,
    *,
    epochs: int = 4,
    lr: float = 1e-3,
    batch_size: int = 32,
    weight_decay: float = 0.01,
    warmup: float = 0.1,
    clip: float = 1.0,
    l2: float = 1e-4,
    seed: int = 0,
    device: str = "auto",
    statistics: Statistics = "frozen",
) -> Probe:
    """Fine-tune a copy of a probe on a task's training images: the task's *expert*.

    AdamW on all weights with a linear warm-up and a cosine down to 0, gradients clipped to a norm of ``clip``; batch norm
    stays in eval mode, so that its statistics are those of the probe and a small batch cannot upset them. The head that
    was trained along is replaced by one fitted to convergence on the expert's features, see
    :func:`t2v.embedding.fit_head`.

    Parameters
    ----------
    probe : Probe
        Where to start. It comes back untouched: same weights, flags, mode and device.
    task : Task
        Only its training images are used.
    epochs, batch_size : int
        Passes over the images, and images a step; at least 1.
    lr, weight_decay : float
        AdamW's, at the height of the schedule.
    warmup : float
        Share of the steps in which the learning rate rises, 0 … 1.
    clip : float
        Largest norm of the gradient of all weights together.
    l2 : float
        Regularisation of the head that is fitted at the end.
    seed : int
        Of the head's first weights and of the order of the images. The global random state is left alone.
    device : str
        ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"``, …
    statistics : {"frozen", "own"}
        Of batch norm. ``"own"``: each batch's while it is trained, and those of the training images in the end, batch by
        batch in their mean: for a probe with random weights, whose stored statistics are of nothing.

    Returns
    -------
    Probe
        Frozen, in eval mode, on that device; named ``"<probe>@<task>"``; its ``classifier`` is the fitted head, so that
        ``expert.classify`` gives the probabilities that :func:`t2v.baselines.leep` wants.

    Raises
    ------
    ValueError
        For numbers out of range, or a task with fewer than two classes.
    TrainingError
        A ValueError: the loss is NaN or infinite (the message names the epoch), or the features have become the same for
        every image. A smaller ``lr`` is the remedy.

    Notes
    -----
    On a CPU the same arguments give the same weights, for one number of threads.
    """
    _check_recipe(
        epochs=epochs, batch_size=batch_size, lr=lr, clip=clip, weight_decay=weight_decay, warmup=warmup
    )
    if len(task.classes) < 2 or len(task.train) == 0:
        raise ValueError(f"task: {task.name!r} needs at least two classes and one training image")
    if statistics not in get_args(Statistics):
        raise ValueError(f"statistics: {statistics!r} is unknown; accepted: frozen, own")
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    model = copy.deepcopy(probe.model).to(where).requires_grad_(True).eval()
    expert = replace(probe, name=f"{probe.name}@{task.name}", model=model, classifier=None)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would leave the GPUs seeded
        head = nn.Linear(probe.feature_dim, len(task.classes), dtype=torch.float32)
    head.to(where)
    images, labels = task.train.images, torch.from_numpy(task.train.labels.astype(np.int64)).to(where)
    steps = epochs * math.ceil(len(images) / batch_size)
    weights = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: _schedule(k, steps, warmup))
    rng = np.random.default_rng(seed)
    # a transfer on the GPU is repeatable only with convolutions that cuDNN calls deterministic
    if statistics == "own":
        _own_statistics(model, True)
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False):
        for epoch in range(1, epochs + 1):
            order = rng.permutation(len(images))
            for chosen in (order[k : k + batch_size] for k in range(0, len(order), batch_size)):
                logits = head(model(expert.preprocess(images[chosen])))
                loss = nn.functional.cross_entropy(logits, labels[torch.from_numpy(chosen).to(where)])
                _step(loss, weights, optimizer, clip, epoch)
                schedule.step()
    model.requires_grad_(False)
    if statistics == "own":
        _settle(model, expert.batches(images, batch_size))
    features = expert.features(images)
    if not np.ptp(features, axis=0).any():
        raise TrainingError(
            f"the expert of {task.name!r} collapsed: all images have one feature; try a smaller lr"
        )
    return replace(
        expert, classifier=fit_head(features, task.train.labels, len(task.classes), l2=l2).to(where)
    )


def _own_statistics(model: nn.Module, own: bool) -> list[nn.modules.batchnorm._BatchNorm]:
    """Let batch norm take each batch's statistics, or those that it stored; return its layers."""
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for layer in layers:
        layer.train(own)
    return layers


@torch.no_grad()
def _settle(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Store in batch norm the mean over the batches of their statistics, with the weights as they are."""
    for layer in _own_statistics(model, True):
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over what follows
    for batch in batches:
        model(batch)
    _own_statistics(model, False)


def _step(
    loss: Tensor, weights: list[nn.Parameter], optimizer: torch.optim.Optimizer, clip: float, epoch: int
) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(weights, clip)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise TrainingError(
            f"the loss or its gradient is NaN or infinite in epoch {epoch}; a smaller lr, or images and weights without "
            "NaN, are accepted"
        )
    optimizer.step()


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Return the factor of the learning rate: up in a line over the warm-up, then down a half cosine."""
    rise = max(round(warmup * steps), 1)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - rise) / max(steps + 1 - rise, 1)))


def _check_recipe(
    *, epochs: int, batch_size: int, lr: float, clip: float, weight_decay: float, warmup: float
) -> None:
    for name, count in (("epochs", epochs), ("batch_size", batch_size)):
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ValueError(f"{name}: {count!r} is not an integer ≥ 1")
    for name, value in (("lr", lr), ("clip", clip)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: {value} is not a finite number > 0")
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay: {weight_decay} is not a finite number ≥ 0")
    if not 0 <= warmup <= 1:
        raise ValueError(f"warmup: {warmup} is not a share between 0 and 1")


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune: the settings of :func:`finetune` that are chosen by images held out of the training.

    Attributes
    ----------
    lr : float
        Learning rate at the height of the schedule.
    epochs, batch_size : int
        Passes over the images, and images a step.
    statistics : {"frozen", "own"}
        Of batch norm.
    """

    lr: float
    epochs: int
    batch_size: int = 16
    statistics: Statistics = "frozen"

    def train(self, start: Probe, task: Task, *, seed: int = 0, device: str = "auto") -> Probe:
        """Fine-tune a copy of a network on a task's training images, see :func:`finetune`."""
        return finetune(
            start,
            task,
            lr=self.lr,
            epochs=self.epochs,
            batch_size=self.batch_size,
            statistics=self.statistics,
            seed=seed,
            device=device,
        )

    def error(
        self, start: Probe, task: Task, rows: NDArray[np.intp], seed: int = 0, device: str = "auto"
    ) -> float:
        """Return the share of wrong answers on these training images, of a network trained on the others.

        It is 1 for a training that failed, see :class:`TrainingError`: such a recipe is never chosen.
        """
        rest = np.setdiff1d(np.arange(len(task.train)), rows)
        try:
            made = self.train(start, _only(task, rest), seed=seed, device=device)
        except TrainingError:
            return 1.0
        return _error(made, task, rows)


def _only(task: Task, rows: NDArray[np.intp]) -> Task:
    """Leave a task these of its training images."""
    part = replace(task.train, images=task.train.images[rows], labels=task.train.labels[rows])
    return replace(task, train=part)


def _error(network: Probe, task: Task, rows: NDArray[np.intp]) -> float:
    """Return the share of a task's training images, among these rows, on which a network's head is wrong."""
    guessed = network.classify(task.train.images[rows]).argmax(1)
    return float((guessed != task.train.labels[rows]).mean())


def folds(labels: NDArray[np.integer[Any]], n: int, seed: int = 0) -> list[NDArray[np.intp]]:
    """Deal the indices of each class out over ``n`` parts at random, as equally as can be.

    Raises
    ------
    ValueError
        If there are fewer than two parts, or a class would be missing where one part is left out.
    """
    if n < 2:
        raise ValueError(f"n: {n} parts; at least two are needed")
    rng, part, dealt = np.random.default_rng(seed), np.empty(len(labels), int), 0
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < 2:
            raise ValueError(f"labels: class {label} has one sample; at least two are needed")
        part[members] = (
            dealt + np.arange(len(members))
        ) % n  # goes on where the last class ended: equal parts
        dealt += len(members)
    return [np.flatnonzero(part == k) for k in range(n)]


def choose_recipe(
    starts: Sequence[Sequence[Probe]],
    task: Task,
    grid: Sequence[Recipe],
    *,
    seed: int = 0,
    device: str = "auto",
) -> tuple[Recipe, Array]:
    """Choose how to fine-tune on a task by cross-validation on its training images; no test image is looked at.

    One recipe for all candidates: the errors of several networks are pooled, so that none of them is favoured.

    Parameters
    ----------
    starts : sequence of sequences of Probe
        For each part that is held out in turn, the networks that are fine-tuned on the rest. At least two parts.
    task : Task
        Only its training images are used.
    grid : sequence of Recipe
        The recipes to choose from, the most cautious first: the first of equals is chosen.
    seed : int
        Of the division, of the new heads, and of the order of the images.
    device : str
        As for :func:`finetune`.

    Returns
    -------
    recipe : Recipe
        That with the smallest mean error.
    errors : array
        ``(recipes, parts)``: mean errors over the networks, on the images held out; 1 for a training that failed.

    Raises
    ------
    ValueError
        If the grid or a part has nothing in it, or a class has one image.
    """
    if not grid or not starts or any(len(networks) == 0 for networks in starts):
        raise ValueError("starts, grid: at least one recipe, and one network for each part, are needed")
    parts = folds(task.train.labels, len(starts), seed)
    errors = np.array(
        [
            [
                np.mean([recipe.error(network, task, rows, seed, device) for network in networks])
                for networks, rows in zip(starts, parts, strict=True)
            ]
            for recipe in grid
        ]
    )
    return grid[int(errors.mean(1).argmin())], errors


@dataclass(frozen=True, eq=False)
class Trained:
    """The experts of one task by several recipes, judged on images that none of them was trained on.

    Attributes
    ----------
    experts : tuple of Probe or None
        One a recipe; None where the training failed.
    errors : tuple of float
        Their errors on the images held out; 1 where the training failed.
    frozen_error : float
        The error of a head on the frozen probe, fitted and judged on the same images.
    chosen : int
        Which recipe has the smallest error, the first of equals.
    """

    experts: tuple[Probe | None, ...]
    errors: tuple[float, ...]
    frozen_error: float
    chosen: int

    @property
    def accepted(self) -> bool:
        """Whether the chosen expert is at least as good at its own task as the frozen probe."""
        return self.errors[self.chosen] <= self.frozen_error


def train_expert(
    probe: Probe,
    task: Task,
    grid: Sequence[Recipe],
    *,
    share: float = 0.8,
    seed: int = 0,
    device: str = "auto",
) -> Trained:
    """Fine-tune a probe on a part of a task's training images by each recipe, and judge the experts on the rest.

    Parameters
    ----------
    probe : Probe
        Where to start.
    task : Task
        Only its training images are used.
    grid : sequence of Recipe
        The recipes, the most cautious first.
    share : float
        Share of each class that is trained on.
    seed : int
        Of the division, of the new heads, and of the order of the images.
    device : str
        As for :func:`finetune`.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        If the grid is empty, or a class has fewer than two images.
    TrainingError
        If no recipe succeeds.
    """
    if not grid:
        raise ValueError("grid: at least one recipe is needed")
    rows, held = split(task.train.labels, share, seed)
    part = _only(task, rows)
    experts: list[Probe | None] = []
    for recipe in grid:
        try:
            experts.append(recipe.train(probe, part, seed=seed, device=device))
        except TrainingError:
            experts.append(None)
    errors = tuple(1.0 if expert is None else _error(expert, task, held) for expert in experts)
    if all(expert is None for expert in experts):
        raise TrainingError(f"the expert of {task.name!r} fails by every recipe; add one with a smaller lr")
    head = fit_head(probe.features(part.train.images), part.train.labels, task.n_classes)
    frozen = _error(replace(probe, classifier=head.to(probe.device)), task, held)
    return Trained(tuple(experts), errors, frozen, int(np.argmin(errors)))


def save_expert(expert: Probe, path: str | os.PathLike[str], about: Mapping[str, Any] | None = None) -> Path:
    """Write an expert's weights and head to one file, atomically; tensors and text only.

    Parameters
    ----------
    expert : Probe
        What :func:`finetune` returned.
    path : path
        The file.
    about : mapping, optional
        What else to remember of it; must go into JSON.

    Returns
    -------
    Path
        The file.
    """
    path = Path(path)
    head = None if expert.classifier is None else _on_cpu(expert.classifier.state_dict())
    content = {
        "name": expert.name,
        "model": _on_cpu(expert.model.state_dict()),
        "head": head,
        "about": json.dumps(dict(about or {})),
    }
    atomically(path, lambda file: torch.save(content, file))
    return path


def load_expert(path: str | os.PathLike[str], probe: Probe) -> tuple[Probe, dict[str, Any]]:
    """Read an expert that :func:`save_expert` wrote.

    Parameters
    ----------
    path : path
        The file. It is read as tensors and text (``weights_only=True``): it cannot run code.
    probe : Probe
        The probe from which the expert started. It comes back untouched.

    Returns
    -------
    expert : Probe
        Frozen, in eval mode, on the probe's device.
    about : dict
        What was remembered of it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, no expert, or of another architecture than the probe; the message names the file and what
        differs.
    """
    try:
        content = torch.load(path, map_location=probe.device, weights_only=True)
        name, state, head = content["name"], content["model"], content["head"]
        about = json.loads(content["about"])
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        rows, columns = (0, 0) if head is None else head["weight"].shape
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file raises one of many kinds
        raise ValueError(
            f"{path}: not an expert, or damaged ({type(error).__name__}); remove it, and start again"
        ) from error
    model = copy.deepcopy(probe.model)
    _check_architecture(path, shapes, model.state_dict(), probe.name)
    model.load_state_dict(state)
    classifier = None
    if head is not None:
        classifier = nn.utils.skip_init(nn.Linear, columns, rows, device=probe.device, dtype=torch.float32)
        classifier.load_state_dict(head)
        classifier.requires_grad_(False)
    return replace(probe, name=name, model=model.eval(), classifier=classifier), about


def read_about(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    """Return the name of an expert, ``"<probe>@<task>"``, and what was remembered of it, without its weights' network.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or no expert; the message names it.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return str(content["name"]), dict(json.loads(content["about"]))
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file raises one of many kinds
        raise ValueError(
            f"{path}: not an expert, or damaged ({type(error).__name__}); remove it, and start again"
        ) from error


def _check_architecture(
    path: str | os.PathLike[str],
    other: Mapping[str, tuple[int, ...]],
    ours: Mapping[str, Tensor],
    probe: str,
) -> None:
    shape = {k: tuple(v.shape) for k, v in ours.items()}
    for key in [*shape, *other]:
        if shape.get(key) != other.get(key):
            has, needed = other.get(key, "no such tensor"), shape.get(key, "no such tensor")
            raise ValueError(
                f"{path}: an expert of another architecture than probe {probe!r}: {key} is {has}, not {needed}"
            )


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu() for key, value in state.items()}
