"""minigan's networks in PyTorch, in either memory layout: built from described layers, with weights turned once, beforehand, so
that neither layout turns an image inside a step.

Samples of two axes, as text (T, K) and sound (T, C), are images of one row: what PyTorch's own one-dimensional convolutions
make of them too, which have no layout to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.sides.base import SEEN, Inputs, UnsupportedError

Shape = tuple[int, ...]
ACTIVATIONS = ("ReLU", "LeakyReLU", "Tanh", "Sigmoid", "Softplus")
_MAKES_ANEW = ("Conv2d", "ConvTranspose2d", "BatchNorm")  # whose results nothing else needs: the next layer may write there


class FromImage(nn.Module):
    """(N, C, H, W) to rows; in channels-last memory in the order H, W, C, so that nothing is copied."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.permute(0, 2, 3, 1) if self.channels_last else x).reshape(len(x), -1)


class ToImage(nn.Module):
    """Rows to (N, C, H, W), the inverse of FromImage."""

    def __init__(self, shape: Shape, channels_last: bool) -> None:
        super().__init__()
        self.shape, self.channels_last = shape, channels_last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w, c = self.shape
        return x.view(-1, h, w, c).permute(0, 3, 1, 2) if self.channels_last else x.view(-1, c, h, w)


class Softmax(nn.Module):
    """Over the channels of (N, C, H, W), which in channels-last memory lie side by side."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).softmax(-1).permute(0, 3, 1, 2) if self.channels_last else x.softmax(1)


class Residual(nn.Module):
    """x + a f(x)"""

    def __init__(self, within: nn.Module, scale: float) -> None:
        super().__init__()
        self.within, self.scale = within, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.add(x, self.within(x), alpha=self.scale)


class PhaseShuffle(nn.Module):
    """Each sample moved in time by −n to n places, mirrored at its ends, by draws that are handed in: see minigan.PhaseShuffle.

    places: before a pass, from where in time each value of each sample comes, as `places_of` tells it for that pass.
    """

    def __init__(self, n: int, length: int) -> None:
        super().__init__()
        self.n, self.length = n, length
        self.places = torch.empty(0)

    def places_of(self, draws: torch.Tensor) -> torch.Tensor:
        """(N, 1, 1, T) of draws (N,) from U[0, 1): a draw in the m-th of 2n + 1 equal parts moves by m − n places."""
        last, moved = self.length - 1, (draws * (2 * self.n + 1)).long() - self.n
        places = (torch.arange(self.length, device=draws.device) - moved[:, None]).abs()
        return torch.where(places > last, 2 * last - places, places)[:, None, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.gather(3, self.places.expand(-1, x.shape[1], -1, -1))


class Builder:
    """Arrays and networks of minigan as tensors and modules, in one memory order, on one device."""

    def __init__(self, channels_last: bool, device: str) -> None:
        self.channels_last, self.device = channels_last, device

    # -- arrays in and out ---------------------------------------------------------------------------------------------

    def tensor(self, x: np.ndarray) -> torch.Tensor:
        """Samples (N, H, W, C) or (N, T, C) as a tensor (N, C, H, W) in this memory order; others as they are."""
        tensor = torch.from_numpy(x).to(self.device)
        if x.ndim < 3:
            return tensor
        tensor = tensor.reshape(-1, *_as_image(x.shape[1:])).permute(0, 3, 1, 2)
        return tensor if self.channels_last else tensor.contiguous()

    def kernel(self, w: np.ndarray) -> torch.Tensor:
        """minigan's (KH, KW, C, F), or (KH, KW, F, C) of a transposed convolution, as PyTorch orders both."""
        kernel = torch.from_numpy(w).permute(3, 2, 0, 1)
        return kernel.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)

    def _rows(self, w: np.ndarray, image: Shape, axis: int) -> np.ndarray:
        """Turn the axis of w that counts the pixels of an image from H, W, C to this memory order."""
        if self.channels_last:
            return w
        order = np.arange(np.prod(image)).reshape(image).transpose(2, 0, 1).ravel()
        return np.take(w, order, axis=axis)

    # -- networks ------------------------------------------------------------------------------------------------------

    def network(self, name: str, task: dict[str, Any], inputs: Inputs) -> nn.Sequential:
        """A task's network, with its weights."""
        prefix = f"{name}."
        own = {n[len(prefix) :]: a for n, a in inputs.items() if n.startswith(prefix)}
        network = self._chain(task[name]["layers"], own)
        return (network.to(memory_format=torch.channels_last) if self.channels_last else network).to(self.device)

    def _chain(self, layers: Sequence[dict[str, Any]], weights: Inputs) -> nn.Sequential:
        """Layers in a row, with weights by names such as "0.weight"."""
        modules = []
        for index, layer in enumerate(layers):
            own = {n.partition(".")[2]: a for n, a in weights.items() if n.startswith(f"{index}.")}
            modules.append(self._linear(layers, index, own) if layer["name"] == "Dense" else self._module(layers, index, own))
        return nn.Sequential(*modules)

    def _module(self, layers: Sequence[dict[str, Any]], index: int, own: Inputs) -> nn.Module:
        layer = layers[index]
        name, options = layer["name"], layer["options"]
        if name in ("Flatten", "Reshape"):
            return self._reshaping(tuple(layer["input_shape"]), tuple(layer["output_shape"]))
        if name in ACTIVATIONS:
            slope = [options["slope"]] if name == "LeakyReLU" else []
            inplace = {"inplace": index > 0 and layers[index - 1]["name"] in _MAKES_ANEW} if "ReLU" in name else {}
            return getattr(nn, name)(*slope, **inplace)
        if name in ("Conv2d", "ConvTranspose2d"):
            return self._convolution(name, options, own)
        if name == "BatchNorm":
            return self._batch_norm(own)
        if name == "Residual":
            return Residual(self._chain(options["layers"], own), options["scale"])
        if name == "Softmax":
            return Softmax(self.channels_last)
        if name == "PhaseShuffle":
            return PhaseShuffle(options["n"], layer["input_shape"][-2])
        raise UnsupportedError(f"has no layer {name}")

    def _reshaping(self, before: Shape, after: Shape) -> nn.Module:
        if len(after) == 1:
            return FromImage(self.channels_last) if len(before) > 1 else nn.Identity()
        if len(before) == 1:
            return ToImage(_as_image(after), self.channels_last)
        if _as_image(before) != _as_image(after):
            raise UnsupportedError(f"does not reshape {before} to {after}")
        return nn.Identity()

    @torch.no_grad()
    def _linear(self, layers: Sequence[dict[str, Any]], index: int, own: Inputs) -> nn.Linear:
        """A dense layer from the pixels of an image, or to those of one, or neither."""
        w, b = own["weight"], own.get("bias")
        if index and layers[index - 1]["name"] == "Flatten":
            w = self._rows(w, _as_image(layers[index - 1]["input_shape"]), 0)
        after = next((layer for layer in layers[index + 1 :] if layer["name"] not in ACTIVATIONS), None)
        if after and after["name"] == "Reshape":
            image = _as_image(after["output_shape"])
            w, b = self._rows(w, image, 1), b if b is None else self._rows(b, image, 0)
        module = nn.Linear(w.shape[0], w.shape[1], bias=b is not None)
        module.weight.copy_(torch.from_numpy(np.ascontiguousarray(w.T)))
        if b is not None:
            module.bias.copy_(torch.from_numpy(b))
        return module

    @torch.no_grad()
    def _convolution(self, name: str, options: dict[str, Any], own: Inputs) -> nn.Module:
        kernel = self.kernel(own["weight"])
        taken = ("kernel_size", "stride", "padding", "dilation", "output_padding")
        sizes = {n: tuple(v) if isinstance(v, list) else v for n, v in options.items() if n in taken}
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


