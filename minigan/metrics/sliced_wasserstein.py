"""How alike the patches of two sets of images are, at every scale: a measure that needs no features."""

from __future__ import annotations

import numpy as np

from minigan.errors import ShapeError
from minigan.metrics.points import as_array
from minigan.sizes import positive_int, seed_parts

PATCH = 7  # pixels on a side
LEAST_SIDE = 14  # of the coarsest level, which must hold many patches
KERNEL = np.array([1, 4, 6, 4, 1], np.float32) / 16  # Burt and Adelson's
LARGEST = 1e15  # of a value, in size: float32 holds the square of the patches' spread
IMAGES, DIRECTIONS = 256, 16  # worked on at a time


def sliced_wasserstein(
    real: np.ndarray, images: np.ndarray, *, neighbourhoods: int = 128, directions: int = 512, seed: int = 0
) -> dict[str, float]:
    """The sliced Wasserstein distance of 7×7 patches of images (N, H, W, C), by level of a Laplacian pyramid, and the mean.

    Level 0 has an image's finest detail, each next one that of the image blurred and halved, the last what remains. There are
    so many that the smaller side of the last is at least 14 (28×28 has 2, 64×64 3); its size names it, as "14x14". From each
    image and level come `neighbourhoods` patches, whose channels are brought to mean 0 and variance 1 over the set. The
    distance is the mean, over random directions, of the 1-D Wasserstein distance of patches projected there. Of two sets of
    different sizes as many images are drawn from each. The authors print it times 1,000.
    Raises ShapeError unless both are images of one shape with sides of at least 7 pixels.
    Source: Karras et al. 2018 (arXiv:1710.10196), section 5; Rabin et al. 2011; Burt and Adelson 1983, for the pyramid.
    """
    real, images = (as_array(x, name, "of images (N, H, W, C)") for x, name in ((real, "real"), (images, "images")))
    _check(real, images)
    neighbourhoods, directions = positive_int(neighbourhoods, "neighbourhoods"), positive_int(directions, "directions")
    rng = np.random.default_rng(seed_parts(seed))
    count = min(len(real), len(images))
    real, images = (x if len(x) == count else x[rng.choice(len(x), count, replace=False)] for x in (real, images))
    found = {}
    for size, (a, b) in zip(level_sizes(*real.shape[1:3]), _patches_of_both(real, images, neighbourhoods, rng), strict=True):
        found["x".join(map(str, size))] = _projected_distance(_normalised(a), _normalised(b), directions, rng)
    return {**found, "mean": float(np.mean(list(found.values())))}


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """(height, width) of each level, the finest first."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= 2 * LEAST_SIDE - 1:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def _check(real: np.ndarray, images: np.ndarray) -> None:
    for name, array in (("real", real), ("images", images)):
        if array.ndim != 4 or not array.size:
            raise ShapeError(f"{name} has shape {array.shape}: expected images (N, H, W, C)")
        if min(array.shape[1:3]) < PATCH:
            raise ShapeError(f"{name} has shape {array.shape}: expected images of at least {PATCH}x{PATCH} pixels")
        if not np.isfinite(array).all():
            raise ShapeError(f"{name} holds numbers that are not finite: remove them first")
        if np.abs(array).max() > LARGEST:
            raise ShapeError(
                f"{name} holds {np.abs(array).max():.3g}: expected values of up to {LARGEST:g} in size; scale them"
            )
    if real.shape[1:] != images.shape[1:]:
        raise ShapeError(f"real are images {real.shape[1:]}, images {images.shape[1:]}: expected one shape")


def laplacian_pyramid(images: np.ndarray) -> list[np.ndarray]:
    """The levels of images (N, H, W, C): each less what the next, enlarged again, has of it; the last as it is."""
    levels = [images.astype(np.float32)]
    for _ in level_sizes(*images.shape[1:3])[1:]:
        levels.append(blurred(levels[-1])[:, ::2, ::2])
        levels[-2] = levels[-2] - enlarged(levels[-1], levels[-2].shape)
    return levels


def blurred(images: np.ndarray) -> np.ndarray:
    """Images with each value replaced by a binomial mean over 5×5; mirrored at the edges."""
    for axis in (1, 2):
        padded = np.pad(images, [(2, 2) if a == axis else (0, 0) for a in range(4)], mode="reflect")
        parts = (np.take(padded, np.arange(images.shape[axis]) + shift, axis) for shift in range(5))
        images = sum(weight * part for weight, part in zip(KERNEL, parts, strict=True))
    return images


def enlarged(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Images at twice the size: zeros set between the pixels, and the whole blurred at four times the weight."""
    spread = np.zeros(shape, np.float32)
    spread[:, ::2, ::2] = images
    return 4 * blurred(spread)


def _patches_of_both(
    real: np.ndarray, images: np.ndarray, count: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each level, the patches (N·count, 7, 7, C) of the real images and of the others."""
    sets = []
    for whole in (real, images):
        parts = []
        for start in range(0, len(whole), IMAGES):
            levels = laplacian_pyramid(whole[start : start + IMAGES])
            parts.append([_patches(level, count, rng) for level in levels])
        sets.append([np.concatenate(level) for level in zip(*parts, strict=True)])
    return list(zip(*sets, strict=True))


def _patches(level: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` patches of each image, at random places within it."""
    n, height, width, _ = level.shape
    windows = np.lib.stride_tricks.sliding_window_view(level, (PATCH, PATCH), axis=(1, 2))
    top = rng.integers(0, height - PATCH + 1, (n, count))
    left = rng.integers(0, width - PATCH + 1, (n, count))
    return windows[np.arange(n)[:, None], top, left].reshape(n * count, -1, PATCH, PATCH)


def _normalised(patches: np.ndarray) -> np.ndarray:
    """As rows, with each channel (axis 1) at mean 0 and variance 1 over all patches."""
    mean = patches.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
    spread = patches.std(axis=(0, 2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
    return ((patches - mean) / np.where(spread > 0, spread, 1)).reshape(len(patches), -1)


def _projected_distance(a: np.ndarray, b: np.ndarray, directions: int, rng: np.random.Generator) -> float:
    """The mean over unit vectors u of 1/P Σ |sorted a·u − sorted b·u|, of a and b (P, K)."""
    axes = rng.standard_normal((directions, a.shape[1])).astype(a.dtype)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    sums = []
    for start in range(0, directions, DIRECTIONS):
        one, other = (np.sort(axes[start : start + DIRECTIONS] @ x.T, axis=1) for x in (a, b))
        sums += np.abs(one - other).mean(axis=1, dtype=np.float64).tolist()
    return float(np.mean(sums))
