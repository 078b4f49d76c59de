"""Every layer, loss and optimiser worked through on numbers small enough for a pencil: `minigan explain Conv2d`.

An example chooses inputs and says which entries to write out, and by which formula; all else is computed. The arrays are
those of minigan's own forward and backward in float64. A formula is a text such as "x[0,1]·w[0,0] + b": it is printed, printed
again with the numbers in it, and evaluated; where its value is not the one that minigan has, the page says so. Then each
gradient that was written out is measured by nudging its entry, and gradcheck checks the layer or loss as a whole.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minigan import losses
from minigan.backends import ConvGeometry
from minigan.checks.gradients import Report, check_layer, check_loss
from minigan.errors import OptionError, nearest_name
from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sigmoid,
    Softplus,
    Tanh,
    Upsample,
)
from minigan.layers.activations import sigmoid
from minigan.network import Sequential
from minigan.optim import SGD, Adam, Optimizer

WIDTH = 100
NUDGE = 1e-3  # h: the rounding of L, divided by 2h, stays below the digits that are printed
FUNCTIONS = {"exp": math.exp, "log": math.log, "sqrt": math.sqrt, "max": max}
Index = tuple[int, ...]


class Working:
    """A page of working: tables, formulas written out, and whether all of it agreed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: dict[str, Any] = {}  # what formulas speak of, by name
        self.sources: dict[str, tuple[np.ndarray, Callable[[], float]]] = {}  # gradient by name -> (its input, L)
        self.gradients: list[str] = []  # entries to nudge
        self.checks: list[tuple[str, Callable[[], Report]]] = []
        self.ok = True

    def say(self, text: str = "") -> None:
        self.lines += textwrap.wrap(text, WIDTH) or [""]

    def show(self, *names: str) -> None:
        """The named arrays as tables side by side."""
        row: list[list[str]] = []
        for block in [*map(self._table, names), None]:
            if row and (block is None or sum(len(b[0]) + 4 for b in [*row, block]) > WIDTH):
                height = max(map(len, row))
                padded = [b + [" " * len(b[0])] * (height - len(b)) for b in row]
                self.lines += ["", *("".join("    " + b[k] for b in padded).rstrip() for k in range(height))]
                row = []
            if block is not None:
                row.append(block)
        self.lines.append("")

    def _table(self, name: str) -> list[str]:
        """A title and rows, all of one width."""
        cells = [[number(v) for v in row] for row in np.atleast_2d(self.values[name])]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rows = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
        width = max(len(name), len(rows[0]))
        return [line.ljust(width) for line in (name, *rows)]

    def write_out(self, entry: str, formula: str) -> None:
        """`entry = formula`, the same with its numbers, and the value; of minigan's own too where that is another."""
        value = self.evaluate(formula)
        numbers = self._with_numbers(formula)
        sides = [formula, *([numbers] if numbers != number(value) else []), number(value)]
        line = f"  {' = '.join([entry, *sides])}"
        if len(line) > 84:
            margin = " " * (len(entry) + 3)
            line = f"  {entry} = " + f"\n{margin}= ".join(f"\n{margin}  ".join(_fold(side, len(margin) + 2)) for side in sides)
        self.lines += (line + self._compare(value, self.evaluate(entry))).split("\n")

    def gradient(self, entry: str, formula: str) -> None:
        """write_out for an entry of a gradient, which is to be nudged as well."""
        self.write_out(entry, formula)
        self.gradients.append(entry)

    def _compare(self, value: float, minigans: float) -> str:
        if abs(value - minigans) <= 1e-9 * max(1.0, abs(value)):
            return ""
        self.ok = False
        return f"    FAILED: minigan has {number(minigans)}"

    def evaluate(self, formula: str) -> float:
        python = formula.replace("·", "*").replace("^", "**")
        return float(eval(python, {"__builtins__": {}}, {**FUNCTIONS, **self.values}))

    def _with_numbers(self, formula: str) -> str:
        def put(match: re.Match[str]) -> str:
            if match[1] not in self.values:
                return match[0]  # a function
            text, before, after = number(self.evaluate(match[0])), formula[: match.start()].rstrip(), formula[match.end() :]
            bare = before[-1:] in ("", "(", ",") and not after.startswith("^")
            return text if bare or not text.startswith("-") else f"({text})"

        return re.sub(r"([A-Za-z_]\w*)(\[[\d,]+\])?", put, formula)

    def nudge(self) -> None:
        """Each gradient written out, beside the central difference (L(+h) − L(−h)) / 2h."""
        if not self.gradients:
            return
        self.say()
        self.say(f"Nudged: h = {NUDGE:g} added to the entry and taken from it, (L(+h) - L(-h)) / 2h, and the gradient:")
        width = max(map(len, self.gradients))
        for entry in self.gradients:
            name, _, index = entry.rstrip("]").partition("[")
            place = tuple(int(k) for k in index.split(",") if k)
            array, objective = self.sources[name]
            start = float(array[place])
            sides = []
            for value in (start + NUDGE, start - NUDGE):
                array[place] = value
                sides.append(objective())
            array[place] = start
            numeric, analytic = (sides[0] - sides[1]) / (2 * NUDGE), self.evaluate(entry)
            agree = abs(numeric - analytic) <= 1e-5 * max(1.0, abs(analytic))
            self.ok &= agree
            below = f"({sides[1]:.9g})" if sides[1] < 0 else f"{sides[1]:.9g}"
            self.lines.append(
                f"  {entry:<{width}}  ({sides[0]:.9g} - {below}) / {2 * NUDGE:g} = {numeric:.6f}"
                f"    gradient {analytic:.6f}{'' if agree else '    FAILED'}"
            )

    def conclude(self) -> None:
        """The check of every entry."""
        for on, check in self.checks:
            report = check()
            self.ok &= report.ok
            self.say()
            self.say(f"Checked by differences at every entry, on {on} numbers:")
            for line in str(report).replace("; worst", ";\n      worst").split("\n"):
                self.lines += textwrap.wrap(line, WIDTH, subsequent_indent="  ")


