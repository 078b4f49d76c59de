"""The sliced Wasserstein distance: the pyramid against loops, the projections against a closed form, and known changes."""

import math
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import MiniganError
from minigan.metrics import sliced_wasserstein

module = import_module("minigan.metrics.sliced_wasserstein")
SIDES = st.integers(7, 60)


def noise(count=20, shape=(28, 28, 1), seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *shape))


def blurred_by_loops(image):
    height, width = image.shape
    mirror = lambda i, side: -i if i < 0 else 2 * (side - 1) - i if i >= side else i  # noqa: E731
    weights = [1, 4, 6, 4, 1]
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            for i, a in enumerate(weights):
                for j, b in enumerate(weights):
                    out[y, x] += a * b / 256 * image[mirror(y + i - 2, height), mirror(x + j - 2, width)]
    return out


def test_blur_equals_the_loops():
    image = noise(1, (9, 7, 2))
    found = module.blurred(image)
    for channel in range(2):
        np.testing.assert_allclose(found[0, ..., channel], blurred_by_loops(image[0, ..., channel]), rtol=1e-6)


@given(SIDES, SIDES, st.integers(1, 3))
def test_the_pyramid_can_be_undone_and_has_the_sizes_that_it_says(height, width, channels):
    images = noise(2, (height, width, channels))
    levels = module.laplacian_pyramid(images)
    assert [level.shape[1:3] for level in levels] == module.level_sizes(height, width)
    assert min(levels[-1].shape[1:3]) >= 14 or len(levels) == 1
    assert min(levels[-1].shape[1:3]) < 27
    whole = levels[-1]
    for level in reversed(levels[:-1]):
        whole = level + module.enlarged(whole, level.shape)
    np.testing.assert_allclose(whole, images, atol=1e-5)


def test_a_plain_image_has_no_detail():
    first, second = module.laplacian_pyramid(np.full((1, 32, 32, 1), 0.7))
    np.testing.assert_allclose(first, 0, atol=1e-6)
    np.testing.assert_allclose(second, 0.7, rtol=1e-6)


def test_sizes_of_levels():
    assert module.level_sizes(28, 28) == [(28, 28), (14, 14)]
    assert module.level_sizes(64, 64) == [(64, 64), (32, 32), (16, 16)]
    assert module.level_sizes(128, 27) == [(128, 27), (64, 14)]
    assert module.level_sizes(7, 9) == [(7, 9)]


def test_patches_are_taken_from_their_image():
    """Of images that count their pixels through, each patch runs on by 1 to the right and by the width down."""
    shape = (3, 10, 12, 2)
    patches = module._patches(np.arange(np.prod(shape), dtype=float).reshape(shape), 50, np.random.default_rng(0))
    assert patches.shape == (150, 2, 7, 7)
    np.testing.assert_array_equal(patches[:, 1] - patches[:, 0], 1)
    np.testing.assert_array_equal(np.diff(patches, axis=3), 2)
    np.testing.assert_array_equal(np.diff(patches, axis=2), 24)
    np.testing.assert_array_equal(patches[:, 0, 0, 0] // 240, np.repeat([0, 1, 2], 50))
    corners = patches[:50, 0, 0, 0] // 2
    assert {int(c) // 12 for c in corners} == {0, 1, 2, 3}
    assert {int(c) % 12 for c in corners} == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("size", [3, 49])
def test_projected_distance_of_shifted_points(size):
    """Moved by μ, points are |u·μ| apart along u: in the mean over the sphere ‖μ‖ Γ(K/2) / (√π Γ((K+1)/2))."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200, size))
    found = module._projected_distance(a, a[::-1] + 2.0 / math.sqrt(size), 4096, rng)
    exact = 2 * math.gamma(size / 2) / (math.sqrt(math.pi) * math.gamma((size + 1) / 2))
    assert found == pytest.approx(exact, rel=0.04)


def test_normalised_patches():
    patches = module._normalised(np.random.default_rng(0).normal([[[[1.0]], [[5.0]]]], 3, (500, 2, 7, 7)).astype(np.float32))
    channels = patches.reshape(500, 2, 49)
    np.testing.assert_allclose(channels.mean(axis=(0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(channels.std(axis=(0, 2)), 1, rtol=1e-5)
    assert not module._normalised(np.ones((4, 1, 7, 7), np.float32)).any()


def test_known_changes():
    few = {"neighbourhoods": 16, "directions": 64}
    real = noise(60)
    floor = sliced_wasserstein(real, noise(60, seed=1), **few)
    assert floor.keys() == {"28x28", "14x14", "mean"}
    assert floor["mean"] == pytest.approx((floor["28x28"] + floor["14x14"]) / 2)
    blurry = sliced_wasserstein(real, module.blurred(noise(60, seed=1)), **few)
    assert blurry["28x28"] > 2 * floor["28x28"]
    brighter = sliced_wasserstein(real, 3 * noise(60, seed=1) + 10, **few)  # taken out by the normalisation
    assert brighter["mean"] < 2 * floor["mean"]
    assert sliced_wasserstein(real, noise(40, seed=1), **few)["mean"] < 3 * floor["mean"]  # of 40 each
    assert sliced_wasserstein(real, real, **few, seed=3) == sliced_wasserstein(real, real, **few, seed=3)


@pytest.mark.parametrize(
    ("real", "images", "words"),
    [
        (noise(3, (6, 28, 1)), noise(3, (6, 28, 1)), "at least 7x7"),
        (noise(3), noise(3, (28, 27, 1)), "expected one shape"),
        (noise(3)[..., 0], noise(3), "expected images"),
        (noise(3), noise(3).astype(str), r"images is an array of <U\d+: expected an array of images"),
        (noise(3), [[1.0], [1.0, 2.0]], "images is a list"),
        (noise(3), 1j * noise(3), "images is an array of complex"),
        (noise(3), 1e200 * noise(3).astype(float), "images holds .*: expected values of up to"),
        (noise(3)[:0], noise(3), "expected images"),
        (noise(3), np.full((3, 28, 28, 1), np.nan), "images holds numbers that are not finite"),
    ],
)
def test_mistakes(real, images, words):
    with pytest.raises(MiniganError, match=words):
        sliced_wasserstein(real, images)


def test_a_seed_is_a_whole_number():
    with pytest.raises(MiniganError, match="seed is -1"):
        sliced_wasserstein(noise(3), noise(3), seed=-1)
