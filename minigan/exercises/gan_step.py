"""The exercise on a GAN's step: both losses, both gradients, and what each player may not touch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np

from minigan import games, losses
from minigan.backends import Array
from minigan.errors import cut_middle
from minigan.exercises.answer import Answer, Attempt
from minigan.exercises.exercise import BLANK, ERROR, RIGHT, WRONG, Exercise, Outcome, Part, Source
from minigan.exercises.naming import Guess, judge
from minigan.games import GAN
from minigan.layers import BatchNorm, Dense, Tanh
from minigan.losses.non_saturating import NonSaturating
from minigan.network import Sequential
from minigan.optim import SGD

N, RATE = 5, 0.3
SLIPS: dict[str, tuple[str, str]] = {
    "saturating": ("other loss", "the loss that saturates, mean log(1 − D(x̃)): −mean log D(x̃) is wanted"),
    "sum": ("factor", "the sum over samples: a mean is wanted, divide by N"),
    "half": ("factor", "half of it: both means count in full, L_D is not their mean"),
    "sign": ("sign", "minus it: what D maximises in the paper, its negative is minimised here"),
    "exchanged": ("exchanged", "real and generated samples are exchanged: D is to put real ones high"),
    "real alone": (
        "part left out",
        "the share of the real samples alone: lacks that of the generated ones. (A backward pass overwrites grads: add both)",
    ),
    "fake alone": (
        "part left out",
        "the share of the generated samples alone: lacks that of the real ones. (A backward pass overwrites grads: add both)",
    ),
    "one batch": (
        "statistics",
        "real and generated samples went through D as one batch: BatchNorm's statistics of the two must not mix",
    ),
    "old D": ("part left out", "by D as it was before its update: G's step runs D once more, as just updated"),
    "not detached": (
        "part left out",
        "what D's loss sends back through G is in it: D's step ends at x̃, and only L_G goes on through G",
    ),
    "D's loss": ("other loss", "G's gradient is that of L_D: G is to minimise L_G"),
    "uphill": ("sign", "minus the true one: G would make its samples worse"),
}
OF_D, OF_L_G = (
    ("sum", "half", "sign", "exchanged", "real alone", "fake alone", "one batch"),
    ("saturating", "sum", "sign", "old D"),
)


class _Recorder(SGD):
    """Gradient descent that keeps each gradient, and the parameters that it left."""

    def __init__(self) -> None:
        super().__init__(RATE)
        self.seen: list[np.ndarray] = []
        self.left: list[np.ndarray] = []

    def compute(self, net: Sequential, turn: int = 0) -> None:
        self.seen.append(net.flat_grads.copy())
        super().compute(net, turn)
        self.left.append(net.flat_params.copy())


@dataclass
class _Step:
    """What one step made: the losses, and both gradients."""

    loss_d: Any = None
    loss_g: Any = None
    of_d: Any = None
    of_g: Any = None
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _networks() -> tuple[Sequential, Sequential, Array, Array]:
    """G and D of smooth layers, D with a BatchNorm; real samples and noise."""
    rng = np.random.default_rng(7)
    g = Sequential([Dense(4), Tanh(), Dense(3)], (2,), "textbook", "float64", seed=1)
    d = Sequential([Dense(5), BatchNorm(), Tanh(), Dense(1)], (3,), "textbook", "float64", seed=2)
    for net in (g, d):
        net.flat_params[...] += 0.3 * rng.standard_normal(net.num_params)
    return g, d, 1 + rng.standard_normal((N, 3)), rng.standard_normal((N, 2))


def _played(kind: type[GAN]) -> _Step:
    """One step of a game of that class."""
    g, d, real, z = _networks()
    of_g, of_d = _Recorder(), _Recorder()
    game = kind(g, d, optimizer_g=of_g, optimizer_d=of_d)
    stats = game.step(real, z)
    if not isinstance(stats, dict) or not {"loss_d", "loss_g"} <= stats.keys():
        raise TypeError("compute must return {'loss_d': …, 'loss_g': …, 'prob_real': …, 'prob_fake': …}")
    step = _Step(stats["loss_d"], stats["loss_g"])
    for name, net, optimizer, times in (("D", d, of_d, len(of_d.seen)), ("G", g, of_g, len(of_g.seen))):
        if times != 1:
            raise TypeError(
                f"{name}'s optimiser is called {times} times: once a step, self.optimizer_{name.lower()}.compute(…)"
            )
        if not np.array_equal(net.flat_params, optimizer.left[0], equal_nan=True):
            when = "in G's step" if name == "D" else "in D's step"
            step.broken.append(f"{name}'s parameters move {when}: only its own optimiser may move them")
        if name == "D" and not np.array_equal(net.flat_grads, optimizer.seen[0], equal_nan=True):
            step.broken.append(
                "G's step writes D's gradients: leave grads out there, d.backward(ds, cache), or they are work for nothing"
            )
    step.of_d, step.of_g = of_d.seen[0], of_g.seen[0]
    return step


def _value_d(d: Sequential, real: Array, fake: Array, slip: str = "") -> float:
    """L_D with a slip in it."""
    objective = NonSaturating()
    if slip == "one batch":
        s, _ = d.forward(np.concatenate([real, fake]), train=True)
        s_real, s_fake = s[:N], s[N:]
    else:
        s_real, s_fake = (d.forward(x, train=True)[0] for x in (real, fake))
    pair = (s_fake, s_real) if slip == "exchanged" else (s_real, s_fake)
    far = np.full_like(s_real, 1e4)  # where a sample costs nothing
    if slip == "real alone":
        pair = (s_real, -far)
    if slip == "fake alone":
        pair = (far, s_fake)
    return float(objective.discriminator(*pair)[0]) * {"sum": N, "half": 0.5, "sign": -1}.get(slip, 1)


def _value_g(g: Sequential, d: Sequential, z: Array, slip: str = "") -> float:
    """L_G with a slip in it."""
    s, _ = d.forward(g.forward(z, train=True)[0], train=True)
    objective = losses.Saturating() if slip == "saturating" else NonSaturating()
    return float(objective.generator(s)[0]) * {"sum": N, "sign": -1, "uphill": -1}.get(slip, 1)


def central_differences(loss: Any, vector: Array) -> np.ndarray:
    """The gradient of loss() in a vector, by central differences of fourth order."""
    found, h = np.empty(vector.size), 1e-3
    for i, start in enumerate(vector.copy()):
        values = {}
        for t in (h, -h, 2 * h, -2 * h):
            vector[i] = start + t
            values[t] = loss()
        vector[i] = start
        found[i] = (8 * (values[h] - values[-h]) - (values[2 * h] - values[-2 * h])) / (12 * h)
    return found


@cache
def _true_d() -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """L_D and its gradient by finite differences, by slip, "" being right."""
    g, d, real, z = _networks()
    fake = g.forward(z, train=True)[0]
    values = {slip: _value_d(d, real, fake, slip) for slip in ("", *OF_D)}
    return values, {slip: central_differences(partial(_value_d, d, real, fake, slip), d.flat_params) for slip in ("", *OF_D)}


def _true_g(moved: np.ndarray) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """L_G and its gradient by finite differences, by slip, "" being right.

    moved: D's parameters after the answer's own update, by which its G is judged: so that a mistake of D is not told twice.
    """
    g, d, real, z = _networks()
    values, gradients = {"old D": _value_g(g, d, z)}, {"old D": central_differences(lambda: _value_g(g, d, z), g.flat_params)}
    through_g = central_differences(lambda: _value_d(d, real, g.forward(z, train=True)[0]), g.flat_params)
    d.flat_params[...] = moved
    for slip in ("", "saturating", "sum", "sign", "uphill"):
        values[slip] = _value_g(g, d, z, slip)
        gradients[slip] = central_differences(partial(_value_g, g, d, z, slip), g.flat_params)
    gradients["not detached"], gradients["D's loss"] = gradients[""] + through_g, through_g
    return values, gradients


def _check_gan_step(answer: Answer) -> list[Outcome]:
    kind = answer.find("GAN", GAN)
    done = answer.attempt(lambda: _played(kind))
    parts = ("L_D", "D's gradient", "L_G", "G's gradient", "what each player leaves alone")
    if done.error:
        error = done.error.removeprefix("TypeError: compute").removeprefix("TypeError: ")
        error = (
            error
            if error == done.error
            else f"{answer.place(kind.compute)}{'compute' if 'must return' in error else ''}{error}"
        )
        return [Outcome(part, BLANK) if done.blanks else Outcome(part, WRONG, [cut_middle(error)], ERROR) for part in parts]
    step: _Step = done.value
    of_d = step.of_d if np.isfinite(step.of_d).all() else _true_d()[1][""]
    found: dict[str, Mapping[str, Any]] = dict(zip(("loss_d", "of_d"), _true_d(), strict=True))
    found |= dict(zip(("loss_g", "of_g"), _true_g(_networks()[1].flat_params - RATE * of_d), strict=True))
    outcomes = []
    for part, name, slips in (
        ("L_D", "loss_d", OF_D),
        ("D's gradient", "of_d", OF_D),
        ("L_G", "loss_g", OF_L_G),
        ("G's gradient", "of_g", (*OF_L_G, "not detached", "D's loss", "uphill")),
    ):
        own, guesses = getattr(step, name), [Guess(*SLIPS[s], found[name][s]) for s in slips if s in found[name]]
        own = Attempt(np.asarray(own, np.float64), blanks=done.blanks)
        outcomes.append(own.unusable(part) or judge(part, own.value, np.asarray(found[name][""]), guesses, {"N": float(N)}))
    if done.blanks:
        outcomes.append(Outcome(parts[-1], BLANK))
    else:
        outcomes.append(Outcome(parts[-1], WRONG, step.broken, "contract") if step.broken else Outcome(parts[-1], RIGHT))
    return outcomes


GAN_STEP = Exercise(
    11,
    "The GAN step",
    "two losses, two backward passes, and what each of the players must leave alone.",
    NonSaturating,
    (("", "L_D = mean"),),
    ("NonSaturating",),
    ("06_minimax_starves.py", "09_dense_gan.py"),
    "class GAN(mg.GAN):",
    (),
    """
