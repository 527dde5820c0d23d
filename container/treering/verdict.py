"""Which of several failures is the cause: nearest kind first, then the earliest."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from treering.errors import Failure, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from treering.settings import Settings

_SETTLE = 0.3  # seconds in which a nearer cause may still overtake the first one heard of
_MENTIONED = 8  # other failures that the details list
# What follows when some hosts are gone before others know that the job is being stopped.
_AFTER_STOP: Final = frozenset({Kind.DIED, Kind.CRASHED, Kind.LOST, Kind.STALLED, Kind.RING, Kind.PEER})


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """A failure, and when it happened, in seconds on the first host's clock."""

    failure: Failure
    at: float


def patience(latest: Failure, causes: Sequence[Cause], hosts: Collection[str], settings: Settings) -> float:
    """Seconds to wait for a nearer cause after `latest`, one of `causes`, has come in.

    An echo ("MPI lost contact") says that somebody is gone, not who: it waits until silence would have
    betrayed the culprit, unless every host has spoken and nobody can be silent.
    """
    if latest.kind is Kind.PEER and {cause.failure.host for cause in causes} < set(hosts):
        return _SETTLE + settings.lost_timeout + settings.heartbeat_interval
    return _SETTLE


def choose(causes: Sequence[Cause], stop: Failure | None = None) -> Failure:
    """The cause of all `causes`.

    Parameters
    ----------
    causes
        In any order; at least one.
    stop
        Who asked the job to stop, if somebody did: what breaks after that is told as part of it.
    """
    ordered = sorted(causes, key=lambda cause: (cause.failure.kind.rank_order, cause.at))
    first = ordered[0].failure
    others = [cause.failure.headline for cause in ordered[1:] if cause.failure.headline != first.headline]
    details = first.details
    if others:
        listed = "\n".join(f"- {headline}" for headline in dict.fromkeys(others[:_MENTIONED]))
        details = f"{details}\nAlso reported:\n{listed}".lstrip()
    if stop is not None and first.kind in _AFTER_STOP:
        sentence = f"{stop.sentence}; before it had ended everywhere, {first.headline}"
        return Failure(Kind.STOPPED, stop.host, sentence, details)
    return dataclasses.replace(first, details=details)
