"""Fixtures of the tests that run inside real ranks; see ``tests/mpi/test_world_sizes.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from treering.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The world this test process is one rank of; left in an orderly way at the end."""
    world = World()
    yield world
    world.leave()


@pytest.fixture
def random(world: World) -> np.random.Generator:
    """The same data on all ranks, another in every run; the printed seed brings a failure back."""
    seed = int(world.broadcast(int(np.random.SeedSequence().generate_state(1)[0])))
    print(f"seed={seed}")
    return np.random.default_rng(seed)
