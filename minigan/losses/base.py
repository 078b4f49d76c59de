"""What an objective of a game is."""

from __future__ import annotations

import copy
from typing import Any

from minigan.backends import Array, Backend, Formula, get_backend
from minigan.sizes import ignore_underflow


class Objective:
    """The losses of both players, from D's logits s: a new one writes discriminator and generator.

    All are means over the batch, in nats. Each method returns the value, a 0-d array, and its gradients, of the logits' shape.
    is_logit: whether σ(s) is the probability that a sample is real; else s is a score, which has no scale of its own.
    compares: whether generator looks at s_real, for which a game then runs D once more.
    backend: what they run on; a game binds its objective to the backend of its networks.
    """

    is_logit = True
    compares = False

    def __init__(self, **options: Any) -> None:
        self.options = options  # what the objective was made with, for its repr
        self.backend = get_backend("textbook")

    def bind(self, backend: Backend) -> Objective:
        """The same objective on this backend."""
        bound = copy.copy(self)
        bound.backend = backend
        return bound

    def discriminator(self, s_real: Array, s_fake: Array) -> tuple[Array, tuple[Array, Array]]:
        """L_D, (∂L_D/∂s_real, ∂L_D/∂s_fake)"""
        raise NotImplementedError(f"{type(self).__name__} has no discriminator")

    def generator(self, s_fake: Array, s_real: Array | None = None) -> tuple[Array, Array]:
        """L_G, ∂L_G/∂s_fake. s_real: given to objectives that compare the two."""
        raise NotImplementedError(f"{type(self).__name__} has no generator")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.options.items() if value)
        return f"{type(self).__name__}({shown})"


def itself(xp: Any, x: Array) -> Array:
    """x"""
    return x


def slope(xp: Any, s: Array, pair: Formula) -> Array:
    """The second of the two values of a formula"""
    return pair(xp, s)[1]


class PerSample(Objective):
    """L_D = mean a(s_real) + mean b(s_fake), L_G = mean c(s_fake), where s is a score.

    A new one writes real, fake and judged: formulas of s that return a and a', b and b', c and c'.
    """

    is_logit = False
    real: Formula
    fake: Formula
    judged: Formula

    @ignore_underflow
    def discriminator(self, s_real: Array, s_fake: Array) -> tuple[Array, tuple[Array, Array]]:
        (real, ds_real), (fake, ds_fake) = self._mean(self.real, s_real), self._mean(self.fake, s_fake)
        return self.backend.xp.asanyarray(real + fake), (ds_real, ds_fake)

    @ignore_underflow
    def generator(self, s_fake: Array, s_real: Array | None = None) -> tuple[Array, Array]:
        return self._mean(self.judged, s_fake)

    def _mean(self, pair: Formula, s: Array) -> tuple[Array, Array]:
        """Σ_n f(s_n) / N, and its gradient f'(s_n) / N."""
        return self.backend.means(pair, s)[0], self.backend.elementwise(slope, s, pair=pair) / s.size
