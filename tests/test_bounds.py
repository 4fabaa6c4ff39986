import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from t2v import bottleneck, bounds, information

FAST = settings(max_examples=50, deadline=None)
deltas = st.floats(1e-6, 0.999)
sizes = st.integers(1, 10**6)
kinds = st.sampled_from(bounds.KINDS)


# ---------------------------------------------------------------- finite classes


def test_pac_by_hand() -> None:
    # |H| = 100, δ = 0.05, m = 1000: log(2000)/2000 and log(4000)/2000 under the root, natural logarithms.
    assert bounds.pac(math.log(100), 0.05, 1000) == pytest.approx(math.sqrt(math.log(2000) / 2000), rel=1e-14)
    two = bounds.pac(math.log(100), 0.05, 1000, "two_sided")
    assert two == pytest.approx(math.sqrt(math.log(4000) / 2000), rel=1e-14)
    assert two == pytest.approx(0.06440, abs=5e-6)
    assert isinstance(two, float)


@given(sizes, deltas, st.integers(1, 10**6), kinds)
@FAST
def test_pac_makes_the_union_bound_equal_to_delta(size: int, delta: float, m: int, kind: str) -> None:
    # Oracle from the other end: |H| times Hoeffding's probability at ε is δ.
    epsilon = bounds.pac(math.log(size), delta, m, kind)
    sides = {"one_sided": 1, "two_sided": 2}[kind]
    assert size * sides * math.exp(-2 * m * epsilon**2) == pytest.approx(delta, rel=1e-8)


@given(st.floats(0, 1e4), deltas, st.integers(1, 10**6), kinds)
@FAST
def test_pac_falls_in_m_and_delta_and_grows_with_the_class(
    log_size: float, delta: float, m: int, kind: str
) -> None:
    epsilon = bounds.pac(log_size, delta, m, kind)
    assert bounds.pac(log_size, delta, 4 * m, kind) == pytest.approx(epsilon / 2)  # the 1/√m rate
    assert bounds.pac(log_size, delta / 2, m, kind) > epsilon
    assert bounds.pac(log_size + 1, delta, m, kind) > epsilon
    # Two sides at δ are one side at δ/2.
    assert bounds.pac(log_size, delta, m, "two_sided") == pytest.approx(bounds.pac(log_size, delta / 2, m))


def test_pac_broadcasts() -> None:
    m = np.array([10, 100, 1000])
    got = bounds.pac(3.0, 0.1, m)
    assert got.shape == (3,)
    np.testing.assert_allclose(got, [bounds.pac(3.0, 0.1, int(k)) for k in m])
    assert bounds.pac(np.ones((2, 1)), 0.1, m).shape == (2, 3)


@given(st.floats(0, 50), st.floats(0.01, 0.9), deltas, kinds)
@FAST
def test_sample_complexity_is_the_least_m(log_size: float, epsilon: float, delta: float, kind: str) -> None:
    m = bounds.sample_complexity(log_size, epsilon, delta, kind)
    assert bounds.pac(log_size, delta, m, kind) <= epsilon * (1 + 1e-9)
    assert m == 1 or bounds.pac(log_size, delta, m - 1, kind) > epsilon


@given(st.floats(0, 1), st.integers(1, 300), st.floats(0, 1), kinds)
@FAST
def test_hoeffding_is_above_the_binomial_tail(epsilon: float, m: int, risk: float, kind: str) -> None:
    exactly = bounds.violation_probability([risk], epsilon, m, kind)
    assert exactly <= bounds.hoeffding(epsilon, m, kind) + 1e-12


def test_hoeffding_by_hand() -> None:
    assert bounds.hoeffding(0.1, 100) == pytest.approx(math.exp(-2))
    assert bounds.hoeffding(0.1, 100, "two_sided") == pytest.approx(2 * math.exp(-2))
    assert bounds.hoeffding(0.0, 100, "two_sided") == 1  # a probability


def brute_violation(risks: list[float], epsilon: float, m: int, two: bool) -> float:
    """Sum over all outcomes of all hypotheses' error counts."""
    total = 0.0
    for counts in itertools.product(range(m + 1), repeat=len(risks)):
        mass = math.prod(
            math.comb(m, k) * r**k * (1 - r) ** (m - k) for k, r in zip(counts, risks, strict=True)
        )
        differences = [r - k / m for k, r in zip(counts, risks, strict=True)]
        worst = max(abs(d) for d in differences) if two else max(differences)
        total += mass * (worst > epsilon + 1e-12)
    return total


@pytest.mark.parametrize("kind", bounds.KINDS)
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.2, 0.25, 0.37])
def test_violation_probability_against_enumeration(epsilon: float, kind: str) -> None:
    risks = [0.3, 0.5, 0.05]
    want = brute_violation(risks, epsilon, 10, kind == "two_sided")
    assert bounds.violation_probability(risks, epsilon, 10, kind) == pytest.approx(want, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), deltas, st.integers(1, 200), kinds)
@FAST
def test_no_class_breaks_its_bound_more_often_than_delta(
    risks: list[float], delta: float, m: int, kind: str
) -> None:
    # C05, exactly: independent hypotheses of any risks.
    epsilon = bounds.pac(math.log(len(risks)), delta, m, kind)
    assert bounds.violation_probability(risks, epsilon, m, kind) <= delta + 1e-12


@pytest.mark.parametrize(("m", "delta", "broken"), [(1, 0.61, 1.0), (2, 0.4, 0.5), (25, 0.99, 1.0)])
def test_printed_margin_is_not_two_sided(m: int, delta: float, broken: float) -> None:
    # The erratum: one hypothesis that errs like a fair coin. Eq. 3's margin holds one-sided only.
    printed = bounds.pac(0.0, delta, m, "one_sided")
    assert bounds.violation_probability([0.5], printed, m, "one_sided") <= delta
    assert bounds.violation_probability([0.5], printed, m, "two_sided") == pytest.approx(broken)
    assert broken > delta
    right = bounds.pac(0.0, delta, m, "two_sided")
    assert bounds.violation_probability([0.5], right, m, "two_sided") <= delta


