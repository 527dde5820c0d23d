"""What all ranks must see alike before any work: columns, labels, parameters, versions.

XGBoost notices few of these differences by itself: feature names in another order on one host, or other
parameters, give it a model without any complaint.
"""

from __future__ import annotations

import dataclasses
import platform
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from treering import __version__, labels
from treering.errors import PlatformError, UserError
from treering.job import Channel
from treering.readers.batch import Columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from treering.hyperparameters import Hyperparameters
    from treering.readers.batch import ColumnType, File
    from treering.world import World

_LIBRARIES = ("mpich", "mpi4py", "numpy", "numexpr", "pyarrow", "scipy")
_SHOWN = 3  # differences named in one sentence


_ROLES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "test": "test",
    "model": "model",
    "checkpoint": "model",
}
"""What each channel is for; under "training" SageMaker's own examples send their data to scripts."""


def agree_channels(world: World, host: str, channels: Mapping[str, Channel]) -> dict[str, Channel]:
    """The job's channels by what they are for, in the order of the log line: train, validation, test, model.

    Raises
    ------
    UserError
        When there is no train channel, two for one purpose, or one that would be ignored in silence.
    PlatformError
        When two hosts are told different things about a channel.
    """
    return _by_role(channels_of_all(world, host, channels))


def channels_of_all(world: World, host: str, channels: Mapping[str, Channel]) -> dict[str, Channel]:
    """The channels of all hosts by name, as one may be limited to some of them; collective.

    Raises PlatformError when two hosts are told different things about a channel.
    """
    everybody = world.allgather([host, [dataclasses.asdict(channel) for channel in channels.values()]])
    agreed: dict[str, tuple[str, Channel]] = {}
    for where, described in everybody:
        for channel in (Channel(**each) for each in described):
            first_host, first = agreed.setdefault(channel.name, (where, channel))
            if channel != first:
                raise PlatformError(
                    f"inputdataconfig.json describes channel {channel.name} differently: {first} on "
                    f"{first_host}, {channel} on {where}"
                )
    return {name: channel for name, (_, channel) in agreed.items()}


def _by_role(channels: Mapping[str, Channel]) -> dict[str, Channel]:
    unknown = sorted(channels.keys() - _ROLES)
    if unknown:
        raise UserError(
            f"Extraneous channel found: {', '.join(unknown)}; there are train, validation and test for data, and "
            "model for a model to go on from"
        )
    roles: dict[str, Channel] = {}
    for role in dict.fromkeys(_ROLES.values()):
        names = [name for name in channels if _ROLES[name] == role]
        if len(names) > 1:
            raise UserError(
                f"channels {' and '.join(sorted(names))} are for one and the same; give one of them"
            )
        if names:
            roles[role] = channels[names[0]]
    if "train" not in roles:
        given = ", ".join(sorted(channels)) or "none"
        raise UserError(
            f"there is no channel named train (channels of this job: {given}); training needs one"
        )
    return roles


def agree_columns(
    world: World, channel: str, host: str, seen: Sequence[tuple[File, Columns]], width: int
) -> Columns:
    """The columns of a channel, equal in all files on all hosts.

    Parameters
    ----------
    world, channel, host
        All ranks, and the names for the sentence.
    seen
        The columns of each file that this rank reads.
    width
        Columns found while reading, for formats that do not tell before (LIBSVM); the widest counts.

    Raises
    ------
    UserError
        When two files differ in number, names or order of their columns: which, where, and how.
    """
    variants: dict[tuple[int, tuple[str, ...] | None, tuple[int, ...]], str] = {}
    for file, columns in seen:
        if columns.count:  # a file without rows has no say
            variants.setdefault((columns.count, columns.names, columns.categorical), file.name)
    packed = [[count, names, kinds, name, host] for (count, names, kinds), name in variants.items()]
    everybody = [variant for of_rank in world.allgather(packed) for variant in of_rank]
    widest = int(world.allreduce(np.array([width], np.int64), "max")[0])
    if not everybody:
        return Columns(widest)
    first_count, first_names, first_kinds, first_file, first_host = everybody[0]
    for count, names, kinds, file, where in everybody[1:]:
        if (count, names) != (first_count, first_names):
            raise UserError(
                f"channel {channel}: {file} on {where} has {_describe(count, names, first_names)}, but "
                f"{first_file} on {first_host} has {_describe(first_count, first_names, names)}; "
                "all files need the same columns in the same order"
            )
        if kinds != first_kinds:
            column = min(set(kinds) ^ set(first_kinds))
            text, numbers = (file, where), (first_file, first_host)
            if column in first_kinds:
                text, numbers = numbers, text
            raise UserError(
                f"channel {channel}: column {first_names[column]!r} holds categories in {text[0]} on {text[1]}, "
                f"but numbers in {numbers[0]} on {numbers[1]}; write it with one type"
            )
    count = max(first_count, widest)
    types: tuple[ColumnType, ...] = tuple(
        "category" if column in first_kinds else "float" for column in range(count)
    )
    return Columns(count, tuple(first_names) if first_names else None, types if first_kinds else None)


