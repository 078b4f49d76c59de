"""The opened step is the game's own, of whatever losses; its derivatives agree with differences, and wrong ones are seen."""

import numpy as np
import pytest
from explained_games import SHAPE, all_comparisons, batch, content, dcgan, mlp, opening, twin, warmed, with_dropout

import minigan as mg
from minigan.explain import page, step

GAMES = [
    pytest.param(dcgan, {}, id="dcgan"),
    pytest.param(dcgan, {"objective": mg.losses.Saturating(0.1)}, id="dcgan-smoothed-saturating"),
    pytest.param(mlp, {}, id="mlp"),
    pytest.param(with_dropout, {}, id="dropout"),
]


@pytest.mark.parametrize(("make", "options"), GAMES)
def test_the_opened_step_is_the_games_own_and_every_derivative_agrees_with_its_difference(make, options):
    gan, ticks = warmed(make(**options)), []
    opened = check_it_is_the_games_own(gan, tick=lambda: ticks.append(1))
    assert len(ticks) == step.count_ticks(gan)
    found = [c for c in all_comparisons(opened) if c.numeric is not None]
    assert len(found) > 60
    assert max(c.error for c in found) < page.TOLERANCE


def test_a_step_is_opened_on_every_backend(backend, few_numbers):
    check_it_is_the_games_own(warmed(with_dropout(backend)))


def check_it_is_the_games_own(gan, **options):
    real, z = batch(gan)
    other = twin(gan)
    opened = step.open_step(gan, real, z, **options)
    stats = other.step(real, z)
    to_numpy = gan.backend.to_numpy
    for net in ("generator", "discriminator"):
        mine, theirs = getattr(gan, net), getattr(other, net)
        np.testing.assert_allclose(to_numpy(mine.flat_params), to_numpy(theirs.flat_params), rtol=1e-9, atol=1e-12)
        assert mine.random_state == theirs.random_state
    assert opened.loss_d == pytest.approx(float(to_numpy(stats["loss_d"])), rel=1e-9)
    assert opened.loss_g == pytest.approx(float(to_numpy(stats["loss_g"])), rel=1e-9)
    return opened


@pytest.mark.parametrize(
    "layer", [mg.BatchNorm, pytest.param(mg.Tanh, marks=pytest.mark.slow), mg.Conv2d], ids=lambda layer: layer.__name__
)
def test_a_wrong_gradient_is_seen(layer, monkeypatch, few_numbers):
    right = layer.backward

    def wrong(self, dy, cache, grads=None, input_grad=True):
        dx = right(self, dy, cache, grads, input_grad)
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
        return float(gan.objective.discriminator(d.forward(real, True)[0], d.forward(fake, True)[0])[0])

    def loss_g():
        return float(gan.objective.generator(d.forward(g.forward(z, True)[0], True)[0])[0])

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


def test_both_passes_shares_add_up(few_numbers):
    opened = step.open_step(*opening(warmed(dcgan())))
    for name, whole in opened.update_d.gradients.items():
        np.testing.assert_allclose(opened.real.param_grads[name] + opened.fake.param_grads[name], whole, rtol=1e-9, atol=1e-15)


def test_float32_is_refused():
    gan = mg.GAN(*mg.models.mlp(SHAPE, latent_dim=3, hidden=4, backend="textbook"))
    with pytest.raises(mg.errors.OptionError, match="computes in float32: build it with dtype='float64'"):
        step.open_step(gan, np.zeros((2, *SHAPE), "float32"), np.zeros((2, 3), "float32"))


# -- games of one's own ------------------------------------------------------------------------------------------------------


class LeastSquares(mg.GAN):
    """The usual order of a step, and losses that no objective of minigan has."""

    sign = 1

    def compute(self, real, z=None):
        g, d = self.generator, self.discriminator
        fake, cache = g.forward(z, train=True)
        (s_real, s_fake), caches = d.forward_each((real, fake), train=True)
        (a, da), (b, db) = mg.losses.mse(s_real, 1 + 0 * s_real), mg.losses.mse(s_fake, 0 * s_fake)
        d.backward_each((da, self.sign * db), caches, grads=d.grads, input_grad=False)
        self.optimizer_d.compute(d)
        s_judged, cache_d = d.forward(fake, train=True)
        loss_g, ds = mg.losses.mse(s_judged, 1 + 0 * s_judged)
        g.backward(d.backward(ds, cache_d), cache, grads=g.grads, input_grad=False)
        self.optimizer_g.compute(g)
        return {"loss_d": a + b, "loss_g": loss_g, "prob_real": a, "prob_fake": b}


class WrongSign(LeastSquares):
    sign = -1


def station(text, label):
    return next(s for s in content(text)["stations"] if s["label"] == label)


def test_a_game_with_losses_of_its_own_is_opened_as_it_is():
    opened = step.open_step(*opening(warmed(mlp(make=LeastSquares))))
    assert max(c.error for c in all_comparisons(opened) if c.numeric is not None) < page.TOLERANCE
    s = opened.judged.outputs[-1]
    assert opened.loss_g == pytest.approx(np.mean((s - 1) ** 2), rel=1e-12)
    text = page.make_page(opened, "least squares")
    for label in ("L_D", "L_G"):
        assert "in a way of its own" in " ".join(station(text, label)["text"])
        assert "probability" not in " ".join(station(text, label)["text"])
        assert "nats" not in str(station(text, label)["facts"])
        assert station(text, label)["formulas"] == []
        assert all("loss" not in curve for curve in station(text, label)["curves"])
        assert "if D could not tell" not in station(text, label)["facts"][0]["value"]


def test_a_sign_that_is_wrong_in_the_game_is_seen():
    opened = step.open_step(*opening(warmed(mlp(make=WrongSign))))
    text = page.make_page(opened, "a wrong sign")
    verdicts = {
        (s["act"], c["branch"]): c["verdict"]
        for s in content(text)["stations"]
        for c in s.get("checks", [])
        if s["kind"] == "backward" and c["of"] == "∂L_D/∂x"
    }
    assert verdicts["D", "generated"] == "differs"
    assert verdicts["D", "real"] == "agrees"
    assert any(c.error > 1e-3 for found in opened.update_d.checks.values() for c in found)


def test_a_loss_that_depends_on_a_gradient_is_run_again_with_its_gradients():
    class Penalised(mg.GAN):
        def compute(self, real, z=None):
            stats = super().compute(real, z)
            return {**stats, "loss_d": stats["loss_d"] + (self.discriminator.flat_grads**2).sum()}

    gan = warmed(mlp(make=Penalised))
    opened = step.open_step(*opening(gan))
    assert opened.update_d.loss_before == pytest.approx(opened.loss_d, rel=1e-12)


def test_a_step_with_more_passes_is_refused():
    class Twice(mg.GAN):
        def compute(self, real, z=None):
            self.discriminator.forward(real, train=True)
            return super().compute(real, z)

    gan = mlp(make=Twice)
    with pytest.raises(mg.errors.OptionError, match="discriminator makes 4 passes in a step of this game, not 3"):
        step.open_step(*opening(gan))
    assert gan.discriminator.watch is None