def number(value: float) -> str:
    """Five significant digits; what is rounding noise beside small numbers is 0."""
    return "0" if abs(value) < 1e-12 else f"{value:.5g}"


def _fold(formula: str, margin: int) -> list[str]:
    """Lines that each begin with a term; what stands in two parentheses or more is kept together."""
    depth, glued = 0, ""
    for before, character in zip(" " + formula, formula, strict=False):
        depth += {"(": 1, ")": -1}.get(character, 0)
        glued += "\xa0" if character == " " and (depth > 1 or before in "+-/") else character
    return [line.replace("\xa0", " ") for line in textwrap.wrap(glued, WIDTH - margin, break_on_hyphens=False)]


# -- what runs minigan ------------------------------------------------------------------------------------------------------


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
        page.values |= {name: layer.params[own].reshape(shape), f"d{name}": layer.grads[own].reshape(shape)}
    y, caches = forward()
    dy = np.array(dy, np.float64).reshape(y.shape)
    dx = net.backward(dy, caches)
    assert dx is not None
    page.values |= {"x": x[shown], "y": y[shown], "dy": dy[shown], "dx": dx[shown]}
    for name in ("x", *(parameters or {})):
        page.sources[f"d{name}"] = (page.values[name], lambda: float((dy * forward()[0]).sum()))
    page.checks.append(("random", lambda: check_layer(layer.fresh(), x.shape[1:], backend="textbook")))
    return caches[0]


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


def at(index: Index) -> str:
    return f"[{','.join(map(str, index))}]"


def plus(terms: Sequence[str] | Iterator[str]) -> str:
    return " + ".join(terms)


def show_backward(page: Working, *names: str) -> None:
    page.say()
    page.say("dy = ∂L/∂y would come from the next layer; here it is chosen, so that L = Σ dy·y, and dx = ∂L/∂x.")
    page.show("dy", *names)


# -- the examples -----------------------------------------------------------------------------------------------------------

