"""Files decoded by this process and its helpers: the same pictures as by one alone, and the same error."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image

from minigan.data import decoding, load
from minigan.data.images import read_image
from minigan.errors import DataError

COUNT = 60


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        Image.fromarray(rng.integers(0, 256, (8, 6, 3), dtype=np.uint8)).save(tmp_path / f"{index:02d}.png")
    return tmp_path


@pytest.fixture
def with_helper(monkeypatch):
    """One helper, from the first file on, while this process is slow."""
    here = decoding.decode
    monkeypatch.setattr(decoding, "usable_cores", lambda: 2)
    monkeypatch.setattr(decoding, "_LOOK_AFTER", 0)
    monkeypatch.setattr(decoding, "WORTH_HELPERS", 0)
    monkeypatch.setattr(decoding, "_MOST", 4)

    def slow(files, size, fit):
        time.sleep(0.2)
        return here(files, size, fit)

    monkeypatch.setattr(decoding, "decode", slow)


def decoded(folder, size=None, fit="cut"):
    """(pictures by the index of their file, by which threads they were stored)"""
    found, threads = {}, set()

    def store(first, pictures):
        threads.add(threading.current_thread() is threading.main_thread())
        for index, picture in enumerate(pictures, first):
            assert index not in found
            found[index] = picture.pixels

    decoding.decode_all([str(path) for path in sorted(folder.iterdir())], size, fit, store)
    return [found[index] for index in range(len(found))], threads


def test_helpers_decode_the_same_pictures(folder, with_helper):
    pictures, threads = decoded(folder)
    assert threads == {True, False}, "both took their share"
    for path, pixels in zip(sorted(folder.iterdir()), pictures, strict=True):
        np.testing.assert_array_equal(pixels, read_image(path).pixels)
    assert [p.shape for p in decoded(folder, (5, 7), "pad")[0]] == [(5, 7, 3)] * COUNT


def test_the_error_is_that_of_the_first_file(folder, with_helper):
    for index in (1, 9, 30, 50):
        (folder / f"{index:02d}.png").write_bytes(b"hello")
    for _ in range(2):
        with pytest.raises(DataError, match=r"01\.png is not a readable image"):
            decoded(folder)


def test_what_a_dead_helper_leaves_is_decoded_here(folder, with_helper, monkeypatch):
    begin = decoding._start_helper

    def begin_and_kill():
        process = begin()
        os.kill(process.pid, signal.SIGKILL)
        return process

    monkeypatch.setattr(decoding, "_start_helper", begin_and_kill)
    for path in sorted(folder.iterdir())[12:]:
        path.unlink()
    pictures, _ = decoded(folder)
    np.testing.assert_array_equal(pictures, [read_image(path).pixels for path in sorted(folder.iterdir())])


@pytest.mark.parametrize("ends", [KeyboardInterrupt, None])
def test_helpers_end_with_the_work(folder, with_helper, monkeypatch, ends):
    begun, begin = [], decoding._start_helper
    monkeypatch.setattr(decoding, "_start_helper", lambda: begun.append(begin()) or begun[-1])
    slow, calls = decoding.decode, []

    def interrupted(*args):
        calls.append(1)
        if ends and len(calls) == 3:
            raise ends
        return slow(*args)

    monkeypatch.setattr(decoding, "decode", interrupted)
    if ends:
        with pytest.raises(ends):
            decoded(folder)
    else:
        decoded(folder)
    assert len(begun) == 1
    assert begun[0].poll() is not None
    assert all(not thread.name.endswith("(_feed)") for thread in threading.enumerate())


def test_few_files_need_no_helper(folder, monkeypatch):
    monkeypatch.setattr(decoding, "_start_helper", lambda: pytest.fail("a helper was started"))
    assert decoded(folder)[1] == {True}


def test_a_colour_image_after_grey_ones_makes_all_rgb(tmp_path):
    shades = np.random.default_rng(0).integers(0, 256, (40, 8, 6), dtype=np.uint8)
    for index, shade in enumerate(shades):
        image = Image.fromarray(shade)
        (image.convert("RGB") if index in (20, 33) else image).save(tmp_path / f"{index:02d}.png")
    dataset = load(tmp_path)
    np.testing.assert_array_equal(dataset.values, np.repeat(shades[..., None], 3, axis=3))
    assert dataset.notes == (f"{tmp_path}: 38 of 40 images grey, read as RGB as the others are",)
