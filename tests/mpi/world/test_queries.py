"""`treering.queries`: each query whole on one rank, with all that belongs to its rows, in any layout alike."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

from treering import queries
from treering.errors import UserError
from treering.features import Features
from treering.identity import Piece, Pieces
from treering.readers.batch import Columns
from treering.shard import Shard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from treering.world import World

_WIDTH = 3


@pytest.fixture
def rng(world: World) -> np.random.Generator:
    """The same random numbers on all ranks, other ones in every run; the seed is printed."""
    seed = world.broadcast(int(np.random.SeedSequence().generate_state(1)[0]))
    print(f"seed={seed}")
    return np.random.default_rng(seed)


def _whole(group: NDArray[np.int64], files: list[int], *, is_sparse: bool) -> Shard:
    """All rows of a channel, each value telling its row; `files` are the rows of each file."""
    number = np.arange(group.size, dtype=np.float32)
    features = np.asfortranarray(np.column_stack([number, np.full(group.size, np.nan), -number]), np.float32)
    return Shard(
        Columns(_WIDTH),
        Features.of(_sparse(features) if is_sparse else features),
        number,
        number + 1,
        group,
        Pieces.of(Piece(file, 0, rows) for file, rows in enumerate(files)),
        group.size,
        label_upper=number + 2,
        base_margin=np.column_stack([number, number + 3]),
    )


def _sparse(features: NDArray[np.float32]) -> sparse.csr_array:
    rows, columns = np.nonzero(~np.isnan(features))
    return sparse.csr_array((features[rows, columns], (rows, columns)), shape=features.shape)


def _part(whole: Shard, start: int, stop: int) -> Shard:
    """The rows ``[start, stop)``, as one rank reads them."""
    assert whole.weight is not None
    assert whole.group is not None
    assert whole.label_upper is not None
    assert whole.base_margin is not None
    file, row = whole.pieces.expand()
    own = slice(start, stop)
    return Shard(
        whole.columns,
        Features.of(whole.features.take(np.arange(start, stop))),
        whole.label[own],
        whole.weight[own],
        whole.group[own],
        Pieces.of_rows(file[own], row[own]),
        whole.total_rows,
        label_upper=whole.label_upper[own],
        base_margin=whole.base_margin[own],
    )


def _cut(world: World, rng: np.random.Generator, whole: Shard) -> Shard:
    """The rows of this rank, in a channel cut anywhere; ranks without rows among them."""
    edges = [0, *sorted(rng.integers(0, whole.rows + 1, world.size - 1).tolist()), whole.rows]
    return _part(whole, edges[world.rank], edges[world.rank + 1])


def _dense(shard: Shard) -> NDArray[np.float32]:
    features = shard.features.stacked()
    if isinstance(features, np.ndarray):
        return features
    dense = np.full(features.shape, np.nan, np.float32)
    entries = features.tocoo()
    dense[entries.row, entries.col] = entries.data
    return dense


def _check(world: World, got: Shard, whole: Shard) -> None:
    """Every row once, unchanged, in whole queries ordered by identity."""
    assert got.group is not None
    group = whole.group
    assert group is not None
    rows = got.label.astype(np.int64)
    everybody = np.concatenate(world.allgather_arrays(rows))
    np.testing.assert_array_equal(np.sort(everybody), np.arange(whole.rows))
    np.testing.assert_array_equal(_dense(got), _dense(whole)[rows])
    for name in ("weight", "group", "label_upper", "base_margin"):
        np.testing.assert_array_equal(getattr(got, name), getattr(whole, name)[rows])
    file, row = whole.pieces.expand()
    np.testing.assert_array_equal(np.column_stack(got.pieces.expand()), np.column_stack([file, row])[rows])
    runs = [list(run) for _, run in itertools.groupby(rows, key=lambda number: int(group[number]))]
    for run in runs:
        np.testing.assert_array_equal(run, np.flatnonzero(group == group[run[0]]))
    firsts = [int(run[0]) for run in runs]
    assert firsts == sorted(firsts)
    np.testing.assert_array_equal(queries.sizes(got.group), [len(run) for run in runs])


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("kind", ["sorted", "scattered", "one", "each"])
def test_queries_become_whole(world: World, rng: np.random.Generator, kind: str, *, is_sparse: bool) -> None:
    """However rows lie in files and on ranks, and whatever the ids are."""
    files = rng.integers(0, 60, 5).tolist()
    count = sum(files) or 1
    files[0] += count - sum(files)
    some = rng.integers(-(2**63), 2**63 - 1, max(1, count // 7), np.int64)
    group = {
        "sorted": np.sort(rng.choice(some, count)),
        "scattered": rng.choice(some, count),
        "one": np.full(count, 7),
        "each": np.arange(count),
    }[kind].astype(np.int64)
    whole = _whole(group, files, is_sparse=is_sparse)
    _check(world, queries.gather(world, _cut(world, rng, whole), "train"), whole)


def test_nothing_moves_where_queries_are_whole(world: World) -> None:
    """Rows in whole queries stay as they are, without a copy."""
    group = np.repeat(np.arange(3 * world.size), 4)
    shard = _part(_whole(group, [group.size], is_sparse=False), 12 * world.rank, 12 * (world.rank + 1))
    assert queries.gather(world, shard, "train") is shard


def test_without_groups_there_is_nothing_to_do(world: World) -> None:
    """Data that is not for ranking passes through."""
    shard = _part(_whole(np.zeros(4, np.int64), [4], is_sparse=False), 0, 4)
    shard.group = None
    assert queries.gather(world, shard, "train") is shard


def test_ranks_stay_about_even_where_all_queries_are_cut(world: World, rng: np.random.Generator) -> None:
    """Queries of which each rank has as many rows do not all end on one of them."""
    rows, each = 3000, 10
    group = np.tile(np.arange(rows // each), each)
    group = np.concatenate([rng.permutation(part) for part in np.split(group, each)])
    whole = _whole(group, [rows], is_sparse=False)
    edges = [rows * rank // world.size for rank in range(world.size + 1)]
    got = queries.gather(world, _part(whole, edges[world.rank], edges[world.rank + 1]), "train")
    _check(world, got, whole)
    assert 0.6 * rows / world.size < got.rows < 1.4 * rows / world.size


def test_scattered_queries_are_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Equal ids in places that are no neighbours may be a mistake, so rank 0 says where; a cut query is none."""
    files = [4, 2]
    for group, told in ([1, 1, 2, 2, 2, 3], False), ([1, 1, 2, 2, 3, 1], True):
        caplog.clear()
        whole = _whole(np.array(group), files, is_sparse=False)
        edges = [6 * rank // world.size for rank in range(world.size + 1)]
        with caplog.at_level(logging.INFO):
            queries.gather(world, _part(whole, edges[world.rank], edges[world.rank + 1]), "train")
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == (told and world.rank == 0)
        if warnings:
            assert "1 of its queries have rows in places that are no neighbours" in warnings[0]
            assert "row 2 of file 1 and row 2 of file 2" in warnings[0]


def test_weights_that_differ_within_a_query_are_refused(world: World) -> None:
    """XGBoost weighs whole queries; the first row with a weight of its own is told, and the one before it."""
    whole = _whole(np.repeat(np.arange(4), 3), [2, 10], is_sparse=False)
    whole.weight = np.repeat(np.arange(4, dtype=np.float32), 3)
    queries.check_weights(world, whole, "train")
    if world.rank == world.size - 1:
        whole.weight[4] = 7
    told = (
        r"channel train: row 3 of file 2 weighs 7, but row 2 of file 2, of the same query, weighs 1 \(2 row"
    )
    with pytest.raises(UserError, match=told):
        queries.check_weights(world, whole, "train")
