"""Lay out the public data sets behind book/runs/photographs as folders of images.

Usage: python scripts/photographs_build.py OUT [--archives DIR] [--root DIR] [--download] [--datasets cifar10 …]

OUT gets DATASET/CLASS/0001.png … and DATASET/manifest.tsv (file, original_path), which scripts/photographs_run.py reads.
Which classes are taken stands in book/runs/photographs/library.csv; titles, sources, licences and the largest number of
images a class in datasets.json beside it: read the licences first, as no image of these sets belongs to this project.

- CIFAR-10, DTD, GTSRB and Omniglot come by torchvision from ``--root``, with ``--download`` from their servers.
- For the others, unpack the archive that datasets.json names into ``--archives``/DATASET; class folders are looked for at
  any depth.

A picture is brought to a square of at most 96 pixels, and never enlarged. From each class a seeded choice of the pictures is
taken: the same classes as in the stored run, and not the same pictures of them. What cannot be had (no network, no archive,
a class without pictures) is named, with what to do about it, before anything is written for that data set.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from t2v import external
from t2v._files import atomically, write_text

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "book" / "runs" / "photographs"
SIZE = 96

#: A picture: the path that it had in the data set, and how to open it.
Picture = tuple[str, Callable[[], Image.Image]]


class UnavailableError(RuntimeError):
    """A data set, or a class of it, cannot be had; the message says what to do."""


def classes_of(path: Path = RUN / "library.csv") -> dict[str, list[str]]:
    """Return data set → the classes that its tasks need."""
    found: dict[str, list[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["dataset"], []).extend(row["classes"].split(";"))
    return found


# ---------------------------------------------------------------------------------------------- where pictures are
def pattern(dataset: str, name: str) -> str:
    """Return the glob, below the folder of a data set, of the folders that hold a class.

    Grocery's classes are ``Fruit-Anjou``: a group, then the finest folder, at any depth in between.
    """
    if dataset == "omniglot":
        alphabet, _, character = name.rpartition("-")
        return f"**/images_background/{alphabet.replace('__', '_(').rstrip('_') + ')' * ('__' in alphabet)}/{character}"
    if dataset == "gtsrb":
        return f"**/{int(name.split('_')[0]):05d}"
    if dataset == "grocery":
        group, _, fine = name.partition("-")
        return f"**/{group}/**/{fine}"
    if dataset == "sign_digits":
        return f"**/{name.removeprefix('digit_')}"
    return f"**/{name}"


def in_folders(folder: Path, dataset: str, classes: Sequence[str]) -> dict[str, list[Picture]]:
    """Return the pictures of each class below a folder, in the order of their paths."""
    if not folder.is_dir():
        raise UnavailableError(f"{dataset}: no folder {folder}")
    found: dict[str, list[Picture]] = {}
    for name in classes:
        homes = [home for home in sorted(folder.glob(pattern(dataset, name))) if home.is_dir()]
        files = sorted({p for home in homes for p in home.iterdir() if p.suffix.lower() in external.SUFFIXES})
        if not files:
            raise UnavailableError(f"{dataset}: no pictures of {name!r} in {folder}/{pattern(dataset, name)}")
        found[name] = [(p.relative_to(folder).as_posix(), partial(Image.open, p)) for p in files]
    return found


def in_arrays(opened: Any, classes: Sequence[str]) -> dict[str, list[Picture]]:
    """Return the pictures of CIFAR-10, which torchvision holds in one array."""
    found: dict[str, list[Picture]] = {}
    for name in classes:
        rows = np.flatnonzero(np.asarray(opened.targets) == opened.class_to_idx[name])
        found[name] = [(f"{name}/{row}", partial(Image.fromarray, opened.data[row])) for row in rows]
    return found


#: torchvision's classes, and what they are asked for.
TORCHVISION: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "cifar10": ("CIFAR10", {"train": True}),
    "dtd10": ("DTD", {"split": "train"}),
    "gtsrb": ("GTSRB", {"split": "train"}),
    "omniglot": ("Omniglot", {"background": True}),
}


def by_torchvision(dataset: str, root: Path, download: bool) -> Any:
    """Open (or download) a data set of torchvision."""
    import torchvision.datasets

    kind, options = TORCHVISION[dataset]
    try:
        return getattr(torchvision.datasets, kind)(root, download=download, **options)
    except Exception as error:  # the network, the server and torchvision each raise their own kinds
        advice = "is there a network?" if download else "give --download where there is a network"
        raise UnavailableError(
            f"{dataset}: torchvision's {kind} is not to be had in {root} ({type(error).__name__}: {error}); {advice}"
        ) from error


def pictures(
    dataset: str, classes: Sequence[str], about: Mapping[str, Any], args: argparse.Namespace
) -> dict[str, list[Picture]]:
    """Return the pictures of each class of a data set, wherever they come from."""
    if dataset in TORCHVISION:
        opened = by_torchvision(dataset, args.root, args.download)
        return in_arrays(opened, classes) if dataset == "cifar10" else in_folders(args.root, dataset, classes)
    if args.archives is None or not (args.archives / dataset).is_dir():
        where = f"{args.archives or 'DIR'}/{dataset}"
        raise UnavailableError(
            f"{dataset}: {about['title']} has to be fetched by hand from {about['source']} (licence: {about['licence']}); "
            f"unpack it into {where}, and give --archives"
        )
    return in_folders(args.archives / dataset, dataset, classes)


# ------------------------------------------------------------------------------------------------------- writing
def fitted(picture: Image.Image) -> Image.Image:
    """Return the middle square of a picture, with at most :data:`SIZE` pixels a side."""
    picture = external.to_rgb(picture)
    size = min(SIZE, *picture.size)
    return ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)


def chosen(supply: Sequence[Picture], most: int, seed: int = 0) -> list[Picture]:
    """Return at most so many pictures, a seeded choice in the order that they had."""
    rows = np.random.default_rng(seed).permutation(len(supply))[:most]
    return [supply[row] for row in np.sort(rows)]


def write(out: Path, found: Mapping[str, Sequence[Picture]], most: int) -> int:
    """Write the pictures of a data set and their manifest; return how many there are."""
    lines = ["file\toriginal_path"]
    for name, supply in tqdm(found.items(), desc=out.name, disable=None):
        for k, (original, load) in enumerate(chosen(supply, most), start=1):
            target = out / name / f"{k:04d}.png"
            with load() as picture:
                atomically(target, partial(fitted(picture).save, format="PNG"))
            lines.append(f"{name}/{target.name}\t{original}")
    write_text(out / "manifest.tsv", "\n".join(lines) + "\n")  # last: it says that the data set is whole
    return len(lines) - 1


def build(datasets: Iterable[str], args: argparse.Namespace) -> list[str]:
    """Write every data set that can be had; return what could not."""
    about = json.loads((RUN / "datasets.json").read_text(encoding="utf-8"))
    missing, needed = [], classes_of()
    for name in datasets:
        if (args.out / name / "manifest.tsv").exists():
            print(f"{name}: there already")
            continue
        try:
            found = pictures(name, needed[name], about[name], args)
        except UnavailableError as error:
            missing.append(str(error))
            continue
        print(
            f"{name}: {write(args.out / name, found, about[name]['most'])} pictures; {about[name]['licence']}"
        )
    return missing


def main(given: Sequence[str] | None = None) -> None:
    """Build what can be built, and end with an error that names the rest."""
    known = list(classes_of())
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--archives", type=Path, help="DATASET/… unpacked by hand")
    parser.add_argument(
        "--root", type=Path, default=Path("~/.cache/torchvision").expanduser(), help="torchvision's"
    )
    parser.add_argument("--download", action="store_true", help="let torchvision fetch what it can")
    parser.add_argument("--datasets", nargs="+", choices=known, default=known)
    args = parser.parse_args(given)
    if missing := build(args.datasets, args):
        parser.exit(1, "".join(f"missing: {line}\n" for line in missing))


if __name__ == "__main__":
    main()
