"""Copies and pickles of networks, optimisers, games, data and captured steps: the same next step, and nothing shared."""

import copy
import os
import pickle

import numpy as np
import pytest
from small_games import DATA, GAMES, no_complaint

import minigan as mg
from minigan import copying, errors
from minigan.data import Batches
from minigan.errors import CheckpointError, MiniganError

HOW = {"deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}


@pytest.fixture(params=HOW)
def twin_of(request):
    return HOW[request.param]


def arrays(game):
    return {name: a.tobytes() for name, a in game.state_dict().items()}


@pytest.mark.parametrize("captured", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("name", GAMES)
def test_a_copied_game_takes_the_same_next_steps(name, captured, twin_of):
    check_copies(mg.get_backend("numpy"), name, captured, twin_of)


@pytest.mark.parametrize("captured", [False, True])
def test_a_copied_game_on_a_device(device, captured):
    check_copies(device, "dropout", captured, copy.deepcopy)


def check_copies(backend, name, captured, twin_of):
    game, batches = GAMES[name](backend), Batches(DATA, 6, backend)
    step = mg.capture(game, batches, no_complaint) if captured else None
    for _ in range(4):
        step() if step else game.step(batches.next())
    before = arrays(game)
    other, others = twin_of((game, batches))
    again = twin_of(step) if step else None
    for _ in range(4):
        other.step(others.next())
        if again:
            again()
    assert arrays(game) == before != arrays(other), "nothing is shared"
    for _ in range(4):
        step() if step else game.step(batches.next())
    assert arrays(game) == arrays(other)
    assert game.random_state == other.random_state
    if again:
        assert arrays(game) == arrays(again._own_step())
        assert again.phase == step.phase or step._others  # each variant of a step is recorded after calls of its own


def test_views_stay_views(twin_of):
    game = twin_of(GAMES["average and schedule"](mg.get_backend("numpy")))
    assert game.optimizers["generator"]._net is game.generator is game.networks["generator"]
    for net in (*game.networks.values(), game.average):
        for layer in net.layers:
            for name in layer.params:
                net.flat_params[...] = 3.0
                assert (getattr(layer, name) == 3.0).all()
                assert getattr(layer, name) is layer.params[name]
            for name in layer.state:
                assert getattr(layer, name) is net.state[f"{layer.index}.{name}"]


PARTS = {
    "a network": lambda: mg.Sequential([mg.Conv2d(3, 3), mg.BatchNorm(), mg.Dropout(0.1)], (5, 5, 1), "numpy", "float64"),
    "a layer": lambda: mg.Conv2d(3, 3, weight_init=mg.he(), bias_init=mg.constant(0.5)),
    "an optimiser": lambda: mg.Adam(mg.optim.cosine(0.1, 9, 0.01)),
    "an objective": lambda: mg.losses.NonSaturating(0.1),
    "a linear schedule": lambda: mg.optim.linear(0.1, 9),
    "data": lambda: Batches(DATA, 6, mg.get_backend("numpy")),
    "a stream": lambda: mg.get_backend("numpy").generator(1),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_are_copied(name, twin_of):
    part = PARTS[name]()
    assert type(twin_of(part)) is type(part)
    assert "object at" in repr(part) or repr(twin_of(part)) == repr(part)


@pytest.mark.parametrize("name", ["textbook", "numpy"])
def test_a_backend_is_itself(name, twin_of):
    backend = mg.get_backend(name)
    assert twin_of(backend) is backend


def test_a_layer_of_a_network_says_why_not(twin_of):
    net = mg.Sequential([mg.Dense(2)], (3,), "textbook")
    with pytest.raises(MiniganError, match=r"^Dense \(layer 0\) has its arrays in a network: copy the network, or take"):
        twin_of(net.layers[0])
    assert twin_of(net.layers[0].fresh()).units == 2
    assert not vars(net.layers[0].fresh()).keys() & {"weight", "bias", "backend"}


@pytest.mark.parametrize(
    "kind", [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, MiniganError)]
)
def test_errors_are_pickled(kind):
    assert pickle.loads(pickle.dumps(kind("what"))).args == ("what",)


# -- all or nothing ------------------------------------------------------------------------------------------------------

DAMAGE = {
    "missing": lambda state, name: state.pop(name),
    "another shape": lambda state, name: state.update({name: np.zeros((7, 7, 7))}),
    "complex": lambda state, name: state.update({name: state[name] + 1j}),
    "text": lambda state, name: state.update({name: np.full(state[name].shape, "x")}),
    "objects": lambda state, name: state.update({name: state[name].astype(object)}),
    "no array": lambda state, name: state.update({name: None}),
    "in excess": lambda state, name: state.update({f"{name}2": state[name]}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_state_that_is_refused_has_changed_nothing(damage):
    be = mg.get_backend("numpy")
    game, other = (GAMES["average and schedule"](be) for _ in range(2))
    other.step(be.asarray(np.zeros((4, 8, 8, 1), "f4")))
    before, loaded = arrays(game), other.state_dict()
    for name in loaded:
        state = dict(loaded)
        DAMAGE[damage](state, name)
        with pytest.raises(CheckpointError) as error:
            game.load_state_dict(state)
        assert len(str(error.value)) <= 300
        assert arrays(game) == before
    game.load_state_dict(loaded)
    assert arrays(game) == arrays(other)


@pytest.mark.parametrize("steps", [-1, 0.5, np.nan])
def test_steps_of_an_optimiser_are_a_count(steps):
    game = GAMES["mlp"](mg.get_backend("numpy"))
    state = {**game.optimizer_g.state_dict(), "steps": np.array(steps), "m_sum": game.generator.flat_params + 1}
    with pytest.raises(CheckpointError, match="steps is"):
        game.optimizer_g.load_state_dict(state)
    assert not game.optimizer_g.state["m_sum"].any()


def test_random_states_are_taken_together_or_not_at_all():
    game = GAMES["dropout"](mg.get_backend("numpy"))
    before = game.random_state
    game.noise(3)
    moved = game.random_state
    for damaged in ({**before, "discriminator": {}}, {**before, "discriminator": {"3": {"bit_generator": "none"}}}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            game.random_state = damaged
        assert game.random_state == moved


REFUSED = {
    "another shape": lambda: (np.zeros((4, 8, 8, 2), "f4"), None),
    "bytes": lambda: (np.zeros((4, 8, 8, 1), "u1"), None),
    "double": lambda: (np.zeros((4, 8, 8, 1)), None),
    "none": lambda: (np.zeros((0, 8, 8, 1), "f4"), None),
    "pixels": lambda: (np.full((4, 8, 8, 1), 255, "f4"), None),
    "z too short": lambda: (np.zeros((4, 8, 8, 1), "f4"), np.zeros((3, 5), "f4")),
    "z of another shape": lambda: (np.zeros((4, 8, 8, 1), "f4"), np.zeros((4, 6), "f4")),
    "z in double": lambda: (np.zeros((4, 8, 8, 1), "f4"), np.zeros((4, 5))),
    "one sample": lambda: (np.zeros((1, 8, 8, 1), "f4"), None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_step_that_is_refused_has_moved_nothing(name):
    """Neither statistics nor noise, nor a count: one value per channel is too few for the dense BatchNorm in the midst of G."""
    layers = [mg.Dense(64), mg.Reshape((8, 8, 1)), mg.BatchNorm(), mg.Flatten(), mg.Dense(64), mg.BatchNorm()]
    g = mg.Sequential([*layers, mg.Tanh(), mg.Reshape((8, 8, 1))], (5,), "numpy")
    d = mg.Sequential([mg.Flatten(), mg.Dense(6), mg.Dropout(0.1), mg.Dense(1)], (8, 8, 1), "numpy")
    game = mg.GAN(g, d, ema=0.9)
    for _ in range(2):
        before, random_state = arrays(game), game.random_state
        with pytest.raises(MiniganError) as error:
            game.step(*REFUSED[name]())
        assert len(str(error.value)) <= 300
        assert (arrays(game), game.random_state) == (before, random_state)
        game.step(np.zeros((4, 8, 8, 1), "f4"))


def test_pixels_are_refused_with_what_to_do():
    game = GAMES["mlp"](mg.get_backend("numpy"))
    with pytest.raises(MiniganError, match=r"real samples lie in \[0, 255\].* ends in Tanh: .* x / 127.5 - 1, .*Batches"):
        game.step(np.linspace(0, 255, 256, dtype="f4").reshape(4, 8, 8, 1))
    with pytest.raises(MiniganError, match=r"x is uint8.*pass pixels as .x / 127.5 - 1..astype"):
        game.step(np.zeros((4, 8, 8, 1), np.uint8))
    game.step(np.full((4, 8, 8, 1), 1.5, "f4"))  # a little noise is nobody's business
    points = mg.GAN(*mg.models.mlp((2,), 2, 4, "numpy"))
    points.step(np.full((4, 2), 255, "f4"))


def test_later_batches_and_noise_are_looked_at_too():
    game = GAMES["mlp"](mg.get_backend("numpy"))
    real, z = np.zeros((4, 8, 8, 1), "f4"), np.zeros((4, 5), "f4")
    game.step(real + 0.5)
    before = game.state_dict()
    real[3, 2] = np.nan
    for args, message in (
        ((real,), "real samples hold NaN"),
        ((0 * real[:3] + 200,), "real samples lie in"),
        ((0 * real[:3], z[:3] / 0), "z holds NaN"),
        ((0 * real[:3], 5), "x is a builtins.int"),
        ((0 * real[:3], z), "z has 4 rows, real has 3"),
    ):
        with np.errstate(all="ignore"), pytest.raises(MiniganError, match=message):
            game.step(*args)
    assert all(np.array_equal(array, before[name]) for name, array in game.state_dict().items())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(8, 8, 1), (2,)], ids=["images", "points"])
def test_numbers_that_are_not_finite_are_refused(shape, value):
    """Beside values that are far away, too: NaN compares with nothing."""
    game = mg.GAN(*mg.models.mlp(shape, 2, 4, "numpy"))
    real = np.full((4, *shape), 1.0, "f4")
    real[0].flat[0], real[1].flat[0] = value, 255
    before = game.state_dict()
    with pytest.raises(MiniganError, match="real samples hold NaN or infinite numbers"):
        game.step(real)
    assert all(np.array_equal(array, before[name]) for name, array in game.state_dict().items())


def test_capture_refuses_data_of_another_shape_before_anything_moves():
    be = mg.get_backend("numpy")
    with pytest.raises(MiniganError, match=r"expected \(N, 8, 8, 1\)"):
        mg.capture(GAMES["mlp"](be), Batches(np.zeros((9, 2), "f4"), 3, be))


@pytest.mark.parametrize(("labels", "said"), [([0, 3], "hold 3"), ([-1, 0], "hold -1")])
def test_labels_out_of_range_are_refused(labels, said):
    with pytest.raises(MiniganError, match=said):
        mg.losses.softmax_cross_entropy(np.zeros((2, 3)), np.array(labels))


@pytest.mark.parametrize("targets", [-0.5, 1.5, 255, np.nan])
def test_targets_out_of_range_are_refused(targets):
    with pytest.raises(MiniganError, match="targets hold"):
        mg.losses.bce_with_logits(np.zeros((2, 3)), np.full((2, 3), targets))


# -- what a game or a network of a subclass keeps beside its networks ------------------------------------------------------


class Keeper(mg.GAN):
    """Has parts of its networks under names of its own, some of them set before the networks are."""

    def __init__(self, generator, discriminator):
        self.first, self.vector = generator.layers[0], discriminator.flat_params
        super().__init__(generator, discriminator)
        self.bias, self.moments = generator.params["0.bias"], [discriminator.grads]


class Headed(mg.Sequential):
    def __init__(self, *parts, **options):
        super().__init__(*parts, **options)
        self.head = self.layers[-1]


def test_a_copy_keeps_the_parts_of_its_own_networks():
    game = copy.deepcopy(Keeper(*mg.models.mlp((2,), 3, 4, "numpy")))
    g, d = game.generator, game.discriminator
    assert game.first is g.layers[0]
    assert game.vector is d.flat_params
    assert game.bias is g.params["0.bias"]
    assert game.moments[0] is d.grads
    assert np.shares_memory(game.bias, g.flat_params)
    net = copy.deepcopy(Headed([mg.Dense(3), mg.Dense(1)], (2,), "numpy"))
    assert net.head is net.layers[-1]


class Stated(mg.GAN):
    """Says itself what is copied of it."""

    __slots__ = ("extra",)

    def __init__(self, *parts):
        super().__init__(*parts)
        self.file, self.extra = open(os.devnull), [3]  # noqa: SIM115 (what a copy leaves out)

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "file"}, {"extra": self.extra}


@pytest.mark.parametrize("how", [copy.deepcopy, copy.copy, HOW["pickle"]])
def test_what_a_game_says_of_its_copies_is_heeded(how):
    game = Stated(*mg.models.mlp((2,), 3, 4, "numpy"))
    twin = how(game)
    game.file.close()
    assert not hasattr(twin, "file")
    assert twin.extra == [3]
    assert (twin.generator is game.generator) == (how is copy.copy)


KEPT_PARTS = {
    "an array in a list": lambda g: [g.params["0.weight"]],
    "a vector": lambda g: g.flat_grads,
    "views by name": lambda g: {"its": g.params},
}


@pytest.mark.parametrize("name", KEPT_PARTS)
def test_a_deep_copy_keeps_an_array_in_its_network_and_a_pickle_refuses(name):
    game = GAMES["mlp"](mg.get_backend("numpy"))
    game.part = KEPT_PARTS[name](game.generator)
    with pytest.raises(MiniganError, match=r"part lies in a network's arrays.* copy\.deepcopy keeps it"):
        pickle.dumps(game)
    assert copy.copy(game).part is game.part
    twin = copy.deepcopy(game)
    own, of_twin = (next(copying._arrays_within({"part": each.part}))[1] for each in (game, twin))
    assert not np.may_share_memory(own, of_twin)
    assert any(np.may_share_memory(of_twin, vector) for vector in (twin.generator.flat_params, twin.generator.flat_grads))


def test_a_slice_of_ones_own_is_refused_by_either_copy():
    game = GAMES["mlp"](mg.get_backend("numpy"))
    game.part = game.generator.flat_params[:5]
    with pytest.raises(MiniganError, match=r"part lies in a network's arrays.* keep the whole array"):
        copy.deepcopy(game)
    with pytest.raises(MiniganError, match="part lies in a network's arrays"):
        pickle.dumps(game)


def test_a_pickle_that_would_part_an_array_from_its_network_says_so():
    with pytest.raises(MiniganError, match=r"^vector lies in a network's arrays, and a copy .*copy\.deepcopy"):
        pickle.dumps(Keeper(*mg.models.mlp((2,), 3, 4, "numpy")))
    with pytest.raises(MiniganError, match="has its arrays in a network"):
        pickle.dumps(Headed([mg.Dense(3), mg.Dense(1)], (2,), "numpy"))
