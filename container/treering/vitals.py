"""Signs of life of one rank: what it reports, and what the kernel says about its processes.

Three things count as movement: a word of its own, bytes read or written, and processor time. A rank that
waits for others in MPI or XGBoost shows none of them (measured: below 1% of a core, no bytes).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, Self

import psutil

from treering.progress import Position

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY: Final = 0.1  # of a core: waiting takes 0.01, working takes all there is
_STOPPED_STATES: Final = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})
_LONGEST_STEP: Final = 2.0  # intervals that one look may count for: a supervisor that slept has seen nothing


@dataclasses.dataclass(frozen=True, slots=True)
class Signs:
    """What a supervisor tells the first host about one rank.

    Parameters
    ----------
    rank, pid
        Who.
    position
        Where it said it was.
    still
        Seconds without any movement.
    silent
        Seconds without a report and without bytes: it may have been computing.
    reports
        Whether it has ever said where it is; a user's own program may never do so.
    state
        The kernel's word for the process, such as ``sleeping`` or ``disk-sleep``.
    """

    rank: int
    pid: int
    position: Position
    still: float
    silent: float
    reports: bool
    state: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote; raises ValueError, KeyError or TypeError on anything else."""
        return cls(
            int(value["rank"]),
            int(value["pid"]),
            Position.from_json(value["position"]),
            float(value["still"]),
            float(value["silent"]),
            bool(value["reports"]),
            str(value["state"]),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Usage:
    """What one process has used since its start: seconds of processor time, and bytes."""

    seconds: float = 0.0
    bytes: int = 0


class Vitals:
    """Watches one rank; `look` has to be called at regular intervals.

    Parameters
    ----------
    rank, pid
        Whom.
    """

    def __init__(self, rank: int, pid: int) -> None:
        self._rank = rank
        self._pid = pid
        self._position = Position()
        self._reports = False
        self._spoke = False  # since the last look
        self._still = self._silent = 0.0
        self._known: dict[int, _Usage] = {}
        self._state = ""
        self._stopped_looks = 0

    def heard(self, position: Position) -> bool:
        """Take in a report; True when it is about a new phase."""
        entered = position.step != self._position.step
        self._spoke = self._spoke or position != self._position
        self._position, self._reports = position, True
        return entered

    def look(self, elapsed: float, interval: float) -> None:
        """Compare with the last look, `elapsed` seconds ago; `interval` is what was meant."""
        bytes_moved, busy = self._movement(elapsed)
        step = min(elapsed, _LONGEST_STEP * interval)
        self._silent = 0.0 if self._spoke or bytes_moved else self._silent + step
        self._still = 0.0 if self._spoke or bytes_moved or busy else self._still + step
        self._spoke = False

    def is_stopped(self) -> bool:
        """Whether a signal or a debugger has held the rank at two looks in a row, without a step between."""
        return self._stopped_looks > 1

    def signs(self) -> Signs:
        """The state of this rank as of the last look."""
        return Signs(
            self._rank,
            self._pid,
            self._position,
            round(self._still, 3),
            round(self._silent, 3),
            self._reports,
            self._state,
        )

    def _movement(self, elapsed: float) -> tuple[bool, bool]:
        """Whether bytes moved, and whether a core was busy, in the rank or below it."""
        bytes_moved = busy = False
        for index, process in enumerate(self._processes()):
            try:
                with process.oneshot():
                    used = _usage(process)
                    if index == 0:
                        self._note_state(process.status(), used)
            except psutil.Error:  # it has ended
                continue
            before = self._known.get(process.pid, _Usage())
            self._known[process.pid] = used
            bytes_moved = bytes_moved or used.bytes > before.bytes
            busy = busy or used.seconds - before.seconds >= BUSY * elapsed
            if bytes_moved:
                break
        return bytes_moved, busy

    def _processes(self) -> Iterator[psutil.Process]:
        """The rank, then all below it; those are looked for only when it is asked for them."""
        try:
            rank = psutil.Process(self._pid)
            yield rank
            yield from rank.children(recursive=True)
        except psutil.Error:
            return

    def _note_state(self, state: str, used: _Usage) -> None:
        idle = used == self._known.get(self._pid)
        self._state = state
        self._stopped_looks = self._stopped_looks + 1 if state in _STOPPED_STATES and idle else 0


def _usage(process: psutil.Process) -> _Usage:
    times = process.cpu_times()
    try:
        moved = process.io_counters()
        count = moved.read_chars + moved.write_chars
    except (psutil.AccessDenied, AttributeError):  # not allowed, or not Linux
        count = 0
    return _Usage(times.user + times.system, count)
