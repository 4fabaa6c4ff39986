"""The directive ``{explorable} NAME``: a live figure with its still, its caption and a number.

Written with colons, so that a notebook that is read elsewhere still shows the picture and the caption::

    :::{explorable} postal_robot
    :name: fig-03-robot

    ![What is to be seen, in words.](_static/explorables/postal_robot.svg)

    The caption.
    :::

The still (an SVG that ``scripts/explorables_stills.py`` has drawn) stands in the page itself and takes the page's colours;
``kit.js`` replaces it. Kit, data and figure are loaded on the pages that hold one, and on no other.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = Path(__file__).resolve().parent.parent / "_static" / "explorables"


class Stage(nodes.General, nodes.Element):
    """The place of a live figure; holds its name and the text alternative of its still."""


def needs(name: str) -> list[str]:
    """Return the data files that a figure asks for in its first line, ``// needs: one, two``."""
    first = (FOLDER / f"{name}.js").read_text(encoding="utf-8").partition("\n")[0]
    asked = re.fullmatch(r"// needs: ([\w, ]+)", first)
    return [f"{part.strip()}.data.js" for part in asked[1].split(",")] if asked else []


class Explorable(SphinxDirective):
    """A figure that a reader can move."""

    required_arguments = 1
    has_content = True
    option_spec = {"name": directives.unchanged}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Take the picture's text alternative and the caption from the body."""
        name, body = self.arguments[0], nodes.Element()
        for path in (FOLDER / f"{name}.js", FOLDER / f"{name}.svg"):
            if not path.is_file():
                raise self.error(f"explorable {name!r}: no file {path.name} in {FOLDER.name}/")
            self.env.note_dependency(str(path))
        self.state.nested_parse(self.content, self.content_offset, body)
        picture, *more = list(body.findall(nodes.image)) or [None]
        if (
            picture is None
            or more
            or len(picture.get("alt", "")) < 40
            or picture["uri"].split("/")[-1] != f"{name}.svg"
        ):
            raise self.error(
                f"explorable {name!r}: the body begins with ![what is to be seen](….svg) of its still"
            )
        picture.parent.remove(picture)
        words = [child for child in body.children if child.astext().strip()]
        if not words:
            raise self.error(f"explorable {name!r}: a caption is missing")
        figure = nodes.figure("", Stage(explorable=name, alt=picture["alt"]), classes=["t2v-explorable"])
        figure += nodes.caption("", "", *words[0].children)
        if words[1:]:
            figure += nodes.legend("", *words[1:])
        self.add_name(figure)
        self.set_source_info(figure)
        return [figure]


def still(name: str, alt: str) -> str:
    """Return the figure's place in HTML, with the still inside and the room that the living figure will take."""
    picture = (FOLDER / f"{name}.svg").read_text(encoding="utf-8").strip()
    wide, tall = (re.search(rf'data-{key}="(\d+)"', picture)[1] for key in ("wide", "tall"))  # type: ignore[index]
    told = f'<svg role="img" aria-label="{html.escape(alt)}" '
    picture = picture.replace("<svg ", told, 1).replace("><g", f"><title>{html.escape(alt)}</title><g", 1)
    room = f"--x-wide: {wide}px; --x-tall: {tall}px"
    return f'<div class="t2v-x" data-explorable="{name}" style="{room}">{picture}</div>'


def visit_stage(writer: Any, node: Stage) -> None:
    """Write the place of the figure."""
    writer.body.append(still(node["explorable"], node["alt"]))
    raise nodes.SkipNode


def visit_text(writer: Any, node: Stage) -> None:
    """In formats without pictures, the text alternative stands for it."""
    writer.add_text(node["alt"])
    raise nodes.SkipNode


def load(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add kit, data and figures to a page that holds any."""
    names = list(dict.fromkeys(node["explorable"] for node in doctree.findall(Stage))) if doctree else []
    if not names:
        return
    app.add_css_file("explorables/kit.css")
    files = ["kit.js", *(file for name in names for file in needs(name)), *(f"{name}.js" for name in names)]
    for priority, file in enumerate(dict.fromkeys(files), start=900):
        app.add_js_file(f"explorables/{file}", priority=priority, loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_node(Stage, html=(visit_stage, None), text=(visit_text, None))
    app.add_directive("explorable", Explorable)
    app.connect("html-page-context", load)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
