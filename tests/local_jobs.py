"""Whole jobs through `treering local`, from a test's own files: what they print and what they leave."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import xgboost as xgb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_DEADLINE = 180.0  # seconds until a job that hangs fails its test

type Files = Mapping[str, str | bytes]


@dataclasses.dataclass(frozen=True)
class Job:
    """What a user hands to the platform.

    Parameters
    ----------
    channels
        By name, the content of each file by its path in the channel.
    hyperparameters
        As in ``hyperparameters.json``: strings.
    content_type, distribution
        Of all channels, or by channel.
    """

    channels: Mapping[str, Files]
    hyperparameters: Mapping[str, str]
    content_type: str | Mapping[str, str] | None = "text/csv"
    distribution: str | Mapping[str, str] = "FullyReplicated"

    def write(self, folder: Path) -> None:
        """Write each channel's files into a folder of its name."""
        for channel, files in self.channels.items():
            (folder / channel).mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                path = folder / channel / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode() if isinstance(content, str) else content)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code, what its first host printed, and the folder with all the rest."""

    code: int
    log: str
    out: Path

    @property
    def rounds(self) -> list[str]:
        """The metric lines."""
        return re.findall(r"^\[\d+\]\t.*$", self.log, re.MULTILINE)

    @property
    def model(self) -> Path:
        """Where the model should be."""
        return self.out / "model" / "xgboost-model"

    @property
    def booster(self) -> xgb.Booster:
        """The model, loaded by plain XGBoost."""
        return xgb.Booster(model_file=bytearray(self.model.read_bytes()))

    @property
    def failures(self) -> list[str]:
        """The first line of the failure file of every host that has one."""
        return [path.read_text().splitlines()[0] for path in sorted(self.out.glob("hosts/*/output/failure"))]

    def log_of(self, host: str) -> str:
        """What another host printed."""
        return (self.out / "logs" / f"{host}.log").read_text()


def start(job: Job, folder: Path, hosts: int = 1) -> subprocess.Popen[str]:
    """Start a job in `folder`, which may hold an earlier run of it."""
    job.write(folder)
    command = [sys.executable, "-m", "treering", "local", f"--hosts={hosts}", f"--output={folder / 'out'}"]
    command += ["--threads-per-host=1", *(f"--channel={name}={folder / name}" for name in job.channels)]
    command += _options("--content-type", job.content_type) + _options("--distribution", job.distribution)
    command += [f"--hp={name}={value}" for name, value in job.hyperparameters.items()]
    environ = os.environ | {"TREERING_HEARTBEAT_INTERVAL": "0.5"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ)


def _options(option: str, given: str | Mapping[str, str] | None) -> list[str]:
    """Options for all channels, or for each."""
    if given is None:
        return []
    return (
        [f"{option}={given}"] if isinstance(given, str) else [f"{option}={k}={v}" for k, v in given.items()]
    )


def wait(process: subprocess.Popen[str], folder: Path, seen: Sequence[str] = ()) -> Ended:
    """Wait for the end of a job that was started in `folder`; `seen` is what was read of its output already."""
    try:
        rest, _ = process.communicate(timeout=_DEADLINE)
    finally:
        process.kill()  # its hosts end with it
    return Ended(process.returncode, "".join(seen) + rest, folder / "out")


def run(job: Job, folder: Path, hosts: int = 1) -> Ended:
    """Run a job to its end."""
    return wait(start(job, folder, hosts), folder)
