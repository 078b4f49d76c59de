"""Minimal filtering (Winograd 1980): convolutions with fewer multiplications, as matrix products throughout.

In one dimension, m outputs y_o = Σ_t x_{o+t} w_t of a filter with r taps take m·r multiplications. But x ↦ y is the transpose
of a product of polynomials, and a polynomial is known from its values at n = m + r − 1 points: n multiplications are enough.

    y = Aᵀ [(G w) ⊙ (Bᵀ x)],   A (n, m), G (n, r): powers of the points,   Bᵀ (n, n): interpolation, transposed

In two dimensions the matrices act on both axes, and with channels each of the n² points is one matrix product. The three
convolutions are one trilinear form Σ y (A_w x), read as a function of y, of x, or of w:

    U = G w Gᵀ,  V = Bᵀ x B,  Z = A y Aᵀ       m = 7, r = 2: 64 products for 49 outputs instead of 196
    forward          Aᵀ [V U] A
    transposed       B [Z Uᵀ] Bᵀ, added up where tiles overlap
    weight gradient  Gᵀ [Σ_tiles Vᵀ Z] G

A stride of s is no obstacle: s × s pixels are taken as one pixel with s²·C channels, and a kernel of k pixels has ⌈k/s⌉ taps.
Sources: Lavin and Gray 2016 (arXiv:1509.09308), sections 4 and 5; Blahut 2010, chapter 5, for the construction from points and
the transposition principle.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from minigan.backends.base import Array
from minigan.backends.geometry import ConvGeometry

_BLOCK = 1 << 20  # transformed values of the images of one batch of products: 4 MiB in float32
_CACHED = 1 << 17  # values of the images that are transformed together, or back

# And ∞. Of all small fractions these keep rounding smallest: see benchmarks/README.md.
_INTERPOLATION_POINTS = (0.0, 1.0, -1.0, 2.0, -0.5, 0.5, -2.0)
_MOST_INPUTS = len(_INTERPOLATION_POINTS) + 1
_MOST_TAPS = 5

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
    def inputs(self) -> int:
        """Inputs of a tile, and as many values in the transform domain: taps − 1 of them are the next tile's first."""
        return self.size + self.taps - 1

    def reach(self, window: int) -> int:
        """What windows of so many pixels, one for each tile, reach together."""
        return (self.count - 1) * self.size + window


def best_tiles(length: int, taps: int) -> Tiles:
    """The tiles with the fewest multiplications, for 2 to _MOST_TAPS taps. No input belongs to more than two of them."""
    sizes = range(max(2, taps - 1), _MOST_INPUTS - taps + 2)
    return min((Tiles(length, taps, size) for size in sizes), key=lambda tiles: tiles.count * tiles.inputs)


@lru_cache
def matrices(size: int, taps: int, dtype: np.dtype) -> tuple[Array, Array, Array]:
    """(A, G, Bᵀ) for tiles of `size` outputs and a filter of `taps` taps."""
    count = size + taps - 1
    xs = np.array(_INTERPOLATION_POINTS[: count - 1])

    def powers(width: int) -> Array:
        """Row p: the value at point p of 1, x, x², …; the last row is the point ∞, where the highest power alone counts."""
        at_infinity = np.eye(1, width, width - 1)
        return np.vstack([np.vander(xs, width, increasing=True), at_infinity])

    interpolation = np.linalg.inv(powers(count)).T
    return tuple(np.ascontiguousarray(m, dtype) for m in (powers(size), powers(taps), interpolation))  # type: ignore[return-value]


@dataclass(frozen=True)
class Phase:
    """The pixels number phase, phase + s, … of one axis: where they lie in the grid of pixels of s, and where in the image."""

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


Axes = list[list[Phase]]  # of the rows, and of the columns
Pair = Sequence[Any]  # for the rows, and for the columns


