"""CuPy without a GPU: device arrays that lie in host memory and refuse whatever CuPy's refuse.

DeviceArray wraps a NumPy array; `cupy` is the module that makes them and works on them, for sys.modules["cupy"]. Where CuPy
would raise for a host array or lacks a name, so does this; where it would wait for the device or copy to it, `traffic` counts
that. Values are NumPy's, or those of minigan's own kernels run on the CPU, so a result can be compared with the textbook's.
What is allowed here was read in CuPy 14.2.

It is an object of its own and no subclass of numpy.ndarray: np.asarray hands a subclass out without asking it.
"""

from __future__ import annotations

from collections import Counter, deque
from contextlib import nullcontext
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import cuda_on_host
import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

devices_used: list[int] = []
traffic: Counter[str] = Counter()  # "synchronise": the host waited for the device; "upload": a host array went to it


def count_traffic(kind):
    """Count it; in a capture CuPy refuses both."""
    if cuda_on_host.recording is not None:
        raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {kind}")
    traffic[kind] += 1


# Names that CuPy shares with NumPy. One that is not listed is refused: look it up in CuPy, then add it.
NAMES = set(
    str.split("""abs absolute add all allclose amax amin any arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax
    argmin argsort around array_equal ascontiguousarray bitwise_and bitwise_or bitwise_xor bool_ broadcast_to cbrt ceil clip
    concatenate conj copy copyto cos cosh cumprod cumsum diag diff divide divmod dot dtype e einsum empty_like equal exp exp2
    expand_dims expm1 finfo flip float16 float32 float64 floor floor_divide fmax fmin fmod full_like greater greater_equal
    hstack hypot imag inf inner int32 int64 intp invert isclose isfinite isinf isnan less less_equal log log10 log1p log2
    logaddexp logical_and logical_not logical_or logical_xor matmul max maximum mean min minimum mod modf multiply nan
    nan_to_num negative newaxis not_equal ones_like outer pad pi positive power prod ravel real reciprocal remainder repeat
    reshape rint roll shape sign sin sinh size sort split sqrt square squeeze stack std subtract sum swapaxes take
    take_along_axis tan tanh tensordot tile trace transpose true_divide uint8 var vdot vstack where zeros_like""")
)
WAITING = {"argwhere", "bincount", "flatnonzero", "nonzero", "unique"}  # the result's size depends on values on the device
NOT_CAPTURED = {"argsort", "dot", "einsum", "inner", "matmul", "outer", "sort", "tensordot", "vdot"}  # CuPy's cuBLAS, Thrust
WITHOUT_ARRAYS = {"arange", "broadcast_shapes", "empty", "eye", "full", "linspace", "ones", "result_type", "zeros"}
ATTRIBUTES = {"T", "dtype", "flags", "imag", "itemsize", "nbytes", "ndim", "real", "shape", "size", "strides"}
METHODS = set(
    str.split("""all any argmax argmin argsort astype clip conj copy cumprod cumsum diagonal dot fill flatten max mean min prod
    ravel repeat reshape round sort squeeze std sum swapaxes take trace transpose var view""")
)


