"""Worked examples of the gradient of a gradient: curvature, and the penalties on D's slope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.backends import stream
from minigan.checks.differences import Report
from minigan.checks.second_order import check_penalty
from minigan.explain.worked.calculator import Working, plus
from minigan.explain.worked.generic import nudge_some
from minigan.explain.worked.registry import EXAMPLES, Example, example
from minigan.layers import Dense, Layer, LeakyReLU, Tanh
from minigan.losses import R1, GradientPenalty, Penalty
from minigan.network import Sequential, Views

OF_D = (
    "D has two hidden units: h = x W + a, y = LeakyReLU(0.5)(h), s = y·w. slope is ∂y/∂h: 1 where h is positive, 0.5 where it "
    "is not."
)
WEIGHTS = [[1.0, -1.0], [1.0, 2.0]], [2.0, -1.0]  # of the first and of the last layer


def _net(between: Layer, biases: Any) -> Sequential:
    """s of two numbers, by two hidden units."""
    net = Sequential([Dense(2), between, Dense(1)], (2,), "textbook", "float64")
    first, last = WEIGHTS
    for name, values in {"0.weight": first, "0.bias": biases, "2.weight": last}.items():
        net.params[name][...] = np.reshape(values, net.params[name].shape)
    return net


@example(Sequential.curvature)
def curvature(page: Working) -> None:
    net, x, x_dot = _net(Tanh(), [-1.0, 0.5]), np.array([[0.5, 0.25]]), np.array([[2.0, -1.0]])

    def slope() -> tuple[list[Any], list[np.ndarray], np.ndarray]:
        s, caches = net.forward(x, train=True)
        dys: list[np.ndarray] = []
        g = net.backward(np.ones_like(s), caches, dys=dys)
        assert g is not None
        return caches, dys, g

    caches, dys, g = slope()
    grads = net.empty_grads()
    net.curvature(x_dot, caches, dys, grads)
    h_dot = net.layers[0].tangent(x_dot, caches[0])
    page.values |= {"x": x[0], "x_dot": x_dot[0], "y": caches[1][0], "g": g[0], "b_y": dys[1][0], "b_h": dys[0][0]}
    page.values |= {"h_dot": h_dot[0], "y_dot": net.layers[1].tangent(h_dot, caches[1])[0], "Q": float((x_dot * g).sum())}
    page.values["c"] = net.layers[1].curvature(h_dot, dys[1], caches[1])[0]
    _know_parameters(page, net, grads, lambda: float((x_dot * slope()[2]).sum()))

    page.write("One sample of two numbers: h = x W + a, y = tanh h, s = y·w; the index n is left out.")
    page.show("x", "W", "a", "y", "w")
    page.write("A backward pass from ds = 1 has made b = ∂s/∂y at each layer, and g = ∂s/∂x:")
    page.show("b_y", "b_h", "g")
    page.write_out("b_h[0]", "w[0]·(1 - y[0]^2)")
    page.write_out("g[0]", plus(f"W[0,{k}]·b_h[{k}]" for k in range(2)))
    page.write()
    page.write("ẋ is held fixed; Q = ẋ · g is what the gradient is taken of (L, below). First sweep, upwards: the tangents.")
    page.show("x_dot", "h_dot", "y_dot")
    page.write_out("h_dot[0]", "x_dot[0]·W[0,0] + x_dot[1]·W[1,0]")
    page.write_out("y_dot[0]", "(1 - y[0]^2)·h_dot[0]")
    page.write_out("Q", plus(f"x_dot[{k}]·g[{k}]" for k in range(2)))
    page.write_out("Q", plus(f"w[{k}]·y_dot[{k}]" for k in range(2)))
    page.write()
    page.write("Second: tanh is curved, so its slope moves with h, and Q feels that: c = ∂(b_y · y_dot)/∂h.")
    page.show("c")
    page.write_out("c[0]", "-2·y[0]·(1 - y[0]^2)·h_dot[0]·b_y[0]")
    page.write()
    page.write("Third: w and W stand in the products that made Q, and W and a also in h, by c.")
    page.show("dw", "dW", "da")
    page.gradient("dw[0]", "y_dot[0]")
    page.gradient("dW[1,0]", "x_dot[1]·b_h[0] + x[1]·c[0]")
    page.gradient("da[0]", "c[0]")


def _know_parameters(page: Working, net: Sequential, grads: Views, objective: Callable[[], float], prefix: str = "d") -> None:
    """The net's parameters W, a, w, and their gradients with this prefix, to be nudged."""
    for name, own, shape in (("W", "0.weight", (2, 2)), ("a", "0.bias", (2,)), ("w", "2.weight", (2,))):
        page.values |= {name: net.params[own].reshape(shape), f"{prefix}{name}": grads[own].reshape(shape)}
        page.sources[f"{prefix}{name}"] = (page.values[name], objective)


