"""Rank programs of the tests' own, and how a test waits for what they do."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ring

MEET = "from treering.world import World; world = World(); world.barrier(); "
FOREVER = "import signal; signal.pause()"
PATIENT = {"TREERING_HEARTBEAT_INTERVAL": "0.2", "TREERING_LOST_TIMEOUT": "3"}


def program(text: str) -> list[str]:
    """Command that runs `text` as a rank."""
    return [sys.executable, "-c", text]


def announce(marker: str) -> str:
    """Program text by which a rank writes its pid into its host's tree."""
    return (
        f"import os, pathlib; p = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'], {marker!r}); "
        "t = p.with_suffix('.part'); t.write_text(str(os.getpid())); t.rename(p); "
    )


def rank_pid(ring: Ring, host: str, marker: str) -> int:
    """Pid that the rank on `host` wrote to the file called `marker` in its tree."""
    path = ring.hosts[host].base / marker
    until(lambda: path.exists() and path.read_text(), f"{host} writes {marker}")
    return int(path.read_text())


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for a condition that another process brings about; fail when it never comes."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def is_root() -> bool:
    """Whether this test may make cgroups."""
    return os.getuid() == 0
