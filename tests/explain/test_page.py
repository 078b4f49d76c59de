"""The page of an opened step holds that step's numbers, and what it says is true of the page's own game."""

import re

import numpy as np
import pytest
from explained_games import SHAPE, batch, content, dcgan, decoded, mlp, opening, twin, warmed

import minigan as mg
from minigan.explain import page, step
from minigan.explain.page import build
from minigan.losses import OBJECTIVES


@pytest.fixture(scope="module")
def opened():
    """A step, its page, and what the plain step of a game in the same state showed to its networks' watchers."""
    gan = warmed(dcgan(objective=mg.losses.NonSaturating(0.1)))
    real, z = batch(gan)
    other, seen = twin(gan), []
    for net, letter in ((other.generator, "G"), (other.discriminator, "D")):
        net.watch = lambda layer, what, array, letter=letter: (
            what != "cache" and layer is not None and seen.append((letter, layer.index, what, array.copy()))
        )
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


def test_hostile_names_stay_text(few_numbers):
    gan = warmed(mlp())
    text = page.make_page(step.open_step(*opening(gan)), "</script><script>alert(1)</script>")
    assert "<script>alert" not in text
    assert content(text)["about"] == "</script><script>alert(1)</script>"


def test_a_large_game_is_shown_in_part_and_says_so(few_numbers, monkeypatch):
    monkeypatch.setattr(build, "LIMIT", 600_000)
    gan = mg.GAN(*mg.models.dcgan(SHAPE, latent_dim=50, width=32, backend="numpy", dtype="float64"))
    text = page.make_page(step.open_step(*opening(gan)), "a large game")
    assert len(text.encode()) <= build.LIMIT
    captions = [f["caption"] for s in content(text)["stations"] for f in s.get("figures", [])]
    assert any("(the first " in caption for caption in captions)
    assert content(text)["samples"] == 1


class Doubled(mg.Layer):
    """y = 2 x, a layer of one's own."""

    def forward(self, x, train=False):
        return 2 * x, None

    def backward(self, dy, cache, grads=None, input_grad=True):
        return 2 * dy if input_grad else None


def test_a_layer_of_ones_own_shows_its_docstring():
    g, _ = mg.models.mlp(SHAPE, latent_dim=3, hidden=4, backend="textbook", dtype="float64")
    d = mg.Sequential([mg.Flatten(), Doubled(), mg.Dense(1)], SHAPE, "textbook", "float64")
    text = page.make_page(step.open_step(*opening(mg.GAN(g, d))), "own")
    found = [s for s in content(text)["stations"] if s["label"] == "Doubled"]
    assert len(found) == 3  # in D's step no gradient goes below the first layer that learns
    assert all("y = 2 x, a layer of one's own." in s["text"] for s in found)


@pytest.mark.parametrize("kind", [mg.losses.NonSaturating, mg.losses.Saturating])
def test_the_curves_of_the_losses_are_theirs(kind, few_numbers):
    """Each curve beside the definition of its loss, and its slope beside a difference of that."""
    text = page.make_page(step.open_step(*opening(warmed(mlp(objective=kind(0.1))))), "curves")
    arrays = decoded(text)
    curves = [curve for s in content(text)["stations"] for curve in s.get("curves", [])]
    assert len(curves) == 3

    def logs(s):
        sigma = 1 / (1 + np.exp(-s))
        return np.log(sigma), np.log(1 - sigma)

    wanted = (
        lambda s: -0.9 * logs(s)[0] - 0.1 * logs(s)[1],
        lambda s: -logs(s)[1],
        lambda s: logs(s)[1] if kind is mg.losses.Saturating else -logs(s)[0],
    )
    for curve, loss in zip(curves, wanted, strict=True):
        at, s = (arrays[curve[name]].astype(float) for name in ("at", "s"))
        np.testing.assert_allclose(arrays[curve["loss"]], loss(at), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(arrays[curve["slope"]], (loss(at + 1e-5) - loss(at - 1e-5)) / 2e-5, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(arrays[curve["paid"]], loss(s), rtol=1e-5, atol=1e-6)
        assert np.abs(at).max() > np.abs(s).max()


def test_the_page_speaks_of_its_own_game_alone(few_numbers):
    text = page.make_page(step.open_step(*opening(warmed(mlp()))), "no batch norm")
    words = " ".join(line for s in content(text)["stations"] for line in s["text"])
    assert "BatchNorm" not in words
    assert "statistics" not in words
    other = page.make_page(step.open_step(*opening(warmed(dcgan()))), "batch norm")
    assert "so that the statistics of BatchNorm do not mix" in other


def test_an_optimiser_that_is_not_adam_says_nothing_of_adam():
    optimizers = {"optimizer_g": mg.SGD(0.1), "optimizer_d": mg.Adam(0.1, weight_decay=0.01)}
    text = page.make_page(step.open_step(*opening(mlp(**optimizers))), "two optimisers")
    updates = {s["act"]: s for s in content(text)["stations"] if s["kind"] == "update"}
    assert updates["G"]["label"] == "SGD"
    assert "Adam" not in " ".join(updates["G"]["text"])
    rows = dict(updates["G"]["worked"]["rows"])
    assert rows["Δw"] == pytest.approx(-0.1 * rows["g = ∂L/∂w"], rel=1e-9)
    assert len(updates["G"]["formulas"]) == 1
    assert len(updates["D"]["formulas"]) == 3  # with that of the weight decay


@pytest.mark.parametrize("kind", OBJECTIVES.values(), ids=lambda kind: kind.__name__)
def test_the_formulas_of_every_objective_stand_at_its_losses(kind, few_numbers):
    """Where each sample pays by its own score alone, its curve too; what is not known is said to be the game's own."""
    text = page.make_page(step.open_step(*opening(mlp(objective=kind()))), "a small game")
    losses = [station for station in content(text)["stations"] if station["kind"] == "loss"]
    assert len(losses) == 2
    for station in losses:
        assert station["formulas"]
        assert "way of its own" not in " ".join(station["text"])
        assert all(("loss" in curve) != kind.compares for curve in station["curves"])
        assert station["is_logit"] == kind.is_logit
