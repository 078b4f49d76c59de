"""What each sample pays, as a curve over its logit: the objective's own values and slopes."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan.backends import get_backend
from minigan.explain.objectives import objective_formulas
from minigan.explain.page.arrays import Arrays
from minigan.explain.step import OpenedGAN, Pass
from minigan.losses import Objective

POINTS = 121


class Curves:
    """Curves for the samples of a step. `known` is False where the game's losses are not those of an objective of minigan's."""

    def __init__(self, step: OpenedGAN, arrays: Arrays) -> None:
        self.step, self.arrays = step, arrays
        objective = getattr(step.game, "objective", None)
        self.objective: Objective | None = objective and objective.bind(get_backend("textbook"))
        self.formulas = objective_formulas(self.objective)
        self.known = self.formulas is not None and self.objective is not None and self._agrees(self.objective)

    def _agrees(self, objective: Objective) -> bool:
        step = self.step
        s_real, s_fake, s_judged = (record.s for record in (step.real, step.fake, step.judged))
        loss_d, ds = objective.discriminator(s_real, s_fake)
        loss_g, ds_judged = objective.generator(s_judged, step.rival.s if step.rival else s_real)
        recorded = (step.loss_d, step.loss_g, *(record.ds for record in (step.real, step.fake, step.judged)))
        pairs = zip((loss_d, loss_g, *ds, ds_judged), recorded, strict=True)
        return all(b is not None and np.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in pairs)

    def undecided(self, player: str) -> float | None:
        """L_D or L_G for a D that gives every sample s = 0."""
        if not self.known or self.objective is None:
            return None
        zero = np.zeros_like(self.step.real.s)
        value = self.objective.discriminator(zero, zero)[0] if player == "D" else self.objective.generator(zero, zero)[0]
        return float(value)

    def discriminator(self, labels: tuple[str, str]) -> list[dict[str, Any]]:
        return self._draw(zip(("real", "fake"), labels, (self.step.real, self.step.fake), strict=True))

    def generator(self, label: str) -> list[dict[str, Any]]:
        return self._draw([("judged", label, self.step.judged)])

    def _draw(self, passes: Any) -> list[dict[str, Any]]:
        passes = list(passes)
        reach = np.ceil(1.1 * max(1.8, *(float(np.abs(record.s).max()) for _, _, record in passes)))
        return [self._curve(role, label, record, np.linspace(-reach, reach, POINTS)) for role, label, record in passes]

    def _curve(self, role: str, label: str, record: Pass, at: np.ndarray) -> dict[str, Any]:
        gradient, s = record.ds, record.s.ravel()
        assert gradient is not None
        shown = {"at": at, "s": s, "ds": gradient.ravel()}
        if self.known and self.objective is not None and self.formulas is not None and self.formulas.per_sample:
            loss, slope = sample_loss(self.objective, role, at)
            shown |= {"loss": loss, "slope": slope, "paid": sample_loss(self.objective, role, s)[0]}
        return {"label": label, **{name: self.arrays.add(array) for name, array in shown.items()}}


def sample_loss(objective: Objective, role: str, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What one "real", "fake" or "judged" sample pays at each of these logits, and the slope: the objective on a batch of one.

    L_D is a sum of which only the whole is known. Its other part is held at s = 0, and half of what is due there is left out.
    """
    zero = np.zeros((1, 1))
    half = float(objective.discriminator(zero, zero)[0]) / 2
    losses, slopes = np.empty_like(s), np.empty_like(s)
    for k, value in enumerate(s):
        one = np.full((1, 1), value)
        if role == "judged":
            loss, ds = objective.generator(one, zero)
        elif role == "real":
            loss, (ds, _) = objective.discriminator(one, zero)
        else:
            loss, (_, ds) = objective.discriminator(zero, one)
        losses[k], slopes[k] = float(loss) - (0 if role == "judged" else half), float(ds[0, 0])
    return losses, slopes
