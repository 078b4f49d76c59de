"""A step that numpy records and replays as a list of NumPy's calls does what the step does, to the bit, or says why not."""

import gc
import re
import threading
from functools import partial

import numpy as np
import pytest
from drawn_geometries import convolutions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from large_convolution import LARGE_CONVOLUTION
from small_games import DATA, GAMES, IMAGE, captured, check_two_batches, no_complaint, play, same
from threadpoolctl import threadpool_info

import minigan as mg
from minigan.backends import machine
from minigan.backends.numpy import convolution, elementwise, replay, threads
from minigan.backends.numpy.call_list import CallList, Recorded
from minigan.capture import Captured, is_builtin
from minigan.data import Batches
from minigan.errors import OptionError

FAST = mg.get_backend("numpy")


@pytest.fixture(autouse=True)
def small_networks_are_small(monkeypatch, two_threads):
    """As they are outside of tests: their convolutions are recorded too."""
    monkeypatch.setattr(threads, "LARGE_CONVOLUTION", LARGE_CONVOLUTION)


@pytest.fixture
def one_thread_in_blocks(monkeypatch):
    """As where each of several processes has one thread: all convolutions are our own, a few images at a time."""
    monkeypatch.setattr(FAST, "threads", 1)
    monkeypatch.setattr(threads, "LARGE_CONVOLUTION", 0)
    monkeypatch.setattr(convolution, "_COLUMNS", 1 << 8)
    for name in ("_DIRECT", "_DIRECT_IN_PLACE", "_ELEMENTS"):
        monkeypatch.setattr(elementwise, name, 1 << 6)


def replays(compute, calls=6, **parts):
    """The results of so many calls of a captured step, which must come to be replayed."""
    step = captured(FAST, compute, **parts)
    results = [step() for _ in range(calls)]
    assert step.phase == "replay"
    return results


def complaint(make, steps=6):
    """What is said of a game that is not recorded, and nothing is lost."""
    said = []
    assert same(play(FAST, make, steps, True, said.append), play(FAST, make, steps, False))
    assert len(said) == 1
    return said[0]


# -- games ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GAMES)
def test_a_recorded_game_is_the_game(name):
    check_recorded_game(name)


@pytest.mark.parametrize("name", GAMES)
def test_a_game_recorded_in_blocks_is_the_game(name, one_thread_in_blocks):
    check_recorded_game(name)


def check_recorded_game(name):
    """Over four epochs: schedules, moments, averages, noise, masks and the order of the data all move on as they should."""
    plain, recorded = (play(FAST, GAMES[name], 12, captured) for captured in (False, True))
    assert len({stats["loss_d"] for stats in plain[0]}) == 12, "the steps differ"
    assert same(recorded, plain)
    assert recorded[1]["optimizer_generator.steps"] == 12
    step = mg.capture(GAMES[name](FAST), Batches(DATA, 6, FAST), no_complaint)
    for _ in range(10):
        step()
    assert {each.phase for each in (step, *step._others.values())} == {"replay"}, "each variant of a step is recorded"


def test_from_the_fourth_call_the_step_itself_runs_no_more():
    game, ran = GAMES["mlp"](FAST), np.zeros(2, int)  # an array, for a plain number that compute changes is refused
    x = np.zeros((4, *IMAGE), "f4")

    def counting(place, work):
        ran[place] += 1
        return work()

    advance = partial(counting, 0, game.advance)
    step = captured(FAST, lambda: counting(1, partial(game.compute, x)), advance=advance)
    seen = []
    for _ in range(6):
        step()
        seen.append(tuple(ran))
    # Eagerly; recorded, and eagerly; eagerly beside the replay; then replays.
    assert seen == [(1, 1), (2, 3), (3, 4), (4, 4), (5, 4), (6, 4)]


