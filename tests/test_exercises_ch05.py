"""The exercises of chapter 5: references by an independent route; test_exercises.py has what all chapters share."""

import math

import numpy as np
import pytest

from t2v import bounds, information, plane
from t2v.exercises import ch05


def test_layer_bits_and_noisy_upper_are_the_packages():
    rng = np.random.default_rng(0)
    t = rng.uniform(-1, 1, size=(60, 1))
    cells = np.minimum((t[:, 0] + 1) / 2 * 9, 8).astype(int)
    y = np.zeros(60, int)
    assert ch05.layer_bits(cells) == pytest.approx(plane.binned_information(t, y, bins=9, limits=(-1, 1))[0])
    assert ch05.noisy_upper(t, 0.03) == pytest.approx(plane.kde_bounds(t, y, noise_var=0.03).i_xt_upper)


def test_samples_needed_inverts_the_bound():
    m = ch05.samples_needed(6.0, 0.1, 0.05)
    assert bounds.information(6.0, 0.05, m) == pytest.approx(0.1)


def test_type_bits_counts_sequences():
    assert ch05.type_bits([2, 1, 1]) == pytest.approx(math.log2(math.factorial(4) / 2))


def test_memoriser_loss_is_that_of_the_packages_memoriser():
    labels, sample = np.array([0, 1, 1, 0, 2, 1]), np.arange(6)
    point = bounds.sample_plane(bounds.index_memoriser(labels, sample), labels, sample)
    h_y = information.entropy(np.bincount(labels) / 6)
    assert ch05.memoriser_loss(labels, 0.4) == pytest.approx(h_y - point.i_ty + 0.4 * point.i_tx)


def test_fall():
    assert ch05.fall([1.0, 4.0, 0.5, 3.0]) == pytest.approx(1.0)
