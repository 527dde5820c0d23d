"""What a job leaves, in the XGBoost by which AWS's image serves models: it loads, and predicts the same.

That version lies in an environment of its own, made from ``requirements-serving.lock``.
"""

from __future__ import annotations

import dataclasses
import io
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import drop_in_jobs
import local_jobs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb
from drop_in_jobs import csv
from local_jobs import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_REPOSITORY = Path(__file__).resolve().parents[2]
_SERVED_BY = "3.2.0"


@pytest.fixture(scope="session")
def serving() -> str:
    """The Python that has the serving image's XGBoost; made when it is not there yet."""
    made = subprocess.run(
        (_REPOSITORY / "scripts" / "tool_env.sh", "serving"), check=True, stdout=subprocess.PIPE, text=True
    )
    return made.stdout.strip()


@dataclasses.dataclass(frozen=True)
class Case:
    """A job and rows to ask its model about: float32, shape (rows, columns)."""

    job: Job
    rows: NDArray[np.float32]


def _case(random: np.random.Generator, label: str = "number", **hyperparameters: str) -> Case:
    """A job on CSV, with missing values."""
    features = random.standard_normal((400, 5)).round(3)
    signal = features[:, 0] - 2 * features[:, 1] + features[:, 2] * features[:, 3]
    features[random.random(features.shape) < 0.1] = np.nan
    labels = {"number": signal, "class": np.digitize(signal, [-1, 1]), "positive": np.exp(signal / 4)}
    labels["binary"] = signal > 1
    table = np.column_stack([labels[label], features])
    own = {"num_round": "12", "max_depth": "4"} | hyperparameters
    return Case(Job({"train": {"a.csv": csv(table)}}, own), features.astype(np.float32))


def _categories(random: np.random.Generator) -> Case:
    """Text in Parquet: who predicts gives the position in the sorted list, or nothing."""
    names = np.array(["ant", "bee", "cat", "dog", "eel", "fox", "gnu"])
    codes, number = random.integers(0, 7, 400), random.standard_normal(400).astype(np.float32)
    label = (codes % 3 + number).astype(np.float32)
    known = random.random(400) < 0.9
    buffer = io.BytesIO()
    pq.write_table(pa.table({"y": label, "kind": pa.array(names[codes], mask=~known), "x": number}), buffer)
    job = Job(
        {"train": {"a.parquet": buffer.getvalue()}}, {"num_round": "12", "max_cat_to_onehot": "2"}, "parquet"
    )
    return Case(job, np.column_stack([np.where(known, codes, np.nan), number]).astype(np.float32))


def _ranking(random: np.random.Generator) -> Case:
    job = drop_in_jobs.ranking(random)
    return Case(job, random.standard_normal((300, 12)).astype(np.float32))


def _continued(random: np.random.Generator) -> Case:
    """Trees after those of a model that was given."""
    case = _case(random, "class", objective="multi:softprob", num_class="3")
    parameters = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3}
    old = xgb.train(parameters, xgb.DMatrix(case.rows, random.integers(0, 3, 400)), 5)
    channels = dict(case.job.channels) | {"model": {"xgboost-model": bytes(old.save_raw())}}
    return dataclasses.replace(case, job=dataclasses.replace(case.job, channels=channels))


def _digits(_: np.random.Generator) -> Case:
    """Sparse rows: what LIBSVM leaves out is missing."""
    job = drop_in_jobs.digits()
    (text,) = {str(each) for name, each in job.channels["validation"].items() if name == "part-0"}
    rows = np.full((text.count("\n"), 64), np.nan, np.float32)
    for row, line in enumerate(text.splitlines()):
        for pair in line.split()[1:]:
            index, value = pair.split(":")
            rows[row, int(index)] = float(value)
    return Case(job, rows)


_CASES: dict[str, Callable[[np.random.Generator], Case]] = {
    "squarederror": _case,
    "logistic": lambda random: _case(random, "binary", objective="binary:logistic"),
    "softmax": _digits,
    "softprob": lambda random: _case(random, "class", objective="multi:softprob", num_class="3"),
    "base_score": lambda random: _case(
        random, "class", objective="multi:softprob", num_class="3", base_score="[0.2, 0.3, 0.5]"
    ),
    "poisson": lambda random: _case(random, "positive", objective="count:poisson"),
    "quantiles": lambda random: _case(
        random, objective="reg:quantileerror", quantile_alpha="[0.1, 0.5, 0.9]"
    ),
    "aft": lambda random: _case(random, "positive", objective="survival:aft"),
    "ranking": _ranking,
    "categories": _categories,
    "dart": lambda random: _case(random, booster="dart", rate_drop="0.4", seed="7"),
    "vector leaves": lambda random: _case(
        random, "class", objective="multi:softprob", num_class="3", multi_strategy="multi_output_tree"
    ),
    "gblinear": lambda random: _case(random, booster="gblinear"),
    "continued": _continued,
}


@pytest.mark.parametrize("name", _CASES)
def test_the_serving_version_predicts_the_same(
    serving: str, tmp_path: Path, random: np.random.Generator, name: str
) -> None:
    """Predictions and margins agree to the last bit but for what exponentials may differ by.

    Quantiles that cross are put in order by XGBoost 3.4 only, and are compared in order.
    """
    case = _CASES[name](random)
    ended = local_jobs.run(case.job, tmp_path)
    assert ended.code == 0, ended.log
    rows, answers = tmp_path / "rows.npy", tmp_path / "answers.npz"
    np.save(rows, case.rows)
    script = Path(__file__).with_name("predict.py")
    asked = subprocess.run(
        (serving, str(script), str(ended.model), str(rows), str(answers)),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert asked.stdout.strip() == _SERVED_BY
    served = np.load(answers)
    with xgb.config_context(verbosity=0):  # it warns of gblinear's end
        booster, matrix = ended.booster, xgb.DMatrix(case.rows)
        for kind, margin in (("margins", True), ("predictions", False)):
            own = booster.predict(matrix, output_margin=margin, validate_features=False)
            assert np.ptp(own) > 0, "a model that says the same of all rows shows nothing"
            both = (served[kind], own)
            theirs, ours = (np.sort(one, axis=1) for one in both) if name == "quantiles" else both
            np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-7)
