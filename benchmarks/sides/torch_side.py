"""PyTorch: eager with either memory layout, and torch.compile.

Written as one would for speed: fused Adam, no gradients that nobody asks for, and weights turned once, beforehand, so that
neither layout turns an image inside a step.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from benchmarks.sides.base import COPIED, PROOF_STEPS, Inputs, Prepared, Side, UnsupportedError, first_losses

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


class TorchSide(Side):
    def __init__(self, threads: int, channels_last: bool, compiled: bool, fused: bool) -> None:
        torch.set_num_threads(threads)
        self.channels_last, self.compiled, self.fused = channels_last, compiled, fused
        torch.ones(1) + 1

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__, "torch CPU capability": torch.backends.cpu.get_cpu_capability()}

    # -- arrays in and out ---------------------------------------------------------------------------------------------

    def _image(self, x: np.ndarray) -> torch.Tensor:
        """An array (N, H, W, C) as a tensor (N, C, H, W) in this side's memory order; others as they are."""
        if x.ndim != 4:
            return torch.from_numpy(x)
        tensor = torch.from_numpy(x).permute(0, 3, 1, 2)
        return tensor if self.channels_last else tensor.contiguous()

    def _host(self, x: torch.Tensor) -> np.ndarray:
        x = x.detach()
        return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).numpy()

    def _kernel(self, w: np.ndarray) -> torch.Tensor:
        """minigan's (KH, KW, C, F), or (KH, KW, F, C) of a transposed convolution, as PyTorch orders both."""
        kernel = torch.from_numpy(w).permute(3, 2, 0, 1)
        return kernel.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)

    def _rows(self, w: np.ndarray, image: tuple[int, int, int], axis: int) -> np.ndarray:
        """Turn the axis of w that counts the pixels of an image from H, W, C to this side's order."""
        if self.channels_last:
            return w
        order = np.arange(np.prod(image)).reshape(image).transpose(2, 0, 1).ravel()
        return np.take(w, order, axis=axis)

    # -- the two games -------------------------------------------------------------------------------------------------

    def _networks(self, task: dict[str, Any], inputs: Inputs) -> tuple[nn.Module, nn.Module]:
        generator, discriminator = getattr(self, f"_{task['game']}")(task["model"])
        image = tuple(task["model"]["image_shape"])
        for module, prefix in ((generator, "generator"), (discriminator, "discriminator")):
            self._load(module, prefix, inputs, image)
        if self.channels_last:
            generator, discriminator = (m.to(memory_format=torch.channels_last) for m in (generator, discriminator))
        if self.compiled:
            generator, discriminator = (torch.compile(m, dynamic=False) for m in (generator, discriminator))
        return generator, discriminator

    def _mlp(self, model: dict[str, Any]) -> tuple[nn.Sequential, nn.Sequential]:
        shape, latent, hidden = tuple(model["image_shape"]), model["latent_dim"], model["hidden"]
        pixels, last = int(np.prod(shape)), self.channels_last
        generator = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels), nn.Tanh(), ToImage(shape, last)
        )
        return generator, nn.Sequential(FromImage(last), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def _dcgan(self, model: dict[str, Any]) -> tuple[nn.Sequential, nn.Sequential]:
        (height, breadth, channels), latent, width = model["image_shape"], model["latent_dim"], model["width"]
        seed_image, last = (height // 4, breadth // 4, 2 * width), self.channels_last
        strided = {"kernel_size": 4, "stride": 2, "padding": 1}
        generator = nn.Sequential(
            nn.Linear(latent, int(np.prod(seed_image)), bias=False),
            ToImage(seed_image, last),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * width, width, **strided, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, channels, **strided),
            nn.Tanh(),
        )
        discriminator = nn.Sequential(
            nn.Conv2d(channels, width, **strided),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, **strided, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            FromImage(last),
            nn.Linear(int(np.prod(seed_image)), 1),
        )
        return generator, discriminator

    def _load(self, net: nn.Sequential, prefix: str, inputs: Inputs, image: tuple[int, int, int]) -> None:
        """minigan's arrays into the modules; both networks name their layers by position, with minigan's Reshape counted."""
        arrays = [name for name in inputs if name.startswith(f"{prefix}.")]
        layers = sorted({int(name.split(".")[1]) for name in arrays})
        modules = [m for m in net if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d))]
        channels = [m.num_features for m in net if isinstance(m, nn.BatchNorm2d)]
        small = (image[0] // 4, image[1] // 4, max(channels)) if channels else image
        with torch.no_grad():
            for index, module in zip(layers, modules, strict=True):
                own = {n.rpartition(".")[2]: inputs[n] for n in arrays if n.split(".")[1] == str(index)}
                if isinstance(module, nn.BatchNorm2d):
                    pairs = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}
                    for theirs, ours in pairs.items():
                        getattr(module, theirs).copy_(torch.from_numpy(own[ours]))
                    continue
                w = own["weight"]
                if isinstance(module, nn.Linear):
                    turned = [axis for axis in (0, 1) if w.shape[axis] == np.prod(small)]
                    for axis in turned:
                        w = self._rows(w, small, axis)
                    bias = self._rows(own["bias"], small, 0) if "bias" in own and 1 in turned else own.get("bias")
                    module.weight.copy_(torch.from_numpy(np.ascontiguousarray(w.T)))
                else:
                    bias = own.get("bias")
                    module.weight.copy_(self._kernel(w))
                if bias is not None:
                    module.bias.copy_(torch.from_numpy(bias))

    def step(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        generator, discriminator = self._networks(task, inputs)
        theta_g, theta_d = list(generator.parameters()), list(discriminator.parameters())
        adam = {"lr": 2e-4, "betas": (0.5, 0.999), "eps": 1e-8, "fused": self.fused}
        adam_g, adam_d = torch.optim.Adam(theta_g, **adam), torch.optim.Adam(theta_d, **adam)

        def step(real: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
            fake = generator(z)
            s_real, s_fake = discriminator(real), discriminator(fake.detach())
            loss_d = F.softplus(-s_real).mean() + F.softplus(s_fake).mean()
            adam_d.zero_grad()
            loss_d.backward()
            adam_d.step()
            loss_g = F.softplus(-discriminator(fake)).mean()
            adam_g.zero_grad()
            loss_g.backward(inputs=theta_g)  # none for D's parameters
            adam_g.step()
            with torch.no_grad():
                return loss_d.detach(), loss_g.detach(), torch.sigmoid(s_real).mean(), torch.sigmoid(s_fake).mean()

        real, z = [self._image(x) for x in inputs["real"]], [torch.from_numpy(a) for a in inputs["z"]]
        batches = cycle(zip(real, z, strict=True))
        losses = [step(*next(batches)) for _ in range(PROOF_STEPS)]
        evidence = first_losses([(float(stats[0]), float(stats[1])) for stats in losses])
        return Prepared({"step": lambda: step(*next(batches))}, evidence)

    def sample(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        generator, _ = self._networks(task, inputs)
        generator.eval()
        z = torch.from_numpy(inputs["z"][0])

        def sample() -> np.ndarray:
            with torch.inference_mode():
                return self._host(generator(z))

        return Prepared({"sample": sample}, {"sample": np.ascontiguousarray(sample())})

    # -- single layers -------------------------------------------------------------------------------------------------

    def layer(self, task: dict[str, Any], inputs: Inputs) -> Prepared:
        name, options = task["layer"], dict(task["options"])
        if self.compiled:
            raise UnsupportedError("compiles networks, not single layers")
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
        if self.channels_last or self.compiled:
            raise UnsupportedError("has the same ceiling as torch")
        a, b = torch.from_numpy(inputs["a"]), torch.from_numpy(inputs["b"])
        source, target = torch.ones(COPIED), torch.zeros(COPIED)
        calls = {"product": lambda: a @ b, "copy": lambda: target.copy_(source)}
        return Prepared(calls, {"product": (a @ b).numpy()})


def make(threads: int, channels_last: bool = False, compiled: bool = False, fused: bool = True) -> Side:
    return TorchSide(threads, channels_last, compiled, fused)
