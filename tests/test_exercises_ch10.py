"""The exercises of chapter 10: references by an independent route; test_exercises.py has what all chapters share."""

from __future__ import annotations

import numpy as np
import pytest

from t2v.exercises.ch10 import EXERCISES, crossed, relative_regret


def test_the_two_sources_tie_where_the_reference_begins_to_decide() -> None:
    alpha = EXERCISES["10.5"].reference
    assert 0.20 - alpha * 0.30 == pytest.approx(0.23 - alpha * 0.55)


def test_relative_regret_of_the_best_choice_is_none_and_of_a_worse_one_a_share() -> None:
    errors = np.array([0.4, 0.2, 0.5])
    assert relative_regret(np.array([3.0, 1.0, 2.0]), errors) == 0
    assert relative_regret(np.array([3.0, 2.0, 1.0]), errors) == pytest.approx(1.5)


def test_crossing_the_seeds_takes_their_luck_away() -> None:
    rng = np.random.default_rng(0)
    luck = rng.normal(size=(30, 12, 3))  # of errors that are nothing else
    assert crossed(luck, luck, same=True) == pytest.approx(1)
    assert abs(crossed(luck, luck)) < 0.1
    order = np.arange(4.0)[None, :, None] * np.ones((2, 1, 3))
    assert crossed(order, -order) == pytest.approx(-1)
