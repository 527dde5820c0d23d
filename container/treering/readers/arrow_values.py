"""What an Arrow column means as float32.

=====================  =========================================================================
type                   becomes
=====================  =========================================================================
float16, 32, 64        the nearest float32
integers               the nearest float32; exact up to 2**24 = 16,777,216 in size
boolean                0 and 1
decimal                float64, then the nearest float32
date                   days since 1970-01-01
timestamp              days since 1970-01-01 00:00 (UTC if it has a zone), with a fraction; around
                       the year 2025 float32 resolves 3 minutes
null (no value known)  missing
=====================  =========================================================================

A null is missing, which is NaN. Text and dictionaries are categories (`treering.readers.encoding`); nested
values have no meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute, types

from treering.readers.encoding import is_categorical

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from treering.readers.batch import ColumnType

_EXACT = 2**24  # every integer up to here is a float32
_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def kind_of(column: pa.DataType) -> ColumnType | None:
    """What stands in a column of this type; None for what has no meaning as a number."""
    kinds: dict[ColumnType, bool] = {
        "category": is_categorical(column),
        "float": types.is_floating(column) or types.is_null(column),
        "integer": types.is_integer(column),
        "boolean": types.is_boolean(column),
        "decimal": types.is_decimal(column),
        "date": types.is_date(column) or types.is_timestamp(column),
    }
    return next((kind for kind, holds in kinds.items() if holds), None)


def why_not(column: pa.DataType) -> str:
    """What is wrong with a type that `kind_of` has no answer for, and what to do."""
    if types.is_nested(column):
        return f"is nested ({column}); flatten it into columns of numbers or leave it out"
    if types.is_time(column) or types.is_duration(column):
        return f"holds times without a date ({column}); turn it into a number or leave it out"
    return f"holds values that are no numbers and no categories ({column}); turn it into one of them or leave it out"


def to_float32(values: pa.Array) -> NDArray[np.float32]:
    """`values` as the table above says, shape (len(values),); NaN where there is none."""
    column = values.type
    if types.is_timestamp(column) or types.is_date64(column):
        per_day = _PER_DAY["ms" if types.is_date64(column) else column.unit]
        ticks = values.cast(pa.int64())
        values = compute.divide(ticks.cast(pa.float64(), safe=False), float(per_day))
    elif types.is_date32(column):
        values = values.cast(pa.int32())
    elif types.is_decimal(column):
        values = values.cast(pa.float64())  # Arrow's direct way to float32 often ends at a neighbour
    numbers: NDArray[np.float32] = values.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def survives(values: pa.Array) -> bool:
    """Whether all integers in `values` are float32 numbers; true of any other type."""
    if not types.is_integer(values.type) or values.type.bit_width <= 16:  # noqa: PLR2004  # bits
        return True
    range_ = compute.min_max(values).as_py()
    if range_["min"] is None or (range_["min"] >= -_EXACT and range_["max"] <= _EXACT):
        return True
    exact = values.drop_null().to_numpy()
    with np.errstate(invalid="ignore"):  # 2**63 and 2**64 are float32 numbers, but no integers of these types
        return bool((exact.astype(np.float32).astype(exact.dtype) == exact).all())
