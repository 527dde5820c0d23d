"""What the first host knows about each host that has joined."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from treering.errors import Failure
from treering.frames import FrameError
from treering.progress import SAVES_WHEN_STOPPED
from treering.vitals import Signs

if TYPE_CHECKING:
    from collections.abc import Callable

    from treering.frames import Connection

_DRIFT = 1e-4  # how much slower than ours another host's clock may run


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """What ranks kept when they stopped early, as a sentence, and whether the model is part of it."""

    sentence: str
    saved_model: bool

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Kept | None:
        """Read a JSON object, or None; raises KeyError or TypeError on anything else."""
        return None if value is None else cls(str(value["sentence"]), bool(value["saved_model"]))


@dataclasses.dataclass(slots=True)
class Member:
    """A host that has joined."""

    connection: Connection
    heard: float = dataclasses.field(default_factory=time.monotonic)  # seconds of its last message
    done: bool = False
    gone: bool = False
    pairs: dict[str, str] | None = None  # what it brought to the current fence
    signs: list[Signs] = dataclasses.field(default_factory=list)  # of its running ranks
    kept: Kept | None = None
    clock: tuple[float, float] | None = None  # a time of its own, and by how much our clock is ahead

    @property
    def can_save(self) -> bool:
        """Whether its ranks have something to save if they are asked to stop, or are through."""
        return self.done or bool(
            self.signs and all(each.position.phase in SAVES_WHEN_STOPPED for each in self.signs)
        )

    def take_beat(self, at: float, ranks: list[Any]) -> None:
        """A heartbeat, sent at `at` on the host's clock; raises FrameError when it makes no sense."""
        self.signs = [read(Signs.from_json, rank) for rank in ranks]
        ahead = time.monotonic() - at  # and the time the message took: the quickest one says most
        if self.clock is not None:
            last, least = self.clock
            ahead = min(ahead, least + _DRIFT * (at - last))
        self.clock = at, ahead

    def time_of(self, at: float) -> float:
        """A time on the host's clock as one on ours, never in the future."""
        now = time.monotonic()
        return now if self.clock is None else min(now, at + self.clock[1])


def read_failure(value: object) -> Failure:
    """A failure out of a message; raises FrameError when it is none."""
    return read(Failure.from_json, value)


def read[T](parse: Callable[[Any], T], value: object) -> T:
    """`parse` a part of a message; raises FrameError where it cannot be."""
    try:
        return parse(value)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"not what was expected: {error!r}") from error
