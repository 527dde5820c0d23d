"""The looser strategies as a user runs them: `treering local`, with files, supervisors and several hosts."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import xgboost as xgb

if TYPE_CHECKING:
    from pathlib import Path

_STRATEGIES = ("ensemble", "parameter_server")
_LINE = re.compile(r"^\[(\d+)\]\ttrain-(\w+):(\S+)\tvalidation-\w+:(\S+)$", re.MULTILINE)
_DEADLINE = 120.0  # seconds for any single step
_ROWS = 1600  # three quarters to train on


class Jobs:
    """`treering local` on one set of rows in four files, sorted by label or not."""

    def __init__(
        self, folder: Path, random: np.random.Generator, objective: str = "reg:squarederror"
    ) -> None:
        self.folder = folder
        self.hyperparameters: dict[str, object] = {"num_round": 12, "max_depth": 3, "objective": objective}
        self.features = random.standard_normal((_ROWS, 5)).astype(np.float32)
        signal = self.features[:, 0] - 2 * self.features[:, 1] + random.standard_normal(_ROWS) / 2
        if objective.startswith("multi:"):
            signal = np.digitize(signal, [-1, 1]).astype(np.float64)
            self.hyperparameters["num_class"] = 3
        self.label = signal.astype(np.float32)
        self.kept = _ROWS * 3 // 4
        order = np.argsort(self.label[: self.kept], kind="stable")
        for name, rows in (
            ("train", np.arange(self.kept)),
            ("sorted", order),
            ("validation", np.arange(self.kept, _ROWS)),
        ):
            (folder / name).mkdir()
            table = np.column_stack([self.label, self.features])[rows]
            for part, lines in enumerate(np.array_split(table, 4)):
                np.savetxt(folder / name / f"{part}.csv", lines, delimiter=",", fmt="%.9g")

    def start(self, hosts: int, *options: str, train: str = "train", **more: Any) -> subprocess.Popen[str]:
        """Start a job; what it prints goes to a file."""
        command = [sys.executable, "-m", "treering", "local", f"--hosts={hosts}", "--threads-per-host=1"]
        command += [f"--output={self.folder / 'out'}", "--content-type=text/csv", *options]
        command += [f"--channel=train={self.folder / train}", "--distribution=train=ShardedByS3Key"]
        command += [f"--channel=validation={self.folder / 'validation'}"]
        command += [f"--hp={name}={value}" for name, value in (self.hyperparameters | more).items()]
        with (self.folder / "printed").open("w") as printed:
            return subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, text=True)

    def run(
        self, hosts: int, *options: str, code: int = 0, train: str = "train", **more: Any
    ) -> xgb.Booster | None:
        """Run a job to its end; the model, loaded by plain XGBoost."""
        process = self.start(hosts, *options, train=train, **more)
        assert process.wait(_DEADLINE) == code, self.printed
        return self.model if (self.folder / "out" / "model" / "xgboost-model").exists() else None

    @property
    def model(self) -> xgb.Booster:
        """The last job's, loaded by plain XGBoost."""
        return xgb.Booster(
            model_file=bytearray((self.folder / "out" / "model" / "xgboost-model").read_bytes())
        )

    def train(self, hosts: int, *options: str, train: str = "train", **more: Any) -> xgb.Booster:
        """Run a job that leaves a model."""
        booster = self.run(hosts, *options, train=train, **more)
        assert booster is not None, self.printed
        return booster

    @property
    def printed(self) -> str:
        """All that the last job printed."""
        return (self.folder / "printed").read_text()

    @property
    def failure(self) -> str:
        """The first line of the last job's failure file."""
        return (self.folder / "out" / "output" / "failure").read_text().splitlines()[0]

    def rmse(self, booster: xgb.Booster) -> float:
        """Of a model on the validation rows, by plain XGBoost."""
        rows = slice(self.kept, None)
        error = booster.predict(xgb.DMatrix(self.features[rows])) - self.label[rows]
        return float(np.sqrt(np.mean(error.astype(np.float64) ** 2)))


