"""The exercises of chapter 2: references by an independent route; test_exercises.py has what all chapters share."""

import itertools
import math

import numpy as np
import pytest

from t2v import bounds
from t2v.exercises import ch02


def test_margin_is_the_packages() -> None:
    assert ch02.margin(7.0, 0.03, 900) == pytest.approx(bounds.pac(7.0, 0.03, 900, "two_sided"))


def test_bit_budget_is_the_last_that_fits() -> None:
    b = ch02.bit_budget()
    assert bounds.pac(b * math.log(2), 0.05, 60_000, "two_sided") <= 0.05
    assert bounds.pac((b + 1) * math.log(2), 0.05, 60_000, "two_sided") > 0.05


def test_consistent_margin_holds_exactly() -> None:
    # 50 independent hypotheses: P(one of risk > ε has no error on m samples) ≤ |H| (1 − ε)^m ≤ δ.
    epsilon = ch02.consistent_margin(math.log(50), 0.1, 200)
    assert 50 * math.exp(-epsilon * 200) == pytest.approx(0.1)
    assert 1 - (1 - (1 - epsilon) ** 200) ** 50 <= 0.1


def test_occam_is_pac_of_a_uniform_code() -> None:
    # Eight hypotheses with three bits each.
    assert ch02.occam(3, 0.1, 100) == pytest.approx(bounds.pac(math.log(8), 0.1, 100))


def test_rademacher_of_all_tables_is_one_and_of_one_hypothesis_is_zero() -> None:
    tables = np.array(list(itertools.product([-1.0, 1.0], repeat=5)))
    assert ch02.rademacher(tables, tables) == pytest.approx(1)
    assert ch02.rademacher(tables[:1], tables) == pytest.approx(0)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_intervals_label_n_points_in_1_plus_n_choose_ways(n: int) -> None:
    cuts = range(n + 1)
    rows = [[a <= i < b for i in range(n)] for a, b in itertools.product(cuts, cuts)]
    assert ch02.labellings(np.array(rows, float)) == 1 + n * (n + 1) // 2
