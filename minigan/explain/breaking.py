"""Mistakes planted in a layer's backward pass, and what the gradient check says of each: the switches of the page.

Each mistake is a class whose passes stand before those of a layer's own class, as somebody might have written them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from minigan.checks.differences import with_state_held
from minigan.checks.entries import Comparison
from minigan.checks.gradients import check_gradients
from minigan.checks.report import Report
from minigan.explain.formulas import formulas_of
from minigan.explain.step import Pass, Update
from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Layer,
    LeakyReLU,
    ReLU,
    Residual,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from minigan.network import Sequential

MOST = 3  # mistakes at a station
ENTRIES = 24  # of each array that the check compares
FEW, WIDE = (6, 2), 200  # samples that the check runs on: of up to WIDE numbers each, and of more


class Planted:
    """A mistake in a backward pass. kind: as minigan.checks.mistakes names it, "" for one that it has no name for."""

    kind: ClassVar[str]
    words: ClassVar[str]  # on the switch
    code: ClassVar[str]  # what was written, and what it should be
    touches: ClassVar[str]  # "x" or "parameters": the gradients that it spoils


class WrongSign(Planted):
    kind, words, touches = "sign", "a wrong sign", "x"
    code = "return −dx instead of dx"

    def backward(self, dy: Any, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        dx = super().backward(dy, cache, grads, input_grad)  # type: ignore[misc]
        return None if dx is None else -dx


class MeanForSum(Planted):
    kind, words, touches = "factor", "mean for sum", "parameters"
    code = "the gradients of the parameters divided by N once more, though L is a mean already"

    def backward(self, dy: Any, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        dx = super().backward(dy, cache, grads, input_grad)  # type: ignore[misc]
        for gradient in (grads or {}).values():
            gradient /= len(dy)
        return dx


class LastOnly(Planted):
    kind, words, touches = "not added up", "overwritten in a loop", "parameters"
    code = "for each row of dy: dbias = row instead of dbias += row"

    def backward(self, dy: Any, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        dx = super().backward(dy, cache, grads, input_grad)  # type: ignore[misc]
        if grads:
            grads["bias"][...] = dy.reshape(-1, dy.shape[-1])[-1]
        return dx


class KernelNotTurned(Planted):
    kind, words, touches = "flipped", "the kernel the wrong way round", "x"
    code = "dx made with the kernel turned round in height and width"

    def backward(self, dy: Any, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        weight = self.params["weight"]  # type: ignore[attr-defined]
        kept = weight.copy()
        weight[...] = kept[::-1, ::-1]
        dx = super().backward(dy, cache, None, input_grad)  # type: ignore[misc]
        weight[...] = kept
        if grads:
            super().backward(dy, cache, grads, False)  # type: ignore[misc]
        return dx


class StatisticsHeld(Planted):
    kind, words, touches = "train", "μ and σ held as constants", "x"
    code = "dx = γ/σ · dy, as at inference: the paths through the mean and the variance are left out"

    def backward(self, dy: Any, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        super().backward(dy, cache, grads, False)  # type: ignore[misc]
        _, _, inv_std, _ = cache
        return self.params["gamma"] * inv_std * dy if input_grad else None  # type: ignore[attr-defined]


class ScaleForgotten(Planted):
    kind, words, touches = "factor", "γ forgotten", "x"
    code = "dx without the factor γ"

    def backward(self, dy: Any, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        dx = super().backward(dy, cache, grads, input_grad)  # type: ignore[misc]
        return None if dx is None else dx / self.params["gamma"]  # type: ignore[attr-defined]


class ChainForgotten(Planted):
    kind, words, touches = "factor", "dy forgotten", "x"
    code = "dx = f′(x) instead of dy · f′(x)"

    def backward(self, dy: Any, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        return super().backward(np.ones_like(dy), cache, grads, input_grad)  # type: ignore[misc]


class TakenAtX(Planted):
    kind, words, touches = "x for y", "x in the place of y", "x"
    code = "the formula for f′ in terms of y, given x"

    def forward(self, x: Any, train: bool = False) -> Any:
        return super().forward(x, train)[0], x.copy()  # type: ignore[misc]


class MaskOfGradient(Planted):
    kind, words, touches = "", "a mask of dy instead of x", "x"
    code = "dx = dy · [dy > 0] instead of dy · [x > 0]"

    def backward(self, dy: Any, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        return dy * (dy > 0) if input_grad else None


class MaskForgotten(Planted):
    kind, words, touches = "train", "the mask forgotten", "x"
    code = "dx = dy: that of inference"

    def backward(self, dy: Any, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        return dy.copy() if input_grad else None


class StraightPathForgotten(Planted):
    kind, words, touches = "part left out", "the straight path forgotten", "x"
    code = "dx = (∂f/∂x)ᵀ a dy, without dy itself"

    def backward(self, dy: Any, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        dx = super().backward(dy, cache, grads, input_grad)  # type: ignore[misc]
        return None if dx is None else dx - dy


class DiagonalOnly(Planted):
    kind, words, touches = "part left out", "the sum forgotten", "x"
    code = "dx = y dy: the path through the softmax's sum is left out"

    def backward(self, dy: Any, cache: Any, grads: Any = None, input_grad: bool = True) -> Any:
        return cache * dy if input_grad else None


def _has_kernel(layer: Layer) -> bool:
    return isinstance(layer, (Conv2d, ConvTranspose2d)) and min(layer.params["weight"].shape[:2]) > 2


def _has_bias(layer: Layer) -> bool:
    return "bias" in layer.params


# Those that say most about a layer come first: at most MOST of them stand at a station.
MISTAKES: tuple[tuple[type[Planted], Callable[[Layer], bool]], ...] = (
    (StatisticsHeld, lambda layer: isinstance(layer, BatchNorm)),
    (ScaleForgotten, lambda layer: isinstance(layer, BatchNorm)),
    (KernelNotTurned, _has_kernel),
    (TakenAtX, lambda layer: isinstance(layer, (Tanh, Sigmoid))),
    (MaskForgotten, lambda layer: isinstance(layer, Dropout)),
    (StraightPathForgotten, lambda layer: isinstance(layer, Residual)),
    (DiagonalOnly, lambda layer: isinstance(layer, Softmax)),
    (MeanForSum, lambda layer: bool(layer.params)),
    (ChainForgotten, lambda layer: isinstance(layer, (ReLU, LeakyReLU, Softplus, Tanh, Sigmoid))),
    (MaskOfGradient, lambda layer: isinstance(layer, ReLU)),
    (WrongSign, lambda layer: True),
    (LastOnly, _has_bias),
)


@dataclass(frozen=True)
class Broken:
    """One mistake, planted in one layer of the step.

    report: of the gradient check on that layer alone, with the step's own parameters and the first `samples` of its batch.
    input_checks (by branch) and checks (by the parameter's name within the layer): the step's derivatives that were compared
    with differences, the analytic ones made anew by the layer with the mistake.
    """

    mistake: type[Planted]
    report: Report
    samples: int
    input_checks: dict[str, list[Comparison]]
    checks: dict[str, list[Comparison]]


class Breaking:
    """Plants mistakes in the layers of an opened step, and keeps what was found. tick: called for each layer looked at."""

    def __init__(self, tick: Callable[[], Any] = lambda: None) -> None:
        self._tick = tick
        self._found: dict[tuple[int, ...], list[Broken]] = {}

    def at(
        self,
        passes: Mapping[str, Pass],
        index: int,
        params: Mapping[str, np.ndarray],
        update: Update | None,
        input_checks: Mapping[str, Sequence[Comparison]],
    ) -> list[Broken]:
        """The mistakes that show in the layer of this index, in these passes by branch; none in a layer of the user's own.

        params: the network's as the passes saw them. update: that of the network, where these passes make its gradients.
        """
        key = (*(id(record) for record in passes.values()), index)
        if key not in self._found:
            self._found[key] = _break_layer(passes, index, params, update, input_checks)
            self._tick()
        return self._found[key]


def _break_layer(
    passes: Mapping[str, Pass],
    index: int,
    params: Mapping[str, np.ndarray],
    update: Update | None,
    input_checks: Mapping[str, Sequence[Comparison]],
) -> list[Broken]:
    layer = next(iter(passes.values())).net.layers[index]
    wants_dx, learns = any(input_checks.values()), update is not None and bool(layer.params)
    if formulas_of(layer) is None:
        return []
    own = {name: params[f"{index}.{name}"] for name in layer.params}
    if not all(_Alone(record, index, own, None).repeats() for record in passes.values()):
        return []  # what the layer did in the step cannot be made again by the layer alone
    found: list[Broken] = []
    for mistake, fits in MISTAKES:
        shows = wants_dx if mistake.touches == "x" else learns
        if not (shows and fits(layer)) or len(found) == MOST:
            continue
        broken = {branch: _Alone(record, index, own, mistake) for branch, record in passes.items()}
        finite = all(np.isfinite(array).all() for run in broken.values() for array in run.backward().values())
        report, samples = next(iter(broken.values())).report()
        if finite and not report.ok:  # else the mistake makes no difference here
            found.append(Broken(mistake, report, samples, _inputs(broken, input_checks), _parameters(broken, index, update)))
    return found


def _inputs(broken: Mapping[str, _Alone], checks: Mapping[str, Sequence[Comparison]]) -> dict[str, list[Comparison]]:
    found: dict[str, list[Comparison]] = {}
    for branch, compared in checks.items():
        dx = broken[branch].backward()["x"] if compared else None
        found[branch] = [] if dx is None else [_other(c, dx) for c in compared]
    return found


def _parameters(broken: Mapping[str, _Alone], index: int, update: Update | None) -> dict[str, list[Comparison]]:
    """The passes' gradients are added, as in the step."""
    if update is None:
        return {}
    each = [run.backward() for run in broken.values()]
    sums = {name: np.sum([part[name] for part in each], axis=0) for name in each[0] if name != "x"}
    return {name: [_other(c, whole) for c in update.checks[f"{index}.{name}"]] for name, whole in sums.items()}


def _other(comparison: Comparison, gradient: np.ndarray) -> Comparison:
    """The same place, with the analytic derivative of another gradient."""
    return Comparison(comparison.where, float(gradient[comparison.where]), comparison.numeric, comparison.uncertainty)


class _Alone:
    """A layer of a pass in a network of its own, as the pass found it, with a mistake in it or none."""

    def __init__(self, record: Pass, index: int, params: Mapping[str, np.ndarray], mistake: type[Planted] | None) -> None:
        self.record, self.index = record, index
        layer = record.net.layers[index].fresh()
        if mistake is not None:
            layer.__class__ = type(type(layer).__name__, (mistake, type(layer)), {})
        self.x = record.outputs[index - 1] if index else record.x
        self.net = with_state_held(Sequential([layer], self.x.shape[1:], "textbook", "float64"))
        for name, array in self.net.params.items():
            array[...] = params[name.removeprefix("0.")]
        for name, array in self.net.state.items():
            array[...] = record.state[f"{index}.{name.removeprefix('0.')}"]
        if layer.random:
            self.net.random_state = {"0": record.random_state[str(index)]}
        self.random_state = self.net.random_state

    def backward(self) -> dict[str, np.ndarray]:
        """The gradients from the step's own dy, by the parameter's name within the layer, and that of "x"."""
        dy = self.record.output_grads[self.index]
        assert dy is not None
        self.net.random_state = self.random_state
        self.y, caches = self.net.forward(self.x.copy(), train=True)
        dx = self.net.backward(dy.copy(), caches, grads=self.net.grads)
        return {"x": np.asarray(dx), **{name.removeprefix("0."): grad.copy() for name, grad in self.net.grads.items()}}

    def repeats(self) -> bool:
        """Whether the layer alone makes of the step's x and dy what it made in the step."""
        if self.record.output_grads[self.index] is None:
            return False
        found, below = self.backward()["x"], self.record.output_grads[self.index - 1] if self.index else self.record.input_grad
        same = np.allclose(self.y, self.record.outputs[self.index], rtol=1e-9, atol=1e-12)
        return bool(same and (below is None or np.allclose(found, below, rtol=1e-9, atol=1e-12 * np.abs(below).max())))

    def report(self) -> tuple[Report, int]:
        """The check's report, and how many of the first samples it ran on."""
        self.net.random_state = self.random_state
        x = self.x[: FEW[max(self.x[0].size, self.y[0].size) > WIDE]]
        return check_gradients(self.net, x, max_entries=ENTRIES, name=repr(self.net.layers[0])), len(x)
