"""Damage to the three files of a run: told in one line before any work, or passed over where nothing is lost by that.

Each damage meets `diagnose`, `sample`, `explain` and `train --resume`. A command that refuses leaves all files as they were.
"""

import json
import math
import os
import shutil

import numpy as np
import pytest
from damage import damaged
from safetensors.numpy import save as to_bytes

import minigan as mg
from minigan import cli
from minigan.errors import CheckpointError
from minigan.training import CHECKPOINT, CONFIG, LOG, Config, checkpoint, plots, read_log, start_run
from minigan.training.log import parse_json

COMMANDS = ("diagnose", "sample", "explain", "resume")


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    for name in ("save_samples", "save_curves", "save_animation_of_files"):
        monkeypatch.setattr(plots, name, lambda *args: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    settings = Config(data="ring", hidden=(4,), latent_dim=2, batch_size=8, steps=20, log_every=2, seed=1, backend="textbook")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_samples", "save_curves", "save_animation_of_files"):
            patch.setattr(plots, name, lambda *args: None)
        start_run(settings, folder, log=lambda text: None).train(progress=False)
    return folder


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def check(folder, capsys, refusing, words=""):
    """Each command succeeds; one in `refusing` says in one line, with these words, why it does not, and changes nothing."""
    given = {
        "diagnose": ["diagnose", "run"],
        "sample": ["sample", "run", "-n", "2", "--backend", "textbook", "--out", "some.npy"],
        "explain": ["explain", "run", "--quiet", "--batch-size", "2", "--out", "page.html"],
        "resume": ["train", "--resume", "--out", "run", "--steps", "24", "--quiet"],
    }
    for command in COMMANDS:
        if command == "explain" and command not in refusing:
            continue  # a page takes seconds
        before = contents(folder)
        capsys.readouterr()
        status, err = cli.main(given[command]), capsys.readouterr().err
        assert status == (2 if command in refusing else 0), f"{command}: {err}"
        if status:
            assert err.startswith("minigan: error: ")
            assert err.count("\n") == 1, err
            assert len(err) <= 301, err
            assert words in err, err
            assert contents(folder) == before


# -- log.csv ---------------------------------------------------------------------------------------------------------------


def cell(text, column="loss_d", row=2):
    """Put the text in one cell."""

    def change(data):
        lines = [line.split(",") for line in data.decode().splitlines()]
        lines[row][lines[0].index(column)] = text
        return "".join(",".join(cells) + "\n" for cells in lines).encode()

    return change


def header(change):
    return lambda data: change(data.split(b"\n", 1)[0]) + b"\n" + data.split(b"\n", 1)[1]


HARMLESS_LOGS = {
    "BOM": lambda data: b"\xef\xbb\xbf" + data,
    "CR": lambda data: data.replace(b"\n", b"\r"),
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "quoted": lambda data: b"\n".join(b'"' + line.replace(b",", b'","') + b'"' for line in data.splitlines()) + b"\n",
    "blank lines": lambda data: data.replace(b"\n", b"\n\n"),
    "rows out of order": lambda data: b"\n".join([(lines := data.splitlines())[0], *lines[:0:-1]]) + b"\n",
    "rows twice": lambda data: data + data.split(b"\n", 1)[1],
    "cut short": lambda data: data + b"22,0,1.0",
    "cut short by zeros": lambda data: data + bytes(500),
    "cut short in a number": lambda data: data[: data.rstrip().rindex(b",") - 4],
    "no end": lambda data: data.rstrip(b"\n"),
}


@pytest.mark.parametrize("name", HARMLESS_LOGS)
def test_a_log_that_can_be_read_is(name, folder, trained, capsys):
    path = folder / LOG
    path.write_bytes(HARMLESS_LOGS[name](path.read_bytes()))
    check(folder, capsys, refusing=())
    rows, whole = read_log(path), read_log(trained / LOG)
    if name == "cut short in a number":
        whole = whole[:-1]
    assert rows[: len(whole)] == whole, "no row is lost by the resumed run"
    assert [row["step"] for row in rows][-2:] == ["22", "24"]


BAD_LOGS = {  # (the damage, words of the message)
    "semicolons": (lambda data: data.replace(b",", b";"), "step among them, between commas"),
    "tabs": (lambda data: data.replace(b",", b"\t"), "step among them, between commas"),
    "UTF-16": (lambda data: data.decode().encode("utf-16"), "no log of a run"),
    "UTF-32": (lambda data: data.decode().encode("utf-32"), "no log of a run"),
    "no header": (lambda data: data.split(b"\n", 1)[1], "no log of a run"),
    "another header": (header(lambda line: b"time,value"), "no log of a run"),
    "no step": (header(lambda line: line.replace(b"step", b"at")), "no log of a run"),
    "a column twice": (header(lambda line: line.replace(b"loss_g", b"loss_d")), "'loss_d' 2 times"),
    "a column without a name": (header(lambda line: line.replace(b"loss_g", b"")), "'' 1 times"),
    "a column less": (header(lambda line: line.rpartition(b",")[0]), "line 2"),
    "a column more": (header(lambda line: line + b",note"), "line 2"),
    "NUL": (lambda data: data.replace(b"\n4,", b"\n4\0,"), "line 3"),
    "NULs": (lambda data: bytes(len(data)) + b"\n", "no log of a run"),
    "a picture": (lambda data: b"\x89PNG\r\n\x1a\n" + os.urandom(500), "no log of a run"),
    "a large cell": (cell("1" * 200_000), "line 3"),
    "a large quoted cell": (cell('"' + "x" * 200_000 + '"'), "line 3"),
    "a large header": (header(lambda line: b"x" * 200_000), "no log of a run"),
    "an open quote": (cell('"1.0'), "line "),
    "words": (cell("none"), "line 3: 'loss_d' is 'none'"),
    "words in the last row": (cell("none", row=10), "line 11"),
    "long words": (cell("none" * 1000), "line 3"),
    "words for a step": (cell("four", "step"), "line 3: step is 'four'"),
    "a negative step": (cell("-4", "step"), "line 3"),
    "a fraction of a step": (cell("4.0", "step"), "line 3"),
    "a step of 400 digits": (cell("4" * 400, "step"), "line 3"),
    "an exponent for a step": (cell("1e300", "step"), "line 3"),
    "no step in a row": (cell("", "step"), "line 3"),
    "two numbers": (cell("1.0 2.0"), "line 3"),
    "a decimal comma": (cell("1,5"), "line 3"),
    "a row too short": (lambda data: data.replace(b"\n4,", b"\n4\n4,", 1), "line 3"),
}


@pytest.mark.parametrize("name", BAD_LOGS)
def test_a_log_that_cannot_be_read_is_told_and_kept(name, folder, capsys):
    change, words = BAD_LOGS[name]
    (folder / LOG).write_bytes(change((folder / LOG).read_bytes()))
    check(folder, capsys, refusing=("diagnose", "resume"), words=words)


def test_a_row_cut_short_is_dropped_only_where_the_file_ends(folder, capsys):
    text = (folder / LOG).read_text()
    (folder / LOG).write_text(text.replace("\n4,0,", "\n4,"))
    check(folder, capsys, refusing=("diagnose", "resume"), words="line 3: it has")


def test_rows_after_the_checkpoint_are_dropped_whatever_they_hold(folder, capsys):
    with open(folder / LOG, "a") as file:
        file.write("22,none\n23,1,2\n")
    check(folder, capsys, refusing=("diagnose",), words="line 12")
    assert [row["step"] for row in read_log(folder / LOG)][-2:] == ["22", "24"]


def test_a_column_of_the_users_is_not_lost(folder, capsys):
    lines = (folder / LOG).read_text().splitlines()
    (folder / LOG).write_text("".join(f"{line},{'note' if index == 0 else index}\n" for index, line in enumerate(lines)))
    check(folder, capsys, refusing=("resume",), words="'note'")


def test_a_header_alone(folder, capsys):
    (folder / LOG).write_text((folder / LOG).read_text().partition("\n")[0] + "\n")
    check(folder, capsys, refusing=())


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_log(data, folder, capsys):
    (folder / LOG).write_bytes(data)
    check(folder, capsys, refusing=("diagnose",), words="no column step")


@pytest.mark.parametrize("file", [LOG, CONFIG, CHECKPOINT])
@pytest.mark.parametrize("kind", ["folder", "pipe", "unreadable"])
def test_no_regular_file(file, kind, folder, capsys):
    path = folder / file
    if kind == "unreadable":
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
    else:
        path.unlink()
        path.mkdir() if kind == "folder" else os.mkfifo(path)
    refusing = ("sample", "explain", "resume") if file == CHECKPOINT else ("diagnose", "resume")
    check(folder, capsys, refusing, words=str(file))


# -- config.json -----------------------------------------------------------------------------------------------------------


def setting(**changes):
    return lambda data: json.dumps({**json.loads(data), **changes}).encode()


BAD_SETTINGS = {  # (the damage, words of the message)
    "nothing": (lambda data: b"", "damaged"),
    "cut": (lambda data: data[:-20], "damaged"),
    "NULs": (lambda data: bytes(len(data)), "damaged"),
    "UTF-16": (lambda data: data.decode().encode("utf-16"), "not UTF-8"),
    "Latin-1": (lambda data: data.replace(b"ring", b"r\xefng"), "not UTF-8"),
    "deep lists": (lambda data: b"[" * 100_000, "nested too deeply"),
    "deep and closed": (lambda data: b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "deep objects": (lambda data: b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    "a huge number": (lambda data: data.replace(b'"seed": 1', b'"seed": ' + b"9" * 5000), "5,000 digits"),
    "a huge fraction": (lambda data: data.replace(b'"seed": 1', b'"seed": 1e999'), "1e999"),
    "NaN": (setting(lr=math.nan), "NaN"),
    "infinity": (setting(lr=-math.inf), "-Infinity"),
    "a name twice": (lambda data: b'{"seed": 1,' + data.lstrip()[1:], "names 'seed' twice"),
    "half a pair": (lambda data: data.replace(b'"ring"', b'"\\ud800"'), "surrogate"),
    "a list": (lambda data: b"[1, 2]", "expected settings by name"),
    "a number": (lambda data: b"1", "expected settings by name"),
    "null": (lambda data: b"null", "expected settings by name"),
    "two objects": (lambda data: data + data, "damaged"),
    "empty": (lambda data: b"{}", ""),
    "one missing": (lambda data: json.dumps({k: v for k, v in json.loads(data).items() if k != "lr"}).encode(), "lr"),
    "null for a number": (setting(seed=None), "seed"),
    "true for a number": (setting(log_every=True), "log_every"),
    "a text for a number": (setting(lr="0.1"), "lr"),
    "a list for a number": (setting(lr=[0.1]), "lr"),
    "an object for a number": (setting(lr={"a": 1}), "lr"),
    "out of range": (setting(lr=-1.0), "lr"),
    "a long text": (setting(lr="x" * 100_000), "lr"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_settings_that_cannot_be_read_are_told(name, folder, capsys):
    change, words = BAD_SETTINGS[name]
    (folder / CONFIG).write_bytes(change((folder / CONFIG).read_bytes()))
    check(folder, capsys, refusing=("diagnose", "resume"), words=words)


def test_a_mark_before_the_settings_is_read_over(folder, capsys):
    (folder / CONFIG).write_bytes(b"\xef\xbb\xbf" + (folder / CONFIG).read_bytes())
    check(folder, capsys, refusing=())


# -- checkpoint.safetensors, its digest made anew --------------------------------------------------------------------------


def info_with(**changes):
    return lambda arrays, info: (arrays, {**info, **changes})


def info_without(*names):
    return lambda arrays, info: (arrays, {name: value for name, value in info.items() if name not in names})


def config_with(**changes):
    return lambda arrays, info: (arrays, {**info, "config": {**info["config"], **changes}})


def array_with(change, name="generator.0.weight"):
    return lambda arrays, info: ({**arrays, name: change(arrays[name])}, info)


def spoilt(value):
    def change(array):
        array = array.copy()
        array.flat[0] = value
        return array

    return change


ENTRIES = ("step", "data", "random", "config", "shape", "dataset")
WRONG = {
    "step": ["x", -1, 1e300, 1.5, True, None, [3], 2**70, 19],
    "data": [None, [], {}, {"epoch": 0}, {"epoch": -1, "batch": 0}, {"epoch": 0, "batch": 10**9}, {"epoch": 0, "batch": "x"}],
    "random": [None, [], {}, {"noise": 1}, {"noise": {}, "generator": {}, "discriminator": {}}],
    "config": [None, [], {}, "x", {"lr": 1}],
    "shape": [None, [], "x", [0], [-1], [2.5], [True], [3], [2, 2], [2**40], [1] * 9, {"a": 1}, [28, 28, 1]],
    "dataset": [None, 1, [], "x"],
}
# Sampling needs neither the place in the data nor the random state nor the data themselves.
ONLY_RESUMED = {
    *(f"step {value!r}" for value in (19,)),
    *(f"data {value!r}" for value in ({"epoch": 0, "batch": 10**9},)),
    *(f"random {value!r}" for value in WRONG["random"][2:]),
    "dataset 'x'",
}
BAD_CHECKPOINTS = {
    **{f"no {name}": info_without(name) for name in ENTRIES},
    "nothing": info_without(*ENTRIES),
    **{f"{name} {value!r}"[:60]: info_with(**{name: value}) for name, values in WRONG.items() for value in values},
    "config with another entry": config_with(other=1),
    "config of no run": lambda arrays, info: (
        arrays,
        {**info, "config": {k: v for k, v in info["config"].items() if k != "lr"}},
    ),
    "config with a text for lr": config_with(lr="x"),
    "config with another model": config_with(model="dcgan"),
    "config with other sizes": config_with(hidden=[5]),
    "config with another dtype": config_with(dtype="float64"),
    "config of a run from Python": config_with(made_from="Python"),
    "NaN": array_with(spoilt(math.nan)),
    "infinite": array_with(spoilt(math.inf)),
    "complex": array_with(lambda a: a.astype(np.complex64)),
    "whole": array_with(lambda a: a.astype(np.int32)),
    "truth": array_with(lambda a: a.astype(bool)),
    "bytes": array_with(lambda a: a.astype(np.uint8)),
    "half": array_with(lambda a: a.astype(np.float16)),
    "transposed": array_with(lambda a: a.T.copy()),
    "flat": array_with(np.ravel),
    "empty": array_with(lambda a: a[:0]),
    "a negative count": array_with(lambda a: a - 1000, "optimizer_generator.steps"),
    "a count with a fraction": array_with(lambda a: a.astype(np.float32), "optimizer_generator.steps"),
    "an array less": lambda arrays, info: ({k: v for k, v in arrays.items() if k != "generator.0.weight"}, info),
    "an array more": lambda arrays, info: ({**arrays, "other": np.zeros(3, np.float32)}, info),
    "no arrays": lambda arrays, info: ({}, info),
}


@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_a_signed_checkpoint_that_no_run_wrote_is_refused(name, folder, capsys):
    path = folder / CHECKPOINT
    checkpoint.save(path, *BAD_CHECKPOINTS[name](*checkpoint.load(path)))
    if name == "half":  # floats of any precision can be opened up
        check(folder, capsys, ("sample", "resume"), words=CHECKPOINT)
    elif name == "config with another dtype":
        check(folder, capsys, ("sample", "resume"))
    elif name in ONLY_RESUMED:
        check(folder, capsys, ("resume",))
    else:
        check(folder, capsys, ("sample", "explain", "resume"))


def test_a_refused_checkpoint_leaves_the_game_as_it_was(tmp_path):
    """In Python the game is the user's: nothing of it may have been replaced."""

    def game():
        pair = [
            mg.Sequential([mg.Dense(4), mg.Dropout(0.5), mg.Dense(n)], (2,), "textbook", seed=(0, i))
            for i, n in enumerate([2, 1])
        ]
        return mg.GAN(*pair)

    points = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    mg.Run(game(), points, tmp_path / "run", steps=3, batch_size=8, log=lambda text: None).train(progress=False)
    path = tmp_path / "run" / CHECKPOINT
    arrays, info = checkpoint.load(path)
    broken = json.loads(json.dumps(info["random"]))
    broken["discriminator"]["1"]["state"]["state"] = "x"  # the last that is set
    fractional = json.loads(json.dumps(info["random"]))
    fractional["noise"]["uinteger"] = 0.5
    unnamed = {name: value for name, value in info["config"].items() if name != "steps"}
    for changes in (
        {"random": broken},
        {"random": fractional},
        {"data": {"epoch": 0, "batch": 6}},
        {"step": 4},
        {"config": unnamed},
        {"config": {**info["config"], "batch_size": "x"}},
    ):
        checkpoint.save(path, arrays, {**info, **changes})
        own = game()
        before, random = own.state_dict(), own.random_state
        with pytest.raises(mg.MiniganError):
            mg.Run.resume(tmp_path / "run", game=own, data=points)
        after = own.state_dict()
        assert all(np.array_equal(before[name], after[name]) for name in before)
        assert own.random_state == random


# -- checkpoint.safetensors, byte by byte ----------------------------------------------------------------------------------


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def metadata(text):
    return to_bytes({"a": np.zeros(2, np.float32)}, metadata={"minigan": text})


RECORD = {"format": 2, "digest": "0", "info": "{}"}
DEEP = "[" * 100_000 + "]" * 100_000
BAD_FILES = {
    "nothing": b"",
    "a header of 2^63 bytes": (2**63).to_bytes(8, "little") + b"{}",
    "a header of 99 MB": (99_000_000).to_bytes(8, "little") + b"{}",
    "deep header": safetensors(DEEP.encode()),
    "a list for a header": safetensors([]),
    "a huge shape": safetensors({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]}}, bytes(4)),
    "offsets beyond": safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**60]}}, bytes(4)),
    "negative offsets": safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(4)),
    **{
        dtype: safetensors(
            {
                "__metadata__": {"minigan": json.dumps(RECORD)},
                "a": {"dtype": dtype, "shape": [4], "data_offsets": [0, 4 * size]},
            },
            bytes(4 * size),
        )
        for dtype, size in {"BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U64": 8, "C64": 8, "X9": 1}.items()
    },
    "deep metadata": metadata(DEEP),
    "deep info": metadata(json.dumps({**RECORD, "info": DEEP})),
    "metadata of a list": metadata("[]"),
    "metadata of a number": metadata("1"),
    "metadata of a text": metadata('"x"'),
    "metadata with NaN": metadata('{"format": NaN}'),
    "metadata with a huge number": metadata('{"format": ' + "9" * 5000 + "}"),
    "metadata that is empty": metadata("{}"),
    "a digest that is no text": metadata(json.dumps({**RECORD, "digest": 1})),
    "info that is no text": metadata(json.dumps({**RECORD, "info": {}})),
    "half a pair": metadata(json.dumps({**RECORD, "info": "\ud800"})),
    "a long format": metadata(json.dumps({**RECORD, "format": "x" * 10_000})),
    "a zip": b"PK\x03\x04" + bytes(200),
    "pickle": b"\x80\x04cos\nsystem\n" + bytes(50),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_checkpoint_is_told(name, folder, capsys):
    (folder / CHECKPOINT).write_bytes(BAD_FILES[name])
    check(folder, capsys, ("sample", "explain", "resume"), words=CHECKPOINT)


