"""minigan gradcheck: every gradient against central differences."""

from __future__ import annotations

import argparse
import itertools
import time
from typing import Any

from minigan.backends import get_backend
from minigan.cli.parser import add_command, add_option


def add(commands: Any) -> None:
    about = (
        "Prove every gradient, and those of gradients: all layers, losses and penalties and both reference games, against "
        "central differences in float64. With FILE.py: runs that file, and checks the layers that it names in "
        "CHECKS = [(layer, input shape), ...], with the layer contract; of a wrong gradient it names the mistake, where it can."
    )
    parser = add_command(commands, "gradcheck", "prove every gradient", about, gradcheck)
    parser.add_argument("files", nargs="*", metavar="FILE.py", help="a file to run, with layers of your own (all of minigan's)")
    add_option(parser, "backend", default="auto")
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="a line for every array, right ones too, with its worst entry (only what is amiss)",
    )


def gradcheck(options: argparse.Namespace) -> int:
    from minigan.checks.file import check_file
    from minigan.checks.report import TOLERANCE
    from minigan.checks.suite import check_all

    backend = get_backend(options.backend)
    own = [check_file(file, backend) for file in options.files]
    print(f"{backend.device} | backend {backend.name} | float64, tolerance {TOLERANCE:.0e} relative", flush=True)
    since, count, failed = time.perf_counter(), 0, 0
    for report in itertools.chain(*own) if own else check_all(backend):
        count, failed = count + 1, failed + (not report.ok)
        checked = sum(row.checked for row in report.rows)
        print(
            f"{'ok    ' if report.ok else 'FAILED'}  {report.max_error:8.1e}  {checked:>4} derivatives  {report.name}",
            flush=True,
        )
        lines = report.lines if options.verbose else report.amiss
        print(*(f"          {line}\n" for line in lines), sep="", end="", flush=True)
    agree = "all gradients agree, the layer contract is kept" if own else "all gradients agree"
    verdict = agree if not failed else f"{failed} of {count} FAILED"
    print(f"{count} checks in {time.perf_counter() - since:.1f} s: {verdict}")
    return 1 if failed else 0
