"""The game of Goodfellow et al. 2014 with the generator's loss that does not saturate."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array
from minigan.layers.elementwise import sigmoid, softplus
from minigan.losses.base import Objective
from minigan.sizes import ignore_underflow, real


def real_loss(xp: Any, s: Array, smoothing: float) -> Array:
    """−log σ(s) = ζ(−s), smoothed: + α s"""
    return softplus(xp, -s) + smoothing * s


def real_grad(xp: Any, s: Array, smoothing: float, count: float) -> Array:
    """(σ(s) − 1 + α) / N"""
    return (sigmoid(xp, s) - 1 + smoothing) / count


def fake_loss(xp: Any, s: Array) -> Array:
    """−log(1 − σ(s)) = ζ(s)"""
    return softplus(xp, s)


def fake_grad(xp: Any, s: Array, count: float) -> Array:
    """σ(s) / N"""
    return sigmoid(xp, s) / count


class NonSaturating(Objective):
    """L_D = −E log D(x) − E log(1 − D(x̃)) and L_G = −E log D(x̃), for a discriminator D = σ(s).

    From logits s of any shape with N values, with ζ(s) = log(1 + e^s):
        −log σ(s) = log(1 + e^−s) = ζ(−s),  −log(1 − σ(s)) = log(1 + e^s) = ζ(s)
        L_D = mean ζ(−s_real) + mean ζ(s_fake),  L_G = mean ζ(−s_fake)
    Gradient: ζ'(s) = e^s/(1 + e^s) = σ(s), so ζ(−s) has the derivative −σ(−s) = σ(s) − 1, and
        ∂L_D/∂s_real = (σ(s_real) − 1) / N,  ∂L_D/∂s_fake = σ(s_fake) / N,  ∂L_G/∂s_fake = (σ(s_fake) − 1) / N
    L_G pushes s_fake up. Where D is sure that the image is fake, s → −∞, its gradient goes to −1/N: it does not vanish.
    The paper, and many texts, write L_D without the minus signs: that is the value V which D maximises, so its
    negative is what is minimised here. With one-sided label smoothing α, D's target for real images is t = 1 − α:
        −t log σ(s) − (1 − t) log(1 − σ(s)) = ζ(−s) + α s,  with gradient (σ(s) − 1 + α) / N
    Raises OptionError unless 0 <= smoothing < 1.
    Source: Goodfellow et al. 2014 (arXiv:1406.2661), equation 1 and section 3; Salimans et al. 2016
    (arXiv:1606.03498), section 3.4.
    """

    def __init__(self, smoothing: float = 0.0) -> None:
        self.smoothing = real(smoothing, "smoothing", "a number in [0, 1)", lambda a: 0 <= a < 1)
        super().__init__(smoothing=self.smoothing)

    @ignore_underflow
    def discriminator(self, s_real: Array, s_fake: Array) -> tuple[Array, tuple[Array, Array]]:
        be = self.backend
        (real,) = be.means(real_loss, s_real, smoothing=self.smoothing)
        (fake,) = be.means(fake_loss, s_fake)
        ds_real = be.elementwise(real_grad, s_real, smoothing=self.smoothing, count=float(s_real.size))
        ds_fake = be.elementwise(fake_grad, s_fake, count=float(s_fake.size))
        return be.xp.asanyarray(real + fake), (ds_real, ds_fake)

    @ignore_underflow
    def generator(self, s_fake: Array, s_real: Array | None = None) -> tuple[Array, Array]:
        (loss,) = self.backend.means(real_loss, s_fake, smoothing=0.0)
        return loss, self.backend.elementwise(real_grad, s_fake, smoothing=0.0, count=float(s_fake.size))
