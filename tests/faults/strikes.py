"""Faults from outside: each waits until the job has come as far as it should, then breaks one host.

A fault that takes place at a moment that is over in milliseconds is held there by stopping a rank, which
is continued (or gone) long before anybody could call it stopped.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Literal

import psutil

from .containers import Container, docker
from .misconduct import MARKER

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

    from .host import Host
    from .lab import Lab
    from .network import Direction

    type Strike = Callable[[Lab, Host], None]

type Phase = Literal["rendezvous", "loading", "cuts", "round 5", "last barrier"]

LAST_ROUND = 9  # of the job whose last barrier is struck
# What the first host has printed when a phase begins, and what it must not have printed yet.
_BEGINS = {
    "rendezvous": ("hosts have joined", "the ring is formed"),
    "loading": ("the ring is formed", "Train matrix has"),
    "cuts": ("Train matrix has", "[0]\t"),
    "round 5": ("[5]\t", None),
}


def during(phase: Phase, act: Strike) -> Strike:
    """Have `act` break the culprit in a phase; AssertionError when the phase was missed."""

    def strike(lab: Lab, culprit: Host) -> None:
        if phase == "last barrier":
            with _last_barrier(lab):
                lab.strike()
                act(lab, culprit)
            return
        begin, end = _BEGINS[phase]
        lab.until_said(lab.first, begin)
        lab.strike()
        act(lab, culprit)
        assert end is None or end not in lab.first.log, f"{phase} was over before the fault:\n{lab.first.log}"

    return strike


@contextlib.contextmanager
def _last_barrier(lab: Lab) -> Iterator[None]:
    """Rank 0 has written the model and waits for the last rank, which is stopped on its way there."""
    last = lab.hosts[lab.names[-1]]
    last.ranks()  # looked for while there is time
    lab.until_said(lab.first, f"[{LAST_ROUND}]\t")
    with _held(last):
        lab.until((lab.first.base / "model" / "xgboost-model").exists, "the model is written")
        yield


@contextlib.contextmanager
def _held(host: Host) -> Iterator[None]:
    """Keep the ranks of a host where they are."""
    ranks = host.ranks()
    for rank in ranks:
        rank.suspend()
    try:
        yield
    finally:
        for rank in ranks:
            with contextlib.suppress(psutil.NoSuchProcess):
                rank.resume()


# --- what is done to the culprit ---


def send(number: signal.Signals, to: Literal["rank", "supervisor"]) -> Strike:
    """A signal."""

    def act(_: Lab, culprit: Host) -> None:
        for process in culprit.ranks() if to == "rank" else [culprit.supervisor]:
            process.send_signal(number)

    return act


def leave(lab: Lab, culprit: Host) -> None:
    """All processes of the host are gone at once, as those of a killed container are."""
    for process in [culprit.supervisor, *lab.processes(culprit)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def freeze(lab: Lab, culprit: Host) -> None:
    """All processes of the host are stopped, as those of a paused container are."""
    for process in lab.processes(culprit):
        process.suspend()


def thaw(lab: Lab, culprit: Host) -> None:
    """They go on, long after the others have ended."""
    for process in lab.processes(culprit):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends with its supervisor
            process.resume()


def cut(lab: Lab, culprit: Host) -> None:
    """Its link goes down."""
    assert lab.network is not None
    lab.network.cut(culprit.name)


def silence(direction: Direction) -> Strike:
    """Its packets of one direction are dropped."""

    def act(lab: Lab, culprit: Host) -> None:
        assert lab.network is not None
        lab.network.silence(culprit.name, direction)

    return act


def own_fault(lab: Lab, culprit: Host) -> None:
    """The culprit's rank program strikes by itself, and leaves the time."""
    marker = culprit.base / MARKER
    lab.until(marker.exists, f"{culprit.name} strikes")
    lab.struck = float(marker.read_text())


def nothing(lab: Lab, _: Host) -> None:
    """What breaks the job was there before it began."""
    lab.strike()


def until_last_round(lab: Lab, _: Host) -> None:
    """What breaks the job was there before, and is met behind the last round."""
    lab.until_said(lab.first, f"[{LAST_ROUND}]\t")
    lab.strike()


def deadline_over(seconds: float) -> Strike:
    """The others have waited for the culprit as long as they should."""

    def strike(lab: Lab, _: Host) -> None:
        lab.struck = time.monotonic() + seconds

    return strike


def start_late(lab: Lab, culprit: Host) -> None:
    """The culprit is started after the others have waited for it."""
    due = time.monotonic() + lab.pace.lateness
    lab.until(lambda: time.monotonic() > due, "the others have waited", seconds=lab.pace.lateness + 1)
    lab.strike()
    lab.start(culprit.name)


def starve(lab: Lab, culprit: Host) -> None:
    """Its ranks reach nobody any more; supervisors still hear each other."""
    assert lab.network is not None
    lab.network.starve(culprit.name, lab.port)


def docker_command(*command: str) -> Strike:
    """Something that Docker does to its container."""

    def act(_: Lab, culprit: Host) -> None:
        assert isinstance(culprit, Container)
        docker(*command, culprit.container)

    return act


def rank_gone(lab: Lab, culprit: Host) -> None:
    """The kernel strikes: nobody is told, so this looks for the end of the rank."""
    lab.until_said(culprit, "the ring is formed")
    (rank,) = culprit.ranks()
    lab.until(lambda: not rank.is_running() or rank.status() == psutil.STATUS_ZOMBIE, "the rank is killed")
    lab.strike()
