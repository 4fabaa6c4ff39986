"""The bottleneck against closed forms, brute force and two other libraries; claims C08 to C11."""

import itertools
import math
import subprocess
import sys

import bottleneck_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

from t2v import bottleneck, information

LETTERS = information.example_joint()[0]


def random_joint(seed, n=None, m=None, zeros=True):
    """A joint distribution, dense or sparse, sometimes with impossible symbols."""
    rng = np.random.default_rng(seed)
    shape = (n or rng.integers(2, 9), m or rng.integers(2, 7))
    joint = rng.dirichlet(np.full(shape[0] * shape[1], rng.choice([0.2, 0.5, 1, 5]))).reshape(shape)
    if zeros and rng.random() < 0.3:
        joint = joint * (rng.random(shape) > 0.3)
        joint[0, 0] += 1e-3
    return joint / joint.sum()


def symmetric(epsilon):
    """A fair bit through a binary symmetric channel."""
    return np.array([[1 - epsilon, epsilon], [epsilon, 1 - epsilon]]) / 2


def binary_entropy(p):
    return information.entropy(np.array([p, 1 - p]))


seeds = st.integers(0, 10**6)
relaxed = settings(max_examples=30, deadline=None, derandomize=True)


# Closed forms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.05, 0.2, 0.4])
@pytest.mark.parametrize("factor", [0.9, 1.01, 1.5, 4, 30])
def test_binary_symmetric_channel_has_the_closed_form(epsilon, factor):
    # Mrs Gerber's lemma: the best encoder is a symmetric channel itself, with flip probability d.
    beta = factor / (1 - 2 * epsilon) ** 2

    def objective(d):
        through = d * (1 - epsilon) + (1 - d) * epsilon
        return 1 - binary_entropy(d) - beta * (1 - binary_entropy(through))

    best = minimize_scalar(objective, bounds=(0, 0.5), method="bounded", options={"xatol": 1e-12})
    found = bottleneck.solve(symmetric(epsilon), beta)
    d = best.x if factor > 1 else 0.5
    assert found.objective == pytest.approx(min(best.fun, 0), abs=1e-10)
    assert found.i_tx == pytest.approx(1 - binary_entropy(d), abs=1e-6)
    assert found.i_ty == pytest.approx(1 - binary_entropy(d + epsilon - 2 * d * epsilon), abs=1e-6)
    assert found.converged
    assert found.gap < 1e-8


def test_product_of_two_channels_bifurcates_twice():
    joint = np.einsum("ab,cd->acbd", symmetric(0.1), symmetric(0.25)).reshape(4, 4)
    first, second = 1 / 0.8**2, 1 / 0.5**2
    assert bottleneck.critical_beta(joint) == pytest.approx(first, rel=1e-12)
    changes = bottleneck.bifurcations(joint, 6, steps=20, rtol=1e-4)
    assert [c[1:] for c in changes] == [(1, 2), (2, 4)]
    assert [c[0] for c in changes] == pytest.approx([first, second], rel=1e-3)
    # Information adds up over independent parts.
    parts = [bottleneck.solve(symmetric(e), 5.0) for e in (0.1, 0.25)]
    whole = bottleneck.solve(joint, 5.0)
    assert whole.objective == pytest.approx(sum(p.objective for p in parts), abs=1e-9)
    assert whole.i_tx == pytest.approx(sum(p.i_tx for p in parts), abs=1e-6)


def test_large_beta_finds_the_minimal_sufficient_statistic():
    rows = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.7, 0.2, 0.1], [0.3, 0.5, 0.2]])
    joint = np.array([0.1, 0.2, 0.3, 0.4])[:, None] * rows
    found = bottleneck.solve(joint, 1e4)
    assert found.i_ty == pytest.approx(information.mutual_information(joint), abs=1e-9)
    assert found.i_tx == pytest.approx(information.entropy([0.4, 0.2, 0.4]), abs=1e-9)  # rows 0 and 2 are one
    assert found.labels[0] == found.labels[2]
    assert found.n_used == 3


def test_units_follow_the_base():
    bits, nats = (bottleneck.solve(LETTERS, 3.0, base=base) for base in (2, np.e))
    assert bits.i_tx * math.log(2) == pytest.approx(nats.i_tx, rel=1e-12)
    assert bits.i_ty * math.log(2) == pytest.approx(nats.i_ty, rel=1e-12)
    assert bits.objective * math.log(2) == pytest.approx(nats.objective, rel=1e-12)
    inexact = [bottleneck.solve(LETTERS, 3.0, 2, base=base) for base in (2, np.e)]
    assert inexact[0].gap * math.log(2) == pytest.approx(inexact[1].gap, rel=1e-9)
    assert inexact[0].gap > 1e-3


# The solution -------------------------------------------------------------------------------------


@relaxed
@given(seeds, st.floats(0.5, 60))
def test_solution_is_self_consistent_and_measured_in_bits(seed, beta):
    joint = random_joint(seed)
    found = bottleneck.solve(joint, beta, restarts=1)
    prior = joint.sum(axis=1)
    with_t = information.push_forward(joint, found.encoder)
    assert found.i_ty == pytest.approx(information.mutual_information(with_t), abs=1e-9)
    assert found.i_tx == pytest.approx(
        information.mutual_information(information.push_forward(prior, found.encoder)), abs=1e-9
    )
    np.testing.assert_allclose(found.prior, prior @ found.encoder, atol=1e-12)
    np.testing.assert_allclose(found.prior[:, None] * found.decoder, with_t.T, atol=1e-9)
    assert (np.diff(found.prior) <= 0).all()
    again = bottleneck.blahut_arimoto(joint, beta, found.encoder, max_iter=1)
    np.testing.assert_allclose(again.encoder[prior > 0], found.encoder[prior > 0], atol=1e-6)


