"""Chapter 3, the bottleneck: reference solutions, hidden inputs and the usual mistakes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2v.exercises import Exercise

Array = NDArray[np.float64]


def _information(joint: Array) -> float:
    """I of a joint distribution in bits."""
    product = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    use = joint > 0
    return float((joint[use] * np.log2(joint[use] / product[use])).sum())


def objective_bits(joint: Array, encoder: Array, beta: float) -> float:
    """3.1: I(T;X) − β I(T;Y) in bits for p(x, y), axis 0 is X, and rows q(t|x)."""
    prior = joint.sum(axis=1)
    return _information(prior[:, None] * encoder) - beta * _information(encoder.T @ joint)


def bottleneck_round(joint: Array, encoder: Array, beta: float) -> Array:
    """3.2: one Blahut–Arimoto round, from an encoder to the next; every joint probability is positive."""
    prior = joint.sum(axis=1)
    weights = prior @ encoder
    decoder = (encoder.T @ joint) / weights[:, None]
    logits = np.log(weights) + beta * (joint / prior[:, None]) @ np.log(decoder).T
    new = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(new / new.sum(axis=1, keepdims=True))


def critical_of_copy(wrong: float = 0.1) -> float:
    """3.3: the critical β of a fair bit and a copy that is wrong with this probability."""
    return 1 / (1 - 2 * wrong) ** 2


def critical_value(joint: Array) -> float:
    """3.4: 1/σ₂² of the normalised joint distribution."""
    scaled = joint / np.sqrt(np.outer(joint.sum(axis=1), joint.sum(axis=0)))
    return float(1 / np.linalg.svd(scaled, compute_uv=False)[1] ** 2)


def bits_about_the_cap(covered: float = 0.25) -> float:
    """3.5: I(T;N) of the minimal sufficient T, where a lens cap N covers the picture with this probability."""
    return float(-covered * np.log2(covered) - (1 - covered) * np.log2(1 - covered))


def gaussian_bits(rho: float, beta: float) -> float:
    """3.6: I(T;X) in bits of the bottleneck of two Gaussian numbers with correlation ρ."""
    if beta * rho**2 <= 1:
        return 0.0
    return 0.5 * math.log2((beta - 1) * rho**2 / (1 - rho**2))


def loss_bits(joint: Array, model: Array) -> float:
    """3.7: the cross-entropy of a decoder with the rows q(y|t), for p(t, y), in bits."""
    return float(-(joint * np.log2(model)).sum())


def _joint(rng: np.random.Generator, n: int | None = None, m: int | None = None) -> Array:
    shape = (n or int(rng.integers(3, 8)), m or int(rng.integers(2, 6)))
    masses = rng.exponential(size=shape) + 0.01
    return masses / masses.sum()


def _with_encoder(rng: np.random.Generator) -> tuple[Any, ...]:
    joint = _joint(rng)
    return joint, rng.dirichlet(np.ones(3), size=len(joint)), float(rng.uniform(2, 8))


def _alone(rng: np.random.Generator) -> tuple[Any, ...]:
    return (_joint(rng),)


def _two_numbers(rng: np.random.Generator) -> tuple[Any, ...]:
    rho = float(rng.uniform(0.2, 0.95))
    return rho, float(rng.uniform(0.6, 6)) / rho**2


def _joint_and_model(rng: np.random.Generator) -> tuple[Any, ...]:
    joint = _joint(rng)
    return joint, rng.dirichlet(np.ones(joint.shape[1]), size=len(joint)) * 0.99 + 0.01 / joint.shape[1]


def _linear_round(joint: Array, encoder: Array, beta: float) -> Array:
    """Return the round without the factor q(t): soft k-means, which knows no rate."""
    weights = joint.sum(axis=1) @ encoder
    new = bottleneck_round(joint, encoder, beta) / weights
    return np.asarray(new / new.sum(axis=1, keepdims=True))


def _unnormalised(joint: Array, encoder: Array, beta: float) -> Array:
    """Return the round without its Z(x)."""
    prior = joint.sum(axis=1)
    weights = prior @ encoder
    rows, decoder = joint / prior[:, None], (encoder.T @ joint) / weights[:, None]
    divergence = (rows[:, None] * np.log(rows[:, None] / decoder[None])).sum(axis=2)
    return np.asarray(weights * np.exp(-beta * divergence))


def _exchanged(joint: Array, encoder: Array, beta: float) -> Array:
    """Return the round with the two arguments of the divergence exchanged."""
    prior = joint.sum(axis=1)
    weights = prior @ encoder
    decoder = (encoder.T @ joint) / weights[:, None]
    rows = joint / prior[:, None]
    divergence = (decoder[None] * np.log(decoder[None] / rows[:, None])).sum(axis=2)
    new = weights * np.exp(-beta * divergence)
    return np.asarray(new / new.sum(axis=1, keepdims=True))


EXERCISES: dict[str, Exercise] = {
    "3.1": Exercise(
        objective_bits,
        _with_encoder,
        {
            "That is in nats: take the logarithm to base 2.": lambda j, e, b: (
                objective_bits(j, e, b) * math.log(2)
            ),
            "β belongs to I(T;Y) here; you multiplied I(T;X).": lambda j, e, b: (
                b * _information(j.sum(axis=1)[:, None] * e) - _information(e.T @ j)
            ),
            "The information that is kept lowers the objective: its sign is minus.": lambda j, e, b: (
                2 * _information(j.sum(axis=1)[:, None] * e) - objective_bits(j, e, b)
            ),
            "β is missing.": lambda j, e, b: objective_bits(j, e, 1.0),
            "β is upside down: it multiplies I(T;Y), you divide by it.": lambda j, e, b: objective_bits(
                j, e, 1 / b
            ),
            "The two informations are exchanged: I(T;X) is the price, I(T;Y) is what β pays for.": lambda j, e, b: (
                _information(e.T @ j) - b * _information(j.sum(axis=1)[:, None] * e)
            ),
            "Here β multiplies I(T;Y); you divide I(T;X) by it instead.": lambda j, e, b: (
                objective_bits(j, e, b) / b
            ),
            "In place of I(T;X) that has I(X;Y), which no encoder changes.": lambda j, e, b: (
                _information(j) - b * _information(e.T @ j)
            ),
        },
    ),
    "3.2": Exercise(
        bottleneck_round,
        _with_encoder,
        {
            "The factor q(t) is missing: that is soft k-means, which pays nothing for clusters.": _linear_round,
            "The arguments of the divergence are exchanged: it is KL(p(y|x)‖q(y|t)).": _exchanged,
            "β is missing in the exponent.": lambda j, e, b: bottleneck_round(j, e, 1.0),
            "The divergence is in bits, and the exponential is of nats: β grows by 1/log 2.": lambda j, e, b: (
                bottleneck_round(j, e, b / math.log(2))
            ),
            "The exponent is −β KL: clusters that predict badly get less.": lambda j, e, b: bottleneck_round(
                j, e, -b
            ),
            "The rows do not sum to 1: divide by Z(x), the sum over t.": _unnormalised,
            "Z belongs to x: normalise over t, the second axis, not over x.": lambda j, e, b: (
                _unnormalised(j, e, b) / _unnormalised(j, e, b).sum(axis=0)
            ),
        },
    ),
    "3.3": Exercise(
        critical_of_copy(),
        mistakes={
            "That is 1/σ₂: the information of a small disturbance goes with the square.": 1.25,
            "That is σ₂²: the critical β is its inverse.": 0.64,
            "σ₂ is 1 − 2ε, the correlation, and not 1 − ε.": [1 / 0.81, 1 / 0.9],
            "That is σ₂: the critical β is the inverse of its square.": 0.8,
            "The first singular value is 1, always: take the second.": 1.0,
        },
        tolerance=2e-3,
        hint="The normalised matrix has 0.9 on the diagonal and 0.1 off it. What does it do to (1, −1)? "
        "That factor is σ₂, and the price is 1/σ₂².",
    ),
    "3.4": Exercise(
        critical_value,
        _alone,
        {
            "That is 1/σ₂: square the singular value.": lambda j: math.sqrt(critical_value(j)),
            "That is σ₂²: invert it.": lambda j: 1 / critical_value(j),
            "The first singular value is 1, always: take the second.": lambda j: 1.0,
            "Divide by the square root of p(x) p(y) before taking singular values.": lambda j: float(
                1 / np.linalg.svd(j, compute_uv=False)[1] ** 2
            ),
            "Divide by the square root of p(x) p(y), not by p(x) p(y) itself.": lambda j: float(
                1 / np.linalg.svd(j / np.outer(j.sum(axis=1), j.sum(axis=0)), compute_uv=False)[1] ** 2
            ),
            "Divide by the roots of both margins, not by one margin.": [
                lambda j: float(1 / np.linalg.svd(j / j.sum(axis=1)[:, None], compute_uv=False)[1] ** 2),
                lambda j: float(1 / np.linalg.svd(j / j.sum(axis=0), compute_uv=False)[1] ** 2),
            ],
            "That belongs to the smallest singular value; take the second largest.": lambda j: float(
                1
                / np.linalg.svd(j / np.sqrt(np.outer(j.sum(axis=1), j.sum(axis=0))), compute_uv=False)[-1]
                ** 2
            ),
        },
    ),
    "3.5": Exercise(
        bits_about_the_cap(),
        mistakes={
            "That is I(T;Y): what the pictures tell about the label.": 0.75,
            "That would be T = constant, which is not sufficient.": 0.0,
            "That is right in nats: divide by log 2.": bits_about_the_cap() * math.log(2),
            "That is I(T;X), the entropy of all three pictures.": 0.75 + bits_about_the_cap(),
            "That is how often the cap is on, not the entropy of that.": 0.25,
            "That would be a cap that is on half of the time.": 1.0,
            "That is one of the two terms of H(N): the other case has a surprise too.": [
                0.25 * math.log2(4),
                0.75 * math.log2(4 / 3),
            ],
        },
        tolerance=5e-3,
        hint="The minimal sufficient T tells cat, dog and black apart, so the cap is a function of it, and "
        "I(T;N) = H(N): the entropy of a coin with ¼ and ¾.",
        unit="bits",
    ),
    "3.6": Exercise(
        gaussian_bits,
        _two_numbers,
        {
            "That is in nats: take the logarithm to base 2.": lambda r, b: gaussian_bits(r, b) * math.log(2),
            "Below the critical β nothing is kept: return 0 there.": lambda r, b: (
                0.5 * math.log2((b - 1) * r**2 / (1 - r**2)) if b > 1 else 0.0
            ),
            "The factor ½ is missing.": lambda r, b: 2 * gaussian_bits(r, b),
            "ρ enters as its square, ρ².": [
                lambda r, b: 0.5 * math.log2((b - 1) * r / (1 - r)) if b * r**2 > 1 else 0.0,
                lambda r, b: 0.5 * math.log2((b - 1) * r / (1 - r)) if b * r > 1 else 0.0,
                lambda r, b: 0.5 * math.log2(max((b - 1) * r / (1 - r), 1)),
            ],
            "That is I(X;Y), what there is to know; how much of it is kept depends on β.": lambda r, b: (
                -0.5 * math.log2(1 - r**2)
            ),
            "That is I(T;Y): I(T;X) is larger by ½ log βρ².": lambda r, b: (
                gaussian_bits(r, b) - 0.5 * math.log2(max(b * r**2, 1))
            ),
        },
    ),
    "3.7": Exercise(
        loss_bits,
        _joint_and_model,
        {
            "That is in nats: take the logarithm to base 2.": lambda j, q: loss_bits(j, q) * math.log(2),
            "The expectation is under p(t, y), the truth, and not under the model.": lambda j, q: float(
                -(j.sum(axis=1)[:, None] * q * np.log2(q)).sum()
            ),
            "That is the bound's other side, H(Y|T): use the model's q inside the logarithm.": lambda j, q: (
                loss_bits(j, j / j.sum(axis=1, keepdims=True))
            ),
            "Clusters count as often as they occur: weigh them by q(t), not equally.": lambda j, q: loss_bits(
                j / j.sum(axis=1, keepdims=True) / len(j), q
            ),
            "The sign is wrong: a surprise is −log q.": lambda j, q: -loss_bits(j, q),
        },
    ),
}
