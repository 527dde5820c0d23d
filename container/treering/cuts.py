"""Exact cuts: the histogram bins of every feature, from true order statistics over all ranks' rows.

XGBoost's own cuts come from sketches whose merging depends on how rows lie on hosts. Here ranks only
exchange counts, minima, maxima and sets of values, none of which can depend on the layout:

1. Each rank sorts its part of a column, while ranks do the rest for the columns before it.
2. A column with at most `max_bin` different values gets exactly these.
3. For any other column with n values, those of rank floor(i n / max_bin) for i = 1, 2, ..., max_bin - 1
   in ascending order become the cuts (`treering.order_statistics`).

Definitions. Missing (NaN, or absent in a sparse array) counts nowhere. Ties count as often as they occur;
a value that is several order statistics is one cut. -0.0 and 0.0 are one value. Explicit zeros of a
sparse array are values. Infinities are refused. Instance weights are not used: cuts would otherwise
depend on inexact sums (XGBoost's own sketch does use them). A column with no value at all has one bin.
A categorical column has one bin per category of its dictionary, whatever the rows hold.
"""

from __future__ import annotations

import dataclasses
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

from treering.columns import columns_of
from treering.errors import TreeringError, UserError
from treering.features import Features
from treering.order_statistics import order_statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor, Future

    import xgboost as xgb
    from numpy.typing import NDArray

    from treering.columns import Columns
    from treering.features import Array
    from treering.world import World

    type Floats = NDArray[np.float32]
    type Counts = NDArray[np.int64]

BLOCK_VALUES: Final = 1 << 23
"""Values sorted at a time, on the rank with most: 32 MiB."""

_WORDS_PER_BIN: Final = 8  # what bisection holds for a bin, in float32s


@dataclasses.dataclass(frozen=True, slots=True)
class Cuts:
    """The values that define the bins of all columns.

    Parameters
    ----------
    max_bin
        Bins per numeric column at most.
    anchors
        For each column ascending float32 values, shape (up to max_bin + 1,): the minimum, the inner cuts,
        and the maximum. Bin i holds the values in ``[anchors[i], anchors[i + 1])``; with at most max_bin
        anchors, the last one begins a bin as well. For a categorical column 0, 1, ... to its last code.
    categorical
        The categorical columns.
    """

    max_bin: int
    anchors: tuple[Floats, ...]
    categorical: frozenset[int] = frozenset()

    def reference(self) -> Floats:
        """A matrix whose ``QuantileDMatrix`` (with the same max_bin and feature types) has these cuts.

        Pass that one as ``ref=`` for the data. float32, shape (most anchors of any column, columns), NaN
        where a column has fewer.
        """
        rows = max((values.size for values in self.anchors), default=0)
        matrix = np.full((max(rows, 1), len(self.anchors)), np.nan, np.float32)
        for column, values in enumerate(self.anchors):
            matrix[: values.size, column] = values
        return matrix

    def bounds(self, column: int) -> Floats:
        """What ``QuantileDMatrix.get_quantile_cut`` of XGBoost 3.4.1 says of one column.

        Categories as they are. Otherwise minus infinity, the lower bounds of all bins but the first, and an
        upper bound of the last that lies above the maximum.
        """
        values = self.anchors[column]
        if column in self.categorical:
            return values
        highest = values[-1] if values.size else np.float32(0)
        with np.errstate(over="ignore"):  # infinity is above any maximum as well
            last = highest + (np.abs(highest) + np.float32(1e-5))
        return np.concatenate([[-np.inf], values[1 : self.max_bin], [last]]).astype(np.float32)


def verify(cuts: Cuts, matrix: xgb.DMatrix) -> None:
    """Raise TreeringError unless `matrix` has exactly these cuts, bit for bit."""
    starts, values = matrix.get_quantile_cut()
    found = np.split(values, starts[1:-1].astype(np.int64))
    for column, (got, wanted) in enumerate(
        zip(found, map(cuts.bounds, range(len(cuts.anchors))), strict=True)
    ):
        if not np.array_equal(got, wanted):
            raise TreeringError(
                f"XGBoost did not take over the cuts of feature column {column}: {got.size} bounds instead of "
                f"{wanted.size} ones that are equal on all hosts; is this another version of XGBoost?"
            )