def test_violation_rate_agrees_with_the_exact_probability() -> None:
    # Independent hypotheses on a product space: point = (loss of h1, loss of h2, loss of h3).
    risks = np.array([0.2, 0.4, 0.5])
    points = np.array(list(itertools.product([0, 1], repeat=3)))
    p = np.where(points == 1, risks, 1 - risks).prod(1)
    for kind in bounds.KINDS:
        got = bounds.violation_rate(points.T, p, 0.2, 30, kind=kind, epsilon=0.15, trials=8000, seed=1)
        want = bounds.violation_probability(risks, 0.15, 30, kind)
        assert 0.05 < want < 0.5
        assert abs(got.rate - want) < 5 * math.sqrt(want * (1 - want) / 8000)
        assert got.standard_error == pytest.approx(math.sqrt(got.rate * (1 - got.rate) / 8000))


@pytest.mark.parametrize("kind", bounds.KINDS)
def test_violation_rate_of_thresholds_stays_below_delta(kind: str) -> None:
    # C05 on a class whose hypotheses share the sample: thresholds on 32 points, noisy labels.
    x = np.arange(32)
    predictions = x >= np.arange(33)[:, None]
    truth = np.where(x >= 12, 0.9, 0.1)
    losses = np.hstack([predictions != 1, predictions != 0]).astype(float)
    p = np.concatenate([truth, 1 - truth]) / 32
    for m in (20, 200):
        result = bounds.violation_rate(losses, p, 0.3, m, kind=kind, trials=2000)
        assert result.rate <= 0.3
        assert result.epsilon == pytest.approx(bounds.pac(math.log(33), 0.3, m, kind))
        assert result.worst.shape == (2000,)
    again = bounds.violation_rate(losses, p, 0.3, 200, kind=kind, trials=2000)
    np.testing.assert_array_equal(result.worst, again.worst)


def test_small_samples_from_many_points_take_the_same_numbers() -> None:
    # The sparse product that small samples take, against a loop over the samples.
    rng = np.random.default_rng(5)
    losses, p = rng.random((7, 60)), rng.dirichlet(np.ones(60))
    got = bounds.violation_rate(losses, p, 0.1, 10, trials=20, seed=3).worst
    drawn = np.random.default_rng(3).choice(60, size=(20, 10), p=p / p.sum())
    want = [max(row @ p - row[sample].mean() for row in losses) for sample in drawn]
    np.testing.assert_allclose(got, want, atol=1e-12)


def enumerated(losses: np.ndarray, p: np.ndarray, epsilon: float, m: int) -> float:
    """P(some hypothesis misses by more than ε, one-sided), summed over all len(p)**m samples."""
    total = 0.0
    for sample in itertools.product(range(len(p)), repeat=m):
        worst = max(sum(row * p) - sum(row[list(sample)]) / m for row in losses)
        total += math.prod(p[list(sample)]) * (worst > epsilon + 1e-12)
    return total


@pytest.mark.parametrize("points", [4, 40])
def test_violation_rate_is_that_of_all_samples(points: int) -> None:
    # C05, exact: every sample of a small class visited; 40 points (36 of them never drawn) take the other path.
    losses = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1], [1, 0, 0, 0]], float)
    p = np.array([0.1, 0.2, 0.3, 0.4])
    losses, p = np.pad(losses, ((0, 0), (0, points - 4))), np.pad(p, (0, points - 4))
    for delta in (0.5, 0.9):
        epsilon = bounds.pac(math.log(4), delta, 6)
        want = enumerated(losses[:, :4], p[:4], epsilon, 6)
        assert 0 < want <= delta
        got = bounds.violation_rate(losses, p, delta, 6, trials=20_000, seed=2)
        assert got.epsilon == pytest.approx(epsilon)
        low, high = got.interval(level=0.999)
        assert low <= want <= high


def test_the_margin_of_one_hypothesis_is_broken_by_a_class() -> None:
    # C05's simulation can say no: thirty-two fair coins, the margin of one of them.
    risks = [0.5] * 32
    epsilon = bounds.pac(0, 0.1, 60)
    assert bounds.violation_probability(risks[:1], epsilon, 60) <= 0.1
    assert bounds.violation_probability(risks, epsilon, 60) > 0.3
    assert bounds.violation_probability(risks, bounds.pac(math.log(32), 0.1, 60), 60) <= 0.1


def test_choosing_after_the_data_breaks_the_margin_of_one() -> None:
    # C05's control: the threshold that did best on the sample is no hypothesis that was fixed before it.
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 32, (4000, 50)), rng.integers(0, 2, (4000, 50))  # labels are coins: R = 1/2
    errors = np.stack([((x >= t) != (y ^ side)).mean(1) for t in range(33) for side in (0, 1)])
    assert (0.5 - errors[14] > bounds.pac(0, 0.05, 50)).mean() <= 0.05  # one that is named beforehand
    gap = 0.5 - errors.min(0)
    assert (gap > bounds.pac(0, 0.05, 50)).mean() > 0.1
    assert (gap > bounds.pac(math.log(66), 0.05, 50)).mean() <= 0.05


def test_interval_inverts_binomial_tails() -> None:
    worst = np.r_[np.full(6, 0.9), np.zeros(1994)]
    low, high = bounds.Violations(0.5, 0.003, 0.0, worst).interval()
    # By its definition: at the ends the tail beyond what was seen has 2.5 %.
    tail = [math.comb(2000, k) * high**k * (1 - high) ** (2000 - k) for k in range(7)]
    assert sum(tail) == pytest.approx(0.025, rel=1e-6)
    tail = [math.comb(2000, k) * low**k * (1 - low) ** (2000 - k) for k in range(6)]
    assert 1 - sum(tail) == pytest.approx(0.025, rel=1e-6)
    result = bounds.Violations(0.5, 0.003, 0.0, worst)
    assert result.interval(0.95) == bounds.Violations(0.95, 0.0, 0.0, worst).interval()
    assert result.interval(0.95)[0] == 0


def test_violation_rate_of_the_constant_loss_is_zero() -> None:
    result = bounds.violation_rate([[0.25, 0.25]], [0.5, 0.5], 0.1, 5, epsilon=0.0, kind="two_sided")
    assert result.rate == 0
    np.testing.assert_allclose(result.worst, 0, atol=1e-12)