EXAMPLES: dict[str, tuple[Any, Callable[[Working], None]]] = {}


def example(subject: Any) -> Callable[[Callable[[Working], None]], Callable[[Working], None]]:
    """Register a function as the worked example of a layer, loss or optimiser."""

    def register(write: Callable[[Working], None]) -> Callable[[Working], None]:
        EXAMPLES[subject.__name__] = (subject, write)
        return write

    return register


@example(Dense)
def dense(page: Working) -> None:
    parameters = {"W": [[1, 0], [2, -1], [0, 3]], "b": [1, -2]}
    run_layer(page, Dense(2), [[1, 2, 0], [-1, 3, 2]], [[1, 2], [-1, 3]], parameters)
    page.say("A batch of two samples of three numbers, the rows of x; two outputs.")
    page.show("x", "W", "b", "y")
    page.write_out("y[0,1]", plus(f"x[0,{i}]·W[{i},1]" for i in range(3)) + " + b[1]")
    show_backward(page, "dx", "dW", "db")
    page.gradient("dx[1,0]", plus(f"dy[1,{o}]·W[0,{o}]" for o in range(2)))
    page.gradient("dW[1,0]", plus(f"dy[{n},0]·x[{n},1]" for n in range(2)))
    page.gradient("db[1]", plus(f"dy[{n},1]" for n in range(2)))


def products(geometry: ConvGeometry, template: str, **fixed: int) -> str:
    """The sum of a template over all products of a convolution: map (o, p), image (h, v), weight (i, j), some of them fixed."""
    g, found = geometry, []
    for o, p, i, j in itertools.product(*map(range, (*g.output, *g.kernel))):
        h, v = (k * g.stride[a] - g.padding[a] + tap * g.dilation[a] for a, (k, tap) in enumerate(((o, i), (p, j))))
        place = {"o": o, "p": p, "i": i, "j": j, "h": h, "v": v}
        inside = 0 <= h < g.image[0] and 0 <= v < g.image[1]
        if inside and all(place[key] == value for key, value in fixed.items()):
            found.append(template.format(**place))
    return plus(found)


PLANE = np.s_[0, ..., 0]  # of one image with one channel
ROW = np.s_[0]  # of a batch of one


@example(Conv2d)
def conv2d(page: Working) -> None:
    layer = Conv2d(1, 2)
    x = np.array([[1, 2, 0], [3, 1, -1], [0, 2, 4]]).reshape(1, 3, 3, 1)
    parameters = {"w": [[1, 2], [0, -1]], "b": 1}
    run_layer(page, layer, x, [[1, -1], [2, 3]], parameters, PLANE)
    page.say("One image of 3 x 3 pixels, one channel, a kernel of 2 x 2: the indices n, c and f are left out.")
    page.show("x", "w", "b", "y")
    page.say("The kernel laid on the image with its corner at [0,1]:")
    page.write_out("y[0,1]", products(layer.geometry, "x[{h},{v}]·w[{i},{j}]", o=0, p=1) + " + b")
    show_backward(page, "dx", "dw", "db")
    page.say("The pixel in the middle stands in all four outputs, each time under another weight:")
    page.gradient("dx[1,1]", products(layer.geometry, "dy[{o},{p}]·w[{i},{j}]", h=1, v=1))
    page.say("A weight stands in every output, each time on another pixel:")
    page.gradient("dw[0,1]", products(layer.geometry, "dy[{o},{p}]·x[{h},{v}]", i=0, j=1))
    page.gradient("db", products(layer.geometry, "dy[{o},{p}]", i=0, j=0))


