"""The memory of processes, as Linux tells it. Imports nothing heavy: what asks must be small itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def descendants(process: int | str) -> list[int]:
    """The processes that it has started, or that these have started, and that have not ended."""
    found: list[int] = []
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        for child in " ".join((task / "children").read_text() for task in tasks).split():
            found += [int(child), *descendants(child)]
    except OSError:  # it has ended meanwhile, or the system is not Linux
        pass
    return found


def shared_out(processes: Iterable[int | str]) -> float:
    """MiB that they hold together: each page counts once, however many of them see it."""
    return sum(status(process, "Pss", "smaps_rollup") or 0.0 for process in processes)


def status(process: int | str, field: str, file: str = "status") -> float | None:
    """A field in MiB, as VmRSS, what the process holds, or VmHWM, the most of that; None where the system has none."""
    try:
        lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))
    except (OSError, StopIteration):
        return None
