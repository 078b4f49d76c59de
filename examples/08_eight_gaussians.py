"""A GAN on eight Gaussians: G follows a vector field that D draws, and D redraws it at every step.

    python examples/08_eight_gaussians.py [--backend NAME] [--steps N] [--out FILE]

In the plane, everything that G learns from D is visible. For a generated point x with logit s(x), G's loss is L_G = ζ(−s(x)),
and the point is pushed along −∂L_G/∂x = (1 − σ(s)) ∂s/∂x: D's input gradient, which G's backward pass receives. The arrows in
the figure are exactly this, D.backward on a lattice of points. Colours show D(x) = σ(s(x)).

What to look for: G's samples start in one place and spread along the arrows. By step 1,000 D has learned the ring, and the
samples lie along all of it, between the centres too; then the arrows along the ring sweep them to the eight centres. Away from
the ring D stays certain (red) and keeps pointing back to it; at the centres D is near 1/2, since it can no longer tell.
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.data import Batches, load
from minigan.layers.elementwise import sigmoid

SIDE, REACH, NEAR = 121, 1.6, 0.1  # points along the lattice's side, half its width, how near to a centre a sample counts

options = arguments(__doc__, steps=5000)
be = options.backend
ring = load("ring")  # 8 Gaussians on the unit circle, σ = 0.01
angles = 2 * np.pi * np.arange(8) / 8
centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)
G, D = mg.models.mlp(image_shape=(2,), latent_dim=16, hidden=(128, 128), backend=be, seed=options.seed)
gan = mg.GAN(G, D, lr=1e-3, betas=(0.0, 0.99), ema=0.998, seed=options.seed)
train = mg.capture(gan, Batches(ring, batch_size=256, backend=be, seed=options.seed))  # one step a call, on the next batch


def lattice(side):
    """Points (side², 2) of the square, as a host array."""
    line = np.linspace(-REACH, REACH, side, dtype=np.float32)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def landscape_and_push(points):
    """D(x) (N,) and −∂L_G/∂x (N, 2) at host points (N, 2), each as if alone in its batch."""
    s, cache = D.forward(be.asarray(points))
    _, ds = gan.objective.generator(s)  # (σ(s) − 1) / N, for the mean over N points
    dx = D.backward(ds, cache)
    return be.to_numpy(sigmoid(be.xp, s))[:, 0], -len(points) * be.to_numpy(dx)


def coverage(samples):
    """(how many modes have at least a quarter of their fair share of samples nearby, share of samples near any mode)."""
    near = np.linalg.norm(samples[:, None] - centres, axis=2) < NEAR  # (N, 8)
    return int((near.mean(axis=0) > 1 / 32).sum()), float(near.any(axis=1).mean())


shown = sorted({0, *(round(options.steps * part) for part in (0.02, 0.1, 0.2, 0.4, 1))})
fig, axes = figure(2, 3, width=9.5, height=6.2, sharex=True, sharey=True)
for step in range(options.steps + 1):
    if step in shown:
        panel = axes.flat[shown.index(step)]
        samples = gan.sample(2000, seed=1)
        modes, share = coverage(samples)
        print(f"step {step:>5}: {modes} of 8 modes covered, {share:.0%} of 2,000 samples within {NEAR} of a centre")
        prob = landscape_and_push(lattice(SIDE))[0].reshape(SIDE, SIDE)
        line = np.linspace(-REACH, REACH, SIDE)
        colours = panel.contourf(line, line, prob, levels=np.linspace(0, 1, 21), cmap="RdBu", alpha=0.7)
        sparse = lattice(17)
        push = landscape_and_push(sparse)[1]
        length = np.linalg.norm(push, axis=1, keepdims=True)
        arrows = push / np.maximum(length, 1e-12) * np.clip(length / 2, 0.05, 1) ** 0.5  # a compressed range of lengths
        panel.quiver(*sparse.T, *arrows.T, color="0.1", width=0.004, scale=20, pivot="mid")
        panel.scatter(*samples[:800].T, s=5, color="gold", edgecolors="black", linewidths=0.3)
        panel.scatter(*centres.T, s=90, facecolors="none", edgecolors="black", linewidths=0.8)
        panel.set(title=f"step {step:,}: {modes} modes, {share:.0%}", aspect="equal")
        panel.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    if step < options.steps:
        train()
assert options.steps < 5000 or modes >= 6
fig.colorbar(colours, ax=axes, label="D(x) = σ(s)", ticks=(0, 0.5, 1), shrink=0.8)
save(fig, options)
