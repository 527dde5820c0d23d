"""Text and dictionary columns as codes: each category gets a number when it is first seen.

The numbers mean something only together with the encoder's list, which `treering.categories` later turns
into the one list of all hosts.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import types

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 1_000_000
"""Categories of one column: each is a bin in every histogram, 16 bytes for each node of a tree."""

TOO_MANY = (
    f"there are more than {MOST:,} categories, so this may be an id rather than a category; leave the column out, or "
    "put numbers in its place, such as each category's frequency"
)
"""What to tell whoever has more."""


def is_categorical(column: pa.DataType) -> bool:
    """Whether a column of this type holds categories: text, or a dictionary of text or whole numbers."""
    if types.is_dictionary(column):
        values = column.value_type
        return _is_text(values) or bool(types.is_integer(values))
    return _is_text(column)


def _is_text(column: pa.DataType) -> bool:
    return bool(types.is_string(column) or types.is_large_string(column) or types.is_string_view(column))


class Encoder:
    """The categories of one column, in the order in which they were first seen, by any thread.

    Parameters
    ----------
    most
        How many there may be.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._codes: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def categories(self) -> tuple[str, ...]:
        """The category of each code."""
        return tuple(self._codes)

    def encode(self, values: pa.Array) -> NDArray[np.float32]:
        """Codes of `values`, float32 with NaN for null; shape (len(values),).

        Raises
        ------
        OverflowError
            There are more categories than there may be; what has to be looked at for that has a bound as well.
        """
        if not types.is_dictionary(values.type):
            values = values.dictionary_encode()
        indices = values.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        # A dictionary may hold more than is used, and what it holds must not depend on how files are cut.
        is_used = np.zeros(len(values.dictionary) + 1, np.bool_)
        is_used[indices] = True
        used = np.flatnonzero(is_used[:-1])
        if used.size > 2 * self._most:
            raise OverflowError
        known, names = self._codes, values.dictionary.take(pa.array(used)).cast(pa.string()).to_pylist()
        code_of = np.full(is_used.size, np.nan, np.float32)  # the last one is of null
        with self._lock:
            code_of[used] = [np.nan if name is None else known.setdefault(name, len(known)) for name in names]
            if len(known) > self._most:
                raise OverflowError
        encoded: NDArray[np.float32] = code_of[indices]
        return encoded
