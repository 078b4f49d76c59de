"""A network for programs that put channels first: its layers in a row, their weights turned, and turns only where needed.

minigan has images as (N, H, W, C); ONNX and PyTorch have them as (N, C, H, W). A value stays in the order that it has for as
long as layers take either. A row of numbers that was an image, or becomes one, is turned by the dense layer beside it: the rows
or the columns of its weight change places, and nothing is moved as the network runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigan.backends import Backend
from minigan.errors import OptionError, shorten
from minigan.export.rules import OWN, kind_of
from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    DiffAugment,
    Dropout,
    Elementwise,
    Flatten,
    Layer,
    LayerNorm,
    MinibatchStd,
    PhaseShuffle,
    Reshape,
    Residual,
    Softmax,
    SpectralNorm,
    Upsample,
)
from minigan.layers.spectral_norm import iterate
from minigan.network import Sequential

Shape = tuple[int, ...]
CHANNELS_FIRST = (Conv2d, ConvTranspose2d, Upsample, BatchNorm)
EITHER = (Elementwise, Dropout, DiffAugment, PhaseShuffle, Softmax, MinibatchStd)
PERMEABLE = (Elementwise, Dropout, BatchNorm, LayerNorm, Softmax)  # on rows: they take the numbers in any order, and keep it


def pixel_order(image: Shape) -> np.ndarray:
    """For each value of an image (…, C) in channels-first order, its place in minigan's."""
    places = np.arange(np.prod(image)).reshape(image)
    return np.moveaxis(places, -1, 0).ravel()


def is_trivial(image: Shape) -> bool:
    """True if both orders of an image's values are one."""
    return image[-1] == 1 or all(size == 1 for size in image[:-1])


@dataclass(frozen=True)
class Form:
    """A value: its shape in minigan, without the batch; first: channels come first; image: of a row, the image in whose
    channels-first order its numbers stand (None: in minigan's own).
    """

    shape: Shape
    first: bool = False
    image: Shape | None = None

    @property
    def axes(self) -> Shape:
        """The shape in the other program, without the batch."""
        return (self.shape[-1], *self.shape[:-1]) if self.first else self.shape


class Turn:
    """Stands for a layer: the channels go to the other end."""

    name = "Transpose"


@dataclass
class Step:
    """A layer as the other program runs it. path: as in names of parameters, "3" or "3.0"; arrays: float32, on the host."""

    layer: Any
    path: str
    x: Form
    y: Form
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    within: list[Step] = field(default_factory=list)


def plan(net: Sequential, ends_first: bool) -> tuple[Form, list[Step]]:
    """The input of a network at inference, and its layers. ends_first: input and output have channels first, else last.

    Raises OptionError for what is no Sequential.
    """
    if not isinstance(net, Sequential):
        raise OptionError(f"net is {shorten(net)}: expected a minigan.Sequential")
    start = Form(net.input_shape, ends_first and len(net.input_shape) > 1)
    return start, list(_chain(net.layers, start, ends_first, "output"))


def _core(layer: Layer) -> Layer:
    """At inference a SpectralNorm is its layer, with another weight."""
    return layer.layers[0] if kind_of(layer) is SpectralNorm else layer


def _is(layer: Layer, kinds: Any) -> bool:
    kind = kind_of(_core(layer))
    return issubclass(kind, kinds) and (kind in OWN or issubclass(kind, Elementwise))


def _chain(layers: Sequence[Layer], x: Form, ends_first: bool, end: str) -> Iterator[Step]:
    """Layers in a row, turned where one needs it, and at the end, which has a path of its own."""
    for index, layer in enumerate(layers):
        rest, step = layers[index + 1 :], None
        wanted = _wanted(layer, rest)
        if len(x.shape) > 1 and wanted is not None and wanted != x.first:
            step = Step(Turn(), f"{layer.index}", x, Form(x.shape, wanted))
            yield step
        x = step.y if step else x
        step = _step(layer, rest, x, ends_first)
        yield step
        x = step.y
    if len(x.shape) > 1 and x.first != ends_first:
        yield Step(Turn(), end, x, Form(x.shape, ends_first))


def _wanted(layer: Layer, rest: Sequence[Layer]) -> bool | None:
    """Whether a layer needs the channels of its images first (True) or last (False); None: it takes either."""
    shape = layer.input_shape or ()
    if _is(layer, CHANNELS_FIRST):
        return True
    if _is(layer, EITHER) or (_is(layer, LayerNorm) and layer.axes == len(shape)):  # type: ignore[attr-defined]
        return None
    if _is(layer, Residual):
        return _first_wish(layer.layers)
    if _is(layer, Reshape) and (_keeps_channels(layer) or (len(layer.output_shape or ()) == 1 and _is_absorbed(rest))):
        return None
    return False


