"""What is measured of a game as it is played: against loops or cases made by hand; and that it leaves no trace in the game."""

import math
from types import SimpleNamespace

import guarded
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_faults import check_catches_every_fault
from ring import ring_points

import minigan as mg
from minigan.backends import Backend
from minigan.data import Batches, Dataset
from minigan.data.synthetic import MODES
from minigan.games import gan as gan_module
from minigan.games.gan import saturation
from minigan.training import monitor
from minigan.training.monitor import Monitor, layer_norms

BOOK = Backend()


class Scale(mg.Layer):
    """y = a x, a layer of a user's own."""

    def build(self, input_shape):
        self.add_parameter("a", input_shape[-1:], mg.constant(0.0))
        return input_shape

    def forward(self, x, train=False):
        return (1 + self.a) * x, x

    def backward(self, dy, cache, grads=None, input_grad=True):
        if grads is not None:
            grads["a"][...] = self.backend.column_dot(cache, dy)
        return (1 + self.a) * dy if input_grad else None


class OwnReLU(mg.ReLU):
    pass


def images(count=200, shape=(4, 4, 1), seed=0):
    return Dataset("own", np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8))


def game(backend="numpy", dtype="float32", seed=0):
    """With all that a pass could leave a trace in: running statistics, Dropout's streams; and with layers of a user's own."""
    generator = [
        mg.Dense(32),
        mg.Reshape((4, 4, 2)),
        mg.BatchNorm(),
        mg.ReLU(),
        mg.Dropout(0.2),
        mg.Conv2d(1, 3, padding=1),
        mg.Tanh(),
    ]
    discriminator = [mg.Flatten(), mg.Dense(12), Scale(), mg.BatchNorm(), OwnReLU(), mg.Dropout(0.1), mg.Dense(1)]
    pair = [
        mg.Sequential(layers, shape, backend, dtype, seed=(seed, index))
        for index, (layers, shape) in enumerate([(generator, (5,)), (discriminator, (4, 4, 1))])
    ]
    return mg.GAN(*pair, lr=0.01, ema=0.9, seed=seed)


def trained(backend="numpy", dtype="float32", steps=3, data=None):
    """A game after some steps, its monitor with a snapshot before the last of them, and D and G before that one."""
    gan, data = game(backend, dtype), data or images()
    batches, meter = Batches(data, 16, gan.backend, dtype), Monitor(gan, data)
    for _ in range(steps):
        meter.snapshot()
        before = {"generator": gan.generator.state_dict(), "discriminator": gan.discriminator.state_dict()}
        gan.step(batches.next())
    return gan, meter, before, batches


def by_name(meter):
    return dict(zip(meter.columns, meter.backend.to_numpy(meter.measure()).tolist(), strict=True))


# -- the formulas against loops --------------------------------------------------------------------------------------------


def check_formulas():
    """Both formulas of the module equal their loops: an AssertionError, else a report that all is well."""
    edge = math.log(999)  # σ(log 999) = 0.999
    s = np.array([[0.0], [edge - 1e-4], [edge + 1e-4], [-edge + 1e-4], [-edge - 1e-4], [1000.0], [-1000.0]])
    sigma = [math.exp(min(v, 0)) / (1 + math.exp(-abs(v))) for v in s[:, 0]]
    np.testing.assert_allclose(saturation(np, s), sum(v < 1e-3 or 1 - v < 1e-3 for v in sigma) / len(s), rtol=1e-12)
    net = mg.Sequential([mg.Dense(3), mg.ReLU(), Scale(), mg.Dense(2)], (4,), BOOK, "float64")
    vector = np.random.default_rng(0).normal(0, 7, net.num_params)
    slices = [vector[:15], vector[15:18], vector[18:]]
    np.testing.assert_allclose(layer_norms(net, vector), [math.sqrt(sum(v * v for v in part)) for part in slices], rtol=1e-12)
    return SimpleNamespace(ok=True)


@pytest.mark.parametrize(("module", "name"), [(monitor, "layer_norms"), (gan_module, "saturation")])
def test_every_fault_in_a_formula_is_caught(module, name, monkeypatch):
    check_catches_every_fault(monkeypatch, check_formulas, module, name, globals())


