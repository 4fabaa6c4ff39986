"""Walks around a minimum: exact small cases, and the identities that tie them to the Fisher matrix."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import log_softmax

from t2v import fisher, flatness, training


def data(n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    y = torch.randint(3, (n,), generator=g)
    return torch.randn(n, 4, generator=g) + 2.0 * torch.eye(4)[y], y


def joined(diagonal):
    return torch.cat([v.flatten() for v in diagonal.values()])


def test_descent_stops_at_the_levels_and_leaves_the_model():
    x, y = data()
    model = training.mlp([4, 8, 3], seed=0)
    before = flatness.loss_of(model, x, y)
    run = flatness.descend(model, x, y, batch_size=10, lr=0.2, levels=[0.2, 0.6])
    assert flatness.loss_of(model, x, y) == before
    for level, net in run.snapshots.items():
        assert flatness.loss_of(net, x, y) <= level
        assert not net.training
    assert run.steps[0.6] < run.steps[0.2]
    assert flatness.descend(model, x, y, batch_size=10, lr=1e-6, levels=[0.2], max_steps=5).snapshots == {}
    again = flatness.descend(model, x, y, batch_size=10, lr=0.2, levels=[0.2, 0.6])
    assert again.steps == run.steps


def test_a_snapshot_is_the_network_after_as_many_plain_steps_as_it_says():
    """The same descent by hand, to either level: no momentum, and an early snapshot does not go on learning."""
    x, y = data()
    run = flatness.descend(
        training.mlp([4, 8, 3], seed=0), x, y, batch_size=10, lr=0.2, levels=[0.2, 0.6], seed=4
    )
    net, order, done, before = training.mlp([4, 8, 3], seed=0), torch.Generator().manual_seed(4), 0, None
    wanted = {steps: level for level, steps in run.steps.items()}
    while done < max(wanted):
        for index in torch.randperm(60, generator=order).split(10):
            weights = list(net.parameters())
            grads = torch.autograd.grad(nn.functional.cross_entropy(net(x[index]), y[index]), weights)
            with torch.no_grad():
                for w, g in zip(weights, grads, strict=True):
                    w -= 0.2 * g
            done += 1
        now = nn.functional.cross_entropy(net(x), y).item()
        if done in wanted:  # first below the level, on all training samples, at the end of this pass
            level = wanted[done]
            assert now <= level < before
            for a, b in zip(net.parameters(), run.snapshots[level].parameters(), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        before = now


def test_rescaling_leaves_the_fisher_form_of_the_weights_themselves():
    """tr F depends on how a ReLU network spreads its scale over the layers; wᵀFw does not, and is that of the matrix."""
    x, _ = data(20)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x, w = x.double(), torch.cat([p.detach().flatten() for p in model.parameters()])
    form = flatness.fisher_rao(model, x)
    assert form == pytest.approx((w @ fisher.full(model, x) @ w).item(), rel=1e-10)
    for factor in (0.1, 10.0):
        other = flatness.rescale(model, factor)
        assert flatness.fisher_rao(other, x) == pytest.approx(form, rel=1e-8)
        assert fisher.trace(other, x) > 2 * fisher.trace(model, x)


def test_the_error_is_the_share_of_wrong_answers() -> None:
    sign = nn.Linear(1, 2, bias=False)
    sign.weight.data = torch.tensor([[-1.0], [1.0]])
    x = torch.tensor([[-3.0], [-1.0], [2.0], [5.0], [7.0]])
    assert flatness.error_of(sign, x, torch.tensor([0, 0, 1, 1, 0])) == pytest.approx(0.2)


def test_loss_along_and_moved():
    x, y = data()
    model = training.mlp([4, 8, 3], seed=0)
    d = flatness.random_direction(model, 1)
    along = flatness.loss_along(model, d, [0.0, 0.5], x, y)
    assert along[0] == pytest.approx(flatness.loss_of(model, x, y), abs=1e-7)
    assert along[1] == pytest.approx(flatness.loss_of(flatness.moved(model, d, 0.5), x, y), abs=1e-7)
    first = next(flatness.moved(model, d, 0.5).parameters())
    torch.testing.assert_close(first, next(model.parameters()) + 0.5 * d[0])


def test_the_line_between_two_networks_has_them_at_its_ends():
    x, y = data()
    a, b = training.mlp([4, 8, 3], seed=0), training.mlp([4, 8, 3], seed=1)
    ends = flatness.loss_along(a, flatness.between(a, b), [0, 1], x, y)
    np.testing.assert_allclose(ends, [flatness.loss_of(a, x, y), flatness.loss_of(b, x, y)], rtol=1e-5)


def test_filter_normalised_directions_have_the_weights_norms():
    model = training.mlp([4, 8, 3], seed=0)
    for p, d in zip(model.parameters(), flatness.random_direction(model, 0, per_filter=True), strict=True):
        axis = 1 if p.ndim > 1 else 0
        torch.testing.assert_close(d.norm(dim=axis), p.detach().norm(dim=axis))


def test_random_steps_cost_half_the_trace():
    """E_δ KL(p_w ‖ p_{w+εδ}) = ½ε² tr F for small ε: the trace *is* flatness in random directions."""
    x, _ = data()
    model = training.mlp([4, 8, 3], activation=nn.Tanh, seed=0).double()
    x = x.double()
    p = model(x).detach().softmax(1)
    eps, costs = 1e-3, []
    for seed in range(400):
        net = flatness.moved(model, flatness.random_direction(model, seed), eps)
        costs.append((p * (p.log() - log_softmax(net(x).detach(), 1))).sum(1).mean().item())
    mean, error = np.mean(costs), np.std(costs) / 20
    assert abs(mean - 0.5 * eps**2 * fisher.trace(model, x)) < 4 * error


def test_rescaling_keeps_the_function():
    x, _ = data()
    model = training.mlp([4, 8, 3], seed=0)
    other = flatness.rescale(model, 7.0)
    torch.testing.assert_close(model(x), other(x), rtol=1e-4, atol=1e-4)
    assert fisher.trace(other, x) > 2 * fisher.trace(model, x)


def test_batch_squares_are_unbiased_in_eval_mode():
    x, _ = data(64)
    model = training.mlp([4, 5, 3], seed=0)
    exact = joined(fisher.diagonal(model, x))
    draws = torch.stack([flatness.batch_squares(model, x, batch_size=8, seed=s) for s in range(300)])
    error = draws.std(0) / 300**0.5
    assert ((draws.mean(0) - exact).abs() < 4.5 * error + 1e-8).all()


def batch_normalised() -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    """Return a network with batch norm, running averages off zero and one, and six samples."""
    x, y = data(64)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    training.fit(model, x, y, epochs=30, lr=1e-2)
    return model, x[:6], y[:6]


def test_train_mode_is_the_fisher_of_the_network_that_normalises_by_the_batch():
    """All 27 labellings of each batch of three, weighed by their probability, with plain gradients of the sum."""
    model, x, _ = batch_normalised()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    exact = flatness.batch_fisher(model, x, batch_size=3, seed=4)
    order, total = torch.randperm(6, generator=torch.Generator().manual_seed(4)), 0
    net = copy.deepcopy(model).train()
    for index in order.split(3):
        for labels in itertools.product(range(3), repeat=3):
            log_p = net(x[index]).log_softmax(1)[range(3), labels].sum()
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(log_p, list(net.parameters()))])
            total = total + log_p.exp().detach() * gradient**2
    torch.testing.assert_close(exact, total / 6, rtol=1e-4, atol=1e-7)
    eval_mode = joined(fisher.diagonal(model, x))
    assert (exact - eval_mode).norm() > 0.2 * eval_mode.norm(), "another network's"
    assert exact[32:40].abs().max() < 1e-9, "a bias that the normalisation takes away"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_squares_in_train_mode_have_it_as_their_mean():
    model, x, _ = batch_normalised()
    exact = flatness.batch_fisher(model, x, batch_size=6)
    draws = torch.stack(
        [flatness.batch_squares(model, x, batch_size=6, seed=s, train_mode=True) for s in range(600)]
    )
    error = draws.std(0) / 600**0.5
    assert ((draws.mean(0) - exact).abs() < 4.5 * error + 1e-7).all()


def test_bad_input_is_named():
    x, y = data()
    model = training.mlp([4, 8, 3], seed=0)
    with pytest.raises(ValueError, match="factor: 0"):
        flatness.rescale(model, 0)
    with pytest.raises(ValueError, match="two Linear layers"):
        flatness.rescale(nn.Linear(2, 2), 2.0)
    with pytest.raises(ValueError, match="batch_size=0"):
        flatness.descend(model, x, y, batch_size=0, lr=0.1, levels=[0.1])
    with pytest.raises(ValueError, match="batch_size: 100, but there are 60"):
        flatness.batch_squares(model, x, batch_size=100)