def has_images(task: dict[str, Any]) -> bool:
    """Whether the memory layout makes a difference to a game."""
    layers = [layer for name in task["networks"] for layer in task[name]["layers"]]
    return any(layer["name"] in ("Conv2d", "ConvTranspose2d") for layer in layers)


def _as_image(shape: Sequence[int]) -> Shape:
    """(H, W, C), of samples (T, C) the image of one row (1, T, C)."""
    return tuple(shape) if len(shape) == 3 else (1, *shape)


class Shifts:
    """The places that the PhaseShuffles of a network move samples from, in every pass of every step."""

    def __init__(self, network: nn.Module, inputs: Inputs, device: str) -> None:
        self._layers = [layer for layer in network.modules() if isinstance(layer, PhaseShuffle)]
        given = [torch.from_numpy(a).to(device) for name, a in inputs.items() if name.startswith("draws.")]
        # By step, pass and layer.
        self._places = [
            [[layer.places_of(draws) for layer, draws in zip(self._layers, of_pass, strict=True)] for of_pass in of_step]
            for of_step in (zip(*draws, strict=True) for draws in zip(*given, strict=True))
        ]

    def move(self, turn: int, which: str) -> None:
        """Before the pass of that name in a step."""
        if self._layers:
            for layer, places in zip(self._layers, self._places[turn][SEEN.index(which)], strict=True):
                layer.places = places
