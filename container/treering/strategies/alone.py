"""One rank by itself: what it needs to boost its own rows without a word to the others."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import xgboost as xgb
from mpi4py import MPI

from treering import collective, model_file, objectives, training
from treering.training import Gradients
from treering.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from treering.preparation import Prepared
    from treering.shard import Shard


def weights(world: World, train: Shard) -> list[float]:
    """How much each rank counts: its rows, each as often as its weight says; collective."""
    mine = train.rows if train.weight is None else train.weight.sum(dtype=np.float64)
    return world.allgather(float(mine))


def prepare(world: World, prepared: Prepared, train: Shard, address: str) -> Prepared:
    """What this rank boosts alone; collective.

    Parameters
    ----------
    world
        All ranks.
    prepared
        For all ranks together. Its bins and its base score stay.
    train
        This rank's rows.
    address
        See `treering.collective.communicator`, which is used only where XGBoost has to estimate the base score.

    Notes
    -----
    Column sampling begins anew whenever a rank goes on from an average, so each round seeds it: with the job's
    seed, the round and the rank, as ranks that look at other columns average better.
    """
    parameters = dict(prepared.parameters)
    if prepared.gradients is None and "base_score" not in parameters:
        with collective.communicator(world, address):
            parameters["base_score"] = _estimated_base_score(prepared)
    seed = np.random.SeedSequence([int(str(parameters.get("seed", 0))) % 2**64, world.rank])
    parameters |= {"seed": int(seed.generate_state(1)[0]), "seed_per_iteration": True}
    return dataclasses.replace(
        prepared, parameters=parameters, gradients=_gradients(prepared, parameters, train)
    )


def _gradients(prepared: Prepared, parameters: dict[str, object], train: Shard) -> Gradients | None:
    """The same as all ranks', but on a grid of this rank's; the rows of a round stay those of their identity."""
    if prepared.gradients is None or (train.weight is not None and not train.weight.any()):
        return prepared.gradients
    objective = objectives.make(
        str(parameters["objective"]),
        parameters,
        World(MPI.COMM_SELF),
        train.label,
        train.weight,
        threads=int(str(parameters["nthread"])),
    )
    return Gradients(objective, prepared.gradients.sampler)


def _estimated_base_score(prepared: Prepared) -> list[float]:
    """XGBoost's own estimate of all ranks' rows, which it makes before a first tree; collective, in its ring."""
    booster = xgb.Booster(prepared.parameters | {"max_depth": 1}, [prepared.boosted])
    booster.update(prepared.boosted, 0)
    return model_file.base_score(booster)


def grow(
    prepared: Prepared,
    margin: NDArray[np.float32],
    iterations: Iterable[int],
    goes_on: Callable[[int], bool],
) -> xgb.Booster:
    """Boost this rank's rows from some margins on: a model of the new rounds alone.

    Parameters
    ----------
    prepared
        As `prepare` made it; its training matrix keeps `margin` as base margin.
    margin
        Of this rank's rows, of which there is one at least.
    iterations
        Numbers of the rounds within the whole training.
    goes_on
        Asked after each round, with its number.
    """
    prepared.boosted.set_base_margin(margin)
    booster = xgb.Booster(dict(prepared.parameters), [prepared.boosted])
    for iteration in iterations:
        training.boost(booster, prepared, iteration)
        if not goes_on(iteration):
            break
    return booster
