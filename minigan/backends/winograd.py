"""Minimal filtering (Winograd 1980): convolutions with fewer multiplications, as matrix products throughout.

In one dimension, m outputs y_o = Σ_t x_{o+t} w_t of a filter with r taps take m·r multiplications. But x ↦ y is the transpose
of a product of polynomials, and a polynomial is known from its values at n = m + r − 1 points: n multiplications are enough.

    y = Aᵀ [(G w) ⊙ (Bᵀ x)],   A (n, m), G (n, r): powers of the points,   Bᵀ (n, n): interpolation, transposed

In two dimensions the matrices act on both axes, and with channels each of the n² points is one matrix product:

    y = Aᵀ [Σ_c U ⊙ V] A,  U = G w Gᵀ,  V = Bᵀ x B          m = 4, r = 2: 25 products for 16 outputs instead of 64
    ∂/∂w of Σ y dy:  Gᵀ [Σ_tiles V ⊙ (A dy Aᵀ)] G          the same sum, read as a function of w

A stride of s is no obstacle: s × s pixels are taken as one pixel with s²·C channels, and a kernel of k pixels has ⌈k/s⌉ taps.
Nor is the transposed convolution, which in the sub-pixel form (Shi et al. 2016, arXiv:1609.05158, section 3) is a convolution
of stride 1 that makes s²·C channels, read afterwards as s × s pixels.
Sources: Lavin and Gray 2016 (arXiv:1509.09308), sections 4 and 5; Blahut 2010, chapter 5, for the construction from points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from minigan.backends.base import Array, ConvGeometry, Pair

_LEAST_TILES = 128  # rows of each product, below which it is the kernel's own way to the points that costs too much
_BLOCK = 1 << 19  # values of a block of images at the points: 2 MiB in float32

# And the point ∞. Small numbers of both signs keep rounding small: about 5 to 8 times that of a plain sum.
_POINTS = (0.0, 1.0, -1.0, 2.0, -0.5)
_MOST_POINTS = len(_POINTS) + 1
_MOST_TAPS = _MOST_POINTS - 1

Allocate = Callable[[tuple[int, ...], Any], Array]


@dataclass(frozen=True)
class Tiles:
    """How one axis of `length` outputs is cut into `count` tiles of `size` outputs each, for a filter of `taps` taps."""

    length: int
    taps: int
    size: int

    @property
    def count(self) -> int:
        return -(-self.length // self.size)

    @property
    def points(self) -> int:
        return self.size + self.taps - 1

    @property
    def outputs(self) -> int:
        """Outputs that all tiles make, some of them beyond `length`."""
        return self.count * self.size

    @property
    def inputs(self) -> int:
        """Inputs that all tiles read."""
        return self.outputs + self.taps - 1


def best_tiles(length: int, taps: int) -> Tiles:
    """The tiles with the fewest multiplications, for 2 to _MOST_TAPS taps."""
    sizes = range(2, _MOST_POINTS - taps + 2)
    return min((Tiles(length, taps, size) for size in sizes), key=lambda tiles: tiles.count * tiles.points)


def _taps(g: ConvGeometry) -> Pair:
    """How many pixels of s × s a kernel spans."""
    return -(-g.kernel[0] // g.stride[0]), -(-g.kernel[1] // g.stride[1])


@lru_cache
def matrices(size: int, taps: int, dtype: np.dtype) -> tuple[Array, Array, Array]:
    """(A, G, Bᵀ) for tiles of `size` outputs and a filter of `taps` taps."""
    count = size + taps - 1
    points = np.array(_POINTS[: count - 1])

    def powers(width: int) -> Array:
        """Row p: the value at point p of 1, x, x², …; the last row is the point ∞, where the highest power alone counts."""
        at_infinity = np.eye(1, width, width - 1)
        return np.vstack([np.vander(points, width, increasing=True), at_infinity])

    interpolation = np.linalg.inv(powers(count)).T
    return tuple(np.ascontiguousarray(m, dtype) for m in (powers(size), powers(taps), interpolation))  # type: ignore[return-value]


class Winograd:
    """A stride-1 convolution in this form, along both axes. P, P': points of the two axes; K, F: channels in and out."""

    def __init__(self, rows: Tiles, columns: Tiles, dtype: Any, empty: Allocate) -> None:
        self.rows, self.columns, self.empty = rows, columns, empty
        self._rows, self._columns = (matrices(tiles.size, tiles.taps, np.dtype(dtype)) for tiles in (rows, columns))

    def kernel(self, w: Array, step: Pair, flip: bool = False) -> Array:
        """U = G w Gᵀ: (KH, KW, C, F) -> (P·P', K = s·s'·C, F), zeros for taps beyond the kernel. flip: w turned by 180°."""
        (step_h, step_w), (kernel_h, kernel_w, channels, features) = step, w.shape
        taps_h, taps_w = self.rows.taps, self.columns.taps
        padded = w
        if (kernel_h, kernel_w) != (taps_h * step_h, taps_w * step_w):
            padded = np.zeros((taps_h * step_h, taps_w * step_w, channels, features), w.dtype)
            padded[:kernel_h, :kernel_w] = w
        g_h, g_w = (np.ascontiguousarray(m[1][:, ::-1]) if flip else m[1] for m in (self._rows, self._columns))
        half = g_h @ padded.reshape(taps_h, -1)  # (P, s·T'·s'·C·F)
        u = self.empty((len(g_h), len(g_w), step_h, step_w * channels * features), w.dtype)
        np.matmul(g_w, half.reshape(len(g_h), step_h, taps_w, -1), out=u.swapaxes(1, 2))
        return u.reshape(len(g_h) * len(g_w), -1, features)

    def kernel_grad(self, du: Array, step: Pair, shape: tuple[int, ...]) -> Array:
        """dw = Gᵀ dU G: (P·P', K, F) -> (KH, KW, C, F), the transpose of `kernel`."""
        (step_h, step_w), (kernel_h, kernel_w, channels, features) = step, shape
        g_h, g_w = self._rows[1], self._columns[1]
        half = (g_h.T @ du.reshape(len(g_h), -1)).reshape(-1, len(g_w), step_h, step_w * channels * features)
        dw = np.matmul(g_w.T, half.swapaxes(1, 2))  # (T, s, T', s'·C·F)
        return dw.reshape(len(dw) * step_h, -1, channels, features)[:kernel_h, :kernel_w]

    def image_points(self, x: Array) -> Array:
        """V = Bᵀ x B of every tile: (N, inputs, inputs', K) -> (P·P', N·tiles, K). Tiles overlap by taps − 1."""
        return self._to_points(x, self._rows[2], self._columns[2])

    def map_points(self, y: Array) -> Array:
        """A y Aᵀ of every tile: (N, outputs, outputs', F) -> (P·P', N·tiles, F), the transpose of `from_points`."""
        return self._to_points(y, self._rows[0], self._columns[0])

    def _to_points(self, x: Array, by_h: Array, by_w: Array) -> Array:
        """Every tile's window of x, times a matrix along its rows and another along its columns."""
        (count_h, count_w), (size_h, size_w) = (self.rows.count, self.columns.count), (self.rows.size, self.columns.size)
        (points_h, window_h), (points_w, window_w) = by_h.shape, by_w.shape
        batch, _, breadth, channels = x.shape
        image, row, pixel, item = x.strides
        windows = _view(x, (batch, count_h, window_h, breadth * channels), (image, size_h * row, row, item))
        half = self.empty((batch, count_h, points_h, breadth, channels), x.dtype)
        np.matmul(by_h, windows, out=half.reshape(batch, count_h, points_h, -1))
        image, tile, point, pixel, item = half.strides
        shape = (batch, count_h, points_h, count_w, window_w, channels)
        windows = _view(half, shape, (image, tile, point, size_w * pixel, pixel, item))
        points = self.empty((points_h, points_w, batch, count_h, count_w, channels), x.dtype)
        np.matmul(by_w, windows, out=points.transpose(2, 3, 0, 4, 1, 5))
        return points.reshape(points_h * points_w, -1, channels)

    def from_points(self, products: Array, batch: int) -> Array:
        """Aᵀ m A of every tile: (P·P', N·tiles, F) -> (N, outputs, outputs', F)."""
        a_h, a_w, features = self._rows[0], self._columns[0], products.shape[-1]
        count_h, count_w = self.rows.count, self.columns.count
        half = self.empty((self.rows.size, len(a_w), batch, count_h, count_w, features), products.dtype)
        np.matmul(a_h.T, products.reshape(len(a_h), -1), out=half.reshape(self.rows.size, -1))
        y = self.empty((batch, count_h, self.rows.size, count_w, self.columns.size, features), products.dtype)
        np.matmul(a_w.T, half.transpose(0, 2, 3, 4, 1, 5), out=y.transpose(2, 0, 1, 3, 4, 5))
        return y.reshape(batch, self.rows.outputs, self.columns.outputs, features)


