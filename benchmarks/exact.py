"""What exactness costs: quality, time per round, matrix and metrics, against plain XGBoost.

    make bench-exact                            # all tables
    make bench-exact ARGS="--only quality"

One rank in this process, without a job around it: cuts, matrix, objective and rounds are those of a job, and
XGBoost gets the same arrays and parameters. Runs alternate, and times are medians. OpenMP's threads wait as they do in
a job (see `treering.launch`), which the make target sees to.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil
import xgboost as xgb
from scipy import stats
from sklearn import datasets

from benchmarks.data import Data
from benchmarks.ways import Exact, Plain
from treering.metrics import Evaluator, Rows
from treering.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.ways import Boost, Way

_ABALONE = Path(__file__).parents[1] / "examples" / "abalone"
_QUALITY: Final = {"max_depth": 5, "eta": 0.1}
_QUALITY_ROUNDS = 60
_SAMPLING: Final = {"subsample": 0.7, "colsample_bytree": 0.7}
_SURE = 0.99  # one-sided, that a difference is no chance
_SPEED: Final = {"max_depth": 8, "eta": 0.1}
_ROUNDS = 10  # of a run
_COLUMNS = 28
_HELD_OUT = 100_000  # rows
_SCORED: Final = {
    "reg:squarederror": (["rmse"], ["rmse", "mae", "r2"]),
    "binary:logistic": (["logloss"], ["error"], ["accuracy", "f1"], ["auc"], ["aucpr"]),
}


def main() -> None:
    """Print the tables."""
    tables = {
        "quality": _print_quality,
        "rounds": _print_rounds,
        "matrix": _print_matrix,
        "metrics": _print_metrics,
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=tables)
    parser.add_argument("--rows", type=int, default=1_000_000, help="for the times")
    parser.add_argument("--runs", type=int, default=7, help="of each, alternating, for the times")
    parser.add_argument("--seeds", type=int, default=5, help="2 or more, for the quality")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().generate_state(1)[0]))
    options = parser.parse_args()
    print(f"seed {options.seed}, {psutil.cpu_count()} cores, {options.threads} threads")
    world = World()
    for name, table in tables.items():
        if options.only in {None, name}:
            table(world, options)
    world.leave()


def _print_quality(world: World, options: argparse.Namespace) -> None:
    """Held-out quality on every data set; seeds draw the split and the samples."""
    seeds = np.random.SeedSequence(options.seed).generate_state(options.seeds).tolist()
    noise = stats.t.ppf(_SURE, len(seeds) - 1)  # standard errors, after Student
    print(f"\nHeld-out metric after {_QUALITY_ROUNDS} rounds; seeds {', '.join(map(str, seeds))}\n")
    print("| data | rows | objective | sampling | treering | XGBoost | difference | |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (load, own) in _SETS.items():
        for sampling in ({}, _SAMPLING):
            parameters = {**_QUALITY, **own, **sampling}
            scores = []
            for seed in seeds:
                train, held_out = _split(load(seed), seed)
                seeded = {**parameters, "seed": seed}
                ways = Exact(world, seeded, options.threads), Plain(seeded, options.threads)
                scores.append([_quality(way, way.bin(train), held_out) for way in ways])
            exact, plain = np.array(scores).T
            error = (exact - plain).std(ddof=1) / np.sqrt(len(seeds))
            difference = (exact - plain).mean()
            cells = (
                f"{name} | {train.label.size} | {own['objective']}",
                "rows and columns 0.7" if sampling else "",
                f"{exact.mean():.4f} ± {exact.std(ddof=1):.4f}",
                f"{plain.mean():.4f} ± {plain.std(ddof=1):.4f}",
                f"{difference:+.5f} ± {error:.5f}",
                "worse" if difference > noise * error else "no worse",
            )
            print("|", " | ".join(cells), "|", flush=True)
    print("\n± of a metric: standard deviation over seeds; of the difference: its standard error.")


def _quality(way: Way, rows: xgb.QuantileDMatrix, held_out: Data, rounds: int = _QUALITY_ROUNDS) -> float:
    boost = way.start(rows)
    for iteration in range(rounds - 1):
        boost(iteration)
    return _score(boost(rounds - 1), held_out)


def _score(booster: xgb.Booster, held_out: Data) -> float:
    """The objective's own metric; lower is better in all that are used here."""
    return float(booster.eval(xgb.DMatrix(held_out.features, held_out.label)).rpartition(":")[2])


