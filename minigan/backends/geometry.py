"""How a convolution meets an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigan.errors import ShapeError

Pair = tuple[int, int]


@dataclass(frozen=True)
class ConvGeometry:
    """How a convolution takes an image (H, W) to an output (OH, OW); each pair is (height, width).

    Output position o reads the image at o·stride − padding + k·dilation for k = 0 … kernel − 1; outside the image it reads 0.
    The transposed convolution is the same geometry walked from the output to the image.
    Raises ShapeError unless all are pairs of whole numbers, from 1 up (padding: from 0), and no output position reads beyond
    the padded image.
    """

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    image: Pair
    output: Pair

    def __post_init__(self) -> None:
        for name, pair in vars(self).items():
            least = 0 if name == "padding" else 1
            if not (
                isinstance(pair, tuple)
                and len(pair) == 2
                and all(isinstance(n, (int, np.integer)) and n >= least for n in pair)
            ):
                raise ShapeError(f"{name} is {pair!r}: expected a pair (height, width) of whole numbers from {least} up")
        for axis, name in enumerate(("height", "width")):
            last = (self.output[axis] - 1) * self.stride[axis] + self.dilation[axis] * (self.kernel[axis] - 1) + 1
            if last > self.padded[axis]:
                raise ShapeError(
                    f"an output of {name} {self.output[axis]} reads {last} places, and the padded image has {self.padded[axis]}"
                )

    @property
    def output_padding(self) -> Pair:
        """Image rows and columns beyond the last that an output position can read."""
        return tuple(  # type: ignore[return-value]
            max(0, self.padded[a] - (self.output[a] - 1) * self.stride[a] - self.dilation[a] * (self.kernel[a] - 1) - 1)
            for a in (0, 1)
        )

    @property
    def padded(self) -> Pair:
        """Height and width of the image with its zero border."""
        return self.image[0] + 2 * self.padding[0], self.image[1] + 2 * self.padding[1]
