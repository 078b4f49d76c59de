"""A convolutional GAN: the game of 09_dense_gan.py with networks that know what an image is.

    python examples/10_dcgan.py [--data digits|mnist|fashion-mnist|FOLDER] [--backend NAME] [--steps N] [--out FILE]

G starts from a small image with many channels, 7 × 7 × 64, and doubles its side twice with transposed convolutions; D goes the
other way with convolutions of stride 2. A weight now stands for a shape wherever it appears, not for one pixel, and digits
appear after hundreds of steps instead of thousands. BatchNorm after each layer of G keeps the scale of the activations: with
weights of 0.02 alone, z would fade from layer to layer.

Two further choices suit a game that circles (13_dirac_gan.py): Adam without momentum (β₁ = 0), since momentum carries each
network towards where the other one was, and samples from an average of G's weights (decay 0.998), which lies inside the circle.

Source: Radford, Metz and Chintala 2015 (arXiv:1511.06434), section 3; averaging: Yazıcı et al. 2019 (arXiv:1806.04498).
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.data import Batches, floats_to_pixels, load
from minigan.training.plots import grid

options = arguments(__doc__, steps=700, data="digits")
be = options.backend
data = load(options.data)  # uint8 (N, 28, 28, 1)
G, D = mg.models.dcgan(
    image_shape=data.shape, latent_dim=32, width=8 if options.quick else 32, extra_conv=True, backend=be, seed=options.seed
)
print(G)  # the table of layers
gan = mg.GAN(G, D, lr=1e-3, betas=(0.0, 0.99), ema=0.998, seed=options.seed)
train = mg.capture(gan, Batches(data, batch_size=64, backend=be, seed=options.seed))

shown = {}
for step in range(1, options.steps + 1):
    stats = train()  # a step of D, then one of G, on the next batch
    if step % 50 == 0:
        print(step, {name: round(float(value), 3) for name, value in stats.items()})
    if step in (max(1, options.steps // 7), 3 * options.steps // 7, options.steps):
        shown[f"after {step} steps"] = floats_to_pixels(gan.sample(36, seed=1))
ink = [float(np.mean(images)) for images in (shown[f"after {options.steps} steps"], data.values)]
print(f"mean brightness: generated {ink[0]:.0f}, real {ink[1]:.0f} of 255")
assert options.steps < 300 or abs(ink[0] - ink[1]) < 0.25 * ink[1]
shown[f"real: {data.name}"] = data.values[:: len(data) // 36][:36]

fig, axes = figure(1, 4, width=12, height=3.3)
for panel, (title, images) in zip(axes, shown.items(), strict=False):
    panel.imshow(grid(images), cmap="gray")
    panel.set(title=title)
    panel.axis("off")
save(fig, options)
