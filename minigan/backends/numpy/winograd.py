"""Minimal filtering (Winograd 1980): convolutions with fewer multiplications, as matrix products throughout.

In one dimension, m outputs y_o = Σ_t x_{o+t} w_t of a filter with r taps take m·r multiplications. But x ↦ y is the transpose
of a product of polynomials, and a polynomial is known from its values at n = m + r − 1 points: n multiplications are enough.

    y = Aᵀ [(G w) ⊙ (Bᵀ x)],   A (n, m), G (n, r): powers of the points,   Bᵀ (n, n): interpolation, transposed

In two dimensions the matrices act on both axes: together they are one matrix, A ⊗ A, on a tile's m² pixels as a vector. With
channels each of the n² points is one matrix product. The three convolutions are one trilinear form Σ y (A_w x), read as a
function of y, of x, or of w:

    U = G w Gᵀ,  V = Bᵀ x B,  Z = A y Aᵀ       m = 7, r = 2: 64 products for 49 outputs instead of 196
    forward          Aᵀ [V U] A
    transposed       B [Z Uᵀ] Bᵀ, added up where tiles overlap
    weight gradient  Gᵀ [Σ_tiles Vᵀ Z] G

A stride of s is no obstacle: s × s pixels are taken as one pixel with s²·C channels, and a kernel of k pixels has ⌈k/s⌉ taps.
Sources: Lavin and Gray 2016 (arXiv:1509.09308), sections 4 and 5; Blahut 2010, chapter 5, for the construction from points and
the transposition principle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from minigan.backends.base import Array
from minigan.backends.geometry import ConvGeometry

_BLOCK = 1 << 20  # transformed values of the images of one batch of products: 4 MiB in float32
_CACHED = 1 << 19  # values of the tiles that are transformed together, or back; of fewer, threads wait for the interpreter

# And ∞. Of all small fractions these keep rounding smallest: see benchmarks/README.md.
_INTERPOLATION_POINTS = (0.0, 1.0, -1.0, 2.0, -0.5, 0.5, -2.0)
_MOST_INPUTS = len(_INTERPOLATION_POINTS) + 1
_MOST_TAPS = 5

Allocate = Callable[[tuple[int, ...], Any], Array]
Pair = tuple[int, int]


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


@lru_cache
def plane_matrices(rows: Pair, columns: Pair, dtype: np.dtype) -> tuple[Array, Array, Array]:
    """(A, G, Bᵀ) for both axes together, each of (outputs of a tile, taps): Kronecker products."""
    pairs = zip(matrices(*rows, np.dtype("f8")), matrices(*columns, np.dtype("f8")), strict=True)
    return tuple(np.kron(*pair).astype(dtype) for pair in pairs)  # type: ignore[return-value]


class Side(NamedTuple):
    """How images, or outputs, lie in tiles: the window of s × s' pixels that each tile sees, s, and the zeros around them."""

    window: Pair
    stride: Pair
    padding: Pair


