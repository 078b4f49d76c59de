"""Backends: choosing one, the errors of one that cannot run, and the numpy backend's machinery."""

import gc
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

import minigan as mg
from minigan.backends import ConvGeometry, array_module
from minigan.backends.numpy.backend import NumpyBackend
from minigan.backends.numpy.memory import BufferPool
from minigan.errors import BackendError, ShapeError


def test_one_instance_each():
    assert mg.get_backend("numpy") is mg.get_backend("numpy")
    assert mg.get_backend("auto").name in ("numpy", "cupy")
    assert mg.get_backend(mg.get_backend("textbook")).name == "textbook"


def test_unknown_name_gets_the_nearest():
    with pytest.raises(BackendError, match=r"unknown backend 'numpi': did you mean 'numpy'\?"):
        mg.get_backend("numpi")


FAKE_CUPY = """
class CUDARuntimeError(RuntimeError): pass
class runtime:
    CUDARuntimeError = CUDARuntimeError
    @staticmethod
    def getDeviceCount():
        {body}
class cuda: runtime = runtime
"""


@pytest.mark.parametrize(
    ("source", "missing", "advice"),
    [
        (
            "raise ImportError('libcublas.so.12: cannot open')",
            "CuPy does not import (libcublas.so.12",
            "pip install 'cupy-cuda12x[ctk]'",
        ),
        (
            FAKE_CUPY.format(body="raise CUDARuntimeError('cudaErrorInsufficientDriver')"),
            "driver does not answer",
            "nvidia-smi",
        ),
        (FAKE_CUPY.format(body="return 0"), "sees no device", "CUDA_VISIBLE_DEVICES"),
    ],
    ids=["package", "driver", "device"],
)
def test_cupy_says_what_is_missing(tmp_path, source, missing, advice):
    """Without package, driver or device: an error of its own each, and auto takes numpy."""
    (tmp_path / "cupy.py").write_text(source)
    script = (
        "import minigan\n"
        "assert minigan.get_backend('auto').name == 'numpy'\n"
        "try: minigan.get_backend('cupy')\n"
        "except minigan.MiniganError as error: print(error)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}
    result = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert missing in result.stdout
    assert advice in result.stdout
    assert "--backend numpy" in result.stdout


def test_import_is_light():
    """import minigan brings in neither Matplotlib nor CuPy nor a network client nor any other optional package."""
    heavy = ("matplotlib", "cupy", "requests", "pooch", "torch", "PIL", "tqdm", "urllib3", "safetensors", "onnx")
    script = f"import sys, minigan; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_in_and_out(backend):
    be = mg.get_backend(backend)
    array = be.asarray([[1, 2], [3, 4]], "float32")
    assert be.owns(array)
    assert not be.owns([[1, 2]])
    assert array.dtype == np.float32
    out = be.to_numpy(array)
    assert type(out) is np.ndarray
    np.testing.assert_array_equal(out, [[1, 2], [3, 4]])
    be.synchronize()
    free, total = be.memory
    assert 0 < free <= total
    assert array_module(array) is be.xp


def test_array_module_refuses_other_things():
    with pytest.raises(ShapeError, match="got list"):
        array_module([1.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_streams(backend, dtype):
    be = mg.get_backend(backend)
    rng = be.generator(7)
    normal, uniform = be.to_numpy(rng.normal((40_000,), dtype)), be.to_numpy(rng.uniform((40_000,), dtype))
    assert normal.dtype == uniform.dtype == dtype
    assert normal.mean() == pytest.approx(0, abs=0.02)
    assert normal.std() == pytest.approx(1, abs=0.02)
    assert 0 <= uniform.min() < 0.001
    assert 0.999 < uniform.max() < 1
    state = rng.state
    first = be.to_numpy(rng.normal((5, 3), dtype))
    other = be.generator(8)
    assert not np.array_equal(be.to_numpy(other.normal((5, 3), dtype)), first)
    twin = be.generator(7)
    twin.state = state
    np.testing.assert_array_equal(be.to_numpy(twin.normal((5, 3), dtype)), first)


# -- the numpy backend's machinery -------------------------------------------------------------------------------------


def saxpy(xp, x, y, scale):
    return scale * x + y


@given(st.integers(1, 70_000), st.integers(1, 5), st.booleans())
def test_blocked_elementwise_equals_textbook(rows, columns, per_channel):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, columns))
    y = rng.standard_normal((columns,) if per_channel else (rows, columns))
    book, fast = mg.get_backend("textbook"), mg.get_backend("numpy")
    np.testing.assert_array_equal(fast.elementwise(saxpy, x, y, scale=3.0), book.elementwise(saxpy, x, y, scale=3.0))


def test_operand_with_one_row_is_broadcast_whole():
    x, y = np.ones((100_000, 2)), np.full((1, 2), 5.0)
    assert (mg.get_backend("numpy").elementwise(saxpy, x, y, scale=1.0) == 6).all()


def test_the_same_bytes_twice_and_for_other_thread_counts_within_rounding(monkeypatch):
    def gradients(threads):
        monkeypatch.setenv("MINIGAN_NUM_THREADS", str(threads))
        be = NumpyBackend()
        assert be.threads == threads
        g, d = mg.models.dcgan(width=8, backend=be)
        gan = mg.GAN(g, d)
        gan.step(np.random.default_rng(0).uniform(-1, 1, (32, 28, 28, 1)).astype(np.float32))
        return np.concatenate([g.flat_grads, d.flat_grads])

    two = gradients(2)
    np.testing.assert_array_equal(two, gradients(2))
    np.testing.assert_allclose(two, gradients(3), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("value", ["0", "-2", "two", "1.5", "1e3", "٣", "²", "9" * 400, "1000000", " ", "2 ", "+2", "1_0"])
def test_thread_count_is_checked(value, monkeypatch):
    monkeypatch.setenv("MINIGAN_NUM_THREADS", value)
    with pytest.raises(BackendError, match="MINIGAN_NUM_THREADS is"):
        NumpyBackend()


def test_blas_settings_are_left_as_they_were():
    before = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    gan = mg.GAN(*mg.models.dcgan(width=4, backend="numpy"))
    gan.step(np.zeros((8, 28, 28, 1), np.float32))
    assert [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"] == before


def test_buffer_pool_reuses_memory_only_when_no_view_is_left():
    pool = BufferPool()
    array = pool.array((1000, 1000), np.float32)
    address = array.ctypes.data
    view = array[10:20]
    del array
    gc.collect()
    assert pool.array((1000, 1000), np.float32).ctypes.data != address, "a view still lives there"
    view[...] = 1
    del view
    gc.collect()
    addresses = {a.ctypes.data for a in [pool.array((1_000_000,), np.float32) for _ in range(2)]}
    assert address in addresses


def held(sizes, repeats=1):
    """The most bytes that a pool held while arrays of these sizes came and went, three alive at a time."""
    pool, most = BufferPool(), 0
    for _ in range(repeats):
        alive = []
        for size in sizes:
            alive = [*alive[-2:], pool.array((size,), np.uint8)]
            most = max(most, pool.held)
    return most


@pytest.mark.parametrize("order", ["up", "down", "mixed"])
def test_a_pool_of_changing_sizes_holds_little_more_than_the_largest_need(order):
    sizes = [n << 20 for n in range(1, 65)]
    sizes = {"up": sizes, "down": sizes[::-1], "mixed": np.random.default_rng(0).permutation(sizes).tolist()}[order]
    assert held(sizes) <= 1.4 * 3 * (64 << 20)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_a_sequence_that_repeats_itself_soon_allocates_nothing(sizes):
    pool = BufferPool()

    def blocks():
        alive = []
        for size in sizes:
            alive = [*alive[-2:], pool.array((size << 20,), np.uint8)]
        return set(map(id, (loan.block.obj for loan in pool._loans.values())))

    for _ in range(6):
        before = blocks()
    assert blocks() == before


def test_blocks_that_nothing_needs_for_long_go():
    pool = BufferPool()
    del_me = pool.array((64 << 20,), np.uint8)
    del del_me
    for _ in range(3 * 128 * 66):
        pool.array((1 << 20,), np.uint8)
    assert pool.held <= 2 << 20


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"kernel": 3}, "kernel is 3: expected a pair"),
        ({"stride": (0, 1)}, r"stride is \(0, 1\): .* from 1 up"),
        ({"padding": (1, -1)}, "whole numbers from 0 up"),
        ({"output": (5, 4)}, "an output of height 5 reads 11 places, and the padded image has 10"),
    ],
)
def test_a_geometry_that_cannot_be_is_refused(change, found):
    right = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "image": (8, 8), "output": (4, 4)}
    ConvGeometry(**right)
    with pytest.raises(ShapeError, match=found):
        ConvGeometry(**{**right, **change})
