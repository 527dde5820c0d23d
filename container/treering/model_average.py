"""Several models made one: a model whose margins are the weighted average of the margins of others.

A sum of trees times a number is the sum of the trees with their leaves times that number. So an average needs no
new kind of model, only all trees, with smaller leaves.
"""

from __future__ import annotations

import copy
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from treering import model_file
from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import xgboost as xgb
    from numpy.typing import NDArray

    from treering.model_file import Document, Round

_NO_CHILD = -1  # what a leaf has in place of children
_SPEAKING = ("num_class", "num_feature", "num_target")  # of the learner's parameters; the others follow


def average(boosters: Sequence[xgb.Booster], weights: Sequence[float]) -> xgb.Booster:
    """One model whose margins are the weighted average of the margins of several.

    Round t of it has the trees of all boosters' round t, with scaled leaves: after t rounds it is the average of
    the boosters after t rounds. To XGBoost each of its rounds is a forest, with ``num_parallel_tree`` times as many
    trees as there are boosters that count.

    Parameters
    ----------
    boosters
        Of trees, alike in all but these, with equal numbers of rounds, at least one of them. Base scores may
        differ: what is between them goes into the leaves of the first round. Attributes are the first one's.
    weights
        One for each booster, 0 or more. A booster of weight 0 counts nothing, and is not looked at.

    Raises
    ------
    UserError
        When the boosters are not of one kind, or all weights are 0.
    """
    total = math.fsum(weights)
    counted = {number: weight / total for number, weight in enumerate(weights) if weight > 0}
    if not counted:
        raise UserError("all models to be averaged have weight 0; give one of them more")
    documents = {number: model_file.take_apart(boosters[number]) for number in counted}
    _require_one_kind(documents)
    first = next(iter(documents.values()))
    _start_alike(list(documents.values()))
    models = [model_file.trees(document) for document in documents.values()]
    for model, share in zip(models, counted.values(), strict=True):
        for tree in model["trees"]:
            _change_leaves(tree, factor=share)
    model_file.hold(models[0], [_forest(same) for same in zip(*map(model_file.rounds, models), strict=True)])
    size = models[0]["gbtree_model_param"]
    size["num_parallel_tree"] = str(int(size["num_parallel_tree"]) * len(models))
    return model_file.put_together(first)


def _forest(rounds: Iterable[Round]) -> Round:
    """One round of the trees of several, in the order that XGBoost gives a forest: by output."""
    return sorted((each for of_round in rounds for each in of_round), key=lambda each: each[0])


def _change_leaves(
    tree: Document, *, factor: float = 1.0, offset: NDArray[np.float64] | float = -0.0
) -> None:
    """Multiply all that a tree predicts, then add to it: one number, or one for each output of a leaf.

    The default adds nothing: -0.0 leaves the sign of a zero as it is, which 0.0 does not.
    """
    outputs = int(tree["tree_param"]["size_leaf_vector"])
    for name in ("base_weights", "leaf_weights") if outputs > 1 else ("base_weights",):
        values = np.array(tree[name], np.float64).reshape(-1, outputs) * factor + offset
        tree[name] = values.astype(np.float32).ravel().tolist()
    if outputs == 1:
        values = np.array(tree["split_conditions"], np.float64)
        leaf = np.array(tree["left_children"]) == _NO_CHILD
        values[leaf] = values[leaf] * factor + offset
        tree["split_conditions"] = values.astype(np.float32).tolist()


def _start_alike(documents: Sequence[Document]) -> None:
    """Move what lies between the base margins of models into the first tree of each output."""
    if len({document["learner"]["learner_model_param"]["base_score"] for document in documents}) == 1:
        return
    margins = [_base_margin(document) for document in documents]
    for document, margin in zip(documents, margins, strict=True):
        first: dict[int, Document] = {}
        for output, tree in next(model_file.rounds(model_file.trees(document))):
            first.setdefault(output, tree)
        for output, tree in first.items():
            offset = margin - margins[0]
            is_vector = tree["tree_param"]["size_leaf_vector"] != "1"
            _change_leaves(tree, offset=offset if is_vector else float(offset[output]))


def _base_margin(document: Document) -> NDArray[np.float64]:
    """What a model predicts without its trees, before the objective's transformation; shape (outputs,)."""
    bare = copy.deepcopy(document)
    model = model_file.trees(bare)
    model_file.hold(model, itertools.islice(model_file.rounds(model), 1))
    for tree in model["trees"]:  # without any tree, XGBoost 3.4.1 takes the base score for a margin
        _change_leaves(tree, factor=0.0)
    columns = int(bare["learner"]["learner_model_param"]["num_feature"])
    row = np.full((1, columns), np.nan, np.float32)
    margin = model_file.put_together(bare).inplace_predict(
        row, predict_type="margin", validate_features=False
    )
    return np.asarray(margin, np.float64).ravel()


def _require_one_kind(documents: dict[int, Document]) -> None:
    """Raise UserError where models cannot be averaged, or differ in more than trees, base score and attributes."""
    natures = {number: _nature(number, document) for number, document in documents.items()}
    (number, nature), *others = natures.items()
    for other, another in others:
        apart = next((name for name in nature if nature[name] != another[name]), None)
        if apart is not None:
            raise UserError(
                f"models cannot be averaged: model {other} has {apart} {another[apart]}, but model {number} has "
                f"{nature[apart]}; train all on the same columns with the same hyperparameters"
            )


def _nature(number: int, document: Document) -> dict[str, object]:
    """What has to be equal in all models, by the name for a message; raises UserError for a kind that cannot be."""
    learner, model = document["learner"], model_file.trees(document)
    if "trees" not in model or "weight_drop" in model:
        kind = "dropout" if "trees" in model else "booster=gblinear"
        raise UserError(f"models cannot be averaged: model {number} has {kind}; train trees without dropout")
    if not model["trees"]:
        raise UserError(f"models cannot be averaged: model {number} has no rounds; train one at least")
    own = {name: value for name, value in learner["objective"].items() if name != "name"}
    return {
        "objective": learner["objective"]["name"],
        **{name: learner["learner_model_param"][name] for name in _SPEAKING},
        "feature_names": learner["feature_names"],
        "feature_types": learner["feature_types"],
        "parameters of the objective": own,
        "num_parallel_tree": model["gbtree_model_param"]["num_parallel_tree"],
        "values in a leaf": model["trees"][0]["tree_param"]["size_leaf_vector"],
        "rounds": len(model["iteration_indptr"]) - 1,
    }
