"""Who is at fault: which of several failures is the cause, and who is lost when nobody says anything."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from treering.errors import Failure, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

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


def lost(silences: Mapping[str, float], first: str, allowed: float) -> list[Failure]:
    """What to say of hosts that the first one has not heard for too long; nothing while all is well.

    Parameters
    ----------
    silences
        Seconds since each host's last message, of all that are connected.
    first
        The host that hears them, itself among them.
    allowed
        Seconds after which a host counts as lost.
    """
    late = [host for host, silent in silences.items() if silent > allowed]
    others = [silent for host, silent in silences.items() if host != first]
    # Their messages come at different times, so one of them is the first to be missed. Of two hosts nobody can tell.
    if late and len(others) > 1 and min(others) > allowed / 2:
        sentence = (
            f"all other hosts have been silent for {max(others):.0f} s: it was cut off from the network, or all of them "
            f"were; see the end of {first}'s log"
        )
        return [Failure(Kind.LOST, first, sentence)]
    return [
        Failure(
            Kind.LOST,
            host,
            f"has been silent for {silences[host]:.0f} s: its container or machine was stopped or paused, it was cut off "
            f"from the network, or it is overloaded; see the end of {host}'s log",
        )
        for host in late
    ]


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
