"""Exercises on plain functions: sigmoid and tanh with their derivatives, and the two cross-entropies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigan import layers, losses
from minigan.backends import Array
from minigan.checks.gradients import check_layer
from minigan.exercises.answer import Answer, Attempt, as_array, misfit
from minigan.exercises.exercise import BLANK, ERROR, RIGHT, WRONG, Exercise, Outcome, Part, Source
from minigan.exercises.layer_check import Case, check_layer_answer, with_methods
from minigan.exercises.naming import Guess, judge
from minigan.layers import Layer, elementwise
from minigan.layers.base import Grads, Shape

LARGE = 1000.0  # e^1000 overflows


# -- sigmoid and tanh --------------------------------------------------------------------------------------------------


def _value(
    answer: Answer, part: str, call: Callable[[], Any], true: np.ndarray, guesses: Sequence[Guess] = (), **more: Any
) -> Outcome:
    """One value of an answer, held against the true one."""
    done = answer.attempt(call)
    if not done.error:
        done.error = misfit(done.value, true.shape, part)
    if unusable := done.unusable(part):
        return unusable
    return judge(part, as_array(done.value, true.shape), true, guesses, **more)


def _check_sigmoid_and_tanh(answer: Answer) -> list[Outcome]:
    x = np.linspace(-3, 3, 12).reshape(4, 3)
    sigmoid, xp = answer.find("sigmoid"), np
    y = elementwise.sigmoid(xp, x)
    guesses = [
        Guess("sign", "σ(−x): the sign of the exponent is wrong", elementwise.sigmoid(xp, -x)),
        Guess("x for y", "σ′(x), not σ(x)", y * (1 - y)),
        Guess("other function", "tanh x: σ(x) = (1 + tanh(x/2))/2", np.tanh(x)),
        Guess("part left out", "e^−x: 1/(1 + …) is missing", np.exp(-x)),
        Guess("part left out", "1 + e^−x: its reciprocal is wanted", 1 + np.exp(-x)),
    ]
    outcomes = [_value(answer, "σ(x)", lambda: sigmoid(xp, x), y, guesses), _large(answer, sigmoid)]
    for kind, name, part in ((layers.Sigmoid, "sigmoid_grad", "σ′"), (layers.Tanh, "tanh_grad", "tanh′")):
        grad = answer.find(name)
        layer = with_methods(kind, kind.__name__, {"df": staticmethod(_fitting(answer, grad, part))})
        outcomes += check_layer_answer(answer, layer, [Case((4, 3), {"x": part})], functions=(grad,), contract=False)
    return outcomes


def _fitting(answer: Answer, grad: Callable[..., Any], part: str) -> Callable[..., Any]:
    def df(xp: Any, y: Array) -> Array:
        value = grad(xp, y)
        if why := misfit(value, y.shape, part):
            raise TypeError(f"{answer.place(grad)}{why}")
        return as_array(value, y.shape) if np.shape(value) != y.shape else value

    return df


def _large(answer: Answer, sigmoid: Callable[..., Any]) -> Outcome:
    part, x = "σ of large x", np.array([-LARGE, LARGE])

    def call() -> Any:
        with np.errstate(over="raise"):
            return sigmoid(np, x)

    done = answer.attempt(call)
    if "FloatingPointError" in done.error:
        return Outcome(part, WRONG, ["e^1000 overflows: let the exponent never be above 0"], "overflow")
    done.error = done.error or misfit(done.value, x.shape, part)
    if unusable := done.unusable(part):
        return unusable
    return judge(part, as_array(done.value, x.shape), np.array([0.0, 1.0]))


SIGMOID_AND_TANH = Exercise(
    2,
    "Sigmoid and tanh",
    "derivatives written in y, which is all that the backward pass keeps.",
    layers.Sigmoid,
    (("", "Backward, element"),),
    ("Sigmoid", "Tanh"),
    ("01_one_neuron.py", "05_bce_from_logits.py"),
    "",
    (Source(layers.Tanh.f, "tanh"),),
    """
