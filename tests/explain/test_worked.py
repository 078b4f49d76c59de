"""`minigan explain NAME`: every layer, loss and optimiser has one; what is written is what is computed; faults are told."""

import inspect
import math
import os
import re
import subprocess
import sys
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import minigan as mg
from minigan import cli, losses, optim
from minigan.checks.suite import layer_table
from minigan.errors import OptionError
from minigan.explain import worked
from minigan.explain.worked import generic
from minigan.explain.worked.registry import EXAMPLES

LAYERS = {type(make()).__name__ for make, _ in layer_table()}
LOSSES = {name for name, value in vars(losses).items() if inspect.isfunction(value)} | {
    kind.__name__ for kind in (*losses.OBJECTIVES.values(), *losses.LIKELIHOODS.values())
}
OPTIMISERS = {name for name, value in vars(optim).items() if inspect.isclass(value) and issubclass(value, optim.Optimizer)} - {
    "Optimizer"
}
PENALTIES = {kind.__name__ for kind in losses.PENALTIES.values()}
SECOND_ORDER = PENALTIES | {"curvature"}
BY_HAND = {"R1", "GradientPenalty", "curvature"}  # the other penalties are computed, and not written out to their end
NAMES = sorted(LAYERS | LOSSES | OPTIMISERS | SECOND_ORDER)

explain = cache(worked.explain)


def example(text):
    return text.partition("Worked through\n")[2].split("\n")


def written_out(text):
    """[entry, formula, formula with its numbers, value] of everything that is written out; a formula may be left out."""
    joined = []
    for line in example(text):
        if re.match(r"  [A-Za-z_]\w*(\[[\d,]+\])? = ", line):
            joined.append(line.strip())
        elif joined and joined[-1] and re.match(r"    +[=+-] ", line):
            joined[-1] += " " + line.strip()
        else:
            joined.append("")
    return [line.split(" = ") for line in joined if line]


def value_of(text):
    functions = {"exp": math.exp, "log": math.log, "sqrt": math.sqrt, "max": max}
    return eval(text.replace("·", "*").replace("^", "**"), functions)


def tables(text):
    """The tables of an example by name, read from the printed columns."""
    found = {}
    for block in "\n".join(example(text)).split("\n\n"):
        lines = block.split("\n")
        if re.fullmatch(r"    \w+(  +\w+)*", lines[0]) and len(lines) > 1:
            starts = [m.start() for m in re.finditer(r"\w+", lines[0])]
            for name, start, end in zip(lines[0].split(), starts, [*starts[1:], None], strict=True):
                rows = [[float(v) for v in line[start:end].split()] for line in lines[1:] if line[start:end].strip()]
                found[name] = np.array(rows)
    return found


