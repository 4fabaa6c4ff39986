r"""Task embeddings: the diagonal Fisher information of a probe that carries the task's classifier.

A task becomes a vector in three steps. The probe's features of the training images are computed once; a linear head is
fitted on one part of them; the Fisher information of the *extractor's* weights is taken on the other part, averaged over
the weights of each filter. The vector's length depends on the probe alone.

The parts are disjoint on purpose. With many features and few images the head reaches zero training error, its
predictions on its own training images are certain, and a certain model has next to no Fisher information there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from torch import nn

from t2v import fisher, precision
from t2v._files import write_arrays
from t2v.probes import Arithmetic, Probe, computing, with_layers
from t2v.tasks import Task

Method = Literal["rademacher", "sample", "exact", "variational"]
Array = NDArray[np.float64]

#: Photographs of the offline library on which the canonical embedding is taken.
PHOTOGRAPHS = 200

#: Share of the training images on which the head is fitted; the Fisher information is taken on the others.
FIT_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class TaskEmbedding:
    """A task as a vector.

    Attributes
    ----------
    values : array of float64
        ``(d,)``: Fisher information per filter, in nats², layer after layer.
    layers : dict of str to slice
        Layer name → where its filters are in ``values``.
    task, probe : str
        Their names.
    metadata : dict
        How it was made: method, seed, numbers of images, head, seconds, …
    """

    values: Array
    layers: Mapping[str, slice]
    task: str
    probe: str
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # integers would round what is made from them, as the trivial embedding is
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float64))
        if self.values.ndim != 1 or not np.isfinite(self.values).all() or (self.values < 0).any():
            raise ValueError(
                f"values of {self.task!r}: a 1-D array of finite, non-negative numbers is accepted"
            )
        ends = [0, *(s.stop for s in self.layers.values())]
        if [s.start for s in self.layers.values()] != ends[:-1] or ends[-1] != self.values.size:
            raise ValueError(
                f"layers of {self.task!r}: the slices do not cover the {self.values.size} values, one after the other"
            )

    def __repr__(self) -> str:
        return (
            f"TaskEmbedding({self.task!r}, {self.probe!r}, {self.values.size} filters, norm {self.norm:.3g})"
        )

    @property
    def norm(self) -> float:
        """Euclidean norm of the values, in nats²: the paper's measure of a task's complexity."""
        return float(np.linalg.norm(self.values))

    def layer_means(self) -> dict[str, float]:
        """Mean value of each layer."""
        return {name: float(self.values[where].mean()) for name, where in self.layers.items()}

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the embedding to one ``.npz`` file, atomically and without pickle.

        Parameters
        ----------
        path : path
            The file; ``.npz`` is appended where it is missing.

        Returns
        -------
        Path
            The file.
        """
        path = Path(path)
        path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
        about = {"task": self.task, "probe": self.probe, "metadata": self.metadata}
        sizes = [s.stop - s.start for s in self.layers.values()]
        write_arrays(
            path,
            values=self.values,
            layer_names=np.array(list(self.layers)),
            layer_sizes=np.array(sizes),
            about=np.array(json.dumps(about)),
        )
        return path

    @staticmethod
    def load(path: str | os.PathLike[str]) -> TaskEmbedding:
        """Read an embedding that :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not an embedding, or damaged; the message names it.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                layers = _slices(file["layer_names"].tolist(), file["layer_sizes"].tolist())
                return TaskEmbedding(file["values"], layers, about["task"], about["probe"], about["metadata"])
        except FileNotFoundError:
            raise
        except Exception as error:  # a damaged zip raises one of many kinds
            raise ValueError(
                f"{path}: not a task embedding, or damaged ({type(error).__name__}: {error});"
                " remove it, and start again"
            ) from error


def _slices(names: list[str], sizes: list[int]) -> dict[str, slice]:
    stops = np.cumsum(sizes)
    return {n: slice(int(stop - size), int(stop)) for n, size, stop in zip(names, sizes, stops, strict=True)}


def fit_head(
    features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], n_classes: int, *, l2: float = 1e-4
) -> nn.Linear:
    r"""Fit a linear softmax classifier: deterministic, to convergence, by L-BFGS in double precision.

    Minimises the mean cross-entropy plus :math:`\frac{\lambda}{2}\|W\|^2`, with the features centred and scaled by one
    common number to unit mean square; centre and scale are folded into the weights that come back.

    Parameters
    ----------
    features : array
        ``(n, d)``.
    labels : array of int
        ``(n,)``, from 0 to ``n_classes − 1``.
    n_classes : int
        Number of classes.
    l2 : float
        λ > 0, the strength of the regularisation.

    Returns
    -------
    nn.Linear
        ``d → n_classes`` in float32, on the CPU, frozen.

    Raises
    ------
    ValueError
        For labels out of range, λ ≤ 0, lengths that differ, or features that are constant or not finite.
    """
    x, y = np.asarray(features, dtype=float), np.asarray(labels)
    if x.ndim != 2 or y.shape != x.shape[:1] or len(x) == 0:
        raise ValueError(
            f"features, labels: shapes {x.shape} and {y.shape}; (n, d) and (n,) with n ≥ 1 are accepted"
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"labels: type {y.dtype}; whole numbers are accepted")
    if y.min() < 0 or y.max() >= n_classes:
        raise ValueError(f"labels: {y.min()} … {y.max()} given; 0 … {n_classes - 1} are accepted")
    if n_classes < 2:
        raise ValueError(f"n_classes: {n_classes}; at least two classes are needed for a classifier")
    if not l2 > 0:
        raise ValueError(f"l2: {l2} is not a number > 0")
    centre = x.mean(0)
    scale = float(np.sqrt(((x - centre) ** 2).sum(1).mean()))
    if (
        not np.isfinite(scale) or not np.ptp(x, axis=0).any()
    ):  # the mean of equal rows may round away from them
        raise ValueError("features: they must be finite, and not all alike")
    x, onehot = (x - centre) / scale, np.eye(n_classes)[y]

    def loss(flat: Array) -> tuple[float, Array]:
        w, b = flat[:-n_classes].reshape(n_classes, -1), flat[-n_classes:]
        z = x @ w.T + b
        value = (logsumexp(z, axis=1) - z[np.arange(len(y)), y]).mean() + l2 / 2 * (w**2).sum()
        residual = (softmax(z, axis=1) - onehot) / len(y)
        return value, np.concatenate([(residual.T @ x + l2 * w).ravel(), residual.sum(0)])

    start = np.zeros(n_classes * (x.shape[1] + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "maxfun": 2000}).x
    w, b = found[:-n_classes].reshape(n_classes, -1) / scale, found[-n_classes:]
    # without initialisation: it would move the caller's random state
    head = nn.utils.skip_init(nn.Linear, x.shape[1], n_classes, dtype=torch.float32).requires_grad_(False)
    head.weight.copy_(torch.from_numpy(w))
    head.bias.copy_(torch.from_numpy(b - w @ centre))
    return head


def split(
    labels: NDArray[np.integer[Any]], share: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide indices in two at random, class by class, each class in both parts.

    Parameters
    ----------
    labels : array of int
        ``(n,)``.
    share : float
        Share of the first part, between 0 and 1.
    seed : int
        Seed of the division.

    Returns
    -------
    first, second : arrays of int
        Sorted indices.

    Raises
    ------
    ValueError
        If a class has fewer than two samples.
    """
    rng = np.random.default_rng(seed)
    first: list[int] = []
    for label in np.unique(labels):
        members = rng.permutation(np.nonzero(labels == label)[0])
        if len(members) < 2:
            raise ValueError(f"labels: class {label} has {len(members)} sample; at least two are needed")
        first += members[: min(max(round(share * len(members)), 1), len(members) - 1)].tolist()
    chosen = np.zeros(len(labels), bool)
    chosen[first] = True
    return np.nonzero(chosen)[0], np.nonzero(~chosen)[0]


