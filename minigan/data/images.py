"""PNG and JPEG files, and images brought to another size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigan.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


def read_folder(folder: Path, size: tuple[int, int] | None) -> np.ndarray:
    """uint8 (N, H, W, C): every PNG and JPEG file in a folder and the folders below it, in the order of their names.

    size: (height, width) to scale each to. Raises DataError for a folder without images, a damaged image, and unequal sizes.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not files:
        raise DataError(f"{folder} holds no PNG or JPEG files")
    images = [_read(file) for file in files]
    if any(image.shape[2] == 3 for image in images):  # one colour image makes all of them RGB
        images = [np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image for image in images]
    if size:
        images = [resize(image, size) for image in images]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            (h0, w0), (h1, w1) = images[0].shape[:2], image.shape[:2]
            raise DataError(
                f"{files[0]} is {h0}x{w0} and {file} is {h1}x{w1}: images must have one size; --image-size makes one"
            )
    return np.stack(images)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image uint8 (H, W, C) at (height, width), cut about the centre where the proportions differ."""
    from PIL import Image, ImageOps

    flat = image[..., 0] if image.shape[2] == 1 else image
    fitted = ImageOps.fit(Image.fromarray(flat), (size[1], size[0]), Image.Resampling.LANCZOS)
    return np.array(fitted).reshape(*size, image.shape[2])


def _read(path: Path) -> np.ndarray:
    """uint8 (H, W, 1) for a grey image, else (H, W, 3)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits a pixel
                return np.rint(np.asarray(image) / 257).astype(np.uint8)[..., None]
            grey = image.mode in ("1", "L", "LA")
            return np.array(image.convert("L" if grey else "RGB")).reshape(image.height, image.width, 1 if grey else 3)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable image ({error}): remove or replace it") from None
