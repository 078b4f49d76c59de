"""What runs minigan for an example: both passes of a layer, or a loss with its gradients, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.checks.differences import Report, with_state_held
from minigan.checks.gradients import check_layer, check_loss
from minigan.explain.worked.calculator import Working
from minigan.layers import Layer
from minigan.losses import Objective
from minigan.network import Sequential

SETTLING = 40  # passes


def run_layer(page: Working, layer: Layer, x: Any, dy: Any, parameters: dict[str, Any] | None = None, shown: Any = ...) -> Any:
    """Both passes on x (N, …) with this dy and these parameters (by the formula's names, in the layer's order); its cache.

    shown: the index of the part of x, y, dy and dx that the page shows, where axes have one entry.
    """
    x = np.array(x, np.float64)
    net = Sequential([layer], x.shape[1:], "textbook", "float64")
    random_state = net.random_state

    def forward() -> tuple[np.ndarray, list[Any]]:
        net.random_state = random_state  # the same Dropout mask at every pass
        return net.forward(x, train=True)

    for (name, values), own in zip((parameters or {}).items(), layer.params, strict=True):
        layer.params[own][...] = np.reshape(values, layer.params[own].shape)
        shape = np.shape(values)
        page.values |= {name: layer.params[own].reshape(shape), f"d{name}": net.grads.of_layer[0][own].reshape(shape)}
    if net.state:
        for _ in range(SETTLING):  # a SpectralNorm takes some iterations to know these parameters
            forward()
        with_state_held(net)
    y, caches = forward()
    dy = np.array(dy, np.float64).reshape(y.shape)
    dx = net.backward(dy, caches, net.grads)
    assert dx is not None
    page.values |= {"x": x[shown], "y": y[shown], "dy": dy[shown], "dx": dx[shown]}
    page.ran, page.jacobian = layer, lambda: _jacobian(net, y, caches, parameters or {})
    for name in ("x", *(parameters or {})):
        page.sources[f"d{name}"] = (page.values[name], lambda: float((dy * forward()[0]).sum()))
    page.checks.append(("random", lambda: check_layer(layer.fresh(), x.shape[1:], backend="textbook")))
    return caches[0]


def _jacobian(net: Sequential, y: np.ndarray, caches: list[Any], parameters: dict[str, Any]) -> dict[str, np.ndarray]:
    """∂y/∂x and ∂y/∂θ, by the names x, W, …: a backward pass from each value of y, of this very forward pass."""
    grads = net.empty_grads()
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("x", *parameters)}
    for k in range(y.size):
        one = np.zeros(y.size)
        one[k] = 1
        dx = net.backward(one.reshape(y.shape), caches, grads)
        assert dx is not None
        rows["x"].append(dx.ravel())
        for name, own in zip(parameters, net.layers[0].params, strict=True):
            rows[name].append(grads.of_layer[0][own].ravel().copy())
    return {name: np.array(row) for name, row in rows.items()}


def run_loss(page: Working, loss: Callable[..., Any], title: str, inputs: dict[str, Any], mark: str = "") -> None:
    """loss(*inputs) -> (L, a gradient for each input), which the page knows as L and d<input>, with `mark` behind."""
    for key, values in inputs.items():
        page.values.setdefault(key, np.array(values, np.float64))
    arrays = [page.values[key] for key in inputs]
    value, *gradients = loss(*arrays)
    page.values[f"L{mark}"] = float(value)
    for key, array, gradient in zip(inputs, arrays, gradients, strict=True):
        page.values[f"d{key}{mark}"] = gradient
        page.sources[f"d{key}{mark}"] = (array, lambda: float(loss(*arrays)[0]))

    def check() -> Report:
        report = check_loss(loss, *arrays, backend="textbook", name=title)
        for row, key in zip(report.rows, inputs, strict=True):
            row.name = key
        return report

    page.checks.append(("these", check))


def run_objective(
    page: Working, objective: Objective, player: str, inputs: dict[str, Any], mark: str = "", **fixed: Any
) -> None:
    """run_loss for one player's loss, "discriminator" or "generator"; fixed: logits for which it has no gradient."""
    page.ran = page.ran or objective

    def loss(*logits: np.ndarray) -> tuple[np.ndarray, ...]:
        value, gradients = getattr(objective, player)(*logits, **fixed)
        return (value, *gradients) if isinstance(gradients, tuple) else (value, gradients)

    run_loss(page, loss, f"{type(objective).__name__}().{player}", inputs, mark)


def show_backward(page: Working, *names: str) -> None:
    page.write()
    page.write("dy = ∂L/∂y would come from the next layer; here it is chosen, so that L = Σ dy·y, and dx = ∂L/∂x.")
    page.show(*names)
