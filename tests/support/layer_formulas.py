"""The formulas that layers hand to a backend: {name: (formula, number of arrays, constants)}."""

from minigan.layers import activations, norm

FORMULAS = {
    "relu": (activations.relu, 1, {}),
    "relu_grad": (activations.relu_grad, 2, {}),
    "leaky_relu": (activations.leaky_relu, 1, {"slope": 0.2}),
    "leaky_relu_grad": (activations.leaky_relu_grad, 2, {"slope": 0.2}),
    "tanh": (activations.tanh, 1, {}),
    "tanh_grad": (activations.tanh_grad, 2, {}),
    "sigmoid": (activations.sigmoid, 1, {}),
    "sigmoid_grad": (activations.sigmoid_grad, 2, {}),
    "softplus": (activations.softplus, 1, {}),
    "softplus_grad": (activations.softplus_grad, 2, {}),
    "dropout_mask": (activations.dropout_mask, 1, {"rate": 0.3}),
    "normalize_grad": (norm.normalize_grad, 5, {}),
    "batch_norm": (norm.batch_norm, 5, {}),
    "batch_norm_grad": (norm.batch_norm_grad, 7, {}),
}
