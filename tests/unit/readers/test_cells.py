"""Single cells: the careful parsers accept what pyarrow accepts, and round as it should be."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv

from treering.readers import cells

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _by_arrow(cell: str) -> NDArray[np.float32] | None:
    """The cell read by pyarrow's CSV parser, or None if it is no number there."""
    try:
        column = arrow_csv.read_csv(
            pa.BufferReader(f"{cell},0\n".encode()),
            read_options=arrow_csv.ReadOptions(column_names=["cell", "other"]),
            convert_options=arrow_csv.ConvertOptions(
                column_types={"cell": pa.float32()}, null_values=list(cells.MISSING)
            ),
        )["cell"]
    except pa.ArrowInvalid:
        return None
    numbers: NDArray[np.float32] = column.to_numpy()
    return numbers


def test_text_is_what_pyarrow_refuses(rng: np.random.Generator) -> None:
    """Random cells out of what numbers are made of: same verdict, same bits."""
    letters = np.array([*"0123456789", *"+-.eE", "inf", "nan", "NA", "()", "x", "_", "Infinity"])
    for _ in range(3000):
        cell = "".join(rng.choice(letters, size=rng.integers(1, 7)))
        expected = _by_arrow(cell)
        assert cells.is_text(cell) == (expected is None), cell
        if expected is not None:
            np.testing.assert_array_equal(cells.to_float32([cell]), expected, err_msg=cell)


def test_rounds_once(rng: np.random.Generator) -> None:
    """The result is the float32 nearest to the decimal number, also where float64 lies on a tie."""
    for _ in range(300):
        low = np.float32(rng.normal() * 10.0 ** rng.integers(-20, 20))
        high = np.nextafter(low, np.float32(np.inf))
        middle = (Fraction(float(low)) + Fraction(float(high))) / 2
        beside = middle + (Fraction(float(high)) - Fraction(float(low))) * Fraction(
            int(rng.choice([-1, 1])), 10**12
        )  # lost in float64
        text = _decimal(beside)
        (found,) = cells.to_float32([text])
        assert found == (low if beside < middle else high), text


def _decimal(value: Fraction) -> str:
    """At least 60 digits of `value`, in scientific notation."""
    scaled = value.numerator * 10**90 // value.denominator
    return f"{scaled}e-90"


@pytest.mark.parametrize("cell", sorted(cells.MISSING))
def test_missing_values_have_many_spellings(cell: str) -> None:
    """Each is missing, with blanks around it as well."""
    assert cells.is_missing(cell)
    assert cells.is_missing(f" {cell}\t")
    assert np.isnan(cells.to_float32([cell, f"\n{cell} "])).all()


def test_text_is_no_number() -> None:
    """The conversion refuses what `is_text` names."""
    with pytest.raises(ValueError, match="two"):
        cells.to_float32(["1", "two"])


def test_what_is_shown_is_short_and_escaped() -> None:
    """A message stays one line, whatever stands in the file."""
    assert cells.shown("a\nb") == r"'a\nb'"
    assert len(cells.shown("x" * 1000)) < 50
