"""Information in the weights: closed forms against torch.distributions, layers against drawn weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from t2v import information, variational, weights

SETTINGS = settings(max_examples=50, deadline=None)


def spd(k: int, seed: int) -> torch.Tensor:
    a = torch.randn(k, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return a @ a.T / k + 0.1 * torch.eye(k, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------- divergences


@given(st.integers(1, 6), st.integers(0, 1000), st.floats(0.01, 100))
@SETTINGS
def test_gaussian_kl_against_torch(k, seed, prior_var):
    mean, log_var = normal(k, seed=seed), normal(k, seed=seed + 1)
    prior = Normal(torch.zeros(k, dtype=torch.float64), math.sqrt(prior_var))
    oracle = kl_divergence(Normal(mean, (log_var / 2).exp()), prior).sum()
    assert weights.gaussian_kl(mean, log_var, prior_var).item() == pytest.approx(oracle.item(), rel=1e-10)


def test_gaussian_kl_against_sampling():
    mean, log_var = normal(3), normal(3, seed=1)
    q, p = Normal(mean, (log_var / 2).exp()), Normal(torch.zeros(3, dtype=torch.float64), 0.7)
    torch.manual_seed(0)
    w = q.sample((200_000,))
    sampled = (q.log_prob(w) - p.log_prob(w)).sum(1)
    error = sampled.std() / math.sqrt(len(w))
    assert abs(sampled.mean() - weights.gaussian_kl(mean, log_var, 0.49)) < 4 * error


def test_gaussian_kl_takes_arrays_lists_and_a_prior_for_each_weight():
    assert float(weights.gaussian_kl([0.0, 0.0], [0.0, 0.0], 1.0)) == 0
    each = weights.gaussian_kl(
        np.array([1.0, 2.0]), np.zeros(2), torch.tensor([1.0, 4.0], dtype=torch.float64)
    )
    assert each.item() == pytest.approx(0.5 + 0.5 * (0.25 + 1 - 1 + math.log(4)))


@given(st.integers(1, 6), st.integers(0, 1000), st.floats(0.05, 20))
@SETTINGS
def test_full_gaussian_kl_against_torch(k, seed, prior_var):
    mean, covariance = normal(k, seed=seed), spd(k, seed)
    prior = MultivariateNormal(
        torch.zeros(k, dtype=torch.float64), prior_var * torch.eye(k, dtype=torch.float64)
    )
    oracle = kl_divergence(MultivariateNormal(mean, covariance), prior).item()
    assert weights.gaussian_kl_full(mean, covariance, prior_var).item() == pytest.approx(
        oracle, rel=1e-9, abs=1e-9
    )


@given(st.integers(1, 6), st.integers(0, 1000), st.integers(1, 500), st.floats(0.05, 20))
@SETTINGS
def test_laplace_kl_against_torch(k, seed, m, prior_var):
    """C25: Σ = (mF)⁻¹ in the general formula."""
    mean, fisher = normal(k, seed=seed), spd(k, seed)
    prior = MultivariateNormal(
        torch.zeros(k, dtype=torch.float64), prior_var * torch.eye(k, dtype=torch.float64)
    )
    oracle = kl_divergence(MultivariateNormal(mean, torch.linalg.inv(m * fisher)), prior).item()
    ours = weights.laplace_kl(
        mean, torch.logdet(fisher).item(), m, prior_var, torch.linalg.inv(fisher).trace().item()
    )
    assert ours.item() == pytest.approx(oracle, rel=1e-8, abs=1e-8)
    assert weights.laplace_information(mean, fisher, m, prior_var, damping=0).item() == pytest.approx(
        oracle, rel=1e-8, abs=1e-8
    )
    posterior = MultivariateNormal(mean, torch.linalg.inv(m * fisher + prior.precision_matrix))
    assert weights.laplace_information(mean, fisher, m, prior_var).item() == pytest.approx(
        kl_divergence(posterior, prior).item(), rel=1e-8, abs=1e-8
    )


def test_the_printed_formula_is_off_by_what_the_chapter_says():
    """½[log|mF| + ‖w‖²/λ²] leaves out k log λ² − k + tr((mF)⁻¹)/λ²; the last depends on the data."""
    k, m, prior_var = 4, 30, 0.3
    mean, fisher = normal(k), spd(k, 1)
    printed = 0.5 * (torch.logdet(m * fisher) + (mean**2).sum() / prior_var)
    left_out = 0.5 * (k * math.log(prior_var) - k + torch.linalg.inv(m * fisher).trace() / prior_var)
    right = weights.laplace_information(mean, fisher, m, prior_var, damping=0)
    assert right.item() == pytest.approx((printed + left_out).item(), abs=1e-10)


@given(st.integers(1, 5), st.integers(6, 20), st.integers(0, 1000), st.floats(0.1, 10), st.floats(0.1, 3))
@SETTINGS
def test_bayesian_linear_regression_is_exact(k, m, seed, prior_var, sigma):
    """C27: I(D;W) from the data's side, from log|I + λ²mF|, and as the mean KL of the Laplace posterior."""
    x = normal(m, k, seed=seed)
    fisher = x.T @ x / (m * sigma**2)
    data_side = 0.5 * torch.logdet(torch.eye(m, dtype=torch.float64) + prior_var / sigma**2 * x @ x.T).item()
    fisher_side = 0.5 * torch.logdet(torch.eye(k, dtype=torch.float64) + prior_var * m * fisher).item()
    covariance = weights.laplace_covariance(fisher, m, damping=1 / prior_var)
    gain = covariance @ x.T / sigma**2
    spread = gain @ (prior_var * x @ x.T + sigma**2 * torch.eye(m, dtype=torch.float64)) @ gain.T
    at_zero = weights.gaussian_kl_full(torch.zeros(k), covariance, prior_var).item()
    assert fisher_side == pytest.approx(data_side, abs=1e-8)
    assert at_zero + 0.5 * spread.trace().item() / prior_var == pytest.approx(data_side, abs=1e-8)


