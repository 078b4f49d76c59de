"""From how large a convolution on the numpy backend works on threads of its own; conftest.py lowers it for the tests."""

from minigan.backends.numpy import threads

LARGE_CONVOLUTION = threads.LARGE_CONVOLUTION
