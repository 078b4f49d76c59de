"""Worked examples of the layers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from minigan.backends import ConvGeometry
from minigan.explain.worked.calculator import Index, Working, at, plus
from minigan.explain.worked.registry import example
from minigan.explain.worked.running import SETTLING, run_layer, show_backward
from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    DiffAugment,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    MinibatchStd,
    PhaseShuffle,
    ReLU,
    Reshape,
    Residual,
    Sigmoid,
    Softmax,
    Softplus,
    SpectralNorm,
    Tanh,
    Upsample,
)


@example(Dense)
def dense(page: Working) -> None:
    parameters = {"W": [[1, 0], [2, -1], [0, 3]], "b": [1, -2]}
    run_layer(page, Dense(2), [[1, 2, 0], [-1, 3, 2]], [[1, 2], [-1, 3]], parameters)
    page.write("A batch of two samples of three numbers, the rows of x; two outputs.")
    page.show("x", "W", "b", "y")
    page.write_out("y[0,1]", plus(f"x[0,{i}]·W[{i},1]" for i in range(3)) + " + b[1]")
    show_backward(page, "dy", "dx", "dW", "db")
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
    page.write("One image of 3 x 3 pixels, one channel, a kernel of 2 x 2: the indices n, c and f are left out.")
    page.show("x", "w", "b", "y")
    page.write("The kernel laid on the image with its corner at [0,1]:")
    page.write_out("y[0,1]", products(layer.geometry, "x[{h},{v}]·w[{i},{j}]", o=0, p=1) + " + b")
    show_backward(page, "dy", "dx", "dw", "db")
    page.write("The pixel in the middle stands in all four outputs, each time under another weight:")
    page.gradient("dx[1,1]", products(layer.geometry, "dy[{o},{p}]·w[{i},{j}]", h=1, v=1))
    page.write("A weight stands in every output, each time on another pixel:")
    page.gradient("dw[0,1]", products(layer.geometry, "dy[{o},{p}]·x[{h},{v}]", i=0, j=1))
    page.gradient("db", products(layer.geometry, "dy[{o},{p}]", i=0, j=0))


@example(ConvTranspose2d)
def conv_transpose2d(page: Working) -> None:
    layer = ConvTranspose2d(1, 3, stride=2, padding=1)
    parameters = {"w": [[1, 2, 0], [3, 1, -1], [0, 2, 4]], "b": 1}
    x, dy = np.array([[1, -1], [2, 3]]).reshape(1, 2, 2, 1), [[1, 0, 2], [-1, 1, 3], [2, 1, 0]]
    run_layer(page, layer, x, dy, parameters, PLANE)
    page.write("One map of 2 x 2, one channel, a kernel of 3 x 3, stride 2, padding 1: n, c and f are left out.")
    page.show("x", "w", "b", "y")
    page.write("The windows of all four inputs overlap in the middle; only one reaches the corner:")
    page.write_out("y[1,1]", products(layer.geometry, "x[{o},{p}]·w[{i},{j}]", h=1, v=1) + " + b")
    page.write_out("y[0,0]", products(layer.geometry, "x[{o},{p}]·w[{i},{j}]", h=0, v=0) + " + b")
    show_backward(page, "dy", "dx", "dw", "db")
    page.write("Backwards it is the convolution that Conv2d does forwards; dy outside its borders is 0 and left out:")
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
    show_backward(page, "dy", "g", "dgamma", "dbeta")
    page.write_out(f"g{one}", f"gamma{channel}·dy{one}")
    column = [at((n, entry[1])) for n in range(len(v["x"]))]
    page.gradient(f"dgamma{channel}", plus(f"dy{m}·x_hat{m}" for m in column))
    page.gradient(f"dbeta{channel}", plus(f"dy{m}" for m in column))
    page.write()
    page.write("The parts of dx: direct, through mu and through v; and dx, their sum:")
    page.show("direct", "by_mu", "by_v", "dx")
    page.write_out(f"direct{one}", f"g{one} / sigma{group}")
    page.write_out(f"by_mu{one}", f"-({plus(f'g{m}' for m in members)}) / ({count}·sigma{group})")
    page.write_out(f"by_v{one}", f"-x_hat{one}·({plus(f'g{m}·x_hat{m}' for m in members)}) / ({count}·sigma{group})")
    page.gradient(f"dx{one}", plus(f"{path}{one}" for path in ("direct", "by_mu", "by_v")))


@example(BatchNorm)
def batch_norm(page: Working) -> None:
    page.write("Four samples, the rows of x, of two channels, its columns; each column is normalised by itself.")
    x, dy = [[1, 2], [7, 6], [9, 2], [15, 6]], [[1, 0], [0, 2], [-1, 1], [2, 3]]
    normalisation(page, BatchNorm(), 0, x, dy, [2, 3], [1, -1], (0, 0))


@example(LayerNorm)
def layer_norm(page: Working) -> None:
    page.write("Two samples, the rows of x, of four numbers; each row is normalised by itself.")
    x, dy = [[1, 7, 9, 15], [30, 2, 18, 14]], [[1, 0, -1, 2], [0, 2, 3, 1]]
    normalisation(page, LayerNorm(), 1, x, dy, [2, 3, 1, 2], [1, -1, 0, 2], (0, 0))


def elementwise(page: Working, layer: Layer, forward: str, backward: str, below: str = "", note: str = "") -> None:
    """An activation: formulas in which @ stands for an entry's index, for an x above 0 and for one below."""
    run_layer(page, layer, [[2, -1, 0.5], [-3, 1, -0.5]], [[3, 2, 4], [-2, -1, 1]])
    page.values |= layer.options
    page.write("Two samples of three numbers.")
    page.show("x", "y")
    for index in ("[0,0]", "[0,1]"):
        page.write_out(f"y{index}", forward.replace("@", index))
    show_backward(page, "dy", "dx")
    if note:
        page.write(note)
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


