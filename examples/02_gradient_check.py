"""The gradient check: how to prove a derivative that was written by hand, and which mistakes a careless check misses.

How to compare a gradient with finite differences; which step h to take (too large: the curve bends; too small: rounding
swallows the difference), and therefore why checks run in float64; and why the outputs need random weights: a BatchNorm that
lacks a term passes a check that merely sums its outputs.

    python examples/02_gradient_check.py
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg

options = arguments(__doc__)
be = options.backend
rng = np.random.default_rng(options.seed)


def slopes(net, x, dy, v, steps):
    """The slope of L = ⟨dy, net(x)⟩ along v: from the backward pass, and for each h from one-sided and central differences."""

    def loss_difference(a, b):  # L(x + av) − L(x + bv), subtracted before summing, so that unchanged outputs cancel exactly
        return float((dy * (net.forward(x + a * v, train=True)[0] - net.forward(x + b * v, train=True)[0])).sum())

    dx = net.backward(dy, net.forward(x, train=True)[1])
    one_sided = [loss_difference(h, 0.0) / h for h in steps]
    central = [loss_difference(h, -h) / (2 * h) for h in steps]
    return float((dx * v).sum()), np.array(one_sided), np.array(central)


def draws(dtype, *shape):
    return be.asarray(rng.standard_normal(shape), dtype)


# 1. Which h? The two quotients are off by about h L''/2 and h² L'''/6, and rounding adds about ε L / h.
steps = (10.0 ** np.arange(-12, 0.1, 0.5)).tolist()
curves = {}
print("\nthe smallest relative error that any h reaches (medians over random directions)")
for dtype in ("float64", "float32"):
    net = mg.Sequential([mg.Dense(16), mg.Tanh(), mg.Dense(8), mg.Softplus()], (10,), be, dtype, options.seed)
    x, dy, errors = draws(dtype, 4, 10), draws(dtype, 4, 8), {"one-sided": [], "central": []}
    for _ in range(3 if options.quick else 40):
        exact, one_sided, central = slopes(net, x, dy, draws(dtype, 4, 10), steps)
        errors["one-sided"].append(abs(one_sided - exact) / abs(exact))
        errors["central"].append(abs(central - exact) / abs(exact))
    for kind, rows in errors.items():
        curves[dtype, kind] = curve = np.median(rows, axis=0)
        print(f"  {dtype}  {kind:<10} {curve.min():.0e} at h = {steps[curve.argmin()]:.0e}")
assert curves["float64", "central"].min() < 1e-8 < curves["float32", "central"].min()

# 2. What does the check find? x reaches y = BatchNorm(x) directly, through the mean μ and through the variance v, so three
# terms add up: dx = γ/σ · (dy − ⟨dy⟩ − x̂ ⟨dy x̂⟩). Each of these two layers leaves one of them out.


class WithoutMean(mg.BatchNorm):
    def backward(self, dy, cache, grads=None, input_grad=True):
        _, _, inv_std, _ = cache
        return super().backward(dy, cache, grads) + self.gamma * inv_std * dy.mean(axis=0)


class WithoutVariance(mg.BatchNorm):
    def backward(self, dy, cache, grads=None, input_grad=True):
        x, mean, inv_std, _ = cache
        x_hat = (x - mean) * inv_std
        return super().backward(dy, cache, grads) + self.gamma * inv_std * x_hat * (dy * x_hat).mean(axis=0)


x = draws("float64", 8, 3)
weights = {"$dy = 1$": be.asarray(np.ones((8, 3))), "random $dy$": draws("float64", 8, 3)}
kinds = {"complete": mg.BatchNorm, "no path through\nthe mean": WithoutMean, "no path through\nthe variance": WithoutVariance}
found = {}  # largest |difference| over ten directions; the slopes here are of order 1
print("\nBatchNorm: largest error of a slope")
for kind, make in kinds.items():
    net = mg.Sequential([make()], (3,), be, "float64")
    for name, dy in weights.items():
        pairs = [slopes(net, x, dy, draws("float64", 8, 3), [1e-5]) for _ in range(10)]
        found[kind, name] = max(abs(exact - central[0]) for exact, _, central in pairs)
        print(f"  {' '.join(kind.split()):<29} {name.replace('$', ''):<10} {found[kind, name]:.0e}")
caught = [error > 1e-6 for error in found.values()]
assert caught == [False, False, True, True, False, True]  # Σ y does not depend on v: for dy = 1 that term is 0

print("\nmg.check_layer weights the outputs at random, takes fourth-order differences and avoids kinks:")
report = mg.check_layer(WithoutVariance(), (3,), backend=be)
print(report)
assert not report.ok
assert mg.check_layer(mg.BatchNorm(), (3,), backend=be).ok

fig, (left, right) = figure(1, 2, width=10, height=3.8, width_ratios=[1.3, 1])
for (dtype, kind), curve in curves.items():
    colour, style = {"float64": "tab:blue", "float32": "tab:orange"}[dtype], {"one-sided": "--", "central": "-"}[kind]
    left.loglog(steps, curve.clip(1e-12), style, color=colour, label=f"{dtype}, {kind}")
for text, place in {r"$\propto 1/h$": (2e-11, 2e-7), r"$\propto h$": (2e-4, 7e-6), r"$\propto h^2$": (5e-4, 3e-9)}.items():
    left.annotate(text, place)
left.set(
    xlabel="step $h$", ylabel="relative error of the slope", ylim=(1e-12, 1e4), title="Small $h$: rounding. Large $h$: bending"
)
left.legend(ncols=2, loc="upper right")
for name, marker, colour in zip(weights, "os", ("tab:gray", "tab:red"), strict=True):
    right.semilogx([found[kind, name] for kind in kinds], range(3), marker, color=colour, label=name, markersize=7)
right.axvline(1e-6, ymax=0.84, color="0.5", linestyle=":")
right.annotate("passes", (5e-7, -0.4), ha="right")
right.annotate("is caught", (2e-6, -0.4))
right.set(yticks=range(3), yticklabels=kinds, ylim=(2.5, -1.2), xlabel="largest error of a slope")
right.set_title("BatchNorm: what $dy = 1$ misses")
right.legend(ncols=2, loc="upper center")
save(fig, options)
