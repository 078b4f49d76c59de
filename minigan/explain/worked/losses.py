"""Worked examples of the losses."""

from __future__ import annotations

import itertools

import numpy as np

from minigan import losses
from minigan.explain.worked.calculator import Working, at, plus
from minigan.explain.worked.registry import example
from minigan.explain.worked.running import run_loss, run_objective
from minigan.layers.elementwise import sigmoid
from minigan.losses import NonSaturating, Saturating


@example(NonSaturating)
def non_saturating(page: Working) -> None:
    objective = NonSaturating()
    run_objective(page, objective, "discriminator", {"s_real": [2, -1, 0.5], "s_fake": [-2, 1, 0]}, "_D")
    page.values |= {f"D_{kind}": sigmoid(np, page.values[f"s_{kind}"]) for kind in ("real", "fake")}
    page.write("The logits of three real and of three generated images, and D = σ(s):")
    page.show("s_real", "D_real", "s_fake", "D_fake")
    page.write_out("D_real[0]", "1 / (1 + exp(-s_real[0]))")
    real = plus(f"log(1 + exp(-s_real[{n}]))" for n in range(3))
    page.write_out("L_D", f"({real}) / 3 + ({plus(f'log(1 + exp(s_fake[{n}]))' for n in range(3))}) / 3")
    page.write()
    page.write("A step down these gradients raises the real logits and lowers the generated ones, most where D is wrong:")
    page.show("ds_real_D", "ds_fake_D")
    page.gradient("ds_real_D[1]", "(D_real[1] - 1) / 3")
    page.gradient("ds_fake_D[1]", "D_fake[1] / 3")
    page.write()
    page.write("The generator's loss of the same generated images, and its gradient, which raises their logits:")
    run_objective(page, objective, "generator", {"s_fake": page.values["s_fake"]}, "_G")
    page.show("ds_fake_G")
    page.write_out("L_G", real.replace("s_real", "s_fake").join(["(", ") / 3"]))
    page.gradient("ds_fake_G[0]", "(D_fake[0] - 1) / 3")


@example(Saturating)
def saturating(page: Working) -> None:
    inputs = {"s_fake": [-4, 0, 2]}
    run_objective(page, Saturating(), "generator", inputs, "_G")
    run_objective(page, NonSaturating(), "generator", inputs, "_other")
    page.values["D"] = sigmoid(np, page.values["s_fake"])
    page.write("The logits of three generated images, and D = σ(s); D is sure that the first is generated:")
    page.show("s_fake", "D")
    page.write_out("L_G", f"-({plus(f'log(1 + exp(s_fake[{n}]))' for n in range(3))}) / 3")
    page.write()
    page.write("Its gradient, beside that of NonSaturating: for the worst image this one is smallest, and the other largest.")
    page.show("ds_fake_G", "ds_fake_other")
    page.gradient("ds_fake_G[0]", "-D[0] / 3")
    page.gradient("ds_fake_other[0]", "(D[0] - 1) / 3")
    page.write()
    page.write("L_D is that of NonSaturating.")


@example(losses.bce_with_logits)
def bce_with_logits(page: Working) -> None:
    page.values["t"] = np.array([1, 0, 0.5])
    run_loss(page, lambda s: losses.bce_with_logits(s, page.values["t"]), "bce_with_logits", {"s": [2, 1, -1]})
    page.values["p"] = sigmoid(np, page.values["s"])
    page.write("Three logits, their targets, and p = σ(s):")
    page.show("s", "t", "p")
    page.write_out("L", f"({plus(f'(log(1 + exp(s[{n}])) - t[{n}]·s[{n}])' for n in range(3))}) / 3")
    page.write()
    page.write("The gradient, ds = ∂L/∂s: each logit is drawn to where p is its target.")
    page.show("ds")
    page.gradient("ds[0]", "(p[0] - t[0]) / 3")
    page.gradient("ds[1]", "(p[1] - t[1]) / 3")


@example(losses.mse)
def mse(page: Working) -> None:
    page.values["t"] = np.array([[1, 0], [0, 4.0]])
    run_loss(page, lambda y: losses.mse(y, page.values["t"]), "mse", {"y": [[3, -1], [0.5, 2]]})
    page.write("Two samples of two numbers, so N = 4, and their targets:")
    page.show("y", "t")
    entries = list(itertools.product(range(2), repeat=2))
    page.write_out("L", f"({plus(f'(y{at(e)} - t{at(e)})^2' for e in entries)}) / 4")
    page.write()
    page.write("The gradient, dy = ∂L/∂y:")
    page.show("dy")
    page.gradient("dy[0,0]", "2·(y[0,0] - t[0,0]) / 4")
    page.gradient("dy[1,1]", "2·(y[1,1] - t[1,1]) / 4")


@example(losses.softmax_cross_entropy)
def softmax_cross_entropy(page: Working) -> None:
    page.values["c"] = labels = np.array([0, 2])
    run_loss(
        page,
        lambda s: losses.softmax_cross_entropy(s, labels),
        "softmax_cross_entropy",
        {"s": [[2, 1, 0], [1, 3, -1]]},
    )
    powers = np.exp(page.values["s"])
    page.values["p"] = powers / powers.sum(axis=1, keepdims=True)
    page.write("Two samples, the rows of s, with logits for three classes; their labels c; and the probabilities p:")
    page.show("s", "c", "p")
    page.write_out("p[0,1]", f"exp(s[0,1]) / ({plus(f'exp(s[0,{j}])' for j in range(3))})")
    page.write_out("L", "-(log(p[0,0]) + log(p[1,2])) / 2")
    page.write()
    page.write("The gradient, ds = ∂L/∂s: (p - 1) / N for the label's own logit, p / N for all others.")
    page.show("ds")
    page.gradient("ds[0,0]", "(p[0,0] - 1) / 2")
    page.gradient("ds[0,1]", "p[0,1] / 2")
