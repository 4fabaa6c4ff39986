"""The photographs: how tasks are cut, measured and resumed, on folders made here; and that the committed run is whole."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import ROOT, load_script, read_csv
from PIL import Image
from torch import nn

from t2v import distance, embedding, probes, tasks

RUN = ROOT / "book" / "runs" / "photographs"
METRICS = ("symmetric", "log_cosine", "cosine", "mean_features", "mean_features_centred", "pixels")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("photographs_run")


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    return load_script("photographs_build")


class Colours(nn.Module):
    """A network that sees three colours."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 6, 1), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3)))


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (12, 10), seed: int = 0) -> None:
    """Write a noisy picture of one colour."""
    noise = np.random.default_rng(seed).integers(-20, 21, (*size, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two data sets of two classes; the frames of ``signs`` come in tracks of four."""
    for k, (dataset, name) in enumerate(itertools.product(("signs", "fruit"), ("one", "two"))):
        for i in range(24):
            paint(tmp_path / dataset / name / f"{i:04d}.png", (60 * k, 120, 200 - 60 * k), seed=100 * k + i)
    lines = ["file\toriginal_path"]
    lines += [
        f"{c}/{i:04d}.png\tX/{c}/{i // 4:05d}_{i % 4:05d}.ppm" for c in ("one", "two") for i in range(24)
    ]
    (tmp_path / "signs" / "manifest.tsv").write_text("\n".join(lines))
    return tmp_path


def spec(script: ModuleType, dataset: str, name: str | None = None) -> object:
    return script.Spec(name or dataset, dataset, "kind", "realm", ("one", "two"))


# ------------------------------------------------------------------------------------------------- how a task is cut
def test_frames_of_one_track_stay_together(script: ModuleType, folder: Path) -> None:
    home = folder / "signs" / "one"
    names = script.groups(folder / "signs", sorted(home.iterdir()))
    assert Counter(Counter(names).values()) == {4: 6}
    for seed in range(20):
        first, second = script.divide(names, 0.75, np.random.default_rng(seed))
        assert not {names[i] for i in first} & {names[i] for i in second}
        assert sorted([*first, *second]) == list(range(24))
        assert len(first) in (16, 20)  # whole tracks only: 18 cannot be had


def test_pictures_that_are_no_frames_are_alone(script: ModuleType, folder: Path) -> None:
    assert script.track("dataset/Pear_001.jpg") == "dataset/Pear_001.jpg"
    assert script.track("a/0001_7.ppm") == script.track("a/0001_8.ppm") != script.track("b/0001_7.ppm")
    files = sorted((folder / "fruit" / "one").iterdir())
    assert len(set(script.groups(folder / "fruit", files))) == 24


def test_a_class_of_a_single_track_is_refused(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="one group"):
        script.divide(["t"] * 5, 0.75, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("supply", "total", "given"),
    [([9, 9, 9], 8, [3, 3, 2]), ([9, 1, 9], 9, [4, 1, 4]), ([2, 3], 99, [2, 3]), ([4, 4], 0, [0, 0])],
)
def test_images_are_shared_out_equally(
    script: ModuleType, supply: list[int], total: int, given: list[int]
) -> None:
    assert script.level(supply, total) == given


def test_a_task_is_balanced_and_divided(script: ModuleType, folder: Path) -> None:
    """No test image among the training images, classes alike, another seed another choice, one size."""
    made = [script.load_task(folder, spec(script, "fruit"), k, size=8, train=20, test=9) for k in (0, 0, 1)]
    task = made[0]
    assert task.train.images.shape == (20, 8, 8, 3)
    assert np.bincount(task.train.labels).tolist() == [10, 10]
    assert sorted(np.bincount(task.test.labels).tolist()) == [4, 5]
    seen = {image.tobytes() for image in task.train.images}
    assert len(seen) == 20
    assert not seen & {image.tobytes() for image in task.test.images}
    assert np.array_equal(task.train.images, made[1].train.images)
    assert not np.array_equal(task.train.images, made[2].train.images)


def test_what_is_missing_is_named(script: ModuleType, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder .*cars"):
        script.load_task(folder, spec(script, "cars"), 0)
    (folder / "fruit" / "two").rename(folder / "fruit" / "deux")
    with pytest.raises(ValueError, match=r"no folder .*two"):
        script.load_task(folder, spec(script, "fruit"), 0)
    (folder / "fruit" / "two").mkdir()
    with pytest.raises(ValueError, match="fewer than two images"):
        script.load_task(folder, spec(script, "fruit"), 0)
    paint(folder / "signs" / "one" / "9999.png", (0, 0, 0))
    with pytest.raises(ValueError, match=r"no row for one/9999\.png"):
        script.load_task(folder, spec(script, "signs"), 0)


# ------------------------------------------------------------------------------------------------- measurements
def test_the_head_is_judged_on_the_test_images(script: ModuleType) -> None:
    """Labels of the test images are turned round: who scores the training images sees hardly an error."""
    rng, labels = np.random.default_rng(0), np.arange(40) % 2
    images = np.clip(rng.normal(90 + 70 * labels[:, None, None, None], 20, (40, 8, 8, 3)), 0, 255).astype(
        np.uint8
    )
    turned = tasks.ArrayDataset(images[:16], 1 - labels[:16])
    task = tasks.Task("two tones", tasks.ArrayDataset(images, labels), turned, ("dark", "bright"))
    probe = probes.from_module(Colours(), name="colours")
    found = script.measure(task, probe)
    assert found["error"] == 1.0
    assert np.allclose(found["mean_features"], probe.features(images).mean(0))
    assert np.allclose(found["pixels"], [*images.mean((0, 1, 2)), *images.std((0, 1, 2))])


def hand_made(task: str, values: list[float]) -> embedding.TaskEmbedding:
    return embedding.TaskEmbedding(np.array(values), {"conv.weight": slice(0, len(values))}, task, "probe")


def test_the_tables_hold_the_distances(script: ModuleType) -> None:
    """Each column by another route; the centred mean features are less their mean over all tasks."""
    first = [hand_made("a", [1.0, 1, 2, 9]), hand_made("b", [4.0, 1, 1, 9]), hand_made("c", [1.0, 6, 1, 9])]
    features = np.array([[1.0, 0, 2], [2.0, 1, 0], [0.0, 1, 1]])
    rows = [{"mean_features": f, "pixels": f[:2] + 1} for f in features]
    table = script.pairs(7, ["a", "b", "c"], script.matrices(first, rows))
    assert [row[:3] for row in table] == [[7, "a", "b"], [7, "a", "c"], [7, "b", "c"]]

    def cosine(x: np.ndarray, y: np.ndarray) -> float:
        return 1 - float(x @ y) / float(np.linalg.norm(x) * np.linalg.norm(y))

    for (i, j), row in zip(itertools.combinations(range(3), 2), table, strict=True):
        expected = [distance.METRICS[m](first[i], first[j]) for m in METRICS[:3]]
        middle = features.mean(0)
        expected += [cosine(features[i], features[j]), cosine(features[i] - middle, features[j] - middle)]
        expected += [cosine(features[i, :2] + 1, features[j, :2] + 1)]
        assert row[3:] == pytest.approx(expected, abs=1e-12)
    second = [hand_made("a", [1.0, 2, 2, 8]), hand_made("b", [5.0, 1, 2, 9]), hand_made("c", [2.0, 6, 1, 7])]
    for x, y, row in zip(first, second, script.between_seeds({3: first, 8: second}), strict=True):
        assert row == [x.task, 3, 8, distance.symmetric(x, y)]


def test_the_trace_weighs_each_filter_with_its_weights(script: ModuleType) -> None:
    probe = probes.from_module(Colours(), name="colours")
    assert script.trace(hand_made("t", [1.0, 2, 3, 4, 5, 6]), probe) == pytest.approx(
        3 * 21
    )  # a weight a colour


# -------------------------------------------------------------------------------------------------------- the run
def test_a_run_resumes_and_other_settings_are_refused(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run embeds nothing and writes the same tables; more training images need another folder."""
    probe = probes.from_module(Colours(), name="efficientnet_lite0")
    monkeypatch.setattr(script.probes, "load", lambda name, pretrained: probe)
    monkeypatch.setattr(script, "specification", lambda: [spec(script, "signs"), spec(script, "fruit")])
    load, train = script.load_task, [20]
    monkeypatch.setattr(script, "load_task", lambda *a: load(*a, size=8, train=train[0], test=8))
    options = [str(folder), "--seeds", "0", "1", "--embeddings", str(folder / "kept")]
    script.main([options[0], str(folder / "out"), *options[1:]])
    with monkeypatch.context() as patched:
        patched.setattr(embedding, "embed", None)
        script.main([options[0], str(folder / "again"), *options[1:]])
    for name in ("tasks.csv", "distances.csv", "between_seeds.csv", "config.json"):
        assert (folder / "out" / name).read_text() == (folder / "again" / name).read_text()
    rows = read_csv(folder / "out" / "tasks.csv")
    assert [(r["task"], r["seed"], r["train"]) for r in rows] == [
        (task, seed, "20") for seed in "01" for task in ("signs", "fruit")
    ]
    for row in rows:
        assert float(row["entropy_per_log_classes"]) == pytest.approx(
            float(row["entropy"]) / np.log(2), rel=1e-3
        )
    train[0] = 24
    with pytest.raises(ValueError, match="other settings"):
        script.main([options[0], str(folder / "third"), *options[1:]])


def test_another_probe_has_tables_of_its_own(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights are no other tables' business: their files and their settings carry the network's name."""
    made: list[bool] = []

    def load(name: str, pretrained: bool) -> probes.Probe:
        made.append(pretrained)
        return probes.from_module(Colours(), name=name if pretrained else f"{name}_random")

    monkeypatch.setattr(script.probes, "load", load)
    monkeypatch.setattr(script, "specification", lambda: [spec(script, "signs"), spec(script, "fruit")])
    pictures = script.load_task
    monkeypatch.setattr(script, "load_task", lambda *a: pictures(*a, size=8, train=20, test=8))
    options = [str(folder), str(folder / "out"), "--seeds", "0", "--embeddings", str(folder / "kept")]
    script.main(options)
    script.main([*options, "--untrained"])
    assert made == [True, False]
    end = "-efficientnet_lite0_random"
    assert (folder / "out" / f"distances{end}.csv").exists()
    assert (
        json.loads((folder / "out" / "config.json").read_text(encoding="utf-8"))["probe"]
        == "efficientnet_lite0"
    )
    about = json.loads((folder / "out" / f"config{end}.json").read_text(encoding="utf-8"))
    assert about["probe"] == "efficientnet_lite0_random"


def test_unknown_names_are_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given, says in (
        ([str(tmp_path), "x", "--tasks", "gtsrb_end_of", "cars"], "unknown cars"),
        (["-", "x", "--drawn", "klingon"], "unknown klingon"),
        ([str(tmp_path / "nowhere"), "x"], "photographs_build.py"),
    ):
        with pytest.raises(SystemExit):
            script.arguments(given)
        assert says in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- what is committed
def test_the_library_of_tasks_is_sound() -> None:
    rows = read_csv(RUN / "library.csv")
    known = json.loads((RUN / "datasets.json").read_text(encoding="utf-8"))
    assert len(rows) == len({row["task"] for row in rows}) == 37
    assert {row["dataset"] for row in rows} == set(known)
    for about in known.values():
        assert all(about[key] for key in ("title", "citation", "source", "licence", "get", "most"))
    taken = Counter((row["dataset"], c) for row in rows for c in row["classes"].split(";"))
    assert max(taken.values()) == 1, "a class that two tasks share would make them near for a bad reason"
    realms = {row["domain"]: row["superdomain"] for row in rows}
    assert all(realms[row["domain"]] == row["superdomain"] for row in rows)


def runs() -> list[str]:
    """Return the endings and beginnings of the runs that are there: probes, and drawn tasks."""
    return sorted(path.name.removesuffix(".csv") for path in RUN.glob("*distances*.csv"))


@pytest.mark.parametrize("name", runs())
def test_the_committed_run_is_complete(name: str) -> None:
    begin, _, end = name.partition("distances")
    config = json.loads((RUN / f"{begin}config{end}.json").read_text(encoding="utf-8"))
    names, seeds = config["tasks"], [str(seed) for seed in config["seeds"]]
    assert config["probe"] == (end.removeprefix("-") or "efficientnet_lite0")
    measured = read_csv(RUN / f"{begin}tasks{end}.csv")
    assert [(r["seed"], r["task"]) for r in measured] == [(s, t) for s in seeds for t in names]
    for row in measured:
        assert float(row["norm"]) < float(row["sum"]) < float(row["trace"])
        assert 0 <= float(row["entropy_per_log_classes"]) <= 1
        assert 0 <= float(row["error"]) < 1
        assert int(row["train"]) <= config["train"]
        assert 0 < int(row["test"]) <= config["test"]
    rows = read_csv(RUN / f"{begin}distances{end}.csv")
    pairs = list(itertools.combinations(names, 2))
    assert [(r["seed"], r["a"], r["b"]) for r in rows] == [(s, *pair) for s in seeds for pair in pairs]
    for metric in METRICS:
        d = np.array([float(row[metric]) for row in rows])
        assert np.isfinite(d).all()
        assert (d > 0).all()
        assert (d < 2).all()
    between = read_csv(RUN / f"{begin}between_seeds{end}.csv")
    assert len(between) == len(names) * len(seeds) * (len(seeds) - 1) // 2


def test_nothing_committed_is_an_image_or_large() -> None:
    for path in RUN.iterdir():
        assert path.suffix in (".csv", ".json")
        assert path.stat().st_size < 1_000_000


# ------------------------------------------------------------------------------------------------------- building
#: Data set → a path as its archive has it, and the class that it belongs to.
PLACES = {
    "hymenoptera": ("hymenoptera_data/val/ants/a.jpg", "ants"),
    "flowers5": ("flowers/tulip/b.jpg", "tulip"),
    "grocery": ("dataset/train/Fruit/Pear/Anjou/Anjou_012.jpg", "Fruit-Anjou"),
    "sign_digits": ("Dataset/7/IMG_1.JPG", "digit_7"),
    "ucmerced": ("UCMerced_LandUse/Images/beach/beach00.tif", "beach"),
    "dtd10": ("dtd/dtd/images/banded/banded_0002.jpg", "banded"),
    "gtsrb": ("gtsrb/GTSRB/Training/00006/00003_00029.ppm", "06_end_speed_80"),
    "omniglot": (
        "omniglot-py/images_background/Japanese_(katakana)/character21/0608_01.png",
        "Japanese__katakana_-character21",
    ),
}


@pytest.mark.parametrize("dataset", PLACES)
def test_pictures_are_found_where_each_archive_has_them(
    builder: ModuleType, tmp_path: Path, dataset: str
) -> None:
    path, name = PLACES[dataset]
    paint(tmp_path / path, (10, 200, 10))
    paint((tmp_path / path).parent.parent / "another class" / "c.png", (0, 0, 0))
    assert name in builder.classes_of()[dataset]
    found = builder.in_folders(tmp_path, dataset, [name])
    assert [original for original, _ in found[name]] == [path]
    with pytest.raises(builder.UnavailableError, match="no pictures of"):
        builder.in_folders((tmp_path / path).parent, dataset, [name])


def test_a_built_data_set_is_read_by_the_run(
    builder: ModuleType, script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Squares of at most 96 pixels, never enlarged, at most so many a class; built once."""
    home = tmp_path / "archives" / "hymenoptera" / "hymenoptera_data"
    for i in range(230):
        paint(home / ("train" if i % 2 else "val") / "ants" / f"{i}.jpg", (90, 60, 0), (130, 110), seed=i)
        paint(home / "train" / "bees" / f"{i}.jpg", (200, 180, 0), (30, 40), seed=i)
    options = ["--datasets", "hymenoptera", "--archives", str(tmp_path / "archives")]
    builder.main([str(tmp_path / "out"), *options])
    built = tmp_path / "out" / "hymenoptera"
    sizes = {name: {Image.open(p).size for p in (built / name).iterdir()} for name in ("ants", "bees")}
    assert sizes == {"ants": {(96, 96)}, "bees": {(30, 30)}}
    assert len(list((built / "ants").iterdir())) == 210
    (one,) = [s for s in script.specification() if s.task == "hymenoptera"]
    task = script.load_task(tmp_path / "out", one, 0)
    assert (len(task.train), len(task.test)) == (200, 106)
    assert task.train.images.shape[1:] == (96, 96, 3)
    capsys.readouterr()
    builder.main([str(tmp_path / "out"), *options])
    assert "there already" in capsys.readouterr().out


def test_what_cannot_be_had_is_named_with_the_remedy(
    builder: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without archive and network: each data set by name, and nothing is written."""
    for given, says in (
        (["--datasets", "grocery"], ("grocery", "GroceryStoreDataset", "MIT", "--archives")),
        (["--datasets", "gtsrb", "--root", str(tmp_path / "empty")], ("gtsrb", "--download")),
    ):
        with pytest.raises(SystemExit) as stopped:
            builder.main([str(tmp_path / "out"), *given])
        message = capsys.readouterr().err
        assert stopped.value.code == 1
        assert all(word in message for word in says)
    assert not (tmp_path / "out").exists()


def test_cifar_comes_from_one_array(builder: ModuleType) -> None:
    data = np.arange(3 * 32 * 32 * 3, dtype=np.uint8).reshape(3, 32, 32, 3)
    opened = SimpleNamespace(targets=[1, 0, 1], class_to_idx={"bird": 1, "ship": 0}, data=data)
    found = builder.in_arrays(opened, ["bird"])
    assert [original for original, _ in found["bird"]] == ["bird/0", "bird/2"]
    assert np.array_equal(np.asarray(found["bird"][1][1]()), data[2])
