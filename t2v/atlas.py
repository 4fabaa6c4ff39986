r"""The full Task2Vec run: do task embeddings predict which source transfers best? Measured, next to every baseline.

:func:`run` goes through four stages, each of which leaves files in the run's folder:

1. ``embeddings/TASK.npz``: the task embedding; ``shots/TASK-R.npz``: the same from few shots a class, for several draws
   of the shots; ``heads/TASK.npz``: a head on the frozen probe, and its mean feature; ``canonical.npz``: the probe's
   own task.
2. ``experts/TASK.pt``: the probe, fine-tuned on the task, and accepted by images that it was not trained on.
3. ``measured/TASK.npz``: from that expert to every task, the test error of a head fitted on the shots (with
   ``truth="finetune"`` also that of fine-tuning all weights on them), and the baselines on the same images;
   ``frozen/TASK.npz``: the same on that task from the probe as it is, and what the head of every task says of it.
4. ``pairs.csv``, ``ranking.csv``, ``report.json``, ``report.txt``, ``ranking.png``: every predictor against the
   measurement, and for every task where to start from.

Files are written whole or not at all, and what is there is not made again: a killed run goes on where it stopped, and a
run that is asked for another task, more draws of the shots, another α or the other truth makes what is missing. A task
whose images have changed is made anew.
Under ``torchrun`` the tasks of each stage are shared out over the processes; they exchange nothing but files, so the
result is that of one process, and a process that dies loses its task only.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from t2v import _answers, distance
from t2v._cells import Cells
from t2v._files import atomically, file_name, read_arrays, table, write_text
from t2v._hierarchies import GROUPS, ORDERS
from t2v._library import PROBE, Library
from t2v._progress import follow
from t2v._stages import (
    FEATURE_SCORES,
    HEAD_SCORES,
    SCORES,
    embed_canonical,
    embed_task,
    forget,
    measure_frozen,
    measure_transfer,
    shots_file,
    task_file,
    train_expert,
    wanted,
)
from t2v.comparison import Interval, Intervals, Kind, bootstrap
from t2v.embedding import Method, TaskEmbedding, trivial
from t2v.probes import Arithmetic, Probe
from t2v.probes import load as load_probe
from t2v.tasks import Task
from t2v.transfer import gain

Array = NDArray[np.float64]
Needs = Literal["no expert", "experts", "measured transfer"]
Truth = Literal["head", "finetune"]

#: Offline tasks of the quick scale: at most 28 classes, from every family.
QUICK_TASKS = (
    "latin_upper",
    "latin_lower",
    "greek_upper",
    "greek_lower",
    "hebrew",
    "arabic",
    "digits_printed",
    "digits_circled",
    "digits_arabic",
    "roman_numerals",
    "mnist",
    "digits",
    "arrow_direction",
    "currency",
    "planets",
    "zodiac",
    "chess",
    "dice",
    "card_ranks",
    "trigrams",
    "type_style",
    "textures",
    "histology",
    "photo_blur",
)

#: Tasks of the full scale: torchvision's data sets; CIFAR-100, Omniglot and iNaturalist cut by their own hierarchies.
FULL_TASKS = (
    *(f"torchvision:CIFAR100/{group}" for group in GROUPS["CIFAR100"]),
    *(
        f"torchvision:{name}"
        for name in (
            "CIFAR10",
            "STL10",
            "SVHN",
            "MNIST",
            "FashionMNIST",
            "KMNIST",
            "USPS",
            "GTSRB",
            "EuroSAT",
            "DTD",
            "OxfordIIITPet",
            "Food101",
            "FGVCAircraft",
            "Flowers102",
            "EMNIST/letters",
        )
    ),
    *(
        f"torchvision:Omniglot/{alphabet}"
        for alphabet in ("Balinese", "Cyrillic", "Greek", "Hebrew", "Japanese_(katakana)", "Korean")
    ),
    *(f"torchvision:INaturalist/{order}" for order in ORDERS),
)

#: Settings that change where or how fast a run is made, not what it finds.
_ELSEWHERE = ("scale", "device", "root", "download", "library")
#: Settings that a run's folder may be asked for anew: what they add is measured, and nothing that is there is lost.
_MORE = ("tasks", "seeds", "alpha", "truth")
#: Settings of the fine-tuning on the shots.
_TUNING = ("finetune_epochs", "finetune_lr")
#: Settings that an earlier version did not have, with what it did.
_BEFORE = {"arithmetic": "float32", "truth": "head", "finetune_epochs": 12, "finetune_lr": None}
#: Method → (small or large means a good source, what it needs).
METHODS: dict[str, tuple[Kind, Needs]] = {
    **dict.fromkeys(
        (
            *("task2vec", "task2vec_canonical", "task2vec_shots", "d_sym", "cosine", "log_cosine"),
            *("mean_feature", "entropy_difference"),
        ),
        ("distance", "no expert"),
    ),
    **dict.fromkeys(
        ("source_norm", "source_classes", "source_entropy", "source_accuracy", *HEAD_SCORES),
        ("score", "no expert"),
    ),
    **dict.fromkeys(SCORES, ("score", "experts")),
    "best_for_others": ("distance", "measured transfer"),
}


@dataclass(frozen=True)
class AtlasConfig:
    """All that a run depends on.

    Attributes
    ----------
    scale : str
        The name of the settings that these started from.
    tasks : tuple of str
        Names: offline tasks, ``torchvision:NAME``, ``torchvision:NAME/GROUP``, or paths to image folders; with a
        ``library`` folder, names of its sub-folders (empty: all of them). ``"probe"`` is no task's name.
    library : str
        ``"offline"``, or a folder of image folders.
    probe : str
        As :func:`t2v.probes.load` has it.
    size, train, test : int
        Side of the images, and number of training and of test images a task.
    shots : int
        Images a class on which the heads of the measured transfer are fitted.
    seeds : int
        Number of draws of the shots.
    epochs, lr : int, float
        Of the fine-tuning, see :func:`t2v.transfer.finetune`.
    method : str
        Of the embedding, see :func:`t2v.embedding.embed`.
    alpha : float
        α of the asymmetric distance.
    truth : {"head", "finetune"}
        What a transfer is measured by: a head on the expert's frozen features (seconds a pair), or fine-tuning of all
        weights on the shots (many times that). ``"finetune"`` measures the head, too.
    finetune_epochs : int
        Of the fine-tuning on the shots.
    finetune_lr : float, optional
        Its learning rate. By default each target's, for all candidates, is chosen from 1e-4, 3e-4 and 1e-3 by
        cross-validation on its shots.
    arithmetic : str
        Of the embedding, see :func:`t2v.embedding.embed`.
    seed : int
        Of everything else that is random.
    device, root, download
        Where to compute; where torchvision's files are, and whether they may be downloaded.
    """

    scale: str = "quick"
    tasks: tuple[str, ...] = QUICK_TASKS
    library: str = "offline"
    probe: str = "efficientnet_lite0"
    size: int = 64
    train: int = 600
    test: int = 200
    shots: int = 10
    seeds: int = 3
    epochs: int = 4
    lr: float = 1e-3
    method: Method = "rademacher"
    alpha: float = 0.15
    truth: Truth = "head"
    finetune_epochs: int = 12
    finetune_lr: float | None = None
    arithmetic: Arithmetic = "float32"
    seed: int = 0
    device: str = "auto"
    root: str = "data"
    download: bool = False

    def __post_init__(self) -> None:
        for name, low in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ValueError(f"{name}: {value!r} is not an integer of at least {low}")
        for name in ("lr", "finetune_lr"):
            value = getattr(self, name)
            if (value is not None or name == "lr") and not 0 < value < float("inf"):
                raise ValueError(f"{name}: {value} is not a finite number > 0")
        if not 0 <= self.alpha < float("inf"):
            raise ValueError(f"alpha: {self.alpha} is not a finite number ≥ 0")
        for name, known in (("method", Method), ("arithmetic", Arithmetic), ("truth", Truth)):
            if (value := getattr(self, name)) not in get_args(known):
                raise ValueError(f"{name}: {value!r} is unknown; accepted: {', '.join(get_args(known))}")
        _check_device(self.device)
        twice = sorted({name for name in self.tasks if self.tasks.count(name) > 1})
        if twice:
            raise ValueError(f"tasks: {', '.join(twice)} given more than once")

    @staticmethod
    def at(scale: str, **changes: Any) -> AtlasConfig:
        """Return the settings of a scale, ``"quick"`` or ``"full"``, with changes.

        Raises
        ------
        ValueError
            If there is no such scale, or a value is out of range.
        """
        if scale not in SCALES:
            raise ValueError(f"scale: {scale!r} is unknown; accepted: {', '.join(SCALES)}")
        if changes.get("library", "offline") != "offline":
            changes = {"tasks": (), **changes}  # all that the folder has, unless some are named
        return dataclasses.replace(SCALES[scale], **changes)


#: The least that a number may be.
_LEAST = {
    "size": 8,
    "train": 4,
    "test": 1,
    "shots": 2,
    "seeds": 1,
    "epochs": 1,
    "finetune_epochs": 1,
    "seed": 0,
}


def _check_device(device: str) -> None:
    try:
        torch.device("cpu" if device == "auto" else device)
    except RuntimeError as error:
        raise ValueError(f"device: {device!r} is unknown; accepted: auto, cpu, cuda, cuda:1, …") from error


#: The laptop's and the GPU's settings.
SCALES: dict[str, AtlasConfig] = {
    "quick": AtlasConfig(),
    "full": AtlasConfig(
        scale="full", tasks=FULL_TASKS, probe="resnet34", size=224, train=1800, test=500, seeds=5
    ),
}


@dataclass(frozen=True, eq=False)
class Predictor:
    """What one method says of every pair.

    Attributes
    ----------
    values : array
        ``(targets, sources)``; NaN on the diagonal: a target is no source of its own.
    kind : {"distance", "score"}
        Whether small or large means a good source.
    needs : str
        ``"no expert"`` (is trained), ``"experts"``, or ``"measured transfer"``.
    draws : array, optional
        ``(targets, sources, draws)``: the same from each draw of the shots, where the method looks at them.
    probe : array, optional
        ``(targets,)``: what it says of the probe itself, which is a candidate, too; None where it cannot say.
    """

    values: Array
    kind: Kind
    needs: Needs
    draws: Array | None = None
    probe: Array | None = None


@dataclass(frozen=True, eq=False)
class Atlas:
    """The outcome of a run.

    Attributes
    ----------
    tasks : tuple of str
        Targets and sources, in the order of all arrays.
    errors : array
        ``(targets, sources, seeds)``: low-shot test error on the target from the source's expert. The diagonal is the
        target's own expert, which has seen more than the shots: it is reported, and takes part in no ranking.
    frozen : array
        ``(targets, seeds)``: the same from the probe as it is, t₀.
    embeddings : tuple of TaskEmbedding
        One a task.
    canonical : TaskEmbedding or None
        The probe's own task; None if the probe has no classifier.
    predictors : dict of str to Predictor
        Every method.
    seconds : dict of str to float
        Computing time of each step, summed over the tasks.
    config : dict
        The settings, and date, machine and versions of the run.
    tuned, tuned_probe : array, optional
        As ``errors`` and ``frozen``, after fine-tuning all weights on the shots; None where that was not measured.
    experts : tuple of dict
        Of each task's expert its learning rate, and its and the probe's error on training images kept from it.
    n_test : tuple of int
        Number of test images of each task.
    """

    tasks: tuple[str, ...]
    errors: Array
    frozen: Array
    embeddings: tuple[TaskEmbedding, ...]
    canonical: TaskEmbedding | None
    predictors: dict[str, Predictor]
    seconds: dict[str, float]
    config: dict[str, Any]
    tuned: Array | None = None
    tuned_probe: Array | None = None
    experts: tuple[dict[str, float], ...] = ()
    n_test: tuple[int, ...] = ()

    @property
    def truth(self) -> Array:
        """What is to be predicted, ``(targets, sources, draws)``: errors after fine-tuning, or of heads."""
        return self.errors if self.tuned is None else self.tuned

    @property
    def start(self) -> Array:
        """The same from the probe, ``(targets, draws)``: what a transfer has to beat."""
        return self.frozen if self.tuned_probe is None else self.tuned_probe

    @property
    def measured(self) -> Array:
        """Mean error over the draws, ``(targets, sources)``; NaN on the diagonal."""
        return _off_diagonal(self.truth.mean(2))

    def standard_errors(self) -> Array:
        """Return the standard error over the draws of each pair's mean error; NaN for a single draw."""
        return _standard_error(self.truth)

    def gains(self) -> Array:
        """D_ft of each pair, see :func:`t2v.transfer.gain`; NaN where the probe makes no error."""
        base, mean = self.start.mean(1), self.truth.mean(2)
        return np.array(
            [
                [gain(float(e), float(b)) if b > 0 else np.nan for e in r]
                for r, b in zip(mean, base, strict=True)
            ]
        )

    def task2vec(self, alpha: float, reference: TaskEmbedding | None = None) -> Predictor:
        """Return d_asym for another α or t₀ (None: the trivial embedding at each target's scale)."""
        return Predictor(_asymmetric(self.embeddings, alpha, reference), "distance", "no expert")

    def compare(self, draws: int = 1000, seed: int = 0) -> dict[str, Intervals]:
        """Compare every predictor with the measurement, see :func:`t2v.comparison.bootstrap`."""
        return {
            name: bootstrap(p.values, self.measured, kind=p.kind, draws=draws, seed=seed)
            for name, p in self.predictors.items()
        }

    def ranking(self, draws: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
        """Return one row a method, the highest Kendall τ first: method, needs, and each measure with its interval.

        With two draws of the shots or more, ``crossed`` is τ between what the method says of one draw and the errors of
        another, to be held against :meth:`ceiling`: no luck of the shots is shared.
        """
        rows = rank_methods(self.predictors, self.measured, draws, seed)
        if self.truth.shape[2] > 1:
            for row in rows:
                row["crossed"] = self._crossed(self.predictors[row["method"]])
        return rows

    def _crossed(self, predictor: Predictor) -> float:
        """Return the mean τ between a method on one draw and the measurement of each other draw."""
        n = self.truth.shape[2]
        said = [predictor.values if predictor.draws is None else predictor.draws[:, :, r] for r in range(n)]
        found = [
            bootstrap(said[a], _off_diagonal(self.truth[:, :, b]), kind=predictor.kind, draws=1).kendall.value
            for a in range(n)
            for b in range(n)
            if a != b
        ]
        return float(np.mean(found))

    def ceiling(self, draws: int = 1000, seed: int = 0) -> Interval | None:
        """Return how well one draw's measured errors order another's: τ, the most that a method can be asked for.

        The mean over all pairs of draws, with an interval over targets and sources; None for a single draw. Draws share
        experts, embeddings and test images: only the luck of the shots is in it.
        """
        n = self.truth.shape[2]
        each = [_off_diagonal(self.truth[:, :, r]) for r in range(n)]
        pairs = [(each[a], each[b]) for a in range(n) for b in range(a)]
        if not pairs:
            return None
        found = [bootstrap(a, b, draws=draws, seed=seed).kendall for a, b in pairs]
        resampled = np.mean([interval.draws for interval in found], axis=0)
        low, high = np.nanpercentile(resampled, [2.5, 97.5])
        return Interval(float(np.mean([i.value for i in found])), float(low), float(high), resampled)

    def answers(self) -> list[dict[str, Any]]:
        """Return one row a target: where to start from.

        Candidates are all other tasks' experts, ``"probe"`` (frozen, with a head on the shots) and, where it was
        measured, ``"probe, fine-tuned"``. A row has the keys ``target``; ``best``, the candidate with the smallest
        measured error, and its ``error``; ``frozen`` and ``fine_tuned``, the errors of the probe (None: not measured);
        ``picked`` and ``regret``: of each main method its candidate, and how much larger the error of that is;
        ``within_noise``, candidates that are not told apart from the best; and ``words``, all of that in a line.
        """
        return [_answers.answer(self, t) for t in range(len(self.tasks))]

    def text(self) -> str:
        """Return the report as lines of text: methods, ceiling, experts, and an answer for each target."""
        return "\n".join(_answers.report(self)) + "\n"

    def pairs(self) -> list[dict[str, Any]]:
        """Return one row a pair: target, source, errors with standard errors, D_ft, and what each predictor says."""
        kinds = [("error", "frozen", self.errors, self.frozen)]
        if self.tuned is not None and self.tuned_probe is not None:
            kinds.append(("fine_tuned", "probe_fine_tuned", self.tuned, self.tuned_probe))
        gains, rows = self.gains(), []
        for t, target in enumerate(self.tasks):
            for s, source in enumerate(self.tasks):
                row: dict[str, Any] = {"target": target, "source": source}
                for pair, probe, of_pair, of_probe in kinds:
                    stem, base = ("", "frozen_") if pair == "error" else (f"{pair}_", f"{probe}_")
                    for name, values in ((stem, of_pair[t, s]), (base, of_probe[t])):
                        row[f"{name}error"] = values.mean()
                        row[f"{name}standard_error"] = float(_standard_error(values))
                row["d_ft"] = gains[t, s]
                rows.append(row | {name: p.values[t, s] for name, p in self.predictors.items()})
        return rows

    def doubtful_experts(self) -> list[str]:
        """Return the tasks whose expert is no better than the probe on training images that it was not trained on."""
        return [
            n for n, e in zip(self.tasks, self.experts, strict=False) if e["error"] >= e["probe_error"] > 0
        ]

    def failed_experts(self) -> list[str]:
        """Return the tasks whose own expert serves them no better than the frozen probe: training went wrong."""
        own, frozen = np.diagonal(self.errors.mean(2)), self.frozen.mean(1)
        return [name for name, e, f in zip(self.tasks, own, frozen, strict=True) if e >= f > 0]

    def reference_regrets(self) -> dict[str, float]:
        """Mean regret of a source drawn at random, and of never leaving the probe (negative if that is best)."""
        best = np.nanmin(self.measured, axis=1)
        found = {
            "chance": float((np.nanmean(self.measured, axis=1) - best).mean()),
            "frozen_probe": float((self.frozen.mean(1) - best).mean()),
        }
        if self.tuned_probe is not None:
            found["fine_tuned_probe"] = float((self.tuned_probe.mean(1) - best).mean())
        return found


def rank_methods(
    predictors: Mapping[str, Predictor], measured: Array, draws: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """Hold every predictor against the measured errors, see :func:`t2v.comparison.bootstrap`.

    Parameters
    ----------
    predictors : mapping of str to Predictor
        Method → what it says of every pair.
    measured : array
        ``(targets, sources)`` errors; NaN on the diagonal.
    draws, seed
        Of the bootstrap.

    Returns
    -------
    list of dict
        One row a method, the highest Kendall τ first: method, needs, and τ, ρ and regret with their intervals.
    """
    rows = []
    for name, p in predictors.items():
        found = bootstrap(p.values, measured, kind=p.kind, draws=draws, seed=seed)
        row: dict[str, Any] = {"method": name, "needs": p.needs}
        for measure in ("kendall", "spearman", "regret"):
            interval = getattr(found, measure)
            row |= {measure: interval.value, f"{measure}_low": interval.low, f"{measure}_high": interval.high}
        rows.append(row)
    return sorted(rows, key=lambda row: (-row["kendall"], row["method"]))


# ---------------------------------------------------------------- the run

#: What is done for each task, one after the other; every process waits for the others in between.
_STAGES: tuple[tuple[str, Callable[..., None]], ...] = (
    ("embeddings", embed_task),
    ("experts", train_expert),
    ("from the probe", measure_frozen),
    ("transfer", measure_transfer),
)


def run(
    config: AtlasConfig,
    out: str | os.PathLike[str],
    *,
    probe: Probe | None = None,
    tasks: Sequence[Task] | None = None,
    progress: bool = False,
) -> Atlas:
    """Make the run, or go on with it, and write its report.

    Parameters
    ----------
    config : AtlasConfig
        The settings.
    out : path
        The run's folder. If it holds a run already, what that lacks is made: other tasks, more draws, another α or truth
        add to it; any other setting must be the same. Tasks whose images have changed are made anew.
    probe : Probe, optional
        Use this probe instead of loading ``config.probe`` (whose name is then this one's).
    tasks : sequence of Task, optional
        Use these tasks instead of opening ``config.tasks`` by name.
    progress : bool
        Show progress on the error stream: bars, or lines where that is no terminal.

    Returns
    -------
    Atlas
        On every process, if there are several.

    Raises
    ------
    ValueError
        If the folder holds another run or a file of another architecture, a task is unknown, there are fewer than three
        tasks, or tasks cannot be used (a class has fewer training images than shots, an image is damaged): all are
        checked before anything is made. The message names it.
    """
    out, library = Path(out), Library(config, tasks)
    names = _check_count(library.names)
    with _processes() as (rank, world):
        probe = probe or load_probe(config.probe)
        probe.to(
            ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
        )
        settings = dataclasses.replace(config, probe=probe.name, tasks=names)
        known = _check_settings(out, settings)
        marks = _checked(library, follow(names[rank::world], "checks", progress), known, world)
        if rank == 0:
            _claim(out, settings, marks)
            embed_canonical(out, probe, config)
            if progress:
                print(_work(out, config, names), file=sys.stderr, flush=True)
        _barrier(world)
        for what, stage in _STAGES:
            for name in follow(names[rank::world], what, progress):
                stage(out, library, name, probe, config)
            _barrier(world)
        atlas = load(out)
        if rank == 0:
            _report(atlas, out)
        _barrier(world)
    return atlas


def _checked(library: Library, names: Iterable[str], known: Mapping[str, str], world: int) -> dict[str, str]:
    """Return name → fingerprint of all tasks, after opening those that the run does not know yet.

    Raises
    ------
    ValueError
        That names every task that cannot be used.
    """
    marks, problems = {}, {}
    for name in names:
        try:
            marks[name] = library.fingerprint(name)
            if known.get(name) != marks[name]:
                library[name]
        except ValueError as error:
            problems[name] = str(error)
    for other in _gathered((marks, problems), world):
        marks |= other[0]
        problems |= other[1]
    if problems:
        more = (
            f" (and {len(problems) - 1} more: {', '.join(list(problems)[1:])})" if len(problems) > 1 else ""
        )
        raise ValueError(f"{next(iter(problems.values()))}{more}")
    return marks


def _work(out: Path, config: AtlasConfig, names: Sequence[str]) -> str:
    """Return how much of the run is to be made, in words."""
    kinds = ("embeddings", "experts")
    parts = [f"{sum(not task_file(out, k, n).exists() for n in names)} of {len(names)} {k}" for k in kinds]
    lacking = total = 0
    for name in names:
        cells = Cells(task_file(out, "measured", name))
        for group in wanted(config, name, "measured"):
            lacking += sum(map(len, cells.missing(names, config.seeds, group).values()))
            total += len(names) * config.seeds
    return f"to do: {', '.join(parts)}, {lacking} of {total} transfers"


def check(config: AtlasConfig) -> tuple[str, ...]:
    """Return the names of a configuration's tasks, without opening them.

    Raises
    ------
    ValueError
        If a task or the library is unknown, a name occurs twice, or there are fewer than three tasks.
    """
    return _check_count(Library(config, None).names)


def read_pairs(path: str | os.PathLike[str]) -> tuple[tuple[str, ...], dict[str, Array]]:
    """Read a table of :meth:`Atlas.pairs`.

    Parameters
    ----------
    path : path
        A ``pairs.csv``; it may have more columns of numbers.

    Returns
    -------
    tasks : tuple of str
        In the order of the arrays.
    columns : dict of str to array
        Column → ``(targets, sources)``; NaN where the cell is empty.

    Raises
    ------
    ValueError
        If the table does not hold every pair once, in order.
    """
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    tasks = tuple(dict.fromkeys(row["target"] for row in rows))
    if [(r["target"], r["source"]) for r in rows] != [(t, s) for t in tasks for s in tasks]:
        raise ValueError(f"{path}: not every pair of its {len(tasks)} targets once, in order")
    shape = (len(tasks), len(tasks))
    numbers = [key for key in rows[0] if key not in ("target", "source")]
    return tasks, {k: np.array([float(r[k] or "nan") for r in rows]).reshape(shape) for k in numbers}


def _check_count(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) < 3:
        raise ValueError(f"tasks: {len(names)} given; at least three are needed to rank sources")
    return names


def load(out: str | os.PathLike[str]) -> Atlas:
    """Read a finished run.

    Raises
    ------
    ValueError
        If the folder holds no run, or one that is not finished: the message names the first file that is missing.
    """
    out = Path(out)
    if not (out / "config.json").exists():
        raise ValueError(f"{out}: no run of the atlas (config.json is missing)")
    about = _read_config(out / "config.json")
    config = _settings(about)
    names, draws, alpha = config.tasks, config.seeds, config.alpha
    measured, frozen = _check_finished(out, names, config)
    embeddings = tuple(TaskEmbedding.load(task_file(out, "embeddings", name)) for name in names)
    own = TaskEmbedding.load(out / "canonical.npz") if (out / "canonical.npz").exists() else None
    heads = [read_arrays(task_file(out, "heads", n)) for n in names]
    few = [[TaskEmbedding.load(shots_file(out, n, r)) for r in range(draws)] for n in names]
    error = _Truth(measured, frozen, names, draws)
    tuned = _Truth(measured, frozen, names, draws, "fine_tuned") if config.truth == "finetune" else None
    said = {
        **_from_embeddings(embeddings, [h["mean"] for h in heads], alpha, own),
        "task2vec_shots": _from_shots(embeddings, few, alpha),
        **_from_frozen(frozen, names, draws),
        **_from_experts(measured, frozen, names, draws),
        "best_for_others": (_best_for_others((tuned or error).pairs.mean(2)), None, None),
    }
    return Atlas(
        tasks=names,
        errors=error.pairs,
        frozen=error.probe,
        embeddings=embeddings,
        canonical=own,
        predictors={name: Predictor(v, *METHODS[name], *more) for name, (v, *more) in said.items()},
        seconds=_seconds(embeddings, heads, measured, frozen, names, draws),
        config=about,
        tuned=None if tuned is None else tuned.pairs,
        tuned_probe=None if tuned is None else tuned.probe,
        experts=tuple(map(_about_expert, measured)),
        n_test=tuple(int(f.about["n_test"]) for f in frozen),
    )


def _about_expert(measured: Cells) -> dict[str, float]:
    return {key: measured.about.get(f"expert_{key}", np.nan) for key in ("lr", "error", "probe_error")}


class _Truth:
    """One kind of error of all pairs ``(targets, sources, draws)``, and from the probe ``(targets, draws)``."""

    def __init__(
        self,
        measured: Sequence[Cells],
        frozen: Sequence[Cells],
        names: Sequence[str],
        draws: int,
        key: str = "error",
    ) -> None:
        self.pairs = np.stack([m.table(key, names, draws) for m in measured], axis=1)
        self.probe = np.concatenate([f.table(key, [PROBE], draws) for f in frozen])


def _check_finished(out: Path, names: Sequence[str], config: AtlasConfig) -> tuple[list[Cells], list[Cells]]:
    """Return the tables of all sources and of all targets, if nothing is missing."""
    files = [task_file(out, kind, n) for kind in ("embeddings", "heads") for n in names]
    files += [shots_file(out, n, r) for n in names for r in range(config.seeds)]
    tables = {kind: [task_file(out, kind, n) for n in names] for kind in ("frozen", "measured")}
    for file in [*files, *tables["frozen"], *tables["measured"]]:
        if not file.exists():
            raise ValueError(f"{out}: the run is not finished ({file.relative_to(out)} is missing)")
    found = {kind: [Cells(file) for file in tables[kind]] for kind in tables}
    for kind, rows in (("frozen", [PROBE, *names]), ("measured", [*names])):
        for cells in found[kind]:
            for row in rows:
                if any(cells.missing([row], config.seeds, group) for group in wanted(config, row, kind)):
                    where = cells.file.relative_to(out)
                    raise ValueError(f"{out}: the run is not finished ({where} has nothing of {row!r} yet)")
    return found["measured"], found["frozen"]


def _seconds(
    embeddings: Sequence[TaskEmbedding],
    heads: Sequence[Mapping[str, Any]],
    measured: Sequence[Cells],
    frozen: Sequence[Cells],
    names: Sequence[str],
    draws: int,
) -> dict[str, float]:
    """Return the computing time of each step, summed over the tasks."""

    def spent(key: str) -> float:
        every = [m.table(key, names, draws) for m in measured]
        every += [f.table(key, [PROBE, *names], draws) for f in frozen]
        return float(sum(np.nansum(values) for values in every))

    found = {
        "embeddings": sum(e.metadata["seconds"] for e in embeddings),
        "heads": sum(float(h["seconds"]) for h in heads) + spent("seconds_heads"),
        "experts": sum(m.about["expert_seconds"] for m in measured),
        "transfer": spent("seconds_transfer"),
        "baselines": spent("seconds_scores"),
    }
    tuning = spent("seconds_fine_tuned")
    return {**found, "fine-tuning": tuning} if tuning else found


# ---------------------------------------------------------------- predictors


#: What a method says of every pair, then (where it can) of each draw, and of the probe.
_Said = tuple[Array, Array | None, Array | None]


def _from_embeddings(
    embeddings: Sequence[TaskEmbedding], means: Sequence[Array], alpha: float, own: TaskEmbedding | None
) -> dict[str, _Said]:
    """Return what the embeddings and the mean features say of every pair."""
    about = [e.metadata for e in embeddings]

    def pair(of: Callable[[Any, Any], float], values: Sequence[Any]) -> _Said:
        return _table(len(values), lambda t, s: of(values[s], values[t])), None, None

    def source(of: Callable[[int], float]) -> _Said:
        return _table(len(embeddings), lambda t, s: of(s)), None, None

    found = {
        "task2vec": (_asymmetric(embeddings, alpha, None), None, _of_probe(embeddings, alpha, own)),
        "d_sym": pair(distance.symmetric, embeddings),
        "cosine": pair(distance.cosine, embeddings),
        "log_cosine": pair(distance.log_cosine, embeddings),
        "mean_feature": pair(_cosine, means),
        "entropy_difference": pair(lambda a, b: abs(a["entropy"] - b["entropy"]), about),
        "source_norm": source(lambda s: embeddings[s].norm),
        "source_classes": source(lambda s: about[s]["n_classes"]),
        "source_entropy": source(lambda s: about[s]["entropy"]),
        "source_accuracy": source(lambda s: 1 - about[s]["error"]),
    }
    if own is not None:
        found["task2vec_canonical"] = _asymmetric(embeddings, alpha, own), None, None
    return found


def _of_probe(targets: Sequence[TaskEmbedding], alpha: float, own: TaskEmbedding | None) -> Array | None:
    """Return d_asym from the probe's own task, as if it were one of the sources; None if the probe has none."""
    return (
        None if own is None else np.array([distance.asymmetric(own, e, trivial(e), alpha) for e in targets])
    )


def _from_frozen(frozen: Sequence[Cells], names: Sequence[str], draws: int) -> dict[str, _Said]:
    """Return what the heads of the sources, on the frozen probe, say of every pair."""
    return {key: _drawn(np.stack([f.table(key, names, draws) for f in frozen])) for key in HEAD_SCORES}


def _from_experts(
    measured: Sequence[Cells], frozen: Sequence[Cells], names: Sequence[str], draws: int
) -> dict[str, _Said]:
    """Return what the scores of the experts say of every pair, and the same scores of the probe."""
    found = {}
    for key in SCORES:
        values, by_draw, _ = _drawn(np.stack([m.table(key, names, draws) for m in measured], axis=1))
        probe = np.concatenate([f.table(key, [PROBE], draws) for f in frozen]).mean(1)
        found[key] = values, by_draw, probe if key in FEATURE_SCORES else None
    return found


def _drawn(by_draw: Array) -> _Said:
    """Return the mean over the draws ``(targets, sources)``, and the draws, without the diagonal."""
    kept = np.stack([_off_diagonal(by_draw[:, :, r]) for r in range(by_draw.shape[2])], axis=2)
    return _off_diagonal(by_draw.mean(2)), kept, None


def _table(n: int, of: Callable[[int, int], float]) -> Array:
    """Fill (target, source), without the diagonal."""
    return np.array([[of(t, s) if t != s else np.nan for s in range(n)] for t in range(n)])


def _asymmetric(
    sources: Sequence[TaskEmbedding],
    alpha: float,
    reference: TaskEmbedding | None,
    targets: Sequence[TaskEmbedding] | None = None,
) -> Array:
    targets = sources if targets is None else targets
    t0 = [reference or trivial(e) for e in targets]
    return _table(len(t0), lambda t, s: distance.asymmetric(sources[s], targets[t], t0[t], alpha))


def _from_shots(
    sources: Sequence[TaskEmbedding], targets: Sequence[Sequence[TaskEmbedding]], alpha: float
) -> _Said:
    """Return d_asym with the target embedded from its shots, the mean over their draws, and each draw."""
    draws = len(targets[0])
    each = [_asymmetric(sources, alpha, None, [few[r] for few in targets]) for r in range(draws)]
    return _drawn(np.stack(each, axis=2))


def _cosine(a: Array, b: Array) -> float:
    """Return 1 − cosine; features may be negative, which :func:`t2v.distance.cosine` does not accept."""
    return 1 - float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _best_for_others(errors: Array) -> Array:
    """Return, for every pair, the source's mean error on the *other* targets, each in units of its mean error."""
    off = _off_diagonal(errors)
    scale = np.nanmean(off, axis=1, keepdims=True)
    relative = off / np.where(scale > 0, scale, 1)
    n = len(errors)
    others = np.full((n, n), np.nan)
    for t in range(n):
        for s in range(n):
            rest = [k for k in range(n) if k not in (t, s)]
            if t != s:
                others[t, s] = relative[rest, s].mean()
    return others


def _off_diagonal(values: Array) -> Array:
    values = np.array(values, dtype=float)
    np.fill_diagonal(values, np.nan)
    return values


def _standard_error(errors: Array) -> Array:
    n = errors.shape[-1]
    return errors.std(-1, ddof=1) / np.sqrt(n) if n > 1 else np.full(errors.shape[:-1], np.nan)


# ---------------------------------------------------------------- report


def _report(atlas: Atlas, out: Path) -> None:
    ranking, ceiling = atlas.ranking(), atlas.ceiling()
    for name, rows in (("pairs", atlas.pairs()), ("ranking", ranking)):
        write_text(out / f"{name}.csv", table(rows[0], (row.values() for row in rows), digits=9))
    report = {
        **atlas.config,
        "finished": _now(),
        "seconds": {key: round(value, 2) for key, value in atlas.seconds.items()},
        "reference_regrets": atlas.reference_regrets(),
        "failed_experts": atlas.failed_experts(),
        "doubtful_experts": atlas.doubtful_experts(),
        "ceiling": ceiling and {"kendall": ceiling.value, "low": ceiling.low, "high": ceiling.high},
        "methods": ranking,
        "targets": {
            row["target"]: {k: v for k, v in row.items() if k != "target"} for row in atlas.answers()
        },
    }
    write_text(out / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    write_text(out / "report.txt", atlas.text())
    figure = draw_ranking(ranking, None if ceiling is None else ceiling.value)
    atomically(out / "ranking.png", lambda file: figure.savefig(file, format="png", dpi=110))


def draw_ranking(ranking: Sequence[Mapping[str, Any]], ceiling: float | None = None) -> Any:
    """Draw the methods' Kendall τ with their intervals, the best on top, in the colour of what they need.

    Parameters
    ----------
    ranking : sequence of mappings
        As :meth:`Atlas.ranking` returns it.
    ceiling : float, optional
        How well one draw's errors order another's, see :meth:`Atlas.ceiling`: a dashed line.

    Returns
    -------
    matplotlib Figure
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from t2v import plots

    needs: tuple[Needs, ...] = ("no expert", "experts", "measured transfer")
    rows = ranking[::-1]
    with mpl.rc_context():
        plots.use_style()
        figure = Figure(figsize=(7, 0.32 * len(rows) + 1.2), layout="constrained")
        axes = figure.subplots()
        for need, colour, marker in zip(needs, plots.PALETTE, "os^", strict=False):
            at = [k for k, row in enumerate(rows) if row["needs"] == need]
            middle = np.array([rows[k]["kendall"] for k in at])
            ends = np.array([[rows[k]["kendall_low"], rows[k]["kendall_high"]] for k in at]).reshape(-1, 2)
            # a percentile interval of a skewed statistic may leave the value outside
            bars = np.maximum((ends.T - middle) * [[-1], [1]], 0)
            axes.errorbar(middle, at, xerr=bars, fmt=marker, color=colour, label=f"needs {need}")
        axes.axvline(0, color="0.6", lw=0.8)
        if ceiling is not None:
            axes.axvline(ceiling, color="0.4", lw=1, ls="--", label="one draw by another")
        axes.set_yticks(range(len(rows)), [row["method"] for row in rows])
        axes.set_xlabel("Kendall τ with the measured transfer, mean over targets")
        figure.legend(loc="outside upper center", ncols=3 if ceiling is None else 2, fontsize="small")
    return figure


# ---------------------------------------------------------------- files and processes


def _check_settings(out: Path, settings: AtlasConfig) -> dict[str, str]:
    """Refuse the folder of another run; return name → fingerprint of the tasks that it knows."""
    if not (out / "config.json").exists():
        return {}
    about = _read_config(out / "config.json")
    wanted = json.loads(json.dumps(dataclasses.asdict(settings)))
    there = {**_BEFORE, **about["config"], **about.get("tuned_with", {})}
    free = {*_ELSEWHERE, *_MORE}
    if settings.truth == "head" or "tuned_with" not in about:  # nothing is, or has been, fine-tuned with them
        free |= set(_TUNING)
    for key, value in wanted.items():
        if key not in free and there.get(key) != value:
            raise ValueError(
                f"out: {out} holds a run with {key} = {there.get(key)!r}, not {value!r}; give another folder"
            )
    known: dict[str, str] = about.get("images", {})
    files = {file_name(name): name for name in known}
    for name in settings.tasks:
        if files.get(file_name(name), name) != name:
            raise ValueError(
                f"tasks: {name!r} and {files[file_name(name)]!r}, which {out} holds, give the same file name; rename one"
            )
    return known


def _claim(out: Path, settings: AtlasConfig, marks: Mapping[str, str]) -> None:
    """Write config.json, and remove what was made from images that have changed since.

    Raises
    ------
    ValueError
        If all tasks that the run shares with the folder have other images: it is another library's.
    """
    file, versions = out / "config.json", {"python": platform.python_version()}
    versions |= {"torch": torch.__version__, "numpy": np.__version__}
    started: dict[str, Any] = {"started": _now(), "machine": platform.platform()}
    about = _read_config(file) if file.exists() else started
    known: dict[str, str] = about.get("images", {})
    changed = [name for name in marks if known.get(name, marks[name]) != marks[name]]
    if len(changed) > 1 and set(changed) == set(known) & set(marks):
        raise ValueError(
            f"out: {out} holds a run on other images of {', '.join(map(repr, changed))}; give another folder"
        )
    for name in changed:
        print(f"{name}: its images have changed since; it is made anew", file=sys.stderr)
        forget(out, name)
    config = json.loads(json.dumps(dataclasses.asdict(settings)))
    about = {**about, "config": config, "versions": versions, "images": {**known, **marks}}
    about.pop("fingerprints", None)  # an earlier version's, of names and sizes
    if settings.truth == "finetune":
        about["tuned_with"] = {key: config[key] for key in _TUNING}
    write_text(file, json.dumps(about, indent=2) + "\n")


def _read_config(file: Path) -> dict[str, Any]:
    """Read a run's config.json, or say that it is damaged."""
    try:
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if {"tasks", "seeds", "alpha"} <= set(about["config"]):
            return about
        raise KeyError("config")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file}: damaged ({type(error).__name__}); give another folder, or remove it to start again"
        ) from error


def _settings(about: Mapping[str, Any]) -> AtlasConfig:
    """Return the settings of a run as its config.json has them."""
    known = {field.name for field in dataclasses.fields(AtlasConfig)}
    found = {**_BEFORE, **{key: v for key, v in about["config"].items() if key in known}}
    return AtlasConfig(**{**found, "tasks": tuple(found["tasks"])})


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@contextmanager
def _processes() -> Iterator[tuple[int, int]]:
    """Give this process's rank and their number, within the group that torchrun announced."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield 0, 1
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    # the processes meet between stages only, and may wait for each other's experts for days
    torch.distributed.init_process_group("gloo", timeout=timedelta(days=7))
    try:
        yield torch.distributed.get_rank(), world
    finally:
        torch.distributed.destroy_process_group()


def _barrier(world: int) -> None:
    if world > 1:
        torch.distributed.barrier()


def _gathered(value: Any, world: int) -> list[Any]:
    """Return what every process has."""
    if world == 1:
        return [value]
    found: list[Any] = [None] * world
    torch.distributed.all_gather_object(found, value)
    return found
