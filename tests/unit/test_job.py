"""`treering.job`: what SageMaker and its local modes write is understood, and all that is wrong is told at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from treering import job
from treering.errors import PlatformError, UserError
from treering.job import Channel, Resources
from treering.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

_RESOURCES = {"hosts": ["algo-1"], "current_host": "algo-1"}
_REAL_JOB = {
    "current_group_name": "homogeneousCluster",
    "current_host": "algo-2",
    "current_instance_type": "ml.c5.xlarge",
    "hosts": ["algo-1", "algo-2"],
    "instance_groups": [
        {
            "hosts": ["algo-1", "algo-2"],
            "instance_group_name": "homogeneousCluster",
            "instance_type": "ml.c5.xlarge",
        }
    ],
    "network_interface_name": "eth0",
    "topology": None,
}
_SEVERAL_GROUPS = {
    "current_group_name": "small",
    "current_host": "algo-3",
    "current_instance_type": "ml.c5.large",
    "hosts": ["algo-1", "algo-2", "algo-3"],
    "instance_groups": [
        {"hosts": ["algo-1", "algo-2"], "instance_group_name": "large", "instance_type": "ml.c5.4xlarge"},
        {"hosts": ["algo-3"], "instance_group_name": "small", "instance_type": "ml.c5.large"},
    ],
    "network_interface_name": "eth1",
}
_LOCAL_MODE = {
    "current_host": "algo-1-hiwgw",
    "hosts": ["algo-1-hiwgw", "algo-2-0x9fk"],
    "network_interface_name": "ethwe",
    "current_instance_type": "local",
}


@pytest.fixture
def paths(open_folder: Path) -> Paths:
    """An ``/opt/ml`` whose job has one host, no channels and no hyperparameters."""
    paths = Paths(open_folder)
    paths.config.mkdir(parents=True)
    _write(paths.resource_config, _RESOURCES)
    return paths


def _write(path: Path, content: object) -> None:
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(_REAL_JOB, Resources(("algo-1", "algo-2"), "algo-2", "eth0"), id="real job"),
        pytest.param(
            _SEVERAL_GROUPS, Resources(("algo-1", "algo-2", "algo-3"), "algo-3", "eth1"), id="several groups"
        ),
        pytest.param(
            _LOCAL_MODE,
            Resources(("algo-1-hiwgw", "algo-2-0x9fk"), "algo-1-hiwgw", "ethwe"),
            id="local mode",
        ),
        pytest.param(_RESOURCES, Resources(("algo-1",), "algo-1", None), id="only what is required"),
        pytest.param(
            _RESOURCES | {"network_interface_name": None},
            Resources(("algo-1",), "algo-1", None),
            id="null interface",
        ),
    ],
)
def test_resource_config_of_every_kind_of_job(paths: Paths, content: object, expected: Resources) -> None:
    """Hosts, this host and the interface are found whatever stands beside them, or does not."""
    _write(paths.resource_config, content)
    assert job.read(paths, {}).resources == expected


@pytest.mark.parametrize(
    ("content", "blamed"),
    [
        ({"current_host": "algo-1"}, "'hosts'"),
        ({"current_host": "algo-1", "hosts": []}, "'hosts'"),
        ({"current_host": "algo-1", "hosts": "algo-1"}, "'hosts'"),
        ({"current_host": "algo-1", "hosts": ["algo-1", 2]}, "'hosts'"),
        ({"hosts": ["algo-1"]}, "'current_host'"),
        ({"hosts": ["algo-1"], "current_host": ""}, "'current_host'"),
        ({"hosts": ["algo-1"], "current_host": 1}, "'current_host'"),
        ([], "JSON object, found list"),
        ('{"hosts": ["algo-1"],', "line 1 column"),
        ("", "line 1 column 1"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_broken_resource_config_is_the_platforms_fault(paths: Paths, content: object, blamed: str) -> None:
    """The sentence names the file and the key or place that is wrong."""
    _write(paths.resource_config, content)
    with pytest.raises(PlatformError) as raised:
        job.read(paths, {})
    assert str(paths.resource_config) in str(raised.value)
    assert blamed in str(raised.value)


def test_without_resource_config_this_is_no_sagemaker_job(paths: Paths) -> None:
    """The missing file is named."""
    paths.resource_config.unlink()
    with pytest.raises(PlatformError, match=r"resourceconfig\.json does not exist"):
        job.read(paths, {})


def test_only_the_resource_config_has_to_exist(paths: Paths) -> None:
    """A job without the two other files has no channels and no hyperparameters."""
    config = job.read(paths, {})
    assert config.channels == {}
    assert config.hyperparameters == {}


def test_unknown_files_are_ignored(paths: Paths) -> None:
    """Files that only some jobs have are not even opened: these are no JSON."""
    for name in ("init-config.json", "trainingjobconfig.json", "profilerconfig.json", "debughookconfig.json"):
        (paths.config / name).write_text("{")
    (paths.config / "metric-definition-regex.json").mkdir()
    assert job.read(paths, {}).resources.hosts == ("algo-1",)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({}, Channel("train"), id="nothing"),
        pytest.param({"TrainingInputMode": "File"}, Channel("train"), id="local mode"),
        pytest.param(
            {"TrainingInputMode": "File", "ContentType": "text/csv; label_size=1"},
            Channel("train", "text/csv; label_size=1"),
            id="local mode with a content type",
        ),
        pytest.param(
            {
                "TrainingInputMode": "FastFile",
                "S3DistributionType": "ShardedByS3Key",
                "RecordWrapperType": "None",
                "CompressionType": "None",
                "ContentType": "application/x-parquet",
            },
            Channel("train", "application/x-parquet", "ShardedByS3Key", "FastFile"),
            id="real job",
        ),
        pytest.param(
            {"TrainingInputMode": "File", "S3DistributionType": None, "ContentType": ""},
            Channel("train"),
            id="empty values",
        ),
    ],
)
def test_absent_channel_keys_mean_the_defaults(paths: Paths, entry: object, expected: Channel) -> None:
    """A channel is replicated, in File mode and without a content type unless its entry says otherwise."""
    _write(paths.input_data_config, {"train": entry})
    assert job.read(paths, {}).channels == {"train": expected}


@pytest.mark.parametrize(
    ("entry", "blamed"),
    [
        ({"TrainingInputMode": "Pipe"}, "input mode 'Pipe' is not supported"),
        (
            {"S3DistributionType": "Sharded"},
            "S3DistributionType 'Sharded' is unknown; use FullyReplicated or ShardedByS3Key",
        ),
        ({"S3DistributionType": ["ShardedByS3Key"]}, "S3DistributionType"),
        ({"TrainingInputMode": {}, "S3DistributionType": {"a": 1}}, "S3DistributionType"),
        ({"ContentType": ["text/csv"]}, "ContentType has to be a text"),
        (None, "has to be a JSON object"),
        ("File", "has to be a JSON object"),
    ],
)
def test_a_channel_that_cannot_be_used_is_named(paths: Paths, entry: object, blamed: str) -> None:
    """Whatever type of value stands there, the user is told which channel and what."""
    _write(paths.input_data_config, {"train": entry})
    with pytest.raises(UserError) as raised:
        job.read(paths, {})
    assert str(raised.value).startswith("channel train: ")
    assert blamed in str(raised.value)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ('{"eta": "0.1",\n "max_depth": }', "line 2 column"),
        ('{"eta": "0.1"', "line 1 column"),
        ("", "line 1 column 1"),
        ("eta=0.1", "line 1 column 1"),
    ],
)
def test_malformed_hyperparameters_are_the_users_fault(paths: Paths, content: str, place: str) -> None:
    """The sentence names the file, the line and the column."""
    paths.hyperparameters.write_text(content)
    with pytest.raises(UserError) as raised:
        job.read(paths, {})
    assert str(paths.hyperparameters) in str(raised.value)
    assert place in str(raised.value)


@pytest.mark.parametrize("content", [b'{"eta": "\xff"}', b'["eta"]', b'"eta"', b"[" * 100_000])
def test_hyperparameters_that_are_no_object_are_refused(paths: Paths, content: bytes) -> None:
    """Text in another encoding, lists, bare strings and endless nesting are told with the file's name."""
    paths.hyperparameters.write_bytes(content)
    with pytest.raises(UserError, match=r"hyperparameters\.json"):
        job.read(paths, {})


