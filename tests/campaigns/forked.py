"""One command line of minigan in a process of its own: forked, so that it starts at once, and killed where it hangs."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import select
import signal
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

LONGEST_LINE = 300  # characters of a message
MEMORY = 12 << 30  # bytes of address space; what a damaged file or an option asks for beyond that is an error
CRASHED = 70  # the exit status of a process that an exception ended


@dataclass(frozen=True)
class Result:
    """How a command ended. status: its exit status, or −signal; None: it did not end in time."""

    status: int | None
    output: str
    errors: str


def preload() -> None:
    """Import all that a command imports, so that a fork has it. No thread may run and no array be computed before a fork."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import msgspec
    import PIL.Image
    import safetensors.numpy
    import tqdm.auto

    import minigan.cli

    assert all((matplotlib, msgspec, PIL, safetensors, tqdm, minigan.cli))
    PIL.Image.init()


def run(
    arguments: list[str], folder: Path, seconds: float = 60, kill_after: float | None = None, kill_with: int = signal.SIGKILL
) -> Result:
    """`minigan …` in that folder. kill_after: seconds after which it gets the signal kill_with, on purpose."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            _be_command(arguments, folder, output.fileno(), errors.fileno())
        if kill_after is not None and not _ends_in(child, kill_after):
            os.kill(child, kill_with)
        status = _wait(child, seconds)
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Result(status, *texts)


def _be_command(arguments: list[str], folder: Path, output: int, errors: int) -> None:
    """What the child does; it never returns."""
    status = CRASHED
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)  # as Python opens them
        from minigan.cli import main

        status = main(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _ends_in(child: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(child)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def _wait(child: int, seconds: float) -> int | None:
    """The child's exit status once it has ended; after so many seconds it is killed."""
    in_time = _ends_in(child, seconds)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if in_time else None


def problem(result: Result, allowed: tuple[int, ...] = (0, 2)) -> str:
    """What is wrong with the way a command ended, or ""."""
    if result.status is None:
        return "it hangs"
    if "Traceback" in result.errors or "Traceback" in result.output:
        return f"a traceback: {result.errors.strip().splitlines()[-1][:200]}"
    if result.status not in allowed:
        return f"exit status {result.status}: {result.errors[-200:]!r}"
    lines = [line for line in re.split(r"[\r\n]+", result.errors) if line.strip() and "%|" not in line]  # without bars
    if result.status == 2 and len(lines) != 1:
        return f"{len(lines)} lines on standard error: {result.errors[:400]!r}"
    if result.status == 0 and "Warning" in result.errors:
        return f"a warning: {result.errors[-300:]!r}"
    too_long = [line for line in lines if len(line) > LONGEST_LINE]
    return f"a message of {len(too_long[0])} characters" if result.status == 2 and too_long else ""


def contents(folder: Path) -> dict[str, str]:
    """{path: digest} of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest() for path in files}


def lost(before: dict[str, str], after: dict[str, str], may_change: tuple[str, ...] = ()) -> str:
    """Which of the files that were there are gone or changed, in words, or ""."""
    gone = [path for path in before if after.get(path) != before[path] and not path.startswith(may_change or ("\0",))]
    return f"changed or gone: {', '.join(gone[:3])}" if gone else ""
