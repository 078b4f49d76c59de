"""A captured step does what the step does, to the bit: here on guarded arrays, whose capture does nothing until it is launched.

With a GPU, tests/backends/cupy/test_gpu.py asks the same of CUDA itself.
"""

import gc
from collections import namedtuple
from functools import cache
from types import SimpleNamespace

import cuda_on_host
import guarded
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_games import DATA, GAMES, IMAGE, captured, check_two_batches, no_complaint, play, same

import minigan as mg
from minigan.backends import DeviceScalar
from minigan.backends.cupy import cublas, graph
from minigan.backends.cupy.graph import Graph
from minigan.backends.cupy.scalars import Board
from minigan.data import Batches, load
from minigan.errors import BackendError, DeviceMemoryError


@pytest.mark.parametrize("name", GAMES)
def test_a_captured_game_is_the_game(device, name):
    """Over three epochs: schedules, moments, averages, noise, masks and the order of the data all move on as they should."""
    plain, replayed = (play(device, GAMES[name], 8, on) for on in (False, True))
    assert len({stats["loss_d"] for stats in plain[0]}) == 8, "the steps differ"
    assert same(replayed, plain)
    assert replayed[1]["optimizer_generator.steps"] == 8


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_a_replay_neither_waits_nor_copies(device, name):
    """But for the order of the data, which goes over once an epoch."""
    game, batches = GAMES[name](device), Batches(DATA, 6, device)
    step = mg.capture(game, batches, no_complaint)
    for _ in range(3):
        step()  # the third brings results over, to compare them
    assert step.phase == "replay"
    for call in range(4, 10):
        before = guarded.traffic.copy()
        step()
        assert guarded.traffic - before == ({"upload": 1} if call in (4, 7) else {})


@pytest.mark.parametrize(("name", "most"), [("mlp", 68), ("dcgan", 202)])
def test_launches_of_a_reference_step(device, name, most):
    """A network this small costs what its launches cost; whoever adds one should know. Narrow images take the same ones."""
    game = mg.GAN(*getattr(mg.models, name)(backend=device, **({"width": 2} if name == "dcgan" else {})))
    batches = Batches(load("digits"), 128, device)
    step = mg.capture(game, batches, no_complaint)
    step()
    step()
    assert guarded.Stream.captured <= most


def test_what_a_replay_returns_stays(device):
    x, count = device.zeros((3,), "float32"), device.scalar("float32")
    pair = namedtuple("pair", ["first", "second"])

    def step():
        device.elementwise_update(lambda xp, x, one: (x + one,), (x,), one=count.value)
        return {
            "sum": device.column_sum(x.reshape(3, 1)),
            "scalars": [x[0, ...], (x[1, ...], "text")],
            "named": pair(x[2, ...], 1),
            "none": None,
        }

    own = captured(device, step, advance=lambda: count.set(1.0))
    results = [own() for _ in range(4)]
    device.synchronize()
    for number, result in enumerate(results, 1):
        assert result["none"] is None
        assert result["scalars"][1][1] == "text"
        assert result["named"].second == 1
        if number > 2:  # those before ran eagerly, and returned views
            got = [result["sum"][0, ...], result["scalars"][0], result["scalars"][1][0], result["named"].first]
            assert [float(v) for v in got] == [3.0 * number, number, number, number]


def test_textbook_runs_eagerly_without_a_word():
    book, ran = mg.get_backend("textbook"), []
    step = captured(book, lambda: ran.append(1))
    for _ in range(4):
        step()
    assert (step.phase, len(ran)) == ("eager", 4)


# -- what cannot be captured ---------------------------------------------------------------------------------------------


class ReadsBack(mg.Tanh):
    """A layer that waits for the device."""

    def forward(self, x, train=False):
        return super().forward(x * float(x.max() < 9), train)


class SetsAScalar(mg.Tanh):
    """A layer that sets a scalar as it computes."""

    scalar: DeviceScalar | None = None

    def forward(self, x, train=False):
        self.scalar = self.scalar or self.backend.scalar()
        self.scalar.set(2.0)
        return super().forward(self.scalar.value.astype(x.dtype) * x, train)


