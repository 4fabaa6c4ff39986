"""The library run: what is committed is consistent, and the script resumes where it was."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from helpers import ROOT, load_script, read_csv

from t2v import embedding, tasks

RUN = ROOT / "book" / "runs" / "library"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("library_run")


def test_the_committed_run_is_complete(script: ModuleType) -> None:
    config = json.loads((RUN / "config.json").read_text(encoding="utf-8"))
    described = read_csv(RUN / "tasks.csv")
    assert [row["task"] for row in described] == config["tasks"] == script.TASKS
    for row in described:
        assert row["family"] == tasks.family(row["task"])
        assert tasks.tree_distance(row["taxonomy"].split("/"), row["task"]) == 0
    rows = read_csv(RUN / "measurements.csv")
    assert [(r["seed"], r["task"]) for r in rows] == [
        (str(s), t) for s in config["seeds"] for t in script.TASKS
    ]
    for row in rows:
        assert float(row["norm"]) < float(row["sum"]) < float(row["trace"])
        assert 0 <= float(row["entropy"]) <= np.log(int(row["n_classes"]))
        assert 0 <= float(row["error_test"]) < 1


def test_the_committed_distances_are_distances(script: ModuleType) -> None:
    seeds = json.loads((RUN / "config.json").read_text(encoding="utf-8"))["seeds"]
    for metric in script.METRICS:
        for seed in seeds:
            rows = read_csv(RUN / f"distances-{metric}-seed{seed}.csv")
            assert [row.pop("task") for row in rows] == script.TASKS
            d = np.array([[float(v) for v in row.values()] for row in rows])
            assert np.array_equal(d, d.T)
            assert (np.diag(d) == 0).all()
            assert (d[~np.eye(len(d), dtype=bool)] > 0).all()


@pytest.mark.slow
def test_a_run_resumes(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "TRAIN", 40)
    monkeypatch.setattr(script, "TEST", 20)
    options = ["--tasks", "digits_arabic", "textures", "--embeddings", str(tmp_path / "kept")]
    script.main([*options, "--seeds", "0", "1", "--out", str(tmp_path / "one")])
    monkeypatch.setattr(embedding, "embed", None)  # nothing may be embedded a second time
    script.main([*options, "--seeds", "0", "1", "--out", str(tmp_path / "two")])
    for path in (tmp_path / "one").iterdir():
        assert path.read_text(encoding="utf-8") == (tmp_path / "two" / path.name).read_text(encoding="utf-8")
    (row, *_), measured = (
        read_csv(tmp_path / "one" / "seeds.csv"),
        read_csv(tmp_path / "one" / "measurements.csv"),
    )
    assert float(row["itself_symmetric"]) < float(row["nearest_symmetric"])
    found = embedding.TaskEmbedding.load(tmp_path / "kept" / "seed-0" / "digits_arabic.npz")
    assert float(measured[0]["norm"]) == pytest.approx(found.norm, rel=1e-3)


def test_other_settings_are_refused(script: ModuleType, tmp_path: Path) -> None:
    made = embedding.TaskEmbedding(
        np.ones(2),
        {"a": slice(0, 2)},
        "textures",
        "other",
        {"method": "exact", "seed": 0, "image_size": 64, "n_fit": 3, "n_fisher": 3},
    )
    path = made.save(tmp_path / "textures.npz")
    task = tasks.load("textures", train=6, test=3, cache=False)

    class Probe:
        name = "efficientnet_lite0"

    with pytest.raises(ValueError, match="other settings"):
        script.embed(task, Probe(), 0, path)
