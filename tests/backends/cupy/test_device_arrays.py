"""The CuPy path without a GPU: everything runs on device arrays that refuse host arrays, and a step waits for nothing.

tests/guarded.py stands in for CuPy. Its values are NumPy's, so every result here equals the textbook's.
"""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import games_over_ranks
import guarded
import mpi
import numpy as np
import pytest
from mpi import needs_mpi

import minigan as mg
from minigan import cli, distributed, losses, optim
from minigan.backends.cupy import backend, cublas
from minigan.checks.gradients import check_loss
from minigan.checks.suite import layer_table, objective_table
from minigan.data import Batches, Dataset
from minigan.distributed import Communicator
from minigan.errors import DivergenceError, MiniganError
from minigan.training import CHECKPOINT, Config, load_game, resume_run, start_run

BOOK, IMAGE = mg.get_backend("textbook"), (8, 8, 1)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, *IMAGE), dtype=np.uint8)


def equal(ours, book):
    """The same values in the same dtype, ours on the device; or two states of host arrays under the same names."""
    if not isinstance(ours, dict):
        assert type(ours) is guarded.DeviceArray
        ours, book = {"": ours.get()}, {"": book}
    assert ours.keys() == book.keys()
    for name, array in ours.items():
        assert (type(array), array.dtype) == (np.ndarray, book[name].dtype)
        rounding = 16 * np.finfo(array.dtype).eps if array.dtype.kind == "f" else 0
        np.testing.assert_allclose(array, book[name], rtol=rounding, atol=rounding * max(1, np.abs(book[name]).max(initial=0)))


def traffic_of(work):
    """How often work() waited for the device or copied a host array to it."""
    before = guarded.traffic.copy()
    work()
    return guarded.traffic - before


@pytest.mark.parametrize("turned_from", [0, 1 << 62], ids=["right matrix turned", "as they are"])
@pytest.mark.parametrize("left", [False, True], ids=["A", "Aᵀ"])
@pytest.mark.parametrize("right", [False, True], ids=["B", "Bᵀ"])
def test_tf32_products_of_any_layout(device, monkeypatch, turned_from, left, right):
    monkeypatch.setattr(cublas, "TURNED_FROM", turned_from)
    be, rng = mg.get_backend("cupy", "tf32"), np.random.default_rng(0)
    a, b = rng.integers(-9, 9, (5, 3)).astype(np.float32), rng.integers(-9, 9, (3, 4)).astype(np.float32)  # exact in TF32 too
    own_a, own_b = (be.asarray(np.ascontiguousarray(m.T)).T if turn else be.asarray(m) for m, turn in ((a, left), (b, right)))
    np.testing.assert_array_equal(be.to_numpy(be.matmul(own_a, own_b)), a @ b)


@pytest.mark.parametrize("row", layer_table(), ids=lambda row: f"{row[0]()!r}")
@pytest.mark.parametrize("train", [True, False], ids=["train", "inference"])
def test_layers(device, row, train):
    """Both passes equal the textbook's and neither wait for the device nor copy to it; the gradient check runs too."""
    (make, shape), rng, stream = row, np.random.default_rng(1), device.generator(mg.backends.stream("dropout", 0, 0))
    own, book = (mg.Sequential([make()], shape, be) for be in (device, BOOK))
    state = {name: rng.uniform(0.5, 2, a.shape).astype(np.float32) for name, a in book.state_dict().items()}
    own.load_state_dict(state)
    book.load_state_dict(state)
    book.layers[0].rng = SimpleNamespace(uniform=lambda *a: device.to_numpy(stream.uniform(*a)))  # Dropout: the same mask
    x, dy = (rng.standard_normal((3, *s)).astype(np.float32) for s in (shape, own.output_shape))
    device_x, device_dy, results = device.asarray(x), device.asarray(dy), {}

    def both_ways(net, x, dy):
        y, caches = net.forward(x, train)
        results[net.backend] = y, net.backward(dy, caches, grads=net.grads)
        net.backward(dy, caches)
        net.backward(dy, caches, grads=net.grads, input_grad=False)

    assert not traffic_of(lambda: both_ways(own, device_x, device_dy))
    both_ways(book, x, dy)
    for ours, value in zip(results[device], results[BOOK], strict=True):
        equal(ours, value)
    equal(own.flat_grads, book.flat_grads)
    equal(own.state_dict(), book.state_dict())
    assert mg.check_layer(make(), shape, backend=device, mode="projection", max_entries=1, train=train).ok


def both_losses(objective, s_real, s_fake):
    (loss_d, ds), (loss_g, ds_fake) = objective.discriminator(s_real, s_fake), objective.generator(s_fake, s_real)
    return loss_d, *ds, loss_g, ds_fake


