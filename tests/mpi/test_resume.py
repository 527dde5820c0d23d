"""Whole jobs, killed at random moments and started again on other hosts: the uninterrupted model, byte for byte.

``RESUME_KILLS`` in the environment says how often each chain of jobs is killed: seven times, 21 in all, every day,
``make test-resume`` does it twenty times.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
import xgboost as xgb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_KILLS = int(os.environ.get("RESUME_KILLS", "7"))
_ROUNDS = 120
_CHAIN = 60 * max(2, _KILLS)  # rounds of a job that is killed so often: some pass until a kill takes effect
_DEADLINE = 90.0 + 10.0 * _KILLS  # seconds for any single step


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not holds():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.005)


class Jobs:
    """`treering local` on one set of rows, with a checkpoint folder that outlives the jobs."""

    def __init__(self, folder: Path, random: np.random.Generator, hyperparameters: dict[str, object]) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.hyperparameters = {"num_round": _ROUNDS, "max_depth": 4, "max_bin": 32} | hyperparameters
        features = random.standard_normal((1200, 5)).astype(np.float32)
        margin = features[:, 0] - 2 * features[:, 1] + random.standard_normal(1200)
        label = np.digitize(margin, [-1, 1]) if "num_class" in hyperparameters else margin
        for name, rows in (("train", slice(1000)), ("validation", slice(1000, None))):
            (folder / name).mkdir()
            table = np.column_stack([label, features])[rows]
            for part, lines in enumerate(np.array_split(table, 3)):
                np.savetxt(folder / name / f"{part}.csv", lines, delimiter=",", fmt="%.9g")

    def start(self, hosts: int, *, keep: bool = True) -> subprocess.Popen[str]:
        """Start the job; what it prints goes to a file."""
        command = [sys.executable, "-m", "treering", "local", f"--hosts={hosts}", "--threads-per-host=1"]
        command += [f"--output={self.folder / 'out'}", "--content-type=text/csv"]
        command += [f"--channel={name}={self.folder / name}" for name in ("train", "validation")]
        command += [f"--hp={name}={value}" for name, value in self.hyperparameters.items()]
        command += [f"--checkpoints={self.checkpoints}"] if keep else []
        with (self.folder / "printed").open("w") as printed:
            return subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, text=True)

    @property
    def printed(self) -> str:
        """All that the last job printed."""
        return (self.folder / "printed").read_text()

    def finish(self, hosts: int, *, keep: bool = True, code: int = 0) -> bytes:
        """Run the job to its end; the model's bytes, or none."""
        process = self.start(hosts, keep=keep)
        assert process.wait(_DEADLINE) == code, self.printed
        model = self.folder / "out" / "model" / "xgboost-model"
        return model.read_bytes() if model.exists() else b""

    def newest(self) -> int:
        """Number of the newest checkpoint; -1 when there is none."""
        found = self.checkpoints.glob("treering-state.*")
        return max((int(path.suffix[1:]) for path in found), default=-1)

    def processes(self, command: str) -> list[psutil.Process]:
        """The running job's supervisors ("train") or ranks ("treering.worker")."""
        found = []
        for process in psutil.process_iter():
            try:
                base = process.environ().get("SAGEMAKER_BASE_DIR", "")
                if base.startswith(str(self.folder)) and process.cmdline()[-1:] == [command]:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return sorted(found, key=lambda process: process.environ()["SAGEMAKER_BASE_DIR"])


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {
            "subsample": 0.6,
            "colsample_bynode": 0.6,
            "checkpoint_interval": 1,
            "early_stopping_rounds": _CHAIN,
            "num_round": _CHAIN,
        },
        {
            "objective": "multi:softprob",
            "num_class": 3,
            "colsample_bytree": 0.6,
            "checkpoint_interval": 7,
            "num_round": _CHAIN,
        },
        {"booster": "dart", "rate_drop": 0.2, "num_round": _CHAIN // 2, "checkpoint_interval": 3},
    ],
    ids=["sampling", "softprob", "dart"],
)
def test_killed_jobs_end_with_the_uninterrupted_model(
    tmp_path: Path, random: np.random.Generator, hyperparameters: dict[str, object]
) -> None:
    """A rank or a whole host is killed at some round, again and again; every start goes on, on other hosts."""
    jobs = Jobs(tmp_path, random, hyperparameters)
    uninterrupted = jobs.finish(int(random.integers(1, 3)), keep=False)
    rounds = int(str(jobs.hyperparameters["num_round"]))
    for kill in range(_KILLS):
        before, hosts = jobs.newest(), int(random.integers(1, 4))
        # Every kill finds some rounds done since the last one, and leaves some to those that follow.
        goal = before + 1 + int(random.integers(max(1, (rounds * 3 // 4 - before) // (_KILLS - kill))))
        process = jobs.start(hosts)
        _until(lambda: jobs.newest() >= goal or process.poll() is not None, f"checkpoint {goal}")  # noqa: B023  # called at once
        assert process.poll() is None, jobs.printed
        victims = jobs.processes(["treering.worker", "train"][random.integers(2)])
        victims[random.integers(len(victims))].send_signal(signal.SIGKILL)
        assert process.wait(_DEADLINE) != 0, jobs.printed
        assert (before < 0) == (f"going on after round {before}," not in jobs.printed)
    newest = jobs.newest()
    assert 0 <= newest < rounds - 1
    assert jobs.finish(int(random.integers(1, 4))) == uninterrupted
    assert f"going on after round {newest}," in jobs.printed
    first_line = re.search(r"^\[(\d+)\]", jobs.printed, re.MULTILINE)
    assert first_line is not None
    assert int(first_line[1]) == newest + 1
    assert len(list(jobs.checkpoints.glob("xgboost-checkpoint.*"))) == 5
    last = jobs.checkpoints / f"xgboost-checkpoint.{rounds - 1}"
    assert last.read_bytes() == uninterrupted


@pytest.mark.parametrize("saves", ["true", "false"])
def test_a_stopped_job_goes_on_from_its_last_round(
    tmp_path: Path, random: np.random.Generator, saves: str
) -> None:
    """SIGTERM on any host: a checkpoint off the schedule, exit code 0 only with a saved model, and no difference."""
    hyperparameters = {"subsample": 0.6, "checkpoint_interval": 1000, "save_model_on_termination": saves}
    jobs = Jobs(tmp_path, random, hyperparameters | {"colsample_bytree": 0.6})
    uninterrupted = jobs.finish(1, keep=False)
    process = jobs.start(2)
    some = int(random.integers(1, 20))
    _until(lambda: f"\n[{some}]\t" in jobs.printed or process.poll() is not None, f"round {some}")
    assert process.poll() is None, jobs.printed
    jobs.processes("train")[random.integers(2)].send_signal(signal.SIGTERM)
    code = process.wait(_DEADLINE)
    assert (code == 0) == (saves == "true"), jobs.printed
    assert "received SIGTERM" in jobs.printed
    assert some <= jobs.newest() < _ROUNDS - 1
    model = tmp_path / "out" / "model" / "xgboost-model"
    checkpoint = jobs.checkpoints / f"xgboost-checkpoint.{jobs.newest()}"
    assert (model.exists() and model.read_bytes() == checkpoint.read_bytes()) == (saves == "true")
    assert jobs.finish(3) == uninterrupted


def test_what_must_not_be_gone_on_from(tmp_path: Path, random: np.random.Generator) -> None:
    """Torn and foreign checkpoints are passed over with a line, other settings and rows end the job."""
    jobs = Jobs(tmp_path, random, {"num_round": 12, "colsample_bynode": 0.6, "checkpoint_interval": 2})
    uninterrupted = jobs.finish(1)
    assert jobs.finish(1) == uninterrupted  # nothing is left to train
    assert not re.search(r"^\[\d+\]", jobs.printed, re.MULTILINE)
    torn = jobs.checkpoints / "treering-state.11"
    torn.write_bytes(torn.read_bytes()[:-1])
    (jobs.checkpoints / "xgboost-checkpoint.50").write_bytes(uninterrupted)
    assert jobs.finish(2) == uninterrupted
    for line in ("skipped checkpoint 11 ", "xgboost-checkpoint.50 without", "going on after round 9,"):
        assert jobs.printed.count(line) == 1, jobs.printed
    jobs.hyperparameters |= {"eval_metric": "mae,rmse", "ranks_per_host": 2, "num_round": 13}
    longer = xgb.Booster(model_file=bytearray(jobs.finish(1)))
    assert longer.num_boosted_rounds() == 13
    jobs.hyperparameters |= {"max_bin": 31, "eta": 0.2}
    assert jobs.finish(2, code=1) == b""
    failure = (tmp_path / "out" / "output" / "failure").read_text().splitlines()[0]
    assert failure.startswith(
        f"algo-1: UserError: {jobs.checkpoints}/xgboost-checkpoint.12 was made by another run:"
    )
    assert "eta is 0.2, but was not given; max_bin is 31, but was 32; use what it was made with" in failure
