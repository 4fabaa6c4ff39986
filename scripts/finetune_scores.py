"""Scores that train no expert: computed from the frozen features that scripts/finetune_run.py keeps.

Usage: python scripts/finetune_scores.py RUNS [--out book/runs/finetune]

Writes ``scores.csv`` and, where errors are measured, ``choice.csv``.

scores.csv: one row a part, seed, target and source, one column a variant, large for a good source. Every variant looks at
the probe's frozen features of all training images of the source and of the shots of the target, after several stages:

- ``dda:STAGES:SCALE``: discriminant directions. The within-class covariance of the source, shrunk towards a multiple of the
  identity (Ledoit and Wolf), whitens the features; the directions between its class means are kept, in units of the
  within-class deviation (``unit``) or each shrunk by λ/(1 + λ), with λ its ratio of variances between and within
  (``soft``). Score: the leave-one-out log-likelihood (nats a shot) of the nearest class mean of the target's shots there,
  with the temperature at which it is largest, summed over the stages;
- ``mix:STAGES:κ``: the same, but the directions are only stretched, by √(1 + κλ/(1 + λ)), and all others kept: what a
  network that was fine-tuned on the source may have done to its features;
- ``richness:STAGES``: log of the sum of λ/(1 + λ) over a source's directions, summed over the stages: how many directions
  it tells apart, whatever the target;
- ``classes``: log of the number of classes of the source, a score that looks at no image;
- ``dda…+classes``: a sum of both, each divided by its deviation over the sources of the target.

choice.csv: one row a variant. The variant is chosen by its mean τ with the errors after fine-tuning (first seed) among the
first eight drawn tasks, as targets and as sources (``developed``); it is marked with ``chosen`` 1. Judged are all variants
among the other eight (``judged``), and on the photographs. The eight sources of the first half are drawn signs all, and
little sets them apart; so a second choice (``chosen_all``) sees the same targets with all sixteen sources
(``developed_all``), and is judged on the other targets with all sources (``judged_all``): there the targets had no part in
the choice, the sources had. With the errors of the second seed, where they are measured, under ``…:1``; ``regret…``
likewise.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from finetune_run import LAST, PARTS
from library_run import ROOT
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf_shrinkage

from t2v._files import file_name, read_arrays, table, write_text
from t2v.comparison import Measured, bootstrap, read_measured

Array = NDArray[np.float64]

STAGES: Mapping[str, tuple[str, ...]] = {
    "3-6": ("blocks.3", "blocks.4", "blocks.5", "blocks.6"),
    "4-6": ("blocks.4", "blocks.5", "blocks.6"),
    "5": ("blocks.5",),
    "end": (LAST,),
    "4-end": ("blocks.4", "blocks.5", "blocks.6", LAST),
}
SCALES = ("unit", "soft")
KAPPAS = (1, 10, 100)


def directions(x: Array, y: NDArray[Any]) -> tuple[Array, Array]:
    """Return a source's discriminant directions ``(d, k)``, of unit within-class variance, and their ratios λ ``(k,)``."""
    classes, which, counts = np.unique(y, return_inverse=True, return_counts=True)
    means = np.stack([x[which == c].mean(0) for c in range(len(classes))])
    rest = x - means[which]
    delta = ledoit_wolf_shrinkage(rest, assume_centered=True)
    within = (1 - delta) * rest.T @ rest / (len(x) - len(classes))
    within += delta * np.trace(within) / max(1 - delta, 1e-9) / len(within) * np.eye(len(within))
    values, vectors = np.linalg.eigh(within)
    white = vectors / np.sqrt(values)
    between = np.sqrt(counts / len(x))[:, None] * (means - x.mean(0)) @ white
    _, s, v = np.linalg.svd(between, full_matrices=False)
    kept = s > 1e-9 * s.max()
    return white @ v[kept].T, s[kept] ** 2


def left_out_likelihood(z: Array, y: NDArray[Any]) -> float:
    """Return the mean log-likelihood of each shot's class by the distances to the class means without it, in nats.

    The temperature is the one that maximises it: a common scale of the features does not matter.
    """
    classes, which, counts = np.unique(y, return_inverse=True, return_counts=True)
    means = np.stack([z[which == c].mean(0) for c in range(len(classes))])
    squares = ((z[:, None] - means) ** 2).sum(2)
    rows = np.arange(len(z))
    squares[rows, which] *= (counts[which] / (counts[which] - 1)) ** 2
    squares /= squares.mean() + 1e-30

    def loss(log_t: float) -> float:
        logits = -np.exp(log_t) * squares
        return float((logsumexp(logits, axis=1) - logits[rows, which]).mean())

    return -float(minimize_scalar(loss, bounds=(-5.0, 8.0), method="bounded").fun)


def stretched(x: Array, d: Array, ratios: Array, kappa: float) -> Array:
    """Return features whose discriminant directions are stretched by √(1 + κλ/(1 + λ)), the others kept.

    They are coordinates in which the squared distance is the Euclidean one plus κ times that in the soft directions, both
    in units of their mean.
    """
    soft = x @ d * np.sqrt(ratios / (1 + ratios))
    unit = [v / np.sqrt(((v - v.mean(0)) ** 2).sum(1).mean()) for v in (x, soft)]
    return np.hstack([unit[0], np.sqrt(kappa) * unit[1]])


