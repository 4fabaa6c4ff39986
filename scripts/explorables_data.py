"""Write the data of the live figures, ``book/_static/explorables/*.data.js``, from the package.

Usage: python scripts/explorables_data.py

Each file is a classic script that puts one object into ``t2vKit.data``: pages opened from a disk may run scripts, but
may not fetch. The numbers are rounded to what a figure needs, and a test compares the committed files with what this
script makes, so that figures and package cannot drift apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from t2v import bottleneck
from t2v import information as info

FOLDER = Path(__file__).resolve().parent.parent / "book" / "_static" / "explorables"
HEAD = "// Made by scripts/explorables_data.py from the package t2v: edit that, not this.\n"
#: Prices at which chapter 3's curve is drawn.
BETAS = np.concatenate([np.geomspace(1.05, 20, 72), np.geomspace(22, 300, 16)])


def numbers(values: Any, digits: int) -> Any:
    """Return an array as nested lists of rounded numbers, whole ones as integers."""
    if isinstance(values, (list, tuple, np.ndarray)):
        return [numbers(value, digits) for value in values]
    rounded = round(float(values), digits)
    return int(rounded) if rounded == int(rounded) else rounded


# --- letters: chapters 1 and 3 ---


def outline(letter: str) -> list[str]:
    """Return a letter's outline as one SVG path for each of the six kinds of stroke (y points down)."""
    pieces, kinds = info.letter_outline(letter)
    paths = [""] * 6
    for kind, run in _runs(pieces, kinds):
        # A curve comes as 64 pieces; every sixteenth corner is enough for a picture.
        step = 16 if kind >= 4 else 1
        corners = np.vstack([run[::step, 0], run[-1:, 1]]) * [1, -1]
        text = " ".join(f"{numbers(x, 1)} {numbers(y, 1)}" for x, y in corners)
        paths[kind] += f"M{text}"
    return [path.replace(" -", "-") for path in paths]


def _runs(pieces: np.ndarray, kinds: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Divide the pieces of an outline where the kind changes or the pen was lifted."""
    lifted = (pieces[1:, 0] != pieces[:-1, 1]).any(axis=1)
    breaks = np.flatnonzero(lifted | (kinds[1:] != kinds[:-1])) + 1
    starts, ends = [0, *breaks], [*breaks, len(kinds)]
    return [(int(kinds[a]), pieces[a:b]) for a, b in zip(starts, ends, strict=True)]


def letters() -> dict[str, Any]:
    """Return the running example of chapters 1 to 3: p(stroke | letter) and the outlines."""
    joint, names, strokes = info.example_joint()
    widths = [info.letter_outline(name)[0][..., 0] for name in names]
    return {
        "names": "".join(names),
        "strokes": strokes,
        "given": numbers(joint / joint.sum(axis=1, keepdims=True), 6),
        "box": [numbers([w.min(), w.max()], 1) for w in widths],
        "paths": [outline(name) for name in names],
    }


def postal_robot() -> dict[str, Any]:
    """Return chapter 3's curve of best (I(T;X), I(T;Y)) in bits, β first."""
    found = bottleneck.curve(info.example_joint()[0], BETAS)
    return {"curve": numbers(np.column_stack([found.betas, found.i_tx, found.i_ty]), 4)}


FILES: dict[str, Callable[[], dict[str, Any]]] = {"letters": letters, "postal_robot": postal_robot}


def script(name: str) -> str:
    """Return the text of one data file."""
    data = json.dumps(FILES[name](), ensure_ascii=False, separators=(",", ":"))
    return f"{HEAD}window.t2vKit.data.{name} = {data};\n"


def main() -> None:
    """Write every file."""
    for name in FILES:
        path = FOLDER / f"{name}.data.js"
        path.write_text(script(name), encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main()