@pytest.mark.parametrize("objective", objective_table(), ids=repr)
def test_objectives(device, objective):
    s_real, s_fake = np.random.default_rng(0).standard_normal((2, 6, 1)).astype(np.float32)
    logits, results, bound = [device.asarray(s) for s in (s_real, s_fake)], [], objective.bind(device)
    assert not traffic_of(lambda: results.extend(both_losses(bound, *logits)))
    for ours, book in zip(results, both_losses(objective, s_real, s_fake), strict=True):
        equal(ours, book)


LOSSES = [  # of logits s and targets t
    lambda s, t: losses.bce_with_logits(s, t),
    lambda s, t: losses.mse(s, t),
    lambda s, t: losses.softmax_cross_entropy(s, (t[:, 0] > 0.5).astype("int64")),
]


@pytest.mark.parametrize("loss", LOSSES, ids=["bce", "mse", "softmax"])
def test_losses(device, loss):
    rng = np.random.default_rng(0)
    s, t = rng.standard_normal((6, 3)).astype(np.float32), rng.random((6, 3)).astype(np.float32)
    device_s, device_t, results = device.asarray(s), device.asarray(t), []
    assert not traffic_of(lambda: results.extend(loss(device_s, device_t)))
    for ours, book in zip(results, loss(s, t), strict=True):
        equal(ours, book)
    targets = device.asarray(t, "float64")
    assert check_loss(lambda s: loss(s, targets), s, backend=device).ok


@pytest.mark.parametrize("sgd", [None, {}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str)
def test_optimisers(device, sgd):
    def make():
        return mg.Adam(optim.cosine(0.1, 5), weight_decay=0.1) if sgd is None else mg.SGD(0.1, **sgd)

    states = []
    for be in (device, BOOK):
        net, optimizer, twin = mg.Sequential([mg.Dense(3)], (4,), be), make(), make()
        net.flat_grads[...] = be.asarray(np.random.default_rng(0).standard_normal(net.num_params), "float32")
        assert not traffic_of(lambda update=optimizer.update, net=net: [update(net) for _ in range(3)])
        twin.attach(net)
        twin.load_state_dict(optimizer.state_dict())
        equal(twin.state_dict(), optimizer.state_dict())
        states.append({**net.state_dict(), **optimizer.state_dict()})
    equal(*states)


DROPOUT = lambda: [mg.Flatten(), mg.Dense(6), mg.LayerNorm(), mg.Dropout(0.3), mg.Tanh(), mg.Dense(1)]  # noqa: E731
GAMES = {
    "mlp": lambda be: mg.GAN(*mg.models.mlp(IMAGE, 5, (6, 7), backend=be)),
    "dcgan": lambda be: mg.GAN(*mg.models.dcgan(IMAGE, 5, 3, backend=be)),
    "extra convolution": lambda be: mg.GAN(
        *mg.models.dcgan(IMAGE, 5, 3, extra_conv=True, backend=be), ema=0.9, objective=losses.NonSaturating(0.1), lr_d=1e-3
    ),
    "dropout": lambda be: mg.GAN(
        mg.models.mlp(IMAGE, 5, backend=be)[0], mg.Sequential(DROPOUT(), IMAGE, be), objective=losses.Saturating()
    ),
}


@pytest.mark.parametrize("name", GAMES)
def test_steps(device, name):
    """A step neither waits for the device nor copies to it, and equals the textbook's; all states go round."""
    game, book, stats = GAMES[name](device), GAMES[name](BOOK), {}
    batches, z = Batches(Dataset("own", PIXELS), 8, device), np.random.default_rng(0).standard_normal((8, 5)).astype("float32")
    assert traffic_of(lambda: game.step(batches.next())) == {"synchronise": 2}, "the least and the largest of the first batch"
    book.load_state_dict(game.state_dict())
    real, noise = batches.next(), device.asarray(z)
    assert not traffic_of(lambda: stats.update(game.step(real, noise)))
    assert all(device.owns(value) and value.shape == () for value in stats.values())
    if name != "dropout":  # whose masks come from another stream on the device
        for key, value in book.step(device.to_numpy(real), z).items():
            equal(stats[key], value)
        equal(game.state_dict(), book.state_dict())
        equal({"images": game.sample(3)}, {"images": book.sample(3)})
    twin = GAMES[name](device)
    twin.load_state_dict(game.state_dict())
    twin.random_state = game.random_state
    game.step(real)
    twin.step(real)
    equal(game.state_dict(), twin.state_dict())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "extra convolution" else ()) for name in GAMES]
)
def test_gradient_checks(device, name):
    game, rng = GAMES[name](device), np.random.default_rng(0)
    for net in (game.generator, game.discriminator):  # larger weights: a gradient near 0 drowns in rounding
        net.flat_params[...] += device.asarray(0.2 * rng.standard_normal(net.num_params), "float32")
    real = device.asarray(rng.uniform(-1, 1, (4, *IMAGE)))
    assert mg.check_game(game, real, mode="projection", max_entries=1).ok
    assert mg.check_gradients(game.discriminator, real, mode="projection", max_entries=1, tolerance=1e-5).ok


