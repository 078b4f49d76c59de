"""Targets for D in place of probabilities, and the square of its distance from them."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.losses.base import PerSample


class LeastSquares(PerSample):
    """L_D = ½ E (s_real − 1)² + ½ E s_fake² and L_G = ½ E (s_fake − 1)²: D aims at 1 and 0, G at 1.

    Gradient: ∂½(s − t)²/∂s = s − t, so
        ∂L_D/∂s_real = (s_real − 1) / N,  ∂L_D/∂s_fake = s_fake / N,  ∂L_G/∂s_fake = (s_fake − 1) / N
    An image far on the right side of the boundary is drawn back to it, where the log losses leave it alone.
    Source: Mao et al. 2017 (arXiv:1611.04076), equation 9.
    """

    @staticmethod
    def real(xp: Any, s: Array) -> tuple[Array, Array]:
        """½ (s − 1)², s − 1"""
        return (s - 1) * (s - 1) / 2, s - 1

    @staticmethod
    def fake(xp: Any, s: Array) -> tuple[Array, Array]:
        """½ s², s"""
        return s * s / 2, s

    judged = real
