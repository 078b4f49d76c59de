"""A VAE's step: x becomes a code, a draw from it a reconstruction; the gradient comes back, and both networks move at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from minigan.backends import Array
from minigan.errors import OptionError
from minigan.explain.step.looking import Look
from minigan.explain.step.plan import Plan
from minigan.explain.step.records import OpenedVAE, Pass, Share
from minigan.explain.step.rerun import Rerun
from minigan.games import VAE, Game
from minigan.losses import reparametrise

ENCODER, DECODER = "encoder", "decoder"
TERMS = ("reconstruction", "kl")  # of the loss


class VAEPlan(Plan):
    networks: ClassVar = {ENCODER: 1, DECODER: 1}
    stats = ("loss", *TERMS)
    ways: ClassVar = {ENCODER: ((DECODER, 0), (ENCODER, 0)), DECODER: ((DECODER, 0),)}
    losses: ClassVar = {ENCODER: "L", DECODER: "L"}
    usual = (
        "only steps can be opened in which E codes the batch, D makes x of z = μ + σ ε, L = −log p(x|z) + kl_weight · KL, and "
        "both move"
    )
    game: Any

    @classmethod
    def opens(cls, game: Game) -> bool:
        return isinstance(game, VAE)

    def count_ticks(self) -> int:
        return super().count_ticks() + len(TERMS) + 1  # the terms' gradients at h, and ∂L/∂z

    def difference(self, passes: dict[str, list[Pass]], batch: tuple[Array, Array], stats: Mapping[str, float]) -> str:
        (coded,), (decoded,) = passes[ENCODER], passes[DECODER]
        be, (x, noise) = self.game.backend, batch
        if not np.array_equal(coded.x, be.to_numpy(x)):
            return "the encoder does not see the batch as it is"
        z = be.to_numpy(reparametrise(be, be.asarray(coded.outputs[-1]), noise))
        if decoded.x.shape != z.shape or not np.allclose(decoded.x, z, rtol=1e-9, atol=0, equal_nan=True):
            return "the decoder does not get z = μ + σ ε"
        if any(record.param_grads.keys() != record.net.params.keys() for record in (coded, decoded)):
            return "not all parameters get a gradient in the one pass"
        if decoded.input_grad is None:
            return "no gradient goes from the decoder to the encoder"
        expected = stats["reconstruction"] + self.weight * stats["kl"]
        if not np.isclose(stats["loss"], expected, rtol=1e-9, atol=1e-9, equal_nan=True):
            return "the loss is not reconstruction + kl_weight · kl"
        return ""

    @property
    def weight(self) -> float:
        """Of the KL, in the step that was taken last."""
        be = self.game.backend
        return float(be.to_numpy(be.xp.asarray(self.game.weight.value)))

    def look(self, look: Look, passes: dict[str, list[Pass]], batch: tuple[Array, Array], stats: dict[str, float]) -> OpenedVAE:
        h = len(passes[ENCODER][0].outputs) - 1  # where the two gradients meet
        look.check_outputs(ENCODER, DECODER, 0)
        look.check_input(ENCODER, DECODER, 0)
        look.check_outputs(ENCODER, ENCODER, 0)
        gradients = self._shares(look.rerun, passes[ENCODER][0])
        shares = {
            term: Share(gradient, look.check(ENCODER, ENCODER, 0, h, gradient, term)) for term, gradient in gradients.items()
        }
        updates = {name: look.update(name) for name in (ENCODER, DECODER)}
        for name, update in updates.items():
            look.move(name, update)
        noise = self.game.backend.to_numpy(batch[1]).copy()
        return OpenedVAE(self.game, passes, stats, updates, noise, self.weight, shares)

    def _shares(self, rerun: Rerun, coded: Pass) -> dict[str, np.ndarray]:
        """What each term sends back to h: the game's own step says it, run again with the KL weighing 0 and 1.

        Raises OptionError where they do not add up to what the encoder got.
        """
        found, weight = [], self.weight
        for other in (0.0, 1.0):
            rerun.game.weight.set(other)
            gradient = rerun.again()[ENCODER][0].output_grads[-1]
            assert gradient is not None
            found.append(gradient)
        rerun.game.weight.set(weight)
        draw, kl = found[0], found[1] - found[0]
        whole = coded.output_grads[-1]
        assert whole is not None
        if not np.allclose(draw + weight * kl, whole, rtol=1e-6, atol=1e-9 * float(np.abs(whole).max()), equal_nan=True):
            raise OptionError(f"in a step of this game kl_weight does not weigh the KL's gradient: {self.usual}")
        return dict(zip(TERMS, (draw, kl), strict=True))
