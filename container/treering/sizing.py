"""How large a channel is going to be in memory, from a look at its files before they are read."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final

from treering.readers import compression
from treering.readers.batch import File
from treering.readers.libsvm_rows import LARGEST_INDEX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from treering.readers.batch import Reader
    from treering.readers.compression import Text
    from treering.shard import Shard

_SAMPLE: Final = 1 << 20  # bytes of text
_FETCHED: Final = 4  # times as much of an archive tells better how far it unfolds than its first piece
_UNFOLDED: Final = 64 << 20  # bytes of text that are enough in any case
_INDEX: Final = re.compile(rb"[ \t](\d{1,10}):")  # of LIBSVM


@dataclasses.dataclass(frozen=True, slots=True)
class Extent:
    """Rows of one channel on one rank.

    Parameters
    ----------
    rows, columns
        How many.
    values
        How many are there, the missing ones left out.
    is_sparse
        Whether they are kept as CSR.
    categories, widest
        Of all categorical columns together, and of the one that has most; 0 where they are not known.
    working
        Bytes that each thread takes while rows are read, for the file called `largest`; 0 where that is over.
    """

    rows: int
    columns: int
    values: int
    is_sparse: bool
    working: int = 0
    largest: str = ""
    categories: int = 0
    widest: int = 0

    @property
    def features(self) -> int:
        """Bytes of the values as float32, as they are read."""
        return 8 * self.values + 8 * self.rows if self.is_sparse else 4 * self.rows * self.columns

    @classmethod
    def of(cls, shard: Shard) -> Extent:
        """Of rows that are read."""
        rows, columns = shard.features.shape
        counts = [len(names) for names in shard.categories.values()]
        return cls(
            rows,
            columns,
            shard.features.count,
            shard.features.is_sparse,
            categories=sum(counts),
            widest=max(counts, default=0),
        )


def expect(reader: Reader, folder: Path, listing: Sequence[tuple[str, int]], share: float) -> Extent:
    """What a rank is going to have of a channel.

    Parameters
    ----------
    reader
        The channel's.
    folder, listing
        Where the files lie, and the name and size in bytes of each.
    share
        Part of them that this rank reads, from 0 to 1.

    Returns
    -------
    Extent
        As if all files were like the largest one, and that one like its first rows or, of Parquet, its largest
        row group. Text may well be off by a tenth, and an archive that begins unlike the rest by any factor:
        `Budget.note` sees to that while it is read.

    Raises
    ------
    UserError
        When the file cannot be read.
    """
    total = sum(size for _, size in listing)
    if not total:
        return Extent(0, 0, 0, is_sparse=False)
    name, size = max(listing, key=lambda each: each[1])
    file = File(folder / name, name, 0, size)
    scale = share * total / size
    columns, working = reader.columns(file).count, reader.working_memory(file)
    if reader.unit == "rows":
        rows = round(scale * reader.extent(file))
        return Extent(rows, columns, _values(rows * columns, reader.present(file, b"")), False, working, name)
    with compression.opened_text(file) as text:
        head = text.read(_SAMPLE)
        scale *= _times(text, len(head), size)
    lines = head.count(b"\n") or 1
    rows = round(scale * lines)
    if columns:
        return Extent(
            rows, columns, _values(rows * columns, reader.present(file, head)), False, working, name
        )
    # The reader will name the row of an index that is too large.
    pairs = [index for index in map(int, _INDEX.findall(head)) if index <= LARGEST_INDEX]
    widest = 1 + max(pairs, default=0)  # no look at a part can tell all columns
    return Extent(rows, widest, round(scale * len(pairs)), True, working, name)


def _values(cells: int, present: float) -> int:
    """How many of so many cells hold a value: fewer than all where any is missing."""
    return cells if present == 1 else max(min(round(cells * present), cells - 1), 0)


def _times(text: Text, head: int, size: int) -> float:
    """How many times as long as its first `head` bytes, which were read, a text is whose file has `size` bytes.

    An archive is fetched in pieces of which a part was enough for those bytes; a small one is there as a whole.
    """
    if not text.compressed:
        return size / max(text.consumed, 1)
    enough, read = _FETCHED * text.consumed, head
    while text.consumed < enough and read < _UNFOLDED:
        more = len(text.read(_SAMPLE))
        if not more:
            return read / max(head, 1)
        read += more
    return read / max(head, 1) * size / max(text.consumed, 1)
