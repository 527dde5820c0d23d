"""Rows in blocks that fit the processor's cache, spread over threads."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Rows of a block: its float32 columns stay in the cache, and threads seldom wait for Python's lock. Less than 2^18, for
# which `treering.metrics.sums` has room.
ROWS: Final = 255 << 10
_SORTED: Final = 1 << 16  # rows that are worth a thread of their own when they are sorted
_ADDED_UP: Final = 1 << 18  # the same when they are only gone through


class Blocks:
    """Runs work on rows, on several threads where there are enough of them.

    Parameters
    ----------
    threads
        Most threads to use; numpy leaves Python's lock while it computes.
    """

    def __init__(self, threads: int) -> None:
        self.threads = max(threads, 1)
        self._pool = (
            ThreadPoolExecutor(self.threads, initializer=_placing(self.threads)) if threads > 1 else None
        )

    def map[T](self, work: Callable[[slice], T], rows: int, columns: int = 1) -> list[T]:
        """What `work` gives for each block of `rows` rows with so many columns, in order."""
        size = max(ROWS // columns, 1 << 10)

        def one_by_one(part: slice) -> list[T]:
            with np.errstate(all="ignore"):  # what is not finite shows in the result
                return [work(block) for block in _cut(part, size)]

        return [result for part in self.each(one_by_one, self._parts(rows, _ADDED_UP)) for result in part]

    def parts(self, rows: int) -> list[slice]:
        """Rows to sort, one part for each thread; a single part where more would not pay."""
        return self._parts(rows, _SORTED)

    def _parts(self, rows: int, least: int) -> list[slice]:
        count = min(self.threads, max(rows // least, 1))
        ends = [rows * number // count for number in range(count + 1)]
        return [slice(start, end) for start, end in itertools.pairwise(ends)]

    def each[T, R](self, work: Callable[[T], R], items: list[T]) -> list[R]:
        """What `work` gives for each item, in order; items run side by side."""
        if self._pool is None or len(items) == 1:
            return [work(item) for item in items]
        return list(self._pool.map(work, items))


def _placing(threads: int) -> Callable[[], None]:
    """What gives each of so many threads a core of its own, where there are no more cores than threads.

    A thread that has milliseconds to do is over before the scheduler moves it away from a core that another one keeps
    busy; in a virtual machine, whose idle cores look taken, it mostly wakes on such a core.
    """
    if sys.platform != "linux" or threads != len(os.sched_getaffinity(0)):
        return lambda: None
    cores: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)

    def place() -> None:
        with contextlib.suppress(OSError):  # a core that is gone, or a sandbox that does not let us choose
            os.sched_setaffinity(0, {cores.get()})

    return place


def _cut(part: slice, size: int) -> Iterator[slice]:
    for start in range(part.start, part.stop, size):
        yield slice(start, min(start + size, part.stop))
