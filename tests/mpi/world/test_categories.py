"""`treering.categories`: one sorted list for all ranks, whatever each of them has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from treering.categories import agree, recode

if TYPE_CHECKING:
    from treering.world import World


def test_the_list_is_the_sorted_union(world: World) -> None:
    """Every rank gets the same lists, from ranks that saw different categories or none."""
    local = {} if world.rank == world.size - 1 > 0 else {2: (f"b{world.rank}", "a"), 0: ("z",)}
    seen = range(max(1, world.size - 1))
    assert agree(world, local) == {0: ("z",), 2: ("a", *(f"b{rank}" for rank in seen))}


def test_too_many_end_the_job_on_all_ranks(world: World) -> None:
    """No rank has too many, but all of them together; what several have counts once, what fits is agreed."""
    shared, own = [f"s{number}" for number in range(50)], [f"r{world.rank}-{n}" for n in range(10)]
    local = {1: ("x",), 4: (*own, *shared)}
    together = 50 + 10 * world.size
    assert len(agree(world, local, most=together)[4]) == together
    with pytest.raises(OverflowError) as raised:
        agree(world, local, most=together - 1)
    assert raised.value.args == (4,)
    assert agree(world, {}) == {}  # and ranks still talk to each other


def test_recoded_values_stand_for_the_same_categories(world: World) -> None:
    """Rows keep their categories through another list, on data drawn anew by every rank."""
    seed = world.broadcast(int(np.random.SeedSequence().generate_state(1)[0]))
    print(f"seed={seed}")
    rng = np.random.default_rng([seed, world.rank])
    names = tuple(f"k{number}" for number in rng.permutation(20)[: rng.integers(1, 20)])
    codes = rng.integers(0, len(names) + 1, 100)
    features = np.where(codes == len(names), np.nan, codes).astype(np.float32).reshape(-1, 1)
    before = [None if code == len(names) else names[code] for code in codes]
    agreed = agree(world, {0: names})
    assert recode(features, {0: names}, agreed) == {}
    after = [None if np.isnan(code) else agreed[0][int(code)] for code in features[:, 0]]
    assert after == before


def test_an_unknown_category_becomes_missing_and_is_counted(world: World) -> None:
    """What the agreed list lacks is missing; what was missing already is not counted."""
    features = np.array([[0, 5], [1, 6], [np.nan, 7], [1, 8]], np.float32)
    agreed = {0: ("known",)}
    assert recode(features, {0: ("known", f"new{world.rank}")}, agreed) == {0: 2}
    np.testing.assert_array_equal(features[:, 0], np.array([0, np.nan, np.nan, np.nan], np.float32))
    np.testing.assert_array_equal(features[:, 1], np.array([5, 6, 7, 8], np.float32))
