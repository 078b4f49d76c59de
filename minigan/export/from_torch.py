"""A network of PyTorch's as one of minigan's, with its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minigan.backends import Backend
from minigan.errors import ModelError, OptionError, shorten
from minigan.export.plan import is_trivial, pixel_order
from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
    Upsample,
)
from minigan.network import Sequential
from minigan.sizes import numbers

Shape = tuple[int, ...]
Arrays = dict[str, np.ndarray]
PLACES = {"BatchNorm1d": (0, 1), "BatchNorm2d": (2,), "BatchNorm3d": (3,)}  # axes beside the channels'


def from_torch(
    module: Any, input_shape: Sequence[int], backend: str | Backend = "auto", dtype: Any = "float32", seed: int = 0
) -> Sequential:
    """A minigan.Sequential that computes what an nn.Sequential does, with copies of its weights and running statistics.

    input_shape: minigan's, (H, W, C) for a module that takes (N, C, H, W), (T, C) for (N, C, T), (K,) for (N, K). The axes of
    weights are turned to minigan's order, and so are those of a Linear layer beside a flattened image, whose values PyTorch
    counts as C, H, W and minigan as H, W, C.
    Takes Linear, Conv2d, ConvTranspose2d, BatchNorm1d to 3d, LayerNorm, ReLU, LeakyReLU, Tanh, Sigmoid, Softplus, Softmax,
    Dropout, Flatten, Unflatten, Upsample, Identity, and Sequential within Sequential.
    Raises ModelError for any other module or option, naming it, OptionError for what is no nn.Sequential.
    """
    if not _is_torch(module, "Sequential"):
        raise OptionError(f"module is {shorten(module)}: expected a torch.nn.Sequential")
    reader = Reader(numbers(input_shape, "input_shape"))
    for name, child in _children(module):
        reader.read(name, child)
    layers, arrays = reader.finish()
    net = Sequential(layers, input_shape, backend, dtype, seed)
    net.load_state_dict({f"{index}.{name}": a for index, own in enumerate(arrays) for name, a in own.items()})
    return net


def _is_torch(module: Any, name: str) -> bool:
    """Whether it is torch.nn's class of that name, or one derived from it with the same forward. PyTorch is not imported."""
    for kind in type(module).__mro__:
        if kind.__name__ == name and kind.__module__.startswith("torch.nn.modules."):
            return True
        if {"forward", "__call__"} & vars(kind).keys():
            break
    return False


