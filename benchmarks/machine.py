"""What a result was measured on."""

from __future__ import annotations

import datetime
import os
import platform
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from minigan.backends import get_backend


def describe(threads: int) -> dict[str, Any]:
    """The machine, the software and the date: what must stand beside every figure."""
    backend = get_backend("textbook")
    memory = backend.memory
    blas = [
        {key: pool.get(key) for key in ("internal_api", "version", "threading_layer")}  # minigan's sides name its kernels
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "system": platform.platform(),
        "cpu": backend.device.removeprefix("CPU (").removesuffix(")"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "memory_mib": round(memory[1]) if memory else None,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas,
    }


def one_line(machine: dict[str, Any]) -> str:
    """The description as a caption."""
    blas = ", ".join(f"{b['internal_api']} {b['version']}" for b in machine["blas"])
    gpu = "; " + ", ".join(f"{k} {v}" if k != "device" else v for k, v in machine["gpu"].items()) if "gpu" in machine else ""
    threads = f"{machine['threads']} thread{'s' if machine['threads'] != 1 else ''}"
    return f"{machine['date']}, {machine['cpu']}, {threads}; Python {machine['python']}, NumPy {machine['numpy']}, {blas}{gpu}"
