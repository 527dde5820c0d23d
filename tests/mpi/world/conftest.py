"""Fixtures of the tests that run inside real ranks; see ``tests/mpi/test_world_sizes.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
