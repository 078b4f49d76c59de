"""The command `minigan` (also `python -m minigan`), one file for each of its own commands."""

from minigan.cli.entry import COMMANDS, main
from minigan.cli.parser import INTERRUPTED, USER_ERROR

__all__ = ["COMMANDS", "INTERRUPTED", "USER_ERROR", "main"]
