"""SageMaker's config files and the files of checkpoints: any content is understood, or refused in one sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering import job
from treering.checkpoint_folder import Checkpoint, CheckpointFolder
from treering.cluster import Cluster
from treering.errors import PlatformError, UserError
from treering.hyperparameters import Hyperparameters
from treering.paths import Paths
from treering.settings import Settings

from .budget import FUZZ

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAMES = [
    "algo-1",
    "algo-2",
    "train",
    "validation",
    "eth0",
    "File",
    "Pipe",
    "ShardedByS3Key",
    "text/csv",
    "",
    "1e999",
]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(_NAMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def _object(*keys: str) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, _JSON))


def _file(content: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes | None]:
    """Mostly JSON of the right kind, at times any JSON, any bytes, or no file."""
    right = (content | _JSON).map(lambda value: json.dumps(value).encode())
    deep = st.just(b"[" * 5_000)
    return right | right | st.binary(max_size=60) | deep | st.none()


_RESOURCES = _object("hosts", "current_host", "network_interface_name") | st.fixed_dictionaries(
    {
        "hosts": st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3),
        "current_host": st.sampled_from(_NAMES),
    }
)
_CHANNEL = _object("TrainingInputMode", "S3DistributionType", "ContentType", "RecordWrapperType")
_CHANNELS = st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=5), _CHANNEL | _JSON, max_size=3)
_KNOWN = sorted(Hyperparameters.model_fields)
_HYPERPARAMETERS = st.dictionaries(
    st.sampled_from(_KNOWN) | st.text(max_size=9), _JSON | st.text(), max_size=5
)


def _read(paths: Paths) -> None:
    """All that a supervisor and its ranks read."""
    Settings.read(paths, {})
    CheckpointFolder.of(paths)
    config = job.read(paths, {})
    found = config.resources
    Cluster.of(found.hosts, found.current_host, found.interface, {})
    Hyperparameters.parse(config.hyperparameters)


def _refusal(work: Callable[[], object]) -> str | None:
    """The sentence with which it was refused; None when it was not."""
    try:
        work()
    except (UserError, PlatformError) as error:
        return str(error)
    return None


@FUZZ
@given(
    resources=_file(_RESOURCES),
    channels=_file(_CHANNELS),
    given_=_file(_HYPERPARAMETERS),
    kept=_file(_object("LocalPath")),
)
def test_any_config_files_are_read_or_refused(
    tmp_path: Path,
    resources: bytes | None,
    channels: bytes | None,
    given_: bytes | None,
    kept: bytes | None,
) -> None:
    """Nothing but a UserError or a PlatformError comes out, and no file is quietly half read."""
    paths = Paths(tmp_path)
    paths.config.mkdir(parents=True, exist_ok=True)
    for path, content in (
        (paths.resource_config, resources),
        (paths.input_data_config, channels),
        (paths.hyperparameters, given_),
        (paths.checkpoint_config, kept),
    ):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
    assert _refusal(lambda: _read(paths)) != ""


@FUZZ
@given(_HYPERPARAMETERS)
def test_any_hyperparameters_are_taken_or_refused(given_: dict[str, object]) -> None:
    """With `num_round`, which is the one that must be there."""
    assert _refusal(lambda: Hyperparameters.parse({"num_round": "3"} | given_)) != ""


@FUZZ
@given(st.data())
def test_a_damaged_state_is_no_checkpoint(data: st.DataObject) -> None:
    """Bytes are missing or other ones: it is refused, never half read."""
    whole = Checkpoint({"settings": {"eta": "0.3"}}, [{"train-rmse": 1.5}], b"state").pack(b"model")
    if data.draw(st.booleans()):
        damaged = data.draw(st.binary(max_size=200))
    else:
        position = data.draw(st.integers(0, len(whole) - 1))
        damaged = (
            whole[:position]
            + data.draw(st.binary(max_size=3))
            + whole[position + data.draw(st.integers(0, 9)) :]
        )
    if damaged == whole:
        return
    with pytest.raises(ValueError, match=r".+"):
        Checkpoint.unpack(damaged)
