"""The check of a whole game: of the very game that it is given, with its own losses and its own step."""

import inspect
import threading
from functools import partial

import numpy as np
import pytest
from planted_faults import is_caught

import minigan as mg
from minigan.checks.suite import objective_table, penalty_table
from minigan.errors import OptionError
from minigan.games import gan as gan_module

REAL = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 1))
# One direction through each array touches every entry of it. Entry by entry, which takes ten times as long, one game is enough.
ONE = {"mode": "projection", "max_entries": 1}


def game(kind=mg.GAN, **options):
    shape, pack = (4, 4, 1), options.get("pack", 1)
    return kind(*mg.models.mlp(image_shape=shape, latent_dim=3, hidden=5, pack=pack, backend="textbook"), **options)


def rewritten(*changes):
    """GAN with the source of its step changed: (old, new) pieces, each of which stands there once."""
    source = inspect.cleandoc("\n" + inspect.getsource(mg.GAN.compute))
    for old, new in changes:
        assert source.count(old) == 1, f"{old!r} stands in the step {source.count(old)} times"
        source = source.replace(old, new)
    scope = {}
    exec(source, vars(gan_module), scope)
    return type("Rewritten", (mg.GAN,), scope)


@pytest.mark.slow_on_stand_in
def test_a_whole_game_of_convolutions(backend):
    pair = mg.models.dcgan(image_shape=(8, 8, 1), latent_dim=5, width=3, backend=backend)
    real = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1))
    report = mg.check_game(mg.GAN(*pair, objective=mg.losses.NonSaturating(0.1)), real, max_entries=3)
    assert report.ok, str(report)
    names = [row.name for row in report.rows]
    assert "loss_g generator.0.weight" in names
    assert "loss_d discriminator.0.weight" in names
    wiring = ("gradients after its update", "its updates go downhill")
    assert names[-4:] == [f"{net}: {what}" for net in ("discriminator", "generator") for what in wiring]


@pytest.mark.parametrize("objective", objective_table(), ids=repr)
def test_every_objective(objective):
    report = mg.check_game(game(objective=objective), REAL, mode="projection", max_entries=2)
    assert report.ok, str(report)


@pytest.mark.parametrize("penalty", penalty_table(), ids=repr)
def test_every_penalty(penalty):
    """Through a piecewise linear D, where it may share the loss's backward pass, and through BatchNorm."""
    report = mg.check_game(game(penalties=[penalty, mg.losses.R1(0.5)]), REAL, **ONE)
    assert report.ok, str(report)
    pair = mg.models.dcgan(image_shape=(8, 8, 1), latent_dim=5, width=3, backend="textbook")
    real = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1))
    report = mg.check_game(mg.GAN(*pair, penalties=[penalty]), real, **ONE)
    assert report.ok, str(report)
    wrong = game(penalties=[penalty])
    real_one = wrong.penalties[0].value_and_grad
    wrong.penalties[0].value_and_grad = lambda be, g: (2 * real_one(be, g)[0], real_one(be, g)[1])
    assert failed_rows(mg.check_game(wrong, REAL, **ONE)) == {"loss_d"}


OPTIONS = {
    "critic steps": {"critic_steps": 3},
    "critic steps with a penalty": {"critic_steps": 3, "penalties": [mg.losses.GradientPenalty(2.0)], "clip": 0.01},
    "lazy penalties": {"penalties": [mg.losses.R1(2.0), mg.losses.DRAGAN(1.0)], "penalty_every": 4},
    "packs": {"pack": 2, "penalties": [mg.losses.R2(2.0), mg.losses.GradientPenalty(1.0)]},
    "packs in critic steps, with noise": {"pack": 2, "critic_steps": 3, "instance_noise": 0.2},
}


@pytest.mark.parametrize(
    "objective", [pytest.param(mg.losses.Wasserstein(), marks=pytest.mark.slow), mg.losses.RelativisticAverage()], ids=repr
)
@pytest.mark.parametrize("name", OPTIONS)
def test_critic_steps_clipping_lazy_penalties_packs_and_noise(name, objective):
    own = game(objective=objective, **OPTIONS[name])
    real = np.random.default_rng(0).uniform(-1, 1, (6, 4, 4, 1))
    for _ in range(2):
        report = mg.check_game(own, real, **ONE)
        assert report.ok, str(report)
        own.step(real.astype("f4"))


