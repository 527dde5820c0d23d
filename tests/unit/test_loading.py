"""`treering.loading`: every row is read once and in its place, by however many threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from treering import loading
from treering.errors import UserError
from treering.loading import Loaded
from treering.readers import formats
from treering.readers.batch import File, Span
from treering.readers.csv import CsvReader
from treering.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from treering.readers.batch import Batch

_THREADS = pytest.mark.parametrize("threads", [1, 2, 5])


def _spans(folder: Path, texts: list[str]) -> list[Span]:
    spans = []
    for number, text in enumerate(texts):
        path = folder / f"{number:04}.csv"
        path.write_text(text)
        file = File(path, path.name, number, len(text))
        spans.append(Span(file, 0, len(text)))
    return spans


def _read(spans: list[Span], threads: int) -> tuple[NDArray[np.float32], list[int]]:
    """Labels in the order of the rows, and the rows of each span."""
    found: list[Loaded] = []
    lock = threading.Lock()

    def deliver(loaded: Loaded) -> None:
        with lock:
            found.append(loaded)

    reader = formats.reader_for("text/csv", [span.file.name for span in spans])
    loading.read(reader, spans, threads, deliver)
    found.sort(key=lambda loaded: loaded.place)
    rows = [0] * len(spans)
    for loaded in found:
        assert sum(count for _, count in loaded.rows) == loaded.batch.rows
        for span, count in loaded.rows:
            rows[span] += count
    return np.concatenate([loaded.batch.label for loaded in found] or [np.empty(0, np.float32)]), rows


@_THREADS
def test_rows_come_in_order(tmp_path: Path, random: np.random.Generator, threads: int) -> None:
    """Tiny files, which are read together, empty ones and large ones: each row once, in the order of the files."""
    counts = random.choice([0, 1, 3, 20_000, 90_000], 30, p=[0.2, 0.3, 0.3, 0.1, 0.1]).tolist()
    start = np.cumsum([0, *counts])
    texts = [
        "".join(f"{row},1.5,2.5\n" for row in range(first, first + count))
        for first, count in zip(start.tolist(), counts, strict=False)
    ]
    labels, rows = _read(_spans(tmp_path, texts), threads)
    np.testing.assert_array_equal(labels, np.arange(start[-1]))
    assert rows == counts


@_THREADS
def test_the_first_error_is_told(tmp_path: Path, threads: int) -> None:
    """Of several broken files the one that comes first, and reading ends there."""
    good = "1,2,3\n" * 30_000
    texts = [good, good + "1,x,3\n", good, "1,2\n" + good]
    with pytest.raises(UserError, match=r"0001\.csv, line 30001"):
        _read(_spans(tmp_path, texts), threads)


@_THREADS
def test_no_files_are_no_rows(threads: int) -> None:
    """A rank may have nothing to read."""
    labels, rows = _read([], threads)
    assert (labels.size, rows) == (0, [])


_MIB = 1 << 20


class _Hungry(CsvReader):
    """Takes a MiB for each byte of a file."""

    def working_memory(self, file: File) -> int:
        return file.size * _MIB


def test_as_many_threads_read_as_there_is_memory_for(tmp_path: Path) -> None:
    """What is set aside decides, and rows in memory leave more where one thread needs it, as far as there is room."""
    spans = _spans(tmp_path, ["1,2\n" * rows for rows in (5, 25, 10)])
    reader = _Hungry()
    assert loading.threads_at_once(reader, spans, 4, Storage()) == 4
    assert loading.threads_at_once(reader, [], 4, Storage(0, None, 0)) == 4
    assert loading.threads_at_once(reader, spans, 4, Storage(0, None, 1000 * _MIB)) == 4
    assert loading.threads_at_once(reader, spans, 4, Storage(0, None, 399 * _MIB)) == 3
    storage = Storage(71 * _MIB, None, 30 * _MIB)
    assert loading.threads_at_once(reader, spans, 4, storage) == 1
    kept = [storage.put(np.zeros(_MIB, np.uint8)) for _ in range(2)]
    assert (storage.kept, storage.spooled) == (_MIB, _MIB)
    with pytest.raises(
        UserError,
        match=r"reading 0000\.csv takes about 104 MiB .+ 100 MiB are left .+fewer rows in each row group",
    ):
        loading.threads_at_once(reader, _spans(tmp_path, ["1,2\n" * 26]), 4, storage)
    assert loading.threads_at_once(reader, _spans(tmp_path, ["1,2\n" * 16]), 4, Storage(0, None, 0)) == 1
    del kept
    storage.close()


class _Counting(CsvReader):
    """Notes how often it is asked for what costs as much as a file."""

    def __init__(self) -> None:
        super().__init__()
        self.one_by_one: list[int] = []
        self.at_once: list[int] = []

    def tasks(self, span: Span) -> Iterator[Callable[[], Batch]]:
        self.one_by_one.append(span.file.position)
        return super().tasks(span)

    def together(self, spans: Sequence[Span]) -> tuple[Batch, list[int]] | None:
        self.at_once.append(len(spans))
        return super().together(spans)


@_THREADS
def test_thousands_of_tiny_files_are_a_few_batches(
    tmp_path: Path, random: np.random.Generator, threads: int
) -> None:
    """The parser is called once for hundreds of them, and none is read alone."""
    rows = random.integers(1, 4, 3000).tolist()
    reader, found = _Counting(), list[Loaded]()
    loading.read(reader, _spans(tmp_path, ["1,2\n" * count for count in rows]), threads, found.append)
    assert reader.one_by_one == []
    assert sum(reader.at_once) == len(rows)
    assert len(reader.at_once) <= -(-len(rows) // 256)
    assert len(found) == len(reader.at_once)
    assert sum(each.batch.rows for each in found) == sum(rows)
