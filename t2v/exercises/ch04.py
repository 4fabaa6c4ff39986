"""Self-checking exercises of chapter 4: the bottleneck Lagrangian in networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, rel_entr, xlogy

from t2v.exercises import Exercise

Floats = NDArray[np.float64]


def gaussian_kl(mean: Floats, log_var: Floats) -> Floats:
    """KL(N(mean, diag e^log_var) ‖ N(0, I)) in nats, one value a row."""
    return np.asarray(0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum(axis=1))


def slack(p_x: Floats, channel: Floats, prior: Floats) -> float:
    """E KL(p(t|x) ‖ r(t)) − I(T;X) in bits: the KL of the marginal p(t) to the prior."""
    return float(rel_entr(p_x @ channel, prior).sum() / np.log(2))


def _rate(p_x: Floats, channel: Floats, prior: Floats) -> float:
    return float((p_x[:, None] * rel_entr(channel, prior)).sum() / np.log(2))


def log_normal_kl(signal: float, alpha: float, mu: float, sigma: float) -> float:
    """KL(logN(log signal, alpha²) ‖ logN(mu, sigma²)) in nats."""
    gap = np.log(signal) - mu
    return float((alpha**2 + gap**2) / (2 * sigma**2) - np.log(alpha / sigma) - 0.5)


def label_bits(logits: Floats, labels: NDArray[np.int64]) -> float:
    """H(Y) − H_{p,q}(Y|T) in bits: the lower bound of I(T;Y) that a decoder's logits give."""
    p = np.bincount(labels) / len(labels)
    log_q = logits - logsumexp(logits, axis=1, keepdims=True)
    return float((log_q[np.arange(len(labels)), labels].mean() - xlogy(p, p).sum()) / np.log(2))


def _entropy(labels: NDArray[np.int64]) -> float:
    p = np.bincount(labels) / len(labels)
    return float(-xlogy(p, p).sum() / np.log(2))


def gaussian_bits(signal_var: Floats, noise_var: Floats) -> float:
    """I(X;T) in bits of independent channels T_i = X_i + noise_i."""
    return float(0.5 * np.log2(1 + signal_var / noise_var).sum())


def dropout_bits(entropy: float, p_drop: float, copies: int) -> float:
    """I(X;T) in bits when a discrete X is written into so many units, each dropped with probability p."""
    return float(entropy * (1 - p_drop**copies))


def _pair(rng: np.random.Generator) -> tuple[Floats, Floats]:
    return rng.normal(size=(6, 3)), rng.normal(size=(6, 3))


def _logits(rng: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """Return 30 labels and a decoder's logits; every other decoder is confident and wrong."""
    labels = np.concatenate([np.arange(4), rng.integers(4, size=26)])
    told = labels if rng.random() < 0.5 else (labels + 1) % 4
    return rng.normal(size=(30, 4)) + 2 * np.eye(4)[told], labels


def _channel(rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    return rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4), size=3), rng.dirichlet(np.ones(4))


