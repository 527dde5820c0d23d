"""The image as a black box: build it, run it as SageMaker does, look at what comes out.

Every test needs a Docker Engine. Where none answers they are skipped with the reason; with
TREERING_REQUIRE_IMAGE set, as ``make test-image`` does, nothing may be skipped.
"""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import docker_engine
import pytest
from docker_engine import REPOSITORY, docker, image, run_docker, with_scikit_learn

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from docker_engine import Ended

__all__ = ["docker", "image", "with_scikit_learn"]  # fixtures: pytest finds them here

HERE = Path(__file__).resolve().parent
ABALONE = REPOSITORY / "examples" / "abalone"


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


def run_hosts(trees: Mapping[str, Path], image: str, folder: Path) -> Ended:
    """``docker compose up`` with one container a host on its own tree; all of them have to end well.

    The compose file goes to `folder`.
    """
    common = {"image": image, "pull_policy": "never", "command": "train", "cpus": 1}
    services = {name: common | {"volumes": [f"{tree}:/opt/ml"]} for name, tree in trees.items()}
    file = folder / "compose.json"
    file.write_text(json.dumps({"services": services}))
    project = ("compose", "--file", str(file), "--project-name", f"treering-test-{uuid.uuid4().hex[:12]}")
    ended = run_docker(*project, "--ansi", "never", "up", "--no-log-prefix", "--abort-on-container-exit")
    left = run_docker(*project, "ps", "--all", "--format", "{{.Service}} {{.ExitCode}}")
    run_docker(*project, "down")
    assert sorted(left.log.splitlines()) == sorted(f"{name} 0" for name in trees), ended.log
    return ended


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
    """The first test builds the image."""
    docker_engine.give_time_to_build(items, HERE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where the image tests are required, one that was skipped has failed."""
    return docker_engine.forbid_skipping((yield), "TREERING_REQUIRE_IMAGE")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of the image tests ran."""
    docker_engine.tell_how_many_ran(terminalreporter, "image", HERE)
