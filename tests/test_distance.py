"""Distances: closed forms, invariances, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.cluster import hierarchy
from scipy.spatial import distance as peer

from t2v import distance

POSITIVE = arrays(float, st.integers(4, 12), elements=st.floats(1e-6, 1e6))
PAIRS = st.integers(4, 12).flatmap(
    lambda n: st.tuples(
        *[arrays(float, n, elements=st.floats(0, 1e6).map(lambda v: v if v > 1e-6 else 0.0))] * 2
    )
)


def test_symmetric_by_hand() -> None:
    a, b = np.array([1.0, 3.0]), np.array([3.0, 1.0])
    # a/(a+b) = (¼, ¾), b/(a+b) = (¾, ¼): cos = (3/16 + 3/16)/(10/16) = 0.6
    assert distance.symmetric(a, b) == pytest.approx(0.4, abs=1e-12)
    assert distance.cosine(a, b) == pytest.approx(1 - 6 / 10, abs=1e-12)
    # unequal scales: (2/3, 2/3) against (1/3, 1/3) point the same way
    assert distance.symmetric([2.0, 2.0], [1.0, 1.0]) == pytest.approx(0, abs=1e-12)


def test_filters_that_neither_task_uses_are_skipped() -> None:
    a, b = np.array([1.0, 3.0, 0.0]), np.array([3.0, 1.0, 0.0])
    assert distance.symmetric(a, b) == pytest.approx(0.4, abs=1e-12)
    assert distance.symmetric([1.0, 0.0], [0.0, 1.0]) == 1


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
