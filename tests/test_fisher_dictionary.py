"""Every equality on the page *Fisher dictionary* (book/fisher_dictionary.md), and the inequalities that it warns of."""

from __future__ import annotations

import itertools
import time

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, one_hot

from t2v import fisher

CLASSES, N = 3, 5


def net(linear: bool = False, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(4, CLASSES)] if linear else [nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, CLASSES)]
        return nn.Sequential(*layers).double()


def data(n: int = N) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, generator=g, dtype=torch.float64), torch.randint(CLASSES, (n,), generator=g)


def flat(model: nn.Module) -> tuple[Tensor, list[tuple[str, torch.Size]]]:
    named = list(model.named_parameters())
    return torch.cat([p.detach().flatten() for _, p in named]), [(n, p.shape) for n, p in named]


def logits_at(model: nn.Module, vector: Tensor, x: Tensor) -> Tensor:
    _, shapes = flat(model)
    parts = vector.split([s.numel() for _, s in shapes])
    params = {n: part.view(s) for (n, s), part in zip(shapes, parts, strict=True)}
    return torch.func.functional_call(model, params, (x,))


def hessian(model: nn.Module, loss) -> Tensor:
    return torch.func.hessian(lambda v: loss(v))(flat(model)[0])


def score(model: nn.Module, x: Tensor, label: int) -> Tensor:
    """∇ log p(label|x) of one sample, by autograd: the definition."""
    gradient = torch.func.grad(lambda v: log_softmax(logits_at(model, v, x[None]), 1)[0, label])
    return gradient(flat(model)[0])


def probabilities(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).softmax(1).detach()


def definition(model: nn.Module, x: Tensor) -> Tensor:
    p = probabilities(model, x)
    terms = [
        p[i, c] * torch.outer(score(model, x[i], c), score(model, x[i], c))
        for i in range(len(x))
        for c in range(CLASSES)
    ]
    return torch.stack(terms).sum(0) / len(x)


def same(a: Tensor, b: Tensor, tol: float = 1e-10) -> None:
    torch.testing.assert_close(a.detach(), b.detach(), rtol=tol, atol=tol)


def joined(diagonal: dict[str, Tensor]) -> Tensor:
    return torch.cat([v.flatten() for v in diagonal.values()])


# ---------------------------------------------------------------- the Fisher matrix and its equals


def test_fisher_is_the_second_moment_of_the_score():
    same(fisher.full(net(), data()[0]), definition(net(), data()[0]))


def test_the_score_has_mean_zero_under_the_model():
    model, (x, _) = net(), data()
    p = probabilities(model, x)
    for i in range(N):
        mean = torch.stack([p[i, c] * score(model, x[i], c) for c in range(CLASSES)]).sum(0)
        same(mean, torch.zeros_like(mean), 1e-12)


def test_fisher_is_the_expected_hessian_under_the_model():
    """−E_{y~p} ∇² log p(y|x), with p frozen while differentiating."""
    model, (x, _) = net(), data()
    p = probabilities(model, x)
    expected = hessian(model, lambda v: -(p * log_softmax(logits_at(model, v, x), 1)).sum() / N)
    same(fisher.full(model, x), expected)


def test_fisher_is_the_generalised_gauss_newton_matrix_of_cross_entropy():
    model, (x, _) = net(), data()
    p = probabilities(model, x)
    jacobian = torch.func.jacrev(lambda v: logits_at(model, v, x))(flat(model)[0])
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    same(fisher.full(model, x), torch.einsum("nci,ncd,ndj->ij", jacobian, middle, jacobian) / N)


def test_fisher_is_the_curvature_of_the_divergence_between_predictions():
    """KL(p_w ‖ p_{w+δ}) ≈ ½ δᵀFδ: its Hessian at δ = 0."""
    model, (x, _) = net(), data()
    p = probabilities(model, x)
    kl = hessian(model, lambda v: (p * (p.log() - log_softmax(logits_at(model, v, x), 1))).sum() / N)
    same(fisher.full(model, x), kl)


