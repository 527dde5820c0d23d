"""Row sampling that depends on which row it is, never on where the row lies.

Row r of file f takes part in round t of a job with some seed if the r-th number of a random stream that
belongs to (seed, t, f) is below the fraction. The stream is SplitMix64 (Steele, Lea, Flood: Fast
splittable pseudorandom number generators, OOPSLA 2014; its output function is Stafford's "Mix13"), whose
r-th number can be computed without the ones before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from treering.identity import Pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from treering.identity import Piece

_WORD: Final = 2**64
_GAMMA: Final = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio, odd
_BLOCK: Final = 1 << 15  # rows at a time: their 64-bit words stay in the cache


class Sampler:
    """Draws the rows of each round.

    Parameters
    ----------
    seed
        The job's seed, any integer.
    fraction
        Probability of each row, in (0, 1].
    pieces
        This rank's rows in order: file position, first row in that file, number of rows.
    """

    def __init__(self, seed: int, fraction: float, pieces: Pieces | Sequence[Piece]) -> None:
        self._seed = seed % _WORD
        self._below = np.uint64(min(int(fraction * _WORD), _WORD - 1))
        self._always = fraction >= 1
        table = (pieces if isinstance(pieces, Pieces) else Pieces.of(pieces)).table
        self._files, self._file = np.unique(table[:, 0], return_inverse=True)
        self._ends = np.cumsum(table[:, 2])
        # what to add to a row's place in the mask to get its number in its file, from 1
        self._shift = (table[:, 1] + 1 - (self._ends - table[:, 2])).astype(np.uint64)

    def rows(self, round_: int) -> NDArray[np.bool_]:
        """Which rows take part in a round; shape (rows,), in the order of `pieces`."""
        total = int(self._ends[-1]) if self._ends.size else 0
        drawn = np.ones(total, np.bool_)
        if self._always or not total:
            return drawn
        bases = _streams(self._seed, round_, self._files)[self._file] + self._shift * np.uint64(_GAMMA)
        for start in range(0, total, _BLOCK):
            stop = min(start + _BLOCK, total)
            words = np.arange(start, stop, dtype=np.uint64)
            words *= np.uint64(_GAMMA)
            words += self._spread(bases, start, stop)
            _mix(words)
            np.less(words, self._below, out=drawn[start:stop])
        return drawn

    def _spread(self, bases: NDArray[np.uint64], start: int, stop: int) -> NDArray[np.uint64]:
        """The base of the piece that each place in ``[start, stop)`` of the mask belongs to."""
        first, last = np.searchsorted(self._ends, (start, stop - 1), "right")
        if first == last:
            return bases[first : first + 1]
        edges = np.clip(self._ends[first : last + 1], start, stop)
        return np.repeat(bases[first : last + 1], np.diff(edges, prepend=start))


def _streams(seed: int, round_: int, files: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Where the streams of (seed, round, file) start: one mixing step for each of the three."""
    words = np.zeros(files.size, np.uint64)
    for part in (seed, round_, files):
        words += (np.array(part, np.uint64, ndmin=1) + np.uint64(1)) * np.uint64(_GAMMA)
        _mix(words)
    return words


def _mix(words: NDArray[np.uint64]) -> None:
    """SplitMix64's output function, in place."""
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
