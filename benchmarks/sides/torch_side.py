"""PyTorch: eager with either memory layout, and torch.compile; on the CPU or a GPU.

Written as one would for speed: fused Adam, no gradients that nobody asks for, and weights turned once, beforehand, so that
neither layout turns an image inside a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from benchmarks.sides.base import (
    COPIED,
    PROOF_STEPS,
    Inputs,
    Prepared,
    Side,
    UnsupportedError,
    d_steps,
    distances,
    first_losses,
)

Shape = tuple[int, ...]
_ACTIVATIONS = {"ReLU": F.relu, "LeakyReLU": F.leaky_relu, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid, "Softplus": F.softplus}


class FromImage(nn.Module):
    """(N, C, H, W) to rows; in channels-last memory in the order H, W, C, so that nothing is copied."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.permute(0, 2, 3, 1) if self.channels_last else x).reshape(len(x), -1)


class ToImage(nn.Module):
    """Rows to (N, C, H, W), the inverse of FromImage."""

    def __init__(self, shape: tuple[int, int, int], channels_last: bool) -> None:
        super().__init__()
        self.shape, self.channels_last = shape, channels_last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w, c = self.shape
        return x.view(-1, h, w, c).permute(0, 3, 1, 2) if self.channels_last else x.view(-1, c, h, w)


