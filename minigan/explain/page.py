"""An opened step as one self-contained HTML page: stations in the order in which the step happens, and their arrays."""

from __future__ import annotations

import base64
import html
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from minigan.backends.results import arrays_in
from minigan.checks.gradients import Comparison
from minigan.explain import formulas
from minigan.explain.formulas import formulas_of, mathml
from minigan.explain.step import Nudge, OpenedStep, Pass, Update
from minigan.layers import BatchNorm, Conv2d, ConvTranspose2d, Layer
from minigan.layers.activations import sigmoid
from minigan.optim import Adam

LIMIT = 5 * 10**6  # bytes of a page
SAMPLES = 4  # of the batch that a page shows, where there is room
# Samples shown, values of a weight array, and values of one sample's array: the first that makes a page within the limit.
BUDGETS = (
    (SAMPLES, 65_536, 65_536),
    (2, 65_536, 65_536),
    (1, 65_536, 65_536),
    (1, 16_384, 16_384),
    (1, 4_096, 4_096),
    (1, 1_024, 1_024),
)
TOLERANCE = 1e-5  # relative, of derivatives beside their differences
SAMPLE_AXES = {2: ["n", "k"], 3: ["n", "h", "c"], 4: ["n", "h", "w", "c"]}


def make_page(step: OpenedStep, about: str) -> str:
    """The page of at most 5 MB. about: what was opened, in one line.

    Large games are shown in part: fewer samples, then the first channels alone; captions say so.
    """
    for budget in BUDGETS:
        page = _Builder(step, *budget).page(about)
        if len(page.encode()) <= LIMIT:
            break
    return page


class Arrays:
    """Arrays of the page as one text: float32, little-endian, base64; equal arrays are kept once."""

    def __init__(self) -> None:
        self.table: list[dict[str, Any]] = []  # shape, and the place of the first value
        self._known: dict[bytes, int] = {}
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, array: np.ndarray) -> int:
        """Its number in the table."""
        data = np.ascontiguousarray(array, "<f4").tobytes()
        if data not in self._known:
            self._known[data] = self._length
            self._parts.append(data)
            self._length += len(data) // 4
        self.table.append({"shape": list(array.shape), "at": self._known[data]})
        return len(self.table) - 1

    def text(self) -> str:
        return base64.b64encode(b"".join(self._parts)).decode()


@dataclass
class _Place:
    """Where a layer stands: its network's letter, the pass or passes that reach it, by branch ("" where there is one)."""

    net: str
    passes: Mapping[str, Pass]
    index: int

    @property
    def layer(self) -> Layer:
        return next(iter(self.passes.values())).net.layers[self.index]

    def inputs(self) -> dict[str, np.ndarray]:
        return {b: p.outputs[self.index - 1] if self.index else p.x for b, p in self.passes.items()}

    def outputs(self) -> dict[str, np.ndarray]:
        return {b: p.outputs[self.index] for b, p in self.passes.items()}

    def output_grads(self) -> dict[str, np.ndarray]:
        return {b: g for b, p in self.passes.items() if (g := p.output_grads[self.index]) is not None}

    def input_grads(self) -> dict[str, np.ndarray]:
        found = {b: p.output_grads[self.index - 1] if self.index else p.input_grad for b, p in self.passes.items()}
        return {b: g for b, g in found.items() if g is not None}

    def checks(self, index: int) -> dict[str, list[Comparison]]:
        """Of the gradient at the output of the layer at index."""
        return {b: p.checks[index] for b, p in self.passes.items()}


