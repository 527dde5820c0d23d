"""Plain XGBoost on one host of a lab, as one would run it without treering: its own tracker, its own collective.

Called as ``python -m benchmarks.plain ACTION RANK``: ``-``, or what `tests/faults/misconduct.py` does in round 5 on that rank. Everything
is left at XGBoost's defaults. The lines it prints are those by which `tests/faults/strikes.py` finds its moments.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import xgboost
from faults.misconduct import act
from pyarrow import csv
from sklearn.datasets import load_svmlight_file
from xgboost.tracker import RabitTracker

_BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])
_STRIKES = 5  # the round in which the fault happens


def main() -> None:
    """Train on this host's part of the rows; the first host starts the tracker and writes the model."""
    config = _BASE / "input" / "config"
    resources = json.loads((config / "resourceconfig.json").read_text())
    given = json.loads((config / "hyperparameters.json").read_text())
    hosts = resources["hosts"]
    rank, size = hosts.index(resources["current_host"]), len(hosts)
    addresses = dict(pair.split("=") for pair in os.environ["TREERING_ADDRESSES"].split(","))
    uri, port = addresses[hosts[0]], int(os.environ["TREERING_PORT"])
    tracker = RabitTracker(n_workers=size, host_ip=uri, port=port, sortby="task") if rank == 0 else None
    if tracker is not None:
        tracker.start()
    with xgboost.collective.CommunicatorContext(
        dmlc_tracker_uri=uri, dmlc_tracker_port=port, dmlc_task_id=f"{rank:06d}"
    ):
        _say(rank, "the ring is formed")
        features, label = _load(rank, size)
        _say(rank, "Train matrix has been read")
        matrix = xgboost.QuantileDMatrix(features, label)
        parameters = {"max_depth": 2, "nthread": 1}
        booster = xgboost.train(parameters, matrix, int(given["num_round"]), callbacks=[_Rounds(rank)])
        if rank == 0:
            (_BASE / "model").mkdir(exist_ok=True)
            (_BASE / "model" / "xgboost-model").write_bytes(booster.save_raw("ubj"))
    if tracker is not None:
        tracker.wait_for()


class _Rounds(xgboost.callback.TrainingCallback):
    def __init__(self, rank: int) -> None:
        super().__init__()
        self._rank = rank

    def before_iteration(self, model: object, epoch: int, evals_log: object) -> bool:  # noqa: ARG002  # its interface
        if epoch == _STRIKES and sys.argv[1] != "-" and self._rank == int(sys.argv[2]):
            act(sys.argv[1])
        return False

    def after_iteration(self, model: object, epoch: int, evals_log: object) -> bool:  # noqa: ARG002  # its interface
        _say(self._rank, f"[{epoch}]\tdone")
        return False


def _load(rank: int, size: int) -> tuple[object, np.ndarray]:
    """A rank's part of the channel, which is CSV or LIBSVM text."""
    files = sorted((_BASE / "input" / "data" / "train").iterdir())
    if files[0].suffix == ".csv":
        table = csv.read_csv(files[0], csv.ReadOptions(autogenerate_column_names=True))
        rows = np.column_stack([column.to_numpy() for column in table.columns])[rank::size]
        return rows[:, 1:], rows[:, 0]
    parts = [load_svmlight_file(str(file), n_features=9, zero_based=True) for file in files]
    return parts[0][0][rank::size], parts[0][1][rank::size]


def _say(rank: int, text: str) -> None:
    if rank == 0:
        print(text, flush=True)


if __name__ == "__main__":
    main()
