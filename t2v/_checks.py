"""What callers hand over, as arrays: numbers and labels from lists, arrays, tensors and the columns of tables.

Nothing here imports torch or pandas: a tensor is told by its ``detach``, a table by its ``iloc`` and ``columns``.
"""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

#: Beyond it not every integer is a float64.
EXACT = 2**53
#: By how much of the smallest difference between two values an integer may be moved when it becomes a float.
_FRACTION = 2**-10


def is_table(values: Any) -> bool:
    """Say whether values are a data frame: columns of types of their own."""
    return hasattr(values, "iloc") and hasattr(values, "columns")


def plain(values: Any, name: str) -> NDArray[Any]:
    """Return values as a NumPy array of whatever type; a tensor is taken from its graph and device.

    Of a list, strings stay apart from numbers and from gaps, and integers from floats where a float would merge them.

    Raises
    ------
    TypeError, ValueError
        If they are no array: ragged, say.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values  # NumPy has no such type
    array = np.asarray(values)
    if array.dtype.kind == "T":  # NumPy's strings of any length
        return array.astype(object)
    own = hasattr(values, "dtype") or is_table(values)
    if not own and (array.dtype.kind in "US" or _beyond(array)):
        as_given = np.array(values, dtype=object)
        return as_given if as_given.shape == array.shape else array
    return array


def _beyond(array: NDArray[Any]) -> bool:
    return array.dtype.kind == "f" and bool((np.abs(array) >= EXACT).any())


# -------------------------------------------------------------------------------------------------- numbers


def precision(values: Any) -> float:
    """Return the machine epsilon of the shortest float type that values come in; 0 for float64 and others."""
    one: Any = values if hasattr(values, "dtype") or is_table(values) else np.asarray(values)
    kinds = list(one.dtypes) if is_table(one) else [one.dtype]
    found = [0.0]
    for kind in kinds:
        if str(kind) == "torch.bfloat16":
            found.append(2.0**-7)
            continue
        kind = np.dtype(str(kind).removeprefix("torch.").lower()) if _is_float(kind) else np.dtype(float)
        found.append(float(np.finfo(kind).eps) if kind.itemsize < 8 else 0.0)
    return max(found)


def _is_float(kind: Any) -> bool:
    return str(kind).removeprefix("torch.").lower() in ("float16", "float32")


def real(values: ArrayLike, name: str) -> Array:
    """Return real numbers in float64, of any shape; gaps of a table are NaN.

    Raises
    ------
    TypeError
        If there are others than real numbers.
    ValueError
        If there are integers that a float64 would merge with others.
    """
    if is_table(values):
        return _table(values, name)
    try:
        array = plain(values, name)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} is no array ({error}); accepted: an array of real numbers") from error
    if array.dtype.kind == "O":
        return _of_objects(array, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has entries of type {array.dtype}; accepted: an array of real numbers")
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        return _of_integers(array, name)
    return array.astype(np.float64)


def _table(table: Any, name: str) -> Array:
    """Return a data frame's columns side by side; each has a type of its own, and a name for the message."""
    columns = [real(table.iloc[:, j], f"column {label!r} of {name}") for j, label in enumerate(table.columns)]
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0))


def _of_objects(array: NDArray[Any], name: str) -> Array:
    entries = array.ravel().tolist()
    for entry in entries:
        if not (is_gap(entry) or isinstance(entry, numbers.Real | decimal.Decimal | np.bool_)):
            raise TypeError(
                f"{name} has entries of type {array.dtype} ({type(entry).__name__}); accepted: an array of real numbers"
            )
    if entries and all(isinstance(entry, numbers.Integral) for entry in entries):
        return _of_integers(array, name)
    return np.array([np.nan if is_gap(e) else float(e) for e in entries]).reshape(array.shape)


def _of_integers(array: NDArray[Any], name: str) -> Array:
    """Convert integers; beyond 2⁵³ column by column, counted from the column's middle where that keeps them exact."""
    if array.size == 0 or (array.min() >= -EXACT and array.max() <= EXACT):
        return array.astype(np.float64)
    table = array.astype(object).reshape(len(array), -1) if array.ndim else array.astype(object).reshape(1, 1)
    for column in table.T:
        column[:] = _shifted(column.tolist(), name)
    return table.astype(np.float64).reshape(array.shape)


