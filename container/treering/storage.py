"""Where a rank keeps its values until they are binned: in memory as far as its share goes, then on disk.

Arrays are copied into slabs, large pieces of memory that belong to nobody else: what is let go goes back to
the system at once, and no allocator keeps holes between what is left. On disk they lie in one file that has
no name any more, so whatever ends the process, the space is free again.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import tempfile
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from treering.errors import PlatformError
from treering.scratch import Scratch

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SLAB: Final = 64 << 20  # bytes; memory that is never touched costs nothing
_ALIGNMENT: Final = 64  # bytes
# Bytes handed to the kernel before they have to be on disk: it may not drop them sooner.
_UNWRITTEN: Final = 32 << 20


def fresh(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Room for float32 values in Fortran order that goes back to the system once nobody holds the array.

    The allocator would keep up to 32 MiB for later.
    """
    size = 4 * math.prod(shape)
    return np.frombuffer(_pages(max(size, 1)), np.float32, size // 4).reshape(shape, order="F")


def _pages(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class Stored(Protocol):
    """A one-dimensional array that is kept somewhere."""

    @property
    def nbytes(self) -> int:
        """Its size."""

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """The elements ``[start, stop)``; what lies in memory anyway is not copied. Not to be written to."""

    def write(self, values: NDArray[Any]) -> None:
        """Replace all elements."""


class Storage:
    """Keeps arrays; may be used by several threads.

    Parameters
    ----------
    memory
        Bytes that may stay in memory; all of them where None.
    scratch
        Where the file goes that takes the rest.
    aside
        Bytes of memory besides, which those who bring the arrays may take meanwhile; any number where None.
    """

    def __init__(
        self, memory: int | None = None, scratch: Scratch | None = None, aside: int | None = None
    ) -> None:
        self._memory = memory
        self.aside = aside
        self._scratch = scratch or Scratch()
        self._lock = threading.Lock()
        self._slab = memoryview(b"")
        self._file: _File | None = None
        self.kept = 0
        self.spooled = 0

    def put(self, values: NDArray[Any]) -> Stored:
        """Take a copy of all elements in the order in which they lie in memory.

        Raises
        ------
        PlatformError
            When the disk is full or fails.
        """
        flat = values.reshape(-1, order="A")
        if not flat.size:
            return _Kept(flat)
        with self._lock:
            in_memory = self._memory is None or self.kept + flat.nbytes <= self._memory
            if in_memory:
                place = self._reserve(flat.nbytes)
                self.kept += flat.nbytes
            else:
                self.spooled += flat.nbytes
        if in_memory:
            kept = np.frombuffer(place, flat.dtype)
            kept[:] = flat
            return _Kept(kept)
        return self._spool(flat)

    def move_out(self, stored: Stored) -> Stored:
        """The same values on disk; the memory is free once nobody holds `stored`'s slab any more."""
        if not isinstance(stored, _Kept):
            return stored
        moved = self._spool(stored.read())
        with self._lock:
            self.kept -= stored.nbytes
            self.spooled += stored.nbytes
        return moved

    def give_way(self, size: int) -> None:
        """Keep so many bytes less from now on, since others have taken them."""
        with self._lock:
            if self._memory is not None:
                self._memory = max(self._memory - size, 0)

    def set_aside(self, size: int) -> int:
        """Have at least so many bytes `aside`, or as many as there can be, and keep less; how many there are now."""
        with self._lock:
            if self._memory is None or self.aside is None:
                return size
            more = min(max(size - self.aside, 0), max(self._memory - self.kept, 0))
            self._memory -= more
            self.aside += more
            return self.aside

    def close(self) -> None:
        """Let go of the file; what lies there cannot be read any more."""
        with self._lock:
            if self._file is not None:
                self._file.close()

    def _reserve(self, size: int) -> memoryview:
        """Room for one array."""
        taken = -(-size // _ALIGNMENT) * _ALIGNMENT
        if taken > len(self._slab):
            self._slab = memoryview(_pages(max(taken, _SLAB)))
        place, self._slab = self._slab[:size], self._slab[taken:]
        return place

    def _spool(self, flat: NDArray[Any]) -> Stored:
        with self._lock:
            if self._file is None:
                self._file = _File(self._scratch.folder)
            file = self._file
        return _Spooled(file, file.append(flat), flat.size, flat.dtype)


class _Kept:
    """In memory."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values

    @property
    def nbytes(self) -> int:
        return self._values.nbytes

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        return self._values[start:stop]

    def write(self, values: NDArray[Any]) -> None:
        self._values[:] = values.reshape(-1, order="A")


class _Spooled:
    """On disk."""

    def __init__(self, file: _File, offset: int, size: int, dtype: np.dtype[Any]) -> None:
        self._file = file
        self._offset = offset
        self._size = size
        self._dtype = dtype

    @property
    def nbytes(self) -> int:
        return self._size * self._dtype.itemsize

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        start, stop, _ = slice(start, stop).indices(self._size)
        values = np.empty(max(0, stop - start), self._dtype)
        self._file.read(values, self._offset + start * self._dtype.itemsize)
        return values

    def write(self, values: NDArray[Any]) -> None:
        self._file.write(values.reshape(-1, order="A"), self._offset)


class _File:
    """A file without a name, written at its end by any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._stream = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # lives as long as what lies in it
        except OSError as error:
            raise self._failed(error) from error
        self._lock = threading.Lock()
        self._end = 0
        self._unwritten = 0

    def close(self) -> None:
        self._stream.close()

    def append(self, values: NDArray[Any]) -> int:
        """Write at the end; the offset."""
        with self._lock:
            offset = self._end
            self._end += -(-values.nbytes // _ALIGNMENT) * _ALIGNMENT
        self.write(values, offset)
        return offset

    def write(self, values: NDArray[Any], offset: int) -> None:
        rest = memoryview(np.ascontiguousarray(values)).cast("B") if values.size else memoryview(b"")
        try:
            while rest:
                written = os.pwrite(self._stream.fileno(), rest, offset)
                offset, rest = offset + written, rest[written:]
            self._let_go(values.nbytes)
        except OSError as error:
            raise self._failed(error) from error

    def read(self, values: NDArray[Any], offset: int) -> None:
        """Fill `values` from the bytes at `offset`."""
        rest = memoryview(values).cast("B") if values.size else memoryview(b"")
        while rest:
            try:
                found = os.preadv(self._stream.fileno(), [rest], offset)
            except OSError as error:
                raise self._failed(error) from error
            if not found:
                raise PlatformError(f"the file in {self._folder} that holds the job's columns became shorter")
            offset, rest = offset + found, rest[found:]

    def _let_go(self, size: int) -> None:
        """See to it that the kernel can drop what was written: it counts as this container's memory."""
        with self._lock:
            self._unwritten += size
            is_due = self._unwritten >= _UNWRITTEN
            if is_due:
                self._unwritten = 0
        if is_due:
            os.fdatasync(self._stream.fileno())
            os.posix_fadvise(self._stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _failed(self, error: OSError) -> PlatformError:
        said = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return PlatformError(
                f"{self._folder} is full: the columns that memory has no room for go there; give the job a larger "
                "volume or memory, or name a folder with more room (hyperparameter scratch_folder)"
            )
        return PlatformError(
            f"{self._folder} cannot take the columns that memory has no room for ({said}); name another folder "
            "(hyperparameter scratch_folder)"
        )