def test_a_fault_in_one_critic_step_is_caught():
    for fault in ("D's gradient forgotten", "the sign of G's gradient", "the fake half of D's gradient lost"):
        wrong = game(rewritten(FAULTS[fault]), critic_steps=3)
        assert is_caught(lambda wrong=wrong: mg.check_game(wrong, np.repeat(REAL, 2, axis=0), **ONE))
    late = rewritten((D_BACKWARD, f"{D_BACKWARD}\n            d.flat_grads[...] *= 1 + (turn == 1)"))
    assert is_caught(lambda: mg.check_game(game(late, critic_steps=3), np.repeat(REAL, 2, axis=0), **ONE))


def test_a_fault_in_packing_is_caught():
    wrong = game(
        rewritten(
            (
                "self.unpacked(d.backward_in_parts(score.backward(ds_fake), cache_d))",
                "d.backward_in_parts(ds_fake, cache_d).reshape(fake.shape)",
            )
        )
    )
    assert mg.check_game(wrong, REAL, **ONE).ok, "without packs it is none"
    color = lambda pack: mg.models.mlp((4, 4, 3), 3, 5, pack=pack, backend="textbook")  # noqa: E731
    real = np.random.default_rng(0).uniform(-1, 1, (4, 4, 4, 3))
    assert mg.check_game(mg.GAN(*color(2), pack=2), real, **ONE).ok
    assert is_caught(lambda: mg.check_game(type(wrong)(*color(2), pack=2), real, **ONE))


def test_games_whose_units_would_be_dead_are_checked_all_the_same():
    for seed in range(6):
        pair = mg.models.mlp(image_shape=(4, 4, 1), latent_dim=3, hidden=5, backend="textbook", seed=seed)
        report = mg.check_game(mg.GAN(*pair), REAL, max_entries=6)
        assert report.ok, str(report)


def test_a_game_with_dropout_batch_norm_and_an_average():
    g = mg.Sequential([mg.Dense(5), mg.BatchNorm(), mg.Tanh(), mg.Dense(16), mg.Reshape((4, 4, 1))], (3,), "textbook")
    d = mg.Sequential([mg.Flatten(), mg.Dense(6), mg.Dropout(0.4), mg.LeakyReLU(), mg.Dense(1)], (4, 4, 1), "textbook")
    assert mg.check_game(mg.GAN(g, d, ema=0.9), REAL, **ONE).ok


def test_the_game_is_left_as_it_is(backend):
    """Parameters, running statistics, gradients, optimisers, averages, and all random streams."""
    g, d = mg.models.dcgan(image_shape=(8, 8, 1), latent_dim=5, width=3, backend=backend)
    d = mg.Sequential([layer.fresh() for layer in d.layers[:-1]] + [mg.Dropout(0.3), mg.Dense(1)], (8, 8, 1), backend)
    gan = mg.GAN(g, d, ema=0.9)
    real = gan.backend.asarray(np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)), "float32")
    gan.step(real)
    before, random_state = gan.state_dict(), gan.random_state
    grads = [gan.backend.to_numpy(net.flat_grads).copy() for net in gan.networks.values()]
    objects = dict(vars(gan))
    assert mg.check_game(gan, real, max_entries=1).ok
    assert gan.random_state == random_state
    assert vars(gan) == objects
    for name, value in gan.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    for net, grad in zip(gan.networks.values(), grads, strict=True):
        np.testing.assert_array_equal(gan.backend.to_numpy(net.flat_grads), grad)
        assert net.watch is None
        assert net.dtype == np.float32
        assert not vars(net).keys() & {"backward", "backward_each"}


# -- games of one's own ------------------------------------------------------------------------------------------------

LEAST_SQUARES = (
    ("self.objective.discriminator(s_real, s_fake)", "least_squares_d(s_real, s_fake)"),
    ("self.objective.generator(s_judged, s_rival)", "least_squares_g(s_judged)"),
)


def least_squares_d(s_real, s_fake):
    (real, ds_real), (fake, ds_fake) = mg.losses.mse(s_real, 1 + 0 * s_real), mg.losses.mse(s_fake, 0 * s_fake)
    return real + fake, (ds_real, ds_fake)


def least_squares_g(s_fake):
    return mg.losses.mse(s_fake, 1 + 0 * s_fake)


