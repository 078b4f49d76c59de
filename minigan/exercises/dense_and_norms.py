"""Exercises on layers whose backward pass is the task: Dense, BatchNorm and LayerNorm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from minigan import layers
from minigan.backends import Array, get_backend
from minigan.checks.report import TOLERANCE
from minigan.exercises.answer import Answer
from minigan.exercises.exercise import ERROR, WRONG, Exercise, Outcome, Part, Source
from minigan.exercises.layer_check import KEEPS, Case, Evidence, check_layer_answer
from minigan.exercises.naming import Guess, relative_error
from minigan.layers import Layer
from minigan.network import Sequential

CONTRACT = Part(KEEPS, "What must backward leave as it is, and where must it write?", ("- backward", "- tangent"), Layer)


def _outputs(nets: list[Sequential], x: Array, train: bool) -> list[Array]:
    return [net.forward(x, train)[0] for net in nets]


def _forward_kept(answer: Answer, layer: type[Layer], given: type[Layer], cases: list[Case]) -> list[Outcome]:
    """An outcome where the pass forwards, which is given, has been changed: all differences are taken of it."""
    for case in cases:
        nets = [
            Sequential([kind(**case.options)], case.shape, get_backend("textbook"), "float64", seed=3)
            for kind in (layer, given)
        ]
        x = nets[0].backend.generator(5).normal((case.batch, *case.shape), "float64")
        done = answer.attempt(partial(_outputs, nets, x, case.train))
        changed = done.error or relative_error(*done.value) > 1e-9
        if changed:
            told = done.error or "it gives another y than minigan's"
            return [Outcome("the forward pass, as it was given", WRONG, [f"{told}: put it back as the file had it"], ERROR)]
    return []


def _checked(
    answer: Answer,
    layer: type[Layer],
    given: type[Layer],
    cases: list[Case],
    norm: Callable[[Evidence], _Norm] | None = None,
) -> list[Outcome]:
    kept, functions = _forward_kept(answer, layer, given, cases), (layer.backward,)
    if kept or norm is None:
        return kept or check_layer_answer(answer, layer, cases, functions=functions)
    guesses, remainder = partial(_guesses_of, norm), partial(_remainder, norm)
    return check_layer_answer(answer, layer, cases, functions=functions, guesses=guesses, remainder=remainder)


def _guesses_of(make: Callable[[Evidence], _Norm], name: str, e: Evidence) -> list[Guess]:
    return _norm_guesses(name, e, make(e))


@dataclass(frozen=True)
class _Norm:
    """What a norm does: over which axes, the paths of its dx, and how it is spoken of."""

    axes: tuple[int, ...]  # normalised together
    x_hat: np.ndarray
    inv_std: np.ndarray
    count: str  # the name for the number of values normalised together
    group: str  # what these are

    def mean(self, a: np.ndarray, axes: tuple[int, ...] | None = None) -> np.ndarray:
        return a.mean(axis=self.axes if axes is None else axes, keepdims=True)

    def through_mean(self, g: np.ndarray, axes: tuple[int, ...] | None = None) -> np.ndarray:
        return -self.mean(g, axes) * self.inv_std

    def through_var(self, g: np.ndarray, axes: tuple[int, ...] | None = None) -> np.ndarray:
        return -self.x_hat * self.mean(g * self.x_hat, axes) * self.inv_std


def _norm_guesses(name: str, e: Evidence, norm: _Norm) -> list[Guess]:
    """What a gradient of a norm is with common mistakes in it."""
    gamma, dy, others = e.layer.params["gamma"], e.dy, tuple(range(e.dy.ndim - e.layer.params["gamma"].ndim))
    g, x_hat, inv_std = gamma * dy, norm.x_hat, norm.inv_std
    if name == "gamma":
        y = gamma * x_hat + e.layer.params["beta"]
        return [
            Guess("factor", "Σ dy x: x̂ is what γ multiplies, not x", (dy * e.x).sum(axis=others)),
            Guess("factor", "Σ dy y: x̂ is what γ multiplies, not y", (dy * y).sum(axis=others)),
            Guess("factor", "Σ g x̂, with g = γ dy: ∂y/∂γ is x̂ alone, without γ", (g * x_hat).sum(axis=others)),
            Guess("factor", "Σ dy x̂/σ: x̂ is divided by σ already", (dy * x_hat * inv_std).sum(axis=others)),
            Guess("factor", "Σ dy (x − μ): 1/σ is missing, γ multiplies x̂", (dy * x_hat / inv_std).sum(axis=others)),
            Guess("factor", "a mean over all that γ multiplies: their sum is wanted", (dy * x_hat).mean(axis=others)),
        ]
    if name == "beta":
        return [
            Guess("factor", "Σ g, with g = γ dy: ∂y/∂β is 1, without γ", g.sum(axis=others)),
            Guess("factor", "a mean over all that β is added to: their sum is wanted", dy.mean(axis=others)),
        ]
    if not e.train:
        return _guesses_at_inference(dy, g, norm)
    return [*_guesses_of_all(e, g, norm), *_guesses_of_one_path(dy, g, norm), *_guesses_of_axes(e, g, norm)]


def _guesses_at_inference(dy: np.ndarray, g: np.ndarray, norm: _Norm) -> list[Guess]:
    inv_std, constant = norm.inv_std, "at inference it is constant"
    return [
        Guess("factor", "1/σ is left out of g/σ", g),
        Guess("factor", "γ is left out: g = γ dy", dy * inv_std),
        Guess("factor", "g σ: it must be divided by σ, and inv_std is 1/σ already", g / inv_std),
        Guess("factor", "g/σ²: 1/σ stands in it twice", g * inv_std**2),
        Guess("train", f"the path through μ is kept: {constant}", g * inv_std + norm.through_mean(g)),
        Guess("train", f"the path through v is kept: {constant}", g * inv_std + norm.through_var(g)),
    ]


def _guesses_of_all(e: Evidence, g: np.ndarray, norm: _Norm) -> list[Guess]:
    """What dx is in training with mistakes that concern more than one of its paths."""
    gamma, dy, inv_std, x_hat, mean = e.layer.params["gamma"], e.dy, norm.inv_std, norm.x_hat, norm.mean
    m = int(np.prod([dy.shape[axis] for axis in norm.axes]))
    direct, statistics = g * inv_std, norm.through_mean(g) + norm.through_var(g)
    true, of_dy = direct + statistics, dy * inv_std + norm.through_mean(dy) + norm.through_var(dy)
    M, group, n = norm.count, norm.group, len(dy)
    found = [
        Guess("factor", f"both sums in place of means: Σ g/{M} and Σ g x̂/{M} are wanted", direct + m * statistics),
        Guess("factor", f"{M} times the true one: divide by {M}, the number of values of {group}", m * true),
        Guess("factor", f"divided by {M} − 1 in place of {M}", direct + m / (m - 1) * statistics),
        Guess("factor", "1/σ is left out: all three paths have it", true / inv_std),
        Guess("factor", "σ stands where 1/σ belongs: inv_std is 1/σ already, multiply by it", true / inv_std**2),
        Guess("factor", "1/σ² stands where 1/σ belongs", true * inv_std),
        Guess("x for y", "x stands where x̂ belongs, before ⟨g x̂⟩", (g - mean(g) - e.x * mean(g * x_hat)) * inv_std),
        Guess("x for y", "x stands where x̂ belongs, within ⟨g x̂⟩", (g - mean(g) - x_hat * mean(g * e.x)) * inv_std),
        Guess("x for y", "x stands where x̂ belongs, both times", (g - mean(g) - e.x * mean(g * e.x)) * inv_std),
        Guess("sign", "both paths through the statistics have the wrong sign", direct - statistics),
        Guess("factor", "γ is left out: g = γ dy", of_dy),
        Guess(
            "factor",
            "γ stands outside of the means, as in BatchNorm: here it differs from term to term, take the means of g = γ dy",
            gamma * of_dy,
        ),
    ]
    if 0 in norm.axes and n != m:
        told = f"divided by the N of the batch: {M}, the number of values of {group}, is N times that of the pixels"
        found.append(Guess("factor", told, direct + m / n * statistics))
        found.append(Guess("factor", told, m / n * true))
    return found


def _guesses_of_one_path(dy: np.ndarray, g: np.ndarray, norm: _Norm) -> list[Guess]:
    """What dx is in training where one of its paths is missing, or has a factor too many or too few."""
    inv_std, x_hat, M = norm.inv_std, norm.x_hat, norm.count
    m, n = int(np.prod([dy.shape[axis] for axis in norm.axes])), len(dy)
    paths = {"direct": g * inv_std, "μ": norm.through_mean(g), "v": norm.through_var(g)}
    of_dy = {"direct": dy * inv_std, "μ": norm.through_mean(dy), "v": norm.through_var(dy)}

    def with_path(path: str, value: np.ndarray) -> np.ndarray:
        return sum((value if name == path else paths[name] for name in paths), np.zeros_like(g))

    missing = {
        "direct": "x_n stands in its own x̂_n",
        "μ": "x_n moves μ, and with it every x̂ that μ is taken off; ⟨x̂⟩ is 0, but ⟨g⟩ is not",
        "v": "x_n moves v, and with it every x̂ that v scales; ⟨g x̂⟩ is not ⟨g⟩⟨x̂⟩, which is 0",
    }
    lost = {"v": "; where (x − μ) stands for x̂, the σ of each takes one more 1/σ"}
    found = [
        Guess(
            "factor", "lacks the x̂ before ⟨g x̂⟩: the further x_n is from μ, the steeper v", with_path("v", paths["v"] / x_hat)
        ),
        Guess(
            "factor",
            "(x − μ) stands for x̂ both times in the path through v: 1/σ³ belongs before it, not 1/σ",
            with_path("v", paths["v"] / inv_std**2),
        ),
    ]
    for path, value in paths.items():
        what = "the direct path" if path == "direct" else f"the path through {path}"
        found += [
            Guess("factor", f"{what} has one 1/σ too few{lost.get(path, '')}", with_path(path, value / inv_std)),
            Guess("factor", f"{what} has 1/σ once too often", with_path(path, value * inv_std)),
            Guess("factor", f"γ is left out of {what}: g = γ dy belongs there", with_path(path, of_dy[path])),
            Guess("part left out", f"{what} is missing: {missing[path]}", with_path(path, 0 * value)),
        ]
        if path == "direct":
            continue
        found += [
            Guess("part left out", f"{what} alone: the other two paths are missing", value + 0 * g),
            Guess("sign", f"{what} has the wrong sign", with_path(path, -value)),
            Guess("factor", f"{what} is half of what it should be", with_path(path, value / 2)),
            Guess("factor", f"{what} is twice what it should be", with_path(path, 2 * value)),
            Guess("factor", f"{what} has a sum where a mean is meant: divide it by {M}", with_path(path, m * value)),
            Guess("factor", f"{what} is divided by {M} − 1 in place of {M}", with_path(path, m / (m - 1) * value)),
        ]
        if 0 in norm.axes and n != m:
            told = f"{what} is divided by the N of the batch: {M}, the number of values of {norm.group}, is meant"
            found.append(Guess("factor", told, with_path(path, m / n * value)))
    return found


def _guesses_of_axes(e: Evidence, g: np.ndarray, norm: _Norm) -> list[Guess]:
    ndim, axes, found = e.dy.ndim, norm.axes, []
    for other in {(0,), tuple(range(1, ndim)), tuple(range(ndim - 1)), (ndim - 1,), tuple(range(ndim))} - {axes}:
        told = f"the means run over the axes {other}, and not over {axes}, which were normalised together"
        found.append(Guess("axis", told, g * norm.inv_std + norm.through_mean(g, other) + norm.through_var(g, other)))
    return found


def _batch_norm(e: Evidence) -> _Norm:
    axes, state = tuple(range(e.x.ndim - 1)), e.layer.state
    mean, var = (e.x.mean(axis=axes), e.x.var(axis=axes)) if e.train else (state["running_mean"], state["running_var"])
    inv_std = 1 / np.sqrt(var + e.layer.options["eps"])
    return _Norm(axes, (e.x - mean) * inv_std, inv_std, "M", "a channel")


def _layer_norm(e: Evidence) -> _Norm:
    axes = tuple(range(e.x.ndim - e.layer.options["axes"], e.x.ndim))
    inv_std = 1 / np.sqrt(e.x.var(axis=axes, keepdims=True) + e.layer.options["eps"])
    return _Norm(axes, (e.x - e.x.mean(axis=axes, keepdims=True)) * inv_std, inv_std, "K", "a row")


def _remainder(make: Callable[[Evidence], _Norm], e: Evidence, off: np.ndarray) -> str:
    """What the error of a dx that no mistake explains looks like, where that leads to a path."""
    norm = make(e)
    if not e.train or not np.isfinite(off).all():
        return ""
    same, steep = norm.mean(off) + 0 * off, norm.x_hat * norm.mean(off * norm.x_hat) / norm.mean(norm.x_hat**2)
    for value, how, path in ((same, "the same for all values", "μ"), (steep, "proportional to x̂ within the values", "v")):
        if relative_error(off, value) < TOLERANCE:
            return f"what is off is {how} of {norm.group}, as is the path through {path}: look at that path"
    if relative_error(off, same + steep) < TOLERANCE:
        return f"what is off is a + b x̂ within the values of {norm.group}, as are the paths through μ and v: look at these"
    return ""


def _check_dense(answer: Answer) -> list[Outcome]:
    layer = answer.find("Dense", layers.Dense)
    parts = {"weight": "dW", "bias": "db", "x": "dx"}
    cases = [Case((5,), parts, {"units": 4}), Case((4,), parts, {"units": 4})]
    return _checked(answer, layer, layers.Dense, cases)


def _check_batch_norm(answer: Answer) -> list[Outcome]:
    layer = answer.find("BatchNorm", layers.BatchNorm)
    sums = {"gamma": "dγ", "beta": "dβ"}
    training, inference = {**sums, "x": "dx in training"}, {**sums, "x": "dx at inference"}
    cases = [
        Case((3, 4, 2), training, batch=5),  # first, as N, H, W and M all differ there
        Case((4,), training, batch=6),
        Case((4,), inference, train=False, batch=6),
        Case((3, 2, 2), inference, train=False),
    ]
    return _checked(answer, layer, layers.BatchNorm, cases, _batch_norm)


def _check_layer_norm(answer: Answer) -> list[Outcome]:
    layer = answer.find("LayerNorm", layers.LayerNorm)
    parts = {"gamma": "dγ", "beta": "dβ", "x": "dx"}
    cases = [Case((5,), parts, batch=4), Case((3, 2, 2), parts, {"axes": 3}), Case((3, 4), parts, {"axes": 1})]
    return _checked(answer, layer, layers.LayerNorm, cases, _layer_norm)


DENSE = Exercise(
    1,
    "Dense",
    "both gradients of a product, and of a bias that stands in every row.",
    layers.Dense,
    (("", "dx_ni ="),),
    ("Dense",),
    ("01_one_neuron.py",),
    "class Dense(mg.Dense):",
    (Source(layers.Dense.apply), Source(layers.Linear.forward)),
    """
