"""Run a submission's cells and collect its answers; :mod:`coursework.grading` starts this as a process of its own.

It sees hidden inputs, never the solutions, and hands numbers back: nothing that it writes is unpickled. A journal says
at every moment which step is under way, so that whoever started it knows the step that hung or crashed.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from t2v import exercises  # noqa: E402

#: Numbers in an answer, and letters in a message.
LARGEST, LONGEST = 1_000_000, 500


def main(folder: Path) -> None:
    """Run the job that lies in a folder."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    module = types.ModuleType("submission")
    sys.modules["submission"] = module
    module.__dict__["display"] = lambda *_, **__: None
    steps: dict[str, Callable[[], str]] = {
        f"cell {i}": partial(run_cell, i, code, module) for i, code in job["cells"]
    }
    for number, name in job["problems"].items():
        steps[f"problem {number}"] = partial(answer, folder, number, name, module)
    with (folder / "journal.jsonl").open("w", encoding="utf-8") as journal, open(os.devnull, "w") as devnull:
        for step, run in steps.items():
            if step in job["skip"]:
                continue
            print(json.dumps({"start": step}), file=journal, flush=True)
            faulthandler.dump_traceback_later(job["limit"], exit=True, file=devnull)
            message = run()[:LONGEST]
            faulthandler.cancel_dump_traceback_later()
            print(json.dumps({"end": step, "message": message}), file=journal, flush=True)


def run_cell(i: int, code: str, module: types.ModuleType) -> str:
    """Execute a cell; return what it raised, or nothing."""
    try:
        exec(compiled(i, code), module.__dict__)
    except NotImplementedError:
        return ""  # an answer that is not there yet: the problem says so
    except BaseException as error:  # SystemExit too: a student's cell must not end the grading
        return f"{type(error).__name__}: {error}"
    return ""


def compiled(i: int, code: str) -> types.CodeType:
    """Compile a cell. If it is no Python as it stands, lines with magics and shell commands are left out."""
    try:
        return compile(code, f"<cell {i}>", "exec")
    except SyntaxError:  # only then: a line of Python may begin with the operator %
        code = re.sub(r"^[ \t]*[%!].*$", "", code, flags=re.MULTILINE)
        return compile(code, f"<cell {i}>", "exec")


def answer(folder: Path, number: str, name: str, module: types.ModuleType) -> str:
    """Call the student's function on the hidden inputs and save its numbers; return what prevented it, or nothing."""
    function = module.__dict__.get(name)
    if not callable(function):
        return f"There is no function `{name}`: keep its name, and see whether its cell runs."
    try:
        given = exercises.answers(function, read(folder / f"inputs-{number}.npz"))
    except BaseException as error:
        return f"Your function raised {type(error).__name__}: {error}"
    if isinstance(given, str):
        return given
    if not all(given):
        return "Your answer is empty; return a number or an array."
    if sum(part.size for parts in given for part in parts) > LARGEST:
        return "Your answer is far too large."
    save(folder / f"answers-{number}.npz", given)
    return ""


def save(path: Path, rows: list[Any]) -> None:
    """Save lists of arrays, strings or numbers, without pickle."""
    arrays: dict[str, Any] = {
        f"{i}_{j}": np.asarray(value) for i, row in enumerate(rows) for j, value in enumerate(row)
    }
    np.savez(path, **arrays)


def read(path: Path) -> list[tuple[Any, ...]]:
    """Read what :func:`save` wrote; arrays without axes become numbers or strings."""
    rows: dict[int, list[Any]] = {}
    with np.load(path, allow_pickle=False) as saved:
        for key in saved.files:
            value = saved[key]
            rows.setdefault(int(key.split("_")[0]), []).append(value if value.ndim else value.item())
    return [tuple(rows[i]) for i in sorted(rows)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
