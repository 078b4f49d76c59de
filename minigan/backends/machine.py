"""What there is to know of the machine: its processor, its memory, and who else works at the same batch."""

from __future__ import annotations

import math
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minigan.distributed import ALONE, Communicator, on_this_machine
from minigan.errors import DeviceMemoryError

GIB = 2**30
UNASKED = 2**26  # bytes that are asked for without a look at what is free, which takes longer than making a small network
SMALLER_GAME = "choose smaller layers (--width, --hidden, --latent-dim), images (--image-size) or batches (--batch-size)"
MOST_ADDRESSABLE = 2**47  # bytes: the limit where the system does not tell how much is free


class _Together(threading.local):
    """Who shares the batch of the computation that a Python thread is at."""

    ranks: Communicator = ALONE


class Machine:
    """The machine that a backend runs on; here, the one that Python runs on."""

    def __init__(self) -> None:
        self._together = _Together()

    @property
    def ranks(self) -> Communicator:
        """The processes that share the batch of the computation under way: this one alone, but within `over`."""
        return self._together.ranks

    @contextmanager
    def over(self, ranks: Communicator) -> Iterator[None]:
        """What is computed within it is computed by all of these ranks, on equal shares of one batch.

        There random streams give each rank its rows of what one process would draw for the whole batch, all_mean is taken over
        the ranks, and so is an optimiser's gradient.
        """
        before, self._together.ranks = self._together.ranks, ranks
        try:
            yield
        finally:
            self._together.ranks = before

    def synchronize(self) -> None:
        """Wait until all work given to the device is done. On a CPU there is nothing to wait for."""

    @property
    def device(self) -> str:
        """The device in words."""
        return f"CPU ({cpu_name()})"

    @property
    def memory(self) -> tuple[float, float] | None:
        """(free, total) memory of the device in MiB; None where the system does not tell."""
        return free_and_total_memory()

    def require_memory(self, size: float, what: str, advice: str = "", least: float | None = None) -> None:
        """Raise DeviceMemoryError if `what` does not fit into what is free: it takes about `size` bytes, and `least` for sure.

        Called before anything is allocated: a system that promises more memory than it has ends the process later.
        """
        if size < UNASKED:
            return
        free, size = self.memory[0] * 2**20 if self.memory else MOST_ADDRESSABLE, min(size, 1e300)
        if (size if least is None else least) > free:
            raise DeviceMemoryError(
                f"{what} needs about {_in_words(size)}, and {_in_words(free)} are free: {advice or SMALLER_GAME}"
            )

    @property
    def versions(self) -> dict[str, str]:
        """What else there is to know of the device and its libraries, by name."""
        return {}


def cpu_name() -> str:
    """The processor's name and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux, or a processor without a model name: the platform's own word will do
    cores = usable_cores()
    return f"{name}, {cores} {'core' if cores == 1 else 'cores'}"


def usable_cores() -> int:
    """The cores that this process may use: by its affinity, and no more than the quotas of its control groups, rounded up."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13, which heeds PYTHON_CPU_COUNT
        cores = os.process_cpu_count()
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([cores or 1, *map(math.ceil, cpu_quotas())]))


def own_cores() -> int:
    """The cores that are this process's: of those that its launcher may use, an equal part for each process on this machine.

    A launcher may bind its processes to some of its cores, which it then may use itself; so its parent is asked.
    """
    _, processes = on_this_machine()
    if processes == 1 or not hasattr(os, "sched_getaffinity"):
        return max(1, usable_cores() // processes)
    launchers = min([len(os.sched_getaffinity(os.getppid())), *map(math.ceil, cpu_quotas())])
    return min(usable_cores(), max(1, launchers // processes))


def cpu_quotas(root: Path = Path("/")) -> Iterator[float]:
    """The cores that each control group around this process grants it, where there is a limit."""
    for version, group in _control_groups(root, "cpu"):
        names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        try:
            quota, period = map(int, " ".join((group / name).read_text() for name in names).split())
        except (OSError, ValueError):
            continue  # no limit ("max"), or a group that cannot be seen from inside a container
        if quota > 0 and period > 0:  # −1 is no limit
            yield quota / period


def _control_groups(root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """(version, folder) of each control group that holds this process: version 2, and 1 of that controller."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return  # another system
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers and controller not in controllers.split(","):
            continue
        top, parts = root / "sys/fs/cgroup" / (controller if controllers else ""), Path(path).parts[1:]
        for depth in range(len(parts) + 1):
            yield 1 if controllers else 2, top.joinpath(*parts[:depth])


def free_and_total_memory(root: Path = Path("/")) -> tuple[float, float] | None:
    """(free, total) memory in MiB that this process may use; None where the system does not tell.

    Free is what the kernel could hand out, file caches included, within the limits of control groups, as containers have them.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        pairs = [(kib["MemAvailable"] / 1024, kib["MemTotal"] / 1024), *_limits_of_groups(root)]
    except (OSError, ValueError, KeyError, IndexError):
        return None
    return min(max(0.0, free) for free, _ in pairs), min(total for _, total in pairs)


def _limits_of_groups(root: Path) -> Iterator[tuple[float, float]]:
    """(free, total) in MiB of each control group that holds this process and has a limit: version 2, and 1 ("memory")."""
    for version, group in _control_groups(root, "memory"):
        limit, used = ("limit_in_bytes", "usage_in_bytes") if version == 1 else ("max", "current")
        try:
            total = int((group / f"memory.{limit}").read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            taken = int((group / f"memory.{used}").read_text()) - int(stat.get("inactive_file", 0))
        except (OSError, ValueError):
            continue  # no limit ("max"), or a group that cannot be seen from inside a container
        yield (total - taken) / 2**20, total / 2**20


def _in_words(size: float) -> str:
    """A number of bytes to two digits or so."""
    return f"{size / GIB:,.1f} GiB" if size < 1e4 * GIB else f"{size / GIB:.0e} GiB"
