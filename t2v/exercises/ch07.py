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


def _one_score(logits: Floats) -> Floats:
    """Return the outer product of the score of the likeliest label."""
    p = np.exp(logits - logits.max())
    p = p / p.sum()
    score = np.eye(len(p))[p.argmax()] - p
    return np.outer(score, score)


def _middle(probabilities: Floats) -> Floats:
    """Return diag(p) − p pᵀ for each sample."""
    eye = np.eye(probabilities.shape[1])
    return np.asarray(probabilities[:, :, None] * (eye - probabilities[:, None, :]))


def gauss_newton(jacobian: Floats, probabilities: Floats) -> Floats:
    """Mean over samples of Jᵀ (diag p − p pᵀ) J; shapes (n, classes, k) and (n, classes)."""
    middle = _middle(probabilities)
    return np.asarray(np.einsum("nci,ncd,ndj->ij", jacobian, middle, jacobian) / len(jacobian))


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


def zero_directions(inputs: int, hidden: int, classes: int, dead: int) -> int:
    """Nullity of F of a ReLU network of one hidden layer: its dead units' weights, and the symmetries of the rest."""
    return dead * (inputs + 1 + classes) + 2 * (hidden - dead) + 1


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
            "That is its diagonal alone: off it stands −p_i p_j.": [
                lambda z: np.diag(np.diag(logit_fisher(z))),
                lambda z: np.diag(logit_fisher(z)),
            ],
            "Those are logits: make probabilities of them first.": lambda z: np.diag(z) - np.outer(z, z),
            "That is the outer product of one score, of the likeliest label: take its mean under p.": lambda z: (
                _one_score(z)
            ),
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
            "The middle is missing: JᵀJ weighs all classes alike.": lambda j, p: (
                np.einsum("nci,ncj->ij", j, j) / len(j)
            ),
            "Take the mean of Jᵀ(diag p − p pᵀ)J, not the product of the means.": lambda j, p: gauss_newton(
                j.mean(axis=0)[None], p.mean(axis=0)[None]
            ),
            "Each sample's own Jacobian stands on both sides: Σᵢ Jᵢᵀ(…)Jᵢ, and no pairs of samples.": lambda j, p: (
                np.einsum("nci,ncd,mdj->ij", j, _middle(p), j) / len(j)
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
            "The trace of Σ over λ² is missing.": lambda w, f, m, v: (
                laplace_kl(w, f, m, v) - 0.5 * np.trace(np.linalg.inv(m * f)) / v
            ),
            "−k is missing: the KL must vanish where the two agree.": lambda w, f, m, v: (
                laplace_kl(w, f, m, v) + 0.5 * len(w)
            ),
            "k log λ² is missing.": lambda w, f, m, v: laplace_kl(w, f, m, v) - 0.5 * len(w) * np.log(v),
            "log λ² comes once for each of the k weights.": lambda w, f, m, v: (
                laplace_kl(w, f, m, v) - 0.5 * (len(w) - 1) * np.log(v)
            ),
            "The weights' own ‖μ‖²/λ² is missing.": lambda w, f, m, v: (
                laplace_kl(w, f, m, v) - 0.5 * w @ w / v
            ),
            "log|mF| is missing.": lambda w, f, m, v: (
                laplace_kl(w, f, m, v) - 0.5 * np.linalg.slogdet(m * f)[1]
            ),
            "log|mF| = k log m + log|F|: the first part is missing, or has no k.": [
                lambda w, f, m, v: laplace_kl(w, f, m, v) - 0.5 * len(w) * np.log(m),
                lambda w, f, m, v: laplace_kl(w, f, m, v) - 0.5 * (len(w) - 1) * np.log(m),
            ],
            "The trace is of Σ = (mF)⁻¹: the m is missing there.": lambda w, f, m, v: (
                laplace_kl(w, f, m, v) + 0.5 * (1 - 1 / m) * np.trace(np.linalg.inv(f)) / v
            ),
            "That is the printed formula with λ² for all of its terms: −k and the trace are still missing.": (
                lambda w, f, m, v: _printed(w, f, m, v) + 0.5 * len(w) * np.log(v)
            ),
            "log|Σ| = −log|mF|: its sign is wrong.": lambda w, f, m, v: (
                laplace_kl(w, f, m, v) - np.linalg.slogdet(m * f)[1]
            ),
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
            "The I is missing: what the prior knows already is taken off twice.": lambda x, s, v: float(
                0.5 * np.linalg.slogdet(v * x.T @ x / s**2)[1]
            ),
            "That is the log-determinant of the Fisher matrix alone, with neither I nor λ².": [
                lambda x, s, v: float(0.5 * np.linalg.slogdet(x.T @ x / s**2)[1]),
                lambda x, s, v: float(0.5 * np.linalg.slogdet(x.T @ x / s**2 / len(x))[1]),
            ],
            "λ² is missing: a narrow prior leaves little to learn.": lambda x, s, v: regression_information(
                x, s, 1.0
            ),
            "prior_var is λ² already: do not square it.": lambda x, s, v: regression_information(x, s, v**2),
            "That is the determinant of the sum of I and the diagonal: the columns of x are not orthogonal.": (
                lambda x, s, v: float(0.5 * np.log(1 + v * (x**2).sum(axis=0) / s**2).sum())
            ),
        },
    ),
    "7.5": Exercise(
        1 / 16,
        mistakes={
            "A mean divides by 16, so its square by 256; but how many of the 256 terms remain?": 1 / 256,
            "A standard deviation falls with the root; the square of the mean is a variance.": 1 / 4,
            "Upside down: the estimate is too small, not too large.": 16.0,
            "Scores of different samples are independent with mean zero: they do not add up.": 1.0,
        },
        tolerance=1e-9,
        hint="Write the square of the mean as a sum over pairs of samples. Which of the pairs have the expectation 0?",
    ),
    "7.6": Exercise(
        45,
        mistakes={
            "Of each sample's ten scores only nine are independent: weighted by p they sum to zero.": 50,
            "Five is the rank of the *empirical* Fisher matrix.": 5,
            "There is one such relation for each sample, not one in all.": 49,
            "That is one sample's share; there are five.": [9, 10],
        },
        tolerance=1e-9,
        hint="F adds up five matrices, one for each sample. Each is spanned by ten scores with Σ p(y) s(y) = 0: "
        "how many of the ten are independent?",
    ),
    "7.7": Exercise(
        smallest_trace,
        lambda rng: (float(rng.uniform(0.1, 5)), float(rng.uniform(0.1, 5))),
        mistakes={
            "That is the trace at c = 1, before rescaling.": lambda a, b: a + b,
            "Half of it: both layers contribute √(ab) at the optimum.": lambda a, b: float(np.sqrt(a * b)),
            "That is c, or one of its powers, at the optimum: put it into the trace.": [
                lambda a, b: float((a / b) ** 0.25),
                lambda a, b: float((a / b) ** 0.5),
                lambda a, b: float(a / b),
            ],
            "Take the root of the product of the traces.": lambda a, b: 2 * a * b,
            "At the minimum c⁴ = a/b, not b/a.": lambda a, b: float(a * np.sqrt(a / b) + b * np.sqrt(b / a)),
        },
    ),
    "7.9": Exercise(
        zero_directions,
        lambda rng: (
            int(rng.integers(3, 20)),
            int(rng.integers(6, 12)),
            int(rng.integers(3, 10)),
            int(rng.integers(1, 5)),
        ),
        mistakes={
            "The softmax's own shift is missing: one number added to all of the output's biases.": (
                lambda i, h, c, d: zero_directions(i, h, c, d) - 1
            ),
            "A dead unit's bias is missing.": lambda i, h, c, d: zero_directions(i, h, c, d) - d,
            "A dead unit's outgoing weights are missing.": lambda i, h, c, d: (
                zero_directions(i, h, c, d) - d * c
            ),
            "The softmax's shift is missing for the weights from each live unit.": [
                lambda i, h, c, d: zero_directions(i, h, c, d) - (h - d),
                lambda i, h, c, d: zero_directions(i, h, c, d) - (h - d) - 1,
            ],
            "Those are the dead units' alone; the live ones can be rescaled, and the logits shifted.": (
                lambda i, h, c, d: d * (i + 1 + c)
            ),
            "A dead unit's weights are counted already: rescaling and shift add a direction for each live unit.": (
                lambda i, h, c, d: zero_directions(i, h, c, d) + 2 * d
            ),
            "That is the rank: how many directions have information.": lambda i, h, c, d: (
                (i + 1) * h + (h + 1) * c - zero_directions(i, h, c, d)
            ),
        },
    ),
}
