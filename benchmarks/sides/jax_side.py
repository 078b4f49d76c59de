"""JAX: the whole step in one jitted function, in NHWC, with Adam written out and the old weights given up to the new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from jax.flatten_util import ravel_pytree

from benchmarks.sides.base import (
    Inputs,
    Prepared,
    Side,
    UnsupportedError,
    d_steps,
    proof_of,
    refuse_unless_plain,
)

Weights = dict[str, Any]
_NHWC = ("NHWC", "HWIO", "NHWC")
_ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "ReLU": jax.nn.relu,
    "LeakyReLU": lambda x, slope: jnp.where(x > 0, x, slope * x),
    "Tanh": jnp.tanh,
    "Sigmoid": jax.nn.sigmoid,
    "Softplus": jax.nn.softplus,
}


def dense(w: Weights, x: Any) -> Any:
    y = x @ w["weight"]
    return y + w["bias"] if "bias" in w else y


def conv(w: Weights, x: Any, stride: int, padding: int) -> Any:
    y = lax.conv_general_dilated(x, w["weight"], (stride, stride), [(padding, padding)] * 2, dimension_numbers=_NHWC)
    return y + w["bias"] if "bias" in w else y


def conv_transpose(w: Weights, x: Any, stride: int, padding: int) -> Any:
    border = w["weight"].shape[0] - 1 - padding
    sizes = {"strides": (stride, stride), "padding": [(border, border)] * 2, "dimension_numbers": _NHWC}
    y = lax.conv_transpose(x, w["weight"], **sizes, transpose_kernel=True)
    return y + w["bias"] if "bias" in w else y


def batch_norm(w: Weights, x: Any, train: bool = True) -> tuple[Any, Weights]:
    """(y, the running statistics after this pass)"""
    axes, running = tuple(range(x.ndim - 1)), {"running_mean": w["running_mean"], "running_var": w["running_var"]}
    if train:
        count = x.size // x.shape[-1]
        mean, var = x.mean(axes), x.var(axes)
        new = {"running_mean": mean, "running_var": var * (count / (count - 1))}
        running = {name: old + 0.1 * (new[name] - old) for name, old in running.items()}
    else:
        mean, var = w["running_mean"], w["running_var"]
    return (x - mean) * lax.rsqrt(var + 1e-5) * w["gamma"] + w["beta"], running


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Dense": lambda w, x, **sizes: dense(w, x),
    "Conv2d": lambda w, x, stride=1, padding=0, **sizes: conv(w, x, stride, padding),
    "ConvTranspose2d": lambda w, x, stride=1, padding=0, **sizes: conv_transpose(w, x, stride, padding),
    "Reshape": lambda w, x, shape: x.reshape(len(x), *shape),
    "Flatten": lambda w, x: x.reshape(len(x), -1),
    **{name: lambda w, x, function=function, **options: function(x, **options) for name, function in _ACTIVATIONS.items()},
}


def network(layers: list[dict[str, Any]], w: dict[str, Weights], x: Any, train: bool = True) -> tuple[Any, dict[str, Weights]]:
    """(y, the running statistics after this pass) of a task's network"""
    running = {}
    for index, layer in enumerate(layers):
        own = w.get(str(index), {})
        if layer["name"] == "BatchNorm":
            x, running[str(index)] = batch_norm(own, x, train)
        else:
            x = _FUNCTIONS[layer["name"]](own, x, **layer["options"])
    return x, running


def adam(w: Any, m: Any, v: Any, dw: Any, t: Any, lr: float, betas: Sequence[float]) -> tuple[Any, Any, Any]:
    b1, b2 = betas
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, dw)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, dw)
    c1, c2 = 1 - b1**t, 1 - b2**t
    w = jax.tree.map(lambda w, m, v: w - lr * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), w, m, v)
    return w, m, v


def moving_average(average: Any, now: Any, t: Any, decay: float) -> Any:
    """The decay rises as (1 + t) / (10 + t) up to `decay`."""
    rate = 1 - jnp.minimum(decay, (1 + t) / (10 + t))
    return jax.tree.map(lambda a, w: a + rate * (w - a), average, now)


def split(weights: dict[str, Weights]) -> tuple[dict[str, Weights], dict[str, Weights]]:
    """(what is learned, the running statistics)"""
    learned = {i: {n: a for n, a in layer.items() if not n.startswith("running")} for i, layer in weights.items()}
    running = {i: {n: a for n, a in layer.items() if n.startswith("running")} for i, layer in weights.items()}
    return learned, {i: layer for i, layer in running.items() if layer}