@example(Softmax)
def softmax(page: Working) -> None:
    run_layer(page, Softmax(), [[1, 2, 0], [-1, 0, 2]], [[3, 1, -1], [0, 2, 1]])
    page.values |= {"sum": np.exp(page.values["x"]).sum(axis=1), "mean": (page.values["y"] * page.values["dy"]).sum(axis=1)}
    page.write("Two samples, the rows of x, of three scores each; sum adds up the powers of a row.")
    page.show("x", "sum", "y")
    page.write_out("sum[0]", plus(f"exp(x[0,{k}])" for k in range(3)))
    page.write_out("y[0,1]", "exp(x[0,1]) / sum[0]")
    show_backward(page, "dy", "mean", "dx")
    page.write("Each score moves all of its row. mean is that of dy, weighted by y:")
    page.write_out("mean[0]", plus(f"y[0,{k}]·dy[0,{k}]" for k in range(3)))
    page.gradient("dx[0,1]", "y[0,1]·(dy[0,1] - mean[0])")
    page.gradient("dx[1,2]", "y[1,2]·(dy[1,2] - mean[1])")


@example(DiffAugment)
def diff_augment(page: Working) -> None:
    layer = DiffAugment(translation=0.34)
    x, dy = np.array([[4, -1, 2], [0, 3, -2]]).reshape(1, 2, 3, 1), [[1, 2, -1], [0, 3, 1]]
    draws = run_layer(page, layer, x, dy, shown=PLANE)
    v, (_, c, b, down, across) = page.values, draws[0].tolist()
    i, j = (int(3 * draw) - 1 for draw in (down, across))
    dz = layer._moved(v["dy"].reshape(x.shape), draws, -1)[PLANE]
    v |= {"c": c, "b": b, "mu": float(v["x"].mean()), "dz": dz, "mu_dz": float(dz.mean())}
    page.write("One grey image of 2 x 3 pixels, which may move by one pixel each way: n and the channel are left out.")
    page.write(
        f"The contrast c and the brightness b were drawn by the layer, and the way (i, j) = ({i}, {j}); mu is the mean of x."
    )
    page.show("x", "c", "b", "mu", "y")
    h, w = next((h, w) for h in range(2) for w in range(3) if 0 <= h + i < 2 and 0 <= w + j < 3)
    page.write_out(f"y[{h},{w}]", f"mu + (c + 0.5)·(x[{h + i},{w + j}] - mu) + b - 0.5")
    show_backward(page, "dy", "dz", "dx")
    page.write("dz is dy moved back; what had left the image gets nothing. mu_dz is its mean:")
    page.write_out("mu_dz", f"({plus(f'dz[{k},{m}]' for k in range(2) for m in range(3))}) / 6")
    page.gradient(f"dx[{h + i},{w + j}]", f"mu_dz + (c + 0.5)·(dz[{h + i},{w + j}] - mu_dz)")
    page.gradient(f"dx[{1 - h - i},{w + j}]", f"mu_dz + (c + 0.5)·(dz[{1 - h - i},{w + j}] - mu_dz)")


