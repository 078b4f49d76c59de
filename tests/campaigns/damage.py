"""Damaged files of every format that minigan reads: each is refused in one line, or read; nothing of the user's is lost."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from campaigns.forked import contents, lost, problem, run
from campaigns.tiny_run import GAME, copy_into, images, words
from damage import damaged

RUN_FILES = ("config.json", "log.csv", "checkpoint.safetensors")
JSON_VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1.5, 1e308, 10**30, "", "x", "1", "\0", "a" * 1000, [], {}, [1, 2], {"a": 1}),
)


def cases(count: int, seed: int) -> Iterator[tuple[str, int]]:
    """(format, seed) of each damaged file, the formats in turn."""
    names = (*FILES, *RUN_FILES, "signed checkpoint")
    for index in range(count):
        yield names[index % len(names)], seed * 1_000_000 + index


def attempt(case: tuple[str, int]) -> tuple[int, list[str]]:
    """Damage one file and give it to the commands that read it: (files damaged, problems)."""
    kind, seed = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = list(_damage_run(folder, kind, seed) if kind not in FILES else _damage_data(folder, kind, seed))
    return 1, [f"{kind}, seed {seed}: {text}" for text in found if text]


def _damage_data(folder: Path, kind: str, seed: int) -> Iterator[str]:
    what, data = damaged(FILES[kind](), np.random.default_rng(seed))
    place = folder / "pictures" if kind in PICTURES else folder
    place.mkdir(exist_ok=True)
    (place / f"file.{kind}").write_bytes(data)
    if kind in PICTURES:
        (place / f"whole.{kind}").write_bytes(FILES[kind]())
    before = contents(folder)
    given = "pictures" if kind in PICTURES else f"file.{kind}"
    result = run(["train", *words({"--data": given, "--out": "out", "--steps": "2"} | GAME), "--quiet"], folder)
    yield _with_name(what, problem(result))
    yield _with_name(what, lost(before, contents(folder)))
    if result.status == 2 and (folder / "out").exists():
        yield f"{what}: refused, and a folder was left behind"


def _damage_run(folder: Path, kind: str, seed: int) -> Iterator[str]:
    copy_into(folder)
    path = folder / "run" / (kind if kind in RUN_FILES else "checkpoint.safetensors")
    rng = random.Random(seed)
    if kind == "signed checkpoint":
        what = _sign_anew(path, rng)
    else:
        what, data = damaged(path.read_bytes(), np.random.default_rng(seed))
        path.write_bytes(data)
    before = contents(folder)
    for command in (
        ["diagnose", "run"],
        ["sample", "run", "-n", "2", "--out", "sampled.npy"],
        ["explain", "run", "--out", "page.html"],
        ["train", "--resume", "--steps", "6", "--out", "run", "--quiet"],
    ):
        result = run(command, folder)
        yield _with_name(f"{what}, {command[0]}", problem(result))
        resumed = command[0] == "train" and result.status == 0
        yield _with_name(f"{what}, {command[0]}", lost(before, contents(folder), ("run",) if resumed else ()))


def _with_name(what: str, found: str) -> str:
    return f"{what}: {found}" if found else ""


def _sign_anew(path: Path, rng: random.Random) -> str:
    """Change one entry of a checkpoint and give it the digest that fits; what was changed, in words."""
    from minigan.training import checkpoint

    arrays, info = checkpoint.load(path)
    if rng.random() < 0.3:
        name = rng.choice(sorted(arrays))
        what, arrays[name] = rng.choice(ARRAY_DAMAGES)(arrays[name])
        words = f"{name} {what}"
    else:
        words = _change_entry(info, rng)
    checkpoint.save(path, arrays, info)
    return words


def _change_entry(info: Any, rng: random.Random) -> str:
    """Replace or remove an entry of nested JSON, at any depth."""
    path = []
    while True:
        keys = sorted(info) if isinstance(info, dict) else range(len(info))
        key = rng.choice(list(keys))
        path.append(str(key))
        if not (isinstance(info[key], (dict, list)) and info[key]) or rng.random() < 0.3:
            break
        info = info[key]
    if rng.random() < 0.3 and isinstance(info, dict):
        del info[key]
        return f"{'.'.join(path)} missing"
    info[key] = rng.choice(JSON_VALUES)
    return f"{'.'.join(path)} = {json.dumps(info[key])}"


ARRAY_DAMAGES: tuple[Callable[[np.ndarray], tuple[str, np.ndarray]], ...] = (
    lambda a: ("NaN", np.full_like(a, np.nan if a.dtype.kind == "f" else 0)),
    lambda a: ("infinite", np.full_like(a, np.inf if a.dtype.kind == "f" else 0)),
    lambda a: ("float64", a.astype(np.float64)),
    lambda a: ("whole numbers", a.astype(np.int64)),
    lambda a: ("complex", a.astype(np.complex64)),
    lambda a: ("of another shape", np.zeros((*a.shape, 2), a.dtype)),
    lambda a: ("empty", np.zeros(0, a.dtype)),
)


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, images())
    return file.getvalue()


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, images=images(), labels=np.arange(8))
    return file.getvalue()


def _idx() -> bytes:
    return struct.pack(">HBB3I", 0, 8, 3, 8, 8, 8) + images().tobytes()


def _picture(kind: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(images()[0]).save(file, kind)
    return file.getvalue()


PICTURES = ("png", "jpg", "bmp", "webp")
FILES: dict[str, Callable[[], bytes]] = {
    "npy": _npy,
    "npz": _npz,
    "idx": _idx,
    "idx.gz": lambda: gzip.compress(_idx(), mtime=0),
    "png": lambda: _picture("PNG"),
    "jpg": lambda: _picture("JPEG"),
    "bmp": lambda: _picture("BMP"),
    "webp": lambda: _picture("WEBP"),
}