class StridedWinograd:
    """The three convolutions of one geometry as minimal filtering. `saving` says whether that is less work."""

    def __init__(self, g: ConvGeometry, dtype: Any, empty: Allocate) -> None:
        self.g, self.empty = g, empty
        # The transposed convolution needs the pixels of s × s that meet the image; those before them hold only padding.
        skipped = (g.padding[0] // g.stride[0], g.padding[1] // g.stride[1])
        span_h, span_w = ((g.padding[a] + g.image[a] - 1) // g.stride[a] + 1 - skipped[a] for a in (0, 1))
        taps_h, taps_w = _taps(g)
        self._border = (taps_h - 1 - skipped[0], taps_w - 1 - skipped[1])
        self.down = Winograd(best_tiles(g.map[0], taps_h), best_tiles(g.map[1], taps_w), dtype, empty)
        self.up = Winograd(best_tiles(span_h, taps_h), best_tiles(span_w, taps_w), dtype, empty)

    @staticmethod
    def saving(g: ConvGeometry, batch: int, channels: int, features: int) -> float:
        """Multiplications saved for each number taken to the points or back: the higher, the more this form is worth.

        0 where there is no such form (dilation, a single tap, too many), or too few tiles to pay for the kernel's own way.
        """
        taps = _taps(g)
        if g.dilation != (1, 1) or not 2 <= min(taps) <= max(taps) <= _MOST_TAPS:
            return 0.0
        rows, columns = (best_tiles(g.map[a], taps[a]) for a in (0, 1))
        if batch * rows.count * columns.count < _LEAST_TILES:
            return 0.0
        pixel = g.stride[0] * g.stride[1]
        inside, points = channels * pixel, rows.count * rows.points * columns.count * columns.points
        direct = g.map[0] * g.map[1] * g.kernel[0] * g.kernel[1] / pixel
        return (direct / points - 1) * inside * features / (inside + features)

    def images_per_block(self, channels: int, features: int) -> int:
        """So many that their values at the points stay in cache between the steps."""
        pixels = max(f.rows.count * f.rows.points * f.columns.count * f.columns.points for f in (self.down, self.up))
        return max(1, _BLOCK // (pixels * max(channels * self.g.stride[0] * self.g.stride[1], features)))

    def conv2d_kernel(self, w: Array) -> Array:
        return self.down.kernel(w, self.g.stride)

    def conv2d(self, x: Array, u: Array, out: Array) -> None:
        """out = A_w x, with u from conv2d_kernel(w)."""
        products = self._products(self._image_points(x), u)
        out[...] = self.down.from_points(products, len(x))[:, : self.g.map[0], : self.g.map[1]]

    def conv2d_transpose_kernel(self, w: Array) -> Array:
        return self.up.kernel(w, self.g.stride, flip=True).swapaxes(1, 2)

    def conv2d_transpose(self, y: Array, u: Array, out: Array) -> None:
        """out = A_wᵀ y, with u from conv2d_transpose_kernel(w)."""
        g, form = self.g, self.up
        padded = self._space_to_depth(y, (form.rows.inputs, form.columns.inputs), (1, 1), self._border)
        pixels = form.from_points(self._products(form.image_points(padded), u), len(y))
        pixels = pixels.reshape(*pixels.shape[:3], *g.stride, -1)
        rest = (g.padding[0] % g.stride[0], g.padding[1] % g.stride[1])
        for phase, image, pixel in _phases(out.shape[1:3], pixels.shape[1:3], g.stride, rest):
            out[(slice(None), *image)] = pixels[(slice(None), *pixel, *phase)]

    def weight_grad_points(self, x: Array, y: Array, out: Array) -> None:
        """out = Σ_tiles V ⊙ (A dy Aᵀ), to be added up over blocks of images and given to weight_grad."""
        padded = self._space_to_depth(y, (self.down.rows.outputs, self.down.columns.outputs), (1, 1), (0, 0))
        np.matmul(self._image_points(x).swapaxes(1, 2), self.down.map_points(padded), out=out)

    def kernel_shape(self, channels: int, features: int) -> tuple[int, int, int]:
        """The shape of what weight_grad_points makes."""
        points = self.down.rows.points * self.down.columns.points
        return points, channels * self.g.stride[0] * self.g.stride[1], features

    def weight_grad(self, du: Array, shape: tuple[int, ...]) -> Array:
        return self.down.kernel_grad(du, self.g.stride, shape)

    def _image_points(self, x: Array) -> Array:
        size = (self.down.rows.inputs, self.down.columns.inputs)
        return self.down.image_points(self._space_to_depth(x, size, self.g.stride, self.g.padding))

    def _products(self, v: Array, u: Array) -> Array:
        return np.matmul(v, u, out=self.empty((*v.shape[:2], u.shape[2]), v.dtype))

    def _space_to_depth(self, x: Array, size: Pair, step: Pair, padding: Pair) -> Array:
        """(N, H, W, C) -> (N, *size, s·s'·C): s × s' pixels as one, behind `padding` zeros and before as many as it takes."""
        pixels = self.empty((len(x), *size, *step, x.shape[-1]), x.dtype)
        pixels[...] = 0
        for phase, image, pixel in _phases(x.shape[1:3], size, step, padding):
            pixels[(slice(None), *pixel, *phase)] = x[(slice(None), *image)]
        return pixels.reshape(len(x), *size, -1)


def _phases(image: Pair, size: Pair, step: Pair, padding: Pair) -> Iterator[tuple[Pair, list[slice], list[slice]]]:
    """For each phase (r, r') of s·i + r, s'·j + r' in the padded image: (phase, slices of the image, slices of i and j)."""
    for phase in np.ndindex(*step):
        images, pixels = [], []
        for a in (0, 1):
            first = max(0, -(-(padding[a] - phase[a]) // step[a]))
            start = first * step[a] + phase[a] - padding[a]
            count = max(0, min(len(range(start, image[a], step[a])), size[a] - first))
            images.append(slice(start, start + count * step[a], step[a]))
            pixels.append(slice(first, first + count))
        yield (phase[0], phase[1]), images, pixels


_view = np.lib.stride_tricks.as_strided
