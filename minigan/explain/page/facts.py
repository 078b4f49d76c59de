"""The small print of a station: shapes, sizes, what a cache holds, and derivatives beside their differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from minigan.backends.recording import arrays_in
from minigan.checks.entries import Comparison
from minigan.explain.page import prose
from minigan.explain.page.place import Place, Way

TOLERANCE = 1e-5  # relative, of derivatives beside their differences


def fact(name: str, value: str | Mapping[str, str]) -> dict[str, Any]:
    """A name and what stands beside it; by branch where the value differs between two passes."""
    return {"name": name, "value": value if isinstance(value, str) else dict(value)}


def shape_fact(name: str, *arrays: np.ndarray) -> dict[str, Any]:
    shapes = " → ".join(f"({', '.join(map(str, a.shape))})" for a in arrays)
    return fact(f"shape of {name}", f"{shapes}, float64; the first axis is the batch")


def size_fact(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Norm, root mean square and largest magnitude over the whole batch; by branch where there are two."""
    words = {
        branch: f"‖·‖ = {norm(a):.4g}, root mean square {_rms(a):.3g}, largest {float(np.abs(a).max()):.3g}"
        for branch, a in arrays.items()
    }
    return fact(f"size of {name}", words.get("", words))


def cache_fact(place: Place) -> dict[str, Any]:
    record = next(iter(place.passes.values()))
    held = list(arrays_in(record.net.backend, record.caches[place.index]))
    after = record.caches[place.index + 1 : place.index + 2]
    shared = any(_same(a, b) for a in held for b in arrays_in(record.net.backend, after))
    sizes = ", ".join(f"({', '.join(map(str, a.shape))}) {a.nbytes / 1024:,.1f} KiB" for a in held)
    return fact(
        "the cache holds", f"{prose.cache(place, next_keeps_it=shared)}{f' [{sizes}]' if sizes else ''}".strip() or "nothing"
    )


def _same(a: Any, b: Any) -> bool:
    """True if two arrays are the same values in the same memory, in whatever shape."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return bool(np.shares_memory(a, b))
    return a is b


def norm(a: np.ndarray) -> float:
    return float(np.linalg.norm(a))


def _rms(a: np.ndarray) -> float:
    return float(np.sqrt(np.mean(a**2)))


def gradient_sizes(ways: Iterable[tuple[str, Way]]) -> list[dict[str, Any]]:
    """The root mean square of ∂L/∂y at every layer, for the chart of gradient sizes. ways: each with the act it belongs to."""
    rows = []
    for act, way in ways:
        for branch, record in way.passes.items():
            for index in reversed(range(len(way))):
                gradient = record.output_grads[index]
                if gradient is not None:
                    name = f"{way.net} {index} {record.net.layers[index].name}"
                    row = {"act": act, "net": way.net, "branch": branch, "index": index, "label": name, "rms": _rms(gradient)}
                    rows.append(row)
    return rows


def checks(of: str, by_branch: Mapping[str, Sequence[Comparison]]) -> list[dict[str, Any]]:
    """Derivatives of one array beside their differences, with the verdict on each."""
    return [
        {
            "of": of,
            "branch": branch,
            "where": list(c.where),
            "analytic": c.analytic,
            "numeric": c.numeric,
            "error": c.error,
            "verdict": _verdict(c),
        }
        for branch, found in by_branch.items()
        for c in found
    ]


def _verdict(c: Comparison) -> str:
    if c.numeric is None or c.error is None:
        return "at a kink"
    if c.error < TOLERANCE:
        return "agrees"
    return "lost in rounding" if abs(c.analytic - c.numeric) < c.uncertainty else "differs"
