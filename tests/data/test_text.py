"""Lines of text: as numbers and back, how a file is read, what is held out, and every mistake in one line."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import cli
from minigan.backends import Backend, get_backend
from minigan.data import Batches, Dataset, load
from minigan.data.kinds import Text, kind_from_json
from minigan.data.text import as_text
from minigan.errors import DataError, MiniganError, OptionError

LETTERS = "abcdé"
LINES = st.lists(st.text(LETTERS, min_size=1, max_size=7), min_size=1, max_size=30)


def written(tmp_path, content, name="own.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


# -- the kind ----------------------------------------------------------------------------------------------------------


@given(LINES, st.integers(7, 9))
def test_lines_go_round(lines, length):
    kind = Text(LETTERS)
    values = kind.numbers(lines, length)
    assert values.shape == (len(lines), length)
    assert kind.lines(values) == lines
    assert kind.to_file(values).decode().splitlines() == lines
    seen = kind.to_floats(Backend(), np.float32)(values.astype(np.float32))
    assert seen.shape == (len(lines), *kind.shape(values)) == (len(lines), length, 6)
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen, np.eye(6)[values])
    np.testing.assert_array_equal(kind.from_floats(seen), values)


@given(st.integers(0, 2**32 - 1))
def test_what_networks_make_becomes_lines(seed):
    """The likeliest letter of each place, and nothing behind an end; networks would see the same."""
    kind, x = Text("abc"), np.random.default_rng(seed).random((9, 6, 4)).astype(np.float32)
    values = kind.from_floats(x)
    for row, likeliest in zip(values.tolist(), x.argmax(axis=2).tolist(), strict=True):
        end = likeliest.index(0) if 0 in likeliest else 6
        assert row == likeliest[:end] + [0] * (6 - end)
    book = Backend()
    np.testing.assert_array_equal(kind.settled(np, x), kind.to_floats(book, np.float32)(values.astype(np.float32)))


def test_batches_are_one_hot(backend):
    data = as_text(["ab", "b", "cab", "a"], length=4, hold_out=0)
    x = get_backend(backend).to_numpy(Batches(data, 4, backend, "float32").next())
    assert sorted(data.kind.lines(data.kind.from_floats(x))) == ["a", "ab", "b", "cab"]
    assert (x.sum(axis=2) == 1).all()


def test_a_kind_is_json():
    kind = Text(LETTERS)
    assert kind_from_json(json.loads(json.dumps(kind.to_json())), (7, 6)) == kind
    assert Dataset("none", kind.no_values((7, 6)), kind=kind).shape == (7, 6)
    for alphabet in ("", "aa", 3):
        with pytest.raises(ValueError, match="unknown properties"):
            kind_from_json({"name": "text", "alphabet": alphabet}, (7, 6))
    of_others = as_text(["cd", "dc"], hold_out=0)
    assert as_text(["ab", "ba"], hold_out=0).digest != of_others.digest, "the same numbers, other letters"
    with pytest.raises(DataError, match="values of 'own' are uint8"):
        Dataset("own", np.array([[6]], np.uint8), kind=kind)


# -- files -------------------------------------------------------------------------------------------------------------


def test_names():
    names = load("names")
    assert (len(names), names.held_out.shape, names.shape) == (4163, (500, 12), (12, 27))
    assert names.kind.alphabet == "abcdefghijklmnopqrstuvwxyz"
    own, held = names.kind.lines(names.values), names.kind.lines(names.held_out)
    assert {"mary", "zachary"} <= {*own, *held}
    assert not set(own) & set(held)
    assert own == sorted(own)
    assert names.notes == ("names: 500 of 4,663 lines are held out, to compare samples with",)
    assert load("names").digest == names.digest, "the same lines are held out each time"


def test_a_file_is_read_as_lines(tmp_path):
    path = written(tmp_path, "\ufeffzoë\r\n ann \nbob\n\n \n".encode())
    data = load(path, hold_out=0)
    assert data.kind.lines(data.values) == ["zoë", "ann", "bob"]
    assert data.kind.alphabet == "abnozë"
    assert data.shape == (4, 7), "one place for the end of the longest line"
    assert data.held_out is None
    assert data.notes == (f"{path}: spaces around 1 lines are left out",)


@pytest.mark.parametrize("name", ["words.lst", "words", "WORDS.CSV", "words.dat", "a.b/words", "words.txt", "idx.words"])
def test_a_text_of_any_name_is_read_as_lines(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    data = load(written(tmp_path, "zoë, the first\nann\n" if name != "words" else "ж" * 31 + "\nann\n", name), hold_out=0)
    assert data.kind.name == "text"
    assert data.kind.lines(data.values)[1] == "ann"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("words.lst", "one\nzoë\n".encode("latin-1"), "is not UTF-8 text: line 2 holds the byte 0xeb; save it in UTF-8"),
        ("words.lst", "one\n" * 20_000 + "zo\0", r"line 20,001 of .* holds the control character U\+0000: remove it"),
        ("words.lst", "one\ntwo\n".encode("utf-16"), "is no IDX file: its magic number is fffe6f00.* UTF-8 text or WAV file"),
        ("words.dat", b"\x7fELF\2\1\1", "is no IDX file: its magic number is 7f454c46"),
        ("words", b"", "magic number is missing"),
        ("words.npy", "one\ntwo\n", "is not a readable .npy file"),
        ("words.npz", "one\ntwo\n", "is not a readable .npz file"),
        ("words.wav", "one\ntwo\n", "WAV"),
        ("words.png", "one\ntwo\n", "is a single image"),
        ("train-images-idx3-ubyte", "<html>\n", "is no IDX file: its magic number is 3c68746d"),
        ("words", b"\x93NUMPY", "is not a readable .npy file"),
    ],
)
def test_what_is_no_text_is_told_as_what_it_is(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as error:
        load(written(tmp_path, content, name))
    assert len(str(error.value)) <= 300 + len(str(tmp_path))


@pytest.mark.parametrize(("lines", "options", "shape", "held"), [
    (["ab"] * 7, {}, (3, 3), 0),
    (["ab"] * 16, {}, (3, 3), 2),
    (["ab"] * 16, {"hold_out": 9, "length": 2}, (2, 3), 9),
    (["ab"] * 16, {"alphabet": "xbay", "length": 30}, (30, 5), 2),
    (["a" * 32] * 8, {}, (32, 2), 1),
    (["a" * 40] * 8, {"length": 41}, (41, 2), 1),
])  # fmt: skip
def test_places_letters_and_what_is_held_out(lines, options, shape, held):
    data = as_text(lines, **options)
    assert data.shape == shape
    assert (0 if data.held_out is None else len(data.held_out)) == held
    assert len(data) == len(lines) - held


MISTAKES = {
    "empty": (b"", {}, "holds no lines with letters"),
    "only empty lines": (b"\n \n\n", {}, "holds no lines with letters"),
    "empty lines": (b"ann\n\nbob\n\neve\n", {}, "line 2 of .* is empty, one of 2: expected one sample a line; take them out"),
    "not UTF-8": ("one\nzoë\n".encode("latin-1"), {}, "is not UTF-8 text: line 2 holds the byte 0xeb"),
    "control characters": (b"ab\nc\0d\n", {}, r"line 2 of .* holds the control character U\+0000: remove it"),
    "too long": ("\n".join(["a", "b" * 33, "c" * 35]), {}, "has 2 lines of more than 32 letters, the longest line 3 with 35"),
    "longer than told": ("abc\nab\n", {"length": 2}, "has 1 line of more than 2 letters, the longest line 1 with 3"),
    "beyond the alphabet": (
        "ab\nabc\n",
        {"alphabet": "ab"},
        "line 2 of .* holds 'c', which is not in the alphabet 'ab': name one that has it",
    ),
    "too many letters": ("\n".join(map(chr, range(0x4E00, 0x4F00))), {}, "holds 256 different letters: expected at most 255"),
    "no alphabet": ("ab\n", {"alphabet": "aab"}, "alphabet is 'aab': expected 1 to 255 different letters"),
    "no length": ("ab\n", {"length": 0}, "length is 0"),
    "nothing left": ("ab\nba\n", {"hold_out": 2}, "hold_out is 2, and .* has 2 lines: choose fewer"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(tmp_path, name):
    content, options, message = MISTAKES[name]
    with pytest.raises((DataError, OptionError), match=message) as error:
        load(written(tmp_path, content), **options)
    assert len(str(error.value)) <= 300
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 5}, "length is 5, but digits holds images: leave it out"),
        ({"alphabet": "ab"}, "alphabet is 'ab', but digits holds images"),
        ({"hold_out": 0}, "hold_out is 0, but digits holds images"),
    ],
)
def test_options_of_text_are_for_text(options, message):
    with pytest.raises(MiniganError, match=message):
        load("digits", **options)
    with pytest.raises(DataError, match="names holds text: leave it out"):
        load("names", image_size=8)


@pytest.mark.parametrize("words", [["--length", "4"], ["--alphabet", "abc"], ["--alphabet", "aa"], ["--model", "dcgan"]])
def test_the_command_says_it_in_one_line(tmp_path, capsys, words):
    path = written(tmp_path, "alice\nbob\n")
    assert cli.main(["train", "--data", path, "--out", str(tmp_path / "run"), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minigan: error: ")
    assert error.count("\n") == 1
    assert len(error) <= 320
    assert not (tmp_path / "run").exists()