def sigmoid(xp, x):  # xp is numpy, or a module like it
    return blank("σ(x)")  # as x; it must not overflow for x = −1000


def sigmoid_grad(xp, y):
    return blank("σ′")  # ∂y/∂x for y = σ(x), written in y alone


def tanh_grad(xp, y):
    return blank("tanh′")  # ∂y/∂x for y = tanh x, written in y alone
""",
    (Source(elementwise.sigmoid), Source(layers.Sigmoid.df, "sigmoid_grad"), Source(layers.Tanh.df, "tanh_grad")),
    (
        Part("σ(x)", "Which way does σ go as x grows, and what is σ(0)?", ("Logistic sigmoid", "Backward")),
        Part(
            "σ of large x",
            "e^−x is huge for x = −1000. Multiply above and below by e^x there.",
            ("Logistic sigmoid", "Backward"),
        ),
        Part("σ′", "Derive 1/(1 + e^−x) in x, then look for y and 1 − y in what you got.", ("Backward, element", "Once more")),
        Part(
            "tanh′",
            "tanh = S/C with S′ = C and C′ = S: the quotient rule, and then y = S/C put in.",
            ("Backward, element", "Once"),
            layers.Tanh,
        ),
    ),
    _check_sigmoid_and_tanh,
)


# -- losses ------------------------------------------------------------------------------------------------------------


class _Loss(Layer):
    """A loss as a layer with one output, so that its gradient is checked and explained as a layer's is.

    The loss itself is the library's, the gradient the answer's. Targets are drawn anew for each size of a batch.
    """

    def __init__(self, true: Callable[..., Any], gradient: Callable[..., Any], targets: Callable[[int], np.ndarray]) -> None:
        super().__init__()
        self.true, self.gradient, self.targets = true, gradient, targets

    def build(self, input_shape: Shape) -> Shape:
        return (1,)

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Array]:
        return self.true(x, self.targets(len(x)))[0].reshape(1, 1), x

    def backward(self, dy: Array, cache: Array, grads: Grads | None = None, input_grad: bool = True) -> Array:
        return dy.reshape(()) * self.gradient(cache, self.targets(len(cache)))


def _check_loss(
    answer: Answer,
    true: Callable[..., Any],
    shape: tuple[int, ...],
    targets: Callable[[int], np.ndarray],
    of_value: Callable[[np.ndarray, np.ndarray], list[Guess]],
    of_gradient: Callable[[np.ndarray, np.ndarray], list[Guess]],
) -> list[Outcome]:
    """The value of a loss, its gradient, and both for logits of which e^s overflows."""
    function = answer.find(true.__name__)
    s = 2 * np.random.default_rng(1).standard_normal((4, *shape))
    t, place = targets(4), answer.place(function)
    done = answer.attempt(lambda: _pair(function(s.copy(), t), s.shape, place))
    value, grad = done.value if not done.error else (None, None)
    names = ("L", "∂L/∂s", "large logits")
    if done.error:
        return [done.unusable(part) or Outcome(part, WRONG) for part in names]
    true_value, true_grad = true(s, t)
    outcomes = []
    for part, own, right, guesses in (("L", value, true_value, of_value(s, t)), ("∂L/∂s", grad, true_grad, of_gradient(s, t))):
        attempt = Attempt(own, blanks=done.blanks)
        sizes = {"N": float(len(s)), "the number of logits of a sample": s.size / len(s), "the number of values": float(s.size)}
        outcomes.append(attempt.unusable(part) or judge(part, own, right, guesses, sizes))
    if outcomes[1].status == WRONG and not outcomes[1].mistake:
        outcomes[1] = _by_layers(answer, function, true, shape, targets, outcomes[1])
    outcomes.append(_large_logits(answer, function, true, shape, targets))
    return outcomes


def _pair(returned: Any, shape: tuple[int, ...], place: str) -> tuple[np.ndarray, np.ndarray]:
    """(L, ∂L/∂s) as arrays, or TypeError for what is no such pair."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"{place}must return (L, ∂L/∂s), it returns {type(returned).__name__}")
    for value, wanted, what in zip(returned, ((), shape), ("L", "∂L/∂s"), strict=True):
        if why := misfit(value, wanted, what):
            raise TypeError(f"{place}{why}")
    return as_array(returned[0], ()), as_array(returned[1], shape)


