"""Image files as cameras, scanners and drawing programs write them."""

import re

import numpy as np
import pytest
from PIL import Image

from minigan.data import load
from minigan.data.images import ANIMATED, COMPOSED, FITS, TURNED, read_image, resize
from minigan.errors import DataError, OptionError

SHADES = np.random.default_rng(0).integers(0, 256, (8, 6), dtype=np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (8, 6, 3), dtype=np.uint8)
OPACITY = np.random.default_rng(2).integers(0, 256, (8, 6, 1), dtype=np.uint8)
ON_WHITE = np.rint((COLOURS * (OPACITY / 255)) + 255 * (1 - OPACITY / 255))
# How a camera stores an upright picture, by the EXIF orientation that undoes it (EXIF 2.3, table 4.6.4 A, tag 0x0112).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: np.rot90,
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def write(path, array, mode=None, **options):
    image = Image.fromarray(np.ascontiguousarray(array))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg"])
def test_photos_are_turned_upright(tmp_path, orientation, name):
    picture = COLOURS if name != "a.jpg" else np.full((8, 6, 3), 50, np.uint8)
    if name == "a.jpg":  # JPEG blurs: one bright corner tells how it lies
        picture[:4, :3] = 200
    options = {"lossless": True} if name == "a.webp" else {}
    path = write(tmp_path / name, STORED[orientation](picture), exif=oriented(orientation), **options)
    pixels, changes = read_image(path)
    np.testing.assert_allclose(pixels.astype(int), picture, atol=0 if name != "a.jpg" else 40)
    assert changes == ((TURNED,) if orientation > 1 else ())


def test_sixteen_bit_photos_are_turned_too(tmp_path):
    path = write(tmp_path / "a.png", STORED[6](SHADES).astype(np.uint16) * 257, exif=oriented(6))
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], SHADES)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff", oriented(0).tobytes(), oriented(77).tobytes()]
)
def test_damaged_exif_data_do_no_harm(tmp_path, exif):
    pixels, changes = read_image(write(tmp_path / "a.png", COLOURS, exif=exif))
    np.testing.assert_array_equal(pixels, COLOURS)
    assert changes == ()


def test_transparency_is_composed_on_white(tmp_path):
    """Of colour and grey, as a channel, as one transparent shade and in a palette; what is opaque stays as it is."""
    for name, options in (("a.png", {}), ("a.webp", {"lossless": True, "exact": True})):
        pixels, changes = read_image(write(tmp_path / name, np.dstack([COLOURS, OPACITY]), **options))
        np.testing.assert_allclose(pixels, ON_WHITE, atol=0.51)
        assert changes == (COMPOSED,)
    pixels, changes = read_image(write(tmp_path / "grey.png", np.dstack([SHADES, OPACITY])))
    np.testing.assert_allclose(pixels[..., 0], SHADES * (OPACITY[..., 0] / 255) + 255 - OPACITY[..., 0], atol=0.51)
    for array, shade in ((SHADES, int(SHADES[0, 0])), (SHADES.astype(np.uint16) * 257, int(SHADES[0, 0]) * 257)):
        pixels, changes = read_image(write(tmp_path / "shade.png", array, transparency=shade))
        np.testing.assert_array_equal(pixels[..., 0], np.where(SHADES[0, 0] == SHADES, 255, SHADES))
        assert changes == (COMPOSED,)
    colour = tuple(COLOURS[0, 0].tolist())
    pixels, _ = read_image(write(tmp_path / "colour.png", COLOURS, transparency=colour))
    np.testing.assert_array_equal(pixels, np.where((colour == COLOURS).all(axis=2, keepdims=True), 255, COLOURS))
    path = write(tmp_path / "palette.png", SHADES // 64, "P", transparency=bytes([0, 128, 255, 255]))
    assert read_image(path).changes == (COMPOSED,)
    pixels, changes = read_image(write(tmp_path / "opaque.png", np.dstack([COLOURS, np.full_like(OPACITY, 255)])))
    np.testing.assert_array_equal(pixels, COLOURS)
    assert changes == ()


@pytest.mark.parametrize(
    ("name", "array", "mode", "channels"),
    [
        ("bits.png", SHADES, "1", 1),
        ("grey.bmp", SHADES, None, 1),
        ("grey.png", SHADES, "P", 1),  # a palette of greys
        ("colours.png", COLOURS, "P", 3),
        ("colours.bmp", COLOURS, None, 3),
        ("print.jpg", COLOURS, "CMYK", 3),
        ("video.jpg", COLOURS, "YCbCr", 3),
    ],
)
def test_every_mode_is_grey_or_rgb(tmp_path, name, array, mode, channels):
    options = {"quality": 100, "subsampling": 0} if name.endswith(".jpg") else {}
    pixels, changes = read_image(write(tmp_path / name, array, mode, **options))
    assert (pixels.shape, pixels.dtype, changes) == ((8, 6, channels), np.uint8, ())
    if name != "bits.png":
        assert np.abs(pixels.reshape(array.shape).astype(int) - array).mean() < (20 if mode == "P" else 3)


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path, name):
    frames = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
    options = {"lossless": True} if name == "a.webp" else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    pixels, changes = read_image(tmp_path / name)
    np.testing.assert_array_equal(pixels, COLOURS)
    assert changes == (ANIMATED,)
    frames[0].save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=frames[1:])  # a photo and its preview
    assert read_image(tmp_path / "phone.jpg").changes == ()


