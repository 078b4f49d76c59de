"""Images that are streamed: decoded once into a file of the user's cache, which is made again where it is of no use."""

import errno
import json
import os
import time

import numpy as np
import pytest
from PIL import Image

from minigan.data import cache, dataset, decoding, load
from minigan.errors import DataError

COUNT = 12


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "minigan" / "images"


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    save(folder, range(COUNT))
    return folder


def save(folder, indices, seed=0):
    rng = np.random.default_rng(seed)
    for index in indices:
        Image.fromarray(rng.integers(0, 256, (8, 6, 3), dtype=np.uint8)).save(folder / f"{index:02d}.png")


def streamed(folder, **options):
    dataset = load(folder, memory_share=0, **options)
    assert isinstance(dataset.values, np.memmap)
    return dataset


@pytest.fixture
def decodings(monkeypatch):
    """How many files were decoded, by call."""
    counts, decode = [], decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda files, *more: counts.append(len(files)) or decode(files, *more))
    return counts


def same(streamed, held):
    np.testing.assert_array_equal(streamed.values, held.values)
    assert (streamed.digest, streamed.name) == (held.digest, held.name)
    assert streamed.notes[:-1] == held.notes
    assert "GiB of pixels are streamed from " in streamed.notes[-1]


@pytest.mark.parametrize("options", [{}, {"image_size": 4}, {"image_size": (10, 4), "fit": "pad"}])
def test_what_is_streamed_is_what_is_held(data, place, options):
    held = load(data, **options)
    assert not isinstance(held.values, np.memmap)
    assert not place.exists()
    for _ in range(2):
        same(streamed(data, **options), held)
    assert len(list(place.iterdir())) == 2


def test_it_is_made_once(data, decodings):
    streamed(data)
    assert sum(decodings) == COUNT
    streamed(data)
    assert sum(decodings) == COUNT
    assert not isinstance(load(data).values, np.memmap), "there is room, so it is held"
    assert sum(decodings) == COUNT
    streamed(data, image_size=4)
    assert sum(decodings) == 2 * COUNT, "another size is another file"


def change_content(data):
    save(data, [3], seed=1)


def change_time(data):
    os.utime(data / "03.png", ns=(1, 1))


@pytest.mark.parametrize(
    "change",
    [
        *(change_content, change_time),
        lambda data: save(data, [COUNT]),
        lambda data: (data / "03.png").unlink(),
        lambda data: (data / "03.png").rename(data / "99.png"),
    ],
)
def test_a_stale_one_is_made_again(data, place, decodings, change):
    streamed(data)
    change(data)
    again = streamed(data)
    assert sum(decodings) == COUNT + len(again)
    same(again, load(data))
    assert len(list(place.iterdir())) == 2, "in place of the old one"


def damage(place, ending, content):
    (path,) = place.glob(f"*{ending}")
    path.write_bytes(content(path.read_bytes()))


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".npy", lambda old: old[:-1]),
        (".npy", lambda old: old + b"x"),
        (".npy", lambda old: old[:-9] + bytes([old[-9] ^ 1]) + old[-8:]),
        (".npy", lambda old: b""),
        (".npy", lambda old: b"\x93NUMPY" + b"\xff" * 100),
        (".npy", lambda old: old.replace(b"|u1", b"|i1")),
        (".json", lambda old: b""),
        (".json", lambda old: b"[]"),
        (".json", lambda old: b"\xff\xfe"),
        (".json", lambda old: json.dumps({**json.loads(old), "notes": None}).encode()),
        (".json", lambda old: json.dumps({**json.loads(old), "digest": 5}).encode()),
        (".json", lambda old: json.dumps({"made_of": json.loads(old)["made_of"]}).encode()),
    ],
)
def test_a_damaged_one_is_made_again(data, place, decodings, ending, content):
    streamed(data)
    damage(place, ending, content)
    same(streamed(data), load(data))
    assert sum(decodings) == 2 * COUNT
    streamed(data)
    assert sum(decodings) == 2 * COUNT


