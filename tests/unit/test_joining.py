"""`treering.joining`: what belongs to rows besides features, as one array a kind."""

from __future__ import annotations

import numpy as np
import pytest

from treering import joining
from treering.errors import UserError
from treering.joining import Beside, Form
from treering.readers.batch import Batch


def _form(**facts: int) -> Form:
    plain = {"width": 1, "outputs": 0}
    kinds = dict.fromkeys(("is_sparse", "has_weight", "has_group", "has_upper", "uses_zero"), False)
    return Form(**(plain | kinds | facts))  # type: ignore[arg-type]  # each fact has its field's type


def test_nothing_joins_to_nothing() -> None:
    """A rank without rows has arrays of the right shape."""
    assert joining.labels([]).shape == (0,)
    margins = joining.margins([], _form(outputs=3))
    assert margins is not None
    assert margins.shape == (0, 3)


def test_a_batch_is_let_go() -> None:
    """What is kept of a batch holds on to none of its memory: labels are often a column of all the numbers."""
    numbers = np.zeros((3, 4), np.float32)
    beside = Beside.of(
        Batch(numbers[:, 1:], numbers[:, 0], numbers[:, 1], None, numbers[:, 2], numbers[:, 3]), "a"
    )
    for values in (beside.label, beside.weight, beside.label_upper, beside.base_margin):
        assert values is not None
        assert values.base is None


def test_what_a_batch_lacks_is_filled_in_where_that_has_a_meaning() -> None:
    """Weight 1, and the label as its own upper bound; a missing query id is the user's mistake, in a file."""
    features, label = np.zeros((2, 1), np.float32), np.array([3, 4], np.float32)
    some = Beside.of(Batch(features, label, label * 2, np.array([1, 1]), label + 1), "a")
    none = Beside.of(Batch(features, label), "sub/b")
    weights = joining.weights([some, none], _form(has_weight=True))
    uppers = joining.uppers([none, some], _form(has_upper=True))
    assert weights is not None
    assert uppers is not None
    assert (weights.tolist(), uppers.tolist()) == ([6, 8, 1, 1], [3, 4, 4, 5])
    with pytest.raises(
        UserError,
        match=r"^channel train: rows of sub/b have no query id \(qid\), but others have one; give all",
    ):
        joining.groups([some, none], _form(has_group=True), "train")
