"""`treering.storage` and `treering.features`: values come back as they were put, from memory and from disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

from treering.errors import PlatformError
from treering.features import Dense, Features, store
from treering.scratch import Scratch
from treering.storage import Storage

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FULL = Path("/dev/full")


@pytest.mark.parametrize("memory", [None, 10_000, 0])
def test_arrays_come_back(tmp_path: Path, random: np.random.Generator, memory: int | None) -> None:
    """Whole or in part, also after a change, wherever they lie; what is beyond the limit lies on disk."""
    with Scratch(str(tmp_path)) as scratch, contextlib.closing(Storage(memory, scratch)) as storage:
        arrays = [
            random.standard_normal(size).astype(kind) for size in (0, 1, 700, 3000) for kind in ("f4", "f8")
        ]
        stored = [storage.put(array) for array in arrays]
        total = sum(array.nbytes for array in arrays)
        assert storage.kept + storage.spooled == total
        assert storage.kept <= (total if memory is None else memory)
        assert (storage.spooled > 0) == (memory is not None)
        stored[2].write(arrays[2] + 1)
        arrays[2] = arrays[2] + 1
        for array, found in zip(arrays, stored, strict=True):
            np.testing.assert_array_equal(found.read(), array)
            np.testing.assert_array_equal(found.read(1, 5), array[1:5])


@pytest.mark.parametrize("is_sparse", [False, True])
def test_rows_move_to_disk(tmp_path: Path, random: np.random.Generator, is_sparse: bool) -> None:
    """All of them, and nothing but where they lie is another; then they can be let go."""
    values = random.standard_normal((300, 5)).astype(np.float32)
    values[random.random(values.shape) < 0.3] = np.nan
    rows = sparse.csr_array(np.nan_to_num(values)) if is_sparse else values
    with Scratch(str(tmp_path)) as scratch, contextlib.closing(Storage(None, scratch)) as storage:
        chunks = [store(rows[start : start + 100], storage) for start in (0, 100, 200)]
        features = Features(chunks, 5, is_sparse=is_sparse, storage=storage)
        assert features.count == np.count_nonzero(~np.isnan(values))
        before, size = _dense(features), features.nbytes
        features.move_out()
        assert (storage.kept, storage.spooled) == (0, size)
        np.testing.assert_array_equal(_dense(features), before)
        features.release()
        assert features.shape == (0, 5)


class _Asked:
    """An array that counts how often it is asked for its size."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self._values = values
        self.times = 0

    @property
    def nbytes(self) -> int:
        self.times += 1
        return self._values.nbytes

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        return self._values[start:stop]

    def write(self, values: NDArray[np.float32]) -> None:
        self._values[:] = values


def test_thousands_of_chunks_become_a_few_pieces(random: np.random.Generator) -> None:
    """Each is looked at once, however many go into a piece; no piece is larger than it may be."""
    rows = random.integers(1, 4, 5000)
    asked = [_Asked(np.full(2 * count, number, np.float32)) for number, count in enumerate(rows.tolist())]
    chunks = [Dense(values, count, 0) for values, count in zip(asked, rows.tolist(), strict=True)]
    features = Features(chunks, 2, is_sparse=False, storage=Storage())
    pieces = [np.concatenate([np.asarray(chunk) for chunk in piece]) for piece in features.pieces(8 * 1000)]
    assert max(len(piece) for piece in pieces) <= 1000
    assert len(pieces) <= -(-int(rows.sum()) // 997)
    np.testing.assert_array_equal(np.concatenate(pieces)[:, 0], np.repeat(np.arange(5000), rows))
    assert max(each.times for each in asked) == 1


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """In one sentence that says what to do, from the kernel's own error."""
    with Scratch(str(tmp_path)) as scratch, contextlib.closing(Storage(0, scratch)) as storage:
        stored = storage.put(np.ones(10, np.float32))
        (descriptor,) = _descriptors_below(tmp_path)
        with _FULL.open("r+b", buffering=0) as full:
            os.dup2(full.fileno(), descriptor)
        with pytest.raises(PlatformError, match=r"is full: the columns that memory has no room for.+larger"):
            stored.write(np.ones(10, np.float32))


def _dense(features: Features) -> NDArray[np.float32]:
    found = features.stacked()
    return found if isinstance(found, np.ndarray) else found.toarray()


def _descriptors_below(folder: Path) -> list[int]:
    return [
        int(link.name) for link in Path("/proc/self/fd").iterdir() if _target(link).startswith(str(folder))
    ]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # the one that listed them
        return ""
