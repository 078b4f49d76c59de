"""The worked examples by name. An example registers itself with @example where it is written, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigan.explain.worked.calculator import Working

Example = Callable[[Working], None]
EXAMPLES: dict[str, tuple[Any, Example]] = {}  # name -> (the layer, loss or optimiser; what writes its example)


def example(subject: Any) -> Callable[[Example], Example]:
    """Register a function as the worked example of a layer, loss or optimiser."""

    def register(write: Example) -> Example:
        EXAMPLES[subject.__name__] = (subject, write)
        return write

    return register
