"""The bytes of the model in different layouts of one job; `make invariance` is the same at length."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb
from pyarrow import csv, parquet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    type Floats = NDArray[np.float32]

_STOCK = Path(__file__).parents[2] / "benchmarks" / "stock.py"
_CSV, _PARQUET = "text/csv;header=true", "application/x-parquet"
_ROUNDS = 6
_COMMON = {"num_round": _ROUNDS, "max_depth": 4, "max_bin": 32}
_SAMPLING = {"subsample": 0.7, "colsample_bytree": 0.6, "seed": 5}


def _features(random: np.random.Generator, rows: int = 1500) -> Floats:
    found = random.standard_normal((rows, 5), np.float32)
    found[:, 3] = np.exp(5 * found[:, 3])
    found[:, 4] = random.integers(0, 4, rows)
    found[random.random(found.shape) < 0.1] = np.nan
    return found


def _label(random: np.random.Generator, objective: str, features: Floats) -> Floats:
    signal = np.nan_to_num(features[:, 0] - 2 * features[:, 1]) + random.standard_normal(len(features))
    label: NDArray[Any]
    match objective:
        case "count:poisson":
            label = random.poisson(np.exp(signal / 2))
        case "multi:softprob":
            label = np.digitize(signal, [-1, 1])
        case "binary:logistic":
            label = signal > 1
        case _:
            label = signal + 50 * random.standard_t(1.1, len(features))  # its variance is infinite
    return np.asarray(label, np.float32)


class Jobs:
    """Runs `treering local` on rows that are cut into files in some way."""

    def __init__(
        self, folder: Path, features: Floats, label: Floats, hyperparameters: dict[str, object]
    ) -> None:
        self.folder = folder
        self.hyperparameters = _COMMON | hyperparameters
        columns = {f"f{number}": column for number, column in enumerate(features.T)}
        self._table = pa.table(
            {name: pa.array(values, from_pandas=True) for name, values in ({"y": label} | columns).items()}
        )

    def train(self, files: Sequence[NDArray[np.int64]], *options: str, kind: str = _CSV) -> tuple[int, str]:
        """Train on files with these rows, in this order; the exit code and all that was printed."""
        data = self.folder / "data"
        for path in data.glob("*"):
            path.unlink()
        data.mkdir(exist_ok=True)
        for number, rows in enumerate(files):
            part = self._table.take(rows)
            if kind == _CSV:
                csv.write_csv(part, data / f"{number}.csv", csv.WriteOptions(quoting_style="none"))
            else:
                parquet.write_table(part, data / f"{number}.parquet", row_group_size=100)
        command = [sys.executable, "-m", "treering", "local", f"--output={self.folder / 'out'}"]
        command += [f"--channel=train={data}", f"--content-type={kind}", "--threads-per-host=1", *options]
        command += [f"--hp={name}={value}" for name, value in self.hyperparameters.items()]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120
        )
        return done.returncode, done.stdout

    def model(self, files: Sequence[NDArray[np.int64]], *options: str, kind: str = _CSV) -> bytes:
        """The model's bytes; the job has to succeed."""
        code, printed = self.train(files, *options, kind=kind)
        assert code == 0, printed
        return (self.folder / "out" / "model" / "xgboost-model").read_bytes()


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"objective": "reg:squarederror"},
        {"objective": "multi:softprob", "num_class": 3, "colsample_bytree": 0.6},
    ],
    ids=lambda given: str(given["objective"]),
)
def test_one_model_in_every_layout(
    tmp_path: Path, random: np.random.Generator, hyperparameters: dict[str, object]
) -> None:
    """Hosts, threads, formats, the order of rows and the way they are cut into files change no byte."""
    features = _features(random)
    label = _label(random, str(hyperparameters["objective"]), features)
    jobs = Jobs(tmp_path, features, label, hyperparameters | {"reproducible": "true"})
    rows = np.arange(label.size)
    by_label = np.argsort(label)
    uneven = np.split(random.permutation(rows), [rows.size * 9 // 10])
    sharded = "--distribution=ShardedByS3Key"
    models = {
        jobs.model([rows]),
        jobs.model([by_label], "--hosts=2", "--threads-per-host=2", kind=_PARQUET),
        jobs.model(uneven, "--hosts=3", sharded),  # the third host has no rows
        jobs.model([rows], "--hosts=2", "--hp=ranks_per_host=2"),
    }
    assert len(models) == 1


@pytest.mark.parametrize(
    "hyperparameters",
    [
        _SAMPLING | {"objective": "count:poisson"},
        _SAMPLING | {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.3},
    ],
    ids=lambda given: str(given["objective"]),
)
def test_one_model_with_row_sampling(
    tmp_path: Path, random: np.random.Generator, hyperparameters: dict[str, object]
) -> None:
    """As long as files stay the same, it does not matter who reads which part of them."""
    features = _features(random)
    label = _label(random, str(hyperparameters["objective"]), features)
    jobs = Jobs(tmp_path, features, label, hyperparameters | {"reproducible": "true"})
    files = np.split(np.argsort(label), np.sort(random.choice(label.size, 3)))
    models = {
        jobs.model(files),
        jobs.model(files, "--hosts=2", "--threads-per-host=2", kind=_PARQUET),
        jobs.model(files, "--hosts=3", "--distribution=ShardedByS3Key"),
    }
    assert len(models) == 1


def test_plain_xgboost_makes_several_models(tmp_path: Path, random: np.random.Generator) -> None:
    """On heavy-tailed labels the layout does change the model, unless something is done about it."""
    features = _features(random)
    label = _label(random, "reg:squarederror", features)
    lines = []
    for ranks in (1, 2, 3):
        parts = [str(tmp_path / f"{ranks}-{rank}.npz") for rank in range(ranks)]
        for part, rows in zip(parts, np.array_split(np.arange(label.size), ranks), strict=True):
            np.savez(part, features=features[rows], label=label[rows])
        parameters = {"objective": "reg:squarederror", "max_depth": 4, "max_bin": 32, "nthread": 1}
        lines.append(json.dumps({"parameters": parameters, "rounds": _ROUNDS, "parts": parts}))
    done = subprocess.run(
        [sys.executable, str(_STOCK)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    models = [line for line in done.stdout.splitlines() if line.startswith("model: ")]
    assert len(models) == 3, done.stdout
    assert len(set(models)) > 1


def test_another_seed_or_parameter_is_another_model(tmp_path: Path, random: np.random.Generator) -> None:
    """Equal bytes mean something: what should change the model does."""
    features = _features(random)
    label = _label(random, "reg:squarederror", features)
    files = [np.arange(label.size)]
    settings: list[dict[str, object]] = [{}, {"seed": 6}, {"eta": 0.29}, {"subsample": 0.71}]
    models = [Jobs(tmp_path, features, label, _SAMPLING | each).model(files) for each in settings]
    assert len(set(models)) == len(settings)


def test_reproducible_true_refuses_what_auto_only_reports(
    tmp_path: Path, random: np.random.Generator
) -> None:
    """An objective without an exact form: one sentence and no model, or one log line and a model."""
    features = _features(random)
    label = _label(random, "reg:squarederror", features)
    files = [np.arange(label.size)]
    absolute: dict[str, object] = {"objective": "reg:absoluteerror"}
    code, printed = Jobs(tmp_path, features, label, absolute | {"reproducible": "true"}).train(
        files, "--hosts=2"
    )
    assert code == 1
    assert "Traceback" not in printed
    for number in (1, 2):
        failure = (tmp_path / "out" / "hosts" / f"algo-{number}" / "output" / "failure").read_text()
        sentence = failure.splitlines()[0]
        for words in (
            "UserError",
            "reproducible=true",
            "reg:absoluteerror",
            "no exact form",
            "reproducible=auto",
        ):
            assert words in sentence
    assert not list((tmp_path / "out" / "model").iterdir())
    code, printed = Jobs(tmp_path, features, label, absolute).train(files, "--hosts=2")
    assert code == 0, printed
    said = [line for line in printed.splitlines() if "no exact form" in line]
    assert len(said) == 1
    assert "may depend on the number of hosts" in said[0]
    assert (tmp_path / "out" / "model" / "xgboost-model").exists()


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("reg:squarederror", {}),
        ("binary:logistic", {}),
        ("count:poisson", {}),
        ("multi:softprob", {"num_class": 3}),
    ],
)
def test_predictions_are_those_of_plain_xgboost(
    tmp_path: Path, random: np.random.Generator, objective: str, more: dict[str, object]
) -> None:
    """To 1e-5 of the largest, where the cuts are the same: columns with no more values than bins."""
    features = random.integers(0, 20, (1500, 5)).astype(np.float32)
    features[random.random(features.shape) < 0.1] = np.nan
    label = _label(random, objective, (features - 10) / np.float32(5))
    parameters = {"objective": objective, **more}
    model = Jobs(tmp_path, features, label, parameters).model([np.arange(label.size)])
    data = xgb.QuantileDMatrix(features, label, max_bin=32)
    plain = xgb.train(parameters | {"max_depth": 4, "max_bin": 32}, data, _ROUNDS)
    expected = plain.predict(xgb.DMatrix(features))
    rows = xgb.DMatrix(features, feature_names=[f"f{number}" for number in range(5)])
    found = xgb.Booster(model_file=bytearray(model)).predict(rows)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