def _by_layers(
    answer: Answer,
    function: Callable[..., Any],
    true: Callable[..., Any],
    shape: tuple[int, ...],
    targets: Callable[[int], np.ndarray],
    plain: Outcome,
) -> Outcome:
    """The outcome with what the explanations of layers find, where they find something."""
    net = _Loss(true, lambda s, t: np.asarray(function(s, t)[1]), targets)
    done = answer.attempt(lambda: check_layer(net, shape, batch=4, backend="textbook").mistakes)
    if done.error or not done.value:
        return Outcome(plain.part, plain.status, plain.lines)
    return Outcome(plain.part, plain.status, [done.value[0].words, *plain.lines[1:]], done.value[0].kind)


def _large_logits(
    answer: Answer,
    function: Callable[..., Any],
    true: Callable[..., Any],
    shape: tuple[int, ...],
    targets: Callable[[int], np.ndarray],
) -> Outcome:
    part = "large logits"
    s = LARGE * np.where(np.random.default_rng(2).random((4, *shape)) < 0.5, -1.0, 1.0)
    t = np.round(targets(4)).astype(targets(4).dtype)
    done = answer.attempt(lambda: _pair(function(s, t), s.shape, ""))
    if done.error or done.blanks:
        return Outcome(part, BLANK) if done.blanks else Outcome(part, WRONG, [done.error], ERROR)
    if not (np.isfinite(done.value[0]) and np.isfinite(done.value[1]).all()):
        told = "for logits of ±1000 it gives NaN or infinity: e^1000 overflows, and log 0 is −∞"
        return Outcome(part, WRONG, [told], "overflow")
    right = judge(part, done.value[0], true(s, t)[0])
    return Outcome(part, RIGHT) if right.status == RIGHT else Outcome(part, WRONG, ["L is wrong there", *right.lines[1:]], "")


def _softmax(s: np.ndarray, axis: int = -1) -> np.ndarray:
    exp = np.exp(s - s.max(axis=axis, keepdims=True))
    return exp / exp.sum(axis=axis, keepdims=True)


