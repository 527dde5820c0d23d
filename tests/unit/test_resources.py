"""`treering.resources`: the cores a container may use, not those of the machine it is on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from treering.resources import cores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cgroups and affinities are Linux's")


@pytest.fixture
def allowed() -> Iterator[int]:
    """Cores of this process's affinity, which the test may narrow."""
    before = os.sched_getaffinity(0)
    yield len(before)
    os.sched_setaffinity(0, before)


def _v2(folder: Path, content: str) -> Path:
    (folder / "cpu.max").write_text(content)
    return folder


def _v1(folder: Path, quota: str, period: str | None) -> Path:
    (folder / "cpu").mkdir()
    (folder / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    if period is not None:
        (folder / "cpu" / "cpu.cfs_period_us").write_text(period)
    return folder


@pytest.mark.parametrize(
    ("quota", "period", "granted"),
    [
        (100_000, 100_000, 1),
        (200_000, 100_000, 2),
        (150_000, 100_000, 1),
        (199_999, 100_000, 1),
        (50_000, 100_000, 1),
        (1_000, 100_000, 1),
        (25_000, 10_000, 2),
        (6_400_000, 100_000, 64),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_the_quota_counts_in_whole_cores(
    tmp_path: Path, allowed: int, version: int, quota: int, period: int, granted: int
) -> None:
    """``--cpus 1.5`` is one core that is always busy; less than one is one; the affinity stays the limit."""
    if version == 1:
        folder = _v1(tmp_path, f"{quota}\n", f"{period}\n")
    else:
        folder = _v2(tmp_path, f"{quota} {period}\n")
    assert cores(folder) == min(granted, allowed)


@pytest.mark.parametrize("content", ["max 100000\n", "max\n", "", "something else entirely\n"])
def test_cgroup_v2_without_a_limit_grants_all(tmp_path: Path, allowed: int, content: str) -> None:
    """``max`` is no limit, and neither is a file that says nothing."""
    assert cores(_v2(tmp_path, content)) == allowed


@pytest.mark.parametrize(("quota", "period"), [("-1\n", "100000\n"), ("100000\n", None), ("", "")])
def test_cgroup_v1_without_a_limit_grants_all(
    tmp_path: Path, allowed: int, quota: str, period: str | None
) -> None:
    """-1 is no limit, and neither is half of the files or an empty one."""
    assert cores(_v1(tmp_path, quota, period)) == allowed


def test_without_cgroups_the_affinity_counts(tmp_path: Path, allowed: int) -> None:
    """No file, no limit."""
    assert cores(tmp_path) == cores(tmp_path / "missing") == allowed


def test_a_narrower_affinity_counts(tmp_path: Path, allowed: int) -> None:
    """A process pinned to one core uses one, however much the cgroup grants."""
    assert allowed >= 1
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    assert cores(tmp_path) == 1
    assert cores(_v2(tmp_path, "6400000 100000\n")) == 1


def test_this_process_may_use_at_least_one_core(allowed: int) -> None:
    """The real files of this machine are understood."""
    assert 1 <= cores() <= allowed
