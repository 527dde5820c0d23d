"""`treering.verdict`: the first cause wins, by its time, and an effect never hides it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from treering import verdict
from treering.errors import Failure, Kind
from treering.settings import Settings
from treering.verdict import Cause

_SETTINGS = Settings(lost_timeout=15.0, heartbeat_interval=2.0)


def _failure(kind: Kind, host: str = "algo-1") -> Failure:
    return Failure(kind, host, f"{kind} on {host}", "its traceback")


def test_the_nearest_kind_wins_whatever_came_first() -> None:
    """An echo is there milliseconds before its cause; in whatever order, the cause is chosen."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    kinds = list(Kind)
    random.Random(seed).shuffle(kinds)
    causes = [Cause(_failure(kind, f"algo-{number}"), float(number)) for number, kind in enumerate(kinds)]
    while len(causes) > 1:
        chosen = verdict.choose(causes)
        assert chosen.kind.rank_order == min(cause.failure.kind.rank_order for cause in causes)
        causes = [cause for cause in causes if cause.failure.kind.rank_order > chosen.kind.rank_order]


def test_of_equal_kinds_the_earliest_wins() -> None:
    """By when it happened, not by when it was heard of; a crash and an exception are equals."""
    late, early = Cause(_failure(Kind.INTERNAL), 2.0), Cause(_failure(Kind.CRASHED, "algo-2"), 1.0)
    assert verdict.choose([late, early]).host == "algo-2"
    assert verdict.choose([early, late]).host == "algo-2"


def test_what_else_was_reported_stands_in_the_details() -> None:
    """Behind the cause's own traceback, each sentence once, and not without bound."""
    causes = [Cause(_failure(Kind.DIED), 0.0)]
    causes += [Cause(_failure(Kind.PEER, f"algo-{number}"), 1.0) for number in (2, 3, 2)]
    assert verdict.choose(causes).details == (
        "its traceback\nAlso reported:\n- algo-2: peer on algo-2\n- algo-3: peer on algo-3"
    )
    many = [Cause(_failure(Kind.PEER, f"algo-{number}"), 1.0) for number in range(1000)]
    assert verdict.choose(many).details.count("\n") < 20
    assert verdict.choose(causes[:1]).details == "its traceback"


@pytest.mark.parametrize("kind", [Kind.DIED, Kind.CRASHED, Kind.LOST, Kind.STALLED, Kind.RING, Kind.PEER])
def test_what_breaks_after_a_stop_is_part_of_it(kind: Kind) -> None:
    """The platform kills what does not end in time: that is no failure of its own."""
    stop = Failure(Kind.STOPPED, "algo-3", "the job was stopped: algo-3 received SIGTERM")
    chosen = verdict.choose([Cause(_failure(kind), 0.0)], stop)
    assert (chosen.kind, chosen.host) == (Kind.STOPPED, "algo-3")
    assert chosen.sentence == (
        f"the job was stopped: algo-3 received SIGTERM; before it had ended everywhere, algo-1: {kind} on algo-1"
    )


@pytest.mark.parametrize("kind", [Kind.USER, Kind.PLATFORM, Kind.INTERNAL, Kind.STOPPED])
def test_an_error_is_told_though_the_job_was_stopped(kind: Kind) -> None:
    """A checkpoint that could not be written matters more than who asked for the stop."""
    stop = Failure(Kind.STOPPED, "algo-3", "the job was stopped")
    assert verdict.choose([Cause(_failure(kind), 0.0)], stop) == _failure(kind)


def test_an_echo_waits_for_its_cause() -> None:
    """Until silence would have betrayed a host, or every host has spoken; all else is decided at once."""
    hosts = ("algo-1", "algo-2")
    echo, other = _failure(Kind.PEER), _failure(Kind.PEER, "algo-2")
    alone = [Cause(echo, 0.0)]
    assert verdict.patience(echo, alone, hosts, _SETTINGS) > 17
    assert verdict.patience(other, [*alone, Cause(other, 0.0)], hosts, _SETTINGS) < 1
    died = _failure(Kind.DIED, "algo-2")
    assert verdict.patience(died, [*alone, Cause(died, 0.0)], hosts, _SETTINGS) < 1


def test_who_is_silent_is_lost() -> None:
    """Each host that was not heard for longer than allowed, and nobody before."""
    silences = {"algo-1": 0.0, "algo-2": 15.5, "algo-3": 1.0, "algo-4": 15.0}
    (failure,) = verdict.lost(silences, "algo-1", 15.0)
    assert (failure.kind, failure.host) == (Kind.LOST, "algo-2")
    assert failure.sentence.startswith("has been silent for 16 s: its container")
    assert verdict.lost(silences | {"algo-2": 15.0}, "algo-1", 15.0) == []


def test_who_hears_nobody_is_at_fault() -> None:
    """Of three hosts or more the one that hears none of the others; of two, nobody can tell."""
    (failure,) = verdict.lost({"algo-1": 0.0, "algo-2": 15.5, "algo-3": 13.6}, "algo-1", 15.0)
    assert (failure.kind, failure.host) == (Kind.LOST, "algo-1")
    assert failure.sentence.startswith("all other hosts have been silent for 16 s: it was cut off")
    (failure,) = verdict.lost({"algo-1": 0.0, "algo-2": 15.5}, "algo-1", 15.0)
    assert failure.host == "algo-2"
