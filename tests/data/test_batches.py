"""Batches: every sample once an epoch, an order of its own for each, and a state that continues exactly."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan as mg
from minigan.data import Batches, Dataset, floats_to_pixels, load, pixels_to_floats
from minigan.errors import DataError, OptionError


def numbered(count):
    """Images whose every pixel is their number."""
    return Dataset("numbered", np.repeat(np.arange(count, dtype=np.uint8), 4).reshape(count, 2, 2, 1))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_every_epoch_deals_every_sample_at_most_once(count, batch_size, seed):
    if batch_size > count:
        with pytest.raises(DataError, match=rf"the batch size is {batch_size}: numbered has {count} samples"):
            Batches(numbered(count), batch_size, mg.get_backend("textbook"))
        return
    batches = Batches(numbered(count), batch_size, mg.get_backend("textbook"), seed=seed)
    for epoch in range(3):
        dealt = [floats_to_pixels(batches.next())[:, 0, 0, 0] for _ in range(batches.per_epoch)]
        assert batches.epoch == epoch
        together = np.concatenate(dealt)
        assert len(set(together.tolist())) == len(together) == batch_size * (count // batch_size)


def test_orders_differ_by_epoch_and_seed(backend):
    be = mg.get_backend(backend)

    def order(batches):
        return [be.to_numpy(batches.next())[0, 0, 0, 0] for _ in range(50)]

    batches = Batches(numbered(50), 1, be)
    first, second = order(batches), order(batches)
    assert sorted(first) == sorted(second)
    assert first != second
    assert first != order(Batches(numbered(50), 1, be, seed=1))
    assert first == order(Batches(numbered(50), 1, be))


def test_state_continues_exactly(backend):
    be = mg.get_backend(backend)
    first, second = (Batches(numbered(50), 7, be) for _ in range(2))
    for _ in range(10):
        first.next()
    second.state = first.state
    for _ in range(10):
        np.testing.assert_array_equal(be.to_numpy(first.next()), be.to_numpy(second.next()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_are_floats_between_minus_one_and_one(backend, dtype):
    be = mg.get_backend(backend)
    batch = Batches(load("digits"), 100, be, dtype).next()
    assert be.owns(batch)
    assert batch.dtype == dtype
    values = be.to_numpy(batch)
    assert (values.min(), values.max()) == (-1, 1)


def test_pixels_round_trip():
    pixels = np.arange(256, dtype=np.uint8)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(floats_to_pixels(pixels_to_floats(np, pixels.astype(dtype))), pixels)


def test_advance_and_take_are_next(backend):
    """The host's part moves on, the device's part gives the same rows however often it is asked."""
    be = mg.get_backend(backend)
    whole, parts = (Batches(numbered(50), 7, be) for _ in range(2))
    for _ in range(10):
        parts.advance()
        taken = [be.to_numpy(parts.take()) for _ in range(2)]
        np.testing.assert_array_equal(taken[0], taken[1])
        np.testing.assert_array_equal(taken[0], be.to_numpy(whole.next()))
        assert parts.state == whole.state


def test_a_refused_advance_moves_nothing(monkeypatch):
    """Where the place in the data may not be set, the batch is the same one when it may be set again."""
    refused, whole = (Batches(numbered(6), 3, mg.get_backend("textbook")) for _ in range(2))
    for _ in range(5):
        with monkeypatch.context() as patch:
            patch.setattr(type(refused._start), "set", lambda self, value: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                refused.advance()
        np.testing.assert_array_equal(refused.next(), whole.next())


def test_arrays_are_data(backend):
    """Images and points without a Dataset: the same batches as with one."""
    be = mg.get_backend(backend)
    points = np.random.default_rng(0).standard_normal((20, 2))
    for array in (numbered(20).values, numbered(20).values[..., 0], points):
        dataset = Dataset("own", points.astype(np.float32)) if array is points else numbered(20)
        ours, other = Batches(array, 6, be), Batches(dataset, 6, be)
        for _ in range(4):
            np.testing.assert_array_equal(be.to_numpy(ours.next()), be.to_numpy(other.next()))
    with pytest.raises(DataError, match="the batch size is 21: array has 20 samples; choose 1 to 20"):
        Batches(points, 21, be)
    with pytest.raises(DataError, match=r"array has shape \(20, 3\): expected images"):
        Batches(np.zeros((20, 3)), 2, be)


@pytest.mark.parametrize("options", [{"batch_size": 2.5}, {"batch_size": 0}, {"batch_size": True}, {"seed": -1}, {"seed": "a"}])
def test_options_that_are_no_whole_numbers(options):
    with pytest.raises(OptionError, match=f"{next(iter(options))} is .*: expected a whole number from"):
        Batches(numbered(20), **{"batch_size": 4, "backend": mg.get_backend("textbook"), **options})


def test_numbers_of_numpy_are_numbers():
    ours, other = (Batches(numbered(20), kind(4), mg.get_backend("textbook"), seed=kind(7)) for kind in (int, np.int64))
    np.testing.assert_array_equal(ours.next(), other.next())
    assert type(other.batch_size) is type(other.seed) is int


@pytest.mark.parametrize(
    "state", [{"epoch": 1}, {"epoch": "1", "batch": 0}, {"epoch": 1, "batch": 6}, {"epoch": 1, "batch": -1}]
)
def test_a_refused_state_changes_nothing(state):
    batches = Batches(numbered(20), 4, mg.get_backend("textbook"))
    with pytest.raises((DataError, OptionError, KeyError)):
        batches.state = state
    assert batches.state == {"epoch": 0, "batch": 0}


# -- from a file, and mirrored -------------------------------------------------------------------------------------------


def mapped(dataset, folder):
    """The same dataset, its values mapped from a file."""
    np.save(folder / "values.npy", dataset.values)
    values = np.load(folder / "values.npy", mmap_mode="r")
    assert isinstance(values, np.memmap)
    return replace(dataset, values=values)


def pictures(count):
    values = np.random.default_rng(0).integers(0, 256, (count, 3, 4, 3), dtype=np.uint8)
    return Dataset("pictures", values)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_gives_the_batches_that_memory_gives(tmp_path, backend, mirrored, dtype):
    be = mg.get_backend(backend)
    held = replace(pictures(20), mirrored=mirrored)
    ours, other = Batches(mapped(held, tmp_path), 6, be, dtype, seed=1), Batches(held, 6, be, dtype, seed=1)
    for step in range(20):
        if step == 10:  # as a resumed run
            ours = Batches(mapped(held, tmp_path), 6, be, dtype, seed=1)
            ours.state = other.state
        first, second = ours.next(), other.next()
        assert be.owns(first)
        assert first.dtype == dtype
        np.testing.assert_array_equal(be.to_numpy(first), be.to_numpy(second))
        assert ours.state == other.state


def test_no_more_than_a_batch_of_a_file_is_on_the_device(tmp_path, backend, monkeypatch):
    be, sizes = mg.get_backend(backend), []
    asarray = be.asarray
    monkeypatch.setattr(be, "asarray", lambda host, *more: sizes.append(np.asarray(host).nbytes) or asarray(host, *more))
    dataset = mapped(pictures(500), tmp_path)
    batches = Batches(dataset, 4, be)
    for _ in range(3):
        batches.next()
    assert max(sizes) == 500 * 8, "the order of an epoch"
    assert sizes[-3:] == [4 * 3 * 4 * 3] * 3, "one transfer for a batch"


def test_points_in_a_file(tmp_path):
    points = Dataset("points", np.random.default_rng(0).standard_normal((30, 2)).astype(np.float32))
    be = mg.get_backend("textbook")
    ours, other = Batches(mapped(points, tmp_path), 7, be), Batches(points, 7, be)
    for _ in range(9):
        np.testing.assert_array_equal(ours.next(), other.next())


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 3))
def test_a_mirrored_epoch_deals_every_image_and_its_reflection(count, batch_size, seed):
    dataset = replace(pictures(count), mirrored=True)
    if batch_size > count:
        return
    batches = Batches(dataset, batch_size, mg.get_backend("textbook"), seed=seed)
    assert batches.per_epoch == 2 * count // batch_size
    both = np.concatenate([dataset.values, dataset.values[:, :, ::-1]])
    for epoch in range(2):
        dealt = np.concatenate([floats_to_pixels(batches.next()) for _ in range(batches.per_epoch)])
        assert batches.epoch == epoch
        known = [next(i for i, image in enumerate(both) if (image == own).all()) for own in dealt]
        assert len(set(known)) == len(known) == 2 * count // batch_size * batch_size


def test_mirrored_data_are_other_data():
    plain = pictures(4)
    mirrored = replace(plain, mirrored=True)
    assert len(mirrored) == 4
    assert mirrored.epoch_size == 8
    assert mirrored.digest != plain.digest
    with pytest.raises(DataError, match="mirror is for images, and 'p' holds points"):
        Dataset("p", np.zeros((3, 2), np.float32), mirrored=True)
