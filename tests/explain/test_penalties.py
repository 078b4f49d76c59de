"""The penalties of an opened step: their numbers are the step's own, and faults in the second order are seen."""

import re

import numpy as np
import pytest
from explained_games import SHAPE, all_comparisons, batch, content, dcgan, decoded, mlp, opening, warmed

import minigan as mg
from minigan.explain import page, step
from minigan.explain.second_order import PENALTIES, SECOND_ORDER, second_order_of
from minigan.layers import Layer

R1, R2, GP, DRAGAN = mg.losses.R1, mg.losses.R2, mg.losses.GradientPenalty, mg.losses.DRAGAN


def curved(**options):
    """D of layers with slopes that move, state that a pass moves, and draws."""
    g, _ = mg.models.mlp(SHAPE, latent_dim=3, hidden=4, backend="textbook", dtype="float64")
    layers = [mg.SpectralNorm(mg.Conv2d(2, 3)), mg.Tanh(), mg.BatchNorm(), mg.Dropout(0.2), mg.Flatten()]
    layers += [mg.Residual([mg.Dense(72), mg.Softplus()], 0.3), mg.MinibatchStd(), mg.SpectralNorm(mg.Dense(1))]
    return mg.GAN(g, mg.Sequential(layers, SHAPE, "textbook", "float64"), lr=0.01, **options)


GAMES = {
    "dcgan": lambda: dcgan(penalties=[R1(10)]),
    "mlp": lambda: mlp(penalties=[R1(3), R2(2), GP(10), DRAGAN(1)]),
    "curved": lambda: curved(penalties=[GP(10), R1(2)]),
    "compared": lambda: mlp(objective=mg.losses.Relativistic(), penalties=[R1(1), R2(1)]),
    "lazy": lambda: mlp(penalties=[R1(1)], penalty_every=2),
}


def of_penalties(opened):
    return [c for record in opened.penalties for found in record.second.checks.values() for c in found]


def stations(text, kind):
    return [s for s in content(text)["stations"] if s["kind"] == kind]


@pytest.mark.parametrize("name", GAMES)
def test_a_penalised_step_is_the_games_own_and_its_derivatives_agree(name):
    gan, other, ticks = warmed(GAMES[name]()), warmed(GAMES[name]()), []
    wanted = step.count_ticks(gan)
    opened = step.open_step(*opening(gan), tick=lambda: ticks.append(1))
    stats = other.step(*batch(other))
    assert len(ticks) == wanted
    for mine, theirs in zip(gan.networks.values(), other.networks.values(), strict=True):
        np.testing.assert_allclose(mine.flat_params, theirs.flat_params, rtol=1e-9, atol=1e-12)
    assert opened.loss_d + sum(record.second.value for record in opened.penalties) == pytest.approx(float(stats["loss_d"]))
    assert opened.update_d.loss_before == pytest.approx(float(stats["loss_d"]), rel=1e-9)
    assert opened.update_d.loss_after != opened.update_d.loss_before
    assert [type(record.second.penalty) for record in opened.penalties] == [type(penalty) for penalty in gan.penalties]
    found = [c for c in [*all_comparisons(opened), *of_penalties(opened)] if c.numeric is not None]
    assert len(of_penalties(opened)) >= 4 * len(gan.penalties)
    assert max(c.error for c in found) < page.TOLERANCE
    verdicts = {c["verdict"] for s in content(page.make_page(opened, name))["stations"] for c in s.get("checks", [])}
    assert verdicts <= {"agrees", "at a kink", "lost in rounding"}


