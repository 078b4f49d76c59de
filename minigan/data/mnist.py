"""Where the training images of MNIST and Fashion-MNIST, and their labels, are found: on this machine, or downloaded once."""

from __future__ import annotations

import os
from pathlib import Path

from minigan.data.reading import kind_of, reason, shown
from minigan.errors import DataError

SYSTEM_FOLDER = Path("/usr/share/datasets")
_FASHION = "https://github.com/zalandoresearch/fashion-mnist/raw/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion"
SOURCES = {  # {name: (address, checksum)}
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
        "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "fashion-mnist": (
        f"{_FASHION}/train-images-idx3-ubyte.gz",
        "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
}
LABEL_SOURCES = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/train-labels-idx1-ubyte.gz",
        "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    "fashion-mnist": (
        f"{_FASHION}/train-labels-idx1-ubyte.gz",
        "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
}
CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (*("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),),
}
_FILE_NAMES = {
    "images": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "labels": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
}


def find_or_download(name: str, data_dir: Path | None, what: str = "images") -> Path:
    """The IDX file in data_dir if given, else in the usual places, else downloaded into the user's cache.

    what: "images" or "labels". Raises DataError for a data_dir without the file, and for a download that failed.
    """
    return _find(name, data_dir, what) or _download(name, what)


def _find(name: str, data_dir: Path | None, what: str) -> Path | None:
    """The file in data_dir, which must hold it if given, or in the usual places."""
    if data_dir:
        if kind_of(data_dir) != "folder":
            raise DataError(
                f"no folder '{shown(data_dir)}' to look for {name} in: name one that exists, or leave --data-dir out"
            )
        folders = [data_dir / name, data_dir]
    else:
        given = os.environ.get("MINIGAN_DATA")
        if given and kind_of(given) != "folder":
            raise DataError(f"MINIGAN_DATA is '{shown(given)}', which is no folder: name one that exists, or unset it")
        folders = [Path(given) / name, Path(given)] if given else []
        folders.append(SYSTEM_FOLDER / name)
    stems = _FILE_NAMES[what]
    files = [folder / (stem + ending) for folder in folders for stem in stems for ending in ("", ".gz")]
    found = next((file for file in files if kind_of(file) == "file"), None)
    if data_dir and not found:
        raise DataError(f"{shown(data_dir)} holds no {stems[0]} or {stems[0]}.gz: put the file there, or leave --data-dir out")
    return found


def _download(name: str, what: str) -> Path:
    import platformdirs
    import pooch

    url, checksum = (SOURCES if what == "images" else LABEL_SOURCES)[name]
    folder = Path(platformdirs.user_cache_dir("minigan")) / name
    try:
        pooch.get_logger().setLevel("WARNING")
        return Path(pooch.retrieve(url, checksum, fname=Path(url).name, path=folder, progressbar=True))
    except Exception as error:  # pooch hands on whatever its downloader raises
        raise DataError(
            f"{name} is not on this machine and its download failed ({reason(error)}): put {Path(url).name} into a folder "
            f"and name it with --data-dir or MINIGAN_DATA, or install it below {SYSTEM_FOLDER}"
        ) from None
