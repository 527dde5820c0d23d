"""When a job has stalled, and which rank the others wait for: judged by the first host for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from treering.errors import Failure, Kind
from treering.progress import RING, SCRIPT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from treering.vitals import Signs

ALONE: Final = 6  # times stall_timeout that processor time alone counts as progress
_AT_MOST = 4  # ranks named one by one


def find(signs: Mapping[str, Sequence[Signs]], timeout: float) -> Failure | None:
    """What to blame when nothing has moved anywhere; None while something does.

    Parameters
    ----------
    signs
        Of every running rank, by host; ranks that ended well are left out.
    timeout
        Seconds without movement that are a stall. A rank that computes moves; but one that has told where
        it is before, and then only computes, is taken for an endless loop after `ALONE` times as long, but
        in a user's script.
    """
    ranks = [(host, each) for host, those in signs.items() for each in those]
    ranks.sort(key=lambda rank: rank[1].rank)  # hosts are here in the order in which they came
    if not ranks or any(_moves(each, timeout) for _, each in ranks):
        return None
    lowest = min(each.position.order for _, each in ranks)
    level = [(host, each) for host, each in ranks if each.position.order == lowest]
    behind = [rank for rank in level if not rank[1].position.waits] or level
    # Who computes does not wait for others, and who waits for a disk does not wait for them either.
    behind.sort(key=lambda rank: (rank[1].still > timeout, rank[1].state != "disk-sleep"))
    waiting = [rank for rank in level if rank not in behind]
    ahead = [rank for rank in ranks if rank not in level]
    host, worst = behind[0]
    return Failure(Kind.STALLED, host, _sentence(worst, behind[1:], waiting, ahead, timeout))


def _moves(signs: Signs, timeout: float) -> bool:
    is_ours = signs.reports and signs.position.phase != SCRIPT
    loops = is_ours and signs.silent > ALONE * timeout
    return signs.still <= timeout and not loops


def _sentence(
    worst: Signs,
    behind: Sequence[tuple[str, Signs]],
    waiting: Sequence[tuple[str, Signs]],
    ahead: Sequence[tuple[str, Signs]],
    timeout: float,
) -> str:
    if worst.still > timeout:
        what = f"has made no progress for {worst.still:.0f} s"
    else:
        what = f"has computed for {worst.silent:.0f} s without reporting any progress"
    where = f"rank {worst.rank} (pid {worst.pid}) {what}{_place(worst, ': it is in ')}"
    if worst.state == "disk-sleep":
        where += ", waiting for a disk or a network drive"
    others = f", and so {_be(behind)} {_names(behind)}" if behind else ""
    if waiting:
        others += f"; {_names(waiting)} wait{_s(waiting)} for it"
    if behind and worst.still > timeout and not waiting and not ahead and worst.state != "disk-sleep":
        others += ": they may wait for each other because something between the hosts drops their traffic (a firewall?)"
        if worst.position.phase == RING:
            others += ", or because something that is none of them is connected to XGBoost's ports (a port scanner?)"
    if ahead:
        others += f"; {_names(ahead, places=True)} {_be(ahead)} further and wait{_s(ahead)} for it"
    return (
        f"{where}{others}. See the last lines of its log; if this may take longer, raise "
        f"stall_timeout={timeout:g} (0: wait for ever)"
    )


def _names(ranks: Sequence[tuple[str, Signs]], *, places: bool = False) -> str:
    """Such as "rank 0 (algo-1) and rank 2 (algo-3, in training, 13 of 100 rounds)"."""
    named = [
        f"rank {each.rank} ({host}{_place(each, ', in ') if places else ''})"
        for host, each in ranks[:_AT_MOST]
    ]
    if len(ranks) > _AT_MOST:
        named.append(f"{len(ranks) - _AT_MOST} more")
    return " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))


def _place(signs: Signs, lead: str) -> str:
    """Where a rank is, behind `lead`; nothing for a program that never says."""
    return f"{lead}{signs.position}" if signs.reports else ""


def _be(ranks: Sequence[object]) -> str:
    return "is" if len(ranks) == 1 else "are"


def _s(ranks: Sequence[object]) -> str:
    return "s" if len(ranks) == 1 else ""
