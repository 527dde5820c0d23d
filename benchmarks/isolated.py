"""Jobs whose hosts have a network namespace each: what they are given, and what is seen of them from outside.

Needs root on Linux, and the tests' folder on the path.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final, Self

from faults.lab import Lab, Pace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PATIENCE: Final = 1800.0  # seconds for one job
TRAIN: Final = (sys.executable, "-m", "treering", "train")


def lab(folder: Path, hosts: int, command: Sequence[str] = TRAIN, rate: str | None = None) -> Lab:
    """Hosts that run a command, one thread each, once they are started."""
    return _Shaped(folder, hosts, command, rate)


class _Shaped(Lab):
    """A lab whose links let no more than `rate` through, such as ``100mbit``."""

    def __init__(self, folder: Path, hosts: int, command: Sequence[str], rate: str | None) -> None:
        super().__init__(folder, hosts, command, Pace({}, 0.0, PATIENCE), environ={}, isolated=True)
        self._rate = rate

    def __enter__(self) -> Self:
        super().__enter__()
        if self._rate is not None and self.network is not None:
            for name in self.names:
                self.network.limit(name, self._rate)
        return self


def configure(
    base: Path, content_type: str, channels: Mapping[str, tuple[Path, str]], given: Mapping[str, str]
) -> None:
    """A host's files: its channels, each a folder and how it is distributed, and the hyperparameters."""
    config, inputs = base / "input" / "config", base / "input" / "data"
    inputs.mkdir()
    described = {}
    for name, (folder, distribution) in channels.items():
        (inputs / name).symlink_to(folder)
        described[name] = {"ContentType": content_type, "S3DistributionType": distribution}
    (config / "inputdataconfig.json").write_text(json.dumps(described))
    (config / "hyperparameters.json").write_text(json.dumps(dict(given)))


def ended(hosts: Lab) -> bool:
    """Whether all hosts have."""
    return all(host.exit_code() is not None for host in hosts.hosts.values())


def sent(hosts: Lab) -> int:
    """Bytes that all hosts together have sent, headers included."""
    return sum(hosts.network.sent(name) for name in hosts.names) if hosts.network else 0