@pytest.mark.parametrize("values", [PIXELS, np.ones((40, 2), np.float32)], ids=["images", "points"])
def test_batches(device, values):
    ours, book = (Batches(Dataset("own", values), 16, be, seed=3) for be in (device, BOOK))
    for _ in range(5):
        equal(ours.next(), book.next())


@pytest.mark.slow
def test_run_and_resume(device, tmp_path):
    said = []

    def run(name, **options):
        sizes = {"model": "dcgan", "width": 3, "latent_dim": 5, "batch_size": 16, "log_every": 2, "sample_every": 3}
        config = Config(data=f"{tmp_path}/own.npy", backend="cupy", **sizes, **options)
        start_run(config, tmp_path / name, log=said.append).train(progress=False)

    np.save(tmp_path / "own.npy", PIXELS)
    run("whole", steps=5, ema=0.9)
    run("parts", steps=3, ema=0.9)
    resumed = resume_run(tmp_path / "parts", changes={"steps": 5}, log=str)
    resumed.train(progress=False)
    assert len(said) == 6, "a headline, an end and a verdict for each: no step went without its graph"
    assert "GPU (host memory in disguise, 16 GiB) | backend cupy | dcgan float32, G" in said[0]
    run("tf32", steps=1, precision="tf32")
    assert "| dcgan float32 with tf32 products, G" in said[-3]
    with pytest.raises(MiniganError, match="precision tf32 is for float32 networks, and dtype is float64"):
        run("both", steps=1, precision="tf32", dtype="float64")
    assert (tmp_path / "parts" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()
    equal(*({"images": load_game(tmp_path / "whole", name)[0].sample(3)} for name in ("cupy", "textbook")))
    with pytest.raises(DivergenceError, match=r"step \d: .*is not finite"):
        run("diverging", steps=9, lr=1e38)


def test_sums_and_means_of_nothing_end(device):
    nothing = device.zeros((0, 3), "float32")
    equal(device.column_sum(nothing), np.zeros(3, np.float32))
    assert np.isnan(device.to_numpy(device.column_mean(nothing))).all()


def test_info(device, capsys):
    assert cli.main(["info"]) == 0
    told = (
        "backend cupy: GPU (host memory in disguise, 16 GiB), 8,192 of 16,384 MiB free, CuPy 14.2.0, CUDA 13.0, driver's CUDA "
    )
    assert told + "13.1, cuBLAS 13.1.0, compute capability 9.0\nauto is cupy" in capsys.readouterr().out


# -- the guard: what it must catch -------------------------------------------------------------------------------------

HOST = np.ones(3, np.float32)
REFUSED = {
    "host array on the right": lambda xp, x: x + HOST,
    "host array on the left": lambda xp, x: HOST * x,
    "host array in place": lambda xp, x: x.__iadd__(HOST),
    "host target": lambda xp, x: HOST.__iadd__(x),
    "host array stored": lambda xp, x: x.__setitem__(..., HOST),
    "host array in a function": lambda xp, x: xp.sum(HOST),
    "host array in a method": lambda xp, x: x.dot(HOST),
    "host array among others": lambda xp, x: np.concatenate([x, HOST]),
    "host index": lambda xp, x: x[np.array([0, 2])],
    "host mask": lambda xp, x: x[HOST > 0],
    "np.asarray": lambda xp, x: np.asarray(x),
    "np.ascontiguousarray": lambda xp, x: np.ascontiguousarray(x),
    "NumPy's as_strided": lambda xp, x: np.lib.stride_tricks.as_strided(x, (2,), (4,)),
    "option that CuPy lacks": lambda xp, x: x.sum(where=x > 0),
    "method that CuPy lacks": lambda xp, x: x.__index__(),
    "name that CuPy lacks": lambda xp, x: xp.vecdot(x, x),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_the_guard_refuses(device, fault):
    with pytest.raises((TypeError, AttributeError), match=r"[Uu]nsupported|cupy|Implicit conversion|Wrong arguments"):
        REFUSED[fault](device.xp, device.asarray(HOST))


def test_the_guard_counts_and_allows(device):
    """Every way of reading a number back is counted; what CuPy allows works, and single entries are 0-d views."""
    x = device.asarray(HOST)
    scalars = [lambda x: float(x[0]), lambda x: int(x[0]), lambda x: bool((x > 0).all()), lambda x: x.sum().item()]
    for read in (*scalars, lambda x: x[x > 0], lambda x: device.synchronize(), repr, device.to_numpy, device.xp.nonzero):
        assert traffic_of(lambda read=read: read(x)) == {"synchronise": 1}
    assert traffic_of(lambda: device.asarray(HOST)) == {"upload": 1}
    x[0] += 1
    x[1:] += x[0]
    equal(np.float32(2) * x[device.asarray([0, 2])] + 1, np.array([5, 7], np.float32))
    equal(np.concatenate([np.square(x), x.sum()[None]]), np.array([4, 9, 9, 8], np.float32))
    assert (HOST == 1).all(), "asarray copies"


def test_a_layer_that_reads_a_number_back_is_counted(device):
    class ReadsBack(mg.Tanh):
        def forward(self, x, train=False):
            return super().forward(x * float(x.max() < 9), train)

    for layer, counted in ((mg.Tanh(), {}), (ReadsBack(), {"synchronise": 1})):
        nets = (mg.Sequential(layers, (3,), device) for layers in ([mg.Dense(3), layer], [mg.Dense(1)]))
        game, real = mg.GAN(*nets), device.asarray(HOST[None])
        game.step(real)
        assert traffic_of(lambda game=game, real=real: game.step(real)) == counted


def test_the_guards_names_are_cupys():
    """Where CuPy is installed, with or without a GPU: every name that the guard lets through is there."""
    script = "import cupy, guarded as g; print({*g.NAMES, *g.WAITING, *g.WITHOUT_ARRAYS} - {*dir(cupy)}, "
    script += "(g.METHODS | g.ATTRIBUTES) - {*dir(cupy.ndarray)})"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2] / "support", capture_output=True, text=True
    )
    if "ModuleNotFoundError: No module named 'cupy'" in result.stderr:
        pytest.skip("CuPy is not installed")
    assert result.stdout == "set() set()\n", result.stderr


