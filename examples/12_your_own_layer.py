"""Write a layer of your own and prove it.

    python examples/12_your_own_layer.py [--backend NAME] [--steps N] [--out FILE]
    minigan gradcheck examples/12_your_own_layer.py     checks what CHECKS below names; so it does with any file of yours

A layer is a class with at most five methods, and the one below, a gated linear unit with ReLU (ReGLU), has them all:
  __init__   takes the options, and hands them to super().__init__(name=value), for the layer's name in tables
  build      gets the input shape without the batch axis, refuses a wrong one by self.require(condition, needed, got), declares
             each parameter by self.add_parameter(name, shape, initialiser, fan_in, fan_out), and returns the output shape. The
             array then is self.NAME, its gradient self.grads["NAME"]. Initialisers: mg.normal(std), mg.constant(value),
             mg.zeros(); mg.glorot() and mg.he(), which alone need the fans (inputs that an output sums over, outputs that an
             input feeds). A layer that learns nothing and keeps the shape needs neither of these two methods.
  forward    (x, train) -> (y, cache): what backward will need goes into the cache (an array, or a tuple), never into self, for
             D holds the passes of real and of generated images at once
  backward   (dy, cache) -> dx, with dy = ∂L/∂y. It adds to self.grads[...] if param_grads, by += or, quicker where a gradient
             is one operation of the backend, by self.add_grad(name, operation, *operands); a class that does so names these
             parameters in `direct`. It returns None unless input_grad, and writes neither to dy nor to the cache.
  kinks      only if the formula has a kink (max, abs, clip): on which side of it each value lay, as an array of bools;
             differences across a kink prove nothing, so the check steps around it
x is (N, H, W, C) for images, else (N, K): channels come last. Expressions of arrays work on every backend, but an array of ints
times one of float32 is float64 (one of bools is not). Functions come from self.backend.xp (as NumPy) or, where a backend has a
faster way, from self.backend: matmul; column_sum and column_dot, Σ x and Σ x·y over all axes but the last; and for convolutions
with w (KH, KW, C, F) and g = minigan.backends.ConvGeometry(kernel, stride, padding, dilation, image, map), pairs of (height,
width), map the output's: y = conv2d(x, w, g), dx = conv2d_transpose(dy, w, g), dw = conv2d_weight_grad(x, dy, g); all take
slices of channels as they are, and kept={}, one dict for one x, dy and g, in which they share what each would compute anew.
minigan/layers/ has layers to begin from.

The unit: a = x W, b = x V, y = a ⊙ max(b, 0): b decides how much of a gets through. Source: Shazeer 2020 (arXiv:2002.05202).
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.layers.activations import sigmoid


class GatedUnit(mg.Layer):
    """y = (x W) ⊙ max(x V, 0), (N, I) -> (N, O). Backward, with a = x W, b = x V and [·] = 1 where true, else 0:

    y_no = a_no max(b_no, 0), so by the product rule  da = dy ⊙ max(b, 0)  and  db = dy ⊙ a ⊙ [b > 0];
    a_no = Σ_i x_ni W_io is a Dense layer:            dW = xᵀ da,  and of x   da Wᵀ;  likewise  dV = xᵀ db  and  db Vᵀ.
    x goes both ways to y, so its gradients add:      dx = da Wᵀ + db Vᵀ
    """

    direct = ("W", "V")  # added by add_grad below

    def __init__(self, units):
        super().__init__(units=units)
        self.units = units

    def build(self, input_shape):
        self.require(len(input_shape) == 1, "(features,)", input_shape)
        (features,) = input_shape
        self.add_parameter("W", (features, self.units), mg.glorot(), features, self.units)
        self.add_parameter("V", (features, self.units), mg.glorot(), features, self.units)
        return (self.units,)

    def forward(self, x, train=False):
        a, b = self.backend.matmul(x, self.W), self.backend.matmul(x, self.V)
        return a * self.backend.xp.maximum(b, 0), (x, a, b)

    def backward(self, dy, cache, *, param_grads=True, input_grad=True):
        x, a, b = cache
        da = dy * self.backend.xp.maximum(b, 0)
        db = dy * a * (b > 0)
        if param_grads:
            self.add_grad("W", self.backend.matmul, x.T, da)
            self.add_grad("V", self.backend.matmul, x.T, db)
        return self.backend.matmul(da, self.W.T) + self.backend.matmul(db, self.V.T) if input_grad else None

    def branch_signature(self, cache):
        return cache[2] > 0


CHECKS = [(GatedUnit(4), (5,)), (GatedUnit(3), (8,))]  # (layer, input shape) for `minigan gradcheck FILE`


class _OnePathForgotten(GatedUnit):
    """The fault that one makes: x's way through the gate is left out of dx. The layer would even train, only more slowly."""

    def backward(self, dy, cache, *, param_grads=True, input_grad=True):
        super().backward(dy, cache, param_grads=param_grads, input_grad=False)
        return self.backend.matmul(dy * self.backend.xp.maximum(cache[2], 0), self.W.T) if input_grad else None


