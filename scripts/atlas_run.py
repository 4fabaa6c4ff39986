"""Measure the transfer between 24 offline tasks with several seeds, and write the tables that chapter 10 reads.

Usage: python scripts/atlas_run.py [--out book/runs/atlas] [--runs DIR] [--seeds 0 1 2] [--tasks …]

For each seed it makes, or goes on with, the run ``python -m t2v atlas --seeds 1 --seed K --out DIR/seedK`` — other
images, other embeddings, other experts, another draw of the shots — and writes

- ``pairs-seedK.csv``: every pair's error and what each method says of it (:meth:`t2v.atlas.Atlas.pairs`); besides
  ``source_to_trivial`` and ``source_to_canonical``, the two readings of d_sym(source, t0), and ``d_sym:STAGE``, the
  symmetric distance in one stage of the probe;
- ``tasks.csv``: of each task and seed, the classes, the norm of the embedding, the head's predictive entropy, and the
  low-shot error from the frozen probe and from the task's own expert;
- ``cuts.csv``: the low-shot error when the features are taken from inside the network, after each of its stages: of
  the frozen probe, of the expert of the nearest task by d_sym, and of the expert that was best in the *other* seeds (with
  a single seed: in this one);
- ``config.json``: settings, date, machine, seconds of each step, experts that unlearned and were trained again at a
  smaller rate, experts that still serve their own task no better than the probe.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Idle threads that spin slow a shared machine to a crawl; both must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))
from library_run import ROOT, about

from t2v import atlas, distance, embedding, probes, tasks, transfer
from t2v._files import table, write_text


def stage(layer: str) -> str:
    """Return the part of an EfficientNet that a layer lies in: ``blocks.0.1.conv_pw.weight`` in ``blocks.0``."""
    first, second, *_ = layer.split(".")
    return f"{first}.{second}" if first == "blocks" else first


def only(e: embedding.TaskEmbedding, part: str) -> embedding.TaskEmbedding:
    """Return the embedding's values in one stage."""
    layers = {name: e.values[where] for name, where in e.layers.items() if stage(name) == part}
    stops = np.cumsum([len(v) for v in layers.values()]).tolist()
    slices = {n: slice(stop - len(v), stop) for (n, v), stop in zip(layers.items(), stops, strict=True)}
    return dataclasses.replace(e, values=np.concatenate(list(layers.values())), layers=slices)


def pairs(made: atlas.Atlas) -> list[dict[str, Any]]:
    """Return the rows of the run's pairs, with the distances that the chapter takes apart."""
    assert made.canonical is not None
    parts = list(dict.fromkeys(stage(name) for name in made.embeddings[0].layers))
    staged = {part: [only(e, part) for e in made.embeddings] for part in parts}
    place = {name: k for k, name in enumerate(made.tasks)}
    rows = []
    for row in made.pairs():
        t, s = place[row["target"]], place[row["source"]]
        source, target = made.embeddings[s], made.embeddings[t]
        row["source_to_trivial"] = distance.symmetric(source, embedding.trivial(target))
        row["source_to_canonical"] = distance.symmetric(source, made.canonical)
        row |= {f"d_sym:{part}": distance.symmetric(es[s], es[t]) for part, es in staged.items()}
        rows.append(row)
    return rows


def describe(made: atlas.Atlas, seed: int) -> list[dict[str, Any]]:
    """Return one row a task."""
    own, frozen = np.diagonal(made.errors.mean(2)), made.frozen.mean(1)
    return [
        {
            **{"task": e.task, "family": tasks.family(e.task), "seed": seed},
            **{"n_classes": e.metadata["n_classes"], "norm": e.norm, "entropy": e.metadata["entropy"]},
            **{"frozen_error": frozen[k], "own_error": own[k]},
        }
        for k, e in enumerate(made.embeddings)
    ]


