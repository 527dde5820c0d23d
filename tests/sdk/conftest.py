"""Both SageMaker Python SDKs as real clients of the real image, in local mode.

They have no network and dummy credentials. Every test needs a Docker Engine: where none answers they are
skipped with the reason; with TREERING_REQUIRE_SDK=1, as in ``make test-sdk``, nothing may be skipped.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import docker_engine
import pytest
from docker_engine import REPOSITORY, docker, image, run_docker, with_scikit_learn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

__all__ = ["docker", "image", "with_scikit_learn"]  # fixtures: pytest finds them here

HERE = Path(__file__).resolve().parent
ABALONE = REPOSITORY / "examples" / "abalone"
VERSIONS = ("v2", "v3")
NOWHERE = "http://127.0.0.1:9"  # a proxy that refuses every connection


@functools.cache
def python_of(version: str) -> str:
    """The Python of one SDK's environment, which is made when it is not there yet."""
    made = subprocess.run(
        (REPOSITORY / "scripts" / "sdk_env.sh", version), check=True, stdout=subprocess.PIPE, text=True
    )
    return made.stdout.strip()


def without_account() -> dict[str, str]:
    """The environment of a user whose credentials open nothing."""
    plugins = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "cli-plugins"
    return dict(os.environ) | {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # v2 takes the plugin only if its version begins with "v2"; else it looks for docker-compose.
        "PATH": os.pathsep.join([os.environ["PATH"], str(plugins)]),
    }


def offline() -> dict[str, str]:
    """The environment of a client that reaches the engine and nothing else."""
    return without_account() | {"HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "NO_PROXY": ""}


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a client ended: its exit code, all that it and the containers printed, and what is left."""

    code: int
    log: str
    exits: Mapping[str, str]
    folder: Path

    @property
    def model(self) -> bytes:
        """The model, out of the archive that the SDK names as the job's result."""
        assert list(self.results) == ["xgboost-model"]
        return self.results["xgboost-model"]

    @property
    def results(self) -> dict[str, bytes]:
        """All files in that archive."""
        where = self.log.rstrip().rpartition("model: file://")[2]
        with tarfile.open(where) as archive:
            files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
            return {name: file.read() for name, file in files.items() if file is not None}


class Client:
    """One of the SDKs."""

    def __init__(self, version: str, image: str, folder: Path) -> None:
        self.version = version
        self.image = image
        self.folder = folder

    def start(
        self,
        hosts: int,
        channels: Mapping[str, Path] | Path,
        hyperparameters: Mapping[str, object],
        content_type: str = "text/libsvm",
        code: Path | None = None,
    ) -> Running:
        """Start a job in a folder of its own; `code` is a folder whose ``train.py`` is to train."""
        folder = self.folder / f"sdk-{uuid.uuid4().hex[:12]}"  # compose names a project after its folder
        folder.mkdir(parents=True)
        job = {
            "image": self.image,
            "hosts": hosts,
            "folder": str(folder),
            "channels": str(channels)
            if isinstance(channels, Path)
            else {name: str(path) for name, path in channels.items()},
            "content_type": content_type,
            "hyperparameters": dict(hyperparameters),
            "code": str(code) if code else None,
        }
        script = HERE / f"client_{self.version}.py"
        return Running((python_of(self.version), str(script), json.dumps(job)), folder)

    def run(
        self,
        hosts: int,
        channels: Mapping[str, Path] | Path,
        hyperparameters: Mapping[str, object],
        content_type: str = "text/libsvm",
        code: Path | None = None,
    ) -> Ended:
        """Run a job to its end."""
        return self.start(hosts, channels, hyperparameters, content_type, code).wait()


class Running:
    """A client that has been started."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            command, cwd=folder, env=offline(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def wait(self) -> Ended:
        """Wait for the end, note how the containers ended, and remove what the SDK leaves of them."""
        log = self._process.communicate()[0]
        exits: dict[str, str] = {}
        for file in self.folder.rglob("docker-compose.yaml"):
            compose = ("compose", "--file", str(file))
            left = run_docker(*compose, "ps", "--all", "--format", "{{.Service}} {{.ExitCode}}").log
            exits |= dict(line.split() for line in left.splitlines() if line.startswith("algo-"))
            run_docker(*compose, "down")
        return Ended(self._process.returncode, log, exits, self.folder)


@pytest.fixture
def sdk(image: str, tmp_path: Path) -> Callable[[str], Client]:
    """Make the client of one SDK."""
    return lambda version: Client(version, image, tmp_path)


@pytest.fixture(params=VERSIONS)
def client(request: pytest.FixtureRequest, sdk: Callable[[str], Client]) -> Client:
    """Each SDK in turn."""
    return sdk(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test builds the image and the environment of its SDK."""
    docker_engine.give_time_to_build(items, HERE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where these tests are required, one that was skipped has failed."""
    return docker_engine.forbid_skipping((yield), "TREERING_REQUIRE_SDK")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of these tests ran."""
    docker_engine.tell_how_many_ran(terminalreporter, "sdk", HERE)
