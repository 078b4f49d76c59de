"""The CUDA sources without a GPU: run on the CPU against the textbook, and compiled to machine code for two architectures."""

import itertools
import math

import cuda_on_host
import numpy as np
import nvrtc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_formulas import FORMULAS

import minigan as mg
from minigan import optim
from minigan.backends import ConvGeometry
from minigan.backends.cupy.kernels import (
    THREADS,
    convolution_source,
    formula_kernels,
    place_of,
    random_source,
    step_source,
    sum_layout,
)
from minigan.backends.cupy.scalars import Board
from minigan.backends.expressions import UntraceableError, split_constants

BOOK = mg.get_backend("textbook")
DTYPES = ["float32", "float64"]

without_gpu = pytest.mark.skipif(cuda_on_host.missing is not None, reason=str(cuda_on_host.missing))


class OnHost:
    """A host array in the place of a device array."""

    def __init__(self, array):
        self._host = array


def launch(source, kernel, threads, *arguments):
    """The kernel on host arrays; structs go by value."""
    wrapped = [OnHost(a) if isinstance(a, np.ndarray) and not a.dtype.names else a for a in arguments]
    cuda_on_host.RawModule(code=source).get_function(kernel)((-(-threads // THREADS),), (THREADS,), wrapped)


# -- gathers -----------------------------------------------------------------------------------------------------------


@st.composite
def geometries(draw):
    kernel, stride, padding, dilation, image, output = [], [], [], [], [], []
    for _ in range(2):
        k, s, d = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        p = draw(st.integers(0, k + 1))
        o = draw(st.integers(1, 4))
        i = (o - 1) * s + d * (k - 1) + 1 - 2 * p + draw(st.integers(0, s - 1))
        while i < 1:
            o, i = o + 1, i + s
        for values, value in zip((kernel, stride, padding, dilation, image, output), (k, s, p, d, i, o), strict=True):
            values.append(value)
    return ConvGeometry(*(tuple(pair) for pair in (kernel, stride, padding, dilation, image, output)))


def gathers(source, g, x, y, vector):
    """(im2col of x, col2im of y) by the kernels, which move so many channels at once."""
    columns, image = np.full((len(y), y.shape[1]), np.nan, x.dtype), np.full_like(x, np.nan)
    for kernel, source_array, out in (("im2col", x, columns), ("col2im", y, image)):
        launch(source, kernel, out.size // vector, source_array, out, np.uint32(out.size // vector))
    return columns, image


def drawn_arrays(g, channels=2, batch=2, dtype="float64"):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *g.image, channels)).astype(dtype)
    y = rng.standard_normal((batch * math.prod(g.output), math.prod(g.kernel) * channels)).astype(dtype)
    return x, y


@without_gpu
@given(geometries(), st.integers(1, 3), st.sampled_from([("float32", 1), ("float32", 4), ("float64", 1), ("float64", 2)]))
def test_gathers_equal_the_textbook(g, groups, kind):
    dtype, vector = kind
    channels = groups * vector
    x, y = drawn_arrays(g, channels, dtype=dtype)
    columns, image = gathers(convolution_source(g, channels, np.dtype(dtype), vector), g, x, y, vector)
    np.testing.assert_array_equal(columns, BOOK.im2col(x, g))
    np.testing.assert_allclose(image, BOOK.col2im(y, g, 2), rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-6)


ODD = ConvGeometry((3, 2), (2, 3), (1, 1), (2, 2), (9, 8), (4, 3))


@without_gpu
@pytest.mark.parametrize(
    ("sound", "fault"),
    [
        ("* SH - PH", "* SH + PH"),
        ("p * SW - PW + j * DW", "p * SW - PW + j"),
        ("h < H &&", "h <= H &&"),
        ("row / (OW * OH)", "row / OW"),
        ("* GROUPS + c] : Group", "* GROUPS] : Group"),
        ("h + PH - i * DH", "h - PH + i * DH"),
        ("down / SH >= OH", "down / SH > OH"),
        ("right % SW != 0", "false"),
        ("row * (KH * KW) + i * KW + j", "row * (KH * KW) + j * KH + i"),
    ],
)
def test_planted_faults_in_the_gathers_are_seen(sound, fault):
    source = convolution_source(ODD, 4, np.dtype("float64"), 2)
    assert source.count(sound) == 1
    x, y = drawn_arrays(ODD, channels=4)
    x = np.concatenate([np.full_like(x[:1], 9.0), x, np.full_like(x[:1], 9.0)])[1:-1]  # a wrong index stays within memory
    expected = BOOK.im2col(x, ODD), BOOK.col2im(y, ODD, 2)

    def right(source):
        return all(np.allclose(a, b) for a, b in zip(gathers(source, ODD, x, y, 2), expected, strict=True))

    assert right(source)
    assert not right(source.replace(sound, fault))


# -- formulas ----------------------------------------------------------------------------------------------------------


def kernels_of(formula, arrays, constants, in_place=False):
    """(kernels, their numbers) for operands of these shapes."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    numbers, settings = split_constants(constants)
    places = tuple(place_of(a.shape, shape) for a in arrays)
    kernels = formula_kernels(formula, places, tuple(numbers), settings, arrays[0].dtype, in_place)
    return kernels, [arrays[0].dtype.type(evaluate(numbers)) for evaluate in kernels.scalars]


@without_gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_equal_numpy(name, dtype):
    """Full arrays, and where there are several operands, vectors of channels as well."""
    formula, count, constants = FORMULAS[name]
    rng, shape = np.random.default_rng(0), (5, 3, 7)
    for trailing in ((), *([(7,)] if count > 2 else [])):
        arrays = [rng.uniform(0.1, 2, shape) * rng.choice([-1, 1], shape) for _ in range(min(count, 2))]
        arrays += [rng.uniform(0.5, 2, trailing or shape) for _ in range(count - len(arrays))]
        arrays = [a.astype(dtype) for a in arrays]
        expected = formula(np, *arrays, **constants)
        if isinstance(expected, tuple):
            if any(e.shape != shape for e in expected) or len(expected) > count or trailing:
                continue
            kernels, numbers = kernels_of(formula, arrays, constants, in_place=True)
            launch(kernels.source, "elementwise", 105, *arrays, *numbers, np.uint32(105), np.uint32(7))
            got = arrays[: len(expected)]
        else:
            kernels, numbers = kernels_of(formula, arrays, constants)
            got = [np.full(shape, np.nan, dtype)]
            expected = (expected,)
            launch(kernels.source, "elementwise", 105, *arrays, *got, *numbers, np.uint32(105), np.uint32(7))
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(
                a, b, rtol=2e-6 if dtype == "float32" else 1e-13, atol=1e-6 if dtype == "float32" else 1e-13
            )


@without_gpu
def test_maximum_and_sign_treat_nan_as_numpy_does():
    a, b = (np.array(v, "float32") for v in ([1, np.nan, 2, np.nan, -0.0], [np.nan, 1, 3, np.nan, 2]))
    for formula in (lambda xp, x, y: xp.maximum(x, y), lambda xp, x, y: xp.minimum(x, y), lambda xp, x, y: xp.sign(x) + 0 * y):
        kernels, numbers = kernels_of(formula, [a, b], {})
        got = np.zeros(5, "float32")
        launch(kernels.source, "elementwise", 5, a, b, got, *numbers, np.uint32(5), np.uint32(5))
        np.testing.assert_array_equal(got, formula(np, a, b))


def column_sums(source, arrays, numbers, outputs, scale=1):
    """(sums by the kernel of outputs formulas over the rows of arrays[0], the first launch's parts)"""
    x = arrays[0]
    (rows, channels), dtype = x.shape, x.dtype
    layout = sum_layout(rows, channels)
    parts = np.full((layout.parts, outputs, channels), np.nan, dtype)
    sizes = (dtype.type(scale), *map(np.uint32, (rows, channels, layout.lanes, layout.parts)))
    launch(source, "column_sums", layout.blocks * THREADS, *arrays, parts, *numbers, *sizes)
    return parts.sum(axis=0, dtype="f8"), parts


@without_gpu
@given(st.integers(1, 3000), st.integers(1, 70), st.sampled_from(DTYPES))
def test_column_sums_equal_numpy(rows, channels, dtype):
    """Both sums of a formula with a vector of channels, in one part or several."""

    def formula(xp, x, mean):
        return x - mean, (x - mean) * x

    x, mean = (
        np.random.default_rng(0).standard_normal((rows, channels)).astype(dtype),
        np.linspace(-1, 1, channels).astype(dtype),
    )
    kernels, numbers = kernels_of(formula, [x, mean], {})
    sums, parts = column_sums(kernels.source, (x, mean), numbers, outputs=2, scale=0.5)
    terms = [0.5 * v for v in formula(np, x.astype("f8"), mean.astype("f8"))]
    rounding = 48 * np.finfo(dtype).eps * max(np.abs(v).sum(axis=0).max() for v in terms)  # 32 terms a thread, then halves
    np.testing.assert_allclose(sums, [v.sum(axis=0) for v in terms], rtol=0, atol=rounding)
    layout = sum_layout(rows, channels)
    height = THREADS // layout.lanes
    first = np.arange(rows) // height % layout.parts == 0
    np.testing.assert_allclose(parts[0, 0], terms[0][first].sum(axis=0), rtol=0, atol=rounding)


@given(st.integers(0, 1 << 24), st.integers(1, 5000))
def test_a_sum_takes_two_launches_at_the_most(rows, channels):
    first = sum_layout(rows, channels)
    assert first.lanes <= 32
    assert THREADS % first.lanes == 0
    assert (first.lanes == 32) or (first.lanes >= channels > first.lanes // 2)
    assert first.blocks == first.parts * -(-channels // first.lanes)
    for outputs in (1, 2, 3):
        assert sum_layout(first.parts, outputs * channels).parts == 1


@without_gpu
@pytest.mark.parametrize(
    ("sound", "fault"),
    [
        ("v0 * v0", "v0 + v0"),
        ("row = part * height + down", "row = part * height + down + 1"),
        ("step = parts * height", "step = parts * height + 1"),
        ("row += 8 * step", "row += 7 * step"),
        ("add(row + k * step)", "add(row + k)"),
        ("% tiles * lanes", "% tiles"),
        ("half = height / 2", "half = height / 4"),
        ("half * lanes];", "half];"),
    ],
)
def test_planted_faults_in_formulas_and_sums_are_seen(sound, fault):
    x = np.random.default_rng(0).standard_normal((1000, 45))
    kernels, numbers = kernels_of(lambda xp, x: xp.square(x), [x], {})
    assert kernels.source.count(sound) == 1

    def right(source):
        return np.allclose(column_sums(source, (x,), numbers, outputs=1)[0], (x * x).sum(axis=0))

    assert right(kernels.source)
    assert not right(kernels.source.replace(sound, fault))


def test_a_formula_without_a_kernel_says_so():
    with pytest.raises(UntraceableError):
        formula_kernels(lambda xp, x: xp.sort(x), ("full",), (), (), np.dtype("float32"))
    assert place_of((3, 1), (3, 4)) == "row"
    assert place_of((1, 4), (3, 4)) == "channel"
    assert place_of((3, 1), (3, 2, 4)) is None


# -- random numbers ----------------------------------------------------------------------------------------------------


def philox(draw, thread, key):
    """Philox4x32-10 in Python's integers."""
    mask = 0xFFFFFFFF
    x = [thread & mask, thread >> 32, draw & mask, draw >> 32]
    k = [key & mask, key >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [b >> 32 ^ x[1] ^ k[0], b & mask, a >> 32 ^ x[3] ^ k[1], a & mask]
        k = [k[0] + 0x9E3779B9 & mask, k[1] + 0xBB67AE85 & mask]
    return x


def test_philox_gives_the_published_numbers():
    """The known answers of its authors' library Random123 (kat_vectors, philox4x32 10)."""
    ones = 0xFFFFFFFFFFFFFFFF
    assert philox(0, 0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox(ones, ones, ones) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    pi = philox(0x0370734413198A2E, 0x85A308D3243F6A88, 0x299F31D0A4093822)
    assert pi == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def draw_on_host(kernel, count, draw, key, dtype):
    out, stream = np.full(count, np.nan, dtype), np.array([draw, key], np.uint64)
    launch(random_source(np.dtype(dtype)), kernel, -(-count // 2), out, np.uint64(0), np.uint64(count), stream)
    launch(random_source(np.dtype(dtype)), "next_draw", 1, stream)
    assert stream.tolist() == [draw + 1, key]
    return out


@without_gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("draw", "key"), [(0, 0), (7, 0x123456789ABCDEF0), (2**40 + 3, 2**63 + 1)])
def test_uniform_numbers_are_philoxs(dtype, draw, key):
    got = draw_on_host("uniform", 1001, draw, key, dtype)
    for i in (0, 1, 2, 513, 1000):
        words = philox(draw, i // 2, key)[2 * (i % 2) :]
        bits = words[0] >> 8 if dtype == "float32" else (words[0] >> 5 << 26) + (words[1] >> 6)
        assert got[i] == bits * 2.0 ** (-24 if dtype == "float32" else -53)
    assert (got >= 0).all()
    assert (got < 1).all()


@without_gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_normal_numbers_are_normal(dtype):
    z, u = draw_on_host("normal", 200_000, 3, 5, dtype), draw_on_host("uniform", 200_000, 3, 5, dtype)
    radius, angle = np.sqrt(-2 * np.log1p(-u[::2])), 2 * np.pi * u[1::2]
    np.testing.assert_allclose(z[::2], radius * np.cos(angle), atol=2e-6)
    np.testing.assert_allclose(z[1::2], radius * np.sin(angle), atol=2e-6)
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert (z.astype("f8") ** power).mean() == pytest.approx(moment, abs=0.05)
    other = draw_on_host("normal", 200_000, 4, 5, dtype)
    assert abs((z * other).mean()) < 0.01
    assert abs((z[:-1] * z[1:]).mean()) < 0.01


# -- around a step -----------------------------------------------------------------------------------------------------


def step_on_host(source, dtype):
    """(scalars set, scalars gathered, rows taken) by the kernels."""
    board, host = np.full(8, np.nan, dtype), np.zeros((), [("values", np.float64, 8)])
    host["values"] = np.arange(8) / 7
    launch(source, "set_scalars", 8, board, host)
    data = np.arange(60, dtype=np.uint8).reshape(10, 2, 3)
    places, scattered = np.zeros((), [("places", np.uint64, 8)]), np.arange(5, dtype=dtype)
    places["places"][:3] = [scattered[i:].ctypes.data for i in (4, 0, 2)]
    gathered, rows, order = (
        np.full(4, np.nan, dtype),
        np.full((4, 2, 3), np.nan, dtype),
        np.random.default_rng(0).permutation(10),
    )
    launch(source, "gather_scalars", 3, gathered, places, np.uint32(3))
    launch(source, "take_rows", rows.size, rows, data, order, np.array([5.0]), np.uint64(rows.size), np.uint64(6))
    expected = host["values"].astype(dtype), np.array([4, 0, 2, np.nan]), data[order[5:9]]
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip((board, gathered, rows), expected, strict=True))


@without_gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_scalars_and_rows_go_where_they_should(dtype):
    assert step_on_host(step_source(np.dtype(dtype), 8, np.dtype("uint8")), dtype)


@without_gpu
@pytest.mark.parametrize(
    ("sound", "fault"),
    [
        ("if (i < COUNT)", "if (i < COUNT - 1)"),
        ("if (i < count) out", "if (i <= count) out"),
        ("+ row]", "+ row - 1]"),
        ("i % size", "i / size"),
        ("* size +", "* (size - 1) +"),
    ],
)
def test_planted_faults_around_a_step_are_seen(sound, fault):
    source = step_source(np.dtype("float32"), 8, np.dtype("uint8"))
    assert source.count(sound) == 1
    source = source.replace("= *from.places[i]", "= from.places[i] ? *from.places[i] : 0")  # a fault must not end the tests
    assert not step_on_host(source.replace(sound, fault), "float32")


# -- machine code ------------------------------------------------------------------------------------------------------


def all_sources():
    """(name, source) of every kind of kernel, in both dtypes."""
    inner = ConvGeometry((4, 4), (2, 2), (1, 1), (1, 1), (14, 14), (7, 7))
    for dtype in map(np.dtype, DTYPES):
        yield f"random, {dtype}", random_source(dtype)
        for data in (dtype, np.dtype("uint8")):
            yield f"step, {dtype} from {data}", step_source(dtype, Board.SIZE, data)
        for g, vector in itertools.product((inner, ODD), (1, 2, 4)):
            yield f"convolution, kernel {g.kernel}, {dtype}, {vector} at once", convolution_source(g, 64, dtype, vector)
        for name, (formula, count, constants) in FORMULAS.items():
            arrays = [np.ones((4, 3), dtype) if i < 2 else np.ones(3, dtype) for i in range(count)]
            yield f"{name}, {dtype}", kernels_of(formula, arrays, constants)[0].source
        held = formula_kernels(optim.adam, ("full",) * 4, ("b1", "b2"), (), dtype, True, ("rate", "eps"))
        yield f"adam with scalars on the device, {dtype}", held.source


@pytest.mark.skipif(nvrtc.missing is not None, reason=str(nvrtc.missing))
@pytest.mark.parametrize("arch", [pytest.param("sm_80", marks=pytest.mark.slow), "sm_90"])
def test_every_kernel_compiles_to_machine_code(arch):
    for name, source in all_sources():
        assert nvrtc.cubin(source, arch).startswith(b"\x7fELF"), name
    with pytest.raises(RuntimeError, match="undefined"):
        nvrtc.cubin('extern "C" __global__ void wrong(float* x) { x[0] = nothing; }', arch)
