"""Checkpoints: exact round trips, equal bytes, every kind of damage noticed, nothing half-written."""

import errno
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigan.errors import CheckpointError, MiniganError
from minigan.files import write_atomically
from minigan.training import checkpoint

ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(7), "z": np.ones((3, 1))}
INFO = {
    **{"step": 3, "data": {"epoch": 1, "batch": 0}, "random": {"state": 2**100}, "config": {"lr": 0.1, "hidden": [1, 2]}},
    **{"shape": [2], "dataset": "0f", "nothing": None},
}


@given(
    st.dictionaries(
        st.text("abc.", min_size=1, max_size=5),
        hnp.arrays(
            np.float32,
            hnp.array_shapes(min_dims=0, max_dims=3),
            elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
        ),
    )
)
def test_round_trip(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("checkpoint") / "x.safetensors"
    checkpoint.save(path, arrays, INFO)
    loaded, info = checkpoint.load(path)
    assert info == INFO
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_equal_states_make_equal_bytes(tmp_path):
    checkpoint.save(tmp_path / "1", ARRAYS, INFO)
    checkpoint.save(tmp_path / "2", dict(reversed(ARRAYS.items())), dict(reversed(INFO.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_views_and_transposed_arrays_are_saved_by_value(tmp_path):
    base = np.arange(12.0).reshape(3, 4)
    checkpoint.save(tmp_path / "x", {"t": base.T, "v": base[:, 1:3]}, INFO)
    loaded, _ = checkpoint.load(tmp_path / "x")
    np.testing.assert_array_equal(loaded["t"], base.T)
    np.testing.assert_array_equal(loaded["v"], base[:, 1:3])


def test_any_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, ARRAYS, INFO)
    whole = path.read_bytes()
    for index in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[index] ^= 0x10
        path.write_bytes(spoilt)
        with pytest.raises(CheckpointError):
            checkpoint.load(path)


def test_truncated_foreign_and_missing_files(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "x.safetensors"
    checkpoint.save(path, ARRAYS, INFO)
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="damaged or no checkpoint"):
            checkpoint.load(path)
    save_file(ARRAYS, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of minigan"):
        checkpoint.load(path)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoint.load(tmp_path / "none")


def test_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 3)
    checkpoint.save(tmp_path / "x", ARRAYS, INFO)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 3: this version of minigan reads 2"):
        checkpoint.load(tmp_path / "x")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, failing):
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, ARRAYS, INFO)
    before = path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(MiniganError, match=r"cannot write .*x.safetensors: No space left on device"):
        checkpoint.save(path, {"a": np.zeros(100)}, {})
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_files_get_the_usual_permissions(tmp_path):
    old = os.umask(0o022)
    try:
        write_atomically(tmp_path / "x", b"1")
    finally:
        os.umask(old)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644
