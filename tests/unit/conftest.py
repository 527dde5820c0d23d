"""What several unit tests share: a user whom the file system refuses, and ranks that are threads."""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

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
    """Close one path inside a ``with``; root, whom nothing refuses, is nobody there."""

    @contextlib.contextmanager
    def close(path: Path) -> Iterator[None]:
        mode, user = path.stat().st_mode, os.geteuid()
        path.chmod(0)
        if user == 0:
            os.seteuid(_NOBODY)
        try:
            yield
        finally:
            os.seteuid(user)
            path.chmod(mode)

    return close


class Ranks(Protocol):
    """Runs the same work on several ranks of one world."""

    def __call__[T](self, size: int, work: Callable[[World], T], /) -> list[T]:
        """The result of each rank, in rank order; raises what a rank raised."""


class _Meeting:
    """Where the ranks of one world exchange values."""

    def __init__(self, size: int) -> None:
        self._values: list[object] = [None] * size
        self.barrier = threading.Barrier(size, timeout=_DEADLINE)

    def exchange(self, rank: int, value: object) -> list[Any]:
        """Everybody's value, in rank order."""
        self._values[rank] = value
        self.barrier.wait()
        found = list(self._values)
        self.barrier.wait()
        return found


class _ThreadWorld:
    """A `treering.world.World` whose ranks are threads; importing the real one would start MPI."""

    _OPS: ClassVar[dict[str, np.ufunc]] = {"sum": np.add, "max": np.maximum, "min": np.minimum}

    def __init__(self, meeting: _Meeting, rank: int, size: int) -> None:
        self._meeting = meeting
        self.rank, self.size = rank, size

    def barrier(self) -> None:
        self._meeting.exchange(self.rank, None)

    def allreduce(self, values: NDArray[Any], op: str = "sum") -> NDArray[Any]:
        everybody = np.stack(self._meeting.exchange(self.rank, np.array(values)))
        return np.asarray(self._OPS[op].reduce(everybody, axis=0), dtype=values.dtype)

    def allgather_arrays(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        return [np.array(each) for each in self._meeting.exchange(self.rank, np.array(values))]

    def alltoall_arrays(self, values: list[NDArray[Any]]) -> list[NDArray[Any]]:
        return [np.array(each[self.rank]) for each in self._meeting.exchange(self.rank, values)]

    def allgather(self, value: object) -> list[Any]:
        return self._meeting.exchange(self.rank, value)

    def broadcast(self, value: object, root: int = 0) -> object:
        return self._meeting.exchange(self.rank, value)[root]


@pytest.fixture
def ranks() -> Ranks:
    """Ranks as threads: any layout within one process; real ranks are tested in ``tests/mpi``."""

    def run[T](size: int, work: Callable[[World], T], /) -> list[T]:
        meeting = _Meeting(size)

        def one(rank: int) -> T:
            try:
                return work(cast("World", _ThreadWorld(meeting, rank, size)))
            except BaseException:
                meeting.barrier.abort()  # nobody waits for a rank that has failed
                raise

        with ThreadPoolExecutor(size) as pool:
            futures = [pool.submit(one, rank) for rank in range(size)]
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error
        return [future.result() for future in futures]

    return run
