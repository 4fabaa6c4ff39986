"""Oracles: numerical integration for the KL terms, closed-form Gaussian channels for the bounds."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import nn

from t2v import variational as v

ZEROS, PAIRS = np.zeros(9, int), np.zeros((9, 2))
FINITE = {"allow_nan": False, "allow_infinity": False}


def log_integral(p, q, low, high):
    """∫ p log(p/q) by adaptive quadrature: p and q are functions of a number."""
    return integrate.quad(lambda z: p(z) * (math.log(p(z)) - math.log(q(z))) if p(z) > 0 else 0.0, low, high,
                          limit=400)[0]  # fmt: skip


@pytest.mark.parametrize(("mean", "log_var"), [(0.0, 0.0), (1.3, -2.0), (-0.7, 0.9)])
def test_kl_standard_normal_agrees_with_numerical_integration(mean, log_var):
    p = stats.norm(mean, math.exp(log_var / 2)).pdf
    expected = log_integral(
        p, stats.norm.pdf, mean - 8 * math.exp(log_var / 2), mean + 8 * math.exp(log_var / 2)
    )
    got = v.kl_standard_normal(torch.tensor([[mean]]).double(), torch.tensor([[log_var]]).double())
    assert got.shape == (1,)
    assert got.item() == pytest.approx(expected, abs=1e-4)


def test_kl_standard_normal_sums_over_components_and_agrees_with_torch():
    mean, log_var = torch.randn(7, 5, dtype=torch.double), torch.randn(7, 5, dtype=torch.double)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, (log_var / 2).exp()), normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(v.kl_standard_normal(mean, log_var), expected)


@pytest.mark.parametrize(("signal", "alpha", "mu", "sigma"), [(0.4, 0.3, 0.2, 1.1), (2.5, 0.65, -0.5, 0.4)])
def test_softplus_kl_agrees_with_numerical_integration_of_log_normals(signal, alpha, mu, sigma):
    p = stats.lognorm(alpha, scale=signal).pdf
    q = stats.lognorm(sigma, scale=math.exp(mu)).pdf
    expected = log_integral(p, q, signal * math.exp(-8 * alpha), signal * math.exp(8 * alpha))
    t = torch.tensor([math.log(signal), 2 * math.log(alpha), mu, 2 * math.log(sigma)]).double()
    assert v.kl_normal(*t).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("signal", [0.1, 3.0])
@pytest.mark.parametrize("alpha", [0.05, 0.7])
def test_relu_kl_is_minus_log_alpha_up_to_a_constant(signal, alpha):
    """Against the density 1/z the integral is −log α − ½ log 2πe, whatever the signal."""
    p = stats.lognorm(alpha, scale=signal).pdf
    raw = log_integral(p, lambda z: 1 / z, signal * math.exp(-9 * alpha), signal * math.exp(9 * alpha))
    widest = -math.log(0.7) - 0.5 * math.log(2 * math.pi * math.e)
    got = v.kl_log_uniform(torch.tensor(math.log(alpha)).double(), 0.7).item()
    assert got == pytest.approx(raw - widest, abs=1e-4)


@pytest.mark.parametrize("activation", ["softplus", "relu"])
def test_layer_kl_is_the_units_sum(activation):
    torch.manual_seed(0)
    layer = v.InformationDropout(4, 3, activation=activation).double()
    with torch.no_grad():
        layer.prior_mean.fill_(0.3)
        layer.prior_log_var.fill_(-0.5)
    layer(x := torch.randn(6, 4, dtype=torch.double))
    signal, log_alpha = layer.distribution(x)
    expected = []
    for f, a in zip(signal.tolist(), log_alpha.exp().tolist(), strict=True):
        if activation == "relu":
            expected.append(sum(math.log(0.7 / ai) for fi, ai in zip(f, a, strict=True) if fi > 0))
        else:
            s2 = math.exp(-0.5)
            expected.append(
                sum(((ai**2 + (math.log(fi) - 0.3) ** 2) / s2 - 1) / 2 + math.log(s2**0.5 / ai)
                    for fi, ai in zip(f, a, strict=True))
            )  # fmt: skip
    np.testing.assert_allclose(layer.kl.detach(), expected, rtol=1e-9)


def test_noise_is_log_normal_of_the_stated_width():
    torch.manual_seed(0)
    layer = v.InformationDropout(2, 1).train()
    x = torch.randn(1, 2).expand(40_000, 2)
    signal, log_alpha = layer.distribution(x[:1])
    noise = (layer(x) / signal).log()
    assert noise.mean().item() == pytest.approx(0.0, abs=0.01)
    assert noise.std().item() == pytest.approx(log_alpha.exp().item(), rel=0.02)
    assert torch.equal(layer.eval()(x[:1]), signal)
    with v.noise_on(nn.Sequential(layer)):
        assert not torch.equal(layer(x[:1]), signal)
    assert torch.equal(layer(x[:1]), signal)


def test_convolutional_layer_and_its_kl():
    layer = v.InformationDropout(1, 4, kernel_size=3, stride=2, activation="relu")
    assert layer(torch.randn(5, 1, 8, 8)).shape == (5, 4, 4, 4)
    assert layer.kl.shape == (5,)
    assert (layer.kl >= 0).all()


@settings(max_examples=50, deadline=None)
@given(
    st.floats(-3, 3, **FINITE),
    st.floats(-4, 2, **FINITE),
    st.floats(-3, 3, **FINITE),
    st.floats(-4, 2, **FINITE),
)
def test_kl_is_never_negative_and_zero_at_the_prior(mean, log_var, prior_mean, prior_log_var):
    t = torch.tensor([mean, log_var, prior_mean, prior_log_var], dtype=torch.double)
    assert v.kl_normal(*t).item() >= -1e-12
    assert v.kl_normal(t[0], t[1], t[0], t[1]).abs().item() < 1e-12


# ------------------------------------------------------------------ bounds against closed forms


def linear_channel(noise_var, n=4000, d=2):
    """X ~ N(0, I), T = X + noise: I(T;X) = d/2 · log₂(1 + 1/noise_var)."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    return x, torch.full_like(x, math.log(noise_var)), d / 2 * math.log2(1 + 1 / noise_var)


