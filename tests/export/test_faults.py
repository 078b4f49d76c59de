"""Faults planted in the exporters: each is seen, by onnxruntime or by PyTorch, on a few small networks."""

import inspect
import textwrap

import pytest
from exported import TOLERANCE, differences, samples, settled, torch, torch_output
from planted_faults import is_caught

import minigan as mg
from minigan.export import from_torch, plan, to_onnx, to_torch
from minigan.export.means import BernoulliMean
from minigan.export.rules import RULES

taking = __import__("importlib").import_module("minigan.export.from_torch")  # the name above is the function's
UNEVEN = {"kernel_size": (2, 3), "stride": (3, 2), "padding": (1, 2), "dilation": (2, 3)}
NETWORKS = [
    ([mg.Conv2d(3, **UNEVEN), mg.Flatten(), mg.LayerNorm(eps=1e-2), mg.Dense(2)], (7, 8, 2)),
    ([mg.ConvTranspose2d(2, **UNEVEN, output_padding=(2, 1))], (3, 4, 2)),
    ([mg.ConvTranspose2d(2, (2, 3), padding=1, dilation=(3, 2), output_padding=(2, 1))], (3, 4, 2)),
    (
        [mg.Dense(24), mg.BatchNorm(eps=1e-2), mg.LeakyReLU(0.3), mg.Reshape((2, 3, 4)), mg.Upsample((1, 2)), mg.Conv2d(1, 1)],
        (5,),
    ),
    ([mg.SpectralNorm(mg.Conv2d(2, 1)), mg.Residual([mg.BatchNorm(), mg.Tanh()], scale=0.3), mg.LayerNorm(axes=3)], (2, 3, 4)),
    ([mg.Softmax(), mg.LayerNorm(axes=2), mg.Conv2d(2, 1), mg.Softmax(), BernoulliMean()], (2, 3, 4)),
    ([mg.Conv2d(2, 1), mg.MinibatchStd(2, eps=0.5)], (2, 3, 4)),
]


class Report:
    def __init__(self, ok):
        self.ok = ok


def check():
    """Whether both programs make of every network what minigan makes of it."""
    return Report(all(max(differences(net, samples(net))) <= TOLERANCE for net in map(built, NETWORKS)))


def built(case):
    layers, shape = case
    return settled(mg.Sequential([layer.fresh() for layer in layers], shape, "numpy"), 0)


