"""The formulas at the head of a subject's page, in TeX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minigan.explain import formulas
from minigan.explain.formulas import formulas_of
from minigan.explain.likelihoods import likelihood_formulas
from minigan.explain.objectives import objective_formulas
from minigan.explain.page.penalties import LAST_SWEEP, SWEEPS, SYMBOLS
from minigan.explain.second_order import penalty_formulas, second_order_of
from minigan.layers import Layer
from minigan.losses import Likelihood, Objective, Penalty
from minigan.optim import SGD, Adam


@dataclass(frozen=True)
class Group:
    """Formulas under one heading, what they say in words, and what their letters stand for."""

    heading: str
    tex: tuple[str, ...]
    words: tuple[str, ...] = ()
    symbols: str = ""


def groups_of(ran: Any) -> list[Group]:
    """Those of what a worked example ran; none for a function, whose derivation says it all."""
    if isinstance(ran, Layer):
        return _of_layer(ran)
    if isinstance(ran, Objective):
        return _of_objective(ran)
    if isinstance(ran, Penalty):
        return _of_penalty(ran)
    if isinstance(ran, Likelihood):
        known = likelihood_formulas(ran)
        return (
            []
            if known is None
            else [Group("The loss, and its gradient", (known.value, known.grad, known.mean), (known.reading,), known.symbols)]
        )
    if isinstance(ran, Adam):
        return [Group("The step", formulas.ADAM, symbols="g: the gradient dw; η: the learning rate lr; t: the step")]
    if isinstance(ran, SGD):
        return [
            Group("The step", formulas.SGD_MOMENTUM, symbols="g: the gradient dw; η: the learning rate lr; ρ: the momentum")
        ]
    return []


def _of_layer(layer: Layer) -> list[Group]:
    known, second = formulas_of(layer), second_order_of(layer)
    groups = []
    if known is not None:
        back = (*known.input_grad, *known.param_grads.values())
        words = tuple(filter(None, (known.back, known.learning)))
        groups.append(Group("Forward", known.forward, (known.reading,), known.explained(known.forward)))
        groups.append(Group("Backward", back, words, known.explained(back)))
    if second is not None:
        tex = tuple(filter(None, (second.tangent, *second.param_grads.values(), second.c)))
        symbols = "; ".join(filter(None, ("b = dy, kept from a backward pass; Q = b · ẏ; c = ∂Q/∂x", second.symbols)))
        groups.append(Group("The gradient of a gradient", tex, (second.reading,), symbols))
    return groups


def _of_objective(objective: Objective) -> list[Group]:
    known = objective_formulas(objective)
    if known is None:
        return []
    return [
        Group("D's loss", (*known.value_d, *known.grad_d), (known.reading_d,), known.symbols),
        Group("G's loss", (*known.value_g, *known.grad_g), (known.reading_g,)),
    ]


def _of_penalty(penalty: Penalty) -> list[Group]:
    known = penalty_formulas(penalty)
    slope = r"g_n = \frac{\partial}{\partial x_n} \sum_m s_m"
    groups = [Group("Its gradient in D's parameters", (*SWEEPS, LAST_SWEEP), symbols=SYMBOLS)]
    if known is not None:
        tex = (slope, known.value, known.v, *filter(None, [known.points]))
        groups.insert(0, Group(f"The penalty, {known.where}", tex, (known.reading,), known.symbols))
    return groups
