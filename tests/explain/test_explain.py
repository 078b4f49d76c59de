"""minigan explain: the opened step is GAN.step's own, its page holds that step's numbers, and both tell of a wrong gradient."""

import copy
import itertools
import re

import numpy as np
import pytest
from explained_games import SHAPE, batch, content, dcgan, decoded, mlp, opening, warmed, with_dropout

import minigan as mg
from minigan import cli
from minigan.checks.gradients import layer_table
from minigan.explain import game, page, step
from minigan.explain.formulas import FORMULAS, formulas_of, mathml
from minigan.losses import discriminator_loss, generator_loss
from minigan.training import Config, checkpoint


def twin(gan):
    """Another game in the same state."""
    other = copy.copy(gan)
    other.generator, other.discriminator = gan.generator.clone(), gan.discriminator.clone()
    other.optimizer_g, other.optimizer_d = (type(o)(o.schedule, o.betas) for o in (gan.optimizer_g, gan.optimizer_d))
    for name, net in (("optimizer_g", other.generator), ("optimizer_d", other.discriminator)):
        getattr(other, name).attach(net)
        getattr(other, name).load_state_dict(getattr(gan, name).state_dict())
    return other


GAMES = [
    pytest.param(dcgan, {}, id="dcgan"),
    pytest.param(dcgan, {"smoothing": 0.1, "saturating": True}, id="dcgan-smoothed-saturating"),
    pytest.param(mlp, {}, id="mlp"),
    pytest.param(with_dropout, {}, id="dropout"),
]


# -- the step --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "options"), GAMES)
def test_the_opened_step_is_the_games_own(backend, make, options):
    gan = warmed(make(backend, **options))
    real, z = batch(gan)
    other = twin(gan)
    opened = step.open_step(gan, real, z)
    stats = other.step(real, z)
    to_numpy = gan.backend.to_numpy
    for net in ("generator", "discriminator"):
        mine, theirs = getattr(gan, net), getattr(other, net)
        np.testing.assert_allclose(to_numpy(mine.flat_params), to_numpy(theirs.flat_params), rtol=1e-9, atol=1e-12)
        assert mine.random_state == theirs.random_state
    assert opened.loss_d == pytest.approx(float(to_numpy(stats["loss_d"])), rel=1e-9)
    assert opened.loss_g == pytest.approx(float(to_numpy(stats["loss_g"])), rel=1e-9)


@pytest.mark.parametrize(("make", "options"), GAMES)
def test_every_derivative_agrees_with_its_difference(make, options):
    gan = warmed(make(**options))
    ticks = []
    opened = step.open_step(gan, *batch(gan), tick=lambda: ticks.append(1))
    assert len(ticks) == step.count_ticks(gan)
    found = [c for c in all_comparisons(opened) if c.numeric is not None]
    assert len(found) > 60
    assert max(c.error for c in found) < page.TOLERANCE


def all_comparisons(opened):
    for record in (opened.generator, opened.real, opened.fake, opened.judged):
        for found in record.checks:
            yield from found
    for update in (opened.update_d, opened.update_g):
        for found in update.checks.values():
            yield from found


@pytest.mark.parametrize("layer", [mg.BatchNorm, mg.Tanh, mg.Conv2d], ids=lambda layer: layer.__name__)
def test_a_wrong_gradient_is_seen(layer, monkeypatch):
    right = layer.backward

    def wrong(self, dy, cache, **switches):
        dx = right(self, dy, cache, **switches)
        return None if dx is None else 1.01 * dx

    monkeypatch.setattr(layer, "backward", wrong)
    gan = warmed(dcgan())
    opened = step.open_step(gan, *batch(gan))
    assert any(c.error > 1e-3 for c in all_comparisons(opened) if c.numeric is not None)
    text = page.make_page(opened, "a wrong game")
    verdicts = [c["verdict"] for s in content(text)["stations"] for c in s.get("checks", [])]
    assert "differs" in verdicts
    assert "agrees" in verdicts  # above the fault all is well


