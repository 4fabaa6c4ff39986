"""Transferability baselines against independent implementations: loops, densities, explicit matrices."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from t2v import baselines, transfer


def data(
    n: int, d: int, classes: int = 3, seed: int = 0, signal: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(classes).repeat(2), rng.integers(0, classes, n - 2 * classes)]
    return rng.normal(size=(n, d)) + signal * rng.normal(size=(classes, d))[y] + 0.3, y


# ---------------------------------------------------------------- labels


def naive_nce(z: list[int], y: list[int]) -> float:
    pairs, marginal = Counter(zip(z, y, strict=True)), Counter(z)
    return sum(k / len(z) * math.log(k / marginal[a]) for (a, _), k in pairs.items())


def naive_leep(theta: np.ndarray, y: np.ndarray) -> float:
    n, total = len(y), 0.0
    for i in range(n):
        p = 0.0
        for z in range(theta.shape[1]):
            joint = sum(theta[k, z] for k in range(n) if y[k] == y[i]) / n
            marginal = sum(theta[k, z] for k in range(n)) / n
            p += theta[i, z] * joint / marginal if marginal else 0.0
        total += math.log(p)
    return total / n


def test_nce_by_hand() -> None:
    # z = 0 leaves y undecided between two labels, z = 1 and z = 2 decide it: −(1/2) log 2
    assert baselines.nce([0, 0, 1, 2], [0, 1, 1, 1]) == pytest.approx(-0.5 * math.log(2), abs=1e-15)
    assert baselines.nce([5, 5, 7, 9], [0, 0, 1, 1]) == 0.0  # any integers name the classes
    # the other order is another number: −H(Z|Y) = −(1/2) log 2 here
    assert baselines.nce([0, 0, 1, 1], [5, 5, 7, 9]) == pytest.approx(-0.5 * math.log(2), abs=1e-15)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40))
def test_nce_is_minus_the_conditional_entropy(pairs: list[tuple[int, int]]) -> None:
    z, y = map(list, zip(*pairs, strict=True))
    value = baselines.nce(z, y)
    assert value == pytest.approx(naive_nce(z, y), abs=1e-12)
    assert -math.log(4) - 1e-12 <= value <= 0
    assert baselines.leep(np.eye(5)[z], y) == pytest.approx(value, abs=1e-12)  # hard LEEP is NCE


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 4))
def test_leep_is_its_definition(seed: int, sources: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    theta, y = rng.dirichlet(np.full(sources, 0.4), size=12), rng.integers(0, classes, 12)
    value = baselines.leep(theta, y)
    assert value == pytest.approx(naive_leep(theta, y), abs=1e-12)
    assert value <= 0
    if sources == 1:  # a source that says nothing is worth the entropy of the labels
        p = np.bincount(y)[np.unique(y)] / 12
        assert value == pytest.approx((p * np.log(p)).sum(), abs=1e-12)


def test_leep_takes_the_source_first_and_skips_its_unused_classes() -> None:
    theta, y = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.3, 0.7, 0.0]]), np.array([0, 1, 1])
    assert baselines.leep(theta, y) == pytest.approx(naive_leep(theta, y), abs=1e-15)
    assert transfer.leep is baselines.leep
    with pytest.raises(ValueError, match="labels"):
        baselines.leep(y, theta)
    with pytest.raises(ValueError, match="logits"):
        baselines.leep(np.log(theta + 0.1), y)
    theta[1] *= 1.01  # one row of three
    with pytest.raises(ValueError, match="rows must be probabilities"):
        baselines.leep(theta, y)


# ---------------------------------------------------------------- LogME


def direct_evidence(x: np.ndarray, y: np.ndarray) -> float:
    """Maximise the log density of y ~ N(0, I/β + ΦΦᵀ/α) over log α and log β; nats a sample."""

    def negative(logs: np.ndarray) -> float:
        alpha, beta = np.exp(np.clip(logs, -25, 25))
        covariance = np.eye(len(y)) / beta + x @ x.T / alpha
        return -float(multivariate_normal.logpdf(y, cov=covariance, allow_singular=False))

    starts = [(a, b) for a in (-3, 0, 4) for b in (0, 3)]
    options = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000}
    return -min(minimize(negative, s, method="Nelder-Mead", options=options).fun for s in starts) / len(y)


@pytest.mark.parametrize(("n", "d"), [(30, 4), (12, 12), (10, 25)])
def test_logme_is_the_maximum_of_the_evidence(n: int, d: int) -> None:
    x, y = data(n, d, signal=1.5)
    want = np.mean([direct_evidence(x, (y == c).astype(float)) for c in range(3)])
    assert baselines.logme(x, y) == pytest.approx(want, abs=1e-6)


def published_logme(x: np.ndarray, y: np.ndarray) -> float:
    """The fixed point as thuml's code has it, with its damping, written from the paper; for full-rank n > d."""
    n, d = x.shape
    values = []
    for c in range(y.max() + 1):
        target, alpha, beta = (y == c).astype(float), 1.0, 1.0
        for _ in range(11):
            a = alpha * np.eye(d) + beta * x.T @ x
            m = beta * np.linalg.solve(a, x.T @ target)
            s = np.linalg.eigvalsh(x.T @ x)
            gamma = (beta * s / (alpha + beta * s)).sum()
            alpha = gamma / (m @ m + 1e-5)
            beta = (n - gamma) / (((target - x @ m) ** 2).sum() + 1e-5)
        a = alpha * np.eye(d) + beta * x.T @ x
        m = beta * np.linalg.solve(a, x.T @ target)
        fit = beta / 2 * ((target - x @ m) ** 2).sum() + alpha / 2 * m @ m
        logs = d / 2 * np.log(alpha) + n / 2 * np.log(beta / (2 * np.pi)) - np.linalg.slogdet(a)[1] / 2
        values.append((logs - fit) / n)
    return float(np.mean(values))


