"""The fast forms of the numpy backend against the textbook, on drawn shapes: minimal filtering, programs, sums, products."""

import copy
import dataclasses
import itertools
import operator
import os
import pickle
import signal
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from large_convolution import LARGE_CONVOLUTION
from layer_formulas import FORMULAS
from threadpoolctl import threadpool_info

import minigan as mg
from minigan import optim
from minigan.backends import ConvGeometry
from minigan.backends.expressions import UntraceableError, compile_formula
from minigan.backends.numpy import columns, sub_pixel, threads, winograd
from minigan.backends.numpy.backend import NumpyBackend
from minigan.backends.numpy.convolution import NARROW, WIDE, quickest_form
from minigan.backends.numpy.memory import BufferPool, Scratch
from minigan.backends.numpy.sub_pixel import SubPixel
from minigan.backends.numpy.winograd import Winograd, best_tiles, matrices
from minigan.checks.suite import layer_table
from minigan.games import Game
from minigan.layers import norm

BOOK, FAST = mg.get_backend("textbook"), mg.get_backend("numpy")
DTYPES = st.sampled_from(["float32", "float64"])


@pytest.fixture(autouse=True)
def _as_in_a_large_convolutional_network(two_threads):
    """Whatever pass came last, the backend may use threads of its own here."""
    FAST._thread.own = True


def relative_error(got, expected):
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    return np.abs(got.astype("f8") - expected.astype("f8")).max() / max(1e-30, np.abs(expected).max())


def rounding(dtype, times):
    return times * np.finfo(dtype).eps


# -- minimal filtering -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "taps"), [(m, r) for r in (2, 3, 4, 5) for m in range(2, 10 - r)])
def test_the_matrices_make_a_correlation(size, taps):
    """y = Aᵀ [(G w) ⊙ (Bᵀ x)] is y_o = Σ_t x_{o+t} w_t, whatever x and w."""
    a, g, bt = matrices(size, taps, np.dtype("f8"))
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(size + taps - 1), rng.standard_normal(taps)
    np.testing.assert_allclose(a.T @ ((g @ w) * (bt @ x)), np.correlate(x, w), atol=1e-12)


@given(st.integers(1, 40), st.integers(2, 5))
def test_tiles_cover_the_axis_with_the_fewest_products(length, taps):
    tiles = best_tiles(length, taps)
    assert tiles.count * tiles.size >= length > (tiles.count - 1) * tiles.size
    assert tiles.inputs <= 8
    assert tiles.taps - 1 <= tiles.size  # no input belongs to more than two tiles


@st.composite
def strided_convolutions(draw):
    """(geometry, batch, channels, features) that have a form of minimal filtering."""
    kernel, stride, image, padding = [], [], [], []
    for _ in range(2):
        s = draw(st.integers(1, 2))
        k = draw(st.integers(s + 1, 3 * s + 1))
        p = draw(st.integers(0, k + 1))
        kernel.append(k)
        stride.append(s)
        padding.append(p)
        image.append(draw(st.integers(max(4 * s, k - 2 * p), 14)))
    output = [(image[a] + 2 * padding[a] - kernel[a]) // stride[a] + 1 for a in (0, 1)]
    spare = [draw(st.integers(0, stride[a] - 1)) for a in (0, 1)]  # output_padding of the transposed convolution
    image = [(output[a] - 1) * stride[a] - 2 * padding[a] + kernel[a] + spare[a] for a in (0, 1)]
    assume(min(image) >= 1)
    g = ConvGeometry(*(tuple(pair) for pair in (kernel, stride, padding)), (1, 1), tuple(image), tuple(output))
    channels, features = draw(st.integers(8, 40)), draw(st.integers(32, 40))
    batch = draw(st.integers(1, 40))
    assume(batch * image[0] * image[1] < 20_000)
    assume(np.isfinite(Winograd.work(g, batch, channels, features)).all())
    return g, batch, channels, features


@pytest.fixture
def always_filtering(monkeypatch):
    """Minimal filtering wherever it exists, also where it is slower."""
    monkeypatch.setattr(
        NumpyBackend, "_winograd", lambda self, g, batch, kernel, dtype: Winograd(g, dtype, self.empty, self._scratch.zeros)
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it holds for every example
@given(drawn=strided_convolutions(), dtype=DTYPES, order=st.permutations(range(3)))
def test_minimal_filtering_equals_the_textbook(always_filtering, drawn, dtype, order):
    g, batch, channels, features = drawn
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *g.image, channels)).astype(dtype)
    y = rng.standard_normal((batch, *g.output, features)).astype(dtype)
    w = rng.standard_normal((*g.kernel, channels, features)).astype(dtype)
    tolerance = rounding(dtype, 300)  # 4e-5 of the largest value in float32, where the textbook itself has some 1e-6
    alone = convolutions(FAST, g, x, y, w)
    for fast, book in zip(alone, convolutions(BOOK, g, x, y, w), strict=True):
        assert relative_error(fast, book) < tolerance
    operands = FAST.operand(x), FAST.operand(y)
    shared = convolutions(FAST, g, *operands, w, order)
    assert all(kept for _, kept in FAST._transforms.values())
    del operands
    assert not FAST._transforms, "transforms go with their operands"
    assert all(map(np.array_equal, shared, alone))


