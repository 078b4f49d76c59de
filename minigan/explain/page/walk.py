"""The walk through the step: its stations in the order in which they happen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from minigan.explain.formulas import formulas_of, mathml
from minigan.explain.page import prose
from minigan.explain.page.arrays import Arrays
from minigan.explain.page.budget import Budget
from minigan.explain.page.curves import Curves
from minigan.explain.page.facts import cache_fact, checks, fact, norm, shape_fact, size_fact
from minigan.explain.page.figures import Figures, explorer
from minigan.explain.page.penalties import PenaltyStations
from minigan.explain.page.place import Place
from minigan.explain.page.plane import Plane, in_inference
from minigan.explain.page.updates import explained_update
from minigan.explain.step import Nudge, OpenedStep, Pass, Update
from minigan.layers import Layer
from minigan.layers.elementwise import sigmoid

SCORE = (
    r"s_n = \langle o_n, t_n \rangle, \qquad t_n = [1, y_n]",
    r"\frac{\partial L}{\partial o_n} = \frac{\partial L}{\partial s_n} \, t_n",
)


class Walk:
    """Makes the stations of a step; their values go to `arrays`, as far as the budget allows.

    has_data: False where other samples stand in for the real ones.
    """

    def __init__(self, step: OpenedStep, arrays: Arrays, budget: Budget, has_data: bool = True) -> None:
        self.step, self.has_data = step, has_data
        self.figures = Figures(arrays, budget)
        self.curves = Curves(step, arrays)
        self.formulas = self.curves.formulas if self.curves.known else None
        self.unit = " (nats)" if self.formulas and self.formulas.in_nats else ""
        self.is_logit = self.formulas is not None and self.formulas.is_logit
        self.real_samples = "real samples" if has_data else "stand-ins for real samples"
        points = {"real": step.real.x, "generated": step.fake.x}
        # With classes, D has a landscape for each of them.
        is_plane = step.real.x.shape[1:] == (2,) and step.real.labels is None
        self.plane = Plane(arrays, points, probabilities=self.is_logit) if is_plane else None
        self.stations: list[dict[str, Any]] = []
        self._walk()

    def _walk(self) -> None:
        step = self.step
        g, d = step.generator.net, step.real.net
        both = {"real": step.real, "generated": step.fake}
        self._begin()
        for index in range(len(g.layers)):
            self._forward("D", Place("G", {"": step.generator}, index))
        self._generated()
        for index in range(len(d.layers)):
            self._forward("D", Place("D", both, index))
        self._loss_d()
        for index in reversed(range(len(d.layers))):
            self._backward("D", Place("D", both, index), step.update_d)
        for record in step.penalties:
            stations = PenaltyStations(step, record, self.figures)
            self.stations += [{"act": "D", **station} for station in (stations.overview(), *stations.layers())]
        self._update("D", step.update_d)
        for index in range(len(d.layers)):
            self._forward("G", Place("D", {"": step.judged}, index))
        self._loss_g()
        for index in reversed(range(len(d.layers))):
            self._backward("G", Place("D", {"": step.judged}, index), None)
        self._image_gradient()
        for index in reversed(range(len(g.layers))):
            self._backward("G", Place("G", {"": step.generator}, index), step.update_g)
        self._update("G", step.update_g)

    def _add(self, act: str, kind: str, net: str, label: str, title: str, text: Sequence[str], **more: Any) -> None:
        station = {"act": act, "kind": kind, "net": net, "label": label, "title": title, "text": list(text)}
        self.stations.append({**station, **more})

    # -- noise, samples, layers ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        z, real = self.step.generator.x, self.step.real.x
        figures = [
            self.figures.samples("z", f"noise z of this sample{prose.and_its_label(self.step)}", {"": z}),
            self.figures.samples("x", f"{self.real_samples} x", {"": real}, image=True),
        ]
        more: dict[str, Any] = {"figures": figures, "facts": [shape_fact("z", z), shape_fact("x", real)]}
        if self.plane:
            more["plane"] = self.plane.picture(f"{self.real_samples}: the whole batch", {"real": real})
        text = prose.noise_and_batch(len(real), self.has_data) + prose.labels_beside(self.step)
        self._add("D", "input", "G", "z", "Noise, and a batch of real samples", text, **more)

    def _generated(self) -> None:
        fake, real, d = self.step.fake.x, self.step.real.x, self.step.real.net
        figures = [
            self.figures.samples("x", "x̃: what G made", {"": fake}, image=True),
            self.figures.samples("x", f"x: {self.real_samples} beside it", {"": real}, image=True),
        ]
        more: dict[str, Any] = {"figures": figures, "facts": [shape_fact("x̃", fake)]}
        if self.plane:
            points, judge = {"real": real, "generated": fake}, (d, self.step.update_d.before)
            caption = f"The batch in its plane, and {self._landscape()} before D's step{in_inference(d)}"
            more["plane"] = self.plane.picture(caption, points, judge)
        self._add("D", "input", "D", "x̃", "What G made, beside the real", prose.generated(d), **more)

    def _landscape(self) -> str:
        return "D = σ(s) at every place" if self.is_logit else "D's output s at every place"

    def _forward(self, act: str, place: Place) -> None:
        layer, known = place.layer, formulas_of(place.layer)
        inputs, outputs, grads = place.inputs(), place.outputs(), place.output_grads()
        loss = "L_D" if act == "D" and place.net == "D" else "L_G"
        facts = [
            shape_fact("x → y", next(iter(inputs.values())), next(iter(outputs.values()))),
            cache_fact(place),
            size_fact("y", outputs),
            *([size_fact(f"∂{loss}/∂y, which will come back", grads)] if grads else []),
        ]
        figures = [
            self.figures.samples("x", "x: the input", inputs, image=place.net == "D" and place.index == 0),
            *(self.figures.weights(layer, name, name, value) for name, value in self._weights(act, place).items()),
            self.figures.samples("y", "y: the output", outputs, image=place.net == "G" and place.is_last),
        ]
        self._add(
            act,
            "forward",
            place.net,
            layer.name,
            f"{place.net}, layer {place.index}: {layer!r}",
            prose.forward(place, act, self.step.update_d),
            index=place.index,
            formulas=_mathml(known.forward if known else ()),
            symbols=known.explained(known.forward) if known else "",
            figures=figures,
            facts=facts,
            checks=checks(f"∂{loss}/∂y", place.checks(place.index)),
            explorer=explorer(place, "forward"),
            parameters=_count(layer),
        )

    def _backward(self, act: str, place: Place, update: Update | None) -> None:
        """A layer's backward pass; update: that of its network, unless the pass is only on its way through."""
        layer, known = place.layer, formulas_of(place.layer)
        dx, learned = place.input_grads(), list(layer.parameters) if update is not None else []
        if not dx and not learned:
            return  # nobody asked for a gradient here
        loss = "L_D" if update is self.step.update_d else "L_G"
        parts = _Parts()
        self._show_input_gradient(parts, loss, act, place)
        if update is not None:
            self._show_weight_gradients(parts, loss, place, update)
        tex = [*(known.input_grad if dx else ()), *(known.param_grads[name] for name in learned)] if known else []
        self._add(
            act,
            "backward",
            place.net,
            layer.name,
            f"Back through {place.net}, layer {place.index}: {layer!r}",
            prose.backward(place, input_grad=bool(dx), learned=learned, update=update),
            index=place.index,
            formulas=_mathml(tex),
            symbols=known.explained(tex) if known else "",
            figures=parts.figures,
            facts=parts.facts,
            checks=parts.checks,
            nudges=[{**asdict(nudge), "where": list(nudge.where)} for nudge in parts.nudges],
            loss_name=loss,
            explorer=explorer(place, "backward") if dx else None,
            parameters=_count(layer),
        )

    def _show_input_gradient(self, parts: _Parts, loss: str, act: str, place: Place) -> None:
        dy, dx, weights = place.output_grads(), place.input_grads(), self._weights(act, place)
        parts.figures.append(self.figures.samples("dy", f"dy = ∂{loss}/∂y, coming from above", dy))
        parts.facts.append(size_fact("dy", dy))
        if not dx:
            return
        parts.figures += [self.figures.weights(place.layer, n, n, value) for n, value in weights.items() if value.ndim > 1]
        parts.figures.append(self.figures.samples("dx", f"dx = ∂{loss}/∂x, going on below", dx))
        parts.figures += self.figures.three_paths(place, weights)
        parts.facts.append(size_fact("dx", dx))
        below = place.checks(place.index - 1) if place.index else {"": self.step.generator.checks[-1]}
        parts.checks += checks(f"∂{loss}/∂x", below)

    def _show_weight_gradients(self, parts: _Parts, loss: str, place: Place, update: Update) -> None:
        layer, words = place.layer, ", both passes added" if len(place.passes) > 1 else ""
        if layer.parameters:
            is_sample = place.net == "D" and place.index == 0
            parts.figures.append(self.figures.samples("x", "x, which the forward pass saw", place.inputs(), image=is_sample))
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

    def _weights(self, act: str, place: Place) -> dict[str, np.ndarray]:
        """The layer's parameters as the pass saw them."""
        update = self.step.update_d if place.net == "D" else self.step.update_g
        values = update.after if act == "G" and place.net == "D" else update.before
        return {name: values[f"{place.index}.{name}"] for name in place.layer.parameters}

    # -- losses, the way into G, updates -------------------------------------------------------------------------------

    def _loss_d(self) -> None:
        known, step = self.formulas, self.step
        labels = known.labels_d if known else ("real samples", "generated samples")
        curves = self.curves.discriminator(labels)
        text = prose.discriminator_loss(known, len(step.real.x)) + prose.scores_of_classes(step) + prose.also_penalised(step)
        tex = (*(known.value_d if known else ()), *(known.grad_d if known else ()), *self._of_classes())
        judged = {self.real_samples: step.real, "generated samples": step.fake}
        self._add_loss("D", "The discriminator's loss", text, tex, curves, step.loss_d, judged)

    def _loss_g(self) -> None:
        known, step = self.formulas, self.step
        curves = self.curves.generator(known.label_g if known else "generated samples")
        text = prose.generator_loss(known)
        tex = (*(known.value_g if known else ()), *(known.grad_g if known else ()), *self._of_classes())
        self._add_loss("G", "The generator's loss", text, tex, curves, step.loss_g, {"generated samples": step.judged})

    def _of_classes(self) -> tuple[str, ...]:
        """The score of a game with classes, and its gradient, in TeX."""
        return () if self.step.real.labels is None else SCORE

    def _add_loss(
        self,
        act: str,
        title: str,
        text: list[str],
        tex: Sequence[str],
        curves: list[dict[str, Any]],
        loss: float,
        judged: dict[str, Pass],
    ) -> None:
        name, known, count = f"L_{act}", self.formulas, len(self.step.real.x)
        undecided = self.curves.undecided(act)
        indifferent = "could not tell at all, D = ½" if self.is_logit else "gave every sample s = 0"
        beside = "" if undecided is None else f" ({undecided:.3f} if D {indifferent})"
        logits = {who: record.s for who, record in judged.items()}
        means = {who: float(np.mean(sigmoid(np, s) if self.is_logit else s)) for who, s in logits.items()}
        facts = [
            fact(name, f"{loss:.6f}{' nats' if self.unit else ''}{beside}"),
            fact(
                "D(sample), mean" if self.is_logit else "s, mean", ", ".join(f"{who} {mean:.3f}" for who, mean in means.items())
            ),
        ]
        symbols = f"N = {count}{f'; {known.symbols}' if known.symbols and act == 'D' else ''}" if known else ""
        more = {
            "formulas": _mathml(tex),
            "symbols": symbols,
            "facts": facts,
            "curves": curves,
            "loss": loss,
            "is_logit": self.is_logit,
        }
        self._add(act, "loss", "D", name, title, text, unit=self.unit, **more)

    def _image_gradient(self) -> None:
        record = self.step.judged
        assert record.input_grad is not None
        figures = [
            self.figures.samples("x", "x̃: what G made", {"": record.x}, image=True),
            self.figures.samples("wish", "−∂L_G/∂x̃: the change that D asks for", {"": -record.input_grad}),
        ]
        more: dict[str, Any] = {
            "figures": figures,
            "facts": [size_fact("∂L_G/∂x̃", {"": record.input_grad})],
            "checks": checks("∂L_G/∂x̃", {"": self.step.generator.checks[-1]}),
        }
        if self.plane:
            judge = (record.net, self.step.update_d.after)
            caption = f"What G made, {self._landscape()} after D's step{in_inference(record.net)}, and −∂L_G/∂x̃ as arrows"
            more["plane"] = self.plane.picture(caption, {"generated": record.x}, judge, -record.input_grad)
        title = f"From D into G: what each {prose.part_of(record.x[0])} should do"
        self._add("G", "backward", "G", "∂/∂x̃", title, prose.image_gradient(record.x[0], self.formulas), **more)

    def _update(self, act: str, update: Update) -> None:
        net = (self.step.real if act == "D" else self.step.generator).net
        rows = []
        for name, before in update.before.items():
            moved, size = update.after[name] - before, norm(before)
            layer = net.layers[int(name.partition(".")[0])]
            shape = "×".join(map(str, before.shape))
            sizes = [size, norm(update.gradients[name]), norm(moved), norm(moved) / size if size else None]
            rows.append([f"{name} ({layer.name})", shape, *sizes])
        heads = ["parameter", "shape", "‖w‖", "‖dw‖", "‖Δw‖", "‖Δw‖ / ‖w‖"]
        facts = [fact("learning rate", f"{update.lr:g}"), fact("step number", str(update.optimizer.steps))]
        more: dict[str, Any] = {"table": {"heads": heads, "rows": rows}, "facts": facts, "loss": update.loss_after}
        title = f"{act} moves" if prose.moved(update) else f"{act} stays where it is"
        label = type(update.optimizer).__name__
        self._add(act, "update", act, label, title, prose.update(act, update, self.step), **more, **explained_update(update))


class _Parts:
    """What a backward station shows, as it is put together."""

    def __init__(self) -> None:
        self.figures: list[dict[str, Any]] = []
        self.facts: list[dict[str, Any]] = []
        self.checks: list[dict[str, Any]] = []
        self.nudges: list[Nudge] = []


def _count(layer: Layer) -> int:
    return sum(math.prod(spec.shape) for spec in layer.parameters.values())


def _mathml(tex: Sequence[str]) -> list[str]:
    return [mathml(t) for t in tex]
