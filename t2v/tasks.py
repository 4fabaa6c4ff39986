"""Tasks: labelled images from the offline library, from folders, from torchvision, and made from other tasks.

A :class:`Task` is what the rest of the package embeds, compares and ranks. The offline library needs no
network: its pixels come from fonts and pictures inside packages that are installed anyway (see
:mod:`t2v.catalogue`). Images are kept as one array of bytes, ``n · size² · 3`` of them: 12 KiB an image at
64 pixels, 147 KiB at 224.

Rendered tasks are kept in the folder :func:`cache_dir`; each file carries a checksum, and a damaged one is
drawn anew. Importing this module imports neither torch nor the libraries that hold the pictures.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from t2v import external
from t2v._files import write_arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from t2v.catalogue import Entry

#: Part of every cache key: raise it whenever the drawing changes.
VERSION = 1


# ------------------------------------------------------------------------------------------------------ types
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


class LazyDataset(ArrayDataset):
    """An :class:`ArrayDataset` whose images are read when they are first asked for.

    Parameters
    ----------
    labels : array of int64, shape (n,)
        Class numbers.
    read : callable
        Returns the images, ``(n, height, width, 3)``.
    """

    def __init__(
        self,
        images: NDArray[np.uint8] | None = None,
        labels: NDArray[np.int64] | None = None,
        *,
        read: Callable[[], NDArray[np.uint8]] | None = None,
    ) -> None:
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "_read", read)
        if images is not None:
            object.__setattr__(self, "images", images)
            self.__post_init__()

    def __getattr__(self, name: str) -> Any:
        if name != "images":
            raise AttributeError(name)
        object.__setattr__(self, "images", self.__dict__["_read"]())
        self.__post_init__()
        return self.images

    def __repr__(self) -> str:
        return (
            super().__repr__()
            if "images" in self.__dict__
            else f"LazyDataset({len(self)} images, not yet read)"
        )


class TaskWarning(UserWarning):
    """What was done with a user's pictures that they may want to know: passed over, taken fewer, found twice."""


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
    taxonomy: tuple[str, ...] = ()
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


# -------------------------------------------------------------------------------------------- offline library
def names(library: str = "offline", family: str | None = None) -> list[str]:
    """Return the names of a library's tasks, family by family.

    Parameters
    ----------
    library : str
        ``"offline"``, the only one there is. (Folders and torchvision's data sets have functions of their
        own.)
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

    The same arguments give the same pixels, bit by bit, whatever was loaded before. The test set does not
    depend on ``train``, except where the images of a finite source run short.

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


# ------------------------------------------------------------------------------------------------------ cache
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

    recipe = hashlib.sha256(repr(_entry(key["name"]).recipe).encode()).hexdigest()
    packages = {p: version(p) for p in ("matplotlib", "numpy", "pillow", "scikit-image", "scipy")}
    text = json.dumps({**key, **packages, "version": VERSION, "recipe": recipe}, sort_keys=True)
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
    except Exception as error:  # damage shows as nearly any of them: BadZipFile, struct.error, MemoryError, …
        warnings.warn(f"{path} is damaged ({error}); it is drawn anew", RuntimeWarning, stacklevel=3)
        return None
    return arrays


def _store(key: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a rendering whole or not at all: into a temporary file first, which then takes its name."""
    path, text = _cache_file(key)
    try:
        write_arrays(path, sha256=np.array(_digest(text, arrays)), **arrays)
    except OSError as error:
        message = f"cannot keep {path} ({error}); set T2V_CACHE to a writable folder"
        warnings.warn(message, RuntimeWarning, stacklevel=3)


