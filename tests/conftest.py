"""Shared by all tests: the backends that can run here, and Hypothesis without a clock (these machines are shared)."""

import os

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # before NumPy loads: its idle threads spin, and tests run many small products

import sys
from functools import cache, partial

import cublas_on_host
import cuda_on_host
import guarded
import pytest
from hypothesis import settings

from minigan import backends, get_backend
from minigan.backends import BACKENDS, cublas
from minigan.backends import numpy as numpy_backend
from minigan.backends.cupy import CupyBackend
from minigan.errors import BackendError

settings.register_profile("minigan", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("minigan")

OWN_THREADS = numpy_backend._OWN_THREADS
numpy_backend._OWN_THREADS = 0  # the tests' small networks go the way of large ones: in blocks, on threads of minigan's own


def _backend(name):
    try:
        get_backend(name)
    except BackendError as error:
        return pytest.param(name, marks=[pytest.mark.gpu, pytest.mark.skip(reason=str(error))])
    return pytest.param(name, marks=[pytest.mark.gpu] if name == "cupy" else [])


@pytest.fixture(scope="module")
def device():
    """The cupy backend over guarded arrays, which get_backend then gives too."""
    if cuda_on_host.missing:
        pytest.skip(cuda_on_host.missing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", guarded.cupy)
        library = cublas_on_host.Library()
        patch.setattr(cublas, "load_library", lambda cupy: library)
        make, made = backends._make, cache(CupyBackend)
        patch.setattr(backends, "_make", lambda name, precision: (made if name == "cupy" else partial(make, name))(precision))
        yield get_backend("cupy")


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", [_backend(name) for name in BACKENDS], scope="session")
    if "fast" in metafunc.fixturenames:
        metafunc.parametrize("fast", [_backend(name) for name in BACKENDS if name != "textbook"], scope="session")
