"""`treering.world`: every collective gives every rank the same, whatever the world's size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from treering.world import World


def test_allreduce_sums_and_compares_over_all_ranks(world: World) -> None:
    """Sum, maximum and minimum take in every rank's array and leave it unchanged."""
    mine = np.array([world.rank, -world.rank, 1], np.int64)
    total = sum(range(world.size))
    np.testing.assert_array_equal(world.allreduce(mine), [total, -total, world.size])
    np.testing.assert_array_equal(world.allreduce(mine, "max"), [world.size - 1, 0, 1])
    np.testing.assert_array_equal(world.allreduce(mine, "min"), [0, 1 - world.size, 1])
    np.testing.assert_array_equal(mine, [world.rank, -world.rank, 1])


def test_allreduce_keeps_shape_and_dtype(world: World) -> None:
    """A two-dimensional float array comes back as one."""
    result = world.allreduce(np.full((2, 3), 0.5, np.float64))
    assert result.shape == (2, 3)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, np.full((2, 3), 0.5 * world.size))


def test_allgather_arrays_takes_different_lengths(world: World) -> None:
    """Ranks may bring arrays of different lengths, empty ones among them."""
    mine = np.arange(world.rank, dtype=np.float32)
    gathered = world.allgather_arrays(mine)
    assert [len(part) for part in gathered] == list(range(world.size))
    for part in gathered:
        np.testing.assert_array_equal(part, np.arange(len(part), dtype=np.float32))
        assert part.dtype == np.float32


def test_alltoall_arrays_brings_each_rank_its_own(world: World) -> None:
    """Rank r gets from every rank what that one has for r, in any length, nothing among them."""
    sizes = [[(sender * receiver) % 3 for receiver in range(world.size)] for sender in range(world.size)]
    mine = [
        np.full(size, 10 * world.rank + receiver, np.float32)
        for receiver, size in enumerate(sizes[world.rank])
    ]
    gathered = world.alltoall_arrays(mine)
    assert len(gathered) == world.size
    for sender, part in enumerate(gathered):
        expected = np.full(sizes[sender][world.rank], 10 * sender + world.rank, np.float32)
        np.testing.assert_array_equal(part, expected)
        assert part.dtype == np.float32


def test_allgather_and_broadcast_carry_json(world: World) -> None:
    """Texts with any letters, numbers, lists and null survive, in rank order."""
    values = world.allgather({"rank": world.rank, "name": "Zürich", "none": None})
    assert [value["rank"] for value in values] == list(range(world.size))
    assert all(value["name"] == "Zürich" and value["none"] is None for value in values)
    last = world.size - 1
    assert world.broadcast([world.rank, "x"], root=last) == [last, "x"]


def test_arrays_larger_than_a_message_buffer(world: World) -> None:
    """Megabytes go through as well as bytes."""
    mine = np.full(3_000_000, world.rank + 1, np.int64)
    expected = world.size * (world.size + 1) // 2
    assert (world.allreduce(mine) == expected).all()


def test_collectives_in_any_order_and_size_end(world: World) -> None:
    """Hundreds of them, as rounds and metrics call them: MPI's own all-to-all hung after some dozen."""
    seed = int(world.broadcast(int(np.random.SeedSequence().generate_state(1)[0])))
    print(f"seed={seed}")
    random = np.random.default_rng(seed)  # the same on all ranks
    ranks = np.arange(world.size)
    for _ in range(300):
        size = int(random.choice([1, 2, 3, 100, 5_000, 200_000]))
        match int(random.integers(4)):
            case 0:
                total = world.allreduce(np.full(size, world.rank, np.int64))
                assert (total == ranks.sum()).all()
            case 1:
                parts = world.allgather_arrays(np.full(size + world.rank, world.rank, np.float32))
                assert all((part == rank).all() for rank, part in enumerate(parts))
            case 2:
                sent = [
                    np.full(size // world.size + rank, 10 * world.rank + rank, np.int64) for rank in ranks
                ]
                dealt = world.alltoall_arrays(sent)
                assert all((part == 10 * rank + world.rank).all() for rank, part in enumerate(dealt))
            case _:
                world.barrier()


def test_nothing_is_left_in_shared_memory_by_who_is_killed(world: World) -> None:
    """MPI's file there has lost its name, while all ranks still talk."""
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if "mpich_shm_" in line]
    assert all(line.endswith("(deleted)") for line in mapped), mapped
    world.barrier()
