"""Reading a command line: the parser's errors in one line, and arguments from the declarations of a run's options."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from minigan.errors import MiniganError, cut_middle, near_name, nearest_name, shorten
from minigan.training.config import OPTIONS, RECIPES
from minigan.training.games import games_with
from minigan.training.options import Option, limit_in_words

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
Command = Callable[[argparse.Namespace], int]  # returns the exit status


class Parser(argparse.ArgumentParser):
    """Raises MiniganError for wrong arguments, with the nearest option, in place of printing its usage."""

    def error(self, message: str) -> Any:
        raise MiniganError(f"{message} (see {self.prog} --help)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser = getattr(options, "parser", self)  # that of the command, where there are several
            known = [text for action in parser._actions for text in action.option_strings]
            near = near_name(unknown[0], known) if unknown[0].startswith("-") else None
            hint = f"did you mean {near}? " if near else ""
            raise MiniganError(f"unknown argument {shorten(unknown[0])}: {hint}see {parser.prog} --help")
        return options

    def _print_message(self, message: str, file: Any = None) -> None:
        """argparse's own keeps silent where its text cannot be written."""
        print(message, end="", file=file)

    def _get_values(self, action: argparse.Action, texts: list[str]) -> Any:
        """Refuse `--option=--`, of which argparse would make an empty list."""
        if action.option_strings and texts == ["--"]:
            raise argparse.ArgumentError(action, "expected a value, got '--'")
        return super()._get_values(action, texts)

    def _get_value(self, action: argparse.Action, text: str) -> Any:
        """Refuse what no option can mean, such as the empty variable of a script; argparse hands every value to this method."""
        if action.nargs == argparse.PARSER:
            return super()._get_value(action, text)  # the words of a command, whose own parser looks at them
        if not text.strip():
            raise argparse.ArgumentError(action, f"expected a value, got the empty string {shorten(text)}")
        try:
            os.fsencode(text)
        except UnicodeEncodeError:
            raise argparse.ArgumentError(action, f"{shorten(text)} holds a character that cannot be encoded") from None
        if "\0" in text:
            raise argparse.ArgumentError(action, f"{shorten(text)} holds a null character")
        return super()._get_value(action, text)


def one_line(message: str, encoding: str) -> str:
    """A message that may quote anything, in one line of LONGEST_MESSAGE characters at most that any terminal shows as it is."""
    words = " ".join(message.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    line = shown.encode(encoding, "backslashreplace").decode(encoding)
    return cut_middle(line, gap="…".encode(encoding, "replace").decode(encoding).replace("?", "..."))


def add_command(commands: Any, name: str, help: str, about: str, run: Command) -> Parser:
    """A command of that name. about: the text above its options in its own help."""
    parser = commands.add_parser(name, help=help, description=about, allow_abbrev=False)
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_option(group: Any, name: str, default: Any = argparse.SUPPRESS, shown: str | None = None) -> None:
    """An option of Config. Unless a default is named, it stays out of the namespace where it is not given.

    shown: the default that the help names; None: that of Config, or of each model.
    """
    option = OPTIONS[name]
    shown = _default_in_words(option) if shown is None else shown
    games = games_with(name)
    is_of_others = games and OPTIONS["game"].default not in games  # of the usual game it need not be told
    models = f"{', '.join((*games, *option.models))}: " if option.models or is_of_others else ""
    about = f"{models}{option.help}{f' ({shown})' if shown else ''}"
    if option.kind is bool:
        group.add_argument(option.flag, default=default, action=argparse.BooleanOptionalAction, help=about)
        return
    several: dict[str, Any] = {"nargs": "+"} if option.is_list and option.parse is None else {}
    if option.item is str and several:
        several["action"] = "extend"  # named several times, it means all of them
    kind = argument_type(option)
    group.add_argument(option.flag, default=default, type=kind, metavar=option.metavar, help=about, **several)


def argument_type(option: Option) -> Callable[[str], Any]:
    """The value of an option, or one entry of its list, from the text on the command line."""
    is_entry = option.is_list and option.parse is None

    def convert(text: str) -> Any:
        try:
            value = option.parse(text) if option.parse else option.item(text)
        except MiniganError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        except ValueError:
            value = text  # of the wrong type, so that the check refuses it
        try:
            return option.convert((value,))[0] if is_entry else option.convert(value)
        except ValueError:
            if option.names:
                names = f"unknown name {shorten(text)}: {nearest_name(text, option.all_choices)}"
                hint = option.hint(text)
                raise argparse.ArgumentTypeError(f"{shorten(text)} is {hint}" if hint else names) from None
            words = option.expected_entry if is_entry else option.expected
            raise argparse.ArgumentTypeError(f"{shorten(text)} is not {words}{limit_in_words(text)}") from None

    return convert


def whole_number(least: int) -> Callable[[str], Any]:
    """The type of an argument that no run has, as the number of images to draw."""
    return argument_type(Option("", kind=int, least=least))


def given_options(namespace: argparse.Namespace) -> dict[str, Any]:
    """The options of Config that were given, as it holds them."""
    return {name: OPTIONS[name].convert(value) for name, value in vars(namespace).items() if name in OPTIONS}


def flag_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _default_in_words(option: Option) -> str:
    """The default for the help: one for all, or by model, as "dcgan 32, mlp 100, points 16"."""
    if option.default is not None:
        return in_words(option.default)
    by_model = {model: in_words(recipe[option.name]) for model, recipe in RECIPES.items() if option.name in recipe}
    if len(set(by_model.values())) == 1 and (option.models or by_model.keys() == RECIPES.keys()):
        return next(iter(by_model.values()))
    return ", ".join(f"{model} {words}" for model, words in by_model.items())


def in_words(value: Any) -> str:
    """A value as it would be typed."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def discard_what_cannot_be_written() -> None:
    """Send to the null device what a stream still holds and cannot write, or Python would complain of it as it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (ValueError, AttributeError):  # closed, or none at all
            pass