def test_large_losses_are_not_taken_for_wrong_gradients():
    """A game that blows up has losses of millions, whose differences are rounded accordingly."""
    gan = warmed(dcgan())
    gan.discriminator.flat_params[...] *= 300
    gan.generator.flat_params[...] *= 30
    opened = step.open_step(*opening(gan))
    assert opened.loss_d > 1e4
    verdicts = [c["verdict"] for s in content(page.make_page(opened, "wild"))["stations"] for c in s.get("checks", [])]
    assert "differs" not in verdicts
    assert verdicts.count("agrees") > 30


def test_nudges_and_losses_after_the_update_are_those_of_the_game():
    gan = warmed(dcgan())
    real, z = batch(gan)
    before = twin(gan)
    opened = step.open_step(gan, real, z)
    g, d = before.generator, before.discriminator

    def loss_d():
        fake, _ = g.forward(z, True)
        return float(discriminator_loss(d.forward(real, True)[0], d.forward(fake, True)[0])[0])

    def loss_g():
        return float(generator_loss(d.forward(g.forward(z, True)[0], True)[0])[0])

    def check(update, net, loss):
        assert update.loss_before == pytest.approx(loss(), rel=1e-12)
        for nudge in update.nudges[::2]:
            array = net.params[nudge.name]
            for epsilon, value in list(zip(nudge.steps, nudge.losses, strict=True))[::3]:
                array[nudge.where] += epsilon
                assert value == pytest.approx(loss(), rel=1e-9)
                array[nudge.where] = nudge.value
            assert nudge.steps[len(nudge.steps) // 2] == 0
            assert nudge.losses[len(nudge.steps) // 2] == pytest.approx(update.loss_before, rel=1e-12)
        for name, array in net.params.items():
            np.testing.assert_array_equal(array, update.before[name])
            array[...] = update.after[name]
        assert update.loss_after == pytest.approx(loss(), rel=1e-12)

    check(opened.update_d, d, loss_d)
    check(opened.update_g, g, loss_g)


def test_both_passes_shares_add_up():
    opened = step.open_step(*opening(warmed(dcgan())))
    for name, whole in opened.update_d.gradients.items():
        np.testing.assert_allclose(opened.real.param_grads[name] + opened.fake.param_grads[name], whole, rtol=1e-9, atol=1e-15)


def test_float32_is_refused():
    gan = mg.GAN(*mg.models.mlp(SHAPE, latent_dim=3, hidden=4, backend="textbook"))
    with pytest.raises(mg.errors.OptionError, match="computes in float32: build it with dtype='float64'"):
        step.open_step(gan, np.zeros((2, *SHAPE), "float32"), np.zeros((2, 3), "float32"))


# -- the page --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def opened():
    """A step, its page, and what the plain step of a game in the same state showed to its networks' watchers."""
    gan = warmed(dcgan(smoothing=0.1))
    real, z = batch(gan)
    other, seen = twin(gan), []
    for net, letter in ((other.generator, "G"), (other.discriminator, "D")):
        net.watch = lambda layer, what, array, letter=letter: seen.append((letter, layer.index, what, array.copy()))
    text = page.make_page(step.open_step(gan, real, z), "a small game")
    other.step(real, z)
    return text, seen, other


def figures(text, act, kind, net, index):
    station = next(
        s for s in content(text)["stations"] if (s["act"], s["kind"], s["net"], s.get("index")) == (act, kind, net, index)
    )
    return {f["role"]: f for f in station["figures"]}, station


def test_the_page_holds_the_numbers_of_the_real_step(opened):
    """Outputs and gradients of every layer, in all four passes, beside what a plain GAN.step computes."""
    text, seen, other = opened
    arrays = decoded(text)
    passes = {}
    for letter, index, what, array in seen:
        passes.setdefault((letter, index, what), []).append(array)
    compared = 0
    for letter, net in (("G", other.generator), ("D", other.discriminator)):
        for index in range(len(net.layers)):
            outputs = passes[letter, index, "output"]
            # D looks at real images, at generated ones, and at those again when it has moved.
            shown = {("D", ""): outputs[0]} if letter == "G" else {("D", "real"): outputs[0], ("D", "generated"): outputs[1]}
            if letter == "D":
                shown["G", ""] = outputs[2]
            for (act, branch), wanted in shown.items():
                found, _ = figures(text, act, "forward", letter, index)
                np.testing.assert_allclose(arrays[found["y"]["arrays"][branch]], wanted[:4], rtol=1e-6, atol=1e-9)
                compared += 1
            for k, array in enumerate(passes.get((letter, index, "input gradient"), [])):
                act, branch = {("G", 0): ("G", ""), ("D", 0): ("D", "real"), ("D", 1): ("D", "generated")}.get(
                    (letter, k), ("G", "")
                )
                if letter == "D" and index == 0:
                    act, branch = "G", ""
                found, _ = figures(text, act, "backward", letter, index)
                np.testing.assert_allclose(arrays[found["dx"]["arrays"][branch]], array[:4], rtol=1e-5, atol=1e-10)
                compared += 1
    assert compared > 40


def test_the_pages_weight_gradients_and_sizes_are_the_steps(opened):
    text, _, other = opened
    arrays = decoded(text)
    for letter, net in (("G", other.generator), ("D", other.discriminator)):
        for name, gradient in net.grads.items():
            index, _, key = name.partition(".")
            found, station = figures(text, letter, "backward", letter, int(index))
            np.testing.assert_allclose(arrays[found[f"d{key}"]["arrays"][""]], gradient, rtol=1e-5, atol=1e-10)
            facts = {f["name"]: f["value"] for f in station["facts"]}
            size = next(v for k, v in facts.items() if f"∂{key}" in k and isinstance(v, str))
            assert f"‖·‖ = {np.linalg.norm(gradient):.4g}," in size


def test_the_three_paths_through_batch_norm_add_up_to_dx(opened):
    text, _, other = opened
    arrays = decoded(text)
    index = next(layer.index for layer in other.generator.layers if isinstance(layer, mg.BatchNorm))
    found, _ = figures(text, "G", "backward", "G", index)
    direct, mean, variance, dx = (arrays[found[r]["arrays"][""]] for r in ("path_direct", "path_mean", "path_variance", "dx"))
    np.testing.assert_allclose(direct + mean + variance, dx, rtol=1e-4, atol=1e-6 * np.abs(dx).max())
    assert min(np.abs(part).max() for part in (direct, mean, variance)) > 1e-3 * np.abs(dx).max(), "no path is idle"


def test_the_losses_and_beliefs_that_are_printed(opened):
    text, seen, _ = opened
    logits = [array for letter, index, what, array in seen if (letter, index, what) == ("D", 6, "output")]
    s_real, s_fake, s_judged = logits
    stations = {
        s["label"]: {f["name"]: f["value"] for f in s["facts"]} for s in content(text)["stations"] if s["kind"] == "loss"
    }
    loss_d = np.mean(np.log1p(np.exp(-s_real)) + 0.1 * s_real) + np.mean(np.log1p(np.exp(s_fake)))
    loss_g = np.mean(np.log1p(np.exp(-s_judged)))
    assert stations["L_D"]["L_D"].startswith(f"{loss_d:.6f} nats")
    assert stations["L_G"]["L_G"].startswith(f"{loss_g:.6f} nats")
    real, fake, judged = (np.mean(1 / (1 + np.exp(-s))) for s in logits)
    assert stations["L_D"]["D(sample), mean"] == f"real samples {real:.3f}, generated samples {fake:.3f}"
    assert stations["L_G"]["D(sample), mean"] == f"generated samples {judged:.3f}"


def test_the_chart_of_gradient_sizes(opened):
    text, seen, other = opened
    sizes = {(s["act"], s["net"], s["branch"], s["index"]): s["rms"] for s in content(text)["sizes"]}
    assert len(sizes) == 3 * len(other.discriminator.layers) + len(other.generator.layers)
    gradients = [(letter, index, array) for letter, index, what, array in seen if what == "input gradient"]
    for k, (letter, index, array) in enumerate(gradients):
        first = [g[:2] for g in gradients[:k]].count((letter, index))  # in D: of real images, generated ones, then in G's step
        act, branch = ("D", ("real", "generated")[first]) if letter == "D" and first < 2 else ("G", "")
        if index:
            assert sizes[act, letter, branch, index - 1] == pytest.approx(np.sqrt(np.mean(array**2)), rel=1e-9)


def test_updates_are_worked_out_number_by_number(opened):
    text, _, other = opened
    for letter, net in (("D", other.discriminator), ("G", other.generator)):
        station = next(s for s in content(text)["stations"] if s["kind"] == "update" and s["act"] == letter)
        name, place = re.match(r"(\S+)\[([\d, ]+)\]", station["worked"]["title"]).groups()
        rows = dict(station["worked"]["rows"])
        where = tuple(int(k) for k in place.split(", "))
        assert rows["g = ∂L/∂w"] == pytest.approx(float(net.grads[name][where]), rel=1e-6)
        assert rows["w after"] == pytest.approx(float(net.params[name][where]), rel=1e-6)
        b1, b2, t = 0.5, 0.999, 3
        m, v = (b1 * rows["m before"] + (1 - b1) * rows["g = ∂L/∂w"], b2 * rows["v before"] + (1 - b2) * rows["g = ∂L/∂w"] ** 2)
        moved = -0.01 * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
        assert rows["Δw"] == pytest.approx(moved, rel=1e-6)


def test_the_way_is_that_of_the_step(opened):
    text, _, other = opened
    stations = content(text)["stations"]
    g, d = len(other.generator.layers), len(other.discriminator.layers)
    kinds = [(s["act"], s["kind"], s["net"]) for s in stations]
    expected = [("D", "input", "G"), *[("D", "forward", "G")] * g, ("D", "input", "D"), *[("D", "forward", "D")] * d]
    expected += [("D", "loss", "D"), *[("D", "backward", "D")] * d, ("D", "update", "D")]
    expected += [*[("G", "forward", "D")] * d, ("G", "loss", "D"), *[("G", "backward", "D")] * d, ("G", "backward", "G")]
    expected += [*[("G", "backward", "G")] * g, ("G", "update", "G")]
    assert kinds == expected


def test_the_page_needs_nothing_from_elsewhere(opened):
    text = opened[0]
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", text)
    assert not re.findall(r"@import|url\(|fetch\(|XMLHttpRequest|<link(?! rel=\"icon\" href=\"data:)", text)
    assert "https://" not in text


def test_hostile_names_stay_text():
    gan = warmed(mlp())
    text = page.make_page(step.open_step(*opening(gan)), "</script><script>alert(1)</script>")
    assert "<script>alert" not in text
    assert content(text)["about"] == "</script><script>alert(1)</script>"


def test_a_large_game_is_shown_in_part_and_says_so(monkeypatch):
    monkeypatch.setattr(step, "CHECKED", 1)
    monkeypatch.setattr(step, "NUDGED", 1)
    gan = mg.GAN(*mg.models.dcgan((28, 28, 1), latent_dim=50, width=64, backend="numpy", dtype="float64"))
    rng = np.random.default_rng(0)
    opened = step.open_step(gan, rng.uniform(-1, 1, (4, 28, 28, 1)), rng.standard_normal((4, 50)))
    text = page.make_page(opened, "a large game")
    assert len(text.encode()) <= page.LIMIT
    captions = [f["caption"] for s in content(text)["stations"] for f in s.get("figures", [])]
    assert any("(the first " in caption for caption in captions)
    assert content(text)["samples"] == 1


class Doubled(mg.Layer):
    """y = 2 x, a layer of one's own."""

    def forward(self, x, train=False):
        return 2 * x, None

    def backward(self, dy, cache, *, param_grads=True, input_grad=True):
        return 2 * dy if input_grad else None


def test_a_layer_of_ones_own_shows_its_docstring():
    g, _ = mg.models.mlp(SHAPE, latent_dim=3, hidden=4, backend="textbook", dtype="float64")
    d = mg.Sequential([mg.Flatten(), Doubled(), mg.Dense(1)], SHAPE, "textbook", "float64")
    text = page.make_page(step.open_step(*opening(mg.GAN(g, d))), "own")
    found = [s for s in content(text)["stations"] if s["label"] == "Doubled"]
    assert len(found) == 3  # in D's step no gradient goes below the first layer that learns
    assert all("y = 2 x, a layer of one's own." in s["text"] for s in found)


def test_every_layer_has_its_formulas():
    layers = [getattr(mg, name) for name in mg.__all__ if isinstance(getattr(mg, name), type)]
    for layer in (c for c in layers if issubclass(c, mg.Layer) and c is not mg.Layer):
        assert layer in FORMULAS
        known = FORMULAS[layer]
        for tex in (*known.forward, *known.input_grad, *known.param_grads.values()):
            assert "\\" not in mathml(tex), tex
    for make, shape in layer_table():
        layer = make()
        layer.build(shape)
        assert set(layer.parameters) <= set(formulas_of(layer).param_grads)


SUM = r"\\sum_(?:\{([^}]*)\}|(\w))"
FACTOR = r"(\\bar\{\w\}|d\\bar\{\w\}|\w+?)_(?:\{([^}]*)\}|(\w))"


def indices(text):
    r"""["n", "o*s+i*d"] of "n,\,os+id", or ["n", "o"] of "no"."""
    text = text.replace("\\,", "")
    parts = text.split(",") if "," in text else list(text)
    return [re.sub(r"(?<=[a-z])(?=[a-z])", "*", part) for part in parts]


def loops(tex, arrays, sizes, numbers):
    r"""What an index formula in TeX makes, by loops: y_{no} = \sum_i x_{ni} w_{io} + b_o, as it stands.

    arrays by the names of their factors, sizes of the indices, numbers: what else the indices are made of (stride and so on).
    """
    left, right = tex.split(" = ")
    free = indices("".join(re.findall(FACTOR, left)[0][1:]))
    bias = re.search(r"\bb_(\w)", right)
    product = re.sub(SUM, "", right.replace(bias[0], "") if bias else right)
    factors = [(name, indices(long or short)) for name, long, short in re.findall(FACTOR, product)]
    summed, conditions = [], []
    for long, short in re.findall(SUM, right):
        names, _, condition = (long or short).replace("\\,", "").partition(":")
        summed += [letter for letter in names if letter.isalpha()]
        conditions += ["==".join(indices(side + ",")[0] for side in condition.split("="))] if condition else []
    result = np.zeros([sizes[i] for i in free])
    for place in itertools.product(*(range(sizes[i]) for i in free)):
        for inner in itertools.product(*(range(sizes[i]) for i in summed)):
            scope = {**numbers, **dict(zip(free, place, strict=True)), **dict(zip(summed, inner, strict=True))}
            if all(eval(condition, scope) for condition in conditions):
                result[place] += np.prod([arrays[name][tuple(eval(i, scope) for i in where)] for name, where in factors])
        if bias:
            result[place] += arrays["b"][place[free.index(bias[1])]]
    return result


@pytest.mark.parametrize(
    "layer", [mg.Dense(3), mg.Conv2d(2, 3, 2, 1), mg.ConvTranspose2d(2, 3, 2, 1)], ids=lambda layer: layer.name
)
def test_the_index_formulas_are_what_the_layer_computes(layer):
    """Every formula with indices, as the page sets it, walked by loops."""
    rng = np.random.default_rng(0)
    shape = (4,) if layer.name == "Dense" else (3, 4, 2)
    net = mg.Sequential([layer.fresh()], shape, "textbook", "float64")
    net.flat_params[...] = rng.standard_normal(net.num_params)
    x = rng.standard_normal((2, *shape))
    y, caches = net.forward(x)
    dy = rng.standard_normal(y.shape)
    dx = net.backward(dy, caches, accumulate=False)
    known, w, b = FORMULAS[type(layer)], net.params["0.weight"], net.params["0.bias"]
    arrays, numbers = {"x": x, "w": w, "b": b, "dy": dy}, {"s": 2, "d": 1, "p": 1}
    sizes = {"n": 2, "i": 4, "o": 3}
    if layer.name != "Dense":
        border = ((0, 0), (1, 1), (1, 1), (0, 0))
        arrays |= {r"\bar{x}": np.pad(x, border), r"d\bar{y}": np.pad(dy, border)}
        sizes = dict(zip("nhvcfij", (2, 3, 4, 2, 2, 3, 3), strict=True)) | dict(zip("oq", y.shape[1:3], strict=True))
        sizes |= dict(zip("ab", arrays[r"d\bar{y}"].shape[1:3], strict=True))
    forward = loops(known.forward[0], arrays, sizes, numbers)
    if layer.name == "ConvTranspose2d":
        forward = forward[:, 1:-1, 1:-1] + b  # as its second formula says
    np.testing.assert_allclose(forward, y, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(loops(known.input_grad[0], arrays, sizes, numbers), dx, rtol=1e-10, atol=1e-14)
    for key, tex in known.param_grads.items():
        np.testing.assert_allclose(loops(tex, arrays, sizes, numbers), net.grads[f"0.{key}"], rtol=1e-10, atol=1e-14)


ELEMENT_WISE = [
    (r"\\begin\{cases\} 1 & x > 0 \\\\ \\alpha & \\text\{else\} \\end\{cases\}", "np.where(x > 0, 1, alpha)"),
    (r"\[\\,x > 0\\,\]", "(x > 0)"),
    (r"\\frac\{1\}\{(1 \+ e\^\{-x\})\}", r"(1 / (\1))"),
    (r"e\^(?:\{(-x)\}|(x))", r"np.exp(\1\2)"),
    (r"\\tanh x", "np.tanh(x)"),
    (r"\\max\(", "np.maximum("),
    (r"\\(sigma|zeta)\(x\)", r"\1"),
    (r"\\log\(", "np.log("),
    (r"\\alpha x", "alpha * x"),
    (r"\^2", "**2"),
    (r"\\[,;]|\\cdot", "*"),
]


@pytest.mark.parametrize(
    "layer", [mg.ReLU(), mg.LeakyReLU(0.3), mg.Tanh(), mg.Sigmoid(), mg.Softplus()], ids=lambda layer: layer.name
)
def test_the_element_wise_formulas_are_what_the_layer_computes(layer):
    """Every side of every formula, read as Python."""
    x, dy = np.random.default_rng(0).standard_normal((2, 3, 5))
    net = mg.Sequential([layer.fresh()], (5,), "textbook", "float64")
    y, caches = net.forward(x)
    scope = {"np": np, "x": x, "dy": dy, "y": y, "alpha": 0.3, "sigma": 1 / (1 + np.exp(-x)), "zeta": np.log1p(np.exp(x))}
    known = FORMULAS[type(layer)]
    for tex, wanted in ((known.forward[0], y), (known.input_grad[0], net.backward(dy, caches))):
        sides = tex.split(r", \qquad")[0].split(" = ")[1:]
        assert sides
        for side in sides:
            for pattern, python in ELEMENT_WISE:
                side = re.sub(pattern, python, side)
            np.testing.assert_allclose(eval(side, scope), wanted, rtol=1e-12)


# -- which game ------------------------------------------------------------------------------------------------------------


def test_the_game_of_a_run_is_the_runs(tmp_path):
    run = tmp_path / "run"
    options = "--steps 12 --width 2 --latent-dim 3 --image-size 8 --batch-size 16 --schedule linear --backend textbook --quiet"
    assert cli.main(["train", *options.split(), "--out", str(run)]) == 0
    found = game.game_of_run(run, "textbook", batch_size=6)
    arrays, _ = checkpoint.load(run / "checkpoint.safetensors")
    for name, array in found.gan.generator.state_dict().items():
        np.testing.assert_array_equal(array, arrays[f"generator.{name}"].astype(np.float64))
    assert found.gan.optimizer_d.steps == 12
    assert found.gan.optimizer_d.schedule(6) == pytest.approx(0.5e-3)
    assert len(found.real) == len(found.z) == 6
    assert str(run) in found.about
    out = tmp_path / "deep" / "page.html"
    assert cli.main(["explain", str(run), "--batch-size", "4", "--quiet", "--out", str(out)]) == 0
    assert content(out.read_text(encoding="utf-8"))["batch"] == 4


def test_the_small_game_is_decided_by_its_seed():
    config = Config(data="ring", backend="textbook", batch_size=8)
    a, b, c = (game.small_game(config_, 3) for config_ in (config, config, Config(**{**vars(config), "seed": 1})))
    np.testing.assert_array_equal(a.gan.generator.flat_params, b.gan.generator.flat_params)
    assert not np.array_equal(a.gan.generator.flat_params, c.gan.generator.flat_params)
    assert a.gan.generator.dtype == np.float64


def test_explain_at_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explain", "--data", "ring", "--after", "2", "--batch-size", "4", "--hidden", "3", "5", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("mlp on ring after 2 steps, batch 4, seed 0: explain.html, 0.2 MB")
    text = (tmp_path / "explain.html").read_text(encoding="utf-8")
    assert [s["title"] for s in content(text)["stations"]].count("G, layer 2: Dense(units=5)") == 1


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("explain nothing", ["'nothing' is neither a run folder nor a name"]),
        ("explain Conv2", ["did you mean 'Conv2d'"]),
        ("explain Conv2d --batch-size 4", ["--batch-size is for the page, and Conv2d is printed"]),
        ("explain Conv2d --out a.html", ["--out is for the page"]),
        ("explain .", ["no checkpoint"]),
        ("explain . --width 4", ["--width is for the small game, and . is opened"]),
        ("explain --out page.png", ["page.png: expected a file name in .html"]),
        ("explain --data digit", ["did you mean 'digits'"]),
        ("explain --data ring --width 4", ["width is no option of the model mlp"]),
        ("explain --after -1", ["'-1' is not a whole number from 0 up"]),
        ("explain --data ring --batch-size 99999 --after 0", ["the batch size is 99999"]),
        ("explain --image-size 9 --after 0", ["divisible by 4"]),
        ("explain --stpes 4", ["unknown argument '--stpes'"]),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(command, parts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(command.split()) == cli.USER_ERROR
    text = capsys.readouterr().err
    assert text.startswith("minigan: error: ")
    assert text.count("\n") == 1
    for part in parts:
        assert part in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("steps", "found"), [(5, "after 5 steps the parameters are not finite"), (0, "L_D is not finite")])
def test_a_game_that_blew_up_is_not_opened(steps, found, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(game.SMALL, "mlp", {"hidden": (4,), "latent_dim": 4, "lr": 1e308})
    command = ["explain", "--data", "ring", "--after", str(steps), "--quiet", "--out", str(tmp_path / "a.html")]
    with np.errstate(all="ignore"):
        assert cli.main(command) == cli.USER_ERROR
    assert found in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
