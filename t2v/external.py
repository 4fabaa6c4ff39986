"""Images from outside the package: files of any colour mode, folders of them, and torchvision's data sets.

Everything becomes RGB bytes in squares of one size: turned as the camera's note says, transparent parts set
on white (on black where white would hide the drawing), the first frame of an animation, the shorter side brought to
size and the middle cut out. Grey pictures of more than 8 bits are scaled by the bits that the pictures of a task use.
What cannot be converted without a choice (floating-point pixels beyond 0 … 1, for instance) is refused by name.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, features

from t2v._hierarchies import ALPHABETS, EMNIST_SPLITS, GROUPS, SPECIES

#: File names that count as images; anything else in a class's folder is passed over, and counted.
SUFFIXES = frozenset(
    (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
#: Files and folders that systems leave behind, in small letters; hidden ones (a dot, two underscores) are passed over, too.
_SYSTEM = ("thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir", "lost+found")
#: What a folder that holds a part of the pictures is called, once words like "set" and "images" are taken away.
_TRAIN = ("train", "trainval", "training", "trn", "learn", "learning")
_TEST = ("test", "testing", "tst", "holdout", "heldout")
_VALIDATION = ("val", "valid", "validation", "validate", "eval", "evaluation", "dev", "development")
_FILLERS = (
    "dataset",
    "set",
    "data",
    "images",
    "image",
    "imgs",
    "img",
    "pictures",
    "photos",
    "split",
    "seg",
    "part",
)
#: Widths that cameras and scanners fill 16 bits with, as the largest number of each.
_WIDTHS = (255, 1023, 4095, 16383, 65535)


class _UnknownRangeError(ValueError):
    """A whole image, but of numbers that do not say what is black and what is white."""


@lru_cache(maxsize=1)
def suffixes() -> frozenset[str]:
    """Return the endings of the files that can be read here: AVIF as Pillow was built, HEIC with ``pillow-heif``."""
    found = set(SUFFIXES)
    if features.check("avif"):
        found.add(".avif")
    if importlib.util.find_spec("pillow_heif") is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()
        found |= {".heic", ".heif"}
    return frozenset(found)


def to_rgb(picture: Image.Image, where: str = "image") -> Image.Image:
    """Convert a picture of any mode to RGB of 8 bits, upright.

    Raises
    ------
    ValueError
        If the pixels are floating-point, or integers beyond 16 bits: their range is not known.
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise _UnknownRangeError(
                f"{where}: integers from {values.min()} to {values.max()}; accepted: 8 or 16 bits"
            )
        # 65535 / 257 = 255; Pillow's own conversion would cut at 255 instead of scaling.
        return Image.fromarray(np.rint(values / 257).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise _UnknownRangeError(
            f"{where}: floating-point pixels, whose range is not known; save it with 8 or 16 bits"
        )
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        return _on_ground(picture.convert("RGBA"))
    return picture.convert("RGB")


def _on_ground(picture: Image.Image) -> Image.Image:
    """Set a picture with transparent parts on white; on black if on white next to nothing of it is seen."""
    on_white, on_black = (
        Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture).convert("RGB")
        for ground in ("white", "black")
    )
    seen, else_seen = (float(np.asarray(p, dtype=np.float64).std((0, 1)).max()) for p in (on_white, on_black))
    return on_black if seen < 0.1 * else_seen else on_white


def square(picture: Image.Image, size: int, where: str = "image") -> NDArray[np.uint8]:
    """Return the middle square of a picture, ``(size, size, 3)``."""
    fitted = ImageOps.fit(to_rgb(picture, where), (size, size), Image.Resampling.BICUBIC)
    return np.asarray(fitted)


def read(path: Path, size: int) -> NDArray[np.uint8]:
    """Read an image file into a square of RGB bytes; by itself it does not say how many of 16 bits are used: all.

    Raises
    ------
    ValueError
        If the file is no image, or damaged; the message names it.
    """
    found: NDArray[np.uint8] = _opened(path, lambda picture: square(picture, size, str(path)))
    return found