def join(learned: dict[str, Weights], running: dict[str, Weights]) -> dict[str, Weights]:
    return {i: {**layer, **running.get(i, {})} for i, layer in learned.items()}


def flat(tree: Any) -> np.ndarray:
    """All arrays of a tree in one row."""
    return np.asarray(ravel_pytree(tree)[0])


class JaxSide(Side):
    def __init__(self, device: str) -> None:
        jnp.zeros(1).block_until_ready()
        self._device = device
        self._last: Any = None

    def versions(self) -> dict[str, str]:
        return {"jax": jax.__version__, "device": jax.devices()[0].device_kind}

    def synchronize(self) -> None:
        jax.block_until_ready(self._last)

    def _keep(self, value: Any) -> Any:
        """Remember what to wait for."""
        self._last = value
        return value

    @staticmethod
    def _weights(inputs: Inputs, prefix: str) -> dict[str, Weights]:
        weights: dict[str, Weights] = {}
        for name, array in inputs.items():
            if name.startswith(f"{prefix}."):
                _, index, which = name.split(".")
                weights.setdefault(index, {})[which] = jnp.array(array)
        return weights

    def step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        refuse_unless_plain(task)
        if self._device == "gpu":  # where the default is TF32
            jax.config.update("jax_default_matmul_precision", "tensorfloat32" if task["precision"] == "tf32" else "highest")
        layers_g, layers_d, training = task["generator"]["layers"], task["discriminator"]["layers"], task["training"]
        update, decay = partial(adam, lr=training["lr"], betas=training["betas"]), training["ema"]

        def loss_d(d: Any, running: Any, real: Any, fake: Any) -> Any:
            s_real, running_1 = network(layers_d, join(d, running), real)
            s_fake, running_2 = network(layers_d, join(d, running_1), fake)
            loss = jax.nn.softplus(-s_real).mean() + jax.nn.softplus(s_fake).mean()
            return loss, (running_2, jax.nn.sigmoid(s_real).mean(), jax.nn.sigmoid(s_fake).mean())

        def step(state: Any, real: Any, z: Any) -> Any:
            g, g_running, g_m, g_v, d, d_running, d_m, d_v, t, average = state
            t = t + 1
            fake, backward, g_running = jax.vjp(lambda g: network(layers_g, join(g, g_running), z), g, has_aux=True)
            (value_d, aux), grads = jax.value_and_grad(loss_d, has_aux=True)(d, d_running, real, fake)
            d_running, prob_real, prob_fake = aux
            d, d_m, d_v = update(d, d_m, d_v, grads, t)

            def loss_g(fake: Any) -> Any:
                s_fake, running = network(layers_d, join(d, d_running), fake)
                return jax.nn.softplus(-s_fake).mean(), running

            (value_g, d_running), d_fake = jax.value_and_grad(loss_g, has_aux=True)(fake)
            g, g_m, g_v = update(g, g_m, g_v, backward(d_fake)[0], t)
            average = moving_average(average, (g, g_running), t, decay) if decay else None
            return (g, g_running, g_m, g_v, d, d_running, d_m, d_v, t, average), (value_d, value_g, prob_real, prob_fake)

        (g, g_running), (d, d_running) = (split(self._weights(inputs, p)) for p in ("generator", "discriminator"))
        zeros = [jax.tree.map(jnp.zeros_like, tree) for tree in (g, g, d, d)]
        average = jax.tree.map(jnp.copy, (g, g_running)) if decay else None
        state = (g, g_running, *zeros[:2], d, d_running, *zeros[2:], jnp.float32(0), average)
        jitted = jax.jit(step, donate_argnums=0)
        real, z = [jnp.array(x) for x in inputs["real"]], [jnp.array(a) for a in inputs["z"]]
        batches = cycle(zip(real, z, strict=True))

        def call() -> dict[str, Any]:
            nonlocal state
            state, stats = jitted(state, *next(batches))
            self._keep((state, stats))
            return dict(zip(("loss_d", "loss_g", "prob_real", "prob_fake"), stats, strict=True))

        def averages() -> list[tuple[np.ndarray, ...]]:
            g, g_running, *_, average = state
            return [(flat(now), flat(then)) for now, then in zip((g, g_running), average, strict=True)]

        return Prepared({"step": call}, proof_of(call, averages if decay else None, task))

    def d_step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        layers, training = task["discriminator"]["layers"], task["training"]
        given = [(jnp.array(real), jnp.array(fake)) for real, fake in zip(inputs["real"], inputs["fake"], strict=True)]

        def begin(weight: float) -> Callable[[], Any]:
            def logits(d: Any, x: Any) -> Any:
                return network(layers, d, x)[0]

            def loss(d: Any, real: Any, fake: Any) -> Any:
                of_loss = jax.nn.softplus(-logits(d, real)).mean() + jax.nn.softplus(logits(d, fake)).mean()
                if not weight:
                    return of_loss, (of_loss,)
                g = jax.grad(lambda x: logits(d, x).sum())(real)
                penalty = weight / 2 * (g**2).sum((1, 2, 3)).mean()
                return of_loss + penalty, (of_loss, penalty)

            @partial(jax.jit, donate_argnums=0)
            def step(state: Any, real: Any, fake: Any) -> Any:
                d, m, v, t = state
                (_, terms), grads = jax.value_and_grad(loss, has_aux=True)(d, real, fake)
                return (*adam(d, m, v, grads, t + 1, training["lr"], training["betas"]), t + 1), terms

            d = self._weights(inputs, "discriminator")
            state, batches = (d, *(jax.tree.map(jnp.zeros_like, d) for _ in range(2)), jnp.float32(0)), cycle(given)

            def call() -> Any:
                nonlocal state
                state, terms = step(state, *next(batches))
                self._keep((state, terms))
                return terms

            return call

        return d_steps(begin, task["r1"])

    def sample(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        weights, layers = self._weights(inputs, "generator"), task["generator"]["layers"]
        generator = jax.jit(lambda w, z: network(layers, w, z, train=False)[0])
        z = jnp.array(inputs["z"][0])
        return Prepared({"sample": lambda: np.asarray(generator(weights, z))}, {"sample": np.asarray(generator(weights, z))})

    def layer(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        name, options = task["layer"], task["options"]
        if name == "Adam":
            return self._adam(inputs)
        x, dy = jnp.array(inputs["x"]), jnp.array(inputs["dy"])
        params = {n: jnp.array(a) for n, a in inputs.items() if n not in ("x", "dy")}
        if name == "BatchNorm":
            function = lambda w, x: batch_norm({**w, "running_mean": 0.0, "running_var": 1.0}, x)[0]  # noqa: E731
        else:
            function = partial(_FUNCTIONS[name], **options)
        forward = jax.jit(function)
        # The residuals of a pass are kept, as in the other sides: a gradient is timed without its forward pass.
        _, back_x = jax.jit(lambda x: jax.vjp(lambda x: function(params, x), x))(x)
        _, back_w = jax.jit(lambda w: jax.vjp(lambda w: function(w, x), w))(params)
        pull = jax.jit(lambda back, dy: back(dy)[0])
        calls = {"forward": lambda: self._keep(forward(params, x)), "input_grad": lambda: self._keep(pull(back_x, dy))}
        evidence = {"forward": forward(params, x), "input_grad": pull(back_x, dy)}
        if params:
            calls["weight_grad"] = lambda: self._keep(pull(back_w, dy))
            grads = pull(back_w, dy)
            evidence["weight_grad"] = jnp.concatenate([grads[n].ravel() for n in sorted(grads)])
        return Prepared(calls, {n: np.asarray(a) for n, a in evidence.items()})

    def _adam(self, inputs: Inputs) -> Prepared:
        w, dw = jnp.array(inputs["w"]), jnp.array(inputs["dw"])
        reference = {"lr": 2e-4, "betas": (0.5, 0.999)}
        update = jax.jit(lambda state, dw: (*adam(*state[:3], dw, state[3] + 1, **reference), state[3] + 1), donate_argnums=0)
        state = update((w, jnp.zeros_like(w), jnp.zeros_like(w), jnp.float32(0)), dw)
        evidence = np.array(state[0])

        def call() -> None:
            nonlocal state
            state = self._keep(update(state, dw))

        return Prepared({"update": call}, {"update": evidence})

    def ceiling(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        a, b, product = jnp.array(inputs["a"]), jnp.array(inputs["b"]), jax.jit(jnp.matmul)
        return Prepared({"product": lambda: self._keep(product(a, b))}, {"product": np.asarray(product(a, b))})


def make(threads: int, device: str = "cpu") -> Side:
    """JAX takes as many threads as the process may use cores, which the runner has limited."""
    if jax.default_backend() != device:
        raise UnsupportedError(f"JAX {jax.__version__} runs on its {jax.default_backend()} backend here, not on {device}")
    return JaxSide(device)
