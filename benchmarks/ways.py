"""The two ways to train that the benchmarks compare: treering's on one rank, and plain XGBoost's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import xgboost as xgb

from treering import cuts, objectives
from treering.identity import Piece
from treering.sampling import Sampler
from treering.training import Gradients

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.data import Data
    from treering.world import World

    type Boost = Callable[[int], xgb.Booster]

_MAX_BIN = 256


class Way(Protocol):
    """From rows to a model."""

    def bin(self, data: Data) -> xgb.QuantileDMatrix:
        """The matrix that rounds need."""

    def start(self, rows: xgb.QuantileDMatrix) -> Boost:
        """A function that adds the round with a number, from 0, to a new model."""


class Exact(NamedTuple):
    """treering's: the same steps as in a job, without one around them."""

    world: World
    parameters: Mapping[str, Any]
    threads: int

    def bin(self, data: Data) -> xgb.QuantileDMatrix:
        """See `Way.bin`."""
        found = cuts.global_cuts(self.world, data.features, _MAX_BIN, threads=self.threads)
        bins = xgb.QuantileDMatrix(found.reference(), max_bin=_MAX_BIN, nthread=self.threads)
        return xgb.QuantileDMatrix(
            data.features, data.label, max_bin=_MAX_BIN, ref=bins, nthread=self.threads
        )

    def start(self, rows: xgb.QuantileDMatrix) -> Boost:
        """See `Way.start`."""
        parameters = {**self.parameters, "max_bin": _MAX_BIN, "nthread": self.threads}
        label = rows.get_label()
        objective = objectives.make(
            parameters["objective"], parameters, self.world, label, threads=self.threads
        )
        parameters["base_score"] = objective.base_score()
        fraction = parameters.pop("subsample", 1.0)
        pieces = [Piece(0, 0, label.size)]
        sampler = Sampler(parameters.get("seed", 0), fraction, pieces) if fraction < 1 else None
        gradients = Gradients(objective, sampler)
        booster = xgb.Booster(parameters, [rows])

        def boost(iteration: int) -> xgb.Booster:
            margin = booster.predict(rows, output_margin=True, training=True)
            gradient, hessian = gradients.at(margin, iteration)
            booster.boost(rows, iteration, grad=gradient, hess=hessian)
            return booster

        return boost


class Plain(NamedTuple):
    """XGBoost's."""

    parameters: Mapping[str, Any]
    threads: int

    def bin(self, data: Data) -> xgb.QuantileDMatrix:
        """See `Way.bin`."""
        return xgb.QuantileDMatrix(data.features, data.label, max_bin=_MAX_BIN, nthread=self.threads)

    def start(self, rows: xgb.QuantileDMatrix) -> Boost:
        """See `Way.start`."""
        parameters = {**self.parameters, "max_bin": _MAX_BIN, "nthread": self.threads}
        booster = xgb.Booster(parameters, [rows])

        def boost(iteration: int) -> xgb.Booster:
            booster.update(rows, iteration)
            return booster

        return boost