def _opened(path: Path, use: Callable[[Image.Image], Any]) -> Any:
    """Open a file, and let ``use`` have the picture; every way in which a file can be damaged names it."""
    try:
        with Image.open(path) as picture:
            return use(picture)
    except _UnknownRangeError:
        raise
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"path: cannot read the image {path} ({error}); repair or remove it") from error


def read_all(paths: Sequence[Path], size: int) -> NDArray[np.uint8]:
    """Read files into one array, ``(n, size, size, 3)``."""
    return Reader(size).read(paths)[0]


class Reader:
    """Reads the files of one task: each once, and those of more than 8 bits on one scale.

    Attributes
    ----------
    size : int
        Side of the squares.
    skip_bad : bool
        Whether to go on past files that cannot be read.
    bad : list of str
        What was said of these.
    notes : list of str
        What was done that a user may want to know.
    """

    def __init__(self, size: int, skip_bad: bool = False) -> None:
        self.size, self.skip_bad = size, skip_bad
        self.bad: list[str] = []
        self.notes: list[str] = []
        self._animations: list[Path] = []
        self._white: float | None = None  # of the deep pictures; the first that are read set it

    def read(self, paths: Sequence[Path]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the images that can be read, ``(n, size, size, 3)``, and which of the files they are.

        Raises
        ------
        ValueError
            If a file cannot be read, unless ``skip_bad``; the message names the first.
        """
        images = np.zeros((len(paths), self.size, self.size, 3), np.uint8)
        good, deep = np.ones(len(paths), bool), dict[int, NDArray[np.float32]]()
        self._animations = []
        tops = [0.0]
        for i, path in enumerate(paths):
            try:
                found = _opened(path, lambda picture, path=path: self._take(picture, path))  # type: ignore[misc]
            except ValueError as error:
                if not self.skip_bad:
                    raise
                self.bad.append(str(error).removeprefix("path: cannot read the image "))
                good[i] = False
                continue
            if isinstance(found, tuple):
                deep[i] = found[0]
                tops.append(found[1])
            else:
                images[i] = found
        self._scale(images, deep, max(tops), paths)
        if self._animations:
            self.notes.append(
                f"{_counted(len(self._animations), 'animation')}: the first frame is taken ({self._animations[0].name}, …)"
            )
        return images[good], good

    def _take(self, picture: Image.Image, path: Path) -> Any:
        """Return a square of bytes, or of a grey picture of more than 8 bits the square of its numbers and the largest."""
        if getattr(picture, "is_animated", False) and picture.format in ("GIF", "PNG", "WEBP", "AVIF"):
            self._animations.append(path)
        if not picture.mode.startswith(("I", "F")):
            return square(picture, self.size, str(path))
        values = np.asarray(ImageOps.exif_transpose(picture)).astype(np.float32)
        if not np.isfinite(values).all():
            raise _UnknownRangeError(f"{path}: NaN or infinite pixels; save it with 8 or 16 bits")
        low, top = float(values.min()), float(values.max())
        if picture.mode == "F" and (low < 0 or top > 1):
            raise _UnknownRangeError(
                f"{path}: floating-point pixels from {low:g} to {top:g}, whose range is not known; accepted: 0 to 1, or "
                "save it with 8 or 16 bits"
            )
        if low < 0 or top > 65535:
            raise _UnknownRangeError(f"{path}: integers from {low:g} to {top:g}; accepted: 8 or 16 bits")
        if picture.mode == "F":
            values, top = values * 65535, 65535.0
        fitted = ImageOps.fit(Image.fromarray(values), (self.size, self.size), Image.Resampling.BICUBIC)
        return np.asarray(fitted), top

    def _scale(
        self,
        images: NDArray[np.uint8],
        deep: dict[int, NDArray[np.float32]],
        top: float,
        paths: Sequence[Path],
    ) -> None:
        """Bring deep pictures to bytes by the bits that they use together: 12 in 16 are 12, not dark."""
        if not deep:
            return
        if self._white is None:
            self._white = float(next(width for width in _WIDTHS if top <= width))
            if self._white < 65535:
                self.notes.append(
                    f"{_counted(len(deep), 'picture')} of 16 bits use {int(self._white).bit_length()} of them "
                    f"({paths[next(iter(deep))].name}, …): {self._white:.0f} is taken for white"
                )
        for i, values in deep.items():
            images[i] = np.clip(np.rint(values * (255 / self._white)), 0, 255).astype(np.uint8)[..., None]


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


# ---------------------------------------------------------------------------------------------------- folders
def scan(path: Path) -> dict[str, list[Path]]:
    """List the image files of each class, one sub-folder a class, both in the order of their names.

    Raises
    ------
    ValueError
        If there is no such folder, if it has fewer than two sub-folders, if one of them holds no image, or if the
        sub-folders look like parts of a data set rather than classes.
    """
    if not path.is_dir():
        raise ValueError(f"path: {'not a folder' if path.exists() else 'no such folder'}: {path}")
    folders = sub_folders(path)
    if len(folders) < 2:
        found = f"one ({folders[0].name!r})" if folders else "none"
        raise ValueError(
            f"path: {path} needs a sub-folder of images for each of two or more classes; it has {found}"
        )
    _refuse_parts(path, folders)
    return {folder.name: _images(folder) for folder in folders}


def sub_folders(path: Path) -> list[Path]:
    """Return the folders in a folder, in the order of their names, without hidden ones and those of systems."""
    return sorted(p for p in path.iterdir() if p.is_dir() and _is_users(p.name))


def _is_users(name: str) -> bool:
    return not name.startswith((".", "__")) and name.casefold() not in _SYSTEM


def _files(folder: Path) -> list[Path]:
    """Return the files below a folder, at any depth, in the order of their paths; none that is hidden or a system's."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if _is_users(path.name):
            found += _files(path) if path.is_dir() else [path] if path.is_file() else []
    return sorted(found)


def _images(folder: Path) -> list[Path]:
    files = [p for p in _files(folder) if p.suffix.lower() in suffixes()]
    if not files:
        others = _census(p for p in _files(folder))
        raise ValueError(
            f"path: the class {folder.name!r} in {folder.parent} has no images; "
            f"accepted are files that end in {', '.join(sorted(suffixes()))}{f'; it has {others}' if others else ''}"
        )
    return files


def _census(files: Iterable[Path]) -> str:
    """Count files by their endings: ``"30 .heic, 1 .txt"``."""
    counts = Counter(p.suffix.lower() or "without an ending" for p in files)
    return ", ".join(f"{n} {suffix}" for suffix, n in counts.most_common())


def passed_over(folder: Path) -> str:
    """Count the files below a folder that are no images, by their endings; empty if there are none."""
    return _census(p for p in _files(folder) if p.suffix.lower() not in suffixes())


def _refuse_parts(path: Path, folders: Sequence[Path]) -> None:
    """Refuse sub-folders that are parts by their names, or that all hold the same sub-folders and no pictures."""
    names = ", ".join(repr(f.name) for f in folders[:6])
    if all(_part(folder.name) for folder in folders):
        raise ValueError(
            f"path: {path} holds {names}: parts of a data set by their names, not classes; accepted: a training and a test "
            "folder, each with a sub-folder a class, or a folder of classes"
        )
    inner = [tuple(sub.name.casefold() for sub in sub_folders(folder)) for folder in folders]
    if len(inner[0]) > 1 and len(set(inner)) == 1 and not any(map(_holds_pictures, folders)):
        raise ValueError(
            f"path: every folder in {path} ({names}) holds the same folders ({', '.join(inner[0][:6])}) and no picture of "
            "its own: parts of a data set rather than classes? Accepted: parts called train and test, or a folder of classes"
        )


def _holds_pictures(folder: Path) -> bool:
    return any(p.suffix.lower() in suffixes() and p.is_file() and _is_users(p.name) for p in folder.iterdir())


def _part(name: str) -> str:
    """Return ``"train"``, ``"test"`` or ``"validation"`` for a folder that is called like one, else nothing."""
    # also of TrainSet, test_images, val2017 and 01-training
    words = re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1 \2", name).casefold())
    kept = "".join(word for word in words if word not in _FILLERS)
    stems = {kept, *(kept.removesuffix(filler) for filler in _FILLERS)}
    for part, known in (("train", _TRAIN), ("test", _TEST), ("validation", _VALIDATION)):
        if stems & set(known):
            return part
    return ""


@dataclass(frozen=True)
class Layout:
    """How a folder is laid out.

    Attributes
    ----------
    parts : tuple of Path
        The training and the test folder, or the one folder of classes that is yet to be divided.
    notes : tuple of str
        What there is besides and is left alone.
    """

    parts: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def layout(path: Path) -> Layout:
    """Find out whether a folder holds classes, or a training and a test set of them, by names in any spelling.

    Raises
    ------
    ValueError
        If two folders are the same part by their names.
    """
    if not path.is_dir():
        return Layout((path,))  # which scan refuses
    folders = sub_folders(path)
    found: dict[str, list[Path]] = {part: [] for part in ("train", "test", "validation")}
    for folder in folders:
        if part := _part(folder.name):
            found[part].append(folder)
    trains = [folder for folder in found["train"] if sub_folders(folder)]
    tests = [*found["test"], *found["validation"]]
    if not trains or not (tests or len(folders) == 1):
        return Layout((path,))  # a class may be called "train", a folder of pictures
    for same in (trains, found["test"], found["validation"]):
        if len(same) > 1:
            raise ValueError(
                f"path: {path} holds {same[0].name!r} and {same[1].name!r}, the same part by their names; accepted: one "
                "training and one test folder"
            )
    labelled = [folder for folder in tests if sub_folders(folder)]
    kept = (trains[0], *labelled[:1])
    notes = [f"{p.name!r} has no sub-folders, so no labels: passed over" for p in tests if p not in labelled]
    notes += [f"{p.name!r} is left alone" for p in folders if p not in kept and p not in tests]
    notes += [f"{p.name!r} is left alone, {kept[1].name!r} is the test set" for p in labelled[1:]]
    if len(kept) == 1:
        notes.append(f"the test set is drawn from {kept[0].name!r}")
    return Layout(kept, tuple(notes))


def split_folders(path: Path) -> tuple[Path, Path] | None:
    """Return the folders of the training and the test set, if ``path`` holds these instead of classes."""
    parts = layout(path).parts
    return (parts[0], parts[1]) if len(parts) == 2 else None


# ------------------------------------------------------------------------------------------------ torchvision
#: How to ask for the training and the test set, where it is not train=True/False or split="train"/"test".
_OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "CLEVRClassification": ({"split": "train"}, {"split": "val"}),
    "EMNIST": ({"split": "balanced", "train": True}, {"split": "balanced", "train": False}),
    "ImageNet": ({"split": "train"}, {"split": "val"}),
    "Imagenette": ({"split": "train"}, {"split": "val"}),
    "INaturalist": ({"version": "2021_train_mini"}, {"version": "2021_valid"}),
    "OxfordIIITPet": ({"split": "trainval"}, {"split": "test"}),
    "Places365": ({"split": "train-standard", "small": True}, {"split": "val", "small": True}),
    "QMNIST": ({"what": "train"}, {"what": "test50k"}),
}


