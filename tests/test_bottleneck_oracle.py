"""The oracle of the bottleneck against closed forms and its own certificate, and the solver against the oracle.

``T2V_JOINTS=2000 pytest tests/test_bottleneck_oracle.py`` is the full acceptance of the solver, about 15 minutes on
one core. A case is replayed by its number: ``pytest "tests/test_bottleneck_oracle.py::test_solve[17]"``.
"""

import math
import os
from functools import cache
from types import SimpleNamespace

import bottleneck_oracle as oracle
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from t2v import bottleneck, information

TABLE = np.array([[0.08, 0.18, 0.17], [0.00, 0.04, 0.53]])  # its best encoder lies far from every p(y|x)
SLIP = 1e-6  # bits that the solver may lose where it claims to have lost none
PROVEN = 1e-9  # a gap up to here is a claim of optimality


def binary_entropy(p):
    return information.entropy(np.array([p, 1 - p]))


def channel_table(prior, rows):
    return np.asarray(prior)[:, None] * np.asarray(rows)


def symmetric(q, flip):
    return ((1 - flip) * np.eye(q) + flip / q) / q


# ---------------------------------------------------------------- the oracle: closed forms


@pytest.mark.parametrize("flip", [0.02, 0.11, 0.3])
@pytest.mark.parametrize("factor", [0.95, 1.01, 1.5, 6])
def test_binary_symmetric_channel(flip, factor):
    """Wyner and Ziv (1973): the best pairs are I(T;X) = 1 − h(a), I(T;Y) = 1 − h(a(1−e) + (1−a)e)."""
    beta = factor / (1 - 2 * flip) ** 2

    def cost(a):
        return 1 - binary_entropy(a) - beta * (1 - binary_entropy(a + flip - 2 * a * flip))

    exact = minimize_scalar(cost, bounds=(0, 0.5), method="bounded", options={"xatol": 1e-12}).fun
    table = np.array([[1 - flip, flip], [flip, 1 - flip]]) / 2
    assert oracle.best(table, beta)[0] == pytest.approx(min(0, exact), abs=1e-9)
    assert oracle.onset(table) == pytest.approx(1 / (1 - 2 * flip) ** 2, rel=1e-6)


def test_identity_independence_and_erasure():
    prior = np.array([0.5, 0.3, 0.15, 0.05])
    whole = information.entropy(prior)
    assert oracle.onset(np.diag(prior)) == pytest.approx(1)
    assert oracle.best(np.diag(prior), 3)[0] == pytest.approx(-2 * whole, abs=1e-9)
    assert oracle.onset(np.outer(prior, [0.2, 0.8])) == math.inf
    assert oracle.best(np.outer(prior, [0.2, 0.8]), 40)[0] == 0
    erased = np.column_stack([0.6 * np.diag(prior), 0.4 * prior])  # I(T;Y) = 0.6 I(T;X) for every T
    assert oracle.onset(erased) == pytest.approx(1 / 0.6)
    assert oracle.best(erased, 1.6)[0] == pytest.approx(0, abs=1e-9)
    assert oracle.best(erased, 5)[0] == pytest.approx(-2 * whole, abs=1e-9)


@pytest.mark.parametrize(("q", "flip"), [(3, 0.75), (4, 0.5), (4, 0.8)])
def test_symmetric_channel_of_more_symbols(q, flip):
    """By symmetry q clusters share one shape (a, b, …, b): a scan over a alone."""
    a = np.linspace(1 / q, 1, 400_001)[1:]
    seen = (1 - flip) * a + flip / q

    def information_of(a):  # 1 − entropy of (a, b, …, b)
        b = np.maximum((1 - a) / (q - 1), 1e-300)
        return np.log2(q) + a * np.log2(a) + (1 - a) * np.log2(b)

    kept, paid = information_of(seen), information_of(a)
    onset = (paid[1000:] / kept[1000:]).min()
    assert onset < bottleneck.critical_beta(symmetric(q, flip)) * 0.999
    assert oracle.onset(symmetric(q, flip)) == pytest.approx(onset, rel=1e-6)
    for beta in (0.999 * onset, 1.01 * onset, 2 * onset):
        exact = min(0, (paid - beta * kept).min())
        assert oracle.best(symmetric(q, flip), beta)[0] == pytest.approx(exact, abs=1e-8)