@relaxed
@given(seeds, st.floats(1.0, 30))
def test_never_worse_than_any_start_of_blahut_arimoto(seed, factor):
    joint = random_joint(seed)
    beta = factor * min(bottleneck.onset_beta(joint), 100)
    found = bottleneck.solve(joint, beta)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        start = rng.dirichlet(np.full(len(joint), 0.5), size=len(joint))
        local = bottleneck.blahut_arimoto(joint, beta, start, tol=1e-6, max_iter=300)
        assert found.objective <= local.objective + 1e-8
        # The gap bounds what any encoder can gain, that of a poorer solution too.
        assert found.objective - found.gap <= local.objective + 1e-8


def test_gap_of_a_restricted_solution_bounds_the_cost_of_the_restriction():
    free = bottleneck.solve(LETTERS, 8.0)
    for k in (1, 2, 4):
        tied = bottleneck.solve(LETTERS, 8.0, k)
        assert tied.n_used <= k
        assert 0 < tied.objective - free.objective <= tied.gap


@pytest.mark.parametrize("seed", range(3))
def test_two_clusters_of_three_symbols_against_brute_force(seed):
    joint = random_joint(seed, 3, 3, zeros=False)
    beta = 2.5 * bottleneck.onset_beta(joint)

    prior, marginal = joint.sum(axis=1), joint.sum(axis=0)

    def objective(logits):
        first = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
        encoder = np.stack([first, 1 - first], axis=1)
        q, with_y = prior @ encoder, encoder.T @ joint
        i_tx = (prior[:, None] * encoder * np.log2(encoder / q)).sum()
        return i_tx - beta * (with_y * np.log2(with_y / np.outer(q, marginal))).sum()

    starts = itertools.product([-2.0, 2.0], repeat=3)
    options = {"xatol": 1e-7, "fatol": 1e-12, "maxiter": 1000}
    best = min(minimize(objective, s, method="Nelder-Mead", options=options).fun for s in starts)
    found = bottleneck.solve(joint, beta, 2)
    assert found.objective == pytest.approx(best, abs=1e-6)
    assert found.objective <= best + 1e-9


def test_local_minima_do_not_hold_solve():
    uniform = np.full((26, 26), 1 / 26)
    stuck = bottleneck.blahut_arimoto(LETTERS, 6.0, uniform)
    assert stuck.converged
    assert stuck.i_tx == 0
    assert bottleneck.solve(LETTERS, 6.0, init=uniform).objective < -0.5
    # And with two clusters, where the problem is not convex, bad partitions hold Blahut–Arimoto.
    rng = np.random.default_rng(0)
    starts = [0.98 * np.eye(2)[rng.integers(2, size=26)] + 0.01 for _ in range(20)]
    local = [bottleneck.blahut_arimoto(LETTERS, 40.0, s).objective for s in starts]
    found = bottleneck.solve(LETTERS, 40.0, 2).objective
    assert max(local) > found + 0.1
    assert min(local) >= found - 1e-8


def test_init_is_one_more_start():
    joint = random_joint(5, 8, 4, zeros=False)
    good = bottleneck.solve(joint, 10.0, 3)
    again = bottleneck.solve(joint, 10.0, 3, init=good.encoder, restarts=0)
    assert again.objective <= good.objective + 1e-10
    assert again.encoder.shape == (8, 3)


@relaxed
@given(seeds, st.floats(0.5, 40))
def test_blahut_arimoto_never_goes_up(seed, beta):
    joint = random_joint(seed)
    encoder = np.random.default_rng(seed).dirichlet(np.ones(3), size=len(joint))
    before = bottleneck.evaluate(joint, encoder, beta).objective
    for _ in range(8):
        step = bottleneck.blahut_arimoto(joint, beta, encoder, max_iter=1)
        assert step.objective <= before + 1e-10 * max(1, beta)
        before, encoder = step.objective, step.encoder


def test_impossible_symbols_change_nothing():
    small = random_joint(3, 5, 4, zeros=False)
    big = np.zeros((7, 6))
    big[np.ix_([0, 2, 3, 5, 6], [0, 1, 3, 5])] = small
    a, b = bottleneck.solve(small, 12.0), bottleneck.solve(big, 12.0)
    assert a.objective == pytest.approx(b.objective, abs=1e-10)
    np.testing.assert_allclose(b.encoder.sum(axis=1), 1)
    np.testing.assert_allclose(b.decoder.sum(axis=1), 1)
    np.testing.assert_allclose(b.encoder[1], b.prior)
    assert (b.decoder[b.prior > 0][:, [2, 4]] == 0).all()
    assert bottleneck.critical_beta(big) == pytest.approx(bottleneck.critical_beta(small))
    hard = bottleneck.deterministic(big, 2)
    assert hard.i_ty == pytest.approx(bottleneck.deterministic(small, 2).i_ty)


def test_a_single_symbol_has_only_the_trivial_solution():
    found = bottleneck.solve(np.array([[0.25, 0.75]]), 10.0)
    assert (found.i_tx, found.i_ty, found.n_used) == (0, 0, 1)
    assert bottleneck.critical_beta(np.array([[0.25, 0.75]])) == math.inf


# Where the trivial solution ends ------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.3])
def test_critical_beta_of_the_symmetric_channel(epsilon):
    expected = 1 / (1 - 2 * epsilon) ** 2
    assert bottleneck.critical_beta(symmetric(epsilon)) == pytest.approx(expected, rel=1e-12)
    assert bottleneck.onset_beta(symmetric(epsilon)) == pytest.approx(expected, rel=1e-6)


def test_independent_variables_are_never_worth_a_bit():
    joint = np.outer([0.2, 0.3, 0.5], [0.6, 0.4])
    assert bottleneck.critical_beta(joint) == math.inf
    assert bottleneck.onset_beta(joint) == math.inf
    assert bottleneck.solve(joint, 1e3).i_tx == 0