@example(PhaseShuffle)
def phase_shuffle(page: Working) -> None:
    x, dy = [[3, -1, 4, 2, 5], [2, 6, -3, 1, 4]], [[1, 2, -1, 3, -2], [3, 1, 4, -1, 2]]
    masks = run_layer(page, PhaseShuffle(2), np.reshape(x, (2, 5, 1)), np.reshape(dy, (2, 5, 1)), shown=np.s_[..., 0])
    drawn = [next(m for m, mask in enumerate(masks) if mask[n].item()) - 2 for n in range(2)]
    page.write("Two sounds of five values in time, which may move by two places each way; the channel is left out.")
    page.write(
        f"The layer drew k = {drawn[0]} for x[0] and k = {drawn[1]} for x[1]. y[n,t] is x[n,t - k], mirrored at the ends."
    )
    page.show("x", "y")
    n = next((n for n, k in enumerate(drawn) if k), 0)
    came_from = [4 - abs(4 - abs(t - drawn[n])) for t in range(5)]
    twice = max(range(5), key=came_from.count)
    for t in range(5):
        page.write_out(f"y[{n},{t}]", f"x[{n},{came_from[t]}]")
    show_backward(page, "dy", "dx")
    page.write("Each dy goes back to the x that it was made from; what left the sound gets nothing.")
    page.gradient(f"dx[{n},{twice}]", plus(f"dy[{n},{t}]" for t in range(5) if came_from[t] == twice))


@example(Dropout)
def dropout(page: Working) -> None:
    page.values["m"] = run_layer(page, Dropout(0.5), [[2, -1, 4], [-3, 1, 5]], [[3, 2, 4], [-2, -1, 1]])
    page.write("Two samples of three numbers, rate 0.5: about half of the numbers are dropped, the rest doubled.")
    page.write("The mask m is drawn by the layer, and kept in the cache.")
    page.show("x", "m", "y")
    kept, dropped = (at(tuple(np.argwhere(mask)[0])) for mask in (page.values["m"] > 0, page.values["m"] == 0))
    for index in (kept, dropped):
        page.write_out(f"y{index}", f"x{index}·m{index}")
    show_backward(page, "dy", "dx")
    for index in (kept, dropped):
        page.gradient(f"dx{index}", f"dy{index}·m{index}")


@example(Reshape)
def reshape(page: Working) -> None:
    run_layer(page, Reshape((2, 3)), [[3, 1, 4, 1, 5, 9]], [[2, 7, 1], [8, 2, 0]], shown=ROW)
    page.write("One sample of six numbers, made two rows of three; the index n is left out.")
    page.show("x", "y")
    page.write_out("y[1,0]", "x[3]")
    show_backward(page, "dy", "dx")
    page.gradient("dx[3]", "dy[1,0]")


@example(Flatten)
def flatten(page: Working) -> None:
    run_layer(page, Flatten(), [[[3, 1, 4], [1, 5, 9]]], [2, 7, 1, 8, 2, 0], shown=ROW)
    page.write("One sample of two rows of three numbers, made one row; the index n is left out.")
    page.show("x", "y")
    page.write_out("y[3]", "x[1,0]")
    show_backward(page, "dy", "dx")
    page.gradient("dx[1,0]", "dy[3]")


@example(Upsample)
def upsample(page: Working) -> None:
    dy = [[1, 0, 2, 1], [-1, 3, 0, 4], [2, 2, -2, 1], [0, 1, 5, -1]]
    run_layer(page, Upsample(2), np.array([[1, 2], [3, 4]]).reshape(1, 2, 2, 1), dy, shown=PLANE)
    page.write("One image of 2 x 2 pixels, one channel, every pixel made 2 x 2: n and c are left out.")
    page.show("x", "y")
    page.write_out("y[1,2]", "x[0,1]")
    show_backward(page, "dy", "dx")
    page.gradient("dx[0,1]", plus(f"dy[{h},{v}]" for h in (0, 1) for v in (2, 3)))


