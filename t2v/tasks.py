"""Tasks: labelled images from the offline library, from folders, from torchvision, and made from other tasks.

A :class:`Task` is what the rest of the package embeds, compares and ranks. The offline library needs no network:
its pixels come from fonts and pictures inside packages that are installed anyway (see :mod:`t2v.catalogue`).
Images are kept as one array of bytes, ``n · size² · 3`` of them: 12 KiB an image at 64 pixels, 147 KiB at 224.

Rendered tasks are kept in the folder :func:`cache_dir`; each file carries a checksum, and a damaged one is drawn
anew. Importing this module imports neither torch nor the libraries that hold the pictures.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from t2v.catalogue import Entry

#: Part of every cache key: raise it whenever the drawing changes.
VERSION = 1


# ----------------------------------------------------------------------------------------------------- types
@dataclass(frozen=True, eq=False)
class ArrayDataset:
    """A map-style dataset over arrays, with ``len(d)`` and ``d[i] -> (image, label)``.

    Attributes
    ----------
    images : array of uint8, shape (n, height, width, 3)
        RGB images.
    labels : array of int64, shape (n,)
        Class numbers from 0.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[-1] != 3:
            raise ValueError(
                f"images: must be uint8 of shape (n, height, width, 3), "
                f"not {self.images.dtype} of shape {self.images.shape}"
            )
        if not np.issubdtype(self.labels.dtype, np.integer) or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels: must be integers of shape ({len(self.images)},), "
                f"not {self.labels.dtype} of shape {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self.images[index], int(self.labels[index])

    def __repr__(self) -> str:
        return f"ArrayDataset({len(self)} images of {self.images.shape[1]}×{self.images.shape[2]} pixels)"


@dataclass(frozen=True, eq=False)
class Task:
    """A classification task.

    Attributes
    ----------
    name : str
    train, test : ArrayDataset
        Disjoint. Anything with ``.images`` and ``.labels`` of these shapes, ``len`` and indexing, serves.
    classes : tuple of str
        Names, in the order of the labels.
    taxonomy : tuple of str
        The path from the root of the tree of tasks, for :func:`tree_distance`; empty if unknown.
    source, licence : str
        Where the pixels come from, and under which licence they may be used.
    """

    name: str
    train: ArrayDataset
    test: ArrayDataset
    classes: tuple[str, ...]
    taxonomy: tuple[str, ...] = field(default=())
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        for part, dataset in (("train", self.train), ("test", self.test)):
            labels = dataset.labels
            if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
                raise ValueError(
                    f"{part}: labels of task {self.name!r} run from {labels.min()} to {labels.max()}; "
                    f"with {len(self.classes)} classes they must lie in 0 … {len(self.classes) - 1}"
                )

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def __repr__(self) -> str:
        size = "×".join(str(s) for s in self.train.images.shape[1:3])
        return (
            f"Task({self.name!r}: {self.n_classes} classes, {len(self.train)} training and "
            f"{len(self.test)} test images, {size} pixels)"
        )


# ------------------------------------------------------------------------------------------- offline library
def names(library: str = "offline", family: str | None = None) -> list[str]:
    """Return the names of a library's tasks, family by family.

    Parameters
    ----------
    library : str
        ``"offline"``, the only one there is. (Folders and torchvision's data sets have functions of their own.)
    family : str, optional
        Only the tasks of this family; see :func:`families`.
    """
    from t2v.catalogue import ENTRIES

    if library != "offline":
        raise ValueError(
            f"library: unknown library {library!r}; accepted: 'offline' "
            "(for other data use from_folder or from_torchvision)"
        )
    if family is not None and family not in families():
        raise ValueError(f"family: unknown family {family!r}; accepted: {', '.join(families())}")
    return [name for name, entry in ENTRIES.items() if family in (None, entry.family)]


def families() -> list[str]:
    """Return the families of the offline library, in the library's order."""
    from t2v.catalogue import ENTRIES

    return list(dict.fromkeys(entry.family for entry in ENTRIES.values()))


def family(name: str) -> str:
    """Return the family of an offline task."""
    return _entry(name).family


