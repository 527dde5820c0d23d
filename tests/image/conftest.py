"""The image as a black box: build it, run it as SageMaker does, look at what comes out.

Every test needs a Docker Engine. Where none answers they are skipped with the reason; with
TREERING_REQUIRE_IMAGE set, as ``make test-image`` does, nothing may be skipped.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence


REPOSITORY = Path(__file__).resolve().parents[2]
ABALONE = REPOSITORY / "examples" / "abalone"
HERE = Path(__file__).resolve().parent.relative_to(REPOSITORY).as_posix()
DOCKER = shutil.which("docker")
REQUIRED = os.environ.get("TREERING_REQUIRE_IMAGE") == "1"
BUILD_SECONDS = 1800


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a docker command ended; for a container in the foreground, how the container did."""

    code: int
    log: str

    @property
    def rounds(self) -> list[str]:
        """The log's metric lines, without what compose puts before them."""
        return re.findall(r"\[\d+\]\t.*", self.log)


def run_docker(*arguments: str, **variables: str) -> Ended:
    """Run a docker command in the repository's root, with further environment variables."""
    assert DOCKER is not None
    ended = subprocess.run(
        (DOCKER, *arguments),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | variables,
    )
    return Ended(ended.returncode, ended.stdout)


def missing() -> str | None:
    """What these tests lack on this machine, or None."""
    if DOCKER is None:
        return "no Docker Engine: there is no docker command"
    for what, arguments in {
        "no Docker Engine answers": ("version",),
        "docker has no buildx plugin": ("buildx", "version"),
        "docker has no compose plugin": ("compose", "version"),
    }.items():
        tried = run_docker(*arguments)
        if tried.code != 0:
            return f"{what}: {tried.log.strip().splitlines()[-1]}"
    return None


class Host:
    """The ``/opt/ml`` tree of a one-host abalone job, and containers that run on it."""

    def __init__(self, image: str, tree: Path) -> None:
        self.image = image
        self.tree = tree
        self.model = tree / "model" / "xgboost-model"
        self.failure = tree / "output" / "failure"
        for folder in ("input/config", "input/data", "model", "output/data"):
            (tree / folder).mkdir(parents=True)
        for channel in ("train", "validation"):
            shutil.copytree(ABALONE / channel, tree / "input" / "data" / channel)
        # As a real training job writes it, unused keys included.
        self.configure(
            "resourceconfig",
            {
                "current_group_name": "homogeneousCluster",
                "current_host": "algo-1",
                "current_instance_type": "ml.c5.xlarge",
                "hosts": ["algo-1"],
                "instance_groups": [
                    {
                        "hosts": ["algo-1"],
                        "instance_group_name": "homogeneousCluster",
                        "instance_type": "ml.c5.xlarge",
                    }
                ],
                "network_interface_name": "eth0",
                "topology": None,
            },
        )
        self.configure(
            "inputdataconfig",
            {
                channel: {
                    "TrainingInputMode": "File",
                    "S3DistributionType": "FullyReplicated",
                    "RecordWrapperType": "None",
                    "CompressionType": "None",
                    "ContentType": "text/libsvm",
                }
                for channel in ("train", "validation")
            },
        )
        self.train_for(rounds=10)

    def configure(self, name: str, content: object) -> None:
        """Write one of the platform's config files."""
        (self.tree / "input" / "config" / f"{name}.json").write_text(json.dumps(content))

    def train_for(self, rounds: int) -> None:
        """Ask for a number of boosting rounds; every value is a string, as SageMaker writes them."""
        given = json.loads((ABALONE / "hyperparameters.json").read_text())
        self.configure("hyperparameters", given | {"num_round": str(rounds)})

    def run(self, *command: str, options: Sequence[str] = ()) -> Ended:
        """``docker run`` with this tree, to the container's end."""
        mount = f"type=bind,source={self.tree},target=/opt/ml"
        return run_docker("run", "--rm", "--mount", mount, *options, self.image, *command)


@pytest.fixture(scope="session")
def docker() -> Callable[..., Ended]:
    """`run_docker`, with an engine that answers and has the plugins that these tests use."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    return run_docker


@pytest.fixture(scope="session")
def image(docker: Callable[..., Ended]) -> str:  # noqa: ARG001  # nothing is built without an engine
    """The image under test: the one that TREERING_IMAGE names, else the working tree's, built here."""
    name = os.environ.get("TREERING_IMAGE")
    if name is None:
        name = "treering:cpu"
        built = subprocess.run(
            (REPOSITORY / "scripts" / "build_image.sh", name),
            check=False,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
        )
        assert built.returncode == 0, (
            f"the image does not build:\n{built.stdout[-4000:]}\n{built.stderr[-4000:]}"
        )
    return name


@pytest.fixture
def host(image: str, tmp_path: Path) -> Host:
    """A one-host abalone job that nothing has run yet."""
    return Host(image, tmp_path / "ml")


@pytest.fixture
def background(host: Host) -> Iterator[str]:
    """Name of a container that trains far longer than any test, started and later removed."""
    host.train_for(rounds=10_000_000)
    name = f"treering-test-{uuid.uuid4().hex[:12]}"
    mount = f"type=bind,source={host.tree},target=/opt/ml"
    started = run_docker("run", "--detach", "--name", name, "--mount", mount, host.image, "train")
    assert started.code == 0, started.log
    yield name
    run_docker("rm", "--force", name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test to run builds the image, so each may take as long as that."""
    for item in items:
        if item.nodeid.startswith(HERE):
            item.add_marker(pytest.mark.timeout(BUILD_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where the image tests are required, one that was skipped has failed."""
    report = yield
    if REQUIRED and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, but TREERING_REQUIRE_IMAGE is set: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of the image tests ran."""
    ran = sum(
        report.when == "call" and not report.skipped and report.nodeid.startswith(HERE)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport)
    )
    skipped = sum(
        report.nodeid.startswith(HERE)
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report, pytest.TestReport)
    )
    terminalreporter.write_line(f"image tests: {ran} ran, {skipped} skipped")
