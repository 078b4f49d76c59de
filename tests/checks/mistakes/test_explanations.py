"""Each explanation by itself: what it says of mistakes planted in at least three layers, and that it says nothing of others."""

import contextlib
import functools
from unittest import mock

import numpy as np
import pytest
from planted_mistakes import CASES, OTHER, all_planted

import minigan as mg
from minigan.backends import Backend
from minigan.checks.gradients import moved_network
from minigan.checks.mistakes import flows, passes, paths, sums, whole
from minigan.checks.mistakes.evidence import Trial
from minigan.checks.mistakes.naming import EXPLANATIONS

TOLERANCE = 1e-6


def trial(layer, shape, batch=3, train=True):
    rng = np.random.default_rng(1)
    net = moved_network(layer, shape, "textbook", "float64", rng)
    return Trial(net, net.layers[0], rng.standard_normal((batch, *shape)), train, TOLERANCE)


def of_case(name):
    case = CASES[name]
    return trial(case.make(), case.shape, case.batch, case.train)


def said(explain, on):
    """What one explanation says of each wrong gradient, by its name."""
    with np.errstate(all="ignore"):
        found = {gradient.name: explain(on, gradient) for gradient in on.wrong}
    return {name: explanation for name, explanation in found.items() if explanation}


def planted(case, what):
    """The mistake whose description begins so, on the layer of that name."""
    (found,) = [each for each in all_planted() if each.case is CASES[case] and each.what.startswith(what)]
    return found


