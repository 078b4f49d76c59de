"""Ranks in one process: a thread for each, which meet at barriers. For what needs no MPI, and is to be quick."""

import json
import threading

import numpy as np

import minigan as mg
from minigan.checks.second_order import has_second_order
from minigan.distributed import ALONE, Communicator


class ThreadRanks(Communicator):
    """One rank of several threads. Sums in the order of the ranks, as all are."""

    def __init__(self, rank, size, meeting):
        self.rank, self.size = rank, size
        self.local_rank, self.local_size = rank, size
        self._given, self._barrier = meeting

    def gather(self, value):
        self._given[self.rank] = value
        self._barrier.wait(timeout=60)
        values = list(self._given)
        self._barrier.wait(timeout=60)
        return values

    def _reduce(self, arrays, divisor):
        of_ranks = self.gather([array.copy() for array in arrays])
        for array, parts in zip(arrays, zip(*of_ranks, strict=True), strict=True):
            array[...] = sum(parts[1:], start=parts[0]) / array.dtype.type(divisor)

    def all_sum(self, *arrays):
        self._reduce(arrays, 1)

    def all_mean(self, *arrays):
        self._reduce(arrays, self.size)

    def barrier(self):
        self._barrier.wait(timeout=60)


def over_ranks(size, work):
    """[work(ranks) of each rank]; the first error of any is raised."""
    meeting, results, errors = ([None] * size, threading.Barrier(size)), [None] * size, []

    def play(rank):
        try:
            results[rank] = work(ThreadRanks(rank, size, meeting))
        except BaseException as error:
            errors.append(error)
            meeting[1].abort()

    threads = [threading.Thread(target=play, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), errors[0])
    return results


def check_over_ranks(make, shape, batch=8, size=2):
    """A layer in training on shares of a batch is the layer on the whole: outputs, both derivatives, draws and state; and the
    gradients in its parameters add up to the whole's.
    """
    rng = np.random.default_rng(3)
    net = mg.Sequential([make()], shape, "textbook", "float64")
    x, u = (rng.standard_normal((batch, *s)) for s in (shape, shape))
    dy, weights = rng.standard_normal((batch, *net.output_shape)), rng.uniform(0.5, 1.5, net.num_params)

    def passes(ranks):
        net = mg.Sequential([make()], shape, "textbook", "float64")
        net.flat_params[...] = weights
        (layer,), own = net.layers, ranks.own(batch // ranks.size)
        with net.backend.over(ranks):
            y, (cache,) = net.forward(x[own], train=True)
            grads, more = net.empty_grads(), net.empty_grads()
            dx = layer.backward(dy[own], cache, grads.of_layer[0])
            y_dot, c = None, None
            if has_second_order(layer):
                y_dot, c = layer.tangent(u[own], cache), layer.curvature(u[own], dy[own], cache, more.of_layer[0])
            else:
                more.flat[...] = 0
        return (y, dx, y_dot, c), (grads.flat, more.flat), [*net.state.values(), *map(json.dumps, net.random_state.values())]

    rows, sums, state = passes(ALONE)
    of_ranks = over_ranks(size, passes)
    for whole, *parts in zip(rows, *(result[0] for result in of_ranks), strict=True):
        assert (whole is None) == (parts[0] is None)
        if whole is not None:
            np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-11, atol=1e-12)
    for whole, *parts in zip(sums, *(result[1] for result in of_ranks), strict=True):
        np.testing.assert_allclose(sum(parts), whole, rtol=1e-11, atol=1e-12)
    for whole, *parts in zip(state, *(result[2] for result in of_ranks), strict=True):
        for part in parts:
            assert part == whole if isinstance(whole, str) else np.allclose(part, whole, rtol=1e-12, atol=1e-14)