# ---------------------------------------------------------------- infinite classes: labellings


def rows_of(labelled: object) -> set[tuple[bool, ...]]:
    return {tuple(bool(v) for v in row) for row in labelled}  # type: ignore[attr-defined]


def thresholds(x: np.ndarray) -> set[tuple[bool, ...]]:
    cuts = [x.min() - 1, *((np.sort(x)[1:] + np.sort(x)[:-1]) / 2), x.max() + 1]
    return rows_of(x > c for c in cuts)


def intervals(x: np.ndarray) -> set[tuple[bool, ...]]:
    cuts = [x.min() - 1, *((np.sort(x)[1:] + np.sort(x)[:-1]) / 2), x.max() + 1]
    return rows_of((x > a) & (x < b) for a in cuts for b in cuts)


def rectangles(points: np.ndarray) -> set[tuple[bool, ...]]:
    sides = [[(a, b) for a in column for b in column] for column in points.T]
    found = [
        (points >= [a, c]).all(1) & (points <= [b, d]).all(1) for (a, b), (c, d) in itertools.product(*sides)
    ]
    return rows_of([*found, np.zeros(len(points), bool)])


def half_planes(points: np.ndarray) -> set[tuple[bool, ...]]:
    """By hand: a separating line can be turned until it goes through two points, which then lie where one likes."""
    found = [np.zeros(len(points), bool), np.ones(len(points), bool)]
    for i, j in itertools.combinations(range(len(points)), 2):
        (dx, dy), away = points[j] - points[i], points - points[i]
        side = dx * away[:, 1] - dy * away[:, 0] > 0
        for ends in itertools.product([False, True], repeat=2):
            side[[i, j]] = ends
            found += [side.copy(), ~side]
    return rows_of(found)


def shattered(rows: set[tuple[bool, ...]], n: int) -> list[tuple[int, ...]]:
    """All subsets of the points that get every labelling, by looking at each."""
    return [
        subset
        for size in range(n + 1)
        for subset in itertools.combinations(range(n), size)
        if len({tuple(row[i] for i in subset) for row in rows}) == 2**size
    ]


CLASSES = [(thresholds, 1, 1), (intervals, 1, 2), (half_planes, 2, 3), (rectangles, 2, 4)]


