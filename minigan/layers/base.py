"""What a layer is: a forward formula, the backward formula derived from it, and the parameters that both use."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, Generator
from minigan.errors import OptionError, ShapeError
from minigan.layers.initializers import Initializer

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Parameter:
    """What a layer asks for at build: a shape, initial values, and the fans that scale them."""

    shape: Shape
    init: Initializer
    fan_in: int
    fan_out: int


class Layer:
    """Base of all layers. A new layer writes build, forward and backward.

    - build(input_shape) -> output_shape, both without the batch axis. It refuses a wrong shape, and declares what it learns
      with add_parameter and what it remembers with add_state; both then are attributes: self.weight, self.running_mean.
    - forward(x, train=False) -> (y, cache). The cache holds what backward needs and belongs to the caller: a layer keeps no
      trace of a forward pass, so that several passes can be live at once.
    - backward(dy, cache, *, param_grads=True, input_grad=True) -> dx or None. Parameter gradients are added to self.grads.
      It writes neither to dy nor to the cache, and may be called twice on one cache. A gradient that is one operation of the
      backend may be added by add_grad, which is quicker; a class that does so names it in `direct`.

    A training step is recorded once and replayed on a GPU (Backend.capture). So what changes from pass to pass and is no array
    must not be a plain attribute: draw it from self.rng, keep it in an array, or set a self.backend.number() in on_host. (The
    numpy backend records only networks whose layers are all minigan's own.)

    The network fills in backend, index, params, grads and state, and checks x's shape before it calls forward.
    """

    backend: Backend
    rng: Generator  # the layer's own random stream, for layers that set random = True
    random = False
    mixes_batch = False  # whether a sample's result depends on the others of its batch
    direct: tuple[str, ...] = ()  # parameters whose gradients this class's backward makes by add_grad alone
    work = "element-wise"  # where most of the layer's time goes: this, "product" or "convolution"

    def __init__(self, **options: Any) -> None:
        self.options = options  # what the layer was made with, for its repr
        self.index: int | None = None
        self.input_shape: Shape | None = None
        self.output_shape: Shape | None = None
        self.parameters: dict[str, Parameter] = {}
        self.initial_state: dict[str, np.ndarray] = {}
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.state: dict[str, Array] = {}
        self._unwritten: set[str] = set()  # gradients that the pass under way is the first to write

    def build(self, input_shape: Shape) -> Shape:
        """Shapes without the batch axis. A layer that changes no shape and learns nothing needs no build of its own."""
        return input_shape

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Any]:
        raise NotImplementedError(f"{self.name} has no forward")

    def backward(self, dy: Array, cache: Any, *, param_grads: bool = True, input_grad: bool = True) -> Array | None:
        raise NotImplementedError(f"{self.name} has no backward")

    def branch_signature(self, cache: Any) -> Array | None:
        """On which side of each kink of the formula the pass lay, as an array; None for a smooth layer.

        Finite differences are only taken between passes for which this is the same.
        """
        return None

    def add_parameter(self, name: str, shape: Shape, init: Initializer, fan_in: int = 0, fan_out: int = 0) -> None:
        """Declare a learned array, to be called in build. The fans are for initialisers that scale by them: glorot and he."""
        self.parameters[name] = Parameter(shape, init, fan_in, fan_out)

    def add_state(self, name: str, value: np.ndarray) -> None:
        """Declare an array that is saved with the network but not learned, to be called in build."""
        self.initial_state[name] = value

    def add_grad(self, name: str, operation: Callable[..., Any], *operands: Any, **options: Any) -> None:
        """self.grads[name] += operation(*operands, **options); straight to its place where it would be added to zeros.

        operation: one of the backend's that takes out and add.
        """
        first = name in self._unwritten
        self._unwritten.discard(name)
        operation(*operands, out=self.grads[name], add=not first, **options)

    def forget_grads(self) -> None:
        """Begin a backward pass whose gradients take the place of those in grads: zeros, or `direct` left to be written."""
        kind: type = type(self)
        written = _direct_of(kind)
        for name, grad in self.grads.items():
            if name in written:
                self._unwritten.add(name)
            else:
                self.backend.clear(grad)

    def settle_grads(self) -> None:
        """End that pass: what it did not write after all is zero."""
        while self._unwritten:
            self.backend.clear(self.grads[self._unwritten.pop()])

    @property
    def largest_array(self) -> int:
        """Values of the largest array that one sample's passes make, as far as the shapes tell."""
        return max(math.prod(self.input_shape or ()), math.prod(self.output_shape or ()))

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

    def fresh(self) -> Layer:
        """A layer with the same options that belongs to no network yet."""
        twin = copy.copy(self)
        twin.index = twin.input_shape = twin.output_shape = None
        twin.parameters, twin.initial_state, twin.params, twin.grads, twin.state = {}, {}, {}, {}, {}
        twin._unwritten = set()
        return twin

    def __repr__(self) -> str:
        """The call that makes this layer, without initialisers and options that have their default."""
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        shown = [f"{name}={value!r}" for name, value in self.options.items() if value != defaults.get(name)]
        return f"{self.name}({', '.join(shown)})"


@cache
def _direct_of(kind: type) -> tuple[str, ...]:
    """The `direct` of the class that wrote this one's backward; a class that writes its own begins without."""
    author = next(parent for parent in kind.__mro__ if "backward" in vars(parent))
    return tuple(vars(author).get("direct", ()))


def positive_int(value: Any, name: str, least: int = 1) -> int:
    """value as an int of at least `least`, or an OptionError that names the option."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise OptionError(f"{name} is {value!r}: expected a whole number from {least} up")
    return int(value)


def pair(value: Any, name: str, least: int = 1) -> tuple[int, int]:
    """(height, width) from one number for both or a pair, each at least `least`."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise OptionError(f"{name} is {value!r}: expected one number, or a pair (height, width)")
    return positive_int(values[0], name, least), positive_int(values[1], name, least)
