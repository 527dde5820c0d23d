"""CSV row by row: slow, and exact about what is wrong where.

The fast path hands a block over when it cannot make sense of it. Either the mistake is named here, or the
block is right after all (a line of blanks, a quote behind a blank) and its numbers come from here. Tests
hold the fast path against this module.
"""

from __future__ import annotations

import csv
import io
import itertools
from typing import TYPE_CHECKING

import numpy as np

from treering.errors import UserError
from treering.readers import cells

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from treering.readers.csv_layout import Layout
    from treering.readers.lines import Block

DOUBLE_QUOTE = b'"'

_AT_ONCE = 1000  # rows


def rows(data: bytes, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line, counted from 0, on which each row starts, and its cells; blank lines are no rows.

    Where a cell becomes longer than the csv module takes, one row without cells ends the iteration.
    """
    text = io.StringIO(data.decode("utf-8", "replace"), newline="")
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=delimiter not in cells.BLANKS)
    line = 0
    try:
        for row in reader:
            if len(row) > 1 or any(cell.strip(cells.BLANKS) for cell in row):
                yield line, row
            line = reader.line_num
    except csv.Error:
        yield line, []


def parse(block: Block, layout: Layout) -> NDArray[np.float32]:
    """The block's numbers, shape (rows, all columns), in Fortran order; missing is NaN.

    Raises
    ------
    UserError
        For the first row that cannot be trained on, with file, line and column.
    """
    parts = [np.zeros((0, layout.columns), np.float32)]
    line = 0
    for some in itertools.batched(rows(block.data, layout.delimiter), _AT_ONCE):
        numbers = _numbers([row for _, row in some], layout)
        if numbers is None:
            for line, row in some:
                _check(row, block, line, layout)
            raise RuntimeError(f"{block.place(some[0][0])}: rows were found valid that are no numbers")
        parts.append(numbers)
        line = some[-1][0]
    if block.data.count(DOUBLE_QUOTE) % 2:
        raise UserError(f"{block.place(line)}: a quote is opened and never closed; close or remove it")
    return np.asfortranarray(np.concatenate(parts))


def _numbers(some: list[list[str]], layout: Layout) -> NDArray[np.float32] | None:
    """The rows' numbers, or None if there is a mistake in one of them."""
    if any(len(row) != layout.columns for row in some):
        return None
    try:
        flat = cells.to_float32([cell for row in some for cell in row])
    except ValueError:
        return None
    numbers = flat.reshape(-1, layout.columns)
    return numbers if layout.fits(numbers) else None


def _check(row: list[str], block: Block, line: int, layout: Layout) -> None:
    """Raise UserError for a row with a mistake."""
    if not row:
        raise UserError(
            f"{block.place(line)}: from here on rows cannot be told apart; look for a quote that is never closed"
        )
    if len(row) != layout.columns:
        raise UserError(
            f"{block.place(line)}: {len(row)} columns where the file's first row has {layout.columns}; every "
            "row needs the same number of cells (an empty cell is a missing value)"
        )
    for column, cell in enumerate(row):
        place = f"{block.place(line)}, column {column + 1}"
        if cells.is_text(cell):
            raise UserError(
                f"{place}: {cells.shown(cell)} is not a number; turn text into numbers, and leave the cell empty "
                "where a value is missing"
            )
        rule = layout.rule(column)
        if rule.broken(cells.to_float32([cell])).any():
            raise UserError(f"{place}: {rule.sentence} (found {cells.shown(cell)})")
