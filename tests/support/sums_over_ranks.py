"""What a communicator does, over the ranks that were started: it fails where that is wrong."""

import numpy as np
import pytest

from minigan.distributed import world
from minigan.errors import RankError


def of_rank(rank, count, dtype):
    return np.random.default_rng(rank).standard_normal(count).astype(dtype)


def check_sums(ranks):
    """In the order of the ranks, to the bit; of one array and of several of any shape, short and long."""
    for count in (1, 7, 600, 10_007, 30_000):
        for dtype in ("float32", "float64"):
            total = of_rank(0, count, dtype)
            for rank in range(1, ranks.size):
                total = total + of_rank(rank, count, dtype)
            x = of_rank(ranks.rank, count, dtype)
            ranks.all_sum(x)
            assert np.array_equal(x, total)
            rest = of_rank(ranks.rank, count, dtype).reshape(-1, 1)
            first, transposed = np.array(rest[0, 0]), np.asfortranarray(np.tile(rest, 3))
            ranks.all_mean(first, transposed)
            assert first == total[0] / np.array(ranks.size, dtype)
            assert np.array_equal(transposed[:, 1], total / np.array(ranks.size, dtype))


def main():
    ranks = world()
    check_sums(ranks)
    x = np.full((2, 3), float(ranks.rank))
    ranks.broadcast(x[:, ::2])
    assert x.tolist() == [[0, ranks.rank, 0]] * 2
    assert ranks.gather({"rank": ranks.rank}) == [{"rank": rank} for rank in range(ranks.size)]
    assert not ranks.any(False)
    assert ranks.any(ranks.rank == ranks.size - 1)
    assert (ranks.local_rank, ranks.local_size) == (ranks.rank, ranks.size)
    ranks.check_same({"one": 1, "two": 2}, "…")
    others = "rank 1" if ranks.size == 2 else "ranks 1, 2"
    with pytest.raises(RankError, match=f"^{others}: two is 1, and on rank 0 0: start them alike$"):
        ranks.check_same({"one": 1, "two": min(ranks.rank, 1)}, "start them alike")
    order = []
    with ranks.in_turn():
        order.append(ranks.rank)
    print("all is well", flush=True)


if __name__ == "__main__":
    main()
