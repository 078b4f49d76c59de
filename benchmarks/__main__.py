"""`python -m benchmarks COMMAND`: prints a Markdown table, writes JSON and a chart into the folder benchmark-results."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import commands, training
from benchmarks.games import GAMES
from benchmarks.quality import command as quality
from benchmarks.ranks import command as of_ranks
from benchmarks.report import Result, check_folder, notes, write
from benchmarks.rounds import OURS, BenchmarkError, Settings
from benchmarks.sides import BASELINE, ON_GPU, SIDES
from benchmarks.summary import summary
from minigan.backends.numpy.threads import thread_count
from minigan.cli.entry import discard_what_cannot_be_written, prepare_streams
from minigan.cli.parser import INTERRUPTED, USER_ERROR, Parser, add_option, one_line
from minigan.errors import MiniganError, nearest_name, shorten

NAME = "python -m benchmarks"
RESULTS = Path("benchmark-results")  # benchmarks/results, which is part of the repository, is written where --out names it
LARGEST = {
    "batch size": 4096,
    "number of rounds": 10_000,
    "number of seconds": 3600,
    "number of threads": 1024,
    "number": 10_000_000,
    "number of steps": 10_000_000,
    "distance": 1_000_000,
    "number of ranks": 1024,
    "latency": 1_000_000,
    "bandwidth": 1_000_000,
}

# Sides that a command leaves out unless they are asked for by name: they have no such work, or would add minutes for nothing.
_ELSEWHERE = (BASELINE, *(name for name in ON_GPU if name != "cupy"))
_LEFT_OUT = {
    "steps": (),
    "layers": ("numpy-layers", "products", "torch-compile", "torch-defaults"),
    "scaling": ("numpy-layers", "products", "torch", "torch-compile", "torch-defaults", "numpy-avx2"),
    "memory": ("numpy-layers", "products", "torch-compile", "torch-defaults"),
    "penalties": ("numpy-layers", "products", "torch-compile", "torch-defaults", "numpy-avx2"),
    "sampling": ("numpy-layers", "products", "torch-defaults"),
}


def _names(text: str, known: Sequence[str], kind: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"unknown {kind} {shorten(name)}: {nearest_name(name, known)}")
    return names


def _sides(text: str) -> list[str]:
    return _names(text, tuple(SIDES), "side")


def _games(text: str) -> list[str]:
    return _names(text, tuple(GAMES), "game")


def _sampled(text: str) -> list[str]:
    return _names(text, tuple(commands.TRAINED_STEPS), "game")


def _shared(text: str) -> list[str]:
    return _names(text, of_ranks.REFERENCE_GAMES, "game")


def _trained(text: str) -> list[str]:
    return _names(text, training.TRAINED, "side")


def _protocol(text: str) -> str:
    return _names(text, tuple(quality.PROTOCOLS), "protocol")[0]


def _number(what: str, kind: type = int) -> Callable[[str], Any]:
    """The type of an argument that is a number above 0, whole or not, up to LARGEST."""
    words = "whole number from 1" if kind is int else "number above 0"

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value <= LARGEST[what]:
            raise argparse.ArgumentTypeError(f"{shorten(text)}: a {what} is a {words} up to {LARGEST[what]:,}")
        return value

    return parse


def _batches(text: str) -> list[int]:
    return [_number("batch size")(part) for part in text.split(",")]


def _checkout(text: str) -> Path:
    folder = Path(text).resolve()
    try:
        is_checkout = all((folder / name).is_file() for name in ("minigan/network.py", "benchmarks/worker.py"))
    except OSError:  # a name that is too long, or a folder that must not be read
        is_checkout = False
    if not is_checkout:
        raise argparse.ArgumentTypeError(
            f"{shorten(text)}: expected a checkout of this repository, with minigan/ and benchmarks/ in it"
        )
    return folder


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(asked: int | None) -> int:
    """So many threads for every side: --threads, else what minigan itself takes. Raises BenchmarkError beyond the cores."""
    threads, origin = (asked, "--threads") if asked else (thread_count(), "MINIGAN_NUM_THREADS")
    if threads > _cores():
        raise BenchmarkError(
            f"{origin} is {threads}, but this process may use {_cores()} cores: every side gets as many cores as threads"
        )
    return threads


def parser() -> argparse.ArgumentParser:
    top = Parser(prog=NAME, description=__doc__, allow_abbrev=False)
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    helps = {
        "steps": "one full training step of both reference games, at several batch sizes, and of every recipe of minigan train",
        "layers": "forward and both gradients of single layers, and Adam, beside the machine's own ceiling",
        "scaling": "time per image and peak memory by batch size, image size and width",
        "memory": "peak resident memory of a step, and its growth over 1,000 steps",
        "sampling": "images per second out of a trained G",
        "penalties": "a step of dcgan's D alone, without its BatchNorm: with R1, which needs second derivatives, and without",
        "gpu": "the tests that need a GPU, then a training step there beside PyTorch and JAX",
        "imports": "whole processes that import minigan, against numpy alone",
        "quality": "trained games by published protocols: modes of mixtures and of stacked digits, Fréchet distance of digits",
        "ranks": "several processes that share each batch, beside threads, and a prediction for up to 1,024 of them",
        "train": "whole commands, from an empty start to samples of the wanted quality on disk, and their peak memory",
        "summary": "the headline figures of the results that are there",
    }
    for name, text in helps.items():
        shows_defaults = argparse.ArgumentDefaultsHelpFormatter
        command = sub.add_parser(name, help=text, description=text, formatter_class=shows_defaults, allow_abbrev=False)
        command.set_defaults(parser=command)
        command.add_argument("--out", type=Path, default=RESULTS, help="the folder for JSON and charts")
        if name == "summary":
            continue
        command.add_argument("--overwrite", action="store_true", help="replace the results that the folder holds")
        if name == "quality":
            known = f"of: {', '.join(quality.PROTOCOLS)} (all)"
            command.add_argument("protocols", nargs="*", type=_protocol, metavar="PROTOCOL", help=known, default=[])
            for option, words in (("seeds", "seeds, from 0 on"), ("steps", "steps of each")):
                whose = f"{words}, in place of the protocol's own number"
                command.add_argument(f"--{option}", type=_number("number"), help=whose, default=argparse.SUPPRESS)
            jobs = "seeds trained at a time; set MINIGAN_NUM_THREADS=1 where they are as many as the cores"
            command.add_argument("--jobs", type=_number("number"), default=1, help=jobs)
            continue
        if name in ("train", "ranks"):
            (_add_training if name == "train" else _add_ranks)(command)
            continue
        if name != "memory":
            rounds, seconds = {"scaling": (3, 0.3), "layers": (7, 0.15), "gpu": (9, 0.2)}.get(name, (9, 0.4))
            about = {"default": rounds, "help": "alternating rounds for each point"}
            command.add_argument("--rounds", type=_number("number of rounds"), **about)
        if name in ("steps", "memory", "imports"):
            baseline = "compare with minigan of another checkout, as a git worktree of an earlier commit: its folder"
            command.add_argument("--baseline", type=_checkout, metavar="PATH", help=baseline, default=argparse.SUPPRESS)
        if name == "imports":
            continue
        if name != "memory":
            about = {"default": seconds, "help": "time for each side in each round"}
            command.add_argument("--seconds", type=_number("number of seconds", float), **about)
        _add_threads(command)
        default = [*ON_GPU, "numpy"] if name == "gpu" else [s for s in SIDES if s not in (*_LEFT_OUT[name], *_ELSEWHERE)]
        command.add_argument("--sides", type=_sides, default=",".join(default), help=f"of: {', '.join(SIDES)}")
        if name == "steps":
            listed = "; ".join(f"{game}: {GAMES[game].words}" for game in GAMES)
            command.add_argument("--games", type=_games, default=",".join(GAMES), help=f"of: {listed}")
            own = "; ".join(f"{game} {', '.join(map(str, GAMES[game].batches))}" for game in GAMES)
            command.add_argument("--batches", type=_batches, help=f"batch sizes ({own})", default=argparse.SUPPRESS)
        if name == "sampling":
            command.add_argument("--games", type=_sampled, default="mlp,dcgan", help=f"of: {', '.join(commands.TRAINED_STEPS)}")
            command.add_argument("--batches", type=_batches, help="batch sizes", default="1,16,64,256")
        if name == "penalties":
            command.add_argument("--batches", type=_batches, help="batch sizes", default="64")
        if name == "memory":
            command.add_argument(
                "--growth-batch", type=_number("batch size"), default=32, help="batch size of dcgan's 1,000 steps"
            )
    return top


def _add_threads(command: argparse.ArgumentParser) -> None:
    words = "threads, and cores, of every side (default: MINIGAN_NUM_THREADS, else the cores that this process may use)"
    command.add_argument("--threads", type=_number("number of threads"), default=argparse.SUPPRESS, help=words)


def _add_training(command: argparse.ArgumentParser) -> None:
    """The options of `train`: how good the samples must be, and the recipe's where they are to differ."""
    usual = training.Asked()
    distance = "the Fréchet distance of 5,000 samples from the bundled digits that is to be reached"
    command.add_argument("--distance", type=_number("distance", float), default=usual.distance, help=distance)
    steps = "so many steps of each side, instead of looking for how many the distance takes"
    command.add_argument("--steps", type=_number("number of steps"), default=argparse.SUPPRESS, help=steps)
    every = "steps from one look at the distance to the next, as their number is looked for"
    command.add_argument("--every", type=_number("number of steps"), default=usual.every, help=every)
    command.add_argument("--rounds", type=_number("number of rounds"), default=5, help="alternating rounds of whole commands")
    _add_threads(command)
    sides = f"of: {', '.join(training.TRAINED)}"
    command.add_argument("--sides", type=_trained, default="numpy,torch,torch-last", help=sides)
    for name in training.OF_RECIPE:
        add_option(command, name, shown="the recipe's")


