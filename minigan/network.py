"""Sequential: layers in a row over one flat vector of parameters and one of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, get_backend, stream
from minigan.copying import CopiedByValue, checked_state
from minigan.errors import ShapeError, shorten
from minigan.layers import Layer, Linear
from minigan.layers.base import Grads
from minigan.layers.composite import sweep_curvature
from minigan.layers.formulas import add, product
from minigan.sizes import float_type, ignore_underflow, numbers
from minigan.tables import ShownAsTable, listed

Watcher = Callable[[Layer | None, str, Any], None]


class Views(dict[str, Array]):
    """Views by name ("0.weight") of one flat vector, `flat`; `of_layer[0]` has those of layer 0 by their own names."""

    def __init__(self, layers: Sequence[Layer], flat: Array) -> None:
        super().__init__()
        self.flat = flat
        self.of_layer: list[dict[str, Array]] = []
        start = 0
        for index, layer in enumerate(layers):
            self.of_layer.append({})
            for name, spec in layer.parameters.items():
                end = start + math.prod(spec.shape)
                self[f"{index}.{name}"] = self.of_layer[index][name] = flat[start:end].reshape(spec.shape)
                start = end


def scaled_sum(xp: Any, x: Array, x_dot: Array, ds: Array) -> Array:
    """ds x + ẋ"""
    return ds * x + x_dot


class Sequential(CopiedByValue, ShownAsTable):
    """Layers in a row: y = f_L(… f_2(f_1(x))), and by the chain rule dx = (∂f_1)ᵀ … (∂f_L)ᵀ dy.

    All parameters lie in one vector, flat_params, and all gradients in another, flat_grads; they are allocated once and never
    resized or rebound. params and grads are views of them by name ("0.weight"). state holds what is saved but not learned
    (BatchNorm's running statistics). Initial values are drawn on the host from `seed`.

    watch, if set, is called as the passes run: watch(layer, what, value) with what = "output", "cache", "input gradient" or
    "gradient of weight" …; and, as a pass begins, with layer None and "forward", (x, caches) or "backward", (dy, caches), where
    the list of caches tells which forward pass a backward pass belongs to. It may write into an output: the pass goes on with
    what it wrote. Of curvature, which begins with None and "curvature", (x_dot, caches), it sees each layer's "tangent" ẏ,
    "curvature of weight" … and "curvature" c, and with the third line's share "whole curvature of weight" … and "whole
    curvature" a.

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
        self.dtype = float_type(dtype)
        if isinstance(input_shape, (int, np.integer)):
            raise ShapeError(f"input_shape is {input_shape}: expected a shape without the batch axis, as ({input_shape},)")
        self.layers = list(layers) if isinstance(layers, Iterable) else []
        if not self.layers or not all(isinstance(layer, Layer) for layer in self.layers):
            raise ShapeError(f"layers is {shorten(layers)}: expected a list of at least one layer, as [minigan.Dense(10)]")
        self.input_shape = numbers(input_shape, "input_shape")
        self.watch: Watcher | None = None
        self.output_shape = self._infer_shapes()
        self._allocate(seed)

    def _infer_shapes(self) -> tuple[int, ...]:
        shape, size = self.input_shape, 0
        for index, layer in enumerate(self.layers):
            shape = layer.place(index, shape)
            size += sum(math.prod(spec.shape) for spec in layer.parameters.values())
            self.backend.require_memory(3 * size * self.dtype.itemsize, f"a network of {size:,} parameters")
        return shape

    def _allocate(self, seed: int | Sequence[int]) -> None:
        """One vector of parameters and one of gradients, and every layer's named views of its parameters."""
        be = self.backend
        size = sum(math.prod(spec.shape) for layer in self.layers for spec in layer.parameters.values())
        host = Views(self.layers, np.zeros(size, self.dtype))
        self.flat_params, self.flat_grads = be.zeros((size,), self.dtype), be.zeros((size,), self.dtype)
        self.params, self.grads = Views(self.layers, self.flat_params), Views(self.layers, self.flat_grads)
        self.state: dict[str, Array] = {}
        rng = np.random.default_rng(stream("weights", seed))
        for index, layer in enumerate(self.layers):
            for name, spec in layer.parameters.items():
                host.of_layer[index][name][...] = spec.init(rng, spec.shape, spec.fan_in, spec.fan_out)
            state = {name: be.asarray(value, self.dtype) for name, value in layer.initial_state.items()}
            self.state |= {f"{index}.{name}": value for name, value in state.items()}
            noise = be.generator(stream("dropout", seed, index)) if layer.random else None
            layer.bind(be, self.params.of_layer[index], state, noise)
        self.flat_params[...] = be.asarray(host.flat)
        # Below the first layer that learns, no gradient is needed unless the caller asks for dx.
        self._pickiest = max(self.layers, key=lambda layer: layer.least_batch)
        self._first_learner = next((i for i, layer in enumerate(self.layers) if layer.params), len(self.layers))

    def split(self, vector: Array) -> Iterator[tuple[Layer, Array]]:
        """(layer, its part) of a vector laid out as flat_params is."""
        start = 0
        for layer in self.layers:
            end = start + sum(math.prod(spec.shape) for spec in layer.parameters.values())
            yield layer, vector[start:end]
            start = end

    # -- the two passes ------------------------------------------------------------------------------------------------

    @ignore_underflow
    def forward(self, x: Array, train: bool = False) -> tuple[Array, list[Any]]:
        """(y, caches): the output for a batch x (N, *input_shape), and what backward needs of this pass.

        train: BatchNorm normalises by the batch and moves its running statistics, Dropout drops.
        Raises ShapeError for an array of another backend, another dtype, another shape or no samples.
        """
        self.check_input(x, train)
        self.backend.set_threading(self.layers, len(x))
        caches: list[Any] = []
        self._show(None, "forward", (x, caches))
        for layer in self.layers:
            if x.shape[1:] != layer.input_shape:
                raise ShapeError(f"{layer.label} needs {layer.input_shape}, got {x.shape[1:]} from the layer before it")
            x, cache = layer.forward(x, train)
            caches.append(cache)
            self._show(layer, "output", x)
            self._show(layer, "cache", cache)
        return x, caches

    @ignore_underflow
    def backward(
        self,
        dy: Array,
        caches: list[Any],
        grads: Grads | None = None,
        input_grad: bool = True,
        dys: list[Array] | None = None,
    ) -> Array | None:
        """dx = ∂L/∂x from dy = ∂L/∂y, for the pass that made `caches`.

        grads: where each parameter's gradient is written, over what lies there, by names as in params: usually net.grads; None:
        no parameter gradient is made. input_grad=False returns None and saves the product that makes dx.
        dys: an empty list, which gets ∂L/∂y_l of each layer l.
        Raises ShapeError if dy is not an array (N, *output_shape) of this dtype, or grads lacks a parameter.
        """
        if dy.shape[1:] != self.output_shape or dy.dtype != self.dtype:
            raise ShapeError(f"dy is {dy.dtype} {dy.shape}: expected {self.dtype} (N, {listed(self.output_shape)})")
        self.backend.set_threading(self.layers, len(dy))
        of_layer = self._grads_of_layers(grads)
        self._show(None, "backward", (dy, caches))
        lowest = 0 if input_grad else len(self.layers) if grads is None else self._first_learner
        for index in reversed(range(lowest, len(self.layers))):
            layer, wanted = self.layers[index], input_grad or index > lowest
            if dys is not None:
                dys.insert(0, dy)
            dy = layer.backward(dy, caches[index], of_layer[index], wanted)
            for name, grad in (of_layer[index] or {}).items():
                self._show(layer, f"gradient of {name}", grad)
            if wanted:
                self._show(layer, "input gradient", dy)
        return dy if input_grad else None

    @ignore_underflow
    def curvature(self, x_dot: Array, caches: list[Any], dys: list[Array], grads: Grads) -> None:
        """The gradient of Q = ẋ · g in the parameters, for g = ∂L/∂x and ẋ held fixed: the chain rule, once more.

        caches, dys: of the forward pass, and of the backward pass from a constant dy that made g. Q is also dy · ẏ, for ẏ the
        derivative of y along ẋ, so its gradient needs no derivative of a backward pass:
            ẏ_l = J_l ẏ_{l−1} from ẏ_0 = ẋ                                            (tangent)
            ∂Q/∂θ_l += ∂(dy_l · J_l ẏ_{l−1})/∂θ_l,  c_l = the same in y_{l−1}            (curvature)
            a_{l−1} = J_lᵀ a_l + c_l from a_L = 0,  ∂Q/∂θ_l += (∂f_l/∂θ_l)ᵀ a_l          (backward)
        a_l = ∂Q/∂y_l is what Q feels of y_l through the J of the layers above. Where all of these are linear, or linear piece
        by piece, it is zero, and the third line falls away. Written to grads, over what lies there, as backward does it.
        Source: Pearlmutter 1994 (Neural Computation 6:147), section 3.
        """
        self.backend.set_threading(self.layers, len(x_dot))
        self._show(None, "curvature", (x_dot, caches))
        grads_of = self._grads_of_layers(grads)
        sweep_curvature(self.layers, x_dot, caches, dys, grads_of, self._first_learner, False, self._show)

    @property
    def piecewise_linear(self) -> bool:
        """True if each output is a linear function of its sample, piece by piece: then no curvature reaches lower layers."""
        return all(isinstance(layer, Linear) or getattr(layer, "d2f", layer) is None for layer in self.layers)

    @ignore_underflow
    def backward_with_slope(
        self, ds: Array, caches: list[Any], x_dot: Callable[[Array], Array], grads: Grads, upstream: Array
    ) -> None:
        """backward(ds t, caches, grads), with the gradient of ẋ · g added, g = ∂(Σ_n s_n)/∂x: one backward pass serves both.

        For a net that is piecewise linear, and one score a sample, s_n = ⟨y_n, t_n⟩ of its output. ds (N, 1); x_dot makes ẋ
        (N, *input_shape) of g; upstream: t (N, *output_shape), 1 where the net puts out s itself.
        With b = ∂(Σ_n s_n)/∂y for each layer, the loss has ∂L/∂y_n = ds_n b_n, and ẋ · g has the gradient Σ_n ẋ_n ⊗ b_n in its
        weight (see curvature), x_n and ẋ_n being the layer's input and its tangent:
            dW = Σ_n (ds_n x_n) ⊗ b_n + Σ_n ẋ_n ⊗ b_n = Σ_n (ds_n x_n + ẋ_n) ⊗ b_n,  db = Σ_n ds_n b_n
        """
        be, of_layer, dys = self.backend, self._grads_of_layers(grads), list[Array]()
        tangent = x_dot(self.backward(upstream, caches, dys=dys))
        for layer, cache, dy, own in zip(self.layers, caches, dys, of_layer, strict=True):
            if isinstance(layer, Linear) and own:
                of_sample = ds.reshape(len(ds), *(1,) * (dy.ndim - 1))
                layer.weight_grad(be.elementwise(scaled_sum, cache, tangent, of_sample), dy, out=own["weight"])
                if layer.has_bias:
                    be.store(be.column_sums(product, dy, of_sample)[0], own["bias"])
            if layer is not self.layers[-1]:
                tangent = layer.tangent(tangent, cache)

    def forward_each(self, xs: Sequence[Array], train: bool = False) -> tuple[tuple[Array, ...], list[Any]]:
        """(outputs, caches) of several batches, each as forward would make it: no statistics of one mix with another's.

        Where every sample's output depends on that sample alone, one pass over all of them gives the same, if that is quicker.
        """
        if self._concatenates(xs):
            for x in xs:
                self.check_input(x, train)
            y, caches = self.forward(self.backend.concatenate(xs), train)
            ends = np.cumsum([len(x) for x in xs]).tolist()
            return tuple(y[end - len(x) : end] for x, end in zip(xs, ends, strict=True)), [caches]
        passes = [self.forward(x, train) for x in xs]
        return tuple(y for y, _ in passes), [caches for _, caches in passes]

    def backward_each(
        self, dys: Sequence[Array], caches: list[Any], grads: Grads | None = None, input_grad: bool = True
    ) -> tuple[Array | None, ...]:
        """backward through the passes of a forward_each: their dx; `grads` gets the sum of their parameter gradients.

        In one pass dW = [x, x̃]ᵀ [dy, dỹ] = xᵀ dy + x̃ᵀ dỹ, which is that sum.
        """
        if len(caches) == 1 < len(dys):
            dx = self.backward(self.backend.concatenate(dys), caches[0], grads, input_grad)
            ends = np.cumsum([len(dy) for dy in dys]).tolist()
            return tuple(None if dx is None else dx[end - len(dy) : end] for dy, end in zip(dys, ends, strict=True))
        dxs = [self.backward(dys[0], caches[0], grads, input_grad)]
        for dy, cache in zip(dys[1:], caches[1:], strict=True):
            more = None if grads is None else self.empty_grads()
            dxs.append(self.backward(dy, cache, more, input_grad))
            if grads is not None and more is not None:
                self.add_grads(grads, more)
        return tuple(dxs)

    def empty_grads(self) -> Views:
        """A vector like flat_grads, with its views by name, to write other gradients to."""
        return Views(self.layers, self.backend.empty(self.flat_grads.shape, self.dtype))

    def add_grads(self, grads: Grads, more: Grads) -> None:
        """grads ← grads + more, for every parameter."""
        if isinstance(grads, Views) and isinstance(more, Views):
            self.backend.elementwise_update(add, (grads.flat,), more.flat)
        else:
            for name, grad in grads.items():
                self.backend.elementwise_update(add, (grad,), more[name])

    def _concatenates(self, xs: Sequence[Array]) -> bool:
        alike = self.watch is None and self.batch_independent
        return alike and len(xs) > 1 and self.backend.concatenates(self.layers, sum(map(len, xs)))

    @property
    def batch_independent(self) -> bool:
        """True if each sample's output depends on that sample alone, and on nothing that a pass draws or moves."""
        return not any(layer.cross_sample or layer.random or layer.state for layer in self.layers)

    def _grads_of_layers(self, grads: Grads | None) -> Sequence[dict[str, Array] | None]:
        if grads is None:
            return [None] * len(self.layers)
        if isinstance(grads, Views):
            return grads.of_layer
        self.check_grads(grads)
        return [{name: grads[f"{layer.index}.{name}"] for name in layer.params} for layer in self.layers]

    def check_grads(self, grads: Grads) -> None:
        """Raises ShapeError unless there is a place for the gradient of each parameter."""
        if missing := self.params.keys() - (grads.keys() if isinstance(grads, Mapping) else set()):
            raise ShapeError(f"grads lacks {', '.join(sorted(missing))}: give an array for each of net.params, or net.grads")

    def _show(self, layer: Layer | None, what: str, value: Any) -> None:
        if self.watch is not None:
            self.watch(layer, what, value)

    def check_input(self, x: Array, train: bool = False, shape: tuple[int, ...] | None = None) -> None:
        """Raises ShapeError unless x is a batch that forward takes. shape: of a sample, where it is made into that input."""
        shape = self.input_shape if shape is None else shape
        if not self.backend.owns(x):
            kind = f"{type(x).__module__}.{type(x).__name__}"
            raise ShapeError(f"x is a {kind}: this network runs on {self.backend.name}; pass net.backend.asarray(x)")
        if x.dtype != self.dtype:
            what = "pixels as (x / 127.5 - 1)" if x.dtype.kind in "biu" else "x"
            raise ShapeError(f"x is {x.dtype}: this network computes in {self.dtype}; pass {what}.astype({self.dtype.name!r})")
        if x.shape[1:] != shape or x.ndim == 0:
            raise ShapeError(f"x has shape {x.shape}: expected (N, {listed(shape)})")
        if x.shape[0] == 0:
            raise ShapeError(f"x has shape {x.shape}: a batch needs at least one sample")
        self.check_batch(len(x), train)

    def check_batch(self, n: int, train: bool) -> None:
        """Raises ShapeError unless every layer takes so many samples. A pass that fails half-way would have moved its state."""
        whole = n * self.backend.ranks.size
        if train and whole < self._pickiest.least_batch:
            needed = f"more than one value per channel to train on: at least {self._pickiest.least_batch} samples"
            self._pickiest.require(False, needed, f"a batch of {whole}")

    # -- parameters ----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Parameters and running statistics as host arrays by name."""
        return {name: self.backend.to_numpy(a).copy() for name, a in {**self.params, **self.state}.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over all values of a state_dict. Raises CheckpointError, and changes nothing, unless names and shapes agree."""
        own = {**self.params, **self.state}
        loaded = checked_state(state, {name: array.shape for name, array in own.items()}, "network")
        on_device = {name: self.backend.asarray(a, self.dtype) for name, a in loaded.items()}
        for name, array in own.items():
            array[...] = on_device[name]

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
