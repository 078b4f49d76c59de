"""How networks, layers and states are copied: copy.deepcopy, pickle, state_dict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigan.errors import CheckpointError, MiniganError, shorten

_OF_LAYERS = {"index", "input_shape", "output_shape", "backend", "rng"}  # what a network gives its layers, beside arrays
_OF_NETWORKS = {"layers", "input_shape", "output_shape", "backend", "dtype", "watch", "_first_learner", "_pickiest"}
_ARRAYS = {"flat_params", "flat_grads", "params", "grads", "state"}


class CopiedUnbuilt:
    """A layer: it is copied only as long as it belongs to no network, for then its arrays are parts of the network's."""

    def fresh(self) -> Any:
        """A layer with the same options that belongs to no network yet."""
        twin = object.__new__(type(self))
        given = {*_OF_LAYERS, *vars(self).get("parameters", ()), *vars(self).get("initial_state", ())}
        vars(twin).update({name: value for name, value in vars(self).items() if name not in given})
        twin.__dict__.update(index=None, input_shape=None, output_shape=None)
        twin.__dict__.update(parameters={}, initial_state={}, params={}, state={})
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        if vars(self).get("index") is not None:
            raise MiniganError(f"{self.label} has its arrays in a network: copy the network, or take layer.fresh()")  # type: ignore[attr-defined]
        return super().__reduce_ex__(protocol)


class CopiedByValue:
    """A network: its copies too lie over one flat vector, of which their layers have views; nobody watches them."""

    def __reduce__(self) -> Any:
        net: Any = self
        built = (type(net), [layer.fresh() for layer in net.layers], net.input_shape, net.backend, net.dtype.name)
        rest = {name: value for name, value in vars(net).items() if name not in _OF_NETWORKS | _ARRAYS}
        return _rebuild, built, (rest, net.state_dict(), net.backend.to_numpy(net.flat_grads).copy(), net.random_state)

    def __setstate__(self, state: Any) -> None:
        net: Any = self
        rest, arrays, grads, random_state = state
        vars(net).update(rest)
        net.load_state_dict(arrays)
        net.flat_grads[...] = net.backend.asarray(grads)
        net.random_state = random_state


def _rebuild(kind: type, *parts: Any) -> Any:
    """A network of these parts, by the class that allocates its arrays: a subclass may take other arguments."""
    net: Any = object.__new__(kind)
    base = next(base for base in kind.__mro__ if "_allocate" in vars(base))
    base.__init__(net, *parts)  # type: ignore[misc]
    return net


def checked_state(state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], owner: str) -> dict[str, np.ndarray]:
    """The arrays of a state_dict, or a CheckpointError unless they are real numbers of these names and shapes."""
    missing, unknown = sorted(shapes.keys() - state.keys()), sorted(state.keys() - shapes.keys(), key=str)
    if missing or unknown:
        lacks, excess = shorten(missing, 100), shorten(unknown, 100)
        raise CheckpointError(f"the state is of another {owner}: it lacks {lacks} and has in excess {excess}")
    arrays = {}
    for name, shape in shapes.items():
        value = state[name]
        kind = getattr(getattr(value, "dtype", None), "kind", "O")
        if kind not in "biuf":
            raise CheckpointError(f"{name} is {shorten(value)}: expected an array of real numbers, {shape}")
        if value.shape != shape:
            raise CheckpointError(f"{name} has shape {value.shape}: this {owner} needs {shape}")
        arrays[name] = value
    return arrays


@contextmanager
def undone_on_error(undo: Callable[[], None]) -> Iterator[None]:
    """What is changed within it is changed altogether, or undone."""
    try:
        yield
    except BaseException:
        undo()
        raise