@pytest.mark.parametrize(("label", "space", "dimension"), CLASSES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_sauer_bounds_the_labellings_of_classes_that_are_enumerated(label, space, dimension, n) -> None:
    # C06: growth function and VC dimension by brute force.
    found, sizes = [], []
    for seed in range(20):
        points = np.random.default_rng(seed).normal(size=(n, space))
        rows = label(points[:, 0] if space == 1 else points)
        subsets = shattered(rows, n)
        assert len(rows) <= len(subsets)  # Pajor's lemma, from which Sauer's follows
        found.append(len(rows))
        sizes.append(max(map(len, subsets)))
    assert max(sizes) == min(n, dimension)
    limit = math.exp(bounds.sauer(dimension, n))
    assert max(found) <= limit + 1e-6
    # Thresholds and intervals reach the bound, half-planes the n² − n + 2 of Cover (1965).
    reached = {thresholds: n + 1, intervals: 1 + n * (n + 1) / 2, half_planes: n * n - n + 2}
    if label in reached:
        assert max(found) == min(found) == reached[label]
    if space == 1 or n <= dimension:
        assert max(found) == pytest.approx(limit)


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 64))
@FAST
def test_sauer_holds_for_any_class(seed: int, n: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rows_of(rng.random((size, n)) < rng.random())
    dimension = max(map(len, shattered(rows, n)))
    assert math.log(len(rows)) <= bounds.sauer(dimension, n) + 1e-9
    # The largest class of that dimension: all labellings with at most so many points true.
    most = [row for row in itertools.product([0, 1], repeat=n) if sum(row) <= dimension]
    assert bounds.sauer(dimension, n) == pytest.approx(math.log(len(most)))


def test_sauer_of_many_points() -> None:
    assert bounds.sauer(600, 600) == bounds.sauer(10**9, 600) == 600 * math.log(2)
    assert bounds.sauer(599, 600) == pytest.approx(600 * math.log(2))
    assert bounds.sauer(0, 10**6) == 0
    assert bounds.sauer(2, 10**6) == pytest.approx(math.log(1 + 10**6 + 10**6 * (10**6 - 1) // 2))
    for d in (1, 5, 40):  # the usual (en/d)^d
        assert bounds.sauer(d, 1000) <= d * math.log(math.e * 1000 / d)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_half_space_finds_what_enumeration_finds(n: int) -> None:
    for seed in range(4):
        points = np.random.default_rng(seed).normal(size=(n, 2)) * [1, 1e-3] + [50, 0]
        want = half_planes(points)
        for labels in itertools.product([False, True], repeat=n):
            found = bounds.half_space(points, np.array(labels))
            assert (found is not None) == (labels in want)
            if found is not None:
                np.testing.assert_array_equal(points @ found[0] + found[1] > 0, labels)


def test_half_space_of_ties_and_higher_dimensions() -> None:
    assert bounds.half_space([[0.0], [1.0], [2.0]], np.array([True, False, True])) is None
    assert bounds.half_space([[1.0], [1.0]], np.array([True, False])) is None
    corners = np.vstack([np.zeros(4), np.eye(4)])  # d + 1 points in d dimensions are shattered
    for labels in itertools.product([False, True], repeat=5):
        assert bounds.half_space(corners, np.array(labels)) is not None


@given(st.integers(0, 5000), deltas, st.integers(1, 10**5), kinds)
@FAST
def test_vc_makes_the_symmetrised_union_bound_equal_to_delta(
    growth: int, delta: float, m: int, kind: str
) -> None:
    # C06, from the other end: 2Π(2m) exp(−mε²/8) = δ, twice that for both sides (Vapnik and Chervonenkis, 1971).
    epsilon = bounds.vc(float(growth), delta, m, kind)
    sides = {"one_sided": 1, "two_sided": 2}[kind]
    assert math.log(2 * sides) + growth - m * epsilon**2 / 8 == pytest.approx(math.log(delta), abs=1e-6)
    assert bounds.vc([growth, 2 * growth], delta, m, kind)[0] == epsilon


def ghost_difference(losses: np.ndarray, m: int) -> dict[float, float]:
    """Distribution of the largest (error on a second sample − error on the first), all samples visited."""
    found: dict[float, float] = {}
    for pair in itertools.product(range(losses.shape[1]), repeat=2 * m):
        drawn = losses[:, list(pair)]
        worst = round(float((drawn[:, m:].mean(1) - drawn[:, :m].mean(1)).max()), 9)
        found[worst] = found.get(worst, 0) + losses.shape[1] ** (-2.0 * m)
    return found


@pytest.mark.parametrize("epsilon", [0.72, 0.8, 0.9])
def test_symmetrisation_holds_on_all_samples(epsilon: float) -> None:
    # Both steps of the proof on two points, four hypotheses, m = 4, where mε² ≥ 2.
    losses, m = np.array(list(itertools.product([0.0, 1.0], repeat=2))), 4
    two = ghost_difference(losses, m)
    right = sum(mass for worst, mass in two.items() if worst > epsilon / 2)
    left = enumerated(losses, np.full(2, 0.5), epsilon, m)
    assert m * epsilon**2 >= 2
    assert left <= 2 * right
    growth = len({tuple(row) for row in losses[:, [0, 1] * m]})  # four patterns on any 2m points of two kinds
    assert right <= growth * math.exp(-m * epsilon**2 / 8)


@pytest.mark.parametrize("m", [4, 9])
def test_swapping_pairs_obeys_the_exponent_of_vc(m: int) -> None:
    # The worst pattern: wrong at one of each pair. P(mean of m coins ±1 > ε/2) ≤ exp(−mε²/8).
    signs = np.array(list(itertools.product([-1, 1], repeat=m))).mean(1)
    for epsilon in np.linspace(0.01, 2, 40):
        assert (signs > epsilon / 2).mean() <= math.exp(-m * epsilon**2 / 8)


def test_vc_is_vacuous_for_all_labellings_and_not_for_few() -> None:
    # C06 and its control: the same code, 2m points labelled in every way or by intervals.
    for m in (1, 300, 10**6):
        assert bounds.vc(bounds.sauer(2 * m, 2 * m), 0.05, m) > math.sqrt(16 * math.log(2)) > 3
    assert bounds.vc(bounds.sauer(2, 600), 0.05, 300) < 0.7
    assert bounds.vc(bounds.sauer(2, 2 * 10**6), 0.05, 10**6) < 0.02
    # And a class that is kept at a number of parameters escapes, once there are samples enough.
    assert bounds.vc(bounds.sauer(70_000, 2 * 10**8), 0.05, 10**8) < 0.5
    assert bounds.pac(bounds.log_float_class(70_000), 0.05, 10**8) < 0.2
    assert bounds.pac(bounds.log_float_class(70_000), 0.05, 60_000) > 3  # all of MNIST is not enough
    # 3.3 is the proof's, not the class's: all rules on a world of 600 points are finite in number.
    assert 0.83 < bounds.pac(600 * math.log(2), 0.05, 300) < 0.84


def test_intervals_keep_their_vc_margin() -> None:
    # C06's control is a bound that holds and says something: coins for labels, 2,000 samples, all intervals.
    rng = np.random.default_rng(1)
    m, broken = 400, 0
    epsilon = bounds.vc(bounds.sauer(2, 2 * m), 0.05, m)
    assert epsilon < 0.6
    for _ in range(300):
        gain = np.r_[0, np.cumsum(rng.integers(0, 2, m) - 0.5)] / m
        # Errors of interval (i, j] under coins: 1/2 − R̂ is what its ones gain and the others lose.
        inside = np.triu(gain[None, :] - gain[:, None])
        broken += (2 * inside - gain[-1]).max() > epsilon
    assert broken <= 0.05 * 300


# ---------------------------------------------------------------- covers


def test_covered_holds_where_a_uniform_cover_exists() -> None:
    # d cells, a number a in [0, 1] for each, loss |a − y|: a grid of step 2r has at most (1/r)^d elements.
    rng = np.random.default_rng(0)
    for d, m in ((2, 200), (5, 2000)):
        epsilon, radius = bounds.covered(d, 0.1, m)
        assert math.ceil(1 / (2 * radius)) <= 1 / radius  # the cover's size, one cell
        assert epsilon < 1
        p = rng.dirichlet(np.ones(2 * d)).reshape(d, 2)
        off = p - rng.multinomial(m, p.ravel(), size=2000).reshape(2000, d, 2) / m
        worst = off.max(2).sum(1)  # the loss is linear in a: the worst a is 0 or 1 in each cell
        assert (worst > epsilon).mean() <= 0.1


def test_a_uniform_cover_of_01_losses_is_the_class_itself() -> None:
    # Why `covered` is no bound for them: at radius 0.99 nothing can stand for anything else.
    rng = np.random.default_rng(0)
    losses = (rng.random((60, 12)) < 0.3).astype(float)
    for radius in (0.01, 0.99):
        centres: list[np.ndarray] = []
        for row in losses:
            if all(np.abs(row - centre).max() > radius for centre in centres):
                centres.append(row)
        assert len(centres) == len({tuple(row) for row in losses}) > 40
    # Representatives from outside the class do no better below 1/2: the midpoint of two is 1/2 from either.
    one, other = losses[0], losses[1]
    for guess in (*rng.random((500, 12)), (one + other) / 2):
        assert max(np.abs(guess - one).max(), np.abs(guess - other).max()) >= 0.5


def test_vc_log_cover_by_hand() -> None:
    assert bounds.vc_log_cover(1000, 0.1) == pytest.approx(1000 * math.log(1000) * math.log(10))
    assert bounds.vc_log_cover(1000, 1.0) == 0
    assert bounds.vc_dimension(math.e**2) == pytest.approx(2 * math.e**2)
    np.testing.assert_allclose(
        bounds.vc_log_cover([10, 100], 0.5), [bounds.vc_log_cover(k, 0.5) for k in (10, 100)]
    )


def test_float_class_counts_bits() -> None:
    assert bounds.log_float_class(3, bits=4) == pytest.approx(math.log(2**12))
    assert bounds.log_float_class(1) == pytest.approx(32 * math.log(2))


@given(st.floats(0.1, 1e7), deltas, st.integers(1, 10**6), kinds)
@FAST
def test_fixed_point_solves_eq_3(dimension: float, delta: float, m: int, kind: str) -> None:
    epsilon = bounds.fixed_point(dimension, delta, m, kind)
    sides = {"one_sided": 1, "two_sided": 2}[kind]
    left, right = 2 * m * epsilon**2, dimension * -math.log(epsilon) + math.log(sides / delta)
    assert left == pytest.approx(right, rel=1e-6, abs=1e-6 * (1 + dimension))
    if 2 * m > math.log(sides / delta):  # whatever the dimension
        assert epsilon < 1


@pytest.mark.parametrize("dimension", [1.0, 30.0, 1e3, 1e5])
def test_covered_is_the_least_over_radii(dimension: float) -> None:
    epsilon, radius = bounds.covered(dimension, 0.05, 500)
    radii = np.geomspace(1e-9, 1, 20001)
    values = 2 * radii + np.sqrt((dimension * -np.log(radii) + math.log(20)) / 1000)
    assert epsilon == pytest.approx(values.min(), rel=1e-5)
    assert epsilon <= values.min() + 1e-12
    assert 0 < radius <= 1


def test_covered_is_vacuous_for_large_classes() -> None:
    assert bounds.covered(1e5, 0.05, 1000)[0] > 1
    assert bounds.covered(5, 0.05, 10**6)[0] < 0.02


# ---------------------------------------------------------------- compression bounds


@given(st.integers(0, 20), deltas, st.integers(1, 10**6), kinds)
@FAST
def test_information_is_pac_of_a_binary_table(bits: int, delta: float, m: int, kind: str) -> None:
    # C18: 2^I cells with a binary label are 2^(2^I) hypotheses: the log 2 is there, I is in bits.
    want = bounds.pac(2**bits * math.log(2), delta, m, kind)
    assert bounds.information(bits, delta, m, kind) == pytest.approx(want, rel=1e-12)


def test_information_by_hand_and_for_many_bits() -> None:
    assert bounds.information(3, 0.05, 100) == pytest.approx(
        math.sqrt((8 * math.log(2) + math.log(20)) / 200)
    )
    assert bounds.information(0.5, 0.05, 100) == pytest.approx(
        math.sqrt((math.sqrt(2) * math.log(2) + math.log(20)) / 200)
    )
    assert bounds.information(2000, 0.05, 1) == pytest.approx(2.0**1000 * math.sqrt(math.log(2) / 2))
    np.testing.assert_allclose(
        bounds.information([1, 2], 0.1, 10), [bounds.information(k, 0.1, 10) for k in (1, 2)]
    )


def test_k_bits_are_worth_a_factor_two_to_the_k() -> None:
    # C19 for the bound itself, up to the term of δ.
    for k in (1, 3, 5):
        assert bounds.information(12, 1 - 1e-9, 500) == pytest.approx(
            bounds.information(12 + k, 1 - 1e-9, 500 * 2**k), rel=1e-5
        )


def test_coarsen_adds_rows() -> None:
    joint = np.array([[0.1, 0.2], [0.05, 0.15], [0.3, 0.2]])
    np.testing.assert_allclose(bounds.coarsen(joint, [1, 0, 1]), [[0.05, 0.15], [0.4, 0.4]])
    cells = np.array([0, 2, 0])
    channel = np.eye(3)[cells]
    np.testing.assert_allclose(bounds.coarsen(joint, cells), information.push_forward(joint, channel).T)
    # A hard partition keeps I(T;X) = H(T).
    p_tx = joint.sum(1)[:, None] * channel
    assert information.mutual_information(p_tx) == pytest.approx(
        information.entropy(bounds.coarsen(joint, cells).sum(1))
    )


def brute_lookup(p: np.ndarray, m: int) -> tuple[float, float]:
    """Expected training and true error over all p.size**m samples."""
    cells, classes = p.shape
    train = true = 0.0
    for sample in itertools.product(range(p.size), repeat=m):
        mass = math.prod(p.ravel()[list(sample)])
        counts = np.bincount(sample, minlength=p.size).reshape(cells, classes)
        train += mass * (1 - sum(row.max() for row in counts) / m)
        hits = [
            np.mean([q[y] for y in range(classes) if n[y] == n.max()]) for q, n in zip(p, counts, strict=True)
        ]
        true += mass * (1 - sum(hits))
    return train, true


@pytest.mark.parametrize("shape", [(2, 2), (1, 3), (3, 2)])
def test_lookup_table_against_enumeration(shape: tuple[int, int]) -> None:
    p = np.random.default_rng(3).dirichlet(np.ones(shape[0] * shape[1])).reshape(shape)
    train, true = brute_lookup(p, 4)
    got = bounds.lookup_table(p, 4, trials=40_000, seed=2)
    for values, want in ((got.train_error, train), (got.true_error, true)):
        assert abs(values.mean() - want) < 5 * values.std() / 200 + 1e-12
    assert got.gap.mean() == pytest.approx(got.true_error.mean() - got.train_error.mean())


@given(st.integers(1, 6), st.integers(1, 400), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_lookup_table_obeys_its_bound(log_cells: int, m: int, seed: int) -> None:
    # C18 where it is a theorem: equally likely cells, random label noise, binary labels.
    cells = 2**log_cells
    q = np.random.default_rng(seed).uniform(size=cells)
    joint = np.column_stack([q, 1 - q]) / cells
    i_bits = information.entropy(joint.sum(1))
    assert i_bits == pytest.approx(log_cells)
    gap = bounds.lookup_table(joint, m, trials=400, seed=seed).gap
    for delta in (0.5, 0.1):
        rate = (gap > bounds.information(i_bits, delta, m)).mean()
        assert rate <= delta + 4 * math.sqrt(delta * (1 - delta) / 400)


def test_the_table_is_the_best_of_its_class_and_gap_is_bounded_by_the_worst_of_it() -> None:
    # The learner against the whole class of 2^K tables, one sample at a time.
    joint = np.array([[0.2, 0.1], [0.05, 0.25], [0.3, 0.1]])
    tables = np.array(list(itertools.product([0, 1], repeat=3)))
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = rng.multinomial(12, joint.ravel()).reshape(3, 2)
        errors = [1 - counts[range(3), t].sum() / 12 for t in tables]
        assert 1 - counts.max(1).sum() / 12 == pytest.approx(min(errors))


@pytest.mark.parametrize("noise", [0.5, 0.2, 0.0])
@pytest.mark.parametrize("load", [0.25, 1.0, 5.0])
def test_lookup_limit_is_what_many_cells_give(load: float, noise: float) -> None:
    cells = 2000
    joint = np.tile([1 - noise, noise], (cells, 1)) / cells
    got = bounds.lookup_table(joint, int(load * cells), trials=300, seed=4).gap
    assert got.mean() == pytest.approx(bounds.lookup_limit(load, noise), abs=3e-3)


def test_lookup_limit_at_its_ends() -> None:
    assert bounds.lookup_limit(1e-6) == pytest.approx(
        0.5, abs=1e-5
    )  # one sample a cell at most: all memorised
    # Many samples a cell, pure noise: E|a − b|/2λ of two Poisson counts, √(1/2πλ).
    assert bounds.lookup_limit(400.0) == pytest.approx(math.sqrt(1 / (2 * math.pi * 400)), rel=2e-3)
    assert bounds.lookup_limit(50.0, 0.1) == pytest.approx(0, abs=1e-9)
    loads = np.geomspace(0.1, 100, 30)
    assert (np.diff(bounds.lookup_limit(loads)) < 0).all()


def test_gap_collapses_onto_the_load() -> None:
    # C19: the same m/2^I, tables of very different sizes, one gap; one bit more at the same m, another gap.
    gaps = {}
    for bits, m in ((5, 64), (8, 512), (11, 4096)):
        joint = np.full((2**bits, 2), 0.5**bits / 2)
        gaps[bits] = bounds.lookup_table(joint, m, trials=400, seed=bits).gap.mean()
    limit = bounds.lookup_limit(2.0)
    assert max(abs(g - limit) for g in gaps.values()) < 0.01
    assert bounds.lookup_limit(1.0) - limit > 0.05


@pytest.mark.parametrize("m", [2000, 20_000])
def test_dust_breaks_eq_5_but_not_the_count_of_cells(m: int) -> None:
    # C18 as printed (I(T;X), any partition) fails: unequal cells.
    joint = bounds.dust_partition(m)
    assert joint.sum() == pytest.approx(1)
    i_bits = information.entropy(joint.sum(1))
    found = bounds.lookup_table(joint, m, trials=20)
    gap = found.gap
    # Its labels are coins: half of them are wrong, whatever was learnt, and a sample's own label is right by heart.
    np.testing.assert_allclose(found.true_error, 0.25, atol=1e-12)
    assert gap.min() > 0.2
    assert gap.min() > bounds.information(i_bits, 0.05, m)  # in every trial, where δ = 0.05 of them may
    assert gap.max() < bounds.pac(len(joint) * math.log(2), 0.05, m)
    printed = math.sqrt((2**i_bits + math.log(20)) / (2 * m))  # without log 2 it is a larger margin
    assert m < 10_000 or gap.min() > printed


# ---------------------------------------------------------------- typical sequences


def brute_typical(p: list[float], n: int, epsilon: float) -> tuple[int, float]:
    h = -sum(q * math.log2(q) for q in p if q > 0)
    count, mass = 0, 0.0
    for sequence in itertools.product(p, repeat=n):
        product = math.prod(sequence)
        if product > 0 and abs(-math.log2(product) / n - h) <= epsilon + 1e-12:
            count, mass = count + 1, mass + product
    return count, mass


@pytest.mark.parametrize(
    ("p", "n"), [([0.9, 0.1], 12), ([0.5, 0.3, 0.2], 8), ([0.7, 0.0, 0.3], 7), ([0.25] * 4, 5), ([1.0], 6)]
)
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.3])
def test_typical_set_against_enumeration(p: list[float], n: int, epsilon: float) -> None:
    count, mass = brute_typical(p, n, epsilon)
    got = bounds.typical_set(p, n, epsilon)
    assert 2**got.log2_count == pytest.approx(count, rel=1e-9)
    assert got.probability == pytest.approx(mass, abs=1e-12)
    assert got.rate == got.log2_count / n


@given(st.floats(0.02, 0.5), st.integers(1, 400), st.floats(0.01, 0.5))
@FAST
def test_typical_set_obeys_its_theorem(q: float, n: int, epsilon: float) -> None:
    got = bounds.typical_set([1 - q, q], n, epsilon)
    low, high = got.log2_bounds
    assert low - 1e-9 <= got.log2_count <= high + 1e-9
    assert got.log2_count <= n + 1e-9


def test_aep_the_exponent_tends_to_n_times_h() -> None:
    # C17: the exponent is nH; the printed "2^n H" would be off by an amount that grows with n.
    h = information.entropy([0.9, 0.1])
    distance, mass = [], []
    for n in (100, 1000, 10_000):
        found = bounds.typical_set([0.9, 0.1], n, 2 * n**-0.4)
        distance.append(abs(found.rate - h))
        mass.append(found.probability)
        assert abs(found.log2_count - (n + math.log2(h))) > 0.05 * n
    assert distance[0] > distance[1] > distance[2]
    assert mass[2] > 0.999


@pytest.mark.parametrize("delta", [0.3, 0.05, 0.5])
def test_smallest_set_against_sorting(delta: float) -> None:
    for p, n in (([0.9, 0.1], 12), ([0.5, 0.3, 0.2], 8)):
        masses = np.sort([math.prod(s) for s in itertools.product(p, repeat=n)])[::-1]
        want = int(np.searchsorted(np.cumsum(masses), 1 - delta - 1e-12)) + 1
        assert want - 1 - 1e-6 <= 2 ** bounds.smallest_set(p, n, delta) <= want + 1e-6


def test_smallest_set_has_rate_h_for_every_delta() -> None:
    h = information.entropy([0.8, 0.2])
    for delta in (0.01, 0.5, 0.9):
        rates = [abs(bounds.smallest_set([0.8, 0.2], n, delta) / n - h) for n in (100, 1000, 10_000)]
        assert rates[2] < 0.02
        assert rates[2] < rates[0]


def test_expected_gap_by_hand() -> None:
    # One bit, one sample, an error: √(2 · ¼ · ln 2). Four times the samples halve it, σ is a factor.
    one = bounds.expected_gap(1, 1)
    assert one == pytest.approx(math.sqrt(math.log(2) / 2), rel=1e-14)
    assert bounds.expected_gap(1, 4) == pytest.approx(one / 2)
    assert bounds.expected_gap([4, 0], 4, sigma=1.5).tolist() == pytest.approx([3 * one, 0])


@pytest.mark.parametrize(
    ("errors", "m", "delta"), [(0, 30, 0.05), (7, 100, 0.05), (58, 897, 0.01), (3, 4, 0.5)]
)
def test_clopper_pearson_against_scipy(errors: int, m: int, delta: float) -> None:
    exact = binomtest(errors, m, alternative="less").proportion_ci(1 - delta, method="exact").high
    assert bounds.clopper_pearson(errors, m, delta) == pytest.approx(exact, rel=1e-6)


def test_clopper_pearson_fails_as_seldom_as_it_says() -> None:
    # Every count of 40 tries, weighted with its probability: at the true rate the bound is broken with at most δ.
    assert bounds.clopper_pearson(5, 5) == 1
    for rate in (0.1, 0.3, 0.8):
        low = [bounds.clopper_pearson(k, 40, 0.1) < rate for k in range(41)]
        assert 0 < binom.pmf(np.arange(41), 40, rate) @ low <= 0.1


# ---------------------------------------------------------------- the index memoriser


def test_memoriser_is_optimal_on_the_sample_and_at_chance_off_it() -> None:
    # C20, exactly.
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(4), 50))
    sample = rng.choice(200, 40, replace=False)
    encoder = bounds.index_memoriser(labels, sample)
    off = np.setdiff1d(np.arange(200), sample)
    on = bounds.sample_plane(encoder, labels, sample)
    h_y = information.entropy(np.bincount(labels[sample]) / 40)
    assert on.i_tx == pytest.approx(h_y)
    assert on.i_ty == pytest.approx(h_y)
    assert on.accuracy == 1
    elsewhere = bounds.sample_plane(encoder, labels, off)
    assert elsewhere.i_ty == pytest.approx(0, abs=1e-12)
    assert elsewhere.i_tx == pytest.approx(0, abs=1e-12)
    assert elsewhere.accuracy == pytest.approx(1 / 4)
    # The honest representation lies at the same point of the sample's plane: the loss sees no difference.
    honest = np.eye(4)[labels]
    assert bounds.sample_plane(honest, labels, sample) == on
    assert bounds.sample_plane(honest, labels, off).accuracy == 1


