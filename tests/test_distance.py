"""Distances: closed forms, invariances, and what is refused."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from helpers import ROOT, read_csv
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.cluster import hierarchy
from scipy.spatial import distance as peer

from t2v import distance, tasks

POSITIVE = arrays(float, st.integers(4, 12), elements=st.floats(1e-6, 1e6))
PAIRS = st.integers(4, 12).flatmap(
    lambda n: st.tuples(
        *[arrays(float, n, elements=st.floats(0, 1e6).map(lambda v: v if v > 1e-6 else 0.0))] * 2
    )
)


def test_symmetric_of_huge_values() -> None:
    a, b = np.array([1.0, 3.0]), np.array([3.0, 1.0])
    assert distance.symmetric(a * 5e307, b * 5e307) == pytest.approx(0.4, abs=1e-12)
    assert distance.symmetric(a * 5e307, a * 5e307) == pytest.approx(0.0, abs=1e-12)


def test_symmetric_by_hand() -> None:
    a, b = np.array([1.0, 3.0]), np.array([3.0, 1.0])
    # a/(a+b) = (¼, ¾), b/(a+b) = (¾, ¼): cos = (3/16 + 3/16)/(10/16) = 0.6
    assert distance.symmetric(a, b) == pytest.approx(0.4, abs=1e-12)
    assert distance.cosine(a, b) == pytest.approx(1 - 6 / 10, abs=1e-12)
    # these two look alike to both; (1/3, 3/4) against (2/3, 1/4) does not look like (1, 3) against (2, 1)
    assert distance.symmetric([1.0, 3.0], [2.0, 1.0]) == pytest.approx(1 - 59 / math.sqrt(97 * 73), abs=1e-12)
    assert distance.cosine([1.0, 3.0], [2.0, 1.0]) == pytest.approx(1 - 5 / math.sqrt(50), abs=1e-12)
    # unequal scales: (2/3, 2/3) against (1/3, 1/3) point the same way
    assert distance.symmetric([2.0, 2.0], [1.0, 1.0]) == pytest.approx(0, abs=1e-12)


def test_filters_that_neither_task_uses_are_skipped() -> None:
    a, b = np.array([1.0, 3.0, 0.0]), np.array([3.0, 1.0, 0.0])
    assert distance.symmetric(a, b) == pytest.approx(0.4, abs=1e-12)
    assert distance.symmetric([1.0, 0.0], [0.0, 1.0]) == 1
    # one that a single task uses counts: (½, 1) against (½, 0)
    assert distance.symmetric([1.0, 1.0], [1.0, 0.0]) == pytest.approx(1 - 1 / math.sqrt(5), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(PAIRS)
def test_symmetric_is_a_symmetric_number_in_0_1(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    if not (a.any() and b.any()):
        return
    d = distance.symmetric(a, b)
    assert 0 <= d <= 1 + 1e-12
    assert d == pytest.approx(distance.symmetric(b, a), abs=1e-12)
    assert distance.symmetric(a, a) == pytest.approx(0, abs=1e-12)
    order = np.random.default_rng(0).permutation(len(a))
    assert distance.symmetric(a[order], b[order]) == pytest.approx(d, abs=1e-9)
    assert distance.symmetric(a * 8, b * 8) == pytest.approx(d, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(POSITIVE)
def test_cosine_and_log_cosine_agree_with_scipy(a: np.ndarray) -> None:
    b = np.random.default_rng(1).uniform(0.1, 10, len(a))
    assert distance.cosine(a, b) == pytest.approx(peer.cosine(a, b), abs=1e-9)
    if np.ptp(np.log(a)) > 1e-3:
        assert distance.log_cosine(a, b) == pytest.approx(peer.correlation(np.log(a), np.log(b)), abs=1e-7)
        assert distance.log_cosine(a, b) == pytest.approx(distance.log_cosine(1000 * a, b), abs=1e-7)


def test_asymmetric_is_the_definition() -> None:
    a, b, t0 = np.random.default_rng(0).uniform(size=(3, 20))
    want = distance.symmetric(a, b) - 0.15 * distance.symmetric(a, t0)
    assert distance.asymmetric(a, b, t0) == pytest.approx(want, abs=1e-15)
    assert distance.asymmetric(a, b, t0, alpha=0) == distance.symmetric(a, b)
    # it is the source, not the target, that is held against t0
    assert distance.asymmetric(a, b, t0, 1.0) != pytest.approx(distance.asymmetric(b, a, t0, 1.0), abs=1e-6)


def test_matrix_and_cluster() -> None:
    rng = np.random.default_rng(0)
    near, far = rng.uniform(1, 2, (3, 30)), rng.uniform(1, 2, (2, 30)) * np.geomspace(1, 1e4, 30)
    d = distance.matrix([*near, *far])
    assert d.shape == (5, 5)
    assert np.array_equal(d, d.T)
    assert not d.diagonal().any()
    assert d[0, 4] == distance.symmetric(near[0], far[1])
    groups = hierarchy.fcluster(distance.cluster(d), 2, "maxclust")
    assert len(set(groups[:3])) == 1
    assert len(set(groups[3:])) == 1
    assert groups[0] != groups[4]


class Fake:
    def __init__(self, probe: str, values: list[float]) -> None:
        self.probe, self.values = probe, np.array(values)


def test_embeddings_of_two_probes_are_refused() -> None:
    """Equal lengths are no excuse, in any metric; bare arrays bring no name, and one probe twice is fine."""
    x, y = [1.0, 2.0, 3.0, 5.0], [3.0, 1.0, 2.0, 1.0]
    for measure in distance.METRICS.values():
        with pytest.raises(ValueError, match=r"different probes \('a' and 'b'\)"):
            measure(Fake("a", x), Fake("b", y))
        assert measure(Fake("a", x), Fake("a", y)) == measure(x, y)


def test_bad_input_is_refused() -> None:
    good = [1.0, 2.0, 3.0]
    cases = [
        (lambda: distance.symmetric([1.0, -1.0], [1.0, 1.0]), "non-negative"),
        (lambda: distance.symmetric([1.0, math.nan], [1.0, 1.0]), "finite"),
        (lambda: distance.symmetric(good, [1.0]), r"different lengths \(3 and 1\)"),
        (lambda: distance.symmetric(good, [0.0, 0.0, 0.0]), "all values are zero"),
        (lambda: distance.symmetric([[1.0]], [[1.0]]), "1-D"),
        (lambda: distance.symmetric(Fake("a", good), Fake("b", good)), "different probes"),
        (lambda: distance.asymmetric(good, good, good, alpha=-1), "alpha"),
        (lambda: distance.asymmetric(good, good, good, alpha=math.nan), "alpha"),
        (lambda: distance.matrix([good, good], metric="euclid"), "accepted: symmetric, cosine, log_cosine"),
        (lambda: distance.matrix([good]), "at least two"),
        (lambda: distance.cluster([[0, 1], [2, 0]]), "symmetric"),
        (lambda: distance.cluster([[0, 1, 2]]), r"\(n, n\)"),
        (lambda: distance.log_cosine([1.0, 0.0, 0.0], good), "fewer than three"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_neighbour_agreement_by_hand_and_by_chance() -> None:
    d = np.array([[0, 1, 5, 6], [1, 0, 5, 6], [5, 5, 0, 2], [6, 6, 2, 0]], float)
    share, chance, p = distance.neighbour_agreement(d, ["x", "x", "y", "y"])
    assert share == 1
    # of the 3 ways to pair four tasks, one agrees everywhere and two nowhere
    assert chance == pytest.approx(1 / 3, abs=0.05)
    assert p == pytest.approx(1 / 3, abs=0.05)
    assert distance.neighbour_agreement(d, ["x", "y", "x", "y"])[0] == 0
    with pytest.raises(ValueError, match="3 labels"):
        distance.neighbour_agreement(d, ["x", "y", "x"])


@dataclass(frozen=True)
class Embedded:
    probe: str
    values: np.ndarray


def test_unit_sum_divides_by_the_sum_and_keeps_the_kind() -> None:
    assert distance.unit_sum([1.0, 3.0]).tolist() == [0.25, 0.75]
    assert np.isfinite(distance.unit_sum([1e308, 1e308])).all()
    kept = distance.unit_sum(Embedded("p", np.array([1.0, 3.0])))
    assert kept.probe == "p"
    assert kept.values.tolist() == [0.25, 0.75]
    with pytest.raises(ValueError, match="all values are zero"):
        distance.unit_sum([0.0, 0.0])


@settings(max_examples=50, deadline=None)
@given(PAIRS)
def test_jensen_shannon_agrees_with_scipy_and_ignores_scale(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    if not (a.any() and b.any()):
        return
    d = distance.jensen_shannon(a, b)
    assert d == pytest.approx(peer.jensenshannon(a, b), abs=1e-6)
    assert 0 <= d <= math.sqrt(math.log(2)) + 1e-9
    assert distance.jensen_shannon(8 * a, b) == pytest.approx(d, abs=1e-6)


def test_jensen_shannon_by_hand_and_in_a_matrix() -> None:
    # disjoint: KL(P ‖ M) = log 2 on both sides
    assert distance.jensen_shannon([1.0, 0.0], [0.0, 5.0]) == pytest.approx(math.sqrt(math.log(2)), abs=1e-12)
    d = distance.matrix([[1.0, 1.0], [1.0, 3.0], [1.0, 0.0]], "jensen_shannon")
    assert d[0, 1] == pytest.approx(peer.jensenshannon([1, 1], [1, 3]), abs=1e-9)
    assert d[0, 2] > d[0, 1]


def gaussian_options(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return kl and jsd as the published Task2Vec code has them, from variances; kl as a mean over filters."""
    var_a, var_b = 1 / a, 1 / b

    def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return 0.5 * (p / q - 1 + np.log(q) - np.log(p))

    middle = (var_a + var_b) / 2
    jsd = 0.5 * (kl(var_a, middle) + kl(var_b, middle))
    return float(np.maximum(kl(var_a, var_b), kl(var_b, var_a)).mean()), float(jsd.mean())


