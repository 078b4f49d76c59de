"""The Python interface in twenty lines: a convolutional game on the bundled digits, and a grid of what it learned.

    python examples/train_digits.py [STEPS] [FILE]

200 steps take about ten seconds on two cores and bring out strokes; 2,000 make digits.
"""

import sys

import minigan as mg
from minigan.data import Batches, load
from minigan.plots import save_samples

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200
file = sys.argv[2] if len(sys.argv) > 2 else "digits.png"

digits = load("digits")  # 5,000 images, uint8 (5000, 28, 28, 1)
G, D = mg.models.dcgan(image_shape=digits.shape, latent_dim=32, width=32, refine=True)
print(G)  # the table of layers
gan = mg.GAN(G, D, lr=1e-3, betas=(0.0, 0.99), ema=0.998)
batches = Batches(digits, batch_size=64, backend=gan.backend)

for step in range(1, steps + 1):
    stats = gan.step(batches.next())  # one step of D, one of G; every gradient by hand
    if step % 50 == 0:
        print(step, {name: round(float(value), 3) for name, value in stats.items()})

save_samples(file, gan.sample(64, seed=1))
print(f"64 samples in {file}")