# -- damage at random ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [LOG, CONFIG, CHECKPOINT])
def test_random_damage_is_told_in_one_line(file, folder, capsys):
    whole = contents(folder)
    rng = np.random.default_rng(0)
    for _ in range(25):
        _, spoilt_data = damaged(whole[file], rng)
        for name, data in whole.items():
            (folder / name).write_bytes(spoilt_data if name == file else data)
        for arguments in (["diagnose", "run"], ["train", "--resume", "--out", "run", "--steps", "22", "--quiet"]):
            before = contents(folder)
            capsys.readouterr()
            status, err = cli.main(arguments), capsys.readouterr().err
            assert status in (0, 2)
            if status:
                assert err.count("\n") == 1
                assert contents(folder) == before


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', "[1e400]", "[-1e400]", "NaN", "9" * 41, DEEP, '"\\udc00\\ud800"', "", "{"]
)
def test_json_that_says_nothing_definite(text):
    with pytest.raises(ValueError):  # noqa: PT011 (each has its own words)
        parse_json(text)


def test_json_keeps_what_a_path_may_hold():
    assert parse_json(json.dumps("é\udcff")) == "é\udcff"
    assert parse_json(str(2**128 - 1)) == 2**128 - 1


def test_state_of_another_game_names_the_first_difference():
    with pytest.raises(CheckpointError, match="'a' is missing in it, and float32"):
        checkpoint.check_state({}, {"a": np.zeros(2, np.float32)}, "x")
