"""Exported networks in onnxruntime and in PyTorch: drawn ones, every layer, every recipe; and what the files say."""

import numpy as np
import pytest
from exported import (
    TOLERANCE,
    described,
    difference,
    differences,
    networks,
    onnx,
    onnx_output,
    output,
    samples,
    settled,
    torch_module,
    torch_output,
)
from hypothesis import given, settings

import minigan as mg
from minigan.checks.suite import layer_table
from minigan.data import Dataset
from minigan.data.kinds import IMAGES, POINTS, Sound, Text
from minigan.errors import ModelError, OptionError
from minigan.export.means import trained_networks
from minigan.export.plan import plan
from minigan.export.rules import ONNX, RULES, TORCH
from minigan.training import Config, build_game


def check(net):
    found = differences(net, samples(net))
    assert max(found) <= TOLERANCE, (described(net), found)


@settings(max_examples=60)
@given(networks())
def test_drawn_networks(net):
    check(net)


@pytest.mark.slow
@settings(max_examples=3000)
@given(networks(deepest=9))
def test_many_drawn_networks(net):
    check(net)


@pytest.mark.parametrize("index", range(len(layer_table())))
def test_every_layer(index):
    make, shape = layer_table()[index]
    check(settled(mg.Sequential([make()], shape, "numpy"), 1))


LETTERS = "abcdefghijklmnopqrstuvwxyz"
RECIPES = {
    "dcgan": ({}, IMAGES, (28, 28, 1)),
    "conditional": ({"classes": True, "class_names": tuple("0123456789")}, IMAGES, (28, 28, 1)),
    "resized": ({"upsample": "resize", "width": 8}, IMAGES, (64, 48, 3)),
    "mlp": ({"model": "mlp"}, IMAGES, (28, 28, 1)),
    "points": ({}, POINTS, (2,)),
    "text": ({}, Text(LETTERS), (12, 27)),
    "wave": ({"width": 8}, Sound(8000), (4096, 1)),
    "sound mlp": ({"model": "mlp"}, Sound(8000), (256, 2)),
    "vae": ({"game": "vae"}, IMAGES, (28, 28, 1)),
    "vae conv": ({"game": "vae", "model": "conv", "likelihood": "gaussian"}, IMAGES, (28, 28, 1)),
}


def game_of(recipe):
    options, kind, shape = RECIPES[recipe]
    config = Config("own", backend="numpy", **options)
    config.resolve(Dataset("own", kind.no_values(shape), kind=kind, class_names=config.class_names))
    game = build_game(config, shape, steps=1)
    for number, net in enumerate((*game.networks.values(), *filter(None, [getattr(game, "average", None)]))):
        settled(net, number)
    return game


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe(recipe):
    """At the size that `minigan train` gives them, but for the widest."""
    for net in trained_networks(game_of(recipe)).values():
        check(net)


def test_a_recipes_samples():
    """What is exported makes what `minigan sample` draws: with averaged weights, and of a decoder the means, not the logits."""
    for recipe in ("conditional", "vae"):
        game = game_of(recipe)
        z = game.latent(6, seed=3)
        expected = game.decode(z, classes=2 if game.classes else None)
        net = trained_networks(game)[{"conditional": "generator", "vae": "decoder"}[recipe]]
        assert difference(output(net, game.with_labels(z, 2 if game.classes else None)), expected) < TOLERANCE
    game = game_of("dcgan")
    assert trained_networks(game)["generator"] is game.average
    assert trained_networks(game, averaged=False)["generator"] is game.generator


@pytest.mark.parametrize("count", [1, 2, 6])
def test_a_free_batch_axis(tmp_path, count):
    net = settled(mg.Sequential([mg.Conv2d(3, 3), mg.MinibatchStd(2), mg.Flatten(), mg.Dense(2)], (5, 4, 2), "numpy"), 0)
    mg.export.onnx(net, tmp_path / "net.onnx")
    mg.export.torch(net, tmp_path / "net.py")
    x = samples(net, count)
    assert difference(onnx_output((tmp_path / "net.onnx").read_bytes(), x), output(net, x)) < TOLERANCE
    assert difference(torch_output(torch_module(tmp_path / "net.py"), x), output(net, x)) < TOLERANCE


