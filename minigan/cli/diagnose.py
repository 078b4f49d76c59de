"""minigan diagnose: what is wrong with a run."""

from __future__ import annotations

import argparse
import json
from typing import Any

from minigan.cli.parser import add_command


def add(commands: Any) -> None:
    about = "Say what is wrong with a run, by the figures of its log.csv, and what to try."
    parser = add_command(commands, "diagnose", "say what is wrong with a run", about, diagnose)
    parser.add_argument("folder", metavar="RUN", help="a run folder")
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def diagnose(options: argparse.Namespace) -> int:
    from minigan.diagnose import diagnose_run, report

    findings, about = diagnose_run(options.folder)
    if options.json:
        print(json.dumps([finding.to_json() for finding in findings], indent=1, ensure_ascii=False))
    else:
        print(f"{about}\n\n{report(findings)}")
    return 0
