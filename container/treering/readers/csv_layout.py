"""How one CSV file is laid out, read off its first rows: delimiter, number of columns, header."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import logging
import re
from typing import TYPE_CHECKING

from treering.errors import UserError
from treering.readers import cells, lines
from treering.readers.csv_careful import rows
from treering.readers.rules import FEATURE, LABEL, WEIGHT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from treering.readers.batch import File
    from treering.readers.rules import Rule

logger = logging.getLogger(__name__)

DELIMITERS = (",", ";", "\t", "|", " ")
"""In order of preference where several fit equally well."""

_SAMPLE = 20  # rows that have to agree on the delimiter
_SPARSE = re.compile(r"[0-9]+:\S+")  # index:value, as LIBSVM has it


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """What has to be known about a CSV file before any part of it can be read.

    Parameters
    ----------
    delimiter
        One character.
    columns
        Cells in each row, label and weight among them; 0 for a file without rows.
    start
        Offset of the first byte behind the byte order mark and the header.
    names
        The header's names of all columns, or None.
    label
        Column of the label, from 0.
    weight
        Column of the weight, or None.
    """

    delimiter: str
    columns: int
    start: int
    names: tuple[str, ...] | None
    label: int
    weight: int | None

    @property
    def first_feature(self) -> int:
        """The features are the columns from here to the last."""
        return 1 + max(self.label, self.weight or 0)

    def rule(self, column: int) -> Rule:
        """What holds for the numbers in `column`."""
        return {self.label: LABEL, self.weight: WEIGHT}.get(column, FEATURE)

    def fits(self, numbers: NDArray[np.float32]) -> bool:
        """Whether every column of `numbers`, shape (rows, columns), keeps its rule."""
        return not any(self.rule(column).broken(numbers[:, column]).any() for column in range(self.columns))


def layout_of(file: File, *, header: bool, weights: bool) -> Layout:
    """Find out how `file` is laid out.

    Raises
    ------
    UserError
        There is a header that was not announced, an announced header does not fit, there is no feature
        column, or the file is no CSV at all.
    """
    head = lines.head(file, quoted=True)
    if head is None:
        return Layout(",", 0, file.size, None, 0, None)
    delimiter, sample = _delimiter(head)
    first = sample[0]
    _require_dense(head, first)
    columns = len(first)
    if columns < 2 + weights:
        raise UserError(
            f"{head.place(0)}: found {columns} of at least {2 + weights} columns (label{', weight' if weights else ''}, "
            "features); separate them by comma, semicolon, tab, | or space"
        )
    start, names = lines.text_start(file), None
    if header:
        start = lines.row_start(file, head.start + 1, quotes=head.data.count(b'"', 0, 1))
        names = _names(head, start - head.start, sample, delimiter, 1 + weights)
    elif _mostly_text(first) and not (len(sample) > 1 and _mostly_text(sample[1])):
        raise UserError(
            f"{head.place(0)}: this looks like a header ({cells.shown(delimiter.join(first))}); remove it, or "
            "say so with the content type text/csv;header=true, which takes the feature names from it"
        )
    return Layout(delimiter, columns, start, names, 0, 1 if weights else None)


def _delimiter(head: lines.Block) -> tuple[str, list[list[str]]]:
    """The delimiter that cuts the first rows into equal numbers of cells, and those rows."""
    samples = {}
    for delimiter in DELIMITERS:
        found = itertools.islice(rows(head.data, delimiter), _SAMPLE)
        samples[delimiter] = [row for _, row in found if row]
    best = max(samples, key=lambda delimiter: _fit(samples[delimiter]))
    if not samples[best]:
        raise UserError(
            f"{head.place(0)}: no cells can be told apart in this row; look for a quote that is never closed"
        )
    return best, samples[best]


def _fit(sample: list[list[str]]) -> tuple[bool, bool]:
    """How well a delimiter fits: the same number of cells in all rows, or at least several in one."""
    widths = {len(row) for row in sample}
    several = max(widths, default=0) > 1
    return several and len(widths) == 1, several


def _mostly_text(row: list[str]) -> bool:
    present = [cell for cell in row if not cells.is_missing(cell)]
    return 2 * sum(map(cells.is_text, present)) > len(present)


def _require_dense(head: lines.Block, row: list[str]) -> None:
    if any(_SPARSE.fullmatch(cell.strip()) for cell in row):
        raise UserError(
            f"{head.place(0)}: this looks like LIBSVM (index:value), not CSV; set the channel's content type to "
            "text/libsvm"
        )


def _names(
    head: lines.Block, length: int, sample: list[list[str]], delimiter: str, first_feature: int
) -> tuple[str, ...]:
    """The names in the header, which takes up the first `length` bytes of `head`."""
    place = head.place(0)
    if len(list(rows(head.data[:length], delimiter))) != 1 or head.data.count(b'"', 0, length) % 2:
        raise UserError(f"{place}: the header has a quote that is never closed; close or remove it")
    names = tuple(cell.strip() for cell in sample[0])
    if len(sample) > 1 and len(sample[1]) != len(names):
        raise UserError(
            f"{place}: the header has {len(names)} names, but the first row has {len(sample[1])} columns; "
            "every column needs its name"
        )
    features = names[first_feature:]
    name, times = collections.Counter(features).most_common(1)[0]
    if times > 1:
        raise UserError(
            f"{place}: the name {cells.shown(name)} stands {times} times in the header; make names unique"
        )
    if "" in features:
        raise UserError(
            f"{place}, column {1 + first_feature + features.index('')}: this column has no name; give it one"
        )
    if not any(map(cells.is_text, features)):
        logger.warning("%s: the header consists of numbers alone; it is taken as names, not as a row", place)
    return names
