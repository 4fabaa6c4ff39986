"""Which trained network to start from, judged on the target's own images; without one, which task to train it on.

:func:`choose` holds networks that are there (experts, other architectures, and the probe itself) against each other by a
cross-validated head on the target's training images, and LogME beside it. :func:`choose_task` orders tasks for which no
network has been trained yet. :func:`noise` says which distances between tasks are ties.

The winner of a comparison looks better than it is, the more so the more candidates there are; what is *within noise* of it
is therefore part of every answer.
"""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import binomtest

from t2v import baselines, probes, tasks, transfer
from t2v._library import PROBE
from t2v._stages import left_out_errors
from t2v.embedding import TaskEmbedding, embed, fit_head
from t2v.probes import Probe
from t2v.tasks import Task
from t2v.transfer import load_expert

Bools = NDArray[np.bool_]

#: Two candidates whose discordant images are as uneven by chance alone this often, or more often, are not told apart.
LEVEL = 0.05


@dataclass(frozen=True)
class Candidate:
    """A network, and how well it serves the target.

    Attributes
    ----------
    source : str
        Its name; ``"probe"`` for the probe.
    error : float
        Share of the target's training images on which a head is wrong that was fitted to the other parts of a
        cross-validation.
    low, high : float
        Wilson's 95 % interval of that share.
    logme : float
        :func:`t2v.baselines.logme` of its features, in nats.
    seconds : float
        What it took to judge it.
    within_noise : bool
        Whether it comes after the first one and is not told apart from it, by an exact sign test on the images on which
        they differ.
    """

    source: str
    error: float
    low: float
    high: float
    logme: float
    seconds: float
    within_noise: bool


@dataclass(frozen=True)
class TaskCandidate:
    """A task, and what is known of an expert that would be trained on it.

    Attributes
    ----------
    source : str
        The task's name.
    head : float
        Leave-one-out accuracy of the nearest class mean on the target's images, as the outputs of the source's head on
        the frozen probe see them.
    low, high : float
        Wilson's 95 % interval of it.
    d_asym : float
        Task2Vec's distance to the target; smaller is nearer.
    seconds : float
        What it took to judge it.
    within_noise : bool
        Whether it comes after the first one and its ``head`` is not told apart from that one's.
    """

    source: str
    head: float
    low: float
    high: float
    d_asym: float
    seconds: float
    within_noise: bool


C = TypeVar("C", Candidate, TaskCandidate)


@dataclass(frozen=True)
class Choice(Generic[C]):
    """An answer.

    Attributes
    ----------
    target : str
        The target's name.
    ranking : tuple
        :class:`Candidate`, the smallest error first (ties: the larger LogME), or :class:`TaskCandidate`, the highest
        ``head`` first (ties: the nearer).
    stay : bool or None
        Whether the probe comes first; None where tasks were ranked, of which there is no network.
    advice : str
        What to do, in one line.
    """

    target: str
    ranking: tuple[C, ...]
    stay: bool | None
    advice: str


@dataclass(frozen=True)
class Noise:
    """How much distances to a target depend on the seed of the embeddings.

    Attributes
    ----------
    standard_error : float
        Of the difference between two sources' distances, each from one seed.
    margin : float
        Half of its 95 % interval, by Student's t with n − 1 degrees of freedom.
    ties : tuple of str
        Sources whose distance exceeds the smallest by no more than the margin.
    """

    standard_error: float
    margin: float
    ties: tuple[str, ...]


# ---------------------------------------------------------------- networks


def choose(
    target: Task, probe: Probe, networks: Mapping[str, Probe], *, folds: int = 5, seed: int = 0
) -> Choice[Candidate]:
    """Choose the network to start from, by a cross-validated head on the target's training images.

    Parameters
    ----------
    target : Task
        Only its training images are used. They must be new to the networks.
    probe : Probe
        Always a candidate.
    networks : mapping of str to Probe
        The others, by name: experts (:func:`t2v.transfer.load_expert`), other probes.
    folds, seed : int
        Parts of the cross-validation, and seed of the division, which is the same for all.

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        If there is no network, one is called ``"probe"``, a class has one image, or there are fewer than two parts.
    """
    if len(networks) == 0:
        raise ValueError("networks: there are none; at least one besides the probe is needed")
    if PROBE in networks:
        raise ValueError(f"networks: {PROBE!r} stands for the probe itself; another name is accepted")
    judged = {
        name: _judge(target, network, folds, seed) for name, network in {PROBE: probe, **networks}.items()
    }
    order = sorted(judged, key=lambda n: (judged[n][0].mean(), -judged[n][1], n != PROBE, n))
    first = judged[order[0]][0]
    ranking = tuple(
        Candidate(
            n, float(wrong.mean()), *_interval(wrong), logme, took, n != order[0] and tied(wrong, first)
        )
        for n, (wrong, logme, took) in ((n, judged[n]) for n in order)
    )
    return Choice(target.name, ranking, order[0] == PROBE, _advice(ranking))


