"""Whole jobs, from the start of the process to its end, beside what one would run instead.

    make bench                                   # all data, 5 runs each, interleaved: about 25 minutes on 2 cores
    make bench ARGS="--runs 7 --data wide"

Ways: `treering local` with one host; a plain script on stock XGBoost; the loading of AWS's image; LightGBM (see
`benchmarks/peers.py`). All get the same file, drawn anew in each run, the same number of threads, rounds and bins,
and print the logarithmic loss of the training rows after each round. Each is looked at from outside: by its lines on
stdout, by its end, and by the largest resident set of any of its processes.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import psutil
import pyarrow as pa
from pyarrow import csv, parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DEPTH = 6
_ROUND = re.compile(r"\[(\d+)\]\s*train-logloss:([0-9.]+)")
_TYPES = {"csv": "text/csv", "parquet": "application/x-parquet", "libsvm": "text/libsvm"}
_NAMES = {
    "treering": "treering",
    "stock": "plain script",
    "uri": "AWS's way to load",
    "lightgbm": "LightGBM",
}


class Work(NamedTuple):
    """A data set: how it is written, and which ways can read it."""

    kind: str
    rows: int
    columns: int
    present: float = 1.0

    @property
    def values(self) -> float:
        """How many are there."""
        return self.rows * self.columns * self.present


WORK = {
    "csv": Work("csv", 1_000_000, 28),
    "parquet": Work("parquet", 1_000_000, 28),
    "wide": Work("csv", 100_000, 500),
    "wide-parquet": Work("parquet", 100_000, 500),
    "sparse": Work("libsvm", 200_000, 2_000, 0.01),
}


class Run(NamedTuple):
    """Seconds, bytes, and the quality reached."""

    first: float
    whole: float
    turn: float
    peak: float
    loss: float


def main() -> None:
    """Print one table of medians for each data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", required=True, help="Python that has the peers")
    parser.add_argument("--data", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the rows")
    parser.add_argument("--threads", type=int, default=psutil.cpu_count())
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().generate_state(1)[0]))
    options = parser.parse_args()
    print(
        f"seed {options.seed}, {psutil.cpu_count()} cores, {options.threads} threads, {options.runs} runs each, medians"
    )
    for name in options.data:
        work = WORK[name]._replace(rows=int(WORK[name].rows * options.scale))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"rows.{work.kind}"
            _write(work, path, np.random.default_rng(options.seed))
            _compare(name, work, path, options)


def _compare(name: str, work: Work, path: Path, options: argparse.Namespace) -> None:
    ways = [way for way in _NAMES if not (way == "stock" and work.kind == "libsvm")]
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    for turn in range(options.runs + 1):
        for step in range(len(ways)):
            way = ways[(turn + step) % len(ways)]
            run = _measure(_command(way, work, path, options), options.rounds)
            if turn:  # the first turn warms the page cache
                runs[way].append(run)
    size = path.stat().st_size / 1e6
    print(
        f"\n**{name}**: {work.rows:,} x {work.columns}, {work.kind}, {size:,.0f} MB, {options.rounds} rounds\n"
    )
    print("| | first round, s | whole job, s | a round, s | peak, MB | bytes a value | train-logloss |")
    print("|---|---|---|---|---|---|---|")
    for way, found in runs.items():
        first, whole, turn_s, peak, loss = map(statistics.median, zip(*found, strict=True))
        print(
            f"| {_NAMES[way]} | {first:.2f} | {whole:.2f} | {turn_s:.4f} | {peak / 1e6:.0f} | {peak / work.values:.1f} "
            f"| {loss:.5f} |",
            flush=True,
        )


def _command(way: str, work: Work, path: Path, options: argparse.Namespace) -> Callable[[str], Sequence[str]]:
    """What to run, given a folder for what it leaves."""
    if way != "treering":
        numbers = [str(number) for number in (options.rounds, _DEPTH, options.threads)]
        script = str(Path(__file__).with_name("peers.py"))
        return lambda _: [options.peers, script, way, work.kind, str(path), *numbers]
    given = {"objective": "binary:logistic", "num_round": options.rounds, "max_depth": _DEPTH}
    return lambda folder: [
        *(sys.executable, "-m", "treering", "local", f"--channel=train={path}"),
        *(f"--content-type={_TYPES[work.kind]}", f"--threads-per-host={options.threads}"),
        *(f"--hp={name}={value}" for name, value in given.items()),
        f"--output={folder}",
    ]


def _measure(command: Callable[[str], Sequence[str]], rounds: int) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        process = subprocess.Popen(command(folder), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None  # noqa: S101  # it was asked for
        times, loss = [], float("nan")
        for line in process.stdout:
            if found := _ROUND.match(line):
                times.append(time.perf_counter() - started)
                loss = float(found[2])
        _, status, usage = os.wait4(process.pid, 0)
        whole = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or len(times) != rounds:
            raise SystemExit(f"{command(folder)} ended with {process.returncode} after {len(times)} rounds")
    return Run(times[0], whole, (times[-1] - times[0]) / (rounds - 1), 1024 * usage.ru_maxrss, loss)


def _write(work: Work, path: Path, random: np.random.Generator) -> None:
    """Rows of a task with interactions and noise, label first."""
    if work.kind == "libsvm":
        path.write_text("".join(_libsvm(work, random)))
        return
    features = random.standard_normal((work.rows, work.columns), np.float32)
    label = _label(features[:, :4], random)
    names = ["label", *(f"f{number}" for number in range(work.columns))]
    table = pa.table([pa.array(label), *(pa.array(column) for column in features.T)], names=names)
    if work.kind == "parquet":
        parquet.write_table(table, path, row_group_size=1 << 17)
    else:
        csv.write_csv(table, path, csv.WriteOptions(include_header=False))


def _libsvm(work: Work, random: np.random.Generator) -> Sequence[str]:
    here = random.binomial(work.columns, work.present, work.rows)
    lines = []
    for count in here.tolist():
        columns = np.sort(random.choice(work.columns, max(count, 1), replace=False))
        values = random.standard_normal(columns.size, np.float32)
        label = int(
            values.sum() + (columns < work.columns // 2).sum() - count / 2 + random.standard_normal() > 0
        )
        lines.append(f"{label} {' '.join(f'{c}:{v:.6g}' for c, v in zip(columns, values, strict=True))}\n")
    return lines


def _label(first: np.ndarray[tuple[int, int], np.dtype[np.float32]], random: np.random.Generator) -> object:
    one, two, three, four = first.T
    signal = one * two + np.abs(three) - np.maximum(four, 0) + random.standard_normal(len(first), np.float32)
    return (signal > 0).astype(np.float32)


if __name__ == "__main__":
    main()
