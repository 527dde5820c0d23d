"""Work on rows is spread over threads, and threads over cores."""

from __future__ import annotations

import os
import threading

import pytest

from treering.metrics.blocks import Blocks

_CORES = os.sched_getaffinity(0)

several_cores = pytest.mark.skipif(len(_CORES) < 2, reason="a single core has nothing to spread over")


def _cores_of_threads(count: int) -> list[set[int]]:
    """Where each of so many threads may run."""
    all_are_there = threading.Barrier(count)

    def cores(_: int) -> set[int]:
        all_are_there.wait()  # no thread takes two of the items
        return os.sched_getaffinity(0)

    return Blocks(count).each(cores, list(range(count)))


@several_cores
def test_each_thread_has_a_core_of_its_own() -> None:
    """As many threads as cores share none, and the thread that waits for them keeps all."""
    found = _cores_of_threads(len(_CORES))
    assert all(len(cores) == 1 for cores in found)
    assert set.union(*found) == _CORES
    assert os.sched_getaffinity(0) == _CORES


def test_threads_stay_free_where_there_are_more_or_fewer_cores() -> None:
    """Threads of several ranks on one host do not crowd on the first cores."""
    assert _cores_of_threads(len(_CORES) + 1) == [_CORES] * (len(_CORES) + 1)


@several_cores
def test_a_sandbox_that_forbids_to_choose_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads then run anywhere."""

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert _cores_of_threads(len(_CORES)) == [_CORES] * len(_CORES)
