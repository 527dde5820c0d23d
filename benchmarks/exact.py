"""What exactness costs: quality, time per round and time to build the matrix, against plain XGBoost.

    make bench-exact
    make bench-exact ARGS="--only quality"

One rank in this process, without a job around it: cuts, matrix, objective and rounds are those of a job, and
XGBoost gets the same arrays and parameters. Runs alternate, and times are medians. The data sets are small
real ones of scikit-learn's and the abalone example, and drawn ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import psutil
import xgboost as xgb
from benchmarks.data import Data
from sklearn import datasets

from treering import cuts, matrix, objectives
from treering.sampling import Sampler
from treering.shard import Piece
from treering.training import Gradients
from treering.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

type Parameters = Mapping[str, Any]

_ABALONE = Path(__file__).parents[1] / "examples" / "abalone"
_SEEDS = 5
_QUALITY_ROUNDS = 60
_QUALITY: Final = {"max_depth": 5, "eta": 0.1}
_SAMPLING: Final = {"subsample": 0.7, "colsample_bytree": 0.7}
_NOISE = 3.75  # standard errors: Student's t with 4 degrees of freedom, one-sided, 99%
_SPEED: Final = {"max_depth": 8, "eta": 0.1}
_COLUMNS = 28
_HELD_OUT = 100_000


def main() -> None:
    """Print the three tables, or one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["quality", "rounds", "matrix"])
    parser.add_argument("--rows", type=int, default=1_000_000, help="for time per round and the matrix")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=7, help="of each, alternating")
    parser.add_argument("--rounds", type=int, default=10, help="in each run for time per round")
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().generate_state(1)[0]))
    options = parser.parse_args()
    world = World()
    print(f"seed {options.seed}, {psutil.cpu_count()} cores, {options.threads} threads")
    if options.only in {None, "quality"}:
        _print_quality(world, options)
    if options.only in {None, "rounds"}:
        _print_rounds(world, options)
    if options.only in {None, "matrix"}:
        _print_matrix(world, options)
    world.leave()


class Exact(NamedTuple):
    """treering's way to train on one rank."""

    world: World
    parameters: Parameters

    def matrix(self, data: Data) -> xgb.QuantileDMatrix:
        """Exact cuts, the small matrix that has them, and the rows binned by it."""
        max_bin, threads = self.parameters["max_bin"], self.parameters["nthread"]
        found = cuts.global_cuts(self.world, data.features, max_bin, threads=threads)
        bins = matrix.reference(found, max_bin, threads)
        return xgb.QuantileDMatrix(data.features, data.label, max_bin=max_bin, nthread=threads, ref=bins)

    def start(self, rows: xgb.QuantileDMatrix) -> Callable[[int], xgb.Booster]:
        """A new model, and the function that adds a round to it."""
        parameters = dict(self.parameters)
        label, threads = rows.get_label(), parameters["nthread"]
        objective = objectives.make(parameters["objective"], parameters, self.world, label, threads=threads)
        parameters["base_score"] = objective.base_score()
        fraction = parameters.pop("subsample", 1.0)
        sampler = Sampler(parameters["seed"], fraction, [Piece(0, 0, label.size)]) if fraction < 1 else None
        gradients = Gradients(objective, sampler)
        booster = xgb.Booster(parameters, [rows])

        def boost(iteration: int) -> xgb.Booster:
            margin = booster.predict(rows, output_margin=True, training=True)
            gradient, hessian = gradients.at(margin, iteration)
            booster.boost(rows, iteration, grad=gradient, hess=hessian)
            return booster

        return boost


class Plain(NamedTuple):
    """XGBoost's own way."""

    parameters: Parameters

    def matrix(self, data: Data) -> xgb.QuantileDMatrix:
        """XGBoost's sketch and its bins."""
        max_bin, threads = self.parameters["max_bin"], self.parameters["nthread"]
        return xgb.QuantileDMatrix(data.features, data.label, max_bin=max_bin, nthread=threads)

    def start(self, rows: xgb.QuantileDMatrix) -> Callable[[int], xgb.Booster]:
        """A new model, and the function that adds a round to it."""
        booster = xgb.Booster(dict(self.parameters), [rows])

        def boost(iteration: int) -> xgb.Booster:
            booster.update(rows, iteration)
            return booster

        return boost


def _both(world: World, parameters: Parameters) -> tuple[Exact, Plain]:
    return Exact(world, parameters), Plain(parameters)


def _train(way: Exact | Plain, data: Data, rounds: int) -> xgb.Booster:
    boost = way.start(way.matrix(data))
    return [boost(iteration) for iteration in range(rounds)][-1]


def _score(booster: xgb.Booster, held_out: Data) -> float:
    """The objective's own metric; lower is better in all that are used here."""
    return float(booster.eval(xgb.DMatrix(held_out.features, held_out.label)).rpartition(":")[2])


