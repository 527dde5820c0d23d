"""`treering.objectives` and `treering.grid` over real ranks: the bits that one rank alone computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from mpi4py import MPI

from treering import grid, objectives
from treering.errors import UserError
from treering.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping


def _own_rows(world: World, random: np.random.Generator, rows: int) -> slice:
    ends = [0, *sorted(random.integers(1, rows, world.size - 1).tolist()), rows]
    return slice(ends[world.rank], ends[world.rank + 1])


@pytest.mark.parametrize(
    ("objective", "parameters"),
    [
        ("reg:squarederror", {}),
        ("binary:logistic", {"scale_pos_weight": 3.0}),
        ("count:poisson", {}),
        ("multi:softprob", {"num_class": 3}),
    ],
)
def test_a_division_changes_no_bit(
    world: World, random: np.random.Generator, objective: str, parameters: Mapping[str, float]
) -> None:
    """Gradients, hessians and base score are those of one rank with all rows."""
    rows = 5000
    label = random.integers(0, 2, rows).astype(np.float32)
    if objective == "reg:squarederror":
        label = (50 * random.standard_t(1.1, rows)).astype(np.float32)
    weight = random.exponential(1, rows).astype(np.float32)
    margin = random.standard_normal((rows, 3) if objective == "multi:softprob" else rows, np.float32)
    mine = _own_rows(world, random, rows)
    alone = objectives.make(objective, parameters, World(MPI.COMM_SELF), label, weight)
    divided = objectives.make(objective, parameters, world, label[mine], weight[mine])
    assert divided.base_score() == alone.base_score()
    for got, expected in zip(divided.gradient(margin[mine]), alone.gradient(margin), strict=True):
        np.testing.assert_array_equal(got.view(np.uint32), expected[mine].view(np.uint32))


def test_stand_in_counts_nowhere(world: World, random: np.random.Generator) -> None:
    """A rank without rows adds nothing, has only zeros, and knows the others' base score."""
    label = random.standard_normal(100).astype(np.float32)
    expected = objectives.make("reg:squarederror", {}, World(MPI.COMM_SELF), label).base_score()
    has_rows = world.rank == 0
    own = label if has_rows else np.full(1, 1e9, np.float32)
    made = objectives.make("reg:squarederror", {}, world, own, stand_in=not has_rows)
    assert made.base_score() == expected
    gradient, hessian = made.gradient(np.zeros_like(own))
    assert gradient.any() == hessian.any() == has_rows


@pytest.mark.parametrize("margin", [200.0, np.nan])
def test_divergence_on_one_rank_ends_all(world: World, random: np.random.Generator, margin: float) -> None:
    """All ranks raise in the same round, whichever rank it happens on; MPI itself would lose a NaN."""
    made = objectives.make("count:poisson", {}, world, np.ones(2, np.float32))
    where = random.integers(world.size)
    with pytest.raises(UserError, match="count:poisson diverged"):
        made.gradient(np.full(2, margin if world.rank == where else 0, np.float32))


def test_exact_sum(world: World, random: np.random.Generator) -> None:
    """The same float64 as one rank has for all values."""
    values = np.exp(20 * random.standard_normal(10_000)) * random.choice(np.array([-1.0, 1.0]), 10_000)
    mine = values[_own_rows(world, random, values.size)]
    assert grid.exact_sum(world, mine) == grid.exact_sum(World(MPI.COMM_SELF), values)
