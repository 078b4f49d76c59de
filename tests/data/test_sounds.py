"""WAV files as data: made by hand, of several rates and lengths; and one line for each way that they can be wrong."""

import io
import struct
import sys
import wave

import numpy as np
import pytest
from PIL import Image

from minigan.data import Batches, Dataset, load
from minigan.data.kinds import Sound, floats_to_steps, kind_from_json, steps_to_floats
from minigan.data.synthetic import tones
from minigan.data.wav import read_wav, wav_bytes
from minigan.errors import DataError, OptionError

RNG = np.random.default_rng(0)


def riff(values, rate=8000, channels=1, bits=16, code=1, declared=None):
    """A WAV file, byte by byte."""
    raw = np.asarray(values).tobytes()
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", code, channels, rate, rate * frame, frame, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"LIST" + struct.pack("<I", 4) + b"note"  # which readers skip
    body += b"data" + struct.pack("<I", len(raw) if declared is None else declared) + raw
    return b"RIFF" + struct.pack("<I", len(body)) + body


def steps(*shape):
    return RNG.integers(-32768, 32768, shape, dtype=np.int16)


def put(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def refused(data, *words, **options):
    with pytest.raises((DataError, OptionError)) as caught:
        load(data, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) <= 300
    for word in words:
        assert word in text


# -- values ------------------------------------------------------------------------------------------------------------


def test_steps_and_floats_are_each_others_inverse():
    every = np.arange(-32768, 32768, dtype=np.int16)
    floats = steps_to_floats(np, every.astype(np.float32))
    assert (floats.min(), floats.max()) == (-1, 32767 / 32768)
    np.testing.assert_array_equal(floats_to_steps(floats), every)
    np.testing.assert_array_equal(floats_to_steps(np.array([-9.0, -1, 1, 9])), [-32768, -32768, 32767, 32767])


def test_batches_are_floats(backend):
    dataset = Dataset("own", steps(6, 40, 2), kind=Sound(8000))
    batches = Batches(dataset, 6, backend)
    x = batches.backend.to_numpy(batches.next())
    assert x.dtype == np.float32
    assert sorted(floats_to_steps(x)[:, 0, 0]) == sorted(dataset.values[:, 0, 0])
    assert (batches.dataset.shape, len(dataset)) == ((40, 2), 6)


def test_the_rate_is_part_of_the_kind():
    assert kind_from_json(Sound(44_100).to_json(), (64, 1)) == Sound(44_100)
    for rate in (0, -1, 1.5, "8000", True, None):
        with pytest.raises(ValueError, match="expected a whole number of Hz"):
            kind_from_json({"name": "sound", "rate": rate}, (64, 1))
    with pytest.raises(ValueError, match="unknown properties"):
        kind_from_json({"name": "sound", "hertz": 3}, (64, 1))


@pytest.mark.parametrize("channels", [1, 2])
def test_written_and_read_again(tmp_path, channels):
    sounds = steps(3, 50, channels)
    (tmp_path / "one.wav").write_bytes(wav_bytes(sounds[:1], 8000))
    np.testing.assert_array_equal(read_wav(tmp_path / "one.wav").values, sounds[0])
    (tmp_path / "all.wav").write_bytes(wav_bytes(sounds, 8000))
    values, rate = read_wav(tmp_path / "all.wav")
    assert (rate, len(values)) == (8000, 3 * (50 + 800))
    for index in range(3):
        start = 850 * index
        np.testing.assert_array_equal(values[start : start + 50], sounds[index])
        assert not values[start + 50 : start + 850].any()


def test_tones():
    """Each is the formula's: peaks of 0.9, power at three harmonics of one pitch, and by seed."""
    dataset = load("tones")
    assert dataset.values.shape == (20_000, 256, 1)
    assert dataset.kind == Sound(4000)
    assert (np.abs(dataset.values.astype(int)).max(axis=1) == floats_to_steps(np.array([0.9]))[0]).all()
    power = np.abs(np.fft.rfft(tones(4000, 4000, count=5, seed=3)[..., 0] / 32768, axis=1)) ** 2  # of 1 s: a bin a Hz
    pitch = power.argmax(axis=1)
    assert ((pitch >= 219) & (pitch <= 441)).all()
    for spectrum, f in zip(power, pitch, strict=True):
        near = sum(spectrum[k * f - 60 : k * f + 61].sum() for k in (1, 2, 3))
        assert near > 0.85 * spectrum.sum()
    np.testing.assert_array_equal(tones(count=4), tones(count=4))
    assert (tones(count=4, seed=1) != tones(count=4)).any()
    longer = load("tones", length=8192, rate=16_000)
    assert (longer.values.shape, longer.kind) == ((2048, 8192, 1), Sound(16_000))


# -- folders -----------------------------------------------------------------------------------------------------------


def test_a_folder_is_cut_to_pieces(tmp_path):
    """In the order of names; what is left at an end is left out, what is too short is filled up, and both are told."""
    a, b, c = steps(250), steps(40), steps(100)
    folder = put(tmp_path / "top", b__wav=riff(b), a__WAV=riff(a), c__wave=riff(c))
    put(folder / ".hidden", d__wav=b"no sound")
    dataset = load(folder, length=100)
    assert dataset.kind == Sound(8000)
    np.testing.assert_array_equal(dataset.values[:2, :, 0].ravel(), a[:200])
    np.testing.assert_array_equal(dataset.values[2, :, 0], np.pad(b, (0, 60)))
    np.testing.assert_array_equal(dataset.values[3, :, 0], c)
    assert len(dataset) == 4
    assert [note.partition(": ")[2] for note in dataset.notes] == [
        "1 sounds shorter than 100 values were filled up with silence",
        "0.0 s at the ends of sounds, less than a piece each, were left out",
    ]
    assert load(folder / "a.WAV", length=50).values.shape == (5, 50, 1)
    assert load(folder).values.shape == (3, 4096, 1)


def test_stereo(tmp_path):
    values = steps(120, 2)
    dataset = load(put(tmp_path, a__wav=riff(values, 44_100, 2)), length=60)
    np.testing.assert_array_equal(dataset.values, values.reshape(2, 60, 2))
    assert dataset.kind == Sound(44_100)
    assert dataset.notes == ()


def test_other_rates_are_brought_to_that_of_most(tmp_path):
    pytest.importorskip("soxr", reason="soxr is not installed: pip install soxr")
    hum = lambda rate: np.rint(16384 * np.sin(2 * np.pi * 100 * np.arange(rate) / rate)).astype(np.int16)  # noqa: E731
    folder = put(tmp_path, a__wav=riff(hum(4000), 4000), b__wav=riff(hum(2000), 2000), c__wav=riff(hum(4000), 4000))
    dataset = load(folder, length=4000)
    assert (len(dataset), dataset.kind) == (3, Sound(4000))
    resampled, own = dataset.values[1, 500:-500, 0].astype(int), dataset.values[0, 500:-500, 0].astype(int)
    assert np.abs(resampled - own).max() < 0.01 * 16384, "a second of the same hum"
    (note,) = dataset.notes
    assert (
        "1 of 3 sounds at 2,000 Hz were resampled to 4,000 Hz, the rate of most, or of as many as another; --rate names one"
        in note
    )
    slower = load(folder, length=1000, rate=1000)
    assert (slower.kind, len(slower)) == (Sound(1000), 3)
    assert "3 of 3 sounds at 2,000, 4,000 Hz were resampled to 1,000 Hz" in slower.notes[0]
    np.testing.assert_array_equal(load(folder, length=4000).values, dataset.values)


def test_without_soxr_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    folder = put(tmp_path, a__wav=riff(steps(100), 8000))
    assert len(load(folder, length=50)) == 2
    assert len(load(folder, length=50, rate=8000)) == 2
    refused(folder, "holds sound of 8,000 Hz, to be resampled to 4,000", "pip install soxr", "leave out --rate", rate=4000)


def test_images_beside_sound_are_left_out(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "cover.png")
    dataset = load(put(tmp_path, a__wav=riff(steps(100))), length=50)
    assert dataset.notes[0].endswith("holds 1 WAV files and 1 images: it was read as sound, the images left out")


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (riff(np.zeros(9, np.float32), bits=32, code=3), ("of format 3 (floats): expected 16-bit PCM; convert it",)),
        (riff(steps(50), code=17), ("of format 17 (ADPCM): expected 16-bit PCM",)),
        (riff(np.zeros(50, np.uint8), bits=8, code=7), ("of format 7 (µ-law)",)),
        (riff(np.zeros(50, np.uint8), bits=8), ("is sound of 8 bits: expected 16; convert it",)),
        (riff(np.zeros(51, np.uint8), bits=24), ("is sound of 24 bits: expected 16",)),
        (riff(steps(60), channels=6), ("has 6 channels: expected mono or stereo",)),
        (riff(steps(0)), ("holds no sound: remove it",)),
        (b"", ("is not a readable WAV file (it is empty): remove or replace it",)),
        (b"RIFF", ("is not a readable WAV file (",)),
        (b"PNG, says its name not", ("is not a readable WAV file (", "RIFF")),
        (riff(steps(50))[:-7], ("is not a readable WAV file (its header says 100 bytes of sound, and it has fewer)",)),
        (riff(steps(50), declared=2**32 - 2), ("its header says 4294967294 bytes of sound, and it has fewer",)),
        (riff(steps(50), rate=0), ("0 values a second",)),
        (riff(steps(50), channels=0), ("is not a readable WAV file (",)),
    ],
    ids=[
        "floats",
        "ADPCM",
        "µ-law",
        "8-bit",
        "24-bit",
        "six",
        "silent",
        "empty",
        "short",
        "other",
        "cut",
        "lies",
        "rate",
        "none",
    ],
)
def test_files_that_are_refused(tmp_path, content, words):
    refused(put(tmp_path, good__wav=riff(steps(50)), spoilt__wav=content), "spoilt.wav", *words)


def test_what_does_not_go_together_is_refused(tmp_path):
    folder = put(tmp_path / "both", a__wav=riff(steps(50)), b__wav=riff(steps(50, 2), channels=2))
    refused(folder, "a.wav is mono and", "b.wav is stereo: all must be one of these")
    refused("digits", "length is 64, but digits holds images: leave it out", length=64)
    refused("ring", "rate is 8000, but ring holds points: leave it out", rate=8000)
    refused("tones", "image_size is (8, 8), but tones holds sound: leave it out", image_size=8)
    refused("tones", "rate is 100: the tones need at least 2640 values a second", rate=100)
    refused("tones", "GiB of memory", length=2**50)
    refused(put(tmp_path / "long", a__wav=riff(steps(50))), "GiB of memory", length=2**45)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a.wav").symlink_to("gone.wav")
    refused(tmp_path / "linked", "a.wav is a link to nothing")


def test_python_reads_what_is_written():
    with wave.open(io.BytesIO(wav_bytes(steps(1, 20, 2), 22_050))) as file:
        assert file.getparams()[:4] == (2, 2, 22_050, 20)
