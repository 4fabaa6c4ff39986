"""The atlas on a small network and small tasks: numbers against long-hand ones, interruption, resumption, processes."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from t2v import _stages, atlas, baselines, comparison, distance, embedding, probes, tasks, transfer

FINETUNE = transfer.finetune
NAMES = ("lying", "standing", "slanted", "spots")
STAGES = ("embeddings", "shots", "heads", "experts", "measured", "frozen")


class Small(nn.Module):
    """A convolutional network of random weights."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.mix, self.fc = (
            nn.Conv2d(3, width, 5, stride=2),
            nn.Conv2d(width, 16, 3),
            nn.Linear(16, 4),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.mix(self.conv(x).relu()).relu().mean((2, 3)))


def small(width: int = 12) -> probes.Probe:
    return probes.from_module(Small(width), name="small")


def pattern(name: str, n_train: int = 45, n_test: int = 30) -> tasks.Task:
    """Tell three widths of one pattern apart, under noise."""
    rng, (i, j) = np.random.default_rng(NAMES.index(name)), np.indices((16, 16))
    along = {"lying": i, "standing": j, "slanted": i + j, "spots": i * j}[name]

    def part(count: int) -> tasks.ArrayDataset:
        labels = np.arange(count) % 3
        shape = along[None] // (labels + 1)[:, None, None] % 2
        pixels = 80 + 40 * shape[..., None] + rng.integers(-60, 60, (count, 16, 16, 3))
        return tasks.ArrayDataset(pixels.astype(np.uint8), labels)

    return tasks.Task(name, part(n_train), part(n_test), ("narrow", "middle", "wide"))


CONFIG = atlas.AtlasConfig(tasks=NAMES, size=16, train=45, test=30, shots=5, seeds=2, epochs=2)
TASKS = [pattern(name) for name in NAMES]


def go(out: Path, **options: object) -> atlas.Atlas:
    return atlas.run(CONFIG, out, **{"probe": small(), "tasks": TASKS, **options})  # type: ignore[arg-type]


def stamps(out: Path) -> dict[str, int]:
    files = [f for stage in STAGES for f in (out / stage).glob("*")]
    return {str(f.relative_to(out)): f.stat().st_mtime_ns for f in files}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, atlas.Atlas]:
    out = tmp_path_factory.mktemp("atlas") / "run"
    return out, go(out)


def test_a_run_leaves_all_its_files(done: tuple[Path, atlas.Atlas]) -> None:
    out, made = done
    for stage in ("embeddings", "heads", "experts", "measured", "frozen"):
        ending = "pt" if stage == "experts" else "npz"
        assert {f.name for f in (out / stage).iterdir()} == {f"{name}.{ending}" for name in NAMES}
    assert {f.name for f in (out / "shots").iterdir()} == {
        f"{name}-{r}.npz" for name in NAMES for r in (0, 1)
    }
    rest = {f.name for f in out.iterdir() if f.is_file()}
    assert rest == {
        "canonical.npz",
        "config.json",
        "pairs.csv",
        "ranking.csv",
        "report.json",
        "report.txt",
        "ranking.png",
    }
    assert (out / "ranking.png").read_bytes().startswith(b"\x89PNG")
    about = json.loads((out / "config.json").read_text())
    assert about["config"]["probe"] == "small"
    assert {"started", "machine", "versions"} <= set(about)
    report = json.loads((out / "report.json").read_text())
    assert {row["method"] for row in report["methods"]} == set(made.predictors)
    assert set(report["seconds"]) == {"embeddings", "heads", "experts", "transfer", "baselines"}
    assert all(made.seconds[step] > 0 for step in ("heads", "experts", "transfer", "baselines"))
    assert made.errors.shape == (4, 4, 2)
    assert made.frozen.shape == (4, 2)


def test_measured_errors_are_those_of_a_head_on_the_shots(done: tuple[Path, atlas.Atlas]) -> None:
    out, made = done
    target = TASKS[2]
    expert, _ = transfer.load_expert(out / "experts" / "standing.pt", small())
    for probe, got in ((expert, made.errors[2, 1]), (small(), made.frozen[2])):
        features, test = probe.features(target.train.images), probe.features(target.test.images)
        for seed in range(2):
            few = embedding.low_shot(target.train.labels, 5, seed)
            head = embedding.fit_head(features[few], target.train.labels[few], 3)
            error = (head(torch.from_numpy(test)).argmax(1).numpy() != target.test.labels).mean()
            assert got[seed] == pytest.approx(error, abs=1 / 30 + 1e-9)  # one image may lie on the boundary
    assert len({round(float(e), 6) for e in made.errors.ravel()}) > 5, (
        "the tasks must differ in error to test anything"
    )


def test_scores_use_the_shots_and_the_right_order(done: tuple[Path, atlas.Atlas]) -> None:
    out, made = done
    target, expert = TASKS[0], transfer.load_expert(out / "experts" / "spots.pt", small())[0]
    leep, logme, nce = [], [], []
    for seed in range(2):
        few = embedding.low_shot(target.train.labels, 5, seed)
        labels, probs = target.train.labels[few], expert.classify(target.train.images[few])
        leep.append(baselines.leep(probs, labels))
        nce.append(baselines.nce(probs.argmax(1), labels))
        logme.append(baselines.logme(expert.features(target.train.images[few]), labels))
    for name, values in (("leep", leep), ("nce", nce), ("logme", logme)):
        assert made.predictors[name].values[0, 3] == pytest.approx(np.mean(values), abs=1e-5)
        assert (made.predictors[name].kind, made.predictors[name].needs) == ("score", "experts")


