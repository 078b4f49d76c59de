"""The Dirac-GAN: one parameter each, and why plain gradient descent circles.

    python examples/13_dirac_gan.py [--backend NAME] [--steps N] [--out FILE]

All data lies at x = 0. G makes a single point x̃ = θ, and D is linear, s(x) = ψ x. With ζ(t) = log(1 + e^t),
    L_D = ζ(0) + ζ(ψθ),  L_G = −ζ(ψθ) (minimax) or ζ(−ψθ) (non-saturating);  v = (−∂L_G/∂θ, −∂L_D/∂ψ)
Descent with steps of length h moves (θ, ψ) along v. The only equilibrium is (0, 0). There v has the Jacobian
J = [[0, ½], [−½, 0]] for either L_G: its eigenvalues ±i/2 have no real part, so nothing pulls inwards and the flow circles for
ever. A simultaneous step of both multiplies by the eigenvalues of 1 + hJ, and |1 ± ih/2| > 1: it spirals outwards. Alternating
steps, as in GAN.step, stay on the circle: |λ| = 1. (With the non-saturating loss, terms of higher order pull inwards, ever more
slowly.) What helps is whatever adds a negative real part: the penalty R1 = (γ/2) E|∂s/∂x|² = (γ/2) ψ² in L_D pulls ψ to zero by
−γψ, and Gaussian noise of variance σ² on all inputs of D by −σ²ψ/2 near the equilibrium. The mean of all steps so far, which an
average of G's weights (ema) approximates, converges even where the steps themselves do not.

Source: Mescheder, Geiger and Nowozin 2018 (arXiv:1801.04406), sections 2 to 4.
"""

from statistics import NormalDist

import numpy as np
from course import arguments, figure, save

import minigan as mg

H, GAMMA, SIGMA, START = 0.2, 0.6, 1.0, (1.0, 1.0)  # step length, weight of R1, noise, start (θ, ψ)
QUANTILES = np.array([[NormalDist().inv_cdf((i + 0.5) / 64)] for i in range(64)])  # N(0, 1) as 64 equally likely points
options = arguments(__doc__, steps=250)
be = options.backend
G = mg.Sequential([mg.Dense(1, bias=False)], (1,), be, "float64")  # x̃ = θ z with z = 1
D = mg.Sequential([mg.Dense(1, bias=False)], (1,), be, "float64")  # s = ψ x
one = be.asarray([[1.0]])
minimax_loss, usual_loss = mg.losses.Saturating().bind(be), mg.losses.NonSaturating().bind(be)


def gradient_d(gamma, sigma):
    """Write ∂L_D/∂ψ to D.grads: the backward passes at x = 0 and x̃ = G(1), and γψ from R1."""
    n = be.asarray(sigma * QUANTILES if sigma else [[0.0]])
    (s_real, s_fake), caches = D.forward_each((n, G.forward(one)[0] + n))
    _, ds = usual_loss.discriminator(s_real, s_fake)
    D.backward_each(ds, caches, grads=D.grads)
    D.flat_grads[...] += gamma * D.flat_params


def gradient_g(saturating):
    """Write ∂L_G/∂θ to G.grads, by way of D."""
    fake, cache = G.forward(one)
    s_fake, cache_d = D.forward(fake)
    _, ds = (minimax_loss if saturating else usual_loss).generator(s_fake)
    G.backward(D.backward(ds, cache_d), cache, grads=G.grads)


def step(at, alternating=False, saturating=True, gamma=0.0, sigma=0.0, h=H):
    """One step of length h from the host pair (θ, ψ): simultaneously, or D first and then G against the new D."""
    G.flat_params[...], D.flat_params[...] = at
    gradient_d(gamma, sigma)
    if alternating:
        D.flat_params[...] -= h * D.flat_grads
    gradient_g(saturating)
    G.flat_params[...] -= h * G.flat_grads
    if not alternating:
        D.flat_params[...] -= h * D.flat_grads
    return np.array([float(G.flat_params[0]), float(D.flat_params[0])])


def eigenvalues(**game):
    """Eigenvalues of the Jacobian of one step at the equilibrium, by central differences of the step."""
    e = 1e-5
    return np.linalg.eigvals(np.stack([(step(e * d, **game) - step(-e * d, **game)) / (2 * e) for d in np.eye(2)], axis=1))


games = {
    "simultaneous": {},
    "alternating (GAN.step)": {"alternating": True},
    "alternating, non-saturating": {"alternating": True, "saturating": False},
    f"alternating, noise σ = {SIGMA:g}": {"alternating": True, "saturating": False, "sigma": SIGMA},
    f"alternating, R1 with γ = {GAMMA:g}": {"alternating": True, "saturating": False, "gamma": GAMMA},
}
fig, axes = figure(2, 3, width=9.5, height=6.2)
distance, line = axes.flat[5], np.linspace(-2, 2, 13)
for panel, (name, game) in zip(axes.flat, games.items(), strict=False):
    path = [np.array(START)]
    for _ in range(options.steps):
        path.append(step(path[-1], **game))
    path, values = np.stack(path), eigenvalues(**game)
    radius = np.linalg.norm(path, axis=1)
    print(f"{name:<28} λ = {values[0]:.4f}, {values[1]:.4f}, |λ| = {abs(values).max():.4f}; from r = 1.4 to {radius[-1]:.2g}")
    circles = name.startswith("alternating") and not game.keys() & {"sigma", "gamma"}
    assert abs(abs(values) - 1).max() < 1e-8 if circles else (abs(values).max() > 1) == (name == "simultaneous")
    field = {**game, "alternating": False, "h": 1.0}  # v itself: a simultaneous step of length 1
    arrows = np.array([[step((x, y), **field) - (x, y) for x in line] for y in line])
    arrows /= np.linalg.norm(arrows, axis=2, keepdims=True) ** 0.5 + 1e-12
    panel.quiver(line, line, arrows[..., 0], arrows[..., 1], color="0.6", width=0.004, pivot="mid")
    panel.plot(*path.T, ".-", markersize=3, linewidth=0.8, color="tab:blue")
    panel.plot(*START, "o", color="tab:orange")
    panel.plot(0, 0, "k+", markersize=10)
    panel.set(title=f"{name}: |λ| = {abs(values[0]):.4f}", xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
    panel.set(xlabel="θ (G)", ylabel="ψ (D)", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    distance.semilogy(radius, label=name)
    if name == "alternating (GAN.step)":
        means = np.linalg.norm(np.cumsum(path, axis=0) / np.arange(1, len(path) + 1)[:, None], axis=1)
        print(f"{'':<28} the mean of these steps: to r = {means[-1]:.2g}")
        distance.semilogy(means, "k:", label="mean of alternating steps")
distance.set(title="distance r from the equilibrium", xlabel="step")
distance.legend(fontsize=7)
save(fig, options)
