"""One side in a process of its own: reads a request a line (JSON) from stdin, answers a line on stdout.

`python -m benchmarks.worker SIDE THREADS`. Requests: prepare a task, time a call, forget the peak, tell the memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process_memory import descendants, shared_out, status
from benchmarks.sides import make_side
from benchmarks.sides.base import Prepared, Side, UnsupportedError

_MIB = 2**20


def resident() -> float:
    """MiB of memory that the process holds now, together with copies of itself."""
    own, copies = os.getpid(), descendants(os.getpid())
    return shared_out([own, *copies]) if copies else status(own, "VmRSS") or peak_of_all()


def peak_resident() -> float:
    """The most MiB held since the last forget_peak (where the system has none: since the start). Of several processes: what all
    hold now, and by how much each has held more.
    """
    own, copies = os.getpid(), descendants(os.getpid())
    if not copies:
        return status(own, "VmHWM") or peak_of_all()
    return resident() + sum((status(p, "VmHWM") or 0.0) - (status(p, "VmRSS") or 0.0) for p in (own, *copies))


def peak_of_all() -> float:
    """Where the system is not Linux the peak is all that there is, in bytes on macOS."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (_MIB if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Let the peak start from what is held now."""
    for process in (os.getpid(), *descendants(os.getpid())):
        with contextlib.suppress(OSError):  # not Linux: the peak then counts from the start of the process
            Path(f"/proc/{process}/clear_refs").write_text("5")


def load_something_large() -> None:
    """Make and drop a large array, as loading a data set does.

    The C library learns from it to keep freed memory of that size. In a process that never held a large array it would
    give every temporary back to the system and pay page faults for the next one: several sides are then up to twice as slow.
    """
    np.ones(7 * _MIB, np.float32)


def seconds_per_call(call: Callable[[], Any], side: Side, calls: int) -> float:
    side.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    side.synchronize()
    return (time.perf_counter() - start) / calls


class Worker:
    """Answers requests about one side."""

    def __init__(self, name: str, threads: int) -> None:
        self.side = make_side(name, threads)
        self.prepared = Prepared({}, {})
        load_something_large()
        self.idle = resident()

    def hello(self) -> dict[str, Any]:
        return {"versions": self.side.versions()}

    def prepare(self, task: dict[str, Any], inputs: str, evidence: str) -> dict[str, Any]:
        """Make a task ready, and leave what this side computed in the file `evidence`."""
        self.prepared = Prepared({}, {})
        with np.load(inputs) as file:
            arrays = dict(file)
        self.prepared = getattr(self.side, task["kind"])(task, arrays)
        np.savez(evidence, **self.prepared.evidence)
        self.prepared.evidence = {}
        return {"calls": list(self.prepared.calls)}

    def time(self, call: str, calls: int, warmup: int) -> dict[str, Any]:
        function = self.prepared.calls[call]
        for _ in range(warmup):
            function()
        return {"seconds": seconds_per_call(function, self.side, calls)}

    def forget_peak(self) -> dict[str, Any]:
        """Let the peak start from here, behind preparation and compilation."""
        forget_peak()
        return {}

    def memory(self) -> dict[str, Any]:
        """MiB: before the task (libraries loaded, one small operation done), the peak since forget_peak, and now."""
        return {"idle": self.idle, "peak": peak_resident(), "now": resident()}


def serve(name: str, threads: int) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not come between the answers

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        worker = Worker(name, threads)
    except ModuleNotFoundError as error:
        answer({"missing": f"the package {error.name} is not installed: pip install -e '.[bench]' has the peers"})
        return
    except Exception as error:  # a package does not load, or has no device to run on: the table says so
        answer({"missing": f"{error}"})
        return
    answer(worker.hello())
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(getattr(worker, request.pop("do"))(**request))
        except UnsupportedError as error:
            answer({"unsupported": str(error)})
        except Exception as error:  # told to the runner, which names the side and stops
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = "/".join(Path(frame.filename).parts[-3:])
            answer({"error": f"{type(error).__name__}: {error} ({place}, line {frame.lineno})"})


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
