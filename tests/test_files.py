"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t2v import _files


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
