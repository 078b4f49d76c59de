"""What an explanation is tried on: one layer's passes, and its analytic gradients beside the numeric ones and their parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from minigan.backends import Array, stream
from minigan.checks.differences import Target, chosen_entries, differences
from minigan.layers import Layer
from minigan.network import Sequential

Found = TypeVar("Found")  # of a gradient
MOST_ENTRIES, DRAWN = 1000, 100  # of an array all are varied up to so many; where it has more, so many are drawn
MOST_PARTS = 4_000_000  # numbers; where there would be more, none are kept
DRAWS = 16  # of samples, before a gradient that is 0 on all of them is called 0
FEW = 3  # so many entries at least must bear out a factor that has no name


@dataclass(frozen=True)
class Explanation:
    """What fits: a kind of mistake, and a line on it that goes on from "gradient of weight: "."""

    kind: str
    words: str


@dataclass
class Gradient:
    """One gradient of a layer, found in both ways.

    analytic: NaN where nothing was written. numeric: NaN where it is not known, across a kink or not drawn. parts: the share
    dy_k ∂y_k/∂θ of every single output, of shape (*shape, *y.shape), or None where that would be too large. scale: the largest
    of all the layer's gradients.
    """

    name: str  # of the parameter, or "x"
    value: np.ndarray
    analytic: np.ndarray
    numeric: np.ndarray
    parts: np.ndarray | None
    tolerance: float
    scale: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every entry of the numeric gradient is known."""
        return not bool(np.isnan(self.numeric).any())

    @property
    def wrong(self) -> bool:
        return not self.agree(self.analytic, self.numeric)

    def fits(self, expected: Any) -> bool:
        """Whether the analytic gradient is this, and not the numeric one, and no mere rounding noise."""
        try:
            expected = np.broadcast_to(expected, self.analytic.shape)
        except ValueError:
            return False
        large = np.abs(self.analytic).max(initial=0) > 1e-4 * self.scale
        return bool(large) and self.agree(self.analytic, expected) and not self.agree(self.numeric, expected)

    def agree(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Whether two arrays are equal to the tolerance of the check, wherever the numeric gradient is known."""
        known = ~np.isnan(self.numeric)
        a, b = a[known], b[known]
        if not a.size or not (np.isfinite(a).all() and np.isfinite(b).all()):
            return False
        own = max(np.abs(a).max(), np.abs(b).max())
        floor = max(1e-2 * own, 1e-5 * self.scale, np.finfo(float).tiny)
        return bool((np.abs(a - b) <= self.tolerance * np.maximum(np.maximum(np.abs(a), np.abs(b)), floor)).all())


class Trial:
    """One layer on one input: passes that may be repeated, with the same random numbers, and what they give.

    The layer gets copies of all that it is handed, so that one which writes into it spoils nothing.
    """

    def __init__(self, net: Sequential, layer: Layer, x: Array, train: bool, tolerance: float) -> None:
        self.net, self.layer, self.x, self.train, self.tolerance = net, layer, x.copy(), train, tolerance
        self.be, self.random_state = net.backend, net.random_state
        y, spoilt = self.forward()
        self.single_y, self.single_cache = y.dtype == np.float32, any(a.dtype == np.float32 for a in arrays_in(spoilt))
        self.dy_on_device = self.be.asarray(np.random.default_rng(stream("checks", 1)).standard_normal(y.shape))
        self.x_value, self.y, self.dy = (self.host(array) for array in (self.x, y, self.dy_on_device))
        analytic = self.backward(spoilt)
        self.cache = self.fresh_cache()
        drawn = np.random.default_rng(0)
        arrays = {**layer.params, "x": self.x}
        found = [self._differentiate(name, array, analytic.get(name), drawn) for name, array in arrays.items()]
        scale = max(float(np.nanmax(np.abs(g.numeric), initial=0)) for g in found)
        for gradient in found:
            gradient.scale = scale
        self.gradients = {gradient.name: gradient for gradient in found}

    @property
    def wrong(self) -> list[Gradient]:
        return [gradient for gradient in self.gradients.values() if gradient.wrong]

    def host(self, array: Array) -> np.ndarray:
        """A copy on the host."""
        return np.array(self.be.to_numpy(array))

    def forward(self) -> tuple[Array, Any]:
        self.net.random_state = self.random_state
        return self.layer.forward(self.x.copy(), self.train)

    def backward(self, cache: Any, fill: float = np.nan, params: bool = True, input_grad: bool = True) -> dict[str, np.ndarray]:
        """The analytic gradients by name, where `fill` lay in all of grads before; only those that are asked for."""
        grads = {name: self.be.empty(array.shape, self.net.dtype) for name, array in self.layer.params.items()}
        for grad in grads.values():
            grad[...] = fill
        self.dy_after = self.dy_on_device.copy()
        given = {name: array.copy() for name, array in self.layer.params.items()}
        try:
            dx = self.layer.backward(self.dy_after, cache, grads if params else None, input_grad)
        finally:
            for name, array in given.items():
                self.layer.params[name][...] = array
        found = {name: self.host(grad) for name, grad in grads.items()} if params else {}
        return found | ({} if dx is None else {"x": self.host(dx)})

    def fresh_cache(self) -> Any:
        return self.forward()[1]

    def repeated(self, backward: Callable[[], dict[str, Found]]) -> dict[str, Found]:
        """What a backward pass in other circumstances gives; nothing where the layer cannot run in them."""
        try:
            return backward()
        except Exception:
            return {}

    @cached_property
    def coarse(self) -> bool:
        """Whether y moves in steps, as where forward rounds to float32: by nothing for a move of x that float64 tells well."""
        towards = np.random.default_rng(5).standard_normal(self.x_value.shape)

        def moved(by: float) -> np.ndarray:
            self.net.random_state = self.random_state
            return self.host(self.layer.forward(self.be.asarray(self.x_value + by * towards, self.net.dtype), self.train)[0])

        follows = np.abs(moved(1e-3) - self.y) > 1e-6 * np.maximum(1, np.abs(self.y))
        if follows.sum() <= FEW:
            return False
        still, jumps = ((moved(by) == self.y)[follows].mean() for by in (1e-11, 3e-6))
        return bool(still > 0.9 and jumps < 0.5)

    @cached_property
    def y_of_single(self) -> np.ndarray:
        """y of x with each value rounded to float32."""
        self.net.random_state = self.random_state
        return self.host(self.layer.forward(self.be.asarray(self.x_value.astype(np.float32), self.net.dtype), self.train)[0])

    def redrawn(self, name: str) -> Trial | None:
        """The same layer on other samples, of which the analytic gradient of that name is not 0; None where it always is."""
        for seed in range(DRAWS):
            x = self.be.asarray(np.random.default_rng((4, seed)).standard_normal(self.x.shape))
            self.net.random_state = self.random_state
            found = self.repeated(lambda x=x: self.backward(self.layer.forward(x.copy(), self.train)[1]))  # type: ignore[misc]
            if name in found and np.isfinite(found[name]).all() and found[name].any():
                return self._other(x, self.train)
        return None

    @cached_property
    def doubled(self) -> Trial | None:
        """The same layer on the samples and as many others; None where it cannot take so many."""
        more = self.be.asarray(np.random.default_rng(3).standard_normal(self.x.shape))
        return self._other(self.be.xp.concatenate([self.x, more]), self.train)

    @cached_property
    def other_mode(self) -> Trial | None:
        """The same layer and samples at inference instead of in training, or the other way round; None where that fails."""
        return self._other(self.x, not self.train)

    def again(self) -> Trial | None:
        """The same, for where the samples or the parameters have other values now."""
        return self._other(self.x, self.train)

    def _other(self, x: Array, train: bool) -> Trial | None:
        """A trial in other circumstances, after which the layer's state is as it was: training passes move it."""
        state = {name: array.copy() for name, array in self.layer.state.items()}
        try:
            return Trial(self.net, self.layer, x, train, self.tolerance)
        except Exception:
            return None
        finally:
            self.net.random_state = self.random_state
            for name, array in state.items():
                self.layer.state[name][...] = array

    def _differentiate(self, name: str, array: Array, analytic: np.ndarray | None, rng: np.random.Generator) -> Gradient:
        recent: deque[np.ndarray] = deque(maxlen=4)  # y at h, −h, 2h and −2h

        def evaluate() -> tuple[Array, list[Array]]:
            y, cache = self.forward()
            recent.append(self.host(y))
            signature = self.layer.branch_signature(cache)
            return y.copy(), [] if signature is None else [signature]

        analytic = _in_shape(analytic, array.shape)
        target = Target(name, array, np.nan_to_num(analytic))
        indices: Sequence[int] = range(array.size)
        if array.size > MOST_ENTRIES:
            indices = np.sort(rng.choice(array.size, DRAWN, replace=False)).tolist()
        numeric = np.full(array.shape, np.nan)
        parts = np.full((*array.shape, *self.y.shape), np.nan) if array.size * self.y.size <= MOST_PARTS else None
        probes = chosen_entries(target, indices)
        for where, _, slope, h in differences(self.be, evaluate, self.dy_on_device, target, probes):
            if slope is not None:
                numeric[where] = slope
                if parts is not None:
                    near, far = recent[0] - recent[1], recent[2] - recent[3]
                    parts[where] = self.dy * (8 * near - far) / (12 * h)
        return Gradient(name, self.host(array), analytic, numeric, parts, self.tolerance)


def _in_shape(analytic: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """A gradient in the shape that it should have, as it broadcasts; NaN where that cannot be."""
    try:
        return np.array(np.broadcast_to(np.nan if analytic is None else analytic, shape))
    except ValueError:
        return np.full(shape, np.nan)


def arrays_in(cache: Any) -> list[Array]:
    """All arrays in a cache, however it is nested."""
    return [array for _, array in places_in(cache)]


def places_in(cache: Any, place: str = "cache") -> list[tuple[str, Array]]:
    """(how to reach it, the array) for all arrays in a cache: cache[1], cache["mask"], …"""
    if isinstance(cache, (dict, tuple, list)):
        parts = cache.items() if isinstance(cache, dict) else enumerate(cache)
        return [found for key, part in parts for found in places_in(part, f"{place}[{key!r}]")]
    return [(place, cache)] if hasattr(cache, "dtype") and hasattr(cache, "copy") else []


def replaced(cache: Any, replace: Callable[[Any], Any]) -> Any:
    """The same cache with other values in it."""
    if isinstance(cache, dict):
        return {name: replaced(value, replace) for name, value in cache.items()}
    if isinstance(cache, (tuple, list)):
        return type(cache)([replaced(value, replace) for value in cache])
    return replace(cache)


def is_single(array: np.ndarray) -> bool:
    """Whether all values are those of float32 numbers."""
    return bool((array == array.astype(np.float32)).all())