@given(st.integers(0, 10**6), st.floats(1.001, 50), st.integers(2, 5))
@FAST
def test_no_encoder_beats_the_memoriser_on_the_sample(seed: int, beta: float, n_t: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 30)
    labels[:3] = 0, 1, 2
    sample = np.arange(12)
    best = bounds.sample_plane(bounds.index_memoriser(labels, sample), labels, sample)
    other = bounds.sample_plane(rng.dirichlet(np.full(n_t, 0.2), 30), labels, sample)
    assert best.i_tx - beta * best.i_ty <= other.i_tx - beta * other.i_ty + 1e-12


@pytest.mark.parametrize("beta", [1.01, 1.5, 6.0])
def test_the_best_encoder_of_the_sample_is_no_better_than_the_memoriser(beta: float) -> None:
    # Random encoders stay far from the optimum; the bottleneck's solver, which knows nothing of labels, gets there.
    rng = np.random.default_rng(0)
    labels, sample = rng.integers(0, 3, 30), np.arange(12)
    stored = bounds.sample_plane(bounds.index_memoriser(labels, sample, 3), labels, sample)
    best = bottleneck.solve(np.eye(3)[labels[sample]] / 12, beta)
    assert stored.i_tx - beta * stored.i_ty == pytest.approx(best.objective, abs=1e-6)