@torch.inference_mode()
def staged_features(probe: probes.Probe, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Return the mean over the positions of what leaves each stage: ``(n, channels)`` a stage."""
    model: Any = probe.model
    found: dict[str, list[NDArray[np.float32]]] = {}

    def keep(name: str) -> Any:
        return lambda _m, _i, out: found.setdefault(name, []).append(out.mean((2, 3)).cpu().numpy())

    inner = {f"blocks.{k}": block for k, block in enumerate(model.blocks)}
    hooks = [block.register_forward_hook(keep(name)) for name, block in inner.items()]
    last = probe.features(images)
    for hook in hooks:
        hook.remove()
    return {**{name: np.concatenate(parts) for name, parts in found.items()}, "conv_head": last}


def best_elsewhere(made: Sequence[atlas.Atlas], k: int) -> NDArray[np.intp]:
    """Return each target's best source by the mean error in the other runs: the run itself does not choose."""
    others = [one for i, one in enumerate(made) if i != k] or [made[k]]
    return np.nanargmin(np.mean([one.measured for one in others], axis=0), axis=1)


def cuts(
    one: atlas.Atlas, best: NDArray[np.intp], folder: Path, config: atlas.AtlasConfig
) -> list[dict[str, Any]]:
    """Fit the low-shot head on every stage of the probe, of the nearest task's expert, and of the best expert."""
    probe, rows = probes.load(config.probe), []
    for t, target in enumerate(tqdm(one.tasks, desc="cuts", disable=None)):
        task = tasks.load(target, size=config.size, train=config.train, test=config.test, seed=config.seed)
        few = embedding.low_shot(task.train.labels, config.shots, config.seed)
        nearest = int(np.nanargmin(one.predictors["d_sym"].values[t]))
        for which, source in (("frozen", ""), ("nearest", one.tasks[nearest]), ("best", one.tasks[best[t]])):
            file = folder / "experts" / f"{source}.pt"
            expert = transfer.load_expert(file, probe)[0] if source else probe
            shots = staged_features(expert, task.train.images[few])
            tests = staged_features(expert, task.test.images)
            for part, features in shots.items():
                head = embedding.fit_head(features, task.train.labels[few], task.n_classes)
                guessed = head(torch.from_numpy(tests[part])).argmax(1).numpy()
                error = float((guessed != task.test.labels).mean())
                row = {"seed": config.seed, "target": target, "which": which, "source": source}
                rows.append({**row, "stage": part, "error": error})
    return rows


def slower(folder: Path, config: atlas.AtlasConfig) -> dict[str, float]:
    """Return the tasks whose expert was trained at a smaller rate than the others, and that rate."""
    rates = {}
    for name in config.tasks:
        content = torch.load(folder / "experts" / f"{name}.pt", map_location="cpu", weights_only=True)
        rates[name] = json.loads(content["about"]).get("lr", config.lr)
    return {name: float(f"{lr:.3g}") for name, lr in rates.items() if lr != config.lr}


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write one line a row, numbers with five digits."""
    write_text(path, table(rows[0], (row.values() for row in rows), digits=5))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "runs" / "atlas")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "atlas", help="kept and reused")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", default=list(atlas.QUICK_TASKS))
    args = parser.parse_args(arguments)
    config = atlas.AtlasConfig.at("quick", seeds=1, tasks=tuple(args.tasks), device="cpu")
    of_seed = {seed: dataclasses.replace(config, seed=seed) for seed in args.seeds}
    folders = {seed: args.runs / f"seed{seed}" for seed in args.seeds}
    made = [atlas.run(of_seed[seed], folders[seed], progress=True) for seed in args.seeds]
    described, cut = [], []
    for k, seed in enumerate(args.seeds):
        write(args.out / f"pairs-seed{seed}.csv", pairs(made[k]))
        described += describe(made[k], seed)
        cut += cuts(made[k], best_elsewhere(made, k), folders[seed], of_seed[seed])
    write(args.out / "tasks.csv", described)
    write(args.out / "cuts.csv", cut)
    found = {
        **about(f"python scripts/atlas_run.py --seeds {' '.join(map(str, args.seeds))}"),
        **{"config": made[0].config["config"], "seeds": args.seeds},
        "seconds": [{key: round(value, 1) for key, value in one.seconds.items()} for one in made],
        "slower_experts": {str(seed): slower(folders[seed], config) for seed in args.seeds},
        "failed_experts": {
            str(seed): one.failed_experts() for seed, one in zip(args.seeds, made, strict=True)
        },
    }
    write_text(args.out / "config.json", json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
