"""scripts/submit_job.py and scripts/tune_job.py through both SDKs, against a SageMaker that only listens."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest
from docker_engine import REPOSITORY
from sdk.conftest import VERSIONS, offline, python_of

if TYPE_CHECKING:
    from collections.abc import Iterator

JOB = f"""
--image-uri 111122223333.dkr.ecr.eu-central-1.amazonaws.com/treering@sha256:{"5" * 64}
--role arn:aws:iam::111122223333:role/training --region eu-central-1
--hosts 4 --instance-type ml.c5.2xlarge --volume-size 70 --input-mode FastFile
--channel train=s3://bucket/train --channel validation=s3://bucket/validation
--content-type text/csv --distribution train=ShardedByS3Key
--hp objective=binary:logistic --hp num_round=200 --hp eval_metric=auc,logloss
--output s3://bucket/models --subnet subnet-1 --security-group sg-1
--spot --max-run 3600 --max-wait 5000 --checkpoints s3://bucket/checkpoints
"""
SEARCH = """
--objective validation:auc --range eta=0.01:1:log --range max_depth=3:10 --choice grow_policy=depthwise,lossguide
--jobs 12 --parallel 3
"""

# As IAM and STS say it.
DENIED = b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"


def run(version: str, script: str, options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script by one SDK's Python."""
    command = (python_of(version), str(REPOSITORY / "scripts" / script), *options.split(), "--sdk", version)
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env=offline() | {"NO_PROXY": "127.0.0.1"} | variables,
    )


def request(version: str, script: str, options: str) -> dict[str, Any]:
    """What a dry run prints."""
    ended = run(version, script, f"{options} --dry-run")
    assert ended.returncode == 0, ended.stderr[-3000:]
    printed = json.loads(ended.stdout)
    assert isinstance(printed, dict)
    return printed


class Listener:
    """A server in AWS's place: notes each creation, refuses everything else."""

    def __init__(self) -> None:
        self.created: list[tuple[str, dict[str, Any]]] = []
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                operation = self.headers.get("X-Amz-Target", "").partition(".")[2]
                answer: dict[str, Any] = {"__type": "AccessDeniedException", "message": "not here"}
                if operation.startswith("Create"):
                    content = json.loads(body)
                    listener.created.append((operation, content))
                    answer = {f"{operation.removeprefix('Create')}Arn": "arn:aws:sagemaker:::job/x"}
                elif operation.startswith("Describe") and listener.created:
                    answer = json.loads(body) | {"TrainingJobStatus": "InProgress"}
                self.send_response(403 if "__type" in answer else 200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode() if operation else DENIED)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it
                """Nothing: the test looks at what was asked."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A server in AWS's place."""
    listener = Listener()
    yield listener
    listener.server.shutdown()
    listener.server.server_close()


def sent_as_printed(version: str, script: str, options: str, listener: Listener) -> dict[str, Any]:
    """What a dry run prints, once the script has sent the same, but for the time in the job's name."""
    printed = request(version, script, options)
    assert listener.created == []
    ended = run(version, script, f"{options} --no-wait", AWS_ENDPOINT_URL=listener.address)
    assert ended.returncode == 0, ended.stderr[-3000:]
    ((operation, sent),) = listener.created
    name = operation.removeprefix("Create") + "Name"
    assert ended.stdout.strip().splitlines()[-1] == sent[name]
    assert re.fullmatch(r"treering-[0-9-]+", printed[name])
    assert sent | {name: ""} == printed | {name: ""}
    return printed


