"""What only a GPU can show: CUDA's own graphs and cuBLAS against the CPU, runs that repeat, memory that does not grow.

The layer table, the gradient checks and all else with a `backend` parameter run on the GPU too, where there is one.
"""

import numpy as np
import pytest
from small_games import captured as captured_step
from small_games import no_complaint

import minigan as mg
from minigan.data import Batches, load
from minigan.errors import BackendError, DeviceMemoryError
from minigan.training import CHECKPOINT, Config, resume_run, start_run

pytestmark = [pytest.mark.gpu, pytest.mark.alone]

DIGITS = load("digits")
GAMES = {"mlp": {}, "dcgan": {"width": 16}}


@pytest.fixture(scope="module")
def gpu():
    try:
        return mg.get_backend("cupy")
    except BackendError as error:
        pytest.skip(str(error))


def game(name, backend, dtype="float32", **options):
    return mg.GAN(*getattr(mg.models, name)(backend=backend, dtype=dtype, **GAMES[name]), **options)


def played(name, be, steps, captured, **options):
    """(the games's state after so many steps, the last statistics)"""
    own, batches = game(name, be, **options), Batches(DIGITS, 64, be)
    step = mg.capture(own, batches, no_complaint) if captured else lambda: own.step(batches.next())
    for _ in range(steps):
        stats = step()
    return own.state_dict(), {key: float(value) for key, value in stats.items()}


@pytest.mark.parametrize("name", GAMES)
def test_a_hundred_steps_are_the_cpus(gpu, name):
    """In float64, where rounding does not grow to what one sees: captured steps, on batches and noise from the host."""
    own, cpu = game(name, gpu, "float64"), game(name, "numpy", "float64")
    real, z = gpu.zeros((32, 28, 28, 1), "float64"), gpu.zeros((32, 100), "float64")
    rng, host = np.random.default_rng(0), {}

    def draw():
        host["real"] = DIGITS.values[rng.integers(0, len(DIGITS), 32)] / 127.5 - 1
        host["z"] = rng.standard_normal((32, 100))
        real[...], z[...] = gpu.asarray(host["real"]), gpu.asarray(host["z"])

    def advance():
        draw()
        own.advance()

    parts = {"networks": own.networks.values(), "optimizers": own.optimizers.values()}
    step = captured_step(gpu, lambda: own.compute(real, z), advance=advance, **parts)
    for _ in range(100):
        ours = step()
        theirs = cpu.step(host["real"], host["z"])
    for key, value in theirs.items():
        assert float(ours[key]) == pytest.approx(float(value), rel=1e-8)
    state = own.state_dict()
    for key, value in cpu.state_dict().items():
        np.testing.assert_allclose(state[key], value, rtol=0, atol=1e-7 * max(1e-30, np.abs(value).max()), err_msg=key)


@pytest.mark.parametrize("name", GAMES)
def test_a_graph_gives_the_bytes_that_single_launches_give(gpu, name):
    options = {"ema": 0.99, "lr": mg.optim.cosine(1e-3, 30)}
    (plain, plain_stats), (captured, captured_stats) = (played(name, gpu, 100, on, **options) for on in (False, True))
    assert plain_stats == captured_stats
    for key, value in plain.items():
        np.testing.assert_array_equal(captured[key], value, err_msg=key)


@pytest.mark.parametrize("name", GAMES)
def test_two_runs_with_one_seed_are_identical(gpu, name):
    (first, _), (second, _) = (played(name, gpu, 200, True) for _ in range(2))
    for key, value in first.items():
        np.testing.assert_array_equal(second[key], value, err_msg=key)


@pytest.mark.parametrize("name", GAMES)
def test_ten_thousand_steps_take_no_more_memory(gpu, name):
    own, batches = game(name, gpu), Batches(DIGITS, 16, gpu)
    step, pool = mg.capture(own, batches, no_complaint), gpu.xp.get_default_memory_pool()
    held = []
    for count in (3 * batches.per_epoch, 10_000):  # first, with two new orders of the data, all that a step ever needs
        for _ in range(count):
            stats = step()
        gpu.synchronize()
        held.append((pool.used_bytes(), pool.total_bytes(), gpu.memory[0]))
    (used, total, free), (used_later, total_later, free_later) = held
    assert used_later <= used
    assert total_later <= total
    assert free_later >= free - 64, "MiB; another program may have begun meanwhile"
    assert all(np.isfinite(float(value)) for value in stats.values())


def test_no_room_is_a_message_and_the_game_goes_on(gpu):
    own = game("mlp", gpu)
    rows = int(gpu.memory[1] * 2**20) // (784 * 4)  # images that fill the whole device
    with pytest.raises(DeviceMemoryError, match=r"no room for an array .* MiB \(.* of .* MiB free\): choose a smaller batch"):
        own.discriminator.forward(gpu.empty((rows, 28, 28, 1), "float32"))
    stats = own.step(Batches(DIGITS, 64, gpu).next())
    assert np.isfinite(float(stats["loss_d"]))


def test_tf32_rounds_operands_and_nothing_else(gpu):
    if int(gpu.versions["compute capability"].partition(".")[0]) < 8:
        pytest.skip("GPUs before Ampere have no TF32")
    a, b = np.random.default_rng(0).standard_normal((2, 512, 512)).astype(np.float32)
    exact, errors = a.astype(np.float64) @ b, {}
    for precision in ("float32", "tf32"):
        be = mg.get_backend("cupy", precision)
        errors[precision] = np.abs(be.to_numpy(be.matmul(be.asarray(a), be.asarray(b))) - exact).max() / np.abs(exact).max()
    assert errors["float32"] < 2e-6
    assert 2e-5 < errors["tf32"] < 2e-3


def test_a_run_on_the_gpu(gpu, tmp_path):
    """It captures its steps, and two runs of one seed leave the same checkpoint; a resumed one as well."""
    said = []

    def run(folder, steps):
        settings = {"width": 8, "latent_dim": 16, "log_every": 20, "sample_every": 50, "checkpoint_every": 50}
        start_run(Config(backend="cupy", steps=steps, **settings), tmp_path / folder, log=said.append).train(progress=False)

    run("first", 100)
    run("second", 60)
    resume_run(tmp_path / "second", changes={"steps": 100}, log=said.append).train(progress=False)
    assert not [text for text in said if "not captured" in text]
    assert (tmp_path / "first" / CHECKPOINT).read_bytes() == (tmp_path / "second" / CHECKPOINT).read_bytes()
