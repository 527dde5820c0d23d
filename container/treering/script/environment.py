"""What a script is told: the ``SM_…`` variables of SageMaker's toolkits, and hyperparameters as arguments.

Names and forms are those that scripts know from AWS's own images: the variables of ``sagemaker-training``
(https://github.com/aws/sagemaker-training-toolkit) and those that SDK v3 adds.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from treering import job
from treering.hyperparameters import SAGEMAKER_PREFIX
from treering.resources import cores
from treering.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.cluster import Cluster
    from treering.paths import Paths
    from treering.script.program import Program

_LOG_LEVEL: Final = 20
_PORT: Final = 7777  # what SDK v3 tells; nothing of ours listens there
_DEVICES: Final = "nvidia[0-9]*"
_NOT_THE_SCRIPTS: Final = frozenset(
    ["_tuning_objective_metric", *(field.name for field in dataclasses.fields(Settings))]
)


def own(given: Mapping[str, object]) -> dict[str, Any]:
    """The hyperparameters that are the script's, as values: neither SageMaker's own nor those of the ring.

    A text that is JSON becomes its value, as in SageMaker's toolkits.
    """
    return {
        name: _value(text)
        for name, text in given.items()
        if not name.startswith(SAGEMAKER_PREFIX) and name not in _NOT_THE_SCRIPTS
    }


def arguments(values: Mapping[str, Any], *, is_v3: bool) -> list[str]:
    """The command line of a script: ``--name value`` for each hyperparameter.

    SDK v2's toolkit sorts them, writes Python's texts (``True``, nothing for None), maps as ``a=1,b=2`` and
    names of one letter with one dash; SDK v3 writes JSON (``true``, ``null``, ``{"a": 1}``).
    """
    if is_v3:
        pairs = [
            (f"--{name}", value if isinstance(value, str) else json.dumps(value))
            for name, value in values.items()
        ]
    else:
        pairs = [
            (f"--{name}" if len(name) > 1 else f"-{name}", _python_text(value))
            for name, value in sorted(values.items())
        ]
    return [part for pair in pairs for part in pair]


def variables(
    paths: Paths,
    name: str,
    cluster: Cluster,
    program: Program,
    folder: Path,
    model: Path,
    values: Mapping[str, Any],
) -> dict[str, str]:
    """The environment of a script.

    Parameters
    ----------
    paths, name, cluster
        The job on this host, and its name.
    program, folder
        What runs, and where its code lies.
    model
        Where this rank is to write models.
    values
        From `own`.
    """
    resources, inputs = (
        job.read_object(paths.resource_config),
        job.read_object(paths.input_data_config, optional=True),
    )
    given = job.read_object(paths.hyperparameters, optional=True)
    channels = {name: str(paths.channel(name)) for name in inputs}
    entry = program.entry
    told: dict[str, object] = {
        "channels": sorted(channels),
        "current_host": cluster.me,
        "current_host_rank": cluster.index,
        "current_instance_group": resources.get("current_group_name"),
        "current_instance_type": resources.get("current_instance_type"),
        "entry_script": entry,
        "framework_module": None,
        "framework_params": {
            name: _value(text) for name, text in given.items() if name.startswith(SAGEMAKER_PREFIX)
        },
        "host_count": len(cluster.hosts),
        "hosts": list(cluster.hosts),
        "hps": values,
        "input_config_dir": str(paths.config),
        "input_data_config": inputs,
        "input_data_dir": str(paths.channel("")),
        "input_dir": str(paths.config.parent),
        "instance_groups": resources.get("instance_groups"),
        "job_name": name,
        "log_level": _value(given.get("sagemaker_container_log_level")) or _LOG_LEVEL,
        "master_addr": cluster.first,
        "master_port": _PORT,
        "model_dir": str(model),
        "module_dir": str(folder),
        "module_name": str(PurePosixPath(entry).with_suffix("")) if entry else "",
        "network_interface_name": resources.get("network_interface_name"),
        "num_cpus": cores(),
        "num_gpus": len(list(Path("/dev").glob(_DEVICES))),
        "num_neurons": 0,
        "output_data_dir": str(paths.output_data),
        "output_dir": str(paths.failure.parent),
        "output_failure": str(paths.failure),
        "output_intermediate_dir": str(paths.failure.parent / "intermediate"),
        "resource_config": resources,
        "source_dir": str(folder),
        "user_args": arguments(values, is_v3=program.is_v3),
        "user_entry_point": entry,
    }
    told["training_env"] = told | {"channel_input_dirs": channels, "hyperparameters": values}
    for kind, named in (("channel", channels), ("hp", values)):
        for each, value in named.items():
            told |= {f"{kind}_{each}": value, f"{kind}_{each.replace('-', '_')}": value}
    return {f"SM_{each.upper()}": _variable(value) for each, value in told.items()} | {
        "CURRENT_HOST": cluster.me
    }


def _value(text: object) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return text


def _variable(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _python_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ",".join(f"{key}={each}" for key, each in sorted(value.items()))
    return str(value)
