"""Turn the source of a problem set into notebooks: for students, for lecturers, and for nbgrader."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from coursework import Problem, Written, load, names, source

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
REGION = re.compile(rf"^([ \t]*){BEGIN}\n(.*?)^[ \t]*{END}[ \t]*$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^## Problem (\d+\.\d)", re.MULTILINE)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook(name: str) -> NotebookNode:
    """Return a set's source as a notebook; each cell's metadata name the problem that it belongs to.

    Raises
    ------
    ValueError
        If the markers of a solution are not in pairs.
    """
    read = jupytext.reads(source(name).read_text(encoding="utf-8"), fmt="py:percent")
    number = ""
    for cell in read.cells:
        heading = HEADING.search(cell.source) if cell.cell_type == "markdown" else None
        number = heading[1] if heading else number
        cell.metadata["problem"] = number
        if not cell.source.count(BEGIN) == cell.source.count(END) == len(REGION.findall(cell.source)):
            raise ValueError(f"{name}: {BEGIN} and {END} are not in pairs in problem {number}")
    return read


def strip(cell: NotebookNode) -> str:
    """Return a cell's text without its solutions: a stub that says which answer is missing takes their place."""
    answer = f"your answer to problem {cell.metadata['problem']}".removesuffix(" to problem ")
    stub = (
        rf'\1raise NotImplementedError("{answer}")'
        if cell.cell_type == "code"
        else rf"*{answer.capitalize()}*"
    )
    return REGION.sub(stub, cell.source)


def bare(cell: NotebookNode) -> str:
    """Return a cell's text with its solutions, and without their markers."""
    return REGION.sub(lambda found: found[2].rstrip("\n"), cell.source)


def _clean(cells: list[NotebookNode]) -> NotebookNode:
    """Make a notebook that is the same on every build."""
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i:03d}"
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "nbgrader"})
    made = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    nbformat.validate(made)
    return made


def visible(name: str) -> list[NotebookNode]:
    """Return the cells of a set that are not for the grader alone."""
    return [cell for cell in notebook(name).cells if "hidden" not in cell.metadata.get("tags", [])]


def student(name: str) -> NotebookNode:
    """Return the student version of a set."""
    cells = visible(name)
    for cell in cells:
        cell.source = strip(cell)
    return _clean(cells)


def lecturer(name: str) -> NotebookNode:
    """Return a set with its solutions, to read."""
    cells = visible(name)
    for cell in cells:
        cell.source = bare(cell)
    return _clean(cells)


def for_nbgrader(name: str) -> NotebookNode:
    """Return a set as nbgrader wants its source: solutions marked, and a graded cell with hidden tests a problem."""
    cells = []
    problems = load(name).problems
    for cell in notebook(name).cells:
        problem = problems.get(cell.metadata["problem"])
        if "hidden" in cell.metadata.get("tags", []):
            if not isinstance(problem, Problem):
                continue
            cell = nbformat.v4.new_code_cell(_hidden_test(problem), metadata=dict(cell.metadata))
            cell.metadata["nbgrader"] = _role(problem, "check", grade=True, locked=True)
        elif problem is not None and REGION.search(cell.source):
            cell.metadata["nbgrader"] = _role(
                problem, "answer", grade=isinstance(problem, Written), solution=True
            )
        cells.append(cell)
    return _clean(cells)


def _hidden_test(problem: Problem) -> str:
    return (
        f"# Problem {problem.number} is graded here.\n### BEGIN HIDDEN TESTS\nfrom coursework import check\n\n"
        f'result = check("{problem.number}", {problem.answer.__name__})\n'
        "assert result, result.message\n### END HIDDEN TESTS"
    )


def _role(problem: Problem | Written, kind: str, **flags: bool) -> dict[str, Any]:
    """Return nbgrader's metadata of a cell (its schema 3)."""
    role = {"schema_version": 3, "grade_id": f"{kind}-{problem.number.replace('.', '-')}", "task": False}
    role |= {flag: flags.get(flag, False) for flag in ("grade", "solution", "locked")}
    return role | ({"points": problem.points} if role["grade"] else {})


def build(out: Path) -> list[Path]:
    """Write all versions of all sets and of the project below ``out``, and one archive of what students get."""
    written = []
    for name in [*names(), "project"]:
        made = {f"student/{name}": student(name), f"lecturer/{name}": lecturer(name)}
        if name != "project":
            made[f"nbgrader/source/{name}/{name}"] = for_nbgrader(name)
        for stem, book in made.items():
            path = out / f"{stem}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(book, path)
            written.append(path)
    with zipfile.ZipFile(out / "student.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((out / "student").glob("*.ipynb")):
            archive.write(path, f"coursework/{path.name}")
    return [*written, out / "student.zip"]
