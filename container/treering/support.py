"""What a job asks for that cannot be had here: told before anything is read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import xgboost as xgb

from treering import early_stopping
from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection

    from treering.hyperparameters import Hyperparameters
    from treering.job import Channel
    from treering.world import World

log = logging.getLogger(__name__)


def check(world: World, chosen: Hyperparameters, scored: Collection[str], model: Channel | None) -> None:
    """Refuse what cannot be trained, and log what is not as the user may think.

    Parameters
    ----------
    world
        All ranks.
    chosen
        Valid by themselves.
    scored
        The channels with rows, by what they are for.
    model
        The channel with a model to go on from, if there is one.

    Raises
    ------
    UserError
        With what to do instead.
    """
    alone = chosen.one_host_only or ("objective=survival:cox" if chosen.objective == "survival:cox" else None)
    if alone is not None and world.size > 1:
        raise UserError(
            f"{alone} needs all rows in one process, but this job has {world.size}; use instance_count=1 and "
            "ranks_per_host=1, or tree_method=hist with another objective"
        )
    gpu = chosen.asks_for_gpu
    if gpu is not None and not xgb.build_info()["USE_CUDA"]:
        raise UserError(f"{gpu}, but this image has XGBoost for the CPU; use the GPU image")
    _check_start(chosen, model)
    channel = str(chosen.tuning_objective_metric or "").rpartition(":")[0]
    if channel and channel not in scored:
        raise UserError(
            f"_tuning_objective_metric={chosen.tuning_objective_metric} needs a channel {channel}, but this job has none; "
            f"give it one, or tune train:{chosen.tuned_metric}"
        )
    if world.rank == 0:
        for note in chosen.notes:
            log.info("%s", note)
        followed = early_stopping.channel(scored)
        if chosen.early_stopping_rounds is not None and followed != "validation":
            log.info(
                "early stopping follows %s-%s, as there is no validation channel",
                followed,
                chosen.early_stopping_metric,
            )


def _check_start(chosen: Hyperparameters, model: Channel | None) -> None:
    """Raise UserError where a model to go on from is missing, or is there in vain."""
    if model is None:
        if chosen.algorithm == "update":
            raise UserError("process_type=update needs the model to update, in a channel called model")
        return
    if chosen.booster == "dart":
        raise UserError(
            "dropout would weigh the trees of the given model anew; use booster=gbtree to go on from a model"
        )