def compute(self, real, z=None, labels=None):
    G, D, N = self.generator, self.discriminator, len(real)
    fake, cache_g = G.forward(z, train=True)  # cache_g is for G's step

    # D's step: D is to give real samples high logits, generated ones low.
    s_real, cache_real = D.forward(real, train=True)  # logits (N, 1): D(x) = σ(s)
    s_fake, cache_fake = D.forward(fake, train=True)
    loss_d = blank("L_D")
    ds_real, ds_fake = blank("∂L_D/∂s_real"), blank("∂L_D/∂s_fake")
    # A backward pass overwrites what it is given to write to: D.backward(ds, cache, grads=…), so each share has its own
    # room, D.empty_grads(), and D.add_grads(a, b) is a ← a + b. What the optimiser sees is D.grads.
    D.flat_grads[...] = blank("D's gradient")
    self.optimizer_d.compute(D)

    # G's step: what does D, as just updated, make of the same x̃? Back through D, and on through G.
    s_judged, cache_d = blank("D on x̃"), blank("D on x̃")
    loss_g = blank("L_G")
    ds = blank("∂L_G/∂s")
    G.flat_grads[...] = blank("G's gradient")  # G.backward(dx, cache_g, grads=G.grads) writes it
    self.optimizer_g.compute(G)
    prob_real, prob_fake = (np.mean(1 / (1 + np.exp(-s))) for s in (s_real, s_fake))  # E D(x), E D(x̃)
    return {"loss_d": loss_d, "loss_g": loss_g, "prob_real": prob_real, "prob_fake": prob_fake}
""",
    (Source(games.GAN.compute),),
    (
        Part(
            "L_D",
            "−log σ(s) = ζ(−s) for real samples, −log(1 − σ(s)) = ζ(s) for generated ones: two means, added up.",
            ("−log σ(s)", "Gradient"),
        ),
        Part(
            "D's gradient",
            "Two backward passes, one for each cache. Where does the first write, and what does the second do to that?",
            ("Gradient:", "L_G pushes"),
        ),
        Part(
            "L_G",
            "G wants D to take x̃ for real. What would D's loss be for a real sample with that logit?",
            ("L_D = mean", "Gradient"),
        ),
        Part(
            "G's gradient",
            "D.backward returns ∂L_G/∂x̃. Which of the three caches of D belongs to it?",
            ("Gradient:", "L_G pushes"),
        ),
        Part(
            "what each player leaves alone",
            "In G's step D is only passed through: which argument of D.backward is left out?",
            ("L_G pushes", "The paper"),
        ),
    ),
    _check_gan_step,
    more=(NonSaturating.discriminator, NonSaturating.generator),
)
