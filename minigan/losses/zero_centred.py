"""R1 and R2: D is to be flat where the images are, so that a game at its end stays there."""

from __future__ import annotations

from minigan.backends import Array, Backend
from minigan.layers.formulas import product, scaled
from minigan.losses.penalty import Penalty


class R1(Penalty):
    """P = w/(2N) Σ_n ‖g_n‖², g_n = ∂s_n/∂x_n at real images x_n.

    v_n = ∂P/∂g_n = w/N g_n. When G makes what the data are, D needs no slope there; any slope left over pushes G away again.
    Source: Mescheder, Geiger and Nowozin 2018 (arXiv:1801.04406), equation 9.
    """

    batch = 0

    def points(self, be: Backend, real: Array, fake: Array) -> Array:
        return real

    def value_and_grad(self, be: Backend, g: Array) -> tuple[Array, Array]:
        (mean,) = be.means(product, g, g)
        return self.weight / 2 * g.shape[1] * mean, be.elementwise(scaled, g, scale=self.weight / len(g))


class R2(R1):
    """P = w/(2N) Σ_n ‖g_n‖², g_n = ∂s_n/∂x_n at generated images x_n.

    Source: Mescheder, Geiger and Nowozin 2018 (arXiv:1801.04406), section 4.1.
    """

    batch = 1

    def points(self, be: Backend, real: Array, fake: Array) -> Array:
        return fake
