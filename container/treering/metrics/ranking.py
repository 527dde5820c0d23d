"""Metrics of ranked documents: the weighted mean over queries.

Source: XGBoost 3.4.1, ``src/metric/rank_metric.cc``, ``auc.cc`` and ``src/common/ranking_utils.h``. With
documents of a query in the order of their scores, ties as the rows stand, and n = min(k, documents):

ndcg@k
    Sum of gain / log2(1 + place) over the first n, divided by the largest possible; the gain of relevance
    r is 2^r - 1, or r with ndcg_exp_gain=false. 1 for a query whose documents all have gain 0, or 0 with a
    trailing minus.
map@k
    Sum over relevant documents among the first n of the share of relevant ones up to there, divided by
    min(k, relevant documents). 1 for a query without any, or 0 with a trailing minus.
pre@k
    Share of relevant documents among the first n.
auc
    Share of the pairs of documents whose order by score is that by relevance, ties of scores counting
    half. XGBoost counts pairs of equal relevance too, as if the first row were the more relevant; so does
    this. Queries of less than 3 documents are left out.
aucpr
    As `treering.metrics.curves` defines it, for each query with both relevant and other documents.

Without @k, k is 32, as in XGBoost. The weight of a query is that of its first row; XGBoost 3.4.1 gives
weight 1 in ndcg to queries whose documents all have gain 0, and here they keep their own. In auc and aucpr
all queries with a weight above 0 count alike, as in XGBoost (where one without any has auc 0).

Without queries, all rows of all ranks are one. Rows with equal scores are then ranked by rising relevance,
since they have no order of their own.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from treering.metrics import curves, sums
from treering.metrics.queries import Queries

if TYPE_CHECKING:
    from collections.abc import Callable

    from treering.metrics.names import Name
    from treering.metrics.queries import Doubles, Integers
    from treering.metrics.rows import Data, Floats

_CUT: Final = 32
_FRACTION: Final = 1 << 24  # of relevances between 0 and 1: float32 knows no finer ones near 1
_FEWEST: Final = 3  # documents for auc


@dataclasses.dataclass(frozen=True, slots=True)
class Ranked:
    """Documents of some queries in the order of their scores.

    Parameters
    ----------
    queries
        The first documents of each at least, with their relevance in this order.
    sizes, relevant
        Number of documents, and sum of relevances, of each whole query.
    """

    queries: Queries
    sizes: Integers
    relevant: Doubles


def gains(label: Floats, *, exponential: bool) -> Doubles:
    """What a document of each relevance counts."""
    relevance = label.astype(np.float64)
    return np.ldexp(1.0, relevance.astype(np.int32)) - 1 if exponential else relevance


def discounted(queries: Queries, gain: Doubles, cut: int) -> Doubles:
    """Sum of each query's first gains, discounted by place."""
    positions = queries.positions
    largest = min(cut, int(queries.sizes.max(initial=0)))
    discounts = np.array([1 / math.log2(place + 2) for place in range(largest)] + [0.0])
    return queries.sum(gain * discounts[np.minimum(positions, largest)])


def ndcg(
    ranked: Ranked, cut: int, gain: Callable[[Floats], Doubles], ideal: Doubles, *, empty: float
) -> Doubles:
    """Of each query, whose `ideal` is what `discounted` gives at best."""
    reached = discounted(ranked.queries, gain(ranked.queries.label), cut)
    return np.divide(reached, ideal, out=np.full_like(reached, empty), where=ideal > 0)


def average_precision(ranked: Ranked, cut: int, *, empty: float) -> Doubles:
    """Of each query."""
    queries = ranked.queries
    label = queries.label.astype(np.float64)
    hits = np.cumsum(label)
    hits -= np.repeat((hits - label)[queries.starts[:-1]], queries.sizes)
    positions = queries.positions
    found = queries.sum(np.where(positions < cut, label * hits / (positions + 1), 0))
    possible = np.minimum(ranked.relevant, cut)
    return np.divide(found, possible, out=np.full_like(found, empty), where=possible > 0)


