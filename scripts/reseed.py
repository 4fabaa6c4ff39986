"""Execute a copy of a chapter with other random numbers, and report which of its checks no longer hold.

Usage: python scripts/reseed.py CHAPTER SEED [SEED …]      (CHAPTER: a number such as 6, or a notebook's path)

The chapters, and the package behind them, start every random stream from a fixed whole number. Here that number is moved, in
the kernel and for the whole run, by a million times SEED: in ``numpy.random.default_rng``, ``numpy.random.seed`` and
``RandomState`` (scikit-learn, SciPy), ``torch.manual_seed`` and ``torch.Generator.manual_seed``. So all of them change
together: initial weights, data splits, batches, noise, labels, and tasks that are drawn; two streams that were equal stay equal,
and SEED 0 changes nothing. The report says how many streams were moved, and for which modules.

What does **not** change: the tables in ``book/runs`` (they have seeds of their own, and the scripts that made them take others),
files that are kept between runs, and streams that no number starts.

An ``assert`` that fails is reported and the cell goes on; so is a verdict that the ledger does not have. A cell that stops with
an error is reported, and the next one is tried. The notebook is not written. The exit status is 1 if anything was reported.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parent.parent
STEP = 1_000_000
#: What the report calls its parts.
KINDS = {"assert": "does not hold", "verdict": "another verdict", "error": "stops"}


# ---------------------------------------------------------------- in the kernel


class _Asserts(ast.NodeTransformer):
    """Turn ``assert test`` into a call that records a failure and goes on."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        call = ast.Call(
            ast.Name("__holds__", ast.Load()), [node.test, ast.Constant(ast.unparse(node.test))], []
        )
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), node))


def install(seed: int, shell: Any) -> dict[str, Any]:
    """Move the seeds of this process and make assertions and verdicts report; return what they report to."""
    report: dict[str, Any] = {"moved": Counter(), "found": []}
    started: list[int] = []  # one entry for each cell after this one
    shell.events.register("pre_run_cell", lambda _: started.append(1))

    def found(kind: str, what: str) -> None:
        report["found"].append([len(started), kind, what])

    def holds(test: Any, text: str) -> None:
        if not test:
            found("assert", text)

    shell.user_ns["__holds__"] = holds
    shell.ast_transformers.append(_Asserts())
    _report_verdicts(found)
    _move_seeds(seed * STEP, report["moved"])
    return report


def _report_verdicts(found: Callable[[str, str], None]) -> None:
    from t2v import claims

    strict = claims.verdict

    def verdict(*args: Any, **options: Any) -> Any:
        try:
            return strict(*args, **options)
        except claims.LedgerError as error:
            found("verdict", str(error))

    claims.verdict = verdict


def _move_seeds(by: int, moved: Counter[str]) -> None:
    import numpy as np
    import torch

    def move(seed: Any) -> Any:
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            return seed  # an array, a generator, or none: started by something else
        moved[sys._getframe(2).f_globals.get("__name__", "?").split(".")[0]] += 1
        return (int(seed) + by) % 2**32

    default_rng, legacy, manual, numpy_seed = (
        np.random.default_rng, np.random.RandomState, torch.manual_seed, np.random.seed
    )  # fmt: skip

    class RandomState(legacy):  # type: ignore[misc, valid-type]
        def __init__(self, seed: Any = None) -> None:
            super().__init__(move(seed))

    class Generator(torch.Generator):
        def manual_seed(self, seed: int) -> Any:
            return super().manual_seed(move(seed))

    class Default:
        """The generator that torch draws from by default."""

        def __getattr__(self, name: str) -> Any:
            return getattr(torch.random.default_generator, name)

        def manual_seed(self, seed: int) -> Any:
            return torch.random.default_generator.manual_seed(move(seed))

    np.random.default_rng = lambda seed=None: default_rng(move(seed))
    np.random.seed = lambda seed=None: numpy_seed(move(seed))
    np.random.RandomState = RandomState  # type: ignore[misc]
    torch.manual_seed = lambda seed: manual(move(seed))
    torch.Generator = Generator  # type: ignore[misc]
    torch.default_generator = Default()  # type: ignore[assignment]


# ---------------------------------------------------------------- outside of it


def execute(path: Path, seed: int, timeout: int = 900) -> tuple[list[tuple[int, str, str]], dict[str, int]]:
    """Run a copy of the notebook in its own folder.

    Returns
    -------
    found : list of (int, str, str)
        Cell of the notebook, one of :data:`KINDS`, and what was found.
    moved : dict
        How many streams were moved, by the package that asked for them (``__main__`` is the chapter).
    """
    notebook = nbformat.read(path, as_version=4)
    places = [-1, *(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")]
    start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import reseed\n"
    start += f"__report__ = reseed.install({seed}, get_ipython())"
    notebook.cells.insert(0, new_code_cell(start))
    notebook.cells.append(new_code_cell("import json; print('REPORT' + json.dumps(__report__))"))
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", allow_errors=True, resources=resources
    ).execute()
    told = "".join(o.get("text", "") for o in notebook.cells[-1].outputs).partition("REPORT")[2]
    if not told:
        raise RuntimeError(f"{path.name}: the kernel did not report; it was stopped, or never started")
    report = json.loads(told)
    found = [(places[count], kind, what) for count, kind, what in report["found"]]
    for place, cell in zip(
        places[1:], (c for c in notebook.cells[1:-1] if c.cell_type == "code"), strict=True
    ):
        errors = [o for o in cell.outputs if o.output_type == "error"]
        found += [(place, "error", f"{o.ename}: {o.evalue}") for o in errors]
    return sorted(found), report["moved"]


def chapter(name: str) -> Path:
    """Return the notebook that a number or a path names."""
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    matches = sorted((ROOT / "book").glob(f"{int(name):02d}_*.ipynb")) if name.isdigit() else []
    if len(matches) != 1:
        raise ValueError(f"CHAPTER: {name!r}; a number from 1 to 10, or a notebook's path, is accepted")
    return matches[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chapter once for each seed, and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("chapter", type=chapter, metavar="CHAPTER")
    parser.add_argument("seeds", type=int, nargs="+", metavar="SEED", help="0 changes nothing")
    args = parser.parse_args(arguments)
    count = 0
    for seed in args.seeds:
        found, moved = execute(args.chapter, seed)
        streams = ", ".join(f"{n} by {who}" for who, n in sorted(moved.items()))
        print(
            f"{args.chapter.name}, seed {seed}: {len(found)} reported; moved {streams or 'no stream'}",
            flush=True,
        )
        for place, kind, what in found:
            print(f"  cell {place}, {KINDS[kind]}: {what}", flush=True)
        count += len(found)
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