@example(ConvTranspose2d)
def conv_transpose2d(page: Working) -> None:
    layer = ConvTranspose2d(1, 3, stride=2, padding=1)
    parameters = {"w": [[1, 2, 0], [3, 1, -1], [0, 2, 4]], "b": 1}
    x, dy = np.array([[1, -1], [2, 3]]).reshape(1, 2, 2, 1), [[1, 0, 2], [-1, 1, 3], [2, 1, 0]]
    run_layer(page, layer, x, dy, parameters, PLANE)
    page.say("One map of 2 x 2, one channel, a kernel of 3 x 3, stride 2, padding 1: n, c and f are left out.")
    page.show("x", "w", "b", "y")
    page.say("The windows of all four inputs overlap in the middle; only one reaches the corner:")
    page.write_out("y[1,1]", products(layer.geometry, "x[{o},{p}]·w[{i},{j}]", h=1, v=1) + " + b")
    page.write_out("y[0,0]", products(layer.geometry, "x[{o},{p}]·w[{i},{j}]", h=0, v=0) + " + b")
    show_backward(page, "dx", "dw", "db")
    page.say("Backwards it is the convolution that Conv2d does forwards; dy outside its borders is 0 and left out:")
    page.gradient("dx[0,1]", products(layer.geometry, "dy[{h},{v}]·w[{i},{j}]", o=0, p=1))
    page.gradient("dw[1,2]", products(layer.geometry, "dy[{h},{v}]·x[{o},{p}]", i=1, j=2))
    page.gradient("db", plus(f"dy[{h},{v}]" for h, v in itertools.product(range(3), repeat=2)))


def normalisation(page: Working, layer: Any, axis: int, x: Any, dy: Any, gamma: Any, beta: Any, entry: Index) -> None:
    """What is normalised together runs along `axis`: 0, the batch, for BatchNorm; 1, the sample, for LayerNorm."""
    cache = run_layer(page, layer, x, dy, {"gamma": gamma, "beta": beta})
    v, eps = page.values, layer.eps
    count, sigma = v["x"].shape[axis], 1 / np.expand_dims(cache[1 if axis else 2].ravel(), axis)  # from minigan's 1/σ
    mean = v["x"].mean(axis, keepdims=True)
    v |= {"eps": eps, "mu": mean.ravel(), "v": sigma.ravel() ** 2 - eps, "sigma": sigma.ravel(), "g": v["gamma"] * v["dy"]}
    v["x_hat"] = x_hat = (v["x"] - mean) / sigma
    v["direct"] = v["g"] / sigma
    v["by_mu"] = -v["g"].sum(axis, keepdims=True) / (count * sigma) + 0 * x_hat
    v["by_v"] = -x_hat * (v["g"] * x_hat).sum(axis, keepdims=True) / (count * sigma)

    one, group, channel = at(entry), at((entry[1 - axis],)), at((entry[1],))
    members = [at(tuple(k if a == axis else entry[a] for a in (0, 1))) for k in range(count)]
    page.show("x", "mu", "v", "sigma", "x_hat")
    page.write_out(f"mu{group}", f"({plus(f'x{m}' for m in members)}) / {count}")
    page.write_out(f"v{group}", f"({plus(f'(x{m} - mu{group})^2' for m in members)}) / {count}")
    page.write_out(f"sigma{group}", f"sqrt(v{group} + eps)")
    page.write_out(f"x_hat{one}", f"(x{one} - mu{group}) / sigma{group}")
    page.show("gamma", "beta", "y")
    page.write_out(f"y{one}", f"gamma{channel}·x_hat{one} + beta{channel}")
    show_backward(page, "g", "dgamma", "dbeta")
    page.write_out(f"g{one}", f"gamma{channel}·dy{one}")
    column = [at((n, entry[1])) for n in range(len(v["x"]))]
    page.gradient(f"dgamma{channel}", plus(f"dy{m}·x_hat{m}" for m in column))
    page.gradient(f"dbeta{channel}", plus(f"dy{m}" for m in column))
    page.say()
    page.say("The parts of dx: direct, through mu and through v; and dx, their sum:")
    page.show("direct", "by_mu", "by_v", "dx")
    page.write_out(f"direct{one}", f"g{one} / sigma{group}")
    page.write_out(f"by_mu{one}", f"-({plus(f'g{m}' for m in members)}) / ({count}·sigma{group})")
    page.write_out(f"by_v{one}", f"-x_hat{one}·({plus(f'g{m}·x_hat{m}' for m in members)}) / ({count}·sigma{group})")
    page.gradient(f"dx{one}", plus(f"{path}{one}" for path in ("direct", "by_mu", "by_v")))


