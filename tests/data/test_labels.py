"""Labels: where each kind of data has them, the order in which batches hand them out, and every way they can be wrong."""

import gzip
import struct

import numpy as np
import pooch
import pytest
from PIL import Image

import minigan as mg
from minigan.data import Batches, Dataset, load, mnist
from minigan.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 8, 8), dtype=np.uint8)
LABELS = np.array([0, 2, 1, 1, 0, 2, 2, 1, 0, 0, 1, 2])


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


# -- where they are ----------------------------------------------------------------------------------------------------


def test_labels_of_the_digits_have_names():
    digits = load("digits", labels=True)
    assert digits.class_names == tuple("0123456789")
    assert digits.labels.tolist() == load("digits").labels.tolist()


def test_labels_of_mnist_lie_beside_the_images_and_are_read_only_where_they_are_wanted(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES)))
    assert load("mnist", tmp_path).labels is None
    with pytest.raises(DataError, match="holds no train-labels-idx1-ubyte"):
        load("mnist", tmp_path, labels=True)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    for name, first in (("mnist", "0"), ("fashion-mnist", "T-shirt")):
        dataset = load(name, tmp_path, labels=True)
        np.testing.assert_array_equal(dataset.labels, LABELS)
        assert (len(dataset.class_names), dataset.class_names[0]) == (10, first)
    own = load(tmp_path / "train-images-idx3-ubyte.gz")
    assert own.labels is None
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS)))
    np.testing.assert_array_equal(load(tmp_path / "train-images-idx3-ubyte.gz", labels=True).labels, LABELS)


def test_labels_are_downloaded_as_the_images_are(tmp_path, monkeypatch):
    calls = []

    def retrieve(url, known_hash, fname, path, progressbar):
        calls.append((url, known_hash))
        (tmp_path / fname).write_bytes(gzip.compress(idx(LABELS if "labels" in fname else IMAGES)))
        return str(tmp_path / fname)

    monkeypatch.setattr(mnist, "SYSTEM_FOLDER", tmp_path / "none")
    monkeypatch.delenv("MINIGAN_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    for name in mnist.SOURCES:
        assert load(name, labels=True).labels.tolist() == LABELS.tolist()
        assert calls[-2:] == [mnist.SOURCES[name], mnist.LABEL_SOURCES[name]]
        assert calls[-1][0].endswith("train-labels-idx1-ubyte.gz")
        assert calls[-1][1].startswith("sha256:")


@pytest.mark.parametrize("names", [("images", "labels"), ("x_train", "y_train"), ("x", "y"), ("arr_0", "arr_1")])
@pytest.mark.parametrize("form", [lambda y: y, lambda y: y.astype(np.float64), lambda y: y[:, None].astype(np.uint8)])
def test_labels_of_npz_files(tmp_path, names, form):
    path = tmp_path / "own.npz"
    np.savez(path, **{names[0]: IMAGES, names[1]: form(LABELS)})
    dataset = load(path, labels=True)
    np.testing.assert_array_equal(dataset.labels, LABELS)
    np.testing.assert_array_equal(dataset.values[..., 0], IMAGES)
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.notes == ()
    assert load(path).labels is None
    assert len(load(path).notes) == 1, "what is not used is told"


def test_each_sub_folder_is_a_class(tmp_path):
    for number, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        folder = tmp_path / "own" / ("zebra", "ant", "bee")[label] / ("", "deep")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    dataset = load(tmp_path / "own", labels=True)
    assert dataset.class_names == ("ant", "bee", "zebra")
    for value, label in zip(dataset.values[..., 0], dataset.labels, strict=True):
        (number,) = np.flatnonzero((value == IMAGES).all(axis=(1, 2)))
        assert dataset.class_names[label] == ("zebra", "ant", "bee")[LABELS[number]]
    small = load(tmp_path / "own", image_size=4, labels=True)
    np.testing.assert_array_equal(small.labels, dataset.labels)
    Image.fromarray(IMAGES[0]).save(tmp_path / "own" / "alone.png")
    with pytest.raises(DataError, match=r"each must be a sub-folder, and 1 of 13 images lie beside them, as alone\.png"):
        load(tmp_path / "own", labels=True)
    assert load(tmp_path / "own").labels is None


# -- what they may be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (LABELS[:5], r"have shape \(5,\): expected \(12,\), one for each sample"),
        (np.eye(3)[LABELS], r"have shape \(12, 3\): .*of one-hot rows save argmax\(axis=1\)"),
        (LABELS + 0.5, r"hold 0\.5, of sample 0: expected whole numbers"),
        (np.where(LABELS == 2, np.nan, 0), "hold nan, of sample 1"),
        (-LABELS, "hold -2, of sample 1: expected class numbers from 0 to 9999"),
        (LABELS * 10**6, "hold 2000000, of sample 1: expected class numbers from 0 to 9999"),
        (np.array(list("abcabcabcabc")), "holds <U1 values: expected numbers"),
    ],
)
def test_bad_labels_in_a_file_are_refused_where_they_are_wanted(tmp_path, labels, said):
    np.savez(tmp_path / "own.npz", images=IMAGES, labels=labels)
    with pytest.raises(DataError, match=said) as caught:
        load(tmp_path / "own.npz", labels=True)
    assert len(str(caught.value)) <= 300
    assert len(load(tmp_path / "own.npz")) == 12


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        (LABELS, ("a", "b"), "hold 2, of sample 1: expected class numbers from 0 to 1"),
        (LABELS, ("a", "b", "a"), "two classes of own are called a"),
        (LABELS / 2, (), r"are float64 \(12,\): expected 12 whole numbers"),
        (LABELS[:3], (), r"are int64 \(3,\): expected 12 whole numbers"),
        ("labels", (), "expected 12 whole numbers"),
    ],
)
def test_bad_labels_of_a_dataset(labels, names, said):
    with pytest.raises(DataError, match=said):
        Dataset("own", IMAGES[..., None], labels, class_names=names)