def test_gaussian_divergences_are_the_published_ones() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.lognormal(sigma=2, size=(2, 7))
        kl, jsd = gaussian_options(a, b)
        assert distance.gaussian_kl(a, b) == pytest.approx(kl, rel=1e-9)
        assert distance.gaussian_js(a, b) == pytest.approx(jsd, rel=1e-9)


def test_gaussian_kl_agrees_with_sampling() -> None:
    a, b = 2.0, 0.5  # precisions; the larger direction has the wide Gaussian in front
    x = np.random.default_rng(0).normal(scale=1 / math.sqrt(b), size=400_000)
    log_ratio = stats.norm.logpdf(x, scale=1 / math.sqrt(b)) - stats.norm.logpdf(x, scale=1 / math.sqrt(a))
    error = log_ratio.std() / math.sqrt(len(x))
    assert distance.gaussian_kl([a], [b]) == pytest.approx(log_ratio.mean(), abs=5 * error)
    assert distance.gaussian_kl([a], [b]) == pytest.approx((4 - 1 - math.log(4)) / 2, rel=1e-12)
    assert distance.gaussian_js([a], [b]) == pytest.approx(math.log(1.25) / 2, rel=1e-12)


def test_gaussian_divergences_ignore_filter_scales_and_hear_task_scales() -> None:
    rng = np.random.default_rng(1)
    a, b, s = rng.lognormal(size=(3, 9))
    for d in (distance.gaussian_kl, distance.gaussian_js):
        assert d(s * a, s * b) == pytest.approx(d(a, b), rel=1e-9)
        assert d(a, b) == pytest.approx(d(b, a), rel=1e-9)
        assert d(a, a) == 0
        assert d(100 * a, b) > 2 * d(a, b)
        # a filter that only one of them uses would make it infinite, and is left out
        assert d([*a, 1.0], [*b, 0.0]) == pytest.approx(d(a, b), rel=1e-9)
        with pytest.raises(ValueError, match="no filter is positive in both"):
            d([1.0, 0.0], [0.0, 1.0])
    assert distance.gaussian_js([1e300], [1e-300]) == pytest.approx((math.log(1e300) - math.log(2)) / 2)
    assert distance.matrix([a, b, s], "gaussian_kl")[0, 1] == distance.gaussian_kl(a, b)


