"""Jobs as AWS's public examples for its XGBoost image describe them, and how the platform reads their logs.

Hyperparameters and content types are those of the examples; the data has their shape. Abalone and the
handwritten digits are real, the rest is drawn anew in each run.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from local_jobs import Job
from sklearn.datasets import load_digits, load_svmlight_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_ABALONE = Path(__file__).resolve().parents[1] / "examples" / "abalone"
_TREES: Final = {"max_depth": "5", "eta": "0.2", "gamma": "4", "min_child_weight": "6"}


def published(channel: str, metric: str) -> re.Pattern[str]:
    """The regular expression that the platform publishes for a metric of AWS's image."""
    return re.compile(rf".*\[[0-9]+\].*#011{channel}-{metric}:(\S+)")


def scores(log: str, channel: str, metric: str) -> list[float]:
    """What the platform finds of one metric in a job's log, in which it shows a tab as ``#011``."""
    lines = log.replace("\t", "#011").splitlines()
    found = [match[1] for line in lines if (match := published(channel, metric).match(line))]
    return [float(text.partition("#011")[0]) for text in found]  # the expression takes in what follows


def metric_names(line: str) -> list[str]:
    """The names in a metric line, in its order."""
    return [field.rpartition(":")[0] for field in line.split("\t")[1:]]


def libsvm(labels: NDArray[Any], features: NDArray[Any], queries: Sequence[int] | None = None) -> str:
    """Rows as LIBSVM text, indices from 0; zeros are left out."""
    prefix = [""] * len(labels) if queries is None else [f" qid:{query}" for query in queries]
    return "".join(
        f"{label:g}{query}" + "".join(f" {i}:{row[i]:.9g}" for i in np.flatnonzero(row)) + "\n"
        for label, query, row in zip(labels, prefix, features, strict=True)
    )


def csv(table: NDArray[Any]) -> str:
    """Rows as CSV text without a header; NaN is an empty cell."""
    return "".join(",".join("" if np.isnan(cell) else f"{cell:.9g}" for cell in row) + "\n" for row in table)


def abalone() -> Job:
    """Regression on LIBSVM."""
    channels = {
        name: {path.name: path.read_bytes() for path in (_ABALONE / name).iterdir()}
        for name in ("train", "validation")
    }
    own = {"subsample": "0.7", "verbosity": "2", "objective": "reg:linear", "num_round": "50"}
    return Job(channels, _TREES | own, "text/x-libsvm")


def parquet() -> Job:
    """Regression on Parquet, the label in the first column."""
    channels = {}
    for name in ("train", "validation"):
        parts = [load_svmlight_file(str(path), n_features=9) for path in sorted((_ABALONE / name).iterdir())]
        dense = np.concatenate([features.toarray() for features, _ in parts]).astype(np.float32)
        label = np.concatenate([each for _, each in parts])
        columns = {"rings": label.astype(np.float32)} | {f"x{i}": dense[:, i] for i in range(1, 9)}
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer)
        channels[name] = {f"{name}.parquet": buffer.getvalue()}
    own = {"subsample": "0.7", "objective": "reg:squarederror", "num_round": "10"}
    return Job(channels, _TREES | own, "application/x-parquet")


def direct_marketing(random: np.random.Generator) -> Job:
    """Binary classification on CSV: numbers and one-hot columns, no header."""
    rows = 2100
    numbers = np.round(random.gamma(2, 20, (rows, 5)))
    one_hot = (random.random((rows, 54)) < random.random(54) ** 2).astype(float)
    signal = numbers[:, 0] / 20 - one_hot[:, :4].sum(axis=1) + random.standard_normal(rows)
    table = np.column_stack([signal > np.quantile(signal, 0.88), numbers, one_hot])
    channels = {
        "train": {"train.csv": csv(table[:1700])},
        "validation": {"validation.csv": csv(table[1700:])},
    }
    own = {"subsample": "0.8", "verbosity": "0", "objective": "binary:logistic", "num_round": "100"}
    return Job(channels, _TREES | own, "csv")


def tuning(random: np.random.Generator) -> Job:
    """One training job of a tuning job: what is static, a point of the searched ranges, and the tuner's own."""
    static = {
        "eval_metric": "auc",
        "objective": "binary:logistic",
        "num_round": "40",
        "rate_drop": "0.3",
        "tweedie_variance_power": "1.4",
    }
    point = {"eta": "0.37", "min_child_weight": "3.25", "alpha": "1.5", "max_depth": "4"}
    own = {"_tuning_objective_metric": "validation:auc"}
    return Job(direct_marketing(random).channels, static | point | own, "csv")


def digits() -> Job:
    """Classification into ten classes on LIBSVM: several files, dealt to the hosts."""
    features, label = load_digits(return_X_y=True)

    def part(rows: slice) -> str:
        return libsvm(label[rows], features[rows])

    channels = {
        "train": {f"digits/part-{n}": part(slice(n, 1300, 4)) for n in range(4)},
        "validation": {f"part-{n}": part(slice(1300 + n, None, 2)) for n in range(2)},
    }
    own = {"objective": "multi:softmax", "num_class": "10", "num_round": "10", "verbosity": "0"}
    return Job(channels, _TREES | own, "libsvm", "ShardedByS3Key")


def ranking(random: np.random.Generator) -> Job:
    """Learning to rank on LIBSVM with ``qid``."""

    def queries(count: int) -> str:
        query = np.repeat(np.arange(count), random.integers(2, 20, count))
        features = random.standard_normal((query.size, 12)).round(3)
        signal = features[:, 0] + features[:, 1] + random.standard_normal(query.size) / 2
        return libsvm(np.digitize(signal, [0, 1, 2]), features, query.tolist())

    channels = {"train": {"train.txt": queries(120)}, "validation": {"validation.txt": queries(40)}}
    own = {"objective": "rank:pairwise", "eval_metric": "ndcg@5", "num_round": "20", "eta": "0.1"}
    return Job(channels, {"max_depth": "4"} | own, "text/libsvm")