# -- turns where they are needed, and nowhere else -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "shape", "within_onnx", "within_torch"),
    [
        ([mg.Dense(24), mg.Reshape((2, 3, 4)), mg.BatchNorm(), mg.ReLU(), mg.ConvTranspose2d(2, 3)], (5,), 1, 0),
        ([mg.Dense(24), mg.BatchNorm(), mg.ReLU(), mg.Reshape((2, 3, 4)), mg.Upsample(2), mg.Conv2d(2, 3)], (5,), 1, 0),
        ([mg.Conv2d(4, 3), mg.LeakyReLU(0.2), mg.Flatten(), mg.BatchNorm(), mg.Dense(1)], (5, 6, 2), 1, 0),
        ([mg.Dense(24), mg.Tanh(), mg.Reshape((2, 3, 4))], (5,), 0, 0),
        ([mg.Flatten(), mg.Dense(3)], (2, 3, 4), 0, 0),
        ([mg.Reshape((1, 9, 2)), mg.Conv2d(4, (1, 3)), mg.Reshape((7, 4)), mg.Softmax()], (9, 2), 2, 0),
        ([mg.Residual([mg.ReLU(), mg.Conv2d(2, 3, padding=1)]), mg.MinibatchStd(), mg.LayerNorm(axes=3)], (4, 3, 2), 2, 0),
        ([mg.Conv2d(4, 3), mg.LayerNorm(), mg.Conv2d(2, 1)], (5, 6, 2), 4, 2),
    ],
)
def test_no_needless_turns(layers, shape, within_onnx, within_torch):
    net = mg.Sequential([layer.fresh() for layer in layers], shape, "numpy")
    for ends_first, expected in ((False, within_onnx), (True, within_torch)):
        steps = plan(net, ends_first)[1]
        assert sum(step.layer.name == "Transpose" for step in steps) == expected
    check(settled(net, 0))


# -- what the files say --------------------------------------------------------------------------------------------------


def test_an_onnx_file_says_what_it_is(tmp_path):
    game = game_of("text")
    metadata = {"model": "text", "data": "names"}
    mg.export.onnx(game.average, tmp_path / "g.onnx", names=("z", "text"), about="Makes words.", metadata=metadata)
    model = onnx.load(tmp_path / "g.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert (model.producer_name, model.producer_version, model.doc_string) == ("minigan", mg.__version__, "Makes words.")
    assert {p.key: p.value for p in model.metadata_props} == {"version": mg.__version__, **metadata}
    shapes = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*model.graph.input, *model.graph.output, *model.graph.value_info)
    }
    assert shapes["z"] == ["N", 64]
    assert shapes["text"] == ["N", 12, 27]
    assert shapes["2.Residual"] == ["N", 64, 1, 12]
    nodes = [node.name for node in model.graph.node]
    assert nodes[:3] == ["0.Dense", "1.Reshape", "2.0.LeakyReLU"]
    assert len(set(nodes)) == len(nodes)
    assert all(node.output[0] in shapes for node in model.graph.node), "the shape of every value is there"
    weights = {w.name for w in model.graph.initializer}
    assert game.average.params.keys() <= weights
    assert weights - game.average.params.keys() == {"1.shape", "2.scale", "3.scale", "5.shape"}


def test_a_torch_file_reads_well(tmp_path):
    game = game_of("wave")
    mg.export.torch(game.generator, tmp_path / "generator.py", title='The G of "a run".', about="Makes\nsound \\ noise.")
    text = (tmp_path / "generator.py").read_text()
    assert max(map(len, text.splitlines())) <= 120
    assert "minigan" not in text
    assert '"""The G of \'a run\'.\n\nMakes sound / noise.\nInput: (N, 100). Output: (N, 1, 4096).' in text
    first, second = (
        "nn.Unflatten(1, (64, 1, 16)),\n            nn.ReLU(),",
        "nn.ConvTranspose2d(64, 32, (1, 25), stride=(1, 4), ",
    )
    assert first in text
    assert f"{second}padding=(0, 11), output_padding=(0, 1)),\n" in text
    assert "class Generator(nn.Sequential):" in text
    assert "class Residual" not in text, "helpers are there where they are needed"


@pytest.mark.parametrize("stem", ["path", "residual", "my_net", "_", "_1", "network"])
def test_any_name_that_can_be_imported(stem, tmp_path):
    net = settled(mg.Sequential([mg.Residual([mg.Dense(2)])], (2,), "numpy"), 0)
    mg.export.torch(net, tmp_path / f"{stem}.py")
    assert difference(torch_output(torch_module(tmp_path / f"{stem}.py"), samples(net)), output(net, samples(net))) < TOLERANCE


