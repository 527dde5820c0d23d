"""The scores of a round: all metrics of all channels, and the line that tells them."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xgboost as xgb

    from treering.metrics import Evaluator


@dataclasses.dataclass(frozen=True, slots=True)
class Scored:
    """One channel to score after each round.

    Parameters
    ----------
    matrix
        This rank's rows.
    evaluator
        The metrics, in the order of the log line.
    rows, outputs
        Shape of the margins.
    """

    matrix: xgb.DMatrix
    evaluator: Evaluator
    rows: int
    outputs: int

    def values(self, booster: xgb.Booster) -> list[float]:
        """All metrics, equal on all ranks; collective."""
        if self.rows:
            return self.evaluator.values(booster.predict(self.matrix, output_margin=True))
        # XGBoost predicts nothing for no rows, not even a shape.
        shape = (0, self.outputs) if self.outputs > 1 else (0,)
        return self.evaluator.values(np.empty(shape, np.float32))


def scores(booster: xgb.Booster, channels: Mapping[str, Scored], metrics: Sequence[str]) -> dict[str, float]:
    """Every metric of every channel, such as ``{"validation-rmse": 2.2}``, equal on all ranks; collective.

    Parameters
    ----------
    booster
        Has the margins of earlier rounds from the last call, where it drops no trees.
    channels, metrics
        In the order of the log line.
    """
    found: dict[str, float] = {}
    if metrics:
        for channel, scored in channels.items():
            names = (f"{channel}-{metric}" for metric in metrics)
            found |= zip(names, scored.values(booster), strict=True)
    return found


def print_line(iteration: int, found: Mapping[str, float]) -> None:
    """Print the line that AWS's metric definitions match; bare, as their regular expressions expect it."""
    fields = "\t".join(f"{name}:{value:.5f}" for name, value in found.items())
    sys.stdout.write(f"[{iteration}]\t{fields}\n")
    sys.stdout.flush()
