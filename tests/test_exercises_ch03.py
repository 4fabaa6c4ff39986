"""The exercises of chapter 3: references by an independent route; test_exercises.py has what all chapters share."""

import numpy as np
import pytest

from t2v import bottleneck, information
from t2v.exercises import ch03


@pytest.mark.parametrize("seed", range(8))
def test_references_are_the_packages(seed: int) -> None:
    rng = np.random.default_rng(seed)
    joint, encoder, beta = ch03._with_encoder(rng)
    expected = bottleneck.evaluate(joint, encoder, beta)
    assert ch03.objective_bits(joint, encoder, beta) == pytest.approx(expected.objective, abs=1e-10)
    step = bottleneck.blahut_arimoto(joint, beta, encoder, max_iter=1)
    np.testing.assert_allclose(ch03.bottleneck_round(joint, encoder, beta), step.encoder, atol=1e-12)
    assert ch03.critical_value(joint) == pytest.approx(bottleneck.critical_beta(joint), rel=1e-9)
    rho, beta = ch03._two_numbers(rng)
    expected = bottleneck.gaussian([[1]], [[rho]], [[1]], beta)
    assert ch03.gaussian_bits(rho, beta) == pytest.approx(expected.i_tx, abs=1e-12)
    joint, model = ch03._joint_and_model(rng)
    rows = joint / joint.sum(axis=1, keepdims=True)
    loss = [information.cross_entropy(p, q) for p, q in zip(rows, model, strict=True)]
    assert ch03.loss_bits(joint, model) == pytest.approx(joint.sum(axis=1) @ loss, abs=1e-12)


def test_values_of_the_pencil_exercises() -> None:
    copy = np.array([[0.45, 0.05], [0.05, 0.45]])
    assert ch03.critical_of_copy() == pytest.approx(bottleneck.critical_beta(copy), rel=1e-12)
    # Label, cap and picture: without a cap the picture is the label, with it it is black.
    world = np.zeros((2, 2, 3))
    world[0, 0, 0] = world[1, 0, 1] = 0.5 * 0.75
    world[:, 1, 2] = 0.5 * 0.25
    best = bottleneck.solve(world.sum(axis=1).T, 1e4)
    assert best.i_ty == pytest.approx(0.75, abs=1e-9)
    about_cap = information.mutual_information(information.push_forward(world.sum(axis=0).T, best.encoder))
    assert ch03.bits_about_the_cap() == pytest.approx(about_cap, abs=1e-9)
