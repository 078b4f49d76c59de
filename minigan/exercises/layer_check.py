"""The check of a layer: each gradient against central differences, and the contract that every layer keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, get_backend
from minigan.checks.contract import check_contract
from minigan.checks.gradients import check_layer
from minigan.checks.report import Report
from minigan.errors import cut_middle
from minigan.exercises.answer import Answer, as_array, misfit
from minigan.exercises.blanks import Blank
from minigan.exercises.exercise import BLANK, RIGHT, WRONG, Outcome
from minigan.layers import Layer

KEEPS = "the contract of a layer"  # the part that comes last
UNEXPLAINED = "no common mistake explains it: take the terms of the derivation one by one"


class MisfitError(Exception):
    """An answer returned what cannot be compared."""


@dataclass(frozen=True)
class Case:
    """A layer on which the answer is tried. parts: the names of the parts by the gradient's name and by train or not."""

    shape: tuple[int, ...]
    parts: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    train: bool = True
    batch: int = 3


def check_layer_answer(
    answer: Answer,
    layer: type[Layer],
    cases: Sequence[Case],
    backend: str | Backend = "textbook",
    functions: Sequence[Any] = (),
    contract: bool = True,
) -> list[Outcome]:
    """The outcome of each gradient of a layer, the worst of all cases; then of the layer contract.

    functions: those of the answer that make the gradients, to tell their line. In the passes the answer's class is a layer
    like any other; only what it returns is looked at first.
    """
    found: dict[str, Outcome] = {}
    guarded, place = _guarded(layer, answer, functions), next((p for f in functions if (p := answer.place(f))), "")
    for case in cases:
        for outcome in _check_case(answer, guarded, case, get_backend(backend), place):
            before = found.get(outcome.part)
            if before is None or before.status == RIGHT or (outcome.status == BLANK and before.status != BLANK):
                found[outcome.part] = outcome
    outcomes = list(found.values())
    if contract:
        outcomes.append(_check_contract(answer, guarded, cases, backend, outcomes))
    return outcomes


def _guarded(layer: type[Layer], answer: Answer, functions: Sequence[Any]) -> type[Layer]:
    """The class with a backward whose outcome fits, or which says why it does not: a blank becomes an array of NaN."""
    place = next((p for f in functions if (p := answer.place(f))), "")

    def backward(self: Any, dy: Array, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        dx = layer.backward(self, dy, cache, grads, input_grad)
        if not input_grad and (dx is None or isinstance(dx, Blank)):
            return None
        shape = (len(dy), *self.input_shape)
        if why := misfit(dx, shape, "dx"):
            raise MisfitError(f"{place}{why}")
        return as_array(dx, shape) if np.shape(dx) != shape else dx

    return type(layer.__name__, (layer,), {"backward": backward, "__module__": layer.__module__})


def _check_case(answer: Answer, layer: type[Layer], case: Case, be: Backend, place: str) -> list[Outcome]:
    done = answer.attempt(
        lambda: check_layer(layer(**case.options), case.shape, batch=case.batch, backend=be, train=case.train)
    )
    if done.error:
        if done.blanks:
            return [Outcome(part, BLANK) for part in case.parts.values()]
        error = done.error.removeprefix("MisfitError: ")
        return [Outcome(part, WRONG, [error], "error") for part in case.parts.values()]
    report: Report = done.value
    rows = {row.name.removeprefix("0."): row for row in report.rows}
    outcomes = []
    for name, part in case.parts.items():
        row = rows[name]
        if row.max_error < report.tolerance:
            outcomes.append(Outcome(part, RIGHT))
        elif np.isnan(row.analytic) and done.blanks:
            outcomes.append(Outcome(part, BLANK))
        else:
            outcomes.append(_wrong(part, name, report, row, case, place))
    return outcomes


def _wrong(part: str, name: str, report: Report, row: Any, case: Case, place: str) -> Outcome:
    mistakes = [m for m in report.mistakes if m.where.removeprefix("0.") == name]
    words = [mistake.words for mistake in mistakes] or [UNEXPLAINED]
    mode = "in training" if case.train else "at inference"
    on = f"on x {(case.batch, *case.shape)} {mode}"
    if np.isnan(row.analytic):
        shown = f"{place}NaN or nothing written, {on}"
    else:
        shown = f"relative error {row.max_error:.1e} {on}: yours {row.analytic:+.6g}, by differences {row.numeric:+.6g} at {row.where}"
    return Outcome(part, WRONG, [*words, shown], mistakes[0].kind if mistakes else "")


def _check_contract(
    answer: Answer, layer: type[Layer], cases: Sequence[Case], backend: str | Backend, outcomes: Sequence[Outcome]
) -> Outcome:
    """What the layer breaks of the contract, once it is filled in."""
    if any(outcome.status == BLANK for outcome in outcomes):
        return Outcome(KEEPS, BLANK)
    if any(outcome.mistake == "error" for outcome in outcomes):
        return Outcome(KEEPS, WRONG, ["is looked at once the passes run"], "error")
    broken: dict[str, None] = {}
    for case in cases:
        done = answer.attempt(
            lambda case=case: check_contract(layer(**case.options), case.shape, train=case.train, backend=backend)
        )
        for sentence in [done.error] if done.error else done.value:
            broken[cut_middle(sentence)] = None
    return Outcome(KEEPS, WRONG, list(broken), "contract") if broken else Outcome(KEEPS, RIGHT)


def with_methods(base: type, name: str, methods: Mapping[str, Callable[..., Any]]) -> type:
    """A class like `base` with some methods of another: one part is checked with all the others as the library has them."""
    return type(name, (base,), {**methods, "__module__": base.__module__})
