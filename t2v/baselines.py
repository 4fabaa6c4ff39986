r"""Transferability scores that others proposed: how well a source network fits a target, without fine-tuning it.

All of them need the trained source network, or at least its outputs on the target's images; a task embedding does not.
Larger is better, everywhere in this module.

- From the source's *labels* on the target's images: :func:`nce` (hard labels), :func:`leep` (probabilities).
- From its *features*: :func:`logme`, :func:`h_score`, :func:`transrate`, :func:`nearest_class_mean`.

The order of the arguments is always (what the source says, what the target says): swapping them is the commonest
mistake, since −H(Y|Z) and −H(Z|Y) both look reasonable. NumPy and SciPy only; everything is computed in float64.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from t2v import information
from t2v._checks import Labels, precision, real
from t2v._checks import labels as labels_of

Array = NDArray[np.float64]

#: LogME's fixed point stops when the log evidence a sample moves by less than this.
_TOLERANCE, _MAX_STEPS = 1e-12, 2000


# ---------------------------------------------------------------- from the source's labels


def nce(source_labels: ArrayLike, labels: ArrayLike) -> float:
    r"""Return the negative conditional entropy :math:`-H(Y \mid Z)` of the empirical joint of two labellings.

    Parameters
    ----------
    source_labels : array_like
        ``(n,)``: z, the label that the *source's* classifier gives to each image of the target: whole numbers, strings,
        truth values or categories.
    labels : array_like
        ``(n,)``: y, the target's labels, likewise.

    Returns
    -------
    float
        Mean nats a sample, ≤ 0; 0 where z determines y.

    Raises
    ------
    ValueError
        If the labels are not ``(n,)``, one is missing, they are numbers that are not whole, or of different lengths.

    Notes
    -----
    Source: Tran, Nguyen and Hassner (2019), equation 3.
    """
    (z, _), (y, _) = _labels(source_labels, "source_labels"), _labels(labels, "labels")
    if len(z) != len(y):
        raise ValueError(f"source_labels, labels: lengths {len(z)} and {len(y)} differ")
    joint = np.zeros((z.max() + 1, y.max() + 1))
    np.add.at(joint, (z, y), 1 / len(y))
    # −H(Y|Z) = Σ p(z,y) log p(z,y) − Σ p(z) log p(z); rounding may leave +1e-17
    return min(float(xlogy(joint, joint).sum() - xlogy(joint.sum(1), joint.sum(1)).sum()), 0.0)


def leep(source_probs: ArrayLike, labels: ArrayLike) -> float:
    r"""Return the log expected empirical prediction.

    With θ(x) the source classifier's probabilities and the empirical joint :math:`\hat P(y,z) = \frac1n \sum_{i: y_i=y}
    θ(x_i)_z`, it is the mean log-likelihood of the labels under the classifier that draws z from θ(x) and then y from
    :math:`\hat P(y \mid z)`:

    .. math:: \frac1n \sum_i \log \sum_z \hat P(y_i \mid z)\, θ(x_i)_z

    Parameters
    ----------
    source_probs : array
        ``(n, source classes)``: θ, rows sum to 1. Probabilities, not logits.
    labels : array_like
        ``(n,)``: the target's labels, of any kind that :func:`nce` takes.

    Returns
    -------
    float
        Mean nats a sample, ≤ 0.

    Raises
    ------
    ValueError
        If the rows are not distributions, or shapes or types are wrong.

    Notes
    -----
    Source: Nguyen et al. (2020), equations 1 and 2. With one-hot θ this is :func:`nce`.
    """
    (y, _), theta = _labels(labels, "labels"), _numbers(source_probs, "source_probs")
    if theta.ndim != 2 or len(theta) != len(y):
        raise ValueError(
            f"source_probs: shape {theta.shape}; (n, source classes) with n = {len(y)}, as labels, is accepted"
        )
    # float16 and bfloat16 round each probability more coarsely than that
    room = min(max(1e-4, 4 * precision(source_probs) * theta.shape[1] ** 0.5), information.WIDEST_TOLERANCE)
    if not np.isfinite(theta).all() or (theta < 0).any() or np.abs(theta.sum(1) - 1).max() > room:
        raise ValueError(
            "source_probs: rows must be probabilities (≥ 0, sum 1 within 1e-4); are these logits?"
        )
    theta = theta / theta.sum(1, keepdims=True)
    joint = np.zeros((y.max() + 1, theta.shape[1]))
    np.add.at(joint, y, theta / len(y))
    there = joint.sum(0) > 0  # a source class without any probability takes part in no sum
    conditional = joint[:, there] / joint[:, there].sum(0)
    return min(float(np.log((conditional[y] * theta[:, there]).sum(1)).mean()), 0.0)


# ---------------------------------------------------------------- from the source's features


def logme(features: ArrayLike, labels: ArrayLike) -> float:
    r"""Return the log maximum evidence of a Bayesian linear model of the one-hot labels, a sample and class.

    For each class, :math:`y = Φw + ε` with :math:`w \sim N(0, α^{-1}I)` and :math:`ε \sim N(0, β^{-1}I)`; α and β
    maximise the evidence :math:`p(y \mid Φ, α, β)` by MacKay's fixed point, computed in the singular basis of Φ.

    Parameters
    ----------
    features : array
        ``(n, d)``: Φ. It is not centred, as in the published code.
    labels : array_like
        ``(n,)``: whole numbers, strings, truth values or categories.

    Returns
    -------
    float
        Nats a sample, mean over the classes that occur. Not bounded: it is a density.

    Raises
    ------
    ValueError
        If the features are not finite, all zero, or lengths differ; if there is only one class.

    Notes
    -----
    Source: You et al. (2021), algorithm 1, in the fixed-point form of thuml's code. Three corrections: α is counted once
    a *singular value* (that code uses all d directions in :math:`\frac d2 \log α` but sums :math:`\log(α+βσ)` over the
    min(n, d) that exist, which is wrong by :math:`\frac{d-n}{2}\log α` where n < d); the fixed point runs to convergence
    instead of 11 steps; and α and β are not damped by 1e-5.
    """
    x, y = _features(features, labels)
    u, s, _ = np.linalg.svd(_of_order_one(x), full_matrices=False)  # α takes up the scale
    kept = s > s.max() * np.finfo(float).eps * max(x.shape)
    sigma, basis = s[kept] ** 2, u[:, kept]
    classes = np.unique(y)
    return float(np.mean([_evidence(sigma, basis, (y == c).astype(float)) for c in classes])) / len(y)


def _evidence(sigma: Array, basis: Array, y: Array) -> float:
    """Return max over α, β of log p(y | Φ, α, β), from the squared singular values and left vectors of Φ."""
    n, x2 = len(y), (basis.T @ y) ** 2
    rest = max(float((y**2).sum() - x2.sum()), 0.0)  # the part of y outside the span of Φ
    if rest < 1e-12 * float((y**2).sum()):
        rest = 0.0  # rounding only: y lies in the span
    t, before = float(sigma.max()), -np.inf
    for _ in range(_MAX_STEPS):
        gamma = (sigma / (sigma + t)).sum()
        m2 = (sigma * x2 / (sigma + t) ** 2).sum()
        # n − γ by its terms: the difference would cancel where Φ has rank n and t is small
        free = n - len(sigma) + (t / (sigma + t)).sum()
        residual = (x2 * (t / (sigma + t)) ** 2).sum() + rest
        # at a given ratio t = α/β the best β is known, so that the value is exact at every step
        misfit = (x2 * t / (sigma + t)).sum() + rest
        value = 0.5 * (n * np.log(n / (2 * np.pi * misfit)) - np.log1p(sigma / t).sum() - n)
        if abs(value - before) < _TOLERANCE * n or m2 == 0:
            break
        before, t = (
            value,
            float(np.clip(gamma / m2 * residual / free, 1e-12 * sigma.min(), 1e12 * sigma.max())),
        )
    return float(value)


def h_score(
    features: ArrayLike, labels: ArrayLike, *, shrinkage: Literal["ledoit_wolf"] | float | None = None
) -> float:
    r"""Return the H-score :math:`\mathrm{tr}(\mathrm{cov}(f)^{+}\, \mathrm{cov}(E[f \mid y]))`.

    Parameters
    ----------
    features : array
        ``(n, d)``.
    labels : array_like
        ``(n,)``: whole numbers, strings, truth values or categories.
    shrinkage : "ledoit_wolf", float in [0, 1), or None
        Shrink cov(f) towards a multiple of the identity, :math:`(1-δ)\,Σ + δ\,\frac{\mathrm{tr} Σ}{d} I`, and
        cov(E[f|y]) by 1 − δ: the form of Ibrahim, Ponomareva and Mazumder (2022). None is the score as it was
        published first.

    Returns
    -------
    float
        Between 0 and the number of classes − 1.

    Raises
    ------
    ValueError
        If the features are not finite or constant, lengths differ, there is one class, or the shrinkage is unknown.

    Notes
    -----
    Source: Bao et al. (2019), definition 2. Without shrinkage the score says nothing where n ≤ d: independent features
    separate any labelling, and it is exactly the number of classes − 1. Few-shot comparisons need the shrunk form.
    """
    x, y = _features(features, labels)
    if not np.ptp(x, axis=0).any():  # before centring, which leaves rounding errors to divide by
        raise ValueError("features: all rows are alike")
    x = _of_order_one(x)
    x = x - x.mean(0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    kept = s > s.max() * np.finfo(float).eps * max(x.shape)
    variance, n = s[kept] ** 2 / len(x), len(x)
    between = np.zeros(kept.sum())
    for c in np.unique(y):
        between += (y == c).mean() * (u[y == c][:, kept].mean(0) ** 2) * n * variance
    delta = _shrinkage(x, shrinkage)
    return float(
        ((1 - delta) * between / ((1 - delta) * variance + delta * variance.sum() / x.shape[1])).sum()
    )


def _shrinkage(centred: Array, shrinkage: Any) -> float:
    if shrinkage is None:
        return 0.0
    if shrinkage == "ledoit_wolf":
        from sklearn.covariance import ledoit_wolf_shrinkage

        return float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    if not isinstance(shrinkage, (int, float)) or not 0 <= shrinkage < 1:
        raise ValueError(
            f"shrinkage: {shrinkage!r} is unknown; 'ledoit_wolf', None or 0 ≤ number < 1 is accepted"
        )
    return float(shrinkage)


def transrate(features: ArrayLike, labels: ArrayLike, eps: float = 1e-4) -> float:
    r"""Return TransRate, the drop of the coding rate of the features when the labels are told.

    .. math:: R(Z) - \frac1C \sum_c R(Z_c), \qquad R(Z) = \tfrac12 \log\det\left(I + \tfrac{1}{nε} Z^\top Z\right)

    with Z the features minus their common mean, and :math:`Z_c` its n_c rows of class c.

    Parameters
    ----------
    features : array
        ``(n, d)``.
    labels : array_like
        ``(n,)``: whole numbers, strings, truth values or categories.
    eps : float
        ε > 0, the allowed distortion. It has the units of the squared features: scaling them changes the score.

    Returns
    -------
    float
        Nats.

    Raises
    ------
    ValueError
        If ε ≤ 0, the features are not finite, lengths differ, or there is one class.

    Notes
    -----
    Source: Huang et al. (2022), with classes weighted alike as in its code; weights n_c/n would make it a conditional
    rate. Computed in min(n, d) dimensions, since det(I + AAᵀ) = det(I + AᵀA).
    """
    if not 0 < eps < np.inf:
        raise ValueError(f"eps: {eps} is not a finite number > 0")
    x, y = _features(features, labels)
    x = x - x.mean(0)
    return _rate(x, eps) - float(np.mean([_rate(x[y == c], eps) for c in np.unique(y)]))


def _rate(z: Array, eps: float) -> float:
    s = np.linalg.svd(z, compute_uv=False) / np.sqrt(len(z) * eps)
    # log(1 + s²); beyond 10¹⁰⁰ the square would overflow, and the 1 has long been lost
    return 0.5 * float(
        np.where(s < 1e100, np.log1p(np.minimum(s, 1e100) ** 2), 2 * np.log(np.maximum(s, 1))).sum()
    )


def nearest_class_mean(features: ArrayLike, labels: ArrayLike) -> float:
    """Return the leave-one-out accuracy of the nearest class mean, by Euclidean distance.

    Parameters
    ----------
    features : array
        ``(n, d)``.
    labels : array_like
        ``(n,)``, of any kind that :func:`nce` takes; at least two samples a class.

    Returns
    -------
    float
        Between 0 and 1. A tie with another class counts as an error.

    Raises
    ------
    ValueError
        If a class has one sample, there is one class, the features are not finite, or lengths differ.
    """
    return float(left_out_right(features, labels).mean())


def left_out_right(features: ArrayLike, labels: ArrayLike) -> NDArray[np.bool_]:
    """Return, for each sample, whether the nearest mean of the others' classes is its own: :func:`nearest_class_mean`.

    Parameters, errors and ties are as there; the result is ``(n,)``.
    """
    x, y = _features(features, labels)
    counts = np.bincount(y)
    if counts.min() < 2:
        rare = _labels(labels, "labels").names[counts.argmin()]
        raise ValueError(f"labels: class {rare} has one sample; leaving it out needs at least two")
    x = _of_order_one(x)
    x = x - x.mean(0)  # for precision: distances do not change
    means = np.stack([x[y == c].mean(0) for c in range(len(counts))])
    squares = (x**2).sum(1)[:, None] - 2 * x @ means.T + (means**2).sum(1)
    rows = np.arange(len(y))
    # without x itself, its class mean lies n/(n − 1) times as far away
    own = squares[rows, y] * (counts[y] / (counts[y] - 1)) ** 2
    squares[rows, y] = np.inf
    return np.asarray(own < squares.min(1))


# ---------------------------------------------------------------- checks


def _of_order_one(x: Array) -> Array:
    """Return the features times the power of two that keeps their squares from under- and overflowing."""
    return np.ldexp(x, -int(np.frexp(np.abs(x).max())[1]))


def _labels(values: ArrayLike, name: str) -> Labels:
    """Return labels ``(n,)`` as codes from 0 in the order of the labels; numbers that are not whole are no classes."""
    try:
        found = labels_of(values, name, kinds="biuUSMmO")
    except TypeError as error:
        raise ValueError(
            f"{name}: {getattr(values, 'dtype', 'values')} of shape {np.shape(values)} ({error}); "
            "whole numbers, strings, truth values or categories (n,) are accepted"
        ) from error
    if np.ndim(values) != 1:
        raise ValueError(f"{name}: shape {np.shape(values)}; labels (n,) with n ≥ 1 are accepted")
    return found


def _numbers(values: ArrayLike, name: str) -> Array:
    try:
        return real(values, name)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error


def _features(features: ArrayLike, labels: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    """Return the features in float64 and the labels' codes, from 0 without a gap."""
    x, (y, _) = _numbers(features, "features"), _labels(labels, "labels")
    if x.ndim != 2 or len(x) != len(y) or x.shape[1] == 0:
        raise ValueError(f"features: shape {x.shape}; (n, d) with n = {len(y)}, as labels, is accepted")
    if not np.isfinite(x).all():
        raise ValueError("features: NaN or infinite; finite numbers are accepted")
    if not x.any():
        raise ValueError("features: they are all zero")
    if y.max() < 1:
        raise ValueError("labels: there is one class; at least two are accepted")
    return x, y