@pytest.mark.parametrize("noise_var", [0.1, 1.0, 10.0])
def test_gaussian_information_sandwiches_the_closed_form(noise_var):
    mean, log_var, exact = linear_channel(noise_var)
    low, high = v.gaussian_information(mean, log_var)
    assert low == pytest.approx(exact, abs=0.12)
    assert high == pytest.approx(exact, abs=0.12)
    assert low <= high


def test_gaussian_information_low_side_is_capped_by_log_n():
    mean, log_var, exact = linear_channel(1e-8, n=64)
    low, high = v.gaussian_information(mean, log_var)
    assert low == pytest.approx(6.0, abs=1e-6)
    assert exact > 20
    assert high > exact


def test_gaussian_information_draws_noise_of_its_own():
    """Inputs from the same seed must not come back as the noise."""
    x = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    low, high = v.gaussian_information(x, torch.zeros_like(x), seed=0)
    assert low == pytest.approx(1.0, abs=0.1)
    assert high == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("noise_var", [0.2, 2.0])
def test_kl_bounds_the_information_and_its_slack_is_the_kl_of_the_marginal(noise_var):
    """Mean KL to the prior = I(T;X) + KL(p(t) ‖ prior): both known here."""
    mean, log_var, exact = linear_channel(noise_var, n=200_000)
    upper = v.kl_standard_normal(mean, log_var).mean().item() / math.log(2)
    total = 1 + noise_var
    slack = 2 * 0.5 * (total - 1 - math.log(total)) / math.log(2)
    assert upper == pytest.approx(exact + slack, abs=0.02)
    assert upper >= exact


class Fixed(v.NoisyLayer):
    """T = x + N(0, s²), against the prior N(0, I)."""

    def __init__(self, std):
        super().__init__()
        self.std = nn.Parameter(torch.tensor(float(std)))

    def forward(self, x):
        self.kl = v.kl_standard_normal(x, (2 * self.std.log()).expand_as(x))
        return x + self.std * torch.randn_like(x) if self.adds_noise() else x


