"""Files that cannot be read, in every format: the file is named, and who has to act."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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


def test_a_failing_disk_is_not_the_users_mistake() -> None:
    """Input/output errors are the platform's; this file of Linux gives one at its first byte."""
    file = File(Path("/proc/self/mem"), "mem", 0, 0)
    with (
        pytest.raises(PlatformError, match=r"^mem: reading failed \(Input/output error\)"),
        opened(file) as stream,
    ):
        stream.read(1)
