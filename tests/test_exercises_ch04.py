"""The exercises of chapter 4: references by an independent route; test_exercises.py has what all chapters share."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from t2v import information, variational
from t2v.exercises import ch04


def test_gaussian_kl_is_the_packages():
    mean, log_var = np.random.default_rng(0).normal(size=(2, 5, 3))
    expected = variational.kl_standard_normal(torch.tensor(mean), torch.tensor(log_var))
    np.testing.assert_allclose(ch04.gaussian_kl(mean, log_var), expected)


def test_slack_is_rate_minus_information():
    rng = np.random.default_rng(0)
    p, channel, prior = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4), 3), rng.dirichlet(np.ones(4))
    rate = sum(w * information.kl_divergence(row, prior) for w, row in zip(p, channel, strict=True))
    exact = rate - information.mutual_information(p[:, None] * channel)
    assert ch04.slack(p, channel, prior) == pytest.approx(exact, abs=1e-12)


def test_log_normal_kl_by_integration():
    p, q = stats.lognorm(0.4, scale=1.7), stats.lognorm(0.9, scale=math.exp(-0.3))
    expected = integrate.quad(lambda z: p.pdf(z) * (p.logpdf(z) - q.logpdf(z)), 1e-3, 40)[0]
    assert ch04.log_normal_kl(1.7, 0.4, -0.3, 0.9) == pytest.approx(expected, abs=1e-5)


def test_label_bits_of_a_perfect_and_of_a_blind_decoder():
    labels = np.arange(40) % 4
    assert ch04.label_bits(100 * np.eye(4)[labels], labels) == pytest.approx(2.0)
    assert ch04.label_bits(np.zeros((40, 4)), labels) == pytest.approx(0.0)


def test_dropout_bits_is_the_information_of_the_enumerated_channel():
    """X uniform on two symbols in two units, each dropped with probability 0.3."""
    channel = np.zeros((2, 9))
    for x in range(2):
        for a, pa in ((x, 0.7), (2, 0.3)):
            for b, pb in ((x, 0.7), (2, 0.3)):
                channel[x, 3 * a + b] += pa * pb
    assert ch04.dropout_bits(1.0, 0.3, 2) == pytest.approx(information.mutual_information(channel / 2))


def test_gaussian_bits_one_channel():
    assert ch04.gaussian_bits(np.array([3.0]), np.array([1.0])) == pytest.approx(1.0)