LAYERS = {
    "Dense": lambda size: mg.Dense(size),
    "Dense without bias": lambda size: mg.Dense(size, bias=False),
    "BatchNorm": lambda size: mg.BatchNorm(),
    "LayerNorm": lambda size: mg.LayerNorm(),
    "Dropout": lambda size: mg.Dropout(0.4),
    "ReLU": lambda size: mg.ReLU(),
    "LeakyReLU": lambda size: mg.LeakyReLU(0.1),
    "Tanh": lambda size: mg.Tanh(),
    "Sigmoid": lambda size: mg.Sigmoid(),
    "Softplus": lambda size: mg.Softplus(),
    "Softmax": lambda size: mg.Softmax(),
}
OPTIMISERS = {
    "Adam": lambda: mg.Adam(mg.optim.cosine(1e-3, 20)),
    "AdamW": lambda: mg.Adam(mg.optim.linear(1e-3, 20), weight_decay=0.1),
    "SGD": lambda: mg.SGD(mg.optim.linear(0.1, 20)),
    "momentum": lambda: mg.SGD(0.01, momentum=0.9, nesterov=True),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_game_of_dense_networks(data):
    """Drawn layers, sizes, optimisers, averages, dtypes and batch sizes."""
    draw = data.draw
    size, batch = draw(st.integers(1, 40)), draw(st.integers(2, 5))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    inner = [draw(st.lists(st.tuples(st.sampled_from(list(LAYERS)), st.integers(1, 60)), max_size=4)) for _ in range(2)]
    optimisers = [draw(st.sampled_from(list(OPTIMISERS))) for _ in range(2)]
    make_objective = draw(st.sampled_from([mg.losses.NonSaturating, mg.losses.Saturating]))
    options = {"ema": draw(st.sampled_from([None, 0.9])), "objective": make_objective(draw(st.sampled_from([0.0, 0.1])))}

    def play_it(replayed):
        nets = [
            mg.Sequential([*(LAYERS[name](n) for name, n in layers), mg.Dense(ends)], (starts,), FAST, dtype, seed)
            for layers, starts, ends, seed in ((inner[0], 3, size, 0), (inner[1], size, 1, 1))
        ]
        both = [OPTIMISERS[name]() for name in optimisers]
        game = mg.GAN(*nets, optimizer_g=both[0], optimizer_d=both[1], **options)
        points = np.random.default_rng(0).normal(size=(13, size)).astype("f4")
        batches = Batches(mg.data.Dataset("own", points), batch, FAST, dtype)
        run = mg.capture(game, batches, no_complaint) if replayed else lambda: game.step(batches.next())
        values = [{name: value.item() for name, value in run().items()} for _ in range(7)]
        assert not replayed or run.phase == "replay"
        return values, game.state_dict(), game.random_state, batches.state

    plain, recorded = play_it(False), play_it(True)
    assert same(recorded, plain)


def test_large_arrays_too():
    """Products, sums and formulas beyond every limit of the small forms: batch 400 makes arrays of 313,600 elements."""
    x = np.random.default_rng(0).uniform(-1, 1, (400, 28, 28, 1)).astype("f4")
    games = [mg.GAN(*mg.models.mlp(backend=FAST)) for _ in range(2)]
    for _ in range(5):
        games[0].step(x)
    step = captured(FAST, lambda: games[1].compute(x), advance=games[1].advance)
    for _ in range(5):
        step()
    assert step.phase == "replay"
    states = [game.state_dict() for game in games]
    assert all(np.array_equal(states[1][name], array) for name, array in states[0].items())


@pytest.mark.parametrize(
    ("batch", "count", "phase"),
    [
        (42, 2, "eager"),  # work for two threads
        (2, 2, "replay"),
        (42, 1, "replay"),
        (64, 1, "eager"),  # in Winograd's form
    ],
)
def test_which_convolutions_are_recorded(batch, count, phase, monkeypatch):
    """Others are left alone without a word."""
    monkeypatch.setattr(FAST, "threads", count)
    monkeypatch.setattr(FAST, "_costs", convolution.NARROW)
    game, x = mg.GAN(*mg.models.dcgan(backend=FAST)), np.zeros((batch, 28, 28, 1), "f4")
    step = captured(FAST, lambda: game.compute(x), advance=game.advance)
    for _ in range(4):
        step()
    assert step.phase == phase


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    case=st.sampled_from([1, 3, 6]).flatmap(convolutions),
    batch=st.integers(1, 5),
    dtype=st.sampled_from(["float32", "float64"]),
    form=st.sampled_from(["sub-pixel", "col2im"]),
)
def test_any_convolution_in_blocks(one_thread_in_blocks, monkeypatch, case, batch, dtype, form):
    """Both passes, on values that change from call to call."""
    monkeypatch.setattr(convolution, "quickest_form", lambda costs, g, *sizes: form if g.dilation == (1, 1) else "col2im")
    make, shape = case
    net, rng = mg.Sequential([make()], shape, FAST, dtype), np.random.default_rng(0)
    x, dy = (np.zeros((batch, *shape), dtype) for shape in (shape, net.output_shape))

    def advance():
        for array in (x, dy, net.flat_params):
            array[...] = rng.standard_normal(array.shape)

    def compute():
        y, caches = net.forward(x, train=True)
        return y, net.backward(dy, caches, grads=net.grads)

    step = captured(FAST, compute, advance=advance, networks=[net])
    for _ in range(6):
        replayed = [*step(), net.flat_grads.copy()]
        assert all(map(np.array_equal, replayed, [*compute(), net.flat_grads]))
    assert step.phase == "replay"


