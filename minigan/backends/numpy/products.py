"""Matrix products and sums over channels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from minigan.backends.base import Array, Formula
from minigan.backends.numpy.replay import ReplayBackend
from minigan.backends.numpy.threads import BlasThreads

# Multiplications up to which BLAS itself takes one thread, in products of matrices and with a vector.
_SMALL_PRODUCT, _SMALL_VECTOR = 1 << 18, 1 << 13
_SPREAD_PRODUCT = 1 << 22  # multiplications from which a product is worth several Python threads
_OUTER = 1 << 18  # elements up to which an outer product is quicker by BLAS
_SMALL_SUM = 1 << 17  # elements up to which column sums are quickest as a reduction
_SUMMED = 1 << 20  # elements of a block of a column sum
_SPREAD = 1 << 17  # elements from which an operation on each is worth more than one thread


class ProductBackend(ReplayBackend):
    """Products and sums on the threads that serve them best."""

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        a, b, out = self._wrap(a, b, out)
        if a.shape[1] == 1:
            return self._outer(a, b, out)
        size, is_vector = a.size * b.shape[1], len(a) == 1 or b.shape[1] == 1
        if size <= (_SMALL_VECTOR if is_vector else _SMALL_PRODUCT):
            return np.matmul(a, b, out=out)
        if out is None and a.dtype == b.dtype:
            out = self.empty((len(a), b.shape[1]), a.dtype)
        if not self._thread.own:
            return self.with_own_blas_threads(partial(np.matmul, a, b, out=out))
        if out is None:
            out = self.empty((len(a), b.shape[1]), a.dtype)
        if is_vector or size < _SPREAD_PRODUCT:
            with nullcontext() if self._thread.alone else BlasThreads(self._blas, 1):
                return np.matmul(a, b, out=out)

        def work(blocks: Sequence[slice]) -> None:
            for rows in blocks:
                np.matmul(a[rows], b, out=out[rows])

        self._spread(work, len(a), len(a))
        return out

    def _outer(self, a: Array, b: Array, out: Array | None) -> Array:
        """An outer product. np.matmul leaves it to a plain loop, np.dot to BLAS, which wins as long as out stays in cache."""
        out = self.empty((len(a), b.shape[1]), a.dtype) if out is None else out
        if out.size > _OUTER or not out.flags.c_contiguous:
            return np.multiply(a, b, out=out)
        return np.dot(a, b, out=out)

    def column_sum(self, x: Array, out: Array | None = None) -> Array:
        """A product with ones, where there is much to add: BLAS reads memory faster than a reduction over the outer axis."""
        x, out = self._wrap(x, out)
        flat = x.reshape(-1, x.shape[-1])
        if flat.size <= _SMALL_SUM:
            return np.add.reduce(flat, axis=0, out=out)

        def work(blocks: Sequence[slice]) -> Array:
            return sum(np.ones(len(flat[rows]), x.dtype) @ flat[rows] for rows in blocks)

        parts = self._spread(work, len(flat), max(1, _SUMMED // flat.shape[1]), self.threads_for(flat.size))
        return self.store(sum(parts[1:], start=parts[0]), out)

    def means(self, formula: Formula, *arrays: Array, **constants: Any) -> tuple[Array, ...]:
        return super().means(formula, *self._wrap(*arrays), **constants)

    def threads_for(self, size: int) -> int:
        return self.threads if size >= _SPREAD and self._thread.own and self._recording.calls is None else 1
