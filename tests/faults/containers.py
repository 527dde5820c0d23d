"""A lab whose hosts are real containers of the image, in a Docker network of their own."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Self

import psutil
from docker_engine import run_docker

from .host import Host
from .lab import Lab

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .lab import Pace


class Container(Host):
    """A host whose first process is PID 1 of a container."""

    def __init__(self, name: str, base: Path, container: str) -> None:
        super().__init__(name, base)
        self.container = container

    @property
    def supervisor(self) -> psutil.Process:
        """PID 1 of the container, by the pid that it has outside."""
        return psutil.Process(int(self._state("Pid")))

    def is_running(self) -> bool:
        """Whether the container lives, paused or not."""
        return self.exit_code() is None and self._state("Running") == "true"

    def _state(self, name: str) -> str:
        return docker("inspect", "--format", f"{{{{.State.{name}}}}}", self.container)


class Containers(Lab):
    """As `Lab`, of an image.

    Parameters
    ----------
    image
        Its name.
    special
        A host, and further options of ``docker run`` for it alone.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        pace: Pace,
        environ: Mapping[str, str],
        image: str,
        special: tuple[str, Sequence[str]],
    ) -> None:
        self._image = image
        self._special = special
        self._name = f"faults-{secrets.token_hex(4)}"
        super().__init__(folder, size, ["train"], pace, environ=environ, isolated=False)

    def __enter__(self) -> Self:
        super().__enter__()
        docker("network", "create", self._name)
        return self

    def __exit__(self, *arguments: object) -> None:
        docker("rm", "--force", *map(self._container, self.names))
        docker("network", "rm", self._name)
        super().__exit__(*arguments)

    def make_host(self, name: str) -> Host:
        """A container that does not exist yet."""
        return Container(name, self.folder / name, self._container(name))

    def _container(self, host: str) -> str:
        return f"{self._name}-{host}"

    def start(self, name: str) -> None:
        """Run it in the foreground of a docker command, whose output and exit code are the container's."""
        variables = {**self.pace.environ, "TRAINING_JOB_NAME": self._name, "TREERING_THREADS_PER_HOST": "1"}
        options = [f"--env={variable}={value}" for variable, value in variables.items()]
        options += [
            "--sig-proxy=false",
            f"--name={self._container(name)}",
            f"--network={self._name}",
            f"--network-alias={name}",
        ]
        # Channels are links to folders outside the tree, which have to be there inside as well.
        channels = {str(each.resolve()) for each in (self.folder / name / "input" / "data").iterdir()}
        options += [
            f"--volume={self.folder / name}:/opt/ml",
            *(f"--volume={each}:{each}:ro" for each in channels),
        ]
        if name == self._special[0]:
            options += self._special[1]
        self.hosts[name].run(["docker", "run", *options, self._image, "train"], None)

    def processes(self, host: Host | None = None) -> list[psutil.Process]:
        """The first process of every container that runs."""
        found = []
        for each in self.hosts.values() if host is None else [host]:
            if isinstance(each, Container) and each.is_running():
                with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                    found.append(each.supervisor)
        return found


def docker(*arguments: str) -> str:
    """What a docker command prints; AssertionError when it fails."""
    ended = run_docker(*arguments)
    assert ended.code == 0, f"docker {' '.join(arguments)}: {ended.log}"
    return ended.log.strip()
