"""The formulas of the page, read as the mathematics that they are, make what the layers compute."""

import itertools
import re

import numpy as np
import pytest

import minigan as mg
from minigan.checks.suite import layer_table
from minigan.explain.formulas import FORMULAS, OBJECTIVES, formulas_of, mathml, objective_formulas


def test_formulas_are_of_all_parameters():
    layers = [(make(), shape) for make, shape in layer_table()]
    assert FORMULAS.keys() <= {type(layer) for layer, _ in layers}
    for layer, shape in layers:
        layer.input_shape, layer.output_shape = shape, layer.build(shape)
        known = formulas_of(layer)
        assert set(layer.parameters) == set(known.param_grads)
        for tex in (*known.forward, *known.input_grad, *known.param_grads.values()):
            assert "\\" not in mathml(tex), tex


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", OBJECTIVES, ids=lambda kind: kind.__name__)
def test_every_objective_has_its_formulas(kind, smoothing):
    known = objective_formulas(kind(smoothing))
    for tex in (*known.value_d, *known.grad_d, *known.value_g, *known.grad_g):
        assert "\\" not in mathml(tex), tex
    assert ("alpha" in "".join(known.value_d)) == bool(smoothing)


def test_a_class_of_ones_own_has_no_formulas_of_another():
    class Other(mg.Tanh):
        @staticmethod
        def f(xp, x):
            return xp.tanh(2 * x)

    class Own(mg.losses.NonSaturating):
        pass

    assert formulas_of(Other()) is None
    assert objective_formulas(Own()) is None


SUM = r"\\sum_(?:\{([^}]*)\}|(\w))"
FACTOR = r"(\\bar\{\w\}|d\\bar\{\w\}|\w+?)_(?:\{([^}]*)\}|(\w))"


def indices(text):
    r"""["n", "o*s+i*d"] of "n,\,os+id", or ["n", "o"] of "no"."""
    text = text.replace("\\,", "")
    parts = text.split(",") if "," in text else list(text)
    return [re.sub(r"(?<=[a-z])(?=[a-z])", "*", part) for part in parts]


def loops(tex, arrays, sizes, numbers):
    r"""What an index formula in TeX makes, by loops: y_{no} = \sum_i x_{ni} w_{io} + b_o, as it stands.

    arrays by the names of their factors, sizes of the indices, numbers: what else the indices are made of (stride and so on).
    """
    left, right = tex.split(" = ")
    free = indices("".join(re.findall(FACTOR, left)[0][1:]))
    bias = re.search(r"\bb_(\w)", right)
    product = re.sub(SUM, "", right.replace(bias[0], "") if bias else right)
    factors = [(name, indices(long or short)) for name, long, short in re.findall(FACTOR, product)]
    summed, conditions = [], []
    for long, short in re.findall(SUM, right):
        names, _, condition = (long or short).replace("\\,", "").partition(":")
        summed += [letter for letter in names if letter.isalpha()]
        conditions += ["==".join(indices(side + ",")[0] for side in condition.split("="))] if condition else []
    result = np.zeros([sizes[i] for i in free])
    for place in itertools.product(*(range(sizes[i]) for i in free)):
        for inner in itertools.product(*(range(sizes[i]) for i in summed)):
            scope = {**numbers, **dict(zip(free, place, strict=True)), **dict(zip(summed, inner, strict=True))}
            if all(eval(condition, scope) for condition in conditions):
                result[place] += np.prod([arrays[name][tuple(eval(i, scope) for i in where)] for name, where in factors])
        if bias:
            result[place] += arrays["b"][place[free.index(bias[1])]]
    return result


