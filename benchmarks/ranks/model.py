"""What a step on P ranks takes, by its own terms: computing with a share, latency, bandwidth, adding, drawing.

An exchange of n bytes among P ranks is minigan.distributed's all_mean, over the collective operations of MPI, which take
(Thakur, Rabenseifner and Gropp 2005, sections 3 and 4; α: latency of a message, β: time of a byte, ⌈lg P⌉ = ⌈log₂ P⌉)
    Allgather, n bytes in all           ⌈lg P⌉ α + (P − 1)/P n β                  recursive doubling
    Alltoall, n bytes of each rank      (P − 1) α + (P − 1)/P n β                 in pairs, for long parts
                                        ⌈lg P⌉ α + ⌈lg P⌉/2 n β                   Bruck's, for short ones
Up to P n = SHORT bytes a vector goes to all ranks (Allgather of P n bytes), and each makes P passes over n bytes: P − 1
additions and a division. A longer one goes in parts (Alltoall, then Allgather of n bytes), and each makes P passes over n/P.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from minigan.distributed import SHORT


class Terms(NamedTuple):
    """How often an exchange pays each cost: its call, latencies, bytes sent, bytes passed over."""

    calls: float
    latencies: float
    moved: float
    added: float


@dataclass(frozen=True)
class Costs:
    """Seconds: of an exchange's call itself (Python's share), of a message's latency, of a byte sent, of a byte passed over."""

    call: float
    latency: float
    byte: float
    adding: float


def forms(size: int, length: float) -> list[Terms]:
    """What an exchange of `length` bytes among `size` ranks takes, for each way that MPI has to do it."""
    if size == 1:
        return [Terms(0, 0, 0, 0)]
    rounds = math.ceil(math.log2(size))
    if size * length <= SHORT:
        return [Terms(1, rounds, (size - 1) * length, size * length)]
    others = (size - 1) / size * length
    return [Terms(1, size - 1 + rounds, 2 * others, length), Terms(1, 2 * rounds, rounds / 2 * length + others, length)]


def exchange_seconds(costs: Costs, size: int, length: float) -> float:
    """One all_mean, in whichever way is quicker."""
    prices = costs.call, costs.latency, costs.byte, costs.adding
    return min(math.fsum(p * t for p, t in zip(prices, terms, strict=True)) for terms in forms(size, length))


class Fit(NamedTuple):
    """Costs, and how far they are from what was measured: |model / measured − 1|."""

    costs: Costs
    median_error: float
    largest_error: float


def fit(measured: Sequence[tuple[int, int, float]], adding: float) -> Fit:
    """Costs from (ranks, bytes, seconds) of exchanges, given the seconds of a byte's pass.

    Least squares of relative errors, Σ (model/measured − 1)², over costs that are not negative: of all subsets of costs
    that may differ from zero, the best that has no negative one.
    """
    rows = np.array([forms(size, length)[0] for size, length, _ in measured], float)
    seconds = np.array([s for *_, s in measured])
    matrix, left = rows[:, :3] / seconds[:, None], 1 - adding * rows[:, 3] / seconds
    best, least = np.zeros(3), math.inf
    for count in (1, 2, 3):
        for columns in map(list, combinations(range(3), count)):
            found = np.linalg.lstsq(matrix[:, columns], left, rcond=None)[0]
            error = float(((matrix[:, columns] @ found - left) ** 2).sum())
            if (found >= 0).all() and error < least:
                best, least = np.zeros(3), error
                best[columns] = found
    costs = Costs(*best.tolist(), adding)
    errors = [abs(exchange_seconds(costs, size, length) / s - 1) for size, length, s in measured]
    return Fit(costs, statistics.median(errors), max(errors))


@dataclass(frozen=True)
class Model:
    """A game's step. shares: seconds on one process of one thread, by its number of images. messages: bytes of its exchanges.

    drawing: seconds of the random numbers of one image. Every rank draws those of the whole batch and keeps its own, so that
    they cost P ranks what they cost one.
    """

    costs: Costs
    shares: dict[int, float]
    messages: tuple[int, ...]
    drawing: float

    def computing(self, share: float) -> float:
        """Seconds of one rank with so many images: measured ones, and straight lines between."""
        sizes = sorted(self.shares)
        return float(np.interp(share, sizes, [self.shares[s] for s in sizes]))

    def exchanging(self, size: int) -> float:
        return math.fsum(exchange_seconds(self.costs, size, length) for length in self.messages)

    def seconds(self, size: int, batch: int) -> float:
        """A step of `size` ranks with a batch of so many images in all."""
        share = batch / size
        return self.computing(share) + self.exchanging(size) + self.drawing * (batch - share)


class Limits(NamedTuple):
    """Numbers of ranks: with which most images a second are trained, and the most whose efficiency is one half or more."""

    quickest: int
    efficient: int


def limits(rates: dict[int, float]) -> Limits:
    """rates: images per second by number of ranks, that of one rank among them."""
    quickest = max(rates, key=lambda size: rates[size])
    efficient = 1
    for size in sorted(rates):
        if rates[size] < size * rates[1] / 2:
            break
        efficient = size
    return Limits(quickest, efficient)
