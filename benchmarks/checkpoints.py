"""What checkpoints cost: the rounds of a job with them, at the default interval, beside those of the same job without.

    make bench-checkpoints        # 100,000 rows of 28 columns, 200 rounds at depth 6, 5 runs each, interleaved
    make bench-checkpoints ARGS="--rows 1000000 --rounds 500"

Runs ``treering local`` on one host and looks at it from outside only: at when the lines of the rounds arrive.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

_COLUMNS = 28


def main() -> None:
    """Print one table of medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument(
        "--seed", type=int, default=int(np.random.SeedSequence().generate_state(1)[0]), help="default: drawn"
    )
    options = parser.parse_args()
    found: dict[bool, list[tuple[float, str]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        data = _write(Path(folder), options.rows, options.seed)
        for _ in range(options.runs):
            for keeps, runs in found.items():
                runs.append(_measure(data, options.rounds, keeps=keeps))
    without, beside = (statistics.median(seconds for seconds, _ in found[keeps]) for keeps in (False, True))
    print(f"seed {options.seed}, {psutil.cpu_count()} cores, {options.runs} runs each, medians\n")
    print("| rows | rounds | a round, ms | all rounds, s | with checkpoints, s | more | train-rmse of both |")
    print("|---|---|---|---|---|---|---|")
    (quality,) = {quality for runs in found.values() for _, quality in runs}
    print(
        f"| {options.rows:,} x {_COLUMNS} | {options.rounds} | {1000 * without / (options.rounds - 1):.1f} | {without:.2f} | "
        f"{beside:.2f} | {beside / without - 1:.1%} | {quality} |"
    )


def _write(folder: Path, rows: int, seed: int) -> Path:
    """A CSV file of numbers, the label first."""
    random = np.random.default_rng(seed)
    table = random.standard_normal((rows, _COLUMNS + 1)).astype(np.float32)
    table[:, 0] = table[:, 1] * table[:, 2] + np.abs(table[:, 3]) + table[:, 0]
    path = folder / "rows.csv"
    np.savetxt(path, table, "%.5f", ",")
    return path


def _measure(data: Path, rounds: int, *, keeps: bool) -> tuple[float, str]:
    """Seconds from the first round's line to the end of the job, which has its last checkpoint then, and the last score."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "treering",
            "local",
            f"--output={folder}/out",
            "--content-type=text/csv",
        ]
        command += [f"--channel=train={data}", f"--hp=num_round={rounds}", "--hp=max_depth=6"]
        command += [f"--checkpoints={folder}/checkpoints"] if keeps else []
        begun, last = 0.0, ""
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                if line.startswith("["):
                    begun, last = begun or time.monotonic(), line
        if process.returncode or not last.startswith(f"[{rounds - 1}]"):
            raise SystemExit("the job failed")
        if keeps and not any(Path(folder, "checkpoints").iterdir()):
            raise SystemExit("there are no checkpoints")
        return time.monotonic() - begun, last.rpartition(":")[2].strip()


if __name__ == "__main__":
    main()
