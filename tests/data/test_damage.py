"""Damaged files of every kind: each is read, or refused in one line; nothing else is raised, and memory stays bounded."""

import gzip
import io
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from damage import damaged
from PIL import Image

from minigan.data import load
from minigan.data.wav import wav_bytes
from minigan.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def saved(save, *args, **options):
    buffer = io.BytesIO()
    save(buffer, *args, **options)
    return buffer.getvalue()


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def zipped(method, **members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def picture(kind, array, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


NPY = saved(np.save, PIXELS)
EXIF = Image.Exif()
EXIF[0x0112] = 6
FILES = {
    "a.npy": NPY,
    "fortran.npy": saved(np.save, np.asfortranarray(PIXELS / np.float32(255))),
    "a.npz": saved(np.savez, images=PIXELS, labels=np.arange(6)),
    "packed.npz": saved(np.savez_compressed, x_train=PIXELS, y_train=np.arange(6)),
    "a.idx": idx(PIXELS[..., 0]),
    "a.idx.gz": gzip.compress(idx(PIXELS[..., 0])),
    "a.png": picture("PNG", PIXELS[0]),
    "exif.jpg": picture("JPEG", PIXELS[0], exif=EXIF),
    "alpha.webp": picture("WEBP", np.dstack([PIXELS[0], PIXELS[1, :, :, 0]]), lossless=True, exif=EXIF),
    "a.bmp": picture("BMP", PIXELS[0]),
    "a.wav": wav_bytes(PIXELS.reshape(3, 64, 6).view(np.int16)[..., :2], 8000),
    "grey16.png": picture("PNG", PIXELS[0].astype(np.uint16)[..., 0] * 200),
}
IMAGES = (".png", ".jpg", ".webp", ".bmp")


def refusal(folder, name, content):
    """Why the file is refused, in one short line, or "" where it is read; all but a DataError passes through."""
    path = folder / name
    path.write_bytes(content)
    try:
        load(folder if name.endswith(IMAGES) else path)
    except DataError as error:
        text = str(error)
    else:
        text = ""
    path.unlink()
    assert len(text) <= 300, text
    assert len(text.splitlines()) <= 1, text
    return text


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(tmp_path, name, recwarn):
    assert not refusal(tmp_path, name, FILES[name])
    rng = np.random.default_rng(list(FILES).index(name))
    refusals = [refusal(tmp_path, name, damaged(FILES[name], rng)[1]) for _ in range(80)]
    assert sum(map(bool, refusals)) > 10
    assert not recwarn.list, "a warning is a line on standard error"


# -- headers that lie --------------------------------------------------------------------------------------------------


def npy(header, body=b"", version=(1, 0), length=None):
    text = header.encode("latin1")
    size = (len(text) if length is None else length).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + text + body


def header(descr="|u1", shape="(2, 8, 8)", order="False"):
    return f"{{'descr': {descr if descr[:1] in '[(' else repr(descr)}, 'fortran_order': {order}, 'shape': {shape}, }}"


BODY = bytes(range(128))
LYING_NPY = {
    "valid": (npy(header(), BODY), ""),
    "valid, version 2": (npy(header(), BODY, (2, 0)), ""),
    "version 3": (npy(header(), BODY, (3, 0)), "its format is 3.0"),
    "version 9": (npy(header(), BODY, (9, 9)), "its format is 9.9, expected 1.0 or 2.0"),
    "no version": (b"\x93NUMPY", "is not a readable .npy file"),
    "unclosed": (npy("{'descr': ("), "is not a readable .npy file"),
    "nested brackets": (npy("(" * 9000), "is not a readable .npy file"),
    "nested signs": (npy("-" * 9000 + "1"), "is not a readable .npy file"),
    "long": (npy(header() + " " * 30000, BODY), "is not a readable .npy file"),
    "no dict": (npy("[1, 2]"), "is not a readable .npy file"),
    "unhashable": (npy("{[]: 1}"), "is not a readable .npy file"),
    "strange letters": (npy("\xff\xfe\x00"), "is not a readable .npy file"),
    "odd number": (npy(header(shape="(1or 2,)"), BODY), "is not a readable .npy file"),
    "length beyond the file": (npy(header(), BODY, length=60000), "is not a readable .npy file"),
    "length of 4 GiB": (npy(header(), BODY, (2, 0), 2**32 - 1), "is not a readable .npy file"),
    "cut": (npy(header(), BODY[:100]), r"holds 100 bytes, its header says \(2, 8, 8\) = 128"),
    "too long": (npy(header(), BODY + b"x"), "holds 129 bytes or more, its header says"),
    "huge": (npy(header(shape=f"({2**40}, 2, 2)"), BODY), "GiB of memory"),
    "larger than it is": (npy(header(shape="(1000, 800, 800)"), BODY), "holds 128 bytes, its header says .* = 640000000"),
    "larger than 64 bits": (npy(header(shape=f"({10**30}, 2, 2)"), BODY), "GiB of memory"),
    "empty and larger than 64 bits": (npy(header(shape=f"(0, {10**30}, 2)")), "is not a readable .npy file"),
    "negative": (npy(header(shape="(-2, 8, -8)"), BODY), "expected images or points"),
    "70 axes": (npy(header(shape=str((1,) * 70)), b"x"), "has 70 axes"),
    "no axes": (npy(header(shape="()"), b"x"), r"has shape \(\): expected images"),
    "text for a shape": (npy(header(shape="'abc'"), BODY), "is not a readable .npy file"),
    "fractional": (npy(header(shape="(2.0, 8, 8)"), BODY), "is not a readable .npy file"),
    "no type": (npy(header("zzz"), BODY), "is not a readable .npy file"),
    "objects": (npy(header("|O"), BODY), "it holds Python objects"),
    "records": (npy(header("[('a', '<f4'), ('b', '<f4')]"), BODY), "expected numbers"),
    "many records": (npy(header(str([(f"field{i}", "<f4") for i in range(99)])), BODY), "expected numbers"),
    "texts": (npy(header("<U0"), BODY), "holds <U0 values: expected numbers"),
    "dates": (npy(header("<M8[s]"), BODY), "expected numbers"),
    "complex": (npy(header("<c8", "(2, 8)"), BODY), "holds complex64 values: expected numbers"),
    "big-endian": (npy(header(">i2", "(1, 8, 8)"), np.arange(64, dtype=">i2").tobytes()), ""),
}


@pytest.mark.parametrize("name", LYING_NPY)
@pytest.mark.parametrize("packed", [False, True], ids=["npy", "npz"])
def test_headers_of_npy(tmp_path, name, packed, recwarn):
    content, message = LYING_NPY[name]
    if packed:
        content, message = zipped(zipfile.ZIP_DEFLATED, images__npy=content), message.replace(".npy", ".npz")
    text = refusal(tmp_path, "a.npz" if packed else "a.npy", content)
    assert bool(text) == bool(message)
    assert re.search(message, text)
    assert not recwarn.list


SHAPES_OF_IDX = {
    "70 axes": (b"\0\0\x08\x46" + struct.pack(">70I", *[1] * 70) + b"x", "has 70 axes"),
    "255 axes, cut": (b"\0\0\x08\xff", "ends within its IDX header"),
    "huge": (b"\0\0\x08\x03" + b"\xff" * 12 + b"x", "GiB of memory"),
    "empty and huge": (b"\0\0\x08\x04" + b"\0" * 4 + b"\xff" * 12, "is not a readable IDX file"),
    "larger than it is": (b"\0\0\x08\x03" + struct.pack(">3I", 1000, 800, 800), "holds 0 bytes, its header says"),
    "empty": (b"", "its magic number is missing"),
    "another archive": (gzip.compress(b"hello there"), "is no IDX file: its magic number is 68656c6c"),
}


@pytest.mark.parametrize("name", SHAPES_OF_IDX)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_headers_of_idx(tmp_path, name, packed):
    content, message = SHAPES_OF_IDX[name]
    packed = packed and name != "another archive"
    assert re.search(message, refusal(tmp_path, "a.idx", gzip.compress(content) if packed else content))


# -- archives ----------------------------------------------------------------------------------------------------------


def encrypted():
    """A zip file whose member is marked as encrypted, in both of its headers."""
    content = bytearray(zipped(zipfile.ZIP_STORED, images__npy=NPY))
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + place] |= 1
    return bytes(content)


def of_method(number):
    """A zip file whose member is of another compression."""
    content = bytearray(zipped(zipfile.ZIP_STORED, images__npy=NPY))
    for mark, place in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        content[content.index(mark) + place] = number
    return bytes(content)


def spoilt(method):
    """A zip file with damage in the middle of its compressed member."""
    content = bytearray(zipped(method, images__npy=NPY))
    start = content.index(b"images.npy") + len(b"images.npy")
    content[start + 12 : start + 40] = bytes(28)
    return bytes(content)


ARCHIVES = {
    "nothing": (zipped(zipfile.ZIP_STORED), "holds nothing: expected .npy members"),
    "pictures": (zipped(zipfile.ZIP_STORED, cat__png=b"x", dog__png=b"x"), "holds cat.png, dog.png, which are no arrays"),
    "an archive": (zipped(zipfile.ZIP_STORED, a__npz=FILES["a.npz"]), "holds a.npz, which are no arrays"),
    "a text named as an array": (zipped(zipfile.ZIP_STORED, images__npy=b"hello"), "is not a readable .npz file"),
    "an empty member": (zipped(zipfile.ZIP_STORED, images__npy=b""), "is not a readable .npz file"),
    "encrypted": (encrypted(), "holds images, which is encrypted"),
    "another compression": (of_method(97), "compressed in a way that NumPy never uses"),
    "deflate named LZMA": (of_method(14), "compressed in a way"),
    "lzma": (zipped(zipfile.ZIP_LZMA, images__npy=NPY), "compressed in a way"),
    "spoilt lzma": (spoilt(zipfile.ZIP_LZMA), "compressed in a way"),
    "bzip2": (zipped(zipfile.ZIP_BZIP2, images__npy=NPY), "compressed in a way"),
    "spoilt": (spoilt(zipfile.ZIP_DEFLATED), "is not a readable .npz file"),
    "odd names": (zipped(zipfile.ZIP_STORED, **{"a\nb": b"", "x" * 999: b""}), r"holds a\?b, …x+, which"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives(tmp_path, name):
    content, message = ARCHIVES[name]
    assert re.search(message, refusal(tmp_path, "a.npz", content))


SURPLUS = 60 * 2**20
SMALL_NPY = npy(header(shape="(1, 4, 8)"), bytes(range(32)))
BOMBS = {
    "deflate": zipped(zipfile.ZIP_DEFLATED, images__npy=SMALL_NPY + bytes(SURPLUS)),
    "gzip": gzip.compress(idx(PIXELS[..., 0]) + bytes(SURPLUS)),
    "gzip, promised": gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 50_000, 200, 200) + b"x"),
    "npy, promised": npy(header(shape="(50000, 200, 200)"), BODY),
}


@pytest.mark.parametrize("name", BOMBS)
def test_memory_stays_bounded(tmp_path, name):
    """Of members that unpack to more than their header says, and of headers that promise more than there is."""
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[name])
    tracemalloc.start()
    with pytest.raises(DataError, match="its header says"):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < SURPLUS / 8
