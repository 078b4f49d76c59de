"""The gradient of a gradient proved: tangents and curvatures of layers, and penalties on D's gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, stream
from minigan.checks.differences import Target, branch_signatures, compare, single_row, with_state_held
from minigan.checks.gradients import moved_network
from minigan.checks.report import TOLERANCE, Report, Row
from minigan.errors import ModelError
from minigan.layers import Layer
from minigan.losses import GradientPenalty, Penalty
from minigan.network import Sequential, Views


def has_second_order(layer: Layer) -> bool:
    """True if penalties on gradients go through a layer and those within."""
    try:
        layer.require_second_order()
    except ModelError:
        return False
    return True


def check_second_order(
    layer: Layer,
    input_shape: Sequence[int],
    *,
    batch: int = 8,
    backend: str | Backend = "auto",
    train: bool = True,
    mode: str = "full",
    max_entries: int | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Report:
    """Compare a layer's tangent with differences of its output, and its curvature with differences of its tangent.

    Random ẋ and dy, the parameters moved off their initial values; modes as for check_gradients. Rows: "tangent" along ẋ, then
    ∂Q/∂θ of every parameter and ∂Q/∂x, for Q = dy · (∂f/∂x) ẋ.
    """
    rng = np.random.default_rng(stream("checks", seed))
    net = moved_network(layer, input_shape, backend, "float64", rng)
    be, random_state, layer = net.backend, net.random_state, net.layers[0]
    x, x_dot = (be.asarray(rng.standard_normal((batch, *input_shape))) for _ in range(2))

    def forward() -> tuple[Array, list[Any]]:
        net.random_state = random_state  # the same Dropout masks at every pass
        return net.forward(x, train)

    def evaluate() -> tuple[Array, list[Array]]:
        y, caches = forward()
        return y.copy(), branch_signatures(net, caches)

    def evaluate_tangent() -> tuple[Array, list[Array]]:
        _, caches = forward()
        return layer.tangent(x_dot, caches[0]).copy(), branch_signatures(net, caches)

    y, (cache,) = forward()
    dy = be.asarray(rng.standard_normal(y.shape))
    analytic = float((dy * layer.tangent(x_dot, cache)).sum())
    grads = {name: be.empty(array.shape, np.float64) for name, array in layer.params.items()}
    for grad in grads.values():
        grad[...] = np.nan  # every entry must be written
    c = layer.curvature(x_dot, dy, cache, grads)
    targets = [Target(f"curvature {name}", layer.params[name], be.to_numpy(grad)) for name, grad in grads.items()]
    targets.append(Target("curvature x", x, np.zeros(x.shape) if c is None else be.to_numpy(c)))
    report = compare(f"{layer!r}, second order", be, evaluate_tangent, dy, targets, mode, max_entries, tolerance, rng)
    report.rows.insert(0, single_row("tangent", be, evaluate, dy, x, x_dot, analytic))
    return report


def check_penalty(
    penalty: Penalty,
    discriminator: Sequential,
    real: Any,
    fake: Any,
    *,
    mode: str = "full",
    max_entries: int | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    name: str = "",
) -> Report:
    """Compare a penalty's gradient in every parameter of D with differences of its value.

    The last row compares it by Pearlmutter's identity with ordinary backward passes alone: along a random direction,
    ∂(v · g)/∂θ = d/dr ∇θ Σ_n s_n(x + r v) at r = 0.
    """
    net, rng = with_state_held(discriminator.clone(dtype="float64")), np.random.default_rng(stream("checks", seed))
    be, random_state = net.backend, net.random_state
    for vector in (a for a in net.params.values() if a.ndim == 1):
        vector += be.asarray(0.1 * rng.standard_normal(vector.shape))
    real, fake = (be.asarray(be.to_numpy(x) if be.owns(x) else x, np.float64) for x in (real, fake))
    grads = Views(net.layers, be.zeros(net.flat_grads.shape, np.float64))
    signatures: list[Array] = []

    def evaluate() -> tuple[Array, list[Array]]:
        signatures.clear()
        restart()
        grads.flat[...] = 0
        return penalty.add_grads(net, real, fake, grads), list(signatures)

    def restart() -> None:
        """The same Dropout masks and the same points at every pass."""
        net.random_state = random_state
        if isinstance(penalty, GradientPenalty):
            penalty.noise = be.generator(stream("penalty", seed))

    def watch(layer: Layer | None, what: str, value: Any) -> None:
        if layer is not None and what == "cache" and (signature := layer.branch_signature(value)) is not None:
            signatures.append(signature)

    net.watch = watch
    evaluate()
    targets = [Target(key, net.params[key], be.to_numpy(grad).copy()) for key, grad in grads.items()]
    report = compare(name or repr(penalty), be, evaluate, 1.0, targets, mode, max_entries, tolerance, rng)
    evaluate()
    restart()
    report.rows.append(_by_pearlmutter(penalty, net, penalty.points(be, real, fake).copy(), random_state, grads, rng))
    return report


def _by_pearlmutter(
    penalty: Penalty, net: Sequential, x: Array, random_state: Any, grads: Views, rng: np.random.Generator
) -> Row:
    """The row of ∂(v · g)/∂θ = d/dr ∇θ Σ_n s_n(x + r v), along a random direction of θ."""
    be = net.backend

    def gradients() -> tuple[Array, list[Any], Array]:
        net.random_state = random_state
        s, caches = net.forward(x, train=True)
        return net.backward(be.xp.ones_like(s), caches, grads=net.grads), caches, net.flat_grads

    def evaluate() -> tuple[Array, list[Array]]:
        _, caches, of_params = gradients()
        return of_params.copy(), branch_signatures(net, caches)

    g, _, _ = gradients()
    _, v = penalty.value_and_grad(be, g.reshape(len(g), -1))
    direction = be.asarray(rng.standard_normal(net.num_params))
    return single_row(
        "by Pearlmutter's identity", be, evaluate, direction, x, v.reshape(x.shape), float((grads.flat * direction).sum())
    )
