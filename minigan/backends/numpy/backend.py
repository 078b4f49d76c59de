"""All of the fast CPU backend."""

from __future__ import annotations

from minigan.backends.numpy.convolution import ConvolutionBackend


class NumpyBackend(ConvolutionBackend):
    """The textbook's operations on MINIGAN_NUM_THREADS threads (default: the cores that this process may use).

    Each file of this package adds one subject to the one before it: threads, replay, products, elementwise, convolution.
    """

    name = "numpy"