def low_shot(labels: NDArray[np.integer[Any]], shots: int, seed: int) -> NDArray[np.intp]:
    """Draw the same number of indices from every class.

    Parameters
    ----------
    labels : array of int
        ``(n,)``.
    shots : int
        Indices a class.
    seed : int
        Seed of the draw.

    Returns
    -------
    array of int
        Sorted.

    Raises
    ------
    ValueError
        If a class has fewer; the message names it.
    """
    rng, chosen = np.random.default_rng(seed), []
    for label in np.unique(labels):
        members = np.nonzero(labels == label)[0]
        if len(members) < shots:
            raise ValueError(f"shots: class {label} has {len(members)} samples; {shots} were asked for")
        chosen.append(rng.permutation(members)[:shots])
    return np.sort(np.concatenate(chosen))


def embed(
    task: Task,
    probe: Probe,
    *,
    method: Method = "rademacher",
    max_samples: int | None = None,
    seed: int = 0,
    device: str = "auto",
    l2: float = 1e-4,
    draws: int = 1,
    beta: float = precision.BETA,
    batch_size: int = 64,
    arithmetic: Arithmetic = "float32",
    layers: Sequence[str] | None = None,
) -> TaskEmbedding:
    """Embed a task: fit a head on half of its training images, take the Fisher information on the other half.

    Parameters
    ----------
    task : Task
        Only its training images are used.
    probe : Probe
        The feature extractor.
    method : {"rademacher", "sample", "exact", "variational"}
        Expectation over the labels, see :func:`t2v.fisher.diagonal`: one backward pass (``"rademacher"``, ``"sample"``),
        or one a class (``"exact"``). ``"variational"`` trains the noise that each filter can bear, in four passes with
        Rademacher draws, see :func:`t2v.precision.posterior`.
    max_samples : int, optional
        Use at most this many training images, chosen at random, class by class.
    seed : int
        Seed of the division and of the draws.
    device : str
        ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"``, …
    l2 : float
        Regularisation of the head, see :func:`fit_head`.
    draws : int
        Monte Carlo draws a sample.
    beta : float
        Price of a nat of noise, for ``"variational"``.
    batch_size : int
        Images that go through the probe at once.
    arithmetic : {"float32", "tf32", "bfloat16"}
        In what the extractor computes, see :func:`t2v.probes.computing`. ``"bfloat16"`` serves the Fisher information
        alone; the head's features stay float32 (TF32 on CUDA). It keeps the pattern: the logarithms of the values stay
        nearer to float32's than another seed's do. It does not keep the few largest values everywhere: on images with
        wide flat areas (MNIST) rounding errors add up over the positions of early depthwise layers, which raises the
        trace about as much as another seed changes it, and lowers the correlation of the values below that between
        seeds. So it is no default.
    layers : sequence of str, optional
        Names of the extractor's modules or weights that make the embedding. Default: all that can, ``probe.layers``.

    Returns
    -------
    TaskEmbedding
        Its metadata hold the seconds, the numbers of images, and the head's mean predictive entropy (nats) and error
        on the images that it was not fitted on; ``left_out`` names weights of convolutions and linear maps that cannot
        be computed, with the reason.

    Raises
    ------
    ValueError
        If the task has a single class, a class has fewer than two images, ``max_samples`` leaves a class with fewer, or
        an argument is unknown.
    """
    _check_method(method)
    if len(task.classes) < 2:
        raise ValueError(
            f"task {task.name!r} has {len(task.classes)} class: its label is certain, without information; at least two"
            " are accepted"
        )
    start = time.perf_counter()
    probe = with_layers(probe, layers)
    probe.to(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    images, labels = _training_images(task, max_samples, seed)
    counts = np.bincount(labels, minlength=len(task.classes))
    if counts.min() < 2:
        raise ValueError(
            f"task {task.name!r}: labels: class {task.classes[counts.argmin()]!r} has {counts.min()} training"
            f" {'sample' if counts.min() == 1 else 'samples'}; at least two are needed"
        )
    fit, rest = split(labels, FIT_SHARE, seed)
    # A head fitted on rounded features magnifies the rounding where images are nearly alike: it gets at most TF32.
    with computing(probe, "tf32" if arithmetic == "bfloat16" else arithmetic):
        features = probe.features(images, batch_size)
    head = fit_head(features[fit], labels[fit], len(task.classes), l2=l2)
    uncertainty = _judge(head, features[rest], labels[rest])
    with computing(probe, arithmetic):
        parts = _information(
            probe, head.to(probe.device), images[rest], method, draws, beta, seed, batch_size
        )
    metadata = {
        "method": method,
        **({"beta": beta} if method == "variational" else {}),
        **({"arithmetic": arithmetic} if arithmetic != "float32" else {}),
        "draws": draws,
        "seed": seed,
        "l2": l2,
        "n_fit": len(fit),
        "n_fisher": len(rest),
        "n_classes": len(task.classes),
        "image_size": int(images.shape[1]),
        "seconds": round(time.perf_counter() - start, 2),
        **uncertainty,
        **_left_out(probe),
    }
    where, values = (
        _slices(list(parts), [len(v) for v in parts.values()]),
        np.concatenate(list(parts.values())),
    )
    if not values.any():
        raise ValueError(
            f"task {task.name!r}: the embedding is zero everywhere: nothing in the images moves the label (are they all"
            " alike?); accepted: images that differ"
        )
    return TaskEmbedding(values, where, task.name, probe.name, metadata)


def _check_method(method: str) -> None:
    if method not in get_args(Method):
        raise ValueError(f"method: {method!r} is unknown; accepted: {', '.join(get_args(Method))}")


def _left_out(probe: Probe) -> dict[str, dict[str, str]]:
    """Return the metadata's entry on weights that are not in the embedding; none where all are."""
    return {"left_out": probe.left_out} if probe.left_out else {}


def _information(
    probe: Probe,
    head: nn.Linear,
    images: NDArray[np.uint8],
    method: Method,
    draws: int,
    beta: float,
    seed: int,
    batch_size: int,
) -> dict[str, Array]:
    """Return layer → Fisher information of each filter (nats²) of a probe that carries a head, by any method."""
    model, batches = probe.with_head(head), probe.batches(images, batch_size)
    layers = [f"model.{name}" for name in probe.layers]
    if method == "variational":
        found = precision.posterior(
            model, batches, layers=layers, draws=draws, beta=beta, seed=seed
        ).information
    else:
        found = fisher.diagonal(
            model, batches, expectation=method, pool="filter", draws=draws, seed=seed, layers=layers
        )
    return {name.removeprefix("model."): value.cpu().numpy().astype(float) for name, value in found.items()}


def _training_images(
    task: Task, max_samples: int | None, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = task.train.images, task.train.labels
    if max_samples is None or max_samples >= len(labels):
        return images, labels
    if max_samples < 2 * len(task.classes):
        raise ValueError(
            f"max_samples: {max_samples} is too few for {len(task.classes)} classes; at least two each"
        )
    kept, _ = split(labels, max_samples / len(labels), seed)
    return images[kept], labels[kept]


def _judge(head: nn.Linear, features: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return the head's mean predictive entropy (nats) and its error rate."""
    log_p = head(torch.from_numpy(features)).log_softmax(1)
    entropy = -(log_p.exp() * log_p).sum(1).mean()
    error = (log_p.argmax(1).numpy() != labels).mean()
    return {"entropy": float(entropy), "error": float(error)}


def trivial(like: TaskEmbedding) -> TaskEmbedding:
    """Return the embedding of a task without information: within each layer, all filters alike.

    This is the t₀ of Task2Vec: an isotropic Fisher matrix has no preferred direction. Each layer keeps its mean, so
    that the scale fits the embeddings that it is compared with.

    Parameters
    ----------
    like : TaskEmbedding
        Gives the layers, the scale and the probe.

    Returns
    -------
    TaskEmbedding
        Named ``"trivial"``.
    """
    values = np.empty_like(like.values)
    for where in like.layers.values():
        values[where] = like.values[where].mean()
    return TaskEmbedding(values, like.layers, "trivial", like.probe, {"like": like.task})


def photographs(size: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return the photographs of the offline library on which :func:`canonical` is taken by the command line and atlases.

    Parameters
    ----------
    size : int
        Side of the images in pixels.
    seed : int
        Of the patches.

    Returns
    -------
    array of uint8
        ``(200, size, size, 3)``.
    """
    from t2v.tasks import load

    return load("photographs", size=size, train=PHOTOGRAPHS, test=10, seed=seed).train.images


def canonical(
    probe: Probe,
    images: NDArray[np.uint8],
    *,
    method: Method = "rademacher",
    seed: int = 0,
    batch_size: int = 64,
    layers: Sequence[str] | None = None,
    device: str | None = None,
) -> TaskEmbedding:
    """Return the embedding of the probe's own task: the Fisher information with the head that it was trained with.

    This is the review paper's reading of t₀. No labels are needed, since y comes from the model.

    Parameters
    ----------
    probe : Probe
        Must have kept its classifier.
    images : array of uint8
        ``(n, h, w, 3)``: images like those that the probe was trained on; any natural photographs do.
    method, seed, batch_size, layers
        As for :func:`embed`.
    device : str, optional
        As for :func:`embed`; by default the probe stays where it is.

    Returns
    -------
    TaskEmbedding
        Named ``"canonical"``; its metadata hold ``left_out`` as those of :func:`embed` do.

    Raises
    ------
    ValueError
        If the probe has no classifier, or an argument is unknown.
    """
    _check_method(method)
    probe = with_layers(probe, layers)
    if probe.classifier is None:
        raise ValueError(f"probe {probe.name!r} has no classifier of its own, so no canonical embedding")
    if device is not None:
        probe.to(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    parts = _information(probe, probe.classifier, images, method, 1, precision.BETA, seed, batch_size)
    where = _slices(list(parts), [len(v) for v in parts.values()])
    metadata = {"method": method, "seed": seed, "n_fisher": len(images), **_left_out(probe)}
    return TaskEmbedding(np.concatenate(list(parts.values())), where, "canonical", probe.name, metadata)
