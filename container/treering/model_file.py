"""XGBoost's model format, taken apart and put together: models as the JSON documents they are saved as."""

from __future__ import annotations

import json
from typing import Any

import xgboost as xgb

from treering.errors import UserError

type Document = dict[str, Any]
"""A saved model; the fields are those of XGBoost's ``doc/model.schema``, numbers outside arrays are strings."""


def take_apart(booster: xgb.Booster) -> Document:
    """The model as XGBoost saves it."""
    document: Document = json.loads(bytes(booster.save_raw("json")))
    return document


def put_together(document: Document) -> xgb.Booster:
    """The model that `document` describes."""
    return xgb.Booster(model_file=bytearray(json.dumps(document).encode()))


def read(content: bytes, where: str) -> xgb.Booster:
    """A model from the bytes of its file; raises UserError, naming `where`, when they are none."""
    try:
        if content:  # XGBoost 3.4.1 aborts the process on an empty buffer
            return xgb.Booster(model_file=bytearray(content))
        cause = None
    except xgb.core.XGBoostError as error:
        cause = error
    raise UserError(
        f"{where} is no model that XGBoost {xgb.__version__} can load (UBJSON or JSON; pickles and the binary "
        "format of old releases are not)"
    ) from cause


def append(first: xgb.Booster, second: xgb.Booster) -> xgb.Booster:
    """A model of the rounds of `first` and then those of `second`, trained on the margins of `first`.

    Everything but the trees, such as attributes and the base score, is that of `first`. It is what XGBoost's own
    ``xgb_model=`` gives, byte for byte.

    Raises
    ------
    UserError
        When the two do not fit together: dropout weighs earlier trees anew, and forests of two sizes do not mix.
    """
    whole, tail = take_apart(first), take_apart(second)
    trees, more = _trees(whole), _trees(tail)
    if "weight_drop" in trees or "weight_drop" in more:
        raise UserError("a model with dropout (booster=dart) cannot be trained on; give a gbtree model")
    size, sizes = "num_parallel_tree", [each["gbtree_model_param"] for each in (more, trees)]
    if sizes[0][size] != sizes[1][size]:
        raise UserError(
            f"{size} is {sizes[0][size]}, but the model to train on has {sizes[1][size]}; give the same"
        )
    count = len(trees["trees"])
    for number, tree in enumerate(more["trees"], count):
        tree["id"] = number
    trees["trees"] += more["trees"]
    trees["tree_info"] += more["tree_info"]
    rounds = trees["iteration_indptr"]
    rounds += [rounds[-1] + end for end in more["iteration_indptr"][1:]]
    trees["gbtree_model_param"]["num_trees"] = str(len(trees["trees"]))
    return put_together(whole)


def _trees(document: Document) -> Document:
    model: Document = document["learner"]["gradient_booster"]["model"]
    return model


def kind(booster: xgb.Booster) -> dict[str, str]:
    """What two models have in common when one can go on from the other, as texts.

    Returns
    -------
    dict
        ``objective``, ``booster``, ``num_class``, and of trees ``num_parallel_tree``.
    """
    learner = json.loads(booster.save_config())["learner"]
    grown = learner["gradient_booster"]
    found = {
        "objective": learner["objective"]["name"],
        "booster": grown["name"],
        "num_class": learner["learner_model_param"]["num_class"],
    }
    if "gbtree_model_param" in grown:
        found["num_parallel_tree"] = grown["gbtree_model_param"]["num_parallel_tree"]
    return found