class MakesAScalar(SetsAScalar):
    """A layer that makes a scalar whenever it runs."""

    def forward(self, x, train=False):
        self.scalar = None
        return super().forward(x, train)


class MultipliesByCupy(mg.Dense):
    """A layer whose product is CuPy's own."""

    def forward(self, x, train=False):
        return x @ self.weight + self.bias, x


UNFIT = [
    (ReadsBack, "StreamCaptureUnsupported"),
    (SetsAScalar, "belongs in advance"),
    (MakesAScalar, "make it beforehand"),
    (lambda: MultipliesByCupy(64), "calling cuBLAS API during stream capture"),
]


@pytest.mark.parametrize(("layer", "reason"), UNFIT)
def test_a_step_that_cannot_be_captured_says_so_once_and_goes_on(device, layer, reason):
    def make(be):
        generator = mg.Sequential([mg.Dense(64), layer(), mg.Reshape(IMAGE)], (5,), be)
        return mg.GAN(generator, mg.models.mlp(IMAGE, 5, backend=be)[1])

    said = []
    assert same(play(device, make, 5, captured=True, log=said.append), play(device, make, 5, captured=False))
    assert len(said) == 1
    assert said[0].startswith("not captured, running eagerly: ")
    assert reason in said[0]
    assert cuda_on_host.recording is None


def test_a_graph_whose_memory_ran_short_is_refused(device, monkeypatch):
    """CuPy's pool then gives back free blocks, which launches recorded before still write to."""
    pool = SimpleNamespace(malloc=None, total_bytes=lambda: 512)
    monkeypatch.setattr(guarded.cupy.cuda, "MemoryPool", lambda allocate: pool)
    said = []
    assert same(play(device, GAMES["mlp"], 4, True, said.append), play(device, GAMES["mlp"], 4, False))
    assert said == ["not captured, running eagerly: the GPU has too little room for the memory of its own that a graph needs"]