def another_losses_gradient_d(s_real, s_fake):
    return least_squares_d(s_real, s_fake)[0], mg.losses.NonSaturating().discriminator(s_real, s_fake)[1]


def another_losses_gradient_g(s_fake):
    return least_squares_g(s_fake)[0], mg.losses.NonSaturating().generator(s_fake)[1]


def with_losses(monkeypatch, d, g):
    monkeypatch.setattr(gan_module, "least_squares_d", d, raising=False)
    monkeypatch.setattr(gan_module, "least_squares_g", g, raising=False)
    return rewritten(*LEAST_SQUARES)


def failed_rows(report):
    return {row.name.split()[0] for row in report.rows if row.max_error >= report.tolerance}


def test_a_subclass_is_checked_with_its_own_losses(monkeypatch):
    assert mg.check_game(game(with_losses(monkeypatch, least_squares_d, least_squares_g)), REAL, **ONE).ok
    wrong_d = mg.check_game(game(with_losses(monkeypatch, another_losses_gradient_d, least_squares_g)), REAL, **ONE)
    wrong_g = mg.check_game(game(with_losses(monkeypatch, least_squares_d, another_losses_gradient_g)), REAL, **ONE)
    assert (failed_rows(wrong_d), failed_rows(wrong_g)) == ({"loss_d"}, {"loss_g"})


def test_a_subclass_is_checked_with_its_own_objective():
    class Wrong(mg.losses.NonSaturating):
        def generator(self, s_fake, s_real=None):
            loss, ds = super().generator(s_fake)
            return loss, -ds

    assert failed_rows(mg.check_game(game(objective=Wrong()), REAL, **ONE)) == {"loss_g"}


def test_a_subclass_with_two_updates_of_g_is_checked():
    """By the same gradient, as no network moves; where the two differ, the check refuses."""
    again = (
        "s_judged, cache_d = d.forward(fake, train=True)\n"
        "    loss_g, ds_fake = self.objective.generator(s_judged, s_rival)\n"
        "    g.backward_in_parts(d.backward(FACTOR * ds_fake, cache_d), cache, grads=g.grads, input_grad=False)\n"
        "    self.optimizer_g.compute(g)\n"
        "    self._update_average()\n"
    )
    assert mg.check_game(game(rewritten(("self._update_average()\n", again.replace("FACTOR", "1")))), REAL, **ONE).ok
    with pytest.raises(OptionError, match="updates the generator 2 times, by different gradients"):
        mg.check_game(game(rewritten(("self._update_average()\n", again.replace("FACTOR", "1.1")))), REAL)


def test_a_wrapped_step_is_checked():
    """Whatever a subclass does around the step of GAN stands in the check too."""

    class Scaled(mg.GAN):
        def compute(self, real, z=None):
            return super().compute(0.5 * real, z)

    class Forgetful(mg.GAN):
        def compute(self, real, z=None):
            return {**super().compute(real, z), "loss_g": 2 * super().compute(real, z)["loss_g"]}

    assert mg.check_game(game(Scaled), REAL, **ONE).ok
    assert is_caught(lambda: mg.check_game(game(Forgetful), REAL, **ONE))


# -- faults in the step ------------------------------------------------------------------------------------------------

