"""The machinery: how operations run on a machine. `get_backend` picks one by name."""

from __future__ import annotations

from functools import cache
from typing import Any

from minigan.backends.base import Array, Backend, Formula, array_module
from minigan.backends.geometry import ConvGeometry
from minigan.backends.machine import Machine
from minigan.backends.random import Generator, stream
from minigan.backends.scalars import DeviceScalar
from minigan.errors import BackendError, nearest_name

BACKENDS = ("textbook", "numpy", "cupy")
PRECISIONS = ("float32", "tf32")

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "Array",
    "Backend",
    "ConvGeometry",
    "DeviceScalar",
    "Formula",
    "Generator",
    "Machine",
    "array_module",
    "get_backend",
    "stream",
]


@cache
def _make(name: str, precision: str) -> Backend:
    # Imported where used: CuPy is an extra, and `import minigan` stays light.
    if name == "cupy":
        from minigan.backends.cupy.backend import CupyBackend

        return CupyBackend(precision)
    if name == "numpy":
        from minigan.backends.numpy.backend import NumpyBackend

        return NumpyBackend()
    return Backend()


def get_backend(name: str | Backend = "auto", precision: str = "float32") -> Backend:
    """The backend of that name, one instance each (and of that precision, on cupy).

    "textbook": the shortest form of every operation on NumPy; "numpy": the fast CPU backend; "cupy": CUDA through CuPy;
    "auto": cupy if a GPU answers, else numpy. precision: of float32 products on cupy, "float32" or "tf32", which takes a GPU's
    tensor cores and keeps 10 bits of each operand's mantissa. Raises BackendError for an unknown name or precision, and for a
    backend that cannot run here: it says what is missing and what to install, and never falls back by itself.
    """
    if isinstance(name, Backend) and precision in ("float32", name.precision):
        return name
    if isinstance(name, Backend):
        raise BackendError(f"this backend was made with precision {name.precision}, not {precision}: ask for it by name")
    if precision not in PRECISIONS:
        raise BackendError(f"unknown precision {precision!r}: {nearest_name(str(precision), PRECISIONS)}")
    if name == "auto":
        try:
            return _make("cupy", precision)
        except BackendError:
            name = "numpy"
    if name not in BACKENDS:
        raise BackendError(f"unknown backend {name!r}: {nearest_name(str(name), (*BACKENDS, 'auto'))}")
    if precision != "float32" and name != "cupy":
        raise BackendError(f"precision {precision!r} needs the backend cupy, this is {name}: leave it out, or run on a GPU")
    return _make(name, precision)


# A backend is a part of the process, with locks and libraries: a copy of what holds one holds the same, a pickle its name.
def _as_itself(backend: Backend, memo: Any) -> Backend:
    return backend


def _by_name(backend: Backend) -> tuple[Any, tuple[str, str]]:
    return get_backend, (backend.name, backend.precision)


setattr(Backend, "__deepcopy__", _as_itself)  # noqa: B010
setattr(Backend, "__reduce__", _by_name)  # noqa: B010
