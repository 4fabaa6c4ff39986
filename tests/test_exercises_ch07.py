"""The exercises of chapter 7: references by an independent route; test_exercises.py has what all chapters share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from t2v import fisher, training, weights
from t2v.exercises import ch07


def test_gauss_newton_is_the_packages_fisher():
    model = training.mlp([4, 3, 3], seed=0).double()
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    params = {n: p.detach() for n, p in model.named_parameters()}
    jacobians = torch.func.jacrev(lambda p: torch.func.functional_call(model, p, (x,)))(params)
    jacobian = torch.cat([j.flatten(2) for j in jacobians.values()], dim=2).numpy()
    ours = ch07.gauss_newton(jacobian, model(x).softmax(1).detach().numpy())
    np.testing.assert_allclose(ours, fisher.full(model, x).numpy(), atol=1e-12)


def test_logit_fisher_is_the_covariance_of_the_score():
    z = np.array([0.3, -1.0, 2.0])
    p = np.exp(z) / np.exp(z).sum()
    scores = np.eye(3) - p
    np.testing.assert_allclose(ch07.logit_fisher(z), (scores.T * p) @ scores, atol=1e-12)


def test_divergences_agree_with_the_package():
    rng = np.random.default_rng(0)
    mean, fisher_matrix = rng.normal(size=3), ch07._spd(rng, 3)
    ours = ch07.laplace_kl(mean, fisher_matrix, 20, 0.4)
    assert ours == pytest.approx(weights.laplace_information(mean, fisher_matrix, 20, 0.4, damping=0).item())
    x = rng.normal(size=(6, 2))
    data_side = 0.5 * np.linalg.slogdet(np.eye(6) + 0.4 * x @ x.T / 0.9**2)[1]
    assert ch07.regression_information(x, 0.9, 0.4) == pytest.approx(data_side, abs=1e-10)


def test_smallest_trace_by_search():
    found = minimize_scalar(lambda log_c: 2 * np.exp(-2 * log_c) + 0.3 * np.exp(2 * log_c)).fun
    assert ch07.smallest_trace(2.0, 0.3) == pytest.approx(found, rel=1e-8)


def test_batch_square_and_rank_by_enumeration():
    p = np.array([0.7, 0.3])
    scores = np.array([0.3, -0.7])
    square = 0.0
    for labels in np.ndindex(*(2,) * 4):
        square += np.prod(p[list(labels)]) * np.mean(scores[list(labels)]) ** 2
    assert square == pytest.approx((p @ scores**2) / 4)
    assert np.linalg.matrix_rank(np.diag(p) - np.outer(p, p)) == 1


@pytest.mark.parametrize(("inputs", "hidden", "classes", "dead"), [(5, 4, 3, 1), (3, 6, 4, 2), (4, 3, 2, 0)])
def test_zero_directions_are_the_zero_eigenvalues(inputs, hidden, classes, dead):
    model = training.mlp([inputs, hidden, classes], seed=1).double()
    model[1].bias.data[:dead] = -100
    x = torch.randn(400, inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model[1].bias.data[dead:] = 0.1
    values = torch.linalg.eigvalsh(fisher.full(model, x))
    assert int((values < 1e-12 * values[-1]).sum()) == ch07.zero_directions(inputs, hidden, classes, dead)
