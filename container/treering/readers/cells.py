"""What one cell of a text file may hold: a number, nothing, or a mistake.

pyarrow decides about most cells; this module says the same of a single one, so that the careful parsers
accept what the fast ones accept and give the same bits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

BLANKS = " \t\r\n"
"""What may surround a value; line ends only between quotes."""

MISSING = frozenset(
    (
        *("", "NA", "N/A", "na", "n/a", "#N/A", "NaN", "nan", "NAN", "-NaN", "-nan"),
        *("NULL", "Null", "null", "None", "none", "?", r"\N"),
    )
)
"""Spellings of a missing value, beside any NaN that C's ``strtof`` knows."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf(inity)?", re.IGNORECASE)
_NAN = re.compile(r"[+-]?nan(\([a-z0-9_]*\))?", re.IGNORECASE)
_DELIMITERS = re.compile(r"[;|\t]")
_SHOWN = 40  # characters of the user's text in a message


def is_missing(cell: str) -> bool:
    """Whether `cell` says that there is no value."""
    cell = cell.strip(BLANKS)
    return cell in MISSING or _NAN.fullmatch(cell) is not None


def is_number(cell: str) -> bool:
    """Whether `cell` is a decimal number or an infinity."""
    return _NUMBER.fullmatch(cell.strip(BLANKS)) is not None


def is_text(cell: str) -> bool:
    """Whether `cell` is something, and no number."""
    return not is_missing(cell) and not is_number(cell)


def has_comma(cell: str) -> bool:
    """Whether `cell` would be a number, or several, if its commas were points or nothing: ``1,5`` and ``5;2``."""
    parts = _DELIMITERS.split(cell.strip(BLANKS))
    return (len(parts) > 1 or "," in cell) and all(is_number(part.replace(",", "")) for part in parts)


def to_float32(cells: Sequence[str]) -> NDArray[np.float32]:
    """Round numbers to the nearest float32, once (not by way of float64); missing becomes NaN.

    Raises
    ------
    ValueError
        One of them is text.
    """
    stripped = [cell.strip(BLANKS) for cell in cells]
    values = [None if cell in MISSING else cell for cell in stripped]
    converted = pa.array(values, pa.string()).cast(pa.float32())
    result: NDArray[np.float32] = converted.to_numpy(zero_copy_only=False)
    return result


def shown(text: str) -> str:
    """`text` in quotes, escaped and shortened, for a message."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
