"""A folder for what does not fit into memory: of this process alone, made when it is needed, gone when it ends."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import psutil

from treering.errors import UserError

if TYPE_CHECKING:
    from types import TracebackType

_NAME: Final = re.compile(r"treering-(.+)-(\d+)-[^-]+")


class Scratch:
    """A context that removes the folder.

    Parameters
    ----------
    parent
        Where it goes; by default the system's folder for temporary files.
    """

    def __init__(self, parent: str | None = None) -> None:
        self.parent = Path(parent or tempfile.gettempdir())
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def folder(self) -> Path:
        """The folder.

        A process that is killed cannot remove its own, so those of processes that are gone are removed here.

        Raises
        ------
        UserError
            When nothing can be written there.
        """
        if self._folder is None:
            try:
                self.parent.mkdir(parents=True, exist_ok=True)
                self._sweep()
                prefix = f"treering-{socket.gethostname()}-{os.getpid()}-"
                self._folder = Path(tempfile.mkdtemp(prefix=prefix, dir=self.parent))
            except OSError as error:
                raise UserError(
                    f"{self.parent} takes no files ({os.strerror(error.errno or 0)}); name another folder for what "
                    "memory has no room for (hyperparameter scratch_folder)"
                ) from error
        return self._folder

    @property
    def free(self) -> int:
        """Bytes that are free there."""
        existing = next(
            folder for folder in (self.parent, *self.parent.absolute().parents) if folder.exists()
        )
        return shutil.disk_usage(existing).free

    def _sweep(self) -> None:
        """Only of this host: containers may share the folder, and number their processes alike."""
        for left in self.parent.iterdir():
            owner = _NAME.fullmatch(left.name)
            if owner and owner[1] == socket.gethostname() and not psutil.pid_exists(int(owner[2])):
                shutil.rmtree(left, ignore_errors=True)
