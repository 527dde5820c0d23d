"""Seconds from process start to the first round, and from the last round to the exit of the last host.

    make bench-startup            # 1, 2 and 4 hosts, 5 runs each, interleaved
    make bench-startup ARGS="--runs 7 --hosts 1 8"

Runs the abalone example through ``treering local`` and looks at it from outside only: each phase ends when
its line arrives on stdout. All hosts share this machine's cores, which several machines would not.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

_ABALONE = Path(__file__).parents[1] / "examples" / "abalone"
_ROUNDS = 20
# A phase ends with the first line that holds its text.
_PHASES = {
    "supervisor up": "treering ",
    "world formed": "the ring is formed",
    "data loaded": "Validation matrix has",
    "first round": "[0]\t",
    "last round": f"[{_ROUNDS - 1}]\t",
}
_COLUMNS = (*_PHASES, "all exited", "rmse")


def main() -> None:
    """Print one table of medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    seen: dict[int, list[dict[str, float]]] = {hosts: [] for hosts in options.hosts}
    for turn in range(options.runs + 1):
        for hosts, runs in seen.items():
            measured = _measure(hosts)
            if turn:  # the first turn warms the page cache
                runs.append(measured)
    print(f"{psutil.cpu_count()} cores, {options.runs} runs each, medians; seconds since the phase before\n")
    print("| hosts | " + " | ".join(_COLUMNS) + " |")
    print("|---|" + "---|" * len(_COLUMNS))
    for hosts, runs in seen.items():
        cells = (f"{statistics.median(run[column] for run in runs):.2f}" for column in _COLUMNS)
        print(f"| {hosts} | " + " | ".join(cells) + " |")


def _measure(hosts: int) -> dict[str, float]:
    """Seconds of each phase of one job, and the quality it reached."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "treering", "local", f"--hosts={hosts}", f"--output={folder}"]
        command += [f"--channel={name}={_ABALONE / name}" for name in ("train", "validation")]
        command += ["--content-type=text/libsvm", f"--hp=num_round={_ROUNDS}", "--hp=max_depth=4"]
        ends = [time.monotonic()]
        waiting = list(_PHASES.values())
        last_line = ""
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                while waiting and waiting[0] in line:
                    ends.append(time.monotonic())
                    waiting.pop(0)
                    last_line = line
        ends.append(time.monotonic())
        if process.returncode or waiting:
            raise SystemExit(f"the job with {hosts} host(s) failed in {folder}")
    seconds = [stop - start for start, stop in itertools.pairwise(ends)]
    return dict(zip(_COLUMNS, [*seconds, float(last_line.rpartition(":")[2])], strict=True))


if __name__ == "__main__":
    main()