@relaxed
@given(seeds)
def test_critical_beta_is_where_annealing_leaves_the_trivial_solution(seed):
    # Locally: the objective's curvature along the second singular direction changes sign there, and
    # nowhere else does a small change of the encoder pay earlier.
    joint = random_joint(seed, zeros=False)
    prior, critical = joint.sum(axis=1), bottleneck.critical_beta(joint)
    scaled = joint / np.sqrt(np.outer(prior, joint.sum(axis=0)))
    left = np.linalg.svd(scaled)[0][:, 1] / np.sqrt(prior)

    def objective(beta, direction, size=1e-3):
        first = 0.5 + size * direction / np.abs(direction).max()
        encoder = np.stack([first, 1 - first], axis=1)
        return bottleneck.evaluate(joint, encoder, beta, base=np.e).objective

    assert objective(1.01 * critical, left) < 0 < objective(0.99 * critical, left)
    for _ in range(5):
        direction = np.random.default_rng(seed).normal(size=len(joint))
        assert objective(0.99 * critical, direction - prior @ direction) > 0


@pytest.mark.parametrize("seed", range(6))
def test_onset_beta_against_a_grid(seed):
    # Two symbols: the contraction coefficient by brute force over all r.
    joint = random_joint(seed, 2, 4, zeros=False)
    prior, marginal = joint.sum(axis=1), joint.sum(axis=0)
    grid = np.linspace(1e-6, 1 - 1e-6, 4001)
    grid = grid[np.abs(grid - prior[0]) > 1e-3]
    r = np.stack([grid, 1 - grid], axis=1)
    cost = (r * np.log(r / prior)).sum(axis=1)
    s = r @ (joint / prior[:, None])
    gain = (s * np.log(s / marginal)).sum(axis=1)
    brute = (cost / gain).min()
    assert bottleneck.onset_beta(joint) == pytest.approx(
        min(brute, bottleneck.critical_beta(joint)), rel=1e-4
    )
    assert bottleneck.onset_beta(joint) <= brute * (1 + 1e-9)


@relaxed
@given(seeds)
def test_c09_only_the_trivial_encoder_below_the_onset(seed):
    joint = random_joint(seed)
    onset = bottleneck.onset_beta(joint)
    if onset == math.inf:
        return
    assert 1 <= onset <= bottleneck.critical_beta(joint) * (1 + 1e-9)
    if onset > 1:
        before = bottleneck.solve(joint, onset * 0.999)
        assert (before.i_tx, before.i_ty, before.n_used) == (0, 0, 1)
    after = bottleneck.solve(joint, onset * 1.01)
    assert after.objective < 0
    assert after.n_used > 1


def test_the_onset_can_be_long_before_the_local_price():
    # A rare symbol that tells much: the global minimum leaves the trivial one long before 1/σ₂².
    joint = np.array([[0.02, 0.0], [0.40, 0.58]])
    onset, critical = bottleneck.onset_beta(joint), bottleneck.critical_beta(joint)
    assert onset < 0.75 * critical
    between = math.sqrt(onset * critical)
    found = bottleneck.solve(joint, between)
    assert found.objective < -1e-3
    # Annealing from a slightly disturbed trivial encoder does not see it.
    near = 0.5 + 0.01 * np.array([[1, -1], [-1, 1]])
    assert bottleneck.blahut_arimoto(joint, between, near).i_tx < 1e-6


# Seeds of oracle tables whose best encoder is easily missed, and a table of two symbols.
FAR = np.array([[0.08, 0.18, 0.17], [0.00, 0.04, 0.53]])
TABLES = [FAR, *(oracle.random_joint(np.random.default_rng(seed)) for seed in (7, 45, 208, 319, 376, 666))]


@pytest.mark.parametrize("joint", TABLES, ids=range(len(TABLES)))
def test_c09_onset_and_objective_are_those_of_the_oracle(joint):
    onset = oracle.onset(joint)
    assert bottleneck.onset_beta(joint) == pytest.approx(onset, rel=1e-5)
    assert bottleneck.solve(joint, onset * 0.999).n_used == 1
    betas = onset * np.array([1.003, 1.5])
    least = [oracle.best(joint, beta)[0] for beta in betas]
    assert least[0] < 0
    alone = [bottleneck.solve(joint, beta).objective for beta in betas]
    assert alone == pytest.approx(least, abs=1e-7)
    assert bottleneck.curve(joint, betas).objective == pytest.approx(least, abs=1e-7)


def concave(found):
    """Whether no point lies above another one's tangent of slope 1/β."""
    beta, x, y = np.array([(f.beta, f.i_tx, f.i_ty) for f in found]).T
    return bool((y <= y[:, None] + (x - x[:, None]) / beta[:, None] + 1e-9).all())


def test_c09_concave_where_each_price_is_solved_alone():
    for joint in (LETTERS, *TABLES[:4]):
        betas = np.geomspace(1.01, 30, 12)
        alone = [bottleneck.solve(joint, beta) for beta in betas]
        assert concave(alone)
        curve = bottleneck.curve(joint, betas)
        assert curve.objective == pytest.approx([f.objective for f in alone], abs=1e-8)


def test_c09_an_envelope_of_guesses_is_concave_and_found_out():
    # The control of the verdict: concavity does not tell a curve from the envelope of random encoders.
    joint, rng, betas = TABLES[1], np.random.default_rng(0), np.geomspace(1.2, 30, 8)
    codes = [rng.dirichlet(np.ones(3), size=len(joint)) for _ in range(60)]
    codes += [np.eye(len(joint)), np.ones((len(joint), 1))]
    tried = [[bottleneck.evaluate(joint, code, beta) for code in codes] for beta in betas]
    guessed = [min(row, key=lambda f: f.objective) for row in tried]
    assert concave(guessed)
    lost = [g.objective - oracle.best(joint, g.beta)[0] for g in guessed]
    assert max(lost) > 1e-2


