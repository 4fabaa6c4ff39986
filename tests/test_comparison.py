"""Rank agreement, regret and their bootstrap, against explicit resampling and hand-made cases."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2v import comparison, transfer


def test_the_direction_of_both_sides() -> None:
    errors = [0.1, 0.2, 0.4]
    right = comparison.compare([1.0, 2.0, 3.0], errors)
    assert (right.kendall, right.spearman, right.regret, right.n) == (1.0, pytest.approx(1.0), 0.0, 3)
    wrong = comparison.compare([1.0, 2.0, 3.0], errors, kind="score")
    assert (wrong.kendall, wrong.spearman) == (-1.0, pytest.approx(-1.0))
    assert wrong.regret == pytest.approx(0.3)
    assert transfer.compare is comparison.compare


def test_by_hand() -> None:
    # order predicted 0 1 2 3, measured 1 0 3 2: two of six pairs turned over
    got = comparison.compare([0, 1, 2, 3], [0.2, 0.1, 0.5, 0.3])
    assert got.kendall == pytest.approx((4 - 2) / 6)
    assert got.spearman == pytest.approx(1 - 6 * 4 / (4 * 15))
    assert got.regret == pytest.approx(0.1)


def test_ties() -> None:
    tied = comparison.compare([0, 0, 1], [0.1, 0.5, 0.9])
    assert tied.regret == pytest.approx(0.2)  # a coin decides between the two
    assert tied.kendall == pytest.approx(2 / np.sqrt(2 * 3))
    blind = comparison.compare([7, 7, 7], [0.1, 0.5, 0.9])
    assert (blind.kendall, blind.spearman, blind.regret) == (0, 0, pytest.approx(0.4))
    assert comparison.compare([1, 2], [0.5, 0.5]) == comparison.Comparison(0.0, 0.0, 0.0, 2)


def matrices(seed: int, targets: int = 5, sources: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p, m = rng.integers(0, 8, (targets, sources)) / 8, rng.integers(0, 9, (targets, sources)) / 9
    for k in range(min(targets, sources)):
        p[k, k] = m[k, k] = np.nan
    return p, m


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["distance", "score"]), st.sampled_from([(5, 6), (3, 3)]))
def test_bootstrap_is_resampling(seed: int, kind: comparison.Kind, shape: tuple[int, int]) -> None:
    """With three sources a target may be left without any."""
    p, m = matrices(seed, *shape)
    got = comparison.bootstrap(p, m, kind=kind, draws=7, seed=seed)
    rng = np.random.default_rng(seed)  # the same resamples, drawn as documented: targets first, then sources
    counts_t, counts_s = (rng.multinomial(n, np.full(n, 1 / n), size=7) for n in shape)
    for k in range(7):
        rows = []
        for t in np.repeat(np.arange(shape[0]), counts_t[k]):
            s = np.repeat(np.arange(shape[1]), counts_s[k])
            s = s[s != t]
            if len(s) > 1:
                c = comparison.compare(p[t, s], m[t, s], kind=kind)
                rows.append((c.kendall, c.spearman, c.regret))
            elif len(s) == 1:
                rows.append((0.0, 0.0, 0.0))
        want = np.mean(rows, axis=0) if rows else [np.nan] * 3
        found = [x.draws[k] for x in (got.kendall, got.spearman, got.regret)]
        assert found == pytest.approx(want, abs=1e-12, nan_ok=True)


def test_the_value_is_the_mean_over_targets() -> None:
    p, m = matrices(3)
    got = comparison.bootstrap(p, m, draws=50)
    each = [comparison.compare(a[np.isfinite(a)], b[np.isfinite(b)]) for a, b in zip(p, m, strict=True)]
    assert min(got.regret.draws.min(), got.regret.low) >= 0
    assert got.kendall.value == pytest.approx(np.mean([c.kendall for c in each]), abs=1e-12)
    assert got.spearman.value == pytest.approx(np.mean([c.spearman for c in each]), abs=1e-12)
    assert got.regret.value == pytest.approx(np.mean([c.regret for c in each]), abs=1e-12)


def test_intervals_cover_and_pair() -> None:
    rng = np.random.default_rng(0)
    m = rng.random((12, 12))
    np.fill_diagonal(m, np.nan)
    good, bad = m + 0.2 * rng.normal(size=m.shape), rng.random(m.shape) + 0 * m
    a, b = comparison.bootstrap(good, m), comparison.bootstrap(bad, m)
    assert a.kendall.low < a.kendall.value < a.kendall.high
    assert b.kendall.low < 0 < b.kendall.high
    narrow = comparison.bootstrap(good, m, level=0.5).kendall
    assert narrow.high - narrow.low < a.kendall.high - a.kendall.low
    assert np.percentile(a.kendall.draws - b.kendall.draws, 2.5) > 0
    same = comparison.bootstrap(good, m).kendall
    assert np.array_equal(same.draws, a.kendall.draws)
    assert not np.array_equal(comparison.bootstrap(good, m, seed=1).kendall.draws, same.draws)


def test_bad_input_is_refused() -> None:
    p, m = matrices(0)
    for call, message in [
        (lambda: comparison.compare([1, 2], [1, 2, 3]), r"shapes \(2,\) and \(3,\)"),
        (lambda: comparison.compare([1], [1]), "n ≥ 2"),
        (lambda: comparison.compare([1, np.nan], [1, 2]), "predicted: NaN"),
        (lambda: comparison.compare([1, 2], [1, np.inf]), "measured: NaN or infinite"),
        (lambda: comparison.compare([1, 2], [1, 2], kind="rank"), "accepted: distance, score"),
        (lambda: comparison.bootstrap(p[0], m[0]), "targets, sources"),
        (lambda: comparison.bootstrap(p, np.nan_to_num(m)), "same places"),
        (lambda: comparison.bootstrap(p, np.where(m == m, np.inf, m)), "infinite"),
        (lambda: comparison.bootstrap(p[:, :2], m[:, :2]), "target 0 has fewer than two sources"),
        (lambda: comparison.bootstrap(p, m, level=1.0), "level"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_a_method_is_judged_on_tasks_that_had_no_part_in_its_choice() -> None:
    rng, n = np.random.default_rng(0), 12
    measured = rng.random((n, n))
    np.fill_diagonal(measured, np.nan)
    noise = {f"noise {k}": np.where(np.isnan(measured), np.nan, rng.random((n, n))) for k in range(40)}
    found = comparison.choose(noise, measured, splits=60)
    best = max(comparison.bootstrap(p, measured, draws=1).kendall.value for p in noise.values())
    assert best > 0.1  # the best of forty random orders looks good …
    assert abs(found.kendall.mean()) < 0.06  # … until it meets other tasks
    assert set(found.each) == set(noise)
    found = comparison.choose({**noise, "truth": measured, "reversed": -measured}, measured, splits=20)
    assert set(found.chosen) == {"truth"}
    assert found.kendall == pytest.approx(np.ones(20))
    assert found.each["reversed"] == pytest.approx(-np.ones(20))
    for call, message in (
        (lambda: comparison.choose({}, measured), "candidates, splits: 0"),
        (lambda: comparison.choose({"a": measured[:5, :5]}, measured[:5, :5]), "n ≥ 6"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def three(seed: int = 0, seeds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    made = [matrices(seed + k) for k in range(seeds)]
    p, m = (np.stack([one[i] for one in made], axis=2) for i in range(2))
    return p, m


def test_across_seeds_judges_by_another_seed() -> None:
    p, m = three()
    for same, pairs in (
        (False, [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]),
        (True, [(0, 0), (1, 1), (2, 2)]),
    ):
        got = comparison.across_seeds(p, m, same=same, draws=20, seed=4)
        for name in ("kendall", "spearman", "regret"):
            want = []
            for a, b in pairs:
                each = []
                for t in range(len(p)):
                    there = np.isfinite(p[t, :, a])
                    each.append(getattr(comparison.compare(p[t, there, a], m[t, there, b]), name))
                want.append(np.mean(each))
            assert getattr(got, name).value == pytest.approx(np.mean(want)), name
    resampled = [
        comparison.bootstrap(p[:, :, a], m[:, :, b], draws=20, seed=4).regret.draws for a, b in pairs
    ]
    assert np.allclose(got.regret.draws, np.mean(resampled, axis=0), equal_nan=True)


def test_the_ceiling_is_below_one_where_the_measurement_is_noisy() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(12, 20, 1))
    quiet, noisy = (truth + noise * rng.normal(size=(12, 20, 2)) for noise in (1e-6, 1.0))
    assert comparison.across_seeds(quiet, quiet, draws=5).kendall.value == pytest.approx(1, abs=1e-3)
    ceiling = comparison.across_seeds(noisy, noisy, draws=5)
    assert 0.2 < ceiling.kendall.value < 0.5  # two normals with correlation 1/2: tau = 1/3
    assert ceiling.regret.value > 0
    assert comparison.across_seeds(noisy, noisy, same=True, draws=5).kendall.value == pytest.approx(1)
    # a score that shares the luck of its own seed is flattered by it
    score = -(noisy + 0.3 * rng.normal(size=noisy.shape))
    flattered, honest = (
        comparison.across_seeds(score, noisy, kind="score", same=same, draws=5).kendall.value
        for same in (True, False)
    )
    assert flattered > honest + 0.2


def test_the_first_k_by_drawing_lots() -> None:
    """Against every order that the ties allow, one by one."""
    rng = np.random.default_rng(3)
    for _ in range(30):
        n, k = int(rng.integers(2, 6)), int(rng.integers(1, 7))
        x, y = rng.integers(0, 3, n) / 2, rng.integers(0, 3, n) / 3
        orders = [o for o in itertools.permutations(range(n)) if (np.diff(x[list(o)]) >= 0).all()]
        firsts = [y[list(o)[:k]].min() for o in orders]
        got = comparison.top(x[None], y[None], k)
        assert got.hit[0] == pytest.approx(np.mean([f == y.min() for f in firsts]))
        assert got.regret[0] == pytest.approx(np.mean(firsts) - y.min())
    one = comparison.top(x[None], y[None], 1)
    assert one.regret[0] == pytest.approx(comparison.compare(x, y).regret)
    assert comparison.top(-x[None], y[None], 1, kind="score").regret[0] == pytest.approx(one.regret[0])


def test_the_first_k_leave_out_the_missing() -> None:
    p, m = matrices(2)
    got = comparison.top(p, m, 99)
    assert got.hit.tolist() == [1] * 5
    assert got.regret.tolist() == [0] * 5
    single = [
        comparison.top(np.delete(p[t], t)[None], np.delete(m[t], t)[None], 2).regret[0] for t in range(5)
    ]
    assert comparison.top(p, m, 2).regret.tolist() == single


def test_weighted_tau_by_its_definition() -> None:
    """Vigna's sum over pairs, written out: the weight of a pair is 1/(rank + 1) of the one plus that of the other."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=9), rng.normal(size=9)

    def by_rank_of(z: np.ndarray) -> float:
        rank = np.argsort(np.argsort(z))  # 0 is the smallest distance or error: the best
        top = bottom = 0.0
        for i in range(9):
            for j in range(i):
                w = 1 / (rank[i] + 1) + 1 / (rank[j] + 1)
                top += w * np.sign((x[i] - x[j]) * (y[i] - y[j]))
                bottom += w
        return top / bottom

    want = (by_rank_of(x) + by_rank_of(y)) / 2
    assert comparison.weighted_kendall(x[None], y[None])[0] == pytest.approx(want)
    assert comparison.weighted_kendall(-x[None], y[None], kind="score")[0] == pytest.approx(want)
    assert comparison.weighted_kendall(np.zeros((1, 9)), y[None]).tolist() == [0]


