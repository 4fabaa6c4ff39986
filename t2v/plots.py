"""Figures that several chapters share: one palette, one style, tables, and a slider that works without a kernel."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: Okabe and Ito's colours, told apart by colour-blind readers; index them, or use the names of :func:`color`.
PALETTE: tuple[str, ...] = (
    "#0072B2",  # blue
    "#D55E00",  # vermilion
    "#009E73",  # green
    "#CC79A7",  # purple
    "#E69F00",  # orange
    "#56B4E9",  # sky
    "#000000",  # black
    "#8A8A8A",  # grey: for what stays in the background, as colour-blind readers may take it for green
)
_NAMES = ("blue", "vermilion", "green", "purple", "orange", "sky", "black", "grey")
#: Perceptually uniform, and ordered also in grey: for matrices and heat maps.
CMAP = "viridis"


def color(name: str) -> str:
    """Return the hex code of a palette colour by its name (``"blue"``, ``"vermilion"``, …)."""
    if name not in _NAMES:
        raise ValueError(f"color: unknown name {name!r}; accepted: {', '.join(_NAMES)}")
    return PALETTE[_NAMES.index(name)]


def use_style() -> None:
    """Set the book's matplotlib style: call it once at the top of a chapter.

    In a notebook, figures of lines then show themselves as drawings (SVG without a ground, which suits light and dark),
    figures with images or tens of thousands of points as pictures of 220 dots an inch.
    """
    import matplotlib as mpl
    from cycler import cycler

    _show_figures_sharply()
    mpl.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=PALETTE),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlesize": "medium",
            "axes.titlelocation": "left",
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "figure.figsize": (7.2, 3.6),
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.size": 11,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "image.cmap": CMAP,
        }
    )


#: Dots an inch of figures that are pictures: two for each pixel of a page.
SHARP = 220
#: A figure with more points than this would be larger as a drawing.
MOST_POINTS = 3_000
#: A bar or an ellipse counts as so many points.
OF_PATCH = 25


def _show_figures_sharply() -> None:
    """Register how a notebook shows figures; elsewhere nothing happens."""
    import sys

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    plt.switch_backend(
        plt.get_backend()
    )  # a notebook's registers its own way when it starts, which must not be later
    formatters = shell.display_formatter.formatters
    formatters["image/svg+xml"].for_type(
        Figure, lambda figure: None if _is_picture(figure) else _drawing(figure)
    )
    formatters["image/png"].for_type(Figure, lambda figure: _picture(figure) if _is_picture(figure) else None)


def _is_picture(figure: Figure) -> bool:
    """Tell whether a figure holds images, or so many points that a drawing would be heavy."""
    import numpy as np

    points = 0
    for axes in figure.axes:
        if axes.images:
            return True
        points += sum(int(np.size(line.get_xdata())) for line in axes.lines) + OF_PATCH * len(axes.patches)
        for collection in axes.collections:
            values = collection.get_array()
            points += max(
                len(np.asarray(collection.get_offsets())), 0 if values is None else int(np.size(values))
            )
    return points > MOST_POINTS


def _drawing(figure: Figure) -> str:
    """Return a figure as SVG without a ground, the same text for the same figure."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "t2v"}):
        figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    return buffer.getvalue()