def _shifted(column: list[int], name: str) -> list[float]:
    """Return integers less one of them: whichever leaves all apart that differ. What they inform of is the same."""
    for origin in (0, sorted(column)[len(column) // 2]):
        moved = np.unique(np.array([value - origin for value in column], dtype=object))
        error = np.array([abs(int(float(value)) - value) for value in moved], dtype=np.float64)
        gaps = np.diff(moved).astype(np.float64)
        nearest = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps))
        if (error <= _FRACTION * nearest).all():
            return [float(value - origin) for value in column]
    raise ValueError(
        f"{name} has integers beyond 2^53 that a float cannot tell apart; accepted: integers of a range below 2^53, "
        "or labels (strings)"
    )


# --------------------------------------------------------------------------------------------------- labels


class Labels(NamedTuple):
    """Labels as codes from 0, and what each code stands for, as a message would call it."""

    codes: Counts
    names: list[str]


def is_gap(label: Any) -> bool:
    """Say whether an object is None, NaN, or pandas' NA or NaT (told by their types' names)."""
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(label, float | np.floating | decimal.Decimal) and bool(label != label)


def labels(values: ArrayLike, name: str, kinds: str = "biufUSMmO") -> Labels:
    """Return labels (or rows of labels) as codes; codes differ exactly where the labels differ.

    Parameters
    ----------
    values : array_like, shape (n,) or (n, d)
        Integers, strings, truth values, categories, dates, or any objects that compare and hash.
    name : str
        What error messages call them.
    kinds : str
        NumPy's letters for the types that are accepted.

    Raises
    ------
    TypeError
        If they are of another kind.
    ValueError
        If they are no array of one or two axes, there is none, or one is missing or NaN.
    """
    if is_table(values):
        return _of_columns(values, name, kinds)
    try:
        array = plain(values, name)
    except ValueError as error:
        raise ValueError(f"{name} is no array ({error}); accepted: one label for each sample") from error
    if array.dtype.kind == "f" and array.size and np.isnan(array).any():
        raise _missing(np.nan, np.argwhere(np.isnan(array))[0], name)
    if array.dtype.kind not in kinds:
        raise TypeError(
            f"{name} has entries of type {array.dtype}; accepted: integers, strings or other real labels"
        )
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} has shape {array.shape}; accepted: (n,), or (n, d) where each row is one label"
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty; accepted: at least one sample")
    if array.dtype.kind in "Mm" and np.isnat(array).any():
        raise _missing("NaT", np.argwhere(np.isnat(array))[0], name)
    found: Iterable[Any] = array
    if array.dtype.kind == "O":
        array, found = _of_hashables(array, name), array
    first, codes = _first_and_codes(array)
    return Labels(codes, [str(np.asarray(found, dtype=object)[i]) for i in first])


def _of_columns(table: Any, name: str, kinds: str) -> Labels:
    """Return the codes of a data frame's rows; no type of one column changes those of another."""
    if 0 in table.shape:
        raise ValueError(f"{name} is empty (shape {table.shape}); accepted: at least one sample")
    columns = [
        labels(table.iloc[:, j], f"column {label!r} of {name}", kinds) for j, label in enumerate(table)
    ]
    first, codes = _first_and_codes(np.stack([column.codes for column in columns], axis=1))
    return Labels(codes, [" ".join(c.names[c.codes[i]] for c in columns) for i in first])


def _first_and_codes(array: NDArray[Any]) -> tuple[NDArray[np.intp], Counts]:
    axis = 0 if array.ndim == 2 else None
    _, first, codes = np.unique(array, axis=axis, return_index=True, return_inverse=True)
    return first, codes.reshape(-1).astype(np.int64)


def _of_hashables(array: NDArray[Any], name: str) -> Counts:
    """Return an array of Python objects as numbers, one for each different label; refuse gaps and odd types."""
    number: dict[Hashable, int] = {}
    for where, label in zip(np.ndindex(array.shape), array.flat, strict=True):
        if is_gap(label):
            raise _missing(label, where, name)
        if type(label).__hash__ is None or type(label).__eq__ is object.__eq__:
            raise TypeError(
                f"{name} has entries of type {array.dtype} ({type(label).__name__}); "
                "accepted: integers, strings or other labels that compare"
            )
        number.setdefault(label, len(number))
    return np.array([number[label] for label in array.flat], dtype=np.int64).reshape(array.shape)


def _missing(label: Any, where: Any, name: str) -> ValueError:
    return ValueError(
        f"{name} has a missing label, {label}, in row {where[0]}; accepted: a label in every row"
    )


def take(values: Any, rows: NDArray[np.intp]) -> Any:
    """Return some rows of samples of any kind, in their own type: a table's stay a table's."""
    return values.iloc[rows] if hasattr(values, "iloc") else values[rows]
