"""Exercises on convolution: by loops, as a product by im2col, and transposed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minigan import layers
from minigan.backends import Array, Backend, ConvGeometry, get_backend
from minigan.exercises.answer import Answer, as_array, misfit
from minigan.exercises.dense_and_norms import CONTRACT
from minigan.exercises.exercise import RIGHT, WRONG, Exercise, Outcome, Part, Source
from minigan.exercises.layer_check import Case, check_layer_answer, with_methods
from minigan.exercises.naming import Guess, judge
from minigan.layers import Layer

TEXTBOOK = get_backend("textbook")
# Options of a Conv2d and the shape of its input: plain first, then each that may be forgotten.
PLAIN = ({"kernel_size": 3}, (5, 6, 2))
STRIDED = ({"kernel_size": 3, "stride": 2, "padding": 1}, (5, 6, 2))
ODD = ({"kernel_size": (2, 3), "stride": (3, 2), "padding": (1, 2), "dilation": (2, 1)}, (6, 5, 2))
CHANNELS = 3


def _geometry(options: dict[str, Any], shape: tuple[int, ...]) -> ConvGeometry:
    layer = layers.Conv2d(CHANNELS, **options)
    layer.build(shape)
    return layer.geometry


@dataclass
class _Trial:
    """One value of an answer, beside the right one. options: of the layer whose input, a batch of two, has this shape."""

    options: dict[str, Any]
    shape: tuple[int, ...]
    call: Callable[[], Any]
    right: np.ndarray
    guesses: Callable[[], list[Guess]]


def _first_wrong(answer: Answer, part: str, trials: Iterable[_Trial]) -> Outcome:
    """The outcome of all trials: of the first that is not right, with what it was tried on."""
    for trial in trials:
        done, shape = answer.attempt(trial.call), trial.right.shape
        done.error = done.error or misfit(done.value, shape, part)
        outcome = done.unusable(part) or judge(part, as_array(done.value, shape), trial.right, trial.guesses())
        if outcome.status == WRONG:
            options = ", ".join(f"{name} {value}" for name, value in trial.options.items())
            outcome.lines.append(f"on x (2, {', '.join(map(str, trial.shape))}) with {options}")
        if outcome.status != RIGHT:
            return outcome
    return Outcome(part, RIGHT)


def _judged(
    answer: Answer,
    part: str,
    call: Callable[[ConvGeometry], Any],
    true: Callable[[ConvGeometry], Any],
    guesses: Callable[[ConvGeometry], list[Guess]],
) -> Outcome:
    """A value in each of the geometries."""
    trials = []
    for options, shape in (PLAIN, STRIDED, ODD):
        g = _geometry(options, shape)
        trials.append(_Trial(options, shape, partial(call, g), true(g), partial(guesses, g)))
    return _first_wrong(answer, part, trials)


def _drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape)


def _of_forward(x: np.ndarray, w: np.ndarray, g: ConvGeometry) -> list[Guess]:
    """What a convolution is with common mistakes in it."""
    found = [
        Guess(
            "flipped",
            "w turned round: cross-correlation is wanted, tap (i, j) reads at o·s + i·d",
            TEXTBOOK.conv2d(x, w[::-1, ::-1], g),
        ),
        Guess("not added up", "the share of the last tap alone: = stands where += belongs", _one_tap(x, w, g, -1)),
        Guess("not added up", "the share of the first tap alone", _one_tap(x, w, g, 0)),
    ]
    if g.kernel[0] == g.kernel[1]:
        found.append(Guess("transposed", "w with its two axes of taps exchanged", TEXTBOOK.conv2d(x, w.swapaxes(0, 1), g)))
    for name, plain in (("stride", (1, 1)), ("dilation", (1, 1))):
        if getattr(g, name) != plain:
            guess = ConvGeometry(**{**vars(g), name: plain})
            found.append(Guess("option", f"right for a {name} of 1: where does g.{name} stand?", TEXTBOOK.conv2d(x, w, guess)))
    for name in ("stride", "padding", "dilation"):
        pair = getattr(g, name)
        if pair[0] != pair[1] and (turned := _or_none(g, name, pair[::-1])):
            found.append(
                Guess(
                    "option", f"{name} has its two numbers exchanged: height first, then width", TEXTBOOK.conv2d(x, w, turned)
                )
            )
    return found


def _or_none(g: ConvGeometry, name: str, value: tuple[int, int]) -> ConvGeometry | None:
    try:
        return ConvGeometry(**{**vars(g), name: value})
    except ValueError:
        return None


def _one_tap(x: np.ndarray, w: np.ndarray, g: ConvGeometry, which: int) -> Array:
    only = np.zeros_like(w)
    only[which, which] = w[which, which]
    return TEXTBOOK.conv2d(x, only, g)


def _fitting_methods(
    answer: Answer, kind: type, names: Sequence[str], shapes: Callable[[str, tuple[Any, ...]], tuple[int, ...]]
) -> dict[str, Any]:
    """Methods of an answer that return an array of the shape that they should, or say why not."""

    def guarded(name: str) -> Callable[..., Any]:
        own = getattr(kind, name)

        def method(self: Any, *arguments: Any, **options: Any) -> Any:
            value = own(self, *arguments, **options)
            shape = shapes(name, arguments)
            if why := misfit(value, shape, what=name):
                raise TypeError(f"{answer.place(own)}{why}")
            return as_array(value, shape) if np.shape(value) != shape else value

        return method

    return {name: guarded(name) for name in names}


# -- by loops ----------------------------------------------------------------------------------------------------------


def _check_loops(answer: Answer) -> list[Outcome]:
    kind = answer.find("Loops", Backend)

    def of_value(g: ConvGeometry) -> list[Guess]:
        return _of_forward(*_operands(g), g)

    def call(g: ConvGeometry) -> Any:
        return kind().conv2d(*_operands(g), g)

    outcomes = [_judged(answer, "y", call, lambda g: TEXTBOOK.conv2d(*_operands(g), g), of_value)]

    def shapes(name: str, arguments: tuple[Any, ...]) -> tuple[int, ...]:
        first, second, g = arguments[:3]
        if name == "conv2d_transpose":
            return (len(first), *g.image, second.shape[2])
        return (*g.kernel, first.shape[-1], second.shape[-1])

    names = ("conv2d_weight_grad", "conv2d_transpose")
    methods = _fitting_methods(answer, kind, names, shapes)
    outcomes += _by_layer(
        answer,
        layers.Conv2d,
        with_methods(kind, kind.__name__, methods)(),
        {"weight": "dw", "x": "dx"},
        [getattr(kind, n) for n in names],
    )
    return outcomes


def _operands(g: ConvGeometry) -> tuple[np.ndarray, np.ndarray]:
    return _drawn(2, *g.image, 2), _drawn(*g.kernel, 2, CHANNELS)


def _by_layer(
    answer: Answer, layer: type[Layer], be: Backend, parts: dict[str, str], functions: Sequence[Any]
) -> list[Outcome]:
    """The gradients of a convolution whose pass forwards is minigan's, and whose other two maps are the answer's."""

    def apply(self: Any, x: Array) -> Array:
        return TEXTBOOK.conv2d(x, self.weight, self.geometry)

    fixed = with_methods(layer, layer.__name__, {"apply": apply})
    cases = [Case(shape, parts, {"channels": CHANNELS, **options}, batch=2) for options, shape in (PLAIN, STRIDED, ODD)]
    return check_layer_answer(answer, fixed, cases, be, functions, contract=False)


LOOPS = Exercise(
    5,
    "Convolution by loops",
    "each number goes where it is needed, and each gradient comes back the same way.",
    layers.Conv2d,
    (("", "dx̄_nhvc ="),),
    ("Conv2d",),
    ("03_convolution_is_a_matrix.py",),
    "class Loops(Backend):",
    (),
    '''
# g.kernel, g.stride, g.padding, g.dilation, g.image (H, W) and g.output (OH, OW) are pairs: height, width.

def conv2d(self, x, w, g):
    """y = A_w x: x (N, H, W, C), w (KH, KW, C, F) -> (N, OH, OW, F), without a bias."""
    (OH, OW), (KH, KW), (s, t), (d, e) = g.output, g.kernel, g.stride, g.dilation
    x_bar = np.pad(x, [(0, 0), (g.padding[0],) * 2, (g.padding[1],) * 2, (0, 0)])
    y = np.zeros((len(x), OH, OW, w.shape[-1]), x.dtype)
    for o in range(OH):
        for p in range(OW):
            for i in range(KH):
                for j in range(KW):
                    y[:, o, p] += blank("y")  # (N, F): what tap (i, j) brings to the pixel (o, p)
    return y

def conv2d_weight_grad(self, x, y, g, out=None):
    """dw (KH, KW, C, F) of x and of y, the gradient ∂L/∂y; written to out as well, if there is one."""
    (OH, OW), (KH, KW), (s, t), (d, e) = g.output, g.kernel, g.stride, g.dilation
    x_bar = np.pad(x, [(0, 0), (g.padding[0],) * 2, (g.padding[1],) * 2, (0, 0)])
    dw = np.zeros((KH, KW, x.shape[-1], y.shape[-1]), x.dtype)
    for o in range(OH):
        for p in range(OW):
            for i in range(KH):
                for j in range(KW):
                    dw[i, j] += blank("dw")  # (C, F)
    return self.store(dw, out)

def conv2d_transpose(self, y, w, g):
    """dx = A_wᵀ y (N, H, W, C), where y is the gradient ∂L/∂y (N, OH, OW, F)."""
    (OH, OW), (KH, KW), (s, t), (d, e) = g.output, g.kernel, g.stride, g.dilation
    dx_bar = np.zeros((len(y), *g.padded, w.shape[2]), y.dtype)  # of x with its border
    for o in range(OH):
        for p in range(OW):
            for i in range(KH):
                for j in range(KW):
                    dx_bar[:, 0, 0] += blank("dx")  # (N, C): and at which pixel?
    (top, left), (H, W) = g.padding, g.image
    return dx_bar[:, top : top + H, left : left + W]
''',
    (Source(Backend.conv2d), Source(Backend.conv2d_weight_grad), Source(Backend.conv2d_transpose)),
    (
        Part(
            "y",
            "Which pixel of x̄ does tap (i, j) read for the output (o, p)? It has C channels, and w[i, j] is (C, F).",
            ("y_nopf =", "OH ="),
        ),
        Part(
            "dw",
            "w_ijcf is used once for each n, o and p. What does it meet there, and what comes back from y?",
            ("dw_ijcf =", ""),
        ),
        Part(
            "dx",
            "The pixel that tap (i, j) read for (o, p) gets dy of (o, p) back, through the same weights.",
            ("dx̄_nhvc =", ""),
        ),
    ),
    _check_loops,
    more=(Backend.im2col, Backend.col2im),
)


# -- im2col ------------------------------------------------------------------------------------------------------------


def _check_columns(answer: Answer) -> list[Outcome]:
    kind = answer.find("Columns", Backend)

    def rows(g: ConvGeometry) -> np.ndarray:
        return _drawn(2 * g.output[0] * g.output[1], g.kernel[0] * g.kernel[1] * 2)

    def of_columns(g: ConvGeometry) -> list[Guess]:
        right, size = TEXTBOOK.im2col(_operands(g)[0], g), (*g.output, *g.kernel, 2)
        parts = right.reshape(2, *size)
        found = [
            Guess(
                "transposed",
                "each row holds (C, KH, KW): (KH, KW, C) is wanted, as w.reshape(-1, F) has it",
                np.moveaxis(parts, 5, 3).reshape(right.shape),
            ),
            Guess("transposed", "each row holds (KW, KH, C): (KH, KW, C) is wanted", parts.swapaxes(3, 4).reshape(right.shape)),
            Guess("transposed", "the rows go by (OW, OH): (OH, OW) is wanted", parts.swapaxes(1, 2).reshape(right.shape)),
            Guess("flipped", "each window is turned round", parts[:, :, :, ::-1, ::-1].reshape(right.shape)),
        ]
        for name in ("stride", "dilation"):
            if getattr(g, name) != (1, 1):
                plain = ConvGeometry(**{**vars(g), name: (1, 1)})
                told = f"right for a {name} of 1: where does g.{name} stand?"
                found.append(Guess("option", told, TEXTBOOK.im2col(_operands(g)[0], plain)))
        return found

    def of_image(g: ConvGeometry) -> list[Guess]:
        columns, last, first = (
            rows(g),
            "= stands where += belongs: windows overlap, and a pixel gets the sum",
            "the first share alone",
        )
        return [
            Guess("not added up", last, _overwritten(columns, g, 1)),
            Guess("not added up", first, _overwritten(columns, g, -1)),
            Guess("factor", "a mean over the windows of a pixel: their sum is wanted", _averaged(columns, g)),
        ]

    def of_product(g: ConvGeometry) -> list[Guess]:
        return _of_forward(*_operands(g), g)

    fixed = with_methods(kind, kind.__name__, {"im2col": Backend.im2col})
    return [
        _judged(
            answer,
            "im2col",
            lambda g: kind().im2col(_operands(g)[0], g),
            lambda g: TEXTBOOK.im2col(_operands(g)[0], g),
            of_columns,
        ),
        _judged(answer, "col2im", lambda g: kind().col2im(rows(g), g, 2), lambda g: TEXTBOOK.col2im(rows(g), g, 2), of_image),
        _judged(
            answer,
            "conv2d",
            lambda g: fixed().conv2d(*_operands(g), g),
            lambda g: TEXTBOOK.conv2d(*_operands(g), g),
            of_product,
        ),
    ]


def _overwritten(columns: np.ndarray, g: ConvGeometry, step: int) -> np.ndarray:
    """col2im in which the last tap that comes to a pixel is all that stays."""
    windows = columns.reshape(2, *g.output, *g.kernel, -1)
    padded = np.zeros((2, *g.padded, windows.shape[-1]))
    for i, j in list(np.ndindex(*g.kernel))[::step]:
        rows = slice(i * g.dilation[0], i * g.dilation[0] + g.stride[0] * (g.output[0] - 1) + 1, g.stride[0])
        across = slice(j * g.dilation[1], j * g.dilation[1] + g.stride[1] * (g.output[1] - 1) + 1, g.stride[1])
        padded[:, rows, across] = windows[:, :, :, i, j]
    (top, left), (height, width) = g.padding, g.image
    return padded[:, top : top + height, left : left + width]


def _averaged(columns: np.ndarray, g: ConvGeometry) -> np.ndarray:
    count = TEXTBOOK.col2im(np.ones_like(columns), g, 2)
    return TEXTBOOK.col2im(columns, g, 2) / np.maximum(count, 1)


IM2COL = Exercise(
    6,
    "im2col",
    "a convolution made into one product of matrices, and the transpose of that.",
    Backend.conv2d,
    (("", ""), ("y[n, o, p, f]", "As one product")),
    ("Conv2d",),
    ("03_convolution_is_a_matrix.py",),
    "class Columns(Backend):",
    (),
    '''
# g.kernel, g.stride, g.padding, g.dilation, g.image (H, W), g.padded and g.output (OH, OW) are pairs: height, width.

def im2col(self, x, g):
    """The window under every output as a row: (N, H, W, C) -> (N·OH·OW, KH·KW·C)."""
    (OH, OW), (KH, KW), (s, t), (d, e) = g.output, g.kernel, g.stride, g.dilation
    x_bar = np.pad(x, [(0, 0), (g.padding[0],) * 2, (g.padding[1],) * 2, (0, 0)])
    windows = np.empty((len(x), OH, OW, KH, KW, x.shape[-1]), x.dtype)
    for i in range(KH):
        for j in range(KW):
            windows[:, :, :, i, j] = blank("im2col")  # (N, OH, OW, C): the pixels that tap (i, j) reads, all outputs at once
    return windows.reshape(len(x) * OH * OW, -1)

def col2im(self, columns, g, batch):
    """The transpose of im2col: (N·OH·OW, KH·KW·C) -> (N, H, W, C)."""
    (OH, OW), (KH, KW), (s, t), (d, e) = g.output, g.kernel, g.stride, g.dilation
    windows = columns.reshape(batch, OH, OW, KH, KW, -1)
    x_bar = np.zeros((batch, *g.padded, windows.shape[-1]), columns.dtype)
    x_bar[...] = blank("col2im")  # tap by tap: each number goes back to the pixel that im2col read it from
    (top, left), (H, W) = g.padding, g.image
    return x_bar[:, top : top + H, left : left + W]

def conv2d(self, x, w, g):
    """y = A_w x by one product: x (N, H, W, C), w (KH, KW, C, F) -> (N, OH, OW, F)."""
    columns = self.im2col(x, g)
    return blank("conv2d")
''',
    (Source(Backend.im2col), Source(Backend.col2im), Source(Backend.conv2d)),
    (
        Part(
            "im2col",
            "Tap (i, j) reads row o·s + i·d for output row o: which slice of x̄ holds these for all o?",
            ("y[n, o, p, f]", "As one"),
        ),
        Part(
            "col2im",
            "⟨im2col x, c⟩ = ⟨x, col2im c⟩: a pixel that several windows read gets all that stood for it.",
            ("y[n, o, p, f]", "As one"),
        ),
        Part(
            "conv2d",
            "w as a matrix has a row for each number of a window. What shape has the product, and what shape has y?",
            ("As one product", ""),
        ),
    ),
    _check_columns,
)


# -- transposed --------------------------------------------------------------------------------------------------------


def _check_transposed(answer: Answer) -> list[Outcome]:
    kind = answer.find("ConvTranspose2d", layers.ConvTranspose2d)
    variants = (
        ({"kernel_size": 2, "stride": 2}, (3, 4, 2)),
        ({"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}, (3, 4, 2)),
        ({"kernel_size": 3, "padding": 1}, (4, 4, 3)),
    )
    trials = (_transposed_trial(kind, options, shape) for options, shape in variants)
    outcomes = [_first_wrong(answer, "y", trials)]

    def apply(self: Any, x: Array) -> Array:
        return layers.ConvTranspose2d.apply(self, x)

    def weight_grad(self: Any, x: Array, dy: Array, out: Array) -> None:
        got = kind.weight_grad(self, x, dy, out)
        if got is not None and got is not out:  # returned, where it should be written
            value = as_array(got, out.shape) if not misfit(got, out.shape, "dw") else None
            if value is None:
                raise TypeError(f"{answer.place(kind.weight_grad)}{misfit(got, out.shape, 'dw')}")
            out[...] = value

    methods = {"apply": apply, "weight_grad": weight_grad}
    fixed = with_methods(kind, kind.__name__, methods)
    cases = [Case(shape, {"weight": "dw", "x": "dx"}, {"channels": 3, **options}, batch=2) for options, shape in variants]
    return outcomes + check_layer_answer(answer, fixed, cases, functions=(kind.transpose, kind.weight_grad))


def _transposed_trial(kind: type[Layer], options: dict[str, Any], shape: tuple[int, ...]) -> _Trial:
    layer: Any = kind(channels=3, **options)
    layer.place(0, shape)
    w = _drawn(*layer.parameters["weight"].shape)
    layer.bind(TEXTBOOK, {"weight": w, "bias": np.zeros(3)}, {}, None)
    x, g = _drawn(2, *shape), layer.geometry
    guesses = partial(_of_transposed, x, w, g)
    return _Trial(options, shape, partial(layer.apply, x), TEXTBOOK.conv2d_transpose(x, w, g), guesses)


def _of_transposed(x: np.ndarray, w: np.ndarray, g: ConvGeometry) -> list[Guess]:
    """What a transposed convolution is with common mistakes in it."""
    found = [
        Guess("flipped", "w turned round along both axes of taps", TEXTBOOK.conv2d_transpose(x, w[::-1, ::-1], g)),
        Guess("transposed", "w with its two axes of taps exchanged", TEXTBOOK.conv2d_transpose(x, w.swapaxes(0, 1), g)),
        Guess("not added up", "= stands where += belongs: windows overlap, and add up", _overwritten_windows(x, w, g)),
    ]
    if w.shape[2] == w.shape[3]:
        told = "w with its channels exchanged: it is (KH, KW, F, C), C those of x"
        found.append(Guess("transposed", told, TEXTBOOK.conv2d_transpose(x, w.swapaxes(2, 3), g)))
        if g.image == g.output:
            told = "Conv2d's own map A_w x: its transpose is wanted"
            found.append(Guess("transposed", told, TEXTBOOK.conv2d(x, w, g)))
    return found


def _overwritten_windows(x: np.ndarray, w: np.ndarray, g: ConvGeometry) -> np.ndarray:
    columns = x.reshape(-1, w.shape[-1]) @ w.reshape(-1, w.shape[-1]).T
    return _overwritten(columns, g, 1)


TRANSPOSED = Exercise(
    7,
    "Transposed convolution",
    "what a generator enlarges with: the backward pass of a convolution, taken forwards.",
    layers.ConvTranspose2d,
    (("", "Backward"),),
    ("ConvTranspose2d", "Conv2d"),
    ("03_convolution_is_a_matrix.py",),
    "class ConvTranspose2d(mg.ConvTranspose2d):",
    (Source(layers.Linear.forward), Source(layers.Linear.backward)),
    """
