"""The bottleneck's solver: its exact cases against brute force, its search against dense starts, its proofs."""

import math

import bottleneck_oracle as oracle
import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from scipy.special import logsumexp

from t2v import _simplex, bottleneck, information


def table(seed, n, m, kinds=(0.1, 0.3, 1.0)):
    """A random joint of n × m symbols, sparse or dense, every x possible."""
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(m, rng.choice(kinds)), size=n)
    return rng.dirichlet(np.full(n, 2.0))[:, None] * rows


def log_c(source, beta, log_z, points):
    """log c(s) by its definition, without the solver's own code: (number of points,)."""
    exponent = beta * np.log(np.maximum(points, 1e-300)) @ source.rows.T
    return logsumexp(exponent + np.log(source.prior) - log_z, axis=1)


def solved(seed, n, m, factor):
    """A source, a price, and the normalisers of the trivial clusters or of the solution there."""
    joint = table(seed, n, m)
    beta = factor * min(bottleneck.critical_beta(joint), 1e3)
    source = _simplex.source_of(joint)
    state = _simplex.descend(source, beta, _simplex.trivial(source), n, 1e-10, 1000).state
    trivial = beta * source.rows @ np.log(np.maximum(source.marginal, 1e-300))
    return source, beta, state, trivial


# Two symbols: exact ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.7, 0.98, 1.5, 8])
@pytest.mark.parametrize("seed", range(12))
def test_two_symbols_have_no_other_maximum(seed, factor):
    source, beta, state, trivial = solved(seed, 2, 4, factor)
    log_odds = np.linspace(-60, 60, 24_001)
    grid = 1 / (1 + np.exp(-log_odds))
    line = grid[:, None] * source.rows[0] + (1 / (1 + np.exp(log_odds)))[:, None] * source.rows[1]
    for log_z in (trivial, state.log_z):
        values = log_c(source, beta, log_z, line)
        peaks = 1 + np.flatnonzero((values[1:-1] > values[:-2] + 1e-9) & (values[1:-1] > values[2:] + 1e-9))
        found = _simplex.modes(source, beta, log_z, np.empty((0, 4)), 50, 1e-10)
        assert len(found.points) <= 2
        assert found.log_c.max() >= values.max() - 1e-9
        assert found.log_c == pytest.approx(log_c(source, beta, log_z, found.points), abs=1e-9)
        for peak in peaks:
            assert np.abs(found.log_c - values[peak]).min() < 1e-4


def test_the_term_behind_the_proof_is_concave():
    # r(1−r) Σ Δ²/s: if it were not, a line between two symbols could have more than two maxima.
    r = np.linspace(1e-6, 1 - 1e-6, 2001)[:, None]
    for seed in range(50):
        first, second = np.random.default_rng(seed).dirichlet(np.full(5, 0.3), size=2)
        h = (r * (1 - r) * (first - second) ** 2 / (r * first + (1 - r) * second)).sum(axis=1)
        assert (np.diff(h, 2) < 1e-9).all()


# More symbols: a search ------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.9, 1.02, 3])
@pytest.mark.parametrize(("seed", "n", "m"), [(s, 3 + s % 3, 2 + s % 5) for s in range(12)])
def test_no_start_climbs_higher_than_the_search(seed, n, m, factor):
    source, beta, state, trivial = solved(seed, n, m, factor)
    starts = np.random.default_rng(seed).dirichlet(np.full(n, 0.4), size=400)
    clusters = {"trivial": (trivial, np.ones((1, n)) * source.prior, source.marginal[None])}
    clusters["solution"] = (state.log_z, (source.prior[:, None] * state.ratio).T, state.points)
    for log_z, posteriors, points in clusters.values():
        mine = _simplex.everywhere(source, posteriors, points)
        mine = np.concatenate([_simplex.rows(source), mine])
        found = _simplex.modes(source, beta, log_z, mine, 50, 1e-10)
        r = starts
        for _ in range(600):  # plain steps of one cluster: q(x|s) ∝ p(x) exp(β Σ p(y|x) log s) / Z
            weight = beta * np.log(np.maximum(r @ source.rows, 1e-300)) @ source.rows.T
            weight += np.log(source.prior) - log_z
            r = np.exp(weight - logsumexp(weight, axis=1, keepdims=True))
        best = log_c(source, beta, log_z, r @ source.rows).max()
        assert found.log_c.max() > best - 1e-7


@pytest.mark.parametrize("seed", [169, 283, 492])
def test_a_search_from_the_rows_alone_would_miss_it(seed, monkeypatch):
    joint = oracle.random_joint(np.random.default_rng(seed))
    onset = oracle.onset(joint)
    assert bottleneck.onset_beta(joint) == pytest.approx(onset, rel=1e-5)
    beta = onset * 1.002
    found = bottleneck.solve(joint, beta)
    assert found.objective == pytest.approx(oracle.best(joint, beta)[0], abs=1e-8)
    assert found.n_used > 1
    # The control: quick climbs from every p(y|x) alone do not find it.
    monkeypatch.setattr(_simplex, "everywhere", lambda source, *_: _simplex.rows(source))
    assert bottleneck.onset_beta(joint) > onset * 1.001


