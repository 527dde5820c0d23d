"""Opening what somebody else put there: files that vanish, change or may not be read."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from treering.errors import PlatformError, UserError

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    from treering.readers.batch import File

_WRONG_FILE = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP}


@contextlib.contextmanager
def reading(file: File) -> Iterator[None]:
    """Say which file an operating system's error is about.

    Raises
    ------
    UserError
        The file vanished, may not be read or is no file.
    PlatformError
        The disk or the mount failed.
    """
    try:
        yield
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in _WRONG_FILE:
            raise UserError(
                f"{file.name} cannot be read ({said}): check that it is a regular file, that the job may "
                "read it, and that nothing moves it while the job runs"
            ) from error
        raise PlatformError(f"{file.name}: reading failed ({said})") from error


@contextlib.contextmanager
def opened(file: File) -> Iterator[io.BufferedReader]:
    """Open `file` for reading bytes; errors as in `reading` and `require_unchanged`, before and after the reading."""
    with reading(file), file.path.open("rb") as stream:
        require_unchanged(file, os.fstat(stream.fileno()))
        try:
            yield stream
        except Exception:
            require_unchanged(file, os.fstat(stream.fileno()))  # half of a new file seldom makes sense
            raise
        require_unchanged(file, os.fstat(stream.fileno()))


def require_unchanged(file: File, status: os.stat_result) -> None:
    """Raise UserError where a file is not the one that was listed.

    The number of its inode is not compared: mounts of object stores give a file another one now and then.
    """
    if status.st_size != file.size:
        how = f"from {file.size:,} to {status.st_size:,} bytes"
    elif file.modified not in {None, status.st_mtime_ns}:
        how = "written again with as many bytes"
    else:
        return
    raise UserError(
        f"{file.name} changed while the job was reading it, {how}: start the job again once the data is complete"
    )
