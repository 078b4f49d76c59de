"""Shared by all tests: the backends that can run here, and Hypothesis without a clock (these machines are shared)."""

import gc
import os

# Before NumPy loads. Tests run side by side, one process per core, and in many small products: BLAS's idle threads would spin,
# and minigan's own would only wait for each other. What shows on several of them alone asks for two_threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MINIGAN_NUM_THREADS", "1")

import signal
import sys
from contextlib import contextmanager, nullcontext
from functools import cache, partial

import cublas_on_host
import cuda_on_host
import guarded
import large_convolution  # noqa: F401  keeps the backend's own value
import pytest
from explained_games import open_fewer_numbers
from hypothesis import HealthCheck, settings
from real_browser import browser  # noqa: F401  a fixture

from minigan import backends, get_backend
from minigan.backends import BACKENDS
from minigan.backends.cupy import cublas
from minigan.backends.cupy.backend import CupyBackend
from minigan.backends.numpy import threads
from minigan.backends.numpy.workers import Workers
from minigan.errors import BackendError
from minigan.training import plots

settings.register_profile(
    "minigan", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=25, derandomize=True
)
settings.load_profile("minigan")

gc.disable()  # until all tests are collected: what is made till then stays

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts its background commands so, and runs then leave it so
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

threads.LARGE_CONVOLUTION = 0  # the tests' small networks go the way of large ones: in blocks, on threads of minigan's own


_save_curves = plots.save_curves


@pytest.fixture(scope="session", autouse=True)
def _runs_without_curves():
    """The curves of a log take matplotlib a second, which is longer than most runs of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "save_curves", lambda path, log: path.write_bytes(b"curves"))
        yield


@pytest.fixture
def few_numbers(monkeypatch):
    """Asked for by tests that open steps, and look at other things than their derivatives."""
    open_fewer_numbers(monkeypatch)


@pytest.fixture
def curves(monkeypatch):
    """Asked for by tests that look at them: a run draws its curves."""
    monkeypatch.setattr(plots, "save_curves", _save_curves)


_SECOND_THREAD = Workers(1)


@pytest.fixture
def two_threads(monkeypatch):
    """The numpy backend on two threads of its own."""
    backend = get_backend("numpy")
    monkeypatch.setattr(backend, "threads", 2)
    monkeypatch.setattr(backend, "_workers", _SECOND_THREAD)


STAND_IN = "cupy-stand-in"


def _backend(name, test):
    """A parameter for the backend of that name. Where there is no GPU, cupy runs on the tests' stand-in for device arrays."""
    try:
        get_backend(name)
    except BackendError as error:
        slow = next(test.iter_markers("slow_on_stand_in"), None)
        reason = cuda_on_host.missing or (slow and "takes minutes on the stand-in for device arrays")
        return pytest.param(name, id=STAND_IN, marks=[pytest.mark.skip(reason=f"{reason}; {error}")] if reason else [])
    return pytest.param(name, marks=[pytest.mark.gpu] if name == "cupy" else [])


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_generate_tests(metafunc):
    for fixture, names in (("backend", BACKENDS), ("fast", [name for name in BACKENDS if name != "textbook"])):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, [_backend(name, metafunc.definition) for name in names], scope="session")


@cache
def _on_guarded_arrays(precision):
    return CupyBackend(precision)


@contextmanager
def stand_in():
    """get_backend("cupy") gives the cupy backend over guarded arrays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", guarded.cupy)
        patch.setattr(cublas, "load_library", cache(lambda cupy: cublas_on_host.Library()))
        made = {"cupy": _on_guarded_arrays}
        make = backends._make
        patch.setattr(backends, "_make", lambda name, precision: made.get(name, partial(make, name))(precision))
        yield get_backend("cupy")


@pytest.fixture(scope="module")
def device():
    """The cupy backend over guarded arrays."""
    if cuda_on_host.missing:
        pytest.skip(cuda_on_host.missing)
    with stand_in() as backend:
        yield backend


@pytest.fixture(autouse=True)
def _stand_in_for_cupy(request):
    callspec = getattr(request.node, "callspec", None)
    with stand_in() if callspec and STAND_IN in callspec.id else nullcontext():
        yield