def _entry(name: str) -> Entry:
    from t2v.catalogue import ENTRIES

    if name not in ENTRIES:
        near = difflib.get_close_matches(str(name).lower(), ENTRIES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
        raise ValueError(f"name: unknown task {name!r}; {hint}tasks.names() lists all {len(ENTRIES)}")
    return ENTRIES[name]


def load(
    name: str, size: int = 64, train: int = 600, test: int = 400, seed: int = 0, *, cache: bool = True
) -> Task:
    """Load a task of the offline library, drawing it unless it is in the cache.

    The same arguments give the same pixels, bit by bit, whatever was loaded before. The test set does not depend
    on ``train``, except where the images of a finite source run short.

    Parameters
    ----------
    name : str
        One of :func:`names`.
    size : int
        Side of the square images, in pixels.
    train, test : int
        Number of images; the classes share them as equally as possible.
    seed : int
        Seed of everything random: which glyphs, how they are bent and coloured, which patches.
    cache : bool
        Whether to read and write files in :func:`cache_dir`.

    Raises
    ------
    ValueError
        If the name is unknown (the message lists the nearest), a number is out of range, or a finite source
        (handwriting) has fewer images than were asked for.
    """
    entry = _entry(name)
    _check_int("size", size, 8)
    _check_int("train", train, 1)
    _check_int("test", test, 1)
    _check_int("seed", seed, 0)
    key = {"name": name, "size": int(size), "train": int(train), "test": int(test), "seed": int(seed)}
    arrays = _cached(key) if cache else None
    if arrays is None:
        (x, y), (u, v) = entry.recipe.render(size, train, test, seed)
        arrays = {"train_images": x, "train_labels": y, "test_images": u, "test_labels": v}
        if cache:
            _store(key, arrays)
    return Task(
        name=name,
        train=ArrayDataset(arrays["train_images"], arrays["train_labels"]),
        test=ArrayDataset(arrays["test_images"], arrays["test_labels"]),
        classes=entry.classes,
        taxonomy=entry.taxonomy,
        source=entry.source,
        licence=entry.licence,
    )


def _check_int(argument: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{argument}: must be an integer of at least {least}, not {value!r}")
    if value < least:
        raise ValueError(f"{argument}: must be at least {least}, not {value}")


# ----------------------------------------------------------------------------------------------------- cache
def cache_dir() -> Path:
    """Return the folder of rendered tasks: ``$T2V_CACHE``, or ``t2v`` in the user's cache folder."""
    chosen = os.environ.get("T2V_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "t2v"


def _cache_file(key: dict[str, Any]) -> tuple[Path, str]:
    """Return the file of a rendering and the text of its key: all that the pixels depend on."""
    from importlib.metadata import version

    parts = {"version": VERSION, **{p: version(p) for p in ("pillow", "matplotlib", "numpy")}, **key}
    text = json.dumps(parts, sort_keys=True)
    return cache_dir() / "tasks" / f"{key['name']}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz", text


def _digest(text: str, arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(text.encode())
    for part in sorted(arrays):
        digest.update(f"{part}{arrays[part].dtype.str}{arrays[part].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[part]).data)
    return digest.hexdigest()


def _cached(key: dict[str, Any]) -> dict[str, NDArray[Any]] | None:
    """Read a rendering; None if there is none, or (with a warning) if the file is damaged."""
    path, text = _cache_file(key)
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {part: file[part] for part in file.files}
        if str(arrays.pop("sha256")) != _digest(text, arrays):
            raise ValueError("the checksum does not match")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path} is damaged ({error}); it is drawn anew", RuntimeWarning, stacklevel=3)
        path.unlink(missing_ok=True)
        return None
    return arrays


def _store(key: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a rendering whole or not at all: into a temporary file first, which then takes its name."""
    path, text = _cache_file(key)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            np.savez(file, sha256=np.array(_digest(text, arrays)), **arrays)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        warnings.warn(f"cannot keep {path} ({error}); set T2V_CACHE to a writable folder", stacklevel=3)
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
