"""Start a hyperparameter tuning job in SageMaker, or print the exact request with --dry-run. See docs/tune.md."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, NamedTuple

import submit_job
import training_job

from treering import options, tasks
from treering.errors import UserError
from treering.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    import argparse

    from training_job import TrainingJob

EXAMPLE = """\
example: as submit_job.py, and
      --objective validation:rmse --jobs 30 --parallel 3 \\
      --range eta=0.01:0.5:log --range max_depth=3:10 --choice grow_policy=depthwise,lossguide
"""
SCALINGS = {"": "Auto", "linear": "Linear", "log": "Logarithmic", "reverselog": "ReverseLogarithmic"}
BOUNDS = 2
TOLD = "_tuning_objective_metric"


class Range(NamedTuple):
    """What one hyperparameter may be: numbers from `low` to `high`, or one of `choices`."""

    name: str
    low: float = 0
    high: float = 0
    whole: bool = False
    scaling: str = "Auto"
    choices: tuple[str, ...] = ()


class Tuning(NamedTuple):
    """How to search."""

    objective: str
    maximize: bool
    ranges: tuple[Range, ...]
    strategy: str
    jobs: int
    parallel: int
    early_stopping: str


def main() -> int:
    """Returns the exit code."""
    parser = training_job.parser(__doc__ or "", EXAMPLE)
    add = parser.add_argument_group("the search").add_argument
    add("--objective", required=True, metavar="validation:METRIC", help="the metric that is to get better")
    add(
        "--range",
        action="append",
        default=[],
        metavar="NAME=LOW:HIGH[:SCALE]",
        help="SCALE: linear, log, reverselog",
    )
    add("--choice", action="append", default=[], metavar="NAME=A,B,…", help="one of these")
    add("--strategy", choices=("Bayesian", "Random", "Hyperband", "Grid"), default="Bayesian")
    add("--jobs", type=int, default=20, metavar="N", help="training jobs in all (default 20)")
    add("--parallel", type=int, default=2, metavar="N", help="training jobs at once (default 2)")
    add("--early-stopping", choices=("Off", "Auto"), default="Off", help="end jobs that do not get better")
    given = parser.parse_args()
    try:
        metric = _metric(given.objective)
        # SageMaker hands this one to each training job, whose metrics follow from it.
        given.hp.append(f"{TOLD}={given.objective}")
        job = training_job.describe(given)
        own = {name: value for name, value in job.hyperparameters.items() if name != TOLD}
        job = dataclasses.replace(job, hyperparameters=own)
        tuning = Tuning(
            objective=given.objective,
            maximize=tasks.maximize(metric),
            ranges=_ranges(given, job),
            strategy=given.strategy,
            jobs=given.jobs,
            parallel=given.parallel,
            early_stopping=given.early_stopping,
        )
        return submit_job.start(
            given, lambda sdk, boto: str(sdk.tune(job, tuning, boto, wait=not given.no_wait))
        )
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _metric(objective: str) -> str:
    channel, _, metric = objective.partition(":")
    if channel != "validation" or not tasks.is_metric(metric):
        raise UserError(f"--objective {objective}: expected validation:METRIC, as in validation:rmse")
    return metric


def _ranges(given: argparse.Namespace, job: TrainingJob) -> tuple[Range, ...]:
    numbers = [options.pair(text, "--range") for text in given.range]
    choices = [options.pair(text, "--choice") for text in given.choice]
    names = [name for name, _ in numbers + choices]
    if not names:
        raise UserError("nothing to tune: give --range or --choice")
    for name in names:
        if names.count(name) > 1 or name in job.hyperparameters:
            raise UserError(f"{name} is given twice; a hyperparameter is tuned once, or else fixed by --hp")
    return (
        *(_numbers(name, text, job) for name, text in numbers),
        *(_choices(name, text, job) for name, text in choices),
    )


def _numbers(name: str, text: str, job: TrainingJob) -> Range:
    bounds, scale = text.split(":")[:BOUNDS], ":".join(text.split(":")[BOUNDS:])
    if len(bounds) < BOUNDS or scale not in SCALINGS:
        raise UserError(
            f"--range {name}={text}: expected LOW:HIGH, with :linear, :log or :reverselog behind it"
        )
    low, high = (_value(name, bound, job) for bound in bounds)
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise UserError(f"--range {name}={text}: {name} is no number; use --choice")
    if low >= high:
        raise UserError(f"--range {name}={text}: {low} is not below {high}")
    return Range(name, low, high, isinstance(low, int), SCALINGS[scale])


def _choices(name: str, text: str, job: TrainingJob) -> Range:
    choices = tuple(text.split(","))
    for choice in choices:
        _value(name, choice, job)
    return Range(name, choices=choices)


def _value(name: str, text: str, job: TrainingJob) -> object:
    """What treering reads `text` as; raises UserError for what the container would refuse."""
    fixed = Hyperparameters.parse(job.hyperparameters).given
    chosen = Hyperparameters.parse({**job.hyperparameters, name: text}).given
    (own,) = chosen.keys() - fixed.keys()  # `name`, or what it is an alias of
    return chosen[own]


if __name__ == "__main__":
    sys.exit(main())