def _children(module: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Its modules by name, "2" or "2.0", with those of a Sequential within in its place; one that stands twice comes twice."""
    for name, child in module._modules.items():  # named_children would leave out the second
        if _is_torch(child, "Sequential"):
            yield from _children(child, f"{path}{name}.")
        else:
            yield f"{path}{name}", child


class Reader:
    """Layers and their arrays, made of modules one after the other, and what is known of the value between them.

    shape: of that value in minigan; image: of a row, the image that PyTorch has flattened into it; turnable: the arrays of the
    layers that made a row and passed it on, which are turned should it become an image: (arrays, name, axis).
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.image: Shape | None = None
        self.turnable: list[tuple[Arrays, str, int]] | None = None
        self.layers: list[Layer] = []
        self.arrays: list[Arrays] = []
        self.label = ""

    def read(self, name: str, module: Any) -> None:
        kind = next((kind for kind in READERS if _is_torch(module, kind)), None)
        self.label = f"{type(module).__name__} ({name})"
        if kind is None:
            raise ModelError(
                f"from_torch cannot take {self.label}: leave it out, or put other layers in its place, of {', '.join(READERS)}"
            )
        hooked = hasattr(module, "parametrizations") or module._forward_pre_hooks or module._forward_hooks
        self.need(not hooked, "with hooks or a parametrization, as spectral_norm: remove them, which keeps the weight")
        READERS[kind](self, module)

    def finish(self) -> tuple[list[Layer], list[Arrays]]:
        if self.image is not None:
            raise ModelError(
                "the module ends in a flattened image, whose values minigan counts as H, W, C and PyTorch as C, H, W: leave "
                "out its Flatten, or end in a Linear"
            )
        if not self.layers:
            raise ModelError("the module holds no layer: expected at least one, as nn.Linear(2, 1)")
        return self.layers, self.arrays

    def need(self, condition: bool, what: str) -> None:
        """Raise ModelError, naming the module, unless condition holds."""
        if not condition:
            raise ModelError(f"from_torch cannot take {self.label} {what}")

    def add(self, layer: Layer, after: Shape | None = None, **arrays: np.ndarray) -> Arrays:
        """One more layer; after: the shape of its output, where it is another one."""
        self.layers.append(layer)
        self.arrays.append(arrays)
        self.shape = self.shape if after is None else after
        return arrays

    def pass_on(self, layer: Layer, **arrays: np.ndarray) -> None:
        """A layer that takes the values of a row in any order, with arrays that count them."""
        own = self.add(layer, None, **{name: self.turned(a, 0) for name, a in arrays.items()})
        if self.turnable is not None and len(self.shape) == 1:
            self.turnable += [(own, name, 0) for name in own]

    def turned(self, a: np.ndarray, axis: int) -> np.ndarray:
        """The axis that counts the row's values, from PyTorch's order to minigan's."""
        return a if self.image is None else to_own_order(a, self.image, axis)


def to_own_order(a: np.ndarray, image: Shape, axis: int) -> np.ndarray:
    """The axis that counts an image's values as C, H, W, counted as H, W, C."""
    return np.take(a, np.argsort(pixel_order(image)), axis=axis)


def _array(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _weights(module: Any) -> Arrays:
    """weight, and bias where there is one."""
    own = {"weight": module.weight, "bias": module.bias}
    return {name: _array(tensor) for name, tensor in own.items() if tensor is not None}


# -- a function for each module ------------------------------------------------------------------------------------------


def _linear(reader: Reader, module: Any) -> None:
    inputs = int(module.in_features)
    reader.need(len(reader.shape) == 1, f"on {reader.shape}: put a Flatten before it")
    reader.need(reader.shape == (inputs,), f"of {inputs} inputs after {reader.shape[0]} values")
    own = _weights(module)
    own["weight"] = reader.turned(own["weight"].T, 0)
    own = reader.add(Dense(int(module.out_features), bias="bias" in own), (int(module.out_features),), **own)
    reader.image, reader.turnable = None, [(own, "weight", 1), *([(own, "bias", 0)] if "bias" in own else [])]


def _convolution(kind: type[Conv2d] | type[ConvTranspose2d]) -> Callable[[Reader, Any], None]:
    def read(reader: Reader, module: Any) -> None:
        reader.need(len(reader.shape) == 3, f"on {reader.shape}: it needs an image (H, W, C)")
        reader.need(module.in_channels == reader.shape[2], f"of {module.in_channels} channels after {reader.shape[2]}")
        reader.need(module.groups == 1, f"with groups={module.groups}: minigan's has one group")
        reader.need(module.padding_mode == "zeros", f"with padding_mode={module.padding_mode!r}: minigan pads with zeros")
        options: dict[str, Any] = {name: tuple(getattr(module, name)) for name in ("kernel_size", "stride", "dilation")}
        options["padding"] = _padding(reader, module)
        if kind is ConvTranspose2d:
            options["output_padding"] = tuple(module.output_padding)
        own = _weights(module)
        own["weight"] = own["weight"].transpose(2, 3, 1, 0)
        layer = kind(int(module.out_channels), bias="bias" in own, **options)
        reader.add(layer, kind(int(module.out_channels), **options).build(reader.shape), **own)

    return read


def _padding(reader: Reader, module: Any) -> Shape:
    """In numbers, of what may be "same" or "valid" too."""
    if module.padding == "valid":
        return (0, 0)
    if module.padding == "same":
        both = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        reader.need(all(n % 2 == 0 for n in both), "with padding='same' and an even kernel: minigan pads both sides alike")
        return both[0] // 2, both[1] // 2
    return tuple(module.padding)


def _batch_norm(reader: Reader, module: Any) -> None:
    places = next(places for kind, places in PLACES.items() if _is_torch(module, kind))
    reader.need(len(reader.shape) - 1 in places, f"on {reader.shape}")
    reader.need(module.num_features == reader.shape[-1], f"of {module.num_features} features after {reader.shape[-1]}")
    reader.need(module.affine and module.track_running_stats, "without its weights or running statistics: minigan's has both")
    reader.need(module.momentum is not None, "with momentum=None: minigan's has a number")
    names = {"gamma": "weight", "beta": "bias", "running_mean": "running_mean", "running_var": "running_var"}
    own = {ours: _array(getattr(module, theirs)) for ours, theirs in names.items()}
    reader.pass_on(BatchNorm(eps=float(module.eps), momentum=float(module.momentum)), **own)


def _layer_norm(reader: Reader, module: Any) -> None:
    axes = (reader.shape[-1], *reader.shape[:-1])  # PyTorch's
    whole = tuple(module.normalized_shape) == axes
    reader.need(whole, f"over {tuple(module.normalized_shape)} of {axes}: it must normalise all axes of a sample")
    reader.need(module.elementwise_affine, "without weights: minigan's has them")
    beta = np.zeros(axes) if module.bias is None else _array(module.bias)
    own = {name: np.moveaxis(a, 0, -1) for name, a in {"gamma": _array(module.weight), "beta": beta}.items()}
    reader.pass_on(LayerNorm(axes=len(axes), eps=float(module.eps)), **own)


def _plain(kind: type[Layer]) -> Callable[[Reader, Any], None]:
    return lambda reader, module: reader.pass_on(kind())


def _leaky_relu(reader: Reader, module: Any) -> None:
    slope = float(module.negative_slope)
    reader.need(0 < slope <= 1, f"with negative_slope={slope:g}: expected a number above 0 and up to 1")
    reader.pass_on(LeakyReLU(slope))


def _softplus(reader: Reader, module: Any) -> None:
    reader.need(module.beta == 1 and module.threshold >= 20, f"with beta={module.beta:g}, threshold={module.threshold:g}")
    reader.pass_on(Softplus())


def _softmax(reader: Reader, module: Any) -> None:
    axes = len(reader.shape) + 1
    reader.need(
        module.dim is not None and module.dim % axes == 1, f"with dim={module.dim}: minigan's goes over the channels, dim=1"
    )
    reader.pass_on(Softmax())


def _dropout(reader: Reader, module: Any) -> None:
    reader.need(module.p < 1, "with p=1: nothing would be left")
    reader.pass_on(Dropout(float(module.p)))


def _identity(reader: Reader, module: Any) -> None:
    """Needs no layer."""


def _flatten(reader: Reader, module: Any) -> None:
    before, last = reader.shape, module.end_dim in (-1, len(reader.shape))
    reader.need(last and 1 <= module.start_dim <= 2, f"from {module.start_dim} to {module.end_dim}: start at 1 or 2, end at -1")
    size = int(np.prod(before))
    if len(before) <= module.start_dim:
        return  # there is nothing to flatten
    if module.start_dim == 2:
        after = (size // before[-1], before[-1])
        reader.add(Reshape(after), after)
        return
    reader.add(Flatten(), (size,))
    reader.image, reader.turnable = None if is_trivial(before) else before, None


def _unflatten(reader: Reader, module: Any) -> None:
    sizes, before = tuple(map(int, module.unflattened_size)), reader.shape
    if module.dim == 2 and len(before) == 2:
        after = (*(before[0] // -int(np.prod(sizes)) if n == -1 else n for n in sizes), before[-1])
        reader.add(Reshape(after), after)
        return
    reader.need(module.dim in (1, -1) and len(before) == 1, f"of axis {module.dim} on {before}: expected a row, and dim=1")
    known = int(np.prod([n for n in sizes if n != -1]))
    sizes = tuple(before[0] // known if n == -1 else n for n in sizes)
    reader.need(len(sizes) > 1 and int(np.prod(sizes)) == before[0], f"to {sizes} after {before[0]} values")
    after = (*sizes[1:], sizes[0])
    if reader.image != after and not (is_trivial(after) and reader.image is None):
        reader.need(reader.image is None and reader.turnable is not None, f"to {sizes} without a Linear before it")
        for own, name, axis in reader.turnable or ():
            own[name] = to_own_order(own[name], after, axis)
    reader.add(Reshape(after), after)
    reader.image = reader.turnable = None


def _upsample(reader: Reader, module: Any) -> None:
    factor = module.scale_factor if isinstance(module.scale_factor, tuple) else (module.scale_factor,) * 2
    is_whole = module.scale_factor is not None and len(factor) == 2 and all(float(f).is_integer() for f in factor)
    told = f"with mode={module.mode!r}, scale_factor={module.scale_factor}"
    reader.need(module.mode == "nearest" and is_whole, f"{told}: minigan's repeats each pixel a whole number of times")
    reader.need(len(reader.shape) == 3, f"on {reader.shape}: it needs an image (H, W, C)")
    height, width = (int(f) for f in factor)
    reader.add(Upsample((height, width)), (reader.shape[0] * height, reader.shape[1] * width, reader.shape[2]))


READERS: dict[str, Callable[[Reader, Any], None]] = {
    "Linear": _linear,
    "Conv2d": _convolution(Conv2d),
    "ConvTranspose2d": _convolution(ConvTranspose2d),
    **dict.fromkeys(PLACES, _batch_norm),
    "LayerNorm": _layer_norm,
    "ReLU": _plain(ReLU),
    "LeakyReLU": _leaky_relu,
    "Tanh": _plain(Tanh),
    "Sigmoid": _plain(Sigmoid),
    "Softplus": _softplus,
    "Softmax": _softmax,
    "Dropout": _dropout,
    "Identity": _identity,
    "Flatten": _flatten,
    "Unflatten": _unflatten,
    "Upsample": _upsample,
}
