"""The built site in a real browser: it loads without network, reads well on a phone, and is accessible.

The site is built from the committed outputs (``make html``) unless ``_build/html`` is newer than its sources;
set BOOK_SITE to the folder of a built site to test that one as it is. Every page is visited once at a desk's
width and a phone's, then checked by axe in light and in dark; the tests then look at what was found.
"""

from __future__ import annotations

import ast
import functools
import gzip
import html
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import pytest

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
BROWSER = next(
    (p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None
)
MISSING = [name for name in ("jupyter_book", "playwright") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.site,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")


# --- the site ---


def sources() -> list[Path]:
    """Return every file that the site is made of."""
    found = [ROOT / "_config.yml", ROOT / "_toc.yml"]
    for folder in ("book", "t2v"):
        found += [p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return [p for p in found if ".ipynb_checkpoints" not in p.parts]


@pytest.fixture(scope="session")
def site() -> Path:
    """Return the folder of the built site; build it where it is missing or older than a source."""
    if os.environ.get("BOOK_SITE"):
        return Path(os.environ["BOOK_SITE"]).resolve()
    entrance = SITE / "index.html"
    if entrance.exists() and entrance.stat().st_mtime > max(p.stat().st_mtime for p in sources()):
        return SITE
    shutil.rmtree(SITE, ignore_errors=True)
    build = subprocess.run(
        [Path(sys.executable).parent / "jupyter-book", "build", ".", "--all", "-n", "-W", "--keep-going"],
        cwd=ROOT,
        env=os.environ | {"BOOK_EXECUTE": "off"},
        capture_output=True,
        text=True,
    )
    if build.returncode:
        pytest.fail("the site does not build:\n" + (build.stdout + build.stderr)[-3000:])
    return SITE


def page_names(site: Path) -> list[str]:
    """Return the addresses of all pages, relative to the site's root."""
    names = (p.relative_to(site).as_posix() for p in site.rglob("*.html"))
    return sorted(n for n in names if not n.startswith(("_static/", "_sources/")) and n != "index.html")


class Parsed(HTMLParser):
    """The links, the ids and the external resources of one page, without a browser."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.meta: dict[str, str] = {}
        self.resources: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what one tag refers to."""
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[key] for key in ("id", "name") if key in found}
        self.counts.update([found["id"]] if "id" in found else [])
        if tag == "meta":
            self.meta[found.get("name") or found.get("property", "")] = found.get("content", "")
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        fetched = found.get("src") or (
            found.get("href") if tag == "link" and found.get("rel") != "canonical" else None
        )
        if fetched:
            self.resources.append(fetched)


@pytest.fixture(scope="session")
def parsed(site: Path) -> dict[str, Parsed]:
    return {name: Parsed(site / name) for name in page_names(site)}


def is_elsewhere(address: str) -> bool:
    return bool(re.match(r"(?:[a-z][a-z0-9+.-]*:|//)", address)) and not address.startswith(
        ("data:", "blob:")
    )


# --- what needs no browser ---


def test_no_dead_link_or_fragment(site: Path, parsed: dict[str, Parsed]) -> None:
    dead = []
    for name, page in parsed.items():
        for link in page.links:
            if is_elsewhere(link):
                continue
            address, fragment = urldefrag(urljoin(f"/{name}", link))
            target = unquote(address).lstrip("/")
            if not (site / target).is_file():
                dead.append(f"{name} → {link}")
            elif fragment and target in parsed and unquote(fragment) not in parsed[target].ids:
                dead.append(f"{name} → {link} (no such fragment)")
    assert not dead, "\n".join(dead)


def test_nothing_is_fetched_from_elsewhere(parsed: dict[str, Parsed]) -> None:
    fetched = [f"{name}: {address}" for name, page in parsed.items() for address in page.resources]
    assert not [f for f in fetched if is_elsewhere(f.partition(": ")[2])]


def test_scripts_and_styles_name_no_content_network(site: Path) -> None:
    """Also what a script would fetch only after a click must be here."""
    networks = re.compile(
        r"https?://[\w.-]*(?:unpkg|jsdelivr|cloudflare|googleapis|gstatic|bootcdn)[\w./@-]*"
    )
    found = []
    for path in [
        *site.rglob("*.html"),
        *(p for p in site.glob("_static/**/*") if p.suffix in (".js", ".css")),
    ]:
        if (
            "mathjax" not in path.parts
        ):  # its loader knows such addresses; the browser test shows that none is used
            found += [
                f"{path.relative_to(site)}: {hit}"
                for hit in networks.findall(path.read_text("utf-8", "ignore"))
            ]
    assert not found, "\n".join(found)


def test_no_launch_button_without_a_repository(parsed: dict[str, Parsed]) -> None:
    if os.environ.get("BOOK_REPOSITORY"):
        pytest.skip("a repository is configured")
    launchers = re.compile(r"mybinder|colab\.research|deepnote|executablebooks/jupyter-book")
    assert not [
        f"{name}: {link}" for name, page in parsed.items() for link in page.links if launchers.search(link)
    ]


def test_every_chapter_can_be_downloaded(site: Path, parsed: dict[str, Parsed]) -> None:
    for notebook in sorted((ROOT / "book").glob("*.ipynb")):
        name = f"book/{notebook.stem}.html"
        if name in parsed:
            assert any(link.endswith(f"_sources/book/{notebook.name}") for link in parsed[name].links), name
            assert (site / "_sources" / "book" / notebook.name).is_file()


def test_a_repository_brings_its_buttons() -> None:
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        import site_settings
        from sphinx.errors import ConfigError
    finally:
        sys.path.pop(0)
    options = site_settings.repository_options("https://github.com/someone/book", "main")
    assert options["repository_url"] == "https://github.com/someone/book"
    assert options["use_issues_button"]
    assert options["launch_buttons"]["binderhub_url"]
    with pytest.raises(ConfigError, match="accepted: https://HOST/OWNER/NAME"):
        site_settings.repository_options("github.com/someone/book", "main")


# --- in a browser ---


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that does not print."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="session")
def playwright() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as found:
        yield found


# No name resolves and no other address is reached: the site must do without a network.
FLAGS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
DESK, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 120_000  # milliseconds: a machine that runs other tests beside this one may be slow


def launch(playwright: Any) -> Any:
    """Start a browser and return a context in it; close the context's browser when done."""
    browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS, timeout=PATIENCE)
    context = browser.new_context(viewport=DESK, color_scheme="light")
    context.set_default_timeout(PATIENCE)
    context.add_init_script(SHIFTS)
    return context


@dataclass
class Visit:
    """What was seen on one page."""

    problems: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    maths: dict[str, int] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)
    overflow: int = 0
    wide: list[str] = field(default_factory=list)
    shift: float = 0.0
    formula_stops: int = 0
    columns: list[float] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)