def test_another_unit_of_length_moves_log_f_and_not_the_information():
    """C27: measure x in centimetres, and log|F| rises by 2k log 100 while I(D;W) stays: no such bound can hold."""
    k, m, prior_var, sigma = 4, 30, 0.5, 0.7
    x, information_dw, log_f = normal(m, k), [], []
    for unit in (1.0, 100.0):
        fisher = (unit * x).T @ (unit * x) / (m * sigma**2)
        lam = prior_var / unit**2  # the weights shrink as the inputs grow
        posterior = weights.laplace_covariance(fisher, m, damping=1 / lam)
        information_dw.append(0.5 * (k * math.log(lam) - torch.logdet(posterior)).item())
        log_f.append(torch.logdet(fisher).item())
    by_data = torch.eye(m, dtype=torch.float64) + prior_var / sigma**2 * x @ x.T
    assert information_dw == pytest.approx([0.5 * torch.logdet(by_data).item()] * 2, abs=1e-8)
    assert log_f[1] - log_f[0] == pytest.approx(2 * k * math.log(100))


def test_bad_divergence_input_is_named():
    for bad in (0.0, -1.0):
        with pytest.raises(ValueError, match="prior_var: smallest entry"):
            weights.gaussian_kl([0.0], [0.0], bad)
        with pytest.raises(ValueError, match="prior_var"):
            weights.laplace_kl([0.0], 0.0, 3, bad, 1.0)
    with pytest.raises(ValueError, match="log_var: shape"):
        weights.gaussian_kl([0.0, 1.0], [0.0], 1.0)
    with pytest.raises(ValueError, match="mean: has entries that are not finite"):
        weights.gaussian_kl([math.nan], [0.0], 1.0)
    with pytest.raises(TypeError, match="mean: str"):
        weights.gaussian_kl("w", [0.0], 1.0)
    for m in (0, -3, 2.5):
        with pytest.raises(ValueError, match="m: "):
            weights.laplace_kl([0.0], 0.0, m, 1.0, 1.0)
    with pytest.raises(ValueError, match="fisher_logdet: -inf; F is singular"):
        weights.laplace_kl([0.0], -math.inf, 3, 1.0, 1.0)
    with pytest.raises(ValueError, match="covariance: shape"):
        weights.gaussian_kl_full([0.0, 0.0], [[1.0]], 1.0)
    with pytest.raises(ValueError, match="not positive definite"):
        weights.gaussian_kl_full([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]], 1.0)