def _print_rounds(world: World, options: argparse.Namespace) -> None:
    """Time per round, without the first one, which sets things up."""
    print(
        f"\nTime per round, {options.rows} x {_COLUMNS}, depth {_SPEED['max_depth']}; {_ROUNDS} rounds a run"
    )
    _print_head()
    for objective in ("reg:squarederror", "binary:logistic"):
        train, held_out = _large(objective, options)
        parameters = {**_SPEED, "objective": objective}
        ways = Exact(world, parameters, options.threads), Plain(parameters, options.threads)
        measures = [functools.partial(_time_rounds, way, way.bin(train)) for way in ways]
        (exact, ours), (plain, theirs) = _alternate(measures, options.runs)
        _print_times(objective, exact, plain, _score(ours, held_out), _score(theirs, held_out))


def _time_rounds(way: Way, rows: xgb.QuantileDMatrix) -> tuple[float, xgb.Booster]:
    boost = way.start(rows)
    boost(0)
    started = time.perf_counter()
    for iteration in range(1, _ROUNDS):
        boost(iteration)
    booster = boost(_ROUNDS)
    return (time.perf_counter() - started) / _ROUNDS, booster


def _print_matrix(world: World, options: argparse.Namespace) -> None:
    """Time from rows to bins; XGBoost's own rounds on them show their quality."""
    print(f"\nTime to build the matrix, {options.rows} x {_COLUMNS}")
    _print_head()
    train, held_out = _large("binary:logistic", options)
    plain = Plain({**_SPEED, "objective": "binary:logistic"}, options.threads)
    by_row = Data(np.ascontiguousarray(train.features), train.label)
    orders = {"columns together, as treering loads them": train, "rows together, as numpy does": by_row}
    ways: tuple[Way, ...] = (Exact(world, {}, options.threads), plain)
    for name, data in orders.items():
        measures = [functools.partial(_time_matrix, way, data) for way in ways]
        (exact, ours), (stock, theirs) = _alternate(measures, options.runs)
        scores = [_quality(plain, rows, held_out, _ROUNDS) for rows in (ours, theirs)]
        _print_times(name, exact, stock, *scores)


def _time_matrix(way: Way, data: Data) -> tuple[float, xgb.QuantileDMatrix]:
    started = time.perf_counter()
    rows = way.bin(data)
    return time.perf_counter() - started, rows


def _print_metrics(world: World, options: argparse.Namespace) -> None:
    """Time to score all training rows after a round, beside the round itself."""
    print(f"\nTime to score, {options.rows} x {_COLUMNS}, depth {_SPEED['max_depth']}")
    print("\n| objective | metrics | round, ms | margins, ms | metrics, ms | metrics: share of the round |")
    print("|---|---|---|---|---|---|")
    for objective, lists in _SCORED.items():
        train, _ = _large(objective, options)
        parameters = {**_SPEED, "objective": objective}
        way = Exact(world, parameters, options.threads)
        rows = way.bin(train)
        boost = way.start(rows)
        for iteration in range(_ROUNDS):
            boost(iteration)
        for metrics in lists:
            scored = Rows(train.label)
            evaluator = Evaluator.of(world, metrics, objective, parameters, scored, options.threads)
            times = [_time_metrics(boost, rows, evaluator) for _ in range(options.runs + 1)][1:]
            turn, margins, values = (1000 * statistics.median(each) for each in zip(*times, strict=True))
            cells = f"{turn:.1f} | {margins:.2f} | {values:.2f} | {values / turn:.1%}"
            print(f"| {objective} | {', '.join(metrics)} | {cells} |", flush=True)


