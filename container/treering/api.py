"""What a user's script calls: its rank, its rows, training with the whole ring, sums over ranks, the model.

``import treering`` is enough; the names are loaded when they are first used, which starts MPI. All calls but
`save` are collective: every rank makes them, in the same order.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import xgboost as xgb

from treering import algorithm, artifacts, checkpoints, inputs, loaded, schema, session, shard, support
from treering.checkpoint_folder import CheckpointFolder
from treering.errors import UserError
from treering.hyperparameters import ALIASES, FIELDS, Hyperparameters
from treering.loaded import Matrix
from treering.parameter_groups import Data
from treering.preparation import Binned
from treering.session import world

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from treering.job import Channel
    from treering.session import Session
    from treering.world import Op

__all__ = ["Matrix", "allreduce", "load", "save", "train", "world"]

_TRAIN = ("train", "training")
_OBJECTIVES = {"group_column": "rank:ndcg", "label_upper_column": "survival:aft"}

log = logging.getLogger(__name__)


class Interrupted(SystemExit):
    """Raised by `train` when the job was asked to stop and is to keep no model: the script ends, and ends well.

    Like any `SystemExit` it passes ``except Exception``, and ``finally`` still runs.
    """


def load(channel: str, *, content_type: str | None = None, **columns: object) -> Matrix:
    """Read this rank's rows of a channel, and bin them by the exact cuts of all training rows; collective.

    Parameters
    ----------
    channel
        Its name. ``train`` (SageMaker's examples call it ``training``) has to be loaded first: other channels
        get its columns, categories and cuts.
    content_type
        As in the job's channel, and in its place.
    **columns
        Hyperparameters that say which column is what (``label_column="late"``, ``csv_weights=1``), and
        ``max_bin``; what is not given here is taken from the job's hyperparameters.

    Raises
    ------
    UserError
        When there is no such channel, or its rows cannot be read or do not fit those of training.
    PlatformError
        When hosts that should see the same files do not.
    """
    current = session.current()
    config = current.config
    is_train = channel in _TRAIN
    if current.train is None and not is_train:
        raise UserError(f"load train before {channel}: its columns, categories and bins are those of train")
    found = _channel(current, channel)
    found = found if content_type is None else dataclasses.replace(found, content_type=content_type)
    chosen = _reading(config.hyperparameters, columns)
    place = algorithm.place_of(current.world, config.resources, algorithm.threads(chosen))
    train = None if is_train else current.train
    with current.working() as progress:
        progress.phase("loading")
        rows = shard.load(
            current.world,
            place,
            found,
            current.paths.channel(found.name),
            inputs.reader(found, chosen),
            None if train is None else train.shard.categories,
            progress,
            is_train=is_train,
        )
        if train is not None:
            rows = inputs.aligned(train.shard, rows, found.name)
        inputs.tell_size(current.world, _TRAIN[0] if is_train else channel, rows)
        progress.phase("matrix")
        matrix = loaded.bin_rows(
            current.world, found.name, rows, train, chosen.max_bin, algorithm.threads(chosen)
        )
    if is_train:
        current.train = matrix
    return matrix


def train(
    params: Mapping[str, object],
    matrix: Matrix,
    num_round: int | None = None,
    evals: Mapping[str, Matrix] | None = None,
) -> xgb.Booster:
    """Boost on all ranks' rows, exactly as the built-in job does; collective.

    Parameters
    ----------
    params
        Hyperparameters of the built-in job, by the same names and with the same checks.
    matrix
        The training rows, from `load`.
    num_round
        Rounds to boost; may stand in `params` as well.
    evals
        Other rows to score after each round, by the names that the log line is to have; early stopping follows
        ``validation``, or the last where there is none of that name.

    Returns
    -------
    xgb.Booster
        The model, equal on all ranks; with early stopping that of the best round.

    Raises
    ------
    UserError
        When a parameter is wrong, or the data does not suit the objective.
    Interrupted
        When the job was asked to stop: checkpoints are written, and the script ends. With
        ``save_model_on_termination=true`` the model of the rounds so far is returned in its place, to be saved.

    Notes
    -----
    Where the job has a folder for checkpoints, they are written and gone on from as in the built-in job; those of
    the n-th call of a script, from the second on, lie in a folder ``train-n`` of their own.
    """
    current = session.current()
    evals = {} if evals is None else evals
    _check_matrices(matrix, evals)
    named = {"train": matrix, **evals}
    given = {"max_bin": matrix.edges.max_bin} | {name: _plain(value) for name, value in params.items()}
    chosen = Hyperparameters.parse(given if num_round is None else given | {"num_round": _plain(num_round)})
    everybody = current.world
    schema.agree_settings(everybody, current.host, algorithm.settings(chosen))
    support.check(everybody, chosen, named, None)
    current.trainings += 1
    with current.working() as progress:
        progress.phase("loading")
        shards = {name: inputs.suited(everybody, each.shard, chosen, name) for name, each in named.items()}
        ready = {
            name: each
            for name, each in named.items()
            if each.edges is matrix.edges and shards[name] is each.shard
        }
        with algorithm.boosted(
            everybody,
            shards,
            chosen,
            progress,
            folder=_checkpoint_folder(current),
            binned=Binned(matrix.edges, ready),
        ) as (trained, model):
            pass
    if trained.interrupted:
        current.interrupted = trained
        if not chosen.save_model_on_termination:
            raise Interrupted
    return model


def allreduce(values: ArrayLike, op: Op = "sum") -> NDArray[Any]:
    """Combine arrays of all ranks element by element; collective.

    Parameters
    ----------
    values
        Numbers; of one shape and type on all ranks. Booleans count as 0 and 1.
    op
        ``sum``, ``max`` or ``min``.

    Returns
    -------
    NDArray
        A new array of the same shape, equal on all ranks. Sums of floats may differ in their last bits with the
        number of ranks.

    Raises
    ------
    UserError
        When `values` are no numbers, or ranks differ in shape, type or `op`.
    """
    current = session.current()
    current.call()
    array = np.asarray(values)
    if array.dtype == np.bool_:
        array = array.astype(np.int64)
    if array.dtype not in _NUMBERS:
        raise UserError(f"treering.allreduce takes numbers of 32 or 64 bits, not {array.dtype}")
    mine = [op, str(array.dtype), list(array.shape)]
    for rank, other in enumerate(current.world.allgather(mine)):
        if other != mine:
            raise UserError(
                f"treering.allreduce: rank {current.world.rank} gives {_described(mine)}, but rank {rank} "
                f"{_described(other)}"
            )
    return current.world.allreduce(array, op).reshape(array.shape)


def save(model: xgb.Booster, name: str = artifacts.MODEL_NAME) -> None:
    """Have rank 0 write the model to ``/opt/ml/model``, durably; other ranks need not call, and do nothing.

    No host leaves the job before it is written.

    Parameters
    ----------
    model
        A booster, or a wrapper of one that has ``get_booster``.
    name
        Of the file, possibly in a folder below the model's; its format is UBJSON.

    Raises
    ------
    UserError
        When `model` is none of XGBoost's, or `name` leads out of the folder.
    PlatformError
        When it cannot be written.
    """
    current = session.current()
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise UserError(f"treering.save: {name!r} is no name of a file below the model folder")
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    if not isinstance(booster, xgb.Booster):
        raise UserError(
            f"treering.save takes a model of XGBoost's, not {type(model).__name__}; write others to the folder "
            "SM_MODEL_DIR, on rank 0"
        )
    if current.world.rank == 0:
        algorithm.write(booster, current.paths.model / name)
    current.saved = True


_NUMBERS = [np.dtype(name) for name in ("int32", "int64", "uint32", "uint64", "float32", "float64")]


def _described(given: list[Any]) -> str:
    op, dtype, shape = given
    return f"{op} of {dtype} of shape {tuple(shape)}"


def _channel(current: Session, name: str) -> Channel:
    """The channel of this name, on whichever hosts it is."""
    place = current.config.resources.current_host
    channels = schema.channels_of_all(current.world, place, current.config.channels)
    names = [each for each in (_TRAIN if name in _TRAIN else (name,)) if each in channels]
    if len(names) != 1:
        given = ", ".join(sorted(channels)) or "none"
        both = (
            f"channels {' and '.join(names)} are for one and the same"
            if names
            else f"there is no channel {name}"
        )
        raise UserError(f"{both} (channels of this job: {given})")
    return channels[names[0]]


def _reading(of_job: Mapping[str, object], given: Mapping[str, object]) -> Hyperparameters:
    """What says how rows are read and binned: the job's hyperparameters may be anything else of the script's."""
    known = {name for name, field in FIELDS.items() if field in Data.model_fields} | {"max_bin"}
    unknown = sorted(given.keys() - known)
    if unknown:
        raise UserError(
            f"treering.load does not know {', '.join(unknown)}; it takes {', '.join(sorted(known))}"
        )
    ours = {name: value for name, value in of_job.items() if ALIASES.get(name, name) in known}
    ours |= {name: _plain(each) for name, each in given.items()}
    # Which objective is meant is known to `train` alone; these columns ask for one of theirs.
    meant = next((objective for name, objective in _OBJECTIVES.items() if name in ours), None)
    return Hyperparameters.parse({"num_round": 1, "objective": meant} | ours)


def _plain(value: object) -> object:
    """A value as JSON has it, where it is numpy's."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _check_matrices(matrix: object, evals: object) -> None:
    if not isinstance(evals, Mapping) or not all(isinstance(name, str) for name in evals):
        raise UserError('evals takes names and rows, such as {"validation": treering.load("validation")}')
    if "train" in evals:
        raise UserError("evals: the training rows are scored as train already; give other rows another name")
    for name, each in {"train": matrix, **evals}.items():
        if not isinstance(each, Matrix):
            raise UserError(
                f"{name}: treering.train takes what treering.load gives, not {type(each).__name__}"
            )


def _checkpoint_folder(current: Session) -> CheckpointFolder | None:
    folder = checkpoints.open_folder(current.world, current.paths)
    if folder is None or current.trainings == 1:
        return folder
    own = CheckpointFolder(folder.path / f"train-{current.trainings}")
    if current.world.rank == 0:
        own.prepare()
    return own
