"""`python -m benchmarks.child REPORT COMMAND…`: runs a command, and writes what it took as JSON: time, and peak memory.

A small process of its own, for on Linux the peak that the system reports of a process counts that of the process which started
it: what the benchmark itself holds would be the least that it could see.
"""

from __future__ import annotations

import json
import os
import sys
import time

from benchmarks.process_memory import descendants, shared_out

EVERY = 0.05  # seconds between looks whether a command has ended
LOOKS = 40  # as many of these for one at the memory of several processes, which the system has to walk through


def measured(command: list[str]) -> dict[str, float]:
    """status, seconds by the clock and of the processor, and peak_mib, the most memory held at once: of one process as the
    system reports it; of several, whose peaks need not come together, as seen from time to time.
    """
    start = time.perf_counter()
    process = os.posix_spawn(command[0], command, os.environ)
    seen, turn, ended = 0.0, 0, os.wait4(process, os.WNOHANG)
    while ended[0] == 0:
        turn += 1
        if turn % LOOKS == 0 and (processes := descendants(process)):
            seen = max(seen, shared_out([process, *processes]))
        time.sleep(EVERY)
        ended = os.wait4(process, os.WNOHANG)
    _, status, usage = ended
    seconds = time.perf_counter() - start
    peak = max(seen, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))
    processor = usage.ru_utime + usage.ru_stime
    return {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "processor_seconds": processor,
        "peak_mib": peak,
    }


if __name__ == "__main__":
    found = measured(sys.argv[2:])  # before the report is opened: where there is none, the command could not be run
    with open(sys.argv[1], "w", encoding="utf-8") as report:
        json.dump(found, report)