@example(BatchNorm)
def batch_norm(page: Working) -> None:
    page.say("Four samples, the rows of x, of two channels, its columns; each column is normalised by itself.")
    x, dy = [[1, 2], [7, 6], [9, 2], [15, 6]], [[1, 0], [0, 2], [-1, 1], [2, 3]]
    normalisation(page, BatchNorm(), 0, x, dy, [2, 3], [1, -1], (0, 0))


@example(LayerNorm)
def layer_norm(page: Working) -> None:
    page.say("Two samples, the rows of x, of four numbers; each row is normalised by itself.")
    x, dy = [[1, 7, 9, 15], [30, 2, 18, 14]], [[1, 0, -1, 2], [0, 2, 3, 1]]
    normalisation(page, LayerNorm(), 1, x, dy, [2, 3, 1, 2], [1, -1, 0, 2], (0, 0))


def elementwise(page: Working, layer: Layer, forward: str, backward: str, below: str = "", note: str = "") -> None:
    """An activation: formulas in which @ stands for an entry's index, for an x above 0 and for one below."""
    run_layer(page, layer, [[2, -1, 0.5], [-3, 1, -0.5]], [[3, 2, 4], [-2, -1, 1]])
    page.values |= layer.options
    page.say("Two samples of three numbers.")
    page.show("x", "y")
    for index in ("[0,0]", "[0,1]"):
        page.write_out(f"y{index}", forward.replace("@", index))
    show_backward(page, "dx")
    if note:
        page.say(note)
    page.gradient("dx[0,0]", backward.replace("@", "[0,0]"))
    page.gradient("dx[0,1]", (below or backward).replace("@", "[0,1]"))


@example(ReLU)
def relu(page: Working) -> None:
    elementwise(page, ReLU(), "max(x@, 0)", "dy@·(x@ > 0)", note="(x > 0) counts 1 where it is true, else 0:")


@example(LeakyReLU)
def leaky_relu(page: Working) -> None:
    elementwise(page, LeakyReLU(0.2), "max(x@, slope·x@)", "dy@", "slope·dy@", "x[0,0] is above 0, x[0,1] below:")


@example(Tanh)
def tanh(page: Working) -> None:
    elementwise(page, Tanh(), "(exp(x@) - exp(-x@)) / (exp(x@) + exp(-x@))", "dy@·(1 - y@^2)")


@example(Sigmoid)
def logistic(page: Working) -> None:
    elementwise(page, Sigmoid(), "1 / (1 + exp(-x@))", "dy@·y@·(1 - y@)")


@example(Softplus)
def softplus(page: Working) -> None:
    elementwise(page, Softplus(), "log(1 + exp(x@))", "dy@ / (1 + exp(-x@))")


@example(Dropout)
def dropout(page: Working) -> None:
    page.values["m"] = run_layer(page, Dropout(0.5), [[2, -1, 4], [-3, 1, 5]], [[3, 2, 4], [-2, -1, 1]])
    page.say("Two samples of three numbers, rate 0.5: about half of the numbers are dropped, the rest doubled.")
    page.say("The mask m is drawn by the layer, and kept in the cache.")
    page.show("x", "m", "y")
    kept, dropped = (at(tuple(np.argwhere(mask)[0])) for mask in (page.values["m"] > 0, page.values["m"] == 0))
    for index in (kept, dropped):
        page.write_out(f"y{index}", f"x{index}·m{index}")
    show_backward(page, "dx")
    for index in (kept, dropped):
        page.gradient(f"dx{index}", f"dy{index}·m{index}")


@example(Reshape)
def reshape(page: Working) -> None:
    run_layer(page, Reshape((2, 3)), [[3, 1, 4, 1, 5, 9]], [[2, 7, 1], [8, 2, 0]], shown=ROW)
    page.say("One sample of six numbers, made two rows of three; the index n is left out.")
    page.show("x", "y")
    page.write_out("y[1,0]", "x[3]")
    show_backward(page, "dx")
    page.gradient("dx[3]", "dy[1,0]")