@pytest.mark.parametrize(
    "layer",
    [
        *(mg.Dense(3), mg.Conv2d(2, 3, 2, 1), mg.ConvTranspose2d(2, 3, 2, 1)),
        *(mg.Dense(3, bias=False), mg.Conv2d(2, 3, 2, 1, bias=False), mg.ConvTranspose2d(2, 3, 2, 1, bias=False)),
    ],
    ids=repr,
)
def test_the_index_formulas_are_what_the_layer_computes(layer):
    """Every formula with indices, as the page sets it, walked by loops."""
    rng = np.random.default_rng(0)
    shape = (4,) if layer.name == "Dense" else (3, 4, 2)
    net = mg.Sequential([layer.fresh()], shape, "textbook", "float64")
    net.flat_params[...] = rng.standard_normal(net.num_params)
    x = rng.standard_normal((2, *shape))
    y, caches = net.forward(x)
    dy = rng.standard_normal(y.shape)
    dx = net.backward(dy, caches, net.grads)
    known, w, b = formulas_of(net.layers[0]), net.params["0.weight"], net.params.get("0.bias", np.zeros(y.shape[-1]))
    arrays, numbers = {"x": x, "w": w, "b": b, "dy": dy}, {"s": 2, "d": 1, "p": 1}
    sizes = {"n": 2, "i": 4, "o": 3}
    if layer.name != "Dense":
        border = ((0, 0), (1, 1), (1, 1), (0, 0))
        arrays |= {r"\bar{x}": np.pad(x, border), r"d\bar{y}": np.pad(dy, border)}
        sizes = dict(zip("nhvcfij", (2, 3, 4, 2, 2, 3, 3), strict=True)) | dict(zip("oq", y.shape[1:3], strict=True))
        sizes |= dict(zip("ab", arrays[r"d\bar{y}"].shape[1:3], strict=True))
    forward = loops(known.forward[0], arrays, sizes, numbers)
    if layer.name == "ConvTranspose2d":
        forward = forward[:, 1:-1, 1:-1] + b  # as its second formula says
        assert ("plus" in known.forward[1]) == layer.has_bias
    np.testing.assert_allclose(forward, y, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(loops(known.input_grad[0], arrays, sizes, numbers), dx, rtol=1e-10, atol=1e-14)
    for key, tex in known.param_grads.items():
        np.testing.assert_allclose(loops(tex, arrays, sizes, numbers), net.grads[f"0.{key}"], rtol=1e-10, atol=1e-14)


ELEMENT_WISE = [
    (r"\\begin\{cases\} 1 & x > 0 \\\\ \\alpha & \\text\{else\} \\end\{cases\}", "np.where(x > 0, 1, alpha)"),
    (r"\[\\,x > 0\\,\]", "(x > 0)"),
    (r"\\frac\{1\}\{(1 \+ e\^\{-x\})\}", r"(1 / (\1))"),
    (r"e\^(?:\{(-x)\}|(x))", r"np.exp(\1\2)"),
    (r"\\tanh x", "np.tanh(x)"),
    (r"\\max\(", "np.maximum("),
    (r"\\(sigma|zeta)\(x\)", r"\1"),
    (r"\\log\(", "np.log("),
    (r"\\alpha x", "alpha * x"),
    (r"\^2", "**2"),
    (r"\\[,;]|\\cdot", "*"),
]


@pytest.mark.parametrize(
    "layer", [mg.ReLU(), mg.LeakyReLU(0.3), mg.Tanh(), mg.Sigmoid(), mg.Softplus()], ids=lambda layer: layer.name
)
def test_the_element_wise_formulas_are_what_the_layer_computes(layer):
    """Every side of every formula, read as Python."""
    x, dy = np.random.default_rng(0).standard_normal((2, 3, 5))
    net = mg.Sequential([layer.fresh()], (5,), "textbook", "float64")
    y, caches = net.forward(x)
    scope = {"np": np, "x": x, "dy": dy, "y": y, "alpha": 0.3, "sigma": 1 / (1 + np.exp(-x)), "zeta": np.log1p(np.exp(x))}
    known = formulas_of(layer)
    for tex, wanted in ((known.forward[0], y), (known.input_grad[0], net.backward(dy, caches))):
        sides = tex.split(r", \qquad")[0].split(" = ")[1:]
        assert sides
        for side in sides:
            for pattern, python in ELEMENT_WISE:
                side = re.sub(pattern, python, side)
            np.testing.assert_allclose(eval(side, scope), wanted, rtol=1e-12)