def points(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3))


def pairwise(x: np.ndarray) -> np.ndarray:
    return peer.squareform(peer.pdist(x))


def test_excluded_neighbours_do_not_count() -> None:
    d = np.array([[0, 1, 5, 6], [1, 0, 5, 6], [5, 5, 0, 2], [6, 6, 2, 0]], float)
    barred = np.zeros((4, 4), bool)
    barred[0, 1] = barred[1, 0] = True  # one set of pictures: 0 and 1 now look to 2
    assert distance.neighbour_agreement(d, ["x", "x", "y", "y"], excluded=barred)[0] == 0.5
    barred[0] = True  # nobody is left for 0: it is not asked
    assert distance.neighbour_agreement(d, ["x", "x", "y", "y"], excluded=barred)[0] == pytest.approx(2 / 3)
    # a bar has a direction, (task, neighbour): 2 may not look to 3, who may look to 2
    barred[:] = False
    barred[2, 3] = True
    assert distance.neighbour_agreement(d, ["x", "x", "y", "y"], excluded=barred)[0] == 0.75
    with pytest.raises(ValueError, match="no task has a neighbour left"):
        distance.neighbour_agreement(d, ["x", "x", "y", "y"], excluded=np.ones((4, 4)))
    with pytest.raises(ValueError, match=r"excluded: shape \(3, 3\)"):
        distance.neighbour_agreement(d, ["x", "x", "y", "y"], excluded=np.zeros((3, 3)))


