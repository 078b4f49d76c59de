"""minigan train: a run and its folder."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from minigan.cli.parser import INTERRUPTED, add_command, add_option, discard_what_cannot_be_written, given_options
from minigan.distributed import world
from minigan.errors import MiniganError
from minigan.training import OPTIONS, Config, config_from, errors_of_user_file, resume_run, start_run


def add(commands: Any) -> None:
    about = "Train a game and write its run folder. With no options: digits out of noise in two minutes on two idle cores."
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
    words = {f"word {number} of the command": word for number, word in enumerate(sys.argv[1:], 2)}
    world().check_same({**words, "the length of the command": len(words)}, "start all ranks by the same command")
    if options.resume:
        if not options.out:
            raise MiniganError("--resume needs --out, the folder of the run to go on with")
        if options.overwrite:
            raise MiniganError("--resume and --overwrite exclude each other: choose one")
        if options.begins_from:
            raise MiniganError("--resume and --from exclude each other: choose one")
        run = resume_run(options.out, changes=given, progress=not options.quiet)
    else:
        source = options.begins_from
        config = config_from(source, given) if source else Config(**given)
        run = start_run(config, options.out, begins_from=source, overwrite=options.overwrite, progress=not options.quiet)
    with errors_of_user_file(Config(model=run.settings["model"])):
        ended = run.train(progress=not options.quiet)
    discard_what_cannot_be_written()  # the run is saved, and the status is to say so
    return 0 if ended else INTERRUPTED
