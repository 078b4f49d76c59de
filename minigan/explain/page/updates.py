"""An optimiser's update of one weight: its formulas, what their letters stand for, and the update number by number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigan.explain import formulas
from minigan.explain.formulas import mathml
from minigan.explain.page.prose import follows
from minigan.explain.step import Update
from minigan.optim import SGD, Adam


def explained_update(update: Update) -> dict[str, Any]:
    """Formulas, symbols and the update of the weight with the largest gradient; nothing for an optimiser not known."""
    optimizer = update.optimizer
    if follows(optimizer, Adam):
        return _adam(update, optimizer)
    return _sgd(update, optimizer) if follows(optimizer, SGD) else {}


class _Weight:
    """The weight with the largest gradient."""

    def __init__(self, update: Update) -> None:
        largest = {name: float(np.abs(gradient).max()) for name, gradient in update.gradients.items()}
        self.name = max(largest, key=lambda name: largest[name])
        gradient = update.gradients[self.name]
        self.place = tuple(int(k) for k in np.unravel_index(int(np.abs(gradient).argmax()), gradient.shape))

    def of(self, arrays: Mapping[str, np.ndarray]) -> float:
        return float(arrays[self.name][self.place])

    def worked(self, update: Update, rows: list[list[Any]]) -> dict[str, Any]:
        before, after = self.of(update.before), self.of(update.after)
        rows = [["g = ∂L/∂w", self.of(update.gradients)], *rows]
        rows += [["w before", before], ["w after", after], ["Δw", after - before]]
        return {"title": f"{self.name}[{', '.join(map(str, self.place))}]", "rows": rows}


def _adam(update: Update, adam: Any) -> dict[str, Any]:
    (b1, b2), t, weight = adam.betas, adam.steps, _Weight(update)
    # The optimiser keeps m / (1 − β₁) and v / (1 − β₂); the page shows the textbook's m and v. How far they are from unbiased,
    # it says itself: at a learning rate of 1 its scalars are c / a and ε c (see Adam).
    scalars = adam.scalars(1.0, t)
    c = scalars["eps"] / adam.eps
    a = c / scalars["rate"]
    m, v = weight.of(update.state_after["m_sum"]), weight.of(update.state_after["v_sum"])
    rows = [
        ["m before", (1 - b1) * weight.of(update.state_before["m_sum"])],
        ["v before", (1 - b2) * weight.of(update.state_before["v_sum"])],
        ["m = β₁ m + (1 − β₁) g", (1 - b1) * m],
        ["v = β₂ v + (1 − β₂) g²", (1 - b2) * v],
        ["m / (1 − β₁ᵗ)", m / a],
        ["√(v / (1 − β₂ᵗ))", math.sqrt(v) / c],
    ]
    decay = formulas.ADAM_DECAY if adam.weight_decay else ()
    shrink = f", λ = {adam.weight_decay:g}" if adam.weight_decay else ""
    symbols = f"g = ∂L/∂w; learning rate η = {update.lr:g}, β₁ = {b1:g}, β₂ = {b2:g}, ε = {adam.eps:g}{shrink}; step t = {t}"
    return {
        "formulas": [mathml(tex) for tex in (*decay, *formulas.ADAM)],
        "symbols": symbols,
        "worked": weight.worked(update, rows),
    }


def _sgd(update: Update, sgd: Any) -> dict[str, Any]:
    weight, rows, symbols = _Weight(update), [], f"g = ∂L/∂w; learning rate η = {update.lr:g}"
    tex = formulas.SGD_PLAIN
    if sgd.momentum:
        tex = formulas.SGD_NESTEROV if sgd.nesterov else formulas.SGD_MOMENTUM
        symbols += f"; momentum ρ = {sgd.momentum:g}"
        u_before, u = (weight.of(state["momentum"]) for state in (update.state_before, update.state_after))
        rows = [["u before", u_before], ["u = ρ u + g", u]]
    return {"formulas": [mathml(one) for one in tex], "symbols": symbols, "worked": weight.worked(update, rows)}