# -- several ranks -----------------------------------------------------------------------------------------------------


@needs_mpi
@pytest.mark.slow
def test_ranks_on_device_arrays_take_the_steps_of_one_process(device, tmp_path):
    """Captured in a graph that is cut where they exchange sums, which go through the host."""
    status, _, errors = mpi.run(2, Path(games_over_ranks.__file__), tmp_path, "device")
    assert status == 0, errors
    for name in games_over_ranks.ON_DEVICE:
        state, random, *_ = games_over_ranks.play(name, backend=device, steps=games_over_ranks.STEPS_ON_DEVICE)
        with np.load(tmp_path / f"{name}.npz") as several:
            assert (str(several["random"]), str(several["phase"]), several["said"].tolist()) == (random, "replay", [])
            for key, array in state.items():
                np.testing.assert_allclose(several[key], array, rtol=1e-10, atol=1e-10)


class Echo(Communicator):
    """A rank of two, of which the other always has the same; it counts what they exchange."""

    size, exchanged = 2, 0

    def all_mean(self, *arrays):
        assert all(type(array) is np.ndarray for array in arrays)
        self.exchanged += 1

    def all_sum(self, *arrays):
        raise AssertionError("of this nothing is left to the other")


def test_a_graph_is_cut_where_sums_are_exchanged(device):
    """In each replay as often as in each step that runs eagerly; the same bytes."""
    results, exchanged = [], []
    for captured in (False, True):
        ranks, game = Echo(), games_over_ranks.GAMES["dcgan"](device)
        batches = Batches(games_over_ranks.DATA, 8, device, "float64", ranks=ranks)
        step = mg.capture(game, batches, log=None)
        step.phase = "first" if captured else "eager"
        for number in range(6):
            before = ranks.exchanged
            step()
            if number > 3:
                exchanged.append(ranks.exchanged - before)
        results.append(game.state_dict())
    assert len(set(exchanged)) == 1
    assert exchanged[0] == len(step._recording._graph._pairs) > 10
    for name, array in results[0].items():
        np.testing.assert_array_equal(array, results[1][name])


def test_each_rank_of_a_machine_has_a_device_of_its_own(device, monkeypatch):
    monkeypatch.setattr(guarded.cupy.cuda.runtime, "getDeviceCount", lambda: 2)
    monkeypatch.setattr(guarded, "devices_used", used := [])
    for rank in range(4):
        monkeypatch.setattr(backend, "on_this_machine", lambda rank=rank: (rank, 4))
        backend.CupyBackend()
    assert used == [1, 1]  # of ranks 1 and 3; device 0 is every process's first


def test_the_sums_of_a_communicator_take_device_arrays(device):
    x = device.asarray(np.arange(6.0).reshape(2, 3))
    host = distributed.to_host(x)
    distributed.write(x, 2 * host)
    assert device.to_numpy(x).tolist() == [[0, 2, 4], [6, 8, 10]]
