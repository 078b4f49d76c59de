"""The formulas of the page, read as the mathematics that they are, make what the layers compute."""

import itertools
import re
from functools import cache

import numpy as np
import pytest

import minigan as mg
from minigan.checks.suite import layer_table
from minigan.explain.formulas import FORMULAS, formulas_of, mathml
from minigan.explain.likelihoods import likelihood_formulas
from minigan.explain.objectives import OBJECTIVES, objective_formulas
from minigan.explain.page import walk_vae
from minigan.losses.variational import reparametrise_grad


def test_formulas_are_of_all_parameters():
    layers = [(make(), shape) for make, shape in layer_table()]
    assert FORMULAS.keys() <= {type(layer) for layer, _ in layers}
    for layer, shape in layers:
        layer.input_shape, layer.output_shape = shape, layer.build(shape)
        known = formulas_of(layer)
        assert set(layer.parameters) == set(known.param_grads)
        for tex in (*known.forward, *known.input_grad, *known.param_grads.values()):
            assert "\\" not in mathml(tex), tex


def test_every_objective_has_its_formulas():
    assert OBJECTIVES.keys() == set(mg.losses.OBJECTIVES.values())
    for kind in OBJECTIVES:
        known = objective_formulas(kind())
        for tex in (*known.value_d, *known.grad_d, *known.value_g, *known.grad_g):
            assert "\\" not in mathml(tex), tex
        assert known.is_logit == kind.is_logit
        assert known.per_sample != kind.compares


@pytest.mark.parametrize("kind", [mg.losses.NonSaturating, mg.losses.Saturating], ids=lambda kind: kind.__name__)
def test_label_smoothing_stands_in_the_formulas(kind):
    for smoothing in (0.0, 0.1):
        known = objective_formulas(kind(smoothing))
        assert all("\\" not in mathml(tex) for tex in known.value_d)
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


@cache
def code(text):
    """An index or a condition, which is evaluated at every place."""
    return compile(text, text, "eval")


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
            if all(eval(code(condition), scope) for condition in conditions):
                result[place] += np.prod([arrays[name][tuple(eval(code(i), scope) for i in where)] for name, where in factors])
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


LOSS = [
    (r"\\alpha \\, ", "alpha * "),
    (r"\\alpha", "alpha"),
    (r"\\left|\\right|\\[,;]", ""),
    (r"s_\{\\text\{(real|fake)\}\}", r"\1"),
    (r"\\bar\{s\}_\{\\text\{(real|fake)\}\}", r"np.mean(\1)"),
    (r"D\(x\)", "(sigma(real))"),
    (r"D\(\\tilde\{x\}\)", "(sigma(fake))"),
    (r"\\max", "np.maximum"),
    (r"\\(sigma|zeta)", r"\1"),
    (r"\\log", "np.log"),
    (r"e\^\{([^}]*)\}", r"np.exp(\1)"),
    (r"\\frac\{1\}\{(\d)\}", r"(1 / \1) *"),
    (r"\^2", "**2"),
    (r"\[(.*?)\\lt(.*?)\]", r"1 * (\1<\2)"),
    (r"\[(.*?)\\gt(.*?)\]", r"1 * (\1>\2)"),
]
AVERAGE = r"\frac{1}{N} \sum "


def as_python(tex):
    """A formula of a loss, whose averages reach as far as their terms do: to a sum at the same depth, or the end."""
    while AVERAGE in tex:
        before, _, after = tex.rpartition(AVERAGE)  # the last one holds no other
        depth, end = 0, len(after)
        for at, letter in enumerate(after):
            depth += (letter in "({[") - (letter in ")}]")
            if depth < 0 or (depth == 0 and after[at : at + 3] in (" + ", " - ")):
                end = at
                break
        tex = f"{before}np.mean({after[:end].removesuffix(' ').removesuffix(chr(92) + 'right')}){after[end:]}"
    tex = re.sub(r"^\s*\\frac\{1\}\{N\} (.*)", r"(\1) / N", tex)
    tex = re.sub(r"\\frac\{(.*)\}\{N\}", r"(\1) / N", tex)
    for pattern, python in LOSS:
        tex = re.sub(pattern, python, tex)
    return tex.strip()


