"""PhaseShuffle against PyTorch code like its authors', its transpose, what it draws, and faults planted in it."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import draw, host
from planted_faults import compiled, faults

import minigan as mg
from minigan.checks.gradients import check_layer
from minigan.errors import OptionError, ShapeError


def shifts(net, masks):
    """The k of each sample."""
    chosen = np.stack([host(net, mask).reshape(-1) for mask in masks])
    assert (chosen.sum(axis=0) == 1).all()
    return chosen.argmax(axis=0) - len(masks) // 2


def moved(x, k):
    """y_t = x_r(t−k) of one sample (T, C), value by value."""
    last = len(x) - 1
    y = np.empty_like(x)
    for t in range(len(x)):
        place = t - k
        y[t] = x[-place if place < 0 else 2 * last - place if place > last else place]
    return y


@pytest.mark.parametrize(("n", "shape"), [(1, (2, 3)), (2, (1, 9, 2)), (4, (5, 1)), (3, (2, 3, 8, 2))], ids=str)
def test_it_is_the_formula_of_every_sample(n, shape, backend):
    net = mg.Sequential([mg.PhaseShuffle(n)], shape, backend, "float64", seed=1)
    x = draw(net, (40, *shape))
    y, (masks,) = net.forward(x, train=True)
    k = shifts(net, masks)
    assert set(k) == set(range(-n, n + 1))
    expected = [np.moveaxis(moved(np.moveaxis(a, -2, 0), shift), 0, -2) for a, shift in zip(host(net, x), k, strict=True)]
    np.testing.assert_array_equal(host(net, y), expected)
    np.testing.assert_array_equal(host(net, net.forward(x)[0]), host(net, x))


def test_it_is_the_authors_map_and_gradient():
    """apply_phaseshuffle of their code, with a k for each sample, differentiated by PyTorch."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    net = mg.Sequential([mg.PhaseShuffle(2)], (1, 7, 3), "textbook", "float64", seed=2)
    x, dy = draw(net, (20, 1, 7, 3)), draw(net, (20, 1, 7, 3), 2)
    y, (masks,) = net.forward(x, train=True)
    peer = torch.tensor(x, requires_grad=True)
    parts = []
    for sample, k in zip(peer, shifts(net, masks), strict=True):
        left, right = max(int(k), 0), max(-int(k), 0)
        padded = torch.nn.functional.pad(sample.permute(0, 2, 1), (left, right), mode="reflect")  # (1, C, T)
        parts.append(padded[..., right : right + 7].permute(0, 2, 1))
    theirs = torch.stack(parts)
    np.testing.assert_array_equal(y, theirs.detach().numpy())
    theirs.backward(torch.tensor(dy))
    np.testing.assert_allclose(net.layers[0].backward(dy, masks), peer.grad.numpy(), rtol=1e-14, atol=1e-15)


@given(
    n=st.integers(1, 4), more=st.integers(1, 5), channels=st.integers(1, 3), batch=st.integers(1, 4), seed=st.integers(0, 99)
)
def test_the_transpose(n, more, channels, batch, seed, backend):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩, for sounds down to those that a shift mirrors whole."""
    net = mg.Sequential([mg.PhaseShuffle(n)], (n + more, channels), backend, "float64", seed=seed)
    x, y = draw(net, (batch, n + more, channels)), draw(net, (batch, n + more, channels), 2)
    a_x, (cache,) = net.forward(x, train=True)
    at_y = net.layers[0].backward(y, cache)
    assert float((a_x * y).sum()) == pytest.approx(float((x * at_y).sum()), rel=1e-9, abs=1e-9)
    assert (host(net, net.layers[0].tangent(x, cache)) == host(net, a_x)).all()
    assert net.layers[0].curvature(x, y, cache) is None


def test_every_shift_is_drawn_as_often_and_anew():
    net = mg.Sequential([mg.PhaseShuffle(2)], (5, 1), "textbook", "float64")
    x = np.zeros((4000, 5, 1))
    k = [shifts(net, net.forward(x, train=True)[1][0]) for _ in range(2)]
    np.testing.assert_allclose(np.bincount(k[0] + 2) / 4000, 0.2, atol=0.02)
    assert (k[0] != k[1]).mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("name", ["_moved", "_moved_back", "backward"])
def test_every_fault_is_caught(name, monkeypatch):
    """By the check of gradients, or by an error that the fault brings about; where both are wrong alike, by the formula."""

    def is_caught():
        try:
            if not check_layer(mg.PhaseShuffle(2), (8, 1), backend="textbook", batch=8).ok:  # of which each way has some
                return True
            net = mg.Sequential([mg.PhaseShuffle(2)], (8, 1), "textbook", "float64", seed=1)
            x = draw(net, (30, 8, 1))
            y, (masks,) = net.forward(x, train=True)
            return not np.array_equal(y, [moved(a, k) for a, k in zip(x, shifts(net, masks), strict=True)])
        except (ValueError, IndexError, TypeError, AssertionError):
            return True

    assert not is_caught(), "the real one passes"
    module, planted = inspect.getmodule(mg.PhaseShuffle), list(faults(getattr(mg.PhaseShuffle, name)))
    assert len(planted) > 1 or name == "backward"
    for description, tree in planted:
        with monkeypatch.context() as patch:
            patch.setattr(mg.PhaseShuffle, name, compiled(tree, module))
            assert is_caught(), description


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"PhaseShuffle \(layer 0\) needs \(…, T, C\) with T of at least 3, got \(2, 1\)"):
        mg.Sequential([mg.PhaseShuffle(2)], (2, 1), "textbook")
    with pytest.raises(ShapeError, match=r"with T of at least 2, got \(4,\)"):
        mg.Sequential([mg.PhaseShuffle(1)], (4,), "textbook")
    with pytest.raises(OptionError, match="PhaseShuffle: n is 0"):
        mg.PhaseShuffle(0)
