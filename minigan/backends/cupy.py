"""The CUDA backend: the textbook over CuPy. No host array ever meets a device array: `asarray` in, `to_numpy` out."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigan.backends.base import Array, Backend, Generator, Seed, unavailable

_ELSE = "Or use --backend numpy."


def _import_cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        advice = "Install it with: pip install 'cupy-cuda12x[ctk]' or 'cupy-cuda13x[ctk]', to match the driver. " + _ELSE
        raise unavailable("cupy", f"the package CuPy does not import ({error})", advice) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        advice = "Install or update the NVIDIA driver (nvidia-smi shows whether it answers). " + _ELSE
        raise unavailable("cupy", f"the CUDA driver does not answer ({error})", advice) from None
    if count == 0:
        advice = "Check nvidia-smi and the variable CUDA_VISIBLE_DEVICES. " + _ELSE
        raise unavailable("cupy", "the CUDA driver sees no device", advice)
    return cupy


class CupyGenerator(Generator):
    """Random numbers born on the device. Draw number i comes from a new generator, seeded with a hash of (seed, i).

    So the state is one integer, and a stream continues exactly where a checkpoint left it. CuPy keeps 32 bits of a seed: among
    many ten thousands of draws two may be equal.
    """

    def __init__(self, xp: Any, seed: Seed) -> None:
        self._xp = xp
        self._seed = [seed] if isinstance(seed, int) else list(seed)
        self._draws = 0

    def _next(self) -> Any:
        seed = int(np.random.SeedSequence([*self._seed, self._draws]).generate_state(1, np.uint64)[0])
        self._draws += 1
        return self._xp.random.Generator(self._xp.random.Philox4x3210(seed=seed))

    def normal(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._next().standard_normal(shape, dtype=dtype)

    def uniform(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._next().random(shape, dtype=dtype)

    @property
    def state(self) -> Any:
        return {"draws": self._draws}

    @state.setter
    def state(self, state: Any) -> None:
        self._draws = int(state["draws"])


class CupyBackend(Backend):
    """The textbook over CuPy. Raises BackendError that says whether package, driver or device is missing."""

    name = "cupy"

    def __init__(self) -> None:
        super().__init__(_import_cupy())

    def to_numpy(self, device: Array) -> np.ndarray:
        return self.xp.asnumpy(device)

    def generator(self, seed: Seed) -> Generator:
        return CupyGenerator(self.xp, seed)

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    @property
    def device(self) -> str:
        runtime = self.xp.cuda.runtime
        properties = runtime.getDeviceProperties(runtime.getDevice())
        return f"GPU ({properties['name'].decode()}, {properties['totalGlobalMem'] / 2**30:.0f} GiB)"

    @property
    def memory(self) -> tuple[float, float]:
        free, total = self.xp.cuda.runtime.memGetInfo()
        return free / 2**20, total / 2**20
