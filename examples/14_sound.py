"""A GAN that learns a sound: short plucked tones of 256 numbers each, written to a file and compared by their spectra.

    python examples/14_sound.py [--backend NAME] [--steps N] [--out FILE]     writes FILE and, beside it, FILE's name with .wav

The tones are synthetic, the dataset "tones": three harmonics of a random pitch between 220 and 440 Hz, decaying at a random
rate. The networks are the model "wave", after WaveGAN: the convolutions of images in one dimension, with kernels of 25 values
and strides of 4, for a wave repeats itself over many values.

The tones fill a surface of only two dimensions in the 256-dimensional space of waveforms, which is hard for a GAN: a
well-trained D separates it from any G with certainty, and away from the surface the slope of its logit says little. The
penalties R1 and R2 keep that slope small at real and at generated tones (13_dirac_gan.py shows what R1 does to one parameter),
and the relativistic loss compares each generated tone with a real one. What G has left to learn longest is silence: every
hiss that its convolutions leave is heard there.

Measured on 2,000 held-out tones: the mean power spectra, the share of the power at wrong frequencies (half the sum of |p − q|
over both spectra, each normalised to 1), and the Fréchet distance of log-spectra, in which a hiss counts as the ear counts it;
and the same between two sets of real tones, which is the best that can be expected.

Sources: Donahue et al. 2019 (arXiv:1802.04208), "WaveGAN"; Huang et al. 2024 (arXiv:2501.05441), for the loss.
"""

import numpy as np
from course import arguments, figure, save, show

import minigan as mg
from minigan.data import Batches, load
from minigan.data.kinds import floats_to_steps, steps_to_floats
from minigan.data.synthetic import TONE_LENGTH, TONE_RATE, tones
from minigan.data.wav import wav_bytes
from minigan.files import write_atomically
from minigan.metrics import frechet, log_spectra

SCALE = 4096  # of the padded Fourier transform that finds a pitch


def spectrum(x):
    """Mean power of tones x (N, T, 1) at the frequencies 0 … TONE_RATE/2."""
    return (np.abs(np.fft.rfft(x[..., 0], axis=1)) ** 2).mean(axis=0)


def misplaced(x, y):
    """The share of the power of x that lies at other frequencies than in y."""
    p, q = spectrum(x), spectrum(y)
    return 0.5 * np.abs(p / p.sum() - q / q.sum()).sum()


def compared(x, y):
    """Both measures of tones x against y, in words."""
    return f"{misplaced(x, y):.1%} of the power at wrong frequencies, Fréchet {frechet(log_spectra(y), log_spectra(x)):.1f}"


options = arguments(__doc__, steps=1200)
be = options.backend
data = load("tones")
held_out, others = (steps_to_floats(np, tones(count=2000, seed=n)) for n in (1, 2))
G, D = mg.models.wave(data.shape, latent_dim=100, width=16, backend=be, seed=options.seed)
penalties = [mg.losses.R1(0.1), mg.losses.R2(0.1)]
rates = {"lr": 1e-3, "betas": (0.0, 0.99), "ema": 0.998}
gan = mg.GAN(G, D, objective=mg.losses.Relativistic(), penalties=penalties, **rates, seed=options.seed)
step = mg.capture(gan, Batches(data, batch_size=64, backend=be, seed=options.seed))
for done in range(options.steps + 1):
    if done % max(1, options.steps // 5) == 0:
        print(f"step {done:>5}: {compared(gan.sample(2000, seed=1), held_out)}")
    if done < options.steps:
        step()
print(f"two sets of real tones: {compared(others, held_out)}")

made = gan.sample(2000, seed=1)
assert options.steps < 1000 or misplaced(made, held_out) < 0.3
fig, axes = figure(2, 2, width=9.5, height=6)
time = 1000 * np.arange(TONE_LENGTH) / TONE_RATE
for panel, x, title in ((axes[0, 0], held_out, "real tones"), (axes[0, 1], made, "generated tones")):
    for row in range(5):
        panel.plot(time, x[row, :, 0] - 2 * row, color="tab:orange" if x is made else "tab:blue", linewidth=0.9)
    panel.set(title=title, xlabel="time (ms)", yticks=[])
frequency = np.fft.rfftfreq(TONE_LENGTH, 1 / TONE_RATE)
for x, label in ((held_out, "real"), (made, "generated")):
    axes[1, 0].plot(frequency, 10 * np.log10(spectrum(x) + 1e-9), label=label)
    pitch = np.abs(np.fft.rfft(x[..., 0], SCALE)).argmax(axis=1) * TONE_RATE / SCALE
    axes[1, 1].hist(pitch, bins=np.linspace(200, 480, 29), histtype="step", label=label)
axes[1, 0].set(
    title=f"mean spectra: {misplaced(made, held_out):.1%} of the power misplaced", xlabel="frequency (Hz)", ylabel="power (dB)"
)
axes[1, 1].set(title="strongest frequency of each of 2,000 tones", xlabel="frequency (Hz)", ylabel="tones")
for panel in axes[1]:
    panel.legend()
save(fig, options)
sound = options.out.with_suffix(".wav")
write_atomically(sound, wav_bytes(floats_to_steps(np.concatenate([held_out[:16], made[:16]])), TONE_RATE))
print(f"sound: {sound}, 16 real tones and then 16 generated ones")
show(sound)