@example(Flatten)
def flatten(page: Working) -> None:
    run_layer(page, Flatten(), [[[3, 1, 4], [1, 5, 9]]], [2, 7, 1, 8, 2, 0], shown=ROW)
    page.say("One sample of two rows of three numbers, made one row; the index n is left out.")
    page.show("x", "y")
    page.write_out("y[3]", "x[1,0]")
    show_backward(page, "dx")
    page.gradient("dx[1,0]", "dy[3]")


@example(Upsample)
def upsample(page: Working) -> None:
    dy = [[1, 0, 2, 1], [-1, 3, 0, 4], [2, 2, -2, 1], [0, 1, 5, -1]]
    run_layer(page, Upsample(2), np.array([[1, 2], [3, 4]]).reshape(1, 2, 2, 1), dy, shown=PLANE)
    page.say("One image of 2 x 2 pixels, one channel, every pixel made 2 x 2: n and c are left out.")
    page.show("x", "y")
    page.write_out("y[1,2]", "x[0,1]")
    show_backward(page, "dx")
    page.gradient("dx[0,1]", plus(f"dy[{h},{v}]" for h in (0, 1) for v in (2, 3)))


@example(losses.discriminator_loss)
def discriminator_loss(page: Working) -> None:
    run_loss(page, losses.discriminator_loss, "discriminator_loss", {"s_real": [2, -1, 0.5], "s_fake": [-2, 1, 0]})
    page.values |= {f"D_{kind}": sigmoid(np, page.values[f"s_{kind}"]) for kind in ("real", "fake")}
    page.say("The logits of three real and of three generated images, and D = σ(s):")
    page.show("s_real", "D_real", "s_fake", "D_fake")
    page.write_out("D_real[0]", "1 / (1 + exp(-s_real[0]))")
    real = plus(f"log(1 + exp(-s_real[{n}]))" for n in range(3))
    page.write_out("L", f"({real}) / 3 + ({plus(f'log(1 + exp(s_fake[{n}]))' for n in range(3))}) / 3")
    page.say()
    page.say("A step down these gradients lifts real logits and lowers generated ones, most where D is wrong:")
    page.show("ds_real", "ds_fake")
    page.gradient("ds_real[1]", "(D_real[1] - 1) / 3")
    page.gradient("ds_fake[1]", "D_fake[1] / 3")


@example(losses.generator_loss)
def generator_loss(page: Working) -> None:
    inputs = {"s": [-4, 0, 2]}
    run_loss(page, losses.generator_loss, "generator_loss", inputs)
    minimax = "generator_loss(saturating=True)"
    run_loss(page, lambda s: losses.generator_loss(s, saturating=True), minimax, inputs, "_minimax")
    page.values["D"] = sigmoid(np, page.values["s"])
    page.say("The logits of three generated images, and D = σ(s); D is sure that the first is generated:")
    page.show("s", "D")
    page.write_out("L", f"({plus(f'log(1 + exp(-s[{n}]))' for n in range(3))}) / 3")
    page.write_out("L_minimax", f"-({plus(f'log(1 + exp(s[{n}]))' for n in range(3))}) / 3")
    page.say()
    page.say("The gradients ds = ∂L/∂s: for the worst image the first is largest, and minimax's is smallest.")
    page.show("ds", "ds_minimax")
    page.gradient("ds[0]", "(D[0] - 1) / 3")
    page.gradient("ds_minimax[0]", "-D[0] / 3")


