"""Damage to files: cut off, flipped, overwritten, spliced, grown; and hostile values in place of their numbers and brackets."""

import re

import numpy as np

HOSTILE = [
    b"\xff" * 4,
    b"\xff" * 8,
    b"\0" * 4,
    b"\x7f" + b"\xff" * 7,
    b"\xff" * 7 + b"\x7f",
    b"\x80" + b"\0" * 3,
    b"\0" * 3 + b"\x80",
]
HOSTILE_NUMBERS = [b"0", b"-1", b"70", b"9999999999", b"9" * 30, b"1e400", b"0x10", b"1or", b"None", b"(" * 50, b"-" * 50]
HOSTILE_SIGNS = [b"(", b")", b"[", b"{", b"'", b'"', b",", b":", b"\0", b"\n", b"\xff", b"#", b""]


def _truncate(data, rng):
    return data[: rng.integers(0, len(data))]


def _flip_bits(data, rng):
    spoilt = bytearray(data)
    for place in rng.integers(0, _reach(data, rng), rng.integers(1, 9)):
        spoilt[place] ^= 1 << rng.integers(8)
    return bytes(spoilt)


def _zero(data, rng):
    start, end = _span(data, rng)
    return data[:start] + bytes(end - start) + data[end:]


def _randomise(data, rng):
    start, end = _span(data, rng)
    return data[:start] + rng.bytes(end - start) + data[end:]


def _delete(data, rng):
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _insert(data, rng):
    start, end = _span(data, rng)
    return data[:start] + rng.bytes(end - start) + data[start:]


def _splice(data, rng):
    (start, end), place = _span(data, rng), rng.integers(0, len(data))
    return data[:place] + data[start:end] + data[place + end - start :]


def _repeat(data, rng):
    start, end = _span(data, rng)
    return data[:end] + data[start:end] * int(rng.integers(1, 5)) + data[end:]


def _append(data, rng):
    return data + rng.bytes(rng.integers(1, 64))


def _hostile_bytes(data, rng):
    place, value = rng.integers(0, _reach(data, rng)), HOSTILE[rng.integers(len(HOSTILE))]
    return data[:place] + value + data[place + len(value) :]


def _hostile_number(data, rng):
    return _replace(rb"\d+", HOSTILE_NUMBERS, data, rng)


def _hostile_sign(data, rng):
    return _replace(rb"[][(){}',:\"]", HOSTILE_SIGNS, data, rng)


DAMAGES = {
    function.__name__.strip("_"): function
    for function in (
        *(_truncate, _flip_bits, _zero, _randomise, _delete, _insert, _splice, _repeat, _append),
        *(_hostile_bytes, _hostile_number, _hostile_sign),
    )
}


def damaged(data, rng):
    """(name of the damage, bytes): one drawn damage to a file's bytes. rng: a np.random.Generator, which decides all of it."""
    name = list(DAMAGES)[rng.integers(len(DAMAGES))]
    return name, DAMAGES[name](data, rng) if data else rng.bytes(1)


def _reach(data, rng):
    """Up to where to strike: half of the time among the first bytes, where headers are."""
    return len(data) if rng.random() < 0.5 else min(len(data), 160)


def _span(data, rng):
    """(start, end) of some bytes: few as often as many."""
    start = int(rng.integers(0, _reach(data, rng)))
    longest = max(1, len(data) - start)
    return start, start + int(np.clip(2 ** rng.uniform(0, np.log2(longest + 1)), 1, longest))


def _replace(pattern, values, data, rng):
    """The data with one place that the pattern matches replaced by one of the values; the first kilobyte is searched."""
    places = list(re.finditer(pattern, data[:1024]))
    if not places:
        return _hostile_bytes(data, rng)
    place = places[rng.integers(len(places))]
    return data[: place.start()] + values[rng.integers(len(values))] + data[place.end() :]
