"""Build and grade the problem sets, from the repository's root.

python -m coursework build                       write all versions to _build/coursework
python -m coursework grade SET SUBMISSIONS       grade a notebook, or a folder of them: scores.csv and feedback/
python -m coursework verify [SET …]              solutions pass, and every mistake gets its own message
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from coursework import building, grading, load, names

OUT = Path("_build/coursework")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the three commands."""
    top = argparse.ArgumentParser(
        prog="python -m coursework", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="write the notebooks")
    build.add_argument("--out", type=Path, default=OUT)
    verify = commands.add_parser("verify", help="check the sets themselves")
    verify.add_argument("sets", nargs="*")
    grade = commands.add_parser("grade", help="grade submissions")
    grade.add_argument("set", help="name or two digits, such as 03")
    grade.add_argument("submissions", type=Path)
    grade.add_argument("--out", type=Path, default=OUT / "graded")
    grade.add_argument("--seed", type=int, default=0, help="of the hidden inputs: choose your own")
    grade.add_argument("--limit", type=float, default=60, help="seconds for a cell or a problem")
    grade.add_argument("--jobs", type=int, default=1, help="submissions at a time")
    grade.add_argument("--partial", type=float, default=0.0, help="share of the points for a known mistake")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 if a set is wrong or a file cannot be written, or 2 for bad arguments."""
    given = parser().parse_args(argv)
    try:
        if given.command == "build":
            print(*building.build(given.out), sep="\n")
        elif given.command == "verify":
            wrong = [line for name in given.sets or names() for line in grading.verify(load(name))]
            print("\n".join(wrong) or "Every solution passes, and every mistake gets its own message.")
            return int(bool(wrong))
        else:
            options = {key: getattr(given, key) for key in ("seed", "limit", "jobs", "partial")}
            reports = grading.grade_all(given.set, given.submissions, given.out, **options)
            for report in reports:
                print(f"{report.student}: {report.points:g} of {report.out_of}")
            print(f"Written: {given.out / 'scores.csv'}, and feedback for each student beside it.")
    except ValueError as error:
        print(f"coursework: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"coursework: failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