def _run_penalty(page: Working, penalty: Penalty, net: Sequential, real: np.ndarray, fake: np.ndarray) -> None:
    """All that add_grads makes, which the page then knows: x, g, v, P, the tangents and ∂P/∂θ."""
    be, grads = net.backend, net.empty_grads()
    page.ran = penalty

    def restart() -> None:
        """The same points at every pass."""
        if isinstance(penalty, GradientPenalty):
            penalty.noise = be.generator(stream("penalty", 0))

    def value() -> float:
        restart()
        return float(penalty.add_grads(net, real, fake, net.grads))

    restart()
    x = penalty.points(be, real, fake)
    grads.flat[...] = 0
    restart()
    penalty.add_grads(net, real, fake, grads)
    s, caches = net.forward(x, train=True)
    dys: list[np.ndarray] = []
    g = net.backward(np.ones_like(s), caches, dys=dys)
    assert g is not None
    value_of, v = penalty.slope(be, g)
    h_dot = net.layers[0].tangent(v, caches[0])
    page.values |= {"x": x, "g": g, "P": float(value_of), "v": v, "weight": penalty.weight, "b": dys[0], "h_dot": h_dot}
    page.values["y_dot"] = net.layers[1].tangent(h_dot, caches[1])
    page.values["slope"] = net.layers[1].tangent(np.ones_like(h_dot), caches[1])
    _know_parameters(page, net, grads, value)

    def check() -> Report:
        return check_penalty(penalty, net, real, fake)

    page.checks.append(("nearby", check))


def _write_the_slopes(page: Working) -> None:
    """From the points to g."""
    page.write_out("b[1,1]", "w[1]·slope[1,1]")
    page.write_out("g[1,0]", "b[1,0]·W[0,0] + b[1,1]·W[0,1]")


def _write_the_sweeps(page: Working) -> None:
    """From v to ∂P/∂θ."""
    page.write()
    page.write("v is pushed forwards, as a change of x: h_dot = v W and y_dot = slope·h_dot.")
    page.show("h_dot", "y_dot")
    page.write_out("h_dot[1,1]", "v[1,0]·W[0,1] + v[1,1]·W[1,1]")
    page.write_out("y_dot[1,1]", "slope[1,1]·h_dot[1,1]")
    page.write()
    page.write(
        "P reaches the weights through g alone, and v · g = Σ s_dot. So ∂P/∂W = vᵀ b, with v where the loss has x, and ∂P/∂w "
        "sums y_dot. LeakyReLU is linear piece by piece: no slope changes with h, and biases get nothing."
    )
    page.show("dW", "dw", "da")
    page.gradient("dW[0,1]", "v[0,0]·b[0,1] + v[1,0]·b[1,1]")
    page.gradient("dw[1]", "y_dot[0,1] + y_dot[1,1]")
    page.gradient("da[1]", "0")


