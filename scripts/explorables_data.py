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

from t2v import atlas, bottleneck
from t2v import information as info

BOOK = Path(__file__).resolve().parent.parent / "book"
FOLDER = BOOK / "_static" / "explorables"
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


# --- the shelf of networks: chapter 10 and the landing page ---

#: Task → its name in words and three signs of it (FE0E: as a letter, not as a coloured picture).
SHELF = {
    "latin_upper": ("Latin capitals", "ABC"),
    "latin_lower": ("Latin small letters", "abc"),
    "greek_upper": ("Greek capitals", "ΓΔΣ"),
    "greek_lower": ("Greek small letters", "αβγ"),
    "hebrew": ("Hebrew", "שבא"),
    "arabic": ("Arabic", "ع س م"),
    "digits_printed": ("printed digits", "123"),
    "digits_circled": ("circled digits", "①②③"),
    "digits_arabic": ("Arabic-Indic digits", "٣ ٤ ٥"),
    "roman_numerals": ("Roman numerals", "IV·IX"),
    "mnist": ("handwritten digits", "2·7·9"),
    "digits": ("digits, 8 × 8 pixels", "▗▚▙"),
    "arrow_direction": ("arrows", "←↑→"),
    "currency": ("currency signs", "€£¥"),
    "planets": ("planet signs", "☿\ufe0e♀\ufe0e♃"),
    "zodiac": ("signs of the zodiac", "♈\ufe0e♉\ufe0e♊\ufe0e"),
    "chess": ("chess pieces", "♘♖♕"),
    "dice": ("dice", "⚀⚂⚄"),
    "card_ranks": ("playing cards", "♠\ufe0e A K"),
    "trigrams": ("trigrams", "☰☲☵"),
    "type_style": ("type styles", "bold?"),
    "textures": ("textures", "▤▦▩"),
    "histology": ("tissue", "∴∵∷"),
    "photo_blur": ("blurred photographs", "▓▒░"),
}


def packed(matrix: np.ndarray) -> str:
    """Return numbers of five decimals, at least -1, as four characters each to base 36; what is no number is 0."""
    whole = np.rint((np.nan_to_num(matrix, nan=-1) + 1) * 1e5).astype(int)
    return "".join(np.base_repr(value, 36).lower().zfill(4) for value in whole.ravel())


def choose_network() -> dict[str, Any]:
    """Return what one seed's scores say and another seed's errors are, rows targets, columns sources."""
    names, scores = atlas.read_pairs(BOOK / "runs" / "atlas" / "pairs-seed0.csv")
    measured = atlas.read_pairs(BOOK / "runs" / "atlas" / "pairs-seed1.csv")[1]
    keys = {
        "symmetric": "d_sym",
        "trivial": "source_to_trivial",
        "canonical": "source_to_canonical",
        "logme": "logme",
    }
    if list(names) != list(SHELF):
        raise ValueError(f"atlas: tasks {names}; accepted: {list(SHELF)}")
    return {
        "tasks": [[name, *SHELF[name]] for name in names],
        "frozen": numbers(measured["frozen_error"][:, 0], 5),
        "error": packed(measured["error"]),
        **{key: packed(scores[column]) for key, column in keys.items()},
    }


FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "letters": letters,
    "postal_robot": postal_robot,
    "choose_network": choose_network,
}


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