class Winograd:
    """The three convolutions of one geometry in this form. P = n·n' values of a tile in the transform domain; K = s·s'·C.

    empty, zeros: how arrays are allocated, the second as Scratch.zeros does it.
    """

    def __init__(self, g: ConvGeometry, dtype: Any, empty: Allocate, zeros: Callable[..., Array]) -> None:
        self.g, self.empty, self.zeros, self.axes = g, empty, zeros, _tiles(g)
        self._a, self._g, self._bt = plane_matrices(*((tiles.size, tiles.taps) for tiles in self.axes), np.dtype(dtype))
        rows, columns = self.axes
        self._image = Side((rows.inputs, columns.inputs), g.stride, g.padding)
        self._output = Side((rows.size, columns.size), (1, 1), (0, 0))

    @staticmethod
    def work(g: ConvGeometry, batch: int, channels: int, features: int) -> tuple[float, float, float]:
        """Of all three convolutions, which share transforms: (multiplications, numbers moved for the transforms, those of the
        kernel in the transform domain). All are infinite where there is no such form: for dilation, one tap or too many.
        """
        taps = taps_of(g)
        if g.dilation != (1, 1) or not 2 <= min(taps) <= max(taps) <= _MOST_TAPS:
            return math.inf, math.inf, math.inf
        axes = _tiles(g)
        inputs, size = math.prod(t.inputs for t in axes), math.prod(t.size for t in axes)
        inside = channels * math.prod(g.stride)
        tiles = batch * math.prod(t.count for t in axes)
        in_tiles = tiles * (inputs * inside + size * features)  # numbers that enter once, and leave once
        kernel = inputs * inside * features
        products = tiles * kernel
        return 3 * (products + math.prod(taps) * kernel) + 2 * inputs * in_tiles, 2 * in_tiles, 3 * kernel

    def images_per_block(self, channels: int, features: int) -> int:
        """So many that each of the products is a large one, and what goes in and out of it is still in cache."""
        cells = math.prod(tiles.count * tiles.inputs for tiles in self.axes)
        return max(1, _BLOCK // (cells * max(channels * math.prod(self.g.stride), features)))

    def kernel_shape(self, channels: int, features: int) -> tuple[int, ...]:
        return len(self._g), channels * math.prod(self.g.stride), features

    def taps(self, w: Array) -> Array:
        """(KH, KW, C, F) -> (taps of s × s' pixels, K·F), zeros for taps beyond the kernel."""
        taps = by_phase(w, self.g).swapaxes(1, 2)
        return np.ascontiguousarray(taps).reshape(math.prod(taps_of(self.g)), -1)

    def kernel(self, taps: Array, rows: slice, out: Array) -> None:
        """These rows of U = G w Gᵀ, (P, K, F), from taps(w)."""
        np.matmul(self._g[rows], taps, out=out[rows].reshape(len(out[rows]), -1))

    def image(self, x: Array) -> Array:
        """V = Bᵀ x B: (N, H, W, C) -> (P, N·tiles, K)."""
        return self._enter(self._bt, x, self._image)

    def output(self, y: Array) -> Array:
        """Z = A y Aᵀ: (N, OH, OW, F) -> (P, N·tiles, F)."""
        return self._enter(self._a, y, self._output)

    def conv2d(self, v: Array, u: Array, out: Array) -> None:
        """out = A_w x, with v from image(x) and u from kernel(w)."""
        self._leave(self._a.T, self._products(v, u), out, self._output)

    def conv2d_transpose(self, z: Array, u: Array, out: Array) -> None:
        """out = A_wᵀ y, with z from output(y) and u from kernel(w)."""
        self._leave(self._bt.T, self._products(z, u.swapaxes(1, 2)), out, self._image)

    def weight_grad(self, v: Array, z: Array, out: Array) -> None:
        """out = ∂/∂w of Σ y (A_w x), (KH, KW, C, F), with v from image(x) and z from output(y)."""
        (step_h, step_w), (taps_h, taps_w) = self.g.stride, taps_of(self.g)
        inside, features = v.shape[2], z.shape[2]
        pixels = self.empty((taps_h * taps_w, inside, features), v.dtype)
        block = max(1, _BLOCK // (2 * len(v) * features))
        for start in range(0, inside, block):  # dU has more values than V and Z, and is never seen as a whole
            part = slice(start, start + block)
            du = self._multiply(v[:, :, part].swapaxes(1, 2), z)
            pixels[:, part] = self._multiply(self._g.T, du.reshape(len(du), -1)).reshape(len(pixels), -1, features)
        w = pixels.reshape(taps_h, taps_w, step_h, step_w, *out.shape[2:]).swapaxes(1, 2)
        out[...] = w.reshape(taps_h * step_h, taps_w * step_w, *out.shape[2:])[: out.shape[0], : out.shape[1]]

    def _enter(self, matrix: Array, x: Array, side: Side) -> Array:
        """The matrix times the pixels of every tile's window: (N, H, W, C) -> (P, N·tiles, s·s'·C)."""
        values = math.prod(tiles.count for tiles in self.axes) * math.prod(side.stride) * x.shape[-1]  # of one image
        domain = self._spaced_rows(len(matrix), len(x) * values, x.dtype)
        for images in self._blocks(len(x), values * len(matrix)):
            np.matmul(matrix, self._gather(x[images], side), out=domain[:, images.start * values : images.stop * values])
        return domain.reshape(len(matrix), -1, math.prod(side.stride) * x.shape[-1])

    def _leave(self, matrix: Array, domain: Array, out: Array, side: Side) -> None:
        """The transpose of _enter, for the transposed matrix: what tiles share is added up."""
        values = domain.shape[1] // len(out)
        for images in self._blocks(len(out), values * len(domain)):
            tiles = self._multiply(matrix, domain[:, images.start * values : images.stop * values])
            self._scatter(tiles, out[images], side)

    def _gather(self, x: Array, side: Side) -> Array:
        """(N, H, W, C) -> (pixels of a window, N·tiles·s·s'·C), 0 outside of the image."""
        (rows, columns), (step_h, step_w), channels = self.axes, side.stride, x.shape[-1]
        height, width = rows.reach(side.window[0]) * step_h, columns.reach(side.window[1]) * step_w
        (top, left), (h, w) = side.padding, self._covered(x, side)
        padded = self.zeros((side, h, w), (len(x), height, width, channels), x.dtype)
        padded[:, top : top + h, left : left + w] = x[:, :h, :w]
        n, down, right, next_channel = padded.strides
        down_by_tile, right_by_tile = rows.size * step_h * down, columns.size * step_w * right
        shape = (*side.window, len(x), rows.count, columns.count, step_h, step_w, channels)
        steps = (step_h * down, step_w * right, n, down_by_tile, right_by_tile, down, right, next_channel)
        tiles = self.empty(shape, x.dtype)
        tiles[...] = np.ndarray(shape, x.dtype, padded, 0, steps)
        return tiles.reshape(math.prod(side.window), -1)

    def _scatter(self, tiles: Array, x: Array, side: Side) -> None:
        """The transpose of _gather, over what x holds; 0 for pixels that no window reaches."""
        (rows, columns), (step_h, step_w), channels = self.axes, side.stride, x.shape[-1]
        (size_h, size_w), (top, left), (h, w) = (rows.size, columns.size), side.padding, self._covered(x, side)
        over_h, over_w = side.window[0] - size_h, side.window[1] - size_w  # what a tile shares with the next one
        height, width = rows.count * size_h, columns.count * size_w
        parts = tiles.reshape(*side.window, len(x), rows.count, columns.count, step_h, step_w, channels)
        parts = parts.transpose(2, 3, 0, 5, 4, 1, 6, 7)  # (N, row, pixel, phase, column, pixel, phase, C)
        is_whole = not (over_h or over_w or top or left) and x.shape[1:3] == (height * step_h, width * step_w)
        whole = (
            x if is_whole else self.empty((len(x), (height + over_h) * step_h, (width + over_w) * step_w, channels), x.dtype)
        )

        def shared(next_h: bool, next_w: bool) -> Array:
            """Of whole, in the axes of parts: each tile's own pixels, or those of the next one that its window reaches too."""
            n, down, right, next_channel = whole.strides
            pixels = (over_h if next_h else size_h, over_w if next_w else size_w)
            shape = (len(x), rows.count, pixels[0], step_h, columns.count, pixels[1], step_w, channels)
            by_row, by_column = step_h * down, step_w * right
            steps = (n, size_h * by_row, by_row, down, size_w * by_column, by_column, right, next_channel)
            return np.ndarray(shape, x.dtype, whole, next_h * steps[1] + next_w * steps[4], steps)

        shared(False, False)[...] = parts[:, :, :size_h, :, :, :size_w]
        if is_whole:
            return
        if over_h:
            whole[:, height * step_h :] = 0
            shared(True, False)[...] += parts[:, :, size_h:, :, :, :size_w]
        if over_w:
            whole[:, :, width * step_w :] = 0
            shared(False, True)[...] += parts[:, :, :size_h, :, :, size_w:]
        if over_h and over_w:
            shared(True, True)[...] += parts[:, :, size_h:, :, :, size_w:]
        x[:, :h, :w] = whole[:, top : top + h, left : left + w]
        if (h, w) != x.shape[1:3]:
            x[:, h:] = x[:, :, w:] = 0

    def _covered(self, x: Array, side: Side) -> Pair:
        """Height and width of the part of images x that windows reach."""
        reaches = (tiles.reach(side.window[axis]) * side.stride[axis] for axis, tiles in enumerate(self.axes))
        h, w = (min(x.shape[1 + axis], reach - side.padding[axis]) for axis, reach in enumerate(reaches))
        return h, w

    def _spaced_rows(self, rows: int, length: int, dtype: Any) -> Array:
        """Rows that do not lie a power of two apart, or they would all fall into the same few places of a cache."""
        return self.empty((rows, length + 16), dtype)[:, :length]

    def _products(self, a: Array, b: Array) -> Array:
        """(P, M, K), (P, K, F) -> (P, M·F)"""
        flat = self._spaced_rows(len(a), a.shape[1] * b.shape[2], a.dtype)
        np.matmul(a, b, out=flat.reshape(len(a), a.shape[1], b.shape[2]))
        return flat

    def _multiply(self, a: Array, b: Array) -> Array:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return np.matmul(a, b, out=self.empty((*lead, a.shape[-2], b.shape[-1]), a.dtype))

    def _blocks(self, batch: int, values: int) -> Iterator[slice]:
        """Blocks of images of so many values each, which stay in cache together."""
        block = max(1, _CACHED // values)
        return (slice(start, min(start + block, batch)) for start in range(0, batch, block))


def taps_of(g: ConvGeometry) -> Pair:
    """T and T': how many pixels of s × s' a kernel spans."""
    return -(-g.kernel[0] // g.stride[0]), -(-g.kernel[1] // g.stride[1])


def by_phase(w: Array, g: ConvGeometry) -> Array:
    """(KH, KW, C, F) -> (T, s, T', s', C, F), zeros for taps beyond the kernel."""
    (taps_h, taps_w), (step_h, step_w) = taps_of(g), g.stride
    if w.shape[:2] != (taps_h * step_h, taps_w * step_w):
        w = np.pad(w, ((0, taps_h * step_h - w.shape[0]), (0, taps_w * step_w - w.shape[1]), (0, 0), (0, 0)))
    return w.reshape(taps_h, step_h, taps_w, step_w, *w.shape[2:])


def _tiles(g: ConvGeometry) -> tuple[Tiles, Tiles]:
    taps = taps_of(g)
    return best_tiles(g.output[0], taps[0]), best_tiles(g.output[1], taps[1])