def convolutions(backend, g, x, y, w, order=range(3)):
    """The results of conv2d, conv2d_transpose and conv2d_weight_grad, called in that order of their numbers."""
    calls = (
        lambda: backend.conv2d(x, w, g),
        lambda: backend.conv2d_transpose(y, w, g),
        lambda: backend.conv2d_weight_grad(x, y, g),
    )
    results = {number: calls[number]() for number in order}
    return [results[number] for number in sorted(results)]


def reference_convolution():
    """The inner convolution of the reference game, with few images."""
    g = ConvGeometry((4, 4), (2, 2), (1, 1), (1, 1), (14, 14), (7, 7))
    rng = np.random.default_rng(0)
    x, y, w = (rng.standard_normal(s).astype("f4") for s in ((70, 14, 14, 64), (70, 7, 7, 128), (4, 4, 64, 128)))
    return g, x, y, w


def test_minimal_filtering_keeps_float32_accurate(always_filtering):
    """Against float64: the root of the mean square error is below 80 roundings of a typical value, 1e-5 of it."""
    g, x, y, w = reference_convolution()
    X, Y, W = (a.astype("f8") for a in (x, y, w))
    for got, exact in zip(convolutions(FAST, g, x, y, w), convolutions(BOOK, g, X, Y, W), strict=True):
        assert np.sqrt(((got - exact) ** 2).mean() / (exact**2).mean()) < rounding("f4", 80)


def tiled_convolution():
    """Two tiles along each axis, which share pixels."""
    g = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1), (8, 8), (8, 8))
    rng = np.random.default_rng(0)
    x, y, w = (rng.standard_normal(s).astype("f4") for s in ((40, 8, 8, 96), (40, 8, 8, 96), (3, 3, 96, 96)))
    return g, x, y, w


def test_each_form_is_chosen_where_it_should_be_the_quickest():
    """Minimal filtering for many channels and images, later where BLAS is fast; the sub-pixel form where channels are many."""
    g, _, _, w = reference_convolution()
    few = (4, 4, 1, 64)

    def filters(g, batch, kernel, costs):
        return quickest_form(costs, g, batch, *kernel[2:]) == "winograd"

    assert filters(g, 128, w.shape, NARROW)
    assert filters(g, 128, w.shape, WIDE)
    assert filters(g, 64, w.shape, NARROW)
    assert not filters(g, 64, w.shape, WIDE)
    assert not filters(g, 16, w.shape, NARROW)
    assert not filters(g, 128, few, NARROW)
    wide = dataclasses.replace(g, image=(28, 28))  # with room for these
    assert filters(wide, 128, w.shape, NARROW)
    for field, value in (("dilation", (2, 1)), ("stride", (4, 2))):
        assert not filters(dataclasses.replace(wide, **{field: value}), 128, w.shape, NARROW)
    same = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1), (7, 7), (7, 7))
    assert quickest_form(NARROW, same, 64, 64, 64) == "sub-pixel"
    assert quickest_form(NARROW, g, 64, *few[2:]) == "col2im"
    assert quickest_form(NARROW, dataclasses.replace(wide, dilation=(2, 2)), 64, 64, 64) == "col2im"


def plant_in_winograd(broken, monkeypatch):
    if broken == "a point":
        genuine = winograd.plane_matrices

        def matrices(*args):
            return tuple(m * (1 + 1e-2 * (np.arange(len(m)) == 2)[:, None]).astype(m.dtype) for m in genuine(*args))

        monkeypatch.setattr(winograd, "plane_matrices", matrices)
    elif broken == "the border":
        genuine_gather = Winograd._gather

        def gather(self, x, side):
            return genuine_gather(self, x, side._replace(padding=side.padding[::-1] if side.padding[0] == 0 else (0, 0)))

        monkeypatch.setattr(Winograd, "_gather", gather)
    else:
        genuine_scatter = Winograd._scatter

        def scatter(self, tiles, x, side):
            by_pixel = tiles.reshape(*side.window, -1)
            by_pixel[self.axes[0].size :] = 0
            genuine_scatter(self, tiles, x, side)

        monkeypatch.setattr(Winograd, "_scatter", scatter)


