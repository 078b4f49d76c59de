"""A trained network for other programs: as an ONNX file, as a module of PyTorch, and back from there.

mg.export.onnx(net, "generator.onnx"); mg.export.torch(net, "generator.py"); net = mg.from_torch(module, (28, 28, 1))
"""

from minigan.export.from_torch import from_torch
from minigan.export.rules import add_rule
from minigan.export.to_onnx import onnx
from minigan.export.to_torch import torch

__all__ = ["add_rule", "from_torch", "onnx", "torch"]