def precision(ranked: Ranked, cut: int) -> Doubles:
    """Of each query."""
    queries = ranked.queries
    label = queries.label.astype(np.float64)
    return queries.sum(np.where(queries.positions < cut, label, 0)) / np.minimum(ranked.sizes, cut)


class Documents:
    """The documents of one channel, prepared once for all its metrics.

    Parameters
    ----------
    data
        Rows of all ranks.
    """

    def __init__(self, data: Data) -> None:
        """Find queries and their weights; collective."""
        self.data = data
        self.queries = Queries.of(data.rows.label, data.rows.group)
        weight = data.rows.weight
        first = self.queries.starts[:-1]
        self.weight = np.ones(first.size) if weight is None else weight[first].astype(np.float64)
        self.total_weight = data.sum(self.weight)
        self.relevant = data.sum(data.rows.label.astype(np.float64))

    def ranked(self, margin: Floats) -> Ranked:
        """By this rank's margins, query by query."""
        label = self.queries.label[self.queries.order(margin)]
        queries = Queries(self.queries.starts, label)
        return Ranked(queries, queries.sizes, queries.sum(label.astype(np.float64)))

    def first(self, score: Floats, cut: int) -> Ranked:
        """The `cut` rows of all ranks with the highest scores, of equal ones the least relevant; collective."""
        label = self.data.rows.label
        for together in (False, True):
            order = np.lexsort((label, -score))[:cut]
            score, label = score[order], label[order]
            if not together:
                score, label = (
                    np.concatenate(self.data.world.allgather_arrays(each)) for each in (score, label)
                )
        one = Queries.of(label, np.zeros(label.size, np.int64))
        return Ranked(one, np.array([self.data.count]), np.array([self.relevant]))

    def mean(self, values: Doubles, weight: Doubles, total: float) -> float:
        """Of all ranks' queries; NaN without weight; collective."""
        if not total:
            return math.nan
        (found,) = sums.totals(self.data.world, self.data.blocks, [values * weight])
        return found / total


class TopDocuments:
    """ndcg, map or pre.

    Parameters
    ----------
    documents
        What they are computed of.
    name
        The metric, its cut and its trailing minus.
    exponential
        Whether a relevance r counts 2^r - 1 in ndcg.
    """

    def __init__(self, documents: Documents, name: Name, *, exponential: bool) -> None:
        """Find what is ideal; collective."""
        self._documents = documents
        self._cut = cut = _CUT if name.number is None else int(name.number)
        empty = 0.0 if name.minus else 1.0
        self._score: Callable[[Ranked], Doubles] = functools.partial(precision, cut=cut)
        if name.base == "map":
            self._score = functools.partial(average_precision, cut=cut, empty=empty)
        if name.base == "ndcg":
            gain = functools.partial(gains, exponential=exponential)
            label = documents.data.rows.label
            best = documents.ranked(label) if documents.data.grouped else documents.first(label, cut)
            ideal = discounted(best.queries, gain(best.queries.label), cut)
            self._score = functools.partial(ndcg, cut=cut, gain=gain, ideal=ideal, empty=empty)

    def value(self, margin: Floats, ranked: Callable[[], Ranked]) -> float:
        """Of this rank's margins, shape (rows,), and their `Documents.ranked`; collective."""
        documents = self._documents
        if documents.data.grouped:
            return documents.mean(self._score(ranked()), documents.weight, documents.total_weight)
        found = self._score(documents.first(margin, self._cut))
        return float(found[0]) if found.size else math.nan