@example(losses.bce_with_logits)
def bce_with_logits(page: Working) -> None:
    page.values["t"] = np.array([1, 0, 0.5])
    run_loss(page, lambda s: losses.bce_with_logits(s, page.values["t"]), "bce_with_logits", {"s": [2, 1, -1]})
    page.values["p"] = sigmoid(np, page.values["s"])
    page.say("Three logits, their targets, and p = σ(s):")
    page.show("s", "t", "p")
    page.write_out("L", f"({plus(f'(log(1 + exp(s[{n}])) - t[{n}]·s[{n}])' for n in range(3))}) / 3")
    page.say()
    page.say("The gradient, ds = ∂L/∂s: each logit is drawn to where p is its target.")
    page.show("ds")
    page.gradient("ds[0]", "(p[0] - t[0]) / 3")
    page.gradient("ds[1]", "(p[1] - t[1]) / 3")


@example(losses.mse)
def mse(page: Working) -> None:
    page.values["t"] = np.array([[1, 0], [0, 4.0]])
    run_loss(page, lambda y: losses.mse(y, page.values["t"]), "mse", {"y": [[3, -1], [0.5, 2]]})
    page.say("Two samples of two numbers, so N = 4, and their targets:")
    page.show("y", "t")
    entries = list(itertools.product(range(2), repeat=2))
    page.write_out("L", f"({plus(f'(y{at(e)} - t{at(e)})^2' for e in entries)}) / 4")
    page.say()
    page.say("The gradient, dy = ∂L/∂y:")
    page.show("dy")
    page.gradient("dy[0,0]", "2·(y[0,0] - t[0,0]) / 4")
    page.gradient("dy[1,1]", "2·(y[1,1] - t[1,1]) / 4")


@example(losses.softmax_cross_entropy)
def softmax_cross_entropy(page: Working) -> None:
    page.values["c"] = labels = np.array([0, 2])
    run_loss(
        page,
        lambda s: losses.softmax_cross_entropy(s, labels),
        "softmax_cross_entropy",
        {"s": [[2, 1, 0], [1, 3, -1]]},
    )
    powers = np.exp(page.values["s"])
    page.values["p"] = powers / powers.sum(axis=1, keepdims=True)
    page.say("Two samples, the rows of s, with logits for three classes; their labels c; and the probabilities p:")
    page.show("s", "c", "p")
    page.write_out("p[0,1]", f"exp(s[0,1]) / ({plus(f'exp(s[0,{j}])' for j in range(3))})")
    page.write_out("L", "-(log(p[0,0]) + log(p[1,2])) / 2")
    page.say()
    page.say("The gradient, ds = ∂L/∂s: (p - 1) / N for the label's own logit, p / N for all others.")
    page.show("ds")
    page.gradient("ds[0,0]", "(p[0,0] - 1) / 2")
    page.gradient("ds[0,1]", "p[0,1] / 2")


def run_optimizer(page: Working, optimizer: Optimizer, steps: int, states: dict[str, tuple[str, float]]) -> None:
    """Steps on L = (w_0² + 4 w_1²) / 2: row t of w and of each state (name -> its vector and a factor) after t steps."""
    net = Sequential([Dense(1, bias=False)], (2,), "textbook", "float64")
    net.flat_params[...] = [1, -2]
    optimizer.attach(net)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("w", "dw", *states)}
    for step in range(steps + 1):
        if step:
            optimizer.step(net)
        net.flat_grads[...] = net.flat_params * [1, 4]
        rows["w"].append(net.flat_params.copy())
        rows["dw"].append(net.flat_grads.copy())
        for name, (vector, factor) in states.items():
            rows[name].append(factor * optimizer.state[vector])
    page.values |= {name: np.array(values) for name, values in rows.items()}
    page.say("Two numbers on their way down L = (w_0^2 + 4 w_1^2) / 2, whose gradient is (w_0, 4 w_1).")
    page.say("Row t of each table is the state after t steps; dw[t] is the gradient at w[t].")