class MovingAverage:
    """Of a network's parameters and running statistics, with a decay that rises as (1 + t) / (10 + t) up to `decay`."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay, self._steps = decay, 0
        self._parameters = [p.detach() for p in network.parameters()]
        self._statistics = [b for b in network.buffers() if b.is_floating_point()]
        self._now = [*self._parameters, *self._statistics]
        self._average = [tensor.clone() for tensor in self._now]

    def update(self) -> None:
        self._steps += 1
        rate = 1 - min(self._decay, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self._average, self._now, rate)  # what torch.optim.swa_utils averages with

    def pairs(self) -> list[Any]:
        """(now, average) of the parameters and of the statistics, each in one row."""
        count = len(self._parameters)
        parts = (slice(count), slice(count, None))
        return [
            tuple(torch.cat([x.flatten() for x in each[p]]).cpu().numpy() for each in (self._now, self._average)) for p in parts
        ]

    def take_place(self) -> None:
        """Let the network hold the averages, to sample with them."""
        torch._foreach_copy_(self._now, self._average)


@dataclass
class Play:
    """A game under way. step: one training step on real images and noise; it returns L_D, L_G, E D(x) and E D(x̃)."""

    networks: dict[str, nn.Sequential]
    optimizers: dict[str, torch.optim.Adam]
    average: MovingAverage | None
    step: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]


class TorchSide(Side):
    """compiled: torch.compile's mode; empty for eager execution."""

    def __init__(
        self, threads: int, channels_last: bool = False, compiled: str = "", fused: bool = True, device: str = "cpu"
    ) -> None:
        torch.set_num_threads(threads)
        self.channels_last, self.compiled, self.fused, self.device = channels_last, compiled, fused, device
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

    # -- arrays in and out ---------------------------------------------------------------------------------------------

    def _image(self, x: np.ndarray) -> torch.Tensor:
        """An array (N, H, W, C) as a tensor (N, C, H, W) in this side's memory order; others as they are."""
        tensor = torch.from_numpy(x).to(self.device)
        if x.ndim != 4:
            return tensor
        tensor = tensor.permute(0, 3, 1, 2)
        return tensor if self.channels_last else tensor.contiguous()

    def _host(self, x: torch.Tensor) -> np.ndarray:
        x = x.detach().cpu()
        return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).numpy()

    def _kernel(self, w: np.ndarray) -> torch.Tensor:
        """minigan's (KH, KW, C, F), or (KH, KW, F, C) of a transposed convolution, as PyTorch orders both."""
        kernel = torch.from_numpy(w).permute(3, 2, 0, 1)
        return kernel.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)

    def _rows(self, w: np.ndarray, image: Shape, axis: int) -> np.ndarray:
        """Turn the axis of w that counts the pixels of an image from H, W, C to this side's order."""
        if self.channels_last:
            return w
        order = np.arange(np.prod(image)).reshape(image).transpose(2, 0, 1).ravel()
        return np.take(w, order, axis=axis)

    # -- the games -----------------------------------------------------------------------------------------------------

    def _network(self, name: str, task: dict[str, Any], inputs: Inputs) -> nn.Sequential:
        """The layers of a task's network, with its weights."""
        layers, modules = task[name]["layers"], []
        shapes = [tuple(task[name]["input_shape"]), *(tuple(layer["output_shape"]) for layer in layers)]
        for index, layer in enumerate(layers):
            own = {n.rpartition(".")[2]: a for n, a in inputs.items() if n.startswith(f"{name}.{index}.")}
            if layer["name"] == "Flatten":
                module: nn.Module = FromImage(self.channels_last)
            elif layer["name"] == "Reshape":
                module = ToImage(shapes[index + 1], self.channels_last)
            elif layer["name"] == "Dense":
                flat = index > 0 and layers[index - 1]["name"] == "Flatten"
                after = next((i for i in range(index + 1, len(layers)) if layers[i]["name"] not in _ACTIVATIONS), index)
                image = shapes[after + 1] if layers[after]["name"] == "Reshape" else None
                module = self._linear(own, shapes[index - 1] if flat else None, image)
            elif layer["name"] in _ACTIVATIONS:
                slope = [layer["options"]["slope"]] if layer["name"] == "LeakyReLU" else []
                inplace = {"inplace": len(shapes[index]) == 3} if "ReLU" in layer["name"] else {}
                module = getattr(nn, layer["name"])(*slope, **inplace)
            elif layer["name"] == "BatchNorm":
                module = self._batch_norm(own)
            else:
                module = self._convolution(layer["name"], layer["options"], own)
            modules.append(module)
        network = nn.Sequential(*modules)
        return (network.to(memory_format=torch.channels_last) if self.channels_last else network).to(self.device)

    @torch.no_grad()
    def _linear(self, own: Inputs, image_before: Shape | None, image_after: Shape | None) -> nn.Linear:
        """A dense layer from the pixels of an image, or to those of one, or neither."""
        w, b = own["weight"], own.get("bias")
        module = nn.Linear(*w.shape, bias=b is not None)
        w = self._rows(w, image_before, 0) if image_before else w
        w = self._rows(w, image_after, 1) if image_after else w
        module.weight.copy_(torch.from_numpy(np.ascontiguousarray(w.T)))
        if b is not None:
            module.bias.copy_(torch.from_numpy(self._rows(b, image_after, 0) if image_after else b))
        return module

    @torch.no_grad()
    def _convolution(self, name: str, options: dict[str, Any], own: Inputs) -> nn.Module:
        kernel, sizes = self._kernel(own["weight"]), {n: options[n] for n in ("kernel_size", "stride", "padding")}
        channels = kernel.shape[:2] if name == "ConvTranspose2d" else kernel.shape[:2][::-1]
        module = getattr(nn, name)(*channels, **sizes, bias="bias" in own)
        module.weight.copy_(kernel)
        if "bias" in own:
            module.bias.copy_(torch.from_numpy(own["bias"]))
        return module

    @torch.no_grad()
    def _batch_norm(self, own: Inputs) -> nn.BatchNorm2d:
        module = nn.BatchNorm2d(len(own["gamma"]))
        pairs = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}
        for theirs, ours in pairs.items():
            getattr(module, theirs).copy_(torch.from_numpy(own[ours]))
        return module

    def _compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function, dynamic=False, mode=self.compiled) if self.compiled else function

    def play(self, task: dict[str, Any], inputs: Inputs) -> Play:
        """The game of a task with its first weights, before the first step."""
        if self.device == "cuda":
            torch.backends.cudnn.benchmark = True  # shapes stay, so that cuDNN may try its algorithms
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = task["precision"] == "tf32"
        generator, discriminator = (self._network(name, task, inputs) for name in ("generator", "discriminator"))
        training = task["training"]
        adam = {"lr": training["lr"], "betas": tuple(training["betas"]), "eps": 1e-8, "fused": self.fused}
        adam_g, adam_d = (torch.optim.Adam(net.parameters(), **adam) for net in (generator, discriminator))
        average = MovingAverage(generator, training["ema"]) if training["ema"] else None

        def losses_d(real: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, ...]:
            s_real, s_fake = discriminator(real), discriminator(fake)
            with torch.no_grad():
                beliefs = torch.sigmoid(s_real).mean(), torch.sigmoid(s_fake).mean()
            return F.softplus(-s_real).mean() + F.softplus(s_fake).mean(), *beliefs

        def losses_g(fake: torch.Tensor) -> torch.Tensor:
            return F.softplus(-discriminator(fake)).mean()

        make_fake, losses_d, losses_g = map(self._compile, (generator, losses_d, losses_g))

        def step(real: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
            if self.compiled == "reduce-overhead":
                torch.compiler.cudagraph_mark_step_begin()
            fake = make_fake(z)
            loss_d, *beliefs = losses_d(real, fake.detach())
            adam_d.zero_grad()
            loss_d.backward()
            adam_d.step()
            discriminator.requires_grad_(False)  # no gradients for D's parameters
            loss_g = losses_g(fake)
            adam_g.zero_grad()
            loss_g.backward()
            adam_g.step()
            discriminator.requires_grad_(True)
            if average:
                average.update()
            return loss_d.detach(), loss_g.detach(), *beliefs

        networks = {"generator": generator, "discriminator": discriminator}
        return Play(networks, {"generator": adam_g, "discriminator": adam_d}, average, step)

    def step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        play = self.play(task, inputs)
        step, average = play.step, play.average
        real, z = [self._image(x) for x in inputs["real"]], [self._image(a) for a in inputs["z"]]
        batches = cycle(zip(real, z, strict=True))
        losses = []
        for _ in range(PROOF_STEPS):
            stats = step(*next(batches))
            losses.append((float(stats[0]), float(stats[1])))  # before the next step may write to the same place
        evidence = first_losses(losses) | (distances(average.pairs()) if average else {})
        return Prepared({"step": lambda: step(*next(batches))}, evidence)

    def d_step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        if self.compiled:
            raise UnsupportedError("torch.compile does not take second derivatives")
        given = [
            tuple(self._image(np.ascontiguousarray(x)) for x in pair)
            for pair in zip(inputs["real"], inputs["fake"], strict=True)
        ]
        training = task["training"]

        def begin(weight: float) -> Callable[[], list[torch.Tensor]]:
            net, batches = self._network("discriminator", task, inputs), cycle(given)
            adam = torch.optim.Adam(
                net.parameters(), lr=training["lr"], betas=tuple(training["betas"]), eps=1e-8, fused=self.fused
            )

            def step() -> list[torch.Tensor]:
                real, fake = next(batches)
                real = real.detach().requires_grad_(bool(weight))
                s_real, s_fake = net(real), net(fake)
                terms = [F.softplus(-s_real).mean() + F.softplus(s_fake).mean()]
                if weight:
                    (g,) = torch.autograd.grad(s_real.sum(), real, create_graph=True)
                    terms.append(weight / 2 * g.square().sum((1, 2, 3)).mean())
                adam.zero_grad()
                torch.stack(terms).sum().backward()
                adam.step()
                return [term.detach() for term in terms]

            return step

        return d_steps(begin, task["r1"])

    def sample(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        generator = self._compile(self._network("generator", task, inputs).eval())
        z = self._image(inputs["z"][0])

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
        x, dy = self._image(inputs["x"]).requires_grad_(), self._image(inputs["dy"])
        params: list[torch.Tensor] = []
        order = sorted(n for n in inputs if n not in ("x", "dy"))
        if name == "Dense":
            w, b = torch.from_numpy(np.ascontiguousarray(inputs["weight"].T)), torch.from_numpy(inputs["bias"])
            params = [b.requires_grad_(), w.requires_grad_()]
            forward = lambda: F.linear(x, w, b)  # noqa: E731 - one line each, beside its weights
        elif name in ("Conv2d", "ConvTranspose2d"):
            w, b = self._kernel(inputs["weight"]), torch.from_numpy(inputs["bias"])
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
            function = _ACTIVATIONS[name]
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
