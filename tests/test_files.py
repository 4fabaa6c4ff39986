"""Files are written whole or not at all; tables of measurements grow; a log says how far a run is."""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t2v import _files, _progress
from t2v._cells import Cells


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.csv"
    _files.write_text(path, "whole, ü\n")

    def half(file: Any) -> None:
        file.write(b"ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        _files.atomically(path, half)
    assert path.read_text(encoding="utf-8") == "whole, ü\n"
    assert [p.name for p in path.parent.iterdir()] == ["table.csv"]


def test_a_killed_writer_leaves_what_was_there(tmp_path: Path) -> None:
    def killed(file: Any) -> None:
        file.write(b"ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _files.atomically(tmp_path / "new.npz", killed)
    assert not list(tmp_path.iterdir())


def test_arrays_come_back_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    _files.write_arrays(path, a=np.arange(3), b=np.array("text"))
    found = _files.read_arrays(path)
    assert found["a"].tolist() == [0, 1, 2]
    assert str(found["b"]) == "text"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"some.npz: damaged .*remove it"):
        _files.read_arrays(path)
    _files.write_arrays(path, a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="damaged"):  # nothing is unpickled
        _files.read_arrays(path)


def test_names_of_files() -> None:
    assert _files.file_name("torchvision:CIFAR100/fish") == "torchvision_CIFAR100_fish"


def test_tables_grow_and_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "cells.npz"
    cells = Cells(file)
    assert cells.missing(["a", "b"], 2, ["x", "y"]) == {"a": [0, 1], "b": [0, 1]}
    cells.put("a", 0, {"x": 0.0, "y": 2.0})
    cells.put("a", 1, {"x": 3.0})
    cells.about["seconds"] = 1.5
    cells.write()
    again = Cells(file)
    assert again.about == {"seconds": 1.5}
    assert again.missing(["a", "b"], 2, ["x", "y"]) == {"a": [1], "b": [0, 1]}
    assert again.missing(["a"], 2, ["x"]) == {}
    assert again.has("a", 0, ["x"])
    assert np.array_equal(again.table("x", ["b", "a"], 3), [[np.nan] * 3, [0, 3, np.nan]], equal_nan=True)
    again.put("b, with a comma", 2, {"z": 7.0})
    again.write()
    third = Cells(file)
    assert third.table("z", ["a", "b, with a comma"], 3)[1].tolist()[2] == 7.0
    assert third.table("y", ["a"], 1)[0, 0] == 2.0
    assert third.drop("a")
    assert not third.drop("a")
    assert third.missing(["a"], 1, ["x"]) == {"a": [0]}
    with pytest.raises(ValueError, match="y of 'a' is NaN; a number is needed"):
        third.put("a", 0, {"y": np.nan})


def test_a_table_of_another_layout_is_measured_anew_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "old.npz"
    _files.write_arrays(file, targets=np.array(["a"]), error=np.zeros((1, 3)))
    assert Cells(file).missing(["a"], 1, ["error"]) == {"a": [0]}
    file.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"old.npz: damaged .*; remove it, and start again"):
        Cells(file)
    empty = Cells(tmp_path / "empty.npz")
    empty.write()
    assert Cells(tmp_path / "empty.npz").missing(["a"], 1, ["x"]) == {"a": [0]}


def test_a_log_says_how_far_it_is_and_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a clock of our own: two items are there already, one takes 60 s, a quick one prints no line."""
    clock, took = [100.0], {"one": 0.0, "two": 0.0, "three": 60.0, "four": 3.0, "five": 57.0, "six": 9000.0}
    monkeypatch.setattr(_progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(_progress.sys.stderr, "isatty", lambda: False, raising=False)
    for name in _progress.follow(list(took), "experts"):
        clock[0] += took[name]
    assert capsys.readouterr().err.splitlines() == [
        "experts: 3 of 6 (three), 60 s, about 3 min left",
        "experts: 5 of 6 (five), 2 min, about 40 s left",
        "experts: 6 of 6 (six), 2.5 h",
    ]
    assert list(_progress.follow([1, 2], "quiet", show=False)) == [1, 2]
    assert capsys.readouterr().err == ""


def test_times_in_words() -> None:
    said = [_progress.words(s) for s in (0.4, 119, 120, 7199, 7200, 90_000)]
    assert said == ["0 s", "119 s", "2 min", "120 min", "2.0 h", "25.0 h"]
