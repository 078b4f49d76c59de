"""What there is to know of the machine: its processor, its memory."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


class Machine:
    """The machine that a backend runs on; here, the one that Python runs on."""

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
    """The cores that this process may use: by its affinity, and no more than the quota of its control groups, rounded up."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13, which heeds PYTHON_CPU_COUNT
        cores = os.process_cpu_count()
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([cores or 1, *map(math.ceil, cpu_quotas())]))


def cpu_quotas(root: str = "/") -> Iterator[float]:
    """The cores that each control group around this process grants it, where there is a limit: Linux, versions 1 and 2."""
    for line in _read(root, "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        path = PurePosixPath("/", group)
        groups = [] if ".." in path.parts else [path, *path.parents]
        for folder in (str(part).strip("/") for part in groups or [PurePosixPath("/")]):
            if not controllers:
                limit = _read(root, "sys/fs/cgroup", folder, "cpu.max").split()
            elif "cpu" in controllers.split(","):
                place = ("sys/fs/cgroup/cpu", folder)
                limit = [*_read(root, *place, "cpu.cfs_quota_us").split(), *_read(root, *place, "cpu.cfs_period_us").split()]
            else:
                continue
            if len(limit) == 2 and all(part.isascii() and part.isdecimal() for part in limit) and int(limit[1]):
                yield int(limit[0]) / int(limit[1])  # "max" or −1 is no limit


def _read(*parts: str) -> str:
    try:
        return Path(*parts).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # another system, or a file that is not there or not ours to read


def free_and_total_memory() -> tuple[float, float] | None:
    """(free, total) memory of the machine in MiB; None where the system does not tell."""
    try:
        page = os.sysconf("SC_PAGE_SIZE") / 2**20
        return os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page
    except (AttributeError, ValueError, OSError):
        return None
