"""How networks, layers and states are copied: copy.deepcopy, pickle, state_dict."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigan.errors import CheckpointError, MiniganError, shorten

_OF_LAYERS = {"index", "input_shape", "output_shape", "backend", "rng"}  # what a network gives its layers, beside arrays
_OF_NETWORKS = {"layers", "input_shape", "output_shape", "backend", "dtype", "watch", "_first_learner", "_pickiest"}
_NAMED = ("params", "grads", "state")  # its arrays by name
_ARRAYS = {"flat_params", "flat_grads", *_NAMED}


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

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        rebuild, built, rest = self.__reduce__()
        twin = memo[id(self)] = rebuild(*copy.deepcopy(built, memo))
        memo.update(parts_by_identity(self, twin))  # so that whoever keeps a part of the network gets that of its copy
        twin.__setstate__(copy.deepcopy(rest, memo))
        return twin

    def __setstate__(self, state: Any) -> None:
        net: Any = self
        rest, arrays, grads, random_state = state
        vars(net).update(rest)
        net.load_state_dict(arrays)
        net.flat_grads[...] = net.backend.asarray(grads)
        net.random_state = random_state


class CopiedAfterItsNetworks:
    """A game: what it keeps of its networks, a layer or an array, its deep copy keeps of its own networks."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copy.deepcopy(self._own_networks(), memo)
        self._refuse_parting(memo, "keep the whole array")
        return _remade(self, memo)

    def __copy__(self) -> Any:
        return _remade(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._refuse_parting({}, "copy.deepcopy keeps it")
        return super().__reduce_ex__(protocol)

    def _own_networks(self) -> list[Any]:
        own = [value for value in vars(self).values() if isinstance(value, CopiedByValue)]
        return [*self.networks.values(), *own]  # type: ignore[attr-defined]

    def _refuse_parting(self, copied: Mapping[int, Any], advice: str) -> None:
        """Raise MiniganError for an array that is a part of a network's and would be one of its own in the copy."""
        vectors = [vector for net in self._own_networks() for vector in (net.flat_params, net.flat_grads)]
        for name, value in _arrays_within(vars(self)):
            if id(value) not in copied and any(np.may_share_memory(value, vector) for vector in vectors):
                raise MiniganError(f"{name} lies in a network's arrays, and a copy would be an array of its own: {advice}")


def _arrays_within(values: Mapping[Any, Any]) -> Iterator[tuple[Any, np.ndarray]]:
    """(the attribute's name, array) for the host arrays in attributes, lists, tuples and dicts."""
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            yield name, value
        elif isinstance(value, (list, tuple, dict)):
            parts = value if isinstance(value, dict) else dict(enumerate(value))
            yield from ((name, array) for _, array in _arrays_within(parts))


def _remade(original: Any, memo: dict[int, Any] | None = None) -> Any:
    """A copy by the protocol of pickles, which an object's own __deepcopy__ keeps copy.deepcopy from; deep with a memo."""
    reduced: Any = object.__reduce_ex__(original, 4)
    make, arguments, state, *_ = reduced
    twin = make(*arguments)
    if memo is not None:
        memo[id(original)] = twin
        state = copy.deepcopy(state, memo)
    if hasattr(twin, "__setstate__"):
        twin.__setstate__(state)
        return twin
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    vars(twin).update(attributes or {})
    for name, value in (slots or {}).items():
        setattr(twin, name, value)
    return twin


def parts_by_identity(net: Any, twin: Any) -> dict[int, Any]:
    """id(a part of a network) -> that part of its twin: the layers, the flat vectors and all views of them."""
    parts = {id(getattr(net, name)): getattr(twin, name) for name in ("layers", "flat_params", "flat_grads", *_NAMED)}
    parts |= {id(layer): other for layer, other in zip(net.layers, twin.layers, strict=True)}
    for name in _NAMED:
        parts |= {id(array): getattr(twin, name)[key] for key, array in getattr(net, name).items()}
    return parts


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
