"""The gradient of a gradient: the penalty R1 on a net that fits on one line, by pencil and three times more.

    python examples/15_gradient_of_a_gradient.py [--backend NAME] [--out FILE]

D has one input and two hidden units: h = u x + a, y = tanh h, s = w·y. R1 wants D to be flat at a real x:
    g = ∂s/∂x = Σ_k w_k (1 − y_k²) u_k,    P = γ/2 g²
What are ∂P/∂w, ∂P/∂u and ∂P/∂a? g is itself the result of a backward pass, and an autodiff would have to differentiate that
pass. There is a shorter way. P reaches the weights through g alone, so with v = ∂P/∂g = γ g held fixed, ∂P/∂θ = ∂(v g)/∂θ. And
v g is the change of s as x moves along v: a derivative that one may push forwards, layer by layer, as plain numbers:
    upwards (tangents):     ẋ = v,    ḣ = u v,    ẏ = (1 − y²) ḣ,    ṡ = w·ẏ = v g
    what each layer owes:   ∂P/∂w = ẏ  and  ∂P/∂u = v b_h,  where b_h = w (1 − y²) is what the backward pass that made g left
    where f is curved:      h moves the slope 1 − y², and ẏ feels it: c = ∂(w·ẏ)/∂h = −2 y (1 − y²) ḣ w
    downwards once more:    ∂P/∂a = c,  ∂P/∂u += x c
With a ReLU in place of tanh there is no c, and the last line falls away: R1 costs one pass forwards and one product a layer.

The figure: the numbers on their way; each ∂P/∂θ with the share of the last sweep, without which two of six have the wrong size
and two are missing; how near differences come; and a D that learns to tell the real x from a generated one and pays P as well,
with the last sweep and without it: L_D + P then does not even fall.

Source: Pearlmutter 1994 (Neural Computation 6:147), section 3; R1: Mescheder, Geiger and Nowozin 2018 (arXiv:1801.04406).
"""

import numpy as np
from course import BACKWARD, FORWARD, arguments, diagram, figure, save

import minigan as mg

GAMMA, X = 2.0, 0.5
options = arguments(__doc__)
be = options.backend
u, a, w = np.array([1.0, 2.0]), np.array([0.5, -0.5]), np.array([1.0, 0.5])

# By pencil. A name with _dot is a tangent, b is ∂s/∂ of what it is named after.
h = u * X + a
y = np.tanh(h)
s = w @ y
b_h = w * (1 - y**2)
g = b_h @ u
P = GAMMA / 2 * g**2
v = GAMMA * g
h_dot = u * v
y_dot = (1 - y**2) * h_dot
s_dot = w @ y_dot
c = -2 * y * (1 - y**2) * h_dot * w
pencil = {"0.weight": v * b_h + X * c, "0.bias": c, "2.weight": y_dot}
for text in (
    f"h = u x + a = ({h[0]:.4f}, {h[1]:.4f})        y = tanh h = ({y[0]:.4f}, {y[1]:.4f})        s = w·y = {s:.4f}",
    f"b_h = w (1 − y²) = ({b_h[0]:.4f}, {b_h[1]:.4f})  g = b_h·u = {g:.4f}  P = γ/2 g² = {P:.4f}  v = γ g = {v:.4f}",
    f"h_dot = u v = ({h_dot[0]:.4f}, {h_dot[1]:.4f})    y_dot = (1 − y²) h_dot = ({y_dot[0]:.4f}, {y_dot[1]:.4f})",
    f"s_dot = w·y_dot = {s_dot:.4f}, which is v g = {v * g:.4f}",
    f"c = −2 y (1 − y²) h_dot w = ({c[0]:.4f}, {c[1]:.4f})",
    f"∂P/∂u = v b_h + x c = ({v * b_h[0]:.4f}, {v * b_h[1]:.4f}) + ({X * c[0]:.4f}, {X * c[1]:.4f})",
    "∂P/∂a = c,  ∂P/∂w = y_dot",
):
    print(text)
assert abs(s_dot - v * g) < 1e-15


# The library: one call. Below it, the three calls that it is made of.
def net():
    d = mg.Sequential([mg.Dense(2), mg.Tanh(), mg.Dense(1, bias=False)], (1,), be, "float64")
    for name, value in {"0.weight": u, "0.bias": a, "2.weight": w}.items():
        d.params[name][...] = be.asarray(value.reshape(d.params[name].shape))
    return d


def gradients(d, x):
    """∂s/∂θ of one backward pass at x: a flat host vector."""
    out, caches = d.forward(x)
    d.backward(be.xp.ones_like(out), caches, grads=d.grads)
    return be.to_numpy(d.flat_grads).copy()


def penalty_at(d, theta=None):
    """(P, ∂P/∂θ) on the host, at these parameters."""
    if theta is not None:
        d.flat_params[...] = be.asarray(theta)
    grads = {name: be.zeros(p.shape, "float64") for name, p in d.params.items()}
    value = mg.losses.R1(GAMMA).add_grads(d, x, x, grads)
    return float(value), np.concatenate([be.to_numpy(grads[name]).ravel() for name in d.params])


