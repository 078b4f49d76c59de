"""DiffAugment against PyTorch code like its authors', with the layer's own draws, and what it does to a batch."""

import numpy as np
import pytest
from one_layer import draw, host

import minigan as mg
from minigan.errors import OptionError, ShapeError


def by_authors(x, draws, translation):
    """rand_saturation, rand_contrast, rand_brightness and rand_translation of one image after the other."""
    y = np.zeros_like(x)
    for n, (image, (s, c, b, u, v)) in enumerate(zip(x, draws, strict=True)):
        image = (image - image.mean(axis=2, keepdims=True)) * (s * 2) + image.mean(axis=2, keepdims=True)
        image = (image - image.mean()) * (c + 0.5) + image.mean() + (b - 0.5)
        most = [int(size * translation + 0.5) for size in image.shape[:2]]
        i, j = (int(np.floor(r * (2 * k + 1))) - k for r, k in zip((u, v), most, strict=True))
        padded = np.pad(image, ((most[0], most[0]), (most[1], most[1]), (0, 0)))
        y[n] = padded[most[0] + i :, most[1] + j :][: image.shape[0], : image.shape[1]]
    return y


def test_it_is_the_authors_map_of_every_image(backend):
    net = mg.Sequential([mg.DiffAugment()], (9, 8, 3), backend, "float64", seed=1)
    x = draw(net, (40, 9, 8, 3))
    y, (draws,) = net.forward(x, train=True)
    np.testing.assert_allclose(host(net, y), by_authors(host(net, x), host(net, draws), 0.125), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(host(net, net.forward(x)[0]), host(net, x))


@pytest.mark.parametrize("options", [{"color": False}, {"translation": 0}, {"color": False, "translation": 0}, {}], ids=repr)
def test_parts_left_out(options, backend):
    assert mg.check_layer(mg.DiffAugment(**{"translation": 0.4, **options}), (4, 3, 2), backend=backend).ok
    net = mg.Sequential([mg.DiffAugment(**options)], (8, 8, 1), backend, "float64")
    x = net.backend.asarray(np.ones((50, 8, 8, 1)))
    y = host(net, net.forward(x, train=True)[0])
    assert (y[:, 3:5, 3:5] == 1).all() == (not options.get("color", True))
    assert (y == 0).any() == bool(options.get("translation", True))


def test_every_shift_is_drawn_as_often():
    net = mg.Sequential([mg.DiffAugment(color=False)], (8, 8, 1), "textbook", "float64")
    x = np.zeros((4000, 8, 8, 1))
    x[:, 4, 4] = 1
    y = net.forward(x, train=True)[0].mean(axis=0)[..., 0]
    np.testing.assert_allclose(y[3:6, 3:6], 1 / 9, atol=0.02)
    assert y.sum() == pytest.approx(1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"DiffAugment \(layer 0\) needs \(H, W, C\), got \(4,\)"):
        mg.Sequential([mg.DiffAugment()], (4,), "textbook")
    with pytest.raises(OptionError, match="DiffAugment: translation is 1"):
        mg.DiffAugment(translation=1)
