"""Row sampling that depends on which row it is, never on where the row lies.

Row r of file f takes part in round t of a job with some seed if the r-th number of a random stream that
belongs to (seed, t, f) is below the fraction. The stream is SplitMix64 (Steele, Lea, Flood: Fast
splittable pseudorandom number generators, OOPSLA 2014; its output function is Stafford's "Mix13"), whose
r-th number can be computed without the ones before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from treering.shard import Piece

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

    def __init__(self, seed: int, fraction: float, pieces: Sequence[Piece]) -> None:
        self._seed = seed % _WORD
        self._below = np.uint64(min(int(fraction * _WORD), _WORD - 1))
        self._always = fraction >= 1
        self._pieces = tuple(pieces)

    def rows(self, round_: int) -> NDArray[np.bool_]:
        """Which rows take part in a round; shape (rows,), in the order of `pieces`."""
        drawn = np.ones(sum(piece.rows for piece in self._pieces), np.bool_)
        if not self._always:
            for block in self._blocks(round_):
                self._draw(drawn, *block)
        return drawn

    def _blocks(self, round_: int) -> Iterator[tuple[int, int, int, int]]:
        """Place in the mask, number of rows, the stream's start, and the first row's number in it."""
        place = 0
        for piece in self._pieces:
            start = _stream(self._seed, round_, piece.file)
            for done in range(0, piece.rows, _BLOCK):
                yield place + done, min(_BLOCK, piece.rows - done), start, piece.first_row + done
            place += piece.rows

    def _draw(self, drawn: NDArray[np.bool_], place: int, rows: int, start: int, first: int) -> None:
        words = np.arange(rows, dtype=np.uint64)
        words *= np.uint64(_GAMMA)
        words += np.uint64((start + (first + 1) * _GAMMA) % _WORD)
        _mix(words)
        np.less(words, self._below, out=drawn[place : place + rows])


def _stream(*identity: int) -> int:
    """Where the stream of (seed, round, file) starts: one mixing step for each of them."""
    word = np.zeros(1, np.uint64)
    for part in identity:
        word += np.uint64((part + 1) * _GAMMA % _WORD)
        _mix(word)
    return int(word[0])


def _mix(words: NDArray[np.uint64]) -> None:
    """SplitMix64's output function, in place."""
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
