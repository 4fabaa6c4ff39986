"""Roles that link when their target exists, and are plain text until then: ``{chapter}`` and ``{t2v}``.

``{chapter}`7``` links to the chapter of that number, ``{t2v}`fisher.diagonal``` to what the function does.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole


class ChapterLink(SphinxRole):
    """A link to a chapter by its number."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Find the chapter's notebook in the book's folder."""
        number = int(self.text)
        found = sorted(Path(self.env.srcdir, "book").glob(f"{number:02d}_*.ipynb"))
        label = nodes.inline(text=f"chapter {number}")
        if not found:
            return [label], []
        target = f"/book/{found[0].stem}"
        options = {
            "refdomain": "std",
            "reftype": "doc",
            "refexplicit": True,
            "reftarget": target,
            "refwarn": True,
        }
        return [pending_xref("", label, refdoc=self.env.docname, **options)], []


@cache
def exists(module: str, attributes: tuple[str, ...]) -> bool:
    """Tell whether ``t2v.module`` exists and has this (dotted) attribute."""
    if importlib.util.find_spec(f"t2v.{module}") is None:
        return False
    value: Any = importlib.import_module(f"t2v.{module}")
    for attribute in attributes:
        if not hasattr(value, attribute):
            return False
        value = getattr(value, attribute)
    return True


class CodeLink(SphinxRole):
    """A link to a module, function or class of the package."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Look the name up in the package."""
        module, *attributes = self.text.split(".")
        label = nodes.literal(text=f"t2v.{self.text}", classes=["xref", "py"])
        if not exists(module, tuple(attributes)):
            return [label], []
        kind = "obj" if attributes else "mod"
        options = {"refdomain": "py", "reftype": kind, "refexplicit": True, "reftarget": f"t2v.{self.text}"}
        return [pending_xref("", label, refdoc=self.env.docname, refwarn=True, **options)], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_role("chapter", ChapterLink())
    app.add_role("t2v", CodeLink())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