def _check_softmax_cross_entropy(answer: Answer) -> list[Outcome]:
    def labels(count: int) -> np.ndarray:
        return np.arange(count) * 2 % 5

    def of_value(s: np.ndarray, c: np.ndarray) -> list[Guess]:
        rows = np.arange(len(s))
        p = _softmax(s)[rows, c]
        return [
            Guess("factor", "the sum over samples: a mean is wanted, divide by N", -np.log(p).sum()),
            Guess(
                "factor",
                "a mean over N·K values: only one of the K terms of a sample counts, divide by N alone",
                -np.log(p).sum() / s.size,
            ),
            Guess("sign", "minus the loss: log p is below 0, so L = −mean log p", np.log(p).mean()),
            Guess("part left out", "−mean p of the right class: the log is missing", -p.mean()),
            Guess("part left out", "−mean s of the right class: the log of the sum below is missing", -s[rows, c].mean()),
            Guess("axis", "the softmax runs over the samples, not over the classes", -np.log(_softmax(s, 0)[rows, c]).mean()),
            Guess(
                "axis",
                "the log's sum runs over the samples, not over the classes",
                np.log(np.exp(s).sum(axis=0)).mean() - s[rows, c].mean(),
            ),
            Guess(
                "not added up", "all K of −log p are averaged: only that of the right class counts", -np.log(_softmax(s)).mean()
            ),
            Guess(
                "not added up",
                "all K of −log p are added up: only that of the right class counts",
                -np.log(_softmax(s)).sum() / len(s),
            ),
        ]

    def of_gradient(s: np.ndarray, c: np.ndarray) -> list[Guess]:
        n, p, one_hot = len(s), _softmax(s), np.eye(s.shape[1])[c]
        jacobian = p * ((-one_hot / p) - ((-one_hot / p) * p).sum(axis=1, keepdims=True)) / n
        return [
            Guess("part left out", "p/N: lacks −[k = c], the term of the right class itself", p / n),
            Guess("part left out", "p: lacks −[k = c], and the 1/N of the mean", p),
            Guess(
                "part left out", "−[k = c]/N: lacks p, the path through the sum below, which all K logits take", -one_hot / n
            ),
            Guess("part left out", "log p stands where p belongs: take the exponential again", (np.log(p) - one_hot) / n),
            Guess("part left out", "−[k = c]/(N p) is ∂L/∂p: the way on from p to s is missing", -one_hot / p / n),
            Guess("axis", "the softmax in it runs over the samples, not over the classes", (_softmax(s, 0) - one_hot) / n),
            Guess(
                "factor",
                "p (p − [k = c])/N: the softmax's derivative is in p − [k = c] already, and stands here twice",
                p * (p - one_hot) / n,
            ),
            Guess(
                "factor",
                "p (1 − p) is too often in it: p − [k = c] is the whole derivative already",
                p * (1 - p) * (p - one_hot) / n,
            ),
            Guess("sign", "p + [k = c]: the sign of the right class is wrong", (p + one_hot) / n),
            Guess("not added up", "e^s stands where p belongs: it is not divided by the sum", (np.exp(s) - one_hot) / n),
            Guess(
                "not added up",
                "e^(s − max) stands where p belongs: it is not divided by the sum",
                (np.exp(s - s.max(axis=1, keepdims=True)) - one_hot) / n,
            ),
            Guess("sign", "minus the true one: p − [k = c], not [k = c] − p", -jacobian),
        ]

    return _check_loss(answer, losses.softmax_cross_entropy, (5,), labels, of_value, of_gradient)


def _check_bce(answer: Answer) -> list[Outcome]:
    def targets(count: int) -> np.ndarray:
        return np.random.default_rng(count).random((count, 3))

    def of_value(s: np.ndarray, t: np.ndarray) -> list[Guess]:
        y, zeta = elementwise.sigmoid(np, s), elementwise.softplus(np, s)
        full = (zeta - t * s).mean()
        return [
            Guess("factor", "the sum over all values: a mean is wanted", full * s.size),
            Guess("factor", "divided by the N of the batch alone: the mean is over all values", full * s.size / len(s)),
            Guess("sign", "minus the loss: logs of probabilities are below 0", -full),
            Guess("part left out", "lacks −t s: this is the loss of targets that are all 0", zeta.mean()),
            Guess("part left out", "−mean t log σ(s) alone: lacks the share of 1 − t", -(t * np.log(y)).mean()),
            Guess(
                "part left out", "−mean (1 − t) log(1 − σ(s)) alone: lacks the share of t", -((1 - t) * np.log(1 - y)).mean()
            ),
            Guess("exchanged", "the loss for 1 − t: the two targets are exchanged", (zeta - (1 - t) * s).mean()),
            Guess("sign", "ζ(−s) − t s: ζ(s) = log(1 + e^s) is wanted", (elementwise.softplus(np, -s) - t * s).mean()),
            Guess("sign", "ζ(s) + t s: the sign of t s is wrong", (zeta + t * s).mean()),
        ]

    def of_gradient(s: np.ndarray, t: np.ndarray) -> list[Guess]:
        y, n = elementwise.sigmoid(np, s), s.size
        return [
            Guess("factor", "the mean is over all values: divided by N of the batch alone", (y - t) / len(s)),
            Guess("factor", "lacks the 1/N of the mean over all values", y - t),
            Guess("part left out", "σ(s)/N: lacks −t/N", y / n),
            Guess("part left out", "−t/N: lacks σ(s)/N, the derivative of ζ", -t / n),
            Guess("part left out", "(s − t)/N: the logit stands where its σ belongs", (s - t) / n),
            Guess(
                "factor",
                "y (1 − y) too often: σ(s) − t is ∂L/∂s already, the sigmoid's derivative is in it",
                (y - t) * y * (1 - y) / n,
            ),
            Guess(
                "factor",
                "∂L/∂y, not ∂L/∂s: the factor y (1 − y) of the way from y to s is missing",
                (y - t) / (y * (1 - y)) / n,
            ),
            Guess("exchanged", "that for 1 − t: the two targets are exchanged", (y - 1 + t) / n),
            Guess("sign", "(σ(s) + t)/N: the sign of t is wrong", (y + t) / n),
        ]

    return _check_loss(answer, losses.bce_with_logits, (3,), targets, of_value, of_gradient)


