"""Hosts to break: real supervisors over real ranks, each host in a network of its own where root allows it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import time
from typing import TYPE_CHECKING, Self

import psutil

from .host import Host, processes_below
from .network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_LATER_ROUNDS = re.compile(r"^\[\d{2,}\]\t.*\n", re.MULTILINE)
_POLL = 0.005  # seconds between two looks at a condition
_PATIENCE = 60.0  # seconds until a condition that never holds fails the test


@dataclasses.dataclass(frozen=True)
class Pace:
    """How fast things happen.

    Parameters
    ----------
    environ
        The product's own clocks.
    lateness
        Seconds by which a late host is late.
    cap
        Seconds after the fault until the job counts as hanging.
    """

    environ: Mapping[str, str]
    lateness: float
    cap: float


class Lab:
    """The hosts of one job. Use as a context manager; nothing of it runs or is mounted afterwards.

    Parameters
    ----------
    folder
        Empty; holds every host's tree below its name.
    size
        How many hosts: ``algo-1``, ``algo-2``, ….
    command
        What each host runs.
    pace
        The clocks.
    environ
        Further variables of each host.
    isolated
        Each in a network namespace; else all of them on the loopback interface.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        command: Sequence[str],
        pace: Pace,
        *,
        environ: Mapping[str, str],
        isolated: bool,
    ) -> None:
        self.folder = folder
        self.pace = pace
        self._command = list(command)
        self._environ = {**pace.environ, **environ}
        self.names = [f"algo-{number + 1}" for number in range(size)]
        self.network = Network(self.names) if isolated else None
        self.struck = time.monotonic()  # when the fault happened, once it has
        self.stack = contextlib.ExitStack()  # what has to be undone at the end
        self.hosts = {name: self.make_host(name) for name in self.names}
        self.port = 7171
        if not isolated:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                self.port = probe.getsockname()[1]

    def __enter__(self) -> Self:
        if self.network is not None:
            self.stack.enter_context(self.network)
        for host in self.hosts.values():
            config = host.base / "input" / "config"
            config.mkdir(parents=True)
            (host.base / "tmp").mkdir()
            resources = {"current_host": host.name, "hosts": self.names, "network_interface_name": "eth0"}
            (config / "resourceconfig.json").write_text(json.dumps(resources))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        for host in self.hosts.values():
            host.kill()
        self.until(lambda: not self.processes(), "all processes have gone")
        self.stack.close()

    def make_host(self, name: str) -> Host:
        """A host of this lab that nothing has started yet."""
        return Host(name, self.folder / name)

    @property
    def first(self) -> Host:
        """The host that coordinates."""
        return self.hosts[self.names[0]]

    def address(self, host: str) -> str:
        """IPv4 address of a host."""
        return "127.0.0.1" if self.network is None else self.network.address(host)

    def start(self, name: str) -> None:
        """Start one host."""
        host = self.hosts[name]
        full = {
            **os.environ,
            "SAGEMAKER_BASE_DIR": str(host.base),
            "TMPDIR": str(host.base / "tmp"),
            "TREERING_ADDRESSES": ",".join(f"{each}={self.address(each)}" for each in self.names),
            "TREERING_PORT": str(self.port),
            "TREERING_THREADS_PER_HOST": "1",
            "OMP_WAIT_POLICY": "passive",
            "TRAINING_JOB_NAME": "faults",
            **self._environ,
        }
        entering = [] if self.network is None else self.network.entering(name)
        host.run([*entering, *self._command], full)

    def strike(self) -> None:
        """Note that the fault happens now."""
        self.struck = time.monotonic()

    def until(
        self, holds: Callable[[], object], what: str, seconds: float = _PATIENCE, pause: float = _POLL
    ) -> None:
        """Wait for something that other processes bring about; AssertionError when it never comes."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"never happened: {what}\n{self.logs()}"
            time.sleep(pause)

    def logs(self) -> str:
        """What all hosts printed, for messages; without the lines of later rounds."""
        told = (f"--- {host.name}\n{_LATER_ROUNDS.sub('', host.log)}" for host in self.hosts.values())
        return "\n".join(told)

    def until_said(self, host: Host, text: str) -> None:
        """Wait until a host, or a rank on it, has printed `text`; AssertionError when it ends without."""

        def said() -> bool:
            ended = host.exit_code()
            found = text in host.log
            assert found or ended is None, f"{host.name} ended ({ended}) without {text!r}:\n{host.log}"
            return found

        self.until(said, f"{host.name} says {text!r}")

    def processes(self, host: Host | None = None) -> list[psutil.Process]:
        """Every living process of the lab, or of one host: each carries its host's tree in its environment."""
        return list(processes_below(self.folder if host is None else host.base))
