"""Self-checking exercises of chapter 7: Shannon and Fisher."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from t2v.exercises import Exercise

Floats = NDArray[np.float64]


def logit_fisher(logits: Floats) -> Floats:
    """Fisher matrix of a softmax with respect to its logits: diag(p) − p pᵀ."""
    p = np.exp(logits - logits.max())
    p = p / p.sum()
    return np.asarray(np.diag(p) - np.outer(p, p))


def gauss_newton(jacobian: Floats, probabilities: Floats) -> Floats:
    """Mean over samples of Jᵀ (diag p − p pᵀ) J; shapes (n, classes, k) and (n, classes)."""
    n, classes = probabilities.shape
    middle = probabilities[:, :, None] * (np.eye(classes) - probabilities[:, None, :])
    return np.asarray(np.einsum("nci,ncd,ndj->ij", jacobian, middle, jacobian) / n)


def laplace_kl(mean: Floats, fisher: Floats, m: int, prior_var: float) -> float:
    """KL(N(mean, (mF)⁻¹) ‖ N(0, prior_var·I)) in nats."""
    k = len(mean)
    logdet = np.linalg.slogdet(m * fisher)[1]
    trace = np.trace(np.linalg.inv(m * fisher))
    return float(0.5 * (logdet + k * np.log(prior_var) + (mean @ mean + trace) / prior_var - k))


def _printed(mean: Floats, fisher: Floats, m: int, prior_var: float) -> float:
    return float(0.5 * (np.linalg.slogdet(m * fisher)[1] + mean @ mean / prior_var))


def regression_information(x: Floats, sigma: float, prior_var: float) -> float:
    """I(D;W) in nats of Bayesian linear regression: ½ log|I + λ² XᵀX/σ²|."""
    return float(0.5 * np.linalg.slogdet(np.eye(x.shape[1]) + prior_var * x.T @ x / sigma**2)[1])


def smallest_trace(first: float, second: float) -> float:
    """Smallest a/c² + b·c² over c > 0: 2√(ab), at c⁴ = a/b."""
    return float(2 * np.sqrt(first * second))


def _spd(rng: np.random.Generator, k: int) -> Floats:
    a = rng.normal(size=(k, k))
    return np.asarray(a @ a.T / k + 0.2 * np.eye(k))


def _jacobian(rng: np.random.Generator) -> tuple[Floats, Floats]:
    return rng.normal(size=(4, 3, 5)), rng.dirichlet(np.ones(3), size=4)


EXERCISES = {
    "7.1": Exercise(
        logit_fisher,
        lambda rng: (rng.normal(size=4),),
        mistakes={
            "The outer product is missing: the score e_y − p has a mean to subtract.": lambda z: np.diag(
                logit_fisher(z).sum(axis=1) + np.exp(z) / np.exp(z).sum()
            ),
            "The sign is wrong: a Fisher matrix has a positive diagonal.": lambda z: -logit_fisher(z),
        },
    ),
    "7.2": Exercise(
        gauss_newton,
        _jacobian,
        mistakes={
            "The sum over samples; the Fisher matrix here is the mean.": lambda j, p: (
                len(j) * gauss_newton(j, p)
            ),
            "The middle is diag(p) alone; subtract p pᵀ.": lambda j, p: (
                np.einsum("nci,nc,ncj->ij", j, p, j) / len(j)
            ),
        },
    ),
    "7.3": Exercise(
        laplace_kl,
        lambda rng: (rng.normal(size=3), _spd(rng, 3), int(rng.integers(5, 100)), float(rng.uniform(0.3, 3))),
        mistakes={
            "That is the printed formula: k log λ² − k and the trace are missing.": _printed,
            "Σ = F⁻¹ was used: one sample's worth. It is (mF)⁻¹.": lambda w, f, m, v: laplace_kl(w, f, 1, v),
            "The half is missing.": lambda w, f, m, v: 2 * laplace_kl(w, f, m, v),
        },
    ),
    "7.4": Exercise(
        regression_information,
        lambda rng: (rng.normal(size=(8, 3)), float(rng.uniform(0.5, 2)), float(rng.uniform(0.3, 3))),
        mistakes={
            "The half is missing: a Gaussian's entropy is *half* a log-determinant.": lambda x, s, v: (
                2 * regression_information(x, s, v)
            ),
            "XᵀX is already a sum over samples: do not divide by m.": lambda x, s, v: regression_information(
                x / np.sqrt(len(x)), s, v
            ),
            "σ enters as its square.": lambda x, s, v: regression_information(x, np.sqrt(s), v),
            "That is in bits.": lambda x, s, v: regression_information(x, s, v) / np.log(2),
        },
    ),
    "7.5": Exercise(
        1 / 16,
        mistakes={
            "A mean divides by 16, so its square by 256; but 16 independent terms remain.": 1 / 256,
            "Upside down: the estimate is too small, not too large.": 16.0,
            "Scores of different samples are independent with mean zero: they do not add up.": 1.0,
        },
        tolerance=1e-9,
    ),
    "7.6": Exercise(
        45,
        mistakes={
            "Of each sample's ten scores only nine are independent: weighted by p they sum to zero.": 50,
            "Five is the rank of the *empirical* Fisher matrix.": 5,
        },
        tolerance=1e-9,
    ),
    "7.7": Exercise(
        smallest_trace,
        lambda rng: (float(rng.uniform(0.1, 5)), float(rng.uniform(0.1, 5))),
        mistakes={
            "That is the trace at c = 1, before rescaling.": lambda a, b: a + b,
            "Half of it: both layers contribute √(ab) at the optimum.": lambda a, b: float(np.sqrt(a * b)),
        },
    ),
}
