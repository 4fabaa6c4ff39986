"""What a run of the atlas answers: for every target where to start from, in numbers and in words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from t2v._library import PROBE, TUNED_PROBE
from t2v._progress import words

if TYPE_CHECKING:
    from t2v.atlas import Atlas

Array = NDArray[np.float64]

#: Methods whose choice is reported for each target, and what they are called there.
MAIN = {
    "task2vec": "Task2Vec",
    "head_nearest_class_mean": "head nearest class mean",
    "logme": "LogME",
    "cross_validated_head": "cross-validated head",
}
#: Standard errors within which two candidates are not told apart.
_SURE = 2.0


def answer(atlas: Atlas, t: int) -> dict[str, Any]:
    """Return a target's row of :meth:`t2v.atlas.Atlas.answers`."""
    errors = _candidates(atlas, t)
    mean = {name: float(e.mean()) for name, e in errors.items()}
    best = min(mean, key=lambda name: (mean[name], name not in (PROBE, TUNED_PROBE), name))
    picked = {method: _pick(atlas, method, t) for method in MAIN if method in atlas.predictors}
    close = [name for name in errors if name != best and _tied(errors[best], errors[name], atlas.n_test[t])]
    row: dict[str, Any] = {
        "target": atlas.tasks[t],
        "best": best,
        "error": mean[best],
        "frozen": mean[PROBE],
        "fine_tuned": mean.get(TUNED_PROBE),
        "picked": picked,
        "regret": {method: mean[name] - mean[best] for method, name in picked.items()},
        "within_noise": sorted(close, key=lambda name: (mean[name], name)),
    }
    return row | {"words": in_words(row)}


def _candidates(atlas: Atlas, t: int) -> dict[str, Array]:
    """Return candidate → its measured errors ``(draws,)``: the sources, and the probe in each of its forms."""
    errors = {name: atlas.truth[t, s] for s, name in enumerate(atlas.tasks) if s != t}
    errors[PROBE] = atlas.frozen[t]
    if atlas.tuned_probe is not None:
        errors[TUNED_PROBE] = atlas.tuned_probe[t]
    return errors


def _pick(atlas: Atlas, method: str, t: int) -> str:
    """Return the candidate that a method puts first; the probe where it can judge that, too."""
    p = atlas.predictors[method]
    sign = 1.0 if p.kind == "distance" else -1.0
    said = {name: sign * float(p.values[t, s]) for s, name in enumerate(atlas.tasks) if s != t}
    if p.probe is not None:
        said[PROBE if atlas.tuned_probe is None else TUNED_PROBE] = sign * float(p.probe[t])
    return min(said, key=lambda name: said[name])


def _tied(a: Array, b: Array, n_test: int) -> bool:
    """Whether two candidates' mean errors differ by less than two standard errors.

    The variance has two parts: between the draws of the shots (of the difference, which is paired), and of the test
    images, as if those of the two were independent, which is too much rather than too little.
    """
    draws = float((a - b).var(ddof=1)) / len(a) if len(a) > 1 else 0.0
    images = float(a.mean() * (1 - a.mean()) + b.mean() * (1 - b.mean())) / n_test
    return abs(float(a.mean() - b.mean())) <= _SURE * np.sqrt(draws + images)


def in_words(row: Mapping[str, Any]) -> str:
    """Return an answer in one line."""
    best, own = row["best"], f"the probe as it is {row['frozen']:.3f}"
    if row["fine_tuned"] is not None:
        own += f", fine-tuned {row['fine_tuned']:.3f}"
    start = f"start from {best}"
    if best in (PROBE, TUNED_PROBE):
        start = "stay with the probe" if best == PROBE else "fine-tune the probe"
    parts = [f"{row['target']}: {start} (error {row['error']:.3f}; {own})"]
    if close := row["within_noise"]:
        more = f" and {len(close) - 3} more" if len(close) > 3 else ""
        parts.append(f"within noise of it: {', '.join(close[:3])}{more}")
    for method, name in row["picked"].items():
        parts.append(f"{MAIN[method]} picks {name} ({_regret(row['regret'][method], name, row)})")
    return "; ".join(parts)


def _regret(regret: float, name: str, row: Mapping[str, Any]) -> str:
    if name == row["best"]:
        return "the best"
    return f"{regret:.3f} worse" + (", within noise" if name in row["within_noise"] else "")


def report(atlas: Atlas) -> list[str]:
    """Return the lines of :meth:`t2v.atlas.Atlas.text`."""
    draws = atlas.truth.shape[2]
    what = "fine-tuning" if atlas.tuned is not None else "a head on frozen features"
    lines = [
        f"{len(atlas.tasks)} tasks, probe {atlas.embeddings[0].probe}, {draws} draws of the shots, measured by {what}",
        "",
        *_methods(atlas),
        "",
        *_remarks(atlas),
        "",
        "Where to start from, by what was measured, and what each method would have picked:",
        *(textwrap.fill(row["words"], 110, subsequent_indent="  ") for row in atlas.answers()),
        "",
        "time: " + ", ".join(f"{name} {words(value)}" for name, value in atlas.seconds.items()),
    ]
    return lines


def _methods(atlas: Atlas) -> list[str]:
    """Return the table of methods."""
    rows, width = atlas.ranking(), max(map(len, atlas.predictors))
    crossed = "crossed" in rows[0]
    head = f"{'method':{width}s}  {'Kendall τ':>9s}  {'95% interval':>15s}  {'regret':>6s}"
    lines = [head + ("  one draw by another" if crossed else "") + "  needs"]
    for row in rows:
        between = f"[{row['kendall_low']:.2f}, {row['kendall_high']:.2f}]"
        line = f"{row['method']:{width}s}  {row['kendall']:9.2f}  {between:>15s}  {row['regret']:6.3f}"
        lines.append(line + (f"  {row['crossed']:19.2f}" if crossed else "") + f"  {row['needs']}")
    if (ceiling := atlas.ceiling()) is not None:
        between = f"[{ceiling.low:.2f}, {ceiling.high:.2f}]"
        lines.append(
            f"{'the measurement':{width}s}  {'':9s}  {between:>15s}  {'':6s}  {ceiling.value:19.2f}  another draw: the ceiling"
        )
    return lines


def _remarks(atlas: Atlas) -> list[str]:
    """Return what the table does not say: staying with the probe, both truths, experts that are no better."""
    regrets = atlas.reference_regrets()
    named = {"chance": "a source drawn at random", "frozen_probe": "the frozen probe"}
    named["fine_tuned_probe"] = "the fine-tuned probe"
    said = [f"{named[key]} {abs(v):.3f} {'worse' if v >= 0 else 'better'}" for key, v in regrets.items()]
    lines = [f"Against the best source in hindsight, on average over the targets: {'; '.join(said)}."]
    if atlas.tuned is not None:
        lines.append(f"Heads order the sources as fine-tuning does with τ = {_agreement(atlas):.2f}.")
    for what, names in (
        ("training images kept from it", atlas.doubtful_experts()),
        ("test images, by a head on the shots", atlas.failed_experts()),
    ):
        if names:
            lines.append(f"Experts no better at their own task than the probe on {what}: {', '.join(names)}.")
    return lines


def _agreement(atlas: Atlas) -> float:
    """Return the mean τ between the errors of heads and those of fine-tuning."""
    from t2v.comparison import bootstrap

    off = np.where(np.eye(len(atlas.tasks), dtype=bool), np.nan, 0.0)
    return bootstrap(atlas.errors.mean(2) + off, atlas.measured, draws=1).kendall.value
