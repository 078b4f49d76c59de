"""What a layer is: a forward formula, the backward formula derived from it, and the parameters that both use."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, Generator
from minigan.copying import CopiedUnbuilt
from minigan.errors import ModelError, ShapeError
from minigan.initializers import Initializer
from minigan.sizes import plain

Shape = tuple[int, ...]
Grads = Mapping[str, Array]  # where to write the gradient of each parameter, by its name


@dataclass(frozen=True)
class Parameter:
    """What a layer asks for at build: a shape, initial values, and the fans that scale them."""

    shape: Shape
    init: Initializer
    fan_in: int
    fan_out: int


class Layer(CopiedUnbuilt):
    """Base of all layers. A new layer writes build, forward and backward; for penalties on gradients also the last two.

    - build(input_shape) -> output_shape, both without the batch axis. It refuses a wrong shape, and declares what it learns
      with add_parameter and what it remembers with add_state; both then are attributes: self.weight, self.running_mean.
    - forward(x, train=False) -> (y, cache). The cache holds what backward needs and belongs to the caller: a layer keeps no
      trace of a forward pass, so that several passes can be live at once.
    - backward(dy, cache, grads=None, input_grad=True) -> dx, or None where input_grad is False. The gradient of each parameter
      is written to grads[name], over whatever lies there; with grads=None none is computed. Adding up the gradients of several
      passes is the caller's business. It writes neither to dy nor to the cache, and may be called twice on one cache.
    - tangent(x_dot, cache) -> y_dot = (∂f/∂x) ẋ: the derivative of this pass, pushed forwards along ẋ.
    - curvature(x_dot, dy, cache, grads=None) -> c: of Q = dy · (∂f/∂x) ẋ, with ẋ and dy held fixed, it writes ∂Q/∂θ to grads
      as backward does, and returns c = ∂Q/∂x; None where that is zero (a layer that is linear, or linear piece by piece).

    A training step may be recorded once and replayed (minigan.capture). So what changes from pass to pass and is no array must
    not be a plain attribute: draw it from self.rng, or keep it in an array. (On the CPU, networks with layers that are not
    minigan's own run layer by layer.)

    The network calls place and bind, and checks x's shape before it calls forward.
    """

    backend: Backend
    rng: Generator  # the layer's own random stream, for layers that set random = True
    random = False
    least_batch = 1  # samples that it needs to train on
    cross_sample = True  # False where a sample's output depends on that sample alone; a class with a forward says so itself
    layers: Sequence[Layer] = ()  # those within it

    def __init__(self, **options: Any) -> None:
        self.options = {name: plain(value) for name, value in options.items()}  # what the layer was made with, for its repr
        self.index: Any = None  # its number in the network; "3.0" for one within layer 3
        self.input_shape: Shape | None = None
        self.output_shape: Shape | None = None
        self.parameters: dict[str, Parameter] = {}
        self.initial_state: dict[str, np.ndarray] = {}
        self.params: dict[str, Array] = {}
        self.state: dict[str, Array] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in vars(cls):
            cls.cross_sample = vars(cls).get("cross_sample", True)

    def build(self, input_shape: Shape) -> Shape:
        """Shapes without the batch axis. A layer that changes no shape and learns nothing needs no build of its own."""
        return input_shape

    def place(self, index: Any, input_shape: Shape) -> Shape:
        """Build the layer at its place in a network; returns its output shape. Raises ShapeError if it has one already."""
        if self.index is not None:
            raise ShapeError(f"{self.label} already belongs to a network: make a new layer for each place")
        self.index, self.input_shape = index, input_shape
        self.output_shape = self.build(input_shape)
        return self.output_shape

    def bind(self, backend: Backend, params: dict[str, Array], state: dict[str, Array], rng: Generator | None) -> None:
        """Take the arrays for what was declared, and a random stream if random is set."""
        vars(self).update({"backend": backend, "params": params, "state": state, **params, **state})
        if rng is not None:
            self.rng = rng

    def hold_state(self) -> None:
        """Let training passes no longer move what gradients take as fixed, as SpectralNorm's u and v: checks compare passes."""
        for layer in self.layers:
            layer.hold_state()

    def nested(self) -> Iterator[Layer]:
        """The layer itself, and all within it."""
        yield self
        for layer in self.layers:
            yield from layer.nested()

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Any]:
        raise NotImplementedError(f"{self.name} has no forward")

    def backward(self, dy: Array, cache: Any, grads: Grads | None = None, input_grad: bool = True) -> Array | None:
        raise NotImplementedError(f"{self.name} has no backward")

    def tangent(self, x_dot: Array, cache: Any) -> Array:
        raise self._lacks("tangent")

    def curvature(self, x_dot: Array, dy: Array, cache: Any, grads: Grads | None = None) -> Array | None:
        raise self._lacks("curvature")

    def require_second_order(self) -> None:
        """Raise ModelError, naming what is missing, unless penalties on gradients go through this layer and those within."""
        for method in ("tangent", "curvature"):
            if getattr(type(self), method) is getattr(Layer, method):
                raise self._lacks(method)
        for layer in self.layers:
            layer.require_second_order()

    def _lacks(self, method: str) -> ModelError:
        return ModelError(f"{self.label} has no {method}: a penalty on gradients needs one; write it, or leave the penalty out")

    def branch_signature(self, cache: Any) -> Array | None:
        """Which branch of the formula each value took in this pass (x > 0 for a ReLU), as an array; None for a smooth layer.

        A finite difference is taken only between passes with the same signature.
        """
        return None

    def add_parameter(self, name: str, shape: Shape, init: Initializer, fan_in: int = 0, fan_out: int = 0) -> None:
        """Declare a learned array, to be called in build. The fans are for initialisers that scale by them: glorot and he."""
        self.parameters[name] = Parameter(shape, init, fan_in, fan_out)

    def add_state(self, name: str, value: np.ndarray) -> None:
        """Declare an array that is saved with the network but not learned, to be called in build."""
        self.initial_state[name] = value

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def label(self) -> str:
        """The name for messages: Conv2d (layer 3)."""
        return self.name if self.index is None else f"{self.name} (layer {self.index})"

    def require(self, condition: bool, needed: str, got: Any) -> None:
        """Raise ShapeError `Conv2d (layer 3) needs <needed>, got <got>` unless condition holds."""
        if not condition:
            raise ShapeError(f"{self.label} needs {needed}, got {got}")

    def __repr__(self) -> str:
        """The call that makes this layer, without initialisers and options that have their default."""
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        shown = [f"{name}={value!r}" for name, value in self.options.items() if repr(value) != repr(defaults.get(name))]
        return f"{self.name}({', '.join(shown)})"
