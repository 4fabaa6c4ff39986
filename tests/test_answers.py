"""When two candidates of a run are not told apart, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from t2v import _answers


def test_few_test_images_tell_little_apart() -> None:
    """The draws agree to the digit, so that the images alone are uncertain: √(2 · 0.24 / n) and twice that."""
    a, b = np.array([0.40, 0.40]), np.array([0.45, 0.45])
    assert _answers._tied(a, b, 100)  # 2 · 0.07
    assert not _answers._tied(a, b, 10_000)  # 2 · 0.007
    assert not _answers._tied(b, a, 10_000)


def test_draws_that_disagree_tell_little_apart() -> None:
    """With images beyond number: differences of 0.1 and −0.02 have the mean 0.04 and a standard error of 0.06."""
    a, b = np.array([0.40, 0.30]), np.array([0.30, 0.32])
    assert _answers._tied(a, b, 10**9)
    assert not _answers._tied(a, b - np.array([0.0, 0.12]), 10**9)  # both 0.1: the draws are paired
    assert not _answers._tied(a[:1], b[:1], 10**9)  # a single draw says nothing of itself


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"best": "birds", "within_noise": list("abcde"), "fine_tuned": 0.1},
            "x: start from birds (error 0.090; the probe as it is 0.200, fine-tuned 0.100); "
            "within noise of it: a, b, c and 2 more; LogME picks a (0.040 worse, within noise)",
        ),
        (
            {"best": "a", "within_noise": [], "fine_tuned": None},
            "x: start from a (error 0.090; the probe as it is 0.200); LogME picks a (the best)",
        ),
    ],
)
def test_the_words(row: dict[str, object], words: str) -> None:
    common = {
        "target": "x",
        "error": 0.09,
        "frozen": 0.2,
        "picked": {"logme": "a"},
        "regret": {"logme": 0.04},
    }
    assert _answers.in_words({**common, **row}) == words