# --------------------------------------------------------------------------------------------- from elsewhere
def from_folder(
    path: str | os.PathLike[str],
    size: int = 64,
    train: float | int | None = None,
    test: int | None = None,
    seed: int = 0,
    *,
    name: str | None = None,
    taxonomy: tuple[str, ...] = (),
    source: str = "",
    licence: str = "",
    fewer: bool = False,
    skip_bad: bool = False,
) -> Task:
    """Load a task from a folder of images with one sub-folder a class.

    A folder that holds a training and a test folder, each with the same classes as sub-folders, keeps that division,
    however they are spelt (``train``, ``Training``, ``test_set``, ``val``, …); any other is divided at random, class by
    class. Sub-folders of a class are searched too. Hidden files, those of systems, and files with other endings than
    :func:`t2v.external.suffixes` are passed over. The rows are chosen first, and only the chosen files are read:
    ``n · size² · 3`` bytes.

    What a user may want to know comes as a :class:`TaskWarning`: how many files of which endings were passed over,
    pictures that are in both sets, pictures of one colour, classes with fewer pictures than the others.

    Parameters
    ----------
    path : path
        The folder.
    size : int
        Side of the squares into which the images are brought: shorter side to ``size``, then the middle.
    train : float or int, optional
        A share of each class (0 < share < 1), or a number of images in all. By default 0.6 of each class, or
        all of the folder's own training set.
    test : int, optional
        A number of test images in all; by default all that are left, or all of the folder's own test set.
    seed : int
        Seed of the choice.
    name, taxonomy, source, licence : optional
        As in :class:`Task`; the name is the folder's by default, the source its path.
    fewer : bool
        Whether numbers are upper limits: 0.6 of each class, at most ``train`` images in all (at least two of each class,
        and each class as equally often as the folder allows), serve for training, at most ``test`` of the rest for testing.
    skip_bad : bool
        Whether to go on past images that cannot be read; a warning lists them.

    Raises
    ------
    ValueError
        If the folder or a class is missing or empty, has one class, a class has fewer than two images (where
        the folder is divided here), there are fewer images than asked for, or an image cannot be read. The
        message names the culprit.
    """
    chosen = _choose_files(Path(path).expanduser(), size, train, test, seed, fewer)
    reader = external.Reader(size, skip_bad)
    first, second = (_read_part(chosen, reader, part, name or chosen.name) for part in (0, 1))
    _tell(chosen, reader, name or chosen.name, first, second)
    return Task(
        name or chosen.name, first, second, chosen.classes, taxonomy, source or str(chosen.folder), licence
    )


@dataclass(frozen=True)
class _Chosen:
    """The files of a task: which there are, and which of them are used."""

    folder: Path
    classes: tuple[str, ...]
    paths: list[Path]
    labels: NDArray[np.int64]
    rows: tuple[NDArray[np.intp], NDArray[np.intp]]
    notes: list[str]

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def files(self, part: int) -> list[Path]:
        return [self.paths[i] for i in self.rows[part]]


def _choose_files(
    folder: Path, size: int, train: float | int | None, test: int | None, seed: int, fewer: bool
) -> _Chosen:
    """Find a folder's files and choose from them, without opening any."""
    _check_int("size", size, 1)
    _check_int("seed", seed, 0)
    _check_share(train)
    if test is not None:
        _check_int("test", test, 1)
    found = external.layout(folder)
    limit, train = (train, None) if fewer and not isinstance(train, float) else (None, train)
    if len(found.parts) == 2:
        classes, (paths, labels), rows = _own_division(
            (found.parts[0], found.parts[1]), train, None if fewer else test, seed
        )
    else:
        files = external.scan(found.parts[0])
        classes, (paths, labels), rows = _divide(files, train, None if fewer else test, seed)
    notes = [f"{folder.name}: {note}" for note in found.notes]
    if fewer:
        rows = _at_most(labels, rows, limit, test, seed)
        notes += _shortage(folder.name, classes, labels[rows[0]], limit)
    if others := ", ".join(filter(None, map(external.passed_over, found.parts))):
        notes.append(f"{folder.name}: {others} passed over")
    return _Chosen(folder, classes, paths, labels, rows, notes)