def by_complex_step(f, x):
    """∂f/∂x of a real function written for complex numbers, exact to rounding: Im f(x + ih) / h."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[index] += 1e-20j
        gradient[index] = f(moved).imag / 1e-20
    return gradient


def test_every_layer_loss_and_optimiser_has_an_example():
    assert set(worked.EXAMPLES) == set(NAMES)
    assert len(LAYERS) >= 14
    assert len(LOSSES) >= 5
    assert {"SGD", "Adam"} <= OPTIMISERS


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_derive_and_name_their_source(name):
    text = explain(name)[0].partition("\nWorked through\n")[0]
    assert re.search(r"(^|\. )Source: ", text, re.M)
    if name in PENALTIES:
        assert "∂P/∂g" in text
        assert "dP/dθ = ∂(v · g)/∂θ" in text
    elif name in LAYERS | LOSSES:
        derivation = text.partition("\nBackward" if name in LAYERS else "\nGradient")[2]
        assert "∂" in derivation
        assert "=" in derivation
    assert inspect.cleandoc(worked.EXAMPLES[name][0].__doc__) in text


@pytest.mark.parametrize("name", NAMES)
def test_every_written_sum_has_the_value_it_claims(name):
    text, agrees = explain(name)
    assert agrees
    assert "FAILED" not in text
    for line in example(text):
        assert sum(not unicodedata.combining(c) for c in line) <= 100, line
    sums = written_out(text)
    assert len(sums) >= 2
    for _, *sides in sums:
        shown = value_of(sides[-1])
        if len(sides) == 3:  # the middle one has the numbers in it
            assert value_of(sides[1]) == pytest.approx(shown, rel=1e-3, abs=1e-5)
    gradients = [entry for entry, *_ in sums if entry.startswith("d") and not entry.startswith(("dw", "direct"))]
    assert gradients or name in OPTIMISERS | PENALTIES - BY_HAND


@pytest.mark.parametrize("name", sorted(LAYERS | LOSSES | SECOND_ORDER))
def test_every_gradient_stands_beside_its_difference(name):
    text, _ = explain(name)
    values = {entry: sides[-1] for entry, *sides in written_out(text)}
    nudged = re.findall(r"^  (\S+) +(\(.+\) / 0\.002) = (\S+)    gradient (\S+)$", text, re.M)
    assert nudged
    for entry, quotient, numeric, analytic in nudged:
        assert value_of(quotient) == pytest.approx(float(numeric), abs=1e-4)
        assert float(numeric) == pytest.approx(float(analytic), abs=1e-5)
        if name not in PENALTIES - BY_HAND:
            assert float(analytic) == pytest.approx(float(values[entry]), rel=1e-4, abs=1e-6)


def test_convolution_by_loops():
    t = tables(explain("Conv2d")[0])
    y, dx, dw = np.full((2, 2), t["b"].item()), np.zeros((3, 3)), np.zeros((2, 2))
    for o, p, i, j in np.ndindex(2, 2, 2, 2):
        y[o, p] += t["x"][o + i, p + j] * t["w"][i, j]
        dx[o + i, p + j] += t["dy"][o, p] * t["w"][i, j]
        dw[i, j] += t["dy"][o, p] * t["x"][o + i, p + j]
    for name, expected in {"y": y, "dx": dx, "dw": dw, "db": t["dy"].sum()}.items():
        np.testing.assert_array_equal(t[name], np.atleast_2d(expected))


def test_transposed_convolution_by_loops():
    t = tables(explain("ConvTranspose2d")[0])
    wide, dy_wide, dx = np.zeros((5, 5)), np.pad(t["dy"], 1), np.zeros((2, 2))
    for h, v, i, j in np.ndindex(2, 2, 3, 3):
        wide[2 * h + i, 2 * v + j] += t["x"][h, v] * t["w"][i, j]
        dx[h, v] += dy_wide[2 * h + i, 2 * v + j] * t["w"][i, j]
    np.testing.assert_array_equal(t["y"], wide[1:-1, 1:-1] + t["b"].item())
    np.testing.assert_array_equal(t["dx"], dx)


@pytest.mark.parametrize(("name", "axis"), [("BatchNorm", 0), ("LayerNorm", 1)])
def test_normalisation_and_its_three_paths(name, axis):
    t = tables(explain(name)[0])

    def normalised(x):
        deviation = x - x.mean(axis, keepdims=True)
        return deviation / np.sqrt((deviation**2).mean(axis, keepdims=True) + 1e-5)

    np.testing.assert_allclose(t["y"], t["gamma"] * normalised(t["x"]) + t["beta"], rtol=1e-4)
    dx = by_complex_step(lambda x: (t["dy"] * t["gamma"] * normalised(x)).sum(), t["x"])
    np.testing.assert_allclose(t["dx"], dx, atol=2e-5)
    np.testing.assert_allclose(t["direct"] + t["by_mu"] + t["by_v"], t["dx"], atol=2e-4)
    np.testing.assert_allclose(t["dgamma"], (t["dy"] * normalised(t["x"])).sum(axis=0)[None], atol=1e-4)


def test_losses_by_logarithms():
    t = tables(explain("softmax_cross_entropy")[0])

    def cross_entropy(s):
        p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
        return -np.log(p[[0, 1], t["c"][0].astype(int)]).mean()

    np.testing.assert_allclose(t["ds"], by_complex_step(cross_entropy, t["s"]), rtol=1e-4)
    t = tables(explain("NonSaturating")[0])
    for kind, image in (("real", lambda s: 1 / (1 + np.exp(-s))), ("fake", lambda s: 1 - 1 / (1 + np.exp(-s)))):
        gradient = by_complex_step(lambda s, image=image: -np.log(image(s)).mean(), t[f"s_{kind}"])
        np.testing.assert_allclose(t[f"ds_{kind}_D"], gradient, rtol=1e-4)


def test_penalties_by_the_definition_of_their_slopes():
    """∂P/∂θ from the printed weights and points, by complex steps of P alone, whose g is written down for this net."""
    for name in ("R1", "GradientPenalty"):
        t = tables(explain(name)[0])
        leaky, x = (lambda h: np.where(h.real > 0, 1, 0.5)), t["x"]

        def penalty(w_first, w_last, a, name=name, x=x, leaky=leaky):
            g = (leaky(x @ w_first + a) * w_last) @ w_first.T
            squares = (g**2).sum(axis=1)
            return squares.sum() * 4 / 4 if name == "R1" else 10 / 2 * ((np.sqrt(squares) - 1) ** 2).sum()

        first = by_complex_step(lambda w, t=t, p=penalty: p(w, t["w"], t["a"]), t["W"])
        last = by_complex_step(lambda w, t=t, p=penalty: p(t["W"], w, t["a"]), t["w"])
        np.testing.assert_allclose(t["dW"], first, rtol=1e-4)
        np.testing.assert_allclose(t["dw"], last, rtol=1e-4)


def test_spectral_norm_by_singular_values():
    t = tables(explain("SpectralNorm")[0])
    u, s, vt = np.linalg.svd(t["W"].T)
    assert t["sigma"].item() == pytest.approx(s[0], rel=1e-4)
    assert abs(t["u"] @ u[:, 0]).item() == pytest.approx(1, abs=1e-4)
    assert abs(t["v"] @ vt[0]).item() == pytest.approx(1, abs=1e-4)

    def loss(w):
        gram = w.T @ w  # λ = (T + √(T² − 4 D)) / 2 is the square of its largest singular value
        trace, determinant = np.trace(gram), gram[0, 0] * gram[1, 1] - gram[0, 1] * gram[1, 0]
        return (t["dy"] * (t["x"] @ w / np.sqrt((trace + np.sqrt(trace**2 - 4 * determinant)) / 2) + t["b"])).sum()

    np.testing.assert_allclose(t["dW"], by_complex_step(loss, t["W"]), atol=2e-5)


def test_adam_as_in_the_paper():
    t = tables(explain("Adam")[0])
    for start, scale, column in ((1.0, 1.0, 0), (-2.0, 4.0, 1)):
        w, m, v = start, 0.0, 0.0
        for step in (1, 2):
            gradient = scale * w
            m, v = 0.5 * m + 0.5 * gradient, 0.999 * v + 0.001 * gradient**2
            w -= 0.1 * (m / (1 - 0.5**step)) / (math.sqrt(v / (1 - 0.999**step)) + 1e-8)
            np.testing.assert_allclose([t[k][step, column] for k in "wmv"], [w, m, v], rtol=1e-4)


# -- faults ---------------------------------------------------------------------------------------------------------------


def _backward_times(factor, where):
    def plant(layer_class, monkeypatch):
        honest = layer_class.backward

        def faulty(self, dy, cache, grads=None, input_grad=True):
            dx = np.array(honest(self, dy, cache, grads, input_grad))
            dx[where] *= factor
            return dx

        monkeypatch.setattr(layer_class, "backward", faulty)

    return plant


def shortcomings(text):
    """What noticed: the sums, the nudged entries, the check of all entries."""
    before, _, nudged = "\n".join(example(text)).partition("\nNudged")
    nudged, _, checked = nudged.partition("\n\nFAILED: ")[0].partition("\nChecked")
    return ["FAILED" in part for part in (before, nudged, checked)]


@pytest.mark.parametrize("layer_class", [getattr(mg, name) for name in sorted(LAYERS)], ids=lambda c: c.__name__)
def test_a_fault_in_a_backward_is_told(layer_class, monkeypatch, capsys):
    _backward_times(1.5, np.s_[...])(layer_class, monkeypatch)
    assert cli.main(["explain", layer_class.__name__]) == 1
    assert shortcomings(capsys.readouterr().out) == [True, True, True]


def test_a_fault_in_an_entry_not_written_out_is_told_by_the_check(monkeypatch):
    _backward_times(1.5, np.s_[:, 2, 2])(mg.Conv2d, monkeypatch)
    text, agrees = worked.explain("Conv2d")
    assert not agrees
    assert shortcomings(text) == [False, False, True]


def test_a_fault_in_a_forward_is_told_by_its_sum(monkeypatch):
    """Forward and backward agree with each other, and not with the formula."""
    honest = mg.Dense.forward
    monkeypatch.setattr(mg.Dense, "forward", lambda self, x, train=False: (honest(self, x)[0] + 1, x))
    text, agrees = worked.explain("Dense")
    assert not agrees
    assert shortcomings(text) == [True, False, False]
    assert re.search(r"= -4    FAILED: minigan has -3\n", text)


@pytest.mark.parametrize(("kind", "player"), [("NonSaturating", "discriminator"), ("Saturating", "generator")])
def test_a_fault_in_an_objective_is_told(kind, player, monkeypatch):
    subject = getattr(losses, kind)
    honest = getattr(subject, player)

    def faulty(self, *logits):
        loss, gradients = honest(self, *logits)
        return loss, tuple(-g for g in gradients) if isinstance(gradients, tuple) else -gradients

    monkeypatch.setattr(subject, player, faulty)
    text, agrees = worked.explain(kind)
    assert not agrees
    assert shortcomings(text) == [True, True, True]


@pytest.mark.parametrize("name", sorted(SECOND_ORDER))
def test_a_fault_in_a_curvature_is_told(name, monkeypatch):
    honest = mg.Dense.curvature

    def faulty(self, x_dot, dy, cache, grads=None):
        honest(self, x_dot, dy, cache, grads)
        if grads:
            grads["weight"][...] *= 1.5

    monkeypatch.setattr(mg.Dense, "curvature", faulty)
    text, agrees = worked.explain(name)
    assert not agrees
    written, nudged, checked = shortcomings(text)
    assert written == (name in BY_HAND)
    assert nudged
    assert checked == (name in PENALTIES)


@pytest.mark.parametrize("name", ["bce_with_logits", "mse", "softmax_cross_entropy"])
def test_a_fault_in_a_loss_is_told(name, monkeypatch):
    honest = getattr(losses, name)

    def faulty(*arrays):
        loss, gradient = honest(*arrays)
        return loss, -gradient

    monkeypatch.setattr(losses, name, faulty)
    text, agrees = worked.explain(name)
    assert not agrees
    assert shortcomings(text) == [True, True, True]


@pytest.mark.parametrize(("name", "formula"), [("Adam", "adam"), ("SGD", "sgd_momentum")])
def test_a_fault_in_an_update_is_told(name, formula, monkeypatch):
    honest = getattr(optim, formula)

    def faulty(xp, w, *rest, **constants):
        moved, *state = honest(xp, w, *rest, **constants)
        return moved + 1e-6, *state

    monkeypatch.setattr(optim, formula, faulty)
    text, agrees = worked.explain(name)
    assert not agrees
    assert "against these formulas: FAILED" in text


# -- the command ----------------------------------------------------------------------------------------------------------


def test_the_name_in_any_case(capsys):
    assert cli.main(["explain", "CONV2D"]) == 0
    assert capsys.readouterr().out == explain("Conv2d")[0] + "\n"
    assert worked.find("WGAN-GP") == "GradientPenalty"
    assert worked.find("least-squares") == "LeastSquares"
    with pytest.raises(OptionError, match="'Conv': did you mean 'Conv2d'"):
        worked.explain("Conv")


def test_what_cannot_be_explained(capsys):
    assert cli.main(["explain", "Conv3d"]) == cli.USER_ERROR
    error = capsys.readouterr().err
    assert "'Conv3d' is neither a run folder nor a name: did you mean 'Conv2d'?" in error
    assert "Dense" in error
    assert "Adam" in error
    assert error.count("\n") == 1


def test_a_terminal_without_greek():
    command = [sys.executable, "-m", "minigan", "explain", "mse"]
    result = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True)
    assert result.stderr == b""
    assert b"dy[0,0] = 2*(y[0,0] - t[0,0]) / 4" in result.stdout


def test_the_course_shows_what_the_command_prints():
    readme = (Path(__file__).parents[2] / "examples" / "README.md").read_text(encoding="utf-8")
    excerpt = readme.partition("`minigan explain Conv2d`")[2].split("```")[1].strip("\n")
    parts = excerpt.split("\n…\n")
    assert len(parts) == 4
    for part in parts:
        assert part in explain("Conv2d")[0]


# -- without an example of their own ---------------------------------------------------------------------------------------


class PReLU(mg.Layer):
    """Parametric ReLU: y = max(x, 0) + a min(x, 0), with one slope a per channel.

    Backward: ∂y/∂x = [x > 0] + a [x < 0] and ∂y/∂a = min(x, 0).
    Source: He et al. 2015 (arXiv:1502.01852), equation 1.
    """

    cross_sample = False
    fault = 1.0

    def build(self, input_shape):
        self.add_parameter("slope", input_shape[-1:], mg.constant(0.25))
        return input_shape

    def forward(self, x, train=False):
        return np.maximum(x, 0) + self.slope * np.minimum(x, 0), x

    def backward(self, dy, cache, grads=None, input_grad=True):
        if grads is not None:
            grads["slope"][...] = (dy * np.minimum(cache, 0)).sum(tuple(range(dy.ndim - 1)))
        return self.fault * dy * np.where(cache > 0, 1, self.slope) if input_grad else None

    def branch_signature(self, cache):
        return cache > 0


class Exponential(losses.NonSaturating):
    """L_D = E e^−s_real + E e^s_fake, L_G = E e^−s_fake. Source: of this test."""

    def discriminator(self, s_real, s_fake):
        real, fake = np.exp(-s_real), np.exp(s_fake)
        return real.mean() + fake.mean(), (-real / real.size, fake / fake.size)

    def generator(self, s_fake, s_real=None):
        fake = np.exp(-s_fake)
        return fake.mean(), -fake / fake.size


@pytest.fixture
def examples(monkeypatch):
    """What tables with a new line would register."""
    for name in ("PReLU", "Exponential"):
        monkeypatch.setitem(EXAMPLES, name, None)
        del EXAMPLES[name]
    generic.add_layers([(PReLU, (4, 3))])
    generic.add_objectives([Exponential])


@pytest.mark.parametrize("kind", [PReLU, Exponential])
def test_what_has_no_example_runs_on_random_numbers(kind, examples):
    text, agrees = worked.explain(kind.__name__.lower())
    assert agrees
    assert inspect.cleandoc(kind.__doc__) in text
    assert len(re.findall(r" / 0\.002 = ", text)) >= 6
    assert text.count("Checked by differences at every entry") == (1 if kind is PReLU else 2)
    assert all(len(line) <= 100 for line in text.split("\n"))


def test_a_fault_is_told_without_an_example(examples, monkeypatch, capsys):
    monkeypatch.setattr(PReLU, "fault", 1.5)
    assert cli.main(["explain", "PReLU"]) == 1
    assert shortcomings(capsys.readouterr().out) == [False, True, True]


@pytest.mark.parametrize(("make", "shape"), layer_table(), ids=lambda value: repr(value()) if callable(value) else "")
def test_every_layer_could_do_without_an_example(make, shape, monkeypatch):
    name = type(make()).__name__
    monkeypatch.setitem(EXAMPLES, name, EXAMPLES[name])
    del EXAMPLES[name]
    generic.add_layers([(make, shape)])
    assert worked.explain(name)[1]
