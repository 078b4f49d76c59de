"""PyTorch: eager with either memory layout, and torch.compile; on the CPU or a GPU. See torch_networks and torch_games."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from benchmarks.sides.base import (
    COPIED,
    Inputs,
    Prepared,
    Side,
    UnsupportedError,
    d_steps,
    proof_of,
)
from benchmarks.sides.torch_games import PLAYED, AdversarialGame, Stats, VariationalGame, adam_of, batches_of
from benchmarks.sides.torch_networks import Builder, has_images

_FUNCTIONS = {"ReLU": F.relu, "LeakyReLU": F.leaky_relu, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid, "Softplus": F.softplus}


class TorchSide(Side):
    """compiled: torch.compile's mode; empty for eager execution."""

    def __init__(
        self, threads: int, channels_last: bool = False, compiled: str = "", fused: bool = True, device: str = "cpu"
    ) -> None:
        torch.set_num_threads(threads)
        self.channels_last, self.compiled, self.fused, self.device = channels_last, compiled, fused, device
        self.builder = Builder(channels_last, device)
        torch.ones(1, device=device) + 1

    def versions(self) -> dict[str, str]:
        if self.device == "cpu":
            capability = torch.backends.cpu.get_cpu_capability()
            return {"torch": torch.__version__, "torch CPU capability": capability, "threads": str(torch.get_num_threads())}
        cudnn = str(torch.backends.cudnn.version())
        return {"torch": torch.__version__, "cuDNN": cudnn, "device": torch.cuda.get_device_name()}

    def synchronize(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _host(self, x: torch.Tensor) -> np.ndarray:
        x = x.detach().cpu()
        return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).numpy()

    def _compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function, dynamic=False, mode=self.compiled) if self.compiled else function

    # -- games ---------------------------------------------------------------------------------------------------------

    def play(self, task: dict[str, Any], inputs: Inputs) -> AdversarialGame | VariationalGame:
        """The game of a task with its first weights, before the first step."""
        if self.device == "cuda":
            torch.backends.cudnn.benchmark = True  # shapes stay, so that cuDNN may try its algorithms
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = task["precision"] == "tf32"
        compiled = self._compile if self.compiled else None
        return PLAYED[task["rules"]["game"]](self.builder, task, inputs, self.fused, compiled)

    def step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        if self.channels_last and not self.compiled and not has_images(task):
            raise UnsupportedError("differs from channels first only for images")
        game, batches = self.play(task, inputs), cycle(batches_of(self.builder, inputs))

        def step() -> Stats:
            if self.compiled == "reduce-overhead":
                torch.compiler.cudagraph_mark_step_begin()
            return game.step(next(batches))

        return Prepared({"step": step}, proof_of(step, game.average.pairs if game.average else None, task))

    def d_step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        if self.compiled:
            raise UnsupportedError("torch.compile does not take second derivatives")
        given = [
            tuple(self.builder.tensor(np.ascontiguousarray(x)) for x in pair)
            for pair in zip(inputs["real"], inputs["fake"], strict=True)
        ]

        def begin(weight: float) -> Callable[[], list[torch.Tensor]]:
            net, batches = self.builder.network("discriminator", task, inputs), cycle(given)
            adam, learned = adam_of(task, net.parameters(), self.fused), list(net.parameters())

            def step() -> list[torch.Tensor]:
                real, fake = next(batches)
                real = real.detach().requires_grad_(bool(weight))
                s_real, s_fake = net(real), net(fake)
                terms = [F.softplus(-s_real).mean() + F.softplus(s_fake).mean()]
                if weight:
                    (g,) = torch.autograd.grad(s_real.sum(), real, create_graph=True)
                    terms.append(weight / 2 * g.square().sum((1, 2, 3)).mean())
                adam.zero_grad()
                torch.stack(terms).sum().backward(inputs=learned)
                adam.step()
                return [term.detach() for term in terms]

            return step

        return d_steps(begin, task["r1"])

    def sample(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        generator = self._compile(self.builder.network("generator", task, inputs).eval())
        z = self.builder.tensor(inputs["z"][0])

        def sample() -> np.ndarray:
            with torch.inference_mode():
                return self._host(generator(z))

        return Prepared({"sample": sample}, {"sample": np.ascontiguousarray(sample())})

    # -- single layers -------------------------------------------------------------------------------------------------

    def layer(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        name, options = task["layer"], dict(task["options"])
        if self.compiled or self.device != "cpu":
            raise UnsupportedError("has single layers on the CPU alone, not compiled")
        if name == "Adam":
            return self._adam(inputs)
        if self.channels_last and inputs["x"].ndim != 4:
            raise UnsupportedError("differs from torch only for images")
        x, dy = self.builder.tensor(inputs["x"]).requires_grad_(), self.builder.tensor(inputs["dy"])
        params: list[torch.Tensor] = []
        order = sorted(n for n in inputs if n not in ("x", "dy"))
        if name == "Dense":
            w, b = torch.from_numpy(np.ascontiguousarray(inputs["weight"].T)), torch.from_numpy(inputs["bias"])
            params = [b.requires_grad_(), w.requires_grad_()]
            forward = lambda: F.linear(x, w, b)  # noqa: E731 - one line each, beside its weights
        elif name in ("Conv2d", "ConvTranspose2d"):
            w, b = self.builder.kernel(inputs["weight"]), torch.from_numpy(inputs["bias"])
            params = [b.requires_grad_(), w.requires_grad_()]
            function = F.conv2d if name == "Conv2d" else F.conv_transpose2d
            sizes = {n: options.get(n, default) for n, default in (("stride", 1), ("padding", 0))}
            forward = lambda: function(x, w, b, **sizes)  # noqa: E731
        elif name == "BatchNorm":
            beta, gamma = torch.from_numpy(inputs["beta"]), torch.from_numpy(inputs["gamma"])
            params = [beta.requires_grad_(), gamma.requires_grad_()]
            mean, var = torch.zeros_like(beta), torch.ones_like(beta)
            forward = lambda: F.batch_norm(x, mean, var, gamma, beta, training=True)  # noqa: E731
        else:
            function = _FUNCTIONS[name]
            keywords = {"negative_slope": options["slope"]} if name == "LeakyReLU" else {}
            forward = lambda: function(x, **keywords)  # noqa: E731
        y = forward()
        calls = {"forward": forward, "input_grad": lambda: torch.autograd.grad(y, [x], dy, retain_graph=True)}
        evidence = {"forward": self._host(y), "input_grad": self._host(torch.autograd.grad(y, [x], dy, retain_graph=True)[0])}
        if params:
            calls["weight_grad"] = lambda: torch.autograd.grad(y, params, dy, retain_graph=True)
            grads = dict(zip(order, torch.autograd.grad(y, params, dy, retain_graph=True), strict=True))
            evidence["weight_grad"] = np.concatenate([self._turned_back(grads[n]).ravel() for n in order])
        return Prepared(calls, {n: np.ascontiguousarray(a) for n, a in evidence.items()})

    def _turned_back(self, grad: torch.Tensor) -> np.ndarray:
        """A weight's gradient in minigan's order of axes."""
        return (grad.permute(2, 3, 1, 0) if grad.ndim == 4 else grad.T if grad.ndim == 2 else grad).numpy()

    def _adam(self, inputs: Inputs) -> Prepared:
        if self.channels_last:
            raise UnsupportedError("differs from torch only for images")
        w = torch.from_numpy(inputs["w"].copy()).requires_grad_()
        w.grad = torch.from_numpy(inputs["dw"])
        adam = torch.optim.Adam([w], lr=2e-4, betas=(0.5, 0.999), eps=1e-8, fused=self.fused)
        adam.step()
        return Prepared({"update": adam.step}, {"update": w.detach().numpy().copy()})

    def ceiling(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        if self.channels_last or self.compiled or self.device != "cpu":
            raise UnsupportedError("has the same ceiling as torch, or runs on a GPU")
        a, b = torch.from_numpy(inputs["a"]), torch.from_numpy(inputs["b"])
        source, target = torch.ones(COPIED), torch.zeros(COPIED)
        calls = {"product": lambda: a @ b, "copy": lambda: target.copy_(source)}
        return Prepared(calls, {"product": (a @ b).numpy()})


def make(threads: int, channels_last: bool = False, compiled: str = "", fused: bool = True, device: str = "cpu") -> Side:
    if device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedError(f"PyTorch {torch.__version__} sees no GPU")
    return TorchSide(threads, channels_last, compiled, fused, device)
