"""Forward formulas written out as loops over single numbers: the slowest and plainest oracle."""

import math

import numpy as np


def dense(x, weight, bias):
    batch, (inputs, outputs) = len(x), weight.shape
    y = np.zeros((batch, outputs))
    for n in range(batch):
        for o in range(outputs):
            y[n, o] = bias[o] + sum(x[n, i] * weight[i, o] for i in range(inputs))
    return y


def conv2d(x, w, g):
    """y[n, o, p, f] = Σ x[n, o·s − pad + i·d, …, c] w[i, j, c, f], pixels outside the image being 0."""
    batch, height, width, _ = x.shape
    y = np.zeros((batch, *g.output, w.shape[3]))
    for n, o, p, f in np.ndindex(*y.shape):
        for i, j, c in np.ndindex(*w.shape[:3]):
            row = o * g.stride[0] - g.padding[0] + i * g.dilation[0]
            column = p * g.stride[1] - g.padding[1] + j * g.dilation[1]
            if 0 <= row < height and 0 <= column < width:
                y[n, o, p, f] += x[n, row, column, c] * w[i, j, c, f]
    return y


def conv2d_transpose(y, w, g):
    """Every value of y is spread over the pixels that conv2d would have read for it."""
    x = np.zeros((len(y), *g.image, w.shape[2]))
    for n, o, p, f in np.ndindex(*y.shape):
        for i, j, c in np.ndindex(*w.shape[:3]):
            row = o * g.stride[0] - g.padding[0] + i * g.dilation[0]
            column = p * g.stride[1] - g.padding[1] + j * g.dilation[1]
            if 0 <= row < g.image[0] and 0 <= column < g.image[1]:
                x[n, row, column, c] += y[n, o, p, f] * w[i, j, c, f]
    return x


def normalized(values, eps):
    """(v − mean) / √(variance + eps) of a flat list of numbers."""
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    return [(v - mean) / math.sqrt(variance + eps) for v in values]


def batch_norm(x, gamma, beta, eps):
    y = np.zeros(x.shape)
    for c in range(x.shape[-1]):
        y[..., c] = gamma[c] * np.reshape(normalized(x[..., c].ravel().tolist(), eps), x.shape[:-1]) + beta[c]
    return y


def layer_norm(x, gamma, beta, eps):
    y = np.zeros(x.shape)
    for index in np.ndindex(*x.shape[: x.ndim - gamma.ndim]):
        y[index] = gamma * np.reshape(normalized(x[index].ravel().tolist(), eps), gamma.shape) + beta
    return y


def softmax(x):
    y = np.zeros(x.shape)
    for index in np.ndindex(*x.shape[:-1]):
        powers = [math.exp(value) for value in x[index].tolist()]
        y[index] = [power / sum(powers) for power in powers]
    return y


def upsample(x, factor):
    batch, height, width, channels = x.shape
    y = np.zeros((batch, height * factor[0], width * factor[1], channels))
    for n, h, w, c in np.ndindex(*y.shape):
        y[n, h, w, c] = x[n, h // factor[0], w // factor[1], c]
    return y


def minibatch_std(x, group_size, eps):
    """x with one more channel, in which sample n has the mean deviation of the samples n mod M."""
    groups = len(x) // min(group_size or len(x), len(x))
    values, y = x.reshape(len(x), -1), np.zeros((*x.shape[:-1], x.shape[-1] + 1))
    for n in range(len(x)):
        members = range(n % groups, len(x), groups)
        deviations = []
        for k in range(values.shape[1]):
            mean = sum(values[m, k] for m in members) / len(members)
            deviations.append(math.sqrt(sum((values[m, k] - mean) ** 2 for m in members) / len(members) + eps))
        y[n, ..., :-1], y[n, ..., -1] = x[n], sum(deviations) / len(deviations)
    return y


def spectral_norm(weight, u, v):
    """W / Σ u_i W_ij v_j, for u and v in shapes that broadcast against W."""
    outputs, inputs = (tuple(np.broadcast_to(a, weight.shape).ravel().tolist()) for a in (u, v))
    return weight / sum(a * w * b for a, w, b in zip(outputs, weight.ravel().tolist(), inputs, strict=True))


def elementwise(function):
    return lambda x: np.array([function(v) for v in x.ravel().tolist()]).reshape(x.shape)


relu = elementwise(lambda v: v if v > 0 else 0.0)
leaky_relu = elementwise(lambda v: v if v > 0 else 0.2 * v)
tanh = elementwise(math.tanh)
sigmoid = elementwise(lambda v: 1 / (1 + math.exp(-v)))
softplus = elementwise(lambda v: math.log(1 + math.exp(v)))


def forward(layer, x, p=None):
    """A layer's training output for x, on the host, with its own parameters or p."""
    p = p or {name: layer.backend.to_numpy(array) for name, array in {**layer.params, **layer.state}.items()}
    bias = p.get("bias", np.zeros(layer.output_shape[-1]))
    name = type(layer).__name__
    if name == "SpectralNorm":
        return forward(layer.linear, x, {**p, "weight": spectral_norm(p["weight"], p["u"], p["v"])})
    if name == "Residual":
        y = x
        for inner in layer.layers:
            y = forward(inner, y)
        return x + layer.scale * y
    if name == "MinibatchStd":
        return minibatch_std(x, layer.group_size, layer.eps)
    if name == "Dense":
        return dense(x, p["weight"], bias)
    if name == "Conv2d":
        return conv2d(x, p["weight"], layer.geometry) + bias
    if name == "ConvTranspose2d":
        return conv2d_transpose(x, p["weight"], layer.geometry) + bias
    if name == "BatchNorm":
        return batch_norm(x, p["gamma"], p["beta"], layer.eps)
    if name == "LayerNorm":
        return layer_norm(x, p["gamma"], p["beta"], layer.eps)
    if name == "Softmax":
        return softmax(x)
    if name == "Upsample":
        return upsample(x, layer.factor)
    if name in ("Flatten", "Reshape"):
        return np.array(x.ravel().tolist()).reshape(len(x), *layer.output_shape)
    plain = {"ReLU": relu, "LeakyReLU": leaky_relu, "Tanh": tanh, "Sigmoid": sigmoid, "Softplus": softplus}
    return plain[name](x)
