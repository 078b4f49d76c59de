"""The exercise on Adam: whole updates held against the library's, and the usual slips by what they would make of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from minigan import optim
from minigan.exercises.answer import Answer, Attempt
from minigan.exercises.exercise import WRONG, Exercise, Outcome, Part, Source
from minigan.exercises.naming import Guess, judge, relative_error
from minigan.layers import Dense
from minigan.network import Sequential
from minigan.optim import Adam, Optimizer

UPDATES = 10
OPTIONS: dict[str, Any] = {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3}
# What an update is called with a slip in it; each is the true update but for that.
SLIPS = {
    "no correction": ("part left out", "without the bias correction: m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ) are left out"),
    "m uncorrected": ("part left out", "m is not corrected: m̂ = m/(1 − β₁ᵗ) is left out"),
    "v uncorrected": ("part left out", "v is not corrected: v̂ = v/(1 − β₂ᵗ) is left out"),
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
    "uphill": ("sign", "uphill: w ← w − …, not + …"),
    "no memory": ("not added up", "m and v begin at 0 in every update: keep them in self.state, m[...] = … writes into it"),
    "plain": ("part left out", "dw stands where m̂ belongs: this is RMSprop's step"),
    "1 − β": ("exchanged", "β and 1 − β are exchanged: most of the old mean is kept"),
    "old m": ("part left out", "the step is made from m and v before they are moved"),
}


def _updates(w: np.ndarray, gradients: np.ndarray, slip: str = "") -> np.ndarray:
    """The parameters after each update, with a slip of SLIPS in it. Without one it must be the library's Adam."""
    (b1, b2), lr, eps = OPTIONS["betas"], OPTIONS["lr"], OPTIONS["eps"]
    if slip == "betas":
        b1, b2 = b2, b1
    keep1, keep2 = (1 - b1, 1 - b2) if slip == "1 − β" else (b1, b2)
    m = v = np.zeros_like(w)
    path = []
    for t, dw in enumerate(gradients, start=1):
        if slip == "no memory":
            m = v = np.zeros_like(w)
        old_m, old_v = m, v
        m = keep1 * m + (1 if slip == "m grows" else 1 - keep1) * dw
        v = keep2 * v + (1 if slip == "v grows" else 1 - keep2) * (dw if slip == "no square" else dw * dw)
        count = 1 if slip == "t = 1" else t + (slip == "late t")
        m_hat = (old_m if slip == "old m" else m) / (1 if slip in ("no correction", "m uncorrected") else 1 - b1**count)
        second = old_v if slip == "old m" else v
        v_hat = second / (1 if slip in ("no correction", "v uncorrected") else 1 - b2**count)
        root = v_hat if slip == "no root" else np.sqrt(v_hat + (eps if slip == "ε inside" else 0))
        if slip == "ε before correction":
            root = (np.sqrt(v) + eps) / np.sqrt(1 - b2**count)
        elif slip not in ("ε inside", "no ε"):
            root = root + eps
        step = lr * (dw if slip == "plain" else m_hat) / root
        w = w + step if slip == "uphill" else w - step
        path.append(w)
    return np.array(path)


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
    rows = (
        ("the first update", 0, slice(0, 1)),
        ("ten updates", 0, slice(None)),
        ("ten updates where dw is tiny", 1, slice(None)),
    )
    whole = _slip_of_all(values, trues, slips)
    outcomes = []
    for part, which, updates in rows:
        own, true = values[which], trues[which][updates]
        outcome = own.unusable(part)
        if outcome is None:
            outcome = judge(part, own.value[updates], true, [])
            if outcome.status == WRONG:
                guesses = whole or [Guess(*SLIPS[s], path[updates]) for s, path in slips[which].items() if s]
                outcome = judge(
                    part,
                    own.value[updates],
                    true,
                    [Guess(g.kind, g.words, g.value[which][updates]) for g in whole] if whole else guesses,
                )
        outcomes.append(outcome)
    return outcomes


def _slip_of_all(values: list[Attempt], trues: list[np.ndarray], slips: list[dict[str, np.ndarray]]) -> list[Guess]:
    """The slip that explains the updates with large gradients and with tiny ones, with its value for both."""
    if any(attempt.value is None for attempt in values):
        return []
    found = []
    for slip in SLIPS:
        paths = [both[slip] for both in slips if both]
        if paths and relative_error([attempt.value for attempt in values], paths) < 1e-6 < relative_error(trues, paths):
            found.append(Guess(*SLIPS[slip], paths))
    return found


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
