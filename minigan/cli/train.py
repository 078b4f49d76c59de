"""minigan train: a run and its folder."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from minigan.cli.parser import INTERRUPTED, add_command, add_option, given_options
from minigan.errors import MiniganError, UserFileError
from minigan.training import OPTIONS, Config, config_from, resume_run, start_run
from minigan.training.run import Run
from minigan.user_code import describe_error, names_function, split_function


def add(commands: Any) -> None:
    about = "Train a game and write its run folder. With no options: digits out of noise in two to five minutes on two cores."
    parser = add_command(commands, "train", "train a game", about, train)
    groups: dict[str, Any] = {}
    alternatives: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        if not option.on_command_line:
            continue
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        if option.alternative_to and option.alternative_to not in alternatives:
            alternatives[option.alternative_to] = groups[option.group].add_mutually_exclusive_group()
        add_option(alternatives[option.alternative_to] if option.alternative_to else groups[option.group], name)
    running = groups["running"]
    running.add_argument("--out", metavar="DIR", help="run folder (runs/DATA, numbered where taken)")
    running.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --out, to the same bytes; --steps extends it; --data names where its data lie now; "
        "the steps between rows, pictures and checkpoints, and the backend, may change",
    )
    running.add_argument(
        "--from",
        dest="begins_from",
        metavar="RUN",
        help="a new run that begins with the networks of another, and has its settings but for those given here",
    )
    running.add_argument("--overwrite", action="store_true", help="replace the run in --out, and nothing else there")
    running.add_argument("--quiet", action="store_true", help="no progress bar")


def train(options: argparse.Namespace) -> int:
    given = given_options(options)
    if options.resume:
        if not options.out:
            raise MiniganError("--resume needs --out, the folder of the run to go on with")
        if options.overwrite:
            raise MiniganError("--resume and --overwrite exclude each other: choose one")
        if options.begins_from:
            raise MiniganError("--resume and --from exclude each other: choose one")
        run = resume_run(options.out, changes=given)
    else:
        source = options.begins_from
        config = config_from(source, given) if source else Config(**given)
        run = start_run(config, options.out, begins_from=source, overwrite=options.overwrite)
    ended = _train(run, progress=not options.quiet)
    _discard_what_cannot_be_written()
    return 0 if ended else INTERRUPTED


def _train(run: Run, progress: bool) -> bool:
    """Raises UserFileError, naming the line, where layers of a user's file fail in the midst of the steps."""
    try:
        return run.train(progress)
    except (MiniganError, MemoryError, OSError):
        raise
    except Exception as error:
        model = run.settings["model"]
        if not names_function(model):
            raise
        path, _ = split_function(model)
        raise UserFileError(f"{path}: the networks fail: {describe_error(error, path)}") from None


def _discard_what_cannot_be_written() -> None:
    """Send to the null device what a stream still holds and cannot write: the run is saved, and its status is to say so."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (ValueError, AttributeError):  # closed, or none at all
            pass
