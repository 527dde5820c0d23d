"""A booster's whole state: what pickling keeps, which is more than the model that is saved.

Beside the trees it has XGBoost's configuration and its random generator. Training that goes on from it draws the
columns and dropped trees that it would have drawn anyway; from a saved model, it draws others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import xgboost as xgb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def obstacle(parameters: Mapping[str, object]) -> str | None:
    """The parameter for which XGBoost 3.4.1 leaves out what training needs to go on; None where there is none."""
    if parameters.get("lambdarank_unbiased"):
        return "lambdarank_unbiased"  # the position bias
    return (
        "process_type=update" if parameters.get("process_type") == "update" else None
    )  # which trees are left


def dump(booster: xgb.Booster) -> bytes:
    """The state of a booster."""
    return bytes(booster.__getstate__()["handle"])


def load(state: bytes) -> xgb.Booster:
    """A booster with this state and no rows; `renewed` gives it some."""
    booster = xgb.Booster.__new__(xgb.Booster)
    booster.__setstate__({"handle": bytearray(state)})  # as pickle does, which would run what it reads
    return booster


def renewed(
    booster: xgb.Booster, parameters: Mapping[str, object], matrices: Sequence[xgb.DMatrix]
) -> xgb.Booster:
    """A new booster with the state of another, and nothing that was computed on the way, such as margins.

    Parameters
    ----------
    booster
        Stays as it is.
    parameters
        XGBoost's own, complete: the number of threads, say, may be another one now.
    matrices
        This rank's rows, whose margins XGBoost is to keep from round to round.
    """
    return xgb.Booster(dict(parameters), list(matrices), model_file=booster)