def test_the_hessian_of_the_loss_equals_it_for_a_linear_model_and_not_for_a_network():
    x, y = data()
    for linear in (True, False):
        model = net(linear)
        loss_hessian = hessian(model, lambda v, m=model: cross_entropy(logits_at(m, v, x), y))
        if linear:
            same(fisher.full(model, x), loss_hessian)
        else:
            assert (fisher.full(model, x) - loss_hessian).norm() > 0.1 * loss_hessian.norm()


def test_the_hessian_is_the_gauss_newton_matrix_plus_the_residuals_curvature():
    model, (x, y) = net(), data()
    loss_hessian = hessian(model, lambda v: cross_entropy(logits_at(model, v, x), y))
    residual = (probabilities(model, x) - one_hot(y, CLASSES)).detach()
    rest = hessian(model, lambda v: (residual * logits_at(model, v, x)).sum() / N)
    same(loss_hessian, fisher.full(model, x) + rest)


def test_squared_error_has_a_factor_of_its_own():
    """The Hessian of a linear model: JᵀJ for unit noise; with mse_loss, 2/C of it."""
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, CLASSES).double(), data()[0], torch.randn(N, CLASSES, dtype=torch.float64)
    of_gaussian = hessian(model, lambda v: 0.5 * ((logits_at(model, v, x) - y) ** 2).sum() / N)
    inputs = torch.cat([x, torch.ones(N, 1, dtype=torch.float64)], dim=1)
    by_hand = torch.kron(torch.eye(CLASSES, dtype=torch.float64), inputs.T @ inputs / N)
    same(torch.linalg.eigvalsh(of_gaussian), torch.linalg.eigvalsh(by_hand))  # the bias has another place
    of_torch = hessian(model, lambda v: nn.functional.mse_loss(logits_at(model, v, x), y))
    same(of_torch, 2 / CLASSES * of_gaussian)


def test_a_kronecker_product_is_exact_for_one_sample():
    torch.manual_seed(0)
    model, x = nn.Linear(4, CLASSES, bias=False).double(), data()[0]

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        p = probabilities(model, x).detach()
        of_outputs = (torch.diag_embed(p) - p[:, :, None] * p[:, None]).mean(0)
        return torch.kron(of_outputs, x.T @ x / len(x)), fisher.full(model, x)

    same(*both(x[:1]))
    product, matrix = both(x)
    assert (product - matrix).norm() > 0.02 * matrix.norm()


