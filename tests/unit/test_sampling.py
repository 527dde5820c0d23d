"""`treering.sampling`: which rows are drawn follows from their identity alone."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import xgboost as xgb

from treering.identity import Piece, Pieces
from treering.sampling import Sampler

_WORD = 2**64
_GAMMA = 0x9E3779B97F4A7C15


def _split_mix(state: int) -> int:
    """The number that SplitMix64 gives when its state, already advanced, is `state`."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % _WORD
    state = (state ^ state >> 27) * 0x94D049BB133111EB % _WORD
    return state ^ state >> 31


def _is_drawn(seed: int, round_: int, file: int, row: int, fraction: float) -> bool:
    """The definition, one row at a time."""
    stream = 0
    for part in (seed % _WORD, round_, file):
        stream = _split_mix((stream + (part + 1) * _GAMMA) % _WORD)
    return _split_mix((stream + (row + 1) * _GAMMA) % _WORD) < fraction * _WORD


def test_generator_is_split_mix() -> None:
    """The tests' own generator gives the first numbers published for the seed 1234567."""
    found = [_split_mix((1234567 + count * _GAMMA) % _WORD) for count in (1, 2, 3, 4, 5)]
    assert found == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_rows_follow_the_definition(random: np.random.Generator) -> None:
    """Every row of every piece is drawn or left out as its identity says, for any seed and fraction."""
    for seed in (0, -1, 2**70, int(random.integers(2**62))):
        pieces = [Piece(int(random.integers(5)), int(random.integers(10**12)), 40) for _ in range(4)]
        fraction, round_ = float(random.random()), int(random.integers(1000))
        drawn = Sampler(seed, fraction, pieces).rows(round_)
        expected = [
            _is_drawn(seed, round_, piece.file, piece.first_row + row, fraction)
            for piece in pieces
            for row in range(piece.rows)
        ]
        np.testing.assert_array_equal(drawn, expected)


def test_layout_does_not_matter(random: np.random.Generator) -> None:
    """A file cut into pieces, long ones too, gives the same rows as the whole file."""
    rows = 200_000
    whole = Sampler(7, 0.3, [Piece(2, 0, rows)]).rows(11)
    ends = [0, *sorted(random.integers(0, rows, 5).tolist()), rows]
    pieces = [Piece(2, start, stop - start) for start, stop in itertools.pairwise(ends)]
    order = random.permutation(len(pieces))
    drawn = Sampler(7, 0.3, [pieces[i] for i in order]).rows(11)
    expected = np.concatenate([whole[ends[i] : ends[i + 1]] for i in order])
    np.testing.assert_array_equal(drawn, expected)


def test_rows_may_lie_anywhere(random: np.random.Generator) -> None:
    """Rows of several files in any order, as queries bring them together, are drawn as in their files."""
    rows = 70_000
    whole = np.array([Sampler(7, 0.3, [Piece(file, 0, rows)]).rows(11) for file in range(3)])
    file, row = random.integers(0, 3, 100_000), random.integers(0, rows, 100_000)
    drawn = Sampler(7, 0.3, Pieces.of_rows(file, row)).rows(11)
    np.testing.assert_array_equal(drawn, whole[file, row])


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.9])
def test_fraction_is_met(random: np.random.Generator, fraction: float) -> None:
    """As many rows are drawn as the fraction says, within six standard deviations."""
    rows = 300_000
    drawn = Sampler(int(random.integers(2**32)), fraction, [Piece(0, 0, rows)]).rows(3)
    deviation = np.sqrt(rows * fraction * (1 - fraction))
    assert abs(drawn.sum() - rows * fraction) < 6 * deviation


def test_rounds_files_and_seeds_are_independent(random: np.random.Generator) -> None:
    """Two rounds, files or seeds agree on as many rows as chance makes them."""
    rows, fraction, seed = 300_000, 0.4, int(random.integers(2**32))
    first = Sampler(seed, fraction, [Piece(0, 0, rows)]).rows(0)
    others = [
        Sampler(seed, fraction, [Piece(0, 0, rows)]).rows(1),
        Sampler(seed, fraction, [Piece(1, 0, rows)]).rows(0),
        Sampler(seed + 1, fraction, [Piece(0, 0, rows)]).rows(0),
        Sampler(seed, fraction, [Piece(0, 1, rows)]).rows(0),  # the rows' neighbours
    ]
    agree = fraction**2 + (1 - fraction) ** 2
    for other in others:
        assert abs((first == other).mean() - agree) < 6 * np.sqrt(agree * (1 - agree) / rows)


def test_everything_is_drawn_with_fraction_one() -> None:
    """subsample=1 leaves no row out."""
    assert Sampler(1, 1.0, [Piece(0, 0, 100_000)]).rows(0).all()


def test_no_rows() -> None:
    """A rank without rows draws none."""
    assert Sampler(1, 0.5, []).rows(0).shape == (0,)


def test_zeroed_rows_are_how_xgboost_samples(random: np.random.Generator) -> None:
    """XGBoost's own subsample leaves rows in the tree without weight, as zero gradients do here.

    With squared error each row's hessian is 1, so a node's cover is the number of rows that count in it.
    """
    features = random.random((2000, 2), np.float32)
    data = xgb.QuantileDMatrix(features, label=random.random(2000))
    parameters = {"max_depth": 2, "subsample": 0.5, "seed": 3, "base_score": 0.5}
    model = json.loads(xgb.train(parameters, data, 3).save_raw("json"))
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    covers = [tree["sum_hessian"][0] for tree in trees]
    assert all(cover == int(cover) and 800 < cover < 1200 for cover in covers)

    drawn = Sampler(3, 0.5, [Piece(0, 0, 2000)]).rows(0)
    gradient = random.standard_normal(2000).astype(np.float32)
    zeroed = xgb.Booster({"max_depth": 3, "base_score": 0.5}, [data])
    zeroed.boost(data, 0, grad=gradient * drawn, hess=drawn.astype(np.float32))
    only = xgb.QuantileDMatrix(features[drawn], ref=data)
    subset = xgb.Booster({"max_depth": 3, "base_score": 0.5}, [only])
    subset.boost(only, 0, grad=gradient[drawn], hess=np.ones(drawn.sum(), np.float32))
    np.testing.assert_allclose(zeroed.predict(data), subset.predict(data), rtol=1e-6)
