"""What a report says of mistakes: of networks, of a user's file, of what passes; and of two explanations that fit alike."""

import numpy as np
import pytest
from own_layers import GOOD

import minigan as mg
from minigan.checks.file import check_file
from minigan.checks.mistakes import naming
from minigan.checks.mistakes.evidence import Explanation, Trial


class Mean(mg.Dense):
    """A bias gradient that is a mean over the batch, where a sum belongs."""

    def backward(self, dy, cache, grads=None, input_grad=True):
        dx = super().backward(dy, cache, grads, input_grad)
        if grads:
            grads["bias"][...] /= len(dy)
        return dx


class Negative(mg.Tanh):
    def backward(self, dy, cache, grads=None, input_grad=True):
        return -super().backward(dy, cache) if input_grad else None


class InPlace(mg.Tanh):
    """Writes over its input, which the layer below keeps."""

    def forward(self, x, train=False):
        return super().forward(np.multiply(x, 2, out=x))

    def backward(self, dy, cache, grads=None, input_grad=True):
        return 2 * super().backward(dy, cache) if input_grad else None


def check(layers, shape=(5,), batch=4, **options):
    net = mg.Sequential(layers, shape, "textbook", "float64")
    return mg.check_gradients(net, np.random.default_rng(0).standard_normal((batch, *shape)), **options)


def named(report):
    return [(mistake.kind, mistake.where, mistake.words) for mistake in report.mistakes]


def test_a_check_that_passes_says_nothing():
    report = check([mg.Dense(3), mg.Tanh(), mg.Dense(2)])
    assert report.ok
    assert report.mistakes == []
    assert "gradient of" not in str(report)


@pytest.mark.parametrize("options", [{}, {"mode": "projection"}, {"max_entries": 2}, {"train": False}])
def test_of_a_network_the_layer_with_the_mistake_is_named(options):
    """Below it all gradients are wrong, but by no mistake of theirs."""
    report = check([mg.Dense(6), Negative(), mg.Dense(2)], **options)
    assert [row.name for row in report.rows if row.max_error > 1e-3] == ["0.weight", "0.bias", "x"]
    assert named(report) == [("sign", "x of Negative (layer 1)", "minus the true one: a sign is wrong")]
    assert str(report).splitlines()[-1] == "  gradient of x of Negative (layer 1): minus the true one: a sign is wrong"


@pytest.mark.parametrize(("batch", "features"), [(4, 4), (3, 3), (2, 2), (2, 7)])
def test_a_factor_gets_the_name_that_holds_for_another_batch_too(batch, features):
    report = check([Mean(features)], batch=batch)
    words = f"1/{batch} of the true one, and {batch} is the batch size N: a mean stands where a sum belongs"
    assert named(report) == [("factor", "0.bias", words)]


def test_a_factor_of_two_is_no_batch_of_two():
    class Twice(mg.Tanh):
        def backward(self, dy, cache, grads=None, input_grad=True):
            return 2 * super().backward(dy, cache) if input_grad else None

    assert named(check([Twice()], shape=(7,), batch=2)) == [("factor", "x", "twice the true one")]


def test_the_check_leaves_the_layers_free_for_others():
    """Mistakes are found when they are asked for: the network passed in is as it was, and may have changed since."""
    net = mg.Sequential([Mean(3)], (5,), "textbook", "float64")
    report = mg.check_gradients(net, np.ones((4, 5)))
    before = net.state_dict()
    net.flat_params[...] = 0
    assert len(report.mistakes) == 1
    assert not net.flat_params.any()
    assert report.rows[0].name in before


def test_a_layer_that_writes_into_what_the_one_below_keeps():
    report = check([mg.Tanh(), InPlace(), mg.Dense(2)])
    assert not report.ok
    words = "forward writes into its x, which Tanh (layer 0) may keep in its cache: right as soon as it writes to a new array"
    assert named(report) == [("cache", "x of InPlace (layer 1)", words)]


def test_two_explanations_that_fit_alike_are_both_given(monkeypatch):
    either = tuple(lambda trial, g, kind=kind: Explanation(kind, f"{kind} it is") for kind in ("sign", "axis", "sign"))
    simpler = (lambda trial, g: None,)
    monkeypatch.setattr(naming, "EXPLANATIONS", [simpler, either, (lambda trial, g: 1 / 0,)])
    (mistake,) = check([Negative()]).mistakes
    assert mistake.kind == "sign or axis"
    assert mistake.words == "sign it is; or else axis it is"


def test_a_gradient_rounded_to_float32():
    """Its error is below the usual tolerance."""

    class Rounded(mg.Dense):
        def backward(self, dy, cache, grads=None, input_grad=True):
            dx = super().backward(dy, cache, grads, input_grad)
            return dx if dx is None else dx.astype(np.float32)

    assert check([Rounded(3)]).ok
    words = "off by the rounding of float32: the gradient is rounded to float32 in a float64 pass"
    assert named(check([Rounded(3)], tolerance=1e-9)) == [("float32", "x", words)]


def test_x_in_float32_is_no_mistake_of_float32():
    class Slightly(mg.Tanh):
        def backward(self, dy, cache, grads=None, input_grad=True):
            dx = super().backward(dy, cache)
            dx[0] *= 1.001
            return dx if input_grad else None

    net = mg.Sequential([Slightly()], (5,), "textbook", "float64")
    report = mg.check_gradients(net, np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32))
    assert not report.ok
    assert report.mistakes == []