@pytest.mark.parametrize(
    ("broken", "convolution"),
    [("a point", reference_convolution), ("the border", reference_convolution), ("the overlap", tiled_convolution)],
)
def test_a_planted_fault_in_minimal_filtering_is_seen(broken, convolution, monkeypatch, always_filtering):
    g, x, y, w = convolution()
    expected = convolutions(BOOK, g, x, y, w)

    def errors():
        return [relative_error(a, b) for a, b in zip(convolutions(FAST, g, x, y, w), expected, strict=True)]

    assert max(errors()) < 4e-5
    plant_in_winograd(broken, monkeypatch)
    assert not max(errors()) < 1e-3


@pytest.mark.parametrize("forgotten", ["which images", "image or output"])
def test_kept_values_in_the_wrong_place_are_seen(forgotten, monkeypatch, always_filtering):
    monkeypatch.setattr(Winograd, "images_per_block", lambda *_: 16)  # several blocks for each thread
    g, x, y, w = tiled_convolution()
    alone = convolutions(FAST, g, x, y, w)

    def changed():
        return [
            not np.array_equal(a, b)
            for a, b in zip(convolutions(FAST, g, FAST.operand(x), FAST.operand(y), w), alone, strict=True)
        ]

    assert not any(changed())

    kept = {}

    def transformed(self, form, name, array, images):
        key = name if forgotten == "which images" else images.start
        return kept.setdefault((id(array), key) if forgotten == "which images" else key, getattr(form, name)(array[images]))

    monkeypatch.setattr(NumpyBackend, "_transformed", transformed)
    assert any(changed())


def test_kept_values_are_of_one_kernel_shape(monkeypatch, always_filtering):
    """The number of features decides how many images a block has."""
    monkeypatch.setattr(Winograd, "images_per_block", lambda self, channels, features: 20 if features == 96 else 10)
    g, x, _, w = tiled_convolution()
    operand = FAST.operand(x)
    for weight in (w, w[..., :48]):
        assert np.array_equal(FAST.conv2d(operand, weight, g), FAST.conv2d(x, weight, g))


def test_transforms_are_of_one_geometry(always_filtering):
    g, x, _, w = tiled_convolution()
    operand, unpadded = FAST.operand(x), dataclasses.replace(g, padding=(0, 0), output=(6, 6))
    for geometry in (g, unpadded):
        assert np.array_equal(FAST.conv2d(operand, w, geometry), FAST.conv2d(x, w, geometry))


def test_an_array_that_changes_between_two_passes_is_transformed_anew(always_filtering):
    """What rides on an operand is of one pass: the caller may fill its array with the next batch."""
    net = mg.Sequential([mg.Conv2d(96, 3, padding=1)], (8, 8, 96), FAST)
    x = np.random.default_rng(0).standard_normal((40, 8, 8, 96)).astype("f4")
    net.forward(x, train=True)
    x[...] = x[::-1].copy()
    np.testing.assert_array_equal(net.forward(x, train=True)[0], net.forward(x.copy(), train=True)[0])


def layer_passes(backend, layer_class):
    """A convolution of its own network; two batches, and for each a gradient of its output."""
    layer = layer_class(4, 4, stride=2, padding=1)
    net = mg.Sequential([layer], (8, 8, 3), backend)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((2, 70, 8, 8, 3)).astype("f4")
    return net, layer, inputs, rng.standard_normal((2, 70, *net.output_shape)).astype("f4")


CONVOLUTIONS = pytest.mark.parametrize("layer_class", [mg.Conv2d, mg.ConvTranspose2d])


@CONVOLUTIONS
def test_what_rides_on_an_operand_belongs_to_its_pass(layer_class, always_filtering):
    """Two caches alive at once; two backward passes on each, with different dy; only a training pass keeps anything."""
    results = {}
    for backend in (FAST, BOOK):
        net, layer, inputs, grads = layer_passes(backend, layer_class)
        layer.forward(inputs[0])
        assert not FAST._transforms
        passes = [layer.forward(x, train=True) for x in inputs]
        got = [y for y, _ in passes]
        for (_, cache), dy in itertools.product(passes, grads):
            got += [layer.backward(dy, cache, net.grads.of_layer[0]), net.flat_grads.copy()]
        assert len(FAST._transforms) == (len(passes) if backend is FAST else 0), "those of dy are gone"
        del passes, cache
        assert not FAST._transforms
        results[backend] = got
    for fast, book in zip(results[FAST], results[BOOK], strict=True):
        assert relative_error(fast, book) < rounding("f4", 300)