@pytest.mark.parametrize(("activation", "own"), [(nn.ReLU, 3), (nn.Tanh, 0)])
def test_the_null_space_is_the_symmetries_of_the_function(activation, own):
    """Softmax shift: one for the biases, one a live unit; ReLU rescaling: one a live unit; a dead unit: all of its weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), activation(), nn.Linear(4, CLASSES)).double()
    x, live = torch.randn(300, 4, dtype=torch.float64), 4
    if activation is nn.ReLU:
        model[0].bias.data[0], live = -100.0, 3
    matrix = fisher.full(model, x)
    nullity = len(matrix) - int(torch.linalg.matrix_rank(matrix, hermitian=True, rtol=1e-11))
    assert nullity == (4 - live) * (4 + 1 + CLASSES) + (live + 1) + own
    with pytest.raises(ValueError, match="rank"):
        fisher.logdet(model, x)


# ---------------------------------------------------------------- empirical, sampled


def test_empirical_fisher_takes_the_labels_of_the_data():
    model, (x, y) = net(), data()
    g = torch.stack([score(model, x[i], int(y[i])) for i in range(N)])
    same(fisher.full(model, x, "empirical", targets=y), g.T @ g / N)


def test_the_fisher_is_the_empirical_one_averaged_over_the_models_labels():
    model, (x, _) = net(), data(3)
    p, total = probabilities(model, x), 0
    for labels in itertools.product(range(CLASSES), repeat=3):
        weight = torch.stack([p[i, c] for i, c in enumerate(labels)]).prod()
        total = total + weight * fisher.full(model, x, "empirical", targets=torch.tensor(labels))
    same(fisher.full(model, x), total)


def test_empirical_and_true_fisher_differ_even_in_direction():
    model, (x, y) = net(), data()
    a, b = fisher.full(model, x).flatten(), fisher.full(model, x, "empirical", targets=y).flatten()
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) < 0.95


@pytest.mark.parametrize("expectation", ["sample", "rademacher"])
def test_monte_carlo_fishers_are_unbiased(expectation):
    model, (x, _) = net(), data()
    exact = joined(fisher.diagonal(model, x))
    draws = [joined(fisher.diagonal(model, x, expectation=expectation, seed=s, draws=50)) for s in range(60)]
    mean, error = torch.stack(draws).mean(0), torch.stack(draws).std(0) / 60**0.5
    assert ((mean - exact).abs() <= 4.5 * error + 1e-12).all()


# ---------------------------------------------------------------- per sample or per batch, sum or mean


def batch_gradient(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    return torch.func.grad(lambda v: cross_entropy(logits_at(model, v, x), labels))(flat(model)[0])


def test_batch_squares_with_model_labels_are_the_fisher_over_the_batch_size():
    """E (mean gradient)² = F/B, by enumerating all labels: the scores have mean zero and are independent."""
    model, (x, _) = net(), data(3)
    p, total = probabilities(model, x), 0
    for labels in itertools.product(range(CLASSES), repeat=3):
        weight = torch.stack([p[i, c] for i, c in enumerate(labels)]).prod()
        total = total + weight * batch_gradient(model, x, torch.tensor(labels)) ** 2
    same(total, joined(fisher.diagonal(model, x)) / 3)


def test_batch_squares_with_data_labels_add_the_square_of_the_mean_gradient():
    """B ḡ² = mean g² + (B − 1)·(mean of g_i g_j over i ≠ j): no multiple of the empirical Fisher."""
    model, (x, y) = net(), data()
    g = torch.stack([-score(model, x[i], int(y[i])) for i in range(N)])
    cross = (g.sum(0) ** 2 - (g**2).sum(0)) / (N * (N - 1))
    squares = N * batch_gradient(model, x, y) ** 2
    same(squares, joined(fisher.diagonal(model, x, expectation="empirical", targets=y)) + (N - 1) * cross)
    assert (cross.abs() > 1e-6).any()


def test_adams_second_moment_is_a_batch_square():
    model, (x, y) = net(), data()
    optimiser = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99))
    expected = batch_gradient(model, x, y) ** 2
    cross_entropy(model(x), y).backward()
    optimiser.step()
    state = torch.cat([optimiser.state[p]["exp_avg_sq"].flatten() for p in model.parameters()])
    same(state, 0.01 * expected)


def test_sum_is_mean_times_samples():
    model, (x, _) = net(), data()
    singles = torch.stack([joined(fisher.diagonal(model, x[i : i + 1])) for i in range(N)])
    same(singles.sum(0), N * joined(fisher.diagonal(model, x)))


# ---------------------------------------------------------------- diagonal, trace, filters


def test_diagonal_trace_and_gradient_norms_are_one_matrix():
    model, (x, _) = net(), data()
    full = fisher.full(model, x)
    same(joined(fisher.diagonal(model, x)), full.diagonal())
    assert fisher.trace(model, x) == pytest.approx(full.trace().item(), rel=1e-10)
    assert (fisher.gradient_norms(model, x) ** 2).mean().item() == pytest.approx(
        full.trace().item(), rel=1e-10
    )


def test_filter_pooling_is_the_mean_over_a_filters_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES)).double()
    x = torch.randn(N, 2, 4, 4, dtype=torch.float64)
    plain, pooled = fisher.diagonal(model, x), fisher.diagonal(model, x, pool="filter")
    for name, value in plain.items():
        same(pooled[name], value.flatten(1).mean(1) if value.ndim > 1 else value)
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    total = sum((v.sum() * sizes[n] / v.numel()).item() for n, v in pooled.items())
    assert total == pytest.approx(fisher.trace(model, x), rel=1e-10)


def test_rank_is_at_most_samples_times_classes_less_one():
    model, (x, _) = net(), data(2)
    rank = int(torch.linalg.matrix_rank(fisher.full(model, x), hermitian=True))
    assert rank == 2 * (CLASSES - 1)
    with pytest.raises(ValueError, match=f"rank {rank} of 27"):
        fisher.logdet(model, x)


def test_logdet_is_that_of_the_matrix_and_adds_damping():
    model, (x, _) = net(), data()
    dense = 30 * fisher.full(model, x) + 0.7 * torch.eye(27, dtype=torch.float64)
    assert fisher.logdet(model, x, damping=0.7, scale=30) == pytest.approx(
        torch.logdet(dense).item(), rel=1e-10
    )


def test_logdet_of_two_thousand_parameters_takes_seconds():
    """Under 5 s of processor time, with more scores than parameters."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(64, 26), nn.ReLU(), nn.Linear(26, 10)), torch.randn(300, 64)
    assert sum(p.numel() for p in model.parameters()) == 1960
    start = time.thread_time()
    value = fisher.logdet(model, x, damping=1.0, scale=300)
    assert time.thread_time() - start < 5
    assert value > 0