EXERCISES = {
    "4.1": Exercise(
        gaussian_kl,
        _pair,
        {
            "That is the mean over the components; the KL of independent components adds up.": lambda m, v: (
                gaussian_kl(m, v) / m.shape[1]
            ),
            "One total for all rows: keep one value a row (sum over axis 1).": lambda m, v: gaussian_kl(
                m, v
            ).sum(),
            "log_var was taken for a standard deviation's logarithm.": lambda m, v: gaussian_kl(m, 2 * v),
            "The sign of log σ² is wrong: a narrow code is dear, so −log σ² is in the price.": lambda m, v: (
                gaussian_kl(m, v) + v.sum(axis=1)
            ),
            "The −1 of each component is missing: the KL must vanish for N(0, I).": lambda m, v: (
                gaussian_kl(m, v) + 0.5 * m.shape[1]
            ),
            "One −1 for each component, not one for each row.": lambda m, v: (
                gaussian_kl(m, v) + 0.5 * (m.shape[1] - 1)
            ),
            "The half is missing.": lambda m, v: 2 * gaussian_kl(m, v),
            "The mean enters as its square.": lambda m, v: gaussian_kl(m, v) + 0.5 * (m - m**2).sum(axis=1),
            "That is KL(N(0, I) ‖ code): the code comes first.": lambda m, v: (
                0.5 * ((1 + m**2) * np.exp(-v) - 1 + v).sum(axis=1)
            ),
        },
    ),
    "4.2": Exercise(
        slack,
        _channel,
        {
            "That is the rate E KL(p(t|x) ‖ r); subtract I(T;X).": _rate,
            "Nats: divide by log 2.": lambda p, c, r: slack(p, c, r) * np.log(2),
            "KL is not symmetric: the marginal p(t) comes first.": lambda p, c, r: float(
                rel_entr(r, p @ c).sum() / np.log(2)
            ),
            "That is I(X;T) itself; asked is by how much the rate exceeds it.": lambda p, c, r: _rate(
                p, c, p @ c
            ),
            "Weigh the rows of the channel by p(x) to get p(t), not equally.": lambda p, c, r: float(
                rel_entr(c.mean(axis=0), r).sum() / np.log(2)
            ),
        },
    ),
    "4.3": Exercise(
        log_normal_kl,
        lambda rng: (rng.uniform(0.2, 3), rng.uniform(0.1, 0.7), rng.normal(), rng.uniform(0.3, 1.5)),
        {
            "The mean of log T is log signal, not signal.": lambda s, a, m, g: log_normal_kl(
                np.exp(s), a, m, g
            ),
            "The −½ is missing: the KL must vanish where the two laws agree.": lambda s, a, m, g: (
                log_normal_kl(s, a, m, g) + 0.5
            ),
            "alpha was taken for a variance: it is the standard deviation of log ε.": lambda s, a, m, g: (
                log_normal_kl(s, np.sqrt(a), m, g)
            ),
            "sigma was taken for a variance: it is a standard deviation.": lambda s, a, m, g: log_normal_kl(
                s, a, m, np.sqrt(g)
            ),
            "Both alpha and sigma were taken for variances: they are standard deviations.": lambda s, a, m, g: (
                log_normal_kl(s, np.sqrt(a), m, np.sqrt(g))
            ),
            "The sign of the logarithm is wrong: it is −log(α/σ).": lambda s, a, m, g: (
                log_normal_kl(s, a, m, g) + 2 * np.log(a / g)
            ),
            "That is the KL the other way round: the noisy signal comes first.": lambda s, a, m, g: (
                log_normal_kl(np.exp(m), g, np.log(s), a)
            ),
        },
    ),
    "4.4": Exercise(
        label_bits,
        _logits,
        {
            "Nats: divide by log 2.": lambda z, y: label_bits(z, y) * np.log(2),
            "H(Y) is missing: that is minus the cross-entropy.": lambda z, y: label_bits(z, y) - _entropy(y),
            "The sign of the cross-entropy is wrong.": lambda z, y: 2 * _entropy(y) - label_bits(z, y),
            "Units are mixed: H(Y) is in bits and the cross-entropy in nats.": lambda z, y: (
                _entropy(y) + (label_bits(z, y) - _entropy(y)) * np.log(2)
            ),
            "Units are mixed: H(Y) is in nats and the cross-entropy in bits.": lambda z, y: (
                _entropy(y) * np.log(2) + label_bits(z, y) - _entropy(y)
            ),
            "The bound can be negative, where the decoder is worse than the label frequencies: do not cut it off.": (
                lambda z, y: max(0.0, label_bits(z, y))
            ),
            "The bound can be negative, where the decoder is worse than the label frequencies: take no absolute value.": (
                lambda z, y: abs(label_bits(z, y))
            ),
            "The sign of the whole is wrong: a good decoder proves much.": lambda z, y: -label_bits(z, y),
            "H(Y) is that of the label frequencies, not the logarithm of the number of classes.": lambda z, y: (
                label_bits(z, y) - _entropy(y) + float(np.log2(z.shape[1]))
            ),
            "The logits are not normalised: subtract their logsumexp, row by row.": lambda z, y: float(
                _entropy(y) + z[np.arange(len(y)), y].mean() / np.log(2)
            ),
            "Normalise over the classes, the second axis, not over the samples.": lambda z, y: float(
                _entropy(y) + (z - logsumexp(z, axis=0))[np.arange(len(y)), y].mean() / np.log(2)
            ),
        },
    ),
    "4.5": Exercise(
        gaussian_bits,
        lambda rng: (rng.uniform(0.1, 4, 5), rng.uniform(0.1, 4, 5)),
        {
            "The factor ½ is missing.": lambda s, n: 2 * gaussian_bits(s, n),
            "Nats: use log2.": lambda s, n: gaussian_bits(s, n) * np.log(2),
            "Signal and noise are swapped.": lambda s, n: gaussian_bits(n, s),
            "Bits of the components add, not their powers.": lambda s, n: float(
                0.5 * np.log2(1 + s.sum() / n.sum())
            ),
            "The 1 is missing: without a signal there is no information.": lambda s, n: float(
                0.5 * np.log2(s / n).sum()
            ),
            "These are variances already: do not square them.": lambda s, n: gaussian_bits(s**2, n**2),
        },
    ),
    "4.6": Exercise(
        dropout_bits,
        lambda rng: (rng.uniform(1, 8), rng.uniform(0.1, 0.9), int(rng.integers(2, 9))),
        {
            "One copy that survives is enough: all must be dropped for X to be lost.": lambda h, p, d: (
                h * (1 - p) ** d
            ),
            "That is one unit's share; several copies are lost less often.": lambda h, p, d: h * (1 - p),
            "That is what is lost; asked is what arrives.": lambda h, p, d: h * p**d,
            "p is the probability of being dropped, not of being kept.": lambda h, p, d: (
                h * (1 - (1 - p) ** d)
            ),
            "A second copy of what has arrived adds nothing: bits of copies do not add up.": lambda h, p, d: (
                h * d * (1 - p)
            ),
        },
    ),
}
