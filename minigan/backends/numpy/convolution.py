"""The three convolutions, a few images at a time, each in the form that should be the quickest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from weakref import ref

import numpy as np

from minigan.backends.base import Array
from minigan.backends.geometry import ConvGeometry
from minigan.backends.numpy.columns import ColumnsBackend
from minigan.backends.numpy.sub_pixel import SubPixel, sub_pixel
from minigan.backends.numpy.winograd import Winograd
from minigan.errors import NotWorthCapturingError

_COLUMNS = 1 << 18  # elements of a block's im2col rows: 1 MiB in float32
_AT_ONCE = 20  # channels whose col2im takes as long for each as that of few channels, tap by tap

Transforms = dict[tuple[Any, ...], Array]  # by the geometry, the transform's name, and the images that it is of, from and to


@dataclass(frozen=True)
class Costs:
    """Nanoseconds on two cores, float32. Only their ratios count, which other thread counts and float64 change little."""

    multiplication: float  # of a large product
    gathered: float  # a number of im2col
    scattered: float  # a number of col2im
    placed: float  # a number of a block of pixels that is moved to its place
    pixel: float  # beside that, for each pixel whose channels are moved by themselves
    moved: float  # a number of a tile that is gathered or put in its place, for Winograd's form
    kernel: float  # a number of the kernel in the transform domain

    def pixel_of(self, channels: int) -> float:
        """NumPy moves pixels of one channel many at a time."""
        return self.pixel if channels > 1 else 0.0


# Measured with OpenBLAS's kernels for AVX2 and for AVX-512 (see benchmarks/README.md); another BLAS is taken for the former.
NARROW = Costs(1 / 76, 0.17, 0.25, 0.1, 17.0, 1.4, 0.8)
WIDE = Costs(1 / 233, 0.17, 0.25, 0.1, 17.0, 0.3, 0.8)
_WIDE_KERNELS = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # as OpenBLAS calls them


@lru_cache(maxsize=1024)
def quickest_form(costs: Costs, g: ConvGeometry, batch: int, channels: int, features: int) -> str:
    """The name of a form: "winograd" where it should be the quickest for all three convolutions, which share transforms in a
    training step; else im2col and one product, with "sub-pixel" or "col2im" for the transposed convolution.
    """
    columns = batch * math.prod(g.output) * math.prod(g.kernel) * channels
    gather_and_multiply = columns * (features * costs.multiplication + costs.gathered)
    transposed = {
        "sub-pixel": _sub_pixel_cost(costs, g, batch, channels, features),
        "col2im": columns * (features * costs.multiplication + costs.scattered + costs.pixel / max(channels, _AT_ONCE)),
    }
    plain = min(transposed, key=lambda form: transposed[form])
    of_all_three = 2 * gather_and_multiply + transposed[plain]
    return "winograd" if _winograd_cost(costs, g, batch, channels, features) < of_all_three else plain


def _sub_pixel_cost(costs: Costs, g: ConvGeometry, batch: int, channels: int, features: int) -> float:
    """Of the transposed convolution in that form."""
    multiplications, gathered, placed = SubPixel.work(g, channels, features)
    placing = placed * (costs.placed + costs.pixel_of(channels) / channels)
    return batch * (multiplications * costs.multiplication + gathered * costs.gathered + placing)


def _winograd_cost(costs: Costs, g: ConvGeometry, batch: int, channels: int, features: int) -> float:
    """Of all three convolutions in that form."""
    multiplications, moved, kernel = Winograd.work(g, batch, channels, features)
    moving = moved * (costs.moved + costs.pixel_of(channels) / channels)
    return multiplications * costs.multiplication + moving + kernel * costs.kernel


class ConvolutionBackend(ColumnsBackend):
    """Convolutions in blocks over the threads. What is computed from an operand alone rides on it, from product to product."""

    def __init__(self) -> None:
        super().__init__()
        wide = any(library.info().get("architecture") in _WIDE_KERNELS for library in self._blas)
        self._costs = WIDE if wide else NARROW
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
        x, w = self._wrap(x, w)
        y = self.empty((x.shape[0], *g.output, w.shape[-1]), x.dtype)
        form = self._winograd(g, len(x), w.shape, x.dtype)
        if form:
            u = self._kernel(form, w)

            def filtered(images: slice) -> None:
                form.conv2d(self._transformed(form, "image", x, images), u, y[images])

            self._each(filtered, len(x), form.images_per_block(*w.shape[2:]))
            return y
        matrix = w.reshape(-1, w.shape[-1])

        def convolve(images: slice) -> None:
            np.matmul(self.columns(x[images], g), matrix, out=y[images].reshape(-1, w.shape[-1]))

        self._each(convolve, len(x), _images_per_block(g, w.shape[2]))
        return y

    def conv2d_transpose(self, y: Array, w: Array, g: ConvGeometry) -> Array:
        if not self._thread.own:
            return super().conv2d_transpose(y, w, g)
        y, w = self._wrap(y, w)
        x = self.empty((len(y), *g.image, w.shape[2]), y.dtype)
        form = self._winograd(g, len(y), w.shape, y.dtype)
        if form:
            u = self._kernel(form, w)

            def filtered(images: slice) -> None:
                form.conv2d_transpose(self._transformed(form, "output", y, images), u, x[images])

            self._each(filtered, len(y), form.images_per_block(*w.shape[2:]))
            return x
        if quickest_form(self._costs, g, len(y), *w.shape[2:]) == "sub-pixel":
            self._sub_pixel(y, w, sub_pixel(g), x)
            return x

        def scatter(images: slice) -> None:
            columns = self.product_for_col2im(y[images].reshape(-1, w.shape[-1]), w)
            x[images] = self.col2im(columns, g, images.stop - images.start)

        self._each(scatter, len(y), _images_per_block(g, w.shape[2]))
        return x

    def _sub_pixel(self, y: Array, w: Array, form: SubPixel, out: Array) -> None:
        """out = A_wᵀ y in that form."""
        kernel = form.kernel(w)

        def convolve(images: slice) -> None:
            if form.is_whole:
                np.matmul(self.columns(y[images], form.windows), kernel[0], out=out[images].reshape(-1, out.shape[-1]))
                return
            columns = self.gathered(self.windows(y[images], form.windows).swapaxes(0, 1))  # their rows outermost
            for phase in form.rows:
                rows = columns[phase.grid].reshape(-1, kernel.shape[1])
                product = self._block("product", (len(rows), kernel.shape[2]), y.dtype)
                np.matmul(rows, kernel[phase.number], out=product)
                form.place(product, phase, out[images])

        self._each(convolve, len(y), _images_per_block(form.windows, w.shape[3]))

    def conv2d_weight_grad(self, x: Array, y: Array, g: ConvGeometry, out: Array | None = None) -> Array:
        if not self._thread.own:
            return super().conv2d_weight_grad(x, y, g, out)
        x, y = self._wrap(x, y)
        kernel = (*g.kernel, x.shape[-1], y.shape[-1])
        form = self._winograd(g, len(x), kernel, x.dtype)
        if form:

            def filtered(images: slice, dw: Array) -> None:
                v = self._transformed(form, "image", x, images)
                form.weight_grad(v, self._transformed(form, "output", y, images), dw)

            dw = self._sum(filtered, kernel, x.dtype, len(x), form.images_per_block(*kernel[2:]))
            return self.store(dw, out)

        def products(images: slice, dw: Array) -> None:
            columns = self.columns(x[images], g)
            np.matmul(columns.T, y[images].reshape(len(columns), -1), out=dw)

        matrix = (math.prod(kernel[:3]), kernel[3])
        dw = self._sum(products, matrix, x.dtype, len(x), _images_per_block(g, kernel[2])).reshape(kernel)
        return self.store(dw, out)

    def _winograd(self, g: ConvGeometry, batch: int, kernel: tuple[int, ...], dtype: Any) -> Winograd | None:
        """That form, where it should be the quickest."""
        if quickest_form(self._costs, g, batch, *kernel[2:]) != "winograd":
            return None
        if self._recording.calls is not None:
            raise NotWorthCapturingError("the pass has convolutions in Winograd's form")
        return Winograd(g, dtype, self.empty, self._scratch.zeros)

    def _kernel(self, form: Winograd, w: Array) -> Array:
        """The kernel in the transform domain."""
        u, taps = self.empty(form.kernel_shape(*w.shape[2:]), w.dtype), form.taps(w)
        self._each(lambda rows: form.kernel(taps, rows, u), len(u), len(u))
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