def test_logme_agrees_with_the_published_fixed_point_where_that_is_right() -> None:
    x, y = data(80, 6, signal=2.0)
    assert baselines.logme(x, y) == pytest.approx(published_logme(x, y), abs=2e-4)


def test_logme_does_not_mind_rotations_scale_or_empty_directions() -> None:
    x, y = data(20, 5)
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    want = baselines.logme(x, y)
    assert baselines.logme(x @ q * 7, y) == pytest.approx(want, abs=1e-7)
    assert baselines.logme(np.c_[x, np.zeros((20, 40))], y) == pytest.approx(want, abs=1e-7)


def test_logme_prefers_features_that_know_the_class() -> None:
    x, y = data(60, 10, signal=3.0)
    assert baselines.logme(x, y) > baselines.logme(x, np.random.default_rng(0).permutation(y)) + 0.2


# ---------------------------------------------------------------- H-score, TransRate, class means


def naive_h_score(x: np.ndarray, y: np.ndarray) -> float:
    g = np.array([x[y == c].mean(0) for c in y])
    return float(np.trace(np.linalg.pinv(np.cov(x, rowvar=False), rcond=1e-12) @ np.cov(g, rowvar=False)))


@pytest.mark.parametrize(("n", "d"), [(40, 5), (15, 14), (10, 30)])
def test_h_score_is_the_trace(n: int, d: int) -> None:
    x, y = data(n, d)
    assert baselines.h_score(x, y) == pytest.approx(naive_h_score(x, y), abs=1e-8)


def test_h_score_says_nothing_where_features_outnumber_samples() -> None:
    x, y = data(12, 40, classes=4, signal=0.0)
    assert baselines.h_score(x, y) == pytest.approx(3.0, abs=1e-9)


