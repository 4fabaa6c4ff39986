"""The fine-tuning run: its choice of tasks, that a stopped run goes on, and that the committed tables are whole."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers import ROOT, load_script, read_csv
from torch import nn

from t2v import baselines, comparison, probes, tasks

RUN = ROOT / "book" / "runs" / "finetune"
PARTS = ("drawn", "photographs")
NAMES = ("mnist", "digits", "textures")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("finetune_run")


@pytest.fixture
def probe() -> probes.Probe:
    torch.manual_seed(0)
    stem = [nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return probes.from_module(nn.Sequential(*stem, nn.Linear(8, 4)), head="5", name="small", input_size=16)


def start(script: ModuleType, probe: probes.Probe, folder: Path, names: tuple[str, ...], *more: str) -> Path:
    part = script.Part("drawn", names, size=16, train=40, test=30, most=20, shots=4, steps=4)
    script.main([str(folder / "runs"), "--out", str(folder / "out"), *more], {"drawn": part}, probe)
    return folder / "out"


def test_a_small_run(
    script: ModuleType, probe: probes.Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "random_start", lambda run: probe)
    out = start(script, probe, tmp_path, NAMES, "--parts", "drawn:0", "drawn:1")
    rows = read_csv(out / "drawn.csv")
    wanted = [(s, t, c) for s in "01" for t in NAMES for c in ("probe", *NAMES, "scratch") if c != t]
    assert [(r["seed"], r["target"], r["candidate"]) for r in rows] == wanted
    assert tuple(rows[0]) == script.COLUMNS
    for row in rows:
        assert 0 <= float(row["finetuned_error"]) <= 1
        assert (row["head_error"] == "") == (row["candidate"] == "scratch")
        assert (row["d_sym"] == "") == (row["candidate"] in ("probe", "scratch"))
    assert len(read_csv(out / "tasks.csv")) == 6
    assert len(read_csv(out / "recipes.csv")) == 3 * 2 * 3  # of the first seed alone
    assert len(read_csv(out / "controls.csv")) == 3 * 3 * 3
    assert {(r["seed"], r["target"] == r["source"]) for r in read_csv(out / "rates.csv")} == {("0", False)}


def test_random_weights_have_a_recipe_of_their_own(
    script: ModuleType, probe: probes.Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are random, their rate is chosen with them alone and from a grid of their own, and they get more steps."""
    run = script.Run(script.DRAWN, 0, tmp_path, probes.load("efficientnet_lite0"), 0)
    stem = "conv_stem.weight"
    trained, random = (p.model.state_dict()[stem] for p in (run.probe, script.random_start(run)))
    assert abs(float(torch.corrcoef(torch.stack([trained.flatten(), random.flatten()]))[0, 1])) < 0.2
    assert torch.equal(random, script.random_start(run).model.state_dict()[stem])  # of this seed

    other = probes.from_module(
        nn.Sequential(nn.Flatten(), nn.Linear(768, 4)), head="1", name="small", input_size=16
    )
    monkeypatch.setattr(script, "random_start", lambda run: other)
    asked: list[tuple[set[int], int, float]] = []
    choose = script.transfer.choose_recipe

    def spy(starts, few, grid, **options):  # type: ignore[no-untyped-def]
        asked.append(({id(p) for row in starts for p in row}, grid[0].epochs, grid[-1].lr))
        return choose(starts, few, grid, **options)

    used: list[tuple[bool, script.Recipe]] = []
    train = script.Recipe.train
    monkeypatch.setattr(script.transfer, "choose_recipe", spy)
    monkeypatch.setattr(
        script.Recipe,
        "train",
        lambda by, at, few, **o: (used.append((at is other, by)), train(by, at, few, **o))[1],
    )
    start(script, probe, tmp_path / "small", NAMES, "--parts", "drawn:0")
    alone = [a for a in asked if a[0] == {id(other)}]
    with_probe = [a for a in asked if id(probe) in a[0]]
    assert len(alone) == len(with_probe) == len(NAMES)
    assert all(id(other) not in a[0] for a in with_probe)
    assert {a[1] for a in alone} == {script.SCRATCH_LONGER * a[1] for a in with_probe}
    assert {a[2] for a in alone} == {max(script.SCRATCH_RATES)}
    final = [by for of_other, by in used if of_other]
    assert {by.epochs for by in final} == {a[1] for a in alone}


def test_a_stopped_run_goes_on(
    script: ModuleType, probe: probes.Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "random_start", lambda run: probe)
    some = (NAMES, "--parts", "drawn:0")
    whole = start(script, probe, tmp_path / "whole", *some)
    kept, done = script.keep, []

    def note(path: Path, found: object) -> None:
        kept(path, found)
        done.append(path)
        if killed and sum(p.parent.name == "pairs" for p in done) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(script, "keep", note)
    killed = True
    with pytest.raises(KeyboardInterrupt):
        start(script, probe, tmp_path / "stopped", *some)
    killed, before = False, len(done)
    stopped = start(script, probe, tmp_path / "stopped", *some)
    assert before < len(done) == len(set(done))  # it went on, and made nothing twice
    for column in ("target", "candidate", "finetuned_error", "head_error", "logme", "d_sym"):
        values = [[row[column] for row in read_csv(out / "drawn.csv")] for out in (whole, stopped)]
        assert values[0] == values[1], column
    again = start(script, probe, tmp_path / "stopped", *some, "--tables")
    assert (again / "drawn.csv").read_text() == (stopped / "drawn.csv").read_text()


