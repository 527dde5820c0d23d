"""Train with plain XGBoost on processes of this machine, a part of the rows each, as one would without treering.

    python benchmarks/stock.py < jobs.jsonl

Every line of the input is one job: ``{"parameters": {...}, "rounds": 10, "parts": ["0.npz", "1.npz"]}``; it may
also say which columns are codes of categories, ``"categorical": [7]``. A part is what one rank reads: `features` of
shape (rows, columns) and `label` of shape (rows,), float32; rows may be 0.
For every job one line goes out, ``model: `` with the SHA-256 of its model file or ``failed: `` with the reason,
among whatever else XGBoost's tracker prints.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import xgboost as xgb
from xgboost import collective
from xgboost.tracker import RabitTracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

_DEADLINE = 120.0  # seconds for one job
_GRACE = 5.0  # seconds for a rank to end once the job has
_PAUSE = 0.02  # seconds


def main() -> None:
    """Answer every job as soon as it is done."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["xgboost"])  # a rank is then there at once
    for line in sys.stdin:
        job = json.loads(line)
        tracker = RabitTracker(n_workers=len(job["parts"]), host_ip="127.0.0.1", sortby="task")
        tracker.start()
        ours, theirs = processes.Pipe(duplex=False)
        ranks = [
            processes.Process(target=_train, args=(job, rank, tracker.worker_args(), theirs))
            for rank in range(len(job["parts"]))
        ]
        for rank in ranks:
            rank.start()
        print(_answer(ours, ranks), flush=True)
        for rank in ranks:
            rank.join(_GRACE)
            rank.kill()  # XGBoost may wait for a lost rank for ever


def _answer(ours: Connection, ranks: Sequence[BaseProcess]) -> str:
    """What the first rank says to it, or that there will be no answer."""
    ends = time.monotonic() + _DEADLINE
    while time.monotonic() < ends and not any(rank.exitcode for rank in ranks):
        if ours.poll(_PAUSE):
            return str(ours.recv())
    return "failed: a rank died" if any(rank.exitcode for rank in ranks) else "failed: no answer"


def _train(job: Mapping[str, Any], rank: int, tracker: Mapping[str, Any], answer: Connection) -> None:
    """One rank; the first one answers, or whichever fails before."""
    part = np.load(job["parts"][rank])
    try:
        with collective.CommunicatorContext(**tracker, dmlc_task_id=f"{rank:06d}"):
            coded = set(job.get("categorical", ()))
            data = xgb.QuantileDMatrix(
                part["features"],
                label=part["label"],
                max_bin=int(job["parameters"].get("max_bin", 256)),
                feature_types=["c" if i in coded else "q" for i in range(part["features"].shape[1])],
                enable_categorical=True,
            )
            booster = xgb.train(job["parameters"], data, job["rounds"])
        if rank == 0:
            answer.send(f"model: {hashlib.sha256(booster.save_raw('ubj')).hexdigest()}")
    except xgb.core.XGBoostError as error:
        reason = str(error).partition("\nStack trace")[0]
        answer.send(f"failed: {' '.join(reason.split())}")


if __name__ == "__main__":
    main()
