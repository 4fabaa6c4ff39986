"""Exercises that check themselves: what the check says, and every chapter's solutions and mistakes."""

from __future__ import annotations

import itertools
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2v import exercises
from t2v.exercises import Exercise, _explain, check


def entropy(p: np.ndarray) -> float:
    return float(-(p * np.log2(p)).sum())


def draw(rng: np.random.Generator) -> tuple[np.ndarray]:
    return (rng.dirichlet(np.ones(4)),)


def matrix(rng: np.random.Generator) -> tuple[np.ndarray]:
    return (rng.normal(size=(3, 3)),)


EXAMPLES = {
    "99.1": Exercise(entropy, draw, {"You left the minus out.": lambda p: -entropy(p)}),
    "99.2": Exercise(0.5, mistakes={"That is the number of bits.": 2}, hint="Toss it.", unit="bits"),
    "99.3": Exercise(lambda a: np.cumsum(a, axis=0), matrix),
    "99.4": Exercise(lambda a: (a.sum(0), float(a.sum())), matrix),
    "99.5": Exercise(lambda a: a.sum(0), matrix, {"You summed everything.": lambda a: a.sum()}),
    "99.6": Exercise(lambda a: a.T @ np.diag([1, 2, 3]), matrix),
    "99.7": Exercise(lambda a: a[:2], matrix),
    "99.8": Exercise(lambda t: t.mean(), lambda rng: (rng.normal(size=(5, 4, 3)),)),
    "99.10": Exercise(np.log, lambda rng: (rng.uniform(0.1, 9),), {"The root.": np.sqrt}),
}


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("t2v.exercises.ch99")
    module.EXERCISES = EXAMPLES
    module.__spec__ = types.SimpleNamespace(name=module.__name__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(exercises, "_tries", {})


@pytest.mark.parametrize(
    ("number", "answer", "message"),
    [
        ("99.1", entropy, "Correct."),
        ("99.1", lambda p: -entropy(p), "You left the minus out."),
        ("99.1", lambda p: entropy(p) * np.log(2), "in nats, and bits are asked for"),
        ("99.1", lambda p: entropy(p) / np.log(2), "in bits, and nats are asked for"),
        ("99.1", lambda p: 4 * entropy(p), "4 times the right one, every time"),
        (
            "99.1",
            lambda p: -entropy(p) * np.log(2),
            "Two things at once: the sign is wrong, and it is in nats",
        ),
        (
            "99.1",
            lambda p: entropy(p) * np.log(4),
            "in nats, and bits are asked for .*, and it is twice what",
        ),
        ("99.1", lambda p: entropy(p) * np.log10(2), "logarithms have base 10"),
        ("99.1", lambda p: entropy(p) + 0.1, "too large by 0.1, every time"),
        ("99.1", lambda p: entropy(p) + p[0], "Not yet: for one hidden input you gave"),
        ("99.1", lambda p: entropy(p) + 1e-5 * p[0], "That is close: a floor"),
        ("99.1", lambda p: 1 / entropy(p), "upside down"),
        ("99.1", lambda p: entropy(p) ** 2, "square of the right one"),
        ("99.1", lambda p: 1 - entropy(p), "one minus the right one"),
        ("99.1", lambda p: float("nan"), "not finite"),
        ("99.1", lambda p: None, "forget to return"),
        ("99.1", lambda p: "two bits", "is a str that cannot be read as numbers"),
        ("99.1", lambda p: p / 0 if p is None else [][0], "raised IndexError"),
        ("99.1", lambda: 0, "calls your function with 1 argument(s), (p), and yours is defined with ()."),
        ("99.1", lambda p: p + "bits", "raised UFuncTypeError"),
        ("99.1", 0.3, "wants a function; this is a float"),
        ("99.1", lambda p: p, r"The shape is \(4,\), and should be \(\)"),
        ("99.2", 0.5, "Correct."),
        ("99.2", 2, "That is the number of bits."),
        ("99.2", -0.5, "Not yet. The sign is wrong."),
        ("99.2", 0.347, "Not yet. It is in nats"),
        ("99.2", -0.3466, "Not yet. Two things at once: the sign is wrong, and it is in nats"),
        ("99.2", 1.0, "Not yet. It is twice"),
        ("99.2", 50, "Not yet. That is in per cent"),
        ("99.2", float("inf"), "Not yet. It is not finite."),
        ("99.2", [0.5, 0.5], r"Not yet. The shape is \(2,\)"),
        ("99.2", None, "forget to return"),
        ("99.2", entropy, "wants a value; this is a function"),
        ("99.3", lambda a: -np.cumsum(a, axis=0), "The sign is wrong."),
        ("99.4", lambda a: (a.sum(0), float(a.sum())), "Correct."),
        ("99.4", lambda a: [a.sum(0), a.sum()], "Correct."),
        ("99.4", lambda a: a.sum(0), r"has 1 part\(s\), and should have 2"),
        ("99.5", lambda a: a.sum(), "You summed everything."),
        ("99.6", lambda a: (a.T @ np.diag([1, 2, 3])).T, "the axes are swapped"),
        ("99.6", lambda a: -(a.T @ np.diag([1, 2, 3])).T, "the axes are swapped. The sign is wrong."),
        ("99.7", lambda a: a[:2].T, "The shape is (3, 2), and should be (2, 3). Are the axes swapped?"),
        ("99.10", lambda x: max(0, np.log(x)), "do not cut it off at 0"),
        ("99.10", lambda x: abs(np.log(x)), "absolute value"),
        ("99.10", lambda x: -2 * np.sqrt(x), "The root. And: the sign is wrong; it is twice"),
    ],
)
def test_check_says_what_is_off(number: str, answer: Any, message: str) -> None:
    result = check(number, answer)
    assert bool(result) == (message == "Correct.")
    assert repr(result).startswith("✓" if result else "✗")
    assert message in result.message or re.search(message, result.message), result.message


def test_the_fallback_shows_the_input_and_the_entry() -> None:
    message = check("99.6", lambda a: a.T @ np.diag([1, 2, 3]) + np.eye(3)[1] * np.eye(3)[:, [2]]).message
    found = re.fullmatch(
        r"Not yet: for one hidden input you gave (\S+) at \[2, 1\], and (\S+) is right \(1 of 9 entries differ\)\. "
        r"The input: a = \[(.*)\]\.",
        message,
    )
    assert found, message
    shown = np.array(re.findall(r"-?[\d.]+(?:e-\d+)?", found[3]), dtype=float).reshape(3, 3)
    (first, *_) = exercises.hidden(EXAMPLES["99.6"])
    np.testing.assert_allclose(shown, first[0], rtol=1e-3)
    assert float(found[2]) == pytest.approx(2 * shown[1, 2], rel=1e-3)
    assert float(found[1]) == pytest.approx(float(found[2]) + 1, abs=1e-2)


def test_the_fallback_shows_the_first_input_that_fails() -> None:
    inputs = exercises.hidden(EXAMPLES["99.1"])
    third = inputs[2][0]
    message = check("99.1", lambda p: entropy(p) + np.array_equal(p, third)).message
    assert f"p = [{', '.join(f'{x:.4g}' for x in third)}]" in message


def test_the_fallback_gives_the_shape_of_a_large_input() -> None:
    assert "The input: t = an array of shape (5, 4, 3)." in check("99.8", lambda t: np.median(t)).message


def test_the_fallback_tells_the_parts_of_a_tuple_apart() -> None:
    message = check("99.4", lambda a: (a.sum(0), float(a.max()))).message
    assert re.search(r"you gave \S+ of part 2, and \S+ is right\. The input", message), message


@given(st.floats(-1e9, 1e9), st.floats(-1e-3, 1e-3))
def test_two_numbers_that_differ_never_look_alike(a: float, off: float) -> None:
    b = a * (1 + off) + off
    if a != b:
        assert len(set(_explain.told_apart(a, b))) == 2


def test_a_number_by_hand_is_not_given_away_and_the_third_try_gets_a_hint() -> None:
    first, again, second, third, fourth = (check("99.2", x).message for x in (0.4, 0.4, 0.61, 0.3, 0.3))
    assert first == again == second == "Not yet."  # a repeated answer is one try
    assert third == fourth == "Not yet. Hint: Toss it."
    assert check("99.2", 2).message == "Not yet. That is the number of bits. Hint: Toss it."
    assert check("99.2", 0.5).message == "Correct."


def test_what_is_no_number_is_no_try() -> None:
    for answer in (None, "a", "b", entropy, object()):
        check("99.2", answer)
    assert check("99.2", 0.4).message == "Not yet."


def test_tries_belong_to_an_exercise_and_a_grader_leaves_no_trace() -> None:
    exercise = EXAMPLES["99.2"]
    for wrong in (0.1, 0.2, 0.3, 0.4):
        result = exercises.compare(exercise, [()], exercises.answers(wrong, [()]))
        assert result.message == "Not yet."
        check("9.6", wrong)
    assert check("99.2", 0.41).message == "Not yet."


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
        ("three", "accepted: e.g. '3.2'"),
        ("P3.2", "a problem of a problem set"),
        ("99.9", "chapter 99 has 99.1, 99.2"),
        ("", "no chapter"),
    ],
)
def test_unknown_numbers_are_refused(number: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(number, 0)


def test_a_number_without_quotes_is_refused() -> None:
    with pytest.raises(TypeError, match=r"9\.1 is a float; accepted: a string"):
        check(9.1, 0.6)


def test_the_answer_to_a_problem_of_the_same_number_is_not_called_wrong() -> None:
    assert "(joint, encoder, beta)" in check("3.1", lambda e: 1 / (1 - e)).message
    assert "problem 3.1 of a problem set" in check("3.1", lambda e: 1 / (1 - e)).message


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
    with pytest.raises(ValueError, match="trials: 0; accepted: 1 or more"):
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


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("number", "exercise"), WRITTEN)
def test_each_mistake_gets_its_own_message(number: str, exercise: Exercise) -> None:
    arguments = exercises.hidden(exercise)
    for message, wrong in exercise.wrong():
        result = exercises.compare(exercise, arguments, exercises.answers(wrong, arguments))
        assert not result, f"{number}: the mistake {message!r} passes"
        assert result.message == (message if exercise.inputs else f"Not yet. {message}")


