"""Image files decoded, and images brought to another size."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigan.data.arrays import on_white
from minigan.data.reading import Pathname, opened, refusing_damage
from minigan.errors import DataError

KINDS = "PNG, JPEG, WebP or BMP"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # Pillow knows dozens; some of them start other programs
FITS = {
    "cut": "scaled and cut about the centre",
    "pad": "scaled whole, with black beside",
    "stretch": "scaled, proportions or not",
    "crop": "not scaled, but cut about the centre, or set in black",
}
_ORIENTATION = 0x0112  # EXIF's tag: how the camera was held
TURNED, COMPOSED, ANIMATED = (
    "turned upright as their EXIF orientation says",
    "with transparent pixels, composed on white",
    "animated, of which the first frame is taken",
)


class Picture(NamedTuple):
    """pixels: uint8 (H, W, 1) for a grey image, else (H, W, 3). changes: what was done to it, for a note."""

    pixels: np.ndarray
    changes: tuple[str, ...]


def read_image(path: Pathname) -> Picture:
    """An image file: turned upright, transparency composed on white, 16 bits brought to 8.

    Raises DataError for a file that is damaged, may not be read, or is of another format, whatever its name says.
    """
    from PIL import Image, UnidentifiedImageError

    with opened(path) as file, refusing_damage(path, "image", "remove or replace it"):
        try:
            image = Image.open(file, formats=_FORMATS)
        except UnidentifiedImageError:
            file.seek(0)
            empty = not file.read(1)
            raise ValueError("it is empty" if empty else f"its content is no {KINDS}, or damaged") from None
        with image:
            return _decode(image)


def resize(image: np.ndarray, size: tuple[int, int], fit: str = "cut") -> np.ndarray:
    """An image uint8 (H, W, C) at (height, width); fit: how it comes to it, see FITS."""
    from PIL import Image

    flat = image[..., 0] if image.shape[2] == 1 else image
    try:
        fitted = _fitted(Image.fromarray(flat), (size[1], size[0]), fit)
    except (ValueError, MemoryError, OverflowError):
        height, width = image.shape[:2]
        raise DataError(f"an image of {height}x{width} cannot be scaled to {size[0]}x{size[1]}: choose another size") from None
    return np.array(fitted).reshape(*size, image.shape[2])


def _fitted(image: Any, size: tuple[int, int], fit: str) -> Any:
    """A picture of Pillow's at (width, height)."""
    from PIL import Image, ImageOps

    if fit == "pad":
        return ImageOps.pad(image, size, Image.Resampling.LANCZOS)
    if fit == "stretch":
        return image.resize(size, Image.Resampling.LANCZOS)
    if fit == "crop":
        left, top = ((own - wanted) // 2 for own, wanted in zip(image.size, size, strict=True))
        return image.crop((left, top, left + size[0], top + size[1]))  # black beyond the edges
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _decode(image: Any) -> Picture:
    from PIL import ImageOps

    image.load()
    changes = []
    if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a photo, with a depth map or preview behind it
        changes.append(ANIMATED)
    if _orientation(image) in range(2, 9):
        image = ImageOps.exif_transpose(image)
        changes.append(TURNED)
    if image.mode.startswith("I"):
        pixels = _sixteen_bits(image)
    elif image.mode == "RGB" and not image.has_transparency_data:
        pixels = np.asarray(image)  # as nearly all are: the quick way
    else:
        pixels = np.array(image.convert("RGBA" if image.has_transparency_data else "RGB"))
        if image.mode in ("1", "L", "LA", "La") or (image.mode in ("P", "PA") and _is_grey(pixels)):
            pixels = np.delete(pixels, (1, 2), axis=2)
    if pixels.shape[2] in (2, 4):
        if pixels[..., -1].min() < 255:
            changes.append(COMPOSED)
        pixels = on_white(pixels)
    return Picture(pixels, tuple(changes))


def _orientation(image: Any) -> Any:
    if not any("exif" in str(key).lower() or "xmp" in str(key).lower() for key in image.info):
        return None  # to look for it takes a quarter as long as all of a small PNG
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF data say nothing about the pixels
        return None


def _is_grey(pixels: np.ndarray) -> bool:
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())


def _sixteen_bits(image: Any) -> np.ndarray:
    """uint8 (H, W, 1), or (H, W, 2) with opacity, of a grey image of 16 bits."""
    shades = np.asarray(image)
    pixels = np.rint(np.clip(shades / 257, 0, 255)).astype(np.uint8)[..., None]
    see_through = image.info.get("transparency")  # the one shade that is
    if not isinstance(see_through, int):
        return pixels
    return np.concatenate([pixels, np.where(shades == see_through, 0, 255)[..., None].astype(np.uint8)], axis=2)
