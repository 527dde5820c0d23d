"""`treering.memory_plan`: the first way that fits is taken, and none is taken that does not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from treering.errors import UserError
from treering.memory import Room
from treering.memory_plan import Demand, Plan, Way, decide, require_room_for_rows
from treering.sizing import Extent

_DEMAND = Demand(max_bin=256, outputs=1, nodes=80)
_EXTENT = Extent(4_000_000, 100, 400_000_000, is_sparse=False)  # 1.5 GiB as float32
_DISK = 1 << 50


def _decide(size: int, demand: Demand = _DEMAND, disk: int = _DISK, *, is_known: bool = True) -> Plan:
    return decide(Room(size, "so they say"), [_EXTENT], demand, disk, is_known=is_known)


def _ways(demand: Demand, disk: int = _DISK) -> list[Way]:
    """What is chosen from plenty of room down to none at all."""
    found: list[Way] = []
    for size in np.geomspace(1 << 40, 1 << 20, 300).astype(int).tolist():
        try:
            plan = _decide(size, demand, disk)
        except UserError:
            break
        assert plan.peak <= size
        assert plan.disk <= disk
        assert plan.kept <= size
        if plan.way not in found[-1:]:
            found.append(plan.way)
    return found


def test_less_memory_means_more_disk() -> None:
    """From memory to columns on disk to external memory, and no way back."""
    assert _ways(_DEMAND) == [Way.MEMORY, Way.COLUMNS_ON_DISK, Way.EXTERNAL]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"external": True}, [Way.EXTERNAL]),
        ({"external": False}, [Way.MEMORY, Way.COLUMNS_ON_DISK]),
        ({"as_they_are": True}, [Way.MEMORY]),
    ],
)
def test_what_the_job_says_is_obeyed(change: dict[str, bool], expected: list[Way]) -> None:
    """`external_memory` decides where it is given, and what XGBoost cannot read from disk stays in memory."""
    assert _ways(dataclasses.replace(_DEMAND, **change)) == expected


def test_a_full_disk_takes_nothing() -> None:
    """Without room on disk there is only memory."""
    assert _ways(_DEMAND, disk=1 << 20) == [Way.MEMORY]


def test_reading_has_its_part() -> None:
    """Threads that read side by side take a quarter of the room, one takes what it needs, and rows make way for it."""
    demand = dataclasses.replace(_DEMAND, threads=16)
    room = 8 << 30

    def plan(working: int) -> Plan:
        extent = dataclasses.replace(_EXTENT, working=working, largest="a.parquet")
        return decide(Room(room, "so they say"), [extent], demand, _DISK, is_known=False)

    assert plan(0).reading == 0
    assert plan(1 << 20).reading == 16 << 20
    assert plan(1 << 29).reading == 4 << 29
    large = plan(6 << 30)
    assert large.reading == 6 << 30
    assert large.kept <= room - large.reading < plan(0).kept
    with pytest.raises(
        UserError,
        match=r"reading a\.parquet takes about 8\.0 GiB at once.+7\.9 GiB are left.+fewer rows in each row",
    ):
        plan(8 << 30)


def test_a_refusal_has_numbers_and_advice() -> None:
    """What is needed, what is left and why, and what to do: about memory or about the disk."""
    with pytest.raises(
        UserError, match=r"needs about .+ MiB .+ and 50 MiB are left .+so they say.+more hosts"
    ):
        _decide(50 << 20)
    with pytest.raises(
        UserError, match=r"on disk they need about .+ GiB, of which 1 MiB are free.+scratch_folder"
    ):
        _decide(1 << 30, disk=1 << 20)


def test_rows_that_can_never_be_trained_on_end_the_job_while_they_are_read() -> None:
    """With room for half as much again, since others may let go of memory; outputs count."""
    room = Room(1 << 30, "so they say")
    require_room_for_rows(room, 14_000_000, _DEMAND)
    for rows, demand in ((16_000_000, _DEMAND), (14_000_000, dataclasses.replace(_DEMAND, outputs=2))):
        with pytest.raises(
            UserError,
            match=rf"memory: {rows:,} rows are more .+ 1\.\d GiB, and 1\.0 GiB are left \(so they say\)",
        ):
            require_room_for_rows(room, rows, demand)


def test_who_has_too_many_categories_is_told_so() -> None:
    """More hosts would not help: each has all histograms."""
    extent = Extent(1000, 5, 5000, is_sparse=False, categories=10**6, widest=10**6)
    with pytest.raises(
        UserError, match=r"; histograms alone take 1\.2 GiB: lower max_depth .+ many categories"
    ):
        decide(Room(1 << 30, ""), [extent], _DEMAND, _DISK, is_known=True)


def test_an_estimate_may_be_wrong() -> None:
    """Rows that were not read yet end a job only when they are far beyond what is there."""
    least = min(size for size in range(100 << 20, 1 << 30, 1 << 20) if _fits(size, is_known=True))
    assert _fits(least * 4 // 5, is_known=False)
    assert not _fits(least * 4 // 5, is_known=True)
    assert not _fits(least // 2, is_known=False)


def _fits(size: int, *, is_known: bool) -> bool:
    try:
        _decide(size, is_known=is_known)
    except UserError:
        return False
    return True


def test_histograms_have_no_more_bins_than_values_nor_nodes_than_rows() -> None:
    """A few rows with 100,000 columns, and trees of any depth on a few rows, fit into very little."""
    wide = Extent(200, 100_000, 800, is_sparse=True)
    deep = dataclasses.replace(_DEMAND, nodes=1 << 16)
    narrow = Extent(1_000, 60, 60_000, is_sparse=False)
    for extent, demand, size in ((wide, _DEMAND, 1 << 30), (narrow, deep, 1 << 30)):
        for ranks in (1, 2):
            asked = dataclasses.replace(demand, ranks=ranks)
            assert decide(Room(size, ""), [extent], asked, _DISK, is_known=True).way is Way.MEMORY
    alone, shared = (
        decide(Room(1 << 45, ""), [wide], dataclasses.replace(_DEMAND, ranks=n), _DISK, is_known=True).peak
        for n in (1, 64)
    )
    assert shared > alone  # other ranks have values of their own, which all ranks have bins for


def test_more_of_anything_takes_more() -> None:
    """Rows, columns, missing values, outputs, bins and nodes all cost memory."""
    room = Room(1 << 45, "")
    base = decide(room, [_EXTENT], _DEMAND, _DISK, is_known=True).peak
    extents = (
        dataclasses.replace(_EXTENT, rows=8_000_000, values=800_000_000),
        dataclasses.replace(_EXTENT, columns=200, values=800_000_000),
        dataclasses.replace(_EXTENT, values=_EXTENT.values - 1),
    )
    for extent in extents:
        assert decide(room, [extent], _DEMAND, _DISK, is_known=True).peak > base
    assert decide(room, [_EXTENT] * 2, _DEMAND, _DISK, is_known=True).peak > base
    for extent in (
        dataclasses.replace(_EXTENT, categories=10**6),
        dataclasses.replace(_EXTENT, widest=257),
        dataclasses.replace(_EXTENT, widest=65_537),
    ):
        assert decide(room, [extent], _DEMAND, _DISK, is_known=True).peak > base
    for demand in (Demand(256, 30, 80), Demand(1024, 1, 80), Demand(256, 1, 50_000)):
        assert decide(room, [_EXTENT], demand, _DISK, is_known=True).peak > base


def test_rows_that_are_only_scored_take_more_unbinned() -> None:
    """With values missing, a second channel asks for more memory than its bins; where that is too much, disk is next."""
    gaps = dataclasses.replace(_EXTENT, values=_EXTENT.values * 9 // 10)

    def plan(size: int, *extents: Extent) -> Plan:
        return decide(Room(size, "so they say"), extents, _DEMAND, _DISK, is_known=True)

    alone, both = plan(1 << 40, gaps), plan(1 << 40, gaps, gaps)
    assert alone.way is both.way is Way.MEMORY
    assert both.peak - alone.peak == gaps.features + 8 * (gaps.values + gaps.rows)
    assert plan(both.peak - 1, gaps, gaps).way is Way.COLUMNS_ON_DISK