def test_measure_bounds_a_known_channel():
    """Y = ±1 equally likely, T = Y + N(0, 1), the decoder is the true posterior: I(T;Y) by integration."""
    decoder = nn.Linear(1, 2)
    with torch.no_grad():
        decoder.weight.copy_(torch.tensor([[-1.0], [1.0]]))
        decoder.bias.zero_()
    y = torch.arange(40_000) % 2
    model = nn.Sequential(Fixed(1.0), decoder)
    got = v.measure(model, (2.0 * y - 1)[:, None], y, draws=4)
    mixture = lambda t: 0.5 * (stats.norm.pdf(t, 1) + stats.norm.pdf(t, -1))  # noqa: E731
    h_t = integrate.quad(lambda t: -mixture(t) * math.log2(mixture(t)), -12, 12)[0]
    exact = h_t - 0.5 * math.log2(2 * math.pi * math.e)
    assert got.i_ty_lower == pytest.approx(exact, abs=0.01)
    assert got.i_tx_upper == pytest.approx(0.5 / math.log(2), abs=1e-5)  # KL(N(±1, 1) ‖ N(0, 1)) = ½ nat
    assert got.i_tx_upper >= got.i_ty_lower
    assert got.accuracy == 1.0


def test_measure_reports_the_least_rate_of_several_layers():
    """I(T_k;X) is below every layer's rate: neither their sum nor the largest is the bound that is reported."""
    y = torch.arange(2000) % 2
    model = nn.Sequential(Fixed(0.05), Fixed(1.0), Fixed(0.05), nn.Linear(1, 2))
    got = v.measure(model, (2.0 * y - 1)[:, None], y, draws=2)
    assert got.i_tx_upper == pytest.approx(
        0.5 / math.log(2), abs=0.02
    )  # of the middle layer: KL(N(±1, 1) ‖ N(0, 1))


class SideBySide(nn.Module):
    """Two noisy layers that see the input each on its own, and a plain way around both."""

    def __init__(self, first, second, bypass=0.0):
        super().__init__()
        self.second, self.first, self.bypass = second, first, bypass  # registered in the other order

    def forward(self, x):
        t = torch.cat([self.first(x[:, :1]), self.second(x[:, 1:])], 1) + self.bypass * x
        return (
            torch.stack([-t[:, 0] - t[:, 1], t[:, 0] - t[:, 1], t[:, 1] - t[:, 0], t[:, 0] + t[:, 1]], 1) * 20
        )