def _judge(target: Task, network: Probe, folds: int, seed: int) -> tuple[Bools, float, float]:
    """Return which images a cross-validated head gets wrong, LogME, and the seconds of both."""
    start, labels = time.perf_counter(), target.train.labels
    features = network.features(target.train.images)
    wrong = left_out_errors(features, labels, folds=folds, seed=seed)
    return wrong, baselines.logme(features, labels), time.perf_counter() - start


def _interval(hits: Bools) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    found = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def tied(a: Bools, b: Bools) -> bool:
    """Whether two networks' answers on the same images are not told apart: McNemar's test in its exact form.

    Parameters
    ----------
    a, b : arrays of bool
        ``(n,)``: which images each gets wrong (or right).

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    if a.shape != b.shape:
        raise ValueError(f"a, b: shapes {a.shape} and {b.shape} differ; the same images are needed")
    differ = int((a != b).sum())
    return differ == 0 or bool(binomtest(int((a & ~b).sum()), differ).pvalue >= LEVEL)


def _advice(ranking: Sequence[Candidate]) -> str:
    first, close = ranking[0], [c.source for c in ranking[1:] if c.within_noise]
    do = "stay with the probe" if first.source == PROBE else f"start from {first.source}"
    return f"{do} (error {first.error:.3f}); {_close(close)}"


def _close(names: Sequence[str]) -> str:
    named = ["the probe" if name == PROBE else name for name in names]
    if not named:
        return "nothing else is within noise of it"
    several = f"{', '.join(named[:-1])} and {named[-1]} are" if len(named) > 1 else f"{named[0]} is"
    return f"{several} within noise of it"


# ---------------------------------------------------------------- tasks


def choose_task(
    target: Task,
    probe: Probe,
    sources: Sequence[Task],
    *,
    alpha: float = 0.15,
    seed: int = 0,
    device: str = "auto",
) -> Choice[TaskCandidate]:
    """Rank tasks to train an expert on, by what their heads on the frozen probe make of the target, and by Task2Vec.

    Parameters
    ----------
    target : Task
        The task to transfer to; only its training images are used.
    probe : Probe
        The feature extractor.
    sources : sequence of Task
        The tasks to transfer from, with different names.
    alpha, seed, device
        Of :func:`t2v.transfer.rank` and :func:`t2v.embedding.embed`.

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        If there is no source, a name occurs twice or is the target's, or a class of the target has one image.
    """
    names = [source.name for source in sources]
    if not names or len({*names, target.name}) < len(names) + 1:
        raise ValueError("sources: at least one is needed, each once, and not the target itself")
    own = embed(target, probe, seed=seed, device=device)
    images, labels = probe.features(target.train.images), target.train.labels
    judged = {s.name: _judge_task(s, own, images, labels, probe, alpha, seed, device) for s in sources}
    order = sorted(judged, key=lambda name: (-judged[name][0].mean(), judged[name][1], name))
    first = judged[order[0]][0]
    ranking = tuple(
        TaskCandidate(
            n, float(right.mean()), *_interval(right), d, took, n != order[0] and tied(right, first)
        )
        for n, (right, d, took) in ((n, judged[n]) for n in order)
    )
    nearest = min(names, key=lambda name: judged[name][1])
    agree = "too" if nearest == order[0] else f"would take {nearest}"
    close = _close([c.source for c in ranking[1:] if c.within_noise])
    advice = f"train an expert on {order[0]} first (Task2Vec {agree}); {close}; then choose between it and the probe"
    return Choice(target.name, ranking, None, advice)


def _judge_task(
    source: Task,
    target: TaskEmbedding,
    images: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    probe: Probe,
    alpha: float,
    seed: int,
    device: str,
) -> tuple[Bools, float, float]:
    """Return which of the target's images a source's head tells apart, d_asym, and the seconds of both."""
    start = time.perf_counter()
    head = fit_head(probe.features(source.train.images), source.train.labels, source.n_classes)
    right = baselines.left_out_right(head(torch.from_numpy(images)).double().numpy(), labels)
    distance = transfer.rank(target, [embed(source, probe, seed=seed, device=device)], alpha=alpha)[0].d_asym
    return right, distance, time.perf_counter() - start


def noise(first: Mapping[str, float], second: Mapping[str, float]) -> Noise:
    """Return how much of the differences between sources' distances is the luck of a seed.

    What a second seed changes for all sources alike (the target's own embedding) orders nothing, and is left out: the
    standard error of a difference between two sources is the standard deviation, over the sources, of the change. All
    sources are taken to be equally noisy.

    Parameters
    ----------
    first : mapping of str to float
        Source → distance to the target.
    second : mapping of str to float
        The same from embeddings with another seed, of at least two of these sources.

    Returns
    -------
    Noise

    Raises
    ------
    ValueError
        If the second has fewer than two sources, or one that the first lacks.
    """
    if len(second) < 2 or not set(second) <= set(first):
        raise ValueError("second: at least two of the first's sources are needed, and no others")
    change = np.array([second[name] - first[name] for name in second])
    error = float(change.std(ddof=1))
    margin = float(stdtrit(len(change) - 1, 0.975)) * error
    best = min(first, key=lambda name: (first[name], name))
    close = (name for name in first if name != best and first[name] - first[best] <= margin)
    return Noise(error, margin, tuple(sorted(close, key=lambda name: (first[name], name))))


# ---------------------------------------------------------------- what the command line names


def kind(spec: str) -> str:
    """Return what a SPEC of the command line is: ``"expert"``, ``"run"``, ``"task"`` or ``"network"``.

    Raises
    ------
    ValueError
        If it is nothing; the message has the nearest names.
    """
    if spec in tasks.names():  # a folder or file of that name is a path: ./NAME
        return "task"
    path = Path(spec)
    if path.is_file():
        return "expert"
    if path.is_dir():
        return "run" if (path / "config.json").exists() else "task"
    if spec.startswith("torchvision:"):
        return "task"
    if os.sep in spec or path.suffix == ".pt":
        raise ValueError(f"from: no such file or folder: {spec}")
    timm = probes._import_timm()
    if spec in probes.OFFLINE or timm.is_model(spec):
        return "network"
    near = difflib.get_close_matches(spec, [*tasks.names(), *probes.OFFLINE, *timm.list_models()], n=3)
    raise ValueError(
        f"from: {spec!r} is neither a file, a folder, a task nor a network; nearest: {', '.join(near) or 'none'}"
    )


def open_networks(specs: Sequence[str], probe: Probe, target: str) -> tuple[dict[str, Probe], list[str]]:
    """Open the networks that the command line names.

    Parameters
    ----------
    specs : sequence of str
        Expert files, folders of atlas runs (all of their experts), or timm names.
    probe : Probe
        The base of experts, unless they say another.
    target : str
        The target's name: an expert that was trained on it has seen its images, and is left out.

    Returns
    -------
    networks : dict of str to Probe
        By the name of an expert's task, or the network's own.
    left_out : list of str
        What was left out, and why.

    Raises
    ------
    ValueError
        If a file is no expert or damaged, its base is unknown, a run has no experts, or a network is given twice.
    RuntimeError
        If the weights of a network are neither on this machine nor to be had.
    """
    if len(set(specs)) < len(specs):
        raise ValueError("from: the same network is given twice; each once is accepted")
    networks: dict[str, Probe] = {}
    left_out: list[str] = []
    bases = {probe.name: probe}
    for spec in specs:
        for name, file in _files(spec):
            if name == target:
                left_out.append(f"{file or spec} is left out: it was trained on {target!r} itself")
                continue
            name = f"{name} ({spec})" if name in networks and file is not None else name
            if name in networks or name == probe.name:
                raise ValueError(
                    f"from: {name!r} is given twice, or is the probe, which is always a candidate"
                )
            networks[name] = _open(spec, file, bases).to(probe.device)
    return networks, left_out


def _files(spec: str) -> list[tuple[str, Path | None]]:
    """Return name and file of each expert that a SPEC stands for; no file for a timm name."""
    what, path = kind(spec), Path(spec)
    if what == "expert":
        return [(transfer.read_about(path)[1].get("task", path.stem), path)]
    if what == "network":
        return [(spec, None)]
    files = sorted((path / "experts").glob("*.pt"))
    if not files:
        raise ValueError(f"from: {spec} is a run without experts yet (there is no {path / 'experts'}/*.pt)")
    return [(transfer.read_about(file)[1].get("task", file.stem), file) for file in files]


def _open(spec: str, file: Path | None, bases: dict[str, Probe]) -> Probe:
    """Load a network; an expert on top of the probe that its name begins with."""
    base = spec if file is None else transfer.read_about(file)[0].partition("@")[0]
    if base not in bases:
        try:
            bases[base] = probes.load(base)
        except ValueError as error:
            raise ValueError(
                f"from: {file or spec} is an expert of probe {base!r}, which has no known architecture; in Python,"
                " t2v.choose.choose takes any network"
            ) from error
    return bases[base] if file is None else load_expert(file, bases[base])[0]
