"""`treering.metrics.ranking`: pairs counted one by one, and all rows as one query."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from metric_cases import draw
from sklearn import metrics

from treering.metrics import ranking
from treering.metrics.queries import Queries

if TYPE_CHECKING:
    from unit.metrics.conftest import Evaluate


def test_pairs(random: np.random.Generator) -> None:
    """Falling and equal pairs of each query are those that a loop over all pairs finds."""
    group = np.repeat(np.arange(30), random.integers(1, 12, 30))
    score = random.integers(-4, 5, group.size).astype(np.float32)
    queries = Queries.of(score, group)
    level = ranking.dense_ranks(queries, score)
    falling, equal = ranking.falling_pairs(queries, level), ranking.equal_pairs(queries, level)
    for number, (start, end) in enumerate(itertools.pairwise(queries.starts)):
        pairs = list(itertools.combinations(score[start:end], 2))
        assert falling[number] == sum(first > second for first, second in pairs)
        assert equal[number] == sum(first == second for first, second in pairs)


def test_order_within_queries(random: np.random.Generator) -> None:
    """Query by query, highest score first, ties as the rows stand; also when queries do not fit in one integer."""
    for sizes in ([5, 1, 9, 3], [1, 2**17], [1] * 70_000 + [40_000]):
        group = np.repeat(np.arange(len(sizes)), sizes)
        score = np.round(random.standard_normal(group.size), 1).astype(np.float32)
        expected = np.lexsort((np.arange(group.size), -score, group))
        np.testing.assert_array_equal(Queries.of(score, group).order(score), expected)


def test_no_queries(random: np.random.Generator, evaluate: Evaluate) -> None:
    """All rows of all ranks are one query; scores without ties have XGBoost's value."""
    names = ["ndcg", "ndcg@5", "ndcg@100000", "map@50", "map", "pre@7", "pre@100000", "map-"]
    case = draw(random, "binary:logistic", 500)
    case = dataclasses.replace(case, margin=(random.permutation(500) / 100).astype(np.float32))
    found = evaluate(case, names)
    assert found == pytest.approx(case.xgboost(*names), rel=1e-6)
    tied = dataclasses.replace(case, margin=np.round(case.margin))
    assert evaluate(tied, names) == evaluate(tied.take(random.permutation(500)), names)


def test_ndcg_is_scikit_learns(random: np.random.Generator, evaluate: Evaluate) -> None:
    """Of one query after the other, with gains that are the relevances themselves."""
    case = draw(random, "rank:ndcg", 400)
    margin = random.permutation(400).astype(np.float32)
    case = dataclasses.replace(case, margin=margin, parameters={"ndcg_exp_gain": False})
    rows = case.rows
    assert rows.group is not None
    scores = []
    for query in np.unique(rows.group):
        of_query = rows.group == query
        if of_query.sum() > 1:
            scores.append(metrics.ndcg_score([rows.label[of_query]], [margin[of_query]], k=4))
        else:
            scores.append(1.0)
    scores = [
        1.0 if not rows.label[rows.group == query].any() else score
        for query, score in zip(np.unique(rows.group), scores, strict=True)
    ]
    assert evaluate(case, ["ndcg@4"]) == pytest.approx([np.mean(scores)], rel=1e-9)