def _at_most(labels: NDArray[np.int64], rows: _Rows, train: Any, test: Any, seed: int) -> _Rows:
    """Keep at most so many rows of each part, class by class; two of each class to train on."""
    from t2v.rendering import choose, stream

    kept = []
    for part, those, limit in (("train", rows[0], train), ("test", rows[1], test)):
        own = labels[those]
        least = 2 * (int(labels.max()) + 1) if part == "train" else 1
        n = len(those) if limit is None else min(len(those), max(int(limit), least))
        kept.append(those[choose(own, n, 0, stream(seed, "folder", "at most", part))[0]])
    return kept[0], kept[1]


def _shortage(name: str, classes: Sequence[str], labels: NDArray[np.int64], train: Any) -> list[str]:
    """Say where there are fewer training images than asked for, and which classes have fewer than others."""
    notes = []
    counts = np.bincount(labels, minlength=len(classes))
    if train is not None and len(labels) > train:
        notes.append(
            f"{name}: train = {train} is less than two a class; {len(labels):,} are used, of {len(classes):,} classes"
        )
    elif train is not None and len(labels) < train:
        notes.append(f"{name}: {len(labels):,} training images are used, all there are, not {train:,}")
    short = np.flatnonzero(counts < counts.max() - 1)
    if len(short):
        few = ", ".join(
            f"{classes[c]!r} {counts[c]}" for c in short[np.argsort(counts[short], kind="stable")][:8]
        )
        more = f" and {len(short) - 8} more" if len(short) > 8 else ""
        notes.append(
            f"{name}: classes with fewer training images than the others' {counts.max()}: {few}{more}"
        )
    return notes


def _read_part(chosen: _Chosen, reader: external.Reader, part: int, name: str) -> ArrayDataset:
    """Read the files of a part; a class whose last training picture is unreadable is named."""
    images, good = reader.read(chosen.files(part))
    labels = chosen.labels[chosen.rows[part]][good]
    gone = np.setdiff1d(chosen.labels[chosen.rows[part]], labels)
    if part == 0 and len(gone):
        raise ValueError(
            f"path: task {name!r}: no training picture of the class {chosen.classes[gone[0]]!r} can be read: {reader.bad[0]}"
        )
    return ArrayDataset(images, labels)


def _tell(
    chosen: _Chosen, reader: external.Reader, name: str, first: ArrayDataset, second: ArrayDataset | None
) -> None:
    """Warn of what a user may want to know of a folder; refuse training pictures that are all alike."""
    notes = [*chosen.notes, *(f"{name}: {note}" for note in reader.notes)]
    if reader.bad:
        notes.append(f"{name}: {len(reader.bad)} unreadable pictures skipped: {'; '.join(reader.bad)}")
    else:  # rows and files then correspond
        files, flat = chosen.files(0), first.images.reshape(len(first), -1, 3)
        plain = np.flatnonzero((flat == flat[:, :1]).all((1, 2)))
        if len(plain):
            which = ", ".join(str(files[i]) for i in plain[:3])
            notes.append(
                f"{name}: {len(plain)} training pictures are of one colour: {which}{', …' * (len(plain) > 3)}"
            )
        if len(first) > 1 and (flat == flat[0]).all():
            raise ValueError(
                f"path: task {name!r}: all training pictures are alike, as {files[0]}; nothing can be learned"
            )
        notes += _twice(chosen, name, first, second)
    for note in notes:
        warnings.warn(note, TaskWarning, stacklevel=4)


def _twice(chosen: _Chosen, name: str, first: ArrayDataset, second: ArrayDataset | None) -> list[str]:
    """Say which test pictures are in the training set, too: by their pixels, or of files not yet read by their bytes."""
    train, test = chosen.files(0), chosen.files(1)
    if second is not None:
        ours, theirs = (
            [hashlib.sha256(image.tobytes()).digest() for image in d.images] for d in (first, second)
        )
    else:  # only files of equal length can be equal
        sizes = {path.stat().st_size for path in train} & {path.stat().st_size for path in test}
        ours, theirs = (
            [
                hashlib.sha256(p.read_bytes()).digest() if p.stat().st_size in sizes else str(p).encode()
                for p in paths
            ]
            for paths in (train, test)
        )
    where = dict(zip(ours, train, strict=True))
    same = [(path, where[digest]) for path, digest in zip(test, theirs, strict=True) if digest in where]
    if not same:
        return []
    return [
        f"{name}: {len(same)} of {len(test)} test pictures are in the training set, too: {same[0][0]} is {same[0][1]}"
        f"{', …' * (len(same) > 1)}"
    ]