def test_sample_plane_by_hand() -> None:
    # A binary symmetric encoder of a fair label: I(T;X) = I(T;Y) = 1 − h(0.1).
    encoder = np.array([[0.9, 0.1], [0.1, 0.9]])
    want = 1 - information.entropy([0.9, 0.1])
    point = bounds.sample_plane(encoder, [0, 1])
    assert point.i_tx == pytest.approx(want)
    assert point.i_ty == pytest.approx(want)
    assert point.accuracy == pytest.approx(0.9)
    # One cell for everything; and a label that T has no value for is never read right.
    assert bounds.sample_plane(np.ones((3, 1)), [0, 1, 1]) == bounds.PlanePoint(0, 0, pytest.approx(1 / 3))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.pac(-1, 0.1, 10), "log_class_size is -1; accepted: a finite number of at least 0"),
        (lambda: bounds.pac(float("nan"), 0.1, 10), "log_class_size is nan"),
        (lambda: bounds.pac(1, 0, 10), "delta is 0; accepted: a finite number above 0"),
        (lambda: bounds.pac(1, 1.0, 10), r"delta is 1.0; accepted: a probability in \(0, 1\)"),
        (lambda: bounds.pac(1, 0.1, 0), "m is 0; accepted: a finite number of at least 1"),
        (lambda: bounds.pac(1, 0.1, 10, "both"), "kind is 'both'; accepted: one_sided, two_sided"),
        (lambda: bounds.information(-0.1, 0.1, 10), "information: i_bits is -0.1"),
        (lambda: bounds.information(1, 0.1, float("inf")), "m is inf"),
        (lambda: bounds.vc_log_cover(1, 0.1), "n_parameters is 1; accepted: a finite number of at least 2"),
        (lambda: bounds.vc_log_cover(10, 1.5), r"epsilon is 1.5; accepted: a radius in \(0, 1\]"),
        (lambda: bounds.vc_log_cover(10, 0), "epsilon is 0; accepted: a finite number above 0"),
        (lambda: bounds.sample_complexity(1, 0, 0.1), "epsilon is 0"),
        (lambda: bounds.hoeffding(-0.1, 3), "epsilon is -0.1"),
        (lambda: bounds.fixed_point(0, 0.1, 3), "dimension is 0; accepted: a finite number above 0"),
        (lambda: bounds.sauer(-1, 5), "sauer: dimension is -1; accepted: an integer of at least 0"),
        (lambda: bounds.sauer(1, 0), "sauer: n is 0; accepted: an integer of at least 1"),
        (lambda: bounds.vc(-1, 0.1, 10), "vc: log_growth is -1; accepted: a finite number of at least 0"),
        (lambda: bounds.vc(1, 0.1, 10, "both"), "vc: kind is 'both'"),
        (lambda: bounds.half_space([1.0, 2.0], np.array([True, False])), r"points has shape \(2,\)"),
        (lambda: bounds.half_space([[1.0], [2.0]], [0, 1]), "labels has shape .* accepted: 2 truth values"),
        (lambda: bounds.covered(5, 0.1, 0), "m is 0; accepted: an integer of at least 1"),
        (lambda: bounds.log_float_class(0), "n_parameters is 0"),
        (lambda: bounds.violation_rate([[0, 1]], [0.5, 0.6], 0.1, 5), "p "),
        (lambda: bounds.violation_rate([[0, 1, 1]], [0.5, 0.5], 0.1, 5), r"accepted: \(hypotheses, 2\)"),
        (lambda: bounds.violation_rate([[0, 2]], [0.5, 0.5], 0.1, 5), r"losses has entries outside \[0, 1\]"),
        (lambda: bounds.violation_rate([[0, 1]], [0.5, 0.5], 0.1, 0), "m is 0"),
        (lambda: bounds.violation_probability([1.2], 0.1, 5), "risks has entries above 1"),
        (lambda: bounds.expected_gap(-1, 5), "i_bits is -1; accepted: a finite number of at least 0"),
        (lambda: bounds.expected_gap(1, 0), "expected_gap: m is 0"),
        (lambda: bounds.expected_gap(1, 5, -1), "sigma is -1"),
        (lambda: bounds.clopper_pearson(6, 5), "errors is 6; accepted: at most m = 5"),
        (lambda: bounds.clopper_pearson(1, 5, 0), "delta is 0"),
        (lambda: bounds.coarsen([[0.5], [0.5]], [0, -1]), "accepted: 2 integers of at least 0"),
        (lambda: bounds.coarsen([[0.5], [0.5]], [0, 1, 1]), "accepted: 2 integers of at least 0"),
        (lambda: bounds.coarsen([[0.5], [0.6]], [0, 1]), "joint"),
        (lambda: bounds.lookup_table([0.5, 0.5], 5), "joint"),
        (lambda: bounds.lookup_limit(0), "samples_per_cell is 0"),
        (lambda: bounds.lookup_limit(1, 0.6), "noise is 0.6; accepted: a number from 0 to 1/2"),
        (lambda: bounds.dust_partition(10, dust=1), "dust is 1; accepted: a probability"),
        (lambda: bounds.typical_set([0.5, 0.4], 3, 0.1), "p "),
        (lambda: bounds.typical_set([0.5, 0.5], 0, 0.1), "n is 0; accepted: an integer of at least 1"),
        (lambda: bounds.typical_set(np.ones(8) / 8, 200, 0.1), "8 symbols and n = 200 have .*at most"),
        (lambda: bounds.smallest_set([0.5, 0.5], 5, 0), "delta is 0"),
        (lambda: bounds.index_memoriser([0, 1], [2]), "sample has index 2; accepted: 0 … 1"),
        (lambda: bounds.index_memoriser([0, 1, 2], [0], n_classes=2), "labels has 2; accepted: below"),
        (lambda: bounds.index_memoriser([0.0, 1.0], [0]), "labels has shape"),
        (lambda: bounds.sample_plane([[0.5, 0.4]], [0]), "encoder"),
        (lambda: bounds.sample_plane([[0.5, 0.5]], [0, 1]), "labels has 2 entries and encoder 1 rows"),
        (lambda: bounds.sample_plane([[0.5, 0.5]], [0], [1]), "points has index 1; accepted: 0 … 0"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.pac("3", 0.1, 10), "log_class_size is '3'; accepted: a number"),
        (lambda: bounds.pac(1, None, 10), "delta is None"),
        (lambda: bounds.sauer(2.0, 5), "dimension is 2.0; accepted: an integer"),
        (lambda: bounds.lookup_table([[0.5, 0.5]], 2.5), "m is 2.5; accepted: an integer"),
        (lambda: bounds.lookup_table([[0.5, 0.5]], True), "m is True; accepted: an integer"),
    ],
)
def test_what_is_no_number_is_refused(call, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_importing_bounds_does_not_import_torch() -> None:
    code = "import sys, t2v.bounds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lookup_limit_at_a_large_load_is_that_of_fair_coins() -> None:
    # Pure noise, λ → ∞: the majority of λ coins is ahead by |N(0, λ)|, half of which the table gains: √(1/2πλ).
    # Enumerating pairs of counts would take 8 TB here.
    assert bounds.lookup_limit(1e6) == pytest.approx(1 / math.sqrt(2 * math.pi * 1e6), rel=1e-5)
    assert bounds.lookup_limit(1e6, noise=0.1) == pytest.approx(0, abs=1e-9)


def test_violation_rate_refuses_options_beside_a_margin_too() -> None:
    for options, message in (
        ({"epsilon": math.nan}, "violation_rate: epsilon is nan"),
        ({"epsilon": 0.1, "kind": "both"}, "violation_rate: kind is 'both'; accepted: one_sided, two_sided"),
    ):
        with pytest.raises(ValueError, match=message):
            bounds.violation_rate([[0, 1]], [0.5, 0.5], 0.05, 10, trials=2, **options)
