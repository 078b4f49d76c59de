"""The three paths through BatchNorm: directly, through the mean, and through the variance.

How to derive a backward pass when an input reaches the output by several paths: apply the chain rule along each of them, then
add up. And what the sum means: BatchNorm's input gradient is the incoming gradient without the part that shifting or stretching
the batch would account for, because BatchNorm undoes both (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167).

    python examples/04_batchnorm_three_paths.py
"""

import numpy as np
from course import arguments, diagram, figure, save

import minigan as mg

options = arguments(__doc__)
be = options.backend
rng = np.random.default_rng(options.seed)
M, GAMMA = 8, 1.5  # a batch of M values of one channel
layer = mg.BatchNorm()
net = mg.Sequential([layer], (1,), be, "float64")
layer.gamma[...] = GAMMA

x = be.asarray(2 + rng.standard_normal((M, 1)))
dy = be.asarray(rng.standard_normal((M, 1)))

# Forward: y = γ x̂ + β with x̂ = (x − μ)/σ, μ = Σ x / M, v = Σ (x − μ)² / M, σ = √(v + ε).
mean = x.sum() / M
var = ((x - mean) ** 2).sum() / M
sigma = be.xp.sqrt(var + layer.eps)
x_hat = (x - mean) / sigma

# Backward. First ∂L/∂x̂, then the gradients of the two statistics: sums, since all M values of x̂ depend on each of them.
g = GAMMA * dy
d_var = (g * (x - mean)).sum() * -0.5 / sigma**3  # ∂x̂/∂v = −(x − μ) / 2σ³
d_mean = -g.sum() / sigma  # ∂x̂/∂μ = −1/σ; v depends on μ too, but ∂v/∂μ = −2 Σ (x − μ) / M = 0

paths = {
    "direct": g / sigma,  # ∂x̂/∂x = 1/σ with μ and v held fixed
    "through μ": d_mean / M + 0 * x,  # ∂μ/∂x = 1/M, the same for every x
    "through v": d_var * 2 * (x - mean) / M,  # ∂v/∂x = 2 (x − μ) / M
}
dx = sum(paths.values())

# Compared with minigan's layer, and with central differences of L = ⟨dy, y⟩.
y, caches = net.forward(x, train=True)
by_layer = net.backward(dy, caches)
numeric = np.zeros(M)
for m in range(M):
    nudge = be.asarray(1e-5 * np.eye(M)[:, m : m + 1])
    up, down = (net.forward(x + sign * nudge, train=True)[0] for sign in (1, -1))
    numeric[m] = float((dy * (up - down)).sum()) / 2e-5

x, x_hat, g, dx, sigma = (be.to_numpy(a).ravel() for a in (x, x_hat, g, dx, sigma))
paths = {name: be.to_numpy(a).ravel() for name, a in paths.items()}
print(f"\n{'x':>8}  " + "  ".join(f"{name:>10}" for name in (*paths, "sum", "numeric")))
for m in range(M):
    print(f"{x[m]:8.4f}  " + "  ".join(f"{column[m]:10.5f}" for column in (*paths.values(), dx, numeric)))
error_layer, error_numeric = abs(dx - be.to_numpy(by_layer).ravel()).max(), abs(dx - numeric).max()
print(f"the sum differs from minigan's layer by {error_layer:.0e}, from central differences by {error_numeric:.0e}")
assert error_layer < 1e-12
assert error_numeric < 1e-8
for name, path in paths.items():
    missing = abs(dx - path - numeric).max()
    print(f"without the path {name:<10} the error is {missing:.2f}")
    assert missing > 1e-3

# What the sum means. Adding a constant to all x, or stretching them about their mean, does not change y (apart from ε). So dx
# has no component along 1 and none along x̂: it is the direct gradient minus its least-squares line in x̂.
slope, height = np.polyfit(x_hat, paths["direct"], 1)
print(f"\nΣ dx = {dx.sum():.0e}, Σ dx x̂ = {(dx * x_hat).sum():.0e}")
residual = paths["direct"] - (slope * x_hat + height)
print(f"dx differs from the direct gradient minus its fitted line by {abs(dx - residual).max():.0e} (because of ε)")
assert abs(dx.sum()) < 1e-12
assert abs(dx - residual).max() < 1e-4

fig, (graph, bars, line) = figure(1, 3, width=11.5, height=3.7, width_ratios=[1.1, 1.2, 1])
nodes = {"$x$": (0, 1), r"$\mu$·": (1.6, 2), "$v$·": (1.6, 0), r"$\hat x$·": (3.2, 1), "$y$": (4.3, 1)}
edges = [("$x$", r"$\mu$·", "", "$1/M$"), (r"$\mu$·", r"$\hat x$·", "", r"$-1/\sigma$"), (r"$\hat x$·", "$y$", "", r"$\gamma$")]
edges += [("$x$", "$v$·", "", r"$2(x-\mu)/M$"), ("$v$·", r"$\hat x$·", "", r"$-(x-\mu)/2\sigma^3$")]
diagram(graph, nodes, [*edges, ("$x$", r"$\hat x$·", "", r"$1/\sigma$")])
graph.set_title("Three paths from $x$ to $y$, and their derivatives")
for offset, (name, path) in zip((-0.25, 0, 0.25), paths.items(), strict=True):
    bars.bar(np.arange(M) + offset, path, 0.25, label=name)
bars.plot(range(M), dx, "k_", markersize=14, markeredgewidth=2, label="sum")
bars.plot(range(M), numeric, "o", color="tab:red", markersize=4, label="finite differences")
bars.axhline(0, color="0.5", linewidth=0.8)
bars.set(
    xlabel="sample of the batch",
    ylim=(1.5 * paths["direct"].min(), None),
    ylabel=r"$\partial L/\partial x$",
    title="The paths add up to the gradient",
)
bars.legend(fontsize=8, ncols=2)
order = np.argsort(x_hat)
line.plot(x_hat[order], (slope * x_hat + height)[order], color="tab:blue", label="its fitted line")
line.vlines(x_hat, slope * x_hat + height, paths["direct"], color="0.7", label="what is left: $dx$")
line.plot(x_hat, paths["direct"], "o", color="tab:blue", label="direct gradient")
line.set(xlabel=r"$\hat x$", ylabel=r"$\partial L/\partial x$", title="Mean and slope are removed")
line.legend(fontsize=8)
save(fig, options)
