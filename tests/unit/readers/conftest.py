"""What the readers' tests share: files made of bytes, and reading a file in parts, as ranks do."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.sparse import csr_array

from treering.readers.batch import Batch, File, Reader, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

type Write = Callable[..., File]
type ReadAll = Callable[..., Rows]


@dataclasses.dataclass(frozen=True)
class Rows:
    """All batches of a file in one; missing features are NaN whatever the format."""

    features: NDArray[np.float32]
    label: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    group: NDArray[np.int64] | None

    @property
    def rows(self) -> int:
        """How many."""
        return self.label.size


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers drawn anew in each run; the printed seed repeats them."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")  # pytest shows it when the test fails
    return np.random.default_rng(seed)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Make a file of bytes (or of text) and describe it as the channel plan does."""

    def make(data: bytes | str, name: str = "train") -> File:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return File(path, name, 0, path.stat().st_size)

    return make


@pytest.fixture
def read_all() -> ReadAll:
    """Read a file cut near the given targets, as ranks do, and put the batches together."""

    def read(reader: Reader, file: File, targets: Sequence[int] = ()) -> Rows:
        ends = sorted(targets)
        surveys = [reader.survey(file, start, stop) for start, stop in zip([0, *ends], ends, strict=False)]
        places = reader.boundaries(file, ends, surveys)
        edges = [0, *places, reader.extent(file)]
        assert edges == sorted(edges), "spans have to tile the file"
        batches = [
            batch
            for start, stop in itertools.pairwise(edges)
            for batch in reader.read(Span(file, start, stop))
        ]
        return _stitch(batches)

    return read


def _stitch(batches: list[Batch]) -> Rows:
    assert all(batch.rows for batch in batches), "no batch is empty"
    return Rows(
        _rows([batch.features for batch in batches]),
        np.concatenate([np.zeros(0, np.float32), *(batch.label for batch in batches)]),
        _column([batch.weight for batch in batches], [batch.rows for batch in batches]),
        _column([batch.group for batch in batches], [batch.rows for batch in batches]),
    )


def _rows(parts: list[NDArray[np.float32] | csr_array]) -> NDArray[np.float32]:
    """Dense rows of one width; what a CSR array lacks is NaN."""
    width = max((part.shape[1] for part in parts), default=0)
    rows = np.full((sum(part.shape[0] for part in parts), width), np.nan, np.float32)
    start = 0
    for part in parts:
        stop = start + part.shape[0]
        if isinstance(part, csr_array):
            entries = part.tocoo()
            rows[start + entries.row, entries.col] = entries.data
        else:
            assert part.flags.f_contiguous
            assert part.dtype == np.float32
            rows[start:stop, : part.shape[1]] = part
        start = stop
    return rows


def _column[T: np.generic](parts: list[NDArray[T] | None], rows: list[int]) -> NDArray[T] | None:
    """One column of all batches; a batch without it counts as ones where others have it."""
    given = [part for part in parts if part is not None]
    if not given:
        return None
    return np.concatenate(
        [
            np.ones(count, given[0].dtype) if part is None else part
            for part, count in zip(parts, rows, strict=True)
        ]
    )