def two_bits():
    y = torch.arange(4000) % 4
    return torch.stack([2.0 * (y % 2) - 1, 2.0 * (y // 2) - 1], 1), y


def test_layers_side_by_side_are_no_chain():
    """One layer's rate is less than what both carry together: only their sum is a bound."""
    x, y = two_bits()
    got = v.measure(SideBySide(Fixed(0.1), Fixed(0.3)), x, y, draws=2)
    assert got.i_ty_lower == pytest.approx(2, abs=0.02)
    assert got.rates[1] < 2 < got.rates[0]  # in the order of the pass: the less noisy one first
    assert got.i_tx_upper == pytest.approx(sum(got.rates))
    silent = v.measure(SideBySide(Fixed(0.1), v.GaussianEncoder(nn.Identity(), 1, 1)), x, y, draws=2)
    assert silent.i_tx_upper >= silent.i_ty_lower


def test_a_way_around_the_noise_has_no_bound():
    x, y = two_bits()
    got = v.measure(SideBySide(Fixed(0.3), Fixed(0.3), bypass=0.1), x, y, draws=2)
    assert got.i_tx_upper == math.inf
    assert all(math.isfinite(rate) for rate in got.rates)


def test_a_chain_behind_two_branches_is_bounded_by_its_last_layer():
    x, y = two_bits()
    last = Fixed(1.0)
    got = v.measure(
        nn.Sequential(SideBySide(Fixed(0.1), Fixed(0.1)), last, nn.Linear(4, 4)), x / 20, y, draws=2
    )
    assert len(got.rates) == 3
    assert got.i_tx_upper == pytest.approx(min(got.rates[2], math.inf))
    assert got.i_tx_upper >= got.i_ty_lower


def test_a_layer_that_is_used_twice_is_refused():
    layer = Fixed(0.5)
    with pytest.raises(ValueError, match="layer '0' is used more than once in a pass"):
        v.measure(nn.Sequential(layer, layer, nn.Linear(1, 2)), torch.randn(6, 1), torch.arange(6) % 2)


def test_measure_without_a_bounding_layer_says_infinity():
    model = nn.Sequential(v.InformationDropout(3, 4, activation="relu"), nn.Linear(4, 2))
    got = v.measure(model, torch.randn(10, 3), torch.arange(10) % 2)
    assert got.i_tx_upper == math.inf
    assert np.isnan(got.rates).all()
    plain = v.measure(nn.Linear(3, 2), torch.randn(10, 3), torch.arange(10) % 2)
    assert (plain.i_tx_upper, plain.rates) == (math.inf, ())


# ------------------------------------------------------------------ informations from known densities


def mixture_bits(points, std, labels):
    """I(T;L) of one-dimensional T = point + N(0, s²) by integration, shares equal."""

    def entropy(centres, widths):
        f = lambda t: stats.norm.pdf(t, centres, widths).mean()  # noqa: E731
        edges = np.linspace(min(centres) - 10 * max(widths), max(centres) + 10 * max(widths), 80)
        g = lambda t: -f(t) * math.log2(f(t)) if f(t) > 1e-300 else 0.0  # noqa: E731
        return sum(integrate.quad(g, a, b)[0] for a, b in pairwise(edges))

    parts = [(labels == k).mean() * entropy(points[labels == k], std[labels == k]) for k in np.unique(labels)]
    return entropy(points, std) - sum(parts)


@pytest.mark.parametrize("spread", [0.2, 1.0, 4.0])
def test_panel_information_against_integration(spread):
    """Six Gaussians of unlike widths, three labels that are not equally frequent."""
    points, labels = np.array([-2.0, -1.0, 0.0, 0.5, 2.0, 3.0]), np.array([0, 1, 0, 2, 1, 0])
    std = spread * np.array([0.5, 1.0, 0.7, 1.2, 0.6, 1.0])
    mean = torch.tensor(points)[:, None]
    log_var = 2 * torch.tensor(std).log()[:, None]
    bits, error = v.panel_information(mean, log_var, labels, draws=6000, block=4)
    assert error < 0.01
    assert bits == pytest.approx(mixture_bits(points, std, labels), abs=4 * error)


def test_panel_information_at_its_ends():
    """Far apart, T tells the label and the input; with one mean for all it tells nothing."""
    mean = 100.0 * torch.arange(12.0)[:, None].repeat(1, 3)
    labels = np.arange(12) % 3
    assert v.panel_information(mean, torch.zeros(12, 3), labels)[0] == pytest.approx(math.log2(3))
    assert v.panel_information(mean, torch.zeros(12, 3), np.arange(12))[0] == pytest.approx(math.log2(12))
    assert v.panel_information(0 * mean, torch.zeros(12, 3), labels)[0] == pytest.approx(0, abs=1e-12)
    low, _ = v.gaussian_information(mean / 50, torch.zeros(12, 3), draws=50)
    bits, error = v.panel_information(mean / 50, torch.zeros(12, 3), np.arange(12), draws=50)
    assert bits == pytest.approx(low, abs=1e-9)  # X uniform on the panel: the sandwich's lower slice, exactly
    assert error < 0.1
    for bad in (labels[:5], labels[:, None]):
        with pytest.raises(ValueError, match="mean, log_var, labels: shapes"):
            v.panel_information(mean, torch.zeros(12, 3), bad)


def test_a_probe_stays_below_the_panels_own_information():
    """Chapter 4's nuisance: a probe is a lower bound, and the densities say how far below."""
    rng = np.random.default_rng(0)
    n = np.tile(np.arange(4), 600)
    mean = torch.tensor(np.eye(4)[n] + 0.6 * rng.normal(size=(2400, 4)))
    log_var = torch.full_like(mean, math.log(0.3))
    bits, error = v.panel_information(mean, log_var, n)
    t = (mean + math.sqrt(0.3) * torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))).numpy()
    read = v.nuisance_information(t[:1200], n[:1200], t[1200:], n[1200:], steps=150)
    assert 0.1 < read < bits + 3 * error < 2


def test_what_carries_over_stays_below_the_truth_and_comes_near():
    """T = N + noise of two kinds of input: Bayes' decoder that knows half of the inputs reads the other half."""
    rng = np.random.default_rng(0)
    n = np.tile([0, 1], 2000)
    points = np.where(n == 1, 1.0, -1.0) + 0.5 * rng.normal(size=4000)
    mean, log_var = torch.tensor(points)[:, None], torch.full((4000, 1), math.log(0.75), dtype=torch.double)
    known = np.arange(4000) < 2000
    read = v.carried_over(mean, log_var, n, known, draws=4)
    assert read == pytest.approx(
        0.4859, abs=0.03
    )  # N = ±1 in noise of variance 1: the integral of the test below
    strange = mean + torch.tensor(np.where(known, 0.0, 40.0))[:, None]  # whoever is read is like nobody known
    assert v.carried_over(strange, log_var, n, known) < 0
    assert v.carried_over(0 * mean, log_var, n, known) == pytest.approx(0, abs=1e-12)


# ------------------------------------------------------------------ correlations inside a code


def correlated_channel(rho, noise_var=0.5, n=3000):
    """X ~ N(0, [[1, ρ], [ρ, 1]]), T = X + noise: TC in closed form."""
    z = torch.randn(n, 2, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    z = (z - z.mean(0)) @ torch.linalg.inv(
        torch.linalg.cholesky(torch.cov((z - z.mean(0)).T, correction=0))
    ).T
    x = z @ torch.linalg.cholesky(torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.double)).T
    r = rho / (1 + noise_var)
    return x, torch.full_like(x, math.log(noise_var)), -0.5 * math.log2(1 - r**2)


@pytest.mark.parametrize("rho", [0.0, 0.6, -0.95])
def test_code_correlation_of_correlated_gaussians(rho):
    mean, log_var, exact = correlated_channel(rho)
    bits, error = v.code_correlation(mean, log_var)
    assert bits == pytest.approx(exact, abs=4 * error + 0.01)
    assert error < 0.02


def test_code_correlation_is_what_the_components_say_more_than_once():
    """Three components, the third the exclusive or of two fair bits: no pair is correlated, and TC is one bit."""
    a, b = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    mean = 20.0 * torch.tensor(np.stack([a, b, a ^ b], 1), dtype=torch.double)
    log_var = torch.zeros_like(mean)
    bits, _ = v.code_correlation(mean, log_var, draws=50)
    assert bits == pytest.approx(1.0, abs=1e-6)
    assert v.code_correlation(mean[:, :2], log_var[:, :2], draws=50)[0] == pytest.approx(0.0, abs=1e-6)
    noisy = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    spread = torch.full_like(noisy, -0.5)
    own = [v.panel_information(noisy[:, [k]], spread[:, [k]], np.arange(200), draws=20)[0] for k in range(3)]
    together = v.panel_information(noisy, spread, np.arange(200), draws=20)[0]
    assert v.code_correlation(noisy, spread, draws=20)[0] == pytest.approx(sum(own) - together, abs=0.08)


def test_a_correlated_prior_agrees_with_torch_and_asks_for_no_independence():
    mean, log_var = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    encoder = v.GaussianEncoder(nn.Identity(), 6, 3, prior="correlated").double()
    start = encoder.prior_factor().detach()
    torch.testing.assert_close(
        v.kl_correlated_normal(mean, log_var, 0 * mean[0], start), v.kl_standard_normal(mean, log_var)
    )
    with torch.no_grad():
        encoder.prior_root.copy_(torch.tensor([[0.2, 9, 9], [1.5, -0.4, 9], [-0.7, 0.3, 0.1]]))
        encoder.prior_mean.copy_(torch.tensor([0.5, -1.0, 2.0]))
    normal = torch.distributions.MultivariateNormal
    e = math.exp
    factor = torch.tensor([[e(0.2), 0, 0], [1.5, e(-0.4), 0], [-0.7, 0.3, e(0.1)]], dtype=torch.double)
    torch.testing.assert_close(encoder.prior_factor().detach(), factor, atol=1e-6, rtol=1e-6)
    prior = normal(encoder.prior_mean, scale_tril=factor)
    expected = torch.distributions.kl_divergence(normal(mean, torch.diag_embed(log_var.exp())), prior)
    encoder(x := torch.randn(6, 6, dtype=torch.double))
    law = encoder.distribution(x)
    torch.testing.assert_close(
        v.kl_correlated_normal(mean, log_var, encoder.prior_mean, encoder.prior_factor()), expected
    )
    torch.testing.assert_close(
        encoder.kl, v.kl_correlated_normal(*law, encoder.prior_mean, encoder.prior_factor())
    )
    x, log_var, tc = correlated_channel(
        0.95, noise_var=0.1
    )  # fitted, its misfit has no TC left; N(0, I) pays for it
    total = torch.cov(x.T, correction=0) + 0.1 * torch.eye(2)
    fitted = v.kl_correlated_normal(x, log_var, x.mean(0), torch.linalg.cholesky(total)).mean().item()
    exact = 0.5 * math.log2(torch.linalg.det(total).item() / 0.1**2)
    assert fitted / math.log(2) == pytest.approx(exact, abs=1e-6)
    apart = v.kl_correlated_normal(x, log_var, x.mean(0), total.diagonal().sqrt().diag()).mean().item()
    assert (apart - fitted) / math.log(2) == pytest.approx(tc, abs=1e-6)


# ------------------------------------------------------------------ batch normalisation as noise


def test_batch_noise_is_what_torch_makes_of_random_batches():
    rng = np.random.default_rng(0)
    a = rng.gamma(2.0, size=(40, 5)) * [1, 2, 3, 4, 5]
    got = v.batch_noise(a, 6, draws=3, seed=7)
    assert got.shape == (3, 40, 5)
    picks, layer = np.random.default_rng(7), nn.BatchNorm1d(5, affine=False)
    for drawn in got:
        others = a[picks.integers(40, size=5)]
        for i in (0, 17, 39):
            batch = torch.tensor(np.concatenate([a[[i]], others]), dtype=torch.float32)
            np.testing.assert_allclose(drawn[i], layer.train()(batch)[0].numpy(), atol=2e-3)


def test_a_pair_of_images_leaves_a_unit_one_bit():
    a = np.random.default_rng(0).normal(size=(30, 4))
    got = v.batch_noise(a, 2, draws=50)
    assert set(np.rint(got).ravel()) == {-1.0, 0.0, 1.0}  # 0 where an image met itself
    assert (np.abs(np.abs(got) - 1) < 0.01).mean() > 0.9


def test_batch_noise_falls_as_one_over_the_root_of_the_batch():
    """The spread over batches of what becomes of a row at the mean: 1/√B, whatever the others' scale."""
    a = np.concatenate([np.zeros((1, 1)), np.random.default_rng(0).normal(size=(5000, 1))]) * 7 + 3
    for size in (64, 256, 1024):
        spread = v.batch_noise(a, size, draws=1500)[:, 0].std()
        assert spread * math.sqrt(size) == pytest.approx(1, abs=0.12)


def test_nuisance_information_reads_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    n = rng.integers(4, size=4000)
    t = np.eye(4)[n] @ rng.normal(size=(4, 6)) * 3 + rng.normal(size=(4000, 6)) * 0.1
    half = slice(0, 2000), slice(2000, None)
    seen = v.nuisance_information(t[half[0]], n[half[0]], t[half[1]], n[half[1]])
    assert seen == pytest.approx(2.0, abs=0.06)
    free = rng.integers(4, size=4000)
    assert abs(v.nuisance_information(t[half[0]], free[half[0]], t[half[1]], free[half[1]])) < 0.02


def test_nuisance_information_finds_nothing_in_shuffled_labels_and_says_so_of_its_test_part():
    """A flexible probe learns shuffled labels by heart: only data that it was not fitted on tell."""
    rng = np.random.default_rng(0)
    t, n = rng.normal(size=(600, 16)), rng.integers(12, size=1200)
    fresh = rng.normal(size=(600, 16))
    assert abs(v.nuisance_information(t, n[:600], fresh, n[600:], hidden=256)) < 0.15
    told = np.eye(12)[n[:600]]
    assert v.nuisance_information(told, n[:600], np.zeros((600, 12)), n[600:]) < 0.1


def test_nuisance_information_stays_below_the_exact_value():
    """N = ±1, T = N + N(0, 1): the probe comes close to the integral of the previous test, from below."""
    rng = np.random.default_rng(1)
    n = rng.integers(2, size=20_000)
    t = (2 * n - 1 + rng.normal(size=20_000))[:, None]
    got = v.nuisance_information(t[:10_000], n[:10_000], t[10_000:], n[10_000:])
    assert got == pytest.approx(0.4859, abs=0.03)


# ------------------------------------------------------------------ training


def two_blobs(n=400, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    return (rng.normal(size=(n, 4)) + 2.5 * (2 * y - 1)[:, None]).astype(np.float32), y


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(v.GaussianEncoder(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), 8, 2), nn.Linear(2, 2))


def test_train_lowers_the_rate_as_beta_grows_and_repeats_itself():
    x, y = two_blobs()
    rates = []
    for beta in (0.0, 0.1, 10.0):
        model = small()
        history = v.train(model, x, y, beta=beta, epochs=15, lr=1e-2)
        rates.append(v.measure(model, x, y).i_tx_upper)
    assert rates[0] > rates[1] > rates[2]
    assert rates[2] < 0.1
    again = small()
    assert v.train(again, x, y, beta=10.0, epochs=15, lr=1e-2) == history
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_train_leaves_the_callers_random_state_alone():
    x, y = two_blobs(64)
    model = small()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    v.train(model, x, y, epochs=1)
    v.measure(model, x, y)
    v.codes(model, x)
    assert torch.equal(torch.get_rng_state(), before)


def test_warm_up_reaches_beta_and_stays():
    schedule = v.warm_up(0.4, 4)
    assert [schedule(e) for e in (0, 2, 4, 9)] == pytest.approx([0.0, 0.2, 0.4, 0.4])
    x, y = two_blobs(64)
    history = v.train(small(), x, y, beta=schedule, epochs=6)
    assert history.beta == pytest.approx((0.0, 0.1, 0.2, 0.3, 0.4, 0.4))
    assert len(history.rate) == 6


def test_lagrangian_is_cross_entropy_plus_beta_kl():
    logits, y, kl = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1]), torch.rand(5)
    expected = -(logits.log_softmax(1)[range(5), y]).mean() + 0.3 * kl.mean()
    torch.testing.assert_close(v.lagrangian(logits, y, kl, 0.3), expected)