@pytest.mark.parametrize("name", ["dcgan", "mlp", pytest.param("curved", marks=pytest.mark.slow)])
def test_the_stations_hold_the_numbers_of_the_penalty(name, few_numbers):
    """Each beside add_grads of the penalty alone, on a D in the same state and at the recorded points."""
    gan = warmed(GAMES[name]())
    before = gan.discriminator.state_dict()
    opened = step.open_step(*opening(gan))
    text = page.make_page(opened, name)
    arrays, overviews = decoded(text), stations(text, "penalty")
    assert len(overviews) == len(gan.penalties)
    of_layers = iter(stations(text, "curvature"))
    for record, overview in zip(opened.penalties, overviews, strict=True):
        net = gan.discriminator.clone()
        net.load_state_dict({**before, **record.state})
        for layer in net.layers:
            layer.hold_state()
        net.random_state = record.random_state
        at_these = type("At", (type(record.second.penalty),), {"points": lambda self, be, real, fake, x=record.x: x})
        grads = {key: np.zeros_like(value) for key, value in net.params.items()}
        value = at_these(record.second.penalty.weight).add_grads(net, record.x, record.x, grads)
        facts = {f["name"]: f["value"] for f in overview["facts"]}
        assert float(facts["P"]) == pytest.approx(float(value), rel=1e-4)
        along, through = map(float, facts["v · g, and Σ ṡ"].split(", and "))
        assert along == pytest.approx(through, rel=1e-4)
        assert along == pytest.approx(float((record.second.v * record.input_grad).sum()), rel=1e-4)
        shown = {f["role"]: arrays[f["arrays"][""]] for f in overview["figures"]}
        np.testing.assert_allclose(shown["g"], record.input_grad[:4], rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(shown["v"], record.second.v[:4], rtol=1e-5, atol=1e-9)
        lowest = next(layer.index for layer in net.layers if layer.params)
        for index in reversed(range(lowest, len(net.layers))):
            station = next(of_layers)
            assert station["index"] == index
            shown = {f["role"]: arrays[f["arrays"][""]] for f in station["figures"]}
            assert {"x_dot", "y_dot", "b"} <= shown.keys()
            for key in net.layers[index].params:
                np.testing.assert_allclose(shown[f"d{key}"], grads[f"{index}.{key}"], rtol=1e-5, atol=1e-9)
                assert (f"own_{key}" in shown) == ("a" in shown)
    assert next(of_layers, None) is None


def test_the_gradients_of_the_loss_and_of_the_penalties_are_told_apart(few_numbers):
    gan = warmed(mlp(penalties=[R1(5), GP(3)]))
    opened = step.open_step(*opening(gan))
    for name, whole in opened.update_d.gradients.items():
        of_loss = opened.real.param_grads[name] + opened.fake.param_grads[name]
        np.testing.assert_allclose(opened.update_d.loss_gradients[name], of_loss, rtol=1e-9, atol=1e-12)
        shares = sum(record.second.param_grads[name] for record in opened.penalties)
        np.testing.assert_allclose(of_loss + shares, whole, rtol=1e-9, atol=1e-12)


def test_a_step_without_its_lazy_penalties_has_no_station_of_them(few_numbers):
    gan = mlp(penalties=[R1(1)], penalty_every=2)
    gan.step(*batch(gan))
    text = page.make_page(step.open_step(*opening(gan)), "between two penalties")
    assert not stations(text, "penalty")
    assert "L_D + P" not in text


@pytest.mark.parametrize("kind", [mg.Conv2d, mg.BatchNorm, mg.Tanh])
def test_a_wrong_curvature_is_seen(kind, monkeypatch, few_numbers):
    right = kind.curvature

    def wrong(self, x_dot, dy, cache, grads=None):
        c = right(self, x_dot, dy, cache, grads)
        for grad in (grads or {}).values():
            grad[...] *= 1.01
        return None if c is None else 1.01 * c

    monkeypatch.setattr(kind, "curvature", wrong)
    g, _ = mg.models.mlp(SHAPE, latent_dim=3, hidden=4, backend="textbook", dtype="float64")
    layers = [mg.Conv2d(2, 3), mg.BatchNorm(), mg.Tanh(), mg.Flatten(), mg.Dense(1)]
    d = mg.Sequential(layers, SHAPE, "textbook", "float64")
    opened = step.open_step(*opening(warmed(mg.GAN(g, d, penalties=[R1(10)]))))
    assert any(c.error > 1e-4 for c in of_penalties(opened) if c.numeric is not None)
    text = page.make_page(opened, "a wrong game")
    assert any(c["verdict"] == "differs" for s in stations(text, "curvature") for c in s["checks"])
    assert not any(c["verdict"] == "differs" for s in stations(text, "backward") for c in s["checks"]), "the loss is right"


class Quartic(mg.losses.Penalty):
    """P = w/4N Σ_n ‖g_n‖⁴, a penalty of one's own."""

    def points(self, be, real, fake):
        return real

    def value_and_grad(self, be, g):
        squares = (g * g).sum(axis=1, keepdims=True)
        return np.asarray(self.weight / 4 * (squares**2).mean()), self.weight / len(g) * squares * g


def test_a_penalty_of_ones_own_shows_its_docstring(few_numbers):
    opened = step.open_step(*opening(warmed(mlp(penalties=[Quartic(2)]))))
    assert max(c.error for c in of_penalties(opened) if c.numeric is not None) < page.TOLERANCE
    (station,) = stations(page.make_page(opened, "own"), "penalty")
    assert station["text"][0] == "P = w/4N Σ_n ‖g_n‖⁴, a penalty of one's own."
    assert "Quartic(2)" in station["title"]
    assert not re.search("γ|λ", station["symbols"])


# -- formulas -----------------------------------------------------------------------------------------------------------------


def test_every_layer_and_penalty_has_its_second_order():
    exported = {kind for kind in vars(mg.layers).values() if isinstance(kind, type) and issubclass(kind, Layer)}
    assert exported - {Layer, mg.layers.Linear, mg.layers.Elementwise} == SECOND_ORDER.keys()
    assert set(PENALTIES) == set(mg.losses.PENALTIES.values())


PYTHON = [
    (r"\\begin\{cases\} 1 & x > 0 \\\\ \\alpha & \\text\{else\} \\end\{cases\}", "np.where(x > 0, 1, alpha)"),
    (r"\[\\,x > 0\\,\]", "(x > 0)"),
    (r"\\sigma\(x\)", "sigma"),
    (r"\\dot\{x\}", "u"),
    (r"\^2", "**2"),
    (r"(\d) y", r"\1 * y"),
    (r"\\[,;]", "*"),
]


@pytest.mark.parametrize("layer", [mg.ReLU(), mg.LeakyReLU(0.3), mg.Tanh(), mg.Sigmoid(), mg.Softplus()], ids=repr)
def test_the_element_wise_formulas_are_what_the_layer_computes(layer):
    """Tangent and c, read as Python."""
    x, u, b = np.random.default_rng(0).standard_normal((3, 2, 5))
    net = mg.Sequential([layer.fresh()], (5,), "textbook", "float64")
    y, (cache,) = net.forward(x)
    own, known = net.layers[0], second_order_of(net.layers[0])
    scope = {"np": np, "x": x, "u": u, "b": b, "y": y, "alpha": 0.3, "sigma": 1 / (1 + np.exp(-x))}
    for tex, wanted in ((known.tangent, own.tangent(u, cache)), (known.c, own.curvature(u, b, cache))):
        assert bool(tex) == (wanted is not None)
        if tex:
            side = tex.split(" = ")[1]
            for pattern, python in PYTHON:
                side = re.sub(pattern, python, side)
            np.testing.assert_allclose(eval(side, scope), wanted, rtol=1e-12)


@pytest.mark.parametrize("layer", [mg.BatchNorm(), mg.LayerNorm()], ids=repr)
def test_the_formulas_of_norms_are_what_the_layer_computes(layer):
    """As they stand: ẏ, ∂Q/∂γ and c with the means over what is normalised together."""
    rng = np.random.default_rng(0)
    x, u, b = rng.standard_normal((3, 6, 4))
    net = mg.Sequential([layer.fresh()], (4,), "textbook", "float64")
    net.params["0.gamma"][...] = gamma = rng.standard_normal(4)
    _, (cache,) = net.forward(x, train=True)
    axis = 0 if isinstance(layer, mg.BatchNorm) else 1

    def mean(a):
        return a.mean(axis, keepdims=True)

    var = mean((x - mean(x)) ** 2) + 1e-5
    x_hat, h = (x - mean(x)) / np.sqrt(var), b if axis == 0 else gamma * b
    flow = u - mean(u) - x_hat * mean(x_hat * u)
    q = mean(h * flow)
    scale = (gamma if axis == 0 else 1) / var
    c = -scale * (mean(x_hat * u) * (h - mean(h)) + mean(x_hat * h) * (u - mean(u)))
    c += scale * x_hat * (2 * mean(x_hat * u) * mean(x_hat * h) - q)
    own, grads = net.layers[0], {name: np.empty_like(a) for name, a in net.layers[0].params.items()}
    np.testing.assert_allclose(own.tangent(u, cache), gamma / np.sqrt(var) * flow, rtol=1e-10)
    np.testing.assert_allclose(own.curvature(u, b, cache, grads), c, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grads["gamma"], (b * flow / np.sqrt(var)).sum(axis=0), rtol=1e-9)