def _first_wish(layers: Sequence[Layer], otherwise: bool | None = None) -> bool | None:
    """What the first layer that is not indifferent needs; otherwise: where there is none."""
    for index, layer in enumerate(layers):
        wanted = _wanted(layer, layers[index + 1 :])
        if wanted is not None:
            return wanted
        if len(layer.output_shape or ()) == 1:
            return None
    return otherwise


def _keeps_channels(layer: Layer) -> bool:
    """Whether a Reshape changes the places of an image alone."""
    before, after = layer.input_shape or (), layer.output_shape or ()
    return len(before) > 1 and len(after) > 1 and before[-1] == after[-1]


def _is_absorbed(layers: Sequence[Layer]) -> bool:
    """Whether a row of numbers, in any order, meets a dense layer that can take them so."""
    after = next((layer for layer in layers if not (_is(layer, PERMEABLE) or _is(layer, Flatten))), None)
    return after is not None and _is(after, Dense)


def _image_ahead(layers: Sequence[Layer], ends_first: bool) -> Shape | None:
    """The image that a row becomes before anything mixes its numbers, if its channels will be needed first."""
    for index, layer in enumerate(layers):
        if _is(layer, Reshape) and len(layer.output_shape or ()) > 1:
            image = layer.output_shape
            assert image is not None
            return image if _first_wish(layers[index + 1 :], ends_first) and not is_trivial(image) else None
        if not _is(layer, PERMEABLE):
            return None
    return None


def _step(layer: Layer, rest: Sequence[Layer], x: Form, ends_first: bool) -> Step:
    shape = layer.output_shape or ()
    y = Form(shape, x.first, x.image)
    if _is(layer, Dense):
        y = Form(shape, image=_image_ahead(rest, ends_first))
    elif _is(layer, Reshape) and len(shape) == 1:
        y = Form(shape, image=x.shape if x.first and not is_trivial(x.shape) else x.image)
    elif _is(layer, Reshape) and len(x.shape) == 1:
        turned = x.image is not None or (is_trivial(shape) and bool(_first_wish(rest, ends_first)))
        y = Form(shape, turned)
    path = str(layer.index)
    if _is(layer, Residual):
        return Step(layer, path, x, y, within=list(_chain(layer.layers, x, x.first, f"{path}.output")))
    return Step(_core(layer), path, x, y, _arrays(layer, x, y))


def _arrays(layer: Layer, x: Form, y: Form) -> dict[str, np.ndarray]:
    """Parameters and state as the other program has them: of convolutions (F, C, KH, KW), of transposed ones (C, F, …)."""
    arrays = {name: a.astype(np.float32) for name, a in _values(layer).items()}
    if _is(layer, (Conv2d, ConvTranspose2d)):
        arrays["weight"] = arrays["weight"].transpose(3, 2, 0, 1)
    elif _is(layer, Dense):
        arrays["weight"] = _turned(_turned(arrays["weight"], x.image, 0), y.image, 1)
        arrays |= {"bias": _turned(arrays["bias"], y.image, 0)} if "bias" in arrays else {}
    elif _is(layer, (BatchNorm, LayerNorm)):
        whole = len(x.shape) > 1 and x.first and _is(layer, LayerNorm)
        arrays = {name: np.moveaxis(a, -1, 0) if whole else _turned(a, x.image, 0) for name, a in arrays.items()}
    return {name: np.ascontiguousarray(a) for name, a in arrays.items()}


def _values(layer: Layer) -> dict[str, np.ndarray]:
    """Parameters and state on the host, in minigan's order; W/σ for the W of a SpectralNorm."""
    values = {name: layer.backend.to_numpy(a) for name, a in {**layer.params, **layer.state}.items()}
    if kind_of(layer) is SpectralNorm:
        w, u, v = (values[name].astype(np.float64) for name in ("weight", "u", "v"))
        u, v = iterate(Backend(), w, u, v, 0, layer.eps)  # type: ignore[attr-defined]
        values = {name: a for name, a in values.items() if name not in ("u", "v")} | {"weight": w / (w * u * v).sum()}
    return values


def _turned(a: np.ndarray, image: Shape | None, axis: int) -> np.ndarray:
    """The axis that counts an image's values, in its channels-first order."""
    return a if image is None else np.take(a, pixel_order(image), axis=axis)
