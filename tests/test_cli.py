"""The command line, as a user starts it: real subprocesses, their files and exit statuses."""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2v.embedding import TaskEmbedding


def t2v(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "t2v", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=cwd, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of image folders, as a user has it: two tasks of coloured noise."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for task in ("warm", "cold"):
        for k in range(3):
            (root / task / f"class{k}").mkdir(parents=True)
            for i in range(8):
                colour = rng.integers(0, 120, 3) * 0 + np.eye(3)[k] * 120
                pixels = (colour + rng.integers(0, 130, (40, 48, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(root / task / f"class{k}" / f"{i}.png")
    return root


def test_tasks_lists_the_library() -> None:
    done = t2v("tasks")
    assert done.returncode == 0
    for name in (
        "greek_lower",
        "latin_lower",
        "cyrillic_lower",
        "hebrew",
        "arabic",
        "math_operators",
        "mnist",
    ):
        assert name in done.stdout


@pytest.mark.slow
def test_rank_writes_the_json_and_prints_the_best_first(tmp_path: Path) -> None:
    file, out = tmp_path / "r.json", tmp_path / "embeddings"
    options = ("--train", 120, "--json", file, "--out", out)
    done = t2v("rank", "--target", "greek_lower", "--sources", "latin_lower", "mnist", *options)
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    assert list(result) == ["target", "probe", "alpha", "reference", "ranking"]
    assert (result["target"], result["probe"], result["alpha"]) == ("greek_lower", "efficientnet_lite0", 0.15)
    assert result["reference"] == "trivial"
    rows = result["ranking"]
    assert [list(row) for row in rows] == [["source", "d_asym", "d_sym", "norm"]] * 2
    assert [row["source"] for row in rows] == ["latin_lower", "mnist"]
    assert rows[0]["d_asym"] <= rows[1]["d_asym"]
    assert done.stdout.index("latin_lower") < done.stdout.index("mnist")
    assert {f.name for f in out.iterdir()} == {"greek_lower.npz", "latin_lower.npz", "mnist.npz"}

    stamps = {f: f.stat().st_mtime_ns for f in out.iterdir()}
    again = t2v("rank", "--target", "greek_lower", "--sources", "latin_lower", "mnist", *options)
    assert again.stdout == done.stdout
    assert stamps == {f: f.stat().st_mtime_ns for f in out.iterdir()}, "embeddings that are there are reused"

    near = t2v("distance", out, "--csv", tmp_path / "d.csv")
    assert near.returncode == 0
    assert "greek_lower" in near.stdout
    lines = (tmp_path / "d.csv").read_text().splitlines()
    assert lines[0] == "task,greek_lower,latin_lower,mnist"
    assert len(lines) == 4


def test_image_folders_are_embedded(folder: Path, tmp_path: Path) -> None:
    done = t2v("embed", folder / "warm", folder / "cold", "--out", tmp_path, "--size", 40)
    assert done.returncode == 0, done.stderr
    about = TaskEmbedding.load(tmp_path / "warm.npz").metadata
    assert (about["n_classes"], about["n_fit"] + about["n_fisher"]) == (3, 15)  # 0.6 of eight images a class
    assert (tmp_path / "cold.npz").exists()


def test_of_a_folder_no_more_images_are_used_than_asked_for(folder: Path, tmp_path: Path) -> None:
    from t2v.__main__ import main

    assert main(["embed", str(folder / "warm"), "--out", str(tmp_path), "--size", "32", "--train", "9"]) == 0
    about = TaskEmbedding.load(tmp_path / "warm.npz").metadata
    assert about["n_fit"] + about["n_fisher"] == 9


def test_bad_arguments_exit_2_with_one_line(folder: Path, tmp_path: Path) -> None:
    cases = [
        (("rank", "--target", "greek_lowr", "--sources", "mnist"), "greek_lower"),
        (("rank", "--target", "mnist", "--sources", "mnist"), "not the target itself"),
        (("rank", "--target", "mnist", "--sources", "hebrew", "--alpha", "-1"), "--alpha"),
        (("embed", "mnist", "--out", tmp_path, "--method", "guess"), "rademacher, sample, exact"),
        (("embed", "mnist", "--out", tmp_path, "--probe", "efficientnet_lite9"), "efficientnet_lite0"),
        (("embed", tmp_path / "nowhere", "--out", tmp_path), "nowhere"),
        (("embed", "torchvision:MNITS", "--out", tmp_path), "MNIST"),
        (("embed", "mnist", "--out", tmp_path, "--device", "gpu"), "accepted: auto, cpu, cuda"),
        (("embed", "mnist", "--out", folder / "warm" / "class0" / "0.png"), "a folder is accepted"),
        (("distance", tmp_path / "empty"), "at least two"),
        (("distance", folder, "--metric", "euclid"), "symmetric, cosine"),
    ]
    for arguments, message in cases:
        done = t2v(*arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert message in done.stderr, (arguments, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr
    assert t2v("dance").returncode == 2


def test_a_corrupt_image_is_named(folder: Path, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(folder / "warm", broken)
    (broken / "class1" / "3.png").write_bytes(b"\x89PNG not really")
    done = t2v("embed", broken, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "3.png" in done.stderr


def test_tasks_of_one_name_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    from t2v.__main__ import main

    other, out = tmp_path / "warm", tmp_path / "out"
    shutil.copytree(folder / "cold", other)
    command = ["rank", "--target", str(folder / "warm"), "--sources", str(other), "--out", str(out)]
    assert main(command) == 2
    assert "'warm' and 'warm' cannot be told apart" in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_that_changed_is_embedded_anew(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many images as before, but others: the file that is there is not this folder's any more."""
    import shutil

    from t2v.__main__ import main

    task, out = tmp_path / "task", tmp_path / "out"
    shutil.copytree(folder / "warm", task)
    command = ["embed", str(task), "--out", str(out), "--size", "32"]
    assert main(command) == 0
    first, stamp = TaskEmbedding.load(out / "task.npz"), (out / "task.npz").stat().st_mtime_ns
    assert main(command) == 0
    assert (out / "task.npz").stat().st_mtime_ns == stamp
    for image in task.rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    assert main(command) == 0
    assert not np.allclose(TaskEmbedding.load(out / "task.npz").values, first.values)


def test_the_matrix_is_csv_whatever_a_task_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from t2v.__main__ import main

    for name, values in (("a, b", [1.0, 3.0]), ("c", [3.0, 1.0]), ("c too", [3.0, 1.0])):
        task = name.removesuffix(" too")  # a second embedding of one task is a neighbour of the first
        TaskEmbedding(np.array(values), {"x": slice(0, 2)}, task, "p").save(tmp_path / name)
    assert main(["distance", str(tmp_path), "--csv", str(tmp_path / "d.csv")]) == 0
    rows = list(csv.reader((tmp_path / "d.csv").read_text(encoding="utf-8").splitlines()))
    assert [row[0] for row in rows] == ["task", "a, b", "c", "c"]
    assert {len(row) for row in rows} == {4}
    assert float(rows[2][1]) == pytest.approx(0.4)
    assert "c 0.000" in capsys.readouterr().out


def test_a_damaged_embedding_fails_with_its_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.npz").write_bytes(b"nothing")
    done = t2v("distance", tmp_path)
    assert done.returncode == 1
    assert "a.npz" in done.stderr


@pytest.mark.slow
def test_an_interrupted_run_keeps_whole_files_and_resumes(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "t2v",
        "embed",
        "mnist",
        "digits",
        "chess",
        "hebrew",
        "--out",
        str(tmp_path),
        "--train",
        "80",
    ]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("*.npz")) and time.monotonic() < deadline and run.poll() is None:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    first = {f.name: f.stat().st_mtime_ns for f in tmp_path.glob("*.npz")}
    assert first, errors
    for name in first:
        TaskEmbedding.load(tmp_path / name)
    assert [f.name for f in tmp_path.iterdir() if f.suffix != ".npz"] == []
    if run.returncode != 0:  # it may have been quick enough to end first
        assert run.returncode == 1
        assert "what is done is kept" in errors
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert {f.stem for f in tmp_path.glob("*.npz")} == {"mnist", "digits", "chess", "hebrew"}
    assert all((tmp_path / name).stat().st_mtime_ns == stamp for name, stamp in first.items())


@pytest.mark.slow
def test_a_killed_atlas_goes_on_and_prints_the_ranking(tmp_path: Path) -> None:
    rng, library, out = np.random.default_rng(0), tmp_path / "library", tmp_path / "run"
    for task in range(3):
        for k in range(2):
            (library / f"task{task}" / f"class{k}").mkdir(parents=True)
            for i in range(10):
                pixels = rng.integers(0, 120, (32, 32, 3)) + 70 * np.eye(3)[(task + k) % 3]
                Image.fromarray(pixels.astype(np.uint8)).save(
                    library / f"task{task}" / f"class{k}" / f"{i}.png"
                )
    options = ("--library", library, "--out", out, "--size", 32, "--train", 12, "--test", 8)
    options = (*options, "--shots", 3, "--seeds", 1, "--epochs", 1)
    command = [sys.executable, "-m", "t2v", "atlas", "--scale", "quick", *map(str, options)]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not list(out.glob("experts/*.pt")) and time.monotonic() < deadline and killed.poll() is None:
        time.sleep(0.02)
    killed.kill()
    killed.communicate(timeout=60)
    first = {f: f.stat().st_mtime_ns for kind in ("npz", "pt") for f in out.rglob(f"*.{kind}")}
    assert len(first) >= 7
    done = t2v("atlas", *options)
    assert done.returncode == 0, done.stderr
    assert {f: f.stat().st_mtime_ns for f in first} == first
    assert "3 tasks, probe efficientnet_lite0" in done.stdout
    for word in ("task2vec", "logme", "nce", "best_for_others", "Kendall", "regret of chance", "experts"):
        assert word in done.stdout


def test_bad_arguments_of_the_atlas_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from t2v.__main__ import main

    for bad, message in (
        (("--library", str(tmp_path / "nowhere")), "nowhere"),
        (("--tasks", "greek_lowr", "mnist", "digits"), "greek_lower"),
        (("--tasks", "mnist", "digits"), "at least three"),
        (("--tasks", "torchvision:CIFAR100/birds", "mnist", "digits"), "accepted: aquatic_mammals"),
        (("--shots", "1"), "shots"),
        (("--probe", "efficientnet_lite9"), "probe: unknown name 'efficientnet_lite9'; nearest"),
        (("--alpha", "-1"), "alpha"),
        (("--device", "gpu"), "device: 'gpu' is unknown; accepted: auto, cpu"),
    ):
        assert main(["atlas", "--out", str(tmp_path / "bad"), *bad]) == 2
        errors = capsys.readouterr().err
        assert message in errors
        assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "bad").exists()


def test_a_group_of_classes_is_opened_with_the_images_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set that has too few images is refused; of a group all are taken."""
    from t2v import __main__ as command
    from t2v import tasks

    asked = []
    monkeypatch.setattr(
        tasks, "from_torchvision", lambda name, root, **options: asked.append((name, options["fewer"]))
    )
    args = argparse.Namespace(root="data", download=False, size=32, train=600, seed=0)
    for name in ("SVHN", "Omniglot/Greek"):
        command._open(f"torchvision:{name}", args)
    assert asked == [("SVHN", False), ("Omniglot/Greek", True)]
    monkeypatch.undo()
    with pytest.raises(command.BadArgumentError, match="did you mean Greek"):
        command._open("torchvision:Omniglot/Grek", args)