def global_cuts(
    world: World,
    features: Features | Array,
    max_bin: int,
    *,
    categories: Mapping[int, int] | None = None,
    threads: int = 1,
    values_at_once: int = BLOCK_VALUES,
    told: Callable[[int], None] = lambda _: None,
) -> Cuts:
    """The cuts of all ranks' rows together; collective, the same on every rank.

    Parameters
    ----------
    world
        All ranks.
    features
        This rank's rows, shape (rows, columns), with columns equal and rows possibly 0: float32 with NaN
        for missing, or CSR, where what is absent is missing.
    max_bin
        Bins per column, 2 or more.
    categories
        Of each categorical column, the size of its dictionary.
    threads
        How many sort.
    values_at_once
        How many values are sorted at a time, 4 bytes each. Twice as many are in memory: while ranks exchange counts
        of some columns, the next ones are fetched and sorted.
    told
        Hears how many columns are done, from time to time.

    Raises
    ------
    UserError
        When a value is infinite on any rank: on all of them.
    """
    categories = categories or {}
    anchors = [np.arange(max(categories.get(j, 0), 1), dtype=np.float32) for j in range(features.shape[1])]
    local = columns_of(Features.of(features))
    numeric = np.array([j for j in range(len(anchors)) if j not in categories], np.int64)
    blocks = list(_blocks(world, local.sizes(), numeric, max_bin, values_at_once))
    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as ahead:

        def sort(block: Sequence[int]) -> Future[list[_Part]]:
            return ahead.submit(_parts, local, block, max_bin, pool, threads)

        upcoming = [sort(block) for block in blocks[:1]]
        for block, following in itertools.zip_longest(blocks, blocks[1:]):
            parts = upcoming.pop().result()
            if following is not None:
                upcoming.append(sort(following))
            for j, found in zip(block, _anchors(world, block, parts, max_bin), strict=True):
                anchors[j] = found
            told(block[-1] + 1)
    return Cuts(max_bin, tuple(anchors), frozenset(categories))


def _blocks(world: World, sizes: Counts, columns: Counts, max_bin: int, values: int) -> Iterator[list[int]]:
    """Divide the columns so that each block fits into memory, alike on all ranks."""
    largest = world.allreduce(sizes, "max")[columns]
    allowed = int(world.allreduce(np.array([values], np.int64), "min")[0])
    place = np.cumsum(largest + _WORDS_PER_BIN * max_bin) // allowed
    for block in np.split(columns, np.flatnonzero(np.diff(place)) + 1):
        if block.size:
            yield block.tolist()


def _parts(local: Columns, block: Sequence[int], max_bin: int, pool: Executor, threads: int) -> list[_Part]:
    """What this rank has of each column of a block; neighbouring columns go to one thread."""
    shares = [share for share in np.array_split(np.array(block), threads) if share.size]
    runs = [run for share in shares for run in np.split(share, np.flatnonzero(np.diff(share) > 1) + 1)]

    def sort(run: NDArray[np.int64]) -> list[_Part]:
        return [_Part.of(values, max_bin) for values in local.sorted_values(int(run[0]), int(run[-1]) + 1)]

    return [part for of_run in pool.map(sort, runs) for part in of_run]


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """One rank's part of one column.

    Parameters
    ----------
    values
        Ascending, none missing.
    different
        The different ones among them, unless there are `many`: more than max_bin.
    """

    values: Floats
    different: Floats
    many: bool

    @classmethod
    def of(cls, values: Floats, max_bin: int) -> _Part:
        is_first = np.ones(values.size, np.bool_)
        np.not_equal(values[1:], values[:-1], out=is_first[1:])
        many = bool(np.count_nonzero(is_first) > max_bin)
        return cls(values, values[:0] if many else values[is_first], many)

    def extremes(self) -> tuple[float, float, float]:
        """For a maximum over ranks: the negated minimum, the maximum, and whether there are many."""
        if not self.values.size:
            return -np.inf, -np.inf, 0
        return -self.values[0], self.values[-1], self.many


def _anchors(world: World, columns: Sequence[int], parts: Sequence[_Part], max_bin: int) -> list[Floats]:
    """The anchors of a block of columns."""
    counts = world.allreduce(np.array([part.values.size for part in parts], np.int64))
    extremes = world.allreduce(np.array([part.extremes() for part in parts], np.float32), "max")
    for i in np.flatnonzero((extremes == np.inf).any(axis=1)).tolist():
        raise UserError(
            f"feature column {columns[i]} (the first is 0) has infinite values; give finite numbers, or leave "
            "the cells empty"
        )
    few = np.flatnonzero(extremes[:, 2] == 0).tolist()
    anchors = dict(zip(few, _union(world, [parts[i].different for i in few]), strict=True))
    rest = [i for i in range(len(parts)) if i not in anchors or anchors[i].size > max_bin]
    inner = order_statistics(world, [parts[i].values for i in rest], counts[rest], max_bin)
    for i, cuts in zip(rest, inner, strict=True):
        anchors[i] = np.unique(np.concatenate([-extremes[i, :1], cuts, extremes[i, 1:2]])) + np.float32(0)
    return [anchors[i] for i in range(len(parts))]


def _union(world: World, sets: Sequence[Floats]) -> list[Floats]:
    """The different values of each column on all ranks, ascending."""
    if not sets:
        return []
    sizes = world.allgather_arrays(np.array([values.size for values in sets], np.int64))
    everything = world.allgather_arrays(np.concatenate(sets))
    of_ranks = [np.split(values, np.cumsum(n)[:-1]) for values, n in zip(everything, sizes, strict=True)]
    return [np.unique(np.concatenate(of_column)) + np.float32(0) for of_column in zip(*of_ranks, strict=True)]
