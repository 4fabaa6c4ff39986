"""Do networks that lose more bits do better on new inputs? What chapter 5 correlates.

Usage: python scripts/forgetting_run.py [--out book/runs/forgetting] [--tasks 0 1 2 3 4 5]

The chapter's network, 16 initial weights for each of six tasks of twelve bits (``plane.spherical_task(seed=TASK)``) and each
unit, trained on 80% of the 4,096 inputs; of three tasks for three times as long as well. Then the same tanh networks on 128
inputs only, with their labels, and with these labels permuted among themselves: what a network does that learns by heart.

- ``networks.csv``: one row a network and a last epoch: accuracy on the inputs that it trained on, and the probability of the
  label that it names on all the others (of the known p(y|x), so that no label's luck enters); the epoch at which the output's
  I(T;Y) over the training inputs reached 90% of its end; bits of X lost by layers 3 to 6 together, from the peak of the whole
  run and from that epoch on, in 30 bins over the unit's range (``bins``), over each epoch's own range (``moving``), and by
  counting equal outputs (``exact``); the largest fall of layers 1 and 2 in bins (``first_two``); and what equal outputs cost
  the worst hidden layer at the end (``collisions``);
- ``config.json``: command, date, versions, machine.

The table is written after each setting: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Idle threads that spin slow a shared machine to a crawl; both must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
from library_run import ROOT, about, kept

from t2v import plane
from t2v._files import table, write_text

SIZES, MEMBERS = (12, 10, 7, 5, 4, 3, 2, 1), 16
GAIN = {"tanh": 1.0, "relu": 2**0.5}
OPTIONS: dict[str, Any] = {"batch_size": 256, "lr": 3e-3}
DEEP = slice(2, 6)  # layers 3 to 6
INSTRUMENTS: dict[str, dict[str, Any]] = {
    "bins": {},
    "moving": {"limits": "each"},
    "exact": {"estimator": "exact"},
}
FALLS = tuple(f"{name}_{since}" for name in INSTRUMENTS for since in ("peak", "fit"))
COLUMNS = (
    *("task", "unit", "labels", "samples", "member", "epoch", "fit_epoch", "loss", "train", "heldout"),
    *(*FALLS, "first_two", "collisions"),
)


class Setting(NamedTuple):
    """16 networks of one task: their unit, the labels, the number of inputs to train on, and when to look."""

    task: int
    unit: str
    labels: str
    samples: int
    ends: tuple[int, ...]


#: In the order in which they are run.
PLAN = [
    *(Setting(t, u, "true", 3277, (160, 480) if t < 3 else (160,)) for t in range(6) for u in GAIN),
    *(Setting(t, "tanh", kind, 128, (2000,)) for t in range(3) for kind in ("true", "shuffled")),
]


def labels_of(setting: Setting, task: plane.SphericalTask, own: NDArray[Any]) -> NDArray[np.int64]:
    """Return the labels that are trained on: the task's, or those of its own inputs permuted among themselves."""
    labels = task.labels.copy()
    if setting.labels == "shuffled":
        labels[own] = np.random.default_rng(100 + setting.task).permutation(labels[own])
    return labels


def train(
    setting: Setting, task: plane.SphericalTask, own: NDArray[Any], members: int = MEMBERS
) -> plane.Recording:
    """Train the networks of a setting on their own inputs."""
    net = plane.Ensemble(
        SIZES, activation=setting.unit, members=members, seed=100 * setting.task, gain=GAIN[setting.unit]
    )
    epochs = {e for end in setting.ends for e in plane.log_epochs(end, 14)}
    labels = labels_of(setting, task, own)
    return plane.record(net, task.inputs, labels, train=own, epochs=epochs, seed=setting.task, **OPTIONS)


def lines(setting: Setting, members: int = MEMBERS) -> Iterator[list[Any]]:
    """Yield the rows of a setting, by last epoch and member."""
    task = plane.spherical_task(seed=setting.task)
    order = np.random.default_rng(setting.task).permutation(4096)
    own, rest = order[: setting.samples], order[setting.samples :]
    recording = train(setting, task, own, members)
    seen = {name: plane.trajectory(recording, task.labels, **o) for name, o in INSTRUMENTS.items()}
    fits = plane.trajectory(recording, labels_of(setting, task, own), subset=own)
    for end in setting.ends:
        last = recording.epochs.index(end)
        fit = plane.fit_epoch([r for r in fits if r.epoch <= end])
        until = {name: [r for r in records if r.epoch <= end] for name, records in seen.items()}
        falls = [plane.compression(until[name], since=since) for name in INSTRUMENTS for since in (None, fit)]
        exact = plane.table(until["exact"])[1][..., -1]
        answers = recording.activations[last][-1][..., 0] > 0.5
        right = np.where(answers, task.p_label, 1 - task.p_label)[:, rest].mean(1)
        for i in range(members):
            yield [
                *setting[:4], i, end, int(fit[i]), recording.loss[last, i], recording.train[last, i], right[i],
                *(f[i, DEEP].sum() for f in falls), falls[0][i, :2].max(), 12 - exact[i, :6].min(),
            ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing of the plan, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "runs" / "forgetting")
    parser.add_argument("--tasks", type=int, nargs="*", help="only these tasks of the plan")
    args = parser.parse_args(arguments)
    rows = kept(args.out / "networks.csv", COLUMNS)
    place = {tuple(map(str, setting[:4])): k for k, setting in enumerate(PLAN)}
    done = {tuple(row[:4]) for row in rows}
    for setting in PLAN:
        if tuple(map(str, setting[:4])) in done or (args.tasks and setting.task not in args.tasks):
            continue
        rows += [[str(v) for v in row[:7]] + [f"{v:.4g}" for v in row[7:]] for row in lines(setting)]
        rows.sort(key=lambda row: place[tuple(row[:4])])
        write_text(args.out / "networks.csv", table(COLUMNS, rows))
        print(*setting[:4], flush=True)
    settings = {"sizes": SIZES, "members": MEMBERS, "gain": GAIN, **OPTIONS}
    config = about("python scripts/forgetting_run.py") | settings
    write_text(args.out / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
