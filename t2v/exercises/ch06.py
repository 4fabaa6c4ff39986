"""Self-checking exercises of chapter 6: information in the weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from t2v.exercises import Exercise

Floats = NDArray[np.float64]


def _entropy(p: Floats) -> float:
    return float(-xlogy(p, p).sum() / np.log(2))


def overfitting(joint: Floats) -> float:
    """I(D;W|θ) in bits from p(θ, D, W) = H(θ,D) + H(θ,W) − H(θ,D,W) − H(θ)."""
    return (
        _entropy(joint.sum(axis=2))
        + _entropy(joint.sum(axis=1))
        - _entropy(joint)
        - _entropy(joint.sum(axis=(1, 2)))
    )


def _information(joint: Floats) -> float:
    pair = joint.sum(axis=0)
    return _entropy(pair.sum(axis=0)) + _entropy(pair.sum(axis=1)) - _entropy(pair)


def gibbs(log_likelihood: Floats, prior: Floats, beta: float) -> Floats:
    """q(w|D) ∝ p(w) q(D|w)^{1/β}; log-likelihoods of shape (data sets, weights)."""
    scores = log_likelihood / beta + np.log(prior)
    scores = scores - scores.max(axis=1, keepdims=True)
    q = np.exp(scores)
    return np.asarray(q / q.sum(axis=1, keepdims=True))


def _scores(log_likelihood: Floats, prior: Floats, beta: float) -> Floats:
    return np.asarray(log_likelihood / beta + np.log(prior))


def gaussian_kl(mean: Floats, log_var: Floats, prior_var: float) -> float:
    """KL(N(mean, diag exp(log_var)) ‖ N(0, prior_var·I)) in nats."""
    return float(0.5 * ((np.exp(log_var) + mean**2) / prior_var - 1 + np.log(prior_var) - log_var).sum())


def best_prior_var(mean: Floats, log_var: Floats) -> float:
    """Return the λ² that minimises that KL: the mean of μ² + σ²."""
    return float(np.mean(mean**2 + np.exp(log_var)))


def noisy_moments(x: Floats, weight: Floats, weight_var: Floats) -> Floats:
    """Mean and variance of W x for independent Gaussian weights, stacked: shape (2, units)."""
    return np.stack([weight @ x, weight_var @ x**2])


def realisable_bound(kl_nats: float, m: int, delta: float) -> float:
    """PAC-Bayes bound of a posterior without training error: 1 − exp(−(KL + log(2√m/δ))/m)."""
    return float(1 - np.exp(-(kl_nats + np.log(2 * np.sqrt(m) / delta)) / m))


def _joint(rng: np.random.Generator) -> tuple[Floats]:
    return (rng.dirichlet(np.ones(2 * 3 * 4)).reshape(2, 3, 4),)


def _gibbs_inputs(rng: np.random.Generator) -> tuple[Floats, Floats, float]:
    return rng.normal(-3, 1, size=(4, 3)), rng.dirichlet(np.ones(3)), float(rng.uniform(0.3, 3))


def _posterior(rng: np.random.Generator) -> tuple[Floats, Floats]:
    return rng.normal(size=5), rng.normal(-1, 1, size=5)


EXERCISES = {
    "6.1": Exercise(
        overfitting,
        _joint,
        mistakes={
            "That is I(D;W): the task is not held fixed.": _information,
            "That is in nats: divide by log 2.": lambda j: overfitting(j) * np.log(2),
            "That is I(θ;W|D): which axis is which?": lambda j: overfitting(j.transpose(1, 0, 2)),
            "That is I(θ;D|W): which axis is which?": lambda j: overfitting(j.transpose(2, 0, 1)),
            "H(θ) is missing: it comes off as well.": lambda j: overfitting(j) + _entropy(j.sum(axis=(1, 2))),
            "That is H(W|θ): what the data explain of it is asked for.": lambda j: (
                _entropy(j.sum(axis=1)) - _entropy(j.sum(axis=(1, 2)))
            ),
        },
    ),
    "6.2": Exercise(
        gibbs,
        _gibbs_inputs,
        mistakes={
            "The likelihood is raised to β; it must be 1/β.": lambda a, p, b: gibbs(a, p, 1 / b),
            "The prior is missing.": lambda a, p, b: gibbs(a, np.ones_like(p), b),
            "The prior is tempered too; only the likelihood is.": lambda a, p, b: gibbs(a, p ** (1 / b), b),
            "β is missing.": lambda a, p, b: gibbs(a, p, 1.0),
            "The rows are not normalised: each must sum to 1.": [
                lambda a, p, b: p * np.exp(a / b),
                lambda a, p, b: np.exp(_scores(a, p, b) - _scores(a, p, b).max(axis=1, keepdims=True)),
            ],
            "Each data set has its own distribution over weights: normalise the rows, not the columns.": (
                lambda a, p, b: np.exp(_scores(a, p, b)) / np.exp(_scores(a, p, b)).sum(axis=0)
            ),
            "Each data set has its own distribution over weights: normalise the rows, not the whole table.": (
                lambda a, p, b: np.exp(_scores(a, p, b)) / np.exp(_scores(a, p, b)).sum()
            ),
            "The likelihood is given as its logarithm: exponentiate it.": lambda a, p, b: (
                p * a / (p * a).sum(axis=1, keepdims=True)
            ),
            "The sign is wrong: likely weights get more.": lambda a, p, b: gibbs(-a, p, b),
        },
    ),
    "6.3": Exercise(
        gaussian_kl,
        lambda rng: (*_posterior(rng), float(rng.uniform(0.2, 4))),
        mistakes={
            "That is the mean over the weights; it must be the sum.": lambda m, v, p: (
                gaussian_kl(m, v, p) / 5
            ),
            "log_var was taken for the standard deviation's logarithm.": lambda m, v, p: gaussian_kl(
                m, 2 * v, p
            ),
            "The half is missing.": lambda m, v, p: 2 * gaussian_kl(m, v, p),
            "prior_var was squared: it is λ² already.": lambda m, v, p: gaussian_kl(m, v, p**2),
            "The sign of the log-ratio is wrong: it is log(λ²/σ²).": lambda m, v, p: (
                gaussian_kl(m, v, p) + float((v - np.log(p)).sum())
            ),
            "The −1 of each weight is missing: the KL must vanish where the two agree.": lambda m, v, p: (
                gaussian_kl(m, v, p) + 0.5 * len(m)
            ),
            "One −1 for each weight, not one in all.": lambda m, v, p: (
                gaussian_kl(m, v, p) + 0.5 * (len(m) - 1)
            ),
            "log λ² is missing, once for each weight.": [
                lambda m, v, p: gaussian_kl(m, v, p) - 0.5 * len(m) * float(np.log(p)),
                lambda m, v, p: gaussian_kl(m, v, p) - 0.5 * (len(m) - 1) * float(np.log(p)),
            ],
            "The prior is N(0, 1) there: prior_var is not used.": lambda m, v, p: gaussian_kl(m, v, 1.0),
            "That is the KL the other way round: the posterior comes first.": lambda m, v, p: float(
                0.5 * ((p + m**2) * np.exp(-v) - 1 + v - np.log(p)).sum()
            ),
        },
    ),
    "6.4": Exercise(
        best_prior_var,
        _posterior,
        mistakes={
            "The posterior's own variance is missing.": lambda m, v: float(np.mean(m**2)),
            "That is λ: its square is asked for.": lambda m, v: float(np.sqrt(best_prior_var(m, v))),
            "log_var is a logarithm: exponentiate it.": lambda m, v: float(np.mean(m**2 + v)),
            "The means count too: they are what pulls the prior wide.": lambda m, v: float(np.exp(v).mean()),
            "log_var was taken for the standard deviation's logarithm.": lambda m, v: best_prior_var(
                m, 2 * v
            ),
            "The sum, not the mean.": lambda m, v: 5 * best_prior_var(m, v),
            "The mean of squares, not the variance: weights need not average to zero.": lambda m, v: float(
                np.var(m) + np.exp(v).mean()
            ),
        },
    ),
    "6.5": Exercise(
        noisy_moments,
        lambda rng: (rng.normal(size=4), rng.normal(size=(3, 4)), rng.uniform(0.1, 1, size=(3, 4))),
        mistakes={
            "Variances add with the *square* of the input.": lambda x, w, v: np.stack([w @ x, v @ x]),
            "Standard deviations do not add; variances do.": lambda x, w, v: np.stack(
                [w @ x, (np.sqrt(v) @ np.abs(x)) ** 2]
            ),
            "The second row holds standard deviations; variances are asked for.": lambda x, w, v: np.stack(
                [w @ x, np.sqrt(v @ x**2)]
            ),
            "weight_var is a variance already: do not square it.": lambda x, w, v: np.stack(
                [w @ x, v**2 @ x**2]
            ),
            "The means come first, then the variances.": lambda x, w, v: np.stack([v @ x**2, w @ x]),
        },
    ),
    "6.6": Exercise(
        200 * np.log(10),
        mistakes={
            "That is in bits; the question asks for nats.": 200 * np.log2(10),
            "That is one label; there are 200.": [np.log(10), np.log2(10)],
            "Those are 200 units of log 10: take natural logarithms.": 200.0,
            "A label of ten has log 10 nats, not 10.": 2000.0,
        },
        tolerance=1e-3,
        hint="The weights must hold the entropy of the labels: 200 independent ones, each uniform over ten classes.",
        unit="nats",
    ),
    "6.7": Exercise(
        realisable_bound,
        lambda rng: (float(rng.uniform(1, 200)), int(rng.integers(50, 2000)), float(rng.uniform(0.01, 0.2))),
        mistakes={
            "That is the budget itself; kl(0‖p) = −log(1 − p) still has to be inverted.": lambda k, m, d: (
                float((k + np.log(2 * np.sqrt(m) / d)) / m)
            ),
            "Pinsker's square root is the looser bound.": lambda k, m, d: float(
                np.sqrt((k + np.log(2 * np.sqrt(m) / d)) / (2 * m))
            ),
            "That is 1 − p: kl(0‖p) = −log(1 − p) gives p = 1 − exp(−budget).": lambda k, m, d: (
                1 - realisable_bound(k, m, d)
            ),
            "The budget has log(2√m/δ): √m is missing.": lambda k, m, d: realisable_bound(
                k, m, d * np.sqrt(m)
            ),
            "The budget has log(2√m/δ), not log(2m/δ): take the root of m.": lambda k, m, d: realisable_bound(
                k, m, d / np.sqrt(m)
            ),
            "The budget has log(2√m/δ): the 2 is missing.": lambda k, m, d: realisable_bound(k, m, 2 * d),
            "The budget has log(2√m/δ), not log(1/δ).": lambda k, m, d: realisable_bound(
                k, m, 2 * d * np.sqrt(m)
            ),
        },
    ),
}
