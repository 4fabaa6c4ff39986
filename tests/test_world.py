"""The enumerable world: every term against loops over all outcomes, and the identities of appendix A.2."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from t2v import bounds, information, world

SETTINGS = settings(max_examples=50, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def random_world(
    seed: int, n_theta: int = 3, n_z: int = 2, m: int = 3, n_w: int = 4, alpha: float = 0.5
) -> world.World:
    rng = np.random.default_rng(seed)

    def rows(n: int, k: int) -> np.ndarray:
        table = rng.dirichlet(np.full(k, alpha), size=n) + 1e-6
        return table / table.sum(axis=1, keepdims=True)

    return world.World(rows(1, n_theta)[0], rows(n_theta, n_z), m, rows(n_z**m, n_w), rows(n_w, n_z))


def outcomes(w: world.World) -> dict[tuple, float]:
    """p(θ, D, W) by loops, one product a sample: nothing shared with the module."""
    table = {}
    n_z = w.likelihood.shape[1]
    for theta, prior in enumerate(w.prior):
        for row, data in enumerate(itertools.product(range(n_z), repeat=w.m)):
            p = prior * math.prod(w.likelihood[theta, z] for z in data)
            for weight in range(w.learner.shape[1]):
                table[theta, data, weight] = p * w.learner[row, weight]
    return table


def marginal(table: dict[tuple, float], keep: tuple[int, ...]) -> dict[tuple, float]:
    out: dict[tuple, float] = {}
    for key, p in table.items():
        short = tuple(key[i] for i in keep)
        out[short] = out.get(short, 0.0) + p
    return out


def H(table: dict[tuple, float], *keep: int) -> float:
    return -sum(p * math.log2(p) for p in marginal(table, keep).values() if p > 0)


def test_datasets_are_all_sequences_in_order():
    assert world.datasets(3, 2).tolist() == [list(d) for d in itertools.product(range(3), repeat=2)]
    assert world.datasets(2, 5).shape == (32, 5)


@given(seeds)
@SETTINGS
def test_joint_against_loops(seed):
    w = random_world(seed)
    loops = np.array(list(outcomes(w).values())).reshape(w.joint().shape)
    np.testing.assert_allclose(w.joint(), loops, atol=1e-14)
    assert abs(w.joint().sum() - 1) < 1e-12


@given(seeds)
@SETTINGS
def test_every_term_against_loops(seed):
    w = random_world(seed)
    t, d = outcomes(w), world.decompose(w)
    T, D, W = 0, 1, 2
    assert d.intrinsic == pytest.approx(H(t, T, D) - H(t, T), abs=1e-10)
    assert d.sufficiency == pytest.approx(H(t, T, W) + H(t, D, W) - H(t, T, D, W) - H(t, W), abs=1e-10)
    assert d.overfitting == pytest.approx(H(t, T, D) + H(t, T, W) - H(t, T, D, W) - H(t, T), abs=1e-10)
    assert d.information == pytest.approx(H(t, D) + H(t, W) - H(t, D, W), abs=1e-10)
    assert d.learned == pytest.approx(H(t, T) + H(t, W) - H(t, T, W), abs=1e-10)
    crossed = sum(-p * sum(math.log2(w.model[weight, z]) for z in data) for (_, data, weight), p in t.items())
    assert d.cross_entropy == pytest.approx(crossed, abs=1e-10)
    assert d.efficiency == pytest.approx(crossed - (H(t, D, W) - H(t, W)), abs=1e-10)


@given(seeds, st.integers(1, 4), st.sampled_from([2, math.e]))
@SETTINGS
def test_decomposition_is_an_identity(seed, m, base):
    """C21, to 1e-10; and the printed H(D, θ) misses by exactly H(θ)."""
    w = random_world(seed, m=m)
    d = world.decompose(w, base)
    assert abs(d.cross_entropy - d.right_side) < 1e-10
    as_printed = d.joint_entropy + d.sufficiency + d.efficiency - d.overfitting
    assert as_printed - d.cross_entropy == pytest.approx(information.entropy(w.prior, base), abs=1e-10)


def test_base_is_a_factor():
    w = random_world(1)
    bits, nats = world.decompose(w, 2), world.decompose(w, math.e)
    assert nats.cross_entropy == pytest.approx(bits.cross_entropy * math.log(2), rel=1e-12)
    assert nats.efficiency == pytest.approx(bits.efficiency * math.log(2), rel=1e-12)


@given(seeds)
@SETTINGS
def test_overfitting_is_at_most_information(seed):
    """C22; the slack is what the weights have learned about the task."""
    d = world.decompose(random_world(seed))
    assert d.overfitting <= d.information + 1e-12
    assert d.information - d.overfitting == pytest.approx(d.learned, abs=1e-10)


def test_without_the_markov_chain_overfitting_can_exceed_information():
    """W = D xor θ: independent of D alone, determined by D once θ is known."""
    joint = np.zeros((2, 2, 2))
    for theta, data in itertools.product(range(2), repeat=2):
        joint[theta, data, theta ^ data] = 0.25
    assert information.mutual_information(joint.sum(axis=0)) == pytest.approx(0, abs=1e-12)
    assert information.conditional_mutual_information(joint.transpose(1, 2, 0)) == pytest.approx(1, abs=1e-12)


@given(seeds, arrays(float, 4, elements=st.floats(0.01, 1)))
@SETTINGS
def test_divergence_bounds_information_for_every_prior(seed, raw):
    """C26: the excess is KL(marginal ‖ prior), so zero at the marginal alone."""
    w = random_world(seed)
    prior = raw / raw.sum()
    marginal_w = w.joint().sum(axis=(0, 1))
    information_dw = world.decompose(w).information
    excess = information.kl_divergence(marginal_w, prior)
    assert world.divergence_to(w, prior) >= information_dw - 1e-12
    assert world.divergence_to(w, prior) == pytest.approx(information_dw + excess, abs=1e-10)
    assert world.divergence_to(w, marginal_w) == pytest.approx(information_dw, abs=1e-10)


def test_divergence_is_infinite_where_the_prior_excludes_the_learner():
    assert world.divergence_to(random_world(0), [1, 0, 0, 0]) == math.inf


def objective(w: world.World, beta: float, prior: np.ndarray | None = None) -> float:
    d = world.decompose(w, math.e)
    price = d.information if prior is None else world.divergence_to(w, prior, math.e)
    return d.cross_entropy + beta * price


@given(seeds, st.sampled_from([0.3, 1.0, 3.0]))
@SETTINGS
def test_gibbs_minimises_its_objective(seed, beta):
    w = random_world(seed)
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    best = world.World(w.prior, w.likelihood, w.m, world.gibbs(w.model, w.m, beta, prior), w.model)
    assert objective(best, beta, prior) <= objective(w, beta, prior) + 1e-10
    near = 0.99 * best.learner + 0.01 * w.learner
    assert (
        objective(best, beta, prior)
        <= objective(world.World(w.prior, w.likelihood, w.m, near, w.model), beta, prior) + 1e-12
    )


def test_gibbs_at_beta_one_is_bayes_rule():
    coin = world.coin(guesses=(0.2, 0.5, 0.8))
    learner = world.gibbs(coin["model"], 3, 1.0)
    heads = world.datasets(2, 3).sum(axis=1)
    for row, k in zip(learner, heads, strict=True):
        weight = np.array([b**k * (1 - b) ** (3 - k) for b in (0.2, 0.5, 0.8)])
        np.testing.assert_allclose(row, weight / weight.sum(), atol=1e-12)


def test_gibbs_at_infinite_price_is_the_prior():
    prior = np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(world.gibbs(np.full((3, 2), 0.5), 2, math.inf, prior), np.tile(prior, (4, 1)))


@pytest.mark.parametrize("beta", [0.2, 0.7, 1.0, 1.5])
def test_solve_beats_every_other_learner(beta):
    coin = world.coin()
    best = world.solve(**coin, m=3, beta=beta)
    value = objective(best, beta)
    rng = np.random.default_rng(0)
    for mix in (1.0, 0.1, 0.01):
        for _ in range(30):
            other = (1 - mix) * best.learner + mix * rng.dirichlet(np.ones(7), size=8)
            rival = world.World(best.prior, best.likelihood, 3, other, best.model)
            assert value <= objective(rival, beta) + 1e-7
    uniform = world.World(best.prior, best.likelihood, 3, world.gibbs(coin["model"], 3, beta), best.model)
    assert value < objective(uniform, beta) - 1e-4


def test_information_falls_and_training_loss_rises_with_the_price():
    worlds = [world.solve(**world.coin(), m=4, beta=b) for b in (0.1, 0.5, 1.0, 2.0, 8.0)]
    information_dw = [world.decompose(w).information for w in worlds]
    losses = [w.train_loss() for w in worlds]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(information_dw))
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(losses))
    assert information_dw[-1] < 1e-6


def test_test_loss_against_loops():
    w = random_world(5)
    loops = sum(
        -p * w.likelihood[theta, z] * math.log2(w.model[weight, z])
        for (theta, _, weight), p in outcomes(w).items()
        for z in range(2)
    )
    assert w.test_loss() == pytest.approx(loops, abs=1e-12)
    assert w.test_loss(math.e) == pytest.approx(loops * math.log(2), abs=1e-12)


def test_gap_against_loops():
    """The fresh sample is drawn from the task that the data came from, and counts once; the seen ones as a mean."""
    w = random_world(7, n_theta=2, n_z=3, m=2)
    loss = np.random.default_rng(0).random((4, 3))
    expected = 0.0
    for (theta, data, weight), p in outcomes(w).items():
        fresh = sum(w.likelihood[theta, z] * loss[weight, z] for z in range(3))
        expected += p * (fresh - sum(loss[weight, z] for z in data) / 2)
    assert world.gap(w, loss) == pytest.approx(expected, abs=1e-12)
    log_loss = -np.log2(w.model)
    assert world.gap(w, log_loss) == pytest.approx(w.test_loss() - w.train_loss())
    for bad in (loss[:3], np.full((4, 3), math.inf)):
        with pytest.raises(ValueError, match="loss: shape"):
            world.gap(w, bad)


@given(seeds, st.integers(1, 4))
@SETTINGS
def test_gap_is_at_most_what_was_memorised_allows(seed, m):
    """C37: in every task, and over all tasks with I(D;W|θ), which is at most I(D;W)."""
    w = random_world(seed, m=m, alpha=0.2)
    loss = np.random.default_rng(seed).integers(0, 2, (4, 2)).astype(float)
    parts = world.decompose(w)
    assert abs(world.gap(w, loss)) <= bounds.expected_gap(max(parts.overfitting, 0), m) + 1e-9
    assert abs(world.gap(w, loss)) <= bounds.expected_gap(max(parts.information, 0), m) + 1e-9
    for theta in range(3):
        alone = world.World(np.eye(3)[theta], w.likelihood, m, w.learner, w.model)
        stored = max(world.decompose(alone).information, 0)
        assert abs(world.gap(alone, loss)) <= bounds.expected_gap(stored, m) + 1e-9


def faint_memory(epsilon: float) -> tuple[world.World, np.ndarray]:
    """One toss of a fair coin, remembered wrongly with probability ε; the loss is 1 where W is not the toss."""
    learner = np.array([[1 - epsilon, epsilon], [epsilon, 1 - epsilon]])
    return world.World(np.ones(1), np.full((1, 2), 0.5), 1, learner, np.full((2, 2), 0.5)), 1 - np.eye(2)


def test_no_smaller_constant_would_bound_the_gap():
    """C37: the fainter the memory, the nearer gap and bound; a factor of 0.99 would break it."""
    ratios = []
    for epsilon in (0.1, 0.4, 0.49):
        w, loss = faint_memory(epsilon)
        assert world.gap(w, loss) == pytest.approx(0.5 - epsilon)
        ratios.append(world.gap(w, loss) / bounds.expected_gap(world.decompose(w).information, 1))
    assert ratios == sorted(ratios)
    assert 0.999 < ratios[-1] < 1


def test_the_gaps_bound_needs_independent_samples_and_a_narrow_loss():
    """C37: eight copies of one toss are one sample, and a loss ten times as wide needs ten times the σ."""
    w, loss = faint_memory(0.1)
    stored = world.decompose(w).information
    assert world.gap(w, loss) > bounds.expected_gap(stored, 8)
    assert world.gap(w, 10 * loss) > bounds.expected_gap(stored, 1)
    assert world.gap(w, 10 * loss) < bounds.expected_gap(stored, 1, sigma=5)


@given(seeds)
@SETTINGS
def test_regions_of_the_venn_diagram(seed):
    w = random_world(seed)
    parts, d = world.regions(w), world.decompose(w)
    assert min(parts.values()) > -1e-10
    assert parts["tw"] == pytest.approx(0, abs=1e-10)
    assert parts["td"] == pytest.approx(d.sufficiency, abs=1e-10)
    assert parts["dw"] == pytest.approx(d.overfitting, abs=1e-10)
    assert parts["tdw"] == pytest.approx(d.learned, abs=1e-10)
    assert sum(parts.values()) == pytest.approx(information.entropy(w.joint().ravel()), abs=1e-10)


@pytest.mark.parametrize(
    ("r1", "r2", "d"), [(1, 1, 0.5), (1, 0.6, 0.9), (2, 0.5, 1.0), (1.7, 0.9, 1.5), (1, 1, 2.5)]
)
def test_area_of_two_discs(r1, r2, d):
    x, y = np.meshgrid(np.linspace(-3, 3, 1501), np.linspace(-3, 3, 1501))
    shared = ((x**2 + y**2 < r1**2) & ((x - d) ** 2 + y**2 < r2**2)).sum() * (6 / 1500) ** 2
    assert world._lens(r1, r2, d) == pytest.approx(shared, abs=5e-3)
    if 0 < shared < 0.99 * math.pi * min(r1, r2) ** 2:
        assert world._distance(r1, r2, world._lens(r1, r2, d)) == pytest.approx(d, abs=1e-6)


def test_draw_venn_draws_three_discs_with_the_areas():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    w = world.solve(**world.coin(), m=4, beta=0.7)
    parts = world.draw_venn(axes, w)
    areas = sorted(math.pi * patch.get_radius() ** 2 for patch in axes.patches)
    wanted = sorted(sum(v for k, v in parts.items() if n in k) for n in "tdw")
    np.testing.assert_allclose(areas, wanted, atol=1e-9)
    plt.close(figure)


def test_bad_input_is_named():
    w = random_world(0)
    with pytest.raises(ValueError, match=r"learner: 3 rows; n_z\*\*m = 2\*\*3 = 8"):
        world.World(w.prior, w.likelihood, 3, w.learner[:3], w.model)
    with pytest.raises(ValueError, match="likelihood: row sums"):
        world.World(w.prior, w.likelihood * 1.1, 3, w.learner, w.model)
    with pytest.raises(ValueError, match="model: shape"):
        world.World(w.prior, w.likelihood, 3, w.learner, w.model[:2])
    with pytest.raises(ValueError, match="prior: 2 tasks, but likelihood has 3"):
        world.World([0.5, 0.5], w.likelihood, 3, w.learner, w.model)
    with pytest.raises(ValueError, match="m: 0"):
        world.World(w.prior, w.likelihood, 0, w.learner, w.model)
    with pytest.raises(ValueError, match="negative or non-finite"):
        world.World([1.5, -0.5, 0], w.likelihood, 3, w.learner, w.model)
    with pytest.raises(ValueError, match="beta: 0"):
        world.gibbs(w.model, 3, 0)
    with pytest.raises(ValueError, match="beta: -1"):
        world.solve(**world.coin(), m=3, beta=-1)
    with pytest.raises(ValueError, match="impossible under every weight"):
        world.gibbs([[1, 0]], 2, 1.0)
    with pytest.raises(ValueError, match="weight_prior: 2 entries"):
        world.divergence_to(w, [0.5, 0.5])
    with pytest.raises(ValueError, match="n_z=0"):
        world.datasets(0, 1)


def test_import_does_not_load_torch():
    code = "import sys, t2v.world; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
