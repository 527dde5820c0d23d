"""`treering.readers.encoding`: categories become codes that the encoder's list turns back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from treering.readers.encoding import Encoder, is_categorical


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.string(), True),
        (pa.large_string(), True),
        (pa.dictionary(pa.int8(), pa.string()), True),
        (pa.dictionary(pa.int32(), pa.int64()), True),
        (pa.dictionary(pa.int32(), pa.float64()), False),
        (pa.binary(), False),
        (pa.int64(), False),
        (pa.list_(pa.string()), False),
    ],
)
def test_which_types_are_categories(kind: pa.DataType, expected: bool) -> None:
    """Text, and dictionaries of text or whole numbers; nothing else."""
    assert is_categorical(kind) is expected


def test_codes_turn_back_into_what_was_read() -> None:
    """Over several batches, in any of the types, each code stands for the category that was there."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    rng = np.random.default_rng(seed)
    encoder = Encoder()
    for kind in (pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.large_string()):
        values = [None if rng.random() < 0.2 else f"k{rng.integers(30)}" for _ in range(200)]
        codes = encoder.encode(pa.array(values, pa.string()).cast(kind))
        assert codes.dtype == np.float32
        names = encoder.categories
        assert [None if np.isnan(code) else names[int(code)] for code in codes] == values
    assert len(set(encoder.categories)) == len(encoder.categories)


def test_a_dictionary_may_hold_nulls_slices_and_numbers() -> None:
    """A null in the dictionary itself is missing; a slice keeps its own rows; numbers become their text."""
    holed = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1]), pa.array(["x", None]))
    encoder = Encoder()
    np.testing.assert_array_equal(encoder.encode(holed), np.array([0, np.nan, np.nan, np.nan], np.float32))
    sliced = pa.array(["p", "x", "q"]).dictionary_encode().slice(1, 1)
    np.testing.assert_array_equal(encoder.encode(sliced), np.array([0], np.float32))
    numbers = Encoder()
    numbers.encode(pa.array([7, 3, 7]).dictionary_encode())
    assert numbers.categories == ("7", "3")


@pytest.mark.parametrize("kind", [pa.int16(), pa.int32(), pa.uint16(), pa.uint32()])
def test_a_dictionary_counts_as_far_as_it_is_used(kind: pa.DataType) -> None:
    """A row group's comes with each of its parts, and pandas leaves names in one that no row has: who reads what may not matter."""
    names = pa.array([f"k{number}" for number in range(1000)])
    encoder = Encoder()
    for places, expected in (
        ([7, None, 9, 7], [0, np.nan, 1, 0]),
        ([9, 999], [1, 2]),
        ([None], [np.nan]),
        ([9] * 1001, [1] * 1001),
    ):
        part = pa.DictionaryArray.from_arrays(pa.array(places, kind), names)
        np.testing.assert_array_equal(encoder.encode(part), np.array(expected, np.float32))
    assert encoder.categories == ("k7", "k9", "k999")


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_more_categories_than_there_may_be_are_given_up(kind: pa.DataType) -> None:
    """Over all batches; and a batch with far too many is not even looked at."""
    encoder = Encoder(most=100)
    names = [f"k{number}" for number in range(1000)]
    assert encoder.encode(pa.array(names[:100], pa.string()).cast(kind)).max() == 99
    assert encoder.encode(pa.array(names[50:100], pa.string()).cast(kind)).min() == 50
    with pytest.raises(OverflowError):
        encoder.encode(pa.array(names[100:101], pa.string()).cast(kind))
    untouched = Encoder(most=100)
    with pytest.raises(OverflowError):
        untouched.encode(pa.array(names, pa.string()).cast(kind))
    assert untouched.categories == ()


def test_no_rows_and_only_nulls() -> None:
    """Nothing to encode is no error, and adds no category."""
    encoder = Encoder()
    assert encoder.encode(pa.array([], pa.string())).shape == (0,)
    assert np.isnan(encoder.encode(pa.array([None, None], pa.string()))).all()
    assert encoder.categories == ()
