"""What `_config.yml` cannot say: nothing is fetched from elsewhere, and three variables change the build.

``BOOK_EXECUTE`` (``off`` or ``force``) overrides whether notebooks are executed. ``BOOK_REPOSITORY``
(``https://HOST/OWNER/NAME``) and ``BOOK_BRANCH`` switch on the launch, repository and issue buttons.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

#: The parts of MathJax that a page may ask for: no menu, which would make every formula a stop of the tab key, and would
#: weigh as much as the rest. What a screen reader reads is MathML beside each formula.
MATHJAX_PARTS = (
    "startup.js",
    "core.js",
    "loader.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
)
MATHJAX_PARTS += ("output/chtml/fonts", "a11y/assistive-mml.js")
#: Extensions that Jupyter Book always loads and that would fetch scripts from elsewhere.
UNWANTED = ("sphinx_thebe",)
#: The sidebar holds the search field: no second bar above the page.
THEME = {"navbar_start": [], "navbar_center": [], "navbar_end": [], "navbar_persistent": []}
ENTRANCE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={target}">
<title>{title}</title></head>
<body><main><h1>{title}</h1><p><a href="{target}">Open the book</a></p></main></body></html>
"""
EXECUTION = ("off", "force", "auto", "cache")


def mathjax_folder() -> Path:
    """Return the folder of MathJax inside the package ``sphinx-mathjax-offline``."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ConfigError("the package sphinx-mathjax-offline is missing: pip install -r requirements.txt")
    return Path(spec.origin).parent / "static" / "mathjax"


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Put MathJax beside the pages when the build is done."""
    if error is not None or app.builder.format != "html":
        return
    source, target = mathjax_folder(), Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / part, target / part)


def write_entrance(app: Sphinx, error: Exception | None) -> None:
    """Write the site's ``index.html``: it leads on to the landing page, also without scripts."""
    if error is None and app.builder.format == "html":
        target = f"{app.config.root_doc}.html"
        page = ENTRANCE.format(title=app.config.html_title, target=target)
        (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def use_variables(app: Sphinx, config: Config) -> None:
    """Apply ``BOOK_EXECUTE`` and ``BOOK_REPOSITORY``, and let MathJax come from the site itself."""
    config.mathjax_path = "mathjax/startup.js"
    config.html_theme_options.update(THEME)
    mode = os.environ.get("BOOK_EXECUTE", "")
    if mode:
        if mode not in EXECUTION:
            raise ConfigError(f"BOOK_EXECUTE is {mode!r}; accepted: {', '.join(EXECUTION)}")
        config.nb_execution_mode = mode
    repository = os.environ.get("BOOK_REPOSITORY", "").rstrip("/")
    if repository:
        config.html_theme_options.update(
            repository_options(repository, os.environ.get("BOOK_BRANCH", "main"))
        )


def repository_options(repository: str, branch: str) -> dict[str, Any]:
    """Return the theme's options; the launch button starts the whole checkout, so that imports work."""
    if not re.fullmatch(r"https://[\w.-]+/[\w.-]+/[\w.-]+", repository):
        raise ConfigError(f"BOOK_REPOSITORY is {repository!r}; accepted: https://HOST/OWNER/NAME")
    return {
        "repository_url": repository,
        "repository_branch": branch,
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": {"binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab"},
    }


def silence_unwanted(app: Sphinx, config: Config) -> None:
    """Take away the event handlers and styles of extensions that would fetch scripts from elsewhere."""
    app.registry.css_files[:] = [entry for entry in app.registry.css_files if "sphinx-thebe" not in entry[0]]
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if getattr(listener.handler, "__module__", "").split(".")[0] in UNWANTED:
                app.disconnect(listener.id)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("config-inited", use_variables, priority=1)
    app.connect("config-inited", silence_unwanted, priority=1)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", write_entrance)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