def is_path(text: str) -> bool:
    """Say whether the name of a task can only be a path: it has a separator, or begins with a dot or a tilde."""
    return any(mark and mark in text for mark in (os.sep, os.altsep, "/")) or text.startswith((".", "~"))


def task_name(text: str) -> str:
    """Return the name that a task gets which :func:`open_task` opens, without opening it.

    Parameters
    ----------
    text : str
        As for :func:`open_task`.

    Returns
    -------
    str
        The offline name; the folder's own name; ``torchvision:NAME`` or ``torchvision:NAME/GROUP`` in torchvision's
        spelling.

    Raises
    ------
    ValueError
        If there is no such task; the message lists the nearest.
    """
    from t2v.catalogue import ENTRIES

    if text.startswith("torchvision:"):
        kind, group = external.find_group(text.removeprefix("torchvision:"))
        return f"torchvision:{kind.__name__}" + (f"/{group}" if group else "")
    if text in ENTRIES and not is_path(text):
        return text
    path = Path(text).expanduser()
    if path.is_dir():
        return path.resolve().name
    if is_path(text) or path.exists():
        raise ValueError(
            f"task: {text!r} is not a folder; accepted: a folder of image folders, or a task's name"
        )
    _entry(text)  # refuses it, with the nearest names
    return text


def open_task(
    text: str,
    size: int = 64,
    train: int | None = 600,
    test: int | None = 400,
    seed: int = 0,
    root: str | os.PathLike[str] = "data",
    download: bool = False,
    *,
    skip_bad: bool = False,
) -> Task:
    """Open a task by the name that the command line and the atlas know it by.

    Parameters
    ----------
    text : str
        An offline name (it wins over a folder of that name, which is ``./NAME``); ``torchvision:NAME`` or
        ``torchvision:NAME/GROUP``; or a path to a folder of image folders.
    size, seed : int
        As in :func:`load`.
    train, test : int or None
        Numbers of images: of folders and torchvision's sets at most, and two of each class to train on at least. A
        warning says where it is another number. None: all there are (offline: the default).
    root : path
        Torchvision's files.
    download : bool
        Whether torchvision may download them.
    skip_bad : bool
        Whether to go on past pictures of a folder that cannot be read; a warning lists them.

    Returns
    -------
    Task
        Of a folder the training pictures are read, and the test pictures when they are first asked for.

    Raises
    ------
    ValueError
        If there is no such task, or it cannot be read; the message names the culprit.
    """
    name = task_name(text)
    if name.startswith("torchvision:"):
        asked = name.removeprefix("torchvision:")
        numbers: dict[str, Any] = {"size": size, "train": train, "test": test, "seed": seed}
        task = from_torchvision(asked, Path(root), download=download, fewer=True, **numbers)
        for note in _shortage(name, task.classes, task.train.labels, train):
            warnings.warn(note, TaskWarning, stacklevel=2)
        return replace(task, name=name)
    if text == name and not is_path(text) and name in names():
        if Path(text).is_dir():
            warnings.warn(
                f"{text}: the offline task is taken; the folder of that name is ./{text}",
                TaskWarning,
                stacklevel=2,
            )
        least = 2 * len(_entry(name).classes)
        if train is not None and train < least:
            warnings.warn(
                f"{name}: train = {train} is less than two a class; {least} are drawn",
                TaskWarning,
                stacklevel=2,
            )
        return load(
            name, size, max(600 if train is None else train, least), 400 if test is None else test, seed
        )
    chosen = _choose_files(Path(text).expanduser(), size, train, test, seed, fewer=True)
    reader = external.Reader(size, skip_bad)
    first = _read_part(chosen, reader, 0, name)
    if skip_bad:
        second = _read_part(chosen, reader, 1, name)
        _tell(chosen, reader, name, first, second)
    else:
        _tell(chosen, reader, name, first, None)
        labels = chosen.labels[chosen.rows[1]]
        second = LazyDataset(labels=labels, read=lambda: reader.read(chosen.files(1))[0])
    return Task(name, first, second, chosen.classes, source=str(chosen.folder))


