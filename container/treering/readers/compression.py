"""Text in files that may be compressed: gzip or Zstandard, told by a file's first bytes, not by its name.

A compressed file is one stream: nobody can begin to read in its middle, so it is never cut for several
ranks. Offsets always count bytes of the text itself.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from treering.errors import UserError
from treering.readers.source import opened

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    from treering.readers.batch import File

ENDLESS: Final = 2**62
"""Where a text ends whose length is not known before all of it is read."""

_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
_KINDS = (
    ("gzip", re.compile(rb"\x1f\x8b")),
    ("Zstandard", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")),
)
_FOREIGN = (
    ("a Parquet file; set the channel's content type to application/x-parquet", re.compile(rb"PAR1\x15")),
    ("a zip archive; unpack it, or use gzip or Zstandard", re.compile(rb"PK\x03\x04")),
    ("compressed with bzip2; use gzip or Zstandard", re.compile(rb"BZh[1-9]1AY&SY")),
    ("compressed with xz; use gzip or Zstandard", re.compile(rb"\xfd7zXZ\0")),
    ("compressed with LZ4; use gzip or Zstandard", re.compile(rb"\x04\x22\x4d\x18")),
)
_LONGEST_MAGIC = 16  # bytes
_SKIPPED = 1 << 20  # bytes read at once on the way to a place in a compressed text


def has_suffix(name: str) -> bool:
    """Whether a file's name says that it is compressed; its bytes may say otherwise."""
    return name.lower().endswith(_SUFFIXES)


def without_suffix(name: str) -> str:
    """A file's name as it would be if it were not compressed."""
    return str(PurePosixPath(name).with_suffix("")) if has_suffix(name) else name


def never_cut(file: File, targets: list[int]) -> list[int]:
    """The places, 0 or the end, that leave a file in one piece, to whoever has its middle."""
    return [0 if 2 * target < file.size else file.size for target in targets]


class Text:
    """A stream of a file's text, decompressed on the way.

    Parameters
    ----------
    raw
        The file, at its start.
    kind
        How it is compressed; None if it is not.
    """

    def __init__(self, raw: io.BufferedReader, kind: str | None) -> None:
        self._raw = raw
        self.compressed: bool = kind is not None
        self._stream: Any = raw
        if kind is not None:
            self._stream = (
                gzip.GzipFile(fileobj=raw) if kind == "gzip" else pa.CompressedInputStream(raw, "zstd")
            )

    def seek(self, offset: int) -> None:
        """Go to a place in the text from its start; a compressed one has to be read up to there."""
        if not self.compressed:
            self._raw.seek(offset)
            return
        while offset and (skipped := len(self.read(min(offset, _SKIPPED)))):
            offset -= skipped

    @property
    def consumed(self) -> int:
        """How many of the file's own bytes went into what was read, or were fetched with it."""
        return self._raw.tell()

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        data: bytes = self._stream.read(size)
        return data


@contextlib.contextmanager
def opened_text(file: File) -> Iterator[Text]:
    """Open `file` for reading its text.

    Raises
    ------
    UserError
        The file vanished or changed, is compressed in a way that cannot be read, or its archive is
        damaged or cut short; this may show only while it is read.
    PlatformError
        The disk or the mount failed.
    """
    with opened(file) as raw:
        magic = raw.peek(_LONGEST_MAGIC)[:_LONGEST_MAGIC]
        for what, pattern in _FOREIGN:
            if pattern.match(magic):
                raise UserError(f"{file.name} is {what}")
        kind = next((kind for kind, pattern in _KINDS if pattern.match(magic)), None)
        try:
            yield Text(raw, kind)
        except (EOFError, zlib.error, OSError) as error:
            if kind is None or getattr(error, "errno", None):
                raise
            raise UserError(
                f"{file.name} is no valid {kind} archive, or is damaged or cut short ({_said(error)}); "
                "compress and upload it again"
            ) from error


def _said(error: Exception) -> str:
    """The library's word, without what only its programmers understand."""
    return str(error).partition("\n")[0].rstrip(".")