class PairOrder:
    """auc of each query's documents, and their mean."""

    def __init__(self, documents: Documents) -> None:
        """Order documents by relevance; collective."""
        self._documents = documents
        queries = documents.queries
        self._by_relevance = queries.order(queries.label)
        self._counts = ((queries.sizes >= _FEWEST) & (documents.weight > 0)).astype(np.float64)
        self._pairs = (queries.sizes * (queries.sizes - 1) // 2).astype(np.float64)
        self._total = documents.data.sum(self._counts)

    def value(self, margin: Floats) -> float:
        """Of this rank's margins, shape (rows,); NaN when no query counts; collective."""
        queries = self._documents.queries
        level = dense_ranks(queries, margin)
        right = 2 * falling_pairs(queries, level[self._by_relevance]) + equal_pairs(queries, level)
        scores = np.divide(right, 2 * self._pairs, out=np.zeros(queries.count), where=self._counts > 0)
        return self._documents.mean(scores, self._counts, self._total)


def dense_ranks(queries: Queries, score: Floats) -> Integers:
    """Of each row, how many different lower scores there are in its query."""
    order = queries.order(-score)
    ordered = score[order]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: order.size]
    new[queries.starts[:-1]] = False
    level = np.cumsum(new)
    ranks = np.empty(order.size, np.int64)
    ranks[order] = level - queries.spread(level[queries.starts[:-1]])
    return ranks


def equal_pairs(queries: Queries, level: Integers) -> Doubles:
    """Of each query, the number of pairs with equal levels."""
    width = int(queries.sizes.max(initial=1))
    _, first, count = np.unique(
        queries.spread(np.arange(queries.count)) * width + level, return_index=True, return_counts=True
    )
    pairs = np.zeros(level.size)
    pairs[first] = count * (count - 1) // 2
    return queries.sum(pairs)


def falling_pairs(queries: Queries, level: Integers) -> Doubles:
    """Of each query, the number of pairs in which the first level is the higher one.

    Bit by bit from the highest: rows that agree in all higher bits stand together in their first order,
    so a 0 counts the 1s before it. Then 0s go before 1s.
    """
    start, end = queries.spread(queries.starts[:-1]), queries.spread(queries.starts[1:])
    pairs = np.zeros(queries.count)
    for bit in reversed(range(int(level.max(initial=0)).bit_length())):
        is_one = (level >> bit) & 1
        ones = np.concatenate([[0], np.cumsum(is_one)])
        before = ones[:-1] - ones[start]
        pairs += queries.sum(np.where(is_one, 0, before).astype(np.float64))
        border = end - (ones[end] - ones[start])
        place = np.where(is_one, border + before, np.arange(level.size) - before)
        moved = np.empty((3, level.size), np.int64)
        moved[:, place] = level, np.where(is_one, border, start), np.where(is_one, end, border)
        level, start, end = moved
    return pairs


class PrecisionRecall:
    """aucpr of each query's documents, and their mean."""

    def __init__(self, documents: Documents) -> None:
        """Find which queries count; collective."""
        self._documents = documents
        queries = documents.queries
        units = np.rint(queries.label.astype(np.float64) * _FRACTION)
        self._total = queries.sum(units)
        self._units = units
        both = (self._total > 0) & (self._total < _FRACTION * queries.sizes)
        counts = both & (documents.weight > 0)
        self._counts = counts.astype(np.float64)
        self._all = documents.data.sum(self._counts)

    def value(self, margin: Floats) -> float:
        """Of this rank's margins, shape (rows,); NaN when no query counts; collective."""
        queries = self._documents.queries
        order = queries.order(margin)
        score, positive = margin[order], np.cumsum(self._units[order])
        last = np.concatenate([score[1:] != score[:-1], np.ones(1, np.bool_)])[: order.size]
        last[queries.starts[1:] - 1] = True
        places = np.flatnonzero(last)
        query = queries.spread(np.arange(queries.count))[places]
        start = np.concatenate([[0], places[:-1] + 1])[: places.size]
        # Of each score: relevant and other documents with higher ones in the query, and with its own.
        until, first = np.concatenate([[0], positive]), queries.starts[query]
        before, after = until[start] - until[first], until[places + 1] - until[first]
        wrong, wrong_after = _FRACTION * (start - first) - before, _FRACTION * (places + 1 - first) - after
        total = np.where(self._counts[query] > 0, self._total[query], 1)
        areas = np.zeros(order.size)
        areas[places] = curves.recall_area(before, after, wrong, wrong_after, total)
        found = np.where(self._counts > 0, queries.sum(areas), 0)
        return self._documents.mean(found, self._counts, self._all)
