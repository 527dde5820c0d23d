"""What SageMaker says this job is: its config files, read once, every problem reported together."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

from treering.errors import PlatformError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from treering.paths import Paths

NAME_VARIABLE = "TRAINING_JOB_NAME"

type Distribution = Literal["FullyReplicated", "ShardedByS3Key"]


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    """The hosts, as ``resourceconfig.json`` lists them, and this one among them."""

    hosts: tuple[str, ...]
    current_host: str
    interface: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Channel:
    """One entry of ``inputdataconfig.json``.

    Parameters
    ----------
    name
        Also the folder's name below ``input/data``.
    content_type
        As given, parameters and case included; None when there is none.
    distribution
        Whether every host has all files (the default, also on EFS and FSx) or its own ones.
    mode
        ``File`` or ``FastFile``.
    """

    name: str
    content_type: str | None = None
    distribution: Distribution = "FullyReplicated"
    mode: str = "File"


@dataclasses.dataclass(frozen=True, slots=True)
class JobConfig:
    """Everything the platform told this host.

    Parameters
    ----------
    name
        The training job's name, or where none is given a digest that is equal on its hosts.
    resources
        The hosts.
    channels
        By name.
    hyperparameters
        Raw: names and strings, not yet parsed.
    """

    name: str
    resources: Resources
    channels: Mapping[str, Channel]
    hyperparameters: Mapping[str, object]


def read(paths: Paths, environ: Mapping[str, str]) -> JobConfig:
    """Read all config files; raises UserError or PlatformError that lists every problem found."""
    problems: list[PlatformError | UserError] = []
    resources = Resources((), "", None)
    channels: dict[str, Channel] = {}
    hyperparameters: Mapping[str, object] = {}
    try:
        resources = read_resources(paths)
    except PlatformError as error:
        problems.append(error)
    try:
        hyperparameters = read_object(paths.hyperparameters, optional=True)
    except PlatformError as error:
        problems.append(UserError(str(error)))
    try:
        channels, faults = _read_channels(read_object(paths.input_data_config, optional=True))
        problems += map(UserError, faults)
    except PlatformError as error:
        problems.append(error)
    if problems:
        by_user = all(isinstance(problem, UserError) for problem in problems)
        raise (UserError if by_user else PlatformError)("; ".join(str(problem) for problem in problems))
    return JobConfig(job_name(resources, environ), resources, channels, hyperparameters)


def read_resources(paths: Paths) -> Resources:
    """Read ``resourceconfig.json``, of which only ``hosts`` and ``current_host`` must be there.

    Raises
    ------
    PlatformError
        When the file is missing or malformed, or one of the two keys is.
    """
    found = read_object(paths.resource_config)
    hosts, current = found.get("hosts"), found.get("current_host")
    if not isinstance(hosts, list) or not hosts or not all(isinstance(host, str) for host in hosts):
        raise PlatformError(f"{paths.resource_config}: 'hosts' has to be a list of names, found {hosts!r}")
    if not isinstance(current, str) or not current:
        raise PlatformError(f"{paths.resource_config}: 'current_host' has to be a name, found {current!r}")
    interface = found.get("network_interface_name")
    return Resources(tuple(hosts), current, interface if isinstance(interface, str) else None)


def job_name(resources: Resources, environ: Mapping[str, str]) -> str:
    """What all hosts of this job call it; SageMaker gives every job a name of its own.

    Without one the hosts' names have to do. The hyperparameters are left out: hosts that differ in them
    shall meet and be told how they differ.
    """
    if environ.get(NAME_VARIABLE):
        return environ[NAME_VARIABLE]
    digest = hashlib.sha256(repr(sorted(resources.hosts)).encode())
    return f"unnamed-{digest.hexdigest()[:12]}"


def read_object(path: Path, *, optional: bool = False) -> dict[str, Any]:
    """A JSON object; {} for a missing file that may be missing. Raises PlatformError with line and column."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        if optional:
            return {}
        raise PlatformError(f"{path} does not exist: is this container run by SageMaker?") from None
    except OSError as error:
        raise PlatformError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PlatformError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise PlatformError(f"{path} has to hold a JSON object, found {type(found).__name__}")
    return found


def _read_channels(found: Mapping[str, Any]) -> tuple[dict[str, Channel], list[str]]:
    """The channels, and what is wrong with them; absent keys mean SageMaker's defaults."""
    channels, faults = {}, []
    for name, entry in found.items():
        if not isinstance(entry, dict):
            faults.append(f"channel {name}: its entry has to be a JSON object, found {entry!r}")
            continue
        distribution: Distribution = entry.get("S3DistributionType") or "FullyReplicated"
        mode = entry.get("TrainingInputMode") or "File"
        content_type = entry.get("ContentType") or None
        if distribution not in ("FullyReplicated", "ShardedByS3Key"):
            faults.append(
                f"channel {name}: S3DistributionType {distribution!r} is unknown; use FullyReplicated or "
                "ShardedByS3Key"
            )
        if mode not in ("File", "FastFile"):
            faults.append(f"channel {name}: input mode {mode!r} is not supported; use File or FastFile")
        if not isinstance(content_type, str | None):
            faults.append(f"channel {name}: ContentType has to be a text, found {content_type!r}")
        channels[name] = Channel(name, content_type, distribution, mode)
    return channels, faults
