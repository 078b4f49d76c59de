"""Networks drawn by Hypothesis, and what other programs make of them once they are exported."""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

import minigan as mg
from minigan.export.means import BernoulliMean

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime")
torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
torch.set_num_threads(1)

TOLERANCE = 1e-5  # of the largest output
BATCH = 6  # groups of 2 and of 3 are there in different numbers


# -- networks ------------------------------------------------------------------------------------------------------------


@st.composite
def networks(draw, deepest=6):
    """A network of any layers, with weights and running statistics that are not the first ones."""
    axes = draw(st.sampled_from([1, 2, 3, 3, 3]))
    start = draw(st.lists(st.integers(1, 7), min_size=axes, max_size=axes))
    layers, shape = [], tuple(start)
    for _ in range(draw(st.integers(1, deepest))):
        makers = [make for ranks, make in LAYERS if len(shape) in ranks]
        layers.append(draw(draw(st.sampled_from(makers))(shape)))
        shape = built(layers[-1], shape)
        if np.prod(shape) > 400:
            break
    return settled(mg.Sequential(layers, start, "numpy", seed=draw(st.integers(0, 99))), draw(st.integers(0, 99)))


def built(layer, shape):
    """The shape that a layer makes of another, by a copy of it."""
    return layer.fresh().place(0, shape)


def settled(net, seed):
    """The network as training might have left it."""
    rng = np.random.default_rng(seed)
    for name, value in {**net.params, **net.state}.items():
        if name.endswith(("gamma", "running_var")):
            value[...] = rng.uniform(0.5, 1.5, value.shape)
        elif name.endswith(("bias", "beta", "running_mean")):
            value[...] = rng.normal(0, 0.5, value.shape)
    return net


def samples(net, count=BATCH, seed=0):
    return np.random.default_rng(seed).standard_normal((count, *net.input_shape)).astype(np.float32)


def _convolution(transposed):
    def drawn(shape):
        return st.builds(
            lambda *sizes: _conv_of(transposed, shape, *sizes), PAIR(1, 4), PAIR(1, 3), PAIR(0, 2), PAIR(1, 2), BOOLS
        )

    return drawn


def _conv_of(transposed, shape, kernel_size, stride, padding, dilation, bias):
    """A convolution, or one without padding, or of 1x1, where it makes nothing of this shape."""
    options = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation, "bias": bias}
    if transposed:
        options["output_padding"] = tuple(max(s, d) - 1 for s, d in zip(stride, dilation, strict=True))
    for more in ({"padding": padding}, {"padding": 0}):
        layer = (mg.ConvTranspose2d if transposed else mg.Conv2d)(3, **options, **more)
        try:
            built(layer, shape)
            return layer
        except mg.MiniganError:
            continue
    return mg.Conv2d(3, 1)