def test_hyperparameters_stay_raw(paths: Paths) -> None:
    """Values come as they stand in the file; a byte order mark does not disturb."""
    values = {"eta": "0.1", "verbosity": 2, "tree": "{'a': 1}", "name": "Zürich"}
    paths.hyperparameters.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8-sig")
    assert job.read(paths, {}).hyperparameters == values


def test_all_problems_are_reported_together(paths: Paths) -> None:
    """Three broken files give one error that names all three, and the platform has to act."""
    _write(paths.resource_config, {"hosts": ["algo-1"]})
    _write(paths.hyperparameters, "{")
    _write(paths.input_data_config, {"train": {"TrainingInputMode": "Pipe"}, "test": {"ContentType": 1}})
    with pytest.raises(PlatformError) as raised:
        job.read(paths, {})
    for part in ("resourceconfig.json", "hyperparameters.json", "channel train", "channel test"):
        assert part in str(raised.value)


def test_several_mistakes_of_the_user_stay_the_users(paths: Paths) -> None:
    """An error made of user mistakes alone is a UserError."""
    _write(paths.hyperparameters, "{")
    _write(paths.input_data_config, {"train": {"TrainingInputMode": "Pipe", "S3DistributionType": "None"}})
    with pytest.raises(UserError, match=r"hyperparameters\.json.*S3DistributionType.*input mode"):
        job.read(paths, {})


