"""The textbook backend: every operation in its shortest honest form, on any NumPy-like module `xp`.

It is three things at once: the oracle that the fast backends are tested against, the baseline of every benchmark, and a
backend that one may choose. `numpy` and `cupy` override what is worth overriding and nothing else.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from minigan.errors import BackendError, ShapeError

Array = Any  # a numpy.ndarray or a cupy.ndarray
Formula = Callable[..., Any]  # formula(xp, *arrays, **constants) -> array, or tuple of arrays
Kept = dict[Any, Array]  # a backend's own intermediate results, under keys of its own
Seed = int | Sequence[int]
Pair = tuple[int, int]
Result = TypeVar("Result")


def array_module(x: Array) -> ModuleType:
    """The module whose functions work on x: numpy for host arrays, cupy for device arrays."""
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    root = type(x).__module__.partition(".")[0]
    if root == "cupy":  # CuPy 14 has no __array_namespace__
        return sys.modules["cupy"]
    raise ShapeError(f"need an array of NumPy or CuPy, got {type(x).__name__}: convert it with backend.asarray(x)")


@dataclass(frozen=True)
class ConvGeometry:
    """How a convolution maps an image (H, W) to an output (OH, OW); each pair is (height, width).

    Map position o reads the image at o·stride − padding + k·dilation for k = 0 … kernel − 1; outside the image it reads 0.
    The transposed convolution is the same geometry walked from the map to the image.
    Raises ShapeError unless all are pairs of whole numbers, from 1 up (padding: from 0), and no map position reads beyond the
    padded image.
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
                    f"a map of {name} {self.output[axis]} reads {last} places, and the padded image has {self.padded[axis]}"
                )

    @property
    def output_padding(self) -> Pair:
        """Image rows and columns beyond the last that a map position can read."""
        return tuple(  # type: ignore[return-value]
            max(0, self.padded[a] - (self.output[a] - 1) * self.stride[a] - self.dilation[a] * (self.kernel[a] - 1) - 1)
            for a in (0, 1)
        )

    @property
    def padded(self) -> Pair:
        """Height and width of the image with its zero border."""
        return self.image[0] + 2 * self.padding[0], self.image[1] + 2 * self.padding[1]


