"""A network as an ONNX file, for onnxruntime, Netron and what else reads that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigan.errors import ModelError, OptionError, shorten
from minigan.export.means import BernoulliMean
from minigan.export.plan import Step, Turn, plan
from minigan.export.rules import ONNX, RULES, rule_of
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

OPSET = 17  # the first with LayerNormalization
IR_VERSION = 8  # that of its time, so that older programs read it too
BATCH = "N"  # the free axis


def onnx(
    net: Sequential,
    path: str | Path,
    *,
    names: tuple[str, str] = ("x", "y"),
    about: str = "",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a network at inference as an ONNX model of float32.

    Input and output have minigan's shapes, as (N, H, W, C), with a free batch axis N. Within, channels come first, as ONNX has
    them. names: of the input and the output; weights are called as in net.params, "0.weight". about, metadata: texts to keep in
    the file. Dropout, DiffAugment and PhaseShuffle do nothing at inference, and a SpectralNorm's weight is stored divided by σ.
    Raises ModelError where onnx is not installed, for a layer of your own without a rule (see add_rule), and where onnx's
    checker refuses what came out; OptionError for a path that does not end in .onnx, or bad names.
    Source: the operators of opset 17, onnx.ai/onnx/operators.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise OptionError(f"path is {shorten(str(path))}: expected a name that ends in .onnx")
    write_atomically(path, onnx_bytes(net, path.stem, names=names, about=about, metadata=metadata))


def onnx_bytes(
    net: Sequential,
    title: str,
    *,
    names: Sequence[str],
    about: str = "",
    columns: str = "",
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The content of such a file. columns: what those of the output are, to keep with it."""
    helper = package().helper
    if len(names) != 2 or not all(isinstance(name, str) and name for name in names) or names[0] == names[1]:
        raise OptionError(f"names is {shorten(names)}: expected two different names, of the input and the output")
    start, steps = plan(net, ends_first=False)
    graph = Graph(names[0])
    end = graph.finish(graph.run(steps, names[0]), names[1])
    infos = [graph.info(name, (BATCH, *shape)) for name, shape in ((names[0], start.axes), (end, net.output_shape))]
    infos[1].doc_string = columns
    body = helper.make_graph(
        graph.nodes, title, infos[:1], infos[1:], graph.weights, doc_string=about, value_info=graph.infos_but(end)
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        body, ir_version=IR_VERSION, opset_imports=opsets, producer_name="minigan", producer_version=VERSION, doc_string=about
    )
    helper.set_model_props(model, {"version": VERSION, **(metadata or {})})
    return _checked(model)


