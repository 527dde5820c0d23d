"""`treering.sizing`: what a channel is expected to come to is near what it comes to."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet

from treering import channels, sizing
from treering.readers import formats

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from treering.sizing import Extent

_COLUMNS = 12


def _expect(folder: Path, content_type: str, share: float) -> Extent:
    listing = channels.list_files(folder)
    reader = formats.reader_for(content_type, [name for name, _ in listing])
    return sizing.expect(reader, folder, listing, share)


def _lines(random: np.random.Generator, rows: int) -> bytes:
    values = random.standard_normal((rows, _COLUMNS + 1))
    return "".join(",".join(f"{value:.4f}" for value in row) + "\n" for row in values).encode()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_text_is_sampled(tmp_path: Path, random: np.random.Generator, compressed: bool, share: float) -> None:
    """Rows follow from the lines of the largest file's beginning, in packed files as in plain ones."""
    rows = [200, 30_000, 10_000]
    for number, count in enumerate(rows):
        text = _lines(random, count)
        path = tmp_path / f"{number}.csv{'.gz' if compressed else ''}"
        path.write_bytes(gzip.compress(text, 1) if compressed else text)
    found = _expect(tmp_path, "text/csv", share)
    assert found.rows == pytest.approx(share * sum(rows), rel=0.15)
    assert found.columns == _COLUMNS
    assert not found.is_sparse
    assert found.features == 4 * found.rows * _COLUMNS


@pytest.mark.parametrize(
    "pack", [gzip.compress, lambda text: pa.compress(text, "zstd", asbytes=True)], ids=["gzip", "zstd"]
)
@pytest.mark.parametrize("rows", [10, 100_000, 8_000_000])
def test_an_archive_unfolds_as_far_as_it_does(
    tmp_path: Path, pack: Callable[[bytes], bytes], rows: int
) -> None:
    """A tiny file of many rows is one, whether it is fetched in one piece or in several."""
    (tmp_path / "a.csv").write_bytes(pack(b"0,1\n" * rows))
    assert _expect(tmp_path, "text/csv", 1.0).rows == pytest.approx(rows, rel=0.3)


def test_an_index_that_the_reader_refuses_has_no_columns(tmp_path: Path) -> None:
    """It is for the reader to say which row is wrong, not for memory to run out."""
    (tmp_path / "a").write_text("1 0:2 7:1\n0 2000000000:1\n")
    assert _expect(tmp_path, "text/libsvm", 1).columns == 8


def test_libsvm_counts_what_is_there(tmp_path: Path, random: np.random.Generator) -> None:
    """Values are counted, since absent ones take no memory."""
    rows = 5_000
    lines = [
        f"1 {' '.join(f'{index}:0.5' for index in sorted(random.choice(900, 20, replace=False)))}\n"
        for _ in range(rows)
    ]
    (tmp_path / "a").write_text("".join(lines))
    found = _expect(tmp_path, "text/libsvm", 0.5)
    assert found.is_sparse
    assert found.values == pytest.approx(rows * 20 / 2, rel=0.05)
    assert 850 < found.columns <= 900


def test_parquet_says_its_rows(tmp_path: Path, random: np.random.Generator) -> None:
    """The footer has them exactly."""
    for number, rows in enumerate((100, 700)):
        table = pa.table({f"c{n}": random.standard_normal(rows) for n in range(_COLUMNS + 1)})
        parquet.write_table(table, tmp_path / f"{number}.parquet")
    found = _expect(tmp_path, "application/x-parquet", 1.0)
    assert found.rows == pytest.approx(800, rel=0.2)
    assert found.columns == _COLUMNS


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("compressed", [False, True])
def test_gaps_in_text_are_sampled(
    tmp_path: Path, random: np.random.Generator, missing: float, compressed: bool
) -> None:
    """Rows without any are told from rows with some, behind a header too; labels do not count."""
    rows = random.standard_normal((20_000, _COLUMNS + 1))
    there = random.random(rows.shape) >= missing
    there[:, 0] = True
    lines = [
        ",".join(f"{value:.3f}" if is_there else "" for value, is_there in zip(*both, strict=True))
        for both in zip(rows, there, strict=True)
    ]
    header = ",".join(f"c{number}" for number in range(_COLUMNS + 1))
    text = "\n".join([header, *lines, ""]).encode()
    path = tmp_path / f"a.csv{'.gz' if compressed else ''}"
    path.write_bytes(gzip.compress(text, 1) if compressed else text)
    found = _expect(tmp_path, "text/csv;header=true", 1.0)
    cells = found.rows * _COLUMNS
    assert (found.values == cells) == (missing == 0)
    assert found.values == pytest.approx(cells * (1 - missing), rel=0.02)


def test_text_that_takes_a_careful_look_may_have_gaps(tmp_path: Path) -> None:
    """What it has is for the reader to find out."""
    (tmp_path / "a.csv").write_text('0, "1" ,2\n' * 100)
    found = _expect(tmp_path, "text/csv", 1.0)
    assert found.values == found.rows * 2 - 1


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_parquet_says_its_gaps(tmp_path: Path, random: np.random.Generator, missing: float) -> None:
    """The footer counts them, unless it was written without; those of the label do not count."""
    values = {"label": [None] * 10 + [1.0] * 4_990}
    values |= {
        f"c{n}": [None if gap else 0.5 for gap in random.random(5_000) < missing] for n in range(_COLUMNS)
    }
    parquet.write_table(pa.table(values), tmp_path / "a.parquet")
    found = _expect(tmp_path, "application/x-parquet", 1.0)
    assert found.values == pytest.approx(5_000 * _COLUMNS * (1 - missing), rel=0.02)
    assert (found.values == 5_000 * _COLUMNS) == (missing == 0)
    parquet.write_table(pa.table(values), tmp_path / "a.parquet", write_statistics=False)
    assert _expect(tmp_path, "application/x-parquet", 1.0).values == 5_000 * _COLUMNS - 1


@pytest.mark.parametrize("files", [0, 2])
def test_nothing_is_nothing(tmp_path: Path, files: int) -> None:
    """No file and only empty ones are no rows; whether that is allowed is for others to say."""
    for number in range(files):
        (tmp_path / f"{number}.csv").touch()
    assert _expect(tmp_path, "text/csv", 1.0).rows == 0
