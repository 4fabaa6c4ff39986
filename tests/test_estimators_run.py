"""The run that compares estimators and probes: what is committed is whole, and the script resumes where it was."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from helpers import ROOT, load_script, read_csv

from t2v import distance, embedding, precision

RUN = ROOT / "book" / "runs" / "estimators"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("estimators_run")


def test_the_committed_run_is_whole(script: ModuleType) -> None:
    config = json.loads((RUN / "config.json").read_text(encoding="utf-8"))
    assert config["tasks"] == script.TASKS
    assert config["probe"] == script.PROBES
    assert config["beta"] == precision.BETA
    first, *others = config["probe"]
    keys = [(first, m, str(s)) for s in config["seeds"] for m in script.METHODS]
    keys += [(p, "rademacher", str(s)) for p in others for s in config["seeds"]]
    rows = read_csv(RUN / "embeddings.csv")
    made = [(r["probe"], r["method"], r["seed"], r["task"]) for r in rows]
    assert made == [(*key, task) for key in keys for task in script.TASKS]
    for row in rows:
        assert 0 < float(row["norm"]) < float(row["sum"]) < float(row["trace"])
        assert 0 <= float(row["zeros"]) < 0.5
        assert float(row["entropy"]) > 0
    pairs = list(itertools.combinations(script.TASKS, 2))
    distances = read_csv(RUN / "distances.csv")
    found = [(r["probe"], r["method"], r["seed"], r["a"], r["b"]) for r in distances]
    assert found == [(*key, *pair) for key in keys for pair in pairs]
    assert all(0 < float(r["symmetric"]) < 1 for r in distances)


def test_the_committed_agreement_fits_the_embeddings(script: ModuleType) -> None:
    traces = {
        (r["task"], r["method"], r["seed"]): float(r["trace"])
        for r in read_csv(RUN / "embeddings.csv")
        if r["probe"] == script.PROBES[0]
    }
    rows = read_csv(RUN / "agreement.csv")
    assert len(rows) == len(script.TASKS) * 15  # two of six embeddings
    for row in rows:
        one = traces[row["task"], row["method"], row["seed"]]
        other = traces[row["task"], row["other_method"], row["other_seed"]]
        assert float(row["trace_ratio"]) == pytest.approx(other / one, rel=2e-3)
        assert 0 < float(row["log_correlation"]) < 1


def test_a_correlation_of_logarithms_leaves_zeros_out(script: ModuleType) -> None:
    a = np.array([1.0, 10, 100, 0, 7])
    assert script.log_correlation(a, 3 * a**2) == pytest.approx(1)
    assert script.log_correlation(a, np.array([5, 0.5, 0.05, 9, 0])) == pytest.approx(-1)


def test_a_run_resumes(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SIZE", 32), ("TRAIN", 24), ("TEST", 10)):
        monkeypatch.setattr(script, name, value)
    options = ["--tasks", "textures", "chess", "--embeddings", str(tmp_path / "kept")]
    options += ["--probes", "efficientnet_lite0", "--seeds", "0", "1"]
    script.main([*options, "--out", str(tmp_path / "one")])
    monkeypatch.setattr(embedding, "embed", None)  # nothing may be embedded a second time
    script.main([*options, "--out", str(tmp_path / "two")])
    for path in (tmp_path / "one").iterdir():
        assert path.read_text(encoding="utf-8") == (tmp_path / "two" / path.name).read_text(encoding="utf-8")
    folder = tmp_path / "kept" / "efficientnet_lite0" / "variational" / "seed-1"
    one, other = (embedding.TaskEmbedding.load(folder / f"{task}.npz") for task in ("textures", "chess"))
    (row,) = (
        r
        for r in read_csv(tmp_path / "one" / "distances.csv")
        if (r["method"], r["seed"]) == ("variational", "1")
    )
    assert float(row["symmetric"]) == pytest.approx(distance.symmetric(one, other), rel=1e-3)
    monkeypatch.setattr(script, "SIZE", 64)
    with pytest.raises(ValueError, match="other settings"):
        script.main([*options, "--out", str(tmp_path / "three")])


def test_an_unknown_task_is_named(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script.main(["--tasks", "nothing"])
    assert "--tasks: unknown nothing" in capsys.readouterr().err