_Files = tuple[list[Path], NDArray[np.int64]]
_Rows = tuple[NDArray[np.intp], NDArray[np.intp]]


def _check_share(train: float | int | None) -> None:
    if isinstance(train, float):
        if not 0 < train < 1:
            raise ValueError(
                f"train: a share must lie strictly between 0 and 1, not {train}; a number must be an int"
            )
    elif train is not None:
        _check_int("train", train, 1)


def _flatten(files: dict[str, list[Path]]) -> _Files:
    labels = np.repeat(np.arange(len(files)), [len(paths) for paths in files.values()])
    return [path for paths in files.values() for path in paths], labels.astype(np.int64)


def _divide(
    files: dict[str, list[Path]], train: float | int | None, test: int | None, seed: int
) -> tuple[tuple[str, ...], _Files, _Rows]:
    """Divide the files of each class at random; with a share, every class is in both sets."""
    from t2v.rendering import choose, stream

    for label, paths in files.items():
        if len(paths) < 2:
            raise ValueError(
                f"path: the class {label!r} has 1 image; at least 2 are needed, to train and to test"
            )
    paths, labels = _flatten(files)
    rng = stream(seed, "folder")
    if train is not None and not isinstance(train, float):  # NumPy's integers are no int
        rest = len(labels) - train if test is None else test
        _check_supply("train, test", train + max(rest, 1), len(labels), "the folder")
        return tuple(files), (paths, labels), choose(labels, train, rest, rng)
    share = 0.6 if train is None else train
    order = [rng.permutation(np.flatnonzero(labels == c)) for c in range(len(files))]
    cuts = [min(max(1, round(share * len(rows))), len(rows) - 1) for rows in order]
    first = np.concatenate([rows[:cut] for rows, cut in zip(order, cuts, strict=True)])
    second = np.concatenate([rows[cut:] for rows, cut in zip(order, cuts, strict=True)])
    if test is not None:
        _check_supply("test", test, len(second), "what is left of the folder")
        second = second[choose(labels[second], 0, test, rng)[1]]
    return tuple(files), (paths, labels), (rng.permutation(first), rng.permutation(second))


def _own_division(
    folders: tuple[Path, Path], train: float | int | None, test: int | None, seed: int
) -> tuple[tuple[str, ...], _Files, _Rows]:
    """Keep the division that the folder has, and choose from each part as many images as were asked for."""
    from t2v.rendering import choose, stream

    if isinstance(train, float):
        raise ValueError(
            f"train: {folders[0].parent} has its own training and test sets; give a number, not a share"
        )
    sets = [external.scan(folder) for folder in folders]
    if odd := set(sets[0]) ^ set(sets[1]):
        raise ValueError(
            f"path: the class {sorted(odd)[0]!r} is in only one of {folders[0]} and {folders[1]}"
        )
    (paths, labels), (more, others) = _flatten(sets[0]), _flatten(sets[1])
    rows = []
    for part, have, asked in (("train", labels, train), ("test", others, test)):
        n = len(have) if asked is None else asked
        _check_supply(part, n, len(have), f"the folder's {part} set")
        rows.append(choose(have, n, 0, stream(seed, "folder", part))[0])
    return tuple(sets[0]), (paths + more, np.concatenate([labels, others])), (rows[0], rows[1] + len(labels))


