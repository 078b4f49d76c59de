"""What all linear maps share: both passes follow from the map, its transpose and the gradient of its weight."""

from __future__ import annotations

from minigan.backends import Array
from minigan.layers.base import Grads, Layer


class Linear(Layer):
    """A linear map of each sample, with a bias where the layer has one: y = A x + b.

    A layer writes apply and transpose, and weight_grad where A is made of a parameter `weight`. For every x and y they keep
    ⟨A x, y⟩ = ⟨x, Aᵀ y⟩, and weight_grad(x, dy) = ∂⟨A x, dy⟩/∂weight.
    Backward: L reaches x through y = A x alone, and y_k = Σ_i A_ki x_i, so dx_i = Σ_k dy_k ∂y_k/∂x_i = Σ_k A_ki dy_k, that is
        dx = Aᵀ dy
    b is added to every row of the batch (and to every pixel), so db sums dy over all axes but the last.
    Tangent and curvature: ẏ = A ẋ, whatever x and b are. Q = ⟨dy, A ẋ⟩ depends on the weight as ⟨dy, A x⟩ does, with ẋ for x:
        ∂Q/∂weight = weight_grad(ẋ, dy),  ∂Q/∂b = 0,  ∂Q/∂x = 0
    """

    has_bias = False
    out_axis = -1  # of weight, along which the outputs (their channels) lie
    cross_sample = False
    weight: Array
    bias: Array

    def apply(self, x: Array) -> Array:
        """A x, in a new array or as a view of x."""
        raise NotImplementedError(f"{self.name} has no apply")

    def transpose(self, dy: Array) -> Array:
        """Aᵀ dy"""
        raise NotImplementedError(f"{self.name} has no transpose")

    def weight_grad(self, x: Array, dy: Array, out: Array) -> None:
        """out = ∂⟨A x, dy⟩/∂weight"""
        raise NotImplementedError(f"{self.name} has no weight_grad")

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Array]:
        if train:
            x = self.backend.operand(x)  # the backward pass multiplies by it again
        y = self.apply(x)
        if self.has_bias:
            self.backend.add_bias(y, self.bias)
        return y, x

    def backward(self, dy: Array, cache: Array, grads: Grads | None = None, input_grad: bool = True) -> Array | None:
        x, dy = cache, self.backend.operand(dy)
        if grads:
            self.weight_grad(x, dy, out=grads["weight"])
            if self.has_bias:
                self.backend.column_sum(dy, out=grads["bias"])
        return self.transpose(dy) if input_grad else None

    def tangent(self, x_dot: Array, cache: Array) -> Array:
        return self.apply(x_dot)

    def curvature(self, x_dot: Array, dy: Array, cache: Array, grads: Grads | None = None) -> None:
        if grads:
            self.weight_grad(x_dot, dy, out=grads["weight"])
            if self.has_bias:
                grads["bias"][...] = 0
