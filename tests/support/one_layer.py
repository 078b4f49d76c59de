"""Networks of one layer whose parameters are all random, so that no term is multiplied by 0 or 1."""

import numpy as np
import pytest

import minigan as mg
from minigan.checks.suite import layer_table

CASES = [pytest.param(make, shape, id=f"{make()!r}{shape}") for make, shape in layer_table()]


def network(make, shape, backend, dtype="float64"):
    net = mg.Sequential([make()], shape, backend=backend, dtype=dtype)
    rng = np.random.default_rng(0)
    net.flat_params[...] = net.backend.asarray(rng.standard_normal(net.num_params), dtype)
    return net


def draw(net, shape, seed=1):
    return net.backend.asarray(np.random.default_rng(seed).standard_normal(shape), net.dtype)


def host(net, array):
    """A copy on the host, which later passes leave alone."""
    return net.backend.to_numpy(array).copy()


def arrays_in(value):
    """All arrays in a cache, however it is nested."""
    if isinstance(value, (tuple, list)):
        return [array for part in value for array in arrays_in(part)]
    return [value] if hasattr(value, "dtype") else []
