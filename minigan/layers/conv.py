"""Convolution and transposed convolution: one linear map and its transpose, over three functions of the backend."""

from __future__ import annotations

from typing import Any

from minigan.backends import Array, ConvGeometry
from minigan.initializers import Initializer, glorot, zeros
from minigan.layers.base import Shape
from minigan.layers.linear import Linear
from minigan.sizes import pair, positive_int


class _Convolution(Linear):
    """What both convolutions share: their options, their parameters and the check of an image shape."""

    geometry: ConvGeometry

    def __init__(
        self,
        channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        bias: bool,
        weight_init: Initializer | None,
        bias_init: Initializer | None,
        **more_options: Any,
    ) -> None:
        super().__init__(
            channels=channels,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            bias=bias,
            **more_options,
        )
        self.channels = positive_int(channels, f"{self.name}: channels")
        self.kernel_size = pair(kernel_size, f"{self.name}: kernel_size")
        self.stride = pair(stride, f"{self.name}: stride")
        self.padding = pair(padding, f"{self.name}: padding", least=0)
        self.dilation = pair(dilation, f"{self.name}: dilation")
        self.has_bias = bias
        self.weight_init = weight_init or glorot()
        self.bias_init = bias_init or zeros()

    def _reach(self, axis: int) -> int:
        """How many image rows (columns) the dilated kernel spans."""
        return self.dilation[axis] * (self.kernel_size[axis] - 1) + 1

    def _build(self, image: tuple[int, ...], output: tuple[int, ...], weight: Shape, fan_in: int, fan_out: int) -> None:
        self.geometry = ConvGeometry(
            self.kernel_size, self.stride, self.padding, self.dilation, (image[0], image[1]), (output[0], output[1])
        )
        taps = self.kernel_size[0] * self.kernel_size[1]
        self.add_parameter("weight", weight, self.weight_init, taps * fan_in, taps * fan_out)
        if self.has_bias:
            self.add_parameter("bias", (self.channels,), self.bias_init, taps * fan_in, taps * fan_out)


