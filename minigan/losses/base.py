"""What an objective of a game is."""

from __future__ import annotations

import copy
from typing import Any

from minigan.backends import Array, Backend, get_backend


class Objective:
    """The losses of both players, from D's logits s: a new one writes discriminator and generator.

    All are means over the batch, in nats. Each method returns the value, a 0-d array, and its gradients, of the logits' shape.
    backend: what they run on; a game binds its objective to the backend of its networks.
    """

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
        """L_G, ∂L_G/∂s_fake. s_real: looked at only by objectives that compare the two."""
        raise NotImplementedError(f"{type(self).__name__} has no generator")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.options.items() if value)
        return f"{type(self).__name__}({shown})"
