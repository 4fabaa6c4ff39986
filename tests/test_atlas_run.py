"""The committed atlas: its tables are whole and agree with each other, and the script that wrote them runs."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from helpers import ROOT, load_script, read_csv

from t2v import atlas, comparison, distance, embedding

RUN = ROOT / "book" / "runs" / "atlas"
STAGES = ("conv_stem", *(f"blocks.{k}" for k in range(7)), "conv_head")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("atlas_run")


def test_the_committed_run_is_complete() -> None:
    about = json.loads((RUN / "config.json").read_text(encoding="utf-8"))
    names, seeds = about["config"]["tasks"], about["seeds"]
    assert len(names) >= 24
    assert len(seeds) >= 3
    described = read_csv(RUN / "tasks.csv")
    assert [(int(r["seed"]), r["task"]) for r in described] == [(s, t) for s in seeds for t in names]
    for k, seed in enumerate(seeds):
        tasks, columns = atlas.read_pairs(RUN / f"pairs-seed{seed}.csv")
        assert list(tasks) == names
        rows = [row for row in described if int(row["seed"]) == seed]
        frozen = np.array([float(row["frozen_error"]) for row in rows])
        own = np.array([float(row["own_error"]) for row in rows])
        assert np.allclose(columns["frozen_error"], frozen[:, None], atol=1e-4)
        assert np.allclose(np.diag(columns["error"]), own, atol=1e-4)
        assert about["failed_experts"][str(seed)] == [
            name for name, o, f in zip(names, own, frozen, strict=True) if o >= f > 0
        ]
        assert about["seconds"][k]["experts"] > about["seconds"][k]["embeddings"] > 0


def test_the_committed_cuts_are_complete() -> None:
    about, rows = json.loads((RUN / "config.json").read_text(encoding="utf-8")), read_csv(RUN / "cuts.csv")
    keys = [(int(r["seed"]), r["target"], r["which"], r["stage"]) for r in rows]
    kinds, parts = ("frozen", "nearest", "best"), STAGES[1:]
    wanted = itertools.product(about["seeds"], about["config"]["tasks"], kinds, parts)
    assert keys == list(wanted)
    columns = {seed: atlas.read_pairs(RUN / f"pairs-seed{seed}.csv")[1] for seed in about["seeds"]}
    names = about["config"]["tasks"]
    for row in rows:  # the last cut is the run's own measurement; a few images may lie on the boundary
        if row["stage"] == parts[-1]:
            c, t = columns[int(row["seed"])], names.index(row["target"])
            key, s = ("error", names.index(row["source"])) if row["source"] else ("frozen_error", 0)
            assert float(row["error"]) == pytest.approx(c[key][t, s], abs=0.021)


def test_the_committed_columns_agree_with_each_other() -> None:
    about = json.loads((RUN / "config.json").read_text(encoding="utf-8"))
    off = ~np.eye(len(about["config"]["tasks"]), dtype=bool)
    for seed in about["seeds"]:
        _, c = atlas.read_pairs(RUN / f"pairs-seed{seed}.csv")
        for name, reference in (
            ("task2vec", "source_to_trivial"),
            ("task2vec_canonical", "source_to_canonical"),
        ):
            want = c["d_sym"] - about["config"]["alpha"] * c[reference]
            assert np.allclose(c[name][off], want[off], atol=1e-4), name
        assert np.allclose(c["d_sym"], c["d_sym"].T, equal_nan=True)
        some = c["frozen_error"] > 0
        gain = (c["error"] - c["frozen_error"])[some] / c["frozen_error"][some]
        assert np.allclose(c["d_ft"][some], gain, atol=1e-3)
        assert {f"d_sym:{part}" for part in STAGES} <= set(c)


def test_the_number_of_classes_is_a_rival() -> None:
    """A source's number of classes takes no image and no probe, and Task2Vec is not shown to order sources better."""
    about = json.loads((RUN / "config.json").read_text(encoding="utf-8"))
    names = about["config"]["tasks"]
    classes = {row["task"]: int(row["n_classes"]) for row in read_csv(RUN / "tasks.csv")}
    columns = [atlas.read_pairs(RUN / f"pairs-seed{seed}.csv")[1] for seed in about["seeds"]]
    off = np.where(np.eye(len(names), dtype=bool), np.nan, 1.0)
    errors, task2vec = (np.mean([c[key] for c in columns], axis=0) * off for key in ("error", "task2vec"))
    count = np.tile([float(classes[name]) for name in names], (len(names), 1)) * off
    rival = comparison.bootstrap(count, errors, kind="score").kendall
    ours = comparison.bootstrap(task2vec, errors).kendall
    assert rival.low > 0.1
    assert np.percentile(ours.draws - rival.draws, 97.5) > 0, (
        "Task2Vec would have to be ahead beyond the interval"
    )


def by_seed(key: str) -> np.ndarray:
    """Return a column of the committed pairs ``(targets, sources, seeds)``, without the diagonal."""
    about = json.loads((RUN / "config.json").read_text(encoding="utf-8"))
    off = np.where(np.eye(len(about["config"]["tasks"]), dtype=bool), np.nan, 1.0)
    columns = [atlas.read_pairs(RUN / f"pairs-seed{seed}.csv")[1] for seed in about["seeds"]]
    return np.stack([c[key] * off for c in columns], axis=-1)