def test_neighbourhood_curve_is_the_mean_over_neighbours() -> None:
    d, tree = pairwise(points(7)), np.round(pairwise(points(7, 1)))
    curve = distance.neighbourhood_curve(d, tree)
    for k in range(1, 7):
        means = []
        for i in range(7):
            near = sorted((j for j in range(7) if j != i), key=lambda j: d[i, j])[:k]
            means.append(np.mean([tree[i, j] for j in near]))
        assert curve[k - 1] == pytest.approx(np.mean(means), abs=1e-12)
    assert curve[-1] == pytest.approx(tree[np.triu_indices(7, 1)].mean(), abs=1e-12)
    assert (np.diff(distance.neighbourhood_curve(tree, tree)) >= -1e-12).all()  # the best there is rises
    assert distance.neighbourhood_curve(tree, tree)[0] <= curve[0]


def test_neighbours_at_distance_zero_are_not_taken_for_the_task_itself() -> None:
    d = np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]], float)
    tree = np.array([[0, 4, 6], [4, 0, 6], [6, 6, 0]], float)
    assert distance.neighbourhood_curve(d, tree)[0] == pytest.approx((4 + 4 + 6) / 3)


@pytest.mark.parametrize("kin", [True, False])
def test_mantel_against_scipy_and_against_all_permutations(kin: bool) -> None:
    """Of unrelated tasks too, where shuffling the rows alone would give 0.18 in the place of 0.28."""
    a, b = pairwise(points(5)), pairwise(points(5) + 0.8 * points(5, 1) if kin else points(5, 50))
    upper = np.triu_indices(5, 1)
    rho, p = distance.mantel(a, b, permutations=4000)
    assert rho == pytest.approx(stats.spearmanr(a[upper], b[upper]).statistic, abs=1e-12)
    orders = (np.array(order) for order in itertools.permutations(range(5)))
    exact = [stats.spearmanr(a[np.ix_(o, o)][upper], b[upper]).statistic for o in orders]
    assert p == pytest.approx(np.mean(np.array(exact) >= rho - 1e-12), abs=0.02)


def test_partial_mantel_is_the_correlation_of_residuals() -> None:
    c = pairwise(points(9, 5))
    a, b = c + pairwise(points(9, 6)), c + pairwise(points(9, 7))
    upper = np.triu_indices(9, 1)
    x, y, z = (stats.rankdata(m[upper]) for m in (a, b, c))
    residuals = [v - np.polyval(np.polyfit(z, v, 1), z) for v in (x, y)]
    partial, _ = distance.mantel(a, b, control=c, permutations=10)
    assert partial == pytest.approx(np.corrcoef(*residuals)[0, 1], abs=1e-9)
    assert partial < distance.mantel(a, b, permutations=10)[0]
    assert distance.mantel(a, b, control=a, permutations=10)[0] == pytest.approx(0, abs=1e-9)


