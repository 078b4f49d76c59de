"""WAV files: 16-bit sound read and written."""

from __future__ import annotations

import io
import os
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigan.data.reading import opened, refusing_damage, shown
from minigan.errors import DataError

WAV_SUFFIXES = (".wav", ".wave")
GAP = 0.1  # seconds of silence behind each of several sounds in one file
LARGEST = 2**32 - 2**10  # bytes of sound in a file, whose header tells sizes in 32 bits
CHANNELS = {1: "mono", 2: "stereo"}
_REMEDY = "convert it, as with: ffmpeg -i IN.wav -c:a pcm_s16le OUT.wav"
_FORMATS = {1: "plain", 2: "ADPCM", 3: "floats", 6: "A-law", 7: "µ-law", 17: "ADPCM", 49: "GSM", 85: "MP3", 65534: "extensible"}


class Recording(NamedTuple):
    """values: int16 (T, C), at `rate` a second and channel."""

    values: np.ndarray
    rate: int


def read_wav(path: Path) -> Recording:
    """The sound of a WAV file of 16 bits, mono or stereo.

    Raises DataError for other forms, for a file without sound, and for one that is damaged or shorter than its header says.
    """
    with opened(path) as file, refusing_damage(path, "WAV file", "remove or replace it"):
        size = os.fstat(file.fileno()).st_size
        try:
            reader = wave.open(file, "rb")  # noqa: SIM115  # closing it would close nothing: the file is opened here
        except (wave.Error, EOFError) as error:
            raise _refusal(path, error, size) from None
        channels, width, rate, count = (
            reader.getnchannels(),
            reader.getsampwidth(),
            reader.getframerate(),
            reader.getnframes(),
        )
        if width != 2:
            raise DataError(f"{shown(path)} is sound of {8 * width} bits: expected 16; {_REMEDY}")
        if channels not in CHANNELS:
            raise DataError(f"{shown(path)} has {channels} channels: expected mono or stereo; mix it down to one of these")
        if rate < 1:
            raise ValueError("its header says 0 values a second")
        declared = count * channels * width
        raw = reader.readframes(count) if declared <= size else b""
        if len(raw) != declared:
            raise ValueError(f"its header says {declared} bytes of sound, and it has fewer")
    if not count:
        raise DataError(f"{shown(path)} holds no sound: remove it")
    return Recording(np.frombuffer(raw, "<i2").astype(np.int16).reshape(count, channels), rate)


def wav_bytes(sounds: np.ndarray, rate: int) -> bytes:
    """int16 sounds (N, T, C) as a WAV file: one after the other, and where there are several, 0.1 s of silence behind each."""
    gap = round(GAP * rate) if len(sounds) > 1 else 0
    size = sounds.itemsize * len(sounds) * (sounds.shape[1] + gap) * sounds.shape[2]
    if size > LARGEST:
        raise DataError(f"{len(sounds):,} sounds take {size / 2**30:.3g} GiB, and a WAV file holds 4: write fewer into one")
    padded = np.pad(sounds, ((0, 0), (0, gap), (0, 0)))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(sounds.shape[2])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(padded.astype("<i2").tobytes())
    return buffer.getvalue()


def _refusal(path: Path, error: Exception, size: int) -> Exception:
    """What is wrong with a file that Python's wave does not read."""
    text = str(error)
    if text.startswith("unknown format: "):
        number = text.rpartition(" ")[2]
        what = _FORMATS.get(int(number), "unknown") if number.isdecimal() else "unknown"
        return DataError(f"{shown(path)} is a WAV file of format {number} ({what}): expected 16-bit PCM; {_REMEDY}")
    return ValueError("it is empty" if not size else text or "it ends within its header")
