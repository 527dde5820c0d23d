"""`treering.stalls`: a job stalls when nothing moves anywhere, and the one that is behind is named."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering import stalls
from treering.errors import Kind
from treering.progress import RING, SCRIPT, Position
from treering.vitals import Signs

_TIMEOUT = 600.0
_STILL = Signs(0, 7, Position(4, "training", 12, 100, "rounds"), 601.0, 601.0, reports=True, state="sleeping")


def _rank(rank: int, done: int = 12, **changes: object) -> Signs:
    position = dataclasses.replace(_STILL.position, done=done)
    return dataclasses.replace(_STILL, rank=rank, position=position, **changes)  # type: ignore[arg-type]  # any field


@given(st.lists(st.floats(0, 2 * _TIMEOUT), min_size=1, max_size=5))
def test_one_rank_that_moves_is_enough(stills: list[float]) -> None:
    """Whatever the others do, there is a stall only when all have been still for longer."""
    signs = {f"algo-{rank + 1}": [_rank(rank, still=still)] for rank, still in enumerate(stills)}
    assert (stalls.find(signs, _TIMEOUT) is not None) == (min(stills) > _TIMEOUT)


def test_without_running_ranks_there_is_no_stall() -> None:
    """Hosts whose ranks are through have no signs of life left to judge."""
    assert stalls.find({}, _TIMEOUT) is None
    assert stalls.find({"algo-1": []}, _TIMEOUT) is None


def test_the_one_that_is_behind_is_named() -> None:
    """With its host, process, place, and for how long; the others with their places."""
    signs = {"algo-1": [_rank(0, 13)], "algo-2": [_rank(1)], "algo-3": [_rank(2, 13)]}
    found = stalls.find(signs, _TIMEOUT)
    assert found is not None
    assert (found.kind, found.host) == (Kind.STALLED, "algo-2")
    assert found.sentence == (
        "rank 1 (pid 7) has made no progress for 601 s: it is in training, 12 of 100 rounds; "
        "rank 0 (algo-1, in training, 13 of 100 rounds) and rank 2 (algo-3, in training, 13 of 100 rounds) "
        "are further and wait for it. See the last lines of its log; if this may take longer, raise "
        "stall_timeout=600 (0: wait for ever)"
    )


def test_an_earlier_phase_is_further_behind_than_any_count() -> None:
    """Phases come first; what was done within them second."""
    loading = dataclasses.replace(_STILL, rank=1, position=Position(1, "loading", 10**9, None, "bytes"))
    found = stalls.find({"algo-1": [_rank(0, 0)], "algo-2": [loading]}, _TIMEOUT)
    assert found is not None
    assert found.host == "algo-2"
    assert "it is in loading, 1,000.0 MB; rank 0 (algo-1, in training, 0 of 100 rounds) is" in found.sentence


def test_of_equals_the_one_that_waits_for_a_disk_is_named() -> None:
    """Who hangs in the kernel does not wait for the others."""
    signs = {"algo-1": [_rank(0)], "algo-2": [_rank(1, state="disk-sleep")], "algo-3": [_rank(2)]}
    found = stalls.find(signs, _TIMEOUT)
    assert found is not None
    assert found.host == "algo-2"
    assert (
        "waiting for a disk or a network drive, and so are rank 0 (algo-1) and rank 2 (algo-3). "
        in found.sentence
    )


def test_of_equals_who_waits_for_the_others_is_not_to_blame() -> None:
    """The one that did not come to where the others wait for it is named; when all wait, any of them may be."""
    waits = dataclasses.replace(_STILL.position, waits=True)
    first, third = (dataclasses.replace(_STILL, rank=rank, position=waits) for rank in (0, 2))
    found = stalls.find({"algo-1": [first], "algo-2": [_rank(1)], "algo-3": [third]}, _TIMEOUT)
    assert found is not None
    assert found.host == "algo-2"
    assert "12 of 100 rounds; rank 0 (algo-1) and rank 2 (algo-3) wait for it. See the last" in found.sentence
    found = stalls.find({"algo-1": [first], "algo-3": [third]}, _TIMEOUT)
    assert found is not None
    assert found.host == "algo-1"


def test_many_ranks_are_not_listed_one_by_one() -> None:
    """The sentence stays one that fits into FailureReason."""
    signs = {f"algo-{rank + 1}": [_rank(rank, 13 if rank else 12)] for rank in range(200)}
    found = stalls.find(signs, _TIMEOUT)
    assert found is not None
    assert "rank 4 (algo-5, in training, 13 of 100 rounds) and 195 more are further" in found.sentence
    assert len(found.sentence) < 600


def test_ranks_that_do_not_find_each_other_may_be_kept_apart_by_a_stranger() -> None:
    """Silent ports of XGBoost are told as such: only there can anyone else be connected."""
    apart = dataclasses.replace(_STILL, position=Position(5, RING))
    found = stalls.find({"algo-1": [apart], "algo-2": [dataclasses.replace(apart, rank=1)]}, _TIMEOUT)
    assert found is not None
    assert found.sentence.startswith(
        "rank 0 (pid 7) has made no progress for 601 s: it is in connecting XGBoost's ring, and so is rank 1 (algo-2): "
        "they may wait for each other because something between the hosts drops their traffic (a firewall?), or because "
        "something that is none of them is connected to XGBoost's ports (a port scanner?). See the last"
    )


def test_a_program_that_never_says_where_it_is_has_no_place() -> None:
    """A user's own program may report nothing: then the sentence does not invent anything."""
    silent = dataclasses.replace(_STILL, position=Position(), reports=False)
    found = stalls.find({"algo-1": [silent], "algo-2": [dataclasses.replace(silent, rank=1)]}, _TIMEOUT)
    assert found is not None
    assert found.sentence.startswith(
        "rank 0 (pid 7) has made no progress for 601 s, and so is rank 1 (algo-2): they may wait for each other "
        "because something between the hosts drops their traffic (a firewall?). See the last"
    )


