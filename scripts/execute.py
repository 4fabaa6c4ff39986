"""Execute chapters in place and leave clean notebooks: stable metadata, no execution times.

Usage: python scripts/execute.py [book/03_bottleneck.ipynb …]    (all chapters by default)
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
KEEP = ("tags", "mystnb", "jupyter", "slideshow")


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
        notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    seconds = time.perf_counter() - start
    clean(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return seconds


def main(arguments: list[str]) -> None:
    """Execute the notebooks that are named, or all of the book's."""
    paths = [Path(a).resolve() for a in arguments] or sorted((ROOT / "book").glob("*.ipynb"))
    for path in paths:
        print(f"{path.name}: {execute(path):.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