def row(answer: Any, arguments: list[tuple[Any, ...]]) -> np.ndarray:
    """All numbers of an answer to all inputs, behind their shapes, so that only like is compared with like."""
    values = [answer(*a) if callable(answer) else answer for a in arguments]
    parts = [np.asarray(part, float) for v in values for part in (v if isinstance(v, tuple) else (v,))]
    return np.concatenate([np.append(np.shape(p), np.ravel(p)) for p in parts])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("number", "exercise"), WRITTEN)
def test_mistakes_are_told_from_each_other_and_from_the_solution_whatever_the_seed(
    number: str, exercise: Exercise
) -> None:
    for seed in range(20 if exercise.inputs else 1):
        arguments = exercises.hidden(exercise, seed=seed)
        rows = [(m, row(f, arguments)) for m, f in [("", exercise.reference), *exercise.wrong()]]
        for (a, x), (b, y) in itertools.combinations(rows, 2):
            alike = len(x) == len(y) and np.allclose(x, y, rtol=exercise.tolerance, atol=exercise.tolerance)
            assert a == b or not alike, f"{number}, seed {seed}: {a!r} and {b!r} cannot be told apart"


VALUES = [p for p in WRITTEN if p.values[1].inputs is None]


def forms(number: float) -> set[str]:
    """The number at every precision up to six digits, as far as a reader would take it for the number."""
    every = {f"{number:.{k}{kind}}" for k in range(1, 7) for kind in "gf"} | {repr(number)}
    return {form for form in every if abs(float(form) - number) < 0.1 * abs(number)}


