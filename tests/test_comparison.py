"""Rank agreement, regret and their bootstrap, against explicit resampling and hand-made cases."""

from __future__ import annotations

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