# Weights, merging, proofs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_weights_are_the_best_for_their_points(seed):
    rng = np.random.default_rng(seed)
    prior, kernel = rng.dirichlet(np.ones(5)), rng.random((5, 4)) + 0.01

    def loss(free):
        q = np.exp(free - logsumexp(free))
        return -prior @ np.log(kernel @ q)

    q = _simplex._weights(prior, kernel, np.full(4, 0.25))
    peer = min(minimize(loss, rng.normal(size=4), tol=1e-12).fun for _ in range(2))
    assert q.sum() == pytest.approx(1, abs=1e-9)
    assert -prior @ np.log(kernel @ q) <= peer + 1e-9


def test_equal_points_are_equal_at_any_price():
    points = np.random.default_rng(0).dirichlet(np.ones(6), size=8)
    for beta in (1.0, 1e6, 1e12):
        apart = _simplex.closeness(beta, points, points)
        assert (np.diag(apart) == 0).all()
        assert (apart[~np.eye(8, dtype=bool)] > 0).all()


@pytest.mark.parametrize("seed", range(10))
def test_where_nothing_pays_the_oracle_finds_nothing(seed):
    joint = table(seed, 3, 3)
    source = _simplex.source_of(joint)
    rows = joint / joint.sum(axis=1, keepdims=True)
    apart = max(0.5 * np.abs(a - b).sum() for a in rows for b in rows)
    assert source.apart == pytest.approx(apart)
    assert oracle.onset(joint) >= 1 / apart - 1e-9
    below = bottleneck.solve(joint, 0.999 / apart)
    assert (below.n_used, below.gap, below.proven) == (1, 0, True)


@pytest.mark.parametrize("beta", [1.0, 1.001, 3.0, 50.0])
def test_the_certificate_of_a_function_is_a_proof(beta):
    # Y = f(X): I(T;X) ≥ I(T;Y), so nothing lies below (1 − β) H(Y), and T = Y attains it.
    joint = np.array([[0.5, 0], [0.2, 0], [0, 0.3]])
    found = bottleneck.solve(joint, beta)
    least = (1 - beta) * information.entropy([0.7, 0.3])
    assert found.objective == pytest.approx(least, abs=1e-9)
    assert found.gap < 1e-9
    assert found.proven


def test_what_is_a_search_is_not_called_a_proof():
    assert not bottleneck.solve(table(3, 3, 3), 20.0).proven
    assert bottleneck.solve(table(3, 2, 3), 20.0).proven
    curve = bottleneck.curve(table(3, 3, 3), [1.0, 20.0])
    assert curve.proven.tolist() == [True, False]


@pytest.mark.parametrize("seed", range(4))
def test_a_gap_bounds_what_a_programme_over_many_points_can_gain(seed):
    # Restricted to two clusters the solution is not the best: the gap must cover all that more clusters gain.
    joint = table(seed, 4, 4, kinds=(0.3,))
    source = _simplex.source_of(joint)
    two = bottleneck.solve(joint, 30.0, 2)
    r = np.random.default_rng(seed).dirichlet(np.full(4, 0.15), size=3000)
    r = np.concatenate([r, np.eye(4), source.prior[None]])
    gain = 30.0 * oracle.divergence(r @ source.rows, source.marginal) - oracle.divergence(r, source.prior)
    best = linprog(-gain, A_eq=r.T, b_eq=source.prior).fun / math.log(2)
    assert best < two.objective - 1e-3
    assert two.objective - best <= two.gap + 1e-9


@pytest.mark.parametrize("beta", [1e8, 1e10, 1e12])
def test_a_huge_price_buys_all_that_is_sufficient(beta):
    for joint in (information.example_joint()[0], table(1, 4, 3), table(2, 2, 3)):
        found = bottleneck.solve(joint, beta)
        assert found.i_ty == pytest.approx(information.mutual_information(joint), abs=1e-12)
        assert found.i_tx == pytest.approx(information.entropy(joint.sum(axis=1)), abs=1e-6)
        assert found.converged


def test_a_solution_with_a_gap_is_not_converged(monkeypatch):
    # Blind the search for good starts: the first local minimum must then not call itself converged.
    joint = information.example_joint()[0]
    monkeypatch.setattr(_simplex, "_insert", lambda *_: None)
    monkeypatch.setattr(_simplex, "restart", lambda *_: [])
    stuck = bottleneck.solve(joint, 20.0)
    assert stuck.n_used == 1
    assert stuck.gap > 0.1
    assert not stuck.converged
