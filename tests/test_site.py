"""The site: docstrings are shown as they stand, dead links are found, and the built pages hold up in a real browser."""

import functools
import http.server
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import minigan as mg
from minigan.errors import MiniganError

pytest.importorskip("jupytext", reason="jupytext is not installed: pip install '.[docs]'")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / ".site"))

import built_links  # noqa: E402
import copied_pages  # noqa: E402
from docstring_markup import as_rst, typeset  # noqa: E402

VIEWS = {"desktop": ({"width": 1280, "height": 900}, "light"), "phone": ({"width": 375, "height": 800}, "dark")}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dw_ijcf = Σ_nop dy_nopf", "dw<sub>ijcf</sub> = Σ<sub>nop</sub> dy<sub>nopf</sub>"),
        ("x̄_n(o·s+i·d)(p·s+j·d)c w", "x̄<sub>n(o·s+i·d)(p·s+j·d)c</sub> w"),
        ("f_K(x) and o_{1+y}", "f<sub>K</sub>(x) and o<sub>1+y</sub>"),
        ("e^x_i / e^{−s}", "e<sup>x<sub>i</sub></sup> / e<sup>−s</sup>"),
        ("weight_grad(ẋ, dy) < x_hat", "weight_grad(ẋ, dy) &lt; x_hat"),
        ("`a_b` b_c", "<code>a_b</code> b<sub>c</sub>"),
    ],
)
def test_a_derivation_has_its_indices(text, shown):
    assert typeset(text) == shown


def test_a_docstring_loses_nothing():
    """Prose is escaped, the parts begin paragraphs, papers are links, and columns stay columns."""
    lines = as_rst("y = |x| * w_i_\nBackward: so\n    a:  b   c\n        d\nSource: X (arXiv:1406.2661)")
    assert lines[0] == r"y = \|x\| \* w\ :sub:`i`\ \_"
    assert "**Backward**\\ : so" in lines
    assert lines[lines.index("**Backward**\\ : so") - 1] == ""
    assert "<td>a:</td><td>b d</td><td>c</td>" in "".join(lines)
    assert "`arXiv:1406.2661 <https://arxiv.org/abs/1406.2661>`__" in "".join(lines)


def test_dead_links_are_found(tmp_path):
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>', encoding="utf-8")
    good = '<a href="b.html#there">x</a><a href="#own">x</a><p id="own"><a href="https://a.example">x</a>'
    dead = ["b.html#gone", "c.html", "#gone"]
    loaded = '<script src="https://cdn.example/x.js"></script>'
    (tmp_path / "a.html").write_text(good, encoding="utf-8")
    assert (built_links.check(tmp_path).inside, built_links.check(tmp_path).dead) == (2, [])
    for one in dead:
        (tmp_path / "a.html").write_text(f'{good}<a href="{one}">x</a>', encoding="utf-8")
        assert built_links.check(tmp_path).dead == [f"a.html: {one}"]
    (tmp_path / "a.html").write_text(good + loaded, encoding="utf-8")
    assert built_links.check(tmp_path).dead == ["a.html: <script> loads https://cdn.example/x.js"]


def test_links_of_a_text_lead_to_pages(tmp_path):
    stage = copied_pages.Stage(tmp_path)
    turned = stage.turned(
        "[a](examples/README.md#x) [b](examples/10_dcgan.py) `[c](d)` [e](https://f) [g](LICENSE)", "README.md"
    )
    assert turned == "[a](examples/index.md#x) [b](examples/10_dcgan.md) `[c](d)` [e](https://f) [g](source/LICENSE.md)"
    assert (tmp_path / "source" / "LICENSE.md").exists()
    assert stage.turned("[a](course.py)", "examples/README.md") == "[a](../source/examples/course_py.md)"
    with pytest.raises(MiniganError, match=r"README\.md links to gone\.py, which is not there"):
        stage.turned("[a](gone.py)", "README.md")


