"""How fast ranks come on and when they will be through, as people are told: lines of a log, or a bar."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from treering.frames import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from treering.progress import Position

PIPE_VARIABLE: Final = "TREERING_PROGRESS_FD"  # where to tell everything, in place of lines in the log
_SHORTEST = 10.0  # seconds from one line to the next, and from a phase's begin to its first
_LONGEST = 300.0
_GROWTH = 0.1  # of the time a phase has taken: the longer it takes, the rarer its lines
_MEGABYTE = 1e6
_MINUTES, _HOURS = 120.0, 7200.0  # seconds from which they are told in these

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """How one rank comes on.

    Parameters
    ----------
    position
        Where it is, in a phase whose total is known.
    elapsed
        Seconds since it was first seen in this phase.
    speed
        Units a second since then; 0 while nothing is known.
    """

    position: Position
    elapsed: float
    speed: float

    @property
    def percent(self) -> int:
        """How much of the phase is done, rounded down."""
        return int(100 * (self.position.part or 0.0))

    @property
    def forecast(self) -> str:
        """Speed and remaining time, such as "245 MB/s, 18 s left"; nothing while they are not known."""
        if not self.speed or self.position.total is None:
            return ""
        per_second, unit = self.speed, f"{self.position.unit}/s"
        if self.position.unit == "bytes":
            per_second, unit = self.speed / _MEGABYTE, "MB/s"
        left = max(0.0, (self.position.total - self.position.done) / self.speed)
        return f"{_three_digits(per_second)} {unit}, {_duration(left)} left"

    def __str__(self) -> str:
        return ", ".join(filter(None, [str(self.position), f"{self.percent}%", self.forecast]))


class Paces:
    """What is known of each rank since it was first seen in the phase that it is in.

    Parameters
    ----------
    clock
        Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: dict[int, tuple[float, Position]] = {}

    def of(self, rank: int, position: Position) -> Pace:
        """The pace of a rank that is now at `position`."""
        now = self._clock()
        if rank not in self._first or self._first[rank][1].step != position.step:
            self._first[rank] = now, position
        since, first = self._first[rank]
        elapsed = now - since
        return Pace(position, elapsed, (position.done - first.done) / elapsed if elapsed else 0.0)


def slowest(paces: Mapping[int, Pace]) -> tuple[int, Pace] | None:
    """The rank that is furthest behind; None where its phase has no total, or nothing to do."""
    rank = min(paces, key=lambda each: (paces[each].position.order, each), default=None)
    return None if rank is None or not paces[rank].position.total else (rank, paces[rank])


class Teller:
    """Tells of the ranks of one host, each time it is shown them: a line now and then, or all it sees to a pipe.

    Parameters
    ----------
    pipe
        The descriptor of who draws a bar; None writes lines.
    clock
        Seconds.
    """

    def __init__(self, pipe: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._pipe = pipe
        self._clock = clock
        self._paces = Paces(clock)
        self._told = clock()

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Teller:
        """As who started this host wants it; nobody whom it starts is told of the pipe."""
        descriptor = environ.pop(PIPE_VARIABLE, None)
        return cls(int(descriptor) if descriptor else None)

    def look(self, positions: Mapping[int, Position]) -> None:
        """Take in where the ranks are; to be called every few seconds at least."""
        if self._pipe is not None:
            for rank, position in positions.items():
                with contextlib.suppress(OSError):  # nobody looks, or not fast enough
                    os.write(self._pipe, encode("at", rank=rank, position=position.to_json()))
            return
        last = slowest({rank: self._paces.of(rank, position) for rank, position in positions.items()})
        if last is not None and self._is_due(last[1]):
            self._told = self._clock()
            log.info("rank %d: %s", *last)

    def _is_due(self, pace: Pace) -> bool:
        wait = min(max(_SHORTEST, _GROWTH * pace.elapsed), _LONGEST)
        return pace.elapsed >= _SHORTEST and self._clock() - self._told >= wait


def _three_digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"  # noqa: PLR2004  # three digits


def _duration(seconds: float) -> str:
    if seconds < _MINUTES:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < _HOURS else f"{seconds / 3600:.1f} h"
