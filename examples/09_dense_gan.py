"""The first kind of GAN, dense networks on digits: 100 random numbers become an image.

    python examples/09_dense_gan.py [--backend NAME] [--steps N] [--out FILE]

    G: z (100) → Dense 128, ReLU → Dense 784, Tanh          x̃ = G(z)
    D: 784 → Dense 128, ReLU → Dense 1, the logit s         D(x) = σ(s)
    L_D = −E log D(x) − E log(1 − D(x̃)),  L_G = −E log D(x̃)

One step is written out below, in the order of mg.GAN: every array of the forward passes and every gradient has a name. The
losses do not measure quality: L_D = 2 log 2 and L_G = log 2 mean that D guesses. After a few hundred steps they hardly change,
while the digits keep improving. No neuron knows which pixels are neighbours, so edges fray and stray dots remain; the
convolutions of 10_dcgan.py mend that. D's targets for real images are 0.9 (one-sided label smoothing), and the images shown
are those of G with its weights averaged over the last steps: both make the digits more stable.

Source: Goodfellow et al. 2014 (arXiv:1406.2661), algorithm 1 and section 5; Adam: Kingma and Ba 2015 (arXiv:1412.6980).
"""

import math

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.data import Batches, floats_to_pixels, load
from minigan.training.plots import grid

options = arguments(__doc__, steps=8000)
be, digits = options.backend, load("digits")
G = mg.Sequential([mg.Dense(128), mg.ReLU(), mg.Dense(784), mg.Tanh()], (100,), be, seed=(options.seed, 0))
D = mg.Sequential([mg.Dense(128), mg.ReLU(), mg.Dense(1)], (784,), be, seed=(options.seed, 1))
average = G.clone()  # of G's weights over about the last thousand steps: draws the images shown
objective = mg.losses.NonSaturating(smoothing=0.1).bind(be)
adam_g, adam_d = mg.Adam(lr=1e-3, betas=(0.5, 0.999)), mg.Adam(lr=1e-3, betas=(0.5, 0.999))
batches, noise = Batches(digits, batch_size=64, backend=be, seed=options.seed), be.generator([options.seed, 2])


def step():
    """One step of D, then one of G; returns L_D and L_G."""
    x = batches.next().reshape(64, 784)
    x_fake, cache_g = G.forward(noise.normal((64, 100), "float32"), train=True)

    (s_real, s_fake), caches = D.forward_each((x, x_fake), train=True)
    loss_d, (ds_real, ds_fake) = objective.discriminator(s_real, s_fake)
    D.backward_each((ds_real, ds_fake), caches, grads=D.grads, input_grad=False)  # the images need no gradient
    adam_d.update(D)

    s_fake, cache_d = D.forward(x_fake, train=True)  # with the updated D
    loss_g, ds_fake = objective.generator(s_fake)
    dx_fake = D.backward(ds_fake, cache_d)  # through D, without gradients of its parameters
    G.backward(dx_fake, cache_g, grads=G.grads, input_grad=False)
    adam_g.update(G)
    return loss_d, loss_g


z = be.asarray(np.random.default_rng(options.seed).standard_normal((36, 100)), "float32")
losses, shown = [], {}
for count in range(1, options.steps + 1):
    losses.append(step())
    rate = 1 - min(0.999, count / (10 + count))
    average.flat_params[...] += rate * (G.flat_params - average.flat_params)
    if count in (max(1, options.steps // 10), options.steps):
        shown[count] = be.to_numpy(average.forward(z)[0]).reshape(36, 28, 28, 1)
        print(f"step {count:>5}: L_D = {float(losses[-1][0]):.3f}, L_G = {float(losses[-1][1]):.3f}")

fig, (curves, *panels) = figure(1, 3, width=11, height=3.5, width_ratios=(1.2, 1, 1))
means = np.array([[float(value) for value in pair] for pair in losses])
if options.steps >= 4000:  # by then neither side has won
    assert 1 < means[-1000:, 0].mean() < 2
    assert 0.5 < means[-1000:, 1].mean() < 2
window = np.ones(max(1, options.steps // 80)) / max(1, options.steps // 80)
for column, name, colour, value in ((0, "$L_D$", "tab:blue", 2 * math.log(2)), (1, "$L_G$", "tab:orange", math.log(2))):
    curves.plot(means[:, column], color=colour, alpha=0.25, linewidth=0.4)
    smooth = np.convolve(means[:, column], window, "valid")
    curves.plot(np.arange(len(smooth)) + len(window) / 2, smooth, color=colour, label=name)
    curves.axhline(value, color=colour, linestyle=":", linewidth=1)
curves.set(xlabel="step", ylabel="loss (nats)", title="losses; dotted: D only guesses", ylim=(0, 3))
curves.legend()
for panel, (count, images) in zip(panels, shown.items(), strict=False):
    panel.imshow(grid(floats_to_pixels(images)), cmap="gray")
    panel.set(title=f"G(z) after {count:,} steps")
    panel.axis("off")
save(fig, options)
