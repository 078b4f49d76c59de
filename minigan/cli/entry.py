"""The parser of all commands, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import minigan
from minigan.cli import diagnose, explain, gradcheck, info, sample, train
from minigan.cli.parser import INTERRUPTED, USER_ERROR, Parser
from minigan.errors import MiniganError, nearest_name

LONGEST_MESSAGE = 284  # characters, behind `minigan: error: `
COMMANDS = {
    "train": train.add,
    "sample": sample.add,
    "diagnose": diagnose.add,
    "explain": explain.add,
    "gradcheck": gradcheck.add,
    "info": info.add,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. A user's mistake is one line on standard error and status 2, never a traceback."""
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        if words and not words[0].startswith("-") and words[0] not in COMMANDS:
            raise MiniganError(f"unknown command {words[0]!r}: {nearest_name(words[0], COMMANDS)}")
        options = _parser().parse_args(words)
        return options.run(options)
    except MiniganError as error:
        message = str(error)
    except MemoryError as error:
        message = f"out of memory ({error}): choose a smaller --batch-size, --width or data"
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away, as in `minigan info | head -1`
        return USER_ERROR
    except OSError as error:
        message = f"{error.filename or 'the output'}: {error.strerror or error}"
    except KeyboardInterrupt:
        print("minigan: interrupted", file=sys.stderr)
        return INTERRUPTED
    print(f"minigan: error: {_one_line(message)}", file=sys.stderr)
    return USER_ERROR


def _one_line(message: str) -> str:
    """A message that may quote what a user's file or folder holds, in one line that is not too long to read."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 1]}…"


def _parser() -> Parser:
    about = "Generative adversarial networks from scratch on plain arrays: every gradient by hand, on NumPy and CuPy."
    parser = Parser(prog="minigan", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"minigan {minigan.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for add in COMMANDS.values():
        add(commands)
    return parser
