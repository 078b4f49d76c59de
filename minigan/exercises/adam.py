"""The exercise on Adam: whole updates held against the library's, and the usual slips by what they would make of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from minigan import optim
from minigan.checks.report import TOLERANCE
from minigan.exercises.answer import Answer, Attempt
from minigan.exercises.exercise import Exercise, Outcome, Part, Source
from minigan.exercises.naming import Guess, judge, relative_error
from minigan.layers import Dense
from minigan.network import Sequential
from minigan.optim import Adam, Optimizer

UPDATES = 10
OPTIONS: dict[str, Any] = {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3}
# What an update is called with a slip in it; each is the true update but for that.
SLIPS = {
    "still": ("not written", "w is as it was: write into it, w[...] = …; w = … only gives its name to a new array"),
    "no correction": ("part left out", "without the bias correction: m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ) are left out"),
    "m uncorrected": ("part left out", "m is not corrected: m̂ = m/(1 − β₁ᵗ) is left out"),
    "v uncorrected": ("part left out", "v is not corrected: v̂ = v/(1 − β₂ᵗ) is left out"),
    "stored": (
        "not added up",
        "the corrected m̂ and v̂ are stored in m and v: the next means start from them; keep m and v as they are",
    ),
    "m stored": ("not added up", "the corrected m̂ is stored in m: the next mean starts from it; keep m as it is"),
    "v stored": ("not added up", "the corrected v̂ is stored in v: the next mean starts from it; keep v as it is"),
    "t = 1": ("part left out", "corrected by 1 − β and not by 1 − βᵗ: t stays 1"),
    "late t": ("factor", "t is one too large: the first update has t = 1, and self.steps is counted before apply is called"),
    "ε inside": ("part left out", "ε stands inside the root: √v̂ + ε is wanted, not √(v̂ + ε)"),
    "ε before correction": ("factor", "ε is added to √v before v is corrected: √v̂ + ε is wanted"),
    "no ε": ("part left out", "ε is left out of √v̂ + ε"),
    "betas": ("exchanged", "β₁ and β₂ are exchanged: m takes β₁, v takes β₂"),
    "no square": ("factor", "v is a mean of dw, not of dw²: the square is missing"),
    "no root": ("part left out", "divided by v̂, not by √v̂: the root is missing"),
    "m grows": ("factor", "m ← β₁ m + dw: the factor 1 − β₁ is missing"),
    "v grows": ("factor", "v ← β₂ v + dw²: the factor 1 − β₂ is missing"),
    "both grow": ("factor", "m ← β₁ m + dw and v ← β₂ v + dw²: the factors 1 − β₁ and 1 − β₂ are missing"),
    "uphill": ("sign", "uphill: w ← w − …, not + …"),
    "no w": ("part left out", "w ← the step alone: the step is to be taken off what w was, w ← w − …"),
    "no w, minus": ("part left out", "w ← minus the step alone: the step is to be taken off what w was, w ← w − …"),
    "no memory": ("not added up", "m and v begin at 0 in every update: keep them in self.state, m[...] = … writes into it"),
    "no memory of m": ("not added up", "m begins at 0 in every update: keep it in self.state, m[...] = … writes into it"),
    "no memory of v": ("not added up", "v begins at 0 in every update: keep it in self.state, v[...] = … writes into it"),
    "plain": ("part left out", "dw stands where m̂ belongs: this is RMSprop's step"),
    "1 − β": ("exchanged", "β and 1 − β are exchanged: most of the old mean is kept"),
    "1 − β of m": ("exchanged", "β₁ and 1 − β₁ are exchanged in m: most of the old mean is kept, m ← β₁ m + (1 − β₁) dw"),
    "1 − β of v": ("exchanged", "β₂ and 1 − β₂ are exchanged in v: most of the old mean is kept, v ← β₂ v + (1 − β₂) dw²"),
    "old m": ("part left out", "the step is made from m and v before they are moved"),
}


def _mean(old: np.ndarray, new: np.ndarray, beta: float, grows: bool, exchanged: bool) -> np.ndarray:
    """β old + (1 − β) new; grows: with a 1 in the place of 1 − β; exchanged: with 1 − β in the place of β."""
    if exchanged:
        beta = 1 - beta
    return beta * old + (1 if grows else 1 - beta) * new


def _updates(w: np.ndarray, gradients: np.ndarray, slip: str = "") -> np.ndarray:
    """The parameters after each update, with a slip of SLIPS in it. Without one it must be the library's Adam."""
    (b1, b2), lr, eps = OPTIONS["betas"], OPTIONS["lr"], OPTIONS["eps"]
    if slip == "betas":
        b1, b2 = b2, b1
    m = v = np.zeros_like(w)
    path = []
    for t, dw in enumerate(gradients, start=1):
        old_m = 0 * m if slip in ("no memory", "no memory of m") else m
        old_v = 0 * v if slip in ("no memory", "no memory of v") else v
        m = _mean(old_m, dw, b1, slip in ("m grows", "both grow"), slip in ("1 − β", "1 − β of m"))
        square = dw if slip == "no square" else dw * dw
        v = _mean(old_v, square, b2, slip in ("v grows", "both grow"), slip in ("1 − β", "1 − β of v"))
        count = 1 if slip == "t = 1" else t + (slip == "late t")
        of_m = 1 if slip in ("no correction", "m uncorrected") else 1 - b1**count
        of_v = 1 if slip in ("no correction", "v uncorrected") else 1 - b2**count
        m_hat, v_hat = (old_m / of_m, old_v / of_v) if slip == "old m" else (m / of_m, v / of_v)
        m = m_hat if slip in ("stored", "m stored") else m
        v = v_hat if slip in ("stored", "v stored") else v
        root = v_hat if slip == "no root" else np.sqrt(v_hat + (eps if slip == "ε inside" else 0))
        if slip == "ε before correction":
            root = (np.sqrt(v) + eps) / np.sqrt(of_v)
        elif slip not in ("ε inside", "no ε"):
            root = root + eps
        w = _moved(w, lr * (dw if slip == "plain" else m_hat) / root, slip)
        path.append(w)
    return np.array(path)


