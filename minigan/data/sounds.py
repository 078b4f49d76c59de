"""WAV files as one dataset: of one rate, cut to pieces of one length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minigan.data.dataset import Dataset
from minigan.data.kinds import Sound, floats_to_steps
from minigan.data.reading import check_memory, shown
from minigan.data.wav import CHANNELS, Recording, read_wav
from minigan.errors import DataError

LENGTH = 4096  # values in a piece, unless told otherwise


def read_sounds(source: Path, files: Sequence[Path], length: int | None, rate: int | None) -> Dataset:
    """The pieces of WAV files: int16 (N, length, C), in the order of the files' names.

    length: values in a piece; None: 4,096. What is left at the end of a file is left out; a file shorter than a piece is
    filled up with silence. rate: to which all are resampled; None: that of most files.
    Raises DataError for what `read_wav` refuses, for mono and stereo files together, and where something is to be resampled
    and soxr is not installed.
    """
    recordings = []
    for file in files:
        recordings.append(read_wav(file))
        one, other = recordings[0].values.shape[1], recordings[-1].values.shape[1]
        if one != other:
            raise DataError(
                f"{shown(files[0])} is {CHANNELS[one]} and {shown(file)} is {CHANNELS[other]}: all must be one of these; "
                "convert or remove the others"
            )
    length, notes = length or LENGTH, []
    target = rate or Counter(recording.rate for recording in recordings).most_common(1)[0][0]
    if any(recording.rate != target for recording in recordings):
        notes.append(_resampled(source, recordings, target, rate is None))
    lengths = [len(recording.values) for recording in recordings]
    pieces = [max(1, count // length) for count in lengths]
    check_memory(source, sum(pieces) * length * recordings[0].values.shape[1] * 2)
    values = np.zeros((sum(pieces), length, recordings[0].values.shape[1]), np.int16)
    for recording, start, count in zip(recordings, np.cumsum([0, *pieces]), pieces, strict=False):
        sound = recording.values[: count * length]
        values[start : start + count].reshape(-1, values.shape[2])[: len(sound)] = sound
    notes += _notes(source, lengths, length, target)
    return Dataset(str(source), values, notes=tuple(notes), kind=Sound(target))


def _resampled(source: Path, recordings: list[Recording], rate: int, by_majority: bool) -> str:
    """Bring recordings in a list to one rate; returns a note on it."""
    others = sorted({recording.rate for recording in recordings} - {rate})
    found = f"{', '.join(f'{number:,}' for number in others[:3])}{' and other' if len(others) > 3 else ''} Hz"
    try:
        import soxr
    except ImportError:
        raise DataError(
            f"{shown(source)} holds sound of {found}, to be resampled to {rate:,}, and the package soxr is not installed: "
            "pip install soxr" + ("" if len(others) > 1 or by_majority else f", or leave out --rate {rate}")
        ) from None
    changed = [index for index, recording in enumerate(recordings) if recording.rate != rate]
    for index in changed:
        values, own = recordings[index]
        check_memory(source, len(values) * rate / own * values.shape[1] * 4)
        floats = soxr.resample((values / np.float32(32768)).astype(np.float32), own, rate)
        if not len(floats):
            raise DataError(f"{shown(source)} holds sound of {own:,} Hz with nothing left of it at {rate:,}: raise --rate")
        recordings[index] = Recording(floats_to_steps(floats), rate)
    why = ", the rate of most, or of as many as another; --rate names one" if by_majority else ""
    return f"{shown(source)}: {len(changed):,} of {len(recordings):,} sounds at {found} were resampled to {rate:,} Hz{why}"


def _notes(source: Path, lengths: Sequence[int], length: int, rate: int) -> list[str]:
    """What became of sounds of these lengths: padded, cut off."""
    notes = []
    if short := sum(count < length for count in lengths):
        notes.append(f"{shown(source)}: {short:,} sounds shorter than {length:,} values were filled up with silence")
    if rest := sum(count % length for count in lengths if count > length):
        notes.append(f"{shown(source)}: {rest / rate:,.1f} s at the ends of sounds, less than a piece each, were left out")
    return notes