FAULTS = [
    (plan, "_arrays", "transpose(3, 2, 0, 1)", "transpose(3, 2, 1, 0)"),
    (plan, "_arrays", "transpose(3, 2, 0, 1)", "transpose(2, 3, 0, 1)"),
    (plan, "_arrays", "transpose(3, 2, 0, 1)", "transpose(3, 2, 0, 1)[:, :, ::-1, ::-1]"),
    (plan, "_arrays", 'arrays["weight"], x.image, 0', 'arrays["weight"], None, 0'),
    (plan, "_arrays", "y.image, 1)", "None, 1)"),
    (plan, "_arrays", '_turned(arrays["bias"], y.image, 0)', 'arrays["bias"]'),
    (plan, "_arrays", "else _turned(a, x.image, 0)", "else a"),
    (plan, "_arrays", "np.moveaxis(a, -1, 0) if whole", "a.reshape(x.axes) if whole"),
    (plan, "_values", "w / (w * u * v).sum()", "w"),
    (plan, "pixel_order", "np.moveaxis(places, -1, 0)", "places"),
    (plan, "pixel_order", "np.moveaxis(places, -1, 0)", "places.T"),
    (plan, "_turned", "pixel_order(image)", "np.argsort(pixel_order(image))"),
    (to_onnx, "_dense", ", *_bias(graph, layer)", ""),
    (to_onnx, "_convolution", "2 * layer.padding", "2 * layer.padding[::-1]"),
    (to_onnx, "_convolution", '"strides": layer.stride', '"strides": layer.stride[::-1]'),
    (to_onnx, "_convolution", '"dilations": layer.dilation', '"dilations": (1, 1)'),
    (to_onnx, "_conv_transpose", "(*layer.padding, *ends)", "(*layer.padding[::-1], *ends)"),
    (to_onnx, "_conv_transpose", "layer.dilation[a] - layer.output_padding[a]", "layer.dilation[a]"),
    (to_onnx, "_conv_transpose", "(0, more[0]), (0, more[1])", "(more[0], 0), (more[1], 0)"),
    (to_onnx, "_conv_transpose", "else layer.output_padding[a]", "else 0"),
    (to_onnx, "_batch_norm", "epsilon=layer.eps", "epsilon=1e-5"),
    (to_onnx, "_batch_norm", '"running_mean", "running_var"', '"running_var", "running_mean"'),
    (to_onnx, "_layer_norm", ", epsilon=layer.eps", ""),
    (to_onnx, "_layer_norm", "axis=-layer.axes", "axis=-1"),
    (to_onnx, "_leaky_relu", ', alpha=layer.options["slope"]', ""),
    (to_onnx, "_softmax", "1 if graph.step.x.first else -1", "-1"),
    (to_onnx, "_upsample", "*map(float, layer.factor)", "*map(float, layer.factor[::-1])"),
    (to_onnx, "_residual", "layer.scale != 1", "layer.scale == 1"),
    (to_onnx, "_residual", "[x, fx]", "[fx, fx]"),
    (to_onnx, "_turn", "*range(2, last + 1), 1", "*range(last, 1, -1), 1"),
    (to_onnx, "_minibatch_std", "layer.group_size is not None", "False"),
    (to_onnx, "_minibatch_std", "float(layer.eps)", "1e-8"),
    (
        to_onnx,
        "_minibatch_std",
        "[group, graph.constant([-1, layer.size])]",
        "[graph.constant([-1]), group, graph.constant([layer.size])]",
    ),
    (to_onnx, "_bernoulli_mean", "0.5", "1.0"),
    (to_torch, "_dense", "bias=(layer.has_bias, True)", "bias=(False, True)"),
    (to_torch, "_dense", 'arrays["weight"].T', 'arrays["weight"].reshape(arrays["weight"].shape[::-1])'),
    (to_torch, "_convolution", '"dilation": "1"', '"stride": "1"'),
    (to_torch, "_convolution", '"padding": "0", ', ""),
    (to_torch, "_number_or_pair", "str(value)", "str(value[::-1])"),
    (to_torch, "_batch_norm", "eps=(layer.eps, 1e-5), ", ""),
    (to_torch, "_layer_norm", ", eps=(layer.eps, 1e-5)", ""),
    (to_torch, "_leaky_relu", "({layer.options['slope']})", "()"),
    (to_torch, "_softmax", "1 if module.step.x.first else -1", "-1"),
    (to_torch, "_residual", "layer.scale == 1", "layer.scale"),
    (to_torch, "_minibatch_std", "(layer.group_size, None)", "(None, None)"),
    (to_torch, "_minibatch_std", "(layer.eps, 1e-8)", "(1e-8, 1e-8)"),
    (to_torch, "_turn", "*range(2, last + 1), 1", "*range(last, 1, -1), 1"),
]


def plant(patch, module, name, old, new):
    """Put a function in its own place whose source has `new` where it had `old`: everywhere that it is held."""
    function = getattr(module, name)
    source = textwrap.dedent(inspect.getsource(function))
    assert old in source, f"{name} has no {old}: the fault is out of date"
    scope = dict(vars(module))
    exec(compile(source.replace(old, new), "<planted fault>", "exec"), scope)
    patch.setattr(module, name, scope[name])
    for table in (*RULES.values(), taking.READERS):
        for key, value in list(table.items()):
            if value is function:
                patch.setitem(table, key, scope[name])
    return scope[name]


@pytest.mark.parametrize(("module", "name", "old", "new"), FAULTS, ids=[f"{f[1]}-{i}" for i, f in enumerate(FAULTS)])
def test_a_planted_fault_is_seen(module, name, old, new, monkeypatch):
    with monkeypatch.context() as patch:
        plant(patch, module, name, old, new)
        assert is_caught(check)