def test_mantel_keeps_its_level_where_the_ordinary_test_does_not() -> None:
    ours, ordinary = [], []
    upper = np.triu_indices(10, 1)
    for seed in range(60):
        a, b = (pairwise(points(10, s)) for s in (2 * seed, 2 * seed + 1))
        ours.append(distance.mantel(a, b, permutations=99)[1])
        ordinary.append(stats.spearmanr(a[upper], b[upper], alternative="greater").pvalue)
    assert np.mean(np.array(ours) <= 0.05) <= 0.12
    assert np.mean(ours) == pytest.approx(0.5, abs=0.12)
    assert np.mean(np.array(ordinary) <= 0.05) > np.mean(np.array(ours) <= 0.05)


def test_mantel_asks_on_one_side_only() -> None:
    """Two opposed orders are as far from chance as two equal ones, and no sign of kinship."""
    a = pairwise(points(9))
    opposed = a.max() + 1 - a
    np.fill_diagonal(opposed, 0)
    assert distance.mantel(a, opposed, permutations=199) == (pytest.approx(-1), 1.0)
    assert distance.mantel(a, a, permutations=199) == (pytest.approx(1), pytest.approx(1 / 200))
    noise = pairwise(points(9, 3))
    rho, p = distance.mantel(a + 0.3 * noise, opposed, control=noise, permutations=199)
    assert rho < -0.8
    assert p > 0.9


def test_mantel_shuffles_the_tasks_under_a_control_too() -> None:
    """The partial test by hand: all permutations of five tasks, rows and columns together."""
    a, b, c = (pairwise(points(5, seed)) for seed in (1, 2, 3))
    upper = np.triu_indices(5, 1)
    y, z = (stats.rankdata(m[upper]) for m in (b, c))
    left = y - np.polyval(np.polyfit(z, y, 1), z)

    def partial(order: tuple[int, ...]) -> float:
        x = stats.rankdata(a[np.ix_(order, order)][upper])
        return float(np.corrcoef(x - np.polyval(np.polyfit(z, x, 1), z), left)[0, 1])

    exact = np.array([partial(order) for order in itertools.permutations(range(5))])
    rho, p = distance.mantel(a, b, control=c, permutations=4000)
    assert rho == pytest.approx(exact[0], abs=1e-9)
    assert p == pytest.approx(np.mean(exact >= exact[0] - 1e-9), abs=0.025)


def orders_within(strata: list[str]) -> list[np.ndarray]:
    """Return every order of the tasks that leaves each in its stratum."""
    every = itertools.permutations(range(len(strata)))
    return [np.array(o) for o in every if all(strata[i] == strata[j] for i, j in enumerate(o))]


def test_strata_shuffle_only_among_their_own() -> None:
    """Chance and p, of neighbours and of pairs, against all orders that keep the strata: 3! · 3! = 36 of 720."""
    strata, groups = list("AAABBB"), np.array(list("xyxzwz"))
    d, b = pairwise(points(6, 3)), pairwise(points(6, 3) + 0.7 * points(6, 9))
    np.fill_diagonal(nobody := d.copy(), np.inf)
    nearest = nobody.argmin(1)
    shares = np.array([(groups[o][nearest] == groups[o]).mean() for o in orders_within(strata)])
    assert len(shares) == 36
    share, chance, p = distance.neighbour_agreement(d, groups, strata=strata, permutations=5000)
    assert share == (groups[nearest] == groups).mean()
    assert chance == pytest.approx(shares.mean(), abs=0.02)
    assert p == pytest.approx((shares >= share - 1e-9).mean(), abs=0.02)
    free = distance.neighbour_agreement(d, groups, permutations=5000)
    assert abs(free[1] - shares.mean()) > 0.03, "else the strata change nothing here"

    upper = np.triu_indices(6, 1)
    exact = [stats.spearmanr(d[np.ix_(o, o)][upper], b[upper]).statistic for o in orders_within(strata)]
    rho, p = distance.mantel(d, b, strata=strata, permutations=5000)
    assert rho == distance.mantel(d, b, permutations=1)[0]
    assert p == pytest.approx(np.mean(np.array(exact) >= rho - 1e-9), abs=0.02)
    assert abs(p - distance.mantel(d, b, permutations=5000)[1]) > 0.02