def _same(one: xgb.Booster, other: xgb.Booster) -> bool:
    return bytes(one.save_raw()) == bytes(other.save_raw())


@pytest.mark.parametrize("hosts", [2, 4])
@pytest.mark.parametrize("strategy", _STRATEGIES)
def test_a_job_leaves_one_plain_model(
    tmp_path: Path, random: np.random.Generator, strategy: str, hosts: int
) -> None:
    """A line a round, the last one true of the model; a forest of all hosts' trees; the same when run again."""
    jobs = Jobs(tmp_path, random)
    booster = jobs.train(hosts, strategy=strategy)
    lines = _LINE.findall(jobs.printed)
    assert [int(number) for number, *_ in lines] == list(range(12))
    assert float(lines[-1][3]) == pytest.approx(jobs.rmse(booster), abs=2e-5)
    assert float(lines[-1][3]) < float(lines[0][3])
    assert "the model depends on which rows each rank has" in jobs.printed
    assert booster.num_boosted_rounds() == 12
    assert len(booster.get_dump()) == 12 * hosts
    assert _same(jobs.train(hosts, strategy=strategy), booster)


@pytest.mark.parametrize("strategy", _STRATEGIES)
def test_one_host_trains_as_always(tmp_path: Path, random: np.random.Generator, strategy: str) -> None:
    """One model is its own average; the bytes are those of strategy=allreduce, sampling and all."""
    jobs = Jobs(tmp_path, random, "multi:softprob")
    jobs.hyperparameters |= {"subsample": 0.7, "colsample_bynode": 0.6, "early_stopping_rounds": 5}
    assert _same(jobs.train(1, strategy=strategy), jobs.train(1))


@pytest.mark.parametrize("strategy", _STRATEGIES)
def test_several_ranks_on_a_host_are_averaged_as_well(
    tmp_path: Path, random: np.random.Generator, strategy: str
) -> None:
    """It is ranks that boost alone, so one host with two of them is like two hosts with the same rows each."""
    jobs = Jobs(tmp_path, random, "multi:softprob")
    booster = jobs.train(1, strategy=strategy, ranks_per_host=2, num_round=3)
    assert len(booster.get_dump()) == 3 * 3 * 2
    predicted = booster.predict(xgb.DMatrix(jobs.features))
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("strategy", _STRATEGIES)
def test_label_sorted_shards_ruin_averages_but_not_histograms(
    tmp_path: Path, random: np.random.Generator, strategy: str
) -> None:
    """Each host then knows one kind of row: what the documentation warns of."""
    jobs = Jobs(tmp_path, random)
    allreduce = jobs.rmse(jobs.train(4, train="sorted"))
    assert allreduce == jobs.rmse(jobs.train(4))
    even = jobs.rmse(jobs.train(4, strategy=strategy))
    apart = jobs.rmse(jobs.train(4, strategy=strategy, train="sorted"))
    assert even < 1.3 * allreduce
    assert apart > 1.5 * allreduce


def test_hosts_without_rows_count_nothing(tmp_path: Path, random: np.random.Generator) -> None:
    """Five hosts with four files: the fifth one has no trees in the model."""
    jobs = Jobs(tmp_path, random)
    booster = jobs.train(5, strategy="parameter_server", sync_rounds=5)
    assert len(booster.get_dump()) == 12 * 4
    assert _LINE.findall(jobs.printed)[-1][0] == "11"


def test_a_server_goes_on_from_its_checkpoints(tmp_path: Path, random: np.random.Generator) -> None:
    """Stopped anywhere, it ends with the same model; on other hosts it is another run."""
    jobs = Jobs(tmp_path, random, "multi:softprob")
    jobs.hyperparameters |= {
        "strategy": "parameter_server",
        "sync_rounds": 3,
        "colsample_bynode": 0.6,
        "num_round": 90,
        "checkpoint_interval": 1000,
        "save_model_on_termination": "true",
    }
    uninterrupted = jobs.train(2)
    option = f"--checkpoints={tmp_path / 'checkpoints'}"
    process = jobs.start(2, option)
    _until_printed(jobs, process, f"\n[{random.integers(1, 20)}]\t")
    _stop(tmp_path)
    assert process.wait(_DEADLINE) == 0, jobs.printed
    part = jobs.model.num_boosted_rounds()
    assert part % 3 == 0
    assert part < 90
    assert jobs.run(3, option, code=1) is None
    assert "was made by another run: rows of each rank is" in jobs.failure
    assert _same(jobs.train(2, option), uninterrupted)
    assert f"going on after round {part - 1}," in jobs.printed


