"""The transposed convolution as a convolution of its own, with nothing to add up.

Of the padded image x̄ = A_wᵀ y, pixel i·s + a (phase a of the stride s) is reached by the outputs i, i − 1, … alone, each
through one tap: a, a + s, …

    x̄[i·s + a] = Σ_t y[i − t] w[a + t·s],   t = 0 … T − 1,   T = ⌈k/s⌉

So the rows of x̄ of one phase are a product: windows of T × T' outputs as rows (im2col of y) times the kernel with its taps
turned round, which has a column for each of the s'·C numbers of s' pixels side by side. With a stride of 1 there is one
phase, and x is the convolution of y by the turned kernel. (A y that is not finite spoils the whole block of pixels.)
Source: Shi et al. 2016 (arXiv:1609.05158 and 1609.07009), "sub-pixel convolution".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from minigan.backends.base import Array
from minigan.backends.geometry import ConvGeometry
from minigan.backends.numpy.winograd import by_phase, taps_of


@dataclass(frozen=True)
class Phase:
    """Every s-th pixel of one axis, from `number` on: where they lie in the grid of blocks of s pixels, and in the image."""

    number: int
    grid: slice
    image: slice


def phases(size: int, length: int, stride: int = 1, padding: int = 0) -> list[Phase]:
    """The phases of an axis of `length` behind `padding` zeros, in a grid of `size` pixels of s."""
    found = []
    for number in range(stride):
        start = number - padding
        first = max(0, -(start // stride))
        end = max(first, min(size, -((start - length) // stride)))
        image = slice(start + first * stride, max(0, start + (end - 1) * stride + 1), stride)
        found.append(Phase(number, slice(first, end), image))
    return found


class SubPixel:
    """The transposed convolution of one geometry without dilation in this form."""

    def __init__(self, g: ConvGeometry) -> None:
        self.g = g
        self._taps = taps_of(g)
        first, around, count = zip(self._axis(0), self._axis(1), strict=True)
        self.windows = ConvGeometry(self._taps, (1, 1), around, (1, 1), g.output, count)
        # The image begins within the block of pixels that the first window makes, or with it.
        self.rows, self._columns = (
            phases(count[axis], g.image[axis], g.stride[axis], g.padding[axis] - first[axis] * g.stride[axis])
            for axis in (0, 1)
        )

    def _axis(self, axis: int) -> tuple[int, int, int]:
        """(the number i of the first window, zeros around y, how many windows): as many as the image's pixels need."""
        taps, stride, padding = self._taps[axis], self.g.stride[axis], self.g.padding[axis]
        least, most = padding // stride, (padding + self.g.image[axis] - 1) // stride
        around = max(0, taps - 1 - least, most - self.g.output[axis] + 1)
        return taps - 1 - around, around, self.g.output[axis] + 2 * around - taps + 1

    @staticmethod
    def work(g: ConvGeometry, channels: int, features: int) -> tuple[float, float, float]:
        """For one image: (multiplications, numbers of im2col, numbers moved to their pixels). Infinite for dilation."""
        if g.dilation != (1, 1):
            return math.inf, math.inf, math.inf
        form = sub_pixel(g)
        inside = math.prod(form.windows.kernel) * features
        values = sum(len(range(*phase.image.indices(g.image[0]))) for phase in form.rows) * form.windows.output[1] * g.stride[1]
        placed = 0 if form.is_whole else values * channels
        return values * channels * inside, math.prod(form.windows.output) * inside, placed

    @property
    def is_whole(self) -> bool:
        """Whether the rows of the product are the image's pixels, in order."""
        return self.g.stride == (1, 1) and self.windows.output == self.g.image

    def kernel(self, w: Array) -> Array:
        """(KH, KW, C, F) -> (s, T·T'·F, s'·C), zeros for taps beyond the kernel."""
        taps = by_phase(w, self.g)[::-1, :, ::-1]  # (T, s, T', s', C, F)
        return taps.transpose(1, 0, 2, 5, 3, 4).reshape(self.g.stride[0], -1, self.g.stride[1] * w.shape[2])

    def place(self, product: Array, rows: Phase, x: Array) -> None:
        """The product of the windows (row, N, column) of one phase to the rows of the images x that they are."""
        pixels = product.reshape(-1, len(x), self.windows.output[1], self.g.stride[1], x.shape[-1]).swapaxes(0, 1)
        for columns in self._columns:
            x[:, rows.image, columns.image] = pixels[:, :, columns.grid, columns.number]


@lru_cache(maxsize=256)
def sub_pixel(g: ConvGeometry) -> SubPixel:
    """The form of a geometry, made once."""
    return SubPixel(g)