def test_an_optimum_far_from_every_row():
    onset = oracle.onset(TABLE)
    assert 2.85 < onset <= 2.8588
    value, _ = oracle.best(TABLE, 2.88)
    assert -1.2e-4 < value <= -1.1297e-4
    assert oracle.best(TABLE, onset * 0.9999)[0] == 0
    assert oracle.best(TABLE, onset * 1.001)[0] < -1e-8


def envelope_of_two(table, beta, points=60_001):
    """The concave envelope for two symbols: the upper convex hull of points on a line (Andrew's chain)."""
    ch = oracle.channel(table)
    r = 1 / (1 + np.exp(-np.linspace(-30, 30, points)))
    r = np.concatenate([[0], r, [1]])
    height = ch.gain(np.column_stack([r, 1 - r]), beta)
    hull = []
    for x, y in zip(r.tolist(), height.tolist(), strict=True):
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (x - hull[-2][0]) <= (y - hull[-2][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append((x, y))
    return -np.interp(ch.prior[0], *np.transpose(hull)) / math.log(2)


@pytest.mark.parametrize("seed", range(8))
def test_two_symbols_against_the_convex_hull(seed):
    rng = np.random.default_rng(seed)
    table = rng.dirichlet(np.full(2 * (2 + seed % 4), 0.5)).reshape(2, -1)
    beta = oracle.onset(table) * rng.uniform(1, 4)
    assert oracle.best(table, beta)[0] == pytest.approx(envelope_of_two(table, beta), abs=2e-8)


# ---------------------------------------------------------------- the oracle: its certificate


@pytest.mark.parametrize("seed", range(1000, 1020))
def test_the_oracle_is_between_its_bounds(seed):
    """A real encoder from above, a plane over the whole simplex from below, and a finer lattice changes nothing."""
    rng = np.random.default_rng(seed)
    table = oracle.random_joint(rng)
    beta = prices(oracle.onset(table), rng)[0]
    value, encoder = oracle.best(table, beta)
    paid = information.mutual_information(encoder * table.sum(1)[:, None])
    kept = information.mutual_information(encoder.T @ table)
    assert value == pytest.approx(paid - beta * kept, abs=1e-9)
    lower, upper = oracle.bounds(table, beta)
    assert upper - 3e-7 < lower <= value + 1e-9
    assert oracle.best(table, beta, refine=0.6)[0] == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("seed", range(1000, 1010))
def test_nothing_pays_before_the_onset(seed):
    """Just above it an encoder gains; just below it G lies under its plane through p_X, which is λ = 0."""
    table = oracle.random_joint(np.random.default_rng(seed))
    onset, ch = oracle.onset(table), oracle.channel(table)
    assert oracle.onset(table, refine=0.6) == pytest.approx(onset, rel=1e-9)
    assert oracle.best(table, 1.01 * onset)[0] < 0
    assert oracle.excess_bound(ch, 0.9999 * onset, np.zeros(len(ch.prior))) == 1e-7


def test_the_bound_sees_a_plane_that_is_too_low():
    ch = oracle.channel(TABLE)
    found = oracle.envelope(ch, 2.88, oracle.cloud(ch))
    assert oracle.excess_bound(ch, 2.88, found.plane) == 1e-7
    tilted = found.plane - 1e-5  # everywhere lower by 1e-5 nats
    assert oracle.excess_bound(ch, 2.88, tilted, tol=1.1e-5) == 1.1e-5
    assert oracle.excess_bound(ch, 2.88, tilted, most=20_000) > 9e-6


def test_the_random_tables_are_of_all_kinds():
    tables = [oracle.random_joint(np.random.default_rng(seed)) for seed in range(300)]
    assert {t.shape[0] for t in tables} == {2, 3, 4}
    assert {t.shape[1] for t in tables} == {2, 3, 4, 5, 6}
    assert all(t.sum() == pytest.approx(1) and (t >= 0).all() for t in tables)
    assert sum((t == 0).any() for t in tables) > 30
    assert sum(t.shape[0] == t.shape[1] and np.allclose(t, t.T) for t in tables) > 10


# ---------------------------------------------------------------- the solver against the oracle


def prices(onset, rng):
    """A price between 0.9 onsets and 50 (at least 2 onsets), evenly in its logarithm, and one just above the onset."""
    high = max(50.0, 2 * onset)
    return onset * math.exp(rng.uniform(math.log(0.9), math.log(high / onset))), onset * (
        1 + 10 ** rng.uniform(-3, -1)
    )


def complaint(found, gap, least):
    """Say what is wrong with an objective and its gap (bits), given the oracle's least objective; '' if nothing."""
    lost = found - least
    if gap <= PROVEN and lost > SLIP:
        return f"{lost:.3g} bits lost with gap {gap:.1g}"
    return f"{lost:.3g} bits lost, more than gap {gap:.3g}" if lost > gap + SLIP else ""


def onset_complaint(found, onset):
    """Say how far an onset is from the oracle's; '' within 1e-4 of it."""
    if math.isinf(onset):
        return "" if found > 1e9 else f"onset {found:.6g} of independent X and Y"
    return "" if abs(found / onset - 1) <= 1e-4 else f"onset {found:.8g}, not {onset:.8g}"


@cache
def case(seed):
    """Return the table, the oracle's onset and the two prices of a numbered case."""
    rng = np.random.default_rng(seed)
    table = oracle.random_joint(rng)
    onset = oracle.onset(table)
    return table, onset, prices(onset, rng) if math.isfinite(onset) else (2.0, 50.0)


@cache
def least(seed):
    """Return the oracle's least objectives (bits) at the prices of a numbered case."""
    table, _, betas = case(seed)
    return [oracle.best(table, beta)[0] for beta in betas]


def complaints(seed, solve=bottleneck.solve, onset_beta=bottleneck.onset_beta):
    """Return what is wrong with the solver on one numbered case."""
    table, onset, betas = case(seed)
    results = [solve(table, beta) for beta in betas]
    found = [complaint(r.objective, r.gap, known) for r, known in zip(results, least(seed), strict=True)]
    return [f for f in [onset_complaint(onset_beta(table), onset), *found] if f]


# Tables whose best encoder quick climbs from the rows p(y|x) alone miss; patient ones find them.
HARD = (7, 45, 96, 169, 208, 283, 319, 376, 492, 666, 862)
SEEDS = sorted({*HARD, *range(int(os.environ.get("T2V_JOINTS", "25")))})


@pytest.mark.parametrize("seed", SEEDS)
def test_solve(seed):
    assert complaints(seed) == []


def test_solve_on_an_optimum_far_from_every_row():
    result = bottleneck.solve(TABLE, 2.88)
    assert complaint(result.objective, result.gap, oracle.best(TABLE, 2.88)[0]) == ""
    assert onset_complaint(bottleneck.onset_beta(TABLE), oracle.onset(TABLE)) == ""


def test_the_acceptance_sees_planted_faults():
    """A solver that keeps nothing and says gap 0, one that stops early, and an onset at the critical price."""

    def claimed(result):
        return SimpleNamespace(objective=result.objective, gap=0.0)

    def nothing(table, beta):
        return claimed(bottleneck.evaluate(table, np.ones((len(table), 1)), beta))

    def early(table, beta):
        start = (np.eye(len(table)) + 1 / len(table)) / 2
        return claimed(bottleneck.blahut_arimoto(table, beta, start, max_iter=3))

    seeds = range(10)  # of the acceptance, so that the oracle is asked once
    for solver, expected in ((nothing, 8), (early, 5)):
        assert sum(any("bits" in c for c in complaints(seed, solve=solver)) for seed in seeds) >= expected
    late = [complaints(seed, onset_beta=bottleneck.critical_beta) for seed in seeds]
    assert sum(any("onset" in c for c in found) for found in late) >= 5
    assert complaint(-1.0, 1e-3, -1.002)
    assert not complaint(-1.0, 1e-2, -1.002)
