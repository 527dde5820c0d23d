"""`treering.joining`: batches become one array a kind, sparse ones without a detour."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from treering import joining
from treering.errors import UserError
from treering.joining import Form
from treering.readers.batch import Batch


def _rng() -> np.random.Generator:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    return np.random.default_rng(seed)


def _form(**facts: int) -> Form:
    plain = {"width": 1, "outputs": 0}
    kinds = dict.fromkeys(("is_sparse", "has_weight", "has_group", "has_upper", "uses_zero"), False)
    return Form(**(plain | kinds | facts))  # type: ignore[arg-type]  # each fact has its field's type


def test_sparse_parts_stack_like_scipy() -> None:
    """Parts of any width, without rows or values among them, below each other."""
    rng = _rng()
    parts = [
        sparse.csr_array(
            sparse.random_array((int(rng.integers(0, 9)), int(rng.integers(1, 7))), density=0.4, rng=rng)
        ).astype(np.float32)
        for _ in range(20)
    ]
    wide = [np.pad(part.toarray(), ((0, 0), (0, 7 - part.shape[1]))) for part in parts]
    stacked = joining.stack_sparse(parts, 7)
    np.testing.assert_array_equal(stacked.toarray(), np.concatenate(wide))
    assert stacked.has_canonical_format
    assert stacked.data.dtype == np.float32
    assert stacked.indices.dtype == np.int32


def test_nothing_stacks_to_nothing() -> None:
    """A rank without rows has arrays of the right width, dense in Fortran order or sparse."""
    assert joining.stack([], 5, is_sparse=True).shape == (0, 5)
    dense = joining.stack([], 5, is_sparse=False)
    assert isinstance(dense, np.ndarray)
    assert dense.shape == (0, 5)
    assert dense.dtype == np.float32
    assert dense.flags.f_contiguous
    assert joining.labels([]).shape == (0,)
    margins = joining.margins([], _form(outputs=3))
    assert margins is not None
    assert margins.shape == (0, 3)


def test_dense_batches_are_stacked_in_order_and_let_go() -> None:
    """Rows in order, and no batch kept in memory twice."""
    rng = _rng()
    rows = rng.random((30, 4), np.float32)
    batches = [Batch(np.asfortranarray(part), part[:, 0]) for part in np.split(rows, [3, 4, 20])]
    stacked = joining.stack(batches, 4, is_sparse=False)
    np.testing.assert_array_equal(stacked, rows)
    assert not batches


def test_what_a_batch_lacks_is_filled_in_where_that_has_a_meaning() -> None:
    """Weight 1, and the label as its own upper bound; a missing query id is the user's mistake."""
    features, label = np.zeros((2, 1), np.float32), np.array([3, 4], np.float32)
    some = Batch(features, label, label * 2, np.array([1, 1]), label + 1)
    none = Batch(features, label)
    weights = joining.weights([some, none], _form(has_weight=True))
    uppers = joining.uppers([none, some], _form(has_upper=True))
    assert weights is not None
    assert uppers is not None
    assert (weights.tolist(), uppers.tolist()) == ([6, 8, 1, 1], [3, 4, 4, 5])
    with pytest.raises(
        UserError, match=r"^channel train: some rows have a query id \(qid\) and some have none"
    ):
        joining.groups([some, none], _form(has_group=True), "train")
