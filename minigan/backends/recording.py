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
        self._result = result
        arrays = list(arrays_in(backend, result))
        self._arrays = {id(a): keep(a) for a in arrays}
        scalars = [a for a in arrays if a.ndim == 0]
        self._scalars = gather(scalars)
        self._gathered = {} if self._scalars is None else {id(a): i for i, a in enumerate(scalars)}

    def copy(self) -> Any:
        """The same structure with arrays of its own."""
        return self._fresh(self._result, None if self._scalars is None else self._scalars.copy())

    def _fresh(self, value: Any, scalars: Array | None) -> Any:
        if isinstance(value, dict):
            return {name: self._fresh(v, scalars) for name, v in value.items()}
        if isinstance(value, (list, tuple)):
            parts = [self._fresh(v, scalars) for v in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)  # the first: a namedtuple
        if scalars is not None and id(value) in self._gathered:
            return scalars[self._gathered[id(value)]]
        return self._arrays[id(value)].copy() if id(value) in self._arrays else value


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