def _reshaped(shape):
    size = int(np.prod(shape))
    thirds = [(a, b, size // a // b) for a in range(1, size + 1) for b in range(1, size + 1) if size % (a * b) == 0]
    seconds = [(a, size // a) for a in range(1, size + 1) if size % a == 0]
    return st.sampled_from([*thirds, *seconds, (size,)]).map(mg.Reshape)


def _residual(shape):
    """Around layers that keep the shape, of several kinds."""
    size = shape[-1]
    within = [
        [mg.LeakyReLU(0.2), mg.BatchNorm()],
        [mg.LayerNorm(), mg.Tanh()],
        *([[mg.Dense(3), mg.ReLU(), mg.Dense(size)]] if len(shape) == 1 else []),
        *([[mg.SpectralNorm(mg.Conv2d(size, 3, padding=1))], [mg.Conv2d(3, 1), mg.Conv2d(size, 1)]] * (len(shape) == 3)),
        *([[mg.Flatten(), mg.Dense(int(np.prod(shape))), mg.ReLU(), mg.Reshape(shape)]] if len(shape) > 1 else []),
    ]
    makers = st.sampled_from(range(len(within))), st.sampled_from([1.0, 0.3, -2])
    return st.tuples(*makers).map(lambda drawn: mg.Residual([layer.fresh() for layer in within[drawn[0]]], drawn[1]))


def _activation(shape):
    return st.sampled_from(ACTIVATIONS).map(lambda layer: layer.fresh())


def _spectral_norm(shape):
    if len(shape) == 1:
        return BOOLS.map(lambda bias: mg.SpectralNorm(mg.Dense(4, bias)))
    kinds = st.sampled_from([mg.Conv2d, mg.ConvTranspose2d])
    return st.tuples(kinds, BOOLS).map(lambda drawn: mg.SpectralNorm(drawn[0](2, (3, 1), padding=(1, 0), bias=drawn[1])))


def PAIR(low, high):  # noqa: N802
    return st.tuples(st.integers(low, high), st.integers(low, high))


BOOLS = st.booleans()
ACTIVATIONS = [mg.ReLU(), *map(mg.LeakyReLU, (0.01, 0.2, 1.0)), mg.Tanh(), mg.Sigmoid(), mg.Softplus(), mg.Softmax()]
ACTIVATIONS += [BernoulliMean(), mg.Dropout(0.4)]
ANY, ROW, IMAGE = (1, 2, 3), (1,), (3,)
# (the numbers of axes that it takes, layers for a shape)
LAYERS = [
    (ANY, _activation),
    (ANY, lambda shape: st.sampled_from([1e-5, 1e-2]).map(lambda eps: mg.BatchNorm(eps=eps))),
    (ANY, lambda shape: st.builds(lambda axes, eps: mg.LayerNorm(axes=axes, eps=eps), st.integers(1, len(shape)), EPS)),
    (ANY, lambda shape: st.sampled_from([None, 1, 2, 3, BATCH, 9]).map(mg.MinibatchStd)),
    (ANY, _reshaped),
    (ANY, _residual),
    ((2, 3), lambda shape: st.builds(mg.Flatten)),
    ((2, 3), lambda shape: st.builds(lambda: mg.PhaseShuffle(1) if shape[-2] > 1 else mg.ReLU())),
    (ROW, lambda shape: st.builds(mg.Dense, st.integers(1, 12), BOOLS)),
    (ROW, lambda shape: st.builds(mg.Dense, st.integers(1, 12), BOOLS)),
    ((1, 3), _spectral_norm),
    *[(IMAGE, _convolution(transposed)) for transposed in (False, True)] * 2,
    (IMAGE, lambda shape: PAIR(1, 3).map(mg.Upsample)),
    (IMAGE, lambda shape: st.builds(mg.DiffAugment)),
]
EPS = st.sampled_from([1e-3, 1e-2])


# -- what others make of them ----------------------------------------------------------------------------------------------


def output(net, x):
    """What the network itself makes of host samples."""
    return net.backend.to_numpy(net.forward(net.backend.asarray(x))[0])


def onnx_output(content, x):
    """What onnxruntime makes of samples, from the bytes of a file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def torch_module(path):
    """The module of a file that was written, with its weights."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    own = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(own)
    return own.load()


def torch_output(module, x):
    """What a module makes of minigan's samples, in minigan's order of axes."""
    with torch.no_grad():
        y = module(torch.tensor(np.ascontiguousarray(np.moveaxis(x, -1, 1) if x.ndim > 2 else x))).numpy()
    return np.moveaxis(y, 1, -1) if y.ndim > 2 else y


def difference(y, expected):
    """The largest, relative to the largest output."""
    assert y.shape == expected.shape
    return float(np.abs(y - expected).max() / max(np.abs(expected).max(), 1e-6))


def differences(net, x):
    """Of onnxruntime and of PyTorch, from files that are written, to what the network makes of samples in float64.

    In float32 the network itself may be further off than both are from each other: after a LayerNorm of values that are alike,
    say, another makes numbers of rounding errors.
    """
    expected = output(net.clone("float64"), x.astype(np.float64))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        mg.export.onnx(net, folder / "net.onnx")
        mg.export.torch(net, folder / "net.py")
        y_onnx = onnx_output((folder / "net.onnx").read_bytes(), x)
        y_torch = torch_output(torch_module(folder / "net.py"), x)
    return difference(y_onnx, expected), difference(y_torch, expected)


def described(net):
    return f"{net.input_shape}: {net.layers}"
