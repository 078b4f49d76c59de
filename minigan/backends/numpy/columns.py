"""im2col and its transpose, laid out in memory so that NumPy moves many numbers at a time."""

from __future__ import annotations

import itertools

import numpy as np

from minigan.backends.base import Array
from minigan.backends.geometry import ConvGeometry
from minigan.backends.numpy.elementwise import ElementwiseBackend

# Channels up to which the numbers of one tap, over all windows, lie side by side instead of those of one window. NumPy moves a
# window's pixels one by one, which takes as long for one channel as for twenty.
GATHERED_BY_TAP, SCATTERED_BY_TAP = 2, 4


class ColumnsBackend(ElementwiseBackend):
    """im2col and col2im for passes on our threads. One that is left to BLAS's takes the base class's."""

    def columns(self, x: Array, g: ConvGeometry) -> Array:
        """im2col(x), in memory that this thread's next call uses again."""
        windows, rows = self.windows(x, g), len(x) * g.output[0] * g.output[1]
        if x.shape[-1] > GATHERED_BY_TAP:
            return self.gathered(windows).reshape(rows, -1)
        return self.gathered(windows.transpose(3, 4, 5, 0, 1, 2)).reshape(-1, rows).T

    def windows(self, x: Array, g: ConvGeometry) -> Array:
        """The window under every output position, (N, OH, OW, KH, KW, C): a view of what _padded returns."""
        padded = self._padded(x, g)
        n, h, w, c = padded.strides
        steps = (n, h * g.stride[0], w * g.stride[1], h * g.dilation[0], w * g.dilation[1], c)
        return np.ndarray((len(x), *g.output, *g.kernel, x.shape[-1]), x.dtype, padded, 0, steps)

    def gathered(self, windows: Array) -> Array:
        """A copy of windows, in the order of their axes, likewise."""
        copy = self._block("columns", windows.shape, windows.dtype)
        copy[...] = windows
        return copy

    def _padded(self, x: Array, g: ConvGeometry) -> Array:
        """x within its border of zeros, in memory that this thread's next call uses again."""
        (pad_h, pad_w), (height, width) = g.padding, g.image
        if g.padding == (0, 0) and x.flags.c_contiguous:
            return x
        padded = self._zeros(g.padding, (len(x), *g.padded, x.shape[-1]), x.dtype)
        padded[:, pad_h : pad_h + height, pad_w : pad_w + width] = x
        return padded

    def product_for_col2im(self, rows: Array, kernel: Array) -> Array:
        """rows (M, F) times the kernel's transpose, (K, F)ᵀ: (M, K) for col2im, by tap where the kernel has few channels."""
        matrix = kernel.reshape(-1, kernel.shape[-1])
        if kernel.shape[2] > SCATTERED_BY_TAP:
            return np.matmul(rows, matrix.T, out=self.empty((len(rows), len(matrix)), rows.dtype))
        return np.matmul(matrix, rows.T, out=self.empty((len(matrix), len(rows)), rows.dtype)).T

    def col2im(self, columns: Array, g: ConvGeometry, batch: int) -> Array:
        channels = columns.shape[1] // (g.kernel[0] * g.kernel[1])
        if not self._thread.own or channels > SCATTERED_BY_TAP:
            return super().col2im(columns, g, batch)
        (pad_h, pad_w), (height, width) = g.padding, g.image
        padded = self.zeros((batch, *g.padded, channels), columns.dtype)
        taps = columns.T.reshape(*g.kernel, channels, batch, *g.output)
        ends = [(g.output[axis] - 1) * g.stride[axis] + 1 for axis in (0, 1)]
        for tap in itertools.product(*map(range, (*g.kernel, channels))):
            h, w = (tap[axis] * g.dilation[axis] for axis in (0, 1))
            padded[:, h : h + ends[0] : g.stride[0], w : w + ends[1] : g.stride[1], tap[2]] += taps[tap]
        return padded[:, pad_h : pad_h + height, pad_w : pad_w + width]