def test_singular_fisher_is_refused_with_its_rank():
    x = normal(3, 5)
    fisher = x.T @ x / 3
    with pytest.raises(ValueError, match="rank 3 of 5"):
        weights.laplace_covariance(fisher, 10)
    assert weights.laplace_covariance(fisher, 10, damping=0.1).shape == (5, 5)
    with pytest.raises(ValueError, match="damping: -1"):
        weights.laplace_covariance(fisher, 10, damping=-1)
    with pytest.raises(ValueError, match="a square matrix"):
        weights.laplace_covariance(x, 10)


# ---------------------------------------------------------------- noisy layers

CONVS = [
    {},
    {"stride": 2, "padding": 1},
    {"groups": 2, "bias": False},
    {"padding": 1, "padding_mode": "circular"},
    {"dilation": 2, "padding": 2},
]


def moments(
    layer: weights.NoisyLayer, x: torch.Tensor, draws: int = 4000
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        out = torch.stack([layer.draw(generator)(x) for _ in range(draws)])
    return out.mean(0), out.var(0)


@pytest.mark.parametrize("make", [lambda: nn.Linear(5, 3), lambda: nn.Linear(5, 3, bias=False)])
def test_local_reparametrisation_of_a_linear_layer(make):
    torch.manual_seed(0)
    layer = weights.make_noisy(make(), init_log_var=-1.0).train()
    x = torch.randn(2, 5)
    mean, var = moments(layer, x)
    torch.manual_seed(1)
    with torch.no_grad():
        local = layer(x.repeat(4000, 1)).reshape(4000, 2, 3)
    torch.testing.assert_close(local.mean(0), mean, atol=0.12, rtol=0)
    torch.testing.assert_close(local.var(0), var, atol=0, rtol=0.12)


@pytest.mark.parametrize("options", CONVS)
def test_local_reparametrisation_of_a_convolution(options):
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, 3, **options)
    layer = weights.make_noisy(plain, init_log_var=-2.0).train()
    x = torch.randn(1, 4, 6, 6)
    mean, var = moments(layer, x, 2000)
    torch.manual_seed(1)
    with torch.no_grad():
        local = layer(x.expand(2000, -1, -1, -1))
        torch.testing.assert_close(layer.eval()(x), plain(x))
    torch.testing.assert_close(local.mean(0, keepdim=True), mean, atol=0.35, rtol=0)
    torch.testing.assert_close(local.var(0, keepdim=True), var, atol=0, rtol=0.25)
    assert (local.var(0, keepdim=True) / var).mean().item() == pytest.approx(1, abs=0.02)


