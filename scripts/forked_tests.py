"""Run pytest many times and import the heavy libraries once: each run is a fork. What scripts/mutants.py starts.

Usage: python scripts/forked_tests.py LIBRARY … (nothing of this project: each run takes that from its own folder)

Says "ready" when all is imported. Then reads one line of JSON a run from standard input: {"folder": where the project is,
"arguments": pytest's, "output": a file for what it prints, "limit": seconds}. Answers with a line: pytest's exit status,
or "late" if it did not end in time.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

LATE = "late"


def run(folder: str, arguments: Sequence[str], output: str, limit: float) -> int | str:
    """Return the exit status of one run in a process of its own."""
    if not hasattr(os, "fork"):
        return _started(folder, arguments, output, limit)
    child = os.fork()
    if child == 0:
        _forked(folder, arguments, output)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return LATE


def _forked(folder: str, arguments: Sequence[str], output: str) -> None:
    """Become the run: never returns."""
    status = 70
    try:
        os.setsid()  # what the tests start ends with them
        printed, nothing = (
            os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            os.open(os.devnull, os.O_RDONLY),
        )
        for source, target in ((nothing, 0), (printed, 1), (printed, 2)):
            os.dup2(source, target)
        os.chdir(folder)
        sys.path[0] = os.environ["PYTHONPATH"] = folder  # in the place of this script's folder
        import pytest

        status = int(pytest.main(list(arguments)))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _started(folder: str, arguments: Sequence[str], output: str, limit: float) -> int | str:
    """Do without forks, where there are none."""
    command, environment = [sys.executable, "-m", "pytest", *arguments], {**os.environ, "PYTHONPATH": folder}
    with open(output, "w") as file:
        try:
            return subprocess.run(
                command, cwd=folder, env=environment, stdout=file, stderr=file, timeout=limit
            ).returncode
        except subprocess.TimeoutExpired:
            return LATE


def _do_not_shrink() -> None:
    """Let Hypothesis stop at the first counterexample: nobody reads it, and making it simpler can take a minute."""
    if "hypothesis" in sys.modules:
        from hypothesis import Phase, settings

        settings.register_profile("first", phases=(Phase.explicit, Phase.generate))
        settings.load_profile("first")


def main() -> None:
    """Serve until there is nothing more to read."""
    for name in sys.argv[1:] if hasattr(os, "fork") else ():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _do_not_shrink()
    gc.freeze()  # else each run's collector would go through all that was imported, and copy it
    print("ready", flush=True)
    for line in sys.stdin:
        print(run(**json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