D, x = net(), be.asarray([[X]])
value, library = penalty_at(D)
by_hand = np.concatenate([pencil[name] for name in D.params])
out, caches = D.forward(x, train=True)
dys, written = [], D.empty_grads()
slope = D.backward(be.xp.ones_like(out), caches, dys=dys)  # g, and b of every layer in dys
D.curvature(GAMMA * slope, caches, dys, written)  # v, pushed up, and what it owes to the weights
worst = abs(library - by_hand).max()
print(f"R1({GAMMA:g}).add_grads: P = {value:.4f}, largest difference from the pencil's gradients {worst:.1e}")
assert max(abs(value - P), worst, abs(be.to_numpy(written.flat) - library).max()) < 1e-14

# Twice more, without any of this: differences of P, and Pearlmutter's identity with ordinary backward passes at x ± r v.
theta = be.to_numpy(D.flat_params).copy()
steps = np.logspace(-9, -1, 33)
errors = {"differences of P": [], "backward passes at x ± r v": []}
for r in steps:
    moved = [(penalty_at(D, theta + r * e)[0] - penalty_at(D, theta - r * e)[0]) / (2 * r) for e in np.eye(len(theta))]
    errors["differences of P"].append(abs(np.array(moved) - library).max())
    D.flat_params[...] = be.asarray(theta)
    pair = [gradients(D, be.asarray([[X + sign * r * v]])) for sign in (1, -1)]
    errors["backward passes at x ± r v"].append(abs((pair[0] - pair[1]) / (2 * r) - library).max())
for name, found in errors.items():
    print(f"{name:<28} nearest at r = {steps[np.argmin(found)]:.0e}: {min(found):.1e}")
    assert min(found) < 1e-8


# What the last sweep is good for: a D that tells the real x from a generated one and pays P, trained with it and without it.
objective, fake = mg.losses.NonSaturating().bind(be), be.asarray([[X - 1]])


def train_d(last_sweep, count=400, lr=0.1):
    """(D, L_D + P before each step)"""
    d, path = net(), []
    for _ in range(count):
        (s_real, s_fake), caches = d.forward_each((x, fake), train=True)
        loss, ds = objective.discriminator(s_real, s_fake)
        d.backward_each(ds, caches, grads=d.grads)
        out, caches = d.forward(x, train=True)
        dys, grads = [], d.empty_grads()
        slope = d.backward(be.xp.ones_like(out), caches, dys=dys)
        path.append(float(loss) + GAMMA / 2 * float(slope[0, 0]) ** 2)
        x_dot = GAMMA * slope
        if last_sweep:
            d.curvature(x_dot, caches, dys, grads)
        else:
            for layer, cache, dy, own in zip(d.layers, caches, dys, grads.of_layer, strict=True):
                layer.curvature(x_dot, dy, cache, own)
                x_dot = layer.tangent(x_dot, cache)
        d.flat_params[...] -= lr * (d.flat_grads + grads.flat)
    return d, path


fig, axes = figure(2, 2, width=9.0, height=6.6)
nodes = {"x": (0, 1), "h₁·": (1.2, 1.7), "h₂·": (1.2, 0.3), "y₁·": (3.6, 1.7), "y₂·": (3.6, 0.3), "s": (4.8, 1)}
edges = [
    *(("x", f"h{'₁₂'[k]}·", f"u {u[k]:g}", f"ẋ {v:.3f}") for k in range(2)),
    *((f"h{'₁₂'[k]}·", f"y{'₁₂'[k]}·", f"h {h[k]:.3f}", f"ḣ {h_dot[k]:.3f}  c {c[k]:.3f}") for k in range(2)),
    *((f"y{'₁₂'[k]}·", "s", f"y {y[k]:.3f}", f"ẏ {y_dot[k]:.3f}") for k in range(2)),
]
diagram(axes[0, 0], nodes, edges)
axes[0, 0].set_title(f"values, and below them tangents along v and c\ng = {g:.3f}, P = {P:.3f}, ṡ = v g = {s_dot:.3f}")
names, place = ["u₁", "u₂", "a₁", "a₂", "w₁", "w₂"], np.arange(6)
first = np.concatenate([v * b_h, [0, 0], y_dot])
axes[0, 1].bar(place, first, 0.6, color=FORWARD, label="what the tangents owe")
axes[0, 1].bar(place, by_hand - first, 0.3, color=BACKWARD, label="what the last sweep adds")
axes[0, 1].plot(place, library, "k_", markersize=22, label="∂P/∂θ of R1.add_grads")
axes[0, 1].axhline(0, color="0.6", linewidth=0.8)
axes[0, 1].set(title="∂P/∂θ and its two shares", xticks=place, xticklabels=names)
axes[0, 1].legend(fontsize=8)
for name, found in errors.items():
    axes[1, 0].loglog(steps, found, label=name)
axes[1, 0].set(title="largest error of a difference", xlabel="step r")
axes[1, 0].legend(fontsize=8)
for name, last_sweep, colour in (("with the last sweep", True, FORWARD), ("without it", False, BACKWARD)):
    d, path = train_d(last_sweep)
    print(f"L_D + P after {len(path)} steps {name}: {path[-1]:.4f}, from {path[0]:.3f}")
    axes[1, 1].plot(path, color=colour, label=f"{name}: {path[-1]:.3f}")
    assert (path[-1] < 0.1) == last_sweep
axes[1, 1].set(title="L_D + P as D learns", xlabel="step")
axes[1, 1].legend(fontsize=8)
save(fig, options)
