"""Many ranks, one gradient: why the mean of gradients is the gradient of the mean, and where BatchNorm breaks that.

P processes, the ranks, each take N/P samples of a batch. The loss is a mean over samples, so it is the mean of the shares'
means, and differentiation is linear:
    L = Σ_n ℓ(x_n)/N = 1/P Σ_r L_r with L_r = Σ_(n in share r) ℓ(x_n)/(N/P),   so   ∂L/∂θ = 1/P Σ_r ∂L_r/∂θ
One exchange of gradients a step, an all-reduce, makes P ranks take the very step of one process. It needs ℓ(x_n) to depend
on x_n alone. BatchNorm's does not: x̂_n = (x_n − μ)/σ holds all other samples, and a share's own μ and σ make another function
of it. With μ, v and, on the way back, ⟨dy⟩ and ⟨dy x̂⟩ as means over all ranks, it is the same function again: three small
exchanges for each BatchNorm. That is what `mpiexec -n 4 minigan train` does. (Goyal et al. 2017, arXiv:1706.02677, section 2.3,
keep the shares' own statistics on purpose, with as many samples a share whatever P is: another loss, but always the same one.)

    python examples/20_many_ranks.py
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg

options = arguments(__doc__, steps=400)
rng = np.random.default_rng(options.seed)
N, IN, HIDDEN, RATE = 64, 3, 8, 0.2
x = rng.standard_normal((N, IN))
t = np.sin(2 * x[:, :1]) * x[:, 1:2]  # what the net is to learn
start = [rng.standard_normal((IN, HIDDEN)) / np.sqrt(IN), rng.standard_normal((HIDDEN, 1)) / np.sqrt(HIDDEN)]  # W, V


def all_mean(of_ranks):
    """What MPI does: each rank gives its own, and gets the mean over all ranks."""
    return [sum(of_ranks) / len(of_ranks)] * len(of_ranks)


def own(of_ranks):
    """In its place: each rank keeps its own."""
    return of_ranks


def gradients(w, v, ranks, exchange):
    """[∂L/∂W, ∂L/∂V] of L = mean (tanh(BatchNorm(x W)) V − t)², made of equal shares of the batch, one for each rank.

    Every line is computed by all ranks, each for its own share. exchange: of BatchNorm's means; None: without BatchNorm.
    """
    shares, targets = np.split(x, ranks), np.split(t, ranks)
    h = [x_r @ w for x_r in shares]
    if exchange:
        mean = exchange([h_r.mean(axis=0) for h_r in h])
        var = exchange([((h_r - m) ** 2).mean(axis=0) for h_r, m in zip(h, mean, strict=True)])
        sigma = [np.sqrt(v_r + 1e-5) for v_r in var]
        h = [(h_r - m) / s for h_r, m, s in zip(h, mean, sigma, strict=True)]  # x̂
    a = [np.tanh(h_r) for h_r in h]
    dy = [2 * (a_r @ v - t_r) / len(t_r) for a_r, t_r in zip(a, targets, strict=True)]  # of the share's own mean
    dh = [(dy_r @ v.T) * (1 - a_r**2) for dy_r, a_r in zip(dy, a, strict=True)]
    dv = [a_r.T @ dy_r for a_r, dy_r in zip(a, dy, strict=True)]
    if exchange:
        d_mean = exchange([dh_r.mean(axis=0) for dh_r in dh])
        dx_mean = exchange([(dh_r * h_r).mean(axis=0) for dh_r, h_r in zip(dh, h, strict=True)])
        dh = [(g - m - x_hat * c) / s for g, m, x_hat, c, s in zip(dh, d_mean, h, dx_mean, sigma, strict=True)]
    dw = [x_r.T @ dh_r for x_r, dh_r in zip(shares, dh, strict=True)]
    return all_mean(dw)[0], all_mean(dv)[0]  # the one exchange that there always is


def distance(ours, others):
    """‖g − g'‖ / ‖g'‖ of all gradients together"""
    square = lambda parts: sum((part**2).sum() for part in parts)  # noqa: E731
    return np.sqrt(square([a - b for a, b in zip(ours, others, strict=True)]) / square(others))


# One process is one rank, with BatchNorm as minigan's layers have it.
net = mg.Sequential(
    [mg.Dense(HIDDEN, bias=False), mg.BatchNorm(), mg.Tanh(), mg.Dense(1, bias=False)], (IN,), options.backend, "float64"
)
be = net.backend
for name, value in zip(("0.weight", "3.weight"), start, strict=True):
    net.params[name][...] = be.asarray(value)
y, caches = net.forward(be.asarray(x), train=True)
_, dy = mg.losses.mse(y, be.asarray(t))
net.backward(dy, caches, grads=net.grads)
by_layers = [be.to_numpy(net.grads[name]) for name in ("0.weight", "3.weight")]
print(f"by hand and by minigan's layers: {distance(gradients(*start, 1, own), by_layers):.0e} apart")
assert distance(gradients(*start, 1, own), by_layers) < 1e-12

sizes = [P for P in (1, 2, 4, 8, 16, 32) if N % P == 0]
kinds = {
    "no BatchNorm": None,
    "BatchNorm, each share by itself": own,
    "BatchNorm, means over all ranks": all_mean,
}
errors = {name: [distance(gradients(*start, P, e), gradients(*start, 1, e)) for P in sizes] for name, e in kinds.items()}
print(f"\n{'ranks':>32} " + " ".join(f"{P:>8}" for P in sizes))
for name, row in errors.items():
    print(f"{name:>32} " + " ".join(f"{error:8.1e}" for error in row))
assert max(errors["no BatchNorm"] + errors["BatchNorm, means over all ranks"]) < 1e-13
assert min(errors["BatchNorm, each share by itself"][1:]) > 1e-2


def train(ranks, exchange):
    """The losses of gradient descent, and the weights that it ends with."""
    w, v, losses = start[0].copy(), start[1].copy(), []
    for _ in range(options.steps):
        dw, dv = gradients(w, v, ranks, exchange)
        w, v = w - RATE * dw, v - RATE * dv
        h = x @ w  # judged on the whole batch, as one process would
        x_hat = (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + 1e-5)
        losses.append(((np.tanh(x_hat) @ v - t) ** 2).mean())
    return losses, [w, v]


RANKS = 16
curves = {
    "one process": train(1, own),
    "means over all ranks": train(RANKS, all_mean),
    "each share by itself": train(RANKS, own),
}
apart = {name: distance(weights, curves["one process"][1]) for name, (_, weights) in curves.items()}
print(f"\nafter {options.steps} steps, {RANKS} ranks of {N // RANKS} samples:")
for name, (losses, _) in curves.items():
    print(f"{name:>32}: loss {losses[-1]:.5f}, weights {apart[name]:.0e} from those of one process")
assert apart["means over all ranks"] < 1e-9
assert apart["each share by itself"] > 1e-2

fig, (left, right) = figure(1, 2, width=10.5, height=3.7)
for (name, row), style in zip(errors.items(), ("o-", "s-", "x--"), strict=True):
    left.loglog(sizes, np.maximum(row, 1e-18), style, label=name, base=2)
left.set_yscale("log", base=10)
left.set(xlabel=f"ranks, of a batch of {N}", ylabel="relative error of the gradient", ylim=(1e-19, 1e2))
left.set_title("The mean of gradients is the gradient of the mean,\nunless samples see one another")
left.set_xticks(sizes, [str(P) for P in sizes])
left.legend(loc="center right")
for (name, (losses, _)), style in zip(curves.items(), ("-", "--", "-"), strict=True):
    right.plot(losses, style, label=name)
right.set(xlabel="step", ylabel="loss of the whole batch")
right.set_title(f"Gradient descent on {RANKS} ranks:\nwith BatchNorm's means over all, the path of one process")
right.legend()
save(fig, options)
