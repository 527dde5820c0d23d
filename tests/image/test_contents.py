"""What is in the image, what is not, and which commands it runs."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

import treering

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from docker_engine import Ended
    from image.conftest import Host

BASE = "debian:trixie-slim"
LARGEST = 450e6  # bytes on top of the base image, uncompressed

ANOTHER_TRAIN = """\
ARG IMAGE
FROM ${IMAGE}
RUN for python in python3 /usr/bin/python3; do \
      folder=$($python -c 'import sysconfig; print(sysconfig.get_path("scripts"))') \
   && printf '#!/bin/sh\\necho another package trains\\n' > "$folder/train" \
   && chmod 755 "$folder/train" \
   && echo "$folder/train" >> /places \
   || exit 1; \
    done
"""

# treering.world starts MPI, so that this also shows its libraries to be complete.
IMPORT_ALL = """
import importlib, pkgutil, treering
for module in pkgutil.walk_packages(treering.__path__, "treering."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import numpy.testing, pyarrow.compute, pyarrow.dataset, scipy.optimize, scipy.special, scipy.stats
"""


@pytest.fixture
def run(docker: Callable[..., Ended], image: str) -> Callable[..., Ended]:
    """Run a command in the image, with no data mounted."""

    def run(*command: str) -> Ended:
        return docker("run", "--rm", image, *command)

    return run


@pytest.mark.parametrize("python", ["python", "python3"])
def test_python(run: Callable[..., Ended], python: str) -> None:
    """A command that is not `train` runs as it is."""
    ended = run(python, "-V")
    assert ended.code == 0
    assert ended.log.startswith("Python 3.13.")


def test_command_is_pid_1(run: Callable[..., Ended]) -> None:
    """The entry point leaves no shell behind: the command is PID 1, and its exit code the container's."""
    ended = run("bash", "-c", "echo $$; exit 7")
    assert (ended.log, ended.code) == ("1\n", 7)


def test_train_wins_on_path(docker: Callable[..., Ended], image: str, host: Host, tmp_path: Path) -> None:
    """Another package's `train`, wherever a pip puts it, is not the one that runs, by whatever entry point."""
    (tmp_path / "Dockerfile").write_text(ANOTHER_TRAIN)
    derived = f"treering-test:{uuid.uuid4().hex[:12]}"
    built = docker(
        "buildx", "build", "--load", "--build-arg", f"IMAGE={image}", "--tag", derived, str(tmp_path)
    )
    assert built.code == 0, built.log
    try:
        places = docker("run", "--rm", derived, "cat", "/places").log.split()
        assert places == ["/opt/treering/venv/bin/train", "/usr/local/bin/train"]
        host.image = derived
        for options in ([], ["--entrypoint", "train"]):
            ended = host.run(*([] if options else ["train"]), options=options)
            assert ended.code == 0, ended.log
            assert "another package" not in ended.log
            assert host.model.exists()
            host.model.unlink()
    finally:
        docker("image", "rm", "--force", derived)


@pytest.mark.parametrize(
    "tool", ["sshd", "ssh", "gcc", "cc", "g++", "make", "pip", "pip3", "mpirun", "mpiexec"]
)
def test_tool_is_not_there(run: Callable[..., Ended], tool: str) -> None:
    """Neither a way in nor a way to build: hosts meet without ssh, and everything came as wheels."""
    ended = run("bash", "-c", f"type {tool}")
    assert ended.code == 1
    assert "not found" in ended.log


def test_nothing_under_opt_ml(run: Callable[..., Ended]) -> None:
    """SageMaker mounts /opt/ml over whatever an image has there."""
    assert run("bash", "-c", "! test -e /opt/ml").code == 0


def test_everything_imports(run: Callable[..., Ended]) -> None:
    """What was cut from the wheels is missed by no module, and no import warns."""
    ended = run("python", "-W", "error", "-c", IMPORT_ALL)
    assert (ended.code, ended.log) == (0, "")


def test_bytecode_is_there(run: Callable[..., Ended]) -> None:
    """No start spends its first second compiling: a read-only root could not keep the result either."""
    code = """if 1:
        import importlib.util, os, sys, xgboost, treering
        for module in (xgboost, treering):
            assert os.path.exists(importlib.util.cache_from_source(module.__file__)), module
    """
    ended = run("python", "-c", code)
    assert ended.code == 0, ended.log


def test_size(docker: Callable[..., Ended], image: str) -> None:
    """The image stays small on top of its base."""
    whole, base = (
        int(docker("run", "--rm", "--entrypoint", "du", name, "-sxb", "/").log.split()[0])
        for name in (image, BASE)
    )
    assert whole - base <= LARGEST


def test_labels(docker: Callable[..., Ended], image: str) -> None:
    """The OCI labels say what this is, of which version, and under which licence."""
    found = docker("image", "inspect", "--format", "{{json .Config.Labels}}", image)
    labels = {
        key.removeprefix("org.opencontainers.image."): value for key, value in json.loads(found.log).items()
    }
    assert labels["title"] == "treering"
    assert labels["version"] == treering.__version__
    assert labels["licenses"] == "Apache-2.0"
    assert labels["base.name"] == BASE
    assert labels["revision"]
    assert labels["description"]
