"""Images from outside the package: files of any colour mode, folders of them, and torchvision's data sets.

Everything becomes RGB bytes in squares of one size: turned as the camera's note says, transparent parts set
on white, 16 bits scaled to 8, the shorter side brought to size and the middle cut out. What cannot be
converted without a choice (floating-point pixels, for instance) is refused by name.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from t2v._hierarchies import ALPHABETS, EMNIST_SPLITS, GROUPS, SPECIES

#: File names that count as images; anything else in a class's folder is passed over.
SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
#: Names of folders that hold a split, not a class.
SPLITS = ("train", "test", "val", "valid", "validation")


class _UnknownRangeError(ValueError):
    """A whole image, but of numbers that do not say what is black and what is white."""


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
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(ground, picture).convert("RGB")
    return picture.convert("RGB")


def square(picture: Image.Image, size: int, where: str = "image") -> NDArray[np.uint8]:
    """Return the middle square of a picture, ``(size, size, 3)``."""
    fitted = ImageOps.fit(to_rgb(picture, where), (size, size), Image.Resampling.BICUBIC)
    return np.asarray(fitted)


def read(path: Path, size: int) -> NDArray[np.uint8]:
    """Read an image file into a square of RGB bytes.

    Raises
    ------
    ValueError
        If the file is no image, or damaged; the message names it.
    """
    try:
        with Image.open(path) as picture:
            return square(picture, size, str(path))
    except _UnknownRangeError:
        raise
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"path: cannot read the image {path} ({error}); repair or remove it") from error


def read_all(paths: Sequence[Path], size: int) -> NDArray[np.uint8]:
    """Read files into one array, ``(n, size, size, 3)``."""
    images = np.empty((len(paths), size, size, 3), np.uint8)
    for i, path in enumerate(paths):
        images[i] = read(path, size)
    return images


# ---------------------------------------------------------------------------------------------------- folders
def scan(path: Path) -> dict[str, list[Path]]:
    """List the image files of each class, one sub-folder a class, both in the order of their names.

    Raises
    ------
    ValueError
        If there is no such folder, if it has fewer than two sub-folders, or if one of them holds no image.
    """
    if not path.is_dir():
        raise ValueError(f"path: {'not a folder' if path.exists() else 'no such folder'}: {path}")
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))
    if len(folders) < 2:
        found = f"one ({folders[0].name!r})" if folders else "none"
        raise ValueError(
            f"path: {path} needs a sub-folder of images for each of two or more classes; it has {found}"
        )
    return {folder.name: _images(folder) for folder in folders}


def _images(folder: Path) -> list[Path]:
    found = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES]
    files = [p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    if not files:
        raise ValueError(
            f"path: the class {folder.name!r} in {folder.parent} has no images; "
            f"accepted are files that end in {', '.join(sorted(SUFFIXES))}"
        )
    return sorted(p for p in files if p.is_file())


def split_folders(path: Path) -> tuple[Path, Path] | None:
    """Return the folders of the training and the test set, if ``path`` holds these instead of classes."""
    parts = [
        p for p in (path / name for name in SPLITS) if p.is_dir() and any(q.is_dir() for q in p.iterdir())
    ]
    return (parts[0], parts[1]) if len(parts) >= 2 and parts[0].name == "train" else None


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