def _check_supply(argument: str, asked: int, there: int, where: str) -> None:
    if asked > there:
        raise ValueError(f"{argument}: {asked:,} images were asked for, but {where} has {there:,}")


def from_torchvision(
    name: str,
    root: str | os.PathLike[str],
    classes: Sequence[str | int] | None = None,
    download: bool = False,
    *,
    size: int = 64,
    train: int | None = 600,
    test: int | None = 400,
    seed: int = 0,
    fewer: bool = False,
    **options: Any,
) -> Task:
    """Load a task from one of torchvision's classification data sets.

    Training and test images come from the data set's own parts (``train`` and ``test``, or ``val`` where the
    test labels are secret); a data set without parts is divided at random. Some formats (CIFAR) are pickles,
    which torchvision opens itself, and only if their MD5 sum is the published one; no other pickle is ever
    opened.

    Parameters
    ----------
    name : str
        The class's name in ``torchvision.datasets``, in upper or lower case: ``"CIFAR10"``, ``"dtd"``. After a slash,
        a group of its classes: ``"CIFAR100/fish"`` (its superclasses), ``"EMNIST/letters"``, ``"Omniglot/Greek"`` (its
        alphabets), ``"INaturalist/Anura"`` (the species of any taxon, 40 at most: evenly spaced in their taxonomic
        order).
    root : path
        The folder of the data set's files, as torchvision takes it.
    classes : sequence of str or int, optional
        Keep only these classes, in this order.
    download : bool
        Whether torchvision may download the files. Nothing is downloaded otherwise.
    size, seed : int
        As in :func:`load`.
    train, test : int or None
        Number of images; None for all.
    fewer : bool
        Whether to be content with the images that there are, where they are fewer than asked for. A data set without
        parts is then divided in the proportion of ``train`` and ``test``.
    **options
        Passed on to the data set, for instance ``split="letters"`` of EMNIST.

    Raises
    ------
    ValueError
        If torchvision has no such data set (the message lists the nearest), its files are missing (where they
        belong, how to get them), it does not give one class an image, or it has fewer images than asked for.
    RuntimeError
        If a download fails.
    """
    _check_int("size", size, 1)
    _check_int("seed", seed, 0)
    for argument, n in (("train", train), ("test", test)):
        if n is not None:
            _check_int(argument, n, 1)
    kind, group = external.find_group(name)
    if group is not None and classes is not None:
        raise ValueError(f"classes: {name!r} names a group of classes already; give one or the other")
    if group is not None and kind.__name__ == "EMNIST":
        options["split"] = group
    parts = external.open_dataset(kind, Path(root).expanduser(), download, options)
    labels = [external.dataset_labels(part) for part in parts]
    known = external.dataset_classes(parts[0], int(max(y.max() for y in labels)) + 1)
    # A name without any image is no class: EMNIST's letters count from one and call number zero "N/A".
    present = np.unique(np.concatenate(labels)).tolist()
    classes = external.group_classes(kind, group, known) if classes is None else classes
    kept = present if classes is None else _class_numbers(classes, known)
    pools = [np.flatnonzero(np.isin(y, kept)) for y in labels]
    renamed = [_renumber(y[rows], kept) for y, rows in zip(labels, pools, strict=True)]
    chosen = _choose_parts(renamed, train, test, seed, kind.__name__, fewer)
    datasets = []
    for k, rows in enumerate(chosen):
        which = min(k, len(parts) - 1)
        images = external.dataset_images(parts[which], pools[which][rows], size)
        datasets.append(ArrayDataset(images, renamed[which][rows]))
    return Task(
        name="-".join(("torchvision", kind.__name__, *([group] if group else []))),
        train=datasets[0],
        test=datasets[1],
        classes=tuple(known[c] for c in kept),
        source=f"torchvision.datasets.{kind.__name__}",
        licence="see the data set's own terms",
    )


