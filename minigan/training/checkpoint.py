"""Save and restore a whole run: one safetensors file, never pickle.

Arrays are the tensors; everything else (step, data position, random states, configuration) is one JSON text in the metadata,
with a digest of both, so that damage anywhere is noticed. Equal states make equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigan.errors import CheckpointError
from minigan.files import write_atomically

FORMAT = 2
_KEY = "minigan"  # one metadata key: safetensors writes several in no fixed order


def save(path: str | Path, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
    """Write arrays and info (plain JSON) to path, whole or not at all. Raises MiniganError if the disk refuses."""
    from safetensors.numpy import save as to_bytes

    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps(info, sort_keys=True)
    record = {"format": FORMAT, "digest": _digest(contiguous, text), "info": text}
    write_atomically(path, to_bytes(contiguous, metadata={_KEY: json.dumps(record, sort_keys=True)}))


def load(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, info) from a file that save wrote. Raises CheckpointError if it is missing, damaged or something else."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint {path}: expected a file that minigan train wrote")
    try:
        with safe_open(path, framework="numpy") as file:
            record = json.loads((file.metadata() or {})[_KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        number, digest, text = record["format"], record["digest"], record["info"]
    except KeyError:
        raise CheckpointError(f"{path} is a safetensors file, but not a checkpoint of minigan") from None
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint ({error}): take an earlier copy") from None
    if number != FORMAT:
        raise CheckpointError(f"{path} has checkpoint format {number}: this version of minigan reads format {FORMAT}")
    if digest != _digest(arrays, text):
        raise CheckpointError(f"{path} is damaged: its content does not match its digest; take an earlier copy")
    return arrays, json.loads(text)


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape};".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
