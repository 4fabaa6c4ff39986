"""Folders of pictures as people have them: what is read, what is passed over, what is refused, and what is said of it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2v import __main__, atlas, embedding, external, probes, tasks


def picture(path: Path, seed: int, size: tuple[int, int] = (24, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, len(str(path))]).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def tree(root: Path, counts: dict[str, int]) -> Path:
    """Make folders of pictures, all different."""
    for k, (label, n) in enumerate(counts.items()):
        (root / label).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            picture(root / label / f"{i:04}.png", 10_000 * k + i)
    return root


@contextmanager
def said() -> Iterator[list[str]]:
    """Collect what is said of a user's pictures."""
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lines
    lines += [str(w.message) for w in caught if issubclass(w.category, tasks.TaskWarning)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the names of all files that Pillow opens."""
    opened: list[str] = []
    true = Image.open

    def counting(file, *rest, **options):
        opened.append(str(file))
        return true(file, *rest, **options)

    monkeypatch.setattr(Image, "open", counting)
    return opened


# ------------------------------------------------------------------------------------------ parts and classes
SPELLINGS = [
    ("Train", "Test"),
    ("training_set", "test_set"),
    ("TRAINING", "testing"),
    ("train", "eval"),
    ("train", "Dev"),
]
SPELLINGS += [
    ("TrainSet", "ValSet"),
    ("seg_train", "seg_test"),
    ("train2017", "val2017"),
    ("01-training", "02-validation"),
]
SPELLINGS += [("train_images", "holdout"), ("traindata", "testimages"), ("train data", "valid")]


@pytest.mark.parametrize(("train", "test"), SPELLINGS)
def test_a_division_is_known_in_any_spelling(tmp_path, train, test):
    tree(tmp_path, {f"{train}/cat": 4, f"{train}/dog": 4, f"{test}/cat": 2, f"{test}/dog": 3})
    task = tasks.from_folder(tmp_path, size=8)
    assert task.classes == ("cat", "dog")
    assert np.bincount(task.train.labels).tolist() == [4, 4]
    assert np.bincount(task.test.labels).tolist() == [2, 3]


def test_the_test_set_goes_before_the_validation_set_and_what_is_left_is_said(tmp_path):
    tree(tmp_path, {f"{part}/{c}": n for part, n in (("Train", 4), ("Test", 3), ("Val", 2)) for c in "ab"})
    with said() as lines:
        assert len(tasks.from_folder(tmp_path, size=8).test) == 6
    assert any("'Val' is left alone, 'Test' is the test set" in line for line in lines)


def test_a_flat_test_folder_is_passed_over(tmp_path):
    tree(tmp_path, {"train/cat": 5, "train/dog": 5, "test": 4})
    with said() as lines:
        task = tasks.from_folder(tmp_path, size=8)
    assert task.classes == ("cat", "dog")
    assert len(task.train) + len(task.test) == 10
    assert any("'test' has no sub-folders, so no labels: passed over" in line for line in lines)
    alone = tree(tmp_path / "alone", {"train/cat": 5, "train/dog": 5})
    with said():
        assert tasks.from_folder(alone, size=8).classes == ("cat", "dog")


def test_a_class_may_be_called_train(tmp_path):
    assert tasks.from_folder(tree(tmp_path, {"train": 3, "bus": 3}), size=8).classes == ("bus", "train")


@pytest.mark.parametrize(
    ("counts", "seen"),
    [
        ({"train": 3, "test": 3}, r"'test', 'train': parts of a data set by their names"),
        ({"val/a": 3, "val/b": 3, "Test/a": 3, "Test/b": 3}, r"'Test', 'val': parts of a data set"),
        (
            {"one/cat": 3, "one/dog": 3, "two/cat": 3, "two/dog": 3},
            r"every folder .*'one', 'two'.* the same folders .cat, dog.",
        ),
        ({"train/a": 3, "training/a": 3, "test/a": 3}, r"'train' and 'training', the same part"),
        ({"train/a": 3, "test/a": 3, "testing/a": 3}, r"'test' and 'testing', the same part"),
    ],
)
def test_parts_that_are_no_classes_are_refused_with_what_was_seen(tmp_path, counts, seen):
    with pytest.raises(ValueError, match=seen):
        tasks.from_folder(tree(tmp_path, counts), size=8)


def test_classes_with_one_folder_of_pictures_each_are_classes(tmp_path):
    task = tasks.from_folder(tree(tmp_path, {"cat/images": 3, "dog/images": 3}), size=8)
    assert task.classes == ("cat", "dog")


def test_hidden_and_system_files_are_passed_over_at_any_depth(tmp_path):
    tree(
        tmp_path,
        {"cat": 3, "dog": 3, "__MACOSX/cat": 2, "$RECYCLE.BIN": 2, "cat/.thumbs": 2, "dog/deep/@eaDir/x": 2},
    )
    for junk in ("Thumbs.db", "cat/desktop.ini", "dog/deep/._0000.png", "cat/__pycache__/a.png"):
        (tmp_path / junk).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / junk).write_bytes(b"junk")
    with said() as lines:
        task = tasks.from_folder(tmp_path, size=8)
    assert task.classes == ("cat", "dog")
    assert len(task.train) + len(task.test) == 6
    assert lines == []


def test_formats_that_are_not_read_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(external, "suffixes", lambda: external.SUFFIXES)
    tree(tmp_path, {"cat": 3, "dog": 3})
    for i in range(30):
        (tmp_path / "cat" / f"{i}.HEIC").write_bytes(b"x")
    (tmp_path / "dog" / "sketch.svg").write_bytes(b"x")
    shutil.copy(picture(tmp_path / "x.jpg", 1), tmp_path / "dog" / "9.jfif")
    with said() as lines:
        task = tasks.from_folder(tmp_path, size=8)
    assert len(task.train) + len(task.test) == 7  # a .jfif is a JPEG
    assert any("30 .heic, 1 .svg" in line and line.endswith("passed over") for line in lines)
    tree(tmp_path, {"bird": 0})
    (tmp_path / "bird" / "1.heic").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"the class 'bird' in .* has no images; .*; it has 1 \.heic"):
        tasks.from_folder(tmp_path)


@pytest.mark.skipif(".avif" not in external.suffixes(), reason="Pillow was built without AVIF")
def test_avif_is_read_where_pillow_can(tmp_path):
    Image.new("RGB", (16, 16), (200, 30, 30)).save(tmp_path / "a.avif")
    assert abs(external.read(tmp_path / "a.avif", 8)[4, 4].astype(int) - [200, 30, 30]).max() < 12


def test_pictures_in_both_sets_are_reported(tmp_path):
    tree(tmp_path, {"train/a": 4, "train/b": 4, "test/a": 3, "test/b": 3})
    shutil.copy(tmp_path / "train/a/0001.png", tmp_path / "test/a/copy.png")
    Image.open(tmp_path / "train/b/0002.png").save(
        tmp_path / "test/b/again.bmp"
    )  # the same pixels in another format
    with said() as lines:
        tasks.from_folder(tmp_path, size=8)
    assert any("2 of 8 test pictures are in the training set" in line for line in lines)
    with said() as lines:
        tasks.open_task(f"{tmp_path}", 8)
    assert any(
        "1 of 8 test pictures are in the training set" in line and "copy.png" in line for line in lines
    )


# ----------------------------------------------------------------------------------------------- what is read
def test_only_the_pictures_that_are_used_are_decoded_once(tmp_path, decoded):
    folder = tree(tmp_path / "pets", {"cat": 150, "dog": 150})
    task = tasks.open_task(str(folder), 8, 20, 10)
    assert len(task.train.images) == 20 == len(decoded) == len(set(decoded))
    assert len(task.test.images) == 10
    assert len(decoded) == 30 == len(set(decoded))
    assert np.bincount(task.train.labels).tolist() == [10, 10]


def test_rank_opens_each_file_once_and_the_probe_once(tmp_path, decoded, monkeypatch):
    for name in ("target", "first", "second"):
        tree(tmp_path / name, {"a": 40, "b": 40})
    loaded, true = [], probes.load
    monkeypatch.setattr(probes, "load", lambda *a, **k: loaded.append(a) or true(*a, **k))
    small = ["--size", "32", "--train", "8", "--device", "cpu", "--reference", "canonical"]
    sources = ["--sources", str(tmp_path / "first"), str(tmp_path / "second"), "--noise", "2"]
    monkeypatch.setattr(embedding, "PHOTOGRAPHS", 8)
    figure = ["--figure", str(tmp_path / "ranking.png")]
    assert __main__.main(["rank", "--target", str(tmp_path / "target"), *sources, *small, *figure]) == 0
    used = [name for name in decoded if name.startswith(str(tmp_path))]
    assert len(used) == 24 == len(set(used))
    assert len(loaded) == 1
    assert (tmp_path / "ranking.png").exists()


def test_the_command_line_and_an_atlas_open_the_same_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tree(tmp_path, {"pets/cat": 30, "pets/dog": 30, "mnist/x": 6, "mnist/y": 6}))
    given = ["pets", "./pets", "greek_lower", "mnist", "./mnist"]
    args = ["embed", *given, "--size", "16", "--train", "60", "--out", "x"]
    options = __main__._parser().parse_args(args)
    for text in given:
        with said():
            ours = __main__._open(text, options)
            config = atlas.AtlasConfig.at(
                "quick", tasks=(text, "hebrew", "lao"), size=16, train=60, test=400, shots=2
            )
            library = atlas.Library(config, None)
            (name, *_), theirs = library.names, library[library.names[0]]
        assert ours.name == name == theirs.name
        assert ours.classes == theirs.classes
        assert np.array_equal(ours.train.images, theirs.train.images)
        assert np.array_equal(ours.test.images, theirs.test.images)


def test_an_offline_name_wins_over_a_folder_and_a_path_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tree(tmp_path, {"arabic/x": 4, "arabic/y": 4}))
    with said() as lines:
        assert tasks.open_task("arabic", 16, 60, 20).n_classes > 20
    assert any("the offline task is taken; the folder of that name is ./arabic" in line for line in lines)
    for path in ("./arabic", "arabic/", str(tmp_path / "arabic")):
        with said():
            assert tasks.open_task(path, 16).classes == ("x", "y")
    for nothing in ("./hebrew", "nowhere/", "~/no such folder"):
        with pytest.raises(ValueError, match="is not a folder"):
            tasks.open_task(nothing)
    with pytest.raises(ValueError, match="unknown task 'arabbic'; did you mean 'arabic'"):
        tasks.open_task("arabbic")


# ------------------------------------------------------------------------------------------------- how many
def test_more_classes_than_half_the_pictures_asked_for_get_two_each(tmp_path):
    tree(tmp_path, {f"c{k:02}": 6 for k in range(40)})
    with said() as lines:
        task = tasks.open_task(str(tmp_path), 8, train=50, test=10)
    assert (np.bincount(task.train.labels) == 2).all()
    assert len(task.test) == 10
    assert any("train = 50 is less than two a class; 80 are used, of 40 classes" in line for line in lines)
    with said() as lines:
        assert np.bincount(tasks.open_task("hebrew", 8, train=10).train.labels).min() == 2
    assert any("hebrew: train = 10 is less than two a class" in line for line in lines)


def test_unequal_classes_are_taken_as_equally_as_possible_and_named(tmp_path):
    tree(tmp_path, {"many": 200, "rare": 30, "tiny": 5})
    with said() as lines:
        task = tasks.open_task(str(tmp_path), 8, train=60, test=12)
    assert np.bincount(task.train.labels).tolist() == [39, 18, 3]
    assert np.bincount(task.test.labels).tolist() == [5, 5, 2]
    assert any("others' 39: 'tiny' 3, 'rare' 18" in line for line in lines)
    with said() as lines:
        assert len(tasks.open_task(str(tmp_path), 8, train=600).train) == 141
    assert any("141 training images are used, all there are, not 600" in line for line in lines)


def test_a_class_with_too_few_pictures_is_named_with_its_task_and_option(tmp_path, capsys):
    tree(tmp_path / "pets", {"cat": 10, "dog": 2})
    out = ["--out", str(tmp_path / "out"), "--size", "32"]
    assert __main__.main(["embed", str(tmp_path / "pets"), *out]) == 2
    message = capsys.readouterr().err
    assert "task 'pets': class 'dog' has 1 training image; at least two are needed (--train" in message


# ------------------------------------------------------------------------------------------- bad and odd ones
def test_bad_pictures_are_named_or_skipped_and_listed(tmp_path, capsys):
    tree(tmp_path / "pets", {"cat": 8, "dog": 8})
    for name in ("cat/0001.png", "dog/0003.png"):
        (tmp_path / "pets" / name).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"cannot read the image .*(cat.0001|dog.0003)\.png"):
        tasks.open_task(str(tmp_path / "pets"), 8, train=None).test.images  # noqa: B018
    with said() as lines:
        task = tasks.open_task(str(tmp_path / "pets"), 8, train=None, skip_bad=True)
    assert len(task.train.images) + len(task.test.images) == 14
    (line,) = [line for line in lines if "unreadable" in line]
    assert "2 unreadable pictures skipped" in line
    assert "0001.png" in line
    assert "0003.png" in line
    for path in (tmp_path / "pets" / "cat").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"task 'pets': no training picture of the class 'cat' can be read"):
        tasks.open_task(str(tmp_path / "pets"), 8, skip_bad=True)
    out = ["--out", str(tmp_path / "out"), "--size", "32"]
    assert __main__.main(["embed", str(tmp_path / "pets"), *out]) == 2
    assert "--skip-bad goes on past it" in capsys.readouterr().err


def deep_task(root: Path, top: int, kind: type, suffix: str) -> np.ndarray:
    """Write ramps from 0 to a largest number, bright and dark ones, and return the right bytes of the brightest."""
    ramp = np.linspace(0, top, 64).reshape(8, 8)
    for c, factor in (("dim", 0.25), ("light", 1.0)):
        (root / c).mkdir(parents=True)
        for i in range(4):
            Image.fromarray((ramp * factor * (1 - 0.01 * i)).astype(kind)).save(root / c / f"{i}{suffix}")
    return np.linspace(0, 255, 64).reshape(8, 8)


@pytest.mark.parametrize(
    ("top", "kind", "suffix"),
    [
        (4095, np.uint16, ".png"),
        (1023, np.uint16, ".tif"),
        (16383, np.uint16, ".png"),
        (65535, np.uint16, ".tif"),
    ],
)
def test_deep_pictures_are_scaled_by_the_bits_that_they_use_together(tmp_path, top, kind, suffix):
    right = deep_task(tmp_path, top, kind, suffix)
    with said() as lines:
        task = tasks.from_folder(tmp_path, size=8, train=7, test=1)
    images = {c: task.train.images[task.train.labels == c].mean((1, 2, 3)) for c in (0, 1)}
    assert images[1].max() == pytest.approx(right.mean(), abs=3)
    assert images[0].max() == pytest.approx(right.mean() / 4, abs=3)  # not each on its own scale
    assert any(f"{top} is taken for white" in line for line in lines) == (top < 65535)


def test_floats_from_0_to_1_are_read_and_others_refused_with_their_range(tmp_path):
    right = deep_task(tmp_path, 1, np.float32, ".tif")
    task = tasks.from_folder(tmp_path, size=8, train=7, test=1)
    assert task.train.images.mean((1, 2, 3)).max() == pytest.approx(right.mean(), abs=3)
    Image.fromarray(np.full((8, 8), 3.5, np.float32)).save(tmp_path / "dim" / "9.tif")
    with pytest.raises(ValueError, match=r"9\.tif: floating-point pixels from 3\.5 to 3\.5"):
        tasks.from_folder(tmp_path, size=8)
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "dim" / "9.tif")
    with pytest.raises(ValueError, match=r"9\.tif: NaN"):
        tasks.from_folder(tmp_path, size=8)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_white_drawing_on_nothing_is_seen(tmp_path, mode):
    ink = np.zeros((16, 16), np.uint8)
    ink[4:12, 4:12] = 255
    rgba = np.dstack([np.full((16, 16, 3), 255, np.uint8), ink])
    drawing = Image.fromarray(rgba)
    if mode == "P":
        drawing = Image.fromarray((ink > 0).astype(np.uint8)).convert("P")
        drawing.putpalette([9, 9, 9, 255, 255, 255])
        drawing.save(tmp_path / "a.png", transparency=0)
    else:
        drawing.convert(mode).save(tmp_path / "a.png")
    seen = external.read(tmp_path / "a.png", 16)
    assert seen[8, 8].tolist() == [255, 255, 255]
    assert seen[1, 1].tolist() == [0, 0, 0]
    rgba[..., :3] = [200, 0, 0]  # any other drawing is set on white, as ever
    Image.fromarray(rgba).save(tmp_path / "b.png")
    assert external.read(tmp_path / "b.png", 16)[1, 1].tolist() == [255, 255, 255]


def test_animations_give_their_first_frame_and_say_so(tmp_path):
    tree(tmp_path, {"a": 3, "b": 3})
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a" / "film.gif", save_all=True, append_images=frames[1:])
    with said() as lines:
        tasks.from_folder(tmp_path, size=8, train=0.99)
    assert external.read(tmp_path / "a" / "film.gif", 8)[4, 4].tolist() == [255, 0, 0]
    assert any("1 animation: the first frame is taken (film.gif" in line for line in lines)


def test_pictures_of_one_colour_are_named(tmp_path):
    tree(tmp_path / "pets", {"a": 6, "b": 6})
    for path in (tmp_path / "pets" / "a").iterdir():
        Image.new("RGB", (8, 8), "white").save(path)
    with said() as lines:
        tasks.from_folder(tmp_path / "pets", size=8)
    assert any("pets: 4 training pictures are of one colour" in line and "0" in line for line in lines)
    for path in (tmp_path / "pets" / "b").iterdir():
        Image.new("RGB", (8, 8), "white").save(path)
    with pytest.raises(ValueError, match=r"task 'pets': all training pictures are alike, as .*\.png"):
        tasks.from_folder(tmp_path / "pets", size=8)
