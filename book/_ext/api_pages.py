"""The directive ``{t2v-module} NAME``: a list of a module's functions and classes, then their docstrings."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def public(module: ModuleType) -> list[str]:
    """Return the functions and classes that the module itself defines, in the order of its source."""
    found = [
        (inspect.getsourcelines(value)[1], name)
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and getattr(value, "__module__", "") == module.__name__
    ]
    return [name for _, name in sorted(found)]


def summary(module: ModuleType, name: str) -> str:
    """Return the first line of a docstring."""
    lines = (inspect.getdoc(getattr(module, name)) or "").splitlines()
    return lines[0] if lines else ""


def unlisted(pages: Path) -> list[str]:
    """Return the package's public modules that have no page of their own in the folder ``pages``."""
    package = importlib.import_module("t2v")
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return sorted(n for n in names if not n.startswith("_") and not (pages / f"{n}.md").exists())


class ModulePage(SphinxDirective):
    """Document one module, or with ``*`` all that have no page of their own; say so where one is missing."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build the page's nodes."""
        if self.arguments[0] != "*":
            return self.describe(f"t2v.{self.arguments[0]}")
        result = []
        for module in unlisted(Path(self.env.doc2path(self.env.docname)).parent):
            section = nodes.section(ids=[f"module-{module}"])
            section += nodes.title("", "", nodes.literal(text=f"t2v.{module}"))
            section += self.describe(f"t2v.{module}")
            result.append(section)
        return result

    def describe(self, name: str) -> list[nodes.Node]:
        """Return the list and the docstrings of one module."""
        if importlib.util.find_spec(name) is None:
            return [nodes.paragraph(text=f"{name} is not part of this edition yet.")]
        module = importlib.import_module(name)
        if module.__file__:
            self.env.note_dependency(module.__file__)
        text = ["```{eval-rst}", f".. currentmodule:: {name}", ""]
        text += [f".. automodule:: {name}", "```"]
        container = nodes.container()
        self.state.nested_parse(
            StringList("\n".join(text).split("\n"), self.get_source_info()[0]), self.content_offset, container
        )
        return container.children


#: Where a bar means what it says: code, formulas in a line and on lines of their own, and examples of a session.
VERBATIM = re.compile(
    r"(``.+?``|:math:`[^`]*`|^(?P<indent>[ ]*)\.\. math::.*(?:\n(?:[ ]*$|(?P=indent)[ ]+.*))*|^[ ]*(?:>>>|\.\.\.) .*$)",
    re.MULTILINE,
)


def escape_bars(text: str) -> str:
    """Let prose say |θ|, which would be a substitution in reStructuredText; what is verbatim stays as it is."""
    pieces, start = [], 0
    for match in VERBATIM.finditer(text):
        pieces += [re.sub(r"(?<!\\)\|", r"\\|", text[start : match.start()]), match[0]]
        start = match.end()
    return "".join([*pieces, re.sub(r"(?<!\\)\|", r"\\|", text[start:])])


def edit_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """End a module's docstring with a list of what is in it, and let all of them say |θ|."""
    if what == "module":
        lines += [""]
        for item in public(obj):
            first, rest = summary(obj, item)[:1].lower(), summary(obj, item)[1:]
            lines.append(f"* :py:obj:`~{name}.{item}`: {first}{rest}")
    lines[:] = escape_bars("\n".join(lines)).split("\n")


def keep_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep napoleon from reading "Images drawn at once: bounds the memory" as a type and a description."""
    if what in ("attribute", "data"):
        lines.insert(0, "")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", edit_docstring)
    app.connect("autodoc-process-docstring", keep_colons, priority=100)  # before napoleon
    app.add_directive("t2v-module", ModulePage)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
