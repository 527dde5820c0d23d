"""`treering.metrics`: not a bit depends on ranks, threads, the dealing or the order of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from metric_cases import draw, metrics_of

from treering import tasks
from treering.metrics import losses, predictions
from treering.metrics.predictions import Block

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from unit.metrics.conftest import Evaluate

    from treering.metrics.losses import Loss


_LOSSES: dict[str, list[Loss]] = {
    "binary:logistic": [
        losses.likelihood,
        losses.likelihood_of_classes,
        losses.squared_log,
        losses.misclassified(0.3),
    ],
    "multi:softprob": [losses.cross_entropy, losses.misplaced],
    "reg:gamma": [losses.gamma, losses.gamma_deviance, losses.poisson, losses.tweedie(1.3)],
    "reg:expectileerror": [losses.expectile([0.1, 0.2, 0.5, 0.9])],
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("objective", tasks.OBJECTIVES)
def test_bits(random: np.random.Generator, evaluate: Evaluate, objective: str, weighted: bool) -> None:
    """The same rows, dealt to 1, 2, 3 and 5 ranks and shuffled, give the same floats."""
    case = draw(random, objective, 600, weighted=weighted)
    names = metrics_of(objective)
    expected = np.array(evaluate(case, names, 1)).view(np.int64)
    for size in (1, 2, 3, 5):
        shuffled = random.permutation(600)
        if case.rows.group is not None:  # within a query, rows keep their order
            queries = random.permutation(np.unique(case.rows.group))
            shuffled = np.concatenate([np.flatnonzero(case.rows.group == query) for query in queries])
        found = np.array(evaluate(case.take(shuffled), names, size)).view(np.int64)
        different = [name for name, one, other in zip(names, found, expected, strict=True) if one != other]
        assert not different, size


@pytest.mark.parametrize(
    "objective", ["binary:logistic", "multi:softprob", "reg:gamma", "reg:expectileerror"]
)
def test_rows_have_the_same_bits_anywhere(random: np.random.Generator, objective: str) -> None:
    """Predictions and losses of a row do not depend on where in a block it stands."""
    case = draw(random, objective, 60)
    of = _LOSSES[objective]
    transform = predictions.transform(objective)

    def computed(which: NDArray[np.int64]) -> NDArray[np.uint32]:
        taken = case.take(which)
        with np.errstate(all="ignore"):
            block = Block(transform, taken.rows, taken.margin, slice(0, taken.rows.label.size), raw=False)
            return np.array([loss(block) for loss in of], np.float32).view(np.uint32)

    alone = np.concatenate([computed(np.array([row])) for row in range(60)], axis=1)
    for rows in (2, 7, 33, 1001):
        chosen = random.integers(0, 60, rows)
        np.testing.assert_array_equal(computed(chosen), alone[:, chosen])


def test_one_logarithm_is_as_good_as_two(random: np.random.Generator) -> None:
    """Ranks may take the short way or, for labels between 0 and 1 elsewhere on them, the long one: no bit differs."""
    case = draw(random, "binary:logistic", 5000)
    transform = predictions.transform(case.objective)
    block = Block(transform, case.rows, case.margin, slice(0, 5000), raw=False)
    short, long = losses.likelihood_of_classes(block), losses.likelihood(block)
    np.testing.assert_array_equal(short, long)
