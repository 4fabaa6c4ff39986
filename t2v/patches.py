"""Patches of the photographs inside scikit-image and scikit-learn, as tasks.

A picture is cut into tiles; each tile belongs to the training set or to the test set, and a patch never
leaves its tile, so that no pixel of a photograph is in both sets. Tiles are dealt out in order of their
content (three of five to training), so that both sets see the whole range.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2v.rendering import Images, Labels, Split, balanced_labels, shipped, stream, to_bytes

Floats = NDArray[np.float32]


@lru_cache(maxsize=32)
def photograph(file: str) -> Images:
    """Return a picture that ships with scikit-learn or scikit-image as RGB, ``(height, width, 3)``."""
    from PIL import Image

    in_sklearn = file in ("china.jpg", "flower.jpg")
    path = shipped("sklearn", "datasets", "images", file) if in_sklearn else shipped("skimage", "data", file)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


# ---------------------------------------------------------- what is where: one number a pixel, from a picture
def _grey(file: str) -> Floats:
    return photograph(file).astype(np.float32).mean(2)


@lru_cache(maxsize=16)
def pixel_map(kind: str, file: str) -> Floats:
    """Return what a task's labels are read from, one number a pixel; NaN where it is unknown.

    Parameters
    ----------
    kind : str
        ``"brightness"``; ``"disparity"`` (the measured one of the stereo pair: large is near); ``"stain"``
        (how brown a tissue is); ``"vessels"`` (dark thin structures of a retina); ``"light"`` (the share of
        pixels that shine); ``"coin"`` (1 inside a coin).
    file : str
        The picture.
    """
    return _MAPS[kind](file)


def _disparity(file: str) -> Floats:
    with np.load(shipped("skimage", "data", "motorcycle_disp.npz"), allow_pickle=False) as data:
        disparity = data["arr_0"].astype(np.float32)
    return np.where(np.isfinite(disparity), disparity, np.nan).astype(np.float32)


def _stain(file: str) -> Floats:
    red, _, blue = np.moveaxis(np.log(photograph(file).astype(np.float32) + 1), 2, 0)
    return red - blue


def _vessels(file: str) -> Floats:
    from scipy import ndimage

    picture = photograph(file).astype(np.float32)
    green = picture[:, :, 1]
    thin = ndimage.gaussian_filter(green, 14) - ndimage.gaussian_filter(green, 1.5)
    eye = ndimage.binary_erosion(picture[:, :, 0] > 60, iterations=25)
    return np.where(eye, thin > 7, np.nan).astype(np.float32)


def _light(file: str) -> Floats:
    return (_grey(file) > 70).astype(np.float32)


def _coin(file: str) -> Floats:
    from scipy import ndimage

    grey = ndimage.gaussian_filter(_grey(file), 1)
    above = grey - ndimage.gaussian_filter(ndimage.minimum_filter(grey, 61), 20)
    inside = ndimage.binary_fill_holes(ndimage.binary_opening(above > 45, iterations=2)).astype(np.float32)
    inside[:, -16:] = np.nan  # the bright edge of the photograph is no coin
    return inside


_MAPS: dict[str, Callable[[str], Floats]] = {
    "brightness": _grey,
    "disparity": _disparity,
    "stain": _stain,
    "vessels": _vessels,
    "light": _light,
    "coin": _coin,
}


# ----------------------------------------------------------------------------------------------------- places
@dataclass(frozen=True)
class _Places:
    """The tiles of one picture that belong to one split, and a map's means over squares in them."""

    tiles: NDArray[np.intp]  # (n, 4): top, left, bottom, right
    sums: NDArray[np.float64]  # (4, height + 1, width + 1): summed-area tables, see _places

    def squares(self, rng: np.random.Generator, n: int, sides: tuple[int, int]) -> NDArray[np.intp]:
        """Draw ``n`` squares, each inside one tile: top, left, side."""
        top, left, bottom, right = self.tiles[rng.integers(0, len(self.tiles), n)].T
        side = np.minimum(rng.integers(sides[0], sides[1] + 1, n), np.minimum(bottom - top, right - left))
        y = top + (rng.random(n) * (bottom - top - side + 1)).astype(np.intp)
        x = left + (rng.random(n) * (right - left - side + 1)).astype(np.intp)
        return np.stack([y, x, side], 1)

    def means(self, squares: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the map's mean over each square; NaN where less than nine tenths of it are known."""
        total, known, _, _ = self._totals(squares)
        return np.where(known >= 0.9 * squares[:, 2] ** 2, total / np.maximum(known, 1), np.nan)

    def spreads(self, squares: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the standard deviation of the brightness in each square, in grey levels of 255."""
        _, _, grey, power = self._totals(squares) / squares[:, 2] ** 2
        return np.sqrt(np.maximum(power - grey**2, 0))

    def _totals(self, squares: NDArray[np.intp]) -> NDArray[np.float64]:
        y, x, side = squares.T
        return _over(self.sums, y, x, y + side, x + side)


def _over(sums: NDArray[np.float64], t: Any, l: Any, b: Any, r: Any) -> NDArray[np.float64]:
    """Return each table's total over rectangles: ``(tables, rectangles)``."""
    return sums[:, b, r] - sums[:, t, r] - sums[:, b, l] + sums[:, t, l]


def _places(
    file: str, kind: str, tile: int, rng: np.random.Generator, detail: float = 0.0
) -> tuple[_Places, _Places]:
    """Cut a picture into tiles, and deal them to training and test, three to two, by the map's mean.

    Tiles whose brightness varies by less than ``detail`` (blank sky) are dealt to neither.
    """
    values = pixel_map(kind, file)
    known, grey = np.isfinite(values), _grey(file)
    tables = np.stack([np.where(known, values, 0), known, grey, grey**2]).astype(np.float64)
    sums = np.pad(tables.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    rows, columns = (np.linspace(0, n, max(1, n // tile) + 1).astype(np.intp) for n in values.shape)
    tiles = np.array([(t, l, b, r) for t, b in pairwise(rows) for l, r in pairwise(columns)])
    total, count, light, power = _over(sums, *tiles.T)
    area = (tiles[:, 2] - tiles[:, 0]) * (tiles[:, 3] - tiles[:, 1])
    shows = power / area - (light / area) ** 2 >= detail**2
    tiles, total, count = tiles[shows], total[shows], count[shows]
    tiles = tiles[np.argsort(total / np.maximum(count, 1), kind="stable")]
    test = np.zeros(len(tiles), bool)
    for start in range(0, len(tiles), 5):
        group = rng.permutation(np.arange(start, min(start + 5, len(tiles))))
        test[group[: max(1, round(0.4 * len(group)))]] = len(group) > 1
    return _Places(tiles[~test], sums), _Places(tiles[test], sums)


# ---------------------------------------------------------------------------------------------------- recipes
@dataclass(frozen=True)
class PatchRecipe:
    """Square patches of photographs, and a question about them.

    Attributes
    ----------
    name : str
        Seeds the random streams.
    sources : tuple of str
        Files of the photographs.
    question : str
        ``"source"``: which photograph; ``"level"``: how much of ``map`` (equal shares, with gaps between
        them); ``"turn"``: by how many quarters turned; ``"zoom"``: how much enlarged; ``"blur"``,
        ``"noise"``, ``"jpeg"``: how badly spoilt.
    n_classes : int
        Number of classes.
    sides : tuple of int
        Smallest and largest side of a patch, in pixels of the photograph.
    tile : int
        Side of the tiles, about.
    map : str
        See :func:`pixel_map`.
    grey, free : bool
        Whether colour is taken away, and whether patches may be turned by quarters.
    detail : float
        Least standard deviation of a patch's brightness (of 255): a piece of blank sky has no right answer.
    """

    name: str
    sources: tuple[str, ...]
    question: str
    n_classes: int
    sides: tuple[int, int]
    tile: int
    map: str = "brightness"
    grey: bool = False
    free: bool = False
    detail: float = 0.0

    def render(self, size: int, train: int, test: int, seed: int) -> tuple[Split, Split]:
        """Cut both splits; see :class:`t2v.rendering.Recipe`."""
        deal = stream(seed, self.name, "tiles")
        places = [_places(file, self.map, self.tile, deal, self.detail) for file in self.sources]
        bounds = (
            self._bounds(places[0][0], stream(seed, self.name, "levels"))
            if self.question == "level"
            else None
        )
        return (
            self._split(size, train, [p[0] for p in places], bounds, stream(seed, self.name, "train")),
            self._split(size, test, [p[1] for p in places], bounds, stream(seed, self.name, "test")),
        )

    def _bounds(self, places: _Places, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the range of the map's mean in each class, ``(classes, 2)``: quantiles, a twelfth apart."""
        values = places.means(places.squares(rng, 4000, self.sides))
        width = (1 - (self.n_classes - 1) / 12) / self.n_classes
        low = np.arange(self.n_classes) * (width + 1 / 12)
        bounds = np.nanquantile(values, np.stack([low, np.minimum(low + width, 1)], 1))
        bounds[0, 0], bounds[-1, 1] = -np.inf, np.inf
        return bounds

    def _split(
        self,
        size: int,
        n: int,
        places: list[_Places],
        bounds: NDArray[np.float64] | None,
        rng: np.random.Generator,
    ) -> Split:
        labels = balanced_labels(rng, n, self.n_classes)
        which = labels if self.question == "source" else rng.integers(0, len(self.sources), n)
        squares = np.empty((n, 3), np.intp)
        if bounds is not None:
            squares = self._squares_of(labels, places[0], bounds, rng)
        else:
            for k, place in enumerate(places):
                squares[which == k] = self._detailed(int((which == k).sum()), place, rng)
        images = np.empty((n, size, size, 3), np.uint8)
        for i in range(n):
            images[i] = self._cut(self.sources[which[i]], squares[i], int(labels[i]), size, rng)
        return _expose(images, rng, self.grey), labels

    def _detailed(self, n: int, places: _Places, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw squares that show something: rejection, for at most 200 rounds."""
        found = np.empty((0, 3), np.intp)
        for _ in range(200):
            trial = places.squares(rng, 2 * n + 20, self.sides)
            found = np.concatenate([found, trial[places.spreads(trial) >= self.detail]])
            if len(found) >= n:
                return found[:n]
        raise RuntimeError(f"task {self.name!r}: a split has too few patches with detail; take another seed")

    def _squares_of(
        self, labels: Labels, places: _Places, bounds: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.intp]:
        """Draw squares until every label has its own: rejection, for at most 200 rounds."""
        squares = np.full((len(labels), 3), -1, np.intp)
        for _ in range(200):
            trial = places.squares(rng, 4 * len(labels) + 400, self.sides)
            values = places.means(trial)
            for c, (low, high) in enumerate(bounds):
                fits = trial[(values >= low) & (values <= high)]
                open_ = np.flatnonzero((labels == c) & (squares[:, 0] < 0))[: len(fits)]
                squares[open_] = fits[: len(open_)]
            if (squares[:, 0] >= 0).all():
                return squares
        raise RuntimeError(f"task {self.name!r}: no patches of every class in this split; take another seed")

    def _cut(
        self, file: str, square: NDArray[np.intp], label: int, size: int, rng: np.random.Generator
    ) -> Images:
        """Cut one patch, mirror and perhaps turn it, bring it to size, and do to it what its class says."""
        from PIL import Image

        top, left, side = (int(v) for v in square)
        if self.question == "zoom":  # the part around the middle of the square
            part = side / 2**label
            top, left, side = round(top + (side - part) / 2), round(left + (side - part) / 2), round(part)
        patch = _picture(file).resize(
            (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
        )
        quarters = label if self.question == "turn" else int(rng.integers(4)) if self.free else 0
        pixels = np.asarray(patch)
        mirrored = self.question != "turn" and rng.random() < 0.5
        pixels = np.rot90(pixels[:, ::-1] if mirrored else pixels, quarters)
        return _TREATMENTS[self.question](pixels, label, rng) if self.question in _TREATMENTS else pixels


@lru_cache(maxsize=32)
def _picture(file: str) -> Any:
    from PIL import Image

    return Image.fromarray(photograph(file))


def _soften(pixels: Images, sigma: float) -> Images:
    """Blur by ``sigma`` in 64ths of the side, so that tasks look alike at every size."""
    from PIL import Image, ImageFilter

    blur = ImageFilter.GaussianBlur(sigma * pixels.shape[0] / 64)
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).filter(blur))


def _blurred(pixels: Images, label: int, rng: np.random.Generator) -> Images:
    return _soften(pixels, (0.0, 0.9, 1.8, 3.6)[label] * rng.uniform(0.8, 1.2))


def _noisy(pixels: Images, label: int, rng: np.random.Generator) -> Images:
    strength = (0.0, 0.04, 0.08, 0.16)[label] * rng.uniform(0.8, 1.2)
    noise = strength * rng.standard_normal(pixels.shape, dtype=np.float32)
    return to_bytes(pixels.astype(np.float32) / 255 + noise)


def _compressed(pixels: Images, label: int, rng: np.random.Generator) -> Images:
    from PIL import Image

    buffer = io.BytesIO()
    quality = int((60, 22, 9, 4)[label] * rng.uniform(0.85, 1.15))
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="jpeg", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _zoomed(pixels: Images, label: int, rng: np.random.Generator) -> Images:
    # Enlarged patches lack detail; blurring all of them at random hides that short cut.
    return _soften(pixels, rng.uniform(0.8, 1.8))


_TREATMENTS: dict[str, Callable[[Images, int, np.random.Generator], Images]] = {
    "blur": _blurred,
    "noise": _noisy,
    "jpeg": _compressed,
    "zoom": _zoomed,
}


def _expose(images: Images, rng: np.random.Generator, grey: bool) -> Images:
    """Vary brightness, contrast and tint of each image; with ``grey``, set all to one contrast before."""
    n = len(images)
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    tint = rng.uniform(0.9, 1.1, (n, 3, 1, 1)).astype(np.float32)
    contrast = rng.uniform(0.75, 1.25, (n, 1, 1, 1)).astype(np.float32)
    level = rng.uniform(-0.12, 0.12, (n, 1, 1, 1)).astype(np.float32)
    if grey:
        pixels = pixels.mean(1, keepdims=True)
        mean, spread = pixels.mean((2, 3), keepdims=True), pixels.std((2, 3), keepdims=True)
        pixels = (pixels - mean) * (np.float32(0.17) / np.maximum(spread, 0.02)) * contrast + 0.5 + level
        pixels = np.broadcast_to(pixels, (n, 3, *pixels.shape[2:])).copy()
    else:
        mean = pixels.mean((1, 2, 3), keepdims=True)
        pixels = ((pixels - mean) * contrast + mean + level) * tint
    return np.ascontiguousarray(to_bytes(pixels).transpose(0, 2, 3, 1))


@dataclass(frozen=True)
class FaceRecipe:
    """A hundred faces against a hundred other crops, cut, mirrored and exposed anew; 60 of each to train."""

    name: str

    def render(self, size: int, train: int, test: int, seed: int) -> tuple[Split, Split]:
        """Cut both splits; see :class:`t2v.rendering.Recipe`."""
        crops = np.load(shipped("skimage", "data", "lfw_subset.npy"), allow_pickle=False)
        crops = np.rint(crops * 255 if crops.max() <= 1 else crops).astype(np.uint8)
        deal = stream(seed, self.name, "deal")
        order = np.stack([deal.permutation(100), 100 + deal.permutation(100)])
        first = self._split(crops, order[:, :60], size, train, stream(seed, self.name, "train"))
        return first, self._split(crops, order[:, 60:], size, test, stream(seed, self.name, "test"))

    def _split(
        self, crops: Images, rows: NDArray[np.intp], size: int, n: int, rng: np.random.Generator
    ) -> Split:
        from PIL import Image

        labels = balanced_labels(rng, n, 2)
        images = np.empty((n, size, size, 3), np.uint8)
        for i, label in enumerate(labels):
            crop = crops[rng.choice(rows[label])]
            left, top, side = rng.uniform(0, 3), rng.uniform(0, 3), rng.uniform(20, 22)
            box = (left, top, left + side, top + side)
            grey = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC, box=box))
            images[i] = (grey[:, ::-1] if rng.random() < 0.5 else grey)[..., None]
        return _expose(images, rng, grey=False), labels
