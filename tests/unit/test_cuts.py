"""`treering.cuts`: exact for any data, equal for any layout, and taken over by XGBoost bit for bit."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xgboost as xgb
from scipy import sparse

from treering import cuts
from treering.errors import TreeringError, UserError
from treering.world import World

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from unit.conftest import Ranks

    type Floats = NDArray[np.float32]


def _columns(random: np.random.Generator, rows: int) -> Floats:
    """Every kind of column that needs care; shape (rows, columns)."""
    normal = random.standard_normal(rows)
    kinds = [
        normal,
        np.exp(5 * normal),
        np.sign(normal) * 10.0 ** random.uniform(-44, 38, rows),  # all of float32's range
        normal * 1e-42,  # subnormal numbers
        random.integers(-3, 4, rows),  # fewer values than bins
        random.integers(0, 300, rows),  # more values than most numbers of bins
        np.where(random.random(rows) < 0.97, 0.0, normal),  # one value nearly always
        np.where(normal < 0, -0.0, 0.0),
        np.where(random.random(rows) < 0.5, np.copysign(0.0, normal), normal),
        np.full(rows, 7.5),
        np.full(rows, np.nan),
        np.sort(normal),  # shards with nothing in common
        -np.sort(random.integers(0, 40, rows)),
    ]
    matrix = np.array(kinds, np.float32).T
    matrix[random.random(matrix.shape) < random.choice([0, 0.3])] = np.nan
    return np.asfortranarray(matrix)


def _expected(column: Floats, max_bin: int) -> Floats:
    """The definition of a column's anchors, without any regard to speed or ranks."""
    values = np.sort(column[~np.isnan(column)])
    different = np.unique(values)
    if different.size > max_bin:
        inner = [values[i * values.size // max_bin] for i in range(1, max_bin)]
        different = np.unique([values[0], *inner, values[-1]])
    return different + np.float32(0)


def _split(random: np.random.Generator, rows: int, size: int) -> list[slice]:
    """Slices of a random, often very uneven, division; some are empty."""
    ends = [0, *sorted(random.choice([0, rows, *random.integers(0, rows + 1, 5)], size - 1)), rows]
    return [slice(start, stop) for start, stop in itertools.pairwise(ends)]


def _assert_same(found: cuts.Cuts, expected: list[Floats]) -> None:
    for column, (got, wanted) in enumerate(zip(found.anchors, expected, strict=True)):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got.view(np.uint32), wanted.view(np.uint32), f"column {column}")


def test_one_rank_finds_the_definition(random: np.random.Generator) -> None:
    """Any column, any number of bins: exactly the values that sorting the whole column gives."""
    for max_bin in (2, 3, 16, 256, int(random.integers(4, 500))):
        features = _columns(random, int(random.integers(1, 3000)))
        found = cuts.global_cuts(World(), features, max_bin, threads=2)
        _assert_same(found, [_expected(column, max_bin) for column in features.T])


def test_no_layout_of_the_rows_changes_anything(ranks: Ranks, random: np.random.Generator) -> None:
    """Other divisions, another order, dense or sparse on a rank: the same bits on every rank."""
    max_bin = int(random.integers(2, 64))
    whole = _columns(random, 2000)
    expected = [_expected(column, max_bin) for column in whole.T]
    for size in (1, 2, 3, 5):
        shuffled = whole[random.permutation(len(whole))] if random.random() < 0.5 else whole
        parts = [np.asfortranarray(shuffled[rows]) for rows in _split(random, len(whole), size)]
        for found in ranks(size, functools.partial(_cuts_of, parts=parts, max_bin=max_bin)):
            _assert_same(found, expected)


def _cuts_of(world: World, parts: list[Floats], max_bin: int) -> cuts.Cuts:
    mine = parts[world.rank]
    return cuts.global_cuts(world, _to_sparse(mine) if world.rank % 2 else mine, max_bin)


def _to_sparse(dense: Floats) -> sparse.csr_array:
    """CSR whose absent entries are the missing ones, and whose zeros are explicit."""
    rows, columns = np.nonzero(~np.isnan(dense))
    values = dense[rows, columns]
    return sparse.csr_array((values, (rows, columns)), shape=dense.shape)


def test_columns_come_in_blocks(ranks: Ranks, random: np.random.Generator) -> None:
    """With memory for a column or two at a time, on one rank alone, the result is the same."""
    whole = _columns(random, 1000)
    expected = [_expected(column, 32) for column in whole.T]
    dense = ranks(2, lambda world: _few_at_a_time(world, whole))
    turned = ranks(2, lambda world: _few_at_a_time(world, _to_sparse(whole)))
    for found in (*dense, *turned):
        _assert_same(found, expected)


def _few_at_a_time(world: World, whole: NDArray[np.float32] | sparse.csr_array) -> cuts.Cuts:
    values = 1500 if world.rank else cuts.BLOCK_VALUES
    return cuts.global_cuts(world, whole[world.rank :: 2], 32, threads=2, values_at_once=values)


def test_the_caller_hears_of_columns(random: np.random.Generator) -> None:
    """More and more of them, up to all."""
    whole, heard = _columns(random, 1000), list[int]()
    cuts.global_cuts(World(), whole, 32, values_at_once=1500, told=heard.append)
    assert heard == sorted(set(heard))
    assert len(heard) > 1
    assert heard[-1] == whole.shape[1]


def test_bins_hold_equally_many_rows(random: np.random.Generator) -> None:
    """A column without ties is divided as evenly as whole rows allow."""
    column = random.permutation(10_007).astype(np.float32).reshape(-1, 1)
    found = cuts.global_cuts(World(), column, 100)
    assert found.anchors[0].size == 101
    sizes = np.histogram(column, found.anchors[0])[0]
    assert set(sizes[:-1]) <= {100, 101}


def test_xgboost_takes_over_the_cuts(random: np.random.Generator) -> None:
    """``QuantileDMatrix(ref=...)`` has these cuts exactly, for every kind of column, dense or sparse."""
    for max_bin in (2, 16, 256, int(random.integers(3, 500))):
        features = _columns(random, 3000)
        found = cuts.global_cuts(World(), features, max_bin)
        reference = xgb.QuantileDMatrix(found.reference(), max_bin=max_bin)
        cuts.verify(found, reference)
        for data in (features, _to_sparse(features), features[:0]):
            cuts.verify(found, xgb.QuantileDMatrix(data, ref=reference, max_bin=max_bin))


def test_verify_notices_other_cuts(random: np.random.Generator) -> None:
    """A matrix with one cut moved by the smallest amount is refused, and the column is named."""
    found = cuts.global_cuts(World(), random.random((500, 3), np.float32), 16)
    other = found.reference()
    other[7, 2] = np.nextafter(other[7, 2], np.float32(2))
    with pytest.raises(TreeringError, match="feature column 2"):
        cuts.verify(found, xgb.QuantileDMatrix(other, max_bin=16))


def test_categories_are_bins(random: np.random.Generator) -> None:
    """A categorical column has its dictionary's codes as cuts, seen or not, beyond max_bin as well."""
    features = random.random((200, 3), np.float32)
    features[:, 1] = random.integers(0, 5, 200)
    features[:, 2] = np.nan
    found = cuts.global_cuts(World(), features, 8, categories={1: 40, 2: 0})
    np.testing.assert_array_equal(found.anchors[1], np.arange(40))
    _assert_same(found, [_expected(features[:, 0], 8), found.anchors[1], np.zeros(1, np.float32)])
    kinds = ["q", "c", "c"]
    reference = xgb.QuantileDMatrix(
        found.reference(), max_bin=8, feature_types=kinds, enable_categorical=True
    )
    data = xgb.QuantileDMatrix(
        features, ref=reference, max_bin=8, feature_types=kinds, enable_categorical=True
    )
    cuts.verify(found, data)


def test_only_categories() -> None:
    """Without a numeric column there is nothing to search for."""
    found = cuts.global_cuts(World(), np.zeros((3, 1), np.float32), 8, categories={0: 2})
    np.testing.assert_array_equal(found.anchors[0], [0, 1])


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_infinity_is_refused_everywhere(ranks: Ranks, infinity: float) -> None:
    """An infinite value on one rank ends the search on all of them, with the column's number."""

    def search(world: World) -> None:
        features = np.ones((5, 3), np.float32)
        if world.rank == 1:
            features[2, 1] = infinity
        with pytest.raises(UserError, match=r"feature column 1 .* infinite"):
            cuts.global_cuts(world, features, 4)

    ranks(3, search)


def test_nobody_has_rows(ranks: Ranks) -> None:
    """Without any row on any rank every column has one bin."""
    for found in ranks(2, lambda world: cuts.global_cuts(world, np.empty((0, 2), np.float32), 4)):
        _assert_same(found, [np.empty(0, np.float32)] * 2)
        cuts.verify(found, xgb.QuantileDMatrix(found.reference(), max_bin=4))
