"""Divergences other than that of Jensen and Shannon, each by a bound from below that D makes as tight as it can."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.losses.base import PerSample


class KL(PerSample):
    """L_D = −E t(s_real) + E f*(t(s_fake)) and L_G = −E f*(t(s_fake)), for the divergence D_f of data from samples.

    For a convex f with conjugate f*(t) = max_u (t u − f(u)), E t(x) − E f*(t(x̃)) <= D_f = E_x̃ f(p(x̃)/q(x̃)): D maximises that
    bound, G minimises it. t(s) is an output of D that f* takes. Here f(u) = u log u, t = s and f* = e^{s−1}, its own slope.
    Gradient: ∂L_D/∂s = −t'(s)/N for real logits; of f*(t(s)) for generated ones, and its negative for G, as beside the values.
    Exponentials overflow where the formula does: in float32, from s = 89 on.
    Source: Nowozin et al. 2016 (arXiv:1606.00709), equation 4, tables 2 and 6.
    """

    @staticmethod
    def real(xp: Any, s: Array) -> tuple[Array, Array]:
        """−t = −s, −1"""
        return -s, 0 * s - 1

    @staticmethod
    def fake(xp: Any, s: Array) -> tuple[Array, Array]:
        """e^{s−1}, e^{s−1}"""
        return xp.exp(s - 1), xp.exp(s - 1)

    @classmethod
    def judged(cls, xp: Any, s: Array) -> tuple[Array, Array]:
        value, slope = cls.fake(xp, s)
        return -value, -slope


class ReverseKL(KL):
    """KL with the two sides exchanged, E_x̃ log(q/p): f(u) = −log u, t = −e^{−s} < 0, f*(t) = −1 − log(−t) = s − 1."""

    @staticmethod
    def real(xp: Any, s: Array) -> tuple[Array, Array]:
        """−t = e^{−s}, −e^{−s}"""
        return xp.exp(-s), -xp.exp(-s)

    @staticmethod
    def fake(xp: Any, s: Array) -> tuple[Array, Array]:
        """s − 1, 1"""
        return s - 1, 0 * s + 1


class Pearson(KL):
    """Pearson's χ², E_x̃ (p/q − 1)²: f(u) = (u − 1)², t = s, f*(t) = t²/4 + t."""

    @staticmethod
    def fake(xp: Any, s: Array) -> tuple[Array, Array]:
        """s²/4 + s, s/2 + 1"""
        return s * s / 4 + s, s / 2 + 1
