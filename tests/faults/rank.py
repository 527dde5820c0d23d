"""A rank whose trainer is the test's own: rounds over XGBoost's ring, and a fault in one of them.

Called as ``rank.py ACTION RANK``. Everything around the trainer is the product's: how a rank starts, joins
the ring, and tells its end.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import numpy as np
import xgboost
from faults.misconduct import act

from treering import collective, worker
from treering.errors import PeerLostError
from treering.report import ADDRESS_VARIABLE
from treering.world import World

if TYPE_CHECKING:
    from treering.job import JobConfig
    from treering.paths import Paths
    from treering.progress import Progress

_STRIKES = 5  # the round in which the fault happens
_ROUNDS = 1_000_000


def _train(_paths: Paths, _config: JobConfig, _progress: Progress) -> None:
    action, culprit = sys.argv[1], int(sys.argv[2])
    world = World()
    with collective.communicator(world, os.environ[ADDRESS_VARIABLE]):
        for number in range(_ROUNDS):
            if number == _STRIKES and world.rank == culprit:
                act(action)
            try:
                xgboost.collective.allreduce(np.ones(1000), xgboost.collective.Op.SUM)
            except xgboost.core.XGBoostError as error:  # as the built-in trainer tells it
                raise PeerLostError(f"round {number} failed in XGBoost: {error}") from error


if __name__ == "__main__":
    worker.run_rank(_train)
