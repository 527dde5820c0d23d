"""Rows that change ranks: everything that belongs to a row goes along, over MPI."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from treering.identity import Pieces
from treering.joining import stack_sparse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from treering.joining import Features
    from treering.shard import Shard
    from treering.world import World

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
    if not isinstance(features, np.ndarray):
        return _move_sparse(world, features, staying, leaving)[sort]
    width = features.shape[1]
    coming = world.alltoall_arrays([features[rows].reshape(-1) for rows in leaving])
    arrived = np.concatenate([part.reshape(-1, width) for part in coming])
    moved = np.empty((sort.size, width), np.float32, order="F")
    for column in range(width):
        moved[:, column] = np.concatenate([features[staying, column], arrived[:, column]])[sort]
    return moved


def _move_sparse(
    world: World,
    features: sparse.csr_array,
    staying: NDArray[np.intp],
    leaving: Sequence[NDArray[np.intp]],
) -> sparse.csr_array:
    """The rows that stay, and behind them those that come."""
    parts = [features[rows] for rows in leaving]
    counts = world.alltoall_arrays([np.diff(part.indptr).astype(np.int64) for part in parts])
    indices = world.alltoall_arrays([part.indices.astype(np.int32) for part in parts])
    data = world.alltoall_arrays([part.data for part in parts])
    width = features.shape[1]
    arrived = [
        sparse.csr_array((values, places, np.concatenate([[0], np.cumsum(count)])), shape=(count.size, width))
        for values, places, count in zip(data, indices, counts, strict=True)
    ]
    return stack_sparse([features[staying], *arrived], width)
