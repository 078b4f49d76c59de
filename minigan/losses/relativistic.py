"""A discriminator that compares a real image with a generated one, and a generator that wants to win the comparison."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.errors import ShapeError
from minigan.layers.elementwise import sigmoid, softplus
from minigan.losses.base import Objective
from minigan.sizes import ignore_underflow

Paid = tuple[Array, tuple[Array, Array]]


def pair_loss(xp: Any, up: Array, down: Array) -> Array:
    """−log σ(r) = ζ(−r) for r = up − down"""
    return softplus(xp, down - up)


def pair_grad(xp: Any, up: Array, down: Array, count: float) -> Array:
    """(σ(r) − 1) / N"""
    return (sigmoid(xp, up - down) - 1) / count


class Relativistic(Objective):
    """L_D = E ζ(−(s_real − s_fake)) and L_G = E ζ(−(s_fake − s_real)), over pairs of a real and a generated image.

    With r = s_real − s_fake, σ(r) is the probability that of a pair the real image is the real one; ζ(−r) = −log σ(r).
    Gradient: ∂ζ(−r)/∂r = −σ(−r) = σ(r) − 1, so ∂L_D/∂s_real = (σ(r) − 1) / N, ∂L_D/∂s_fake is its negative, and
    ∂L_G/∂s_fake = (σ(−r) − 1) / N. Real images are none of G's doing, so L_G has no gradient for s_real.
    Each real image pulls at its own partner: no D that gives all generated images one score can win, however low it is.
    Raises ShapeError unless there are as many real logits as generated ones.
    Source: Jolicoeur-Martineau 2018 (arXiv:1807.00734), section 4.1; Huang et al. 2024 (arXiv:2501.05441), section 2.1.
    """

    is_logit = False
    compares = True

    def discriminator(self, s_real: Array, s_fake: Array) -> Paid:
        return self._paid(s_real, s_fake)

    def generator(self, s_fake: Array, s_real: Array | None = None) -> tuple[Array, Array]:
        if s_real is None:
            raise ShapeError(f"{type(self).__name__} compares: give generator(s_fake, s_real) the logits of real images too")
        loss, (ds_fake, _) = self._paid(s_fake, s_real)
        return loss, ds_fake

    @ignore_underflow
    def _paid(self, up: Array, down: Array) -> Paid:
        """What the side pays that wants `up` above `down`, and its gradients in both."""
        if up.shape != down.shape:
            raise ShapeError(f"real and generated logits are compared in pairs, and have shapes {up.shape} and {down.shape}")
        (loss,) = self.backend.means(pair_loss, up, down)
        ds = self.backend.elementwise(pair_grad, up, down, count=float(up.size))
        return loss, (ds, -ds)