@pytest.mark.parametrize("delta", [0.0, 0.2, "ledoit_wolf"])
def test_shrunk_h_score(delta: float | str) -> None:
    from sklearn.covariance import ledoit_wolf

    x, y = data(14, 20, signal=2.0)
    if delta == "ledoit_wolf":
        covariance, share = ledoit_wolf(x)
    else:
        share, sigma = float(delta), np.cov(x, rowvar=False, bias=True)
        covariance = (1 - share) * sigma + share * np.trace(sigma) / 20 * np.eye(20)
    g = np.array([x[y == c].mean(0) for c in y])
    want = np.trace(np.linalg.pinv(covariance, rcond=1e-12) @ np.cov(g, rowvar=False, bias=True)) * (
        1 - share
    )
    assert baselines.h_score(x, y, shrinkage=delta) == pytest.approx(want, rel=1e-8)


@pytest.mark.parametrize(("n", "d"), [(30, 4), (9, 20)])
def test_transrate_is_the_published_code(n: int, d: int) -> None:
    x, y = data(n, d)
    z = x - x.mean(0)

    def rate(part: np.ndarray, eps: float) -> float:
        return 0.5 * np.linalg.slogdet(np.eye(d) + part.T @ part / (len(part) * eps))[1]

    for eps in (1e-4, 0.5):
        want = rate(z, eps) - sum(rate(z[y == c], eps) for c in range(3)) / 3
        assert baselines.transrate(x, y, eps) == pytest.approx(want, abs=1e-9)
    assert baselines.transrate(x, y) == baselines.transrate(x, y, 1e-4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_nearest_class_mean_leaves_one_out(seed: int) -> None:
    x, y = data(14, 3, seed=seed)
    right = 0
    for i in range(14):
        rest = np.arange(14) != i
        far = [np.linalg.norm(x[i] - x[rest & (y == c)].mean(0)) for c in range(3)]
        right += int(np.argmin(far)) == y[i]
    assert baselines.nearest_class_mean(x, y) == right / 14


def test_nearest_class_mean_is_not_flattered_by_memory() -> None:
    x, y = data(40, 500, signal=0.0, seed=1)
    with_itself = np.mean(
        [
            np.argmin([np.linalg.norm(r - x[y == c].mean(0)) for c in range(3)]) == k
            for r, k in zip(x, y, strict=True)
        ]
    )
    assert with_itself == 1.0
    assert baselines.nearest_class_mean(x, y) < 0.6


# ---------------------------------------------------------------- bad input


def test_bad_input_is_refused() -> None:
    x, y = data(10, 3)
    holes = x.copy()
    holes[2, 1] = np.nan
    for score in (baselines.logme, baselines.h_score, baselines.transrate, baselines.nearest_class_mean):
        for call, message in [
            (lambda s=score: s(x, y[:9]), r"features: shape \(10, 3\); \(n, d\) with n = 9"),
            (lambda s=score: s(x[:, 0], y), "features: shape"),
            (lambda s=score: s(holes, y), "features: NaN"),
            (lambda s=score: s(x, y.astype(float)), "labels: float64"),
            (lambda s=score: s(x, np.zeros(10, int)), "labels: there is one class"),
            (lambda s=score: s(np.zeros((10, 3)), y), "all zero"),
        ]:
            with pytest.raises(ValueError, match=message):
                call()
    for call, message in [
        (lambda: baselines.nce([0, 1], [0]), "lengths 2 and 1"),
        (lambda: baselines.nce(np.eye(2), [0, 1]), "source_labels: float64"),
        (lambda: baselines.transrate(x, y, eps=0), "eps"),
        (lambda: baselines.h_score(x, y, shrinkage=1.0), "shrinkage"),
        (lambda: baselines.h_score(x, y, shrinkage="oas"), "ledoit_wolf"),
        (lambda: baselines.nearest_class_mean(x, np.r_[9, np.arange(9) % 2]), "class 9 has one sample"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("name", ["baselines", "comparison"])
def test_import_does_not_load_torch(name: str) -> None:
    code = f"import sys, t2v.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e170, 1e300])
def test_scores_survive_features_of_any_scale(scale: float) -> None:
    """Squares of such numbers leave the floating-point range; three of the scores do not depend on the scale."""
    x, y = data(30, 5)
    for score in (baselines.logme, baselines.h_score, baselines.nearest_class_mean):
        assert score(x * scale, y) == pytest.approx(score(x, y), rel=1e-9)
    shrunk = baselines.h_score(x * scale, y, shrinkage="ledoit_wolf")
    assert shrunk == pytest.approx(baselines.h_score(x, y, shrinkage="ledoit_wolf"), rel=1e-9)
    # ε has the units of the squares, so that both scaled together change nothing; here it cannot follow
    if scale < 1:
        assert baselines.transrate(x * scale, y) == 0.0
    else:  # log(1 + s²) becomes 2 log s: every direction of every class adds the same
        means = [1 - min(5, int((y == c).sum())) / 5 for c in np.unique(y)]
        step = baselines.transrate(x * scale * 10, y) - baselines.transrate(x * scale, y)
        assert step == pytest.approx(5 * float(np.mean(means)) * math.log(10), abs=1e-9)


def test_features_that_are_all_alike_are_refused_whatever_their_mean_rounds_to() -> None:
    with pytest.raises(ValueError, match="all rows are alike"):
        baselines.h_score(np.full((7, 3), 0.1), [0, 1, 0, 1, 0, 1, 0])


# ---------------------------------------------------------------- what users hand over


@pytest.mark.parametrize("kind", ["strings", "objects", "category", "bool", "Int64", "tensor", "list"])
def test_labels_and_features_of_any_kind_give_the_same_scores(kind: str) -> None:
    import torch

    pd = pytest.importorskip("pandas")
    x, y = data(40, 4)
    y = y % 2 if kind == "bool" else y
    words = pd.Series([f"class {c}" for c in y], index=range(9, 49))
    labels = {
        "strings": words,
        "objects": words.astype(object),
        "category": words.astype("category"),
        "bool": pd.Series(y == 1, dtype="boolean"),
        "Int64": pd.Series(y, dtype="Int64"),
        "tensor": torch.tensor(y),
        "list": words.tolist(),
    }[kind]
    features = pd.DataFrame(x).astype("Float64") if kind == "Int64" else torch.tensor(x, requires_grad=True)
    for score in (baselines.logme, baselines.h_score, baselines.transrate, baselines.nearest_class_mean):
        assert score(features, labels) == pytest.approx(score(x, y), rel=1e-9)
    source = np.arange(40) % 3
    assert baselines.nce(source, labels) == pytest.approx(baselines.nce(source, y), abs=1e-12)
    assert baselines.nce(labels, source) == pytest.approx(baselines.nce(y, source), abs=1e-12)
    theta = torch.softmax(torch.randn(40, 5, generator=torch.Generator().manual_seed(0)), 1)
    want = baselines.leep(theta.double().numpy(), y)
    assert baselines.leep(theta, labels) == pytest.approx(want, abs=1e-6)
    assert baselines.leep(theta.bfloat16(), labels) == pytest.approx(want, abs=0.01)


def test_missing_labels_are_refused_by_row() -> None:
    pd = pytest.importorskip("pandas")
    x = np.random.default_rng(0).normal(size=(4, 2))
    for gap in (pd.Series([0, None, 1, 1], dtype="Int64"), ["a", None, "b", "b"], [0, float("nan"), 1, 1]):
        for call in (
            lambda g=gap: baselines.nearest_class_mean(x, g),
            lambda g=gap: baselines.nce(g, [0, 1, 0, 1]),
        ):
            with pytest.raises(ValueError, match=r"labels has a missing label, .*, in row 1"):
                call()
    with pytest.raises(ValueError, match="labels: class b has one sample"):
        baselines.nearest_class_mean(x, ["a", "a", "a", "b"])
