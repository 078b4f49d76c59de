"""The three convolutions, a few images at a time: by im2col and one product, or in Winograd's form where that is quicker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import ref

import numpy as np

from minigan.backends.base import Array
from minigan.backends.geometry import ConvGeometry
from minigan.backends.numpy.elementwise import ElementwiseBackend
from minigan.backends.numpy.winograd import Winograd

_COLUMNS = 1 << 20  # elements of a block's im2col rows: 4 MiB in float32

# Whether Winograd's form is quicker than im2col and one product depends on how fast BLAS multiplies: multiplications in a
# nanosecond, float32 on two cores, with AVX-512 and without; nanoseconds for a number of im2col, col2im. Only their ratios
# count, which other thread counts and float64 change little; an unknown BLAS is taken for the slower.
_WIDE_KERNELS = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # as OpenBLAS calls them
_WIDE_RATE, _RATE = 233, 119
_IM2COL, _COL2IM = 0.17, 0.25

Transforms = dict[tuple[Any, ...], Array]  # by the geometry, the transform's name, and the images that it is of, from and to


class ConvolutionBackend(ElementwiseBackend):
    """Convolutions in blocks over the threads. What is computed from an operand alone rides on it, from product to product."""

    def __init__(self) -> None:
        super().__init__()
        wide = any(library.info().get("architecture") in _WIDE_KERNELS for library in self._blas)
        self._rate = _WIDE_RATE if wide else _RATE
        self._transforms: dict[int, tuple[ref[Array], Transforms]] = {}  # by the operand's id

    def operand(self, x: Array) -> Array:
        """A view of images to which their transforms are tied: they go when it goes. Other arrays have none."""
        if x.ndim != 4 or not self._thread.own:
            return x
        view = x.view()
        # A partial of dict.pop is no Python code: a Ctrl-C that came as the view ends would be lost in that.
        end = ref(view, partial(self._transforms.pop, id(view)))
        self._transforms[id(view)] = end, {}
        return view

    def _transformed(self, form: Winograd, name: str, array: Array, images: slice) -> Array:
        """form.image or form.output of array[images]: found on the operand, else computed and left there."""
        transform: Callable[[Array], Array] = getattr(form, name)
        _, kept = self._transforms.get(id(array), (None, None))
        if kept is None:
            return transform(array[images])
        block = form.g, name, images.start, images.stop
        if block not in kept:
            kept[block] = transform(array[images])
        return kept[block]

    def conv2d(self, x: Array, w: Array, g: ConvGeometry) -> Array:
        if not self._thread.own:
            return super().conv2d(x, w, g)
        y = self.empty((x.shape[0], *g.output, w.shape[-1]), x.dtype)
        form = self._winograd(g, x.shape[0], w.shape, x.dtype, _IM2COL)
        if form:
            u = self._kernel(form, w)

            def filtered(images: slice) -> None:
                form.conv2d(self._transformed(form, "image", x, images), u, y[images])

            self._each(filtered, len(x), form.images_per_block(*w.shape[2:]))
            return y
        matrix = w.reshape(-1, w.shape[-1])

        def convolve(images: slice) -> None:
            np.matmul(self.im2col(x[images], g), matrix, out=y[images].reshape(-1, w.shape[-1]))

        self._each(convolve, len(x), _images_per_block(g, w.shape[2]))
        return y

    def conv2d_transpose(self, y: Array, w: Array, g: ConvGeometry) -> Array:
        if not self._thread.own:
            return super().conv2d_transpose(y, w, g)
        x = self.empty((len(y), *g.image, w.shape[2]), y.dtype)
        form = self._winograd(g, len(y), w.shape, y.dtype, _COL2IM)
        if form:
            u = self._kernel(form, w)

            def filtered(images: slice) -> None:
                form.conv2d_transpose(self._transformed(form, "output", y, images), u, x[images])

            self._each(filtered, len(y), form.images_per_block(*w.shape[2:]))
            return x
        matrix = w.reshape(-1, w.shape[-1]).T

        def scatter(images: slice) -> None:
            rows = y[images].reshape(-1, w.shape[-1])
            columns = np.matmul(rows, matrix, out=self.empty((len(rows), matrix.shape[1]), y.dtype))
            x[images] = self.col2im(columns, g, images.stop - images.start)

        self._each(scatter, len(y), _images_per_block(g, w.shape[2]))
        return x

    def conv2d_weight_grad(self, x: Array, y: Array, g: ConvGeometry, out: Array | None = None) -> Array:
        if not self._thread.own:
            return super().conv2d_weight_grad(x, y, g, out)
        kernel = (*g.kernel, x.shape[-1], y.shape[-1])
        form = self._winograd(g, len(x), kernel, x.dtype, _IM2COL)
        if form:

            def filtered(images: slice, dw: Array) -> None:
                v = self._transformed(form, "image", x, images)
                form.weight_grad(v, self._transformed(form, "output", y, images), dw)

            dw = self._sum(filtered, kernel, x.dtype, len(x), form.images_per_block(*kernel[2:]))
            return self.store(dw, out)

        def products(images: slice, dw: Array) -> None:
            columns = self.im2col(x[images], g)
            np.matmul(columns.T, y[images].reshape(len(columns), -1), out=dw)

        matrix = (math.prod(kernel[:3]), kernel[3])
        dw = self._sum(products, matrix, x.dtype, len(x), _images_per_block(g, kernel[2])).reshape(kernel)
        return self.store(dw, out)

    def _winograd(self, g: ConvGeometry, batch: int, kernel: tuple[int, ...], dtype: Any, column: float) -> Winograd | None:
        """That form, where it should be quicker than one product and `column` nanoseconds for a number of im2col or col2im."""
        columns = batch * math.prod(g.output) * math.prod(kernel[:3])
        multiplications, moved = Winograd.work(g, batch, *kernel[2:])
        quicker = multiplications / self._rate + moved < columns * (kernel[3] / self._rate + column)
        return Winograd(g, dtype, self.empty) if quicker else None

    def _kernel(self, form: Winograd, w: Array) -> Array:
        """The kernel in the transform domain."""
        u = self.empty(form.kernel_shape(*w.shape[2:]), w.dtype)
        self._each(lambda rows: form.kernel(w, rows, u), len(u), len(u))
        return u

    def _each(self, work: Callable[[slice], Any], rows: int, block: int) -> None:
        """work(block) for all blocks of rows, over the threads."""

        def share(blocks: Sequence[slice]) -> None:
            for rows in blocks:
                work(rows)

        self._spread(share, rows, block)

    def _sum(self, work: Callable[[slice, Array], Any], shape: tuple[int, ...], dtype: Any, rows: int, block: int) -> Array:
        """The sum of what work(block, out) writes to out, over all blocks of rows."""

        def share(blocks: Sequence[slice]) -> Array:
            total = self.empty(shape, dtype)
            work(blocks[0], total)
            part = self.empty(shape, dtype) if len(blocks) > 1 else None
            for rows in blocks[1:]:
                work(rows, part)
                total += part
            return total

        parts = self._spread(share, rows, block)
        for part in parts[1:]:
            parts[0] += part
        return parts[0]


def _images_per_block(g: ConvGeometry, channels: int) -> int:
    return max(1, _COLUMNS // (math.prod(g.output) * math.prod(g.kernel) * channels))
