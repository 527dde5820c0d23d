"""The ranks of this job: a thin layer over mpi4py's ``COMM_WORLD``.

Importing this module starts MPI. A rank that waits inside MPI burns a whole core, and ranks wait for
each other for as long as the slowest one reads its files; so every collective here is started
non-blocking and polled with a growing pause.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import mpi4py
import numpy as np

from treering.errors import PeerLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

mpi4py.rc.finalize = (
    False  # leaving the ring is World.leave's decision: an exit-time Finalize hangs on lost peers
)
from mpi4py import MPI  # noqa: E402  # it has to follow the setting above

_SHARED_MEMORY: Final = "/dev/shm/mpich_shm_"  # noqa: S108  # MPICH's, not ours


def _give_names_back() -> None:
    """Unlink the shared memory that MPI has mapped, which nobody else is to open: a killed rank would leave it for ever."""
    with contextlib.suppress(OSError):  # no /proc, or no right to look there: what is left is a megabyte
        for line in Path("/proc/self/maps").read_text().splitlines():
            if _SHARED_MEMORY in line:
                Path(_SHARED_MEMORY + line.partition(_SHARED_MEMORY)[2]).unlink(missing_ok=True)


_give_names_back()

type Json = Any
type Op = Literal["sum", "max", "min"]

_OPS = {"sum": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN}
# MPI moves messages on only while it is called: a pause delays every step of a collective. So it is a small
# part of the time waited so far, which keeps short waits short and lets long ones cost nothing.
_PATIENCE = 0.1
_LONGEST_PAUSE = 5e-3  # seconds: short beside any round, long enough to leave the core to others
_NOTABLE = 1.0  # seconds of waiting that are worth a word: whoever hangs is none of those that wait


class World:
    """All ranks, seen from one of them.

    Every method but `leave` is collective: all ranks call it, in the same order. A lost peer raises
    `treering.errors.PeerLostError` at best; while it is silent, only the supervisor's clock helps.

    Parameters
    ----------
    communicator
        The ranks; by default all of the job.
    on_wait
        Called with True when this rank has waited for the others for a second, and with False when they have come.
    """

    def __init__(
        self,
        communicator: MPI.Intracomm | None = None,
        on_wait: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._on_wait = on_wait
        self._communicator = MPI.COMM_WORLD if communicator is None else communicator
        self.rank: int = self._communicator.Get_rank()
        self.size: int = self._communicator.Get_size()

    def __repr__(self) -> str:
        return f"rank={self.rank}({self.size})"

    def barrier(self) -> None:
        """Return once every rank has called."""
        self._wait(self._communicator.Ibarrier)

    def allreduce[T: np.generic](self, values: NDArray[T], op: Op = "sum") -> NDArray[T]:
        """Combine equally shaped arrays of all ranks element by element; returns a new array.

        Sums of integers, maxima and minima do not depend on the order of the ranks; sums of floats do,
        unless they are exact. MPI's order is not fixed: never sum inexact floats here.
        """
        values = np.ascontiguousarray(values)
        result = np.empty_like(values)
        self._wait(self._communicator.Iallreduce, values, result, _OPS[op])
        return result

    def allgather_arrays[T: np.generic](self, values: NDArray[T]) -> list[NDArray[T]]:
        """Every rank's one-dimensional array, in rank order; lengths may differ, the dtype may not."""
        values = np.ascontiguousarray(values)
        counts = np.empty(self.size, np.int64)
        self._wait(self._communicator.Iallgather, np.array([values.nbytes], np.int64), counts)
        gathered = np.empty(int(counts.sum()), np.uint8)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        mine = [values.view(np.uint8).reshape(-1), MPI.BYTE]
        self._wait(self._communicator.Iallgatherv, mine, [gathered, counts, starts, MPI.BYTE])
        return [
            gathered[start : start + count].view(values.dtype)
            for start, count in zip(starts, counts, strict=True)
        ]

    def alltoall_arrays[T: np.generic](self, values: Sequence[NDArray[T]]) -> list[NDArray[T]]:
        """Send array i to rank i, and get what every rank sent here, in rank order.

        One-dimensional arrays of one dtype; lengths may differ.
        """
        dtype = values[0].dtype
        # Not MPI's own all-to-all: MPICH 5.0.2's hangs over libfabric's tcp once in some dozen calls.
        counts = self.allgather_arrays(np.array([part.nbytes for part in values], np.int64))
        received = [np.empty(int(of_rank[self.rank]), np.uint8) for of_rank in counts]
        received[self.rank][:] = np.ascontiguousarray(values[self.rank]).view(np.uint8).reshape(-1)
        others = [(self.rank + step) % self.size for step in range(1, self.size)]

        def exchange() -> list[MPI.Request]:
            requests = [self._communicator.Irecv(received[r], r) for r in others if received[r].size]
            sent = [(np.ascontiguousarray(values[r]), r) for r in others if values[r].size]
            return requests + [self._communicator.Isend(part, r) for part, r in sent]

        self._wait(exchange)
        return [part.view(dtype) for part in received]

    def allgather(self, value: Json) -> list[Json]:
        """Every rank's JSON value, in rank order."""
        packed = np.frombuffer(json.dumps(value).encode(), np.uint8)
        return [json.loads(part.tobytes()) for part in self.allgather_arrays(packed)]

    def broadcast(self, value: Json, root: int = 0) -> Json:
        """The JSON value of rank `root`, on every rank."""
        packed = (
            np.frombuffer(json.dumps(value).encode(), np.uint8)
            if self.rank == root
            else np.empty(0, np.uint8)
        )
        length = np.array([packed.size], np.int64)
        self._wait(self._communicator.Ibcast, length, root)
        buffer = packed.copy() if self.rank == root else np.empty(int(length[0]), np.uint8)
        self._wait(self._communicator.Ibcast, buffer, root)
        return json.loads(buffer.tobytes())

    def leave(self) -> None:
        """Shut MPI down; every rank must come this far, so it also waits for the others."""
        self.barrier()
        MPI.Finalize()

    def _wait(self, start: Callable[..., MPI.Request | list[MPI.Request]], *arguments: object) -> None:
        """Start what does not block, and see it through."""
        try:
            started = start(*arguments)
            requests = started if isinstance(started, list) else [started]
            began, told = time.perf_counter(), False
            while not MPI.Request.Testall(requests):
                waited = time.perf_counter() - began
                if waited > _NOTABLE and not told:
                    told = True
                    self._on_wait(told)
                time.sleep(min(_LONGEST_PAUSE, _PATIENCE * waited))
            if told:
                self._on_wait(False)
        except MPI.Exception as error:
            raise PeerLostError(f"MPI lost contact with another rank ({error.Get_error_string()})") from error
