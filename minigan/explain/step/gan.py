"""A GAN's step: D judges, learns and moves, judges once more, and G moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from minigan.backends import Array
from minigan.explain.step.looking import Look, Snapshot
from minigan.explain.step.plan import Plan
from minigan.explain.step.records import OpenedGAN, Pass


class GANPlan(Plan):
    networks: ClassVar = {"generator": 1, "discriminator": 3}
    stats = ("loss_d", "loss_g")
    ways: ClassVar = {
        "discriminator": (("discriminator", 0), ("discriminator", 1)),
        "generator": (("discriminator", -1), ("generator", 0)),
    }
    losses: ClassVar = {"discriminator": "L_D", "generator": "L_G"}
    usual = (
        "only steps can be opened in which D judges the real batch and G's samples, moves, judges G's samples again, "
        "and G moves"
    )

    def count(self, network: str) -> int:
        # Where the objective compares, D judges the real batch again for G.
        compares = getattr(getattr(self.game, "objective", None), "compares", False)
        return super().count(network) + (compares and network == "discriminator")

    def count_ticks(self) -> int:
        penalties = len(getattr(self.game, "penalties", ())) * bool(self.game.variant)
        return super().count_ticks() + penalties * len(self.game.networks["discriminator"].params)

    def difference(self, passes: dict[str, list[Pass]], batch: tuple[Array, Array], stats: Mapping[str, float]) -> str:
        (made,), (of_real, of_fake, *others, judged) = passes["generator"], passes["discriminator"]
        if not np.array_equal(of_real.x, self.game.backend.to_numpy(batch[0])):
            return "D does not see the real batch first, as it is"
        if not all(np.array_equal(record.x, made.outputs[-1]) for record in (of_fake, judged)):
            return "D does not see G's samples as they are"
        if any(record.output_grads[-1] is None for record in (made, of_real, of_fake, judged)):
            return "a pass is made through which no gradient goes back"
        if any(record.second is None for record in others[: -1 if others and others[-1].second is None else None]):
            return "D does not learn from its penalties before G's step"
        if not (of_real.param_grads and of_fake.param_grads) or judged.param_grads or judged.input_grad is None:
            return "D does not learn first, and only then pass a gradient on to G"
        return ""

    def complete(self, passes: dict[str, list[Pass]], after: dict[str, Snapshot], labels: np.ndarray | None) -> None:
        for record in passes["discriminator"]:
            record.labels = labels
        after["discriminator"].grads = passes["discriminator"][-1].grads_before  # as D's optimiser saw them
        be, penalised = self.game.backend, [record for record in passes["discriminator"] if record.second is not None]
        for record, penalty in zip(penalised, getattr(self.game, "penalties", ()), strict=False):
            second = record.second
            assert second is not None
            value, v = penalty.slope(be, be.asarray(record.input_grad))
            if np.allclose(be.to_numpy(v), second.v, rtol=1e-9, atol=0):  # else nobody has said whose it is
                second.penalty, second.value = penalty, float(value)

    def look(self, look: Look, passes: dict[str, list[Pass]], batch: tuple[Array, Array], stats: dict[str, float]) -> OpenedGAN:
        d, g = "discriminator", "generator"
        opened = OpenedGAN(self.game, passes, stats, {})
        look.check_outputs(d, d, 0)
        look.check_outputs(d, d, 1)
        opened.updates[d] = look.update(d, opened.penalties)
        look.move(d, opened.updates[d])
        look.check_outputs(g, d, len(passes[d]) - 1)
        look.check_outputs(g, g, 0)
        opened.judged.input_checks = opened.generator.checks[-1]  # ∂L_G/∂x̃, on either side
        opened.updates[g] = look.update(g)
        look.move(g, opened.updates[g])
        return opened
