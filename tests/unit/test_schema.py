"""`treering.schema`: what can be judged without other ranks; the rest is in ``tests/mpi/world``."""

from __future__ import annotations

import pytest

from treering.errors import UserError
from treering.hyperparameters import Hyperparameters
from treering.readers.batch import Columns
from treering.schema import Labels, label_fault, same_columns

_NAMED = Columns(3, ("age", "height", "width"))


@pytest.mark.parametrize(
    ("train", "other"),
    [
        (Columns(3), Columns(3)),
        (_NAMED, _NAMED),
        (_NAMED, Columns(3)),
        (Columns(3), _NAMED),
    ],
)
def test_equal_columns_pass(train: Columns, other: Columns) -> None:
    """Names count where both channels have them; the result is what training uses."""
    assert same_columns(train, other, "validation", sparse=True) == train


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Columns(3, ("age", "width", "height")), ["2: 'width'", "3: 'height'", "2: 'height'"]),
        (Columns(3, ("age", "height", "depth")), ["3: 'depth'", "3: 'width'"]),
        (Columns(2, ("age", "height")), ["has 2 feature columns", "3: 'width'"]),
        (Columns(4, ("age", "height", "width", "more")), ["has 4 feature columns", "4: 'more'"]),
        (Columns(4), ["has 4 feature columns", "train 3"]),
    ],
)
def test_a_channel_with_other_columns_is_told(other: Columns, told: list[str]) -> None:
    """The sentence names the channel and the columns that differ, with their positions."""
    with pytest.raises(UserError) as raised:
        same_columns(_NAMED, other, "validation", sparse=False)
    assert str(raised.value).startswith("channel validation has ")
    for part in told:
        assert part in str(raised.value)


def test_a_thousand_differences_are_still_one_sentence() -> None:
    """Only the first few columns that differ are listed."""
    names = [tuple(f"{letter}{number}" for number in range(1000)) for letter in "ab"]
    with pytest.raises(UserError) as raised:
        same_columns(Columns(1000, names[0]), Columns(1000, names[1]), "validation", sparse=False)
    assert len(str(raised.value)) < 300


def _chosen(objective: str, **more: str) -> Hyperparameters:
    return Hyperparameters.parse({"objective": objective, "num_round": "1", **more})


def test_labels_of_the_domain_pass() -> None:
    """There is no fault in labels that the objective can learn from."""
    assert label_fault(Labels(10, 0.0, 1.0, whole=True), _chosen("binary:logistic")) is None
    assert label_fault(Labels(10, -5.5, 7.0, whole=False), _chosen("reg:squarederror")) is None
    assert label_fault(Labels(10, 0.0, 2.0, whole=True), _chosen("multi:softmax", num_class="3")) is None


@pytest.mark.parametrize(
    ("labels", "given"),
    [
        (Labels(10, 0.0, 3.0, whole=True), {"objective": "multi:softmax", "num_class": "3"}),
        (Labels(10, 0.0, 1.0, whole=False), {"objective": "multi:softmax", "num_class": "3"}),
        (Labels(10, -1.0, 1.0, whole=True), {"objective": "binary:logistic"}),
        (Labels(10, 0.0, 2.0, whole=True), {"objective": "reg:gamma"}),
        (Labels(10, 0.0, 40.0, whole=True), {"objective": "rank:ndcg"}),
    ],
)
def test_labels_outside_the_domain_are_told(labels: Labels, given: dict[str, str]) -> None:
    """The fault is the objective's."""
    fault = label_fault(labels, _chosen(**given))
    assert fault is not None
    assert fault.user == f"objective {given['objective']}"


def test_a_metric_has_a_domain_of_its_own() -> None:
    """Labels that suit the objective may not suit what is to be evaluated."""
    chosen = _chosen("rank:pairwise", eval_metric="map")
    fault = label_fault(Labels(10, 0.0, 2.0, whole=True), chosen)
    assert fault is not None
    assert fault.user == "eval_metric map"


def test_relevances_without_exponential_gain_may_be_any() -> None:
    """The limit on relevances comes from the exponential gain alone."""
    chosen = _chosen("rank:ndcg", ndcg_exp_gain="false")
    assert label_fault(Labels(10, 0.0, 40.5, whole=False), chosen) is None
