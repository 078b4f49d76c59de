"""The check of a layer: each gradient against central differences, and the contract that every layer keeps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, get_backend
from minigan.checks.contract import check_contract
from minigan.checks.gradients import check_layer, moved_network
from minigan.checks.report import Report, Row
from minigan.errors import cut_middle
from minigan.exercises.answer import Answer, as_array, misfit
from minigan.exercises.blanks import Blank
from minigan.exercises.exercise import BLANK, ERROR, RIGHT, WRONG, Outcome
from minigan.exercises.naming import UNEXPLAINED, Guess, fitting
from minigan.layers import Layer
from minigan.user_code import describe_error

KEEPS = "the contract of a layer"  # the part that comes last


@dataclass(frozen=True)
class Case:
    """A layer on which the answer is tried. parts: the names of the parts by that of the gradient."""

    shape: tuple[int, ...]
    parts: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    train: bool = True
    batch: int = 3


@dataclass(frozen=True)
class Evidence:
    """One pair of passes, from which it follows what a gradient would be with a certain mistake in it."""

    x: np.ndarray
    dy: np.ndarray
    layer: Layer
    train: bool


Guesses = Callable[[str, Evidence], list[Guess]]  # takes the gradient's name: a parameter's, or "x"
Remainder = Callable[[Evidence, np.ndarray], str]  # takes the answer's dx less the true one: what that shows, or ""


def check_layer_answer(
    answer: Answer,
    layer: type[Layer],
    cases: Sequence[Case],
    backend: str | Backend = "textbook",
    functions: Sequence[Any] = (),
    contract: bool = True,
    guesses: Guesses = lambda name, evidence: [],
    remainder: Remainder = lambda evidence, off: "",
) -> list[Outcome]:
    """The outcome of each gradient of a layer, the worst of all cases; then of the layer contract.

    functions: those of the answer that make the gradients, to tell their line. guesses: the mistakes of this subject, tried
    before those that any layer may have. remainder: what can be said of a dx that none of them fits. In the passes the answer's
    class is a layer like any other; only what it returns is looked at first.
    """
    found: dict[str, Outcome] = {}
    check = _LayerCheck(answer, layer, get_backend(backend), functions, guesses, remainder)
    for case in cases:
        for outcome in check.outcomes(case):
            before = found.get(outcome.part)
            if before is None or before.status == RIGHT or (outcome.status == BLANK and before.status != BLANK):
                found[outcome.part] = outcome
    outcomes = list(found.values())
    if not contract:
        return outcomes
    return [*outcomes, check.contract(cases, outcomes)]


class _LayerCheck:
    """The passes of an answer's layer, with all that goes wrong in them kept in words."""

    def __init__(
        self,
        answer: Answer,
        layer: type[Layer],
        be: Backend,
        functions: Sequence[Any],
        guesses: Guesses,
        remainder: Remainder,
    ) -> None:
        self.answer, self.layer, self.be, self.guesses, self.remainder = answer, layer, be, guesses, remainder
        self.place = next((place for function in functions if (place := answer.place(function))), "")
        self.errors: dict[str, str] = {}  # why the last backward pass did not make a gradient, by its name
        self.lenient = with_methods(layer, layer.__name__, {"backward": self._backward})

    @property
    def _backward(self) -> Callable[..., Any]:
        """A backward whose dx fits: all NaN where the answer's is a blank, does not fit, or is never come to."""
        check = self

        def backward(self: Any, dy: Array, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
            shape, why = (len(dy), *self.input_shape), ""

            def run(grads: Any) -> Any:
                # Of its own, or what it writes there would spoil the differences; the contract tells of that.
                return check.layer.backward(self, dy.copy(), _copied(cache), grads, input_grad)

            check.errors = {}
            try:
                dx = run(grads)
            except Exception as error:
                dx = check.what_still_runs(error, run, grads)
            if input_grad and "x" not in check.errors:
                why = misfit(dx, shape, "dx")
            if why:
                check.errors["x"] = f"{check.place}{why}"
            if not input_grad and (dx is None or isinstance(dx, Blank)):
                return None
            return np.full(shape, np.nan) if why or dx is None else as_array(dx, shape) if np.shape(dx) != shape else dx

        return backward

    def what_still_runs(self, error: Exception, run: Callable[[Any], Any], grads: Any) -> Any:
        """dx where a parameter's gradient raised the error, and None where dx did; what else can be had is written to grads."""
        self.errors = dict.fromkeys((*(grads or ()), "x"), cut_middle(describe_error(error, self.answer.path)))
        given = {name: _Given() for name in grads or ()}
        dx = None
        for room in (given, None) if grads is not None else ():
            with suppress(Exception):
                dx = run(room)
                del self.errors["x"]
                break
        for name, taken in given.items():
            for place, value in taken.written:
                if why := misfit(value, grads[name].shape, f'what is written to grads["{name}"]'):
                    grads[name][...], self.errors[name] = np.nan, f"{place}{why}"
                    break
                grads[name][...] = value
        return dx

    def outcomes(self, case: Case) -> list[Outcome]:
        self.errors = {}

        def check() -> Report:
            layer = self.lenient(**case.options)
            return check_layer(layer, case.shape, batch=case.batch, backend=self.be, train=case.train)

        done = self.answer.attempt(check)
        if done.error:
            status = BLANK if done.blanks else WRONG
            return [Outcome(part, status, [] if done.blanks else [done.error], ERROR) for part in case.parts.values()]
        errors, report = self.errors, done.value
        rows = {row.name.removeprefix("0."): row for row in report.rows}
        outcomes = []
        for name, part in case.parts.items():
            row = rows[name]
            if row.max_error < report.tolerance:
                outcomes.append(Outcome(part, RIGHT))
            elif not np.isnan(row.analytic):
                outcomes.append(self._wrong(part, name, report, row, case))
            elif done.blanks:
                outcomes.append(Outcome(part, BLANK))
            elif name in errors:
                outcomes.append(Outcome(part, WRONG, [errors[name]], ERROR))
            else:
                outcomes.append(self._not_a_number(part, name, report))
        return outcomes

    def _not_a_number(self, part: str, name: str, report: Report) -> Outcome:
        mistakes = [m for m in report.mistakes if m.where.removeprefix("0.") == name]
        told = f'{self.place}NaN, or nothing is written to what lies in grads["{name}"]: grads["{name}"][...] = …'
        told = f"{self.place}dx holds NaN" if name == "x" else told
        return Outcome(part, WRONG, [*(m.words for m in mistakes), told], mistakes[0].kind if mistakes else "")

    def _wrong(self, part: str, name: str, report: Report, row: Row, case: Case) -> Outcome:
        evidence, own, true = self._compared(name, case)
        with np.errstate(all="ignore"):
            found = [(guess.kind, guess.words) for guess in fitting(own, true, self.guesses(name, evidence))]
        if not found:
            found = [(m.kind, m.words) for m in report.mistakes if m.where.removeprefix("0.") == name]
        mode = "" if case.train else " at inference"
        shown = f"relative error {row.max_error:.1e} on x {(case.batch, *case.shape)}{mode}: "
        shown += f"yours {row.analytic:+.6g}, by differences {row.numeric:+.6g} at {row.where}"
        words = "; or else ".join(words for _, words in found)
        words = words or (self.remainder(evidence, own - true) if name == "x" else "") or UNEXPLAINED
        return Outcome(part, WRONG, [words, shown], " or ".join(dict.fromkeys(kind for kind, _ in found)))

    def _compared(self, name: str, case: Case) -> tuple[Evidence, np.ndarray, np.ndarray]:
        """A pair of passes, and what they give for one gradient: the answer's, and the library's."""
        rng = np.random.default_rng(6)
        net = moved_network(self.lenient(**case.options), case.shape, self.be, "float64", rng)
        layer = net.layers[0]
        x = rng.standard_normal((case.batch, *case.shape))
        dy = rng.standard_normal((case.batch, *net.output_shape))
        known = next(kind for kind in self.layer.__mro__ if kind.__module__.startswith("minigan."))
        gradients = []
        for backward in (type(layer).backward, getattr(known, "backward")):  # noqa: B009 (a class of any kind)
            cache = layer.forward(x.copy(), case.train)[1]
            grads = {key: np.full(value.shape, np.nan) for key, value in layer.params.items()}
            dx = backward(layer, dy.copy(), cache, grads)
            gradients.append({**grads, "x": dx}[name])
        return Evidence(x, dy, layer, case.train), gradients[0], gradients[1]

    def contract(self, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Outcome:
        """What the layer breaks of the contract, once it is filled in and runs."""
        if any(outcome.status == BLANK for outcome in outcomes):
            return Outcome(KEEPS, BLANK)
        if any(outcome.mistake == ERROR for outcome in outcomes):
            return Outcome(KEEPS, WRONG, ["is looked at once the passes run"])
        broken: dict[str, None] = {}
        for case in cases:
            done = self.answer.attempt(partial(self._broken, case))
            for sentence in [done.error] if done.error else done.value:
                broken[cut_middle(sentence)] = None
        return Outcome(KEEPS, WRONG, list(broken), "contract") if broken else Outcome(KEEPS, RIGHT)

    def _broken(self, case: Case) -> list[str]:
        return check_contract(self.layer(**case.options), case.shape, train=case.train, backend=self.be)


class _Given:
    """What takes the place of an array of grads: it keeps what is written to all of it, whatever its shape, and from where."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []

    def __setitem__(self, key: Any, value: Any) -> None:
        if key is not ... and key != slice(None):
            raise TypeError("only what is written to all of it can be looked at")
        frame = sys._getframe(1)
        self.written.append((f"line {frame.f_lineno}, in {frame.f_code.co_name}: ", value))


def _copied(cache: Any) -> Any:
    """A cache whose arrays are copies."""
    if type(cache) in (tuple, list):
        return type(cache)(map(_copied, cache))
    if type(cache) is dict:
        return {name: _copied(value) for name, value in cache.items()}
    return cache.copy() if isinstance(cache, np.ndarray) else cache


def with_methods(base: type, name: str, methods: Mapping[str, Any]) -> type:
    """A class like `base` with some methods of another: one part is checked with all the others as the library has them."""
    return type(name, (base,), {**methods, "__module__": base.__module__})
