"""The command `minigan` (also `python -m minigan`): train, sample, evaluate, diagnose, explain, exercise, gradcheck, export, info."""

from minigan.cli.entry import COMMANDS, main
from minigan.cli.parser import INTERRUPTED, USER_ERROR

__all__ = ["COMMANDS", "INTERRUPTED", "USER_ERROR", "main"]