def spirals(n, rng):
    """n points (n, 2) on two spirals and their labels (n, 1), 0 or 1."""
    label, t = rng.integers(0, 2, n), rng.random(n) ** 0.5 * 3 * np.pi
    turned = t + np.pi * label
    points = np.stack([t * np.cos(turned), t * np.sin(turned)], axis=1) / 9 + 0.02 * rng.standard_normal((n, 2))
    return points, label[:, None]


def train(kind, options):
    """A network of such units on the spirals, and its loss at every step."""
    be, rng = options.backend, np.random.default_rng(options.seed)
    net = mg.Sequential([mg.Dense(24), kind(48), mg.Dense(24), kind(48), mg.Dense(1)], (2,), be, seed=options.seed)
    adam, curve = mg.Adam(lr=2e-3, betas=(0.9, 0.999)), []
    for _ in range(options.steps):
        points, labels = (be.asarray(array, "float32") for array in spirals(128, rng))
        s, caches = net.forward(points, train=True)
        loss, ds = mg.losses.bce_with_logits(s, labels)
        net.backward(ds, caches, input_grad=False, accumulate=False)
        adam.step(net)
        curve.append(loss)
    return net, [float(loss) for loss in curve]


def main():
    options = arguments(__doc__, steps=1500)
    be, kinds = options.backend, {"as derived": GatedUnit, "one path forgotten": _OnePathForgotten}
    fig, (errors, losses, plane) = figure(1, 3, width=11, height=3.4)
    for at, (name, kind) in enumerate(kinds.items()):
        report = mg.check_layer(kind(4), (5,), backend=be)
        print(report, end="\n\n")
        assert report.ok == (kind is GatedUnit)
        rows = {row.name.removeprefix("0."): row.max_error for row in report.rows}
        errors.bar([i + 0.4 * at for i in range(3)], rows.values(), width=0.38, label=name)
        net, curve = train(kind, options)
        losses.plot(np.convolve(curve, np.ones(20) / 20, "valid"), label=name)
        points, labels = spirals(2000, np.random.default_rng(options.seed + 1))
        right = (be.to_numpy(net.forward(be.asarray(points, "float32"))[0]) > 0) == labels
        print(f"{name}: loss {np.mean(curve[-20:]):.3f} after {options.steps} steps, {right.mean():.1%} of new points right\n")
        if kind is GatedUnit:
            line = np.linspace(-1.2, 1.2, 161)
            lattice = be.asarray(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2), "float32")
            prob = be.to_numpy(sigmoid(be.xp, net.forward(lattice)[0])).reshape(161, 161)
            plane.contourf(line, line, prob, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.6)
            plane.scatter(*points[:400].T, s=6, c=labels[:400, 0], cmap="RdBu", edgecolors="black", linewidths=0.3)
            plane.set(
                title=f"trained: {right.mean():.1%} of new points right", aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1)
            )
    errors.axhline(report.tolerance, color="0.5", linestyle=":", label="tolerance")
    errors.set(title="analytic against numeric", yscale="log", ylabel="largest relative error", ylim=(1e-14, 1e4))
    errors.set_xticks([0.2, 1.2, 2.2], ["dW", "dV", "dx"])
    losses.set(title="two spirals, both layers train", xlabel="step", ylabel="loss (nats)", yscale="log")
    errors.legend(loc="upper left", fontsize=8)
    losses.legend(fontsize=8)
    save(fig, options)


if __name__ == "__main__":
    main()
