"""What a run is, in words: where two runs agree in it, one can go on from the other's checkpoints."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import xgboost as xgb

from treering import __version__, losses
from treering.row_digest import row_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.hyperparameters import Hyperparameters
    from treering.preparation import Prepared
    from treering.shard import Shard
    from treering.world import World

    type Identity = Mapping[str, Mapping[str, str]]
    """Groups of names and values: the settings, the rows of channels, the processor."""

PROCESSOR: Final = "the processor"

# Parameters that change neither the model nor what can be compared with earlier rounds.
_HARMLESS: Final = frozenset(
    [
        "debug_synchronize",
        "disable_default_eval_metric",
        "eval_metric",
        "fail_on_invalid_gpu_id",
        "max_cached_hist_node",
        "nthread",
        "validate_parameters",
        "verbosity",
    ]
)
_LONGEST = 60  # characters of a value in a message


def describe_rows(world: World, chosen: Hyperparameters, shards: Mapping[str, Shard]) -> Identity:
    """The part of `describe` that looks at the rows of channels, by channel; collective."""
    every = chosen.early_stopping_rounds is not None  # other rows have other scores
    return {name: _rows(world, shard) for name, shard in shards.items() if every or name == "train"}


def describe(chosen: Hyperparameters, prepared: Prepared, rows: Identity) -> Identity:
    """What a run is, in words: two runs can go on from each other's checkpoints where these agree.

    Parameters
    ----------
    chosen, prepared
        The job, and all that XGBoost is told.
    rows
        From `describe_rows`.
    """
    settings = {name: str(value) for name, value in prepared.parameters.items() if name not in _HARMLESS}
    settings |= {
        # Both are put into effect by treering, so they are not among the parameters.
        "subsample": str(chosen.subsample or 1.0),
        "feature_weights": str(chosen.feature_weights or "none"),
        "gradients": "XGBoost's own" if prepared.gradients is None else "exact",
        "version of treering": __version__,
        "version of xgboost": xgb.__version__,
    }
    if prepared.initial is not None:
        settings["model to start from"] = _digest(bytes(prepared.initial.save_raw("ubj")))
    groups: dict[str, Mapping[str, str]] = {"settings": settings, **rows}
    if chosen.reproducible != "false":
        groups[PROCESSOR] = {"its exp and log": losses.fingerprint()}
    return groups


def _rows(world: World, shard: Shard) -> dict[str, str]:
    fields = (shard.label, shard.weight, shard.group, shard.label_upper, shard.base_margin)
    beside = [each for each in fields if each is not None]
    return {
        "rows": str(shard.total_rows),
        "columns": str(shard.columns.count),
        "names": _digest(str((shard.columns.names, shard.categories)).encode()),
        "values": f"{row_digest(world, shard.features, beside):016x}",
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def differences(group: str, now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    """Each name of a group whose value is another one, with both values."""
    where = "" if group == "settings" else f" of {group}"
    return [
        f"{name}{where} is {_shown(now, name)}, but was {_shown(then, name)}"
        for name in sorted(now.keys() | then.keys())
        if now.get(name) != then.get(name)
    ]


def _shown(values: Mapping[str, str], name: str) -> str:
    value = values.get(name, "not given")
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
