"""XGBoost's model format, taken apart and put together: models as the JSON documents they are saved as."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import xgboost as xgb

from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

type Document = dict[str, Any]
"""A saved model; the fields are those of XGBoost's ``doc/model.schema``, numbers outside arrays are strings."""

type Round = list[tuple[int, Document]]
"""The trees of a round, each behind the number of the output that it adds to."""


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
    whole = take_apart(first)
    given, more = trees(whole), trees(take_apart(second))
    if "weight_drop" in given or "weight_drop" in more:
        raise UserError("a model with dropout (booster=dart) cannot be trained on; give a gbtree model")
    size, sizes = "num_parallel_tree", [each["gbtree_model_param"] for each in (more, given)]
    if sizes[0][size] != sizes[1][size]:
        raise UserError(
            f"{size} is {sizes[0][size]}, but the model to train on has {sizes[1][size]}; give the same"
        )
    hold(given, [*rounds(given), *rounds(more)])
    return put_together(whole)


def concatenate(parts: Iterable[xgb.Booster]) -> xgb.Booster:
    """A model of the rounds of all parts, one after the other; at least one part.

    Each part has to have been trained on the margins of those before it, with the same parameters, which is not
    checked. Everything but the trees is that of the first.
    """
    documents = [take_apart(part) for part in parts]
    hold(trees(documents[0]), [each for document in documents for each in rounds(trees(document))])
    return put_together(documents[0])


def rounds(model: Document) -> Iterator[Round]:
    """The rounds of a model's trees (see `trees`), in order."""
    every = list(zip(model["tree_info"], model["trees"], strict=True))
    return (every[start:end] for start, end in itertools.pairwise(model["iteration_indptr"]))


def hold(model: Document, rounds: Iterable[Round]) -> None:
    """Make these the rounds of a model's trees."""
    listed = list(rounds)
    every = [each for of_round in listed for each in of_round]
    for number, (_, tree) in enumerate(every):
        tree["id"] = number
    model["tree_info"] = [output for output, _ in every]
    model["trees"] = [tree for _, tree in every]
    model["iteration_indptr"] = [0, *itertools.accumulate(map(len, listed))]
    model["gbtree_model_param"]["num_trees"] = str(len(every))


def trees(document: Document) -> Document:
    """The part of a model that has its trees; of a linear model, its weights."""
    model: Document = document["learner"]["gradient_booster"]["model"]
    return model


def with_weighed_leaves(booster: xgb.Booster) -> xgb.Booster:
    """The same model with the weights that dropout gave to its trees in their leaves; `booster` if there are none.

    XGBoost 3.4 keeps these weights where earlier versions do not look for them, and so mispredict in silence.
    Predictions are equal bit for bit: the product is float32 in both.
    """
    # To look for their name takes a twentieth of the time of taking the model apart.
    if b"weight_drop" not in booster.save_raw("ubj"):
        return booster
    document = take_apart(booster)
    model = trees(document)
    weights = np.asarray(model.pop("weight_drop", []), np.float32)
    for tree, weight in zip(model["trees"], weights, strict=True):
        leaves = np.asarray(tree["left_children"]) == -1
        for name in ("base_weights", "leaf_weights"):
            if name in tree:
                tree[name] = (np.asarray(tree[name], np.float32) * weight).tolist()
        if tree["tree_param"]["size_leaf_vector"] in {"0", "1"}:  # conditions of leaves are their values
            values = np.asarray(tree["split_conditions"], np.float32)
            tree["split_conditions"] = np.where(leaves, values * weight, values).tolist()
    return put_together(document)


def kind(booster: xgb.Booster) -> dict[str, str]:
    """What two models have in common when one can go on from the other, as texts.

    Returns
    -------
    dict
        ``objective``, ``booster``, ``num_class``, ``outputs``, and of trees ``num_parallel_tree``.
    """
    learner = json.loads(booster.save_config())["learner"]
    grown, sizes = learner["gradient_booster"], learner["learner_model_param"]
    found = {
        "objective": learner["objective"]["name"],
        "booster": grown["name"],
        "num_class": sizes["num_class"],
        "outputs": str(max(int(sizes["num_class"]), int(sizes["num_target"]))),
    }
    if "gbtree_model_param" in grown:
        found["num_parallel_tree"] = grown["gbtree_model_param"]["num_parallel_tree"]
    return found


def base_score(booster: xgb.Booster) -> list[float]:
    """As XGBoost takes it: before the objective's transformation is undone, one for each output."""
    config = json.loads(booster.save_config())
    text = config["learner"]["learner_model_param"]["base_score"]
    return [float(each) for each in text.strip("[]").split(",")]
