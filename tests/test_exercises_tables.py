"""Answers to the exercises as students write them, in their own style: right ones pass, wrong ones are named.

Nothing here is taken from ``t2v.exercises``: right answers go by another route than the references (loops, SciPy,
quadrature, other identities), and wrong answers are whole functions with one slip, not edits of the reference.
Each is tried on the hidden inputs of 20 seeds.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy import special, stats
from scipy.spatial.distance import cosine

from t2v import exercises

SEEDS = range(20)
LN2 = math.log(2)


# -- right answers ------------------------------------------------------------------------------------------------


def normed(p, q=None, base=math.e, axis=0):
    """Do what ``scipy.stats.entropy`` does, entropy or divergence of masses that need not sum to 1, and faster."""
    p = np.asarray(p, float) / np.sum(p, axis=axis, keepdims=True)
    if q is None:
        return special.entr(p).sum(axis) / math.log(base)
    return special.rel_entr(p, q / np.sum(q, axis=axis, keepdims=True)).sum(axis) / math.log(base)


def looped_information(joint, base=2.0):
    total = 0.0
    for i, j in itertools.product(*map(range, np.shape(joint))):
        if joint[i][j]:
            total += joint[i][j] * math.log(joint[i][j] / sum(joint[i]) / sum(row[j] for row in joint))
    return total / math.log(base)


def miller_madow(table):
    def corrected(counts):
        counts = np.asarray(counts).ravel()
        counts = counts[counts > 0]
        return normed(counts) + (len(counts) - 1) / (2 * counts.sum())

    return (corrected(table.sum(0)) + corrected(table.sum(1)) - corrected(table)) / LN2


def round_by_loops(joint, encoder, beta):
    p_x, (n, k) = joint.sum(1), encoder.shape
    q_t = [sum(p_x[x] * encoder[x, t] for x in range(n)) for t in range(k)]
    new = np.empty((n, k))
    for x, t in itertools.product(range(n), range(k)):
        q_y = sum(joint[i] * encoder[i, t] for i in range(n)) / q_t[t]
        new[x, t] = q_t[t] * math.exp(-beta * normed(joint[x], q_y))
    return [row / sum(row) for row in new]


def second_by_eigenvalues(joint):
    forth = joint / joint.sum(1, keepdims=True)
    back = (joint / joint.sum(0)).T
    return 1 / np.sort(np.linalg.eigvals(forth @ back).real)[-2]


def log_normal_by_quadrature(signal, alpha, mu, sigma):
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    z = np.log(signal) + alpha * nodes
    ratio = stats.norm.logpdf(z, np.log(signal), alpha) - stats.norm.logpdf(z, mu, sigma)
    return weights @ ratio / math.sqrt(2 * math.pi)


def label_bits_by_loop(logits, labels):
    bits = 0.0
    for row, y in zip(logits, labels, strict=True):
        bits += math.log2(special.softmax(row)[y] / np.mean(labels == y))
    return bits / len(labels)


def gauss_newton_by_scores(jacobian, probabilities):
    total = 0.0
    for j, p in zip(jacobian, probabilities, strict=True):
        for y, p_y in enumerate(p):
            score = j[y] - p @ j
            total = total + p_y * np.outer(score, score)
    return total / len(jacobian)


def laplace_by_eigenvalues(mean, fisher, m, prior_var):
    eigen = np.linalg.eigvalsh(fisher) * m * prior_var
    return (np.log(eigen) + 1 / eigen - 1).sum() / 2 + mean @ mean / 2 / prior_var


def regression_by_singular_values(x, sigma, prior_var):
    return np.log1p(prior_var * (np.linalg.svd(x)[1] / sigma) ** 2).sum() / 2


def spread(p, a):
    return p @ a**2 - (p @ a) ** 2


def noise_by_enumeration(p, a, centre=True):
    """Square the score of every label and of every choice of signs; without centring, forget the mean of the logits."""
    shift = p @ a if centre else 0.0
    labels = [(a[y] - shift) ** 2 for y in range(len(p))]
    signs = itertools.product([1, -1], repeat=len(p))
    roots = [sum(r * math.sqrt(q) * (b - shift) for r, q, b in zip(s, p, a, strict=True)) ** 2 for s in signs]
    mean = np.average(labels, weights=p)
    return [np.average(np.square(labels), weights=p) / mean**2 - 1, np.var(roots) / np.mean(roots) ** 2]


def root_by_matrix(p, signs):
    return (np.eye(len(p)) - np.outer(p, np.ones(len(p)))) @ np.diag(np.sqrt(p)) @ signs


def partial_by_residuals(x, y, z):
    rx, ry, rz = (stats.rankdata(v) for v in (x, y, z))
    left = [r - np.polyval(np.polyfit(rz, r, 1), rz) for r in (rx, ry)]
    return stats.pearsonr(*left).statistic


def jensen_shannon_by_entropies(f_a, f_b):
    p, q = f_a / f_a.sum(), f_b / f_b.sum()
    return normed((p + q) / 2) - (normed(p) + normed(q)) / 2


def nearest_by_loop(d, labels):
    hits = 0
    for i in range(len(d)):
        best = min((j for j in range(len(d)) if j != i), key=lambda j: d[i, j])
        hits += labels[best] == labels[i]
    return hits / len(d)


def curve_by_loop(d, tree, k):
    values = []
    for i in range(len(d)):
        near = sorted((j for j in range(len(d)) if j != i), key=lambda j: d[i, j])[:k]
        values += [tree[i, j] for j in near]
    return sum(values) / len(values)


def centred_by_means(d):
    s = d**2
    return -(s - s.mean(0) - s.mean(1)[:, None] + s.mean()) / 2


def leep_by_loops(theta, labels, rows=False):
    n, classes = theta.shape
    joint = [
        [sum(theta[i, z] for i in range(n) if labels[i] == y) / n for z in range(classes)]
        for y in set(labels)
    ]
    whole = [[sum(row) if rows else sum(r[z] for r in joint) for z in range(classes)] for row in joint]
    given = [[p / w for p, w in zip(row, wide, strict=True)] for row, wide in zip(joint, whole, strict=True)]
    return sum(math.log(sum(given[labels[i]][z] * theta[i, z] for z in range(classes))) for i in range(n)) / n


def one_hot(labels):
    found, places = np.unique(labels, return_inverse=True)
    return np.eye(len(found))[places]


def crossed_by_counting(distances, errors, takes=lambda a, b: a != b):
    targets, sources, seeds = errors.shape
    taus = []
    for a, b in itertools.product(range(seeds), repeat=2):
        for t in range(targets) if takes(a, b) else ():
            agree = [
                np.sign((distances[t, i, a] - distances[t, j, a]) * (errors[t, i, b] - errors[t, j, b]))
                for i, j in itertools.combinations(range(sources), 2)
            ]
            taus.append(np.mean(agree))
    return np.mean(taus)


def symmetric_by_scipy(f_a, f_b):
    use = f_a + f_b != 0
    return cosine(f_a[use] / (f_a + f_b)[use], f_b[use] / (f_a + f_b)[use])


def moments_by_loop(x, weight, weight_var):
    means = [sum(w * v for w, v in zip(row, x, strict=True)) for row in weight]
    return means, [sum(s * v * v for s, v in zip(row, x, strict=True)) for row in weight_var]


def tempered(log_likelihood, prior, beta):
    return special.softmax(np.log(prior) + np.divide(log_likelihood, beta), axis=1)


def kl_of_normals(mean, log_var, prior_var):
    s = np.exp(log_var / 2)
    per = np.log(np.sqrt(prior_var) / s) + (s**2 + mean**2) / (2 * prior_var) - 0.5
    return sum(per)


def conditional_by_slices(joint):
    return sum(t.sum() * looped_information(t / t.sum()) for t in joint)


def labels_by_set(predictions):
    return len({tuple(row) for row in predictions})


def best_fits(predictions, signs):
    return np.mean([max(np.mean(h * s) for h in predictions) for s in signs])


def null_by_rank(inputs, hidden, classes, dead):
    """All weights less the rank: the live units' weights less two a unit, and the output's biases less one."""
    live = hidden - dead
    weights = (inputs + 1) * hidden + (hidden + 1) * classes
    return weights - ((inputs + classes + 1 - 2) * live + classes - 1)


def upper(*matrices):
    return [m[np.triu_indices(len(m), 1)] for m in matrices]


RIGHT: dict[str, list[Any]] = {
    "1.1": [
        lambda p: special.entr(p).sum() / LN2,
        lambda p: stats.entropy(p, base=2),
        lambda p: -(p * np.log2(np.where(p > 0, p, 1))).sum(),
        lambda p: -sum(x * math.log2(x) for x in p.tolist() if x != 0),
    ],
    "1.2": [
        lambda p, q: special.rel_entr(p, q).sum() / LN2,
        lambda p, q: stats.entropy(p, q, base=2),
        lambda p, q: sum(a * math.log2(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True) if a > 0),
        lambda p, q: (p[p > 0] * (np.log2(p[p > 0]) - np.log2(q[p > 0]))).sum(),
    ],
    "1.3": [
        lambda j: normed(j.sum(1), base=2) - looped_information(j),
        lambda j: sum(c.sum() * normed(c, base=2) for c in j.T if c.any()),
    ],
    "1.4": [0.28, 0.2781, np.array(0.278)],
    "1.5": [lambda j, c: looped_information(np.einsum("xy,xt->ty", j, c))],
    "1.6": [miller_madow],
    "1.7": [4096, 2.0**12],
    "2.1": [lambda s, d, m: (-math.log(d / 2 / math.exp(s)) / 2 / m) ** 0.5],
    "2.2": [427, 427.0],
    "2.3": [lambda s, d, m: -math.log(d / math.exp(s)) / m],
    "2.4": [lambda b, d, m: (-math.log(d * 0.5**b) / 2 / m) ** 0.5],
    "2.5": [best_fits],
    "2.6": [labels_by_set],
    "3.1": [
        lambda j, e, b: (
            looped_information(j.sum(1)[:, None] * e) - b * looped_information(np.einsum("xy,xt->ty", j, e))
        )
    ],
    "3.2": [round_by_loops],
    "3.3": [1.5625, 1.56],
    "3.4": [second_by_eigenvalues],
    "3.5": [0.81, 0.8113],
    "3.6": [
        lambda r, b: max(0.0, 0.5 * math.log2(max(b - 1, 1e-300) / (1 / r**2 - 1))),
        lambda r, b: 0.0 if b < 1 / r**2 else 0.5 * np.log((b - 1) / (r**-2 - 1)) / LN2,
    ],
    "3.7": [
        lambda j, q: (
            sum(
                float(row.sum() * (normed(row / row.sum()) + normed(row / row.sum(), guess)))
                for row, guess in zip(j, q, strict=True)
            )
            / LN2
        )
    ],
    "4.1": [lambda m, v: [kl_of_normals(a, b, 1.0) for a, b in zip(m, v, strict=True)]],
    "4.2": [
        lambda p, c, r: (
            sum(w * normed(row, r, base=2) for w, row in zip(p, c, strict=True))
            - looped_information(p[:, None] * c)
        )
    ],
    "4.3": [log_normal_by_quadrature],
    "4.4": [label_bits_by_loop],
    "4.5": [lambda s, n: math.log2(np.prod((s + n) / n)) / 2],
    "4.6": [lambda h, p, d: h - h * math.exp(d * math.log(p))],
    "5.1": [lambda c: normed(np.bincount(c), base=2)],
    "5.2": [
        lambda t, v: (
            -np.mean([math.log2(np.mean([math.exp(-((a - b) @ (a - b)) / v / 2) for b in t])) for a in t])
        )
    ],
    "5.3": [lambda path: max(x - path[-1] for x in path)],
    "5.4": [lambda i, e, d: (2**i * LN2 - math.log(d)) / e**2 / 2],
    "5.5": [lambda c: math.log2(math.factorial(int(sum(c))) // math.prod(math.factorial(int(n)) for n in c))],
    "5.6": [lambda y, b: b * normed(np.unique(y, return_counts=True)[1], base=2)],
    "6.1": [conditional_by_slices],
    "6.2": [tempered],
    "6.3": [kl_of_normals],
    "6.4": [lambda m, v: (m @ m + np.exp(v).sum()) / len(m)],
    "6.5": [moments_by_loop],
    "6.6": [460.5, 460.517],
    "6.7": [lambda k, m, d: -math.expm1(-(k + math.log(2 / d) + math.log(m) / 2) / m)],
    "7.1": [lambda z: np.cov(np.eye(len(z)), aweights=special.softmax(z), bias=True)],
    "7.2": [gauss_newton_by_scores],
    "7.3": [laplace_by_eigenvalues],
    "7.4": [regression_by_singular_values],
    "7.5": [0.0625],
    "7.6": [45],
    "7.7": [lambda a, b: 2 * math.exp((math.log(a) + math.log(b)) / 2)],
    "7.9": [null_by_rank],
    "8.1": [lambda f: f.reshape(len(f), -1).mean(1), lambda f: [one.mean() for one in f]],
    "8.2": [lambda z: np.mean([p @ (1 - p) for p in special.softmax(z, axis=1)])],
    "8.3": [0.707, 0.7071],
    "8.4": [root_by_matrix],
    "8.5": [partial_by_residuals],
    "8.6": [lambda v: stats.sem(v) / v.mean(0)],
    "8.7": [noise_by_enumeration, lambda p, a: tuple(noise_by_enumeration(p, a))],
    "9.1": [0.6],
    "9.2": [jensen_shannon_by_entropies],
    "9.3": [nearest_by_loop],
    "9.4": [curve_by_loop],
    "9.5": [centred_by_means],
    "9.6": [0.2],
    "9.9": [lambda a, b, c: partial_by_residuals(*upper(a, b, c))],
    "10.1": [0.4],
    "10.2": [leep_by_loops],
    "10.3": [lambda s, t, r, a: symmetric_by_scipy(s, t) - a * symmetric_by_scipy(s, r)],
    "10.4": [crossed_by_counting],
    "10.5": [0.12],
    "10.6": [lambda d, e: (e[np.argsort(d)[0]] - min(e)) / min(e)],
}


# -- wrong answers ------------------------------------------------------------------------------------------------


def pearson_given(x, y, z):
    """Return the partial correlation of values, not of ranks."""
    x, y, z = (v - v.mean() for v in (x, y, z))
    x, y = (v - z * (v @ z) / (z @ z) for v in (x, y))
    return x @ y / math.sqrt((x @ x) * (y @ y))


def entropy_of(p, log=np.log2):
    p = p[p > 0]
    return -(p * log(p)).sum()


def kl_masked(p, q, log=np.log2):
    return (p[p > 0] * log(p[p > 0] / q[p > 0])).sum()


def kl_unmasked(p, q, log=np.log2):
    return (p * log(p / q)).sum()


def bits_of(joint):
    return normed(joint.sum(0), base=2) + normed(joint.sum(1), base=2) - normed(joint.ravel(), base=2)


def corrected(table, unit=LN2, ones=1, halves=2):
    n, seen = table.sum(), [np.count_nonzero(c) for c in (table.sum(1), table.sum(0), table)]
    return bits_of(table / n) + (seen[0] + seen[1] - seen[2] - ones) / (halves * n) / unit


def objective(j, e, log_base=2.0):
    scale = math.log2(log_base)
    return bits_of(j.sum(1)[:, None] * e) / scale, bits_of(e.T @ j) / scale


def svd_of(matrix, place=1, power=2):
    return 1 / np.linalg.svd(matrix, compute_uv=False)[place] ** power


def normalised(j):
    return j / np.sqrt(np.outer(j.sum(1), j.sum(0)))


def gaussian(r, b):
    return 0.5 * math.log2((b - 1) * r / (1 - r)) if b * r > 1 else 0.0


def encoder_kl(m, v):
    return 0.5 * (np.exp(v) + m**2 - 1 - v)


def decoder(z, y, h_unit=LN2, q_unit=LN2):
    p = np.bincount(y) / len(y)
    log_q = z - special.logsumexp(z, axis=1, keepdims=True)
    return special.entr(p).sum() / h_unit + log_q[np.arange(len(y)), y].mean() / q_unit


def weights_kl(m, v, lam):
    return 0.5 * ((np.exp(v) + m**2) / lam - 1 + np.log(lam) - v).sum()


def laplace_terms(w, f, m, v):
    sigma = np.linalg.inv(m * f)
    terms = [-np.linalg.slogdet(sigma)[1], len(w) * np.log(v), w @ w / v, np.trace(sigma) / v, -len(w)]
    return np.array(terms) / 2


def without(place):
    return lambda *arguments: np.delete(laplace_terms(*arguments), place).sum()


def ranked(x, y, z):
    return np.corrcoef([stats.rankdata(v) for v in (x, y, z)])


def farthest_barred(d):
    return d + np.diag(np.full(len(d), np.inf))


def d_asym(s, t, r, a):
    return symmetric_by_scipy(s, t) - a * symmetric_by_scipy(s, r)


Wrong = list[tuple[Any, str]]
NATS, SIGN, TWICE, HALF = "in nats", "sign is wrong", "twice what it should be", "half of what it should be"

WRONG: dict[str, Wrong] = {
    "1.1": [
        (lambda p: entropy_of(p, np.log), NATS),
        (lambda p: -entropy_of(p), SIGN),
        (lambda p: -entropy_of(p, np.log), "Two things at once: the sign is wrong, and it is in nats"),
        (lambda p: entropy_of(p, np.log10), "base 10"),
        (lambda p: -(p * np.log2(p + 1e-6)).sum(), "A floor was added"),
        (lambda p: entropy_of(np.clip(p, 1e-6, 1)), "A floor was added"),
        (lambda p: -(p * np.log2(p + 3e-5)).sum(), "a floor in a logarithm"),
        (lambda p: -(p * np.log2(p)).sum(), "not finite"),
        (lambda p: -np.log2(p[p > 0]).mean(), "each counted once"),
        (lambda p: np.log2(np.count_nonzero(p)), "Not yet: for one hidden input you gave"),
    ],
    "1.2": [
        (lambda p, q: kl_masked(p, q, np.log), NATS),
        (lambda p, q: (q[p > 0] * np.log2(q[p > 0] / p[p > 0])).sum(), "the other way round"),
        (lambda p, q: kl_unmasked(q, p), "the other way round"),
        (lambda p, q: special.rel_entr(q, p).sum() / LN2, "the other way round"),
        (lambda p, q: (q[p > 0] * np.log(q[p > 0] / p[p > 0])).sum(), "the other way round"),
        (lambda p, q: (p[p > 0] * np.log2(q[p > 0] / p[p > 0])).sum(), SIGN),
        (lambda p, q: (p[p > 0] * np.log(q[p > 0] / p[p > 0])).sum(), "Two things at once"),
        (lambda p, q: -(p * np.log2(q)).sum(), "cross-entropy"),
        (lambda p, q: -(p * np.log(q)).sum(), "cross-entropy"),
        (kl_unmasked, "not finite"),
        (lambda p, q: kl_unmasked(p + 1e-6, q + 1e-6), "A floor was added"),
    ],
    "1.3": [
        (lambda j: normed(j.ravel(), base=2) - normed(j.sum(1), base=2), "That is H(Y|X)"),
        (lambda j: normed(j.ravel(), base=2), "That is H(X, Y)"),
        (bits_of, "That is I(X;Y)"),
        (lambda j: normed(j.ravel()) - normed(j.sum(0)), NATS),
        (lambda j: normed(j.sum(0), base=2) - normed(j.ravel(), base=2), SIGN),
        (lambda j: normed(j.ravel()) - normed(j.sum(1)), "That is H(Y|X)"),
    ],
    "1.4": [
        (0.722, "H(X|Y)"),
        (0.1927, NATS),
        (0.19, NATS),
        (-0.278, SIGN),
        (27.8, "per cent"),
        (0.139, HALF),
        (0.8, "faithful copy"),
        (-0.1927, "Two things at once"),
    ],
    "1.5": [
        (lambda j, c: bits_of(np.diag(j.sum(1)) @ c), "That is I(X;T)"),
        (lambda j, c: bits_of(j @ c), "axes of joint are swapped"),
        (lambda j, c: bits_of(j.T @ c) * LN2, NATS),
        (lambda j, c: -bits_of(j.T @ c) * LN2, "Two things at once"),
    ],
    "1.6": [
        (lambda t: corrected(t, ones=0), "−1 of each correction is missing"),
        (lambda t: corrected(t, unit=1), "correction is in nats"),
        (lambda t: corrected(t, halves=1), "the 2 is missing"),
        (lambda t: max(corrected(t), 0.0), "can be negative"),
        (lambda t: abs(corrected(t)), "absolute value"),
        (lambda t: bits_of(t / t.sum()), "without its correction"),
        (lambda t: 2 * bits_of(t / t.sum()) - corrected(t), "signs are turned"),
    ],
    "1.7": [
        (12, "cap is"),
        (2048, "11 bits"),
        (162755, "12 nats"),
        (4095, "by a hair"),
        (8192, "smaller batch"),
    ],
    "2.1": [
        (lambda s, d, m: math.sqrt((s + math.log(1 / d)) / (2 * m)), "one-sided"),
        (lambda s, d, m: math.sqrt((s + math.log(2 / d)) / m), "denominator is 2m"),
        (lambda s, d, m: (s + math.log(2 / d)) / (2 * m), "take the square root"),
        (lambda s, d, m: -math.sqrt((s + math.log(2 / d)) / (2 * m)), SIGN),
        (lambda s, d, m: 2 * math.sqrt((s + math.log(2 / d)) / (2 * m)), TWICE),
        (lambda s, d, m: (s + math.log(1 / d)) / (2 * m), "Not yet: for one hidden input"),
    ],
    "2.2": [
        (296, "nats"),
        (432, "left out δ"),
        (428, "Round down"),
        (427.49, "Whole bits"),
        (211, "the 2 is missing"),
        (-427, SIGN),
        (854, TWICE),
    ],
    "2.3": [
        (lambda s, d, m: math.sqrt((s + math.log(1 / d)) / m), "No square root"),
        (lambda s, d, m: math.sqrt((s + math.log(1 / d)) / 2 / m), "Hoeffding"),
        (lambda s, d, m: math.sqrt((s + math.log(2 / d)) / 2 / m), "Hoeffding"),
        (lambda s, d, m: (s + math.log(1 / d)) / 2 / m, "without a 2"),
        (lambda s, d, m: (s + math.log(d)) / m, "Not yet: for one hidden input"),
    ],
    "2.4": [
        (lambda b, d, m: math.sqrt((b * LN2 + math.log(2 / d)) / 2 / m), "two-sided"),
        (lambda b, d, m: math.sqrt((b + math.log(1 / d)) / 2 / m), "Bits and nats are mixed"),
        (lambda b, d, m: (b * LN2 + math.log(1 / d)) / 2 / m, "square root"),
        (lambda b, d, m: math.sqrt((b + math.log2(1 / d)) / 2 / m), "must be natural"),
    ],
    "2.5": [
        (lambda p, s: np.mean([max(np.mean(h * k) for k in s) for h in p]), "axes are swapped"),
        (lambda p, s: np.max(s @ p.T / 12), "best of all draws"),
        (lambda p, s: np.mean(np.max(s @ p.T, axis=1)), "Divide by the number of points"),
        (lambda p, s: (s @ p.T / len(p)).max(axis=1).mean(), "Divide by the number of points"),
        (lambda p, s: np.abs(s @ p.T / 12).max(1).mean(), "No absolute value"),
        (lambda p, s: np.mean([max(np.mean(h == k) for h in p) for k in s]), "share of labels"),
    ],
    "2.6": [
        (lambda p: p.shape[0], "number of hypotheses"),
        (lambda p: 2 ** p.shape[1], "most that any class"),
        (lambda p: labels_by_set(p.T), "points"),
        (lambda p: labels_by_set(p[p.any(1)]), "no point is inside"),
    ],
    "3.1": [
        (lambda j, e, b: np.subtract(*np.array([1, b]) * objective(j, e, math.e)), NATS),
        (lambda j, e, b: objective(j, e)[0] - objective(j, e)[1] / b, "β is upside down"),
        (lambda j, e, b: objective(j, e)[1] - b * objective(j, e)[0], "two informations are exchanged"),
        (lambda j, e, b: b * objective(j, e)[0] - objective(j, e)[1], "you multiplied I(T;X)"),
        (lambda j, e, b: objective(j, e)[0] + b * objective(j, e)[1], "its sign is minus"),
        (lambda j, e, b: np.subtract(*objective(j, e)), "β is missing"),
        (lambda j, e, b: b * objective(j, e)[1] - objective(j, e)[0], SIGN),
        (lambda j, e, b: LN2 * (b * objective(j, e)[1] - objective(j, e)[0]), "Two things at once"),
        (lambda j, e, b: objective(j, e, math.e)[1] - b * objective(j, e, math.e)[0], "exchanged"),
    ],
    "3.2": [
        (lambda j, e, b: round_by_loops(j, e, 1.0), "β is missing"),
        (lambda j, e, b: np.transpose(round_by_loops(j, e, b)), "Are the axes swapped?|transpose"),
        (lambda j, e, b: round_by_loops(j, e, -b), "predict badly"),
        (lambda j, e, b: np.array(round_by_loops(j, e, b)) * 2, TWICE),
        (lambda j, e, b: e, "Not yet: for one hidden input"),
    ],
    "3.3": [
        (1.25, "1/σ₂"),
        (0.64, "its inverse"),
        (0.8, "inverse of its square"),
        (1.2346, "not 1 − ε"),
        (1, "first singular value"),
        (3.125, TWICE),
    ],
    "3.4": [
        (lambda j: svd_of(normalised(j), power=1), "square the singular value"),
        (lambda j: 1 / svd_of(normalised(j)), "invert it"),
        (lambda j: svd_of(normalised(j), 0), "The first singular value is 1"),
        (lambda j: svd_of(j), "square root of p(x) p(y)"),
        (lambda j: svd_of(j / np.outer(j.sum(1), j.sum(0))), "not by p(x) p(y) itself"),
        (lambda j: svd_of((j.T / j.sum(1)).T), "both margins"),
    ],
    "3.5": [
        (0.75, "That is I(T;Y)"),
        (0.562, NATS),
        (1.56, "That is I(T;X)"),
        (0.25, "how often the cap is on"),
        (0, "not sufficient"),
        (-0.81, SIGN),
        (0.5, "one of the two terms"),
    ],
    "3.6": [
        (gaussian, "ρ enters as its square"),
        (
            lambda r, b: 0.5 * math.log2((b - 1) * r / (1 - r)) if b > 1 / r**2 else 0.0,
            "ρ enters as its square",
        ),
        (lambda r, b: max(0, math.log2(max(b - 1, 1e-9) / (r**-2 - 1))), "½ is missing"),
        (lambda r, b: 0.5 * math.log(max(1, (b - 1) / (r**-2 - 1))), NATS),
        (lambda r, b: -0.5 * math.log2(1 - r**2), "I(X;Y)"),
    ],
    "3.7": [
        (lambda j, q: -(j * np.log(q)).sum(), NATS),
        (lambda j, q: (j * np.log2(q)).sum(), SIGN),
        (lambda j, q: (j * np.log(q)).sum(), "Two things at once"),
        (lambda j, q: -(q * np.log2(q) * j.sum(1)[:, None]).sum(), "not under the model"),
        (lambda j, q: normed(j.ravel(), base=2) - normed(j.sum(1), base=2), "H(Y|T)"),
    ],
    "4.1": [
        (lambda m, v: (0.5 * (np.exp(v) + m**2 - 1 + v)).sum(1), "sign of log σ²"),
        (lambda m, v: (0.5 * (np.exp(v) + m**2 - v)).sum(1), "−1 of each component"),
        (lambda m, v: 0.5 * ((np.exp(v) + m**2 - v).sum(1) - 1), "One −1 for each component"),
        (lambda m, v: 2 * encoder_kl(m, v).sum(1), "half is missing"),
        (lambda m, v: encoder_kl(m, v).mean(1), "mean over the components"),
        (lambda m, v: encoder_kl(m, v).sum(), "One total"),
        (lambda m, v: encoder_kl(m, v).sum(0), "The shape is"),
        (lambda m, v: encoder_kl(m, 2 * v).sum(1), "standard deviation's logarithm"),
        (lambda m, v: encoder_kl(m, v).sum(1) / LN2, "in bits, and nats are asked for"),
        (lambda m, v: -encoder_kl(m, v).mean(1), "More than one thing is off"),
    ],
    "4.2": [
        (lambda p, c, r: p @ [normed(row, r, base=2) for row in c], "That is the rate"),
        (lambda p, c, r: normed(p @ c, r), "Nats"),
        (lambda p, c, r: normed(r, p @ c, base=2), "not symmetric"),
        (lambda p, c, r: normed(r, p @ c), "not symmetric"),
    ],
    "4.3": [
        (lambda s, a, m, g: log_normal_by_quadrature(s, a**0.5, m, g), "alpha was taken for a variance"),
        (lambda s, a, m, g: log_normal_by_quadrature(s, a, m, g**0.5), "sigma was taken"),
        (lambda s, a, m, g: log_normal_by_quadrature(math.e**s, a, m, g), "log signal, not signal"),
        (lambda s, a, m, g: log_normal_by_quadrature(s, a, m, g) + 0.5, "−½ is missing"),
    ],
    "4.4": [
        (lambda z, y: max(0, decoder(z, y)), "do not cut it off"),
        (lambda z, y: abs(decoder(z, y)), "absolute value"),
        (lambda z, y: decoder(z, y, LN2, 1), "Units are mixed: H(Y) is in bits"),
        (lambda z, y: decoder(z, y, 1, LN2), "Units are mixed: H(Y) is in nats"),
        (lambda z, y: decoder(z, y, 1, 1), "Nats"),
        (lambda z, y: decoder(z, y, np.inf), "H(Y) is missing"),
        (lambda z, y: -decoder(z, y, np.inf), "H(Y) is missing"),
    ],
    "4.5": [
        (lambda s, n: np.log2(1 + s / n).sum(), "½ is missing"),
        (lambda s, n: np.log1p(s / n).sum() / 2, "Nats"),
        (lambda s, n: np.log2(1 + n / s).sum() / 2, "swapped"),
        (lambda s, n: np.log2(1 + n / s).sum(), "swapped"),
    ],
    "4.6": [
        (lambda h, p, d: h * (1 - p) ** d, "One copy that survives"),
        (lambda h, p, d: h * p**d, "what is lost"),
        (lambda h, p, d: h * (1 - (1 - p) ** d), "not of being kept"),
    ],
    "5.1": [
        (lambda c: normed(np.bincount(c)), "Nats"),
        (lambda c: np.log2(len(set(c.tolist()))), "equally likely"),
        (lambda c: -normed(np.bincount(c)), "Two things at once"),
    ],
    "5.2": [
        (lambda t, v: RIGHT["5.2"][0](t, 4 * v), "lower bound"),
        (lambda t, v: RIGHT["5.2"][0](t, v / 2), "the 2 is missing"),
        (lambda t, v: RIGHT["5.2"][0](t, v**2), "do not square"),
        (lambda t, v: RIGHT["5.2"][0](t, v) * LN2, "Nats"),
    ],
    "5.3": [
        (lambda p: p[0] - p[-1], "First minus last"),
        (lambda p: p[-1] - p.max(), "a fall counts as positive"),
        (lambda p: p.max() - p.min(), "whole range"),
    ],
    "5.4": [
        (lambda i, e, d: math.ceil(RIGHT["5.4"][0](i, e, d)), "do not round"),
        (lambda i, e, d: (2**i - math.log(d)) / e**2 / 2, "log 2 is missing"),
        (lambda i, e, d: (2**i * LN2 - math.log(d)) / e**2, "2 of 2m"),
        (lambda i, e, d: (2**i * LN2 - math.log(d)) / e / 2, "ε must be squared"),
    ],
    "5.5": [
        (lambda c: sum(c) * normed(c, base=2), "the exponent"),
        (lambda c: RIGHT["5.5"][0](c) * LN2, "Nats"),
        (lambda c: 2 ** RIGHT["5.5"][0](c), "the number itself"),
    ],
    "5.6": [
        (lambda y, b: normed(np.bincount(y), base=2), "forgetting everything"),
        (lambda y, b: (1 + b) * normed(np.bincount(y), base=2), "memoriser knows Y"),
        (lambda y, b: b * normed(np.bincount(y)), "Nats"),
    ],
    "6.1": [
        (lambda j: looped_information(j.sum(0)), "the task is not held fixed"),
        (lambda j: LN2 * conditional_by_slices(j), "nats"),
        (lambda j: conditional_by_slices(j.transpose(2, 0, 1)), "I(θ;D|W)"),
    ],
    "6.2": [
        (lambda a, p, b: p * np.exp(a / b), "not normalised"),
        (lambda a, p, b: tempered(a, p, 1 / b), "raised to β"),
        (lambda a, p, b: special.softmax(a / b, axis=1), "prior is missing"),
        (lambda a, p, b: special.softmax((a + np.log(p)) / b, axis=1), "prior is tempered"),
        (lambda a, p, b: special.softmax(a / b + np.log(p), axis=0), "not the columns"),
        (lambda a, p, b: special.softmax(a / b + np.log(p)), "not the whole table"),
    ],
    "6.3": [
        (
            lambda m, v, lam: 0.5 * ((np.exp(v) + m**2) / lam - 1 - np.log(lam) + v).sum(),
            "sign of the log-ratio",
        ),
        (lambda m, v, lam: weights_kl(m, v, lam) + 2.5, "−1 of each weight"),
        (lambda m, v, lam: 2 * weights_kl(m, v, lam), "half is missing"),
        (lambda m, v, lam: weights_kl(m, v, lam) / 5, "mean over the weights"),
        (lambda m, v, lam: weights_kl(m, v, 1), "prior_var is not used"),
    ],
    "6.4": [
        (lambda m, v: (m**2).mean(), "own variance is missing"),
        (lambda m, v: (m**2 + np.exp(v)).sum(), "not the mean"),
        (lambda m, v: math.sqrt((m**2 + np.exp(v)).mean()), "its square is asked for"),
    ],
    "6.5": [
        (lambda x, w, v: np.array([w @ x, v @ x]), "*square* of the input"),
        (lambda x, w, v: np.array([w @ x, np.sqrt(v @ x**2)]), "variances are asked for"),
        (lambda x, w, v: np.stack([w @ x, v @ x**2], axis=1), "Are the axes swapped?"),
    ],
    "6.6": [
        (664.4, "in bits"),
        (2.303, "one label"),
        (200, "natural logarithms"),
        (-460.5, SIGN),
        (230.3, HALF),
    ],
    "6.7": [
        (lambda k, m, d: (k + math.log(2 * m**0.5 / d)) / m, "the budget itself"),
        (lambda k, m, d: math.exp(-(k + math.log(2 * m**0.5 / d)) / m), "1 − p"),
        (lambda k, m, d: 1 - math.exp(-(k + math.log(1 / d)) / m), "not log(1/δ)"),
        (lambda k, m, d: math.sqrt((k + math.log(2 * m**0.5 / d)) / 2 / m), "Pinsker"),
    ],
    "7.1": [
        (lambda z: np.diag(special.softmax(z)), "outer product is missing"),
        (
            lambda z: np.outer(special.softmax(z), special.softmax(z)) - np.diag(special.softmax(z)),
            "sign is wrong",
        ),
        (lambda z: special.softmax(z) * (1 - special.softmax(z)), "diagonal alone"),
    ],
    "7.2": [
        (lambda j, p: len(j) * gauss_newton_by_scores(j, p), "sum over samples"),
        (lambda j, p: sum(a.T @ np.diag(b) @ a for a, b in zip(j, p, strict=True)) / len(j), "diag(p) alone"),
        (lambda j, p: sum(a.T @ a for a in j) / len(j), "middle is missing"),
        (lambda j, p: sum(a.T @ a for a in j), "Not yet: for one hidden input you gave .* at \\[0, 0\\]"),
    ],
    "7.3": [
        (without(0), "log|mF| is missing"),
        (without(1), "k log λ² is missing"),
        (without(2), "‖μ‖²/λ² is missing"),
        (without(3), "trace of Σ over λ² is missing"),
        (without(4), "−k is missing"),
        (lambda w, f, m, v: (np.linalg.slogdet(m * f)[1] + w @ w / v) / 2, "printed formula"),
        (lambda w, f, m, v: 2 * laplace_by_eigenvalues(w, f, m, v), "half is missing"),
        (lambda w, f, m, v: laplace_by_eigenvalues(w, f, 1, v), "one sample's worth"),
    ],
    "7.4": [
        (lambda x, s, v: np.linalg.slogdet(x.T @ x / s**2)[1] / 2, "Fisher matrix alone"),
        (lambda x, s, v: np.linalg.slogdet(v * x.T @ x / s**2)[1] / 2, "The I is missing"),
        (lambda x, s, v: 2 * regression_by_singular_values(x, s, v), "half is missing"),
        (lambda x, s, v: regression_by_singular_values(x, s**0.5, v), "as its square"),
        (lambda x, s, v: regression_by_singular_values(x, s, v) / LN2, "in bits"),
    ],
    "7.5": [(1 / 256, "how many of the 256"), (16, "Upside down"), (1, "do not add up"), (6.25, "per cent")],
    "7.6": [(50, "only nine"), (5, "empirical"), (49, "one such relation for each sample"), (90, TWICE)],
    "7.7": [
        (lambda a, b: a + b, "before rescaling"),
        (lambda a, b: math.sqrt(a * b), "Half of it"),
        (lambda a, b: (a / b) ** 0.25, "That is c"),
    ],
    "7.9": [
        (lambda i, h, c, d: null_by_rank(i, h, c, d) - 1, "softmax's own shift"),
        (lambda i, h, c, d: null_by_rank(i, h, c, d) - d, "bias is missing"),
        (lambda i, h, c, d: null_by_rank(i, h, c, d) - d * c, "outgoing weights"),
        (lambda i, h, c, d: d * (i + 1 + c), "dead units' alone"),
    ],
    "8.1": [
        (lambda f: f.mean((0, 2, 3)), "*output* channel"),
        (lambda f: f.sum((1, 2, 3)), "That is the sum"),
        (lambda f: f.mean((2, 3)), "each kernel"),
        (lambda f: f.mean(), "over all weights"),
    ],
    "8.2": [
        (lambda z: (1 - (special.softmax(z, axis=0) ** 2).sum(1)).mean(), "second axis"),
        (lambda z: (1 - (special.softmax(z, axis=0) ** 2).sum(0)).mean(), "second axis"),
        (lambda z: (1 - (special.softmax(z) ** 2).sum(1)).mean(), "second axis"),
        (lambda z: (special.softmax(z, axis=1) ** 2).sum(1).mean(), "one minus it"),
        (lambda z: normed(special.softmax(z, axis=1), axis=1).mean(), "entropy in nats"),
        (lambda z: (1 - special.softmax(z, axis=1).max(1)).mean(), "all of the squares count"),
    ],
    "8.3": [(0.2071, "solve it for"), (0.293, "smaller of the two"), (70.7, "per cent")],
    "8.4": [
        (lambda p, r: np.sqrt(p) * r, "mean direction"),
        (lambda p, r: np.sqrt(p) * r - p * np.mean(np.sqrt(p) * r), "not times its mean"),
        (lambda p, r: p * r - p * (p @ r), "root of $p$ is missing"),
        (lambda p, r: -root_by_matrix(p, r), SIGN),
        (lambda p, r: np.sqrt(p) * r - np.sum(np.sqrt(p) * r), "not the sum itself"),
    ],
    "8.5": [
        (lambda x, y, z: abs(partial_by_residuals(x, y, z)), "absolute value"),
        (lambda x, y, z: max(0, partial_by_residuals(x, y, z)), "do not cut it off"),
        (lambda x, y, z: partial_by_residuals(x, z, y), "another order"),
        (lambda x, y, z: stats.spearmanr(x, y).statistic, "not held fixed"),
        (
            lambda x, y, z: ranked(x, y, z)[0, 1] - ranked(x, y, z)[0, 2] * ranked(x, y, z)[1, 2],
            "denominator",
        ),
    ],
    "8.6": [
        (lambda v: v.var(0, ddof=1) / len(v) / v.mean(0), "variance of the mean"),
        (lambda v: v.var(0) / len(v) / v.mean(0), "variance of the mean"),
        (lambda v: stats.sem(v), "divide by the mean"),
        (lambda v: v.std(0, ddof=1) / v.mean(0), "single images"),
        (lambda v: v.std(0) / np.sqrt(len(v)) / v.mean(0), "ddof=1"),
        (lambda v: stats.sem(v.T) / v.mean(1), "images are the first axis"),
    ],
    "8.7": [
        (lambda p, a: noise_by_enumeration(p, a, centre=False), "mean of a under p"),
        (lambda p, a: noise_by_enumeration(p, a)[::-1], "other way round"),
        (lambda p, a: np.sqrt(noise_by_enumeration(p, a)), "standard deviations"),
        (lambda p, a: np.add(noise_by_enumeration(p, a), [1, 0]), "a 1 is missing"),
        (lambda p, a: np.multiply(noise_by_enumeration(p, a), spread(p, a)), "the squared mean is"),
        (lambda p, a: np.multiply(noise_by_enumeration(p, a), spread(p, a) ** 2), "Those are variances"),
    ],
    "9.1": [
        (0.8, "share pictures"),
        (60, "per cent"),
        (3, "how many tasks"),
        (2 / 3, "still asked"),
        (0.67, "still asked"),
        (1, "own neighbour"),
        (0.4, "the others"),
    ],
    "9.2": [
        (lambda a, b: math.sqrt(jensen_shannon_by_entropies(a, b)), "square root"),
        (lambda a, b: jensen_shannon_by_entropies(a, b) / LN2, "in bits"),
        (lambda a, b: 2 * jensen_shannon_by_entropies(a, b), "not their sum"),
        (
            lambda a, b: (special.rel_entr(a, (a + b) / 2) + special.rel_entr(b, (a + b) / 2)).sum() / 2,
            "sum to one first",
        ),
        (lambda a, b: normed(a, a / a.sum() + b / b.sum()), "alone"),
    ],
    "9.3": [
        (lambda d, y: np.mean(y[d.argmin(1)] == y), "bar the diagonal"),
        (lambda d, y: np.mean(y[d.argmax(1)] == y), "argmin, not argmax"),
        (lambda d, y: 1 - nearest_by_loop(d, y), "*other* labels"),
        (lambda d, y: 9 * nearest_by_loop(d, y), "divide by the number of tasks"),
    ],
    "9.4": [
        (lambda d, t, k: np.sort(farthest_barred(d), 1)[:, :k].mean(), "That is the mean of d"),
        (lambda d, t, k: np.take_along_axis(t, np.argsort(d, 1)[:, :k], 1).mean(), "leave it out"),
        (lambda d, t, k: curve_by_loop(-d, t, k), "farthest"),
        (lambda d, t, k: k * curve_by_loop(d, t, k), "take their mean"),
    ],
    "9.5": [
        (lambda d: -(np.eye(9) - 1 / 9) @ (d @ d) @ (np.eye(9) - 1 / 9) / 2, "not by a matrix product"),
        (lambda d: centred_by_means(d**0.5), "Square the distances first"),
        (lambda d: -2 * centred_by_means(d), "−1/2 is missing"),
        (lambda d: -(d**2) / 2, "Centre the rows and the columns"),
        (lambda d: 2 * centred_by_means(d), TWICE),
    ],
    "9.6": [
        (0.2828, "Both embeddings"),
        (0.04, "standard deviation"),
        (0.1414, "*half*"),
        (5, "upside down"),
    ],
    "9.9": [
        (lambda a, b, c: stats.spearmanr(*upper(a, b)).statistic, "plain rank correlation"),
        (lambda a, b, c: pearson_given(*upper(a, b, c)), "ranks first"),
        (lambda a, b, c: partial_by_residuals(*upper(a, c, b)), "holds b fixed"),
    ],
    "10.1": [(0.6, "cosine"), (0.625, "norms"), (0.8, "sine"), (40.0, "Not yet"), (-0.4, SIGN)],
    "10.2": [
        (lambda t, y: leep_by_loops(t, y) / math.log(2), "bits"),
        (lambda t, y: -leep_by_loops(t, y), SIGN),
        (lambda t, y: leep_by_loops(t, y) * len(y), "not the sum"),
        (lambda t, y: leep_by_loops(one_hot(t.argmax(1)), y), "That is NCE"),
        (lambda t, y: leep_by_loops(t, y, rows=True), "each column of the joint"),
    ],
    "10.3": [
        (lambda *x: max(0, d_asym(*x)), "do not cut it off at 0"),
        (lambda *x: abs(d_asym(*x)), "no absolute value"),
        (lambda s, t, r, a: d_asym(s, t, r, -a), "subtracted"),
        (lambda s, t, r, a: symmetric_by_scipy(s, t) - a * symmetric_by_scipy(t, r), "Hold the source"),
        (lambda s, t, r, a: d_asym(s, t, r, 1), "α is missing"),
        (lambda s, t, r, a: symmetric_by_scipy(s, t), "second term is missing"),
        (lambda s, t, r, a: cosine(s, t) - a * cosine(s, r), "not the plain cosine"),
    ],
    "10.4": [
        (lambda d, e: crossed_by_counting(d, e, lambda a, b: a == b), "whose luck it shares"),
        (lambda d, e: crossed_by_counting(d, e, lambda a, b: True), "a seed with itself"),
        (
            lambda d, e: crossed_by_counting(d.mean(2)[..., None], e.mean(2)[..., None], lambda a, b: True),
            "first",
        ),
        (lambda d, e: -crossed_by_counting(d, e), SIGN),
        (lambda d, e: crossed_by_counting(d.transpose(1, 0, 2), e.transpose(1, 0, 2)), "over the sources"),
    ],
    "10.5": [
        (25 / 3, "Upside down"),
        (0.0545, "difference"),
        (0.15, "leads already"),
        (0.03, "divide by that"),
    ],
    "10.6": [
        (lambda d, e: e[d.argmin()] - e.min(), "divide by the best error"),
        (lambda d, e: e[d.argmin()] / e.min(), "exceeds one by"),
        (lambda d, e: 100 * (e[d.argmin()] / e.min() - 1), "per cent"),
        (lambda d, e: e[d.argmax()] / e.min() - 1, "argmin of the distances"),
    ],
}

ALL = {number: exercise for chapter in exercises.chapters().values() for number, exercise in chapter.items()}


@pytest.fixture(scope="module")
def drawn() -> Callable[[str], list[list[tuple[Any, ...]]]]:
    """Hidden inputs of each seed, drawn once for all answers."""
    kept: dict[str, list[list[tuple[Any, ...]]]] = {}

    def draw(number: str) -> list[list[tuple[Any, ...]]]:
        seeds = SEEDS if ALL[number].inputs else [0]
        if number not in kept:
            kept[number] = [exercises.hidden(ALL[number], seed=seed) for seed in seeds]
        return kept[number]

    return draw


@pytest.fixture(scope="module", autouse=True)
def remembered() -> Iterator[None]:
    """Call the solutions and known mistakes once for each input, not once more for each answer that is tried."""
    kept: dict[tuple[int, int], Any] = {}
    original = exercises._numbers

    def once(answer: Any, arguments: list[tuple[Any, ...]]) -> Any:
        place = id(answer), id(arguments)
        if place not in kept:
            kept[place] = (answer, arguments, original(answer, arguments))  # what is kept keeps its id
        return kept[place][2]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exercises, "_numbers", once)
        yield


def test_every_exercise_has_right_and_wrong_answers_here() -> None:
    assert set(RIGHT) == set(WRONG) == set(ALL)
    assert all(len(answers) >= 3 for answers in WRONG.values())


def cases(table: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(n, a, id=f"{n}-{i}") for n, rows in table.items() for i, a in enumerate(rows)]


@pytest.mark.parametrize(("number", "answer"), cases(RIGHT))
def test_a_right_answer_passes_whatever_the_seed(number, answer, drawn):
    for arguments in drawn(number):
        result = exercises.compare(ALL[number], arguments, exercises.answers(answer, arguments))
        assert result.message == "Correct."
    assert exercises.check(number, answer).message == "Correct."


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # some of these are wrong in just this way
@pytest.mark.parametrize(("number", "case"), cases(WRONG))
def test_a_wrong_answer_is_told_what_is_wrong_whatever_the_seed(number, case, drawn):
    answer, expected = case
    for arguments in drawn(number):
        result = exercises.compare(ALL[number], arguments, exercises.answers(answer, arguments))
        assert not result
        assert expected in result.message or re.search(expected, result.message), result.message
