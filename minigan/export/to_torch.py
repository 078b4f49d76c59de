"""A network as a small Python file of PyTorch's own layers, with a file of weights beside it."""

from __future__ import annotations

import inspect
import json
import keyword
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigan.errors import ModelError, OptionError, shorten
from minigan.export.means import BernoulliMean
from minigan.export.plan import Form, Step, Turn, plan
from minigan.export.rules import RULES, TORCH, rule_of
from minigan.export.version import VERSION
from minigan.files import write_atomically
from minigan.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    DiffAugment,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    MinibatchStd,
    PhaseShuffle,
    ReLU,
    Reshape,
    Residual,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
    Upsample,
)
from minigan.network import Sequential

IMPORTED = ("pathlib", "safetensors", "torch")  # whose names the file must not take

FILE = '''"""{title}

{about}Input: {x}. Output: {y}.{note}

    import torch
    from {stem} import load

    model = load()  # with the weights in {stem}.safetensors beside this file
    y = model({example})
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

{helpers}
class {name}(nn.Sequential):
    def __init__(self):
        super().__init__(
{layers}
        )


def load(path=Path(__file__).with_suffix(".safetensors")):
    """The network with its weights, ready for inference; .train() makes it ready to be trained on."""
    model = {name}()
    model.load_state_dict(load_file(path))
    return model.eval()
'''

PERMUTE = '''
class Permute(nn.Module):
    """Axes in another order."""

    def __init__(self, *axes):
        super().__init__()
        self.axes = axes

    def forward(self, x):
        return x.permute(self.axes)

    def extra_repr(self):
        return str(self.axes)
'''

RESIDUAL = '''
class Residual(nn.Module):
    """x + scale * f(x)"""

    def __init__(self, *layers, scale=1.0):
        super().__init__()
        self.layers, self.scale = nn.Sequential(*layers), scale

    def forward(self, x):
        return x + self.scale * self.layers(x)
'''

MINIBATCH_STD = '''
class MinibatchStd(nn.Module):
    """Appends a channel that tells how much the samples of a group differ (Karras et al. 2018)."""

    def __init__(self, group_size=None, eps=1e-8, channel_axis=1):
        super().__init__()
        self.group_size, self.eps, self.channel_axis = group_size, eps, channel_axis

    def forward(self, x):
        group = min(self.group_size or len(x), len(x))
        rows = x.reshape(group, len(x) // group, -1)
        std = (rows.var(0, unbiased=False) + self.eps).sqrt().mean(1)
        shape = list(x.shape)
        shape[self.channel_axis] = 1
        more = std.repeat(group).reshape(-1, *[1] * (x.ndim - 1)).expand(shape)
        return torch.cat([x, more], self.channel_axis)
'''


HALF_TANH = '''
class HalfTanh(nn.Module):
    """tanh(y / 2) = 2 sigmoid(y) - 1: from the logit of a pixel to its mean in [-1, 1]"""

    def forward(self, y):
        return torch.tanh(y / 2)
'''


def torch(
    net: Sequential, path: str | Path, *, title: str = "", about: str = "", metadata: Mapping[str, str] | None = None
) -> None:
    """Write a network as a Python file `path` with an nn.Sequential, and its weights, as float32, in .safetensors beside it.

    Both load without minigan: `from generator import load; model = load()`. The axes are PyTorch's, channels first: (N, C, H,
    W) for minigan's (N, H, W, C), (N, C, T) for (N, T, C). A SpectralNorm's weight is stored divided by σ, DiffAugment and
    PhaseShuffle, which do nothing at inference, are left out. title, about: lines for the file's docstring; metadata: texts to
    keep with the weights.
    Raises OptionError unless the path is a name in .py that can be imported, ModelError for a layer of your own without a rule
    (see add_rule), and for what PyTorch has no layer for.
    Source: the layers of torch.nn, pytorch.org/docs/stable/nn.html.
    """
    for target, content in torch_files(net, path, title=title, about=about, metadata=metadata).items():
        write_atomically(target, content)


