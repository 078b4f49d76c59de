"""Files are written whole or not at all, whatever their names."""

import os
import stat

import pytest

from minigan import files
from minigan.errors import MiniganError
from minigan.files import remove_parts, write_atomically


@pytest.mark.parametrize("name", ["a", "a" * 240, "a" * 241, "a" * 255, "ä" * 127, "日" * 85, "😀" * 63, ".hidden", "a b.png"])
def test_names_of_every_length(tmp_path, name):
    for data in (b"one", b"two"):
        write_atomically(tmp_path / name, data)
        assert (tmp_path / name).read_bytes() == data
    assert os.listdir(tmp_path) == [name]


def test_names_that_are_not_utf8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe" + b"\xe9" * 250)
    write_atomically(path, b"one")
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xfe" + b"\xe9" * 250]


@pytest.mark.parametrize("name", ["a" * 256, "a\0b", "gone/a", "folder", "pipe"])
def test_what_cannot_be_written_is_told_in_one_line(tmp_path, name):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MiniganError, match="cannot write "):
        write_atomically(tmp_path / name, b"one")
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode), "nor does a device become a file"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_what_fails_half_way_leaves_the_old_file_alone(tmp_path, monkeypatch, name, error):
    write_atomically(tmp_path / "a", b"old")

    def failing(*args):
        raise error

    monkeypatch.setattr(files.os, name, failing)
    with pytest.raises((MiniganError, KeyboardInterrupt)):
        write_atomically(tmp_path / "a", b"new")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_file_may_be_read_by_those_whom_the_user_lets(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a", b"one")
        assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o666 & ~umask
    finally:
        assert os.umask(before) == umask


def test_only_parts_of_own_names_are_removed(tmp_path):
    own = [".log.csv.0123abcd.part", ".log.csv.abc_1234.part"]
    others = [".log.csv.part", ".other.csv.0123abcd.part", "log.csv.0123abcd.part", ".part", ".log.csv.0123ABCD.part"]
    for name in (*own, *others):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".log.csv.00000000.part").mkdir()
    (tmp_path / ".log.csv.11111111.part").symlink_to("nowhere")
    remove_parts(tmp_path, {"log.csv"}.__contains__)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, ".log.csv.00000000.part", ".log.csv.11111111.part"])
