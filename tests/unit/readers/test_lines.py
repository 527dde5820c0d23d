"""Bytes of text files: where rows start, and blocks of whole rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from treering.errors import UserError
from treering.readers import lines
from treering.readers.batch import Span

if TYPE_CHECKING:
    import numpy as np
    from unit.readers.conftest import Write


def _text(rng: np.random.Generator, length: int) -> bytes:
    """Random bytes, dense in what matters."""
    return (
        rng.choice([b"\n", b"\r\n", b'"', b"1", b","], size=length).astype("S2").tobytes().replace(b"\0", b"")
    )


def _row_starts(data: bytes, *, quoted: bool) -> list[int]:
    """Byte by byte: 0, and every place behind a newline outside quotes."""
    starts, inside = [0], False
    for offset, byte in enumerate(data):
        inside ^= quoted and byte == ord('"')
        if byte == ord("\n") and not inside:
            starts.append(offset + 1)
    return starts


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_the_next_row_starts_where_a_walk_over_all_bytes_finds_it(
    rng: np.random.Generator, write: Write, monkeypatch: pytest.MonkeyPatch, *, quoted: bool, chunk: int
) -> None:
    """For every target, whatever the size of the pieces that are read."""
    monkeypatch.setattr(lines, "_CHUNK", chunk)
    data = _text(rng, 120)
    file = write(data)
    starts = _row_starts(data, quoted=quoted)
    for target in range(len(data) + 1):
        quotes = data.count(b'"', 0, target) if quoted else None
        expected = min((start for start in starts if start >= target), default=len(data))
        assert lines.row_start(file, target, quotes=quotes) == expected


@pytest.mark.parametrize("quoted", [False, True])
def test_blocks_tile_a_span_and_end_with_rows(
    rng: np.random.Generator, write: Write, *, quoted: bool
) -> None:
    """Put together the blocks are the span, and each begins where a row does."""
    data = _text(rng, 300)
    file = write(data)
    starts = _row_starts(data, quoted=quoted)
    first, last = sorted(rng.choice([*starts, len(data)], size=2).tolist())
    for size in (1, 10, 100, 1000):
        blocks = list(lines.blocks(Span(file, first, last), size, quoted=quoted))
        assert b"".join(block.data for block in blocks) == data[first:last]
        assert {block.start for block in blocks} <= set(starts)
        assert all(block.data == data[block.start :][: len(block.data)] for block in blocks)


def test_blocks_are_about_as_large_as_asked(write: Write) -> None:
    """Rows shorter than a block do not let it grow."""
    file = write(b"12345\n" * 1000)
    sizes = [len(block.data) for block in lines.blocks(Span(file, 0, file.size), 100, quoted=True)]
    assert max(sizes) <= 106
    assert min(sizes[:-1]) >= 90


def test_a_row_without_end_is_given_up(write: Write) -> None:
    """The search stops before memory is full, and names the line on which the row began."""
    file = write(b'1,2\n1,"' + b"\n" * 100)
    with pytest.raises(UserError, match=r"^train, line 2: this row has no end within 20 bytes"):
        list(lines.blocks(Span(file, 0, file.size), 8, quoted=True, longest=20))


def test_counting_and_line_numbers(rng: np.random.Generator, write: Write) -> None:
    """Ranges are half open, and the first line is line 1."""
    data = _text(rng, 100)
    file = write(data)
    start, stop = sorted(rng.integers(0, len(data), size=2).tolist())
    assert lines.count(file, start, stop, b'"') == data[start:stop].count(b'"')
    assert lines.line_number(file, stop) == len(data[:stop].split(b"\n"))


def test_the_head_skips_what_is_no_text(write: Write) -> None:
    """A byte order mark and blank lines come before the head, a row's own blanks belong to it."""
    head = lines.look(write("\ufeff\r\n \t\n  1,2\n3"), quoted=True).head
    assert head is not None
    assert (head.start, head.data) == (8, b"  1,2\n3")


def test_a_file_that_shrinks_while_it_is_read_is_named(write: Write) -> None:
    """Rows that were there when the file was listed are not dropped in silence."""
    file = write(b"1,2\n" * 100_000)
    blocks = lines.blocks(Span(file, 0, file.size), 64, quoted=False)
    next(blocks)
    file.path.write_bytes(b"")
    with pytest.raises(
        UserError, match=r"^train changed while the job was reading it, from 400,000 to 0 bytes"
    ):
        list(blocks)
