"""All ranks' rows in the order of their scores, highest first, in pieces that no rank or thread has alone.

A row is one unsigned integer: a key that rises as the score falls, then whether the row is positive, then
the 31 bits of its weight if there are weights. Each thread sorts the rows of its part. Splitters, taken
from samples of what is sorted, cut all parts alike; piece i of each goes to the thread that has piece i,
which sorts again. Rows whose key is a splitter are only counted, so that no piece grows when scores are
tied: with P pieces, none has much more than its share.

Only integers, and sums of weights on a grid, are added: what follows is exact, hence the same for any
number of ranks and threads.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from treering.metrics.blocks import Blocks
    from treering.metrics.rows import Floats
    from treering.world import World

    type Packed = NDArray[np.unsignedinteger[Any]]
    type Integers = NDArray[np.int64]

_SIGN: Final = np.uint32(1 << 31)
_ONE: Final = np.float32(1).view(np.uint32)
_MOST_PIECES: Final = 8  # of a rank
_SAMPLES: Final = 64  # of a part, at least


class Piece(NamedTuple):
    """Neighbours in the order of all rows: how much has a higher score, then with each different one added.

    Weights are whole numbers of the smallest unit; all arrays have shape (1 + different scores,).
    """

    positive: Integers
    negative: Integers
    rows: Integers


@dataclasses.dataclass(frozen=True, slots=True)
class Ordered:
    """Pieces of this rank in order, and all ranks' weights and rows: positive, negative, rows."""

    pieces: tuple[Piece, ...]
    total: tuple[int, int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Packing:
    """How a row becomes an integer.

    Parameters
    ----------
    weighted
        Whether rows have weights.
    unit
        What all weights are multiples of.
    narrow
        Whether all scores are between 0 and 1, which leaves room in 32 bits when there are no weights.
    """

    weighted: bool
    unit: float = 1.0
    narrow: bool = False

    @property
    def bits(self) -> np.uint64:
        """Bits below the key."""
        return np.uint64(32 if self.weighted else 1)

    def pack(self, score: Floats, positive: NDArray[np.bool_], weight: Floats | None) -> Packed:
        """Rows as integers; scores are no NaN."""
        if self.narrow and not self.weighted:
            narrow = _ONE - score.view(np.uint32)
            narrow <<= np.uint32(1)
            narrow |= positive
            return narrow
        bits = (score + np.float32(0)).view(np.uint32)  # adding turns -0.0 into 0.0
        key = np.where(bits & _SIGN, bits, ~(bits | _SIGN)).astype(np.uint64)
        if weight is None:
            return (key << np.uint64(1)) | positive
        return (key << np.uint64(32)) | np.where(positive, _SIGN, np.uint32(0)) | weight.view(np.uint32)

    def key(self, packed: Packed) -> Packed:
        """The key alone."""
        return packed >> packed.dtype.type(self.bits)

    def piece(self, packed: Packed) -> Piece:
        """Sorted rows as if there were none before them."""
        key = self.key(packed)
        inner = np.flatnonzero(key[1:] != key[:-1])
        rows = np.zeros(inner.size + 2 if packed.size else 1, np.int64)
        np.add(inner, 1, out=rows[1:-1])
        rows[-1] = packed.size
        if self.weighted:
            positive, negative = self._units(packed)
            return Piece(_cumulated(positive)[rows], _cumulated(negative)[rows], rows)
        # 32 bits are enough for one piece and twice as fast.
        counted = _cumulated((packed & packed.dtype.type(1)).astype(np.uint32))[rows].astype(np.int64)
        return Piece(counted, rows - counted, rows)

    def sizes(self, packed: Packed) -> list[int]:
        """Weight of positive rows, weight of negative rows, and rows."""
        if self.weighted:
            return [*(int(units.sum()) for units in self._units(packed)), packed.size]
        positive = int(np.count_nonzero(packed & packed.dtype.type(1)))
        return [positive, packed.size - positive, packed.size]

    def _units(self, packed: Packed) -> tuple[Integers, Integers]:
        """What each row adds to the weight of positive rows, and to that of negative ones."""
        low = packed.astype(np.uint32)
        weight = (low & ~_SIGN).view(np.float32).astype(np.float64)
        weight /= self.unit
        units, positive = weight.astype(np.int64), (low & _SIGN) != 0
        return units * positive, units * ~positive


def order(world: World, blocks: Blocks, packing: Packing, parts: Sequence[Packed]) -> Ordered:
    """Order all ranks' rows; collective.

    Parameters
    ----------
    world, blocks
        All ranks, and this one's threads.
    packing
        How rows were packed, alike on all ranks.
    parts
        This rank's rows, one part or more; each is sorted in a thread, and there are as many pieces.
    """
    parts = blocks.each(np.sort, list(parts))
    splitters, owners = _splitters(world, packing, parts)
    if not splitters.size:
        return _numbered(world, [packing.piece(parts[0] if len(parts) == 1 else np.concatenate(parts))])
    cut = blocks.each(lambda part: _cut(packing, part, splitters), parts)
    ties = world.allreduce(np.sum([tied for _, tied in cut], axis=0))
    between = [np.concatenate(pieces) for pieces in zip(*(pieces for pieces, _ in cut), strict=True)]
    received = _exchange(world, between, owners)
    pieces = blocks.each(lambda packed: packing.piece(np.sort(packed)), received)
    mine = np.flatnonzero(owners == world.rank)
    # The rows tied at the splitter after a piece are the last ones of that piece.
    return _numbered(
        world,
        [_with(piece, ties[i]) if i < len(ties) else piece for i, piece in zip(mine, pieces, strict=True)],
    )


def _splitters(world: World, packing: Packing, parts: Sequence[Packed]) -> tuple[Packed, Integers]:
    """Keys between pieces, ascending, and the rank that has each piece; both alike on all ranks."""
    sizes = np.array([part.size for part in parts], np.int64)
    everybody = world.allgather_arrays(sizes)
    owners = np.repeat(np.arange(world.size), [len(theirs) for theirs in everybody])
    count, rows = owners.size, int(np.sum([theirs.sum() for theirs in everybody]))
    step = max(rows // (count * max(count, _SAMPLES)), 1)
    mine = np.concatenate([packing.key(part[step // 2 :: step]) for part in parts])
    samples = np.sort(np.concatenate(world.allgather_arrays(mine)))
    places = np.arange(1, count) * samples.size // count
    return np.unique(samples[places[: samples.size]]), owners


def _cut(packing: Packing, part: Packed, splitters: Packed) -> tuple[list[Packed], Integers]:
    """A part's rows between splitters, and its weights and rows at each of them, shape (splitters, 3)."""
    bits = part.dtype.type(packing.bits)
    lowest = splitters << bits
    starts = np.searchsorted(part, lowest, "left")
    ends = np.searchsorted(part, lowest | ((part.dtype.type(1) << bits) - part.dtype.type(1)), "right")
    tied = [packing.sizes(part[start:end]) for start, end in zip(starts, ends, strict=True)]
    edges = zip([0, *ends], [*starts, part.size], strict=True)
    return [part[start:end] for start, end in edges], np.array(tied, np.int64)


def _exchange(world: World, pieces: Sequence[Packed], owners: Integers) -> list[Packed]:
    """What all ranks have of this rank's pieces."""
    empty = pieces[0][:0]
    pieces = [*pieces, *[empty] * (owners.size - len(pieces))]  # fewer splitters leave some without rows
    if world.size == 1:
        return pieces
    theirs = [[pieces[i] for i in np.flatnonzero(owners == rank)] for rank in range(world.size)]
    sizes = world.alltoall_arrays([np.array([part.size for part in parts], np.int64) for parts in theirs])
    received = world.alltoall_arrays([np.concatenate([empty, *parts]) for parts in theirs])
    by_rank = [np.split(rows, np.cumsum(ends)[:-1]) for rows, ends in zip(received, sizes, strict=True)]
    return [np.concatenate(parts) for parts in zip(*by_rank, strict=True)]


def _with(piece: Piece, tied: Integers) -> Piece:
    """A piece and one more score, of which there is so much; the same piece where there is none."""
    if not tied[2]:
        return piece
    return Piece(*(np.append(sums, sums[-1] + more) for sums, more in zip(piece, tied, strict=True)))


def _numbered(world: World, pieces: Sequence[Piece]) -> Ordered:
    """Add to each piece, in place, what lies before it, on this rank and on others."""
    ends = np.array([[sums[-1] for sums in piece] for piece in pieces], np.int64)
    everybody = np.array(world.allgather_arrays(ends.sum(axis=0)))
    before = everybody[: world.rank].sum(axis=0)
    for piece, end in zip(pieces, ends, strict=True):
        if before.any():
            for sums, start in zip(piece, before, strict=True):
                np.add(sums, start, out=sums)
        before = before + end
    positive, negative, rows = everybody.sum(axis=0).tolist()
    return Ordered(tuple(pieces), (positive, negative, rows))


def _cumulated[T: (np.int64, np.uint32)](values: NDArray[T]) -> NDArray[T]:
    """Sums of the values before each one, then of all."""
    sums = np.zeros(values.size + 1, values.dtype)
    np.cumsum(values, out=sums[1:])
    return sums
