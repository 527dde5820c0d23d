"""Text of several small files as one: parsing a file costs as much as parsing thousands of rows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from treering.readers.source import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from treering.readers.batch import Batch, File


@dataclasses.dataclass(frozen=True, slots=True)
class Joined:
    """Texts one behind the other, and how many lines each has."""

    data: bytes
    counts: list[int]

    def checked(self, batch: Batch) -> tuple[Batch, list[int]] | None:
        """The rows of all files and of each, unless some line was no row, or more than one."""
        return (batch, self.counts) if batch.rows == sum(self.counts) else None


def text(file: File, start: int) -> bytes:
    """All of a file's text from `start` on; raises as `source.opened`."""
    with opened(file) as stream:
        stream.seek(start)
        return stream.read()


def join(texts: Sequence[bytes], plain: bytes) -> Joined | None:
    """Texts as one, if in each of them every line is a row.

    Parameters
    ----------
    texts
        None of them compressed.
    plain
        A byte that no text may hold, since lines would not be rows then.
    """
    ended = [text if text.endswith(b"\n") or not text else text + b"\n" for text in texts]
    data = b"".join(ended)
    if plain in data or any(text.startswith((b"\n", b"\r")) for text in ended):
        return None
    if b"\n\n" in data or b"\n\r" in data or data.count(b"\r") != data.count(b"\r\n"):
        return None
    return Joined(data, [text.count(b"\n") for text in ended])