@example(SpectralNorm)
def spectral_norm(page: Working) -> None:
    _, u, v, sigma = run_layer(
        page,
        SpectralNorm(Dense(2)),
        [[2, 1], [-1, 3]],
        [[1, 2], [-1, 1]],
        {"W": [[3, 0], [4, 5]], "b": [1, -2]},
    )
    values = page.values
    values |= {"u": u.ravel(), "v": v.ravel(), "sigma": float(sigma.item()), "G": values["x"].T @ values["dy"]}
    values["W_bar"] = values["W"] / values["sigma"]
    values["along"] = float((values["G"] * values["W_bar"]).sum())
    page.write(
        f"A Dense(2) on two samples of two numbers. {SETTLING} passes have brought u and v to the first singular vectors of W, "
        "for whose two axes they stand: u for its outputs (columns), v for its inputs (rows). W_bar = W/σ."
    )
    page.show("x", "W", "b", "u", "v", "sigma", "W_bar", "y")
    page.write_out("sigma", plus(f"u[{o}]·W[{i},{o}]·v[{i}]" for o in range(2) for i in range(2)))
    page.write_out("y[0,1]", "(x[0,0]·W[0,1] + x[0,1]·W[1,1]) / sigma + b[1]")
    show_backward(page, "dy", "dx", "G", "dW", "db")
    page.gradient("dx[0,1]", "(dy[0,0]·W[1,0] + dy[0,1]·W[1,1]) / sigma")
    page.write("G is what dW would be without σ. Of G/σ, the part along u and v is taken out:")
    page.write_out("G[0,1]", "x[0,0]·dy[0,1] + x[1,0]·dy[1,1]")
    page.write_out("along", plus(f"G[{i},{o}]·W_bar[{i},{o}]" for i in range(2) for o in range(2)))
    page.gradient("dW[0,1]", "(G[0,1] - along·u[1]·v[0]) / sigma")
    page.gradient("db[0]", "dy[0,0] + dy[1,0]")


@example(Residual)
def residual(page: Working) -> None:
    layer = Residual([Dense(2)], scale=0.5)
    run_layer(page, layer, [[2, 1]], [[1, 2]], {"W": [[1, 0], [2, -1]], "b": [1, -2]}, shown=ROW)
    page.values["a"] = layer.scale
    page.write("One sample of two numbers, beside one Dense layer f, with a = 0.5; the index n is left out.")
    page.show("x", "W", "b", "y")
    page.write_out("y[0]", "x[0] + a·(x[0]·W[0,0] + x[1]·W[1,0] + b[0])")
    show_backward(page, "dy", "dx", "dW", "db")
    page.write("dy reaches x whole by the straight path, and once more through f:")
    page.gradient("dx[1]", "dy[1] + a·(dy[0]·W[1,0] + dy[1]·W[1,1])")
    page.gradient("dW[0,1]", "x[0]·a·dy[1]")
    page.gradient("db[1]", "a·dy[1]")


@example(MinibatchStd)
def minibatch_std(page: Working) -> None:
    layer = MinibatchStd()
    _, mean, inv_std = run_layer(page, layer, [[1, 0], [3, 2], [2, 4]], [[1, 0, 2], [0, 1, 1], [2, 1, 3]])
    page.values |= {"mu": mean.ravel(), "s": 1 / inv_std.ravel(), "e": float(page.values["dy"][:, -1].sum()), "eps": layer.eps}
    page.write("Three samples of two numbers, one group: the third column of y is how much the group varies.")
    page.show("x", "mu", "s", "y")
    page.write_out("s[0]", f"sqrt(({plus(f'(x[{n},0] - mu[0])^2' for n in range(3))}) / 3 + eps)")
    page.write_out("y[0,2]", "(s[0] + s[1]) / 2")
    show_backward(page, "dy", "dx")
    page.write("e sums dy of that column; a step against its part of dx brings the samples together, or apart where e < 0.")
    page.write_out("e", plus(f"dy[{n},2]" for n in range(3)))
    page.gradient("dx[1,0]", "dy[1,0] + e·(x[1,0] - mu[0]) / (3·2·s[0])")
    page.gradient("dx[0,1]", "dy[0,1] + e·(x[0,1] - mu[1]) / (3·2·s[1])")
