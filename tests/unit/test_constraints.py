"""Constraints mean the columns that the user named, or the job is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost as xgb

from treering.constraints import interaction_text, monotone_text
from treering.errors import UserError

NAMES = ["age", "income", "7"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((1, 0, -1), "(1,0,-1)"),
        ((1,), "(1)"),
        ({"income": -1}, "(0,-1,0)"),
        ({"7": 1, "0": -1}, "(-1,0,1)"),
    ],
)
def test_monotone(given: tuple[int, ...] | dict[str, int], text: str) -> None:
    """Names and numbers become positions; a name that looks like a number is a name first."""
    assert monotone_text(given, 3, NAMES) == text


def test_interaction() -> None:
    """Groups keep their order, and column 0 is a column like any other."""
    assert json.loads(interaction_text([[0, "income"], ["7", "1"]], 3, NAMES)) == [[0, 1], [2, 1]]


@pytest.mark.parametrize(
    ("given", "names", "fragment"),
    [
        ((1, 0, 0, 1), NAMES, "4 entries, but the data has 3 columns"),
        ({"incme": 1}, NAMES, "did you mean income?"),
        ({"age": 1}, None, "columns have no names"),
        ({"3": 1}, None, "columns are 0 to 2"),
    ],
)
def test_monotone_about_nothing(
    given: tuple[int, ...] | dict[str, int], names: list[str] | None, fragment: str
) -> None:
    """A constraint on a column that does not exist is refused with what exists."""
    with pytest.raises(UserError, match=fragment.replace("?", r"\?")):
        monotone_text(given, 3, names)


@pytest.mark.parametrize(("column", "fragment"), [(3, "columns are 0 to 2"), ("ages", r"did you mean age\?")])
def test_interaction_about_nothing(column: int | str, fragment: str) -> None:
    """XGBoost would train on an interaction of columns that do not exist; treering does not."""
    with pytest.raises(UserError, match=fragment):
        interaction_text([[0, column]], 3, NAMES)


def test_xgboost_obeys() -> None:
    """The texts are XGBoost's own form: no tree follows a forbidden direction or mixes separated columns."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")  # shown when the test fails
    rows = np.random.default_rng(seed).random((200, 2))
    names = ["rising", "other"]
    data = xgb.DMatrix(rows, label=rows[:, 0] + rows[:, 0] * rows[:, 1], feature_names=names)
    falling = {"monotone_constraints": monotone_text({"rising": -1}, 2, names), "verbosity": 0}
    apart = {"interaction_constraints": interaction_text([["rising"], [1]], 2, names), "verbosity": 0}
    assert "rising" not in xgb.train(falling, data, 3).get_fscore()
    trees = xgb.train(apart, data, 3).get_dump()
    assert not any("rising" in tree and "other" in tree for tree in trees)
    assert any(
        "rising" in tree and "other" in tree for tree in xgb.train({"verbosity": 0}, data, 3).get_dump()
    )
