"""The exercises of chapter 8: references by an independent route; the chapter's two theorems hold in numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, rankdata, sem, spearmanr
from torch import nn

from t2v import fisher
from t2v.exercises.ch08 import partial_spearman, relative_error


def test_partial_rank_correlation_is_that_of_the_residuals() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=40)
    x, y = np.exp(z + rng.normal(size=40)), z - 0.5 * rng.normal(size=40)
    ranks = [rankdata(v) for v in (x, y, z)]
    left = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    assert np.isclose(partial_spearman(x, y, z), pearsonr(*left).statistic)
    assert abs(partial_spearman(x, y, z)) < spearmanr(x, y).statistic


def test_relative_error_is_scipys_standard_error_over_the_mean() -> None:
    values = np.random.default_rng(0).gamma(0.5, size=(11, 4))
    assert np.allclose(relative_error(values), sem(values) / values.mean(0))


@pytest.mark.parametrize("p", [0.5, 0.6, 1 / np.sqrt(2), 0.8, 0.95])
def test_noise_of_one_draw_with_two_classes(p: float) -> None:
    """Relative variance 1/q − 4 for a sampled label and 4q for a Rademacher root, with q = p(1 − p)."""
    model = nn.Linear(1, 2).requires_grad_(False)
    model.weight.zero_()
    model.bias.copy_(torch.tensor([np.log(p / (1 - p)), 0.0]))
    x = torch.ones(40_000, 1)
    q = p * (1 - p)
    for expectation, theory in (("sample", 1 / q - 4), ("rademacher", 4 * q)):
        squares = fisher.gradient_norms(model, x, expectation=expectation, batch_size=40_000).double() ** 2
        exact = fisher.trace(model, x[:1])
        assert np.isclose(squares.mean() / exact, 1, atol=0.05)
        assert np.isclose(squares.var() / exact**2, theory, rtol=0.1, atol=0.01)


def laws_of_one_draw(p: np.ndarray, a: np.ndarray) -> tuple[float, float]:
    """Relative variance of the square of one score: kurtosis − 1, and 2 − 2 Σ p²ã⁴/s⁴, with ã centred under p."""
    centred = a - p @ a
    second = p @ centred**2
    return float(p @ centred**4 / second**2 - 1), float(2 - 2 * p**2 @ centred**4 / second**2)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 7), spread=st.sampled_from([0.1, 1.0, 50.0]))
def test_noise_of_one_draw_with_any_number_of_classes(seed: int, classes: int, spread: float) -> None:
    """Every label and every sign, one after the other; the Rademacher root stays below 2 − 2/C, also for a filter."""
    rng = np.random.default_rng(seed)
    p, a = rng.dirichlet(np.full(classes, spread)) * (1 - 1e-6) + 1e-6 / classes, rng.normal(size=classes)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=classes)))
    root = np.sqrt(p) * signs
    root -= root.sum(1, keepdims=True) * p
    scores = np.eye(classes) - p
    sampled, rademacher = laws_of_one_draw(p, a)
    for weight, vectors, theory in (
        (p, scores, sampled),
        (np.full(len(signs), 1 / len(signs)), root, rademacher),
    ):
        square = (vectors @ a) ** 2
        mean = weight @ square
        assert np.isclose(mean, p @ (a - p @ a) ** 2)
        assert np.isclose(weight @ (square / mean - 1) ** 2, theory, rtol=1e-6, atol=1e-9)
    assert rademacher <= (2 - 2 / classes) * (1 + 1e-9)
    filters = ((root @ rng.normal(size=(classes, 5))) ** 2).sum(1)  # five weights of one filter
    assert filters.var() / filters.mean() ** 2 <= (2 - 2 / classes) * (1 + 1e-9)


def test_ten_equal_classes_and_the_law_of_two() -> None:
    """Where the head is as unsure as can be, a weight that feeds one logit still wants the Rademacher root."""
    sampled, rademacher = laws_of_one_draw(np.full(10, 0.1), np.eye(10)[0])
    assert np.isclose(sampled, 64 / 9)
    assert np.isclose(rademacher, 0.3777777778)
    q = 0.3 * 0.7
    assert np.allclose(laws_of_one_draw(np.array([0.3, 0.7]), np.array([5.0, 1.0])), (1 / q - 4, 4 * q))


@pytest.mark.parametrize("expectation", ["sample", "rademacher"])
def test_the_package_draws_with_the_noise_of_the_law(expectation: fisher.Expectation) -> None:
    """The four biases of a head are one filter whose pulled-back logits are the unit vectors."""
    model = nn.Linear(1, 4).requires_grad_(False)
    model.weight.zero_()
    p = torch.tensor([0.15, 0.6, 0.2, 0.05], dtype=torch.float64)
    model.bias.copy_(p.log())
    x = torch.ones(60_000, 1)
    norms = fisher.gradient_norms(model, x, expectation=expectation, batch_size=60_000, layers=["bias"])
    scores = torch.eye(4).double() - p
    h = scores.square().sum(1)
    m = p.sqrt()[:, None] * (scores @ scores.T) * p.sqrt()
    theory = {
        "sample": p @ h**2 / (p @ h) ** 2 - 1,
        "rademacher": 2 * (m.square().sum() - m.diag().square().sum()) / m.trace() ** 2,
    }
    square = norms.double() ** 2
    assert np.isclose(square.mean(), p @ h, rtol=0.02)
    assert np.isclose(square.var() / square.mean() ** 2, theory[expectation], rtol=0.1)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 10), classes=st.integers(2, 6))
def test_trace_is_bounded_by_the_impurity(seed: int, scale: float, classes: int) -> None:
    """tr F(x) ≤ ‖∂z/∂w‖² (1 − ‖p‖²), image by image."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, classes)).double()
    x = scale * torch.randn(5, 3, dtype=torch.float64)
    squares = fisher.gradient_norms(net, x).square()
    names = [n for n, _ in net.named_parameters()]
    for row, square in zip(x, squares, strict=True):
        jacobian = torch.func.jacrev(lambda p, r=row: torch.func.functional_call(net, p, (r[None],))[0])(
            dict(net.named_parameters())
        )
        operator = torch.cat([jacobian[n].flatten(1) for n in names], 1)
        impurity = 1 - net(row[None]).softmax(1).square().sum()
        assert square <= torch.linalg.matrix_norm(operator, 2) ** 2 * impurity * (1 + 1e-9)


def test_renaming_the_classes_changes_nothing_in_the_exact_fisher() -> None:
    torch.manual_seed(0)
    body, head = nn.Sequential(nn.Linear(3, 6), nn.Tanh()).double(), nn.Linear(6, 5).double()
    order = torch.randperm(5)
    renamed = nn.Linear(6, 5).double()
    renamed.load_state_dict({"weight": head.weight[order], "bias": head.bias[order]})
    x = torch.randn(7, 3, dtype=torch.float64)
    a, b = (fisher.diagonal(nn.Sequential(body, h), x, layers=["0"]) for h in (head, renamed))
    assert all(torch.allclose(a[name], b[name], rtol=1e-12) for name in a)
    assert sum(v.sum() for v in a.values()) > 0