def of_source(key: str) -> np.ndarray:
    """Return a source's value for every target, larger for a source that is expected to be better."""
    rows, errors = read_csv(RUN / "tasks.csv"), by_seed("error")
    n, seeds = errors.shape[1:]
    values = np.array([float(row[key]) for row in rows]).reshape(seeds, n).T
    return np.broadcast_to(values, errors.shape) * np.where(np.isnan(errors), np.nan, 1.0)


def test_classes_of_the_source_count_beyond_its_nearness_and_its_norm_does_not() -> None:
    """Of three measures of a source's complexity the number of classes orders sources, given the distance, too."""
    errors, near = by_seed("error"), by_seed("d_sym")
    zy = comparison.across_seeds(near, errors, draws=200).kendall
    plain, given = {}, {}
    for key in ("n_classes", "entropy", "norm"):
        x = of_source(key)
        plain[key] = comparison.across_seeds(x, errors, kind="score", draws=200).kendall
        xz = comparison.across_seeds(x, near, kind="score", same=True, draws=200).kendall
        given[key] = comparison.partial(plain[key], zy, xz)
    assert plain["n_classes"].value == pytest.approx(0.431, abs=0.002)
    assert given["n_classes"].low > 0.1
    assert given["entropy"].low < 0.05
    assert given["norm"].value < 0


def test_scores_on_the_shots_share_their_luck_and_crossing_the_seeds_takes_it_away() -> None:
    """LogME sees the shots on which the head is fitted; judged by other shots it is at the ceiling. Task2Vec loses nothing."""
    errors = by_seed("error")
    ceiling = comparison.across_seeds(errors, errors, draws=100).kendall.value
    for key, kind, luck in (("logme", "score", 0.1), ("task2vec", "distance", 0.0)):
        values = by_seed(key)
        own, other = (
            comparison.across_seeds(values, errors, kind=kind, same=same, draws=1).kendall.value
            for same in (True, False)
        )
        assert own - other == pytest.approx(luck, abs=0.02), key
        assert other < ceiling + 0.02
    assert ceiling == pytest.approx(0.57, abs=0.01)


@pytest.mark.slow
def test_the_script_writes_such_tables(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"size": 32, "train": 40, "test": 20, "shots": 4, "epochs": 1}
    monkeypatch.setattr(atlas.AtlasConfig, "at", functools.partial(atlas.AtlasConfig.at, **small))
    names = ("dice", "textures", "photo_blur")
    out, runs = tmp_path / "tables", tmp_path / "runs"
    script.main(["--tasks", *names, "--seeds", "3", "--out", str(out), "--runs", str(runs)])
    tasks, columns = atlas.read_pairs(out / "pairs-seed3.csv")
    made = atlas.load(runs / "seed3")
    assert tasks == names
    assert np.allclose(columns["error"], made.errors.mean(2), atol=1e-4)
    dice, textures = made.embeddings[:2]
    in_stem = [e.values[e.layers["conv_stem.weight"]] for e in (dice, textures)]
    assert columns["d_sym:conv_stem"][0, 1] == pytest.approx(distance.symmetric(*in_stem), rel=1e-3)
    want = distance.symmetric(textures, embedding.trivial(dice))
    assert columns["source_to_trivial"][0, 1] == pytest.approx(want, rel=1e-3)
    rows = read_csv(out / "cuts.csv")
    assert len(rows) == 3 * 3 * 8
    assert {r["seed"] for r in rows} == {"3"}
    errors = {(r["target"], r["which"], r["stage"]): float(r["error"]) for r in rows}
    for t, name in enumerate(
        names
    ):  # the last cut is the run's own measurement; one image may lie on the boundary
        assert errors[name, "frozen", "conv_head"] == pytest.approx(made.frozen[t].mean(), abs=0.051)
        assert errors[name, "best", "conv_head"] == pytest.approx(np.nanmin(made.measured[t]), abs=0.051)
    assert len({errors[names[0], "frozen", part] for part in STAGES[1:]}) > 1
    described = read_csv(out / "tasks.csv")
    assert [(r["task"], r["seed"]) for r in described] == [(n, s) for s in "3" for n in names]


def test_the_best_source_is_chosen_by_the_other_runs(script: ModuleType) -> None:
    errors = np.array(
        [
            [[0.0, 0.3, 0.5], [0.2, 0.0, 0.4], [0.6, 0.1, 0.0]],
            [[0.0, 0.9, 0.1], [0.8, 0.0, 0.2], [0.1, 0.7, 0.0]],
        ]
    )
    runs = [SimpleNamespace(measured=np.where(np.eye(3, dtype=bool), np.nan, one)) for one in errors]
    assert script.best_elsewhere(runs, 0).tolist() == [2, 2, 0]  # the second run's best
    assert script.best_elsewhere(runs, 1).tolist() == [1, 0, 1]
    assert script.best_elsewhere(runs[:1], 0).tolist() == [1, 0, 1]
