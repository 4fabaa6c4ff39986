"""Prepare what a reader has who downloads the chapters: notebooks in an empty folder, and t2v from its wheel alone.

Usage: python scripts/downloaded.py FOLDER [CHAPTER …]    (all chapters by default; FOLDER lies outside the checkout)

FOLDER gets ``chapters/`` with copies of the notebooks, ``site/`` with the unpacked wheel, and ``share/jupyter`` with a
kernel that imports t2v from there; the copies ask for that kernel. With ``JUPYTER_PATH=FOLDER/share/jupyter`` the
chapters run as they do for such a reader: what the wheel lacks stops them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
KERNEL = "t2v-wheel"


def build_wheel(folder: Path) -> Path:
    """Build the package's wheel, without its dependencies and without a network, and return it."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        ROOT,
    ]
    subprocess.run(command, check=True)
    return next(folder.glob("t2v-*.whl"))


def write_kernel(folder: Path, site: Path) -> None:
    """Write a kernel of this Python that finds t2v in ``site`` before any other."""
    path = folder / "share" / "jupyter" / "kernels" / KERNEL / "kernel.json"
    path.parent.mkdir(parents=True)
    about = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "t2v from its wheel",
        "language": "python",
        "env": {"PYTHONPATH": os.fspath(site)},
    }
    path.write_text(json.dumps(about, indent=1), encoding="utf-8")


def copy_chapters(folder: Path, wanted: Sequence[str]) -> list[Path]:
    """Copy the notebooks whose names begin with one of ``wanted`` (all if there is none), and let them ask for the kernel."""
    (folder / "chapters").mkdir()
    copies = []
    for source in sorted((ROOT / "book").glob("[0-9][0-9]_*.ipynb")):
        if wanted and not source.name.startswith(tuple(wanted)):
            continue
        notebook = nbformat.read(source, as_version=4)
        notebook.metadata.kernelspec = {"name": KERNEL, "display_name": KERNEL, "language": "python"}
        copies.append(folder / "chapters" / source.name)
        nbformat.write(notebook, copies[-1])
    return copies


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, unpack, copy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "folder", type=Path, help="is made where it is missing; must be empty, and outside the checkout"
    )
    parser.add_argument("chapters", nargs="*", help="beginnings of file names: 03 10")
    args = parser.parse_args(arguments)
    folder = args.folder.resolve()
    if ROOT in (folder, *folder.parents):
        parser.error(
            f"{folder} is inside the checkout, where chapters find its files; another place is needed"
        )
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(build_wheel(folder)) as wheel:
        wheel.extractall(folder / "site")
    write_kernel(folder, folder / "site")
    if not copy_chapters(folder, args.chapters):
        parser.error(f"no chapter begins with {' or '.join(args.chapters)}")


if __name__ == "__main__":
    main()
