"""`treering.script.environment`: what scripts are told, in the forms that they know from SageMaker's toolkits."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.cluster import Cluster
from treering.paths import Paths
from treering.script import environment
from treering.script.program import Program

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = st.text("abcdefghij_", min_size=2, max_size=8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("0.1", 0.1),
        ("true", True),
        ("True", "True"),
        ("null", None),
        ('"quoted"', "quoted"),
        ("plain", "plain"),
        ("[1, 2]", [1, 2]),
        ("{'a': 1}", "{'a': 1}"),
        ("007", "007"),
        ("", ""),
        (3, 3),
    ],
)
def test_a_text_that_is_json_is_its_value(text: object, value: object) -> None:
    """Anything else is the text itself, as in SageMaker's toolkits."""
    assert environment.own({"x": text}) == {"x": value}


def test_only_the_scripts_own_are_passed_on() -> None:
    """Neither SageMaker's, nor a tuning job's, nor what the ring itself is told."""
    given = {
        "sagemaker_program": "a",
        "_tuning_objective_metric": "b",
        "stall_timeout": "9",
        "ranks_per_host": "2",
    }
    assert environment.own(given | {"epochs": "3", "_mine": "4"}) == {"epochs": 3, "_mine": 4}


def test_sdk_v2_and_v3_write_arguments_differently() -> None:
    """Sorted and in Python's texts; or as given and in JSON."""
    values: dict[str, Any] = {
        "z": 1,
        "flag": True,
        "none": None,
        "map": {"b": 2, "a": "x"},
        "text": "a b",
        "list": [1],
    }
    assert environment.arguments(values, is_v3=False) == [
        *("--flag", "True", "--list", "[1]", "--map", "a=x,b=2", "--none", "", "--text", "a b", "-z", "1")
    ]
    assert environment.arguments(values, is_v3=True) == [
        *("--z", "1", "--flag", "true", "--none", "null", "--map", '{"b": 2, "a": "x"}', "--text", "a b"),
        *("--list", "[1]"),
    ]


@given(st.dictionaries(_NAMES, st.integers() | st.floats(allow_nan=False)), st.booleans())
def test_numbers_come_back_from_arguments(values: dict[str, float], is_v3: bool) -> None:
    """`argparse` reads what was given, by the same names and to the last bit."""
    parser = argparse.ArgumentParser()
    for name, value in values.items():
        parser.add_argument(f"--{name}", type=type(value))
    joined = environment.arguments(values, is_v3=is_v3)
    pairs = [f"{name}={value}" for name, value in zip(joined[::2], joined[1::2], strict=True)]
    assert vars(parser.parse_args(pairs)) == values


def test_variables_describe_the_job(tmp_path: Path) -> None:
    """Those of SageMaker's toolkit and those of SDK v3, in their forms."""
    paths = Paths(tmp_path)
    paths.config.mkdir(parents=True)
    resources = {
        "current_host": "algo-10",
        "hosts": ["algo-10", "algo-2"],
        "current_instance_type": "ml.c5.xlarge",
    }
    paths.resource_config.write_text(json.dumps(resources))
    paths.input_data_config.write_text(json.dumps({"train": {"ContentType": "text/csv"}}))
    paths.hyperparameters.write_text(json.dumps({"sagemaker_container_log_level": "10", "lr": "0.5"}))
    cluster = Cluster.of(["algo-10", "algo-2"], "algo-10", None, {})
    program = Program("s3://b/c.tar.gz", "src/train.py")
    told = environment.variables(
        paths, "job-7", cluster, program, tmp_path / "code", tmp_path / "aside", {"lr": 0.5}
    )
    expected = {
        "SM_MODEL_DIR": str(tmp_path / "aside"),
        "SM_OUTPUT_DATA_DIR": str(tmp_path / "output" / "data"),
        "SM_INPUT_DIR": str(tmp_path / "input"),
        "SM_INPUT_CONFIG_DIR": str(tmp_path / "input" / "config"),
        "SM_CHANNELS": '["train"]',
        "SM_CHANNEL_TRAIN": str(tmp_path / "input" / "data" / "train"),
        "SM_INPUT_DATA_CONFIG": '{"train":{"ContentType":"text/csv"}}',
        "SM_HPS": '{"lr":0.5}',
        "SM_HP_LR": "0.5",
        "SM_USER_ARGS": '["--lr","0.5"]',
        "SM_CURRENT_HOST": "algo-10",
        "CURRENT_HOST": "algo-10",
        "SM_HOSTS": '["algo-2","algo-10"]',
        "SM_HOST_COUNT": "2",
        "SM_CURRENT_HOST_RANK": "1",
        "SM_MASTER_ADDR": "algo-2",
        "SM_CURRENT_INSTANCE_TYPE": "ml.c5.xlarge",
        "SM_NETWORK_INTERFACE_NAME": "",
        "SM_LOG_LEVEL": "10",
        "SM_MODULE_DIR": str(tmp_path / "code"),
        "SM_MODULE_NAME": "src/train",
        "SM_USER_ENTRY_POINT": "src/train.py",
        "SM_JOB_NAME": "job-7",
    }
    assert {name: told[name] for name in expected} == expected
    assert int(told["SM_NUM_CPUS"]) > 0
    assert int(told["SM_NUM_GPUS"]) >= 0
    whole = json.loads(told["SM_TRAINING_ENV"])
    assert whole["channel_input_dirs"] == {"train": expected["SM_CHANNEL_TRAIN"]}
    assert whole["resource_config"] == resources
    assert all(isinstance(value, str) for value in told.values())
