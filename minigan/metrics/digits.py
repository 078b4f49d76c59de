"""Features of 28×28 grey images, by a small classifier that minigan has trained on the bundled digits."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from minigan.data import pixels_to_floats
from minigan.errors import ShapeError
from minigan.layers import BatchNorm, Conv2d, Dense, Flatten, Layer, LeakyReLU
from minigan.network import Sequential

SHAPE = (28, 28, 1)
WEIGHTS = "digits.safetensors"  # benchmarks/train_digit_features.py makes it
BATCH = 250  # images in a pass


def _layers() -> list[Layer]:
    """All but the last, in which the features become ten logits."""

    def block(channels: int, kernel: int, stride: int) -> list[Layer]:
        return [Conv2d(channels, kernel, stride=stride, padding=1, bias=False), BatchNorm(), LeakyReLU(0.1)]

    blocks = [*block(24, 4, 2), *block(32, 3, 1), *block(48, 4, 2), *block(48, 3, 1), *block(48, 3, 2)]
    return [*blocks, Flatten(), Dense(64, bias=False), BatchNorm(), LeakyReLU(0.1)]


def digit_classifier(seed: int = 0) -> Sequential:
    """The classifier, untrained: images (N, 28, 28, 1) in [−1, 1] to ten logits."""
    return Sequential([*_layers(), Dense(10)], SHAPE, "numpy", seed=seed)


def trained_weights() -> dict[str, np.ndarray]:
    """The state of the trained classifier that comes with the package."""
    from safetensors.numpy import load

    state = load(resources.files("minigan.metrics").joinpath(WEIGHTS).read_bytes())
    return {name: values.astype(np.float32) for name, values in state.items()}


@cache
def _trained(with_logits: bool) -> Sequential:
    net, state = Sequential([*_layers(), *([Dense(10)] if with_logits else [])], SHAPE, "numpy"), trained_weights()
    net.load_state_dict({name: state[name] for name in net.state_dict()})
    return net


def digit_features(images: Any) -> np.ndarray:
    """What the classifier's last layer takes: float32 (N, 64) from images (N, 28, 28, 1), uint8 or floats in [−1, 1].

    Raises ShapeError for anything else.
    """
    return _outputs(_trained(with_logits=False), images)


def recognised_digits(images: Any) -> np.ndarray:
    """The digit, 0 to 9, that the classifier takes each image for: (N,), of images as for digit_features."""
    return _outputs(_trained(with_logits=True), images).argmax(axis=1)


def _outputs(net: Sequential, images: Any) -> np.ndarray:
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[1:] != SHAPE or not len(array) or array.dtype.kind not in "uf":
        raise ShapeError(f"images are {array.dtype} {array.shape}: expected grey ones (N, 28, 28, 1), uint8 or in [-1, 1]")
    if array.dtype.kind == "f" and not (np.abs(array).max() <= 1 + 1e-3):
        raise ShapeError(f"images hold values up to {np.abs(array).max():.4g}: expected [-1, 1], or uint8")
    if array.dtype.kind == "u":
        array = pixels_to_floats(np, array)
    parts = (array[start : start + BATCH].astype(np.float32) for start in range(0, len(array), BATCH))
    return np.concatenate([net.forward(part)[0] for part in parts])
