"""One table of rules: how each layer is written for another program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigan import layers
from minigan.errors import ModelError, OptionError, shorten
from minigan.layers import Layer

Rule = Callable[..., Any]
ONNX, TORCH = "ONNX", "PyTorch"
RULES: dict[str, dict[type[Layer], Rule]] = {ONNX: {}, TORCH: {}}  # filled by to_onnx and to_torch, and by add_rule
OWN = {getattr(layers, name) for name in layers.__all__} - {layers.Layer, layers.Linear, layers.Elementwise}
FORMULA = {
    "forward",
    "apply",
    "f",
    "build",
}  # what a class computes: one that changes none of these computes what its base does


def add_rule(layer: type[Layer], *, onnx: Rule | None = None, torch: Rule | None = None) -> None:
    """Say how a layer of your own is written: for ONNX, for PyTorch, or for both.

    onnx(graph, layer, x) -> y: the name of the output's value, for x the name of the input's, which has minigan's axes, the
    channels last (of an Elementwise, either order). graph.node("Mul", [x, graph.weight("a")]) adds a node and returns its
    output, graph.weight names a parameter or state of the layer, graph.constant(array) an array.
    torch(module, layer): adds modules by module.add("Scale(3)", a=array), the call that makes one and its weights by the names
    that it has there; module.helper("Scale", SOURCE) puts the source of a class of your own above them.
    Raises OptionError for what is no class of a layer of your own, or where both are left out.
    """
    if not (isinstance(layer, type) and issubclass(layer, Layer)) or layer in OWN:
        raise OptionError(f"add_rule: layer is {shorten(layer)}: expected a class of your own, derived from minigan.Layer")
    given = {target: rule for target, rule in ((ONNX, onnx), (TORCH, torch)) if rule is not None}
    if not given or not all(map(callable, given.values())):
        raise OptionError(f"add_rule: {layer.__name__} comes without a rule: give onnx=function, torch=function, or both")
    for target, rule in given.items():
        RULES[target][layer] = rule


def kind_of(layer: Layer) -> type[Layer]:
    """The class of minigan's own that computes what this layer does, else its own class."""
    for kind in type(layer).__mro__:
        if kind in OWN:
            return kind
        if FORMULA & vars(kind).keys() or any(kind in rules for rules in RULES.values()):
            break
    return type(layer)


def rule_of(layer: Any, target: str) -> Rule:
    """Raises ModelError, naming the layer and what to do, if there is none."""
    kind = kind_of(layer) if isinstance(layer, Layer) else type(layer)
    if kind not in RULES[target]:
        word = "onnx" if target == ONNX else "torch"
        raise ModelError(
            f"{layer.label} has no rule for {target}: give it one by mg.export.add_rule({kind.__name__}, {word}=function), see "
            "help(mg.export.add_rule)"
        )
    return RULES[target][kind]
