"""Linear maps of any geometry, as Hypothesis draws them."""

from hypothesis import strategies as st

import minigan as mg


@st.composite
def geometries(draw, transposed=False):
    """(layer options, input shape) of a convolution that fits."""
    pair = lambda low, high: (draw(st.integers(low, high)), draw(st.integers(low, high)))  # noqa: E731
    kernel, stride, dilation, padding = pair(1, 4), pair(1, 3), pair(1, 2), pair(0, 2)
    reach = [dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)]
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation, "bias": draw(st.booleans())}
    if transposed:
        options["output_padding"] = tuple(draw(st.integers(0, max(stride[a], dilation[a]) - 1)) for a in (0, 1))
        least = [1 + max(0, -(-(2 * padding[a] + 1 - reach[a]) // stride[a])) for a in (0, 1)]
    else:
        least = [max(1, reach[a] - 2 * padding[a]) for a in (0, 1)]
    size = tuple(draw(st.integers(least[a], least[a] + 4)) for a in (0, 1))
    return options, (*size, draw(st.integers(1, 3)))


@st.composite
def convolutions(draw, channels=2):
    """(a maker, an input shape) of either convolution."""
    transposed = draw(st.booleans())
    options, shape = draw(geometries(transposed))
    return lambda: (mg.ConvTranspose2d if transposed else mg.Conv2d)(channels, **options), shape


def shapes(axes):
    return st.lists(st.integers(1, 4), min_size=axes, max_size=axes).map(tuple)


DENSE = st.tuples(st.integers(1, 6).map(lambda units: lambda: mg.Dense(units)), shapes(1))
FLATTEN = st.tuples(st.just(mg.Flatten), st.integers(1, 3).flatmap(shapes))
RESHAPE = shapes(3).flatmap(
    lambda shape: st.tuples(st.permutations(shape).map(lambda target: lambda: mg.Reshape(target)), st.just(shape))
)
UPSAMPLE = st.tuples(st.tuples(st.integers(1, 3), st.integers(1, 3)).map(lambda f: lambda: mg.Upsample(f)), shapes(3))

# By class: (a maker, an input shape) of every linear map.
LINEAR_MAPS = {
    mg.Dense: DENSE,
    mg.Conv2d: geometries().map(lambda case: (lambda: mg.Conv2d(2, **case[0]), case[1])),
    mg.ConvTranspose2d: geometries(True).map(lambda case: (lambda: mg.ConvTranspose2d(2, **case[0]), case[1])),
    mg.Flatten: FLATTEN,
    mg.Reshape: RESHAPE,
    mg.Upsample: UPSAMPLE,
}
