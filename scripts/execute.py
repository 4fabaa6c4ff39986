"""Execute chapters in place and leave clean notebooks: stable metadata, no execution times.

Usage: python scripts/execute.py [book/03_bottleneck.ipynb …]    (all chapters by default)

The time that a chapter took goes to its line of book/runs/times.csv, which the page of run times shows.
"""

from __future__ import annotations

import csv
import datetime
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
KEEP = ("tags", "mystnb", "jupyter", "slideshow")
# Threads that wait for each other in a loop cost more than they save; as in the Makefile.
for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0")):
    os.environ.setdefault(name, value)
COLUMNS = ("chapter", "seconds", "processor seconds", "date", "cores")


def clean(notebook: nbformat.NotebookNode) -> None:
    """Drop what changes from run to run: time stamps, the interpreter's version, random cell ids."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for i, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEEP})
        cell["id"] = f"cell-{i:03d}"


def execute(path: Path, timeout: int = 600) -> float:
    """Run one notebook from top to bottom in its own folder, save it, and return the seconds that it took."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        coalesce_streams=True,  # or the same print comes in one piece today and in two tomorrow
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    seconds = time.perf_counter() - start
    clean(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return seconds


def processor_seconds() -> float:
    """Return the processor time of all kernels that have ended so far (0 on Windows, which does not tell)."""
    times = os.times()
    return times.children_user + times.children_system


def record(path: Path, seconds: float, busy: float) -> None:
    """Replace or add the chapter's line in ``runs/times.csv`` beside it.

    Parameters
    ----------
    path : Path
        The notebook; a folder without ``runs`` keeps no times.
    seconds, busy : float
        By the clock, and of the processor: the second does not depend on what else the machine did.
    """
    table = path.parent / "runs" / "times.csv"
    if not table.parent.is_dir():
        return
    lines = {}
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as file:
            lines = {line["chapter"]: line for line in csv.DictReader(file)}
    today = datetime.date.today().isoformat()
    values = (path.stem, str(round(seconds)), str(round(busy)), today, str(os.cpu_count()))
    lines[path.stem] = dict(zip(COLUMNS, values, strict=True))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines[chapter] for chapter in sorted(lines))


def main(arguments: list[str]) -> None:
    """Execute the notebooks that are named, or all of the book's."""
    paths = [Path(a).resolve() for a in arguments] or sorted((ROOT / "book").glob("*.ipynb"))
    for path in paths:
        before = processor_seconds()
        seconds = execute(path)
        record(path, seconds, processor_seconds() - before)
        print(f"{path.name}: {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
