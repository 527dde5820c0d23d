"""One host of a lab, and what can be seen of its processes from outside."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Who listens: the first host's supervisor; MPI in each rank; XGBoost's tracker in rank 0; XGBoost in each rank.
type Port = Literal["rendezvous", "MPI", "tracker", "worker"]

_LISTEN = "0A"  # the kernel's number for a listening TCP socket


class Host:
    """One host: its ``/opt/ml`` tree and, once started, its supervisor."""

    def __init__(self, name: str, base: Path) -> None:
        self.name = name
        self.base = base
        self.ended_at: float | None = None  # monotonic seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._ranks: list[psutil.Process] = []

    @property
    def log(self) -> str:
        """All that the host and its ranks printed."""
        path = self.base / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def failure(self) -> str:
        """The failure file; empty when there is none."""
        path = self.base / "output" / "failure"
        return path.read_text() if path.exists() else ""

    @property
    def supervisor(self) -> psutil.Process:
        """The host's first process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def ranks(self) -> list[psutil.Process]:
        """Its rank processes; looked for until there are some, since looking takes long."""
        self._ranks = self._ranks or self.supervisor.children()
        return self._ranks

    def run(self, command: Sequence[str], environ: Mapping[str, str] | None) -> None:
        """Start it; its exit is seen by `exit_code`."""
        with (self.base / "log").open("wb") as log:
            self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT)

    def exit_code(self) -> int | None:
        """None while it runs (or never ran); notes when it was first seen to have ended."""
        code = None if self._process is None else self._process.poll()
        if code is not None and self.ended_at is None:
            self.ended_at = time.monotonic()
        return code

    def kill(self) -> None:
        """End the supervisor, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def port(self, kind: Port) -> int | None:
        """The TCP port of a kind on which it listens, if it does."""
        supervisor = listening(self.supervisor.pid)
        if kind == "rendezvous":
            return supervisor[0].port if supervisor else None
        sockets = [each for rank in self.ranks() for each in listening(rank.pid)]
        workers = [each.port for each in sockets if each.anywhere]
        others = [each.port for each in sockets if not each.anywhere]
        found = {"worker": workers, "MPI": others[:1], "tracker": others[1:]}[kind]
        return found[0] if found else None


def processes_below(base: Path) -> Iterator[psutil.Process]:
    """Every living process of the hosts in a folder: each carries its host's tree in its environment."""
    for process in psutil.process_iter():
        try:
            tree = process.environ().get("SAGEMAKER_BASE_DIR")
            inside = tree is not None and Path(tree).is_relative_to(base)
            if inside and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


class Listening(NamedTuple):
    """A listening TCP socket."""

    inode: int  # ascending in the order of creation
    port: int
    anywhere: bool  # on all interfaces


def listening(pid: int) -> list[Listening]:
    """A process's listening sockets, the oldest first, seen from its own network namespace."""
    proc = Path("/proc", str(pid))
    mine, rows = set(), []
    with contextlib.suppress(OSError):  # it has ended meanwhile
        rows = [line.split() for line in (proc / "net" / "tcp").read_text().splitlines()[1:]]
        for each in (proc / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                mine.add(str(each.readlink()))
    found = [
        Listening(int(inode), int(local.partition(":")[2], 16), local.startswith("00000000"))
        for _, local, _, state, *_, inode in (row[:10] for row in rows)
        if state == _LISTEN and f"socket:[{inode}]" in mine
    ]
    return sorted(found)
