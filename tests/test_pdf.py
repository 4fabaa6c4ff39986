"""The printed book: what the site folds is laid open, and Chromium prints what can be read."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
MISSING = [n for n in ("bs4", "playwright", "pypdf") if importlib.util.find_spec(n) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

CHAPTER = """<article><section id="one"><h1><span>1. </span>One</h1>
<div class="exercise admonition" id="ex-01-1"><p><span class="caption-number">Exercise 1.1 </span></p>
<p>Find it. <a href="02_two.html#there">there</a> <a href="../_sources/x.ipynb">source</a></p></div>
<details class="sd-dropdown"><summary><span class="sd-summary-text">Hint 1</span></summary><p>Look.</p></details>
<div class="solution dropdown admonition"><p class="admonition-title">Solution to 1.1</p><p>It is four.</p></div>
</section></article>"""


@pytest.fixture(scope="module")
def pdf() -> Any:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import pdf as module
    finally:
        sys.path.pop(0)
    return module


@pytest.fixture
def article(pdf: Any, tmp_path: Path) -> Any:
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "01_one.html").write_text(CHAPTER, encoding="utf-8")
    pages = [pdf.Page("book/01_one.html", "Part"), pdf.Page("book/02_two.html")]
    return pdf.prepare(tmp_path, pages[0], {page.name: page for page in pages}, "../html")


def test_hints_and_solutions_move_to_the_end(article: Any) -> None:
    answers = article.select_one(".answers").get_text(" ", strip=True)
    assert [answers.index(part) for part in ("Exercise 1.1", "Hint 1", "Look.", "It is four.")] == sorted(
        answers.index(part) for part in ("Exercise 1.1", "Hint 1", "Look.", "It is four.")
    )
    assert "four" not in article.select_one(".exercise").get_text()
    assert not article.select("details")


def test_links_stay_inside_the_document(article: Any) -> None:
    addresses = [link["href"] for link in article.find_all("a", href=True)]
    assert "#book-02_two--there" in addresses
    assert all(address.startswith("#") for address in addresses)
    ids = {element["id"] for element in article.find_all(id=True)} | {article["id"], "book-02_two--there"}
    assert {address[1:] for address in addresses} <= ids


FOLDED = """<article><section id="one"><h1><span>1<i>. </i></span>One</h1>
<div class="cell"><details class="hide above-input t2v-code-other"><summary>Code</summary><pre>secret()</pre></details>
<div class="cell_output"><p>42</p></div></div>
<div class="cell"><details class="hide above-input t2v-checked"><summary>Checked here</summary><pre>assert x</pre></details></div>
<div class="cell"><div class="cell_input"><pre>shown()</pre></div></div></section></article>"""


def test_what_the_site_folds_stays_folded(pdf: Any, tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "01_one.html").write_text(FOLDED, encoding="utf-8")
    page = pdf.Page("book/01_one.html")
    text = pdf.prepare(tmp_path, page, {page.name: page}, "../html").get_text(" ", strip=True)
    assert "secret" not in text
    assert "assert" not in text
    assert "Checked" not in text
    assert "42 Code: cell 1 of the notebook shown()" in text
    assert "1. One" in text


def test_the_landing_page_links_to_the_printed_book(pdf: Any, tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    start, result = tmp_path / "book" / "index.html", tmp_path / "result.pdf"
    start.write_text(f"<article>{pdf.PLACE}</article>", encoding="utf-8")
    result.write_bytes(b"%PDF")
    pdf.publish(tmp_path, result)
    pdf.publish(tmp_path, result)
    assert start.read_text(encoding="utf-8").count(f'href="../{pdf.RESULT.name}"') == 1
    assert (tmp_path / pdf.RESULT.name).read_bytes() == b"%PDF"


def test_a_missing_site_is_named(pdf: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pdf.main(["--site", str(tmp_path)]) == 2
    assert "run make html first" in capsys.readouterr().err


def flat(outline: list[Any]) -> list[Any]:
    return [item for entry in outline for item in (flat(entry) if isinstance(entry, list) else [entry])]


def test_two_chapters_are_printed(pdf: Any, tmp_path: Path) -> None:
    if pdf.find_browser() is None:
        pytest.skip("no Chromium: apt-get install chromium")
    if not (SITE / "book" / "index.html").is_file():
        pytest.skip("the site is not built: make html")
    from pypdf import PdfReader

    only = ["01_information", "10_transfer"]
    reader = PdfReader(pdf.make(SITE, tmp_path / "book.pdf", only))
    texts = [page.extract_text() for page in reader.pages]
    whole = " ".join("\n".join(texts).split())
    assert 15 < len(texts) < 60
    titles = [pdf.parse(SITE / "book" / f"{name}.html").h1.get_text().rstrip("#") for name in only]
    for title in titles:
        assert title.split(". ", 1)[-1][:20] in whole, title
    assert "Hints and solutions" in whole
    for mark in ("Math Processing Error", "$$", r"\frac", r"\mathrm"):
        assert mark not in whole, mark
    known = {
        pdf.squeeze(h.get_text())
        for name in only
        for h in pdf.parse(SITE / "book" / f"{name}.html").select("h1, h2, h3, h4")
    }
    marks = [pdf.squeeze(str(item["/Title"])) for item in flat(reader.outline)]
    assert len(marks) > 20
    assert not [
        mark for mark in marks if len(mark) % 2 == 0 and mark[: len(mark) // 2] == mark[len(mark) // 2 :]
    ]
    assert sum(mark in known for mark in marks) > 0.8 * len(marks)
    numbers = [line.rsplit(" ", 1)[-1] for line in texts[1].splitlines() if line.startswith(("1.", "10."))]
    assert len(numbers) > 10
    assert all(number.isdigit() for number in numbers), texts[1]