def test_stability_predicts_the_next_split():
    joint = np.einsum("ab,cd->acbd", symmetric(0.1), symmetric(0.25)).reshape(4, 4)
    trivial, two = bottleneck.solve(joint, 1.0), bottleneck.solve(joint, 3.0)
    assert bottleneck.stability(joint, trivial) == pytest.approx([1 / 0.8**2], rel=1e-9)
    assert two.n_used == 2
    # Each of the two clusters knows the first bit in part and the second not at all.
    assert bottleneck.stability(joint, two).min() == pytest.approx(4.0, rel=1e-6)
    assert len(bottleneck.stability(LETTERS, bottleneck.solve(LETTERS, 4.0))) == 6
    for beta in (2.0, 4.0, 9.0):
        assert (bottleneck.stability(LETTERS, bottleneck.solve(LETTERS, beta)) > beta).all()


# The curve ----------------------------------------------------------------------------------------


def check_shape(curve, joint):
    order = np.argsort(curve.betas, kind="stable")
    x, y, beta = curve.i_tx[order], curve.i_ty[order], curve.betas[order]
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    # Concave, with slope 1/β: every point lies under every tangent. This is stronger than comparing neighbours.
    tangent = y[:, None] + (x - x[:, None]) / beta[:, None]
    assert (y <= tangent + 1e-10).all()
    prior = joint.sum(axis=1)
    assert x.max() <= information.entropy(prior) + 1e-9
    assert y.max() <= information.mutual_information(joint) + 1e-9
    assert (y <= x + 1e-12).all()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seeds, st.booleans())
def test_c09_curve_is_concave_and_monotone(seed, restricted):
    joint = random_joint(seed)
    k = 2 if restricted else None
    curve = bottleneck.curve(joint, np.geomspace(0.5, 80, 24), k)
    check_shape(curve, joint)
    assert (curve.i_tx[0], curve.i_ty[0]) == (0, 0)
    np.testing.assert_allclose(curve.objective, [s.objective for s in curve.solutions], atol=1e-9)


def test_c09_curve_ends_where_all_is_kept():
    curve = bottleneck.curve(LETTERS, [0.5, 1e5])
    assert curve.i_ty[1] == pytest.approx(information.mutual_information(LETTERS), abs=1e-6)
    assert curve.i_tx[1] <= math.log2(26)
    assert curve.n_used.tolist()[0] == 1


def test_curve_agrees_with_solve_in_any_order():
    betas = np.array([5.0, 1.3, 20.0, 2.0, 2.0])
    curve = bottleneck.curve(LETTERS, betas)
    for i, beta in enumerate(betas):
        found = bottleneck.solve(LETTERS, beta)
        assert curve.solutions[i].beta == beta
        assert curve.objective[i] == pytest.approx(found.objective, abs=1e-8)
        assert curve.i_tx[i] == pytest.approx(found.i_tx, abs=1e-5)
    assert (curve.gap < 1e-8).all()


def test_restricted_curve_is_no_worse_than_restarts():
    betas = np.geomspace(1, 60, 12)
    curve = bottleneck.curve(LETTERS, betas, 3)
    assert curve.n_used.max() == 3
    rng = np.random.default_rng(1)
    for beta, value in zip(betas[::3], curve.objective[::3], strict=True):
        for _ in range(10):
            start = rng.dirichlet(np.full(3, 0.3), size=26)
            local = bottleneck.blahut_arimoto(LETTERS, beta, start, tol=1e-6, max_iter=500)
            assert value <= local.objective + 1e-8


def test_a_hundred_points_of_64_by_16_take_few_iterations():
    # Seconds depend on the machine (see benchmarks/bottleneck.py); iterations do not.
    joint = np.random.default_rng(0).dirichlet(np.ones(1024)).reshape(64, 16)
    curve = bottleneck.curve(joint, np.geomspace(1, 100, 100))
    check_shape(curve, joint)
    assert (curve.gap < 2e-9).all()
    assert all(s.converged for s in curve.solutions)
    assert sum(s.n_iter for s in {id(s): s for s in curve.solutions}.values()) < 2000
    assert curve.n_used[-1] == 64


# Other libraries ----------------------------------------------------------------------------------


@pytest.mark.parametrize("concentration", [1.0, 0.1])
def test_no_worse_than_embo(concentration):
    embo = pytest.importorskip("embo")
    joint = np.random.default_rng(1).dirichlet(np.full(320, concentration)).reshape(32, 10)
    np.random.seed(0)  # noqa: NPY002 - embo draws its starts from the global generator
    peer = embo.InformationBottleneck(
        pxy=joint.copy(), minbeta=0.5, maxbeta=25, numbeta=12, ensure_monotonic_bound=False
    )
    i_tx, i_ty, _, betas = (np.asarray(a) for a in peer.get_bottleneck())
    assert (bottleneck.curve(joint, betas).objective <= i_tx - betas * i_ty + 1e-9).all()
    # embo 1.1 subtracts β times bits from a logarithm in nats: its β is larger than it says, by 1/ln 2.
    # At that β it is no better either, and near: it is the same problem.
    betas = betas / np.log(2)
    ours = bottleneck.curve(joint, betas)
    assert (ours.objective <= i_tx - betas * i_ty + 1e-9).all()
    assert np.abs(ours.i_ty - i_ty).max() < 0.03
    assert ours.i_ty.max() > 0.5


def test_no_worse_than_dit():
    # The optimiser, not dit's blahut_arimoto_ib, one of whose starts is no channel (in 2.3: I(T;X) comes out
    # negative). It takes seconds at 4 × 3, and would take hours at 64 × 16.
    dit = pytest.importorskip("dit")
    solver = pytest.importorskip("dit.rate_distortion.information_bottleneck")
    joint = random_joint(8, 4, 3, zeros=False)
    np.random.seed(0)  # noqa: NPY002 - dit draws its starts from the global generator
    for beta in (6.0, 12.0):
        peer = solver.InformationBottleneck.functional()
        i_tx, i_ty = peer(dit.Distribution.from_ndarray(joint), beta)
        ours = bottleneck.solve(joint, beta)
        assert ours.objective <= i_tx - beta * i_ty + 1e-9
        assert ours.objective == pytest.approx(i_tx - beta * i_ty, abs=1e-4)
        assert ours.i_tx == pytest.approx(i_tx, abs=1e-2)


