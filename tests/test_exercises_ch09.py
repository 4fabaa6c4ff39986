"""The exercises of chapter 9: references by an independent route; test_exercises.py has what all chapters share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon, pdist, squareform

from t2v import distance
from t2v.exercises.ch09 import EXERCISES, centre, curve_at, given, jensen_shannon, nearest_share


def test_the_solutions_agree_with_the_package_and_with_scipy() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 3))
    d, tree = squareform(pdist(x)), np.round(2 * squareform(pdist(rng.normal(size=(8, 3)))))
    labels = rng.integers(0, 3, 8)
    assert nearest_share(d, labels) == distance.neighbour_agreement(d, labels, permutations=1)[0]
    assert curve_at(d, tree, 3) == pytest.approx(distance.neighbourhood_curve(d, tree)[2], abs=1e-12)
    x = x - x.mean(0)
    assert centre(d) == pytest.approx(x @ x.T, abs=1e-12)
    bit = rng.integers(0, 2, 8)
    control = np.not_equal.outer(bit, bit).astype(float)
    assert given(d, tree, control) == pytest.approx(
        distance.mantel(d, tree, control=control, permutations=1)[0]
    )
    a, b = rng.gamma(0.5, size=(2, 12))
    assert jensen_shannon(a, b) == pytest.approx(jensenshannon(a, b) ** 2, abs=1e-12)


def test_two_noisy_embeddings_of_one_task_are_as_far_apart_as_exercise_6_says() -> None:
    rng, s = np.random.default_rng(0), EXERCISES["9.6"].reference
    one, two = np.exp(rng.normal(size=100_000) + s * rng.normal(size=(2, 100_000)))
    assert distance.symmetric(one, two) == pytest.approx(0.04, rel=0.08)  # to second order in s