class Watched:
    """A browser page whose errors and requests are written down under the visit in progress."""

    def __init__(self, context: Any, address: str) -> None:
        self.page, self.address, self.visit = context.new_page(), address, Visit()
        self.page.on("console", lambda m: self.visit.problems.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.visit.problems.append(str(e)))
        self.page.on("response", self.response)
        self.page.on("request", self.request)

    def response(self, response: Any) -> None:
        """Write down what is missing."""
        if response.status >= 400:
            self.visit.problems.append(f"{response.status} {response.url}")

    def request(self, request: Any) -> None:
        """Write down what is asked of another host; the browser is started so that it can reach none."""
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.visit.external.append(request.url)


def open_page(page: Any, url: str) -> None:
    """Load a page and wait until its equations are typeset."""
    page.goto(url, wait_until="load")
    # A colour that is still fading from light to dark has no contrast worth measuring.
    page.add_style_tag(
        content="*, ::before, ::after { transition: none !important; animation: none !important; }"
    )
    page.evaluate("async () => { if (window.MathJax && MathJax.startup) await MathJax.startup.promise; }")
    page.wait_for_load_state("networkidle")


def axe() -> str | None:
    """Return the script of axe-core from the package that brings it along, or None."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        return None
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


RULES = {
    "light": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]},
    "dark": {"type": "rule", "values": ["color-contrast"], "include": "[data-look]"},
}
# Nine tenths of a chapter's elements are letters of equations and of code, which axe is told to leave out (code has a
# test of its own). It would walk over them all the same, for three times as long: each becomes one text of its size.
LEFT_OUT = ["mjx-container", ".highlight pre"]
EMPTY = """left_out => { for (const e of document.querySelectorAll(left_out)) {
  const {width, height} = e.getBoundingClientRect(), inline = getComputedStyle(e).display === 'inline';
  e.replaceChildren(e.textContent);
  Object.assign(e.style, {boxSizing: 'border-box', overflow: 'hidden', width: `${width}px`, height: `${height}px`},
    inline ? {display: 'inline-block'} : {}); } }"""
# In dark only colours differ: of all texts with the same colours, one is enough.
LOOKS = """left_out => { const seen = new Set(), words = n => n.nodeType === 3 && n.textContent.trim();
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(words) || !e.checkVisibility() || e.closest(left_out)) continue;
    const own = getComputedStyle(e), look = [own.color, own.fontSize, own.fontWeight, own.textShadow];
    for (let p = e; p; p = p.parentElement) { const s = getComputedStyle(p);
      look.push(s.opacity, s.backgroundImage, s.filter, s.backgroundColor); }
    const key = look.filter(part => !['1', 'none', 'rgba(0, 0, 0, 0)'].includes(part)).join();
    if (!seen.has(key)) { seen.add(key); e.dataset.look = seen.size; } } }"""
RUN_AXE = """async rules => {
  const {include = 'html', ...only} = rules;
  const where_to = {include: [[include]], exclude: SELECTORS.map(s => [s])};
  const found = await axe.run(where_to, {runOnly: only, resultTypes: ['violations'], preload: false});
  const where = n => `${n.target} ${n.html.slice(0, 80)} ${(n.any[0] || {}).message || ''}`;
  return found.violations.filter(v => ['serious', 'critical'].includes(v.impact))
    .map(v => `${v.id} (${v.impact}): ` + v.nodes.slice(0, 4).map(where).join(' | '));
}""".replace("SELECTORS", json.dumps(LEFT_OUT))
# What is far down loads when somebody comes near: here all at once, after the page's steadiness was measured.
IMAGES = """async () => {
  const pictures = [...document.querySelectorAll('article img')];
  await Promise.all(pictures.map(e => { e.loading = 'eager'; return e.decode().catch(() => null); }));
  return [...document.querySelectorAll('article img, article svg[role=img]')].map(e => ({
    alt: e.tagName === 'IMG' ? e.getAttribute('alt') : (e.querySelector('title') || {}).textContent,
    loaded: e.tagName !== 'IMG' || e.naturalWidth > 0,
    source: (e.getAttribute('src') || 'svg').slice(0, 60)})); }"""
MATHS = """() => ({asked: document.querySelectorAll('article .math').length,
  set: document.querySelectorAll('article .math mjx-container').length,
  errors: document.querySelectorAll('mjx-merror, [data-mml-node=merror]').length})"""
CUT = """() => [
  ...[...document.querySelectorAll('article div.math mjx-container')].filter(e => e.scrollWidth > e.clientWidth + 1),
  ...[...document.querySelectorAll('article :is(td, th)')].filter(e => e.scrollWidth > e.clientWidth + 1)]
  .map(e => `${e.tagName}: ${e.parentElement.textContent.trim().slice(0, 60)}`)"""
WIDE = """() => { const room = document.documentElement.clientWidth;
  const clips = e => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
    if (getComputedStyle(p).overflowX !== 'visible') return true; return false; };
  return [...document.querySelectorAll('article *')]
    .filter(e => e.getBoundingClientRect().right > room + 1 && !clips(e)).slice(0, 5)
    .map(e => `${e.tagName}.${e.className} ${(e.textContent || '').trim().slice(0, 60)}`); }"""


# The layout shift so far (SHIFTS, which runs first, adds it up), formulas that the tab key stops at, and the length of lines.
SHIFTS = """window.t2vShift = 0; new PerformanceObserver(list => { for (const e of list.getEntries())
  if (!e.hadRecentInput) window.t2vShift += e.value; }).observe({type: 'layout-shift', buffered: true});"""
LINES = """() => [...document.querySelectorAll('article section > p')].filter(p => p.checkVisibility()).flatMap(p => {
  const range = document.createRange(); range.selectNodeContents(p);
  const boxes = [...range.getClientRects()].filter(r => r.height > 12 && r.height < 40);
  const lines = new Set(boxes.map(r => Math.round(r.bottom / 12)));
  return lines.size > 3 && !p.querySelector('.math, code, br') ? [p.textContent.length / (lines.size - .35)] : []; })"""
STEADY = f"""() => [window.t2vShift, document.querySelectorAll('mjx-container[tabindex="0"]').length, ({LINES})()]"""


def measure(page: Any, visit: Visit) -> None:
    """Write down how a page's images, equations and tables look at a desk, and how wide it is on a phone."""
    visit.shift, visit.formula_stops, visit.columns = page.evaluate(STEADY)
    visit.images, visit.maths, visit.cut = (page.evaluate(script) for script in (IMAGES, MATHS, CUT))
    page.set_viewport_size(PHONE)
    visit.overflow = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    visit.wide = page.evaluate(WIDE)
    page.set_viewport_size(DESK)


