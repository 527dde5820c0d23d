"""How long hosts talk in each round, beside how long they compute: said once, with advice where talk prevails.

XGBoost adds up histograms of the smaller one of two siblings, level by level: of all nodes but the root about
half. A ring of W ranks sends (2W - 1) / W times what it adds up, and a bin is two float64 sums. So each rank sends for
a tree of depth D with B bins in all columns

    (2W - 1) / W * 2^(D - 1) * B * 16 bytes,

which interface counters confirm within a hundredth.
"""

from __future__ import annotations

import logging
import statistics
import time
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from treering.hyperparameters import Hyperparameters
    from treering.preparation import Prepared
    from treering.world import World

log = logging.getLogger(__name__)

_BIN: Final = 16  # bytes
_DEPTH: Final = 6  # XGBoost's own
_LEAST: Final = 1 << 20  # bytes a round that are worth a word
_PROBE: Final = 1 << 18  # float64 numbers
_ROUNDS: Final = 5  # that are timed; the first one sets things up and does not count
_MUCH: Final = 0.5  # of a round


def bytes_a_round(ranks: int, bins: int, chosen: Hyperparameters) -> float:
    """What each rank sends in one round, in bytes.

    Parameters
    ----------
    ranks
        In the ring.
    bins
        Of all columns together.
    chosen
        The job: depth and number of its trees.
    """
    depth = _DEPTH if chosen.max_depth is None else chosen.max_depth
    nodes = 2.0 ** (depth - 1) if depth else float("inf")
    if chosen.max_leaves:
        nodes = min(nodes, chosen.max_leaves)
    trees = chosen.outputs * (chosen.num_parallel_tree or 1)
    return (2 * ranks - 1) / ranks * nodes * bins * _BIN * trees


class Forecast:
    """Times the first rounds of a job and says what comes of it.

    Parameters
    ----------
    size
        Bytes that a rank sends in a round.
    rate
        Bytes a second that it can send.
    clock
        Seconds.
    """

    def __init__(self, size: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._rate = rate
        self._clock = clock
        self._ends: list[float] = []

    @classmethod
    def of(cls, world: World, prepared: Prepared, chosen: Hyperparameters) -> Self | None:
        """Measure how fast ranks can add up; collective. None where there is next to nothing to send."""
        starts, _ = prepared.boosted.get_quantile_cut()
        size = bytes_a_round(world.size, int(starts[-1]), chosen)
        if world.size == 1 or not _LEAST <= size < float("inf"):
            return None
        numbers = np.zeros(_PROBE)
        world.allreduce(numbers)  # connections are made with the first bytes
        started = time.perf_counter()
        world.allreduce(numbers)
        sent = 2 * (world.size - 1) / world.size * numbers.nbytes
        return cls(size, sent / (time.perf_counter() - started))

    def round_over(self) -> str | None:
        """Note the end of a round; what to say, once there is something."""
        self._ends.append(self._clock())
        if len(self._ends) != _ROUNDS:
            return None
        whole = statistics.median(np.diff(self._ends).tolist())
        talk = self._size / self._rate
        said = (
            f"communication: each rank sends about {self._size / 1e6:.1f} MB a round, which takes about {talk:.2g} s at "
            f"the {self._rate * 8 / 1e6:.0f} Mbit/s measured; a round takes {whole:.2g} s, of which {max(whole - talk, 0):.2g} s "
            "are left for computing"
        )
        if talk < _MUCH * whole:
            return said
        return f"{said}. Fewer hosts, a faster network, or a smaller max_depth or max_bin would train faster"
