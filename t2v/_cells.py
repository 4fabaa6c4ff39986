"""Tables of measurements that grow: rows by draws, kept in one file, where only what is missing is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2v._files import read_arrays, write_arrays

Array = NDArray[np.float64]
_PREFIX = "cell:"


class Cells:
    """Numbers by row and draw; NaN is what has not been measured.

    Parameters
    ----------
    file : path
        Where they are kept. What is there is read.

    Attributes
    ----------
    about : dict of str to float
        Numbers that belong to the whole table.

    Raises
    ------
    ValueError
        If the file is damaged; the message names it and the remedy.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._rows: dict[str, dict[tuple[str, int], float]] = {}
        self.about: dict[str, float] = {}
        if file.exists():
            self._read(read_arrays(file))

    def _read(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if "rows" not in arrays:  # of an earlier version: nothing of it can be added to
            return
        names = arrays["rows"].tolist()
        self._rows = {name: {} for name in names}
        for key, values in arrays.items():
            if key.startswith(_PREFIX):
                for name, row in zip(names, values, strict=True):
                    found = {(key.removeprefix(_PREFIX), r): float(v) for r, v in enumerate(row)}
                    self._rows[name] |= {at: v for at, v in found.items() if not np.isnan(v)}
            elif key != "rows":
                self.about[key] = float(values)

    def has(self, row: str, draw: int, keys: Iterable[str]) -> bool:
        """Whether all these numbers of a row and a draw are there."""
        return all((key, draw) in self._rows.get(row, {}) for key in keys)

    def missing(self, rows: Sequence[str], draws: int, keys: Sequence[str]) -> dict[str, list[int]]:
        """Return row → draws that lack one of the numbers, of rows that lack any."""
        lacking = {row: [r for r in range(draws) if not self.has(row, r, keys)] for row in rows}
        return {row: todo for row, todo in lacking.items() if todo}

    def put(self, row: str, draw: int, values: Mapping[str, float]) -> None:
        """Set numbers of a row and a draw."""
        kept = self._rows.setdefault(row, {})
        for key, value in values.items():
            if np.isnan(value):
                raise ValueError(f"{self.file.name}: {key} of {row!r} is NaN; a number is needed")
            kept[key, draw] = float(value)

    def drop(self, row: str) -> bool:
        """Forget a row; whether it was there."""
        return self._rows.pop(row, None) is not None

    def table(self, key: str, rows: Sequence[str], draws: int) -> Array:
        """Return ``(rows, draws)`` numbers, NaN where they are missing."""
        return np.array(
            [[self._rows.get(row, {}).get((key, r), np.nan) for r in range(draws)] for row in rows]
        ).reshape(len(rows), draws)

    def write(self) -> None:
        """Write the file, whole or not at all."""
        at = {place for row in self._rows.values() for place in row}
        names, draws = list(self._rows), 1 + max((draw for _, draw in at), default=-1)
        arrays = {f"{_PREFIX}{key}": self.table(key, names, draws) for key in sorted({key for key, _ in at})}
        about = {key: np.array(value) for key, value in self.about.items()}
        write_arrays(self.file, rows=np.array(names, dtype=str), **arrays, **about)
