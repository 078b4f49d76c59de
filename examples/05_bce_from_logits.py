"""Binary cross-entropy from logits, and what breaks when the sigmoid is a layer of its own.

Why a discriminator ends in a logit s and not in a probability D = σ(s): beyond a certain s, −log σ(s) computed literally is
infinite and its gradient NaN. The program finds that s in float32 and float64, shows that rounding spoils the loss long before,
and that clipping D, the usual remedy, removes the gradient exactly where it is needed.

    python examples/05_bce_from_logits.py
"""

import math

import numpy as np
from course import arguments, figure, save

import minigan as mg
from minigan.layers.elementwise import sigmoid, softplus

options = arguments(__doc__)
be, xp = options.backend, options.backend.xp


def by_the_chain(s, t, clip=0.0):
    """L = −t log D − (1 − t) log(1 − D) with D = σ(s), and ∂L/∂s = ∂L/∂D · ∂D/∂s: each factor as written."""
    D = 1 / (1 + xp.exp(-s))
    slope = D * (1 - D)  # ∂D/∂s
    if clip:
        slope = slope * ((clip < D) & (1 - clip > D))  # a clipped value does not move
        D = xp.clip(D, clip, 1 - clip)
    if t == 1:
        return -xp.log(D), -1 / D * slope
    return -xp.log(1 - D), 1 / (1 - D) * slope


def from_logits(s, t):
    """The terms of mg.losses.bce_with_logits: L = ζ(s) − t s, ζ(s) = log(1 + e^s), and ∂L/∂s = σ(s) − t. None can overflow."""
    return softplus(xp, s) - t * s, sigmoid(xp, s) - t


def breaking_point(t, dtype):
    """The |s| up to which the chain's gradient is finite when D is wrong: s → −∞ for t = 1, s → +∞ for t = 0.

    Found by bisection, down to neighbouring numbers.
    """
    good, bad = 1.0, 2000.0
    while True:
        middle = float(np.dtype(dtype).type((good + bad) / 2))
        if middle in (good, bad):
            return good
        _, ds = by_the_chain(be.asarray([-middle if t else middle], dtype), t)
        good, bad = (middle, bad) if math.isfinite(float(ds[0])) else (good, middle)


np.seterr(all="ignore")  # overflows are the subject here
print("\nfake images (t = 0) in float32: loss and gradient, by the chain and from logits")
s = be.asarray([-1000, -100, -10, 0, 10, 16, 17, 100, 1000], "float32")
columns = [be.to_numpy(a) for a in (s, *by_the_chain(s, 0), *from_logits(s, 0))]
print(f"{'s':>7} {'chain L':>12} {'chain dL/ds':>12} {'logits L':>12} {'logits dL/ds':>13}")
for row in zip(*columns, strict=True):
    print("{:7.0f} {:12.5g} {:12.5g} {:12.5g} {:13.5g}".format(*row))
assert np.isnan(columns[2][-1])
assert all(np.isfinite(column).all() for column in columns[3:])
loss, _ = mg.losses.bce_with_logits(s, 0 * s)
assert math.isclose(float(loss), columns[3].mean(), rel_tol=1e-6)

print("\nthe chain's gradient is NaN beyond         found   predicted")
for dtype in ("float32", "float64"):
    info = np.finfo(dtype)
    # t = 0: 1 + e^−s rounds to 1 from e^−s = ε/2 on, so 1 − D = 0.  t = 1: e^−s overflows, so D = 0.
    for t, predicted in ((0, -math.log(info.eps / 2)), (1, math.log(info.max))):
        found = breaking_point(t, dtype)
        print(f"  {dtype}, {('fake', 'real')[t]} image (t = {t}), s = {'+-'[t]} {found:12.4f}{predicted:12.4f}")
        assert abs(found - predicted) < 0.05 * predicted

# Long before that, 1 − D has lost most of its digits, and the loss is off by up to (ε/2) e^s, more than 1 % at s = 16.
# Clipping D makes all numbers finite, but the gradient 0 where D is most wrong.
CLIP = 1e-6
s = np.arange(0, 42, 0.5 if options.quick else 0.0625)  # all exact in float32
exact, exact_ds = np.logaddexp(0, s), 1 / (1 + np.exp(-s))  # in float64, for t = 0
s32, s64 = be.asarray(s, "float32"), be.asarray(s, "float64")
runs = {"from logits, float32": from_logits(s32, 0), "by the chain, float32": by_the_chain(s32, 0)}
runs |= {"by the chain, float64": by_the_chain(s64, 0), f"clipped at {CLIP:g}, float32": by_the_chain(s32, 0, CLIP)}
runs = {name: [np.where(np.isfinite(a), a, np.nan) for a in map(be.to_numpy, pair)] for name, pair in runs.items()}
(logits, logits_ds), (chain, chain_ds), (chain64, _), (_, clipped_ds) = runs.values()
dead = clipped_ds == 0
error = max(abs(logits - exact).max(), abs(logits_ds - exact_ds).max())
print(f"\nfake images in float32: the chain's loss is off by up to {np.nanmax(abs(chain - exact)[s <= 16]):.2f} up to s = 16;")
print(f"with D clipped, the gradient is 0 from s = {s[dead].min():.1f} on, where it should be {exact_ds[dead].min():.4f};")
print(f"from logits, loss and gradient are correct to {error:.0e}")
assert error < 1e-5
assert dead[s > 15].all()

fig, (left, middle, right) = figure(1, 3, width=11.5, height=3.6)
colours = ("tab:green", "tab:red", "tab:purple", "tab:orange")
good, bad, bad64, clipped = ({"label": name, "color": colour} for name, colour in zip(runs, colours, strict=True))
left.plot(s, logits, **good, linewidth=4)
left.plot(s, chain, **bad)
middle.plot(s, logits_ds, **good, linewidth=4)
middle.plot(s, chain_ds, **bad)
middle.plot(s, clipped_ds, **clipped)
for values, style in ((logits, good), (chain, bad), (chain64, bad64)):
    right.semilogy(s, np.where(values == exact, np.nan, abs(values - exact)), **style)
for axes, place, text in ((left, (18.2, 13), "infinite by\nthe chain"), (middle, (29, 0.75), "NaN by the chain")):
    axes.axvspan(math.log(2**24), s[-1], color="tab:red", alpha=0.12, linewidth=0)
    axes.annotate(text, place, ha="center", color="tab:red")
left.set(xlim=(12, 20), ylim=(12, 20), ylabel="loss", title="Loss: steps of 1 − σ(s), then infinity")
middle.set(ylabel=r"$\partial L/\partial s$", title="Gradient: NaN, or 0 if D is clipped", ylim=(-0.05, 1.1))
right.set(ylabel="error of the loss", ylim=(1e-17, 1e4), title="Error of the loss grows as $e^s$")
for axes, place in ((left, "upper left"), (middle, "center right"), (right, "upper left")):
    axes.set_xlabel("logit $s$ of a fake image")
    axes.legend(loc=place, fontsize=8)
save(fig, options)
