"""Bytes of a text: where rows start, and blocks that end where a row ends.

A row ends at a newline. In CSV a newline between quotes ends no row, and whether a place lies between
quotes is known from the number of quote characters before it. All ranges are half-open byte ranges.
Whole files are never held in memory.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from treering.errors import UserError
from treering.readers.batch import Span
from treering.readers.compression import ENDLESS, opened_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from treering.readers.batch import File
    from treering.readers.compression import Text

BOM = b"\xef\xbb\xbf"
"""UTF-8's byte order mark: no part of the text."""

BLOCK = 4 << 20
"""Bytes of text that become one batch, on one core: few enough to stay in its cache."""

LARGE_BLOCK = 16 << 20
"""Bytes of text in the batches of files whose rows are very long; malloc hands out fresh pages from 32 MiB on."""

HEAD = 64 << 10
"""Bytes of a first look: the first hundreds of rows of most files."""

LONGEST_ROW = 128 << 20
"""Bytes after which a row without an end is a mistake, usually a quote that is never closed."""

_CHUNK = 1 << 20  # bytes read at once where nothing is kept
_TAR = slice(257, 262)  # where a tar archive says that it is one
_BLANK_LINES = re.compile(rb"([ \t]*\r?\n)*")


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """Whole rows of one file.

    Parameters
    ----------
    file
        Where they stand.
    start
        Offset of the first byte in the file.
    data
        The bytes.
    source_bytes
        What was read of the file for them, as it lies on disk.
    """

    file: File
    start: int
    data: bytes
    source_bytes: int = 0

    def place(self, line: int) -> str:
        """For messages: the file and the line, of which `line` (from 0) is counted within the block."""
        return f"{self.file.name}, line {line_number(self.file, self.start) + line}"


def chunks(file: File, start: int, stop: int, size: int) -> Iterator[bytes]:
    """Yield the bytes ``[start, stop)`` of the text in pieces of `size`; `stop` may be ENDLESS."""
    with opened_text(file) as text:
        text.seek(start)
        yield from _chunks(text, Span(file, start, stop), size)


def _chunks(text: Text, span: Span, size: int) -> Iterator[bytes]:
    """The bytes of `span` from where `text` is."""
    start = span.start
    while chunk := _next(text, span, start, size):
        start += len(chunk)
        yield chunk


def _next(text: Text, span: Span, start: int, size: int) -> bytes:
    """At most `size` bytes of `span`, of which those from `start` on are left; none at its end."""
    if start >= span.stop:
        return b""
    chunk = text.read(min(size, span.stop - start))
    if not chunk and span.stop != ENDLESS:
        raise UserError(f"{span.file.name} became shorter while the job was reading it: start the job again")
    return chunk


def count(file: File, start: int, stop: int, what: bytes) -> int:
    """How often the byte `what` occurs in ``[start, stop)``."""
    pieces = chunks(file, start, stop, _CHUNK)
    return sum(piece.count(what) for piece in pieces if what in piece)  # which is told ten times as fast


def line_number(file: File, offset: int) -> int:
    """Number of the line, from 1, that the byte at `offset` stands on; reads everything before it."""
    return 1 + count(file, 0, offset, b"\n")