def test_the_same_bytes_twice(tmp_path):
    net = settled(mg.Sequential([mg.Conv2d(3, 3), mg.Residual([mg.BatchNorm()]), mg.Flatten(), mg.Dense(2)], (5, 4, 2)), 0)
    for name in "ab":
        (tmp_path / name).mkdir()
        mg.export.onnx(net, tmp_path / name / "net.onnx")
        mg.export.torch(net, tmp_path / name / "net.py", metadata={"a": "1", "b": "2"})
    for name in ("net.onnx", "net.py", "net.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_float64_network_becomes_a_float32_one(tmp_path):
    net = settled(mg.Sequential([mg.Dense(3), mg.Tanh()], (2,), "numpy", "float64"), 0)
    mg.export.onnx(net, tmp_path / "net.onnx")
    x = samples(net)
    assert difference(onnx_output((tmp_path / "net.onnx").read_bytes(), x), output(net, x.astype(np.float64))) < TOLERANCE


def test_a_network_on_a_device(tmp_path, device):
    layers = [mg.SpectralNorm(mg.Dense(8)), mg.BatchNorm(), mg.Reshape((2, 2, 2)), mg.Conv2d(3, 1)]
    for name, backend in (("host", "numpy"), ("device", device)):
        net = mg.Sequential([layer.fresh() for layer in layers], (3,), backend)
        mg.export.onnx(net, tmp_path / f"{name}.onnx")
    host, other = (onnx.load(tmp_path / f"{name}.onnx") for name in ("host", "device"))
    host.graph.name = other.graph.name
    assert host == other


# -- layers of the user's own ----------------------------------------------------------------------------------------------


class Scale(mg.Layer):
    def build(self, input_shape):
        self.add_parameter("a", input_shape[-1:], mg.normal(1.0))
        return input_shape

    def forward(self, x, train=False):
        return self.a * x, x


class Square(mg.Elementwise):
    @staticmethod
    def f(xp, x):
        return x * x


class Renamed(mg.Conv2d):
    """Computes what a Conv2d does."""

    def __init__(self):
        super().__init__(3, 3, padding=1)


class Doubled(mg.Tanh):
    def forward(self, x, train=False):
        return 2 * super().forward(x)[0], None


SCALE = """
class Scale(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.a = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return self.a * x
"""


@pytest.fixture
def own_rules():
    before = {target: dict(rules) for target, rules in RULES.items()}
    yield
    for target, rules in before.items():
        RULES[target].clear()
        RULES[target].update(rules)


@pytest.mark.parametrize("layer", [Scale, Square, Doubled])
def test_a_layer_without_a_rule(layer, tmp_path):
    net = mg.Sequential([mg.Dense(2), layer()], (3,), "numpy")
    for write, name, word in ((mg.export.onnx, "net.onnx", "onnx"), (mg.export.torch, "net.py", "torch")):
        with pytest.raises(ModelError, match=rf"{layer.__name__} \(layer 1\) has no rule.*add_rule\({layer.__name__}, {word}="):
            write(net, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_layer_with_a_rule(own_rules):
    def scale(module, layer):
        module.helper("Scale", SCALE)
        module.add(f"Scale({len(layer.a)})", a=layer.a)

    mg.export.add_rule(Scale, onnx=lambda graph, layer, x: graph.node("Mul", [x, graph.weight("a")]), torch=scale)
    mg.export.add_rule(Square, onnx=lambda graph, layer, x: graph.node("Pow", [x, graph.constant(2.0)]))
    mg.export.add_rule(Square, torch=lambda module, layer: module.add("Square()") or module.helper("Square", SQUARE))
    net = mg.Sequential(
        [Renamed(), Square(), mg.Conv2d(4, 1), Scale(), Square(), mg.Flatten(), mg.Dense(2)], (4, 3, 2), "numpy"
    )
    assert sum(step.layer.name == "Transpose" for step in plan(net, True)[1]) == 1, "for Scale alone"
    check(settled(net, 0))


SQUARE = """
class Square(nn.Module):
    def forward(self, x):
        return x * x
"""


@pytest.mark.parametrize("given", [{}, {"onnx": 1}])
def test_add_rule_refuses(given, own_rules):
    with pytest.raises(OptionError, match="Scale comes without a rule: give onnx=function"):
        mg.export.add_rule(Scale, **given)
    for layer in (mg.Dense, Scale(), int):
        with pytest.raises(OptionError, match="expected a class of your own"):
            mg.export.add_rule(layer, onnx=lambda graph, layer, x: x)
    assert not {Scale, int} & {*RULES[ONNX], *RULES[TORCH]}


# -- bad input -----------------------------------------------------------------------------------------------------------


def test_bad_input(tmp_path, monkeypatch):
    net = mg.Sequential([mg.Dense(2)], (3,), "numpy")
    for call, message in [
        (lambda: mg.export.onnx(net, tmp_path / "net.txt"), "expected a name that ends in .onnx"),
        (lambda: mg.export.onnx(net, tmp_path / "net.onnx", names=("x", "x")), "expected two different names"),
        (lambda: mg.export.onnx([mg.Dense(2)], tmp_path / "net.onnx"), "expected a minigan.Sequential"),
        (lambda: mg.export.torch(net, tmp_path / "my-net.py"), "that Python can import"),
        (lambda: mg.export.torch(net, tmp_path / "class.py"), "that Python can import"),
        (lambda: mg.export.torch(net, tmp_path / "torch.py"), "that Python can import"),
        (lambda: mg.export.torch(mg.Dense(2), tmp_path / "net.py"), "expected a minigan.Sequential"),
        (lambda: mg.export.onnx(net, tmp_path / "none" / "net.onnx"), "cannot write"),
    ]:
        with pytest.raises(mg.MiniganError, match=message) as error:
            call()
        assert len(str(error.value)) <= 300
    five = mg.Sequential([mg.Reshape((2, 2, 1, 3, 2)), mg.BatchNorm()], (24,), "numpy")
    with pytest.raises(ModelError, match=r"BatchNorm \(layer 1\) normalises \(2, 2, 1, 3, 2\)"):
        mg.export.torch(five, tmp_path / "net.py")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ModelError, match="not installed: pip install onnx"):
        mg.export.onnx(net, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []
