"""The run behind chapter 6: what is committed is whole and converged as the chapter says, and the script resumes."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers import ROOT, load_script, read_csv

from t2v import training, weights

RUN = ROOT / "book" / "runs" / "weights"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("weights_run")


def test_the_committed_run_is_whole(script: ModuleType) -> None:
    config = json.loads((RUN / "config.json").read_text(encoding="utf-8"))
    assert config["prices"] == list(script.PRICES)
    assert {k: config[k] for k in script.OPTIONS} == script.OPTIONS
    rows = read_csv(RUN / "sweep.csv")
    assert tuple(rows[0]) == script.COLUMNS
    key = [(r["split"], r["m"], r["steps"], r["labels"], r["seed"], r["beta"]) for r in rows]
    wanted = [
        (*map(str, s), str(k), str(b))
        for s in script.PLAN
        for k in range(3)
        for b in script.FEWER.get(s, script.PRICES)
    ]
    assert key == wanted
    for row in rows:
        assert float(row["kl"]) > 0
        assert float(row["train_loss"]) > 0
        assert 0 <= float(row["train_error"]) <= 1
        assert 0 < float(row["test_error"]) <= 1


def objective(m: int, steps: int, labels: str) -> float:
    """Mean cross-entropy + β KL/m of a stored sweep."""
    key = {"m": str(m), "steps": str(steps), "labels": labels}
    rows = [r for r in read_csv(RUN / "sweep.csv") if key.items() <= r.items()]
    assert len(rows) == 18
    return float(np.mean([float(r["train_loss"]) + float(r["beta"]) * float(r["kl"]) / m for r in rows]))


@pytest.mark.parametrize(("m", "kind"), [(400, "half random"), (400, "random")])
def test_twice_the_steps_are_nearer_to_the_minimum(m: int, kind: str) -> None:
    assert objective(m, 4000, kind) < objective(m, 2000, kind)


def test_a_sweep_is_that_of_the_package_on_the_split_it_names(script: ModuleType) -> None:
    setting = script.Setting(1, 20, 3, "half random")
    found = script.measure(setting, (0.01, 1.0))
    (x, y), fresh = script.images(1)
    assert len(y) == 1000
    assert not torch.equal(y, script.images(0)[0][1])
    torn = script.labels(y, "half random", 1)
    assert [int((row == y).sum()) for row in torn] != [1000] * 3
    assert all(
        0.45 < (row == y).double().mean() < 0.65 for row in torn
    )  # half of the half is right by chance: 5%
    assert torch.equal(script.labels(y, "true", 1)[2], y)
    direct = weights.sweep(
        lambda seed: training.mlp([64, 64, 10], seed=100 + seed),
        (x, torn), fresh, (0.01, 1.0), m=20, seeds=3, steps=3, seed=1, **script.OPTIONS,
    )  # fmt: skip
    np.testing.assert_array_equal(found.kl, direct.kl)
    np.testing.assert_array_equal(found.test_error, direct.test_error)


def test_a_run_that_was_stopped_goes_on_where_it_was(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = [script.Setting(0, 10, 1, "true"), script.Setting(0, 10, 2, "random")]
    monkeypatch.setattr(script, "PRICES", (0.01, 1.0))
    monkeypatch.setattr(script, "PLAN", plan)
    monkeypatch.setattr(script.measure, "__defaults__", ((0.01, 1.0),))
    script.main(["--out", str(tmp_path), "--steps", "2"])
    first = (tmp_path / "sweep.csv").read_text(encoding="utf-8").splitlines()
    script.main(["--out", str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == ["0 10 2 random", "0 10 1 true"]
    both = (tmp_path / "sweep.csv").read_text(encoding="utf-8").splitlines()
    assert both[0] == ",".join(script.COLUMNS)
    assert both[7:] == first[1:]  # in the order of the plan, as they were
    assert len(both) == 1 + 2 * 3 * 2
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["prices"] == [0.01, 1.0]
    (tmp_path / "sweep.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(ValueError, match="columns a, b; accepted: split, m, steps"):
        script.main(["--out", str(tmp_path)])