class Conv2d(_Convolution):
    """Two-dimensional convolution (cross-correlation): y = A_w x + b.

    x: (N, H, W, C) -> y: (N, OH, OW, F). Parameters: weight w (KH, KW, C, F), bias b (F,). With
    stride s, dilation d, and x̄ = x with a border of `padding` zeros:
        y_nopf = b_f + Σ_ijc x̄_n(o·s+i·d)(p·s+j·d)c w_ijcf
        OH = ⌊(H + 2·padding − dilation·(KH − 1) − 1) / stride⌋ + 1, and so for OW
    Backward: pixel x̄_nhvc stands in y_nopf where h = o·s + i·d and v = p·s + j·d for some i and j,
    and there ∂y_nopf/∂x̄_nhvc = w_ijcf. The chain rule adds up:
        dx̄_nhvc = Σ_opf dy_nopf ∂y_nopf/∂x̄_nhvc = Σ_opf dy_nopf w_ijcf, with that i and j
        dw_ijcf = Σ_nop dy_nopf ∂y_nopf/∂w_ijcf = Σ_nop dy_nopf x̄_n(o·s+i·d)(p·s+j·d)c
        db_f = Σ_nop dy_nopf
    dx is dx̄ without its border: each dy goes back to the pixels that it was made from, by the same
    weights. This is dx = A_wᵀ dy (conv2d_transpose); the sum for dw is conv2d_weight_grad.
    Options, one number or (height, width): kernel_size, stride, padding, dilation; they mean what
    they mean in PyTorch.
    Raises ShapeError if the input is not (H, W, C) or the kernel is larger than the padded image.
    Source: Dumoulin and Visin 2016 (arXiv:1603.07285), sections 2 and 5.1.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        bias: bool = True,
        *,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
    ) -> None:
        super().__init__(channels, kernel_size, stride, padding, dilation, bias, weight_init, bias_init)

    def build(self, input_shape: Shape) -> Shape:
        self.require(len(input_shape) == 3, "(H, W, C)", input_shape)
        image, features = input_shape[:2], input_shape[2]
        free = [image[a] + 2 * self.padding[a] - self._reach(a) for a in (0, 1)]
        reach = (self._reach(0), self._reach(1))
        self.require(min(free) >= 0, f"an image of at least {reach} with its padding of {self.padding}", input_shape)
        output = tuple(free[a] // self.stride[a] + 1 for a in (0, 1))
        self._build(image, output, (*self.kernel_size, features, self.channels), features, self.channels)
        return (*output, self.channels)

    def apply(self, x: Array) -> Array:
        return self.backend.conv2d(x, self.weight, self.geometry)

    def transpose(self, dy: Array) -> Array:
        return self.backend.conv2d_transpose(dy, self.weight, self.geometry)

    def weight_grad(self, x: Array, dy: Array, out: Array) -> None:
        self.backend.conv2d_weight_grad(x, dy, self.geometry, out=out)


class ConvTranspose2d(_Convolution):
    """Transposed convolution: y = A_wᵀ x + b.

    A_w is the Conv2d that has this weight and leads from y's shape to x's.
    x: (N, H, W, C) -> y: (N, OH, OW, F). Parameters: weight w (KH, KW, F, C), bias b (F,). With
    stride s and dilation d, each x is spread over a window of ȳ, and windows that overlap add up:
        ȳ_n(h·s+i·d)(v·s+j·d)f += Σ_c x_nhvc w_ijfc for all h, v, i, j
        y = ȳ without its border of `padding`, plus b
        OH = (H − 1)·stride − 2·padding + dilation·(KH − 1) + output_padding + 1, and so for OW
    Backward: for each i, j and f, ∂ȳ_n(h·s+i·d)(v·s+j·d)f/∂x_nhvc = w_ijfc. With dȳ = dy in a border
    of `padding` zeros, the chain rule adds up:
        dx_nhvc = Σ_ijf dȳ_n(h·s+i·d)(v·s+j·d)f w_ijfc, which is Conv2d's forward: dx = A_w dy
        dw_ijfc = Σ_nhv dȳ_n(h·s+i·d)(v·s+j·d)f x_nhvc, which is Conv2d's dw, the two ends exchanged
        db_f = Σ_nop dy_nopf
    output_padding adds rows and columns at the bottom and right, for the sizes that a strided Conv2d
    rounds down; it must be smaller than stride or dilation. All options mean what they mean in
    PyTorch.
    Raises ShapeError if the input is not (H, W, C) or no pixel would be left.
    Source: Dumoulin and Visin 2016 (arXiv:1603.07285), section 4; in GANs, Radford et al. 2015
    (arXiv:1511.06434), section 3.
    """

    out_axis = -2

    def __init__(
        self,
        channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        dilation: Any = 1,
        bias: bool = True,
        *,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
    ) -> None:
        super().__init__(
            channels, kernel_size, stride, padding, dilation, bias, weight_init, bias_init, output_padding=output_padding
        )
        self.output_padding = pair(output_padding, "ConvTranspose2d: output_padding", least=0)
        room = tuple(max(self.stride[a], self.dilation[a]) - 1 for a in (0, 1))
        fits = all(self.output_padding[a] <= room[a] for a in (0, 1))
        self.require(fits, f"output_padding smaller than stride or dilation, at most {room}", self.output_padding)

    def build(self, input_shape: Shape) -> Shape:
        self.require(len(input_shape) == 3, "(H, W, C)", input_shape)
        small, features = input_shape[:2], input_shape[2]
        image = tuple(
            (small[a] - 1) * self.stride[a] - 2 * self.padding[a] + self._reach(a) + self.output_padding[a] for a in (0, 1)
        )
        self.require(min(image) >= 1, f"an input that leaves a pixel; it would make {image}: use less padding", input_shape)
        self._build(image, small, (*self.kernel_size, self.channels, features), features, self.channels)
        return (*image, self.channels)

    def apply(self, x: Array) -> Array:
        return self.backend.conv2d_transpose(x, self.weight, self.geometry)

    def transpose(self, dy: Array) -> Array:
        return self.backend.conv2d(dy, self.weight, self.geometry)

    def weight_grad(self, x: Array, dy: Array, out: Array) -> None:
        self.backend.conv2d_weight_grad(dy, x, self.geometry, out=out)  # the image is dy: A_w leads from y's shape to x's