def backward(self, dy, cache, grads=None, input_grad=True):
    x, W = cache, self.weight  # (N, I), (I, O); dy = ∂L/∂y is (N, O)
    if grads is not None:  # write into the arrays that lie there
        grads["weight"][...] = blank("dW")  # (I, O)
        grads["bias"][...] = blank("db")  # (O,)
    if not input_grad:
        return None
    return blank("dx")  # (N, I)
""",
    (Source(layers.Linear.backward), Source(layers.Dense.transpose), Source(layers.Dense.weight_grad)),
    (
        Part("dW", "In which samples n does W_io stand, and what is multiplied by it there?", ("dW_io", "")),
        Part("db", "b_o stands in y_no of how many samples n?", ("db_o", "")),
        Part("dx", "x_ni stands in all outputs o of its own sample: what is multiplied by it in each?", ("dx_ni", "")),
        CONTRACT,
    ),
    _check_dense,
)

BATCH_NORM = Exercise(
    8,
    "BatchNorm",
    "a gradient with three paths, two of them through the statistics of the batch.",
    layers.BatchNorm,
    (("", "Backward, per channel"), ("Let g_m", "directly:")),
    ("BatchNorm",),
    ("04_batchnorm_three_paths.py",),
    "class BatchNorm(mg.BatchNorm):",
    (Source(layers.BatchNorm.forward),),
    """
