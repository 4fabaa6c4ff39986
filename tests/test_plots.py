"""The shared palette, style and slider."""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from t2v import plots

mpl.use("Agg")


def draw(height: float, size: tuple[float, float] = (3, 2)) -> Figure:
    figure, axes = plt.subplots(figsize=size)
    axes.bar([0], [height])
    axes.set_ylim(0, 10)
    return figure


def make(values: range = range(1, 4)) -> plots.Slider:
    return plots.slider(
        draw, values, title='h "β"', label=lambda v: f"h = {v} < 9", alt=lambda v: f"A bar of height {v}"
    )


def luminance(code: str) -> float:
    """Relative luminance of a colour, by WCAG's formula."""
    channels = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_colours_by_name() -> None:
    assert plots.color("blue") == plots.PALETTE[0]
    assert plots.color("grey") == plots.PALETTE[-1]
    with pytest.raises(ValueError, match="unknown name 'mauve'; accepted: blue, vermilion"):
        plots.color("mauve")


def test_palette_is_told_apart_by_colour_blind_readers() -> None:
    """Simulated red- and green-blindness (Viénot, Brettel and Mollon 1999) leaves all but grey apart."""
    to_lms = np.array(
        [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
    )
    protan = np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])
    deutan = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in plots.PALETTE[:-1]])
    for blind in (protan, deutan):
        seen = ((rgb**2.2) @ to_lms.T @ blind.T @ np.linalg.inv(to_lms).T).clip(0, 1) ** (1 / 2.2)
        gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
        assert min(gaps) > 0.14


def test_lines_are_seen_on_white() -> None:
    contrasts = [1.05 / (luminance(c) + 0.05) for c in plots.PALETTE]
    assert min(contrasts) > 2
    assert sum(c >= 3 for c in contrasts) >= 6


def test_use_style_sets_the_cycle() -> None:
    with mpl.rc_context():
        plots.use_style()
        assert [entry["color"] for entry in mpl.rcParams["axes.prop_cycle"]] == list(plots.PALETTE)
        assert mpl.rcParams["image.cmap"] == plots.CMAP


def test_slider_shows_one_frame_and_keeps_the_rest() -> None:
    text = make()._repr_html_()
    images = re.findall(r"<img ([^>]*)>", text)
    assert len(images) == 3
    assert [" hidden" in f" {image}" for image in images] == [False, True, True]
    assert [re.search(r'alt="([^"]*)"', image)[1] for image in images] == [
        f"A bar of height {k}" for k in (1, 2, 3)
    ]
    assert 'max="2"' in text
    assert 'value="0"' in text


def test_slider_opens_where_it_is_told() -> None:
    text = plots.slider(
        draw, range(1, 4), title="h", label="h = {}".format, alt="A bar of {}".format, start=3
    )
    page = text._repr_html_()
    images = re.findall(r"<img ([^>]*)>", page)
    assert [" hidden" in f" {image}" for image in images] == [True, True, False]
    assert 'value="2"' in page
    assert 'aria-valuetext="h = 3"' in page
    assert "<output>h = 3</output>" in page
    with pytest.raises(ValueError, match=r"slider: start is 9; accepted: one of the values, \[1, 2, 3\]"):
        plots.slider(draw, [1, 2, 3], title="h", alt=str, start=9)


def test_slider_frames_are_the_figures_in_order() -> None:
    heights = []
    for frame in make().frames:
        pixels = np.asarray(Image.open(io.BytesIO(frame)).convert("RGB")).astype(int)
        heights.append(
            int((np.abs(pixels - [31, 119, 180]).sum(-1) < 60).any(1).sum() or (pixels[..., 2] > 150).sum())
        )
    assert heights[0] < heights[1] < heights[2]


def test_slider_labels_survive_html_and_json() -> None:
    text = make()._repr_html_()
    labels = json.loads(html.unescape(re.search(r'data-labels="([^"]*)"', text)[1]))
    assert labels == ["h = 1 < 9", "h = 2 < 9", "h = 3 < 9"]
    assert "<output>h = 1 &lt; 9</output>" in text
    assert "h &quot;β&quot;" in text


def test_slider_pictures_are_in_the_page() -> None:
    text = make()._repr_html_()
    sources = re.findall(r'src="([^"]*)"', text)
    assert all(s.startswith("data:image/png;base64,") for s in sources)
    assert base64.b64decode(sources[0].partition(",")[2]) == make().frames[0]
    assert "http" not in text


