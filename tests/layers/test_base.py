"""What layers refuse, and which of them say that samples stay apart."""

import pytest

import minigan as mg
from minigan.errors import MiniganError, ShapeError


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: mg.Dense(3), (2, 2), r"Dense \(layer 0\) needs \(features,\); put a Flatten before it, got \(2, 2\)"),
        (lambda: mg.Conv2d(3, 3), (784,), r"Conv2d \(layer 0\) needs \(H, W, C\), got \(784,\)"),
        (lambda: mg.Conv2d(3, 5), (4, 9, 1), r"an image of at least \(5, 5\)"),
        (lambda: mg.ConvTranspose2d(3, 1, padding=2), (3, 9, 1), "use less padding"),
        (lambda: mg.Upsample(), (3,), r"Upsample \(layer 0\) needs \(H, W, C\)"),
        (lambda: mg.Reshape((2, 2)), (5,), r"4 values per sample to make \(2, 2\), got \(5,\) with 5"),
        (lambda: mg.LayerNorm(axes=3), (5, 5), "at least 3 axes"),
    ],
)
def test_build_refuses_wrong_shapes(make, shape, message):
    with pytest.raises(ShapeError, match=message):
        mg.Sequential([make()], shape, backend="textbook")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mg.Dense(0), "Dense: units is 0"),
        (lambda: mg.Dense(2.5), "Dense: units is 2.5"),
        (lambda: mg.Conv2d(2, (1, 2, 3)), "kernel_size is .*pair"),
        (lambda: mg.Conv2d(2, 3, stride=0), "stride is 0"),
        (lambda: mg.Conv2d(2, 3, padding=-1), "padding is -1"),
        (lambda: mg.ConvTranspose2d(2, 3, stride=2, output_padding=2), "output_padding smaller than stride or dilation"),
        (lambda: mg.Dropout(1.0), r"rate is 1\.0: expected a number in \[0, 1\)"),
        (lambda: mg.LeakyReLU(0), "slope is 0: expected a number above 0"),
        (lambda: mg.LeakyReLU(1.5), "slope is 1.5: expected a number above 0 and up to 1"),
        (lambda: mg.BatchNorm(eps=0), "eps is 0: expected a number above 0"),
        (lambda: mg.Reshape((-1, -1)), "at most one -1"),
    ],
)
def test_options_are_checked(make, message):
    with pytest.raises(MiniganError, match=message):
        make()


class OwnForward(mg.Tanh):
    """Nobody knows what its author does with a batch."""

    def forward(self, x, train=False):
        return super().forward(x, train)


class OwnFormula(mg.Tanh):
    """Still a formula of each element."""

    @staticmethod
    def df(xp, y):
        return 1 - y**2


class OwnForwardOfOneSample(mg.Dense):
    cross_sample = False

    def forward(self, x, train=False):
        return super().forward(x, train)


class HeirOfOne(OwnForwardOfOneSample):
    """Of the same forward."""


class HeirWithAnother(OwnForwardOfOneSample):
    def forward(self, x, train=False):
        return super().forward(x - x.mean(axis=0), train)


@pytest.mark.parametrize(
    ("kind", "cross_sample"),
    [
        (mg.Layer, True),
        (OwnForward, True),
        (OwnFormula, False),
        (OwnForwardOfOneSample, False),
        (HeirOfOne, False),
        (HeirWithAnother, True),
    ],
)
def test_a_class_that_writes_a_forward_says_itself_that_samples_stay_apart(kind, cross_sample):
    """What it inherits was said of another forward."""
    assert kind.cross_sample is cross_sample


def test_what_a_layer_lacks_is_named():
    class Half(mg.Layer):
        """Neither pass."""

    class HalfLinear(mg.Linear):
        """No map."""

    with pytest.raises(NotImplementedError, match="Half has no forward"):
        Half().forward(None)
    with pytest.raises(NotImplementedError, match="Half has no backward"):
        Half().backward(None, None)
    for method, arguments in (("apply", 1), ("transpose", 1), ("weight_grad", 3)):
        with pytest.raises(NotImplementedError, match=f"HalfLinear has no {method}"):
            getattr(HalfLinear(), method)(*[None] * arguments)


def test_a_layer_prints_as_the_call_that_makes_it():
    assert repr(mg.Conv2d(4, 3, stride=2)) == "Conv2d(channels=4, kernel_size=3, stride=2)"
    assert repr(mg.LeakyReLU()) == "LeakyReLU()"
    assert repr(mg.Dropout(0.5)) == "Dropout(rate=0.5)"
