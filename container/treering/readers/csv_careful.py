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
from treering.readers.csv_table import Table, clean
from treering.readers.groups import group_of
from treering.readers.rules import GROUP, INTERVAL, LABEL, inverted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from treering.readers.csv_layout import Layout
    from treering.readers.lines import Block
    from treering.readers.rules import Rule

DOUBLE_QUOTE = b'"'

_UNCLOSED = "a quote in this row is closed on another line or never; close or remove it"

_TRUTHS = frozenset({"true", "false", "yes", "no"})
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


def parse(block: Block, layout: Layout) -> Table:
    """The block's rows.

    Raises
    ------
    UserError
        For the first row that cannot be trained on, with file, line and column.
    """
    tables = [Table(np.zeros((0, layout.columns), np.float32), np.zeros(0, np.int64))]
    line = 0
    for some in itertools.batched(rows(block.data, layout.delimiter), _AT_ONCE):
        table = _table([row for _, row in some], layout)
        if table is None:
            for line, row in some:
                _check(row, block, line, layout)
            raise RuntimeError(f"{block.place(some[0][0])}: rows were found valid that are no numbers")
        tables.append(table)
        line = some[-1][0]
    if block.data.count(DOUBLE_QUOTE) % 2:
        raise UserError(f"{block.place(line)}: a quote is opened and never closed; close or remove it")
    numbers = np.asfortranarray(np.concatenate([table.numbers for table in tables]))
    if layout.parts.group is None:
        return Table(numbers, None)
    return Table(numbers, np.concatenate([table.group for table in tables if table.group is not None]))


def _table(some: list[list[str]], layout: Layout) -> Table | None:
    """The rows as numbers, or None if there is a mistake in one of them."""
    if any(len(row) != layout.columns for row in some):
        return None
    parts, group = layout.parts, None
    if parts.group is not None:
        texts = [clean(row[parts.group]) for row in some]
        if None in texts:
            return None
        group = np.array([group_of(text) for text in texts if text is not None], np.int64)
    try:
        flat = cells.to_float32(
            ["" if column == parts.group else cell for row in some for column, cell in enumerate(row)]
        )
    except ValueError:
        return None
    table = Table(flat.reshape(-1, layout.columns), group)
    return table if table.fits(parts) else None


def _check(row: list[str], block: Block, line: int, layout: Layout) -> None:
    """Raise UserError for a row with a mistake."""
    _check_width(row, block, line, layout)
    parts = layout.parts
    for column, cell in enumerate(row):
        place = f"{block.place(line)}, {layout.named(column)}"
        if column != parts.group:
            _check_cell(cell, parts.rule(column), place)
        elif cells.is_missing(cell):
            raise UserError(f"{place}: {GROUP}")
    if parts.label_upper is not None:
        low, high = row[parts.label], row[parts.label_upper]
        if inverted(cells.to_float32([low]), cells.to_float32([high])).any():
            place = f"{block.place(line)}, {layout.named(parts.label_upper)}"
            raise UserError(f"{place}: {INTERVAL} (found {cells.shown(low)} and {cells.shown(high)})")


def _check_width(row: list[str], block: Block, line: int, layout: Layout) -> None:
    if not row:
        raise UserError(
            f"{block.place(line)}: from here on rows cannot be told apart; look for a quote that is never closed"
        )
    if len(row) != layout.columns:
        where = f"{block.place(line)}: {len(row)} columns where the file's first row has {layout.columns}"
        if any("\n" in cell for cell in row):
            raise UserError(f"{where}; {_UNCLOSED}")
        raise UserError(
            f"{where}; every row needs the same number of cells (an empty cell is a missing value)"
        )


def _check_cell(cell: str, rule: Rule, place: str) -> None:
    if cells.is_text(cell):
        raise UserError(
            f"{place}: {cells.shown(cell)} is not a number; {_advice(cell.strip(cells.BLANKS), rule)}"
        )
    if rule.broken(cells.to_float32([cell])).any():
        raise UserError(f"{place}: {rule.sentence} (found {cells.shown(cell)})")


def _advice(text: str, rule: Rule) -> str:
    """What to do about a text in the place of a number."""
    if "\n" in text:
        return _UNCLOSED
    if cells.has_comma(text):
        return "write numbers with a decimal point and without any comma"
    if text.lower() in _TRUTHS:
        return "write 1 and 0 instead"
    if rule is LABEL:
        return "number the classes from 0, or name the column that holds the labels (label_column)"
    return "turn text into numbers, and leave the cell empty where a value is missing"
