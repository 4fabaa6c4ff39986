"""The run behind chapter 5: what is committed is whole, a row is what it says, and the script resumes."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from helpers import ROOT, load_script, read_csv

from t2v import plane

RUN = ROOT / "book" / "runs" / "forgetting"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("forgetting_run")


def test_the_committed_run_is_whole(script: ModuleType) -> None:
    config = json.loads((RUN / "config.json").read_text(encoding="utf-8"))
    assert {k: config[k] for k in script.OPTIONS} == script.OPTIONS
    assert (config["sizes"], config["members"]) == (list(script.SIZES), script.MEMBERS)
    rows = read_csv(RUN / "networks.csv")
    assert tuple(rows[0]) == script.COLUMNS
    keys = [(r["task"], r["unit"], r["labels"], r["samples"], r["member"], r["epoch"]) for r in rows]
    wanted = [
        (*map(str, s[:4]), str(i), str(end))
        for s in script.PLAN for end in s.ends for i in range(script.MEMBERS)
    ]  # fmt: skip
    assert keys == wanted
    for row in rows:
        assert all(0 <= float(row[k]) <= 1 for k in ("train", "heldout"))
        assert int(row["fit_epoch"]) <= int(row["epoch"])
        for name in script.INSTRUMENTS:  # what is lost after the fit is lost after the peak, too
            assert -1e-6 <= float(row[f"{name}_fit"]) <= float(row[f"{name}_peak"]) + 1e-3
        assert -1e-6 <= float(row["collisions"]) <= 12


def test_a_row_is_what_it_says(script: ModuleType) -> None:
    """Falls, fit and accuracy once more from the recorded outputs, without the package's estimators."""
    setting = script.Setting(3, "relu", "true", 3000, (2, 6))
    rows = [dict(zip(script.COLUMNS, row, strict=True)) for row in script.lines(setting, 2)]
    assert [(r["member"], r["epoch"]) for r in rows] == [(0, 2), (1, 2), (0, 6), (1, 6)]
    task = plane.spherical_task(seed=3)
    order = np.random.default_rng(3).permutation(4096)
    run = script.train(setting, task, order[:3000], 2)
    for row in rows:
        i, last = row["member"], run.epochs.index(row["epoch"])
        guess = run.activations[last][-1][i, :, 0] > 0.5
        right = [task.p_label[x] if guess[x] else 1 - task.p_label[x] for x in order[3000:]]
        assert row["heldout"] == pytest.approx(np.mean(right))
        assert row["train"] == pytest.approx((guess == task.labels)[order[:3000]].mean())
        bits = np.array([[entropy(a[k][i]) for a in run.activations[: last + 1]] for k in range(7)])
        falls = bits.max(1) - bits[:, -1]
        assert row["exact_peak"] == pytest.approx(falls[2:6].sum(), abs=1e-9)
        start = run.epochs.index(row["fit_epoch"])
        since = bits[:, start:].max(1) - bits[:, -1]
        assert row["exact_fit"] == pytest.approx(since[2:6].sum(), abs=1e-9)
        assert row["collisions"] == pytest.approx(12 - bits[:6, -1].min(), abs=1e-9)


def entropy(outputs: np.ndarray) -> float:
    counts = np.unique(outputs, axis=0, return_counts=True)[1]
    return float(-(counts / 4096 * np.log2(counts / 4096)).sum())


def test_permuted_labels_are_those_of_the_training_patterns(script: ModuleType) -> None:
    """Permuted among themselves where a network trains; the same first weights; elsewhere nothing changes."""
    setting = script.Setting(1, "tanh", "shuffled", 128, (1,))
    task = plane.spherical_task(seed=1)
    order = np.random.default_rng(1).permutation(4096)
    own, rest = order[:128], order[128:]
    labels = script.labels_of(setting, task, own)
    assert labels[own].sum() == task.labels[own].sum()
    assert 40 < (labels[own] == task.labels[own]).sum() < 90  # half of them by chance
    assert (labels[rest] == task.labels[rest]).all()
    assert (script.labels_of(setting._replace(labels="true"), task, own) == task.labels).all()
    first = [
        script.train(setting._replace(labels=kind), task, own, 2).activations[0][3]
        for kind in ("true", "shuffled")
    ]
    np.testing.assert_array_equal(*first)


def test_a_run_that_was_stopped_goes_on_where_it_was(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = [script.Setting(0, unit, "true", 200, (1,)) for unit in script.GAIN]
    monkeypatch.setattr(script, "PLAN", plan)
    monkeypatch.setattr(script, "lines", lambda setting: [[*setting[:4], 0, 1, 0, *[0.5] * 11]])
    script.main(["--out", str(tmp_path)])
    whole = (tmp_path / "networks.csv").read_text(encoding="utf-8")
    first = "".join(whole.splitlines(keepends=True)[:2])
    (tmp_path / "networks.csv").write_text(first, encoding="utf-8")
    capsys.readouterr()
    script.main(["--out", str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == ["0 relu true 200"]
    assert (tmp_path / "networks.csv").read_text(encoding="utf-8") == whole
    (tmp_path / "networks.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(ValueError, match="columns a, b; accepted"):
        script.main(["--out", str(tmp_path)])