@CONVOLUTIONS
def test_an_operand_is_transformed_once(layer_class, monkeypatch, always_filtering):
    """Forward and both gradients: x for the forward pass and the weight, dy for the two gradients."""
    genuine, entered = Winograd._enter, []
    monkeypatch.setattr(Winograd, "_enter", lambda self, pair, x, axes: entered.append(len(x)) or genuine(self, pair, x, axes))
    net, layer, (x, _), (dy, _) = layer_passes(FAST, layer_class)
    layer.backward(dy, layer.forward(x, train=True)[1], net.grads.of_layer[0])
    assert sum(entered) == len(x) + len(dy)


def test_images_of_two_sizes_in_as_many_tiles(always_filtering):
    """The border of zeros that is kept for one size is no border of the other."""
    rng = np.random.default_rng(0)
    for size in (8, 7, 8, 7):
        g = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1), (size, size), (size, size))
        x, y, w = (rng.standard_normal(s) for s in ((4, size, size, 8), (4, size, size, 8), (3, 3, 8, 8)))
        for fast, book in zip(convolutions(FAST, g, x, y, w), convolutions(BOOK, g, x, y, w), strict=True):
            assert relative_error(fast, book) < 1e-12


# -- im2col and the sub-pixel form -------------------------------------------------------------------------------------


@st.composite
def any_convolutions(draw, most_dilation=2):
    """(geometry, batch, channels, features), with or without dilation and room that no kernel reaches."""
    kernel, stride, padding = ([draw(st.integers(least, most)) for _ in range(2)] for least, most in ((1, 5), (1, 3), (0, 4)))
    dilation = [draw(st.integers(1, most_dilation)) for _ in range(2)]
    reach = [dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)]
    image = [draw(st.integers(max(1, reach[a] - 2 * padding[a]), 11)) for a in (0, 1)]
    output = [(image[a] + 2 * padding[a] - reach[a]) // stride[a] + 1 for a in (0, 1)]
    g = ConvGeometry(*map(tuple, (kernel, stride, padding, dilation, image, output)))
    return g, *(draw(st.integers(1, most)) for most in (5, 6, 4))


@given(drawn=any_convolutions(), dtype=DTYPES)
def test_columns_equal_the_textbooks(drawn, dtype):
    g, batch, channels, features = drawn
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *g.image, channels)).astype(dtype)
    y = rng.standard_normal((batch * g.output[0] * g.output[1], features)).astype(dtype)
    w = rng.standard_normal((*g.kernel, channels, features)).astype(dtype)
    np.testing.assert_array_equal(FAST.columns(x, g), BOOK.im2col(x, g))
    product = FAST.product_for_col2im(y, w)
    assert relative_error(product, y @ w.reshape(-1, features).T) < rounding(dtype, 30)
    assert relative_error(FAST.col2im(product, g, batch), BOOK.col2im(product, g, batch)) < rounding(dtype, 30)


@given(drawn=any_convolutions(1), dtype=DTYPES)
def test_the_sub_pixel_form_equals_the_textbook(drawn, dtype):
    g, batch, channels, features = drawn
    assert sub_pixel_error(g, batch, channels, features, dtype) < rounding(dtype, 100)


def sub_pixel_error(g, batch, channels, features, dtype="float64"):
    rng = np.random.default_rng(0)
    y, w = (rng.standard_normal(s).astype(dtype) for s in ((batch, *g.output, features), (*g.kernel, channels, features)))
    x = np.full((batch, *g.image, channels), np.nan, dtype)
    FAST._sub_pixel(y, w, SubPixel(g), x)
    return relative_error(x, BOOK.conv2d_transpose(y, w, g))


@pytest.mark.parametrize("broken", ["the taps' order", "a phase", "the first window"])
def test_a_planted_fault_in_the_sub_pixel_form_is_seen(broken, monkeypatch):
    g, *_ = reference_convolution()
    assert sub_pixel_error(g, 2, 3, 4) < 1e-13
    if broken == "the taps' order":
        genuine = SubPixel.kernel
        monkeypatch.setattr(SubPixel, "kernel", lambda self, w: genuine(self, w[::-1]))
    elif broken == "a phase":
        genuine = sub_pixel.phases
        monkeypatch.setattr(sub_pixel, "phases", lambda *args: genuine(*args)[::-1][:1] * 2)
    else:
        genuine = SubPixel._axis
        monkeypatch.setattr(SubPixel, "_axis", lambda self, axis: (genuine(self, axis)[0] + 1, *genuine(self, axis)[1:]))
    assert not sub_pixel_error(g, 2, 3, 4) < 1e-3


