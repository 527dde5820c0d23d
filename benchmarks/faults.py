"""The fault matrix, many times, with the clocks that jobs have by default; and plain XGBoost in its place.

    make faults                                        # 20 runs of each fault, over all its layouts
    make faults ARGS="--repeats 0"                     # one run in each of its layouts
    make faults ARGS="--repeats 3 --only docker"       # some of it
    make faults ARGS="--repeats 0 --only late --late 600"
    make faults ARGS="--jobs 3"                        # three at a time: most of a job is waiting
    make faults ARGS=--write                           # the tables into docs/reliability.md

Needs root on Linux, for network namespaces and full disks, and a Docker Engine (`make` brings one up on Debian).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shlex
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import docker_engine
import numpy as np
import psutil
import xgboost
from faults import network
from faults.cases import CASES
from faults.jobs import make_large
from faults.run import REAL, Ground, problems, run

from benchmarks import plain_lab

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faults.case import Case, Layout
    from faults.run import Outcome

_DOC = Path(__file__).parents[1] / "docs" / "reliability.md"
_HEAD = "| fault | runs | exit codes | seconds: median | worst | as it should | hung | plain XGBoost |"
_PATH = re.compile(r"/\S*/algo-(\d)/")  # of the machine that this ran on
_AIMS = {"crash": 2, "silence": 20}  # seconds


@dataclasses.dataclass
class Row:
    """All runs of one case."""

    case: Case
    outcomes: list[Outcome] = dataclasses.field(default_factory=list)
    faulty: list[str] = dataclasses.field(default_factory=list)
    missed: list[str] = dataclasses.field(
        default_factory=list
    )  # runs in which the moment for the fault never came
    plain: str = "-"

    @property
    def seconds(self) -> list[float]:
        """From the fault to the last exit, of the runs that did not hang."""
        return [outcome.seconds for outcome in self.outcomes if outcome.seconds is not None]

    @property
    def hung(self) -> int:
        """How many runs did not end."""
        return sum(bool(outcome.hangs) for outcome in self.outcomes)

    def line(self) -> str:
        """The row of the table."""
        seconds = self.seconds
        codes = sorted({str(code) for each in self.outcomes for code in each.codes.values()})
        well = len(self.outcomes) - len(self.faulty)
        times = f"{statistics.median(seconds):.1f} | {max(seconds):.1f}" if seconds else "- | -"
        hung = self.hung
        share = f"{well} of {len(self.outcomes)}"
        return (
            f"| {self.case.name} | {len(self.outcomes)} | {', '.join(codes) or '-'} | {times} | {share} | {hung} | "
            f"{self.plain} |"
        )

    def sentence(self) -> str | None:
        """What a failure file says, without this machine's paths."""
        said = [line for each in self.outcomes for line in each.headlines.values() if line]
        return _PATH.sub("/opt/ml/", said[-1]) if said else None


def main() -> None:
    """Run, print, and write when asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repeats", type=int, default=20, help="runs of each fault (default 20; 0: one in each layout)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs of a fault at a time (default 1)")
    parser.add_argument(
        "--late", type=float, default=REAL.lateness, help="seconds by which late hosts are late"
    )
    parser.add_argument("--only", default="", metavar="REGEX", help="faults whose name matches")
    parser.add_argument("--image", default="treering:cpu", help="the image (default treering:cpu)")
    parser.add_argument(
        "--without-plain", action="store_true", help="keep what the page says of plain XGBoost"
    )
    parser.add_argument("--write", action="store_true", help=f"replace the tables in docs/{_DOC.name}")
    options = parser.parse_args()
    reason = network.missing() or docker_engine.missing()
    if reason is not None:
        raise SystemExit(f"the fault matrix cannot run here: {reason}")
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}\n\n{_HEAD}\n|{'---|' * (_HEAD.count('|') - 1)}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        ground = Ground(make_large(Path(name), seed), options.image)
        for case in CASES:
            if re.search(options.only, case.name):
                rows.append(_measure(case, options, Path(name), ground))
                rows[-1].plain = (
                    _plain_of_page(case) if options.without_plain else _plain(case, Path(name), ground)
                )
                print(rows[-1].line(), flush=True)
    print(*(f"\n{row.case.name}: {fault}" for row in rows for fault in [*row.faulty, *row.missed]))
    print(*_summary(rows), sep="\n")
    if options.write:
        _write(rows)
    if any(row.faulty for row in rows):
        raise SystemExit(1)


def _measure(case: Case, options: argparse.Namespace, folder: Path, ground: Ground) -> Row:
    """Deal the runs out over the case's layouts."""
    row = Row(case)
    pace = dataclasses.replace(REAL, lateness=options.late)
    layouts = [case.layouts[turn % len(case.layouts)] for turn in range(options.repeats or len(case.layouts))]

    def once(layout: Layout) -> Outcome | str:
        try:
            with tempfile.TemporaryDirectory(dir=folder) as name:
                return run(case, layout, pace, Path(name) / "lab", ground)
        except (AssertionError, psutil.Error) as error:
            return str(error)

    with ThreadPoolExecutor(options.jobs) as pool:
        for layout, outcome in zip(layouts, pool.map(once, layouts), strict=True):
            if isinstance(outcome, str):
                row.missed.append(f"{layout}: {outcome}")
                continue
            row.outcomes.append(outcome)
            if found := problems(case, layout, outcome):
                row.faulty.append(f"{layout}: {'; '.join(found)}\n{outcome.logs}")
    return row


