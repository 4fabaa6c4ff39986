"""Self-checking exercises of chapter 10."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from t2v import baselines, distance
from t2v.exercises import Exercise

Array = np.ndarray[Any, Any]


def _three(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return three embeddings of 12 filters; two filters are silent in all."""
    values = rng.gamma(0.5, size=(3, 12))
    values[:, rng.choice(12, 2, replace=False)] = 0
    return tuple(values)


def _with_alpha(rng: np.random.Generator) -> tuple[Any, ...]:
    """Return source, target, reference and α; every other source is so near the target that d_asym is negative."""
    source, target, reference = _three(rng)
    if rng.random() < 0.5:
        source = target * np.exp(0.1 * rng.normal(size=12))
    return source, target, reference, float(rng.uniform(0.1, 1))


def _answers(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return a source's probabilities on 40 images, tied to their labels, and the labels, of unequal classes."""
    labels = np.concatenate([np.arange(3), rng.choice(3, 37, p=[0.6, 0.3, 0.1])])
    logits = 2 * rng.normal(size=(3, 5))[labels] + rng.normal(size=(40, 5))
    theta = np.exp(logits)
    return theta / theta.sum(1, keepdims=True), labels


def _joint(theta: Array, labels: Array) -> Array:
    """Return the empirical joint of the target's and the source's classes, (target classes, source classes)."""
    joint = np.zeros((labels.max() + 1, theta.shape[1]))
    np.add.at(joint, labels, theta / len(labels))
    return joint


def _each(theta: Array, labels: Array) -> Array:
    """Return each image's likelihood of its label."""
    joint = _joint(theta, labels)
    return np.asarray(((joint / joint.sum(0))[labels] * theta).sum(1))


def _given_labels(theta: Array, labels: Array) -> float:
    """Return LEEP with the joint's rows, and not its columns, summing to one."""
    joint = _joint(theta, labels)
    return float(np.log(((joint / joint.sum(1, keepdims=True))[labels] * theta).sum(1)).mean())


def _log_inside(theta: Array, labels: Array) -> float:
    joint = _joint(theta, labels)
    return float((np.log(joint / joint.sum(0))[labels] * theta).sum(1).mean())


def _hard(theta: Array, labels: Array) -> float:
    return baselines.nce(theta.argmax(1), labels)


def crossed(distances: Array, errors: Array, *, same: bool = False, statistic: Any = kendalltau) -> float:
    """Return the mean over targets and pairs of seeds of the correlation of one seed's distance with another's error.

    Parameters
    ----------
    distances, errors : array
        ``(targets, sources, seeds)``.
    same : bool
        Judge each seed by its own errors instead.
    statistic : callable
        The correlation: SciPy's ``kendalltau``, or one like it.
    """
    targets, _, seeds = errors.shape
    pairs = [(a, b) for a in range(seeds) for b in range(seeds) if (a == b) == same]
    taus = [
        statistic(distances[t, :, a], errors[t, :, b]).statistic for a, b in pairs for t in range(targets)
    ]
    return float(np.mean(taus))


def _pooled(distances: Array, errors: Array) -> float:
    """Return the same of all pairs at once, targets mixed."""
    flat = [x.reshape(1, -1, x.shape[2]) for x in (distances, errors)]
    return crossed(*flat)


def _all_pairs(distances: Array, errors: Array) -> float:
    """Return the mean over all pairs of seeds, those of one seed with itself among them."""
    n = errors.shape[2]
    return (crossed(distances, errors, same=True) + (n - 1) * crossed(distances, errors)) / n


def _means_first(distances: Array, errors: Array) -> float:
    return crossed(distances.mean(2, keepdims=True), errors.mean(2, keepdims=True), same=True)


def _over_targets(distances: Array, errors: Array) -> float:
    return crossed(np.swapaxes(distances, 0, 1), np.swapaxes(errors, 0, 1))


def _three_seeds(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return distances and errors of 5 targets, 7 sources and 3 seeds that share a seed's luck; targets differ in level."""
    truth, level = rng.normal(size=(5, 7, 1)), 2 * rng.normal(size=(5, 1, 1))
    luck = rng.normal(size=(5, 7, 3))
    distances = truth + luck + 0.3 * rng.normal(size=(5, 7, 3))
    return distances, truth + luck + level + 0.3 * rng.normal(size=(5, 7, 3))


def relative_regret(distances: Array, errors: Array) -> float:
    """Return how much larger the error of the nearest source is than the best source's, as a share of the latter."""
    return float(errors[distances.argmin()] / errors.min() - 1)


def _choices(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return six sources' distances and errors; the nearest is never the best, the most distant neither."""
    distances, errors = rng.permutation(6) + rng.uniform(size=6), rng.uniform(0.1, 0.9, 6)
    errors[[distances.argmin(), distances.argmax()]] = rng.uniform(0.9, 1, 2)
    return distances, errors


EXERCISES = {
    "10.1": Exercise(
        0.4,
        mistakes={
            "That is the cosine; the distance is one minus it.": 0.6,
            "Divide by the norms of the shares: they are not unit vectors.": 1 - 6 / 16,
            "Divide by the norms of the shares; that is their inner product.": 6 / 16,
            "That is the angle; the distance is one minus its cosine.": float(np.arccos(0.6)),
            "That is the sine of the angle; the distance is one minus its cosine.": 0.8,
        },
        hint="The shares are (1/4, 3/4) and (3/4, 1/4). Their cosine is the inner product over the product of the "
        "norms; the distance is one minus it.",
    ),
    "10.2": Exercise(
        baselines.leep,
        _answers,
        {
            "The conditional is P(y | z): each column of the joint sums to one, not each row.": _given_labels,
            "The logarithm comes after the sum over z, not inside it.": _log_inside,
            "That is NCE: keep the probabilities, do not take the most probable class.": _hard,
            "The sign is wrong: LEEP is a log-likelihood, and negative.": lambda t, y: -baselines.leep(t, y),
            "Take the mean over the images, not the sum.": lambda t, y: len(y) * baselines.leep(t, y),
            "The logarithm is missing, or comes after the mean over the images.": [
                lambda t, y: float(_each(t, y).mean()),
                lambda t, y: float(np.log(_each(t, y).mean())),
            ],
            "Use the conditional P(y | z), not the joint.": lambda t, y: float(
                np.log((_joint(t, y)[y] * t).sum(1)).mean()
            ),
            "That is in bits; take the natural logarithm.": lambda t, y: baselines.leep(t, y) / np.log(2),
        },
    ),
    "10.3": Exercise(
        distance.asymmetric,
        _with_alpha,
        {
            "Hold the source against the reference, not the target.": lambda s, t, r, a: (
                distance.symmetric(s, t) - a * distance.symmetric(t, r)
            ),
            "The distance to the reference is subtracted: far from it is better.": lambda s, t, r, a: (
                distance.symmetric(s, t) + a * distance.symmetric(s, r)
            ),
            "α is missing.": lambda s, t, r, a: distance.symmetric(s, t) - distance.symmetric(s, r),
            "The asymmetric distance can be negative, for a source far from the reference: do not cut it off at 0.": (
                lambda s, t, r, a: max(0.0, distance.asymmetric(s, t, r, a))
            ),
            "The asymmetric distance can be negative: take no absolute value.": lambda s, t, r, a: abs(
                distance.asymmetric(s, t, r, a)
            ),
            "The sign is wrong: a small distance belongs to a good source.": lambda s, t, r, a: (
                -distance.asymmetric(s, t, r, a)
            ),
            "That is d_sym: the second term is missing.": lambda s, t, r, a: distance.symmetric(s, t),
            "α multiplies the distance to the reference, not the one to the target.": [
                lambda s, t, r, a: a * distance.symmetric(s, t) - distance.symmetric(s, r),
                lambda s, t, r, a: a * (distance.symmetric(s, t) - distance.symmetric(s, r)),
            ],
            "Both distances are d_sym, not the plain cosine.": [
                lambda s, t, r, a: distance.cosine(s, t) - a * distance.cosine(s, r),
                lambda s, t, r, a: distance.symmetric(s, t) - a * distance.cosine(s, r),
                lambda s, t, r, a: distance.cosine(s, t) - a * distance.symmetric(s, r),
            ],
        },
    ),
    "10.4": Exercise(
        crossed,
        _three_seeds,
        {
            "That judges each seed by its own errors, whose luck it shares: take different seeds.": lambda d, e: (
                crossed(d, e, same=True)
            ),
            "Leave out the pairs of a seed with itself.": _all_pairs,
            "Do not average over the seeds first.": _means_first,
            "One τ for each target, then the mean: do not pool the targets.": _pooled,
            "Take τ over the sources of a target, not over the targets of a source.": _over_targets,
            "That is Spearman's ρ; Kendall's τ is asked for.": lambda d, e: crossed(
                d, e, statistic=spearmanr
            ),
            "The sign is wrong: a small distance belongs to a small error, and that is τ > 0.": lambda d, e: (
                -crossed(d, e)
            ),
            "That is the sum over the pairs of seeds; take the mean.": lambda d, e: 6 * crossed(d, e),
        },
    ),
    "10.5": Exercise(
        0.12,
        mistakes={
            "Upside down: α is the difference in d_sym over the difference in distance to the reference.": 0.25
            / 0.03,
            "Divide by the *difference* of the two distances to the reference, not by the larger one.": 0.03
            / 0.55,
            "Each source's distance to the reference is multiplied by α: the difference 0.25 counts, not the sum.": 0.03
            / 0.85,
            "At that α the second source leads already; look for the point where both are equal.": 0.15,
            "That is the difference of the distances to the target; divide by that of the others.": 0.03,
            "Hold each distance to the target against its own to the reference, and both sources against each other.": [
                0.20 / 0.30,
                0.23 / 0.55,
            ],
        },
        tolerance=1e-3,
        hint="d_asym of the two sources are two straight lines in α, 0.20 − 0.30 α and 0.23 − 0.55 α. Where do they "
        "cross?",
    ),
    "10.6": Exercise(
        relative_regret,
        _choices,
        {
            "The nearest source is chosen: argmin of the distances.": lambda d, e: float(
                e[d.argmax()] / e.min() - 1
            ),
            "That is the regret in units of error; divide by the best error.": lambda d, e: float(
                e[d.argmin()] - e.min()
            ),
            "That is the ratio; the relative regret is what it exceeds one by.": lambda d, e: float(
                e[d.argmin()] / e.min()
            ),
            "Compare with the best source, not with the mean over the sources.": lambda d, e: float(
                e[d.argmin()] / e.mean() - 1
            ),
            "Divide by the best error, not by the chosen one.": lambda d, e: float(
                1 - e.min() / e[d.argmin()]
            ),
            "Best is the smallest error, not the largest.": lambda d, e: float(e[d.argmin()] / e.max() - 1),
            "That is the error of the chosen source itself; hold it against the best.": lambda d, e: float(
                e[d.argmin()]
            ),
            "That is in per cent; write it as a share of one.": lambda d, e: 100 * relative_regret(d, e),
        },
    ),
}