@pytest.mark.parametrize(("number", "exercise"), VALUES)
def test_a_number_by_hand_is_never_given_away(number: str, exercise: Exercise) -> None:
    """Messages and hint are read by themselves, and after 200 wrong answers of all sizes and to all digits."""
    rng, right = np.random.default_rng(0), float(exercise.reference)
    wrong = [
        *rng.uniform(0, 3 * right, 70),
        *rng.normal(right, 0.2 * right, 70),
        *(10 ** rng.normal(size=60)),
    ]
    wrong += [round(x, 2) for x in wrong[:50]]
    wrong += [right * f for f in (-1, 2, 0.5, 100, np.log(2), -np.log(2), 1 / np.log(2), np.log10(2))]
    wrong += [1 - right, 1 / right, right**2, np.sqrt(right), *(w for _, w in exercise.wrong())]
    heard = {exercise.hint, *exercise.mistakes}
    for answer in wrong:
        if not np.isclose(answer, right, rtol=exercise.tolerance, atol=exercise.tolerance):
            heard.add(check(number, answer).message)
    assert exercise.hint
    assert any(exercise.hint in message for message in heard - {exercise.hint})
    for message, form in itertools.product(heard, forms(right)):
        assert not re.search(rf"(?<![\d.]){re.escape(form)}(?!\.?\d)", message), (form, message)
        assert "hidden input" not in message


