"""Which source task to transfer from: rankings from embeddings alone, and the gain that they try to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from t2v import distance
from t2v.baselines import h_score, leep, logme, nce, nearest_class_mean, transrate
from t2v.comparison import Comparison, bootstrap, compare
from t2v.embedding import TaskEmbedding, trivial

__all__ = [
    "Comparison",
    "Ranked",
    "bootstrap",
    "compare",
    "gain",
    "h_score",
    "leep",
    "logme",
    "nce",
    "nearest_class_mean",
    "rank",
    "transrate",
]


@dataclass(frozen=True)
class Ranked:
    """One source in a ranking.

    Attributes
    ----------
    source : str
        Name of the source task.
    d_asym, d_sym : float
        Asymmetric and symmetric distance to the target; smaller is nearer.
    norm : float
        Euclidean norm of the source's embedding, in nats²: its complexity.
    """

    source: str
    d_asym: float
    d_sym: float
    norm: float


def rank(
    target: TaskEmbedding,
    sources: Sequence[TaskEmbedding],
    reference: TaskEmbedding | str = "trivial",
    alpha: float = 0.15,
) -> list[Ranked]:
    r"""Rank source tasks by their asymmetric distance to a target, the best first. No expert is trained.

    Parameters
    ----------
    target : TaskEmbedding
        The task to transfer to.
    sources : sequence of TaskEmbedding
        The tasks to transfer from, with different names.
    reference : TaskEmbedding or "trivial"
        t₀. ``"trivial"`` is :func:`t2v.embedding.trivial` at the target's scale.
    alpha : float
        α ≥ 0.

    Returns
    -------
    list of Ranked
        Ascending in ``d_asym``; ties by name.

    Raises
    ------
    ValueError
        If there is no source, a name occurs twice, the reference is unknown, probes differ, or α is negative.

    Notes
    -----
    Source: definition 6.2 of the review paper; Achille et al. (2019), section 4.
    """
    if len(sources) == 0:
        raise ValueError("sources: there are none; at least one is needed")
    names = [source.task for source in sources]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"sources: {', '.join(sorted(twice))} given more than once")
    if isinstance(reference, str):
        if reference != "trivial":
            raise ValueError(f"reference: {reference!r} is unknown; accepted: 'trivial' or a TaskEmbedding")
        reference = trivial(target)
    rows = [
        Ranked(
            source.task,
            distance.asymmetric(source, target, reference, alpha),
            distance.symmetric(source, target),
            source.norm,
        )
        for source in sources
    ]
    return sorted(rows, key=lambda row: (row.d_asym, row.source))


def gain(error_transfer: float, error_scratch: float) -> float:
    r"""Return the relative change of error :math:`D_{ft}(a \to b) = (\ell_{a \to b} - \ell_b)/\ell_b`.

    Parameters
    ----------
    error_transfer : float
        Expected test error on b when starting from the expert of a.
    error_scratch : float
        Expected test error on b when starting from t₀; positive.

    Returns
    -------
    float
        Negative where the transfer helps.

    Raises
    ------
    ValueError
        For a negative or non-finite error, or ``error_scratch`` = 0.
    """
    for name, value in (("error_transfer", error_transfer), ("error_scratch", error_scratch)):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name}: {value} is not a finite number ≥ 0")
    if error_scratch == 0:
        raise ValueError("error_scratch: it is 0, so there is no error left to gain on")
    return (error_transfer - error_scratch) / error_scratch
