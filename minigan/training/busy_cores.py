"""Whether a run's threads wait for each other because other programs keep the cores busy."""

from __future__ import annotations

import sys
import time
from typing import Any

if sys.platform != "win32":
    import resource

# Measured on two cores, a step of 0.5 ms on two threads. Quiet: the mean is 1.2 times the best, and 0.02 involuntary context
# switches a step. Beside two busy programs: 7 to 15 times and 0.8 to 1.6 switches; on one thread 2.3 times and 0.1.
LEAST_STEPS, SLOWER, SWITCHES = 50, 4.0, 0.3


class BusyCores:
    """Looks at the times of steps. BLAS's threads spin until all have done their share: where one has no core, all others wait.

    A run does not change its threads by itself, for products may then round otherwise.
    """

    def __init__(self, backend: Any) -> None:
        self._is_watching = getattr(backend, "threads", 1) > 1 and sys.platform != "win32"
        self.begin()

    def begin(self) -> None:
        """Forget the steps so far: what comes between them is no step."""
        self._times: list[float] = []
        self._last, self._switches = time.perf_counter(), _switches() if self._is_watching else 0

    def step(self) -> None:
        if self._is_watching:
            now = time.perf_counter()
            self._times.append(now - self._last)
            self._last = now

    def advice(self) -> str:
        """Once, where steps are seen to wait: a line that says so; else ""."""
        count = len(self._times)
        if not self._is_watching or count < LEAST_STEPS:
            return ""
        mean, best = sum(self._times) / count, min(self._times)
        if mean < SLOWER * best or _switches() - self._switches < SWITCHES * count:
            return ""
        self._is_watching = False
        return (
            f"a step takes {mean * 1e3:.3g} ms, and {best * 1e3:.3g} ms at best: other programs keep the cores busy, and "
            "threads wait for each other; with MINIGAN_NUM_THREADS=1 they do not"
        )


def _switches() -> int:
    """How often the system has taken a core away from this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
