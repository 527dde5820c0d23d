"""What several unit tests share: a user whom the file system refuses, and ranks that are threads."""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from treering.world import World

_NOBODY = 65534
_DEADLINE = 60.0  # seconds until ranks that never meet fail their test


@pytest.fixture
def refused() -> Callable[[Path], AbstractContextManager[None]]:
    """Make a path inaccessible inside a ``with``; root, whom nothing refuses, becomes nobody there."""

    @contextlib.contextmanager
    def take_rights(path: Path) -> Iterator[None]:
        mode, user = path.stat().st_mode, os.geteuid()
        path.chmod(0)
        if user == 0:
            os.seteuid(_NOBODY)
        try:
            yield
        finally:
            os.seteuid(user)
            path.chmod(mode)

    return take_rights


class Ranks(Protocol):
    """Runs one function as several ranks and gives their results in rank order."""

    def __call__[T](self, size: int, program: Callable[[World], T]) -> list[T]:
        """Call ``program(world)`` on `size` ranks at once; their first failure is raised."""


class _Rank:
    """What `treering.world.World` offers, for threads that share a list and meet at a barrier."""

    def __init__(self, rank: int, board: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size = rank, len(board)
        self._board, self._barrier = board, barrier

    def _exchange(self, value: Any) -> list[Any]:
        self._board[self.rank] = value
        self._barrier.wait()
        everybody = list(self._board)
        self._barrier.wait()
        return everybody

    def allreduce(self, values: NDArray[Any], op: str = "sum") -> NDArray[Any]:
        combine = {"sum": np.add, "max": np.maximum, "min": np.minimum}[op]
        return np.asarray(combine.reduce(np.array(self._exchange(values)), axis=0), values.dtype)

    def allgather_arrays(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        return self._exchange(values)


def _run_ranks[T](size: int, program: Callable[[World], T]) -> list[T]:
    board: list[Any] = [None] * size
    barrier = threading.Barrier(size, timeout=_DEADLINE)

    def one(rank: int) -> T:
        try:
            return program(cast("World", _Rank(rank, board, barrier)))
        except BaseException:
            barrier.abort()  # nobody shall wait for this one
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(one, rank) for rank in range(size)]
    for future in futures:
        error = future.exception()
        if error is not None and not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [future.result() for future in futures]


@pytest.fixture
def ranks() -> Ranks:
    """Several ranks in this process, for code that takes a world."""
    return _run_ranks
