"""The command line, as a user starts it: real subprocesses, their files and exit statuses."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from t2v import choose, probes, tasks, transfer
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
    assert list(result) == ["target", "probe", "alpha", "reference", "ranking", "noise"]
    assert (result["target"], result["probe"], result["alpha"]) == ("greek_lower", "efficientnet_lite0", 0.15)
    assert result["reference"] == "trivial"
    rows = result["ranking"]
    assert [list(row) for row in rows] == [["source", "d_asym", "d_sym", "norm"]] * 2
    assert [row["source"] for row in rows] == ["latin_lower", "mnist"]
    assert rows[0]["d_asym"] <= rows[1]["d_asym"]
    assert done.stdout.index("latin_lower") < done.stdout.index("mnist")
    embedded = {"greek_lower.npz", "latin_lower.npz", "mnist.npz"}
    assert {f.name for f in out.glob("*.npz")} == {f.name for f in (out / "seed1").iterdir()} == embedded
    noise = result["noise"]
    assert noise["sources"] == ["latin_lower", "mnist"]
    both = [TaskEmbedding.load(out / f"{n}.npz") for n in ("greek_lower", "latin_lower", "mnist")]
    anew = [TaskEmbedding.load(out / "seed1" / f"{n}.npz") for n in ("greek_lower", "latin_lower", "mnist")]
    assert [e.metadata["seed"] for e in anew] == [1, 1, 1]
    assert [e.metadata["images"] for e in anew] == [e.metadata["images"] for e in both], "the same images"
    first, second = (
        {row.source: row.d_asym for row in transfer.rank(target, sources)}
        for target, *sources in (both, anew)
    )
    found = choose.noise(first, second)
    assert noise["standard_error"] == pytest.approx(found.standard_error)
    assert noise["ties"] == list(found.ties)
    assert f"±{found.margin:.4f} (95 %; a second seed of greek_lower and 2 sources" in done.stdout

    stamps = {f: f.stat().st_mtime_ns for f in out.rglob("*.npz")}
    again = t2v("rank", "--target", "greek_lower", "--sources", "latin_lower", "mnist", *options)
    assert again.stdout == done.stdout
    assert stamps == {f: f.stat().st_mtime_ns for f in out.rglob("*.npz")}, (
        "embeddings that are there are reused"
    )

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
        (("rank", "--target", "mnist", "--sources", "hebrew", "--noise", "1"), "--noise: 1 is neither 0 nor"),
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
    broken = tmp_path / "broken"
    shutil.copytree(folder / "warm", broken)
    (broken / "class1" / "3.png").write_bytes(b"\x89PNG not really")
    done = t2v("embed", broken, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "3.png" in done.stderr


def test_tasks_of_one_name_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
        assert run.returncode == 130
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
    for word in (
        "task2vec",
        "logme",
        "nce",
        "best_for_others",
        "Kendall",
        "a source drawn at random",
        "experts",
    ):
        assert word in done.stdout
    assert done.stdout == (out / "report.txt").read_text(encoding="utf-8")
    for k in range(3):
        assert f"task{k}: " in done.stdout
    assert "to do: 0 of 3 embeddings, " in done.stderr  # there is no terminal: lines

    more = library / "task3"  # the commonest wish: one task more
    shutil.copytree(library / "task0", more)
    (library / "task0" / ".DS_Store").write_bytes(b"x")
    done = t2v(
        "atlas", *options, "--alpha", 0.3, "--library", os.path.relpath(library, tmp_path), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "to do: 1 of 4 embeddings, 1 of 4 experts, 7 of 16 transfers" in done.stderr
    assert {f: f.stat().st_mtime_ns for f in first if f.parent.name == "experts"} == {
        f: stamp for f, stamp in first.items() if f.parent.name == "experts"
    }
    assert set(json.loads((out / "report.json").read_text())["targets"]) == {f"task{k}" for k in range(4)}
    done = t2v("choose", "--target", more, "--from", out, "--train", 12, "--size", 32)
    assert done.returncode == 0, done.stderr
    assert "task3.pt is left out: it was trained on 'task3' itself" in done.stderr
    assert len(done.stdout.splitlines()) == 2 + 4 + 1


@pytest.fixture(scope="module")
def shelf(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four experts of the offline probe: trained on another task, or not at all."""
    out, probe = tmp_path_factory.mktemp("shelf"), probes.load()
    task = tasks.from_folder(folder / "cold", size=32)
    trained = transfer.finetune(probe, task, epochs=1, lr=1e-4, device="cpu")
    transfer.save_expert(trained, out / "cold.pt", {"task": "cold"})
    for name in ("one", "two", "warm"):
        expert = dataclasses.replace(probe, name=f"{probe.name}@{name}")
        transfer.save_expert(expert, out / f"{name}.pt", {"task": name})
    return out