# explanation: (the kind that it names, [(layer, what is done to the source)])
EXAMPLES = {
    passes.not_overwritten: [
        (
            "added",
            "dense",
            'room = self.backend.empty(self.weight.shape, dy.dtype); self.weight_grad(x, dy, out=room); grads["weight"][...]',
        ),
        ("added", "batch_norm", 'grads["beta"][...] += d_beta'),
        ("not written", "conv", "pass for self.weight_grad"),
        ("not written", "layer_norm", 'grads["beta"]) for'),
    ],
    passes.single_precision: [
        ("float32", "dense", "return y.astype"),
        ("float32", "tanh", "self.f, x.astype"),
        ("float32", "softmax", "exp = self.backend.elementwise(shifted_exp, x.astype"),
        ("float32", "layer_norm", "rows = x.reshape(-1, self.size).astype"),
    ],
    whole.zero: [("missing", layer, "returns 0 * (E)") for layer in ("conv", "tanh", "batch_norm")],
    whole.sign: [("sign", layer, "returns -(E)") for layer in ("conv", "tanh", "residual")],
    whole.constant_factor: [
        ("factor", "dense", "returns (E) / len(dy)"),
        ("factor", "conv", 'grads["bias"][...] = self.backend.column_mean(dy)'),
        ("factor", "dropout", "dy * (cache > 0)"),
        ("factor", "upsample", "copies.mean(axis=(2, 4))"),
    ],
    whole.exchanged: [
        ("exchanged", "batch_norm", 'be.store(d_gamma, grads["beta"])'),
        ("exchanged", "batch_norm_map", "d_beta, d_gamma = be"),
        ("exchanged", "layer_norm", "be.store(be.column_dot"),
        ("factor", "batch_norm", 'be.store(d_beta, grads["gamma"])'),
    ],
    whole.transposed: [
        ("transposed", "square", '@; grads["weight"][...] = grads["weight"].T.copy()'),
        ("transposed", "same", '@; grads["weight"][...] = grads["weight"].swapaxes(2, 3)'),
        ("transposed", "flatten", "*self.input_shape, order='F')"),
        ("transposed", "same", "self.apply(dy) if"),
    ],
    whole.flipped: [("flipped", layer, "returns (E)[::-1]") for layer in ("dense", "conv", "leaky")],
    passes.turned_parameter: [
        ("transposed", "square", "self.weight for self.weight.T"),
        ("flipped", "same", "self.weight[::-1, ::-1]"),
        ("flipped", "deconv", "self.weight[::-1, ::-1]"),
    ],
    passes.x_for_y: [
        ("x for y", "tanh", "return y, x"),
        ("x for y", "softmax", "return y, x"),
        ("x for y", "batch_norm", "return y, (y,"),
    ],
    passes.train_forgotten: [
        ("train", "batch_norm", "inv_std, not train)"),
        ("train", "dropout", "dy for dy * cache"),
        ("train", "shuffle", "dy if True"),
    ],
    passes.changed_in_between: [
        ("cache", "dense", "@; dy *= dy"),
        ("cache", "batch_norm", "@; x *= 2"),
        ("cache", "layer_norm", "self.backend.xp.multiply"),
    ],
    whole.array_factor: [
        ("factor", "dense", "self.transpose(dy) * x if"),
        ("factor", "batch_norm", "inv_std, *means"),
        ("factor", "sigmoid", "line 3: left operand only in y * (1 - y)"),
    ],
    paths.statistics_held: [
        ("train", "batch_norm", "if True:"),
        ("train", "batch_norm_map", "if True:"),
        ("train", "batch_norm_still", "if False:"),
    ],
    sums.summed_too_much: [
        ("axis", "dense", 'grads["bias"][...] = dy.sum()'),
        ("axis", "batch_norm", "be.store(d_beta.sum()"),
        ("axis", "conv", '@; grads["weight"][...] = grads["weight"].sum(axis=0)'),
    ],
    sums.one_addend: [
        ("not added up", "conv", 'grads["bias"][...] = dy.reshape(-1, dy.shape[-1])[-1]'),
        ("not added up", "dense", "for n in range(len(x))"),
        ("not added up", "layer_norm", "rows[-1]"),
    ],
    sums.summed_too_little: [
        ("axis", "dense", 'grads["bias"][...] = self.backend.column_sum(dy[:-1])'),
        ("axis", "conv", "self.weight_grad(x[1:], dy[1:]"),
        ("axis", "layer_norm", "be.column_dot(rows[:-1]"),
    ],
    whole.factor_within: [
        ("factor", "conv", "begins with dy = self.backend.xp.ones_like(dy)"),
        ("factor", "tanh", "begins with dy = self.backend.xp.ones_like(dy)"),
        ("factor", "residual", "begins with dy = dy ** 2"),
    ],
    paths.path_left_out: [
        ("part left out", "batch_norm", "0 * d_beta,"),
        ("part left out", "layer_norm", "0 * @ for self.backend.elementwise(product"),
        ("part left out", "softmax", "cache, 0 * self._mean"),
        ("part left out", "residual", "scale=0"),
        ("part left out", "std_map", "0 * inv_std"),
        ("part left out", "spectral", "slope = 0 * _sum"),
    ],
    whole.factor_for_each: [
        ("factor", "batch_norm_map", "self.gamma, *means"),
        ("factor", "layer_norm_map", "x_hat, 1, *self"),
        ("factor", "batch_norm", "self.gamma * inv_std ** 2, *means"),
    ],
    paths.path_with_factor: [
        ("sign", "batch_norm", "-@ for d_beta / count,"),
        ("factor", "layer_norm", "a.sum(axis=1"),
        ("factor", "softmax", "mean( for sum("),
        ("sign", "residual", "scale=-1.0"),
        ("factor", "spectral", "slope = 2 * _sum"),
        ("factor", "batch_norm_map", "d_beta, d_gamma for"),
        ("factor", "batch_norm_map", "count = len(dy)"),
        ("sign", "batch_norm", "-d_beta / count, -d_gamma"),
        ("factor", "batch_norm_map", "d_gamma / (count - 1)"),
        ("factor", "layer_norm_map", "self.size / (self.size - 1)"),
    ],
    paths.mean_over_other_axes: [
        ("axis", "layer_norm", "a.mean(axis=0"),
        ("axis", "layer_norm_map", "a.mean() for"),
        ("axis", "softmax", "axis=0 for"),
        ("axis", "batch_norm_map", "dy.mean(axis=0), (dy"),
    ],
    sums.own_share: [
        ("not added up", "std", "dy[..., -1].reshape(len(dy), -1)"),
        ("not added up", "std_map", "dy[..., -1].reshape(len(dy), -1)"),
        ("not added up", "softmax", "dy * cache for"),
        ("not added up", "softmax_map", "dy * cache for"),
    ],
    sums.one_of_several: [
        ("not added up", "upsample", "copies[:, :, 0, :, 0]"),
        ("not added up", "upsample", "copies[:, :, -1, :, -1]"),
    ],
}
ROWS = [(explain, *example) for explain, examples in EXAMPLES.items() for example in examples]


