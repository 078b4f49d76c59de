"""Why the minimax generator starves: G's gradient under both of its losses, while D gets better and better.

Why G is not trained on the loss of the minimax game, E log(1 − D(G(z))): its gradient has the factor D(G(z)), which is almost
0 as soon as D recognises G's images. That happens at the start, when G needs the gradient most. The usual loss, −E log D(G(z)),
has the factor 1 − D(G(z)) instead (Goodfellow et al. 2014, arXiv:1406.2661, section 3; Arjovsky and Bottou 2017,
arXiv:1701.04862, figures 2 and 3, who also show that the size and the variance of this gradient grow).

    python examples/06_minimax_starves.py
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.data import Batches, load

options = arguments(__doc__, steps=500)
be, seed, BATCH, LATENT = options.backend, options.seed, 128, 64
digits = load("digits")
batches = Batches(digits, BATCH, be, seed=seed)
looks = sorted({round(step) for step in np.geomspace(1, options.steps + 1, 60)})  # dense at the start, where most happens
minimax_loss, usual_loss = mg.losses.Saturating().bind(be), mg.losses.NonSaturating().bind(be)


def duel(G):
    """A new D learns to tell G's images from digits, while G stays fixed. Returns, for the steps in looks: norms, logits."""
    _, D = mg.models.mlp(digits.shape, LATENT, backend=be, seed=seed + 1)
    game = mg.GAN(G, D, seed=seed + 1)
    norms, logits = {minimax_loss: [], usual_loss: []}, []
    for step in range(1, options.steps + 2):
        fake, cache = G.forward(game.noise(BATCH), train=True)
        if step in looks:
            s_fake, cache_d = D.forward(fake, train=True)
            for objective in norms:  # the same images and the same D: only the loss differs
                _, ds_fake = objective.generator(s_fake)
                G.backward(D.backward(ds_fake, cache_d), cache, grads=G.grads, input_grad=False)
                norms[objective].append(float(be.xp.sqrt((G.flat_grads**2).sum())))
            logits.append(be.to_numpy(s_fake).ravel())
        (s_real, s_fake), caches = D.forward_each((batches.next(), fake), train=True)
        _, ds = usual_loss.discriminator(s_real, s_fake)
        D.backward_each(ds, caches, grads=D.grads, input_grad=False)
        game.optimizer_d.update(D)  # no step of G
    return np.array(norms[minimax_loss]), np.array(norms[usual_loss]), np.array(logits)


G, partner = mg.models.mlp(digits.shape, LATENT, backend=be, seed=seed)
results = {"G untrained": duel(G)}
game = mg.GAN(G, partner, seed=seed)  # the same G plays the usual game for a while, then meets a new D again
for _ in range(options.steps):
    game.step(batches.next())
results[f"G after {options.steps:,} steps"] = duel(G)

print("\n‖∂L_G/∂θ_G‖ against a D that has trained alone\n" + " " * 22 + "   steps of D   D(G(z))   minimax loss   −log D(G(z))")
for name, (minimax, usual, logits) in results.items():
    for i in (0, len(looks) // 2, -1):
        belief = (1 / (1 + np.exp(-logits[i]))).mean()
        print(f"{name:<22} {looks[i] - 1:12,d} {belief:9.5f} {minimax[i]:14.4f} {usual[i]:14.4f}")
    falls, grows = minimax[0] / minimax[-1], usual[-1] / usual[0]
    print(f"{'':<22} over these steps the first falls {falls:,.0f}-fold, the second grows {grows:.1f}-fold")
    if options.steps >= 20:  # in fewer steps D hardly learns
        assert minimax[-1] < (0.01 if options.steps >= 500 else 0.7) * minimax[0]
        assert usual[-1] > usual[0]

fig, (left, right) = figure(1, 2, width=10, height=3.9)
for (name, (minimax, usual, _)), style in zip(results.items(), ("-", "--"), strict=True):
    left.loglog(looks, usual, style, color="tab:blue", label=f"$-\\log D(G(z))$, {name}")
    left.loglog(looks, minimax, style, color="tab:red", label=f"$\\log(1-D(G(z)))$, {name}")
left.set(
    xlabel="step of D, which trains alone",
    ylabel=r"$\|\partial L_G/\partial\theta_G\|$",
    title="One loss starves, the other does not",
)
left.legend(fontsize=8, loc="lower left")
s = np.linspace(-12, 4, 200)
right.plot(s, 1 / (1 + np.exp(s)), color="tab:blue", label=r"$|\partial L/\partial s|$ of $-\log D$: $1-\sigma(s)$")
right.plot(s, 1 / (1 + np.exp(-s)), color="tab:red", label=r"$|\partial L/\partial s|$ of $\log(1-D)$: $\sigma(s)$")
for i, grey in zip((0, len(looks) // 2, -1), ("0.8", "0.6", "0.4"), strict=True):
    counts, edges = np.histogram(results["G untrained"][2][i], bins=np.linspace(-12, 4, 65))
    right.stairs(
        counts / counts.max() * 0.55, edges, fill=True, color=grey, alpha=0.6, label=f"logits after {looks[i] - 1:,} steps"
    )
right.set(
    xlabel="logit $s$ of a generated image",
    ylabel="gradient; share of images (scaled)",
    title="Where D's logits go, and what is left there",
)
right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, 0.93))
save(fig, options)