def test_without_a_fault_all_is_well():
    assert check().ok
    assert check_taking().ok


# -- and on the way in -----------------------------------------------------------------------------------------------------

nn = torch.nn


def taken_modules():
    torch.manual_seed(0)
    odd = {"stride": (3, 2), "padding": (1, 2), "dilation": (2, 3)}
    yield nn.Sequential(nn.Conv2d(2, 3, (2, 3), **odd), nn.Flatten(), nn.LayerNorm(27, eps=1e-2), nn.Linear(27, 2)), (7, 8, 2)
    yield nn.Sequential(nn.ConvTranspose2d(2, 3, (2, 3), **odd, output_padding=(2, 1)), nn.LayerNorm((3, 9, 10))), (3, 4, 2)
    yield (
        nn.Sequential(
            nn.Linear(5, 24), nn.BatchNorm1d(24, eps=1e-2), nn.Unflatten(1, (4, 2, 3)), nn.Upsample(scale_factor=(1, 2))
        ),
        (5,),
    )
    yield nn.Sequential(nn.Conv2d(2, 2, (3, 5), padding="same"), nn.LeakyReLU(0.3)), (4, 5, 2)


def check_taking():
    found = []
    for module, shape in taken_modules():
        with torch.no_grad():
            for name, value in [*module.eval().named_parameters(), *module.named_buffers()]:
                if value.is_floating_point():
                    value.uniform_(0.5, 1.5) if "running_var" in name else value.normal_(0, 0.5)
        net = from_torch(module, shape, "numpy")
        x = samples(net)
        found.append(abs(net.forward(x)[0] - torch_output(module, x)).max() <= 1e-5)
    return Report(all(found))


TAKING_FAULTS = [
    ("_linear", 'reader.turned(own["weight"].T, 0)', 'own["weight"].T'),
    ("_linear", '(own, "weight", 1), *([(own, "bias", 0)] if "bias" in own else [])', '(own, "weight", 1)'),
    ("_linear", '[(own, "weight", 1), ', "["),
    ("to_own_order", "np.argsort(pixel_order(image))", "pixel_order(image)"),
    ("to_own_order", "np.take(a, np.argsort(pixel_order(image)), axis=axis)", "a"),
    ("_batch_norm", "eps=float(module.eps), ", ""),
    ("_batch_norm", '"gamma": "weight", "beta": "bias"', '"gamma": "bias", "beta": "weight"'),
    ("_layer_norm", "np.moveaxis(a, 0, -1)", "a.reshape(reader.shape)"),
    ("_layer_norm", ", eps=float(module.eps)", ""),
    ("_leaky_relu", "LeakyReLU(slope)", "LeakyReLU()"),
    ("_upsample", "height, width = (", "width, height = ("),
    ("_padding", "both[0] // 2, both[1] // 2", "both[1] // 2, both[0] // 2"),
    ("_padding", "tuple(module.padding)", "tuple(module.padding)[::-1]"),
]


@pytest.mark.parametrize(("name", "old", "new"), TAKING_FAULTS, ids=[f"{f[0]}-{i}" for i, f in enumerate(TAKING_FAULTS)])
def test_a_fault_on_the_way_in_is_seen(name, old, new, monkeypatch):
    with monkeypatch.context() as patch:
        plant(patch, taking, name, old, new)
        assert is_caught(check_taking)


@pytest.mark.parametrize(
    ("old", "new"), [("transpose(2, 3, 1, 0)", "transpose(2, 3, 0, 1)"), ("transpose(2, 3, 1, 0)", "transpose(3, 2, 1, 0)")]
)
def test_a_kernel_that_is_turned_wrongly_is_seen(old, new, monkeypatch):
    with monkeypatch.context() as patch:
        faulty = plant(patch, taking, "_convolution", old, new)
        for kind in ("Conv2d", "ConvTranspose2d"):
            patch.setitem(taking.READERS, kind, faulty(getattr(taking, kind)))
        assert is_caught(check_taking)
