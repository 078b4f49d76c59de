"""Why games spiral, and what holds them: six games in one dimension, and the same six on a ring of Gaussians.

    python examples/16_why_games_spiral.py [--backend NAME] [--steps N] [--out FILE]

The Dirac-GAN (lesson 13): all data lie at 0, G makes one point θ, and D is a slope ψ, s(x) = ψ x. G moves where D points, D
turns to where G is. With steps of length h_g and h_d, D first, as GAN.step takes them, a step near the equilibrium (0, 0) is
    ψ ← ψ − h_d (θ/2 + γψ),    θ ← θ + h_g ψ/2
and its matrix has the determinant 1 − h_d γ, the product of its two eigenvalues λ:
    plain          γ = 0, so |λ|² = 1: it circles. (Further out the non-saturating loss pulls inwards, ever more slowly.)
    R1             |λ|² = 1 − h_d γ < 1: D forgets a slope that it no longer needs, and both come to rest
    relativistic   L_D = ζ(s_fake − s_real), and s_real = 0 here: the very same game. It is R1 that brings it to rest, too
    spectral norm  D = v·(u x) with unit vectors u and v, so that |ψ| ≤ 1. That bounds how hard D pulls, and γ = 0: it circles
    two rates      other h_g and h_d make an ellipse of the circle, and |λ| = 1 stays
The ring shows how much of this is left with real networks and Adam with momentum. Each panel has the paths of some samples,
each of one z, over the last fifth of the training. Where a game turns, G's samples are chased around together, past the modes;
where it is held, they stay where they are and can be sorted out among the modes. Two rates, which are no help in one dimension,
hold the ring too, for D then has nearly done learning wherever G is; but G loses modes on the way.

Source: Mescheder, Geiger and Nowozin 2018 (arXiv:1801.04406), sections 2 to 4; relativistic with R1: Huang et al. 2024
(arXiv:2501.05441); Miyato et al. 2018 (arXiv:1802.05957); two rates: Heusel et al. 2017 (arXiv:1706.08500).
"""

from itertools import pairwise

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.data import Batches, load