def test_a_stopped_ensemble_saves_what_there_is(tmp_path: Path, random: np.random.Generator) -> None:
    """SIGTERM on one host: all hosts are averaged after the rounds that each of them has."""
    jobs = Jobs(tmp_path, random)
    jobs.hyperparameters |= {
        "strategy": "ensemble",
        "num_round": 100_000,
        "save_model_on_termination": "true",
    }
    process = jobs.start(2)
    _until_printed(jobs, process, "strategy=ensemble averages")
    _stop(tmp_path)
    assert process.wait(_DEADLINE) == 0, jobs.printed
    booster = jobs.model
    lines = _LINE.findall(jobs.printed)
    assert booster.num_boosted_rounds() == len(lines) < 100_000
    assert float(lines[-1][3]) == pytest.approx(jobs.rmse(booster), abs=2e-5)


@pytest.mark.parametrize("strategy", _STRATEGIES)
def test_a_rank_that_dies_alone_ends_the_job_everywhere(
    tmp_path: Path, random: np.random.Generator, strategy: str
) -> None:
    """Under the same supervision, although nobody was talking to it."""
    jobs = Jobs(tmp_path, random)
    process = jobs.start(3, strategy=strategy, num_round=1_000_000, eval_metric="mae")
    _until_printed(jobs, process, f"strategy={strategy} averages")
    _signal(tmp_path / "out" / "hosts" / "algo-2", "treering.worker", signal.SIGKILL)
    assert process.wait(_DEADLINE) == 1, jobs.printed
    assert re.match(r"algo-2: rank 1 \(pid \d+\) was killed by SIGKILL without a word", jobs.failure)
    assert not (tmp_path / "out" / "model" / "xgboost-model").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"booster": "dart"}, "strategy=ensemble cannot average trees that booster=dart weighs anew"),
        ({"reproducible": "true"}, "reproducible=true, but with strategy=ensemble the model depends on"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, random: np.random.Generator, given: dict[str, Any], said: str
) -> None:
    """In one sentence, and without a model."""
    jobs = Jobs(tmp_path, random)
    assert jobs.run(2, code=1, strategy="ensemble", **given) is None
    assert said in jobs.failure


def test_a_model_to_go_on_from_is_refused(tmp_path: Path, random: np.random.Generator) -> None:
    """Averages of what was added would not be averages of models."""
    jobs = Jobs(tmp_path, random)
    (tmp_path / "old").mkdir()
    jobs.train(1, num_round=1).save_model(tmp_path / "old" / "xgboost-model.json")
    assert jobs.run(2, f"--channel=model={tmp_path / 'old'}", code=1, strategy="ensemble") is None
    assert "strategy=ensemble cannot go on from the model in channel model" in jobs.failure


def _until_printed(jobs: Jobs, process: subprocess.Popen[str], text: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while text not in jobs.printed:
        assert process.poll() is None, jobs.printed
        assert time.monotonic() < deadline, jobs.printed
        time.sleep(0.01)


def _stop(folder: Path) -> None:
    """Send SIGTERM to one host's supervisor."""
    _signal(folder, "train", signal.SIGTERM)


def _signal(folder: Path, program: str, number: signal.Signals) -> None:
    """Send a signal to one process of a host below `folder`, by the last word of its command."""
    for process in psutil.process_iter():
        with process.oneshot():
            try:
                base = process.environ().get("SAGEMAKER_BASE_DIR", "")
                if base.startswith(str(folder)) and process.cmdline()[-1:] == [program]:
                    process.send_signal(number)
                    return
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
    raise AssertionError(f"no {program} runs")
