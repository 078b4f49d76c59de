"""Convolutions of any geometry, as Hypothesis draws them."""

from hypothesis import strategies as st


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