class _Builder:
    def __init__(self, step: OpenedStep, samples: int, weight_values: int, sample_values: int) -> None:
        self.step, self.samples, self.weight_values, self.sample_values = step, samples, weight_values, sample_values
        self.arrays = Arrays()
        self.stations: list[dict[str, Any]] = []

    def page(self, about: str) -> str:
        self._walk()
        here = resources.files("minigan.explain")
        content = {
            "about": about,
            "samples": min(self.samples, len(self.step.real.x)),
            "batch": len(self.step.real.x),
            "stations": self.stations,
            "arrays": self.arrays.table,
            "sizes": self._sizes(),
        }
        parts = {name: here.joinpath(f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
        # "<" cannot end the script element from within a JSON string when it is written as an escape.
        stations = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
        return Template(parts["html"]).substitute(
            title=html.escape(f"minigan: one training step, {about}"),
            css=parts["css"],
            script=parts["js"],
            stations=stations,
            arrays=self.arrays.text(),
        )

    # -- the way through the step --------------------------------------------------------------------------------------

    def _walk(self) -> None:
        step = self.step
        g, d = step.generator.net, step.real.net
        both = {"real": step.real, "generated": step.fake}
        self._begin()
        for index in range(len(g.layers)):
            self._forward("D", _Place("G", {"": step.generator}, index))
        self._images()
        for index in range(len(d.layers)):
            self._forward("D", _Place("D", both, index))
        self._loss_d()
        for index in reversed(range(len(d.layers))):
            self._backward("D", _Place("D", both, index), step.update_d)
        self._moved("D", step.update_d)
        for index in range(len(d.layers)):
            self._forward("G", _Place("D", {"": step.judged}, index))
        self._loss_g()
        for index in reversed(range(len(d.layers))):
            self._backward("G", _Place("D", {"": step.judged}, index), None)
        self._image_gradient()
        for index in reversed(range(len(g.layers))):
            self._backward("G", _Place("G", {"": step.generator}, index), step.update_g)
        self._moved("G", step.update_g)

    def _add(self, act: str, kind: str, net: str, label: str, title: str, text: Sequence[str], **more: Any) -> None:
        station = {"act": act, "kind": kind, "net": net, "label": label, "title": title, "text": list(text)}
        self.stations.append({**station, **more})

    def _begin(self) -> None:
        z, real = self.step.generator.x, self.step.real.x
        text = [
            "The step begins with noise z, drawn from N(0, 1), and with a batch of real samples x. D is to tell them from what "
            "G makes of the noise; G is to make D fail. First D takes its step, then G."
        ]
        figures = [
            self._figure("z", "noise z, one row for each sample", {"": z}),
            self._figure("x", "real samples x", {"": real}),
        ]
        facts = [self._shape_fact("z", z), self._shape_fact("x", real)]
        self._add("D", "input", "G", "z", "Noise, and a batch of real samples", text, figures=figures, facts=facts)

    def _images(self) -> None:
        fake, real = self.step.fake.x, self.step.real.x
        text = [
            "This is x̃ = G(z). The caches of G's layers are kept: G's own step, later, goes back through this very pass.",
            "D now looks at real and at generated samples in two separate passes, so that BatchNorm's statistics do not mix. "
            "Both passes, with their caches, are alive at once.",
        ]
        figures = [
            self._figure("x", "x̃: what G made", {"": fake}),
            self._figure("x", "x: real samples beside it", {"": real}),
        ]
        self._add(
            "D", "input", "D", "x̃", "What G made, beside the real", text, figures=figures, facts=[self._shape_fact("x̃", fake)]
        )

    def _forward(self, act: str, place: _Place) -> None:
        layer, known = place.layer, formulas_of(place.layer)
        text = [known.reading] if known else _docstring(layer)
        if act == "G":
            text.append("D has moved since its own step, so it looks at x̃ again.")
        inputs, outputs = place.inputs(), place.outputs()
        figures = [
            self._figure("x", "x: the input", inputs),
            *(self._weight_figure(layer, name, name, value) for name, value in self._weights(act, place).items()),
            self._figure("y", "y: the output", outputs),
        ]
        facts = [
            self._shape_fact("x → y", next(iter(inputs.values())), next(iter(outputs.values()))),
            self._cache_fact(place),
            _size_fact("y", outputs),
        ]
        grads = place.output_grads()
        loss = "L_D" if act == "D" and place.net == "D" else "L_G"
        if grads:
            facts.append(_size_fact(f"∂{loss}/∂y, which will come back", grads))
        self._add(
            act,
            "forward",
            place.net,
            layer.name,
            f"{place.net}, layer {place.index}: {layer!r}",
            text,
            index=place.index,
            formulas=_mathml(known.forward if known else ()),
            symbols=known.symbols if known else "",
            figures=figures,
            facts=facts,
            checks=_checks(f"∂{loss}/∂y", place.checks(place.index)),
            explorer=self._explorer(place, "forward"),
            parameters=_count(layer),
        )

    def _backward(self, act: str, place: _Place, update: Update | None) -> None:
        layer, known = place.layer, formulas_of(place.layer)
        dy, dx = place.output_grads(), place.input_grads()
        learns = bool(layer.parameters) and update is not None
        if not dx and not learns:
            return  # nobody asked for a gradient here
        text = [known.back] if known else _docstring(layer)
        if not dx:
            reason = "the noise" if place.net == "G" else "the images"
            text.append(f"No gradient is made for {reason}: this step does not move {'it' if place.net == 'G' else 'them'}.")
        if layer.parameters and update is None:
            text.append("D's parameters get no gradient here: it is G's step, and D only hands the gradient on.")
        loss = "L_D" if update is self.step.update_d else "L_G"
        figures = [self._figure("dy", f"dy = ∂{loss}/∂y, coming from above", dy)]
        checks = []
        if dx:
            figures += [self._weight_figure(layer, n, n, v) for n, v in self._weights(act, place).items() if v.ndim > 1]
            figures.append(self._figure("dx", f"dx = ∂{loss}/∂x, going on below", dx))
            if isinstance(layer, BatchNorm):
                figures += self._three_paths(layer, place, self._weights(act, place)["gamma"])
            below = place.checks(place.index - 1) if place.index else {"": self.step.generator.checks[-1]}
            checks += _checks(f"∂{loss}/∂x", below)
        facts = [_size_fact("dy", dy), *([_size_fact("dx", dx)] if dx else [])]
        nudges: list[Nudge] = []
        if update is not None:
            figures.append(self._figure("x", "x, from the cache", place.inputs()))
            for name in layer.parameters:
                key = f"{place.index}.{name}"
                gradient, marks = update.gradients[key], [n for n in update.nudges if n.name == key]
                nudges += marks
                words = ", both passes added" if len(place.passes) > 1 else ""
                if not dx:
                    figures.append(self._weight_figure(layer, name, name, update.before[key]))
                figures.append(self._weight_figure(layer, name, f"d{name}", gradient, f"∂{loss}/∂{name}{words}", marks))
                shares = {branch: record.param_grads[key] for branch, record in place.passes.items()}
                facts.append(_size_fact(f"∂{loss}/∂{name}{words}", {"": gradient}))
                if len(shares) > 1:
                    facts.append(_size_fact(f"∂{loss}/∂{name}, this pass's share", shares))
                checks += _checks(f"∂{loss}/∂{name}", {"": update.checks[key]})
        shown: list[str] = []
        if known:
            shown = [*(known.input_grad if dx else ()), *(known.param_grads[n] for n in layer.parameters if learns)]
        self._add(
            act,
            "backward",
            place.net,
            layer.name,
            f"Back through {place.net}, layer {place.index}: {layer!r}",
            text,
            index=place.index,
            formulas=_mathml(shown),
            symbols=known.symbols if known else "",
            figures=figures,
            facts=facts,
            checks=checks,
            nudges=[{**asdict(n), "where": list(n.where)} for n in nudges],
            loss_name=loss,
            explorer=self._explorer(place, "backward") if dx else None,
            parameters=_count(layer),
        )

    # -- losses, images, updates ---------------------------------------------------------------------------------------

    def _loss_d(self) -> None:
        step, smoothing = self.step, self.step.gan.smoothing
        value, gradient = (
            (formulas.LOSS_D_SMOOTHED, formulas.LOSS_D_GRAD_SMOOTHED) if smoothing else (formulas.LOSS_D, formulas.LOSS_D_GRAD)
        )
        curves = [
            self._curve("real samples: −log D(x)", step.real, "real", smoothing),
            self._curve("generated samples: −log(1 − D(x̃))", step.fake, "fake", 0.0),
        ]
        text = [
            "D ends in a logit s, and believes with probability σ(s) that the sample is real. Each sample pays by how wrong D "
            "was; the slope at its place, over N, is the gradient that starts on its way back.",
            "A sample that D is sure of, and right, lies where the curve is flat: it hardly moves D.",
        ]
        self._add_loss("D", "L_D", "The discriminator's loss", text, (*value, *gradient), curves, step.loss_d, 2 * math.log(2))

    def _loss_g(self) -> None:
        step = self.step
        saturating = step.gan.saturating
        value, gradient = (
            (formulas.LOSS_G_SATURATING, formulas.LOSS_G_SATURATING_GRAD)
            if saturating
            else (formulas.LOSS_G, formulas.LOSS_G_GRAD)
        )
        name = "generated samples: log(1 − D(x̃))" if saturating else "generated samples: −log D(x̃)"
        text = [
            "G pays for every sample that D does not take for real. "
            + (
                "In this minimax form the curve is flat where D is sure of the fake: there G learns almost nothing."
                if saturating
                else "Where D is sure of the fake the curve is steepest: there G learns most."
            )
        ]
        curves = [self._curve(name, step.judged, "saturating" if saturating else "generator", 0.0)]
        even = -math.log(2) if saturating else math.log(2)
        self._add_loss("G", "L_G", "The generator's loss", text, (*value, *gradient), curves, step.loss_g, even)

    def _curve(self, label: str, record: Pass, form: str, smoothing: float) -> dict[str, Any]:
        gradient = record.output_grads[-1]
        assert gradient is not None
        logits = record.outputs[-1]
        return {
            "label": label,
            "form": form,
            "smoothing": smoothing,
            "s": self.arrays.add(logits.ravel()),
            "ds": self.arrays.add(gradient.ravel()),
        }

    def _add_loss(
        self, act: str, name: str, title: str, text: list[str], tex: Sequence[str], curves: list[Any], loss: float, even: float
    ) -> None:
        facts = [
            _fact(name, f"{loss:.6f} nats ({even:.3f} if D could not tell at all, D = ½)"),
            _fact("D(sample), mean", ", ".join(f"{c['label'].partition(':')[0]} {self._belief(c):.3f}" for c in curves)),
        ]
        more = {"formulas": _mathml(tex), "facts": facts, "curves": curves, "loss": loss}
        self._add(act, "loss", "D", name, title, text, **more)

    def _belief(self, curve: Mapping[str, Any]) -> float:
        record = {"real": self.step.real, "fake": self.step.fake}.get(curve["form"], self.step.judged)
        return float(np.mean(sigmoid(np, record.outputs[-1])))

    def _image_gradient(self) -> None:
        record = self.step.judged
        assert record.input_grad is not None
        text = [
            "Here the gradient leaves D and enters G. Minus this gradient is what D would have changed in every pixel, had it "
            "to make the image more real: all that G ever learns of the real images comes through here.",
        ]
        figures = [
            self._figure("x", "x̃: what G made", {"": record.x}),
            self._figure("wish", "−∂L_G/∂x̃: the change that D asks for", {"": -record.input_grad}, style="signed"),
        ]
        facts = [_size_fact("∂L_G/∂x̃", {"": record.input_grad})]
        checks = _checks("∂L_G/∂x̃", {"": self.step.generator.checks[-1]})
        self._add(
            "G",
            "backward",
            "G",
            "∂/∂x̃",
            "From D into G: what each pixel should do",
            text,
            figures=figures,
            facts=facts,
            checks=checks,
        )

    def _moved(self, act: str, update: Update) -> None:
        adam = isinstance(update.optimizer, Adam)
        loss = f"L_{act}"
        text = [
            "The gradients are all there; now the parameters move."
            + (
                " Adam divides each gradient by the root mean square of that weight's recent ones: it counts how unusual a "
                "gradient is for its weight, not how large it is."
                if adam
                else ""
            ),
            f"On this same batch {loss} goes from {update.loss_before:.5f} to {update.loss_after:.5f}.",
        ]
        rows = []
        for name, before in update.before.items():
            moved = update.after[name] - before
            layer = (self.step.real.net if act == "D" else self.step.generator.net).layers[int(name.partition(".")[0])]
            rows.append(
                [
                    f"{name} ({layer.name})",
                    "×".join(map(str, before.shape)),
                    _norm(before),
                    _norm(update.gradients[name]),
                    _norm(moved),
                    _norm(moved) / _norm(before) if _norm(before) else None,
                ]
            )
        heads = ["parameter", "shape", "‖w‖", "‖dw‖", "‖Δw‖", "‖Δw‖ / ‖w‖"]
        facts = [_fact("learning rate", f"{update.lr:g}"), _fact("step number", str(update.optimizer.steps))]
        more: dict[str, Any] = {"table": {"heads": heads, "rows": rows}, "facts": facts, "loss": update.loss_after}
        if adam:
            more |= {"formulas": _mathml(formulas.ADAM), "worked": _worked_adam(update)}
        self._add(act, "update", act, "Adam" if adam else "update", f"{act} moves", text, **more)

    # -- pieces of a station -------------------------------------------------------------------------------------------

    def _weights(self, act: str, place: _Place) -> dict[str, np.ndarray]:
        """The layer's parameters as the pass saw them."""
        net_moved = act == "G" and place.net == "D"
        update = self.step.update_d if place.net == "D" else self.step.update_g
        values = update.after if net_moved else update.before
        return {name: values[f"{place.index}.{name}"] for name in place.layer.parameters}

    def _figure(self, role: str, caption: str, arrays: Mapping[str, np.ndarray], style: str = "") -> dict[str, Any]:
        """Of samples: the first few of the batch, with all or the first of their channels."""
        one = next(iter(arrays.values()))
        kept = {branch: _first_channels(a[: self.samples], self.sample_values) for branch, a in arrays.items()}
        part = next(iter(kept.values()))
        if part.shape[1:] != one.shape[1:]:
            caption += f" (the first {part.shape[-1]} of {one.shape[-1]} channels)"
        images = one.ndim == 4 and one.shape[-1] in (1, 3) and role == "x" and one.shape[1:] == self.step.real.x.shape[1:]
        return {
            "role": role,
            "caption": caption,
            "sampled": True,
            "style": style or ("image" if images else "signed"),
            "axes": SAMPLE_AXES.get(one.ndim, ["n", *(f"i{k}" for k in range(one.ndim - 1))]),
            "whole": part.shape[1:] == one.shape[1:],
            "arrays": {branch: self.arrays.add(a) for branch, a in kept.items()},
        }

    def _weight_figure(
        self, layer: Layer, name: str, role: str, value: np.ndarray, caption: str = "", marks: Sequence[Nudge] = ()
    ) -> dict[str, Any]:
        axes = {1: ["k"], 2: ["in", "out"], 4: ["i", "j", "in", "out"]}.get(value.ndim, [f"i{k}" for k in range(value.ndim)])
        if isinstance(layer, ConvTranspose2d) and value.ndim == 4:
            axes = ["i", "j", "out", "in"]
        part = _first_weights(value, self.weight_values)
        caption = caption or f"{name}{_WEIGHT_WORDS.get(name, '')}"
        if value.ndim in (2, 4) and min(value.shape[-2:]) > 1:
            caption += f"; rows: {axes[-2]}, columns: {axes[-1]}"
        if part.shape != value.shape:
            caption += f" (the first {'×'.join(map(str, part.shape))} of {'×'.join(map(str, value.shape))})"
        return {
            "role": role,
            "caption": caption,
            "sampled": False,
            "style": "signed",
            "axes": axes,
            "whole": part.shape == value.shape,
            "arrays": {"": self.arrays.add(part)},
            "marks": [list(mark.where) for mark in marks],
        }

    def _three_paths(self, layer: BatchNorm, place: _Place, gamma: np.ndarray) -> list[dict[str, Any]]:
        """The three terms of dx: of x by itself, of x through the mean, and of x through the variance."""
        x, dy, parts = place.inputs(), place.output_grads(), ("direct", "mean", "variance")
        terms: dict[str, dict[str, np.ndarray]] = {name: {} for name in parts}
        for branch in dy:
            axes = tuple(range(x[branch].ndim - 1))
            deviation = x[branch] - x[branch].mean(axis=axes)
            inv_std = 1 / np.sqrt((deviation**2).mean(axis=axes) + layer.eps)
            x_hat, g = deviation * inv_std, gamma * inv_std * dy[branch]
            by_mean, by_variance = -g.mean(axis=axes), -x_hat * (g * x_hat).mean(axis=axes)
            for name, term in zip(parts, (g, np.broadcast_to(by_mean, g.shape), by_variance), strict=True):
                terms[name][branch] = term
        words = {"direct": "by itself: γ/√(v + ε) · dy", "mean": "through the mean", "variance": "through the variance"}
        return [self._figure(f"path_{name}", f"the part of dx {words[name]}", terms[name]) for name in parts]

    def _explorer(self, place: _Place, direction: str) -> dict[str, Any] | None:
        """What the page needs to find out which values made another: a convolution's geometry, and which side is which."""
        layer = place.layer
        if not isinstance(layer, (Conv2d, ConvTranspose2d)):
            return None
        transposed = isinstance(layer, ConvTranspose2d)
        result, source = ("y", "x") if direction == "forward" else ("dx", "dy")
        return {
            "geometry": {name: list(pair) for name, pair in asdict(layer.geometry).items()},
            "result": result,
            "source": source,
            # A convolution reads the image and writes the map; its transpose, and its own way back, do the reverse.
            "image": source if transposed != (direction == "forward") else result,
            "bias": layer.has_bias and direction == "forward",
        }

    def _shape_fact(self, name: str, *arrays: np.ndarray) -> dict[str, Any]:
        shapes = " → ".join(f"({', '.join(map(str, a.shape))})" for a in arrays)
        return _fact(f"shape of {name}", f"{shapes}, float64; the first axis is the batch")

    def _cache_fact(self, place: _Place) -> dict[str, Any]:
        record = next(iter(place.passes.values()))
        held = list(arrays_in(record.net.backend, record.caches[place.index]))
        known = formulas_of(place.layer)
        sizes = ", ".join(f"({', '.join(map(str, a.shape))}) {a.nbytes / 1024:,.1f} KiB" for a in held)
        return _fact("the cache holds", (known.cache if known else "") + (f" [{sizes}]" if sizes else ""))

    def _sizes(self) -> list[dict[str, Any]]:
        """The root mean square of ∂L/∂y at every layer, for the chart of gradient sizes."""
        step = self.step
        rows = []
        ways = (
            ("D", "D", "real", step.real),
            ("D", "D", "generated", step.fake),
            ("G", "D", "", step.judged),
            ("G", "G", "", step.generator),
        )
        for act, net, branch, record in ways:
            for index in reversed(range(len(record.outputs))):
                gradient = record.output_grads[index]
                if gradient is not None:
                    name = f"{net} {index} {record.net.layers[index].name}"
                    row = {"act": act, "net": net, "branch": branch, "index": index, "label": name, "rms": _rms(gradient)}
                    rows.append(row)
        return rows


_WEIGHT_WORDS = {"bias": ", added to every output", "gamma": " γ, the scale", "beta": " β, the shift"}


def _docstring(layer: Layer) -> list[str]:
    return [line for line in (inspect.getdoc(type(layer)) or "").split("\n\n")[0].split("\n") if line]


def _count(layer: Layer) -> int:
    return sum(math.prod(spec.shape) for spec in layer.parameters.values())


def _mathml(tex: Sequence[str]) -> list[str]:
    return [mathml(t) for t in tex]


def _fact(name: str, value: str | Mapping[str, str]) -> dict[str, Any]:
    return {"name": name, "value": value if isinstance(value, str) else dict(value)}


def _size_fact(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Norm, root mean square and largest magnitude over the whole batch; by branch where there are two."""
    words = {
        branch: f"‖·‖ = {_norm(a):.4g}, root mean square {_rms(a):.3g}, largest {float(np.abs(a).max()):.3g}"
        for branch, a in arrays.items()
    }
    return _fact(f"size of {name}", words.get("", words))


def _norm(a: np.ndarray) -> float:
    return float(np.linalg.norm(a))


def _rms(a: np.ndarray) -> float:
    return float(np.sqrt(np.mean(a**2)))


def _checks(of: str, by_branch: Mapping[str, Sequence[Comparison]]) -> list[dict[str, Any]]:
    return [
        {
            "of": of,
            "branch": branch,
            "where": list(c.where),
            "analytic": c.analytic,
            "numeric": c.numeric,
            "error": c.error,
            "verdict": _verdict(c),
        }
        for branch, found in by_branch.items()
        for c in found
    ]


def _verdict(c: Comparison) -> str:
    if c.numeric is None or c.error is None:
        return "at a kink"
    if c.error < TOLERANCE:
        return "agrees"
    return "lost in rounding" if abs(c.analytic - c.numeric) < c.uncertainty else "differs"


def _worked_adam(update: Update) -> dict[str, Any] | None:
    """Adam's arithmetic for the weight with the largest gradient, number by number."""
    adam = update.optimizer
    assert isinstance(adam, Adam)
    name = max(update.gradients, key=lambda key: float(np.abs(update.gradients[key]).max()))
    place = np.unravel_index(int(np.abs(update.gradients[name]).argmax()), update.gradients[name].shape)
    (b1, b2), t = adam.betas, adam.steps

    def of(arrays: Mapping[str, np.ndarray]) -> float:
        return float(arrays[name][place])

    # The optimiser keeps m / (1 − β₁) and v / (1 − β₂); the page shows the textbook's m and v.
    m, v = (1 - b1) * of(update.state_after["m_sum"]), (1 - b2) * of(update.state_after["v_sum"])
    before, after = of(update.before), of(update.after)
    rows = [
        ["g = ∂L/∂w", of(update.gradients)],
        ["m before", (1 - b1) * of(update.state_before["m_sum"])],
        ["v before", (1 - b2) * of(update.state_before["v_sum"])],
        ["m = β₁ m + (1 − β₁) g", m],
        ["v = β₂ v + (1 − β₂) g²", v],
        ["m / (1 − β₁ᵗ)", m / (1 - b1**t)],
        ["√(v / (1 − β₂ᵗ))", math.sqrt(v / (1 - b2**t))],
        ["w before", before],
        ["w after", after],
        ["Δw", after - before],
    ]
    where = ", ".join(map(str, (int(k) for k in place)))
    return {"title": f"{name}[{where}], β = ({b1:g}, {b2:g}), t = {t}", "rows": rows}


def _first_channels(a: np.ndarray, limit: int) -> np.ndarray:
    """As many of the last axis' entries as keep one sample within the limit."""
    if a.ndim < 2 or a[0].size <= limit:
        return a
    return a[..., : max(1, limit // (a[0].size // a.shape[-1]))]


def _first_weights(a: np.ndarray, limit: int) -> np.ndarray:
    """The longer of the last two axes halved until the array is within the limit."""
    while a.size > limit:
        axis = a.ndim - 1 if a.ndim == 1 or a.shape[-1] >= a.shape[-2] else a.ndim - 2
        a = a[(slice(None),) * axis + (slice((a.shape[axis] + 1) // 2),)]
    return a