def package() -> Any:
    """The package onnx, which nothing else of minigan needs."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError:
        raise ModelError("writing ONNX needs the package onnx, which is not installed: pip install onnx") from None
    return onnx


def _checked(model: Any) -> bytes:
    """The model with all shapes that can be inferred, as bytes. Raises ModelError if the checker refuses it."""
    checks = package()
    try:
        model = checks.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        checks.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)
    except Exception as error:  # the checker's, the inference's and protobuf's own, of several kinds
        raise ModelError(f"onnx refuses the model: {' '.join(str(error).split())}") from None


class Graph:
    """An ONNX graph that grows by a step at a time. Its nodes are called as minigan calls the layer, "4.ConvTranspose2d"; where
    a layer needs several, the others "4.MinibatchStd/Sqrt".
    """

    def __init__(self, start: str) -> None:
        self._helper, self._start = package().helper, start
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.infos: list[Any] = []
        self.step: Any = None  # the one whose rule is asked

    def run(self, steps: Sequence[Step], x: str) -> str:
        """The nodes of steps in a row; the name of the last one's output."""
        for step in steps:
            outer, self.step, first = self.step, step, len(self.nodes)
            y = rule_of(step.layer, ONNX)(self, step.layer, x)
            if y != x:
                y = self._rename(y, f"{step.path}.{step.layer.name}", first)
                self.infos.append(self.info(y, (BATCH, *step.y.axes)))
            x, self.step = y, outer
        return x

    def node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """One more node; the name of its output. Attributes are those of the ONNX operator."""
        name = _free(f"{self.step.path}.{self.step.layer.name}/{operator}", {node.name for node in self.nodes})
        self.nodes.append(self._helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, name: str) -> str:
        """The name of a parameter or state of the layer, "3.weight", which is kept in the file."""
        return self._kept(f"{self.step.path}.{name}", self.step.arrays[name])

    def constant(self, values: Any, name: str = "constant") -> str:
        """The name of an array that is kept in the file: whole numbers as int64, others as float32."""
        array = np.asarray(values)
        array = array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
        return self._kept(_free(f"{self.step.path}.{name}", {weight.name for weight in self.weights}), array)

    def _kept(self, name: str, array: np.ndarray) -> str:
        if name not in {weight.name for weight in self.weights}:
            self.weights.append(package().numpy_helper.from_array(array, name))
        return name

    def _rename(self, old: str, new: str, first: int) -> str:
        """Give the node with this output another name, and its output too, where nodes from `first` on use it."""
        for node in self.nodes[first:]:
            if node.output[0] == old:
                node.name = node.output[0] = new
            node.input[:] = [new if name == old else name for name in node.input]
        return new

    def info(self, name: str, shape: Sequence[int | str]) -> Any:
        return self._helper.make_tensor_value_info(name, package().TensorProto.FLOAT, list(shape))

    def infos_but(self, end: str) -> list[Any]:
        """The shapes of all values within, for programs that draw the graph."""
        return [info for info in self.infos if info.name != end]

    def finish(self, y: str, name: str) -> str:
        """Call the output `name`."""
        if y == self._start:  # no layer does anything at inference
            self.nodes.append(self._helper.make_node("Identity", [y], [name], name="Identity"))
            return name
        for node in self.nodes:
            if node.output[0] == y:
                node.output[0] = name
        self.infos = [info for info in self.infos if info.name != y]
        return name


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where it is taken."""
    return next(free for free in (name, *(f"{name}_{n}" for n in range(2, len(taken) + 3))) if free not in taken)


# -- the rules: (graph, layer, name of the input) -> name of the output --------------------------------------------------


def _dense(graph: Graph, layer: Dense, x: str) -> str:
    return graph.node("Gemm", [x, graph.weight("weight"), *_bias(graph, layer)])


def _bias(graph: Graph, layer: Any) -> list[str]:
    return [graph.weight("bias")] if layer.has_bias else []


def _convolution(graph: Graph, layer: Conv2d, x: str) -> str:
    sizes = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "dilations": layer.dilation, "pads": 2 * layer.padding}
    return graph.node("Conv", [x, graph.weight("weight"), *_bias(graph, layer)], **sizes)


def _conv_transpose(graph: Graph, layer: ConvTranspose2d, x: str) -> str:
    """output_padding, where it is not below the stride as onnxruntime wants it, becomes a kernel with zeros at its end, which
    reaches further by the dilation, and more padding there.
    """
    more = [int(o >= s) for o, s in zip(layer.output_padding, layer.stride, strict=True)]
    w = graph.step.arrays["weight"]
    graph.step.arrays["weight"] = np.pad(w, [(0, 0), (0, 0), (0, more[0]), (0, more[1])])
    ends = [layer.padding[a] + more[a] * (layer.dilation[a] - layer.output_padding[a]) for a in (0, 1)]
    sizes = {
        "kernel_shape": graph.step.arrays["weight"].shape[2:],
        "strides": layer.stride,
        "dilations": layer.dilation,
        "pads": (*layer.padding, *ends),
        "output_padding": [0 if more[a] else layer.output_padding[a] for a in (0, 1)],
    }
    return graph.node("ConvTranspose", [x, graph.weight("weight"), *_bias(graph, layer)], **sizes)


def _batch_norm(graph: Graph, layer: BatchNorm, x: str) -> str:
    weights = [graph.weight(name) for name in ("gamma", "beta", "running_mean", "running_var")]
    return graph.node("BatchNormalization", [x, *weights], epsilon=layer.eps)


def _layer_norm(graph: Graph, layer: LayerNorm, x: str) -> str:
    weights = [graph.weight(name) for name in ("gamma", "beta")]
    return graph.node("LayerNormalization", [x, *weights], axis=-layer.axes, epsilon=layer.eps)


def _elementwise(operator: str) -> Any:
    return lambda graph, layer, x: graph.node(operator, [x])


def _leaky_relu(graph: Graph, layer: LeakyReLU, x: str) -> str:
    return graph.node("LeakyRelu", [x], alpha=layer.options["slope"])


def _softmax(graph: Graph, layer: Softmax, x: str) -> str:
    return graph.node("Softmax", [x], axis=1 if graph.step.x.first else -1)


def _nothing(graph: Graph, layer: Layer, x: str) -> str:
    """At inference y = x."""
    return x


def _reshape(graph: Graph, layer: Reshape, x: str) -> str:
    if graph.step.x.axes == graph.step.y.axes:
        return x
    return graph.node("Reshape", [x, graph.constant([0, *graph.step.y.axes], "shape")])  # 0: as many samples as x has


def _upsample(graph: Graph, layer: Upsample, x: str) -> str:
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.node("Resize", [x, "", graph.constant([1.0, 1.0, *map(float, layer.factor)], "factor")], **nearest)


def _residual(graph: Graph, layer: Residual, x: str) -> str:
    fx = graph.run(graph.step.within, x)
    if layer.scale != 1:
        fx = graph.node("Mul", [fx, graph.constant(float(layer.scale), "scale")])
    return graph.node("Add", [x, fx])


def _bernoulli_mean(graph: Graph, layer: BernoulliMean, x: str) -> str:
    return graph.node("Tanh", [graph.node("Mul", [x, graph.constant(0.5, "half")])])


def _turn(graph: Graph, turn: Turn, x: str) -> str:
    last = len(graph.step.x.shape)
    return graph.node("Transpose", [x], perm=[0, last, *range(1, last)] if graph.step.y.first else [0, *range(2, last + 1), 1])


def _minibatch_std(graph: Graph, layer: MinibatchStd, x: str) -> str:
    """As the layer writes it, over groups of G samples: G is the batch's size where that is smaller."""
    axes, places = graph.step.y.axes, len(graph.step.x.axes) - 1
    count = graph.node("Shape", [x], start=0, end=1)
    group = count
    if layer.group_size is not None:
        group = graph.node("Min", [count, graph.constant([layer.group_size])])
    rows = graph.node("Reshape", [x, graph.node("Concat", [group, graph.constant([-1, layer.size])], axis=0)])  # (G, M, K)
    deviation = graph.node("Sub", [rows, graph.node("ReduceMean", [rows], axes=[0])])
    var = graph.node("ReduceMean", [graph.node("Mul", [deviation, deviation])], axes=[0])
    std = graph.node("Sqrt", [graph.node("Add", [var, graph.constant(float(layer.eps))])])
    r = graph.node("ReduceMean", [std], axes=[2])  # (1, M, 1)
    channel = 1 if graph.step.x.first else places + 1
    own = [1 if axis + 1 == channel else size for axis, size in enumerate(axes)]  # of the new channel
    every = graph.node("Expand", [r, graph.node("Concat", [group, graph.constant([1, int(np.prod(own))])], axis=0)])
    appended = graph.node("Reshape", [every, graph.constant([-1, *own])])
    return graph.node("Concat", [x, appended], axis=channel)


RULES[ONNX].update(
    {
        Dense: _dense,
        Conv2d: _convolution,
        ConvTranspose2d: _conv_transpose,
        BatchNorm: _batch_norm,
        LayerNorm: _layer_norm,
        ReLU: _elementwise("Relu"),
        LeakyReLU: _leaky_relu,
        Tanh: _elementwise("Tanh"),
        Sigmoid: _elementwise("Sigmoid"),
        Softplus: _elementwise("Softplus"),
        Softmax: _softmax,
        Dropout: _nothing,
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
