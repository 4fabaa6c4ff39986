"""Executing a chapter: what is saved with it, and the line in the table of run times."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from helpers import ROOT, load_script, read_csv
from nbformat.v4 import new_code_cell, new_notebook

TIMES = ROOT / "book" / "runs" / "times.csv"
LIMIT = 2 * 90  # processor seconds: a minute and a half on two cores
CHAPTERS = sorted(p.stem for p in (ROOT / "book").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("execute")


def test_every_chapter_has_one_line_of_times() -> None:
    table = read_csv(TIMES)
    assert [line["chapter"] for line in table] == CHAPTERS
    for line in table:
        seconds, busy = float(line["seconds"]), float(line["processor seconds"])
        assert math.isfinite(seconds)
        assert seconds > 0
        assert 0 <= busy <= seconds * int(line["cores"]) + 1, line
        assert busy <= LIMIT, f"{line['chapter']} takes too long"
        assert datetime.date.fromisoformat(line["date"]).year >= 2026
        assert int(line["cores"]) >= 1


def test_the_page_shows_the_table_and_that_of_the_build() -> None:
    page = (ROOT / "book" / "run_times.md").read_text(encoding="utf-8")
    assert "{csv-table}" in page
    assert ":file: runs/times.csv" in page
    assert "{nb-exec-table}" in page


def test_a_line_is_added_in_order_and_then_replaced(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for stem, seconds, busy in (("02_b", 61.6, 40.2), ("01_a", 9.4, 8.0), ("02_b", 30.0, 20.0)):
        script.record(tmp_path / f"{stem}.ipynb", seconds, busy)
    table = read_csv(tmp_path / "runs" / "times.csv")
    assert [(t["chapter"], t["seconds"], t["processor seconds"]) for t in table] == [
        ("01_a", "9", "8"),
        ("02_b", "30", "20"),
    ]
    assert tuple(table[0]) == script.COLUMNS == tuple(read_csv(TIMES)[0])


def test_a_folder_without_runs_keeps_no_times(script: ModuleType, tmp_path: Path) -> None:
    script.record(tmp_path / "01_a.ipynb", 1.0, 1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_is_executed_cleaned_and_timed(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    path = tmp_path / "01_a.ipynb"
    cell = new_code_cell("import time; time.sleep(1.2); 6 * 7", metadata={"tags": ["keep"], "timing": 1})
    nbformat.write(new_notebook(cells=[cell]), path)
    script.main([str(path)])
    after = nbformat.read(path, as_version=4)
    assert after.cells[0].outputs[0]["data"]["text/plain"] == "42"
    assert after.cells[0].metadata == {"tags": ["keep"]}
    assert set(after.metadata) == {"kernelspec", "language_info"}
    line = read_csv(tmp_path / "runs" / "times.csv")[0]
    assert int(line["seconds"]) >= 1
    assert line["date"] == datetime.date.today().isoformat()
