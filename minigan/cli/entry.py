"""The parser of all commands, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import minigan
from minigan.cli import diagnose, evaluate, exercise, explain, export, gradcheck, info, sample, train
from minigan.cli.parser import INTERRUPTED, USER_ERROR, Parser, discard_what_cannot_be_written, one_line
from minigan.distributed import ALONE, world
from minigan.errors import MiniganError, RankError, nearest_name, shorten
from minigan.progress import print_above_bars

COMMANDS = {
    "train": train.add,
    "sample": sample.add,
    "evaluate": evaluate.add,
    "diagnose": diagnose.add,
    "explain": explain.add,
    "exercise": exercise.add,
    "gradcheck": gradcheck.add,
    "export": export.add,
    "info": info.add,
}
OF_SEVERAL = {"train", "info"}  # which several ranks do together


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. A user's mistake is one line on standard error and status 2, never a traceback.

    Of several processes that an MPI launcher started the first alone prints; where one fails, it says so, and all end.
    """
    prepare_streams()
    showing, warnings.showwarning = warnings.showwarning, _show_warning
    ranks = ALONE
    try:
        try:
            ranks = world()  # now, so that all ranks are here before any can fail
            if ranks.rank:
                sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open to the end)
                warnings.showwarning = lambda *_, **__: None
            return _run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            warnings.showwarning = showing
            sys.stdout.flush()  # here, where a full disk can still be told of
    except MiniganError as error:
        message = str(error)
    except MemoryError as error:
        message = f"out of memory ({error or 'no more is free'}): choose a smaller --batch-size, --width or data"
    except BrokenPipeError:  # the reader went away, as in `minigan info | head -1`
        discard_what_cannot_be_written()
        return USER_ERROR
    except OSError as error:
        message = f"{error.filename or 'the output'}: {error.strerror or error}"
    except KeyboardInterrupt:
        message = ""
    status, who = (
        USER_ERROR if message else INTERRUPTED,
        f"rank {ranks.rank}: " if ranks.rank else "",
    )  # the first speaks for all
    with suppress(OSError):
        line = one_line(
            f"minigan: error: {who}{message}" if message else "minigan: interrupted", sys.stderr.encoding or "ascii"
        )
        if ranks.may_tell():
            print(line, file=sys.stderr, flush=True)
    discard_what_cannot_be_written()
    ranks.abort(status)
    return status


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    """A warning in one line, as an error is told, above a progress bar if there is one."""
    with suppress(OSError):
        print_above_bars(one_line(f"minigan: warning: {message}", sys.stderr.encoding or "ascii"), file=sys.stderr)


def _run(words: list[str]) -> int:
    parser = _parser()
    if not words:
        parser.print_help()
        return 0
    if words[0] == "help":
        words = [*words[1:2], "--help"]  # as git and others have it
    if not words[0].startswith("-") and words[0] not in COMMANDS:
        raise MiniganError(f"unknown command {shorten(words[0])}: {nearest_name(words[0], COMMANDS)}")
    options = parser.parse_args(words)
    if world().size > 1 and options.command not in OF_SEVERAL:
        raise RankError(f"minigan {options.command} is done by one process: start it without the MPI launcher")
    return options.run(options)


def prepare_streams() -> None:
    """Make sure that text can be printed: whatever the terminal's encoding, and where the shell has closed a stream.

    A closed stream is opened on the null device. Else the next file that is opened would take its number, and what C libraries
    print would land in that file. A character that the encoding lacks is written as an escape.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors="replace"))  # noqa: SIM115 (open to the end)
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> Parser:
    about = "Generative adversarial networks from scratch on plain arrays: every gradient by hand, on NumPy and CuPy."
    parser = Parser(prog="minigan", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"minigan {minigan.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for add in COMMANDS.values():
        add(commands)
    return parser
