"""`treering.row_digest`: the same for the same rows, whoever holds them; another one when a value changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import sparse

from treering.row_digest import row_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from unit.conftest import Ranks

    type Floats = NDArray[np.float32]

_ROWS, _COLUMNS = 70_000, 3  # more rows than are worked on at a time


@pytest.fixture
def features(random: np.random.Generator) -> Floats:
    """With missing values and ties."""
    found = np.round(random.standard_normal((_ROWS, _COLUMNS)), 2).astype(np.float32)
    found[random.random(found.shape) < 0.2] = np.nan
    return found


@pytest.fixture
def beside(random: np.random.Generator) -> list[NDArray[Any]]:
    """Labels, several margins a row, and queries."""
    return [
        random.standard_normal(_ROWS).astype(np.float32),
        random.standard_normal((_ROWS, 2)).astype(np.float32),
        random.integers(-5, 2**40, _ROWS),
    ]


def _digest(ranks: Ranks, features: Any, beside: list[NDArray[Any]], parts: list[NDArray[np.int64]]) -> int:
    digests = ranks(
        len(parts),
        lambda world: row_digest(
            world, features[parts[world.rank]], [each[parts[world.rank]] for each in beside]
        ),
    )
    assert len(set(digests)) == 1
    return digests[0]


def test_it_does_not_depend_on_who_holds_which_row(
    ranks: Ranks, random: np.random.Generator, features: Floats, beside: list[NDArray[Any]]
) -> None:
    """Ranks, order, memory layout, sparse or dense, ranks without rows: one digest."""
    rows = np.arange(_ROWS)
    whole = _digest(ranks, features, beside, [rows])
    shuffled = random.permutation(rows)
    parts = np.split(shuffled, np.sort(random.choice(_ROWS, 2)))
    assert _digest(ranks, np.asfortranarray(features), beside, [*parts, rows[:0]]) == whole
    present = ~np.isnan(features)
    entries = (features[present], np.nonzero(present)[1], np.append(0, np.cumsum(present.sum(axis=1))))
    assert _digest(ranks, sparse.csr_array(entries, shape=features.shape), beside, parts) == whole


def test_zeros_are_alike_and_differ_from_missing(ranks: Ranks) -> None:
    """As for XGBoost: -0.0 is 0.0, any NaN is missing, and the two are not the same."""
    rows = [np.arange(3)]
    zeros = np.array([[0], [1], [2]], np.float32)
    negative = np.array([[-0.0], [1], [2]], np.float32)
    missing = np.array([[np.nan], [1], [2]], np.float32)
    other_nan = missing.copy()
    other_nan.view(np.uint32)[0] = 0xFFC12345
    assert _digest(ranks, zeros, [], rows) == _digest(ranks, negative, [], rows)
    assert _digest(ranks, missing, [], rows) == _digest(ranks, other_nan, [], rows)
    assert _digest(ranks, zeros, [], rows) != _digest(ranks, missing, [], rows)


def test_any_change_shows(
    ranks: Ranks, random: np.random.Generator, features: Floats, beside: list[NDArray[Any]]
) -> None:
    """One bit of one value, two values exchanged within a column or a row, a row twice or left out."""
    rows = np.arange(_ROWS)
    features[:2, 0], features[:2, 1] = [1.5, 2.5], [3.5, 4.5]
    digests = [_digest(ranks, features, beside, [rows])]

    def changed(column: int, first: int, second: float, *, like: Floats = features) -> Floats:
        copy = like.copy()
        copy[first, column] = second
        return copy

    digests += [
        _digest(ranks, changed(0, 1, np.nextafter(np.float32(2.5), 3)), beside, [rows]),
        _digest(ranks, changed(0, 0, 2.5, like=changed(0, 1, 1.5)), beside, [rows]),
        _digest(ranks, changed(0, 0, 3.5, like=changed(1, 0, 1.5)), beside, [rows]),
        _digest(ranks, features, beside, [rows[1:]]),
        _digest(ranks, features, beside, [np.append(rows, rows[:1])]),
    ]
    for number, values in enumerate(beside):
        flat = values.copy()
        flat.reshape(-1)[random.integers(flat.size)] += 1
        digests.append(_digest(ranks, features, [*beside[:number], flat, *beside[number + 1 :]], [rows]))
    assert len(set(digests)) == len(digests)