def test_a_planted_fault_in_the_columns_is_seen(monkeypatch):
    """Taps in the wrong place, and a border that is not zero."""
    g, *_ = reference_convolution()
    x, product = np.ones((2, 14, 14, 1)), np.random.default_rng(0).standard_normal((2 * 49, 16))
    before = FAST.columns(x, g).copy(), FAST.col2im(product, g, 2)
    edge = lambda self, x, g: np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")  # noqa: E731
    monkeypatch.setattr(columns.ColumnsBackend, "_padded", edge)
    assert not np.array_equal(FAST.columns(x, g), before[0])
    monkeypatch.setattr(columns, "SCATTERED_BY_TAP", 0)
    np.testing.assert_allclose(FAST.col2im(product, g, 2), before[1], rtol=1e-12)


# -- formulas as programs ----------------------------------------------------------------------------------------------

UPDATES = {
    "adam": (optim.adam, 3, {"rate": 1e-3, "b1": 0.5, "b2": 0.999, "eps": 1e-8}),
    "adamw": (optim.adamw, 3, {"shrink": 0.99, "rate": 1e-3, "b1": 0.5, "b2": 0.999, "eps": 1e-8}),
    "momentum": (optim.sgd_momentum, 2, {"lr": 0.1, "momentum": 0.9, "nesterov": False}),
    "nesterov": (optim.sgd_momentum, 2, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "sgd": (optim.sgd_plain, 1, {"lr": 0.1}),
}


@pytest.mark.parametrize("name", FORMULAS)
@settings(max_examples=15)
@given(rows=st.integers(1, 20), channels=st.sampled_from([1, 3, 64, 200]), tall=st.booleans(), dtype=DTYPES)
def test_every_formula_of_the_layers_is_a_program_with_the_same_values(name, rows, channels, tall, dtype):
    """Small arrays take the formula itself; tall ones the program, in blocks and on threads, channel vectors repeated."""
    formula, count, constants = FORMULAS[name]
    numbers = tuple(constants)
    assert compile_formula(formula, count, numbers, ()).steps
    rng = np.random.default_rng(rows)
    full = 1 if name == "batch_norm" else 2
    shape = (rows * (90 if tall else 1), 7, channels)
    arrays = [rng.standard_normal(shape if i < full else shape[-1:]).astype(dtype) for i in range(count)]
    got, expected = FAST.elementwise(formula, *arrays, **constants), BOOK.elementwise(formula, *arrays, **constants)
    assert relative_error(got, expected) < rounding(dtype, 8)


@pytest.mark.parametrize("name", UPDATES)
@given(size=st.integers(1, 400_000), dtype=DTYPES)
def test_every_update_of_the_optimisers_is_a_program_with_the_same_values(name, size, dtype):
    formula, count, constants = UPDATES[name]
    rng = np.random.default_rng(size)
    arrays = [rng.random(size).astype(dtype) for _ in range(count + 1)]
    sides = []
    for backend in (FAST, BOOK):
        *targets, grads = (a.copy() for a in arrays)
        backend.elementwise_update(formula, tuple(targets), grads, **constants)
        assert np.array_equal(grads, arrays[-1]), "an operand that is no target was written to"
        sides.append(targets)
    for got, expected in zip(*sides, strict=True):
        assert relative_error(got, expected) < rounding(dtype, 8)


@st.composite
def expressions(draw):
    """A drawn formula of three arrays as a tree: an array's number, a constant, or (operation, tree, …)."""
    leaf = st.one_of(st.integers(0, 2), st.sampled_from([0.5, -1.25]))
    unary, binary = st.sampled_from(["neg", "abs", "tanh", "square"]), st.sampled_from(["add", "sub", "mul", "maximum", "gt"])
    return draw(
        st.recursive(
            leaf,
            lambda t: st.one_of(st.tuples(unary, t), st.tuples(binary, t, t), st.tuples(st.just("where"), t, t, t)),
            max_leaves=14,
        )
    )


def evaluate(tree, xp, arrays):
    if isinstance(tree, int):
        return arrays[tree]
    if isinstance(tree, float):
        return tree
    name, *operands = tree
    values = [evaluate(t, xp, arrays) for t in operands]
    if name == "where":
        condition = values[0] > 0.0 if not isinstance(values[0], float) else arrays[0] > values[0]
        return xp.where(condition, *values[1:])
    if name in ("tanh", "square", "maximum"):
        return getattr(xp, name)(*values) if not all(isinstance(v, float) for v in values) else values[0]
    if name == "gt":
        if all(isinstance(v, float) for v in values):
            return values[0]
        above = values[0] > values[1]
        return above.astype(arrays[0].dtype)
    return getattr(operator, name)(*values)


@given(st.lists(expressions(), min_size=1, max_size=3), st.integers(0, 2**32 - 1), st.booleans())
def test_drawn_formulas_keep_their_values(trees, seed, in_place):
    """Whatever the formula reads after it wrote: registers are never given away while they are needed."""

    def formula(xp, *arrays):
        return tuple(evaluate(tree, xp, arrays) * 1.0 + 0.0 * arrays[0] for tree in trees)

    arrays = [np.random.default_rng([seed, i]).standard_normal(20_000) for i in range(3)]
    expected = formula(np, *arrays)
    if in_place:
        targets = tuple(a.copy() for a in arrays[: len(trees)])
        FAST.elementwise_update(formula, targets, *arrays[len(trees) :])
        got = targets
    else:
        got = FAST.column_sums(formula, *(a.reshape(-1, 1) for a in arrays))
        expected = tuple(e.sum(keepdims=True) for e in expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize(
    "formula",
    [
        lambda xp, x: x if x else -x,
        lambda xp, x: xp.cumsum(x),
        lambda xp, x: x.astype("float16"),
        lambda xp, x: x @ x,
        lambda xp, x: x * xp.asarray([1.0, 2.0]),
        lambda xp, x: 3.0,
    ],
)
def test_what_has_no_program_is_said_to_have_none(formula):
    with pytest.raises(UntraceableError):
        compile_formula(formula, 1, (), ())


def test_a_formula_without_a_program_still_runs_in_blocks():
    x = np.random.default_rng(0).standard_normal((300_000,))
    np.testing.assert_array_equal(FAST.elementwise(lambda xp, x: xp.floor(x), x), np.floor(x))


def test_constants_are_not_frozen_into_the_program():
    x = np.ones(100_000)
    assert FAST.elementwise(mg.LeakyReLU.f, -x, slope=0.5)[0] == -0.5
    assert FAST.elementwise(mg.LeakyReLU.f, -x, slope=0.25)[0] == -0.25


# -- sums and products -------------------------------------------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(1, 140), DTYPES)
def test_sums_over_channels(rows, channels, dtype):
    rng = np.random.default_rng(rows)
    dy, x = (rng.standard_normal((rows, channels)).astype(dtype) for _ in range(2))
    mean, inv_std = x.mean(axis=0), rng.random(channels).astype(dtype)
    for got, terms in zip(
        FAST.column_sums(norm.batch_norm_sums, dy, x, mean, inv_std), (dy * (x - mean) * inv_std, dy), strict=True
    ):
        assert got.dtype == dtype
        np.testing.assert_allclose(
            got, terms.sum(axis=0, dtype="f8"), atol=rounding(dtype, 40) * np.abs(terms).sum(axis=0).max()
        )


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.sampled_from(["", "first", "second"]), DTYPES)
def test_products(m, k, n, transposed, dtype):
    rng = np.random.default_rng(m)
    a = rng.standard_normal((k, m) if transposed == "first" else (m, k)).astype(dtype)
    b = rng.standard_normal((n, k) if transposed == "second" else (k, n)).astype(dtype)
    a, b = a.T if transposed == "first" else a, b.T if transposed == "second" else b
    np.testing.assert_allclose(FAST.matmul(a, b), a @ b, atol=rounding(dtype, 8 * k))
    out = np.full((len(a), b.shape[1]), np.nan, dtype)
    assert FAST.matmul(a, b, out=out) is out
    np.testing.assert_allclose(out, a @ b, atol=rounding(dtype, 16 * k))


# -- threads and memory ------------------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 4))
def test_blocks_are_dealt_whole_and_in_order(rows, block, threads):
    seen = FAST._spread(lambda blocks: [(b.start, b.stop) for b in blocks], rows, block, threads=min(threads, FAST.threads))
    flat = [b for share in seen for b in share]
    assert flat[0][0] == 0
    assert flat[-1][1] == rows
    assert all(first[1] == second[0] for first, second in itertools.pairwise(flat))
    assert max(stop - start for start, stop in flat) <= block


def test_scratch_is_each_threads_own():
    scratch, others = Scratch(), []
    mine = scratch.block("x", (10,), "f4")
    thread = threading.Thread(target=lambda: others.append(scratch.block("x", (10,), "f4")))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine, others[0])
    assert np.shares_memory(mine, scratch.block("x", (5,), "f4"))