def look(watched: Watched, name: str, script: str | None) -> Visit:
    """Visit one page: at a desk and on a phone, then with axe in light and in dark."""
    visit, page = Visit(), watched.page
    watched.visit = visit
    page.set_viewport_size(DESK)
    open_page(page, f"{watched.address}/{name}")
    measure(page, visit)
    if script:
        page.evaluate(EMPTY, ", ".join(LEFT_OUT))
        page.evaluate(script)
        for mode, rules in RULES.items():
            page.evaluate("m => { document.documentElement.dataset.theme = m; }", mode)
            if mode == "dark":
                page.evaluate(LOOKS, ", ".join(LEFT_OUT))
            visit.violations[mode] = page.evaluate(RUN_AXE, rules)
    return visit


@pytest.fixture(scope="session")
def visits(playwright: Any, address: str, site: Path) -> dict[str, Visit]:
    """Every page, looked at once; the source listings of the API reference only need to load."""
    from playwright.sync_api import Error

    found, script, watched = {}, axe(), Watched(launch(playwright), address)
    for name in page_names(site):
        rules = None if name.startswith("_modules") else script
        try:
            found[name] = look(watched, name, rules)
        except Error:  # a browser that dies under load is started again, once a page
            watched = Watched(launch(playwright), address)
            found[name] = look(watched, name, rules)
    watched.page.context.browser.close()
    return found


def gather(visits: dict[str, Visit], attribute: str) -> list[str]:
    return [f"{name}: {found}" for name, visit in visits.items() for found in getattr(visit, attribute)]


@needs_browser
def test_pages_load_without_errors(visits: dict[str, Visit]) -> None:
    assert len(visits) > 20
    found = gather(visits, "problems")
    assert not found, "\n".join(found)


@needs_browser
def test_no_request_leaves_the_site(visits: dict[str, Visit]) -> None:
    found = gather(visits, "external")
    assert not found, "\n".join(found)


@needs_browser
def test_equations_are_typeset(visits: dict[str, Visit]) -> None:
    total = sum(visit.maths["set"] for visit in visits.values())
    bad = {n: v.maths for n, v in visits.items() if v.maths["errors"] or v.maths["set"] < v.maths["asked"]}
    assert not bad
    assert total > 100


