"""Exercises on layers whose backward pass is the task: Dense, BatchNorm and LayerNorm."""

from __future__ import annotations

from functools import partial

import numpy as np

from minigan import layers
from minigan.backends import Array, get_backend
from minigan.exercises.answer import Answer
from minigan.exercises.exercise import ERROR, WRONG, Exercise, Outcome, Part, Source
from minigan.exercises.layer_check import KEEPS, Case, Evidence, Guesses, check_layer_answer
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
    answer: Answer, layer: type[Layer], given: type[Layer], cases: list[Case], guesses: Guesses | None = None
) -> list[Outcome]:
    own = {"guesses": guesses} if guesses else {}
    kept = _forward_kept(answer, layer, given, cases)
    return kept or check_layer_answer(answer, layer, cases, functions=(layer.backward,), **own)  # type: ignore[arg-type]


def _norm_guesses(name: str, e: Evidence, axes: tuple[int, ...], x_hat: np.ndarray, inv_std: np.ndarray) -> list[Guess]:
    """What a gradient of a norm over these axes is with common mistakes in it."""
    gamma, dy, others = e.layer.params["gamma"], e.dy, tuple(range(e.dy.ndim - e.layer.params["gamma"].ndim))
    g, count = gamma * dy, int(np.prod([dy.shape[axis] for axis in axes]))
    if name == "gamma":
        return [
            Guess("factor", "Σ dy x: x̂ is what γ multiplies, not x", (dy * e.x).sum(axis=others)),
            Guess(
                "factor",
                "Σ dy y: x̂ is what γ multiplies, not y",
                (dy * (gamma * x_hat + e.layer.params["beta"])).sum(axis=others),
            ),
            Guess("factor", "Σ g x̂, with g = γ dy: ∂y/∂γ is x̂ alone, without γ", (g * x_hat).sum(axis=others)),
            Guess("factor", "Σ dy x̂/σ: x̂ is divided by σ already", (dy * x_hat * inv_std).sum(axis=others)),
            Guess("factor", "Σ dy (x − μ): 1/σ is missing, γ multiplies x̂", (dy * x_hat / inv_std).sum(axis=others)),
        ]
    if name == "beta":
        return [Guess("factor", "Σ g, with g = γ dy: ∂y/∂β is 1, without γ", g.sum(axis=others))]
    return _norm_guesses_dx(e, g, axes, x_hat, inv_std, count)


def _norm_guesses_dx(
    e: Evidence, g: np.ndarray, axes: tuple[int, ...], x_hat: np.ndarray, inv_std: np.ndarray, count: int
) -> list[Guess]:
    gamma, dy = e.layer.params["gamma"], e.dy

    def mean(a: np.ndarray, along: tuple[int, ...] = axes) -> np.ndarray:
        return a.mean(axis=along, keepdims=True)

    if not e.train:
        return [
            Guess("factor", "1/σ is left out of g/σ", g),
            Guess("factor", "γ is left out: g = γ dy", dy * inv_std),
            Guess("factor", "g σ: it must be divided by σ, and inv_std is 1/σ already", g / inv_std),
        ]
    true = g - mean(g) - x_hat * mean(g * x_hat)
    found = [
        Guess(
            "factor",
            "both sums in place of means: Σ g/M and Σ g x̂/M are wanted",
            (g - count * (mean(g) + x_hat * mean(g * x_hat))) * inv_std,
        ),
        Guess(
            "factor",
            "divided by M − 1 in place of M",
            (g - count / (count - 1) * (mean(g) + x_hat * mean(g * x_hat))) * inv_std,
        ),
        Guess("factor", "1/σ is left out: all three paths have it", true),
        Guess("factor", "σ stands where 1/σ belongs: inv_std is 1/σ already, multiply by it", true / inv_std),
        Guess("factor", "1/σ² stands where 1/σ belongs", true * inv_std**2),
        Guess("x for y", "x stands where x̂ belongs, before ⟨g x̂⟩", (g - mean(g) - e.x * mean(g * x_hat)) * inv_std),
        Guess("x for y", "x stands where x̂ belongs, within ⟨g x̂⟩", (g - mean(g) - x_hat * mean(g * e.x)) * inv_std),
        Guess("x for y", "x stands where x̂ belongs, both times", (g - mean(g) - e.x * mean(g * e.x)) * inv_std),
        Guess(
            "factor",
            "lacks the x̂ before ⟨g x̂⟩: the path through v is the steeper, the further x_n is from μ",
            (g - mean(g) - mean(g * x_hat)) * inv_std,
        ),
        Guess(
            "factor", "the path through v has 1/σ once too often", (g - mean(g) - x_hat * mean(g * x_hat) * inv_std) * inv_std
        ),
        Guess(
            "factor",
            "the path through v is half of what it should be",
            (g - mean(g) - x_hat * mean(g * x_hat) / 2) * inv_std,
        ),
        Guess(
            "sign", "both paths through the statistics have the wrong sign", (g + mean(g) + x_hat * mean(g * x_hat)) * inv_std
        ),
        Guess("factor", "γ is left out: g = γ dy", (dy - mean(dy) - x_hat * mean(dy * x_hat)) * inv_std),
        Guess(
            "factor",
            "γ stands outside of the means, as in BatchNorm: here it differs from term to term, take the means of g = γ dy",
            gamma * (dy - mean(dy) - x_hat * mean(dy * x_hat)) * inv_std,
        ),
    ]
    for other in {(0,), tuple(range(1, dy.ndim)), tuple(range(dy.ndim - 1)), (dy.ndim - 1,), tuple(range(dy.ndim))} - {axes}:
        told = f"the means run over the axes {other}, and not over {axes}, which were normalised together"
        found.append(Guess("axis", told, (g - mean(g, other) - x_hat * mean(g * x_hat, other)) * inv_std))
    return found


def _batch_norm_guesses(name: str, e: Evidence) -> list[Guess]:
    axes, state = tuple(range(e.x.ndim - 1)), e.layer.state
    mean, var = (e.x.mean(axis=axes), e.x.var(axis=axes)) if e.train else (state["running_mean"], state["running_var"])
    inv_std = 1 / np.sqrt(var + e.layer.options["eps"])
    return _norm_guesses(name, e, axes, (e.x - mean) * inv_std, inv_std)


def _layer_norm_guesses(name: str, e: Evidence) -> list[Guess]:
    axes = tuple(range(e.x.ndim - e.layer.options["axes"], e.x.ndim))
    inv_std = 1 / np.sqrt(e.x.var(axis=axes, keepdims=True) + e.layer.options["eps"])
    return _norm_guesses(name, e, axes, (e.x - e.x.mean(axis=axes, keepdims=True)) * inv_std, inv_std)


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
        Case((4,), training, batch=6),
        Case((3, 4, 2), training),
        Case((4,), inference, train=False, batch=6),
        Case((3, 2, 2), inference, train=False),
    ]
    return _checked(answer, layer, layers.BatchNorm, cases, _batch_norm_guesses)


def _check_layer_norm(answer: Answer) -> list[Outcome]:
    layer = answer.find("LayerNorm", layers.LayerNorm)
    parts = {"gamma": "dγ", "beta": "dβ", "x": "dx"}
    cases = [Case((5,), parts, batch=4), Case((3, 2, 2), parts, {"axes": 3}), Case((3, 4), parts, {"axes": 1})]
    return _checked(answer, layer, layers.LayerNorm, cases, _layer_norm_guesses)


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