SOFTMAX_CROSS_ENTROPY = Exercise(
    3,
    "Softmax cross-entropy",
    "why the gradient of a log of a softmax is so short.",
    losses.softmax_cross_entropy,
    (("", "Gradient:"), ("log p_nc = s_nc", "so\n")),
    ("softmax_cross_entropy", "Softmax"),
    ("07_digit_classifier.py",),
    "",
    (),
    """
def softmax_cross_entropy(s, labels):
    N, K = s.shape  # labels: N integers, the right class of each
    shifted = s - s.max(axis=1, keepdims=True)  # leaves p as it is, and e^shifted cannot overflow
    log_p = blank("log p")  # (N, K)
    loss = blank("L")  # a number
    ds = blank("∂L/∂s")  # (N, K)
    return loss, ds
""",
    (Source(losses.softmax_cross_entropy),),
    (
        Part(
            "L", "Which of the K probabilities of a sample does L look at? And over what is the mean?", ("p_nk = ", "Gradient")
        ),
        Part(
            "∂L/∂s",
            "s_nk stands in log p_nc twice: once by itself, if k is the right class, and once in the log of the sum, always.",
            ("Gradient:", "Raises"),
        ),
        Part(
            "large logits",
            "Take the log of the sum first: log p = shifted − log Σ e^shifted, never log of a p that is 0.",
            ("with the row's", "Gradient"),
        ),
    ),
    _check_softmax_cross_entropy,
)

BCE = Exercise(
    4,
    "BCE from logits",
    "the sigmoid and the logarithm taken together, without overflow.",
    losses.bce_with_logits,
    (("", "= mean (ζ(s) − t s)"),),
    ("bce_with_logits", "Softplus"),
    ("05_bce_from_logits.py",),
    "",
    (Source(elementwise.sigmoid), Source(elementwise.softplus)),
    """
def bce_with_logits(s, targets):
    zeta = softplus(np, s)  # ζ(s) = log(1 + e^s)
    loss = blank("L")  # the mean over all values, a number
    ds = blank("∂L/∂s")  # as s
    return loss, ds
""",
    (Source(losses.bce_with_logits),),
    (
        Part("L", "Write both logs by ζ, then collect what stands before t.", ("With −log", "Gradient")),
        Part(
            "∂L/∂s",
            "What is the derivative of ζ(s) = log(1 + e^s)? And how many values is the mean over?",
            ("Gradient:", "Raises"),
        ),
        Part("large logits", "σ(1000) is 1 and log(1 − 1) is −∞: use ζ, never the log of a σ.", ("With −log", "Gradient")),
    ),
    _check_bce,
)
