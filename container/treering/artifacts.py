"""What a job leaves behind, each file whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
from typing import TYPE_CHECKING

from treering.errors import PlatformError

if TYPE_CHECKING:
    from pathlib import Path

    from treering.errors import Failure
    from treering.paths import Paths

MODEL_NAME = "xgboost-model"
PROBE = bytes(1 << 16)  # an empty file would fit on a full disk

_ADVICE = {
    errno.ENOSPC: "; give the job a larger volume",
    errno.EDQUOT: "; give the job a larger volume",
    errno.EROFS: "; mount the folder writable",
    errno.EACCES: f"; let uid {os.getuid()} write to the folder",
}

log = logging.getLogger(__name__)


def write(path: Path, content: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old one, the new one, or none: never a part.

    The bytes go to a temporary name beside it, to the disk, and only then to their name. Raises
    PlatformError when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "")
        raise PlatformError(f"cannot write {path}: {error.strerror or error}{advice}") from error


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot; the file itself is whole
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(paths: Paths) -> None:
    """Find out before any work whether results can be written; raises PlatformError naming the folder."""
    for folder in (paths.model, paths.output_data):
        probe = folder / f".treering-{secrets.token_hex(4)}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(PROBE)
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            advice = "give the job a larger volume" if is_full else "mount it writable"
            raise PlatformError(
                f"cannot write to {folder} as uid {os.getuid()} ({error.strerror}); {advice}"
            ) from error


def write_failure(paths: Paths, failure: Failure) -> None:
    """Leave the failure where SageMaker looks for its reason; a disk that refuses it is only logged."""
    try:
        write(paths.failure, failure.text().encode(errors="backslashreplace"))
    except PlatformError as error:
        log.warning("the failure file could not be written: %s", error)
