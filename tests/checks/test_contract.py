"""What a layer must keep besides right gradients: layers that keep it, and faults that break it, in classes of one's own."""

import numpy as np
import pytest

import minigan as mg
from minigan.checks.contract import check_contract
from minigan.checks.suite import layer_table


@pytest.mark.parametrize("train", [True, False])
def test_minigans_own_layers_keep_the_contract(train):
    broken = {repr(make()): check_contract(make(), shape, train=train, backend="numpy") for make, shape in layer_table()}
    assert not any(broken.values()), broken


def test_layers_of_several_parameters_keep_it_on_every_backend(backend):
    for layer, shape in ((mg.Dense(3), (4,)), (mg.Conv2d(2, 3), (4, 4, 2)), (mg.BatchNorm(), (3,)), (mg.Dropout(0.5), (4,))):
        assert check_contract(layer, shape, backend=backend) == []


class Adds(mg.Dense):
    def weight_grad(self, x, dy, out):
        out += x.T @ dy


class AddsToWhatIsNoNan(mg.Dense):
    """Right on zeros, and where NaN says that nothing was written."""

    def weight_grad(self, x, dy, out):
        out[...] = self.backend.xp.nan_to_num(out) + x.T @ dy


class LeavesARow(mg.Dense):
    def weight_grad(self, x, dy, out):
        out[1:] = (x.T @ dy)[1:]


class LeavesTheBias(mg.Dense):
    def backward(self, dy, cache, grads=None, input_grad=True):
        if grads is not None:
            self.weight_grad(cache, dy, grads["weight"])
        return self.transpose(dy) if input_grad else None


class Mixes(mg.Tanh):
    """Says nothing of the batch that it mixes: who writes a forward need not."""

    def forward(self, x, train=False):
        return super().forward(x - x.mean(axis=0), train)

    def backward(self, dy, cache, grads=None, input_grad=True):
        dx = super().backward(dy, cache)
        return dx - dx.mean(axis=0) if input_grad else None


class MixesInSecret(Mixes):
    cross_sample = False

    def forward(self, x, train=False):
        return super().forward(x, train)


class MixesInItsMap(mg.Dense):
    """Inherits from a linear map of each sample what is not true of it."""

    def apply(self, x):
        return super().apply(x[::-1])

    def transpose(self, dy):
        return super().transpose(dy)[::-1]

    def weight_grad(self, x, dy, out):
        super().weight_grad(x[::-1], dy, out)


class Restless(mg.BatchNorm):
    def forward(self, x, train=False):
        self.running_mean += 1
        return super().forward(x, train)


BROKEN = [
    (Adds(2), (4,), "backward does not write all of grads['weight'], or adds to it: it must overwrite all of it"),
    (AddsToWhatIsNoNan(2), (4,), "backward must overwrite grads: it keeps what lay there before"),
    (LeavesARow(2), (4,), "backward does not write all of grads['weight'], or adds to it: it must overwrite all of it"),
    (LeavesTheBias(2), (4,), "backward does not write all of grads['bias'], or adds to it: it must overwrite all of it"),
    (MixesInSecret(), (4,), "one sample's output depends on the others: set cross_sample = True"),
    (MixesInItsMap(2), (4,), "one sample's output depends on the others: set cross_sample = True"),
]


@pytest.mark.parametrize(("layer", "shape", "sentence"), BROKEN, ids=[type(layer).__name__ for layer, _, _ in BROKEN])
@pytest.mark.parametrize("train", [True, False])
def test_what_breaks_the_contract_is_named(layer, shape, sentence, train):
    assert check_contract(layer, shape, train=train, backend="textbook") == [sentence]


def test_a_layer_that_mixes_the_batch_and_says_so_keeps_it():
    assert check_contract(Mixes(), (4,), backend="textbook") == []


def test_state_that_moves_at_inference_is_named():
    assert "forward changes its state at inference, train=False" in check_contract(Restless(), (3,), train=False)


class Shifts(mg.Tanh):
    """Writes to x, and gives the same y each time it is given the same x."""

    def forward(self, x, train=False):
        x += 1
        return super().forward(x, train)


def test_a_forward_that_writes_to_x_is_told_nothing_else():
    assert check_contract(Shifts(), (3,), backend="textbook") == ["forward writes to x"]


def test_the_layer_stays_free():
    layer = mg.Dense(2)
    check_contract(layer, (4,))
    assert layer.index is None
    assert not layer.params
    assert np.isfinite(mg.Sequential([layer], (4,)).state_dict()["0.weight"]).all()
