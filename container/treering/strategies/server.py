"""The server on rank 0: it averages the trees that ranks push, and all pull the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xgboost as xgb

from treering import model_file
from treering.model_average import average

if TYPE_CHECKING:
    from collections.abc import Sequence

    from treering.world import World


class Server:
    """The averaged model, known to all ranks.

    Parameters
    ----------
    world
        All ranks; rank 0 averages.
    weights
        Of each rank, 0 or more; a rank of weight 0 has no trees.
    given
        The average so far, where training goes on from one.
    """

    def __init__(self, world: World, weights: Sequence[float], given: xgb.Booster | None = None) -> None:
        self._world = world
        self._weights = weights
        self._parts = [] if given is None else [_pack(given)]

    def average(self, grown: xgb.Booster | None) -> xgb.Booster:
        """Push this rank's new rounds, and pull the average of all ranks' as a model of them alone; collective.

        Where ranks stopped after unlike numbers of rounds, all are cut to the smallest.
        """
        nothing = np.empty(0, np.uint8)
        pushed = nothing if grown is None else np.frombuffer(_pack(grown), np.uint8)
        received = self._world.alltoall_arrays([pushed, *[nothing] * (self._world.size - 1)])
        merged = self._merged([each.tobytes() for each in received]) if self._world.rank == 0 else b""
        pulled = self._world.allgather_arrays(np.frombuffer(merged, np.uint8))[0].tobytes()
        self._parts.append(pulled)
        return _unpack(pulled)

    def model(self, rounds: int) -> xgb.Booster:
        """The average after so many rounds, of those there are."""
        whole = model_file.concatenate(map(_unpack, self._parts))
        return whole if rounds == whole.num_boosted_rounds() else whole[:rounds]

    def _merged(self, received: Sequence[bytes]) -> bytes:
        pairs = zip(received, self._weights, strict=True)
        boosters, weights = zip(*((_unpack(each), weight) for each, weight in pairs if each), strict=True)
        rounds = min(each.num_boosted_rounds() for each in boosters)
        return _pack(average([each[:rounds] for each in boosters], weights))


def _pack(booster: xgb.Booster) -> bytes:
    return bytes(booster.save_raw("ubj"))


def _unpack(content: bytes) -> xgb.Booster:
    return xgb.Booster(model_file=bytearray(content))
