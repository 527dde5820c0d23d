"""Train as one would without treering: a program for each of the ways that `benchmarks/whole.py` compares with.

    python benchmarks/peers.py WAY FORMAT FILE ROUNDS DEPTH THREADS

`stock` is a plain script: the quickest reader there is for the format, ``QuantileDMatrix``, ``train``. `uri` loads
as AWS's image does: it imports what that image's readers and metrics are written with (see its ``data_utils.py`` and
``custom_metrics.py``), reads text by XGBoost's own parser, and Parquet through pandas and numpy into a ``DMatrix``. The
other ways go without scikit-learn, which XGBoost and LightGBM import where they find it. `lightgbm` is
LightGBM's own loader and trainer. Each prints a line when its rows are in memory, a line a round with the logarithmic
loss of the training rows, which are label first, and a line when the model is saved. `ring` is `stock` on several hosts with XGBoost's own tracker, as `benchmarks/hosts.py` starts it: in
the environment and below the folder that SageMaker's contract names, FILE within the channel.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_BINS = 256


def main() -> None:
    """Do as the command line says."""
    way, kind, path, *numbers = sys.argv[1:]
    rounds, depth, threads = map(int, numbers)
    ways: dict[str, Callable[..., None]] = {
        "stock": _stock,
        "ring": _ring,
        "uri": _uri,
        "lightgbm": _lightgbm,
    }
    if way != "uri":
        sys.modules["sklearn"] = None  # type: ignore[assignment]  # as if it were not there
    ways[way](kind, path, rounds, depth, threads)


def _stock(kind: str, path: str, rounds: int, depth: int, threads: int) -> None:
    import xgboost as xgb

    table = _frame(kind, path)
    print("loaded", flush=True)
    label = table.pop(table.columns[0])
    rows = xgb.QuantileDMatrix(table, label, max_bin=_BINS, nthread=threads, enable_categorical=True)
    _train(rows, rounds, depth, threads)


def _ring(kind: str, path: str, rounds: int, depth: int, threads: int) -> None:
    from xgboost import collective
    from xgboost.tracker import RabitTracker

    base = Path(os.environ["SAGEMAKER_BASE_DIR"], "input")
    resources = json.loads((base / "config" / "resourceconfig.json").read_text())
    hosts = resources["hosts"]
    rank = hosts.index(resources["current_host"])
    addresses = dict(pair.split("=") for pair in os.environ["TREERING_ADDRESSES"].split(","))
    first, port = addresses[hosts[0]], int(os.environ["TREERING_PORT"])
    tracker, up = None, base.parents[1] / "tracker"
    if rank == 0:
        tracker = RabitTracker(n_workers=len(hosts), host_ip=first, port=port, sortby="task")
        tracker.start()
        up.touch()
    while not up.exists():  # who comes before it is there waits six seconds more
        time.sleep(0.01)
    with collective.CommunicatorContext(
        dmlc_tracker_uri=first, dmlc_tracker_port=port, dmlc_task_id=f"{rank:06d}"
    ):
        _stock(kind, str(base / "data" / "train" / path), rounds, depth, threads)
    if tracker is not None:
        tracker.wait_for()


def _uri(kind: str, path: str, rounds: int, depth: int, threads: int) -> None:
    import pandas as pd
    import pyarrow.parquet  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import xgboost as xgb

    warnings.filterwarnings("ignore", "(?s).*Text file input has been deprecated")
    if kind == "parquet":
        frame = pd.read_parquet(path)
        for name in frame.select_dtypes(exclude="number"):  # it knows numbers only
            frame[name] = pd.factorize(frame[name])[0]
        values = frame.to_numpy()
        rows = xgb.DMatrix(values[:, 1:], values[:, 0], nthread=threads)
    else:
        form = "format=csv&label_column=0" if kind == "csv" else "format=libsvm&indexing_mode=0"
        rows = xgb.DMatrix(f"{path}?{form}", nthread=threads)
    print("loaded", flush=True)
    _train(rows, rounds, depth, threads)


def _train(rows: Any, rounds: int, depth: int, threads: int) -> None:
    import xgboost as xgb

    parameters = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_bin": _BINS,
        "max_depth": depth,
        "nthread": threads,
    }
    booster = xgb.Booster(parameters, [rows])
    for iteration in range(rounds):
        booster.update(rows, iteration)
        print(booster.eval(rows, "train", iteration), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        booster.save_model(f"{folder}/model.ubj")
        print("saved", flush=True)


def _lightgbm(kind: str, path: str, rounds: int, depth: int, threads: int) -> None:
    import lightgbm

    parameters = {
        "objective": "binary",
        "metric": "binary_logloss",
        "max_bin": _BINS - 1,
        "max_depth": depth,
        "num_leaves": 2**depth,
        "learning_rate": 0.3,
        "num_threads": threads,
        "verbose": -1,
    }
    if kind == "parquet":
        table = _frame(kind, path)
        label = table.pop(table.columns[0])
        rows = lightgbm.Dataset(table, label)
    else:
        rows = lightgbm.Dataset(path, params={"label_column": "0", "header": False})

    def tell(state: Any) -> None:
        (_, _, value, _) = state.evaluation_result_list[0]
        print(f"[{state.iteration}]\ttrain-logloss:{value:.5f}", flush=True)

    booster = lightgbm.train(
        parameters, rows, rounds, valid_sets=[rows], valid_names=["train"], callbacks=[tell]
    )
    with tempfile.TemporaryDirectory() as folder:
        booster.save_model(f"{folder}/model.txt")
        print("saved", flush=True)


def _frame(kind: str, path: str) -> Any:
    import pandas as pd

    if kind == "parquet":
        frame = pd.read_parquet(path)
        return frame.astype(dict.fromkeys(frame.select_dtypes(exclude="number"), "category"))
    return pd.read_csv(path, header=None, engine="pyarrow", dtype="float32")


if __name__ == "__main__":
    main()
