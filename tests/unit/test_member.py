"""`treering.member`: times of different clocks, and what a host's ranks could still save."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, cast

import pytest

from treering.frames import FrameError
from treering.member import Kept, Member, read, read_failure
from treering.progress import Position
from treering.vitals import Signs

if TYPE_CHECKING:
    from treering.frames import Connection

_SIGNS = Signs(0, 7, Position(4, "training"), 0.0, 0.0, reports=True, state="sleeping")


def _member() -> Member:
    return Member(cast("Connection", None))  # nothing is sent here


@pytest.mark.parametrize("ahead", [-1e6, 0.0, 1e6])
def test_times_of_another_clock_are_ours(ahead: float) -> None:
    """However far apart the clocks are; the message that took longest on its way misleads nobody."""
    member = _member()
    begin = time.monotonic()
    for delay in (0.5, 0.0, 2.0):
        member.take_beat(time.monotonic() - ahead - delay, [])
    end = time.monotonic()
    for at in (begin - 60.0, begin - 5.0):
        assert at - 1e-3 <= member.time_of(at - ahead) <= at + (end - begin) + 1e-3


def test_nothing_happens_in_the_future() -> None:
    """A cause cannot be younger than its report, and without a heartbeat its report is all there is."""
    member = _member()
    begin = time.monotonic()
    assert begin <= member.time_of(5.0) <= time.monotonic()
    member.take_beat(0.0, [])
    assert begin <= member.time_of(1e9) <= time.monotonic()


def test_ranks_can_save_in_the_rounds_and_behind_them() -> None:
    """All of a host's, and only while they are known to be there; a host that is through need not."""
    member = _member()
    assert not member.can_save
    for phases, expected in (
        (["training", "training"], True),
        (["saving", "training"], True),
        (["training", "matrix"], False),
        ([""], False),
    ):
        signs = [dataclasses.replace(_SIGNS, position=Position(1, phase)) for phase in phases]
        member.take_beat(0.0, [each.to_json() for each in signs])
        assert member.signs == signs
        assert member.can_save == expected
    member.done = True
    assert member.can_save


@pytest.mark.parametrize("rank", [None, {}, 5, [], {"rank": 0}, {**_SIGNS.to_json(), "position": None}])
def test_a_beat_that_makes_no_sense_is_a_frame_error(rank: object) -> None:
    """The error that ends a connection, and not the first host."""
    with pytest.raises(FrameError):
        _member().take_beat(0.0, [rank])


@pytest.mark.parametrize("value", [5, "", [], {}, {"sentence": ""}])
def test_garbage_is_neither_a_failure_nor_kept(value: object) -> None:
    """Both are read from messages, where anything may stand."""
    with pytest.raises(FrameError):
        read_failure(value)
    with pytest.raises(FrameError):
        read(Kept.from_json, value)


def test_what_is_kept_travels() -> None:
    """Nothing kept is nothing read."""
    kept = Kept("round 3 is kept", saved_model=True)
    assert Kept.from_json(kept.to_json()) == kept
    assert Kept.from_json(None) is None