class Winograd:
    """The three convolutions of one geometry in this form. P, P': sizes of the transform domain on the two axes; K = s·s'·C."""

    def __init__(self, g: ConvGeometry, dtype: Any, empty: Allocate) -> None:
        self.g, self.empty, self.axes = g, empty, _tiles(g)
        pairs = (matrices(tiles.size, tiles.taps, np.dtype(dtype)) for tiles in self.axes)
        self._a, self._g, self._bt = zip(*pairs, strict=True)
        self._image = [
            phases(t.reach(t.inputs), g.image[axis], g.stride[axis], g.padding[axis]) for axis, t in enumerate(self.axes)
        ]
        self._output = [phases(t.reach(t.size), g.output[axis]) for axis, t in enumerate(self.axes)]

    @staticmethod
    def work(g: ConvGeometry, batch: int, channels: int, features: int) -> tuple[float, float, float]:
        """Of one convolution: (multiplications of the products, numbers that enter or leave the transform domain, those of
        the kernel). All are infinite where there is no such form: for dilation, a single tap or too many.
        """
        taps = _taps(g)
        if g.dilation != (1, 1) or not 2 <= min(taps) <= max(taps) <= _MOST_TAPS:
            return math.inf, math.inf, math.inf
        axes = _tiles(g)
        inside, inputs = channels * math.prod(g.stride), math.prod(t.inputs for t in axes)
        values = batch * math.prod(t.count for t in axes) * inputs
        return values * inside * features, values * (inside + features), inputs * inside * features

    def images_per_block(self, channels: int, features: int) -> int:
        """So many that each of the products is a large one, and what goes in and out of it is still in cache."""
        return max(1, _BLOCK // (self._cells * max(channels * math.prod(self.g.stride), features)))

    @property
    def _cells(self) -> int:
        """Values of all tiles of one image in the transform domain, per channel."""
        return math.prod(tiles.count * tiles.inputs for tiles in self.axes)

    def kernel_shape(self, channels: int, features: int) -> tuple[int, ...]:
        return (*(tiles.inputs for tiles in self.axes), channels * math.prod(self.g.stride), features)

    def kernel(self, w: Array, rows: slice, out: Array) -> None:
        """These rows of U = G w Gᵀ: (KH, KW, C, F) -> (P, P', K, F), zeros for taps beyond the kernel."""
        (step_h, step_w), (taps_h, taps_w) = self.g.stride, _taps(self.g)
        padded = w
        if w.shape[:2] != (taps_h * step_h, taps_w * step_w):
            padded = np.zeros((taps_h * step_h, taps_w * step_w, *w.shape[2:]), w.dtype)
            padded[: w.shape[0], : w.shape[1]] = w
        pixels = self.empty((taps_h, taps_w, step_h, step_w, *w.shape[2:]), w.dtype)
        pixels[...] = padded.reshape(taps_h, step_h, taps_w, step_w, *w.shape[2:]).swapaxes(1, 2)
        half = self._multiply(self._g[0][rows], pixels.reshape(taps_h, -1)).reshape(-1, taps_w, pixels[0, 0].size)
        np.matmul(self._g[1], half, out=out[rows].reshape(len(half), len(self._g[1]), -1))

    def image(self, x: Array) -> Array:
        """V = Bᵀ x B: (N, H, W, C) -> (P·P', tiles·N, K)."""
        return self._enter(self._bt, x, self._image)

    def output(self, y: Array) -> Array:
        """Z = A y Aᵀ: (N, OH, OW, F) -> (P·P', tiles·N, F)."""
        return self._enter(self._a, y, self._output)

    def conv2d(self, v: Array, u: Array, out: Array) -> None:
        """out = A_w x, with v from image(x) and u from kernel(w)."""
        self._leave(self._a, self._multiply(v, _flat(u)), out, self._output)

    def conv2d_transpose(self, z: Array, u: Array, out: Array) -> None:
        """out = A_wᵀ y, with z from output(y) and u from kernel(w)."""
        rows, columns = (max(phase.image.stop for phase in axis) for axis in self._image)
        out[:, rows:] = out[:, :, columns:] = 0  # pixels that no kernel reaches
        self._leave(self._bt, self._multiply(z, _flat(u).swapaxes(1, 2)), out, self._image)

    def weight_grad(self, v: Array, z: Array, out: Array) -> None:
        """out = ∂/∂w of Σ y (A_w x), (KH, KW, C, F), with v from image(x) and z from map(y)."""
        (step_h, step_w), (taps_h, taps_w) = self.g.stride, _taps(self.g)
        (first, second), inside, features = (m.T for m in self._g), v.shape[2], z.shape[2]
        pixels = self.empty((taps_h, taps_w, inside, features), v.dtype)
        block = max(1, _BLOCK // (2 * len(v) * features))
        for start in range(0, inside, block):  # dU has more values than V and Z, and is never seen as a whole
            part = slice(start, start + block)
            du = self._multiply(v[:, :, part].swapaxes(1, 2), z)
            half = self._multiply(first, du.reshape(first.shape[1], -1)).reshape(taps_h, second.shape[1], -1)
            pixels[:, :, part] = self._multiply(second, half).reshape(taps_h, taps_w, -1, features)
        w = pixels.reshape(taps_h, taps_w, step_h, step_w, *out.shape[2:]).swapaxes(1, 2)
        out[...] = w.reshape(taps_h * step_h, taps_w * step_w, *out.shape[2:])[: out.shape[0], : out.shape[1]]

    def _enter(self, pair: Pair, x: Array, axes: Axes) -> Array:
        """A matrix along the rows and another along the columns of every tile: (N, ·, ·, C) -> (P·P', tiles·N, s·s'·C)."""
        (first, second), (rows, columns) = pair, self.axes
        channels = x.shape[-1] * math.prod(map(len, axes))
        domain = self.empty((len(first), len(second), rows.count, columns.count, len(x), channels), x.dtype)
        for images in self._blocks(len(x), channels):
            grid = self._gather(x[images], axes, (rows.reach(first.shape[1]), columns.reach(second.shape[1])))
            half = self._multiply(first, _cut(grid.reshape(len(grid), -1), rows.size, first.shape[1]))
            tiles = _cut(half.reshape(rows.count, len(first), grid.shape[1], -1), columns.size, second.shape[1])
            np.matmul(second, tiles, out=_by_tile(domain[..., images, :]))
        return domain.reshape(len(first) * len(second), -1, channels)

    def _leave(self, pair: Pair, values: Array, out: Array, axes: Axes) -> None:
        """The transpose of _enter with the same matrices: what tiles share is added up."""
        (first, second), (rows, columns) = (m.T for m in pair), self.axes
        domain = values.reshape(first.shape[1], second.shape[1], rows.count, columns.count, len(out), -1)
        for images in self._blocks(len(out), domain.shape[-1]):
            half = self._overlap_add(self._multiply(second, _by_tile(domain[..., images, :])), columns.size)
            grid = self._overlap_add(self._multiply(first, half.reshape(rows.count, first.shape[1], -1)), rows.size)
            _scatter(grid.reshape(len(grid), half.shape[2], len(out[images]), -1), out[images], axes)

    def _gather(self, x: Array, axes: Axes, size: tuple[int, int]) -> Array:
        """(N, H, W, C) -> (*size, N, s·s'·C): s × s' pixels as one, 0 outside of the image."""
        grid = self.empty((*size, len(x), len(axes[0]), len(axes[1]), x.shape[-1]), x.dtype)
        for h in axes[0]:
            grid[: h.grid.start, :, :, h.number] = grid[h.grid.stop :, :, :, h.number] = 0
        for w in axes[1]:
            grid[:, : w.grid.start, :, :, w.number] = grid[:, w.grid.stop :, :, :, w.number] = 0
        for h, w in itertools.product(*axes):
            grid[h.grid, w.grid, :, h.number, w.number] = x[:, h.image, w.image].transpose(1, 2, 0, 3)
        return grid.reshape(*size, len(x), -1)

    def _overlap_add(self, tiles: Array, size: int) -> Array:
        """(…, count, length, M) -> (…, (count − 1)·size + length, M), a tile every `size`: the transpose of _cut."""
        *lead, count, length, values = tiles.shape
        if count == 1 or length == size:
            return tiles.reshape(*lead, count * length, values)
        whole = self.empty((*lead, (count - 1) * size + length, values), tiles.dtype)
        whole[..., : count * size, :].reshape(*lead, count, size, values)[...] = tiles[..., :size, :]
        whole[..., count * size :, :] = tiles[..., -1, size:, :]
        shared = whole[..., size : count * size, :].reshape(*lead, count - 1, size, values)
        shared[..., : length - size, :] += tiles[..., :-1, size:, :]
        return whole

    def _multiply(self, a: Array, b: Array) -> Array:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return np.matmul(a, b, out=self.empty((*lead, a.shape[-2], b.shape[-1]), a.dtype))

    def _blocks(self, batch: int, channels: int) -> Iterator[slice]:
        """Blocks of images, whose transforms stay in cache."""
        block = max(1, _CACHED // (self._cells * channels))
        return (slice(start, min(start + block, batch)) for start in range(0, batch, block))


def _flat(u: Array) -> Array:
    """(P, P', K, F) -> (P·P', K, F)."""
    return u.reshape(-1, *u.shape[2:])


def _taps(g: ConvGeometry) -> tuple[int, int]:
    """How many pixels of s × s a kernel spans."""
    return -(-g.kernel[0] // g.stride[0]), -(-g.kernel[1] // g.stride[1])


def _tiles(g: ConvGeometry) -> tuple[Tiles, Tiles]:
    taps = _taps(g)
    return best_tiles(g.output[0], taps[0]), best_tiles(g.output[1], taps[1])


def _cut(x: Array, size: int, length: int) -> Array:
    """(…, L, M) -> (…, count, length, M): a tile every `size`, where tiles overlap by length − size. A view."""
    *lead, axis, values = x.shape
    *steps, step, item = x.strides
    count = (axis - length) // size + 1
    return np.lib.stride_tricks.as_strided(x, (*lead, count, length, values), (*steps, size * step, step, item))


def _by_tile(values: Array) -> Array:
    """(P, P', rows, columns, N, K) -> (rows, P, columns, P', N·K), a view."""
    return values.reshape(*values.shape[:4], -1).transpose(2, 0, 3, 1, 4)


def _scatter(grid: Array, x: Array, axes: Axes) -> None:
    """The transpose of _gather."""
    grid = grid.reshape(*grid.shape[:3], len(axes[0]), len(axes[1]), -1)
    for h, w in itertools.product(*axes):
        x[:, h.image, w.image] = grid[h.grid, w.grid, :, h.number, w.number].transpose(2, 0, 1, 3)