def test_steps_from_several_threads_at_once():
    """Two games in two threads get the gradients that they get alone, and BLAS gets its own number of threads back."""

    def learn(results, index):
        gan = mg.GAN(*mg.models.dcgan(width=16, backend=NumpyBackend(), seed=index), seed=index)
        x = np.random.default_rng(index).uniform(-1, 1, (32, 28, 28, 1)).astype("f4")
        gan.step(x)
        results[index] = gan.discriminator.flat_grads.copy()

    alone, together, before = {}, {}, threadpool_info()
    for index in (0, 1):
        learn(alone, index)
    threads = [threading.Thread(target=learn, args=(together, index)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in (0, 1):
        assert relative_error(together[index], alone[index]) < 1e-5
    assert threadpool_info() == before


def test_blocks_come_back_without_python_code():
    """A Ctrl-C that falls into a finaliser written in Python is raised there and lost."""
    pool, calls = BufferPool(), []
    array = pool.array((1 << 20,), np.float32)
    place, view = array.ctypes.data, array[5:]
    del array
    assert pool.array((1 << 20,), np.float32).ctypes.data != place, "a view keeps the block"
    sys.setprofile(lambda frame, event, argument: calls.append(frame.f_code.co_name) if event == "call" else None)
    del view
    sys.setprofile(None)
    assert calls == []
    assert pool.array((1 << 20,), np.float32).ctypes.data == place


def test_memory_does_not_grow(backend):
    """After a few steps nothing more is allocated: the pool hands the same blocks out again."""
    if not sys.platform.startswith("linux") or backend != "numpy":
        pytest.skip("reads /proc; the pool is the numpy backend's")

    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    gan = mg.GAN(*mg.models.dcgan(backend=backend))
    x = np.zeros((32, 28, 28, 1), "f4")  # large enough for the pool and for minimal filtering
    for _ in range(6):
        gan.step(x)
    assert FAST._buffers._free
    before, start = resident(), time.perf_counter()
    for _ in range(15):
        gan.step(x)
    assert resident() - before < 2**20, f"after {time.perf_counter() - start:.1f} s"


def test_one_backend_for_two_kinds_of_networks_in_two_threads(monkeypatch):
    """A dense game and a convolutional one on one backend, in two threads: each keeps its own way of using threads."""
    seen = {}

    dense, convolutional = (mg.GAN(*mg.models.build(name, backend=FAST)).discriminator for name in ("mlp", "dcgan"))

    def note(kind, net):
        FAST.set_threading(net.layers, 1 << 10)
        barrier.wait()
        seen[kind] = FAST._thread.own

    barrier = threading.Barrier(2)
    both = [threading.Thread(target=note, args=args) for args in (("dense", dense), ("convolutional", convolutional))]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert seen == {"dense": False, "convolutional": True}
    monkeypatch.setattr(threads, "LARGE_CONVOLUTION", LARGE_CONVOLUTION)
    FAST.set_threading(convolutional.layers, 1)
    assert not FAST._thread.own, "too few values for threads of ours"
    FAST.set_threading(mg.Sequential([mg.BatchNorm(), mg.Tanh()], (3,), FAST).layers, 1)
    assert FAST._thread.own, "BLAS has nothing to do there"


CONVOLUTIONS = [row for row in layer_table() if isinstance(row[0](), mg.Conv2d | mg.ConvTranspose2d)]


@pytest.mark.parametrize("own_threads", [True, False])
@pytest.mark.parametrize(("make", "shape"), CONVOLUTIONS, ids=lambda value: repr(value()) if callable(value) else str(value))
def test_convolutions_on_our_threads_and_on_blass(make, shape, own_threads, monkeypatch):
    monkeypatch.setattr(threads, "LARGE_CONVOLUTION", 0 if own_threads else 1 << 60)
    x, results = np.random.default_rng(0).standard_normal((7, *shape)), []
    for be in (BOOK, FAST):
        net = mg.Sequential([make()], shape, be, "float64")
        y, caches = net.forward(x)
        results.append((y, net.backward(np.cos(y), caches, grads=net.grads), net.flat_grads))
        assert be is BOOK or FAST._thread.own is own_threads
    for book, fast in zip(*results, strict=True):
        np.testing.assert_allclose(fast, book, rtol=1e-10, atol=1e-10)


def test_a_network_is_large_if_its_columns_are(monkeypatch):
    """Few values out of a wide image and a large kernel still make an im2col that must not be made as a whole."""
    monkeypatch.setattr(threads, "LARGE_CONVOLUTION", LARGE_CONVOLUTION)
    net = mg.Sequential([mg.Conv2d(1, 7, padding=3)], (16, 16, 64), FAST)
    net.forward(np.zeros((3, 16, 16, 64), "f4"))
    assert FAST._thread.own


def test_the_networks_of_a_game_share_their_threads(monkeypatch):
    """BLAS's threads, which go on spinning, must not serve D where ours serve G; in a copy of the game neither."""
    monkeypatch.setattr(threads, "LARGE_CONVOLUTION", 64 * 40_000)  # between the two networks' largest arrays

    def own(net):
        FAST.set_threading(net.layers, 64)
        return FAST._thread.own

    class Own(Game):
        """A game of a user's, which has nothing but its networks."""

        def __init__(self, g, d):
            self.backend, self.networks, self.optimizers = g.backend, {"G": g, "D": d}, {}
            self.generator, self.discriminator, self.average = g, d, g

    g, d = mg.models.dcgan(width=32, extra_conv=True, backend=FAST)
    assert (own(g), own(d)) == (True, False)
    gan, wider = mg.GAN(g, d, ema=0.9), mg.GAN(g.clone(), mg.models.dcgan(width=64, extra_conv=True, backend=FAST)[1])
    for game in (gan, copy.copy(gan), copy.deepcopy(gan), pickle.loads(pickle.dumps(gan)), Own(g.clone(), d.clone())):
        wider.advance()
        game.advance()
        assert [own(net) for net in (game.generator, game.discriminator, game.average)] == [True] * 3
    encoder, decoder = mg.models.vae_conv((28, 28, 1), width=32, backend=FAST)
    monkeypatch.setattr(threads, "LARGE_CONVOLUTION", 64 * 2 * 14 * 14 * 16)
    alone = own(encoder), own(decoder)
    mg.VAE(encoder, decoder).advance()
    assert (own(encoder), own(decoder)) == (max(alone), max(alone))


def test_a_thread_keeps_zeros_for_each_key_and_few_of_them():
    scratch = Scratch()
    first = scratch.zeros("a", (2, 3), "f8")
    first[:, 1] = 5
    np.testing.assert_array_equal(scratch.zeros("a", (2, 3), "f8"), first)
    assert not scratch.zeros("b", (2, 3), "f8").any()
    assert not scratch.zeros("a", (3, 3), "f8").any(), "a larger one is new"
    for size in range(40):
        scratch.zeros("c", (1, (1 << 17) + size), "f8")
    assert sum(block.nbytes for block in scratch._zeros.values()) <= 1 << 24


def test_a_network_with_few_values_equals_the_textbook_too(monkeypatch):
    """Its convolutions are left to BLAS's threads."""
    monkeypatch.setattr(threads, "LARGE_CONVOLUTION", LARGE_CONVOLUTION)
    x, z = np.random.default_rng(0).uniform(-1, 1, (4, 28, 28, 1)), np.random.default_rng(1).standard_normal((4, 100))
    states = []
    for be in (BOOK, FAST):
        gan = mg.GAN(*mg.models.dcgan(width=8, backend=be, dtype="float64"))
        gan.step(x, z)
        assert be is BOOK or not FAST._thread.own
        states.append(gan.state_dict())
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_has_threads_of_its_own():
    x = np.ones(2_000_000)
    FAST.elementwise(mg.Tanh.f, x)  # the threads exist in the parent now
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # instead of hanging for ever
        os._exit(0 if np.isfinite(FAST.elementwise(mg.Tanh.f, x)).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_forked_while_another_thread_multiplies_can_multiply():
    x, stop = np.ones((256, 512), "f4"), threading.Event()

    def multiply():
        FAST._thread.own = False
        while not stop.is_set():
            FAST.matmul(x, x.T)

    other = threading.Thread(target=multiply)
    other.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # instead of hanging for ever
                FAST._thread.own = False
                os._exit(0 if (FAST.matmul(x, x.T) == 512).all() else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        other.join()


def test_a_constant_without_a_hash_is_no_obstacle():
    x, table = np.ones(100_000), np.array([2.0])
    assert FAST.elementwise(lambda xp, x, factor: x * factor, x, factor=table)[0] == 2
