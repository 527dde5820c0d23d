"""Columns that are given by name, as whole jobs: weights, margins and constraints do what plain XGBoost does with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import local_jobs
import numpy as np
import pytest
import xgboost as xgb
from drop_in_jobs import csv
from local_jobs import Job

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    type Floats = NDArray[np.float32]

_ROUNDS = 6
_ROWS = 400
_NAMES = ["a", "b", "c", "d"]
_OWN = {"max_depth": 3, "verbosity": 0}


def _features(random: np.random.Generator) -> Floats:
    """Few distinct values a column, so that plain XGBoost finds the same cuts."""
    return random.integers(0, 12, (_ROWS, len(_NAMES))).astype(np.float32)


def _noise(random: np.random.Generator) -> Floats:
    return random.standard_normal(_ROWS).astype(np.float32)


def _trained(
    folder: Path, features: Floats, label: Floats, further: Mapping[str, Floats], **given: str
) -> xgb.Booster:
    """The model of a job on two hosts whose file has the label among the features, and `further` columns before them."""
    of_names = dict(zip(_NAMES, features.T, strict=True))
    columns = {**further, "a": of_names["a"], "b": of_names["b"], "y": label, **of_names}
    content = ",".join(columns) + "\n" + csv(np.column_stack([*columns.values()]))
    ours = {"num_round": str(_ROUNDS), "max_depth": "3", "label_column": "y"}
    ended = local_jobs.run(
        Job({"train": {"a.csv": content}}, ours | given, "text/csv;header=true"), folder, hosts=2
    )
    assert ended.code == 0, ended.log
    assert ended.booster.feature_names == _NAMES
    return ended.booster


def _plain(features: Floats, label: Floats, settings: Mapping[str, Any], **described: Floats) -> xgb.Booster:
    """What plain XGBoost makes of all rows."""
    rows = xgb.QuantileDMatrix(features, label, feature_names=_NAMES, **described)
    return xgb.train({**_OWN, **settings}, rows, _ROUNDS)


def _matrix(features: Floats, **described: Floats) -> xgb.DMatrix:
    return xgb.DMatrix(features, feature_names=_NAMES, **described)


def test_weights_count_as_in_plain_xgboost(tmp_path: Path, random: np.random.Generator) -> None:
    """`weight_column` weighs the rows, and without weights the model is another one."""
    features = _features(random)
    label = features[:, 0] - features[:, 1] + 4 * _noise(random)
    weight = random.uniform(0, 5, _ROWS).astype(np.float32)
    booster = _trained(tmp_path, features, label, {"w": weight}, weight_column="w")
    own, without = _plain(features, label, {}, weight=weight), _plain(features, label, {})
    ours, theirs, others = (each.predict(_matrix(features)) for each in (booster, own, without))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    assert np.abs(ours - others).max() > 1e-2


@pytest.mark.parametrize("outputs", [1, 3])
def test_rounds_begin_at_margins_as_in_plain_xgboost(
    tmp_path: Path, random: np.random.Generator, outputs: int
) -> None:
    """`base_margin_column` has one column for each output, and without margins the trees are other ones."""
    features = _features(random)
    signal = features[:, 0] - features[:, 1] + 4 * _noise(random)
    settings: dict[str, Any] = {"objective": "reg:squarederror"}
    label = signal
    if outputs > 1:
        settings = {"objective": "multi:softprob", "num_class": outputs}
        label = np.digitize(signal, [-2, 2]).astype(np.float32)
    margin = random.normal(0, 2, (_ROWS, outputs)).astype(np.float32)
    names = [f"m{number}" for number in range(outputs)]
    given = {name: str(value) for name, value in settings.items()} | {"base_margin_column": ",".join(names)}
    # They stand in another order in the file.
    further = dict(zip(reversed(names), margin.T[::-1], strict=True))
    booster = _trained(tmp_path, features, label, further, **given)
    margins = margin[:, 0] if outputs == 1 else margin
    own, without = _plain(features, label, settings, base_margin=margins), _plain(features, label, settings)
    everything = _matrix(features, base_margin=margins)
    ours, theirs, others = (each.predict(everything, output_margin=True) for each in (booster, own, without))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    assert np.abs(ours - others).max() > 1e-2


def _branches(node: Mapping[str, Any], above: frozenset[str] = frozenset()) -> Iterator[frozenset[str]]:
    """The columns that stand together on each way to a leaf."""
    if "leaf" in node:
        yield above
    for child in node.get("children", ()):
        yield from _branches(child, above | {node["split"]})


def _together(booster: xgb.Booster) -> set[frozenset[str]]:
    return {branch for tree in booster.get_dump(dump_format="json") for branch in _branches(json.loads(tree))}


def test_columns_of_two_groups_never_follow_each_other(tmp_path: Path, random: np.random.Generator) -> None:
    """`interaction_constraints` by name, on labels for which trees put `a` and `b` together without them."""
    features = _features(random)
    label = (features[:, 0] - 4) * (features[:, 1] - 4) + _noise(random)
    assert any({"a", "b"} <= branch for branch in _together(_plain(features, label, {})))
    booster = _trained(tmp_path, features, label, {}, interaction_constraints='[["d", "b", "c"], ["a"]]')
    assert all(branch <= {"a"} or branch <= {"b", "c", "d"} for branch in _together(booster))
    own = _plain(features, label, {"interaction_constraints": "[[3, 1, 2], [0]]"})
    everything = _matrix(features)
    np.testing.assert_allclose(booster.predict(everything), own.predict(everything), rtol=1e-6, atol=1e-6)


def _steps(booster: xgb.Booster, features: Floats, column: int) -> Floats:
    """How predictions change as one column of each row grows from value to value."""
    raised = np.repeat(features[None], 12, axis=0)
    raised[:, :, column] = np.arange(12)[:, None]
    return np.diff(booster.predict(_matrix(raised.reshape(-1, len(_NAMES)))).reshape(12, -1), axis=0)


def test_predictions_only_rise_or_fall(tmp_path: Path, random: np.random.Generator) -> None:
    """`monotone_constraints` by name, on labels that ask for the contrary."""
    features = _features(random)
    label = features[:, 0] + features[:, 1] - features[:, 2] + _noise(random)
    free = _plain(features, label, {})
    assert _steps(free, features, 1).max() > 0
    assert _steps(free, features, 2).min() < 0
    booster = _trained(tmp_path, features, label, {}, monotone_constraints='{"c": 1, "b": -1}')
    assert _steps(booster, features, 1).max() <= 0
    assert _steps(booster, features, 2).min() >= 0
    assert _steps(booster, features, 0).max() > 0
    own = _plain(features, label, {"monotone_constraints": "(0,-1,1,0)"})
    everything = _matrix(features)
    np.testing.assert_allclose(booster.predict(everything), own.predict(everything), rtol=1e-6, atol=1e-6)


def test_columns_of_weight_zero_are_never_drawn(tmp_path: Path, random: np.random.Generator) -> None:
    """`feature_weights` by name, on labels that hang on the columns left out; those not named weigh 1."""
    features = _features(random)
    label = features[:, 0] - features[:, 1] + _noise(random)
    free = _plain(features, label, {"colsample_bynode": 0.5})
    assert {"a", "b"}.intersection(free.get_score())
    booster = _trained(
        tmp_path, features, label, {}, feature_weights='{"a": 0, "b": 0}', colsample_bynode="0.5"
    )
    assert set(booster.get_score()) == {"c", "d"}
