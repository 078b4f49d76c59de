"""Each image compared with the average of the other kind."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.layers.elementwise import sigmoid, softplus
from minigan.losses.base import itself
from minigan.losses.relativistic import Paid, Relativistic
from minigan.sizes import ignore_underflow


def raised(xp: Any, a: Array) -> tuple[Array, Array]:
    """ζ(−a), and its derivative σ(a) − 1"""
    return softplus(xp, -a), sigmoid(xp, a) - 1


def lowered(xp: Any, b: Array) -> tuple[Array, Array]:
    """ζ(b), and its derivative σ(b)"""
    return softplus(xp, b), sigmoid(xp, b)


def average_grad(xp: Any, s: Array, others: Array, slope: Array, shift: float, count: float) -> Array:
    """(σ(s − others) − shift − slope) / N"""
    return (sigmoid(xp, s - others) - shift - slope) / count


class RelativisticAverage(Relativistic):
    """L_D = E ζ(−a) + E ζ(b) with a = s_real − E s_fake, b = s_fake − E s_real; L_G is the same with both sides exchanged.

    σ(a) is the probability that a real image is more real than generated ones are on average.
    Gradient of L_D, for N_r real and N_f generated images: s_real,n stands in its own a_n, and in every b by −1/N_r:
        ∂L_D/∂s_real,n = (σ(a_n) − 1) / N_r − Σ_m σ(b_m)/N_f · 1/N_r = (σ(a_n) − 1 − E σ(b)) / N_r
        ∂L_D/∂s_fake,m = σ(b_m) / N_f − Σ_n (σ(a_n) − 1)/N_r · 1/N_f = (σ(b_m) − E (σ(a) − 1)) / N_f
    ∂L_G/∂s_fake is the first of them, with both sides exchanged.
    Source: Jolicoeur-Martineau 2018 (arXiv:1807.00734), section 4.4 (RaSGAN; its published code halves both losses).
    """

    @ignore_underflow
    def _paid(self, up: Array, down: Array) -> Paid:
        be = self.backend
        mean_up, mean_down = be.all_mean(*be.means(itself, up), *be.means(itself, down))
        loss_up, slope_up = be.means(raised, up - mean_down)
        loss_down, slope_down = be.means(lowered, down - mean_up)
        be.all_mean(slope_up, slope_down)
        d_up = be.elementwise(average_grad, up, mean_down, slope_down, shift=1.0, count=float(up.size))
        d_down = be.elementwise(average_grad, down, mean_up, slope_up, shift=0.0, count=float(down.size))
        return be.xp.asanyarray(loss_up + loss_down), (d_up, d_down)
