"""`treering.matrix`: rows are binned alike in memory and on disk, in whatever pieces, and tell how far they are."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xgboost as xgb
from scipy import sparse

from treering import cuts, matrix
from treering.features import Features, store
from treering.identity import Piece, Pieces
from treering.memory_plan import Limits
from treering.progress import Progress
from treering.readers.batch import Columns
from treering.shard import Shard
from treering.storage import Storage

if TYPE_CHECKING:
    from treering.readers.batch import ColumnType
    from treering.world import World

_COLUMNS = 6


def _shard(random: np.random.Generator, rows: int, *, is_sparse: bool) -> Shard:
    values = random.standard_normal((rows, _COLUMNS)).astype(np.float32)
    values[random.random(values.shape) < 0.3] = np.nan
    array = sparse.csr_array(np.nan_to_num(values)) if is_sparse else np.asfortranarray(values)
    storage = Storage()
    chunks = [store(array[start : start + 300], storage) for start in range(0, rows, 300)]
    features = Features(chunks, _COLUMNS, is_sparse=is_sparse, storage=storage)
    label = random.random(rows).astype(np.float32)
    return Shard(Columns(_COLUMNS), features, label, None, None, Pieces.of([Piece(0, 0, rows)]), rows)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_pieces_and_pages_change_nothing(world: World, random: np.random.Generator, is_sparse: bool) -> None:
    """Trees grown on rows binned at once, piece by piece, and from pages on disk have the same bytes."""
    rows = _shard(random, 4000, is_sparse=is_sparse)
    edges = cuts.global_cuts(world, rows.features, 64)
    bins = matrix.reference(edges, rows.columns, 1)
    with tempfile.TemporaryDirectory() as folder:
        limits = (Limits(), Limits(piece=9000), Limits(piece=9000, pages=Path(folder)))
        built = [matrix.build(rows, bins, 1, None, each, "train") for each in limits]
        assert [type(each) for each in built] == [*[xgb.QuantileDMatrix] * 2, xgb.ExtMemQuantileDMatrix]
        for each in built:
            cuts.verify(edges, each)
        models = {bytes(_boosted(each).save_raw("ubj")) for each in built}
        assert len(list(Path(folder).iterdir())) > 0
        del built, each  # XGBoost removes its own files, and complains of those that are gone already
    assert len(models) == 1


@pytest.mark.parametrize("names", [None, tuple("abcdef")])
@pytest.mark.parametrize("categorical", [None, 2])
@pytest.mark.parametrize("rows", [0, 500])
def test_columns_keep_their_names(
    world: World,
    random: np.random.Generator,
    names: tuple[str, ...] | None,
    categorical: int | None,
    rows: int,
) -> None:
    """A matrix has the names of its columns and tells categories from numbers, and has neither where there are none."""
    types: list[ColumnType] = ["category" if column == categorical else "float" for column in range(_COLUMNS)]
    columns = Columns(_COLUMNS, names, None if categorical is None else tuple(types))
    shard, other = (_with_codes(_shard(random, count, is_sparse=False), columns) for count in (1000, rows))
    edges = cuts.global_cuts(world, shard.features, 16, categories=dict.fromkeys(columns.categorical, 10))
    built = matrix.build(other, matrix.reference(edges, columns, 1), 1)
    assert built.feature_names == (None if names is None else list(names))
    letters = ["c" if each == "category" else "float" for each in types]
    assert built.feature_types == (None if categorical is None else letters)
    assert built.num_row() == rows
    cuts.verify(edges, built)


@pytest.mark.parametrize("kind", ["full", "gaps", "sparse"])
def test_rows_to_score_have_the_same_margins_in_any_form(
    world: World, random: np.random.Generator, kind: str
) -> None:
    """Bit by bit, also of values outside those trained on; where values are missing, they are not binned."""
    train, other = (_shard(random, rows, is_sparse=kind == "sparse") for rows in (3000, 1000))
    if kind == "full":
        for shard in (train, other):
            shard.features.change_columns(range(_COLUMNS), lambda _, values: np.nan_to_num(values))
            array = np.asarray(shard.features.stacked())
            shard.features = Features.of(3 * array if shard is other else array)
    bins = matrix.reference(cuts.global_cuts(world, train.features, 64), train.columns, 1)
    booster = _boosted(matrix.build(train, bins, 1))
    as_they_are = matrix.scored(other, bins, 1, Limits(), "validation")
    binned = matrix.scored(other, bins, 1, Limits(unbinned=False), "validation")
    assert isinstance(as_they_are, xgb.QuantileDMatrix) == (kind == "full")
    assert isinstance(binned, xgb.QuantileDMatrix)
    one, two = (booster.predict(each, output_margin=True).view(np.uint32) for each in (as_they_are, binned))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(as_they_are.get_label(), other.label)


def _with_codes(shard: Shard, columns: Columns) -> Shard:
    """The same rows with codes from 0 to 9 in categorical columns."""
    shard.features.change_columns(
        columns.categorical, lambda _, values: np.floor(np.abs(np.nan_to_num(values))).clip(0, 9)
    )
    return dataclasses.replace(shard, columns=columns)


def _boosted(rows: xgb.DMatrix) -> xgb.Booster:
    gradient = np.round(512 * (0.5 - rows.get_label())) / 512  # exact in any order
    booster = xgb.Booster({"max_bin": 64, "max_depth": 3, "nthread": 1, "base_score": 0.5}, [rows])
    for iteration in range(3):
        booster.boost(rows, iteration, grad=gradient, hess=np.ones_like(gradient))
    return booster


class _Heard(Progress):
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[int] = []

    def advance(self, done: int, *, rows: int = 0) -> None:
        super().advance(done, rows=rows)
        self.done.append(done)


@pytest.mark.parametrize("on_disk", [False, True])
def test_binning_tells_how_far_it_is(world: World, random: np.random.Generator, on_disk: bool) -> None:
    """More and more rows of the channel, and exactly all of them in the end."""
    rows = _shard(random, 4000, is_sparse=False)
    bins = matrix.reference(cuts.global_cuts(world, rows.features, 64), rows.columns, 1)
    heard = _Heard()
    with tempfile.TemporaryDirectory() as folder:
        limits = Limits(piece=9000, pages=Path(folder) if on_disk else None, progress=heard)
        matrix.build(rows, bins, 1, None, limits, "train")
    assert heard.done == sorted(heard.done)
    assert len(set(heard.done)) > 3
    assert heard.done[-1] == rows.rows
