"""A VAE and a GAN on the same digits: what each optimises, and what one sees of it.

    python examples/17_vae_and_gan.py [--backend NAME] [--steps N] [--out FILE]

Both turn a latent vector z ~ N(0, I) into an image by a network. They differ in what tells the network that it did well.

    VAE   An encoder puts every real image x somewhere: q(z|x) = N(μ(x), σ²(x)). A draw of it goes through the decoder, and x
          must come out again. Minimised is −log p(x|z) + KL(q(z|x) ‖ N(0, I)), which is at least −log p(x), in nats an image.
          Every real image has to be explained, or the bound pays for it; so none is left out. But where the code cannot tell
          which of several images it was, the best answer pixel by pixel is their mean: gray, blurred strokes.
    GAN   No real image is ever to be made again. D only asks whether an image could be real, and G moves to where D says yes.
          A blurred stroke gives itself away at once, so strokes are sharp; but nothing asks whether some digits are never made.

So the VAE has what a GAN lacks: a number of its own that says how well it does, on images that it has not seen too (the bound),
and codes of given images: a reconstruction, and with two latent dimensions a map of all that it can draw. The GAN has samples
that look like real ones. Measured here, of 1,000 samples against 1,000 held-out digits: the Fréchet distance of a classifier's
features, recall (the share of real digits that lie among samples; blur moves these away, too), and sharpness, the mean square
of the Laplacian, which answers to edges, in units of that of real digits.

Source: Kingma and Welling 2014 (arXiv:1312.6114), equation 3, and figure 4 for the map; Goodfellow et al. 2014
(arXiv:1406.2661); why one blurs and the other leaves out: Theis, van den Oord and Bethge 2016 (arXiv:1511.01844), section 2.
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.data import Batches, Dataset, floats_to_pixels, load, pixels_to_floats
from minigan.training.plots import grid

BATCH, HELD_OUT, LATENT = 64, 1000, 16
options = arguments(__doc__, steps=600)
be, width = options.backend, 4 if options.quick else 16
digits = load("digits")
order = np.random.default_rng(options.seed).permutation(len(digits))
train_on = Dataset("4,000 digits", digits.values[order[HELD_OUT:]])
held_out = pixels_to_floats(np, digits.values[order[:HELD_OUT]].astype(np.float32))


def trained(game, steps):
    """The game after so many captured steps, and the mean of each statistic over its last 50."""
    step = mg.capture(game, Batches(train_on, batch_size=BATCH, backend=be, seed=options.seed))
    stats = [step() for _ in range(steps)][-50:]
    means = {name: float(np.mean([float(s[name]) for s in stats])) for name in game.stats}
    print(f"{type(game).__name__} after {steps} steps:", {name: round(value, 2) for name, value in means.items()})
    return game


def sharpness(images):
    """The mean square of the discrete Laplacian inside the images."""
    inner = images[:, 1:-1, 1:-1]
    around = images[:, :-2, 1:-1] + images[:, 2:, 1:-1] + images[:, 1:-1, :-2] + images[:, 1:-1, 2:]
    return float(np.mean((around - 4 * inner) ** 2))


def figures(images):
    """(Fréchet distance, recall, sharpness) beside the held-out digits."""
    real, own = (mg.metrics.digit_features(x) for x in (held_out, images))
    return mg.metrics.frechet(real, own), mg.metrics.prdc(real, own)["recall"], sharpness(images) / sharpness(held_out)


# -- the same two convolutional networks, but for what is at their ends -------------------------------------------------------

sizes = {"image_shape": digits.shape, "latent_dim": LATENT, "width": width, "backend": be, "seed": options.seed}
vae = trained(mg.VAE(*mg.models.vae_conv(**sizes), lr=2e-3, seed=options.seed), options.steps)
gan_sizes = {**sizes, "extra_conv": True}
gan = mg.GAN(*mg.models.dcgan(**gan_sizes), lr=2e-3, betas=(0.0, 0.99), ema=0.99, seed=options.seed)
gan = trained(gan, options.steps)
plane = mg.models.vae_mlp(digits.shape, latent_dim=2, hidden=(64 if options.quick else 200,), backend=be, seed=options.seed)
plane = trained(mg.VAE(*plane, lr=2e-3, seed=options.seed), options.steps)

bounds = {name: game.bound(held_out) for name, game in ((f"{LATENT} dimensions", vae), ("2", plane))}
print("bound of held-out digits, nats an image:", {name: round(value, 1) for name, value in bounds.items()})
samples = {"VAE": vae.sample(HELD_OUT, seed=1), "GAN": gan.sample(HELD_OUT, seed=1)}
others = pixels_to_floats(np, train_on.values[:HELD_OUT].astype(np.float32))
table = {name: figures(images) for name, images in {"real": others, **samples}.items()}
for name, (distance, recall, sharp) in table.items():
    print(f"{name:<5} Fréchet distance {distance:6.2f}, recall {recall:.2f}, sharpness {sharp:.2f}")
if options.steps >= 600:
    assert bounds["2"] < bounds[f"{LATENT} dimensions"]  # what more dimensions may say helps held-out digits too
    assert table["VAE"][2] < 0.75 < table["GAN"][2]  # the VAE blurs

# -- the figure ---------------------------------------------------------------------------------------------------------------

pairs = np.stack([held_out[:18], vae.reconstruct(held_out[:18])], axis=1).reshape(-1, *digits.shape)
pictures = {
    "real digits": (digits.values[order[:36]], 6),
    "VAE: samples": (floats_to_pixels(samples["VAE"][:36]), 6),
    "GAN: samples": (floats_to_pixels(samples["GAN"][:36]), 6),
    "VAE: held-out, reconstructed": (floats_to_pixels(pairs), 6),
    "VAE: map of a plane": (floats_to_pixels(plane.pictures(held_out[:1])["latent_map"].samples), 20),
}
fig, axes = figure(2, 3, width=8.6, height=5.8)
for panel, (title, (images, columns)) in zip(axes.flat, pictures.items(), strict=False):
    panel.imshow(grid(images, columns), cmap="gray")
    panel.set(title=title)
    panel.axis("off")
bars = axes[1, 2]
names = ("Fréchet\ndistance", "recall", "sharpness")
for index, (name, values) in enumerate(table.items()):
    shown = (values[0] / max(row[0] for row in table.values()), *values[1:])  # the distance in units of the largest
    drawn = bars.bar(np.arange(3) + 0.27 * (index - 1), shown, 0.25, label=name, color=("0.7", "tab:blue", "tab:orange")[index])
    bars.bar_label(drawn, [f"{value:.3g}" for value in values], fontsize=6)
bars.set(xticks=range(3), xticklabels=names, yticks=(), title=f"bound {bounds[f'{LATENT} dimensions']:.1f} nats")
bars.set_ylim(0, 1.4)
bars.legend(fontsize=7, ncols=3, loc="upper center")
save(fig, options)