def test_a_file_that_cannot_be_read_is_told(
    paths: Paths, refused: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """Without the right to read it, the sentence names the file and the reason."""
    _write(paths.hyperparameters, {})
    with refused(paths.config), pytest.raises(PlatformError) as raised:
        job.read(paths, {})
    for path in (paths.resource_config, paths.hyperparameters, paths.input_data_config):
        assert f"{path} cannot be read: Permission denied" in str(raised.value)


def test_the_platforms_name_of_the_job_counts(paths: Paths) -> None:
    """TRAINING_JOB_NAME is the name, unless it is empty."""
    assert job.read(paths, {"TRAINING_JOB_NAME": "abalone-7"}).name == "abalone-7"
    assert job.read(paths, {"TRAINING_JOB_NAME": ""}).name == job.read(paths, {}).name


def test_a_nameless_job_is_called_the_same_on_all_its_hosts() -> None:
    """Neither who asks, nor the interface, nor the order of the list changes the name; other hosts do."""
    one = job.job_name(Resources(("algo-1", "algo-2", "algo-10"), "algo-1", "eth0"), {})
    other = job.job_name(Resources(("algo-1", "algo-10", "algo-2"), "algo-10", None), {})
    stranger = job.job_name(Resources(("algo-1-xyz", "algo-2-xyz"), "algo-1-xyz", None), {})
    assert one == other != stranger


def test_hosts_of_a_nameless_job_meet_whatever_their_hyperparameters(paths: Paths) -> None:
    """Hosts that were given other hyperparameters are to be told so, not refused as strangers."""
    _write(paths.hyperparameters, {"eta": "0.1"})
    before = job.read(paths, {}).name
    _write(paths.hyperparameters, {"eta": "0.2"})
    assert job.read(paths, {}).name == before
