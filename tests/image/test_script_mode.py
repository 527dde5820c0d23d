"""The user's own script through the image: the example, SDK v3's entry point, what it requires, how it stops."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import uuid
from typing import TYPE_CHECKING

import pytest
from docker_engine import REPOSITORY
from image.conftest import run_hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from docker_engine import Ended
    from image.conftest import Host

EXAMPLE = REPOSITORY / "examples" / "script-mode"
GIVEN = {"max_depth": "5", "eta": "0.2", "num_round": "10"}
BUILT_IN = GIVEN | {"objective": "reg:squarederror", "eval_metric": "rmse,mae"}
SCRIPT = GIVEN | {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": '"/opt/ml/code"'}
# What SDK v3 puts in the place of the image's entry point.
V3 = ("-c", "chmod +x /opt/ml/input/data/sm_drivers/sm_train.sh && /opt/ml/input/data/sm_drivers/sm_train.sh")


def give(host: Host, hyperparameters: Mapping[str, str], code: Path | None = EXAMPLE) -> None:
    """Make a job with these hyperparameters, and code where SDK v2's local mode mounts it."""
    host.configure("hyperparameters", hyperparameters)
    if code is not None:
        shutil.copytree(code, host.tree / "code", dirs_exist_ok=True)


def write(host: Host, text: str, name: str = "train.py") -> None:
    """Add a file to the job's code."""
    (host.tree / "code").mkdir(exist_ok=True)
    (host.tree / "code" / name).write_text(text)


def give_as_v3(host: Host, hyperparameters: Mapping[str, str]) -> None:
    """Make the job as SDK v3 does: code and drivers are channels, and the drivers' script is what would run."""
    give(host, hyperparameters, code=None)
    drivers = host.tree / "input" / "data" / "sm_drivers"
    drivers.mkdir()
    (drivers / "sm_train.sh").write_text("#!/bin/bash\necho the driver ran; exit 9\n")
    source = {"source_dir": "examples/script-mode", "entry_script": "train.py", "command": None, "args": None}
    (drivers / "sourcecode.json").write_text(json.dumps(source))
    shutil.copytree(EXAMPLE, host.tree / "input" / "data" / "code")


@pytest.fixture
def wanted(image: str, host: Host, tmp_path: Path) -> bytes:
    """The built-in job's model of the same rows and hyperparameters."""
    other = type(host)(image, tmp_path / "built-in")
    other.configure("hyperparameters", BUILT_IN)
    ended = other.run("train")
    assert ended.code == 0, ended.log
    return other.model.read_bytes()


def test_example(host: Host, wanted: bytes) -> None:
    """It trains the built-in job's model, without a network and on a root that is read-only."""
    give(host, SCRIPT)
    options = ["--network", "none", "--read-only", "--tmpfs", "/tmp"]  # noqa: S108  # the container's own
    ended = host.run("train", options=options)
    assert ended.code == 0, ended.log
    assert host.model.read_bytes() == wanted
    assert " of 626 abalones are off by less than" in ended.log
    assert len(ended.rounds) == 10


def test_archive_in_a_channel(host: Host) -> None:
    """So SDK v2 sends the code of a job with network isolation."""
    where = "/opt/ml/input/data/code/sourcedir.tar.gz"
    give(host, SCRIPT | {"sagemaker_submit_directory": json.dumps(where)}, code=None)
    archive = host.tree / "input" / "data" / "code" / "sourcedir.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as files:
        files.add(EXAMPLE / "train.py", "train.py")
    ended = host.run("train", options=["--network", "none"])
    assert ended.code == 0, ended.log
    assert host.model.exists()


def test_sdk_v3(host: Host, wanted: bytes) -> None:
    """Its bash and its driver make way for the ring."""
    give_as_v3(host, GIVEN)
    ended = host.run(*V3, options=["--entrypoint", "/bin/bash"])
    assert ended.code == 0, ended.log
    assert "the driver ran" not in ended.log
    assert host.model.read_bytes() == wanted


def test_hosts(image: str, host: Host, wanted: bytes, tmp_path: Path) -> None:
    """On four hosts the example trains the very model of one, and mpi4py by itself meets all of them."""
    names = [f"algo-{number}" for number in (1, 2, 3, 10)]
    for script in (
        None,
        "from mpi4py import MPI\nprint('sum', MPI.COMM_WORLD.allreduce(MPI.COMM_WORLD.rank))\n",
    ):
        trees = {name: type(host)(image, tmp_path / f"{name}-{script is None}") for name in names}
        for name, each in trees.items():
            each.configure("resourceconfig", {"current_host": name, "hosts": sorted(names)})
            give(each, SCRIPT)
            if script is not None:
                write(each, script)
        ended = run_hosts({name: each.tree for name, each in trees.items()}, image, tmp_path)
        if script is None:
            assert trees["algo-1"].model.read_bytes() == wanted
            assert not any(list((trees[name].tree / "model").iterdir()) for name in names[1:])
        else:
            assert ended.log.count("sum 6") == 4


def test_requirements(host: Host) -> None:
    """What the image has is installed already; what it has not is refused in one sentence without a network."""
    give(host, SCRIPT)
    write(host, "numpy>=2\nxgboost\n", "requirements.txt")
    ended = host.run("train", options=["--network", "none", "--user", "0"])
    assert ended.code == 0, ended.log
    write(host, "a-package-that-nobody-has\n", "requirements.txt")
    ended = host.run("train", options=["--network", "none"])
    assert ended.code == 1
    first = host.failure.read_text().splitlines()[0]
    assert first.startswith("algo-1: UserError: requirements.txt cannot be installed ("), first
    assert "install them in an image made from this one" in first


def test_exception(host: Host) -> None:
    """Host, file and line come first."""
    give(host, SCRIPT)
    write(host, "rows = None\nprint(rows[0])\n")
    ended = host.run("train")
    assert ended.code == 1
    first = host.failure.read_text().splitlines()[0]
    assert first == "algo-1: train.py, line 2: TypeError: 'NoneType' object is not subscriptable"
    assert first in ended.log


def test_stop_under_sdk_v3(docker: Callable[..., Ended], host: Host) -> None:
    """SIGTERM arrives, although bash was to be PID 1: the round ends, and the failure says why."""
    give_as_v3(host, GIVEN | {"num_round": "10000000"})
    name = f"treering-test-{uuid.uuid4().hex[:12]}"
    mount = f"type=bind,source={host.tree},target=/opt/ml"
    options = ("--detach", "--name", name, "--mount", mount, "--entrypoint", "/bin/bash")
    started = docker("run", *options, host.image, *V3)
    assert started.code == 0, started.log
    try:
        follow = ("docker", "logs", "--follow", name)
        with subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as log:
            assert log.stdout is not None
            assert any(line.startswith("[3]\t") for line in log.stdout), "it ended before its rounds"
            log.terminate()
        docker("stop", "--time", "100", name)
        state = json.loads(docker("inspect", "--format", "{{json .State}}", name).log)
    finally:
        docker("rm", "--force", name)
    assert state["ExitCode"] == 1, state
    first = host.failure.read_text().splitlines()[0]
    assert first.startswith(
        "algo-1: the job was stopped: algo-1 received SIGTERM; training ended after round "
    )
