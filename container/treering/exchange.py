"""Rows that change ranks: everything that belongs to a row goes along, over MPI."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from treering.features import Features, stack_sparse, store
from treering.identity import Pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from treering.features import Array
    from treering.shard import Shard
    from treering.world import World

_ROWS_AT_ONCE = 1 << 16  # of the features put in their new order

type Order = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[Any]], NDArray[np.intp]]
"""From files, row numbers and groups of this rank's rows to the order in which they shall stand."""


def move(world: World, shard: Shard, owner: NDArray[np.int64], order: Order) -> Shard:
    """Bring each row to the rank that shall own it; collective.

    Parameters
    ----------
    world, shard
        All ranks, and the rows of this one.
    owner
        Rank of each row; shape (rows,).
    order
        Says how the rows that a rank has in the end are sorted.

    Returns
    -------
    Shard
        The new rows of this rank.

    Notes
    -----
    Only rows that change ranks are sent. While features are copied, they are in memory twice.
    """
    leaving = [np.flatnonzero(owner == rank) if rank != world.rank else _NONE for rank in range(world.size)]
    staying = np.flatnonzero(owner == world.rank)

    def exchange[T: np.generic](values: NDArray[T]) -> NDArray[T]:
        """The rows that stay, and behind them those that come."""
        coming = world.alltoall_arrays([values[rows].reshape(-1) for rows in leaving])
        shape = (-1, *values.shape[1:])
        return np.concatenate([values[staying], *(part.reshape(shape) for part in coming)])

    def optional[T: np.generic](values: NDArray[T] | None) -> NDArray[T] | None:
        return None if values is None else exchange(values)[sort]

    file, row = map(exchange, shard.pieces.expand())
    group = None if shard.group is None else exchange(shard.group)
    sort = order(file, row, np.zeros(file.size, np.int64) if group is None else group)
    return dataclasses.replace(
        shard,
        features=_move_features(world, shard.features, staying, leaving, sort),
        label=exchange(shard.label)[sort],
        weight=optional(shard.weight),
        group=None if group is None else group[sort],
        label_upper=optional(shard.label_upper),
        base_margin=optional(shard.base_margin),
        pieces=Pieces.of_rows(file[sort], row[sort]),
    )


_NONE = np.empty(0, np.intp)


def _move_features(
    world: World,
    features: Features,
    staying: NDArray[np.intp],
    leaving: Sequence[NDArray[np.intp]],
    sort: NDArray[np.intp],
) -> Features:
    """The rows that stay and those that come, in the order `sort`, a chunk at a time."""
    width = features.shape[1]
    arrived = _arrived(world, [features.take(rows) for rows in leaving], width)
    chunks = []
    for start in range(0, sort.size, _ROWS_AT_ONCE):
        rows = sort[start : start + _ROWS_AT_ONCE]
        stay, come = rows < staying.size, rows >= staying.size
        kept, new = features.take(staying[rows[stay]]), arrived.take(rows[come] - staying.size)
        back = np.argsort(np.concatenate([np.flatnonzero(stay), np.flatnonzero(come)]))
        both: Array
        if isinstance(kept, np.ndarray) and isinstance(new, np.ndarray):
            both = np.concatenate([kept, new])[back]
        else:
            both = stack_sparse([kept, new], width)[back]
        chunks.append(store(both, features.storage))
    return Features(chunks, width, is_sparse=features.is_sparse, storage=features.storage)


def _arrived(world: World, parts: Sequence[Array], width: int) -> Features:
    """Send each rank its part, and get the rows that come from all of them."""
    dense = [part for part in parts if isinstance(part, np.ndarray)]
    if dense:
        coming = world.alltoall_arrays([part.reshape(-1) for part in dense])
        return Features.of(np.concatenate([part.reshape(-1, width) for part in coming]))
    rows = [part for part in parts if not isinstance(part, np.ndarray)]
    counts = world.alltoall_arrays([np.diff(part.indptr).astype(np.int64) for part in rows])
    indices = world.alltoall_arrays([part.indices.astype(np.int32) for part in rows])
    data = world.alltoall_arrays([part.data for part in rows])
    found = [
        sparse.csr_array((values, places, np.concatenate([[0], np.cumsum(count)])), shape=(count.size, width))
        for values, places, count in zip(data, indices, counts, strict=True)
    ]
    return Features.of(stack_sparse(found, width))
