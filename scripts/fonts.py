"""Cut the book's type faces down to what its pages need: python scripts/fonts.py FOLDER.

FOLDER holds Fontsource's packages (``npm install @fontsource-variable/source-serif-4 @fontsource-variable/source-sans-3``
there). Source Serif and Source Sans are Adobe's, under the SIL Open Font Licence, which is written beside the results.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

TARGET = Path(__file__).resolve().parent.parent / "book" / "_static" / "fonts"
PACKAGES = "node_modules/@fontsource-variable"
LATIN = (
    "".join(map(chr, range(0x20, 0x7F))) + "\u00a0§°±²³·¹¼½¾×ßáãäçéêëíñòóôöøúüÁÉÖÜęłŴż–—‑‘’“”„…′→←−≈≤≥∞√⁴₀₂"
)
GREEK = "αβγδεζηθκλμνπρστφχψωΓΔΘΛΠΣΦΨΩ"
TITLE = "".join(map(chr, range(0x20, 0x7F))) + "\u00a0–—‘’“”éö"
COPYRIGHT = """Parts of Source Serif 4 and Source Sans 3, copyright 2010-2023 Adobe (http://www.adobe.com/), with Reserved Font
Name 'Source'; cut down by scripts/fonts.py, and therefore without that name.
"""
FEATURES = ["kern", "liga", "calt", "ccmp", "locl", "mark", "mkmk", "tnum", "lnum"]
#: Result: family, file of the package, letters, axes.
FACES: dict[str, tuple[str, str, str, dict[str, float | tuple[float, float]]]] = {
    "serif": ("source-serif-4", "latin-wght-normal", LATIN, {"wght": (400, 700)}),
    "serif-italic": ("source-serif-4", "latin-wght-italic", LATIN, {"wght": 400}),
    "serif-greek": ("source-serif-4", "greek-wght-normal", GREEK, {"wght": 400}),
    "title": ("source-serif-4", "latin-opsz-normal", TITLE, {"wght": 600, "opsz": 48}),
    "sans": ("source-sans-3", "latin-wght-normal", LATIN, {"wght": (400, 700)}),
}


def cut(source: Path, letters: str, axes: dict[str, float | tuple[float, float]], target: Path) -> int:
    """Write a part of a font as WOFF2 and return its size in bytes."""
    font = TTFont(source)
    options = subset.Options()
    options.layout_features, options.hinting, options.notdef_outline = FEATURES, False, True
    options.name_IDs = [0, 13, 14]  # the name is reserved for the whole fonts
    cutter = subset.Subsetter(options)
    cutter.populate(text=letters)
    cutter.subset(font)
    buffer = io.BytesIO()
    font.flavor = None
    font.save(buffer)
    font = instancer.instantiateVariableFont(TTFont(buffer), axes)
    font.flavor = "woff2"
    font.save(target)
    return target.stat().st_size


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where npm installed Fontsource's packages")
    folder = parser.parse_args(arguments).folder / PACKAGES
    TARGET.mkdir(parents=True, exist_ok=True)
    total = 0
    for name, (family, file, letters, axes) in FACES.items():
        size = cut(
            folder / family / "files" / f"{family}-{file}.woff2", letters, axes, TARGET / f"{name}.woff2"
        )
        print(f"{name}: {size / 1000:.1f} kB")
        total += size
    licence = (folder / "source-serif-4" / "LICENSE").read_text(encoding="utf-8")
    (TARGET / "LICENSE.txt").write_text(COPYRIGHT + licence.partition("\n")[2], encoding="utf-8")
    print(f"{total / 1000:.1f} kB in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
