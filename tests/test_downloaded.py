"""What a reader has who downloads a chapter: the wheel holds all that chapters read, and `make test` runs them on it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from helpers import ROOT, load_script
from jupyter_client.manager import start_new_kernel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("downloaded")


@pytest.fixture(scope="module")
def reader(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader") / "book"
    script.main([str(folder), "03"])
    return folder


def test_the_wheel_has_the_ledger_and_every_table(reader: Path) -> None:
    there, book = reader / "site" / "t2v" / "_book", ROOT / "book"
    tables = {p.relative_to(book) for p in (book / "runs").rglob("*") if p.suffix in (".csv", ".json")}
    assert len(tables) > 40
    for name in {Path("claims.yml"), *tables}:
        assert (there / name).read_bytes() == (book / name).read_bytes()
    extra = [
        p
        for p in there.rglob("*")
        if p.is_file() and p.relative_to(there) not in {Path("claims.yml"), *tables}
    ]
    assert not extra


def test_the_wheel_has_every_module(reader: Path) -> None:
    modules = {p.relative_to(ROOT) for p in (ROOT / "t2v").rglob("*.py")}
    assert {p for p in modules if not (reader / "site" / p).is_file()} == set()
    assert (reader / "site" / "t2v" / "py.typed").is_file()


def test_the_kernel_takes_t2v_from_the_wheel(
    reader: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(reader / "share" / "jupyter"))
    manager, client = start_new_kernel(kernel_name=script.KERNEL, cwd=str(reader / "chapters"))
    try:
        said: list[str] = []
        code = "import t2v, t2v.claims; print(t2v.__file__); print(t2v.claims.find_ledger())"
        client.execute_interactive(
            code, timeout=120, output_hook=lambda m: said.append(m["content"].get("text", ""))
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    for line in "".join(said).split():
        assert Path(line).is_relative_to(reader / "site")


def test_the_copies_are_the_chapters(reader: Path, script: ModuleType) -> None:
    (copy,) = (reader / "chapters").glob("*.ipynb")
    notebook, source = (nbformat.read(p, as_version=4) for p in (copy, ROOT / "book" / copy.name))
    assert notebook.metadata.kernelspec.name == script.KERNEL
    assert [c.source for c in notebook.cells] == [c.source for c in source.cells]


def test_a_place_in_the_checkout_or_in_use_is_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    for folder, says in ((ROOT / "_build" / "mine", "inside the checkout"), (tmp_path, "not empty")):
        with pytest.raises(SystemExit):
            script.main([str(folder)])
        assert says in capsys.readouterr().err


def test_make_test_runs_the_copies() -> None:
    """A dry run of make names the folder of copies, and no longer the chapters in the checkout."""
    plan = subprocess.run(
        ["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, env=os.environ
    ).stdout
    line = " ".join(plan.replace("\\\n", " ").split())
    assert "scripts/downloaded.py" in line
    assert "/chapters" in line.split("-m pytest")[1]
