"""The exercises of chapter 6: references by an independent route; test_exercises.py has what all chapters share."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from t2v import information, weights, world
from t2v.exercises import ch06


def test_references_agree_with_the_package():
    rng = np.random.default_rng(0)
    joint = rng.dirichlet(np.ones(24)).reshape(2, 3, 4)
    assert ch06.overfitting(joint) == pytest.approx(
        information.conditional_mutual_information(joint.transpose(1, 2, 0)), abs=1e-12
    )
    model = world.coin()["model"]
    logs, prior = world.log_likelihood(model, 3).T, rng.dirichlet(np.ones(7))
    np.testing.assert_allclose(ch06.gibbs(logs, prior, 0.6), world.gibbs(model, 3, 0.6, prior), atol=1e-12)
    mean, log_var = rng.normal(size=4), rng.normal(size=4)
    assert ch06.gaussian_kl(mean, log_var, 0.3) == pytest.approx(
        weights.gaussian_kl(mean, log_var, 0.3).item()
    )
    best = ch06.best_prior_var(mean, log_var)
    assert all(
        ch06.gaussian_kl(mean, log_var, best) < ch06.gaussian_kl(mean, log_var, f * best) for f in (0.9, 1.1)
    )
    assert ch06.realisable_bound(30.0, 400, 0.05) == pytest.approx(weights.pac_bayes(0.0, 30.0, 400, 0.05))
    assert ch06.EXERCISES["6.6"].reference == pytest.approx(200 * math.log(10))


def test_moments_agree_with_a_noisy_layer():
    torch.manual_seed(0)
    layer = weights.make_noisy(torch.nn.Linear(4, 3, bias=False), init_log_var=-1.0).train()
    x = torch.randn(4)
    with torch.no_grad():
        out = layer(x.expand(20_000, 4))
    var = np.full((3, 4), math.exp(-1))
    mean, variance = ch06.noisy_moments(x.numpy(), layer.weight_mean.detach().numpy(), var)
    np.testing.assert_allclose(out.mean(0).numpy(), mean, atol=0.05)
    np.testing.assert_allclose(out.var(0).numpy(), variance, rtol=0.05)