def test_norms_of_very_small_and_very_large_gradients():
    """Their squares leave float32's range; the norms do not."""
    net = mg.Sequential([mg.Dense(3), mg.Dense(2)], (4,), "numpy", "float32")
    for size in (1e-30, 1e30):
        vector = np.full(net.num_params, size, np.float32)
        np.testing.assert_allclose(layer_norms(net, vector), [size * math.sqrt(15), size * math.sqrt(8)], rtol=1e-6)
    assert layer_norms(net, np.zeros(net.num_params, np.float32)) == [0, 0]


# -- games made by hand -------------------------------------------------------------------------------------------------------


class Fixed(mg.Layer):
    """A generator that makes given samples, whatever z is."""

    def __init__(self, samples):
        super().__init__(samples=samples)
        self.samples = samples

    def build(self, input_shape):
        return self.samples.shape[1:]

    def forward(self, x, train=False):
        return self.backend.asarray(self.samples[: len(x)], x.dtype), None


@pytest.mark.parametrize(("modes", "diversity", "clusters"), [(8, 1, 1), (4, 0.5, 0.5), (2, 0.1, 0.25), (1, 0, 0.12)])
def test_a_generator_that_makes_some_of_the_modes(modes, diversity, clusters):
    generator = mg.Sequential([Fixed(ring_points(modes, 64, seed=2))], (3,), "numpy", "float32")
    discriminator = mg.Sequential([mg.Dense(1)], (2,), "numpy", "float32")
    meter = Monitor(mg.GAN(generator, discriminator), Dataset("ring", ring_points(8, 3000).astype(np.float32)))
    values = by_name(meter)
    np.testing.assert_allclose(values["diversity"], diversity, atol=0.17)
    np.testing.assert_allclose(values["clusters"], clusters, rtol=0.35)


@pytest.mark.parametrize(
    "data", [np.full((5, 2), 3, np.float32), np.array([[0, 1]] * 3 + [[4, 1]], np.float32)], ids=["one", "two"]
)
def test_data_with_hardly_any_diversity(data):
    """One sample over and over has none that could be measured; nothing else is lost by that."""
    generator, discriminator = mg.models.mlp(image_shape=(2,), latent_dim=3, hidden=4, backend="numpy")
    values = by_name(Monitor(mg.GAN(generator, discriminator), Dataset("own", data)))
    assert math.isnan(values["diversity"]) == (len(set(map(tuple, data))) == 1)
    assert all(
        np.isfinite(v)
        for name, v in values.items()
        if name not in ("diversity", "fidelity", "coverage") and not name.endswith("update")
    )


# -- a whole measurement ---------------------------------------------------------------------------------------------------


def test_every_column_against_the_game_itself(backend):
    """On every backend; on the stand-in for device arrays a host array among them would raise."""
    gan, meter, before, _ = trained(backend)
    values = by_name(meter)
    for name, net in (("generator", gan.generator), ("discriminator", gan.discriminator)):
        after, grads = net.state_dict(), {key: gan.backend.to_numpy(g) for key, g in net.grads.items()}
        for layer in net.layers:
            if not layer.params:
                assert f"{name}.{layer.index}.gradient" not in values
                continue
            own = [key for key in grads if key.split(".")[0] == str(layer.index)]
            size = [math.sqrt(sum(float((a[key].astype(np.float64) ** 2).sum()) for key in own)) for a in (grads, after)]
            change = math.sqrt(sum(float(((after[key].astype(np.float64) - before[name][key]) ** 2).sum()) for key in own))
            np.testing.assert_allclose(values[f"{name}.{layer.index}.gradient"], size[0], rtol=1e-4)
            np.testing.assert_allclose(values[f"{name}.{layer.index}.update"], change / size[1], rtol=1e-4)
    assert set(values) == {
        *gan.figures,
        *monitor.SHARED,
        *(f"generator.{layer}.{what}" for layer in (0, 2, 5) for what in ("gradient", "update")),
        *(f"discriminator.{layer}.{what}" for layer in (1, 2, 3, 6) for what in ("gradient", "update")),
        *("generator.3.dead", "discriminator.4.dead"),
    }


