"""One way to evaluate for all tests of metrics: rows are dealt to ranks at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest
from metric_cases import deal

from treering.metrics import Evaluator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metric_cases import Case
    from unit.conftest import Ranks

    from treering.world import World


class Evaluate(Protocol):
    """Deals a case to ranks and evaluates there."""

    def __call__(self, case: Case, metrics: Sequence[str], size: int | None = None, /) -> list[float]:
        """The values, after a look that all ranks have the same bits."""


@pytest.fixture
def evaluate(random: np.random.Generator, ranks: Ranks) -> Evaluate:
    """Up to five ranks, of one to three threads each, if not told how many."""

    def on_ranks(case: Case, metrics: Sequence[str], size: int | None = None) -> list[float]:
        size = size or int(random.integers(1, 6))
        owner = deal(random, case.rows, size)
        threads = random.integers(1, 4, size)

        def work(world: World) -> list[float]:
            mine = case.take(np.flatnonzero(owner == world.rank))
            evaluator = Evaluator.of(
                world, metrics, mine.objective, mine.parameters, mine.rows, int(threads[world.rank])
            )
            evaluator.values(mine.margin[::-1])  # no round may leave anything for the next
            return evaluator.values(mine.margin)

        everybody = ranks(size, work)
        bits = [np.array(values).view(np.int64).tolist() for values in everybody]
        assert bits == [bits[0]] * size
        return everybody[0]

    return on_ranks