# Gaussian -----------------------------------------------------------------------------------------


def gaussian_case(seed=0, d_x=3, d_y=2):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d_x + d_y, d_x + d_y))
    joint = root @ root.T + np.eye(d_x + d_y)
    return joint[:d_x, :d_x], joint[:d_x, d_x:], joint[d_x:, d_x:]


@pytest.mark.parametrize("factor", [0.5, 1.2, 20])
def test_gaussian_projection_has_the_stated_information(factor):
    cov_x, cov_xy, cov_y = gaussian_case()
    first = bottleneck.gaussian(cov_x, cov_xy, cov_y, 1.0).critical_betas[0]
    found = bottleneck.gaussian(cov_x, cov_xy, cov_y, factor * first)
    a = found.projection
    cov_t = a @ cov_x @ a.T + np.eye(len(a))
    given_y = cov_t - a @ cov_xy @ np.linalg.solve(cov_y, cov_xy.T) @ a.T
    assert found.i_tx == pytest.approx(0.5 * np.log2(np.linalg.det(cov_t)), abs=1e-12)
    assert found.i_ty == pytest.approx(
        0.5 * np.log2(np.linalg.det(cov_t) / np.linalg.det(given_y)), abs=1e-12
    )
    assert (found.i_tx > 0) == (factor > 1)
    assert found.n_used == (found.critical_betas < factor * first).sum()


def test_gaussian_is_the_best_linear_encoder():
    cov_x, cov_xy, cov_y = gaussian_case(1)
    beta = 1.5 * bottleneck.gaussian(cov_x, cov_xy, cov_y, 1.0).critical_betas[1]
    given_y = cov_x - cov_xy @ np.linalg.solve(cov_y, cov_xy.T)

    def objective(flat):
        a = flat.reshape(2, 3)
        log_t = np.linalg.slogdet(a @ cov_x @ a.T + np.eye(2))[1]
        return 0.5 * ((1 - beta) * log_t + beta * np.linalg.slogdet(a @ given_y @ a.T + np.eye(2))[1])

    rng = np.random.default_rng(0)
    best = min(minimize(objective, rng.normal(size=6)).fun for _ in range(5))
    found = bottleneck.gaussian(cov_x, cov_xy, cov_y, beta, base=np.e)
    assert found.objective == pytest.approx(best, abs=1e-6)


def discretised(rho, n=41, span=4.0):
    """A standard bivariate normal on a grid of n × n points."""
    z = np.linspace(-span, span, n)
    joint = np.exp(-(z[:, None] ** 2 - 2 * rho * z[:, None] * z + z**2) / (2 * (1 - rho**2)))
    return joint / joint.sum()


def test_c09_gaussian_closed_form_is_the_limit_of_fine_grids():
    rho = 0.8
    joint = discretised(rho)
    critical = 1 / rho**2
    assert bottleneck.critical_beta(joint) == pytest.approx(critical, rel=1e-3)
    for beta in (0.9 * critical, 1.3 * critical, 3 * critical):
        exact = bottleneck.gaussian([[1]], [[rho]], [[1]], beta)
        assert exact.critical_betas == pytest.approx([critical])
        found = bottleneck.solve(joint, beta)
        assert found.objective == pytest.approx(exact.objective, abs=3e-3)
        assert found.i_tx == pytest.approx(exact.i_tx, abs=2e-2)


def test_gaussian_bad_input():
    with pytest.raises(ValueError, match=r"cov_x is not positive definite; accepted"):
        bottleneck.gaussian([[0.0]], [[0.0]], [[1.0]], 2.0)
    with pytest.raises(ValueError, match=r"cov_y is not finite and symmetric"):
        bottleneck.gaussian(np.eye(2), np.zeros((2, 2)), [[1, 0.5], [0, 1]], 2.0)
    with pytest.raises(ValueError, match=r"cov_x has shape \(1, 2\); accepted: a square"):
        bottleneck.gaussian([[1, 2]], [[0.0]], [[1.0]], 2.0)
    with pytest.raises(ValueError, match=r"cov_xy has shape \(1, 1\).*\(2, 1\)"):
        bottleneck.gaussian(np.eye(2), [[0.1]], [[1.0]], 2.0)
    with pytest.raises(ValueError, match=r"canonical correlation of 1.*below 1"):
        bottleneck.gaussian([[1.0]], [[1.0]], [[1.0]], 2.0)
    with pytest.raises(ValueError, match=r"beta is -1; accepted: a finite number > 0"):
        bottleneck.gaussian([[1.0]], [[0.5]], [[1.0]], -1)


# Hard clusters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_hard_clusters_against_all_partitions(seed, k):
    joint = random_joint(seed, 6, 4)
    best = max(
        bottleneck.evaluate(joint, np.eye(k)[[0, *rest]], 1.0).i_ty
        for rest in itertools.product(range(k), repeat=5)
    )
    found = bottleneck.deterministic(joint, k)
    assert found.i_ty == pytest.approx(best, abs=1e-12)
    assert found.i_tx == pytest.approx(information.entropy(found.prior), abs=1e-12)
    assert set(np.unique(found.encoder)) <= {0.0, 1.0}
    assert found.beta == math.inf