@needs_browser
def test_images_say_what_is_to_be_seen(visits: dict[str, Visit]) -> None:
    empty = re.compile(
        r"^(?:|_images/.*|https?:.*|.*\.(?:png|svg|jpe?g)|(?:a |the )?(?:figure|image|plot|picture)\.?)$"
    )
    bad = [
        f"{name}: {image['source']}: alt={image['alt']!r}"
        for name, visit in visits.items()
        for image in visit.images
        if image["alt"] is None or empty.match(image["alt"].strip().lower()) or len(image["alt"]) < 6
    ]
    assert not bad, "\n".join(bad)
    assert not [f"{n}: {i['source']}" for n, v in visits.items() for i in v.images if not i["loaded"]]


@needs_browser
def test_a_phone_never_scrolls_sideways(visits: dict[str, Visit]) -> None:
    assert not {name: visit.overflow for name, visit in visits.items() if visit.overflow > 0}
    found = gather(visits, "wide")
    assert not found, "\n".join(found)


@needs_browser
def test_equations_and_tables_fit_at_a_desk(visits: dict[str, Visit]) -> None:
    """No equation has to be scrolled, and no word stands out of its cell."""
    found = gather(visits, "cut")
    assert not found, "\n".join(found)


@needs_browser
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_no_serious_accessibility_violation(visits: dict[str, Visit], mode: str) -> None:
    if axe() is None:
        pytest.skip("axe-core is not installed: pip install axe-playwright-python")
    found = [f"{name}: {v}" for name, visit in visits.items() for v in visit.violations.get(mode, [])]
    assert not found, "\n".join(found)


@pytest.fixture
def page(playwright: Any) -> Iterator[Any]:
    context = launch(playwright)
    yield context.new_page()
    context.browser.close()


@pytest.fixture
def plain(page: Any) -> Any:
    """A page on which equations stay as they are written: setting a chapter's takes most of the time it needs to load."""
    page.route(re.compile(r"/mathjax/"), lambda route: route.abort())
    return page


def pages_with(site: Path, text: str) -> list[str]:
    return [n for n in page_names(site) if text in (site / n).read_text(encoding="utf-8")]


@needs_browser
def test_search_finds_fisher(page: Any, address: str) -> None:
    page.goto(f"{address}/search.html?q=Fisher")
    page.wait_for_selector("#search-results li a", timeout=20_000)
    found = page.locator("#search-results").inner_text()
    assert page.locator("#search-results li").count() > 2
    assert "fisher" in found.lower()
    assert "Contents" not in found
    assert ".ipynb" not in found


@needs_browser
def test_the_dialog_finds_sections_as_one_types(plain: Any, address: str, site: Path) -> None:
    """The index is loaded when the field is used, not before; also from a folder."""
    asked: list[str] = []
    plain.on("request", lambda request: asked.append(request.url))
    for start in (f"{address}/book/01_information.html", (site / "book" / "01_information.html").as_uri()):
        asked.clear()
        plain.goto(start, wait_until="load")
        assert not [url for url in asked if "search_index" in url or "searchindex" in url]
        plain.keyboard.press("Control+k")
        plain.locator("#pst-search-dialog input").type("why clusters appear")
        first = plain.locator("#pst-search-dialog .t2v-hits a").first
        first.wait_for()
        assert first.get_attribute("href").endswith(
            "03_bottleneck.html#why-clusters-appear-a-lid-on-a-landscape"
        )
    plain.locator("#pst-search-dialog input").fill("zyzzyva")
    plain.get_by_text("Nothing has all of these words.").wait_for()


@needs_browser
def test_sliders_move(plain: Any, site: Path, address: str) -> None:
    names = pages_with(site, 'class="t2v-slider"')
    if not names:
        pytest.skip("no chapter with a slider is built yet")
    for name in names:
        open_page(plain, f"{address}/{name}")
        for slider in plain.locator("figure.t2v-slider").all():
            handle, shown = slider.locator("input[type=range]"), slider.locator("img:not([hidden])")
            assert shown.count() == 1
            handle.focus()
            plain.keyboard.press("Home")  # it may open on any frame
            assert shown.count() == 1
            before = shown.get_attribute("src"), slider.locator("output").inner_text()
            plain.keyboard.press("End")
            assert shown.count() == 1
            after = shown.get_attribute("src"), slider.locator("output").inner_text()
            assert before[0] != after[0], f"{name}: the picture stays"
            assert before[1] != after[1], f"{name}: the label stays"
            assert handle.get_attribute("aria-valuetext") == after[1]
            plain.keyboard.press("Home")
            assert shown.get_attribute("src") == before[0]


@needs_browser
def test_drop_downs_open(plain: Any, site: Path, address: str) -> None:
    names = [n for n in page_names(site) if re.match(r"book/\d\d_", n)]
    if not names:
        pytest.skip("no chapter is built yet")
    for name in names:
        open_page(plain, f"{address}/{name}")
        details = plain.locator("article details")
        assert details.count() > 0, f"{name} has no drop-down"
        closed = plain.locator("article details:not([open]) > summary:visible")
        if closed.count():
            first = closed.first
            handle = first.element_handle()
            first.click()
            assert handle.evaluate("e => e.parentElement.open"), f"{name}: the drop-down stays closed"


