"""Query groups: one id for one query, whatever the column holds and however it is written."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from treering.readers.groups import group_of, groups_of

if TYPE_CHECKING:
    from typing import Any


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("7", 7),
        ("-7", -7),
        ("7.0", 7),
        ("12.000", 12),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_a_whole_number_is_its_own_id(text: str, expected: int) -> None:
    """Exact up to 64 bits, with the point that tools add to columns with gaps."""
    assert group_of(text) == expected


def test_other_texts_have_ids_of_their_own() -> None:
    """Different texts, look-alikes of numbers among them, differ; the ids never change between versions."""
    texts = ["q1", "q2", "007", "7e2", "700", "+7", "7.5", " 7", "", "Zürich", "9223372036854775808", "-0"]
    assert len({group_of(text) for text in texts}) == len(texts)
    assert group_of("q1") == 7530267129497158631


@pytest.mark.parametrize(
    "values",
    [
        pa.array([3, None, 3, -1], pa.int8()),
        pa.array([3, None, 3, -1], pa.int64()),
        pa.array([3.0, float("nan"), 3.0, -1.0]),
        pa.array([3.0, None, 3.0, -1.0], pa.float32()),
        pa.array(["3", None, "3", "-1"]),
        pa.array(["3", None, "3", "-1"], pa.large_string()),
        pa.array(["3", None, "3", "-1"]).dictionary_encode(),
        pa.array([3, None, 3, -1]).dictionary_encode(),
        pa.array([decimal.Decimal("3.00"), None, decimal.Decimal("3.00"), decimal.Decimal("-1.00")]),
    ],
    ids=lambda values: str(values.type),
)
def test_every_type_gives_the_same_ids(values: Any) -> None:
    """Numbers, text and categories; a null has no id, and says so."""
    ids, missing = groups_of(values)
    assert ids.dtype == np.int64
    assert ids[[0, 2, 3]].tolist() == [3, 3, -1]
    assert missing.tolist() == [False, True, False, False]


def test_ids_beyond_64_bits_and_dates_stay_apart() -> None:
    """Large unsigned numbers and dates are known by their text."""
    ids, missing = groups_of(pa.array([2**64 - 1, 2**63, 5], pa.uint64()))
    assert len(set(ids.tolist())) == 3
    assert ids[2] == 5
    assert not missing.any()
    days = pa.array([dt.date(2024, 1, 1), dt.date(2024, 1, 2), dt.date(2024, 1, 1)])
    ids, _ = groups_of(days)
    assert ids[0] == ids[2] != ids[1]


def test_no_rows() -> None:
    """An empty column has no ids."""
    for kind in (pa.int64(), pa.string(), pa.null(), pa.float64()):
        ids, missing = groups_of(pa.array([], kind))
        assert (ids.size, missing.size) == (0, 0)


def test_slices_are_read_where_they_begin() -> None:
    """Batches are parts of larger arrays."""
    whole = pa.array(["a", None, "b", "a"]).dictionary_encode()
    ids, missing = groups_of(whole.slice(2, 2))
    assert ids.tolist() == [group_of("b"), group_of("a")]
    assert not missing.any()
