"""The page of minigan explain in a real browser: it loads without a complaint, and everything on it answers."""

import functools
import http.server
import re
import threading

import numpy as np
import pytest
from explained_games import BATCH, content, convolutions, dcgan, decoded, opening, warmed

import minigan as mg
from minigan.explain import page, step, subject
from minigan.explain.worked import EXAMPLES

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CONV_FORWARD = "D, layer 2: Conv2d"
CONV_BACK = "Back through D, layer 2: Conv2d"
TRANSPOSED_FORWARD = "G, layer 4: ConvTranspose2d"
TRANSPOSED_BACK = "Back through G, layer 4: ConvTranspose2d"


@pytest.fixture(scope="module")
def text():
    return page.make_page(step.open_step(*opening(warmed(dcgan()))), "a small game")


@pytest.fixture(scope="module")
def address(text, tmp_path_factory):
    """The page behind a server of its own, which notes everything else that is asked for."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.html").write_text(text, encoding="utf-8")
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *parts):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/page.html"
    server.shutdown()
    assert set(asked) == {"/page.html"}


@pytest.fixture
def open_page(browser, address):
    """open_page(viewport, scheme) -> a page; whatever it complained of fails the test at the end."""
    complaints, contexts = [], []

    def open_one(viewport=DESKTOP, scheme="light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(address)
        return tab

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def heading(tab):
    return tab.inner_text("#station h2")


def travel(tab, text, title):
    number = next(k for k, s in enumerate(content(text)["stations"]) if s["title"].startswith(title))
    tab.evaluate(f"go({number})")
    assert heading(tab).startswith(title)


def too_wide(tab):
    """Boxes of formulas and tables that hold more than they have room for."""
    return tab.evaluate(
        """() => [...document.querySelectorAll(".formulas, .wide")].filter((box) => box.scrollWidth > box.clientWidth + 1)
            .map((box) => box.textContent.slice(0, 60))"""
    )


def value(readout):
    return float(readout.rpartition("= ")[2].replace("−", "-"))


@pytest.mark.parametrize(
    ("viewport", "scheme"), [(DESKTOP, "light"), pytest.param(PHONE, "dark", marks=pytest.mark.slow)], ids=["desktop", "phone"]
)
def test_every_station_shows_and_fits(open_page, text, viewport, scheme):
    tab = open_page(viewport, scheme)
    for number, station in enumerate(content(text)["stations"]):
        assert heading(tab) == station["title"].replace("L_D", "LD").replace("L_G", "LG")
        assert tab.locator("math").count() == len(station.get("formulas", []))
        assert tab.locator("figure[data-role] canvas").count() == len(station.get("figures", []))
        assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert too_wide(tab) == []
        assert tab.inner_text("#where") == f"{number + 1} of {len(content(text)['stations'])}"
        tab.keyboard.press("ArrowRight")


@pytest.mark.slow
def test_dark_and_light_are_different_and_readable(open_page):
    for scheme, dark in (("light", False), ("dark", True)):
        tab = open_page(scheme=scheme)
        paper, ink = (
            [int(v) for v in re.findall(r"\d+", tab.evaluate(f"getComputedStyle(document.body).{name}"))[:3]]
            for name in ("backgroundColor", "color")
        )
        assert (sum(paper) < sum(ink)) == dark
        assert abs(sum(paper) - sum(ink)) > 400


def test_the_slider_and_the_keys_move_along(open_page, text):
    tab = open_page()
    titles = [s["title"] for s in content(text)["stations"]]
    tab.locator("#slider").fill("5")
    assert heading(tab) == titles[5]
    tab.locator("#slider").press("ArrowRight")
    assert heading(tab) == titles[6]
    tab.click("#back")
    assert heading(tab) == titles[5]
    tab.locator("body").press("End")
    assert heading(tab) == titles[-1]
    tab.locator("nav button").nth(2).click()
    assert heading(tab) == titles[2]
    assert tab.url.endswith(f"#{content(text)['stations'][2]['name']}")
    tab.reload()
    assert heading(tab) == titles[2]


def test_a_heat_map_answers_to_hover_and_keys(open_page, text):
    tab = open_page()
    travel(tab, text, CONV_FORWARD)
    station = next(s for s in content(text)["stations"] if s["title"].startswith(CONV_FORWARD))
    figure = next(f for f in station["figures"] if f["role"] == "y")
    array = decoded(text)[figure["arrays"]["real"]]
    shown = tab.locator('figure[data-role="y"]')
    size = tab.evaluate("drawn.find((m) => m.figure.role === 'y').size")
    shown.locator("canvas").hover(position={"x": 1.5 * size, "y": 0.5 * size})  # the first map's second column
    assert shown.locator("output").inner_text().startswith("[n=0, h=0, w=1, c=0] = ")
    assert value(shown.locator("output").inner_text()) == pytest.approx(array[0, 0, 1, 0], rel=1e-5)
    shown.locator("canvas").press("ArrowDown")
    assert value(shown.locator("output").inner_text()) == pytest.approx(array[0, 1, 1, 0], rel=1e-5)
    assert heading(tab).startswith(CONV_FORWARD), "the arrow keys were the map's"
    tab.get_by_role("button", name="generated samples").click()
    tab.get_by_role("button", name="3", exact=True).click()
    other = decoded(text)[figure["arrays"]["generated"]]
    shown.locator("canvas").hover(position={"x": 1.5 * size, "y": 0.5 * size})
    assert value(shown.locator("output").inner_text()) == pytest.approx(other[3, 0, 1, 0], rel=1e-5)


@pytest.mark.parametrize(
    ("title", "role"),
    [
        (CONV_FORWARD, "y"),
        *(pytest.param(*place, marks=pytest.mark.slow) for place in ((CONV_BACK, "dx"), (TRANSPOSED_FORWARD, "y"))),
        (TRANSPOSED_BACK, "dx"),
    ],
)
def test_the_sum_behind_a_value_is_found_by_the_page(open_page, text, title, role):
    """Every value of the first sample: the page adds up the products itself, and must come to what the step recorded."""
    tab = open_page()
    travel(tab, text, title)
    station = next(s for s in content(text)["stations"] if s["title"].startswith(title))
    figure = next(f for f in station["figures"] if f["role"] == role)
    array = decoded(text)[next(iter(figure["arrays"].values()))][0]
    found = tab.evaluate(
        """([role, shape]) => {
            const sums = [];
            for (let h = 0; h < shape[0]; h++) for (let w = 0; w < shape[1]; w++) for (let c = 0; c < shape[2]; c++) {
                pick(role, [0, h, w, c]);
                sums.push(Number(document.querySelector("[data-sum]").dataset.sum));
            }
            return sums;
        }""",
        [role, list(array.shape)],
    )
    assert found == pytest.approx(array.ravel().tolist(), rel=1e-4, abs=1e-6 * float(abs(array).max()))


@pytest.mark.slow
def test_picking_an_input_marks_the_outputs_it_reaches(open_page, text):
    """Brute force: which outputs of a 4×4, stride 2, padding 1 convolution read this pixel."""
    tab = open_page()
    travel(tab, text, CONV_FORWARD)
    tab.evaluate("pick('x', [0, 1, 2, 0])")
    marked = tab.evaluate("drawn.find((m) => m.figure.role === 'y').marked.filter((w) => w[3] === 0).map((w) => [w[1], w[2]])")
    reached = [[o, q] for o in range(2) for q in range(2) if 0 <= 1 - (2 * o - 1) < 4 and 0 <= 2 - (2 * q - 1) < 4]
    assert sorted(marked) == reached
    assert "goes into" in tab.inner_text("#explorer")


@pytest.mark.slow
def test_a_click_picks(open_page, text):
    tab = open_page(PHONE)
    travel(tab, text, TRANSPOSED_FORWARD)
    assert "Pick a value of y" in tab.inner_text("#explorer")
    tab.locator('figure[data-role="y"] canvas').click(position={"x": 20, "y": 20})
    assert "the step recorded" in tab.inner_text("#explorer")


def test_nudging_a_weight(open_page, text):
    tab = open_page()
    travel(tab, text, CONV_BACK)
    station = next(s for s in content(text)["stations"] if s["title"].startswith(CONV_BACK))
    nudge = station["nudges"][1]
    tab.locator("#nudge button").nth(1).click()
    first = float(re.search(r"([\d.]+) of the predicted", tab.inner_text("#nudge [data-nudge]"))[1])
    assert first == pytest.approx(1, abs=0.1), "it begins where the derivative tells all"
    tab.locator("#nudge input").fill("12")
    words = tab.inner_text("#nudge [data-nudge]").replace("−", "-")
    epsilon, predicted, actual = (float(v) for v in re.findall(r"(?<== )-?[\d.e-]*\d", words))
    assert epsilon == pytest.approx(nudge["steps"][12], rel=1e-3)
    assert predicted == pytest.approx(nudge["gradient"] * nudge["steps"][12], rel=1e-3)
    assert actual == pytest.approx(nudge["losses"][12] - nudge["losses"][8], rel=1e-3)


@pytest.mark.slow
def test_the_nudge_can_be_dragged(open_page, text):
    tab = open_page()
    travel(tab, text, CONV_BACK)
    slider = tab.locator("#nudge input")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle, seen = box["y"] + box["height"] / 2, []
    tab.mouse.move(box["x"] + box["width"] / 2, middle)
    tab.mouse.down()
    for part in (0.6, 0.9, 0.2):
        tab.mouse.move(box["x"] + part * box["width"], middle)
        seen.append(float(tab.locator("[data-nudge]").get_attribute("data-nudge")))
    tab.mouse.up()
    assert seen[2] < 0 < seen[0] < seen[1]


@pytest.mark.slow
def test_a_sample_on_the_loss_tells_its_numbers(open_page, text):
    tab = open_page()
    travel(tab, text, "The discriminator's loss")
    station = next(s for s in content(text)["stations"] if s["label"] == "L_D")
    logits = decoded(text)[station["curves"][0]["s"]]
    dots = tab.locator("#chart figure").nth(0).locator("circle")
    assert dots.count() == 2 * len(logits)
    tab.locator("#chart svg").nth(0).press("ArrowRight")
    said = tab.locator("#chart figure").nth(0).locator("output").inner_text()
    assert float(re.search(r"s = (\S+),", said)[1].replace("−", "-")) == pytest.approx(float(logits[0]), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_red_is_positive_and_blue_is_negative(open_page, text, scheme):
    tab = open_page(scheme=scheme)
    travel(tab, text, CONV_FORWARD)
    station = next(s for s in content(text)["stations"] if s["title"].startswith(CONV_FORWARD))
    array = decoded(text)[next(f for f in station["figures"] if f["role"] == "y")["arrays"]["real"]][0]
    ends = [[0, *(int(i) for i in np.unravel_index(k, array.shape))] for k in (array.argmin(), array.argmax())]
    assert array.min() < 0 < array.max()
    low, high = tab.evaluate(
        """(ends) => {
            const map = drawn.find((m) => m.figure.role === "y");
            const { width, height } = map.canvas;
            const pixels = map.canvas.getContext("2d").getImageData(0, 0, width, height).data;
            return ends.map((where) => {
                const [r, c] = map.grid.cell(where);
                const at = 4 * ((map.top(r) + Math.floor(map.size / 2)) * width + map.left(c) + Math.floor(map.size / 2));
                return [pixels[at], pixels[at + 2]];
            });
        }""",
        ends,
    )
    assert low[0] < low[1], "blue"
    assert high[0] > high[1], "red"


@pytest.mark.slow
def test_a_button_keeps_the_focus(open_page, text):
    tab = open_page()
    travel(tab, text, CONV_BACK)
    tab.get_by_role("button", name="generated samples").press("Enter")
    assert tab.evaluate("document.activeElement.textContent") == "generated samples"
    tab.locator("#nudge button").nth(1).press("Enter")
    assert tab.evaluate("document.activeElement === document.querySelectorAll('#nudge button')[1]")


# -- other games than the one above -----------------------------------------------------------------------------------------


def opened_page(shape, model, **sizes):
    gan = mg.GAN(*model(shape, latent_dim=3, backend="textbook", dtype="float64", **sizes), lr=0.01)
    rng = np.random.default_rng(0)
    real, z = rng.uniform(-1, 1, (BATCH, *shape)), rng.standard_normal((BATCH, 3))
    return page.make_page(step.open_step(gan, real, z), "another game")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_points_are_drawn_in_their_plane(show, width):
    text = opened_page((2,), mg.models.mlp, hidden=4)
    tab = show(text, width)
    for number, station in enumerate(content(text)["stations"]):
        tab.evaluate(f"go({number})")
        assert tab.locator("#plane canvas").count() * tab.locator("#plane").is_visible() == ("plane" in station)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    number, station = next((k, s) for k, s in enumerate(content(text)["stations"]) if s["label"] == "∂/∂x̃")
    tab.evaluate(f"go({number})")
    counts = tab.evaluate(
        """() => {
            const canvas = document.querySelector("#plane canvas");
            const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            const wanted = ["--ink", "--mark", "--forward"].map((name) => rgb(color(name)));
            const found = wanted.map(() => 0);
            for (let k = 0; k < pixels.length; k += 4)
                wanted.forEach((c, i) => { if (c.every((v, j) => v === pixels[k + j])) found[i]++; });
            return found;
        }"""
    )
    arrows, generated, real = counts
    assert arrows > 20
    assert generated > 20
    assert real == 0, "G's step looks at its own samples alone"
    size = float(np.linalg.norm(decoded(text)[station["plane"]["arrows"]], axis=1).max())
    assert float(re.search(r"of size (\S+);", tab.inner_text("#plane"))[1]) == pytest.approx(size, rel=1e-2)


def test_rgb_is_drawn_in_colour(show):
    text = opened_page((8, 8, 3), mg.models.dcgan, width=2)
    tab = show(text)
    stations = content(text)["stations"]
    number = next(k for k, s in enumerate(stations) if s["title"].startswith("D, layer 0"))
    tab.evaluate(f"go({number})")
    array = decoded(text)[next(f for f in stations[number]["figures"] if f["role"] == "x")["arrays"]["real"]][0]
    pixels = tab.evaluate(
        """() => {
            const map = drawn.find((m) => m.figure.role === "x");
            const { width, height } = map.canvas;
            const data = map.canvas.getContext("2d").getImageData(0, 0, width, height).data;
            const middle = Math.floor(map.size / 2);
            const at = (r, c) => {
                const k = 4 * ((map.top(r) + middle) * width + map.left(c) + middle);
                return [data[k], data[k + 1], data[k + 2]];
            };
            return [at(2, 3), ...[1, 2, 3].map((tile) => at(2, 8 * tile + 3))];
        }"""
    )
    wanted = np.round(127.5 * (array[2, 3] + 1))
    np.testing.assert_allclose(pixels[0], wanted, atol=1)
    for channel in range(3):
        np.testing.assert_allclose(pixels[1 + channel], [wanted[channel]] * 3, atol=1)
    size = tab.evaluate("drawn.find((m) => m.figure.role === 'x').size")
    shown = tab.locator('figure[data-role="x"]')
    shown.locator("canvas").hover(position={"x": 3.5 * size, "y": 2.5 * size})
    place, numbers = shown.locator("output").inner_text().split(" = ")
    assert place == "[n=0, h=2, w=3]"
    found = [float(v) for v in numbers.replace("−", "-").strip("()").split(", ")]
    assert found == pytest.approx(array[2, 3].tolist(), rel=1e-2)
    shown.locator("canvas").click(position={"x": 3.5 * size, "y": 2.5 * size})
    assert "Pick a value of y" in tab.inner_text("#explorer"), "no channel is meant"
    tab.evaluate("pick('y', [0, 1, 1, 0])")
    assert "the step recorded" in tab.inner_text("#explorer")


@pytest.mark.slow
def test_formulas_do_not_collide_without_a_mathematics_font(open_page, text):
    """Sums and what stands under them, roots and fractions and what they hold, in a font without a table for mathematics."""
    tab = open_page()
    tab.add_style_tag(content='math { font-family: "DejaVu Serif", serif !important; }')
    gaps = []
    for number in range(len(content(text)["stations"])):
        tab.evaluate(f"go({number})")
        gaps += tab.evaluate(
            """() => {
                const box = (node) => {
                    const range = document.createRange();
                    range.selectNodeContents(node);
                    return range.getBoundingClientRect();
                };
                const found = [];
                for (const node of document.querySelectorAll("munder"))
                    found.push(["under", parseFloat(getComputedStyle(node.children[1]).paddingTop)]);
                for (const node of document.querySelectorAll("mfrac"))
                    found.push(["fraction", box(node.children[1]).top - box(node.children[0]).bottom]);
                for (const node of document.querySelectorAll("msub"))
                    found.push(["sub", box(node.children[1]).bottom - box(node.children[0]).bottom]);
                return found;
            }"""
        )
    assert {kind for kind, _ in gaps} == {"under", "fraction", "sub"}
    assert min(gap for kind, gap in gaps if kind == "under") > 3
    assert min(gap for kind, gap in gaps if kind == "fraction") > -2
    assert min(gap for kind, gap in gaps if kind == "sub") > 0


# -- a VAE ----------------------------------------------------------------------------------------------------------------


def vae_page(shape, latent_dim, likelihood, model=mg.models.vae_mlp, **sizes):
    vae = mg.VAE(*model(shape, latent_dim, backend="textbook", dtype="float64", **sizes), likelihood=likelihood, kl_weight=0.5)
    rng = np.random.default_rng(0)
    return page.make_page(
        step.open_step(vae, rng.uniform(-1, 1, (BATCH, *shape)), rng.standard_normal((BATCH, latent_dim))), "a VAE"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "model", "sizes"), [(1280, mg.models.vae_mlp, {"hidden": 4}), (390, mg.models.vae_conv, {"width": 2})]
)
def test_every_station_of_a_vae_shows_and_fits(show, width, model, sizes):
    text = vae_page((8, 8, 1), 3, "bernoulli", model, **sizes)
    tab = show(text, width)
    groups = tab.locator("nav .group > span").all_inner_texts()
    assert groups == [act["aim"] for act in content(text)["acts"]]
    for number, station in enumerate(content(text)["stations"]):
        assert heading(tab) == station["title"]
        assert tab.locator("math").count() == len(station.get("formulas", []))
        assert tab.locator("figure[data-role] canvas").count() == len(station.get("figures", []))
        assert tab.locator("#checks").is_visible() == bool(station.get("checks"))
        assert tab.locator("#nudge").is_visible() == bool(station.get("nudges"))
        of_sizes = station["act"] == "back" and station["kind"] == "backward"
        assert tab.locator("#sizes").is_visible() == of_sizes
        assert tab.inner_text("#station .kind").startswith("the VAE's step · ")
        assert tab.locator("#controls").inner_text().count("pass of") == 0
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.inner_text("#where") == f"{number + 1} of {len(content(text)['stations'])}"
        tab.keyboard.press("ArrowRight")


def test_what_a_vaes_page_answers(show):
    """A heat map to a hover, a nudge to its slider, a convolution to a pick."""
    text = vae_page((8, 8, 1), 3, "bernoulli", mg.models.vae_conv, width=2)
    tab, arrays = show(text), decoded(text)
    travel(tab, text, "A code is drawn")
    figure = next(f for s in content(text)["stations"] for f in s.get("figures", []) if f["role"] == "z")
    tab.locator('figure[data-role="z"] canvas').press("ArrowRight")
    said = tab.locator('figure[data-role="z"] output').inner_text()
    assert said.startswith("[n=0, k=0] = ")
    assert value(said) == pytest.approx(arrays[figure["arrays"][""]][0, 0], rel=1e-5)
    travel(tab, text, "Back through D, layer 7")
    tab.locator("#nudge button").nth(1).click()
    words = tab.inner_text("#nudge")
    assert "What does L do when one weight moves by ε?" in words
    assert float(re.search(r"([\d.]+) of the predicted", words)[1]) == pytest.approx(1, abs=0.1)
    travel(tab, text, "E, layer 2: Conv2d")
    tab.evaluate("pick('y', [0, 0, 0, 0])")
    shown = tab.inner_text("#explorer")
    assert re.search(r"= (\S+); the step recorded (\S+)\.", shown).groups()[0] == re.search(r"recorded (\S+)\.$", shown)[1]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_points_and_codes_of_a_vae_are_drawn_in_their_planes(show, width):
    text = vae_page((2,), 2, mg.losses.Gaussian(0.3), hidden=4)
    tab = show(text, width)
    for number, station in enumerate(content(text)["stations"]):
        tab.evaluate(f"go({number})")
        assert tab.locator("#plane").is_visible() == ("plane" in station)
        if "plane" in station:
            assert all(name in tab.inner_text("#plane") for name in station["plane"]["names"].values())
            assert "generated" not in tab.inner_text("#plane")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


# -- links, paper, one subject, two steps -----------------------------------------------------------------------------------


def test_an_address_leads_to_its_station(open_page, text, address):
    """By name, through the slider and a reload; an unknown name is told, and opens the start."""
    tab, stations = open_page(), content(text)["stations"]
    station = next(s for s in stations if s["name"] == "d-backward-2-conv2d")
    tab.goto("about:blank")
    tab.goto(f"{address}#d-backward-2-conv2d")
    assert heading(tab) == station["title"]
    tab.click("#on")
    assert tab.url.endswith("#d-backward-1-leakyrelu")
    tab.reload()
    assert heading(tab).startswith("Back through D, layer 1: LeakyReLU")
    tab.evaluate("location.hash = 'd-backward-9-sigmoid'")
    tab.wait_for_function("document.getElementById('told').textContent.includes('d-backward-9-sigmoid')")
    assert heading(tab) == stations[0]["title"]
    tab.click("#on")
    assert tab.inner_text("#told") == ""
    tab.set_viewport_size(PHONE)
    tab.goto("about:blank")
    tab.goto(f"{address}#nonsense")
    assert "“nonsense”" in tab.inner_text("#told")
    assert heading(tab) == stations[0]["title"]
    told = tab.locator("#told").bounding_box()
    assert told["y"] + told["height"] < PHONE["height"], "it is seen without scrolling"


def test_the_link_is_copied_or_shown(open_page):
    tab = open_page()
    tab.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.copied = text; }}})"
    )
    tab.click("#copy")
    tab.wait_for_function("window.copied === location.href")
    tab.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('denied'); }; }")
    tab.click("#copy")
    tab.wait_for_selector("#told input")
    assert tab.input_value("#told input") == tab.url


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_on_paper_stand_sheets_and_nothing_else(open_page, text, scheme):
    """Every station once, in light colours, without controls, within the paper; and the screen comes back as it was."""
    tab = open_page(scheme=scheme)
    travel(tab, text, CONV_BACK)
    before = tab.inner_text("main")
    for all_of_them in (False, True):
        found = tab.evaluate(
            """(all) => {
                printing.all = all;
                layOut();
                const sheets = [...document.querySelectorAll(".sheet")];
                const boxes = [...document.querySelectorAll("#sheets canvas, #sheets svg, #sheets math, #sheets table")];
                const result = {
                    titles: sheets.map((sheet) => sheet.querySelector("h2").textContent),
                    controls: document.querySelectorAll("#sheets button, #sheets input, #sheets output").length,
                    others: [...document.body.children].filter((n) => n.id !== "sheets" && n.checkVisibility()).length,
                    paper: getComputedStyle(document.body).backgroundColor,
                    out: boxes.filter((n) => n.getBoundingClientRect().right
                        > document.getElementById("sheets").getBoundingClientRect().right + 1).length,
                    painted: sheets.every((s) => [...s.querySelectorAll("canvas")].every((canvas) => canvas.getContext("2d")
                        .getImageData(0, 0, canvas.width, canvas.height).data.some((v) => v))),
                };
                putBack();
                return result;
            }""",
            all_of_them,
        )
        titles = [s["title"].replace("L_D", "LD").replace("L_G", "LG") for s in content(text)["stations"]]
        assert found["titles"] == (titles if all_of_them else [heading(tab)])
        assert (found["controls"], found["others"], found["out"]) == (0, 0, 0)
        assert found["paper"] == "rgb(255, 255, 255)"
        assert found["painted"]
        assert tab.inner_text("main") == before


@pytest.mark.slow
def test_a_pdf_has_a_sheet_for_each_station(open_page, text, tmp_path):
    tab = open_page()
    tab.evaluate("printing.all = true")
    tab.pdf(path=tmp_path / "all.pdf", format="A4")
    data = (tmp_path / "all.pdf").read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", data)) >= len(content(text)["stations"])
    assert tab.locator("#sheets").count() == 0


@pytest.mark.slow
def test_two_steps_on_paper(show, tmp_path):
    """What differs, then a sheet of each with its maps; nothing else, and no frame; and the screen comes back."""
    games = {"A": convolutions(normalised=True), "B": convolutions(normalised=False)}
    tab = show(
        page.make_pair([(step.open_step(*opening(warmed(game))), name, True) for name, game in games.items()]), 1280, "dark"
    )
    tab.wait_for_function("frames.filter(Boolean).length === 2")
    one = tab.evaluate("pairs.findIndex((pair) => !pair.stations.includes(null) && pair.name.startsWith('d-backward'))")
    tab.evaluate(f"go({one})")
    before = tab.inner_text("main")
    assert tab.evaluate("document.getElementById('frame-0').clientHeight - frames[0].document.body.offsetHeight") < 3
    tab.evaluate("layOut()")
    tab.emulate_media(media="print")
    assert tab.locator("#sheets > .sheet").count() == 3
    assert tab.locator("#sheets h2").all_inner_texts() == tab.evaluate(f"pairs[{one}].titles")
    assert tab.locator("#sheets").locator("button, input, select, output, iframe").count() == 0
    assert not tab.locator("main").is_visible()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    painted = """(found) => found.every((canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
        .data.some((v) => v))"""
    assert tab.locator("#sheets canvas").count() > 1
    assert tab.locator("#sheets canvas").evaluate_all(painted)
    tab.evaluate("putBack()")
    tab.emulate_media(media="screen")
    assert tab.locator("#sheets").count() == 0
    assert tab.inner_text("main") == before
    tab.pdf(path=tmp_path / "two.pdf", format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "two.pdf").read_bytes())) >= 3
    assert tab.locator("#sheets").count() == 0


@pytest.mark.slow
def test_a_subject_on_paper(show):
    """Formulas as wide as the paper, and none of what only a screen can do; afterwards they are as wide as the window."""
    tab = show(subject.make_page("BatchNorm")[0])
    wide = tab.evaluate("document.querySelectorAll('.lines').length")
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate("document.querySelectorAll('.lines').length") > wide
    assert max(tab.locator(".formulas math").evaluate_all("(all) => all.map((m) => m.getBoundingClientRect().right)")) < 980
    assert tab.evaluate("document.querySelector('main').clientWidth") <= 660
    assert not tab.locator("#answer").is_visible()
    assert not tab.locator("#invitation").is_visible()
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate("document.querySelectorAll('.lines').length") == wide


def numbers_of(tab):
    return tab.evaluate("({ arrays, gradients, jacobian })")


@pytest.mark.parametrize(
    "name", ["Conv2d", *(pytest.param(name, marks=pytest.mark.slow) for name in EXAMPLES if name != "Conv2d")]
)
def test_the_page_of_a_subject_answers(show, name):
    """Every gradient that can be picked is the sum that the page makes of it, at both widths."""
    text, agrees = subject.make_page(name)
    assert agrees
    for width in (1280, 390):
        tab = show(text, width)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator("#derivation p, #derivation math").count()
        known = numbers_of(tab)
        for gradient, source in known["gradients"].items():
            if source not in known["jacobian"]:
                continue
            for at, value in enumerate(known["arrays"][gradient]["values"]):
                tab.evaluate("([array, at]) => pick(array, at)", [gradient, at])
                assert float(tab.locator("[data-sum]").get_attribute("data-sum")) == pytest.approx(value, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["Dense", "Conv2d", "ConvTranspose2d", "BatchNorm", "LayerNorm", "Adam", "R1", "NonSaturating"]
)
def test_a_subjects_formulas_fit_a_phone(show, name):
    """In lines and large enough to be read, with everything that they hold; a wider window has them whole again."""
    tab = show(subject.make_page(name)[0], 375)
    assert too_wide(tab) == []
    sizes = tab.evaluate(
        "[...document.querySelectorAll('.formulas math')].map((m) => parseFloat(getComputedStyle(m).fontSize))"
    )
    assert min(sizes) > 10
    letters = "[...document.querySelectorAll('.formulas math')].map((m) => m.textContent)"
    broken = tab.evaluate(letters)
    tab.set_viewport_size({"width": 1280, "height": 900})
    tab.wait_for_function("!document.querySelector('.lines')")
    assert tab.evaluate(letters) == broken
    assert too_wide(tab) == []


def test_a_number_of_a_subjects_page_is_picked_by_click_and_by_key(show):
    tab = show(subject.make_page("Dense")[0])
    tab.locator('td[data-array="y"][data-at="1"]').click()
    assert tab.locator("td.made").count() == 2 + 2 + 1, "of x and of W what is not multiplied by 0, and the bias"
    tab.locator('td[data-array="dW"][data-at="2"]').press("Enter")
    assert "minigan's backward pass made" in tab.inner_text("#answer")
    tab.locator("#move").fill("20")
    actual = float(tab.locator("[data-actual]").get_attribute("data-actual"))
    known = numbers_of(tab)
    assert actual == pytest.approx(0.5 * known["arrays"]["dW"]["values"][2]), "L is linear in a weight"


def test_two_steps_move_together(show):
    """The same station of both, a layer that one has alone, and the choice of a sample."""
    games = {"A": convolutions(normalised=True), "B": convolutions(normalised=False)}
    text = page.make_pair([(step.open_step(*opening(warmed(game))), name, True) for name, game in games.items()])
    tab = show(text)
    tab.wait_for_function("frames.filter(Boolean).length === 2")
    pairs = tab.evaluate("pairs")
    one = next(k for k, pair in enumerate(pairs) if None not in pair["stations"] and pair["name"].startswith("d-backward"))
    tab.evaluate(f"go({one})")
    titles = [tab.frame_locator(f"#frame-{side}").locator("#station h2").inner_text() for side in (0, 1)]
    assert titles == pairs[one]["titles"]
    tab.frame_locator("#frame-0").get_by_role("button", name="generated samples").click()
    pressed = tab.frame_locator("#frame-1").get_by_role("button", name="generated samples").get_attribute("aria-pressed")
    assert pressed == "true"
    alone = next(k for k, pair in enumerate(pairs) if None in pair["stations"])
    tab.evaluate(f"go({alone})")
    side = pairs[alone]["stations"].index(None)
    assert tab.locator(f"#frame-{side}").is_hidden()
    assert "has no such station" in tab.inner_text("#differences")
    assert tab.url.endswith(f"#{pairs[alone]['name']}")
