"""What belongs to rows besides their features: batches of one rank as one array a kind.

Alike on all ranks, also where some have no rows.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from treering.readers.batch import Batch
    from treering.world import World


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
    def agree(cls, world: World, beside: Sequence[Beside]) -> Form:
        """The form of the batches of all ranks; collective."""
        mine = [0] * len(dataclasses.fields(cls))
        for batch in beside:
            mine = [max(pair) for pair in zip(mine, batch.facts, strict=True)]
        width, is_sparse, weight, group, upper, outputs, zero = map(
            int, world.allreduce(np.array(mine, np.int64), "max")
        )
        return cls(width, bool(is_sparse), bool(weight), bool(group), bool(upper), outputs, bool(zero))


@dataclasses.dataclass(frozen=True, slots=True)
class Beside:
    """A batch without its features.

    Parameters
    ----------
    label, weight, group, label_upper, base_margin
        As in `treering.readers.batch.Batch`, each an array of its own.
    facts
        The fields of a `Form`, as numbers, for this batch.
    file
        The name of the file that its first row is from.
    """

    label: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    group: NDArray[np.int64] | None
    label_upper: NDArray[np.float32] | None
    base_margin: NDArray[np.float32] | None
    facts: tuple[int, ...]
    file: str

    @classmethod
    def of(cls, batch: Batch, file: str) -> Beside:
        """What `batch`, with its first row from `file`, has beside its features; holds on to nothing of it."""
        return cls(
            batch.label.copy(),
            _copy(batch.weight),
            _copy(batch.group),
            _copy(batch.label_upper),
            _copy(batch.base_margin),
            _facts(batch),
            file,
        )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.label.size)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        arrays = (self.label, self.weight, self.group, self.label_upper, self.base_margin)
        return sum(each.nbytes for each in arrays if each is not None)


def _copy[T: np.generic](values: NDArray[T] | None) -> NDArray[T] | None:
    return None if values is None else values.copy()


def _facts(batch: Batch) -> tuple[int, ...]:
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


def labels(batches: Sequence[Beside]) -> NDArray[np.float32]:
    """Of all rows."""
    return _join([batch.label for batch in batches], np.float32)


def weights(batches: Sequence[Beside], form: Form) -> NDArray[np.float32] | None:
    """Of all rows, 1 where a batch names none; None if no rank has any."""
    if not form.has_weight:
        return None
    ones = (np.ones(batch.rows, np.float32) if batch.weight is None else batch.weight for batch in batches)
    return _join(list(ones), np.float32)


def uppers(batches: Sequence[Beside], form: Form) -> NDArray[np.float32] | None:
    """Upper bounds of all labels: the label itself where a batch names none; None if no rank has any."""
    if not form.has_upper:
        return None
    parts = [batch.label if batch.label_upper is None else batch.label_upper for batch in batches]
    return _join(parts, np.float32)


def groups(batches: Sequence[Beside], form: Form, channel: str) -> NDArray[np.int64] | None:
    """Query groups of all rows, None if no rank has any; raises UserError where only some rows have one."""
    if not form.has_group:
        return None
    given: list[NDArray[np.int64]] = []
    for batch in batches:
        if batch.group is None:
            raise UserError(
                f"channel {channel}: rows of {batch.file} have no query id (qid), but others have one; give all or "
                "none"
            )
        given.append(batch.group)
    return _join(given, np.int64)


def margins(batches: Sequence[Beside], form: Form) -> NDArray[np.float32] | None:
    """Base margins of all rows, shape (rows,) or (rows, outputs); None if no rank has any."""
    if not form.outputs:
        return None
    shape = (0,) if form.outputs == 1 else (0, form.outputs)
    given = [batch.base_margin for batch in batches if batch.base_margin is not None]
    return np.concatenate([np.empty(shape, np.float32), *given])


def _join[T: np.generic](parts: list[NDArray[T]], dtype: type[T]) -> NDArray[T]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