def test_codes_are_samples_around_the_mean():
    model = small()
    x = np.repeat(two_blobs(4)[0], 3000, axis=0)
    t = v.codes(model, x).reshape(4, 3000, 2)
    mean, log_var = model[0].distribution(torch.tensor(x[::3000]))
    np.testing.assert_allclose(t.mean(1), mean.detach(), atol=0.1)
    np.testing.assert_allclose(t.var(1), log_var.exp().detach(), rtol=0.15)
    assert v.codes(model, x[:10], draws=3).shape == (30, 2)
    np.testing.assert_allclose(v.codes(model, x[::3000], noise=False), mean.detach(), rtol=1e-5)


# ------------------------------------------------------------------ capacity


@pytest.mark.parametrize("flip", [0.0, 0.11, 0.5])
def test_capacity_of_the_binary_symmetric_channel(flip):
    h = stats.entropy([flip, 1 - flip], base=2)
    assert v.capacity([[1 - flip, flip], [flip, 1 - flip]]) == pytest.approx(1 - h, abs=1e-7)


def test_capacity_of_erasure_and_z_channels():
    erasure = 0.7 * np.eye(4, 5)
    erasure[:, 4] = 0.3
    assert v.capacity(erasure) == pytest.approx(0.7 * 2, abs=1e-7)
    assert v.capacity([[1, 0], [0.5, 0.5]]) == pytest.approx(math.log2(5 / 4), abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_no_input_beats_the_capacity(seed):
    rng = np.random.default_rng(seed)
    rows, p = rng.dirichlet(np.ones(4), size=3), rng.dirichlet(np.ones(3))
    joint = p[:, None] * rows
    mi = stats.entropy(joint.ravel(), np.outer(p, joint.sum(0)).ravel(), base=2)
    assert mi <= v.capacity(rows, tol=1e-7) + 1e-6


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: v.train(small(), *two_blobs(), beta=-0.1), ["beta", "-0.1", "≥ 0"]),
        (lambda: v.train(small(), *two_blobs(), beta=lambda e: float("nan")), ["beta", "nan"]),
        (lambda: v.lagrangian(torch.zeros(1, 2), torch.tensor([0]), torch.zeros(1), -1.0), ["beta", "-1"]),
        (lambda: v.train(small(), np.zeros((8, 5)), np.zeros(8, int)), ["model", "(8, 5)", "do not fit"]),
        (lambda: v.train(small(), two_blobs(8)[0], np.arange(8)), ["labels", "0 … 7", "0 … 1"]),
        (lambda: v.train(small(), two_blobs(8)[0], np.full(8, -1)), ["labels", "-1"]),
        (lambda: v.train(small(), two_blobs(8)[0], np.zeros(8)), ["labels", "integers"]),
        (lambda: v.train(small(), two_blobs(8)[0], np.zeros(7, int)), ["labels", "(7,)"]),
        (lambda: v.train(small(), np.full((8, 4), np.nan), np.zeros(8, int)), ["inputs", "finite"]),
        (lambda: v.train(nn.Linear(4, 2), *two_blobs(), beta=0.1), ["noisy layer", "beta"]),
        (lambda: v.GaussianEncoder(nn.Linear(4, 8), 7, 2)(torch.zeros(3, 4)), ["body", "(3, 8)", "=7"]),
        (lambda: v.GaussianEncoder(nn.Identity(), 4, 0), ["latent", "0"]),
        (lambda: v.InformationDropout(4, 2, activation="tanh"), ["activation", "'tanh'", "softplus"]),
        (lambda: v.InformationDropout(4, 2, max_alpha=-1), ["max_alpha", "-1"]),
        (lambda: v.InformationDropout(4, 2)(torch.zeros(3, 5)), ["inputs", "(3, 5)"]),
        (lambda: v.kl_standard_normal(torch.zeros(2, 3), torch.zeros(2)), ["mean", "(2, 3)", "(2,)"]),
        (lambda: v.rate(nn.Linear(2, 2)), ["model", "noisy layer"]),
        (lambda: v.GaussianEncoder(nn.Identity(), 4, 2, prior="free"), ["prior", "'free'", "correlated"]),
        (lambda: v.kl_correlated_normal(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2), torch.eye(3)), ["(2,)"]),
        (lambda: v.code_correlation(torch.zeros(2, 3), torch.zeros(3, 2)), ["mean, log_var", "(3, 2)"]),
        (lambda: v.carried_over(torch.zeros(4, 1), torch.zeros(4, 1), [0, 1, 0], [1, 1, 0, 0]), ["labels", "(3,)"]),
        (lambda: v.carried_over(torch.zeros(4, 1), torch.zeros(4, 1), [0, 1, 0, 2], [1, 1, 0, 0]), ["known"]),
        (lambda: v.batch_noise(np.zeros(4), 2), ["activations", "(4,)"]),
        (lambda: v.batch_noise(np.full((4, 1), np.nan), 2), ["activations", "finite"]),
        (lambda: v.batch_noise(np.zeros((4, 1)), 1), ["batch_size", "at least 2"]),
        (lambda: v.capacity([[0.5, 0.6]]), ["channel", "sum 1"]),
        (lambda: v.nuisance_information(PAIRS, ZEROS, np.zeros((9, 3)), ZEROS), ["codes", "(9, 3)"]),
        (lambda: v.nuisance_information(PAIRS, ZEROS, PAIRS, ZEROS + 1), ["test_nuisance"]),
        (lambda: v.nuisance_information(PAIRS[:4], ZEROS[:4], PAIRS, ZEROS), ["4 samples", "at least 5"]),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ValueError) as error:
        call()
    for word in words:
        assert word in str(error.value)


def test_measuring_gives_every_layer_its_mode_back():
    x, y = two_blobs(16)
    model = small().train()
    next(model.children()).eval()
    before = [m.training for m in model.modules()]
    v.measure(model, x, y, draws=1)
    v.codes(model, x)
    with pytest.raises(RuntimeError):
        v.codes(model, np.zeros((3, 9)))
    assert [m.training for m in model.modules()] == before


@pytest.mark.filterwarnings("ignore")
def test_divergence_names_epoch_and_layer():
    x, y = two_blobs()
    with pytest.raises(v.DivergedError, match=r"epoch \d+: layer '") as error:
        v.train(small(), x, y, epochs=30, lr=1e18)
    assert isinstance(error.value, ValueError)
