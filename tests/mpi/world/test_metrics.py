"""`treering.metrics` over real ranks: the floats that one rank alone computes from all rows."""

from __future__ import annotations

import numpy as np
import pytest
from metric_cases import Case, deal, draw, metrics_of
from mpi4py import MPI

from treering import tasks
from treering.metrics import Evaluator
from treering.world import World


def _values(world: World, case: Case, names: list[str], threads: int) -> list[float]:
    evaluator = Evaluator.of(world, names, case.objective, case.parameters, case.rows, threads)
    return evaluator.values(case.margin)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("objective", tasks.OBJECTIVES)
def test_a_division_changes_no_bit(
    world: World, random: np.random.Generator, objective: str, weighted: bool
) -> None:
    """However rows are dealt, also by label or all to one rank, every metric has one rank's bits."""
    names = metrics_of(objective)
    case = draw(random, objective, 700, weighted=weighted)
    expected = _values(World(MPI.COMM_SELF), case, names, 1)
    for _ in range(3):
        mine = case.take(np.flatnonzero(deal(random, case.rows, world.size) == world.rank))
        found = _values(world, mine, names, 1 + world.rank % 2)
        assert np.array(found).tobytes() == np.array(expected).tobytes()


def test_label_sorted_shards(world: World, random: np.random.Generator) -> None:
    """Ranks with a single class each have XGBoost's number of all rows, where XGBoost itself has NaN."""
    case = draw(random, "binary:logistic", 5000)
    owner = np.argsort(np.argsort(case.rows.label, kind="stable")) * world.size // 5000
    mine = case.take(np.flatnonzero(owner == world.rank))
    names = ["auc", "aucpr", "logloss", "error@0.3"]
    assert _values(world, mine, names, 1) == pytest.approx(case.xgboost(*names), rel=1e-5)


def test_rows_enough_for_threads(world: World, random: np.random.Generator) -> None:
    """With more rows than one thread takes, nothing changes either."""
    case = draw(random, "binary:logistic", 300_000, weighted=True)
    names = ["auc", "aucpr", "logloss", "accuracy", "ams@0.2"]
    expected = _values(World(MPI.COMM_SELF), case, names, 1)
    mine = case.take(np.flatnonzero(deal(random, case.rows, world.size) == world.rank))
    for threads in (1, 2, 3):
        assert _values(world, mine, names, threads) == expected


def test_ranks_without_rows_need_not_know_the_columns(world: World, random: np.random.Generator) -> None:
    """Only the first rank has rows, weights and queries."""
    for objective in ("reg:squarederror", "rank:ndcg"):
        case = draw(random, objective, 200, weighted=True)
        names = metrics_of(objective)
        expected = _values(World(MPI.COMM_SELF), case, names, 1)
        mine = case.take(np.flatnonzero(np.full(200, world.rank == 0)))
        if world.rank:
            empty = mine.rows.label
            mine = Case(objective, mine.margin, type(mine.rows)(empty), case.parameters)
        found = _values(world, mine, names, 1)
        assert np.array(found).tobytes() == np.array(expected).tobytes()