def find_dataset(name: str) -> type[Any]:
    """Return torchvision's data set of this name, whatever the case."""
    from torchvision import datasets

    classes = {
        n: getattr(datasets, n) for n in datasets.__all__ if n != "VisionDataset"
    }  # that is their base
    known = {n.lower(): n for n, kind in classes.items() if inspect.isclass(kind)}
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(known[n] for n in near)}?" if near else ""
        raise ValueError(f"name: torchvision has no data set {name!r}{hint}")
    dataset: type[Any] = getattr(datasets, known[name.lower()])
    return dataset


def find_group(name: str) -> tuple[type[Any], str | None]:
    """Split ``"NAME/GROUP"`` into a data set and the group of its classes that is meant, None for all.

    Groups are CIFAR-100's superclasses, EMNIST's splits, Omniglot's alphabets, and any taxon of iNaturalist above the
    species.

    Raises
    ------
    ValueError
        If there is no such data set or group; iNaturalist's taxa are known only when its folders are read.
    """
    name, _, group = name.partition("/")
    kind = find_dataset(name)
    if not group:
        return kind, None
    known = {**GROUPS, "EMNIST": EMNIST_SPLITS, "Omniglot": ALPHABETS}.get(kind.__name__, ())
    if group not in known and kind.__name__ != "INaturalist":
        near = difflib.get_close_matches(group, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"accepted: {', '.join(known) or 'none'}"
        raise ValueError(f"name: {kind.__name__} has no group {group!r}; {hint}")
    return kind, group


def group_classes(kind: type[Any], group: str | None, known: Sequence[str]) -> Sequence[str | int] | None:
    """Return the classes of a group that :func:`find_group` found; None if that is all of them.

    A taxon of iNaturalist with more than 40 species gives 40, evenly spaced in the data set's own, taxonomic order.
    """
    if group is None or kind.__name__ == "EMNIST":  # EMNIST's group has been opened as a split
        return None
    if kind.__name__ in GROUPS:
        return GROUPS[kind.__name__][group]
    if kind.__name__ == "Omniglot":
        return [c for c in known if c.startswith(f"{group}/")]
    # Folders are called NUMBER_kingdom_phylum_class_order_family_genus_species.
    taxa = [c.split("_")[1:7] for c in known]
    species = [c for c, above in zip(known, taxa, strict=True) if group in above]
    if not species:
        near = difflib.get_close_matches(group, sorted({t for above in taxa for t in above}), n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"name: {kind.__name__} has no taxon {group!r}{hint}")
    rows = np.linspace(0, len(species) - 1, min(SPECIES, len(species))).round().astype(int)
    return [species[i] for i in rows]


def open_dataset(kind: type[Any], root: Path, download: bool, options: Mapping[str, Any]) -> list[Any]:
    """Open a data set: ``[training set, test set]``, or ``[all]`` if torchvision does not divide it.

    Raises
    ------
    ValueError
        If files are missing (the message says where they belong and how to get them), an option is unknown,
        or ``download`` is asked of a data set that torchvision cannot download.
    """
    accepted = inspect.signature(kind.__init__).parameters
    passes_on = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    unknown = [] if passes_on else sorted(set(options) - set(accepted))
    if unknown:
        raise ValueError(f"{unknown[0]}: {kind.__name__} has no such option; accepted: {', '.join(accepted)}")
    downloads = "download" in accepted or kind.__name__ in ("EMNIST", "QMNIST")
    if download and not downloads:
        raise ValueError(
            f"download: torchvision cannot fetch {kind.__name__}; put its files into {root} yourself"
        )
    if kind.__name__ in _OPTIONS:
        parts: Sequence[dict[str, Any]] = _OPTIONS[kind.__name__]
    elif "train" in accepted:
        parts = ({"train": True}, {"train": False})
    elif "split" in accepted:
        parts = ({"split": "train"}, {"split": "test"})
    else:
        parts = ({},)
    common: dict[str, Any] = {"root": str(root)} if "root" in accepted else {}
    common |= {"download": download} if downloads else {}
    return [_open(kind, root, {**common, **part, **options}) for part in parts]


def _open(kind: type[Any], root: Path, arguments: dict[str, Any]) -> Any:
    try:
        dataset = kind(**arguments)
    except TypeError as error:
        raise ValueError(f"options: {kind.__name__} needs or refuses an option: {error}") from error
    except (RuntimeError, OSError) as error:
        if arguments.get("download"):
            raise RuntimeError(f"downloading {kind.__name__} into {root} failed: {error}") from error
        how = "download=True fetches them" if "download" in arguments else "they must be fetched by hand"
        raise ValueError(
            f"root: the files of {kind.__name__} are not (all) there, or damaged; "
            f"expected in {_expected(kind, root)}; {how}. torchvision says: {error}"
        ) from error
    _sort(dataset)
    return dataset


def _sort(dataset: Any) -> None:
    """Bring iNaturalist and Omniglot into the order of their names, images and classes.

    torchvision lists them in the order of the file system, which differs from machine to machine.
    """
    if type(dataset).__name__ == "INaturalist":
        dataset.index.sort()
    if type(dataset).__name__ == "Omniglot":
        was = dataset._characters
        dataset._characters = sorted(was)
        rank = {name: i for i, name in enumerate(dataset._characters)}
        renumbered = [(rank[was[c]], file) for file, c in dataset._flat_character_images]
        dataset._flat_character_images = [(file, c) for c, file in sorted(renumbered)]


def _expected(kind: type[Any], root: Path) -> Path:
    """Return the folder in which a data set's files belong, as far as its class tells."""
    from torchvision import datasets

    if issubclass(kind, datasets.MNIST):
        return root / kind.__name__ / "raw"
    if kind.__name__ == "Flowers102":  # its folder is named in no attribute of the class
        return root / "flowers-102"
    folders = (getattr(kind, attribute, None) for attribute in ("base_folder", "folder"))
    return root / next((f for f in folders if isinstance(f, str)), "")


def dataset_labels(dataset: Any) -> NDArray[np.int64]:
    """Return the labels of a torchvision data set, from its own list if it has one, or image by image.

    Raises
    ------
    ValueError
        If the targets are not single class numbers.
    """
    for attribute in ("targets", "labels", "_labels", "y"):
        values = getattr(dataset, attribute, None)
        if values is not None and len(values) == len(dataset):
            break
    else:
        values = [pair[1] for pair in _pairs(dataset)]
    labels = np.asarray(values)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"name: {type(dataset).__name__} is not a classification data set with one class an image"
        )
    return labels.astype(np.int64)