def test_rescaling_a_relu_network_changes_the_fisher_and_not_the_function():
    """C28's counterexample: (W₁, W₂) → (cW₁, W₂/c) multiplies the blocks of F by 1/c² and c²."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, CLASSES, bias=False)).double()
    x, c = data()[0], 10.0
    before, outputs = fisher.diagonal(model, x), model(x).detach()
    with torch.no_grad():
        model[0].weight.mul_(c)
        model[2].weight.div_(c)
    after = fisher.diagonal(model, x)
    same(model(x), outputs, 1e-12)
    same(after["0.weight"], before["0.weight"] / c**2)
    same(after["2.weight"], before["2.weight"] * c**2)


def test_a_model_too_large_for_the_full_matrix_says_how_much_memory_it_would_take():
    with pytest.raises(ValueError, match="GiB"):
        fisher.full(nn.Linear(3000, 1000), torch.zeros(1, 3000))


# ---------------------------------------------------------------- what libraries mean by these names


def test_curvlinops_names():
    curvlinops = pytest.importorskip("curvlinops")
    model, (x, y) = net(), data()
    params = list(model.parameters())
    loss = nn.CrossEntropyLoss()
    eye = torch.eye(27, dtype=torch.float64)
    options = {"check_deterministic": False}

    def dense(operator: type, **extra: object) -> Tensor:
        return operator(model, loss, params, [(x, y)], **options, **extra) @ eye

    same(dense(curvlinops.GGNLinearOperator), fisher.full(model, x), 1e-8)
    same(dense(curvlinops.EFLinearOperator), fisher.full(model, x, "empirical", targets=y), 1e-8)
    loss_hessian = hessian(model, lambda v: cross_entropy(logits_at(model, v, x), y))
    same(dense(curvlinops.HessianLinearOperator), loss_hessian, 1e-8)


def test_backpack_names():
    backpack = pytest.importorskip("backpack")
    from backpack import extensions as ext

    model, (x, y) = net(), data()
    extended, loss = backpack.extend(model), backpack.extend(nn.CrossEntropyLoss())
    with backpack.backpack(ext.DiagGGNExact(), ext.SumGradSquared()):
        loss(extended(x), y).backward()
    ggn = torch.cat([p.diag_ggn_exact.flatten() for p in model.parameters()])
    sums = torch.cat([p.sum_grad_squared.flatten() for p in model.parameters()])
    same(ggn, joined(fisher.diagonal(net(), x)))
    # With the loss's mean reduction every gradient carries 1/n, so the sum of squares is the empirical diagonal over n.
    same(N * sums, joined(fisher.diagonal(net(), x, expectation="empirical", targets=y)))
