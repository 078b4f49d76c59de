"""Worked examples of the losses."""

from __future__ import annotations

import itertools
import re

import numpy as np

from minigan import losses
from minigan.backends import get_backend
from minigan.explain.worked.calculator import Working, at, plus
from minigan.explain.worked.registry import example
from minigan.explain.worked.running import run_loss, run_objective
from minigan.layers.elementwise import sigmoid
from minigan.losses import NonSaturating, Objective, Saturating
from minigan.losses.variational import reparametrise_grad


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


SCORES = {"s_real": [2, -1, 0.5], "s_fake": [-2, 0.7, 0]}
# What each real and each generated image pays in L_D, and each generated one in L_G, with the slopes.
PAID: dict[type[Objective], tuple[tuple[str, str], ...]] = {
    losses.LeastSquares: (("(s - 1)^2 / 2", "s - 1"), ("s^2 / 2", "s"), ("(s - 1)^2 / 2", "s - 1")),
    losses.Hinge: (("max(0, 1 - s)", "-1·(s < 1)"), ("max(0, 1 + s)", "(s > -1)"), ("(-s)", "-1")),
    losses.Wasserstein: (("(-s)", "-1"), ("s", "1"), ("(-s)", "-1")),
    losses.KL: (("(-s)", "-1"), ("exp(s - 1)", "exp(s - 1)"), ("(-exp(s - 1))", "-exp(s - 1)")),
    losses.ReverseKL: (("exp(-s)", "-exp(-s)"), ("(s - 1)", "1"), ("(1 - s)", "-1")),
    losses.Pearson: (("(-s)", "-1"), ("(s^2 / 4 + s)", "(s / 2 + 1)"), ("(-s^2 / 4 - s)", "-(s / 2 + 1)")),
}


def _of(term: str, score: str) -> str:
    return re.sub(r"\bs\b", score, term)


def _mean(term: str, kind: str) -> str:
    return f"({plus(_of(term, f's_{kind}[{n}]') for n in range(3))}) / 3"


def _score_example(kind: type[Objective]) -> None:
    """Register the example of an objective that is a sum over samples."""

    @example(kind)
    def write(page: Working) -> None:
        (real, d_real), (fake, d_fake), (judged, d_judged) = PAID[kind]
        run_objective(page, kind(), "discriminator", SCORES, "_D")
        page.write("The scores of three real and of three generated images:")
        page.show("s_real", "s_fake")
        page.write_out("L_D", f"{_mean(real, 'real')} + {_mean(fake, 'fake')}")
        page.write()
        page.write("Its gradients: each image pays by its own score alone.")
        page.show("ds_real_D", "ds_fake_D")
        page.gradient("ds_real_D[1]", f"({_of(d_real, 's_real[1]')}) / 3")
        page.gradient("ds_fake_D[1]", f"({_of(d_fake, 's_fake[1]')}) / 3")
        page.write()
        page.write("The generator's loss of the same generated images, and its gradient:")
        run_objective(page, kind(), "generator", {"s_fake": page.values["s_fake"]}, "_G")
        page.show("ds_fake_G")
        page.write_out("L_G", _mean(judged, "fake"))
        page.gradient("ds_fake_G[1]", f"({_of(d_judged, 's_fake[1]')}) / 3")


for scored in PAID:
    _score_example(scored)


@example(losses.Relativistic)
def relativistic(page: Working) -> None:
    run_objective(page, losses.Relativistic(), "discriminator", SCORES, "_D")
    page.write("The scores of three real images, and of the generated image that each is paired with:")
    page.show("s_real", "s_fake")
    page.write_out("L_D", f"({plus(f'log(1 + exp(s_fake[{n}] - s_real[{n}]))' for n in range(3))}) / 3")
    page.write()
    page.write("Its gradients: in each pair the two scores are driven apart by the same amount, most where D is wrong.")
    page.show("ds_real_D", "ds_fake_D")
    page.gradient("ds_real_D[1]", "(1 / (1 + exp(s_fake[1] - s_real[1])) - 1) / 3")
    page.gradient("ds_fake_D[1]", "(1 - 1 / (1 + exp(s_fake[1] - s_real[1]))) / 3")
    page.write()
    page.write("The generator's loss is the same comparison the other way round; it has no gradient for real images.")
    fixed = page.values["s_real"].copy()
    run_objective(page, losses.Relativistic(), "generator", {"s_fake": page.values["s_fake"]}, "_G", s_real=fixed)
    page.show("ds_fake_G")
    page.write_out("L_G", f"({plus(f'log(1 + exp(s_real[{n}] - s_fake[{n}]))' for n in range(3))}) / 3")
    page.gradient("ds_fake_G[0]", "(1 / (1 + exp(s_real[0] - s_fake[0])) - 1) / 3")