def test_dead_units_are_counted(backend):
    """Three of D's twelve and one of G's two units are put below 0 for every sample."""
    gan, meter, _, _ = trained(backend)
    values = by_name(meter)
    assert values["generator.3.dead"] == values["discriminator.4.dead"] == 0
    beta = gan.discriminator.state_dict()
    beta["3.beta"][[1, 5, 11]] = -100
    gan.discriminator.load_state_dict(beta)
    beta = gan.generator.state_dict()
    beta["2.beta"][1] = -100
    gan.generator.load_state_dict(beta)
    values = by_name(meter)
    assert values["generator.3.dead"] == 0.5
    assert values["discriminator.4.dead"] == 0.25


def test_a_unit_that_answers_to_real_samples_alone_is_not_dead():
    generator = mg.Sequential([Fixed(np.full((64, 2), -1.0))], (3,), "numpy")
    discriminator = mg.Sequential([mg.Dense(4), mg.ReLU(), mg.Dense(1)], (2,), "numpy")
    weights = {"0.weight": [[1, 0, -1, 0], [0, 0, 0, 0]], "0.bias": [0, -9, 0, -9], "2.weight": [[20]] * 4, "2.bias": [-10]}
    discriminator.load_state_dict({name: np.array(w, np.float32) for name, w in weights.items()})
    real = np.tile(np.float32([[0.8, 0], [0.9, 0]]), (40, 1))
    values = by_name(Monitor(mg.GAN(generator, discriminator), Dataset("own", real)))
    assert values["discriminator.1.dead"] == 0.5
    assert values["saturated_fake"] == 1  # s = 20 − 10
    np.testing.assert_allclose(values["saturated_real"], 0.5, atol=0.15)  # s = 6 and 8 about log 999 = 6.9


def test_measuring_leaves_no_trace(backend):
    """A game that is measured goes on in the same bytes: parameters, running statistics, streams, batches."""
    results = []
    for measured in (True, False):
        gan, meter, _, batches = trained(backend)
        for _ in range(2):
            if measured:
                meter.measure()
                meter.snapshot()
            gan.step(batches.next())
        results.append((gan.state_dict(), gan.random_state, batches.state))
    ours, other = results
    for name, array in ours[0].items():
        np.testing.assert_array_equal(array, other[0][name], err_msg=name)
    assert ours[1:] == other[1:]


def test_the_same_state_measures_the_same():
    """Also by another instrument, as after --resume, and though Dropout draws; another seed looks at other samples."""
    gan, meter, _, _ = trained()
    meter.measure()
    again, other = meter.measure(), Monitor(gan, images()).measure()
    np.testing.assert_array_equal(again, other)
    assert not np.array_equal(other, Monitor(gan, images(), seed=1).measure(), equal_nan=True)


def test_updates_without_a_snapshot_are_missing():
    _, meter, _, _ = trained()
    assert not any(math.isnan(v) for v in by_name(meter).values())
    missing = {name for name, value in by_name(meter).items() if math.isnan(value)}
    assert missing == {name for name in meter.columns if name.endswith("update")}


@given(
    st.lists(st.sampled_from([mg.Dense, mg.ReLU, mg.BatchNorm, mg.Tanh, Scale, OwnReLU]), max_size=5),
    st.sampled_from([(2,), (3, 4, 1), (2, 2, 3)]),
    st.sampled_from(["float32", "float64"]),
)
def test_any_row_of_layers(kinds, shape, dtype):
    """Columns and values fit each other, and what must lie in [0, 1] does."""
    rows = [[kind(4) if kind is mg.Dense else kind() for kind in kinds] for _ in range(2)]
    size = math.prod(shape)
    generator = mg.Sequential([*rows[0], mg.Dense(size), mg.Reshape(shape)], (3,), "textbook", dtype)
    discriminator = mg.Sequential([mg.Flatten(), *rows[1], mg.Dense(1)], shape, "textbook", dtype, seed=1)
    gan = mg.GAN(generator, discriminator)
    rng = np.random.default_rng(0)
    data = images(30, shape) if len(shape) == 3 else Dataset("own", rng.normal(size=(30, *shape)).astype(np.float32))
    meter = Monitor(gan, data)
    meter.snapshot()
    gan.step(Batches(data, 8, gan.backend, dtype).next())
    vector = meter.measure()
    assert vector.shape == (len(meter.columns),)
    assert vector.dtype == dtype
    assert len(set(meter.columns)) == len(meter.columns)
    for name, value in zip(meter.columns, vector, strict=True):
        assert 0 <= value + 1e-6 < np.inf, name
        if name.endswith("dead") or name.startswith("saturated"):
            assert value <= 1