def test_what_the_strata_know_is_no_merit() -> None:
    """Two clouds, and groups that lie inside them at random: significant for free shuffles, chance within the clouds."""
    strata = np.repeat([0, 1], 12)
    ps = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        d = pairwise(rng.normal(size=(24, 3)) + 9 * strata[:, None])
        groups = 3 * strata + rng.integers(0, 3, 24)
        options = [{}, {"strata": list(strata)}]
        ps.append([distance.neighbour_agreement(d, groups, permutations=199, **o)[2] for o in options])  # type: ignore[arg-type]
    free, within = (np.array(ps) <= 0.05).sum(0)
    assert free >= 8
    assert within <= 4


def test_whole_blocks_exchange_their_groups() -> None:
    """Two blocks of one task and two of two, against all ways to deal their groups; a block of two groups is refused."""
    blocks, groups = list("AABCCD"), np.array(list("xxyyyx"))
    d = pairwise(points(6, 4))
    barred = np.equal.outer(blocks, blocks)
    nearest = np.where(barred, np.inf, d).argmin(1)
    which, shares = np.unique(blocks, return_inverse=True)[1], []
    for dealt in itertools.permutations("xyyx"):
        labels = np.array(dealt)[which]
        shares.append((labels[nearest] == labels).mean())
    share, chance, p = distance.neighbour_agreement(
        d, groups, excluded=barred, blocks=blocks, permutations=5000
    )
    assert chance == pytest.approx(np.mean(shares), abs=0.02)
    assert p == pytest.approx((np.array(shares) >= share - 1e-9).mean(), abs=0.02)
    with pytest.raises(ValueError, match="block 'A' has tasks of two groups"):
        distance.neighbour_agreement(d, list("xyyyyx"), blocks=blocks)
    with pytest.raises(ValueError, match="both are given"):
        distance.neighbour_agreement(d, groups, blocks=blocks, strata=blocks)
    with pytest.raises(ValueError, match="strata: 2 labels for 6 tasks"):
        distance.mantel(d, d, strata=["A", "B"])


def test_a_bootstrap_sample_has_whole_groups() -> None:
    samples = distance.resample(list("AAABCC"), draws=300)
    sizes = {"A": 3, "B": 1, "C": 2}
    members = {"A": [0, 1, 2], "B": [3], "C": [4, 5]}
    for rows in samples:
        counts = np.bincount(rows, minlength=6)
        assert all(len(set(counts[members[g]])) == 1 for g in sizes)
        assert sum(counts[members[g][0]] for g in sizes) == 3
    drawn = np.mean([[np.isin(members[g], rows).any() for g in sizes] for rows in samples], axis=0)
    assert drawn == pytest.approx(1 - (2 / 3) ** 3, abs=0.09)
    with pytest.raises(ValueError, match="groups: 1 given"):
        distance.resample(["A", "A"])


def test_an_interval_over_tasks_is_a_bootstrap_without_copies() -> None:
    """By hand, with the same draws; a lead is taken within a resample; copies of a task are no pair."""
    a, rival, b = (pairwise(points(12, 3) + s * points(12, 8)) for s in (0.5, 1.5, 0.0))
    alone, leads = [], []
    for rows in distance.resample(range(12), draws=200, seed=4):
        pairs = [(i, j) for i, j in itertools.combinations(rows, 2) if i != j]
        x, y, z = (np.array([m[i, j] for i, j in pairs]) for m in (a, rival, b))
        alone.append(stats.spearmanr(x, z).statistic)
        leads.append(alone[-1] - stats.spearmanr(y, z).statistic)
    options = {"draws": 200, "seed": 4, "level": 0.9}
    assert distance.correlation_interval(a, b, **options) == pytest.approx(np.quantile(alone, [0.05, 0.95]))  # type: ignore[arg-type]
    found = distance.correlation_interval(a, b, rival=rival, **options)  # type: ignore[arg-type]
    assert found == pytest.approx(np.quantile(leads, [0.05, 0.95]))
    assert (
        found[0]
        < distance.mantel(a, b, permutations=1)[0] - distance.mantel(rival, b, permutations=1)[0]
        < found[1]
    )
    halves = distance.correlation_interval(a, b, groups=[0] * 4 + [1] * 4 + [2] * 4, draws=50)
    assert halves[0] < halves[1]
    with pytest.raises(ValueError, match="a, b, rival: shapes"):
        distance.correlation_interval(a, b, rival=pairwise(points(5)))
    with pytest.raises(ValueError, match="level: 1"):
        distance.correlation_interval(a, b, level=1)


