"""Groups of processes that stay up, each a single process or the ranks of one mpiexec. All but one at a time are stopped."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from benchmarks.rounds import ROOT, BenchmarkError, environment
from minigan.distributed import launched

PATIENCE = 120.0  # seconds within which all ranks must have started
ENDING = 10.0  # seconds that mpiexec has to end once its ranks are gone
INSTALL = "pip install -e '.[mpi]' has both"

# What a user would say to Open MPI's mpiexec by --oversubscribe --bind-to none: ranks move between the cores as threads do.
# Other launchers do not read these.
_LAUNCHER = {
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
}
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}  # who is root here has started this too


def launcher() -> str:
    """The path of mpiexec. Raises BenchmarkError where it or mpi4py is missing."""
    if launched()[1] > 1:
        raise BenchmarkError("`ranks` starts its own ranks: start it without mpiexec")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    found = shutil.which("mpiexec", path=path)
    missing = [] if found else ["mpiexec is not on the PATH"]
    missing += [] if importlib.util.find_spec("mpi4py") else ["mpi4py is not installed"]
    if missing or found is None:
        raise BenchmarkError(f"ranks need MPI, and {' and '.join(missing)}: {INSTALL}")
    return found


class Group:
    """`size` processes of so many threads each. name: what it is called in errors."""

    library = ""

    def __init__(self, name: str, size: int, threads: int, folder: Path) -> None:
        self.name, self.size = name, size
        command = [sys.executable, "-m", "benchmarks.ranks.worker"]
        env = environment("numpy", threads)
        if size > 1:
            command = [launcher(), "-n", str(size), *command]
            env |= _LAUNCHER | (_AS_ROOT if os.geteuid() == 0 else {})
        cores = sorted(os.sched_getaffinity(0))[: size * threads] if hasattr(os, "sched_getaffinity") else None
        address = str(folder / f"{size}-{threads}")
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(address)
        self._listening.listen(size)
        self._connections: dict[int, socket.socket] = {}
        self._lines: dict[int, TextIO] = {}
        self._processes: dict[int, int] = {}
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the group)
        self._process = subprocess.Popen(
            [*command, address],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._complaints,
            stderr=self._complaints,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
            start_new_session=True,  # Ctrl-C is for the runner, which then ends them all
        )

    def greet(self) -> None:
        """Wait until all ranks have said what they are, then stop them."""
        deadline = time.monotonic() + PATIENCE
        self._listening.settimeout(0.2)
        while len(self._connections) < self.size:
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise BenchmarkError(f"{self.name}: not all ranks have started{self._last_complaint()}") from None
                continue
            connection.setblocking(True)
            lines = connection.makefile("rw", encoding="utf-8")
            if not (line := lines.readline()):
                raise BenchmarkError(f"{self.name}: a rank has ended as it started{self._last_complaint()}")
            about = json.loads(line)
            if "error" in about:
                raise BenchmarkError(f"{self.name}, rank {about['rank']}: {about['error']}")
            rank = about["rank"]
            self._connections[rank], self._lines[rank], self._processes[rank] = connection, lines, about["process"]
            self.library = about["library"]
        self.signal("SIGSTOP")

    def signal(self, name: str) -> None:
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.kill(process, getattr(signal, name))

    def ask(self, do: str, **request: Any) -> list[dict[str, Any]]:
        """Wake all ranks, put one request to each, stop them again. Raises BenchmarkError, naming a rank that fails or ends."""
        self.signal("SIGCONT")
        for lines in self._lines.values():
            with suppress(BrokenPipeError, ConnectionResetError):  # the rank is gone, which reading tells better
                lines.write(json.dumps({"do": do, **request}) + "\n")
                lines.flush()
        answers: dict[int, dict[str, Any]] = {}
        while len(answers) < self.size:
            waiting = {c: rank for rank, c in self._connections.items() if rank not in answers}
            ended = []
            for connection in select.select(list(waiting), [], [])[0]:
                rank, line = waiting[connection], ""
                with suppress(ConnectionResetError):
                    line = self._lines[rank].readline()  # an answer is one line: nothing waits in Python's own buffer
                if not line:
                    ended.append(rank)
                    continue
                answers[rank] = json.loads(line)
                if "error" in answers[rank]:
                    raise BenchmarkError(f"{self.name}, rank {rank}: {answers[rank]['error']}")
            if ended:
                raise BenchmarkError(self._words_of_end(ended[0]))
        self.signal("SIGSTOP")
        return [answers[rank] for rank in range(self.size)]

    def _words_of_end(self, seen: int) -> str:
        """Which rank has ended. mpiexec, which ends the others too, knows it best."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING)
        told = re.search(r"process rank (\d+) .*?(exited[^.]*)", " ".join(self._all_complaints().split()))
        if self.size == 1:
            return f"{self.name}: it has ended before it answered{self._last_complaint()}"
        rank, how = (int(told[1]), f" ({told[2].strip()})") if told else (seen, "")
        return f"{self.name}: rank {rank} has ended before it answered{how}. Nothing was written"

    def _all_complaints(self) -> str:
        self._complaints.seek(0)
        return self._complaints.read().decode(errors="replace")

    def _last_complaint(self) -> str:
        """The last line with words that the processes wrote."""
        lines = [line.strip() for line in self._all_complaints().split("\n") if re.search(r"\w", line)]
        return f": {lines[-1]}" if lines else ""

    def close(self) -> None:
        """End all processes: the ranks first, for mpiexec then ends by itself and clears up."""
        self.signal("SIGKILL")
        if self._process.poll() is None and self.size > 1:
            if not self._processes:  # its ranks are not known yet: it must end them
                self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDING)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listening.close()
        for rank, connection in self._connections.items():
            with suppress(OSError):
                self._lines[rank].close()
            connection.close()
        self._complaints.close()
