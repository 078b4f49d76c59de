"""Every layer on shares of a batch is the layer on the whole of it: in threads that stand for ranks."""

import pytest
from ranks_in_threads import check_over_ranks

import minigan as mg
from minigan.backends import Backend
from minigan.checks.suite import layer_table

# In the table its groups have an odd number of samples, which two ranks cannot share.
ROWS = [(make, shape) for make, shape in layer_table() if "MinibatchStd" not in repr(make())]
ROWS += [(mg.MinibatchStd, (3, 2, 2)), (lambda: mg.MinibatchStd(4), (3, 2))]


@pytest.mark.parametrize(("make", "shape"), ROWS, ids=[repr(make()) for make, _ in ROWS])
def test_shares_are_the_whole(make, shape):
    check_over_ranks(make, shape)


@pytest.mark.parametrize("make", [mg.BatchNorm, mg.MinibatchStd])
def test_means_that_are_left_local_are_caught(make, monkeypatch):
    monkeypatch.setattr(Backend, "all_mean", lambda be, *arrays: arrays)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_over_ranks(make, (3, 2))


def test_draws_that_are_not_split_are_caught(monkeypatch):
    monkeypatch.setattr(mg.backends.Generator, "_own_rows", mg.backends.Generator._draw)
    with pytest.raises(AssertionError):
        check_over_ranks(lambda: mg.Dropout(0.5), (5,))