@pytest.mark.parametrize(
    "objective", [*(kind() for kind in OBJECTIVES), mg.losses.NonSaturating(0.1), mg.losses.Saturating(0.1)], ids=repr
)
def test_the_formulas_of_losses_are_what_the_objective_computes(objective):
    """Every side of every formula, read as Python."""
    real, fake = np.random.default_rng(0).standard_normal((2, 6, 1))
    loss_d, (ds_real, ds_fake) = objective.discriminator(real, fake)
    loss_g, ds = objective.generator(fake, real)
    known = objective_formulas(objective)
    scope = {"np": np, "real": real, "fake": fake, "s": fake, "N": 6, "alpha": getattr(objective, "smoothing", 0)}
    scope |= {"sigma": lambda s: 1 / (1 + np.exp(-s)), "zeta": lambda s: np.log1p(np.exp(s))}
    for letter in re.findall(r"\\qquad (\w = .*?)(?=, \\qquad|$)", known.value_d[0]):
        if "_" in letter:  # r, a and b; not what ζ is
            exec(as_python(letter.replace(" = ", "=")), scope)
    pairs = [(known.value_d[0], loss_d), (known.value_g[0], loss_g)]
    pairs += [(known.grad_d[0], ds_real), (known.grad_d[1], ds_fake), (known.grad_g[0], ds)]
    for tex, wanted in pairs:
        sides = tex.split(r", \qquad")[0].split(" = ")[1:]
        assert sides
        for side in sides:
            np.testing.assert_allclose(eval(as_python(side), scope), wanted, rtol=1e-12, err_msg=tex)


# -- a VAE's --------------------------------------------------------------------------------------------------------------

TERMS = [
    (r"_\{n[kj]\}|\\left|\\right|\\[,;]", ""),
    (r"\\(zeta|sigma|mu|ell|pi|varepsilon)", r"\1"),
    (r"e\^(?:\{([^}]*)\}|(\w))", r"np.exp(\1\2)"),
    (r"\\log (\w)", r"np.log(\1)"),
    (r"\\(log|tanh) *", r"np.\1"),
    (r"\^2", "**2"),
]


def closing(text, at):
    """Where the brace that opens at this place is closed."""
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if not depth:
            return end
    raise AssertionError(text)


def terms_as_python(tex):
    """A term of a VAE's loss; its sums reach to the next term."""
    for pattern, python in TERMS:
        tex = re.sub(pattern, python, tex)
    while (at := tex.rfind(r"\frac")) >= 0:  # the last one holds no other
        middle = closing(tex, at + 5)
        end = closing(tex, middle + 1)
        tex = f"{tex[:at]}(({tex[at + 6 : middle]}) / ({tex[middle + 2 : end]})){tex[end + 1 :]}"
    tex = re.sub(r"\\sum_\{n,[jk]\}(.*?)(?= \+ K|$)", r"np.sum(\1)", tex)
    return re.sub(r"(?<=[\w)]) *(?<![a-z])(?=\()|(?<=[\w)]) +(?=[\w(])", " * ", tex.strip())


def sides(tex):
    """What stands right of the equals signs of each formula in a row."""
    return [side for one in tex.split(r", \qquad ") for side in one.split(" = ")[1:]]


@pytest.mark.parametrize("likelihood", [mg.losses.Bernoulli(), mg.losses.Gaussian(0.3)], ids=repr)
def test_the_formulas_of_likelihoods_are_what_they_compute(likelihood):
    y, x = np.random.default_rng(0).standard_normal((2, 4, 5))
    (value, dy), known = likelihood.loss(y, x), likelihood_formulas(likelihood)
    scope = {"np": np, "x": x, "y": y, "t": (x + 1) / 2, "s": 0.3, "pi": np.pi, "N": 4, "K": 5}
    scope |= {"sigma": lambda a: 1 / (1 + np.exp(-a)), "zeta": lambda a: np.log1p(np.exp(a))}
    for tex, wanted in (
        (sides(known.value)[0], value),
        (sides(known.grad)[0], dy),
        *((s, likelihood.mean(y)) for s in sides(known.mean)),
    ):
        np.testing.assert_allclose(eval(terms_as_python(tex), scope), wanted, rtol=1e-12, err_msg=tex)
    assert known.cost(y, x).sum() / 4 == pytest.approx(float(value), rel=1e-12)


def test_the_formulas_of_the_draw_and_the_kl_are_what_they_compute():
    be, (h, dz, noise) = mg.get_backend("textbook"), np.random.default_rng(0).standard_normal((3, 4, 6))
    dz, noise = dz[:, :3], noise[:, :3]
    mean, log_var = h[:, :3], h[:, 3:]
    kl, dh = mg.losses.gaussian_kl(be, h)
    draw, scope = (
        reparametrise_grad(be, dz, h, noise),
        {"np": np, "mu": mean, "ell": log_var, "varepsilon": noise, "dz": dz, "N": 4},
    )
    scope["sigma"] = np.exp(log_var / 2)
    pairs = [(walk_vae.DRAW[0], [mg.losses.reparametrise(be, h, noise), scope["sigma"]])]
    pairs += [
        (walk_vae.DRAW_GRAD[0], [draw[:, :3], draw[:, 3:]]),
        (walk_vae.KL[0], [kl]),
        (walk_vae.KL[1], [dh[:, :3], dh[:, 3:]]),
    ]
    for tex, wanted in pairs:
        for side, value in zip(sides(tex), wanted, strict=False):
            np.testing.assert_allclose(eval(terms_as_python(side), scope), value, rtol=1e-12, err_msg=side)
