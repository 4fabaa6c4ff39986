"""Put the tables of the fine-tuning run back into its folder, so that another machine goes on where they end.

Usage: python scripts/finetune_unpack.py RUNS [--out DIR]

RUNS gets one file a pair, recipe and expert for each row of DIR (book/runs/finetune); what is there already is left as it
is. Then scripts/finetune_run.py RUNS goes on. Numbers have the digits of the tables; an expert's weights are in no table,
so the run trains it again, by the rate that was chosen, where a pair that is missing needs it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import finetune_run as run_script

from t2v._files import file_name

Row = dict[str, str]
#: What a pair's file holds: the other columns are computed from the embeddings when the tables are made.
OF_PAIRS = tuple(
    c for c in run_script.COLUMNS[3:] if c not in run_script.DISTANCES and c not in run_script.HEAD_SCORES
)


def rows(path: Path) -> list[Row]:
    """Return the rows of a table; of none, where it is not there."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def numbers(row: Row, columns: Sequence[str]) -> dict[str, float]:
    """Return the cells of the columns that are not empty."""
    return {c: float(row[c]) for c in columns if row.get(c)}


def pair_of(row: Row) -> dict[str, float]:
    """Return what the run keeps of a pair."""
    return numbers(row, OF_PAIRS)


def expert_of(row: Row) -> dict[str, Any]:
    """Return what the run keeps of a task's expert: rates with a held-out error, and which was chosen."""
    errors = {c.removeprefix("heldout:"): float(v) for c, v in row.items() if c.startswith("heldout:") and v}
    accepted = bool(int(float(row["accepted"])))
    return {
        **{"rate": float(row["rate"]), "accepted": accepted, "frozen": float(row["frozen_heldout"])},
        **{"errors": errors, "seconds": float(row["seconds_expert"])},
    }


def recipe_of(group: Sequence[Row]) -> dict[str, Any]:
    """Return what the run keeps of a target's recipe, from its rows, one a rate."""
    (chosen,) = (row for row in group if row["chosen"] == "1")
    recipe = {"lr": float(chosen["rate"]), "epochs": int(chosen["epochs"]), "batch_size": run_script.BATCH}
    if chosen["kind"] == "scratch":
        recipe["statistics"] = "own"
    return {
        **{"chosen": recipe, "with": chosen["with"].split(";") if chosen["with"] else []},
        "seconds": float(chosen["seconds"]),
        "errors": {row["rate"]: [float(row["fold1"]), float(row["fold2"])] for row in group},
    }


def found_in(out: Path) -> dict[tuple[str, ...], Mapping[str, Any]]:
    """Return, for every file of the run that the tables stand for, its place and its content."""
    found: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for part in run_script.PARTS:
        for row in rows(out / f"{part}.csv"):
            found[part, row["seed"], "pairs", row["target"], row["candidate"]] = pair_of(row)
    for row in rows(out / "tasks.csv"):
        if row["rate"]:
            found[row["part"], row["seed"], "experts-chosen", row["task"]] = expert_of(row)
    found |= grouped(rows(out / "recipes.csv"), ("part", "seed", "kind", "target"), "recipes-{2}", recipe_of)
    found |= grouped(rows(out / "rates.csv"), ("part", "seed", "source"), "rates", rates_of)
    found |= grouped(rows(out / "controls.csv"), ("part", "seed", "target"), "controls", controls_of)
    return found


def grouped(table: list[Row], keys: Sequence[str], kind: str, make: Any) -> dict[tuple[str, ...], Any]:
    """Return one file for all rows that agree in the keys; the last key names it."""
    table = sorted(table, key=lambda row: [row[k] for k in keys])
    found = {}
    for values, group in groupby(table, key=lambda row: tuple(row[k] for k in keys)):
        found[(values[0], values[1], kind.format(*values), values[-1])] = make(list(group))
    return found


def rates_of(group: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return what the run keeps of a source: rate → target → error."""
    found: dict[str, dict[str, float]] = {}
    for row in group:
        found.setdefault(str(float(row["rate"])), {})[row["target"]] = float(row["head_error"])
    return found


def controls_of(group: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """Return what the run keeps of a target's control."""
    return {
        "rows": [
            {
                **{
                    "candidate": row["candidate"],
                    "rate": float(row["rate"]),
                    "times": int(float(row["times"])),
                },
                "error": float(row["finetuned_error"] or "nan"),
            }
            for row in group
        ]
    }


def unpack(runs: Path, out: Path) -> int:
    """Write the files that are missing; return how many."""
    new = 0
    for (part, seed, kind, *names), content in found_in(out).items():
        path = runs / part / f"seed{seed}" / kind / f"{'--'.join(map(file_name, names))}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            run_script.keep(path, content)
            new += 1
    return new


def main(arguments: Sequence[str] | None = None) -> None:
    """Unpack the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, help="folder of the run")
    parser.add_argument("--out", type=Path, default=run_script.ROOT / "book" / "runs" / "finetune")
    args = parser.parse_args(arguments)
    print(f"{unpack(args.runs, args.out)} files that the tables stand for")


if __name__ == "__main__":
    main()