@pytest.mark.parametrize("kind", ["EPS", "GIF", "TIFF", "PPM", "PDF", "ICO"])
def test_other_formats_do_not_pass_under_a_false_name(tmp_path, kind, monkeypatch):
    """Pillow gives EPS to Ghostscript, a program of its own: the name of a file is not to be believed."""
    monkeypatch.setattr("subprocess.check_call", lambda *args, **kwargs: pytest.fail("another program was started"))
    write(tmp_path / "a.png", COLOURS, format=kind)
    with pytest.raises(
        DataError, match=r"a\.png is not a readable image \(its content is no PNG, JPEG, WebP or BMP, or damaged\)"
    ):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "it is empty"), (b"hello", "its content is no PNG"), (b"\x89PNG\r\n\x1a\n", "is not a readable image")],
)
def test_what_is_no_image(tmp_path, content, message):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_image(tmp_path / "a.png")


def test_an_image_cut_off_is_damaged(tmp_path):
    for name in ("a.png", "a.jpg", "a.webp", "a.bmp"):
        path = write(tmp_path / name, COLOURS)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match=f"{re.escape(name)} is not a readable image"):
            read_image(path)


# -- another size --------------------------------------------------------------------------------------------------------

WIDE = np.repeat(np.array([[10, 20, 30, 40]], np.uint8), 2, axis=0)[..., None]  # 2x4


def test_how_images_come_to_a_size():
    """By Pillow, whose scaling is a mean where it halves; black is what none of the image lies on."""
    cut, pad, stretch, crop = (resize(WIDE, (2, 2), fit)[..., 0] for fit in FITS)
    np.testing.assert_array_equal(cut, [[20, 30], [20, 30]])
    np.testing.assert_array_equal(crop, [[20, 30], [20, 30]])
    assert pad.shape == (2, 2)
    assert stretch[0, 0] == stretch[1, 0] < 20
    assert stretch[0, 1] > 30
    np.testing.assert_array_equal(resize(WIDE, (4, 4), "pad")[..., 0], [[0] * 4, WIDE[0, :, 0], WIDE[0, :, 0], [0] * 4])
    np.testing.assert_array_equal(resize(WIDE, (3, 6), "crop")[1, :, 0], [0, 10, 20, 30, 40, 0])
    np.testing.assert_array_equal(resize(WIDE, (4, 2), "crop")[..., 0], [[0, 0], [20, 30], [20, 30], [0, 0]])


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 6), (5, 9), (16, 3), (1, 1)])
def test_images_of_every_size_come_to_any(fit, channels, size):
    image = np.random.default_rng(0).integers(0, 256, (8, 6, channels), dtype=np.uint8)
    made = resize(image, size, fit)
    assert (made.shape, made.dtype) == ((*size, channels), np.uint8)
    if size == (8, 6):
        np.testing.assert_array_equal(made, image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "stretsh", "image_size": 8}, "fit is 'stretsh': did you mean 'stretch'"),
        ({"fit": "pad"}, "fit is pad, and there is no image_size to bring images to: name one, or leave fit out"),
        ({"memory_share": 1}, "memory_share is 1: expected a number from 0 to below 1"),
        ({"memory_share": float("nan")}, "memory_share is nan"),
        ({"memory_share": "x"}, "memory_share is 'x'"),
    ],
)
def test_options_of_no_use(options, message):
    with pytest.raises(OptionError, match=message):
        load("digits", **options)


def test_arrays_are_padded_too():
    """28x28 in the middle of 32x32, as MNIST often is."""
    digits = load("digits", image_size=32, fit="crop").values
    np.testing.assert_array_equal(digits[:, 2:-2, 2:-2], load("digits").values)
    assert digits[:, :2].max() == digits[:, :, -2:].max() == 0


@pytest.mark.parametrize("data", ["ring", "grid"])
def test_points_have_no_reflection(data):
    with pytest.raises(DataError, match=f"mirror is for images, and '?{data}'? holds points: leave it out"):
        load(data, mirror=True)