def _time_metrics(
    boost: Boost, rows: xgb.QuantileDMatrix, evaluator: Evaluator
) -> tuple[float, float, float]:
    """Seconds of a round, of reading the margins that XGBoost keeps, and of the metrics."""
    times = [time.perf_counter()]
    booster = boost(_ROUNDS)
    times.append(time.perf_counter())
    margin = booster.predict(rows, output_margin=True)
    times.append(time.perf_counter())
    evaluator.values(margin)
    times.append(time.perf_counter())
    turn, margins, values = np.diff(times).tolist()
    return turn, margins, values


def _alternate[T](measures: Sequence[Callable[[], tuple[float, T]]], runs: int) -> list[tuple[float, T]]:
    """The median time and the last result of each; which one begins changes with every turn."""
    times: list[list[float]] = [[] for _ in measures]
    last: dict[int, T] = {}
    for turn in range(runs):
        for step in range(len(measures)):
            place = (turn + step) % len(measures)
            seconds, last[place] = measures[place]()
            times[place].append(seconds)
    return [(statistics.median(seconds), last[place]) for place, seconds in enumerate(times)]


def _print_head() -> None:
    print(
        "\n| | treering, s | XGBoost, s | ratio | held-out: treering | XGBoost |\n|---|---|---|---|---|---|"
    )


def _print_times(name: str, exact: float, plain: float, ours: float, theirs: float) -> None:
    print(
        f"| {name} | {exact:.4f} | {plain:.4f} | {exact / plain:.2f} | {ours:.5f} | {theirs:.5f} |",
        flush=True,
    )


def _large(objective: str, options: argparse.Namespace) -> tuple[Data, Data]:
    """Many rows of a task with interactions and noise, and held-out ones."""
    random = np.random.default_rng(options.seed)
    features = random.standard_normal((options.rows + _HELD_OUT, _COLUMNS), np.float32)
    first, second, third, fourth = features.T[:4]
    label = first * second + np.abs(third) - np.maximum(fourth, 0)
    label += random.standard_normal(label.size, np.float32)
    if objective == "binary:logistic":
        label = (label > 0).astype(np.float32)
    train = np.asfortranarray(features[: options.rows])
    return Data(train, label[: options.rows]), Data(features[options.rows :], label[options.rows :])


def _split(data: Data, seed: int) -> tuple[Data, Data]:
    """Seven tenths to train on, the rest to look at."""
    order = np.random.default_rng(seed).permutation(data.label.size)
    train, held_out = (data.take(part) for part in np.split(order, [order.size * 7 // 10]))
    return train._replace(features=np.asfortranarray(train.features)), held_out


def _friedman(seed: int) -> Data:
    return _data(*datasets.make_friedman1(3000, noise=1, random_state=seed))


def _abalone(_: int) -> Data:
    files = sorted(map(str, _ABALONE.glob("*/abalone.*")))
    parts = [datasets.load_svmlight_file(file, n_features=9, zero_based=True) for file in files]
    return _data(
        np.vstack([part[0].toarray() for part in parts]), np.concatenate([part[1] for part in parts])
    )


def _data(features: Any, label: Any) -> Data:
    return Data(features.astype(np.float32), label.astype(np.float32))


_SETS: Final[Mapping[str, tuple[Callable[[int], Data], Mapping[str, Any]]]] = {
    "friedman1": (_friedman, {"objective": "reg:squarederror"}),
    "diabetes": (
        lambda _: _data(*datasets.load_diabetes(return_X_y=True)),
        {"objective": "reg:gamma"},
    ),
    "abalone": (_abalone, {"objective": "count:poisson"}),
    "breast cancer": (
        lambda _: _data(*datasets.load_breast_cancer(return_X_y=True)),
        {"objective": "binary:logistic"},
    ),
    "digits": (
        lambda _: _data(*datasets.load_digits(return_X_y=True)),
        {"objective": "multi:softprob", "num_class": 10},
    ),
}


if __name__ == "__main__":
    main()
