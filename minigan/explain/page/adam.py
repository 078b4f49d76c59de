"""Adam's update of one weight, number by number, from the state that the optimiser kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigan.explain.step import Update
from minigan.optim import Adam


def worked_adam(update: Update) -> dict[str, Any]:
    """Rows for the weight with the largest gradient."""
    adam = update.optimizer
    assert isinstance(adam, Adam)
    name = max(update.gradients, key=lambda key: float(np.abs(update.gradients[key]).max()))
    place = np.unravel_index(int(np.abs(update.gradients[name]).argmax()), update.gradients[name].shape)
    (b1, b2), t = adam.betas, adam.steps

    def of(arrays: Mapping[str, np.ndarray]) -> float:
        return float(arrays[name][place])

    # The optimiser keeps m / (1 − β₁) and v / (1 − β₂); the page shows the textbook's m and v.
    m, v = (1 - b1) * of(update.state_after["m_sum"]), (1 - b2) * of(update.state_after["v_sum"])
    before, after = of(update.before), of(update.after)
    rows = [
        ["g = ∂L/∂w", of(update.gradients)],
        ["m before", (1 - b1) * of(update.state_before["m_sum"])],
        ["v before", (1 - b2) * of(update.state_before["v_sum"])],
        ["m = β₁ m + (1 − β₁) g", m],
        ["v = β₂ v + (1 − β₂) g²", v],
        ["m / (1 − β₁ᵗ)", m / (1 - b1**t)],
        ["√(v / (1 − β₂ᵗ))", math.sqrt(v / (1 - b2**t))],
        ["w before", before],
        ["w after", after],
        ["Δw", after - before],
    ]
    where = ", ".join(map(str, (int(k) for k in place)))
    return {"title": f"{name}[{where}], β = ({b1:g}, {b2:g}), t = {t}", "rows": rows}
