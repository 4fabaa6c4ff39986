"""Plant the faults of tests/mutants.yml one at a time, and see whether the claim's own tests notice.

Usage: python scripts/mutants.py [--claims C09 C14] [--sample N]

A claim of the ledger names the tests that would fail if the computation behind its verdict were wrong. Here that is
tried: in a copy of the project, first the claim's tests must pass; then a fault is planted and the same tests run again,
until one of them fails. A fault is

- killed: a test failed (which one is recorded);
- survived: all passed, so the tests cannot see this fault;
- broken: the copy could not be imported or collected, named what does not exist, or did not end. Not killed.

Two claims are tried at a time, each in its own copy and with one thread a process. Results go to book/runs/mutants.csv
after every fault, and the ledger's page shows them. A killed or surviving fault is not tried again as long as it, the
file with it, the claim's list of tests and these tests' files are what they were: a run that was stopped goes on where it
was. With --sample the N quickest of different claims are run in any case, and nothing is written.

Exit status: 0 if every fault was killed; 1 if one survived or is broken; 2 if a claim's tests fail without a fault.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from xml.etree import ElementTree

import yaml

from t2v import claims
from t2v._files import table, write_text

ROOT = Path(__file__).resolve().parent.parent
FAULTS, LEDGER, OUT = Path("tests/mutants.yml"), Path("book/claims.yml"), Path("book/runs/mutants.csv")
#: What no test reads, or what is made anew.
LEFT_OUT = (*(".git", ".venv", "_build", "*.egg-info", "__pycache__"), *(".*_cache", ".hypothesis", "runs"))
WORKERS = 2
HANDFUL = 6
SOUND_LIMIT = (
    300.0  # seconds for a claim's tests without a fault; with one, four times what they took and a margin
)
MARGIN = 30.0
#: A fault that stops Python before anything is computed says nothing about the tests.
NOT_A_FAULT = ("NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "SyntaxError")
# The bytecode of a file that was changed twice within a second, to the same length, would be taken for up to date.
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
# Loading every plugin there is would cost more than most claims' tests.
ENVIRONMENT["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
#: What many tests import, and takes ten seconds: once for all runs, but not for a handful of them.
PRELOADED = (
    "pytest",
    "hypothesis",
    "scipy.stats",
    "scipy.optimize",
    "sklearn.linear_model",
    "torch",
    "torchvision",
    "timm",
)
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-p", "hypothesispytest", "--hypothesis-seed=0")
# This plugin collects garbage six times a run, which takes seconds where torch is loaded.
PYTEST += ("-p", "no:unraisableexception", "-o", "junit_family=xunit1")


@dataclass(frozen=True)
class Mutant:
    """One planted fault: an entry of tests/mutants.yml."""

    claim: str
    fault: str
    file: str
    old: str
    new: str

    def plant(self, text: str) -> str:
        """Return the file's text with the fault.

        Raises
        ------
        ValueError
            If the old text does not occur exactly once, or the new one is the same.
        """
        name = f"{self.claim}, {self.fault!r}"
        if self.old == self.new:
            raise ValueError(f"{name}: old and new are the same text")
        old, new = self.old.rstrip("\n"), self.new.rstrip("\n")
        if text.count(old) == 1:
            return text.replace(old, new)
        found = list(re.finditer(_indented(old), text, re.MULTILINE))
        if len(found) != 1 or text.count(old) > 1:
            times = max(len(found), text.count(old))
            raise ValueError(f"{name}: old occurs {times} times in {self.file}; exactly once is accepted")
        start, end = found[0].span()
        return text[:start] + textwrap.indent(textwrap.dedent(new), found[0]["indent"]) + text[end:]


def _indented(lines: str) -> str:
    """Return a pattern for whole lines at any common indentation."""
    first, *rest = textwrap.dedent(lines).splitlines() or [""]
    after = [r"(?P=indent)" + re.escape(line) if line.strip() else r"[ \t]*" for line in rest]
    return r"^(?P<indent>[ \t]*)" + r"\n".join([re.escape(first), *after]) + "$"


@dataclass(frozen=True)
class Result:
    """What became of one fault: a row of book/runs/mutants.csv."""

    claim: str
    fault: str
    outcome: str
    killed_by: str
    seconds: float
    digest: str


def read_faults(root: Path) -> list[Mutant]:
    """Return the planted faults; an entry with a missing or unknown field is refused by its number."""
    found = []
    for i, row in enumerate(yaml.safe_load((root / FAULTS).read_text(encoding="utf-8")), 1):
        try:
            found.append(Mutant(**row))
        except TypeError as error:
            raise ValueError(f"{FAULTS}, entry {i} ({row}): {error}") from error
    return found


def read_results(root: Path) -> dict[tuple[str, str], Result]:
    """Return (claim, fault) → result, of what has been run so far."""
    path = root / OUT
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = [Result(**{**row, "seconds": float(row["seconds"])}) for row in csv.DictReader(file)]
    return {(row.claim, row.fault): row for row in rows}


def write_result(root: Path, result: Result) -> None:
    """Put one result into the table, in the order of the faults; results of faults that are gone are dropped."""
    rows = {**read_results(root), (result.claim, result.fault): result}
    kept = [rows[key] for m in read_faults(root) if (key := (m.claim, m.fault)) in rows]
    text = table([field.name for field in fields(Result)], (asdict(row).values() for row in kept), digits=2)
    write_text(root / OUT, text)


def digest(root: Path, mutant: Mutant, tests: Sequence[str]) -> str:
    """Return what a result depends on: the fault and the names of the tests; then the files' contents."""
    asked = hashlib.sha256("\0".join([*asdict(mutant).values(), *tests]).encode())
    content = hashlib.sha256()
    for name in [mutant.file, *sorted({test.partition("::")[0] for test in tests})]:
        content.update((root / name).read_bytes())
    return f"{asked.hexdigest()[:8]}-{content.hexdigest()[:8]}"


