"""The formulas that layers hand to a backend: {name: (formula, number of arrays, constants)}."""

import minigan as mg
from minigan.layers import dropout, norm

OPTIONS = {"leaky_relu": {"slope": 0.2}}
ELEMENTWISE = {"relu": mg.ReLU, "leaky_relu": mg.LeakyReLU, "tanh": mg.Tanh, "sigmoid": mg.Sigmoid, "softplus": mg.Softplus}
FORMULAS = {
    **{name: (layer.f, 1, OPTIONS.get(name, {})) for name, layer in ELEMENTWISE.items()},
    **{f"{name}_dx": (layer._dx, 2, OPTIONS.get(name, {})) for name, layer in ELEMENTWISE.items()},
    "dropout_mask": (dropout.dropout_mask, 1, {"rate": 0.3}),
    "normalize_grad": (norm.normalize_grad, 5, {}),
    "batch_norm": (norm.batch_norm, 5, {}),
    "batch_norm_grad": (norm.batch_norm_grad, 7, {}),
}