def test_slider_frames_keep_the_colour_of_a_few_small_points() -> None:
    def crowded(_: int) -> Figure:
        figure, axes = plt.subplots(figsize=(5, 4))
        for _ in plots.PALETTE:  # many lines of thinned colours, and one small point each
            axes.plot(np.random.default_rng(0).normal(size=(30, 9)).cumsum(0), lw=0.5, alpha=0.4)
        for i, colour in enumerate(plots.PALETTE):
            axes.plot(i, 0, "s", ms=6, color=colour, mew=0, zorder=5)
        return figure

    frame = plots.slider(crowded, [0], title="h", alt=lambda _: "points", dpi=72).frames[0]
    pixels = np.asarray(Image.open(io.BytesIO(frame)).convert("RGB")).reshape(-1, 3).astype(int)
    for code in plots.PALETTE:
        wanted = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)])
        assert np.abs(pixels - wanted).sum(1).min() < 30, code


def test_slider_closes_its_figures() -> None:
    before = plt.get_fignums()
    make()
    assert plt.get_fignums() == before


def test_slider_repr_is_short() -> None:
    assert repr(make()) == "Slider('h \"β\"': 3 frames, h = 1 < 9 … h = 3 < 9)"


@pytest.mark.parametrize(
    ("values", "alt", "sizes", "message"),
    [
        ([], "a", {}, "values is empty"),
        ([1, 2], "  ", {}, "alt is empty for '1'"),
        ([1, 2], "a bar", {2: (4, 2)}, r"the figure of '2' is \(360, 180\) pixels, the first \(270, 180\)"),
    ],
)
def test_slider_refuses(
    values: list[int], alt: str, sizes: dict[int, tuple[float, float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plots.slider(lambda v: draw(v, sizes.get(v, (3, 2))), values, title="h", alt=lambda _: alt)


def test_clustered_draws_the_matrix_in_the_order_of_the_tree() -> None:
    from scipy.cluster import hierarchy

    rng = np.random.default_rng(0)
    points = np.array([0.0, 10.0, 0.5, 10.4])[:, None] + 0.01 * rng.normal(size=(4, 1))
    d = np.abs(points - points.T)
    linkage = hierarchy.linkage(d[np.triu_indices(4, 1)], "average")
    figure = plots.clustered(d, ["a", "b", "c", "d"], linkage)
    tree, heat = figure.axes[:2]
    names = [label.get_text() for label in heat.get_yticklabels()]
    assert {frozenset(names[:2]), frozenset(names[2:])} == {frozenset("ac"), frozenset("bd")}
    order = ["abcd".index(name) for name in names]
    assert np.array_equal(heat.images[0].get_array(), d[order][:, order])
    assert heat.images[0].get_clim() == (d[d > 0].min(), d.max())  # the zeros of the diagonal take no colours
    assert heat.images[0].cmap(-1.0) == (1.0, 1.0, 1.0, 1.0)
    assert tree.yaxis_inverted()
    assert [label.get_text() for label in heat.get_xticklabels()] == names
    plt.close(figure)
    with pytest.raises(ValueError, match="do not fit 3 names"):
        plots.clustered(d, ["a", "b", "c"], linkage)


def test_ranking_shows_every_task_and_bars_of_the_distances() -> None:
    images = np.zeros((3, 4, 4, 3), np.uint8)
    figure = plots.ranking(("t", images), [("near", images, 0.1), ("far", images, 0.4)], each=2)
    names = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()]
    assert names == ["target: t", "1. near", "2. far"]
    assert [p.get_width() for axis in figure.axes for p in axis.patches] == [0.1, 0.4]
    assert figure.axes[0].images[0].get_array().shape == (4, 8, 3)
    plt.close(figure)


def test_labels_of_a_map_make_way_for_each_other() -> None:
    """Six tasks in a row, some of them nearer than their names are long: no two names overlap, as they would all on one side."""
    points = np.column_stack([[-1.0, 0.0, 0.04, 0.4, 0.44, 1.0], np.full(6, 0.3)])
    names = [f"a task with a name {k}" for k in range(6)]
    figure = plots.task_map(points, names, ["x"] * 6)
    figure.canvas.draw()
    boxes = [text.get_window_extent().padded(-3) for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    plt.close(figure)


def test_a_map_has_one_colour_a_kind_and_one_scale() -> None:
    points = np.array([[4.0, 0.0], [-2.0, 2.0], [0.0, -1.0]])
    figure = plots.task_map(points, ["a", "b", "c"], ["x", "y", "x"], labelled=["a", "b"], title="map")
    axis = figure.axes[0]
    assert [c.get_offsets().tolist() for c in axis.collections] == [[[1.0, 0.0], [0.0, -0.25]], [[-0.5, 0.5]]]
    assert [t.get_text() for t in axis.texts] == ["a", "b"]
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["x", "y"]
    assert axis.get_aspect() == 1
    plt.close(figure)
    with pytest.raises(ValueError, match=r"shape \(3, 2\), 2 names"):
        plots.task_map(points, ["a", "b"], ["x", "y"])


# --- tables, and how a notebook shows figures ---

ROWS = [{"method": "a <b>", "error": 0.12345, "n": 1200}, {"method": "c", "error": -2.0, "n": 7}]


def test_a_table_has_its_units_in_the_head_and_its_numbers_rounded() -> None:
    shown = plots.table(ROWS, "Errors", units={"error": "bits"})._repr_html_()
    root = ElementTree.fromstring(shown)
    assert root.attrib["class"] == "t2v-results t2v-stack"
    assert [("".join(th.itertext()), th.attrib["scope"]) for th in root.iter("th")][:3] == [
        ("method", "col"),
        ("errorbits", "col"),
        ("n", "col"),
    ]
    assert [td.text for td in root.iter("td")] == ["0.123", "1,200", "−2", "7"]
    assert [th.text for th in root.findall("tbody/tr/th")] == ["a <b>", "c"]
    assert {td.attrib["data-label"] for td in root.iter("td")} == {"error", "n"}


def test_a_table_is_text_where_there_is_no_page() -> None:
    lines = repr(plots.table(ROWS, "Errors", units={"error": "bits"})).splitlines()
    assert lines[0] == "Errors"
    assert lines[1].split() == ["method", "error", "[bits]", "n"]
    assert len({len(line) for line in lines[1:]}) == 1


@pytest.mark.parametrize(
    ("rows", "caption", "units", "message"),
    [
        ([], "x", None, "rows is empty"),
        (ROWS, " ", None, "caption is empty"),
        ([*ROWS, {"method": "d"}], "x", None, "row 2 has the columns"),
        (ROWS, "x", {"time": "s"}, "which are no columns"),
    ],
)
def test_a_table_refuses(
    rows: list[dict[str, object]], caption: str, units: dict[str, str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plots.table(rows, caption, units=units)


def test_lines_are_drawn_and_images_are_pictures_at_twice_the_pixels() -> None:
    figure = draw(1.0)
    assert not plots._is_picture(figure)
    drawing = plots._drawing(figure)
    assert drawing == plots._drawing(figure), "the same figure gives the same text"
    root = ElementTree.fromstring(drawing)
    assert root.tag.endswith("svg")
    patch = next(e for e in root.iter() if e.attrib.get("id") == "patch_1")
    assert "fill: none" in "".join(e.attrib.get("style", "") for e in patch.iter()) or "opacity: 0" in drawing
    figure.axes[0].imshow(np.zeros((2, 2)), aspect="auto")
    assert plots._is_picture(figure)
    wide = Image.open(io.BytesIO(plots._picture(figure))).size[0]
    assert wide > 1.8 * 110 * 2.5
    plt.close(figure)


def test_many_points_are_a_picture() -> None:
    figure, axes = plt.subplots()
    axes.scatter(np.arange(plots.MOST_POINTS + 1), np.arange(plots.MOST_POINTS + 1))
    assert plots._is_picture(figure)
    plt.close(figure)


def test_a_notebook_shows_drawings(tmp_path: Path) -> None:
    """A kernel's own way of showing figures must not win."""
    import nbformat
    from nbclient import NotebookClient

    code = "import matplotlib.pyplot as plt\nfrom t2v import plots\nplots.use_style()\n"
    cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_code_cell("plt.plot([1, 2]);")]
    cells.append(nbformat.v4.new_code_cell("plt.imshow([[1, 2]]);"))
    notebook = NotebookClient(
        nbformat.v4.new_notebook(cells=cells), timeout=120, kernel_name="python3"
    ).execute()
    kinds = [
        set(o.data) for cell in notebook.cells[1:] for o in cell.outputs if o.output_type == "display_data"
    ]
    assert kinds == [{"image/svg+xml", "text/plain"}, {"image/png", "text/plain"}]
