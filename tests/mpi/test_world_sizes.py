"""The suite in ``tests/mpi/world`` runs inside real MPI ranks, at every world size alike."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Ring

_SUITE = Path(__file__).parent / "world"
_FILES = sorted(path.name for path in _SUITE.glob("test_*.py"))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("name", _FILES)
def test_suite_passes_on_every_rank(ring: Ring, size: int, name: str) -> None:
    """Each rank runs the file as a test session of its own; all must pass, and none may be skipped."""
    pytest_on_each_rank = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    ring.start(size, [*pytest_on_each_rank, str(_SUITE / name)])
    codes = ring.wait()
    assert set(codes.values()) == {0}, ring.logs()
    for host in ring.hosts.values():
        assert " passed" in host.log
        assert "skipped" not in host.log