@needs_browser
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_code_is_legible(plain: Any, site: Path, address: str, mode: str) -> None:
    """The colours of code are the same everywhere: one chapter is enough."""
    names = [n for n in page_names(site) if re.match(r"book/\d\d_", n)]
    if not names or axe() is None:
        pytest.skip("no chapter is built yet" if axe() else "axe-core is not installed")
    open_page(plain, f"{address}/{names[0]}")
    plain.evaluate("m => { document.documentElement.dataset.theme = m; }", mode)
    plain.evaluate(axe())
    found = plain.evaluate(
        """async () => (await axe.run({include: [['.highlight']]}, {runOnly: ['color-contrast'], preload: false}))
        .violations.flatMap(v => v.nodes.map(n => n.any[0].message))"""
    )
    assert not found, "\n".join(sorted(set(found)))


@needs_browser
def test_dark_mode_keeps_figures_on_white(plain: Any, site: Path, address: str) -> None:
    names = [
        n
        for n in page_names(site)
        if re.match(r"book/\d\d_", n) and '<div class="cell_output' in (site / n).read_text()
    ]
    if not names:
        pytest.skip("no chapter with a figure is built yet")
    open_page(plain, f"{address}/{names[0]}")
    plain.evaluate("document.documentElement.dataset.theme = 'dark'")
    colours = plain.evaluate(
        "[...document.querySelectorAll('.cell_output img[src$=\".png\"]')].map(e => getComputedStyle(e).backgroundColor)"
    )
    assert set(colours) <= {"rgb(255, 255, 255)"}


# --- the API's formulas ---


def docstrings() -> Iterator[str]:
    """Yield the docstrings that the API pages show, from the sources: modules, functions, classes and their methods."""
    for path in sorted((ROOT / "t2v").glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name[0] != "_"]
        methods = [
            m for n in public if isinstance(n, ast.ClassDef) for m in n.body if isinstance(m, ast.FunctionDef)
        ]
        for node in [tree, *public, *(m for m in methods if m.name[0] != "_")]:
            yield ast.get_docstring(node) or ""


def formulas(text: str) -> list[str]:
    """Return the formulas of a docstring without blanks."""
    blocks = re.findall(r"^( *)\.\. math::((?:.*)(?:\n(?:\1 +.*| *$))*)", text, re.MULTILINE)
    found = re.findall(r":math:`([^`]*)`", text)
    return [
        re.sub(r"\s", "", f)
        for f in [*found, *(b for _, block in blocks for b in re.split(r"\n *\n", block.strip()))]
    ]


def test_every_formula_of_a_docstring_is_on_its_page_as_it_is_written(site: Path) -> None:
    pages = "".join(p.read_text(encoding="utf-8") for p in (site / "book" / "api").glob("*.html"))
    shown = html.unescape(
        "\n".join(
            re.findall(r'class="math notranslate nohighlight"[^>]*>(.*?)</(?:span|div)>', pages, re.DOTALL)
        )
    )
    shown = re.sub(r"\s", "", shown)
    written = [formula for text in docstrings() for formula in formulas(text)]
    assert len(written) > 50
    missing = [f for f in written if f not in shown]
    assert not missing, "\n".join(missing)
    assert sum(f.count("|") for f in written) > 20, "the formulas with bars are gone"
    norms = [formula for formula in written if r"\|" in formula]
    doubled = [
        f for f in re.split(r"\\\)|\\\]", shown) if r"\|" in f and not any(norm in f for norm in norms)
    ]
    assert not doubled, "\n".join(doubled)


# --- valid, light and steady ---


def test_no_id_is_used_twice(parsed: dict[str, Parsed]) -> None:
    twice = [f"{name}: {i}" for name, page in parsed.items() for i, n in page.counts.items() if n > 1]
    assert not twice, "\n".join(twice[:20])


def test_nothing_is_shipped_that_no_page_asks_for(site: Path) -> None:
    assert not [
        p
        for p in site.rglob("*")
        if p.suffix == ".map" or "fontawesome" in p.name or p.name == "searchtools.js"
    ]
    fonts = list((site / "_static" / "fonts").glob("*.woff2"))
    assert 0 < sum(p.stat().st_size for p in fonts) <= 120_000
    assert "SIL OPEN FONT LICENSE" in (site / "_static" / "fonts" / "LICENSE.txt").read_text(encoding="utf-8")


def test_pictures_have_a_size_and_mathematics_its_script(site: Path, parsed: dict[str, Parsed]) -> None:
    for name, page in parsed.items():
        text = (site / name).read_text(encoding="utf-8")
        for tag in re.findall(r"<img\b[^>]*>", text[text.find("<article") : text.find("</article>")]):
            assert "data:image" in tag or re.search(r' width="\d+" height="\d+"', tag), f"{name}: {tag[:200]}"
            assert 'loading="lazy"' in tag, f"{name}: {tag[:200]}"
            assert len(re.search(r'src="([^"]*)"', tag)[1]) < 3000, f"{name}: a picture inside the page"
        has = any("mathjax" in address for address in page.resources)
        assert has == bool(re.search(r'<(?:span|div) class="math ', text)), (
            f"{name}: MathJax {'without' if has else 'missing for'} mathematics"
        )