def quantise(joint, k):
    """The best I(T;Y) of k hard clusters for binary Y, by dynamic programming over sorted posteriors."""
    joint = joint[np.argsort(joint[:, 0] / joint.sum(axis=1))]
    n, total = len(joint), np.vstack([np.zeros(2), np.cumsum(joint, axis=0)])

    def content(i, j):
        mass = total[j] - total[i]
        return (mass * np.log2(mass / mass.sum())).sum()

    best = np.full((k + 1, n + 1), -np.inf)
    best[0, 0] = 0
    for c, j in itertools.product(range(1, k + 1), range(1, n + 1)):
        best[c, j] = max(best[c - 1, i] + content(i, j) for i in range(j))
    return best[:, n].max() + information.entropy(joint.sum(axis=0))


@pytest.mark.parametrize("seed", range(3))
def test_hard_clusters_of_binary_labels_against_dynamic_programming(seed):
    joint = random_joint(seed, 25, 2, zeros=False)
    for k in (2, 4):
        assert bottleneck.deterministic(joint, k).i_ty == pytest.approx(quantise(joint, k), abs=1e-9)


def test_hard_clusters_find_planted_groups():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2, 3], 8)
    joint = rng.dirichlet(0.3 * np.ones(6), size=4)[groups] * rng.dirichlet(np.full(32, 5.0))[:, None]
    found = bottleneck.deterministic(joint / joint.sum(), 4)
    assert found.i_ty == pytest.approx(information.mutual_information(joint / joint.sum()), abs=1e-9)
    assert all(len(set(found.labels[groups == g])) == 1 for g in range(4))


# Claims -------------------------------------------------------------------------------------------


@relaxed
@given(seeds)
def test_c08_minimal_sufficient_representations_are_invariant(seed):
    rng = np.random.default_rng(seed)
    n_y, n_n, n_x, n_t = rng.integers(2, 5, size=4)
    label_and_nuisance = np.outer(rng.dirichlet(np.ones(n_y)), rng.dirichlet(np.ones(n_n)))
    world = rng.dirichlet(np.full(n_x, 0.4), size=(n_y, n_n))
    encoder = rng.dirichlet(np.full(n_t, 0.4), size=n_x)
    ynx = label_and_nuisance[:, :, None] * world
    i_tn = information.mutual_information(information.push_forward(ynx.sum(axis=0).T, encoder))
    i_ty = information.mutual_information(information.push_forward(ynx.sum(axis=1).T, encoder))
    i_tx = information.mutual_information(information.push_forward(ynx.sum(axis=(0, 1)), encoder))
    assert i_tn <= i_tx - i_ty + 1e-12


def test_c08_needs_independence():
    # With N = Y the inequality would read 2 I(T;Y) ≤ I(T;X): false for T = Y.
    joint = np.eye(2) / 2
    assert information.mutual_information(joint) > 1 - information.mutual_information(joint)


@pytest.mark.parametrize("seed", range(5))
def test_c08_equality_where_the_encoder_treats_label_and_nuisance_apart(seed):
    # X is the pair (Y, N), and T a noisy view of each: nothing is left between the two sides.
    rng = np.random.default_rng(seed)
    y, n = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4))
    view_y, view_n = rng.dirichlet(np.full(2, 0.5), size=3), rng.dirichlet(np.full(3, 0.5), size=4)
    ynx = np.einsum("i,j,ik,jl->ijkl", y, n, np.eye(3), np.eye(4)).reshape(3, 4, 12)
    margins = (ynx.sum(axis=(0, 1)), ynx.sum(axis=1).T, ynx.sum(axis=0).T)
    encoder = np.kron(view_y, view_n)
    i_tx, i_ty, i_tn = (information.mutual_information(information.push_forward(m, encoder)) for m in margins)
    assert i_tn == pytest.approx(i_tx - i_ty, abs=1e-12)
    assert i_tn > 1e-3


def test_c08_lens_cap_attains_the_bound():
    # Label, cap, picture (cat, dog, black, black with a speck): the minimal sufficient representation knows the cap.
    # X itself is sufficient, but not minimal: the speck must go.
    world = np.zeros((2, 2, 4))
    world[0, 0, 0] = world[1, 0, 1] = 0.25
    world[:, 1, 2:] = 0.125
    joint = world.sum(axis=1).T
    found = bottleneck.solve(joint, 1e4)
    assert found.i_ty == pytest.approx(information.mutual_information(joint), abs=1e-9)
    i_tn = information.mutual_information(information.push_forward(world.sum(axis=0).T, found.encoder))
    assert i_tn == pytest.approx(1, abs=1e-9)
    assert found.i_tx - found.i_ty == pytest.approx(i_tn, abs=1e-9)
    assert found.i_tx == pytest.approx(1.5, abs=1e-9)
    assert information.entropy(world.sum(axis=(0, 1))) == pytest.approx(2)
    assert found.n_used == 3
    assert information.mutual_information(world.sum(axis=2)) == pytest.approx(0, abs=1e-12)


@relaxed
@given(seeds, st.floats(0.2, 50))
def test_c10_two_lagrangians_have_the_same_minimisers(seed, beta):
    joint = random_joint(seed)
    found = bottleneck.solve(joint, beta)

    def paper(encoder):  # H(Y|T) + β' I(T;X), with β' = 1/β
        measured = bottleneck.evaluate(joint, encoder, beta)
        with_t = information.push_forward(joint, encoder)
        return information.conditional_entropy(with_t) + measured.i_tx / beta

    h_y = information.entropy(joint.sum(axis=0))
    assert paper(found.encoder) == pytest.approx(found.objective / beta + h_y, abs=1e-9)
    other = np.random.default_rng(seed).dirichlet(np.ones(3), size=len(joint))
    assert paper(found.encoder) <= paper(other) + 1e-9


def test_c10_printed_constraint_is_vacuous():
    # I(T;Y) ≤ I(X;Y) holds for the constant encoder, whose I(T;X) is 0: the printed problem has this solution.
    constant = bottleneck.evaluate(LETTERS, np.ones((26, 1)), 1.0)
    assert constant.i_tx == 0
    assert constant.i_ty <= information.mutual_information(LETTERS)


