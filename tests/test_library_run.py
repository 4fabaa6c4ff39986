"""The library run: what is committed is consistent, and the script resumes where it was."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers import ROOT, load_script, read_csv
from torch import nn

from t2v import distance, embedding, probes, tasks

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


def hand_made(task: str, values: list[float]) -> embedding.TaskEmbedding:
    return embedding.TaskEmbedding(np.array(values), {"layer": slice(0, len(values))}, task, "probe")


def test_a_task_is_held_against_itself_and_against_others(script: ModuleType) -> None:
    """Between two seeds: a task's own embedding is no neighbour, and the nearest other one is found by hand."""
    first = [hand_made("a", [1.0, 1, 2, 9]), hand_made("b", [4.0, 1, 1, 9]), hand_made("c", [1.0, 6, 1, 9])]
    second = [hand_made("a", [1.0, 2, 2, 8]), hand_made("b", [5.0, 1, 2, 9]), hand_made("c", [2.0, 6, 1, 7])]
    rows = script.between_seeds({3: first, 8: second})
    assert [row[:3] for row in rows] == [["a", 3, 8], ["b", 3, 8], ["c", 3, 8]]
    for e, row in zip(first, rows, strict=True):
        for metric, (itself, nearest, name) in (("symmetric", row[3:6]), ("log_cosine", row[6:9])):
            d = {other.task: distance.METRICS[metric](e, other) for other in second}
            assert itself == d[e.task]
            assert nearest == min(value for task, value in d.items() if task != e.task)
            assert d[name] == nearest
            assert name != e.task
    assert all(row[3] < row[4] for row in rows), "else the two could be mixed up unseen"


class Colours(nn.Module):
    """A network that sees three colours."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 6, 1), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3)))


def test_the_head_is_judged_on_the_test_images(script: ModuleType) -> None:
    """Labels of the test images are turned round: who scores the training images sees hardly an error."""
    rng, labels = np.random.default_rng(0), np.arange(40) % 2
    images = np.clip(rng.normal(90 + 70 * labels[:, None, None, None], 20, (40, 8, 8, 3)), 0, 255).astype(
        np.uint8
    )
    turned = tasks.ArrayDataset(images[:16], 1 - labels[:16])
    task = tasks.Task("two tones", tasks.ArrayDataset(images, labels), turned, ("dark", "bright"))
    probe = probes.from_module(Colours(), name="colours")
    found = script.measure(task, probe, seed=1)
    assert found["error_test"] == 1.0
    fit, _ = embedding.split(labels, embedding.FIT_SHARE, 1)
    assert np.allclose(found["mean_features"], probe.features(images[fit]).mean(0))
    assert np.allclose(found["pixels"][:3], images[fit].mean((0, 1, 2)))


def test_the_trace_weighs_each_filter_with_its_weights(script: ModuleType) -> None:
    probe = probes.from_module(Colours(), name="colours")
    e = hand_made("t", [1.0, 2, 3, 4, 5, 6])
    e = embedding.TaskEmbedding(e.values, {"conv.weight": slice(0, 6)}, "t", "colours")
    assert script.trace(e, probe) == pytest.approx(3 * 21)  # a filter has a weight a colour
