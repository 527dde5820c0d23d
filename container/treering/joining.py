"""Batches of one rank as one array a kind, alike on all ranks also where some have no rows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from treering.readers.batch import Batch
    from treering.world import World

_INT32 = 2**31  # from here on offsets take more than 32 bits

type Features = NDArray[np.float32] | sparse.csr_array


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """What the rows of a channel consist of, on all ranks together.

    Parameters
    ----------
    width
        Feature columns of the widest batch.
    is_sparse
        Whether features are CSR.
    has_weight, has_group, has_upper
        Whether any row has a weight, a query group, an upper bound of its label.
    outputs
        Base margins a row; 0 for none.
    uses_zero
        Whether a sparse row has a value in column 0.
    """

    width: int
    is_sparse: bool
    has_weight: bool
    has_group: bool
    has_upper: bool
    outputs: int
    uses_zero: bool

    @classmethod
    def agree(cls, world: World, batches: Sequence[Batch]) -> Form:
        """The form of the batches of all ranks; collective."""
        mine = [0] * len(dataclasses.fields(cls))
        for batch in batches:
            mine = [max(pair) for pair in zip(mine, _facts(batch), strict=True)]
        width, is_sparse, weight, group, upper, outputs, zero = map(
            int, world.allreduce(np.array(mine, np.int64), "max")
        )
        return cls(width, bool(is_sparse), bool(weight), bool(group), bool(upper), outputs, bool(zero))


def _facts(batch: Batch) -> tuple[int, ...]:
    """The fields of a `Form`, as numbers, for one batch."""
    margin, features = batch.base_margin, batch.features
    return (
        features.shape[1],
        not isinstance(features, np.ndarray),
        batch.weight is not None,
        batch.group is not None,
        batch.label_upper is not None,
        0 if margin is None else margin.size // batch.rows,
        not isinstance(features, np.ndarray) and bool((features.indices == 0).any()),
    )


def labels(batches: Sequence[Batch]) -> NDArray[np.float32]:
    """Of all rows."""
    return _join([batch.label for batch in batches], np.float32)


def weights(batches: Sequence[Batch], form: Form) -> NDArray[np.float32] | None:
    """Of all rows, 1 where a batch names none; None if no rank has any."""
    if not form.has_weight:
        return None
    ones = (np.ones(batch.rows, np.float32) if batch.weight is None else batch.weight for batch in batches)
    return _join(list(ones), np.float32)


def uppers(batches: Sequence[Batch], form: Form) -> NDArray[np.float32] | None:
    """Upper bounds of all labels: the label itself where a batch names none; None if no rank has any."""
    if not form.has_upper:
        return None
    parts = [batch.label if batch.label_upper is None else batch.label_upper for batch in batches]
    return _join(parts, np.float32)


def groups(batches: Sequence[Batch], form: Form, channel: str) -> NDArray[np.int64] | None:
    """Query groups of all rows, None if no rank has any; raises UserError where only some rows have one."""
    if not form.has_group:
        return None
    given = [batch.group for batch in batches if batch.group is not None]
    if len(given) < len(batches):
        raise UserError(
            f"channel {channel}: some rows have a query id (qid) and some have none; give all or none"
        )
    return _join(given, np.int64)


def margins(batches: Sequence[Batch], form: Form) -> NDArray[np.float32] | None:
    """Base margins of all rows, shape (rows,) or (rows, outputs); None if no rank has any."""
    if not form.outputs:
        return None
    shape = (0,) if form.outputs == 1 else (0, form.outputs)
    given = [batch.base_margin for batch in batches if batch.base_margin is not None]
    return np.concatenate([np.empty(shape, np.float32), *given])


def _join[T: np.generic](parts: list[NDArray[T]], dtype: type[T]) -> NDArray[T]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def stack(batches: list[Batch], width: int, *, is_sparse: bool) -> Features:
    """The features of all batches in one array, each batch let go as soon as it is copied."""
    if is_sparse:
        return stack_sparse([sparse.csr_array(batch.features) for batch in batches], width)
    stop = sum(batch.rows for batch in batches)
    features = np.empty((stop, width), np.float32, order="F")
    while batches:
        batch = batches.pop()
        features[stop - batch.rows : stop] = np.asarray(batch.features)
        stop -= batch.rows
    return features


def stack_sparse(parts: Sequence[sparse.csr_array], width: int) -> sparse.csr_array:
    """CSR arrays one below the other, `width` columns wide."""
    counts = [np.diff(part.indptr) for part in parts]
    entries = sum(part.nnz for part in parts)
    starts = np.zeros(1 + sum(count.size for count in counts), np.int32 if entries < _INT32 else np.int64)
    np.cumsum(_join(counts, np.int64), out=starts[1:])
    return sparse.csr_array(
        (
            _join([part.data for part in parts], np.float32),
            _join([part.indices for part in parts], np.int32),
            starts,
        ),
        shape=(starts.size - 1, width),
    )