# ---------------------------------------------------------------- one run of a claim's tests


@dataclass(frozen=True)
class Run:
    """How the tests went: passed, failed (and which), or broken (and why)."""

    outcome: str
    test: str
    seconds: float


class Copy:
    """A copy of the project, and a process that runs tests in it."""

    def __init__(self, root: Path, folder: Path, preloaded: Sequence[str] = PRELOADED) -> None:
        self.folder, self.preloaded = folder, preloaded
        self.server: subprocess.Popen[str] | None = None
        shutil.copytree(root, folder, ignore=_left_out)

    def _ask(self, question: dict[str, Any]) -> str:
        assert self.server is not None
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(question) + "\n")
        self.server.stdin.flush()
        return str(self.server.stdout.readline()).strip()

    def start(self) -> None:
        """Start the process, and wait until it is ready."""
        if self.server is None:
            command = [sys.executable, str(Path(__file__).with_name("forked_tests.py")), *self.preloaded]
            options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.server = subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, **options)
            self.server.stdout.readline()

    def run(self, tests: Sequence[str], limit: float) -> Run:
        """Run tests until one fails."""
        report, output = (self.folder.with_suffix(ending) for ending in (".xml", ".txt"))
        report.unlink(missing_ok=True)
        shutil.rmtree(
            self.folder / ".hypothesis", ignore_errors=True
        )  # the examples that earlier faults left
        arguments = [*PYTEST, f"--junitxml={report}", *tests]
        self.start()
        start = time.perf_counter()
        status = self._ask(
            {"folder": str(self.folder), "arguments": arguments, "output": str(output), "limit": limit}
        )
        seconds = time.perf_counter() - start
        if status == "0":
            return Run("passed", "", seconds)
        if status == "late":
            return Run("broken", f"no end after {limit:.0f} s", seconds)
        outcome, test = _failure(report) if status == "1" else ("broken", "")
        return Run(outcome, test or _last_line(output), seconds)

    def close(self) -> None:
        """End the process."""
        if self.server is not None:
            self.server.communicate()


def _left_out(folder: str, names: list[str]) -> set[str]:
    found = shutil.ignore_patterns(*LEFT_OUT)(folder, names)
    return found - {"runs"} if Path(folder).name == "book" else found


def _failure(report: Path) -> tuple[str, str]:
    """Return what a report of pytest says of the test that did not pass."""
    for case in ElementTree.parse(report).iter("testcase"):
        failure, error = case.find("failure"), case.find("error")
        if failure is not None or error is not None:
            name = "::".join([case.get("file", ""), *_classes(case), case.get("name", "")])
            message = (failure if failure is not None else error).get("message", "")  # type: ignore[union-attr]
            if error is not None or message.startswith(NOT_A_FAULT):
                return "broken", f"{name}: {message.splitlines()[0] if message else 'error'}"
            return "failed", name
    return "broken", ""


def _classes(case: ElementTree.Element) -> list[str]:
    """Return the class that a test is a method of, if there is one."""
    module = case.get("file", "").removesuffix(".py").replace("/", ".")
    inside = case.get("classname", "").removeprefix(module).strip(".")
    return inside.split(".") if inside else []


def _last_line(output: Path) -> str:
    lines = [line for line in output.read_text(encoding="utf-8", errors="replace").splitlines() if line]
    return next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "no output")


# ---------------------------------------------------------------- all faults


@contextmanager
def planted(folder: Path, mutant: Mutant) -> Iterator[None]:
    """Plant a fault in a copy, and take it out again."""
    path = folder / mutant.file
    sound = path.read_bytes()
    path.write_text(mutant.plant(sound.decode()), encoding="utf-8")
    try:
        yield
    finally:
        path.write_bytes(sound)


def try_fault(copy: Copy, mutant: Mutant, tests: Sequence[str], limit: float) -> Result:
    """Return what becomes of one fault."""
    mark = digest(copy.folder, mutant, tests)
    with planted(copy.folder, mutant):
        run = copy.run(tests, limit)
    outcome = {"passed": "survived", "failed": "killed"}.get(run.outcome, "broken")
    return Result(mutant.claim, mutant.fault, outcome, run.test, run.seconds, mark)


