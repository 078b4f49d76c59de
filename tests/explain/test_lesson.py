"""The page as a lesson, in a real browser: two sentences, the drawing, the tour, the switches, time, the plane, the phone."""

import re
from dataclasses import replace

import numpy as np
import pytest
from explained_games import SHAPE, batch, content, dcgan, decoded, mlp, opening, warmed

import minigan as mg
from minigan.explain import game, page, step
from minigan.explain.breaking import Breaking
from minigan.explain.page import walk_gan, walk_vae
from minigan.training import Config

PHONE = 375
RING = Config(data="ring", backend="textbook", hidden=(6,), latent_dim=3, batch_size=8)


def lesson_page(config, steps):
    """The opened step and its page, as the command makes them."""
    opened = game.small_game(config, steps)
    found = step.open_step(opened.game, opened.real, opened.noise, opened.labels)
    return found, page.make_page(found, opened.about, breaking=Breaking(), history=opened.history)


@pytest.fixture(scope="module")
def ring():
    return lesson_page(RING, 24)


def number_of(text, **wanted):
    return next(k for k, s in enumerate(content(text)["stations"]) if all(s.get(n) == v for n, v in wanted.items()))


def numbers(words):
    return [float(v) for v in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", words.replace("−", "-"))]


# -- two sentences, and the drawing ------------------------------------------------------------------------------------------


def test_two_sentences_come_first(ring, show):
    tab = show(ring[1])
    first = tab.locator("main p").nth(0)
    assert first.inner_text() == walk_gan.GANWalk.intro[0]
    assert first.is_visible()
    assert all(
        len(re.findall(r"[.!?](?: |$)", sentence)) == 1
        for walk in (walk_gan.GANWalk, walk_vae.VAEWalk)
        for sentence in walk.intro
    )
    tab.keyboard.press("ArrowRight")
    assert not first.is_visible(), "further on they are folded away"
    tab.locator("#intro summary").click()
    tab.keyboard.press("ArrowRight")
    assert first.is_visible(), "unless the reader wants them"


@pytest.mark.parametrize("width", [1280, pytest.param(PHONE, marks=pytest.mark.slow)])
def test_the_drawing_leads_to_every_station_and_marks_the_one_on_show(ring, show, width):
    text = ring[1]
    tab, stations = show(text, width), content(text)["stations"]
    tab.locator("#map").evaluate("(box) => { lesson.touched.add('map'); box.open = true; }")
    reached = set()
    for number, station in enumerate(stations):
        tab.evaluate(f"go({number})")
        here = tab.locator("#drawing [aria-current]")
        assert here.count() == 1
        lane = "backward" if station["kind"] == "backward" else "forward"
        assert here.get_attribute("data-lane") == lane
        reached |= {int(v) for v in tab.locator("#drawing .cell").evaluate_all("(cells) => cells.map((c) => c.dataset.to)")}
    assert reached == set(range(len(stations)))
    names = tab.locator("#drawing text").all_text_contents()
    assert [any(name.startswith(start) for name in names) for start in ("G, the generator", "D")] == [True, True]
    target = number_of(text, act="G", kind="backward", net="G", index=1)
    tab.locator(f'#drawing .cell[data-to="{target}"]').click()
    assert tab.inner_text("#station h2") == stations[target]["title"]
    assert tab.evaluate("document.querySelector('#drawing svg').getBoundingClientRect().right") <= width


def test_the_drawing_has_room_for_its_labels_and_joins_losses_and_moves(ring, show):
    """Of a wide page in one row; in rows there is no room for the lines, and nothing is said of them."""
    for width, joints in ((1280, ["backward", "update", "backward", "update"]), (390, [])):
        tab = show(ring[1], width)
        assert tab.locator("#drawing .joint").evaluate_all("(found) => found.map((one) => one.dataset.to)") == joints
        assert ("lines lead from a loss" in tab.inner_text("#seam")) == bool(joints)
        spare = tab.locator("#drawing .cell").evaluate_all(
            "(cells) => cells.map((c) => c.querySelector('rect').getBBox().width - c.querySelector('text').getBBox().width)"
        )
        assert min(spare) > (8 if joints else 3)
    tab = show(ring[1])
    svg = tab.locator("#drawing svg")
    drawn = svg.evaluate("(node) => { const box = node.getBBox(); return [box.x + box.width, box.y + box.height]; }")
    room = [float(svg.get_attribute(name)) for name in ("width", "height")]
    count = tab.locator('#drawing .cell[data-lane="forward"]').count()
    assert min(0.9 * room[0], 72 * count) < drawn[0] <= room[0]
    assert drawn[1] <= room[1]


def test_the_drawing_answers_to_keys(ring, show):
    tab, text = show(ring[1]), ring[1]
    tab.evaluate(f"go({number_of(text, act='D', kind='forward', net='G', index=0)})")
    tab.locator("#drawing [aria-current]").focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    assert tab.evaluate("document.activeElement.dataset.lane") == "backward"
    tab.keyboard.press("Enter")
    title = content(text)["stations"][number_of(text, kind="backward", net="G", index=1)]["title"]
    assert tab.inner_text("#station h2") == title
    assert tab.evaluate("document.activeElement.getAttribute('aria-current')") == "step", "the focus stays in the drawing"


@pytest.mark.slow
def test_networks_of_any_depth_are_drawn(show):
    g = mg.Sequential(
        [layer for _ in range(30) for layer in (mg.Dense(3), mg.ReLU())] + [mg.Dense(2)], (3,), "textbook", "float64"
    )
    d = mg.Sequential([mg.Dense(3), mg.Tanh(), mg.Dense(1)], (2,), "textbook", "float64")
    rng = np.random.default_rng(0)
    text = page.make_page(step.open_step(mg.GAN(g, d), rng.standard_normal((4, 2)), rng.standard_normal((4, 3))), "deep")
    tab = show(text, PHONE)
    count = sum(len(part["cells"]) for part in content(text)["overview"]["parts"])
    assert tab.locator('#drawing .cell[data-lane="forward"]').count() == count
    boxes = tab.locator("#drawing .cell").evaluate_all(
        "(cells) => cells.map((cell) => cell.getBoundingClientRect()).map(({ left, top, right }) => [left, top, right])"
    )
    assert max(right for *_, right in boxes) <= PHONE
    assert len({(round(left), round(top)) for left, top, _ in boxes}) == len(boxes), "no two lie upon each other"


# -- the tour ---------------------------------------------------------------------------------------------------------------


def test_the_tour_by_keyboard(ring, show):
    """Predict, reveal, go on: without a mouse, through all questions."""
    tab, stops = show(ring[1]), content(ring[1])["tour"]
    assert 8 <= len(stops) <= 10
    assert [stop["at"] for stop in stops] == sorted({stop["at"] for stop in stops}), "one question at a station, in their order"
    tab.locator("#start-tour").focus()
    tab.keyboard.press("Enter")
    for number, stop in enumerate(stops):
        assert tab.inner_text("#where").startswith(f"{stop['at'] + 1} of")
        assert tab.locator("#reveal").is_disabled(), "first a prediction"
        assert not tab.locator("#figures").is_visible(), "nor is the answer on show"
        tab.keyboard.press("Space")  # the focus is on the first choice
        for _ in range(stop["right"] if number else 0):
            tab.keyboard.press("ArrowDown")
        tab.locator("#reveal").press("Enter")
        said = tab.inner_text("#answer")
        assert said.startswith("As you said." if number or not stop["right"] else f"Not so: {stop['choices'][stop['right']]}")
        assert said.endswith(stop["answer"].replace("L_D", "LD").replace("L_G", "LG"))
        assert tab.locator("#station dl").is_visible()
        if number + 1 < len(stops):
            tab.keyboard.press("Enter")  # the focus is on the next question
    right = len(stops) - bool(stops[0]["right"])
    assert tab.inner_text("#next-question") == f"The end: {right} of {len(stops)} predicted rightly"
    tab.keyboard.press("Enter")
    assert not tab.locator("#tour").is_visible()


def answers(text):
    return {content(text)["stations"][stop["at"]]["label"]: stop for stop in content(text)["tour"]}


def test_the_tours_answers_are_the_steps(ring):
    """Each beside the arrays of the page."""
    found, text = ring
    of, wish = answers(text), -found.judged.input_grad[:4]
    place = np.unravel_index(np.abs(wish).argmax(), wish.shape)
    assert of["x̃"]["right"] == (0 if found.real.s.mean() > found.fake.s.mean() else 2)
    assert of["L_D"]["right"] == (2 if found.loss_d > 2 * np.log(2) else 0)
    assert of["L_G"]["right"] == (2 if found.judged.s.mean() > found.fake.s.mean() else 0)
    assert of["∂/∂x̃"]["choices"] == (["to the left", "to the right"] if place[1] == 0 else ["down", "up"])
    assert of["∂/∂x̃"]["right"] == int(wish[place] > 0)
    assert f"= {wish[place]:.3g}".replace("-", "−") in of["∂/∂x̃"]["answer"]
    assert of["z"]["right"] == 2, "3 numbers for 2"


def test_the_tours_answers_turn_with_the_step(ring):
    """The same step with D's scores turned round has the other answers."""
    found, text = ring
    for record in (found.real, found.fake, found.judged):
        record.outputs[-1] *= -1
    try:
        turned = answers(page.make_page(found, "turned"))
    finally:
        for record in (found.real, found.fake, found.judged):
            record.outputs[-1] *= -1
    own = answers(text)
    assert turned["x̃"]["right"] == 2 - own["x̃"]["right"]
    assert turned["L_G"]["right"] == 2 - own["L_G"]["right"]


# -- switches ---------------------------------------------------------------------------------------------------------------


def test_a_switch_shows_what_the_check_says(ring, show):
    tab, text = show(ring[1]), ring[1]
    number = number_of(text, act="D", kind="backward", net="D", index=2)
    tab.evaluate(f"go({number})")
    assert tab.inner_text("#checks").count("✗") == 0
    for one in content(text)["stations"][number]["switches"]:
        switch = tab.get_by_role("switch", name=one["name"])
        switch.press("Enter")
        assert switch.get_attribute("aria-checked") == "true"
        assert tab.inner_text("#switches [data-verdict]") == one["verdict"]
        assert [node.strip() for node in tab.locator("#switches .said").all_inner_texts()] == one["said"]
        assert tab.inner_text("#switches").count("✗") >= 2, "in the step, and in the check"
        assert f"samples of the batch (N = {one['samples']}" in tab.inner_text("#switches")
        switch.press("Enter")
        assert tab.locator("#switches [data-verdict]").count() == 0
    tab.get_by_role("switch").first.click()
    tab.evaluate(f"go({number + 1})")
    assert tab.locator("#switches [aria-checked=true]").count() == 0, "another station begins unbroken"


# -- time -------------------------------------------------------------------------------------------------------------------


def test_the_time_slider_shows_each_moment(ring, show):
    tab, text = show(ring[1]), ring[1]
    time, arrays = content(text)["time"], decoded(text)
    tab.locator("#open-time").press("Enter")
    for k in (0, 5, len(time["moments"]) - 1):
        moment = time["moments"][k]
        tab.locator("#time input").fill(str(k))
        shown = tab.inner_text("#time")
        assert f"after {moment['step']} steps" in shown
        values = dict(map(tuple, moment["numbers"]))
        assert numbers(re.search(r"LD: (\S+)", shown)[1])[0] == pytest.approx(values["L_D"], rel=1e-3)
        mean = (1 / (1 + np.exp(-arrays[moment["scores"]["generated"]].astype(float)))).mean()
        assert numbers(re.search(r"generated samples, mean (\S+)", shown)[1])[0] == pytest.approx(mean, rel=1e-2)
        assert tab.locator("#time figure").nth(3).locator("circle").count() == 2 * 8
    assert tab.locator("#time figure").count() == 4


@pytest.mark.slow
def test_the_time_slider_over_a_runs_pictures(show, tmp_path):
    from minigan import cli

    run, out = tmp_path / "run", tmp_path / "page.html"
    options = (
        "--model mlp --image-size 8 --steps 6 --hidden 4 --latent-dim 2 --batch-size 8 --log-every 1 --sample-every 2 --quiet"
    )
    assert cli.main(["train", *options.split(), "--backend", "textbook", "--out", str(run)]) == 0
    assert cli.main(["explain", str(run), "--batch-size", "4", "--quiet", "--out", str(out)]) == 0
    tab = show(out.read_text(encoding="utf-8"))
    tab.locator("#open-time").click()
    pictures = []
    for k in range(4):
        tab.locator("#time input").fill(str(k))
        assert f"after {2 * k} steps" in tab.inner_text("#time")
        pictures.append(tab.locator("#time img").get_attribute("src"))
        assert tab.locator("#time img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 50
    assert len(set(pictures)) == 4
    assert "nothing here was computed anew" in tab.inner_text("#time")


# -- the plane, alive --------------------------------------------------------------------------------------------------------


def points_page(objective, layers):
    rng = np.random.default_rng(0)
    d = mg.Sequential([*layers, mg.Dense(1)], (2,), "textbook", "float64")
    g = mg.Sequential([mg.Dense(4), mg.ReLU(), mg.Dense(2)], (3,), "textbook", "float64")
    d.flat_params[...] += 0.3 * rng.standard_normal(d.num_params)
    gan = mg.GAN(g, d, objective=objective, lr=0.01)
    return page.make_page(step.open_step(gan, rng.standard_normal((5, 2)), rng.standard_normal((5, 3))), "points")


LANDSCAPES = """() => stations.filter((s) => s.plane?.live).map((s) => {
    const now = planeNow(s.plane);
    return [now.heights, now.arrows];
})"""


def off(text, found):
    """How far the page's own heights and arrows are from those of the step, relative."""
    arrays, worst = decoded(text), []
    stations = [s for s in content(text)["stations"] if "live" in s.get("plane", {})]
    for station, (heights, arrows) in zip(stations, found, strict=True):
        pairs = [(heights, arrays[station["plane"]["landscape"]])]
        pairs += [(arrows, arrays[station["plane"]["arrows"]])] if arrows else []
        worst += [np.abs(np.ravel(a) - np.ravel(b)).max() / np.abs(b).max() for a, b in pairs]
    assert len(worst) == 3
    return max(worst)


@pytest.mark.parametrize(
    ("objective", "layers"),
    [
        (mg.losses.NonSaturating(), [mg.Dense(6), mg.ReLU(), mg.Dense(5), mg.LeakyReLU(0.3)]),
        pytest.param(mg.losses.Saturating(), [mg.Dense(6), mg.Tanh()], marks=pytest.mark.slow),
        pytest.param(mg.losses.LeastSquares(), [mg.Dense(6), mg.Sigmoid(), mg.Flatten()], marks=pytest.mark.slow),
        pytest.param(mg.losses.Hinge(), [mg.Dense(6, bias=False), mg.Softplus()], marks=pytest.mark.slow),
        pytest.param(mg.losses.Wasserstein(), [], marks=pytest.mark.slow),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_the_page_runs_d_as_minigan_does(show, objective, layers):
    text = points_page(objective, layers)
    assert off(text, show(text).evaluate(LANDSCAPES)) < 1e-5


@pytest.mark.slow
def test_a_wrong_formula_in_the_page_would_be_seen(show):
    text = points_page(mg.losses.LeastSquares(), [mg.Dense(6), mg.Tanh()])
    for right, wrong in (("LeastSquares: (s) => s - 1", "LeastSquares: (s) => s"), ("(y) => 1 - y * y", "(y) => 1 - y")):
        assert right in text
        assert off(text, show(text.replace(right, wrong)).evaluate(LANDSCAPES)) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("case", ["batch norm", "relativistic"])
def test_what_the_page_cannot_run_is_shown_as_it_was(show, case):
    layers = [mg.Dense(4), mg.BatchNorm()] if case == "batch norm" else [mg.Dense(4)]
    text = points_page(mg.losses.Relativistic() if case == "relativistic" else mg.losses.NonSaturating(), layers)
    assert content(text)["live"] is None
    tab = show(text)
    tab.evaluate(f"go({number_of(text, label='∂/∂x̃')})")
    assert tab.locator("#plane canvas").count() == 1
    assert tab.locator("#plane input, #plane button").count() == 0


def test_the_plane_follows_the_time_and_the_points(ring, show):
    found, text = ring
    tab, number = show(text), number_of(text, label="∂/∂x̃")
    tab.evaluate(f"go({number})")
    plane, past = content(text)["stations"][number]["plane"], content(text)["live"]["moments"][4]
    tab.locator("#plane input").fill("4")
    assert f"after {past['step']} steps" in tab.inner_text("#plane")
    arrays, net = decoded(text), found.judged.net.clone()
    for layer, ids in zip(net.layers, past["params"], strict=True):
        for name, array in zip(("weight", "bias"), ids, strict=False):
            layer.params[name][...] = arrays[array]
    x = arrays[past["points"]].astype(float)
    s, caches = net.forward(x, train=True)
    wish = -net.backward(-1 / (1 + np.exp(s)) / len(x), caches)
    now = tab.evaluate(f"planeNow(stations[{number}].plane).arrows")
    np.testing.assert_allclose(now, wish, rtol=1e-4, atol=1e-6 * np.abs(wish).max())

    canvas = tab.locator("#plane canvas")
    canvas.evaluate("(node) => node.scrollIntoView({ block: 'center' })")
    box, side = canvas.bounding_box(), canvas.evaluate("(c) => c.width - EDGE")
    left, right, bottom, top = plane["box"]
    across, down = (x[0, 0] - left) / (right - left) * side, side - (x[0, 1] - bottom) / (top - bottom) * side
    start = (box["x"] + 34 + across, box["y"] + down)
    tab.mouse.move(*start)
    tab.mouse.down()
    tab.mouse.move(start[0] + 30, start[1] - 20)
    tab.mouse.up()
    said = tab.inner_text("#point")
    n, px, py, score, belief, *gradient = numbers(re.sub(r"_G|∂", "", said))
    moved = np.array([[px, py]])
    s, caches = net.forward(moved)
    dx = net.backward(-1 / (1 + np.exp(s)) / len(x), caches)
    assert px - x[int(n), 0] == pytest.approx(30 / side * (right - left), abs=0.03 * (right - left))
    assert score == pytest.approx(float(s[0, 0]), abs=2e-3 * (1 + abs(float(s[0, 0]))))
    assert belief == pytest.approx(1 / (1 + np.exp(-score)), rel=1e-2)
    assert gradient == pytest.approx((-dx[0]).tolist(), rel=0.05, abs=1e-4)
    canvas.press("Enter")
    canvas.press("ArrowRight")
    assert numbers(tab.inner_text("#point"))[0] == (n + 1) % len(x)
    assert tab.inner_text("#station h2").startswith("From D into G"), "the arrow keys were the plane's"
    tab.get_by_role("button", name="Put the points back").click()
    assert tab.inner_text("#point") == ""


# -- on a phone ---------------------------------------------------------------------------------------------------------------

CRAMPED = """() => {
    const found = new Set();
    for (const node of document.querySelectorAll("body *")) {
        if (!node.getClientRects().length) continue;
        const overflow = getComputedStyle(node).overflowX;
        if (["auto", "scroll"].includes(overflow) && node.scrollWidth > node.clientWidth + 1)
            found.add(`${state.at} scrolls: ${node.tagName} ${node.className} ${node.textContent.slice(0, 30)}`);
        if (!node.matches("button, select, summary, label, a, input:not([type=radio]), [role=button], canvas")) continue;
        const box = node.getBoundingClientRect();
        if (Math.min(box.width, box.height) < 39.5)
            found.add(`${state.at} is small: ${node.tagName} ${node.id} ${box.width} × ${box.height}`);
    }
    if (document.documentElement.scrollWidth > innerWidth) found.add(`${state.at}: the page scrolls`);
    return [...found];
}"""


def cramped(tab):
    """What of the page scrolls sideways or is too small for a finger, over all stations with everything opened."""
    found = []
    tab.evaluate("for (const id of ['intro', 'map']) { lesson.touched.add(id); byId(id).open = true; }")
    tab.locator("#open-time").click() if tab.locator("#open-time").count() else None
    for number in range(tab.evaluate("stations.length")):
        tab.evaluate(f"go({number})")
        for switch in tab.get_by_role("switch").all()[:1]:
            switch.click()
        tab.evaluate("byId('explorer').hidden || pick(stations[state.at].explorer.result, [0, 0, 0, 0])")
        found += tab.evaluate(CRAMPED)
    for number in range(tab.evaluate("page.tour.length")):
        tab.evaluate(f"askQuestion({number})")
        tab.locator("#choice-0").check()
        tab.locator("#reveal").click()
        found += tab.evaluate(CRAMPED)
    return found


def test_a_phone_shows_all_without_scrolling_sideways(ring, show):
    tab = show(ring[1], PHONE, "dark")
    assert cramped(tab) == []
    tab.select_option("#choose", "3")
    assert tab.inner_text("#where").startswith("4 of")
    tab.add_style_tag(content="#seam { white-space: nowrap; overflow-x: auto; }")
    tab.add_style_tag(content="#back { min-width: 0 !important; width: 20px; padding: 0 !important; }")
    assert {line.split(" ")[1] for line in tab.evaluate(CRAMPED)} >= {"scrolls:", "is"}, "and the test would see it"


@pytest.mark.slow
def test_a_tap_beside_a_sample_finds_the_nearest(ring, show):
    tab, text = show(ring[1], PHONE), ring[1]
    tab.evaluate(f"go({number_of(text, label='L_D')})")
    chart = tab.locator("#chart svg").first
    places = chart.locator("circle").evaluate_all(
        "(dots) => dots.map((dot) => [Number(dot.dataset.n), dot.getBoundingClientRect().x + 4.5])"
    )
    box = chart.bounding_box()
    n, x = max(places, key=lambda place: place[1])
    chart.click(position={"x": x - box["x"] + 6, "y": 30})
    assert tab.locator("#chart output").first.inner_text().startswith(f"n={n}:")


def other_games():
    yield "dcgan", step.open_step(*opening(warmed(dcgan())))
    yield "r1", step.open_step(*opening(warmed(mlp(penalties=[mg.losses.R1(1.0)]))))
    yield "conditional", _conditional()
    for likelihood, sizes in (("bernoulli", {}), (mg.losses.Gaussian(0.3), {})):
        vae = mg.VAE(
            *mg.models.vae_mlp(SHAPE, 2, hidden=4, backend="textbook", dtype="float64", **sizes), likelihood=likelihood
        )
        rng = np.random.default_rng(0)
        yield "vae", step.open_step(vae, rng.uniform(-1, 1, (5, *SHAPE)), rng.standard_normal((5, 2)))


def _conditional():
    pair = mg.models.mlp(SHAPE, latent_dim=3, hidden=4, backend="textbook", dtype="float64", classes=3)
    gan = mg.GAN(*pair, classes=3)
    real, _ = batch(gan)
    z = np.random.default_rng(0).standard_normal((len(real), 3))
    return step.open_step(gan, real, z, gan.one_hot(len(real)))


@pytest.mark.slow
def test_the_lesson_of_every_kind_of_game(show):
    """The tour's stations are its own, the drawing reaches all stations, and a phone shows all of it."""
    for name, opened in other_games():
        text = page.make_page(opened, name, breaking=Breaking())
        held, tab = content(text), show(text, PHONE)
        assert 8 <= len(held["tour"]) <= 10, name
        assert all(0 <= stop["right"] < len(stop["choices"]) for stop in held["tour"])
        labels = {held["stations"][stop["at"]]["kind"] for stop in held["tour"]}
        assert ("penalty" in labels) == (name == "r1")
        reached = {
            k for part in held["overview"]["parts"] for cell in part["cells"] for lane in cell["lanes"].values() for k in lane
        }
        assert reached == set(range(len(held["stations"])))
        nets = [part["net"] for part in held["overview"]["parts"] if part["net"]]
        assert nets == (["E", "D"] if name == "vae" else ["G", "D"])
        assert cramped(tab) == [], name


@pytest.mark.slow
def test_the_pages_of_the_commands_own_games(show):
    for options in (
        {"game": "vae"},
        {"game": "vae", "data": "ring"},
        {"classes": True},
        {"penalty": ("r1=1",), "model": "mlp"},
    ):
        _, text = lesson_page(replace(Config(backend="textbook"), **options), 5)
        assert len(text.encode()) < 5e6
        assert 8 <= len(content(text)["tour"]) <= 10
        tab = show(text)
        tab.locator("#open-time").click()
        assert tab.locator("#time figure").count() >= 2