def test_choose_says_where_to_start(
    folder: Path, shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from t2v.__main__ import main

    file, experts = tmp_path / "c.json", [str(f) for f in sorted(shelf.glob("*.pt"))]
    command = ["choose", "--target", str(folder / "warm"), "--size", "32", "--json", str(file)]
    assert main([*command, "--from", *experts]) == 0
    said = capsys.readouterr()
    result = json.loads(file.read_text())
    assert list(result) == ["target", "ranking", "stay", "advice"]
    assert result["target"] == "warm"
    assert [r["source"] for r in result["ranking"]][:1] == [said.out.splitlines()[2].split()[0]]
    assert {r["source"] for r in result["ranking"]} == {"probe", "cold", "one", "two"}
    for row in result["ranking"]:
        assert {"source", "error", "low", "high", "logme", "seconds"} <= set(row)
        assert 0 <= row["low"] <= row["error"] <= row["high"] <= 1
    errors = {r["source"]: (r["error"], r["logme"]) for r in result["ranking"]}
    assert errors["one"] == errors["two"] == errors["probe"]
    assert said.out.splitlines()[-1] == result["advice"]
    assert "warm.pt is left out" in said.err
    assert isinstance(result["stay"], bool)


def test_choose_among_tasks(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from t2v.__main__ import main

    file = tmp_path / "c.json"
    command = [
        "choose",
        "--target",
        str(folder / "warm"),
        "--size",
        "32",
        "--train",
        "30",
        "--json",
        str(file),
    ]
    assert main([*command, "--from", str(folder / "cold"), "dice"]) == 0
    result, out = json.loads(file.read_text()), capsys.readouterr().out
    assert {r["source"] for r in result["ranking"]} == {"cold", "dice"}
    assert result["stay"] is None
    assert result["advice"].startswith("train an expert on ")
    assert out.splitlines()[-1] == result["advice"]


def test_bad_arguments_of_choose_exit_2(
    folder: Path, shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from t2v.__main__ import main

    (tmp_path / "bad.pt").write_bytes(b"PK")
    target, good = str(folder / "warm"), str(shelf / "cold.pt")
    for sources, message in (
        ((good, "mnist"), "either networks"),
        (("efficientnet_lite9",), "nearest: efficientnet_lite"),
        ((str(tmp_path / "no.pt"),), "no such file or folder"),
        ((str(tmp_path / "bad.pt"),), "bad.pt: not an expert, or damaged"),
        ((good, good), "the same network is given twice"),
        ((good, "efficientnet_lite0"), "is given twice, or is the probe"),
        ((str(shelf / "warm.pt"),), "networks: there are none"),
        ((target,), "'warm' and 'warm' cannot be told apart"),
        (("mnist", "mnist"), "cannot be told apart"),
    ):
        assert main(["choose", "--target", target, "--size", "32", "--from", *sources]) == 2, sources
        errors = capsys.readouterr().err
        assert message in errors, errors
        assert "Traceback" not in errors
    assert main(["choose", "--target", "greek_lowr", "--from", good]) == 2
    assert "greek_lower" in capsys.readouterr().err


def test_weights_that_are_not_there_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import timm

    from t2v.__main__ import main

    build = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> object:
        if pretrained:
            raise OSError("no route to host")
        return build(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    assert main(["choose", "--target", str(folder / "warm"), "--from", "resnet18"]) == 1
    assert (
        "the weights of 'resnet18' are not on this machine and could not be downloaded"
        in capsys.readouterr().err
    )


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
        (("--truth", "test"), "truth: 'test' is unknown; accepted: head, finetune"),
        (("--finetune-lr", "0"), "finetune_lr: 0.0 is not a finite number > 0"),
        (("--device", "gpu"), "device: 'gpu' is unknown; accepted: auto, cpu"),
    ):
        assert main(["atlas", "--out", str(tmp_path / "bad"), *bad]) == 2
        errors = capsys.readouterr().err
        assert message in errors
        assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "bad").exists()


def test_a_group_of_classes_is_opened_with_the_images_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a data set that has too few images all are taken, and it is said."""
    from t2v import __main__ as command

    asked = []
    few = tasks.ArrayDataset(np.zeros((8, 4, 4, 3), np.uint8), np.arange(8) % 2)

    def fake(name: str, root: Path, **options: Any) -> tasks.Task:
        asked.append((name, options["fewer"]))
        return tasks.Task("its own name", few, few, ("a", "b"))

    monkeypatch.setattr(tasks, "from_torchvision", fake)
    args = argparse.Namespace(
        root="data", download=False, size=32, train=600, seed=0, skip_bad=False, command="embed"
    )
    for name in ("SVHN", "Omniglot/Greek"):
        assert command._open(f"torchvision:{name}", args).name == f"torchvision:{name}"
    assert asked == [("SVHN", True), ("Omniglot/Greek", True)]
    assert "torchvision:SVHN: 8 training images are used, all there are, not 600" in capsys.readouterr().err
    monkeypatch.undo()
    with pytest.raises(command.BadArgumentError, match="did you mean Greek"):
        command._open("torchvision:Omniglot/Grek", args)