class Trial:
    """The faults that are to be tried, claim by claim, in copies of a project."""

    def __init__(self, root: Path, write: bool = True) -> None:
        self.root, self.write = root, write
        self.tests = {claim.id: claim.tests for claim in claims.read(root / LEDGER).values()}
        self.copies: SimpleQueue[Copy] = SimpleQueue()
        self.lock = threading.Lock()

    def pending(self, mutants: Sequence[Mutant]) -> list[Mutant]:
        """Return the faults without a result, and those whose result has lapsed or said nothing of the tests."""
        known = read_results(self.root)

        def settled(m: Mutant) -> bool:
            found = known.get((m.claim, m.fault))
            return (
                found is not None
                and found.outcome != "broken"
                and found.digest == digest(self.root, m, self.tests[m.claim])
            )

        return [m for m in mutants if not settled(m)]

    def run(self, mutants: Sequence[Mutant]) -> tuple[list[Result], list[str]]:
        """Try these faults; return their results, and a complaint for each claim whose sound tests fail."""
        by_claim = {claim: [m for m in mutants if m.claim == claim] for claim in {m.claim for m in mutants}}
        most_first = sorted(by_claim.values(), key=lambda group: (-len(group), group[0].claim))
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            places = [Path(folder) / f"copy{i}" for i in range(min(WORKERS, len(by_claim)))]
            preloaded = PRELOADED if len(mutants) > HANDFUL else PRELOADED[:2]
            made = [Copy(self.root, place, preloaded) for place in places]
            for copy in made:
                self.copies.put(copy)
            with ThreadPoolExecutor(WORKERS) as pool:
                parts = list(pool.map(self._claim, most_first))
            for copy in made:
                copy.close()
        return [r for results, _ in parts for r in results], [text for _, text in parts if text]

    def _claim(self, mutants: list[Mutant]) -> tuple[list[Result], str]:
        """Try the faults of one claim."""
        copy, tests = self.copies.get(), self.tests[mutants[0].claim]
        try:
            sound = copy.run(tests, SOUND_LIMIT) if tests else Run("broken", "it names no test", 0)
            if sound.outcome != "passed":
                complaint = f"{mutants[0].claim}: its tests do not pass without a fault: {sound.test}"
                print(complaint, flush=True)
                return [], complaint
            return [self._fault(copy, m, tests, MARGIN + 4 * sound.seconds) for m in mutants], ""
        finally:
            self.copies.put(copy)

    def _fault(self, copy: Copy, mutant: Mutant, tests: list[str], limit: float) -> Result:
        result = try_fault(copy, mutant, tests, limit)
        with self.lock:
            if self.write:
                write_result(self.root, result)
            print(describe(result), flush=True)
        return result


def describe(result: Result) -> str:
    """Return a result as a line."""
    by = f" [{result.killed_by}]" if result.killed_by else ""
    return f"{result.claim} {result.outcome:8} {result.seconds:5.1f} s  {result.fault}{by}"


def sample(root: Path, mutants: Sequence[Mutant], count: int) -> list[Mutant]:
    """Return the faults that were quickest, of different claims as long as there are some."""
    known = read_results(root)
    quickest = sorted(
        (m for m in mutants if (m.claim, m.fault) in known), key=lambda m: known[m.claim, m.fault].seconds
    )
    first = list({m.claim: m for m in reversed(quickest)}.values())
    return [*sorted(first, key=quickest.index), *(m for m in quickest if m not in first)][:count]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--claims", nargs="+", metavar="ID", help="only the faults of these claims")
    parser.add_argument("--sample", type=int, metavar="N", help="the N quickest, again; nothing is written")
    options = parser.parse_args(arguments)
    faults = read_faults(root)
    chosen = [m for m in faults if not options.claims or m.claim in options.claims]
    unknown = sorted(set(options.claims or []) - {m.claim for m in faults})
    if unknown:
        parser.error(f"--claims: no fault is planted for {', '.join(unknown)}")
    trial = Trial(root, write=options.sample is None)
    todo = trial.pending(chosen) if options.sample is None else sample(root, chosen, options.sample)
    results, complaints = trial.run(todo)
    if options.sample is None:
        known = read_results(root)
        results = [known[m.claim, m.fault] for m in chosen if (m.claim, m.fault) in known]
    return report(results, complaints)


def report(results: Sequence[Result], complaints: Sequence[str]) -> int:
    """Print how many faults were killed and which were not; return the exit status."""
    alive = [r for r in results if r.outcome != "killed"]
    print("\n".join(["", *map(describe, alive), *complaints]) if alive or complaints else "")
    spent = os.times().children_user + os.times().children_system
    print(f"{len(results)} faults: {len(results) - len(alive)} killed, {len(alive)} not")
    print(f"{spent / 60:.1f} minutes of processor time")
    return 2 if complaints else 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
