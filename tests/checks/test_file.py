"""The layers of a user's own file: a right one, and one with each fault that such a layer may have."""

import numpy as np
import pytest
from own_layers import GOOD

from minigan.checks.file import check_file
from minigan.errors import MiniganError


@pytest.fixture
def check(tmp_path):
    """The reports on a file of this text."""

    def run(text):
        path = tmp_path / "own.py"
        path.write_text(text, encoding="utf-8")
        return list(check_file(path, "numpy"))

    return run


def test_a_right_layer_passes(check):
    first, second = check(GOOD)
    assert first.ok, str(first)
    assert second.ok, str(second)
    assert [row.name for row in first.rows] == ["a in training", "x in training", "a at inference", "x at inference"]


# (what is planted, by replacing one piece of the right layer, and what the report must say)
FAULTS = {
    "a wrong gradient": ("return self.a * dy if", "return 1.01 * self.a * dy if", "x in training"),
    "a gradient forgotten": ("column_dot(cache, dy)", "column_dot(cache, 0 * dy)", "a in training"),
    "adds": ('grads["a"][...] =', 'grads["a"][...] +=', "or adds to it: it must overwrite all of it"),
    "leaves a part": ('grads["a"][...] =', 'grads["a"][1:], _ = 1,', "does not write all of grads['a']"),
    "writes nothing": ('grads["a"][...] =', "unused =", "does not write all of grads['a']"),
    "puts another in its place": ('grads["a"][...] =', 'grads["a"] =', "another array in grads['a']: write into the one there"),
    "ignores grads=None": ("if grads is not None:", "if True:", "line 14, in backward: TypeError"),
    "ignores input_grad": (" if input_grad else None", "", "input_grad=False must return None"),
    "grads only with dx": ("if grads is not None:", "if grads is not None and input_grad:", "gives other parameter gradients"),
    "dx only with grads": (
        "return self.a * dy if",
        "return self.a * dy * (1 + (grads is not None)) / 2 if",
        "grads=None gives another dx",
    ),
    "another dx at the second call": (
        "return self.a * dy if",
        "self.n = vars(self).get('n', 0) + 1; return self.a * dy * self.n if",
        "called twice on one cache gives two different dx",
    ),
    "writes to dy": ("return self.a * dy if", "dy *= self.a; return dy if", "writes to dy"),
    "writes to the cache": ("if grads is not None:", "cache *= 2\n        if grads is not None:", "writes to the cache"),
    "writes to x": ("return self.a * x, x", "x += 1; return self.a * x, x", "forward writes to x"),
    "moves parameters": ("return self.a * dy if", "g = self.a * dy; self.a *= 2; return g if", "a pass changes parameters"),
    "a trace of the last pass": (
        "return self.a * x, x\n\n    def backward(self, dy, cache, grads=None, input_grad=True):\n",
        "self.x = x; return self.a * x, None\n\n    def backward(self, dy, cache, grads=None, input_grad=True):\n"
        "        cache = self.x\n",
        "what another forward pass left",
    ),
    "mixes the batch": (
        "def forward(self, x, train=False):\n        return self.a * x",
        "cross_sample = False\n\n    def forward(self, x, train=False):\n        return self.a * x[::-1]",
        "output depends on the others: set cross_sample = True",
    ),
    "float64": ("return self.a * x, x", 'return self.a * x.astype("float64"), x', "float32 does not stay float32: y"),
    "float64 in the cache": ("return self.a * x, x", 'return self.a * x, x.astype("float64")', "the cache is float64"),
    "float64 in dx": ("return self.a * dy if", 'return self.a * dy.astype("float64") if', "dx is float64"),
    "only at inference": ("return self.a * x, x", "return self.a * x * (2 - train), x", "x at inference"),
    "a shape of its own": ("return self.a * x, x", "return (self.a * x)[:, :1], x", "build promises an output (3, 4, 3)"),
    "no cache": ("return self.a * x, x", "return self.a * x", "must return (y, cache)"),
    "no shape": ("        return input_shape\n", "", "build must return the output shape"),
    "dx of another shape": ("return self.a * dy if", "return (self.a * dy)[:1] if", "backward must return dx"),
    "chance of its own": (
        "return self.a * x, x",
        "import random; return self.a * x * random.random(), x",
        "draw random numbers from self.rng",
    ),
    "an exception": ("return self.a * x, x", "return self.a * self.b * x, x", "line 10, in forward: AttributeError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(fault, check):
    right, wrong, said = FAULTS[fault]
    assert GOOD.count(right) == 1
    with np.errstate(all="ignore"):
        reports = check(GOOD.replace(right, wrong))
    assert [report.ok for report in reports] == [False, False]
    if said.endswith((" in training", " at inference")):
        row = next(row for row in reports[0].rows if row.name == said)
        assert row.max_error > 1e-3
    else:
        assert said in str(reports[0])
        assert "contract broken: " in str(reports[0])


@pytest.mark.parametrize("initialiser", ["glorot", "he"])
def test_an_initialiser_that_needs_fans_says_so(initialiser, check):
    for report in check(GOOD.replace("mg.constant(1.0)", f"mg.{initialiser}()")):
        assert f"{initialiser} scales by the fans, which are (0, 0): give both" in str(report)


def test_layers_of_the_list_stay_free(check):
    """Every check is made on a fresh layer: the same object may stand in the list twice."""
    text = GOOD.replace("CHECKS = [(Scale(), (4, 3)), (Scale(), (5,))]", "own = Scale()\nCHECKS = [(own, (4, 3)), (own, (5,))]")
    assert [report.ok for report in check(text)] == [True, True]


def test_check_file_raises_at_the_call(tmp_path):
    with pytest.raises(MiniganError, match="cannot read"):
        check_file(tmp_path / "none.py")


def test_a_random_layer_and_one_with_state_pass(check):
    layers = "(mg.Dropout(0.5), (6,)), (mg.BatchNorm(), (2, 2, 3)), (mg.Conv2d(2, 3), (4, 4, 2))"
    for report in check(f"import minigan as mg\nCHECKS = [{layers}]\n"):
        assert report.ok, str(report)


def test_a_kink_that_the_layer_does_not_name_is_hinted_at(check):
    """y is a wave of straight pieces, 1/4 wide: of many values some lie nearer to a bend than the steps of the differences."""
    wave = lambda x: f"abs({x} * 4 % 2 - 1)"  # noqa: E731
    kinked = GOOD.replace("return self.a * x, x", f"return self.a * {wave('x')}, x")
    kinked = kinked.replace("column_dot(cache, dy)", f"column_dot({wave('cache')}, dy)")
    slope = "4 * self.backend.xp.sign(cache * 4 % 2 - 1)"
    kinked = kinked.replace("return self.a * dy if", f"return self.a * dy * {slope} if").replace("(4, 3)", "(20, 9, 3)")
    hinted = ["branch_signature(cache) must say" in str(report) for report in check(kinked)]
    assert hinted == [True, False], "the smaller shape has no value near a bend"
    told = kinked.replace("CHECKS", "    def branch_signature(self, cache):\n        return cache * 4 // 1\n\nCHECKS")
    assert all(report.ok for report in check(told))


def contract_alone(report):
    """Whether the gradients are judged as right, and nothing but the contract is said to be broken."""
    right = all(row.max_error < report.tolerance for row in report.rows)
    return right and not report.mistakes and all(line.startswith("contract broken: ") for line in report.amiss)


SPOILS = {
    "dy": ("dx = self.a * dy; dy *= 2; return dx if", "backward writes to dy"),
    "the cache, which is x": ("cache *= 2; return self.a * dy if", "backward writes to the cache"),
    "parameters": ("g = self.a * dy; self.a *= 2; return g if", "a pass changes parameters"),
}


@pytest.mark.parametrize("what", SPOILS)
def test_what_backward_spoils_makes_no_right_gradient_wrong(what, check):
    wrong, said = SPOILS[what]
    for report in check(GOOD.replace("return self.a * dy if", wrong)):
        assert not report.ok
        assert report.broken == [f"{said} (in training)", f"{said} (at inference)"]
        assert contract_alone(report)


@pytest.mark.parametrize(("moved", "kinds"), [("x += 1", {"cache"}), ("x -= x.mean(axis=0)", set()), ("x *= 0.5", {"factor"})])
def test_a_forward_that_writes_to_x_gets_no_other_advice(moved, kinds, check):
    """That it writes is the mistake where dx is right on a copy, as if x were moved by a constant."""
    for report in check(GOOD.replace("return self.a * x, x", f"{moved}; return self.a * x, x")):
        assert report.broken == ["forward writes to x (in training)", "forward writes to x (at inference)"]
        assert {mistake.kind for mistake in report.mistakes} == kinds
        assert not report.hint


def test_a_key_that_is_replaced_is_named_in_the_advice(check):
    (sentence, _) = check(GOOD.replace('grads["a"][...] =', 'grads["a"] ='))[0].broken
    assert sentence == "backward puts another array in grads['a']: write into the one there, grads['a'][...] = … (in training)"


def test_no_dx_is_one_sentence(check):
    report = check(GOOD.replace("return self.a * dy if input_grad else None", "return None"))[0]
    assert [line.partition(",")[0] for line in report.amiss] == ["contract broken: backward must return dx (3"] * 2


FLOAT32 = {
    "the gradient": (
        "column_dot(cache, dy)",
        "column_dot(cache, dy).astype('float32')",
        "a",
        "the gradient is rounded to float32",
    ),
    "a product": (
        "return self.a * dy if",
        "return (self.a * dy).astype('float32') if",
        "x",
        "the gradient is rounded to float32",
    ),
    "dy": (
        "if grads is not None:",
        "dy = dy.astype('float32') * self.a ** 0\n        if grads is not None:",
        "x",
        "rounds dy, or",
    ),
    "x": ("column_dot(cache, dy)", "column_dot(cache.astype('float32'), dy)", "a", "x is rounded to float32"),
    "a parameter": ("return self.a * dy if", "return self.a.astype('float32') * dy if", "x", "a is rounded to float32"),
}


@pytest.mark.parametrize("what", FLOAT32)
def test_float32_below_the_tolerance_is_noted(what, check):
    right, wrong, where, said = FLOAT32[what]
    assert GOOD.count(right) == 1
    for report in check(GOOD.replace(right, wrong)):
        assert report.max_error < report.tolerance, "no failure"
        assert f"{where} in training" in {note.where for note in report.notes}
        assert {note.kind for note in report.notes} == {"float32"}
        assert all(said in note.words for note in report.notes)
        assert said in report.amiss[-1]


def test_float32_in_the_cache_is_noted(check):
    squared = GOOD.replace("return self.a * x, x", "return self.a * x, (x, (x * x).astype('float32'))")
    squared = squared.replace("column_dot(cache, dy)", "column_dot(cache[1] / cache[0], dy)")
    words = "right to the tolerance, but only as exact as float32: cache[1] holds numbers rounded to float32 in a float64 pass"
    for report in check(squared):
        assert report.ok
        assert [(note.where, note.words) for note in report.notes] == [("a in training", words), ("a at inference", words)]


def test_a_forward_in_float32_is_no_kink(check):
    """Its differences are noise, which would look like a kink at each place."""
    for report in check(GOOD.replace("return self.a * x, x", "return (self.a * x).astype('float32') + 0 * x, x")):
        assert {mistake.kind for mistake in report.mistakes} == {"float32"}
        assert not any("branch_signature" in line for line in report.lines)


def test_nan_is_a_wrong_gradient_and_nothing_else(check):
    with np.errstate(all="ignore"):
        reports = check(GOOD.replace("return self.a * dy if", "return self.a * dy * float('nan') if"))
    nan_in_weight = check(GOOD.replace("column_dot(cache, dy)", "column_dot(cache, dy) * float('nan')"))
    for report in (*reports, *nan_in_weight):
        assert not report.ok
        assert not report.broken


def test_a_wrong_gradient_without_a_kink_gets_no_hint(check):
    for wrong in ("return 2 * self.a * dy if", "return -self.a * dy if", "return self.a * dy + float('nan') if"):
        assert not any("branch_signature" in str(report) for report in check(GOOD.replace("return self.a * dy if", wrong)))


def test_a_layer_that_draws_gets_no_hint_of_a_kink(check):
    """Its differences change from pass to pass, kink or none."""
    drawn = GOOD.replace("return self.a * x, x", "return self.a * x * np.random.uniform(0.5, 1.5, x.shape), x")
    for report in check(f"import numpy as np\n{drawn}"):
        assert not report.ok
        assert "branch_signature" not in str(report)