def small(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()


def test_kl_is_the_sum_over_all_weights():
    net = weights.make_noisy(small(), prior_var=0.3, init_log_var=-2.0)
    total = sum(
        weights.gaussian_kl(p.detach(), torch.full_like(p, -2.0), 0.3).item() for p in small().parameters()
    )
    assert weights.kl(net).item() == pytest.approx(total, rel=1e-10)
    centred = weights.make_noisy(small(), prior_var=0.3, init_log_var=-2.0, centre="init")
    k = sum(p.numel() for p in small().parameters())
    assert weights.kl(centred).item() == pytest.approx(0.5 * k * (math.exp(-2) / 0.3 - 1 + math.log(0.3) + 2))


@pytest.mark.parametrize("prior", ["shared", "per_layer"])
def test_learned_prior_is_the_best_one(prior):
    net = weights.make_noisy(small(), prior=prior, init_log_var=-2.0)
    layers = [layer.offsets() for layer in weights.noisy_layers(net)]
    groups = (
        layers if prior == "per_layer" else [tuple(torch.cat(part) for part in zip(*layers, strict=True))]
    )

    def best(mean: torch.Tensor, log_var: torch.Tensor) -> float:
        def at(log_scale: float) -> float:
            return weights.gaussian_kl(mean.detach(), log_var.detach(), math.exp(log_scale)).item()

        return float(optimize.minimize_scalar(at, bounds=(-10, 5), method="bounded").fun)

    assert weights.kl(net).item() == pytest.approx(sum(best(*g) for g in groups), rel=1e-6)


def test_shared_prior_costs_at_least_as_much_as_one_a_layer():
    nets = [weights.make_noisy(small(), prior=p, init_log_var=-2.0) for p in ("per_layer", "shared")]
    assert weights.kl(nets[0]) < weights.kl(nets[1])


def test_drawn_networks_have_the_posterior_moments_and_no_noise():
    net = weights.make_noisy(small(), init_log_var=-3.0)
    first, again = weights.draw(net, 1), weights.draw(net, 1)
    x = normal(2, 1, 4, 4)
    torch.testing.assert_close(first(x), again(x), rtol=0, atol=0)
    torch.testing.assert_close(first(x), first(x), rtol=0, atol=0)
    drawn = torch.stack([weights.draw(net, s)[3].weight.detach() for s in range(600)])
    torch.testing.assert_close(drawn.mean(0), net[3].weight_mean.detach(), atol=0.05, rtol=0)
    assert (drawn.var(0) / math.exp(-3)).mean().item() == pytest.approx(1, abs=0.05)


def test_mean_network_is_the_plain_one():
    model, x = small(), normal(2, 1, 4, 4)
    plain = weights.mean_network(weights.make_noisy(model))
    torch.testing.assert_close(plain(x), model(x), rtol=0, atol=0)
    assert not list(weights.noisy_layers(plain))
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in model.named_parameters()]