@pytest.mark.parametrize(
    ("explain", "kind", "case", "what"), ROWS, ids=[f"{row[0].__name__}-{row[2]}-{row[1]}" for row in ROWS]
)
def test_an_explanation_names_what_is_planted(explain, kind, case, what):
    with planted(case, what).in_place():
        on = of_case(case)
        assert kind in {explanation.kind for explanation in said(explain, on).values()}


def test_every_explanation_has_examples():
    own_file = {flows.derivative_left_out}  # test_flows
    assert {explain for equally_simple in EXPLANATIONS for explain in equally_simple} == set(EXAMPLES) | own_file


@functools.cache
def unexplained():
    """Layers with mistakes of no kind, and their trials, each with its mistake in place."""
    texts = ("(E) ** 3", "abs(E)", "(E) + 0.01", "roll(dy, 1, axis=0)")
    cases = [CASES[name] for name in ("dense", "tanh", "layer_norm_map")]
    return [each for each in all_planted() if OTHER in each.kinds and each.case in cases and any(t in each.what for t in texts)]


def test_nothing_is_said_of_what_is_not_explained():
    assert len(unexplained()) > 10
    for each in unexplained():
        with each.in_place():
            on = trial(each.case.make(), each.case.shape, each.case.batch)
            assert on.wrong, each
            for explain in EXAMPLES:
                assert not said(explain, on), (each, explain)
            assert not said(flows.derivative_left_out, on), each


def test_a_share_that_is_overwritten_in_a_convolution():
    """The windows of a convolution overlap: with = for += in col2im each pixel keeps one share."""
    source = Backend.col2im

    def overwrites(self, columns, g, batch):
        adds = source(self, columns, g, batch)
        last = np.zeros_like(adds)
        windows = columns.reshape(batch, *g.output, *g.kernel, -1)
        for o, p, i, j in np.ndindex(*g.output, *g.kernel):
            h, w = (
                at * s + k * d - pad for at, s, k, d, pad in zip((o, p), g.stride, (i, j), g.dilation, g.padding, strict=True)
            )
            if 0 <= h < g.image[0] and 0 <= w < g.image[1]:
                last[:, h, w] = windows[:, o, p, i, j]
        return last

    for layer in (mg.Conv2d(3, 3), mg.Conv2d(2, 3, padding=1, bias=False), mg.Conv2d(2, 4, stride=2, padding=1)):
        with mock.patch.object(Backend, "col2im", overwrites):
            (found,) = said(sums.one_of_several, trial(layer, (6, 6, 2))).values()
        assert found.kind == "not added up"
        assert "last share alone" in found.words


class Centred(mg.Layer):
    """y = x + ⟨x⟩ over the batch, whose gradient goes to all samples; backward holds only a sample's own."""

    def forward(self, x, train=False):
        return x + x.mean(axis=0), len(x)

    def backward(self, dy, cache, grads=None, input_grad=True):
        return dy + dy / cache if input_grad else None


def test_a_broadcast_that_is_not_summed():
    for shape in ((4,), (3, 2, 2)):
        (found,) = said(sums.own_share, trial(Centred(), shape)).values()
        assert found.words == "what x brings to its own sample of y alone: it reaches the others too, a broadcast not summed"


