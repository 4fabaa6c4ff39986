"""Check that this Python can run the book: one line a requirement, and what to do about a missing one.

Usage: python scripts/check_environment.py    (exit status 0: all is there; 1: something is missing)
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def python() -> tuple[bool, str]:
    """Check the interpreter's version."""
    version = ".".join(str(v) for v in sys.version_info[:3])
    return sys.version_info >= (3, 10), f"Python {version} (3.10 or newer is needed)"


def packages() -> Iterator[tuple[bool, str]]:
    """Compare the installed packages with requirements.txt."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield False, "packaging is missing: pip install -r requirements.txt"
        return
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text or text.startswith("-"):
            continue
        wanted = Requirement(text)
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            yield False, f"{wanted.name} is missing: pip install '{text}'"
            continue
        ok = wanted.specifier.contains(version, prereleases=True)
        yield ok, f"{wanted.name} {version}" + ("" if ok else f": pip install '{text}'")


def package() -> tuple[bool, str]:
    """Check that t2v is importable from outside the checkout, as a notebook's kernel imports it."""
    try:
        return True, f"t2v {metadata.version('t2v')}"
    except metadata.PackageNotFoundError:
        return False, "t2v is missing: pip install -e ."


def kernel() -> tuple[bool, str]:
    """Check that Jupyter finds a Python kernel."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError:
        return False, "jupyter_client is missing: pip install -r requirements.txt"
    found = "python3" in KernelSpecManager().find_kernel_specs()
    return found, "Jupyter kernel python3" + ("" if found else ": python -m ipykernel install --sys-prefix")


def machine() -> str:
    """Describe what the chapters' run times depend on."""
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    return f"{os.cpu_count()} cores, OMP_NUM_THREADS {threads}"


def main() -> int:
    """Print the findings and return the exit status."""
    findings = [python(), *packages(), package(), kernel()]
    for ok, text in findings:
        print("ok     " if ok else "PROBLEM", text)
    print("       ", machine())
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    print("       ", f"browser for the site's tests: {browser or 'none, they will be skipped'}")
    problems = sum(not ok for ok, _ in findings)
    print("all is there" if not problems else f"{problems} problem(s)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