@example(R1)
def r1(page: Working) -> None:
    real = np.array([[1.0, 2.0], [2.0, -1.0]])
    _run_penalty(page, R1(4), _net(LeakyReLU(0.5), [0.5, 0.5]), real, real - 1)
    page.write(f"{OF_D} Two real images of two numbers, the rows of x, and the weight 4.")
    page.show("x", "W", "a", "slope", "w")
    page.write("One backward pass from ds = 1 for each image makes b = ∂s/∂h and the slopes g = ∂s/∂x:")
    page.show("b", "g")
    _write_the_slopes(page)
    squares = plus(f"g[{n},{k}]^2" for n in range(2) for k in range(2))
    page.write_out("P", f"weight / (2·2)·({squares})")
    page.write()
    page.write("v = ∂P/∂g:")
    page.show("v")
    page.write_out("v[1,0]", "weight / 2·g[1,0]")
    _write_the_sweeps(page)


@example(GradientPenalty)
def gradient_penalty(page: Working) -> None:
    real, fake, penalty = np.array([[1.0, 2.0], [2.0, -1.0]]), np.array([[0.0, 3.0], [1.0, -2.0]]), GradientPenalty(10)
    _run_penalty(page, penalty, _net(LeakyReLU(0.5), [0.5, 0.5]), real, fake)
    penalty.noise = None
    v = page.values
    v |= {"real": real, "fake": fake, "eps": penalty.draw(Sequential([Dense(1)], (1,), "textbook").backend, real)}
    v["norm"] = np.sqrt((v["g"] ** 2).sum(axis=1))
    page.write(f"{OF_D} Two real and two generated images of two numbers; eps, drawn for each pair; the weight 10.")
    page.show("real", "fake", "eps", "x")
    page.write_out("x[1,0]", "eps[1,0]·real[1,0] + (1 - eps[1,0])·fake[1,0]")
    page.show("W", "a", "slope", "w")
    page.write("One backward pass from ds = 1 for each point makes b = ∂s/∂h and g = ∂s/∂x, whose norm is wanted to be 1:")
    page.show("b", "g", "norm")
    _write_the_slopes(page)
    page.write_out("norm[1]", "sqrt(g[1,0]^2 + g[1,1]^2)")
    page.write_out("P", "weight / 2·((norm[0] - 1)^2 + (norm[1] - 1)^2)")
    page.write()
    page.write("v = ∂P/∂g:")
    page.show("v")
    page.write_out("v[1,0]", "2·weight / 2·(1 - 1 / norm[1])·g[1,0]")
    _write_the_sweeps(page)


def add_penalties(table: Any) -> None:
    """Register an example on random images for each penalty that has none yet."""
    for subject in table:
        if subject.__name__ not in EXAMPLES:
            EXAMPLES[subject.__name__] = (subject, _penalty_example(subject))


def _penalty_example(subject: type[Penalty]) -> Example:
    def write(page: Working) -> None:
        rng = np.random.default_rng(0)
        page.write(
            "D has two hidden units: h = x W + a, y = tanh h, s = y·w. Three real and three generated images of two numbers, "
            "drawn at random; x are the points at which g = ∂s/∂x is taken, and the weight is 2."
        )
        real, fake = (rng.standard_normal((3, 2)) for _ in range(2))
        _run_penalty(page, subject(2), _net(Tanh(), [-1.0, 0.5]), real, fake)
        page.values |= {"real": real, "fake": fake}
        page.show("real", "fake", "x", "W", "a", "w")
        page.write("The slopes, the penalty, v = ∂P/∂g, and P's gradients:")
        page.show("g", "P", "v", "dW", "da", "dw")
        squares = [f"({plus(f'g[{n},{k}]^2' for k in range(2))})" for n in range(3)]
        if issubclass(subject, R1):
            page.write_out("P", f"weight / (2·3)·({plus(squares)})")
            page.write_out("v[1,0]", "weight / 3·g[1,0]")
        elif issubclass(subject, GradientPenalty):
            page.write_out("P", f"weight / 3·({plus(f'(sqrt{square} - 1)^2' for square in squares)})")
            page.write_out("v[1,0]", f"2·weight / 3·(1 - 1 / sqrt{squares[1]})·g[1,0]")
        nudge_some(page, rng, "dW", "da", "dw")

    return write
