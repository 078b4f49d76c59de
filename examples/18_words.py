"""A GAN that spells: first names, letter by letter, measured by how often letters and runs of letters occur.

    python examples/18_words.py [--backend NAME] [--steps N] [--seed N] [--out FILE]

A name is a row of 12 places, each with a 1 at its letter, or at the sign for the end. G ends in a Softmax at each place: it
cannot choose a letter, only spread a certainty of 1 over all of them, and D sees soft letters beside hard ones. Reading takes
the likeliest. This is what makes a GAN on words possible at all: a choice has no gradient, and a share has one,

    dx_k = y_k (dy_k − Σ_j y_j dy_j).

It also makes it hard. D tells soft letters from hard ones, so G must become certain; and where G is certain that a letter does
not occur, y_k = 0 and dx_k = 0: whatever D thinks of that letter, G hears nothing of it. The letter is dead, until something
else revives it. Both games here are the same but for noise on all that D sees. With it, soft and hard letters look alike, G may
stay in doubt for longer, and the letters soon occur about as often as they should; the four rarest die even so.

Measured on 500 names that neither game is trained on: the Jensen–Shannon divergence, in bits, of runs of 1, 2 and 3 letters;
the same of 500 real names, which is the best that can be expected; and the share of samples that stand in the training data.

Source: Gulrajani et al. 2017 (arXiv:1704.00028), section 5.4.
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.data import Batches, load
from minigan.metrics.texts import TextReference

NOISE = 0.3
RARE = 0.1  # a letter is dead that occurs less than this share as often as in the data


def shares(values, letters):
    """How often each letter occurs, of all letters: (letters,)."""
    counts = np.bincount(values.ravel(), minlength=letters + 1)[1:]
    return counts / counts.sum()


options = arguments(__doc__, steps=700)
names = load("names")
alphabet, reference = names.kind.alphabet, TextReference(names, names.held_out)
real = shares(names.values, len(alphabet))
rng = np.random.default_rng(options.seed)
floor = reference.quick(others := names.values[rng.permutation(len(names))[: len(names.held_out)]], others)
print(
    f"{len(names):,} names; 500 others of them have a JSD of {floor['jsd_1']:.3f}, {floor['jsd_2']:.3f}, {floor['jsd_3']:.3f}"
)

# The gradient of a Softmax, at a letter that G is sure not to want: what reaches its score, whatever D says of it.
softmax = mg.Sequential([mg.Softmax()], (3,), "textbook", "float64")
y, caches = softmax.forward(np.array([[4.0, 2.0, -16.0]]))
(dx,) = softmax.backward(np.array([[0.0, 0.0, -1.0]]), caches)
print(f"y = {y[0, 0]:.3f}, {y[0, 1]:.3f}, {y[0, 2]:.0e}: D wants the third letter, and its score gets {dx[2]:.0e}")
assert abs(dx[2]) < 1e-8

found = {}
for noise in (None, NOISE):
    G, D = mg.models.text(names.shape, latent_dim=32, width=32, backend=options.backend, seed=options.seed)
    gan = mg.GAN(
        *(G, D),
        objective=mg.losses.Relativistic(),
        penalties=[mg.losses.R1(0.1), mg.losses.R2(0.1)],
        penalty_every=4,
        instance_noise=noise,
        lr=2e-3,
        betas=(0.0, 0.9),
        ema=0.99,
        seed=options.seed,
    )
    run = mg.capture(gan, Batches(names, 64, options.backend, seed=options.seed))
    curve = []
    for step in range(options.steps + 1):
        if step % max(1, options.steps // 10) == 0:
            values = names.kind.from_floats(gan.sample(len(names.held_out), seed=1))
            curve.append((step, *(reference.quick(values, values)[f"jsd_{n}"] for n in (1, 2, 3))))
        if step < options.steps:
            run()
    own, measured = shares(values, len(alphabet)), reference.all(values, values)
    dead = "".join(letter for letter, r, o in zip(alphabet, real, own, strict=True) if o < RARE * r)
    found[noise] = np.array(curve), own, dead, measured
    print(f"\nnoise {noise or 0:g}, {options.steps} steps: JSD {curve[-1][1]:.3f}, {curve[-1][2]:.3f}, {curve[-1][3]:.3f}")
    print(f"dead letters: {dead or 'none'}; {measured['copied']:.1%} of the samples stand in the training data")
    print(", ".join(lines := names.kind.lines(values[:12])))

(plain, _, dead_plain, _), (with_noise, own, dead_noise, measured) = found.values()
assert options.steps < 500 or (len(dead_noise) < len(dead_plain) and with_noise[2, 1] < plain[2, 1] / 2)

fig, axes = figure(1, 3, width=11, height=3.6, width_ratios=(1.2, 1.5, 0.5))
for n, colour in ((1, "tab:blue"), (2, "tab:orange"), (3, "tab:green")):
    axes[0].plot(plain[:, 0], plain[:, n], color=colour, linestyle="--", label=f"{n} letter{'s' if n > 1 else ''}")
    axes[0].plot(with_noise[:, 0], with_noise[:, n], color=colour)
    axes[0].axhline(floor[f"jsd_{n}"], color=colour, linestyle=":", linewidth=1)
axes[0].set(title="JSD: with noise, without (- -), real names (···)", xlabel="step", ylabel="bits", yscale="log")
axes[0].legend()
places = np.arange(len(alphabet))
axes[1].bar(places, 100 * real, color="0.8", label="real names")
for noise, marker, colour in ((None, "x", "tab:red"), (NOISE, "o", "tab:blue")):
    axes[1].plot(places, 100 * found[noise][1], marker, color=colour, ms=5, mfc="none", label=f"noise {noise or 0:g}")
axes[1].set(title="how often each letter occurs (%)", xticks=places, xticklabels=list(alphabet))
axes[1].legend()
axes[2].text(0, 1, "\n".join(lines), va="top", family="monospace", transform=axes[2].transAxes)
axes[2].set_title("samples, with noise", loc="left")
axes[2].axis("off")
save(fig, options)