def test_data_without_labels_are_refused_where_they_are_wanted():
    data = np.zeros((30, 2), np.float32)
    for unlabelled in ("ring", data):
        with pytest.raises(DataError, match="has no labels, which classes are learned from: name digits"):
            load(unlabelled, labels=True)
    with pytest.raises(DataError, match="has no labels: give a Dataset that has"):
        Batches(data, 4, "textbook", classes=True)


def test_the_digest_with_labels_tells_labels_and_names_apart():
    own = Dataset("own", IMAGES[..., None], LABELS, class_names=("a", "b", "c"))
    others = [
        Dataset("own", IMAGES[..., None], LABELS[::-1].copy(), class_names=("a", "b", "c")),
        Dataset("own", IMAGES[..., None], LABELS, class_names=("a", "b", "d")),
        Dataset("own", IMAGES[::-1, ..., None], LABELS, class_names=("a", "b", "c")),
    ]
    assert len({dataset.digest_of(True) for dataset in (own, *others)}) == 4
    assert own.digest == own.digest_of(False) == others[0].digest_of(False)
    assert own.digest_of(True) != own.digest
    again = Dataset("another name", IMAGES[..., None], LABELS.astype(np.uint8), class_names=("a", "b", "c"))
    assert own.digest_of(True) == again.digest_of(True)


# -- batches -----------------------------------------------------------------------------------------------------------


def test_batches_hand_out_the_labels_of_their_values(backend):
    be = mg.get_backend(backend)
    numbered = Dataset("own", np.repeat(np.arange(30, dtype=np.uint8), 4).reshape(30, 2, 2, 1), np.arange(30) % 4)
    batches, plain = Batches(numbered, 7, be, classes=True), Batches(numbered, 7, be)
    for _ in range(9):  # over two ends of epochs
        values, rows = be.to_numpy(batches.next()), batches.labels()["labels"]
        assert be.owns(rows)
        assert rows.dtype == np.float32
        numbers = np.rint((values[:, 0, 0, 0] + 1) * 127.5).astype(int)
        np.testing.assert_array_equal(be.to_numpy(rows), np.eye(4, dtype="f4")[numbers % 4])
        np.testing.assert_array_equal(values, be.to_numpy(plain.next()), "with labels or without: one order")
        assert plain.labels() == {}