def test_c10_a_general_optimiser_on_the_papers_form_ends_at_the_same_pair():
    joint = random_joint(1, 3, 3, zeros=False)
    beta = 2.5 * bottleneck.onset_beta(joint)
    prior, rng = joint.sum(axis=1), np.random.default_rng(0)

    def encoder(logits):
        return np.exp(logits.reshape(3, 3)) / np.exp(logits.reshape(3, 3)).sum(axis=1, keepdims=True)

    def paper(logits):
        q = encoder(np.clip(logits, -30, 30))
        with_y, q_t = q.T @ joint, prior @ q
        i_tx = (prior[:, None] * q * np.log2(q / q_t)).sum()
        return -(with_y * np.log2(with_y / q_t[:, None])).sum() + i_tx / beta

    runs = [minimize(paper, rng.normal(size=9), method="L-BFGS-B", tol=1e-13) for _ in range(8)]
    theirs = bottleneck.evaluate(joint, encoder(min(runs, key=lambda run: run.fun).x), beta)
    ours = bottleneck.solve(joint, beta)
    assert ours.i_tx > 0.05
    assert theirs.i_tx == pytest.approx(ours.i_tx, abs=1e-4)
    assert theirs.i_ty == pytest.approx(ours.i_ty, abs=1e-4)


def test_c11_a_sample_is_not_the_truth():
    # The decoder p(y|t) remembers nothing, and scores below H(Y|T) on about every second sample.
    rng = np.random.default_rng(0)
    truth = rng.dirichlet(np.ones(12)).reshape(3, 4)  # p(t, y)
    h = information.conditional_entropy(truth.T)
    samples = rng.multinomial(60, truth.ravel(), size=4000).reshape(-1, 3, 4) / 60
    right = truth / truth.sum(axis=1, keepdims=True)
    assert 0.4 < (-(samples * np.log2(right)).sum(axis=(1, 2)) < h).mean() < 0.6


@relaxed
@given(seeds)
def test_c11_cross_entropy_bounds_conditional_entropy(seed):
    rng = np.random.default_rng(seed)
    joint = random_joint(seed)
    with_t = information.push_forward(joint, rng.dirichlet(np.ones(3), size=len(joint)))
    q_t = with_t.sum(axis=0)
    truth = information.conditional_entropy(with_t)
    model = rng.dirichlet(np.ones(len(with_t)), size=3)
    cross = -(with_t.T * np.log2(model)).sum()
    assert cross >= truth - 1e-12
    rows = [information.cross_entropy(with_t[:, t] / q_t[t], model[t]) for t in range(3)]
    assert q_t @ rows == pytest.approx(cross, abs=1e-9)
    tight = [information.cross_entropy(with_t[:, t] / q_t[t], with_t[:, t] / q_t[t]) for t in range(3)]
    assert q_t @ tight == pytest.approx(truth, abs=1e-12)
    excess = [information.kl_divergence(with_t[:, t] / q_t[t], model[t]) for t in range(3)]
    assert cross - truth == pytest.approx(q_t @ excess, abs=1e-9)


# Bad input ----------------------------------------------------------------------------------------

