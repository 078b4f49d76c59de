"""What a layer must keep besides right gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigan.backends import Array, Backend
from minigan.checks.gradients import moved_network
from minigan.checks.mistakes.evidence import arrays_in
from minigan.layers import Layer
from minigan.network import Sequential, Views


def check_contract(
    layer: Layer, input_shape: Sequence[int], *, train: bool = True, batch: int = 3, backend: str | Backend = "auto"
) -> list[str]:
    """What a layer breaks of the contract that Layer's docstring states, a sentence each; none for a layer that keeps it.

    Gradients may be right and a network still fail: a layer that remembers its last pass mixes real and generated images, one
    that adds to what grads holds is right once and wrong ever after. Right gradients are check_layer's business.
    """
    rng = np.random.default_rng(2)
    net = moved_network(layer.fresh(), input_shape, backend, "float64", rng)
    be = net.backend
    x, other = (be.asarray(rng.standard_normal((n, *input_shape))) for n in (batch, batch + 1))
    check = _Contract(net, x, train)
    dy = be.asarray(rng.standard_normal((batch, *net.output_shape)))
    if check.forward() and check.backward(dy):
        check.switches(dy)
        check.two_passes(dy, other)
        check.dtype(dy, moved_network(layer.fresh(), input_shape, be, "float32", rng))
    return check.broken


class _Contract:
    """The passes of one layer on x, and what they break."""

    def __init__(self, net: Sequential, x: Array, train: bool) -> None:
        self.net, self.layer, self.x, self.train = net, net.layers[0], x, train
        self.broken: list[str] = []

    def promise(self, kept: bool, otherwise: str) -> None:
        if not kept and otherwise not in self.broken:
            self.broken.append(otherwise)

    def grads(self, left: float = 0.0) -> Views:
        """Room for gradients, where this was left from before."""
        grads = Views(self.net.layers, self.net.backend.empty(self.net.flat_grads.shape, self.net.dtype))
        grads.flat[...] = left
        return grads

    def forward(self) -> bool:
        """Whether there is an output to go on with."""
        net, layer, x, train = self.net, self.layer, self.x, self.train
        random_state, state, given = net.random_state, net.state_dict(), x.copy()
        passed = layer.forward(x, train)  # the passes after it get copies: this one may have written to x
        if not (isinstance(passed, tuple) and len(passed) == 2):
            self.broken.append(f"forward must return (y, cache), it returns {type(passed).__name__}")
            return False
        y, self.cache = passed
        shape = (len(x), *net.output_shape)
        if getattr(y, "shape", None) != shape:
            got = getattr(y, "shape", type(y).__name__)
            self.broken.append(f"build promises an output {shape}, forward returns {got}")
            return False
        self.promise(_same(x, given), "forward writes to x")

        def start_again() -> None:
            net.random_state = random_state
            net.load_state_dict(state)

        start_again()
        self.promise(
            _same(layer.forward(given.copy(), train)[0], y),
            "forward gives another y for the same x: draw random numbers from self.rng, and set random = True",
        )
        still = all(_same(state[name], value) for name, value in net.state_dict().items() if name in net.state)
        self.promise(train or still, "forward changes its state at inference, train=False")
        if not layer.cross_sample:
            start_again()
            alone = layer.forward(given[:1].copy(), train)[0]
            self.promise(
                layer.random or _same(alone, y[:1]), "one sample's output depends on the others: set cross_sample = True"
            )
        return True

    def backward(self, dy: Array) -> bool:
        """Whether the pass is right as far as that goes; what is tried next would only show the same again."""
        layer, cache, params = self.layer, self.cache, self.net.flat_params.copy()
        given_dy, given_cache, written = dy.copy(), [array.copy() for array in arrays_in(cache)], self.grads(left=np.nan)
        views = dict(written.of_layer[0])
        first = layer.backward(dy, cache, written.of_layer[0])
        replaced = next((name for name, view in views.items() if written.of_layer[0].get(name) is not view), None)
        if replaced:
            self.broken.append(
                f"backward puts another array in grads[{replaced!r}]: write into the one there, grads[{replaced!r}][...] = …"
            )
            return False
        if first is None or getattr(first, "shape", None) != self.x.shape:
            got = getattr(first, "shape", type(first).__name__)
            self.broken.append(f"backward must return dx {self.x.shape}, it returns {got}")
            return False
        self.dx, self.once, self.written = first.copy(), written.flat.copy(), written.of_layer[0]
        self.promise(_same(dy, given_dy), "backward writes to dy")
        unchanged = all(_same(a, b) for a, b in zip(arrays_in(cache), given_cache, strict=True))
        self.promise(unchanged, "backward writes to the cache")
        self.promise(_same(self.net.flat_params, params), "a pass changes parameters")
        return not self.broken

    def switches(self, dy: Array) -> None:
        layer, cache, again = self.layer, self.cache, self.grads(left=7)
        same_dx = _same(layer.backward(dy, cache, again.of_layer[0]), self.dx)
        self.promise(same_dx, "backward called twice on one cache gives two different dx")
        for name, grad in self.written.items():  # a NaN that is not one again was there before, and not computed
            kept = bool(((grad != grad) & (again.of_layer[0][name] == again.of_layer[0][name])).any())
            self.promise(
                not kept, f"backward does not write all of grads[{name!r}], or adds to it: it must overwrite all of it"
            )
        self.promise(_same(again.flat, self.once), "backward must overwrite grads: it keeps what lay there before")
        blind = layer.backward(dy, cache, None)
        self.promise(blind is not None and _same(blind, self.dx), "backward with grads=None gives another dx")
        silent_grads = self.grads()
        silent = layer.backward(dy, cache, silent_grads.of_layer[0], False)
        self.promise(silent is None, "backward with input_grad=False must return None")
        self.promise(_same(silent_grads.flat, self.once), "backward with input_grad=False gives other parameter gradients")

    def two_passes(self, dy: Array, other: Array) -> None:
        self.layer.forward(other, self.train)
        grads = self.grads()
        try:
            later = self.layer.backward(dy, self.cache, grads.of_layer[0])
            alone = _same(later, self.dx) and _same(grads.flat, self.once)
        except Exception:
            alone = False  # it worked before the other pass
        self.promise(alone, "backward uses what another forward pass left in the layer: keep it in the cache, not in self")

    def dtype(self, dy: Array, single: Sequential) -> None:
        be, layer = single.backend, single.layers[0]
        y, cache = layer.forward(be.asarray(self.x, "float32"), self.train)
        dx = layer.backward(be.asarray(dy, "float32"), cache, single.grads.of_layer[0])
        for name, arrays in {"y": [y], "the cache": arrays_in(cache), "dx": arrays_in(dx)}.items():
            kept = all(array.dtype != np.float64 for array in arrays)
            self.promise(kept, f"float32 does not stay float32: {name} is float64")


def _same(a: Array, b: Array) -> bool:
    """Equal but for rounding, for sums may be added up in another order; a NaN, which the gradients show, is equal to all."""
    return a.shape == b.shape and not bool((abs(a - b) > 1e-12 * (abs(a) + abs(b)) + 1e-14).any())