def torch_files(
    net: Sequential,
    path: str | Path,
    *,
    title: str = "",
    about: str = "",
    example: str = "",
    metadata: Mapping[str, str] | None = None,
) -> dict[Path, bytes]:
    """The content of both files, the weights first. example: in Python, what the network may be called with."""
    from safetensors.numpy import save

    path = Path(path)
    if path.suffix != ".py" or not path.stem.isidentifier() or keyword.iskeyword(path.stem) or path.stem in IMPORTED:
        raise OptionError(f"path is {shorten(str(path))}: expected a name in .py that Python can import, as generator.py")
    start, steps = plan(net, ends_first=True)
    module = Module()
    module.run(steps)
    words = {"x": _in_words(start), "y": _in_words(steps[-1].y), "stem": path.stem, "name": _class_name(path.stem, module)}
    text = FILE.format(
        title=_harmless(title or f"A network of minigan {VERSION}."),
        about=f"{_harmless(about)}\n" if about else "",
        note=" Channels come first, as PyTorch has them." if len(start.shape) > 1 or len(net.output_shape) > 1 else "",
        example=example or f"torch.{'randn' if len(start.shape) == 1 else 'zeros'}({', '.join(map(str, (16, *start.axes)))})",
        helpers="".join(f"{source}\n" for source in module.helpers.values()),
        layers=module.text(3),
        **words,
    )
    kept = json.dumps({"version": VERSION, **(metadata or {})})  # under one key: safetensors writes several in no fixed order
    weights = save(module.weights(), metadata={"minigan": kept})
    return {path.with_suffix(".safetensors"): weights, path: _tidy(text).encode()}


def _tidy(text: str) -> str:
    """Two empty lines at most."""
    while "\n\n\n\n" in text:
        text = text.replace("\n\n\n\n", "\n\n\n")
    return text


def _class_name(stem: str, module: Module) -> str:
    """Of generator.py Generator; another name than those of the classes that the file uses."""
    name = "".join(part[:1].upper() + part[1:] for part in stem.split("_"))
    return f"Network{name}" if not name.isidentifier() or name in ("Path", *module.helpers) else name


def _in_words(form: Form) -> str:
    return f"({', '.join(map(str, ('N', *form.axes)))})"


def _harmless(text: str) -> str:
    """Text that can stand in a docstring, whatever it quotes."""
    return " ".join(text.split()).replace("\\", "/").replace('"', "'")


class Module:
    """An nn.Sequential that grows: the calls that make its modules, and their weights."""

    def __init__(self) -> None:
        self.modules: list[tuple[str, Any]] = []  # a call, and its weights by name or the Module within
        self.helpers: dict[str, str] = {}
        self.step: Any = None  # the one whose rule is asked

    def run(self, steps: Sequence[Step]) -> None:
        """The modules of steps in a row."""
        for self.step in steps:
            rule_of(self.step.layer, TORCH)(self, self.step.layer)

    def add(self, call: str, /, **weights: np.ndarray) -> None:
        """One more module: the call that makes it, and its weights by the names that they have there."""
        self.modules.append((call, weights))

    def add_around(self, name: str, options: str, steps: Sequence[Step]) -> None:
        """One more module: a helper with those of other steps in its `layers`, and options behind them."""
        within = Module()
        within.run(steps)
        self.helpers |= within.helpers
        self.modules.append((f"{name}(\n{{}}\n{options})", within))

    def helper(self, name: str, source: str) -> None:
        """The source of a class that calls may name, to stand above the network."""
        self.helpers[name] = f"\n{inspect.cleandoc(source)}\n"

    def text(self, depth: int) -> str:
        """The calls, one a line."""
        space, lines = " " * (4 * depth), []
        for call, own in self.modules:
            if isinstance(own, Module):
                opening, closing = call.split("\n{}\n")
                closing = f"{space}    {closing[:-1]},\n{space})" if closing != ")" else f"{space})"
                lines.append(f"{space}{opening}\n{own.text(depth + 1)}\n{closing},")
            else:
                lines.append(f"{space}{call},")
        return "\n".join(lines)

    def weights(self) -> dict[str, np.ndarray]:
        """By the names that PyTorch gives them: "0.weight"."""
        found: dict[str, np.ndarray] = {}
        for index, (_, own) in enumerate(self.modules):
            named = {f"layers.{n}": a for n, a in own.weights().items()} if isinstance(own, Module) else own
            found |= {f"{index}.{name}": np.ascontiguousarray(a) for name, a in named.items()}
        return found


# -- the rules: (module, layer) -> None ----------------------------------------------------------------------------------


def _number_or_pair(value: tuple[int, int]) -> str:
    return str(value[0]) if value[0] == value[1] else str(value)


def _call(name: str, *sizes: Any, **options: tuple[Any, Any]) -> str:
    """A call, without the options (value, default) that have their default."""
    given = [f"{option}={value}" for option, (value, default) in options.items() if value != default]
    return f"{name}({', '.join([*map(str, sizes), *given])})"


def _dense(module: Module, layer: Dense) -> None:
    arrays = dict(module.step.arrays)
    arrays["weight"] = arrays["weight"].T
    call = _call("nn.Linear", *reversed(arrays["weight"].shape), bias=(layer.has_bias, True))
    module.add(call, **arrays)


