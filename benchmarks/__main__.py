"""`python -m benchmarks COMMAND`: prints a Markdown table, writes JSON and a chart under benchmarks/results/."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import commands
from benchmarks.report import Result, notes, write
from benchmarks.rounds import OURS, BenchmarkError, Settings
from benchmarks.sides import BASELINE, ON_GPU, SIDES
from benchmarks.summary import summary
from benchmarks.tasks import GAMES
from minigan.errors import BackendError, nearest_name

RESULTS = Path(__file__).resolve().parent / "results"

# Sides that a command leaves out unless they are asked for by name: they have no such work, or would add minutes for nothing.
_ELSEWHERE = (BASELINE, *(name for name in ON_GPU if name != "cupy"))
_LEFT_OUT = {
    "steps": (),
    "layers": ("numpy-layers", "products", "torch-compile", "torch-defaults"),
    "scaling": ("numpy-layers", "products", "torch", "torch-compile", "torch-defaults", "numpy-avx2"),
    "memory": ("numpy-layers", "products", "torch-compile", "torch-defaults"),
    "sampling": ("numpy-layers", "products", "torch-defaults"),
}


def _sides(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in SIDES:
            raise argparse.ArgumentTypeError(f"unknown side {name!r}: {nearest_name(name, tuple(SIDES))}")
    return names


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected whole numbers from 1 up with commas between them, as 1,64,128")
    return numbers


def _games(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in GAMES:
            raise argparse.ArgumentTypeError(f"unknown game {name!r}: {nearest_name(name, tuple(GAMES))}")
    return names


def _checkout(text: str) -> Path:
    folder = Path(text).resolve()
    if not all((folder / name / "__init__.py").is_file() for name in ("minigan", "benchmarks")):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a checkout of this repository, with minigan/ and benchmarks/ in it"
        )
    return folder


def _positive(kind: type) -> object:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
        return value

    return parse


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    helps = {
        "steps": "one full training step of both reference games, at several batch sizes, and of the default recipe",
        "layers": "forward and both gradients of single layers, and Adam, beside the machine's own ceiling",
        "scaling": "time per image and peak memory by batch size, image size and width",
        "memory": "peak resident memory of a step, and its growth over 1,000 steps",
        "sampling": "images per second out of a trained G",
        "gpu": "the tests that need a GPU, then a training step there beside PyTorch and JAX",
        "imports": "whole processes that import minigan, against numpy alone",
        "summary": "the headline figures of the results that are there",
    }
    for name, text in helps.items():
        command = sub.add_parser(name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        command.add_argument("--out", type=Path, default=RESULTS, help="the folder for JSON and charts")
        if name == "summary":
            continue
        rounds, seconds = {"scaling": (3, 0.3), "layers": (7, 0.15), "gpu": (9, 0.2)}.get(name, (9, 0.4))
        command.add_argument("--rounds", type=_positive(int), default=rounds, help="alternating rounds for each point")
        if name in ("steps", "memory", "imports"):
            baseline = "compare with minigan of another checkout, as a git worktree of an earlier commit: its folder"
            command.add_argument("--baseline", type=_checkout, metavar="PATH", help=baseline)
        if name == "imports":
            continue
        command.add_argument("--seconds", type=_positive(float), default=seconds, help="time for each side in each round")
        command.add_argument("--threads", type=_positive(int), default=_cores(), help="threads, and cores, of every side")
        default = [*ON_GPU, "numpy"] if name == "gpu" else [s for s in SIDES if s not in (*_LEFT_OUT[name], *_ELSEWHERE)]
        command.add_argument("--sides", type=_sides, default=",".join(default), help=f"of: {', '.join(SIDES)}")
        if name in ("steps", "sampling"):
            games = ",".join(GAMES) if name == "steps" else "mlp,dcgan"
            command.add_argument("--games", type=_games, default=games, help=f"of: {', '.join(GAMES)}")
            own = "; ".join(f"{game} {', '.join(map(str, GAMES[game].batches))}" for game in GAMES)
            sizes = {"help": f"batch sizes ({own})"} if name == "steps" else {"help": "batch sizes", "default": "1,16,64,256"}
            command.add_argument("--batches", type=_numbers, **sizes)
        if name == "memory":
            command.add_argument("--growth-batch", type=_positive(int), default=32, help="batch size of dcgan's 1,000 steps")
    return top


def run(options: argparse.Namespace) -> tuple[Result, str]:
    baseline = getattr(options, "baseline", None)
    settings = Settings(
        rounds=options.rounds,
        seconds=getattr(options, "seconds", 0.0),
        threads=getattr(options, "threads", _cores()),
        sides=list(dict.fromkeys([*getattr(options, "sides", ()), *([BASELINE] if baseline else [])])),
        baseline=baseline,
    )
    if options.command in ("steps", "sampling"):
        return getattr(commands, options.command)(settings, options.games, options.batches)
    if options.command == "gpu":
        return commands.gpu(settings, options.out)
    if options.command == "memory":
        return commands.memory(settings, [("mlp", 128), ("dcgan", options.growth_batch)])
    return getattr(commands, options.command)(settings)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.command == "summary":
            print(summary(options.out))
            return 0
        result, table = run(options)
    except (BenchmarkError, BackendError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    print(f"{table}\n\n{notes(result)}")
    ours = result.get("ours", OURS)
    if ours not in getattr(options, "sides", (ours,)):
        print(f"\nWithout the side {ours} there are no ratios.")
    write(result, options.out)
    return 0 if result["points"] and result.get("tests", {"passed": True})["passed"] else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no stopped worker is left behind
    sys.exit(main())
