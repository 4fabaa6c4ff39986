"""A chapter with other seeds: what is moved, what is reported, and that nothing is written."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from helpers import ROOT, load_script
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CELLS = [
    new_code_cell("import numpy as np\nimport torch\nfrom t2v import claims, training"),
    new_markdown_cell("Text, which has no execution count."),
    new_code_cell(
        "rng = np.random.default_rng(0)\n"
        "drawn = rng.normal()\n"
        "assert abs(drawn - 0.12573022) < 1e-6, 'of seed 0 alone'\n"
        "assert abs(drawn) < 50\n"
        "lucky = drawn"
    ),
    new_code_cell("claims.verdict('C01', holds=abs(lucky - 0.12573022) < 1e-6)"),
    new_code_cell(
        "a, b = (torch.Generator().manual_seed(5) for _ in range(2))\n"
        "assert torch.equal(torch.rand(3, generator=a), torch.rand(3, generator=b))\n"
        "torch.manual_seed(0)\n"
        "from_zero = torch.rand(1)\n"
        "torch.default_generator.manual_seed(0)\n"
        "assert torch.equal(from_zero, torch.rand(1))\n"
        "assert np.isclose(from_zero.item(), 0.4962566)\n"
        "legacy = np.random.RandomState(0).normal()\n"
        "assert np.isclose(legacy, 1.76405235)\n"
        "net = training.mlp([2, 2], seed=3)"
    ),
    new_code_cell("if abs(drawn - 0.12573022) > 1e-6:\n    raise KeyError('a dead network')"),
    new_code_cell("assert lucky is drawn"),
]
LEDGER = "- {id: C01, claim: c, where: w, chapter: x, verdict: holds}\n"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("reseed")


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    (tmp_path / "claims.yml").write_text(LEDGER, encoding="utf-8")
    path = tmp_path / "tiny.ipynb"
    nbformat.write(new_notebook(cells=CELLS), path)
    return path


def test_other_seeds_are_reported_cell_by_cell_and_seed_0_is_the_chapter(
    script: ModuleType, notebook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = notebook.read_bytes()
    assert script.main([str(notebook), "0", "7"]) == 1
    assert notebook.read_bytes() == before
    first, second, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("tiny.ipynb, seed 0: 0 reported; moved 6 by __main__, 1 by t2v")
    assert second.startswith("tiny.ipynb, seed 7: 5 reported; moved 6 by __main__, 1 by t2v")
    assert lines[0] == "  cell 2, does not hold: abs(drawn - 0.12573022) < 1e-06"
    assert lines[1].startswith("  cell 3, another verdict: C01: computed 'fails as stated'")
    assert lines[2] == "  cell 4, does not hold: np.isclose(from_zero.item(), 0.4962566)"
    assert lines[3] == "  cell 4, does not hold: np.isclose(legacy, 1.76405235)"
    assert lines[4] == "  cell 5, stops: KeyError: 'a dead network'"
    assert len(lines) == 5


def test_a_chapter_is_named_by_its_number_or_its_path(script: ModuleType, notebook: Path) -> None:
    assert script.chapter("6") == ROOT / "book" / "06_weights.ipynb"
    assert script.chapter(str(notebook)) == notebook
    for wrong in ("11", "weights", "nowhere.ipynb"):
        with pytest.raises(ValueError, match=f"CHAPTER: '{wrong}'; a number from 1 to 10"):
            script.chapter(wrong)