def _pairs(dataset: Any) -> Any:
    """Return (anything, label) of each image, without opening the images if the data set has a list of them."""
    for attribute in ("samples", "_samples", "_flat_character_images"):
        if getattr(dataset, attribute, None):
            return getattr(dataset, attribute)
    if len(ranks := getattr(dataset, "target_type", [])) == 1 and hasattr(dataset, "categories_map"):
        rank = ranks[0]  # iNaturalist: the species, or what is above it
        above = dataset.categories_map
        return [(file, c if rank == "full" else above[c][rank]) for c, file in dataset.index]
    return (dataset[i] for i in range(len(dataset)))


def dataset_classes(dataset: Any, n_classes: int) -> tuple[str, ...]:
    """Return the class names of a torchvision data set; their numbers, as words, if it has no names."""
    ranks = getattr(dataset, "target_type", None)
    if ranks and ranks != ["full"] and hasattr(dataset, "category_name"):
        return tuple(dataset.category_name(ranks[0], c) for c in range(n_classes))
    for attribute in ("classes", "categories", "all_categories", "_characters"):
        named = getattr(dataset, attribute, None)
        if named is not None and len(named) >= n_classes:
            return tuple(str(c) for c in named)
    return tuple(str(c) for c in range(n_classes))


def dataset_images(dataset: Any, rows: NDArray[np.intp], size: int) -> NDArray[np.uint8]:
    """Read the images of some rows of a data set, ``(n, size, size, 3)``."""
    images = np.empty((len(rows), size, size, 3), np.uint8)
    for i, row in enumerate(rows):
        picture = dataset[int(row)][0]
        if not isinstance(picture, Image.Image):
            raise ValueError(f"name: {type(dataset).__name__} gives {type(picture).__name__}s, not images")
        images[i] = square(picture, size, f"image {int(row)} of {type(dataset).__name__}")
    return images
