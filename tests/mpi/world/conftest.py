"""Fixtures of the tests that run inside real ranks; see ``tests/mpi/test_world_sizes.py``."""

from __future__ import annotations

import pytest

from treering.world import World


@pytest.fixture(scope="session")
def world() -> World:
    """The world this test process is one rank of."""
    return World()
