"""Sequential: layers in a row over one flat vector of parameters and one of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, get_backend, is_own
from minigan.errors import CheckpointError, OptionError, ShapeError
from minigan.layers import Layer

DTYPES = ("float32", "float64")
Watcher = Callable[[Layer, str, Array], None]  # watch(layer, "output" | "input gradient" | "gradient of weight" …, array)


class Sequential:
    """Layers in a row: y = f_L(… f_2(f_1(x))), and by the chain rule dx = (∂f_1)ᵀ … (∂f_L)ᵀ dy.

    All parameters lie in one vector, flat_params, and all gradients in another, flat_grads; they are allocated once and never
    resized or rebound. params and grads are views of them by name ("0.weight"). state holds what is saved but not learned
    (BatchNorm's running statistics). Initial values are drawn on the host from `seed`. watch, if set, is shown every array
    as the passes make it.

    layers: a layer belongs to one network. input_shape: without the batch axis. dtype: "float32" or "float64".
    Raises ShapeError, naming the layer and both shapes, if the layers do not fit together.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        input_shape: Sequence[int],
        backend: str | Backend = "auto",
        dtype: Any = "float32",
        seed: int | Sequence[int] = 0,
    ) -> None:
        self.backend = get_backend(backend)
        self.dtype = _check_dtype(dtype)
        if isinstance(input_shape, int):
            raise ShapeError(f"input_shape is {input_shape}: expected a shape without the batch axis, as ({input_shape},)")
        self.layers = list(layers)
        self.input_shape = tuple(input_shape)
        if not self.layers:
            raise ShapeError("a Sequential needs at least one layer, got none")
        self.watch: Watcher | None = None
        self._work = frozenset(layer.work for layer in self.layers)
        self.output_shape = self._infer_shapes()
        strangers = [layer.label for layer in self.layers if not is_own(type(layer))]
        self._stranger = strangers[0] if strangers else ""
        self.largest_array = max(layer.largest_array for layer in self.layers)
        self._allocate(seed)

    def _infer_shapes(self) -> tuple[int, ...]:
        shape = self.input_shape
        for index, layer in enumerate(self.layers):
            if layer.index is not None:
                raise ShapeError(f"{layer.label} already belongs to a network: make a new layer for each place")
            layer.index, layer.input_shape = index, shape
            shape = layer.output_shape = layer.build(shape)
        return shape

    def _allocate(self, seed: int | Sequence[int]) -> None:
        """One vector of parameters and one of gradients, and every layer's named views of both."""
        be = self.backend
        seeds = [seed] if isinstance(seed, int) else list(seed)
        if not all(isinstance(part, int) and part >= 0 for part in seeds):
            raise OptionError(f"seed is {seed!r}: expected a whole number from 0 up, or several")
        specs = [(layer, name, spec) for layer in self.layers for name, spec in layer.parameters.items()]
        host = np.zeros(sum(math.prod(spec.shape) for _, _, spec in specs), self.dtype)
        self.flat_params = be.zeros(host.shape, self.dtype)
        self.flat_grads = be.zeros(host.shape, self.dtype)
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.state: dict[str, Array] = {}
        rng = np.random.default_rng(seeds)
        start = 0
        for layer, name, spec in specs:
            end = start + math.prod(spec.shape)
            host[start:end] = spec.init(rng, spec.shape, spec.fan_in, spec.fan_out).ravel()
            layer.params[name] = self.flat_params[start:end].reshape(spec.shape)
            layer.grads[name] = self.flat_grads[start:end].reshape(spec.shape)
            setattr(layer, name, layer.params[name])
            self.params[f"{layer.index}.{name}"] = layer.params[name]
            self.grads[f"{layer.index}.{name}"] = layer.grads[name]
            start = end
        self.flat_params[...] = be.asarray(host)
        for index, layer in enumerate(self.layers):
            layer.backend = be
            if layer.random:
                layer.rng = be.generator([*seeds, index])
            for name, value in layer.initial_state.items():
                layer.state[name] = self.state[f"{index}.{name}"] = be.asarray(value, self.dtype)
                setattr(layer, name, layer.state[name])
        # Below the first layer that learns, no gradient is needed unless the caller asks for dx.
        self._first_learner = next((i for i, layer in enumerate(self.layers) if layer.params), len(self.layers))

    def split(self, vector: Array) -> Iterator[tuple[Layer, Array]]:
        """(layer, its part) of a vector laid out as flat_params is."""
        start = 0
        for layer in self.layers:
            end = start + sum(math.prod(spec.shape) for spec in layer.parameters.values())
            yield layer, vector[start:end]
            start = end

    # -- the two passes ------------------------------------------------------------------------------------------------

    def forward(self, x: Array, train: bool = False) -> tuple[Array, list[Any]]:
        """(y, caches): the output for a batch x (N, *input_shape), and what backward needs of this pass.

        train: BatchNorm normalises by the batch and moves its running statistics, Dropout drops.
        Raises ShapeError for an array of another backend, another dtype, another shape or no samples.
        """
        self.check_input(x)
        self.backend.may_record(self._hindrance)
        self.backend.begin_pass(self._work, len(x) * self.largest_array)
        caches = []
        for layer in self.layers:
            if x.shape[1:] != layer.input_shape:
                raise ShapeError(f"{layer.label} needs {layer.input_shape}, got {x.shape[1:]} from the layer before it")
            x, cache = layer.forward(x, train)
            caches.append(cache)
            if self.watch:
                self.watch(layer, "output", x)
        return x, caches

    def backward(
        self,
        dy: Array,
        caches: list[Any],
        *,
        param_grads: bool = True,
        input_grad: bool = True,
        accumulate: bool = True,
    ) -> Array | None:
        """dx = ∂L/∂x from dy = ∂L/∂y, for the pass that made `caches`; parameter gradients are added to flat_grads.

        param_grads=False leaves flat_grads alone; input_grad=False returns None and saves the product that makes dx;
        accumulate=False puts the parameter gradients in place of what flat_grads held, as zero_grads before would, but quicker.
        Raises ShapeError if dy is not an array (N, *output_shape) of this dtype.
        """
        if dy.shape[1:] != self.output_shape or dy.dtype != self.dtype:
            raise ShapeError(f"dy is {dy.dtype} {dy.shape}: expected {self.dtype} (N, {_list(self.output_shape)})")
        self.backend.begin_pass(self._work, len(dy) * self.largest_array)
        lowest = 0 if input_grad else self._first_learner if param_grads else len(self.layers)
        for index in reversed(range(lowest, len(self.layers))):
            layer, wanted = self.layers[index], input_grad or index > lowest
            if param_grads and not accumulate and layer.grads:
                layer.forget_grads()
            try:
                dy = layer.backward(dy, caches[index], param_grads=param_grads, input_grad=wanted)
            finally:
                layer.settle_grads()
            if self.watch:
                seen = {f"gradient of {name}": grad for name, grad in layer.grads.items()} if param_grads else {}
                for what, array in {**seen, **({"input gradient": dy} if wanted else {})}.items():
                    self.watch(layer, what, array)
        return dy if input_grad else None

    @property
    def samples_apart(self) -> bool:
        """Whether a batch may be any samples put together: each has its own result, and nobody watches or draws for them."""
        return not (self.watch or self._stranger or any(layer.mixes_batch or layer.random for layer in self.layers))

    def _hindrance(self) -> str:
        """What speaks against replaying a recording of the passes."""
        if self.watch:
            return "a network of it is watched"
        return f"only minigan's own layers are, and {self._stranger} is none of them" if self._stranger else ""

    def check_input(self, x: Array) -> None:
        """Raises ShapeError unless x is a batch that forward takes."""
        if not self.backend.owns(x):
            kind = f"{type(x).__module__}.{type(x).__name__}"
            raise ShapeError(f"x is a {kind}: this network runs on {self.backend.name}; pass net.backend.asarray(x)")
        if x.dtype != self.dtype:
            raise ShapeError(f"x is {x.dtype}: this network computes in {self.dtype}; pass x.astype({self.dtype.name!r})")
        if x.shape[1:] != self.input_shape or x.ndim == 0:
            raise ShapeError(f"x has shape {x.shape}: expected (N, {_list(self.input_shape)})")
        if x.shape[0] == 0:
            raise ShapeError(f"x has shape {x.shape}: a batch needs at least one sample")

    # -- parameters ----------------------------------------------------------------------------------------------------

    def zero_grads(self) -> None:
        """dθ = 0, before the gradients of several passes are added up."""
        self.backend.clear(self.flat_grads)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Parameters and running statistics as host arrays by name."""
        return {name: self.backend.to_numpy(a).copy() for name, a in {**self.params, **self.state}.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over all values of a state_dict. Raises CheckpointError, and changes nothing, unless names and shapes agree."""
        own = {**self.params, **self.state}
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise CheckpointError(f"the state is of another network: it lacks {missing} and has in excess {unknown}")
        for name, array in own.items():
            if state[name].shape != array.shape:
                raise CheckpointError(f"{name} has shape {state[name].shape}: this network needs {array.shape}")
        for name, array in own.items():
            array[...] = self.backend.asarray(state[name], self.dtype)

    def clone(self, dtype: Any = None) -> Sequential:
        """A network of its own with the same layers and values, on the same backend, in this dtype or another."""
        twin = Sequential([layer.fresh() for layer in self.layers], self.input_shape, self.backend, dtype or self.dtype)
        for name, array in {**twin.params, **twin.state}.items():
            array[...] = {**self.params, **self.state}[name]
        twin.random_state = self.random_state
        return twin

    @property
    def random_state(self) -> dict[str, Any]:
        """The states of the layers' random streams (Dropout), plain JSON by layer index."""
        return {str(layer.index): layer.rng.state for layer in self.layers if layer.random}

    @random_state.setter
    def random_state(self, state: Mapping[str, Any]) -> None:
        for layer in self.layers:
            if layer.random:
                layer.rng.state = state[str(layer.index)]

    @property
    def num_params(self) -> int:
        return int(self.flat_params.size)

    # -- printing ------------------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """The table of layers: output shape, parameters, total. `print(net)` shows it."""
        rows = [("layer", "output shape", "parameters"), ("input", _batch(self.input_shape), "")]
        for index, layer in enumerate(self.layers):
            count = sum(math.prod(spec.shape) for spec in layer.parameters.values())
            rows.append((f"{index} {layer!r}", _batch(layer.output_shape or ()), f"{count:,}"))
        rows.append(("total", "", f"{self.num_params:,}"))
        first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
        lines = [f"{a:<{first}}  {b:<{second}}  {c:>{third}}" for a, b, c in rows]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        return (
            f"Sequential([{inside}], input_shape={self.input_shape}, backend={self.backend.name!r}, dtype={self.dtype.name!r})"
        )


def _check_dtype(dtype: Any) -> np.dtype:
    try:
        if np.dtype(dtype).name in DTYPES:
            return np.dtype(dtype)
    except TypeError:
        pass  # not the name of any dtype
    raise OptionError(f"dtype is {dtype!r}: a network computes in {' or '.join(DTYPES)}")


def _list(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))


def _batch(shape: Sequence[int]) -> str:
    return f"({_list(('N', *shape))})"  # type: ignore[arg-type]