class DeviceArray(NDArrayOperatorsMixin):
    """A cupy.ndarray in disguise. Operators reach __array_ufunc__ through the mixin; there is no way to its host array but get.

    Reductions and single entries are 0-d device arrays, as in CuPy; there is no __index__ and no __array_namespace__ either.
    """

    __module__ = "cupy"  # what minigan.backends.array_module looks at
    __slots__ = ("_host",)

    def __init__(self, host):
        self._host = host

    def __array__(self, *args, **kwargs):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or ufunc.__name__ not in NAMES:
            return NotImplemented
        return _call(ufunc.__name__, *inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        if function.__module__ != "numpy" or not hasattr(cupy, function.__name__):
            return NotImplemented
        return getattr(cupy, function.__name__)(*args, **kwargs)

    def __getattr__(self, name):
        if name in ATTRIBUTES:
            return _wrap(getattr(self._host, name))
        if name in METHODS:
            return partial(_guarded, getattr(self._host, name))
        raise AttributeError(f"cupy.ndarray has no attribute {name!r}, or tests/guarded.py does not list it")

    @property
    def data(self):
        return SimpleNamespace(ptr=self._host.ctypes.data)

    def __len__(self):
        return len(self._host)

    def __getitem__(self, key):
        parts = _check_index(key)
        if any(isinstance(part, DeviceArray) and part.dtype == bool for part in parts):
            count_traffic("synchronise")  # the mask is counted to know the result's size
        # With an ellipsis NumPy too hands out a single entry as a 0-d view and not as a scalar.
        return _wrap(self._host[_unwrap(parts if any(part is ... for part in parts) else (*parts, ...))])

    def __setitem__(self, key, value):
        _check_operands(value)
        place, new = _unwrap(_check_index(key)), _unwrap(value)
        cuda_on_host.enqueue(lambda: self._host.__setitem__(place, new))

    def get(self, out=None):
        count_traffic("synchronise")
        if out is None:
            return self._host.copy()
        assert (out.shape, out.dtype, out.flags.c_contiguous) == (self.shape, self.dtype, True)
        out[...] = self._host
        return out

    def set(self, host):
        assert type(host) is np.ndarray
        assert (host.shape, host.dtype) == (self.shape, self.dtype)
        count_traffic("upload")
        self._host[...] = host

    def item(self):
        return self.get().item()

    def __bool__(self):
        return bool(self.get())

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def __repr__(self):
        return repr(self.get())


def _unwrap(value):
    """The host array within a device array, also in lists and tuples; a bare host array is refused."""
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {np.ndarray}")  # CuPy's message
    return type(value)(map(_unwrap, value)) if type(value) in (list, tuple) else value


def _wrap(value):
    """A device array for every array or scalar that NumPy returned."""
    if isinstance(value, (np.ndarray, np.generic, bool)):
        return DeviceArray(np.asarray(value))
    return type(value)(map(_wrap, value)) if type(value) in (list, tuple) else value


def _check_operands(*values):
    for value in values:  # CuPy hands both Python's and NumPy's scalars to its kernels by value
        if not isinstance(value, (DeviceArray, bool, int, float, complex, np.generic)):
            raise TypeError(f"Unsupported type {type(value)}")


def _check_index(key):
    """The parts of an index. CuPy would upload a list or a host array at every use; it is refused."""
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        if not (part is None or part is ... or isinstance(part, (slice, int, np.integer, DeviceArray))):
            raise TypeError(f"Unsupported index {type(part)}")
    return parts


def _guarded(function, *args, **kwargs):
    """function on device arrays: NumPy's function or method, without the options that CuPy's lacks."""
    lacking = {"where", "initial"} | ({"out"} if function is np.einsum else set())
    if lacking & kwargs.keys():
        raise TypeError(f"Wrong arguments {sorted(lacking & kwargs.keys())}")
    if cuda_on_host.recording is not None and getattr(function, "__name__", "") in NOT_CAPTURED:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    args, options, out = _unwrap(args), {name: _unwrap(value) for name, value in kwargs.items()}, kwargs.get("out")
    if out is not None:
        cuda_on_host.enqueue(lambda: function(*args, **options))
        return out[0] if isinstance(out, tuple) else out
    if getattr(function, "__name__", "") in ("fill", "sort") and isinstance(getattr(function, "__self__", None), np.ndarray):
        return cuda_on_host.enqueue(lambda: function(*args, **options))
    with np.errstate(all="ignore") if cuda_on_host.recording is not None else nullcontext():
        result = function(*args, **options)
    if cuda_on_host.recording is not None and isinstance(result, (np.ndarray, np.generic)):
        result, read = np.asarray(result), [getattr(function, "__self__", None), *args, *options.values()]
        if not any(isinstance(x, np.ndarray) and np.may_share_memory(result, x) for x in read):
            # No view: a kernel makes it when the graph runs, and till then it holds anything.
            cuda_on_host.enqueue(lambda: np.copyto(result, function(*args, **options)))
            result.fill(-77)
    return _wrap(result)


def _call(name, *args, **kwargs):
    """cupy.<name>: a ufunc takes device arrays and scalars, another function at least one device array."""
    function = getattr(np, name)
    if isinstance(function, np.ufunc):
        _check_operands(*args)
    elif name not in WITHOUT_ARRAYS:
        given = [x for a in (*args, *kwargs.values()) for x in (a if isinstance(a, (list, tuple)) else [a])]
        if not any(isinstance(x, DeviceArray) for x in given):
            raise TypeError(f"cupy.{name} takes a cupy.ndarray, got {[type(x) for x in given]}")
    if name in WAITING:
        count_traffic("synchronise")
    return _guarded(function, *args, **kwargs)


class Stream:
    """A stream, and the capture of what is given to it: nothing of that is done until the graph is launched."""

    current: ClassVar[list] = []
    captured: ClassVar[int] = 0  # launches of the last graph
    pool: ClassVar = deque(maxlen=0)  # arrays that a capture made: their memory must outlive them, outside it nothing is kept

    def __init__(self, *, non_blocking):
        assert non_blocking, "the legacy stream would wait for it in the midst of a capture"
        self.ptr = id(self)

    def __enter__(self):
        Stream.current.append(self)

    def __exit__(self, *exception):
        assert Stream.current.pop() is self

    def synchronize(self):
        count_traffic("synchronise")

    def begin_capture(self):
        assert Stream.current[-1] is self
        assert cuda_on_host.recording is None
        cuda_on_host.recording, Stream.pool = [], []

    def end_capture(self):
        launches, cuda_on_host.recording = cuda_on_host.recording, None
        Stream.captured = len(launches)
        pool, Stream.pool = Stream.pool, deque(maxlen=0)
        return SimpleNamespace(launch=lambda: [launch() for launch in launches], launches=launches, pool=pool)


Stream.current.append(Stream(non_blocking=True))
Stream.current[0].ptr = 0  # the legacy stream


class OutOfMemoryError(MemoryError):
    pass


class _Cupy(ModuleType):
    """The module: its attributes are what CuPy has, and nothing else."""

    ndarray = DeviceArray
    lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=partial(_guarded, np.lib.stride_tricks.as_strided)))
    RawModule = cuda_on_host.RawModule
    __version__ = "14.2.0"
    cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            CUDARuntimeError=RuntimeError,
            getDeviceCount=lambda: 1,
            getDevice=lambda: 0,
            getDeviceProperties=lambda device: {
                **{"name": b"host memory in disguise", "totalGlobalMem": 16 * 2**30},
                **{"major": 9, "minor": 0},
            },
            memGetInfo=lambda: (8 * 2**30, 16 * 2**30),
            runtimeGetVersion=lambda: 13000,
            driverGetVersion=lambda: 13010,
        ),
        Stream=Stream,
        MemoryPool=lambda allocator: SimpleNamespace(malloc=None, total_bytes=lambda: 0),
        using_allocator=lambda allocator: nullcontext(),
        alloc=lambda size: SimpleNamespace(ptr=64, size=size),
        alloc_pinned_memory=bytearray,
        Device=lambda number: SimpleNamespace(use=lambda: devices_used.append(number)),
        get_current_stream=lambda: Stream.current[-1],
    )

    @staticmethod
    def empty(shape, dtype):
        if np.prod(shape, dtype=np.int64) * np.dtype(dtype).itemsize > 8 * 2**30:
            raise OutOfMemoryError("Out of memory allocating")
        array = DeviceArray(np.full(shape, -77, dtype))  # anything
        Stream.pool.append(array)
        return array

    @staticmethod
    def get_default_memory_pool():
        return SimpleNamespace(free_all_blocks=lambda: None, total_bytes=lambda: 0, used_bytes=lambda: 0)

    @staticmethod
    def array(a, dtype=None):
        if isinstance(a, DeviceArray):
            return a.astype(a.dtype if dtype is None else dtype)
        count_traffic("upload")
        return DeviceArray(np.array(a, dtype))  # a copy: what the host does to its array later, the device does not see

    @classmethod
    def asarray(cls, a, dtype=None):
        return a if isinstance(a, DeviceArray) and dtype in (None, a.dtype) else cls.array(a, dtype)

    asanyarray = asarray

    @staticmethod
    def asnumpy(a):
        return a.get() if isinstance(a, DeviceArray) else np.array(a)

    @staticmethod
    def where(condition, x, y):  # with the condition alone CuPy waits for the device
        _check_operands(x, y)
        return _guarded(np.where, condition.astype(bool), x, y)

    def __getattr__(self, name):
        if name not in NAMES | WAITING | WITHOUT_ARRAYS:
            raise AttributeError(f"module 'cupy' has no attribute {name!r}, or tests/guarded.py does not list it")
        own = getattr(np, name)
        return partial(_call, name) if callable(own) and not isinstance(own, type) else own


cupy = _Cupy("cupy")