@needs_browser
def test_nothing_moves_and_no_formula_is_a_stop(visits: dict[str, Visit]) -> None:
    """The API's pages, where most paragraphs begin with a formula, may move a little more than what is read in order."""
    room = {name: 0.2 if name.startswith("book/api/") else 0.1 for name in visits}
    assert not {name: round(v.shift, 3) for name, v in visits.items() if v.shift >= room[name]}
    assert not {name: v.formula_stops for name, v in visits.items() if v.formula_stops}


@needs_browser
def test_lines_have_66_to_78_characters_at_a_desk(visits: dict[str, Visit]) -> None:
    for name, visit in visits.items():
        if re.match(r"book/\d\d_", name) and len(visit.columns) > 3:
            middle = sorted(visit.columns)[len(visit.columns) // 2]
            assert 66 <= middle <= 78, f"{name}: {middle:.0f}"


BUDGET = {"book/index.html": 200_000, "book/01_information.html": 600_000, "book/03_bottleneck.html": 600_000}
BUDGET |= {
    "book/05_forgetting.html": 600_000,
    "book/08_embedding.html": 600_000,
    "book/10_transfer.html": 600_000,
}


@needs_browser
@pytest.mark.parametrize("name", BUDGET)
def test_a_page_is_light(page: Any, address: str, name: str) -> None:
    """What is fetched before anybody scrolls, compressed as a static host does."""
    sizes: dict[str, int] = {}

    def weigh(response: Any) -> None:
        packed = re.search(r"\.(?:png|woff2?|jpe?g)\b", response.url)
        body = response.body()
        sizes[response.url.removeprefix(address)] = len(body) if packed else len(gzip.compress(body))

    page.on("response", weigh)
    open_page(page, f"{address}/{name}")
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    assert sum(sizes.values()) <= BUDGET[name], f"{sum(sizes.values())}: {largest}"


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_there_before_any_script(playwright: Any, address: str, scheme: str) -> None:
    """Without scripts, and with all files of scripts blocked, colours are those of the settled page."""
    browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS, timeout=PATIENCE)
    seen = {}
    for kind in ("settled", "blocked", "without"):
        context = browser.new_context(color_scheme=scheme, java_script_enabled=kind != "without")
        page = context.new_page()
        if kind == "blocked":
            page.route(re.compile(r"\.js(\?|$)"), lambda route: route.abort())
        page.goto(f"{address}/book/index.html", wait_until="load")
        seen[kind] = page.locator(".t2v-card").first.evaluate(
            "e => { const s = getComputedStyle(document.body); return [getComputedStyle(e).fill, s.backgroundColor, s.color]; }"
        )
        if kind == "blocked":
            assert page.evaluate("document.documentElement.dataset.theme") == scheme
    browser.close()
    assert seen["blocked"] == seen["settled"] == seen["without"]
    assert seen["settled"][0] != "rgb(0, 0, 0)"


# --- the design ---


@needs_browser
def test_boxes_are_told_apart_without_colour(plain: Any, site: Path, address: str) -> None:
    """No two kinds share the style of borders, the room at the left, the slant and what stands before the text."""
    kinds = {
        "goals": ".admonition-goals",
        "theorem": ".proof.theorem",
        "definition": ".proof.definition",
        "guess": ".admonition.tip",
    }
    kinds |= {"verdict": ".t2v-verdict", "exercise": ".admonition.exercise"}
    looks: dict[str, str] = {}
    for name in (n for n in page_names(site) if re.match(r"book/\d\d_", n)):
        text = (site / name).read_text(encoding="utf-8")
        wanted = {k: v for k, v in kinds.items() if k not in looks and v.rpartition(".")[2] in text}
        if not wanted:
            continue
        plain.goto(f"{address}/{name}", wait_until="load")
        for kind, selector in wanted.items():
            looks |= {kind: found} if (found := plain.evaluate(LOOK, f"article {selector}")) else {}
        if len(looks) == len(kinds):
            break
    assert set(looks) == set(kinds)
    assert len(set(looks.values())) == len(looks), looks
    bells = plain.evaluate(
        "[...document.querySelectorAll('.admonition-title')].map(e => getComputedStyle(e, '::after').content)"
    )
    assert set(bells) <= {"none"}


LOOK = """s => { const e = document.querySelector(s); if (!e) return null;
  const c = getComputedStyle(e), b = getComputedStyle(e, '::before'), sides = ['Top', 'Left', 'Bottom', 'Right'];
  return sides.map(k => c[`border${k}Style`] + c[`border${k}Width`]).join() + c.paddingLeft + b.content
    + b.width + c.borderRadius; }"""


@needs_browser
def test_headings_and_words_have_their_own_faces(page: Any, address: str) -> None:
    open_page(page, f"{address}/book/03_bottleneck.html")
    page.evaluate("document.fonts.ready")
    loaded = page.evaluate(
        "[...document.fonts].filter(f => f.status === 'loaded').map(f => f.family.replaceAll('\"', ''))"
    )
    assert {"Book Serif", "Book Sans", "Book Title"} <= set(loaded)
    page.set_viewport_size(PHONE)
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('h1')).fontSize)") <= 30


