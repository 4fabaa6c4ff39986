r"""The full Task2Vec run: do task embeddings predict which source transfers best? Measured, next to every baseline.

:func:`run` goes through four stages, each of which leaves files in the run's folder:

1. ``embeddings/TASK.npz``: the task embedding; ``shots/TASK-R.npz``: the same from few shots a class, for several draws
   of the shots; ``heads/TASK.npz``: a head on the frozen probe, and its mean feature; ``canonical.npz``: the probe's
   own task.
2. ``experts/TASK.pt``: the probe, fine-tuned on the task.
3. ``measured/TASK.npz``: from that expert to every task, the test error of a head fitted on the shots, and the baselines
   on the same images; ``frozen.npz``: the same from the probe as it is, with the head of every task.
4. ``pairs.csv``, ``ranking.csv``, ``report.json``, ``ranking.png``: every predictor against the measurement.

Files are written whole or not at all, and a file that is there is not made again: a killed run goes on where it stopped.
Under ``torchrun`` the tasks of each stage are shared out over the processes; they exchange nothing but files, so the
result is that of one process, and a process that dies loses its task only.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from t2v import distance
from t2v._files import atomically, read_arrays, table, write_text
from t2v._hierarchies import GROUPS, ORDERS
from t2v._library import Library
from t2v._stages import (
    HEAD_SCORES,
    SCORES,
    embed_canonical,
    embed_task,
    frozen_file,
    measure_transfer,
    shots_file,
    task_file,
    train_expert,
)
from t2v.comparison import Intervals, Kind, bootstrap
from t2v.embedding import Method, TaskEmbedding, trivial
from t2v.probes import Arithmetic, Probe
from t2v.probes import load as load_probe
from t2v.tasks import Task
from t2v.transfer import gain

Array = NDArray[np.float64]
Needs = Literal["no expert", "experts", "measured transfer"]

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
_ELSEWHERE = ("scale", "device", "root", "download")
#: Method → (small or large means a good source, what it needs).
METHODS: dict[str, tuple[Kind, Needs]] = {
    **dict.fromkeys(
        (
            *("task2vec", "task2vec_canonical", "task2vec_shots", "d_sym", "cosine", "log_cosine"),
            *("mean_feature", "entropy_difference"),
        ),
        ("distance", "no expert"),
    ),
    **dict.fromkeys(("source_norm", *HEAD_SCORES), ("score", "no expert")),
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
        ``library`` folder, names of its sub-folders (empty: all of them).
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
    arithmetic: Arithmetic = "float32"
    seed: int = 0
    device: str = "auto"
    root: str = "data"
    download: bool = False

    def __post_init__(self) -> None:
        least = {"size": 8, "train": 4, "test": 1, "shots": 2, "seeds": 1, "epochs": 1, "seed": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ValueError(f"{name}: {value!r} is not an integer of at least {low}")
        if not 0 <= self.alpha < float("inf"):
            raise ValueError(f"alpha: {self.alpha} is not a finite number ≥ 0")
        if self.method not in get_args(Method):
            raise ValueError(f"method: {self.method!r} is unknown; accepted: {', '.join(get_args(Method))}")
        if self.arithmetic not in get_args(Arithmetic):
            raise ValueError(
                f"arithmetic: {self.arithmetic!r} is unknown; accepted: {', '.join(get_args(Arithmetic))}"
            )
        try:
            torch.device("cpu" if self.device == "auto" else self.device)
        except RuntimeError as error:
            raise ValueError(
                f"device: {self.device!r} is unknown; accepted: auto, cpu, cuda, cuda:1, …"
            ) from error
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
    """

    values: Array
    kind: Kind
    needs: Needs


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
    """

    tasks: tuple[str, ...]
    errors: Array
    frozen: Array
    embeddings: tuple[TaskEmbedding, ...]
    canonical: TaskEmbedding | None
    predictors: dict[str, Predictor]
    seconds: dict[str, float]
    config: dict[str, Any]

    @property
    def measured(self) -> Array:
        """Mean error over the seeds, ``(targets, sources)``; NaN on the diagonal."""
        return _off_diagonal(self.errors.mean(2))

    def standard_errors(self) -> Array:
        """Return the standard error over the seeds of each pair's mean error; NaN for a single seed."""
        return _standard_error(self.errors)

    def gains(self) -> Array:
        """D_ft of each pair, see :func:`t2v.transfer.gain`; NaN where the frozen probe makes no error."""
        base, mean = self.frozen.mean(1), self.errors.mean(2)
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
        """Return one row a method, the highest Kendall τ first: method, needs, and each measure with its interval."""
        return rank_methods(self.predictors, self.measured, draws, seed)

    def pairs(self) -> list[dict[str, Any]]:
        """Return one row a pair: target, source, errors with standard errors, D_ft, and what each predictor says."""
        mean, spread, gains = self.errors.mean(2), self.standard_errors(), self.gains()
        frozen, frozen_spread = self.frozen.mean(1), _standard_error(self.frozen)
        rows = []
        for t, target in enumerate(self.tasks):
            for s, source in enumerate(self.tasks):
                row = {
                    "target": target,
                    "source": source,
                    "error": mean[t, s],
                    "standard_error": spread[t, s],
                }
                row |= {
                    "frozen_error": frozen[t],
                    "frozen_standard_error": frozen_spread[t],
                    "d_ft": gains[t, s],
                }
                rows.append(row | {name: p.values[t, s] for name, p in self.predictors.items()})
        return rows

    def failed_experts(self) -> list[str]:
        """Return the tasks whose own expert serves them no better than the frozen probe: training went wrong."""
        own, frozen = np.diagonal(self.errors.mean(2)), self.frozen.mean(1)
        return [name for name, e, f in zip(self.tasks, own, frozen, strict=True) if e >= f > 0]

    def reference_regrets(self) -> dict[str, float]:
        """Mean regret of a source drawn at random, and of never leaving the frozen probe (negative if that is best)."""
        best = np.nanmin(self.measured, axis=1)
        return {
            "chance": float((np.nanmean(self.measured, axis=1) - best).mean()),
            "frozen_probe": float((self.frozen.mean(1) - best).mean()),
        }


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
        The run's folder. If it holds a run already, that must be one of the same settings.
    probe : Probe, optional
        Use this probe instead of loading ``config.probe`` (whose name is then this one's).
    tasks : sequence of Task, optional
        Use these tasks instead of opening ``config.tasks`` by name.
    progress : bool
        Show progress bars.

    Returns
    -------
    Atlas
        On every process, if there are several.

    Raises
    ------
    ValueError
        If the folder holds another run or a file of another architecture, a task is unknown, there are fewer than three
        tasks, or a class has fewer training images than shots. The message names it.
    """
    out, library = Path(out), Library(config, tasks)
    _check_count(library.names)
    with _processes() as (rank, world):
        probe = probe or load_probe(config.probe)
        probe.to(
            ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
        )
        if rank == 0:
            settings = dataclasses.replace(config, probe=probe.name, tasks=library.names)
            _claim(out, settings, library.fingerprints())
            embed_canonical(out, probe, config)
        _barrier(world)
        for name in _bar(library.names[rank::world], "embeddings", progress):
            embed_task(out, library, name, probe, config)
        for name in _bar(library.names[rank::world], "experts", progress):
            train_expert(out, library, name, probe, config)
        _barrier(world)
        for source in _bar([None, *library.names][rank::world], "transfer", progress):
            measure_transfer(out, library, source, probe, config)
        _barrier(world)
        atlas = load(out)
        if rank == 0:
            _report(atlas, out)
        _barrier(world)
    return atlas


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
    names = tuple(about["config"]["tasks"])
    _check_finished(out, names, about["config"]["seeds"])
    embeddings = tuple(TaskEmbedding.load(task_file(out, "embeddings", name)) for name in names)
    own = TaskEmbedding.load(out / "canonical.npz") if (out / "canonical.npz").exists() else None
    heads, measured = (
        [read_arrays(task_file(out, kind, n)) for n in names] for kind in ("heads", "measured")
    )
    frozen = read_arrays(frozen_file(out))
    errors = np.stack([m["error"] for m in measured], axis=1)
    alpha = about["config"]["alpha"]
    tables = _from_embeddings(embeddings, [h["mean"] for h in heads], alpha)
    few = [
        [TaskEmbedding.load(shots_file(out, n, r)) for r in range(about["config"]["seeds"])] for n in names
    ]
    tables["task2vec_shots"] = _from_shots(embeddings, few, alpha)
    if own is not None:
        tables["task2vec_canonical"] = _asymmetric(embeddings, alpha, own)
    tables |= {score: _off_diagonal(frozen[score].mean(2)) for score in HEAD_SCORES}
    for score in SCORES:
        tables[score] = _off_diagonal(np.stack([m[score].mean(1) for m in measured], axis=1))
    tables["best_for_others"] = _best_for_others(errors.mean(2))
    predictors = {name: Predictor(values, *METHODS[name]) for name, values in tables.items()}
    seconds = {
        "embeddings": sum(e.metadata["seconds"] for e in embeddings),
        "heads": sum(float(h["seconds"]) for h in heads) + float(frozen["seconds_scores"]),
        "experts": sum(float(m["seconds_expert"]) for m in measured),
        "transfer": sum(float(m["seconds_transfer"]) for m in [*measured, frozen]),
        "baselines": sum(float(m["seconds_scores"]) for m in measured),
    }
    return Atlas(names, errors, frozen["error"], embeddings, own, predictors, seconds, about)


def _check_finished(out: Path, names: Sequence[str], draws: int) -> None:
    files = [task_file(out, kind, n) for kind in ("embeddings", "heads") for n in names]
    files += [shots_file(out, n, r) for n in names for r in range(draws)]
    for file in [*files, frozen_file(out), *(task_file(out, "measured", n) for n in names)]:
        if not file.exists():
            raise ValueError(f"{out}: the run is not finished ({file.relative_to(out)} is missing)")


# ---------------------------------------------------------------- predictors


def _from_embeddings(
    embeddings: Sequence[TaskEmbedding], means: Sequence[Array], alpha: float
) -> dict[str, Array]:
    """Return what the embeddings and the mean features say of every pair."""
    entropy = [e.metadata["entropy"] for e in embeddings]

    def pair(of: Callable[[Any, Any], float], values: Sequence[Any]) -> Array:
        return _table(len(values), lambda t, s: of(values[s], values[t]))

    return {
        "task2vec": _asymmetric(embeddings, alpha, None),
        "d_sym": pair(distance.symmetric, embeddings),
        "cosine": pair(distance.cosine, embeddings),
        "log_cosine": pair(distance.log_cosine, embeddings),
        "mean_feature": pair(_cosine, means),
        "entropy_difference": pair(lambda a, b: abs(a - b), entropy),
        "source_norm": _table(len(embeddings), lambda t, s: embeddings[s].norm),
    }


def _table(n: int, of: Callable[[int, int], float]) -> Array:
    """Fill (target, source), without the diagonal."""
    return np.array([[of(t, s) if t != s else np.nan for s in range(n)] for t in range(n)])


def _asymmetric(embeddings: Sequence[TaskEmbedding], alpha: float, reference: TaskEmbedding | None) -> Array:
    t0 = [reference or trivial(e) for e in embeddings]
    return _table(len(t0), lambda t, s: distance.asymmetric(embeddings[s], embeddings[t], t0[t], alpha))


def _from_shots(
    sources: Sequence[TaskEmbedding], targets: Sequence[Sequence[TaskEmbedding]], alpha: float
) -> Array:
    """Return d_asym with the target embedded from its shots, the mean over their draws."""

    def one(target: TaskEmbedding, source: TaskEmbedding) -> float:
        return distance.asymmetric(source, target, trivial(target), alpha)

    return _table(len(sources), lambda t, s: float(np.mean([one(few, sources[s]) for few in targets[t]])))


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
    ranking = atlas.ranking()
    for name, rows in (("pairs", atlas.pairs()), ("ranking", ranking)):
        write_text(out / f"{name}.csv", table(rows[0], (row.values() for row in rows), digits=9))
    report = {
        **atlas.config,
        "finished": _now(),
        "seconds": {key: round(value, 2) for key, value in atlas.seconds.items()},
        "reference_regrets": atlas.reference_regrets(),
        "failed_experts": atlas.failed_experts(),
        "methods": ranking,
    }
    write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    figure = draw_ranking(ranking)
    atomically(out / "ranking.png", lambda file: figure.savefig(file, format="png", dpi=110))


def draw_ranking(ranking: Sequence[Mapping[str, Any]]) -> Any:
    """Draw the methods' Kendall τ with their intervals, the best on top, in the colour of what they need.

    Parameters
    ----------
    ranking : sequence of mappings
        As :meth:`Atlas.ranking` returns it.

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
        axes.set_yticks(range(len(rows)), [row["method"] for row in rows])
        axes.set_xlabel("Kendall τ with the measured transfer, mean over targets")
        figure.legend(loc="outside upper center", ncols=3, fontsize="small")
    return figure


# ---------------------------------------------------------------- files and processes


def _claim(out: Path, settings: AtlasConfig, fingerprints: Mapping[str, str]) -> None:
    """Write config.json, or refuse the folder of another run, or of one whose images were others."""
    wanted = json.loads(json.dumps(dataclasses.asdict(settings)))
    file = out / "config.json"
    if file.exists():
        about = _read_config(file)
        there = {"arithmetic": "float32", **about["config"]}  # the runs before there was a choice
        for key, value in wanted.items():
            if key not in _ELSEWHERE and there.get(key) != value:
                raise ValueError(
                    f"out: {out} holds a run with {key} = {there.get(key)!r}, not {value!r}; give another folder"
                )
        for name, seen in about.get("fingerprints", {}).items():
            if fingerprints.get(name, seen) != seen:
                raise ValueError(
                    f"out: {out} holds a run on other images of {name!r}: its folder has changed since; give another folder"
                )
        return
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    about = {"config": wanted, "started": _now(), "machine": platform.platform(), "versions": versions}
    write_text(file, json.dumps({**about, "fingerprints": dict(fingerprints)}, indent=2) + "\n")


def _read_config(file: Path) -> dict[str, Any]:
    """Read a run's config.json, or say that it is damaged."""
    try:
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if {"tasks", "seeds", "alpha"} <= set(about["config"]):
            return about
        raise KeyError("config")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: damaged ({type(error).__name__}); give another folder") from error


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _bar(items: Sequence[Any], what: str, progress: bool) -> Iterable[Any]:
    if not progress:
        return items
    from tqdm import tqdm

    return tqdm(items, desc=what, leave=False, disable=None)


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
