"""A discriminator that is content once it is sure enough."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.losses.wasserstein import Wasserstein


class Hinge(Wasserstein):
    """L_D = E max(0, 1 − s_real) + E max(0, 1 + s_fake) and L_G = −E s_fake.

    D stops where a real image has s >= 1 and a generated one s <= −1; G's loss is that of Wasserstein.
    Gradient: ∂L_D/∂s_real = −[s_real < 1] / N,  ∂L_D/∂s_fake = [s_fake > −1] / N, with 0 at the bends;  ∂L_G/∂s_fake = −1/N.
    Source: Lim and Ye 2017 (arXiv:1705.02894), section 3; Miyato et al. 2018 (arXiv:1802.05957), equations 16 and 17.
    """

    @staticmethod
    def real(xp: Any, s: Array) -> tuple[Array, Array]:
        """max(0, 1 − s), −[s < 1]"""
        return xp.maximum(1 - s, 0), 0 - (1 - s > 0).astype(s.dtype)

    @staticmethod
    def fake(xp: Any, s: Array) -> tuple[Array, Array]:
        """max(0, 1 + s), [s > −1]"""
        return xp.maximum(1 + s, 0), (1 + s > 0).astype(s.dtype)
