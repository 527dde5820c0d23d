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
from treering.readers.batch import Span
from treering.readers.csv_careful import rows
from treering.readers.roles import Parts, assign, needed

if TYPE_CHECKING:
    from treering.readers.batch import File
    from treering.readers.lines import Look
    from treering.readers.roles import Roles

logger = logging.getLogger(__name__)

DELIMITERS = (",", ";", "\t", "|", " ")
"""In order of preference where several fit equally well."""

_SAMPLE = 20  # rows that have to agree on the delimiter
_DIGITS = b"0123456789+-.eE"
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
    look
        Where the text begins and ends.
    start
        Offset of the first byte behind the byte order mark and the header.
    names
        The header's names of all columns, or None.
    parts
        The part that each column plays.
    header
        Its bytes, with the line's end; none if there is none.
    row_bytes
        Length of the first row.
    """

    delimiter: str
    columns: int
    look: Look
    start: int
    names: tuple[str, ...] | None
    parts: Parts
    header: bytes = b""
    row_bytes: int = 0

    def rows_of(self, span: Span) -> Span:
        """The text of a span's rows, which may be none."""
        text = self.look.within(span)
        start = max(text.start, self.start) if self.columns else text.stop
        return Span(span.file, min(start, text.stop), text.stop)

    def is_like(self, other: Layout) -> bool:
        """Whether texts of both can stand one behind the other."""
        return (
            not (self.look.compressed or other.look.compressed)
            and self.columns > 0
            and (self.delimiter, self.columns) == (other.delimiter, other.columns)
            and (self.parts is other.parts or self.parts == other.parts)
        )

    def named(self, column: int) -> str:
        """What to call a column in a message: its number from 1, and its name if it has one."""
        name = f" ({cells.shown(self.names[column])})" if self.names else ""
        return f"column {column + 1}{name}"


def layout_of(file: File, roles: Roles, *, header: bool, like: Layout | None = None) -> Layout:
    """Find out how `file` is laid out.

    Parameters
    ----------
    file, roles, header
        What to look at, which columns the job names, and whether the first row names columns.
    like
        The layout of another file with the same roles and header: if this one plainly has it as well, most of
        the work is spared.

    Raises
    ------
    UserError
        There is a header that was not announced, an announced header does not fit, a column that was
        asked for is not there, there is no feature column, or the file is no CSV at all.
    """
    look = lines.look(file, quoted=True)
    head, look = look.head, look.forget_head()
    if head is None:
        return Layout(",", 0, look, look.stop, None, Parts(0, ()))
    if like is not None and _continues(head, like):
        return dataclasses.replace(like, look=look, start=head.start + len(like.header))
    delimiter, sample = _delimiter(head)
    first = sample[0]
    _require_dense(head, first)
    columns, least = len(first), needed(roles)
    if columns < len(least):
        raise UserError(
            f"{head.place(0)}: found {columns} of at least {len(least)} columns ({', '.join(least)}) in "
            f"{cells.shown(delimiter.join(first))}; separate them by comma, semicolon, tab, | or space"
        )
    start, names = look.start, None
    if header:
        quotes = head.data.count(b'"', 0, 1)
        start = lines.row_start(file, head.start + 1, quotes=quotes, stop=look.stop)
        names = _names(head, start - head.start, sample, delimiter)
    elif _mostly_text(first) and not (len(sample) > 1 and _mostly_text(sample[1])):
        raise UserError(
            f"{head.place(0)}: this looks like a header ({cells.shown(delimiter.join(first))}); remove it, or "
            "say so with the content type text/csv;header=true, which takes the feature names from it"
        )
    parts = assign(roles, columns, names, file.name)
    if names is not None:
        _require_names(head, names, parts)
    behind = head.data[: start - head.start] if header else b""
    row = head.data.find(b"\n", len(behind)) + 1 or len(head.data)
    return Layout(delimiter, columns, look, start, names, parts, behind, row - len(behind))


def _continues(head: lines.Block, like: Layout) -> bool:
    """Whether a file that begins with `head` has the header of `like`, and a first row of as many plain numbers."""
    if not like.columns or not head.data.startswith(like.header):
        return False
    start = len(like.header)
    stop = head.data.find(b"\n", start)
    row = head.data[start : stop if stop >= 0 else len(head.data)].rstrip(b"\r")
    delimiter = like.delimiter.encode()
    return row.count(delimiter) + 1 == like.columns and not row.translate(None, _DIGITS + delimiter)


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


def _names(head: lines.Block, length: int, sample: list[list[str]], delimiter: str) -> tuple[str, ...]:
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
    return names


def _require_names(head: lines.Block, names: tuple[str, ...], parts: Parts) -> None:
    """Refuse features without a name of their own."""
    place, features = head.place(0), [names[column] for column in parts.features]
    name, times = collections.Counter(features).most_common(1)[0]
    if times > 1:
        raise UserError(
            f"{place}: the name {cells.shown(name)} stands {times} times in the header; make names unique"
        )
    if "" in features:
        column = parts.features[features.index("")]
        raise UserError(f"{place}, column {1 + column}: this column has no name; give it one")
    if not any(map(cells.is_text, features)):
        logger.warning("%s: the header consists of numbers alone; it is taken as names, not as a row", place)
