"""The walk through a step: its stations in the order in which they happen. Here: those that every game has."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from minigan.explain.breaking import Breaking
from minigan.explain.formulas import formulas_of, mathml
from minigan.explain.page import prose
from minigan.explain.page.arrays import Arrays
from minigan.explain.page.budget import Budget
from minigan.explain.page.facts import cache_fact, checks, fact, gradient_sizes, norm, shape_fact, size_fact
from minigan.explain.page.figures import Figures, explorer
from minigan.explain.page.place import Place, Way
from minigan.explain.page.switches import switches
from minigan.explain.page.updates import explained_update
from minigan.explain.step import Nudge, Pass
from minigan.layers import Layer


class Walk(ABC):
    """Makes the stations of a step; their values go to `arrays`, as far as the budget allows.

    acts: the parts of the step: the name that stations give, its aim, and what the page calls it. has_data: False where other
    samples stand in for the real ones. unit: that of the losses, " (nats)", or "". ways_back: each way that a gradient comes
    back by, with the act in which it does.

    intro: what such a game is, in two sentences. players: each network with its letter, its name and a pass of it, by the way
    that data take. gaps: of stations that are no layer's, by label, before which of the players they stand (those not named:
    after all) and under which name in the drawing. seam: what is said of where the one network ends and the other begins.
    breaking: what plants mistakes in backward passes, or None.
    """

    intro: ClassVar[tuple[str, str]]
    gaps: ClassVar[dict[str, tuple[int, str]]]
    seam: str
    players: tuple[tuple[str, str, Pass], ...]
    acts: ClassVar[tuple[dict[str, str], ...]]
    unit: str
    ways_back: tuple[tuple[str, Way], ...]

    def __init__(self, arrays: Arrays, budget: Budget, has_data: bool = True, breaking: Breaking | None = None) -> None:
        self.has_data, self.budget, self.breaking = has_data, budget, breaking
        self.figures = Figures(arrays, budget)
        self.real_samples = "real samples" if has_data else "stand-ins for real samples"
        self.stations: list[dict[str, Any]] = []

    @abstractmethod
    def walk(self) -> None:
        """Make all stations."""

    def sizes(self) -> list[dict[str, Any]]:
        return gradient_sizes(self.ways_back)

    def _add(self, act: str, kind: str, net: str, label: str, title: str, text: Sequence[str], **more: Any) -> None:
        station = {"act": act, "kind": kind, "net": net, "label": label, "title": title, "text": list(text)}
        self.stations.append({**station, **more})

    # -- layers --------------------------------------------------------------------------------------------------------

    def _all_forward(self, act: str, way: Way, first: Sequence[str] = ()) -> None:
        """A way's layers, upwards. first: what is to be said besides at the first one."""
        for index in range(len(way)):
            self._forward(act, Place(way, index), first if index == 0 else ())

    def _all_backward(self, act: str, way: Way) -> None:
        for index in reversed(range(len(way))):
            self._backward(act, Place(way, index))

    def _forward(self, act: str, place: Place, also: Sequence[str]) -> None:
        layer, known, loss = place.layer, formulas_of(place.layer), place.way.loss
        inputs, outputs, grads = place.inputs(), place.outputs(), place.output_grads()
        facts = [
            shape_fact("x → y", next(iter(inputs.values())), next(iter(outputs.values()))),
            cache_fact(place),
            size_fact("y", outputs),
            *([size_fact(f"∂{loss}/∂y, which will come back", grads)] if grads else []),
        ]
        figures = [
            self.figures.samples("x", "x: the input", inputs, image=place.input_is_sample),
            *(self.figures.weights(layer, name, name, value) for name, value in place.weights().items()),
            self.figures.samples("y", "y: the output", outputs, image=place.output_is_sample),
        ]
        self._add(
            act,
            "forward",
            place.net,
            layer.name,
            f"{place.net}, layer {place.index}: {layer!r}",
            [*prose.forward(place), *also],
            index=place.index,
            formulas=in_mathml(known.forward if known else ()),
            symbols=known.explained(known.forward) if known else "",
            figures=figures,
            facts=facts,
            checks=checks(f"∂{loss}/∂y", place.checks()),
            explorer=explorer(place, "forward"),
            parameters=_count(layer),
        )

    def _backward(self, act: str, place: Place) -> None:
        layer, known, update = place.layer, formulas_of(place.layer), place.way.update
        dx, learned = place.input_grads(), list(layer.parameters) if update is not None else []
        if not dx and not learned:
            return  # nobody asked for a gradient here
        parts = _Parts()
        self._show_input_gradient(parts, place)
        if update is not None:
            self._show_weight_gradients(parts, place)
        tex = [*(known.input_grad if dx else ()), *(known.param_grads[name] for name in learned)] if known else []
        self._add(
            act,
            "backward",
            place.net,
            layer.name,
            f"Back through {place.net}, layer {place.index}: {layer!r}",
            prose.backward(place, input_grad=bool(dx), learned=learned, update=update),
            index=place.index,
            formulas=in_mathml(tex),
            symbols=known.explained(tex) if known else "",
            figures=parts.figures,
            facts=parts.facts,
            checks=parts.checks,
            nudges=[{**asdict(nudge), "where": list(nudge.where)} for nudge in parts.nudges],
            loss_name=place.way.loss,
            explorer=explorer(place, "backward") if dx else None,
            switches=switches(place, self.breaking) if self.breaking else [],
            parameters=_count(layer),
        )

    def _show_input_gradient(self, parts: _Parts, place: Place) -> None:
        dy, dx, weights, loss = place.output_grads(), place.input_grads(), place.weights(), place.way.loss
        parts.figures.append(self.figures.samples("dy", f"dy = ∂{loss}/∂y, coming from above", dy))
        parts.facts.append(size_fact("dy", dy))
        if not dx:
            return
        parts.figures += [self.figures.weights(place.layer, n, n, value) for n, value in weights.items() if value.ndim > 1]
        parts.figures.append(self.figures.samples("dx", f"dx = ∂{loss}/∂x, going on below", dx))
        parts.figures += self.figures.three_paths(place, weights)
        parts.facts.append(size_fact("dx", dx))
        parts.checks += checks(f"∂{loss}/∂x", place.input_checks())

    def _show_weight_gradients(self, parts: _Parts, place: Place) -> None:
        layer, words, loss = place.layer, ", both passes added" if len(place.passes) > 1 else "", place.way.loss
        update = place.way.update
        assert update is not None
        if layer.parameters:
            caption = "x, which the forward pass saw"
            parts.figures.append(self.figures.samples("x", caption, place.inputs(), image=place.input_is_sample))
        for name in layer.parameters:
            key = f"{place.index}.{name}"
            gradient, marks = update.loss_gradients[key], [nudge for nudge in update.nudges if nudge.name == key]
            parts.nudges += marks
            if not place.input_grads():  # else its figure stands there already
                parts.figures.append(self.figures.weights(layer, name, name, update.before[key]))
            caption = f"∂{loss}/∂{name}{words}"
            parts.figures.append(self.figures.weights(layer, name, f"d{name}", gradient, caption, marks))
            parts.facts.append(size_fact(caption, {"": gradient}))
            if len(place.passes) > 1:
                shares = {branch: record.param_grads[key] for branch, record in place.passes.items()}
                parts.facts.append(size_fact(f"∂{loss}/∂{name}, this pass's share", shares))
            parts.checks += checks(f"∂{loss}/∂{name}", {"": update.checks[key]})

    # -- updates -------------------------------------------------------------------------------------------------------

    def _update(self, act: str, way: Way, text: Sequence[str], label: str = "") -> None:
        """label: what the optimiser's name is to be preceded by in the row of stations."""
        update, rows = way.update, []
        assert update is not None
        for name, before in update.before.items():
            moved, size = update.after[name] - before, norm(before)
            layer = way.network.layers[int(name.partition(".")[0])]
            shape = "×".join(map(str, before.shape))
            sizes = [size, norm(update.gradients[name]), norm(moved), norm(moved) / size if size else None]
            rows.append([f"{name} ({layer.name})", shape, *sizes])
        heads = ["parameter", "shape", "‖w‖", "‖dw‖", "‖Δw‖", "‖Δw‖ / ‖w‖"]
        facts = [fact("learning rate", f"{update.lr:g}"), fact("step number", str(update.optimizer.steps))]
        more: dict[str, Any] = {"table": {"heads": heads, "rows": rows}, "facts": facts, "loss": update.loss_after}
        title = f"{way.net} moves" if prose.moved(update) else f"{way.net} stays where it is"
        label += type(update.optimizer).__name__
        self._add(act, "update", way.net, label, title, text, **more, **explained_update(update))


class _Parts:
    """What a backward station shows, as it is put together."""

    def __init__(self) -> None:
        self.figures: list[dict[str, Any]] = []
        self.facts: list[dict[str, Any]] = []
        self.checks: list[dict[str, Any]] = []
        self.nudges: list[Nudge] = []


def _count(layer: Layer) -> int:
    return sum(math.prod(spec.shape) for spec in layer.parameters.values())


def in_mathml(tex: Sequence[str]) -> list[str]:
    return [mathml(t) for t in tex]