def _add_ranks(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rounds", type=_number("number of rounds"), default=7, help="alternating rounds for each point")
    seconds = "time for each step in each round"
    command.add_argument("--seconds", type=_number("number of seconds", float), default=0.4, help=seconds)
    most = "the most ranks, each with a core: all powers of two up to it are measured (default: the cores)"
    command.add_argument("--ranks", type=_number("number of ranks"), default=argparse.SUPPRESS, help=most)
    threads = "threads of the one process that stands beside them (default: as many as the ranks)"
    command.add_argument("--threads", type=_number("number of threads"), default=argparse.SUPPRESS, help=threads)
    known = f"of: {', '.join(of_ranks.REFERENCE_GAMES)}"
    command.add_argument("--games", type=_shared, default=",".join(of_ranks.REFERENCE_GAMES), help=known)
    batch = "images of a step; of each rank, where the batch grows with the ranks"
    command.add_argument("--batch", type=_number("batch size"), default=128, help=batch)
    for option, unit, words in (
        ("latency", "MICROSECONDS", "latency of a message on another network, to predict for it too"),
        ("bandwidth", "GBYTES", "its bandwidth between two ranks, in 10⁹ bytes a second"),
    ):
        kind = _number(option, float)
        command.add_argument(f"--{option}", type=kind, default=argparse.SUPPRESS, metavar=unit, help=words)


def _asked_of_ranks(options: argparse.Namespace) -> of_ranks.Asked:
    """What `ranks` is to measure. Raises BenchmarkError where it cannot, before anything is started."""
    network = [getattr(options, name, None) for name in ("latency", "bandwidth")]
    if len(given := [value for value in network if value is not None]) == 1:
        raise BenchmarkError("--latency and --bandwidth describe a network together: give both, or neither")
    link = (given[0] * 1e-6, given[1] * 1e9) if given else None
    asked = of_ranks.Asked(getattr(options, "ranks", _cores()), options.batch, list(dict.fromkeys(options.games)), link)
    asked.check(getattr(options, "threads", asked.sizes[-1] if asked.sizes else 1), _cores())
    return asked


def run(options: argparse.Namespace) -> tuple[Result, str]:
    if options.command == "ranks":
        asked = _asked_of_ranks(options)
        threads = getattr(options, "threads", asked.sizes[-1])
        return commands.ranks(Settings(options.rounds, options.seconds, threads, ()), asked)
    baseline = getattr(options, "baseline", None)
    settings = Settings(
        rounds=getattr(options, "rounds", 1),
        seconds=getattr(options, "seconds", 0.0),
        threads=_threads(getattr(options, "threads", None)),
        sides=list(dict.fromkeys([*getattr(options, "sides", ()), *([BASELINE] if baseline else [])])),
        baseline=baseline,
    )
    if options.command in ("steps", "sampling"):
        return getattr(commands, options.command)(settings, options.games, getattr(options, "batches", None))
    if options.command == "penalties":
        return commands.penalties(settings, options.batches)
    if options.command == "gpu":
        return commands.gpu(settings, options.out)
    if options.command == "train":
        given = {name: getattr(options, name) for name in training.OF_RECIPE if name in options}
        asked = training.Asked(options.distance, getattr(options, "steps", None), options.every, given)
        return commands.train(settings, asked)
    if options.command == "memory":
        return commands.memory(settings, [("mlp", 128), ("dcgan", options.growth_batch)])
    return getattr(commands, options.command)(settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. What is refused is one line on standard error and status 2."""
    prepare_streams()
    try:
        try:
            return _execute(parser().parse_args(arguments))
        finally:
            sys.stdout.flush()
    except MiniganError as error:
        message = str(error)
    except MemoryError:
        message = "out of memory: choose smaller batches"
    except OSError as error:
        message = f"{error.filename or 'the output'}: {error.strerror or error}"
    except KeyboardInterrupt:
        message = ""
    with suppress(OSError):
        words = f"error: {message}" if message else "interrupted: what was not finished was not written"
        print(one_line(f"{NAME}: {words}", sys.stderr.encoding or "ascii"), file=sys.stderr, flush=True)
    discard_what_cannot_be_written()
    return USER_ERROR if message else INTERRUPTED


def _execute(options: argparse.Namespace) -> int:
    if options.command == "summary":
        print(summary(options.out))
        return 0
    if options.command == "quality":
        names = list(dict.fromkeys(options.protocols)) or list(quality.PROTOCOLS)
        steps, seeds = getattr(options, "steps", None), getattr(options, "seeds", None)
        quality.run(names, options.out, overwrite=options.overwrite, seeds=seeds, steps=steps, jobs=options.jobs)
        return 0
    check_folder(options.out, options.command, options.overwrite)
    result, table = run(options)
    if not result["points"] and options.command != "gpu":
        raise BenchmarkError(f"nothing was measured: none of {', '.join(options.sides)} has such work")
    try:
        write(result, options.out)
    finally:
        print(f"{table}\n\n{notes(result)}")
    ours = result.get("ours", OURS)
    if ours not in getattr(options, "sides", (ours,)):
        print(f"\nWithout the side {ours} there are no ratios.")
    return 0 if result["points"] and result.get("tests", {"passed": True})["passed"] else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no stopped worker is left behind
    sys.exit(main())
