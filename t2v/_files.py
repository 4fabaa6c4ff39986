"""Files that are written whole or not at all, and read without pickle."""

from __future__ import annotations

import csv
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def file_name(name: str) -> str:
    """Return a name with the characters that a file's name should not have replaced by ``_``."""
    return re.sub(r"[^\w.-]+", "_", name)


def atomically(path: Path, write: Callable[[Any], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, and put it in its place when it is whole.

    A full disk or a killed process leaves what was there before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o644)  # a temporary file is its owner's alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically."""
    atomically(path, lambda file: file.write(text.encode()))


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]], digits: int = 4) -> str:
    """Return CSV text; numbers with so many significant digits, nothing for NaN."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value, digits) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Any, digits: int) -> str:
    if not isinstance(value, (float, np.floating)):
        return str(value)
    return "" if np.isnan(value) else f"{value:.{digits}g}"


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write arrays to one ``.npz`` file, atomically."""
    atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what :func:`write_arrays` wrote.

    Raises
    ------
    ValueError
        If the file is damaged; the message names it.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return {key: content[key] for key in content.files}
    except Exception as error:  # a damaged zip raises one of many kinds
        raise ValueError(f"{path}: damaged ({type(error).__name__}); remove it, and start again") from error
