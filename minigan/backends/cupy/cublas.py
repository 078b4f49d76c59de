"""Matrix products by cuBLAS, called through ctypes on the library that CuPy has loaded.

CuPy's own calls to cuBLAS refuse to be part of a CUDA graph; the library itself does not, given a stream and a workspace.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

from minigan.backends.base import Array
from minigan.errors import BackendError

DTYPES = ("float32", "float64")  # of the products that are done here
TURNED_FROM = 1 << 36  # operations of a TF32 product from which it pays to copy the right matrix into columns first
WORKSPACE = 32 << 20  # bytes: what NVIDIA advises for Hopper; earlier GPUs want less

# From cublas_api.h and library_types.h
_NO_TRANSPOSE, _TRANSPOSE = 0, 1
_TYPES = {np.dtype("float32"): 0, np.dtype("float64"): 1}  # cudaDataType
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_32F_FAST_TF32 = 68, 70, 77  # cublasComputeType_t
_DEFAULT_ALGORITHM = -1

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int
_MATRIX = [_POINTER, _INT, _INT]  # address, type, leading dimension
_SIGNATURES = {
    "cublasCreate_v2": [_POINTER],
    "cublasGetVersion_v2": [_POINTER, _POINTER],
    "cublasSetStream_v2": [_POINTER, _POINTER],
    "cublasSetWorkspace_v2": [_POINTER, _POINTER, ctypes.c_size_t],
    "cublasGemmEx": [_POINTER, *[_INT] * 5, _POINTER, *_MATRIX, *_MATRIX, _POINTER, *_MATRIX, _INT, _INT],
}


def load_library(cupy: Any) -> Any:
    """The cuBLAS that CuPy links to. The loader finds a library that is already in the process by its name alone."""
    try:
        _ = cupy.cuda.cublas  # loads it
        major = cupy.cuda.runtime.runtimeGetVersion() // 1000
        return ctypes.CDLL(f"cublas64_{major}.dll" if os.name == "nt" else f"libcublas.so.{major}")
    except (ImportError, OSError, AttributeError) as error:
        raise BackendError(
            f"backend 'cupy' cannot run here: cuBLAS does not load ({error}). Install CuPy with its libraries: "
            "pip install 'cupy-cuda12x[ctk]' or 'cupy-cuda13x[ctk]'. Or use --backend numpy."
        ) from None


class Cublas:
    """One handle of cuBLAS with workspaces of its own. tf32: float32 products on tensor cores, with 10 bits of mantissa."""

    def __init__(self, cupy: Any, tf32: bool) -> None:
        self._cupy, self._tf32 = cupy, tf32
        self._library = load_library(cupy)
        for name, types in _SIGNATURES.items():
            getattr(self._library, name).argtypes = types
        self._handle, self._stream = ctypes.c_void_p(), -1  # made when first used: losses may hold a backend without products
        self._workspaces: dict[int, Any] = {}
        self._compute = {
            np.dtype("float32"): _COMPUTE_32F_FAST_TF32 if tf32 else _COMPUTE_32F,
            np.dtype("float64"): _COMPUTE_64F,
        }
        self._scalars = {
            np.dtype(name): tuple(ctypes.pointer(kind(value)) for value in (0, 1))
            for name, kind in (("float32", ctypes.c_float), ("float64", ctypes.c_double))
        }

    def _create(self) -> None:
        if not self._handle:
            self._check(self._library.cublasCreate_v2(ctypes.byref(self._handle)))

    @property
    def version(self) -> str:
        self._create()
        number = ctypes.c_int()
        self._check(self._library.cublasGetVersion_v2(self._handle, ctypes.byref(number)))
        return f"{number.value // 10000}.{number.value // 100 % 100}.{number.value % 100}"

    def _check(self, status: int) -> None:
        if status != 0:
            raise BackendError(f"cuBLAS failed with status {status} (cublasStatus_t)")

    def _use_current_stream(self) -> None:
        stream = self._cupy.cuda.get_current_stream().ptr
        if stream == self._stream:
            return
        self._create()
        if stream not in self._workspaces:
            self._workspaces[stream] = self._cupy.cuda.alloc(WORKSPACE)
        self._check(self._library.cublasSetStream_v2(self._handle, stream))
        # In this order: a new stream takes the workspace away. Without one of ours, cuBLAS would allocate within a capture.
        self._check(self._library.cublasSetWorkspace_v2(self._handle, self._workspaces[stream].ptr, WORKSPACE))
        self._stream = stream

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        """out = a b, for matrices of one dtype; out is C-contiguous.

        cuBLAS stores by columns. By columns our out (M, N) is outᵀ (N, M), so what it computes is outᵀ = bᵀ aᵀ.
        """
        self._use_current_stream()
        dtype, (rows, inner), columns = out.dtype, a.shape, b.shape[1]
        if self._tf32 and dtype == np.float32 and b.strides[1] == b.itemsize and 2 * rows * inner * columns >= TURNED_FROM:
            # Hopper's tensor cores read TF32 along the inner axis alone. With b by rows the kernel turns it again and again,
            # and takes twice as long (50176×4096×512 on an H100: 1.24 ms, and 0.59 with this copy).
            b = self._cupy.ascontiguousarray(b.T).T
        (a, a_op, a_lead), (b, b_op, b_lead) = _layout(self._cupy, a), _layout(self._cupy, b)
        kind, (zero, one) = _TYPES[dtype], self._scalars[dtype]
        status = self._library.cublasGemmEx(
            *(self._handle, b_op, a_op, columns, rows, inner, one),
            *(b.data.ptr, kind, b_lead, a.data.ptr, kind, a_lead),
            *(zero, out.data.ptr, kind, columns, self._compute[dtype], _DEFAULT_ALGORITHM),
        )
        self._check(status)


def _layout(cupy: Any, x: Array) -> tuple[Array, int, int]:
    """(x or a copy, operation, leading dimension): x as cuBLAS may read it, by rows or, transposed, by columns."""
    (rows, columns), (down, right) = x.shape, (stride // x.itemsize for stride in x.strides)
    if (right == 1 or columns == 1) and (down >= columns or rows == 1):
        return x, _NO_TRANSPOSE, down if rows > 1 else columns
    if (down == 1 or rows == 1) and (right >= rows or columns == 1):
        return x, _TRANSPOSE, right if columns > 1 else rows
    return cupy.ascontiguousarray(x), _NO_TRANSPOSE, columns
