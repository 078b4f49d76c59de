"""The minimax game of Goodfellow et al. 2014 as it stands: G minimises what D maximises."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.layers.elementwise import sigmoid, softplus
from minigan.losses.non_saturating import NonSaturating
from minigan.sizes import ignore_underflow


def minimax_loss(xp: Any, s: Array) -> Array:
    """log(1 − σ(s)) = −ζ(s)"""
    return -softplus(xp, s)


def minimax_grad(xp: Any, s: Array, count: float) -> Array:
    """−σ(s) / N"""
    return -sigmoid(xp, s) / count


class Saturating(NonSaturating):
    """L_D as NonSaturating has it, and L_G = E log(1 − D(x̃)), the other half of the minimax game.

    From logits s of any shape with N values, with ζ(s) = log(1 + e^s):
        L_G = mean log(1 − σ(s_fake)) = −mean ζ(s_fake)
    Gradient: ζ' = σ, so ∂L_G/∂s_fake = −σ(s_fake) / N.
    It pushes s_fake up, but where D is sure that the image is fake, s → −∞, it vanishes. (Against the best D this L_G is,
    but for what G cannot change, twice the Jensen-Shannon divergence of G's images from the real ones.)
    Raises OptionError unless 0 <= smoothing < 1.
    Source: Goodfellow et al. 2014 (arXiv:1406.2661), section 3; for the divergence theorem 1.
    """

    @ignore_underflow
    def generator(self, s_fake: Array, s_real: Array | None = None) -> tuple[Array, Array]:
        (loss,) = self.backend.means(minimax_loss, s_fake)
        return loss, self.backend.elementwise(minimax_grad, s_fake, count=float(s_fake.size))
