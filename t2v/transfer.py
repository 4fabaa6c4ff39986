"""Which source task to transfer from: rankings from embeddings alone, and the gain that they try to predict.

:func:`rank` needs embeddings only. :func:`finetune` makes the experts against which it is judged, and :mod:`t2v.baselines`
scores them; those scores, and :mod:`t2v.comparison`, can be called from here too.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from t2v import distance
from t2v._files import atomically
from t2v.baselines import h_score, leep, logme, nce, nearest_class_mean, transrate
from t2v.comparison import Comparison, bootstrap, compare
from t2v.embedding import TaskEmbedding, fit_head, trivial
from t2v.probes import Probe
from t2v.tasks import Task

__all__ = [
    "Comparison",
    "Ranked",
    "TrainingError",
    "bootstrap",
    "compare",
    "finetune",
    "gain",
    "h_score",
    "leep",
    "load_expert",
    "logme",
    "nce",
    "nearest_class_mean",
    "rank",
    "save_expert",
    "transrate",
]


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
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False):
        for epoch in range(1, epochs + 1):
            order = rng.permutation(len(images))
            for chosen in (order[k : k + batch_size] for k in range(0, len(order), batch_size)):
                logits = head(model(expert.preprocess(images[chosen])))
                loss = nn.functional.cross_entropy(logits, labels[torch.from_numpy(chosen).to(where)])
                _step(loss, weights, optimizer, clip, epoch)
                schedule.step()
    model.requires_grad_(False)
    features = expert.features(images)
    if not np.ptp(features, axis=0).any():
        raise TrainingError(
            f"the expert of {task.name!r} collapsed: all images have one feature; try a smaller lr"
        )
    return replace(
        expert, classifier=fit_head(features, task.train.labels, len(task.classes), l2=l2).to(where)
    )


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
        raise ValueError(f"{path}: not an expert, or damaged ({type(error).__name__})") from error
    model = copy.deepcopy(probe.model)
    _check_architecture(path, shapes, model.state_dict(), probe.name)
    model.load_state_dict(state)
    classifier = None
    if head is not None:
        classifier = nn.utils.skip_init(nn.Linear, columns, rows, device=probe.device, dtype=torch.float32)
        classifier.load_state_dict(head)
        classifier.requires_grad_(False)
    return replace(probe, name=name, model=model.eval(), classifier=classifier), about


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