cross_sample = False  # no sample's output depends on another sample

# self.geometry is that of the Conv2d from y's shape to x's: its image is y's (OH, OW), its output x's (H, W). You may
# loop, or use what the backend has for a Conv2d of weight w and geometry g, for images a and outputs b of it:
#   self.backend.conv2d(a, w, g)                       A_w a
#   self.backend.conv2d_transpose(b, w, g)             A_wᵀ b
#   self.backend.conv2d_weight_grad(a, b, g, out=out)  ∂⟨A_w a, b⟩/∂w

def apply(self, x):
    return blank("y")  # A_wᵀ x: (N, H, W, C) -> (N, OH, OW, F), without the bias

def transpose(self, dy):
    return blank("dx")  # (N, OH, OW, F) -> (N, H, W, C)

def weight_grad(self, x, dy, out):
    out[...] = blank("dw")  # (KH, KW, F, C)
""",
    (
        Source(layers.ConvTranspose2d.apply),
        Source(layers.ConvTranspose2d.transpose),
        Source(layers.ConvTranspose2d.weight_grad),
    ),
    (
        Part("y", "Which map has the same windows, but reads where this one writes?", ("ȳ_n(h·s", "OH =")),
        Part(
            "dw",
            "⟨A_wᵀ x, dy⟩ = ⟨x, A_w dy⟩: of the Conv2d, which of the two is the image, and which the output?",
            ("dw_ijfc =", ""),
        ),
        Part("dx", "y = A_wᵀ x. What is the transpose of a transpose?", ("dx_nhvc =", "")),
        CONTRACT,
    ),
    _check_transposed,
    more=(Backend.conv2d, Backend.conv2d_transpose, Backend.conv2d_weight_grad),
)