def backward(self, dy, cache, grads=None, input_grad=True):
    x, mean, inv_std, train = cache  # (N, …, C); μ and 1/σ are (C,)
    axes = tuple(range(dy.ndim - 1))  # all but the last, that of the channels: μ and v are means over these
    x_hat = (x - mean) * inv_std
    g = self.gamma * dy  # ∂L/∂x̂
    if grads is not None:  # write into the arrays that lie there
        grads["gamma"][...] = blank("dγ")  # (C,)
        grads["beta"][...] = blank("dβ")  # (C,)
    if not input_grad:
        return None
    if not train:
        return blank("dx at inference")  # μ and σ are constants here
    # The check writes ⟨·⟩ for the mean over a channel's M values, as in ⟨g⟩ and ⟨g x̂⟩.
    return blank("dx in training")  # the sum of three paths; (N, …, C)
""",
    (Source(layers.BatchNorm.backward),),
    (
        Part(
            "dγ",
            "y = γ x̂ + β, and one γ serves all values of its channel. What is multiplied by it in each?",
            ("dγ =", "and dβ"),
        ),
        Part("dβ", "One β is added to all values of its channel. Over which axes must be summed?", ("dβ =", "Let g_m")),
        Part(
            "dx in training",
            "Move one x_n: x̂_n moves, and so do μ and v, and these move x̂_m of ALL samples m. Which term has no sum in it, "
            "which has Σ g, and which has Σ g x̂?",
            ("directly:", "At inference"),
        ),
        Part("dx at inference", "Which of the three paths are left where μ and σ do not depend on x?", ("At inference μ", "")),
        CONTRACT,
    ),
    _check_batch_norm,
)

LAYER_NORM = Exercise(
    9,
    "LayerNorm",
    "the same three paths within a sample, with a γ that differs from term to term.",
    layers.LayerNorm,
    (("", "Backward: dγ"), ("With g_k", "directly:")),
    ("LayerNorm",),
    ("04_batchnorm_three_paths.py",),
    "class LayerNorm(mg.LayerNorm):",
    (Source(layers.LayerNorm.forward),),
    """
