"""The penalties that want D's slope to be 1: WGAN-GP between real and generated images, DRAGAN around the real ones."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array, Backend, Generator, stream
from minigan.errors import ShapeError
from minigan.layers.formulas import squared_deviation
from minigan.losses.base import itself
from minigan.losses.penalty import UnitNorm


def between(xp: Any, x: Array, y: Array, rate: Array) -> Array:
    """x + rate (y − x)"""
    return x + rate * (y - x)


class GradientPenalty(UnitNorm):
    """P = w/N Σ_n (‖g_n‖ − 1)² at x_n = ε_n x + (1 − ε_n) x̃, one ε_n ~ U[0, 1) for each pair of a real and a generated image.

    A critic that is optimal in Wasserstein's sense has slope 1 on the lines between the two (their proposition 1).
    noise: the stream of the ε; a game gives its own. Source: Gulrajani et al. 2017 (arXiv:1704.00028), equation 3.
    """

    noise: Generator | None = None

    def points(self, be: Backend, real: Array, fake: Array) -> Array:
        if real.shape != fake.shape:
            raise ShapeError(f"real is {real.shape}, fake {fake.shape}: points between them need batches of one shape")
        return be.elementwise(between, fake, real, self.draw(be, real))

    def draw(self, be: Backend, real: Array) -> Array:
        """One number from U[0, 1) for each image: (N, 1, …)."""
        if self.noise is None:
            self.noise = be.generator(stream("penalty", 0))
        return self.noise.uniform((len(real),) + (1,) * (real.ndim - 1), real.dtype)


class DRAGAN(GradientPenalty):
    """P = w/N Σ_n (‖g_n‖ − 1)² at x_n = x + α_n δ, with δ = ½ std(x) u: near the real images.

    u ~ U[0, 1) for every value and α_n ~ U[0, 1) for every image; std is that of all values of the batch.
    Source: Kodali et al. 2017 (arXiv:1705.07215), algorithm 1, with the noise of their published code.
    """

    def points(self, be: Backend, real: Array, fake: Array) -> Array:
        alpha = self.draw(be, real)
        assert self.noise is not None
        u = self.noise.uniform(real.shape, real.dtype)
        (mean,) = be.all_mean(*be.means(itself, real))
        (variance,) = be.all_mean(*be.means(squared_deviation, real, mean))
        return be.elementwise(perturbed, real, u, alpha, variance)


def perturbed(xp: Any, x: Array, u: Array, alpha: Array, variance: Array) -> Array:
    """x + α · ½ std u"""
    return x + alpha * (0.5 * xp.sqrt(variance) * u)