def _moved(w: np.ndarray, step: np.ndarray, slip: str) -> np.ndarray:
    """w − step, with a slip in it."""
    slips = {"still": w, "uphill": w + step, "no w": step, "no w, minus": -step}
    return slips.get(slip, w - step)


def _gradients(tiny: bool) -> np.ndarray:
    drawn = np.random.default_rng(4).standard_normal((UPDATES, 8))
    return drawn * 1e-4 if tiny else drawn


def _play(make: Any, gradients: np.ndarray) -> np.ndarray:
    """The parameters after each update of an optimiser."""
    net = Sequential([Dense(2)], (3,), "textbook", "float64", seed=1)
    optimizer, path = make(), []
    for dw in gradients:
        net.flat_grads[...] = dw
        given = net.flat_grads.copy()
        optimizer.update(net)
        if not bool((net.flat_grads == given).all()):
            raise ValueError("an update writes to dw, net.flat_grads: it may read it alone")
        path.append(net.flat_params.copy())
    return np.array(path)


def _check_adam(answer: Answer) -> list[Outcome]:
    kind = answer.find("Adam", Optimizer)
    start = Sequential([Dense(2)], (3,), "textbook", "float64", seed=1).flat_params
    attempts, trues, slips = [], [], []
    for tiny in (False, True):
        gradients = _gradients(tiny)
        attempts.append(answer.attempt(partial(_play, lambda: kind(**OPTIONS), gradients)))
        trues.append(_play(lambda: Adam(**OPTIONS), gradients) - start)
        with np.errstate(all="ignore"):
            slips.append({slip: _updates(start, gradients, slip) - start for slip in ("", *SLIPS)})
    if relative_error([slip[""] for slip in slips], trues) > 1e-9:
        slips = [{}, {}]  # the library's Adam has become another: no slip of this one explains anything
    values = [Attempt(a.value - start if a.value is not None else None, a.error, a.blanks) for a in attempts]
    whole = _slip_of_all(values, trues, slips)
    rows = (
        ("the first update", 0, slice(0, 1)),
        ("ten updates", 0, slice(None)),
        ("ten updates where dw is tiny", 1, slice(None)),
    )
    outcomes = []
    for part, which, updates in rows:
        own = values[which]
        found = whole or _slip_of_all(values[which : which + 1], trues[which : which + 1], slips[which : which + 1])
        guesses = [Guess(*SLIPS[slip], slips[which][slip][updates]) for slip in found]
        outcomes.append(own.unusable(part) or judge(part, own.value[updates], trues[which][updates], guesses, place=_entry))
    return outcomes


def _entry(where: tuple[int, ...]) -> str:
    return f"in update {where[0] + 1}, at w[{where[1]}]"


def _slip_of_all(values: list[Attempt], trues: list[np.ndarray], slips: list[dict[str, np.ndarray]]) -> list[str]:
    """The slips that explain all updates of these runs; one update alone looks the same with many of them."""
    if any(attempt.value is None for attempt in values) or not all(slips):
        return []
    own = [attempt.value for attempt in values]
    paths = {slip: [run[slip] for run in slips] for slip in SLIPS}
    return [s for s, path in paths.items() if relative_error(own, path) < TOLERANCE < relative_error(trues, path)]


ADAM = Exercise(
    10,
    "Adam",
    "steps of about lr in every coordinate, and why the means of the first steps must be corrected.",
    optim.Adam,
    (("", "m ← β₁ m"),),
    ("Adam",),
    ("08_eight_gaussians.py",),
    "class Adam(mg.optim.Optimizer):",
    (),
    """
slots = ("m", "v")  # arrays as w, which begin at 0 and are kept from update to update

def __init__(self, lr=2e-4, betas=(0.5, 0.999), eps=1e-8):
    super().__init__(lr)
    self.betas, self.eps = betas, eps

def apply(self, net, lr):
    w, dw = net.flat_params, net.flat_grads  # move w in place, leave dw as it is
    m, v = self.state["m"], self.state["v"]  # in place as well
    (b1, b2), t = self.betas, self.steps  # t = 1 in the first update
    m[...] = blank("m")  # running mean of dw
    v[...] = blank("v")  # running mean of dw²
    w[...] = blank("w")  # w − lr · (the corrected m) / (the root of the corrected v, + ε)
""",
    (Source(optim.Adam.__init__), Source(optim.Adam.scalars), Source(optim.Adam.apply)),
    (
        Part(
            "the first update",
            "m and v begin at 0. What are they after one dw, and what should a mean of one number be?",
            ("m ← β₁ m", "w ← w"),
        ),
        Part(
            "ten updates",
            "After t updates m holds the weights (1 − β₁) β₁ᵏ of the last t gradients. What do these add up to?",
            ("m ← β₁ m", "Kept are"),
        ),
        Part(
            "ten updates where dw is tiny",
            "Where dw is far below ε, the step is about lr m̂/ε. Is ε under the root, and added after the correction?",
            ("w ← w − lr m̂", ""),
        ),
    ),
    _check_adam,
    more=(optim.adam,),
    attributes=("slots",),
)