def _choose_parts(
    labels: list[NDArray[np.int64]],
    train: int | None,
    test: int | None,
    seed: int,
    name: str,
    fewer: bool = False,
) -> _Rows:
    """Choose rows from one pool for both sets, or from a pool for each."""
    from t2v.rendering import choose, stream

    if len(labels) == 1:
        total = len(labels[0])
        if train is None:
            train = round(0.6 * total) if test is None else total - test
        test = total - train if test is None else test
        if fewer:
            train = max(train, 2 * len(np.unique(labels[0])))
        if fewer and train + test > total:
            train = round(total * train / (train + test))
            test = total - train
        _check_supply("train, test", max(train, 1) + max(test, 1), total, name)
        return choose(labels[0], train, test, stream(seed, name))
    rows = []
    for part, have, asked in (("train", labels[0], train), ("test", labels[1], test)):
        if fewer and asked is not None:
            least = 2 * len(np.unique(have)) if part == "train" else 1
            asked = min(max(asked, least), len(have))
        n = len(have) if asked is None else asked
        _check_supply(part, n, len(have), f"the {part} part of {name}")
        rows.append(choose(have, n, 0, stream(seed, name, part))[0])
    return rows[0], rows[1]


# ------------------------------------------------------------------------------------------- from other tasks
def _class_numbers(classes: Sequence[str | int], known: Sequence[str]) -> list[int]:
    """Turn names or numbers of classes into numbers, in the order given."""
    if isinstance(classes, str):
        raise TypeError(f"classes: give a sequence of names or numbers, not the string {classes!r}")
    numbers = []
    for c in classes:
        if isinstance(c, str) and c not in known:
            near = difflib.get_close_matches(c, known, n=3, cutoff=0.5) or list(known[:8])
            raise ValueError(f"classes: no class {c!r}; near: {', '.join(map(repr, near))}")
        if isinstance(c, bool) or not isinstance(c, (str, int, np.integer)):
            raise TypeError(f"classes: {c!r} is neither a name nor a whole number")
        number = list(known).index(c) if isinstance(c, str) else int(c)
        if not 0 <= number < len(known):
            raise ValueError(f"classes: no class {number}; accepted: 0 … {len(known) - 1}, or names")
        numbers.append(number)
    if len(numbers) < 2 or len(set(numbers)) < len(numbers):
        raise ValueError(f"classes: at least two different ones are needed, not {list(classes)!r}")
    return numbers


def _renumber(labels: NDArray[np.int64], kept: list[int]) -> NDArray[np.int64]:
    new = np.full(max(int(labels.max(initial=0)), *kept) + 1, -1, np.int64)
    new[kept] = np.arange(len(kept))
    return new[labels]


def subset(task: Task, classes: Sequence[str | int], name: str | None = None) -> Task:
    """Return the task of telling only some classes apart, with the images that ``task`` has of them.

    Parameters
    ----------
    task : Task
    classes : sequence of str or int
        Two classes or more, by name or number; they are numbered in this order.
    name : str, optional
        Of the new task; made from the classes by default.

    Raises
    ------
    ValueError
        If a class is unknown or repeated, or there are fewer than two.
    """
    kept = _class_numbers(classes, task.classes)
    chosen = tuple(task.classes[c] for c in kept)
    tag = "-".join(chosen)
    if len(tag) > 24:
        tag = f"{len(kept)}of{task.n_classes}-{hashlib.sha256(tag.encode()).hexdigest()[:6]}"

    def part(data: ArrayDataset) -> ArrayDataset:
        rows = np.flatnonzero(np.isin(data.labels, kept))
        return ArrayDataset(data.images[rows], _renumber(data.labels[rows], kept))

    return replace(
        task, name=name or f"{task.name}-{tag}", train=part(task.train), test=part(task.test), classes=chosen
    )


