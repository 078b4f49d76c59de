"""The score of a sample, made of what D puts out and of the sample's label; and its gradient."""

from __future__ import annotations

from minigan.backends import Array, Backend
from minigan.layers.formulas import product


def beside(be: Backend, left: Array, right: Array) -> Array:
    """[a, b]: rows (N, A) and (N, B) side by side, (N, A + B)."""
    rows = be.empty((len(left), left.shape[1] + right.shape[1]), left.dtype)
    rows[:, : left.shape[1]] = left
    rows[:, left.shape[1] :] = right
    return rows


class Score:
    """s_n = ⟨o_n, t_n⟩ for outputs o of D, (N, 1) without labels and (N, 1 + K) with labels of K classes: (N, 1).

    Without labels t_n = 1: D puts out the score itself, s = o. With labels y_n, one-hot rows, D is the projection
    discriminator: its last layer maps features φ(x) to o = (ψᵀφ + c, Vᵀφ + d), one number for what all images have in common
    and one for each class, and
        s(x, y) = o_0 + o_{1+y} = ψᵀφ(x) + c + ⟨v_y, φ(x)⟩ + d_y = ⟨o, t⟩,  t = [1, y]
    D asks whether x is real, and whether it is like its class; only the second depends on y. D itself stays a plain network.
    Gradient: ⟨o_n, t_n⟩ is linear in o_n, and t_n a constant, so ∂s_n/∂o_n = t_n and
        ∂L/∂o_n = ∂L/∂s_n t_n
    For ∂(Σ_n s_n)/∂x, of which penalties are made, ∂L/∂s_n = 1: what goes back through D is t itself, `upstream`.
    Source: Miyato and Koyama 2018 (arXiv:1802.05637), equation 3, with a linear ψ and without embedding φ anew.
    """

    def __init__(self, be: Backend, labels: Array | None = None) -> None:
        self.backend = be
        self.t = None if labels is None else beside(be, be.xp.ones_like(labels[:, :1]), labels)

    def value(self, o: Array) -> Array:
        """s (N, 1)"""
        return o if self.t is None else self.backend.elementwise(product, o, self.t).sum(axis=1, keepdims=True)

    def backward(self, ds: Array) -> Array:
        """∂L/∂o from ∂L/∂s (N, 1)."""
        return ds if self.t is None else self.backend.elementwise(product, self.t, ds)

    def upstream(self, ds: Array) -> Array:
        """t, and 1 without labels, in ds's shape: ∂(Σ_n s_n)/∂o."""
        return self.backend.xp.ones_like(ds) if self.t is None else self.t