class Swish(mg.Layer):
    """y = x σ(x) with one operand of the product forgotten in its derivative."""

    def __init__(self, forgotten):
        super().__init__(forgotten=forgotten)
        self.forgotten = forgotten

    def forward(self, x, train=False):
        s = 1 / (1 + np.exp(-x))
        return x * s, (x, s)

    def backward(self, dy, cache, grads=None, input_grad=True):
        x, s = cache
        return dy * (x * s * (1 - s) if self.forgotten == "first" else s) if input_grad else None


@pytest.mark.parametrize(
    ("forgotten", "lacks"), [("first", "lacks the share of the first"), ("second", "lacks that of the second")]
)
def test_an_operand_of_a_product(forgotten, lacks):
    (found,) = said(paths.path_left_out, trial(Swish(forgotten), (5,))).values()
    assert found.kind == "part left out"
    assert lacks in found.words


def test_the_factor_of_a_path_gets_the_name_that_holds_for_another_batch_too():
    """A sum over the 18 values of a sample, which three samples of 6 pixels make too."""
    with planted("layer_norm_map", "a.sum(axis=1").in_place():
        (found,) = said(paths.path_with_factor, of_case("layer_norm_map")).values()
    whose = "the path through μ, −⟨g⟩/σ is 18 times the true one, and 18 is the number of values in a sample of x"
    assert found.words == f"{whose}: divide by it, or take the mean"


class Gated(mg.Layer):
    """y = (x W) ⊙ (x V), or y = x ⊙ (x V), whose dx lacks one path."""

    def __init__(self, parameters, forgotten):
        super().__init__(parameters=parameters, forgotten=forgotten)
        self.names, self.forgotten = parameters, forgotten

    def build(self, input_shape):
        for name in self.names:
            self.add_parameter(name, (5, 5), mg.glorot(), 5, 5)
        return input_shape

    def forward(self, x, train=False):
        a, b = x @ self.W if "W" in self.names else x, x @ self.V
        return a * b, (x, a, b)

    def backward(self, dy, cache, grads=None, input_grad=True):
        x, a, b = cache
        flows = {"V": dy * a, "W": dy * b}
        for name in self.names if grads else ():
            grads[name][...] = x.T @ flows[name]
        w = self.W.T if "W" in self.names else np.eye(5)
        paths_of_x = {"V": flows["V"] @ self.V.T, "W": flows["W"] @ w}
        return sum(path for name, path in paths_of_x.items() if name != self.forgotten) if input_grad else None


@pytest.mark.parametrize(
    ("parameters", "forgotten", "lacks"),
    [
        ("WV", "W", "lacks the path through W, ∂L/∂(x W) Wᵀ"),
        ("WV", "V", "lacks the path through V, ∂L/∂(x V) Vᵀ"),
        ("V", "V", "lacks the path through V, ∂L/∂(x V) Vᵀ"),
        ("V", "W", "lacks the path that goes through no matrix"),
    ],
)
def test_a_path_through_a_matrix(parameters, forgotten, lacks):
    on = trial(Gated(parameters, forgotten), (5,))
    assert said(paths.path_left_out, on)["x"].words == lacks
    assert said(paths.path_left_out, trial(Gated(parameters, None), (5,))) == {}


def test_no_explanation_raises_where_a_layer_cannot_run_otherwise():
    """A layer that takes three samples, in training, with the cache that it made itself."""

    class Fussy(mg.Tanh):
        def forward(self, x, train=False):
            assert len(x) == 3
            assert train
            y, _ = super().forward(x, train)
            return y, {"y": y, "flag": True, "id": id(y)}

        def backward(self, dy, cache, grads=None, input_grad=True):
            assert cache["id"] == id(cache["y"])
            return -super().backward(dy, cache["y"]) if input_grad else None

    on = trial(Fussy(), (4,))
    with contextlib.suppress(AssertionError):
        on.layer.forward(np.ones((4, 4)), True)
    for explain in EXAMPLES:
        said(explain, on)
    assert said(whole.sign, on)