def test_another_machine_goes_on_from_the_tables(
    script: ModuleType, probe: probes.Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = (NAMES, "--parts", "drawn:0", "drawn:1")
    monkeypatch.setattr(script, "random_start", lambda run: probe)
    whole = start(script, probe, tmp_path / "whole", *some)
    out, lines = tmp_path / "moved" / "out", (whole / "drawn.csv").read_text().splitlines()
    shutil.copytree(whole, out)
    lost = [row for row in lines if row.startswith("0,textures,digits") or row.startswith("1,textures,mnist")]
    (out / "drawn.csv").write_text("\n".join(row for row in lines if row not in lost) + "\n")
    load_script("finetune_unpack").main([str(tmp_path / "moved" / "runs"), "--out", str(out)])

    kept, done = script.keep, []
    monkeypatch.setattr(script, "keep", lambda path, found: (kept(path, found), done.append(path)))
    start(script, probe, tmp_path / "moved", *some)
    assert len(lost) == 2 == sum(path.parent.name == "pairs" for path in done)
    assert {p.parent.name for p in done} == {"pairs", "tasks", "apart"}  # no recipe, control or choice again
    for file in ("drawn", "recipes", "rates", "controls"):
        for old, new in zip(read_csv(whole / f"{file}.csv"), read_csv(out / f"{file}.csv"), strict=True):
            for column in set(old) - {"seconds", "seconds_head", "seconds_scores", "seconds_finetune"}:
                assert old[column] == new[column], (file, column)


def test_the_choice_of_tasks_is_balanced(script: ModuleType) -> None:
    assert len(set(script.DRAWN.names)) == len(set(script.PHOTOGRAPHS.names)) == 16
    families = [tasks.family(name) for name in script.DRAWN.names]
    assert [sum(f in of_kind for f in families) for of_kind in script.KINDS.values()] == [2] * 8
    of_set = {row.task: row.dataset for row in script.specification()}
    chosen = [of_set[name] for name in script.PHOTOGRAPHS.names]
    assert set(chosen) == set(of_set.values())
    assert all(chosen.count(name) == min(2, list(of_set.values()).count(name)) for name in chosen)


def test_the_shots_are_as_many_of_each_class(script: ModuleType) -> None:
    for name, classes, want in (("digits", 10, 10), ("faces", 2, 10), ("currency", 20, 5)):
        few = script.DRAWN.few(tasks.load(name, size=16, train=260, test=10), seed=0)
        assert np.bincount(few.train.labels).tolist() == [want] * classes


def test_the_published_fixed_point_differs_only_where_features_outnumber_samples(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    for d in (10, 200):
        x = rng.normal(size=(60, d)) + 2 * np.eye(3, d)[y]
        same = abs(script.logme_published(x, y) - baselines.logme(x, y)) < 0.01
        assert same == (d < 60)


# ---------------------------------------------------------------- the committed tables


@pytest.fixture(scope="module")
def committed() -> dict[str, comparison.Measured]:
    return {
        name: comparison.read_measured(RUN / f"{name}.csv")
        for name in PARTS
        if (RUN / f"{name}.csv").exists()
    }


def test_the_tables_stay_small() -> None:
    sizes = [file.stat().st_size for file in RUN.iterdir()]
    assert max(sizes) < 1_000_000
    assert sum(sizes) < 1_500_000


def test_the_settings_are_those_of_the_script(
    script: ModuleType, committed: dict[str, comparison.Measured]
) -> None:
    about = json.loads((RUN / "config.json").read_text(encoding="utf-8"))
    assert "drawn" in committed
    for name, measured in committed.items():
        kept = {
            key: value for key, value in dataclasses.asdict(script.PARTS[name]).items() if key != "folder"
        }
        assert {key: about[name][key] for key in kept} == json.loads(json.dumps(kept))
        assert set(measured.seeds) <= set(about[name]["seeds"])
        assert set(measured.candidates) == {*kept["names"], script.PROBE} | set(measured.candidates) & {
            script.SCRATCH
        }
    if "photographs" in committed:
        assert all(row["licence"] for row in about["photographs"]["data_sets"].values())


def test_the_committed_rows_are_whole(script: ModuleType, committed: dict[str, comparison.Measured]) -> None:
    for measured in committed.values():
        c = measured.columns
        there = np.isfinite(c["seconds_finetune"])  # of every measured pair
        assert tuple(c) == tuple(
            name for name in script.COLUMNS if name not in ("seed", "target", "candidate")
        )
        for name in ("finetuned_error", "head_error", "cross_validated_head", "nearest_class_mean"):
            some = c[name][np.isfinite(c[name])]
            assert ((some >= 0) & (some <= 1)).all(), name
        scratch = np.array([name == script.SCRATCH for name in measured.candidates])
        own = np.array([[t == name for name in measured.candidates] for t in measured.targets])
        assert not there[own].any()
        assert np.isfinite(c["head_error"])[:, ~scratch][there[:, ~scratch]].all()
        # a training that failed has no error; there may be a few
        assert np.isfinite(c["finetuned_error"])[there].mean() > 0.95


def test_the_committed_distances_are_symmetric(committed: dict[str, comparison.Measured]) -> None:
    for measured in committed.values():
        d = measured.only(measured.targets)["d_sym"]
        both = np.isfinite(d) & np.isfinite(d.transpose(1, 0, 2))
        assert np.allclose(d[both], d.transpose(1, 0, 2)[both], rtol=2e-3)


def test_every_recipe_is_of_the_smallest_cross_validated_error(
    committed: dict[str, comparison.Measured],
) -> None:
    rows = read_csv(RUN / "recipes.csv")
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["part"], row["target"], row["kind"]), []).append(row)
    for key, group in groups.items():
        errors = [float(row["fold1"]) + float(row["fold2"]) for row in group]
        assert [row["chosen"] for row in group].count("1") == 1
        chosen = next(k for k, row in enumerate(group) if row["chosen"] == "1")
        assert errors[chosen] <= min(errors) + 1e-3, key
