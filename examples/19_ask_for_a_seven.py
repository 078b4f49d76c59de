"""Ask for a seven: a game in which G is told which digit to draw, and D judges whether it is one.

    python examples/19_ask_for_a_seven.py [--backend NAME] [--steps N] [--out FILE]

The GAN of lesson 10 draws digits, but not the one that you want. Two changes make it a conditional game:
    G      takes the label beside the noise, x̃ = G([z, y]), y a one-hot row. Its first layer then is W_z z + W_y y: a row of
           weights for each class, added to what z says
    D      puts out 1 + K numbers o in place of one, and what it is asked is s(x, y) = o_0 + o_{1+y}: o_0 for "is this a digit
           at all?", o_{1+y} for "is it a y?". With t = [1, y] that is s = ⟨o, t⟩, so the gradient is ∂L/∂o = ∂L/∂s · t: the
           numbers of the other classes get none
The loss stays as it is. Real images come with their labels, and generated ones with those that were asked for, so D can tell a
real seven from a drawn three that was to be a seven, however well it is drawn; and G learns to draw what it was asked for.

The left picture has one z in each column, so that a column is one hand writing all ten digits. On the right, two shares over
the steps: of samples that a classifier, which saw none of this game, takes for the digit that was asked for; and of real digits
to which D gives its best score under the right label (in the middle, those scores when most are right). D first learns which
digit is which, for that tells real from drawn. Once G's sevens are sevens, it no longer does: D is asked about the two that it
sees, real and drawn, each with its own label, and forgets what it would say of a wrong one. A D that ought to classify as well
needs a loss of its own for that.

Source: Mirza and Osindero 2014 (arXiv:1411.1784); D: Miyato and Koyama 2018 (arXiv:1802.05637), the projection discriminator.
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.data import Batches, floats_to_pixels, load
from minigan.metrics.digits import recognised_digits
from minigan.training.plots import grid

options = arguments(__doc__, steps=500)
be, K, HANDS, PER_CLASS = options.backend, 10, 8, 10 if options.quick else 100

# -- the score, and its gradient beside differences ----------------------------------------------------------------------------

rng = np.random.default_rng(options.seed)
o, y, ds, h = rng.standard_normal((3, 1 + K)), np.eye(K)[[7, 1, 7]], rng.standard_normal((3, 1)), 1e-6
score = mg.losses.Score(mg.get_backend("textbook"), y)
do = score.backward(ds)
nudged = np.zeros_like(do)
for place in np.ndindex(*o.shape):
    step = np.zeros_like(o)
    step[place] = h
    nudged[place] = ((score.value(o + step) - score.value(o - step)) * ds).sum() / (2 * h)
print(f"s = ⟨o, [1, y]⟩: {np.count_nonzero(do[0])} of {1 + K} outputs of D get a gradient, error {abs(do - nudged).max():.0e}")
assert np.allclose(do, nudged, atol=1e-8)

# -- the game -------------------------------------------------------------------------------------------------------------

digits = load("digits", labels=True)  # uint8 (5000, 28, 28, 1), and the label of each
G, D = mg.models.dcgan(
    image_shape=digits.shape,
    latent_dim=32,
    width=8 if options.quick else 32,
    extra_conv=True,
    classes=K,
    backend=be,
    seed=options.seed,
)
print(f"G takes {G.input_shape[0]} numbers, {K} of them the label; D puts out {D.output_shape[0]}")
gan = mg.GAN(G, D, classes=K, lr=1e-3, betas=(0.0, 0.99), ema=0.998, seed=options.seed)
train = mg.capture(gan, Batches(digits, batch_size=64, backend=be, seed=options.seed, classes=True))


def recognised(seed):
    """(K,): of the samples of which each class was asked for, the share that the classifier takes for it."""
    asked = np.repeat(np.arange(K), PER_CLASS)
    seen = recognised_digits(floats_to_pixels(gan.sample(len(asked), seed, asked)))
    return (seen == asked).reshape(K, PER_CLASS).mean(axis=1)


some = np.arange(0, len(digits), 10)
real = be.asarray(digits.values[some] / 127.5 - 1, "float32")


def judged():
    """(share of real digits whose best score is under the right label, the mean score of each digit under each label)."""
    outputs = be.to_numpy(D.forward(real)[0])
    scores, labels = outputs[:, :1] + outputs[:, 1:], digits.labels[some]  # s(x, y) for every y
    means = np.stack([scores[labels == digit].mean(axis=0) for digit in range(K)])
    return float((scores.argmax(axis=1) == labels).mean()), means


marks = {}  # step: (share of samples, share of real digits, mean scores)
for step in range(1, options.steps + 1):
    stats = train()
    if step % max(1, options.steps // (2 if options.quick else 20)) == 0:
        marks[step] = (float(recognised(1).mean()), *judged())
        told = ", ".join(f"{name} {float(value):.2f}" for name, value in stats.items())
        print(f"step {step}: {told}; G draws what was asked for: {marks[step][0]:.0%}; D knows the label: {marks[step][1]:.0%}")

# -- what was learned ----------------------------------------------------------------------------------------------------------

z = gan.latent(HANDS, seed=2)
asked = np.repeat(np.arange(K), HANDS)
drawn = floats_to_pixels(gan.decode(np.tile(z, (K, 1)), asked))  # a row for each digit, a column for each z

shares, best = recognised(3), max(marks, key=lambda step: marks[step][1])
worst = int(shares.argmin())
print(f"of {PER_CLASS} samples a digit, {shares.mean():.1%} are what was asked for; of the {worst} {shares[worst]:.0%}")
print(f"D gave {marks[best][1]:.0%} of real digits their best score under the right label after {best} steps")
assert options.steps < 500 or shares.mean() > 0.9

fig, axes = figure(1, 3, width=13.0, height=4.2, gridspec_kw={"width_ratios": (1, 1.1, 1)})
axes[0].imshow(grid(drawn, columns=HANDS), cmap="gray")
axes[0].set(title="asked for 0 to 9, one z in each column")
axes[0].axis("off")
heat = axes[1].imshow(marks[best][2], cmap="viridis")
axes[1].set(
    title=f"D's mean score s(x, y) after {best} steps",
    xlabel="label y",
    ylabel="digit in the real image x",
    xticks=range(K),
    yticks=range(K),
)
fig.colorbar(heat, ax=axes[1], shrink=0.85)
for place, told in enumerate(
    ("G: samples recognised as what was asked for", "D: real digits with the best score at their label")
):
    axes[2].plot(list(marks), [100 * mark[place] for mark in marks.values()], ".-", label=told)
axes[2].axhline(10, color="0.6", linestyle=":", label="by chance")
axes[2].set(title="who knows the digits, %", xlabel="step", ylim=(0, 135), yticks=range(0, 101, 20))
axes[2].legend(loc="upper left")
save(fig, options)