GOOD = symmetric(0.1)
BAD = [
    (lambda: bottleneck.solve(GOOD / 2, 2.0), ValueError, r"joint sums to 0\.5"),
    (lambda: bottleneck.solve([[1.5, -0.5]], 2.0), ValueError, r"joint has a negative entry"),
    (lambda: bottleneck.solve([0.5, 0.5], 2.0), ValueError, r"joint has 1 axes.*accepted: exactly 2"),
    (lambda: bottleneck.solve([[np.nan, 1.0]], 2.0), ValueError, r"joint has NaN"),
    (lambda: bottleneck.solve(GOOD, 0), ValueError, r"beta is 0; accepted: a finite number > 0"),
    (lambda: bottleneck.solve(GOOD, math.inf), ValueError, r"beta is inf; accepted.*deterministic"),
    (lambda: bottleneck.solve(GOOD, math.nan), ValueError, r"beta is nan"),
    (lambda: bottleneck.solve(GOOD, "2"), TypeError, r"beta is '2'; accepted: a number > 0"),
    (lambda: bottleneck.solve(GOOD, 2.0, 3), ValueError, r"n_clusters is 3; accepted: from 1 to .* 2"),
    (lambda: bottleneck.solve(GOOD, 2.0, 0), ValueError, r"n_clusters is 0"),
    (lambda: bottleneck.solve(GOOD, 2.0, 1.5), TypeError, r"n_clusters is 1.5; accepted: an integer"),
    (lambda: bottleneck.solve(GOOD, 2.0, init=np.ones((3, 1))), ValueError, r"init has 3 rows"),
    (lambda: bottleneck.solve(GOOD, 2.0, 1, init=np.eye(2)), ValueError, r"init has 2 columns.*at most"),
    (lambda: bottleneck.solve(GOOD, 2.0, tol=0), ValueError, r"tol is 0; accepted: a finite number > 0"),
    (lambda: bottleneck.solve(GOOD, 2.0, max_iter=0), ValueError, r"max_iter is 0; accepted"),
    (lambda: bottleneck.solve(GOOD, 2.0, restarts=-1), ValueError, r"restarts is -1; accepted"),
    (lambda: bottleneck.solve(GOOD, 2.0, base=1), ValueError, r"base is 1"),
    (lambda: bottleneck.curve(GOOD, []), ValueError, r"betas has shape \(0,\); accepted: one axis"),
    (
        lambda: bottleneck.curve(GOOD, [1.0, -2.0]),
        ValueError,
        r"betas has entries .*accepted: finite numbers",
    ),
    (lambda: bottleneck.curve(GOOD, ["a"]), TypeError, r"betas has entries of type"),
    (lambda: bottleneck.curve(GOOD, [2.0], 5), ValueError, r"n_clusters is 5"),
    (
        lambda: bottleneck.blahut_arimoto(GOOD, 2.0, np.ones((2, 2))),
        ValueError,
        r"encoder has a row that sums",
    ),
    (lambda: bottleneck.evaluate(GOOD, np.eye(3), 2.0), ValueError, r"encoder has 3 rows.*2"),
    (lambda: bottleneck.critical_beta(GOOD[0]), ValueError, r"joint has 1 axes"),
    (lambda: bottleneck.bifurcations(GOOD, 1.0), ValueError, r"beta_max is 1.0; accepted: a number > 1"),
    (lambda: bottleneck.deterministic(GOOD, 3), ValueError, r"n_clusters is 3"),
    (lambda: bottleneck.deterministic(GOOD, 2, restarts=-1), ValueError, r"restarts is -1"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_is_refused_with_a_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_importing_does_not_load_torch():
    code = "import sys, t2v.bottleneck; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Bifurcations -------------------------------------------------------------------------------------


def q_ary(q, right):
    """q symbols, each taken for itself with probability ``right`` and for any other one alike."""
    joint = np.full((q, q), (1 - right) / (q - 1))
    np.fill_diagonal(joint, right)
    return joint / q


def told(joint, beta_max, **settings):
    return [(c.before, c.after, c.kind) for c in bottleneck.bifurcations(joint, beta_max, **settings)]


def test_a_split_a_birth_and_a_jump_have_their_names():
    assert told(symmetric(0.1), 3, steps=20) == [(1, 2, "split")]
    unicorn = np.array([[0.02, 0.0], [0.40, 0.58]])
    assert told(unicorn, 30, steps=20) == [(1, 2, "birth")]
    assert told(q_ary(5, 0.5), 9, steps=20) == [(1, 5, "jump")]


def test_a_function_of_x_is_bought_at_once():
    for joint, symbols in ((np.eye(4) / 4, 4), (np.array([[0.5, 0], [0.2, 0], [0, 0.3]]), 2)):
        (change,) = bottleneck.bifurcations(joint, 3, steps=10)
        assert change == (pytest.approx(1, rel=1e-4), 1, symbols)
        assert change.kind == "jump"
        curve = bottleneck.curve(joint, np.geomspace(1, 3, 20))
        assert curve.n_used[0] == 1
        assert (curve.n_used[1:] == symbols).all()


def test_a_birth_is_continuous_and_a_jump_is_not():
    # Straight from the encoders on both sides, without the function that names them.
    unicorn, five = np.array([[0.02, 0.0], [0.40, 0.58]]), q_ary(5, 0.5)
    for step in (1e-3, 1e-4):
        born = bottleneck.solve(unicorn, bottleneck.onset_beta(unicorn) * (1 + step))
        assert born.n_used == 2
        assert born.i_tx < step
        jumped = bottleneck.solve(five, bottleneck.onset_beta(five) * (1 + step))
        assert jumped.i_tx == pytest.approx(0.633, abs=0.02)
    assert bottleneck.onset_beta(five) < 0.9 * bottleneck.critical_beta(five)


def test_counts_of_the_letters_chain_and_every_birth_is_early():
    changes = bottleneck.bifurcations(LETTERS, 3, steps=8, rtol=3e-5)
    assert [c[1:] for c in changes] == [(1, 2), (2, 3), (3, 4), (4, 5)]
    assert {c.kind for c in changes} == {"birth"}
    for change in changes:
        weakest = bottleneck.stability(LETTERS, bottleneck.solve(LETTERS, change.beta * 0.9999)).min()
        assert weakest > change.beta * 1.0005  # before the cluster's own critical price, if only just


@pytest.mark.parametrize("seed", range(3))
def test_counts_of_random_tables_chain(seed):
    joint = random_joint(seed, 4, 4, zeros=False)
    changes = bottleneck.bifurcations(joint, 60, steps=12, rtol=1e-4)
    assert changes
    assert [c.before for c in changes] == [1, *(c.after for c in changes[:-1])]
    for change in changes:
        below, above = (bottleneck.solve(joint, change.beta * f).n_used for f in (1 - 2e-4, 1 + 2e-4))
        assert (below, above) == (change.before, change.after)


@pytest.mark.parametrize("kind", ["float32", "tensor", "table", "list"])
def test_joints_and_covariances_of_any_kind_are_taken(kind):
    import torch

    pd = pytest.importorskip("pandas")
    to = {
        "float32": lambda a: np.asarray(a, dtype=np.float32),
        "tensor": lambda a: torch.tensor(a, dtype=torch.float32, requires_grad=True),
        "table": pd.DataFrame,
        "list": lambda a: np.asarray(a).tolist(),
    }[kind]
    joint = np.random.default_rng(60).dirichlet(np.ones(12)).reshape(4, 3)
    want = bottleneck.solve(joint, 5.0)
    found = bottleneck.solve(to(joint), 5.0)
    assert (found.i_tx, found.i_ty) == pytest.approx((want.i_tx, want.i_ty), abs=1e-5)
    assert bottleneck.critical_beta(to(joint)) == pytest.approx(bottleneck.critical_beta(joint), rel=1e-5)
    data = np.random.default_rng(61).normal(size=(500, 4)) @ np.random.default_rng(62).normal(size=(4, 4))
    sigma = np.cov(data.T)
    blocks = sigma[:2, :2], sigma[:2, 2:], sigma[2:, 2:]
    exact = bottleneck.gaussian(blocks[0], blocks[1], blocks[2], 40.0)
    shorter = bottleneck.gaussian(*(to(block) for block in blocks), 40.0)
    assert shorter.i_tx == pytest.approx(exact.i_tx, rel=1e-3)
    points = bottleneck.curve(to(joint), torch.tensor([2.0, 5.0]) if kind == "tensor" else [2, 5])
    assert points.i_ty[1] == pytest.approx(want.i_ty, abs=1e-5)
