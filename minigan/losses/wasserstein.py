"""A critic that measures how far apart two distributions lie, in place of a judge that tells them apart."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.losses.base import PerSample


class Wasserstein(PerSample):
    """L_D = E s_fake − E s_real and L_G = −E s_fake.

    Over all D of slope at most 1, the largest −L_D is Wasserstein's distance of the two, W = max (E s_real − E s_fake).
    That slope is the caller's business: GradientPenalty, as in WGAN-GP, or clipped weights. Without it L_D has no lower bound.
    Gradient: ∂L_D/∂s_real = −1/N,  ∂L_D/∂s_fake = 1/N,  ∂L_G/∂s_fake = −1/N, whatever s is.
    Source: Arjovsky et al. 2017 (arXiv:1701.07875), equations 2 and 3.
    """

    @staticmethod
    def real(xp: Any, s: Array) -> tuple[Array, Array]:
        """−s, −1"""
        return -s, 0 * s - 1

    @staticmethod
    def fake(xp: Any, s: Array) -> tuple[Array, Array]:
        """s, 1"""
        return s, 0 * s + 1

    judged = real