def write_steps(page: Working, formulas: dict[str, str], steps: int) -> None:
    """Formulas for step t from row u = t − 1, written out for w_0; the others of w and of its states are compared unseen."""
    worst = 0.0
    for t, i in itertools.product(range(1, steps + 1), range(2)):
        if i == 0:
            page.say(f"Step {t}, the first number:")
        for entry, formula in formulas.items():
            left, right = (text.format(t=t, u=t - 1, i=i) for text in (entry, formula))
            if i == 0:
                page.write_out(left, right)
            worst = max(worst, abs(page.evaluate(left) - page.evaluate(right)))
    verdict = "ok" if worst < 1e-12 else "FAILED"
    page.ok &= verdict == "ok"
    page.say()
    page.say(f"Checked: both numbers in all {steps} steps against these formulas: {verdict}, largest difference {worst:.1e}.")


@example(SGD)
def sgd(page: Working) -> None:
    optimizer = SGD(lr=0.1, momentum=0.5)
    run_optimizer(page, optimizer, 2, {"u": ("momentum", 1.0)})
    page.values |= {"lr": 0.1, "momentum": optimizer.momentum}
    page.say("lr = 0.1, momentum μ = 0.5.")
    page.show("w", "dw", "u")
    write_steps(page, {"u[{t},{i}]": "momentum·u[{u},{i}] + dw[{u},{i}]", "w[{t},{i}]": "w[{u},{i}] - lr·u[{t},{i}]"}, 2)


@example(Adam)
def adam(page: Working) -> None:
    optimizer = Adam(lr=0.1)
    b1, b2 = optimizer.betas
    run_optimizer(page, optimizer, 2, {"m": ("m_sum", 1 - b1), "v": ("v_sum", 1 - b2)})
    m, v, t = page.values["m"], page.values["v"], np.arange(1, 3)[:, None]
    zero = np.zeros((1, 2))
    hats = {"m_hat": np.vstack([zero, m[1:] / (1 - b1**t)]), "v_hat": np.vstack([zero, v[1:] / (1 - b2**t)])}
    page.values |= {"lr": 0.1, "beta1": b1, "beta2": b2, "eps": optimizer.eps, **hats}
    page.say(f"lr = 0.1, betas = ({b1}, {b2}), eps = {optimizer.eps}.")
    page.show("w", "dw", "m", "v")
    formulas = {
        "m[{t},{i}]": "beta1·m[{u},{i}] + (1 - beta1)·dw[{u},{i}]",
        "v[{t},{i}]": "beta2·v[{u},{i}] + (1 - beta2)·dw[{u},{i}]^2",
        "m_hat[{t},{i}]": "m[{t},{i}] / (1 - beta1^{t})",
        "v_hat[{t},{i}]": "v[{t},{i}] / (1 - beta2^{t})",
        "w[{t},{i}]": "w[{u},{i}] - lr·m_hat[{t},{i}] / (sqrt(v_hat[{t},{i}]) + eps)",
    }
    write_steps(page, formulas, 2)


# -- the command ------------------------------------------------------------------------------------------------------------


def find(name: str) -> str | None:
    """The name of the layer, loss or optimiser that is meant, whatever its case; None if there is none."""
    return {known.lower(): known for known in EXAMPLES}.get(name.lower())


def printable(text: str, encoding: str) -> str:
    """The text for a terminal of this encoding: where it lacks a letter, signs of arithmetic are plain and others are "?"."""
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        return text.replace("·", "*").replace("−", "-").encode(encoding, "replace").decode(encoding)


def explain(name: str) -> tuple[str, bool]:
    """(the derivation, the worked example and its check, as text; whether all of it agreed).

    Raises OptionError for a name that is no layer, loss or optimiser.
    """
    known = find(name)
    if known is None:
        raise OptionError(f"unknown name {name!r}: {nearest_name(name, EXAMPLES)}")
    subject, write = EXAMPLES[known]
    page = Working()
    page.lines += [
        f"{known}  ({subject.__module__.replace('.', '/')}.py)",
        "",
        *inspect.cleandoc(subject.__doc__).split("\n"),
        "",
    ]
    page.lines += ["Worked by hand", "--------------", "Computed in float64, shown to five digits.", ""]
    write(page)
    page.nudge()
    page.conclude()
    if not page.ok:
        page.say()
        page.say("FAILED: minigan does not compute what its formulas say.")
    return "\n".join(page.lines), page.ok
