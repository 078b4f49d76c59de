"""A GAN that learns a sound: short plucked tones of 256 numbers each, written to a file and compared by their spectra.

    python examples/14_sound.py [--backend NAME] [--steps N] [--out FILE]     writes FILE and, beside it, FILE's name with .wav

The tones are synthetic: three harmonics of a random pitch between 220 and 440 Hz, decaying at a random rate. They fill a
surface of only two dimensions in the 256-dimensional space of waveforms, which is hard for a GAN: a well-trained D separates
it from any G with certainty, and away from the surface the slope of its logit says little. So D receives everything, real and
generated, with noise added, by a small layer of its own below. The noise blurs the surface, D can no longer be certain, and
its gradient leads to where the data are densest (13_dirac_gan.py shows what the same noise does to one parameter). With
NOISE = 0 the spectra disagree.

Measured on 2,000 held-out tones: the mean power spectra, the share of the power at wrong frequencies (half the sum of |p − q|
over both spectra, each normalised to 1), and the same between two sets of real tones, which is the best that can be expected.

Source of the noise: Sønderby et al. 2017 (arXiv:1610.04490), "instance noise". Waveforms from GANs: Donahue et al. 2019
(arXiv:1802.04208).
"""

import io
import wave

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.data import Batches, Dataset
from minigan.files import write_atomically

RATE, LENGTH, NOISE = 4000, 256, 0.3  # samples a second, samples in a tone, standard deviation of D's noise
SCALE = 4096  # of the padded Fourier transform that finds a pitch


class Noise(mg.Layer):
    """y = x + σ n with n ~ N(0, 1) in training, y = x at inference. Backward: dx = dy."""

    random = True  # the network gives this layer its own stream of random numbers, self.rng

    def __init__(self, sigma):
        super().__init__(sigma=sigma)
        self.sigma = sigma

    def forward(self, x, train=False):
        return (x + self.sigma * self.rng.normal(x.shape, x.dtype) if train else x), None

    def backward(self, dy, cache, grads=None, input_grad=True):
        return dy if input_grad else None


def tones(n, rng):
    """Σ_k 0.6^(k−1) sin(2πkft) e^(−√k t/τ) for k = 1, 2, 3, scaled to a peak of 0.9: float32 (n, LENGTH)."""
    pitch, fade = 220 * 2 ** rng.random((n, 1)), rng.uniform(0.01, 0.04, (n, 1))
    t = np.arange(LENGTH) / RATE
    x = sum(0.6 ** (k - 1) * np.sin(2 * np.pi * k * pitch * t) * np.exp(-np.sqrt(k) * t / fade) for k in (1, 2, 3))
    return (0.9 * x / np.abs(x).max(axis=1, keepdims=True)).astype(np.float32)


def spectrum(x):
    """Mean power of tones x (N, LENGTH) at the frequencies 0 … RATE/2."""
    return (np.abs(np.fft.rfft(x, axis=1)) ** 2).mean(axis=0)


def misplaced(x, y):
    """The share of the power of x that lies at other frequencies than in y."""
    p, q = spectrum(x), spectrum(y)
    return 0.5 * np.abs(p / p.sum() - q / q.sum()).sum()


def write_wav(path, x):
    """Write tones (N, LENGTH) one after the other as 16-bit sound, each followed by a silence of the same length."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(32767 * np.pad(x, ((0, 0), (0, LENGTH)))).astype("<i2").tobytes())
    write_atomically(path, buffer.getvalue())
    print(f"sound: {path}, {len(x) * 2 * LENGTH / RATE:.1f} s")


def hidden(units):
    return [mg.Dense(units), mg.BatchNorm(), mg.ReLU()]


options = arguments(__doc__, steps=5000)
be = options.backend
train_set = Dataset("tones", tones(20_000, np.random.default_rng([options.seed, 0])))
held_out, others = (tones(2000, np.random.default_rng([options.seed, n])) for n in (1, 2))
layers = [Noise(NOISE), mg.Dense(256), mg.LeakyReLU(0.2), mg.Dense(256), mg.LeakyReLU(0.2), mg.Dense(1)]
G = mg.Sequential([*hidden(256), *hidden(256), mg.Dense(LENGTH), mg.Tanh()], (16,), be, seed=(options.seed, 0))
D = mg.Sequential(layers, (LENGTH,), be, seed=(options.seed, 1))
gan = mg.GAN(G, D, lr=1e-3, betas=(0.0, 0.99), ema=0.998, seed=options.seed)
batches = Batches(train_set, batch_size=64, backend=be, seed=options.seed)
for step in range(options.steps + 1):
    if step % max(1, options.steps // 5) == 0:
        print(f"step {step:>5}: {misplaced(gan.sample(2000, seed=1), held_out):.1%} of the power at wrong frequencies")
    if step < options.steps:
        gan.step(batches.next())
print(f"two sets of real tones: {misplaced(others, held_out):.1%}")

made = gan.sample(2000, seed=1)
assert options.steps < 2000 or misplaced(made, held_out) < 0.1
fig, axes = figure(2, 2, width=9.5, height=6)
time = 1000 * np.arange(LENGTH) / RATE
for panel, x, title in ((axes[0, 0], held_out, "real tones"), (axes[0, 1], made, "generated tones")):
    for row in range(5):
        panel.plot(time, x[row] - 2 * row, color="tab:orange" if x is made else "tab:blue", linewidth=0.9)
    panel.set(title=title, xlabel="time (ms)", yticks=[])
frequency = np.fft.rfftfreq(LENGTH, 1 / RATE)
for x, label in ((held_out, "real"), (made, "generated")):
    axes[1, 0].plot(frequency, 10 * np.log10(spectrum(x) + 1e-9), label=label)
    pitch = np.abs(np.fft.rfft(x, SCALE)).argmax(axis=1) * RATE / SCALE
    axes[1, 1].hist(pitch, bins=np.linspace(200, 480, 29), histtype="step", label=label)
axes[1, 0].set(
    title=f"mean spectra: {misplaced(made, held_out):.1%} of the power misplaced", xlabel="frequency (Hz)", ylabel="power (dB)"
)
axes[1, 1].set(title="strongest frequency of each of 2,000 tones", xlabel="frequency (Hz)", ylabel="tones")
for panel in axes[1]:
    panel.legend()
save(fig, options)
write_wav(options.out.with_suffix(".wav"), np.concatenate([held_out[:16], made[:16]]))
