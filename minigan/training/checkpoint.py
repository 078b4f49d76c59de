"""Save and restore a whole run: one safetensors file, never pickle.

Arrays are the tensors; everything else (step, data position, random states, configuration) is one JSON text in the metadata,
with a digest of both, so that damage anywhere is noticed. Equal states make equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from minigan.data.kinds import kind_from_json
from minigan.errors import CheckpointError, shorten
from minigan.files import write_atomically
from minigan.training.log import parse_json

FORMAT = 2
_KEY = "minigan"  # one metadata key: safetensors writes several in no fixed order

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Size = Annotated[int, msgspec.Meta(ge=1, le=2**20)]


class Place(msgspec.Struct):
    """Where a run stands in its data: the state of Batches."""

    epoch: Count
    batch: Count


class Partial(msgspec.Struct):
    """The statistics of the steps since the last row of the log that was due: how many steps, and the sum of each."""

    steps: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    sums: list[float]


class Info(msgspec.Struct):
    """What a checkpoint says beside its arrays.

    random: the states of the game's streams. config: what config.json says. shape: of a sample as networks see it; kind: what
    samples are (minigan.data.kinds), where they are no images or points it must be there. dataset: the data's digest.
    partial: where the run was stopped between two rows of its log.
    """

    step: Count
    data: Place
    random: dict[str, Any]
    config: dict[str, Any]
    shape: Annotated[list[Size], msgspec.Meta(min_length=1, max_length=3)]
    dataset: str
    kind: dict[str, Any] | None = None
    partial: Partial | None = None


class Record(msgspec.Struct):
    """The metadata. digest: of the arrays and of info, the JSON text of an Info."""

    format: Any
    digest: str
    info: str


def save(path: str | Path, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
    """Write arrays and info (plain JSON) to path, whole or not at all. Raises MiniganError if the disk refuses."""
    from safetensors.numpy import save as to_bytes

    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps(info, sort_keys=True)
    record = {"format": FORMAT, "digest": digest_of(contiguous, text), "info": text}
    write_atomically(path, to_bytes(contiguous, metadata={_KEY: json.dumps(record, sort_keys=True)}))


def load(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, info) from a file that save wrote; info has at least the entries of Info.

    Raises CheckpointError if the file is missing or damaged, if an entry of info is missing or of a wrong type or range, or if
    an array holds what no run saves: numbers that are not finite, complex, or counts below 0.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint {path}: expected a file that minigan train wrote")
    arrays, record = _read(path)
    if record.format != FORMAT:
        raise CheckpointError(f"{path} has checkpoint format {shorten(record.format)}: this version of minigan reads {FORMAT}")
    if record.digest != digest_of(arrays, record.info):
        raise CheckpointError(f"{path} is damaged: its content does not match its digest; take an earlier copy")
    try:
        info = parse_json(record.info)
        msgspec.convert(info, Info)
        kind_from_json(info.get("kind"), tuple(info["shape"]))
        _check_arrays(arrays)
    except (ValueError, msgspec.MsgspecError, OverflowError) as error:
        raise CheckpointError(f"{path} is no checkpoint that a run goes on from ({error}): take an earlier copy") from None
    return arrays, info


def _read(path: Path) -> tuple[dict[str, np.ndarray], Record]:
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb"):
            pass  # permission is told as such, which safetensors does not do
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise CheckpointError(f"{path} is a safetensors file, but not a checkpoint of minigan: name the one of a run")
            record = msgspec.convert(parse_json(metadata[_KEY]), Record)
            return {name: file.get_tensor(name) for name in file.keys()}, record  # noqa: SIM118 (not a dict)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}; make it readable") from None
    except (SafetensorError, msgspec.MsgspecError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        # The last four are what becomes of dtypes that NumPy lacks, such as bfloat16.
        raise CheckpointError(f"{path} is damaged or no checkpoint ({error}): take an earlier copy") from None


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError for numbers that no run saves."""
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{shorten(name)} is {array.dtype}, expected real numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{shorten(name)} holds numbers that are not finite")
        if array.dtype.kind == "i" and array.size and array.min() < 0:
            raise ValueError(f"{shorten(name)} is {array.min()}, expected a count from 0 up")


def check_state(
    state: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray], path: str | Path, any_precision: bool = False
) -> None:
    """Raises CheckpointError unless the state of a checkpoint and a game's own have the same names, shapes and dtypes.

    any_precision: floats may be of another dtype.
    """
    for name in sorted(state.keys() | own.keys()):
        there, here = (_form(a, any_precision) for a in (state.get(name), own.get(name)))
        if there != here:
            raise CheckpointError(
                f"{path} is of another game: {shorten(name)} is {there} in it, and {here} in the game given; "
                "build its networks as they were"
            )


def _form(array: np.ndarray | None, any_precision: bool) -> str:
    if array is None:
        return "missing"
    return f"{'float' if any_precision and array.dtype.kind == 'f' else array.dtype} {array.shape}"


def digest_of(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """A hash of arrays by name, and of a text that belongs to them."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape};".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