def test_an_expert_that_unlearned_is_trained_again_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no better than the probe on images kept from it; one that diverges counts as such."""
    rates: list[float] = []
    errors: Iterator[float]

    def at_first_bad(*arguments: object, lr: float, **options: object) -> probes.Probe:
        rates.append(lr)
        if len(rates) == 1:
            raise transfer.TrainingError("collapsed")
        return FINETUNE(*arguments, lr=lr, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "finetune", at_first_bad)
    # of the expert, then of the probe; the first try failed, and of the second and third the better is kept
    errors = iter([0.5, 0.4, 0.6, 0.4])
    monkeypatch.setattr(transfer, "_error", lambda *_: next(errors))
    expert, about = _stages.fit_expert(TASKS[1], small(), CONFIG)
    assert rates == [pytest.approx(1e-3 / k) for k in (1, 3, 9)]
    assert about == {"lr": rates[1], "error": 0.5, "probe_error": 0.4}
    kept, _ = embedding.split(TASKS[1].train.labels, 0.8, 0)
    part = tasks.ArrayDataset(TASKS[1].train.images[kept], TASKS[1].train.labels[kept])
    four_fifths = dataclasses.replace(TASKS[1], train=part)
    want = FINETUNE(small(), four_fifths, epochs=2, lr=rates[1], device="cpu")
    images = TASKS[1].test.images
    assert np.allclose(expert.features(images), want.features(images))

    for found, lr in (([0.3, 0.4], 1e-3), ([0.0, 0.0], 1e-3), ([0.4] * 6, 1e-3 / 9)):
        errors, rates[:] = iter(found), [0.0]
        assert _stages.fit_expert(TASKS[1], small(), CONFIG)[1]["lr"] == pytest.approx(lr)
        assert next(errors, None) is None

    def always(*arguments: object, **options: object) -> probes.Probe:
        raise transfer.TrainingError("collapsed")

    monkeypatch.setattr(transfer, "finetune", always)
    with pytest.raises(transfer.TrainingError, match="the expert of 'standing' fails by every recipe"):
        _stages.fit_expert(TASKS[1], small(), CONFIG)


def test_heads_judge_the_shots_without_an_expert(done: tuple[Path, atlas.Atlas]) -> None:
    _, made = done
    target, source = TASKS[0], TASKS[3]
    features = small().features(source.train.images)
    head = embedding.fit_head(features, source.train.labels, 3)
    wanted: dict[str, list[float]] = {name: [] for name in atlas.HEAD_SCORES}
    for seed in range(2):
        few = embedding.low_shot(target.train.labels, 5, seed)
        labels = target.train.labels[few]
        logits = head(torch.from_numpy(small().features(target.train.images[few]))).double()
        wanted["head_leep"].append(baselines.leep(logits.softmax(1).numpy(), labels))
        wanted["head_nce"].append(baselines.nce(logits.argmax(1).numpy(), labels))
        wanted["head_logme"].append(baselines.logme(logits.numpy(), labels))
        wanted["head_nearest_class_mean"].append(baselines.nearest_class_mean(logits.numpy(), labels))
    for name, values in wanted.items():
        assert made.predictors[name].values[0, 3] == pytest.approx(np.mean(values), abs=1e-5), name
        assert (made.predictors[name].kind, made.predictors[name].needs) == ("score", "no expert")


def test_the_target_can_be_embedded_from_its_shots(done: tuple[Path, atlas.Atlas]) -> None:
    _, made = done
    target, values = TASKS[1], []
    for seed in range(2):
        rows = embedding.low_shot(target.train.labels, 5, seed)
        few = tasks.ArrayDataset(target.train.images[rows], target.train.labels[rows])
        made_of_few = embedding.embed(
            tasks.Task("few", few, target.test, target.classes), small(), seed=seed, device="cpu"
        )
        values.append(
            distance.asymmetric(made.embeddings[2], made_of_few, embedding.trivial(made_of_few), 0.15)
        )
    assert made.predictors["task2vec_shots"].values[1, 2] == pytest.approx(np.mean(values), abs=1e-6)
    assert made.predictors["task2vec_shots"].values[1, 2] != made.predictors["task2vec"].values[1, 2]


def test_both_references_are_offered(done: tuple[Path, atlas.Atlas]) -> None:
    _, made = done
    assert made.canonical is not None
    wanted = made.task2vec(0.15, made.canonical).values
    assert np.array_equal(made.predictors["task2vec_canonical"].values, wanted, equal_nan=True)


def test_predictors_are_those_of_the_package(done: tuple[Path, atlas.Atlas]) -> None:
    _, made = done
    target, *_ = made.embeddings
    for row in transfer.rank(target, made.embeddings[1:], alpha=0.15):
        s = made.tasks.index(row.source)
        assert made.predictors["task2vec"].values[0, s] == pytest.approx(row.d_asym, abs=1e-12)
        assert made.predictors["d_sym"].values[0, s] == pytest.approx(row.d_sym, abs=1e-12)
    assert np.array_equal(made.task2vec(0.15).values, made.predictors["task2vec"].values, equal_nan=True)
    row = next(
        r
        for r in transfer.rank(target, made.embeddings[1:3], made.embeddings[3], 0.7)
        if r.source == "slanted"
    )
    assert made.task2vec(0.7, made.embeddings[3]).values[0, 2] == pytest.approx(row.d_asym, abs=1e-12)
    assert made.predictors["cosine"].values[2, 1] == pytest.approx(
        distance.cosine(made.embeddings[1], made.embeddings[2])
    )
    means = [small().features(t.train.images).mean(0).astype(float) for t in TASKS]
    a, b = means[3], means[0]
    want = 1 - a @ b / np.sqrt((a @ a) * (b @ b))
    assert made.predictors["mean_feature"].values[0, 3] == pytest.approx(want, abs=1e-6)
    for name, predictor in made.predictors.items():
        assert np.isnan(np.diag(predictor.values)).all(), name
        assert np.isfinite(predictor.values[~np.eye(4, dtype=bool)]).all(), name


def test_best_for_others_does_not_see_the_target(done: tuple[Path, atlas.Atlas]) -> None:
    errors = np.array([[0.9, 0.1, 0.3], [0.2, 0.9, 0.6], [0.4, 0.2, 0.9]])
    got = atlas._best_for_others(errors)
    assert got[0, 1] == pytest.approx(0.2 / 0.3)  # target 2 alone is left: its errors are 0.4 and 0.2
    assert got[1, 0] == pytest.approx(0.4 / 0.3)
    changed = errors.copy()
    changed[0] = [0.9, 0.8, 0.1]
    assert np.array_equal(atlas._best_for_others(changed)[0], got[0], equal_nan=True)


def test_gains_errors_and_regrets(done: tuple[Path, atlas.Atlas]) -> None:
    out, made = done
    assert made.gains()[1, 2] == pytest.approx(transfer.gain(made.errors[1, 2].mean(), made.frozen[1].mean()))
    spread = abs(made.errors[1, 2, 0] - made.errors[1, 2, 1]) / 2  # the standard error of two values
    assert made.standard_errors()[1, 2] == pytest.approx(spread)
    own = [t for t in range(4) if made.errors[t, t].mean() >= made.frozen[t].mean() > 0]
    assert made.failed_experts() == [NAMES[t] for t in own]
    assert "lying" in made.failed_experts(), "one must fail to test anything"
    held = [e["error"] >= e["probe_error"] > 0 for e in made.experts]
    assert made.doubtful_experts() == [name for name, bad in zip(NAMES, held, strict=True) if bad]
    assert 0 < sum(held) < 4, "one must fail to test anything"
    assert {e["lr"] for e in made.experts} <= {CONFIG.lr / k for k in (1, 3, 9)}
    off = made.measured
    chance = np.mean([row[np.isfinite(row)].mean() - row[np.isfinite(row)].min() for row in off])
    assert made.reference_regrets()["chance"] == pytest.approx(chance)
    found = made.compare()["d_sym"].kendall.value
    each = [
        comparison.compare(np.delete(p, t), np.delete(m, t)).kendall
        for t, (p, m) in enumerate(zip(made.predictors["d_sym"].values, off, strict=True))
    ]
    assert found == pytest.approx(np.mean(each))
    with (out / "pairs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    row = next(r for r in rows if (r["target"], r["source"]) == ("standing", "slanted"))
    assert float(row["error"]) == pytest.approx(made.errors[1, 2].mean(), abs=1e-8)
    assert float(row["d_ft"]) == pytest.approx(made.gains()[1, 2], abs=1e-8)
    names, columns = atlas.read_pairs(out / "pairs.csv")
    assert names == made.tasks
    assert columns["error"][1, 2] == pytest.approx(made.errors[1, 2].mean(), abs=1e-8)
    assert np.allclose(columns["logme"], made.predictors["logme"].values, equal_nan=True)
    (out / "half.csv").write_text("\n".join((out / "pairs.csv").read_text().splitlines()[:-1]))
    with pytest.raises(ValueError, match=r"half.csv: not every pair of its 4 targets once"):
        atlas.read_pairs(out / "half.csv")
    (out / "half.csv").unlink()
    with (out / "ranking.csv").open() as file:
        kendall = [float(r["kendall"]) for r in csv.DictReader(file)]
    assert kendall == sorted(kendall, reverse=True)


def test_costs_are_counted_where_they_arise(
    done: tuple[Path, atlas.Atlas], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that stands still but for a price on each piece of work: n trainings, n² heads, their scores."""
    clock = [0.0]

    def priced(name: str, seconds: float) -> None:
        module = transfer if name == "finetune" else _stages
        work = getattr(module, name)

        def slow(*arguments: object, **options: object) -> object:
            clock[0] += seconds
            return work(*arguments, **options)

        monkeypatch.setattr(module, name, slow)

    shutil.copytree(done[0], tmp_path / "run")
    for kind in ("experts", "measured", "heads", "frozen"):
        shutil.rmtree(tmp_path / "run" / kind)
    monkeypatch.setattr(_stages, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    prices = {
        "finetune": 1000.0,
        "_low_shot_error": 10.0,
        "_scores": 1.0,
        "left_out_errors": 0.5,
        "_head_scores": 0.1,
        "fit_head": 0.0,
    }
    for name, seconds in prices.items():
        priced(name, seconds)
    made = go(tmp_path / "run")
    n, draws = len(NAMES), CONFIG.seeds
    trained = sum(clock_of(tmp_path / "run" / "experts" / f"{name}.pt") for name in NAMES)
    assert made.seconds["experts"] == trained >= 1000 * n
    assert made.seconds["experts"] % 1000 == 0
    assert made.seconds["transfer"] == pytest.approx(
        10 * (n * n + n) * draws
    )  # every expert, and the frozen probe
    assert made.seconds["baselines"] == pytest.approx((1 + 0.5) * (n * n + n) * draws)
    assert made.seconds["heads"] == pytest.approx(0.1 * n * n * draws)
    assert made.seconds["embeddings"] == sum(e.metadata["seconds"] for e in made.embeddings)


def clock_of(expert: Path) -> float:
    """Return the seconds that an expert's file says its training took."""
    return float(transfer.load_expert(expert, small())[1]["seconds"])


def test_an_interrupted_run_goes_on_and_ends_the_same(
    done: tuple[Path, atlas.Atlas], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = done[0]

    def tired(probe: probes.Probe, task: tasks.Task, **options: object) -> probes.Probe:
        if task.name == "slanted":
            raise KeyboardInterrupt
        return FINETUNE(probe, task, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "finetune", tired)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path)
    first = stamps(tmp_path)
    assert {f for f in first if f.startswith("experts")} == {"experts/lying.pt", "experts/standing.pt"}
    assert not [f for f in tmp_path.rglob("*") if f.suffix == ".tmp"]
    with pytest.raises(ValueError, match=r"not finished \(frozen.lying.npz is missing\)"):
        atlas.load(tmp_path)
    monkeypatch.undo()
    (tmp_path / "embeddings" / "spots.npz").unlink()  # as if it had been killed earlier still
    del first["embeddings/spots.npz"]
    go(tmp_path)
    assert {f: stamps(tmp_path)[f] for f in first} == first
    for name in ("pairs.csv", "ranking.csv"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_a_finished_run_is_read_and_not_made_again(done: tuple[Path, atlas.Atlas]) -> None:
    out, made = done
    before, table = stamps(out), (out / "pairs.csv").read_bytes()
    again = go(out)
    assert stamps(out) == before
    assert (out / "pairs.csv").read_bytes() == table
    assert np.array_equal(again.errors, made.errors)
    assert np.array_equal(atlas.load(out).frozen, made.frozen)


def test_another_run_in_the_same_folder_is_refused(done: tuple[Path, atlas.Atlas], tmp_path: Path) -> None:
    out, _ = done
    with pytest.raises(ValueError, match="holds a run with shots = 5, not 4"):
        atlas.run(atlas.dataclasses.replace(CONFIG, shots=4), out, probe=small(), tasks=TASKS)
    with pytest.raises(ValueError, match=r"holds a run with lr = 0\.001, not 0\.01"):
        atlas.run(atlas.dataclasses.replace(CONFIG, lr=1e-2), out, probe=small(), tasks=TASKS)
    shutil.copytree(out, tmp_path / "copy")
    (tmp_path / "copy" / "measured" / "spots.npz").unlink()
    with pytest.raises(ValueError, match=r"experts/spots.pt: an expert of another architecture"):
        go(tmp_path / "copy", probe=small(width=10))
    (tmp_path / "copy" / "measured" / "spots.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"spots.npz: damaged .* remove it, and start again"):
        atlas.load(tmp_path / "copy")
    for kind in ("embeddings/spots.npz", "shots/spots-1.npz", "canonical.npz", "experts/spots.pt"):
        shutil.copytree(out, tmp_path / kind[:4])
        (tmp_path / kind[:4] / kind).write_bytes(b"PK")
        (tmp_path / kind[:4] / "measured" / "spots.npz").unlink()
        with pytest.raises(ValueError, match=r"damaged .*; remove it, and start again"):
            go(tmp_path / kind[:4])
    with pytest.raises(ValueError, match="no run of the atlas"):
        atlas.load(tmp_path)


def test_the_head_in_the_span_is_the_head() -> None:
    rng = np.random.default_rng(0)
    y, truth = np.arange(24) % 3, rng.integers(0, 3, 400)
    few, tests = (
        rng.normal(size=(24, 60)) + np.eye(60)[y] * 2,
        rng.normal(size=(400, 60)) + np.eye(60)[truth] * 2,
    )
    head = embedding.fit_head(few, y, 3)
    want = (head(torch.from_numpy(tests).float()).argmax(1).numpy() != truth).mean()
    assert _stages._low_shot_error(few, y, tests, truth, 3) == pytest.approx(want, abs=1.5 / 400)


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    for call, message in [
        (lambda: atlas.AtlasConfig.at("huge"), "accepted: quick, full"),
        (lambda: atlas.AtlasConfig.at("quick", shots=1), "shots: 1 is not an integer of at least 2"),
        (lambda: atlas.AtlasConfig.at("quick", alpha=-1.0), "alpha"),
        (
            lambda: atlas.AtlasConfig.at("quick", truth="test"),
            "truth: 'test' is unknown; accepted: head, finetune",
        ),
        (
            lambda: atlas.AtlasConfig.at("quick", finetune_lr=0.0),
            "finetune_lr: 0.0 is not a finite number > 0",
        ),
        (lambda: atlas.AtlasConfig.at("quick", finetune_epochs=0), "finetune_epochs: 0 is not an integer"),
        (
            lambda: go(tmp_path, tasks=[*TASKS[:2], dataclasses.replace(TASKS[2], name="probe")]),
            "'probe' stands for the probe; give the task another name",
        ),
        (lambda: atlas.AtlasConfig.at("quick", method="guess"), "rademacher, sample, exact"),
        (lambda: atlas.AtlasConfig.at("quick", tasks=("a", "a")), "a given more than once"),
        (lambda: go(tmp_path, tasks=TASKS[:2]), "at least three"),
        (lambda: go(tmp_path, tasks=[TASKS[0]] * 3), "lying given more than once"),
        (
            lambda: go(tmp_path, tasks=[pattern(n, n_train=12) for n in NAMES]),
            r"class 'narrow' of task 'lying' has 4 .* \(and 3 more: standing, slanted, spots\)",
        ),
        (lambda: atlas.run(atlas.AtlasConfig(tasks=("greek_lowr",)), tmp_path), "greek_lower"),
        (lambda: atlas.run(atlas.AtlasConfig(library=str(tmp_path / "no")), tmp_path), "not a folder"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert not any(tmp_path.iterdir()), "a failed check leaves no folder that refuses the corrected setting"
    assert atlas.AtlasConfig.at("quick", library="x").tasks == ()
    assert atlas.AtlasConfig.at("full").probe == "resnet34"
    assert set(atlas.QUICK_TASKS) <= set(tasks.names())
    assert len(atlas.QUICK_TASKS) >= 24


def test_tasks_are_opened_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def fake(name: str, root: Path, download: bool, fewer: bool, **numbers: int) -> tasks.Task:
        asked.append((name, root, download, fewer, numbers))
        return TASKS[0]

    monkeypatch.setattr("t2v.tasks.from_torchvision", fake)
    config = atlas.AtlasConfig.at("full", root="there", shots=5)
    assert len(atlas.check(config)) == 51
    library = atlas.Library(config, None)
    assert library["torchvision:CIFAR100/fish"].name == "torchvision:CIFAR100/fish"
    library["torchvision:SVHN"]
    library["torchvision:Omniglot/Greek"]
    numbers = {"size": 224, "train": 1800, "test": 500, "seed": 0}
    assert asked == [
        (name, Path("there"), False, True, numbers) for name in ("CIFAR100/fish", "SVHN", "Omniglot/Greek")
    ]
    classes = [c for group in atlas.GROUPS["CIFAR100"].values() for c in group]
    assert len(set(classes)) == 100
    for name, message in (
        ("torchvision:CIFAR100/birds", "no group 'birds'; accepted: aquatic_mammals"),
        ("torchvision:Omniglot/Grek", "Omniglot has no group 'Grek'; did you mean Greek"),
        ("torchvision:SVHN/odd", "SVHN has no group 'odd'; accepted: none"),
        ("torchvision:MNITS", "did you mean"),
        ("no/such/folder", "not a folder"),
    ):
        with pytest.raises(ValueError, match=message):
            atlas.check(atlas.AtlasConfig(tasks=(name, "mnist", "digits")))


def test_a_folder_of_image_folders_is_a_library(tmp_path: Path) -> None:
    from PIL import Image

    for task in TASKS[:3]:
        for k, (pixels, label) in enumerate(zip(task.train.images, task.train.labels, strict=True)):
            folder = tmp_path / "library" / task.name / task.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{k}.png")
    config = atlas.AtlasConfig.at(
        "quick", library=str(tmp_path / "library"), size=16, train=24, test=12, shots=4
    )
    assert atlas.check(config) == ("lying", "slanted", "standing")
    opened = atlas.Library(config, None)["slanted"]
    assert (len(opened.train), len(opened.test), opened.classes) == (24, 12, ("middle", "narrow", "wide"))

    other = dataclasses.replace(config, arithmetic="bfloat16")
    (tmp_path / "old").mkdir()
    old = json.loads(json.dumps(dataclasses.asdict(config)))
    del old["arithmetic"], old["truth"], old["finetune_lr"]  # as a run of an earlier version
    (tmp_path / "old" / "config.json").write_text(
        json.dumps({"config": old, "fingerprints": {"slanted": "ab"}})
    )
    assert atlas._check_settings(tmp_path / "old", config) == {}
    with pytest.raises(ValueError, match="arithmetic = 'float32', not 'bfloat16'"):
        atlas._check_settings(tmp_path / "old", other)
    with pytest.raises(ValueError, match="arithmetic: 'half' is unknown; accepted: float32"):
        dataclasses.replace(config, arithmetic="half")  # type: ignore[arg-type]


def test_a_fingerprint_is_of_what_the_loader_reads(tmp_path: Path) -> None:
    """Hidden files, thumbnails and another path change nothing; another pixel of a file of the same size does."""
    from PIL import Image

    def config(folder: str) -> atlas.AtlasConfig:
        return atlas.AtlasConfig.at("quick", library=str(tmp_path / folder), size=16)

    def mark(folder: str = "here") -> str:
        return atlas.Library(config(folder), None).fingerprint("task")

    for label in ("a", "b"):
        (tmp_path / "here" / "task" / label).mkdir(parents=True)
        for k in range(3):
            Image.fromarray(np.full((16, 16, 3), 40 * k, np.uint8)).save(
                tmp_path / "here" / "task" / label / f"{k}.bmp"
            )
    first = mark()
    (tmp_path / "here" / "task" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "here" / "task" / "a" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "here" / "task" / "a" / ".0.bmp").write_bytes(b"x")
    (tmp_path / "here" / "task" / "a" / ".thumbnails").mkdir()
    shutil.copy(
        tmp_path / "here" / "task" / "a" / "0.bmp", tmp_path / "here" / "task" / "a" / ".thumbnails" / "0.bmp"
    )
    assert mark() == first
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert mark("there") == first
    file = tmp_path / "here" / "task" / "b" / "2.bmp"
    before = file.stat().st_size
    Image.fromarray(np.full((16, 16, 3), 81, np.uint8)).save(file)
    assert file.stat().st_size == before
    assert mark() != first
    file.rename(file.with_name("9.bmp"))
    renamed = mark()
    file.with_name("9.bmp").unlink()
    assert len({first, renamed, mark()}) == 3


class Counted:
    """Counts the pieces of work of a run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: dict[str, list[str]] = {}
        for name in ("embed", "fit_expert", "_low_shot_error", "_head_scores", "_fine_tuned_error"):
            self._wrap(monkeypatch, name)

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        work, self.of[name] = getattr(_stages, name), []

        def counted(*arguments: object, **options: object) -> object:
            self.of[name].append(getattr(arguments[0], "name", ""))
            return work(*arguments, **options)

        monkeypatch.setattr(_stages, name, counted)

    def take(self) -> tuple[int, ...]:
        """Return the counts, embeddings first, and begin anew."""
        found = tuple(map(len, self.of.values()))
        for names in self.of.values():
            names.clear()
        return found


def test_only_new_work_is_done(
    done: tuple[Path, atlas.Atlas], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task more, a draw more, another order, another α: counted; and the end is that of one run of it all."""
    out, counted = tmp_path / "run", Counted(monkeypatch)
    one = dataclasses.replace(CONFIG, seeds=1)
    atlas.run(one, out, probe=small(), tasks=TASKS[:3])
    # embeddings from all images and from one draw; experts; 3² transfers and 3 from the probe; 3² heads
    assert counted.take() == (3 + 3, 3, 9 + 3, 9, 0)
    atlas.run(one, out, probe=small(), tasks=TASKS)
    assert counted.take() == (1 + 1, 1, 16 - 9 + 1, 16 - 9, 0)
    grown = atlas.run(CONFIG, out, probe=small(), tasks=TASKS)
    assert counted.take() == (4, 0, 16 + 4, 16, 0)  # the second draw
    for name in ("pairs.csv", "ranking.csv", "report.txt"):
        if name != "report.txt":  # which has the seconds
            assert (out / name).read_bytes() == (done[0] / name).read_bytes()

    turned = atlas.run(CONFIG, out, probe=small(), tasks=TASKS[::-1])
    other = atlas.run(dataclasses.replace(CONFIG, alpha=0.9), out, probe=small(), tasks=TASKS)
    fewer = atlas.run(one, out, probe=small(), tasks=TASKS[1:])
    assert counted.take() == (0, 0, 0, 0, 0)
    assert turned.tasks == NAMES[::-1]
    assert np.array_equal(turned.errors, grown.errors[::-1, ::-1])
    assert np.array_equal(other.predictors["task2vec"].values, grown.task2vec(0.9).values, equal_nan=True)
    assert np.array_equal(fewer.errors, grown.errors[1:, 1:, :1])
    assert set(json.loads((out / "config.json").read_text())["images"]) == set(NAMES)


def test_a_task_whose_images_changed_is_made_anew(
    done: tuple[Path, atlas.Atlas],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, counted = tmp_path / "run", Counted(monkeypatch)
    shutil.copytree(done[0], out)
    images = TASKS[1].test.images.copy()
    images[0, 0, 0] ^= 1  # one pixel of one test image
    changed = dataclasses.replace(TASKS[1], test=tasks.ArrayDataset(images, TASKS[1].test.labels))
    go(out, tasks=[TASKS[0], changed, *TASKS[2:]])
    assert "standing: its images have changed since; it is made anew" in capsys.readouterr().err
    # its three embeddings and its expert; as a source 4 targets, as a target 3 sources and the probe; 7 heads
    assert counted.take() == (3, 1, 2 * (4 + 3 + 1), 2 * 7, 0)
    assert counted.of == {name: [] for name in counted.of}
    twisted = [dataclasses.replace(t, classes=("a", "b", "c")) for t in TASKS]
    with pytest.raises(ValueError, match=r"holds a run on other images of 'lying', 'standing'"):
        go(out, tasks=twisted)
    named = [dataclasses.replace(TASKS[0], name="standing!"), *TASKS[2:]]
    atlas._claim(out, dataclasses.replace(CONFIG, probe="small", tasks=("standing_",)), {"standing_": "x"})
    with pytest.raises(ValueError, match="'standing!' and 'standing_', which"):
        go(out, tasks=named)


def test_fine_tuning_is_a_truth(
    done: tuple[Path, atlas.Atlas], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is added to a run of heads, and ranked by; the probe is fine-tuned on the same shots."""
    out, counted = tmp_path / "run", Counted(monkeypatch)
    shutil.copytree(done[0], out)
    tuning = dataclasses.replace(CONFIG, truth="finetune", finetune_epochs=2)
    made = atlas.run(tuning, out, probe=small(), tasks=TASKS)
    assert counted.take() == (0, 0, 0, 0, 2 * (16 + 4))
    assert made.tuned is not None
    assert made.tuned_probe is not None
    few = _stages._only_shots(TASKS[2], CONFIG, 1)
    expert, _ = transfer.load_expert(out / "experts" / "spots.pt", small())
    lr = _stages.Cells(out / "frozen" / "slanted.npz").about["finetune_lr"]
    for start, got in ((expert, made.tuned[2, 3, 1]), (small(), made.tuned_probe[2, 1])):
        tuned = FINETUNE(start, few, epochs=2, lr=lr, batch_size=16, seed=1, device="cpu")
        assert got == pytest.approx((tuned.classify(few.test.images).argmax(1) != few.test.labels).mean())
    assert np.array_equal(made.errors, done[1].errors)
    assert np.array_equal(made.measured, atlas._off_diagonal(made.tuned.mean(2)), equal_nan=True)
    assert made.gains()[0, 1] == pytest.approx(made.tuned[0, 1].mean() / made.tuned_probe[0].mean() - 1)
    assert "fine_tuned_probe" in made.reference_regrets()
    answers = json.loads((out / "report.json").read_text())["targets"]
    assert answers["lying"]["fine_tuned"] == pytest.approx(made.tuned_probe[0].mean())
    assert "probe, fine-tuned" in {*answers["lying"]["within_noise"], answers["lying"]["best"]}
    assert "Heads order the sources as fine-tuning does" in (out / "report.txt").read_text()
    with (out / "pairs.csv").open() as file:
        row = list(csv.DictReader(file))[1]
    assert float(row["fine_tuned_error"]) == pytest.approx(made.tuned[0, 1].mean(), abs=1e-8)
    assert float(row["error"]) == pytest.approx(made.errors[0, 1].mean(), abs=1e-8)
    with pytest.raises(ValueError, match=r"holds a run with finetune_lr = None, not 0\.01"):
        atlas.run(dataclasses.replace(tuning, finetune_lr=1e-2), out, probe=small(), tasks=TASKS)
    atlas.run(CONFIG, out, probe=small(), tasks=TASKS)  # back to heads: nothing is measured, and nothing lost
    again = atlas.run(tuning, out, probe=small(), tasks=TASKS)
    assert counted.take() == (0, 0, 0, 0, 0)
    assert again.tuned is not None
    assert np.array_equal(again.tuned, made.tuned)


def test_a_rate_is_chosen_on_the_shots_of_a_target_and_kept(
    done: tuple[Path, atlas.Atlas], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All candidates have it; the probe is in both parts, and an expert in each."""
    asked: list[tuple[list[list[str]], str, list[float], int]] = []

    def choose(starts: Any, task: tasks.Task, grid: Any, **how: object) -> object:
        asked.append(
            ([[p.name for p in part] for part in starts], task.name, [r.lr for r in grid], len(task.train))
        )
        return grid[1], None

    monkeypatch.setattr(transfer, "choose_recipe", choose)
    shutil.copytree(done[0], tmp_path / "run")
    tuning = dataclasses.replace(CONFIG, truth="finetune")
    library = atlas.Library(tuning, TASKS)
    for _ in range(2):
        assert _stages.choose_rate(tmp_path / "run", library, "spots", small(), tuning) == 3e-4
    ((starts, name, rates, n),) = asked
    assert ([part[0] for part in starts], name, rates, n) == (["small"] * 2, "spots", [1e-4, 3e-4, 1e-3], 15)
    experts = {part[1] for part in starts}
    assert len(experts) == 2
    assert "small@spots" not in experts
    given = dataclasses.replace(tuning, finetune_lr=0.5)
    assert _stages.choose_rate(tmp_path / "run", library, "lying", small(), given) == 0.5


def test_a_diverging_fine_tuning_is_made_again_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []

    def first_bad(*arguments: object, lr: float, **options: object) -> probes.Probe:
        rates.append(lr)
        if len(rates) == 1:
            raise transfer.TrainingError("NaN")
        return FINETUNE(*arguments, lr=lr, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "finetune", first_bad)
    once = dataclasses.replace(CONFIG, finetune_epochs=1)
    error = _stages._fine_tuned_error(small(), TASKS[0], 5e-4, once, 0)
    assert rates == [5e-4, 5e-4 / 3]
    assert 0 <= error <= 1


def test_free_baselines_are_columns_of_the_task_list(done: tuple[Path, atlas.Atlas]) -> None:
    _, made = done
    for name, values in (
        ("source_classes", [e.metadata["n_classes"] for e in made.embeddings]),
        ("source_entropy", [e.metadata["entropy"] for e in made.embeddings]),
        ("source_accuracy", [1 - e.metadata["error"] for e in made.embeddings]),
    ):
        p = made.predictors[name]
        assert p.values[0, 1:] == pytest.approx(values[1:]), name
        assert p.values[2, :2] == pytest.approx(values[:2]), name
        assert (p.kind, p.needs) == ("score", "no expert")


def test_the_cross_validated_head_is_a_head_on_the_other_parts(done: tuple[Path, atlas.Atlas]) -> None:
    """Against heads in all directions, one a part; it sees no test image."""
    _, made = done
    few = _stages._only_shots(TASKS[0], CONFIG, 0).train
    features = small().features(few.images)
    wrong = _stages.left_out_errors(features, few.labels)
    for part in transfer.folds(few.labels, 5, 0):
        rest = np.setdiff1d(np.arange(len(few.labels)), part)
        head = embedding.fit_head(features[rest], few.labels[rest], 3)
        logits = head(torch.from_numpy(features[part]))
        margin = logits.topk(2, 1).values.diff().abs().numpy().ravel()
        sure = margin > 1e-2  # the others lie on the boundary
        assert np.array_equal((logits.argmax(1).numpy() != few.labels[part])[sure], wrong[part][sure])
        assert sure.mean() > 0.5
    assert made.predictors["cross_validated_head"].probe is not None
    draws = [1 - wrong.mean(), 1 - _stages.left_out_errors(*_shots(0, 1)).mean()]
    assert made.predictors["cross_validated_head"].probe[0] == pytest.approx(np.mean(draws))
    shuffled = np.random.default_rng(0).permutation(few.labels)
    assert abs(_stages.left_out_errors(features, shuffled).mean() - 2 / 3) < 0.34
    for labels, folds, message in (
        (np.array([0, 0, 1]), 5, "class 1 has one sample"),
        (np.array([0, 0, 1, 1]), 1, "1 parts"),
    ):
        with pytest.raises(ValueError, match=message):
            _stages.left_out_errors(np.eye(len(labels)), labels, folds=folds)


def _shots(task: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
    few = _stages._only_shots(TASKS[task], CONFIG, draw).train
    return small().features(few.images), few.labels


def test_answers_by_hand() -> None:
    """Three tasks, two draws: who is best, who picks it, what is lost, what is not told apart, and the words."""
    errors = np.array(
        [
            [[0.0, 0.0], [0.2, 0.2], [0.4, 0.4]],
            [[0.5, 0.5], [0.0, 0.0], [0.1, 0.1]],
            [[0.3, 0.5], [0.5, 0.4], [0.0, 0.0]],
        ]
    )
    said = np.array([[np.nan, 1.0, 2.0], [3.0, np.nan, 4.0], [5.0, 6.0, np.nan]])
    predictors = {
        "task2vec": atlas.Predictor(said, "distance", "no expert"),
        "logme": atlas.Predictor(said, "score", "experts", probe=np.array([0.0, 9.0, 0.0])),
    }
    frozen = np.array([[0.3, 0.3], [0.05, 0.05], [0.6, 0.6]])
    made = atlas.Atlas(
        ("a", "b", "c"), errors, frozen, (), None, predictors, {}, {}, n_test=(10_000, 10_000, 40)
    )
    first, second, third = made.answers()
    assert first == {
        "target": "a",
        "best": "b",
        "error": pytest.approx(0.2),
        "frozen": pytest.approx(0.3),
        "fine_tuned": None,
        "picked": {"task2vec": "b", "logme": "c"},
        "regret": {"task2vec": 0.0, "logme": pytest.approx(0.2)},
        "within_noise": [],
        "words": "a: start from b (error 0.200; the probe as it is 0.300); Task2Vec picks b (the best); "
        "LogME picks c (0.200 worse)",
    }
    assert (second["best"], second["picked"]["logme"]) == ("probe", "probe")
    assert second["words"].startswith("b: stay with the probe (error 0.050;")
    assert third["best"] == "a"
    assert third["within_noise"] == ["b", "probe"]  # 0.4, 0.45 and 0.6 of forty images
    tuned = dataclasses.replace(made, tuned=errors, tuned_probe=frozen - 0.04)
    assert tuned.answers()[1]["best"] == "probe, fine-tuned"
    assert tuned.answers()[1]["picked"]["logme"] == "probe, fine-tuned"
    assert tuned.answers()[1]["words"].startswith(
        "b: fine-tune the probe (error 0.010; the probe as it is 0.050, fine-tuned 0.010)"
    )


def test_the_report_has_an_answer_for_every_target(done: tuple[Path, atlas.Atlas]) -> None:
    out, made = done
    report, text = json.loads((out / "report.json").read_text()), (out / "report.txt").read_text()
    assert list(report["targets"]) == list(NAMES)
    for row in made.answers():
        kept = report["targets"][row["target"]]
        assert {"best", "picked", "frozen", "fine_tuned"} <= set(kept)
        assert set(kept["picked"]) == {"task2vec", "head_nearest_class_mean", "logme", "cross_validated_head"}
        assert kept["words"] == row["words"]
        assert f"{row['target']}: " in text
    mean = made.errors.mean(2)
    for t, name in enumerate(NAMES):
        best = min(made.frozen[t].mean(), *(mean[t, s] for s in range(4) if s != t))
        assert report["targets"][name]["error"] == pytest.approx(best)
    lines = text.splitlines()
    table = lines[lines.index("") + 1 : lines.index("", lines.index("") + 1)]
    assert len({line.index(" no expert") for line in table if line.endswith("no expert")}) == 1, (
        "columns are straight"
    )
    assert "a source drawn at random 0.0" in text
    assert "another draw: the ceiling" in text


def test_the_ceiling_is_how_one_draw_orders_another(done: tuple[Path, atlas.Atlas]) -> None:
    _, made = done
    off = [atlas._off_diagonal(made.errors[:, :, r]) for r in (0, 1)]
    each = [comparison.compare(np.delete(off[0][t], t), np.delete(off[1][t], t)).kendall for t in range(4)]
    ceiling = made.ceiling()
    assert ceiling is not None
    assert ceiling.value == pytest.approx(np.mean(each))
    assert ceiling.low <= ceiling.value <= ceiling.high
    rows = {row["method"]: row for row in made.ranking(draws=2)}
    crossed = []
    for a, b in ((0, 1), (1, 0)):
        said = [[_logme(s, t, a, made, done[0]) for s in range(4)] for t in range(4)]
        crossed += [
            comparison.compare(np.delete(said[t], t), np.delete(off[b][t], t), kind="score").kendall
            for t in range(4)
        ]
    assert rows["logme"]["crossed"] == pytest.approx(np.mean(crossed))
    single = dataclasses.replace(made, errors=made.errors[:, :, :1])
    assert single.ceiling() is None
    assert "crossed" not in single.ranking(draws=2)[0]


def _logme(source: int, target: int, draw: int, made: atlas.Atlas, out: Path) -> float:
    expert, _ = transfer.load_expert(out / "experts" / f"{made.tasks[source]}.pt", small())
    few = _stages._only_shots(TASKS[target], CONFIG, draw).train
    return baselines.logme(expert.features(few.images), few.labels)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"config": {"tasks": []}}'])
def test_a_damaged_config_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json: damaged"):
        atlas.load(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json: damaged"):
        atlas._check_settings(tmp_path, atlas.AtlasConfig())


@pytest.mark.slow
def test_two_processes_find_what_one_finds(done: tuple[Path, atlas.Atlas], tmp_path: Path) -> None:
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    script += f"import test_atlas as t\nfrom pathlib import Path\nt.go(Path({str(tmp_path / 'run')!r}))\n"
    (tmp_path / "go.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    made = subprocess.run(
        [*command, tmp_path / "go.py"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ},
    )
    assert made.returncode == 0, made.stderr
    one, two = done[1], atlas.load(tmp_path / "run")
    # another number of threads may add in another order
    for a, b in zip(one.embeddings, two.embeddings, strict=True):
        assert np.allclose(a.values, b.values, rtol=1e-4, atol=0)
    assert np.allclose(one.errors, two.errors, atol=1.5 / 30)
    assert np.allclose(
        one.predictors["leep"].values, two.predictors["leep"].values, atol=1e-3, equal_nan=True
    )
    assert (tmp_path / "run" / "ranking.csv").exists()