def test_trying_the_other_mode_leaves_running_statistics_alone():
    """At inference they are in the formula, and training passes move them."""
    net = mg.Sequential([mg.BatchNorm()], (5,), "textbook", "float64")
    x = np.random.default_rng(0).standard_normal((4, 5))
    on = Trial(net, net.layers[0], x, False, 1e-6)
    before = on.forward()[0]
    assert on.other_mode.train
    assert on.doubled is not None
    np.testing.assert_array_equal(on.forward()[0], before)


def test_no_more_than_some_entries_are_varied():
    """Of a large weight a part is drawn, and what needs all of it stays silent."""
    report = check([Negative(), mg.Dense(40)], shape=(40,), batch=2, max_entries=3)
    assert [mistake.kind for mistake in report.mistakes] == ["sign"]


def test_gradients_with_one_mistake_share_a_line(backend):
    class Wrong(mg.Dense):
        def backward(self, dy, cache, grads=None, input_grad=True):
            return super().backward(-dy, cache, grads, input_grad)

    report = mg.check_layer(Wrong(3), (5,), backend=backend)
    assert [mistake.where for mistake in report.mistakes] == ["0.weight", "0.bias", "x"]
    assert str(report).splitlines()[4:] == ["  gradients of 0.weight, 0.bias and x: minus the true one: a sign is wrong"]
    assert "<br>gradients of 0.weight, 0.bias and x: minus the true one: a sign is wrong" in report._repr_html_()
    assert str(report.mistakes[0]) == "gradient of 0.weight: minus the true one: a sign is wrong"


class OfOneSample(mg.ReLU):
    """A scale whose gradient is that of the first sample alone, of which nothing may come through."""

    def build(self, input_shape):
        self.add_parameter("c", input_shape, mg.constant(0.0))
        return input_shape

    def forward(self, x, train=False):
        y, cache = super().forward(x, train)
        return y * self.c, (y, cache)

    def branch_signature(self, cache):
        return super().branch_signature(cache[1])

    def backward(self, dy, cache, grads=None, input_grad=True):
        y, cache = cache
        if grads:
            grads["c"][...] = (dy * y)[0]
        return super().backward(dy * self.c, cache) if input_grad else None


def test_a_gradient_that_is_0_on_these_samples_alone_is_not_called_0():
    net = mg.Sequential([OfOneSample()], (2,), "textbook", "float64")
    net.flat_params[...] = 1
    report = mg.check_gradients(net, np.array([[-1.0, -2.0], [0.5, 1.5], [2.0, -0.7]]))
    assert report.rows[0].analytic == 0
    assert named(report) == [("not added up", "0.c", "the share of the first sample alone: not summed over all")]


def test_an_array_of_the_cache_is_named_by_its_place():
    class Scaled(mg.Tanh):
        def forward(self, x, train=False):
            y, cache = super().forward(x, train)
            return y, {"of": cache, "factors": (3, self.backend.asarray(np.linspace(1, 2, 5)))}

        def backward(self, dy, cache, grads=None, input_grad=True):
            return cache["factors"][1] * super().backward(dy, cache["of"]) if input_grad else None

        def branch_signature(self, cache):
            return None

    words = "the true one times the array (5,) in cache['factors'][1]: that factor stands once too often"
    assert named(check([Scaled()])) == [("factor", "x", words)]


def test_the_layer_that_rounds_is_noted():
    """In a network that passes, and beside another layer's mistake."""

    class Rounds(mg.Tanh):
        def backward(self, dy, cache, grads=None, input_grad=True):
            return super().backward(dy.astype("float32"), cache) if input_grad else None

    report = check([mg.Dense(6), Rounds(), mg.Dense(2)])
    assert report.ok
    (note,) = report.notes
    assert (note.kind, note.where) == ("float32", "x of Rounds (layer 1)")
    assert str(note) in str(report)
    report = check([Rounds(), mg.Dense(3), Negative()])
    assert [each.where for each in (*report.mistakes, *report.notes)] == ["x of Negative (layer 2)", "x"]


# (what is planted in the right layer of a user's file, what the report says then)
FILES = {
    "sign": (
        "return self.a * dy if",
        "return -self.a * dy if",
        "gradients of x in training and x at inference: minus the true one",
    ),
    "left out": ("return self.a * dy if", "return dy if", "the true one divided by a: that factor is left out"),
    "adds": ('grads["a"][...] =', 'grads["a"][...] +=', "added to what lay there before: it must be overwritten, = and not +="),
    "mean": (
        "column_dot(cache, dy)",
        "column_dot(cache, dy) / len(dy)",
        "1/3 of the true one, and 3 is the batch size N: a mean",
    ),
    "one sample": ("column_dot(cache, dy)", "column_dot(cache[-1:], dy[-1:])", "the share of the last sample alone: = stands"),
    "summed": (
        "self.backend.column_dot(cache, dy)",
        "(cache * dy).sum()",
        "the true one summed over its axis 0: a sum over one axis too many",
    ),
    "train": (
        "return self.a * x, x",
        "return self.a * x * (1 if train else x), x",
        "at training, and this is inference: backward forgets",
    ),
}


@pytest.mark.parametrize("fault", FILES)
def test_a_users_file(fault, tmp_path):
    right, wrong, said = FILES[fault]
    path = tmp_path / "own.py"
    path.write_text(GOOD.replace(right, wrong), encoding="utf-8")
    report = next(check_file(path, "numpy"))
    assert said in str(report), str(report)
    assert all(mistake.where.endswith((" in training", " at inference")) for mistake in report.mistakes)
    assert max(map(len, report.lines)) <= 300