def test_one_that_is_gone_in_part(data, place, decodings):
    for ending in (".npy", ".json"):
        streamed(data)
        (path,) = place.glob(f"*{ending}")
        path.unlink()
        same(streamed(data), load(data))


def test_levels_of_grey_and_colours_that_come_late(tmp_path):
    folder = tmp_path / "levels"
    folder.mkdir()
    for index in range(6):
        levels = np.random.default_rng(index).integers(1, 11, (4, 4), dtype=np.uint8)
        Image.fromarray(levels).convert("RGB" if index == 4 else "L").save(folder / f"{index}.png")
    held = load(folder)
    same(streamed(folder), held)
    assert held.values.max() == 255
    assert any("10 as white" in note for note in held.notes)


class KilledError(Exception):
    pass


def test_what_was_interrupted_leaves_nothing(data, place, monkeypatch):
    with monkeypatch.context() as patch:
        write = cache.CacheFile.write
        patch.setattr(cache.CacheFile, "write", lambda self, first, block: write(self, first, block) if first < 3 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            streamed(data)
    assert list(place.iterdir()) == []
    (data / "07.png").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"07\.png is not a readable image"):
        streamed(data)
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed(data, place, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(cache.CacheFile, "discard", lambda self: None)  # as none is made when a process is killed
        patch.setattr(cache.CachedImages, "finish", lambda *args: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            streamed(data)
    (part,) = place.iterdir()
    streamed(data)
    assert part.exists(), "it may be that of a process that still writes it"
    os.utime(part, (time.time() - 7200,) * 2)
    change_time(data)
    streamed(data)
    assert not part.exists()


# -- where it cannot be written ------------------------------------------------------------------------------------------


def refusal(folder):
    with pytest.raises(DataError) as caught:
        streamed(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) <= 300
    return text


def test_no_room_is_told_before_anything_is_decoded(data, place, decodings, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: os.terminal_size((0, 0)) and type("", (), {"free": 1000}))
    assert "12 images of 8x6 take" in (text := refusal(data))
    assert "left: make room there, take smaller images, or let them fill a larger share of memory" in text
    assert not decodings
    assert list(place.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("buffering", [0, -1])  # told as it is written, and as the file is closed
def test_a_disk_that_fills_up(data, place, monkeypatch, buffering):
    begin = cache.CacheFile.__init__

    def begin_on_full_disk(self, *args):
        begin(self, *args)
        self._file.close()
        self._file = open("/dev/full", "r+b", buffering=buffering)  # noqa: SIM115

    monkeypatch.setattr(cache.CacheFile, "__init__", begin_on_full_disk)
    assert "which cannot be written (No space left on device): make room there" in refusal(data)
    assert list(place.iterdir()) == []


def test_a_cache_that_may_not_be_written(data, place, monkeypatch):
    place.parent.parent.write_text("a file where a folder should be")
    assert f"images that are streamed need a file in {str(place)[-40:]}"[-40:] in (text := refusal(data))
    assert "(Not a directory)" in text or "(File exists)" in text
    assert load(data).values.shape == (COUNT, 8, 6, 3), "held in memory, they need none"
    place.parent.parent.unlink()

    def denied(*args, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(cache.Path, "mkdir", denied)
    assert "(Permission denied)" in refusal(data)


def test_colours_that_come_before_most_is_written(tmp_path, monkeypatch):
    """Room is made for them in a file that is short as yet."""
    monkeypatch.setattr(dataset, "BLOCK", 16)
    monkeypatch.setattr(decoding, "_MOST", 1)
    folder = tmp_path / "mixed"
    folder.mkdir()
    for index in range(9):
        shades = np.random.default_rng(index).integers(0, 256, (4, 4), dtype=np.uint8)
        Image.fromarray(shades).convert("RGB" if index == 2 else "L").save(folder / f"{index}.png")
    same(streamed(folder), load(folder))