def test_replays_leave_nothing_to_the_garbage_collector(device):
    """What waits for it would hold on to the device's memory meanwhile."""
    game, batches = GAMES["mlp"](device), Batches(DATA, 20, device)
    step = mg.capture(game, batches, no_complaint)
    for _ in range(3):
        step()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            step()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert not [waiting for waiting in gc.garbage if isinstance(waiting, guarded.DeviceArray)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_an_error_of_the_step_itself_is_raised(device):
    calls = []

    def step():
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("of its own")

    own = captured(device, step, log=lambda message: None)
    own()
    for _ in range(2):
        with pytest.raises(ValueError, match="of its own"):
            own()


@pytest.mark.parametrize("within", [True, False], ids=["in compute", "in advance"])
def test_a_step_with_two_batches_and_two_updates_is_itself_or_refused(device, within):
    check_two_batches(device, within)


def test_a_graph_without_room_beside_it_is_replayed_uncompared(device, monkeypatch):
    """Both would need the device's memory at once."""
    pool = SimpleNamespace(malloc=None, total_bytes=lambda: 1 << 50)
    monkeypatch.setattr(guarded.cupy.cuda, "MemoryPool", lambda allocate: pool)
    monkeypatch.setattr(guarded.cupy.cuda, "MemoryPointer", lambda memory, offset: None, raising=False)
    monkeypatch.setattr(graph, "sum", lambda taken: 1 << 50, raising=False)
    game, batches = GAMES["mlp"](device), Batches(DATA, 6, device)
    step = mg.capture(game, batches, no_complaint)
    step()
    step()
    assert step.phase == "replay"
    for _ in range(3):
        step()
    own = GAMES["mlp"](device), Batches(DATA, 6, device)
    for _ in range(5):
        own[0].step(own[1].next())
    assert all(np.array_equal(a, own[0].state_dict()[name]) for name, a in game.state_dict().items())


FAULTS = {
    "nothing is put back": (Graph, "rollback", lambda self: None),
    "scalars stay as they were": (Graph, "replay", lambda self: (self._graph.launch(), self._results.copy())[1]),
    "launches are left out": (Graph, "replay", lambda self: replay_in_part(self)),
}


def replay_in_part(graph):
    graph._flush()
    for launch in graph._graph.launches[:-5]:
        launch()
    return graph._results.copy()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_graph_that_is_another_step_is_seen_before_it_is_trusted(device, monkeypatch, fault):
    said = []
    plain = play(device, GAMES["average and schedule"], 6, False)
    monkeypatch.setattr(*FAULTS[fault])
    replayed = play(device, GAMES["average and schedule"], 6, True, said.append)
    assert "replayed, it is another step (" in said[0]
    assert same(replayed, plain) or fault == "nothing is put back"


def test_a_frozen_number_is_seen(device):
    """An optimiser that keeps a plain float would repeat the learning rate that it was captured with."""

    class Frozen(mg.SGD):
        def scalars(self, lr, step):
            self.lr = lr
            return {}

        def apply(self, net):
            net.backend.elementwise_update(mg.optim.sgd_plain, (net.flat_params,), net.flat_grads, lr=self.lr)

    def make(be):
        return GAMES["mlp"](be, optimizer_g=Frozen(mg.optim.linear(0.1, 9)))

    said = []
    assert same(play(device, make, 5, True, said.append), play(device, make, 5, False))
    assert said == [
        "not captured, running eagerly: Frozen.lr changes from call to call and is neither an array nor a DeviceScalar"
    ]


def test_a_number_may_be_set_between_the_calls(device):
    x, number = device.zeros((2,), "float32") + 1, device.scalar("float32")
    step = captured(device, lambda: device.elementwise(lambda xp, x, k: x * k, x, k=number.value))
    for value in (1.0, 3.0, 5.0, 7.0):
        number.set(value)
        assert device.to_numpy(step()).tolist() == [value, value]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_meet_arrays_in_their_dtype(device, dtype):
    """Also where a formula has no kernel, and in an optimiser of one's own that computes on arrays."""

    class Own(mg.optim.Optimizer):
        def apply(self, net, lr):
            change = lr * net.flat_grads
            assert change.dtype == net.dtype
            net.flat_params -= change

    x, number = device.zeros((2,), dtype) + 2, device.scalar(dtype)
    number.set(3.0)
    for formula in (lambda xp, x, k: x * k, lambda xp, x, k: xp.clip(x * k, 0, 9)):
        product = device.elementwise(formula, x, k=number.value)
        assert (product.dtype, device.to_numpy(product).tolist()) == (dtype, [6.0, 6.0])
    net = mg.Sequential([mg.Dense(2)], (3,), device, dtype)
    net.flat_grads[...] = 1.0
    before, own = device.to_numpy(net.flat_params), Own(0.5)
    own.update(net)
    np.testing.assert_allclose(device.to_numpy(net.flat_params), before - 0.5, rtol=1e-6)


def test_more_numbers_than_a_board_has(device):
    numbers = [device.scalar() for _ in range(2 * Board.SIZE + 3)]
    for value, number in enumerate(numbers):
        number.set(value)
    assert [float(number.value) for number in numbers] == list(range(len(numbers)))


# -- products ------------------------------------------------------------------------------------------------------------


VIEWS = {
    "rows": lambda x: x,
    "columns": lambda x: x.swapaxes(0, 1).copy().swapaxes(0, 1),
    "every other row": lambda x: x.repeat(2, 0)[::2],
    "part of wider rows": lambda x: np.hstack([x, x])[:, : x.shape[1]],
    "part of wider columns": lambda x: np.hstack([x.T, x.T])[:, : x.shape[0]].T,
    "every other value": lambda x: x.repeat(2, 1)[:, ::2],
}


@given(
    st.lists(st.integers(1, 5), min_size=3, max_size=3),
    *[st.sampled_from(list(VIEWS))] * 2,
    st.sampled_from(["float32", "float64"]),
)
def test_products_of_any_views(device, sizes, first, second, dtype):
    """The operations and leading dimensions that cuBLAS is told, against NumPy."""
    assert products_agree(device, sizes, first, second, dtype)


@pytest.mark.parametrize(("name", "fault"), [("_TRANSPOSE", 0), ("_layout", lambda cupy, x: (x, 0, x.shape[1]))])
def test_planted_faults_in_products_are_seen(device, monkeypatch, name, fault):
    views = ([3, 4, 5], "columns", "part of wider rows", "float32")
    assert products_agree(device, *views)
    monkeypatch.setattr(cublas, name, fault)
    try:
        assert not products_agree(device, *views)
    except BackendError as error:  # the leading dimension is too small for what the library is told
        assert "cuBLAS failed with status 7" in str(error)  # noqa: PT017


def products_agree(device, sizes, first, second, dtype):
    """Whether a b is NumPy's."""
    (m, k, n), rng = sizes, np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    ours = VIEWS[first](device.asarray(a)), VIEWS[second](device.asarray(b))
    out = device.zeros((m, n), dtype)
    out[...] = np.nan
    rounding = 32 * np.finfo(dtype).eps  # of sums of up to five products of numbers from N(0, 1)
    return np.allclose(device.to_numpy(device.matmul(*ours, out=out)), a @ b, rtol=0, atol=rounding)


# -- memory --------------------------------------------------------------------------------------------------------------


def test_no_room_is_a_message(device):
    net = mg.Sequential([mg.Dense(100_000)], (10,), device)
    x = device.zeros((1, 10), "float32")
    with pytest.raises(DeviceMemoryError, match=r"array \(40000, 100000\) of 15,259 MiB \(8,192 of 16,384 MiB free\).*batch"):
        net.forward(guarded.cupy.broadcast_to(x, (40_000, 10)))


# -- precision -----------------------------------------------------------------------------------------------------------


def test_tf32_is_less_exact_in_products_of_floats_alone(device):
    a, b = np.random.default_rng(0).standard_normal((2, 50, 50))
    errors = {}
    for precision in ("float32", "tf32"):
        for dtype in ("float32", "float64"):
            be = mg.get_backend("cupy", precision)
            product = be.to_numpy(be.matmul(be.asarray(a, dtype), be.asarray(b, dtype)))
            errors[precision, dtype] = np.abs(product - a @ b).max() / np.abs(a @ b).max()
    assert errors["float32", "float32"] < 1e-6
    assert 1e-5 < errors["tf32", "float32"] < 1e-3
    assert errors["tf32", "float64"] < 1e-15


def test_precision_is_of_cupy_alone():
    with pytest.raises(BackendError, match="precision 'tf32' needs the backend cupy, this is numpy"):
        mg.get_backend("numpy", "tf32")
    with pytest.raises(BackendError, match=r"unknown precision 'tf23': did you mean 'tf32'\?"):
        mg.get_backend("auto", "tf23")
    with pytest.raises(BackendError, match="made with precision float32, not tf32"):
        mg.get_backend(mg.get_backend("numpy"), "tf32")


# -- what is bound anew once the step is replayed --------------------------------------------------------------------------


def other_stream(game):
    game.streams = {"noise": game.backend.generator((99, 1))}


BOUND_ANEW = {
    "objective": lambda game: setattr(game, "objective", mg.losses.Saturating().bind(game.backend)),
    "its smoothing": lambda game: setattr(game.objective, "smoothing", 0.3),
    "betas": lambda game: setattr(game.optimizer_g, "betas", (0.1, 0.9)),
    "learning rate": lambda game: setattr(game.optimizer_d, "schedule", lambda step: 0.1),
    "a layer's slope": lambda game: game.discriminator.layers[2].options.update(slope=0.7),
    "a layer's rate": lambda game: setattr(game.discriminator.layers[3], "rate", 0.9),
    "a stream": other_stream,
    "the streams": lambda game: game.streams.update(noise=game.backend.generator((99, 1))),
}


def other_method(game):
    own = game.noise
    game.noise = lambda n: 0.5 * own(n)


def other_loss(game):
    own = game.objective.generator
    game.objective.generator = lambda *s: [3 * part for part in own(*s)]


class Held:
    weight = 1.0


class Weighted(mg.losses.NonSaturating):
    """Has a number of its own in an object of its own."""

    def __init__(self):
        super().__init__()
        self.held = Held()
        self.held.weight = 1.0

    def generator(self, s_fake, s_real=None):
        loss, ds = super().generator(s_fake, s_real)
        return loss, self.held.weight * ds


def other_weight(game):
    game.objective.held.weight = 4.0


BOUND_ANEW |= {
    "a method": other_method,
    "a method of the objective": other_loss,
    "a number held by the objective": other_weight,
    "moments": lambda game: game.optimizer_d.state.update(m_sum=game.optimizer_d.state["m_sum"] + 1),
    "a layer's stream": lambda game: setattr(game.discriminator.layers[3], "rng", game.backend.generator((7, 7))),
}


def nothing(game):
    """No change."""


@cache
def play_without_change(be, objective):
    return play_with_change(be, nothing, True, objective)[0]


def play_with_change(be, change, on, objective=None):
    layers = [mg.Flatten(), mg.Dense(4), mg.LeakyReLU(), mg.Dropout(0.3), mg.Dense(1)]
    nets = mg.models.mlp(IMAGE, 5, (6, 7), backend=be)[0], mg.Sequential(layers, IMAGE, be)
    game = mg.GAN(*nets, objective=objective and objective())
    batches = Batches(DATA, 6, be)
    step = mg.capture(game, batches, no_complaint) if on else lambda: game.step(batches.next())
    for call in range(9):
        if call == 5:
            change(game)
        step()
    return game.state_dict(), getattr(step, "phase", None)


@pytest.mark.parametrize("where", ["device", "numpy"])
@pytest.mark.parametrize("name", BOUND_ANEW)
def test_what_is_bound_anew_is_heeded(device, where, name):
    be = device if where == "device" else mg.get_backend("numpy")
    objective = Weighted if BOUND_ANEW[name] is other_weight else None
    (plain, _), (replayed, phase) = (play_with_change(be, BOUND_ANEW[name], on, objective) for on in (False, True))
    unchanged = play_without_change(be, objective)
    assert phase == "replay", "it is recorded again"
    assert all(np.array_equal(array, replayed[key]) for key, array in plain.items())
    assert not all(np.array_equal(array, unchanged[key]) for key, array in plain.items()), "the change is one"


def test_what_is_bound_anew_all_the_time_is_not_recorded_for_ever(device):
    game, said = GAMES["mlp"](device), []
    step = mg.capture(game, Batches(DATA, 6, device), said.append)
    for call in range(60):
        if call % 5 == 4:  # once it is replayed
            game.objective.smoothing += 0.001
        step()
    assert step.phase == "eager"
    assert len(said) == 1
    assert "smoothing changes again and again" in said[0]


@pytest.mark.parametrize("value", [255.0, np.nan])
def test_batches_of_ones_own_are_looked_at_before_anything_moves(value):
    class Own(mg.Step):
        backend, networks, optimizers = mg.get_backend("numpy"), {}, {}

        def advance(self):
            pass

        def take(self):
            return np.full((4, *IMAGE), value, "f4")

    game = GAMES["mlp"](Own.backend)
    before = game.state_dict()
    with pytest.raises(mg.MiniganError, match="real samples"):
        mg.capture(game, Own(), no_complaint)()
    assert all(np.array_equal(array, before[name]) for name, array in game.state_dict().items() if "steps" not in name)


@pytest.mark.parametrize("objective", ["mse", 3, (1, 2)])
def test_a_step_may_call_anything_its_objective(device, objective):
    class Own(mg.Step):
        def __init__(self):
            self.backend, self.objective, self.x = device, objective, device.zeros((3,), "float32")

        def compute(self):
            device.elementwise_update(lambda xp, x: (x + 1,), (self.x,))
            return self.x

    step = mg.capture(Own(), log=no_complaint)
    assert [device.to_numpy(step())[0] for _ in range(5)] == [1, 2, 3, 4, 5]
    assert step.phase == "replay"


def test_batches_are_batches(device):
    with pytest.raises(mg.MiniganError, match=r"batches is a ndarray: expected minigan\.Batches"):
        mg.capture(GAMES["mlp"](device), np.zeros((4, *IMAGE), "f4"))