R1, Relativistic = mg.losses.R1, mg.losses.Relativistic
H, GAMMA, START = 0.2, 0.6, (1.0, 1.0)  # step length, weight of R1, start (θ, ψ)
HIDDEN, BATCH, LR, RING_GAMMA = 64, 128, 1e-3, 0.3
options = arguments(__doc__, steps=2400)
SPAN = max(1, min(100, options.steps // 10))  # steps over which it is measured how far samples move
be = options.backend
GAMES = {  # losses and penalties, whether D's layers are spectrally normalised, and D's learning rate in units of G's
    "plain": ({}, False, 1),
    "R1": ({"penalties": R1}, False, 1),
    "relativistic": ({"objective": Relativistic()}, False, 1),
    "relativistic, R1": ({"objective": Relativistic(), "penalties": R1}, False, 1),
    "spectral norm": ({}, True, 1),
    "two rates": ({}, False, 4),
}


def game(networks, name, weight, **rates):
    """The GAN of this name, R1 with this weight."""
    more = {key: [value(weight)] if value is R1 else value for key, value in GAMES[name][0].items()}
    return mg.GAN(*networks, seed=options.seed, **more, **rates)


# -- one dimension ------------------------------------------------------------------------------------------------------------


def dirac(name, steps=300):
    """The path (steps + 1, 2) of θ and of D's slope, from START, and |λ| of a step near the equilibrium."""
    normalised, ratio = GAMES[name][1:]
    last = [mg.SpectralNorm(mg.Dense(1, bias=False))] if normalised else []
    first = mg.SpectralNorm(mg.Dense(2, bias=False)) if normalised else mg.Dense(1, bias=False)
    G = mg.Sequential([mg.Dense(1, bias=False)], (1,), be, "float64")
    D = mg.Sequential([first, *last], (1,), be, "float64", seed=options.seed)
    rates = {"optimizer_g": mg.SGD(H), "optimizer_d": mg.SGD(H * ratio)}
    gan = game((G, D), name, GAMMA, **rates)
    zero, one = be.asarray([[0.0]]), be.asarray([[1.0]])

    def state():
        return np.array([float(G.flat_params[0]), float(D.forward(one)[0][0, 0])])

    def step(at):
        G.flat_params[...], D.flat_params[...] = at
        gan.step(zero, one)
        return state()

    small, values = 1e-5, None
    if not normalised:  # its state is not the slope alone
        matrix = [(step(small * e) - step(-small * e)) / (2 * small) for e in np.eye(2)]
        values = np.linalg.eigvals(np.stack(matrix, axis=1))
        D.flat_params[...] = START[1]
    G.flat_params[...] = START[0]
    path = [state()]
    for _ in range(steps):
        gan.step(zero, one)
        path.append(state())
    return np.stack(path), values


# -- the ring -----------------------------------------------------------------------------------------------------------------

ring = load("ring")
angles = 2 * np.pi * np.arange(8) / 8
centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)


def train_on_ring(name):
    """(paths of 12 samples over the last fifth (T, 12, 2), 2,000 samples at the end, how far they move in SPAN steps)"""
    normalised, ratio = GAMES[name][1:]
    wrap = mg.SpectralNorm if normalised else (lambda layer: layer)
    G = mg.Sequential(
        [mg.Dense(HIDDEN), mg.ReLU(), mg.Dense(HIDDEN), mg.ReLU(), mg.Dense(2)], (16,), be, seed=(options.seed, 0)
    )
    judge = [wrap(mg.Dense(HIDDEN)), mg.LeakyReLU(), wrap(mg.Dense(HIDDEN)), mg.LeakyReLU(), wrap(mg.Dense(1))]
    D = mg.Sequential(judge, (2,), be, seed=(options.seed, 1))
    gan = game((G, D), name, RING_GAMMA, lr=LR, lr_d=LR * ratio, betas=(0.8, 0.99))
    train = mg.capture(gan, Batches(ring, batch_size=BATCH, backend=be, seed=options.seed))
    late, every = options.steps - options.steps // 5, max(1, options.steps // 480)
    paths, marks = [], []
    for step in range(options.steps + 1):
        if step >= late and (step - late) % every == 0:
            paths.append(gan.sample(12, seed=1))
        if step >= late and (step - late) % SPAN == 0:
            marks.append(gan.sample(2000, seed=1))
        if step < options.steps:
            train()
    moved = [np.linalg.norm(b - a, axis=1).mean() for a, b in pairwise(marks)]
    return np.stack(paths), gan.sample(2000, seed=1), float(np.mean(moved))


fig, axes = figure(2, 6, width=14.0, height=5.8)
shifts = {}
for upper, lower, name in zip(*axes, GAMES, strict=True):
    path, values = dirac(name)
    radius = np.linalg.norm(path[-50:], axis=1).mean()
    size = "" if values is None else f"|λ| = {abs(values).max():.4f}"
    if values is not None:
        gamma = GAMMA if "R1" in name else 0
        assert abs(abs(values[0] * values[1]) - (1 - H * GAMES[name][2] * gamma)) < 1e-6
    upper.plot(*path.T, ".-", markersize=2, linewidth=0.6, color="tab:blue")
    upper.plot(*path[0], "o", color="tab:orange")
    upper.plot(0, 0, "k+", markersize=10)
    upper.set(title=f"{name}\n{size}", xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")
    upper.set(xlabel="θ (G)", ylabel="ψ, D's slope" if name == "plain" else "", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    paths, samples, moved = train_on_ring(name)
    near = np.linalg.norm(samples[:, None] - centres, axis=2) < 0.1
    modes, share = int((near.mean(axis=0) > 1 / 32).sum()), float(near.any(axis=1).mean())  # as in lesson 08
    shifts[name] = moved
    print(
        f"{name:<17} Dirac: {size or 'slope within ±1':<15} r = {radius:.2g} at the end; ring: {modes} of 8 modes, {share:.0%} "
        f"within 0.1 of a centre, a sample moves by {moved:.2f} in {SPAN} steps"
    )
    lower.scatter(*samples[:500].T, s=3, color="0.75")
    for k in range(paths.shape[1]):
        lower.plot(*paths[:, k].T, linewidth=0.7)
        lower.plot(*paths[-1, k], "k.", markersize=3)
    lower.scatter(*centres.T, s=60, facecolors="none", edgecolors="black", linewidths=0.8)
    lower.set(title=f"{modes} modes, {share:.0%}\nmoves by {moved:.2f}", aspect="equal")
    lower.set(xlim=(-2, 2), ylim=(-2, 2), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
assert options.steps < 2400 or max(shifts["R1"], shifts["relativistic, R1"]) < 0.4  # what turns moves by 0.5 and more
save(fig, options)
