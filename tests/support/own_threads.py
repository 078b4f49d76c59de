"""From how many values on the numpy backend works on threads of its own; the tests' own setting is made in conftest.py."""

from minigan.backends.numpy import backend

OWN_THREADS = backend._OWN_THREADS
