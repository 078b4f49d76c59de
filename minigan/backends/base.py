"""The textbook backend: every operation in its shortest honest form, on any NumPy-like module `xp`.

It is three things at once: the oracle that the fast backends are tested against, the baseline of every benchmark, and a
backend that one may choose. `numpy` and `cupy` override what is worth overriding and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import numpy as np

from minigan.backends.geometry import ConvGeometry
from minigan.backends.machine import Machine
from minigan.backends.random import Generator, Seed
from minigan.backends.scalars import DeviceScalar
from minigan.errors import ShapeError

Array = Any  # a numpy.ndarray or a cupy.ndarray
Formula = Callable[..., Any]  # formula(xp, *arrays, **constants) -> array, or tuple of arrays


def array_module(x: Array) -> ModuleType:
    """The module whose functions work on x: numpy for host arrays, cupy for device arrays."""
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    root = type(x).__module__.partition(".")[0]
    if root == "cupy":  # CuPy 14 has no __array_namespace__
        return sys.modules["cupy"]
    raise ShapeError(f"need an array of NumPy or CuPy, got {type(x).__name__}: convert it with backend.asarray(x)")


class Backend(Machine):
    """Every operation that layers, losses, optimisers and the game need, in textbook form on the module `xp`.

    Shapes: images (N, H, W, C), outputs (N, OH, OW, F), convolution weights (KH, KW, C, F).
    """

    name = "textbook"
    precision = "float32"  # of products of float32
    records_builtins_only = False  # True if a recording may hold no layers and optimisers but minigan's own
    tracks_writes = False  # True if a recording knows every array that it writes to

    def __init__(self, xp: ModuleType = np) -> None:
        self.xp = xp

    # -- arrays in and out ---------------------------------------------------------------------------------------------

    def asarray(self, host: Any, dtype: Any = None) -> Array:
        """The one way in: a host array (or nested list) as an array of this backend."""
        return self.xp.asarray(host, dtype=dtype)

    def to_numpy(self, device: Array) -> np.ndarray:
        """The one way out: an array of this backend as a NumPy array."""
        return np.asarray(device)

    def owns(self, x: Any) -> bool:
        """Whether x is an array of this backend."""
        return isinstance(x, self.xp.ndarray)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A new array whose values are whatever its memory held."""
        return self.xp.empty(shape, dtype=dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A new array of zeros."""
        return self.xp.zeros(shape, dtype=dtype)

    def generator(self, seed: Seed) -> Generator:
        """A random stream that draws on this backend's device."""
        return Generator(seed, self)

    def scalar(self, dtype: Any = np.float64) -> DeviceScalar:
        """A number that may change between steps. dtype: that of the arrays it will meet, where it lies on a device."""
        return DeviceScalar()

    # -- what a backend may make use of --------------------------------------------------------------------------------

    def operand(self, x: Array) -> Array:
        """x for several products with it: what a backend computes from x alone may ride on what it hands out here."""
        return x

    def set_threading(self, layers: Sequence[Any], batch: int) -> None:
        """A pass of so many samples through these layers begins: a backend may choose which threads serve it."""

    def share_threading(self, owner: Any, networks: Callable[[], Sequence[Any]]) -> None:
        """Passes through the networks of this owner follow one another: a backend may let the same threads serve all."""

    def concatenates(self, layers: Sequence[Any], batch: int) -> bool:
        """True if passes through these layers, of so many samples together, are quicker as one."""
        return False

    def parts(self, layers: Sequence[Any], batch: int, batches: int) -> int:
        """Into how many parts each of so many batches is best cut, for passes alongside each other; 0 where passes in turn are
        better.
        """
        return 0

    def alongside(self, tasks: Sequence[Callable[[], Any]]) -> list[Any]:
        """[task() for task in tasks], several at a time where parts() is not 0."""
        return [task() for task in tasks]

    def processes(self, layers: Sequence[Any], batch: int) -> int:
        """How many processes are best to share each batch of so many samples of a training that goes through these layers."""
        return 1

    def record(self, compute: Callable[[], Any], arrays: Sequence[Array]) -> Any:
        """A recording of compute(), whose effects are undone: replay() repeats it on the same arrays and returns copies of its
        results; snapshot(), rollback() and discard() keep, restore and drop what the arrays it writes to, `written`, held;
        has_room_beside tells whether compute can run eagerly while the recording exists.

        None: this backend records nothing. arrays: those that compute is known to write to. Raises CaptureError, or what the
        device's libraries raise, where compute cannot be repeated.
        """
        return None

    def undisturbed(self) -> AbstractContextManager[Any]:
        """Within it, no other Python thread changes how this backend computes: two equal computations give equal bytes."""
        return nullcontext()

    # -- moving values -------------------------------------------------------------------------------------------------

    def store(self, value: Array, out: Array | None) -> Array:
        """value, written to `out` if there is one."""
        if out is None:
            return value
        out[...] = value
        return out

    def concatenate(self, arrays: Sequence[Array]) -> Array:
        """The samples of all arrays, one array after the other."""
        return self.xp.concatenate(arrays)

    # -- products and sums ---------------------------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """a b for matrices (M, K) and (K, N). out: where to write it."""
        return self.xp.matmul(a, b, out=out)

    def column_sum(self, x: Array, out: Array | None = None) -> Array:
        """Σ x over all axes but the last: (…, C) -> (C,). out: where to write it."""
        return self.store(x.reshape(-1, x.shape[-1]).sum(axis=0), out)

    def column_sums(self, formula: Formula, *arrays: Array, **constants: Any) -> tuple[Array, ...]:
        """Σ over all axes but the last of each array that an element-wise formula returns (one or a tuple): a tuple of (C,)."""
        values = formula(self.xp, *arrays, **constants)
        return tuple(self.column_sum(x) for x in (values if isinstance(values, tuple) else (values,)))

    def means(self, formula: Formula, *arrays: Array, **constants: Any) -> tuple[Array, ...]:
        """Σ/N over all N values of each array that an element-wise formula returns (one or a tuple), as 0-d arrays."""
        values = formula(self.xp, *arrays, **constants)
        # On a batch of logits a sum and a quotient take a third of the time of NumPy's own mean.
        return tuple(self.xp.asanyarray(x.sum() / x.size) for x in (values if isinstance(values, tuple) else (values,)))

    def column_mean(self, x: Array) -> Array:
        """Σ x / M over all axes but the last, M values per channel: (…, C) -> (C,)."""
        return self.column_sum(x) / (x.size // x.shape[-1])

    def column_means(self, formula: Formula, *arrays: Array, **constants: Any) -> tuple[Array, ...]:
        """column_sums over the number of rows."""
        sums = self.column_sums(formula, *arrays, **constants)
        count = arrays[0].size // arrays[0].shape[-1]
        return tuple(x / count for x in sums)

    def column_dot(self, x: Array, y: Array) -> Array:
        """Σ x·y over all axes but the last: (…, C), (…, C) -> (C,)."""
        return self.column_sums(_product, x, y)[0]

    def all_mean(self, *arrays: Array) -> tuple[Array, ...]:
        """The arrays, which hold means over this rank's share of a batch, as means over the whole of it: Σ/P over P ranks.

        Written over what lies there. With one process a share is the whole batch, and this the identity.
        """
        self.ranks.all_mean(*arrays)
        return arrays

    # -- element-wise formulas -----------------------------------------------------------------------------------------

    def elementwise(self, formula: Formula, *arrays: Array, **constants: Any) -> Array:
        """formula(xp, *arrays, **constants), which must treat every element (of the broadcast arrays) by itself.

        The formula stands next to its calculus; how it runs is the backend's business. It must depend on its arguments alone,
        for a backend may look at it once and replay what it did.
        """
        return formula(self.xp, *arrays, **constants)

    def elementwise_update(self, formula: Formula, targets: tuple[Array, ...], *arrays: Array, **constants: Any) -> None:
        """targets[i][...] = formula(xp, *targets, *arrays, **constants)[i], for arrays of one shape."""
        for target, value in zip(targets, formula(self.xp, *targets, *arrays, **constants), strict=True):
            target[...] = value

    def add_bias(self, y: Array, b: Array) -> None:
        """y += b, one number for each channel: (..., F), (F,)."""
        y += b

    # -- batches -------------------------------------------------------------------------------------------------------

    def take_rows(self, values: Array, order: Array, start: DeviceScalar, count: int, dtype: Any) -> Array:
        """values[order[start : start + count]] in another dtype."""
        first = start.value
        return values[order[first : first + count]].astype(dtype)

    # -- the three convolutions ----------------------------------------------------------------------------------------

    def conv2d(self, x: Array, w: Array, g: ConvGeometry) -> Array:
        """The convolution y = A_w x (a cross-correlation, as everywhere in deep learning): (N, H, W, C) -> (N, OH, OW, F).

        y[n, o, p, f] = Σ_{i, j, c} x̄[n, o·s + i·d, p·s + j·d, c] · w[i, j, c, f], with x̄ the zero-padded x.
        As one product: im2col(x) (N·OH·OW, KH·KW·C) times w (KH·KW·C, F).
        """
        y = self.matmul(self.im2col(x, g), w.reshape(-1, w.shape[-1]))
        return y.reshape(x.shape[0], *g.output, w.shape[-1])

    def conv2d_transpose(self, y: Array, w: Array, g: ConvGeometry) -> Array:
        """The adjoint x = A_wᵀ y, for which <A_w x, y> = <x, A_wᵀ y>: (N, OH, OW, F) -> (N, H, W, C)."""
        columns = self.matmul(y.reshape(-1, w.shape[-1]), w.reshape(-1, w.shape[-1]).T)  # (N·OH·OW, KH·KW·C)
        return self.col2im(columns, g, y.shape[0])

    def conv2d_weight_grad(self, x: Array, y: Array, g: ConvGeometry, out: Array | None = None) -> Array:
        """∂<A_w x, y>/∂w = im2col(x)ᵀ y: (N, H, W, C), (N, OH, OW, F) -> (KH, KW, C, F). out: where to write it."""
        channels, features = x.shape[-1], y.shape[-1]
        matrix = None if out is None else out.reshape(-1, features)
        dw = self.matmul(self.im2col(x, g).T, y.reshape(-1, features), matrix)
        return dw.reshape(*g.kernel, channels, features)

    def im2col(self, x: Array, g: ConvGeometry) -> Array:
        """The window under every output position as a row: (N, H, W, C) -> (N·OH·OW, KH·KW·C)."""
        batch, channels = x.shape[0], x.shape[-1]
        (pad_h, pad_w), (height, width) = g.padding, g.image
        padded = self.zeros((batch, *g.padded, channels), x.dtype)
        padded[:, pad_h : pad_h + height, pad_w : pad_w + width] = x
        step_n, step_h, step_w, step_c = padded.strides
        windows = self.xp.lib.stride_tricks.as_strided(
            padded,
            (batch, *g.output, *g.kernel, channels),
            (step_n, step_h * g.stride[0], step_w * g.stride[1], step_h * g.dilation[0], step_w * g.dilation[1], step_c),
        )
        columns = self.empty(windows.shape, x.dtype)
        columns[...] = windows
        return columns.reshape(batch * g.output[0] * g.output[1], -1)

    def col2im(self, columns: Array, g: ConvGeometry, batch: int) -> Array:
        """The transpose of im2col: every row is added back to the window it was read from."""
        (pad_h, pad_w), (height, width) = g.padding, g.image
        windows = columns.reshape(batch, *g.output, *g.kernel, -1)
        padded = self.zeros((batch, *g.padded, windows.shape[-1]), columns.dtype)
        for kh in range(g.kernel[0]):
            rows = _every(kh * g.dilation[0], g.stride[0], g.output[0])
            for kw in range(g.kernel[1]):
                columns_hit = _every(kw * g.dilation[1], g.stride[1], g.output[1])
                padded[:, rows, columns_hit] += windows[:, :, :, kh, kw]
        return padded[:, pad_h : pad_h + height, pad_w : pad_w + width]


def _product(xp: Any, x: Array, y: Array) -> Array:
    """x y"""
    return x * y


def _every(start: int, step: int, count: int) -> slice:
    """The slice of `count` positions start, start + step, …"""
    return slice(start, start + step * (count - 1) + 1, step)