def test_blas_has_its_own_number_of_threads_afterwards_and_ours_within():
    before = threadpool_info()
    game, x = mg.GAN(*mg.models.mlp(backend=FAST)), np.zeros((16, 28, 28, 1), "f4")
    step = captured(FAST, lambda: game.compute(x), advance=game.advance)
    for _ in range(5):
        step()
    assert threadpool_info() == before
    seen = []
    with threads.BlasThreads(FAST._blas, FAST.threads + 1):
        FAST.with_own_blas_threads(lambda: seen.extend(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"))
    assert set(seen) == {FAST.threads}
    assert threadpool_info() == before


def test_two_games_recorded_in_two_threads():
    """What one thread records, the other does not see."""
    results = {}

    def run(name):
        results[name] = play(FAST, GAMES[name], 12, captured=True)

    both = [threading.Thread(target=run, args=(name,)) for name in ("mlp", "dropout")]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    for name, result in results.items():
        assert same(result, play(FAST, GAMES[name], 12, captured=False))


# -- what cannot be recorded ---------------------------------------------------------------------------------------------


class Scale(mg.Tanh):
    """A layer of one's own: who knows what it does."""

    def forward(self, x, train=False):
        return super().forward(0.5 * x, train)


class Bare(mg.optim.Optimizer):
    """An optimiser that computes on arrays."""

    def apply(self, net, lr):
        net.flat_params -= lr * net.flat_grads


def with_own_layer(be):
    generator = mg.Sequential([mg.Dense(64), Scale(), mg.Reshape(IMAGE)], (5,), be)
    return mg.GAN(generator, mg.models.mlp(IMAGE, 5, backend=be)[1])


CUSTOM = {
    "Scale (layer 1) is not minigan's own": with_own_layer,
    "Bare is not minigan's own": lambda be: GAMES["mlp"](be, optimizer_g=Bare(0.1)),
}


@pytest.mark.parametrize("reason", CUSTOM)
def test_custom_parts_run_eagerly_once_a_call(reason):
    assert complaint(CUSTOM[reason]) == f"not captured, running eagerly: {reason}"
    game, x, ran = CUSTOM[reason](FAST), np.zeros((4, *IMAGE), "f4"), []
    parts = {"advance": game.advance, "networks": game.networks.values(), "optimizers": game.optimizers.values()}
    step = captured(FAST, lambda: (ran.append(1), game.compute(x))[1], log=lambda text: None, **parts)
    for _ in range(4):
        step()
    assert len(ran) == 4


def test_what_is_minigans_own():
    own = type("Own", (mg.Tanh,), {})
    assert [is_builtin(kind) for kind in (mg.Tanh, mg.SGD, own, Bare)] == [True, True, False, False]


def test_a_network_that_is_watched_meanwhile_shows_its_passes():
    """Then replays go on where the steps have left off."""
    games = [GAMES["mlp"](FAST) for _ in range(2)]
    batches = [Batches(DATA, 6, FAST) for _ in games]
    seen = []
    step = mg.capture(games[1], batches[1], no_complaint)
    for call in range(12):
        games[1].discriminator.watch = (lambda layer, what, array: seen.append(what)) if call in (2, 6) else None
        games[0].discriminator.watch = (lambda layer, what, array: None) if call in (2, 6) else None
        ours, plain = step(), games[0].step(batches[0].next())
        assert bool(seen) == (call in (2, 6))
        seen.clear()
        assert ours == plain
    assert step.phase == "replay"


def counting(result):
    """A step that changes something nobody knows of."""
    count = np.zeros(1, int)

    def step():
        count[0] += 1
        return result(FAST._wrap(np.ones(3))[0], int(count[0]))

    return step


STREAM = np.random.default_rng(0)
BROKEN = {
    "a plain number": lambda x, count: x * float(count),
    "a result that is no array": lambda x, count: {"x": x * 2, "count": count},
    "a number of NumPy's": lambda x, count: (x * 2, np.float64(count)),
    "a stream of its own": lambda x, count: x + STREAM.normal(size=3),
    "results of other shapes": lambda x, count: [x * 2] * count,
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_replay_would_not_repeat_is_seen_before_the_first_counts(name):
    said = []
    step = captured(FAST, counting(BROKEN[name]), said.append)
    for _ in range(5):
        step()
    assert len(said) == 1
    assert "changes from call to call" in said[0]
    assert step.phase == "eager"


def test_the_comparison_holds_blas():
    """Or another thread's game might hold BLAS to one thread in the midst, and the two would round differently."""
    held, call = np.zeros(4, bool), np.zeros(1, int)

    def step():
        held[call[0]] = threads._BLAS_LOCK._is_owned()
        call[0] += 1
        return FAST.matmul(np.ones((4, 5)), np.ones((5, 6)))

    replays(step)
    assert held.tolist() == [False, True, False, True]


def test_an_error_of_the_step_itself_is_raised():
    calls = []

    def step():
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("of its own")

    own = captured(FAST, step, log=lambda message: None)
    own()
    for _ in range(2):
        with pytest.raises(ValueError, match="of its own"):
            own()


def test_an_error_of_the_hosts_part_comes_once_and_where_it_belongs():
    """In the third call, which computes everything twice; the fourth goes on from there."""
    count = [0]

    def host():
        count[0] += 1
        if count[0] == 3:
            raise ValueError("of the host")

    step = captured(FAST, lambda: FAST.elementwise(lambda xp, x: x + 1, np.ones(3)), advance=host)
    step()
    step()
    with pytest.raises(ValueError, match="of the host"):
        step()
    step()
    step()
    assert count == [5]
    assert step.phase == "replay"


@pytest.mark.parametrize("within", [True, False], ids=["in compute", "in advance"])
def test_a_step_with_two_batches_and_two_updates_is_itself_or_refused(within):
    check_two_batches(FAST, within)


class Counting(mg.Step):
    """A step that does something else from its sixth call on: no comparison of early calls could show it."""

    backend = FAST

    def __init__(self):
        self.count, self.x = 0, np.ones(3)

    def advance(self):
        self.count += 1

    def compute(self):
        return self.backend.elementwise(lambda xp, x: x * 2, self.x) if self.count > 5 else self.backend.store(self.x, None) + 0


def test_a_value_that_a_replay_would_not_see_change_is_named():
    said, plain = [], Counting()
    step = mg.capture(Counting(), log=said.append)
    assert [step().tolist() for _ in range(8)] == [plain().tolist() for _ in range(8)]
    assert said == [
        "not captured, running eagerly: Counting.count changes from call to call and is neither an array nor a DeviceScalar"
    ]


def test_what_is_no_step_is_refused():
    with pytest.raises(OptionError, match=r"step is a NoneType: expected a minigan\.Step"):
        mg.capture(None)
    with pytest.raises(OptionError, match="a game's step needs data"):
        mg.capture(GAMES["mlp"](FAST))


def test_two_streams_of_batches_are_captured():
    """What needs two batches a step has two streams: then each keeps its own place."""

    def play_two(replayed):
        game, first, second = GAMES["mlp"](FAST), Batches(DATA, 4, FAST, seed=1), Batches(DATA, 4, FAST, seed=2)

        def advance():
            first.advance()
            second.advance()
            game.advance()

        def compute():
            return game.compute(FAST.concatenate((first.take(), second.take())))

        step = captured(FAST, compute, advance=advance) if replayed else lambda: (advance(), compute())[1]
        values = [{name: value.item() for name, value in step().items()} for _ in range(9)]
        assert not replayed or step.phase == "replay"
        return values, game.state_dict(), game.random_state, [first.state, second.state]

    assert same(play_two(True), play_two(False))


FAULTS = {
    "nothing is undone": (CallList, "rollback", lambda self: None),
    "a scalar is frozen": (replay.ReplayedScalar, "value", property(lambda self: self._value)),
    "the host's part twice": (Captured, "_record", lambda self, own=Captured._record: (self._step.advance(), own(self))[1]),
    "streams are not set back": (CallList, "draw", lambda self, stream, method, shape, dtype: self._wrapped(
        getattr(stream, method)(shape, dtype=dtype))),
    "products are not recorded": (CallList, "ufunc", lambda self, ufunc, method, inputs, options, own=CallList.ufunc: (
        own(self, ufunc, method, inputs, options) if ufunc is not np.matmul
        else self._wrapped(ufunc(*map(self.unwrap, inputs), **{k: v for k, v in options.items() if k != "out"})))),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_seen(monkeypatch, fault):
    """Either by the comparison, which then says so, or by the oracle of the games above."""
    said = []
    plain = play(FAST, GAMES["mlp"], 8, False)
    monkeypatch.setattr(*FAULTS[fault])
    assert not same(play(FAST, GAMES["mlp"], 8, True, said.append), plain) or "it is another step" in said[0]


def test_memory_that_is_given_away_too_early_is_seen(monkeypatch):
    """All values of one size in one place."""
    places = {}

    def empty(self, shape, dtype, own=CallList.empty):
        return places.setdefault((shape, np.dtype(dtype)), own(self, shape, dtype)).view(Recorded)

    monkeypatch.setattr(CallList, "empty", empty)
    said = []
    play(FAST, GAMES["mlp"], 5, True, said.append)
    assert "it is another step" in said[0]


# -- numbers and results -------------------------------------------------------------------------------------------------


def test_what_a_replay_returns_stays():
    x, count = FAST.zeros((3,), "float32"), FAST.scalar("float32")

    def step():
        FAST.elementwise_update(lambda xp, x, one: (x + one,), (x,), one=count.value)
        return {"sum": FAST.column_sum(x.reshape(3, 1)), "views": [x[0, ...], (x[1, ...], "text")], "none": None}

    for number, result in enumerate(replays(step, advance=lambda: count.set(1.0)), 1):
        assert result["none"] is None
        assert result["views"][1][1] == "text"
        assert result["sum"] == 3.0 * number
        if number > 3:  # those before ran as the step is, and returned views
            assert [float(v) for v in (result["views"][0], result["views"][1][0])] == [number, number]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_number_may_be_set_between_the_calls(dtype):
    x, number = FAST.zeros((2,), dtype) + 1, FAST.scalar(dtype)
    step = captured(FAST, lambda: FAST.elementwise(lambda xp, x, k: x * (2 * k), x, k=number.value))
    for value in (1.0, 3.0, 5.0, 7.0, 9.0):
        number.set(value)
        assert step().tolist() == [2 * value, 2 * value]


def test_numbers_that_change_are_no_blocks():
    """np.maximum beside a number takes a block full of it, which a replay would not fill anew."""
    x, number, said = np.ones(30000, "f4"), FAST.scalar("float32"), []
    step = captured(FAST, lambda: FAST.elementwise(lambda xp, x, k: xp.maximum(x, k), x, k=number.value), said.append)
    for value in (1.0, 3.0, 5.0, 7.0):
        number.set(value)
        assert step()[0] == max(1.0, value)
    assert "takes the maximum or minimum with a number that changes" in said[0]


# -- what NumPy is asked for ---------------------------------------------------------------------------------------------


OPERATIONS = {
    "arithmetic": lambda x, y: 2 * x - y / 3 + 1,
    "comparison": lambda x, y: (x > y).astype(x.dtype) * x,
    "in place": lambda x, y: _added_to(x * 1, y),
    "written": lambda x, y: _written(x * 1, y),
    "rows written": lambda x, y: _rows_written(x * 1, y),
    "rows added to": lambda x, y: _rows_added_to(x * 1, y),
    "transposed": lambda x, y: x.T + y.T.reshape(x.T.shape),
    "reshaped": lambda x, y: x.T.reshape(-1) - y.ravel(),
    "flattened": lambda x, y: x.flatten() * 2,
    "copied": lambda x, y: x.copy() + y.copy(),
    "chosen": lambda x, y: x[[0, -1, 0]] * 2,
    "one row": lambda x, y: x[0] + y[-1],
    "one element": lambda x, y: np.asanyarray(x[0, 0] + y[-1, -1]),
    "rows": lambda x, y: np.concatenate(list(x)) + y.reshape(-1),
    "where": lambda x, y: np.where(x > 0, x, y),
    "stacked": lambda x, y: np.stack([x, y]).sum(axis=0),
    "joined": lambda x, y: np.concatenate((x, y)),
    "sums": lambda x, y: x.sum(axis=0) + x.mean(axis=0, keepdims=True) + y.max() - y.min(),
    "products": lambda x, y: x @ y.T,
    "dot": lambda x, y: np.dot(x[:, :1], y[:1], out=np.zeros_like(x[:, :1] @ y[:1])),
    "clip": lambda x, y: np.clip(x, -0.5, 0.5),
    "repeat": lambda x, y: x.repeat(2, axis=1),
    "tile": lambda x, y: np.tile(x, 2),
    "sum as a function": lambda x, y: np.sum(x) + np.mean(y, axis=0),
    "other order": lambda x, y: x.ravel("F") + y.flatten("F") + x.copy("F").T.reshape(-1),
    "with a whole number": lambda x, y: np.ldexp(x, 2),
    "power": lambda x, y: np.abs(x) ** 0.5,
}


def _added_to(x, y):
    x += y
    return x


def _written(x, y):
    x[...] = y
    return x + 1


def _rows_written(x, y):
    x[1:] = y[1:]
    return x


def _rows_added_to(x, y):
    x[:1] += y[:1]
    return x


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(OPERATIONS)), st.tuples(st.integers(1, 6), st.integers(1, 6)), st.sampled_from(["f4", "f8"]))
def test_operations_are_repeated_on_what_the_arrays_hold_then(name, shape, dtype):
    check_operation(name, shape, dtype)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation(name):
    check_operation(name, (3, 4), "f4")


def check_operation(name, shape, dtype):
    rng, operation = np.random.default_rng(0), OPERATIONS[name]
    x, y = rng.standard_normal((2, *shape)).astype(dtype)
    step = captured(FAST, lambda: operation(*FAST._wrap(x, y)))
    for _ in range(6):
        x[...], y[...] = rng.standard_normal((2, *shape)).astype(dtype)
        before = x.copy(), y.copy()
        np.testing.assert_array_equal(step(), operation(x, y))
        assert np.array_equal(x, before[0])
        assert np.array_equal(y, before[1])
    assert step.phase == "replay"


REFUSED = {
    "float": lambda x: float(x[0, 0]),
    "to_numpy": lambda x: FAST.to_numpy(x),
    "bool": lambda x: bool(x[0, 0]),
    "int": lambda x: int(x[0, 0]),
    "index": lambda x: [1, 2][x.argmax()],
    "list": lambda x: x.tolist(),
    "in": lambda x: 3 in x,
    "chosen elements written": lambda x: x.__setitem__([0, 0], 1),
    "at": lambda x: np.add.at(x, [0, 0], 1),
    "accumulate": lambda x: np.add.accumulate(x),
    "two results": lambda x: np.modf(x),
    "sorted in place": lambda x: x.sort(),
    "views in a list": lambda x: np.split(x, 3),
    "a mask": lambda x: x[x > 1],
    "unique values": lambda x: np.unique(x),
    "counts": lambda x: np.bincount(x.astype(int).ravel()),
    "views by name": lambda x: np.swapaxes(x, 0, 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_repeated_is_refused(name):
    said, x = [], np.ones((3, 4), "f4")
    step = captured(FAST, lambda: REFUSED[name](FAST._wrap(x * 2)[0]), said.append)
    step()
    step()
    assert len(said) == 1
    reasons = ("has no place in a recording", "reads the value", "gives no new array", "depends on values")
    assert any(reason in said[0] for reason in reasons)
    step()
    assert len(said) == 1


def test_arrays_that_outlive_the_recording_are_like_others():
    calls = CallList()
    (x,) = calls.wrap(np.arange(6.0).reshape(2, 3))
    y = x + 1
    calls.close()
    count = len(calls._calls)
    z = np.concatenate((y * 2, x[[0]]))
    z[0] = 5
    assert z.tolist() == [[5, 5, 5], [8, 10, 12], [0, 1, 2]]
    assert y.copy().sum() == 21
    assert len(calls._calls) == count


# -- memory --------------------------------------------------------------------------------------------------------------


def test_memory_of_values_that_are_gone_is_used_again():
    """Twenty values in a row need the memory of two."""
    calls = CallList()
    (x,) = calls.wrap(np.ones(1000, "f4"))
    y = x + 0
    for _ in range(20):
        y = y * 2
    assert len(calls._memory._loans) == 2
    calls.replay()
    assert y[0].view(np.ndarray) == 2.0**20


def test_a_recording_that_the_memory_has_no_room_for_is_not_made(monkeypatch):
    monkeypatch.setattr(machine, "UNASKED", 0)
    monkeypatch.setattr(type(FAST), "memory", (0.1, 8.0))
    said, x = [], np.zeros((64, 784), "f4")
    step = captured(FAST, lambda: FAST.column_sum(FAST.elementwise(lambda xp, x: x * 2.0 + 1.0, x)), said.append)
    for _ in range(4):
        step()
    assert step.phase == "eager"
    assert len(said) == 1
    assert re.search("eagerly: a recording of the step needs about .* GiB, and .* GiB are free: choose smaller", said[0])


def test_what_the_step_itself_took_goes_back_once_it_is_replayed():
    x = np.zeros((64, 784), "f4")

    def compute():
        return FAST.column_sum(FAST.elementwise(lambda xp, x: x * 2.0 + 1.0, x))

    step = captured(FAST, compute)
    idle = [(step(), bool(FAST._buffers._idle()))[1] for _ in range(3)]
    assert idle == [True, True, False]


def test_plain_views_keep_no_memory_of_the_list():
    """As as_strided makes them for im2col."""
    calls = CallList()
    (x,) = calls.wrap(np.arange(1000, dtype="f4"))
    for _ in range(5):
        windows = np.lib.stride_tricks.as_strided(x + 1, (999, 2), (4, 4))
        y = calls.empty((999, 2), "f4")
        y[...] = windows
        del windows
    assert len(calls._memory._loans) == 3
    y.view(np.ndarray)[...] = 0
    calls.replay()
    assert np.array_equal(y.view(np.ndarray)[:, 1], np.arange(2, 1001))


def test_a_step_that_is_dropped_leaves_nothing_to_the_garbage_collector():
    game, batches = GAMES["mlp"](FAST), Batches(DATA, 6, FAST)
    step = mg.capture(game, batches, no_complaint)
    for _ in range(5):
        step()
    gc.collect()
    gc.disable()
    try:
        del step
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert not [waiting for waiting in gc.garbage if isinstance(waiting, (np.ndarray, Captured, CallList))]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def halved(xp, x, y):
    """(x + y) / 2"""
    return (x + y) / 2


def squared(xp, x):
    """x²"""
    return x * x


@given(st.permutations(range(4)), st.tuples(*[st.integers(1, 9)] * 4), st.integers(0, 99))
@settings(deadline=None)
def test_the_order_of_axes_in_memory_is_that_of_the_step(order, shape, seed):
    """Sums are rounded by the order in which values lie: of what is made of turned arrays, too."""
    x = np.random.default_rng(seed).standard_normal(shape).astype("f4")

    def compute():
        (held,) = FAST._wrap(x)
        turned = held.transpose(order)
        made = FAST.elementwise(halved, turned, FAST.elementwise(squared, turned))
        more = (made - turned).copy("K") + np.tanh(turned)
        return [*FAST.means(squared, made), *FAST.means(halved, more, turned), more.sum(axis=(0, 2)), made.sum(), more.mean()]

    expected = compute()
    recording = FAST.record(compute, [x])
    for got, value in zip(recording.replay(), expected, strict=True):
        np.testing.assert_array_equal(got, value)
