"""A run's checkpoints: when one is due, what is in it, and whether a run may go on from one.

Rank 0 reads and writes; the others hear from it over MPI which checkpoint to go on from, and its content.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from treering import booster_state
from treering.checkpoint_folder import Checkpoint, CheckpointFolder
from treering.errors import UserError
from treering.run_identity import PROCESSOR, differences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import xgboost as xgb

    from treering.hyperparameters import Hyperparameters
    from treering.paths import Paths
    from treering.run_identity import Identity
    from treering.world import World

_SHORTEST = 10  # rounds: writing to a slow disk stays small beside them
_PARTS = 20  # a run is cut into
_SHOWN = 6  # differences in one sentence

log = logging.getLogger(__name__)


def interval(chosen: Hyperparameters) -> int:
    """Rounds from one checkpoint to the next.

    By default 10, or a twentieth of ``num_round`` if that is more. A checkpoint holds the whole model, so one every
    fixed number of rounds would cost a long run more and more.
    """
    return chosen.checkpoint_interval or max(_SHORTEST, -(-chosen.num_round // _PARTS))


def open_folder(world: World, paths: Paths) -> CheckpointFolder | None:
    """The folder of the job's checkpoints, ready to be written to, or None where it has none; collective.

    Raises PlatformError on rank 0, the only one to look at it, when it cannot be written to.
    """
    found = CheckpointFolder.of(paths) if world.rank == 0 else None
    if found is not None:
        found.prepare()
    path = world.broadcast(str(found.path) if found is not None else None)
    return CheckpointFolder(Path(path)) if path is not None else None


class Checkpoints:
    """The checkpoints of one run.

    Parameters
    ----------
    world
        All ranks; rank 0 reads and writes.
    folder
        Of rank 0.
    chosen
        How often to write one.
    identity
        See `treering.run_identity`.
    as_model
        Makes what plain XGBoost is to load of the booster in training.
    """

    def __init__(
        self,
        world: World,
        folder: CheckpointFolder,
        chosen: Hyperparameters,
        identity: Identity,
        as_model: Callable[[xgb.Booster], xgb.Booster],
    ) -> None:
        self._world = world
        self._folder = folder
        self._chosen = chosen
        self._identity = identity
        self._as_model = as_model

    def is_due(self, rounds: int) -> bool:
        """Whether a checkpoint belongs after so many rounds."""
        return rounds % interval(self._chosen) == 0

    def newest(self) -> Checkpoint | None:
        """What to go on from, equal on all ranks: the newest with at most as many rounds as wanted; collective.

        Raises
        ------
        UserError
            On rank 0 when it belongs to a run with other settings or other data.
        """
        packed = b""
        if self._world.rank == 0 and (mine := self._folder.newest(self._chosen.num_round)) is not None:
            self._refuse_another_run(mine)
            log.info("going on after round %d, from %s", mine.number, self._folder.model(mine.number))
            packed = mine.pack(b"")
        sent = self._world.allgather_arrays(np.frombuffer(packed, np.uint8))[0].tobytes()
        return Checkpoint.unpack(sent)[0] if sent else None

    def save(self, booster: xgb.Booster, history: Sequence[Mapping[str, float]]) -> Path:
        """Have rank 0 write a checkpoint of a booster with these scores; returns its name on all ranks.

        Raises PlatformError on rank 0 when it cannot be written; earlier ones stay as they are.
        """
        if self._world.rank == 0:
            state = booster_state.dump(booster)
            model = bytes(self._as_model(booster).save_raw("ubj"))
            self._folder.write(Checkpoint(self._identity, history, state), model)
        return self._folder.model(len(history) - 1)

    def _refuse_another_run(self, found: Checkpoint) -> None:
        now, then = self._identity, found.identity
        compared = now.keys() & then.keys()
        if PROCESSOR in compared and self._chosen.reproducible != "true":
            compared.remove(PROCESSOR)
            if now[PROCESSOR] != then[PROCESSOR]:
                log.info("another kind of processor than the checkpoint's: the model may differ in last bits")
        apart = [each for group in sorted(compared) for each in differences(group, now[group], then[group])]
        if apart:
            more = f"; and {len(apart) - _SHOWN} more" if len(apart) > _SHOWN else ""
            raise UserError(
                f"{self._folder.model(found.number)} was made by another run: {'; '.join(apart[:_SHOWN])}{more}; "
                "use what it was made with, or another checkpoint folder"
            )