def test_a_folder_that_is_no_site_is_left_alone(tmp_path):
    pytest.importorskip("nbclient", reason="nbclient is not installed: pip install '.[docs]'")
    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    command = [sys.executable, str(ROOT / ".site" / "build.py"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == (
        f"build.py: error: OUT is {tmp_path}, which holds something else than a site of minigan: choose another folder\n"
    )
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "x"


# -- the built site, in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for needed in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: pip install '.[docs]'")
    out = tmp_path_factory.mktemp("built") / "site"
    command = [sys.executable, str(ROOT / ".site" / "build.py"), str(out), "--quick"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def address(site):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *parts):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def left_behind(request):
    """Whether the tab went on to the next page before the answer came; a file that is missing answers with a status."""
    return request.failure == "net::ERR_ABORTED"


@pytest.fixture
def tab_of(browser, address):
    """tab_of(view) -> a tab; what it complains of, or asks of another place than the site, fails the test at the end."""
    complaints, contexts = [], []

    def open_one(view):
        viewport, scheme = VIEWS[view]
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("requestfailed", lambda request: None if left_behind(request) else complaints.append(request.url))
        tab.on("response", lambda got: complaints.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        tab.on("request", lambda asked: None if asked.url.startswith((address, "data:")) else complaints.append(asked.url))
        return tab

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.slow
def test_all_public_names_have_their_entry(site):
    """In the inventory that other documentation links by; each layer, loss and metric included."""
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, uri: uri)
    known = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    wanted = {f"minigan.{name}" for name in mg.__all__ if callable(getattr(mg, name))}
    wanted |= {f"minigan.losses.{name}" for name in mg.losses.__all__ if callable(getattr(mg.losses, name))}
    wanted |= {f"minigan.metrics.{name}" for name in mg.metrics.__all__ if callable(getattr(mg.metrics, name))}
    wanted |= {f"minigan.models.{name}" for name in mg.models.__all__ if callable(getattr(mg.models, name))}
    assert wanted - known == set()
    assert len(wanted) > 80


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_no_page_scrolls_sideways_and_formulas_show(tab_of, site, address, view):
    tab, wide, formulas = tab_of(view), [], 0
    pages = [path for path in sorted(site.rglob("*.html")) if not path.name.startswith("step_of")]
    for path in pages:
        tab.goto(f"{address}/{path.relative_to(site)}")
        if tab.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wide.append(str(path.relative_to(site)))
        sizes = tab.evaluate("[...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().height)")
        assert all(height > 8 for height in sizes), path
        formulas += len(sizes)
    assert wide == []
    assert len(pages) > 100
    assert formulas > 150


def luminance(colour):
    """Relative luminance of a colour of CSS (WCAG 2.2)."""
    parts = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_text_and_formulas_stand_out_from_the_page(tab_of, address, view):
    """A contrast of 4.5 at least, light and dark."""
    tab = tab_of(view)
    tab.goto(f"{address}/reference/layers/Conv2d.html")
    paper = luminance(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.2) == (VIEWS[view][1] == "dark")
    for place in ("article p", "math", ".derivation td", ".highlight pre"):
        ink = luminance(tab.evaluate(f"getComputedStyle(document.querySelector('{place}')).color"))
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 4.5, place


BROKEN_WORDS = """() => [...document.querySelectorAll("article h1")].flatMap(title => {
  const texts = document.createTreeWalker(title, NodeFilter.SHOW_TEXT), found = [];
  while (texts.nextNode())
    for (const word of texts.currentNode.data.matchAll(/[^\\s-]+/g)) {
      const range = document.createRange();
      range.setStart(texts.currentNode, word.index);
      range.setEnd(texts.currentNode, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) found.push(word[0]);
    }
  return found;
})"""


@pytest.mark.slow
def test_no_word_of_a_title_is_broken_on_a_phone(tab_of, site, address):
    tab, broken = tab_of("phone"), {}
    for path in (site / "index.html", *sorted(site.glob("*/index.html")), *sorted(site.glob("reference/*/*.html"))):
        tab.goto(f"{address}/{path.relative_to(site)}")
        broken[path.stem] = tab.evaluate(BROKEN_WORDS)
    assert len(broken) > 40
    assert {page: words for page, words in broken.items() if words} == {}


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_search_finds_a_layer(tab_of, address, view):
    tab = tab_of(view)
    tab.goto(f"{address}/search.html?q=SpectralNorm")
    tab.wait_for_selector("#search-results li a")
    assert "SpectralNorm" in tab.inner_text("#search-results")
    tab.click("#search-results li a >> nth=0")
    assert "SpectralNorm" in tab.inner_text("article")
