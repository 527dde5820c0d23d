"""`treering.identity`: rows keep their identities through every way to write them down."""

from __future__ import annotations

import numpy as np

from treering.identity import Piece, Pieces


def _rng() -> np.random.Generator:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    return np.random.default_rng(seed)


def test_pieces_expand_to_rows() -> None:
    """Each row of each piece in order; pieces without rows count for nothing."""
    pieces = Pieces.of([Piece(2, 10, 3), Piece(0, 0, 0), Piece(1, 5, 2)])
    file, row = pieces.expand()
    assert (file.tolist(), row.tolist()) == ([2, 2, 2, 1, 1], [10, 11, 12, 5, 6])
    assert (pieces.rows, len(pieces)) == (5, 3)
    assert list(pieces) == [Piece(2, 10, 3), Piece(0, 0, 0), Piece(1, 5, 2)]


def test_rows_become_the_fewest_pieces() -> None:
    """Neighbours in one file make one piece, whatever stands around them."""
    file = np.array([1, 1, 1, 1, 2, 2, 0])
    row = np.array([3, 4, 6, 5, 6, 7, 0])
    expected = [Piece(1, 3, 2), Piece(1, 6, 1), Piece(1, 5, 1), Piece(2, 6, 2), Piece(0, 0, 1)]
    assert list(Pieces.of_rows(file, row)) == expected


def test_there_and_back() -> None:
    """Any rows in any order come back as they were."""
    rng = _rng()
    file, row = rng.integers(0, 3, 500), rng.integers(0, 9, 500)
    got = Pieces.of_rows(file, row).expand()
    np.testing.assert_array_equal(got[0], file)
    np.testing.assert_array_equal(got[1], row)


def test_no_rows() -> None:
    """A rank without rows has no pieces."""
    for pieces in (Pieces.of([]), Pieces.of_rows(np.empty(0, np.int64), np.empty(0, np.int64))):
        assert (len(pieces), pieces.rows, list(pieces)) == (0, 0, [])
        assert pieces.expand()[0].size == pieces.expand()[1].size == 0