@pytest.mark.parametrize(
    ("silent", "reports", "stalled"),
    [(6.1, True, True), (5.9, True, False), (1000.0, False, False)],
)
def test_computing_alone_is_no_progress_for_ever(*, silent: float, reports: bool, stalled: bool) -> None:
    """A rank that has reported before loops endlessly, it seems; one that never reports may just compute."""
    loops = _rank(1, still=0.0, silent=silent * _TIMEOUT, reports=reports)
    found = stalls.find({"algo-1": [_rank(0)], "algo-2": [loops]}, _TIMEOUT)
    assert (found is not None) == stalled
    if found is not None:
        assert found.host == "algo-2"
        assert "rank 1 (pid 7) has computed for 3660 s without reporting any progress" in found.sentence


@given(st.builds(Signs, *[st.integers(0, 2**31)] * 2, st.just(Position(1, "a")), *[st.floats(0)] * 2,
                 st.booleans(), st.text()))  # fmt: skip
def test_signs_travel(signs: Signs) -> None:
    """What one host writes as JSON another one reads as the same signs."""
    assert Signs.from_json(json.loads(json.dumps(signs.to_json()))) == signs


@pytest.mark.parametrize("phase", [SCRIPT, "training"])
def test_a_script_may_compute_for_ever(phase: str) -> None:
    """What a user's own code is about nobody knows; a phase of ours that tells nothing more is an endless loop."""
    position = dataclasses.replace(_STILL.position, phase=phase)
    computes = dataclasses.replace(_STILL, position=position, still=0.0, silent=1e9)
    found = stalls.find({"algo-1": [computes]}, _TIMEOUT)
    assert (found is None) == (phase == SCRIPT)
    rests = dataclasses.replace(computes, still=601.0)
    assert stalls.find({"algo-1": [rests]}, _TIMEOUT) is not None