cross_sample = False  # no sample's output depends on another sample

def backward(self, dy, cache, grads=None, input_grad=True):
    x_hat, inv_std = cache  # (M, K) and (M, 1): a row for each group of K values that were normalised together
    rows = dy.reshape(x_hat.shape)
    gamma = self.gamma.reshape(-1)  # (K,)
    if grads is not None:  # write into the arrays that lie there
        grads["gamma"][...] = blank("dγ")  # (K,), reshaped to self.gamma.shape
        grads["beta"][...] = blank("dβ")  # the same
    if not input_grad:
        return None
    # The check writes ⟨·⟩ for the mean over a row's K values, as in ⟨g⟩ and ⟨g x̂⟩.
    dx = blank("dx")  # (M, K): the sum of three paths
    return dx if isinstance(dx, float) else dx.reshape(dy.shape)
""",
    (Source(layers.LayerNorm.backward), Source(layers.LayerNorm._means)),
    (
        Part("dγ", "γ_k stands in the k-th value of every row. What is multiplied by it there?", ("dγ =", "and dβ")),
        Part("dβ", "β_k is added to the k-th value of every row. Over which axis must be summed?", ("dβ =", "With g_k")),
        Part(
            "dx",
            "As BatchNorm's, but the means run over the K values of a row, and γ is not the same in all: inside the means "
            "stands g = γ dy.",
            ("directly:", "Unlike"),
        ),
        CONTRACT,
    ),
    _check_layer_norm,
)