@needs_browser
@pytest.mark.parametrize("name", ["book/index.html", "book/claims.html"])
def test_the_ledger_is_a_picture_also_without_scripts(
    playwright: Any, site: Path, address: str, name: str
) -> None:
    from t2v import claims

    ledger = claims.read(ROOT / "book" / "claims.yml")
    browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS, timeout=PATIENCE)
    page = browser.new_context(viewport=DESK, java_script_enabled=False).new_page()
    page.goto(f"{address}/{name}", wait_until="load")
    tiles = page.locator(".t2v-board .t2v-tile")
    assert tiles.count() == len(ledger)
    page.locator(".t2v-board label[for=t2v-show-fails]").click()
    faint = "e => getComputedStyle(e).opacity < 0.5"
    for tile in tiles.all():
        claim = ledger[tile.inner_text()[:3]]
        assert tile.evaluate(faint) == (claim.verdict != "fails as stated"), claim.id
    page.locator(".t2v-board label[for=t2v-show-all]").click()
    tip = page.locator("#t2v-tip-c07")
    assert not tip.is_visible()
    page.locator("a.t2v-tile[href$='#claim-c07']").focus()
    assert tip.is_visible()
    assert ledger["C07"].claim[:30] in tip.inner_text()
    browser.close()


def test_the_ledgers_headings_name_the_claims(site: Path) -> None:
    text = (site / "book" / "claims.html").read_text(encoding="utf-8")
    headings = re.findall(r"<h3>(.*?)</h3>", text, re.DOTALL)
    assert len(headings) > 30
    assert all(re.match(r"C\d\d · \w.{6,}", html.unescape(re.sub(r"<.*?>", "", h))) for h in headings)


@needs_browser
def test_print_is_dark_on_white_and_cuts_nothing(plain: Any, address: str) -> None:
    plain.emulate_media(media="print", color_scheme="dark")
    plain.set_viewport_size({"width": 643, "height": 900})
    plain.goto(f"{address}/book/03_bottleneck.html", wait_until="load")
    plain.evaluate("document.documentElement.dataset.theme = 'dark'")
    found = plain.evaluate(
        """() => { const grey = c => c.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3;
        const all = [...document.querySelectorAll('article :is(h1, h2, p, li, td, pre, pre span)')];
        const text = all.filter(e => e.checkVisibility()), cut = e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1;
        return {pale: text.filter(e => grey(getComputedStyle(e).color) > 118).map(e => e.className + e.textContent.slice(0, 40)),
          back: getComputedStyle(document.body).backgroundColor,
          cut: [...document.querySelectorAll('article pre')].filter(cut).length}; }"""
    )
    assert found == {"pale": [], "back": "rgb(255, 255, 255)", "cut": 0}


# --- found and shared ---


def test_each_page_describes_itself(site: Path, parsed: dict[str, Parsed]) -> None:
    seen: dict[str, str] = {}
    for name, page in parsed.items():
        text = page.meta.get("description", "")
        assert 70 <= len(text) <= 160, f"{name}: {len(text)} {text!r}"
        assert text not in seen, f"{name} and {seen.get(text)}: {text!r}"
        seen[text] = name
        if name != "404.html":
            assert page.meta["og:description"] == text
            assert page.meta["og:title"]
            card = (site / name).parent / page.meta["og:image"]
            assert card.read_bytes()[16:24] == (1200).to_bytes(4, "big") + (630).to_bytes(4, "big")
    assert "search.html" in (site / "404.html").read_text(encoding="utf-8")
    assert "Allow: /" in (site / "robots.txt").read_text(encoding="utf-8")


def test_an_address_brings_canonical_links_and_a_sitemap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        import share_pages
        from sphinx.errors import ConfigError
    finally:
        sys.path.pop(0)
    monkeypatch.setenv("BOOK_URL", "https://someone.example/book")
    config = SimpleNamespace(html_baseurl="", root_doc="book/index")
    share_pages.use_address(None, config)
    assert config.html_baseurl == "https://someone.example/book/"
    app = SimpleNamespace(
        config=config,
        outdir=tmp_path,
        env=SimpleNamespace(found_docs={"book/a"}),
        builder=SimpleNamespace(format="html"),
    )
    share_pages.write_files(app, None)
    assert "<loc>https://someone.example/book/book/a.html</loc>" in (tmp_path / "sitemap.xml").read_text()
    assert "Sitemap: https://someone.example/book/sitemap.xml" in (tmp_path / "robots.txt").read_text()
    assert 'action="/book/search.html"' in (tmp_path / "404.html").read_text()
    context: dict[str, Any] = {"title": "A"}
    share_pages.add_tags(app, "book/a", "page.html", context, None)
    assert 'content="https://someone.example/book/_static/card.png"' in context["metatags"]
    monkeypatch.setenv("BOOK_URL", "someone.example")
    with pytest.raises(ConfigError, match="accepted: https://HOST/PATH/"):
        share_pages.base_url()


