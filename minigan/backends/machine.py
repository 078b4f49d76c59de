"""What there is to know of the machine: its processor, its memory."""

from __future__ import annotations

import os
import platform


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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{name}, {cores} {'core' if cores == 1 else 'cores'}"


def free_and_total_memory() -> tuple[float, float] | None:
    """(free, total) memory of the machine in MiB; None where the system does not tell."""
    try:
        page = os.sysconf("SC_PAGE_SIZE") / 2**20
        return os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page
    except (AttributeError, ValueError, OSError):
        return None