def row_start(file: File, target: int, *, quotes: int | None, stop: int | None = None) -> int:
    """First place at or after `target` where a row starts; the end of the text if none follows.

    Parameters
    ----------
    file
        The file.
    target
        Any offset.
    quotes
        Quote characters in ``[0, target)``; None for a format where quotes mean nothing.
    stop
        Where the text ends; the size of `file` if None.

    Returns
    -------
    int
        Offset behind a newline outside quotes, 0, or `stop`.
    """
    stop = file.size if stop is None else stop
    if target <= 0:
        return 0
    offset = target - 1  # a newline just before the target makes the target itself a row start
    inside = bool(quotes and quotes % 2)
    for chunk in chunks(file, offset, stop, _CHUNK):
        if quotes is not None and offset == target - 1:
            inside ^= chunk.startswith(b'"')  # back across the byte that `quotes` already counts
        end = 0
        while (newline := chunk.find(b"\n", end)) >= 0:
            inside ^= quotes is not None and chunk.count(b'"', end, newline) % 2 == 1
            end = newline + 1
            if not inside:
                return offset + end
        inside ^= quotes is not None and chunk.count(b'"', end) % 2 == 1
        offset += len(chunk)
    return stop


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What a first look at a file shows.

    Parameters
    ----------
    start
        Offset of the first byte that is no byte order mark.
    stop
        Where the text ends: the file's size, or ENDLESS if it is compressed.
    head
        The first whole rows, from the first line that is not blank; None if all lines are.
    """

    start: int
    stop: int
    head: Block | None

    @property
    def compressed(self) -> bool:
        """Whether the file is an archive, which cannot be read from its middle."""
        return self.stop == ENDLESS

    def forget_head(self) -> Look:
        """The same without the first rows: who knows many files cannot keep them all."""
        return Look(self.start, self.stop, None)

    def within(self, span: Span) -> Span:
        """The text that belongs to a span of the file; of a compressed one, which is never cut, all of it."""
        if span.start == span.stop:
            return span
        return Span(span.file, max(span.start, self.start), self.stop if self.compressed else span.stop)


def look(file: File, *, quoted: bool) -> Look:
    """Look at the beginning of `file`.

    Raises
    ------
    UserError
        The file is not text, or it ends its lines in a way of the past.
    """
    start = 0
    with opened_text(file) as text:
        whole = Span(file, 0, ENDLESS if text.compressed else file.size)
        for block in blocks_of(whole, text, HEAD, quoted=quoted, longest=LONGEST_ROW):
            mark = len(BOM) if block.start == 0 and block.data.startswith(BOM) else 0
            start += mark
            blank = _BLANK_LINES.match(block.data, mark).end()  # type: ignore[union-attr]  # it matches nothing as well
            data = block.data[blank:]
            _require_lines(file, data)
            if data.strip():
                return Look(start, whole.stop, Block(file, block.start + blank, data))
    return Look(start, whole.stop, None)


def _require_lines(file: File, data: bytes) -> None:
    if data[_TAR].startswith(b"ustar"):
        raise UserError(f"{file.name} is a tar archive; unpack it")
    if b"\0" in data:
        raise UserError(
            f"{file.name} is not a text file: check its content type, and that it is not compressed "
            "(other than by gzip or Zstandard) nor UTF-16"
        )
    if b"\n" not in data and b"\r" in data.rstrip():
        raise UserError(
            f"{file.name} ends its lines with a carriage return alone; save it with Unix or Windows line ends"
        )


def require_row_start(span: Span) -> None:
    """Assert that `span` begins right after a newline, or at 0: the promise that no row is cut or lost."""
    if 0 < span.start < span.stop and next(chunks(span.file, span.start - 1, span.start, 1)) != b"\n":
        raise RuntimeError(
            f"{span.file.name}: the span from byte {span.start} does not start after a line end"
        )


def blocks(span: Span, size: int, *, quoted: bool, longest: int = LONGEST_ROW) -> Iterator[Block]:
    """Cut `span` into blocks of about `size` bytes, each ending where a row ends.

    Parameters
    ----------
    span
        Byte range that begins where a row starts and ends where one ends.
    size
        Wanted bytes per block; a row that is longer makes its block longer.
    quoted
        Whether a newline between quotes belongs to its row.
    longest
        Bytes after which to give up looking for a row's end.

    Raises
    ------
    UserError
        No row ends within `longest` bytes.
    """
    with opened_text(span.file) as text:
        yield from blocks_of(span, text, size, quoted=quoted, longest=longest)


def blocks_of(
    span: Span, text: Text, size: int, *, quoted: bool, longest: int = LONGEST_ROW
) -> Iterator[Block]:
    """`blocks` of a text that is open."""
    start, rest = span.start, b""
    text.seek(start)
    told = 0 if text.compressed else start
    at_once = size
    while part := _next(text, span, start + len(rest), at_once):
        data = rest + part
        end = len(data) if start + len(data) == span.stop else _rows_end(data, quoted=quoted)
        if end:
            yield Block(span.file, start, data[:end], text.consumed - told)
            told = text.consumed
        elif len(data) > longest:
            raise UserError(
                f"{Block(span.file, start, b'').place(0)}: this row has no end within {longest:,} bytes; look "
                "for a quote that is never closed, or for line ends other than newlines"
            )
        start, rest = start + end, data[end:]
        # Twice as much each time, so that a long row is not looked through again and again.
        at_once = max(size, min(len(rest), longest + 1 - len(rest)))
    if rest:  # the last row of a text whose length was not known
        yield Block(span.file, start, rest, text.consumed - told)


def _rows_end(data: bytes, *, quoted: bool) -> int:
    """Offset behind the last newline outside quotes, or 0; `data` begins outside quotes."""
    newline = data.rfind(b"\n")
    if not quoted or b'"' not in data:
        return newline + 1
    while newline >= 0 and data.count(b'"', 0, newline) % 2:
        newline = data.rfind(b"\n", 0, data.rfind(b'"', 0, newline))
    return newline + 1