def test_bad_shapes_of_seeds_are_refused() -> None:
    p, m = three()
    for call, message in (
        (lambda: comparison.across_seeds(p[:, :, 0], m[:, :, 0]), "seeds"),
        (lambda: comparison.across_seeds(p[:, :, :1], m[:, :, :1]), "at least two seeds"),
        (lambda: comparison.top(p[:, :, 0], m[:, :, 0], 0), "at least one"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    comparison.across_seeds(p[:, :, :1], m[:, :, :1], same=True, draws=2)


def test_a_table_becomes_arrays(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("seed,target,candidate,error,score\n0,a,probe,0.1,\n0,a,b,0.2,3\n1,b,probe,0.5,-1\n")
    got = comparison.read_measured(file)
    assert (got.targets, got.candidates, got.seeds) == (("a", "b"), ("probe", "b"), (0, 1))
    want = [[[0.1, np.nan], [0.2, np.nan]], [[np.nan, 0.5], [np.nan, np.nan]]]
    assert np.array_equal(got.columns["error"], want, equal_nan=True)
    assert np.array_equal(got.only(["b"])["score"][:, 0], [[3, np.nan], [np.nan, np.nan]], equal_nan=True)
    for text, message in (
        ("seed,target,candidate,e\n0,a,b,1\n0,a,b,2\n", "b → a occurs twice with seed 0"),
        ("seed,target,candidate,e\n0,a,b,x\n", "e of b → a: 'x' is no number"),
        ("seed,target,e\n0,a,1\n", "are needed"),
        ("seed,target,source,e\n", "are needed"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            comparison.read_measured(file)


def test_partial_correlation_by_hand_and_without_confounding() -> None:
    def interval(value: float) -> comparison.Interval:
        return comparison.Interval(value, value, value, np.full(10, value))

    found = comparison.partial(interval(0.5), interval(0.4), interval(0.3))
    want = (0.5 - 0.12) / np.sqrt((1 - 0.16) * (1 - 0.09))
    assert (found.value, found.low, found.high) == pytest.approx((want, want, want))
    assert comparison.partial(interval(0.5), interval(0.0), interval(0.0)).value == 0.5
    # all that x says of y it says through z
    assert comparison.partial(interval(0.12), interval(0.4), interval(0.3)).value == pytest.approx(0)
    short = comparison.Interval(0.5, 0.5, 0.5, np.full(9, 0.5))
    with pytest.raises(ValueError, match="numbers of draws differ"):
        comparison.partial(short, interval(0.1), interval(0.1))


def test_partial_correlation_of_a_confounded_pair_is_none() -> None:
    """Two noisy copies of z go together, and not given z; rank correlations leave a little, as z is no straight line."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 12))
    x, y = z + 0.7 * rng.normal(size=z.shape), z + 0.7 * rng.normal(size=z.shape)
    xy, zy, xz = (comparison.bootstrap(a, b, draws=50).kendall for a, b in ((x, y), (z, y), (x, z)))
    left = comparison.partial(xy, zy, xz)
    assert xy.low > 0.35
    assert abs(left.value) < 0.2
    assert left.draws.shape == (50,)
