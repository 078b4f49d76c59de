"""A convolution is a matrix, its backward pass is the transposed matrix, and the transpose draws checkerboards.

Conv2d is y = A x with a matrix A that is mostly zeros and repeats a few weights. The gradient with respect to its input is
Aᵀ dy, which ConvTranspose2d computes in its forward pass. A generator made of transposed convolutions draws checkerboards: why,
and how to avoid them (Odena et al. 2016, https://distill.pub/2016/deconv-checkerboard/).

    python examples/03_convolution_is_a_matrix.py
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg

options = arguments(__doc__)
be = options.backend
rng = np.random.default_rng(options.seed)


def network(layers, shape, weight):
    """A network of these layers for images of this shape, the weight of the last one set to `weight`."""
    net = mg.Sequential(layers, shape, be, "float64")
    net.layers[-1].weight[...] = be.asarray(weight)
    return net


# 1. The matrix. A linear map is determined by its values at the unit vectors: column j of A is the output for the image that is
# 1 at pixel j and 0 elsewhere. All 25 of these images make one batch.
weight = np.arange(1.0, 10).reshape(3, 3, 1, 1)
conv = network([mg.Conv2d(1, 3, bias=False)], (5, 5, 1), weight)
units = np.eye(25).reshape(25, 5, 5, 1)
A = be.to_numpy(conv.forward(be.asarray(units))[0]).reshape(25, 9).T  # (9 output pixels, 25 input pixels)

x, y = rng.standard_normal((1, 5, 5, 1)), rng.standard_normal((1, 3, 3, 1))
down, caches_down = conv.forward(be.asarray(x))
transposed = network([mg.ConvTranspose2d(1, 3, bias=False)], (3, 3, 1), weight)  # the same weights, from 3 × 3 to 5 × 5
up, caches_up = transposed.forward(be.asarray(y))
claims = {
    "Conv2d forward, of x            = A x": (down, A @ x.ravel()),
    "Conv2d backward, of dy          = Aᵀ dy": (conv.backward(be.asarray(y), caches_down), A.T @ y.ravel()),
    "ConvTranspose2d forward, of y   = Aᵀ y": (up, A.T @ y.ravel()),
    "ConvTranspose2d backward, of dy = A dy": (transposed.backward(be.asarray(x), caches_up), A @ x.ravel()),
}
print(f"\nA is {A.shape[0]} × {A.shape[1]}, {np.count_nonzero(A)} of {A.size} entries are not 0, made of {weight.size} weights")
assert np.count_nonzero(A) == 9 * weight.size  # each of the 9 rows holds every weight once
for claim, (by_layer, by_matrix) in claims.items():
    error = abs(be.to_numpy(by_layer).ravel() - by_matrix).max()
    print(f"  {claim:<41} largest difference {error:.0e}")
    assert error < 1e-12

# 2. The checkerboard. With stride 2, Aᵀ places a copy of the kernel at every second pixel. The copies overlap, and unless the
# kernel size is a multiple of the stride, some pixels are covered by more copies than their neighbours and come out brighter.
# The gradient that a strided Conv2d in D sends back to G's images is such an Aᵀ dy too.
makers = {
    "transposed, k = 3": (3, lambda n: [mg.ConvTranspose2d(n, 3, stride=2, bias=False)]),
    "transposed, k = 4": (4, lambda n: [mg.ConvTranspose2d(n, 4, stride=2, bias=False)]),
    "resize, then k = 3": (3, lambda n: [mg.Upsample(2), mg.Conv2d(n, 3, bias=False)]),
}
KERNELS = 20 if options.quick else 500


def middle(name, spread):
    """The middle 6 × 6 pixels of an image of ones, enlarged by kernels of weights 1 + spread · N(0, 1): (6, 6, KERNELS)."""
    size, make = makers[name]
    noise = np.random.default_rng(options.seed).standard_normal((size, size, KERNELS))
    transposed = name.startswith("transposed")  # its weight is (k, k, out, in), that of Conv2d is (k, k, in, out)
    net = network(make(KERNELS), (6, 6, 1), np.expand_dims(1 + spread * noise, 3 if transposed else 2))
    image = be.to_numpy(net.forward(be.asarray(np.ones((1, 6, 6, 1))))[0])[0]
    cut = (image.shape[0] - 6) // 2 // 2 * 2
    return image[cut : cut + 6, cut : cut + 6]


def contrast(images):
    """Standard deviation over the pixels divided by the mean magnitude, averaged over kernels. 0 for an even image."""
    return (images.std(axis=(0, 1)) / abs(images).mean(axis=(0, 1))).mean()


spreads = np.linspace(0, 1, 11)
curves = {name: [contrast(middle(name, spread)) for spread in spreads] for name in makers}
print("\nan image of ones, enlarged: how uneven it comes out (standard deviation / mean)")
for name, curve in curves.items():
    print(f"  {name:<20} all weights equal {curve[0]:.2f}, weights 1 ± 0.5: {curve[5]:.2f}")
odd, even, resized = curves.values()
assert odd[0] > 0.4  # k = 3: 1, 2 or 4 weights reach a pixel
assert even[0] < 1e-12 < 0.1 < even[5]  # k = 4: always 4, but not the same 4: it can be even and need not be
assert max(resized) < 1e-12  # all 9 weights reach every pixel: even, whatever is learned

fig, axes = figure(2, 4, width=11, height=5, width_ratios=[2.3, 1, 1, 1])
matrix, lines = axes[0, 0], axes[1, 0]
matrix.imshow(np.where(A == 0, np.nan, A), cmap="viridis", vmin=-3, aspect="auto")
for row, column in zip(*np.nonzero(A), strict=True):
    matrix.annotate(f"{A[row, column]:.0f}", (column, row), ha="center", va="center", color="white", fontsize=7)
matrix.set_xticks(np.arange(0, 25, 5) - 0.5, [])
matrix.set_yticks(np.arange(0, 9, 3) - 0.5, [])
matrix.grid(color="0.8", linewidth=0.6)
matrix.set(xlabel="input pixels, 5 rows of 5", ylabel="output pixels, 3 rows of 3", title="$A$ for kernel weights 1 … 9")
for (name, curve), colour, *pair in zip(curves.items(), ("tab:red", "tab:orange", "tab:green"), *axes[:, 1:], strict=True):
    lines.plot(spreads, curve, color=colour, label=name)
    for panel, spread, title in zip(pair, (0, 0.5), (f"{name}\nall weights 1", "weights 1 ± 0.5"), strict=True):
        image = middle(name, spread)[..., 0]
        panel.imshow(image, cmap="Greys", vmin=0, vmax=3 * image.mean())  # brightness relative to the mean
        for row, column in np.ndindex(6, 6):
            panel.annotate(f"{image[row, column]:.2g}", (column, row), ha="center", va="center", fontsize=7)
        panel.set(xticks=[], yticks=[])
        panel.set_title(title, color=colour)
lines.set(xlabel="spread of the weights about 1", ylabel="unevenness", title="An image of ones, enlarged", ylim=(-0.02, 0.8))
lines.legend()
save(fig, options)
