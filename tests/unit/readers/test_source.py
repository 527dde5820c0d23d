"""Files that cannot be read, in every format: the file is named, and who has to act."""

from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from treering.errors import PlatformError, UserError
from treering.readers.batch import File, Reader, Span
from treering.readers.csv import CsvReader
from treering.readers.libsvm import LibsvmReader
from treering.readers.parquet import ParquetReader
from treering.readers.source import opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from unit.readers.conftest import Write

_ROWS = 400
_OTHER = "changed while the job was reading it, written again with as many bytes: start the job again once"

READERS = pytest.mark.parametrize(
    "reader", [CsvReader(), LibsvmReader(), ParquetReader()], ids=lambda reader: type(reader).__name__
)


@READERS
def test_a_vanished_file_is_named(reader: Reader, write: Write) -> None:
    """Whatever the format, the message has the file's name and the reason."""
    file = write("1 2:3\n")
    file.path.unlink()
    with pytest.raises(UserError, match=r"^train cannot be read \(No such file or directory\)"):
        list(reader.read(Span(file, 0, file.size)))


@READERS
def test_a_folder_is_no_file(reader: Reader, tmp_path: Path) -> None:
    """What is not a regular file is refused by name."""
    with pytest.raises(UserError, match=r"^folder cannot be read \(Is a directory\)"):
        list(reader.read(Span(File(tmp_path, "folder", 0, 10), 0, 10)))


@READERS
def test_a_file_without_permission_is_named(
    reader: Reader, write: Write, refused: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """A file that the job's user may not read is the user's to change."""
    file = write("1 2:3\n")
    with (
        refused(file.path),
        pytest.raises(UserError, match=r"^train cannot be read \(Permission denied\)"),
    ):
        list(reader.read(Span(file, 0, file.size)))


@READERS
def test_a_changed_file_is_named(reader: Reader, write: Write) -> None:
    """A file whose size is not the listed one is not read as if nothing had happened."""
    file = dataclasses.replace(write("1 2:3\n"), size=7)
    with pytest.raises(UserError, match=r"^train changed while the job was reading it, from 7 to 6 bytes"):
        list(reader.read(Span(file, 0, file.size)))


def _sparse() -> bytes:
    return b"1 0:2 1:3\n" * _ROWS


def _csv() -> bytes:
    return b"1,2,3\n" * _ROWS


def _parquet(columns: int) -> bytes:
    target = io.BytesIO()
    values = np.random.default_rng(0).standard_normal(_ROWS)  # so that the file is about as large as they are
    table = pa.table({str(name): values for name in range(columns)})
    parquet.write_table(table, target, row_group_size=_ROWS // 4)
    return target.getvalue()


LARGE = pytest.mark.parametrize(
    ("reader", "content"),
    [
        (CsvReader(block_size=64), _csv()),
        (LibsvmReader(block_size=64), _sparse()),
        (ParquetReader(), _parquet(2)),
        (ParquetReader(), _parquet(60)),
        (ParquetReader(batch_size=64, whole=64), _parquet(2)),
        (ParquetReader(batch_size=64, whole=64), _parquet(60)),
    ],
    ids=["csv", "libsvm", "small parquet", "parquet", "small file of large row groups", "large row groups"],
)


def _listed(file: File) -> File:
    """As it is found in a channel."""
    return dataclasses.replace(file, modified=file.path.stat().st_mtime_ns)


def _rewrite(file: File) -> None:
    """Put other bytes in the place of a file's, as many as it had; a clock may be too coarse to show it."""
    file.path.write_bytes(bytes(file.size))
    os.utime(file.path, ns=(0, (file.modified or 0) + 1))


def _replace(file: File) -> None:
    """Give the file's name to another one of the same size, as a careful writer does."""
    other = file.path.with_suffix(".new")
    other.write_bytes(file.path.read_bytes())
    os.utime(other, ns=(0, (file.modified or 0) + 1))
    other.replace(file.path)


@pytest.mark.parametrize("change", [_rewrite, _replace])
@LARGE
def test_a_file_that_is_written_again_is_named(
    reader: Reader, content: bytes, change: Callable[[File], None], write: Write
) -> None:
    """Its size may stay: what was found out of the old file says nothing of the new one."""
    file = _listed(write(content))
    extent = reader.extent(file)
    assert sum(batch.rows for batch in reader.read(Span(file, 0, extent))) == _ROWS
    change(file)
    with pytest.raises(UserError, match=f"^train {_OTHER}"):
        list(reader.read(Span(file, 0, extent)))


@LARGE
def test_a_file_that_is_written_while_it_is_open_is_named(
    reader: Reader, content: bytes, write: Write
) -> None:
    """Neither is a part of the new content taken for rows, nor does a message speak of what stands in it."""
    file = _listed(write(content))
    batches = reader.read(Span(file, 0, reader.extent(file)))
    next(batches)
    _rewrite(file)
    with pytest.raises(UserError, match=f"^train {_OTHER}"):
        list(batches)


@LARGE
def test_a_file_that_vanishes_behind_a_first_look_is_named(
    reader: Reader, content: bytes, write: Write
) -> None:
    """What is known of a file by then does not hide that it is gone."""
    file = _listed(write(content))
    extent = reader.extent(file)
    assert list(reader.read(Span(file, 0, extent)))
    file.path.unlink()
    with pytest.raises(UserError, match=r"^train cannot be read \(No such file or directory\)"):
        list(reader.read(Span(file, 0, extent)))


@pytest.mark.parametrize("reader", [CsvReader(), LibsvmReader()])
def test_small_files_read_together_are_looked_at_one_by_one(reader: Reader, write: Write) -> None:
    """Among files that are read at once, the one that changed is named."""
    files = [_listed(write("1 2\n" if isinstance(reader, CsvReader) else "1 0:2\n", name)) for name in "ab"]
    spans = [Span(file, 0, file.size) for file in files]
    found = reader.together(spans)
    assert found is not None
    assert found[1] == [1, 1]
    _rewrite(files[1])
    with pytest.raises(UserError, match=f"^b {_OTHER}"):
        reader.together(spans)


def test_a_file_of_unknown_age_is_known_by_its_size(write: Write) -> None:
    """Mounts without times of their own are no reason to refuse a file."""
    file = write(_csv())
    os.utime(file.path, ns=(0, 1))
    assert file.modified is None
    assert sum(batch.rows for batch in CsvReader().read(Span(file, 0, file.size))) == _ROWS


def test_a_failing_disk_is_not_the_users_mistake() -> None:
    """Input/output errors are the platform's; this file of Linux gives one at its first byte."""
    file = File(Path("/proc/self/mem"), "mem", 0, 0)
    with (
        pytest.raises(PlatformError, match=r"^mem: reading failed \(Input/output error\)"),
        opened(file) as stream,
    ):
        stream.read(1)