def test_a_nan_is_not_hidden() -> None:
    """1.1: nansum fails; a mask is right, with a remark; what lets a NaN through, or refuses it, is right."""

    def summed(p: np.ndarray) -> float:
        return -np.nansum(p * np.log2(p))

    def replaced(p: np.ndarray) -> float:
        return -np.where(p > 0, p * np.log2(p), 0).sum()

    def masked(p: np.ndarray) -> float:
        return -(p[p > 0] * np.log2(p[p > 0])).sum()

    def refusing(p: np.ndarray) -> float:
        if not np.isfinite(p).all():
            raise ValueError("p has a NaN")
        return masked(p)

    with np.errstate(all="ignore"):
        for seed in range(20):
            for hiding in (summed, replaced):
                assert not check("1.1", hiding, seed=seed)
                assert "computed and then hidden" in check("1.1", hiding, seed=seed).message
    assert check("1.1", masked)
    assert "!= 0" in check("1.1", masked).message
    assert (
        check("1.1", lambda p: masked(p[p != 0]) if not np.isnan(p).any() else np.nan).message == "Correct."
    )
    assert check("1.1", refusing).message == "Correct."


def test_a_nan_of_q_is_not_hidden_in_a_divergence() -> None:
    def summed(p: np.ndarray, q: np.ndarray) -> float:
        return np.nansum(p * np.log2(p / q))

    with np.errstate(all="ignore"):
        for seed in range(20):
            assert "computed and then hidden" in check("1.2", summed, seed=seed).message
    assert check("1.2", lambda p, q: (p[p > 0] * np.log2(p[p > 0] / q[p > 0])).sum()).message == "Correct."


@pytest.mark.parametrize(("number", "exercise"), WRITTEN)
def test_an_untouched_answer_gets_a_message(number: str, exercise: Exercise) -> None:
    empty: Callable[..., None] | None = (lambda *_: None) if exercise.inputs else None
    assert "forget to return" in check(number, empty).message


def test_numbers_belong_to_their_chapter() -> None:
    for chapter, found in exercises.chapters().items():
        assert found
        assert all(number.partition(".")[0] == str(chapter) for number in found)
