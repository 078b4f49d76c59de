"""A classifier of digits from the same layers that GANs are made of.

Nothing about a convolutional network is particular to GANs: with another loss, a discriminator tells ten digits apart. This is
the loop of supervised training, with the softmax and its gradient p − y, images held out for testing, and a confusion matrix.
More than 95 % of the held-out images are classified correctly.

    python examples/07_digit_classifier.py
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.data import load, pixels_to_floats

EPOCHS, BATCH, HELD_OUT = 20, 64, 1000
digits = load("digits")
PER_EPOCH = (len(digits) - HELD_OUT) // BATCH
options = arguments(__doc__, steps=EPOCHS * PER_EPOCH)
be = options.backend

# The digits are sorted by class, so shuffle them first. The held-out images are never trained on: a network can memorise its
# training images and still be useless.
order = np.random.default_rng(options.seed).permutation(len(digits))
images = be.asarray(pixels_to_floats(np, digits.values[order]), "float32")  # (5000, 28, 28, 1) in [−1, 1]
labels = be.asarray(digits.labels[order], "int64")
test_images, test_labels, images, labels = images[:HELD_OUT], labels[:HELD_OUT], images[HELD_OUT:], labels[HELD_OUT:]

# A DCGAN's discriminator with another last layer: ten logits in place of one.
layers = [mg.Conv2d(32, 4, stride=2, padding=1), mg.LeakyReLU(0.2)]
layers += [mg.Conv2d(64, 4, stride=2, padding=1, bias=False), mg.BatchNorm(), mg.LeakyReLU(0.2)]
net = mg.Sequential([*layers, mg.Flatten(), mg.Dropout(0.5), mg.Dense(10)], digits.shape, be, seed=options.seed)
print(net)
optimizer = mg.Adam(mg.optim.cosine(2e-3, options.steps), betas=(0.9, 0.999))


def examine():
    """(loss, classes) of the held-out images; without train=True Dropout is off and BatchNorm uses its running averages."""
    s, _ = net.forward(test_images)
    return float(mg.losses.softmax_cross_entropy(s, test_labels)[0]), s.argmax(axis=1)


losses, tests = [], []
rng = np.random.default_rng(options.seed)
for step in range(options.steps):
    if step % PER_EPOCH == 0:  # a new epoch sees all images once, in a new order
        order = be.asarray(rng.permutation(len(images)))
    chosen = order[step % PER_EPOCH * BATCH :][:BATCH]
    shift = tuple(rng.integers(-2, 3, 2).tolist())  # a digit moved by two pixels is the same digit: this augments the data
    moved = be.xp.roll(images[chosen], shift, axis=(1, 2))
    s, caches = net.forward(moved, train=True)
    # L = −log p of the right class, with p = softmax(s); ∂L/∂s = p − y, where y is 1 for the right class and 0 for the others.
    loss, ds = mg.losses.softmax_cross_entropy(s, labels[chosen])
    net.backward(ds, caches, grads=net.grads, input_grad=False)
    optimizer.update(net)
    losses.append(loss)  # a 0-d array on the device, read only at the end
    if (step + 1) % PER_EPOCH == 0 or step + 1 == options.steps:
        test_loss, predicted = examine()
        accuracy = float((predicted == test_labels).mean())
        tests.append((step + 1, test_loss, accuracy))
        print(f"step {step + 1:4d}: {accuracy:.1%} of {HELD_OUT:,} held-out digits correct, loss {test_loss:.3f}")

losses = [float(loss) for loss in losses]
assert abs(losses[0] - np.log(10)) < 2  # without knowledge every class gets about 1/10, and the loss is log 10
if options.steps >= PER_EPOCH:  # one epoch is enough for half of them
    assert accuracy > (0.95 if options.steps >= EPOCHS * PER_EPOCH else 0.5)

truth, predicted = be.to_numpy(test_labels), be.to_numpy(predicted)
confusion = np.zeros((10, 10), int)
np.add.at(confusion, (truth, predicted), 1)
assert confusion.trace() == round(accuracy * HELD_OUT)
wrong = np.flatnonzero(truth != predicted)
print(f"{len(wrong)} of {HELD_OUT:,} wrong; most often wrong: {np.bincount(truth[wrong], minlength=10).argmax()}")

fig, (left, middle, right) = figure(1, 3, width=11.5, height=3.9)
steps, test_losses, _ = zip(*tests, strict=True)
# The grey curve is higher because Dropout and the shifts make the training batches harder than the held-out digits.
left.semilogy(range(1, len(losses) + 1), losses, color="0.75", linewidth=0.8, label="each training batch")
left.semilogy(steps, test_losses, "o-", color="tab:red", markersize=3, label="held-out digits")
left.axhline(np.log(10), color="0.5", linestyle=":", label="log 10: guessing")
left.set(xlabel="step", ylabel="cross-entropy (nats)", title=f"Learning: {accuracy:.1%} of held-out digits correct")
left.legend(fontsize=8)
middle.imshow(confusion, cmap="Blues", norm="symlog")  # a linear scale would hide single mistakes
for i, j in zip(*np.nonzero(confusion), strict=True):
    middle.annotate(confusion[i, j], (j, i), ha="center", va="center", fontsize=7, color="white" if i == j else "black")
middle.set(xlabel="predicted", ylabel="digit", xticks=range(10), yticks=range(10), title="Confusion matrix")
right.set(xlim=(0, 5), ylim=(4, 0), aspect=1.2, title="Mistakes: digit → prediction")
right.axis("off")
for place, index in enumerate(wrong[:20]):
    row, column = divmod(place, 5)
    picture = be.to_numpy(test_images[int(index)])[..., 0]
    right.imshow(picture, cmap="Greys", extent=(column + 0.08, column + 0.92, row + 0.98, row + 0.28), aspect="auto")
    right.annotate(f"{truth[index]} → {predicted[index]}", (column + 0.5, row + 0.14), ha="center", va="center", fontsize=8)
save(fig, options)
