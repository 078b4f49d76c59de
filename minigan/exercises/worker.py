"""The process in which a file is checked: it may do what it likes, and nothing of that reaches who asked.

main(FILE, FOLDER, SECONDS) writes FOLDER/verdict.json, or, where the file keeps it busy longer, FOLDER/stack.txt: where.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from minigan.errors import MiniganError
from minigan.exercises.checking import check_answer

VERDICT, STACK = "verdict.json", "stack.txt"
MOST_MEMORY = 3 * 2**30  # bytes of addresses beyond those of the check itself
MOST_WRITTEN = 64 * 2**20  # bytes of one file
MOST_PROCESSES = 100  # beyond those that the user has already


def main(path: str, folder: str, seconds: float) -> None:
    """Check one file and write what comes out, or why nothing does."""
    limit_resources()
    with open(Path(folder) / STACK, "w", encoding="utf-8") as stack:
        faulthandler.dump_traceback_later(seconds, exit=True, file=stack)
        try:
            found = check_answer(Path(path)).to_json()
        except MiniganError as error:
            found = {"error": str(error)}
        except MemoryError:
            found = {"error": f"{path}: out of memory, it may take {MOST_MEMORY / 2**30:.0f} GiB"}
        faulthandler.cancel_dump_traceback_later()
    part = Path(folder) / f"{VERDICT}.part"
    part.write_text(json.dumps(found), encoding="utf-8", errors="backslashreplace")
    part.replace(Path(folder) / VERDICT)
    with suppress(OSError, ValueError, AttributeError):  # what the file has printed, or closed
        sys.stdout.flush()
    os._exit(0)  # whatever threads and atexit handlers the file has left


def limit_resources() -> None:
    """Let a file that runs wild fail by itself, where the system can do that."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(OSError, ValueError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, used + MOST_MEMORY)
    _lower(resource.RLIMIT_FSIZE, MOST_WRITTEN)
    _lower(resource.RLIMIT_CORE, 0)
    with suppress(OSError, ValueError, AttributeError):
        own = [entry for entry in os.listdir("/proc") if entry.isdigit() and os.stat(f"/proc/{entry}").st_uid == os.getuid()]
        threads = sum(len(os.listdir(f"/proc/{entry}/task")) for entry in own)
        _lower(resource.RLIMIT_NPROC, threads + MOST_PROCESSES)


def _lower(kind: int, most: int) -> None:
    import resource

    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