def shuffle_labels(task: Task, seed: int, name: str | None = None) -> Task:
    """Return the task with its labels dealt out anew, at random: nothing is left to learn but by heart.

    Training and test labels are permuted each among themselves, so the numbers of each class stay what they
    were.

    Parameters
    ----------
    task : Task
    seed : int
        Seed of the permutation.
    name : str, optional
        Of the new task; ``"<name>-shuffled"`` by default.
    """
    from t2v.rendering import stream

    _check_int("seed", seed, 0)

    def part(data: ArrayDataset, word: str) -> ArrayDataset:
        return ArrayDataset(data.images, stream(seed, task.name, "shuffle", word).permutation(data.labels))

    return replace(
        task,
        name=name or f"{task.name}-shuffled",
        train=part(task.train, "train"),
        test=part(task.test, "test"),
    )


# --------------------------------------------------------------------------------------------- tree and sheet
def tree_distance(a: Task | str | Sequence[str], b: Task | str | Sequence[str]) -> int:
    """Return the number of edges between two tasks in the tree of tasks.

    A taxonomy is a path from the root; two tasks are joined through the last node that their paths share:
    ``d = len(a) + len(b) − 2 · shared``. Greek and Latin lower case, for instance, are
    ``(…, greek, lower)`` and ``(…, greek, old_italic, latin, lower)``: one step up to Greek, three down.
    Zero means the same place, which different tasks may have.

    Parameters
    ----------
    a, b : Task, str or sequence of str
        Tasks, names of offline tasks, or paths.

    Raises
    ------
    ValueError
        If a task has no taxonomy, or a name is unknown.
    """
    first, second = _path(a), _path(b)
    shared = 0
    while shared < min(len(first), len(second)) and first[shared] == second[shared]:
        shared += 1
    return len(first) + len(second) - 2 * shared


def _path(task: Task | str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(task, str):
        return _entry(task).taxonomy
    path = task.taxonomy if isinstance(task, Task) else tuple(task)
    if not path:
        raise ValueError(f"tree_distance: {task!r} has no taxonomy")
    return path


def sheet(
    names: Sequence[str | Task] | None = None, columns: int = 5, across: int = 6, down: int = 2, seed: int = 0
) -> Figure:
    """Draw a sheet of pictures: a few training images of each task, of as many classes as possible.

    Parameters
    ----------
    names : sequence of str or Task, optional
        The tasks; by default the whole offline library.
    columns : int
        Tasks side by side.
    across, down : int
        Images of a task, side by side and below one another.
    seed : int
        Seed of the offline tasks.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    chosen = globals()["names"]() if names is None else list(names)
    for argument, value in (("columns", columns), ("across", across), ("down", down)):
        _check_int(argument, value, 1)
    if not chosen:
        raise ValueError("names: empty; at least one task is needed")
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    height = 2.0 * down / across + 0.32
    figure, axes = plt.subplots(rows, columns, figsize=(2.1 * columns, height * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, item in zip(axes.flat, chosen, strict=False):
        task = (
            load(item, train=across * down, test=1, seed=seed, cache=False) if isinstance(item, str) else item
        )
        axis.imshow(_mosaic(task.train, across, down), interpolation="antialiased")
        axis.set_title(f"{task.name} ({task.n_classes})", fontsize=8, pad=2)
    return figure


def _mosaic(data: ArrayDataset, across: int, down: int) -> NDArray[np.uint8]:
    """Put images of different classes into one picture, white where there are too few."""
    # Sorting by how often a class was seen before brings one image of each class to the front.
    seen = np.array([np.sum(data.labels[:i] == data.labels[i]) for i in range(len(data))])
    rows = np.argsort(seen, kind="stable")[: across * down]
    rows = rows[np.argsort(data.labels[rows], kind="stable")]
    gap = max(1, data.images.shape[1] // 32)
    h, w = data.images.shape[1] + gap, data.images.shape[2] + gap
    tiles = np.full((across * down, h, w, 3), 255, np.uint8)
    tiles[: len(rows), gap:, gap:] = data.images[rows]
    return tiles.reshape(down, across, h, w, 3).swapaxes(1, 2).reshape(down * h, across * w, 3)
