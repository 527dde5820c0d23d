"""What every test may ask for: random data, a folder for all users, and rings of real supervisors and MPI ranks."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def random() -> np.random.Generator:
    """Other data in every run; the printed seed, which pytest shows of a failure, brings it back."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that every user can look into, other than ``tmp_path``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(autouse=True)
def _orphans_go_to_init() -> Iterator[None]:
    """A job that a test ran in this very process made it adopt orphans, which would stay as zombies of later tests."""
    yield
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0)


_HOST = Path(__file__).parent / "mpi" / "host.py"
_DEADLINE = 120.0  # seconds until a hanging ring is ended and its test fails


@dataclasses.dataclass
class Host:
    """One running host of a ring."""

    name: str
    base: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """All that the host and its ranks printed."""
        return (self.base / "log").read_text(errors="replace")

    @property
    def failure(self) -> str:
        """The failure file; empty when there is none."""
        path = self.base / "output" / "failure"
        return path.read_text() if path.exists() else ""


class Ring:
    """Starts hosts on this machine, each with its own ``/opt/ml`` tree, and ends whatever is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hosts: dict[str, Host] = {}
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]

    def start(  # each is one knob of a job
        self,
        size: int,
        command: Sequence[str],
        environ: Mapping[str, str] | None = None,
        *,
        hyperparameters: Mapping[str, str] | None = None,
        job: str = "test-job",
        absent: Sequence[str] = (),
    ) -> dict[str, Host]:
        """Start `size` hosts, but for the `absent` ones, whose ranks run `command`."""
        names = [f"algo-{number + 1}" for number in range(size)]
        for name in names:
            if name not in absent:
                self.start_host(name, names, command, environ, hyperparameters, job)
        return self.hosts

    def start_host(  # each is one knob of a host
        self,
        name: str,
        names: Sequence[str],
        command: Sequence[str],
        environ: Mapping[str, str] | None = None,
        hyperparameters: Mapping[str, str] | None = None,
        job: str = "test-job",
    ) -> Host:
        """Start one host of a ring."""
        base = self.folder / name
        config = base / "input" / "config"
        config.mkdir(parents=True)
        resources = {"current_host": name, "hosts": list(names), "network_interface_name": "ethwe"}
        (config / "resourceconfig.json").write_text(json.dumps(resources))
        (config / "hyperparameters.json").write_text(json.dumps(dict(hyperparameters or {})))
        full = {
            **os.environ,
            "SAGEMAKER_BASE_DIR": str(base),
            "TREERING_ADDRESSES": ",".join(f"{each}=127.0.0.1" for each in names),
            "TREERING_PORT": str(self.port),
            "TREERING_THREADS_PER_HOST": "1",
            "TRAINING_JOB_NAME": job,
            **(environ or {}),
        }
        with (base / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(_HOST), *command], env=full, stdout=log, stderr=subprocess.STDOUT
            )
        self.hosts[name] = Host(name, base, process)
        return self.hosts[name]

    def wait(self) -> dict[str, int]:
        """Exit code of each host; fails the test when one does not end."""
        return {name: host.process.wait(_DEADLINE) for name, host in self.hosts.items()}

    def logs(self) -> str:
        """What all hosts printed, for an assertion's message."""
        return "\n".join(f"--- {host.name}\n{host.log}" for host in self.hosts.values())

    def close(self) -> None:
        """Kill what still runs."""
        for host in self.hosts.values():
            if host.process.poll() is None:
                host.process.kill()
                host.process.wait()


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    """A ring that leaves no process behind."""
    ring = Ring(tmp_path / "ring")
    yield ring
    ring.close()
