"""The suite in ``tests/mpi/world`` runs inside real MPI ranks, at every world size alike."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Ring

_SUITE = Path(__file__).parent / "world"
_FILES = sorted(path.name for path in _SUITE.glob("test_*.py"))
_METRICS = "test_metrics.py"  # whose promise is that the number of ranks does not matter


@pytest.mark.parametrize(("name", "size"), [*itertools.product(_FILES, (1, 2, 3)), (_METRICS, 5)])
def test_suite_passes_on_every_rank(ring: Ring, tmp_path: Path, name: str, size: int) -> None:
    """Each rank runs the file as a test session of its own; all must pass, and none may be skipped."""
    pytest_on_each_rank = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    # A folder for temporary files that they share with no other session: each clears up behind earlier ones.
    alone = {"PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
    ring.start(size, [*pytest_on_each_rank, str(_SUITE / name)], alone)
    codes = ring.wait()
    assert set(codes.values()) == {0}, ring.logs()
    for host in ring.hosts.values():
        assert " passed" in host.log
        assert "skipped" not in host.log
