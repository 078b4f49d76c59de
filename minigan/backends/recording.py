"""What the recordings of all backends share: results that each replay must copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from minigan.backends.base import Array, Backend


class Results:
    """The arrays within what a step returned (an array, or dicts, lists and tuples of them).

    gather: makes one vector of those without axes, or None, within the step itself: a handful of statistics then is one copy.
    keep: what is kept of an array, on the same memory.
    """

    def __init__(
        self,
        backend: Backend,
        result: Any,
        gather: Callable[[list[Array]], Array | None] = lambda scalars: None,
        keep: Callable[[Array], Array] = lambda array: array,
    ) -> None:
        kept = {id(a): keep(a) for a in arrays_in(backend, result)}
        scalars = [a for a in kept.values() if a.ndim == 0]
        self._held = result  # whose memory the replay writes to
        self._result = self._map(result, lambda leaf: kept.get(id(leaf), leaf))
        self._arrays = {id(a) for a in kept.values()}
        self._scalars = gather(scalars)
        self._gathered = {} if self._scalars is None else {id(a): i for i, a in enumerate(scalars)}

    def copy(self) -> Any:
        """The same structure with arrays of its own."""
        scalars = None if self._scalars is None else self._scalars.copy()

        def fresh(leaf: Any) -> Any:
            if scalars is not None and id(leaf) in self._gathered:
                return scalars[self._gathered[id(leaf)]]
            return leaf.copy() if id(leaf) in self._arrays else leaf

        return self._map(self._result, fresh)

    def _map(self, value: Any, change: Callable[[Any], Any]) -> Any:
        """The same structure with its leaves changed."""
        if isinstance(value, dict):
            return {name: self._map(v, change) for name, v in value.items()}
        if isinstance(value, (list, tuple)):
            parts = [self._map(v, change) for v in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)  # the first: a namedtuple
        return change(value)


def tree_leaves(value: Any) -> Iterator[Any]:
    """What is within value, without the dicts, lists and tuples around it; a dict's keys too."""
    if isinstance(value, dict):
        value = [part for pair in value.items() for part in pair]
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from tree_leaves(part)
    else:
        yield value


def arrays_in(backend: Backend, value: Any) -> Iterator[Array]:
    """Every array of this backend within value."""
    return (leaf for leaf in tree_leaves(value) if backend.owns(leaf))