def _describe(count: int, names: list[str] | None, others: list[str] | None) -> str:
    if not names:
        return f"{count} feature columns"
    apart = [
        f"{position + 1}: {name!r}"
        for position, name in enumerate(names)
        if not others or position >= len(others) or others[position] != name
    ]
    return f"{count} feature columns ({', '.join(apart[:_SHOWN]) or 'none besides'})"


def same_columns(train: Columns, other: Columns, channel: str, *, sparse: bool) -> Columns:
    """Check another channel against the training columns; only a `sparse` one may use fewer of them.

    Raises UserError when names or numbers differ.
    """
    if train.names and other.names and train.names != other.names:
        raise UserError(
            f"channel {channel} has {_describe(other.count, list(other.names), list(train.names))}, but "
            f"channel train has {_describe(train.count, list(train.names), list(other.names))}"
        )
    if other.categorical != train.categorical:
        column = min(set(other.categorical) ^ set(train.categorical))
        kinds = ("categories", "numbers") if column in other.categorical else ("numbers", "categories")
        raise UserError(
            f"column {train.name(column)} holds {kinds[0]} in channel {channel}, but {kinds[1]} in train"
        )
    if other.count > train.count or (other.count < train.count and not sparse):
        raise UserError(
            f"channel {channel} has {other.count} feature columns, channel train {train.count}; give both the same"
        )
    return train


@dataclasses.dataclass(frozen=True, slots=True)
class Labels:
    """The labels of all ranks: their range, and whether all are whole numbers."""

    rows: int
    minimum: float
    maximum: float
    whole: bool


def agree_labels(world: World, label: NDArray[np.float32]) -> Labels:
    """Look at the labels (float32, shape (rows,)) of all ranks together."""
    low, high = (label.min(), label.max()) if label.size else (np.inf, -np.inf)
    broken = bool(label.size) and not bool(np.all(label == np.rint(label)))
    # one allreduce: a maximum of the negated minimum is the minimum
    extremes = world.allreduce(np.array([-low, high, float(broken)], np.float64), "max")
    rows = world.allreduce(np.array([label.size], np.int64))
    return Labels(int(rows[0]), -float(extremes[0]), float(extremes[1]), not extremes[2])


def label_fault(found: Labels, chosen: Hyperparameters) -> labels.Fault | None:
    """What is wrong with the labels where one is outside the domain of the objective or of a metric."""
    return labels.find_fault(
        chosen.objective,
        chosen.num_class,
        found.minimum,
        found.maximum,
        all_integer=found.whole,
        metrics=chosen.eval_metrics,
        exponential_gain=chosen.ndcg_exp_gain is not False,
    )


def agree_settings(world: World, host: str, parameters: Mapping[str, object]) -> None:
    """Refuse hosts that run something else: other parameters, other library versions, another platform.

    Raises
    ------
    PlatformError
        With the first differences, per host.
    """
    mine = {name: str(value) for name, value in parameters.items()}
    mine |= {f"version of {library}": metadata.version(library) for library in _LIBRARIES}
    mine |= {"version of treering": __version__, "version of python": platform.python_version()}
    mine |= {"version of xgboost": _engine_version(), "machine": platform.machine()}
    everybody = world.allgather([host, mine])
    first_host, first = everybody[0]
    for other_host, other in everybody[1:]:
        names = [name for name in sorted({*first, *other}) if first.get(name) != other.get(name)]
        if names:
            apart = "; ".join(
                f"{name} is {first.get(name, 'not given')} on {first_host} and "
                f"{other.get(name, 'not given')} on {other_host}"
                for name in names[:_SHOWN]
            )
            raise PlatformError(f"the hosts do not run the same job: {apart}")


def _engine_version() -> str:
    for package in ("xgboost-cpu", "xgboost"):
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    raise PlatformError("XGBoost is not installed: this is no treering image")