D_BACKWARD = "d.backward_each(do, caches, grads=d.grads, input_grad=False)"
DROPPED = "del ds, caches  # or their memory would be held through G's step"
LOSS_D = '"loss_d": stats.pop("loss_d")'
D_JUDGED = "dx = self.unpacked(d.backward_in_parts(score.backward(ds_fake), cache_d))"
G_BACKWARD = "g.backward_in_parts(dx, cache, grads=g.grads, input_grad=False)"
FAULTS = {
    "the sign of G's gradient": (D_JUDGED, D_JUDGED.replace("ds_fake", "-ds_fake")),
    "the real half of D's gradient lost": (D_BACKWARD, D_BACKWARD.replace("(do,", "((0 * do[0], do[1]),")),
    "the fake half of D's gradient lost": (D_BACKWARD, "d.backward(do[0], caches[0], grads=d.grads)"),
    "the second half written over the first": (D_BACKWARD, "[d.backward(*pair, grads=d.grads) for pair in zip(do, caches)]"),
    "the real pass's cache twice": (D_BACKWARD, D_BACKWARD.replace("caches", "[caches[0]] * 2")),
    "the two gradients exchanged": (D_BACKWARD, D_BACKWARD.replace("(do,", "(do[::-1],")),
    "D's update forgotten": ("self.optimizer_d.compute(d, turn)", "pass"),
    "G's update forgotten": ("self.optimizer_g.compute(g)", "pass"),
    "D's gradient forgotten": (D_BACKWARD, "pass"),
    "G's gradient forgotten": (G_BACKWARD, "pass"),
    "D's update before its gradient": (
        f"{D_BACKWARD}\n            penalty = None\n        {DROPPED}\n        self.optimizer_d.compute(d, turn)",
        f"self.optimizer_d.compute(d, turn)\n            {D_BACKWARD}\n            penalty = None",
    ),
    "G's cache of another pass": (
        G_BACKWARD,
        G_BACKWARD.replace(" cache,", " g.forward_in_parts(self.noise(len(real)), train=True)[1],"),
    ),
    "G's gradient scaled": (D_JUDGED, D_JUDGED.replace("ds_fake", "0.9 * ds_fake")),
    "G's step through D on real images": ("d.forward_in_parts(self._as_shown(fake)", "d.forward_in_parts(batch"),
    "G's step writes to D": (D_JUDGED, D_JUDGED.replace("cache_d)", "cache_d, grads=d.grads)")),
    "D's gradients add up over steps": (D_BACKWARD, f"left = d.flat_grads.copy(); {D_BACKWARD}; d.flat_grads[...] += left"),
    "G's gradients add up over steps": (G_BACKWARD, f"left = g.flat_grads.copy(); {G_BACKWARD}; g.flat_grads[...] += left"),
    "a penalty without its gradient": (LOSS_D, f"{LOSS_D} + 0.1 * (d.flat_grads**2).sum()"),
    "L_D of one half": (LOSS_D, f"{LOSS_D} / 2"),
    "the losses exchanged": (f'{LOSS_D}, "loss_g": loss_g', '"loss_d": loss_g, "loss_g": stats.pop("loss_d")'),
}


def test_the_step_as_it_stands_passes():
    assert mg.check_game(game(rewritten()), REAL).ok


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_step_is_caught(fault):
    kind = rewritten(FAULTS[fault])
    assert is_caught(lambda: mg.check_game(game(kind), REAL, **ONE))


def test_what_the_rest_of_the_step_does_to_gradients_is_named():
    report = mg.check_game(game(rewritten(FAULTS["G's step writes to D"])), REAL, **ONE)
    (row,) = (row for row in report.rows if row.max_error >= report.tolerance)
    assert row.name == "discriminator: gradients after its update"
    assert "touched" in str(row)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ([('"loss_g": loss_g', '"loss_of_g": loss_g')], "'loss_g'"),
        ([("self.optimizer_d.compute(d, turn)", "pass")], "update the discriminator"),
    ],
)
def test_a_game_that_does_not_do_what_it_says_is_refused(changes, name):
    said = r"Rewritten: its step must return 'loss_.' and update the .* by its optimiser"
    with pytest.raises(OptionError, match=said) as e:
        mg.check_game(game(rewritten(*changes)), REAL)
    assert name in str(e.value)


class TwoUpdates(mg.GAN):
    """D is updated twice in a step; the first gradient is wrong, and only the second is seen in the end."""

    def compute(self, real, z=None):
        d = self.discriminator
        s_real, caches = d.forward(real, train=True)
        d.backward(s_real, caches, grads=d.grads, input_grad=False)
        self.optimizer_d.compute(d)
        return super().compute(real, z)


def test_a_step_with_two_updates_of_a_network_is_refused():
    game = TwoUpdates(*mg.models.mlp((4, 4, 1), 3, 5, backend="textbook"))
    with pytest.raises(OptionError, match="updates the discriminator 2 times, by different gradients"):
        mg.check_game(game, np.zeros((2, 4, 4, 1)))


# -- what cannot be proved is refused ------------------------------------------------------------------------------------


class Unnamed(mg.GAN):
    """Three networks, of which one learns by what no loss is named for."""

    def __init__(self, *nets):
        super().__init__(*nets)
        self.networks["head"] = mg.Sequential([mg.Dense(1)], (3,), "textbook")
        self.optimizers["head"] = mg.SGD(0.1)
        self.optimizers["head"].attach(self.networks["head"])


