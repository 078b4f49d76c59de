"""Every option of every command, as the parser has them, with each of the hostile values: refused in one line, or taken.

What would be heavy is left out: here it is shown how values are read, and that sizes are refused before they are allocated.
"""

import argparse

import numpy as np
import pytest
from hostile import VALUES

from minigan import Sequential, cli
from minigan import evaluate as evaluation
from minigan.cli import entry, explain, export, sample
from minigan.training import Run

PARSER = entry._parser()
COMMANDS = PARSER._subparsers._group_actions[0].choices
NEEDED = {
    "train": ["--data", "own.npy", "--batch-size", "4", "--backend", "numpy"],
    "sample": ["run", "-n", "2", "--out", "new.npy"],
    "diagnose": ["run"],
    "export": ["run", "--to", "torch", "--overwrite"],
    "evaluate": ["run", "--samples", "12", "--quiet"],
}
ALSO = {("train", "hidden"): ["--model", "mlp"], ("train", "resume"): ["--out", "run"]}
DISK = {"/", "//", "..", "/etc"}  # whose images are looked for in all of it
HEAVY = {"data": DISK, "against": DISK, "width": {"1_000"}}  # a width of 40 million parameters
OPTIONS = [
    (command, action)
    for command, parser in COMMANDS.items()
    for action in parser._actions
    if not isinstance(action, argparse._HelpAction)
]


def words(command, action, value):
    """The command with this value of that option, and what it needs besides."""
    needed = [*NEEDED.get(command, []), *ALSO.get((command, action.dest), [])]
    if not action.option_strings:
        return [command, *needed[1:], value]
    if action.nargs == 0:
        return [command, *needed, f"{action.option_strings[0]}={value}"]
    return [command, *needed, action.option_strings[-1], value]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "run"
    options = "--steps 1 --width 4 --batch-size 16 --latent-dim 8 --backend numpy --quiet --out"
    assert cli.main(["train", *options.split(), str(folder)]) == 0
    return folder


@pytest.fixture
def folder(tmp_path, trained, monkeypatch):
    """A folder with a run and with data, where nothing is trained, checked or drawn."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(trained)
    np.save("own.npy", np.zeros((8, 8, 8, 1), np.uint8))
    forward = Sequential.forward
    few = 2**16  # values in the output of a network that is still run

    def quick(net, x, train=False):
        return forward(net, x, train) if max(x.size, net.num_params) < few else (x, [])

    monkeypatch.setattr(Sequential, "forward", quick)
    monkeypatch.setattr(entry, "_parser", lambda: PARSER)
    monkeypatch.setattr(Run, "train", lambda run, progress=True: True)
    for command in (export, sample):
        monkeypatch.setattr(command, "_write", lambda *parts: None)
    monkeypatch.setattr(evaluation, "_measured", lambda *parts: [evaluation.Column("real", 1, 1, {})])
    monkeypatch.setattr(explain, "_explain_step", lambda *parts: 0)
    monkeypatch.setattr("minigan.checks.suite.check_all", lambda backend: iter(()))
    return tmp_path


def check(arguments, capsys):
    """One command in this process: status 0 and silence, or status 2 and one line that can be read."""
    try:
        status = cli.main(arguments)
    except SystemExit as stop:  # the help
        status = stop.code
    _, err = capsys.readouterr()
    if status == 0:
        assert not err, arguments
    else:
        assert status == cli.USER_ERROR, arguments
        assert err.startswith("minigan: error: "), arguments
        assert err.count("\n") == 1, arguments
        assert len(err.rstrip("\n")) <= 300, arguments
        assert err.rstrip("\n").isprintable(), arguments


def test_the_rest_of_each_command_is_taken(folder):
    for command in COMMANDS:
        assert cli.main([command, *NEEDED.get(command, [])]) == 0


@pytest.mark.parametrize(("command", "action"), OPTIONS, ids=lambda part: getattr(part, "dest", part))
def test_an_option_takes_a_value_or_refuses_it_in_one_line(command, action, folder, capsys):
    before = {path.name for path in folder.iterdir()}
    for value in VALUES[len(action.dest) % 2 :: 2]:  # half of them for each option; the campaign draws from all
        if value not in HEAVY.get(action.dest, ()):
            check(words(command, action, value), capsys)
    assert {path.name for path in folder.iterdir()} - before <= {"explain.html"}, "nothing is written for a refused value"


@pytest.mark.parametrize("where", ["the command", "behind two dashes", "behind an option without a value", "an option"])
def test_words_that_are_no_options(where, folder, capsys):
    for value in VALUES:
        arguments = {
            "the command": [value],
            "behind two dashes": ["train", "--data", "own.npy", "--", value],
            "behind an option without a value": ["train", "--steps", "--lr", value],
            "an option": ["train", f"--{value}"],
        }
        check(arguments[where], capsys)
