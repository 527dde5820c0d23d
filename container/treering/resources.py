"""What this host may use: the cores and interfaces that are really there."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = _CGROUP) -> int:
    """Whole cores this process may keep busy: its affinity, cut by the cgroup's quota (v1 or v2)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(float(allowed), _quota(cgroup))))


def _quota(cgroup: Path) -> float:
    """CPU seconds a second that the cgroup grants; infinite where it sets no limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return math.inf
    try:
        granted = float(quota) / float(period)
    except ValueError:  # v2 says "max"
        return math.inf
    return granted if granted > 0 else math.inf  # v1 says -1