class Hidden(mg.GAN):
    """An optimiser beside those that the game names."""

    def __init__(self, *nets):
        super().__init__(*nets)
        self.more = {"of D": [mg.SGD(0.1)]}
        self.more["of D"][0].attach(self.discriminator)


class ByHand(mg.GAN):
    def compute(self, real, z=None):
        stats = super().compute(real, z)
        self.generator.flat_params[...] -= 0.1 * self.generator.flat_grads
        return stats


class WrongNetwork(mg.GAN):
    def compute(self, real, z=None):
        self.optimizer_g.compute(self.discriminator)
        return super().compute(real, z)


class Counts(mg.GAN):
    def compute(self, real, z=None):
        held = vars(self).setdefault("held", [])
        held.append(1)
        stats = super().compute(real, z)
        return {**stats, "loss_g": stats["loss_g"] * len(held)}


class Closed(mg.GAN):
    """Its step reaches D by a function, which a copy of the game does not copy."""

    def __init__(self, *nets):
        super().__init__(*nets)
        d = self.discriminator
        self.judge = lambda x: d.forward(x, train=True)

    def compute(self, real, z=None):
        self.judge(real)
        return super().compute(real, z)


class Uncopied(mg.GAN):
    def __init__(self, *nets):
        super().__init__(*nets)
        self.held = (part for part in "a generator of Python's cannot be copied")