@needs_browser
@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("a[href^='bibliography.html#']", "citation"),
        ("a[href^='#equation-']", "mjx"),
        ("a[href^='#fig-']", "img"),
    ],
)
def test_citations_equations_and_figures_show_themselves(
    page: Any, address: str, link: str, shown: str
) -> None:
    open_page(page, f"{address}/book/03_bottleneck.html")
    card, first = page.locator("#t2v-definition"), page.locator(f"article {link}:not(.headerlink)").first
    first.scroll_into_view_if_needed()
    first.hover()
    card.wait_for()
    inside = card.inner_html()
    assert shown in inside
    assert not re.search(r'\bid="', inside)
    page.keyboard.press("Escape")
    card.wait_for(state="hidden")


# --- the glossary's terms in the chapters ---


class Terms(HTMLParser):
    """The addresses of a page's glossary terms, and the terms whose definitions it brings along."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.definitions: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect links and definitions."""
        found = {name: value or "" for name, value in attrs}
        if tag == "a" and "t2v-term" in found.get("class", "").split():
            self.links.append(found["href"])
        if "data-term" in found:
            self.definitions.append(found["data-term"])


def test_terms_lead_to_the_glossary_once(site: Path, parsed: dict[str, Parsed]) -> None:
    chapters = [n for n in page_names(site) if re.match(r"book/\d\d_", n)]
    if not chapters:
        pytest.skip("no chapter is built yet")
    for name in chapters:
        terms = Terms(site / name)
        anchors = [link.removeprefix("glossary.html#") for link in terms.links]
        assert 0 < len(anchors) <= 25, name
        assert len(set(anchors)) == len(anchors), f"{name} links a term twice: {sorted(anchors)}"
        assert set(anchors) <= parsed["book/glossary.html"].ids, name
        assert sorted(terms.definitions) == sorted(anchors), name


def search_index(site: Path) -> list[list[str]]:
    text = (site / "search_index.js").read_text(encoding="utf-8")
    return json.loads(text[text.index("=") + 1 : text.rindex(";")])


def test_definitions_are_not_searched(site: Path) -> None:
    """What a card shows is found on the glossary's page only: its words are not indexed with the chapters."""
    # "predecessor" stands in the definition of a Markov chain, which chapters 1 and 3 link to.
    pages = {
        address.partition("#")[0]
        for address, *texts in search_index(site)
        if "predecessor" in " ".join(texts)
    }
    assert "book/glossary.html" in pages
    assert "book/03_bottleneck.html" not in pages


def test_the_index_leads_to_sections(site: Path, parsed: dict[str, Parsed]) -> None:
    """Every address exists, sections have their own, and what is kept is prose."""
    rows = search_index(site)
    assert len({address for address, *_ in rows}) == len(rows) > 300
    for address, title, top, text in rows:
        name, fragment = urldefrag(address)
        assert not fragment or fragment in parsed[name].ids, address
        assert title, address
        assert top, address
        assert not re.search(r"Show code cell|Contents$", text), address
    assert "book/03_bottleneck.html#why-clusters-appear-a-lid-on-a-landscape" in {row[0] for row in rows}


@needs_browser
def test_a_term_shows_its_definition(page: Any, site: Path, address: str) -> None:
    names = [n for n in pages_with(site, "#term-Fisher-information") if re.match(r"book/\d\d_", n)]
    if not names:
        pytest.skip("no chapter links this term yet")
    open_page(page, f"{address}/{names[0]}")
    page.evaluate(axe() or "")
    card, term = page.locator("#t2v-definition"), page.locator("a.t2v-term[href$='#term-Fisher-information']")
    for width, mode, reach in (
        (1280, "light", term.hover),
        (1280, "dark", term.focus),
        (390, "light", term.focus),
    ):
        page.set_viewport_size({"width": width, "height": 844})
        page.evaluate("m => { document.documentElement.dataset.theme = m; }", mode)
        assert not card.is_visible()
        assert term.get_attribute("aria-describedby") is None
        reach()
        card.locator("mjx-container").wait_for()
        assert "How strongly the model’s prediction reacts" in card.inner_text()
        assert term.get_attribute("aria-describedby") == card.get_attribute("id")
        box = card.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if axe() is not None:
            card_and_terms = RUN_AXE.replace("[[include]]", "[['#t2v-definition'], ['a.t2v-term']]")
            assert not page.evaluate(card_and_terms, RULES[mode])
        page.keyboard.press("Escape")
        assert not card.is_visible()
        assert term.get_attribute("aria-describedby") is None
        term.evaluate("e => e.blur()")
        page.mouse.move(1, 1)
    term.hover()
    card.wait_for(state="visible")
    card.hover()
    page.wait_for_timeout(600)
    assert card.is_visible(), "the pointer may rest on the definition"
    page.mouse.move(1, 1)
    card.wait_for(state="hidden")


@needs_browser
def test_a_tap_follows_the_term(playwright: Any, site: Path, address: str) -> None:
    names = [n for n in pages_with(site, 'class="t2v-definitions"') if re.match(r"book/\d\d_", n)]
    if not names:
        pytest.skip("no chapter links a term yet")
    browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS, timeout=PATIENCE)
    page = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True).new_page()
    page.set_default_timeout(PATIENCE)
    open_page(page, f"{address}/{names[0]}")
    page.locator("a.t2v-term").first.tap()
    page.wait_for_url("**/glossary.html#term-*")
    browser.close()
