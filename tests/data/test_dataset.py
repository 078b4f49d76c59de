"""What a dataset is: its digest, of values that may lie anywhere."""

import hashlib

import numpy as np
import pytest

from minigan.data import Dataset, dataset

VALUES = np.random.default_rng(0).integers(0, 256, (23, 3, 4, 1), dtype=np.uint8)


@pytest.mark.parametrize("block", [1, 12, 25, 2**22])
def test_the_digest_is_that_of_all_bytes(monkeypatch, tmp_path, block):
    """However many values are looked at together, and whether they lie in memory, in order there, or in a file."""
    monkeypatch.setattr(dataset, "BLOCK", block)
    whole = hashlib.blake2b(VALUES.tobytes(), digest_size=16).hexdigest()
    np.save(tmp_path / "a.npy", VALUES)
    for values in (VALUES, np.asfortranarray(VALUES), VALUES[::-1].copy()[::-1], np.load(tmp_path / "a.npy", mmap_mode="r")):
        assert Dataset("a", values).digest == whole
    assert Dataset("a", VALUES[:22]).digest != whole
    assert Dataset("a", VALUES[::-1]).digest != whole


def test_of_an_epoch():
    assert Dataset("a", VALUES).epoch_size == len(Dataset("a", VALUES)) == 23
    mirrored = Dataset("a", VALUES, mirrored=True)
    assert (len(mirrored), mirrored.epoch_size) == (23, 46)
    assert mirrored.digest not in ("", Dataset("a", VALUES).digest)
