"""The exercises of chapter 1: references by an independent route; test_exercises.py has what all chapters share."""

import math

import numpy as np
import pytest

from t2v import estimators, information
from t2v.exercises import ch01


@pytest.mark.parametrize("seed", range(10))
def test_references_are_the_packages(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (p,), (r, q), (joint,) = ch01._one(rng), ch01._two(rng), ch01._joint(rng)
    assert ch01.entropy_bits(p) == pytest.approx(information.entropy(p), abs=1e-12)
    assert ch01.kl_bits(r, q) == pytest.approx(information.kl_divergence(r, q), abs=1e-12)
    expected = information.conditional_entropy(joint)
    assert ch01.conditional_entropy_bits(joint) == pytest.approx(expected, abs=1e-12)
    joint, channel = ch01._joint_and_channel(rng)
    expected = information.mutual_information(information.push_forward(joint, channel))
    assert ch01.relevant_bits(joint, channel) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_miller_madow_of_a_table_is_that_of_its_samples(seed: int) -> None:
    (table,) = ch01._table(np.random.default_rng(seed))
    x, y = (np.repeat(axis.ravel(), table.ravel()) for axis in np.indices(table.shape))
    assert ch01.miller_madow_bits(table) == pytest.approx(estimators.plug_in(x, y, "miller_madow"), abs=1e-12)


def test_values_of_the_pencil_exercises() -> None:
    assert ch01.noisy_copy() == pytest.approx(
        information.mutual_information(np.array([[0.4, 0.1], [0.1, 0.4]])), abs=1e-12
    )
    assert math.log2(ch01.batch_for()) == 12


@pytest.mark.parametrize("seed", range(20))
def test_a_function_of_x_has_no_more_entropy_than_x(seed: int) -> None:
    """1.8: H(f(X)) ≤ H(X), with equality when f tells the outcomes of positive probability apart."""
    rng = np.random.default_rng(seed)
    (p,) = ch01._one(rng)
    merge = np.eye(len(p))[rng.integers(len(p), size=len(p))]
    rename = np.eye(len(p))[rng.permutation(len(p))]
    assert information.entropy(p @ merge) <= information.entropy(p) + 1e-12
    assert information.entropy(p @ rename) == pytest.approx(information.entropy(p), abs=1e-12)


def test_capitals_tell_more_than_small_letters() -> None:
    """1.9: the solution's comparison."""
    capitals = information.mutual_information(information.example_joint()[0])
    small = information.mutual_information(information.example_joint("abcdefghijklmnopqrstuvwxyz")[0])
    assert capitals > small + 0.1