@pytest.mark.parametrize("version", VERSIONS)
def test_training_job(version: str, listener: Listener) -> None:
    """Everything that the options say is in the request, which a dry run prints as it is sent."""
    found = sent_as_printed(version, "submit_job.py", JOB, listener)
    assert found["RoleArn"] == "arn:aws:iam::111122223333:role/training"
    assert found["HyperParameters"] == {
        "objective": "binary:logistic",
        "num_round": "200",
        "eval_metric": "auc,logloss",
    }
    algorithm = found["AlgorithmSpecification"]
    assert algorithm["TrainingImage"].endswith(f"/treering@sha256:{'5' * 64}")
    assert algorithm["TrainingInputMode"] == "FastFile"
    metrics = {each["Name"]: each["Regex"] for each in algorithm["MetricDefinitions"]}
    assert sorted(metrics) == ["train:auc", "train:logloss", "validation:auc", "validation:logloss"]
    assert re.findall(metrics["validation:auc"], "[0]#011train-auc:0.5#011validation-auc:0.75") == ["0.75"]
    assert found["ResourceConfig"] == {
        "InstanceCount": 4,
        "InstanceType": "ml.c5.2xlarge",
        "VolumeSizeInGB": 70,
    }
    channels = {each["ChannelName"]: each for each in found["InputDataConfig"]}
    assert channels["train"]["ContentType"] == "text/csv"
    assert channels["train"]["DataSource"]["S3DataSource"] == {
        "S3DataType": "S3Prefix",
        "S3Uri": "s3://bucket/train",
        "S3DataDistributionType": "ShardedByS3Key",
    }
    validation = channels["validation"]["DataSource"]["S3DataSource"]
    assert validation["S3DataDistributionType"] == "FullyReplicated"
    assert found["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 5000}
    assert found["EnableManagedSpotTraining"] is True
    assert found["CheckpointConfig"]["S3Uri"] == "s3://bucket/checkpoints"
    assert found["OutputDataConfig"]["S3OutputPath"] == "s3://bucket/models"
    assert found["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_tuning_job(version: str, listener: Listener) -> None:
    """The ranges have the hyperparameters' own types, the objective its direction, and the job its options."""
    found = sent_as_printed(version, "tune_job.py", JOB + SEARCH, listener)
    config = found["HyperParameterTuningJobConfig"]
    assert config["HyperParameterTuningJobObjective"] == {
        "Type": "Maximize",
        "MetricName": "validation:auc",
    }
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 12, "MaxParallelTrainingJobs": 3}
    ranges = config["ParameterRanges"]
    assert [each["Name"] for each in ranges["IntegerParameterRanges"]] == ["max_depth"]
    (eta,) = ranges["ContinuousParameterRanges"]  # whole bounds do not make it a whole number
    assert (eta["Name"], float(eta["MinValue"]), float(eta["MaxValue"])) == ("eta", 0.01, 1)
    assert eta["ScalingType"] == "Logarithmic"
    (policy,) = ranges["CategoricalParameterRanges"]
    assert [text.strip('"') for text in policy["Values"]] == ["depthwise", "lossguide"]
    job = found["TrainingJobDefinition"]
    assert job["StaticHyperParameters"] == {
        "objective": "binary:logistic",
        "num_round": "200",
        "eval_metric": "auc,logloss",
    }
    assert job["EnableManagedSpotTraining"] is True
    assert job["CheckpointConfig"]["S3Uri"] == "s3://bucket/checkpoints"
    assert job["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    metrics = {each["Name"] for each in job["AlgorithmSpecification"]["MetricDefinitions"]}
    assert "validation:auc" in metrics


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("script", "options", "job"),
    [
        ("submit_job.py", JOB, "CreateTrainingJob"),
        ("tune_job.py", JOB + SEARCH, "CreateHyperParameterTuningJob.TrainingJobDefinition"),
    ],
)
def test_refused_by_the_service_model(version: str, script: str, options: str, job: str) -> None:
    """What botocore's model of SageMaker forbids is told at once, all of it, with its place in the request."""
    wrong = "--instance-type ml.m5.4xlarg --security-group sg_1"
    ended = run(version, script, f"{options} {wrong} --dry-run")
    assert (ended.returncode, ended.stdout) == (1, "")
    said = ended.stderr.rstrip().rpartition("\n")[2]
    # A tuning job has two places for its hosts, and each SDK takes another one.
    hosts = re.escape(job) + r"\.(HyperParameterTuning)?ResourceConfig\.InstanceType"
    assert re.search(f"{hosts}: 'ml.m5.4xlarg' is none .*ml.m5.4xlarge", said), said
    assert f"{job}.VpcConfig.SecurityGroupIds[1]: 'sg_1' does not match" in said


def test_what_v3_would_leave_out() -> None:
    """A tuning job whose traffic should be encrypted is not started without that."""
    ended = run("v3", "tune_job.py", f"{JOB} {SEARCH} --encrypt-traffic --dry-run")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "--encrypt-traffic" in ended.stderr
    found = request("v2", "tune_job.py", f"{JOB} {SEARCH} --encrypt-traffic")
    assert found["TrainingJobDefinition"]["EnableInterContainerTrafficEncryption"] is True