def _picture(figure: Figure) -> bytes:
    """Return a figure as PNG at two dots for each pixel of a page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=min(SHARP, 2 * figure.dpi), bbox_inches="tight")
    return _compress(buffer.getvalue(), 256)


@dataclass(frozen=True)
class Table:
    """A table of results: HTML in a notebook and on the page, lines of text elsewhere.

    Attributes
    ----------
    columns : sequence of str
        The head; the first column names the rows.
    rows : sequence of sequences of str
        The cells.
    caption : str
        What the table shows.
    units : mapping of str to str
        Column to the unit that stands under its name.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    units: Mapping[str, str]

    def __repr__(self) -> str:
        heads = [f"{c} [{self.units[c]}]" if c in self.units else c for c in self.columns]
        widths = [max(map(len, column)) for column in zip(heads, *self.rows, strict=True)]
        lines = [
            [heads[0].ljust(widths[0]), *(h.rjust(w) for h, w in zip(heads[1:], widths[1:], strict=True))]
        ]
        for first, *rest in self.rows:
            lines.append(
                [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]
            )
        return "\n".join([self.caption, *("  ".join(line).rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        units = {c: f'<span class="t2v-unit">{html.escape(u)}</span>' for c, u in self.units.items()}
        heads = "".join(f'<th scope="col">{html.escape(c)}{units.get(c, "")}</th>' for c in self.columns)
        body = ""
        for first, *rest in self.rows:
            cells = "".join(
                f'<td data-label="{html.escape(c, quote=True)}">{html.escape(v)}</td>'
                for c, v in zip(self.columns[1:], rest, strict=True)
            )
            body += f'<tr><th scope="row">{html.escape(first)}</th>{cells}</tr>'
        return (
            f'<table class="t2v-results t2v-stack"><caption>{html.escape(self.caption)}</caption>'
            f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
        )


def table(
    rows: Sequence[Mapping[str, object]],
    caption: str,
    *,
    units: Mapping[str, str] | None = None,
    digits: int = 3,
) -> Table:
    """Return results as a table that a page sets in columns, and a phone one row below the other.

    Parameters
    ----------
    rows : sequence of mappings
        Column to value, all with the columns of the first, whose first column names the rows. Numbers are printed with
        ``digits`` significant digits, whole numbers in full, everything else as text.
    caption : str
        What is to be seen.
    units : mapping, optional
        Column to unit ("bits", "%"), which stands in the head.
    digits : int
        Significant digits.

    Returns
    -------
    Table
        Shows itself.

    Raises
    ------
    ValueError
        If there is no row, a row's columns are others than the first's, the caption is empty, or a unit has no column.
    """
    if not rows:
        raise ValueError("table: rows is empty; at least one row is needed")
    if not caption.strip():
        raise ValueError("table: caption is empty; say in words what the table shows")
    columns = list(rows[0])
    for k, row in enumerate(rows):
        if list(row) != columns:
            raise ValueError(
                f"table: row {k} has the columns {list(row)}; accepted: {columns}, as in the first row"
            )
    if unknown := set(units or {}) - set(columns):
        raise ValueError(f"table: units of {sorted(unknown)}, which are no columns; accepted: {columns}")
    cells = [[_cell(value, digits) for value in row.values()] for row in rows]
    return Table(columns, cells, caption, dict(units or {}))


def _cell(value: object, digits: int) -> str:
    """Return a value as it stands in a table; a minus is a minus, not a hyphen."""
    import numbers

    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return str(value)
    text = f"{int(value):,}" if isinstance(value, numbers.Integral) else f"{float(value):.{digits}g}"
    return text.replace("-", "−")


@dataclass(frozen=True)
class Slider:
    """A row of pictures behind a slider: plain HTML and a few lines of script, no kernel, no network.

    Attributes
    ----------
    frames : sequence of bytes
        PNG pictures, all of one size.
    labels : sequence of str
        What the slider says at each frame (``"β = 2.0"``).
    alts : sequence of str
        What a screen reader says of each frame.
    title : str
        The accessible name of the slider.
    start : int
        The frame that is shown first.
    """

    frames: Sequence[bytes]
    labels: Sequence[str]
    alts: Sequence[str]
    title: str
    start: int = 0

    def __repr__(self) -> str:
        return f"Slider({self.title!r}: {len(self.frames)} frames, {self.labels[0]} … {self.labels[-1]})"

    def _repr_html_(self) -> str:
        sources = [f"data:image/png;base64,{base64.b64encode(frame).decode()}" for frame in self.frames]
        pictures = "".join(
            f'<img src="{source}" alt="{html.escape(alt, quote=True)}"{"" if i == self.start else " hidden"}>'
            for i, (source, alt) in enumerate(zip(sources, self.alts, strict=True))
        )
        labels = html.escape(json.dumps(list(self.labels), ensure_ascii=False), quote=True)
        # The script finds its figure through the element that fired: a page may hold many sliders.
        move = (
            "var f=this.closest('figure'),l=JSON.parse(f.dataset.labels),k=+this.value;"
            "f.querySelectorAll('img').forEach(function(m,i){m.hidden=i!==k});"
            "f.querySelector('output').textContent=l[k];this.setAttribute('aria-valuetext',l[k]);"
        )
        return (
            f'<figure class="t2v-slider" data-labels="{labels}">{pictures}'
            f"<label>{html.escape(self.title)} "
            f'<input type="range" min="0" max="{len(self.frames) - 1}" value="{self.start}" step="1" autocomplete="off" '
            f'aria-valuetext="{html.escape(self.labels[self.start], quote=True)}" oninput="{move}"></label> '
            f"<output>{html.escape(self.labels[self.start])}</output></figure>"
        )


def slider(
    draw: Callable[[Any], Figure],
    values: Sequence[Any],
    *,
    title: str,
    label: Callable[[Any], str] = str,
    alt: Callable[[Any], str],
    start: Any = None,
    dpi: int = 90,
) -> Slider:
    """Draw one figure for each value and put the pictures behind a slider.

    Parameters
    ----------
    draw : callable
        ``draw(value)`` returns a new matplotlib figure; all must have one size, and axes with fixed limits.
    values : sequence
        One frame each, in the slider's order.
    title : str
        What the slider moves ("epoch", "β"): its visible and accessible name.
    label : callable
        ``label(value)``: the text beside the slider.
    alt : callable
        ``alt(value)``: what is to be seen in that frame, in words.
    start : optional
        The value at which the slider opens: the frame that says most. The first one by default.
    dpi : int
        Resolution of the frames; lower it for sliders with many frames.

    Returns
    -------
    Slider
        Shows itself in a notebook, and on the static page.

    Raises
    ------
    ValueError
        If ``values`` is empty or does not hold ``start``, a frame has no text alternative, or the figures
        differ in size (the page would jump).
    """
    if len(values) == 0:
        raise ValueError("slider: values is empty; at least one frame is needed")
    if start is not None and start not in values:
        raise ValueError(f"slider: start is {start!r}; accepted: one of the values, {list(values)}")
    labels, alts = [label(v) for v in values], [alt(v) for v in values]
    for name, text in zip(labels, alts, strict=True):
        if not text.strip():
            raise ValueError(
                f"slider: alt is empty for {name!r}; say in words what is to be seen in that frame"
            )
    frames = [_render(draw(value), dpi) for value in values]
    sizes = [_size(frame) for frame in frames]
    for name, size in zip(labels, sizes, strict=True):
        if size != sizes[0]:
            raise ValueError(
                f"slider: the figure of {name!r} is {size} pixels, the first {sizes[0]}; draw all in one size"
            )
    return Slider(frames, labels, alts, title, 0 if start is None else list(values).index(start))


def _render(figure: Figure, dpi: int) -> bytes:
    """Return a figure as a small PNG, and close it."""
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    plt.close(figure)
    return _compress(buffer.getvalue())


def _size(png: bytes) -> tuple[int, int]:
    from PIL import Image

    return Image.open(io.BytesIO(png)).size


def _compress(png: bytes, colours: int = 64) -> bytes:
    """Reduce a PNG to a few colours: a plot loses nothing that the eye sees, and the page stays small.

    The colours are chosen for coverage: the median cut counts pixels, and gives the hue of a few small points away.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture = picture.quantize(colours, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def clustered(
    distances: NDArray[np.float64],
    names: Sequence[str],
    linkage: NDArray[np.float64],
    *,
    label: str = "distance",
) -> Figure:
    """Draw a distance matrix in the order of a dendrogram, with the dendrogram beside it.

    Parameters
    ----------
    distances : array
        ``(n, n)``.
    names : sequence of str
        n names.
    linkage : array
        ``(n − 1, 4)``: a result of :func:`t2v.distance.cluster`.
    label : str
        What the colours mean.

    Returns
    -------
    Figure
        The tree on the left, its leaves level with the matrix's rows; the colours start at the smallest distance of two
        different tasks, and the diagonal is white.

    Raises
    ------
    ValueError
        If the sizes do not fit.
    """
    import matplotlib.pyplot as plt
    import numpy as np
    from scipy.cluster import hierarchy

    n = len(names)
    if distances.shape != (n, n) or len(linkage) != n - 1:
        raise ValueError(
            f"distances, linkage: shapes {distances.shape} and {linkage.shape} do not fit {n} names"
        )
    figure, (tree, heat) = plt.subplots(1, 2, figsize=(8.2, 5.8), width_ratios=(1, 3.2))
    drawn = hierarchy.dendrogram(
        linkage,
        orientation="left",
        ax=tree,
        no_labels=True,
        color_threshold=0,
        above_threshold_color="#555555",
    )
    order = drawn["leaves"]
    tree.invert_yaxis()
    tree.axis("off")
    # The zeros of the diagonal would take the lower half of the colours.
    colours = plt.get_cmap().with_extremes(under="white")
    least = distances[~np.eye(n, dtype=bool)].min()
    picture = heat.imshow(distances[order][:, order], aspect="auto", cmap=colours, vmin=least)
    ordered = [names[k] for k in order]
    heat.set_xticks(range(n), ordered, rotation=90, fontsize=8)
    heat.set_yticks(range(n), ordered, fontsize=8)
    heat.grid(False)
    heat.spines[:].set_visible(False)
    figure.colorbar(picture, ax=heat, label=label, shrink=0.7)
    return figure


def task_map(
    points: NDArray[np.float64],
    names: Sequence[str],
    kinds: Sequence[str],
    *,
    labelled: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw tasks as points of a map: one colour and marker a kind, the largest coordinate at 1.

    Parameters
    ----------
    points : array
        ``(n, 2)``, not all zero: for instance a result of :func:`t2v.distance.classical_mds`.
    names, kinds : sequence of str
        n names, and what colour and legend go by (at most seven different ones).
    labelled : sequence of str, optional
        Names to print; all by default.
    title : str
        Of the figure.

    Returns
    -------
    Figure
        With fixed limits and both axes in one scale, so that maps can be compared.

    Raises
    ------
    ValueError
        If the sizes do not fit, or there are more kinds than colours.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    different = list(dict.fromkeys(kinds))
    if points.shape != (len(names), 2) or len(kinds) != len(names) or len(different) > 7:
        raise ValueError(
            f"points, names, kinds: shape {points.shape}, {len(names)} names, {len(kinds)} kinds "
            f"({len(different)} different); (n, 2), n, n and at most 7 are accepted"
        )
    points = points / np.abs(points).max()
    figure, axis = plt.subplots(figsize=(7.2, 6.2))
    for number, kind in enumerate(different):
        mine = [i for i, k in enumerate(kinds) if k == kind]
        axis.scatter(
            points[mine, 0],
            points[mine, 1],
            s=22,
            marker="os^DvPX"[number],
            color=PALETTE[number],
            label=kind,
        )
    axis.set(xlim=(-1.1, 1.3), ylim=(-1.1, 1.1), xticks=[], yticks=[], aspect="equal", title=title)
    axis.legend(loc="lower left", fontsize=8)
    axis.apply_aspect()
    at = axis.transData.transform(points) * 72 / figure.dpi
    shown = [i for i, name in enumerate(names) if labelled is None or name in labelled]
    for i, (offset, side) in zip(shown, _places(at, [names[i] for i in shown], shown), strict=True):
        look: dict[str, Any] = {"fontsize": 8, "color": PALETTE[different.index(kinds[i])], "ha": side}
        axis.annotate(names[i], points[i].tolist(), offset, textcoords="offset points", **look)
    return figure


def _places(
    at: NDArray[np.float64], texts: Sequence[str], rows: Sequence[int]
) -> list[tuple[tuple[int, int], str]]:
    """Return, label by label, the offset and alignment (of six) that hides the fewest markers and earlier labels.

    ``at`` are all markers, ``rows`` those that the texts belong to; all in points, with letters of about 4.4 by 8.
    """
    import numpy as np

    places = [((4, 2), "left"), ((-4, 2), "right"), ((4, -9), "left"), ((-4, -9), "right")]
    places += [((0, 6), "center"), ((0, -13), "center")]
    shift = {"left": 0.0, "right": 1.0, "center": 0.5}
    boxes: list[tuple[float, float, float, float]] = []
    chosen = []
    for text, row in zip(texts, rows, strict=True):
        width, best = 4.4 * len(text), (np.inf, 0, (0.0, 0.0, 0.0, 0.0))
        for k, ((dx, dy), side) in enumerate(places):
            left, low = at[row, 0] + dx - shift[side] * width, at[row, 1] + dy
            box = (left, left + width, low, low + 8)
            hidden = (
                (at[:, 0] > left - 3)
                & (at[:, 0] < box[1] + 3)
                & (at[:, 1] > low - 3)
                & (at[:, 1] < box[3] + 3)
            ).sum()
            crossed = sum(left < b[1] and b[0] < box[1] and low < b[3] and b[2] < box[3] for b in boxes)
            best = min(best, (float(hidden + 3 * crossed), k, box))
        boxes.append(best[2])
        chosen.append(places[best[1]])
    return chosen


def ranking(
    target: tuple[str, NDArray[np.uint8]],
    sources: Sequence[tuple[str, NDArray[np.uint8], float]],
    *,
    each: int = 8,
) -> Figure:
    """Draw a ranking: pictures of the target on top, then a row for each source, the best first, with its distance.

    Parameters
    ----------
    target : (str, array)
        Name and images ``(n, h, w, 3)`` uint8.
    sources : sequence of (str, array, float)
        Name, images and asymmetric distance, in the ranking's order.
    each : int
        How many images of each task to show.

    Returns
    -------
    Figure
        One row a task.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(
        len(sources) + 1, 2, figsize=(9, 0.72 * (len(sources) + 1)), width_ratios=(each, 5), squeeze=False
    )
    rows = [
        (f"target: {target[0]}", target[1]),
        *((f"{k}. {s[0]}", s[1]) for k, s in enumerate(sources, start=1)),
    ]
    longest = max(max(abs(s[2]) for s in sources), 1e-12)
    for k, ((name, images), (pictures, bar)) in enumerate(zip(rows, axes, strict=True)):
        pictures.imshow(np.concatenate(list(images[:each]), axis=1))
        pictures.set(xticks=[], yticks=[])
        pictures.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
        pictures.grid(False)
        pictures.spines[:].set_visible(False)
        bar.axis("off")
        bar.set(xlim=(min(0.0, 1.1 * min(s[2] for s in sources)), 1.25 * longest), ylim=(-1, 1))
        if k:
            value = sources[k - 1][2]
            bar.barh(0, value, height=0.9, color=color("vermilion" if k == 1 else "sky"))
            bar.text(max(value, 0) + 0.02 * longest, 0, f"{value:.3f}", va="center", fontsize=10)
        else:
            bar.text(0, 0, "asymmetric distance", va="center", fontsize=10)
    return figure