def _plain(case: Case, folder: Path, ground: Ground) -> str:
    """What plain XGBoost does, on two hosts."""
    if not plain_lab.applies(case):
        return "-"
    layout = next((each for each in reversed(case.layouts) if each.hosts == 2), case.layouts[-1])
    with tempfile.TemporaryDirectory(dir=folder) as name:
        try:
            return plain_lab.run(case, layout, Path(name) / "lab", ground.large, isolated=True)
        except AssertionError as error:
            return f"not measured: {str(error).splitlines()[0]}"


def _plain_of_page(case: Case) -> str:
    """What the page says of plain XGBoost."""
    found = re.search(
        rf"^\| {re.escape(case.name)} \|(?:[^|]*\|){{6}} ([^|]*) \|$", _DOC.read_text(), re.MULTILINE
    )
    return found[1] if found else "-"


def _summary(rows: Sequence[Row]) -> list[str]:
    """The command, and all rows in a few lines, beside the aims."""
    runs = sum(len(row.outcomes) for row in rows)
    faulty, hung, missed = (
        sum(counts) for counts in zip(*((len(r.faulty), r.hung, len(r.missed)) for r in rows), strict=True)
    )
    given = sys.argv[3:] if sys.argv[1:2] == ["--image"] else sys.argv[1:]  # `make` names the image
    command = f'`make faults ARGS="{shlex.join(given)}"`'
    lines = [
        f"Written by {command}, on {os.cpu_count()} cores, beside XGBoost {xgboost.__version__}.",
        "",
        f"- {runs} runs: {runs - faulty} ended as they should, {hung} hung. In {missed} more the fault came too late.",
    ]
    for kind, aim in _AIMS.items():
        seconds = [each for row in rows if row.case.kind == kind for each in row.seconds]
        if seconds:
            within = sum(each <= aim for each in seconds)
            lines.append(
                f"- Faults of kind {kind}: {within} of {len(seconds)} runs were out everywhere within {aim} s; "
                f"median {statistics.median(seconds):.1f} s, worst {max(seconds):.1f} s."
            )
    return [*lines, ""]


def _write(rows: Sequence[Row]) -> None:
    """Put the tables between the marks of the document."""
    table = [*_summary(rows), _HEAD, f"|{'---|' * (_HEAD.count('|') - 1)}", *(row.line() for row in rows)]
    said = [(row.case.name, row.sentence()) for row in rows]
    sentences = ["| fault | a failure file's first line |", "|---|---|"]
    sentences += [f"| {name} | {line} |" for name, line in said if line is not None]
    text = _DOC.read_text()
    for mark, lines in (("table", table), ("sentences", sentences)):
        before, begin, rest = text.partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise SystemExit(f"{_DOC} has no place marked '{mark}'")
        text = "".join([before, begin, *(f"{line}\n" for line in lines), end, after])
    _DOC.write_text(text)


if __name__ == "__main__":
    main()
