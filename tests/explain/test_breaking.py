"""Mistakes planted in backward passes: each shows, is named as what it is, and is computed from the step's own numbers."""

import numpy as np
import pytest
from explained_games import BATCH, SHAPE, batch, content, dcgan, opening, warmed

import minigan as mg
from minigan.explain import breaking as breaking_module
from minigan.explain import page, step
from minigan.explain.breaking import FEW, MISTAKES, Breaking
from minigan.explain.step import looking as looking_module


def every_layer():
    """A game with every kind of layer in which a mistake can be planted."""
    g = mg.Sequential(
        [
            *(
                mg.Dense(12),
                mg.Tanh(),
                mg.Residual([mg.Dense(12), mg.Softplus()], scale=0.5),
                mg.Dense(16),
                mg.Reshape((4, 4, 1)),
            ),
            *(
                mg.ConvTranspose2d(2, 4, stride=2, padding=1),
                mg.BatchNorm(),
                mg.ReLU(),
                mg.Conv2d(1, 3, padding=1),
                mg.Sigmoid(),
            ),
        ],
        (3,),
        "textbook",
        "float64",
    )
    d = mg.Sequential(
        [
            *(mg.Conv2d(2, 4, stride=2, padding=1), mg.LeakyReLU(), mg.Dropout(0.3), mg.Flatten(), mg.Dense(5), mg.Softmax()),
            mg.SpectralNorm(mg.Dense(1)),
        ],
        SHAPE,
        "textbook",
        "float64",
    )
    return warmed(mg.GAN(g, d, lr=0.01))


@pytest.fixture(scope="module")
def opened():
    with pytest.MonkeyPatch.context() as patch:  # no test here looks at more nudges
        patch.setattr(looking_module, "NUDGED", 1)
        return step.open_step(*opening(every_layer()))


@pytest.fixture(scope="module")
def planted(opened):
    """Each place of the step, with each mistake planted there."""
    return [(place, broken) for place in places(opened) for broken in Breaking().at(*place)]


def places(opened):
    """The layers of the step by the ways that a page walks back, as Breaking.at takes them."""
    both = {"real": opened.real, "generated": opened.fake}
    ways = [({"": opened.generator}, opened.update_g.before, opened.update_g), (both, opened.update_d.before, opened.update_d)]
    for passes, params, update in [*ways, ({"": opened.judged}, opened.update_d.after, None)]:
        for index in range(len(next(iter(passes.values())).net.layers)):
            checks = {b: record.checks[index - 1] if index else record.input_checks for b, record in passes.items()}
            yield passes, index, params, update, checks


def test_every_mistake_is_noticed_and_named_as_what_it_is(planted):
    seen, named = {}, 0
    for _, broken in planted:
        kinds = {mistake.kind for mistake in broken.report.mistakes}
        assert not broken.report.ok
        assert broken.report.max_error > 1e-6
        assert kinds <= {broken.mistake.kind}, broken.report.lines
        seen[broken.mistake] = seen.get(broken.mistake, 0) + 1
        named += bool(kinds)
    assert seen.keys() == {mistake for mistake, _ in MISTAKES}
    assert named > 0.8 * sum(seen.values())


def test_the_wrong_derivatives_are_those_of_the_mistake(opened, planted):
    """Beside the same differences as the step's own: minus them, and an N-th of them."""
    compared = 0
    for (_, index, _, update, _), broken in planted:
        if broken.mistake is breaking_module.WrongSign:
            found = [c for of_branch in broken.input_checks.values() for c in of_branch if c.numeric is not None]
            assert all(c.analytic == pytest.approx(-c.numeric, rel=1e-5) for c in found)
            compared += len(found)
        if broken.mistake is breaking_module.MeanForSum:
            for name, found in broken.checks.items():
                wanted = [c.analytic / len(opened.batch) for c in update.checks[f"{index}.{name}"]]
                assert [c.analytic for c in found] == pytest.approx(wanted, rel=1e-9)
                compared += len(found)
    assert compared > 20


@pytest.mark.slow
def test_a_layer_without_a_mistake_passes(opened):
    for passes, index, params, *_ in places(opened):
        own = {name.partition(".")[2]: a for name, a in params.items() if name.startswith(f"{index}.")}
        alone = [breaking_module._Alone(record, index, own, None) for record in passes.values()]
        reached = [run for run in alone if run.record.output_grads[index] is not None]
        assert all(run.repeats() and run.report().ok for run in reached)
        if own and reached:  # and a layer with other weights is not that of the step
            other = {name: array + 0.1 for name, array in own.items()}
            assert not breaking_module._Alone(reached[0].record, index, other, None).repeats()


class Doubled(mg.Layer):
    """y = 2 x, a layer of one's own."""

    def forward(self, x, train=False):
        return 2 * x, None

    def backward(self, dy, cache, grads=None, input_grad=True):
        return 2 * dy if input_grad else None


def test_nothing_is_planted_in_a_layer_of_ones_own():
    g, _ = mg.models.mlp(SHAPE, latent_dim=3, hidden=4, backend="textbook", dtype="float64")
    d = mg.Sequential([mg.Flatten(), mg.Dense(4), Doubled(), mg.Dense(1)], SHAPE, "textbook", "float64")
    gan = warmed(mg.GAN(g, d))
    opened, before = step.open_step(*opening(gan)), gan.state_dict()
    found = {place[1]: Breaking().at(*place) for place in places(opened) if place[0].get("") is opened.judged}
    assert found[2] == []
    assert found[3]
    assert all(np.array_equal(array, before[name]) for name, array in gan.state_dict().items()), "the game stays as it is"


@pytest.mark.slow
def test_the_page_holds_what_the_check_said():
    gan = warmed(dcgan())
    opened = step.open_step(gan, *batch(gan))
    ticks = []
    text = page.make_page(opened, "a small game", breaking=Breaking(lambda: ticks.append(1)))
    stations = content(text)["stations"]
    back = [s for s in stations if s["kind"] == "backward" and "index" in s]
    assert all(s["switches"] for s in back)
    assert len(ticks) == len(back) == step.count_layers(gan), "each layer is looked at once"
    station = next(s for s in back if s["label"] == "BatchNorm" and s["net"] == "D" and s["act"] == "G")
    held = next(one for one in station["switches"] if one["name"] == "μ and σ held as constants")
    assert held["verdict"].startswith("BatchNorm(): FAILED, largest relative error ")
    said = [line for s in back for one in s["switches"] for line in one["said"]]
    assert "gradient of x: minus the true one: a sign is wrong" in said
    assert not any("0.weight" in line for line in said), "the layer has no number where it is alone"
    assert held["samples"] == min(BATCH, FEW[0])
    right = {(c["of"], *c["where"]): c for c in station["checks"]}
    wrong = {(c["of"], *c["where"]): c for c in held["checks"]}
    assert right.keys() == wrong.keys()
    assert all(c["verdict"] != "differs" for c in right.values())
    assert any(c["verdict"] == "differs" for c in wrong.values())
    assert all(c["numeric"] == right[key]["numeric"] for key, c in wrong.items())
    assert not any(s.get("switches") for s in content(page.make_page(opened, "no switches"))["stations"])