REFUSED = {
    Unnamed: "losses does not say what the head minimises",
    Hidden: "holds an optimiser that game.optimizers does not name",
    ByHand: "moves the generator by more than its optimiser",
    WrongNetwork: "the gradients of another network",
    Counts: "does not repeat itself",
    Closed: "runs a network from within a function",
    Uncopied: "cannot be copied",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_proved_is_refused(kind):
    own = game(kind)
    before = {name: a.copy() for name, a in own.state_dict().items()}
    with pytest.raises(OptionError, match=REFUSED[kind]) as error:
        mg.check_game(own, REAL)
    assert len(str(error.value)) <= 300
    assert all(np.array_equal(a, before[name]) for name, a in own.state_dict().items())
    assert all(net.watch is None for net in own.networks.values())


class OwnNoise(mg.GAN):
    """Noise of a stream of its own, a count of its own, and NumPy's stream for all: each step of the check sees the same."""

    def __init__(self, *nets, **options):
        super().__init__(*nets, **options)
        self.rng, self.calls = np.random.default_rng(5), 0

    def noise(self, n):
        self.calls += 1
        return self.rng.standard_normal((n, self.latent_dim)) + np.random.random() + self.calls


class SignOfTheAverage(mg.GAN):
    def _update_average(self):
        self.generator.flat_grads[...] *= -1
        super()._update_average()


class SignInAdvance(mg.GAN):
    sign = 1

    def advance(self):
        self.sign = -1
        super().advance()

    def compute(self, real, z=None):
        bound = self.objective
        own = type(bound)()
        own.backend = bound.backend
        own.generator = lambda s, s_real=None: (bound.generator(s)[0], self.sign * bound.generator(s)[1])
        self.objective = own
        try:
            return super().compute(real, z)
        finally:
            self.objective = bound


def test_noise_of_ones_own_is_drawn_again():
    own = game(OwnNoise)
    state, shared = own.rng.bit_generator.state, np.random.get_state()[2]
    assert mg.check_game(own, REAL, **ONE).ok
    assert (own.rng.bit_generator.state, own.calls, np.random.get_state()[2]) == (state, 0, shared)


@pytest.mark.parametrize("kind", [SignOfTheAverage, SignInAdvance])
def test_faults_in_other_parts_of_a_game_are_caught(kind):
    assert is_caught(lambda: mg.check_game(game(kind, ema=0.9), REAL, **ONE))


class Climbs(mg.SGD):
    """Moves up the slope."""

    def scalars(self, lr, step):
        return super().scalars(-lr, step)


@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_an_optimiser_that_climbs_is_caught(network):
    report = mg.check_game(game(**{f"optimizer_{network[0]}": Climbs(0.1)}), REAL, **ONE)
    assert [row.name for row in report.rows if row.max_error > 1e-6] == [f"{network}: its updates go downhill"]


@pytest.mark.parametrize(
    "optimizer", [mg.SGD(0.1, momentum=0.9), mg.Adam(weight_decay=0.1), mg.SGD(1e-9)], ids=["momentum", "decay", "slow"]
)
def test_any_optimiser_that_goes_down_passes(optimizer):
    trained = game(optimizer_g=optimizer)
    for _ in range(3):
        trained.step(REAL.astype("f4"))
    before = trained.state_dict()
    assert mg.check_game(trained, REAL, **ONE).ok
    assert all(np.array_equal(array, before[name]) for name, array in trained.state_dict().items())


CHECKS = {
    "game": lambda **options: mg.check_game(game(), REAL, **options),
    "layer": lambda **options: mg.check_layer(mg.Dense(3), (4,), **options),
    "network": lambda **options: mg.check_gradients(game().discriminator, REAL, **options),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_entries": -1}, "max_entries is -1: expected a whole number from 1 up"),
        ({"max_entries": 0}, "max_entries is 0"),
        ({"max_entries": "x"}, "max_entries is 'x'"),
        ({"tolerance": float("inf")}, "tolerance is inf: expected a number from 0 up"),
        ({"tolerance": float("nan")}, "tolerance is nan"),
        ({"tolerance": -1}, "tolerance is -1"),
        ({"tolerance": "x"}, "tolerance is 'x'"),
        ({"mode": "x" * 900}, "unknown mode 'xxx.*: choose full or projection"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_options_of_a_check_prove_nothing(check, options, said):
    with pytest.raises(OptionError, match=said):
        CHECKS[check](**options)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (lambda: mg.check_game(3, REAL), r"game is 3: expected a game, as minigan.GAN\(G, D\)"),
        (lambda: mg.check_gradients(mg.Dense(3), REAL), "net is Dense.*: expected a Sequential; a layer alone has check_layer"),
        (lambda: mg.check_layer(REAL, (3,)), "layer is array[^\\n]*: expected a layer"),
        (lambda: mg.check_layer(mg.Dense(3), (3,), batch=0), "batch is 0"),
    ],
)
def test_what_is_none_of_its_kind_is_refused(check, said):
    with pytest.raises(OptionError, match=said):
        check()


class Warmed(mg.optim.Optimizer):
    """Climbs, though its schedule begins with 0."""

    def __init__(self):
        super().__init__(lambda step: 0.1 * step)

    def apply(self, net, lr):
        net.flat_params += lr * net.flat_grads


class Layerwise(mg.SGD):
    """Climbs by steps as long as the weights are."""

    def apply(self, net, lr):
        size = np.linalg.norm(net.flat_params) / np.linalg.norm(net.flat_grads)
        net.flat_params += lr * size * net.flat_grads


class Later(mg.SGD):
    """Climbs from the second update on."""

    def scalars(self, lr, step):
        return super().scalars(lr if step == 1 else -lr, step)


class Part(mg.SGD):
    """Climbs in one array."""

    def apply(self, net, lr):
        super().apply(net, lr)
        net.params["1.bias"][...] += 3 * lr * net.grads["1.bias"]


class Asleep(mg.SGD):
    def apply(self, net, lr):
        pass


@pytest.mark.parametrize("make", [Warmed, *(partial(kind, 0.1) for kind in (Layerwise, Later, Part, Asleep))])
def test_an_optimiser_that_climbs_somewhere_is_caught(make):
    with np.errstate(all="ignore"):
        report = mg.check_game(game(optimizer_d=make()), REAL, **ONE)
    assert [row.name for row in report.rows if row.max_error > 1e-6] == ["discriminator: its updates go downhill"]


class Locked(mg.SGD):
    """Cannot be copied deeply."""

    def __init__(self, lr):
        super().__init__(lr)
        self.lock = threading.Lock()


class Fails(mg.SGD):
    def apply(self, net, lr):
        raise RuntimeError("two\nlines")


def test_an_optimiser_that_cannot_be_copied_is_checked_and_one_that_fails_named():
    assert mg.check_game(game(optimizer_d=Locked(0.1)), REAL, **ONE).ok
    with pytest.raises(OptionError, match=r"^Fails: its update fails: RuntimeError[^\n]*$"):
        mg.check_game(game(optimizer_d=Fails(0.1)), REAL, **ONE)


@pytest.mark.parametrize("values", ["a", {}, 1j, None, [["x"]]])
def test_what_is_no_array_of_numbers_is_refused(values):
    for check in (lambda: mg.check_game(game(), values), lambda: mg.check_gradients(game().discriminator, values)):
        with pytest.raises(OptionError, match="expected an array of real numbers"):
            check()