def _convolution(module: Module, layer: Conv2d | ConvTranspose2d) -> None:
    sizes = module.step.x.shape[-1], layer.channels, _number_or_pair(layer.kernel_size)
    defaults = {"stride": "1", "padding": "0", "output_padding": "0", "dilation": "1"}
    given = {name: _number_or_pair(getattr(layer, name)) for name in defaults if hasattr(layer, name)}
    options = {name: (value, defaults[name]) for name, value in given.items()}
    module.add(_call(f"nn.{_kind(layer)}", *sizes, **options, bias=(layer.has_bias, True)), **module.step.arrays)


def _kind(layer: Layer) -> str:
    return "ConvTranspose2d" if isinstance(layer, ConvTranspose2d) else "Conv2d"


def _batch_norm(module: Module, layer: BatchNorm) -> None:
    places, own = max(1, len(module.step.x.shape) - 1), module.step.arrays
    if places > 3:
        raise ModelError(
            f"{layer.label} normalises {module.step.x.shape}, and PyTorch's takes at most four axes beside the batch's"
        )
    call = _call(f"nn.BatchNorm{places}d", len(own["gamma"]), eps=(layer.eps, 1e-5), momentum=(layer.momentum, 0.1))
    running = {name: own[name] for name in ("running_mean", "running_var")}
    module.add(call, weight=own["gamma"], bias=own["beta"], **running, num_batches_tracked=np.array(0, np.int64))


def _layer_norm(module: Module, layer: LayerNorm) -> None:
    own = module.step.arrays
    shape = own["gamma"].shape
    call = _call("nn.LayerNorm", shape[0] if len(shape) == 1 else shape, eps=(layer.eps, 1e-5))
    module.add(call, weight=own["gamma"], bias=own["beta"])


def _plain(name: str) -> Any:
    return lambda module, layer: module.add(f"nn.{name}()")


def _leaky_relu(module: Module, layer: LeakyReLU) -> None:
    module.add(f"nn.LeakyReLU({layer.options['slope']})")


def _softmax(module: Module, layer: Softmax) -> None:
    module.add(f"nn.Softmax(dim={1 if module.step.x.first else -1})")


def _dropout(module: Module, layer: Dropout) -> None:
    module.add(f"nn.Dropout({layer.rate})")


def _nothing(module: Module, layer: Layer) -> None:
    """At inference y = x."""


def _reshape(module: Module, layer: Reshape) -> None:
    before, after = module.step.x.axes, module.step.y.axes
    if before == after:
        return
    same = len(before) > 1 and before[0] == after[0]
    if len(after) == 1 or (same and len(after) == 2):
        module.add("nn.Flatten()" if len(after) == 1 else "nn.Flatten(2)")
    elif len(before) == 1 or (same and len(before) == 2):
        module.add(f"nn.Unflatten({len(before)}, {after[len(before) - 1 :]})")
    else:
        module.add("nn.Flatten()")
        module.add(f"nn.Unflatten(1, {after})")


def _upsample(module: Module, layer: Upsample) -> None:
    module.add(f"nn.Upsample(scale_factor={_number_or_pair(layer.factor)})")


def _residual(module: Module, layer: Residual) -> None:
    module.helper("Residual", RESIDUAL)
    module.add_around("Residual", "" if layer.scale == 1 else f"scale={layer.scale}", module.step.within)


def _minibatch_std(module: Module, layer: MinibatchStd) -> None:
    module.helper("MinibatchStd", MINIBATCH_STD)
    axis = 1 if module.step.x.first else len(module.step.x.shape)
    options = {"group_size": (layer.group_size, None), "eps": (layer.eps, 1e-8), "channel_axis": (axis, 1)}
    module.add(_call("MinibatchStd", **options))


def _bernoulli_mean(module: Module, layer: BernoulliMean) -> None:
    module.helper("HalfTanh", HALF_TANH)
    module.add("HalfTanh()")


def _turn(module: Module, turn: Turn) -> None:
    module.helper("Permute", PERMUTE)
    last = len(module.step.x.shape)
    order = (0, last, *range(1, last)) if module.step.y.first else (0, *range(2, last + 1), 1)
    module.add(f"Permute{order}")


RULES[TORCH].update(
    {
        Dense: _dense,
        Conv2d: _convolution,
        ConvTranspose2d: _convolution,
        BatchNorm: _batch_norm,
        LayerNorm: _layer_norm,
        ReLU: _plain("ReLU"),
        LeakyReLU: _leaky_relu,
        Tanh: _plain("Tanh"),
        Sigmoid: _plain("Sigmoid"),
        Softplus: _plain("Softplus"),
        Softmax: _softmax,
        Dropout: _dropout,
        DiffAugment: _nothing,
        PhaseShuffle: _nothing,
        Flatten: _reshape,
        Reshape: _reshape,
        Upsample: _upsample,
        Residual: _residual,
        MinibatchStd: _minibatch_std,
        BernoulliMean: _bernoulli_mean,
        Turn: _turn,  # type: ignore[dict-item]
    }
)
