"""The solutions that the book prints are run: every code block, in every chapter, as a reader would.

The rule: a solution needs the chapter's first code cell (its imports) and nothing else. Its blocks share one
namespace, and end in checks that pass or in ``assert``.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from t2v import exercises

BOOK = Path(__file__).parents[1] / "book"
CHAPTERS = range(1, 11)
DIRECTIVE = re.compile(r"^(`{3,})\{([\w-]+)\}[ \t]*([^\n]*)\n(.*?)^\1[ \t]*$", re.M | re.S)
CODE = re.compile(r"^```python\n(.*?)^```[ \t]*$", re.M | re.S)
CHECKED = re.compile(r"""exercises\.check\(["']([^"']+)["']""")


@dataclass
class Printed:
    """An exercise as the page shows it."""

    label: str
    body: str
    hints: list[str] = field(default_factory=list)
    solution: str | None = None

    @property
    def code(self) -> str:
        return "\n".join(CODE.findall(self.solution or ""))


def directives(text: str) -> list[tuple[str, str, str]]:
    """Return name, argument and body of the outermost directives; a fence is closed by one of its length."""
    return [(m[2], m[3].strip(), m[4]) for m in DIRECTIVE.finditer(text)]


def parse(text: str) -> list[Printed]:
    """Read exercises, their hints (inside or after them) and their solutions from a page's Markdown."""
    found: list[Printed] = []
    for name, argument, body in directives(text):
        if name == "exercise":
            label = re.search(r"^:label: (\S+)$", body, re.M)
            inner = [d for d in directives(body) if d[0] == "dropdown"]
            found.append(Printed(label[1] if label else "", DIRECTIVE.sub("", body), [d[1] for d in inner]))
        elif name == "dropdown" and argument.startswith("Hint") and found:
            found[-1].hints.append(argument)
        elif name == "solution":
            owner = [x for x in found if x.label == argument]
            assert owner, f"a solution of {argument}, which is no exercise before it"
            assert ":class: dropdown" in body, f"the solution of {argument} is not closed at first"
            owner[0].solution = body
    return found


def problems(text: str, chapter: int, checked: set[str]) -> list[str]:
    """Say what the exercises of one page lack; ``checked`` holds the numbers that check themselves."""
    found = parse(text)
    wrong = [f"{len(found)} exercises; 6 to 10 are wanted"] if not 6 <= len(found) <= 10 else []
    if [x.label for x in found] != [f"ex-{chapter:02d}-{k}" for k in range(1, len(found) + 1)]:
        wrong.append(f"labels are not ex-{chapter:02d}-1, -2, …: {[x.label for x in found]}")
    numbers = [f"{chapter}.{k}" for k in range(1, len(found) + 1)]
    wrong += [f"{n} checks itself and is not on the page" for n in sorted(checked - set(numbers))]
    for number, x in zip(numbers, found, strict=True):
        if x.hints != [f"Hint {k}" for k in range(1, max(len(x.hints), 2) + 1)]:
            wrong.append(f"{number} has the hints {x.hints}; Hint 1, Hint 2, … are wanted")
        if x.solution is None:
            wrong.append(f"{number} has no solution")
        elif not re.search(r"\bassert\b|exercises\.check\(", x.code):
            wrong.append(f"{number}'s solution has no code that checks it")
        wants = [number] if number in checked else []
        if set(CHECKED.findall(x.body)) != set(wants):
            wrong.append(f"{number} tells the reader to check {CHECKED.findall(x.body)}, not {wants}")
        if set(CHECKED.findall(x.code)) != set(wants):
            wrong.append(f"{number}'s solution checks {CHECKED.findall(x.code)}, not {wants}")
    return wrong


@cache
def page(chapter: int) -> tuple[str, str]:
    """Return a chapter's Markdown, cell after cell, and its first code cell."""
    (path,) = BOOK.glob(f"{chapter:02d}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return text, next("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def run(code: str, imports: str, name: str) -> list[Any]:
    """Run a solution in a fresh namespace; return the results of its checks."""
    results: list[Any] = []
    original = exercises.check

    def recording(number: str, answer: Any, **options: Any) -> Any:
        results.append(original(number, answer, **options))
        return results[-1]

    namespace: dict[str, Any] = {"__name__": "solution"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exercises, "check", recording)
        for part, source in (("imports", imports), (name, code)):
            exec(compile(source, f"<{part}>", "exec"), namespace)
    plt.close("all")
    return results


SLOW = {"2.8", "4.8", "5.8", "6.9", "8.8", "10.7", "10.8"}  # projects that train networks or embed tasks
SOLUTIONS = [
    pytest.param(n, k, id=f"{n}.{k + 1}", marks=[pytest.mark.slow] if f"{n}.{k + 1}" in SLOW else [])
    for n in CHAPTERS
    for k in range(len(parse(page(n)[0])))
]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_chapter_has_exercises_with_stepped_hints_and_checked_solutions(chapter):
    assert problems(page(chapter)[0], chapter, set(exercises.chapters().get(chapter, {}))) == []


@pytest.mark.parametrize(("chapter", "place"), SOLUTIONS)
def test_the_printed_solution_runs_and_passes_its_check(chapter, place):
    text, imports = page(chapter)
    printed = parse(text)[place]
    name = f"solution {chapter}.{place + 1}"
    results = run(printed.code, imports, name)
    assert all(results), results
    calls = [n for n in ast.walk(ast.parse(printed.code)) if isinstance(n, ast.Call)]
    written = [n for n in calls if ast.unparse(n.func) == "exercises.check"]
    assert len(results) == len(written), "a check stands where it is not reached"


GOOD = """
````{exercise} One
:label: ex-01-1

Write it. Check with `exercises.check("1.1", my_entropy)`.

```{dropdown} Hint 1
a
```

```{dropdown} Hint 2
b
```
````

````{solution} ex-01-1
:class: dropdown

```python
exercises.check("1.1", lambda p: -(p[p > 0] * np.log2(p[p > 0])).sum())
```
````
"""


def six(one: str = GOOD) -> str:
    plain = GOOD.replace('exercises.check("1.1", my_entropy)', "hand")
    plain = re.sub(r"exercises\.check\(.*\)", "assert True", plain)
    return "\n".join([one, *(plain.replace("ex-01-1", f"ex-01-{k}") for k in range(2, 7))])


def test_a_good_page_has_no_problems():
    assert problems(six(), 1, {"1.1"}) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Hint 2", "Hint 3", "1.1 has the hints"),
        ("```{dropdown} Hint 2\nb\n```\n", "", "1.1 has the hints"),
        (GOOD[GOOD.index("````{solution}") :], "", "1.1 has no solution"),
        ("```python", "```text", "no code that checks it"),
        ('check("1.1", lambda', 'check("1.2", lambda', "solution checks"),
        ('check("1.1", my', 'check("2.1", my', "tells the reader to check"),
        ("ex-01-1", "ex-01-9", "labels are not"),
    ],
)
def test_what_a_page_lacks_is_named(old, new, message):
    assert old in GOOD
    assert any(message in wrong for wrong in problems(six(GOOD.replace(old, new)), 1, {"1.1"}))


def test_too_few_exercises_and_lost_ones_are_named():
    wrong = problems(GOOD, 1, {"1.1", "1.3"})
    assert "1 exercises" in wrong[0]
    assert "1.3 checks itself and is not on the page" in wrong


def test_a_wrong_solution_is_found():
    (printed,) = parse(GOOD)
    imports = "import numpy as np\nfrom t2v import exercises"
    assert all(run(printed.code, imports, "right"))
    assert not all(run(printed.code.replace("log2", "log"), imports, "wrong"))
    with pytest.raises(NameError):
        run("my_entropy", imports, "needs an earlier solution")
    with pytest.raises(AssertionError):
        run("assert 1 == 2", imports, "false")
