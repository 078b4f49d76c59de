"""`minigan gradcheck FILE.py`: the layers that a user's own file defines, right ones, faulty ones, and files that are none."""

import subprocess
import sys

import numpy as np
import pytest

import minigan as mg
from minigan import cli
from minigan.checks.contract import check_contract, check_file
from minigan.checks.gradients import layer_table
from minigan.errors import UserFileError

GOOD = """
import minigan as mg

class Scale(mg.Layer):
    def build(self, input_shape):
        self.add_parameter("a", input_shape[-1:], mg.constant(1.0))
        return input_shape

    def forward(self, x, train=False):
        return self.a * x, x

    def backward(self, dy, cache, *, param_grads=True, input_grad=True):
        if param_grads:
            self.grads["a"] += self.backend.column_dot(cache, dy)
        return self.a * dy if input_grad else None

CHECKS = [(Scale(), (4, 3)), (Scale(), (5,))]
"""


@pytest.fixture
def file(tmp_path):
    def write(text, name="own.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def run(path, capsys, *options):
    status = cli.main(["gradcheck", str(path), "--backend", "numpy", *options])
    return status, capsys.readouterr()


def test_a_right_layer_passes(file, capsys, backend):
    assert cli.main(["gradcheck", str(file(GOOD)), "--backend", backend]) == 0
    first, second, last = capsys.readouterr().out.splitlines()[1:]
    assert first.startswith("ok ")
    assert "Scale() on (4, 3)" in first
    assert "78 derivatives" in first, "3 factors and 3 × 12 inputs, in training and at inference"
    assert "Scale() on (5,)" in second
    assert "2 checks" in last
    assert "the layer contract is kept" in last


def test_several_files_and_nothing_written_beside_them(file, capsys):
    one, two = file(GOOD), file(GOOD.replace("Scale", "Gain"), "two.py")
    assert cli.main(["gradcheck", str(one), str(two), "--backend", "numpy"]) == 0
    out = capsys.readouterr().out
    assert "Scale() on (4, 3)" in out
    assert "Gain() on (5,)" in out
    assert sorted(path.name for path in one.parent.iterdir()) == ["own.py", "two.py"]


def test_a_file_may_import_its_neighbour(file, capsys):
    file("SHAPE = (2, 2)\n", "neighbour_of_own.py")
    path = file("import neighbour_of_own\n" + GOOD.replace("(5,)", "neighbour_of_own.SHAPE"))
    before = list(sys.path)
    assert run(path, capsys)[0] == 0
    assert sys.path == before


# (what is planted, by replacing one piece of the right layer, and what the output must say)
FAULTS = {
    "a wrong gradient": ("return self.a * dy if", "return 1.01 * self.a * dy if", "x in training"),
    "a gradient forgotten": ("column_dot(cache, dy)", "column_dot(cache, 0 * dy)", "a in training"),
    "replaces": ('self.grads["a"] +=', 'self.grads["a"][...] =', "must add to self.grads"),
    "puts another in its place": (
        'self.grads["a"] +=',
        'self.grads["a"] =',
        "in place of self.grads['a']: add to the one there",
    ),
    "ignores param_grads": ("if param_grads:", "if True:", "param_grads=False changes self.grads"),
    "ignores input_grad": (" if input_grad else None", "", "input_grad=False must return None"),
    "grads only with dx": ("if param_grads:", "if param_grads and input_grad:", "gives other parameter gradients"),
    "dx only with grads": ("return self.a * dy if", "return self.a * dy * (1 + param_grads) / 2 if", "gives another dx"),
    "writes to dy": ("return self.a * dy if", "dy *= self.a; return dy if", "writes to dy"),
    "writes to the cache": ("if param_grads:", "cache *= 2\n        if param_grads:", "writes to the cache"),
    "writes to x": ("return self.a * x, x", "x += 1; return self.a * x, x", "forward writes to x"),
    "moves parameters": ("return self.a * dy if", "g = self.a * dy; self.a *= 2; return g if", "a pass changes parameters"),
    "a trace of the last pass": (
        "return self.a * x, x\n\n    def backward(self, dy, cache, *, param_grads=True, input_grad=True):\n",
        "self.x = x; return self.a * x, None\n\n    def backward(self, dy, cache, *, param_grads=True, input_grad=True):\n"
        "        cache = self.x\n",
        "what another forward pass left",
    ),
    "float64": ("return self.a * x, x", 'return self.a * x.astype("float64"), x', "float32 does not stay float32: y"),
    "float64 in the cache": ("return self.a * x, x", 'return self.a * x, x.astype("float64")', "the cache is float64"),
    "float64 in dx": ("return self.a * dy if", 'return self.a * dy.astype("float64") if', "dx is float64"),
    "names += as direct": ("def build", 'direct = ("a",)\n    def build', "`direct` must name"),
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
def test_a_planted_fault_is_named(fault, file, capsys):
    right, wrong, said = FAULTS[fault]
    assert GOOD.count(right) == 1
    status, (out, err) = run(file(GOOD.replace(right, wrong)), capsys)
    assert (status, err) == (1, "")
    failed = [line for line in out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 2
    assert "2 of 2 FAILED" in out
    if " " in said and said.split()[0] in ("a", "x") and len(said.split()) == 3:  # the row of a gradient
        (row,) = [line for line in out.splitlines() if line.strip().startswith(said)][:1]
        assert float(row.split()[3]) > 1e-3
    else:
        assert said in out
        assert "contract broken: " in out


@pytest.mark.parametrize("initialiser", ["glorot", "he"])
def test_an_initialiser_that_needs_fans_says_so(initialiser, file, capsys):
    status, (out, _) = run(file(GOOD.replace("mg.constant(1.0)", f"mg.{initialiser}()")), capsys)
    assert status == 1
    assert f"{initialiser} scales by the fans, which are (0, 0): give both" in out


def test_state_that_moves_at_inference_is_named():
    class Restless(mg.BatchNorm):
        def forward(self, x, train=False):
            self.running_mean += 1
            return super().forward(x, train)

    assert "forward changes its state at inference, train=False" in check_contract(Restless(), (3,), train=False)


@pytest.mark.parametrize("train", [True, False])
def test_minigans_own_layers_keep_the_contract(train):
    broken = {repr(make()): check_contract(make(), shape, train=train, backend="numpy") for make, shape in layer_table()}
    assert not any(broken.values()), broken


MISTAKES = {
    "no list": (GOOD.partition("CHECKS")[0], "defines Scale but no list CHECKS", "CHECKS = [(Scale(), (4, 4, 3))]"),
    "no layer": ("x = 1\n", "defines no layer and no list CHECKS", "[(MyLayer(), (4, 4, 3))]"),
    "empty": ("CHECKS = []\n", "CHECKS is []: expected a list of (layer, input shape)"),
    "not Python": ("def f(:\n", "line 1: this is not Python (invalid syntax)"),
    "null bytes": ("\0", "this is not Python"),
    "raises": ("import os\n\nos.environ['NO SUCH NAME']\n", "line 3, in <module>: KeyError"),
    "ends the program": ("import sys\nsys.exit(3)\n", "line 2, in <module>: SystemExit", "__main__"),
    "a class": (GOOD.replace("(Scale(), (5,))", "(Scale, (5,))"), "CHECKS[1] holds the class Scale: write a layer, Scale()"),
    "no pair": (GOOD.replace("(Scale(), (5,))", "Scale()"), "CHECKS[1] is Scale(): expected (layer, input shape)"),
    "no shape": (GOOD.replace("(5,)", "5"), "CHECKS[1] has the shape 5: expected whole numbers"),
    "an impossible shape": (GOOD.replace("(5,)", "(0, 2)"), "CHECKS[1] has the shape (0, 2)"),
    "no layer object": (GOOD.replace("(Scale(), (5,))", "(len, (5,))"), "which is no minigan.Layer"),
    "a shape refused": (
        "import minigan as mg\nCHECKS = [(mg.Dense(3), (4,)), (mg.Conv2d(2, 3), (5,))]\n",
        "CHECKS[1], shape (5,): Conv2d (layer 0) needs (H, W, C), got (5,)".replace("Conv2d (layer 0)", "Conv2d"),
    ),
    "no super().__init__": (
        GOOD.replace("    def build", "    def __init__(self):\n        self.b = 1\n\n    def build"),
        "Scale.__init__ must call super().__init__(**options)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(mistake, file, capsys):
    text, *said = MISTAKES[mistake]
    status, (_, err) = run(file(text), capsys)
    assert status == 2
    assert err.count("\n") == 1
    assert err.startswith("minigan: error: ")
    assert "own.py" in err
    for part in said:
        assert part in err


def test_a_missing_file_and_a_folder(tmp_path, capsys):
    for path, reason in ((tmp_path / "none.py", "No such file"), (tmp_path, "Is a directory")):
        status, (out, err) = run(path, capsys)
        assert (status, out) == (2, "")
        assert f"cannot read {path}: {reason}" in err


def test_the_first_file_is_not_checked_when_the_second_is_missing(file, tmp_path, capsys):
    assert cli.main(["gradcheck", str(file(GOOD)), str(tmp_path / "none.py")]) == 2
    assert capsys.readouterr().out == ""


def test_layers_of_the_list_stay_free(file):
    """Every check is made on a fresh layer: the same object may stand in the list twice."""
    path = file(
        GOOD.replace("CHECKS = [(Scale(), (4, 3)), (Scale(), (5,))]", "own = Scale()\nCHECKS = [(own, (4, 3)), (own, (5,))]")
    )
    assert [report.ok for report in check_file(path, "numpy")] == [True, True]


def test_check_file_raises_at_the_call(tmp_path):
    with pytest.raises(UserFileError, match="cannot read"):
        check_file(tmp_path / "none.py")


def test_a_random_layer_and_one_with_state_pass(file, capsys):
    text = (
        "import minigan as mg\nCHECKS = [(mg.Dropout(0.5), (6,)), (mg.BatchNorm(), (2, 2, 3)), (mg.Conv2d(2, 3), (4, 4, 2))]\n"
    )
    status, (out, _) = run(file(text), capsys)
    assert status == 0, out


def test_the_help_says_what_a_file_must_hold():
    result = subprocess.run(
        [sys.executable, "-m", "minigan", "gradcheck", "--help"], capture_output=True, text=True, check=True
    )
    assert "FILE.py" in result.stdout
    assert "CHECKS = [(layer, input shape), ...]" in " ".join(result.stdout.split())


def test_a_kink_that_the_layer_does_not_name_is_hinted_at(file, capsys):
    kinked = GOOD.replace("return self.a * x, x", "return self.a * abs(x), x")
    kinked = kinked.replace("column_dot(cache, dy)", "column_dot(abs(cache), dy)")
    kinked = kinked.replace("return self.a * dy if", "return self.a * dy * self.backend.xp.sign(cache) if").replace(
        "(4, 3)", "(20, 9, 3)"
    )
    status, (out, _) = run(file(kinked), capsys)
    assert status == 1
    assert out.count("branch_signature(cache) must say") == 1, "the smaller shape has no value near 0"
    told = kinked.replace("CHECKS", "    def branch_signature(self, cache):\n        return cache > 0\n\nCHECKS")
    status, (out, _) = run(file(told), capsys)
    assert status == 0, out


def test_nan_is_a_wrong_gradient_and_nothing_else(file, capsys):
    path = file(GOOD.replace("return self.a * dy if", "return self.a * dy * float('nan') if"))
    with np.errstate(all="ignore"):
        status, (out, _) = run(path, capsys)
    assert status == 1
    assert "contract broken" not in out