def of_pair(
    source: Mapping[str, Any], found: Mapping[str, tuple[Array, Array]], target: Mapping[str, Any]
) -> dict[str, float]:
    """Return the variants that look at images, for one pair."""
    y, each = target["shots_labels"], dict[tuple[str, str], float]()
    for stage, (d, ratios) in found.items():
        x = target[f"shots:{stage}"].astype(float)
        each[stage, "unit"] = left_out_likelihood(x @ d, y)
        each[stage, "soft"] = left_out_likelihood(x @ d * np.sqrt(ratios / (1 + ratios)), y)
        for kappa in KAPPAS:
            each[stage, str(kappa)] = left_out_likelihood(stretched(x, d, ratios, kappa), y)
    made: dict[str, float] = {}
    for name, stages in STAGES.items():
        made |= {f"dda:{name}:{scale}": sum(each[stage, scale] for stage in stages) for scale in SCALES}
        made |= {f"mix:{name}:{k}": sum(each[stage, str(k)] for stage in stages) for k in KAPPAS}
    for name, stages in STAGES.items():
        of_stage = [found[stage][1] for stage in stages]
        made[f"richness:{name}"] = float(sum(np.log((r / (1 + r)).sum()) for r in of_stage))
    made["classes"] = float(np.log(len(np.unique(source["train_labels"]))))
    return made


def with_classes(rows: Sequence[dict[str, float]]) -> None:
    """Add, to the rows of one target, the sums with the number of classes."""

    def standard(name: str) -> Array:
        values = np.array([row[name] for row in rows])
        return (values - values.mean()) / max(float(values.std()), 1e-12)

    for name in [n for n in rows[0] if n.startswith(("dda", "mix"))]:
        for row, value in zip(rows, standard(name) + standard("classes"), strict=True):
            row[f"{name}+classes"] = float(value)


def scores(folder: Path, names: Sequence[str]) -> list[tuple[str, str, dict[str, float]]]:
    """Return target, source and variants of every pair of one part and seed."""
    frozen = {name: read_arrays(folder / "arrays" / f"frozen--{file_name(name)}.npz") for name in names}
    stages = dict.fromkeys(stage for group in STAGES.values() for stage in group)
    found = {
        name: {
            s: directions(frozen[name][f"train:{s}"].astype(float), frozen[name]["train_labels"])
            for s in stages
        }
        for name in names
    }
    made = []
    for target in names:
        others = [name for name in names if name != target]
        rows = [of_pair(frozen[name], found[name], frozen[target]) for name in others]
        with_classes(rows)
        made += [(target, name, row) for name, row in zip(others, rows, strict=True)]
    return made


def halves(names: Sequence[str]) -> dict[str, tuple[list[str], list[str]]]:
    """Return, for each column of choice.csv about drawn tasks, its targets and sources."""
    first, second = list(names[: len(names) // 2]), list(names[len(names) // 2 :])
    of_all = {"developed_all": (first, list(names)), "judged_all": (second, list(names))}
    return {"developed": (first, first), "judged": (second, second), **of_all}


def block(
    measured: Measured, column: str, targets: Sequence[str], sources: Sequence[str], seed: int
) -> Array | None:
    """Return a column for some targets and sources, or None where it is not there yet; a training or two may have failed."""
    missing = set(targets) - set(measured.targets) or set(sources) - set(measured.candidates)
    if missing or seed not in measured.seeds:
        return None
    rows = [measured.targets.index(name) for name in targets]
    columns = [measured.candidates.index(name) for name in sources]
    found = measured.columns[column][np.ix_(rows, columns, [measured.seeds.index(seed)])][:, :, 0]
    return found if (np.isfinite(found).sum(1) >= 0.8 * (len(sources) - 1)).all() else None


def choice(out: Path, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of choice.csv."""
    variants = [name for name in rows[0] if name not in ("part", "seed", "target", "source")]
    made: dict[str, dict[str, Any]] = {
        name: {"variant": name, "chosen": 0, "chosen_all": 0} for name in variants
    }
    for part in (part for part in PARTS.values() if (out / f"{part.name}.csv").exists()):
        truth = read_measured(out / f"{part.name}.csv")
        where = halves(part.names) if part.name == "drawn" else {part.name: (list(part.names),) * 2}
        for seed in truth.seeds:
            said = {
                (r["target"], r["source"]): r for r in rows if (r["part"], r["seed"]) == (part.name, seed)
            }
            for column, (targets, sources) in where.items():
                errors = block(truth, "finetuned_error", targets, sources, seed)
                if errors is None or not said:
                    continue
                for name in variants:
                    values = np.array(
                        [[said.get((t, s), {}).get(name, np.nan) for s in sources] for t in targets]
                    )
                    values[np.isnan(errors)] = np.nan
                    found = bootstrap(values, errors, kind="score", draws=1)
                    key = column + f":{seed}" * (seed > 0)
                    made[name] |= {key: found.kendall.value, f"regret_{key}": found.regret.value}
    for mark, column in (("chosen", "developed"), ("chosen_all", "developed_all")):
        if column in made[variants[0]]:
            max(made.values(), key=lambda row: row[column])[mark] = 1
    return list(made.values())


def main(arguments: Sequence[str] | None = None) -> None:
    """Score every part and seed whose tasks are all embedded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, help="of scripts/finetune_run.py")
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "runs" / "finetune")
    args = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for part in PARTS.values():
        for folder in sorted((args.runs / part.name).glob("seed*")):
            if all((folder / "arrays" / f"frozen--{file_name(name)}.npz").exists() for name in part.names):
                about = {"part": part.name, "seed": int(folder.name.removeprefix("seed"))}
                rows += [
                    {**about, "target": t, "source": s, **row} for t, s, row in scores(folder, part.names)
                ]
                print(f"{part.name} {folder.name}", flush=True)
    write_text(args.out / "scores.csv", table(rows[0], [list(row.values()) for row in rows]))
    chosen = choice(args.out, rows)
    write_text(args.out / "choice.csv", table(chosen[0], [list(row.values()) for row in chosen]))


if __name__ == "__main__":
    main()
