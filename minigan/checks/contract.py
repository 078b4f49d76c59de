"""The layers that a user's file defines: their gradients, and what they break of the layer contract."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends import Array, Backend, get_backend
from minigan.checks.gradients import TOLERANCE, Report, check_layer, moved_network
from minigan.errors import MiniganError, UserFileError
from minigan.layers import Layer
from minigan.user_code import describe_error, run_file

Case = tuple[Layer, tuple[int, ...]]  # a layer, and its input shape without the batch axis


def check_contract(
    layer: Layer, input_shape: Sequence[int], *, train: bool = True, batch: int = 3, backend: str | Backend = "auto"
) -> list[str]:
    """What a layer breaks of the contract that Layer's docstring states, a sentence each; none for a layer that keeps it.

    Gradients may be right and a network still fail: a layer that remembers its last pass mixes real and generated images, one
    that replaces gradients in place of adding to them loses the real half of L_D. Right gradients are check_layer's business.
    """
    broken: list[str] = []
    rng = np.random.default_rng(2)
    net = moved_network(layer.fresh(), input_shape, backend, "float64", rng)
    be, layer = net.backend, net.layers[0]
    x, other = (be.asarray(rng.standard_normal((n, *input_shape))) for n in (batch, batch + 1))
    random_state, params, state = net.random_state, net.flat_params.copy(), net.state_dict()

    def promise(kept: bool, otherwise: str) -> None:
        if not kept and otherwise not in broken:
            broken.append(otherwise)

    given = x.copy()
    passed = layer.forward(x, train)
    if not (isinstance(passed, tuple) and len(passed) == 2):
        return [f"forward must return (y, cache), it returns {type(passed).__name__}"]
    y, cache = passed
    shape = (batch, *net.output_shape)
    if getattr(y, "shape", None) != shape:
        return [f"build promises an output {shape}, forward returns {getattr(y, 'shape', type(y).__name__)}"]
    promise(_same(x, given), "forward writes to x")
    net.random_state = random_state
    promise(
        _same(layer.forward(x, train)[0], y) or bool(net.state and train),
        "forward gives another y for the same x: draw random numbers from self.rng, and set random = True",
    )
    still = all(_same(state[name], value) for name, value in net.state_dict().items() if name in net.state)
    promise(train or still, "forward changes its state at inference, train=False")

    dy = be.asarray(rng.standard_normal(shape))
    given_dy, given_cache = dy.copy(), [array.copy() for array in _arrays(cache)]
    net.zero_grads()
    views = dict(layer.grads)
    first = layer.backward(dy, cache)
    replaced = next((name for name, view in views.items() if layer.grads.get(name) is not view), None)
    if replaced:
        return [*broken, f"backward puts another array in place of self.grads[{replaced!r}]: add to the one there, by +="]
    if first is None or getattr(first, "shape", None) != x.shape:
        return [*broken, f"backward must return dx {x.shape}, it returns {getattr(first, 'shape', type(first).__name__)}"]
    dx, once = first.copy(), net.flat_grads.copy()
    promise(_same(dy, given_dy), "backward writes to dy")
    unwritten = all(_same(a, b) for a, b in zip(_arrays(cache), given_cache, strict=True))
    promise(unwritten, "backward writes to the cache")
    promise(_same(net.flat_params, params), "a pass changes parameters")
    if broken:
        return broken  # what is tried next would only show the same again

    again = layer.backward(dy, cache)
    promise(_same(again, dx), "backward called twice on one cache gives two different dx")
    added = _same(net.flat_grads, 2 * once)
    promise(added, "backward must add to self.grads: two calls must leave twice the gradient")

    net.flat_grads[...] = 7
    blind = layer.backward(dy, cache, param_grads=False)
    promise(_same(net.flat_grads, 7 + 0 * once), "backward with param_grads=False changes self.grads")
    promise(blind is not None and _same(blind, dx), "backward with param_grads=False gives another dx")

    net.zero_grads()
    silent = layer.backward(dy, cache, input_grad=False)
    promise(silent is None, "backward with input_grad=False must return None")
    promise(_same(net.flat_grads, once), "backward with input_grad=False gives other parameter gradients")

    net.flat_grads[...] = 7
    net.backward(dy, [cache], accumulate=False)
    direct = "`direct` must name the parameters whose gradients backward makes by add_grad alone, and no other"
    promise(_same(net.flat_grads, once), direct)

    layer.forward(other, train)
    net.zero_grads()
    try:
        later = layer.backward(dy, cache)
        alone = _same(later, dx) and _same(net.flat_grads, once)
    except Exception:
        alone = False  # it worked before the other pass
    promise(alone, "backward uses what another forward pass left in the layer: keep it in the cache, not in self")

    single = moved_network(layer.fresh(), input_shape, be, "float32", rng)
    y, cache = single.layers[0].forward(be.asarray(given, "float32"), train)
    dx = single.layers[0].backward(be.asarray(given_dy, "float32"), cache)
    for name, arrays in {"y": [y], "the cache": _arrays(cache), "dx": _arrays(dx)}.items():
        promise(all(array.dtype != np.float64 for array in arrays), f"float32 does not stay float32: {name} is float64")
    return broken


def _same(a: Array, b: Array) -> bool:
    """Equal but for rounding, for sums may be added up in another order; a NaN, which the gradients show, is equal to all."""
    return a.shape == b.shape and not bool((abs(a - b) > 1e-12 * (abs(a) + abs(b)) + 1e-14).any())


def _arrays(cache: Any) -> list[Array]:
    """All arrays in a cache, however it is nested."""
    if isinstance(cache, dict):
        cache = list(cache.values())
    if isinstance(cache, (tuple, list)):
        return [array for part in cache for array in _arrays(part)]
    return [cache] if hasattr(cache, "dtype") and hasattr(cache, "copy") else []


def check_file(path: str | Path, backend: str | Backend = "auto") -> Iterator[Report]:
    """Check the layers that a Python file names in its list CHECKS = [(layer, input shape), …], one report for each.

    A report holds the gradients in training and at inference, and what the layer breaks of the layer contract. Every check is
    made on layer.fresh(). Raises UserFileError before the first report if the file cannot be read or run, or has no such list,
    and when a layer refuses its shape.
    """
    path = Path(path)
    cases = _load_cases(path)
    return (_check_case(path, number, layer, shape, get_backend(backend)) for number, (layer, shape) in enumerate(cases))


def _check_case(path: Path, number: int, layer: Layer, shape: tuple[int, ...], be: Backend) -> Report:
    report = Report(f"{layer!r} on {shape}", TOLERANCE)
    if type(layer).branch_signature is Layer.branch_signature:
        report.hint = (
            "if the formula has a kink (max, abs, …), branch_signature(cache) must say on which side of it each value lay"
        )
    try:
        made = layer.fresh().build(shape)
        if not isinstance(made, tuple) or not all(isinstance(n, (int, np.integer)) for n in made):
            report.broken.append(f"build must return the output shape without the batch axis, as {shape}; it returns {made!r}")
            return report
        for train, mode in ((True, "in training"), (False, "at inference")):
            broken = check_contract(layer, shape, train=train, backend=be)
            report.broken += [f"{sentence} ({mode})" for sentence in broken]
            if any(sentence.startswith("forward must return") for sentence in broken):
                continue  # there is no gradient to check
            for row in check_layer(layer.fresh(), shape, backend=be, train=train).rows:
                row.name = f"{row.name.removeprefix('0.')} {mode}"
                report.rows.append(row)
    except MiniganError as error:
        if not _inside(error, "build"):
            report.broken.append(describe_error(error, path))
        else:
            raise UserFileError(f"{path}: CHECKS[{number}], shape {shape}: {error}") from None
    except Exception as error:
        report.broken.append(describe_error(error, path))
    return report


def _inside(error: BaseException, function: str) -> bool:
    return any(frame.name == function for frame in traceback.extract_tb(error.__traceback__))


def _load_cases(path: Path) -> list[Case]:
    module = run_file(path)
    own = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Layer) and value.__module__ == module.__name__
    ]
    form = f"[({own[0] if own else 'MyLayer'}(), (4, 4, 3))]"
    if not hasattr(module, "CHECKS"):
        found = f"defines {', '.join(own)} but no list CHECKS" if own else "defines no layer and no list CHECKS"
        raise UserFileError(
            f"{path} {found}: say what to check by a line of (layer, input shape without the batch axis), as CHECKS = {form}"
        )
    cases = module.CHECKS
    if not isinstance(cases, (list, tuple)) or not cases:
        raise UserFileError(f"{path}: CHECKS is {cases!r}: expected a list of (layer, input shape), as {form}")
    return [_as_case(case, f"{path}: CHECKS[{number}]", form) for number, case in enumerate(cases)]


def _as_case(case: Any, where: str, form: str) -> Case:
    wanted = f"expected (layer, input shape), as in {form}"
    if not isinstance(case, (tuple, list)) or len(case) != 2:
        raise UserFileError(f"{where} is {case!r}: {wanted}")
    layer, shape = case
    if isinstance(layer, type) and issubclass(layer, Layer):
        raise UserFileError(f"{where} holds the class {layer.__name__}: write a layer, {layer.__name__}()")
    if not isinstance(layer, Layer):
        raise UserFileError(f"{where} holds {layer!r}, which is no minigan.Layer: {wanted}")
    if "options" not in vars(layer):
        raise UserFileError(f"{where}: {layer.name}.__init__ must call super().__init__(**options)")
    sizes = shape if isinstance(shape, (tuple, list)) else ()
    if not sizes or not all(isinstance(n, int) and n >= 1 for n in sizes):
        raise UserFileError(
            f"{where} has the shape {shape!r}: expected whole numbers without the batch axis, as (4, 4, 3) or (5,)"
        )
    return layer, tuple(sizes)
