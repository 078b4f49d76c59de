"""minigan evaluate: how good the samples of runs are."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from minigan.cli.parser import add_command, add_option, whole_number
from minigan.user_code import FUNCTION_IN_FILE


def add(commands: Any) -> None:
    about = (
        "Compare samples of runs with real ones, in one table, and write metrics.json and neighbours.png (samples and their "
        "nearest real neighbours) into each run's folder. The first column compares real samples with others."
    )
    parser = add_command(commands, "evaluate", "measure the samples of runs", about, evaluate)
    parser.add_argument("folders", metavar="RUN", nargs="+", help="a run folder")
    data = "the real data, as --data of train takes them (those that the runs were trained on)"
    parser.add_argument("--against", metavar="DATA", help=data)
    features = (
        "a function that makes features (N, K) of images (N, H, W, C) in [-1, 1], or of points (of 28x28 grey images: those of "
        "a classifier of digits; of points: the coordinates; of other images: none, and their patches are compared; text takes "
        "none)"
    )
    parser.add_argument("--features", metavar=FUNCTION_IN_FILE, help=features)
    count = "of each run, and real ones (half of the real data, at most 5,000)"
    parser.add_argument("--samples", type=whole_number(12), metavar="N", help=count)
    add_option(parser, "seed", default=0)
    add_option(parser, "backend", default="auto")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def evaluate(options: argparse.Namespace) -> int:
    from minigan.evaluate import evaluate
    from minigan.progress import tqdm_bar

    watch = partial(tqdm_bar, unit="set", desc="measuring", disable=options.quiet or None, leave=False)
    given = (options.folders, options.against, options.features, options.samples, options.seed, options.backend)
    print(evaluate(*given, watch=watch))
    return 0
