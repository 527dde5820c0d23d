"""A folder for what does not fit into memory: of this process alone, and gone when it ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME: Final = re.compile(r"treering-(.+)-(\d+)-[^-]+")


@contextlib.contextmanager
def opened(parent: str | None) -> Iterator[Path]:
    """A new folder in `parent`, by default in the system's folder for temporary files.

    A process that is killed cannot remove its own, so those of processes that are gone are removed here.

    Raises
    ------
    UserError
        When nothing can be written there.
    """
    place = Path(parent or tempfile.gettempdir())
    try:
        place.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        folder = tempfile.TemporaryDirectory(
            prefix=f"treering-{socket.gethostname()}-{os.getpid()}-", dir=place
        )
    except OSError as error:
        raise UserError(
            f"{place} takes no files ({os.strerror(error.errno or 0)}); name another folder for what memory has no room for "
            "(hyperparameter scratch_folder)"
        ) from error
    with folder as name:
        yield Path(name)


def _sweep(place: Path) -> None:
    """Only of this host: containers may share the folder, and number their processes alike."""
    for left in place.iterdir():
        owner = _NAME.fullmatch(left.name)
        if owner and owner[1] == socket.gethostname() and not psutil.pid_exists(int(owner[2])):
            shutil.rmtree(left, ignore_errors=True)