class Generator:
    """A seeded stream of random numbers; `state` is plain JSON, and setting it continues the stream exactly there."""

    def __init__(self, seed: Seed) -> None:
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))

    def normal(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Independent draws from N(0, 1)."""
        return self._rng.standard_normal(shape, dtype=dtype)

    def uniform(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Independent draws from U[0, 1)."""
        return self._rng.random(shape, dtype=dtype)

    @property
    def state(self) -> Any:
        return self._rng.bit_generator.state

    @state.setter
    def state(self, state: Any) -> None:
        self._rng.bit_generator.state = state


class Number:
    """A number that changes from step to step, such as a learning rate: set on the host, taken in where a step needs it.

    operand is what stands for it in a formula's constants: the number itself, or on a GPU its place in the device's memory,
    where a captured step finds each time what was set last.
    """

    def __init__(self) -> None:
        self.operand: Any = 0.0

    def set(self, value: float) -> None:
        self.operand = value


class Backend:
    """Every operation that layers, losses, optimisers and the game need, in textbook form on the module `xp`.

    Shapes: images (N, H, W, C), maps (N, OH, OW, F), convolution weights (KH, KW, C, F).
    """

    name = "textbook"
    precision = "float32"  # of products of float32

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
        """A random stream whose numbers are born on this backend's device."""
        return Generator(seed)

    def number(self, dtype: Any = np.float64) -> Number:
        """A number that may change between steps. dtype: that of the arrays it will meet, where it lies on a device."""
        return Number()

    def on_host(self, work: Callable[[], None]) -> None:
        """Do the host's part of a step: count it, set its numbers. Now, and again before every replay of a captured step."""
        work()

    def capture(self, step: Callable[[], Result], say: Callable[[str], None] = print) -> Callable[[], Result]:
        """step, to be called again and again; recorded once and replayed: on a GPU as one piece of work, on numpy as a list of
        NumPy's calls, where Python's share in the step is worth it.

        A replay repeats what was done with arrays as it was recorded. So what a step does besides must go through on_host, and
        what changes from step to step through number; a Python variable that a layer changes, or another array handed in each
        time, would stay as it was. Arrays that the step reads must be kept, and filled anew, and nothing may depend on their
        values. The numpy backend compares a replay with the step before it trusts it, for which it calls step twice in its
        second call. Where it cannot be recorded, `say` is told once why, and every call runs it anew. The textbook backend
        records nothing: step itself.
        """
        return step

    def may_record(self, hindrance: Callable[[], str]) -> None:
        """Told by each part of a step how to ask what speaks against replaying it: a reason in words, or ""."""

    def begin_pass(self, work: frozenset[str], values: int) -> None:
        """Told by a network before each pass what kinds of work its layers are, and the size of the largest array in the pass.

        A backend may use its threads accordingly, in this Python thread and until its next pass.
        """

    def synchronize(self) -> None:
        """Wait until all work given to the device is done. On a CPU there is nothing to wait for."""

    @property
    def device(self) -> str:
        """The device in words."""
        return f"CPU ({_cpu_name()})"

    @property
    def memory(self) -> tuple[float, float] | None:
        """(free, total) memory of the device in MiB; None where the system does not tell."""
        try:
            page = os.sysconf("SC_PAGE_SIZE") / 2**20
            return os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page
        except (AttributeError, ValueError, OSError):
            return None

    @property
    def versions(self) -> dict[str, str]:
        """What else there is to know of the device and its libraries, by name."""
        return {}

    def clear(self, x: Array) -> None:
        """x ← 0"""
        x[...] = 0

    def joins(self, values: int) -> bool:
        """Whether two passes whose largest array has so many values are quicker as one."""
        return False

    def join(self, a: Array, b: Array) -> Array:
        """The samples of a, then those of b."""
        return self.xp.concatenate((a, b))

    # -- products and sums ---------------------------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
        """a b for matrices (M, K) and (K, N). out: where to write it; add: what lies there is added to."""
        return put(self.xp.matmul(a, b), out, add) if add else self.xp.matmul(a, b, out=out)

    def column_sum(self, x: Array, out: Array | None = None, add: bool = False) -> Array:
        """Σ x over all axes but the last: (…, C) -> (C,). out: where to write it; add: what lies there is added to."""
        return put(x.reshape(-1, x.shape[-1]).sum(axis=0), out, add)

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

    # -- batches -------------------------------------------------------------------------------------------------------

    def take_rows(self, values: Array, order: Array, start: Number, count: int, dtype: Any) -> Array:
        """values[order[start : start + count]] in another dtype."""
        first = start.operand
        return values[order[first : first + count]].astype(dtype)

    # -- the three convolutions ----------------------------------------------------------------------------------------

    def conv2d(self, x: Array, w: Array, g: ConvGeometry, *, kept: Kept | None = None) -> Array:
        """The convolution y = A_w x (a cross-correlation, as everywhere in deep learning): (N, H, W, C) -> (N, OH, OW, F).

        y[n, o, p, f] = Σ_{i, j, c} x̄[n, o·s + i·d, p·s + j·d, c] · w[i, j, c, f], with x̄ the zero-padded x.
        As one product: im2col(x) (N·OH·OW, KH·KW·C) times w (KH·KW·C, F).

        kept: a dict in which a backend may leave what it computes from x alone, or from y alone, and find it again. All three
        functions take it: give them the same one as long as x, y and g are the same.
        """
        y = self.matmul(self.im2col(x, g), w.reshape(-1, w.shape[-1]))
        return y.reshape(x.shape[0], *g.output, w.shape[-1])

    def conv2d_transpose(self, y: Array, w: Array, g: ConvGeometry, *, kept: Kept | None = None) -> Array:
        """The adjoint x = A_wᵀ y, for which <A_w x, y> = <x, A_wᵀ y>: (N, OH, OW, F) -> (N, H, W, C)."""
        columns = self.matmul(y.reshape(-1, w.shape[-1]), w.reshape(-1, w.shape[-1]).T)  # (N·OH·OW, KH·KW·C)
        return self.col2im(columns, g, y.shape[0])

    def conv2d_weight_grad(
        self,
        x: Array,
        y: Array,
        g: ConvGeometry,
        out: Array | None = None,
        add: bool = False,
        *,
        kept: Kept | None = None,
    ) -> Array:
        """∂<A_w x, y>/∂w = im2col(x)ᵀ y: (N, H, W, C), (N, OH, OW, F) -> (KH, KW, C, F); out and add as for matmul."""
        channels, features = x.shape[-1], y.shape[-1]
        matrix = None if out is None else out.reshape(-1, features)
        dw = self.matmul(self.im2col(x, g).T, y.reshape(-1, features), matrix, add)
        return dw.reshape(*g.kernel, channels, features)

    def im2col(self, x: Array, g: ConvGeometry) -> Array:
        """The window under every map position as a row: (N, H, W, C) -> (N·OH·OW, KH·KW·C)."""
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


def is_own(kind: type) -> bool:
    """Whether all the classes that make up this one are minigan's own: what they do with arrays, a recording sees."""
    return all(parent is object or parent.__module__.partition(".")[0] == "minigan" for parent in kind.__mro__)


def put(value: Array, out: Array | None, add: bool) -> Array:
    """value, written or added to `out` if there is one."""
    if out is None:
        return value
    if add:
        out += value
    else:
        out[...] = value
    return out


def _product(xp: Any, x: Array, y: Array) -> Array:
    """x y"""
    return x * y


def _every(start: int, step: int, count: int) -> slice:
    """The slice of `count` positions start, start + step, …"""
    return slice(start, start + step * (count - 1) + 1, step)


def _cpu_name() -> str:
    """The processor's name and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux, or a processor without a model name: the platform's own word will do
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{name}, {cores} {'core' if cores == 1 else 'cores'}"


def unavailable(name: str, missing: str, advice: str) -> BackendError:
    """The error for a backend that cannot run here: what is missing, and what to do about it."""
    return BackendError(f"backend {name!r} cannot run here: {missing}. {advice}")
