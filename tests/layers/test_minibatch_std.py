"""MinibatchStd in groups: the value, its gradient, tangent and curvature, and that faults in them are caught."""

import loops
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import draw, host
from planted_faults import compiled, faults, is_caught
from ranks_in_threads import check_over_ranks, over_ranks

import minigan as mg
from minigan.checks.second_order import check_second_order
from minigan.errors import OptionError, ShapeError
from minigan.layers import minibatch_std


def reports(backend="textbook", group_size=3, groups=2, shape=(3, 2, 2), **more):
    options = {"batch": group_size * groups, "backend": backend, **more}
    yield mg.check_layer(mg.MinibatchStd(group_size), shape, **options)
    yield check_second_order(mg.MinibatchStd(group_size), shape, **options)


def test_groups(backend):
    for report in reports(backend):
        assert report.ok, str(report)


@given(st.integers(1, 4), st.integers(1, 3), st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_groups_of_any_size(group_size, groups, shape):
    net = mg.Sequential([mg.MinibatchStd(group_size)], shape, "textbook", "float64")
    x = draw(net, (group_size * groups, *shape))
    np.testing.assert_allclose(net.forward(x)[0], loops.minibatch_std(x, group_size, 1e-8), rtol=1e-12)
    assert next(reports("textbook", group_size, groups, tuple(shape))).ok


def test_samples_that_are_all_alike(backend):
    """√v has no derivative there; with ε it is 0, and nothing is infinite."""
    net = mg.Sequential([mg.MinibatchStd()], (2, 2, 1), backend, "float32")
    x = net.backend.asarray(np.ones((4, 2, 2, 1)), "float32")
    y, caches = net.forward(x)
    np.testing.assert_allclose(host(net, y)[..., -1], 1e-4, rtol=1e-5)
    dy = net.backend.asarray(np.random.default_rng(0).standard_normal(y.shape), "float32")
    np.testing.assert_array_equal(host(net, net.backward(dy, caches)), host(net, dy)[..., :-1])


def _forward_over(ranks, net):
    with net.backend.over(ranks):
        net.forward(draw(net, (4, 3)))


def test_a_batch_smaller_than_a_group_is_one_group():
    small, whole = (mg.Sequential([mg.MinibatchStd(size)], (3,), "textbook") for size in (8, None))
    x = draw(small, (5, 3))
    np.testing.assert_array_equal(small.forward(x)[0], whole.forward(x)[0])


def test_what_does_not_fit_is_refused():
    net = mg.Sequential([mg.MinibatchStd(4)], (3,), "textbook")
    with pytest.raises(ShapeError, match=r"MinibatchStd \(layer 0\) needs a batch of whole groups of 4, got 6 samples"):
        net.forward(draw(net, (6, 3)))
    with pytest.raises(ShapeError, match=r"needs groups of a multiple of 3 samples, as many as ranks, got 4"):
        over_ranks(3, lambda ranks: _forward_over(ranks, mg.Sequential([mg.MinibatchStd(4)], (3,), "textbook")))
    with pytest.raises(OptionError, match="MinibatchStd: group_size is 0"):
        mg.MinibatchStd(0)
    with pytest.raises(OptionError, match="MinibatchStd: eps is 0"):
        mg.MinibatchStd(eps=0)


PLACES = [
    *((mg.MinibatchStd, name) for name in ("forward", "backward", "_rate", "_appended", "tangent", "curvature")),
    *((minibatch_std, name) for name in ("std", "along_deviation", "deviation_product", "std_curvature")),
]


@pytest.mark.parametrize(("owner", "name"), PLACES, ids=[name for _, name in PLACES])
def test_every_fault_is_caught(owner, name, monkeypatch):
    shape = (3, 2, 2)
    x = np.random.default_rng(0).standard_normal((6, *shape))
    directions = {"mode": "projection", "max_entries": 1}

    def caught():
        def same():
            y = mg.Sequential([mg.MinibatchStd(3)], shape, "textbook", "float64").forward(x)[0]
            np.testing.assert_allclose(y, loops.minibatch_std(x, 3, 1e-8), rtol=1e-12)
            return next(reports(**directions))

        def same_over_ranks():
            check_over_ranks(lambda: mg.MinibatchStd(6), shape, 12, 3)
            check_over_ranks(mg.MinibatchStd, shape, 4)
            return next(reports(**directions))

        found = is_caught(same) or any(is_caught(lambda report=report: report) for report in reports(**directions))
        return found or is_caught(same_over_ranks)

    assert not caught()
    for description, tree in faults(getattr(owner, name)):
        if "self.require" in description or " % " in description:
            continue  # tested above
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, compiled(tree, minibatch_std))
            try:
                found = caught()
            except Exception:
                found = True
            assert found, description
