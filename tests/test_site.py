"""The built site in a real browser: it loads without network, reads well on a phone, and is accessible.

The site is built from the committed outputs (``make html``) unless ``_build/html`` is newer than its sources;
set BOOK_SITE to the folder of a built site to test that one as it is. Every page is visited once at a desk's
width and a phone's, then checked by axe in light and in dark; the tests then look at what was found.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
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
        self.resources: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what one tag refers to."""
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[key] for key in ("id", "name") if key in found}
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
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 120_000  # milliseconds: a machine that runs other tests beside this one may be slow


def launch(playwright: Any) -> Any:
    """Start a browser and return a context in it; close the context's browser when done."""
    browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS, timeout=PATIENCE)
    context = browser.new_context(viewport=DESK, color_scheme="light")
    context.set_default_timeout(PATIENCE)
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
IMAGES = """() => [...document.querySelectorAll('article img, article svg[role=img]')].map(e => ({
  alt: e.tagName === 'IMG' ? e.getAttribute('alt') : (e.querySelector('title') || {}).textContent,
  loaded: e.tagName !== 'IMG' || e.hidden || e.naturalWidth > 0,
  source: (e.getAttribute('src') || 'svg').slice(0, 60)}))"""
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


def measure(page: Any, visit: Visit) -> None:
    """Write down how a page's images, equations and tables look at a desk, and how wide it is on a phone."""
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
    assert page.locator("#search-results li").count() > 2
    assert "fisher" in page.locator("#search-results").inner_text().lower()


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
        "[...document.querySelectorAll('.cell_output img')].map(e => getComputedStyle(e).backgroundColor)"
    )
    assert set(colours) <= {"rgb(255, 255, 255)"}


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


def test_definitions_are_not_searched(site: Path) -> None:
    """What a card shows is found on the glossary's page only: its words are not indexed with the chapters."""
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert "t2v-definitions" not in index
    pages = json.loads(index[index.index("{") : index.rindex("}") + 1])
    # "predecessor" stands in the definition of a Markov chain, which chapters 1 and 3 link to.
    found = pages["terms"]["predecessor"]
    names = [pages["docnames"][i] for i in ([found] if isinstance(found, int) else found)]
    assert "book/glossary" in names
    assert "book/03_bottleneck" not in names


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
