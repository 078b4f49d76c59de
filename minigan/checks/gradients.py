"""Gradients proved: of a layer, a network, a loss. Checks run on float64 copies: the networks passed in stay as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, get_backend, stream
from minigan.checks.differences import Target, branch_signatures, compare, with_state_held
from minigan.checks.mistakes.naming import name_mistakes
from minigan.checks.mistakes.rounding import name_roundings
from minigan.checks.report import TOLERANCE, Report
from minigan.errors import OptionError, shorten
from minigan.layers import Layer
from minigan.network import Sequential
from minigan.sizes import positive_int


def check_gradients(
    net: Sequential,
    x: Any,
    *,
    train: bool = True,
    mode: str = "full",
    max_entries: int | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    name: str = "network",
) -> Report:
    """Compare a network's gradients with central differences: every parameter's and dx, for a random dy.

    x: a batch (N, *input_shape). mode "full" varies single entries, all or `max_entries` drawn per array; "projection" varies
    each array along random directions v and compares <gradient, v>, which touches every entry at the cost of a few passes.
    Returns a Report: .ok, .max_error, one row per array, if the check fails .mistakes, those that an explanation fits, and
    .notes on what is rounded to float32.
    Raises OptionError for an unknown mode.
    """
    if not isinstance(net, Sequential):
        raise OptionError(f"net is {shorten(net)}: expected a Sequential; a layer alone has check_layer, a game check_game")
    net = with_state_held(net.clone(dtype="float64"))
    be, random_state, rng = net.backend, net.random_state, np.random.default_rng(stream("checks", seed))
    x = in_float64(be, x, "x")
    given_x, given_params = x.copy(), net.flat_params.copy()

    def forward() -> tuple[Array, list[Any]]:
        net.random_state = random_state  # the same Dropout masks at every pass
        return net.forward(x, train)

    def evaluate() -> tuple[Array, list[Array]]:
        y, caches = forward()
        return y.copy(), branch_signatures(net, caches)  # a copy: Reshape hands out x itself, which is about to move

    y, caches = forward()
    dy = be.asarray(rng.standard_normal(y.shape))
    net.flat_grads[...] = np.nan  # every entry must be written
    given_dy = dy.copy()  # the differences are taken with what backward was given, whatever it writes into
    dx = np.array(be.to_numpy(net.backward(given_dy, caches, grads=net.grads)))
    x[...], net.flat_params[...] = given_x, given_params
    targets = [Target(name, net.params[name], be.to_numpy(net.grads[name])) for name in net.params]
    targets.append(Target("x", x, dx))
    report = compare(name, be, evaluate, dy, targets, mode, max_entries, tolerance, rng)
    if not bool((dy == given_dy).all()):
        report.broken.append("backward writes to dy")
    report.explain = lambda: name_mistakes(net, x, train, tolerance)
    report.observe = lambda: name_roundings(net, x, train, report)
    return report


def in_float64(be: Backend, x: Any, name: str) -> Array:
    """A copy of an array, of the backend or the host, in float64. Raises OptionError for what is no array of real numbers."""
    host = np.asarray(be.to_numpy(x) if be.owns(x) else x)
    if host.dtype.kind not in "fiub":
        raise OptionError(f"{name} is {shorten(x)}: expected an array of real numbers")
    return be.asarray(host, np.float64).copy()


def check_layer(
    layer: Layer, input_shape: Sequence[int], *, batch: int = 3, backend: str | Backend = "auto", **options: Any
) -> Report:
    """check_gradients for one layer on random input (batch, *input_shape), its parameters moved off their initial values.

    A bias of 0 or a γ of 1 would hide a term that they multiply.
    """
    if not isinstance(layer, Layer):
        raise OptionError(f"layer is {shorten(layer)}: expected a layer, as minigan.Dense(10)")
    rng = np.random.default_rng(1)
    net = moved_network(layer, input_shape, backend, "float64", rng)
    shape = (positive_int(batch, "batch"), *net.input_shape)
    net.backend.require_memory(8 * math.prod(shape), f"a batch of {shorten(batch)}", "choose a smaller one")
    x = rng.standard_normal(shape)
    return check_gradients(net, x, name=repr(layer), **options)


def moved_network(
    layer: Layer, input_shape: Sequence[int], backend: str | Backend, dtype: str, rng: np.random.Generator
) -> Sequential:
    """A network of one layer whose parameters and state are not those it starts with."""
    net = with_state_held(Sequential([layer], input_shape, backend, dtype))
    net.flat_params[...] += net.backend.asarray(0.5 * rng.standard_normal(net.num_params), dtype)
    for value in net.state.values():
        value[...] += net.backend.asarray(rng.random(value.shape), dtype)
    return net


def check_loss(
    loss: Callable[..., tuple[Array, ...]],
    *inputs: Any,
    backend: str | Backend = "auto",
    tolerance: float = TOLERANCE,
    name: str = "",
) -> Report:
    """Compare the gradients that loss(*inputs) -> (value, gradient of input 0, …) returns with central differences.

    inputs: float arrays; wrap targets and options into the function. The value itself is the output that is varied.
    """
    be = get_backend(backend)
    arrays = [be.asarray(a, np.float64).copy() for a in inputs]
    gradients = loss(*arrays)[1:]
    targets = [Target(f"input {i}", a, be.to_numpy(da)) for i, (a, da) in enumerate(zip(arrays, gradients, strict=True))]
    title = name or loss.__name__
    rng = np.random.default_rng(0)
    return compare(title, be, lambda: (loss(*arrays)[0], []), 1.0, targets, "full", None, tolerance, rng)