def test_the_symmetric_distance_errs_from_half_a_variance_in_the_fourth_order() -> None:
    """It is even in the log-ratios: there is no third order, and halving them divides the error by 16."""
    u = np.random.default_rng(0).gamma(1.0, size=4000)  # skewed: a third order would show
    u -= u.mean()
    error = [
        distance.symmetric(np.exp(s * u), np.ones(4000)) - s**2 * u.var() / 2 for s in (0.08, 0.04, 0.02)
    ]
    ratios = np.array(error[:-1]) / error[1:]
    assert ratios == pytest.approx(16, rel=0.05)


def test_one_bit_carries_the_agreement_with_the_tree() -> None:
    """On the stored library: given whether both tasks are writing, d_sym and the tree have nothing more in common.

    Within the writing systems, which that bit cannot tell apart, a weaker agreement is left.
    """
    run = ROOT / "book" / "runs" / "library"
    about = read_csv(run / "tasks.csv")
    paths = [row["taxonomy"].split("/") for row in about]
    depth = np.array([len(path) for path in paths])
    edges = np.array([[tasks.tree_distance(a, b) for b in paths] for a in paths], float)
    tree = edges / (depth[:, None] + depth)
    writing = np.array([path[0] == "writing" for path in paths])
    bit = 1.0 - (writing[:, None] & writing)
    np.fill_diagonal(bit, 0)
    for seed in range(3):
        rows = read_csv(run / f"distances-symmetric-seed{seed}.csv")
        d = np.array([[float(row[t["task"]]) for t in about] for row in rows])
        alone, given_bit = distance.mantel(d, tree, permutations=1)[0], distance.mantel(d, tree, control=bit)
        inside = distance.mantel(
            d[np.ix_(writing, writing)], tree[np.ix_(writing, writing)], permutations=500
        )
        assert distance.mantel(d, bit, permutations=1)[0] > alone > 0.4
        assert abs(given_bit[0]) < 0.05
        assert given_bit[1] > 0.2
        assert 0.1 < inside[0] < alone
        assert inside[1] < 0.05


def test_classical_mds_recovers_points() -> None:
    d = pairwise(points(8))
    found, values = distance.classical_mds(d, 3)
    assert pairwise(found) == pytest.approx(d, abs=1e-9)
    assert values[:3] == pytest.approx((found**2).sum(0), abs=1e-9)
    assert values[3:] == pytest.approx(np.zeros(5), abs=1e-9)
    assert found.mean(0) == pytest.approx(np.zeros(3), abs=1e-9)
    assert (found[np.abs(found).argmax(0), range(3)] > 0).all()
    flat = distance.classical_mds(d)[0]
    assert flat == pytest.approx(found[:, :2], abs=1e-12)
    # 1, 1, 3: no triangle has these sides, so an eigenvalue is negative
    assert distance.classical_mds([[0, 1, 3], [1, 0, 1], [3, 1, 0]], 1)[1].min() < -1e-3


def test_bad_matrices_are_refused_by_name() -> None:
    good, lopsided, line = pairwise(points(4)), np.triu(np.ones((4, 4)), 1), np.ones((3, 3)) - np.eye(3)
    cases = [
        (lambda: distance.neighbourhood_curve(lopsided, good), "^distances: finite"),
        (lambda: distance.neighbourhood_curve(good, lopsided), "^tree_distances: finite"),
        (lambda: distance.neighbourhood_curve(good, line), "differ"),
        (lambda: distance.mantel(good, lopsided), "^b: finite"),
        (
            lambda: distance.mantel(line, good),
            "^a: at least three tasks, and distances that are not all equal",
        ),
        (lambda: distance.mantel(good, pairwise(points(5))), "^a, b: shapes"),
        (lambda: distance.mantel(good, good, control=pairwise(points(5))), "^a, control: shapes"),
        (lambda: distance.classical_mds(good, 4), "dimensions: 4; 1 … 3"),
        (lambda: distance.classical_mds([[0, math.inf], [math.inf, 0]]), "^distances: finite"),
        (lambda: distance.cluster([[0.0]]), r"^distances: shape \(1, 1\)"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