def test_make_noisy_leaves_the_model_and_names_what_it_refuses():
    model = small()
    before = [p.clone() for p in model.parameters()]
    noisy = weights.make_noisy(model)
    with torch.no_grad():
        next(noisy.parameters()).add_(1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    with pytest.raises(ValueError, match="layer '1' is a BatchNorm1d"):
        weights.make_noisy(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    twice = nn.Linear(2, 2)  # the second place would have stayed without noise
    with pytest.raises(ValueError, match=r"'0\.weight' and '2\.weight' are one shared tensor"):
        weights.make_noisy(nn.Sequential(twice, nn.ReLU(), twice))
    with pytest.raises(ValueError, match="prior: 'flat'; accepted: fixed, shared, per_layer"):
        weights.make_noisy(model, prior="flat")
    with pytest.raises(ValueError, match="centre: 'mean'"):
        weights.make_noisy(model, centre="mean")
    with pytest.raises(ValueError, match="prior_var"):
        weights.make_noisy(model, prior_var=0)
    with pytest.raises(ValueError, match="no noisy layer"):
        weights.kl(model)


def test_gradient_is_finite_at_a_zero_input():
    net = weights.make_noisy(nn.Linear(3, 2, bias=False)).train()
    net(torch.zeros(4, 3)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


# ---------------------------------------------------------------- training


def blobs(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (n,), generator=g)
    return torch.randn(n, 2, generator=g) + 3.0 * (2 * y[:, None] - 1), y


@pytest.mark.parametrize(("m", "beta"), [(40, 1.0), (160, 4.0)])
def test_trained_variance_is_that_of_the_objective(m, beta):
    """At the optimum 1/σ² = 1/λ² + (m/β) E_q ∂²(mean loss): a wrong m or β would be off by a factor."""
    x = torch.linspace(-2, 2, m)[:, None]
    y = (torch.rand(m, generator=torch.Generator().manual_seed(0)) < torch.sigmoid(x[:, 0])).long()
    torch.manual_seed(0)
    net = weights.make_noisy(nn.Linear(1, 2, bias=False), prior_var=4.0, init_log_var=-3.0)
    weights.train(net, x, y, beta, steps=900, batch_size=m, lr=5e-2)
    mean, log_var = net.weight_mean.detach()[:, 0], net.weight_log_var.detach()[:, 0]
    w = mean + (log_var / 2).exp() * torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1))
    p = torch.sigmoid((w[:, 1] - w[:, 0])[:, None] * x[:, 0])
    curvature = (x[:, 0] ** 2 * p * (1 - p)).mean().item()
    wanted = 1 / (1 / 4.0 + m / beta * curvature)
    np.testing.assert_allclose(log_var.exp().numpy(), wanted, rtol=0.1)


def test_training_is_reproducible_and_leaves_the_random_state():
    x, y = blobs(60)
    nets = [weights.make_noisy(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    torch.manual_seed(7)
    expected = torch.randn(1)
    torch.manual_seed(7)
    histories = [weights.train(net, x, y, 0.1, steps=30, seed=3) for net in nets]
    assert torch.equal(torch.randn(1), expected)
    np.testing.assert_array_equal(histories[0].kl, histories[1].kl)
    assert all(torch.equal(a, b) for a, b in zip(*(n.parameters() for n in nets), strict=True))
    assert not nets[0].training


def test_a_sweep_trains_each_network_on_its_own_rows_labels_and_price():
    x, y = blobs(120)
    nets = []
    for _ in range(3):
        torch.manual_seed(0)
        nets.append(weights.make_noisy(nn.Linear(2, 2), prior_var=1.0, init_log_var=-4.0))
    rows = torch.stack([torch.arange(60), torch.arange(60, 120), torch.arange(60)])
    labels = torch.stack([y, 1 - y, y])
    history = weights.train_many(nets, x, labels, [0.01, 0.01, 100.0], rows=rows, steps=400, lr=2e-2)
    assert weights.evaluate(nets[0], x, y).error < 0.05
    assert weights.evaluate(nets[1], x, 1 - y).error < 0.05
    assert weights.kl(nets[2]).item() < 1 < 2 < weights.kl(nets[0]).item()
    assert history.kl.shape == (len(history.steps), 3)


def test_sweep_scores_every_seed_and_price():
    train_set, test_set = blobs(120), blobs(60, seed=9)
    flipped = torch.stack([train_set[1], 1 - train_set[1]])

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Linear(2, 2)

    options = {"m": 50, "seeds": 2, "steps": 300}
    out = weights.sweep(build, (train_set[0], flipped), test_set, [0.01, 100.0], **options)
    once = weights.sweep(
        build, train_set, test_set, [0.01, 100.0], **options
    )  # one row of labels for all seeds
    assert np.array_equal(once.test_error[0], out.test_error[0])
    assert (once.test_error[:, 0] < 0.1).all()
    assert out.kl.shape == out.test_error.shape == (2, 2)
    assert out.parameters == 6
    assert (out.train_error[:, 0] < 0.1).all()
    assert out.test_error[0, 0] < 0.1
    assert out.test_error[1, 0] > 0.9
    assert (out.kl[:, 0] > out.kl[:, 1]).all()
    with pytest.raises(ValueError, match="m: 500; the training set has 120"):
        weights.sweep(lambda seed: nn.Linear(2, 2), train_set, test_set, [0.1], m=500)


def test_a_price_is_a_share_of_the_rows_trained_on():
    """β KL/m, with m the rows that a network sees and not those that it could have seen."""
    x, y = blobs(120)
    rows = torch.arange(30, 60)
    nets = [weights.make_noisy(nn.Linear(2, 2), init_log_var=-4.0) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    options = {"steps": 40, "batch_size": 10, "seed": 5}
    weights.train_many([nets[0]], x, y, [4.0], rows=rows[None], **options)
    weights.train(nets[1], x[rows], y[rows], 4.0, **options)
    assert all(torch.equal(a, b) for a, b in zip(*(n.parameters() for n in nets), strict=True))


def seen_rows(seed: int, m: int, n: int) -> torch.Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:m]


def test_a_sweep_trains_and_is_scored_on_its_own_m_rows():
    """Labels are turned round outside the rows that a seed trains on: scored there, it would be wrong."""
    (x, y), fresh = blobs(120), blobs(80, seed=9)
    labels = torch.stack([1 - y, 1 - y])
    for seed in range(2):
        labels[seed, seen_rows(seed, 30, 120)] = y[seen_rows(seed, 30, 120)]

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Linear(2, 2)

    found = weights.sweep(build, (x, labels), fresh, [0.01, 0.02, 300.0], m=30, seeds=2, steps=200)
    assert found.kl.shape == (2, 3)
    assert found.train_error[:, :2].max() < 0.1
    assert found.train_loss[:, :2].max() < 0.3
    assert found.test_error[:, :2].max() < 0.1
    assert found.train_loss[:, 2].min() > found.train_loss[:, :2].max() + 0.1
    assert found.kl[:, 2].max() < found.kl[:, :2].min() - 2
    turned = weights.sweep(build, (x, labels), (fresh[0], 1 - fresh[1]), [0.01], m=30, seeds=2, steps=200)
    assert turned.test_error.min() > 0.9
    assert turned.test_loss.min() > 1 > turned.train_loss.max()


def test_errors_are_those_of_drawn_weights():
    """One weight w ~ N(1, 4) decides by the sign of w·x: drawn weights err with probability Φ(−½), the mean never."""
    net = weights.make_noisy(nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        net.weight_mean.copy_(torch.tensor([[0.0], [1.0]]))
        net.weight_log_var.copy_(torch.tensor([[-40.0], [math.log(4.0)]]))
    x, y = torch.tensor([[2.0], [-1.0]]), torch.tensor([1, 0])
    drawn = weights.evaluate(net, x, y, draws=2000)
    assert drawn.error == pytest.approx(stats.norm.cdf(-0.5), abs=0.03)
    loss = stats.norm(1, 2).expect(lambda w: (np.logaddexp(0, -2 * w) + np.logaddexp(0, -w)) / 2)
    assert drawn.cross_entropy == pytest.approx(loss, rel=0.06)
    assert weights.evaluate(net, x, y, draws=0).error == 0


def test_a_convolution_trains_too():
    g = torch.Generator().manual_seed(0)
    y = torch.randint(2, (80,), generator=g)
    x = torch.randn(80, 1, 4, 4, generator=g) + 2.0 * y[:, None, None, None]
    net = weights.make_noisy(small().float(), prior="per_layer")
    weights.train(net, x, y, 0.01, steps=200, lr=1e-2)
    assert weights.evaluate(net, x, y).error < 0.1


def test_scores_of_the_mean_weights_and_of_drawn_ones():
    x, y = blobs(50)
    net = weights.make_noisy(nn.Linear(2, 2), init_log_var=-20.0)
    sharp, mean = weights.evaluate(net, x, y, draws=4), weights.evaluate(net, x, y, draws=0)
    assert sharp.cross_entropy == pytest.approx(mean.cross_entropy, abs=1e-3)
    with torch.no_grad():
        assert mean.cross_entropy == pytest.approx(nn.functional.cross_entropy(net.eval()(x), y).item())


def test_bad_training_input_is_named():
    x, y = blobs(10)
    net = weights.make_noisy(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="beta: -1"):
        weights.train(net, x, y, -1)
    with pytest.raises(ValueError, match="inputs: empty"):
        weights.train(net, x[:0], y[:0], 1.0)
    with pytest.raises(ValueError, match="labels: shape"):
        weights.train(net, x, y[:5], 1.0)
    with pytest.raises(ValueError, match="inputs: some values are not finite"):
        weights.train(net, x * math.nan, y, 1.0)
    with pytest.raises(ValueError, match=r"labels: type torch\.float32"):
        weights.train(net, x, y.float(), 1.0)
    with pytest.raises(ValueError, match=r"labels: type torch\.int64, from -1"):
        weights.train(net, x, y - 1 - int(y.min()), 1.0)
    for name in ("steps", "batch_size"):
        with pytest.raises(ValueError, match=f"{name}: 0; a whole number"):
            weights.train(net, x, y, 1.0, **{name: 0})
    with pytest.raises(ValueError, match="betas: 2 values for 1"):
        weights.train_many([net], x, y, [1.0, 2.0])
    with pytest.raises(ValueError, match="models: empty"):
        weights.train_many([], x, y, [])
    with pytest.raises(ValueError, match="rows: shape"):
        weights.train_many([net], x, y, [1.0], rows=torch.arange(3))
    with pytest.raises(ValueError, match="draws: -1"):
        weights.evaluate(net, x, y, draws=-1)


# ---------------------------------------------------------------- PAC-Bayes


@given(st.floats(0, 0.99), st.floats(0, 2))
@SETTINGS
def test_inverse_kl_against_a_root_finder(q, budget):
    p = weights.inverse_kl(q, budget)

    def at(x: float) -> float:
        return float(stats.entropy([q, 1 - q], [x, 1 - x])) - budget

    root = optimize.brentq(at, max(q, 1e-12), 1 - 1e-13) if at(1 - 1e-13) > 0 and at(max(q, 1e-12)) < 0 else p
    assert q <= p <= 1
    assert p == pytest.approx(root, abs=1e-6)


def test_pac_bayes_of_no_error_is_the_closed_form():
    """kl(0‖p) = −log(1 − p)."""
    m, kl, delta = 500, 20.0, 0.05
    budget = (kl + math.log(2 * math.sqrt(m) / delta)) / m
    assert weights.pac_bayes(0.0, kl, m, delta) == pytest.approx(1 - math.exp(-budget), abs=1e-9)


def test_pac_bayes_holds_as_often_as_it_says():
    """A learner over 50 coins that picks the luckiest: KL = log 50 to the uniform prior."""
    rng = np.random.default_rng(0)
    m, delta, truth = 60, 0.1, 0.4
    errors = rng.binomial(m, truth, size=(2000, 50)).min(axis=1) / m
    violated = np.mean([weights.pac_bayes(e, math.log(50), m, delta) < truth for e in errors])
    free = np.mean([weights.pac_bayes(e, 0.0, m, delta) < truth for e in errors])
    assert violated <= delta
    assert free > violated, "without the KL the bound must be seen to break more often"


def test_pac_bayes_moves_the_right_way():
    at = weights.pac_bayes
    assert at(0.1, 10, 100) < at(0.1, 50, 100) < at(0.2, 50, 100)
    assert at(0.1, 50, 1000) < at(0.1, 50, 100)
    assert at(0.1, 50, 100, 0.5) < at(0.1, 50, 100, 0.01)
    for arguments, name in [((2, 1, 10), "error"), ((0.1, -1, 10), "kl_nats"), ((0.1, 1, 0), "m: 0")]:
        with pytest.raises(ValueError, match=name):
            at(*arguments)
    with pytest.raises(ValueError, match="delta: 1"):
        at(0.1, 1, 10, 1)


# ---------------------------------------------------------------- I(T;X) against I(W;D)


@pytest.mark.parametrize("alpha", [0.3, 0.7])
def test_one_layer_formula_against_simulation(alpha):
    """Entropies of the simulated outputs by spacings, with no Gaussian assumption."""
    weight, x = normal(2, 60), normal(400, 60, seed=1)
    z = weights.multiplicative_outputs(weight, x, alpha, draws=400)
    for unit in range(2):
        inner = np.mean([stats.differential_entropy(z[:, i, unit].numpy()) for i in range(400)])
        simulated = stats.differential_entropy(z[:, :, unit].flatten().numpy()[::4]) - inner
        formula = weights.one_layer_information(weight, x, alpha)[unit].item()
        assert formula == pytest.approx(simulated, abs=0.08)


def test_multiplicative_noise_is_that_of_information_dropout():
    """One α in chapters 4 and 6: the standard deviation of log ε; here with mean 1."""
    z = weights.multiplicative_outputs(torch.ones(1, 1), torch.ones(1, 1), 0.7, draws=40_000).flatten()
    assert z.log().std().item() == pytest.approx(0.7, rel=0.02)
    assert z.mean().item() == pytest.approx(1, abs=0.02)
    layer = variational.InformationDropout(1, 1, max_alpha=0.7).train()
    with torch.no_grad():
        layer.width.weight.zero_()
        layer.width.bias.fill_(30.0)  # the widest noise
        torch.manual_seed(0)
        t = layer(torch.ones(40_000, 1)).flatten()
    assert t.log().std().item() == pytest.approx(z.log().std().item(), rel=0.03)


def test_more_noise_lowers_the_information_in_the_activations():
    weight, x = normal(3, 20), normal(200, 20, seed=1)
    values = [weights.one_layer_information(weight, x, a).sum().item() for a in (0.1, 0.3, 1.0)]
    assert values[0] > values[1] > values[2] > 0


def test_a_layer_whose_information_is_not_what_the_formula_gives_is_refused():
    weight, x = normal(3, 20), normal(200, 20, seed=1)
    for alpha in (0, -1, math.nan, 30):
        with pytest.raises(ValueError, match=f"alpha: {alpha}"):
            weights.one_layer_information(weight, x, alpha)
        with pytest.raises(ValueError, match=f"alpha: {alpha}"):
            weights.multiplicative_outputs(weight, x, alpha, 3)
    blank = x.clone()
    blank[7] = 0
    with pytest.raises(ValueError, match=r"row 7 meets only zeros in unit 0.*\(3 of 600 such pairs\)"):
        weights.one_layer_information(weight, blank, 0.3)
    dead = weight.clone()
    dead[1] = 0
    with pytest.raises(ValueError, match=r"row 0 meets only zeros in unit 1.*\(200 of 600"):
        weights.one_layer_information(dead, x, 0.3)
    with pytest.raises(ValueError, match="weight, inputs: shapes"):
        weights.one_layer_information(weight, x[:, :5], 0.3)
    with pytest.raises(ValueError, match="inputs: has entries that are not finite"):
        weights.one_layer_information(weight, x / 0, 0.3)


def test_activations_can_know_more_than_the_weights():
    """C24: W a coin that never saw D, T = X xor W: I(W;D) = 0, I(T;X|W) = 1 bit; so with W constant."""
    joint_wd = np.full((2, 4), 1 / 8)
    joint_tx_w = np.zeros((2, 2, 2))
    for x in range(2):
        for w in range(2):
            joint_tx_w[x ^ w, x, w] = 0.25
    assert information.mutual_information(joint_wd) == 0
    assert information.conditional_mutual_information(joint_tx_w) == pytest.approx(1)
    assert information.mutual_information(np.eye(2) / 2) == pytest.approx(1)
