"""Query groups as 64-bit integers, whatever the column of their ids holds.

A whole number is its own id, be it written as a number or as text (``7``, ``7.0``). Any other text is
known by its 64-bit BLAKE2 digest: alike in every file, on every host and in every run. Two texts out of
a million have the same digest in one of 37 million cases.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import types

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")  # one spelling each: 007 and 7 are two ids
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def group_of(text: str) -> int:
    """The id that a text stands for."""
    whole = _WHOLE.fullmatch(text)
    if whole and _SMALLEST <= int(whole[1]) <= _LARGEST:
        return int(whole[1])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def groups_of(
    values: pa.Array, clean: Callable[[str], str | None] = lambda text: text
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Ids of a column, and in which rows it has none; shape (len(values),) each.

    Parameters
    ----------
    values
        Of any type that Arrow can write as text.
    clean
        What a text of this format says: an id, or None.
    """
    if types.is_integer(values.type) and not types.is_uint64(values.type):
        missing = values.is_null().to_numpy(zero_copy_only=False)
        return values.fill_null(0).cast(pa.int64()).to_numpy(), missing
    if types.is_floating(values.type):
        values = pa.array(values.to_numpy(zero_copy_only=False), from_pandas=True)  # NaN is no id
    if not types.is_dictionary(values.type):
        values = values.cast(pa.string()).dictionary_encode()
    texts = [
        None if text is None else clean(text) for text in values.dictionary.cast(pa.string()).to_pylist()
    ]
    ids = np.array([*(0 if text is None else group_of(text) for text in texts), 0], np.int64)
    absent = np.array([*(text is None for text in texts), True])
    places = values.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return ids[places], absent[places]
