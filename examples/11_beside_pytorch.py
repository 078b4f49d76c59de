"""The same step in PyTorch: autograd finds the gradients that minigan's layers spell out.

    python examples/11_beside_pytorch.py [--backend NAME] [--out FILE]     needs PyTorch: pip install torch

Both start from the reference DCGAN (see minigan.models.dcgan) with the same weights, and take one step on the same images and
noise. The PyTorch side is written as functions of the same parameters, whose axes are permuted inside the graph, so that the
gradients have minigan's shapes and can be compared entry by entry. Adam updates D before G's turn, so if D's gradients or Adam
differed, G's gradients would too.

In float64 only rounding remains, about 1e-15. In float32 it is about 1e-6: sums in another order, and convolutions with fewer
multiplications where the numpy backend chooses them. The third column has a planted fault: BatchNorm's backward without its
mean term. Going back from the loss, everything agrees up to D's BatchNorm and nothing agrees below it: that locates the fault.
"""

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.data import Batches, load
from minigan.errors import MiniganError
from minigan.layers import norm

options = arguments(__doc__)
be, N = options.backend, 4 if options.quick else 32
try:
    import torch
except ImportError:
    raise MiniganError("this example needs PyTorch, which is not installed: pip install torch") from None
F = torch.nn.functional


def permuted(w):
    """A weight (KH, KW, C, F) as PyTorch's (F, C, KH, KW), and a transposed convolution's (KH, KW, F, C) as (C, F, KH, KW)."""
    return w.permute(3, 2, 0, 1)


def batch_norm(x, w, layer):
    """BatchNorm with the statistics of the batch; axes NCHW."""
    return F.batch_norm(x, None, None, w[f"{layer}.gamma"], w[f"{layer}.beta"], training=True, eps=1e-5)


def torch_generator(w, z):
    x = (z @ w["0.weight"]).reshape(len(z), 7, 7, -1).permute(0, 3, 1, 2)
    x = F.conv_transpose2d(F.relu(batch_norm(x, w, 2)), permuted(w["4.weight"]), stride=2, padding=1)
    x = F.conv_transpose2d(F.relu(batch_norm(x, w, 5)), permuted(w["7.weight"]), w["7.bias"], stride=2, padding=1)
    return torch.tanh(x).permute(0, 2, 3, 1)


def torch_discriminator(w, x):
    x = F.conv2d(x.permute(0, 3, 1, 2), permuted(w["0.weight"]), w["0.bias"], stride=2, padding=1)
    x = batch_norm(F.conv2d(F.leaky_relu(x, 0.2), permuted(w["2.weight"]), stride=2, padding=1), w, 3)
    return F.leaky_relu(x, 0.2).permute(0, 2, 3, 1).flatten(1) @ w["6.weight"] + w["6.bias"]


def both_steps(dtype):
    """One step on both sides: {parameter: (minigan's gradient, PyTorch's)}, of D's step and of G's step."""
    G, D = mg.models.dcgan(width=8 if options.quick else 64, backend=be, dtype=dtype, seed=options.seed)
    gan = mg.GAN(G, D)
    real = Batches(load("digits"), batch_size=N, backend=be, dtype=dtype, seed=options.seed).next()
    z = be.asarray(np.random.default_rng(options.seed).standard_normal((N, 100)), dtype)
    g, d = ({name: torch.tensor(value, requires_grad=True) for name, value in net.state_dict().items()} for net in (G, D))
    g, d = ({k: w for k, w in weights.items() if "running" not in k} for weights in (g, d))
    images, latent = torch.tensor(be.to_numpy(real)), torch.tensor(be.to_numpy(z))

    gan.step(real, z)  # D.grads and G.grads then hold the gradients of the step

    adam = torch.optim.Adam(d.values(), lr=2e-4, betas=(0.5, 0.999))
    fake = torch_generator(g, latent)
    loss_d = F.softplus(-torch_discriminator(d, images)).mean() + F.softplus(torch_discriminator(d, fake.detach())).mean()
    loss_d.backward()
    adam.step()
    grads_d = {name: w.grad.numpy().copy() for name, w in d.items()}
    F.softplus(-torch_discriminator(d, fake)).mean().backward()
    ours = {f"{side} {name}": be.to_numpy(a) for side, net in (("D", D), ("G", G)) for name, a in net.grads.items()}
    theirs = {**{f"D {k}": a for k, a in grads_d.items()}, **{f"G {k}": w.grad.numpy() for k, w in g.items()}}
    return {name: (ours[name], theirs[name]) for name in ours}


def without_mean_term(xp, dy, x, mean, inv_std, scale, mean_dy, mean_dyx):
    """norm.batch_norm_grad without −⟨dy⟩."""
    return scale * (dy - norm.normalize(xp, x, mean, inv_std) * mean_dyx)


columns = {"float64": "float64", "float32": "float32", "float64, a term dropped": "float64"}
differences = {}
for title, dtype in columns.items():
    if title != dtype:
        norm.batch_norm_grad = without_mean_term
    for name, (ours, theirs) in both_steps(dtype).items():
        differences.setdefault(name, []).append(np.abs(ours - theirs).max() / np.abs(theirs).max())

for name, (double, single, faulty) in differences.items():
    assert double < 1e-10
    assert single < 1e-2
    assert (faulty < 1e-10) == name.startswith(("D 3.", "D 6."))  # D's BatchNorm and the layer above it

print("\nlargest |minigan − PyTorch| / largest |PyTorch|")
print(f"{'gradient of':<12}" + "".join(f"{title:>26}" for title in columns))
for name, row in differences.items():
    print(f"{name:<12}" + "".join(f"{value:>26.1e}" for value in row))
fig, axes = figure(1, 1, width=8, height=4)
rows = np.arange(len(differences))
for column, (title, style) in enumerate(zip(columns, ("C0o", "C1o", "kx"), strict=True)):
    axes.plot(np.maximum([row[column] for row in differences.values()], 1e-16), rows, style, label=title)
for dtype, colour in (("float64", "C0"), ("float32", "C1")):
    axes.axvline(np.finfo(dtype).eps, color=colour, linestyle=":", linewidth=1, label=f"one rounding, {dtype}")
axes.set(xscale="log", xlim=(5e-17, 10), xlabel="largest difference, relative to the largest gradient of the array")
axes.set_yticks(rows, differences)
axes.invert_yaxis()
axes.grid(axis="y", alpha=0.3)
axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
save(fig, options)
