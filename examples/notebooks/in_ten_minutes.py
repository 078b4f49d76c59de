# %% [markdown]
# # A GAN in ten minutes
#
# A GAN is two networks that play a game. The **generator** G turns random numbers into images and never sees a real one; the
# **discriminator** D looks at real and at generated images and learns to tell them apart; and all that G learns from is how
# D's verdict would change if a pixel were a little brighter or darker.
#
# You will train one on handwritten digits, which takes a minute or two, and then open it up: what D tells G, and how anybody
# can check that the numbers are right. No deep-learning framework is at work here. Every derivative is a formula that was
# written by hand, and you can read each of them.
#
# To follow along you need Python and a clone of this project, in which `pip install ".[notebook]"` installs all there is to
# install. Then run one cell after another, with Shift + Enter.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minigan as mg
from minigan.data import Batches, floats_to_pixels, load, pixels_to_floats
from minigan.training.plots import grid

STEPS = 400  # of training; with fewer, all below still runs, and the digits are poorer


def show(images, title):
    """Images, from −1 (black) to 1 (white), side by side."""
    rows = -(-len(images) // 16)
    plt.figure(figsize=(10, 0.7 * rows + 0.4))
    plt.imshow(grid(floats_to_pixels(images), columns=16), cmap="gray")
    plt.title(title)
    plt.axis("off")
    plt.show()


# %% [markdown]
# ## The data
#
# 5,000 digits of MNIST come with minigan. Each is 28 × 28 pixels, brought to numbers from −1 (black) to 1 (white).

# %%
digits = load("digits")
print(digits.values.shape, "numbers from 0 to 255")
show(pixels_to_floats(np, digits.values[::157]), "32 of them")

# %% [markdown]
# ## The two networks
#
# G begins with 32 random numbers, z, and ends with 28 × 28 pixels. D begins with these pixels and ends with one number, the
# score s; σ(s) = 1/(1 + e^−s) is how likely D takes the image to be real. In between are layers: convolutions, which look for
# the same small pattern everywhere, and simple curves such as max(x, 0). *Params* counts the numbers that will be learned.

# %%
G, D = mg.models.dcgan(image_shape=digits.shape, latent_dim=32, width=32, extra_conv=True)
print(G)
print(D)
gan = mg.GAN(G, D, lr=1e-3, betas=(0.0, 0.99), ema=0.998)
show(gan.sample(16, seed=1), "before training: noise goes in, gray comes out")

# %% [markdown]
# ## The game
#
# One step is two moves. D gets 64 real and 64 generated images and changes its numbers a little, so that real ones score
# higher and generated ones lower. Then G changes its own, so that D scores its images higher. Neither ever wins for good: as
# soon as D finds a way to tell, that is what G learns next.

# %%
train = mg.capture(gan, Batches(digits, 64, gan.backend))  # 64 images at a time, in random order
curves, pictures = {"loss_d": [], "loss_g": []}, {}
for step in range(1, STEPS + 1):
    stats = train()
    for name, curve in curves.items():
        curve.append(float(stats[name]))
    if step in (STEPS // 8, STEPS // 3, STEPS):
        pictures[f"after {step} steps"] = gan.sample(32, seed=1)
for title, images in pictures.items():
    show(images, title)

# %%
plt.figure(figsize=(9, 2.6))
plt.plot(curves["loss_d"], linewidth=0.8, label="D's loss")
plt.plot(curves["loss_g"], linewidth=0.8, label="G's loss")
plt.axhline(np.log(2), color="0.6", linestyle=":", label="log 2: G's, where D can only guess")
plt.xlabel("step")
plt.legend()
plt.show()

# %% [markdown]
# The digits get better, and the losses do not tell: they only say who is ahead. That is what makes GANs hard to judge, and why
# one looks at samples.
#
# ## What G has learned
#
# Not the 5,000 digits by heart: every z is an image. Going from one z to another in small steps, a digit turns into another.

# %%
z = np.random.default_rng(3).standard_normal((2, 32))
way = np.linspace(0, 1, 16)[:, None]
z = (1 - way) * z[0] + way * z[1]
drawn, _ = G.forward(G.backend.asarray(z, "float32"))
show(G.backend.to_numpy(drawn), "from one z to another")

# %% [markdown]
# ## The gradients, opened
#
# What does D tell G? Take 8 generated images, let D score them, and write down G's loss: the mean of −log σ(s), small where D
# is taken in. The **gradient** of this loss says for every pixel how much the loss changes if the pixel gets a little brighter.
# `backward` computes it, layer by layer from the score back to the pixels: the chain rule, and nothing else. (In float64, so
# that we can check it closely.)

# %%
G64, D64 = G.clone("float64"), D.clone("float64")
be = G64.backend

z = be.asarray(np.random.default_rng(4).standard_normal((8, 32)))
fake, cache_g = G64.forward(z, train=True)
s, cache_d = D64.forward(fake, train=True)
loss, ds = gan.objective.generator(s)  # the loss, and ∂loss/∂s
dx = D64.backward(ds, cache_d)  # ∂loss/∂pixel: what D tells G
print(
    f"D takes the eight for real with {', '.join(f'{1 / (1 + np.exp(-v)):.0%}' for v in be.to_numpy(s)[:, 0])}; loss {loss:.4f}"
)

pixels, push = be.to_numpy(fake)[..., 0], -be.to_numpy(dx)[..., 0]
fig, axes = plt.subplots(2, 8, figsize=(10, 2.8))
for k in range(8):
    axes[0, k].imshow(pixels[k], cmap="gray")
    axes[1, k].imshow(push[k], cmap="RdBu_r", vmin=-abs(push[k]).max(), vmax=abs(push[k]).max())
for panel in axes.flat:
    panel.axis("off")
fig.suptitle("generated images, and what D would like: red pixels brighter, blue ones darker")
plt.show()

# %% [markdown]
# Is that true? Make the pixel that matters most a little brighter, then a little darker, and look at what the loss does.

# %%
h, at = 1e-4, np.unravel_index(abs(push).argmax(), push.shape)


def loss_with(nudge):
    changed = be.to_numpy(fake).copy()
    changed[at] += nudge
    return float(gan.objective.generator(D64.forward(be.asarray(changed), train=True)[0])[0])


by_nudging = (loss_with(h) - loss_with(-h)) / (2 * h)
by_backward = float(be.to_numpy(dx)[at][0])
print(f"pixel {tuple(map(int, at))}: by nudging {by_nudging:.9f}, by backward {by_backward:.9f}")
assert abs(by_nudging - by_backward) < 1e-6 * max(1, abs(by_backward))

# %% [markdown]
# G cannot move pixels, only its own numbers. So the gradient goes on through G, back to each of them; a step of training then
# moves every number a little against its gradient. Three numbers, checked in the same way:

# %%
G64.backward(dx, cache_g, grads=G64.grads)
for name in list(G64.params)[:: len(G64.params) // 3][:3]:
    number, gradient = G64.params[name].reshape(-1), float(G64.grads[name].reshape(-1)[0])
    losses = []
    for nudge in (h, -h):
        number[0] += nudge
        losses.append(float(gan.objective.generator(D64.forward(G64.forward(z, train=True)[0], train=True)[0])[0]))
        number[0] -= nudge
    slope = (losses[0] - losses[1]) / (2 * h)
    print(f"G's {name}, first number: by nudging {slope:.9f}, by backward {gradient:.9f}")
    assert abs(slope - gradient) < 1e-5 * max(1, abs(gradient))

# %% [markdown]
# Every layer's gradients are proved like this, in one call, and so can yours be:

# %%
print(mg.check_layer(mg.Conv2d(3, 3), (5, 5, 2)))

# %% [markdown]
# ## From here
#
# - The [course](01_one_neuron.ipynb) begins with one neuron, by pencil, and comes back to this very game in
#   [lesson 10](10_dcgan.ipynb).
# - `minigan train` in a terminal trains for longer and keeps a folder of pictures and curves; `minigan train --data FOLDER`
#   does it on images of yours.
# - `minigan explain` writes a page that walks through every number of one step.
