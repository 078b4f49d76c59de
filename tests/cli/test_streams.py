"""What is printed: where a stream is closed or full, the encoding lacks a character, or a name is not UTF-8."""

import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hostile import VALUES
from hypothesis import given
from hypothesis import strategies as st

from minigan import cli
from minigan.cli.parser import one_line
from minigan.errors import LONGEST_MESSAGE, near_name, nearest_name, shorten

RAW = b"run\xff\xfe"  # a name that is not UTF-8
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")


def shell(command, folder, **environment):
    """The finished process of a shell command, in which `minigan` is this one."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LC_", "LANG"))}
    own["PYTHONPATH"] = str(Path(cli.__file__).parents[2])
    line = f'minigan() {{ {shlex.quote(sys.executable)} -m minigan "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", line], capture_output=True, cwd=folder, env={**own, **environment})


@pytest.mark.parametrize("command", ["info", "explain Dense"])
def test_closed_output_is_no_error(command, tmp_path):
    result = shell(f"minigan {command} >&- 2>&- <&-; echo $?", tmp_path)
    assert result.stdout == b"0\n"


@needs_full
@pytest.mark.parametrize(("command", "buffered"), [("info", ""), ("--help", ""), ("--help", "1"), ("explain Dense", "1")])
def test_full_output_is_one_line(command, buffered, tmp_path):
    result = shell(f"minigan {command} > /dev/full", tmp_path, PYTHONUNBUFFERED=buffered)
    assert result.returncode == cli.USER_ERROR
    assert result.stderr == b"minigan: error: the output: No space left on device\n"


@needs_full
@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_an_error_that_cannot_be_told_still_has_its_status(where, tmp_path):
    result = shell(f"minigan trian {where}; echo $? >&1", tmp_path)
    assert result.stdout == b"2\n"


def test_nothing_printed_lands_in_a_file_that_takes_the_number_of_a_closed_stream(tmp_path):
    code = "import os, sys; from minigan.cli.entry import prepare_streams; prepare_streams(); f = open('f', 'wb')"
    shell(f"{shlex.quote(sys.executable)} -c \"{code}; os.write(1, b'x'); os.write(2, b'y'); f.close()\" >&- 2>&-", tmp_path)
    assert (tmp_path / "f").read_bytes() == b""


@pytest.mark.parametrize("encoding", ["ascii", *(pytest.param(name, marks=pytest.mark.slow) for name in ("latin-1", "utf-8"))])
def test_any_encoding_of_the_terminal(encoding, tmp_path):
    for command, status in (("explain 'σ🙂×'", 2), ("explain Dense", 0), ("gradcheck --help", 0), ("train --loss '…'", 2)):
        result = shell(f"minigan {command}", tmp_path, PYTHONIOENCODING=encoding)
        assert result.returncode == status
        assert b"Traceback" not in result.stderr
        assert len(result.stderr.decode(encoding).rstrip("\n")) <= LONGEST_MESSAGE
        result.stdout.decode(encoding)


@pytest.mark.slow
def test_names_that_are_not_utf8(tmp_path):
    """A run in such a folder, of data with such a name, is trained, gone on with, drawn from, judged and opened."""
    name = os.fsdecode(RAW)
    train = "minigan train --steps 1 --width 4 --latent-dim 4 --batch-size 4 --backend numpy --quiet"
    np.save(tmp_path / os.fsdecode(b"d\xff.npy"), np.arange(4096, dtype=np.uint8).reshape(64, 8, 8, 1))
    run, file = "$'run\\xff\\xfe'", "$'d\\xff.npy'"
    for command, encoding in (
        (f"{train} --data {file} --out {run}", "utf-8"),
        (f"minigan train --resume --steps 2 --quiet --out {run}", "ascii"),
        (f"minigan sample {run} -n 2 --out {run}.npy", "utf-8"),
        (f"minigan diagnose {run}", "ascii"),
        (f"minigan diagnose --json {run} >&-", "utf-8"),
        (f"minigan explain {run} --batch-size 2 --quiet --out {run}.html", "ascii"),
    ):
        result = shell(command, tmp_path, PYTHONIOENCODING=encoding)
        assert (result.returncode, result.stderr) == (0, b""), command
    assert {path.name for path in tmp_path.iterdir()} >= {name, f"{name}.npy", f"{name}.html"}


@pytest.mark.parametrize("words", [["--out", ""], ["--out", "  "], ["--data", "\n"], ["--data-dir="], ["--out", "a\0b"]])
def test_an_empty_variable_of_a_script_is_refused(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *words]) == cli.USER_ERROR
    assert f"argument {words[0].rstrip('=')}: " in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_warning_is_one_line(tmp_path, capsys):
    """In one process a warning is told once, and in words alone, without a file and a line of code."""
    words = f"train --steps 2 --width 2 --no-extra-conv --penalty r1=1 --backend textbook --out {tmp_path / 'run'}"
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        showing = warnings.showwarning
        assert cli.main(words.split()) == 0
        assert warnings.showwarning is showing
    told = [line for line in capsys.readouterr().err.splitlines() if "warning" in line.lower()]
    assert len(told) == 1
    assert re.search(r"(^|\r *)minigan: warning: BatchNorm \(layer 3\) of D mixes the samples of a batch", told[0])
    assert "penalty.py" not in told[0]


# -- messages ------------------------------------------------------------------------------------------------------------


@given(st.one_of(st.text(max_size=400), st.sampled_from(VALUES)), st.sampled_from(["ascii", "latin-1", "utf-8", "cp1252"]))
def test_a_message_is_one_line_that_the_terminal_shows_as_it_is(text, encoding):
    line = one_line(f"minigan: error: {text}: do this", encoding)
    assert len(line) <= LONGEST_MESSAGE
    assert line.isprintable()
    assert line.encode(encoding)
    assert line.startswith("minigan: error: ")
    assert line.endswith(": do this"), "what to do is not cut off"


@pytest.mark.parametrize(
    ("typed", "known", "meant"),
    [
        *(("trian", cli.COMMANDS, "train"), ("Train", cli.COMMANDS, "train"), ("sampel", cli.COMMANDS, "sample")),
        *(
            ("--learning-rate", ["--lr", "--log-every", "--latent-dim"], None),
            ("--batchsize", ["--batch-size"], "--batch-size"),
        ),
        *(("--x", ["--n", "--lr"], None), ("relu", ["ReLU", "LeakyReLU"], "ReLU"), ("x" * 5000, ["x"], None)),
        *(("measure", cli.COMMANDS, None), ("gan", ["mlp", "wasserstein"], None), ("", ["a"], None)),
    ],
)
def test_only_what_is_near_is_taken_to_be_meant(typed, known, meant):
    assert near_name(typed, known) == meant
    assert ("did you mean" in nearest_name(typed, known)) == (meant is not None)


def test_values_that_cannot_be_printed_are_shortened():
    class Own:
        def __repr__(self):
            raise ValueError

    for value in (10**5000, -(10**5000), Own(), "x" * 999, b"\xff" * 999, [Own()]):
        assert 3 < len(shorten(value)) <= 60