def test_a_measurement_waits_for_the_device_not_once(device):
    """All of it stays on the device; the log brings it over with the statistics."""
    gan = game(device)
    data = images()
    meter, batches = Monitor(gan, data), Batches(data, 16, gan.backend)
    for _ in range(2):
        meter.snapshot()
        gan.step(batches.next())
        before = guarded.traffic.copy()
        meter.measure()
        uploads = guarded.traffic - before
        assert not uploads["synchronise"]
        assert uploads["upload"] <= 3  # NaN for what is missing, and the state of the copies' two Dropout streams


def test_games_of_other_networks_lack_the_columns_that_need_g_and_d():
    """Norms are measured of any network; a pair of other shapes, or of other names, is not probed."""
    gan, data = game(), images()
    gradients = [name for name in Monitor(gan, data).columns if name.endswith(("gradient", "update"))]

    other = mg.GAN(gan.generator, gan.discriminator)
    other.networks = {"encoder": gan.discriminator, "decoder": gan.generator}
    other.optimizers = {"encoder": other.optimizer_d, "decoder": other.optimizer_g}
    meter = Monitor(other, data)
    names = {"generator": "decoder", "discriminator": "encoder"}
    assert set(meter.columns) == {names[name.partition(".")[0]] + name[name.index(".") :] for name in gradients}
    meter.snapshot()
    other.step(Batches(data, 16, other.backend).next())
    assert all(value > 0 for value in by_name(meter).values())
    assert set(Monitor(gan, Dataset("points", np.zeros((9, 2), np.float32))).columns) == set(gradients)


# -- fidelity and coverage -------------------------------------------------------------------------------------------------


def likeness(samples, data):
    """(fidelity, coverage) of a generator that makes these samples."""
    generator = mg.Sequential([Fixed(samples)], (3,), "numpy", "float32")
    discriminator = mg.Sequential([mg.Flatten(), mg.Dense(1)], samples.shape[1:], "numpy", "float32")
    values = by_name(Monitor(mg.GAN(generator, discriminator), data))
    return values["fidelity"], values["coverage"]


@pytest.mark.parametrize("modes", [1, 4, 8])
def test_known_modes_are_counted_as_the_metric_counts_them(modes):
    points = np.concatenate([ring_points(modes, 250, seed=2), np.full((250, 2), 0.3)])
    expected = mg.metrics.modes(points, *MODES["ring"])
    found = likeness(points, Dataset("ring", ring_points(8, 3000).astype(np.float32)))
    np.testing.assert_allclose(found, [expected["high_quality"], expected["modes"] / 8], rtol=1e-5)


def test_samples_of_other_data_are_compared_with_real_ones():
    data = images(400)
    floats = data.values[-64:] / 127.5 - 1
    assert min(likeness(floats, data)) > 0.8
    assert max(likeness(0 * floats + 1, data)) == 0
    assert likeness(floats[:1].repeat(64, axis=0), data)[1] < 0.3
    points = Dataset("own", np.random.default_rng(0).normal(500, 1, (2000, 2)).astype(np.float32))
    assert min(likeness(points.values[-500:], points)) > 0.9


def test_likeness_is_that_of_the_samples_which_the_game_shows():
    """Those of the average of G's weights, in inference mode."""
    gan, meter, _, _ = trained(steps=3)
    before = by_name(meter)
    gan.generator.flat_params[...] = np.nan
    with np.errstate(all="ignore"):
        after = by_name(meter)
    assert before["fidelity"] == after["fidelity"]
    assert before["diversity"] != after["diversity"]