def _print_quality(world: World, options: argparse.Namespace) -> None:
    """Held-out quality on every data set, over several seeds that draw the split and the samples."""
    seeds = np.random.SeedSequence(options.seed).generate_state(_SEEDS).tolist()
    print(f"\nHeld-out quality, {_QUALITY_ROUNDS} rounds, seeds {', '.join(map(str, seeds))}\n")
    print("| data | rows | objective | sampling | treering | XGBoost | difference | |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (load, more) in _SETS.items():
        for sampling in ({}, _SAMPLING):
            parameters = {**_QUALITY, "max_bin": 256, "nthread": options.threads, **more, **sampling}
            scores, rows = [], 0
            for seed in seeds:
                data, held_out = _split(load(seed), seed)
                rows = data.label.size
                ways = _both(world, {**parameters, "seed": seed})
                scores.append([_score(_train(way, data, _QUALITY_ROUNDS), held_out) for way in ways])
            exact, plain = np.array(scores).T
            difference, error = _mean_and_error(exact - plain)
            cells = (
                name,
                str(rows),
                more["objective"],
                "rows, columns 0.7" if sampling else "",
                f"{exact.mean():.4f} ± {exact.std(ddof=1):.4f}",
                f"{plain.mean():.4f} ± {plain.std(ddof=1):.4f}",
                f"{difference:+.5f} ± {error:.5f}",
                "worse" if difference > _NOISE * error else "no worse",
            )
            print("|", " | ".join(cells), "|", flush=True)


def _mean_and_error(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))


def _split(data: Data, seed: int) -> tuple[Data, Data]:
    """Seven tenths to train on, the rest to look at."""
    order = np.random.default_rng(seed).permutation(data.label.size)
    parts = np.split(order, [order.size * 7 // 10])
    train, held_out = (Data(np.asfortranarray(data.features[part]), data.label[part]) for part in parts)
    return train, held_out


def _friedman(seed: int) -> Data:
    return _as_data(datasets.make_friedman1(3000, noise=1, random_state=seed))


def _abalone(_: int) -> Data:
    files = sorted(map(str, _ABALONE.glob("*/abalone.*")))
    parts = [datasets.load_svmlight_file(file, n_features=9, zero_based=True) for file in files]
    features = np.concatenate([part[0].toarray() for part in parts])
    return _as_data((features, np.concatenate([part[1] for part in parts])))


def _as_data(pair: tuple[Any, Any]) -> Data:
    return Data(pair[0].astype(np.float32), pair[1].astype(np.float32))


_SETS: Final[Mapping[str, tuple[Callable[[int], Data], Parameters]]] = {
    "friedman1, drawn": (_friedman, {"objective": "reg:squarederror"}),
    "diabetes": (
        lambda _: _as_data(datasets.load_diabetes(return_X_y=True)),
        {"objective": "reg:pseudohubererror", "huber_slope": 50},
    ),
    "abalone": (_abalone, {"objective": "count:poisson"}),
    "breast cancer": (
        lambda _: _as_data(datasets.load_breast_cancer(return_X_y=True)),
        {"objective": "binary:logistic"},
    ),
    "digits": (
        lambda _: _as_data(datasets.load_digits(return_X_y=True)),
        {"objective": "multi:softprob", "num_class": 10},
    ),
}


def _large(objective: str, options: argparse.Namespace) -> tuple[Data, Data]:
    """Many rows of a task with interactions and noise, and held-out ones."""
    random = np.random.default_rng(options.seed)
    rows = options.rows + _HELD_OUT
    features = np.asfortranarray(random.standard_normal((rows, _COLUMNS), np.float32))
    first, second, third, fourth = features[:, :4].T
    signal = first * second + np.abs(third) - np.maximum(fourth, 0) + random.standard_normal(rows, np.float32)
    label = signal if objective == "reg:squarederror" else (signal > 0).astype(np.float32)
    cut = options.rows
    return Data(np.asfortranarray(features[:cut]), label[:cut]), Data(features[cut:], label[cut:])


def _alternate[T](runs: int, ways: tuple[T, ...], run: Callable[[T], float]) -> list[list[float]]:
    """What `run` gives for each way, in turns that begin with another one each time."""
    found: list[list[float]] = [[] for _ in ways]
    for turn in range(runs):
        for step in range(len(ways)):
            place = (turn + step) % len(ways)
            found[place].append(run(ways[place]))
    return found


def _print_rounds(world: World, options: argparse.Namespace) -> None:
    """Time per round, without the first one, which sets things up."""
    print(f"\nSeconds a round, {options.rows} x {_COLUMNS}, depth {_SPEED['max_depth']}, ", end="")
    print(f"medians of {options.runs} runs of {options.rounds} rounds\n")
    print("| objective | treering | XGBoost | ratio | held-out: treering | XGBoost |\n|---|---|---|---|---|---|")
    for objective in _LARGE_OBJECTIVES:
        data, held_out = _large(objective, options)
        ways = _both(world, _SPEED | {"objective": objective, "nthread": options.threads})
        runs = [_Rounds(way, way.matrix(data), options.rounds) for way in ways]
        _print_times(objective, [each.measure for each in runs], options.runs, lambda: [
            _score(run.booster, held_out) for run in runs
        ])


def _print_matrix(world: World, options: argparse.Namespace) -> None:
    """Time from rows to bins; the quality is that of XGBoost's own rounds on them."""
    print(f"\nSeconds to build the matrix, {options.rows} x {_COLUMNS}, medians of {options.runs} runs\n")


if __name__ == "__main__":
    main()
