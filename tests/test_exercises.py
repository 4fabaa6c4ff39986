"""Exercises that check themselves: what the check says, and every chapter's solutions and mistakes."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from t2v import exercises
from t2v.exercises import Exercise, check


def entropy(p: np.ndarray) -> float:
    return float(-(p * np.log2(p)).sum())


def draw(rng: np.random.Generator) -> tuple[np.ndarray]:
    return (rng.dirichlet(np.ones(4)),)


def matrix(rng: np.random.Generator) -> tuple[np.ndarray]:
    return (rng.normal(size=(3, 3)),)


EXAMPLES = {
    "99.1": Exercise(entropy, draw, {"You left the minus out.": lambda p: -entropy(p)}),
    "99.2": Exercise(0.5, mistakes={"That is the number of bits.": 2}),
    "99.3": Exercise(lambda a: np.cumsum(a, axis=0), matrix),
    "99.4": Exercise(lambda a: (a.sum(0), float(a.sum())), matrix),
    "99.5": Exercise(lambda a: a.sum(0), matrix, {"You summed everything.": lambda a: a.sum()}),
    "99.6": Exercise(lambda a: a.T @ np.diag([1, 2, 3]), matrix),
}


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("t2v.exercises.ch99")
    module.EXERCISES = EXAMPLES
    module.__spec__ = types.SimpleNamespace(name=module.__name__)
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize(
    ("number", "answer", "message"),
    [
        ("99.1", entropy, "Correct."),
        ("99.1", lambda p: -entropy(p), "You left the minus out."),
        ("99.1", lambda p: entropy(p) * np.log(2), "in nats, and bits are asked for"),
        ("99.1", lambda p: entropy(p) / np.log(2), "in bits, and nats are asked for"),
        ("99.1", lambda p: 4 * entropy(p), "4 times the right one, every time"),
        ("99.1", lambda p: entropy(p) + 0.1, "Not yet: for one hidden input you gave"),
        ("99.1", lambda p: float("nan"), "not finite"),
        ("99.1", lambda p: None, "forget to return"),
        ("99.1", lambda p: "two bits", "is a str that cannot be read as numbers"),
        ("99.1", lambda p: p / 0 if p is None else [][0], "raised IndexError"),
        ("99.1", lambda: 0, "raised TypeError"),
        ("99.1", 0.3, "wants a function; this is a float"),
        ("99.1", lambda p: p, r"The shape is \(4,\), and should be \(\)"),
        ("99.2", 0.5, "Correct."),
        ("99.2", 2, "That is the number of bits."),
        ("99.2", -0.5, "Not yet"),
        ("99.2", None, "forget to return"),
        ("99.2", entropy, "wants a value; this is a function"),
        ("99.3", lambda a: -np.cumsum(a, axis=0), "The sign is wrong."),
        ("99.4", lambda a: (a.sum(0), float(a.sum())), "Correct."),
        ("99.4", lambda a: [a.sum(0), a.sum()], "Correct."),
        ("99.4", lambda a: a.sum(0), r"has 1 part\(s\), and should have 2"),
        ("99.5", lambda a: a.sum(), "You summed everything."),
        ("99.6", lambda a: (a.T @ np.diag([1, 2, 3])).T, "the axes are swapped"),
    ],
)
def test_check_says_what_is_off(number: str, answer: Any, message: str) -> None:
    result = check(number, answer)
    assert bool(result) == (message == "Correct.")
    assert repr(result).startswith("✓" if result else "✗")
    assert re.search(message if "\\" in message else re.escape(message), result.message), result.message


def test_swapped_shape_is_named() -> None:
    EXAMPLES["99.7"] = Exercise(lambda a: a[:2], matrix)
    try:
        assert (
            check("99.7", lambda a: a[:2].T).message
            == "The shape is (3, 2), and should be (2, 3). Are the axes swapped?"
        )
    finally:
        del EXAMPLES["99.7"]


def test_a_tensor_counts_as_an_array() -> None:
    torch = pytest.importorskip("torch")
    assert check("99.2", torch.tensor(0.5, requires_grad=True))


def test_an_answer_that_changes_its_input_is_judged_fairly() -> None:
    def spoil(p: np.ndarray) -> float:
        value = entropy(p)
        p[:] = 0
        return value

    assert check("99.1", spoil)


def test_hidden_inputs_depend_on_the_seed_only() -> None:
    seen: list[list[np.ndarray]] = []
    for seed in (0, 0, 1):
        seen.append([])
        check("99.1", lambda p: seen[-1].append(p) or 0.0, seed=seed)
    assert np.allclose(seen[0], seen[1])
    assert not np.allclose(seen[0], seen[2])
    assert len(seen[0]) == 5


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("98.1", "no chapter"),
        ("three", "write e.g. '3.2'"),
        ("99.9", "chapter 99 has 99.1, 99.2"),
        ("", "no chapter"),
    ],
)
def test_unknown_numbers_are_refused(number: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(number, 0)


@pytest.mark.parametrize("seed", range(30))
def test_no_seed_lets_a_known_mistake_pass(seed: int) -> None:
    """With two trials, every fourth pair of inputs would not show the mistake."""
    relu = Exercise(
        lambda x: max(x, 0.0), lambda rng: (rng.choice([-1, 1]) * rng.uniform(1, 2),), {"cut": lambda x: x}
    )
    drawn = exercises.hidden(relu, trials=2, seed=seed)
    assert len(drawn) == 2
    assert exercises.compare(relu, drawn, exercises.answers(lambda x: x, drawn)).message == "cut"
    assert drawn == exercises.hidden(relu, trials=2, seed=seed)


def test_inputs_that_cannot_show_a_mistake_are_drawn_all_the_same() -> None:
    blind = Exercise(abs, lambda rng: (rng.uniform(),), {"the sign": lambda x: x})
    assert len(exercises.hidden(blind)) == 5


def test_trials_must_be_positive() -> None:
    with pytest.raises(ValueError, match="trials is 0; at least 1"):
        check("99.1", entropy, trials=0)


#: Every exercise of every chapter that has some.
WRITTEN = [
    pytest.param(number, exercise, id=number)
    for chapter in exercises.chapters().values()
    for number, exercise in chapter.items()
]


@pytest.mark.parametrize(("number", "exercise"), WRITTEN)
def test_reference_solutions_pass(number: str, exercise: Exercise) -> None:
    assert check(number, exercise.reference).message == "Correct."


@pytest.mark.parametrize(("number", "exercise"), WRITTEN)
def test_each_mistake_gets_its_own_message(number: str, exercise: Exercise) -> None:
    for message, wrong in exercise.mistakes.items():
        result = check(number, wrong)
        assert not result, f"{number}: the mistake {message!r} passes"
        assert result.message == message


@pytest.mark.parametrize(("number", "exercise"), WRITTEN)
def test_an_untouched_answer_gets_a_message(number: str, exercise: Exercise) -> None:
    empty: Callable[..., None] | None = (lambda *_: None) if exercise.inputs else None
    assert "forget to return" in check(number, empty).message


def test_numbers_belong_to_their_chapter() -> None:
    for chapter, found in exercises.chapters().items():
        assert found
        assert all(number.partition(".")[0] == str(chapter) for number in found)
