"""Rankings from embeddings, and the measured gain."""

from __future__ import annotations

import math

import numpy as np
import pytest

from t2v import distance, transfer
from t2v.embedding import TaskEmbedding, trivial


def fake(name: str, values: np.ndarray, probe: str = "p") -> TaskEmbedding:
    return TaskEmbedding(np.asarray(values, float), {"a": slice(0, 10), "b": slice(10, 30)}, name, probe)


@pytest.fixture
def some() -> list[TaskEmbedding]:
    rng = np.random.default_rng(0)
    return [fake(name, rng.gamma(0.5, size=30)) for name in "tuvwx"]


def test_rank_sorts_by_the_definition(some: list[TaskEmbedding]) -> None:
    target, *sources = some
    for alpha in (0.0, 0.15, 3.0):
        rows = transfer.rank(target, sources, alpha=alpha)
        t0 = trivial(target)
        want = {s.task: distance.symmetric(s, target) - alpha * distance.symmetric(s, t0) for s in sources}
        assert [r.source for r in rows] == sorted(want, key=want.get)
        for row in rows:
            assert row.d_asym == pytest.approx(want[row.source], abs=1e-12)
            assert row.norm == next(s.norm for s in sources if s.task == row.source)


def test_a_copy_of_the_target_comes_first(some: list[TaskEmbedding]) -> None:
    target, *sources = some
    copy = fake("copy", target.values * (1 + 1e-6))
    assert transfer.rank(target, [*sources, copy])[0].source == "copy"


def test_reference_may_be_any_embedding(some: list[TaskEmbedding]) -> None:
    target, t0, *sources = some
    row = transfer.rank(target, sources, reference=t0, alpha=1.0)[0]
    source = next(s for s in sources if s.task == row.source)
    assert row.d_asym == pytest.approx(distance.symmetric(source, target) - distance.symmetric(source, t0))


def test_bad_input_is_refused(some: list[TaskEmbedding]) -> None:
    target, *sources = some
    for call, message in [
        (lambda: transfer.rank(target, []), "at least one"),
        (lambda: transfer.rank(target, [sources[0], sources[0]]), "u given more than once"),
        (lambda: transfer.rank(target, sources, reference="own"), "accepted: 'trivial'"),
        (lambda: transfer.rank(target, sources, alpha=-0.1), "alpha"),
        (lambda: transfer.rank(target, [fake("z", np.ones(30), "other")]), "different probes"),
        (lambda: transfer.gain(0.1, 0.0), "error_scratch: it is 0"),
        (lambda: transfer.gain(math.nan, 0.1), "error_transfer"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_gain_is_relative_and_negative_where_transfer_helps() -> None:
    assert transfer.gain(0.1, 0.4) == pytest.approx(-0.75)
    assert transfer.gain(0.6, 0.4) == pytest.approx(0.5)