@example(losses.RelativisticAverage)
def relativistic_average(page: Working) -> None:
    objective = losses.RelativisticAverage()
    run_objective(page, objective, "discriminator", SCORES, "_D")
    page.values |= {f"m_{kind}": float(page.values[f"s_{kind}"].mean()) for kind in ("real", "fake")}
    a, b = page.values["s_real"] - page.values["m_fake"], page.values["s_fake"] - page.values["m_real"]
    page.values |= {"p": sigmoid(np, a), "q": sigmoid(np, b)}
    page.write("The scores of three real and of three generated images, their averages m, p = σ(s_real - m_fake) and q:")
    page.show("s_real", "s_fake", "m_real", "m_fake", "p", "q")
    page.write_out("q[1]", "1 / (1 + exp(m_real - s_fake[1]))")
    page.write_out("L_D", "-(log(p[0]) + log(p[1]) + log(p[2])) / 3 - (log(1 - q[0]) + log(1 - q[1]) + log(1 - q[2])) / 3")
    page.write()
    page.write("Its gradients: each score stands in its own term, and through the average in every term of the other kind.")
    page.show("ds_real_D", "ds_fake_D")
    page.gradient("ds_real_D[1]", "(p[1] - 1 - (q[0] + q[1] + q[2]) / 3) / 3")
    page.gradient("ds_fake_D[1]", "(q[1] - (p[0] + p[1] + p[2]) / 3 + 1) / 3")
    page.write()
    page.write("The generator's loss is L_D with real and generated images exchanged; its gradient for generated ones:")
    fixed = page.values["s_real"].copy()
    run_objective(page, objective, "generator", {"s_fake": page.values["s_fake"]}, "_G", s_real=fixed)
    page.show("ds_fake_G")
    page.write_out("L_G", "-(log(q[0]) + log(q[1]) + log(q[2])) / 3 - (log(1 - p[0]) + log(1 - p[1]) + log(1 - p[2])) / 3")
    page.gradient("ds_fake_G[0]", "(q[0] - 1 - (p[0] + p[1] + p[2]) / 3) / 3")


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


@example(losses.reparametrise)
def reparametrise(page: Working) -> None:
    page.values |= {"e": np.array([[0.5, -1.5]]), "dz": np.array([[2.0, -1.0]])}
    be, values = get_backend("textbook"), page.values

    def run(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = losses.reparametrise(be, h, values["e"])
        return (z * values["dz"]).sum(), reparametrise_grad(be, values["dz"], h, values["e"])

    run_loss(page, run, "reparametrise", {"h": [[1, -1, 0, -2]]})
    values["z"] = losses.reparametrise(be, values["h"], values["e"])
    page.write(
        "One code of two dimensions, h = (mu, log sigma^2), the noise e, and z; L is the sum of z·dz, so that ∂L/∂z = dz:"
    )
    page.show("h", "e", "z", "dz")
    page.write_out("z[0,1]", "h[0,1] + exp(h[0,3] / 2)·e[0,1]")
    page.write()
    page.write("The gradient, dh: that of mu is dz itself, that of log sigma^2 passes through the factor of the noise.")
    page.show("dh")
    page.gradient("dh[0,0]", "dz[0,0]")
    page.gradient("dh[0,3]", "exp(h[0,3] / 2)·e[0,1]·dz[0,1] / 2")


@example(losses.gaussian_kl)
def gaussian_kl(page: Working) -> None:
    be = get_backend("textbook")
    run_loss(page, lambda h: losses.gaussian_kl(be, h), "gaussian_kl", {"h": [[1, 0, 0, -2], [0, 0.5, 0, 1]]})
    page.write("Two codes of two dimensions each, the rows of h = (mu, log sigma^2):")
    page.show("h")
    terms = [f"(h{at((n, j))}^2 + exp(h{at((n, j + 2))}) - 1 - h{at((n, j + 2))}) / 2" for n in range(2) for j in range(2)]
    page.write_out("L", f"({plus(terms)}) / 2")
    page.write()
    page.write("The gradient, dh: mu is drawn to 0, log sigma^2 to 0, and where both are there nothing is left to draw.")
    page.show("dh")
    page.gradient("dh[0,0]", "h[0,0] / 2")
    page.gradient("dh[0,3]", "(exp(h[0,3]) - 1) / 4")


@example(losses.Bernoulli)
def bernoulli(page: Working) -> None:
    page.values |= {"x": np.array([[1, -1], [0, 1.0]])}
    page.values["t"] = (page.values["x"] + 1) / 2
    page.ran = losses.Bernoulli()
    run_loss(page, lambda y: page.ran.loss(y, page.values["x"]), "Bernoulli", {"y": [[2, -1], [0.5, -3]]})
    page.values["p"] = sigmoid(np, page.values["y"])
    page.write("Two images of two pixels, the rows of x, with t = (x + 1) / 2; the decoder's logits y, and p = σ(y):")
    page.show("x", "t", "y", "p")
    entries = list(itertools.product(range(2), repeat=2))
    page.write_out("L", f"({plus(f'(log(1 + exp(y{at(e)})) - t{at(e)}·y{at(e)})' for e in entries)}) / 2")
    page.write()
    page.write("The gradient, dy: each logit is drawn to where p is its target. Images are averaged over, pixels are added up.")
    page.show("dy")
    page.gradient("dy[0,0]", "(p[0,0] - t[0,0]) / 2")
    page.gradient("dy[1,0]", "(p[1,0] - t[1,0]) / 2")


@example(losses.Gaussian)
def gaussian(page: Working) -> None:
    page.values |= {"x": np.array([[1, -1], [0, 1.0]]), "s": 0.5, "pi": np.pi}
    page.ran = losses.Gaussian(0.5)
    run_loss(page, lambda y: page.ran.loss(y, page.values["x"]), "Gaussian(0.5)", {"y": [[0.5, -1], [0.5, 0]]})
    page.write("Two images of two pixels, the rows of x, the decoder's means y, and s = sigma:")
    page.show("x", "y", "s")
    entries = list(itertools.product(range(2), repeat=2))
    squares = plus(f"((x{at(e)} - y{at(e)}) / s)^2 / 2" for e in entries)
    page.write_out("L", f"({squares}) / 2 + 2·(log(s) + log(2·pi) / 2)")
    page.write()
    page.write("The gradient, dy: that of a squared error, in units of sigma^2.")
    page.show("dy")
    page.gradient("dy[0,0]", "(y[0,0] - x[0,0]) / (s^2·2)")
    page.gradient("dy[1,1]", "(y[1,1] - x[1,1]) / (s^2·2)")
