"""The atlas on a small network and small tasks: numbers against long-hand ones, interruption, resumption, processes."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from t2v import _stages, atlas, baselines, comparison, distance, embedding, probes, tasks, transfer

NAMES = ("lying", "standing", "slanted", "spots")
STAGES = ("embeddings", "shots", "heads", "experts", "measured")


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
    for stage, ending in (("embeddings", "npz"), ("heads", "npz"), ("experts", "pt"), ("measured", "npz")):
        assert {f.name for f in (out / stage).iterdir()} == {f"{name}.{ending}" for name in NAMES}
    assert {f.name for f in (out / "shots").iterdir()} == {
        f"{name}-{r}.npz" for name in NAMES for r in (0, 1)
    }
    rest = {f.name for f in out.iterdir() if f.is_file()}
    assert rest == {
        "canonical.npz",
        "config.json",
        "frozen.npz",
        "pairs.csv",
        "ranking.csv",
        "report.json",
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
    rates: list[float] = []

    def at_first_bad(*arguments: object, lr: float, **options: object) -> probes.Probe:
        rates.append(lr)
        if len(rates) == 1:
            raise transfer.TrainingError("collapsed")
        return transfer.finetune(*arguments, lr=lr, **options)  # type: ignore[arg-type]

    separated = iter([0.6, 0.5])  # the probe, and the expert of the second try; the third is kept as it is
    monkeypatch.setattr(_stages, "finetune", at_first_bad)
    monkeypatch.setattr(baselines, "nearest_class_mean", lambda *_: next(separated))
    expert, lr = _stages.fit_expert(TASKS[1], small(), CONFIG)
    assert rates == [pytest.approx(1e-3 / k) for k in (1, 3, 9)]
    assert lr == rates[-1]
    want = transfer.finetune(small(), TASKS[1], epochs=2, lr=1e-3 / 9, device="cpu")
    images = TASKS[1].test.images
    assert np.allclose(expert.features(images), want.features(images))

    separated = iter([0.6, 0.7])
    rates[:] = [0.0]
    assert _stages.fit_expert(TASKS[1], small(), CONFIG)[1] == 1e-3  # good at once
    separated = iter([0.6])

    def always(*arguments: object, **options: object) -> probes.Probe:
        raise transfer.TrainingError("the expert of 'standing' collapsed")

    monkeypatch.setattr(_stages, "finetune", always)
    with pytest.raises(transfer.TrainingError, match="'standing' collapsed"):
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
        work = getattr(_stages, name)

        def slow(*arguments: object, **options: object) -> object:
            clock[0] += seconds
            return work(*arguments, **options)

        monkeypatch.setattr(_stages, name, slow)

    shutil.copytree(done[0], tmp_path / "run")
    for kind in ("experts", "measured", "heads"):
        shutil.rmtree(tmp_path / "run" / kind)
    (tmp_path / "run" / "frozen.npz").unlink()
    monkeypatch.setattr(_stages, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    prices = {
        "finetune": 1000.0,
        "_low_shot_error": 10.0,
        "_scores": 1.0,
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
    assert made.seconds["baselines"] == pytest.approx(1 * n * n * draws)
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
        return transfer.finetune(probe, task, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(_stages, "finetune", tired)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path)
    first = stamps(tmp_path)
    assert {f for f in first if f.startswith("experts")} == {"experts/lying.pt", "experts/standing.pt"}
    assert not [f for f in tmp_path.rglob("*") if f.suffix == ".tmp"]
    with pytest.raises(ValueError, match=r"not finished \(frozen.npz is missing\)"):
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
    with pytest.raises(ValueError, match="holds a run with tasks"):
        go(out, tasks=TASKS[:3])
    shutil.copytree(out, tmp_path / "copy")
    (tmp_path / "copy" / "measured" / "spots.npz").unlink()
    with pytest.raises(ValueError, match=r"experts/spots.pt: an expert of another architecture"):
        go(tmp_path / "copy", probe=small(width=10))
    (tmp_path / "copy" / "measured" / "spots.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"spots.npz: damaged"):
        atlas.load(tmp_path / "copy")
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
        (lambda: atlas.AtlasConfig.at("quick", method="guess"), "rademacher, sample, exact"),
        (lambda: atlas.AtlasConfig.at("quick", tasks=("a", "a")), "a given more than once"),
        (lambda: go(tmp_path, tasks=TASKS[:2]), "at least three"),
        (lambda: go(tmp_path, tasks=[TASKS[0]] * 3), "lying given more than once"),
        (
            lambda: go(tmp_path, tasks=[pattern(n, n_train=12) for n in NAMES]),
            "class 'narrow' of task 'lying' has 4",
        ),
        (lambda: atlas.run(atlas.AtlasConfig(tasks=("greek_lowr",)), tmp_path), "greek_lower"),
        (lambda: atlas.run(atlas.AtlasConfig(library=str(tmp_path / "no")), tmp_path), "not a folder"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert atlas.AtlasConfig.at("quick", library="x").tasks == ()
    assert atlas.AtlasConfig.at("full").probe == "resnet34"
    assert set(atlas.QUICK_TASKS) <= set(tasks.names())
    assert len(atlas.QUICK_TASKS) >= 24


def test_tasks_are_opened_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def fake(name: str, root: Path, download: bool, fewer: bool, **numbers: int) -> tasks.Task:
        asked.append((name, root, download, fewer, numbers))
        return TASKS[0]

    monkeypatch.setattr("t2v._library.from_torchvision", fake)
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

    atlas._claim(tmp_path / "run", config, atlas.Library(config, None).fingerprints())
    atlas._claim(tmp_path / "run", config, atlas.Library(config, None).fingerprints())
    old = json.loads((tmp_path / "run" / "config.json").read_text())
    del old["fingerprints"], old["config"]["arithmetic"]  # as a run of an earlier version
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text(json.dumps(old))
    next((tmp_path / "library" / "slanted" / "wide").glob("*.png")).unlink()
    with pytest.raises(ValueError, match="other images of 'slanted': its folder has changed"):
        atlas._claim(tmp_path / "run", config, atlas.Library(config, None).fingerprints())
    atlas._claim(tmp_path / "old", config, atlas.Library(config, None).fingerprints())
    other = dataclasses.replace(config, arithmetic="bfloat16")
    with pytest.raises(ValueError, match="arithmetic = 'float32', not 'bfloat16'"):
        atlas._claim(tmp_path / "old", other, {})
    with pytest.raises(ValueError, match="arithmetic: 'half' is unknown; accepted: float32"):
        dataclasses.replace(config, arithmetic="half")


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"config": {"tasks": []}}'])
def test_a_damaged_config_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json: damaged"):
        atlas.load(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json: damaged"):
        atlas._claim(tmp_path, atlas.AtlasConfig(), {})


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
