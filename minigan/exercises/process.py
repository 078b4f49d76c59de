"""A file checked in a process of its own, with a time limit: whatever it does ends in a verdict or in one line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigan.errors import cut_middle
from minigan.exercises.exercise import Verdict
from minigan.exercises.worker import STACK, VERDICT

LATE = "late"  # a mark for a process that had to be ended from here
SECONDS = 60.0
GRACE = 20.0  # seconds for a process to begin, beyond the limit that holds within it
MOST_SHOWN = 10_000  # characters of what the file prints
# An empty path in sys.path is the folder one stands in, whose files must not stand in for modules of ours.
START = "import sys; sys.path[:] = [p for p in sys.path if p]; from minigan.exercises.worker import main; "
START += "main(sys.argv[1], sys.argv[2], float(sys.argv[3]))"


@dataclass
class Checked:
    """What became of a file: a verdict, or else an error in one line. printed: what the file itself printed."""

    verdict: Verdict | None = None
    error: str = ""
    printed: str = ""
    seconds: float = 0.0


def check_in_process(path: Path, seconds: float = SECONDS) -> Checked:
    """Check a file without running it here. It, and all that it has started, is ended once the time is over."""
    since = time.perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with open(folder / "printed.txt", "wb") as printed:
            command = [sys.executable, "-c", START, str(path), name, str(seconds)]
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": printed, "stderr": printed, "env": _environment()}
            process = subprocess.Popen(command, start_new_session=True, **options)
            try:
                process.wait(seconds + GRACE)
            except subprocess.TimeoutExpired:
                (folder / LATE).touch()
            finally:
                _end(process)
        done = _outcome(path, folder, process.returncode, seconds)
        with suppress(OSError), open(folder / "printed.txt", encoding="utf-8", errors="replace") as text:
            done.printed = text.read(MOST_SHOWN + 1)
    done.seconds = time.perf_counter() - since
    return done


def _environment() -> dict[str, str]:
    """That of this process, for one that finds the same minigan and computes on one thread."""
    own = str(Path(__file__).resolve().parents[2])
    paths = [own, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "MINIGAN_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8:backslashreplace"}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process, and with it what it has started."""
    with suppress(OSError, AttributeError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _outcome(path: Path, folder: Path, status: int, seconds: float) -> Checked:
    try:
        found = json.loads((folder / VERDICT).read_text(encoding="utf-8"))
        return Checked(error=cut_middle(found["error"])) if "error" in found else Checked(Verdict.from_json(found))
    except (OSError, ValueError, TypeError, KeyError):
        pass
    stack = ""
    with suppress(OSError):
        stack = (folder / STACK).read_text(encoding="utf-8", errors="replace")
    if stack or (folder / LATE).exists():
        return Checked(error=cut_middle(f"{path}: not done within {seconds:g} s{_place(stack, path)}: does a loop never end?"))
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    if status == -getattr(signal, "SIGKILL", 0):
        how += ", as the system ends what takes too much memory,"
    return Checked(error=cut_middle(f"{path}: the process ended {how} before the check was done: does the file end it?"))


def _place(stack: str, path: Path) -> str:
    """The line of the file that a stack, the innermost call first, names first."""
    for name, line, function in re.findall(r'File "(.*)", line (\d+) in (.*)', stack):
        if name == str(path):
            return f", at line {line}, in {function}"
    return ""
