"""The check of gradients itself: what it reports, what it skips, what it must not pass."""

import numpy as np
import pytest

import minigan as mg
from minigan.errors import MiniganError


class OffByTenPercent(mg.Tanh):
    """A backward pass that is wrong by a factor."""

    def backward(self, dy, cache, grads=None, input_grad=True):
        return 1.1 * super().backward(dy, cache) if input_grad else None


class WrongInOneEntry(mg.Dense):
    def weight_grad(self, x, dy, out):
        super().weight_grad(x, dy, out)
        out[2, 1] *= 1.001


def test_report_names_the_worst_entry():
    net = mg.Sequential([WrongInOneEntry(3)], (4,), backend="textbook", dtype="float64")
    report = mg.check_gradients(net, np.random.default_rng(0).standard_normal((5, 4)))
    assert not report.ok
    rows = {row.name: row for row in report.rows}
    assert rows["0.weight"].where == (2, 1)
    assert rows["0.weight"].analytic == pytest.approx(1.001 * rows["0.weight"].numeric)
    assert report.max_error == rows["0.weight"].max_error == pytest.approx(1e-3, rel=0.01)
    assert rows["0.bias"].max_error < 1e-9
    assert rows["0.weight"].checked == 12
    assert "FAILED" in str(report)
    assert "(2, 1)" in str(report)


def test_check_leaves_the_network_alone():
    layers = [mg.Dense(6), mg.BatchNorm(), mg.ReLU(), mg.Dropout(0.5), mg.Dense(2)]
    net = mg.Sequential(layers, (4,), backend="textbook", dtype="float32")
    before, rng = net.state_dict(), net.random_state
    assert mg.check_gradients(net, np.random.default_rng(0).standard_normal((5, 4))).ok
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert net.random_state == rng
    assert not net.flat_grads.any()


@pytest.mark.parametrize("mode", ["full", "projection"])
def test_both_modes_see_a_factor(mode, backend):
    good = mg.Sequential([mg.Dense(6), mg.Tanh()], (4,), backend=backend)
    bad = mg.Sequential([mg.Dense(6), OffByTenPercent()], (4,), backend=backend)
    x = np.random.default_rng(0).standard_normal((5, 4))
    assert mg.check_gradients(good, x, mode=mode).ok
    assert not mg.check_gradients(bad, x, mode=mode).ok


def test_a_gradient_that_is_added_or_left_unwritten_fails():
    class Adds(mg.Dense):
        def weight_grad(self, x, dy, out):
            out += x.T @ dy

    class LeavesARow(mg.Dense):
        def weight_grad(self, x, dy, out):
            out[1:] = (x.T @ dy)[1:]

    for layer in (Adds(3), LeavesARow(3)):
        assert not mg.check_layer(layer, (4,), backend="textbook").ok


def test_a_batch_norm_without_its_mean_term_needs_a_random_dy():
    """With dy = 1 the true dx of BatchNorm is 0 and several wrong ones are too; a random dy tells them apart."""

    class NoMeanTerm(mg.BatchNorm):
        def backward(self, dy, cache, grads=None, input_grad=True):
            x, mean, inv_std, _ = cache
            x_hat = (x - mean) * inv_std
            super().backward(dy, cache, grads, input_grad=False)
            return self.gamma * inv_std * (dy - x_hat * (dy * x_hat).mean(axis=0))

    assert not mg.check_layer(NoMeanTerm(), (4,), batch=6, backend="textbook").ok


def test_kinks_are_skipped_not_tolerated():
    """An input on the kink of ReLU has no derivative there: it is counted as skipped; one nearby gets a smaller step."""
    net = mg.Sequential([mg.ReLU()], (4,), backend="textbook", dtype="float64")
    report = mg.check_gradients(net, np.array([[0.0, 1e-5, -1.0, 2.0]]))
    assert (report.rows[0].checked, report.rows[0].skipped) == (3, 1)
    assert report.ok
    at_kinks = mg.check_gradients(net, np.zeros((1, 4)))
    assert not at_kinks.ok, "where nothing could be checked nothing is proved"
    assert "too many entries lie on a kink" in str(at_kinks)


def test_all_zero_gradients_prove_nothing():
    class Deaf(mg.Layer):
        def forward(self, x, train=False):
            return 0 * x, None

        def backward(self, dy, cache, grads=None, input_grad=True):
            return 0 * dy

    net = mg.Sequential([Deaf()], (3,), backend="textbook")
    report = mg.check_gradients(net, np.ones((2, 3)))
    assert not report.ok
    assert "all gradients are 0" in str(report)


def test_nan_fails():
    class Broken(mg.Tanh):
        def backward(self, dy, cache, grads=None, input_grad=True):
            return dy * np.nan

    assert not mg.check_layer(Broken(), (3,), backend="textbook").ok


def test_unknown_mode():
    net = mg.Sequential([mg.Tanh()], (3,), backend="textbook")
    with pytest.raises(MiniganError, match="choose full or projection"):
        mg.check_gradients(net, np.ones((2, 3)), mode="fast")


def test_a_report_in_a_notebook():
    good = mg.check_layer(mg.Dense(2), (3,), backend="textbook")
    html = good._repr_html_()
    assert html.startswith("<b>Dense(units=2): ok</b>, tolerance 1e-06<table>")
    assert "<th>largest relative error</th>" in html
    assert "<td>0.weight</td>" in html
    assert html.endswith("</table>")
    bad = mg.check_layer(OffByTenPercent(), (3,), backend="textbook")
    bad.broken, bad.hint = ["x < y"], "a hint"
    html = bad._repr_html_()
    assert "FAILED" in html
    assert html.endswith("<br>a hint<br>contract broken: x &lt; y")
