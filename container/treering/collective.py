"""XGBoost's own ring over the ranks of the MPI world: it carries the gradient histograms.

The stock wheel has no hook by which MPI could carry them. The ring is formed over MPI: rank 0 opens
XGBoost's tracker, MPI tells the others where it is, and XGBoost's rank is checked against MPI's.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
from typing import TYPE_CHECKING, Final

import psutil
from xgboost import collective
from xgboost.core import XGBoostError
from xgboost.tracker import RabitTracker

from treering.errors import RingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from treering.world import World

_PATIENCE = 7 * 24 * 3600  # seconds: the supervisors' heartbeats decide who is lost, not XGBoost's clock

_CLOSING = 10  # seconds for the tracker to see all ranks leave
# Trackers that somebody may still be connected to: let go, they would print an exception of their own, over the one
# that ended the work.
_OPEN: Final[list[RabitTracker]] = []

log = logging.getLogger(__name__)


@contextlib.contextmanager
def communicator(world: World, address: str) -> Iterator[None]:
    """Have XGBoost add its histograms over all ranks of `world`; a world of one needs nothing.

    Parameters
    ----------
    world
        All ranks; each calls with the same intention, and all leave.
    address
        This host's IPv4 address in the job's network; rank 0's tracker listens there and nowhere else.

    Notes
    -----
    An exception inside goes out unchanged: leaving XGBoost's ring could replace or delay it, and the
    process ends anyway. A ring that cannot be left after good work is only logged.
    """
    if world.size == 1:
        yield
        return
    tracker = None
    if world.rank == 0:
        tracker = RabitTracker(n_workers=world.size, host_ip=address, sortby="task", timeout=_PATIENCE)
        _OPEN.append(tracker)
        tracker.start()
    where: dict[str, str | int] = world.broadcast(tracker.worker_args() if tracker else None)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints "Task 000000 got rank 0"
            # Task ids are compared as strings.
            collective.init(**where, dmlc_task_id=f"{world.rank:06d}", dmlc_timeout=_PATIENCE)
    except XGBoostError as error:
        log.info("XGBoost's own words: %s", error)
        raise RingError(
            "XGBoost's connections between the hosts could not be made; if no host ended before, something that is "
            "none of them connected to its ports: let only the job's own hosts reach each other"
        ) from error
    if collective.get_rank() != world.rank:
        raise RingError(f"XGBoost calls rank {world.rank} of MPI {collective.get_rank()}")
    yield
    world.barrier()
    if tracker is not None:
        _send_strangers_away(int(where["dmlc_tracker_port"]))
    world.barrier()
    try:
        collective.finalize()
        if tracker is not None:
            tracker.wait_for(_CLOSING)
            _OPEN.remove(tracker)
    except Exception:  # whatever it is, the work is done and kept
        log.warning("XGBoost's ring could not be closed in an orderly way", exc_info=True)


def _send_strangers_away(port: int) -> None:
    """Close what is connected to the tracker, which is none of the ranks: they come once when they join, and leave.

    The tracker waits for ever for the word of whoever connects, and would not hear that the ranks are through.
    """
    for each in psutil.Process().net_connections("tcp"):
        if each.raddr and each.laddr.port == port:
            with (
                socket.socket(fileno=os.dup(each.fd)) as guest,
                contextlib.suppress(OSError),
            ):  # gone by itself
                guest.shutdown(socket.SHUT_RDWR)
