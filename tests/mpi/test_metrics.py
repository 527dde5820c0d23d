"""The whole table of metrics through whole jobs, on shards sorted by label: the same lines on any number of hosts."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import sklearn.metrics as sk
import xgboost as xgb

from treering import tasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    type Floats = NDArray[np.float32]

_ROUNDS = 3
_HOSTS = (1, 2, 3)


class Task(NamedTuple):
    """One kind of job, and the metrics that can score it."""

    objective: str
    metrics: Sequence[str]
    hyperparameters: Sequence[str] = ()


_TASKS = {
    "regression": Task(
        "reg:squarederror",
        ("rmse", "mae", "mse", "mape", "mphe", "rmsle", "r2", "quantile", "expectile"),
        ("quantile_alpha=0.3", "expectile_alpha=0.3"),
    ),
    "counts": Task(
        "count:poisson",
        ("poisson-nloglik", "gamma-nloglik", "gamma-deviance", "tweedie-nloglik@1.4", "rmse", "cox-nloglik"),
    ),
    "binary": Task(
        "binary:logistic",
        (
            *(
                "auc",
                "aucpr",
                "logloss",
                "error",
                "error@0.7",
                "accuracy",
                "balanced_accuracy",
                "f1",
                "f1_binary",
            ),
            *("f1_macro", "precision", "precision_macro", "precision_micro", "recall", "recall_macro"),
            *("recall_micro", "rmse", "mae", "ams@0.2"),
        ),
    ),
    "multiclass": Task(
        "multi:softprob",
        (
            *("merror", "mlogloss", "auc", "accuracy", "balanced_accuracy", "f1", "f1_macro", "precision"),
            *("precision_macro", "precision_micro", "recall", "recall_macro", "recall_micro"),
        ),
        ("num_class=3",),
    ),
    "ranking": Task(
        "rank:ndcg",
        ("ndcg", "ndcg@3", "ndcg@3-", "map@5", "map", "pre@4", "auc"),
        ("group_column=1", "ndcg_exp_gain=false"),
    ),
    "relevances": Task(
        "binary:logistic",
        (
            *("ndcg", "ndcg@3", "ndcg@3-", "map", "map@5", "map@5-", "pre", "pre@4", "auc", "aucpr"),
            *("logloss", "f1"),
        ),
        ("group_column=1",),
    ),
    "survival": Task(
        "survival:aft", ("aft-nloglik", "interval-regression-accuracy"), ("label_upper_column=1",)
    ),
}


def _table(random: np.random.Generator, kind: str, rows: int = 300) -> Floats:
    """Label, perhaps a further column, features; sorted by label, or by query for ranking.

    Sorted by label, the rows of each query of `relevances` lie on all hosts.
    """
    features = random.standard_normal((rows, 3))
    signal = features[:, 0] + random.standard_normal(rows)
    label: NDArray[Any]
    further: list[NDArray[Any]] = []
    match kind:
        case "regression":
            label = np.abs(signal) + 0.1
        case "counts":
            label = random.poisson(np.exp(signal / 2)) + 1.0
        case "binary":
            label = (signal > 0).astype(float)
        case "multiclass":
            label = np.digitize(signal, [-0.5, 0.5]).astype(float)
        case "ranking" | "relevances":
            label = (signal > 0).astype(float)
            further = [np.sort(random.integers(0, rows // 12, rows)).astype(float)]
        case _:
            label = np.exp(signal)
            further = [np.where(random.random(rows) < 0.3, np.inf, label)]
    table = np.column_stack([label, *further, features]).astype(np.float32)
    return table if kind == "ranking" else table[np.argsort(table[:, 0], kind="stable")]


def _job(folder: Path, task: Task, hosts: int, *more: str) -> list[str]:
    """The metric lines of a job on shards, with `more` arguments."""
    command = [
        sys.executable,
        "-m",
        "treering",
        "local",
        f"--hosts={hosts}",
        f"--output={folder / str(hosts)}",
    ]
    command += [
        f"--channel=train={folder / 'train'}",
        "--content-type=text/csv",
        "--distribution=ShardedByS3Key",
    ]
    command += [
        f"--channel=validation={folder / 'validation'}",
        "--threads-per-host=1",
        f"--hp=num_round={_ROUNDS}",
    ]
    given = (f"objective={task.objective}", "max_depth=3", f"eval_metric={', '.join(task.metrics)}")
    command += [*(f"--hp={one}" for one in (*given, *task.hyperparameters)), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    return [line for line in done.stdout.splitlines() if re.match(r"\[\d+\]\t", line)]


@pytest.mark.parametrize("kind", _TASKS)
def test_the_same_lines_on_label_sorted_shards_whatever_the_hosts(
    tmp_path: Path, random: np.random.Generator, kind: str
) -> None:
    """Byte for byte, every metric in the order given, on training and validation rows; none of them undefined."""
    task = _TASKS[kind]
    for channel in ("train", "validation"):
        (tmp_path / channel).mkdir()
        table = _table(random, kind)
        for number, part in enumerate(np.array_split(table, 3)):
            np.savetxt(tmp_path / channel / f"{number}.csv", part, fmt="%.9g", delimiter=",")
    lines = {hosts: _job(tmp_path, task, hosts) for hosts in _HOSTS}
    names = [f"{channel}-{metric}" for channel in ("train", "validation") for metric in task.metrics]
    assert [field.rpartition(":")[0] for field in lines[1][0].split("\t")[1:]] == names
    assert "nan" not in "".join(lines[1])
    if task.objective.startswith(
        ("rank:", "survival:")
    ):  # the model itself may depend on the layout, but see below
        assert [len(each) for each in lines.values()] == [_ROUNDS] * len(_HOSTS)
        assert lines[1][0].split("\t")[0] == "[0]"
    else:
        assert lines[1] == lines[2] == lines[3]


def test_lines_of_one_model_are_the_same_whatever_made_it(
    tmp_path: Path, random: np.random.Generator
) -> None:
    """Metrics of survival times: a given model, to which rounds with eta=0 add nothing, has the same lines on any hosts."""
    task, names = _TASKS["survival"], ("train", "validation")
    for channel in names:
        (tmp_path / channel).mkdir()
        for number, part in enumerate(np.array_split(_table(random, "survival"), 3)):
            np.savetxt(tmp_path / channel / f"{number}.csv", part, fmt="%.9g", delimiter=",")
    varied = _job(tmp_path, task, 1)
    given = (tmp_path / "1" / "model").rename(tmp_path / "model")
    again = task._replace(hyperparameters=(*task.hyperparameters, "eta=0"))
    lines = {hosts: _job(tmp_path, again, hosts, f"--channel=model={given}") for hosts in _HOSTS}
    assert lines[1] == lines[2] == lines[3]
    values = [line.split("\t")[1:] for line in (*varied[-1:], *lines[1])]
    assert all(each == values[0] for each in values)


def test_the_lines_hold_what_scikit_learn_finds_in_all_rows(
    tmp_path: Path, random: np.random.Generator
) -> None:
    """On three hosts, each of which has rows of nearly one class only."""
    table = _table(random, "binary")
    for channel in ("train", "validation"):
        (tmp_path / channel).mkdir()
        for number, part in enumerate(np.array_split(table, 3)):
            np.savetxt(tmp_path / channel / f"{number}.csv", part, fmt="%.9g", delimiter=",")
    last = _job(tmp_path, _TASKS["binary"], 3)[-1]
    said = {
        name: float(value) for name, _, value in (field.rpartition(":") for field in last.split("\t")[1:])
    }
    model = (tmp_path / "3" / "model" / "xgboost-model").read_bytes()
    booster = xgb.Booster(model_file=bytearray(model))
    label, score = table[:, 0], booster.predict(xgb.DMatrix(table[:, 1:]))
    decided = score > 0.5
    expected = {
        "auc": sk.roc_auc_score(label, score),
        "logloss": sk.log_loss(label, score.astype(np.float64)),
        "accuracy": sk.accuracy_score(label, decided),
        "balanced_accuracy": sk.balanced_accuracy_score(label, decided),
        "f1_binary": sk.f1_score(label, decided),
        "f1_macro": sk.f1_score(label, decided, average="macro"),
        "precision": sk.precision_score(label, decided),
        "recall": sk.recall_score(label, decided),
    }
    for name, value in expected.items():
        assert said[f"validation-{name}"] == pytest.approx(value, abs=6e-6), name


def test_every_metric_is_in_some_job() -> None:
    """A metric cannot be added without being tried on shards."""
    tried = {tasks.base_name(metric) for task in _TASKS.values() for metric in task.metrics}
    assert tried == set(tasks.METRICS)
