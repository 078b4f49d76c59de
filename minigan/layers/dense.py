"""The fully connected layer."""

from __future__ import annotations

from minigan.backends import Array
from minigan.initializers import Initializer, glorot, zeros
from minigan.layers.base import Shape
from minigan.layers.linear import Linear
from minigan.sizes import positive_int


class Dense(Linear):
    """Fully connected layer: y = x W + b, y_no = Σ_i x_ni W_io + b_o.

    x: (N, I) -> y: (N, O). Parameters: weight W (I, O), bias b (O,).
    Backward: each number reaches L through every y that it stands in; the chain rule adds them up:
        dx_ni = Σ_o dy_no ∂y_no/∂x_ni = Σ_o dy_no W_io,  that is  dx = dy Wᵀ
        dW_io = Σ_n dy_no ∂y_no/∂W_io = Σ_n dy_no x_ni,  that is  dW = xᵀ dy
        db_o  = Σ_n dy_no ∂y_no/∂b_o  = Σ_n dy_no
    Raises ShapeError if x is not (N, I); put a Flatten before it.
    Source: Rumelhart, Hinton and Williams 1986 (Nature 323), equations 1, 6 and 7.
    """

    def __init__(
        self, units: int, bias: bool = True, *, weight_init: Initializer | None = None, bias_init: Initializer | None = None
    ) -> None:
        super().__init__(units=units, bias=bias)
        self.units = positive_int(units, "Dense: units")
        self.has_bias = bias
        self.weight_init = weight_init or glorot()
        self.bias_init = bias_init or zeros()

    def build(self, input_shape: Shape) -> Shape:
        self.require(len(input_shape) == 1, "(features,); put a Flatten before it", input_shape)
        (features,) = input_shape
        self.add_parameter("weight", (features, self.units), self.weight_init, features, self.units)
        if self.has_bias:
            self.add_parameter("bias", (self.units,), self.bias_init, features, self.units)
        return (self.units,)

    def apply(self, x: Array) -> Array:
        return self.backend.matmul(x, self.weight)

    def transpose(self, dy: Array) -> Array:
        return self.backend.matmul(dy, self.weight.T)

    def weight_grad(self, x: Array, dy: Array, out: Array) -> None:
        self.backend.matmul(x.T, dy, out=out)
