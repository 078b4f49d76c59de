"""Write a layer of your own and prove it.

    python examples/12_your_own_layer.py [--backend NAME] [--steps N] [--out FILE]
    minigan gradcheck examples/12_your_own_layer.py     checks the layers that CHECKS below lists; it takes any file of yours

A layer is a class with at most five methods. The one below, a gated linear unit with ReLU (ReGLU), has them all:
  __init__   takes the options and passes them to super().__init__(name=value), so that tables can show them.
  build      takes the input shape without the batch axis and returns the output shape. It refuses a wrong shape with
             self.require(condition, needed, got), and declares each parameter with self.add_parameter(name, shape, initialiser,
             fan_in, fan_out), which makes it an attribute: self.W. Initialisers: mg.normal(std), mg.constant(value),
             mg.zeros(), and mg.glorot() and mg.he(), which alone need the fans (inputs an output sums over, outputs an
             input feeds). A layer without parameters that keeps the shape needs neither __init__ nor build.
  forward    (x, train=False) -> (y, cache). What backward needs goes into the cache (an array or a tuple), never into self:
             D holds the passes of real and generated images at once.
  backward   (dy, cache, grads=None, input_grad=True) -> dx, where dy = ∂L/∂y. It overwrites grads["W"] with ∂L/∂W for every
             parameter, or computes none if grads is None; it never adds to what lies there, since whoever calls it adds up
             passes. It returns None if input_grad is False. It writes neither to dy nor to the cache, and may be called twice.
  branch_signature   (cache) -> an array, only for a formula with a kink (max, abs, clip): which side each value is on. A finite
             difference across a kink proves nothing, so the check takes none.
cross_sample = False says that each sample's output depends on that sample alone (unlike BatchNorm's); networks of such layers
may run real and generated images as one batch. The default, True, is always safe. random = True gives a layer a stream of
random numbers, self.rng (14_sound.py). Numbers that change from pass to pass belong in arrays, not in plain attributes.

x is (N, H, W, C) for images, else (N, K): channels come last. Array expressions work on every backend, but an array of ints
times a float32 array is float64 (an array of bools is fine). Functions come from self.backend.xp (NumPy or CuPy) or, where a
backend has a faster version, from self.backend:
  matmul(a, b, out=None)   column_sum(x, out=None) and column_dot(x, y): the sums of x and x·y over all axes but the last
  y = conv2d(x, w, g)   dx = conv2d_transpose(dy, w, g)   conv2d_weight_grad(x, dy, g, out=dw)   for w (KH, KW, C, F) and
  g = minigan.backends.ConvGeometry(kernel, stride, padding, dilation, image, output), each a pair (height, width)
Two bases save most of the work: mg.Elementwise needs f(xp, x) and its derivative df(xp, y), written in y = f(x), and mg.Linear
needs apply, transpose and weight_grad; see minigan/layers/.

`minigan gradcheck FILE.py` compares the gradients of each layer in CHECKS with central differences, in training and at
inference, and checks the rest of the contract: shapes as build promised; x, dy, cache and parameters untouched; grads
overwritten entirely; the same results with grads=None and input_grad=False, and after another forward pass; float32 that stays
float32; cross_sample.

The unit: a = x W, b = x V, y = a ⊙ max(b, 0), so b decides how much of a passes. Source: Shazeer 2020 (arXiv:2002.05202).
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.layers.elementwise import sigmoid


class GatedUnit(mg.Layer):
    """y = (x W) ⊙ max(x V, 0), (N, I) -> (N, O). Backward, with a = x W, b = x V and [·] = 1 where true, else 0:

    y_no = a_no max(b_no, 0), so by the product rule   da = dy ⊙ max(b, 0)  and  db = dy ⊙ a ⊙ [b > 0];
    a_no = Σ_i x_ni W_io, as in a Dense layer:         dW = xᵀ da, and likewise  dV = xᵀ db;
    x reaches y through a and through b, so            dx = da Wᵀ + db Vᵀ
    """

    cross_sample = False

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

    def backward(self, dy, cache, grads=None, input_grad=True):
        x, a, b = cache
        da = dy * self.backend.xp.maximum(b, 0)
        db = dy * a * (b > 0)
        if grads is not None:
            self.backend.matmul(x.T, da, out=grads["W"])  # the same as grads["W"][...] = …, without a temporary array
            self.backend.matmul(x.T, db, out=grads["V"])
        return self.backend.matmul(da, self.W.T) + self.backend.matmul(db, self.V.T) if input_grad else None

    def branch_signature(self, cache):
        return cache[2] > 0


CHECKS = [(GatedUnit(4), (5,)), (GatedUnit(3), (8,))]  # (layer, input shape) for `minigan gradcheck FILE.py`


class _PathLeftOut(GatedUnit):
    """A typical mistake: dx lacks the path through the gate. The layer still trains, only more slowly."""

    def backward(self, dy, cache, grads=None, input_grad=True):
        super().backward(dy, cache, grads, input_grad=False)
        return self.backend.matmul(dy * self.backend.xp.maximum(cache[2], 0), self.W.T) if input_grad else None


def spirals(n, rng):
    """n points (n, 2) on two spirals and their labels (n, 1), 0 or 1."""
    label, t = rng.integers(0, 2, n), rng.random(n) ** 0.5 * 3 * np.pi
    angle = t + np.pi * label
    points = np.stack([t * np.cos(angle), t * np.sin(angle)], axis=1) / 9 + 0.02 * rng.standard_normal((n, 2))
    return points, label[:, None]


def train(kind, options):
    """Train a network of these units on the spirals; returns it and its loss at every step."""
    be, rng = options.backend, np.random.default_rng(options.seed)
    net = mg.Sequential([mg.Dense(24), kind(48), mg.Dense(24), kind(48), mg.Dense(1)], (2,), be, seed=options.seed)
    adam, curve = mg.Adam(lr=2e-3, betas=(0.9, 0.999)), []
    for _ in range(options.steps):
        points, labels = (be.asarray(array, "float32") for array in spirals(128, rng))
        s, caches = net.forward(points, train=True)
        loss, ds = mg.losses.bce_with_logits(s, labels)
        net.backward(ds, caches, grads=net.grads, input_grad=False)
        adam.update(net)
        curve.append(loss)
    return net, [float(loss) for loss in curve]


def main():
    options = arguments(__doc__, steps=1500)
    be, kinds = options.backend, {"as derived": GatedUnit, "a path left out": _PathLeftOut}
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
        correct = (be.to_numpy(net.forward(be.asarray(points, "float32"))[0]) > 0) == labels
        score = f"{correct.mean():.1%} of new points correct"
        print(f"{name}: loss {np.mean(curve[-20:]):.3f} after {options.steps} steps, {score}\n")
        if kind is GatedUnit:
            line = np.linspace(-1.2, 1.2, 161)
            lattice = be.asarray(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2), "float32")
            prob = be.to_numpy(sigmoid(be.xp, net.forward(lattice)[0])).reshape(161, 161)
            plane.contourf(line, line, prob, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.6)
            plane.scatter(*points[:400].T, s=6, c=labels[:400, 0], cmap="RdBu", edgecolors="black", linewidths=0.3)
            plane.set(title=f"trained: {score}", aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    errors.axhline(report.tolerance, color="0.5", linestyle=":", label="tolerance")
    errors.set(title="analytic against numeric", yscale="log", ylabel="largest relative error", ylim=(1e-14, 1e4))
    errors.set_xticks([0.2, 1.2, 2.2], ["dW", "dV", "dx"])
    losses.set(title="two spirals, both layers train", xlabel="step", ylabel="loss (nats)", yscale="log")
    errors.legend(loc="upper left", fontsize=8)
    losses.legend(fontsize=8)
    save(fig, options)


if __name__ == "__main__":
    main()
