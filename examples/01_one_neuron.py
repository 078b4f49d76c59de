"""One neuron by hand: forward, loss, the chain rule term by term, and gradient descent.

What backpropagation is: each step of the forward pass has a local derivative, and the gradient of the loss is their product,
taken from the loss back to the inputs. The numbers of the first step can be followed with a pencil. minigan's layers then
compute the same, and the numbers of all steps agree.

    python examples/01_one_neuron.py
"""

import math

from course import BACKWARD, arguments, diagram, figure, save

import minigan as mg

options = arguments(__doc__)
be = options.backend
STEPS, RATE = 20, 1.0

x1, x2, t = 1.0, 2.0, 1.0  # one example, and its target
w1, w2, b = 0.5, -0.25, 0.0  # the parameters: learning changes only these


def forward_and_backward(w1, w2, b):
    """All numbers of one pass, by name."""
    s = w1 * x1 + w2 * x2 + b  # the weighted sum
    y = 1 / (1 + math.exp(-s))  # the sigmoid σ: the output, between 0 and 1
    loss = (y - t) ** 2
    # Backwards, each line multiplies an earlier one by one local derivative.
    dy = 2 * (y - t)  # ∂L/∂y, from L = (y − t)²
    ds = dy * y * (1 - y)  # ∂L/∂s = ∂L/∂y · ∂y/∂s, with σ' = σ (1 − σ)
    dw1, dw2, db = ds * x1, ds * x2, ds  # ∂s/∂w = x and ∂s/∂b = 1
    dx1, dx2 = ds * w1, ds * w2  # ∂s/∂x = w: what a layer below this neuron would receive
    return {"s": s, "y": y, "L": loss, "dy": dy, "ds": ds, "dw1": dw1, "dw2": dw2, "db": db, "dx1": dx1, "dx2": dx2}


first = forward_and_backward(w1, w2, b)
s, y, loss, dy, ds = (first[name] for name in ("s", "y", "L", "dy", "ds"))
print(f"\nforward   s = {w1}·{x1} + {w2}·{x2} + {b} = {s:.4f}")
print(f"          y = σ({s:.4f}) = {y:.4f}")
print(f"          L = ({y:.4f} − {t})² = {loss:.4f}")
print(f"backward  ∂L/∂y  = 2·({y:.4f} − {t}) = {dy:.4f}")
print(f"          ∂L/∂s  = {dy:.4f} · {y:.4f}·(1 − {y:.4f}) = {ds:.4f}")
print(f"          ∂L/∂w1 = {ds:.4f} · {x1} = {first['dw1']:.4f}")
print(f"          ∂L/∂w2 = {ds:.4f} · {x2} = {first['dw2']:.4f}")
print(f"          ∂L/∂b  = {ds:.4f} · 1   = {first['db']:.4f}")

fig, (graph, curve) = figure(1, 2, width=10, height=4, width_ratios=[2.4, 1])
nodes = {"$x_1$": (0, 4.6), "$w_1$": (0, 3.2), "$x_2$": (0, 2), "$w_2$": (0, 0.6), "$b$": (1.4, 0), "$L$": (7.2, 2.3)}
nodes |= {"×·": (1.4, 3.9), "× ·": (1.4, 1.3), "+·": (2.8, 2.3), "σ·": (4, 2.3), "−$t$·": (5.2, 2.3), "( )²·": (6.3, 2.3)}
edges = [("$x_1$", "×·", x1, "dx1"), ("$w_1$", "×·", w1, "dw1"), ("$x_2$", "× ·", x2, "dx2"), ("$w_2$", "× ·", w2, "dw2")]
edges += [("×·", "+·", w1 * x1, "ds"), ("× ·", "+·", w2 * x2, "ds"), ("$b$", "+·", b, "db"), ("+·", "σ·", s, "ds")]
edges += [("σ·", "−$t$·", y, "dy"), ("−$t$·", "( )²·", y - t, "dy")]
edges = [(start, end, f"{value:g}", f"{first[gradient]:g}") for start, end, value, gradient in edges]
diagram(graph, nodes, [*edges, ("( )²·", "$L$", f"{loss:g}", "1")])
graph.set_title("The first step: values forward (blue, above), the gradients of $L$ backward (red, below)")

# The same with layers: a Dense layer of one unit is the weighted sum. The batch has one row, so x is (1, 2) and t is (1, 1).
net = mg.Sequential([mg.Dense(1), mg.Sigmoid()], input_shape=(2,), backend=be, dtype="float64")
net.params["0.weight"][...] = be.asarray([[w1], [w2]])
net.params["0.bias"][...] = be.asarray([b])
optimizer = mg.SGD(RATE)
x, target = be.asarray([[x1, x2]], "float64"), be.asarray([[t]], "float64")

by_hand, by_layers = [], []
print(f"\ngradient descent, w ← w − {RATE}·∂L/∂w\nstep        w1        w2         b         y         L")
for step in range(STEPS + 1):
    now = forward_and_backward(w1, w2, b)
    if step < 4 or step == STEPS:
        print(f"{step:4d}", *(f"{value:9.4f}" for value in (w1, w2, b, now["y"], now["L"])))

    y, caches = net.forward(x)
    loss, dy = mg.losses.mse(y, target)
    dx = net.backward(dy, caches, grads=net.grads)
    arrays = (y, loss, dy, net.grads["0.weight"], net.grads["0.bias"], dx)
    theirs = [value for a in arrays for value in be.to_numpy(a).ravel().tolist()]
    ours = [now[name] for name in ("y", "L", "dy", "dw1", "dw2", "db", "dx1", "dx2")]
    assert all(math.isclose(*pair, rel_tol=1e-12) for pair in zip(ours, theirs, strict=True))
    by_hand.append(now["L"])
    by_layers.append(float(loss))

    w1, w2, b = w1 - RATE * now["dw1"], w2 - RATE * now["dw2"], b - RATE * now["db"]
    optimizer.update(net)

assert by_hand == sorted(by_hand, reverse=True)  # here the loss falls at every step
print(f"minigan's layers gave the same y, L, ∂L/∂y, ∂L/∂w, ∂L/∂b and ∂L/∂x at all {STEPS + 1} steps, to 12 digits")

curve.plot(by_hand, color=BACKWARD, label="by hand")
curve.plot(by_layers, "o", markersize=3.5, color="black", label="by minigan's layers")
curve.set(xlabel="step", ylabel="loss $L$", ylim=0, title="Gradient descent", xticks=range(0, STEPS + 1, 5))
curve.legend()
save(fig, options)
